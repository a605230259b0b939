//! What a fleet is told beside the verdict: `pace`, `band`, and the `RateLimit` headers.

use serde_json::{Value, json};

use super::stored::{paced_budget, store_pace};
use crate::support::service::{Reply, TestService};
use crate::support::story::{acme, ask, budget};

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.get(name).map(|value| value.to_str().unwrap())
}

async fn asked(service: &TestService, input: u64, priority: &str) -> Reply {
    let reply = service.call("POST", "/v1/preflight", ask(input - 1, 1, json!({"priority": priority}))).await;
    assert_eq!(reply.status, 200, "{:#}", reply.body);
    reply
}

#[tokio::test]
async fn what_is_left_of_a_pace_is_told_before_it_ends() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    store_pace(&service, 200, 100).await;
    let reply = asked(&service, 60, "batch").await;
    assert_eq!(
        reply.body["pace"],
        json!({
            // 60 are taken of the room of 100; in a minute a sixtieth of the 10 of an hour comes back.
            "budget": "month", "measure": "tokens", "window_s": 60, "units_available": "40.166666666666",
            "pass_through": 0.5, "max_concurrency": 0, "valid_until": "2026-06-10T14:00:00Z"
        })
    );
    assert_eq!(reply.body["band"], "amber", "half of what is asked for passes");
    assert_eq!(header(&reply, "ratelimit-policy"), Some("\"month\";q=1000;qu=\"tokens\";w=2592000"));
    assert_eq!(header(&reply, "ratelimit"), Some("\"month\";r=40;t=60"));
    assert_eq!(header(&reply, "retry-after"), None);

    let reply = asked(&service, 60, "batch").await;
    assert_eq!(reply.body["verdict"], "wait");
    assert_eq!(reply.body["pace"]["units_available"], "0");
    assert_eq!(reply.body["pace"]["pass_through"], 0);
    assert_eq!(reply.body["pace"]["window_s"], 80);
    assert_eq!(header(&reply, "ratelimit"), Some("\"month\";r=0;t=80"));
    let after: u64 = header(&reply, "retry-after").unwrap().parse().unwrap();
    assert!((80..=120).contains(&after), "no earlier than the window ends, and at most two minutes: {after}");
    assert_eq!(reply.body["retry"]["after_s"], after);
}

#[tokio::test]
async fn people_are_told_what_the_limit_leaves_them() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    store_pace(&service, 0, 0).await;
    let reply = asked(&service, 100, "interactive").await;
    assert_eq!(
        reply.body["pace"],
        json!({
            "budget": "month", "measure": "tokens", "window_s": 1_771_200, "units_available": "900",
            "pass_through": 1, "max_concurrency": 9, "valid_until": "2026-07-01T00:00:00Z"
        })
    );
    assert_eq!(reply.body["band"], "green");
    assert_eq!(header(&reply, "ratelimit"), Some("\"month\";r=900;t=1771200"));
}

#[tokio::test]
async fn a_stop_sends_no_retry_after_and_says_when_it_resets() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    let reply = asked(&service, 1001, "interactive").await;
    assert_eq!(reply.body["verdict"], "stop");
    assert_eq!(reply.body["band"], "exhausted");
    assert_eq!(reply.body["retry"]["retryable"], false);
    assert_eq!(reply.body["retry"].get("after_s"), None);
    assert_eq!(header(&reply, "retry-after"), None);
    service.call("POST", "/v1/usage", usage(1000)).await.ok();
    let reply = asked(&service, 10, "batch").await;
    assert_eq!(reply.body["verdict"], "stop");
    assert_eq!(reply.body["resets_at"], "2026-07-01T00:00:00Z");
    assert_eq!(header(&reply, "retry-after"), None);
    assert_eq!(header(&reply, "ratelimit"), Some("\"month\";r=0;t=1771200"));
}

fn usage(input: u64) -> Value {
    json!({
        "tenant": "acme", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "usage": {"input": input}
    })
}

#[tokio::test]
async fn each_hard_budget_is_an_item_in_whole_units_of_its_measure() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "a-usd", "usd", "0.5", json!({})).await;
    budget(&service, "b-requests", "requests", "10", json!({"period": {"kind": "hour"}})).await;
    budget(&service, "c-grams", "gco2e", "100000", json!({"period": {"kind": "once"}})).await;
    budget(&service, "d-soft", "tokens", "1", json!({"enforcement": "soft"})).await;
    let reply = asked(&service, 1000, "standard").await;
    assert_eq!(
        header(&reply, "ratelimit-policy"),
        Some(
            "\"b-requests\";q=10;w=3600, \"a-usd\";q=500000;qu=\"micro-usd\";w=2592000, \"c-grams\";q=100000000;qu=\"mg-co2e\""
        )
    );
    let limit = header(&reply, "ratelimit").unwrap().to_owned();
    // 999 tokens at $3 and one at $15 a million: $0.003012 of 0.5.
    assert!(limit.starts_with("\"b-requests\";r=9;t=3600, \"a-usd\";r=496988;t=1771200, \"c-grams\";r=9"), "{limit}");
    assert!(!limit.contains("d-soft"), "{limit}");
    assert_eq!(reply.body["pace"]["budget"], "b-requests", "nine more such calls: the fewest");
    assert_eq!(reply.body["band"], "amber", "the soft limit is passed");
}

/// Twenty budgets are older and roomier than the one that says no: the headers tell that one, and the tightest of the others.
#[tokio::test]
async fn the_budgets_that_bind_first_are_told_however_many_there_are() {
    let service = TestService::start().await;
    acme(&service).await;
    for number in 0..20 {
        budget(&service, &format!("b-{number:02}"), "tokens", &(1_000_000 - number).to_string(), json!({})).await;
    }
    budget(&service, "z-tight", "requests", "1", json!({})).await;
    let names = |reply: &Reply, header_name: &str| -> Vec<String> {
        let items = header(reply, header_name).unwrap().split(", ");
        items.map(|item| item.split('"').nth(1).unwrap().to_owned()).collect()
    };
    let first = asked(&service, 10, "standard").await;
    let second = asked(&service, 10, "standard").await;
    assert_ne!(second.body["verdict"], "allow");
    for reply in [&first, &second] {
        let told = names(reply, "ratelimit");
        assert_eq!((told.len(), told[0].as_str(), told[1].as_str()), (10, "z-tight", "b-19"), "{told:?}");
        assert_eq!(told, names(reply, "ratelimit-policy"));
    }
}

#[tokio::test]
async fn where_nothing_is_hard_no_limit_is_told() {
    let service = TestService::start().await;
    acme(&service).await;
    let reply = asked(&service, 10, "batch").await;
    assert_eq!((header(&reply, "ratelimit"), header(&reply, "ratelimit-policy")), (None, None));
    assert_eq!(reply.body["pace"], Value::Null);
    assert_eq!(reply.body["band"], "green");
}

#[tokio::test]
async fn a_retry_with_the_same_key_gets_the_same_pace() {
    let service = TestService::start().await;
    paced_budget(&service, json!({})).await;
    store_pace(&service, 200, 100).await;
    // A `wait` is decided anew.
    for (key, input, priority) in [("a", 60, "batch"), ("c", 2000, "interactive")] {
        let body = ask(input - 1, 1, json!({"priority": priority}));
        let mut first = service.call_keyed(key, "POST", "/v1/preflight", body.clone()).await.ok();
        let mut again = service.call_keyed(key, "POST", "/v1/preflight", body).await.ok();
        // Each answer is signed anew.
        for answer in [&mut first, &mut again] {
            answer["grant"] = Value::Null;
        }
        assert_eq!(first, again);
    }
}
