//! What exports read: one slice of the journal in one snapshot, row by row, and the trial balance of that slice.
//!
//! Invariants: reads only; everything one export reads is of one repeatable-read snapshot, so that its rows and its
//! balance are of the same instant, whatever is written meanwhile; rows are streamed, so memory does not grow with them.
//!
//! A [`JournalMark`] says what a snapshot could see. Ids and instants cannot: batches of several replicas commit in another
//! order than the one in which their ids and instants were made, and whoever asks for "later than the last I have" misses
//! what was committed late. Far from a mark the instant of recording decides ([`MARK_WINDOW`]), near it the transaction
//! that wrote the row, which Postgres keeps with every row, and which nobody changes because no transfer is ever updated.

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use rust_decimal::Decimal;
use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{Connection, Executor, Postgres, Row};
use uuid::Uuid;

use super::{StoreError, confine, rates, yielding};
use crate::domain::carbon::{Factor, FactorId, Profile};
use crate::domain::id::TenantId;
use crate::domain::ledger::transfer::TransferKind;
use crate::domain::price::{PriceId, PriceRow};
use crate::domain::tariff::Flags;
use crate::wire::export::JournalMark;

/// How far the clocks of replicas may differ, plus the longest a batch takes to commit. Further from a mark than this the
/// instant of recording says on which side of it a transfer is.
pub const MARK_WINDOW: TimeDelta = TimeDelta::hours(1);

/// Whether a database has books.
///
/// # Errors
/// When it does not answer.
pub async fn has_books(pool: &PgPool) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("select to_regclass('catalogue_head') is not null").fetch_one(pool).await?)
}

/// Which part of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice {
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only what counts from this instant on.
    pub from: Option<DateTime<Utc>>,
    /// Only what counts before this instant.
    pub to: Option<DateTime<Utc>>,
    /// Only what this mark did not see.
    pub since: Option<JournalMark>,
    /// Only what this mark saw; all that is there if none.
    pub until: Option<JournalMark>,
}

/// Sums in every unit. Signed, because what is consumed is debit less credit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Tokens.
    pub tokens: Decimal,
    /// Dollars.
    pub usd: Decimal,
    /// Grams of the electricity used, by the grid.
    pub gco2e_usage_location: Decimal,
    /// Grams of the electricity used, by contracts.
    pub gco2e_usage_market: Decimal,
    /// Grams of making the hardware.
    pub gco2e_embodied: Decimal,
}

impl Sums {
    /// Each unit with its name in the trial balance.
    #[must_use]
    pub const fn units(&self) -> [(&'static str, Decimal); 5] {
        [
            ("tokens", self.tokens),
            ("usd", self.usd),
            ("gco2e_usage_location", self.gco2e_usage_location),
            ("gco2e_usage_market", self.gco2e_usage_market),
            ("gco2e_embodied", self.gco2e_embodied),
        ]
    }

    /// The sum in each unit; none where it has more digits than can be kept.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        Some(Self {
            tokens: self.tokens.checked_add(other.tokens)?,
            usd: self.usd.checked_add(other.usd)?,
            gco2e_usage_location: self.gco2e_usage_location.checked_add(other.gco2e_usage_location)?,
            gco2e_usage_market: self.gco2e_usage_market.checked_add(other.gco2e_usage_market)?,
            gco2e_embodied: self.gco2e_embodied.checked_add(other.gco2e_embodied)?,
        })
    }

    pub(super) fn from_row(row: &PgRow, first: usize) -> Result<Self, StoreError> {
        let at = |place: usize| row.try_get::<Decimal, _>(first.saturating_add(place));
        Ok(Self {
            tokens: at(0)?,
            usd: at(1)?,
            gco2e_usage_location: at(2)?,
            gco2e_usage_market: at(3)?,
            gco2e_embodied: at(4)?,
        })
    }
}

/// The trial balance of a slice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SliceBalance {
    /// How many transfers it has.
    pub transfers: u64,
    /// What the debit sides add up to.
    pub debit: Sums,
    /// What the credit sides add up to.
    pub credit: Sums,
    /// What `supply:` accounts gave, less what they got back: credit less debit.
    pub supplied: Sums,
}

