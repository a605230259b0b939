//! Callers: each waits for its answer before it asks again, and thinks between requests if it is told to. One connection each,
//! to the service or to Postgres.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use hyper::Method;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use uuid::Uuid;

use super::load::{Call, Calls, Numbers, Shape, naive_grams, naive_usd};
use super::tally::{Tally, Told, micros};
use crate::cli::client::{Client, Reply};
use crate::domain::pacing::advice::PACE_WINDOW_SECONDS;
use crate::store::naive;

/// Tries of one request whose answer was lost, under the same idempotency key.
const TRIES_MAX: u32 = 3;

/// Somebody who makes one request after another: a reservation, and its settlement.
pub(super) trait Caller: Send + Sized + 'static {
    /// Makes one request and counts it.
    fn request(&mut self, tally: &mut Tally) -> impl Future<Output = ()> + Send;
}

/// What a slice of time brought.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) tally: Tally,
    pub(super) seconds: f64,
}

/// How long a caller thinks before its next request: half to one and a half of a mean, so that callers do not march in step.
struct Thoughts {
    mean_us: u64,
    numbers: Numbers,
}

impl Thoughts {
    fn new(mean: Duration, caller: usize) -> Self {
        let seed = u64::try_from(caller).unwrap_or(u64::MAX);
        Self { mean_us: u64::from(micros(mean)), numbers: Numbers::new(seed) }
    }

    fn next_pause(&mut self) -> Duration {
        if self.mean_us == 0 {
            return Duration::ZERO;
        }
        Duration::from_micros(self.mean_us / 2 + self.numbers.below(self.mean_us))
    }

    /// Before the first request: anything up to the mean, so that callers do not all come at once.
    fn first_pause(&mut self) -> Duration {
        self.next_pause().saturating_sub(Duration::from_micros(self.mean_us / 2))
    }
}

/// Lets all callers call for so long, each thinking for about so long between requests. Each ends its last request: nothing
/// is left open.
///
/// # Errors
/// When a caller panicked.
pub(super) async fn drive<C: Caller>(callers: &mut Vec<C>, time: Duration, think: Duration) -> anyhow::Result<Slice> {
    let began = Instant::now();
    let end = began + time;
    let call = |(number, mut caller): (usize, C)| async move {
        let mut tally = Tally::default();
        let mut thoughts = Thoughts::new(think, number);
        let mut pause = thoughts.first_pause();
        while Instant::now() + pause < end {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            caller.request(&mut tally).await;
            pause = thoughts.next_pause();
        }
        (caller, tally)
    };
    let tasks: Vec<_> = callers.drain(..).enumerate().map(|caller| tokio::spawn(call(caller))).collect();
    let mut tally = Tally::default();
    for task in tasks {
        let (caller, own) = task.await.context("a caller panicked")?;
        callers.push(caller);
        tally.add(own);
    }
    Ok(Slice { tally, seconds: began.elapsed().as_secs_f64() })
}

/// Names keys that no other run has used.
#[derive(Debug, Clone)]
struct Keys {
    prefix: Option<String>,
    next: u64,
}

impl Keys {
    fn new(with_keys: bool, run: &str, caller: usize) -> Self {
        Self { prefix: with_keys.then(|| format!("{run}-{caller}")), next: 0 }
    }

    fn next_key(&mut self) -> Option<String> {
        self.next += 1;
        self.prefix.as_ref().map(|prefix| format!("{prefix}-{}", self.next))
    }
}

/// A caller of the service.
pub(super) struct HttpCaller {
    client: Client,
    address: SocketAddr,
    token: String,
    shape: Shape,
    calls: Calls,
    keys: Keys,
}

#[derive(Deserialize)]
struct Verdict<'a> {
    #[serde(borrow)]
    verdict: Cow<'a, str>,
    reservation: Option<Uuid>,
    max_output: Option<u64>,
    estimate: Amounts,
    pace: Option<Pace>,
}

#[derive(Deserialize)]
struct Pace {
    window_s: Option<u32>,
}

#[derive(Deserialize)]
struct Posted {
    reservation: Option<Uuid>,
    amounts: Amounts,
}

#[derive(Deserialize)]
struct Amounts {
    tokens: u64,
    usd: Decimal,
}

/// Whether what an answer says is left is from a plan, and not what is left until a reset: plans look a minute ahead, and a
/// month's last minute is not worth a field of its own.
pub(super) fn is_planned(window_seconds: Option<u32>) -> bool {
    window_seconds.is_some_and(|seconds| seconds <= PACE_WINDOW_SECONDS)
}

