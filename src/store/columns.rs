//! Values as columns: what the journal, the reservations and the roll-up keep of a call, as arrays for `unnest`.
//!
//! The order of fields is the order of parameters in `sql/write_batch.sql`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Encode, Postgres, Type};
use uuid::Uuid;

use super::StoreError;
use super::lane::Batch;
use crate::domain::amounts::{BadAmount, GRAMS_MAX, USD_MAX, Usd};
use crate::domain::budget::counter::CounterId;
use crate::domain::budget::scope::Dimensions;
use crate::domain::budget::verdict::Reason;
use crate::domain::id::{AgentId, BudgetId, LabelKey, LabelValue, ModelId, RegionId, RunId, TenantId};
use crate::domain::ledger::books::{Books, Remembered};
use crate::domain::ledger::outcome::RefusedCall;
use crate::domain::ledger::reservation::Reservation;
use crate::domain::ledger::transfer::Transfer;
use crate::domain::tariff::Priced;
use crate::wire::answer::PreflightAnswer;
use crate::wire::kept;
use crate::wire::learned::learned_docs;
use crate::wire::said::said_as_column;

/// A number the database keeps signed.
pub(super) fn signed(count: u64) -> Result<i64, StoreError> {
    i64::try_from(count).map_err(|_| StoreError::Unkeepable(BadAmount::TooLarge))
}

/// The start of the quarter of an hour that holds an instant.
pub(super) fn quarter(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::minutes(15)).unwrap_or(at)
}

fn minute(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at)
}

fn add<'q, T>(arguments: &mut PgArguments, values: T) -> Result<(), StoreError>
where
    T: Encode<'q, Postgres> + Type<Postgres> + 'q,
{
    arguments.add(values).map_err(|error| StoreError::Encode(error.to_string()))
}

/// Declares a struct of columns, and how they become arguments, in order.
macro_rules! columns {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Default)]
        struct $name<'a> {
            $($field: Vec<$type>,)*
            lifetime: std::marker::PhantomData<&'a ()>,
        }

        impl $name<'_> {
            fn bind(self, arguments: &mut PgArguments) -> Result<(), StoreError> {
                $(add(arguments, self.$field)?;)*
                Ok(())
            }
        }
    };
}

columns!(
    /// Who, what for, with what.
    CallColumns {
        feature: &'a str,
        provider: &'a str,
        model: &'a str,
    }
);

columns!(
    /// The optional dimensions.
    OptionalColumns {
        region: Option<&'a str>,
        run: Option<&'a str>,
        agent: Option<&'a str>,
        labels: Option<String>,
    }
);

columns!(
    /// What moved, and by which rows it was priced.
    PricedColumns {
        requests: i32,
        input: i64,
        cache_read: i64,
        cache_write_5m: i64,
        cache_write_1h: i64,
        output: i64,
        reasoning: i64,
        tokens: i64,
        usd: Decimal,
        gco2e_usage_location: Decimal,
        gco2e_usage_market: Decimal,
        gco2e_embodied: Decimal,
        price: Option<i64>,
        price_tier_from: i64,
        carbon_profile: &'a str,
        model_factor: Option<i64>,
        grid_factor: Option<i64>,
        market_factor: Option<i64>,
        flags: i32,
    }
);

impl<'a> CallColumns<'a> {
    fn push(&mut self, call: &'a Dimensions) {
        self.feature.push(call.feature.as_str());
        self.provider.push(call.provider.as_str());
        self.model.push(call.model.as_str());
    }
}

impl<'a> OptionalColumns<'a> {
    fn push(&mut self, call: &'a Dimensions) {
        self.region.push(call.region.as_ref().map(RegionId::as_str));
        self.run.push(call.run.as_ref().map(RunId::as_str));
        self.agent.push(call.agent.as_ref().map(AgentId::as_str));
        self.labels.push(labels_text(&call.labels));
    }
}

/// Labels as a JSON object, or nothing when there are none.
fn labels_text(labels: &BTreeMap<LabelKey, LabelValue>) -> Option<String> {
    if labels.is_empty() {
        return None;
    }
    let pairs = labels.iter().map(|(key, value)| (key.as_str().to_owned(), value.as_str().into()));
    Some(serde_json::Value::Object(pairs.collect()).to_string())
}

