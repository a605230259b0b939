//! The method: from a question to a projection.
//!
//! | phase | what happens |
//! |---|---|
//! | clocks | the hours of the week on each zone's walls, past and to come |
//! | fit | for each source its shape, its level and its age ([`profile`](super::profile), [`level`](super::level)) |
//! | path | rates on the walls of the hours to come, summed by zone; announced work is added |
//! | band | the errors of the pool's class by horizon |
//! | answer | where path and band meet what is left |

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::clocks::{ByHour, Clocks, WEEK};
use super::errors::{ErrorClass, interpolate};
use super::fit::{Fit, fit};
use super::number::{after, clean, hour_number, hours_between};
use super::outlook::{Hours, Outlook, add_rates};
use super::profile::{Age, HISTORY};
use super::projection::{Banded, Confidence, Hour, Projection, Reason, SourcePath};
use super::question::{Planned, Question, Source};
use super::steadiness::whole_days;
use crate::domain::calendar::Zone;

/// The name of the method.
pub const METHOD: &str = "hour_of_week";
/// Its version: another one may answer the same question otherwise.
pub const VERSION: u32 = 2;
/// How far is looked ahead, in hours: 366 days.
pub const HORIZON_HOURS_MAX: u32 = 8_784;
/// For how many hours each source has a path of its own: 93 days.
pub const SOURCE_HOURS_MAX: u32 = 2_232;
/// The share of what is expected from which on sources of a kind lower the confidence in the whole.
const SHARE_OF_NOTE: f64 = 0.2;
/// Days from which on the expected end is far away.
const FAR_DAYS: f64 = 10.0;
/// Hours of history below which it is short: four weeks.
const SHORT_HISTORY: usize = 672;

/// Projects a budget. Total: any question has an answer.
#[must_use]
pub fn project(question: &Question<'_>) -> Projection {
    let Question { now, limit, posted, held, sources, planned, errors, factor_range, .. } = *question;
    let horizon = after(now, f64::from(HORIZON_HOURS_MAX));
    let until = question.reset.unwrap_or(horizon).min(horizon);
    let hours = Hours::new(now, until);
    let clocks = clocks(sources, now, &hours);
    let fit = fit(now, question.period_start, sources, planned, &clocks, errors);
    let forecast = pool_path(sources, &fit, &clocks, &hours);
    let announced = planned_path(planned, &hours);
    let by_source = source_paths(question, &fit, &clocks, &hours);
    let class = fit.class;
    let outlook = Outlook::new(hours, &forecast, &announced, errors, class, factor_range);

    let remaining = question.remaining();
    let [p10, p50, p90] = outlook.instants(remaining);
    let used = clean(posted + held);
    let reasons = reasons(question, &fit, &by_source, &outlook, p50.unwrap_or(until));
    let each = forecast.iter().zip(&announced).enumerate();
    let edge = |edge: &super::outlook::Edge, place: usize| used + edge.0.get(place).copied().unwrap_or(0.0);
    Projection {
        path: each
            .map(|(place, (forecast, announced))| Hour {
                start: outlook.hours.start(place),
                expected: forecast + announced,
                used: edge(&outlook.middle, place),
                used_low: edge(&outlook.low, place),
                used_high: edge(&outlook.high, place),
            })
            .collect(),
        by_source,
        p10,
        p50,
        p90,
        p_exhaust: if limit.is_nan() { 1.0 } else { outlook.probability(remaining, outlook.last()) },
        expected_at_reset: Banded {
            low: used + outlook.low.last(),
            expected: used + outlook.middle.last(),
            high: used + outlook.high.last(),
        },
        confidence: reasons.iter().map(|reason| reason.confidence_max()).min().unwrap_or(Confidence::High),
        reasons,
        class,
        method: METHOD,
        version: VERSION,
        history_days: whole_days(fit.hours),
    }
}

/// The walls' hours, from the oldest that is looked at to the end of the path.
pub(super) fn clocks(sources: &[Source], now: DateTime<Utc>, hours: &Hours) -> Clocks {
    let back = i64::try_from(HISTORY).unwrap_or(0);
    // A roll-up may be behind: its newest hour can be older than the one that runs.
    let oldest = sources.iter().map(|source| hour_number(source.series.until().min(now))).min();
    let oldest = oldest.unwrap_or(hours.first).max(hours.first.saturating_sub(back));
    Clocks::new(sources, oldest.saturating_sub(back), hours.end().saturating_add(1))
}

/// What all sources are expected to use in each hour: those of one zone share a week.
pub(super) fn pool_path(sources: &[Source], fit: &Fit, clocks: &Clocks, hours: &Hours) -> Vec<f64> {
    let mut zones: BTreeMap<Zone, ByHour> = BTreeMap::new();
    for (source, fitted) in sources.iter().zip(&fit.sources) {
        let rates = zones.entry(source.zone).or_insert([0.0; WEEK]);
        rates.iter_mut().zip(&fitted.rate).for_each(|(total, rate)| *total += rate);
    }
    let mut path = vec![0.0; hours.lengths.len()];
    for (zone, rates) in &zones {
        add_rates(rates, clocks.between(*zone, hours.first, hours.end()), &hours.lengths, &mut path);
    }
    path
}

