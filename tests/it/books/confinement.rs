//! A tenant sees its own rows and nobody else's: in the API, and below it whatever a query forgets.

use counterfoil::auth::Scope;
use counterfoil::domain::id::TenantId;
use counterfoil::store::confine;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::{get, world};

#[tokio::test]
async fn row_level_security_shows_a_tenant_only_its_own_rows() {
    let service = world().await;
    for tenant in ["kathmandu", "tokyo"] {
        let signal = json!({"provider": "openai", "status": 503, "tenant": tenant});
        service.call("POST", "/v1/signals", signal).await.ok();
    }
    service.app.learn(None).await.unwrap();
    let mut connection = service.db.pool().acquire().await.unwrap();
    // Everything there is to read, as the database lists it: a table that is added and forgotten fails here.
    let relations: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
        where relnamespace = current_schema()::regnamespace and relkind in ('r', 'v', 'm', 'p') order by 1",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    // Nothing of a tenant's has been told in this world, and the secrets of endpoints are for nobody's eyes.
    let quiet = ["alerts", "events", "paces", "planned_usage", "projections", "run_stops"];
    let own = [
        "budgets",
        "counters",
        "entries",
        "learned_calls",
        "learned_shares",
        "refusal_counts",
        "refusals",
        "reservations",
        "signals",
        "tenants",
        "transfers",
        "usage_rollup",
    ];
    let everybodys = ["catalogue_head", "factors", "learned_cursor", "prices"];
    for relation in &relations {
        let mut transaction = connection.begin().await.unwrap();
        confine(&mut transaction, &TenantId::parse("kathmandu").unwrap()).await.unwrap();
        let rows = sqlx::query(AssertSqlSafe(format!("select * from {relation}"))).fetch_all(&mut *transaction).await;
        let relation = relation.as_str();
        if own.contains(&relation) {
            let rows = rows.unwrap();
            assert!(!rows.is_empty(), "{relation}: nothing of its own");
            let column = if relation == "tenants" { "id" } else { "tenant" };
            assert!(rows.iter().all(|row| row.get::<String, _>(column) == "kathmandu"), "{relation}");
        } else if quiet.contains(&relation) {
            assert!(rows.unwrap().is_empty(), "{relation}");
        } else if everybodys.contains(&relation) {
            rows.unwrap();
        } else {
            let refused = rows.expect_err(relation);
            assert!(refused.to_string().contains("permission denied"), "{relation}: {refused}");
        }
        transaction.rollback().await.unwrap();
    }
    assert!(own.iter().chain(&everybodys).all(|name| relations.iter().any(|relation| relation == name)));
}

#[tokio::test]
async fn a_confined_connection_adds_up_only_its_own_and_writes_nothing() {
    let service = world().await;
    let mut connection = service.db.pool().acquire().await.unwrap();
    let all: i64 = sqlx::query_scalar("select count(*) from transfers").fetch_one(&mut *connection).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    confine(&mut transaction, &TenantId::parse("tokyo").unwrap()).await.unwrap();
    let own: i64 = sqlx::query_scalar("select count(*) from transfers").fetch_one(&mut *transaction).await.unwrap();
    assert!(own > 0 && own < all, "{own} of {all}");
    let touched: i64 = sqlx::query_scalar("select sum(transfers)::int8 from account_balances('infinity')")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(touched, 2 * own, "each transfer touches two accounts");
    let accounts: Vec<String> = sqlx::query_scalar("select account from account_balances('infinity')")
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
    assert!(accounts.iter().all(|account| account.starts_with("usage:tokyo/") || account.starts_with("supply:")));
    transaction.rollback().await.unwrap();
    for statement in [
        "insert into usage_rollup select * from usage_rollup",
        "update counters set posted = 0",
        "update reservations set state = 'open'",
        "delete from refusals",
        "truncate transfers",
        "insert into tenants select * from tenants",
        "create table mine (id int4)",
        "alter table transfers disable row level security",
        "select set_config('row_security', 'off', true), count(*) from transfers",
    ] {
        let mut transaction = connection.begin().await.unwrap();
        confine(&mut transaction, &TenantId::parse("tokyo").unwrap()).await.unwrap();
        let refused = sqlx::query(statement).fetch_all(&mut *transaction).await;
        if statement.starts_with("select") {
            let rows = refused.map(|rows| rows[0].get::<i64, _>(1));
            assert!(rows.is_err() || rows.unwrap() == own, "{statement}");
        } else {
            let refused = refused.expect_err(statement).to_string();
            assert!(
                refused.contains("permission denied") || refused.contains("must be owner"),
                "{statement}: {refused}"
            );
        }
        transaction.rollback().await.unwrap();
    }
    // What confines is the transaction: the next one on the same connection is free again.
    let after: i64 = sqlx::query_scalar("select count(*) from transfers").fetch_one(&mut *connection).await.unwrap();
    assert_eq!(after, all);
}

