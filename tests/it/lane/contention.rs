//! Two lanes that want the same rows: nothing is dropped, whatever the database says in between.

use std::sync::Arc;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use counterfoil::lane::QUEUE_MAX;

use crate::support::audit::{assert_none, findings};
use crate::support::commands::{But, post_usage, reserve, settle};
use crate::support::proxy::{Fate, Proxy};
use crate::support::service::{Replica, TestService};
use crate::support::story::{acme, budget, until};

async fn posted(service: &TestService) -> (i64, i64) {
    let count = "select count(*), coalesce(sum(tokens), 0)::bigint from transfers";
    sqlx::query_as(count).fetch_one(service.db.pool()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_lanes_with_the_same_new_counters_and_reservations_drop_nothing() {
    let service = TestService::start().await;
    acme(&service).await;
    for (id, each) in [("runs", "run"), ("features", "feature"), ("tenants", "tenant")] {
        let more = json!({"scope": {}, "each": each, "period": {"kind": "hour"}});
        budget(&service, id, "tokens", "100000000", more).await;
    }
    let two: [Arc<Replica>; 2] = [Arc::new(service.replica().await), Arc::new(service.replica().await)];
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..32_usize {
        let (mine, others) = (Arc::clone(&two[caller % 2]), Arc::clone(&two[(caller + 1) % 2]));
        callers.spawn(async move {
            for round in 0..12_usize {
                // New runs in every round, the same for all callers, in no particular order.
                let run = |step: usize| format!("run-{round}-{}", (caller * 7 + step * 5) % 11);
                let lane = &mine.app.lane;
                let held = lane.submit_all((0..4).map(|step| reserve(2).of_run(&run(step))).collect()).await;
                lane.submit(post_usage(1).of_run(&run(5))).await.unwrap().unwrap();
                for answer in held {
                    let counterfoil::domain::ledger::outcome::Outcome::Ruled(ruled) = answer.unwrap().unwrap() else {
                        panic!("a verdict")
                    };
                    let id = ruled.granted.unwrap().reservation.0;
                    // On both replicas at once: one of them ends it.
                    let (one, two) = tokio::join!(lane.submit(settle(id, 1)), others.app.lane.submit(settle(id, 1)));
                    assert_eq!(u8::from(one.unwrap().is_ok()) + u8::from(two.unwrap().is_ok()), 1);
                }
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    assert_eq!(posted(&service).await, (32 * 12 * 5, 32 * 12 * 5));
    assert_none(&findings(service.db.pool()).await);
}

/// Sends a settlement and a posting through a lane while another transaction stands in its way.
async fn gets_through(service: &TestService, proxy: &Proxy, in_the_way: impl AsyncFnOnce()) {
    let replica = service.with_lane(QUEUE_MAX, proxy.options());
    let lane = replica.app.lane.clone();
    let sent = tokio::spawn(async move { lane.submit_all(vec![reserve(2), post_usage(1)]).await });
    in_the_way().await;
    for answer in sent.await.unwrap() {
        answer.unwrap().unwrap();
    }
    assert_none(&findings(service.db.pool()).await);
}

/// Whether somebody waits for a lock in this database.
async fn somebody_waits(service: &TestService) -> bool {
    let waits = "select exists (select from pg_stat_activity
        where wait_event_type = 'Lock' and datname = current_database() and query not like '%pg_stat_activity%')";
    sqlx::query_scalar(waits).fetch_one(service.db.pool()).await.unwrap()
}

#[tokio::test]
async fn a_deadlock_is_tried_again() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    service.app.lane.submit_all(vec![reserve(2), post_usage(1)]).await;
    let proxy = Proxy::start(&service.db.connect_options());
    let mut other = PgConnection::connect_with(&service.db.connect_options()).await.unwrap();
    let asked = Arc::new(tokio::sync::Notify::new());
    // Against the doctrine: the roll-up first, the counter second.
    sqlx::raw_sql("set deadlock_timeout = '10s'; begin; select * from usage_rollup for update")
        .execute(&mut other)
        .await
        .unwrap();
    let tell = Arc::clone(&asked);
    proxy.rule(move |step| {
        if step.sql.contains("insert into usage_rollup") {
            tell.notify_one();
        }
        Fate::Pass
    });
    gets_through(&service, &proxy, async || {
        asked.notified().await;
        until("the lane waits for the roll-up", || somebody_waits(&service)).await;
        // The lane's own deadlock check finds the circle after a second: it is the victim, and 40P01 is what it hears.
        sqlx::query("select * from counters for update").execute(&mut other).await.unwrap();
        sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    })
    .await;
    let tries = proxy.take_steps().iter().filter(|step| step.sql.contains("insert into usage_rollup")).count();
    assert!(tries >= 2, "the first try was the victim");
    assert_eq!(posted(&service).await, (2, 2));
}

#[tokio::test]
async fn what_the_database_asks_to_try_again_is_tried_again() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    // A server that refuses the first two writes of the journal: serialization failure, deadlock, lock time-out, cancel.
    for (round, code) in ["40001", "40P01", "55P03", "57014"].into_iter().enumerate() {
        let refuse = format!(
            "create sequence tries_{code};
            create function refuse_{code}() returns trigger language plpgsql as $$
            begin
                if nextval('tries_{code}') <= 2 then
                    raise exception 'not now' using errcode = '{code}';
                end if;
                return null;
            end
            $$;
            create trigger refuse_{code} after insert on transfers for each statement execute function refuse_{code}();"
        );
        sqlx::raw_sql(AssertSqlSafe(refuse)).execute(service.db.pool()).await.unwrap();
        let proxy = Proxy::start(&service.db.connect_options());
        gets_through(&service, &proxy, async || ()).await;
        let last = AssertSqlSafe(format!("select last_value from tries_{code}"));
        let tries: i64 = sqlx::query_scalar(last).fetch_one(service.db.pool()).await.unwrap();
        assert!(tries >= 3, "{code}");
        let all = i64::try_from(round + 1).unwrap();
        assert_eq!(posted(&service).await, (all, all));
    }
}

#[tokio::test]
async fn a_lane_whose_backend_is_ended_by_an_administrator_goes_on() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    service.app.lane.submit(post_usage(1)).await.unwrap().unwrap();
    let proxy = Proxy::start(&service.db.connect_options());
    let mut other = PgConnection::connect_with(&service.db.connect_options()).await.unwrap();
    sqlx::raw_sql("begin; lock table usage_rollup in exclusive mode").execute(&mut other).await.unwrap();
    gets_through(&service, &proxy, async || {
        for end in ["pg_cancel_backend", "pg_terminate_backend"] {
            until("the lane waits", || somebody_waits(&service)).await;
            let ended = AssertSqlSafe(format!(
                "select {end}(pid) from pg_stat_activity
                where wait_event_type = 'Lock' and datname = current_database() and query like '%insert into transfers%'"
            ));
            sqlx::query(ended).execute(service.db.pool()).await.unwrap();
        }
        sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    })
    .await;
    assert_eq!(posted(&service).await, (2, 2));
}
