//! A plain CSV invoice: one line for each UTC day, model and bucket.
//!
//! | column | what |
//! |---|---|
//! | `day` | the UTC day, `2026-06-09` |
//! | `model` | the model as the provider names it; may be empty where `line` says what it is for |
//! | `bucket` or `line` | `input`, `cache_read`, `cache_write_5m`, `cache_write_1h`, `output`, `reasoning` or `requests`; in a `line` also any other text, which is a cost that no tokens made |
//! | `quantity` | how many tokens or requests; empty where the invoice tells dollars only |
//! | `usd` | dollars, a plain decimal; empty where the line has none |
//! | `workspace` | the workspace or project; the column may be missing |
//!
//! A day that has any quantity of tokens is a day whose tokens the invoice tells, all of them; the same with dollars. A line of
//! `requests` speaks for its own day and model alone: of the others nobody said how many calls there were.

use chrono::NaiveDate;
use csv::StringRecord;

use super::decimal;
use super::pages::{line_name, model};
use super::report::{BadReport, Report, ReportKind, RowKey};
use crate::domain::usage::Bucket;

/// The places of the columns.
struct Columns {
    day: usize,
    model: usize,
    bucket: usize,
    takes_any_line: bool,
    quantity: usize,
    usd: usize,
    workspace: Option<usize>,
}

impl Columns {
    fn of(header: &StringRecord, place: &str) -> Result<Self, BadReport> {
        let known = ["day", "model", "bucket", "line", "quantity", "usd", "workspace"];
        if let Some(other) = header.iter().find(|name| !known.contains(name)) {
            let detail =
                format!("column `{other}` is not known: use day, model, bucket or line, quantity, usd, workspace");
            return Err(BadReport::new(place, detail));
        }
        let find = |name: &str| header.iter().position(|column| column == name);
        let need = |name: &str| find(name).ok_or_else(|| BadReport::new(place, format!("has no column `{name}`")));
        let (bucket, takes_any_line) = match (find("bucket"), find("line")) {
            (Some(at), None) => (at, false),
            (None, Some(at)) => (at, true),
            _ => return Err(BadReport::new(place, "must have one of the columns `bucket` and `line`")),
        };
        Ok(Self {
            day: need("day")?,
            model: need("model")?,
            bucket,
            takes_any_line,
            quantity: need("quantity")?,
            usd: need("usd")?,
            workspace: find("workspace"),
        })
    }
}

/// What a line is of.
enum Item {
    Tokens(Bucket),
    Requests,
    Cost,
}

/// Reads an invoice.
///
/// # Errors
/// Names the line, counted from 1 with the header, and the column.
pub fn read(text: &str, place: &str) -> Result<Report, BadReport> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let unreadable = |error: csv::Error| BadReport::new(place, error.to_string());
    let columns = Columns::of(reader.headers().map_err(unreadable)?, place)?;
    let mut report = Report { kinds: [ReportKind::Invoice].into(), ..Report::default() };
    report.fold.writes_apart = true;
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, csv::Position::line);
        read_line(&mut report, &columns, &record, &format!("{place} line {line}"))?;
    }
    Ok(report)
}

fn read_line(report: &mut Report, columns: &Columns, record: &StringRecord, place: &str) -> Result<(), BadReport> {
    let cell = |at: usize| record.get(at).unwrap_or_default();
    let wrong = |column: &str, detail: String| BadReport::new(format!("{place} {column}"), detail);
    let day: NaiveDate = cell(columns.day)
        .parse()
        .map_err(|_| wrong("day", format!("`{}` is no day such as 2026-06-09", cell(columns.day))))?;
    let what = cell(columns.bucket);
    let item = match (what, Bucket::from_word(what)) {
        (_, Some(bucket)) => Item::Tokens(bucket),
        ("requests", None) => Item::Requests,
        (_, None) if columns.takes_any_line => Item::Cost,
        (_, None) => return Err(wrong("bucket", format!("`{what}` is no bucket"))),
    };
    let name = cell(columns.model);
    let model = if name.is_empty() && matches!(item, Item::Cost) {
        line_name(what, format!("{place} line"))?
    } else {
        model(name, format!("{place} model"))?
    };
    let quantity: Option<i64> = match (cell(columns.quantity), &item) {
        ("", _) | (_, Item::Cost) => None,
        (text, Item::Tokens(_) | Item::Requests) => {
            let count = text.parse().ok().filter(|count| *count >= 0);
            Some(count.ok_or_else(|| wrong("quantity", format!("`{text}` is not a whole number from 0 on")))?)
        }
    };
    let usd = match cell(columns.usd) {
        "" => None,
        text => Some(decimal::parse(text).ok_or_else(|| wrong("usd", format!("`{text}` is no decimal number")))?),
    };
    let workspace = columns.workspace.map(&cell).filter(|text| !text.is_empty()).map(str::to_owned);
    let row = report.row(RowKey { day, model, workspace }, place)?;
    let too_large = || wrong("quantity", "adds up to more than can be counted".to_owned());
    if let Some(usd) = usd {
        row.usd = row.usd.checked_add(usd).ok_or_else(too_large)?;
        row.cost_rows = row.cost_rows.saturating_add(1);
    }
    match (item, quantity) {
        (Item::Tokens(bucket), Some(count)) => {
            row.tokens.add(bucket, count).ok_or_else(too_large)?;
            report.token_days.insert(day);
            report.fold.reasoning_apart |= bucket == Bucket::Reasoning;
        }
        (Item::Requests, Some(count)) => {
            row.requests = row.requests.checked_add(count).ok_or_else(too_large)?;
            row.tells_requests = true;
        }
        (Item::Tokens(_) | Item::Requests | Item::Cost, _) => {}
    }
    if usd.is_some() {
        report.cost_days.insert(day);
    }
    Ok(())
}
