//! Every body of the contract, in every way in which it can be written: an object is an object, and a key stands once.
//!
//! The walk is over the document, so that a body that is new is walked as well.

use axum::body::Body;
use axum::http::Request;
use counterfoil::auth::Scope;
use counterfoil::http::service::document;
use serde_json::{Map, Value, json};

use crate::access::operations;
use crate::support::service::TestService;

/// How many choices of a schema are tried.
const CHOICES_MAX: usize = 5;

/// A body that an operation takes.
struct Written {
    name: String,
    method: String,
    path: String,
    content_type: &'static str,
    /// What stands around it.
    around: [&'static str; 2],
    body: Value,
    /// Where its objects are, as JSON pointers.
    objects: Vec<String>,
}

/// A value with every field that its schema knows, and where in it objects of the schema are. Of a choice the one of that
/// number, or the last.
struct Sampler<'a> {
    whole: &'a Value,
    choice: usize,
    objects: Vec<String>,
}

impl Sampler<'_> {
    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        match schema["$ref"].as_str() {
            Some(pointer) => self.resolved(self.whole.pointer(&pointer[1..]).unwrap()),
            None => schema,
        }
    }

    fn fields(&self, schema: &Value) -> Map<String, Value> {
        let schema = self.resolved(schema);
        let mut fields = schema["properties"].as_object().cloned().unwrap_or_default();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            fields.extend(self.fields(part));
        }
        fields
    }

    fn value(&mut self, schema: &Value, at: &str) -> Value {
        let schema = self.resolved(schema).clone();
        let choices = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
        if let Some(choices) = choices {
            let some: Vec<&Value> = choices.iter().filter(|one| one["type"] != "null").collect();
            let value = self.value(some[self.choice.min(some.len() - 1)], at);
            // Where a list is another choice, a list is no object by the order of its fields.
            if some.iter().any(|one| self.resolved(one)["type"] == "array") {
                self.objects.retain(|object| object != at);
            }
            return value;
        }
        if let Some(first) = schema["enum"].get(0) {
            return first.clone();
        }
        let fields = self.fields(&schema);
        if !fields.is_empty() {
            self.objects.push(at.to_owned());
            let values = fields.iter().map(|(name, of)| (name.clone(), self.value(of, &format!("{at}/{name}"))));
            return values.collect();
        }
        let example = schema.get("example").cloned();
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
        match (kind, schema["format"].as_str()) {
            (Some("array"), _) => json!([self.value(&schema["items"], &format!("{at}/0"))]),
            (Some("object"), _) => {
                if schema.get("additionalProperties").is_some_and(|of| self.resolved(of).get("type").is_some()) {
                    self.objects.push(at.to_owned());
                }
                example.unwrap_or_else(|| json!({}))
            }
            (_, Some("uuid")) => json!("0199a1b2-0000-7000-8000-000000000001"),
            (_, Some("date-time")) => json!("2026-06-10T11:00:00Z"),
            (_, Some("date")) => json!("2026-06-10"),
            (_, Some("decimal")) => json!("1"),
            (Some("integer" | "number"), _) => schema.get("minimum").cloned().unwrap_or(json!(1)),
            (Some("boolean"), _) => json!(true),
            (Some("string"), _) => example.unwrap_or(json!("acme")),
            _ => json!({}),
        }
    }
}

fn call() -> Value {
    json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "labels": {"team": "cx"},
        "usage": {"input": 1}
    })
}

/// An event with a call in it.
fn event() -> Value {
    json!({
        "specversion": "1.0", "id": "e-1", "source": "test", "type": "io.counterfoil.usage", "data": call()
    })
}

fn spans() -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "tenant", "value": {"stringValue": "acme"}}]},
        "scopeSpans": [{"scope": {"name": "x"}, "spans": [{
            "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "chat", "kind": 3,
            "attributes": [{"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}}]
        }]}]
    }]})
}

