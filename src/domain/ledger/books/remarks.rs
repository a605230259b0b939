//! What is said of a reservation beside its numbers: that it has ended, and that more was used than it held.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::domain::amounts::BadAmount;
use crate::domain::budget::catalogue::Governing;
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::scope::Dimensions;
use crate::domain::ledger::command::{ReportedUsage, Settle};
use crate::domain::ledger::outcome::Refusal;
use crate::domain::ledger::partial;
use crate::domain::ledger::reservation::Reservation;
use crate::domain::ledger::transfer::CallOutcome;
use crate::domain::price::ServiceTier;
use crate::domain::tariff::Flags;
use crate::domain::usage::Usage;
use crate::domain::usage::provider::{BadUsage, Reading, read_usage};

/// The refusal of whatever needs a reservation that has not ended.
pub(super) fn ended(reservation: &Reservation, now: DateTime<Utc>) -> Refusal {
    Refusal::ReservationEnded {
        reservation: reservation.id,
        state: reservation.state_at(now),
        ended_at: reservation.ended_at.unwrap_or(reservation.expires_at),
        transfer: reservation.transfer,
    }
}

/// Whether a call used more than was held for it, in any unit, or in the measure of any budget that governs it.
pub(super) fn overruns(actual: &Consumption, hold: &Consumption, governing: &[Governing]) -> Result<bool, BadAmount> {
    let (used, held) = (&actual.amounts, &hold.amounts);
    let more = |one: &Governing| one.budget.measure.saturating_of(actual) > one.budget.measure.saturating_of(hold);
    Ok(used.tokens > held.tokens
        || used.usd > held.usd
        || used.gco2e()? > held.gco2e()?
        || used.gco2e_market()? > held.gco2e_market()?
        || governing.iter().any(more))
}

/// What a caller says was used, in our buckets.
pub(super) fn read(reported: &ReportedUsage, call: &Dimensions) -> Result<Reading, BadUsage> {
    match reported {
        ReportedUsage::Buckets(usage) => Ok(Reading { usage: *usage, ..Reading::default() }),
        ReportedUsage::Provider(raw) => read_usage(&call.provider, raw),
    }
}

/// What is charged of a settlement.
pub(super) struct Charged {
    pub(super) usage: Usage,
    pub(super) flags: Flags,
    /// The tier that served, if the caller or the usage object says.
    pub(super) service_tier: Option<ServiceTier>,
    pub(super) unread: BTreeSet<String>,
    pub(super) unreadable: Option<BadUsage>,
}

/// What is charged of a settlement: what was used, or what was estimated where that is not known.
pub(super) fn charged(settle: &Settle, call: &Dimensions, estimate: &Usage) -> Result<Charged, Refusal> {
    let charge = |usage, flags| Charged {
        usage,
        flags,
        service_tier: settle.service_tier,
        unread: BTreeSet::new(),
        unreadable: None,
    };
    let outcome = settle.report.outcome;
    match (settle.usage.as_ref().map(|reported| read(reported, call)), outcome) {
        (Some(Ok(reading)), _) => {
            let (usage, flags) = partial::charged(reading.usage, settle.is_partial, outcome, estimate);
            let service_tier = settle.service_tier.or(reading.service_tier);
            let flags = flags.with(unread(&reading));
            Ok(Charged { service_tier, unread: reading.unread, ..charge(usage, flags) })
        }
        (Some(Err(bad)), _) if settle.is_strict => Err(bad.into()),
        (Some(Err(bad)), _) => Ok(Charged { unreadable: Some(bad), ..charge(*estimate, Flags::UNCONFIRMED) }),
        (None, CallOutcome::Completed) => Err(Refusal::UsageRequired),
        (None, CallOutcome::Failed) => Ok(charge(Usage::default(), Flags::NONE)),
        (None, CallOutcome::Cancelled | CallOutcome::TimedOut) => Ok(charge(*estimate, Flags::UNCONFIRMED)),
    }
}

/// What usage is flagged with of which something was not read.
pub(super) fn unread(reading: &Reading) -> Flags {
    if reading.unread.is_empty() { Flags::NONE } else { Flags::USAGE_UNREAD }
}