/// One transfer, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the journal's columns")]
pub struct JournalRow {
    pub id: Uuid,
    pub kind: TransferKind,
    pub debit_account: String,
    pub credit_account: String,
    pub tenant: String,
    pub feature: String,
    pub provider: String,
    pub model: String,
    pub requested_model: Option<String>,
    pub region: Option<String>,
    pub run: Option<String>,
    pub agent: Option<String>,
    /// A JSON object, as text.
    pub labels: Option<String>,
    pub priority: String,
    pub requests: i32,
    /// In the order of [`crate::domain::usage::Bucket::ALL`].
    pub buckets: [i64; 6],
    pub tokens: i64,
    pub sums: Sums,
    pub price: Option<i64>,
    pub price_tier_from: i64,
    pub carbon_profile: String,
    pub model_factor: Option<i64>,
    pub grid_factor: Option<i64>,
    pub market_factor: Option<i64>,
    pub flags: i32,
    pub outcome: String,
    pub latency_ms: Option<i32>,
    pub provider_request_id: Option<String>,
    pub provider_usd: Option<Decimal>,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
    pub period_at: DateTime<Utc>,
    pub reservation: Option<Uuid>,
    pub corrects: Option<Uuid>,
    /// The call whose grams it corrects, if it moves grams alone.
    pub of: Option<CorrectedCall>,
}

/// What grams are computed from, of a call whose grams are corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the journal's columns")]
pub struct CorrectedCall {
    pub requests: i32,
    /// In the order of [`crate::domain::usage::Bucket::ALL`].
    pub buckets: [i64; 6],
    pub latency_ms: Option<i32>,
    pub flags: i32,
}

/// Transfers of one charge period, account, price and set of factors, added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeRow {
    /// Which charge period: the place in the list that was asked for, from zero.
    pub slot: usize,
    /// Whose calls.
    pub tenant: String,
    /// What people call the tenant; none where the catalogue has lost it.
    pub tenant_name: Option<String>,
    /// What they were for.
    pub feature: String,
    /// Who served them.
    pub provider: String,
    /// With what.
    pub model: String,
    /// Where.
    pub region: Option<String>,
    /// Their labels: a JSON object, as text.
    pub labels: Option<String>,
    /// Why the transfers were made.
    pub kind: TransferKind,
    /// Whether they went back: from what was consumed to what supplied it.
    pub returned: bool,
    /// The price row.
    pub price: Option<PriceId>,
    /// The tier of that row.
    pub price_tier_from: u64,
    /// The carbon method.
    pub carbon_profile: Profile,
    /// The row of the model's parameters.
    pub model_factor: Option<FactorId>,
    /// The row of the grid.
    pub grid_factor: Option<FactorId>,
    /// The row of contracts.
    pub market_factor: Option<FactorId>,
    /// What is remarkable, of the flags that were asked for.
    pub flags: Flags,
    /// How many transfers.
    pub transfers: u64,
    /// How many calls.
    pub requests: u64,
    /// Tokens, in the order of [`crate::domain::usage::Bucket::ALL`].
    pub buckets: [u64; 6],
    /// Dollars.
    pub usd: Decimal,
    /// Grams: location-based, market-based, embodied.
    pub grams: [Decimal; 3],
    /// The charge that they correct, if they correct one.
    pub of: Option<CorrectedCharge>,
    /// The one transfer that all of them correct, if it is one.
    pub corrects: Option<String>,
}

/// A charge that others correct. Whose, what about and for whom is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrectedCharge {
    /// Which charge period, from zero; none if it is outside of those that were asked for, or itself corrects another charge.
    pub slot: Option<usize>,
    /// Why its transfers were made.
    pub kind: TransferKind,
    /// Whether they went back.
    pub returned: bool,
    /// The price row.
    pub price: Option<PriceId>,
    /// The tier of that row.
    pub price_tier_from: u64,
    /// The carbon method.
    pub carbon_profile: Profile,
    /// The row of the model's parameters.
    pub model_factor: Option<FactorId>,
    /// The row of the grid.
    pub grid_factor: Option<FactorId>,
    /// The row of contracts.
    pub market_factor: Option<FactorId>,
    /// What is remarkable, of the flags that were asked for.
    pub flags: Flags,
    /// Tokens of the transfers that are corrected, in the order of [`crate::domain::usage::Bucket::ALL`].
    pub buckets: [u64; 6],
}

