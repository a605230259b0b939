//! What changes between the count of a budget and the lock under which it is made.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use counterfoil::domain::id::BudgetId;
use counterfoil::store::catalogue::{Change, load};
use counterfoil::store::preparation::{Preparation, prepare};
use counterfoil::wire::budget::BudgetBody;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::{ask, get, monthly, put_budget, spend, tenant};
use crate::support::service::TestService;
use crate::support::{audit, from_environment, say};

/// How many rows of a table this connection has read in its transaction.
pub(crate) async fn rows_read(connection: &mut PgConnection, table: &str) -> i64 {
    sqlx::query_scalar(
        "select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables where relname = $1",
    )
    .bind(table)
    .fetch_one(connection)
    .await
    .unwrap()
}

async fn consistent(service: &TestService) {
    audit::assert_none(&audit::findings(service.db.pool()).await);
    let options = service.db.connect_options();
    let report = counterfoil::app::verify::verify(&options, &service.clock, &mut |_| {}).await.unwrap().unwrap();
    assert!(report.is_consistent(), "{report:#?}");
}

/// Makes a budget `new`; `between` is what happens after the catalogue was loaded (`false`), and after the count (`true`).
async fn made(service: &TestService, body: Value, between: impl AsyncFn(bool)) -> i64 {
    let mut connection = PgConnection::connect_with(&service.db.connect_options()).await.unwrap();
    let mut preparation: Preparation<'_> = prepare(&mut connection, service.now()).await.unwrap();
    let before = load(preparation.connection()).await.unwrap();
    between(false).await;
    let body: BudgetBody = serde_json::from_value(body).unwrap();
    let budgets = [(BudgetId::parse("new").unwrap(), body)];
    let ahead = preparation.count_budgets(&before, &budgets).await.unwrap();
    let of_reservations = rows_read(preparation.connection(), "reservations").await;
    between(true).await;
    let mut change: Change<'_> = preparation.lock().await.unwrap();
    let there = change.catalogue(&before).await.unwrap();
    change.put_budgets(&budgets, &there, Some(&ahead)).await.unwrap();
    let under_the_lock = rows_read(change.connection(), "reservations").await - of_reservations;
    change.commit().await.unwrap();
    service.app.catch_up().await.unwrap();
    under_the_lock
}

fn each(each: &str, period: &Value) -> Value {
    json!({
        "scope": {}, "each": each, "measure": "usd", "limit": "5", "period": period, "timezone": "tenant",
        "enforcement": "hard"
    })
}

#[tokio::test]
async fn calls_of_a_tenant_that_is_made_while_a_budget_is_counted_are_counted() {
    // By the roll-up, and by the journal.
    for (body, shown) in
        [(each("tenant", &json!({"kind": "month"})), "late"), (each("run", &json!({"kind": "month"})), "late/r-1")]
    {
        for when in [false, true] {
            let service = TestService::start().await;
            tenant(&service, "acme", "Europe/Berlin").await;
            spend(&service, "acme", None).await;
            made(&service, body.clone(), async |counted| {
                if counted == when {
                    tenant(&service, "late", "Asia/Tokyo").await;
                    let mut call = ask("late");
                    call["run"] = json!("r-1");
                    let answer = service.call("POST", "/v1/preflight", call).await.ok();
                    let reservation = answer["reservation"].as_str().expect("granted").to_owned();
                    let usage = json!({"usage": {"input": 1200, "output": 800}});
                    service.call("POST", &format!("/v1/reservations/{reservation}/settle"), usage).await.ok();
                }
            })
            .await;
            let counters = get(&service, "/v1/budgets/new").await["counters"].clone();
            let late = counters.as_array().unwrap().iter().find(|one| one["key"] == shown);
            assert_eq!(late.map(|one| &one["posted"]), Some(&json!("0.0156")), "{shown}: {counters:#}");
            consistent(&service).await;
        }
    }
}

#[tokio::test]
async fn slices_that_leave_their_window_while_a_budget_is_counted_are_left_out_of_it() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Europe/Berlin").await;
    for minutes in [0, 3, 6] {
        spend(&service, "acme", None).await;
        service.advance(TimeDelta::minutes(minutes));
    }
    let window = json!({
        "scope": {"tenant": "acme"}, "measure": "usd", "limit": "5", "period": {"kind": "sliding", "seconds": 600},
        "enforcement": "hard"
    });
    let gone = service.now() + TimeDelta::minutes(3);
    made(&service, window, async |counted| {
        if counted {
            service.advance(TimeDelta::minutes(9));
            spend(&service, "acme", None).await;
            // As it is moved when slices are forgotten.
            sqlx::query("update catalogue_head set slices_forgotten = $1")
                .bind(gone)
                .execute(service.db.pool())
                .await
                .unwrap();
        }
    })
    .await;
    let starts: Vec<DateTime<Utc>> =
        sqlx::query_scalar("select period_start from counters").fetch_all(service.db.pool()).await.unwrap();
    assert!(!starts.is_empty(), "the last call is counted");
    let left = |start: &&DateTime<Utc>| **start + TimeDelta::seconds(660) <= gone;
    assert_eq!(starts.iter().find(left), None, "{starts:?}");
    consistent(&service).await;
}

