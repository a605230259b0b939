//! Ours and theirs, by UTC day, model and tenant where a mapping tells it; and what likely makes the difference.
//!
//! One model goes by several names (a family's name, dated snapshots): names that the price book knows as one model are one
//! line. A name it does not know is matched by its letters alone, and is listed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, NaiveDate, NaiveTime};
use rust_decimal::{Decimal, RoundingStrategy, dec};

use super::report::{Counts, Fold, Report};
use crate::domain::amounts::USD_PLACES;
use crate::domain::id::{FeatureId, ModelId, ProviderId, RegionId, TenantId};
use crate::domain::ledger::transfer::Transfer;
use crate::domain::price::book::Found;
use crate::domain::price::{PriceId, ServiceTier};
use crate::domain::tariff::RateBooks;

/// What the mapping calls the workspace that a report leaves unnamed.
pub const DEFAULT_WORKSPACE: &str = "default";
/// A provider that rounds each row of its costs to the cent is off by at most half a cent for each.
pub const ROUNDING_USD_PER_ROW: Decimal = dec!(0.005);

/// Whose a workspace or project is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The tenant.
    pub tenant: TenantId,
    /// The feature, if all of the workspace is one's.
    pub feature: Option<FeatureId>,
}

/// Workspaces and projects of the report, with their owners. Empty where nothing is known of them.
pub type Mapping = BTreeMap<String, Owner>;

/// Sums of journal rows of one day, tenant, feature and model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// The UTC day on which they occurred.
    pub day: NaiveDate,
    /// Whose; nobody's for true-ups of before.
    pub tenant: TenantId,
    /// What for.
    pub feature: FeatureId,
    /// With what.
    pub model: ModelId,
    /// Where, if all in one place.
    pub region: Option<RegionId>,
    /// Their sums.
    pub sums: JournalSums,
}

/// Sums of journal rows, what was taken back subtracted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalSums {
    /// Tokens.
    pub tokens: Counts,
    /// Calls.
    pub requests: i64,
    /// Dollars.
    pub usd: Decimal,
    /// Grams: location-based, market-based, embodied.
    pub grams: [Decimal; 3],
    /// The rows of the price book they were priced by.
    pub prices: BTreeSet<PriceId>,
}

impl JournalSums {
    fn add(&mut self, other: &Self) -> Option<()> {
        self.tokens.add_all(&other.tokens)?;
        self.requests = self.requests.checked_add(other.requests)?;
        self.usd = self.usd.checked_add(other.usd)?;
        for (sum, more) in self.grams.iter_mut().zip(other.grams) {
            *sum = sum.checked_add(more)?;
        }
        self.prices.extend(&other.prices);
        Some(())
    }
}

/// The part of the journal that a report speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// Sums.
    pub rows: Vec<JournalRow>,
    /// Calls charged by their estimate and not confirmed or replaced since, in the order of their ids.
    pub unconfirmed: Vec<Transfer>,
}

/// What likely makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// What is missing on one day is there on the next one, or the one before: a call is told by its start here and by its
    /// end there, or by another clock.
    ClockBoundary,
    /// The provider served calls that the ledger never heard of.
    UncapturedCalls,
    /// Calls without an answer were charged their estimate, and the provider billed something else.
    UnconfirmedTimeouts,
    /// The ledger has calls that the provider did not bill, and none of them is unconfirmed.
    NotInReport,
    /// The same tokens at another price.
    PriceDifference,
    /// Within half a cent for each row of cost.
    Rounding,
    /// Dollars differ, and the report does not tell tokens.
    TokensNotTold,
}

impl Cause {
    /// All seven.
    pub const ALL: [Self; 7] = [
        Self::ClockBoundary,
        Self::UncapturedCalls,
        Self::UnconfirmedTimeouts,
        Self::NotInReport,
        Self::PriceDifference,
        Self::Rounding,
        Self::TokensNotTold,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClockBoundary => "clock_boundary",
            Self::UncapturedCalls => "uncaptured_calls",
            Self::UnconfirmedTimeouts => "unconfirmed_timeouts",
            Self::NotInReport => "not_in_report",
            Self::PriceDifference => "price_difference",
            Self::Rounding => "rounding",
            Self::TokensNotTold => "tokens_not_told",
        }
    }
}

/// A day and model, and the tenant if a mapping tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The UTC day.
    pub day: NaiveDate,
    /// The name under which true-ups stand.
    pub model: ModelId,
    /// All its names here and there.
    pub names: BTreeSet<ModelId>,
    /// The tenant of the workspaces this is about; none for all that no mapping names.
    pub tenant: Option<TenantId>,
    /// What the journal says.
    pub ours: JournalSums,
    /// Who used it, and for what.
    pub holders: BTreeMap<TenantId, BTreeSet<FeatureId>>,
    /// Where, if all in one place.
    pub region: Option<RegionId>,
    /// The report's tokens, if it tells them.
    pub tokens: Option<Counts>,
    /// The report's calls, if it tells them.
    pub requests: Option<i64>,
    /// The report's dollars, if it tells them, to 12 places.
    pub usd: Option<Decimal>,
    /// How many rows of cost the report has for it.
    pub cost_rows: u32,
    /// Calls charged by their estimate.
    pub unconfirmed: Vec<Transfer>,
    /// Whether the price book knows the model.
    pub known: bool,
    /// What likely makes the difference, the likeliest first; empty when there is none.
    pub causes: Vec<Cause>,
}

