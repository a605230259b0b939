//! Prompts that cost more than they did: fewer tokens from the cache, or more tokens in each call, of one feature.
//!
//! Nobody sees it in a bill: the same feature, the same calls, three times the price. So the daily ratio of each feature is
//! searched for one change of level: the split of the days whose two sides differ most (least squares, Scott and Knott
//! 1974). It is told when it is large, when it stands out of the days' own noise, and when it is not older than
//! [`CHANGE_AGE_MAX_DAYS`]. A slow growth shows as a change of level as well.
#![expect(
    clippy::float_arithmetic,
    reason = "a ratio is compared with others; no amount that is posted passes through it"
)]

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive as _;

use super::kind::{AlertKind, Severity};
use super::{Alert, Cause, Figure, Level, Reading, Subject};
use crate::domain::id::{FeatureId, TenantId};

/// How many days are looked at.
pub const PROMPT_DAYS_MAX: u16 = 35;
/// Fewest calls of a day that says something.
pub const PROMPT_CALLS_A_DAY_MIN: u64 = 20;
/// Fewest days before a change.
pub const PROMPT_DAYS_BEFORE_MIN: usize = 5;
/// The oldest change that is told, in days.
pub const CHANGE_AGE_MAX_DAYS: u16 = 20;
/// The smallest drop of the share from the cache that is told, absolute.
pub const CACHE_DROP_MIN: f64 = 0.10;
/// The largest share of what it was that is told of.
const CACHE_LEFT_MAX: f64 = 0.75;
/// The smallest growth of the tokens of a prompt that is told, as a factor.
pub const PREFIX_GROWTH_MIN: f64 = 1.5;
/// By how many of its standard errors a change must stand out. Four, because the best of some thirty splits is looked at.
const STANDS_OUT: f64 = 4.0;
/// Days never vary by less than this in the share from the cache.
const NOISE_SHARE: f64 = 0.01;
/// Days never vary by less than this in the logarithm of the prompt.
const NOISE_LOG: f64 = 0.03;
/// How long a change is worth knowing, and longer than it is told: then the new level is what is normal.
const NEW_NORMAL: TimeDelta = TimeDelta::days(21);

/// Calls of one feature within 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptDay {
    /// How many times 24 hours before the instant the day ended.
    pub days_ago: u16,
    /// Calls.
    pub calls: u64,
    /// Tokens of their prompts, from the cache or not.
    pub prompt: u64,
    /// Of these, tokens that came from the cache.
    pub cache_read: u64,
}

/// The days of one feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptFact {
    /// Whose.
    pub tenant: TenantId,
    /// Which feature.
    pub feature: FeatureId,
    /// Its days, the oldest first; days without calls are left out.
    pub days: Vec<PromptDay>,
}

/// What the days of a feature tell: one reading of the cache, one of the prompts.
#[must_use]
pub fn read(fact: &PromptFact, now: DateTime<Utc>) -> Vec<Reading> {
    let busy: Vec<&PromptDay> =
        fact.days.iter().filter(|day| day.calls >= PROMPT_CALLS_A_DAY_MIN && day.prompt > 0).collect();
    let shares: Vec<Day> =
        busy.iter().map(|day| Day { ago: day.days_ago, value: real(day.cache_read) / real(day.prompt) }).collect();
    let sizes: Vec<Day> =
        busy.iter().map(|day| Day { ago: day.days_ago, value: (real(day.prompt) / real(day.calls)).ln() }).collect();
    let mut readings = Vec::new();
    if let Some(change) = change(&shares, NOISE_SHARE) {
        let large = change.before - change.after >= CACHE_DROP_MIN && change.after <= change.before * CACHE_LEFT_MAX;
        let level = level(&change, large, change.latest <= f64::midpoint(change.before, change.after));
        readings.push(Reading::of(cache_alert(fact, &change, now), level));
    }
    if let Some(change) = change(&sizes, NOISE_LOG) {
        let large = change.after - change.before >= PREFIX_GROWTH_MIN.ln();
        let level = level(&change, large, change.latest >= f64::midpoint(change.before, change.after));
        readings.push(Reading::of(prefix_alert(fact, &change, now), level));
    }
    readings
}

/// A change fires while it is large, recent, and stands out. An old one that still stands says nothing new.
fn level(change: &Change, large: bool, stands: bool) -> Level {
    match (large && stands && change.stands_out, change.ago <= CHANGE_AGE_MAX_DAYS) {
        (true, true) => Level::Firing,
        (true, false) => Level::Between,
        (false, _) if large && stands => Level::Between,
        (false, _) => Level::Quiet,
    }
}

/// The value of one day.
#[derive(Debug, Clone, Copy)]
struct Day {
    ago: u16,
    value: f64,
}

