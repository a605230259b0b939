//! The true-ups of a comparison: rows of the journal after which the supply side says what the report says.
//!
//! | # | for each line | to whom |
//! |---|---|---|
//! | 1 | take back what unconfirmed calls were charged and the report has not | each call's own tenant, feature and run |
//! | 2 | the rest, at most one row for each direction | the mapped tenant, or the only tenant of that day and model; else nobody, which is `adjustment:<provider>` |
//!
//! Dollars are the report's, to the last digit. Where it tells none, those of the tokens are ours by the price book, because a
//! token that costs nothing is never true; a report of costs mends them later. Grams follow the tokens by the emission
//! factors of the model, and what is taken back whole takes all its grams along.
//!
//! Invariant: after these rows [`Line::agrees`], whatever the books and the report say.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveTime, Utc};
use rust_decimal::Decimal;

use super::compare::{JournalSums, Line, Mapping};
use super::report::{Counts, Fold};
use crate::domain::amounts::{Amounts, BadAmount, Grams, Tokens, Usd};
use crate::domain::budget::catalogue::Priority;
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::scope::{Dimensions, Spelling};
use crate::domain::carbon::RecordedFactors;
use crate::domain::id::{FeatureId, ProviderId, TenantId, TransferId};
use crate::domain::ledger::transfer::{Direction, Transfer};
use crate::domain::price::ServiceTier;
use crate::domain::tariff::{Flags, Priced, RateBooks, TariffError};
use crate::domain::usage::{Bucket, Usage};

/// When on its day a true-up of no single call occurs: at noon, which is that day in the zones of most people.
const NOON_HOUR: u32 = 12;
/// Input tokens of a call where neither side says how many calls there were; chooses the context tier.
const CALL_INPUT_TOKENS: i64 = 1000;

/// A row to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrueUp {
    /// Which way.
    pub direction: Direction,
    /// Whose and what about.
    pub call: Dimensions,
    /// How urgent the calls were.
    pub priority: Priority,
    /// What moves.
    pub consumption: Consumption,
    /// The factor rows that its grams stand on; none where there are no tokens.
    pub factors: Option<RecordedFactors>,
    /// What these had to assume.
    pub assumed: Flags,
    /// The unconfirmed call it replaces, if one.
    pub corrects: Option<TransferId>,
    /// The instant whose day it belongs to.
    pub occurred_at: DateTime<Utc>,
    /// The instant whose period it counts in: where the call that it takes back counted.
    pub counts_at: DateTime<Utc>,
}

/// Why there are no true-ups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotPropose {
    /// An amount is beyond what the ledger keeps.
    #[error("an amount of a true-up {0}")]
    Amount(#[from] BadAmount),
    /// There is no price.
    #[error(transparent)]
    Tariff(#[from] TariffError),
}

/// The true-ups of some lines.
///
/// # Errors
/// When an amount is beyond what the ledger keeps.
pub fn propose(
    provider: &ProviderId,
    lines: &[Line],
    fold: Fold,
    mapping: &Mapping,
    rates: &RateBooks,
) -> Result<Vec<TrueUp>, CannotPropose> {
    let mut made = Vec::new();
    for line in lines.iter().filter(|line| !line.agrees(fold)) {
        Rest::of(line, fold)?.propose(provider, mapping, rates, &mut made)?;
    }
    Ok(made)
}

/// What moves, and how its tokens were priced if there are any.
type Moved = (Consumption, Option<Priced>);

/// What a line still lacks or has too much, while its true-ups are made.
struct Rest<'a> {
    line: &'a Line,
    fold: Fold,
    /// Tokens the books lack, as the report counts them.
    more: BTreeMap<Bucket, i64>,
    /// Tokens they have too many.
    less: BTreeMap<Bucket, i64>,
    requests: i64,
    /// Dollars they lack, if the report tells dollars.
    usd: Option<Decimal>,
    /// What the books have, less what was taken back.
    ours: JournalSums,
}

fn too_large<T>(_: T) -> CannotPropose {
    CannotPropose::Amount(BadAmount::TooLarge)
}

fn beyond() -> CannotPropose {
    too_large(())
}