impl PricedColumns<'_> {
    fn push(&mut self, priced: &Priced) -> Result<(), StoreError> {
        let (consumption, provenance) = (&priced.consumption, &priced.provenance);
        let (usage, amounts) = (&consumption.usage, &consumption.amounts);
        let count = |requests| i32::try_from(requests).map_err(|_| StoreError::Unkeepable(BadAmount::TooLarge));
        self.requests.push(count(consumption.requests)?);
        self.input.push(signed(usage.input.count())?);
        self.cache_read.push(signed(usage.cache_read.count())?);
        self.cache_write_5m.push(signed(usage.cache_write_5m.count())?);
        self.cache_write_1h.push(signed(usage.cache_write_1h.count())?);
        self.output.push(signed(usage.output.count())?);
        self.reasoning.push(signed(usage.reasoning.count())?);
        self.tokens.push(signed(amounts.tokens.count())?);
        self.usd.push(amounts.usd.decimal());
        self.gco2e_usage_location.push(amounts.gco2e_usage_location.decimal());
        self.gco2e_usage_market.push(amounts.gco2e_usage_market.decimal());
        self.gco2e_embodied.push(amounts.gco2e_embodied.decimal());
        self.price.push(provenance.price.map(|price| price.0));
        self.price_tier_from.push(signed(provenance.tier_from.count())?);
        self.carbon_profile.push(provenance.profile.name());
        self.model_factor.push(provenance.model_factor.map(|factor| factor.0));
        self.grid_factor.push(provenance.grid_factor.map(|factor| factor.0));
        self.market_factor.push(provenance.market_factor.map(|factor| factor.0));
        self.flags.push(i32::try_from(priced.flags.bits()).unwrap_or(i32::MAX));
        Ok(())
    }
}

/// All parameters of `sql/write_batch.sql`, in order.
pub(super) fn batch_arguments(batch: &Batch<'_>) -> Result<PgArguments, StoreError> {
    let Batch { books, touches: _, slices, lane, number, now } = batch;
    let changes = &books.changes;
    let mut arguments = PgArguments::default();
    let granted = changes.granted.iter().filter_map(|id| books.reservations.get(id));
    bind_granted(&mut arguments, granted)?;
    let changed = changes.changed.iter().filter_map(|id| books.reservations.get(id));
    bind_changed(&mut arguments, changed)?;
    bind_transfers(&mut arguments, &changes.transfers)?;
    let counted: BTreeSet<&CounterId> = changes.counters.iter().filter(|id| !slices.contains(*id)).collect();
    bind_counters(&mut arguments, books, &counted)?;
    bind_rollup(&mut arguments, &changes.transfers)?;
    bind_refusals(&mut arguments, &changes.refusals)?;
    bind_refusal_counts(&mut arguments, &changes.refusals)?;
    add(&mut arguments, *lane)?;
    add(&mut arguments, *number)?;
    add(&mut arguments, *now)?;
    bind_answers(&mut arguments, books, *now)?;
    bind_learned(&mut arguments, books, &counted)?;
    bind_said(&mut arguments, books)?;
    let answers = changes.answers.iter().filter_map(|id| books.answers.get(id));
    add(&mut arguments, answers.map(|answer| answer.until).collect::<Vec<_>>())?;
    bind_held_and_opened(&mut arguments, books, &counted)?;
    bind_slices(&mut arguments, batch)?;
    Ok(arguments)
}

columns!(
    /// How a reservation stands.
    StateColumns {
        expires_at: DateTime<Utc>,
        state: &'a str,
        ended_at: Option<DateTime<Utc>>,
        transfer: Option<Uuid>,
    }
);

impl StateColumns<'_> {
    fn push(&mut self, reservation: &Reservation) {
        self.expires_at.push(reservation.expires_at);
        self.state.push(reservation.state.name());
        self.ended_at.push(reservation.ended_at);
        self.transfer.push(reservation.transfer.map(|transfer| transfer.0));
    }
}

