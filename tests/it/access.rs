//! Every operation of the contract, without a token, with one that allows nothing, and with the example of the contract.
//!
//! The walk is over the document, so that an operation that is new is walked as well.

use axum::body::Body;
use axum::http::Request;
use counterfoil::auth::Scope;
use counterfoil::http::service::document;
use serde_json::{Value, json};

use crate::support::service::{Reply, TestService};

/// Routes that are no operations and need no token: probes, metrics, keys, pages.
const OPEN: [&str; 6] =
    ["/healthz", "/readyz", "/metrics", "/.well-known/jwks.json", "/openapi.json", "/docs/problems"];

/// An operation, with a request that its own schemas suggest.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) method: String,
    /// The path of the contract, with its parameters.
    pub(crate) template: String,
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) content_type: String,
    pub(crate) public: bool,
    /// The names of the parameters of its query.
    pub(crate) query: Vec<String>,
    /// Whether its body may name a tenant.
    pub(crate) body_of_tenant: bool,
}

/// A value that the schema accepts: its example, else the least it asks for.
fn sample(schema: &Value, whole: &Value) -> Value {
    if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)).or_else(|| schema["enum"].get(0))
    {
        return example.clone();
    }
    if let Some(pointer) = schema["$ref"].as_str() {
        return sample(whole.pointer(&pointer[1..]).unwrap(), whole);
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        let choices = schema[choice].as_array().into_iter().flatten();
        if let Some(first) = choices.into_iter().find(|one| one["type"] != "null") {
            return sample(first, whole);
        }
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("object");
    match (kind, schema["format"].as_str()) {
        ("string", Some("uuid")) => json!("0199a1b2-0000-7000-8000-000000000001"),
        ("string", Some("date-time")) => json!("2026-06-10T11:00:00Z"),
        ("string", Some("date")) => json!("2026-06-10"),
        ("string", Some("decimal")) => json!("1"),
        ("string", _) => json!("acme"),
        ("integer" | "number", _) => schema.get("minimum").cloned().unwrap_or(json!(1)),
        ("boolean", _) => json!(true),
        ("array", _) => json!([sample(&schema["items"], whole)]),
        _ => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required.map(|name| (name.to_owned(), sample(&schema["properties"][name], whole))).collect()
        }
    }
}

/// Whether an object of this schema may have a field of this name.
fn has_field(schema: &Value, name: &str, whole: &Value) -> bool {
    match schema["$ref"].as_str() {
        Some(pointer) => has_field(whole.pointer(&pointer[1..]).unwrap(), name, whole),
        None => schema["properties"].get(name).is_some(),
    }
}

pub(crate) fn operations() -> Vec<Operation> {
    let whole = serde_json::to_value(document()).unwrap();
    let mut operations = Vec::new();
    for (template, item) in whole["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let mut path = template.clone();
            let mut query = Vec::new();
            let mut names = Vec::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                if parameter["in"] == "query" {
                    names.push(name.to_owned());
                }
                let value = match sample(
                    if parameter.get("example").is_some() { parameter } else { &parameter["schema"] },
                    &whole,
                ) {
                    Value::String(text) => text,
                    other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                        other.to_string()
                    }
                };
                match (parameter["in"].as_str().unwrap(), parameter["required"].as_bool().unwrap_or(false)) {
                    ("path", _) => path = path.replace(&format!("{{{name}}}"), &value),
                    ("query", true) => query.push(format!("{name}={}", value.replace('+', "%2B"))),
                    _ => {}
                }
            }
            if !query.is_empty() {
                path = format!("{path}?{}", query.join("&"));
            }
            let content = operation["requestBody"]["content"].as_object();
            let (content_type, media) = content.and_then(|content| content.iter().next()).unzip();
            operations.push(Operation {
                name: format!("{} {template}", method.to_uppercase()),
                method: method.to_uppercase(),
                template: template.clone(),
                path,
                body: media.map_or(Value::Null, |media| {
                    media.get("example").cloned().unwrap_or_else(|| sample(&media["schema"], &whole))
                }),
                content_type: content_type.cloned().unwrap_or_default(),
                public: operation["security"].as_array().is_some_and(Vec::is_empty),
                query: names,
                body_of_tenant: media.is_some_and(|media| has_field(&media["schema"], "tenant", &whole)),
            });
        }
    }
    assert!(operations.len() >= 9, "the document has lost its operations");
    operations
}

pub(crate) async fn send(service: &TestService, operation: &Operation, token: Option<&str>) -> Reply {
    let mut request = Request::builder().method(operation.method.as_str()).uri(&operation.path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = if operation.body.is_null() {
        Body::empty()
    } else {
        request = request.header("content-type", &operation.content_type);
        Body::from(operation.body.to_string())
    };
    service.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn no_operation_answers_without_a_token() {
    let service = TestService::start().await;
    for operation in operations() {
        let reply = send(&service, &operation, None).await;
        if operation.public {
            assert!(reply.status < 300, "{}: {:#}", operation.name, reply.body);
            continue;
        }
        assert_eq!(reply.problem(), (401, "unauthenticated"), "{}", operation.name);
        assert!(reply.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"), "{}", operation.name);
        let forged = send(&service, &operation, Some("eyJhbGciOiJub25lIn0.e30.")).await;
        assert_eq!(forged.problem(), (401, "unauthenticated"), "{}", operation.name);
    }
}

#[tokio::test]
async fn no_operation_answers_a_token_that_allows_nothing() {
    let service = TestService::start().await;
    for operation in operations().iter().filter(|operation| !operation.public) {
        for tenant in [None, Some("acme")] {
            let token = service.token(&[], tenant);
            let reply = send(&service, operation, Some(&token)).await;
            assert_eq!(reply.status, 403, "{} with {}: {:#}", operation.name, operation.body, reply.body);
            assert_eq!(reply.problem(), (403, "forbidden_scope"), "{}", operation.name);
        }
    }
}

#[tokio::test]
async fn what_the_contract_shows_as_an_example_is_accepted() {
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Asia/Tokyo"})).await.ok();
    let admin = service.token(&[Scope::Admin], None);
    for operation in operations() {
        let reply = send(&service, &operation, Some(&admin)).await;
        // A thing that is not there is no fault of the request.
        let accepted = reply.status < 300 || reply.status == 404;
        assert!(accepted, "{} with {}: {} {:#}", operation.name, operation.body, reply.status, reply.body);
    }
}

#[tokio::test]
async fn probes_and_pages_need_no_token() {
    let service = TestService::start().await;
    for path in OPEN {
        let reply = service.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, 200, "{path}: {:#}", reply.body);
    }
}
