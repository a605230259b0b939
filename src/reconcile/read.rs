//! A body → a report: one page of a provider's report, several pages of one or two, or the text of a CSV invoice.
//!
//! A usage report and a cost report of the same days may be given together: tokens are then compared with the one, dollars
//! with the other.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::pages::{Coverage, Fields, Span};
use super::report::{BadReport, REPORT_DAYS_MAX, Report, ReportKind};
use super::{anthropic, invoice, openai};

/// Most pages of one report.
pub const REPORT_PAGES_MAX: usize = 1000;
/// The field of the body.
const BODY: &str = "report";

/// Reads a report. `named` says which it is where the body does not show it.
///
/// # Errors
/// Names the place.
pub fn read(body: &Value, named: Option<ReportKind>) -> Result<Report, BadReport> {
    let report = match body {
        Value::String(text) => {
            if let Some(other) = named.filter(|kind| *kind != ReportKind::Invoice) {
                let detail = format!("a text is an invoice, and `kind` says {}", other.name());
                return Err(BadReport::new(BODY, detail));
            }
            invoice::read(text, BODY)?
        }
        Value::Object(_) => read_pages(&[(BODY.to_owned(), body)], named)?,
        Value::Array(items) if (1..=REPORT_PAGES_MAX).contains(&items.len()) => {
            let pages: Vec<_> = items.iter().enumerate().map(|(at, page)| (format!("{BODY}[{at}]"), page)).collect();
            read_pages(&pages, named)?
        }
        Value::Array(_) => {
            return Err(BadReport::new(BODY, format!("must have 1 to {REPORT_PAGES_MAX} pages")));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            return Err(BadReport::new(BODY, "must be a page, a list of pages, or the text of a CSV invoice"));
        }
    };
    let days = report.days().len();
    if days == 0 || days > REPORT_DAYS_MAX {
        return Err(BadReport::new(BODY, format!("must tell 1 to {REPORT_DAYS_MAX} days, and tells {days}")));
    }
    Ok(report)
}

/// What is known of the pages of one kind.
#[derive(Default)]
struct Told {
    coverage: Coverage,
    ended: bool,
    last: String,
}

fn read_pages(pages: &[(String, &Value)], named: Option<ReportKind>) -> Result<Report, BadReport> {
    let mut report = Report::default();
    // Cache writes are told by Anthropic always, by OpenAI in some versions: in one of them all rows do.
    report.fold.writes_apart = true;
    let mut told: BTreeMap<ReportKind, Told> = BTreeMap::new();
    for (place, page) in pages {
        let page = Fields::of(page, place)?;
        page.only(&["data", "has_more", "next_page", "object"])?;
        let buckets = page.list("data")?;
        let kind = kind_of(&page, buckets, named)?;
        let of_kind = told.entry(kind).or_default();
        of_kind.ended |= page.get("has_more").and_then(Value::as_bool) != Some(true);
        of_kind.last = page.at("has_more");
        for (at, bucket) in buckets.iter().enumerate() {
            let place = format!("{place}.data[{at}]");
            let bucket = Fields::of(bucket, &place)?;
            let span = span_of(&bucket)?;
            of_kind.coverage.note(span, &place)?;
            read_bucket(&mut report, kind, &bucket, span)?;
        }
    }
    for (kind, told) in told {
        if !told.ended {
            return Err(BadReport::new(told.last, "is true: give the page of `next_page`, too"));
        }
        report.kinds.insert(kind);
        let days = told.coverage.days()?;
        if kind.counts_tokens() {
            report.token_days.extend(days);
        } else {
            report.cost_days.extend(days);
        }
        report.counts_requests |= kind == ReportKind::OpenAiUsage;
    }
    let anthropic =
        report.kinds.iter().any(|kind| matches!(kind, ReportKind::AnthropicUsage | ReportKind::AnthropicCosts));
    let openai = report.kinds.iter().any(|kind| matches!(kind, ReportKind::OpenAiUsage | ReportKind::OpenAiCosts));
    if anthropic && openai {
        return Err(BadReport::new(BODY, "has pages of two providers: reconcile them one by one"));
    }
    Ok(report)
}

