use rust_decimal::dec;
use serde_json::Value;

use super::*;
use crate::domain::carbon::FactorId;
use crate::domain::fixtures::{at, rates};
use crate::domain::tariff::Flags;
use crate::export::emission::tests::posted;

fn options(cut: Cut) -> GhgOptions {
    GhgOptions {
        start: Some(at("2026-10-31T15:00:00Z")),
        end: Some(at("2026-12-31T15:00:00Z")),
        zone: Zone::parse("Asia/Tokyo").unwrap(),
        cut,
        category: Scope3Category::default(),
        basis: ReportingBasis::default(),
        restated: false,
    }
}

/// Adds up and checks what holds for every table; returns the cells by column.
fn table(options: GhgOptions, emissions: &[Emission]) -> Vec<BTreeMap<&'static str, String>> {
    let mut table = GhgTable::new(options, Arc::clone(&rates().factors));
    for emission in emissions {
        table.add(emission).unwrap();
    }
    let signed = |of: fn(&Emission) -> Decimal| emissions.iter().map(|one| one.entry.signed(of(one))).sum::<Decimal>();
    assert_eq!(
        table.totals().unwrap(),
        GhgTotals {
            location: signed(|one| one.posted.usage_location.decimal()),
            market: signed(|one| one.posted.usage_market.decimal()),
            embodied: signed(|one| one.posted.embodied.decimal()),
        },
        "lines add up to what was posted, to the nanogram"
    );
    table
        .lines()
        .map(|line| {
            let cells = line.unwrap();
            assert_eq!(cells.len(), COLUMNS.len());
            COLUMNS.into_iter().zip(cells).collect()
        })
        .collect()
}

fn decimal(line: &BTreeMap<&'static str, String>, column: &str) -> Decimal {
    line[column].parse().unwrap_or_else(|error| panic!("{column} {}: {error}", line[column]))
}

#[test]
fn a_line_has_every_figure_with_its_range_method_factor_and_source() {
    let calls = [
        posted("acme/chat openai/gpt-4o region=eu-central", [1_000, 50, 10, 0, 500, 20], "2026-11-05T10:00:00Z"),
        posted("acme/chat openai/gpt-4o region=eu-central", [7, 0, 0, 0, 3, 0], "2026-11-06T10:00:00Z"),
    ];
    let lines = table(options(Cut::Month), &calls);
    let [line] = lines.as_slice() else { panic!("{lines:#?}") };
    for (column, value) in [
        ("period_start", "2026-10-31T15:00:00Z"),
        ("period_end", "2026-11-30T15:00:00Z"),
        ("grid_zone", "DEU"),
        ("entry", "activity"),
        ("requests", "2"),
        ("input_tokens", "1007"),
        ("cached_input_tokens", "50"),
        ("cache_write_tokens", "10"),
        ("output_tokens", "523"),
        ("scope3_category", "3.1"),
        ("mb_method", "contractual"),
        ("range_method", "recomputed"),
        ("data_quality_tier", "3"),
        ("method", "extended"),
        ("model_version", "extended-1"),
        ("factor_set_id", "test"),
        ("factor_row", "12"),
        ("mb_factor_row", "13"),
        ("model_factor_row", "1"),
        ("esrs_datapoint", "E1-6_11"),
        ("reporting_basis", "location_based"),
    ] {
        assert_eq!(line[column], value, "{column}");
    }
    let kilograms: Decimal =
        calls.iter().map(|call| call.posted.usage_location.decimal() / dec!(1000)).sum::<Decimal>().normalize();
    assert_eq!(decimal(line, "lb_usage_kgco2e"), kilograms);
    for figure in
        ["energy_kwh", "lb_usage_kgco2e", "mb_usage_kgco2e", "embodied_kgco2e", "total_lb_kgco2e", "total_mb_kgco2e"]
    {
        let (min, max) = (decimal(line, &format!("{figure}_min")), decimal(line, &format!("{figure}_max")));
        assert!(min < decimal(line, figure) && decimal(line, figure) < max, "{figure}");
    }
    assert_eq!(decimal(line, "reported_kgco2e"), decimal(line, "total_lb_kgco2e"));
    assert_eq!(decimal(line, "total_lb_kgco2e"), kilograms + decimal(line, "embodied_kgco2e"));
    let market = table(GhgOptions { basis: ReportingBasis::Market, ..options(Cut::Month) }, &calls);
    assert_eq!(decimal(&market[0], "reported_kgco2e"), decimal(line, "total_mb_kgco2e"));
    assert!(
        decimal(line, "total_mb_kgco2e") < decimal(line, "total_lb_kgco2e"),
        "the contract is cleaner than the grid"
    );
}

