//! From a projection to its answer: when, who drives it, who is at work then, what each zone bears, the fair split.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::asked::Asked;
use super::subject::real;
use crate::domain::budget::scope::Each;
use crate::domain::forecast::{Confidence, Projection, Reason, WorkWeek, empty_end_shares, fair_split, who_is_at_work};
use crate::domain::id::{FeatureId, TenantId};
use crate::wire::projection::answer::{
    BandBody, CaveatBody, DRIVERS_MAX, DriverBody, EmptyEndBody, ExhaustsAtBody, ExhaustsAtLocalBody, FactorRangeBody,
    FairShareBody, PATH_HOURS_MAX, PathHourBody, ProjectionBody, SummaryBody, TenantAtWorkBody, WatermarkBody,
    ZoneBody,
};
use crate::wire::projection::figure::{figure, hours, share};

/// Seconds in an hour.
const HOUR_S: f64 = 3_600.0;

/// The distribution, as it is told.
pub(super) fn exhausts_at(projection: &Projection) -> ExhaustsAtBody {
    ExhaustsAtBody { p10: projection.p10, p50: projection.p50, p90: projection.p90 }
}

/// How far to trust a projection, and why not further: what the method says, and what the books cannot tell.
pub(super) fn trust(asked: &Asked, projection: &Projection) -> (Confidence, Vec<CaveatBody>) {
    let caveat = |code: &str, detail: &str| CaveatBody { code: code.to_owned(), detail: detail.to_owned() };
    let mut confidence = projection.confidence;
    let mut caveats: Vec<CaveatBody> =
        projection.reasons.iter().map(|reason| caveat(reason.code(), words(*reason))).collect();
    if !asked.rolled_up {
        confidence = Confidence::Low;
        let detail = "the roll-up does not tell agents, runs and labels apart: this is the counter's own straight line";
        caveats.push(caveat("not_in_rollup", detail));
    }
    if asked.uncounted > 0 {
        confidence = confidence.min(Confidence::Medium);
        let detail = format!("{} announced works do not say how much they are in this measure", asked.uncounted);
        caveats.push(caveat("planned_not_counted", &detail));
    }
    (confidence, caveats)
}

const fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::NoHistory => "nothing was ever used: nothing is expected",
        Reason::NewTenant => "a fifth or more is expected of tenants younger than three days, by a straight line",
        Reason::YoungTenant => {
            "a fifth or more is expected of tenants younger than two weeks, whose weekdays are not known"
        }
        Reason::ShortHistory => "there are less than four weeks of history",
        Reason::LevelShift => "the level has just changed, and is taken from the last days",
        Reason::Bursty => "use comes in bursts: one week says little about the next",
        Reason::FarAway => {
            "the end is more than ten days away, where the unknown level outweighs the hours of the week"
        }
        Reason::FactorRange => "the range of the emission factors is wider than that of the use",
        Reason::BeyondHorizon => "the reset is further away than is looked ahead",
    }
}

/// One projection without its path and its people.
pub(super) fn summary(asked: &Asked, projection: &Projection) -> SummaryBody {
    let subject = &asked.subject;
    let local = |at: Option<DateTime<Utc>>| at.map(|at| subject.zone.to_local_rfc3339(at));
    let (confidence, reasons) = trust(asked, projection);
    let at_reset = projection.expected_at_reset;
    SummaryBody {
        budget: subject.budget.id.to_string(),
        key: subject.key.as_str().to_owned(),
        measure: subject.budget.measure.name().to_owned(),
        made_at: asked.now,
        period_start: subject.period.start,
        resets_at: subject.period.end,
        resets_at_local: local(subject.period.end),
        timezone: subject.zone.name().to_owned(),
        limit: subject.limit.normalize(),
        posted: subject.posted.normalize(),
        held: subject.held.normalize(),
        headroom: subject.headroom().normalize(),
        exhausts_at: exhausts_at(projection),
        exhausts_at_local: ExhaustsAtLocalBody {
            p10: local(projection.p10),
            p50: local(projection.p50),
            p90: local(projection.p90),
        },
        p_exhaust: share(projection.p_exhaust),
        expected_at_reset: BandBody {
            low: figure(at_reset.low),
            expected: figure(at_reset.expected),
            high: figure(at_reset.high),
        },
        confidence: confidence.name().to_owned(),
        reasons,
        method: projection.method.to_owned(),
        version: projection.version,
        class: projection.class.name().to_owned(),
        history_days: projection.history_days,
        watermark: WatermarkBody { recorded_until: asked.now, catalogue_version: asked.catalogue_version },
    }
}

