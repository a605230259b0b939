//! The replay: many callers, each on a connection of its own, ask before every call and settle after it.
//!
//! | # | beat | what |
//! |---|------|------|
//! | 1 | ask | `POST /v1/preflight`; a refusal is obeyed |
//! | 2 | call | the provider, simulated: takes no time, and uses what the trace says |
//! | 3 | end | settle, release, or leave open |
//! | 4 | late | when all is done: settle what has expired meanwhile |

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, Utc};
use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::cast::PER_RUN;
use super::progress::Progress;
use super::script::{Call, Ending, FAN_OUT, Job};
use super::tally::Tally;
use crate::cli::client::Client;
use crate::clock::Clock;
use crate::wire::answer::{PostedAnswer, PreflightAnswer, ReleasedAnswer, VerdictName};
use crate::wire::call::SettleBody;

/// Callers at once.
pub(super) const CALLERS: usize = 16;

/// Where, as whom, and what.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) address: SocketAddr,
    pub(super) token: String,
    /// Tells this replay's runs and idempotency keys from those of another on the same books.
    pub(super) session: Arc<str>,
    pub(super) jobs: Arc<Vec<Job>>,
    pub(super) clock: Clock,
}

/// What came of it.
pub(super) struct Replayed {
    pub(super) tally: Tally,
    /// From the first request to the last, without the wait for what was to be late.
    pub(super) took: Duration,
}

/// A settlement that waits until it is late.
struct Late {
    path: String,
    key: String,
    body: SettleBody,
    expires_at: DateTime<Utc>,
}

struct Caller {
    client: Client,
    session: Arc<str>,
    progress: Progress,
    tally: Tally,
    late: Vec<Late>,
}

/// Whether a run goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Goes,
    EndsHere,
}

/// Plays all jobs.
///
/// # Errors
/// When an answer is not one of the four verdicts or a transfer.
pub(super) async fn replay(stage: &Stage) -> anyhow::Result<Replayed> {
    let calls: usize = stage.jobs.iter().map(|job| job.calls.len()).sum();
    let progress = Progress::start(u64::try_from(calls)?);
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (stage, next, progress) = (stage.clone(), Arc::clone(&next), progress.clone());
        callers.spawn(async move {
            let client = Client::connect(stage.address, &stage.token).await?;
            let session = Arc::clone(&stage.session);
            let mut caller = Caller { client, session, progress, tally: Tally::default(), late: Vec::new() };
            while let Some(job) = stage.jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                caller.play(job).await?;
            }
            anyhow::Ok(caller)
        });
    }
    let mut finished = Vec::new();
    while let Some(caller) = callers.join_next().await {
        finished.push(caller.context("a caller panicked")??);
    }
    let took = began.elapsed();
    progress.finish();
    let mut tally = Tally::default();
    for mut caller in finished {
        caller.settle_late(&stage.clock).await?;
        tally.merge(caller.tally);
    }
    Ok(Replayed { tally, took })
}

impl Caller {
    async fn send<T: Serialize + Sync, A: DeserializeOwned>(
        &mut self,
        path: &str,
        key: &str,
        body: &T,
    ) -> anyhow::Result<(A, Duration)> {
        let began = Instant::now();
        let reply = self.client.send(Method::POST, path, Some(key), body).await?;
        Ok((reply.json().with_context(|| format!("POST {path}"))?, began.elapsed()))
    }

    async fn play(&mut self, job: &Job) -> anyhow::Result<()> {
        let (at_once, in_order) = job.calls.split_at(if job.fans_out { FAN_OUT.min(job.calls.len()) } else { 0 });
        self.fan_out(at_once, job.run).await?;
        for (done, call) in in_order.iter().enumerate() {
            let answer = self.ask(call, job.run, "").await?;
            if self.end(call, &answer).await? == Next::EndsHere {
                let unasked = u64::try_from(in_order.len() - done - 1)?;
                self.tally.never_asked += unasked;
                self.progress.advance(unasked);
                break;
            }
        }
        Ok(())
    }

