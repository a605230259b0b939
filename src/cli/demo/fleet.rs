//! The calls of a morning against the paced quota: people, agents and batch work of all its tenants at once, over HTTP.
//!
//! | # | beat | what |
//! |---|------|------|
//! | 1 | plan | the service plans and reads its paces, the step that its worker takes every half minute |
//! | 2 | ask | the next part of the calls, from many callers at once |
//! | 3 | end | who is allowed settles what it asked for; who is told to wait has been told until when |
//!
//! Invariant: what is counted is what the callers were told. Deliberately absent: asking again. Who waits for the next day's
//! share would do so until tomorrow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use hyper::Method;
use serde::Serialize;
use tokio::task::JoinSet;

use super::quota::{MEMBERS, MODEL, Member, PROVIDER, WORK, Work};
use super::script::mix;
use super::tally::Counts;
use crate::app::App;
use crate::cli::boot::Running;
use crate::cli::client::Client;
use crate::wire::answer::{PostedAnswer, PreflightAnswer, UsageBuckets, VerdictName};
use crate::wire::budget::PriorityName;
use crate::wire::call::{EstimateBody, PreflightBody, SettleBody};

/// Callers at once.
const CALLERS: usize = 16;
/// Parts in which the calls are made, each after a plan.
const PARTS: usize = 16;
/// How long a call is held, in seconds.
const TTL_SECONDS: u32 = 120;
/// How long it may take until a plan is made: somebody else may be at it.
const PLANNED_WITHIN: Duration = Duration::from_secs(20);

/// What the callers of one kind were told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Told {
    pub(super) asked: u64,
    /// Allowed, all of what they asked for.
    pub(super) allowed: u64,
    pub(super) waited: u64,
    pub(super) stopped: u64,
    /// The headlines of the refusals.
    pub(super) because: Counts,
    /// The first instant at which one that waits may find room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_before_first: Option<DateTime<Utc>>,
    /// The last such instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_before_last: Option<DateTime<Utc>>,
}

impl Told {
    fn add(&mut self, answer: &PreflightAnswer) {
        self.asked += 1;
        match answer.verdict {
            VerdictName::Allow | VerdictName::Cap => self.allowed += 1,
            VerdictName::Wait => self.waited += 1,
            VerdictName::Stop => self.stopped += 1,
        }
        if let (VerdictName::Wait | VerdictName::Stop, Some(reason)) = (answer.verdict, answer.reasons.first()) {
            *self.because.entry(reason.code.clone()).or_default() += 1;
        }
        let at = answer.retry.as_ref().and_then(|retry| retry.not_before);
        self.span(at, at);
    }

    fn span(&mut self, first: Option<DateTime<Utc>>, last: Option<DateTime<Utc>>) {
        self.not_before_first = self.not_before_first.into_iter().chain(first).min();
        self.not_before_last = self.not_before_last.into_iter().chain(last).max();
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.asked += other.asked;
        self.allowed += other.allowed;
        self.waited += other.waited;
        self.stopped += other.stopped;
        for (reason, count) in &other.because {
            *self.because.entry(reason.clone()).or_default() += count;
        }
        self.span(other.not_before_first, other.not_before_last);
    }
}