/// All of one projection.
pub(super) fn body(asked: &Asked, projection: &Projection, path_hours: usize) -> ProjectionBody {
    let hour = |hour: &crate::domain::forecast::Hour| PathHourBody {
        start: hour.start,
        expected: figure(hour.expected),
        used: figure(hour.used),
        used_low: figure(hour.used_low),
        used_high: figure(hour.used_high),
    };
    let people = asked.rolled_up;
    ProjectionBody {
        summary: summary(asked, projection),
        factor_range: asked.factor_range.map(|(low, high)| FactorRangeBody { low: figure(low), high: figure(high) }),
        path: projection.path.iter().take(path_hours.min(PATH_HOURS_MAX)).map(hour).collect(),
        path_hours_total: projection.path.len(),
        tenants: if people { tenants(projection) } else { Vec::new() },
        features: if people { features(asked, projection) } else { Vec::new() },
        empty_end: people.then(|| empty_end(asked, projection)).flatten(),
        fair_split: if people { fair_shares(asked, projection) } else { Vec::new() },
    }
}

/// What one driver used, and is expected to.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    used: f64,
    expected: f64,
}

fn largest_first<K: Ord>(parts: BTreeMap<K, Part>) -> (Vec<(K, Part)>, f64) {
    let total: f64 = parts.values().map(|part| part.expected).sum();
    let mut all: Vec<(K, Part)> = parts.into_iter().collect();
    let larger = |one: &(K, Part), other: &(K, Part)| -> Ordering {
        other.1.expected.total_cmp(&one.1.expected).then(other.1.used.total_cmp(&one.1.used)).then(one.0.cmp(&other.0))
    };
    all.sort_by(larger);
    all.truncate(DRIVERS_MAX);
    (all, total)
}

fn share_of(part: f64, total: f64) -> rust_decimal::Decimal {
    share(if total > 0.0 { part / total } else { 0.0 })
}

fn tenants(projection: &Projection) -> Vec<DriverBody> {
    let mut parts: BTreeMap<(&TenantId, &str), Part> = BTreeMap::new();
    for source in &projection.by_source {
        let part = parts.entry((&source.tenant, source.zone.name())).or_default();
        part.used += source.used_in_period;
        part.expected += source.expected_to_reset;
    }
    let (largest, total) = largest_first(parts);
    let driver = |((tenant, zone), part): ((&TenantId, &str), Part)| DriverBody {
        tenant: Some(tenant.to_string()),
        feature: None,
        timezone: Some(zone.to_owned()),
        used: figure(part.used),
        expected_to_reset: figure(part.expected),
        share: share_of(part.expected, total),
    };
    largest.into_iter().map(driver).collect()
}

