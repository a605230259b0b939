//! Each row of a list beside what the book says at the same instant.
//!
//! Two sources *disagree* when both have a price for a model at an instant, and not the same. A later price of one source is
//! no disagreement: prices change. Only what both publish is compared, never what follows by a rule of ours.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;

use crate::domain::amounts::Tokens;
use crate::domain::price::book::{Found, PriceBook};
use crate::domain::price::{NewPriceRow, PriceRow};
use crate::domain::usage::Bucket;

/// A row's place in the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The very row is there.
    Known,
    /// The book says the same, by this source.
    Agrees(String),
    /// The book has no price for it.
    New,
    /// A later price of the source that the book has.
    Later,
    /// The book says otherwise.
    Differs {
        /// By this source.
        source: String,
        /// Since when.
        since: DateTime<Utc>,
        /// Where.
        differences: Vec<Difference>,
    },
}

/// One price that two sources tell differently, in dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The first token of the tier.
    pub from: u64,
    /// What is priced.
    pub bucket: Bucket,
    /// As the list says.
    pub theirs: Decimal,
    /// As the book says.
    pub ours: Decimal,
}

/// What makes a row that row: the store's unique key.
type Identity = (String, String, &'static str, String, DateTime<Utc>, String, NaiveDate);

fn identity<Id>(row: &PriceRow<Id>) -> Identity {
    let region = row.region.as_ref().map(ToString::to_string).unwrap_or_default();
    let (provider, model) = (row.provider.to_string(), row.model.to_string());
    (provider, model, row.service_tier.as_str(), region, row.effective_from, row.source.clone(), row.source_date)
}

/// A source without its version: `genai-prices 0.2.3` and `genai-prices 0.3.0` are one.
fn family(source: &str) -> &str {
    source.split_whitespace().next().unwrap_or_default()
}

/// Where each row stands, in order.
#[must_use]
pub fn compare(rows: &[NewPriceRow], book: &PriceBook, now: DateTime<Utc>) -> Vec<Standing> {
    let known: BTreeSet<Identity> = book.rows().iter().map(|row| identity(&**row)).collect();
    rows.iter()
        .map(|row| if known.contains(&identity(row)) { Standing::Known } else { place(row, book, now) })
        .collect()
}

fn place(row: &NewPriceRow, book: &PriceBook, now: DateTime<Utc>) -> Standing {
    // A price in force is compared as of now, one of the past or the future when it begins.
    let at = if row.in_force(now) { now } else { row.effective_from };
    let found = book.find(&row.provider, &row.model, row.service_tier, row.region.as_ref(), at);
    let known = match found {
        Found::Priced(known) if known.service_tier == row.service_tier && known.region == row.region => known,
        Found::Priced(_) | Found::Unpriced(_) => return Standing::New,
    };
    let differences = differences(row, &known);
    if differences.is_empty() {
        Standing::Agrees(known.source.clone())
    } else if family(&row.source) == family(&known.source) && row.effective_from > known.effective_from {
        Standing::Later
    } else {
        Standing::Differs { source: known.source.clone(), since: known.effective_from, differences }
    }
}

fn differences(theirs: &NewPriceRow, ours: &PriceRow) -> Vec<Difference> {
    let starts = theirs.tiers.iter().chain(ours.tiers.iter()).map(|tier| tier.input_total_from);
    let starts: BTreeSet<Tokens> = starts.collect();
    let published = |bucket: &Bucket| !theirs.derived.contains(bucket) && !ours.derived.contains(bucket);
    let mut found = Vec::new();
    for from in starts {
        let (_, their_tier) = theirs.tiers.of(from);
        let (_, our_tier) = ours.tiers.of(from);
        // Thinking is output where a source does not price it apart: then the output's difference says it.
        let apart = [&their_tier.prices, &our_tier.prices].iter().any(|prices| prices.reasoning != prices.output);
        let prices = their_tier.prices.in_order().into_iter().zip(our_tier.prices.in_order());
        for (bucket, (their_price, our_price)) in Bucket::ALL.into_iter().zip(prices) {
            if published(&bucket) && (bucket != Bucket::Reasoning || apart) && their_price != our_price {
                let (theirs, ours) = (their_price.decimal().normalize(), our_price.decimal().normalize());
                found.push(Difference { from: from.count(), bucket, theirs, ours });
            }
        }
    }
    found
}
