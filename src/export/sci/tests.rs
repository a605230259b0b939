use rust_decimal::dec;

use super::*;
use crate::domain::fixtures::{at, rates};
use crate::export::emission::Entry;
use crate::export::emission::tests::posted;

fn table(emissions: &[Emission]) -> SciTable {
    let period = SciPeriod { start: Some(at("2026-11-01T00:00:00Z")), end: Some(at("2026-12-01T00:00:00Z")) };
    let mut table = SciTable::new(period, Arc::clone(&rates().factors));
    for emission in emissions {
        table.add(emission).unwrap();
    }
    table
}

fn lines(table: &SciTable) -> Vec<BTreeMap<&'static str, String>> {
    let lines = table.lines().unwrap();
    assert!(lines.iter().all(|line| line.len() == COLUMNS.len()));
    lines.into_iter().map(|line| COLUMNS.into_iter().zip(line).collect()).collect()
}

fn decimal(line: &BTreeMap<&'static str, String>, column: &str) -> Decimal {
    line[column].parse().unwrap_or_else(|error| panic!("{column} {}: {error}", line[column]))
}

/// One feature on two grids.
fn calls() -> [Emission; 3] {
    [
        posted("acme/chat openai/gpt-4o region=us-east", [1_000, 0, 0, 0, 500, 100], "2026-11-05T10:00:00Z"),
        posted("acme/chat openai/gpt-4o-mini region=eu-central", [9, 0, 0, 0, 900, 0], "2026-11-06T10:00:00Z"),
        posted("acme/search anthropic/claude-sonnet-4-5", [70, 0, 0, 0, 30, 0], "2026-11-06T10:00:00Z"),
    ]
}

#[test]
fn intensity_is_operational_plus_embodied_per_unit() {
    let calls = calls();
    let table = table(&calls);
    let lines = lines(&table);
    assert_eq!(lines.len(), 6, "two features, three units");
    let (operational, embodied) = table.totals().unwrap();
    assert_eq!(operational, calls.iter().map(|call| call.posted.usage_location.decimal()).sum::<Decimal>());
    assert_eq!(embodied, calls.iter().map(|call| call.posted.embodied.decimal()).sum::<Decimal>());
    for (line, (unit, units)) in
        lines.iter().zip([("1000_output_tokens", dec!(1.5)), ("request", dec!(2)), ("feature", dec!(1))])
    {
        assert_eq!((line["feature"].as_str(), line["functional_unit"].as_str()), ("chat", unit));
        assert_eq!(decimal(line, "functional_units"), units);
        let carbon = decimal(line, "operational_gco2e") + decimal(line, "embodied_gco2e");
        assert_eq!(decimal(line, "carbon_gco2e"), carbon);
        assert!((decimal(line, "sci_gco2e_per_unit") * units - carbon).abs() < dec!(0.00000000000001));
        assert!(decimal(line, "sci_gco2e_per_unit_min") < decimal(line, "sci_gco2e_per_unit"));
        assert!(decimal(line, "sci_gco2e_per_unit") < decimal(line, "sci_gco2e_per_unit_max"));
        let again = decimal(line, "energy_kwh") * decimal(line, "grid_gco2e_per_kwh");
        assert!((again - decimal(line, "operational_gco2e")).abs() < dec!(0.00000001), "E x I is what was posted");
        let grid = decimal(line, "grid_gco2e_per_kwh");
        assert!(dec!(330) < grid && grid < dec!(384), "{grid} lies between the two grids");
    }
}

#[test]
fn a_unit_of_which_there_are_none_has_no_figure() {
    let table = table(&[posted("acme/embed openai/gpt-4o", [1_000, 0, 0, 0, 0, 0], "2026-11-05T10:00:00Z")]);
    let line = &lines(&table)[0];
    assert_eq!(line["functional_unit"], "1000_output_tokens");
    assert_eq!(line["sci_gco2e_per_unit"], "");
    let manifest = manifest(&table);
    assert!(
        manifest.contains(r#"compute: ["operational", "carbon", "sci-per-request", "sci-per-feature"]"#),
        "{manifest}"
    );
}

#[test]
fn what_is_reversed_counts_nowhere() {
    let [call, ..] = calls();
    let line = &lines(&table(&[call.clone(), Emission { entry: Entry::Reversal, ..call.clone() }, call.clone()]))[1];
    assert_eq!(line["requests"], "1");
    assert_eq!(decimal(line, "operational_gco2e"), call.posted.usage_location.decimal());
}

#[test]
fn the_manifest_has_the_figures_of_the_table_and_is_one_document() {
    let table = table(&calls());
    let text = manifest(&table);
    let line = &lines(&table)[0];
    assert!(text.contains(&format!("energy: {}, ", line["energy_kwh"])), "{text}");
    assert!(text.contains(&format!("carbon-embodied: {}, ", line["embodied_gco2e"])));
    assert!(text.contains("output-kilotokens: 1.5, requests: 2, features: 1}"));
    assert!(text.contains("duration: 2592000"));
    assert_eq!(text.matches("timestamp:").count(), 2);
    let empty = manifest(&SciTable::new(SciPeriod::default(), Arc::clone(&rates().factors)));
    assert!(empty.contains("\"nothing\":"));
}
