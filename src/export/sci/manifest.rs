//! The same figures as a manifest of the Impact Framework, which computes them again: `if-run --manifest sci.yml`.
//!
//! One component for each feature, with one observation of the whole period: energy, grid factor, embodied emissions and
//! units go in, operational emissions, carbon and `sci` per unit come out. Every plugin is one that the framework brings.
//!
//! Strings are written as JSON strings, which YAML reads as they are, whatever an id holds. Without `parameter-metadata` the
//! framework aggregates by copying the last value, so it is given for everything that is added up.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;

use super::{FunctionalUnit, SciTable, number};

/// Seconds of the observation of a period without an end or a beginning: the framework wants at least one.
const SECONDS_MIN: i64 = 1;

/// What does not depend on the books. Version 1.1.0 of the framework reads it.
const PLUGINS: &str = r#"initialize:
  plugins:
    operational:
      path: "builtin"
      method: "Multiply"
      config:
        input-parameters: ["energy", "grid/carbon-intensity"]
        output-parameter: "carbon-operational"
      parameter-metadata:
        inputs:
          energy: {unit: "kWh", description: "E", aggregation-method: {time: "sum", component: "sum"}}
          grid/carbon-intensity: {unit: "gCO2eq/kWh", description: "I", aggregation-method: {time: "avg", component: "avg"}}
        outputs:
          carbon-operational: {unit: "gCO2eq", description: "E x I", aggregation-method: {time: "sum", component: "sum"}}
    carbon:
      path: "builtin"
      method: "Sum"
      config:
        input-parameters: ["carbon-operational", "carbon-embodied"]
        output-parameter: "carbon"
      parameter-metadata:
        inputs:
          carbon-operational: {unit: "gCO2eq", description: "E x I", aggregation-method: {time: "sum", component: "sum"}}
          carbon-embodied: {unit: "gCO2eq", description: "M", aggregation-method: {time: "sum", component: "sum"}}
        outputs:
          carbon: {unit: "gCO2eq", description: "E x I + M", aggregation-method: {time: "sum", component: "sum"}}
"#;

const fn plugin(unit: FunctionalUnit) -> &'static str {
    match unit {
        FunctionalUnit::OutputKilotokens => "sci-per-1000-output-tokens",
        FunctionalUnit::Request => "sci-per-request",
        FunctionalUnit::Feature => "sci-per-feature",
    }
}

const fn parameter(unit: FunctionalUnit) -> &'static str {
    match unit {
        FunctionalUnit::OutputKilotokens => "output-kilotokens",
        FunctionalUnit::Request => "requests",
        FunctionalUnit::Feature => "features",
    }
}

/// A string as JSON and YAML both read it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The manifest.
#[must_use]
pub fn manifest(table: &SciTable) -> String {
    let period = table.period;
    let start = period.start.unwrap_or(DateTime::<Utc>::UNIX_EPOCH);
    let seconds = period.end.map_or(SECONDS_MIN, |end| end.signed_duration_since(start).num_seconds());
    let (timestamp, seconds) = (start.to_rfc3339_opts(SecondsFormat::Millis, true), seconds.max(SECONDS_MIN));
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = write!(
        out,
        "name: \"software carbon intensity of model calls\"\n\
         description: \"{}, by tenant and feature; made by counterfoil {}\"\n\
         tags:\n  standard: \"{}\"\n{PLUGINS}",
        super::STANDARD,
        env!("CARGO_PKG_VERSION"),
        super::STANDARD,
    );
    for unit in FunctionalUnit::ALL {
        let (plugin, parameter) = (plugin(unit), parameter(unit));
        let _ = write!(
            out,
            "    {plugin}:\n      path: \"builtin\"\n      method: \"Sci\"\n      config:\n        \
             functional-unit: \"{parameter}\"\n      mapping:\n        sci: \"{plugin}\"\n",
        );
    }
    out.push_str(
        "aggregation:\n  metrics: [\"carbon\", \"carbon-operational\", \"carbon-embodied\", \"energy\"]\n  type: \"both\"\n",
    );
    out.push_str("tree:\n  children:\n");
    if table.features.is_empty() {
        // A tree without children is none to the framework.
        component(&mut out, "nothing", &timestamp, seconds, &Observation::default());
    }
    for ((tenant, name), feature) in &table.features {
        let observation = Observation {
            energy: feature.energy.mid,
            intensity: feature.intensity(),
            embodied: feature.embodied.mid,
            carbon: feature.operational.mid.saturating_add(feature.embodied.mid),
            units: FunctionalUnit::ALL.map(|unit| feature.units(unit)),
        };
        component(&mut out, &format!("{tenant}/{name}"), &timestamp, seconds, &observation);
    }
    out
}

#[derive(Default)]
struct Observation {
    energy: Decimal,
    intensity: Decimal,
    embodied: Decimal,
    carbon: Decimal,
    units: [Decimal; 3],
}

fn component(out: &mut String, name: &str, timestamp: &str, seconds: i64, observation: &Observation) {
    let units = || FunctionalUnit::ALL.into_iter().zip(observation.units);
    // Of a unit of which there are none, the framework would call the whole carbon the carbon of one.
    // Nor does it take carbon below zero, which a period has that only takes back what another one said.
    let counts_up = |count: &Decimal| *count > Decimal::ZERO && observation.carbon >= Decimal::ZERO;
    let counted = units().filter(|(_, count)| counts_up(count)).map(|(unit, _)| plugin(unit));
    let compute: Vec<String> = ["operational", "carbon"].into_iter().chain(counted).map(quoted).collect();
    let counts: String = units().map(|(unit, count)| format!(", {}: {}", parameter(unit), number(count))).collect();
    let _ = write!(
        out,
        "    {}:\n      pipeline:\n        compute: [{}]\n      inputs:\n        \
         - {{timestamp: {}, duration: {seconds}, energy: {}, grid/carbon-intensity: {}, carbon-embodied: {}{counts}}}\n",
        quoted(name),
        compute.join(", "),
        quoted(timestamp),
        number(observation.energy),
        number(observation.intensity),
        number(observation.embodied),
    );
}