fn bind_granted<'a>(
    arguments: &mut PgArguments,
    reservations: impl Iterator<Item = &'a Reservation>,
) -> Result<(), StoreError> {
    let (mut ids, mut tenants, mut priorities, mut tiers, mut granted_at) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut call, mut optional) = (CallColumns::default(), OptionalColumns::default());
    let (mut priced, mut state) = (PricedColumns::default(), StateColumns::default());
    for reservation in reservations {
        ids.push(reservation.id.0);
        tenants.push(reservation.call.tenant.as_str());
        call.push(&reservation.call);
        optional.push(&reservation.call);
        priorities.push(reservation.priority.name());
        tiers.push(reservation.service_tier.as_str());
        priced.push(&reservation.hold)?;
        granted_at.push(reservation.granted_at);
        state.push(reservation);
    }
    add(arguments, ids)?;
    add(arguments, tenants)?;
    call.bind(arguments)?;
    optional.bind(arguments)?;
    add(arguments, priorities)?;
    add(arguments, tiers)?;
    priced.bind(arguments)?;
    add(arguments, granted_at)?;
    state.bind(arguments)
}

fn bind_changed<'a>(
    arguments: &mut PgArguments,
    reservations: impl Iterator<Item = &'a Reservation>,
) -> Result<(), StoreError> {
    let (mut ids, mut tenants) = (vec![], vec![]);
    let (mut priced, mut state) = (PricedColumns::default(), StateColumns::default());
    for reservation in reservations {
        ids.push(reservation.id.0);
        tenants.push(reservation.call.tenant.as_str());
        priced.push(&reservation.hold)?;
        state.push(reservation);
    }
    add(arguments, ids)?;
    add(arguments, tenants)?;
    add(arguments, priced.output)?;
    add(arguments, priced.tokens)?;
    add(arguments, priced.usd)?;
    add(arguments, priced.gco2e_usage_location)?;
    add(arguments, priced.gco2e_usage_market)?;
    add(arguments, priced.gco2e_embodied)?;
    add(arguments, priced.flags)?;
    state.bind(arguments)
}

columns!(
    /// What the caller reported, and when.
    ReportColumns {
        outcome: &'a str,
        latency_ms: Option<i32>,
        provider_request_id: Option<&'a str>,
        provider_usd: Option<Decimal>,
        occurred_at: DateTime<Utc>,
        recorded_at: DateTime<Utc>,
        period_at: DateTime<Utc>,
        reservation: Option<Uuid>,
        priority: &'a str,
        direction: i16,
        corrects: Option<Uuid>,
    }
);

impl<'a> ReportColumns<'a> {
    fn push(&mut self, transfer: &'a Transfer) {
        let report = &transfer.report;
        self.outcome.push(report.outcome.name());
        self.latency_ms.push(report.latency_ms.map(|ms| i32::try_from(ms).unwrap_or(i32::MAX)));
        self.provider_request_id.push(report.provider_request_id.as_deref());
        self.provider_usd.push(report.provider_usd.map(Usd::decimal));
        self.occurred_at.push(transfer.occurred_at);
        self.recorded_at.push(transfer.recorded_at);
        self.period_at.push(transfer.period_at);
        self.reservation.push(transfer.reservation.map(|reservation| reservation.0));
        self.priority.push(transfer.priority.name());
        self.direction.push(transfer.direction.sign());
        self.corrects.push(transfer.corrects.map(|corrects| corrects.0));
    }
}

fn bind_transfers(arguments: &mut PgArguments, transfers: &[Transfer]) -> Result<(), StoreError> {
    let (mut tenants, mut ids, mut kinds, mut debits, mut credits) = (vec![], vec![], vec![], vec![], vec![]);
    let mut requested = vec![];
    let (mut call, mut optional) = (CallColumns::default(), OptionalColumns::default());
    let (mut priced, mut report) = (PricedColumns::default(), ReportColumns::default());
    for transfer in transfers {
        tenants.push(transfer.call.tenant.as_str());
        ids.push(transfer.id.0);
        kinds.push(transfer.kind.name());
        debits.push(transfer.debit().to_string());
        credits.push(transfer.credit().to_string());
        call.push(&transfer.call);
        requested.push(transfer.requested_model.as_ref().map(ModelId::as_str));
        optional.push(&transfer.call);
        priced.push(&transfer.priced)?;
        report.push(transfer);
    }
    add(arguments, tenants)?;
    add(arguments, ids)?;
    add(arguments, kinds)?;
    add(arguments, debits)?;
    add(arguments, credits)?;
    call.bind(arguments)?;
    add(arguments, requested)?;
    optional.bind(arguments)?;
    priced.bind(arguments)?;
    report.bind(arguments)
}

