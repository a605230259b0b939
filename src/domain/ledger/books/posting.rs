//! Usage without a reservation: recorded, also when no budget has room for it.

use chrono::{DateTime, TimeDelta, Utc};

use super::remarks::{read, unread};
use super::{Books, Effects, Shift, seen_at};
use crate::domain::ledger::command::{OCCURRED_DAYS_PAST_MAX, OCCURRED_SECONDS_AHEAD_MAX, PostUsage};
use crate::domain::ledger::outcome::{Outcome, Posted, Refusal};
use crate::domain::ledger::partial;
use crate::domain::ledger::transfer::{Direction, Transfer, TransferKind};
use crate::domain::tariff::Flags;

impl Books {
    pub(super) fn post_usage(&self, post: &PostUsage, now: DateTime<Utc>) -> Result<(Outcome, Effects), Refusal> {
        let call = &self.rates.named(&post.call);
        if self.catalogue.tenant(&call.tenant).is_none() {
            return Err(Refusal::UnknownTenant(call.tenant.clone()));
        }
        let occurred_at = post.occurred_at.unwrap_or(now);
        let age = now.signed_duration_since(occurred_at);
        if age > TimeDelta::days(OCCURRED_DAYS_PAST_MAX)
            || age < TimeDelta::seconds(OCCURRED_SECONDS_AHEAD_MAX.saturating_neg())
        {
            return Err(Refusal::OccurredOutOfRange(occurred_at));
        }
        let reading = read(&post.usage, call)?;
        let service_tier = post.service_tier.or(reading.service_tier).unwrap_or_default();
        let tariff = self.rates.tariff_of(call, service_tier, occurred_at);
        let told = partial::flags(post.is_partial);
        let latency = post.report.latency().filter(|_| told == Flags::NONE);
        let mut priced = tariff.price(&reading.usage, post.requests, latency)?;
        priced.flags = priced.flags.with(told).with(unread(&reading));
        let period_at = self.catalogue.counted_at(occurred_at, now);
        if period_at != occurred_at {
            priced.flags = priced.flags.with(Flags::PERIOD_CLOSED);
        }
        let governing = self.catalogue.governing(call, period_at)?;
        let requested = post.requested_model.as_ref();
        let requested = requested.map(|model| self.rates.prices.model_name(call.said_provider(), model));
        let mut effects = Effects::default();
        self.shift(&governing, &priced.consumption, Shift::Post(period_at), &mut effects)?;
        effects.transfers.push(Transfer {
            id: post.transfer,
            kind: TransferKind::Usage,
            direction: Direction::Forward,
            call: call.clone(),
            requested_model: requested.filter(|model| *model != call.model),
            priority: post.priority,
            priced,
            report: post.report.clone(),
            occurred_at,
            recorded_at: now,
            period_at,
            reservation: None,
            corrects: None,
        });
        let posted = Posted {
            transfer: post.transfer,
            reservation: None,
            priced,
            hold: None,
            occurred_at,
            recorded_at: now,
            budgets: self.states(&seen_at(&governing, now)?, &effects),
            not_counted: self.catalogue.not_counting(call, period_at),
            unread: reading.unread,
            unreadable: None,
        };
        Ok((Outcome::Posted(Box::new(posted)), effects))
    }
}