#[tokio::test]
async fn when_runs_began_is_counted_ahead_also_by_reservations_that_have_ended() {
    const ENDED: i64 = 3_000;
    let service = TestService::start().await;
    tenant(&service, "acme", "Europe/Berlin").await;
    let run = async |run: &str, end: Option<(&str, Value)>| {
        let mut call = ask("acme");
        call["run"] = json!(run);
        let answer = service.call("POST", "/v1/preflight", call).await.ok();
        let reservation = answer["reservation"].as_str().expect("granted").to_owned();
        if let Some((how, body)) = end {
            service.call("POST", &format!("/v1/reservations/{reservation}/{how}"), body).await.ok();
        }
    };
    let released = || Some(("release", json!({})));
    let settled = || Some(("settle", json!({"usage": {"input": 10, "output": 1}})));
    run("released", released()).await;
    run("settled", settled()).await;
    run("open", None).await;
    // Others that ended long ago: as many reads of the table under the lock would be.
    let columns =
        "tenant, feature, provider, model, region, run, agent, labels, priority, service_tier, requests, input,
        cache_read, cache_write_5m, cache_write_1h, output, reasoning, tokens, usd, gco2e_usage_location,
        gco2e_usage_market, gco2e_embodied, price, price_tier_from, carbon_profile, model_factor, grid_factor,
        market_factor, flags, granted_at, expires_at, state, ended_at, transfer, learned, said_as, held_at";
    let more = format!(
        "insert into reservations (id, {columns})
        select ('01800000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, {columns}
        from reservations cross join generate_series(1, {ENDED}) as n where run = 'released'"
    );
    sqlx::query(AssertSqlSafe(more)).execute(service.db.pool()).await.unwrap();
    sqlx::query("analyze reservations").execute(service.db.pool()).await.unwrap();
    let mut body = each("run", &json!({"kind": "once", "counts_from": "2016-01-01T00:00:00Z"}));
    body["max_seconds"] = json!(3_600);
    body["timezone"] = json!("Etc/UTC");
    let under_the_lock = made(&service, body, async |counted| {
        service.advance(TimeDelta::minutes(1));
        // Before the count and after it: of runs that had begun, and of new ones.
        let when = if counted { "after" } else { "before" };
        for one in ["released".to_owned(), "open".to_owned(), format!("released-{when}")] {
            run(&one, released()).await;
        }
        run(&format!("settled-{when}"), settled()).await;
        run(&format!("open-{when}"), None).await;
    })
    .await;
    assert!(under_the_lock < 100, "{under_the_lock} reservations were read under the lock");
    let opened: i64 = sqlx::query_scalar("select count(*) from counters where opened_at is not null")
        .fetch_one(service.db.pool())
        .await
        .unwrap();
    assert_eq!(opened, 9);
    consistent(&service).await;
}

#[tokio::test]
async fn making_a_budget_does_not_read_those_that_are_there() {
    const THERE: usize = 200;
    let service = TestService::start().await;
    tenant(&service, "acme", "Europe/Berlin").await;
    let items: Vec<Value> = (0..THERE)
        .map(|n| {
            let mut body = monthly("acme", "1");
            body["id"] = json!(format!("b-{n}"));
            body
        })
        .collect();
    service.call("PUT", "/v1/budgets", json!({"items": items})).await.ok();
    let known = service.app.snapshots.latest().catalogue;
    let mut connection = PgConnection::connect_with(&service.db.connect_options()).await.unwrap();
    let mut preparation = prepare(&mut connection, service.now()).await.unwrap();
    let before = preparation.catalogue(&known).await.unwrap();
    let budgets = [(BudgetId::parse("new").unwrap(), serde_json::from_value(monthly("acme", "5")).unwrap())];
    let ahead = preparation.count_budgets(&before, &budgets).await.unwrap();
    let mut change = preparation.lock().await.unwrap();
    let before = change.catalogue(&before).await.unwrap();
    assert_eq!(before.budgets().count(), THERE);
    change.put_budgets(&budgets, &before, Some(&ahead)).await.unwrap();
    let read = rows_read(change.connection(), "budgets").await;
    assert!(read < 10, "{read} rows of budgets were read");
    change.commit().await.unwrap();
    // What somebody else has written meanwhile is seen.
    let mut preparation = prepare(&mut connection, service.now()).await.unwrap();
    assert_eq!(preparation.catalogue(&known).await.unwrap().budgets().count(), THERE + 1);
}

/// `BUDGETS=1000` shows what each takes at that number.
#[tokio::test]
async fn budgets_are_made_one_by_one() {
    let count: usize = from_environment("BUDGETS").unwrap_or(30);
    let service = TestService::start().await;
    tenant(&service, "acme", "Europe/Berlin").await;
    let mut took = Vec::new();
    for n in 0..count {
        let began = Instant::now();
        put_budget(&service, &format!("b-{n}"), monthly("acme", "5")).await;
        took.push(began.elapsed());
        if [100, 500, 1000].contains(&took.len()) {
            let last: Duration = took.iter().rev().take(50).sum();
            let all: Duration = took.iter().sum();
            say(&format!("{} budgets: {:?} each of the last 50, {all:?} in all", took.len(), last / 50));
        }
    }
    assert_eq!(service.app.snapshots.latest().catalogue.budgets().count(), count);
}
