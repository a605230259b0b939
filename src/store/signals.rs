//! Signals in Postgres: what was told, and the quotas that are closed by it.
//!
//! A closure is part of the catalogue: it is written under the catalogue's lock, with a new version, so that the next batch of
//! every replica knows it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};
use uuid::Uuid;

use super::catalogue::Change;
use super::{StoreError, idempotency};
use crate::domain::budget::catalogue::{Budget, BudgetNumber};
use crate::domain::budget::closure::Closure;
use crate::domain::id::{ModelId, TenantId};
use crate::domain::ledger::command::Idempotency;
use crate::wire::signal::{SignalNames, SignalRow};

/// A signal that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSignal<'a> {
    /// Its id.
    pub id: Uuid,
    /// Who answered, and about what.
    pub names: &'a SignalNames,
    /// The HTTP status.
    pub status: u16,
    /// The class, as a word.
    pub class: &'a str,
    /// The kind, as a word.
    pub kind: &'a str,
    /// The rule that decided.
    pub rule: Option<&'a str>,
    /// When it comes back.
    pub retry_at: Option<DateTime<Utc>>,
    /// The budgets that it closes.
    pub budgets: Vec<&'a str>,
    /// Until when.
    pub closed_until: Option<DateTime<Utc>>,
    /// Who told.
    pub subject: &'a str,
    /// When it came.
    pub occurred_at: DateTime<Utc>,
    /// Now.
    pub recorded_at: DateTime<Utc>,
}

/// What is remembered under a key: the fingerprint of what was asked, and the answer.
pub type Answered = (Vec<u8>, String);

/// Writes a signal with the answer to its key; or finds what was answered to that key before, and writes nothing.
///
/// # Errors
/// When the database does not answer.
pub async fn record(
    connection: &mut PgConnection,
    signal: &NewSignal<'_>,
    key: Option<(&Idempotency, &str)>,
) -> Result<Option<Answered>, StoreError> {
    let mut transaction = connection.begin().await?;
    if let Some((key, answer)) = key {
        let known = idempotency::claim(&mut transaction, key, answer, signal.recorded_at).await?;
        if known.is_some() {
            return Ok(known);
        }
    }
    insert(&mut transaction, signal).await?;
    transaction.commit().await?;
    Ok(None)
}

async fn insert(connection: &mut PgConnection, signal: &NewSignal<'_>) -> Result<(), StoreError> {
    sqlx::query(
        "insert into signals (
            tenant, id, provider, model, region, status, class, kind, rule, retry_at, budgets, closed_until, subject,
            occurred_at, recorded_at
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(signal.names.tenant.as_ref().map_or("", TenantId::as_str))
    .bind(signal.id)
    .bind(signal.names.provider.as_str())
    .bind(signal.names.model.as_ref().map(|model| model.as_str().to_owned()))
    .bind(signal.names.region.as_ref().map(|region| region.as_str().to_owned()))
    .bind(i32::from(signal.status))
    .bind(signal.class)
    .bind(signal.kind)
    .bind(signal.rule)
    .bind(signal.retry_at)
    .bind(&signal.budgets)
    .bind(signal.closed_until)
    .bind(signal.subject)
    .bind(signal.occurred_at)
    .bind(signal.recorded_at)
    .execute(connection)
    .await?;
    Ok(())
}

impl Change<'_> {
    /// Writes a signal that changes quotas, with the answer to its key; or finds what was answered to that key before, and then
    /// nothing else may be written.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn record_signal(
        &mut self,
        signal: &NewSignal<'_>,
        key: Option<(&Idempotency, &str)>,
    ) -> Result<Option<Answered>, StoreError> {
        if let Some((key, answer)) = key {
            let known = idempotency::remembered(&mut self.transaction, key, signal.recorded_at).await?;
            if known.is_some() {
                return Ok(known);
            }
            idempotency::remember(&mut self.transaction, key, answer, signal.recorded_at).await?;
        }
        insert(&mut self.transaction, signal).await?;
        Ok(None)
    }

    /// The closures as they are, whatever a replica knew of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn closures(&mut self) -> Result<BTreeMap<BudgetNumber, Closure>, StoreError> {
        closures(&mut self.transaction).await
    }

    /// Closes quotas, by a signal.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn close_quotas(
        &mut self,
        quotas: &[(&Budget, &Closure)],
        signal: Uuid,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "insert into quota_closures (
                budget, budget_version, closed_until, refused_at, is_reported, model, signal, recorded_at
            )
            select budget, version, until, refused_at, is_reported, model, $7, $8
            from
                unnest($1::integer[], $2::integer[], $3::timestamptz[], $4::timestamptz[], $5::boolean[], $6::text[])
                    as new (budget, version, until, refused_at, is_reported, model)
            on conflict (budget) do update
            set
                budget_version = excluded.budget_version,
                closed_until = excluded.closed_until,
                refused_at = excluded.refused_at,
                is_reported = excluded.is_reported,
                model = excluded.model,
                signal = excluded.signal,
                recorded_at = excluded.recorded_at",
        )
        .bind(quotas.iter().map(|(budget, _)| budget.number.0).collect::<Vec<_>>())
        .bind(quotas.iter().map(|(budget, _)| budget.version).collect::<Vec<_>>())
        .bind(quotas.iter().map(|(_, closure)| closure.until).collect::<Vec<_>>())
        .bind(quotas.iter().map(|(_, closure)| closure.refused_at).collect::<Vec<_>>())
        .bind(quotas.iter().map(|(_, closure)| closure.is_reported).collect::<Vec<_>>())
        .bind(quotas.iter().map(|(_, closure)| closure.model.as_ref().map(ModelId::as_str)).collect::<Vec<_>>())
        .bind(signal)
        .bind(now)
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Opens quotas again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reopen_quotas(&mut self, quotas: &[BudgetNumber]) -> Result<(), StoreError> {
        sqlx::query("delete from quota_closures where budget = any($1)")
            .bind(quotas.iter().map(|number| number.0).collect::<Vec<_>>())
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }
}

