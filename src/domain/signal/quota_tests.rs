use std::collections::BTreeMap;

use super::*;
use crate::domain::budget::catalogue::BudgetNumber;
use crate::domain::budget::scope::ModelScope;
use crate::domain::fixtures::{at, budget};

fn quota(number: i32, text: &str, of: &str, model: &str) -> Budget {
    let mut one = budget(number, text);
    one.kind = BudgetKind::Quota;
    one.scope.provider = Some(ProviderId::parse(of).unwrap());
    one.scope.model = ModelId::parse(model).ok().map(ModelScope::One);
    one
}

const NOON: &str = "2026-06-10T12:00:00Z";

/// A refusal, as far as these tests tell them apart.
#[derive(Clone, Copy)]
struct Refused<'a> {
    named: Option<&'a str>,
    model: &'a str,
    reported: Option<&'a str>,
    period: Option<LimitPeriod>,
    at: &'a str,
    now: &'a str,
}

const REFUSED: Refused<'static> =
    Refused { named: None, model: "pro", reported: None, period: None, at: NOON, now: NOON };

/// The ids that are closed and until when, or why not.
fn closed(quotas: Vec<Budget>, named: Option<&str>, model: &str, reported: Option<&str>) -> String {
    refused(quotas, &[], Refused { named, model, reported, ..REFUSED })
}

fn refused(quotas: Vec<Budget>, known: &[(i32, Closure)], one: Refused<'_>) -> String {
    let known = known.iter().map(|(number, closure)| (BudgetNumber(*number), closure.clone()));
    let catalogue = Catalogue::new(1, Vec::new(), quotas).with_closures(known.collect());
    let (named, model) = (one.named, one.model);
    let known = ["vertex_ai", "gemini", "google"].map(|name| ProviderId::parse(name).unwrap());
    let [vertex, gemini, google] = &known;
    let names = ProviderNames::new([(vertex, google), (gemini, google)], []);
    let (provider, model) = (ProviderId::parse("google").unwrap(), ModelId::parse(model).ok());
    let named = named.map(|id| BudgetId::parse(id).unwrap());
    let about = About {
        provider: &provider,
        model: model.as_ref(),
        region: None,
        tenant: None,
        budget: named.as_ref(),
        confined: None,
        occurred_at: at(one.at),
        period: one.period,
        comeback: one.reported.map(|text| Comeback { at: at(text), is_reported: true, early_in: None }),
    };
    match closing(&about, &catalogue, &names, at(one.now)) {
        Ok(found) => {
            let told =
                found.iter().map(|(budget, closure)| format!("{} {}", budget.id, closure.until.format("%d.%m. %H:%M")));
            told.collect::<Vec<_>>().join(", ")
        }
        Err(why) => why.to_string(),
    }
}

const MONTH: Option<&str> = Some("2026-07-01T00:00:00Z");

#[test]
fn one_quota_is_closed_until_the_provider_says_or_it_resets_itself() {
    let monthly = || vec![quota(1, "m tokens 100 month", "vertex_ai", "")];
    let expect = "no quota matches: make a budget with kind quota whose scope is this provider";
    assert_eq!(closed(Vec::new(), None, "g", MONTH), expect);
    assert_eq!(closed(monthly(), None, "g", Some("2026-06-20T08:00:00Z")), "m 20.06. 08:00");
    assert_eq!(closed(monthly(), None, "g", None), "m 01.07. 00:00");
    assert_eq!(closed(monthly(), None, "g", Some("2026-06-10T11:00:00Z")), "the quota has reset by now");
    assert_eq!(closed(monthly(), Some("x"), "g", MONTH), "budget `x` is no quota");
    assert_eq!(closed(vec![budget(1, "m tokens 100 month")], Some("m"), "g", MONTH), "budget `m` is no quota");
    assert_eq!(
        closed(vec![quota(1, "m tokens 100 once", "google", "")], None, "g", None),
        "neither the provider nor the quota says when it resets"
    );
}

#[test]
fn of_several_the_one_that_ends_then_and_otherwise_none() {
    let both = || vec![quota(1, "m tokens 100 month", "google", ""), quota(2, "d requests 100 day", "google", "pro")];
    assert_eq!(closed(both(), None, "pro", MONTH), "m 01.07. 00:00");
    assert_eq!(closed(both(), None, "pro", Some("2026-06-11T00:00:00Z")), "d 11.06. 00:00");
    assert_eq!(closed(both(), None, "flash", None), "m 01.07. 00:00", "the day's is of another model");
    assert_eq!(closed(both(), None, "pro", None), "several quotas match: name one with `budget` (m, d)");
    assert_eq!(closed(both(), Some("d"), "pro", None), "d 11.06. 00:00");
    let same = vec![quota(1, "t tokens 100 month", "google", ""), quota(2, "u usd 100 month", "gemini", "")];
    assert_eq!(closed(same, None, "pro", None), "several quotas match: name one with `budget` (t, u)");
    let same = vec![quota(1, "t tokens 100 month", "google", ""), quota(2, "u usd 100 month", "google", "")];
    assert_eq!(closed(same, None, "pro", None), "t 01.07. 00:00, u 01.07. 00:00", "they stop the same calls");
}

