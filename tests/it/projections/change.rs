//! What if, and the fair split applied.

use counterfoil::auth::Scope;
use serde_json::{Value, json};

use super::{instant, number, quota, world};
use crate::support::service::TestService;

async fn what_if(service: &TestService, budget: &str, body: Value) -> Value {
    service.call("POST", &format!("/v1/budgets/{budget}/projection/what-if"), body).await.ok()
}

fn at_reset(projection: &Value) -> f64 {
    number(&projection["expected_at_reset"]["expected"])
}

/// A dollar budget on what the shared quota counts.
async fn dollars(service: &TestService) {
    let budget = json!({
        "scope": {"provider": "anthropic"}, "measure": "usd", "limit": "20", "period": {"kind": "month"}, "enforcement": "soft"
    });
    service.call("PUT", "/v1/budgets/dollars", budget).await.ok();
}

#[tokio::test]
async fn nothing_changed_is_the_same_and_a_higher_limit_is_later() {
    let service = world().await;
    let same = what_if(&service, "quota", json!({})).await;
    assert_eq!(same["as_is"], same["what_if"]);
    let now = service.call("GET", "/v1/budgets/quota/projection?path_hours=0", Value::Null).await.ok();
    assert_eq!(same["as_is"], now);
    let posted: f64 = number(&now["posted"]);
    let limit = |more: f64| json!({"limit": format!("{:.0}", posted + more), "path_hours": 3});
    let sooner = what_if(&service, "quota", limit(300_000.0)).await;
    let later = what_if(&service, "quota", limit(500_000.0)).await;
    let p50 = |body: &Value| instant(&body["what_if"]["exhausts_at"]["p50"]);
    assert!(p50(&sooner) < p50(&later), "{} {}", p50(&sooner), p50(&later));
    assert_eq!(sooner["what_if"]["path"].as_array().unwrap().len(), 3);
    assert_eq!(
        service.call("GET", "/v1/budgets/quota", Value::Null).await.ok()["limit"],
        "1000000",
        "nothing was written"
    );
}

#[tokio::test]
async fn prices_change_what_is_to_come_and_not_what_is_posted() {
    let service = world().await;
    dollars(&service).await;
    let halved = what_if(&service, "dollars", json!({"price_factor": "0.5"})).await;
    let posted = number(&halved["as_is"]["posted"]);
    assert_eq!(halved["as_is"]["posted"], halved["what_if"]["posted"]);
    let ahead = |side: &str| at_reset(&halved[side]) - posted;
    assert!((ahead("what_if") / ahead("as_is") - 0.5).abs() < 0.01, "{} {}", ahead("what_if"), ahead("as_is"));
}

#[tokio::test]
async fn a_share_on_another_model_is_told_in_dollars_and_in_grams() {
    let service = world().await;
    dollars(&service).await;
    let mix = json!({"model_mix": [{"feature": "chat", "share": "0.4", "provider": "anthropic", "model": "claude-haiku-4-5"}]});
    let told = what_if(&service, "dollars", mix.clone()).await;
    let effect = &told["model_mix"][0];
    // A million output tokens are 15 dollars now and 5 there.
    assert!((number(&effect["ratio"]) - 1.0 / 3.0).abs() < 0.001, "{effect:#}");
    let (was, would_be) = (number(&effect["usd"]["as_is"]), number(&effect["usd"]["what_if"]));
    assert!((would_be / was - (1.0 - 0.4 * 2.0 / 3.0)).abs() < 0.001, "{effect:#}");
    assert!(number(&effect["gco2e"]["what_if"]) < number(&effect["gco2e"]["as_is"]), "{effect:#}");
    assert_eq!(effect["priced"], true);
    // Chat is three quarters of everybody's use.
    let posted = number(&told["as_is"]["posted"]);
    let kept = (at_reset(&told["what_if"]) - posted) / (at_reset(&told["as_is"]) - posted);
    assert!((kept - (1.0 - 0.75 * 0.4 * 2.0 / 3.0)).abs() < 0.01, "{kept}");
    // To another provider it leaves the quota altogether.
    let away = json!({"model_mix": [{"tenant": "bay", "feature": "chat", "share": "1", "provider": "openai", "model": "gpt-4o"}]});
    let away = what_if(&service, "quota", away).await;
    assert_eq!(away["model_mix"][0]["ratio"], "0");
    let bay = |side: &str| {
        let tenants = away[side]["tenants"].as_array().unwrap().clone();
        number(&tenants.iter().find(|one| one["tenant"] == "bay").unwrap()["expected_to_reset"])
    };
    assert!((bay("what_if") / bay("as_is") - 0.25).abs() < 0.01, "{} {}", bay("what_if"), bay("as_is"));
}

