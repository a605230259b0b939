//! Models without a price and calls without a factor: they are estimated by a fallback, which may be far off.
//!
//! What counts is the newest call: as long as it needed the fallback the alert fires, and the first that did not clears it.

use super::counters::encoded;
use super::kind::{AlertKind, Severity};
use super::{Alert, Cause, Figure, Level, Reading, Subject};
use crate::domain::id::{ModelId, ProviderId, RegionId};
use crate::domain::tariff::Flags;

/// Calls of one model in one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatesFact {
    /// Who served them.
    pub provider: ProviderId,
    /// With what.
    pub model: ModelId,
    /// Where, if that is known.
    pub region: Option<RegionId>,
    /// How many there were.
    pub calls: u64,
    /// What is remarkable about the newest of them.
    pub newest: Flags,
    /// Whether it is newer than those of the other regions of the model.
    pub newest_of_model: bool,
}

/// What calls of a model in a region tell: whether it has a price, whether it has parameters, whether the place has a grid.
#[must_use]
pub fn read(fact: &RatesFact) -> Vec<Reading> {
    let level = |flag| if fact.newest.contains(flag) { Level::Firing } else { Level::Quiet };
    let mut readings = vec![Reading::of(no_grid(fact), level(Flags::GRID_FACTOR_FALLBACK))];
    // The price and the parameters are the model's, wherever it was called.
    if fact.newest_of_model {
        readings.push(Reading::of(no_price(fact), level(Flags::UNPRICED)));
        readings.push(Reading::of(no_parameters(fact), level(Flags::MODEL_FACTOR_FALLBACK)));
    }
    readings
}

fn about(fact: &RatesFact, kind: AlertKind, parts: &[&str]) -> Alert {
    Alert {
        cause: Cause::new(kind, parts),
        kind,
        severity: Severity::Warning,
        subject: Subject {
            provider: Some(fact.provider.clone()),
            model: Some(fact.model.clone()),
            ..Subject::default()
        },
        message: String::new(),
        advice: String::new(),
        figures: vec![("calls", Figure::Count(fact.calls))],
        links: vec![("usage", format!("/v1/usage?group_by=model,tenant&provider={}", fact.provider))],
        ends_at: None,
    }
}

fn no_price(fact: &RatesFact) -> Alert {
    let mut alert = about(fact, AlertKind::UnpricedModel, &[fact.provider.as_str(), fact.model.as_str()]);
    alert.message = format!(
        "calls to {} of {} have no price: they are charged by the worst known price of the provider",
        fact.model, fact.provider
    );
    alert.advice = "Add the price with POST /v1/prices; calls from then on are charged by it.".to_owned();
    alert
        .links
        .push(("prices", format!("/v1/prices?provider={}&model={}", fact.provider, encoded(fact.model.as_str()))));
    alert
}

fn no_parameters(fact: &RatesFact) -> Alert {
    let mut alert = about(fact, AlertKind::UnknownFactor, &["model", fact.provider.as_str(), fact.model.as_str()]);
    alert.message = format!(
        "nothing is known of the size of {} of {}: its grams are computed by a fallback",
        fact.model, fact.provider
    );
    alert.advice = "Add its parameters with POST /v1/factors; calls from then on are computed by them.".to_owned();
    alert.links.push(("factors", "/v1/factors".to_owned()));
    alert
}

fn no_grid(fact: &RatesFact) -> Alert {
    let region = fact.region.as_ref().map_or("", RegionId::as_str);
    let mut alert = about(fact, AlertKind::UnknownFactor, &["grid", fact.provider.as_str(), region]);
    alert.severity = Severity::Info;
    alert.subject.model = None;
    alert.message = match &fact.region {
        Some(region) => {
            format!(
                "no grid factor is known for region {region} of {}: its grams are computed by a fallback",
                fact.provider
            )
        }
        None => format!("calls to {} name no region: their grams are computed by a fallback", fact.provider),
    };
    alert.advice = match &fact.region {
        Some(_) => "Add the grid factor of the region with POST /v1/factors.".to_owned(),
        None => "Send `region` with each call, or add a default for the provider with POST /v1/factors.".to_owned(),
    };
    alert.figures.extend(fact.region.as_ref().map(|region| ("region", Figure::Word(region.to_string()))));
    alert.links.push(("factors", "/v1/factors".to_owned()));
    alert
}
