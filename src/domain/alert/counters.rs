//! Thresholds crossed and overdrafts: alerts that a counter alone tells.
//!
//! What is compared is what was *posted*: holds come and go, and a reservation that is given back must not have woken
//! anybody. A counter of a calendar period only grows, so a threshold is told once a period; that of a sliding window
//! shrinks again, so there it clears [`CLEAR_MARGIN`] below.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::{Decimal, dec};

use super::kind::{AlertKind, Severity};
use super::{Alert, Cause, Figure, Level, Reading, Subject};
use crate::domain::budget::catalogue::{Budget, Enforcement};
use crate::domain::budget::counter::Counter;
use crate::domain::budget::scope::{CounterKey, Each, ModelScope};
use crate::domain::calendar::{Period, PeriodSpec};
use crate::domain::id::{RunId, TenantId};

/// How far below its line a threshold clears, as a share of the limit.
pub const CLEAR_MARGIN: Decimal = dec!(0.02);

/// A counter, or the sum of a sliding window's, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterFact {
    /// Whose.
    pub budget: Arc<Budget>,
    /// Which counter of it.
    pub key: CounterKey,
    /// The tenant whose calls it counts, if they are one tenant's alone.
    pub tenant: Option<TenantId>,
    /// The period it counts; of a sliding window, the whole of it.
    pub period: Period,
    /// Its numbers.
    pub counter: Counter,
}

/// What a counter tells: one reading for each threshold, and one for the overdraft.
#[must_use]
pub fn read(fact: &CounterFact) -> Vec<Reading> {
    let budget = &fact.budget;
    let limit = budget.limit.decimal();
    let used = fact.counter.posted.decimal();
    let mut readings: Vec<Reading> = Vec::new();
    for share in &budget.thresholds {
        // A limit of nothing has no share; that it is used shows as an overdraft.
        let (Some(raise), Some(clear)) =
            (limit.checked_mul(*share), share.checked_sub(CLEAR_MARGIN).and_then(|below| limit.checked_mul(below)))
        else {
            continue;
        };
        if raise.is_zero() {
            continue;
        }
        readings.push(Reading::of(threshold(fact, *share), Level::rising(used, raise, clear)));
    }
    // Thresholds ascend: of several that were crossed at once the highest says it all.
    let causes: Vec<Cause> = readings.iter().map(|reading| reading.alert.cause.clone()).collect();
    let highest = readings.iter().rposition(|reading| reading.level == Level::Firing);
    if let Some(highest) = highest {
        for reading in readings.iter_mut().take(highest) {
            reading.implied_by = causes.get(highest).cloned();
        }
    }
    let level = if used > limit { Level::Firing } else { Level::Quiet };
    readings.push(Reading::of(overdraft(fact), level));
    readings
}

