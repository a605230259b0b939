//! `POST /v1/restatements` and `counterfoil restate`: recorded grams, said anew by the factor book as it is now.

mod command;

use chrono::TimeDelta;
use counterfoil::auth::Scope;
use counterfoil::store::locks::Lock;
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};

use crate::exports::export;
use crate::reconcile::assert_verified;
use crate::support::service::TestService;

/// Tenants, budgets of carbon, and calls on two grids in May and June.
async fn world() -> TestService {
    // Budgets count from the period in which they are made.
    let service = TestService::start_at("2026-05-20T12:00:00Z").await;
    for tenant in ["acme", "bolt"] {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": "Asia/Tokyo"})).await.ok();
    }
    for (id, scope, measure) in [
        ("grams", json!({}), "gco2e"),
        ("market", json!({"tenant": "acme"}), "gco2e_market"),
        ("tokens", json!({}), "tokens"),
    ] {
        let budget = json!({"scope": scope, "measure": measure, "limit": "100000000", "period": {"kind": "month"}, "timezone": "Etc/UTC", "enforcement": "hard"});
        service.call("PUT", &format!("/v1/budgets/{id}"), budget).await.ok();
    }
    service.advance(TimeDelta::days(21));
    for (tenant, at, region) in [
        ("acme", "2026-05-30T10:00:00Z", "DEU"),
        ("acme", "2026-05-31T20:00:00Z", "DEU"),
        ("bolt", "2026-06-02T10:00:00Z", "FRA"),
        ("acme", "2026-06-03T10:00:00Z", "DEU"),
    ] {
        let usage = json!({"tenant": tenant, "feature": "chat", "provider": "openai", "model": "gpt-4o", "region": region,
            "occurred_at": at, "run": "r-1", "labels": {"team": "cx"}, "latency_ms": 900, "usage": {"input": 1000, "output": 500}});
        service.call("POST", "/v1/usage", usage).await.ok();
    }
    service
}

/// The German grid of this year, published anew.
pub(crate) fn german_grid(g_per_kwh: f64, set: &str) -> Value {
    json!({
        "kind": "grid", "zone": "DEU", "g_per_kwh": g_per_kwh, "basis": "lifecycle", "accounting": "location",
        "valid_from": "2026-01-01T00:00:00Z",
        "source": {"set": set, "title": "Grid audit", "publisher": "Example AB", "licence": "private", "tier": 1}
    })
}

async fn add(service: &TestService, factor: Value) {
    assert_eq!(service.call("POST", "/v1/factors", factor).await.ok()["added"], 1);
}

pub(crate) async fn restate(service: &TestService, body: Value) -> Value {
    service.call("POST", "/v1/restatements", body).await.ok()
}

fn grams(body: &Value) -> Decimal {
    body["gco2e_usage_location"].as_str().unwrap().parse().unwrap()
}

/// What a budget has posted in the month of an instant.
async fn posted(service: &TestService, budget: &str, month: &str) -> Decimal {
    let counted = "select posted from counters join budgets on budgets.number = counters.budget
        where budgets.id = $1 and period_start = $2::timestamptz";
    let found: Option<Decimal> = sqlx::query_scalar(counted)
        .bind(budget)
        .bind(format!("{month}-01T00:00:00Z"))
        .fetch_optional(service.db.pool())
        .await
        .unwrap();
    found.unwrap_or_default()
}