#[tokio::test]
async fn a_new_tenant_works_like_another_on_its_own_clock() {
    let service = world().await;
    let body =
        json!({"new_tenants": [{"tenant": "mumbai", "like": "berlin", "timezone": "Asia/Kolkata", "factor": "0.5"}]});
    let told = what_if(&service, "quota", body).await;
    let tenants = told["what_if"]["tenants"].as_array().unwrap();
    let find = |name: &str| tenants.iter().find(|one| one["tenant"] == name).unwrap_or_else(|| panic!("{tenants:#?}"));
    assert_eq!(find("mumbai")["timezone"], "Asia/Kolkata");
    let half = number(&find("mumbai")["expected_to_reset"]) / number(&find("berlin")["expected_to_reset"]);
    assert!((half - 0.5).abs() < 0.05, "{half}");
}

#[tokio::test]
async fn another_window_counts_what_was_used_since_it_began() {
    let service = world().await;
    let weekly = what_if(
        &service,
        "quota",
        json!({"period": {"kind": "week"}, "timezone": "America/Los_Angeles", "limit": "500000"}),
    )
    .await;
    let changed = &weekly["what_if"];
    assert_eq!(changed["period_start"], "2026-06-15T07:00:00Z");
    assert_eq!(changed["resets_at_local"], "2026-06-22T00:00:00-07:00");
    let since: u64 = super::hours(instant(&changed["period_start"]), service.now()).map(super::pool).sum();
    let posted = number(&changed["posted"]);
    assert!((posted - f64::from(u32::try_from(since).unwrap())).abs() < 100.0, "{posted} {since}");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let service = world().await;
    for (body, field) in [
        (json!({"limit": "-5"}), "limit"),
        (json!({"price_factor": "0.5"}), "price_factor"),
        (json!({"timezone": "Mars"}), "timezone"),
        (json!({"period": {"kind": "sliding", "seconds": 60}}), "period.kind"),
        (json!({"period": {"kind": "month", "anchor_day": 32}}), "period.anchor_day"),
        (
            json!({"model_mix": [{"feature": "chat", "share": "1.5", "provider": "a", "model": "b"}]}),
            "model_mix[0].share",
        ),
        (json!({"new_tenants": [{"tenant": "new", "like": "nobody", "timezone": "UTC"}]}), "new_tenants[0].like"),
        (json!({"new_tenants": [{"tenant": "bay", "like": "bay", "timezone": "UTC"}]}), "new_tenants[0].tenant"),
        (json!({"path_hours": 801}), "path_hours"),
        (json!({"colour": "red"}), "colour"),
    ] {
        let reply = service.call("POST", "/v1/budgets/quota/projection/what-if", body.clone()).await;
        assert_eq!(reply.status, 422, "{body:#}: {:#}", reply.body);
        assert_eq!(reply.body["errors"][0]["field"], field, "{body:#}: {:#}", reply.body);
    }
}

const APPLY: &str = "/v1/budgets/quota/projection/apply-fair-split";

