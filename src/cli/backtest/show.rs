//! The report of a back-test, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::distributions;
use crate::cli::table::Look;
use crate::domain::forecast::PastError;
use crate::domain::forecast::backtest::straight::Method;
use crate::domain::forecast::backtest::{Report, Row};
use crate::domain::forecast::errors::{ErrorClass, Quantiles};

/// The errors of one class over one horizon.
pub(super) struct Distribution {
    pub(super) class: ErrorClass,
    pub(super) hours: u32,
    pub(super) count: usize,
    pub(super) independent: f64,
    pub(super) quantiles: Option<Quantiles>,
}

/// Tables: errors in hours, then bands and probabilities.
pub(super) fn text(report: &Report, look: Look) -> String {
    let mut columns = vec!["series", ">day", ">forecasts"];
    columns.extend([">hour_of_week", ">month_to_date", ">last_24_h", ">last_7_d", ">seasonal_naive", ">ratio"]);
    let mut errors = look.table(&columns);
    let mut bands =
        look.table(&["series", ">day", ">in 80% band", ">median width", ">open bands", ">Brier", ">Brier of the line"]);
    for row in report.rows.iter().chain([&report.pooled]) {
        let day = row.day.map_or("all".to_owned(), |day| day.to_string());
        let mut cells = vec![row.case.clone(), day.clone(), row.forecasts.to_string()];
        cells.extend(row.errors.iter().map(|errors| format!("{:.1} ({:.0})", errors.median, errors.p90)));
        cells.push(row.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
        errors.add_row(cells);
        bands.add_row([
            row.case.clone(),
            day,
            format!("{:.0}%", row.coverage * 100.0),
            row.width.map_or("-".to_owned(), |width| format!("{width:.0} h")),
            format!("{:.0}%", row.open * 100.0),
            format!("{:.3}", row.brier),
            format!("{:.3}", row.brier_straight),
        ]);
    }
    let mut text = String::new();
    let said = [
        ("Hours from the projected to the real instant: median (90th percentile)", errors.to_string()),
        ("Bands and probabilities", bands.to_string()),
    ];
    for (headline, table) in said {
        // A page of text does not fail to be written.
        let _ = writeln!(text, "{}\n{table}\n", look.headline(headline));
    }
    text.push_str(
        "ratio: median error of hour_of_week beside month_to_date. Open bands end after the reset. Brier: 0 is best, and\n\
         0.25 what a coin gets; that of the line is of its yes or no.\n",
    );
    text
}

/// The same for programs.
pub(super) fn json(report: &Report) -> Value {
    let row = |row: &Row| {
        let error = |method: Method| {
            let found = row.errors.iter().find(|errors| errors.method == method);
            json!({ "method": method.name(), "median_h": found.map(|errors| errors.median), "p90_h": found.map(|errors| errors.p90) })
        };
        json!({
            "series": row.case,
            "kind": row.kind.name(),
            "day": row.day,
            "forecasts": row.forecasts,
            "errors": Method::ALL.map(error),
            "ratio": row.ratio(),
            "coverage": row.coverage,
            "width_h": row.width,
            "open": row.open,
            "brier": row.brier,
            "brier_straight": row.brier_straight,
        })
    };
    json!({ "rows": report.rows.iter().map(row).collect::<Vec<_>>(), "pooled": row(&report.pooled) })
}

/// The built-in table as code. Where a class has no errors over a horizon, those over the one before stand again.
pub(super) fn errors(errors: &[PastError]) -> String {
    let mut text = String::new();
    let mut before: Option<(ErrorClass, Quantiles)> = None;
    for Distribution { class, hours, count, independent, quantiles } in distributions(errors) {
        if before.is_none_or(|(of, _)| of != class) {
            let _ = writeln!(text, "// {}", class.name());
        }
        let again = before.filter(|(of, _)| *of == class).map(|(_, quantiles)| quantiles);
        let (found, note) = match quantiles {
            Some(quantiles) => (quantiles, format!("{count} errors, {independent:.0} independent")),
            None => (again.unwrap_or_default(), "as before".to_owned()),
        };
        before = Some((class, found));
        let numbers = found.map(|value| format!("{value:.3}")).join(", ");
        let _ = writeln!(text, "[{numbers}], // {hours} h: {note}");
    }
    text
}
