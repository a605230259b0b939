//! One round: the replicas, what is done to them, and who knows of what.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::TimeDelta;
use counterfoil::clock::Clock;
use counterfoil::lane::QUEUE_MAX;
use serde_json::{Value, json};

use crate::support::proxy::{Fate, Proxy};
use crate::support::service::{Replica, TestService};

/// Begins near the end of a month, so that it turns in the middle.
const BEGIN: &str = "2026-05-31T23:58:00Z";
const ZONES: [(&str, i64); 4] =
    [("Etc/UTC", 0), ("Asia/Tokyo", 32_400), ("Asia/Kathmandu", 20_700), ("America/Sao_Paulo", -10_800)];
const APART_MAX_MS: i64 = 2_000;
/// By this event the budgets have been made and about ten calls posted.
const EARLY_EVENTS: u64 = 32;

/// Numbers that look random and are the same in each run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        dice.roll(2);
        dice
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(u64::try_from(length).unwrap())).unwrap()
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())]
    }

    fn between(&mut self, least: i64, most: i64) -> i64 {
        least + i64::try_from(self.roll(u64::try_from(most - least + 1).unwrap())).unwrap()
    }
}

/// Which grants a limit bounds together.
#[derive(Debug, Clone, Copy)]
pub(super) enum Window {
    Sliding {
        seconds: i64,
    },
    /// Elapsed, from an instant in seconds since 1970.
    Every {
        seconds: i64,
        from: i64,
    },
    /// All of time from an instant on, in microseconds since 1970: what occurred before it counts nowhere.
    From {
        instant: i64,
    },
}

impl Window {
    /// Whether what counts at an instant is in the window of another, both in microseconds since 1970.
    pub(super) fn holds(self, at: i64, now: i64) -> bool {
        match self {
            // What counts later than now counts now.
            Self::Sliding { seconds } => now - at < seconds * 1_000_000,
            Self::Every { seconds, from } => {
                let number = |at: i64| (at - from * 1_000_000).div_euclid(seconds * 1_000_000);
                number(at) == number(now)
            }
            Self::From { instant } => at >= instant,
        }
    }

    /// The same, but what has just left may be in it still: slices of a sixtieth leave as a whole.
    pub(super) fn may_hold(self, at: i64, now: i64) -> bool {
        match self {
            Self::Sliding { seconds } => now - at < (seconds + (seconds + 59) / 60) * 1_000_000,
            Self::Every { .. } | Self::From { .. } => self.holds(at, now),
        }
    }
}

/// What a budget counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) tenant: Option<&'static str>,
    pub(super) each: Option<&'static str>,
    pub(super) requests: bool,
    pub(super) window: Window,
}

/// A version of a budget, and between which two events it came to be.
pub(super) struct Version {
    pub(super) budget: &'static str,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) limit: i64,
    pub(super) shape: Shape,
}

/// What was called for, and how much of it counts when: in microseconds since 1970.
pub(super) struct Call {
    pub(super) tenant: &'static str,
    pub(super) feature: &'static str,
    pub(super) run: &'static str,
    pub(super) at: i64,
    pub(super) amount: i64,
}

/// What was granted, and between which two events.
pub(super) struct Grant {
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) call: Call,
    pub(super) expires_at: i64,
    /// The latest that any clock said by then.
    pub(super) clock: i64,
}

/// A try to settle or to give back, whatever became of it.
pub(super) struct End {
    pub(super) id: String,
    pub(super) began: u64,
    pub(super) ended: u64,
    /// What was posted, if that is known.
    pub(super) posted: Option<i64>,
}

/// A try to hold more, whatever became of it.
pub(super) struct Growth {
    pub(super) id: String,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) more: i64,
    /// Whether it is known to be allowed.
    pub(super) allowed: bool,
    /// The latest that any clock said by then.
    pub(super) clock: i64,
}

