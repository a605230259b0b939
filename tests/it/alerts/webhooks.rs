//! Webhooks: signed, at least once, in order for each budget, tried again, paused, resumed.

use chrono::TimeDelta;
use counterfoil::auth::Scope;
use counterfoil::store::webhooks::Shares;
use serde_json::{Value, json};

use super::receiver::{Message, Receiver};
use super::{acme, evaluate, put_budget, short, spend};
use crate::support::service::{Replica, TestService};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn put_webhook(service: &TestService, id: &str, receiver: &Receiver, but: Value) -> Value {
    let mut body = json!({"url": receiver.url(), "secret": SECRET});
    body.as_object_mut().unwrap().extend(but.as_object().unwrap().clone());
    service.call("PUT", &format!("/v1/webhooks/{id}"), body).await.ok()
}

/// Delivers what is due: how many were taken, how many were not.
async fn deliver(service: &Replica) -> (usize, usize) {
    let delivered = service.app.deliver_events().await.unwrap();
    (delivered.delivered, delivered.failed)
}

async fn webhook(service: &Replica, id: &str) -> Value {
    service.call("GET", &format!("/v1/webhooks/{id}"), Value::Null).await.ok()
}

fn shorts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| short(&message.body["data"])).collect()
}

#[tokio::test]
async fn a_threshold_crossed_arrives_signed_and_as_the_event_is_listed() {
    let service = acme().await;
    let receiver = Receiver::start().await;
    put_webhook(&service, "pager", &receiver, json!({})).await;
    spend(&service, "acme", 500).await;
    assert_eq!(evaluate(&service).await, 1);
    assert_eq!(deliver(&service).await, (1, 0));
    let message = receiver.taken().remove(0);
    assert!(message.is_signed_by(SECRET));
    assert!(!message.is_signed_by("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    let event = super::events(&service).await.remove(0);
    assert_eq!(message.body, json!({"type": "threshold.raised", "timestamp": "2026-06-10T12:00:00Z", "data": event}));
    assert_eq!(message.header("webhook-id"), event["id"].as_str().unwrap());
    assert_eq!(message.header("webhook-timestamp"), service.now().timestamp().to_string());
    assert_eq!(message.header("content-type"), "application/json");
    assert_eq!(deliver(&service).await, (0, 0), "once it was taken it is not sent again");
    assert_eq!(webhook(&service, "pager").await["waiting"], 0);
}

#[tokio::test]
async fn a_tenants_endpoint_is_sent_the_tenants_name_of_its_budget_and_the_platforms_the_whole_id() {
    let service = acme().await;
    let admin = service.token(&[Scope::Admin], Some("acme"));
    let body = json!({
        "scope": {"tenant": "acme"}, "measure": "tokens", "limit": "1000", "period": {"kind": "day"},
        "enforcement": "hard", "thresholds": ["0.9"]
    });
    service.call_as(&admin, "PUT", "/v1/budgets/daily", &[], body).await.ok();
    let (own, platforms) = (Receiver::start().await, Receiver::start().await);
    put_webhook(&service, "own", &own, json!({"tenant": "acme"})).await;
    put_webhook(&service, "all", &platforms, json!({})).await;
    spend(&service, "acme", 950).await;
    evaluate(&service).await;
    deliver(&service).await;
    let of_daily = |receiver: &Receiver, id: &str| {
        let mut messages = receiver.taken().into_iter();
        messages.find(|message| message.body["data"]["budget"] == id).expect("it is told").body["data"].clone()
    };
    let told = of_daily(&own, "daily");
    assert!(!told.to_string().contains("acme:daily"), "{told:#}");
    assert_eq!(told["links"]["budget"], "/v1/budgets/daily");
    let path = told["links"]["budget"].as_str().unwrap();
    assert_eq!(
        service.call_as(&admin, "GET", path, &[], Value::Null).await.ok()["id"],
        "daily",
        "the link leads there"
    );
    let told = of_daily(&platforms, "acme:daily");
    assert_eq!(told["links"]["budget"], "/v1/budgets/acme:daily");
    service.call("GET", "/v1/budgets/acme:daily", Value::Null).await.ok();
}

#[tokio::test]
async fn what_fails_is_tried_again_with_the_same_id_and_holds_back_only_its_own_budget() {
    let service = acme().await;
    put_budget(&service, "acme-usd", json!({"scope": {"tenant": "acme"}, "measure": "requests", "limit": "4"})).await;
    let receiver = Receiver::start().await;
    put_webhook(&service, "pager", &receiver, json!({})).await;
    receiver.refuse(Some(("acme-month", 500)));
    spend(&service, "acme", 500).await;
    evaluate(&service).await;
    assert_eq!(deliver(&service).await, (0, 1));
    let first = receiver.taken().remove(0);
    // Later ones of the same budget wait behind it; another budget's do not.
    spend(&service, "acme", 600).await;
    assert_eq!(evaluate(&service).await, 3);
    assert_eq!(deliver(&service).await, (1, 0));
    assert_eq!(shorts(&receiver.taken()), ["threshold raised acme-usd at 0.5"]);
    let now = webhook(&service, "pager").await;
    assert_eq!((&now["waiting"], &now["state"], &now["last_error"]), (&json!(3), &json!("enabled"), &Value::Null));
    service.advance(TimeDelta::seconds(10));
    assert_eq!(deliver(&service).await, (0, 1), "after five seconds, and up to a quarter more");
    let second = receiver.taken().remove(0);
    assert_eq!((second.header("webhook-id"), &second.bytes), (first.header("webhook-id"), &first.bytes));
    assert!(second.is_signed_by(SECRET), "each attempt has its own time and signature");
    assert_ne!(second.header("webhook-timestamp"), first.header("webhook-timestamp"));
    assert_eq!(webhook(&service, "pager").await["last_error"], "answered 500");
    receiver.refuse(None);
    assert_eq!(deliver(&service).await, (0, 0), "not due yet");
    service.advance(TimeDelta::seconds(20));
    assert_eq!(deliver(&service).await, (3, 0));
    assert_eq!(
        shorts(&receiver.taken()),
        ["threshold raised acme-month at 0.5", "threshold raised acme-month at 0.9", "overdraft raised acme-month"]
    );
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_paused_shown_and_resumed_without_loss() {
    let service = acme().await;
    let receiver = Receiver::start().await;
    put_webhook(&service, "pager", &receiver, json!({})).await;
    receiver.refuse(Some(("acme-month", 503)));
    spend(&service, "acme", 500).await;
    evaluate(&service).await;
    let mut attempts = 0;
    while webhook(&service, "pager").await["state"] == "enabled" {
        attempts += deliver(&service).await.1;
        service.advance(TimeDelta::hours(1));
        assert!(attempts < 100);
    }
    let shown = webhook(&service, "pager").await;
    assert_eq!(attempts, receiver.taken().len());
    assert_eq!(
        (&shown["state"], &shown["failures"], &shown["last_status"]),
        (&json!("paused"), &json!(10), &json!(503))
    );
    assert!(shown["paused_at"].is_string() && shown["failing_since"].is_string(), "{shown:#}");
    // While it is paused nothing is sent, and everything is kept.
    receiver.refuse(None);
    spend(&service, "acme", 400).await;
    assert_eq!(evaluate(&service).await, 1);
    service.advance(TimeDelta::hours(4));
    assert_eq!(deliver(&service).await, (0, 0));
    assert_eq!(webhook(&service, "pager").await["waiting"], 2);
    let resumed = service.call("POST", "/v1/webhooks/pager/resume", Value::Null).await.ok();
    assert_eq!((&resumed["state"], &resumed["failures"]), (&json!("enabled"), &json!(0)));
    assert_eq!(deliver(&service).await, (2, 0));
    assert_eq!(shorts(&receiver.taken()), ["threshold raised acme-month at 0.5", "threshold raised acme-month at 0.9"]);
}

#[tokio::test]
async fn a_paused_endpoint_is_tried_with_one_event_every_six_hours_and_gets_all_once_it_takes_one() {
    let service = acme().await;
    put_budget(&service, "acme-usd", json!({"scope": {"tenant": "acme"}, "measure": "requests", "limit": "2"})).await;
    let receiver = Receiver::start().await;
    put_webhook(&service, "pager", &receiver, json!({})).await;
    receiver.answer(&[503; 64]);
    spend(&service, "acme", 500).await;
    assert_eq!(evaluate(&service).await, 2, "of two budgets");
    while webhook(&service, "pager").await["state"] == "enabled" {
        deliver(&service).await;
        service.advance(TimeDelta::minutes(10));
    }
    service.advance(TimeDelta::hours(5));
    assert_eq!(deliver(&service).await, (0, 0));
    service.advance(TimeDelta::hours(1));
    assert_eq!(deliver(&service).await, (0, 1), "one event, though two wait");
    service.advance(TimeDelta::hours(5));
    assert_eq!(deliver(&service).await, (0, 0));
    assert_eq!(webhook(&service, "pager").await["state"], "paused");
    // Days later it is well again, and nobody has to say so.
    service.advance(TimeDelta::days(5));
    assert_eq!(deliver(&service).await, (0, 1));
    receiver.answer(&[]);
    receiver.taken();
    service.advance(TimeDelta::hours(6));
    assert_eq!(deliver(&service).await, (2, 0));
    let shown = webhook(&service, "pager").await;
    assert_eq!((&shown["state"], &shown["waiting"], &shown["given_up"]), (&json!("enabled"), &json!(0), &json!(0)));
    assert_eq!(receiver.taken().len(), 2);
}

#[tokio::test]
async fn endpoints_that_hang_hold_back_no_other_tenants_events() {
    let service = acme().await;
    service.call("PUT", "/v1/tenants/bolt", json!({"timezone": "Etc/UTC"})).await.ok();
    // Takes connections, and never answers.
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", hanging.local_addr().unwrap());
    for budget in ["a", "b", "c", "d"] {
        put_budget(&service, budget, json!({"scope": {"tenant": "acme"}})).await;
    }
    for n in 0..12 {
        let body = json!({"url": url, "tenant": "acme"});
        service.call("PUT", &format!("/v1/webhooks/hanging-{n}"), body).await.ok();
    }
    put_budget(&service, "bolt-month", json!({"scope": {"tenant": "bolt"}})).await;
    let receiver = Receiver::start().await;
    put_webhook(&service, "bolt", &receiver, json!({"tenant": "bolt"})).await;
    spend(&service, "acme", 500).await;
    spend(&service, "bolt", 500).await;
    evaluate(&service).await;
    let app = service.app.clone();
    let delivering = tokio::spawn(async move { app.deliver_events().await });
    // Far sooner than an endpoint that hangs is given up.
    let arrived = async {
        while receiver.taken().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), arrived).await.expect("it waits for those that hang");
    // One that comes up meanwhile does not wait either.
    spend(&service, "bolt", 400).await;
    evaluate(&service).await;
    let arrived = async {
        while receiver.taken().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), arrived).await.expect("it waits for those that hang");
    delivering.abort();
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_paused_at_once_and_a_redirect_is_not_followed() {
    let service = acme().await;
    let receiver = Receiver::start().await;
    put_webhook(&service, "pager", &receiver, json!({})).await;
    receiver.answer(&[302, 410]);
    spend(&service, "acme", 500).await;
    evaluate(&service).await;
    assert_eq!(deliver(&service).await, (0, 1));
    assert_eq!(receiver.taken().len(), 1, "the place it points to was not asked");
    assert_eq!(webhook(&service, "pager").await["last_error"], "answered 302, a redirect: redirects are not followed");
    service.advance(TimeDelta::seconds(10));
    assert_eq!(deliver(&service).await, (0, 1));
    assert_eq!(webhook(&service, "pager").await["state"], "paused");
}

#[tokio::test]
async fn an_event_that_is_not_taken_for_three_days_is_given_up_and_the_next_one_goes() {
    let service = acme().await;
    let receiver = Receiver::start().await;
    put_webhook(&service, "pager", &receiver, json!({})).await;
    put_budget(
        &service,
        "other",
        json!({"scope": {"tenant": "acme"}, "limit": "100000", "thresholds": ["0.005", "0.006"]}),
    )
    .await;
    receiver.refuse(Some(("acme-month", 400)));
    spend(&service, "acme", 500).await;
    assert_eq!(evaluate(&service).await, 2);
    assert_eq!(deliver(&service).await, (1, 1));
    spend(&service, "acme", 450).await;
    evaluate(&service).await;
    // Others are taken now and then, so the endpoint itself is well.
    service.advance(TimeDelta::days(3));
    assert_eq!(deliver(&service).await, (1, 2), "the first is given up, and the second's turn has come");
    let shown = webhook(&service, "pager").await;
    assert_eq!((&shown["state"], &shown["given_up"], &shown["waiting"]), (&json!("enabled"), &json!(1), &json!(1)));
}

#[tokio::test]
async fn a_replica_that_died_on_the_way_loses_nothing() {
    let service = acme().await;
    let receiver = Receiver::start().await;
    put_webhook(&service, "pager", &receiver, json!({})).await;
    spend(&service, "acme", 500).await;
    evaluate(&service).await;
    // Claimed, and never heard of again.
    let mut connection = service.db.pool().acquire().await.unwrap();
    let (key, claim) = (service.app.seals.id(), TimeDelta::seconds(60));
    let shares = Shares { tenant: 8, webhook: 4 };
    let claimed =
        counterfoil::store::webhooks::claim(&mut connection, key, service.now(), claim, shares, 16).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(deliver(&service).await, (0, 0), "nobody else sends what is claimed");
    service.advance(TimeDelta::seconds(61));
    let other = service.replica().await;
    let (one, two) = tokio::join!(service.app.deliver_events(), other.app.deliver_events());
    assert_eq!(one.unwrap().delivered + two.unwrap().delivered, 1);
    assert_eq!(receiver.taken().len(), 1);
}

#[tokio::test]
async fn an_endpoint_gets_the_kinds_and_the_tenant_it_asked_for() {
    let service = acme().await;
    service.call("PUT", "/v1/tenants/bolt", json!({"timezone": "Etc/UTC"})).await.ok();
    put_budget(&service, "bolt-month", json!({"scope": {"tenant": "bolt"}})).await;
    put_budget(&service, "quota", json!({"scope": {"provider": "openai"}, "thresholds": ["0.7"]})).await;
    let (all, overdrafts, bolt) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    put_webhook(&service, "all", &all, json!({})).await;
    put_webhook(&service, "overdrafts", &overdrafts, json!({"kinds": ["overdraft"]})).await;
    put_webhook(&service, "bolt", &bolt, json!({"tenant": "bolt"})).await;
    put_webhook(&service, "off", &all, json!({"enabled": false})).await;
    spend(&service, "acme", 100).await;
    spend(&service, "bolt", 1100).await;
    evaluate(&service).await;
    deliver(&service).await;
    assert_eq!(all.taken().len(), 4);
    assert_eq!(overdrafts.taken().len(), 2, "the tenant's and the quota's");
    let mut own = shorts(&bolt.taken());
    own.sort();
    assert_eq!(own, ["overdraft raised bolt-month", "threshold raised bolt-month at 0.9"]);
}

#[tokio::test]
async fn a_secret_is_made_and_shown_once_and_never_again() {
    let service = acme().await;
    let body = json!({"url": "https://hooks.example.com/x", "kinds": ["threshold"]});
    let made = service.call("PUT", "/v1/webhooks/pager", body.clone()).await.ok();
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    let again = service.call("PUT", "/v1/webhooks/pager", body).await.ok();
    assert_eq!(again["secret"], Value::Null);
    for path in ["/v1/webhooks/pager", "/v1/webhooks"] {
        let shown = service.call("GET", path, Value::Null).await.ok().to_string();
        assert!(!shown.contains(&secret) && !shown.contains("secret"), "{shown}");
    }
    // Writing it again without one keeps it.
    let receiver = Receiver::start().await;
    service.call("PUT", "/v1/webhooks/pager", json!({"url": receiver.url()})).await.ok();
    service.call("POST", "/v1/webhooks/pager/test", Value::Null).await.ok();
    assert!(receiver.taken().remove(0).is_signed_by(&secret));
}

#[tokio::test]
async fn a_test_says_what_came_of_it_and_private_addresses_need_leave() {
    let service = acme().await;
    let receiver = Receiver::start().await;
    put_webhook(&service, "pager", &receiver, json!({})).await;
    let tested = service.call("POST", "/v1/webhooks/pager/test", Value::Null).await.ok();
    assert_eq!(tested, json!({"delivered": true, "status": 204, "error": null}));
    let message = receiver.taken().remove(0);
    assert!(message.is_signed_by(SECRET));
    assert_eq!(message.body["type"], "test.raised");
    receiver.answer(&[418]);
    let tested = service.call("POST", "/v1/webhooks/pager/test", Value::Null).await.ok();
    assert_eq!(tested, json!({"delivered": false, "status": 418, "error": "answered 418"}));
    receiver.taken();
    let careful = service.public_webhooks_only();
    let tested = careful.call("POST", "/v1/webhooks/pager/test", Value::Null).await.ok();
    assert_eq!(tested["delivered"], false);
    assert!(tested["error"].as_str().unwrap().starts_with("127.0.0.1 is not a public address"), "{tested:#}");
    assert_eq!(receiver.taken().len(), 0);
    assert_eq!(super::events(&service).await, Vec::<Value>::new(), "a test is no event");
}

#[tokio::test]
async fn what_is_wrong_with_an_endpoint_is_named() {
    let service = acme().await;
    for (body, field) in [
        (json!({"url": "ftp://example.com"}), "url"),
        (json!({"url": "https://user:pw@example.com"}), "url"),
        (json!({"url": format!("https://example.com/{}", "x".repeat(2_000))}), "url"),
        (json!({"url": "https://example.com", "secret": "hunter2"}), "secret"),
        (json!({"url": "https://example.com", "kinds": ["weather"]}), "kinds[0]"),
        (json!({"url": "https://example.com", "tenant": "no such"}), "tenant"),
        (json!({"url": "https://example.com", "colour": "red"}), "colour"),
    ] {
        let refused = service.call("PUT", "/v1/webhooks/pager", body).await;
        assert_eq!(refused.problem(), (422, "invalid_request"), "{field}");
        assert_eq!(refused.body["errors"][0]["field"], field);
        assert!(!refused.body.to_string().contains("hunter2"));
    }
    let unknown =
        service.call("PUT", "/v1/webhooks/pager", json!({"url": "https://example.com", "tenant": "nobody"})).await;
    assert_eq!(unknown.problem(), (404, "unknown_tenant"));
    for (method, path) in [
        ("GET", "/v1/webhooks/pager"),
        ("DELETE", "/v1/webhooks/pager"),
        ("POST", "/v1/webhooks/pager/resume"),
        ("POST", "/v1/webhooks/pager/test"),
    ] {
        assert_eq!(
            service.call(method, path, Value::Null).await.problem(),
            (404, "unknown_webhook"),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_confined_caller_writes_and_sees_its_own_endpoints_only() {
    let service = acme().await;
    let receiver = Receiver::start().await;
    put_webhook(&service, "platform", &receiver, json!({})).await;
    put_webhook(&service, "acmes", &receiver, json!({"tenant": "acme"})).await;
    service.call("PUT", "/v1/tenants/bolt", json!({"timezone": "Etc/UTC"})).await.ok();
    let bolt = service.token(&[Scope::Admin], Some("bolt"));
    let call = async |method: &'static str, path: &'static str, body: Value| {
        service.call_as(&bolt, method, path, &[], body).await
    };
    let body = json!({"url": "https://example.com"});
    assert_eq!(call("PUT", "/v1/webhooks/own", body.clone()).await.ok()["tenant"], "bolt");
    for id in ["/v1/webhooks/platform", "/v1/webhooks/acmes"] {
        assert_eq!(call("GET", id, Value::Null).await.problem(), (404, "unknown_webhook"));
        assert_eq!(call("DELETE", id, Value::Null).await.problem(), (404, "unknown_webhook"));
    }
    assert_eq!(call("POST", "/v1/webhooks/acmes/test", Value::Null).await.problem(), (404, "unknown_webhook"));
    assert_eq!(call("POST", "/v1/webhooks/acmes/resume", Value::Null).await.problem(), (404, "unknown_webhook"));
    let foreign = json!({"url": "https://example.com", "tenant": "acme"});
    assert_eq!(call("PUT", "/v1/webhooks/own", foreign).await.problem(), (403, "forbidden_tenant"));
    let listed = call("GET", "/v1/webhooks", Value::Null).await.ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(service.call("GET", "/v1/webhooks", Value::Null).await.ok()["items"].as_array().unwrap().len(), 3);
    let reader = service.token(&[Scope::Read], Some("bolt"));
    let refused = service.call_as(&reader, "PUT", "/v1/webhooks/own", &[], body).await;
    assert_eq!(refused.problem(), (403, "forbidden_scope"));
    assert_eq!(call("DELETE", "/v1/webhooks/own", Value::Null).await.ok()["id"], "own");
    assert_eq!(receiver.taken().len(), 0);
}

#[tokio::test]
async fn ids_of_webhooks_are_a_tenants_own_and_races_cross_no_tenant() {
    let service = acme().await;
    service.call("PUT", "/v1/tenants/bolt", json!({"timezone": "Etc/UTC"})).await.ok();
    let token = |tenant: &str| service.token(&[Scope::Admin], Some(tenant));
    let (acme, bolt) = (token("acme"), token("bolt"));
    let mine = |tenant: &str| json!({"url": format!("https://{tenant}.example.com/secret")});
    for n in 0..20 {
        let path = format!("/v1/webhooks/w{n}");
        let (one, two, three) = tokio::join!(
            service.call_as(&acme, "PUT", &path, &[], mine("acme")),
            service.call_as(&bolt, "PUT", &path, &[], mine("bolt")),
            service.call("PUT", &path, mine("platform")),
        );
        for (written, tenant) in [(one.ok(), json!("acme")), (two.ok(), json!("bolt")), (three.ok(), Value::Null)] {
            let name = tenant.as_str().unwrap_or("platform");
            assert_eq!((&written["id"], &written["tenant"]), (&json!(format!("w{n}")), &tenant));
            assert_eq!(written["url"], format!("https://{name}.example.com/secret"));
            assert!(written["secret"].is_string(), "each has a secret of its own");
        }
    }
    // Two writers of one endpoint: one makes it, and its secret is the one that was shown.
    let path = "/v1/webhooks/once";
    let (one, two) = tokio::join!(
        service.call_as(&acme, "PUT", path, &[], mine("acme")),
        service.call_as(&acme, "PUT", path, &[], mine("acme")),
    );
    let shown = [one.ok(), two.ok()].iter().filter(|written| written["secret"].is_string()).count();
    assert_eq!(shown, 1);
    // The platform names the tenant where the id alone does not tell.
    let get = async |path: &'static str| service.call("GET", path, Value::Null).await;
    assert_eq!(get("/v1/webhooks/w1").await.ok()["tenant"], Value::Null);
    assert_eq!(get("/v1/webhooks/w1?tenant=bolt").await.ok()["tenant"], "bolt");
    assert_eq!(get("/v1/webhooks/once").await.ok()["tenant"], "acme", "the only one");
    service.call("DELETE", "/v1/webhooks/w1", Value::Null).await.ok();
    assert_eq!(get("/v1/webhooks/w1").await.problem(), (422, "invalid_request"));
    service.call_as(&bolt, "DELETE", "/v1/webhooks/w1", &[], Value::Null).await.ok();
    assert_eq!(get("/v1/webhooks/w1").await.ok()["tenant"], "acme");
    let foreign = service.call_as(&acme, "GET", "/v1/webhooks/w2?tenant=bolt", &[], Value::Null).await;
    assert_eq!(foreign.problem(), (403, "forbidden_tenant"));
}

#[tokio::test]
async fn an_endpoint_of_the_release_before_is_found_and_replaced_in_its_space() {
    let service = acme().await;
    let receiver = Receiver::start().await;
    let written = put_webhook(&service, "pager", &receiver, json!({"tenant": "acme"})).await;
    assert_eq!(written["tenant"], "acme");
    // As the release before wrote it: its key is its id. What was sealed for another key is written anew.
    sqlx::query("update webhooks set id = 'pager', name = null").execute(service.db.pool()).await.unwrap();
    put_webhook(&service, "pager", &receiver, json!({"tenant": "acme"})).await;
    assert_eq!(webhook(&service, "pager").await["tenant"], "acme");
    assert_eq!(service.call("POST", "/v1/webhooks/pager/test", Value::Null).await.ok()["delivered"], true);
    assert!(receiver.taken().remove(0).is_signed_by(SECRET));
    put_webhook(&service, "pager", &receiver, json!({})).await;
    assert_eq!(webhook(&service, "pager").await["tenant"], Value::Null, "and the platform may have one of that id");
    assert_eq!(service.call("POST", "/v1/webhooks/pager/test", Value::Null).await.ok()["delivered"], true);
    let all = service.call("GET", "/v1/webhooks", Value::Null).await.ok();
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_tenant_has_so_many_endpoints_and_no_more() {
    let service = acme().await;
    let body = json!({"url": "https://example.com", "tenant": "acme"});
    for n in 0..counterfoil::app::alerts::webhooks::WEBHOOKS_MAX {
        service.call("PUT", &format!("/v1/webhooks/w{n}"), body.clone()).await.ok();
    }
    let refused = service.call("PUT", "/v1/webhooks/more", body.clone()).await;
    assert_eq!(refused.problem(), (422, "invalid_request"));
    assert_eq!(refused.body["errors"][0]["field"], "id");
    service.call("PUT", "/v1/webhooks/w0", body).await.ok();
    service.call("PUT", "/v1/webhooks/more", json!({"url": "https://example.com"})).await.ok();
}

#[tokio::test]
async fn readers_see_no_path_and_tenants_no_address() {
    let service = acme().await;
    let receiver = Receiver::start().await;
    put_webhook(&service, "own", &receiver, json!({"tenant": "acme"})).await;
    let (admin, reader) = (service.token(&[Scope::Admin], Some("acme")), service.token(&[Scope::Read], Some("acme")));
    let place = format!("http://{}", receiver.address);
    for path in ["/v1/webhooks/own", "/v1/webhooks"] {
        let url = |shown: Value| shown.get("items").map_or(shown["url"].clone(), |items| items[0]["url"].clone());
        let read = service.call_as(&reader, "GET", path, &[], Value::Null).await.ok();
        assert_eq!(url(read), format!("{place}/…"));
        let managed = service.call_as(&admin, "GET", path, &[], Value::Null).await.ok();
        assert_eq!(url(managed), format!("{place}/hook"));
    }
    let careful = service.public_webhooks_only();
    for url in ["http://127.0.0.1:9/", "http://localhost/", "http://no-such-name.invalid/"] {
        let body = json!({"url": url, "tenant": "acme"});
        service.call("PUT", "/v1/webhooks/own", body).await.ok();
        let tested = careful.call_as(&admin, "POST", "/v1/webhooks/own/test", &[], Value::Null).await.ok();
        assert_eq!(tested["error"], "cannot be reached at a public address", "{url}");
    }
    // Nor in what is kept of a delivery.
    spend(&service, "acme", 500).await;
    evaluate(&service).await;
    deliver(&careful).await;
    let shown = careful.call_as(&admin, "GET", "/v1/webhooks/own", &[], Value::Null).await.ok();
    assert_eq!(shown["last_error"], "cannot be reached at a public address");
}
