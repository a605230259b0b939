//! The layer as callers see it: tiny routers, no port.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{get, post, put};
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tracing_subscriber::fmt::format::FmtSpan;

use super::limits::BODY_BYTES_MAX;
use super::*;
use crate::auth::{Caller, LocalKey, Scope, ScopeSet, TokenRules, TrustedKeys, Verifier, mint};
use crate::clock::Clock;

#[derive(Clone)]
struct TestState {
    verifier: Arc<Verifier>,
    clock: Clock,
}

impl FromRef<TestState> for Arc<Verifier> {
    fn from_ref(state: &TestState) -> Self {
        Self::clone(&state.verifier)
    }
}

impl FromRef<TestState> for Clock {
    fn from_ref(state: &TestState) -> Self {
        state.clock.clone()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body1 {
    name: String,
    #[serde(default)]
    estimate: Option<Estimate>,
    #[serde(default)]
    items: Vec<Estimate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Estimate {
    max_output: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    #[serde(default)]
    limit: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Ids {
    id: u64,
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).expect("in range")
}

fn local_key() -> LocalKey {
    LocalKey::from_bytes(vec![7; 32]).expect("32 bytes")
}

fn token(scopes: &[Scope]) -> String {
    let caller = Caller { subject: Arc::from("gateway"), scopes: ScopeSet::of(scopes), tenant: None };
    mint(&local_key(), &TokenRules::local(), &caller, start(), TimeDelta::seconds(60)).expect("minted")
}

fn service_at(clock: Clock) -> Router {
    let verifier = Verifier::new(TokenRules::local(), TrustedKeys::none().with_local(&local_key()));
    let state = TestState { verifier: Arc::new(verifier), clock: clock.clone() };
    let routes = Router::new()
        .route(
            "/json",
            post(|ValidJson(body): ValidJson<Body1>| async move {
                let outputs: u32 = body.estimate.iter().chain(&body.items).map(|estimate| estimate.max_output).sum();
                format!("{} {outputs}", body.name)
            }),
        )
        .route("/query", get(|ValidQuery(filter): ValidQuery<Filter>| async move { format!("{:?}", filter.limit) }))
        .route("/path/{id}", get(|ValidPath(ids): ValidPath<Ids>| async move { ids.id.to_string() }))
        .route("/me", get(|Auth(caller): Auth| async move { format!("{} {}", caller.subject, caller.scopes) }))
        .route("/id", get(|id: RequestId| async move { id.as_str().to_owned() }))
        .route("/key", post(|IdempotencyKeyHeader(key): IdempotencyKeyHeader| async move { format!("{key:?}") }))
        .route("/panic", get(panics))
        .route("/store", get(|| async { Problem::store_unavailable("password=hunter2") }))
        .route("/busy", get(|| async { Problem::overloaded(3) }))
        .route("/bare", get(|| async { (StatusCode::IM_A_TEAPOT, "short and stout") }))
        .route("/large", get(|| async { "a".repeat(20_000) }))
        .route(
            "/bulk",
            put(|ValidJson(items): ValidJson<Vec<String>>| async move { items.len().to_string() })
                .layer(DefaultBodyLimit::max(BODY_BYTES_MAX * 3)),
        )
        .with_state(state);
    middleware::wrap(routes, clock)
}

async fn panics() -> &'static str {
    panic!("secret of the panic")
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn problem(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.body);
        let problem: Value = serde_json::from_str(&self.body).expect("a problem is JSON");
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["type"], format!("/docs/problems#{}", problem["code"].as_str().expect("a code")));
        assert_eq!(problem["instance"], self.headers["x-request-id"].to_str().expect("ASCII"), "{problem}");
        assert!(!problem["detail"].as_str().expect("a detail").is_empty());
        problem
    }

    /// `code field: detail` of a problem of one field.
    fn field(&self) -> String {
        let problem = self.problem();
        let errors = problem["errors"].as_array().expect("errors");
        assert_eq!(errors.len(), 1, "{problem}");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        format!("{} {}: {}", text(&problem["code"]), text(&errors[0]["field"]), text(&errors[0]["detail"]))
    }
}

async fn send(request: Request<Body>) -> Answer {
    send_to(service_at(Clock::manual(start())), request).await
}