/// What each kind of each member's calls was told, by priority and tenant.
pub(super) type Answers = BTreeMap<(PriorityName, &'static str), Told>;

/// One call.
#[derive(Debug)]
struct Call {
    number: usize,
    member: &'static Member,
    work: &'static Work,
}

/// How many calls of each kind are made.
const fn calls_of(priority: PriorityName) -> u64 {
    match priority {
        PriorityName::Interactive => 300,
        PriorityName::Standard => 160,
        PriorityName::Batch => 460,
    }
}

/// All calls, as mixed as they come: each member makes as many of each kind as its size says.
fn calls() -> Vec<Call> {
    let whole: u64 = MEMBERS.iter().map(|member| member.calls).sum();
    let mut calls = Vec::new();
    for work in &WORK {
        let (wanted, mut before) = (calls_of(work.priority), 0);
        for member in &MEMBERS {
            // Rounded as sums are, so that all of them together are as many as are wanted.
            let until = |sum: u64| (sum * wanted).checked_div(whole).unwrap_or(0);
            for _ in until(before)..until(before + member.calls) {
                calls.push(Call { number: calls.len(), member, work });
            }
            before += member.calls;
        }
    }
    calls.sort_by_key(|call| mix(call.number, 7));
    calls
}

/// Makes all calls.
///
/// # Errors
/// When an answer is not a verdict or a transfer, or no pace is planned.
pub(super) async fn ask_all(running: &Running, token: &str, session: &str) -> anyhow::Result<Answers> {
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        clients.push(Client::connect(running.address, token).await?);
    }
    let mut rest = calls().into_iter();
    let mut answers = Answers::new();
    for left in (1..=PARTS).rev() {
        plan_now(&running.app).await?;
        let size = rest.len().div_ceil(left);
        let part: Arc<Vec<Call>> = Arc::new(rest.by_ref().take(size).collect());
        let next = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for client in clients.drain(..) {
            callers.spawn(caller(client, Arc::clone(&part), Arc::clone(&next), session.to_owned()));
        }
        while let Some(caller) = callers.join_next().await {
            let (client, told) = caller.context("a caller panicked")??;
            clients.push(client);
            for (who, told) in told {
                answers.entry(who).or_default().merge(&told);
            }
        }
    }
    Ok(answers)
}

/// Makes the next call that nobody has made, until there is none.
async fn caller(
    mut client: Client,
    calls: Arc<Vec<Call>>,
    next: Arc<AtomicUsize>,
    session: String,
) -> anyhow::Result<(Client, Answers)> {
    let mut told = Answers::new();
    while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
        let answer = call.play(&mut client, &session).await?;
        told.entry((call.work.priority, call.member.id)).or_default().add(&answer);
    }
    Ok((client, told))
}

/// One step of the worker, without its half minute.
async fn plan_now(app: &App) -> anyhow::Result<()> {
    let began = Instant::now();
    // None are planned while the worker is at it.
    while app.plan_paces().await? == 0 {
        anyhow::ensure!(began.elapsed() < PLANNED_WITHIN, "no pace was planned");
        tokio::task::yield_now().await;
    }
    Ok(app.load_paces().await?)
}

impl Call {
    /// Asks, and settles if it is allowed.
    async fn play(&self, client: &mut Client, session: &str) -> anyhow::Result<PreflightAnswer> {
        let key = format!("{session}-fleet-{}", self.number);
        let asked = client.send(Method::POST, "/v1/preflight", Some(&key), &self.preflight()).await?;
        let answer: PreflightAnswer = asked.json().context("POST /v1/preflight")?;
        if let Some(reservation) = answer.reservation {
            let path = format!("/v1/reservations/{reservation}/settle");
            let settled = client.send(Method::POST, &path, Some(&format!("{key}-end")), &self.settlement()).await?;
            let _posted: PostedAnswer = settled.json().with_context(|| format!("POST {path}"))?;
        }
        Ok(answer)
    }

    fn preflight(&self) -> PreflightBody {
        PreflightBody {
            tenant: self.member.id.to_owned(),
            feature: self.work.feature.to_owned(),
            provider: PROVIDER.to_owned(),
            model: MODEL.to_owned(),
            region: None,
            service_tier: None,
            priority: self.work.priority,
            run: None,
            agent: None,
            labels: BTreeMap::new(),
            estimate: EstimateBody {
                input: self.work.input,
                cache_read: 0,
                cache_write_5m: 0,
                cache_write_1h: 0,
                max_output: self.work.output,
                min_output: None,
            },
            reserve: true,
            ttl_seconds: Some(TTL_SECONDS),
            allow_cap: false,
        }
    }

    fn settlement(&self) -> SettleBody {
        let usage = UsageBuckets { input: self.work.input, output: self.work.output, ..UsageBuckets::default() };
        SettleBody {
            usage: Some(usage),
            latency_ms: u32::try_from(400 + self.work.output * 15).ok(),
            ..SettleBody::default()
        }
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
