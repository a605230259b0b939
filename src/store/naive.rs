//! The baseline that `bench` measures the lanes against: what is written first when a ledger is needed by Friday.
//!
//! One transaction per call: begin, lock the budgets' rows, check, insert, update, commit. It keeps what ours keeps where
//! that makes sense: the same budgets per call, the same amounts in a hold and in a posting, an idempotency key with its
//! answer. It is right (no budget is exceeded, both sides are written at once), and slow where callers share a budget:
//! the lock is held over four round trips and a flush to disk.
//!
//! Deliberately absent, all of it in the baseline's favour: prices and factors (amounts are given), periods, roll-ups,
//! expiry, refusals on record, grants, HTTP, JSON. It has a schema of its own in a database that `bench` makes and
//! drops.

use rust_decimal::Decimal;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};
use uuid::Uuid;

use super::StoreError;

/// Statements of a reservation, begin and commit included.
pub const STATEMENTS_PER_RESERVE: u32 = 6;
/// Statements of a settlement, begin and commit included.
pub const STATEMENTS_PER_SETTLE: u32 = 7;

const SCHEMA: &str = "
create schema naive;
create table naive.budgets (
    id integer primary key,
    \"limit\" numeric(28, 12) not null,
    posted numeric(28, 12) not null default 0,
    held numeric(28, 12) not null default 0
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
create table naive.holds (
    id uuid primary key,
    tenant text not null,
    feature text not null,
    provider text not null,
    model text not null,
    input bigint not null,
    output bigint not null,
    tokens bigint not null,
    usd numeric(28, 12) not null,
    gco2e numeric(28, 9) not null,
    granted_at timestamptz not null,
    expires_at timestamptz not null,
    state text not null,
    ended_at timestamptz
) with (fillfactor = 80);
create table naive.postings (
    id uuid primary key,
    hold uuid not null,
    debit_account text not null,
    credit_account text not null,
    tenant text not null,
    feature text not null,
    provider text not null,
    model text not null,
    input bigint not null,
    output bigint not null,
    tokens bigint not null,
    usd numeric(28, 12) not null,
    gco2e numeric(28, 9) not null,
    recorded_at timestamptz not null
);
create table naive.keys (
    key text primary key,
    fingerprint bytea not null,
    answer text not null,
    recorded_at timestamptz not null
);";

/// What a call moves.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    /// Prompt tokens.
    pub input: i64,
    /// Completion tokens.
    pub output: i64,
    /// Dollars.
    pub usd: Decimal,
    /// Grams of CO2e.
    pub gco2e: Decimal,
}

impl Moved {
    /// Prompt and completion.
    #[must_use]
    pub const fn tokens(&self) -> i64 {
        self.input.saturating_add(self.output)
    }
}

/// A call.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Whose.
    pub tenant: &'a str,
    /// For what.
    pub feature: &'a str,
    /// With whom.
    pub provider: &'a str,
    /// With what.
    pub model: &'a str,
    /// The budgets that govern it, ascending, and what it takes from each.
    pub budgets: &'a [i32],
    /// What it takes from each budget, in the same order.
    pub amounts: &'a [Decimal],
    /// What it moves.
    pub moved: Moved,
    /// The caller's key, if they send one.
    pub key: Option<&'a str>,
}

/// Makes the tables, and so many budgets, numbered from 0, that nobody will exhaust.
///
/// # Errors
/// When the database does not answer or refuses.
pub async fn create(connection: &mut PgConnection, budgets: i32) -> Result<(), StoreError> {
    sqlx::raw_sql(SCHEMA).execute(&mut *connection).await?;
    sqlx::query(
        "insert into naive.budgets (id, \"limit\") select id, 1000000000000000 from generate_series(0, $1 - 1) as id",
    )
    .bind(budgets)
    .execute(&mut *connection)
    .await?;
    sqlx::raw_sql("analyze naive.budgets").execute(connection).await?;
    Ok(())
}

