//! The one name of providers and models, in books that were kept before there was one.
//!
//! The journal is not rewritten. What its spellings mean is decided once, by the price book of the day, and kept; everything
//! that is derived from the journal (counters, roll-up) is made again by these names, and the scopes of budgets are said in
//! them. All under the lock of the catalogue.

use chrono::TimeDelta;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::catalogue::{Change, load};
use super::rows::name;
use crate::domain::budget::catalogue::{Budget, BudgetNumber};
use crate::domain::budget::scope::Each;
use crate::domain::budget::spellings::{Served, Spellings};
use crate::domain::price::book::PriceBook;

/// How long after the first time the books are looked through again at each start: replicas of the release before, which
/// write what was said, are replaced one by one.
const FOLLOWED_AGAIN_DAYS: i64 = 7;
/// How far the clock that made an id may be behind.
const CLOCKS_APART_HOURS: i64 = 1;

/// What the spellings in the books mean.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub(super) async fn spellings(connection: &mut PgConnection) -> Result<Spellings, StoreError> {
    let rows =
        sqlx::query("select provider, model, named_provider, named_model from spellings").fetch_all(connection).await?;
    let names = rows.iter().map(|row| {
        let spelling: Served = (name(row, "provider")?, name(row, "model")?);
        Ok((spelling, (name(row, "named_provider")?, name(row, "named_model")?)))
    });
    Ok(Spellings::new(names.collect::<Result<Vec<_>, StoreError>>()?))
}

impl Change<'_> {
    /// Looks for spellings in the books that have no name yet, and makes everything again that is derived from them. Whether
    /// there was anything to do.
    ///
    /// # Errors
    /// When the database does not answer, or something cannot be counted.
    pub async fn follow_names(&mut self, book: &PriceBook) -> Result<bool, StoreError> {
        if !self.has_unnamed_rows().await? {
            return Ok(false);
        }
        let served = self.served().await?;
        let named = |(provider, model): &Served| (book.provider_name(provider), book.model_name(provider, model));
        let names: Vec<(&Served, Served)> =
            served.iter().map(|one| (one, named(one))).filter(|(one, named)| *one != named).collect();
        sqlx::query(
            "insert into spellings (provider, model, named_provider, named_model)
            select * from unnest($1::text[], $2::text[], $3::text[], $4::text[])
            on conflict (provider, model) do nothing",
        )
        .bind(names.iter().map(|(one, _)| one.0.as_str()).collect::<Vec<_>>())
        .bind(names.iter().map(|(one, _)| one.1.as_str()).collect::<Vec<_>>())
        .bind(names.iter().map(|(_, named)| named.0.as_str()).collect::<Vec<_>>())
        .bind(names.iter().map(|(_, named)| named.1.as_str()).collect::<Vec<_>>())
        .execute(&mut *self.transaction)
        .await?;
        sqlx::query(include_str!("sql/name_rollup.sql")).execute(&mut *self.transaction).await?;
        self.name_scopes(book).await?;
        let catalogue = load(&mut self.transaction).await?;
        let by_name = catalogue.budgets().filter(|budget| counts_by_name(budget));
        let numbers: Vec<BudgetNumber> = by_name.map(|budget| budget.number).collect();
        self.recount(&catalogue, numbers, None, None).await?;
        let now = self.now;
        sqlx::query("update catalogue_head set names_followed_at = $1")
            .bind(now)
            .execute(&mut *self.transaction)
            .await?;
        Ok(true)
    }

    /// Whether rows may be there that were written as they were said and have not been looked at.
    async fn has_unnamed_rows(&mut self) -> Result<bool, StoreError> {
        let followed_at: Option<chrono::DateTime<chrono::Utc>> =
            sqlx::query_scalar("select names_followed_at from catalogue_head")
                .fetch_one(&mut *self.transaction)
                .await?;
        let Some(followed_at) = followed_at else { return Ok(true) };
        let id_at = |at: chrono::DateTime<chrono::Utc>| {
            let seconds = u64::try_from(at.timestamp()).unwrap_or(0);
            Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0))
        };
        // Only ids of a few days are looked at, so that a start stays quick however long the journal is.
        Ok(sqlx::query_scalar(
            "select exists (
                select from transfers
                where id >= $1 and id < $2 and said_as is null and recorded_at > $3
            )",
        )
        .bind(id_at(followed_at - TimeDelta::hours(CLOCKS_APART_HOURS)))
        .bind(id_at(followed_at + TimeDelta::days(FOLLOWED_AGAIN_DAYS)))
        .bind(followed_at)
        .fetch_one(&mut *self.transaction)
        .await?)
    }

    /// Every provider and model that the books know calls of.
    async fn served(&mut self) -> Result<Vec<Served>, StoreError> {
        let rows = sqlx::query(
            "select provider, model from usage_rollup
            union
            select provider, model from reservations where state = 'open' and said_as is null
            order by 1, 2",
        )
        .fetch_all(&mut *self.transaction)
        .await?;
        rows.iter().map(|row| Ok((name(row, "provider")?, name(row, "model")?))).collect()
    }

    /// Says the scopes of budgets in names.
    async fn name_scopes(&mut self, book: &PriceBook) -> Result<(), StoreError> {
        for (id, body) in self.all_budget_bodies().await? {
            // A scope that cannot be said in names, with a `*` in it, governed nothing before, and goes on to.
            let Ok(scope) = body.scope.named(book) else { continue };
            if scope != body.scope {
                self.rewrite_budget(&id, &crate::wire::budget::BudgetBody { scope, ..body }).await?;
            }
        }
        Ok(())
    }
}

/// Whether the counters of a budget depend on what providers and models are called.
fn counts_by_name(budget: &Budget) -> bool {
    let by_key = match &budget.each {
        // Values of labels may have been kept as they were typed, and count composed.
        Some(Each::Provider | Each::Model | Each::Region | Each::Label(_)) => true,
        Some(Each::Tenant | Each::Feature | Each::Run | Each::Agent) | None => false,
    };
    let scope = &budget.scope;
    by_key || scope.provider.is_some() || scope.model.is_some() || !scope.labels.is_empty()
}
