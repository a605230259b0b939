//! The price book and the factor book in Postgres: append-only rows, kept as documents, read whole into memory, and shown
//! row by row.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{Connection, Postgres, Row, Transaction};

use super::StoreError;
use super::locks::{Lock, take};
use crate::domain::carbon::{Factor, FactorBook, FactorId, Profile};
use crate::domain::price::book::PriceBook;
use crate::domain::price::{NewPriceRow, PriceId, PriceRow};
use crate::domain::tariff::RateBooks;
use crate::wire::factor::FactorDoc;
use crate::wire::factor::doc::FactorIdentity;
use crate::wire::page::Page;
use crate::wire::price::{PriceRowDoc, bundled_provider_names};
use crate::wire::rates::{FactorBody, PriceBody, RateFilter};

/// Loads both books.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn load(connection: &mut PgConnection) -> Result<RateBooks, StoreError> {
    let (prices, factors) = rows(connection).await?;
    let names = bundled_provider_names().map_err(|error| StoreError::Row(format!("provider names: {error}")))?;
    Ok(RateBooks {
        prices: PriceBook::with_names(prices, names).into(),
        factors: FactorBook::new(factors).into(),
        profile: Profile::Extended1,
    })
}

/// Every row of both books, by id.
async fn rows(connection: &mut PgConnection) -> Result<(Vec<PriceRow>, Vec<Factor>), StoreError> {
    let prices = sqlx::query("select id, doc from prices order by id").fetch_all(&mut *connection).await?;
    let prices = prices.iter().map(price_from_row).collect::<Result<_, _>>()?;
    Ok((prices, factor_rows(connection).await?))
}

async fn factor_rows(connection: &mut PgConnection) -> Result<Vec<Factor>, StoreError> {
    let factors = sqlx::query("select id, doc from factors order by id").fetch_all(connection).await?;
    factors.iter().map(factor_from_row).collect()
}

/// Rows that are read at a time by whoever lets others go first in between.
const PAGE: i64 = 32;

/// The next price rows by id, after the given one; none at the end.
pub(super) async fn prices_after(connection: &mut PgConnection, after: PriceId) -> Result<Vec<PriceRow>, StoreError> {
    let rows = sqlx::query("select id, doc from prices where id > $1 order by id limit $2");
    rows.bind(after.0).bind(PAGE).fetch_all(connection).await?.iter().map(price_from_row).collect()
}

/// The next factor rows by id, after the given one, each with its id; none at the end.
pub(super) async fn factors_after(
    connection: &mut PgConnection,
    after: FactorId,
) -> Result<Vec<(FactorId, Factor)>, StoreError> {
    let rows = sqlx::query("select id, doc from factors where id > $1 order by id limit $2");
    let rows = rows.bind(after.0).bind(PAGE).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((FactorId(row.try_get(0)?), factor_from_row(row)?))).collect()
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

/// Every factor row, as it is kept.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn factor_docs(connection: &mut PgConnection) -> Result<Vec<FactorDoc>, StoreError> {
    let rows: Vec<(Json<FactorDoc>,)> =
        sqlx::query_as("select doc from factors order by id").fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(Json(doc),)| doc).collect())
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
    take(&mut transaction, Lock::Catalogue).await?;
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
    take(&mut transaction, Lock::Catalogue).await?;
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

/// Begins an addition: no other change of the books or the catalogue, and no batch of a lane, until it is committed.
///
/// # Errors
/// When the database does not answer.
pub async fn begin_addition(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, StoreError> {
    let mut transaction = connection.begin().await?;
    take(&mut transaction, Lock::Catalogue).await?;
    Ok(transaction)
}

fn price_body(row: &PgRow) -> Result<PriceBody, StoreError> {
    let Json(doc): Json<PriceRowDoc> = row.try_get("doc")?;
    Ok(PriceBody { id: row.try_get("id")?, recorded_at: row.try_get("recorded_at")?, row: doc })
}

fn factor_body(row: &PgRow) -> Result<FactorBody, StoreError> {
    let Json(doc): Json<FactorDoc> = row.try_get("doc")?;
    let (id, key) = (row.try_get("id")?, row.try_get("key")?);
    Ok(FactorBody { id, key, recorded_at: row.try_get("recorded_at")?, row: doc })
}

/// One price row.
///
/// # Errors
/// When the database does not answer.
pub async fn get_price(connection: &mut PgConnection, id: i64) -> Result<Option<PriceBody>, StoreError> {
    let row = sqlx::query("select id, doc, recorded_at from prices where id = $1").bind(id);
    row.fetch_optional(connection).await?.as_ref().map(price_body).transpose()
}

/// One factor row.
///
/// # Errors
/// When the database does not answer.
pub async fn get_factor(connection: &mut PgConnection, id: i64) -> Result<Option<FactorBody>, StoreError> {
    let row = sqlx::query("select id, key, doc, recorded_at from factors where id = $1").bind(id);
    row.fetch_optional(connection).await?.as_ref().map(factor_body).transpose()
}

/// Which price rows are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PricesAsked {
    /// Only of these providers, in lower case.
    pub providers: Option<Vec<String>>,
    /// Only of these models by the names of the lists, in lower case.
    pub models: Option<Vec<String>>,
    /// Only the rows that apply at this instant.
    pub at: Option<DateTime<Utc>>,
}

