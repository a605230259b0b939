//! A quota that the provider has closed: nothing is granted by it, whatever its counters say.

use chrono::TimeDelta;

use super::super::verdict::{ReasonCode, Verdict};
use super::*;

/// The verdict on a budget that is closed for so many seconds, and its headline.
fn ruled(budget: &str, asked: &str, seconds: i64) -> (Verdict, Option<ReasonCode>) {
    let asked = Asked::parse(asked);
    let mut standings = standings(budget, &asked.call, asked.now);
    standings[0].governing.closed_until = asked.now.checked_add_signed(TimeDelta::seconds(seconds));
    let ruling = asked.decide(&standings, 0).unwrap();
    (ruling.verdict, ruling.reasons.first().map(|reason| reason.code))
}

#[test]
fn nothing_is_granted_by_a_quota_that_is_closed_and_no_smaller_call_is() {
    let closed = Some(ReasonCode::ClosedByProvider);
    assert_eq!(ruled("b tokens 100 month", "in=1 out=1", 3600), (Verdict::Stop, closed));
    assert_eq!(ruled("b tokens 100 month", "in=1 out=50 cap", 3600), (Verdict::Stop, closed), "no cap fits");
    assert_eq!(ruled("b tokens 100 month posted=100", "in=1 out=1", 3600), (Verdict::Stop, closed), "the headline");
    assert_eq!(ruled("b tokens 100 month", "in=1 out=1", 60), (Verdict::Wait, closed), "soon is waited for");
    assert_eq!(ruled("b tokens 100 month", "in=1 out=1", 0), (Verdict::Allow, None), "from that instant on it is open");
    assert_eq!(
        ruled("b tokens 100 month soft", "in=1 out=1", 3600),
        (Verdict::Allow, None),
        "soft budgets never refuse"
    );
}