impl<'a> Rest<'a> {
    fn of(line: &'a Line, fold: Fold) -> Result<Self, CannotPropose> {
        let tokens = match &line.tokens {
            None => Counts::default(),
            Some(_) => line.tokens_difference(fold).ok_or_else(beyond)?,
        };
        let part = |sign: i64| -> BTreeMap<Bucket, i64> {
            let signed = Bucket::ALL.map(|bucket| (bucket, tokens.get(bucket).saturating_mul(sign)));
            signed.into_iter().filter(|(_, count)| *count > 0).collect()
        };
        Ok(Self {
            line,
            fold,
            more: part(1),
            less: part(-1),
            requests: line.requests_difference().unwrap_or(0),
            usd: line.usd_difference(),
            ours: line.ours.clone(),
        })
    }

    fn propose(
        mut self,
        provider: &ProviderId,
        mapping: &Mapping,
        rates: &RateBooks,
        made: &mut Vec<TrueUp>,
    ) -> Result<(), CannotPropose> {
        let exact = self.line.unconfirmed.iter().find(|call| self.is_all_of(call));
        let calls: Vec<&Transfer> = exact.map_or_else(|| self.line.unconfirmed.iter().collect(), |call| vec![call]);
        for call in calls {
            made.extend(self.take_back_call(call, rates)?);
        }
        let (tenant, feature) = destination(self.line, mapping);
        let call = Dimensions {
            tenant,
            feature,
            provider: provider.clone(),
            model: self.line.model.clone(),
            region: self.line.region.clone(),
            run: None,
            agent: None,
            labels: std::sync::Arc::default(),
            spelling: Spelling::AsSaid,
        };
        let noon = NaiveTime::from_hms_opt(NOON_HOUR, 0, 0).unwrap_or(NaiveTime::MIN);
        let occurred_at = self.line.day.and_time(noon).and_utc();
        let row = |direction, (consumption, priced): Moved| TrueUp {
            direction,
            call: call.clone(),
            priority: Priority::Standard,
            consumption,
            factors: priced.map(|priced| priced.provenance.factors()),
            assumed: priced.map_or(Flags::NONE, |priced| priced.flags.common(Flags::FACTOR_FALLBACKS)),
            corrects: None,
            occurred_at,
            counts_at: occurred_at,
        };
        let forward = self.forward(&call, occurred_at, rates)?;
        let reverse = self.reverse(&call, occurred_at, rates)?;
        let moves = |(consumption, _): &Moved| *consumption != Consumption::default();
        made.extend(Some(reverse).filter(moves).map(|moved| row(Direction::Reverse, moved)));
        made.extend(Some(forward).filter(moves).map(|moved| row(Direction::Forward, moved)));
        Ok(())
    }

    /// Whether a call is exactly what the books have too much.
    fn is_all_of(&self, call: &Transfer) -> bool {
        let folded = counts(&call.priced.consumption.usage).and_then(|counts| counts.folded(self.fold));
        let less = |bucket: Bucket| self.less.get(&bucket).copied().unwrap_or(0);
        folded.is_some_and(|folded| Bucket::ALL.into_iter().all(|bucket| folded.get(bucket) == less(bucket)))
    }

