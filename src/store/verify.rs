//! The books, checked against each other: what is derived is derived again, from the journal and the reservations alone,
//! inside one snapshot.
//!
//! Invariants: reads only, waits for nobody and lets nobody wait, so that it can run beside a service under load. Rows are
//! streamed or added up by the database; what is kept here is one entry for each counter of [`COUNTERS_PER_PASS`] at a time,
//! and at most [`DIFFERENCES_MAX`] differences of each check.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Postgres, Row, Transaction};
use uuid::Uuid;

use super::StoreError;
use super::balance::{self, UnitBalance};
use super::catalogue;
use super::comparing::{self, Compared, Part};
use crate::domain::amounts::Quantity;
use crate::domain::budget::catalogue::{BudgetNumber, Catalogue};
use crate::domain::budget::counter::{Counter, CounterId};
use crate::domain::tariff::Flags;

/// Most differences of one check that are listed. Books that differ in more have one cause, which the first ones show.
pub const DIFFERENCES_MAX: usize = 1000;
/// Counters recounted in one walk through the journal: about 100 MB. More need more walks, budget by budget.
pub const COUNTERS_PER_PASS: i64 = 250_000;

/// One place where the books disagree with themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where: names and values, such as `budget` and `key`.
    pub subject: Vec<(&'static str, String)>,
    /// Which column.
    pub column: String,
    /// What the books say; none if they lack the row.
    pub recorded: Option<String>,
    /// What they must say; none if there must be no such row.
    pub recomputed: Option<String>,
}

/// What one check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many rows it looked at.
    pub checked: u64,
    /// The first differences.
    pub differences: Vec<Difference>,
    /// Whether there are more than these.
    pub truncated: bool,
}

impl Findings {
    fn of(checked: i64) -> Self {
        Self { checked: u64::try_from(checked).unwrap_or(0), ..Self::default() }
    }

    fn add(&mut self, difference: Difference) {
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(difference);
        } else {
            self.truncated = true;
        }
    }
}

/// The books as of one instant, whatever is written meanwhile.
pub struct Snapshot<'c> {
    transaction: Transaction<'c, Postgres>,
}

/// Opens a snapshot. None if there are no books in this database.
///
/// # Errors
/// When the database does not answer.
pub async fn snapshot(connection: &mut PgConnection) -> Result<Option<Snapshot<'_>>, StoreError> {
    let mut transaction = connection.begin_with("begin isolation level repeatable read, read only").await?;
    // Rows that the connection may not see would look like rows that are missing: rather an error than that.
    sqlx::query("set local row_security = off").execute(&mut *transaction).await?;
    let there: bool =
        sqlx::query_scalar("select to_regclass('catalogue_head') is not null").fetch_one(&mut *transaction).await?;
    Ok(there.then_some(Snapshot { transaction }))
}

