//! Plans: every statement of a lane finds its rows by key, in empty tables and in grown ones.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use counterfoil::store::lane::lane_options;

use crate::support::service::TestService;
use crate::support::story::{acme, budget, on, reserve};

/// Asks Postgres how it would do what the lane does, by letting the lane do it with `auto_explain`.
async fn plans(service: &TestService) -> Vec<String> {
    // The lane's own statements, with its own settings, explained as they run.
    let options = lane_options(service.db.connect_options());
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    let now = service.now();
    let mut plans = Vec::new();
    let id = uuid::Uuid::now_v7();
    // Six executions decide whether Postgres plans once for all or anew: both must do.
    for mode in ["force_custom_plan", "force_generic_plan"] {
        for (sql, arguments) in statements(now, id) {
            let prepare = format!("set plan_cache_mode = {mode}; deallocate all; prepare asked as {sql}");
            sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await.unwrap();
            let explain = AssertSqlSafe(format!("explain (costs off) execute asked({arguments})"));
            let lines: Vec<String> =
                sqlx::query_scalar(explain).persistent(false).fetch_all(&mut connection).await.unwrap();
            plans.push(lines.join("\n"));
        }
    }
    plans
}

/// The statements, with arguments as SQL.
fn statements(now: chrono::DateTime<chrono::Utc>, id: uuid::Uuid) -> Vec<(String, String)> {
    // 500 of each, as a full batch has.
    let array = |one: &str, kind: &str| format!("array_fill({one}::{kind}, array[500])");
    let keys = [array("''", "text"), array("'k'", "text"), array("'\\x00'", "bytea"), format!("'{now}'")].join(", ");
    let keyed = format!("{}, {}", array("1", "integer"), array("''", "text"));
    let flags = format!("{}, {}", array("true", "boolean"), array("true", "boolean"));
    let counters = format!("{keyed}, {}, {flags}", array(&format!("'{now}'"), "timestamptz"));
    let lock_counters = include_str!("../../../src/store/sql/lock_counters.sql");
    let make_counters = include_str!("../../../src/store/sql/make_counters.sql");
    let lock_reservations = include_str!("../../../src/store/sql/lock_reservations.sql");
    let write = include_str!("../../../src/store/sql/write_batch.sql");
    vec![
        (lock_reservations.to_owned(), format!("{}, '{now}', 256, '5 minutes'", array(&format!("'{id}'"), "uuid"))),
        (include_str!("../../../src/store/sql/read_answers.sql").to_owned(), keys),
        (make_counters.to_owned(), format!("{keyed}, {}", empty_arguments("$5"))),
        (lock_counters.to_owned(), counters),
        (write.to_owned(), empty_arguments(write)),
    ]
}

/// One null array, or null, for each parameter: the plan does not depend on what is in them.
fn empty_arguments(sql: &str) -> String {
    let most = (1..=200).rev().find(|number| sql.contains(&format!("${number}"))).unwrap();
    vec!["null"; most].join(", ")
}

#[track_caller]
fn no_scan(plans: &[String], when: &str) {
    for plan in plans {
        for line in plan.lines().filter(|line| line.contains("Seq Scan on ")) {
            // One row, always.
            assert!(line.contains("Seq Scan on catalogue_head"), "{when}:\n{plan}");
        }
    }
    assert!(
        plans.iter().any(|plan| plan.contains("reservations_open")),
        "{when}: expired ones are found by their index"
    );
}

#[tokio::test]
async fn the_lane_scans_no_table_when_it_is_empty_and_none_when_it_has_grown() {
    let service = TestService::start().await;
    acme(&service).await;
    no_scan(&plans(&service).await, "empty");
    budget(&service, "small", "tokens", "1000000", json!({})).await;
    let path = on(&reserve(&service, 9).await, "settle");
    service.call_keyed("k", "POST", &path, json!({"usage": {"input": 10}})).await.ok();
    // 200,000 rows each, made from the first one: what a busy morning leaves behind.
    let rows = "generate_series(1, 200000) as number";
    let grow = format!(
        "set session_replication_role = replica;
        create temp table one as select transfers.* from transfers, {rows};
        update one set reservation = null, id = gen_random_uuid();
        insert into transfers select * from one;
        create temp table held as select reservations.* from reservations, {rows};
        update held set id = gen_random_uuid();
        insert into reservations select * from held;
        insert into counters select 1, 'k-' || number, now(), null, 'acme', 0, 0 from {rows};
        insert into idempotency_keys select '', 'k-' || number, '\\x00', '{{}}', now() from {rows};
        analyze transfers; analyze reservations; analyze counters; analyze idempotency_keys;"
    );
    sqlx::raw_sql(AssertSqlSafe(grow)).execute(service.db.pool()).await.unwrap();
    no_scan(&plans(&service).await, "grown");
}