fn bind_counters(arguments: &mut PgArguments, books: &Books, changed: &BTreeSet<&CounterId>) -> Result<(), StoreError> {
    let (mut budgets, mut keys, mut starts, mut posted, mut held) = (vec![], vec![], vec![], vec![], vec![]);
    for &id in changed {
        let counter = books.counters.get(id).copied().unwrap_or_default();
        budgets.push(id.budget.0);
        keys.push(id.key.as_str());
        starts.push(id.start);
        posted.push(counter.posted.decimal());
        held.push(counter.held.decimal());
    }
    add(arguments, budgets)?;
    add(arguments, keys)?;
    add(arguments, starts)?;
    add(arguments, posted)?;
    add(arguments, held)
}

/// One row of the roll-up for all transfers of one quarter of an hour, tenant, feature, provider, model, region and priority.
fn bind_rollup(arguments: &mut PgArguments, transfers: &[Transfer]) -> Result<(), StoreError> {
    type Key<'a> = (&'a str, DateTime<Utc>, &'a str, &'a str, &'a str, &'a str, &'a str);
    let mut rows: BTreeMap<Key<'_>, ([i64; 7], [Decimal; 4])> = BTreeMap::new();
    for transfer in transfers {
        let call = &transfer.call;
        let region = call.region.as_ref().map_or("", RegionId::as_str);
        let at = quarter(transfer.period_at);
        let sign = transfer.direction.sign();
        let (tenant, feature) = (call.tenant.as_str(), call.feature.as_str());
        let (provider, model) = (call.provider.as_str(), call.model.as_str());
        let key = (tenant, at, feature, provider, model, region, transfer.priority.name());
        let (counts, decimals) = rows.entry(key).or_default();
        let consumption = &transfer.priced.consumption;
        let mut new_counts = [i64::from(consumption.requests); 7];
        for (new, tokens) in new_counts.iter_mut().skip(1).zip(consumption.usage.buckets()) {
            *new = signed(tokens.count())?;
        }
        let amounts = &consumption.amounts;
        let new_decimals = [
            amounts.usd.decimal(),
            amounts.gco2e_usage_location.decimal(),
            amounts.gco2e_usage_market.decimal(),
            amounts.gco2e_embodied.decimal(),
        ];
        // As in the statement: a sum that its column cannot hold is the most that it can.
        for (sum, new) in counts.iter_mut().zip(new_counts) {
            *sum = sum.saturating_add(new.saturating_mul(i64::from(sign)));
        }
        let most = [USD_MAX, GRAMS_MAX, GRAMS_MAX, GRAMS_MAX];
        for ((sum, new), most) in decimals.iter_mut().zip(new_decimals).zip(most) {
            let least = most.saturating_mul(Decimal::NEGATIVE_ONE);
            *sum = sum.saturating_add(new.saturating_mul(Decimal::from(sign))).clamp(least, most);
        }
    }
    let keys = || rows.keys();
    add(arguments, keys().map(|key| key.0).collect::<Vec<_>>())?;
    add(arguments, keys().map(|key| key.1).collect::<Vec<_>>())?;
    add(arguments, keys().map(|key| key.2).collect::<Vec<_>>())?;
    add(arguments, keys().map(|key| key.3).collect::<Vec<_>>())?;
    add(arguments, keys().map(|key| key.4).collect::<Vec<_>>())?;
    add(arguments, keys().map(|key| key.5).collect::<Vec<_>>())?;
    add(arguments, keys().map(|key| key.6).collect::<Vec<_>>())?;
    for place in 0..7 {
        add(arguments, rows.values().filter_map(|(counts, _)| counts.get(place).copied()).collect::<Vec<_>>())?;
    }
    for place in 0..4 {
        add(arguments, rows.values().filter_map(|(_, decimals)| decimals.get(place).copied()).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// The reason that binds: the headline.
fn headline(refusal: &RefusedCall) -> (&'static str, Option<&str>) {
    let first: Option<&Reason> = refusal.ruled.ruling.reasons.first();
    let budget = first.and_then(|reason| reason.budget.as_ref()).map(BudgetId::as_str);
    (first.map_or("", |reason| reason.code.name()), budget)
}

fn answer_text(refusal: &RefusedCall) -> Result<String, StoreError> {
    Ok(serde_json::to_string(&PreflightAnswer::from(&refusal.ruled))?)
}

/// Refusals that carry a key, one by one.
fn bind_refusals(arguments: &mut PgArguments, refusals: &[RefusedCall]) -> Result<(), StoreError> {
    let (mut tenants, mut ids, mut priorities, mut verdicts) = (vec![], vec![], vec![], vec![]);
    let (mut reasons, mut budgets, mut keys, mut answers, mut at) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut call, mut runs, mut agents) = (CallColumns::default(), vec![], vec![]);
    for refusal in refusals {
        let Some(key) = &refusal.key else { continue };
        let (reason, budget) = headline(refusal);
        tenants.push(refusal.call.tenant.as_str());
        ids.push(refusal.id.0);
        call.push(&refusal.call);
        runs.push(refusal.call.run.as_ref().map(RunId::as_str));
        agents.push(refusal.call.agent.as_ref().map(AgentId::as_str));
        priorities.push(refusal.priority.name());
        verdicts.push(refusal.ruled.ruling.verdict.name());
        reasons.push(reason);
        budgets.push(budget);
        keys.push(key.as_str());
        answers.push(answer_text(refusal)?);
        at.push(refusal.refused_at);
    }
    add(arguments, tenants)?;
    add(arguments, ids)?;
    call.bind(arguments)?;
    add(arguments, runs)?;
    add(arguments, agents)?;
    add(arguments, priorities)?;
    add(arguments, verdicts)?;
    add(arguments, reasons)?;
    add(arguments, budgets)?;
    add(arguments, keys)?;
    add(arguments, answers)?;
    add(arguments, at)
}

/// Refusals without a key, counted by tenant, minute, budget, feature, verdict and reason; the latest one's numbers.
fn bind_refusal_counts(arguments: &mut PgArguments, refusals: &[RefusedCall]) -> Result<(), StoreError> {
    type Key<'a> = (&'a str, DateTime<Utc>, &'a str, &'a str, &'a str, &'a str);
    let mut rows: BTreeMap<Key<'_>, (i64, &RefusedCall, &RefusedCall)> = BTreeMap::new();
    for refusal in refusals.iter().filter(|refusal| refusal.key.is_none()) {
        let (reason, budget) = headline(refusal);
        let (call, verdict) = (&refusal.call, refusal.ruled.ruling.verdict.name());
        let at = minute(refusal.refused_at);
        let key = (call.tenant.as_str(), at, budget.unwrap_or(""), call.feature.as_str(), verdict, reason);
        let row = rows.entry(key).or_insert((0, refusal, refusal));
        row.0 = row.0.saturating_add(1);
        row.2 = refusal;
    }
    add(arguments, rows.keys().map(|key| key.0).collect::<Vec<_>>())?;
    add(arguments, rows.keys().map(|key| key.1).collect::<Vec<_>>())?;
    add(arguments, rows.keys().map(|key| key.2).collect::<Vec<_>>())?;
    add(arguments, rows.keys().map(|key| key.3).collect::<Vec<_>>())?;
    add(arguments, rows.keys().map(|key| key.4).collect::<Vec<_>>())?;
    add(arguments, rows.keys().map(|key| key.5).collect::<Vec<_>>())?;
    add(arguments, rows.values().map(|row| row.0).collect::<Vec<_>>())?;
    add(arguments, rows.values().map(|row| row.1.refused_at).collect::<Vec<_>>())?;
    add(arguments, rows.values().map(|row| row.2.refused_at).collect::<Vec<_>>())?;
    add(arguments, rows.values().map(|row| answer_text(row.2)).collect::<Result<Vec<_>, _>>()?)
}

/// What is held by a learned rule, and what is kept aside for it: the last columns of what is granted, changed and counted.
fn bind_learned(arguments: &mut PgArguments, books: &Books, counted: &BTreeSet<&CounterId>) -> Result<(), StoreError> {
    let changes = &books.changes;
    for ids in [&changes.granted, &changes.changed] {
        let reservations = ids.iter().filter_map(|id| books.reservations.get(id));
        let text = |reservation: &Reservation| {
            learned_docs(&reservation.learned).map(|docs| serde_json::to_string(&docs)).transpose()
        };
        add(arguments, reservations.map(text).collect::<Result<Vec<_>, _>>()?)?;
    }
    let counters = || counted.iter().map(|id| books.counters.get(id).copied().unwrap_or_default());
    add(arguments, counters().map(|counter| counter.margin.decimal()).collect::<Vec<_>>())?;
    add(arguments, counters().map(|counter| counter.at_risk.decimal()).collect::<Vec<_>>())
}

/// What was said of who serves a call: the last columns of what is granted and posted.
fn bind_said(arguments: &mut PgArguments, books: &Books) -> Result<(), StoreError> {
    let granted = books.changes.granted.iter().filter_map(|id| books.reservations.get(id));
    let granted = granted.map(|reservation| said_text(&reservation.call)).collect::<Result<Vec<_>, _>>()?;
    let posted = books.changes.transfers.iter().map(|transfer| said_text(&transfer.call));
    add(arguments, granted)?;
    add(arguments, posted.collect::<Result<Vec<_>, _>>()?)
}

/// As a JSON object; none for a call that has no names.
fn said_text(call: &Dimensions) -> Result<Option<String>, StoreError> {
    Ok(said_as_column(call).map(|body| serde_json::to_string(&body)).transpose()?)
}

/// The instants that reservations are held at, where they are not those of their grants; and when counters were opened.
fn bind_held_and_opened(
    arguments: &mut PgArguments,
    books: &Books,
    counted: &BTreeSet<&CounterId>,
) -> Result<(), StoreError> {
    let changes = &books.changes;
    for ids in [&changes.granted, &changes.changed] {
        let reservations = ids.iter().filter_map(|id| books.reservations.get(id));
        let moved = |one: &Reservation| Some(one.held_at).filter(|held_at| *held_at != one.granted_at);
        add(arguments, reservations.map(moved).collect::<Vec<_>>())?;
    }
    add(arguments, counted.iter().map(|id| books.opened.get(*id).copied()).collect::<Vec<_>>())
}

/// Slices that are made, and the windows that are told of it.
fn bind_slices(arguments: &mut PgArguments, batch: &Batch<'_>) -> Result<(), StoreError> {
    let known = |id: &CounterId| batch.touches.counters.get(id);
    let counter = |id: &CounterId| batch.books.counters.get(id).copied().unwrap_or_default();
    let ids = || batch.slices.iter();
    add(arguments, ids().map(|id| id.budget.0).collect::<Vec<_>>())?;
    add(arguments, ids().map(|id| id.key.as_str()).collect::<Vec<_>>())?;
    add(arguments, ids().map(|id| id.start).collect::<Vec<_>>())?;
    add(arguments, ids().map(|id| known(id).and_then(|touched| touched.period.end)).collect::<Vec<_>>())?;
    let tenant = |id| known(id).and_then(|touched| touched.tenant.as_ref()).map(TenantId::as_str);
    add(arguments, ids().map(tenant).collect::<Vec<_>>())?;
    add(arguments, ids().map(|id| counter(id).posted.decimal()).collect::<Vec<_>>())?;
    add(arguments, ids().map(|id| counter(id).held.decimal()).collect::<Vec<_>>())?;
    add(arguments, ids().map(|id| counter(id).margin.decimal()).collect::<Vec<_>>())?;
    add(arguments, ids().map(|id| counter(id).at_risk.decimal()).collect::<Vec<_>>())?;
    let windows: BTreeSet<_> = ids().map(|id| (id.budget.0, id.key.as_str())).collect();
    add(arguments, windows.iter().map(|(budget, _)| *budget).collect::<Vec<_>>())?;
    add(arguments, windows.iter().map(|(_, key)| *key).collect::<Vec<_>>())
}

fn bind_answers(arguments: &mut PgArguments, books: &Books, now: DateTime<Utc>) -> Result<(), StoreError> {
    let (mut spaces, mut keys, mut fingerprints, mut answers) = (vec![], vec![], vec![], vec![]);
    for id in &books.changes.answers {
        let Some(Remembered { fingerprint, outcome, .. }) = books.answers.get(id) else { continue };
        let (space, key) = id;
        spaces.push(space.as_str());
        keys.push(key.as_str());
        fingerprints.push(fingerprint.to_vec());
        answers.push(kept::to_text(outcome)?);
    }
    let recorded_at = vec![now; spaces.len()];
    add(arguments, spaces)?;
    add(arguments, keys)?;
    add(arguments, fingerprints)?;
    add(arguments, answers)?;
    add(arguments, recorded_at)
}