#[test]
fn a_refusal_is_about_the_period_it_came_in() {
    let monthly = || vec![quota(1, "m tokens 100 month", "google", "")];
    let one = |at, now| refused(monthly(), &[], Refused { at, now, ..REFUSED });
    // Delivered after the reset.
    assert_eq!(one("2026-06-30T23:58:00Z", "2026-07-01T00:20:00Z"), "the quota has reset by now");
    assert_eq!(one("2026-06-30T23:58:00Z", "2026-06-30T23:59:00Z"), "m 01.07. 00:00");
    // Around the reset: a minute, and not the whole new month.
    for (at, until) in [
        ("2026-07-01T00:00:00Z", "m 01.07. 00:01"),
        ("2026-07-01T00:09:59Z", "m 01.07. 00:10"),
        ("2026-07-01T00:10:00Z", "m 01.08. 00:00"),
    ] {
        assert_eq!(one(at, at), until, "{at}");
    }
    // The provider's own word counts at any time.
    let at = "2026-07-01T00:00:01Z";
    let reported = Refused { reported: Some("2026-07-20T00:00:00Z"), at, now: at, ..REFUSED };
    assert_eq!(refused(monthly(), &[], reported), "m 20.07. 00:00");
}

#[test]
fn refusals_that_go_on_after_the_reset_close_for_longer() {
    let guess = Closure {
        until: at("2026-07-01T00:02:00Z"),
        refused_at: at("2026-07-01T00:00:00Z"),
        is_reported: false,
        model: None,
    };
    let again = Refused { at: "2026-07-01T00:02:00Z", now: "2026-07-01T00:02:00Z", ..REFUSED };
    let found = refused(vec![quota(1, "m tokens 100 month", "google", "")], &[(1, guess)], again);
    assert_eq!(found, "m 01.07. 00:06");
}

#[test]
fn a_message_about_another_period_closes_no_quota_of_this_one() {
    let day = Refused { period: Some(LimitPeriod::Day), ..REFUSED };
    let monthly = || quota(1, "m tokens 100 month", "google", "");
    let daily = || quota(2, "d tokens 100 day", "google", "pro");
    let why = refused(vec![monthly()], &[], day);
    assert!(why.starts_with("the provider speaks of its limit by day, and the quota that matches"), "{why}");
    assert!(why.contains("(m)"), "{why}");
    assert_eq!(refused(vec![monthly(), daily()], &[], day), "d 11.06. 00:00");
    let named = Refused { named: Some("m"), ..day };
    assert_eq!(refused(vec![monthly()], &[], named), "m 11.06. 00:00", "until that day's end");
    let reported = Refused { reported: Some("2026-06-10T20:00:00Z"), ..day };
    assert_eq!(refused(vec![monthly()], &[], reported), "m 10.06. 20:00", "the provider says when it comes back");
    let five_hours = Refused { period: Some(LimitPeriod::FiveHours), named: Some("m"), ..REFUSED };
    assert_eq!(refused(vec![monthly()], &[], five_hours), "m 10.06. 17:00");
}

#[test]
fn nothing_closes_a_quota_for_longer_than_a_day_beyond_its_own_reset() {
    let far = Some("2027-06-01T00:00:00Z");
    for (text, until) in [
        ("m tokens 100 month", "m 02.07. 00:00"),
        ("d tokens 100 day", "d 12.06. 00:00"),
        ("s tokens 100 sliding:3600", "s 11.06. 13:01"),
        ("o tokens 100 once", "o 01.06. 00:00"),
    ] {
        assert_eq!(closed(vec![quota(1, text, "google", "")], None, "pro", far), until, "{text}");
    }
}

#[test]
fn a_success_opens_what_it_shows_to_be_open() {
    let (google, own) = (ProviderId::parse("google").unwrap(), ModelId::parse("pro").unwrap());
    let closure = Closure { until: at("2026-07-01T00:00:00Z"), refused_at: at(NOON), is_reported: false, model: None };
    let quotas = vec![quota(1, "m tokens 100 month", "google", ""), quota(2, "o tokens 100 month", "openai", "")];
    let closures = BTreeMap::from([(BudgetNumber(1), closure.clone()), (BudgetNumber(2), closure)]);
    let catalogue = Catalogue::new(1, Vec::new(), quotas).with_closures(closures);
    let acme = TenantId::parse("acme").unwrap();
    let about = |occurred_at: &str| About {
        provider: &google,
        model: Some(&own),
        region: None,
        tenant: None,
        budget: None,
        confined: None,
        occurred_at: at(occurred_at),
        period: None,
        comeback: None,
    };
    let names = ProviderNames::new([], []);
    let opened = |about: &About<'_>, now: &str| {
        let open = reopening(about, &catalogue, &names, at(now));
        open.iter().map(|budget| budget.id.to_string()).collect::<Vec<_>>()
    };
    let later = "2026-06-10T12:00:01Z";
    assert_eq!(opened(&about(later), later), ["m"]);
    assert_eq!(opened(&about(NOON), later), [""; 0], "it is not later than the refusal");
    assert_eq!(opened(&about(later), "2026-07-01T00:00:00Z"), [""; 0], "nothing is closed any more");
    assert_eq!(opened(&About { confined: Some(&acme), ..about(later) }, later), [""; 0], "it is out of reach");
}
