//! Minimum, middle and maximum of one figure.
//!
//! Bounds of one model are fully correlated across requests, so intervals add bound by bound: errors do not average out.

/// A figure with its bounds, `min <= mid <= max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The least.
    pub min: f64,
    /// The figure that is posted.
    pub mid: f64,
    /// The most.
    pub max: f64,
}

impl Interval {
    /// Takes the three figures as they are.
    #[must_use]
    pub const fn new(min: f64, mid: f64, max: f64) -> Self {
        Self { min, mid, max }
    }

    /// A figure without a range.
    #[must_use]
    pub const fn point(value: f64) -> Self {
        Self { min: value, mid: value, max: value }
    }

    /// A range whose middle is its arithmetic mean, as `EcoLogits` collapses its ranges.
    #[must_use]
    pub fn between(min: f64, max: f64) -> Self {
        Self { min, mid: f64::midpoint(min, max), max }
    }

    /// All three figures times a factor that is not negative.
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        Self { min: self.min * factor, mid: self.mid * factor, max: self.max * factor }
    }

    /// Bound by bound sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { min: self.min + other.min, mid: self.mid + other.mid, max: self.max + other.max }
    }
}
