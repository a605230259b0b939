//! What is asked of an export, and the cursors by which it goes on.
//!
//! A cursor is what an export saw and which export it was, as opaque text with a version. A tenant's is sealed
//! (`auth/seal.rs`), because the transactions that it names are those of all tenants. With `cursor` the next export takes only what
//! the one before could not see; with `resume` the same export is made once more and begins where the caller's file ends.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Months, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::usage::Bound;
use super::{FieldError, in_calendar};
use crate::domain::calendar::Zone;

/// Most transactions that a mark may name as under way. A replica writes one at a time.
const UNDER_WAY_MAX: usize = 1_000;
/// What a cursor of the platform begins with: its version.
const PLAIN_BEGINS: &str = "1.";
/// What a sealed one begins with.
const SEALED_BEGINS: &str = "1s.";
/// Longest cursor, in bytes.
const CURSOR_BYTES_MAX: usize = 32 * 1024;

/// Which transactions of the database had ended when an export looked: `xmin:xmax:xip,…`, as Postgres writes a snapshot,
/// and the instant at which batches were then recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "MarkText", into = "MarkText")]
pub struct JournalMark {
    at: DateTime<Utc>,
    seen: String,
    newest: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkText {
    at: DateTime<Utc>,
    seen: String,
}

/// A text that is no snapshot of Postgres.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no mark of the journal")]
pub struct BadMark;

impl JournalMark {
    /// Takes an instant and a snapshot as Postgres writes it.
    ///
    /// # Errors
    /// [`BadMark`] when it is none, or the calendar does not answer for the instant.
    pub fn new(at: DateTime<Utc>, seen: &str) -> Result<Self, BadMark> {
        in_calendar("at", Some(at)).map_err(|_| BadMark)?;
        let number = |text: &str| {
            let plain = !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
            if plain { text.parse::<i64>().map_err(|_| BadMark) } else { Err(BadMark) }
        };
        let mut parts = seen.split(':');
        let (Some(oldest), Some(newest), Some(under_way), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadMark);
        };
        let (oldest, newest) = (number(oldest)?, number(newest)?);
        let under_way: Vec<i64> = if under_way.is_empty() {
            Vec::new()
        } else {
            under_way.split(',').take(UNDER_WAY_MAX.saturating_add(1)).map(number).collect::<Result<_, _>>()?
        };
        let ascending = under_way.is_sorted_by(|one, next| one < next);
        let within = under_way.iter().all(|id| (oldest..newest).contains(id));
        if oldest < 1 || oldest > newest || under_way.len() > UNDER_WAY_MAX || !ascending || !within {
            return Err(BadMark);
        }
        Ok(Self { at, seen: seen.to_owned(), newest })
    }

    /// When it was taken.
    #[must_use]
    pub const fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// The snapshot, as Postgres writes it.
    #[must_use]
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// The first transaction that had not begun.
    #[must_use]
    pub const fn newest(&self) -> i64 {
        self.newest
    }
}

impl TryFrom<MarkText> for JournalMark {
    type Error = BadMark;

    fn try_from(text: MarkText) -> Result<Self, BadMark> {
        Self::new(text.at, &text.seen)
    }
}

impl From<JournalMark> for MarkText {
    fn from(mark: JournalMark) -> Self {
        Self { at: mark.at, seen: mark.seen }
    }
}

/// Which file, by whose question: what must be the same when an export goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportIdentity {
    /// `transfers`, `focus` and so on.
    pub export: String,
    /// The tenant it covers; none for all.
    pub tenant: Option<String>,
    /// The first instant, if there is one.
    pub from: Option<DateTime<Utc>>,
    /// The first instant after it, if there is one.
    pub to: Option<DateTime<Utc>>,
    /// Everything else that changes the file: format, zone, version, grain.
    pub shape: String,
}