/// The cause of an alert about one counter: the budget, the key, the period, and what else tells it apart. A sliding window
/// has no period to tell apart.
fn cause_of(kind: AlertKind, fact: &CounterFact, part: &str) -> Cause {
    let start = match fact.budget.period {
        PeriodSpec::Sliding { .. } => String::new(),
        PeriodSpec::Hour
        | PeriodSpec::Day { .. }
        | PeriodSpec::Week { .. }
        | PeriodSpec::Month { .. }
        | PeriodSpec::Months { .. }
        | PeriodSpec::Quarter
        | PeriodSpec::Year { .. }
        | PeriodSpec::Fixed { .. }
        | PeriodSpec::Once => instant(fact.period.start),
    };
    Cause::new(kind, &[fact.budget.id.as_str(), fact.key.as_str(), &start, part])
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The budget, and its counter if it is counted apart, as a person names it.
pub(super) fn named(budget: &Budget, key: &CounterKey) -> String {
    if key.as_str().is_empty() { budget.id.to_string() } else { format!("{} for {}", budget.id, key.as_str()) }
}

/// The alert's own numbers and paths, common to all alerts about a counter.
pub(super) fn about(fact: &CounterFact, kind: AlertKind, part: &str) -> Alert {
    let CounterFact { budget, key, tenant, period, counter } = fact;
    let whole = key.as_str().is_empty();
    let headroom = budget.limit.saturating_sub(counter.taken());
    let mut figures = vec![
        ("measure", Figure::Word(budget.measure.name().to_owned())),
        ("limit", Figure::Decimal(budget.limit.decimal())),
        ("posted", Figure::Decimal(counter.posted.decimal())),
        ("held", Figure::Decimal(counter.held.decimal())),
        ("headroom", Figure::Decimal(headroom.decimal())),
        ("period_start", Figure::Instant(period.start)),
    ];
    figures.extend(period.end.map(|end| ("resets_at", Figure::Instant(end))));
    let path = if whole {
        format!("/v1/budgets/{}", budget.id)
    } else {
        format!("/v1/budgets/{}?key={}", budget.id, encoded(key.as_str()))
    };
    let sliding = matches!(budget.period, PeriodSpec::Sliding { .. });
    Alert {
        cause: cause_of(kind, fact, part),
        kind,
        severity: Severity::Warning,
        subject: Subject {
            tenant: tenant.clone(),
            budget: Some(budget.id.clone()),
            key: (!whole).then(|| key.as_str().to_owned()),
            feature: budget.scope.feature.clone(),
            run: budget.scope.run.clone().or_else(|| run_of(budget, key)),
            provider: budget.scope.provider.clone(),
            model: budget.scope.model.as_ref().and_then(ModelScope::one).cloned(),
        },
        message: String::new(),
        advice: String::new(),
        figures,
        links: vec![("budget", path)],
        ends_at: if sliding { None } else { period.end },
    }
}

/// The run that a counter counts, of a budget that counts each apart.
fn run_of(budget: &Budget, key: &CounterKey) -> Option<RunId> {
    let (_, run) = key.as_str().split_once('/').filter(|_| budget.each == Some(Each::Run))?;
    RunId::parse(run).ok()
}

fn threshold(fact: &CounterFact, share: Decimal) -> Alert {
    let budget = &fact.budget;
    let mut alert = about(fact, AlertKind::Threshold, &share.normalize().to_string());
    let used = fact.counter.posted.decimal().checked_div(budget.limit.decimal()).unwrap_or_default().round_dp(4);
    alert.severity = if budget.thresholds.last() == Some(&share) { Severity::Warning } else { Severity::Info };
    let percent = |share: Decimal| share.checked_mul(Decimal::ONE_HUNDRED).unwrap_or(share).round_dp(1).normalize();
    alert.message = format!(
        "budget {} has used {} % of its {}, past its threshold of {} %",
        named(budget, &fact.key),
        percent(used),
        budget.measure.name(),
        percent(share)
    );
    alert.advice = match budget.enforcement {
        Enforcement::Hard => {
            "Look at who uses it and either slow them down or raise the limit: at the limit calls are refused."
                .to_owned()
        }
        Enforcement::Soft => "Look at who uses it: this budget warns and refuses nothing.".to_owned(),
    };
    alert.figures.push(("threshold", Figure::Decimal(share.normalize())));
    alert.figures.push(("used_share", Figure::Decimal(used.normalize())));
    alert
}

fn overdraft(fact: &CounterFact) -> Alert {
    let budget = &fact.budget;
    let mut alert = about(fact, AlertKind::Overdraft, "");
    let over = fact.counter.posted.saturating_sub(budget.limit);
    alert.severity = match budget.enforcement {
        Enforcement::Hard => Severity::Critical,
        Enforcement::Soft => Severity::Warning,
    };
    alert.message = format!(
        "budget {} is overdrawn by {} {}",
        named(budget, &fact.key),
        over.decimal().normalize(),
        budget.measure.name()
    );
    alert.advice = match budget.enforcement {
        Enforcement::Hard => {
            "Find the calls that used more than they had reserved, or posted without asking; until the reset or a higher limit every call is stopped."
                .to_owned()
        }
        Enforcement::Soft => "Raise the limit or find who uses it: this budget warns and refuses nothing.".to_owned(),
    };
    alert.figures.push(("overdrawn", Figure::Decimal(over.decimal())));
    alert
}

/// A value in a query, with everything but letters, digits and `-._~` as its bytes (RFC 3986 section 2.1).
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::amounts::Quantity;
    use crate::domain::budget::catalogue::{BudgetClock, BudgetKind, BudgetNumber};
    use crate::domain::budget::measure::Measure;
    use crate::domain::budget::scope::Scope;
    use crate::domain::calendar::Zone;
    use crate::domain::id::BudgetId;

    /// The counter of June of a budget of so many tokens with thresholds at 50 and 90 %, which has posted so many.
    pub(in crate::domain::alert) fn fact(limit: &str, posted: u32) -> CounterFact {
        let budget = Budget {
            id: BudgetId::parse("month").unwrap(),
            number: BudgetNumber(1),
            version: 1,
            kind: BudgetKind::Budget,
            scope: Scope::default(),
            each: None,
            measure: Measure::Tokens,
            limit: Quantity::new(limit.parse().unwrap()).unwrap(),
            period: PeriodSpec::MONTH,
            clock: BudgetClock::Fixed(Zone::UTC),
            enforcement: Enforcement::Hard,
            thresholds: vec![dec!(0.5), dec!(0.9)],
            floors: std::collections::BTreeMap::new(),
            reserve: crate::domain::budget::catalogue::HoldRule::Max,
            ceilings: std::collections::BTreeMap::new(),
            pacing: crate::domain::budget::catalogue::Pacing::Off,
            weights: std::collections::BTreeMap::new(),
            max_seconds: None,
            missing: crate::domain::budget::coverage::MissingRule::Ignore,
            counts_from: None,
            max_hold_share: None,
            on_expiry: crate::domain::budget::catalogue::OnExpiry::Release,
            counted_from: DateTime::<Utc>::UNIX_EPOCH,
        };
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        CounterFact {
            budget: Arc::new(budget),
            key: CounterKey::whole(),
            tenant: None,
            period: Period { start: at("2026-06-01T00:00:00Z"), end: Some(at("2026-07-01T00:00:00Z")) },
            counter: Counter { posted: Quantity::new(posted.into()).unwrap(), ..Counter::default() },
        }
    }

    #[test]
    fn levels_by_what_was_posted() {
        use Level::{Between, Firing, Quiet};
        for (posted, expect) in [
            (0, [Quiet, Quiet, Quiet]),
            (479, [Quiet, Quiet, Quiet]),
            (480, [Between, Quiet, Quiet]),
            (499, [Between, Quiet, Quiet]),
            (500, [Firing, Quiet, Quiet]),
            (900, [Firing, Firing, Quiet]),
            (1_000, [Firing, Firing, Quiet]),
            (1_001, [Firing, Firing, Firing]),
        ] {
            let levels: Vec<Level> = read(&fact("1000", posted)).iter().map(|reading| reading.level).collect();
            assert_eq!(levels, expect, "{posted}");
        }
    }

    #[test]
    fn of_thresholds_that_are_crossed_at_once_the_highest_implies_the_others() {
        for (posted, implied) in
            [(499, [false, false]), (500, [false, false]), (900, [true, false]), (2_000, [true, false])]
        {
            let readings = read(&fact("1000", posted));
            let highest = readings.get(1).map(|reading| reading.alert.cause.clone());
            let found: Vec<bool> = readings.iter().take(2).map(|one| one.implied_by.is_some()).collect();
            assert_eq!(found, implied, "{posted}");
            assert!(readings.iter().all(|one| one.implied_by.is_none() || one.implied_by == highest));
        }
    }

    #[test]
    fn a_budget_of_each_run_names_the_run() {
        let mut fact = fact("1000", 500);
        Arc::make_mut(&mut fact.budget).each = Some(Each::Run);
        fact.key = CounterKey::stored("acme/r1");
        let run = |fact: &CounterFact| {
            read(fact).first().and_then(|one| one.alert.subject.run.as_ref().map(ToString::to_string))
        };
        assert_eq!(run(&fact), Some("r1".to_owned()));
        Arc::make_mut(&mut fact.budget).each = Some(Each::Agent);
        assert_eq!(run(&fact), None);
    }

    #[test]
    fn a_limit_of_nothing_has_no_thresholds_and_is_overdrawn_by_anything() {
        let levels: Vec<Level> = read(&fact("0", 1)).iter().map(|reading| reading.level).collect();
        assert_eq!(levels, [Level::Firing]);
    }

    #[test]
    fn a_key_is_written_so_that_a_path_keeps_it() {
        assert_eq!(encoded("acme/r 1&é"), "acme%2Fr%201%26%C3%A9");
    }
}