/// One snapshot of the books, for one export. Confined to a tenant's rows if it is opened for one.
///
/// It has a connection of its own, whose process gives way to verdicts where it can be told to, and which ends with it.
pub struct Snapshot {
    connection: PgConnection,
    mark: JournalMark,
}

impl Snapshot {
    /// Opens one. `now` is the instant batches would be recorded at.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(pool: &PgPool, tenant: Option<&TenantId>, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let mut connection = pool.acquire().await?.detach();
        connection.execute("begin isolation level repeatable read, read only").await?;
        // An export takes one core of the database at most, and leaves the others to verdicts.
        let (seen, pid): (String, i32) = sqlx::query_as(
            "select pg_current_snapshot()::text, pg_backend_pid()
            from set_config('max_parallel_workers_per_gather', '0', true) as cores, set_config('jit', 'off', true) as jit",
        )
        .fetch_one(&mut connection)
        .await?;
        yielding::lower_server_process(&pool.connect_options(), pid).await;
        let mark = JournalMark::new(now, &seen).map_err(|error| StoreError::Row(error.to_string()))?;
        if let Some(tenant) = tenant {
            confine(&mut connection, tenant).await?;
        }
        Ok(Self { connection, mark })
    }

    /// What it sees.
    #[must_use]
    pub const fn mark(&self) -> &JournalMark {
        &self.mark
    }

    /// The connection in its transaction, for what else an export looks up.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// The trial balance of a slice, added up from both legs of each transfer.
    ///
    /// # Errors
    /// When the database does not answer, or a sum has more digits than can be told.
    pub async fn balance(&mut self, slice: &Slice) -> Result<SliceBalance, StoreError> {
        let statement = concat!(
            include_str!("sql/export_balance.sql"),
            include_str!("sql/export_slice.sql"),
            include_str!("sql/export_balance_legs.sql")
        );
        let row = bind(sqlx::query(statement), slice).fetch_one(&mut self.connection).await?;
        let transfers: i64 = row.try_get(0)?;
        Ok(SliceBalance {
            transfers: u64::try_from(transfers).unwrap_or(0),
            debit: Sums::from_row(&row, 1)?,
            credit: Sums::from_row(&row, 6)?,
            supplied: Sums::from_row(&row, 11)?,
        })
    }

    /// The transfers of a slice in the order of their ids, one after the other.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn transfers(
        &mut self,
        slice: &Slice,
    ) -> Result<BoxStream<'_, Result<JournalRow, StoreError>>, StoreError> {
        // The index on ids has this order; a sort would write the whole slice to disk first.
        sqlx::query("select set_config('enable_sort', 'off', true)").execute(&mut self.connection).await?;
        let statement = concat!(
            include_str!("sql/export_transfers.sql"),
            include_str!("sql/export_slice.sql"),
            "order by transfers.id"
        );
        let rows = bind(sqlx::query(statement), slice).fetch(&mut self.connection);
        Ok(Box::pin(rows.map(|row| journal_row(&row?))))
    }

    /// The transfers of a slice, added up by charge period. `starts` are the first instants of the periods, ascending;
    /// `flags` are those that tell charges apart.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn charges(
        &mut self,
        slice: &Slice,
        starts: &[DateTime<Utc>],
        flags: Flags,
    ) -> Result<BoxStream<'_, Result<ChargeRow, StoreError>>, StoreError> {
        // The planner expects a charge for every few transfers, and would sort all of them on disk; there are far fewer, and a
        // hash of them that does not fit spills. Measured on a million transfers: 2.0 s instead of 5.6 s.
        sqlx::query("select set_config('enable_sort', 'off', true), set_config('work_mem', '16MB', true)")
            .execute(&mut self.connection)
            .await?;
        let statement = concat!(
            include_str!("sql/export_charges.sql"),
            include_str!("sql/export_slice.sql"),
            include_str!("sql/export_charges_order.sql")
        );
        let query = bind(sqlx::query(statement), slice).bind(starts.to_vec());
        let rows = query.bind(i32::try_from(flags.bits()).unwrap_or(i32::MAX)).fetch(&mut self.connection);
        Ok(Box::pin(rows.map(|row| charge_row(&row?))))
    }

    /// Every price row and every factor row, as of this snapshot.
    ///
    /// # Errors
    /// When the database does not answer, or a row cannot be read.
    pub async fn rates(&mut self) -> Result<(Vec<PriceRow>, Vec<Factor>), StoreError> {
        rates::rows(&mut self.connection).await
    }

    /// Ends it, and its connection.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn close(self) -> Result<(), StoreError> {
        Ok(self.connection.close().await?)
    }
}