/// What an export saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportCursor {
    /// Which file it was.
    pub of: ExportIdentity,
    /// What the one before had seen, if it took only what was new.
    pub since: Option<JournalMark>,
    /// What it saw.
    pub until: JournalMark,
}

impl ExportCursor {
    /// Reads a cursor; `open` opens one that was sealed, and none is read that was not where there is one.
    ///
    /// # Errors
    /// Names the field.
    pub fn parse(
        field: &str,
        text: &str,
        open: Option<impl FnOnce(Vec<u8>) -> Option<Vec<u8>>>,
    ) -> Result<Self, FieldError> {
        let begin = if open.is_some() { SEALED_BEGINS } else { PLAIN_BEGINS };
        let encoded = text.strip_prefix(begin).filter(|encoded| encoded.len() <= CURSOR_BYTES_MAX);
        let bytes = encoded.and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok());
        let bytes = bytes.and_then(|bytes| if let Some(open) = open { open(bytes) } else { Some(bytes) });
        let cursor = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let detail = "is no cursor of an export that is yours: give `x-export-cursor` of one, unchanged";
        cursor.ok_or_else(|| FieldError::new(field, detail))
    }

    /// Writes it; `seal` seals it, where there is one.
    ///
    /// # Errors
    /// Those of `seal`.
    pub fn write<E>(&self, seal: Option<impl FnOnce(&[u8]) -> Result<Vec<u8>, E>>) -> Result<String, E> {
        // A value that is made of texts, numbers and instants can always be written.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let (begin, bytes) = match seal {
            Some(seal) => (SEALED_BEGINS, seal(&bytes)?),
            None => (PLAIN_BEGINS, bytes),
        };
        Ok(format!("{begin}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Comma-separated values.
    #[default]
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl TableFormat {
    /// The word in a query, and the end of a file's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// The media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// What becomes of texts that begin like a formula.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FormulasWord {
    /// An apostrophe stands before them, so that no spreadsheet computes what a caller named.
    #[default]
    Neutralize,
    /// They are written as they are.
    Keep,
}

impl FormulasWord {
    /// Whether they are written as they are.
    #[must_use]
    pub const fn keeps(self) -> bool {
        matches!(self, Self::Keep)
    }

    /// What it adds to the shape of a file.
    #[must_use]
    pub const fn shape(self) -> &'static str {
        match self {
            Self::Neutralize => "",
            Self::Keep => " formulas",
        }
    }
}

/// Which transfers, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TransfersExportQuery {
    /// `csv` or `parquet`.
    #[param(inline)]
    pub format: TableFormat,
    /// Of CSV: texts that begin like a formula (`= + - @`, tab) get an apostrophe before them with `neutralize`; `keep` leaves
    /// them as they are, for programs that join by them.
    #[param(inline)]
    pub formulas: FormulasWord,
    /// A year, month or day of the zone: `2026`, `2026-11`, `2026-11-21`. Instead of `from` and `to`.
    #[param(example = "2026-11")]
    pub period: Option<String>,
    /// Only what counts from this instant on, or from the start of this local day.
    #[param(example = "2026-11-01")]
    pub from: Option<String>,
    /// Only what counts before this instant, or before the start of this local day.
    #[param(example = "2026-12-01")]
    pub to: Option<String>,
    /// The IANA zone of `period` and of days. The tenant's own if one is named, else UTC.
    #[param(example = "Asia/Tokyo")]
    pub zone: Option<String>,
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// `x-export-cursor` of the export before: only what that one could not see.
    pub cursor: Option<String>,
    /// `x-export-cursor` of an export that was cut: the same rows once more, of which the first `skip` are left out.
    pub resume: Option<String>,
    /// Rows that are in the file already.
    pub skip: Option<u64>,
}

/// A version of the FinOps Open Cost and Usage Specification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum FocusVersion {
    /// 1.4, of June 2026.
    #[default]
    #[serde(rename = "1.4")]
    V1_4,
    /// 1.2, of May 2025: with `ProviderName` and `PublisherName`.
    #[serde(rename = "1.2")]
    V1_2,
}