async fn send_to(service: Router, request: Request<Body>) -> Answer {
    let response = service.oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

async fn get_with(path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    send(request.body(Body::empty()).expect("a request")).await
}

async fn post_json(body: impl Into<Body>) -> Answer {
    let request = Request::post("/json").header("content-type", "application/json");
    send(request.body(body.into()).expect("a request")).await
}

#[tokio::test]
async fn a_wrong_body_names_its_field() {
    for (body, field) in [
        (json!({}), "invalid_request name: is required"),
        (json!({ "name": 7 }), "invalid_request name: invalid type: integer `7`, expected a string"),
        (
            json!({ "name": "a", "nmae": 1 }),
            "invalid_request nmae: is no field here: expected one of `name`, `estimate`, `items`",
        ),
        (json!({ "name": "a", "estimate": {} }), "invalid_request estimate.max_output: is required"),
        (
            json!({ "name": "a", "estimate": { "max_output": -1 } }),
            "invalid_request estimate.max_output: invalid value: integer `-1`, expected u32",
        ),
        (
            json!({ "name": "a", "estimate": { "max_output": 4_294_967_296_u64 } }),
            "invalid_request estimate.max_output: invalid value: integer `4294967296`, expected u32",
        ),
        (
            json!({ "name": "a", "estimate": { "max_output": 1, "max_outptu": 1 } }),
            "invalid_request estimate.max_outptu: is no field here: expected `max_output`",
        ),
        (
            json!({ "name": "a", "items": [{ "max_output": 1 }, { "max_output": "1" }] }),
            "invalid_request items[1].max_output: invalid type: string \"1\", expected u32",
        ),
        (json!({ "name": "a", "items": [{}] }), "invalid_request items[0].max_output: is required"),
        (json!(7), "invalid_request body: invalid type: integer `7`, expected struct Body1"),
    ] {
        let answer = post_json(body.to_string()).await;
        assert_eq!((answer.status, answer.field().as_str()), (422, field));
    }
    assert_eq!(post_json(r#"{"name":"a","name":"b"}"#).await.field(), "invalid_request name: is given twice");
    let inner = r#"{"name":"a","labels":{"team":"a","of":[{"x":1,"x":2}]}}"#;
    assert_eq!(post_json(inner).await.field(), "invalid_request labels.of[0].x: is given twice");
    let map = r#"{"name":"a","labels":{"team":"a","team":"b"}}"#;
    assert_eq!(post_json(map).await.field(), "invalid_request labels.team: is given twice");
    let good = post_json(json!({ "name": "a", "items": [{ "max_output": 5 }] }).to_string()).await;
    assert_eq!((good.status, good.body.as_str()), (200, "a 5"));
}

#[tokio::test]
async fn what_is_no_json_is_said_with_its_place() {
    for (body, detail) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        (r#"{"name":"a"} x"#, "trailing characters at line 1 column 14"),
        (r#"{"name":'a'}"#, "expected value at line 1 column 9"),
    ] {
        let answer = post_json(body).await;
        let problem = answer.problem();
        assert_eq!((answer.status, problem["code"].as_str()), (400, Some("invalid_json")), "{body}");
        assert_eq!(problem["detail"], detail);
    }
    let deep = format!(r#"{{"name":{}"#, "[".repeat(100_000));
    assert!([400, 422].contains(&post_json(deep).await.status), "deep nesting is refused, not followed");
    let not_utf8 = post_json(&b"{\"name\":\"\xff\"}"[..]).await;
    assert_eq!(not_utf8.status, 400);
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    for (content_type, status) in [
        (None, 415),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("application/json-patch"), 415),
        (Some("application/json"), 200),
        (Some("Application/JSON; charset=utf-8"), 200),
        (Some("application/vnd.counterfoil+json"), 200),
    ] {
        let request = Request::post("/json");
        let request = content_type.into_iter().fold(request, |request, value| request.header("content-type", value));
        let answer = send(request.body(Body::from(r#"{"name":"a"}"#)).expect("a request")).await;
        assert_eq!(answer.status, status, "{content_type:?}");
        if status == 415 {
            assert_eq!(answer.problem()["code"], "unsupported_media_type");
        }
    }
}

#[tokio::test]
async fn a_body_beyond_its_bound_is_refused() {
    let of = |bytes: usize| json!({ "name": "a".repeat(bytes) }).to_string();
    let answer = post_json(of(BODY_BYTES_MAX)).await;
    assert_eq!((answer.status, answer.problem()["code"].as_str()), (413, Some("payload_too_large")));
    assert_eq!(post_json(of(BODY_BYTES_MAX - 20)).await.status, 200);
    let bulk = Request::put("/bulk").header("content-type", "application/json");
    let items = json!(["a".repeat(BODY_BYTES_MAX), "b".repeat(BODY_BYTES_MAX)]).to_string();
    assert_eq!(send(bulk.body(Body::from(items)).expect("a request")).await.body, "2", "a route may take more");
}

#[tokio::test]
async fn wrong_queries_and_paths_name_their_parameter() {
    for (path, field) in [
        ("/query?limit=-1", "invalid_request limit: invalid digit found in string"),
        ("/query?limit=", "invalid_request limit: cannot parse integer from empty string"),
        ("/query?limti=1", "invalid_request limti: is no field here: expected `limit`"),
        ("/query?limit=1&limit=2", "invalid_request limit: is given twice"),
        ("/path/seven", "invalid_request id: \"seven\" is no u64"),
        ("/path/%ff", "invalid_request id: is not UTF-8"),
    ] {
        let answer = get_with(path, &[]).await;
        assert_eq!((answer.status, answer.field().as_str()), (422, field), "{path}");
    }
    assert_eq!(get_with("/query?limit=5", &[]).await.body, "Some(5)");
    assert_eq!(get_with("/query", &[]).await.body, "None");
    assert_eq!(get_with("/path/7", &[]).await.body, "7");
}

#[tokio::test]
async fn a_bearer_token_is_its_caller() {
    let bearer = token(&[Scope::Read, Scope::Admin]);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = get_with("/me", &[("authorization", &format!("{scheme} {bearer}"))]).await;
        assert_eq!(answer.body, "gateway read admin");
    }
}

#[tokio::test]
async fn who_shows_no_token_is_challenged() {
    let realm = r#"Bearer realm="counterfoil""#;
    let invalid = r#"Bearer realm="counterfoil", error="invalid_token""#;
    let good = format!("Bearer {}", token(&[Scope::Read]));
    for (headers, challenge) in [
        (vec![], realm),
        (vec![("authorization", "Basic YTpi")], realm),
        (vec![("authorization", "Bearer")], realm),
        (vec![("authorization", "Bearer ")], invalid),
        (vec![("authorization", "Bearer a.b.c")], invalid),
        (vec![("authorization", &*format!("{good}x"))], invalid),
    ] {
        let answer = get_with("/me", &headers).await;
        assert_eq!((answer.status, answer.problem()["code"].as_str()), (401, Some("unauthenticated")), "{headers:?}");
        assert_eq!(answer.headers["www-authenticate"], challenge, "{headers:?}");
        assert!(!answer.body.contains("a.b.c"));
    }
    let twice = get_with("/me", &[("authorization", &good), ("authorization", &good)]).await;
    assert_eq!(twice.field(), "invalid_request authorization: is given twice");
}

#[tokio::test]
async fn a_token_ends_by_the_clock_of_the_service() {
    let clock = Clock::manual(start());
    let service = service_at(clock.clone());
    let ask = || {
        let request = Request::get("/me").header("authorization", format!("Bearer {}", token(&[Scope::Read])));
        service.clone().oneshot(request.body(Body::empty()).expect("a request"))
    };
    assert_eq!(ask().await.expect("infallible").status(), 200);
    clock.advance(TimeDelta::seconds(65));
    assert_eq!(ask().await.expect("infallible").status(), 401);
}

#[tokio::test]
async fn an_idempotency_key_is_checked() {
    let with = async |values: &[&str]| {
        let request =
            values.iter().fold(Request::post("/key"), |request, value| request.header("Idempotency-Key", *value));
        send(request.body(Body::empty()).expect("a request")).await
    };
    assert_eq!(with(&[]).await.body, "None");
    assert_eq!(with(&["k-1"]).await.body, r#"Some("k-1")"#);
    assert_eq!(with(&["\"k-1\""]).await.body, r#"Some("k-1")"#, "quoted as in the draft: the same key");
    assert_eq!(with(&[""]).await.field(), "invalid_request idempotency-key: is empty");
    assert_eq!(with(&["\"\""]).await.field(), "invalid_request idempotency-key: is empty");
    assert_eq!(with(&["a", "a"]).await.field(), "invalid_request idempotency-key: is given twice");
    let spaced = "invalid_request idempotency-key: may hold only printable ASCII characters without spaces";
    assert_eq!(with(&["a b"]).await.field(), spaced);
    let long = "k".repeat(257);
    assert_eq!(with(&[&long]).await.field(), "invalid_request idempotency-key: is longer than 256 bytes");
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_is_replaced() {
    let kept = get_with("/id", &[("x-request-id", "Trace-1.a_b:c")]).await;
    assert_eq!(
        (kept.body.as_str(), &kept.headers["x-request-id"]),
        ("Trace-1.a_b:c", &"Trace-1.a_b:c".parse().expect("ASCII"))
    );
    for insane in ["", "a b", "<script>", &"a".repeat(129)] {
        let fresh = get_with("/id", &[("x-request-id", insane)]).await;
        let id: uuid::Uuid = fresh.body.parse().expect("a UUID");
        assert_eq!(id.get_version_num(), 7);
        let (seconds, _) = id.get_timestamp().expect("a time").to_unix();
        assert_eq!(i64::try_from(seconds), Ok(start().timestamp()), "its time is the clock's");
    }
    assert_ne!(get_with("/id", &[]).await.body, get_with("/id", &[]).await.body);
}

#[tokio::test]
async fn every_error_is_a_problem() {
    for (method, path, status, code) in [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/v1/nowhere/at/all?x=1", 404, "not_found"),
        ("DELETE", "/json", 405, "method_not_allowed"),
        ("GET", "/panic", 500, "internal"),
        ("GET", "/store", 503, "store_unavailable"),
        ("GET", "/busy", 503, "overloaded"),
        ("GET", "/bare", 422, "invalid_request"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
        let answer = send(request).await;
        let problem = answer.problem();
        assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{path}");
        assert!(!answer.body.contains("secret") && !answer.body.contains("hunter2"), "{}", answer.body);
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    let delete = Request::delete("/json").body(Body::empty()).expect("a request");
    assert_eq!(send(delete).await.headers["allow"], "POST");
    assert_eq!(get_with("/busy", &[]).await.headers["retry-after"], "3");
    assert_eq!(get_with("/store", &[]).await.headers["retry-after"], "2");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_a_problem() {
    let routes = Router::new().route("/slow", get(std::future::pending::<()>));
    let service = middleware::wrap_within(routes, Clock::manual(start()), Duration::from_millis(5));
    let answer = send_to(service, Request::get("/slow").body(Body::empty()).expect("a request")).await;
    assert_eq!((answer.status, answer.problem()["code"].as_str()), (504, Some("timeout")));
}

/// Everything that is logged while the request is served, at every level.
async fn logged(request: Request<Body>) -> String {
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    // Without a subscriber of the whole process, another test's end may switch off what this one listens to: the greatest
    // level that anybody wants is global, and so is what was learnt of each place that logs.
    static LISTENED_TO: std::sync::Once = std::sync::Once::new();
    LISTENED_TO.call_once(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry()).expect("no other test sets one");
    });
    let page = Page::default();
    let writer = page.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _until_the_end = tracing::subscriber::set_default(subscriber);
    send(request).await;
    let bytes = page.0.lock().expect("not poisoned").clone();
    String::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn the_log_has_the_cause_and_the_request_and_no_secret() {
    let bearer = token(&[Scope::Read]);
    let with = |path: &str| {
        Request::get(path).header("authorization", format!("Bearer {bearer}")).header("x-request-id", "r-1")
    };
    let log = logged(with("/store?password=hunter3").body(Body::empty()).expect("a request")).await;
    for said in [
        "request failed",
        "password=hunter2",
        "store_unavailable",
        "request_id=\"r-1\"",
        "http.route=\"/store\"",
        "503",
    ] {
        assert!(log.contains(said), "{said} is not in {log}");
    }
    assert!(!log.contains("hunter3"), "queries are not logged: {log}");
    assert!(!log.contains(&bearer), "{log}");
    let log = logged(with("/panic").body(Body::empty()).expect("a request")).await;
    assert!(log.contains("secret of the panic"), "{log}");

    let body = Request::post("/json")
        .header("content-type", "application/json")
        .body(Body::from(r#"{"name":"my prompt","x":1}"#));
    let log = logged(body.expect("a request")).await;
    assert!(log.contains("invalid_request") && !log.contains("my prompt"), "{log}");
}

#[tokio::test]
async fn only_long_answers_are_compressed() {
    let gzip = [("accept-encoding", "gzip")];
    assert_eq!(get_with("/large", &gzip).await.headers["content-encoding"], "gzip");
    assert!(!get_with("/large", &[]).await.headers.contains_key("content-encoding"));
    assert!(!get_with("/id", &gzip).await.headers.contains_key("content-encoding"));
    get_with("/nowhere", &gzip).await.problem();
}

mod document {
    use utoipa_axum::router::OpenApiRouter;
    use utoipa_axum::routes;

    use super::*;
    use crate::http::openapi::{Contract, complete, lint};

    /// Post something.
    #[utoipa::path(post, path = "/v1/things", tag = "things", responses((status = 200, description = "Done")))]
    async fn post_thing() {}

    /// Weigh something.
    #[utoipa::path(post, path = "/v1/weigh", tag = "things", responses((status = 200, description = "Weighed")))]
    async fn weigh_one_thing() {}

    /// Is it there?
    #[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "Yes")))]
    async fn get_health() {}

    #[utoipa::path(get, path = "/bad", operation_id = "Bad-One", responses((status = 404, description = "")),
        params(("limit" = u32, Query)))]
    async fn bad() {}

    const CONTRACT: Contract = Contract {
        tags: &[("things", "What there is"), ("health", "How it is")],
        posts_without_key: &[("weighOneThing", "Takes no key: it only weighs.")],
        public: &["getHealth"],
    };

    fn good() -> utoipa::openapi::OpenApi {
        let router = OpenApiRouter::<()>::new()
            .routes(routes!(post_thing))
            .routes(routes!(weigh_one_thing))
            .routes(routes!(get_health));
        complete(router.into_openapi(), &CONTRACT)
    }

    #[test]
    fn passes_complete_every_operation() {
        let document = serde_json::to_value(good()).expect("JSON");
        let operation = |path: &str, method: &str| document["paths"][path][method].clone();
        let things = operation("/v1/things", "post");
        assert_eq!(things["operationId"], "postThing");
        assert_eq!(things["summary"], "Post something.");
        assert_eq!(things["parameters"][0]["name"], "Idempotency-Key");
        assert_eq!(things["parameters"][0]["in"], "header");
        assert_eq!(things["security"], json!([{ "bearer": [] }]));
        for kind in ["4XX", "5XX"] {
            let schema = &things["responses"][kind]["content"]["application/problem+json"]["schema"];
            assert_eq!(schema["$ref"], "#/components/schemas/Problem");
        }
        assert_eq!(operation("/v1/weigh", "post")["parameters"], Value::Null, "it writes nothing");
        assert_eq!(operation("/healthz", "get")["security"], json!([]));
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["license"], json!({ "name": "Apache-2.0", "identifier": "Apache-2.0" }));
        assert_eq!(document["servers"], json!([{ "url": "/" }]));
        assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        assert_eq!(schemas.keys().collect::<Vec<_>>(), ["FieldError", "Problem", "ProblemCode"]);
        assert_eq!(lint(&good()), Vec::<String>::new());
    }

    #[test]
    fn lint_names_what_generators_stumble_over() {
        let router = OpenApiRouter::<()>::new().routes(routes!(bad)).routes(routes!(get_health));
        let faults = lint(&router.into_openapi());
        for fault in [
            "GET /bad: operationId \"Bad-One\" is not camelCase",
            "GET /bad: has no summary",
            "GET /bad: has no answer of success",
            "GET /bad: answer 404 has no description",
            "GET /bad: parameter limit has no description",
            "GET /healthz: operationId \"get_health\" is not camelCase",
            "GET /healthz: tag \"health\" is not declared",
        ] {
            assert!(faults.iter().any(|found| found == fault), "{fault} is not among {faults:#?}");
        }
    }

    #[tokio::test]
    async fn the_document_and_its_pages_are_served_without_a_network() {
        let routes = openapi::routes(&good()).expect("JSON");
        let service = middleware::wrap(routes, Clock::manual(start()));
        let get = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let response = service.clone().oneshot(request).await.expect("infallible");
            let status = response.status().as_u16();
            let bytes = response.into_body().collect().await.expect("a body").to_bytes();
            (status, String::from_utf8_lossy(&bytes).into_owned())
        };
        let (status, document) = get("/openapi.json").await;
        assert_eq!(status, 200);
        assert!(serde_json::from_str::<Value>(&document).expect("JSON")["paths"]["/v1/things"].is_object());
        let (status, page) = get("/docs/").await;
        assert_eq!(status, 200);
        assert!(page.contains("swagger-ui"), "{page}");
        assert!(!page.contains("https://"), "nothing is loaded from elsewhere: {page}");
        assert!(get("/docs/swagger-initializer.js").await.1.contains("/openapi.json"));
        assert_eq!(get("/docs/problems").await.0, 200);
        assert_eq!(get("/docs").await.0, 303);
        assert_eq!(get("/docs/no-such-file.js").await.0, 404);
    }
}