#[tokio::test]
async fn it_tells_by_factor_set_what_would_move_then_moves_it_once() {
    let service = world().await;
    let year = json!({"period": "2026"});
    let nothing = restate(&service, year.clone()).await;
    assert_eq!((&nothing["examined"], &nothing["differing"], &nothing["sets"]), (&json!(4), &json!(0), &json!([])));
    add(&service, german_grid(100.0, "audit-2026")).await;
    let told = restate(&service, year.clone()).await;
    assert_eq!(
        (&told["applied"], &told["differing"], &told["posted"]),
        (&json!(false), &json!(3), &json!(0)),
        "{told:#}"
    );
    let [set] = told["sets"].as_array().unwrap().as_slice() else { panic!("{told:#}") };
    assert_eq!((&set["from"]["grid"], &set["to"]["grid"]), (&json!("ember-owid"), &json!("audit-2026")));
    assert_eq!(set["from"]["model"], set["to"]["model"]);
    assert_eq!(grams(&told["after"]) - grams(&told["before"]), grams(&told["difference"]));
    assert!(grams(&told["difference"]) < Decimal::ZERO, "{told:#}");
    assert_eq!(told["difference"]["gco2e_embodied"], "0");
    let before = posted(&service, "grams", "2026-05").await + posted(&service, "grams", "2026-06").await;
    let tokens = posted(&service, "tokens", "2026-06").await;

    let mut apply = year.clone();
    apply["apply"] = json!(true);
    let applied = restate(&service, apply.clone()).await;
    assert_eq!((&applied["posted"], &applied["difference"]), (&json!(6), &told["difference"]), "{applied:#}");
    assert_eq!(restate(&service, apply.clone()).await["posted"], 0, "a second one finds nothing");
    let after = posted(&service, "grams", "2026-05").await + posted(&service, "grams", "2026-06").await;
    assert_eq!(after - before, grams(&told["difference"]), "carbon budgets move with it");
    assert_eq!(posted(&service, "tokens", "2026-06").await, tokens, "others do not");
    assert_verified(&service).await;

    // The same calls posted today are said to emit the same, to the last digit.
    let again = json!({"tenant": "acme", "feature": "again", "provider": "openai", "model": "gpt-4o", "region": "DEU",
        "occurred_at": "2026-06-03T10:00:00Z", "latency_ms": 900, "usage": {"input": 1000, "output": 500}});
    let fresh = service.call("POST", "/v1/usage", again).await.ok();
    let fresh: Decimal = fresh["amounts"]["gco2e_usage_location"].as_str().unwrap().parse().unwrap();
    assert_eq!(grams(&applied["after"]), fresh * dec!(3));

    // Another audit: what was restated is restated again, and the chain adds up.
    add(&service, german_grid(250.0, "audit-2027")).await;
    let second = restate(&service, apply.clone()).await;
    assert_eq!(
        (&second["posted"], &second["sets"][0]["from"]["grid"]),
        (&json!(8), &json!("audit-2026")),
        "{second:#}"
    );
    assert_eq!(restate(&service, apply).await["differing"], 0);
    assert_verified(&service).await;
}