impl Line {
    /// Theirs less ours, as the report counts buckets. None if it tells no tokens, or beyond 64 bits.
    #[must_use]
    pub fn tokens_difference(&self, fold: Fold) -> Option<Counts> {
        self.tokens.as_ref()?.folded(fold)?.less(&self.ours.tokens.folded(fold)?)
    }

    /// Theirs less ours.
    #[must_use]
    pub fn requests_difference(&self) -> Option<i64> {
        self.requests?.checked_sub(self.ours.requests)
    }

    /// Theirs less ours.
    #[must_use]
    pub fn usd_difference(&self) -> Option<Decimal> {
        self.usd?.checked_sub(self.ours.usd)
    }

    /// Whether the books say what the report says.
    #[must_use]
    pub fn agrees(&self, fold: Fold) -> bool {
        self.tokens_difference(fold).is_none_or(|difference| difference.is_zero())
            && self.requests_difference().is_none_or(|difference| difference == 0)
            && self.usd_difference().is_none_or(|difference| difference.is_zero())
    }
}

/// A sum is beyond what can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sum is beyond what can be counted")]
pub struct TooLarge;

#[derive(Debug, Default)]
struct Draft {
    reported: BTreeSet<ModelId>,
    journalled: BTreeMap<ModelId, i64>,
    ours: JournalSums,
    holders: BTreeMap<TenantId, BTreeSet<FeatureId>>,
    regions: BTreeSet<Option<RegionId>>,
    theirs: super::report::RowSums,
    unconfirmed: Vec<Transfer>,
}

/// Compares a report with the journal of its days.
///
/// # Errors
/// When a sum is beyond what can be counted.
pub fn compare(
    provider: &ProviderId,
    report: &Report,
    mapping: &Mapping,
    journal: Journal,
    rates: &RateBooks,
) -> Result<Vec<Line>, TooLarge> {
    let days = report.days();
    let mapped: BTreeSet<&TenantId> = mapping.values().map(|owner| &owner.tenant).collect();
    let mut drafts: BTreeMap<(NaiveDate, String, Option<TenantId>), Draft> = BTreeMap::new();
    let of_model = |model: &ModelId, day: NaiveDate| canonical(provider, model, day, rates).0;
    for (key, sums) in &report.rows {
        let workspace = key.workspace.as_deref().unwrap_or(DEFAULT_WORKSPACE);
        let tenant = mapping.get(workspace).map(|owner| owner.tenant.clone());
        let draft = drafts.entry((key.day, of_model(&key.model, key.day), tenant)).or_default();
        draft.reported.insert(key.model.clone());
        draft.theirs.tokens.add_all(&sums.tokens).ok_or(TooLarge)?;
        draft.theirs.requests = draft.theirs.requests.checked_add(sums.requests).ok_or(TooLarge)?;
        draft.theirs.tells_requests |= sums.tells_requests;
        draft.theirs.usd = draft.theirs.usd.checked_add(sums.usd).ok_or(TooLarge)?;
        draft.theirs.cost_rows = draft.theirs.cost_rows.saturating_add(sums.cost_rows);
    }
    let own = |tenant: &TenantId| mapped.contains(tenant).then(|| tenant.clone());
    for row in journal.rows.into_iter().filter(|row| days.contains(&row.day)) {
        let draft = drafts.entry((row.day, of_model(&row.model, row.day), own(&row.tenant))).or_default();
        draft.ours.add(&row.sums).ok_or(TooLarge)?;
        let tokens = draft.journalled.entry(row.model).or_default();
        *tokens = tokens.saturating_add(row.sums.tokens.total());
        if !row.tenant.is_nobody() {
            draft.holders.entry(row.tenant).or_default().insert(row.feature);
            draft.regions.insert(row.region);
        }
    }
    for call in journal.unconfirmed {
        let day = call.occurred_at.date_naive();
        let key = (day, of_model(&call.call.model, day), own(&call.call.tenant));
        if let Some(draft) = drafts.get_mut(&key) {
            draft.unconfirmed.push(call);
        }
    }
    let mut lines: Vec<Line> = Vec::with_capacity(drafts.len());
    for ((day, _, tenant), draft) in drafts {
        lines.extend(line(provider, report, rates, day, tenant, draft));
    }
    find_causes(&mut lines, report.fold);
    Ok(lines)
}

