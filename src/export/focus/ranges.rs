//! The least and the most that a charge may have emitted.
//!
//! A charge adds calls up: durations and the tokens of each call are not at hand. The range is that
//! of the charge's tokens by the factor rows it names, carried to its grams in proportion; a correction of grams alone has the
//! proportions of the calls that it corrects, so that what is taken back is nothing at every bound. The activity data of
//! [`crate::export::ghg`] have each call's own range; the two differ by what durations change in the proportions.
//!
//! Invariant: `min <= mid <= max`, and the middle is what was posted.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::adding::ChargeRow;
use crate::domain::amounts::{BadAmount, Grams, TOKENS_MAX, Tokens};
use crate::domain::carbon::recorded::Bounds;
use crate::domain::carbon::{CarbonGrams, FactorBook, RecordedFactors};
use crate::domain::ledger::transfer::TransferKind;
use crate::domain::usage::Usage;
use crate::export::ExportError;
use crate::export::emission::Recaller;
use crate::store::StoreError;

/// Makes ranges of charges.
pub struct Ranges {
    recaller: Recaller,
}

impl Ranges {
    /// By a book that has at least the rows that the charges name.
    #[must_use]
    pub fn new(book: Arc<FactorBook>) -> Self {
        Self { recaller: Recaller::new(book) }
    }

    /// The ranges of a charge that begins at an instant: location-based, market-based, embodied. None where a bound is beyond
    /// what can be kept: then the range is not known, and what was posted is.
    ///
    /// # Errors
    /// When a column holds what was never written, or a figure cannot be kept.
    pub fn of(&mut self, row: &ChargeRow, at: DateTime<Utc>) -> Result<Option<[Bounds<Grams>; 3]>, ExportError> {
        let bad = |column: &str| StoreError::Row(column.to_owned());
        let provider = row.subject.provider.parse().map_err(|_| bad("provider"))?;
        let model = row.subject.model.parse().map_err(|_| bad("model"))?;
        let region = row.subject.region.as_deref().map(str::parse).transpose().map_err(|_| bad("region"))?;
        let too_large =
            |_: BadAmount| ExportError::TooLarge { what: "the range of", value: format!("{:?}", row.grams) };
        let (profile, model_row) = (row.basis.carbon_profile, row.basis.model_factor);
        let factors =
            RecordedFactors { profile, model: model_row, grid: row.basis.grid_factor, market: row.basis.market_factor };
        let is_call = matches!(row.basis.kind, TransferKind::Settlement | TransferKind::Usage);
        let named = if is_call || !factors.is_empty() { Ok(factors) } else { Err(profile) };
        let inputs = self.recaller.inputs(named, &provider, &model, region.as_ref(), at);
        let [location, market, embodied] = row.grams.map(Grams::new);
        let posted = CarbonGrams {
            usage_location: location.map_err(too_large)?,
            usage_market: market.map_err(too_large)?,
            embodied: embodied.map_err(too_large)?,
        };
        let corrected = row.of.as_ref().filter(|_| row.buckets == [0; 6]).map(|of| of.buckets);
        let usage = usage(corrected.unwrap_or(row.buckets)).map_err(too_large)?;
        let range = inputs.recorded(&usage, None, posted).ok();
        Ok(range.map(|range| [range.usage_location, range.usage_market, range.embodied]))
    }
}

/// The tokens of a charge as those of one call. Only their proportions are looked at: where calls add up to more than one
/// amount can be, all are halved until they do not.
fn usage(mut buckets: [u128; 6]) -> Result<Usage, BadAmount> {
    let most = u128::from(TOKENS_MAX);
    while buckets.iter().fold(0_u128, |sum, tokens| sum.saturating_add(*tokens)) > most {
        buckets = buckets.map(|tokens| tokens >> 1);
    }
    let tokens = |count: u128| Tokens::new(u64::try_from(count).map_err(|_| BadAmount::TooLarge)?);
    let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] = buckets.map(tokens);
    Ok(Usage {
        input: input?,
        cache_read: cache_read?,
        cache_write_5m: cache_write_5m?,
        cache_write_1h: cache_write_1h?,
        output: output?,
        reasoning: reasoning?,
    })
}
