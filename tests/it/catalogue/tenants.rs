//! `/v1/tenants`.

use serde_json::{Value, json};

use super::{ask, get, tenant, walk};
use crate::support::service::TestService;

#[tokio::test]
async fn a_tenant_is_written_replaced_archived_and_its_history_stays() {
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"name": "Acme KK", "timezone": "Asia/Tokyo"})).await.ok();
    let written = service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Europe/Berlin", "strict": true})).await;
    let now = get(&service, "/v1/tenants/acme").await;
    assert_eq!(written.ok(), now, "what was written is shown");
    assert_eq!(
        now,
        json!({
            "id": "acme", "name": "acme", "timezone": "Europe/Berlin", "strict": true, "version": 2,
            "created_at": "2026-06-10T12:00:00Z", "changed_at": "2026-06-10T12:00:00Z", "archived_at": null
        })
    );
    let archived = service.call("DELETE", "/v1/tenants/acme", Value::Null).await.ok();
    assert_eq!((&archived["version"], &archived["archived_at"]), (&json!(3), &json!("2026-06-10T12:00:00Z")));
    assert_eq!(service.call("DELETE", "/v1/tenants/acme", Value::Null).await.ok(), archived, "archiving twice is once");
    assert_eq!(service.call("POST", "/v1/preflight", ask("acme")).await.problem(), (404, "unknown_tenant"));
    assert_eq!(get(&service, "/v1/tenants").await["items"], json!([]));
    assert_eq!(get(&service, "/v1/tenants?archived=true").await["items"], json!([archived]));

    let versions = get(&service, "/v1/tenants/acme/versions").await;
    let shown: Vec<_> =
        versions["items"].as_array().unwrap().iter().map(|one| (&one["timezone"], &one["archived"])).collect();
    let (tokyo, berlin) = (json!("Asia/Tokyo"), json!("Europe/Berlin"));
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(shown, [(&tokyo, &no), (&berlin, &no), (&berlin, &yes)]);
    let (pages, count) = walk(&service, "/v1/tenants/acme/versions", 1, "version").await;
    assert_eq!((pages, count), (vec!["1".to_owned(), "2".to_owned(), "3".to_owned()], 3));

    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Asia/Tokyo"})).await.ok();
    assert_eq!(get(&service, "/v1/tenants/acme").await["archived_at"], Value::Null, "it is back");
    assert_eq!(service.call("GET", "/v1/tenants/nobody", Value::Null).await.problem(), (404, "unknown_tenant"));
    assert_eq!(service.call("DELETE", "/v1/tenants/nobody", Value::Null).await.problem(), (404, "unknown_tenant"));
    assert_eq!(
        service.call("GET", "/v1/tenants/nobody/versions", Value::Null).await.problem(),
        (404, "unknown_tenant")
    );
}

#[tokio::test]
async fn a_list_of_tenants_is_walked_by_pages() {
    let service = TestService::start().await;
    let ids: Vec<String> = (0..7).map(|n| format!("tenant-{n}")).collect();
    for id in &ids {
        tenant(&service, id, "Asia/Tokyo").await;
    }
    assert_eq!(walk(&service, "/v1/tenants", 3, "id").await, (ids.clone(), 3));
    assert_eq!(walk(&service, "/v1/tenants", 7, "id").await, (ids, 1), "a full last page says that it is the last");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("colour=red", "colour"),
    ] {
        let refused = service.call("GET", &format!("/v1/tenants?{query}"), Value::Null).await;
        assert_eq!(refused.problem(), (422, "invalid_request"), "{query}");
        assert_eq!(refused.body["errors"][0]["field"], field, "{query}");
    }
}

#[tokio::test]
async fn a_wrong_tenant_is_refused_by_field_and_nothing_is_stored() {
    let service = TestService::start().await;
    for (body, code, field) in [
        (json!({"timezone": "Asia/Tokio"}), "unknown_zone", "timezone"),
        (json!({"timezone": "asia/tokyo"}), "unknown_zone", "timezone"),
        (json!({"timezone": "tenant"}), "unknown_zone", "timezone"),
        (json!({}), "invalid_request", "timezone"),
        (json!({"timezone": "Asia/Tokyo", "colour": "red"}), "invalid_request", "colour"),
        (json!({"timezone": "Asia/Tokyo", "name": ""}), "invalid_request", "name"),
        (json!({"timezone": "Asia/Tokyo", "name": "a\u{0}b"}), "invalid_request", "name"),
        (json!({"timezone": "Asia/Tokyo", "name": "x".repeat(201)}), "invalid_request", "name"),
        (json!({"timezone": "Asia/Tokyo", "id": "other"}), "invalid_request", "id"),
        (json!({"timezone": "Asia/Tokyo", "strict": "yes"}), "invalid_request", "strict"),
    ] {
        let refused = service.call("PUT", "/v1/tenants/acme", body.clone()).await;
        assert_eq!(refused.problem(), (422, code), "{body}");
        assert_eq!(refused.body["errors"][0]["field"], field, "{body}");
    }
    let hint = service.call("PUT", "/v1/tenants/acme", json!({"timezone": "tokyo"})).await;
    assert!(hint.body["detail"].as_str().unwrap().contains("Asia/Tokyo"), "{}", hint.body["detail"]);
    assert_eq!(service.call("PUT", "/v1/tenants/-acme", json!({"timezone": "Asia/Tokyo"})).await.status, 422);
    assert_eq!(get(&service, "/v1/tenants?archived=true").await["items"], json!([]));
}
