//! A service for a test: a database of its own, a clock that is moved by hand, and requests without a socket.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use chrono::{DateTime, TimeDelta, Utc};
use counterfoil::app::{App, start};
use counterfoil::auth::{
    Caller, GrantKey, GrantSigner, LocalKey, Scope, ScopeSet, SealKey, TokenRules, TrustedKeys, Verifier, mint,
};
use counterfoil::clock::Clock;
use counterfoil::courier::Courier;
use counterfoil::domain::id::TenantId;
use counterfoil::domain::ledger::call_bound::CallBound;
use counterfoil::http::service::service;
use counterfoil::http::state::HttpState;
use counterfoil::lane::Lane;
use counterfoil::store::MIGRATOR;
use http_body_util::BodyExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::cluster::{TestDb, fresh_database};

/// When tests happen unless they say otherwise: a Wednesday noon in the middle of a month, UTC.
pub(crate) const NOON: &str = "2026-06-10T12:00:00Z";

/// One replica.
pub(crate) struct Replica {
    pub(crate) app: App,
    pub(crate) clock: Clock,
    router: Router,
    key: Arc<LocalKey>,
    rules: TokenRules,
}

/// A database with one replica; [`TestService::replica`] adds more.
pub(crate) struct TestService {
    pub(crate) db: TestDb,
    pub(crate) one: Replica,
}

impl std::ops::Deref for TestService {
    type Target = Replica;

    fn deref(&self) -> &Replica {
        &self.one
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    /// The body, when the status is 200.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{:#}", self.body);
        self.body
    }

    /// The stable code of a problem.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, &str) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{:#}", self.body);
        (self.status, self.body["code"].as_str().expect("a problem has a code"))
    }
}

impl TestService {
    /// At [`NOON`].
    pub(crate) async fn start() -> Self {
        Self::start_at(NOON).await
    }

    /// At an instant.
    pub(crate) async fn start_at(instant: &str) -> Self {
        let db = fresh_database(&MIGRATOR).await;
        let clock = Clock::manual(instant.parse().expect("an instant"));
        let one = Replica::start(&db, clock, Arc::new(LocalKey::from_bytes(vec![7; 32]).expect("32 bytes"))).await;
        Self { db, one }
    }

    /// One more replica on the same database, with the same clock and keys.
    pub(crate) async fn replica(&self) -> Replica {
        self.replica_at(self.clock.clone()).await
    }

    /// One more replica on the same database, with a clock of its own and the same keys.
    pub(crate) async fn replica_at(&self, clock: Clock) -> Replica {
        Replica::start(&self.db, clock, Arc::clone(&self.key)).await
    }

    /// One more replica on the same database, whose clock is off by so much.
    pub(crate) async fn replica_off_by(&self, by: TimeDelta) -> Replica {
        let clock = Clock::manual(self.now());
        clock.advance(by);
        Replica::start(&self.db, clock, Arc::clone(&self.key)).await
    }
}

impl Replica {
    async fn start(db: &TestDb, clock: Clock, key: Arc<LocalKey>) -> Self {
        let seals = SealKey::from_bytes(&[7; 32]).expect("32 bytes");
        let rules = TokenRules::local();
        let verifier = Verifier::new(rules.clone(), TrustedKeys::none().with_local(&key));
        let grants = GrantSigner::new(GrantKey::generate().expect("a key for grants"));
        let tasks = TaskTracker::new();
        let options = db.connect_options();
        let mut app =
            start::start(&options, clock.clone(), Arc::new(verifier), Arc::new(grants), Arc::new(seals), &tasks)
                .await
                .expect("the service starts");
        // Endpoints of tests are on this machine.
        app.courier.allow_private = true;
        Self::around(app, key, rules)
    }

    fn around(app: App, key: Arc<LocalKey>, rules: TokenRules) -> Self {
        let clock = app.clock.clone();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let router = service(HttpState::new(app.clone(), metrics)).expect("the document can be written");
        Self { app, clock, router, key, rules }
    }

