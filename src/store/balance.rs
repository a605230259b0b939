//! The trial balance: both sides of each unit, and the journal against everything that is derived from it.
//!
//! | what | with what | how |
//! |---|---|---|
//! | the debit sides of a unit | its credit sides | added up by the database |
//! | the journal | the roll-up | [`super::comparing`], as `verify` does, added up |
//! | the journal and the open reservations | the counters | calls that no budget tells apart are added up by the database, then [`super::comparing`] |
//!
//! Invariants: one snapshot, and reads only; a sum that cannot be read is an error, and never a zero.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::comparing::{Compared, Part, ROLLUP_SUMS, bind_part, counters, counters_of_nothing};
use super::{StoreError, catalogue, confine, counting};
use crate::domain::amounts::BadAmount;
use crate::domain::budget::catalogue::{Budget, Catalogue};
use crate::domain::budget::counter::{Counter, CounterId};
use crate::domain::budget::recount::{Recount, Recounted};
use crate::domain::id::TenantId;

/// Both sides of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitBalance {
    /// `tokens`, `usd`, `gco2e_usage_location`, `gco2e_usage_market` or `gco2e_embodied`.
    pub unit: String,
    /// What the debit sides add up to.
    pub debit: Decimal,
    /// What the credit sides add up to.
    pub credit: Decimal,
    /// Debit less credit: zero, always.
    pub difference: Decimal,
}

/// One unit of the journal beside the same of the roll-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledUnit {
    /// `requests`, or the name of a unit.
    pub unit: &'static str,
    /// What the journal says, less what was taken back.
    pub journal: Decimal,
    /// What the roll-up says.
    pub rollup: Decimal,
}

/// The journal against the roll-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupBalance {
    /// How many rows the journal has.
    pub transfers: i64,
    /// How many rows the roll-up has.
    pub rows: i64,
    /// In how many rows they differ.
    pub differing: i64,
    /// Each unit.
    pub units: Vec<RolledUnit>,
}

/// A number of counters beside what it must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pair {
    /// What the counters say.
    pub recorded: Decimal,
    /// What the journal, or the open reservations, say.
    pub recomputed: Decimal,
}

impl Pair {
    fn add(&mut self, recorded: Decimal, recomputed: Decimal) -> Option<()> {
        self.recorded = self.recorded.checked_add(recorded)?;
        self.recomputed = self.recomputed.checked_add(recomputed)?;
        Some(())
    }
}

/// The counters of one measure against what they are sums of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountersBalance {
    /// The budgets whose counters these are.
    pub budgets: BTreeSet<i32>,
    /// How many counters there are, on either side.
    pub counters: u64,
    /// How many of them differ.
    pub differing: u64,
    /// What is posted, and what the journal says.
    pub posted: Pair,
    /// What is held, and what the open reservations say.
    pub held: Pair,
}

/// The trial balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialBalance {
    /// Both sides of each unit.
    pub units: Vec<UnitBalance>,
    /// The journal against the roll-up.
    pub rollup: RollupBalance,
    /// The counters by the name of their measure; none for those of a budget that is not in the catalogue.
    pub counters: BTreeMap<Option<&'static str>, CountersBalance>,
}

impl TrialBalance {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.units.iter().all(|unit| unit.difference.is_zero())
            && self.rollup.differing == 0
            && self.counters.values().all(|counters| counters.differing == 0)
    }
}

