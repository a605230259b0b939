//! Every operation of the contract × scope × own, foreign and ghostly things, asked by a tenant.
//!
//! What is another tenant's looks like what does not exist: in status, headers that say something, and body, but for the name
//! that the caller sent itself. The walk is over the document; a new operation under a new collection fails until [`ids`] says
//! which things of the two tenants it is about.

use std::collections::BTreeMap;

use counterfoil::auth::Scope;
use serde_json::{Value, json};
use sqlx::postgres::PgPool;

use crate::access::{Operation, operations, send};
use crate::support::service::{Reply, TestService};

/// The victim's words. No answer to another tenant may hold one of them.
const SECRETS: [&str; 3] = ["bolt-secret", "hooks.bolt.example", "bolt-note"];

/// Whose thing a request names: the caller's own, the victim's, or nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whose {
    Own,
    Foreign,
    Ghost,
}

/// Collections whose things belong to no tenant: their ids are the same for everybody.
const SHARED: [&str; 3] = ["/v1/factors", "/v1/prices", "/v1/reconciliations"];

const TENANTS: [(Whose, &str); 3] = [(Whose::Own, "acme"), (Whose::Foreign, "bolt"), (Whose::Ghost, "zzyx")];

fn tenant(whose: Whose) -> &'static str {
    TENANTS.iter().find(|(one, _)| *one == whose).unwrap().1
}

/// The ids of things, by collection.
pub(crate) type Ids = BTreeMap<&'static str, BTreeMap<Whose, String>>;

fn named(own: &str, foreign: &str, ghost: &str) -> BTreeMap<Whose, String> {
    [(Whose::Own, own), (Whose::Foreign, foreign), (Whose::Ghost, ghost)]
        .map(|(whose, id)| (whose, id.to_owned()))
        .into()
}

