//! Lessons: how much of its output a call really needs, by what is known when it asks.
//!
//! | class | what is known of it |
//! |---|---|
//! | own | this tenant's calls for this feature to this model |
//! | pooled | all tenants' calls for this feature to this model |
//! | model | all calls to this model |
//!
//! The finest class that has seen enough calls teaches; where none has, there is no lesson, and the requested maximum is held.
//!
//! Invariants: a lesson holds less than the maximum or is none; what it says about overruns is never less than what was
//! seen, and is never zero, because one call more that used everything is always counted with those seen.

use std::collections::BTreeMap;

use super::histogram::{Histogram, Ratio, end_of};
use crate::domain::amounts::Tokens;
use crate::domain::budget::catalogue::HoldRule;
use crate::domain::budget::scope::Dimensions;
use crate::domain::id::{FeatureId, ModelId, ProviderId, TenantId};

/// What calls are told apart by. A tenant or a feature that is missing stands for all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// Whose calls.
    pub tenant: Option<TenantId>,
    /// What for.
    pub feature: Option<FeatureId>,
    /// Served by whom.
    pub provider: ProviderId,
    /// The model that is asked for.
    pub model: ModelId,
}

impl Class {
    /// A class of one tenant and feature, the same of all tenants, and that of all features: the finest first.
    fn with_coarser(self) -> [Self; 3] {
        let pooled = Self { tenant: None, ..self.clone() };
        let model = Self { feature: None, ..pooled.clone() };
        [self, pooled, model]
    }
}

/// What calls of one class teach about one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lesson {
    /// The share of `max_output` that the next call stays within, as often as the rule says.
    share: Ratio,
    /// How many of a million calls go beyond it.
    beyond: u64,
    /// How much of what is above the share a call uses in the mean, in millionths; calls that stay within it use none.
    mean: u64,
}

/// Calls beyond the quantile that must have been expected before a lesson is given.
const CALLS_BEYOND_MIN: u64 = 5;

impl Lesson {
    /// What these calls teach. None if they are too few ([`calls_min`]), or use the maximum that often.
    #[must_use]
    pub fn of(output: &Histogram, rule: HoldRule) -> Option<Self> {
        let of_thousand = rule.of_thousand()?;
        let calls = output.calls();
        if calls < calls_min(rule)? {
            return None;
        }
        let share = output.next_stays_within(of_thousand).filter(|share| *share < Ratio::ONE)?;
        let room = Ratio::ONE.millionths().checked_sub(share.millionths())?;
        // One call more, which used everything.
        let (mut beyond, mut above) = (1_u128, u128::from(room));
        for (bucket, calls) in output.counted() {
            let end = end_of(bucket).unwrap_or(Ratio::ONE).min(Ratio::ONE);
            let over = end.millionths().saturating_sub(share.millionths());
            if over > 0 {
                beyond = beyond.checked_add(u128::from(calls))?;
                above = above.checked_add(u128::from(calls).checked_mul(u128::from(over))?)?;
            }
        }
        let seen = u128::from(calls).checked_add(1)?;
        let millionths = |part: u128, whole: u128| {
            let share = part.checked_mul(1_000_000)?.div_ceil(whole.max(1));
            u64::try_from(share).ok()
        };
        let mean = millionths(above, seen.checked_mul(u128::from(room))?)?;
        Some(Self { share, beyond: millionths(beyond, seen)?, mean })
    }

    /// How many tokens of output are held for a call that may use so many.
    #[must_use]
    pub fn output(&self, requested: Tokens) -> Tokens {
        self.share.share_of(requested).min(requested)
    }

    /// How much of what is above the learned output, up to `granted`, a call uses in the mean, in millionths.
    ///
    /// Where less is granted than was requested, an overrun is cut off at it: it is at most as large as it would have been,
    /// and at most as frequent.
    #[must_use]
    pub fn mean_overrun(&self, requested: Tokens, granted: Tokens) -> u64 {
        let likely = self.output(requested).count();
        let learned = u128::from(requested.count().saturating_sub(likely));
        let room = u128::from(granted.count().saturating_sub(likely)).max(1);
        let mean = learned.saturating_mul(u128::from(self.mean)).div_ceil(room);
        u64::try_from(mean).unwrap_or(u64::MAX).min(self.beyond)
    }
}

/// How many calls a class must have seen before it teaches a rule: 100 for p95, 500 for p99, so that five were expected beyond.
/// None for a rule that learns nothing.
#[must_use]
pub fn calls_min(rule: HoldRule) -> Option<u64> {
    let beyond = 1_000_u64.checked_sub(u64::from(rule.of_thousand()?))?;
    CALLS_BEYOND_MIN.checked_mul(1_000)?.checked_div(beyond)
}

/// Everything that was learned, as of one reading of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lessons(BTreeMap<Class, [Option<Lesson>; 2]>);

impl Lessons {
    /// What shares of `max_output` teach, by tenant, feature, provider and model, all of which must be named.
    #[must_use]
    pub fn learn(shares: impl IntoIterator<Item = (Class, Histogram)>) -> Self {
        let mut classes: BTreeMap<Class, Histogram> = BTreeMap::new();
        for (class, output) in shares {
            for class in class.with_coarser() {
                classes.entry(class).or_default().merge(&output);
            }
        }
        let lessons = |(class, output): (Class, Histogram)| {
            let lessons = HoldRule::LEARNED.map(|rule| Lesson::of(&output, rule));
            lessons.iter().any(Option::is_some).then_some((class, lessons))
        };
        Self(classes.into_iter().filter_map(lessons).collect())
    }

    /// What is known of such a call.
    #[must_use]
    pub fn of(&self, call: &Dimensions, rule: HoldRule) -> Option<&Lesson> {
        let place = HoldRule::LEARNED.iter().position(|learned| *learned == rule)?;
        if self.0.is_empty() {
            return None;
        }
        let own = Class {
            tenant: Some(call.tenant.clone()),
            feature: Some(call.feature.clone()),
            provider: call.provider.clone(),
            model: call.model.clone(),
        };
        own.with_coarser().iter().find_map(|class| self.0.get(class)?.get(place)?.as_ref())
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the tests are small")]
#[path = "lesson_tests.rs"]
mod tests;