/// Holds the estimate of a call, if every budget has room. Answers whether it was granted.
///
/// # Errors
/// When the database does not answer or refuses.
pub async fn reserve(connection: &mut PgConnection, hold: Uuid, call: &Call<'_>) -> Result<bool, StoreError> {
    let mut transaction = connection.begin().await?;
    let rows =
        sqlx::query("select \"limit\", posted, held from naive.budgets where id = any($1) order by id for update")
            .bind(call.budgets)
            .fetch_all(&mut *transaction)
            .await?;
    let mut fits = rows.len() == call.budgets.len();
    for (row, amount) in rows.iter().zip(call.amounts) {
        let (limit, posted, held): (Decimal, Decimal, Decimal) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        fits &= posted + held + amount <= limit;
    }
    if fits {
        sqlx::query(
            "insert into naive.holds (id, tenant, feature, provider, model, input, output, tokens, usd, gco2e,
                granted_at, expires_at, state)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now(), now() + interval '120 seconds', 'open')",
        )
        .bind(hold)
        .bind(call.tenant)
        .bind(call.feature)
        .bind(call.provider)
        .bind(call.model)
        .bind(call.moved.input)
        .bind(call.moved.output)
        .bind(call.moved.tokens())
        .bind(call.moved.usd)
        .bind(call.moved.gco2e)
        .execute(&mut *transaction)
        .await?;
        remember(&mut transaction, call.key, hold).await?;
        sqlx::query(
            "update naive.budgets as budget set held = budget.held + asked.amount
            from unnest($1::integer[], $2::numeric[]) as asked (id, amount) where budget.id = asked.id",
        )
        .bind(call.budgets)
        .bind(call.amounts)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(fits)
}

/// Posts what a call used, and ends its hold.
///
/// # Errors
/// When the database does not answer or refuses, or there is no such hold.
pub async fn settle(
    connection: &mut PgConnection,
    hold: Uuid,
    posting: Uuid,
    held: &[Decimal],
    call: &Call<'_>,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::query(
        "update naive.holds set state = 'settled', ended_at = now() where id = $1 and state = 'open' returning id",
    )
    .bind(hold)
    .fetch_one(&mut *transaction)
    .await?;
    sqlx::query("select \"limit\", posted, held from naive.budgets where id = any($1) order by id for update")
        .bind(call.budgets)
        .fetch_all(&mut *transaction)
        .await?;
    sqlx::query(
        "insert into naive.postings (id, hold, debit_account, credit_account, tenant, feature, provider, model, input,
            output, tokens, usd, gco2e, recorded_at)
        values ($1, $2, 'usage:' || $3 || '/' || $4, 'supply:' || $5 || '/' || $6, $3, $4, $5, $6, $7, $8, $9, $10, $11, now())",
    )
    .bind(posting)
    .bind(hold)
    .bind(call.tenant)
    .bind(call.feature)
    .bind(call.provider)
    .bind(call.model)
    .bind(call.moved.input)
    .bind(call.moved.output)
    .bind(call.moved.tokens())
    .bind(call.moved.usd)
    .bind(call.moved.gco2e)
    .execute(&mut *transaction)
    .await?;
    remember(&mut transaction, call.key, posting).await?;
    sqlx::query(
        "update naive.budgets as budget set held = budget.held - asked.held, posted = budget.posted + asked.posted
        from unnest($1::integer[], $2::numeric[], $3::numeric[]) as asked (id, held, posted) where budget.id = asked.id",
    )
    .bind(call.budgets)
    .bind(held)
    .bind(call.amounts)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Writes the caller's key with the answer. A key that is there already is an error here: `bench` repeats none.
async fn remember(connection: &mut PgConnection, key: Option<&str>, answer: Uuid) -> Result<(), StoreError> {
    let Some(key) = key else { return Ok(()) };
    sqlx::query("insert into naive.keys (key, fingerprint, answer, recorded_at) values ($1, $2, $3, now())")
        .bind(key)
        .bind([0_u8; 32].as_slice())
        .bind(format!(r#"{{"verdict":"allow","id":"{answer}"}}"#))
        .execute(connection)
        .await?;
    Ok(())
}
