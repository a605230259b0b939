//! Expiry: it counts when it happens; writing it down comes later. One end for each reservation.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::{Connection, Row};

use counterfoil::lane::QUEUE_MAX;
use counterfoil::store::lane::EXPIRED_PAGE;

use crate::support::audit::{assert_none, findings};
use crate::support::commands::{But, reserve as reserve_tokens, settle};
use crate::support::proxy::{Proxy, hold_up};
use crate::support::service::TestService;
use crate::support::story::{acme, ask, budget, on, preflight, reserve, until};

#[tokio::test]
async fn headroom_comes_back_at_the_very_instant_of_expiry() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "100", json!({})).await;
    let abandoned = preflight(&service, ask(99, 1, json!({"ttl_seconds": 30}))).await;
    service.advance(TimeDelta::microseconds(29_999_999));
    assert_eq!(preflight(&service, ask(0, 1, json!({}))).await["verdict"], "wait");
    service.advance(TimeDelta::microseconds(1));
    let look = format!("/v1/reservations/{}", abandoned["reservation"].as_str().unwrap());
    assert_eq!(service.call("GET", &look, Value::Null).await.ok()["state"], "expired");
    assert_eq!(preflight(&service, ask(99, 1, json!({}))).await["verdict"], "allow");
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn more_expired_reservations_than_a_page_cause_no_refusal() {
    let service = TestService::start().await;
    acme(&service).await;
    let many = u64::try_from(EXPIRED_PAGE * 2 + 40).unwrap();
    budget(&service, "small", "tokens", &many.to_string(), json!({})).await;
    let commands = (0..many).map(|_| reserve_tokens(1).for_seconds(10)).collect();
    for answer in service.app.lane.submit_all(commands).await {
        answer.unwrap().unwrap();
    }
    assert_eq!(preflight(&service, ask(0, 1, json!({}))).await["verdict"], "wait", "it is full");
    service.advance(TimeDelta::seconds(10));
    let all = preflight(&service, ask(many - 1, 1, json!({}))).await;
    assert_eq!(all["verdict"], "allow", "{all:#}");
    assert_eq!(all["budgets"][0]["held"], many.to_string());
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn the_sweeper_writes_down_what_has_expired() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "1000", json!({})).await;
    for _ in 0..3 {
        reserve(&service, 9).await;
    }
    let at = service.clock.advance(TimeDelta::seconds(120));
    let ended = "select count(*) from reservations where state = 'expired' and ended_at = $1";
    until("the sweeper has been", || async {
        sqlx::query_scalar::<_, i64>(ended).bind(at).fetch_one(service.db.pool()).await.unwrap() == 3
    })
    .await;
    let held: rust_decimal::Decimal =
        sqlx::query_scalar("select held from counters").fetch_one(service.db.pool()).await.unwrap();
    assert!(held.is_zero());
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn a_batch_that_names_a_page_of_ended_reservations_is_answered() {
    let service = TestService::start().await;
    acme(&service).await;
    let commands = (0..EXPIRED_PAGE + 10).map(|_| reserve_tokens(1)).collect();
    service.app.lane.submit_all(commands).await;
    let ids: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from reservations").fetch_all(service.db.pool()).await.unwrap();
    let proxy = Proxy::start(&service.db.connect_options());
    let replica = service.with_lane(QUEUE_MAX, proxy.options());
    for refused in [0, ids.len()] {
        // All of them in one batch.
        let gate = hold_up(&service, &proxy).await;
        let (lane, settlements) = (&replica.app.lane, ids.iter().map(|id| settle(*id, 1)).collect());
        let answered = async {
            tokio::join!(lane.submit_all(settlements), async {
                until("all of them wait", || async { lane.queued() == ids.len() }).await;
                gate.close().await.unwrap();
            })
        };
        let answered = tokio::time::timeout(Duration::from_secs(30), answered).await;
        let (answers, ()) = answered.expect("the lane does not turn in a circle");
        let refusals = answers.iter().filter(|answer| answer.as_ref().unwrap().is_err()).count();
        assert_eq!(refusals, refused, "the second time all of them have ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_settlements_of_one_reservation_at_once_are_one_end() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "10000", json!({})).await;
    let other = service.replica().await;
    for _ in 0..20 {
        let path = on(&reserve(&service, 9).await, "settle");
        let settle = json!({"usage": {"input": 4}});
        let (one, two) =
            tokio::join!(service.call("POST", &path, settle.clone()), other.call("POST", &path, settle.clone()),);
        let mut both = [one.status, two.status];
        both.sort_unstable();
        assert_eq!(both, [200, 409]);
        let lost = if one.status == 409 { one } else { two };
        assert_eq!(lost.problem(), (409, "reservation_ended"));
    }
    let posted: i64 =
        sqlx::query_scalar("select sum(tokens)::bigint from transfers").fetch_one(service.db.pool()).await.unwrap();
    assert_eq!(posted, 80);
    assert_none(&findings(service.db.pool()).await);
}

#[tokio::test]
async fn a_settlement_after_expiry_posts_once_and_is_marked_late() {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "small", "tokens", "100", json!({})).await;
    for swept in [false, true] {
        let path = on(&reserve(&service, 9).await, "settle");
        service.advance(TimeDelta::minutes(5));
        if swept {
            // Any batch writes it down.
            preflight(&service, ask(0, 1, json!({"reserve": false}))).await;
        }
        let posted = service.call("POST", &path, json!({"usage": {"input": 4}})).await.ok();
        assert_eq!(posted["flags"], json!(["late"]));
        assert_eq!(posted["budgets"][0]["held"], "0");
        let again = service.call("POST", &path, json!({"usage": {"input": 4}})).await;
        assert_eq!(again.problem(), (409, "reservation_ended"));
    }
    let row = sqlx::query("select posted::text, held::text from counters").fetch_one(service.db.pool()).await.unwrap();
    assert_eq!((row.get::<&str, _>(0), row.get::<&str, _>(1)), ("8.000000000000", "0.000000000000"));
    assert_none(&findings(service.db.pool()).await);
}
