//! One name for a provider and for a model, by every door and in every question; and books that were kept before there was one.

use counterfoil::app::start::prepare;
use counterfoil::app::verify::verify;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::{get, put_budget, tenant};
use crate::support::service::{Replica, TestService};

fn limited(scope: &Value, limit: &str) -> Value {
    json!({"scope": scope, "measure": "tokens", "limit": limit, "period": {"kind": "month"}, "enforcement": "hard"})
}

fn call(provider: &str, model: &str) -> Value {
    json!({
        "tenant": "acme", "feature": "chat", "provider": provider, "model": model, "agent": "数学家教",
        "estimate": {"input": 100, "max_output": 0}
    })
}

async fn spend(service: &Replica, provider: &str, model: &str) -> Value {
    let mut usage = call(provider, model);
    usage.as_object_mut().unwrap().remove("estimate");
    usage["usage"] = json!({"input": 100});
    service.call("POST", "/v1/usage", usage).await.ok()
}

async fn posted(service: &Replica, budget: &str) -> String {
    let shown = get(service, &format!("/v1/budgets/{budget}")).await;
    let counters = shown["counters"].as_array().unwrap().iter();
    counters.map(|one| one["posted"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_budget_a_question_and_an_answer_know_every_spelling() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Etc/UTC").await;
    put_budget(&service, "quota", limited(&json!({"provider": "bedrock"}), "1000")).await;
    put_budget(&service, "model", limited(&json!({"model": "claude-sonnet-4-5-20250929"}), "1000")).await;
    assert_eq!(get(&service, "/v1/budgets/quota").await["scope"], json!({"provider": "aws"}));
    assert_eq!(get(&service, "/v1/budgets/model").await["scope"], json!({"model": "claude-sonnet-4-5"}));
    let said = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    for provider in ["aws", "bedrock", "Bedrock", "aws.bedrock", "amazon"] {
        spend(&service, provider, said).await;
    }
    assert_eq!((posted(&service, "quota").await.as_str(), posted(&service, "model").await.as_str()), ("500", "500"));

    let held = service.call("POST", "/v1/preflight", call("bedrock", said)).await.ok();
    let id = held["reservation"].as_str().unwrap();
    let reservation = get(&service, &format!("/v1/reservations/{id}")).await;
    assert_eq!((&reservation["provider"], &reservation["model"]), (&json!("aws"), &json!("claude-sonnet-4-5")));
    assert_eq!(reservation["said_as"], json!({"provider": "bedrock", "model": said}));
    let settled = json!({"usage": {"input": 100}, "served_model": "claude-sonnet-4-5-20250929"});
    service.call("POST", &format!("/v1/reservations/{id}/settle"), settled).await.ok();
    assert_eq!((posted(&service, "quota").await.as_str(), posted(&service, "model").await.as_str()), ("600", "600"));

    for question in [
        "provider=amazon-bedrock",
        "model=claude-sonnet-4-5-20250929",
        "provider=aws&model=anthropic.claude-sonnet-4-5",
    ] {
        let totals = get(&service, &format!("/v1/usage?group_by=provider,model&{question}")).await;
        let rows = totals["rows"].as_array().unwrap();
        assert_eq!((rows.len(), &totals["totals"]["requests"]), (1, &json!(6)), "{question}: {totals}");
        assert_eq!(rows[0]["group"], json!({"provider": "aws", "model": "claude-sonnet-4-5"}));
        let transfers = get(&service, &format!("/v1/ledger/transfers?{question}")).await;
        let items = transfers["items"].as_array().unwrap();
        assert_eq!(items.len(), 6, "{question}");
        assert!(items.iter().all(|row| row["credit_account"] == "supply:aws/claude-sonnet-4-5"));
        assert_eq!(items[0]["said_as"]["served_model"], "claude-sonnet-4-5-20250929");
        assert_eq!((&items[0]["requested_model"], &items[0]["agent"]), (&Value::Null, &json!("数学家教")));
    }
    let prices = get(&service, "/v1/prices?provider=bedrock&limit=1").await;
    assert_eq!(prices["items"][0]["provider"], "aws");
    let prices = get(&service, &format!("/v1/prices?provider=bedrock&model={said}&limit=1")).await;
    assert_eq!(prices["items"].as_array().unwrap().len(), 1);

    for (scope, field) in [
        (json!({"model": "claude-opus-*"}), "scope.model"),
        (json!({"provider": "*"}), "scope.provider"),
        (json!({"region": "us-*"}), "scope.region"),
    ] {
        let refused = service.call("PUT", "/v1/budgets/glob", limited(&scope, "1")).await;
        assert_eq!(refused.problem(), (422, "invalid_request"));
        assert_eq!(refused.body["errors"][0]["field"], field);
    }
}

#[tokio::test]
async fn books_that_were_kept_before_there_were_names_are_counted_by_them() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Etc/UTC").await;
    put_budget(&service, "quota", limited(&json!({"provider": "aws"}), "1000000")).await;
    put_budget(
        &service,
        "models",
        json!({
            "scope": {"tenant": "acme"}, "each": "model", "measure": "tokens", "limit": "1000000",
            "period": {"kind": "month"}, "enforcement": "hard"
        }),
    )
    .await;
    spend(&service, "bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0").await;
    spend(&service, "aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0").await;
    spend(&service, "OpenAI", "gpt-4o-2024-08-06").await;
    spend(&service, "openai", "gpt-4o").await;
    let held =
        service.call("POST", "/v1/preflight", call("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0")).await.ok();
    let counted = (posted(&service, "quota").await, posted(&service, "models").await);
    assert_eq!((counted.0.as_str(), counted.1.as_str()), ("200", "200 200"));

    // As the release before wrote them: what was said, and everything that is derived from it.
    let said = "provider = coalesce(said_as ->> 'provider', provider), model = coalesce(said_as ->> 'model', model), said_as = null";
    let before = format!(
        "set session_replication_role = replica;
        update transfers set {said}, credit_account = 'supply:' || coalesce(said_as ->> 'provider', provider) || '/' || coalesce(said_as ->> 'model', model);
        update reservations set {said};
        delete from usage_rollup;
        insert into usage_rollup
            (tenant, quarter, feature, provider, model, region, priority, requests, input, cache_read, cache_write_5m,
            cache_write_1h, output, reasoning, usd, gco2e_usage_location, gco2e_usage_market, gco2e_embodied)
        select tenant, date_bin('15 minutes', period_at, 'epoch'), feature, provider, model, coalesce(region, ''), priority,
            sum(requests), sum(input), sum(cache_read), sum(cache_write_5m), sum(cache_write_1h), sum(output), sum(reasoning),
            sum(usd), sum(gco2e_usage_location), sum(gco2e_usage_market), sum(gco2e_embodied)
        from transfers group by 1, 2, 3, 4, 5, 6, 7;
        delete from counters;
        update budgets set doc = jsonb_set(doc::jsonb, '{{scope,provider}}', '\"bedrock\"') where id = 'quota';
        update catalogue_head set names_followed_at = null, version = version + 1;
        set session_replication_role = origin"
    );
    sqlx::raw_sql(AssertSqlSafe(before)).execute(service.db.pool()).await.unwrap();

    prepare(&service.db.connect_options(), &service.clock).await.unwrap();
    let replica = service.replica().await;
    assert_eq!(get(&replica, "/v1/budgets/quota").await["scope"], json!({"provider": "aws"}));
    assert_eq!((posted(&replica, "quota").await, posted(&replica, "models").await), counted);
    for source in ["", "&agent=%E6%95%B0%E5%AD%A6%E5%AE%B6%E6%95%99"] {
        let usage = get(&replica, &format!("/v1/usage?group_by=provider,model{source}")).await;
        let groups: Vec<&Value> = usage["rows"].as_array().unwrap().iter().map(|row| &row["group"]).collect();
        let names = [("aws", "claude-sonnet-4-5"), ("openai", "gpt-4o")]
            .map(|(provider, model)| json!({"provider": provider, "model": model}));
        assert_eq!(groups, names.iter().collect::<Vec<_>>());
    }
    let transfers = get(&replica, "/v1/ledger/transfers?provider=bedrock&order=oldest").await;
    let said: Vec<&Value> = transfers["items"].as_array().unwrap().iter().map(|row| &row["provider"]).collect();
    assert_eq!(said, ["bedrock", "aws"], "the journal keeps what it says");
    let id = held["reservation"].as_str().unwrap();
    replica.call("POST", &format!("/v1/reservations/{id}/settle"), json!({"usage": {"input": 100}})).await.ok();
    assert_eq!(posted(&replica, "quota").await, "300");
    let report = verify(&service.db.connect_options(), &service.clock, &mut |_| {}).await.unwrap().unwrap();
    assert!(report.is_consistent(), "{:#?}", report.differences().collect::<Vec<_>>());
    assert!(!prepare(&service.db.connect_options(), &service.clock).await.unwrap().named, "it is done once");
}

#[tokio::test]
async fn a_price_that_says_something_else_in_the_same_place_is_refused() {
    let service = TestService::start().await;
    let row = |output: &str, source: &str| {
        json!({
            "provider": "acme-ai", "model": "swift", "effective_from": "2026-01-01T00:00:00Z",
            "tiers": [{"from": 0, "input": "1", "output": output}], "source": source, "source_date": "2026-01-01",
            "licence": "private"
        })
    };
    let first = service.call("POST", "/v1/prices", row("3", "list")).await.ok();
    assert_eq!(first["added"], 1);
    let again = service.call("POST", "/v1/prices", row("3.00", "list")).await.ok();
    assert_eq!((&again["added"], &again["ids"]), (&json!(0), &json!([null])), "the same again is no error");
    let other = service.call("POST", "/v1/prices", json!([row("0.3", "list"), row("9", "another")])).await;
    assert_eq!(other.problem(), (409, "conflict"));
    let detail = other.body["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("price {}", first["ids"][0])) && detail.contains("source_date"), "{detail}");
    assert_eq!(get(&service, "/v1/prices?provider=acme-ai").await["items"].as_array().unwrap().len(), 1, "all or none");
    service.call("POST", "/v1/prices", row("0.3", "list, corrected")).await.ok();
    let question = json!({"provider": "acme-ai", "model": "swift", "usage": {"output": 1_000_000}});
    assert_eq!(service.call("POST", "/v1/estimate", question).await.ok()["usd"], "0.3");
}

#[tokio::test]
async fn a_name_that_was_a_spelling_once_is_counted_as_the_name_it_was_written_as() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Etc/UTC").await;
    sqlx::raw_sql(
        "insert into spellings (provider, model, named_provider, named_model)
            values ('openai', 'gpt-4o', 'openai', 'gpt-4o-mini');
        update catalogue_head set version = version + 1",
    )
    .execute(service.db.pool())
    .await
    .unwrap();
    spend(&service, "openai", "gpt-4o").await;
    put_budget(&service, "named", limited(&json!({"model": "gpt-4o"}), "1000")).await;
    assert_eq!(posted(&service, "named").await, "100", "written by its name, whatever the spelling meant");
}
