//! `GET /v1/exports/sci`: intensities that tie to the books, as a table and as a manifest.

use rust_decimal::{Decimal, dec};

use super::{export, trial_balance};
use crate::books::world;

#[tokio::test]
async fn intensity_times_units_is_the_carbon_of_the_books() {
    let service = world().await;
    let file = export(&service, "/v1/exports/sci?period=2026-03&zone=Etc/UTC").await;
    let balance = trial_balance(&service, None).await;
    let grams = |unit: &str| balance.iter().find(|(name, _)| name == unit).unwrap().1;
    let units = dec!(3);
    assert_eq!(file.sum("operational_gco2e"), grams("gco2e_usage_location") * units, "each feature has three lines");
    assert_eq!(file.sum("embodied_gco2e"), grams("gco2e_embodied") * units);
    let decimals =
        |column: &str| -> Vec<Decimal> { file.column(column).iter().map(|cell| cell.parse().unwrap()).collect() };
    let (carbon, sci, counted) =
        (decimals("carbon_gco2e"), decimals("sci_gco2e_per_unit"), decimals("functional_units"));
    for ((carbon, sci), counted) in carbon.iter().zip(&sci).zip(&counted) {
        assert!((sci * counted - carbon).abs() < dec!(0.000000000001), "{sci} x {counted} = {carbon}");
    }
    assert!(file.column("range_method").iter().all(|method| method == "recomputed"));
}

#[tokio::test]
async fn the_manifest_has_a_component_for_each_feature_with_the_tables_figures() {
    let service = world().await;
    let table = export(&service, "/v1/exports/sci?period=2026-03").await;
    let manifest = export(&service, "/v1/exports/sci?period=2026-03&format=manifest").await;
    assert_eq!(manifest.header("content-type"), "application/yaml; charset=utf-8");
    assert!(manifest.header("content-disposition").contains("sci_all_2026-03-01_2026-04-01.yml"));
    let (tenants, features) = (table.column("tenant_id"), table.column("feature"));
    let (energy, embodied) = (table.column("energy_kwh"), table.column("embodied_gco2e"));
    for line in (0..tenants.len()).step_by(3) {
        let component = format!("\"{}/{}\":", tenants[line], features[line]);
        let after = manifest.text().split(&component).nth(1).unwrap_or_else(|| panic!("no {component}"));
        let figures = after.lines().find(|line| line.contains("timestamp")).unwrap();
        assert!(figures.contains(&format!("energy: {}, ", energy[line])), "{figures}");
        assert!(figures.contains(&format!("carbon-embodied: {}, ", embodied[line])), "{figures}");
    }
    assert_eq!(manifest.text().matches("timestamp").count(), tenants.len() / 3);
}
