//! Greenhouse-gas activity data: what a carbon accountant files, one line for each thing that tells lines apart.
//!
//! A line is a stretch of the period, tenant, feature, provider, model, region, kind of entry, method, and the three rows of
//! the factor book it was posted with. So every figure of a line has one method, one factor and one source, and when a factor
//! set is replaced the reversal and the new posting are two lines beside the first, never a figure that changed.
//!
//! Invariants: middles are sums of what was posted, exact to the nanogram; bounds add bound by bound, because errors of one
//! model are the same in every call; location-based and market-based figures are never added; nothing is rounded.
//!
//! The columns are [`COLUMNS`], and `data/schemas/ghg.schema.json` publishes them as a Table Schema. Deliberately absent:
//! Scope 1 and 2 (a call to somebody else's model is neither), offsets, and XBRL: this is one line of a report, not a report.

mod cells;
mod schema;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

pub use cells::COLUMNS;
pub use schema::SCHEMA;
pub use writer::GhgWriter;

use super::emission::{Emission, Entry, Ranged, Recaller, decimals};
use crate::domain::amounts::BadAmount;
use crate::domain::calendar::{CalendarError, PeriodSpec, Zone};
use crate::domain::carbon::{CarbonInputs, FactorBook, RangeMethod, RecordedFactors};

/// The category of the GHG Protocol's Scope 3 standard that the emissions are reported in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope3Category {
    /// 3.1, purchased goods and services: a model behind somebody's API.
    #[default]
    PurchasedServices,
    /// 3.8, upstream leased assets: rented hardware that somebody else operates.
    UpstreamLeased,
    /// 3.13, downstream leased assets: hardware let to somebody.
    DownstreamLeased,
}

impl Scope3Category {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PurchasedServices, Self::UpstreamLeased, Self::DownstreamLeased];

    /// The number in exports and requests.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::PurchasedServices => "3.1",
            Self::UpstreamLeased => "3.8",
            Self::DownstreamLeased => "3.13",
        }
    }
}

/// Which of the two views is put into the total that is reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReportingBasis {
    /// By the grid where the electricity was used.
    #[default]
    Location,
    /// By the contracts it was bought under.
    Market,
}

impl ReportingBasis {
    /// The word in exports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Location => "location_based",
            Self::Market => "market_based",
        }
    }
}

/// How the period is cut into lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cut {
    /// Not at all.
    Period,
    /// At the beginnings of local months.
    #[default]
    Month,
    /// At local midnights.
    Day,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GhgOptions {
    /// The first instant of the period; none from the beginning.
    pub start: Option<DateTime<Utc>>,
    /// The first instant after it; none when it has no end yet.
    pub end: Option<DateTime<Utc>>,
    /// Whose midnights cut it.
    pub zone: Zone,
    /// Where it is cut.
    pub cut: Cut,
    /// The Scope 3 category.
    pub category: Scope3Category,
    /// What `reported_kgco2e` is.
    pub basis: ReportingBasis,
    /// Whether what came late stands where it belongs, and not where it was posted.
    pub restated: bool,
}

/// Why lines cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GhgError {
    /// A sum has more digits than can be kept.
    #[error("a sum {0}")]
    Amount(#[from] BadAmount),
    /// An instant is outside the calendar.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
}

/// The first instant of a stretch of time and the first after it, as far as it has them.
type Stretch = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// What tells lines apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    start: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
    tenant: String,
    feature: String,
    provider: String,
    model: String,
    region: Option<String>,
    entry: Entry,
    factors: RecordedFactors,
}

/// What a line adds up to.
#[derive(Debug)]
struct Line {
    requests: i64,
    input: Decimal,
    cached: Decimal,
    cache_write: Decimal,
    output: Decimal,
    energy: Ranged,
    location: Ranged,
    market: Ranged,
    embodied: Ranged,
    ranges: RangeMethod,
    /// The lowest quality of any call in it.
    tier: u8,
    fallbacks: u32,
    rows: Arc<CarbonInputs>,
}

/// Grams of the three units, signed: what the lines add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GhgTotals {
    /// Location-based.
    pub location: Decimal,
    /// Market-based.
    pub market: Decimal,
    /// Embodied.
    pub embodied: Decimal,
}

/// Lines that are being added up. Memory grows with what tells lines apart, never with calls.
#[derive(Debug)]
pub struct GhgTable {
    options: GhgOptions,
    recaller: Recaller,
    lines: BTreeMap<Key, Line>,
}