/// Features: what is expected of each tenant, shared out as its last four weeks were.
fn features(asked: &Asked, projection: &Projection) -> Vec<DriverBody> {
    let mut recent: BTreeMap<&TenantId, f64> = BTreeMap::new();
    for ((tenant, _), used) in &asked.features {
        *recent.entry(tenant).or_default() += used.recent;
    }
    let mut expected: BTreeMap<&TenantId, f64> = BTreeMap::new();
    for source in &projection.by_source {
        *expected.entry(&source.tenant).or_default() += source.expected_to_reset;
    }
    let mut parts: BTreeMap<&FeatureId, Part> = BTreeMap::new();
    for ((tenant, feature), used) in &asked.features {
        let of_tenant = recent.get(tenant).copied().unwrap_or_default();
        let share = if of_tenant > 0.0 { used.recent / of_tenant } else { 0.0 };
        let part = parts.entry(feature).or_default();
        part.used += used.used;
        part.expected += share * expected.get(tenant).copied().unwrap_or_default();
    }
    let (largest, total) = largest_first(parts);
    let driver = |(feature, part): (&FeatureId, Part)| DriverBody {
        tenant: None,
        feature: Some(feature.to_string()),
        timezone: None,
        used: figure(part.used),
        expected_to_reset: figure(part.expected),
        share: share_of(part.expected, total),
    };
    largest.into_iter().map(driver).collect()
}

/// The time without the budget, if some is expected: from the expected instant, or the earliest likely one.
fn empty_end(asked: &Asked, projection: &Projection) -> Option<EmptyEndBody> {
    let end = asked.subject.period.end?;
    let (start, quantile) = match (projection.p50, projection.p10) {
        (Some(p50), _) => (p50, "p50"),
        (None, Some(p10)) => (p10, "p10"),
        (None, None) => return None,
    };
    let week = WorkWeek::default();
    let at_work = who_is_at_work(&asked.sources, week, start);
    let working = at_work.iter().filter(|tenant| tenant.at_work).count();
    let by_tenant: BTreeMap<String, &crate::domain::forecast::AtWork> =
        at_work.iter().map(|one| (one.tenant.to_string(), one)).collect();
    let drivers = tenants(projection);
    let found = drivers.iter().filter_map(|driver| by_tenant.get(driver.tenant.as_deref()?));
    let people = found.map(|one| TenantAtWorkBody {
        tenant: one.tenant.to_string(),
        timezone: one.zone.name().to_owned(),
        local: one.zone.to_local_rfc3339(start),
        at_work: one.at_work,
    });
    let zones = empty_end_shares(projection, week, start, end);
    let zone = |one: crate::domain::forecast::EmptyEnd| ZoneBody {
        timezone: one.zone.name().to_owned(),
        tenants: one.tenants,
        local: one.zone.to_local_rfc3339(start),
        reset_local: one.zone.to_local_rfc3339(end),
        working_hours: hours(one.working_hours),
        share: share(one.share),
        expected: figure(one.expected),
        expected_share: share(one.expected_share),
    };
    let seconds = i32::try_from(end.signed_duration_since(start).num_seconds()).unwrap_or(i32::MAX);
    Some(EmptyEndBody {
        start,
        quantile: quantile.to_owned(),
        end,
        hours: hours(f64::from(seconds) / HOUR_S),
        tenants: people.collect(),
        tenants_at_work: u32::try_from(working).unwrap_or(u32::MAX),
        zones: zones.into_iter().map(zone).collect(),
    })
}

/// The tenant budgets that would bear a shortage evenly; none where one tenant has the counter to itself.
pub(super) fn fair_shares(asked: &Asked, projection: &Projection) -> Vec<FairShareBody> {
    let subject = &asked.subject;
    let shared = subject.tenant.is_none() && !subject.budget.each.as_ref().is_some_and(Each::is_within_tenant);
    if !shared || !asked.rolled_up {
        return Vec::new();
    }
    let split = fair_split(projection, real(subject.limit));
    let one = |share: crate::domain::forecast::TenantShare| FairShareBody {
        budget: format!("{}.{}", subject.budget.id, share.tenant),
        tenant: share.tenant.to_string(),
        limit: figure(share.suggested),
        used: figure(share.used),
        demand: figure(share.demand),
    };
    // What belongs to no tenant, a true-up with a provider as a whole, has no budget of its own.
    split.into_iter().filter(|share| !share.tenant.is_nobody()).map(one).collect()
}
