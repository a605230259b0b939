//! What if: the same question with something changed.
//!
//! Each function makes new sources from old ones; limit, reset and price of a [`Question`](super::Question) are plain
//! fields and need none.

use super::number::clean;
use super::question::Source;
use crate::domain::calendar::Zone;
use crate::domain::id::{FeatureId, TenantId};

/// Whose use is changed: `None` is everybody's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whose {
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only this feature's. A source without a feature is none of it.
    pub feature: Option<FeatureId>,
}

impl Whose {
    fn is(&self, source: &Source) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == source.tenant)
            && (self.feature.is_none() || self.feature == source.feature)
    }
}

/// Use times a factor, for the past as for what is expected: a price that changes, a tenant that grows.
///
/// What was used in the period must be scaled by the caller if it is to be as if it had always been so; usually it is not,
/// because a price changes from now on.
#[must_use]
pub fn scaled(sources: &[Source], whose: &Whose, factor: f64) -> Vec<Source> {
    let factor = clean(factor);
    let change = |source: &Source| match whose.is(source) {
        true => Source { series: source.series.map(|_, value| value * factor), ..source.clone() },
        false => source.clone(),
    };
    sources.iter().map(change).collect()
}

/// A share of the use moved to another model.
///
/// One unit of the old becomes `ratio` units of the new: the ratio of their prices for a budget in dollars, of their
/// emissions for one in grams, 1 for tokens if both count alike. Sources are by tenant and feature, not by model: `share` is of all that the source uses.
#[must_use]
pub fn routed(sources: &[Source], whose: &Whose, share: f64, ratio: f64) -> Vec<Source> {
    let share = clean(share).min(1.0);
    scaled(sources, whose, 1.0 - share + share * clean(ratio))
}

/// With one more tenant, which uses like another does, by the hour of its own clock, times a factor. `None` where there is
/// no tenant to be like.
///
/// The history is moved by the difference of the two offsets now, so that nine o'clock here is nine o'clock there.
#[must_use]
pub fn with_tenant_like(
    sources: &[Source],
    like: &TenantId,
    tenant: &TenantId,
    zone: Zone,
    factor: f64,
) -> Option<Vec<Source>> {
    let factor = clean(factor);
    let mut all = sources.to_vec();
    for source in sources.iter().filter(|source| source.tenant == *like) {
        let series = source.series.moved_to(source.zone, zone).map(|_, value| value * factor);
        all.push(Source { tenant: tenant.clone(), feature: source.feature.clone(), zone, series });
    }
    (all.len() > sources.len()).then_some(all)
}

/// Without a tenant.
#[must_use]
pub fn without_tenant(sources: &[Source], tenant: &TenantId) -> Vec<Source> {
    sources.iter().filter(|source| source.tenant != *tenant).cloned().collect()
}
