//! `POST /v1/usage`: one call, or many, of which none harms another.

use counterfoil::auth::Scope;
use serde_json::{Value, json};

use super::{empty_world, get};
use crate::support::service::TestService;

fn item(tenant: &str, output: u64) -> Value {
    json!({"tenant": tenant, "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 10, "output": output}})
}

async fn transfers(service: &TestService) -> usize {
    get(service, "/v1/ledger/transfers?limit=1000").await["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn one_call_is_one_transfer() {
    let service = empty_world().await;
    let posted = service.call("POST", "/v1/usage", item("tokyo", 5)).await.ok();
    assert_eq!(posted["amounts"]["tokens"], 15);
    let refused = service.call("POST", "/v1/usage", json!({"tenant": "tokyo", "colour": "red"})).await;
    assert_eq!(refused.problem(), (422, "invalid_request"));
    assert_eq!(refused.body["errors"][0]["field"], "colour");
    assert_eq!(service.call("POST", "/v1/usage", item("nobody", 5)).await.problem(), (404, "unknown_tenant"));
    assert_eq!(transfers(&service).await, 1);
}

#[tokio::test]
async fn the_journal_and_the_roll_up_say_how_urgent_a_call_was() {
    let service = empty_world().await;
    let ask = json!({
        "tenant": "tokyo", "feature": "chat", "provider": "openai", "model": "gpt-4o", "priority": "interactive",
        "estimate": {"input": 10, "max_output": 5}
    });
    let granted = service.call("POST", "/v1/preflight", ask).await.ok();
    let settle = format!("/v1/reservations/{}/settle", granted["reservation"].as_str().unwrap());
    service.call("POST", &settle, json!({"usage": {"input": 10, "output": 1}})).await.ok();
    let mut posted = item("tokyo", 2);
    posted["priority"] = json!("batch");
    service.call("POST", "/v1/usage", posted).await.ok();
    service.call("POST", "/v1/usage", item("tokyo", 3)).await.ok();
    let journal = get(&service, "/v1/ledger/transfers?order=oldest").await;
    let items = journal["items"].as_array().unwrap();
    let told: Vec<&str> = items.iter().map(|item| item["priority"].as_str().unwrap()).collect();
    assert_eq!(told, ["interactive", "batch", "standard"]);
    let rolled_up: Vec<(String, i64)> = sqlx::query_as("select priority, output from usage_rollup order by output")
        .fetch_all(service.db.pool())
        .await
        .unwrap();
    let expected = [("interactive", 1), ("batch", 2), ("standard", 3)];
    assert_eq!(rolled_up, expected.map(|(priority, output)| (priority.to_owned(), output)));
}

#[tokio::test]
async fn one_bad_item_never_harms_the_others() {
    let service = empty_world().await;
    let mut late = item("berlin", 2);
    late["occurred_at"] = json!("2020-01-01T00:00:00Z");
    let items = json!([
        item("tokyo", 1),
        item("nobody", 1),
        {"tenant": "tokyo", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"inputs": 1}},
        "not an object",
        late,
        {"tenant": "tokyo", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": -1}},
        item("berlin", 3),
    ]);
    let answer = service.call("POST", "/v1/usage", items).await.ok();
    let told: Vec<String> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(index, item)| {
            assert_eq!(item["index"], index);
            let problem = &item["problem"];
            match item["answer"]["amounts"]["tokens"].as_u64() {
                Some(tokens) => format!("{tokens} tokens"),
                None => format!(
                    "{} {}",
                    problem["code"].as_str().unwrap(),
                    problem["errors"][0]["field"].as_str().unwrap_or("-")
                ),
            }
        })
        .collect();
    assert_eq!(
        told,
        [
            "11 tokens",
            "unknown_tenant -",
            "invalid_request usage.inputs",
            "invalid_request body",
            "invalid_request occurred_at",
            "invalid_request usage.input",
            "13 tokens"
        ]
    );
    assert_eq!(transfers(&service).await, 2);
}

#[tokio::test]
async fn a_confined_token_posts_for_its_own_tenant_alone() {
    let service = empty_world().await;
    let token = service.token(&[Scope::UsageWrite], Some("tokyo"));
    let items = json!([item("tokyo", 1), item("berlin", 1), item("nobody", 1)]);
    let answer = service.call_as(&token, "POST", "/v1/usage", &[], items.clone()).await.ok();
    assert!(answer["items"][0]["answer"].is_object());
    assert_eq!(answer["items"][1]["problem"]["code"], "forbidden_tenant");
    assert_eq!(answer["items"][2]["problem"]["code"], "forbidden_tenant");
    assert_eq!(
        service.call_as(&token, "POST", "/v1/usage", &[], item("berlin", 1)).await.problem(),
        (403, "forbidden_tenant")
    );
    let reader = service.token(&[Scope::Read], None);
    assert_eq!(service.call_as(&reader, "POST", "/v1/usage", &[], items).await.problem(), (403, "forbidden_scope"));
    assert_eq!(transfers(&service).await, 1);
}

#[tokio::test]
async fn an_item_is_posted_once_for_its_key_in_any_order_and_any_request() {
    let service = empty_world().await;
    let keyed = |key: &str, output: u64| {
        let mut item = item("tokyo", output);
        item["idempotency_key"] = json!(key);
        item
    };
    let first = service.call("POST", "/v1/usage", json!([keyed("a", 1), keyed("b", 2), keyed("a", 1)])).await.ok();
    let transfer = |answer: &Value, index: usize| answer["items"][index]["answer"]["transfer"].clone();
    assert_eq!(transfer(&first, 0), transfer(&first, 2), "twice in one request is one effect");
    let again = service.call("POST", "/v1/usage", json!([keyed("b", 2), keyed("c", 3), keyed("a", 9)])).await.ok();
    assert_eq!(transfer(&again, 0), transfer(&first, 1));
    assert_eq!(again["items"][2]["problem"]["code"], "idempotency_mismatch");
    let alone = service.call("POST", "/v1/usage", keyed("b", 2)).await.ok();
    assert_eq!(alone["transfer"], transfer(&first, 1));
    assert_eq!(transfers(&service).await, 3);

    let many = json!([item("tokyo", 1), item("tokyo", 1), keyed("own", 1)]);
    let first = service.call_keyed("import-1", "POST", "/v1/usage", many.clone()).await.ok();
    assert_ne!(transfer(&first, 0), transfer(&first, 1), "items without a key are told apart by their place");
    let mut again = service.call_keyed("import-1", "POST", "/v1/usage", many).await.ok();
    for item in again["items"].as_array_mut().unwrap() {
        assert_eq!(item.as_object_mut().unwrap().remove("replayed"), Some(json!(true)), "and each says so");
    }
    assert_eq!(first, again, "a retry gets the first answers");
    assert_eq!(transfers(&service).await, 6);
}

#[tokio::test]
async fn a_request_takes_ten_thousand_items_and_not_one_more() {
    let service = empty_world().await;
    let items = |count: usize| Value::Array(vec![item("tokyo", 1); count]);
    for count in [0, 10_001] {
        let refused = service.call("POST", "/v1/usage", items(count)).await;
        assert_eq!(refused.problem(), (422, "invalid_request"), "{count}");
        assert_eq!(refused.body["errors"][0]["field"], "body");
    }
    assert_eq!(transfers(&service).await, 0);
    let many = items(10_000);
    assert!(many.to_string().len() > counterfoil::http::limits::BODY_BYTES_MAX, "longer than other bodies may be");
    let answer = service.call("POST", "/v1/usage", many).await.ok();
    let answers = answer["items"].as_array().unwrap();
    assert_eq!(answers.len(), 10_000);
    assert!(answers.iter().all(|item| item["answer"]["recorded_at"].is_string()));
    assert_eq!(get(&service, "/v1/usage").await["totals"]["requests"], 10_000);
    let broken = axum::http::Request::builder()
        .method("POST")
        .uri("/v1/usage")
        .header("authorization", format!("Bearer {}", service.token(&[Scope::Admin], None)))
        .header("content-type", "application/json")
        .body(axum::body::Body::from("[{\"tenant\": \"tokyo\"}, "))
        .unwrap();
    assert_eq!(service.send(broken).await.problem(), (400, "invalid_json"));
}
