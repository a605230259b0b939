//! Rows as values: what the books keep, read back through the same doors that any input goes through.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::StoreError;
use crate::domain::amounts::{Amounts, Grams, Tokens, Usd};
use crate::domain::budget::catalogue::Priority;
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::promise::LearnedHolds;
use crate::domain::budget::scope::{Dimensions, SaidAs, Spelling};
use crate::domain::carbon::{FactorId, Profile};
use crate::domain::id::{FeatureId, LabelKey, LabelValue, ModelId, ProviderId, ReservationId, TenantId, TransferId};
use crate::domain::ledger::reservation::{Reservation, ReservationState};
use crate::domain::ledger::transfer::{CallOutcome, CallReport, Direction, Transfer, TransferKind};
use crate::domain::price::{PriceId, ServiceTier};
use crate::domain::tariff::{Flags, Priced, Provenance};
use crate::domain::usage::Usage;
use crate::wire::learned::{LearnedHoldDoc, learned_holds};
use crate::wire::said::SaidAsBody;

/// A name in a column that is never null.
pub(super) fn name<T: std::str::FromStr<Err = crate::domain::id::BadName>>(
    row: &PgRow,
    column: &'static str,
) -> Result<T, StoreError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(StoreError::name(column))
}

/// A name in a column that may be null.
fn optional_name<T: std::str::FromStr<Err = crate::domain::id::BadName>>(
    row: &PgRow,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(StoreError::name(column))).transpose()
}

fn tokens(row: &PgRow, column: &'static str) -> Result<Tokens, StoreError> {
    let count: i64 = row.try_get(column)?;
    let count = u64::try_from(count).map_err(|_| StoreError::Row(column.to_owned()))?;
    Tokens::new(count).map_err(StoreError::Unkeepable)
}

fn usd(row: &PgRow, column: &'static str) -> Result<Usd, StoreError> {
    Usd::new(row.try_get(column)?).map_err(StoreError::Unkeepable)
}

fn grams(row: &PgRow, column: &'static str) -> Result<Grams, StoreError> {
    Grams::new(row.try_get(column)?).map_err(StoreError::Unkeepable)
}

/// What a call is about.
pub(super) fn dimensions_from_row(row: &PgRow) -> Result<Dimensions, StoreError> {
    let labels: Option<Json<BTreeMap<String, String>>> = row.try_get("labels")?;
    let labels = labels.map(|Json(labels)| labels).unwrap_or_default();
    let label = |(key, value): (String, String)| {
        let bad = StoreError::name("labels");
        match (LabelKey::parse(&key), LabelValue::stored(&value)) {
            (Ok(key), Ok(value)) => Ok((key, value)),
            (Err(error), _) | (_, Err(error)) => Err(bad(error)),
        }
    };
    Ok(Dimensions {
        tenant: TenantId::stored(row.try_get("tenant")?).map_err(StoreError::name("tenant"))?,
        feature: FeatureId::stored(row.try_get("feature")?).map_err(StoreError::name("feature"))?,
        provider: name::<ProviderId>(row, "provider")?,
        model: name::<ModelId>(row, "model")?,
        region: optional_name(row, "region")?,
        run: optional_name(row, "run")?,
        agent: optional_name(row, "agent")?,
        labels: Arc::new(labels.into_iter().map(label).collect::<Result<_, _>>()?),
        spelling: spelling_from_row(row)?,
    })
}

/// What was said of who serves a call. A row without it was written before there were names.
fn spelling_from_row(row: &PgRow) -> Result<Spelling, StoreError> {
    let body: Option<Json<SaidAsBody>> = row.try_get("said_as")?;
    let Some(Json(body)) = body else { return Ok(Spelling::AsSaid) };
    let said = body.to_said_as().map_err(|error| StoreError::Row(error.field))?;
    Ok(Spelling::Named((said != SaidAs::default()).then(|| Arc::new(said))))
}