impl FocusVersion {
    /// The word in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_4 => "1.4",
            Self::V1_2 => "1.2",
        }
    }
}

/// How long a charge period is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    /// A local day.
    #[default]
    Day,
    /// An hour, counted from local midnight.
    Hour,
}

impl Grain {
    /// The word in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Hour => "hour",
        }
    }
}

/// Which charges, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FocusExportQuery {
    /// `csv` or `parquet`.
    #[param(inline)]
    pub format: TableFormat,
    /// Of CSV: texts that begin like a formula (`= + - @`, tab) get an apostrophe before them with `neutralize`; `keep` leaves
    /// them as they are, for programs that join by them.
    #[param(inline)]
    pub formulas: FormulasWord,
    /// `1.4` or `1.2`.
    #[param(inline)]
    pub version: FocusVersion,
    /// Calls of a `day` or of an `hour` are added up.
    #[param(inline)]
    pub grain: Grain,
    /// A year, month or day of the zone: `2026`, `2026-11`, `2026-11-21`. The current month if neither it nor `from` is given.
    #[param(example = "2026-11")]
    pub period: Option<String>,
    /// Only what counts from this instant on, or from the start of this local day.
    #[param(example = "2026-11-01")]
    pub from: Option<String>,
    /// Only what counts before this instant, or before the start of this local day.
    #[param(example = "2026-12-01")]
    pub to: Option<String>,
    /// The IANA zone of days and months. The tenant's own if one is named, else UTC.
    #[param(example = "Asia/Tokyo")]
    pub zone: Option<String>,
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// `x-export-cursor` of an export that was cut: the same rows once more, of which the first `skip` are left out.
    pub resume: Option<String>,
    /// Rows that are in the file already.
    pub skip: Option<u64>,
}

/// A span of time as a caller writes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpanAsked {
    /// The first instant or day.
    pub from: Option<Bound>,
    /// The first instant or day no longer counted.
    pub to: Option<Bound>,
    /// The zone of days.
    pub zone: Option<Zone>,
}

impl SpanAsked {
    /// Reads a span.
    ///
    /// # Errors
    /// Names the parameter that is wrong.
    pub fn parse(
        period: Option<&str>,
        from: Option<&str>,
        to: Option<&str>,
        zone: Option<&str>,
    ) -> Result<Self, FieldError> {
        let zone = zone.map(Zone::parse).transpose().map_err(|error| FieldError::new("zone", error))?;
        let bound = |field: &str, text: Option<&str>| text.map(|text| Bound::parse(field, text)).transpose();
        let (from, to) = (bound("from", from)?, bound("to", to)?);
        let Some(period) = period else { return Ok(Self { from, to, zone }) };
        if from.is_some() || to.is_some() {
            return Err(FieldError::new("period", "is given together with from or to: give one or the other"));
        }
        let (first, next) = days(period).ok_or_else(|| {
            FieldError::new("period", format!("`{period}` is no year, month or day: 2026, 2026-11 or 2026-11-21"))
        })?;
        Ok(Self { from: Some(Bound::Date(first)), to: Some(Bound::Date(next)), zone })
    }
}

