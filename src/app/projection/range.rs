//! The range of the emission factors behind a carbon budget, carried into its projection.
//!
//! Each call is posted with the middle figure of its factors. How far the truth may lie from it is known by model and
//! region: the likely range, weighted by the grams each of them used lately. The factors of one model are one unknown, so
//! ranges are added, not averaged out.

use std::sync::Arc;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use super::subject::real;
use crate::app::{App, AppError};
use crate::domain::amounts::Tokens;
use crate::domain::budget::catalogue::Budget;
use crate::domain::budget::measure::Measure;
use crate::domain::budget::scope::{ModelScope, Scope};
use crate::domain::id::{FeatureId, ModelId, ProviderId, RegionId, TenantId};
use crate::domain::usage::Usage;
use crate::store::usage::{SumsAsked, SumsFound, sums};
use crate::wire::usage::{Basis, Dimension, UsageSource, UsageSums};

/// Days of use that say which factors matter.
const RECENT_DAYS: i64 = 28;
/// Most pairs of model and region that are looked at.
const GROUPS_MAX: i64 = 1_000;

/// What a group of calls used, by who served it.
pub(super) struct Served {
    pub(super) provider: ProviderId,
    pub(super) model: ModelId,
    pub(super) region: Option<RegionId>,
    pub(super) found: SumsFound,
}

/// What the calls of a scope used in the last four weeks, by provider, model and region.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn served(
    app: &App,
    scope: &Scope,
    confined: Option<&TenantId>,
    now: DateTime<Utc>,
) -> Result<Vec<Served>, AppError> {
    let from = now - TimeDelta::days(RECENT_DAYS);
    let from = from.duration_trunc(TimeDelta::hours(1)).unwrap_or(from);
    let named = [
        (Dimension::Tenant, scope.tenant.as_ref().map(TenantId::as_str)),
        (Dimension::Feature, scope.feature.as_ref().map(FeatureId::as_str)),
        (Dimension::Provider, scope.provider.as_ref().map(ProviderId::as_str)),
        (Dimension::Model, scope.model.as_ref().and_then(ModelScope::one).map(ModelId::as_str)),
        (Dimension::Region, scope.region.as_ref().map(RegionId::as_str)),
    ];
    let asked = SumsAsked {
        basis: Basis::AsPosted,
        source: UsageSource::Rollup,
        from,
        to: now,
        starts: vec![from],
        group_by: vec![Dimension::Provider, Dimension::Model, Dimension::Region],
        filters: named.into_iter().filter_map(|(name, value)| Some((name, vec![value?.to_owned()]))).collect(),
        spellings: Arc::default(),
        limit: GROUPS_MAX,
    };
    let mut read = app.begin_read(confined).await?;
    let found = sums(&mut read, &asked).await?;
    read.commit().await?;
    let one = |found: SumsFound| {
        let [provider, model, region] = found.group.as_slice() else { return None };
        Some(Served {
            provider: ProviderId::parse(provider.as_deref()?).ok()?,
            model: ModelId::parse(model.as_deref()?).ok()?,
            region: region.as_deref().and_then(|region| RegionId::parse(region).ok()),
            found,
        })
    };
    let in_scope = |served: &Served| scope.model.as_ref().is_none_or(|models| models.holds(&served.model));
    Ok(found.into_iter().filter_map(one).filter(in_scope).collect())
}

/// What one call of a group uses on average.
pub(super) fn of_one_call(usage: &UsageSums, requests: i64) -> Usage {
    let part = |tokens: i64| {
        let of_one = tokens.checked_div(requests.max(1)).and_then(|tokens| u64::try_from(tokens).ok());
        Tokens::new(of_one.unwrap_or(0)).unwrap_or_default()
    };
    Usage {
        input: part(usage.input),
        cache_read: part(usage.cache_read),
        cache_write_5m: part(usage.cache_write_5m),
        cache_write_1h: part(usage.cache_write_1h),
        output: part(usage.output),
        reasoning: part(usage.reasoning),
    }
}

/// The least and the most over the figure that is posted, for a budget in grams; none for any other, and where nothing was
/// used lately.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn factor_range(
    app: &App,
    budget: &Budget,
    confined: Option<&TenantId>,
    now: DateTime<Utc>,
) -> Result<Option<(f64, f64)>, AppError> {
    let market = match budget.measure {
        Measure::Gco2e => false,
        Measure::Gco2eMarket => true,
        Measure::Requests | Measure::Tokens | Measure::Usd | Measure::Weighted(_) => return Ok(None),
    };
    let rates = app.snapshots.latest().rates;
    let (mut low, mut middle, mut high) = (0.0, 0.0, 0.0);
    for group in served(app, &budget.scope, confined, now).await? {
        let usage = of_one_call(&group.found.sums.usage, group.found.sums.requests);
        let inputs =
            rates.factors.resolve(rates.profile, &group.provider, &group.model, group.region.as_ref(), None, now);
        let likely = inputs.estimate(&usage, None).likely;
        let electricity = if market { likely.usage_market_g } else { likely.usage_location_g };
        let grams = electricity.plus(likely.embodied_g);
        let amounts = &group.found.sums.amounts;
        let posted = real(if market { amounts.gco2e_market } else { amounts.gco2e });
        if grams.mid > 0.0 && posted > 0.0 {
            low += posted * grams.min / grams.mid;
            middle += posted;
            high += posted * grams.max / grams.mid;
        }
    }
    Ok((middle > 0.0).then(|| (low / middle, high / middle)))
}