/// Draws it up, on a transaction that sees one state of the books and has read nothing yet. The sides are as of an instant of
/// recording; what is derived has no past, and is compared as it stands.
///
/// # Errors
/// When the database does not answer, something cannot be counted, or a sum is beyond what can be reported.
pub async fn trial_balance(
    connection: &mut PgConnection,
    part: &Part,
    as_of: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<TrialBalance, StoreError> {
    // Rows that the connection may not see would look like rows that are missing: rather an error than that.
    sqlx::query("set local row_security = off").execute(&mut *connection).await?;
    let catalogue = catalogue::load(&mut *connection).await?;
    if let Some(tenant) = &part.tenant {
        sqlx::query("set local row_security = on").execute(&mut *connection).await?;
        confine(connection, tenant).await?;
    }
    let units = sides(connection, part, as_of).await?;
    let statement = bind_part(ROLLUP_SUMS, part, &catalogue.spellings);
    let rollup = rollup_from_row(&statement.fetch_one(&mut *connection).await?)?;
    let counters = counters_by_measure(connection, &catalogue, part, now).await?;
    Ok(TrialBalance { units, rollup, counters })
}

/// Both sides of each unit, as of an instant of recording or of all time.
///
/// # Errors
/// When the database does not answer, or a sum is beyond what can be reported.
pub async fn sides(
    connection: &mut PgConnection,
    part: &Part,
    as_of: Option<DateTime<Utc>>,
) -> Result<Vec<UnitBalance>, StoreError> {
    let rows = sqlx::query(include_str!("sql/balance_sides.sql"))
        .bind(part.tenant.as_ref().map(TenantId::as_str))
        .bind(part.from)
        .bind(part.to)
        .bind(as_of)
        .persistent(false)
        .fetch_all(connection)
        .await?;
    rows.iter().map(unit_balance_from_row).collect()
}

fn unit_balance_from_row(row: &PgRow) -> Result<UnitBalance, StoreError> {
    Ok(UnitBalance {
        unit: row.try_get("unit")?,
        debit: row.try_get("debit")?,
        credit: row.try_get("credit")?,
        difference: row.try_get("difference")?,
    })
}

fn rollup_from_row(row: &PgRow) -> Result<RollupBalance, StoreError> {
    const UNITS: [&str; 6] =
        ["requests", "tokens", "usd", "gco2e_usage_location", "gco2e_usage_market", "gco2e_embodied"];
    let sum = |side: &str, unit: &str| row.try_get::<Decimal, _>(format!("{side}_{unit}").as_str());
    let unit = |unit| Ok(RolledUnit { unit, journal: sum("journal", unit)?, rollup: sum("rollup", unit)? });
    Ok(RollupBalance {
        transfers: row.try_get("transfers")?,
        rows: row.try_get("rows")?,
        differing: row.try_get("differing")?,
        units: UNITS.into_iter().map(unit).collect::<Result<_, StoreError>>()?,
    })
}

async fn counters_by_measure(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    part: &Part,
    now: DateTime<Utc>,
) -> Result<BTreeMap<Option<&'static str>, CountersBalance>, StoreError> {
    // Of a budget that counts several tenants' calls no counter is one tenant's part of the books.
    let is_in_part = |budget: &&Arc<Budget>| {
        part.tenant.as_ref().is_none_or(|tenant| {
            budget.is_within_tenant() && budget.scope.tenant.as_ref().is_none_or(|scope| scope == tenant)
        })
    };
    let budgets: Vec<Arc<Budget>> = catalogue.budgets().filter(is_in_part).map(Arc::clone).collect();
    let measures: BTreeMap<i32, &'static str> =
        budgets.iter().map(|budget| (budget.number.0, budget.measure.name())).collect();
    let numbers: Vec<i32> = measures.keys().copied().collect();
    let recounted = recount(connection, &catalogue.with_budgets(budgets), part, now).await?;
    let mut found: BTreeMap<Option<&'static str>, CountersBalance> = BTreeMap::new();
    let mut is_whole = true;
    let mut show = |compared: Compared<'_>| {
        let (budget, (recorded, recomputed)) = (compared.id.budget.0, compared.numbers());
        let of_measure = found.entry(measures.get(&budget).copied()).or_default();
        is_whole &= add(of_measure, budget, recorded, recomputed).is_some();
    };
    counters(connection, catalogue, part, &numbers, recounted, &mut show).await?;
    counters_of_nothing(connection, catalogue, part, &mut show).await?;
    if is_whole { Ok(found) } else { Err(StoreError::Unkeepable(BadAmount::TooLarge)) }
}

/// None where a sum is beyond what can be reported.
fn add(sums: &mut CountersBalance, budget: i32, recorded: Counter, recomputed: Counter) -> Option<()> {
    sums.budgets.insert(budget);
    sums.counters = sums.counters.checked_add(1)?;
    if recorded != recomputed {
        sums.differing = sums.differing.checked_add(1)?;
    }
    sums.posted.add(recorded.posted.decimal(), recomputed.posted.decimal())?;
    sums.held.add(recorded.held.decimal(), recomputed.held.decimal())
}

/// What the counters of the catalogue must be: calls are added up by the database as far as no budget tells them apart, and what
/// is held is read row by row.
async fn recount(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    part: &Part,
    now: DateTime<Utc>,
) -> Result<BTreeMap<CounterId, Recounted>, StoreError> {
    let mut recount = Recount::going_on(catalogue, BTreeMap::new());
    if catalogue.budgets().next().is_none() {
        return Ok(recount.finish());
    }
    let mut reading = counting::reading(catalogue.budgets(), catalogue, part.tenant.as_ref(), now)?;
    reading.since = reading.since.zip(part.from).map_or(reading.since.or(part.from), |(a, b)| Some(a.max(b)));
    let statement = concat!(
        include_str!("sql/count_calls.sql"),
        "from transfers\n",
        include_str!("sql/count_calls_where.sql"),
        "and ($15::timestamptz is null or transfers.period_at < $15)\n",
        include_str!("sql/count_calls_sums.sql")
    );
    let mut sums = counting::bind_reading(sqlx::query(statement), &reading)
        .bind(part.to)
        .persistent(false)
        .fetch(&mut *connection);
    while let Some(row) = sums.try_next().await? {
        counting::add(&mut recount, &row)?;
    }
    drop(sums);
    let mut open = sqlx::query("select * from reservations where state = 'open' and ($1::text is null or tenant = $1)")
        .bind(part.tenant.as_ref().map(TenantId::as_str))
        .persistent(false)
        .fetch(connection);
    while let Some(row) = open.try_next().await? {
        counting::hold(&mut recount, &row)?;
    }
    drop(open);
    Ok(recount.finish())
}
