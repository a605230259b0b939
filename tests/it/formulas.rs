//! Names that callers choose reach the spreadsheets of finance: they are no formulas there.

use axum::body::Body;
use axum::http::Request;
use counterfoil::auth::Scope;
use serde_json::json;

use crate::support::service::TestService;

#[tokio::test]
async fn names_that_begin_like_a_formula_are_neutral_in_csv_unless_they_are_kept() {
    let service = TestService::start().await;
    let tenant = json!({"timezone": "Etc/UTC", "name": "=HYPERLINK(1)"});
    service.call("PUT", "/v1/tenants/acme", tenant).await.ok();
    let call = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "@SUM(1+1)", "run": "+1", "agent": "=1+1",
        "usage": {"input": 10},
    });
    service.call("POST", "/v1/usage", call).await.ok();
    let token = service.token(&[Scope::Export], None);
    let cells = async |path: String| {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        let (status, _, file) = service.fetch(request.body(Body::empty()).unwrap()).await;
        assert_eq!(status, 200);
        let file = file.unwrap();
        let mut reader = csv::Reader::from_reader(file.as_slice());
        let cells = reader.records().flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
        cells.collect::<Vec<_>>()
    };
    for export in ["transfers", "focus", "ghg"] {
        let formula = |cell: &&String| cell.starts_with(['=', '@']);
        let neutral = cells(format!("/v1/exports/{export}?period=2026-06")).await;
        assert_eq!(neutral.iter().find(formula), None, "{export}");
        assert!(
            neutral.iter().any(|cell| cell.starts_with("'@sum") || cell.starts_with("'=HYPERLINK")),
            "{export}: {neutral:?}"
        );
        let kept = cells(format!("/v1/exports/{export}?period=2026-06&formulas=keep")).await;
        assert!(kept.iter().any(|cell| formula(&cell)), "{export}: {kept:?}");
    }
}
