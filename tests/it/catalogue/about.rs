//! `GET /v1/about`, and the document of everything in this folder.

use serde_json::Value;

use super::get;
use crate::support::service::TestService;

#[tokio::test]
async fn about_names_versions_books_and_limits_and_no_secret() {
    let service = TestService::start().await;
    let about = get(&service, "/v1/about").await;
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(about["tzdb"]["rules"], counterfoil::domain::calendar::tzdb_version());
    assert_eq!(about["tzdb"]["names"], "2025b");
    assert_eq!(about["carbon_profile"], "extended-1");
    assert!(about["schema_version"].as_i64().unwrap() >= 2);
    for book in ["prices", "factors"] {
        assert!(about[book]["rows"].as_i64().unwrap() > 100, "{book}");
        for part in about[book]["sources"].as_array().unwrap() {
            assert!(!part["licences"].as_array().unwrap().is_empty(), "{part}");
        }
    }
    assert!(about["prices"]["newest_source_date"].as_str().unwrap().starts_with("2026-"));
    assert_eq!(about["limits"]["page_items_max"], 1000);
    let text = about.to_string();
    for word in ["postgres", "/tmp", "secret", "socket"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn the_document_has_nothing_that_client_generators_stumble_over() {
    let document = counterfoil::http::service::document();
    assert_eq!(counterfoil::http::openapi::lint(&document), Vec::<String>::new());
    let json: Value = serde_json::from_str(&document.to_json().unwrap()).unwrap();
    let schemas = json["components"]["schemas"].as_object().unwrap();
    for (method, path) in
        [("post", "/v1/prices"), ("post", "/v1/factors"), ("post", "/v1/estimate"), ("get", "/v1/about")]
    {
        assert!(json["paths"][path][method].is_object(), "{method} {path}");
    }
    // Every name that is referred to is there.
    let text = json.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(schemas.contains_key(reference), "{reference}");
    }
}
