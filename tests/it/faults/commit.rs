//! The connection breaks at each statement of a batch, before it and after it. Whatever the lane then answers is true, and
//! nothing is done twice or by half.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use counterfoil::lane::QUEUE_MAX;

use crate::support::audit::{assert_none, findings};
use crate::support::proxy::{Fate, Proxy};
use crate::support::service::{Replica, TestService};
use crate::support::story::{acme, ask, budget, on, reserve, until};

/// A service whose lane goes through a proxy.
async fn behind_a_proxy() -> (TestService, Replica, Proxy) {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "100000", json!({})).await;
    let proxy = Proxy::start(&service.db.connect_options());
    let replica = service.with_lane(QUEUE_MAX, proxy.options());
    (service, replica, proxy)
}

/// Breaks the connection once, at the statement of the next batch that has this place, from 0.
///
/// The sweeper's empty batches end with their commit too; they have no write, and are let through.
fn break_at(proxy: &Proxy, place: usize, fate: Fate) -> Arc<AtomicUsize> {
    let broken = Arc::new(AtomicUsize::new(0));
    let (seen, mut at) = (Arc::clone(&broken), 0);
    proxy.rule(move |step| {
        at = if step.sql.starts_with("begin") { 0 } else { at + 1 };
        if at == place && seen.load(Ordering::SeqCst) == 0 {
            seen.store(1, Ordering::SeqCst);
            return fate;
        }
        Fate::Pass
    });
    broken
}

async fn transfers(service: &TestService) -> i64 {
    sqlx::query_scalar("select count(*) from transfers").fetch_one(service.db.pool()).await.unwrap()
}

#[tokio::test]
async fn a_settlement_cut_at_any_statement_is_posted_once_or_not_at_all() {
    let (service, replica, proxy) = behind_a_proxy().await;
    let mut settled = 0;
    // begin, reservations, counters, write, commit
    for place in 0..5 {
        for fate in [Fate::Cut, Fate::LoseAnswer] {
            let reservation = reserve(&replica, 9).await;
            let broken = break_at(&proxy, place, fate);
            // Without a key: only the lane itself can know what became of it.
            let posted = replica.call("POST", &on(&reservation, "settle"), json!({"usage": {"input": 4}})).await.ok();
            until("the connection broke", || async { broken.load(Ordering::SeqCst) == 1 }).await;
            proxy.rule(|_| Fate::Pass);
            settled += 1;
            assert_eq!(posted["budgets"][0]["posted"], (settled * 4).to_string(), "{fate:?} at {place}");
            assert_eq!(transfers(&service).await, settled, "{fate:?} at {place}");
            assert_none(&findings(service.db.pool()).await);
        }
    }
}

#[tokio::test]
async fn usage_whose_commit_was_not_answered_is_posted_once() {
    let (service, replica, proxy) = behind_a_proxy().await;
    let usage = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 7}
    });
    let mut ids = std::collections::BTreeSet::new();
    for fate in [Fate::LoseAnswer, Fate::Cut, Fate::LoseAnswer] {
        let mut once = true;
        let mut wrote = false;
        proxy.rule(move |step| {
            wrote = (wrote || step.sql.contains("insert into transfers")) && !step.sql.starts_with("begin");
            if wrote && once && step.sql.eq_ignore_ascii_case("commit") {
                once = false;
                return fate;
            }
            Fate::Pass
        });
        let posted = replica.call("POST", "/v1/usage", usage.clone()).await.ok();
        ids.insert(posted["transfer"].as_str().unwrap().to_owned());
    }
    assert_eq!(transfers(&service).await, 3);
    for id in ids {
        let found: bool = sqlx::query_scalar("select exists (select from transfers where id::text = $1)")
            .bind(&id)
            .fetch_one(service.db.pool())
            .await
            .unwrap();
        assert!(found, "the answer names {id}, which is not there");
    }
    assert_none(&findings(service.db.pool()).await);
}

/// The hardest case: the lane's connection is gone, its commit is still on its way, and arrives after the lane has asked.
#[tokio::test]
async fn a_commit_that_arrives_after_the_lane_has_asked_for_it_is_waited_for() {
    for first_batch in [true, false] {
        let (service, replica, proxy) = behind_a_proxy().await;
        let replica = Arc::new(replica);
        if !first_batch {
            // Then the lane's own row exists already.
            reserve(&replica, 9).await;
        }
        let (mut once, mut wrote) = (true, false);
        proxy.rule(move |step| {
            wrote = (wrote || step.sql.contains("insert into reservations")) && !step.sql.starts_with("begin");
            if wrote && once && step.sql.eq_ignore_ascii_case("commit") {
                once = false;
                return Fate::Hold;
            }
            Fate::Pass
        });
        let asked = tokio::spawn({
            let replica = Arc::clone(&replica);
            async move { replica.call("POST", "/v1/preflight", ask(99, 1, json!({}))).await.ok() }
        });
        until("the lane asks what became of it, and waits", || async {
            let waits = "select exists (select from pg_stat_activity
                where wait_event_type = 'Lock' and datname = current_database() and query like '%insert into lanes%')";
            sqlx::query_scalar(waits).fetch_one(service.db.pool()).await.unwrap()
        })
        .await;
        proxy.release();
        let answer: Value = asked.await.unwrap();
        assert_eq!(answer["verdict"], "allow");
        let held: Vec<String> = sqlx::query_scalar("select id::text from reservations where tokens = 100")
            .fetch_all(service.db.pool())
            .await
            .unwrap();
        assert_eq!(held, [answer["reservation"].as_str().unwrap()]);
        assert_none(&findings(service.db.pool()).await);
    }
}

#[tokio::test]
async fn a_key_makes_one_effect_of_a_write_that_was_answered_with_away() {
    let (service, replica, proxy) = behind_a_proxy().await;
    // The commit goes through, its answer is lost, and then nobody is let in again.
    let mut wrote = false;
    proxy.rule(move |step| {
        wrote = (wrote || step.sql.contains("insert into reservations")) && !step.sql.starts_with("begin");
        match (step.connection, wrote && step.sql.eq_ignore_ascii_case("commit")) {
            (0, true) => Fate::LoseAnswer,
            (0, false) => Fate::Pass,
            (_, _) => Fate::Cut,
        }
    });
    let away = replica.call_keyed("k", "POST", "/v1/preflight", ask(99, 1, json!({}))).await;
    assert_eq!(away.problem(), (503, "store_unavailable"));
    proxy.rule(|_| Fate::Pass);
    let again = replica.call_keyed("k", "POST", "/v1/preflight", ask(99, 1, json!({}))).await.ok();
    let held: Vec<String> =
        sqlx::query_scalar("select id::text from reservations").fetch_all(service.db.pool()).await.unwrap();
    assert_eq!(held, [again["reservation"].as_str().unwrap()]);
    assert_none(&findings(service.db.pool()).await);
}
