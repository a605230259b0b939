//! What names a row: the same for the same row of another export of the same books, so that a correction can name what it
//! corrects.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::adding::ChargeRow;
use super::split::Meter;
use super::terms::Terms;
use super::{ChargePeriod, charge_class, names};
use crate::domain::tariff::Flags;
use crate::domain::usage::Bucket;

/// Bytes of a row's key: 128 bits are enough to tell any two rows apart.
const KEY_BYTES: usize = 16;

/// The key of a charge's row of this part. That of a correction also depends on whether what it corrects is in the same file.
#[must_use]
pub fn key(row: &ChargeRow, periods: &[ChargePeriod], part: &str) -> String {
    let start_of = |slot: usize| periods.get(slot).map(|period| period.start);
    let corrected = row.of.as_ref().map(|of| (of, of.slot.and_then(start_of)));
    let mut digest = Sha256::new();
    let mut put = |text: &str| {
        digest.update(text.as_bytes());
        digest.update([0]);
    };
    let period = periods.get(row.slot);
    put(&period.map_or_else(String::new, |period| period.start.to_rfc3339()));
    put(&period.map_or_else(String::new, |period| period.end.to_rfc3339()));
    for text in [&row.subject.tenant, &row.subject.feature, &row.subject.provider, &row.subject.model] {
        put(text);
    }
    put(row.subject.region.as_deref().unwrap_or(""));
    put(row.subject.labels.as_deref().unwrap_or(""));
    put(row.basis.kind.name());
    put(row.basis.carbon_profile.name());
    put(part);
    let ids = [
        row.basis.price.map(|id| id.0),
        i64::try_from(row.basis.price_tier_from).ok(),
        row.basis.model_factor.map(|id| id.0),
        row.basis.grid_factor.map(|id| id.0),
        row.basis.market_factor.map(|id| id.0),
        Some(i64::from(row.basis.flags.bits())),
        Some(i64::from(row.basis.returned)),
    ];
    for id in ids {
        put(&id.map_or(String::new(), |id| id.to_string()));
    }
    // Of a correction, also what it corrects: one stretch of time may have corrections of several charges.
    if let Some((of, start)) = &corrected {
        put(&start.map_or_else(String::new, |start| start.to_rfc3339()));
        put(of.basis.kind.name());
        put(of.basis.carbon_profile.name());
        let factors = [of.basis.model_factor, of.basis.grid_factor, of.basis.market_factor].map(|id| id.map(|id| id.0));
        let others = [of.basis.price.map(|id| id.0), i64::try_from(of.basis.price_tier_from).ok()];
        let flags = [Some(i64::from(of.basis.flags.bits())), Some(i64::from(of.basis.returned))];
        for id in factors.into_iter().chain(others).chain(flags) {
            put(&id.map_or(String::new(), |id| id.to_string()));
        }
    }
    if let Some(month) = row.corrected_month {
        put(&month.to_rfc3339());
    }
    let bytes = digest.finalize();
    bytes.iter().take(KEY_BYTES).fold(String::with_capacity(2 * KEY_BYTES), |mut text, byte| {
        // A String takes everything.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// The key of the first row of the charge that is corrected, if that charge is in the same file and is itself none that
/// corrects another.
#[must_use]
pub fn corrected_key(row: &ChargeRow, periods: &[ChargePeriod], terms: &Terms) -> Option<String> {
    let of = row.of.as_ref()?;
    let slot = of.slot?;
    if charge_class(of.basis.kind, of.basis.flags).is_some() {
        return None;
    }
    let part = match terms.price(of.basis.price, of.basis.price_tier_from) {
        None => names(Meter::Difference).1,
        Some(_) => {
            let used = Bucket::ALL.into_iter().zip(of.buckets).find(|(_, tokens)| *tokens > 0);
            names(Meter::Tokens(used?.0)).1
        }
    };
    // It is about the same call, and so about the same month.
    let is_about_another = of.basis.kind.is_about_another_period(of.basis.flags.contains(Flags::PERIOD_CLOSED));
    let corrected_month = row.corrected_month.filter(|_| is_about_another);
    let original = ChargeRow { slot, basis: of.basis, of: None, corrected_month, ..row.clone() };
    periods.get(slot)?;
    Some(key(&original, periods, part))
}