impl Snapshot<'_> {
    /// Ends it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn close(self) -> Result<(), StoreError> {
        Ok(self.transaction.rollback().await?)
    }

    /// The timezone rules by which open periods were computed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn timezone_rules(&mut self) -> Result<String, StoreError> {
        Ok(sqlx::query_scalar("select tzdb from catalogue_head").fetch_one(&mut *self.transaction).await?)
    }

    /// How many rows a walk through the journal and the open reservations reads.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rows_to_walk(&mut self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar(
            "select (select count(*) from transfers) + (select count(*) from reservations where state = 'open')",
        )
        .fetch_one(&mut *self.transaction)
        .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn count(&mut self, statement: &'static str) -> Result<Findings, StoreError> {
        Ok(Findings::of(sqlx::query_scalar(statement).fetch_one(&mut *self.transaction).await?))
    }

    /// Recounts every counter and compares. A row that is missing is as good as one of zero.
    ///
    /// # Errors
    /// When the database does not answer, or something cannot be counted.
    pub async fn counters(&mut self, on_row: &mut (dyn FnMut() + Send)) -> Result<Findings, StoreError> {
        let catalogue = catalogue::load(&mut self.transaction).await?;
        let mut findings = self.count("select count(*) from counters").await?;
        let whole = Part::default();
        for pass in self.passes(&catalogue).await? {
            let numbers: Vec<i32> = pass.iter().map(|number| number.0).collect();
            let recounted = super::counting::count(&mut self.transaction, &catalogue, pass, None, on_row).await?;
            let mut show = |compared: Compared<'_>| add_counter(&catalogue, &compared, &mut findings);
            comparing::counters(&mut self.transaction, &catalogue, &whole, &numbers, recounted, &mut show).await?;
        }
        let mut show = |compared: Compared<'_>| add_counter(&catalogue, &compared, &mut findings);
        comparing::counters_of_nothing(&mut self.transaction, &catalogue, &whole, &mut show).await?;
        Ok(findings)
    }

    /// The budgets, in groups that fit into memory together.
    async fn passes(&mut self, catalogue: &Catalogue) -> Result<Vec<Vec<BudgetNumber>>, StoreError> {
        let sizes: Vec<(i32, i64)> = sqlx::query_as("select budget, count(*) from counters group by budget")
            .fetch_all(&mut *self.transaction)
            .await?;
        let sizes: BTreeMap<i32, i64> = sizes.into_iter().collect();
        let mut passes: Vec<Vec<BudgetNumber>> = Vec::new();
        let mut room = 0;
        for budget in catalogue.budgets() {
            let size = sizes.get(&budget.number.0).copied().unwrap_or(0);
            match passes.last_mut().filter(|_| size <= room) {
                Some(pass) => pass.push(budget.number),
                None => {
                    passes.push(vec![budget.number]);
                    room = COUNTERS_PER_PASS;
                }
            }
            room = room.saturating_sub(size);
        }
        Ok(passes)
    }

    /// Both sides of each unit.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn trial_balance(&mut self) -> Result<(Findings, Vec<UnitBalance>), StoreError> {
        let units = balance::sides(&mut self.transaction, &Part::default(), None).await?;
        let mut findings = self.count("select count(*) from entries").await?;
        for unit in units.iter().filter(|unit| !unit.difference.is_zero()) {
            findings.add(Difference {
                subject: vec![("unit", unit.unit.clone())],
                column: "debit less credit".to_owned(),
                recorded: Some(unit.difference.normalize().to_string()),
                recomputed: Some("0".to_owned()),
            });
        }
        Ok((findings, units))
    }

    /// Each account's balance against the sum of its transfers.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn accounts(&mut self) -> Result<Findings, StoreError> {
        const COLUMNS: [&str; 6] =
            ["transfers", "tokens", "usd", "gco2e_usage_location", "gco2e_usage_market", "gco2e_embodied"];
        let mut findings = self.count("select count(*) from account_balances('infinity')").await?;
        let rows = self.fetch(include_str!("sql/verify_accounts.sql")).await?;
        for row in &rows {
            add_columns(&mut findings, &[("account", row.try_get("account")?)], &COLUMNS, row)?;
        }
        Ok(findings)
    }

    /// The roll-up against the sums of the journal by quarter of an hour, both ways.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rollup(&mut self) -> Result<Findings, StoreError> {
        const COLUMNS: [&str; 11] = [
            "requests",
            "input",
            "cache_read",
            "cache_write_5m",
            "cache_write_1h",
            "output",
            "reasoning",
            "usd",
            "gco2e_usage_location",
            "gco2e_usage_market",
            "gco2e_embodied",
        ];
        let mut findings = self.count("select count(*) from usage_rollup").await?;
        let (spellings, whole) = (super::names::spellings(&mut self.transaction).await?, Part::default());
        let statement = comparing::bind_part(comparing::ROLLUP_ROWS, &whole, &spellings).bind(limit());
        let rows = statement.fetch_all(&mut *self.transaction).await?;
        for row in &rows {
            let subject = [
                ("tenant", row.try_get("tenant")?),
                ("quarter", instant(row.try_get("quarter")?)),
                ("feature", row.try_get("feature")?),
                ("provider", row.try_get("provider")?),
                ("model", row.try_get("model")?),
                ("region", row.try_get("region")?),
                ("priority", row.try_get("priority")?),
            ];
            add_columns(&mut findings, &subject, &COLUMNS, row)?;
        }
        Ok(findings)
    }

    /// Reservations and transfers that name each other; holds that are sums.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reservations(&mut self) -> Result<Findings, StoreError> {
        let mut findings = self.count("select count(*) from reservations").await?;
        let rows = sqlx::query(include_str!("sql/verify_reservations.sql"))
            .bind(i32::try_from(Flags::LATE.bits()).unwrap_or(0))
            .bind(limit())
            .bind(i32::try_from(Flags::EXPIRED.bits()).unwrap_or(0))
            .bind(i32::try_from(Flags::PERIOD_CLOSED.bits()).unwrap_or(0))
            .fetch_all(&mut *self.transaction)
            .await?;
        add_found(&mut findings, &rows)?;
        Ok(findings)
    }

    /// What must hold within one journal row.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rows(&mut self) -> Result<Findings, StoreError> {
        let mut findings = self.count("select count(*) from transfers").await?;
        let rows = self.fetch(include_str!("sql/verify_rows.sql")).await?;
        add_found(&mut findings, &rows)?;
        Ok(findings)
    }

    async fn fetch(&mut self, statement: &'static str) -> Result<Vec<PgRow>, StoreError> {
        Ok(sqlx::query(statement).bind(limit()).fetch_all(&mut *self.transaction).await?)
    }
}