    /// Takes back as much of a call's tokens as the books have too many.
    fn take_back_call(&mut self, call: &Transfer, rates: &RateBooks) -> Result<Option<TrueUp>, CannotPropose> {
        let whole = &call.priced.consumption;
        let has = counts(&whole.usage).ok_or_else(beyond)?;
        let mut taken = Counts::default();
        for bucket in Bucket::ALL {
            let left = self.less.entry(self.fold.counted_in(bucket)).or_default();
            let count = has.get(bucket).min(*left);
            *left = left.saturating_sub(count);
            taken.add(bucket, count).ok_or_else(beyond)?;
        }
        if taken.is_zero() {
            return Ok(None);
        }
        let usage = usage(&taken)?;
        let (amounts, priced) = if usage == whole.usage {
            (whole.amounts, call.priced)
        } else {
            let priced = self.price(&call.call, call.occurred_at, &usage, whole.requests, rates)?;
            let (part, all) = (priced.consumption.amounts, whole.amounts);
            let amounts = Amounts {
                tokens: usage.total()?,
                usd: part.usd.min(all.usd),
                gco2e_usage_location: part.gco2e_usage_location.min(all.gco2e_usage_location),
                gco2e_usage_market: part.gco2e_usage_market.min(all.gco2e_usage_market),
                gco2e_embodied: part.gco2e_embodied.min(all.gco2e_embodied),
            };
            (amounts, priced)
        };
        // A call that was never billed is one request less, where the report counts requests.
        let gone = usage == whole.usage && self.requests <= i64::from(whole.requests).saturating_neg();
        let requests = if gone { whole.requests } else { 0 };
        self.requests = self.requests.saturating_add(i64::from(requests));
        if let Some(usd) = &mut self.usd {
            *usd = usd.checked_add(amounts.usd.decimal()).ok_or_else(beyond)?;
        }
        self.ours.usd = self.ours.usd.checked_sub(amounts.usd.decimal()).ok_or_else(beyond)?;
        self.ours.tokens = self.ours.tokens.less(&taken).ok_or_else(beyond)?;
        for (sum, grams) in self.ours.grams.iter_mut().zip(grams(&amounts)) {
            *sum = sum.checked_sub(grams).ok_or_else(beyond)?;
        }
        Ok(Some(TrueUp {
            direction: Direction::Reverse,
            call: call.call.clone(),
            priority: call.priority,
            consumption: Consumption { requests, usage, amounts },
            factors: Some(priced.provenance.factors()),
            assumed: priced.flags.common(Flags::FACTOR_FALLBACKS),
            corrects: Some(call.id),
            occurred_at: call.occurred_at,
            counts_at: call.period_at,
        }))
    }

    fn price(
        &self,
        call: &Dimensions,
        at: DateTime<Utc>,
        usage: &Usage,
        requests: u32,
        rates: &RateBooks,
    ) -> Result<Priced, CannotPropose> {
        let region = call.region.as_ref();
        let tariff = rates.tariff(&call.provider, &call.model, ServiceTier::Standard, region, at);
        // How many calls a sum is of chooses its context tier: as told, else by the mean of the day's own calls.
        let input = i64::try_from(usage.input_total()?.count()).map_err(too_large)?;
        let ours = counts_input(&self.line.ours.tokens);
        let mean = if self.line.ours.requests > 0 && ours > 0 {
            ours.checked_div(self.line.ours.requests).unwrap_or(CALL_INPUT_TOKENS).max(1)
        } else {
            CALL_INPUT_TOKENS
        };
        let estimated = u32::try_from(input.checked_div(mean).unwrap_or(1)).unwrap_or(u32::MAX).max(1);
        Ok(tariff.price(usage, if requests > 0 { requests } else { estimated }, None)?)
    }

    /// What the books lack.
    fn forward(&self, call: &Dimensions, at: DateTime<Utc>, rates: &RateBooks) -> Result<Moved, CannotPropose> {
        let mut lacking = Counts::default();
        for (bucket, count) in &self.more {
            lacking.add(*bucket, *count).ok_or_else(beyond)?;
        }
        let requests = u32::try_from(self.requests.max(0)).map_err(too_large)?;
        let usage = usage(&lacking)?;
        let mut priced = None;
        if !lacking.is_zero() {
            priced = Some(self.price(call, at, &usage, requests, rates)?);
        }
        let mut amounts = priced.map_or_else(Amounts::default, |priced| priced.consumption.amounts);
        if let Some(usd) = self.usd {
            amounts.usd = Usd::new(usd.max(Decimal::ZERO))?;
        }
        Ok((Consumption { requests, usage, amounts }, priced))
    }

