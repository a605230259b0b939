//! What a back-test found: medians, coverage, Brier scores.

use std::collections::BTreeMap;

use super::super::number::{index, real};
use super::straight::Method;
use super::{Kind, Trial};

/// The errors of one method on one day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MethodErrors {
    /// The method.
    pub method: Method,
    /// Median distance from the truth, in hours.
    pub median: f64,
    /// One in ten is further away, in hours.
    pub p90: f64,
}

/// The forecasts of one case on one day of its periods.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The case.
    pub case: String,
    /// Its kind.
    pub kind: Kind,
    /// The day; `None` is all days.
    pub day: Option<u32>,
    /// Forecasts under limits that were reached.
    pub forecasts: usize,
    /// The errors of each method.
    pub errors: Vec<MethodErrors>,
    /// The share of truths that lay in the 80 % band.
    pub coverage: f64,
    /// The median width of the bands that ended before the reset, in hours; `None` where none did.
    pub width: Option<f64>,
    /// The share of bands that did not.
    pub open: f64,
    /// Brier score of the probability, over limits that were reached and limits that were not.
    pub brier: f64,
    /// Brier score of the straight line's yes or no.
    pub brier_straight: f64,
}

impl Row {
    /// The median error of a method, in hours.
    #[must_use]
    pub fn median(&self, method: Method) -> Option<f64> {
        self.errors.iter().find(|errors| errors.method == method).map(|errors| errors.median)
    }

    /// The median error of the forecast beside that of the straight line.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let (forecast, straight) = (self.median(Method::HourOfWeek)?, self.median(Method::MonthToDate)?);
        (straight > 0.0).then(|| forecast / straight)
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// By case and day, and for each case over all days.
    pub rows: Vec<Row>,
    /// Over everything.
    pub pooled: Row,
}

impl Report {
    /// The row of a case on a day; `None` is over all days.
    #[must_use]
    pub fn row(&self, case: &str, day: Option<u32>) -> Option<&Row> {
        self.rows.iter().find(|row| row.case == case && row.day == day)
    }
}

/// Puts trials together.
#[must_use]
pub fn summarise(trials: &[Trial]) -> Report {
    let mut groups: BTreeMap<(Kind, &str, Option<u32>), Vec<&Trial>> = BTreeMap::new();
    for trial in trials {
        for day in [Some(trial.day), None] {
            groups.entry((trial.kind, &trial.case, day)).or_default().push(trial);
        }
    }
    let rows = groups.into_iter().map(|((kind, case, day), trials)| row(case, kind, day, &trials)).collect();
    Report { rows, pooled: row("all", Kind::Own, None, &trials.iter().collect::<Vec<_>>()) }
}

fn row(case: &str, kind: Kind, day: Option<u32>, trials: &[&Trial]) -> Row {
    let reached: Vec<&&Trial> = trials.iter().filter(|trial| trial.truth.is_some()).collect();
    let errors = |method: Method| {
        let of = |trial: &&&Trial| trial.errors.iter().find(|(its, _)| *its == method).map(|(_, error)| *error);
        let errors: Vec<f64> = reached.iter().filter_map(of).collect();
        MethodErrors { method, median: quantile(&errors, 0.5), p90: quantile(&errors, 0.9) }
    };
    let widths: Vec<f64> = reached.iter().filter_map(|trial| trial.width).collect();
    let squared = |said: &dyn Fn(&Trial) -> f64| {
        let of = |trial: &&Trial| {
            let apart = said(trial) - if trial.truth.is_some() { 1.0 } else { 0.0 };
            apart * apart
        };
        mean(&trials.iter().map(of).collect::<Vec<_>>())
    };
    let covered = |trial: &&&Trial| if trial.covered == Some(true) { 1.0 } else { 0.0 };
    Row {
        case: case.to_owned(),
        kind,
        day,
        forecasts: reached.len(),
        errors: Method::ALL.into_iter().map(errors).collect(),
        coverage: mean(&reached.iter().map(covered).collect::<Vec<_>>()),
        open: 1.0 - real(widths.len()) / real(reached.len()).max(1.0),
        width: (!widths.is_empty()).then(|| quantile(&widths, 0.5)),
        brier: squared(&|trial| trial.probability),
        brier_straight: squared(&|trial| trial.straight),
    }
}

/// The mean; 0 of none.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / real(values.len()).max(1.0)
}

/// A quantile, between two values where it falls there; 0 of none.
#[must_use]
pub fn quantile(values: &[f64], level: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = level * real(sorted.len().saturating_sub(1));
    let lower = sorted.get(index(place)).copied().unwrap_or(0.0);
    let upper = sorted.get(index(place).saturating_add(1)).copied().unwrap_or(lower);
    lower + (upper - lower) * (place - place.floor())
}