/// Every `tenant` in a body, and every tenant in the name of a usage account.
fn tenants(body: &Value, found: &mut Vec<String>) {
    match body {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value.as_str()) {
                    ("tenant", Some(tenant)) => found.push(tenant.to_owned()),
                    ("account" | "debit_account", Some(account)) => found.extend(
                        account
                            .strip_prefix("usage:")
                            .and_then(|rest| rest.split_once('/'))
                            .map(|(tenant, _)| tenant.to_owned()),
                    ),
                    _ => tenants(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| tenants(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn a_tenants_token_gets_its_own_404_for_foreign_things_and_403_when_it_names_a_foreign_tenant() {
    let service = world().await;
    let token = service.token(&[Scope::Read], Some("kathmandu"));
    let read = async |path: &str| service.call_as(&token, "GET", path, &[], Value::Null).await;
    for path in [
        "/v1/usage?group_by=tenant,feature&bucket=day",
        "/v1/usage?group_by=tenant,run",
        "/v1/ledger/transfers",
        "/v1/ledger/accounts",
        "/v1/verdicts",
    ] {
        let body = read(path).await.ok();
        let mut found = Vec::new();
        tenants(&body, &mut found);
        assert!(!found.is_empty() && found.iter().all(|tenant| tenant == "kathmandu"), "{path}: {found:?}");
        let naming = |tenant: &str| format!("{path}{}tenant={tenant}", if path.contains('?') { '&' } else { '?' });
        assert_eq!(read(&naming("kathmandu")).await.ok(), body, "{path}: naming itself changes nothing");
        assert_eq!(read(&naming("tokyo")).await.problem(), (403, "forbidden_tenant"), "{path}");
        assert_eq!(
            read(&naming("nobody")).await.problem(),
            (403, "forbidden_tenant"),
            "{path}: nor does it learn who exists"
        );
    }
    let tokens = |body: &Value| body["units"][0]["debit"].as_str().unwrap().parse::<u64>().unwrap();
    let own = read("/v1/ledger/trial-balance").await.ok();
    let all = get(&service, "/v1/ledger/trial-balance").await;
    let same = get(&service, "/v1/ledger/trial-balance?tenant=kathmandu").await;
    assert!(tokens(&own) > 0 && tokens(&own) < tokens(&all), "{own:#}");
    assert_eq!(own, same, "the platform sees of a tenant what the tenant sees");
    assert_eq!(read("/v1/ledger/trial-balance?tenant=tokyo").await.problem(), (403, "forbidden_tenant"));

    let foreign = get(&service, "/v1/ledger/transfers?tenant=tokyo&limit=1").await["items"][0]["transfer"].clone();
    let path = format!("/v1/ledger/transfers/{}", foreign.as_str().unwrap());
    get(&service, &path).await;
    assert_eq!(read(&path).await.problem(), (404, "not_found"));
    let other = service.token(&[Scope::Read], Some("tokyo"));
    let verdict = get(&service, "/v1/verdicts?tenant=kathmandu&limit=1").await["items"][0]["id"].clone();
    let path = format!("/v1/verdicts/{}", verdict.as_str().unwrap());
    read(&path).await.ok();
    assert_eq!(service.call_as(&other, "GET", &path, &[], Value::Null).await.problem(), (404, "not_found"));
    let writer = service.token(&[Scope::UsageWrite], Some("kathmandu"));
    for path in ["/v1/usage", "/v1/ledger/transfers", "/v1/ledger/accounts", "/v1/ledger/trial-balance", "/v1/verdicts"]
    {
        let refused = service.call_as(&writer, "GET", path, &[], Value::Null).await;
        assert_eq!(refused.problem(), (403, "forbidden_scope"), "{path}");
    }
}