    /// What they have too much.
    fn reverse(&self, call: &Dimensions, at: DateTime<Utc>, rates: &RateBooks) -> Result<Moved, CannotPropose> {
        let mut taken = Counts::default();
        for (folded, count) in &self.less {
            let mut left = *count;
            for bucket in Bucket::ALL.into_iter().filter(|bucket| self.fold.counted_in(*bucket) == *folded) {
                let part = left.min(self.ours.tokens.get(bucket).max(0));
                left = left.saturating_sub(part);
                taken.add(bucket, part).ok_or_else(beyond)?;
            }
            taken.add(*folded, left).ok_or_else(beyond)?;
        }
        let requests = u32::try_from(self.requests.saturating_neg().max(0)).map_err(too_large)?;
        let usage = usage(&taken)?;
        let (mut amounts, mut by) = (Amounts::default(), None);
        if !taken.is_zero() {
            let priced = by.insert(self.price(call, at, &usage, requests, rates)?).consumption.amounts;
            let all_of_it =
                taken == self.ours.tokens || self.ours.tokens.less(&taken).is_some_and(|rest| rest.is_zero());
            // What is taken back whole takes everything along; otherwise never more than there is.
            let back = |part: Decimal, ours: Decimal| {
                let ours = ours.max(Decimal::ZERO);
                if all_of_it { ours } else { part.min(ours) }
            };
            let [location, market, embodied] = self.ours.grams;
            amounts = Amounts {
                tokens: priced.tokens,
                usd: Usd::new(back(priced.usd.decimal(), self.ours.usd))?,
                gco2e_usage_location: Grams::new(back(priced.gco2e_usage_location.decimal(), location))?,
                gco2e_usage_market: Grams::new(back(priced.gco2e_usage_market.decimal(), market))?,
                gco2e_embodied: Grams::new(back(priced.gco2e_embodied.decimal(), embodied))?,
            };
        }
        if let Some(usd) = self.usd {
            amounts.usd = Usd::new(usd.min(Decimal::ZERO).abs())?;
        }
        Ok((Consumption { requests, usage, amounts }, by))
    }
}

/// Whose the rest of a line is.
fn destination(line: &Line, mapping: &Mapping) -> (TenantId, FeatureId) {
    let tenant = line.tenant.clone().or_else(|| {
        let mut holders = line.holders.keys();
        holders.next().filter(|_| line.holders.len() == 1).cloned()
    });
    let Some(tenant) = tenant else { return (TenantId::nobody(), FeatureId::nothing()) };
    let mut mapped = mapping.values().filter(|owner| owner.tenant == tenant).map(|owner| owner.feature.clone());
    let of_mapping = mapped.next().flatten().filter(|first| mapped.all(|other| other.as_ref() == Some(first)));
    let of_calls = || {
        let nothing = FeatureId::nothing();
        let mut features = line.holders.get(&tenant).into_iter().flatten().filter(|feature| **feature != nothing);
        let first = features.next()?;
        features.next().is_none().then(|| first.clone())
    };
    let feature = of_mapping.or_else(of_calls).unwrap_or_else(FeatureId::nothing);
    (tenant, feature)
}

fn grams(amounts: &Amounts) -> [Decimal; 3] {
    [amounts.gco2e_usage_location, amounts.gco2e_usage_market, amounts.gco2e_embodied].map(Grams::decimal)
}

fn counts_input(counts: &Counts) -> i64 {
    let prompt = [Bucket::Input, Bucket::CacheRead, Bucket::CacheWrite5m, Bucket::CacheWrite1h];
    prompt.into_iter().fold(0, |sum: i64, bucket| sum.saturating_add(counts.get(bucket)))
}

fn counts(usage: &Usage) -> Option<Counts> {
    let mut counts = Counts::default();
    for (bucket, tokens) in Bucket::ALL.into_iter().zip(usage.buckets()) {
        counts.add(bucket, i64::try_from(tokens.count()).ok()?)?;
    }
    Some(counts)
}

fn usage(counts: &Counts) -> Result<Usage, CannotPropose> {
    let tokens = |bucket| -> Result<Tokens, CannotPropose> {
        Ok(Tokens::new(u64::try_from(counts.get(bucket)).map_err(too_large)?)?)
    };
    Ok(Usage {
        input: tokens(Bucket::Input)?,
        cache_read: tokens(Bucket::CacheRead)?,
        cache_write_5m: tokens(Bucket::CacheWrite5m)?,
        cache_write_1h: tokens(Bucket::CacheWrite1h)?,
        output: tokens(Bucket::Output)?,
        reasoning: tokens(Bucket::Reasoning)?,
    })
}
