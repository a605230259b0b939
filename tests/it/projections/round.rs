//! The worker's round: what it keeps, what answers say from it, and how it is scored.

use chrono::TimeDelta;
use counterfoil::app::projection::round::Round;
use serde_json::{Value, json};

use super::{instant, number, quota, truth, work, world};
use crate::support::service::{Replica, TestService};

async fn round(replica: &Replica) -> Round {
    replica.app.project_round().await.unwrap()
}

fn ask() -> Value {
    json!({
        "tenant": "bay", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "estimate": {"input": 10, "max_output": 10}, "reserve": false
    })
}

/// A budget, or a verdict, as a replica tells it.
async fn told(replica: &Replica, verdict: bool) -> Value {
    let (method, path, body) =
        if verdict { ("POST", "/v1/preflight", ask()) } else { ("GET", "/v1/budgets/quota", Value::Null) };
    replica.call(method, path, body).await.ok()
}

/// The quota, with room for so much more than is used.
async fn with_room(service: &TestService, room: u64) -> u64 {
    let body = service.call("GET", "/v1/budgets/quota/projection", Value::Null).await.ok();
    let limit = body["posted"].as_str().unwrap().parse::<u64>().unwrap() + room;
    service.call("PUT", "/v1/budgets/quota", quota(&limit.to_string())).await.ok();
    limit
}

#[tokio::test]
async fn answers_of_every_replica_say_when_a_budget_is_expected_to_run_out() {
    let service = world().await;
    with_room(&service, 600_000).await;
    let replica = service.replica().await;
    assert!(told(&service, false).await["counters"][0].get("exhausts_at").is_none(), "nothing is made before a round");
    assert_eq!(round(&service).await, Round { made: 1, scored: 0, known: 1 });
    let projected = service.call("GET", "/v1/budgets/quota/projection", Value::Null).await.ok();
    assert!(projected["exhausts_at"]["p50"].is_string());
    assert_eq!(told(&service, false).await["counters"][0]["exhausts_at"], projected["exhausts_at"]);
    assert_eq!(told(&service, true).await["budgets"][0]["exhausts_at"], projected["exhausts_at"]);
    // Another replica makes nothing again, and knows it after its own round.
    assert!(told(&replica, true).await["budgets"][0].get("exhausts_at").is_none());
    assert_eq!(round(&replica).await, Round { made: 0, scored: 0, known: 1 });
    assert_eq!(told(&replica, true).await["budgets"][0]["exhausts_at"], projected["exhausts_at"]);
    // Of another period nothing is said.
    service.advance(TimeDelta::days(20));
    assert!(told(&service, true).await["budgets"][0].get("exhausts_at").is_none());
}

#[tokio::test]
async fn a_round_makes_only_what_is_due() {
    let service = world().await;
    with_room(&service, 600_000).await;
    assert_eq!(round(&service).await.made, 1);
    service.advance(TimeDelta::minutes(90));
    assert_eq!(round(&service).await.made, 0, "nothing moved");
    work(&service, service.now() - TimeDelta::hours(1), service.now()).await;
    assert_eq!(round(&service).await.made, 1, "it moved, and an hour has gone");
    service.advance(TimeDelta::minutes(20));
    work(&service, service.now() - TimeDelta::hours(1), service.now()).await;
    assert_eq!(round(&service).await.made, 0, "it moved, and its end is far");
    let batch = json!({
        "tenant": "bay", "provider": "anthropic", "start": "2026-06-20T00:00:00Z", "end": "2026-06-21T00:00:00Z",
        "amounts": {"tokens": 100_000}
    });
    service.advance(TimeDelta::minutes(1));
    service.call("POST", "/v1/planned-usage", batch).await.ok();
    assert_eq!(round(&service).await.made, 1, "work was announced");
    service.call("PUT", "/v1/budgets/quota", quota("99999999")).await.ok();
    assert_eq!(round(&service).await.made, 1, "the limit was raised");
    service.advance(TimeDelta::hours(25));
    assert_eq!(round(&service).await.made, 1, "it stands still, and a day has gone");
    let each_run =
        json!({"each": "run", "measure": "usd", "limit": "2", "period": {"kind": "once"}, "enforcement": "hard"});
    service.call("PUT", "/v1/budgets/per-run", each_run).await.ok();
    assert_eq!(round(&service).await, Round { made: 0, scored: 0, known: 1 }, "runs come and go in numbers");
}

#[tokio::test]
async fn what_was_said_is_scored_once_its_period_is_over() {
    let service = world().await;
    let limit = with_room(&service, 600_000).await;
    let ran_out = truth(limit);
    let mut made = 0;
    while service.now() < instant(&json!("2026-07-01T00:00:00Z")) {
        made += round(&service).await.made;
        service.advance(TimeDelta::hours(24));
        work(&service, service.now() - TimeDelta::hours(24), service.now()).await;
    }
    assert!(ran_out < service.now() && made > 8, "{ran_out} {made}");
    let scored = round(&service).await.scored;
    assert_eq!(scored, made, "all of last month's have a truth");
    assert_eq!(round(&service).await.scored, 0, "each once");
    let accuracy = service.call("GET", "/v1/projections/accuracy?budget=quota", Value::Null).await.ok();
    let rows = accuracy["items"].as_array().unwrap();
    let known: i64 = rows.iter().map(|row| row["scored"].as_i64().unwrap()).sum();
    // Once the budget is gone there is nothing left to foresee: those have no score, nor has July's first.
    let (before, after): (Vec<_>, Vec<_>) = (0..made)
        .partition(|day| instant(&json!(super::NOW)) + TimeDelta::days(i64::try_from(*day).unwrap()) < ran_out);
    let unknown: i64 = rows.iter().map(|row| row["unscored"].as_i64().unwrap()).sum();
    assert_eq!(usize::try_from(known).unwrap(), before.len(), "{rows:#?}");
    assert_eq!(usize::try_from(unknown).unwrap(), after.len() + 1, "{rows:#?}");
    for row in rows.iter().filter(|row| row["scored"].as_i64() > Some(0)) {
        assert_eq!(row["exhausted_share"], "1");
        assert!(number(&row["error_hours_median"]) < 6.0, "a steady rhythm is foreseen to the working day: {row:#}");
        assert!(number(&row["coverage"]) > 0.7, "{row:#}");
        assert!(number(&row["brier"]) < 0.1, "{row:#}");
        assert!(number(&row["band_scale"]) < 1.0, "hits narrow the band: {row:#}");
    }
    let mine = service.call("GET", "/v1/projections/accuracy?budget=none", Value::Null).await;
    assert_eq!(mine.problem(), (404, "unknown_budget"));
    let later = service.call("GET", "/v1/projections/accuracy?since=2027-01-01T00:00:00Z", Value::Null).await.ok();
    assert_eq!(later["items"], json!([]));
}