    /// All ask before any ends. Who is told to wait asks once more when the others have settled.
    async fn fan_out(&mut self, calls: &[Call], run: Option<usize>) -> anyhow::Result<()> {
        let mut asked = Vec::new();
        for call in calls {
            asked.push((call, self.ask(call, run, "").await?));
        }
        let (waiting, granted): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|(_, answer)| answer.verdict == VerdictName::Wait);
        for (call, answer) in granted {
            self.end(call, &answer).await?;
        }
        for (call, _) in waiting {
            // A new question needs a new key: under the old one the ledger repeats its first answer.
            let answer = self.ask(call, run, "-again").await?;
            self.tally.went_after_wait += u64::from(answer.reservation.is_some());
            self.end(call, &answer).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, call: &Call, run: Option<usize>, again: &str) -> anyhow::Result<PreflightAnswer> {
        let body = call.preflight(run, &self.session);
        let key = format!("{}-{}{again}", self.session, call.number);
        let (answer, took) = self.send::<_, PreflightAnswer>("/v1/preflight", &key, &body).await?;
        self.tally.preflight(&answer, took);
        Ok(answer)
    }

    /// Ends a call as its part says; a refused one has ended.
    async fn end(&mut self, call: &Call, answer: &PreflightAnswer) -> anyhow::Result<Next> {
        self.progress.advance(1);
        let (Some(reservation), Some(granted)) = (answer.reservation, answer.max_output) else {
            let run_is_spent = answer.verdict == VerdictName::Stop
                && answer
                    .reasons
                    .first()
                    .is_some_and(|reason| reason.code == "limit_reached" && reason.budget.as_deref() == Some(PER_RUN));
            return Ok(if run_is_spent { Next::EndsHere } else { Next::Goes });
        };
        let path = format!("/v1/reservations/{reservation}/settle");
        let key = format!("{}-{}-end", self.session, call.number);
        let ended = match (call.ending, call.settlement(granted)) {
            (Ending::Open, _) => {
                self.tally.ended("open");
                return Ok(Next::Goes);
            }
            (_, None) => {
                let path = format!("/v1/reservations/{reservation}/release");
                self.send::<_, ReleasedAnswer>(&path, &key, &serde_json::json!({})).await?;
                self.tally.requests += 1;
                self.tally.ended("released");
                return Ok(Next::Goes);
            }
            (Ending::Late, Some(body)) => {
                let expires_at = answer.expires_at.context("a reservation has an end")?;
                self.late.push(Late { path, key, body, expires_at });
                return Ok(Next::Goes);
            }
            (Ending::TimedOut, Some(body)) => (body, "timed_out"),
            (Ending::Failed, Some(body)) => (body, "failed"),
            (Ending::Cancelled, Some(body)) => (body, "cancelled"),
            (Ending::Buckets | Ending::ProviderUsage | Ending::Released, Some(body)) => (body, "completed"),
        };
        let (body, ended) = ended;
        let (posted, took) = self.send::<_, PostedAnswer>(&path, &key, &body).await?;
        self.tally.posted(&posted, ended, took);
        if call.repeated {
            let (again, _) = self.send::<_, PostedAnswer>(&path, &key, &body).await?;
            anyhow::ensure!(again == posted, "a repeated settlement was answered otherwise: {path}");
            self.tally.requests += 1;
            self.tally.repeated += 1;
        }
        Ok(Next::Goes)
    }

    async fn settle_late(&mut self, clock: &Clock) -> anyhow::Result<()> {
        for Late { path, key, body, expires_at } in std::mem::take(&mut self.late) {
            let early = expires_at.signed_duration_since(clock.now()).to_std().unwrap_or_default();
            tokio::time::sleep(early + Duration::from_millis(1)).await;
            let (posted, took) = self.send::<_, PostedAnswer>(&path, &key, &body).await?;
            self.tally.posted(&posted, "completed", took);
        }
        Ok(())
    }
}