/// What moved or is held, and by which rows it was priced.
pub(super) fn priced_from_row(row: &PgRow) -> Result<Priced, StoreError> {
    let requests: i32 = row.try_get("requests")?;
    let profile: &str = row.try_get("carbon_profile")?;
    let flags: i32 = row.try_get("flags")?;
    Ok(Priced {
        consumption: Consumption {
            requests: u32::try_from(requests).map_err(|_| StoreError::Row("requests".to_owned()))?,
            usage: Usage {
                input: tokens(row, "input")?,
                cache_read: tokens(row, "cache_read")?,
                cache_write_5m: tokens(row, "cache_write_5m")?,
                cache_write_1h: tokens(row, "cache_write_1h")?,
                output: tokens(row, "output")?,
                reasoning: tokens(row, "reasoning")?,
            },
            amounts: Amounts {
                tokens: tokens(row, "tokens")?,
                usd: usd(row, "usd")?,
                gco2e_usage_location: grams(row, "gco2e_usage_location")?,
                gco2e_usage_market: grams(row, "gco2e_usage_market")?,
                gco2e_embodied: grams(row, "gco2e_embodied")?,
            },
        },
        provenance: Provenance {
            price: row.try_get::<Option<i64>, _>("price")?.map(PriceId),
            tier_from: tokens(row, "price_tier_from")?,
            profile: Profile::parse(profile).map_err(|_| StoreError::Row("carbon_profile".to_owned()))?,
            model_factor: row.try_get::<Option<i64>, _>("model_factor")?.map(FactorId),
            grid_factor: row.try_get::<Option<i64>, _>("grid_factor")?.map(FactorId),
            market_factor: row.try_get::<Option<i64>, _>("market_factor")?.map(FactorId),
        },
        flags: Flags::from_bits(u32::try_from(flags).map_err(|_| StoreError::Row("flags".to_owned()))?),
    })
}

/// One of a closed set of words.
fn word<T: Copy>(row: &PgRow, column: &'static str, all: &[(T, &str)]) -> Result<T, StoreError> {
    let text: &str = row.try_get(column)?;
    let known = all.iter().find(|(_, word)| *word == text).map(|(value, _)| *value);
    known.ok_or_else(|| StoreError::Row(column.to_owned()))
}

/// What budgets hold of a reservation that do not hold all of it.
fn learned_from_row(row: &PgRow) -> Result<LearnedHolds, StoreError> {
    let docs: Option<Json<Vec<LearnedHoldDoc>>> = row.try_get("learned")?;
    let Some(Json(docs)) = docs else { return Ok(LearnedHolds::default()) };
    learned_holds(&docs).map_err(|error| StoreError::Row(format!("learned.{}", error.field)))
}

fn priority(row: &PgRow) -> Result<Priority, StoreError> {
    word(row, "priority", &Priority::ALL.map(|priority| (priority, priority.name())))
}

/// A reservation.
pub(super) fn reservation_from_row(row: &PgRow) -> Result<Reservation, StoreError> {
    let states =
        [ReservationState::Open, ReservationState::Settled, ReservationState::Released, ReservationState::Expired];
    Ok(Reservation {
        id: ReservationId(row.try_get("id")?),
        call: dimensions_from_row(row)?,
        priority: priority(row)?,
        service_tier: ServiceTier::from_word(row.try_get("service_tier")?)
            .ok_or_else(|| StoreError::Row("service_tier".to_owned()))?,
        hold: priced_from_row(row)?,
        learned: learned_from_row(row)?,
        granted_at: row.try_get("granted_at")?,
        held_at: match row.try_get("held_at")? {
            Some(held_at) => held_at,
            None => row.try_get("granted_at")?,
        },
        expires_at: row.try_get("expires_at")?,
        state: word(row, "state", &states.map(|state| (state, state.name())))?,
        ended_at: row.try_get("ended_at")?,
        transfer: row.try_get::<Option<Uuid>, _>("transfer")?.map(TransferId),
    })
}

/// A journal row.
pub(super) fn transfer_from_row(row: &PgRow) -> Result<Transfer, StoreError> {
    let sign: i16 = row.try_get("direction")?;
    let direction = Direction::ALL.into_iter().find(|direction| direction.sign() == sign);
    let latency_ms: Option<i32> = row.try_get("latency_ms")?;
    let provider_usd: Option<Decimal> = row.try_get("provider_usd")?;
    let occurred_at: DateTime<Utc> = row.try_get("occurred_at")?;
    Ok(Transfer {
        id: TransferId(row.try_get("id")?),
        priority: priority(row)?,
        kind: word(row, "kind", &TransferKind::ALL.map(|kind| (kind, kind.name())))?,
        direction: direction.ok_or_else(|| StoreError::Row("direction".to_owned()))?,
        call: dimensions_from_row(row)?,
        requested_model: optional_name::<ModelId>(row, "requested_model")?,
        priced: priced_from_row(row)?,
        report: CallReport {
            outcome: word(row, "outcome", &CallOutcome::ALL.map(|outcome| (outcome, outcome.name())))?,
            latency_ms: latency_ms.and_then(|ms| u32::try_from(ms).ok()),
            provider_request_id: row.try_get("provider_request_id")?,
            provider_usd: provider_usd.map(Usd::new).transpose().map_err(StoreError::Unkeepable)?,
        },
        occurred_at,
        recorded_at: row.try_get("recorded_at")?,
        period_at: row.try_get("period_at")?,
        reservation: row.try_get::<Option<Uuid>, _>("reservation")?.map(ReservationId),
        corrects: row.try_get::<Option<Uuid>, _>("corrects")?.map(TransferId),
    })
}