#[tokio::test]
async fn one_call_applies_the_fair_split() {
    let service = world().await;
    let posted = number(&service.call("GET", "/v1/budgets/quota/projection", Value::Null).await.ok()["posted"]);
    service.call("PUT", "/v1/budgets/quota", quota(&format!("{:.0}", posted + 600_000.0))).await.ok();
    let split = service.call("GET", "/v1/budgets/quota/projection", Value::Null).await.ok()["fair_split"].clone();
    let applied = service.call_keyed("k", "POST", APPLY, json!({})).await.ok();
    assert_eq!((applied["written"].as_u64(), applied["unchanged"].as_u64()), (Some(4), Some(0)));
    assert_eq!(applied["items"], split);
    for share in split.as_array().unwrap() {
        let budget =
            service.call("GET", &format!("/v1/budgets/{}", share["budget"].as_str().unwrap()), Value::Null).await.ok();
        assert_eq!((&budget["limit"], &budget["scope"]["tenant"]), (&share["limit"], &share["tenant"]));
        assert_eq!((&budget["scope"]["provider"], &budget["timezone"]), (&json!("anthropic"), &json!("Etc/UTC")));
        let used = number(&budget["counters"][0]["posted"]);
        assert!((used - number(&share["used"])).abs() < 1.0, "it knows what its tenant used: {budget:#}");
    }
    // A repeat writes nothing: by its key the first answer, without one nothing that differs.
    assert_eq!(service.call_keyed("k", "POST", APPLY, json!({})).await.ok(), applied);
    let again = service.call("POST", APPLY, json!({})).await.ok();
    assert_eq!((again["written"].as_u64(), again["unchanged"].as_u64()), (Some(0), Some(4)));
    let other = service.call_keyed("k", "POST", APPLY, json!({"enforcement": "soft"})).await;
    assert_eq!(other.problem(), (409, "idempotency_mismatch"));
    // What people changed about such a budget stays; only its limit follows.
    let mut kept = service.call("GET", "/v1/budgets/quota.bay", Value::Null).await.ok();
    for field in ["version", "counted_from", "created_at", "changed_at", "archived_at", "at", "counters", "next_cursor"]
    {
        kept.as_object_mut().unwrap().remove(field);
    }
    kept["thresholds"] = json!(["0.9"]);
    service.call("PUT", "/v1/budgets/quota.bay", kept).await.ok();
    service.call("PUT", "/v1/budgets/quota", quota(&format!("{:.0}", posted + 700_000.0))).await.ok();
    assert_eq!(service.call("POST", APPLY, json!({})).await.ok()["written"], 4);
    let bay = service.call("GET", "/v1/budgets/quota.bay", Value::Null).await.ok();
    assert_eq!(bay["thresholds"], json!(["0.9"]));
    assert_eq!(bay["version"], 3);
}

#[tokio::test]
async fn no_tenant_keeps_the_platform_from_splitting() {
    let service = world().await;
    let bay = service.token(&[Scope::Admin], Some("bay"));
    let mut other = json!({"scope": {"tenant": "bay"}, "measure": "requests", "limit": "5", "period": {"kind": "day"}, "enforcement": "soft"});
    let put = async |id: &str, body: &Value| {
        service.call_as(&bay, "PUT", &format!("/v1/budgets/{id}"), &[], body.clone()).await
    };
    // The ids that a split gives, taken before it: the tenant's own are others.
    for id in ["quota.bay", "quota.berlin"] {
        put(id, &other).await.ok();
    }
    let first = service.call("POST", APPLY, json!({})).await.ok();
    let written = first["written"].as_u64().unwrap();
    assert_eq!(written, u64::try_from(first["items"].as_array().unwrap().len()).unwrap());
    assert_eq!(service.call("GET", "/v1/budgets/bay:quota.bay", Value::Null).await.ok()["limit"], "5");
    // Made another thing of, afterwards: the next split makes it what it was.
    put(":quota.bay", &other).await.ok();
    other["limit"] = json!("7");
    let again = service.call("POST", APPLY, json!({})).await.ok();
    assert_eq!(again["written"], 1, "{again:#}");
    let restored = service.call("GET", "/v1/budgets/quota.bay", Value::Null).await.ok();
    assert_eq!(
        restored["limit"],
        again["items"].as_array().unwrap().iter().find(|one| one["tenant"] == "bay").unwrap()["limit"]
    );
    assert_ne!(restored["measure"], "requests");
}

#[tokio::test]
async fn a_split_never_takes_another_budgets_id_and_is_the_platforms() {
    let service = world().await;
    let taken = json!({"scope": {"tenant": "bay"}, "measure": "requests", "limit": "5", "period": {"kind": "day"}, "enforcement": "soft"});
    service.call("PUT", "/v1/budgets/quota.bay", taken.clone()).await.ok();
    assert_eq!(service.call("POST", APPLY, json!({})).await.problem(), (409, "conflict"));
    assert_eq!(service.call("GET", "/v1/budgets/quota.berlin", Value::Null).await.problem(), (404, "unknown_budget"));
    let tenant = service.token(&[Scope::Admin], Some("bay"));
    let refused = service.call_as(&tenant, "POST", APPLY, &[], json!({})).await;
    assert_eq!(refused.problem(), (403, "forbidden_tenant"), "{:#}", refused.body);
    service.call("PUT", "/v1/budgets/alone", json!({"scope": {"tenant": "bay"}, "measure": "usd", "limit": "5", "period": {"kind": "month"}, "enforcement": "soft"})).await.ok();
    let alone = service.call("POST", "/v1/budgets/alone/projection/apply-fair-split", json!({})).await;
    let alone = alone.ok();
    assert_eq!((&alone["written"], &alone["items"]), (&json!(0), &json!([])), "nobody shares it");
}