/// The quotas that are closed, or were.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub(super) async fn closures(connection: &mut PgConnection) -> Result<BTreeMap<BudgetNumber, Closure>, StoreError> {
    let rows = sqlx::query(
        "select
            closure.budget,
            closure.closed_until,
            coalesce(closure.refused_at, closure.recorded_at) as refused_at,
            closure.is_reported,
            closure.model
        from quota_closures as closure
        join budgets on budgets.number = closure.budget and budgets.version = closure.budget_version
        where budgets.archived_at is null",
    )
    .fetch_all(connection)
    .await?;
    let closure = |row: &PgRow| {
        let model: Option<&str> = row.try_get("model")?;
        let closure = Closure {
            until: row.try_get("closed_until")?,
            refused_at: row.try_get("refused_at")?,
            is_reported: row.try_get("is_reported")?,
            model: model.map(ModelId::parse).transpose().map_err(StoreError::name("model"))?,
        };
        Ok((BudgetNumber(row.try_get("budget")?), closure))
    };
    rows.iter().map(closure).collect()
}

/// A page of the signals, newest first, of one tenant or of all.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    connection: &mut PgConnection,
    tenant: Option<&TenantId>,
    provider: Option<&str>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<SignalRow>, StoreError> {
    let rows = sqlx::query(
        "select * from signals
        where
            ($1::text is null or tenant = $1)
            and ($2::text is null or provider = $2)
            and ($3::uuid is null or id < $3)
        order by id desc
        limit $4",
    )
    .bind(tenant.map(TenantId::as_str))
    .bind(provider)
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &PgRow) -> Result<SignalRow, StoreError> {
    let tenant: String = row.try_get("tenant")?;
    Ok(SignalRow {
        signal: row.try_get("id")?,
        tenant: Some(tenant).filter(|tenant| !tenant.is_empty()),
        provider: row.try_get("provider")?,
        model: row.try_get("model")?,
        region: row.try_get("region")?,
        status: row.try_get("status")?,
        class: row.try_get("class")?,
        kind: row.try_get("kind")?,
        rule: row.try_get("rule")?,
        retry_at: row.try_get("retry_at")?,
        budgets: row.try_get("budgets")?,
        closed_until: row.try_get("closed_until")?,
        subject: row.try_get("subject")?,
        occurred_at: row.try_get("occurred_at")?,
        recorded_at: row.try_get("recorded_at")?,
    })
}
