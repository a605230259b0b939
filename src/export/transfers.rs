//! The journal for a warehouse: one row for each transfer, every column of the journal, in the order of ids.
//!
//! What each column means is in `docs/reference/exports/transfers.md`, which a test compares with [`COLUMNS`].

use super::stream::FileWriter;
use super::table::{Cell, Column, Table, pico};
use super::{ExportError, Side, Totals};
use crate::domain::tariff::Flags;
use crate::store::export::transfers::JournalRow;

/// The columns.
pub const COLUMNS: &[Column] = &[
    Column::text("transfer"),
    Column::text("kind"),
    Column::text("debit_account"),
    Column::text("credit_account"),
    Column::text("tenant"),
    Column::text("feature"),
    Column::text("provider"),
    Column::text("model"),
    Column::text("requested_model"),
    Column::text("region"),
    Column::text("run"),
    Column::text("agent"),
    Column::text("labels"),
    Column::text("priority"),
    Column::integer("requests"),
    Column::integer("input"),
    Column::integer("cache_read"),
    Column::integer("cache_write_5m"),
    Column::integer("cache_write_1h"),
    Column::integer("output"),
    Column::integer("reasoning"),
    Column::integer("tokens"),
    Column::decimal("usd"),
    Column::decimal("gco2e_usage_location"),
    Column::decimal("gco2e_usage_market"),
    Column::decimal("gco2e_embodied"),
    Column::integer("price"),
    Column::integer("price_tier_from"),
    Column::text("carbon_profile"),
    Column::integer("model_factor"),
    Column::integer("grid_factor"),
    Column::integer("market_factor"),
    Column::text("flags"),
    Column::text("outcome"),
    Column::integer("latency_ms"),
    Column::text("provider_request_id"),
    Column::decimal("provider_usd"),
    Column::instant("occurred_at"),
    Column::instant("recorded_at"),
    Column::instant("period_at"),
    Column::text("reservation"),
    Column::text("corrects"),
];

/// Writes transfers.
pub struct TransfersWriter {
    table: Table,
    totals: Totals,
}

impl TransfersWriter {
    /// Into this table.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table, totals: Totals::default() }
    }
}

impl FileWriter<JournalRow> for TransfersWriter {
    fn row(&mut self, row: &JournalRow) -> Result<(), ExportError> {
        let flags = flags_text(row.flags);
        let [id, reservation, corrects] =
            [Some(row.id), row.reservation, row.corrects].map(|id| id.map(|id| id.to_string()));
        let decimal = |what, value| Ok::<_, ExportError>(Cell::Decimal(pico(what, value)?));
        let [_, usd, location, market, embodied] = row.sums.units().map(|(unit, value)| decimal(unit, value));
        let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] = row.buckets.map(Cell::Integer);
        let cells = [
            Cell::optional(id.as_deref()),
            Cell::Text(row.kind.name()),
            Cell::Text(&row.debit_account),
            Cell::Text(&row.credit_account),
            Cell::Text(&row.tenant),
            Cell::Text(&row.feature),
            Cell::Text(&row.provider),
            Cell::Text(&row.model),
            Cell::optional(row.requested_model.as_deref()),
            Cell::optional(row.region.as_deref()),
            Cell::optional(row.run.as_deref()),
            Cell::optional(row.agent.as_deref()),
            Cell::Text(row.labels.as_deref().unwrap_or("{}")),
            Cell::Text(&row.priority),
            Cell::Integer(i64::from(row.requests)),
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
            Cell::Integer(row.tokens),
            usd?,
            location?,
            market?,
            embodied?,
            Cell::optional_integer(row.price),
            Cell::Integer(row.price_tier_from),
            Cell::Text(&row.carbon_profile),
            Cell::optional_integer(row.model_factor),
            Cell::optional_integer(row.grid_factor),
            Cell::optional_integer(row.market_factor),
            Cell::Text(&flags),
            Cell::Text(&row.outcome),
            Cell::optional_integer(row.latency_ms.map(i64::from)),
            Cell::optional(row.provider_request_id.as_deref()),
            row.provider_usd.map_or(Ok(Cell::Null), |usd| decimal("provider_usd", usd))?,
            Cell::Instant(row.occurred_at),
            Cell::Instant(row.recorded_at),
            Cell::Instant(row.period_at),
            Cell::optional(reservation.as_deref()),
            Cell::optional(corrects.as_deref()),
        ];
        for cell in cells {
            self.table.cell(cell)?;
        }
        self.table.end_row()?;
        self.totals.add(1, &row.sums)
    }

    fn end(&mut self) -> Result<(), ExportError> {
        self.table.end()
    }

    fn take(&mut self) -> Result<Vec<u8>, ExportError> {
        self.table.take()
    }

    fn totals(&self) -> &Totals {
        &self.totals
    }

    fn side(&self) -> Side {
        Side::Debit
    }
}

/// The names of what is set, separated by spaces.
pub(super) fn flags_text(bits: i32) -> String {
    let flags = Flags::from_bits(u32::try_from(bits).unwrap_or(0));
    flags.names().collect::<Vec<_>>().join(" ")
}