/// The first day of a year, month or day, and the first one after it.
fn days(period: &str) -> Option<(NaiveDate, NaiveDate)> {
    let first = |rest: &str| format!("{period}{rest}").parse::<NaiveDate>().ok();
    let months = |first: NaiveDate, months| Some((first, first.checked_add_months(Months::new(months))?));
    match period.len() {
        4 => months(first("-01-01")?, 12),
        7 => months(first("-01")?, 1),
        10 => first("").and_then(|day| Some((day, day.succ_opt()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_mark_is_a_snapshot_as_postgres_writes_it() {
        let now = at("2026-06-10T12:00:00Z");
        for seen in ["10:20:", "10:20:10,14,19", "1:1:"] {
            assert_eq!(JournalMark::new(now, seen).unwrap().seen(), seen);
        }
        for seen in [
            "",
            "10",
            "10:20",
            "20:10:",
            "10:20:9",
            "10:20:20",
            "10:20:12,11",
            "10:20:11,11",
            "10:20::",
            "a:b:",
            "0:1:",
            "-1:2:",
            "10:9999999999999999999:",
        ] {
            assert_eq!(JournalMark::new(now, seen), Err(BadMark), "{seen}");
        }
        assert_eq!(JournalMark::new(at("0001-01-01T00:00:00Z"), "10:20:"), Err(BadMark));
    }

    #[test]
    fn a_cursor_is_read_back_and_anything_else_is_refused_by_name() {
        let mark = |seen| JournalMark::new(at("2026-06-10T12:00:00.000001Z"), seen).unwrap();
        let of = ExportIdentity {
            export: "transfers".to_owned(),
            tenant: None,
            from: None,
            to: Some(at("2026-12-01T00:00:00Z")),
            shape: "csv".to_owned(),
        };
        let cursor = ExportCursor { of, since: Some(mark("10:20:12")), until: mark("30:40:") };
        // Stands for the seal: every bit is another one.
        let swapped = |bytes: &[u8]| bytes.iter().map(|byte| !byte).collect::<Vec<u8>>();
        let seal = |bytes: &[u8]| Ok::<_, ()>(swapped(bytes));
        let open = |bytes: Vec<u8>| Some(swapped(&bytes));
        let plainly = None::<fn(Vec<u8>) -> Option<Vec<u8>>>;
        let plain = cursor.write(None::<fn(&[u8]) -> Result<Vec<u8>, ()>>).unwrap();
        let sealed = cursor.write(Some(seal)).unwrap();
        assert_eq!(ExportCursor::parse("cursor", &plain, plainly).unwrap(), cursor);
        assert_eq!(ExportCursor::parse("cursor", &sealed, Some(open)).unwrap(), cursor);
        assert_eq!(ExportCursor::parse("cursor", &plain, Some(open)).unwrap_err().field, "cursor");
        let strange = URL_SAFE_NO_PAD.encode(r#"{"of":{},"until":{"at":"2026-06-10T12:00:00Z","seen":"x"}}"#);
        let without_version = plain.strip_prefix(PLAIN_BEGINS).unwrap();
        let too_long = "A".repeat(CURSOR_BYTES_MAX + 1);
        let with_version = ["", "%%%", "AAAA", &strange, &too_long].map(|text| format!("{PLAIN_BEGINS}{text}"));
        for text in with_version.iter().map(String::as_str).chain(["", without_version, &sealed]) {
            assert_eq!(ExportCursor::parse("resume", text, plainly).unwrap_err().field, "resume", "{text}");
        }
    }

    #[test]
    fn a_period_is_a_year_a_month_or_a_day() {
        let told = |period: &str| {
            SpanAsked::parse(Some(period), None, None, None).map(|span| (span.from.unwrap(), span.to.unwrap()))
        };
        let date = |text: &str| Bound::Date(text.parse().unwrap());
        for (period, from, to) in [
            ("2026", "2026-01-01", "2027-01-01"),
            ("2026-12", "2026-12-01", "2027-01-01"),
            ("2024-02-29", "2024-02-29", "2024-03-01"),
        ] {
            assert_eq!(told(period), Ok((date(from), date(to))), "{period}");
        }
        for period in ["", "26", "2026-13", "2026-02-30", "2026-W07", "november", "éé"] {
            assert_eq!(told(period).unwrap_err().field, "period", "{period}");
        }
        let both = SpanAsked::parse(Some("2026"), Some("2026-01-01"), None, None);
        assert_eq!(both.unwrap_err().field, "period");
        assert_eq!(SpanAsked::parse(None, None, None, Some("Mars/Base")).unwrap_err().field, "zone");
    }
}
