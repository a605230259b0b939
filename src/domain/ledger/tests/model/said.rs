//! The answers of the books, in the words of the model.

use super::*;
use crate::domain::amounts::Quantity;
use crate::domain::budget::verdict::Ruling;
use crate::domain::ledger::outcome::BudgetState;

/// What the books say, in the model's words.
pub(in super::super) fn said(answer: &Answer) -> String {
    let budgets = |states: &[BudgetState]| {
        let one = |state: &BudgetState| {
            let numbers = [state.counter.posted, state.counter.held, state.margin()].map(Quantity::decimal);
            told(state.budget.as_str(), numbers[0], numbers[1], numbers[2])
        };
        let mut states: Vec<String> = states.iter().map(one).collect();
        states.sort();
        states.join(", ")
    };
    let verdict = |ruling: &Ruling| {
        let name = ruling.verdict.name();
        match (ruling.verdict.grants(), ruling.retry, ruling.resets_at) {
            (true, ..) => name.to_owned(),
            (false, Some(retry), _) => format!("{name} until {}", retry.not_before.timestamp()),
            (false, None, Some(reset)) => format!("{name} until {}", reset.timestamp()),
            (false, None, None) => format!("{name} for ever"),
        }
    };
    match answer {
        Ok(Outcome::Ruled(ruled)) => {
            let what = &ruled.ruling.priced.consumption;
            let (verdict, usd) = (verdict(&ruled.ruling), what.amounts.usd);
            format!("{verdict} {} tokens ${usd} [{}]", all_tokens(what), budgets(&ruled.budgets))
        }
        Ok(Outcome::Posted(posted)) => {
            let said = said_posted(&posted.priced.consumption, posted.priced.flags);
            format!("{said} [{}]", budgets(&posted.budgets))
        }
        Ok(Outcome::Released(_)) => "released".to_owned(),
        Ok(Outcome::Extended(extended)) => {
            let expires = extended.expires_at.timestamp();
            format!("extended {} to {expires} [{}]", verdict(&extended.ruling), budgets(&extended.budgets))
        }
        Ok(Outcome::Repeated(_)) => said(&Ok(first(answer).clone())),
        Err(refusal) => match refusal {
            Refusal::IdempotencyMismatch(_) => "mismatch",
            Refusal::UnknownTenant(_) => "unknown tenant",
            Refusal::UnknownReservation(_) => "unknown reservation",
            Refusal::ReservationEnded { .. } => "ended",
            Refusal::UnpricedModel { .. } => "unpriced",
            Refusal::UnknownFactor { .. } => "no factor",
            Refusal::UsageRequired => "usage required",
            Refusal::OccurredOutOfRange(_) => "out of range",
            Refusal::LivesTooLong { .. } => "too long",
            Refusal::BadUsage(_)
            | Refusal::TooManyTokens { .. }
            | Refusal::Amount(_)
            | Refusal::Tariff(_)
            | Refusal::Calendar(_) => "unexpected",
        }
        .to_owned(),
    }
}