#[test]
fn lines_are_cut_at_the_zones_months_and_days_and_at_the_ends_of_the_period() {
    let calls = [
        posted("acme/chat openai/gpt-4o", [1, 0, 0, 0, 1, 0], "2026-11-30T14:59:59Z"),
        posted("acme/chat openai/gpt-4o", [1, 0, 0, 0, 1, 0], "2026-11-30T15:00:00Z"),
    ];
    let starts = |cut| table(options(cut), &calls).iter().map(|line| line["period_start"].clone()).collect::<Vec<_>>();
    assert_eq!(starts(Cut::Month), ["2026-10-31T15:00:00Z", "2026-11-30T15:00:00Z"]);
    assert_eq!(starts(Cut::Day), ["2026-11-29T15:00:00Z", "2026-11-30T15:00:00Z"]);
    assert_eq!(starts(Cut::Period), ["2026-10-31T15:00:00Z"]);
    let half = GhgOptions { start: Some(at("2026-11-15T00:00:00Z")), ..options(Cut::Month) };
    assert_eq!(table(half, &calls)[0]["period_start"], "2026-11-15T00:00:00Z", "a month that is cut by the period");
}

#[test]
fn a_factor_set_that_is_replaced_shows_as_reversal_and_new_posting() {
    let first = posted("acme/chat openai/gpt-4o region=us-east", [1_000, 0, 0, 0, 500, 0], "2026-11-05T10:00:00Z");
    let reversal = Emission { entry: Entry::Reversal, ..first.clone() };
    // The same call by the rows of another grid, as a new factor set would have it.
    let other = posted("acme/chat openai/gpt-4o region=eu-central", [1_000, 0, 0, 0, 500, 0], "2026-11-05T10:00:00Z");
    let anew = Emission {
        entry: Entry::Restatement,
        region: first.region.clone(),
        factors: RecordedFactors { market: None, ..other.factors },
        posted: crate::domain::carbon::CarbonGrams { usage_market: other.posted.usage_location, ..other.posted },
        ..first.clone()
    };
    let lines = table(options(Cut::Month), &[first.clone(), reversal, anew.clone()]);
    let entries: Vec<(&str, &str)> =
        lines.iter().map(|line| (line["entry"].as_str(), line["factor_row"].as_str())).collect();
    assert_eq!(entries, [("activity", "11"), ("reversal", "11"), ("restatement", "12")]);
    for column in ["requests", "output_tokens", "energy_kwh", "lb_usage_kgco2e_min", "embodied_kgco2e_max"] {
        assert_eq!(decimal(&lines[0], column), -decimal(&lines[1], column), "{column} is taken back");
    }
    assert_eq!(lines[2]["range_method"], "recomputed", "the new posting stands on its own rows");
    let reported: Decimal = lines.iter().map(|line| decimal(line, "reported_kgco2e")).sum();
    assert_eq!(reported, decimal(&lines[2], "reported_kgco2e"));
}

#[test]
fn what_no_row_is_known_of_is_declared_and_of_the_lowest_tier() {
    let mut call = posted("acme/chat openai/gpt-4o", [0, 0, 0, 0, 100, 0], "2026-11-05T10:00:00Z");
    call.factors = RecordedFactors { model: None, grid: None, market: None, ..call.factors };
    call.flags = Flags::MODEL_FACTOR_FALLBACK.with(Flags::LATE);
    let line = &table(options(Cut::Period), &[call])[0];
    for (column, value) in [
        ("grid_zone", "WOR"),
        ("factor_set_id", "declared-world-average"),
        ("factor_row", ""),
        ("model_factor_set_id", "declared-worst-model"),
        ("mb_method", "location_fallback"),
        ("data_quality_tier", "3"),
        ("fallbacks", "model_factor_fallback"),
        ("range_method", "proportional"),
    ] {
        assert_eq!(line[column], value, "{column}");
    }
}

#[test]
fn an_adjustment_that_names_no_rows_is_read_by_those_of_its_date() {
    let call = posted("acme/chat openai/gpt-4o region=us-east", [1_000, 0, 0, 0, 500, 0], "2026-11-05T10:00:00Z");
    let unnamed = RecordedFactors { model: None, grid: None, market: None, ..call.factors };
    let back = Emission { entry: Entry::Reversal, factors: unnamed, ..call.clone() };
    let lines = table(options(Cut::Month), &[call, back]);
    assert_eq!((lines[1]["factor_row"].as_str(), lines[1]["range_method"].as_str()), ("11", "recomputed"));
    for column in ["energy_kwh_max", "lb_usage_kgco2e_min", "embodied_kgco2e"] {
        assert_eq!(decimal(&lines[0], column), -decimal(&lines[1], column), "{column} is taken back");
    }
}

#[test]
fn a_row_that_the_book_does_not_have_leaves_the_posted_figure_alone() {
    let mut call = posted("acme/chat openai/gpt-4o", [0, 0, 0, 0, 100, 0], "2026-11-05T10:00:00Z");
    call.factors.grid = Some(FactorId(9_999));
    let line = &table(options(Cut::Period), std::slice::from_ref(&call))[0];
    assert_eq!(decimal(line, "lb_usage_kgco2e") * dec!(1000), call.posted.usage_location.decimal());
}

#[test]
fn the_published_schema_names_the_columns_in_their_order() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let fields = schema["fields"].as_array().unwrap();
    let names: Vec<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(names, COLUMNS);
    assert!(fields.iter().all(|field| field["description"].as_str().is_some_and(|text| text.ends_with('.'))));
}