/// The name by which all names of a model are known, and whether the price book knows it.
fn canonical(provider: &ProviderId, model: &ModelId, day: NaiveDate, rates: &RateBooks) -> (String, bool) {
    let at = day.and_time(NaiveTime::MIN).and_utc();
    let found = rates.prices.find(provider, model, ServiceTier::Standard, None, at);
    (rates.prices.model_name(provider, model).to_string(), matches!(found, Found::Priced(_)))
}

fn line(
    provider: &ProviderId,
    report: &Report,
    rates: &RateBooks,
    day: NaiveDate,
    tenant: Option<TenantId>,
    draft: Draft,
) -> Option<Line> {
    let Draft { reported, journalled, ours, holders, regions, theirs, unconfirmed } = draft;
    // Where the names differ, that of the most tokens: true-ups then stand beside the calls.
    let both = reported.iter().find(|name| journalled.contains_key(name));
    let largest = journalled.iter().max_by_key(|(_, tokens)| **tokens).map(|(name, _)| name);
    let model = both.or(largest).or_else(|| reported.first())?.clone();
    let known = canonical(provider, &model, day, rates).1;
    let mut regions = regions.into_iter();
    let region = match (regions.next(), regions.next()) {
        (Some(only), None) => only,
        _ => None,
    };
    let tells_tokens = report.token_days.contains(&day);
    let tells_costs = report.cost_days.contains(&day);
    let rounded = theirs.usd.round_dp_with_strategy(USD_PLACES, RoundingStrategy::MidpointNearestEven);
    Some(Line {
        day,
        model,
        names: reported.into_iter().chain(journalled.into_keys()).collect(),
        tenant,
        ours,
        holders,
        region,
        tokens: tells_tokens.then_some(theirs.tokens),
        requests: (tells_tokens && (report.counts_requests || theirs.tells_requests)).then_some(theirs.requests),
        usd: tells_costs.then_some(rounded),
        cost_rows: theirs.cost_rows,
        unconfirmed,
        known,
        causes: Vec::new(),
    })
}

/// By day, and by what a difference can wander between: the model's names and the tenant.
type Place = (NaiveDate, BTreeSet<ModelId>, Option<TenantId>);

fn find_causes(lines: &mut [Line], fold: Fold) {
    let place = |line: &Line| -> Place { (line.day, line.names.clone(), line.tenant.clone()) };
    let by_place: BTreeMap<Place, (Option<Counts>, Option<Decimal>)> =
        lines.iter().map(|line| (place(line), (line.tokens_difference(fold), line.usd_difference()))).collect();
    let cancels = |line: &Line, day: Option<NaiveDate>| {
        let other = day.and_then(|day| by_place.get(&(day, line.names.clone(), line.tenant.clone())));
        let Some((tokens, usd)) = other else { return false };
        match (line.tokens_difference(fold), tokens) {
            (Some(here), Some(there)) if !here.is_zero() => {
                let mut sum = here;
                sum.add_all(there).is_some() && sum.is_zero()
            }
            (None, None) => line.usd_difference().zip(*usd).is_some_and(|(here, there)| {
                !here.is_zero() && here.checked_add(there).is_some_and(|sum| sum.is_zero())
            }),
            _ => false,
        }
    };
    let causes: Vec<Vec<Cause>> = lines
        .iter()
        .map(|line| {
            let next = line.day.checked_add_days(Days::new(1));
            let before = line.day.checked_sub_days(Days::new(1));
            if cancels(line, next) || cancels(line, before) { vec![Cause::ClockBoundary] } else { causes(line, fold) }
        })
        .collect();
    for (line, causes) in lines.iter_mut().zip(causes) {
        line.causes = causes;
    }
}

fn causes(line: &Line, fold: Fold) -> Vec<Cause> {
    let mut causes = Vec::new();
    let usd = line.usd_difference().unwrap_or_default();
    let bound = ROUNDING_USD_PER_ROW.saturating_mul(Decimal::from(line.cost_rows.max(1)));
    let Some(tokens) = line.tokens_difference(fold) else {
        if usd.is_zero() {
            return causes;
        }
        if usd.abs() <= bound {
            causes.push(Cause::Rounding);
        } else if usd < Decimal::ZERO && !line.unconfirmed.is_empty() {
            causes.push(Cause::UnconfirmedTimeouts);
        } else {
            causes.push(Cause::TokensNotTold);
        }
        return causes;
    };
    let counts = crate::domain::usage::Bucket::ALL.map(|bucket| tokens.get(bucket));
    let requests = line.requests_difference().unwrap_or(0);
    let less = counts.iter().any(|count| *count < 0) || (tokens.is_zero() && requests < 0);
    let more = counts.iter().any(|count| *count > 0) || (tokens.is_zero() && requests > 0);
    if less {
        causes.push(if line.unconfirmed.is_empty() { Cause::NotInReport } else { Cause::UnconfirmedTimeouts });
    }
    if more {
        causes.push(Cause::UncapturedCalls);
    }
    if tokens.is_zero() && !usd.is_zero() {
        causes.push(if usd.abs() <= bound { Cause::Rounding } else { Cause::PriceDifference });
    }
    causes
}
