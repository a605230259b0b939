//! Reservations of a tenant that expired and that nobody settled: calls whose use nobody knows.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::kind::{AlertKind, Severity};
use super::{Alert, Cause, Figure, Level, Reading, Subject};
use crate::domain::id::TenantId;

/// How far back expired reservations are counted.
pub const EXPIRED_WINDOW: TimeDelta = TimeDelta::hours(1);
/// From how many on somebody should look at it.
pub const WARNING_FROM: u64 = 10;

/// What expired of one tenant within [`EXPIRED_WINDOW`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredFact {
    /// Whose.
    pub tenant: TenantId,
    /// How many.
    pub count: u64,
    /// What was held for them, in dollars.
    pub usd: Decimal,
    /// When the latest expired.
    pub last_at: Option<DateTime<Utc>>,
}

/// What expired reservations tell.
#[must_use]
pub fn read(fact: &ExpiredFact) -> Reading {
    let level = if fact.count > 0 { Level::Firing } else { Level::Quiet };
    Reading::of(alert(fact), level)
}

/// The tenant that a cause is about.
#[must_use]
pub fn about_whom(cause: &Cause) -> Option<TenantId> {
    TenantId::stored(cause.parts().next()?).ok()
}

fn alert(fact: &ExpiredFact) -> Alert {
    let ExpiredFact { tenant, count, usd, last_at } = fact;
    let mut figures = vec![("expired", Figure::Count(*count)), ("held_usd", Figure::Decimal(*usd))];
    figures.extend(last_at.map(|at| ("last_expired_at", Figure::Instant(at))));
    Alert {
        cause: Cause::new(AlertKind::ExpiredReservations, &[tenant.as_str()]),
        kind: AlertKind::ExpiredReservations,
        severity: if *count < WARNING_FROM { Severity::Info } else { Severity::Warning },
        subject: Subject { tenant: Some(tenant.clone()), ..Subject::default() },
        message: format!("{count} reservations of tenant {tenant} expired within an hour and were not settled"),
        advice: "Settle or release every reservation, also when a call fails: what these calls used is not in the books. An expired \
                 reservation can still be settled."
            .to_owned(),
        figures,
        links: vec![("accuracy", format!("/v1/usage/accuracy?tenant={tenant}"))],
        ends_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_good_to_know_and_ten_are_a_warning() {
        for (count, level, severity) in [
            (0, Level::Quiet, Severity::Info),
            (1, Level::Firing, Severity::Info),
            (10, Level::Firing, Severity::Warning),
        ] {
            let tenant = TenantId::parse("acme").unwrap();
            let reading = read(&ExpiredFact { tenant: tenant.clone(), count, usd: Decimal::ONE, last_at: None });
            assert_eq!((reading.level, reading.alert.severity), (level, severity), "{count}");
            assert_eq!(about_whom(&reading.alert.cause), Some(tenant));
        }
    }
}