/// Things of both tenants, as their own calls and the platform make them.
pub(crate) async fn world(service: &TestService) -> Ids {
    let put = async |path: String, body: Value| service.call("PUT", &path, body).await.ok();
    let post = async |path: &str, body: Value| service.call("POST", path, body).await.ok();
    let mut found: BTreeMap<(&'static str, Whose), String> = BTreeMap::new();
    for (whose, name) in TENANTS.into_iter().filter(|(whose, _)| *whose != Whose::Ghost) {
        put(format!("/v1/tenants/{name}"), json!({"timezone": "Etc/UTC", "name": format!("{name}-note")})).await;
        let budget = |id: &str, limit: &str, feature: Value| {
            let body = json!({
                "scope": {"tenant": name, "feature": feature}, "measure": "tokens", "limit": limit, "enforcement": "hard",
                "period": {"kind": "month"}, "thresholds": ["0.5"],
            });
            put(format!("/v1/budgets/{name}-{id}"), body)
        };
        budget("own", "1000", Value::Null).await;
        budget("shut", "1", json!(format!("{name}-shut"))).await;
        let url = json!({"tenant": name, "url": format!("https://hooks.{name}.example/{name}-secret")});
        put(format!("/v1/webhooks/{name}-own"), url).await;
        let call = json!({
            "tenant": name, "feature": format!("{name}-secret"), "provider": "openai", "model": "gpt-4o",
            "run": format!("{name}-run"), "agent": format!("{name}-agent"),
        });
        let with = |more: Value| {
            let mut body = call.clone();
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        let posted = post("/v1/usage", with(json!({"usage": {"input": 600}}))).await;
        let granted = post("/v1/preflight", with(json!({"estimate": {"input": 1, "max_output": 1}}))).await;
        let shut = json!({"feature": format!("{name}-shut"), "estimate": {"input": 5, "max_output": 5}});
        assert_eq!(post("/v1/preflight", with(shut)).await["verdict"], "stop");
        let planned = json!({
            "tenant": name, "note": format!("{name}-note"), "start": "2026-06-11T00:00:00Z", "end": "2026-06-12T00:00:00Z",
            "amounts": {"requests": 10, "usage": {"input": 10}}, "feature": format!("{name}-secret"),
            "provider": "openai", "model": "gpt-4o",
        });
        let planned = post("/v1/planned-usage", planned).await;
        assert!(service.app.evaluate_alerts(service.now()).await.unwrap().ran);
        let first = async |list: &str| {
            let page = service.call("GET", &format!("{list}?tenant={name}"), Value::Null).await.ok();
            page["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{list} of {name}: {page:#}")).to_owned()
        };
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no id in {value}")).to_owned();
        found.insert(("/v1/ledger/transfers", whose), text(&posted["transfer"]));
        found.insert(("/v1/reservations", whose), text(&granted["reservation"]));
        found.insert(("/v1/planned-usage", whose), text(&planned["id"]));
        found.insert(("/v1/verdicts", whose), first("/v1/verdicts").await);
        found.insert(("/v1/events", whose), first("/v1/events").await);
    }
    let mut ids: Ids = [
        ("/v1/budgets", named("acme-own", "bolt-own", "zzyx-own")),
        ("/v1/webhooks", named("acme-own", "bolt-own", "zzyx-own")),
        ("/v1/tenants", named("acme", "bolt", "zzyx")),
        ("/v1/runs", named("acme-run", "bolt-run", "zzyx-run")),
    ]
    .into();
    for ((collection, whose), id) in found {
        ids.entry(collection).or_default().insert(whose, id);
    }
    for of_collection in ids.values_mut() {
        // As an id of ours looks, and of nobody.
        of_collection.entry(Whose::Ghost).or_insert_with(|| uuid::Uuid::now_v7().to_string());
    }
    ids
}

/// The operation about the id and the tenant of these two; and the texts by which the request names them.
pub(crate) fn about(operation: &Operation, ids: &Ids, id_of: Whose, tenant_of: Whose) -> (Operation, Vec<String>) {
    let mut asked = operation.clone();
    let mut names = vec![tenant(tenant_of).to_owned()];
    if operation.template.contains('{') {
        let collection = operation.template.split("/{").next().unwrap();
        if !SHARED.contains(&collection) {
            let of_collection = ids.get(collection).unwrap_or_else(|| {
                panic!("{}: say in `world` which things of `{collection}` the two tenants have", operation.name)
            });
            let id = &of_collection[&id_of];
            names.push(id.clone());
            asked.path = operation.template.replace("{id}", id);
        }
    } else {
        asked.path = operation.path.split('?').next().unwrap().to_owned();
    }
    if operation.query.iter().any(|name| name == "tenant") {
        asked.path = format!("{}?tenant={}", asked.path, tenant(tenant_of));
    }
    name_tenant(&mut asked.body, tenant(tenant_of));
    if operation.body_of_tenant
        && let Some(body) = asked.body.as_object_mut()
    {
        body.insert("tenant".to_owned(), json!(tenant(tenant_of)));
    }
    (asked, names)
}

/// Examples are of `acme`: wherever it stands, another tenant takes its place.
fn name_tenant(body: &mut Value, name: &str) {
    match body {
        Value::String(text) if text == "acme" => *text = name.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| name_tenant(item, name)),
        Value::Object(fields) => fields.values_mut().for_each(|field| name_tenant(field, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An answer without what the caller said itself, and without what is never the same.
fn told(reply: &Reply, names: &[String]) -> String {
    let mut body = reply.body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("instance");
        // Of an endpoint that is new: random.
        fields.remove("secret");
    }
    if let Some(items) = body["items"].as_array_mut() {
        for item in items {
            if let Some(problem) = item["problem"].as_object_mut() {
                problem.remove("instance");
            }
        }
    }
    let mut text = format!("{} {body}", reply.status);
    let own_of_each = ["x-request-id", "date"];
    for (header, value) in reply.headers.iter().filter(|(header, _)| !own_of_each.contains(&header.as_str())) {
        text = format!("{text} {header}={value:?}");
    }
    names.iter().fold(text, |text, name| text.replace(name.as_str(), "NAME"))
}

/// What is kept of a tenant, in every table that knows tenants.
async fn kept_of(pool: &PgPool, tenant: &str) -> BTreeMap<String, String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.columns join information_schema.tables using (table_schema, table_name)
        where table_schema = current_schema() and column_name = 'tenant' and table_type = 'BASE TABLE' order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(tables.len() > 8, "{tables:?}");
    let mut kept = BTreeMap::new();
    for table in tables {
        let sql = format!(
            "select md5(coalesce(string_agg(one::text, '|' order by one::text), '')) from {table} one where tenant = $1"
        );
        let sum: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(tenant).fetch_one(pool).await.unwrap();
        kept.insert(table, sum);
    }
    kept
}

#[tokio::test]
async fn what_is_anothers_looks_like_what_does_not_exist() {
    let service = TestService::start().await;
    let ids = world(&service).await;
    let before = kept_of(service.db.pool(), "bolt").await;
    let operations: Vec<Operation> = operations().into_iter().filter(|operation| !operation.public).collect();
    // What makes things of ids comes last: after it they are no ghosts.
    let order =
        |operation: &&Operation| ["GET", "POST", "DELETE", "PUT"].iter().position(|one| *one == operation.method);
    let mut in_order: Vec<&Operation> = operations.iter().collect();
    in_order.sort_by_key(order);
    let mut differences = Vec::new();
    for operation in in_order {
        let has_id = operation.template.contains('{') && !SHARED.iter().any(|one| operation.template.starts_with(one));
        let names_tenant = operation.query.iter().any(|name| name == "tenant")
            || operation.body_of_tenant
            || operation.body.to_string().contains("\"acme\"");
        let mut pairs = Vec::new();
        if has_id {
            pairs.push([(Whose::Foreign, Whose::Own), (Whose::Ghost, Whose::Own)]);
        }
        if names_tenant {
            pairs.push([(Whose::Own, Whose::Foreign), (Whose::Own, Whose::Ghost)]);
        }
        if has_id && names_tenant {
            pairs.push([(Whose::Foreign, Whose::Foreign), (Whose::Ghost, Whose::Ghost)]);
        }
        for scope in Scope::ALL {
            let token = service.token(&[scope], Some("acme"));
            for pair in &pairs {
                let mut answers = Vec::new();
                for (id_of, tenant_of) in pair {
                    let (asked, names) = about(operation, &ids, *id_of, *tenant_of);
                    let reply = send(&service, &asked, Some(&token)).await;
                    assert!(reply.status < 500, "{} as {scope}: {:#}", operation.name, reply.body);
                    let text = told(&reply, &names);
                    if *id_of != Whose::Own || *tenant_of != Whose::Own {
                        for secret in SECRETS.iter().filter(|secret| text.contains(**secret)) {
                            differences.push(format!("{} as {scope} shows {secret}: {text}", operation.name));
                        }
                    }
                    answers.push(text);
                }
                if answers[0] != answers[1] {
                    let [foreign, ghost] = &answers[..] else { unreachable!() };
                    differences.push(format!("{} as {scope}, {pair:?}:\n  {foreign}\n  {ghost}", operation.name));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert_eq!(kept_of(service.db.pool(), "bolt").await, before, "nothing of the other tenant was touched");
}

/// The scopes of which one opens an operation. What is not named is read by `read` where it is a GET, else is `admin`'s.
fn opened_by(operation: &Operation) -> &'static [Scope] {
    const ANY: [Scope; 5] = Scope::ALL;
    const TABLE: [(&str, &[Scope]); 22] = [
        ("GET /v1/about", &ANY),
        ("POST /v1/calendar/period", &ANY),
        ("POST /v1/estimate", &ANY),
        ("GET /v1/factors", &ANY),
        ("GET /v1/factors/{id}", &ANY),
        ("GET /v1/prices", &ANY),
        ("GET /v1/prices/{id}", &ANY),
        ("POST /v1/preflight", &[Scope::Preflight]),
        ("POST /v1/preflight/batch", &[Scope::Preflight]),
        ("POST /v1/reservations/{id}/extend", &[Scope::Preflight]),
        ("POST /v1/reservations/{id}/release", &[Scope::Preflight]),
        ("GET /v1/reservations/{id}", &[Scope::Preflight, Scope::UsageWrite, Scope::Read]),
        ("POST /v1/reservations/{id}/settle", &[Scope::Preflight, Scope::UsageWrite]),
        ("POST /v1/otlp/v1/traces", &[Scope::UsageWrite]),
        ("POST /v1/signals", &[Scope::UsageWrite]),
        ("POST /v1/usage", &[Scope::UsageWrite]),
        ("POST /v1/budgets/{id}/projection/what-if", &[Scope::Read]),
        ("POST /v1/planned-usage", &[Scope::UsageWrite]),
        ("DELETE /v1/planned-usage/{id}", &[Scope::UsageWrite]),
        // The month's end is the platform's.
        ("GET /v1/periods", &[]),
        ("GET /v1/reconciliations", &[]),
        ("GET /v1/reconciliations/{id}", &[]),
    ];
    let listed = TABLE.iter().find(|(name, _)| *name == operation.name).map(|(_, scopes)| *scopes);
    listed.unwrap_or(match operation.method.as_str() {
        "GET" if operation.template.starts_with("/v1/exports/") => &[Scope::Export],
        "GET" => &[Scope::Read],
        _ => &[],
    })
}

#[tokio::test]
async fn each_scope_opens_its_operations_and_no_other_for_the_platform_and_for_a_tenant() {
    let service = TestService::start().await;
    let ids = world(&service).await;
    let operations: Vec<Operation> = operations().into_iter().filter(|operation| !operation.public).collect();
    let order =
        |operation: &&Operation| ["GET", "POST", "PUT", "DELETE"].iter().position(|one| *one == operation.method);
    let mut in_order: Vec<&Operation> = operations.iter().collect();
    in_order.sort_by_key(order);
    let mut wrong = Vec::new();
    for operation in in_order {
        let opened = opened_by(operation);
        for scope in Scope::ALL {
            let is_open = scope == Scope::Admin || opened.contains(&scope);
            for confined in [None, Some("acme")] {
                let token = service.token(&[scope], confined);
                let (mut asked, _) = about(operation, &ids, Whose::Own, Whose::Own);
                if asked.path.contains("/v1/tenants/") && asked.method == "DELETE" {
                    // The tenant goes on being asked about.
                    asked.path = "/v1/tenants/zzyx".to_owned();
                }
                let reply = send(&service, &asked, Some(&token)).await;
                let code = reply.body["code"].as_str().unwrap_or_default();
                let is_right = match (is_open, confined) {
                    (false, _) => (reply.status, code) == (403, "forbidden_scope"),
                    (true, None) => reply.status != 403 && reply.status < 500,
                    // What is the platform's alone is no tenant's, whatever its scope.
                    (true, Some(_)) => code != "forbidden_scope" && reply.status < 500,
                };
                if !is_right {
                    wrong.push(format!("{} by {scope} of {confined:?}: {} {code}", operation.name, reply.status));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn filters_that_name_anothers_things_find_what_a_name_of_nothing_finds() {
    let service = TestService::start().await;
    let ids = world(&service).await;
    let mut asked = 0;
    for operation in operations().iter().filter(|operation| operation.method == "GET" && !operation.public) {
        for name in &operation.query {
            let [foreign, ghost] = match name.as_str() {
                "feature" | "run" | "agent" => ["bolt", "zzyx"].map(|whose| format!("{whose}-{}", word(name))),
                "budget" => ["bolt-own", "zzyx-own"].map(str::to_owned),
                "key" => ["bolt", "zzyx"].map(str::to_owned),
                "reservation" => [Whose::Foreign, Whose::Ghost].map(|whose| ids["/v1/reservations"][&whose].clone()),
                _ => continue,
            };
            let token = service.token(&[Scope::Admin], Some("acme"));
            let mut answers = Vec::new();
            for value in [foreign, ghost] {
                let (mut one, mut names) = about(operation, &ids, Whose::Own, Whose::Own);
                let sign = if one.path.contains('?') { '&' } else { '?' };
                one.path = format!("{}{sign}{name}={value}", one.path);
                names.push(value);
                answers.push(told(&send(&service, &one, Some(&token)).await, &names));
                asked += 1;
            }
            assert_eq!(answers[0], answers[1], "{} by {name}", operation.name);
            assert!(
                !SECRETS.iter().any(|secret| answers[0].contains(secret)),
                "{} by {name}: {}",
                operation.name,
                answers[0]
            );
        }
    }
    assert!(asked > 20, "the contract has lost its filters");
}

/// The last part of a name of this kind.
fn word(name: &str) -> &str {
    if name == "feature" { "secret" } else { name }
}