/// The row that stands in the place of a new one and says something else; none where there is none, or where it says the same.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn standing_price(connection: &mut PgConnection, new: &NewPriceRow) -> Result<Option<PriceBody>, StoreError> {
    let doc = PriceRowDoc::from(new);
    let row = sqlx::query(
        "select id, doc, recorded_at from prices
        where
            provider = $1
            and model = $2
            and service_tier = $3
            and region = $4
            and effective_from = $5
            and source = $6
            and source_date = $7",
    )
    .bind(&doc.provider)
    .bind(&doc.model)
    .bind(&doc.service_tier)
    .bind(doc.region.as_deref().unwrap_or_default())
    .bind(doc.effective_from)
    .bind(&doc.source)
    .bind(doc.source_date.to_string())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let standing = price_body(&row)?;
    Ok((standing.row != doc).then_some(standing))
}

/// A page of the price rows, in the order they were added.
///
/// # Errors
/// When the database does not answer.
pub async fn list_prices(
    connection: &mut PgConnection,
    asked: &PricesAsked,
    after: i64,
    page: &Page,
) -> Result<Vec<PriceBody>, StoreError> {
    let rows = sqlx::query(include_str!("sql/list_prices.sql"))
        .bind(asked.providers.as_deref())
        .bind(asked.models.as_deref())
        .bind(asked.at)
        .bind(after)
        .bind(page.fetch())
        .fetch_all(connection)
        .await?;
    rows.iter().map(price_body).collect()
}

/// A page of the factor rows, in the order they were added.
///
/// # Errors
/// When the database does not answer.
pub async fn list_factors(
    connection: &mut PgConnection,
    filter: &RateFilter<'_>,
    after: i64,
    page: &Page,
) -> Result<Vec<FactorBody>, StoreError> {
    let rows = sqlx::query(include_str!("sql/list_factors.sql"))
        .bind(filter.first)
        .bind(filter.second)
        .bind(filter.at)
        .bind(after)
        .bind(page.fetch())
        .fetch_all(connection)
        .await?;
    rows.iter().map(factor_body).collect()
}

/// A source of prices or a set of factors, and how much of it is in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookPart {
    /// The source or set.
    pub name: String,
    /// Its rows.
    pub rows: i64,
    /// The licences of its rows.
    pub licences: Vec<String>,
    /// Of prices, the newest day a row speaks of.
    pub newest: Option<String>,
}

/// What is in both books, prices first; and the number of the newest migration.
///
/// # Errors
/// When the database does not answer.
pub async fn contents(connection: &mut PgConnection) -> Result<(Vec<BookPart>, Vec<BookPart>, i64), StoreError> {
    let part = |row: &PgRow| -> Result<BookPart, StoreError> {
        Ok(BookPart {
            name: row.try_get(0)?,
            rows: row.try_get(1)?,
            licences: row.try_get(2)?,
            newest: row.try_get(3)?,
        })
    };
    let prices = sqlx::query(
        "select source, count(*), array_agg(distinct licence order by licence), max(source_date)
        from prices group by source order by source",
    )
    .fetch_all(&mut *connection)
    .await?;
    let factors = sqlx::query(
        "select factor_set, count(*), array_agg(distinct licence order by licence), null::text
        from factors group by factor_set order by factor_set",
    )
    .fetch_all(&mut *connection)
    .await?;
    let schema = sqlx::query_scalar("select coalesce(max(version), 0) from _sqlx_migrations where success")
        .fetch_one(&mut *connection)
        .await?;
    let all = |rows: Vec<PgRow>| rows.iter().map(part).collect::<Result<Vec<_>, _>>();
    Ok((all(prices)?, all(factors)?, schema))
}