fn kind_of(page: &Fields<'_>, buckets: &[Value], named: Option<ReportKind>) -> Result<ReportKind, BadReport> {
    let first = buckets.iter().filter_map(|bucket| bucket.get("results")?.as_array()?.first()).next();
    let by_anthropic = buckets.iter().any(|bucket| bucket.get("starting_at").is_some());
    let place = page.at("data[].results[0]");
    let found = first.and_then(|result| {
        let result = Fields::of(result, &place).ok()?;
        if by_anthropic { anthropic::detect(&result) } else { openai::detect(&result) }
    });
    match (found, named) {
        (Some(found), Some(named)) if found != named => {
            let detail = format!("has the shape of {}, and `kind` says {}", found.name(), named.name());
            Err(BadReport::new(page.place(), detail))
        }
        (Some(found), _) => Ok(found),
        (None, Some(named)) if first.is_none() && named != ReportKind::Invoice => Ok(named),
        (None, _) if first.is_none() => {
            Err(BadReport::new(page.place(), "has no result that shows which report it is: name it in `kind`"))
        }
        (None, _) => Err(BadReport::new(
            place,
            "has no known shape: send Anthropic's usage or cost report, OpenAI's completions usage or costs, or a CSV invoice",
        )),
    }
}

fn span_of(bucket: &Fields<'_>) -> Result<Span, BadReport> {
    let place = bucket.place();
    if bucket.has("starting_at") {
        bucket.only(&["starting_at", "ending_at", "results"])?;
        let instant = |name: &str| -> Result<DateTime<Utc>, BadReport> {
            let text = bucket.text(name)?.unwrap_or_default();
            text.parse().map_err(|_| bucket.wrong(name, format!("`{text}` is no RFC 3339 instant")))
        };
        return Span::new(instant("starting_at")?, instant("ending_at")?, place);
    }
    bucket.only(&["object", "start_time", "end_time", "results", "start_time_iso", "end_time_iso"])?;
    let instant = |name: &str| -> Result<DateTime<Utc>, BadReport> {
        let seconds = bucket.required_count(name)?;
        DateTime::from_timestamp(seconds, 0).ok_or_else(|| bucket.wrong(name, format!("{seconds} are no unix seconds")))
    };
    Span::new(instant("start_time")?, instant("end_time")?, place)
}

fn read_bucket(report: &mut Report, kind: ReportKind, bucket: &Fields<'_>, span: Span) -> Result<(), BadReport> {
    for (at, result) in bucket.list("results")?.iter().enumerate() {
        let place = bucket.at(&format!("results[{at}]"));
        let result = Fields::of(result, &place)?;
        let day = span.day();
        let (key, sums) = match kind {
            ReportKind::AnthropicUsage => anthropic::usage_row(&result, day)?,
            ReportKind::AnthropicCosts => anthropic::cost_row(&result, day)?,
            ReportKind::OpenAiUsage => {
                report.fold.writes_apart &= openai::tells_writes(&result);
                openai::usage_row(&result, day)?
            }
            ReportKind::OpenAiCosts => openai::cost_row(&result, day)?,
            ReportKind::Invoice => return Err(BadReport::new(place, "is no invoice")),
        };
        let row = report.row(key, &place)?;
        let too_large = || BadReport::new(&place, "adds up to more than can be counted");
        row.tokens.add_all(&sums.tokens).ok_or_else(too_large)?;
        row.requests = row.requests.checked_add(sums.requests).ok_or_else(too_large)?;
        row.usd = row.usd.checked_add(sums.usd).ok_or_else(too_large)?;
        row.cost_rows = row.cost_rows.saturating_add(sums.cost_rows);
    }
    Ok(())
}