/// One more than are listed, to know whether there are more.
fn limit() -> i64 {
    i64::try_from(DIFFERENCES_MAX).unwrap_or(i64::MAX).saturating_add(1)
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn counter_subject(catalogue: &Catalogue, id: &CounterId) -> Vec<(&'static str, String)> {
    let known = catalogue.budgets().find(|budget| budget.number == id.budget);
    let budget = known.map_or_else(|| format!("number {}", id.budget.0), |budget| budget.id.to_string());
    vec![("budget", budget), ("key", id.key.as_str().to_owned()), ("period_start", instant(id.start))]
}

/// What differs of one counter; none where there is, or must be, no row.
fn add_counter(catalogue: &Catalogue, compared: &Compared<'_>, findings: &mut Findings) {
    type Number = fn(Counter) -> Quantity;
    let (recorded, recomputed) = (compared.recorded.as_ref(), compared.recomputed.as_ref());
    let (is, must_be) = compared.numbers();
    let has_budget = catalogue.budgets().any(|budget| budget.number == compared.id.budget);
    let columns: [(&str, Number); 4] = [
        ("posted", |counter| counter.posted),
        ("held", |counter| counter.held),
        ("margin", |counter| counter.margin),
        ("at_risk", |counter| counter.at_risk),
    ];
    let mut add = |column: &str, recorded: Option<String>, recomputed: Option<String>| {
        let subject = counter_subject(catalogue, compared.id);
        findings.add(Difference { subject, column: column.to_owned(), recorded, recomputed });
    };
    for (column, number) in columns {
        // No row is as good as a row of zero.
        if number(is) != number(must_be) {
            let text = |counter: Counter| number(counter).to_string();
            add(column, recorded.map(|_| text(is)), has_budget.then(|| text(must_be)));
        }
    }
    let opened_at = recorded.and_then(|recorded| recorded.opened_at);
    let must_be_opened = recomputed.and_then(|recomputed| recomputed.opened_at);
    if has_budget && opened_at != must_be_opened {
        add("opened_at", opened_at.map(instant), must_be_opened.map(instant));
    }
    let Some((recorded, recomputed)) = recorded.zip(recomputed) else { return };
    let owner = recomputed.tenant.as_ref().map(ToString::to_string);
    if recorded.period_end != recomputed.period.end {
        add("period_end", recorded.period_end.map(instant), recomputed.period.end.map(instant));
    }
    if recorded.tenant != owner {
        add("tenant", recorded.tenant.clone(), owner);
    }
}

/// The columns that differ between the arrays `recorded` and `recomputed` of a row.
fn add_columns(
    findings: &mut Findings,
    subject: &[(&'static str, String)],
    columns: &[&str],
    row: &PgRow,
) -> Result<(), StoreError> {
    let recorded: Vec<Option<String>> = row.try_get("recorded")?;
    let recomputed: Vec<Option<String>> = row.try_get("recomputed")?;
    for ((column, recorded), recomputed) in columns.iter().zip(recorded).zip(recomputed) {
        if recorded != recomputed {
            let subject = subject.to_vec();
            findings.add(Difference { subject, column: (*column).to_owned(), recorded, recomputed });
        }
    }
    Ok(())
}

/// Rows of `tenant`, `kind`, `id`, `field`, `recorded`, `recomputed`.
fn add_found(findings: &mut Findings, rows: &[PgRow]) -> Result<(), StoreError> {
    for row in rows {
        let kind: &str = row.try_get("kind")?;
        let kind = if kind == "transfer" { "transfer" } else { "reservation" };
        let id: Uuid = row.try_get("id")?;
        findings.add(Difference {
            subject: vec![("tenant", row.try_get("tenant")?), (kind, id.to_string())],
            column: row.try_get("field")?,
            recorded: row.try_get("recorded")?,
            recomputed: row.try_get("recomputed")?,
        });
    }
    Ok(())
}
