//! Floods: one tenant does all day what costs the service most, and another one's pre-flights are answered all the same.
//!
//! Each flood is of requests that a tenant's own token may send, or of requests that are refused; so many at once, each sent again
//! when it is answered. A pre-flight of the other tenant is never refused, and its slow end is compared with what it was on the
//! same machine a moment before. The bound is generous, because a test has no machine of its own: starving takes seconds.
//!
//! Floods that have tests of their own: bulk posts (`lane/turns.rs`), budgets over a large journal (`catalogue/counting.rs`), idle and
//! slow connections (`src/http/connections_tests.rs`, `stopping.rs`), bodies without permission and lines without an end (`door.rs`),
//! hanging endpoints (`alerts/webhooks.rs`), slow readers of exports, streams and reads (`shares.rs`), giant holds (`limits.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use counterfoil::auth::Scope;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::audit::{assert_none, findings};
use crate::support::commands::post_usage;
use crate::support::say;
use crate::support::service::TestService;
use crate::support::story::until;

/// Requests of the flood that are under way at once.
const AT_ONCE: usize = 12;
/// Pre-flights that are timed.
const TIMED: usize = 40;
/// How much longer the slow end may be in the flood than alone.
const SLOWER_MAX: u32 = 60;
/// What it is alone is not measured more finely than this: a machine that is busy for a moment is no finding.
const ALONE_MIN: Duration = Duration::from_millis(50);

/// A request of the flood, by its number.
type Make = fn(usize) -> (&'static str, String, Value);

fn call(more: &Value) -> Value {
    let mut body = json!({"tenant": "acme", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn budgets(number: usize) -> (&'static str, String, Value) {
    // Another measure each time, so that each is counted anew.
    let measure = ["usd", "tokens", "requests"][number % 3];
    let body = json!({
        "scope": {"tenant": "acme"}, "measure": measure, "limit": "1000000", "period": {"kind": "month"}, "enforcement": "hard",
    });
    ("PUT", format!("/v1/budgets/flood-{}", number % 5), body)
}

fn many_budgets(number: usize) -> (&'static str, String, Value) {
    let measure = ["usd", "tokens"][number % 2];
    let item = |place: usize| {
        json!({
            "id": format!("many-{place}"), "scope": {"tenant": "acme", "feature": format!("f{place}")}, "measure": measure,
            "limit": "1000000", "period": {"kind": "day"}, "enforcement": "hard",
        })
    };
    ("PUT", "/v1/budgets".to_owned(), json!({"items": (0..100).map(item).collect::<Vec<_>>()}))
}

fn batches(_: usize) -> (&'static str, String, Value) {
    let item = call(&json!({"estimate": {"input": 1, "max_output": 1}, "reserve": false}));
    ("POST", "/v1/preflight/batch".to_owned(), json!({"items": vec![item; 1_000]}))
}

fn arrays(_: usize) -> (&'static str, String, Value) {
    ("POST", "/v1/usage".to_owned(), Value::Array(vec![call(&json!({"usage": {"input": 1}})); 2_000]))
}

fn short_arrays(_: usize) -> (&'static str, String, Value) {
    ("POST", "/v1/usage".to_owned(), Value::Array(vec![call(&json!({"usage": {"input": 1}})); 50]))
}

fn sums(number: usize) -> (&'static str, String, Value) {
    let group = ["run", "agent", "feature"][number % 3];
    let path = format!("/v1/usage?from=2026-01-01T00:00:00Z&to=2026-06-11T00:00:00Z&group_by={group}");
    ("GET", path, Value::Null)
}

fn projections(_: usize) -> (&'static str, String, Value) {
    ("GET", "/v1/budgets/own/projection".to_owned(), Value::Null)
}

fn what_if(_: usize) -> (&'static str, String, Value) {
    let body = json!({"limit": "5", "price_factor": "2", "timezone": "Asia/Tokyo"});
    ("POST", "/v1/budgets/own/projection/what-if".to_owned(), body)
}

fn stops(number: usize) -> (&'static str, String, Value) {
    let what = ["stop", "resume"][number % 2];
    ("POST", format!("/v1/runs/r{}/{what}", number % 7), json!({"tenant": "acme"}))
}

fn signals(number: usize) -> (&'static str, String, Value) {
    let message = format!(
        "You have reached your specified API usage limits. You will regain access on 2026-06-{:02} at 00:00 UTC.",
        11 + number % 15
    );
    let error = json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}});
    let body = json!({"tenant": "acme", "provider": "anthropic", "budget": "quota", "status": 400, "headers": {}, "body": error});
    ("POST", "/v1/signals".to_owned(), body)
}

fn calls(_: usize) -> (&'static str, String, Value) {
    ("POST", "/v1/preflight".to_owned(), call(&json!({"estimate": {"input": 1, "max_output": 1}})))
}

fn reports(_: usize) -> (&'static str, String, Value) {
    // Refused: reconciling is the platform's.
    ("POST", "/v1/reconciliations".to_owned(), json!({"provider": "openai", "report": vec![json!({"a": 1}); 1_000]}))
}

const FLOODS: [(&str, Make); 11] = [
    ("budgets that count anew", budgets),
    ("a hundred budgets at a time", many_budgets),
    ("a thousand questions at a time", batches),
    ("arrays of usage", arrays),
    ("sums over half a year", sums),
    ("projections", projections),
    ("what-ifs", what_if),
    ("stops of runs", stops),
    ("signals that close a quota", signals),
    ("one key", calls),
    ("reports that are refused", reports),
];

/// The slow end of pre-flights of the other tenant, one after the other; none of them may be refused.
async fn slow_end(service: &TestService, token: &str) -> Duration {
    let body = json!({
        "tenant": "bolt", "feature": "chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "estimate": {"input": 5, "max_output": 5},
    });
    let mut times = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let began = Instant::now();
        let answer = service.call_as(token, "POST", "/v1/preflight", &[], body.clone()).await;
        assert_eq!(answer.ok()["verdict"], "allow");
        times.push(began.elapsed());
    }
    times.sort();
    times[TIMED * 99 / 100]
}

