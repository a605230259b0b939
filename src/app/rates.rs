//! Prices and factors: add, look, list; and what the service is made of.
//!
//! Rows are only ever added. A new row takes effect at once: the version of the rates is read inside every batch of every
//! replica.

use super::given::{Given, keep};
use super::{App, AppError};
use crate::domain::calendar::{tzdb_version, zone_names_version};
use crate::domain::carbon::Profile;
use crate::domain::id::{ModelId, ProviderId};
use crate::domain::ledger::command::Idempotency;
use crate::store::rates::{self as sql, BookPart};
use crate::wire::about::{AboutAnswer, BookBody, BookPartBody, LimitsBody, TzdbBody};
use crate::wire::factor::FactorDoc;
use crate::wire::optional;
use crate::wire::page::Page;
use crate::wire::price::PriceRowDoc;
use crate::wire::rates::{AddedBody, FactorBody, OneOrMany, PriceBody, RateFilter, check_factor, check_price};

impl App {
    /// Adds price rows: all of them, or none if one is not valid. A row that is there already is left as it is, so that a
    /// repeat is one effect also without a key.
    ///
    /// # Errors
    /// Names the row and the field; the refusal of a key that was used for something else.
    pub async fn add_prices(
        &self,
        docs: &OneOrMany<PriceRowDoc>,
        key: Option<&Idempotency>,
    ) -> Result<Given<AddedBody>, AppError> {
        let rows = docs.rows().map(|(prefix, doc)| check_price(doc).map_err(|error| error.prefixed(&prefix)));
        let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
        let book = self.snapshots.latest().rates.prices.clone();
        for row in &mut rows {
            row.provider = book.provider_name(&row.provider);
        }
        let mut connection = self.pool.acquire().await?;
        let mut addition = sql::begin_addition(&mut connection).await?;
        if let Some(given) = self.given_before(&mut addition, key).await? {
            return Ok(given);
        }
        let imported = sql::add_prices(&mut addition, &rows, self.clock.now()).await?;
        for (row, _) in rows.iter().zip(&imported.ids).filter(|(_, id)| id.is_none()) {
            if let Some(standing) = sql::standing_price(&mut addition, row).await? {
                return Err(AppError::PriceStands(Box::new(standing)));
            }
        }
        let answer = AddedBody { added: imported.new_rows(), ids: imported.ids };
        self.finish_addition(addition, key, &answer).await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(Given::new(answer))
    }

    /// Adds factor rows, as [`App::add_prices`] does.
    ///
    /// # Errors
    /// Names the row and the field; the refusal of a key that was used for something else.
    pub async fn add_factors(
        &self,
        docs: &OneOrMany<FactorDoc>,
        key: Option<&Idempotency>,
    ) -> Result<Given<AddedBody>, AppError> {
        let mut rows = Vec::new();
        for (prefix, doc) in docs.rows() {
            check_factor(doc).map_err(|error| error.prefixed(&prefix))?;
            rows.push(doc.clone());
        }
        let mut connection = self.pool.acquire().await?;
        let mut addition = sql::begin_addition(&mut connection).await?;
        if let Some(given) = self.given_before(&mut addition, key).await? {
            return Ok(given);
        }
        let imported = sql::add_factors(&mut addition, &rows, self.clock.now()).await?;
        let answer = AddedBody { added: imported.new_rows(), ids: imported.ids };
        self.finish_addition(addition, key, &answer).await?;
        self.snapshots.refresh(&mut connection).await?;
        Ok(Given::new(answer))
    }

    async fn finish_addition(
        &self,
        mut addition: sqlx::Transaction<'_, sqlx::Postgres>,
        key: Option<&Idempotency>,
        answer: &AddedBody,
    ) -> Result<(), AppError> {
        keep(&mut addition, key, answer, self.clock.now()).await?;
        Ok(addition.commit().await?)
    }

    /// One price row.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn price(&self, id: i64) -> Result<Option<PriceBody>, AppError> {
        Ok(sql::get_price(&mut *self.pool.acquire().await?, id).await?)
    }

    /// One factor row.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn factor(&self, id: i64) -> Result<Option<FactorBody>, AppError> {
        Ok(sql::get_factor(&mut *self.pool.acquire().await?, id).await?)
    }

    /// A page of the price rows, in the order they were added.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn prices(
        &self,
        filter: &RateFilter<'_>,
        page: &Page,
    ) -> Result<(Vec<PriceBody>, Option<String>), AppError> {
        let after = page.after_number()?;
        let provider: Option<ProviderId> = optional("provider", filter.first)?;
        let model: Option<ModelId> = optional("model", filter.second)?;
        let book = self.snapshots.latest().rates.prices.clone();
        let asked = sql::PricesAsked {
            // A row that was entered under an alias keeps it.
            providers: provider
                .as_ref()
                .map(|said| vec![said.as_str().to_ascii_lowercase(), book.provider_name(said).to_string()]),
            models: model.map(|model| book.listed_models(provider.as_ref(), &model).into_iter().collect()),
            at: filter.at,
        };
        let rows = sql::list_prices(&mut *self.pool.acquire().await?, &asked, after, page).await?;
        Ok(page.cut(rows, |row| row.id.to_string()))
    }

    /// A page of the factor rows, in the order they were added.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn factors(
        &self,
        filter: &RateFilter<'_>,
        page: &Page,
    ) -> Result<(Vec<FactorBody>, Option<String>), AppError> {
        let after = page.after_number()?;
        let rows = sql::list_factors(&mut *self.pool.acquire().await?, filter, after, page).await?;
        Ok(page.cut(rows, |row| row.id.to_string()))
    }

    /// What the service is made of. No secrets.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn about(&self) -> Result<AboutAnswer, AppError> {
        self.catch_up().await?;
        let profile = self.snapshots.latest().rates.profile;
        let (prices, factors, schema_version) = sql::contents(&mut *self.pool.acquire().await?).await?;
        Ok(AboutAnswer {
            name: "counterfoil".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_version,
            tzdb: TzdbBody { rules: tzdb_version().to_owned(), names: zone_names_version().to_owned() },
            carbon_profile: profile.name().to_owned(),
            carbon_profiles: Profile::ALL.into_iter().map(|profile| profile.name().to_owned()).collect(),
            prices: book(prices),
            factors: book(factors),
            limits: LimitsBody { call_tokens_max: self.call_bound.0, ..LimitsBody::default() },
        })
    }
}

fn book(parts: Vec<BookPart>) -> BookBody {
    let rows = parts.iter().map(|part| part.rows).sum();
    let newest = parts.iter().filter_map(|part| part.newest.clone()).max();
    let part = |part: BookPart| BookPartBody {
        name: part.name,
        rows: part.rows,
        licences: part.licences,
        newest_source_date: part.newest,
    };
    BookBody { rows, newest_source_date: newest, sources: parts.into_iter().map(part).collect() }
}