impl HttpCaller {
    pub(super) async fn connect(
        address: SocketAddr,
        token: &str,
        shape: Shape,
        (run, number): (&str, usize),
        with_keys: bool,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client::connect(address, token).await?,
            address,
            token: token.to_owned(),
            shape,
            calls: Calls::new(shape, u64::try_from(number)? + 1),
            keys: Keys::new(with_keys, run, number),
        })
    }

    /// Posts, and asks again under the same key when the answer is lost. The time is that of the try that was answered.
    async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<(Reply, u32)> {
        let key = self.keys.next_key();
        let mut tries = 0;
        loop {
            tries += 1;
            let began = Instant::now();
            let reply = self.client.send(Method::POST, path, key.as_deref(), body).await;
            let taken = micros(began.elapsed());
            let is_lost = match &reply {
                Ok(reply) if reply.is_ok() => return Ok((reply.clone(), taken)),
                Ok(reply) => reply.is_unavailable(),
                Err(_) => {
                    self.client = Client::connect(self.address, &self.token).await?;
                    true
                }
            };
            if !is_lost || key.is_none() || tries == TRIES_MAX {
                let reply = reply?;
                anyhow::bail!("{path}: {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
            }
        }
    }

    async fn try_request(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        let call = self.calls.next_call();
        let (reply, taken) = self.post("/v1/preflight", &self.shape.preflight(&call)).await?;
        tally.preflight.push(taken);
        let answer: Verdict<'_> = serde_json::from_slice(&reply.body)?;
        tally.verdict(&answer.verdict);
        if answer.pace.is_some_and(|pace| is_planned(pace.window_s)) {
            tally.paced += 1;
        }
        let Some(reservation) = answer.reservation else { return Ok(()) };
        tally.granted += 1;
        if answer.max_output == Some(Call::max_output()) && answer.estimate.tokens != call.asked_tokens() {
            tally.wrong_answers += 1;
        }

        let body = json!({"usage": {"input": call.input, "output": call.output}});
        let (reply, taken) = self.post(&format!("/v1/reservations/{reservation}/settle"), &body).await?;
        tally.settle.push(taken);
        let posted: Posted = serde_json::from_slice(&reply.body)?;
        if posted.amounts.tokens != call.used_tokens() || posted.reservation != Some(reservation) {
            tally.wrong_answers += 1;
        }
        tally.settled += 1;
        let told = Told { requests: 1, tokens: posted.amounts.tokens, usd: posted.amounts.usd };
        tally.told.entry(call.tenant).or_default().add(told);
        Ok(())
    }
}

impl Caller for HttpCaller {
    async fn request(&mut self, tally: &mut Tally) {
        if let Err(error) = self.try_request(tally).await {
            tally.error(&error);
        }
    }
}

/// A caller of the baseline.
pub(super) struct NaiveCaller {
    connection: PgConnection,
    shape: Shape,
    calls: Calls,
    keys: Keys,
}

impl NaiveCaller {
    pub(super) async fn connect(
        options: &PgConnectOptions,
        shape: Shape,
        (run, number): (&str, usize),
        with_keys: bool,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            connection: PgConnection::connect_with(options).await.context("a caller of the baseline cannot connect")?,
            shape,
            calls: Calls::new(shape, u64::try_from(number)? + 1),
            keys: Keys::new(with_keys, &format!("{run}-naive"), number),
        })
    }

    async fn try_request(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        let next = self.calls.next_call();
        let tenant = self.shape.tenant(next.tenant);
        let budgets = self.shape.naive_budgets(next.tenant);
        let amounts = |output: u64| -> anyhow::Result<(naive::Moved, [Decimal; 3])> {
            let (usd, gco2e) = (naive_usd(next.input, output), naive_grams(output));
            let moved = naive::Moved { input: i64::try_from(next.input)?, output: i64::try_from(output)?, usd, gco2e };
            Ok((moved, [Decimal::from(moved.tokens()), usd, usd]))
        };
        let (asked, held) = amounts(Call::max_output())?;
        let (used, posted) = amounts(next.output)?;
        let key = self.keys.next_key();
        let mut call = naive::Call {
            tenant: &tenant,
            feature: "bench",
            provider: self.shape.provider(),
            model: self.shape.model(),
            budgets: &budgets,
            amounts: &held,
            moved: asked,
            key: key.as_deref(),
        };
        let hold = Uuid::now_v7();
        let began = Instant::now();
        let granted = naive::reserve(&mut self.connection, hold, &call).await?;
        tally.preflight.push(micros(began.elapsed()));
        tally.verdict(if granted { "allow" } else { "stop" });
        if !granted {
            return Ok(());
        }
        tally.granted += 1;
        let key = self.keys.next_key();
        (call.key, call.amounts, call.moved) = (key.as_deref(), &posted, used);
        let began = Instant::now();
        naive::settle(&mut self.connection, hold, Uuid::now_v7(), &held, &call).await?;
        tally.settle.push(micros(began.elapsed()));
        tally.settled += 1;
        let told = Told { requests: 1, tokens: next.used_tokens(), usd: used.usd };
        tally.told.entry(next.tenant).or_default().add(told);
        Ok(())
    }

    pub(super) async fn leave(self) {
        // It is dropped with its database anyway.
        let _closed = self.connection.close().await;
    }
}

impl Caller for NaiveCaller {
    async fn request(&mut self, tally: &mut Tally) {
        if let Err(error) = self.try_request(tally).await {
            tally.error(&error);
        }
    }
}