impl GhgTable {
    /// An empty one. The book must have at least the rows that the transfers name.
    #[must_use]
    pub fn new(options: GhgOptions, book: Arc<FactorBook>) -> Self {
        Self { options, recaller: Recaller::new(book), lines: BTreeMap::new() }
    }

    /// Adds a transfer to its line.
    ///
    /// # Errors
    /// When a sum cannot be kept, or the instant is outside the calendar.
    pub fn add(&mut self, emission: &Emission) -> Result<(), GhgError> {
        let (carbon, rows) = self.recaller.recall(emission)?;
        let (start, end) = self.stretch(if self.options.restated { emission.occurred_at } else { emission.at })?;
        let key = Key {
            start,
            end,
            tenant: emission.tenant.to_string(),
            feature: emission.feature.to_string(),
            provider: emission.provider.to_string(),
            model: emission.model.to_string(),
            region: emission.region.as_ref().map(ToString::to_string),
            entry: emission.entry,
            factors: if emission.names_no_rows() { rows.factors() } else { emission.factors },
        };
        let line = self.lines.entry(key).or_insert_with(|| Line::new(&rows));
        let (entry, usage) = (emission.entry, &emission.usage);
        line.requests = entry.count(line.requests, emission.requests);
        for (sum, tokens) in [
            (&mut line.input, usage.input),
            (&mut line.cached, usage.cache_read),
            (&mut line.cache_write, usage.cache_write_5m.checked_add(usage.cache_write_1h)?),
            (&mut line.output, usage.output_total()?),
        ] {
            *sum = sum.checked_add(entry.signed(tokens.decimal())).ok_or(BadAmount::TooLarge)?;
        }
        line.energy.add(entry, carbon.energy_kwh)?;
        line.location.add(entry, decimals(carbon.usage_location))?;
        line.market.add(entry, decimals(carbon.usage_market))?;
        line.embodied.add(entry, decimals(carbon.embodied))?;
        line.ranges = line.ranges.max(carbon.ranges);
        line.tier = line.tier.max(cells::tier(&rows, emission.flags));
        line.fallbacks |= emission.flags.bits();
        Ok(())
    }

    /// What the lines add up to, to be compared with the trial balance.
    ///
    /// # Errors
    /// When a sum cannot be kept.
    pub fn totals(&self) -> Result<GhgTotals, GhgError> {
        let mut totals = GhgTotals::default();
        for line in self.lines.values() {
            for (total, more) in [
                (&mut totals.location, line.location.mid),
                (&mut totals.market, line.market.mid),
                (&mut totals.embodied, line.embodied.mid),
            ] {
                *total = total.checked_add(more).ok_or(BadAmount::TooLarge)?;
            }
        }
        Ok(totals)
    }

    /// The lines, in order, as cells under [`COLUMNS`].
    ///
    /// # Errors
    /// When a sum cannot be kept.
    pub fn lines(&self) -> impl Iterator<Item = Result<Vec<String>, GhgError>> {
        self.lines.iter().map(|(key, line)| Ok(cells::cells(key, line, &self.options)?))
    }

    /// The stretch of the period that holds an instant.
    fn stretch(&self, at: DateTime<Utc>) -> Result<Stretch, GhgError> {
        let GhgOptions { start, end, zone, .. } = self.options;
        let spec = match self.options.cut {
            Cut::Period => return Ok((start, end)),
            Cut::Month => PeriodSpec::MONTH,
            Cut::Day => PeriodSpec::DAY,
        };
        let stretch = spec.holding(zone, at)?;
        let from = start.map_or(stretch.start, |start| start.max(stretch.start));
        let until = match (end, stretch.end) {
            (Some(end), Some(of_stretch)) => Some(end.min(of_stretch)),
            (end, of_stretch) => end.or(of_stretch),
        };
        Ok((Some(from), until))
    }
}

impl Line {
    fn new(rows: &Arc<CarbonInputs>) -> Self {
        Self {
            requests: 0,
            input: Decimal::ZERO,
            cached: Decimal::ZERO,
            cache_write: Decimal::ZERO,
            output: Decimal::ZERO,
            energy: Ranged::default(),
            location: Ranged::default(),
            market: Ranged::default(),
            embodied: Ranged::default(),
            ranges: RangeMethod::Recomputed,
            tier: 0,
            fallbacks: 0,
            rows: Arc::clone(rows),
        }
    }
}

#[cfg(test)]
mod tests;
