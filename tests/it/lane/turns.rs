//! Tenants are served in turn: what one sends, however much, neither refuses nor delays the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::Connection;
use tokio::task::JoinSet;

use counterfoil::lane::{BATCH_MAX, LaneError, QUEUE_MAX};

use crate::support::audit::{assert_none, findings};
use crate::support::commands::{But, post_usage, reserve};
use crate::support::proxy::{Proxy, hold_up};
use crate::support::service::TestService;
use crate::support::story::{acme, until};

/// Bulk senders of the flood, and the items of each of their requests.
const SENDERS: usize = 12;
const ITEMS: usize = 2_000;
/// How much longer a single call may take in the flood than alone, at the slow end. It waits for the batch under way and then
/// for its own, both full, where alone it is a batch of one.
const SLOWER_MAX: u32 = 60;
/// What a call takes alone is not measured more finely than this: a machine that is busy for a moment is no finding.
const ALONE_MIN: Duration = Duration::from_millis(25);

async fn two_tenants() -> TestService {
    let service = TestService::start().await;
    acme(&service).await;
    service.call("PUT", "/v1/tenants/bolt", json!({"timezone": "Etc/UTC"})).await.ok();
    service
}

/// The slow end of so many pre-flights of `bolt`, one after the other; none of them may be refused.
async fn slow_end(service: &TestService, count: usize) -> Duration {
    let body = json!({
        "tenant": "bolt", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "estimate": {"input": 5, "max_output": 5},
    });
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        assert_eq!(service.call("POST", "/v1/preflight", body.clone()).await.ok()["verdict"], "allow");
        times.push(began.elapsed());
    }
    times.sort();
    times[count * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_requests_of_one_tenant_neither_refuse_nor_starve_single_calls_of_another() {
    let service = two_tenants().await;
    let alone = slow_end(&service, 50).await.max(ALONE_MIN);
    let over = Arc::new(AtomicBool::new(false));
    let mut flood = JoinSet::new();
    for _ in 0..SENDERS {
        let (lane, over) = (service.app.lane.clone(), Arc::clone(&over));
        flood.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                for answer in lane.submit_all((0..ITEMS).map(|_| post_usage(1)).collect()).await {
                    answer.unwrap().unwrap();
                }
            }
        });
    }
    until("the flood is there", || async { service.app.lane.queued() > BATCH_MAX }).await;
    let flooded = slow_end(&service, 50).await;
    assert!(service.app.lane.queued() > BATCH_MAX, "the flood was over too early");
    over.store(true, Ordering::Relaxed);
    flood.join_all().await;
    assert!(flooded <= alone * SLOWER_MAX, "alone {alone:?}, in the flood {flooded:?}");
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn a_call_is_in_the_next_batch_whatever_another_tenant_has_waiting() {
    let service = two_tenants().await;
    let proxy = Proxy::start(&service.db.connect_options());
    let replica = service.with_lane(QUEUE_MAX, proxy.options());
    let lane = &replica.app.lane;
    let gate = hold_up(&service, &proxy).await;
    let mut flood = JoinSet::new();
    for _ in 0..SENDERS {
        let lane = lane.clone();
        flood.spawn(async move { lane.submit_all((0..ITEMS).map(|_| post_usage(1)).collect()).await });
    }
    let mut singles = JoinSet::new();
    for _ in 0..QUEUE_MAX {
        let lane = lane.clone();
        singles.spawn(async move { lane.submit(reserve(1)).await });
    }
    let full = SENDERS * BATCH_MAX + QUEUE_MAX;
    until("all places are taken", || async { lane.queued() == full }).await;
    // Nothing more of acme's fits, and bolt's does: in the place of the newest of acme's.
    assert_eq!(lane.submit(reserve(1)).await.unwrap_err(), LaneError::Overloaded);
    let of_bolt = {
        let lane = lane.clone();
        tokio::spawn(async move { lane.submit(reserve(1).of_tenant("bolt")).await })
    };
    assert_eq!(singles.join_next().await.unwrap().unwrap().unwrap_err(), LaneError::Overloaded);
    gate.close().await.unwrap();
    of_bolt.await.unwrap().unwrap().unwrap();
    let written: i64 =
        sqlx::query_scalar("select (select count(*) from transfers) + (select count(*) from reservations)")
            .fetch_one(service.db.pool())
            .await
            .unwrap();
    // The batch that it was in; the next one may have been written before we looked.
    assert!(written <= i64::try_from(2 * BATCH_MAX).unwrap(), "{written} were written before");
    while let Some(answer) = singles.join_next().await {
        answer.unwrap().unwrap().unwrap();
    }
    for answer in flood.join_all().await.into_iter().flatten() {
        answer.unwrap().unwrap();
    }
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn commands_that_cannot_be_written_cost_others_an_attempt_for_each_batch_at_most() {
    let service = two_tenants().await;
    sqlx::query("alter table transfers add constraint no_poison check (feature <> 'poison')")
        .execute(service.db.pool())
        .await
        .unwrap();
    let proxy = Proxy::start(&service.db.connect_options());
    let replica = service.with_lane(QUEUE_MAX, proxy.options());
    let lane = &replica.app.lane;
    let poisoned = {
        let lane = lane.clone();
        tokio::spawn(
            async move { lane.submit_all((0..200).map(|_| post_usage(1).of_feature("poison")).collect()).await },
        )
    };
    until("the poison has been met", || async { lane.queued() > BATCH_MAX / 4 }).await;
    for number in 0..50 {
        proxy.take_steps();
        lane.submit(post_usage(1).of_tenant("bolt")).await.unwrap().unwrap();
        let attempts = proxy.take_steps().iter().filter(|step| step.sql.starts_with("begin")).count();
        // What was under way, the batch of its own, and at first one that both were in and its halves.
        assert!(attempts <= 6, "{attempts} attempts for call {number}");
    }
    for answer in poisoned.await.unwrap() {
        assert_eq!(answer.unwrap_err(), LaneError::Unwritable);
    }
    // Once what can be written comes, the tenant is served as everybody.
    for answer in lane.submit_all((0..2_000).map(|_| post_usage(1)).collect()).await {
        answer.unwrap().unwrap();
    }
    assert_none(&findings(service.db.pool()).await);
}