/// Where the objects of a value are.
fn objects_of(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            fields.iter().for_each(|(name, inner)| objects_of(inner, &format!("{at}/{name}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(place, inner)| objects_of(inner, &format!("{at}/{place}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The bodies of the contract with all their fields, and usage and spans as they may be written besides.
fn bodies() -> Vec<Written> {
    let whole = serde_json::to_value(document()).unwrap();
    let mut written = Vec::new();
    for operation in operations().into_iter().filter(|operation| !operation.body.is_null()) {
        let content = &whole["paths"][&operation.template][operation.method.to_lowercase()]["requestBody"]["content"];
        let Some(media) = content.get("application/json") else { continue };
        for choice in 0..CHOICES_MAX {
            let mut sampler = Sampler { whole: &whole, choice, objects: Vec::new() };
            let body = sampler.value(&media["schema"], "");
            let objects = sampler.objects;
            let (name, method, path) = (&operation.name, &operation.method, &operation.path);
            let (name, method, path) = (name.clone(), method.clone(), path.clone());
            written.push(Written {
                name,
                method,
                path,
                content_type: "application/json",
                around: ["", ""],
                body,
                objects,
            });
        }
    }
    for (content_type, around, body) in [
        ("application/json", ["[", "]"], call()),
        ("application/x-ndjson", ["", "\n"], call()),
        ("application/cloudevents+json", ["", ""], event()),
        ("application/cloudevents-batch+json", ["[", "]"], event()),
    ] {
        let mut objects = Vec::new();
        objects_of(&body, "", &mut objects);
        let (name, method, path) = (format!("usage as {content_type}"), "POST".to_owned(), "/v1/usage".to_owned());
        written.push(Written { name, method, path, content_type, around, body, objects });
    }
    let (body, mut objects) = (spans(), Vec::new());
    objects_of(&body, "", &mut objects);
    let (name, method, path) = ("spans".to_owned(), "POST".to_owned(), "/v1/otlp/v1/traces".to_owned());
    written.push(Written { name, method, path, content_type: "application/json", around: ["", ""], body, objects });
    assert!(written.len() > 80, "{}", written.len());
    written
}

/// Whether a text as body is refused, with what is said.
async fn refusal(service: &TestService, written: &Written, text: &str) -> (bool, String) {
    let token = service.token(&[Scope::Admin], None);
    let request = Request::builder().method(written.method.as_str()).uri(&written.path);
    let request =
        request.header("authorization", format!("Bearer {token}")).header("content-type", written.content_type);
    let [before, after] = written.around;
    let (status, _, answer) = service.fetch(request.body(Body::from(format!("{before}{text}{after}"))).unwrap()).await;
    let answer = String::from_utf8(answer.unwrap()).unwrap();
    // Each of many has an answer of its own.
    let of_item = status == 200 && answer.contains("\"status\":422") && !answer.contains("\"transfer\":");
    (status == 422 || of_item, format!("{status} {answer}"))
}

/// The text of a value, in which the object at one place has its first key twice.
fn with_a_key_twice(value: &Value, at: &str, place: &str) -> String {
    match value {
        Value::Object(fields) => {
            let field = |(name, inner): (&String, &Value)| {
                format!("{}:{}", json!(name), with_a_key_twice(inner, &format!("{at}/{name}"), place))
            };
            let mut parts: Vec<String> = fields.iter().map(field).collect();
            if at == place {
                let twice = parts.first().cloned().unwrap_or_else(|| "\"a\":\"b\"".to_owned());
                let first = if parts.is_empty() { Some(twice.clone()) } else { None };
                parts.extend(first.into_iter().chain([twice]));
            }
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => {
            let item = |(number, inner): (usize, &Value)| with_a_key_twice(inner, &format!("{at}/{number}"), place);
            format!("[{}]", items.iter().enumerate().map(item).collect::<Vec<_>>().join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// What says that an array is no object.
const NO_OBJECT: [&str; 3] = ["sequence", "neither a text nor an object", "must be an object"];

#[tokio::test]
async fn an_array_is_no_object_in_any_body() {
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    let mut taken = Vec::new();
    for written in bodies() {
        for place in &written.objects {
            let mut body = written.body.clone();
            let object = body.pointer_mut(place).unwrap();
            *object = object.as_object().unwrap().values().cloned().collect();
            let (is_refused, said) = refusal(&service, &written, &body.to_string()).await;
            if !is_refused || !NO_OBJECT.iter().any(|words| said.contains(words)) {
                taken.push(format!("{} {place:?} {body}: {said}", written.name));
            }
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
}

#[tokio::test]
async fn a_key_stands_once_in_every_object_of_every_body() {
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    let mut taken = Vec::new();
    for written in bodies() {
        let mut places = Vec::new();
        objects_of(&written.body, "", &mut places);
        for place in places {
            let text = with_a_key_twice(&written.body, "", &place);
            let (is_refused, said) = refusal(&service, &written, &text).await;
            if !is_refused || !said.contains("is given twice") {
                taken.push(format!("{} {place:?} {text}: {said}", written.name));
            }
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
}

/// One run, agent and label, as two keyboards write them, by every door and in every question.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of doors and questions")]
async fn a_name_is_one_however_it_was_composed_and_by_whichever_door_it_came() {
    const APART: &str = "Zoe\u{308}";
    const COMPOSED: &str = "Zo\u{eb}";
    let service = TestService::start().await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    for (id, each) in [("by-run", "run"), ("by-agent", "agent"), ("by-label", "label:team")] {
        let budget = json!({
            "scope": {"tenant": "acme"}, "each": each, "measure": "requests", "limit": "100", "period": {"kind": "month"},
            "enforcement": "soft"
        });
        service.call("PUT", &format!("/v1/budgets/{id}"), budget).await.ok();
    }
    let token = service.token(&[Scope::Admin], None);
    let send = async |path: &str, content_type: &str, body: String| {
        let request = Request::post(path).header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", content_type).body(Body::from(body)).unwrap();
        let (status, _, answer) = service.fetch(request).await;
        let answer = String::from_utf8(answer.unwrap()).unwrap();
        assert_eq!(status, 200, "{path} as {content_type}: {answer}");
        assert!(!answer.contains("problem"), "{path} as {content_type}: {answer}");
        answer
    };
    let mut doors = 0;
    for name in [APART, COMPOSED] {
        let named = |mut value: Value| {
            let fields = value.as_object_mut().unwrap();
            fields.extend(
                [("run", json!(name)), ("agent", json!(name)), ("labels", json!({"team": name}))]
                    .map(|(key, value)| (key.to_owned(), value)),
            );
            value
        };
        let usage = named(call());
        let mut event = event();
        event["data"] = usage.clone();
        event["id"] = json!(name);
        for (content_type, body) in [
            ("application/json", usage.to_string()),
            ("application/json", json!([usage]).to_string()),
            ("application/x-ndjson", usage.to_string()),
            ("application/cloudevents+json", event.to_string()),
        ] {
            send("/v1/usage", content_type, body).await;
            doors += 1;
        }
        let ask = named(json!({
            "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o",
            "estimate": {"input": 1, "max_output": 1}
        }));
        let one: Value =
            serde_json::from_str(&send("/v1/preflight", "application/json", ask.to_string()).await).unwrap();
        let items = json!({"items": [ask]}).to_string();
        let many: Value = serde_json::from_str(&send("/v1/preflight/batch", "application/json", items).await).unwrap();
        for reservation in [&one["reservation"], &many["items"][0]["answer"]["reservation"]] {
            let path = format!("/v1/reservations/{}/settle", reservation.as_str().unwrap());
            service.call("POST", &path, json!({"usage": {"input": 1}})).await.ok();
            doors += 1;
        }
        let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let mut spans = spans();
        let span = &mut spans["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        span["spanId"] = json!(if name == APART { "eee19b7ec3c1b174" } else { "eee19b7ec3c1b175" });
        span["startTimeUnixNano"] = json!("1781092200000000000");
        span["endTimeUnixNano"] = json!("1781092202500000000");
        span["attributes"] = json!([
            attribute("counterfoil.tenant", "acme"), attribute("counterfoil.run", name), attribute("gen_ai.agent.name", name),
            attribute("counterfoil.label.team", name), attribute("gen_ai.operation.name", "chat"),
            attribute("gen_ai.provider.name", "openai"), attribute("gen_ai.request.model", "gpt-4o"),
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "1"}},
        ]);
        send("/v1/otlp/v1/traces", "application/json", spans.to_string()).await;
        doors += 1;
    }
    let get = async |path: &str| service.call("GET", path, Value::Null).await.ok();
    let transfers = get("/v1/ledger/transfers?limit=100").await;
    assert_eq!(transfers["items"].as_array().unwrap().len(), doors, "{transfers:#}");
    for transfer in transfers["items"].as_array().unwrap() {
        let of = |field: &Value| field.as_str().map(str::to_owned);
        let names = [of(&transfer["run"]), of(&transfer["agent"]), of(&transfer["labels"]["team"])];
        assert_eq!(names, [COMPOSED; 3].map(|name| Some(name.to_owned())), "{transfer:#}");
    }
    for budget in ["by-run", "by-agent", "by-label"] {
        let counters = get(&format!("/v1/budgets/{budget}")).await["counters"].clone();
        assert_eq!(counters.as_array().unwrap().len(), 1, "{budget}: {counters:#}");
        assert_eq!(counters[0]["posted"], json!(doors.to_string()), "{budget}");
    }
    for name in ["Zoe%CC%88", "Zo%C3%AB"] {
        for question in [format!("run={name}"), format!("agent={name}"), format!("label.team={name}")] {
            let usage = get(&format!("/v1/usage?tenant=acme&{question}")).await;
            assert_eq!(usage["totals"]["requests"], json!(doors), "{question}");
        }
        for question in [format!("run={name}"), format!("agent={name}")] {
            let transfers = get(&format!("/v1/ledger/transfers?{question}&limit=100")).await;
            assert_eq!(transfers["items"].as_array().unwrap().len(), doors, "{question}");
        }
        assert_eq!(get(&format!("/v1/budgets/by-run?key=acme/{name}")).await["counters"].as_array().unwrap().len(), 1);
        service.call("POST", &format!("/v1/runs/{name}/stop"), json!({"tenant": "acme"})).await.ok();
        assert_eq!(get(&format!("/v1/runs/{name}?tenant=acme")).await["stopped"], true);
        service.call("POST", &format!("/v1/runs/{name}/resume"), json!({"tenant": "acme"})).await.ok();
    }
}
