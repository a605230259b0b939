//! The day's share, shared out among tenants: weighted max-min fairness of dominant shares.
//!
//! A tenant's *dominant share* is the largest of its parts of tokens, dollars and grams, each measured by what there is of
//! it (dominant resource fairness, Ghodsi et al., NSDI 2011). Water is filled in: all tenants rise together, each as fast as
//! its weight, until one has what it asks for, or something it needs is gone. For one resource it is plain max-min.
//!
//! Invariants: nothing is given out twice; who asks for less than an equal part gets all of it; who got less than asked for
//! could get more only from somebody with a smaller or equal weighted dominant share, of what both need.
//! First come, first served is deliberately absent.

use std::collections::BTreeMap;

use crate::domain::id::TenantId;

/// Below this part of what there is, a rest counts as gone: sums of floats are not exact.
const GONE: f64 = 1e-9;

/// What one tenant asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// How much more than others it gets; above 0.
    pub weight: f64,
    /// How much of each resource its work takes, in the proportions of that work: its demand, where that is known.
    pub demand: Vec<f64>,
    /// How much of such work it asks for, in units of `demand`: 1 for just the demand, infinite for whatever there is.
    pub most: f64,
}

/// What was shared out.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    /// How much of its work each tenant gets, in units of its demand, in the order of the claims.
    pub scales: Vec<f64>,
    /// The weighted dominant share of those who could not get all they asked for; infinite when everybody got it.
    pub level: f64,
}

/// Shares out. `capacity` is what there is of each resource. A claim on nothing is met at once.
#[must_use]
pub fn share_out(capacity: &[f64], claims: &[Claim]) -> Shared {
    let there_is: Vec<f64> = capacity.iter().map(|all| if all.is_finite() { all.max(0.0) } else { 0.0 }).collect();
    let demand =
        |claim: &Claim, place: usize| claim.demand.get(place).copied().filter(|need| *need > 0.0).unwrap_or(0.0);
    // The weighted dominant share of one unit of each tenant's work.
    let unit = |claim: &Claim| {
        let part = |(place, all): (usize, &f64)| {
            let need = demand(claim, place);
            if need > 0.0 { need / all } else { 0.0 }
        };
        let dominant = there_is.iter().enumerate().map(part).fold(0.0, f64::max);
        dominant / claim.weight.max(f64::MIN_POSITIVE)
    };
    let units: Vec<f64> = claims.iter().map(unit).collect();
    let mut left = there_is.clone();
    let mut level = 0.0_f64;
    let mut scales: Vec<f64> = vec![0.0; claims.len()];
    let mut rising: Vec<bool> =
        claims.iter().zip(&units).map(|(claim, unit)| unit.is_finite() && *unit > 0.0 && claim.most > 0.0).collect();
    let mut is_short = units.iter().any(|unit| !unit.is_finite());
    while rising.iter().any(|rises| *rises) {
        let active = || claims.iter().zip(&units).zip(&rising).filter(|(_, rises)| **rises).map(|(pair, _)| pair);
        // How much of each resource one unit of level takes, and how far the level can rise before somebody stops.
        let rates: Vec<f64> =
            (0..left.len()).map(|place| active().map(|(claim, unit)| demand(claim, place) / unit).sum()).collect();
        let until_gone = left.iter().zip(&rates).filter(|(_, rate)| **rate > 0.0).map(|(left, rate)| left / rate);
        let until_met = active().map(|(claim, unit)| claim.most * unit - level);
        let step = until_gone.chain(until_met).fold(f64::INFINITY, f64::min).max(0.0);
        if !step.is_finite() {
            break;
        }
        level += step;
        for (left, rate) in left.iter_mut().zip(&rates) {
            *left = (*left - rate * step).max(0.0);
        }
        let gone: Vec<bool> = left.iter().zip(&there_is).map(|(left, all)| *left <= all * GONE).collect();
        let before = rising.iter().filter(|rises| **rises).count();
        for (place, claim) in claims.iter().enumerate() {
            let (Some(rises), Some(unit), Some(scale)) =
                (rising.get_mut(place), units.get(place), scales.get_mut(place))
            else {
                continue;
            };
            if !*rises {
                continue;
            }
            *scale = (level / unit).min(claim.most);
            let is_met = *scale >= claim.most * (1.0 - GONE);
            let is_stuck = gone.iter().enumerate().any(|(place, gone)| *gone && demand(claim, place) > 0.0);
            is_short |= is_stuck && !is_met;
            *rises = !is_met && !is_stuck;
        }
        if rising.iter().filter(|rises| **rises).count() == before {
            break;
        }
    }
    Shared { scales, level: if is_short { level } else { f64::INFINITY } }
}

/// What is left of the day's share of one budget, tenant by tenant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allotments {
    /// Of the tenants that are named: what is theirs of today's share, less what they have taken of it.
    pub by_tenant: BTreeMap<TenantId, f64>,
    /// Of each of the others.
    pub of_others: f64,
}
