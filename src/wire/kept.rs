//! Answers as they are kept under an idempotency key: what the caller was told, in few bytes.
//!
//! Every keyed call keeps its answer for seven days, in the transaction that decided it; kept in the words of the API, the
//! answers were more than half of what a batch writes. So names are short, instants are microseconds since 1970, and what
//! can be computed from the rest is left out: sums, headroom, local times.
//!
//! Invariant: what is read back equals what was answered first, field by field.
//! A field that is added must have a default, because answers of the release before are still asked for.
//!
//! Deliberately absent: short forms for releases and extensions, which are few.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::answer::{
    AmountsBody, BudgetStateBody, EnforcementName, ExtendedAnswer, PostedAnswer, PreflightAnswer, ReasonBody,
    ReleasedAnswer, RetryBody, UsageBuckets, VerdictName, margin_body, reserve_body, retry_body,
};
use super::coverage::NotCountedBody;
use super::learned::ReserveName;
use super::pace::{BandName, PaceBody};
use crate::domain::amounts::{BadAmount, Quantity, Tokens};
use crate::domain::budget::counter::Counter;
use crate::domain::calendar::{UnknownZone, Zone};
use crate::domain::ledger::outcome::{BudgetState, FirstAnswer, Outcome, Posted, Ruled};
use crate::domain::pacing::advice::Advice;
use crate::domain::tariff::{Flags, Priced};

