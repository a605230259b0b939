//! Budgets that are made while calls go on: counted whole, from what they can touch, and while nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use counterfoil::auth::Scope;
use counterfoil::domain::id::BudgetId;
use counterfoil::store::catalogue::load;
use counterfoil::store::preparation::prepare;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::counted_ahead::rows_read;
use super::{ask, get, monthly, put_budget, spend, tenant};
use crate::support::service::{NOON, Replica, TestService};
use crate::support::{audit, from_environment, say};

/// Rows of the generated journal, unless the environment names another number: see `docs/reference/benchmarks.md`.
const ROWS: u32 = 30_000;
/// How long the month has been going on.
const MONTH: &str = "9.5 days";

/// Some shapes of budgets: those that the roll-up knows, and those that only the journal does.
fn shapes() -> Vec<Value> {
    let shape = |scope: Value, each: Option<&str>, measure: Value, period: Value| {
        let mut body = json!({
            "scope": scope, "measure": measure, "limit": "1000000", "period": period, "enforcement": "hard"
        });
        if let Some(each) = each {
            body["each"] = json!(each);
        }
        body
    };
    let of_time = json!({"kind": "once", "counts_from": "2026-01-01T00:00:00Z"});
    let mut timed = shape(json!({"tenant": "acme"}), Some("run"), json!("requests"), of_time);
    timed["max_seconds"] = json!(600);
    vec![
        timed,
        shape(json!({"tenant": "acme"}), None, json!("usd"), json!({"kind": "month"})),
        shape(json!({}), Some("tenant"), json!("tokens"), json!({"kind": "day"})),
        shape(json!({"tenant": "bolt"}), Some("run"), json!("requests"), json!({"kind": "once"})),
        shape(json!({}), Some("model"), json!({"input": 1, "output": "0.5"}), json!({"kind": "hour"})),
        shape(json!({"labels": {"team": "cx"}}), None, json!("usd"), json!({"kind": "month"})),
        shape(json!({"tenant": "acme"}), None, json!("tokens"), json!({"kind": "sliding", "seconds": 600})),
        shape(json!({"feature": "chat"}), Some("agent"), json!("gco2e"), json!({"kind": "week"})),
    ]
}

