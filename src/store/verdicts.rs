//! Refusals, to be looked at: those kept one by one and those counted by the minute, as one list.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::StoreError;
use crate::wire::answer::{PreflightAnswer, VerdictName};
use crate::wire::verdict::{CountedKey, RefusalBody, RefusalId, VerdictsQuery};

const ONE_BY_ONE: &str = "select
    id, tenant, feature, provider, model, run, agent, priority, verdict, reason, budget, key, 1::bigint as count,
    refused_at as first_at, refused_at as last_at, null::timestamptz as minute, answer,
    id::text as place
from refusals";

const COUNTED: &str = "select
    null::uuid as id, tenant, feature, null as provider, null as model, null as run, null as agent, null as priority,
    verdict, reason, nullif(budget, '') as budget, null as key, count, first_at, last_at, minute, answer,
    concat_ws(' ', tenant, budget, feature, verdict, reason) as place
from refusal_counts";

/// Where a page begins: after this instant and, of those at one instant, after this place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// When the last one shown was refused first.
    pub first_at: DateTime<Utc>,
    /// Its place among those of one instant.
    pub place: String,
}

/// A refusal with its place in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The refusal.
    pub refusal: RefusalBody,
    /// Its place among those of one instant.
    pub place: String,
}

const fn word(verdict: VerdictName) -> &'static str {
    match verdict {
        VerdictName::Allow => "allow",
        VerdictName::Cap => "cap",
        VerdictName::Wait => "wait",
        VerdictName::Stop => "stop",
    }
}

fn push_conditions(statement: &mut QueryBuilder<Postgres>, query: &VerdictsQuery, first_at: &str, last_at: &str) {
    statement.push(" where true");
    let verdict = query.verdict.map(|verdict| word(verdict).to_owned());
    let texts = [
        (" and tenant = ", &query.tenant),
        (" and feature = ", &query.feature),
        (" and budget = ", &query.budget),
        (" and verdict = ", &verdict),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            statement.push(condition).push_bind(value.clone());
        }
    }
    if let Some(from) = query.from {
        statement.push(" and ").push(last_at).push(" >= ").push_bind(from);
    }
    if let Some(to) = query.to {
        statement.push(" and ").push(first_at).push(" < ").push_bind(to);
    }
}

/// Where a page goes on, and how long it is: asked of each part too, so that neither is read whole.
fn push_page(statement: &mut QueryBuilder<Postgres>, columns: [&str; 2], after: Option<&After>, limit: i64) {
    let [first_at, place] = columns;
    if let Some(after) = after {
        // The first comparison is what an index can use.
        statement.push(" and ").push(first_at).push(" <= ").push_bind(after.first_at);
        statement.push(" and (").push(first_at).push(" < ").push_bind(after.first_at);
        statement.push(" or ").push(place).push(" < ").push_bind(after.place.clone()).push(" collate \"C\")");
    }
    statement.push(" order by ").push(first_at).push(" desc, ").push(place).push(" collate \"C\" desc");
    statement.push(" limit ").push_bind(limit);
}

/// A page of refusals, newest first.
///
/// # Errors
/// When the database does not answer, or a row cannot be read.
pub async fn list(
    connection: &mut PgConnection,
    query: &VerdictsQuery,
    after: Option<&After>,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let mut statement: QueryBuilder<Postgres> = QueryBuilder::new("select * from ((");
    statement.push(ONE_BY_ONE);
    push_conditions(&mut statement, query, "refused_at", "refused_at");
    for (condition, value) in [(" and run = ", &query.run), (" and agent = ", &query.agent)] {
        if let Some(value) = value {
            statement.push(condition).push_bind(value.clone());
        }
    }
    push_page(&mut statement, ["refused_at", "id::text"], after, limit);
    // What was counted says nothing of runs and agents.
    if query.run.is_none() && query.agent.is_none() {
        statement.push(") union all (").push(COUNTED);
        push_conditions(&mut statement, query, "first_at", "last_at");
        let place = "concat_ws(' ', tenant, budget, feature, verdict, reason)";
        push_page(&mut statement, ["first_at", place], after, limit);
    }
    statement.push(")) as refused where true");
    push_page(&mut statement, ["first_at", "place"], None, limit);
    let rows = statement.build().fetch_all(connection).await?;
    rows.iter().map(listed_from_row).collect()
}

/// One refusal, if the connection may see it.
///
/// # Errors
/// When the database does not answer, or the row cannot be read.
pub async fn get(connection: &mut PgConnection, id: &RefusalId) -> Result<Option<RefusalBody>, StoreError> {
    let mut statement: QueryBuilder<Postgres> = QueryBuilder::new("");
    match id {
        RefusalId::One(id) => {
            statement.push(ONE_BY_ONE).push(" where id = ").push_bind(*id);
        }
        RefusalId::Counted(key) => {
            statement.push(COUNTED).push(" where tenant = ").push_bind(key.tenant.clone());
            statement.push(" and minute = ").push_bind(key.minute);
            statement.push(" and budget = ").push_bind(key.budget.clone());
            statement.push(" and feature = ").push_bind(key.feature.clone());
            statement.push(" and verdict = ").push_bind(key.verdict.clone());
            statement.push(" and reason = ").push_bind(key.reason.clone());
        }
    }
    let row = statement.build().fetch_optional(connection).await?;
    row.as_ref().map(|row| listed_from_row(row).map(|listed| listed.refusal)).transpose()
}

fn listed_from_row(row: &PgRow) -> Result<Listed, StoreError> {
    let verdict: String = row.try_get("verdict")?;
    let names = [VerdictName::Allow, VerdictName::Cap, VerdictName::Wait, VerdictName::Stop];
    let name = names.into_iter().find(|name| word(*name) == verdict);
    let tenant: String = row.try_get("tenant")?;
    let feature: String = row.try_get("feature")?;
    let budget: Option<String> = row.try_get("budget")?;
    let reason: String = row.try_get("reason")?;
    let count: i64 = row.try_get("count")?;
    let id = match (row.try_get::<Option<Uuid>, _>("id")?, row.try_get::<Option<DateTime<Utc>>, _>("minute")?) {
        (Some(id), _) => RefusalId::One(id),
        (None, Some(minute)) => RefusalId::Counted(CountedKey {
            tenant: tenant.clone(),
            minute,
            budget: budget.clone().unwrap_or_default(),
            feature: feature.clone(),
            verdict,
            reason: reason.clone(),
        }),
        (None, None) => return Err(StoreError::Row("minute".to_owned())),
    };
    let Json(answer): Json<PreflightAnswer> = row.try_get("answer")?;
    Ok(Listed {
        refusal: RefusalBody {
            id: id.text(),
            verdict: name.ok_or_else(|| StoreError::Row("verdict".to_owned()))?,
            reason,
            budget,
            tenant,
            feature,
            provider: row.try_get("provider")?,
            model: row.try_get("model")?,
            run: row.try_get("run")?,
            agent: row.try_get("agent")?,
            priority: row.try_get("priority")?,
            idempotency_key: row.try_get("key")?,
            count: u64::try_from(count).unwrap_or(0),
            first_at: row.try_get("first_at")?,
            last_at: row.try_get("last_at")?,
            answer,
        },
        place: row.try_get("place")?,
    })
}
