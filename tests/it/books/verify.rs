//! `verify` finds nothing in books that nobody touched, and in others exactly what was touched.

use counterfoil::app::verify::{VerifyReport, verify};
use counterfoil::store::locks::Lock;
use serde_json::json;
use sqlx::AssertSqlSafe;

use super::world;
use crate::support::service::TestService;

async fn verified(service: &TestService) -> VerifyReport {
    let options = service.db.connect_options();
    verify(&options, &service.clock, &mut |_| {}).await.unwrap().expect("there are books")
}

async fn execute(service: &TestService, statement: &str) -> u64 {
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(service.db.pool()).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}")).rows_affected()
}

/// What differs, one line each: the check, the column, and for counters the budget.
fn lines(report: &VerifyReport) -> Vec<String> {
    let mut lines: Vec<String> = report
        .differences()
        .map(|(check, difference)| match difference.subject.first() {
            Some(("budget", budget)) => format!("{} {budget} {}", check.name(), difference.column),
            _ => format!("{} {}", check.name(), difference.column),
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines
}

#[tokio::test]
async fn books_that_nobody_touched_are_right() {
    let service = world().await;
    let report = verified(&service).await;
    assert!(report.is_consistent(), "{:#?}", report.differences().collect::<Vec<_>>());
    assert_eq!(report.other_timezone_rules, None);
    let checked: Vec<u64> = report.checks.iter().map(|one| one.findings.checked).collect();
    assert!(checked.iter().all(|checked| *checked > 4), "every check has something to look at: {checked:?}");
    assert_eq!(report.trial_balance.len(), 5);
    for unit in &report.trial_balance {
        assert!(unit.difference.is_zero() && unit.debit == unit.credit && !unit.debit.is_zero(), "{unit:?}");
    }
}

/// Granted in May, May closed, settled in June: the books are right, and what is touched of it is found.
#[tokio::test]
async fn a_call_that_was_settled_over_a_closed_boundary_is_right_where_it_counts() {
    let service = TestService::start_at("2026-05-31T23:50:00Z").await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    let mut ask = crate::catalogue::ask("acme");
    ask["ttl_seconds"] = json!(7200);
    let over = service.call("POST", "/v1/preflight", ask.clone()).await.ok()["reservation"].clone();
    let plain = service.call("POST", "/v1/preflight", ask).await.ok()["reservation"].clone();
    let settle = async |reservation: &serde_json::Value| {
        let path = format!("/v1/reservations/{}/settle", reservation.as_str().expect("an id"));
        service.call("POST", &path, json!({"usage": {"input": 10, "output": 5}})).await.ok()
    };
    settle(&plain).await;
    service.advance(chrono::TimeDelta::minutes(80));
    service.call("POST", "/v1/periods/close", json!({"until": "2026-06-01T00:00:00Z"})).await.ok();
    service.advance(chrono::TimeDelta::minutes(5));
    let settled = settle(&over).await;
    assert!(settled["flags"].to_string().contains("period_closed"), "{settled}");
    let report = verified(&service).await;
    assert!(report.is_consistent(), "{:#?}", report.differences().collect::<Vec<_>>());
    // The rows, as if somebody had changed them.
    let row = |reservation: &serde_json::Value| format!("where reservation = '{}'", reservation.as_str().unwrap());
    for (touch, undo, found) in [
        (
            format!("update transfers set period_at = period_at - interval '1 day' {}", row(&over)),
            format!("update transfers set period_at = period_at + interval '1 day' {}", row(&over)),
            "reservations period_at",
        ),
        (
            format!("update transfers set flags = flags | 128 {}", row(&plain)),
            format!("update transfers set flags = flags - 128 {}", row(&plain)),
            "reservations flags",
        ),
        (
            format!("update transfers set requests = 2 {}", row(&plain)),
            format!("update transfers set requests = 1 {}", row(&plain)),
            "reservations requests",
        ),
        (
            format!("update transfers set run = 'r-9' {}", row(&plain)),
            format!("update transfers set run = null {}", row(&plain)),
            "reservations run",
        ),
    ] {
        let touched = |statement: &str| {
            format!("set session_replication_role = replica; {statement}; reset session_replication_role")
        };
        execute(&service, &touched(&touch)).await;
        let lines = lines(&verified(&service).await);
        assert!(lines.iter().any(|line| line == found), "{touch}: {lines:?}");
        execute(&service, &touched(&undo)).await;
    }
}

#[tokio::test]
async fn a_database_without_books_is_not_found_to_be_right() {
    static NOTHING: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;
    let database = crate::support::cluster::fresh_database(&NOTHING).await;
    let clock = counterfoil::clock::Clock::system();
    assert_eq!(verify(&database.connect_options(), &clock, &mut |_| {}).await.unwrap(), None);
}

/// What is touched, by which statement, what differs then, and the statement that undoes it.
type Case = (&'static str, String, Vec<&'static str>, String);

const TRANSFER: &str = "id = (select min(id::text)::uuid from transfers where tenant = 'tokyo' and run is not null)";
const COUNTER: &str = "(budget, period_start) = (select counters.budget, min(period_start) from counters \
    join budgets on number = counters.budget where budgets.id = 'tokyo-usd' group by 1)";
const OPEN: &str = "id = (select min(id::text)::uuid from reservations where state = 'open' and tenant = 'kathmandu')";
const SETTLED: &str = "id = (select min(id::text)::uuid from reservations where state = 'settled')";
const LATE: &str =
    "id = (select min(id::text)::uuid from reservations where state = 'expired' and transfer is not null)";
const ROLLUP: &str = "(tenant, quarter, feature, provider, model, region) = \
    (select tenant, quarter, feature, provider, model, region from usage_rollup order by 1, 2, 3, 4, 5, 6 limit 1)";

/// Touched counters.
fn counter_cases() -> Vec<Case> {
    vec![
        (
            "a counter's posted",
            format!("update counters set posted = posted + 0.000000000001 where {COUNTER}"),
            vec!["counters tokyo-usd posted"],
            format!("update counters set posted = posted - 0.000000000001 where {COUNTER}"),
        ),
        (
            "a counter's held",
            format!("update counters set held = held + 1 where {COUNTER}"),
            vec!["counters tokyo-usd held"],
            format!("update counters set held = held - 1 where {COUNTER}"),
        ),
        (
            "a counter's end and owner",
            format!(
                "update counters set period_end = period_end + interval '1 day', tenant = 'berlin' where {COUNTER}"
            ),
            vec!["counters tokyo-usd period_end", "counters tokyo-usd tenant"],
            format!("update counters set period_end = period_end - interval '1 day', tenant = 'tokyo' where {COUNTER}"),
        ),
        (
            "a counter that is gone",
            format!(
                "with gone as (delete from counters where {COUNTER} returning *) insert into was_there select * from gone"
            ),
            vec!["counters tokyo-usd posted"],
            "insert into counters select * from was_there".to_owned(),
        ),
        (
            "a counter of no budget",
            "insert into counters values (99, '', 'epoch', null, null, 7, 0)".to_owned(),
            vec!["counters number 99 posted"],
            "delete from counters where budget = 99".to_owned(),
        ),
        (
            "a counter of zero that nothing is counted in",
            "insert into counters values (99, '', 'epoch', null, null, 0, 0)".to_owned(),
            vec![],
            "delete from counters where budget = 99".to_owned(),
        ),
    ]
}

/// A touched roll-up, touched reservations.
fn row_cases() -> Vec<Case> {
    vec![
        (
            "a row of the roll-up",
            format!("update usage_rollup set usd = usd + 0.000000000001, output = output + 1 where {ROLLUP}"),
            vec!["usage_rollup output", "usage_rollup usd"],
            format!("update usage_rollup set usd = usd - 0.000000000001, output = output - 1 where {ROLLUP}"),
        ),
        (
            "a reservation that was closed by hand",
            format!("update reservations set state = 'released', ended_at = granted_at where {OPEN}"),
            vec!["counters each-run held", "counters each-tenant held", "counters tight held"],
            "update reservations set state = 'open', ended_at = null where state = 'released' and ended_at = granted_at and tenant = 'kathmandu' and expires_at > granted_at + interval '1 hour'".to_owned(),
        ),
        (
            "a reservation that names another transfer",
            format!("update reservations set transfer = 'ffffffff-ffff-7fff-bfff-ffffffffffff' where {SETTLED}"),
            vec!["reservations reservation", "reservations transfer"],
            "update reservations as r set transfer = t.id from transfers as t where t.reservation = r.id and r.transfer <> t.id".to_owned(),
        ),
        (
            "a late settlement that is not said to be late",
            format!("update reservations set state = 'settled' where {LATE}"),
            vec!["reservations state"],
            "update reservations as r set state = 'expired' from transfers as t where t.id = r.transfer and t.flags & 8 <> 0".to_owned(),
        ),
        (
            "a hold that is no sum, and one below zero",
            format!("update reservations set tokens = tokens + 1, usd = usd - 1000 where {SETTLED}"),
            vec!["reservations tokens", "reservations usd"],
            "update reservations set tokens = tokens - 1, usd = usd + 1000 where usd < 0".to_owned(),
        ),
    ]
}

/// A touched journal.
fn journal_cases() -> Vec<Case> {
    vec![
        (
            "dollars of a transfer",
            format!("update transfers set usd = usd + 1 where {TRANSFER}"),
            vec!["counters each-run posted", "counters tokyo-usd posted", "usage_rollup usd"],
            format!("update transfers set usd = usd - 1 where {TRANSFER}"),
        ),
        (
            "an account of a transfer",
            format!("update transfers set debit_account = 'usage:berlin/chat' where {TRANSFER}"),
            vec!["transfers debit_account"],
            format!("update transfers set debit_account = 'usage:' || tenant || '/' || feature where {TRANSFER}"),
        ),
        (
            "a transfer of nobody",
            "update transfers set tenant = 'nobody', debit_account = 'usage:nobody/' || feature where id = (select min(id::text)::uuid from transfers where kind = 'usage' and tenant = 'berlin')".to_owned(),
            vec![
                "counters each-tenant posted", "counters window posted", "transfers tenant", "usage_rollup cache_read",
                "usage_rollup cache_write_1h", "usage_rollup cache_write_5m", "usage_rollup gco2e_embodied",
                "usage_rollup gco2e_usage_location", "usage_rollup gco2e_usage_market", "usage_rollup input",
                "usage_rollup output", "usage_rollup reasoning", "usage_rollup requests", "usage_rollup usd",
            ],
            "update transfers set tenant = 'berlin', debit_account = 'usage:berlin/' || feature where tenant = 'nobody'".to_owned(),
        ),
    ]
}

#[tokio::test]
async fn verify_finds_exactly_what_was_touched() {
    let service = world().await;
    execute(&service, "alter table transfers disable trigger transfers_append_only").await;
    execute(&service, "create table was_there as select * from counters limit 0").await;
    for (what, touch, expect, undo) in counter_cases().into_iter().chain(row_cases()).chain(journal_cases()) {
        assert!(execute(&service, &touch).await > 0, "{what}: nothing was touched");
        let report = verified(&service).await;
        assert_eq!(lines(&report), expect, "{what}: {:#?}", report.differences().collect::<Vec<_>>());
        assert!(execute(&service, &undo).await > 0, "{what}: nothing was undone");
        let report = verified(&service).await;
        assert!(report.is_consistent(), "{what}, undone: {:#?}", report.differences().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_second_transfer_for_one_reservation_is_found() {
    let service = world().await;
    let copy = "insert into transfers select (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid()))).* \
        from transfers as t where reservation is not null and usd > 0 order by id limit 1";
    assert_eq!(execute(&service, copy).await, 1);
    let lines = lines(&verified(&service).await);
    for line in ["reservations reservation", "reservations transfers", "usage_rollup usd", "usage_rollup requests"] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
    }
    assert!(lines.iter().any(|line| line.starts_with("counters ")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("trial_balance") || line.starts_with("accounts")), "{lines:?}");
}

#[tokio::test]
async fn verify_sees_one_snapshot_and_waits_for_nobody() {
    let service = world().await;
    // A lane's locks, held by somebody who never lets go.
    let mut lane = service.db.pool().begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock($1)").bind(Lock::Catalogue.number()).execute(&mut *lane).await.unwrap();
    sqlx::query("update counters set posted = posted + 1").execute(&mut *lane).await.unwrap();
    sqlx::query("delete from usage_rollup").execute(&mut *lane).await.unwrap();
    assert!(verified(&service).await.is_consistent());
    lane.rollback().await.unwrap();
}
