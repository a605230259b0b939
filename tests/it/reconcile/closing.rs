//! Closed periods: what is closed never changes by a byte.

use serde_json::{Value, json};

use super::*;

const SONNET: &str = "claude-sonnet-4-5";

/// What the service says of May: sums in several ways, straight from the journal's period and from the roll-up.
async fn may(service: &TestService) -> String {
    let mut said = String::new();
    for path in [
        "/v1/usage?from=2026-05-01&to=2026-06-01&group_by=tenant,feature,provider,model&bucket=day",
        "/v1/usage?from=2026-05-01&to=2026-06-01&group_by=tenant,run",
        "/v1/exports/transfers?period=2026-05",
        "/v1/exports/focus?period=2026-05",
        "/v1/exports/ghg?period=2026-05",
        "/v1/exports/hledger?period=2026-05",
    ] {
        said += &service.call("GET", path, Value::Null).await.ok().to_string();
    }
    let rows: Vec<String> =
        sqlx::query_scalar("select transfers::text from transfers where period_at < '2026-06-01' order by id")
            .fetch_all(service.db.pool())
            .await
            .unwrap();
    let counters: Vec<String> =
        sqlx::query_scalar("select counters::text from counters where period_end <= '2026-06-01' order by 1")
            .fetch_all(service.db.pool())
            .await
            .unwrap();
    said + &rows.concat() + &counters.concat()
}

async fn close(service: &TestService, body: Value) -> Value {
    service.call("POST", "/v1/periods/close", body).await.ok()
}

#[tokio::test]
async fn a_closed_month_does_not_change_by_a_byte_whatever_comes_later() {
    let service = world().await;
    post(&service, "acme", "2026-05-31T10:00:00Z", SONNET, json!({"input": 1000, "output": 500})).await;
    let closed = close(&service, json!({"until": "2026-05"})).await;
    assert_eq!(closed["closed_until"], "2026-06-01T00:00:00Z");
    let before = may(&service).await;
    assert!(before.contains("supply:anthropic/claude-sonnet-4-5"), "{before}");

    let late = post(&service, "acme", "2026-05-31T11:00:00Z", SONNET, json!({"output": 7})).await;
    assert!(late["flags"].as_array().unwrap().contains(&json!("period_closed")), "{late:#}");
    let report = page(&[bucket("2026-05-31", &[row(SONNET, [1000, 0, 0, 600])])]);
    let approved = approve(&service, &propose(&service, report.clone()).await).await;
    assert_eq!(told(&approved), ["forward acme/chat 93 $0.001395"]);
    let path = format!("/v1/ledger/transfers/{}", approved["true_ups"][0]["transfer"].as_str().unwrap());
    let transfer = service.call("GET", &path, Value::Null).await.ok();
    assert!(transfer["flags"].as_array().unwrap().contains(&json!("period_closed")), "{transfer:#}");
    assert_eq!(transfer["kind"], "true_up");
    assert_eq!(may(&service).await, before, "late usage and a true-up, and May is as it was");
    let june = service.call("GET", "/v1/usage?from=2026-06-01&to=2026-07-01", Value::Null).await.ok();
    assert_eq!(june["totals"]["usage"]["output"], 100, "both are in the open period: {june:#}");
    assert_settled(&service, &report).await;
}

#[tokio::test]
async fn closing_is_for_ever_past_only_and_the_platform_s() {
    let service = world().await;
    let nothing = service.call("GET", "/v1/periods", Value::Null).await.ok();
    assert_eq!(nothing, json!({"closed_until": null, "closings": []}));
    for until in ["2026-06-10T12:00:01Z", "2026-06", "2027-01", "yesterday"] {
        let refused = service.call("POST", "/v1/periods/close", json!({"until": until})).await;
        assert_eq!(refused.problem(), (422, "invalid_request"), "{until}");
    }
    let closed = close(&service, json!({"until": "2026-05", "zone": "Asia/Tokyo"})).await;
    assert_eq!(closed["closed_until"], "2026-05-31T15:00:00Z");
    assert_eq!(close(&service, json!({"until": "2026-04"})).await, closed, "what is closed stays closed");
    assert_eq!(close(&service, json!({"until": "2026-05", "zone": "Asia/Tokyo"})).await, closed);
    let later = close(&service, json!({"until": "2026-06-10T12:00:00Z"})).await;
    assert_eq!(later["closings"].as_array().unwrap().len(), 2);
    assert_eq!(service.call("GET", "/v1/periods", Value::Null).await.ok(), later);
    assert_eq!(later["closings"][0]["closed_by"], "test");
    for statement in ["update closings set closed_by = ''", "delete from closings", "truncate closings"] {
        sqlx::query(statement).execute(service.db.pool()).await.unwrap_err();
    }
    let confined = service.token(&[counterfoil::auth::Scope::Admin], Some("acme"));
    let refused = service.call_as(&confined, "POST", "/v1/periods/close", &[], json!({"until": "2026-05"})).await;
    assert_eq!(refused.problem(), (403, "forbidden_tenant"));
}
