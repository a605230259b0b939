//! What tenants share beside the lane: exports, streams, reads, and the probe. One that takes much leaves some for the others.

use std::sync::{Arc, Mutex};

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use counterfoil::app::alerts::hub::STREAMS_EACH_MAX;
use counterfoil::app::exports::{EXPORTS_EACH_MAX, EXPORTS_MAX};
use counterfoil::app::reads::READS_EACH_MAX;
use counterfoil::app::start::POOL_CONNECTIONS_MAX;
use counterfoil::auth::Scope;
use counterfoil::domain::id::TenantId;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::commands::{But, post_usage};
use crate::support::service::TestService;
use crate::support::story::until;

/// Transfers of each tenant: more than the pieces of a file that may wait for its reader.
const TRANSFERS: usize = 5_000;
const TENANTS: [&str; 4] = ["acme", "bolt", "carol", "dora"];

async fn world() -> TestService {
    let service = TestService::start().await;
    for tenant in TENANTS {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": "Etc/UTC"})).await.ok();
    }
    service
}

fn of_tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

/// Opens an answer whose body is not read.
async fn open(service: &TestService, tenant: &str, path: &str, accept: &str) -> (u16, BodyDataStream) {
    let token = service.token(&[Scope::Admin], Some(tenant));
    let request = Request::get(path).header("authorization", format!("Bearer {token}")).header("accept", accept);
    let response = service.open(request.body(Body::empty()).unwrap()).await;
    (response.status().as_u16(), response.into_body().into_data_stream())
}

/// Reads the rest. Whether it came to its end.
async fn read(mut body: BodyDataStream) -> bool {
    while let Some(piece) = body.next().await {
        if piece.is_err() {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn slow_readers_of_exports_leave_places_for_other_tenants_and_give_way_to_them() {
    let service = world().await;
    // Of all in turn, so that each piece of a file has some of each.
    let commands = (0..TRANSFERS).flat_map(|_| TENANTS.map(|tenant| post_usage(1).of_tenant(tenant))).collect();
    for answer in service.app.lane.submit_all(commands).await {
        answer.unwrap().unwrap();
    }
    let path = "/v1/exports/transfers?period=2026-06";
    let export = async |tenant: &str| open(&service, tenant, path, "*/*").await;
    let mut slow = Vec::new();
    for number in 0..EXPORTS_EACH_MAX {
        let (status, body) = export("acme").await;
        assert_eq!(status, 200, "{number}");
        slow.push(body);
    }
    assert_eq!(export("acme").await.0, 503, "it has its share");
    let (status, body) = export("bolt").await;
    assert!(status == 200 && read(body).await, "a place is left, and its file is whole");
    for tenant in ["bolt", "carol"] {
        let (status, body) = export(tenant).await;
        assert_eq!(status, 200, "{tenant}");
        slow.push(body);
    }
    assert_eq!(slow.len(), EXPORTS_MAX);
    assert_eq!(export("bolt").await.0, 503, "all places are taken, and it has one");
    // Of those that are taken, one whose reader takes nothing gives way.
    until("a slow reader gives way", || async {
        let (status, body) = export("dora").await;
        status == 200 && read(body).await
    })
    .await;
    let mut whole = 0;
    for body in slow {
        whole += usize::from(read(body).await);
    }
    assert_eq!(whole, EXPORTS_MAX - 1, "the one that gave way is cut off, and not ended");
}

#[tokio::test]
async fn streams_of_one_tenant_leave_some_for_others() {
    let service = world().await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS_EACH_MAX {
        let (status, body) = open(&service, "acme", "/v1/events", "text/event-stream").await;
        assert_eq!(status, 200);
        streams.push(body);
    }
    assert_eq!(open(&service, "acme", "/v1/events", "text/event-stream").await.0, 503);
    assert_eq!(open(&service, "bolt", "/v1/events", "text/event-stream").await.0, 200);
    streams.pop();
    until("a place is free", || async { open(&service, "acme", "/v1/events", "text/event-stream").await.0 == 200 })
        .await;
}

#[tokio::test]
async fn reads_of_one_tenant_leave_connections_for_others_and_the_probe_has_its_own() {
    let service = world().await;
    let acme = of_tenant("acme");
    let mut held = Vec::new();
    for _ in 0..READS_EACH_MAX {
        held.push(service.app.begin_read(Some(&acme)).await.unwrap());
    }
    let time: String =
        sqlx::query_scalar("select current_setting('statement_timeout')").fetch_one(&mut *held[0]).await.unwrap();
    assert_eq!(time, "20s", "a read has an end");
    // Many more of acme's wait, and bolt's do not.
    let mut waiting = JoinSet::new();
    for _ in 0..30 {
        let (app, acme) = (service.app.clone(), acme.clone());
        waiting.spawn(async move { app.begin_read(Some(&acme)).await.unwrap().commit().await.unwrap() });
    }
    tokio::task::yield_now().await;
    let token = service.token(&[Scope::Admin], Some("bolt"));
    service.call_as(&token, "GET", "/v1/budgets", &[], Value::Null).await.ok();
    assert!(waiting.try_join_next().is_none(), "acme's wait for acme's");
    drop(held);
    assert_eq!(waiting.join_all().await.len(), 30);

    let mut all = Vec::new();
    for _ in 0..POOL_CONNECTIONS_MAX {
        all.push(service.app.pool.acquire().await.unwrap());
    }
    let (status, ..) = service.fetch(Request::get("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(status, 200, "however busy the connections are");
}

#[tokio::test]
async fn budgets_that_one_tenant_changes_leave_every_other_turn_to_others() {
    let service = world().await;
    let order: Arc<Mutex<Vec<&str>>> = Arc::default();
    let under_way = service.app.changing.take(Some(&of_tenant("acme"))).await.unwrap();
    let mut waiting = JoinSet::new();
    for name in ["acme"; 10].into_iter().chain(["bolt"]) {
        let (app, order) = (service.app.clone(), Arc::clone(&order));
        waiting.spawn(async move {
            let turn = app.changing.take(Some(&of_tenant(name))).await.unwrap();
            order.lock().unwrap().push(name);
            drop(turn);
        });
        tokio::task::yield_now().await;
    }
    // A change that counts waits for its turn as well.
    let token = service.token(&[Scope::Admin], Some("carol"));
    let body = json!({"scope": {"tenant": "carol"}, "measure": "usd", "limit": "1", "period": {"kind": "day"}, "enforcement": "hard"});
    let written = service.call_as(&token, "PUT", "/v1/budgets/own", &[], body);
    drop(under_way);
    written.await.ok();
    waiting.join_all().await;
    let order = order.lock().unwrap();
    assert!(order.iter().position(|name| *name == "bolt").unwrap() <= 1, "{order:?}");
}
