//! The price book and the factor book in Postgres: append-only rows, kept as documents, read whole into memory.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{Connection, Row};

use super::StoreError;
use super::catalogue::LOCK;
use crate::domain::carbon::{Factor, FactorBook, FactorId, Profile};
use crate::domain::price::book::PriceBook;
use crate::domain::price::{NewPriceRow, PriceId, PriceRow};
use crate::domain::tariff::RateBooks;
use crate::wire::factor::FactorDoc;
use crate::wire::factor::doc::FactorIdentity;
use crate::wire::price::{PriceRowDoc, bundled_provider_names};

/// Loads both books.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn load(connection: &mut PgConnection) -> Result<RateBooks, StoreError> {
    let prices = sqlx::query("select id, doc from prices order by id").fetch_all(&mut *connection).await?;
    let prices = prices.iter().map(price_from_row).collect::<Result<_, _>>()?;
    let factors = sqlx::query("select id, doc from factors order by id").fetch_all(&mut *connection).await?;
    let factors = factors.iter().map(factor_from_row).collect::<Result<Vec<_>, _>>()?;
    let names = bundled_provider_names().map_err(|error| StoreError::Row(format!("provider names: {error}")))?;
    Ok(RateBooks {
        prices: PriceBook::with_names(prices, names).into(),
        factors: FactorBook::new(factors).into(),
        profile: Profile::Extended1,
    })
}

fn price_from_row(row: &PgRow) -> Result<PriceRow, StoreError> {
    let id = PriceId(row.try_get(0)?);
    let Json(doc): Json<PriceRowDoc> = row.try_get(1)?;
    let new =
        NewPriceRow::try_from(doc).map_err(|error| StoreError::Row(format!("prices.doc of {}: {error}", id.0)))?;
    Ok(new.with_id(id))
}

fn factor_from_row(row: &PgRow) -> Result<Factor, StoreError> {
    let id = FactorId(row.try_get(0)?);
    let Json(doc): Json<FactorDoc> = row.try_get(1)?;
    doc.into_factor(id).map_err(|error| StoreError::Row(format!("factors.doc of {}: {error}", id.0)))
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// The ids of the rows that are new; none for a row that was there before.
    pub ids: Vec<Option<i64>>,
}

impl Imported {
    /// How many rows are new.
    #[must_use]
    pub fn new_rows(&self) -> usize {
        self.ids.iter().flatten().count()
    }
}

/// Adds price rows. A row whose provider, model, tier, region, effective date and source are there already is left alone.
///
/// # Errors
/// When the database does not answer.
pub async fn add_prices(
    connection: &mut PgConnection,
    rows: &[NewPriceRow],
    now: DateTime<Utc>,
) -> Result<Imported, StoreError> {
    let docs: Vec<PriceRowDoc> = rows.iter().map(PriceRowDoc::from).collect();
    let mut transaction = connection.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    let new: Vec<(i64, i64)> = sqlx::query_as(include_str!("sql/add_prices.sql"))
        .bind(docs.iter().map(|doc| doc.provider.as_str()).collect::<Vec<_>>())
        .bind(docs.iter().map(|doc| doc.model.as_str()).collect::<Vec<_>>())
        .bind(docs.iter().map(|doc| doc.service_tier.as_str()).collect::<Vec<_>>())
        .bind(docs.iter().map(|doc| doc.region.as_deref().unwrap_or("")).collect::<Vec<_>>())
        .bind(docs.iter().map(|doc| doc.effective_from).collect::<Vec<_>>())
        .bind(docs.iter().map(Json).collect::<Vec<_>>())
        .bind(docs.iter().map(|doc| doc.source.as_str()).collect::<Vec<_>>())
        .bind(docs.iter().map(|doc| doc.source_date.to_string()).collect::<Vec<_>>())
        .bind(docs.iter().map(|doc| doc.licence.as_str()).collect::<Vec<_>>())
        .bind(now)
        .fetch_all(&mut *transaction)
        .await?;
    if !new.is_empty() {
        sqlx::query("update catalogue_head set rates_version = rates_version + 1").execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(in_order(docs.len(), new))
}

/// Adds factor rows. A row whose kind, key, set, first day and source are there already is left alone.
///
/// # Errors
/// When the database does not answer, or a document is not a factor.
pub async fn add_factors(
    connection: &mut PgConnection,
    docs: &[FactorDoc],
    now: DateTime<Utc>,
) -> Result<Imported, StoreError> {
    let checked = docs.iter().map(|doc| {
        let factor = doc.clone().into_factor(FactorId(0)).map_err(|error| StoreError::Row(error.to_string()))?;
        let source = factor.source();
        Ok((FactorIdentity::of(&factor), source.title.clone(), source.licence.clone()))
    });
    let rows = checked.collect::<Result<Vec<_>, StoreError>>()?;
    let mut transaction = connection.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    let new: Vec<(i64, i64)> = sqlx::query_as(include_str!("sql/add_factors.sql"))
        .bind(rows.iter().map(|(identity, ..)| identity.kind.word()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(identity, ..)| identity.key.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(identity, ..)| identity.set.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(identity, ..)| identity.valid_from).collect::<Vec<_>>())
        .bind(docs.iter().map(Json).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, title, _)| title.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(.., licence)| licence.as_str()).collect::<Vec<_>>())
        .bind(now)
        .fetch_all(&mut *transaction)
        .await?;
    if !new.is_empty() {
        sqlx::query("update catalogue_head set rates_version = rates_version + 1").execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(in_order(docs.len(), new))
}

/// Places (from 1) and ids, as one id for each place.
fn in_order(rows: usize, new: Vec<(i64, i64)>) -> Imported {
    let mut ids = vec![None; rows];
    for (place, id) in new {
        let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        if let Some(slot) = place.and_then(|place| ids.get_mut(place)) {
            *slot = Some(id);
        }
    }
    Imported { ids }
}
