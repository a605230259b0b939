//! Statements per batch, counted on the wire.

use serde_json::json;
use sqlx::Connection;

use counterfoil::domain::ledger::command::Command;
use counterfoil::lane::{BATCH_MAX, Lane, QUEUE_MAX};
use counterfoil::store::lane::STATEMENTS_PER_BATCH;

use crate::support::commands::{But, post_usage, reserve, settle};
use crate::support::proxy::{Proxy, Step, hold_up};
use crate::support::service::TestService;
use crate::support::story::{acme, budget, until};

/// Sends commands so that they are one batch: all of them wait behind a lane that is held up.
async fn in_one_batch(service: &TestService, lane: &Lane, proxy: &Proxy, commands: Vec<Command>) -> Vec<Vec<Step>> {
    assert!(commands.len() <= BATCH_MAX);
    let gate = hold_up(service, proxy).await;
    let all = commands.len();
    let sent = tokio::spawn({
        let lane = lane.clone();
        async move { lane.submit_all(commands).await }
    });
    until("all of them wait", || async { lane.queued() == all }).await;
    proxy.take_steps();
    gate.close().await.unwrap();
    for answer in sent.await.unwrap() {
        answer.unwrap().unwrap();
    }
    batches(proxy.take_steps())
}

/// Statements, batch by batch; what is left of one that had begun before comes first.
fn batches(steps: Vec<Step>) -> Vec<Vec<Step>> {
    let mut batches: Vec<Vec<Step>> = vec![vec![]];
    for step in steps {
        if step.sql.starts_with("begin") {
            batches.push(vec![]);
        }
        batches.last_mut().unwrap().push(step);
    }
    batches.into_iter().skip(1).filter(|steps| steps.iter().any(|step| step.sql.contains("insert into"))).collect()
}

#[tokio::test]
async fn a_batch_has_as_many_statements_as_one_command() {
    let service = TestService::start().await;
    acme(&service).await;
    for measure in ["tokens", "usd", "gco2e", "requests"] {
        budget(&service, &format!("by-{measure}"), measure, "1000000", json!({})).await;
    }
    let proxy = Proxy::start(&service.db.connect_options());
    let replica = service.with_lane(QUEUE_MAX, proxy.options());
    let lane = &replica.app.lane;
    // Makes the counters.
    lane.submit(reserve(1)).await.unwrap().unwrap();
    for size in [1, 10, 500] {
        let commands = (0..size).map(|number| if number % 3 == 2 { post_usage(5) } else { reserve(2) }).collect();
        let sent = in_one_batch(&service, lane, &proxy, commands).await;
        let [batch] = &sent[..] else { panic!("{size} commands were {} batches", sent.len()) };
        assert_eq!(u32::try_from(batch.len()).unwrap(), STATEMENTS_PER_BATCH, "{size} commands: {batch:#?}");
    }
}

#[tokio::test]
async fn new_counters_cost_one_statement_more_however_many_they_are() {
    let service = TestService::start().await;
    acme(&service).await;
    let each = json!({"scope": {}, "each": "run", "period": {"kind": "once"}});
    budget(&service, "runs", "tokens", "1000", each).await;
    let proxy = Proxy::start(&service.db.connect_options());
    let replica = service.with_lane(QUEUE_MAX, proxy.options());
    let lane = &replica.app.lane;
    for (round, size) in [1, 10, 500].into_iter().enumerate() {
        let commands = (0..size).map(|number| reserve(3).of_run(&format!("run-{round}-{number}"))).collect();
        let sent = in_one_batch(&service, lane, &proxy, commands).await;
        let [batch] = &sent[..] else { panic!("{size} commands were {} batches", sent.len()) };
        assert_eq!(u32::try_from(batch.len()).unwrap(), STATEMENTS_PER_BATCH + 1, "{size} commands: {batch:#?}");
    }
    // A settlement names reservations and touches counters that exist: as many as ever.
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from reservations").fetch_all(service.db.pool()).await.unwrap();
    let commands = ids.iter().take(400).map(|id| settle(*id, 1)).collect();
    let sent = in_one_batch(&service, lane, &proxy, commands).await;
    let [batch] = &sent[..] else { panic!("the settlements were {} batches", sent.len()) };
    assert_eq!(u32::try_from(batch.len()).unwrap(), STATEMENTS_PER_BATCH);
}