#[tokio::test]
async fn both_rows_stand_beside_the_call_in_the_activity_data_each_with_its_factor() {
    let service = world().await;
    let before = export(&service, "/v1/exports/ghg?period=2026").await;
    add(&service, german_grid(100.0, "audit-2026")).await;
    restate(&service, json!({"period": "2026", "apply": true})).await;
    let file = export(&service, "/v1/exports/ghg?period=2026&tenant=acme&cut=period").await;
    let told: Vec<(String, String)> = file.column("entry").into_iter().zip(file.column("factor_set_id")).collect();
    let line = |entry: &str, set: &str| (entry.to_owned(), set.to_owned());
    assert_eq!(
        told,
        [line("activity", "ember-owid"), line("reversal", "ember-owid"), line("restatement", "audit-2026")]
    );
    assert_eq!(file.column("factor_source")[2], "Grid audit");
    let figures =
        |column: &str| -> Vec<Decimal> { file.column(column).iter().map(|cell| cell.parse().unwrap()).collect() };
    for column in ["lb_usage_kgco2e", "embodied_kgco2e", "energy_kwh", "mb_usage_kgco2e"] {
        for bound in ["", "_min", "_max"] {
            let cells = figures(&format!("{column}{bound}"));
            assert_eq!(
                cells[0] + cells[1],
                Decimal::ZERO,
                "{column}{bound}: what is taken back is nothing at every bound"
            );
        }
    }
    let [least, middle, most] = ["_min", "", "_max"].map(|bound| figures(&format!("lb_usage_kgco2e{bound}"))[2]);
    assert!(Decimal::ZERO < least && least < middle && middle < most, "{least} {middle} {most}");
    let energy = figures("energy_kwh");
    assert!((energy[0] - energy[2]).abs() < dec!(0.000000001), "the same electricity: {energy:?}");
    assert!(file.column("range_method").iter().all(|method| method == "recomputed"), "{}", file.text());
    assert_eq!(file.column("requests"), ["3", "0", "0"]);
    // The call's own line is as it was.
    let own =
        |text: &str| text.lines().filter(|line| line.contains(",activity,")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(own(before.text()), own(export(&service, "/v1/exports/ghg?period=2026").await.text()));
}

#[tokio::test]
async fn a_closed_month_stays_and_is_corrected_in_the_open_one() {
    let service = world().await;
    service.call("POST", "/v1/periods/close", json!({"until": "2026-06-01T00:00:00Z"})).await.ok();
    add(&service, german_grid(100.0, "audit-2026")).await;
    let may = export(&service, "/v1/exports/ghg?period=2026-05").await;
    let (in_may, in_june) = (posted(&service, "grams", "2026-05").await, posted(&service, "grams", "2026-06").await);
    let told = restate(&service, json!({"period": "2026-05", "apply": true})).await;
    assert_eq!((&told["differing"], &told["in_closed_periods"]), (&json!(2), &json!(2)), "{told:#}");
    assert_eq!(export(&service, "/v1/exports/ghg?period=2026-05").await.text(), may.text());
    assert_eq!(posted(&service, "grams", "2026-05").await, in_may);
    assert_eq!(posted(&service, "grams", "2026-06").await - in_june, grams(&told["difference"]));
    let transfers = export(&service, "/v1/exports/transfers?period=2026-06").await;
    let flags = transfers.column("flags");
    assert_eq!(flags.iter().filter(|flags| flags.contains("period_closed")).count(), 4, "{flags:?}");
    assert_eq!(restate(&service, json!({"period": "2026", "apply": true})).await["posted"], 2, "June's own");
    assert_verified(&service).await;
    // On whose clock a month is said matters: Tokyo's May ends at three in the afternoon.
    add(&service, german_grid(90.0, "audit-2027")).await;
    let tokyo = restate(&service, json!({"period": "2026-06", "zone": "Asia/Tokyo"})).await;
    assert_eq!(tokyo["differing"], 2, "{tokyo:#}");
}

#[tokio::test]
async fn it_can_be_narrowed_and_goes_on_after_a_cursor() {
    let service = world().await;
    add(&service, german_grid(100.0, "audit-2026")).await;
    for (filter, value, differing) in [
        ("tenant", "acme", 3),
        ("tenant", "bolt", 0),
        ("provider", "anthropic", 0),
        ("model", "gpt-4o", 3),
        ("region", "DEU", 3),
        ("region", "FRA", 0),
    ] {
        let told = restate(&service, json!({"period": "2026", filter: value})).await;
        assert_eq!(told["differing"], differing, "{filter} {value}");
    }
    let transfers = export(&service, "/v1/exports/transfers").await;
    let second = transfers.column("transfer")[1].clone();
    let rest = restate(&service, json!({"period": "2026", "cursor": second})).await;
    assert_eq!((&rest["examined"], &rest["differing"], &rest["next_cursor"]), (&json!(2), &json!(1), &Value::Null));
}

#[tokio::test]
async fn it_is_the_platform_s_and_names_what_is_wrong() {
    let service = world().await;
    for (body, field) in [
        (json!({}), "period"),
        (json!({"from": "2026-01-01"}), "to"),
        (json!({"period": "2026", "from": "2026-01-01"}), "period"),
        (json!({"period": "2026", "zone": "Mars/Base"}), "zone"),
        (json!({"period": "2026", "cursor": "x"}), "cursor"),
        (json!({"period": "2026", "yes": true}), "yes"),
        (json!({"from": "2026-02-01", "to": "2026-01-01"}), "to"),
    ] {
        let refused = service.call("POST", "/v1/restatements", body.clone()).await;
        assert_eq!(refused.status, 422, "{body}: {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], field, "{body}: {:#}", refused.body);
    }
    let unknown = service.call("POST", "/v1/restatements", json!({"period": "2026", "tenant": "nobody"})).await;
    assert_eq!(unknown.problem(), (404, "unknown_tenant"));
    let confined = service.token(&[Scope::Admin], Some("acme"));
    let refused = service.call_as(&confined, "POST", "/v1/restatements", &[], json!({"period": "2026"})).await;
    assert_eq!(refused.problem(), (403, "forbidden_tenant"));
    // Whoever posts adjustments is alone; to be told is not to post.
    let mut alone = service.db.pool().begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(Lock::Adjustments.number())
        .execute(&mut *alone)
        .await
        .unwrap();
    let busy = service.call("POST", "/v1/restatements", json!({"period": "2026", "apply": true})).await;
    assert_eq!((busy.status, busy.body["code"].as_str()), (409, Some("conflict")), "{:#}", busy.body);
    restate(&service, json!({"period": "2026"})).await;
}

#[tokio::test]
async fn planning_and_projecting_do_not_keep_adjustments_from_being_posted() {
    let service = world().await;
    let mut others = service.db.pool().begin().await.unwrap();
    for lock in [Lock::Pacing, Lock::Projections, Lock::Alerts] {
        sqlx::query("select pg_advisory_xact_lock($1)").bind(lock.number()).execute(&mut *others).await.unwrap();
    }
    let applied = service.call("POST", "/v1/restatements", json!({"period": "2026", "apply": true})).await;
    assert_eq!(applied.status, 200, "{:#}", applied.body);
}