async fn calls(replica: &Replica, over: &AtomicBool) {
    let mut count = 0_u32;
    while !over.load(Ordering::Relaxed) {
        count += 1;
        let owner = if count.is_multiple_of(3) { "bolt" } else { "acme" };
        let mut call = ask(owner);
        call["run"] = json!(format!("r-{}", count % 5));
        call["agent"] = json!("a-1");
        call["labels"] = json!({"team": if count.is_multiple_of(2) { "cx" } else { "ops" }});
        let answer = replica.call("POST", "/v1/preflight", call).await.ok();
        let reservation = answer["reservation"].as_str().expect("granted").to_owned();
        if !count.is_multiple_of(4) {
            let path = format!("/v1/reservations/{reservation}/settle");
            replica.call("POST", &path, json!({"usage": {"input": 1200, "output": count % 700}})).await.ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_made_while_calls_are_posted_counts_each_of_them_once() {
    let service = TestService::start().await;
    let other = service.replica().await;
    for id in ["acme", "bolt"] {
        tenant(&service, id, "Asia/Tokyo").await;
    }
    let over = Arc::new(AtomicBool::new(false));
    let changes = async {
        for round in 0..4 {
            for (n, shape) in shapes().into_iter().enumerate() {
                // Made, then made to count otherwise: each time from nothing.
                let replica = if (n + round) % 2 == 0 { &*service } else { &other };
                put_budget(replica, &format!("b-{}", (n + round) % 8), shape).await;
            }
            let many: Vec<Value> = shapes()
                .into_iter()
                .enumerate()
                .map(|(n, mut shape)| {
                    shape["id"] = json!(format!("many-{round}-{n}"));
                    shape
                })
                .collect();
            other.call("PUT", "/v1/budgets", json!({"items": many})).await.ok();
            tenant(&service, "acme", if round % 2 == 0 { "Europe/Berlin" } else { "Asia/Tokyo" }).await;
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(changes, calls(&service, &over), calls(&other, &over));
    audit::assert_none(&audit::findings(service.db.pool()).await);
}

/// A journal of so long up to now: rows of a hundred tenants, with the roll-up that belongs to it.
async fn journal(service: &TestService, rows: u32, span: &str) {
    let generate = format!(
        "insert into tenants (id, name, timezone, created_at, changed_at)
            select 't-' || n, 't', 'Etc/UTC', '2026-01-01Z', '2026-01-01Z' from generate_series(0, 99) as n;
        insert into transfers (
            tenant, id, kind, debit_account, credit_account, feature, provider, model, run, priority, direction, requests,
            input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, tokens, usd, gco2e_usage_location,
            gco2e_usage_market, gco2e_embodied, price_tier_from, carbon_profile, flags, outcome, occurred_at, recorded_at,
            period_at
        )
        select
            't-' || n % 100, gen_random_uuid(), 'usage', 'usage:t-' || n % 100 || '/chat', 'supply:anthropic/claude-sonnet-4-5',
            'chat', 'anthropic', 'claude-sonnet-4-5', 'r-' || n % 1000, 'standard', 1, 1, 1200, 0, 0, 0, 800, 0, 2000, 0.0156,
            0.5, 0.4, 0.1, 0, 'central', 0, 'completed', at, at, at
        from generate_series(0, {rows} - 1) as n
        cross join lateral (
            select '{NOON}'::timestamptz - interval '{span}' * ({rows} - n) / {rows} as at
        ) as moment;
        insert into usage_rollup
        select
            tenant, date_bin('15 minutes', period_at, 'epoch'), feature, provider, model, '', priority, sum(requests),
            sum(input), sum(cache_read), sum(cache_write_5m), sum(cache_write_1h), sum(output), sum(reasoning), sum(usd),
            sum(gco2e_usage_location), sum(gco2e_usage_market), sum(gco2e_embodied)
        from transfers group by 1, 2, 3, 4, 5, 7;
        analyze transfers; analyze usage_rollup;"
    );
    sqlx::raw_sql(AssertSqlSafe(generate)).execute(service.db.pool()).await.expect("a journal");
    service.app.catch_up().await.expect("the tenants are known");
    sqlx::query("update catalogue_head set version = version + 1").execute(service.db.pool()).await.unwrap();
    tenant(service, "quiet", "Etc/UTC").await;
}

/// How many rows of the journal and of the roll-up this connection has read lately.
async fn both_read(connection: &mut PgConnection) -> (i64, i64) {
    (rows_read(connection, "transfers").await, rows_read(connection, "usage_rollup").await)
}

#[tokio::test]
async fn a_new_budget_reads_what_its_scope_can_touch_and_next_to_nothing_while_verdicts_wait() {
    let service = TestService::start().await;
    journal(&service, ROWS, MONTH).await;
    // As autovacuum leaves a journal; otherwise the first who counts reads all of it once more, to summarize it.
    let summarized = "select brin_summarize_new_values('transfers_recorded_at')";
    sqlx::query(summarized).execute(service.db.pool()).await.unwrap();
    let rows = i64::from(ROWS);
    let quarters = 912_i64;
    let by_run = |scope: Value| {
        json!({
            "scope": scope, "each": "run", "measure": "usd", "limit": "5", "period": {"kind": "month"}, "enforcement": "hard"
        })
    };
    let of_tenant = |scope: Value| json!({"scope": scope, "measure": "usd", "limit": "5", "period": {"kind": "month"}, "enforcement": "hard"});
    // Of which the journal ahead of the lock, and the roll-up; at most.
    for (what, body, journal_ahead, rollup_ahead) in [
        ("a tenant without a call", monthly("quiet", "5"), 0, 0),
        // The ends of an index, which a plan looks up.
        ("its runs", by_run(json!({"tenant": "quiet"})), 16, 0),
        // Its rows are counted, to know by which index to look for the last ones.
        ("one tenant of a hundred", monthly("t-7", "5"), rows / 100, rows.min(quarters)),
        ("one feature of it", of_tenant(json!({"tenant": "t-7", "feature": "chat"})), rows / 100, rows.min(quarters)),
        (
            "one model of it",
            of_tenant(json!({"tenant": "t-7", "model": "claude-sonnet-4-5"})),
            rows / 100,
            rows.min(quarters),
        ),
        // Its rows and not everybody's of the same time: counted twice, to know the way, and read with the ends of pages.
        ("the runs of one of a hundred", by_run(json!({"tenant": "t-7"})), rows / 20 + 16, 0),
        // And the last block range, which is summarized again.
        ("everything", by_run(json!({})), 2 * rows + 32 * 40, 0),
    ] {
        let mut connection = PgConnection::connect_with(&service.db.connect_options()).await.unwrap();
        let mut preparation = prepare(&mut connection, service.now()).await.unwrap();
        let before = load(preparation.connection()).await.unwrap();
        let (journal_before, rollup_before) = both_read(preparation.connection()).await;
        let budget = (BudgetId::parse("new").unwrap(), serde_json::from_value(body).unwrap());
        let budgets = [budget];
        let ahead = preparation.count_budgets(&before, &budgets).await.unwrap();
        let (journal, rollup) = both_read(preparation.connection()).await;
        let (read, added_up) = (journal - journal_before, rollup - rollup_before);
        assert!(
            read <= journal_ahead && added_up <= rollup_ahead,
            "{what}: {read} and {added_up} rows before the lock"
        );
        let mut change = preparation.lock().await.unwrap();
        change.put_budgets(&budgets, &before, Some(&ahead)).await.unwrap();
        let (all, _) = both_read(change.connection()).await;
        // An hour's rows, and the block range they are in.
        let bound = rows / 228 + 32 * 40;
        assert!(all - journal <= bound, "{what}: {} rows of the journal under the lock", all - journal);
        change.abandon().await.unwrap();
    }
}

#[tokio::test]
async fn of_the_last_hour_only_what_came_after_the_count_began_is_read_while_verdicts_wait() {
    let service = TestService::start().await;
    journal(&service, ROWS, "30 minutes").await;
    let summarized = "select brin_summarize_new_values('transfers_recorded_at')";
    sqlx::query(summarized).execute(service.db.pool()).await.unwrap();
    // A batch, by which is known what was recorded before.
    service.call("POST", "/v1/preflight", ask("t-3")).await.ok();
    for each in [Value::Null, json!("run")] {
        let body = json!({
            "scope": {}, "each": each, "measure": "usd", "limit": "5000", "period": {"kind": "month"}, "enforcement": "hard"
        });
        let mut connection = PgConnection::connect_with(&service.db.connect_options()).await.unwrap();
        let mut preparation = prepare(&mut connection, service.now()).await.unwrap();
        let before = load(preparation.connection()).await.unwrap();
        let budgets = [(BudgetId::parse("new").unwrap(), serde_json::from_value(body).unwrap())];
        let ahead = preparation.count_budgets(&before, &budgets).await.unwrap();
        // Recorded at the same instant as the last one before.
        spend(&service, "t-3", None).await;
        let mut change = preparation.lock().await.unwrap();
        let (read, _) = both_read(change.connection()).await;
        change.put_budgets(&budgets, &before, Some(&ahead)).await.unwrap();
        let (all, _) = both_read(change.connection()).await;
        assert!(all - read <= 2 * 32 * 40, "{each}: {} rows of the journal under the lock", all - read);
        change.commit().await.unwrap();
        service.app.catch_up().await.unwrap();
        audit::assert_none(&audit::findings(service.db.pool()).await);
    }
}

/// Asks for verdicts until it is over; the longest time that one took.
async fn longest_wait(service: &Replica, over: &AtomicBool) -> Duration {
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        service.call("POST", "/v1/preflight", ask("t-3")).await.ok();
        longest = longest.max(began.elapsed());
    }
    longest
}

/// The figures of `docs/reference/benchmarks.md`: `JOURNAL_ROWS=3000000` makes them, a smaller journal keeps the way there sound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_go_on_while_a_budget_is_counted() {
    let rows = from_environment("JOURNAL_ROWS").unwrap_or(ROWS);
    let service = TestService::start().await;
    journal(&service, rows, MONTH).await;
    service.call("POST", "/v1/preflight", ask("t-3")).await.ok();
    let everything = |each: Value| {
        json!({
            "scope": {}, "each": each, "measure": "usd", "limit": "500000", "period": {"kind": "month"}, "enforcement": "hard"
        })
    };
    for (what, body, posted) in [
        ("a tenant without a call", monthly("quiet", "500"), None),
        ("everything", everything(Value::Null), Some(f64::from(rows) * 0.0156)),
        ("every run", everything(json!("run")), None),
    ] {
        let over = AtomicBool::new(false);
        let put = async {
            let began = Instant::now();
            // A count that takes longer than a request goes on, and who asks again finds it done.
            while service.call("PUT", "/v1/budgets/new", body.clone()).await.status == 504 {}
            let took = began.elapsed();
            over.store(true, Ordering::Relaxed);
            took
        };
        let (took, longest) = tokio::join!(put, longest_wait(&service, &over));
        say(&format!("{rows} rows, {what}: the change took {took:?}, the longest concurrent pre-flight {longest:?}"));
        if let Some(posted) = posted {
            let shown = get(&service, "/v1/budgets/new").await["counters"][0]["posted"].clone();
            let shown: f64 = shown.as_str().expect("a decimal").parse().expect("a number");
            assert!((shown - posted).abs() < 0.01, "{what}: {shown} of {posted}");
        }
    }
    audit::assert_none(&audit::findings(service.db.pool()).await);
}

#[tokio::test]
async fn many_budgets_are_written_at_once_or_none() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    let item = |id: &str, limit: &str| {
        let mut body = monthly("acme", limit);
        body["id"] = json!(id);
        body
    };
    let many = |items: Vec<Value>| service.call("PUT", "/v1/budgets", json!({"items": items}));
    let written = many(vec![item("b", "2"), item("a", "1")]).await.ok();
    let ids: Vec<&Value> = written["items"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, ["b", "a"], "in the order in which they were given");
    assert_eq!((&written["items"][0]["version"], &written["items"][0]["limit"]), (&json!(1), &json!("2")));
    let mut unnamed = item("c", "1");
    unnamed.as_object_mut().unwrap().remove("id");
    for (items, field) in [
        (vec![item("c", "1"), item("d", "-1")], "items[1].limit"),
        (vec![item("c", "1"), item("c", "2")], "items[1].id"),
        (vec![item("c", "1"), unnamed], "items[1].id"),
        (vec![], "items"),
    ] {
        let refused = many(items).await;
        assert_eq!(refused.problem(), (422, "invalid_request"));
        assert_eq!(refused.body["errors"][0]["field"], field);
    }
    let mut foreign = item("c", "1");
    foreign["scope"]["tenant"] = json!("nobody");
    assert_eq!(many(vec![item("d", "1"), foreign]).await.problem(), (404, "unknown_tenant"));
    for id in ["c", "d"] {
        assert_eq!(service.call("GET", &format!("/v1/budgets/{id}"), Value::Null).await.status, 404, "{id}");
    }
}

#[tokio::test]
async fn a_tenant_has_so_many_budgets_and_no_more() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    let items = |from: usize, to: usize| -> Vec<Value> {
        (from..to)
            .map(|n| {
                let mut body = monthly("acme", "1");
                body["id"] = json!(format!("b-{n}"));
                body
            })
            .collect()
    };
    let many = |items: Vec<Value>| service.call("PUT", "/v1/budgets", json!({"items": items}));
    let written = many(items(0, 1000)).await.ok();
    assert_eq!(written["items"].as_array().unwrap().len(), 1000);
    many(items(1000, 2000)).await.ok();
    let refused = service.call("PUT", "/v1/budgets/more", monthly("acme", "1")).await;
    assert_eq!(refused.problem(), (409, "conflict"));
    assert!(refused.body["detail"].as_str().unwrap().contains("2000"), "{}", refused.body);
    put_budget(&service, "b-7", monthly("acme", "2")).await;
    service.call("DELETE", "/v1/budgets/b-8", Value::Null).await.ok();
    put_budget(&service, "more", monthly("acme", "1")).await;
}

#[tokio::test]
async fn a_write_says_which_version_it_replaces() {
    let service = TestService::start().await;
    let admin = service.token(&[Scope::Admin], None);
    let put = |path: &'static str, headers: &'static [(&'static str, &'static str)], body: Value| {
        service.call_as(&admin, "PUT", path, headers, body)
    };
    const NEW: &[(&str, &str)] = &[("if-none-match", "*")];
    const FIRST: &[(&str, &str)] = &[("if-match", "\"1\"")];
    for (path, body) in [
        ("/v1/tenants/acme", json!({"timezone": "Asia/Tokyo"})),
        ("/v1/budgets/acme-usd", monthly("acme", "10")),
        ("/v1/webhooks/pager", json!({"url": "https://hooks.example.com/a"})),
    ] {
        assert_eq!(put(path, FIRST, body.clone()).await.problem(), (412, "precondition_failed"), "{path} is not there");
        let made = put(path, NEW, body.clone()).await;
        assert_eq!(made.headers["etag"], "\"1\"", "{path}");
        made.ok();
        assert_eq!(put(path, NEW, body.clone()).await.problem(), (412, "precondition_failed"), "{path} is there");
        assert_eq!(service.call("GET", path, Value::Null).await.headers["etag"], "\"1\"");
        assert_eq!(put(path, FIRST, body.clone()).await.ok()["version"], 2);
        let stale = put(path, FIRST, body.clone()).await;
        assert_eq!(stale.problem(), (412, "precondition_failed"));
        assert!(stale.body["detail"].as_str().unwrap().contains("version 2"), "{}", stale.body);
        assert_eq!(service.call("GET", path, Value::Null).await.ok()["version"], 2, "nothing was written");
    }
    put("/v1/budgets/other", NEW, monthly("acme", "10")).await.ok();
    put("/v1/budgets/other", FIRST, monthly("acme", "10")).await.ok();
    put("/v1/tenants/bolt", NEW, json!({"timezone": "Asia/Tokyo"})).await.ok();
    put("/v1/tenants/bolt", FIRST, json!({"timezone": "Asia/Tokyo"})).await.ok();
    for path in ["/v1/webhooks/pager", "/v1/budgets/other", "/v1/tenants/bolt"] {
        let delete = |headers: &'static [(&'static str, &'static str)]| {
            service.call_as(&admin, "DELETE", path, headers, Value::Null)
        };
        assert_eq!(delete(FIRST).await.problem(), (412, "precondition_failed"), "{path}");
        assert_eq!(delete(NEW).await.problem(), (412, "precondition_failed"), "{path}");
        assert!(path.ends_with(delete(&[("if-match", "\"2\"")]).await.ok()["id"].as_str().unwrap()));
    }
    let again = service.call_as(&admin, "DELETE", "/v1/tenants/bolt", FIRST, Value::Null).await;
    assert_eq!(again.problem(), (412, "precondition_failed"), "also of one that is archived");
    // Of two who add to what they read one is told that it was not what they read.
    let (one, other) = tokio::join!(
        put("/v1/budgets/acme-usd", &[("if-match", "\"2\"")], monthly("acme", "15")),
        put("/v1/budgets/acme-usd", &[("if-match", "\"2\"")], monthly("acme", "17")),
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}
