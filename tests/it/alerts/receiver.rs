//! An endpoint for tests: a server on this machine that keeps what it is sent and answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::net::TcpListener;

/// What was sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
    pub(super) body: Value,
}

impl Message {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Whether the signature is that of the key, as the standard says it is checked: computed here once more, by hand.
    pub(super) fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut signed = format!("{}.{}.", self.header("webhook-id"), self.header("webhook-timestamp")).into_bytes();
        signed.extend(&self.bytes);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
        self.header("webhook-signature").split(' ').any(|one| one == format!("v1,{}", STANDARD.encode(tag.as_ref())))
    }
}

#[derive(Default)]
struct Inner {
    messages: Vec<Message>,
    /// The answers to come; 204 when there are no more.
    answers: VecDeque<u16>,
    /// While set, answers to messages about this budget.
    refuses: Option<(String, u16)>,
}

/// The endpoint.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::listen(listener, address)
    }

    /// On whatever takes connections.
    pub(super) fn listen(listener: impl axum::serve::Listener<Addr = SocketAddr>, address: SocketAddr) -> Self {
        let receiver = Self { address, inner: Arc::default() };
        let router = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers so, one after the other, and then well.
    pub(super) fn answer(&self, statuses: &[u16]) {
        self.inner.lock().unwrap().answers = statuses.iter().copied().collect();
    }

    /// Answers so whatever is about a budget, or no longer.
    pub(super) fn refuse(&self, budget: Option<(&str, u16)>) {
        self.inner.lock().unwrap().refuses = budget.map(|(budget, status)| (budget.to_owned(), status));
    }

    /// What has come since it was last asked.
    pub(super) fn taken(&self) -> Vec<Message> {
        std::mem::take(&mut self.inner.lock().unwrap().messages)
    }
}

async fn take(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    bytes: Bytes,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let mut inner = receiver.inner.lock().unwrap();
    let about = body["data"]["budget"].as_str().unwrap_or_default().to_owned();
    inner.messages.push(Message { headers, bytes: bytes.to_vec(), body });
    let refused = inner.refuses.as_ref().filter(|(budget, _)| *budget == about).map(|(_, status)| *status);
    let status = refused.or_else(|| inner.answers.pop_front()).unwrap_or(204);
    (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")])
}
