//! The fair split: tenant budgets that add up to the limit and bear a shortage evenly.
//!
//! Weighted max-min with the expected demand as the weight: everybody gets the same share of what it would use in the
//! period, except who has used more than that already, because what is used cannot be given back.

use std::collections::BTreeMap;

use super::number::clean;
use super::projection::Projection;
use crate::domain::id::TenantId;

/// What one tenant should have.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantShare {
    /// Who.
    pub tenant: TenantId,
    /// What it used in this period so far.
    pub used: f64,
    /// What it would use in the whole period if nobody stopped it.
    pub demand: f64,
    /// The budget for the whole period.
    pub suggested: f64,
}

/// Splits a limit among the tenants of a projection, by name.
///
/// The suggestions add up to the limit, or to what is used already where that is more. Where nothing is short, each is
/// above its demand by the same share. Without any demand the limit is split evenly.
#[must_use]
pub fn fair_split(projection: &Projection, limit: f64) -> Vec<TenantShare> {
    let mut tenants: BTreeMap<&TenantId, (f64, f64)> = BTreeMap::new();
    for source in &projection.by_source {
        let (used, demand) = tenants.entry(&source.tenant).or_default();
        let so_far = clean(source.used_in_period);
        *used += so_far;
        *demand += so_far + clean(source.expected_to_reset);
    }
    let limit = clean(limit);
    let total: f64 = tenants.values().map(|(_, demand)| demand).sum();
    let even = if total > 0.0 { 0.0 } else { limit };
    let level = level(tenants.values().copied(), limit);
    let count = super::number::real(tenants.len()).max(1.0);
    let share = |(tenant, (used, demand)): (&TenantId, (f64, f64))| TenantShare {
        tenant: tenant.clone(),
        used,
        demand,
        suggested: used.max(demand * level).max(even / count),
    };
    tenants.into_iter().map(share).collect()
}

/// The share of its demand that everybody gets: the sum of `max(used, share * demand)` is the limit.
fn level(tenants: impl Iterator<Item = (f64, f64)>, limit: f64) -> f64 {
    // Who has used the largest share of its demand leaves first, with what it used.
    let mut rest: Vec<(f64, f64)> = tenants.filter(|(_, demand)| *demand > 0.0).collect();
    rest.sort_by(|one, other| (other.0 / other.1).total_cmp(&(one.0 / one.1)));
    let mut left = limit;
    let mut demand: f64 = rest.iter().map(|(_, demand)| demand).sum();
    for (used, its_demand) in rest {
        let level = left.max(0.0) / demand;
        if used / its_demand <= level || !level.is_finite() {
            return if level.is_finite() { level } else { 0.0 };
        }
        left -= used;
        demand -= its_demand;
    }
    0.0
}
