//! What if.

use super::super::question::Source;
use super::super::what_if::{Whose, routed, scaled, with_tenant_like, without_tenant};
use super::*;
use crate::domain::id::FeatureId;

const NOW: &str = "2026-11-20T00:00:00Z";

fn featured(name: &str, feature: &str, zone_name: &str) -> Source {
    let feature = Some(FeatureId::parse(feature).unwrap());
    Source { feature, ..source(name, zone_name, "2026-08-01T00:00:00Z", NOW, office(zone_name)) }
}

fn expected(sources: Vec<Source>) -> f64 {
    let mut asked = Asked::new(sources, NOW, 1e6);
    asked.posted = 0.0;
    asked.project().expected_at_reset.expected
}

#[test]
fn use_scales_and_routes_as_the_ratio_says() {
    let sources = vec![featured("acme", "chat", "Europe/Berlin"), featured("acme", "search", "Europe/Berlin")];
    let before = expected(sources.clone());
    let chat = Whose { tenant: None, feature: Some(FeatureId::parse("chat").unwrap()) };
    close(expected(scaled(&sources, &chat, 3.0)) / before, 2.0, 1e-6);
    // 30 % of half of the use goes to a model at a fifth of the price.
    close(expected(routed(&sources, &chat, 0.3, 0.2)) / before, 1.0 - 0.5 * 0.3 * 0.8, 1e-6);
    close(expected(routed(&sources, &Whose::default(), 1.0, 0.2)) / before, 0.2, 1e-6);
    close(expected(routed(&sources, &Whose::default(), 7.0, f64::NAN)), 0.0, 1e-9);
    let other = Whose { tenant: Some(tenant("other")), feature: None };
    close(expected(scaled(&sources, &other, 3.0)), before, 1e-9);
}

#[test]
fn a_tenant_like_another_works_by_its_own_wall() {
    let sources = vec![featured("acme", "chat", "Europe/Berlin")];
    let both = with_tenant_like(&sources, &tenant("acme"), &tenant("novo"), zone("America/Sao_Paulo"), 2.0).unwrap();
    assert_eq!(both.len(), 2);
    let mut asked = Asked::new(both.clone(), NOW, 1e6);
    asked.sources.remove(0);
    let found = asked.project();
    let at_nine = found.path.iter().find(|hour| hour.start == at("2026-11-24T12:00:00Z")).unwrap().expected;
    let at_six = found.path.iter().find(|hour| hour.start == at("2026-11-24T09:00:00Z")).unwrap().expected;
    close(at_nine, 20.0, 2.0);
    assert!(at_six < 1.0, "six in the morning there: {at_six}");
    assert_eq!(without_tenant(&both, &tenant("novo")), sources);
    assert_eq!(with_tenant_like(&sources, &tenant("nobody"), &tenant("novo"), Zone::UTC, 1.0), None);
}

#[test]
fn an_earlier_reset_leaves_less_to_expect() {
    let asked = Asked::new(vec![featured("acme", "chat", "Europe/Berlin")], NOW, 1e6);
    let sooner = Question { reset: Some(at("2026-11-25T00:00:00Z")), ..asked.question() };
    let found = project(&sooner);
    close(found.expected_at_reset.expected - asked.posted, 3.0 * 90.0, 30.0);
    assert_eq!(found.path.len(), 120);
}