    /// This replica with another lane: on a connection that can be broken, or with a queue of another size.
    pub(crate) fn with_lane(&self, queue_max: usize, options: PgConnectOptions) -> Self {
        let mut app = self.app.clone();
        let tasks = TaskTracker::new();
        app.lane = Lane::start_within(queue_max, options, app.snapshots.clone(), app.clock.clone(), &tasks);
        Self::around(app, Arc::clone(&self.key), self.rules.clone())
    }

    /// This replica with another pool of connections.
    pub(crate) fn with_pool(&self, pool: PgPool) -> Self {
        let mut app = self.app.clone();
        app.pool = pool;
        Self::around(app, Arc::clone(&self.key), self.rules.clone())
    }

    /// This replica as it is unless it is told otherwise: it sends nothing to private addresses.
    pub(crate) fn public_webhooks_only(&self) -> Self {
        let mut app = self.app.clone();
        app.courier.allow_private = false;
        Self::around(app, Arc::clone(&self.key), self.rules.clone())
    }

    /// This replica with another bound on the tokens of one call.
    pub(crate) fn with_call_bound(&self, bound: CallBound) -> Self {
        let mut app = self.app.clone();
        app.call_bound = bound;
        Self::around(app, Arc::clone(&self.key), self.rules.clone())
    }

    /// This replica with another key for the secrets of webhooks: it was not given the file of the others.
    pub(crate) fn with_another_seal(&self) -> Self {
        let mut app = self.app.clone();
        app.seals = Arc::new(SealKey::from_bytes(&[8; 32]).expect("32 bytes"));
        Self::around(app, Arc::clone(&self.key), self.rules.clone())
    }

    /// This replica with another courier.
    pub(crate) fn with_courier(&self, courier: Courier) -> Self {
        let mut app = self.app.clone();
        app.courier = courier;
        Self::around(app, Arc::clone(&self.key), self.rules.clone())
    }

    /// One round of housekeeping.
    pub(crate) async fn tidy(&self) {
        counterfoil::worker::tidy(&self.app, &CancellationToken::new()).await.expect("tidied");
    }

    /// The head of the answer to a request, and its body as it comes.
    pub(crate) async fn open(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.expect("the router never fails")
    }

    /// Moves the clock.
    pub(crate) fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    /// The instant.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A token with these scopes, confined to a tenant if one is named; valid for a year.
    pub(crate) fn token(&self, scopes: &[Scope], tenant: Option<&str>) -> String {
        let tenant = tenant.map(|tenant| TenantId::parse(tenant).expect("a tenant"));
        let caller = Caller { subject: Arc::from("test"), scopes: ScopeSet::of(scopes), tenant };
        mint(&self.key, &self.rules, &caller, self.clock.now(), TimeDelta::days(365)).expect("a token")
    }

    /// A request as the platform's admin.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        let token = self.token(&[Scope::Admin], None);
        self.call_as(&token, method, path, &[], body).await
    }

    /// A request with an idempotency key, as the platform's admin.
    pub(crate) async fn call_keyed(&self, key: &str, method: &str, path: &str, body: Value) -> Reply {
        let token = self.token(&[Scope::Admin], None);
        self.call_as(&token, method, path, &[("idempotency-key", key)], body).await
    }

    /// A request with a token and headers. A null body is no body.
    pub(crate) async fn call_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Reply {
        let method: Method = method.parse().expect("a method");
        let mut request =
            Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = if body.is_null() {
            request.body(Body::empty())
        } else {
            request.header("content-type", "application/json").body(Body::from(body.to_string()))
        };
        self.send(request.expect("a request")).await
    }

    /// Any request whose answer is bytes: status, headers, and the body, or what cut it off.
    pub(crate) async fn fetch(&self, request: Request<Body>) -> (u16, HeaderMap, Result<Vec<u8>, String>) {
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map(|body| body.to_bytes().to_vec()).map_err(|error| error.to_string());
        (parts.status.as_u16(), parts.headers, bytes)
    }

    /// Any request.
    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}