/// The parameters of `sql/export_slice.sql`.
pub(super) fn bind<'q>(query: Query<'q, Postgres, PgArguments>, slice: &Slice) -> Query<'q, Postgres, PgArguments> {
    let tenant = slice.tenant.as_ref().map(ToString::to_string);
    let query = query.bind(tenant).bind(slice.from).bind(slice.to);
    [&slice.since, &slice.until].into_iter().fold(query, |query, mark| {
        let mark = mark.as_ref();
        query
            .bind(mark.and_then(|mark| mark.at().checked_sub_signed(MARK_WINDOW)))
            .bind(mark.and_then(|mark| mark.at().checked_add_signed(MARK_WINDOW)))
            .bind(mark.map(JournalMark::seen))
            .bind(mark.map(JournalMark::newest))
    })
}

fn kind(text: &str) -> Result<TransferKind, StoreError> {
    TransferKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| StoreError::Row("kind".to_owned()))
}

pub(super) fn journal_row(row: &PgRow) -> Result<JournalRow, StoreError> {
    let mut buckets = [0; 6];
    for (place, bucket) in (14..).zip(&mut buckets) {
        *bucket = row.try_get(place)?;
    }
    let tokens: i64 = row.try_get(20)?;
    Ok(JournalRow {
        id: row.try_get(0)?,
        kind: kind(row.try_get(1)?)?,
        debit_account: row.try_get(2)?,
        credit_account: row.try_get(3)?,
        tenant: row.try_get(4)?,
        feature: row.try_get(5)?,
        provider: row.try_get(6)?,
        model: row.try_get(7)?,
        requested_model: row.try_get(8)?,
        region: row.try_get(9)?,
        run: row.try_get(10)?,
        agent: row.try_get(11)?,
        labels: row.try_get(12)?,
        priority: row.try_get(41)?,
        requests: row.try_get(13)?,
        buckets,
        tokens,
        sums: Sums {
            tokens: Decimal::from(tokens),
            usd: row.try_get(21)?,
            gco2e_usage_location: row.try_get(22)?,
            gco2e_usage_market: row.try_get(23)?,
            gco2e_embodied: row.try_get(24)?,
        },
        price: row.try_get(25)?,
        price_tier_from: row.try_get(26)?,
        carbon_profile: row.try_get(27)?,
        model_factor: row.try_get(28)?,
        grid_factor: row.try_get(29)?,
        market_factor: row.try_get(30)?,
        flags: row.try_get(31)?,
        outcome: row.try_get(32)?,
        latency_ms: row.try_get(33)?,
        provider_request_id: row.try_get(34)?,
        provider_usd: row.try_get(35)?,
        occurred_at: row.try_get(36)?,
        recorded_at: row.try_get(37)?,
        period_at: row.try_get(38)?,
        reservation: row.try_get(39)?,
        corrects: row.try_get(40)?,
        of: row.try_get::<Option<Vec<Option<i64>>>, _>(42)?.map(|figures| corrected_call(&figures)).transpose()?,
    })
}