/// How long the slow end of the other tenant's pre-flights takes in a flood, if that is too long.
async fn slowed(
    service: &Arc<TestService>,
    (acme, bolt): (&str, &str),
    (what, make): (&'static str, Make),
) -> Option<String> {
    let alone = slow_end(service, bolt).await.max(ALONE_MIN);
    let (over, sent, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut flood = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (service, token) = (Arc::clone(service), acme.to_owned());
        let (over, sent, failed) = (Arc::clone(&over), Arc::clone(&sent), Arc::clone(&failed));
        flood.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let (method, path, body) = make(sent.fetch_add(1, Ordering::Relaxed));
                let headers = if what == "one key" { vec![("idempotency-key", "one")] } else { Vec::new() };
                let reply = service.call_as(&token, method, &path, &headers, body).await;
                // What is refused waits for nothing, and no client of ours may keep the threads of the service.
                tokio::task::yield_now().await;
                // Its own tenant may be told to come back; a mistake of the test would be another answer.
                if ![200, 403, 409, 503, 504].contains(&reply.status) {
                    failed.store(usize::from(reply.status), Ordering::Relaxed);
                }
            }
        });
    }
    until("the flood is there", || async { sent.load(Ordering::Relaxed) >= AT_ONCE }).await;
    let flooded = slow_end(service, bolt).await;
    over.store(true, Ordering::Relaxed);
    flood.join_all().await;
    say(&format!("{what}: alone {alone:?}, in the flood {flooded:?}, {} requests", sent.load(Ordering::Relaxed)));
    assert_eq!(failed.load(Ordering::Relaxed), 0, "{what}: an answer that no flood gets");
    (flooded > alone * SLOWER_MAX).then(|| format!("{what}: alone {alone:?}, in the flood {flooded:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flood_of_one_tenant_refuses_or_starves_another() {
    let service = Arc::new(TestService::start().await);
    for tenant in ["acme", "bolt"] {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": "Etc/UTC"})).await.ok();
    }
    let shared = json!({
        "scope": {}, "shared": true, "measure": "tokens", "limit": "1000000000", "period": {"kind": "month"},
        "timezone": "Etc/UTC", "enforcement": "hard",
    });
    service.call("PUT", "/v1/budgets/pool", shared).await.ok();
    let acme = service.token(&[Scope::Admin], Some("acme"));
    let bolt = service.token(&[Scope::Preflight], Some("bolt"));
    let own = json!({"scope": {"tenant": "acme"}, "measure": "usd", "limit": "100000", "period": {"kind": "month"}, "enforcement": "hard"});
    let quota = json!({"scope": {"tenant": "acme", "provider": "anthropic"}, "kind": "quota", "measure": "requests", "limit": "100000000", "period": {"kind": "month"}, "enforcement": "soft"});
    for (id, body) in [("own", own), ("quota", quota)] {
        service.call_as(&acme, "PUT", &format!("/v1/budgets/{id}"), &[], body).await.ok();
    }
    for answer in service.app.lane.submit_all((0..3_000).map(|_| post_usage(1)).collect()).await {
        answer.unwrap().unwrap();
    }
    let mut slow = Vec::new();
    for flood in FLOODS {
        slow.extend(slowed(&service, (&acme, &bolt), flood).await);
    }
    assert!(slow.is_empty(), "{slow:#?}");
    let ready = service.fetch(Request::get("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(ready.0, 200);
    assert_none(&findings(service.db.pool()).await);
}

/// A tenant may make itself so many budgets that each of its calls is decided on all of them: its commands weigh as much more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_on_whose_calls_hundreds_of_budgets_are_decided_starves_no_other() {
    const BUDGETS: usize = 400;
    let service = Arc::new(TestService::start().await);
    for tenant in ["acme", "bolt"] {
        service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": "Etc/UTC"})).await.ok();
    }
    let acme = service.token(&[Scope::Admin], Some("acme"));
    let bolt = service.token(&[Scope::Preflight], Some("bolt"));
    let item = |place: usize| {
        json!({
            "id": format!("own-{place}"), "scope": {"tenant": "acme"}, "measure": "tokens", "limit": "1000000000",
            "period": {"kind": "day"}, "enforcement": "hard",
        })
    };
    let items: Vec<Value> = (0..BUDGETS).map(item).collect();
    service.call_as(&acme, "PUT", "/v1/budgets", &[], json!({"items": items})).await.ok();
    let floods: [(&str, Make); 2] =
        [("calls on hundreds of budgets", calls), ("arrays on hundreds of budgets", short_arrays)];
    for flood in floods {
        assert_eq!(slowed(&service, (&acme, &bolt), flood).await, None);
    }
    // What its callers no longer waited for is written all the same, before anything that comes after it.
    until("the lane is through", || async { service.app.lane.queued() == 0 }).await;
    service.app.lane.submit(post_usage(1)).await.unwrap().unwrap();
    assert_none(&findings(service.db.pool()).await);
}
