//! The day's shares of the counters that several tenants share, shared out among them: all such counters together, because
//! a tenant's dominant share is that of whatever it takes the largest part of.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::prelude::ToPrimitive as _;

use super::draft::Draft;
use crate::domain::id::TenantId;
use crate::domain::pacing::fair::{Allotments, Claim, share_out};
use crate::domain::pacing::plan::Plan;

/// What a tenant wants of one counter today: what it took, what it is expected to take until the day ends, and what it asked for
/// lately and did not get.
fn wanted(draft: &Draft, tenant: &TenantId) -> f64 {
    let today = draft.by_tenant.get(tenant).copied().unwrap_or_default();
    let a_day = draft.basis.a_day.get(tenant.as_str()).copied().unwrap_or(0.0);
    let refused = draft.refused.get(tenant).copied().unwrap_or(0.0);
    today.standard + today.batch + a_day * draft.rest_of_day() + refused
}

/// The allotments of each draft, in their order; none for those that are one tenant's.
pub(super) fn allotments(drafts: &[Draft], plans: &[Plan]) -> Vec<Option<Allotments>> {
    let shared: Vec<(usize, &Draft, &Plan)> = drafts
        .iter()
        .zip(plans)
        .enumerate()
        .filter(|(_, (draft, _))| !draft.budget.is_within_tenant())
        .map(|(place, (draft, plan))| (place, draft, plan))
        .collect();
    let mut tenants: BTreeSet<TenantId> = BTreeSet::new();
    for (_, draft, _) in &shared {
        tenants.extend(draft.by_tenant.keys().cloned());
        tenants.extend(draft.waiting.iter().cloned());
        tenants.extend(draft.refused.keys().cloned());
        tenants.extend(draft.budget.weights.keys().cloned());
        tenants.extend(draft.basis.a_day.keys().filter_map(|tenant| TenantId::parse(tenant).ok()));
    }
    let capacity: Vec<f64> = shared.iter().map(|(_, _, plan)| plan.share).collect();
    let claims: Vec<Claim> = tenants.iter().map(|tenant| claim(tenant, &shared)).collect();
    let out = share_out(&capacity, &claims);
    let mut all: Vec<Option<Allotments>> = vec![None; drafts.len()];
    for (resource, (place, draft, plan)) in shared.iter().enumerate() {
        let given = |claim: &Claim, scale: f64| claim.demand.get(resource).copied().unwrap_or(0.0) * scale;
        let total: f64 = claims.iter().zip(&out.scales).map(|(claim, scale)| given(claim, *scale)).sum();
        // What nobody is expected to need is anybody's.
        let spare = (plan.share - total).max(0.0);
        let of = |(tenant, (claim, scale)): (&TenantId, (&Claim, &f64))| {
            let today = draft.by_tenant.get(tenant).copied().unwrap_or_default();
            let left = given(claim, *scale) + spare - today.standard - today.batch;
            (tenant.clone(), left.max(0.0))
        };
        let by_tenant: BTreeMap<TenantId, f64> = tenants.iter().zip(claims.iter().zip(&out.scales)).map(of).collect();
        // A tenant that nobody has heard of gets as much as one of weight 1 that asks for all.
        let of_others = if out.level.is_finite() { (out.level * plan.share).max(spare) } else { spare };
        if let Some(slot) = all.get_mut(*place) {
            *slot = Some(Allotments { by_tenant, of_others });
        }
    }
    all
}

fn claim(tenant: &TenantId, shared: &[(usize, &Draft, &Plan)]) -> Claim {
    let mut demand: Vec<f64> = shared.iter().map(|(_, draft, _)| wanted(draft, tenant)).collect();
    let mut wants_more = false;
    let mut weight: Option<f64> = None;
    for (need, (_, draft, plan)) in demand.iter_mut().zip(shared) {
        if draft.waiting.contains(tenant) {
            wants_more = true;
            if *need <= 0.0 {
                *need = plan.share;
            }
        }
        let named = draft.budget.weights.get(tenant).and_then(rust_decimal::Decimal::to_f64);
        weight = match (weight, named) {
            (Some(known), Some(named)) => Some(known.max(named)),
            (known, named) => known.or(named),
        };
    }
    Claim { weight: weight.unwrap_or(1.0), demand, most: if wants_more { f64::INFINITY } else { 1.0 } }
}