/// A change of level.
#[derive(Debug, Clone, Copy)]
struct Change {
    before: f64,
    after: f64,
    /// The value of the latest day.
    latest: f64,
    /// How long ago the first day of the new level ended, in days.
    ago: u16,
    stands_out: bool,
}

/// Counts are far below what a float keeps exactly.
fn real(count: u64) -> f64 {
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "the one place; a ratio needs no 16th digit"
    )]
    let real = count as f64;
    real
}

fn mean(days: &[Day]) -> f64 {
    days.iter().map(|day| day.value).sum::<f64>() / real(u64::try_from(days.len()).unwrap_or(1).max(1))
}

fn squares(days: &[Day], mean: f64) -> f64 {
    days.iter().map(|day| (day.value - mean).powi(2)).sum()
}

/// The split whose sides differ most for their noise; none where too few days say anything.
fn change(days: &[Day], noise: f64) -> Option<Change> {
    let latest = days.last()?;
    let mut best: Option<(f64, Change)> = None;
    for at in PROMPT_DAYS_BEFORE_MIN..days.len() {
        let (old, new) = days.split_at_checked(at)?;
        let (before, after) = (mean(old), mean(new));
        let within = squares(old, before) + squares(new, after);
        if best.is_some_and(|(least, _)| least <= within) {
            continue;
        }
        let count = |part: &[Day]| real(u64::try_from(part.len()).unwrap_or(1));
        let spread = (within / (count(days) - 2.0).max(1.0)).sqrt().max(noise);
        let error = spread * (1.0 / count(old) + 1.0 / count(new)).sqrt();
        let stands_out = (after - before).abs() >= STANDS_OUT * error;
        let ago = new.first().map_or(0, |day| day.ago);
        best = Some((within, Change { before, after, latest: latest.value, ago, stands_out }));
    }
    best.map(|(_, change)| change)
}

fn rounded(value: f64, places: u32) -> Decimal {
    Decimal::from_f64(value).unwrap_or_default().round_dp(places)
}

fn about(fact: &PromptFact, kind: AlertKind, change: &Change, now: DateTime<Utc>) -> Alert {
    let changed = now.checked_sub_signed(TimeDelta::days(i64::from(change.ago).saturating_add(1)));
    let from = now.checked_sub_signed(TimeDelta::days(i64::from(PROMPT_DAYS_MAX)));
    let path = |from: DateTime<Utc>| {
        format!(
            "/v1/usage?tenant={}&feature={}&bucket=day&from={}",
            fact.tenant,
            fact.feature,
            from.format("%Y-%m-%dT%H:00:00Z")
        )
    };
    Alert {
        cause: Cause::new(kind, &[fact.tenant.as_str(), fact.feature.as_str()]),
        kind,
        severity: Severity::Warning,
        subject: Subject {
            tenant: Some(fact.tenant.clone()),
            feature: Some(fact.feature.clone()),
            ..Subject::default()
        },
        message: String::new(),
        advice: String::new(),
        figures: changed.map(|at| ("changed_since", Figure::Instant(at))).into_iter().collect(),
        links: from.map(|from| ("usage", path(from))).into_iter().collect(),
        ends_at: now.checked_add_signed(NEW_NORMAL),
    }
}

fn cache_alert(fact: &PromptFact, change: &Change, now: DateTime<Utc>) -> Alert {
    let mut alert = about(fact, AlertKind::CacheHitDrop, change, now);
    let percent = |share: f64| rounded(share * 100.0, 0);
    alert.message = format!(
        "{} of {} reads {} % of its prompts from the cache, {} % before",
        fact.feature,
        fact.tenant,
        percent(change.after),
        percent(change.before)
    );
    alert.advice =
        "Find what changed at the beginning of the prompt: a time, an id or a new order of tools breaks the cache."
            .to_owned();
    alert.figures.push(("share_before", Figure::Decimal(rounded(change.before, 4))));
    alert.figures.push(("share_after", Figure::Decimal(rounded(change.after, 4))));
    alert.figures.push(("share_last_day", Figure::Decimal(rounded(change.latest, 4))));
    alert
}