/// From requests, buckets, flags and latency.
fn corrected_call(figures: &[Option<i64>]) -> Result<CorrectedCall, StoreError> {
    let bad = || StoreError::Row("corrects".to_owned());
    let [Some(requests), buckets @ .., Some(flags), latency_ms] = figures else { return Err(bad()) };
    let int = |figure: i64| i32::try_from(figure).map_err(|_| bad());
    let buckets = buckets.iter().copied().collect::<Option<Vec<i64>>>().ok_or_else(bad)?;
    Ok(CorrectedCall {
        requests: int(*requests)?,
        buckets: buckets.try_into().map_err(|_| bad())?,
        latency_ms: latency_ms.map(int).transpose()?,
        flags: int(*flags)?,
    })
}

fn count(row: &PgRow, place: usize, column: &str) -> Result<u64, StoreError> {
    let count: i64 = row.try_get(place)?;
    u64::try_from(count).map_err(|_| StoreError::Row(column.to_owned()))
}

/// `width_bucket` counts from one.
fn slot(place: i32) -> Result<usize, StoreError> {
    usize::try_from(place.saturating_sub(1)).map_err(|_| StoreError::Row("period_at".to_owned()))
}

fn buckets(row: &PgRow, first: usize) -> Result<[u64; 6], StoreError> {
    let mut buckets = [0; 6];
    for (place, bucket) in (first..).zip(&mut buckets) {
        *bucket = count(row, place, "tokens")?;
    }
    Ok(buckets)
}

fn profile(row: &PgRow, place: usize) -> Result<Profile, StoreError> {
    Profile::parse(row.try_get(place)?).map_err(|_| StoreError::Row("carbon_profile".to_owned()))
}

fn flags(row: &PgRow, place: usize) -> Result<Flags, StoreError> {
    let flags: i32 = row.try_get(place)?;
    Ok(Flags::from_bits(u32::try_from(flags).map_err(|_| StoreError::Row("flags".to_owned()))?))
}

fn factor(row: &PgRow, place: usize) -> Result<Option<FactorId>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(place)?.map(FactorId))
}

fn corrected_charge(row: &PgRow) -> Result<Option<CorrectedCharge>, StoreError> {
    let Some(of_kind) = row.try_get::<Option<&str>, _>(30)? else { return Ok(None) };
    Ok(Some(CorrectedCharge {
        slot: row.try_get::<Option<i32>, _>(29)?.map(slot).transpose()?,
        kind: kind(of_kind)?,
        returned: row.try_get(31)?,
        price: row.try_get::<Option<i64>, _>(32)?.map(PriceId),
        price_tier_from: count(row, 33, "price_tier_from")?,
        carbon_profile: profile(row, 34)?,
        model_factor: factor(row, 35)?,
        grid_factor: factor(row, 36)?,
        market_factor: factor(row, 37)?,
        flags: flags(row, 38)?,
        buckets: buckets(row, 39)?,
    }))
}

fn charge_row(row: &PgRow) -> Result<ChargeRow, StoreError> {
    Ok(ChargeRow {
        slot: slot(row.try_get(0)?)?,
        tenant: row.try_get(1)?,
        tenant_name: row.try_get(2)?,
        feature: row.try_get(3)?,
        provider: row.try_get(4)?,
        model: row.try_get(5)?,
        region: row.try_get(6)?,
        labels: row.try_get(7)?,
        kind: kind(row.try_get(8)?)?,
        returned: row.try_get(9)?,
        price: row.try_get::<Option<i64>, _>(10)?.map(PriceId),
        price_tier_from: count(row, 11, "price_tier_from")?,
        carbon_profile: profile(row, 12)?,
        model_factor: factor(row, 13)?,
        grid_factor: factor(row, 14)?,
        market_factor: factor(row, 15)?,
        flags: flags(row, 16)?,
        transfers: count(row, 17, "transfers")?,
        requests: count(row, 18, "requests")?,
        buckets: buckets(row, 19)?,
        usd: row.try_get(25)?,
        grams: [row.try_get(26)?, row.try_get(27)?, row.try_get(28)?],
        of: corrected_charge(row)?,
        corrects: row.try_get(45)?,
    })
}
