use serde_json::{Value, json};

use super::*;
use crate::domain::budget::catalogue::BudgetNumber;
use crate::wire::budget::BudgetRecord;

fn now() -> DateTime<Utc> {
    "2026-06-10T12:00:00Z".parse().unwrap()
}

fn body(fields: &Value) -> BudgetBody {
    let mut whole = json!({"measure": "usd", "limit": "5", "period": {"kind": "month"}, "enforcement": "hard"});
    whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

fn budget(body: &BudgetBody) -> Budget {
    let record = BudgetRecord { number: BudgetNumber(1), version: 1, counted_from: now() };
    body.to_budget("b".parse().unwrap(), record).unwrap()
}

/// `each` and `missing` of the document that is written.
fn settled(fields: &Value) -> (Option<String>, Option<MissingName>) {
    let settled = body(fields).settled(None, now()).unwrap();
    assert_eq!(
        settled.settled(Some(&budget(&settled)), now()),
        Ok(settled.clone()),
        "what is written again is the same"
    );
    (settled.each, settled.missing)
}

#[test]
fn a_hard_budget_refuses_what_it_could_not_count_unless_it_says_otherwise() {
    use MissingName::{Ignore, Refuse};
    let tenant = json!({"tenant": "acme"});
    let labelled = json!({"tenant": "acme", "labels": {"team": "cx"}});
    let table = [
        (json!({"scope": tenant}), None),
        (json!({"scope": tenant, "each": "feature"}), None),
        (json!({"scope": tenant, "each": "run"}), Some(Refuse)),
        (json!({"scope": tenant, "each": "agent"}), Some(Refuse)),
        (json!({"scope": tenant, "each": "region"}), Some(Refuse)),
        (json!({"scope": tenant, "each": "label:user"}), Some(Refuse)),
        (json!({"scope": tenant, "each": "label:user", "enforcement": "soft"}), Some(Ignore)),
        (json!({"scope": tenant, "each": "label:user", "missing": "ignore"}), Some(Ignore)),
        (json!({"scope": labelled}), Some(Refuse)),
        (json!({"scope": {"tenant": "acme", "region": "eu"}}), Some(Refuse)),
        // a call without a run is not that run's
        (json!({"scope": {"tenant": "acme", "run": "r-1", "agent": "a"}}), None),
    ];
    for (fields, missing) in table {
        assert_eq!(settled(&fields).1, missing, "{fields}");
    }
    assert_eq!(
        budget(&body(&json!({"each": "run"}))).missing,
        MissingRule::Ignore,
        "a document of before goes on as it did"
    );
}

#[test]
fn what_callers_choose_is_counted_for_each_tenant_apart_unless_it_is_shared_on_purpose() {
    let labels = json!({"labels": {"org": "b"}});
    let table = [
        (json!({"scope": labels}), Some("tenant")),
        (json!({"scope": {"run": "r-1"}}), Some("tenant")),
        (json!({"scope": {"agent": "a", "provider": "openai"}}), Some("tenant")),
        (json!({"scope": labels, "shared": true}), None),
        (json!({"scope": {"labels": {"org": "b"}, "tenants": ["acme", "bolt"]}}), None),
        (json!({"scope": {"labels": {"org": "b"}, "tenant": "acme"}}), None),
        (json!({"scope": labels, "each": "run"}), Some("run")),
        // nobody but the platform chooses these
        (json!({"scope": {"provider": "openai"}}), None),
        (json!({}), None),
    ];
    for (fields, each) in table {
        assert_eq!(settled(&fields).0.as_deref(), each, "{fields}");
    }
    let shared_by_accident = body(&json!({"scope": labels, "each": "model"})).settled(None, now()).unwrap_err();
    assert_eq!(shared_by_accident.field, "scope");
    let both = body(&json!({"scope": {"tenant": "acme", "tenants": ["bolt"]}})).settled(None, now()).unwrap_err();
    assert_eq!(both.field, "scope.tenants");
}

#[test]
fn once_counts_from_when_it_was_made_unless_it_says_otherwise() {
    let once = |fields: &Value| {
        let mut period = json!({"kind": "once"});
        period.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body(&json!({"scope": {"tenant": "acme"}, "period": period}))
    };
    let from = |body: &BudgetBody, before: Option<&Budget>| body.settled(before, now()).unwrap().period.counts_from;
    let said: DateTime<Utc> = "1970-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(from(&once(&json!({})), None), Some(now()));
    assert_eq!(from(&once(&json!({"counts_from": said})), None), Some(said));
    let made = budget(&once(&json!({"counts_from": said})));
    assert_eq!(from(&once(&json!({})), Some(&made)), Some(said), "a new limit counts as before");
    let of_before = budget(&once(&json!({})));
    assert_eq!(of_before.counts_from, None);
    assert_eq!(from(&once(&json!({})), Some(&of_before)), None, "and so does one of before: all of time");
    let monthly = budget(&body(&json!({"scope": {"tenant": "acme"}})));
    assert_eq!(from(&once(&json!({})), Some(&monthly)), Some(now()), "another period is another budget");
    assert_eq!(from(&body(&json!({"scope": {"tenant": "acme"}})), None), None);
    let odd = body(&json!({"period": {"kind": "month", "counts_from": said}}));
    let record = BudgetRecord { number: BudgetNumber(1), version: 1, counted_from: now() };
    assert_eq!(odd.to_budget("b".parse().unwrap(), record).unwrap_err().field, "period.counts_from");
}