/// A kept answer that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum BadKept {
    /// It is no answer of this kind.
    #[error("a kept answer cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Its zone is not known any more.
    #[error("a kept answer cannot be read: {0}")]
    Zone(#[from] UnknownZone),
    /// A number is beyond what the ledger keeps.
    #[error("a kept answer cannot be read: an amount {0}")]
    Amount(#[from] BadAmount),
    /// It answers another question.
    #[error("an answer is of another kind")]
    Kind,
    /// An instant is outside the calendar.
    #[error("a kept answer cannot be read: {0} microseconds are no instant")]
    Instant(i64),
}

/// Tokens, dollars, and grams: usage by location, usage by market, embodied.
#[derive(Serialize, Deserialize)]
struct Amounts(u64, Decimal, Decimal, Decimal, Decimal);

impl From<&Priced> for Amounts {
    fn from(priced: &Priced) -> Self {
        let amounts = &priced.consumption.amounts;
        Self(
            amounts.tokens.count(),
            amounts.usd.decimal().normalize(),
            amounts.gco2e_usage_location.decimal().normalize(),
            amounts.gco2e_usage_market.decimal().normalize(),
            amounts.gco2e_embodied.decimal().normalize(),
        )
    }
}

impl From<Amounts> for AmountsBody {
    fn from(Amounts(tokens, usd, location, market, embodied): Amounts) -> Self {
        let sum = |usage: Decimal| usage.checked_add(embodied).unwrap_or_default().normalize();
        Self {
            tokens,
            usd,
            gco2e: sum(location),
            gco2e_market: sum(market),
            gco2e_usage_location: location,
            gco2e_usage_market: market,
            gco2e_embodied: embodied,
        }
    }
}

/// How one budget stood.
#[derive(Serialize, Deserialize)]
struct Standing {
    #[serde(rename = "b")]
    budget: String,
    #[serde(rename = "k", default, skip_serializing_if = "String::is_empty")]
    key: String,
    #[serde(rename = "m")]
    measure: String,
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    shared: bool,
    #[serde(rename = "l")]
    limit: Decimal,
    #[serde(rename = "p")]
    posted: Decimal,
    #[serde(rename = "h")]
    held: Decimal,
    #[serde(rename = "s")]
    start: i64,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    resets_at: Option<i64>,
    #[serde(rename = "z")]
    zone: String,
    #[serde(rename = "e")]
    enforcement: EnforcementName,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    closed_until: Option<i64>,
    /// What its reservations hold, unless it is their whole estimate.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    reserve: Option<ReserveName>,
    /// What is kept aside.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    margin: Option<Decimal>,
}

impl From<&BudgetState> for Standing {
    fn from(state: &BudgetState) -> Self {
        Self {
            budget: state.budget.to_string(),
            key: state.key.as_str().to_owned(),
            measure: state.measure.clone(),
            shared: state.is_shared,
            limit: state.limit.decimal().normalize(),
            posted: state.counter.posted.decimal().normalize(),
            held: state.counter.held.decimal().normalize(),
            start: state.period.start.timestamp_micros(),
            resets_at: state.period.end.map(|end| end.timestamp_micros()),
            zone: state.zone.name().to_owned(),
            enforcement: state.enforcement.into(),
            closed_until: state.closed_until.map(|until| until.timestamp_micros()),
            reserve: reserve_body(state),
            margin: margin_body(state),
        }
    }
}

impl TryFrom<Standing> for BudgetStateBody {
    type Error = BadKept;

    fn try_from(kept: Standing) -> Result<Self, BadKept> {
        let zone = Zone::parse(&kept.zone)?;
        let counter =
            Counter { posted: Quantity::new(kept.posted)?, held: Quantity::new(kept.held)?, ..Counter::default() };
        let margin = Quantity::new(kept.margin.unwrap_or_default())?;
        let headroom = Quantity::new(kept.limit)?.saturating_sub(counter.taken()).saturating_sub(margin);
        let resets_at = kept.resets_at.map(instant).transpose()?;
        Ok(Self {
            budget: kept.budget,
            key: kept.key,
            measure: kept.measure,
            shared: kept.shared,
            limit: Some(kept.limit),
            posted: Some(kept.posted),
            held: Some(kept.held),
            reserve: kept.reserve,
            margin: kept.margin,
            headroom: Some(headroom.decimal().normalize()),
            overdrawn: Some(kept.posted > kept.limit),
            period_start: instant(kept.start)?,
            resets_at,
            resets_at_local: resets_at.map(|end| zone.to_local_rfc3339(end)),
            timezone: kept.zone,
            enforcement: kept.enforcement,
            exhausts_at: None,
            closed_until: kept.closed_until.map(instant).transpose()?,
        })
    }
}

fn instant(micros: i64) -> Result<DateTime<Utc>, BadKept> {
    DateTime::from_timestamp_micros(micros).ok_or(BadKept::Instant(micros))
}

/// The verdict of a pre-flight.
#[derive(Serialize, Deserialize)]
struct Verdict {
    #[serde(rename = "v")]
    verdict: VerdictName,
    /// The reservation, when it was granted, and when it ends.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    granted: Option<(Uuid, i64, i64)>,
    #[serde(rename = "a")]
    estimate: Amounts,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    max_output: Option<u64>,
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    retry: Option<RetryBody>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    resets_at: Option<i64>,
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonBody>,
    #[serde(rename = "n", default, skip_serializing_if = "BandName::is_green")]
    band: BandName,
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pace: Option<Pace>,
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    budgets: Vec<Standing>,
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    not_counted: Vec<NotCountedBody>,
}

/// What was left of the budget that bound first: its place among the budgets, the window in seconds, the units, thousandths
/// that pass, calls at once, and until when, where that is not the budget's reset.
#[derive(Serialize, Deserialize)]
struct Pace(usize, Option<u32>, Decimal, u16, u32, Option<i64>);

impl Pace {
    fn of(advice: &Advice, budgets: &[BudgetState]) -> Option<Self> {
        let (place, state) = budgets.iter().enumerate().find(|(_, state)| state.budget == advice.budget)?;
        let own = advice.valid_until.filter(|at| Some(*at) != state.period.end);
        Some(Self(
            place,
            advice.window_seconds,
            advice.units_available.decimal().normalize(),
            advice.pass_through.get(),
            advice.max_concurrency,
            own.map(|at| at.timestamp_micros()),
        ))
    }

    fn restored(self, budgets: &[BudgetStateBody]) -> Result<Option<PaceBody>, BadKept> {
        let Self(place, window_s, units_available, permille, max_concurrency, valid_until) = self;
        let valid_until = valid_until.map(instant).transpose()?;
        Ok(budgets.get(place).map(|state| PaceBody {
            budget: state.budget.clone(),
            measure: state.measure.clone(),
            window_s,
            units_available,
            pass_through: Decimal::new(permille.into(), 3).normalize(),
            max_concurrency,
            valid_until: valid_until.or(state.resets_at),
        }))
    }
}

impl From<&Ruled> for Verdict {
    fn from(ruled: &Ruled) -> Self {
        let ruling = &ruled.ruling;
        let granted = ruled.granted.map(|granted| {
            (granted.reservation.0, granted.granted_at.timestamp_micros(), granted.expires_at.timestamp_micros())
        });
        Self {
            verdict: ruling.verdict.into(),
            granted,
            estimate: Amounts::from(&ruling.priced),
            max_output: ruling.max_output.map(Tokens::count),
            retry: retry_body(ruling),
            resets_at: ruling.resets_at.map(|at| at.timestamp_micros()),
            reasons: ruling.reasons.iter().map(ReasonBody::from).collect(),
            band: ruling.band.into(),
            pace: ruling.pace.as_ref().and_then(|advice| Pace::of(advice, &ruled.budgets)),
            budgets: ruled.budgets.iter().map(Standing::from).collect(),
            not_counted: ruled.not_counted.iter().map(NotCountedBody::from).collect(),
        }
    }
}

/// A posting.
#[derive(Serialize, Deserialize)]
struct Posting {
    #[serde(rename = "t")]
    transfer: Uuid,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    reservation: Option<Uuid>,
    /// Input, cache read, cache writes of five minutes and an hour, output, reasoning.
    #[serde(rename = "u")]
    usage: [u64; 6],
    #[serde(rename = "a")]
    amounts: Amounts,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    held: Option<Amounts>,
    /// The tiers of what was posted and of what was held.
    #[serde(rename = "f")]
    tiers: (u64, Option<u64>),
    #[serde(rename = "x")]
    flags: u32,
    /// When it happened and when it was written.
    #[serde(rename = "w")]
    at: (i64, i64),
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    budgets: Vec<Standing>,
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    not_counted: Vec<NotCountedBody>,
    /// What of a usage object was not read, and why all of it was not.
    #[serde(rename = "n", default, skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

impl From<&Posted> for Posting {
    fn from(posted: &Posted) -> Self {
        let usage = posted.priced.consumption.usage;
        let buckets =
            [usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h, usage.output, usage.reasoning];
        let tier = |priced: &Priced| priced.provenance.tier_from.count();
        Self {
            transfer: posted.transfer.0,
            reservation: posted.reservation.map(|reservation| reservation.0),
            usage: buckets.map(Tokens::count),
            amounts: Amounts::from(&posted.priced),
            held: posted.hold.as_ref().map(Amounts::from),
            tiers: (tier(&posted.priced), posted.hold.as_ref().map(tier)),
            flags: posted.priced.flags.bits(),
            at: (posted.occurred_at.timestamp_micros(), posted.recorded_at.timestamp_micros()),
            budgets: posted.budgets.iter().map(Standing::from).collect(),
            not_counted: posted.not_counted.iter().map(NotCountedBody::from).collect(),
            unread: posted.unread.iter().cloned().collect(),
            unreadable: posted.unreadable.as_ref().map(ToString::to_string),
        }
    }
}

/// The text that is kept under an idempotency key.
///
/// # Errors
/// Never in practice: every shape here can be written as JSON.
pub fn to_text(outcome: &Outcome) -> Result<String, serde_json::Error> {
    match outcome {
        Outcome::Ruled(ruled) => serde_json::to_string(&Verdict::from(&**ruled)),
        Outcome::Posted(posted) => serde_json::to_string(&Posting::from(&**posted)),
        Outcome::Released(released) => serde_json::to_string(&ReleasedAnswer::from(released)),
        Outcome::Extended(extended) => serde_json::to_string(&ExtendedAnswer::from(&**extended)),
        Outcome::Repeated(FirstAnswer::Kept(text)) => Ok(text.to_string()),
        Outcome::Repeated(FirstAnswer::Fresh(first)) => to_text(first),
    }
}

/// An answer that can be read back from what was kept.
pub trait Kept: Sized {
    /// Reads what [`to_text`] wrote.
    ///
    /// # Errors
    /// When the text is no kept answer of this kind.
    fn from_text(text: &str) -> Result<Self, BadKept>;

    /// The answer in an outcome, if that is of this kind.
    fn from_outcome(outcome: &Outcome) -> Option<Self>;
}

/// An answer, and whether it is the first one to its key.
///
/// # Errors
/// When it is of another kind, or what was kept cannot be read.
pub fn answer_of<T: Kept>(outcome: &Outcome) -> Result<(T, bool), BadKept> {
    if let Outcome::Repeated(FirstAnswer::Kept(text)) = outcome {
        return Ok((T::from_text(text)?, true));
    }
    if let Outcome::Repeated(FirstAnswer::Fresh(first)) = outcome {
        return Ok((T::from_outcome(first).ok_or(BadKept::Kind)?, true));
    }
    Ok((T::from_outcome(outcome).ok_or(BadKept::Kind)?, false))
}

impl Kept for PreflightAnswer {
    fn from_text(text: &str) -> Result<Self, BadKept> {
        let kept: Verdict = serde_json::from_str(text)?;
        let (reservation, granted_at, expires_at) = match kept.granted {
            Some((id, granted_at, expires_at)) => (Some(id), Some(instant(granted_at)?), Some(instant(expires_at)?)),
            None => (None, None, None),
        };
        let budgets = restored(kept.budgets)?;
        let pace = kept.pace.map(|pace| pace.restored(&budgets)).transpose()?.flatten();
        Ok(Self {
            verdict: kept.verdict,
            reservation,
            grant: None,
            reservation_ended: None,
            granted_at,
            expires_at,
            estimate: kept.estimate.into(),
            max_output: kept.max_output,
            retry: kept.retry,
            resets_at: kept.resets_at.map(instant).transpose()?,
            band: kept.band,
            pace,
            reasons: kept.reasons,
            budgets,
            not_counted: kept.not_counted,
            alternatives: Vec::new(),
        })
    }

    fn from_outcome(outcome: &Outcome) -> Option<Self> {
        if let Outcome::Ruled(one) = outcome { Some(Self::from(&**one)) } else { None }
    }
}

impl Kept for PostedAnswer {
    fn from_text(text: &str) -> Result<Self, BadKept> {
        let kept: Posting = serde_json::from_str(text)?;
        let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] = kept.usage;
        let (price_tier_from, held_tier_from) = kept.tiers;
        Ok(Self {
            transfer: kept.transfer,
            reservation: kept.reservation,
            usage: UsageBuckets { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning },
            amounts: kept.amounts.into(),
            held: kept.held.map(AmountsBody::from),
            price_tier_from,
            held_tier_from,
            flags: Flags::from_bits(kept.flags).names().map(str::to_owned).collect(),
            occurred_at: instant(kept.at.0)?,
            recorded_at: instant(kept.at.1)?,
            budgets: restored(kept.budgets)?,
            not_counted: kept.not_counted,
            usage_unread: kept.unread,
            usage_unreadable: kept.unreadable,
        })
    }

    fn from_outcome(outcome: &Outcome) -> Option<Self> {
        if let Outcome::Posted(one) = outcome { Some(Self::from(&**one)) } else { None }
    }
}

impl Kept for ReleasedAnswer {
    fn from_text(text: &str) -> Result<Self, BadKept> {
        Ok(serde_json::from_str(text)?)
    }

    fn from_outcome(outcome: &Outcome) -> Option<Self> {
        if let Outcome::Released(one) = outcome { Some(Self::from(one)) } else { None }
    }
}

impl Kept for ExtendedAnswer {
    fn from_text(text: &str) -> Result<Self, BadKept> {
        Ok(serde_json::from_str(text)?)
    }

    fn from_outcome(outcome: &Outcome) -> Option<Self> {
        if let Outcome::Extended(one) = outcome { Some(Self::from(&**one)) } else { None }
    }
}

fn restored(kept: Vec<Standing>) -> Result<Vec<BudgetStateBody>, BadKept> {
    kept.into_iter().map(BudgetStateBody::try_from).collect()
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