/// What is known to who asked.
#[derive(Default)]
pub(super) struct Log {
    pub(super) grants: BTreeMap<String, Grant>,
    pub(super) ends: Vec<End>,
    pub(super) growths: Vec<Growth>,
    /// Usage that was posted, and by which event.
    pub(super) posts: Vec<(u64, Call)>,
    pub(super) versions: Vec<Version>,
    /// In microseconds since 1970.
    pub(super) closed_until: Option<i64>,
    /// The latest that any clock says, in microseconds since 1970.
    clock: i64,
    open: Vec<String>,
    seen: BTreeMap<String, u64>,
}

struct Side {
    replica: Arc<Replica>,
    proxy: Proxy,
}

pub(super) struct World {
    pub(super) service: TestService,
    sides: Vec<Side>,
    dice: Dice,
    /// Counts events, so that it is known what was before what.
    events: Arc<AtomicU64>,
    log: Arc<Mutex<Log>>,
    zone: usize,
    /// How long the windows are, by budget.
    lengths: BTreeMap<&'static str, i64>,
}

const BUDGETS: [&str; 6] = ["slide", "each", "hour", "day", "fixed", "run"];

impl World {
    pub(super) async fn start(mut dice: Dice) -> Self {
        let service = TestService::start_at(BEGIN).await;
        for tenant in ["acme", "beta"] {
            service.call("PUT", &format!("/v1/tenants/{tenant}"), json!({"timezone": "Etc/UTC"})).await.ok();
        }
        let mut sides = Vec::new();
        for _ in 0..2 {
            let clock = Clock::manual(service.now() + TimeDelta::milliseconds(dice.between(0, APART_MAX_MS)));
            sides.push(side(&service, clock).await);
        }
        let lengths = BUDGETS.into_iter().map(|budget| (budget, 60)).collect();
        let (events, log) = (Arc::default(), Arc::default());
        let mut world = Self { service, sides, dice, events, log, zone: 0, lengths };
        for budget in BUDGETS {
            world.change(budget).await;
        }
        world
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    /// What happened, and how often.
    pub(super) fn seen(&self) -> BTreeMap<String, u64> {
        self.log().seen.clone()
    }

    /// A moment passes, and a handful of things happen at once.
    pub(super) async fn step(&mut self) {
        self.pass_time();
        self.break_something();
        let mut running = Vec::new();
        for _ in 0..self.dice.between(3, 8) {
            let place = usize::from(self.dice.roll(2) == 0);
            running.push((place, tokio::spawn(self.call(place))));
        }
        // In the middle of all that.
        match self.dice.roll(24) {
            0..3 => {
                let budget = self.dice.pick(&BUDGETS);
                self.change(budget).await;
            }
            3 => self.change_zone().await,
            4 => self.close().await,
            5 => self.forget().await,
            6 => {
                let dead = self.kill().await;
                running.iter().filter(|(place, _)| *place == dead).for_each(|(_, one)| one.abort());
            }
            _ => {}
        }
        for (_, one) in running {
            if let Err(error) = one.await {
                assert!(error.is_cancelled(), "{error}");
            }
        }
    }

    /// Nothing breaks any more, and all that was under way ends.
    pub(super) async fn rest(&mut self) {
        for side in &self.sides {
            side.proxy.rule(|_| Fate::Pass);
            let answer =
                side.replica.call("POST", "/v1/preflight", ask("beta", "f0", "r0", 1, 0, json!({"reserve": false})));
            answer.await.ok();
        }
    }

    fn pass_time(&mut self) {
        let by = match self.dice.roll(8) {
            0 => self.dice.between(8_000, 40_000),
            _ => self.dice.between(0, 2_500),
        };
        let latest = self.sides.iter().map(|side| side.replica.now()).max().unwrap() + TimeDelta::milliseconds(by);
        for side in &self.sides {
            // One of them is right, the other is behind by up to two seconds, or was so before.
            let behind = self.dice.between(0, APART_MAX_MS);
            side.replica.clock.advance_to(latest - TimeDelta::milliseconds(behind));
        }
        self.service.clock.advance_to(latest);
        // Until the next step, and so until all that is asked in this one is answered.
        self.log().clock = latest.timestamp_micros();
    }

    /// Now and then a connection of a lane breaks at some statement, before the server has seen it or before it is answered.
    fn break_something(&mut self) {
        let (side, place) = (usize::from(self.dice.roll(2) == 0), self.dice.roll(6));
        let fate = self.dice.pick(&[Fate::Cut, Fate::LoseAnswer]);
        if self.dice.roll(5) == 0 {
            let (mut at, mut done) = (0, false);
            let log = Arc::clone(&self.log);
            self.sides[side].proxy.rule(move |step| {
                at = if step.sql.starts_with("begin") { 0 } else { at + 1 };
                if done || at != place {
                    return Fate::Pass;
                }
                done = true;
                *log.lock().unwrap().seen.entry("broken".to_owned()).or_default() += 1;
                fate
            });
        }
    }

    /// A request, to be made.
    #[expect(clippy::too_many_lines, reason = "one table of what a caller may do, and what is noted of it")]
    fn call(&mut self, place: usize) -> impl Future<Output = ()> + Send + use<> {
        let dice = &mut self.dice;
        let replica = Arc::clone(&self.sides[place].replica);
        let (log, events) = (Arc::clone(&self.log), Arc::clone(&self.events));
        let open = log.lock().unwrap().open.clone();
        let id = (!open.is_empty()).then(|| open[dice.index(open.len())].clone());
        let (input, output) = (dice.between(1, 20), dice.between(1, 40));
        let tenant = dice.pick(&["acme", "acme", "acme", "beta"]);
        let feature = dice.pick(&["f0", "f1"]);
        let run = dice.pick(&["r0", "r1", "r2"]);
        let ttl = dice.pick(&[1, 30, 3_600, 3_600, 3_600]);
        let mut amount = input;
        let (what, path, body) = match (dice.roll(16), &id) {
            (0..2, Some(id)) => {
                let output = dice.pick(&[0, 20, 40, 45]);
                amount = input + output;
                let usage = json!({"input": input, "output": output});
                ("settle", format!("/v1/reservations/{id}/settle"), json!({"usage": usage}))
            }
            (2, Some(id)) => ("release", format!("/v1/reservations/{id}/release"), json!({})),
            (3..6, Some(id)) => {
                let more = dice.pick(&[0, 5, 10, 60]);
                amount = more;
                let body = json!({"more_output": more, "ttl_seconds": ttl});
                (if more > 0 { "extend" } else { "keep" }, format!("/v1/reservations/{id}/extend"), body)
            }
            // A round begins with usage of before its budgets were made.
            (which, _) if which == 6 || events.load(Ordering::SeqCst) < EARLY_EVENTS => {
                let occurred_at = replica.now() + TimeDelta::seconds(dice.pick(&[-90, -3, 0, 2, 40, 290]));
                let usage = json!({
                    "tenant": tenant, "feature": feature, "provider": "anthropic", "model": "claude-sonnet-4-5", "run": run,
                    "usage": {"input": input}, "occurred_at": occurred_at
                });
                ("post", "/v1/usage".to_owned(), usage)
            }
            (which, _) => {
                let more = json!({"ttl_seconds": ttl, "allow_cap": which % 2 == 0, "reserve": which != 15});
                ("reserve", "/v1/preflight".to_owned(), ask(tenant, feature, run, input, output, more))
            }
        };
        async move {
            let began = events.fetch_add(1, Ordering::SeqCst);
            // Before it is sent, because its answer may never come.
            let place = {
                let mut log = log.lock().unwrap();
                match (what, &id) {
                    ("settle" | "release", Some(id)) => {
                        log.ends.push(End { id: id.clone(), began, ended: u64::MAX, posted: None });
                        log.ends.len() - 1
                    }
                    ("extend", Some(id)) => {
                        let (id, more, clock) = (id.clone(), amount, log.clock);
                        log.growths.push(Growth { id, began, ended: u64::MAX, more, allowed: false, clock });
                        log.growths.len() - 1
                    }
                    _ => 0,
                }
            };
            let occurred_at = micros(&body["occurred_at"]);
            let reply = replica.call("POST", &path, body).await;
            let ended = events.fetch_add(1, Ordering::SeqCst);
            assert!([200, 404, 409, 422, 503].contains(&reply.status), "{what}: {} {:#}", reply.status, reply.body);
            if reply.status != 200 {
                return;
            }
            let mut log = log.lock().unwrap();
            let call = |at: Option<i64>, amount| Call { tenant, feature, run, at: at.unwrap(), amount };
            match what {
                "reserve" => {
                    if let Some(id) = reply.body["reservation"].as_str() {
                        let amount = input + reply.body["max_output"].as_i64().unwrap();
                        let call = call(micros(&reply.body["granted_at"]), amount);
                        let expires_at = micros(&reply.body["expires_at"]).unwrap();
                        log.open.push(id.to_owned());
                        let clock = log.clock;
                        log.grants.insert(id.to_owned(), Grant { began, ended, call, expires_at, clock });
                    }
                }
                "settle" | "release" => {
                    log.ends[place].ended = ended;
                    log.ends[place].posted = Some(amount).filter(|_| what == "settle");
                    log.open.retain(|known| Some(known) != id.as_ref());
                }
                "extend" => {
                    log.growths[place].ended = ended;
                    log.growths[place].allowed = reply.body["verdict"] == "allow";
                }
                "post" => log.posts.push((ended, call(occurred_at, amount))),
                _ => {}
            }
            let verdict = reply.body["verdict"].as_str().map_or(String::new(), |verdict| format!(" {verdict}"));
            *log.seen.entry(format!("{what}{verdict}")).or_default() += 1;
        }
    }

    /// Makes a budget or changes it: its limit, and perhaps its length or its zone.
    async fn change(&mut self, budget: &'static str) {
        let limit = self.dice.between(60, 260);
        let (zone, offset) = self.dice.pick(&ZONES);
        if self.dice.roll(2) == 0 {
            self.lengths.insert(budget, self.dice.pick(&[20, 60, 300]));
        }
        let seconds = self.lengths[budget];
        let acme = Shape { tenant: Some("acme"), each: None, requests: false, window: Window::From { instant: 0 } };
        let sliding = json!({"kind": "sliding", "seconds": seconds});
        let (period, zone, limit, shape) = match budget {
            "slide" => (sliding, "Etc/UTC", limit, Shape { window: Window::Sliding { seconds }, ..acme }),
            "each" => {
                let window = Window::Sliding { seconds };
                let shape = Shape { tenant: None, each: Some("feature"), requests: true, window };
                (sliding, "Etc/UTC", limit / 20, shape)
            }
            // Hours are counted from local midnight.
            "hour" => {
                let window = Window::Every { seconds: 3_600, from: -offset };
                (json!({"kind": "hour"}), zone, limit * 2, Shape { window, ..acme })
            }
            "day" => (json!({"kind": "day"}), "tenant", limit * 3, Shape { window: self.day(), ..acme }),
            "fixed" => {
                let window = Window::Every { seconds, from: 0 };
                let shape = Shape { tenant: None, each: Some("tenant"), requests: true, window };
                let period = json!({"kind": "fixed", "seconds": seconds, "anchor_instant": "1970-01-01T00:00:00Z"});
                (period, "Etc/UTC", limit / 15, shape)
            }
            "run" => {
                let shape = Shape { tenant: None, each: Some("run"), ..acme };
                (json!({"kind": "once"}), "Etc/UTC", limit * 3, shape)
            }
            other => panic!("{other}"),
        };
        let mut scope = serde_json::Map::new();
        scope.extend(shape.tenant.map(|tenant| ("tenant".to_owned(), json!(tenant))));
        let mut body = json!({
            "scope": scope, "measure": if shape.requests { "requests" } else { "tokens" }, "limit": limit.to_string(),
            "period": period, "timezone": zone, "enforcement": "hard"
        });
        if let Some(each) = shape.each {
            body["each"] = json!(each);
        }
        if budget == "run" {
            body["max_seconds"] = json!(600);
        }
        let began = self.events.fetch_add(1, Ordering::SeqCst);
        let replica = Arc::clone(&self.sides[usize::from(self.dice.roll(2) == 0)].replica);
        let answer = replica.call("PUT", &format!("/v1/budgets/{budget}"), body).await.ok();
        let ended = self.events.fetch_add(1, Ordering::SeqCst);
        let shape = match micros(&answer["period"]["counts_from"]) {
            Some(instant) => Shape { window: Window::From { instant }, ..shape },
            None => shape,
        };
        let mut log = self.log();
        log.versions.push(Version { budget, began, ended, limit, shape });
        *log.seen.entry("budget".to_owned()).or_default() += 1;
    }

    fn day(&self) -> Window {
        Window::Every { seconds: 86_400, from: -ZONES[self.zone].1 }
    }

    /// `acme` moves.
    async fn change_zone(&mut self) {
        self.zone = self.dice.index(ZONES.len());
        let began = self.events.fetch_add(1, Ordering::SeqCst);
        let replica = Arc::clone(&self.sides[usize::from(self.dice.roll(2) == 0)].replica);
        replica.call("PUT", "/v1/tenants/acme", json!({"timezone": ZONES[self.zone].0})).await.ok();
        let ended = self.events.fetch_add(1, Ordering::SeqCst);
        let window = self.day();
        let mut log = self.log();
        let (limit, shape) = log
            .versions
            .iter()
            .rfind(|version| version.budget == "day")
            .map(|version| (version.limit, Shape { window, ..version.shape }))
            .unwrap();
        log.versions.push(Version { budget: "day", began, ended, limit, shape });
        *log.seen.entry("zone".to_owned()).or_default() += 1;
    }

    /// May is closed by the replica whose clock is ahead, once it is over there.
    async fn close(&mut self) {
        let ahead = self.sides.iter().max_by_key(|side| side.replica.now()).unwrap();
        let body = json!({"until": "2026-06-01T00:00:00Z"});
        let reply = ahead.replica.call("POST", "/v1/periods/close", body).await;
        if reply.status == 200 {
            let mut log = self.log();
            log.closed_until = micros(&reply.body["closed_until"]);
            *log.seen.entry("closed".to_owned()).or_default() += 1;
        }
    }

    /// The worker goes round.
    async fn forget(&mut self) {
        let side = usize::from(self.dice.roll(2) == 0);
        self.sides[side].replica.tidy().await;
    }

    /// A replica dies with all that it was about to do, and another one takes its place.
    async fn kill(&mut self) -> usize {
        let place = usize::from(self.dice.roll(2) == 0);
        let clock = self.sides[place].replica.clock.clone();
        self.sides[place].proxy.close(true);
        self.sides[place] = side(&self.service, clock).await;
        *self.log().seen.entry("killed".to_owned()).or_default() += 1;
        place
    }
}

async fn side(service: &TestService, clock: Clock) -> Side {
    let proxy = Proxy::start(&service.db.connect_options());
    let replica = service.replica_at(clock).await.with_lane(QUEUE_MAX, proxy.options());
    Side { replica: Arc::new(replica), proxy }
}

/// An instant in JSON, in microseconds since 1970.
fn micros(instant: &Value) -> Option<i64> {
    Some(instant.as_str()?.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros())
}

fn ask(tenant: &str, feature: &str, run: &str, input: i64, output: i64, more: Value) -> Value {
    let mut body = json!({
        "tenant": tenant, "feature": feature, "provider": "anthropic", "model": "claude-sonnet-4-5", "run": run,
        "estimate": {"input": input, "max_output": output}
    });
    let Value::Object(more) = more else { return body };
    for (field, value) in more {
        body[field] = value;
    }
    body
}