/// What is announced for each hour.
fn planned_path(planned: &[Planned], hours: &Hours) -> Vec<f64> {
    let mut path = vec![0.0; hours.lengths.len()];
    for planned in planned {
        add_planned(planned, hours, &mut path);
    }
    path
}

fn add_planned(planned: &Planned, hours: &Hours, path: &mut [f64]) {
    let first = usize::try_from(hour_number(planned.from).saturating_sub(hours.first)).unwrap_or(0);
    for ((place, total), length) in path.iter_mut().enumerate().zip(&hours.lengths).skip(first) {
        let start = hours.start(place);
        if start >= planned.until {
            break;
        }
        *total += planned.within(start, after(start, *length));
    }
}

/// The parts of the sources, and of announced work that belongs to none of them.
fn source_paths(question: &Question<'_>, fit: &Fit, clocks: &Clocks, hours: &Hours) -> Vec<SourcePath> {
    let kept = usize::try_from(SOURCE_HOURS_MAX).unwrap_or(0).min(hours.lengths.len());
    let mut paths: Vec<SourcePath> = Vec::with_capacity(question.sources.len());
    for (source, fitted) in question.sources.iter().zip(&fit.sources) {
        let keys = clocks.between(source.zone, hours.first, hours.end());
        let mut path = vec![0.0; kept];
        add_rates(&fitted.rate, keys, &hours.lengths, &mut path);
        let mut rest = vec![0.0; hours.lengths.len().saturating_sub(kept)];
        let later = (keys.get(kept..).unwrap_or_default(), hours.lengths.get(kept..).unwrap_or_default());
        add_rates(&fitted.rate, later.0, later.1, &mut rest);
        paths.push(SourcePath {
            tenant: source.tenant.clone(),
            feature: source.feature.clone(),
            zone: source.zone,
            used_in_period: fitted.used_in_period,
            expected_to_reset: path.iter().sum::<f64>() + rest.iter().sum::<f64>(),
            path,
        });
    }
    for planned in question.planned {
        let its_own = |path: &SourcePath| path.tenant == planned.tenant && path.feature == planned.feature;
        let place = paths.iter().position(its_own).unwrap_or(paths.len());
        if place == paths.len() {
            let of_tenant = question.sources.iter().find(|source| source.tenant == planned.tenant);
            paths.push(SourcePath {
                tenant: planned.tenant.clone(),
                feature: planned.feature.clone(),
                zone: of_tenant.map_or(Zone::UTC, |source| source.zone),
                used_in_period: 0.0,
                expected_to_reset: 0.0,
                path: vec![0.0; kept],
            });
        }
        if let Some(path) = paths.get_mut(place) {
            let mut all = vec![0.0; hours.lengths.len()];
            add_planned(planned, hours, &mut all);
            path.expected_to_reset += all.iter().sum::<f64>();
            path.path.iter_mut().zip(&all).for_each(|(total, planned)| *total += planned);
        }
    }
    paths
}

/// What lowers the confidence.
fn reasons(
    question: &Question<'_>,
    fit: &Fit,
    by_source: &[SourcePath],
    outlook: &Outlook,
    expected_end: DateTime<Utc>,
) -> Vec<Reason> {
    let expected: f64 = by_source.iter().map(|path| path.expected_to_reset).sum();
    let of_note = |applies: &dyn Fn(&super::fit::Fitted) -> bool| {
        let theirs = fit.sources.iter().zip(by_source).filter(|(fitted, _)| applies(fitted));
        let share = theirs.map(|(_, path)| path.expected_to_reset).sum::<f64>();
        expected > 0.0 && share >= SHARE_OF_NOTE * expected
    };
    let wider = |(low, high): (f64, f64)| {
        let errors = question.errors.at(fit.class, hours_between(question.now, expected_end));
        (high / low).ln() > interpolate(&errors, 0.9) - interpolate(&errors, 0.1)
    };
    let horizon = after(question.now, f64::from(HORIZON_HOURS_MAX));
    let holds = |reason: Reason| match reason {
        Reason::NoHistory => fit.hours == 0 || expected <= 0.0,
        Reason::NewTenant => of_note(&|fitted| fitted.age == Age::New),
        Reason::YoungTenant => of_note(&|fitted| fitted.age == Age::Young),
        Reason::ShortHistory => fit.hours < SHORT_HISTORY,
        Reason::LevelShift => of_note(&|fitted| fitted.shifted),
        Reason::Bursty => matches!(fit.class, ErrorClass::Bursty | ErrorClass::YoungBursty),
        Reason::FarAway => hours_between(question.now, expected_end) > FAR_DAYS * 24.0,
        Reason::FactorRange => question.factor_range.is_some_and(wider),
        Reason::BeyondHorizon => {
            question.reset.is_none_or(|reset| reset > horizon) && outlook.middle.last() < question.remaining()
        }
    };
    Reason::ALL.into_iter().filter(|reason| holds(*reason)).collect()
}
