//! Two replicas, 64 callers, budgets at their edge: what is granted is what fits, to the last unit.

use std::sync::Arc;

use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};
use sqlx::{Connection, Row};

use crate::support::audit::{assert_none, findings};
use crate::support::service::{Replica, TestService};
use crate::support::story::{acme, ask, budget, on, preflight, until};

const CALLERS: u64 = 64;

/// Every caller asks for smaller and smaller calls, each until it is refused. So in the end the smallest does not fit.
async fn exhaust(service: &TestService, asks: impl Fn(u64) -> Vec<Value>) {
    let two: [Arc<Replica>; 2] = [Arc::new(service.replica().await), Arc::new(service.replica().await)];
    let mut callers = tokio::task::JoinSet::new();
    for (caller, replica) in (0..CALLERS).zip(two.iter().cycle()) {
        let (replica, asks) = (Arc::clone(replica), asks(caller));
        callers.spawn(async move {
            for ask in asks {
                while preflight(&replica, ask.clone()).await["verdict"] == "allow" {}
            }
        });
    }
    callers.join_all().await;
    assert_none(&findings(service.db.pool()).await);
}

/// What the counters of a budget hold, and how many reservations that is.
async fn held(service: &TestService, id: &str) -> Vec<Decimal> {
    let held = "select held from counters join budgets on number = budget where id = $1 order by key";
    sqlx::query_scalar(held).bind(id).fetch_all(service.db.pool()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_budget_in_tokens_is_granted_to_the_last_token_and_never_beyond() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "edge", "tokens", "10007", json!({})).await;
    exhaust(&service, |caller| [97 + caller, 31, 7, 0].map(|input| ask(input, 1, json!({}))).to_vec()).await;
    assert_eq!(held(&service, "edge").await, [dec!(10007)]);
    let row = sqlx::query("select count(*), sum(tokens)::bigint from reservations")
        .fetch_one(service.db.pool())
        .await
        .unwrap();
    assert!(row.get::<i64, _>(0) > 64, "everybody had a chance");
    assert_eq!(row.get::<i64, _>(1), 10_007);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_budget_in_dollars_is_granted_to_the_last_micro_dollar_and_never_beyond() {
    let service = TestService::start().await;
    acme(&service).await;
    // A dollar and a rest that no call can use: three millionths for a token of input, fifteen for one of output.
    budget(&service, "edge", "usd", "0.300010999999", json!({})).await;
    exhaust(&service, |caller| {
        [(900, 10 + caller), (90, 1), (1, 1), (0, 1), (1, 0)].map(|(i, o)| ask(i, o, json!({}))).to_vec()
    })
    .await;
    let held = held(&service, "edge").await;
    assert!(held[0] <= dec!(0.300010999999) && held[0] > dec!(0.300010999999) - dec!(0.000003), "{held:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_budgets_in_different_measures_all_hold_at_once() {
    let service = TestService::start().await;
    acme(&service).await;
    let limits = [("tokens", "60000"), ("usd", "0.5"), ("gco2e", "40"), ("requests", "500")];
    for (measure, limit) in limits {
        budget(&service, &format!("by-{measure}"), measure, limit, json!({})).await;
    }
    let weights = json!({"scope": {"provider": "anthropic"}, "measure": {"input": 1, "output": 5}});
    budget(&service, "quota", "tokens", "90000", weights).await;
    let sliding = json!({"scope": {}, "each": "agent", "period": {"kind": "sliding", "seconds": 600}});
    budget(&service, "agents", "requests", "6", sliding).await;
    exhaust(&service, |caller| {
        let more = json!({"agent": format!("agent-{}", caller % 16), "run": format!("run-{caller}")});
        [ask(300, 100, more.clone()), ask(20, 2, more.clone()), ask(0, 1, more)].to_vec()
    })
    .await;
    for (measure, limit) in limits {
        let held = held(&service, &format!("by-{measure}")).await;
        assert!(held[0] > Decimal::ZERO && held[0] <= limit.parse().unwrap(), "{measure}: {held:?} of {limit}");
    }
    assert!(held(&service, "quota").await[0] <= dec!(90000));
    // 16 agents, 6 requests each: this is what binds, exactly.
    let agents: Vec<Decimal> = held(&service, "agents").await.into_iter().filter(|held| !held.is_zero()).collect();
    assert_eq!(agents, vec![dec!(6); 16]);
}

#[tokio::test]
async fn a_slice_of_a_sliding_window_that_another_replica_is_making_is_waited_for() {
    // The window's row is new to both; or known to the lane, which then looks without making anything.
    for known in [false, true] {
        let service = TestService::start().await;
        acme(&service).await;
        budget(&service, "sliding", "tokens", "100", json!({"period": {"kind": "sliding", "seconds": 600}})).await;
        if known {
            let path = on(preflight(&service, ask(1, 1, json!({}))).await["reservation"].as_str().unwrap(), "release");
            service.call("POST", &path, json!({})).await.ok();
        }
        // The other replica, in the middle of its batch, and ahead: it has granted 60 in a slice that had no row.
        let mut other = sqlx::PgConnection::connect_with(&service.db.connect_options()).await.unwrap();
        sqlx::raw_sql("begin").execute(&mut other).await.unwrap();
        sqlx::raw_sql(
            "insert into windows select number, '', 1 from budgets where id = 'sliding'
            on conflict (budget, key) do update set slices = windows.slices + 1",
        )
        .execute(&mut other)
        .await
        .unwrap();
        sqlx::query(
            "insert into counters
            select number, '', $1, $1 + interval '10 seconds', 'acme', 0, 60 from budgets where id = 'sliding'",
        )
        .bind(service.now() + chrono::TimeDelta::seconds(20))
        .execute(&mut other)
        .await
        .unwrap();
        let (refused, ()) = tokio::join!(preflight(&service, ask(49, 1, json!({}))), async {
            until("the lane waits for it", || async {
                let waits = "select exists (select from pg_stat_activity
                    where wait_event_type = 'Lock' and datname = current_database() and query like '%windows%')";
                sqlx::query_scalar(waits).fetch_one(service.db.pool()).await.unwrap()
            })
            .await;
            sqlx::raw_sql("commit").execute(&mut other).await.unwrap();
        });
        assert_ne!(refused["verdict"], "allow", "known {known}: {refused:#}");
        assert_eq!(preflight(&service, ask(39, 1, json!({}))).await["verdict"], "allow");
    }
}
