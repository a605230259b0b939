//! One comparison of what is derived with what it is derived from, for `verify` and for the trial balance.
//!
//! | derived | from | by |
//! |---|---|---|
//! | counters | the journal and the open reservations | [`counters`], whoever recounted them |
//! | the roll-up | the journal | `sql/compare_rollup.sql`: [`ROLLUP_ROWS`] lists what differs, [`ROLLUP_SUMS`] adds it up |
//!
//! Invariants: within one snapshot, which the caller opens; opposite errors never cancel out, because rows are compared before
//! anything is added up.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use sqlx::{Postgres, Row};

use super::StoreError;
use super::lane::counter_from_row;
use crate::domain::budget::catalogue::Catalogue;
use crate::domain::budget::counter::{Counter, CounterId};
use crate::domain::budget::recount::Recounted;
use crate::domain::budget::spellings::{Served, Spellings};
use crate::domain::calendar::Period;
use crate::domain::id::TenantId;

/// The rows of the roll-up that differ from the journal. Bound by [`bind_part`], then by how many at most.
pub(super) const ROLLUP_ROWS: &str =
    concat!(include_str!("sql/compare_rollup.sql"), include_str!("sql/verify_rollup.sql"));
/// The same, added up in one row. Bound by [`bind_part`].
pub(super) const ROLLUP_SUMS: &str =
    concat!(include_str!("sql/compare_rollup.sql"), include_str!("sql/balance_rollup.sql"));

/// Which part of the books is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// One tenant's; everybody's if none.
    pub tenant: Option<TenantId>,
    /// What counts from this instant on; from the beginning if none.
    pub from: Option<DateTime<Utc>>,
    /// What counts before this instant; to the end if none.
    pub to: Option<DateTime<Utc>>,
}

impl Part {
    /// Whether all that is counted in a period is in it.
    fn has(&self, period: &Period) -> bool {
        self.from.is_none_or(|from| period.start >= from)
            && self.to.is_none_or(|to| period.end.is_some_and(|end| end <= to))
    }
}

/// Binds the parameters of `sql/compare_rollup.sql`. Spellings are bound, because a confined reader sees no table of the whole
/// installation.
pub(super) fn bind_part<'q>(
    statement: &'static str,
    part: &'q Part,
    spellings: &Spellings,
) -> Query<'q, Postgres, PgArguments> {
    let column = |of: fn(&Served, &Served) -> String| spellings.iter().map(|(a, b)| of(a, b)).collect::<Vec<_>>();
    sqlx::query(statement)
        .bind(part.tenant.as_ref().map(TenantId::as_str))
        .bind(part.from)
        .bind(part.to)
        .bind(column(|spelling, _| spelling.0.to_string()))
        .bind(column(|spelling, _| spelling.1.to_string()))
        .bind(column(|_, named| named.0.to_string()))
        .bind(column(|_, named| named.1.to_string()))
        // Planned for these parameters: a month of one tenant is not the whole journal.
        .persistent(false)
}

/// A counter as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recorded {
    /// Its numbers.
    pub counter: Counter,
    /// Where its period ends.
    pub period_end: Option<DateTime<Utc>>,
    /// The tenant whose calls it counts, if they are one tenant's alone.
    pub tenant: Option<String>,
    /// The first instant that was counted.
    pub opened_at: Option<DateTime<Utc>>,
}

/// A counter on both sides: at least one of them.
pub(super) struct Compared<'a> {
    /// Which.
    pub id: &'a CounterId,
    /// Its row, if it has one.
    pub recorded: Option<Recorded>,
    /// What it must be. None where nothing is counted in it; a row of zero is as good.
    pub recomputed: Option<Recounted>,
}

impl Compared<'_> {
    /// The numbers of both sides.
    pub(super) fn numbers(&self) -> (Counter, Counter) {
        (
            self.recorded.as_ref().map(|recorded| recorded.counter).unwrap_or_default(),
            self.recomputed.as_ref().map(|recomputed| recomputed.counter).unwrap_or_default(),
        )
    }
}

const ROWS: &str = "select budget, key, period_start, posted, held, margin, at_risk, period_end, tenant, opened_at
    from counters
    where (budget = any($1)) = $2 and ($3::text is null or tenant = $3)
    order by budget, key, period_start";

/// Compares the rows of some budgets with what was recounted of them; each counter of the part is shown once.
pub(super) async fn counters(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    part: &Part,
    budgets: &[i32],
    mut recounted: BTreeMap<CounterId, Recounted>,
    show: &mut (dyn FnMut(Compared<'_>) + Send),
) -> Result<(), StoreError> {
    let tenant = part.tenant.as_ref().map(TenantId::as_str);
    let mut rows = sqlx::query(ROWS).bind(budgets).bind(true).bind(tenant).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (id, recorded) = (counter_from_row(&row)?.0, recorded_from_row(&row)?);
        let period = Period { start: id.start, end: recorded.period_end };
        let recomputed = recounted.remove(&id);
        let budget = catalogue.budgets().find(|budget| budget.number == id.budget);
        // A slice that left its window long ago: what is left of it is of no use to anybody.
        let is_forgotten = budget.is_some_and(|budget| catalogue.has_forgotten(budget, &period));
        // By what was recounted, where it was: a wrong end must not hide a counter.
        let is_within = part.has(recomputed.as_ref().map_or(&period, |recomputed| &recomputed.period));
        if !is_forgotten && is_within {
            show(Compared { id: &id, recorded: Some(recorded), recomputed });
        }
    }
    for (id, missing) in recounted {
        if part.has(&missing.period) {
            show(Compared { id: &id, recorded: None, recomputed: Some(missing) });
        }
    }
    Ok(())
}

/// Shows the counters of budgets that are not in the catalogue: archived ones take theirs with them.
pub(super) async fn counters_of_nothing(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    part: &Part,
    show: &mut (dyn FnMut(Compared<'_>) + Send),
) -> Result<(), StoreError> {
    let known: Vec<i32> = catalogue.budgets().map(|budget| budget.number.0).collect();
    let tenant = part.tenant.as_ref().map(TenantId::as_str);
    let mut rows = sqlx::query(ROWS).bind(known).bind(false).bind(tenant).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let (id, recorded) = (counter_from_row(&row)?.0, recorded_from_row(&row)?);
        if part.has(&Period { start: id.start, end: recorded.period_end }) {
            show(Compared { id: &id, recorded: Some(recorded), recomputed: None });
        }
    }
    Ok(())
}

fn recorded_from_row(row: &sqlx::postgres::PgRow) -> Result<Recorded, StoreError> {
    Ok(Recorded {
        counter: counter_from_row(row)?.1,
        period_end: row.try_get("period_end")?,
        tenant: row.try_get("tenant")?,
        opened_at: row.try_get("opened_at")?,
    })
}
