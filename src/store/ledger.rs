//! The journal and its sums, to be looked at: transfers page by page, and account balances.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::StoreError;
use super::rows::transfer_from_row;
use crate::domain::id::TransferId;
use crate::domain::ledger::transfer::Transfer;
use crate::wire::ledger::{AccountBody, BalanceBody, Order, TransfersQuery};

/// Only transfers by one of these providers, and of these models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServedAsked {
    /// Providers, if one is asked for.
    pub providers: Option<Vec<String>>,
    /// Models, if one is asked for.
    pub models: Option<Vec<String>>,
}

/// A page of transfers, in the order of their ids.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn transfers(
    connection: &mut PgConnection,
    query: &TransfersQuery,
    served: &ServedAsked,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Transfer>, StoreError> {
    let mut statement: QueryBuilder<Postgres> = QueryBuilder::new("select * from transfers where true");
    let texts = [
        (" and tenant = ", &query.tenant),
        (" and feature = ", &query.feature),
        (" and region = ", &query.region),
        (" and run = ", &query.run),
        (" and agent = ", &query.agent),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            statement.push(condition).push_bind(value.clone());
        }
    }
    for (condition, values) in [(" and provider = any(", &served.providers), (" and model = any(", &served.models)] {
        if let Some(values) = values {
            statement.push(condition).push_bind(values.clone()).push(")");
        }
    }
    if let Some(account) = &query.account {
        statement.push(" and (debit_account = ").push_bind(account.clone());
        statement.push(" or credit_account = ").push_bind(account.clone()).push(")");
    }
    if let Some(reservation) = query.reservation {
        statement.push(" and reservation = ").push_bind(reservation);
    }
    let instants = [
        (" and occurred_at >= ", query.from),
        (" and occurred_at < ", query.to),
        (" and recorded_at <= ", query.as_of),
    ];
    for (condition, value) in instants {
        if let Some(value) = value {
            statement.push(condition).push_bind(value);
        }
    }
    let (beyond, order) = match query.order {
        Order::Newest => (" and id < ", " order by id desc limit "),
        Order::Oldest => (" and id > ", " order by id limit "),
    };
    if let Some(after) = after {
        statement.push(beyond).push_bind(after);
    }
    statement.push(order).push_bind(limit);
    let rows = statement.build().fetch_all(connection).await?;
    rows.iter().map(transfer_from_row).collect()
}

/// One transfer, if the connection may see it.
///
/// # Errors
/// When the database does not answer, or the row cannot be read.
pub async fn transfer(connection: &mut PgConnection, id: TransferId) -> Result<Option<Transfer>, StoreError> {
    let row = sqlx::query("select * from transfers where id = $1").bind(id.0).fetch_optional(connection).await?;
    row.as_ref().map(transfer_from_row).transpose()
}

/// A page of accounts by name, with what stands on them as of an instant of recording.
///
/// # Errors
/// When the database does not answer, or a sum is beyond what can be told.
pub async fn accounts(
    connection: &mut PgConnection,
    as_of: DateTime<Utc>,
    prefix: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<AccountBody>, StoreError> {
    let rows = sqlx::query(
        "select * from account_balances($1)
        where starts_with(account, $2) and account collate \"C\" > $3
        order by account collate \"C\"
        limit $4",
    )
    .bind(as_of)
    .bind(prefix)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(account_from_row).collect()
}

fn account_from_row(row: &PgRow) -> Result<AccountBody, StoreError> {
    let tokens: Decimal = row.try_get("tokens")?;
    let transfers: i64 = row.try_get("transfers")?;
    let decimal = |column: &str| -> Result<Decimal, StoreError> { Ok(row.try_get::<Decimal, _>(column)?.normalize()) };
    Ok(AccountBody {
        account: row.try_get("account")?,
        transfers: u64::try_from(transfers).unwrap_or(0),
        balance: BalanceBody {
            tokens: tokens.to_i64().ok_or_else(|| StoreError::Row("tokens".to_owned()))?,
            usd: decimal("usd")?,
            gco2e_usage_location: decimal("gco2e_usage_location")?,
            gco2e_usage_market: decimal("gco2e_usage_market")?,
            gco2e_embodied: decimal("gco2e_embodied")?,
        },
    })
}