fn prefix_alert(fact: &PromptFact, change: &Change, now: DateTime<Utc>) -> Alert {
    let mut alert = about(fact, AlertKind::PrefixGrowth, change, now);
    let tokens = |log: f64| rounded(log.exp(), 0);
    alert.message = format!(
        "prompts of {} of {} have {} tokens a call, {} before",
        fact.feature,
        fact.tenant,
        tokens(change.after),
        tokens(change.before)
    );
    alert.advice = "Find what was added to every prompt, and leave out what the calls do not need.".to_owned();
    alert.figures.push(("tokens_before", Figure::Decimal(tokens(change.before))));
    alert.figures.push(("tokens_after", Figure::Decimal(tokens(change.after))));
    alert.figures.push(("tokens_last_day", Figure::Decimal(tokens(change.latest))));
    alert
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Days of 1,000 calls: each with its share from the cache in percent and its tokens a call, the oldest first.
    fn fact(days: &[(u64, u64)]) -> PromptFact {
        let count = days.len();
        let day = |(at, (percent, tokens)): (usize, &(u64, u64))| PromptDay {
            days_ago: u16::try_from(count - 1 - at).unwrap(),
            calls: 1_000,
            prompt: tokens * 1_000,
            cache_read: tokens * 10 * percent,
        };
        PromptFact {
            tenant: TenantId::parse("acme").unwrap(),
            feature: FeatureId::parse("chat").unwrap(),
            days: days.iter().enumerate().map(day).collect(),
        }
    }

    fn now() -> DateTime<Utc> {
        "2026-06-10T12:00:00Z".parse().unwrap()
    }

    /// The levels of the cache and of the prompts.
    fn levels(days: &[(u64, u64)]) -> Vec<Level> {
        read(&fact(days), now()).iter().map(|reading| reading.level).collect()
    }

    /// So many days, each with its share and its tokens.
    type Span = (usize, (u64, u64));

    fn days(spans: &[Span]) -> Vec<(u64, u64)> {
        spans.iter().flat_map(|(count, day)| std::iter::repeat_n(*day, *count)).collect()
    }

    #[test]
    fn a_cache_that_fell_from_92_to_31_percent_and_prompts_that_grew_from_4k_to_11k_are_told_the_next_day() {
        use Level::{Between, Firing, Quiet};
        let table: &[(&[Span], [Level; 2])] = &[
            (&[(20, (92, 4_000))], [Quiet, Quiet]),
            (&[(19, (92, 4_000)), (1, (31, 4_000))], [Firing, Quiet]),
            (&[(19, (92, 4_000)), (1, (92, 11_000))], [Quiet, Firing]),
            (&[(5, (92, 4_000)), (1, (31, 11_000))], [Firing, Firing]),
            (&[(15, (92, 4_000)), (14, (31, 11_000))], [Firing, Firing]),
            // Long known: what was told stands, and nobody is told anew.
            (&[(12, (92, 4_000)), (22, (31, 11_000))], [Between, Between]),
            // Back again.
            (&[(15, (92, 4_000)), (3, (31, 11_000)), (10, (92, 4_000))], [Quiet, Quiet]),
            // Better than before.
            (&[(15, (31, 11_000)), (5, (92, 4_000))], [Quiet, Quiet]),
            // Too small to be worth a word.
            (&[(15, (92, 4_000)), (5, (84, 5_000))], [Quiet, Quiet]),
        ];
        for (spans, expect) in table {
            assert_eq!(levels(&days(spans)), expect, "{spans:?}");
        }
        assert_eq!(levels(&days(&[(5, (92, 4_000))])), [], "five days say nothing");
    }

    #[test]
    fn a_slow_growth_is_told_as_well() {
        let growing: Vec<(u64, u64)> = (0..28).map(|day| (92 - 2 * day, 4_000 + 250 * day)).collect();
        assert_eq!(levels(&growing), [Level::Firing, Level::Firing]);
    }

    #[test]
    fn the_numbers_say_what_it_was_what_it_is_and_since_when() {
        let readings = read(&fact(&days(&[(19, (92, 4_000)), (2, (31, 11_000))])), now());
        let told: Vec<String> = readings.iter().map(|reading| reading.alert.message.clone()).collect();
        assert_eq!(
            told,
            [
                "chat of acme reads 31 % of its prompts from the cache, 92 % before",
                "prompts of chat of acme have 11000 tokens a call, 4000 before"
            ]
        );
        let since = Figure::Instant(now() - TimeDelta::days(2));
        assert_eq!(readings[0].alert.figures[0], ("changed_since", since));
    }

    #[test]
    fn quiet_days_say_nothing() {
        let mut fact = fact(&days(&[(19, (92, 4_000)), (1, (31, 11_000))]));
        fact.days.last_mut().unwrap().calls = 19;
        assert!(read(&fact, now()).iter().all(|reading| reading.level == Level::Quiet));
    }

    proptest! {
        #[test]
        fn days_that_only_vary_are_never_told(
            noise in prop::collection::vec((80_u64..=96, 3_600_u64..=4_400), 0..35),
        ) {
            prop_assert!(levels(&noise).iter().all(|level| *level != Level::Firing));
        }

        #[test]
        fn no_days_panic(raw in prop::collection::vec((0_u16..40, any::<u64>(), any::<u64>(), any::<u64>()), 0..40)) {
            let days = raw.into_iter().map(|(days_ago, calls, prompt, cache_read)| PromptDay { days_ago, calls, prompt, cache_read });
            let fact = PromptFact { days: days.collect(), ..fact(&[]) };
            for reading in read(&fact, now()) {
                prop_assert!(reading.alert.figures.len() == 4);
            }
        }
    }
}
