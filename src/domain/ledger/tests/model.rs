//! The books as a child would keep them: one list of everything that happened, added up anew for every question.
//!
//! Written from the design, not from the code: it shares prices and factors with the books, and nothing else. What was learned
//! is constants, in `learned`. Days and hours
//! are divisions, sliding windows are searched second by second, caps are found by trying every output.

mod said;

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::learned::{Kept, UP, aside, claimed, lesson, plus};
use super::*;
use crate::domain::amounts::Usd;
use crate::domain::budget::catalogue::HoldRule;
use crate::domain::budget::measure::Consumption;
use crate::domain::budget::scope::Dimensions;
use crate::domain::tariff::Priced;
use crate::domain::usage::Usage;
pub(super) use said::said;

#[derive(Clone, Copy, PartialEq)]
enum Window {
    Hour,
    UtcDay,
    TenantDay,
    Sliding,
    Once,
}

/// A budget.
struct Rule {
    name: &'static str,
    key: fn(&Dimensions) -> Option<String>,
    window: Window,
    measure: fn(&Consumption) -> Decimal,
    limit: Decimal,
    hard: bool,
    kept_for_interactive: Decimal,
    holds: HoldRule,
}

fn number(count: Tokens) -> Decimal {
    count.count().into()
}

fn dollars(call: &Consumption) -> Decimal {
    call.amounts.usd.decimal()
}

pub(super) fn all_tokens(call: &Consumption) -> Decimal {
    call.usage.buckets().into_iter().map(number).sum()
}

#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the model are small")]
fn rules() -> Vec<Rule> {
    let rule = |name, window, limit: i64, key, measure| Rule {
        name,
        key,
        window,
        measure,
        limit: limit.into(),
        hard: true,
        kept_for_interactive: Decimal::ZERO,
        holds: HoldRule::Max,
    };
    let p95 = |rule| Rule { holds: HoldRule::P95, ..rule };
    let p99 = |rule| Rule { holds: HoldRule::P99, ..rule };
    vec![
        p95(rule("own", Window::TenantDay, 120, |call| (call.tenant.as_str() == "acme").then(String::new), all_tokens)),
        p99(rule(
            "quota",
            Window::Hour,
            400,
            |call| (call.provider.as_str() == "unit").then(String::new),
            |call| number(call.usage.input) + Decimal::from(5) * number(call.usage.output),
        )),
        rule("run", Window::Once, 60, |call| Some(format!("{}/{}", call.tenant, call.run.as_ref()?)), dollars),
        Rule { hard: false, ..rule("soft", Window::Hour, 50, |_| Some(String::new()), all_tokens) },
        rule("slide", Window::Sliding, 6, |call| Some(call.tenant.to_string()), |call| call.requests.into()),
        Rule {
            kept_for_interactive: Decimal::from(36),
            ..p99(rule(
                "floor",
                Window::TenantDay,
                90,
                |call| Some(call.tenant.to_string()).filter(|tenant| tenant != "-"),
                dollars,
            ))
        },
        rule("two", Window::UtcDay, 30, |call| (call.model.as_str() == "two").then(String::new), dollars),
        Rule {
            limit: Decimal::new(4, 3),
            ..p95(rule(
                "grams",
                Window::UtcDay,
                0,
                |call| Some(format!("{}/{}", call.tenant, call.feature)),
                |call| call.amounts.gco2e_usage_location.decimal() + call.amounts.gco2e_embodied.decimal(),
            ))
        },
        p95(rule(
            "burst",
            Window::Sliding,
            70,
            |call| (call.provider.as_str() == "unit").then(String::new),
            all_tokens,
        )),
    ]
}

#[derive(Clone, PartialEq)]
enum State {
    Open,
    Ended,
    Expired,
    Released,
}

struct Hold {
    id: ReservationId,
    call: Dimensions,
    at: i64,
    counts_at: i64,
    expires: i64,
    priced: Priced,
    /// Of the rules that hold less than all of it.
    kept: BTreeMap<&'static str, Kept>,
    tier: ServiceTier,
    priority: Priority,
    state: State,
}

struct Spent {
    call: Dimensions,
    at: i64,
    what: Consumption,
    sign: Decimal,
}

pub(super) struct Model {
    rules: Vec<Rule>,
    rates: Arc<RateBooks>,
    holds: Vec<Hold>,
    spent: Vec<Spent>,
    answers: BTreeMap<String, ([u8; 32], String, i64)>,
}

#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the model are small")]
impl Model {
    pub(super) fn new() -> Self {
        Self { rules: rules(), rates: rates(), holds: Vec::new(), spent: Vec::new(), answers: BTreeMap::new() }
    }

    pub(super) fn apply(&mut self, command: &Command, now: DateTime<Utc>) -> String {
        let at = now.timestamp();
        for hold in &mut self.holds {
            if hold.state == State::Open && hold.expires <= at {
                hold.state = State::Expired;
            }
        }
        if let Some(idempotency) = &command.idempotency
            && let Some((fingerprint, said, until)) = self.answers.get(idempotency.key.as_str())
            && at < *until
        {
            return if *fingerprint == idempotency.fingerprint { said.clone() } else { "mismatch".to_owned() };
        }
        let said = match &command.action {
            Action::Reserve(reserve) => self.reserve(reserve, at),
            Action::Settle(settle) => self.settle(settle, at),
            Action::Release(release) => self.release(release),
            Action::Extend(extend) => self.extend(extend, at),
            Action::PostUsage(post) => self.post(post, at),
            Action::Adjust(adjust) => self.adjust(adjust, at),
            Action::Restate(_) => unreachable!("it is two adjustments"),
        };
        match said {
            Ok(said) => {
                if let Some(idempotency) = &command.idempotency {
                    let kept = (idempotency.fingerprint, said.clone(), said_again_until(&command.action, &said));
                    self.answers.insert(idempotency.key.to_string(), kept);
                }
                said
            }
            Err(refused) => refused.to_owned(),
        }
    }

    fn price(&self, call: &Dimensions, tier: ServiceTier, at: i64, usage: &Usage, requests: u32) -> Priced {
        let at = DateTime::from_timestamp(at, 0).unwrap();
        let tariff = self.rates.tariff(&call.provider, &call.model, tier, call.region.as_ref(), at);
        tariff.price(usage, requests, None).unwrap()
    }

    /// Whether something that was counted at `event` is in the window that ends with `now`, for calls of this tenant.
    fn within(window: Window, call: &Dimensions, event: i64, now: i64) -> bool {
        let same = |length: i64, shift: i64| (event + shift).div_euclid(length) == (now + shift).div_euclid(length);
        match window {
            Window::Hour => same(3_600, 0),
            Window::UtcDay => same(86_400, 0),
            Window::TenantDay => same(86_400, if call.tenant.as_str() == "acme" { 9 * 3_600 } else { 0 }),
            Window::Sliding => {
                let slice = event.div_euclid(10);
                (now - 600).div_euclid(10) <= slice
            }
            Window::Once => true,
        }
    }

    /// Posted, and what is held, of the budget that counts this call at this time, without one hold.
    fn taken(&self, rule: &Rule, call: &Dimensions, now: i64, without: Option<ReservationId>) -> (Decimal, Kept) {
        let key = (rule.key)(call);
        let counts = |other: &Dimensions, at: i64| (rule.key)(other) == key && Self::within(rule.window, call, at, now);
        let mut slices: BTreeMap<i64, Decimal> = BTreeMap::new();
        for one in self.spent.iter().filter(|one| counts(&one.call, one.at)) {
            let slice = if rule.window == Window::Sliding { one.at.div_euclid(10) } else { 0 };
            *slices.entry(slice).or_default() += one.sign * (rule.measure)(&one.what);
        }
        // A credit in one slice of a window makes no room for what stands in the others.
        let credit = if rule.window == Window::Sliding { Decimal::ZERO } else { Decimal::MIN };
        let posted = slices.values().map(|posted| *posted.max(&credit)).sum();
        let open = self.holds.iter().filter(|one| one.state == State::Open && Some(one.id) != without);
        let mut held = Kept::default();
        for one in open.filter(|one| counts(&one.call, one.counts_at)) {
            held = plus(held, kept(rule, one));
        }
        (posted, held)
    }

    /// What a rule keeps of a call that asked for so much and is granted this.
    fn promise(&self, rule: &Rule, call: &Dimensions, at: i64, requested: Tokens, granted: &Priced) -> Kept {
        let whole = (rule.measure)(&granted.consumption);
        let all = [whole, Decimal::ZERO, Decimal::ZERO];
        let is_unit = call.provider.as_str() == "unit";
        let Some((part, beyond, mean)) = lesson(call.model.as_str(), rule.holds).filter(|_| is_unit) else {
            return all;
        };
        let usage = granted.consumption.usage;
        let likely = requested.count().div_ceil(part);
        if likely >= usage.output.count() {
            return all;
        }
        let cheaper = self.price(call, ServiceTier::Standard, at, &Usage { output: tokens(likely), ..usage }, 1);
        let held = (rule.measure)(&cheaper.consumption);
        let rest = whole - held;
        if rest.is_zero() {
            return all;
        }
        let (asked, left) = (requested.count() - likely, usage.output.count() - likely);
        let mean = beyond.min((mean * asked).div_ceil(left));
        [held, (rest * aside(rest, mean, rule.limit)).round_dp_with_strategy(12, UP), rest]
    }

    fn ceiling(rule: &Rule, priority: Priority) -> Decimal {
        if priority == Priority::Interactive { rule.limit } else { rule.limit - rule.kept_for_interactive }
    }

    /// When the window of a budget that is full has room again, if nothing else happens.
    fn room(rule: &Rule, call: &Dimensions, now: i64, fits: &dyn Fn(i64) -> bool) -> Option<i64> {
        let end = |length: i64, shift: i64| Some((now + shift).div_euclid(length) * length + length - shift);
        match rule.window {
            Window::Hour => end(3_600, 0),
            Window::UtcDay => end(86_400, 0),
            Window::TenantDay => end(86_400, if call.tenant.as_str() == "acme" { 9 * 3_600 } else { 0 }),
            Window::Sliding => (now + 1..now + 1_000).find(|later| fits(*later)),
            Window::Once => None,
        }
    }

    /// For everything hard that is in the way, when there is room. A hold that is being extended counts where it is asked.
    fn obstacles(
        &self,
        call: &Dimensions,
        priced: &Priced,
        priority: Priority,
        now: i64,
        asks: &Asks<'_>,
    ) -> Vec<Option<i64>> {
        let extended = match asks {
            Asks::New(_) => None,
            Asks::More(hold) => Some(*hold),
        };
        let mut found = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.hard && (rule.key)(call).is_some()) {
            let (posted, held) = self.taken(rule, call, now, extended.map(|hold| hold.id));
            let asked = match asks {
                Asks::New(requested) => self.promise(rule, call, now, *requested, priced),
                Asks::More(hold) => grown(rule, hold, priced),
            };
            let takes = match asks {
                // What moves to a window that did not count it is new there.
                Asks::More(hold) if Self::within(rule.window, call, hold.counts_at, now) => {
                    (rule.measure)(&priced.consumption) - (rule.measure)(&hold.priced.consumption)
                }
                Asks::New(_) | Asks::More(_) => asked[0] + asked[2],
            };
            if takes <= Decimal::ZERO {
                continue;
            }
            let ceiling = Self::ceiling(rule, priority);
            // Nor does a credit make the limit wider.
            let claimed =
                |posted: Decimal, held: Kept| posted.max(Decimal::ZERO) + claimed(plus(held, asked), rule.limit);
            if claimed(posted, held) <= ceiling {
                continue;
            }
            let room = if claimed(Decimal::ZERO, Kept::default()) > ceiling {
                None
            } else if claimed(posted, Kept::default()) <= ceiling {
                Some(now + 5)
            } else {
                Self::room(rule, call, now, &|later| {
                    let (posted, held) = self.taken(rule, call, later, extended.map(|hold| hold.id));
                    claimed(posted, held) <= ceiling
                })
            };
            found.push(room);
        }
        found
    }

    /// Whether two instants are counted in the same place.
    fn is_same(window: Window, call: &Dimensions, one: i64, other: i64) -> bool {
        if window == Window::Sliding {
            one.div_euclid(10) == other.div_euclid(10)
        } else {
            Self::within(window, call, one, other)
        }
    }

    /// What an answer shows of a budget: a sliding window as it is now, any other period where it was counted.
    fn shown(at: i64, now: i64) -> impl Fn(Window) -> i64 {
        move |window| if window == Window::Sliding { now } else { at }
    }

    fn budgets(&self, call: &Dimensions, now: impl Fn(Window) -> i64) -> String {
        let mut states: Vec<String> = Vec::new();
        for rule in self.rules.iter().filter(|rule| (rule.key)(call).is_some()) {
            let (posted, held) = self.taken(rule, call, now(rule.window), None);
            states.push(told(rule.name, posted, held[0], claimed(held, rule.limit) - held[0]));
        }
        states.sort();
        states.join(", ")
    }

    fn refusal(obstacles: &[Option<i64>], now: i64) -> String {
        let rooms: Option<Vec<i64>> = obstacles.iter().copied().collect();
        match rooms.and_then(|rooms| rooms.into_iter().max()) {
            Some(room) if room - now <= 120 => format!("wait until {room}"),
            Some(room) => format!("stop until {room}"),
            None => "stop for ever".to_owned(),
        }
    }

    fn reserve(&mut self, reserve: &Reserve, now: i64) -> Result<String, &'static str> {
        let call = &reserve.call;
        if !["acme", "beta", "firm"].contains(&call.tenant.as_str()) {
            return Err("unknown tenant");
        }
        if call.tenant.as_str() == "firm" && call.model.as_str() == "unheard" {
            return Err("unpriced");
        }
        let priced = |output: Tokens| {
            let usage = Usage { output, ..reserve.usage };
            self.price(call, reserve.service_tier, now, &usage, 1)
        };
        let asked = priced(reserve.usage.output);
        let asks = Asks::New(reserve.usage.output);
        let obstacles = self.obstacles(call, &asked, reserve.priority, now, &asks);
        let capped = || {
            let outputs =
                (reserve.min_output.count()..reserve.usage.output.count()).rev().map(|output| priced(tokens(output)));
            outputs.into_iter().find(|priced| self.obstacles(call, priced, reserve.priority, now, &asks).is_empty())
        };
        let (said, granted) = if obstacles.is_empty() {
            ("allow".to_owned(), Some(asked))
        } else {
            match if reserve.allow_cap { capped() } else { None } {
                Some(mut smaller) => {
                    smaller.flags = smaller.flags.with(Flags::CAPPED);
                    ("cap".to_owned(), Some(smaller))
                }
                None => (Self::refusal(&obstacles, now), None),
            }
        };
        let shown = granted.unwrap_or(asked);
        if let Some(priced) = granted.filter(|_| reserve.hold) {
            let expires = now + i64::from(reserve.ttl_seconds);
            let requested = reserve.usage.output;
            let keeps = self.rules.iter().filter(|rule| (rule.key)(call).is_some());
            let keeps = keeps.map(|rule| (rule.name, self.promise(rule, call, now, requested, &priced)));
            let kept = keeps.filter(|(_, kept)| !kept[2].is_zero()).collect();
            self.holds.push(Hold {
                kept,
                id: reserve.id,
                call: call.clone(),
                at: now,
                counts_at: now,
                expires,
                priced,
                tier: reserve.service_tier,
                priority: reserve.priority,
                state: State::Open,
            });
        }
        let usd = shown.consumption.amounts.usd;
        Ok(format!("{said} {} tokens ${usd} [{}]", all_tokens(&shown.consumption), self.budgets(call, |_| now)))
    }

    fn own(&self, id: ReservationId, tenant: Option<&TenantId>) -> Result<usize, &'static str> {
        let place = self.holds.iter().position(|hold| hold.id == id).ok_or("unknown reservation")?;
        let foreign = tenant.is_some_and(|tenant| *tenant != self.holds[place].call.tenant);
        if foreign { Err("unknown reservation") } else { Ok(place) }
    }

    fn settle(&mut self, settle: &Settle, now: i64) -> Result<String, &'static str> {
        let place = self.own(settle.reservation, settle.tenant.as_ref())?;
        let hold = &self.holds[place];
        let mut flags = match hold.state {
            State::Open => Flags::NONE,
            State::Expired | State::Released => Flags::LATE,
            State::Ended => return Err("ended"),
        };
        let mut call = hold.call.clone();
        call.model = settle.served_model.clone().unwrap_or(call.model);
        let usage = match (&settle.usage, settle.report.outcome) {
            (Some(ReportedUsage::Buckets(usage)), _) if settle.is_partial == Some(true) => {
                flags = flags.with(Flags::UNCONFIRMED).with(Flags::PARTIAL);
                let estimate = hold.priced.consumption.usage;
                let input = if usage.input == Tokens::ZERO { estimate.input } else { usage.input };
                Usage { input, output: usage.output.max(estimate.output), ..*usage }
            }
            (Some(ReportedUsage::Buckets(usage)), _) => *usage,
            (Some(ReportedUsage::Provider(_)), _) => unreachable!("the model reads no raw usage"),
            (None, CallOutcome::Completed) => return Err("usage required"),
            (None, CallOutcome::Failed) => Usage::default(),
            (None, CallOutcome::Cancelled | CallOutcome::TimedOut) => {
                flags = flags.with(Flags::UNCONFIRMED);
                hold.priced.consumption.usage
            }
        };
        let mut priced = self.price(&call, hold.tier, hold.at, &usage, 1);
        if settle.usage.is_none() && settle.report.outcome == CallOutcome::Failed {
            priced.consumption.amounts.usd = Usd::ZERO; // not even a fee
        }
        let (now_used, was_held) = (&priced.consumption, &hold.priced.consumption);
        let grams = |one: &Consumption| {
            let amounts = &one.amounts;
            [amounts.gco2e_usage_location, amounts.gco2e_usage_market]
                .map(|usage| usage.decimal() + amounts.gco2e_embodied.decimal())
        };
        let more = |measure: fn(&Consumption) -> Decimal| measure(now_used) > measure(was_held);
        let governs = |rule: &&Rule| (rule.key)(&call).is_some();
        if more(all_tokens)
            || more(dollars)
            || grams(now_used)[0] > grams(was_held)[0]
            || grams(now_used)[1] > grams(was_held)[1]
            || self.rules.iter().filter(governs).any(|rule| more(rule.measure))
        {
            flags = flags.with(Flags::OVERRUN);
        }
        let measure = |name: &str| self.rules.iter().find(|rule| rule.name == name).unwrap().measure;
        if hold.kept.iter().any(|(name, kept)| measure(name)(now_used) > kept[0]) {
            flags = flags.with(Flags::LEARNED_OVERRUN);
        }
        if hold.priced.flags.contains(Flags::CAPPED) {
            flags = flags.with(Flags::CAPPED);
        }
        let at = hold.counts_at;
        let said = said_posted(&priced.consumption, priced.flags.with(flags));
        // An expired or released hold may be settled once, and then it has ended like any other.
        self.holds[place].state = State::Ended;
        self.spent.push(Spent { call: call.clone(), at, what: priced.consumption, sign: Decimal::ONE });
        Ok(format!("{said} [{}]", self.budgets(&call, Self::shown(at, now))))
    }

    fn release(&mut self, release: &Release) -> Result<String, &'static str> {
        let place = self.own(release.reservation, release.tenant.as_ref())?;
        if self.holds[place].state != State::Open {
            return Err("ended");
        }
        self.holds[place].state = State::Released;
        Ok("released".to_owned())
    }

    fn extend(&mut self, extend: &Extend, now: i64) -> Result<String, &'static str> {
        let place = self.own(extend.reservation, extend.tenant.as_ref())?;
        let hold = &self.holds[place];
        if hold.state != State::Open {
            return Err("ended");
        }
        let mut said = "allow".to_owned();
        let later = hold.expires.max(now + i64::from(extend.ttl_seconds));
        if later > hold.at + 172_800 {
            return Err("too long");
        }
        let mut next = (hold.priced, hold.kept.clone(), later);
        let mut at = hold.counts_at;
        if extend.more_output != Tokens::ZERO {
            let held = hold.priced.consumption.usage;
            let usage = Usage { output: tokens(held.output.count() + extend.more_output.count()), ..held };
            let mut priced = self.price(&hold.call, hold.tier, hold.at, &usage, 1);
            priced.flags = priced.flags.with(hold.priced.flags);
            let obstacles = self.obstacles(&hold.call, &priced, hold.priority, now, &Asks::More(hold));
            let rules = self.rules.iter().filter(|rule| hold.kept.contains_key(rule.name));
            next = (priced, rules.map(|rule| (rule.name, grown(rule, hold, &priced))).collect(), later);
            let counts = |rule: &&Rule| (rule.key)(&hold.call).is_some();
            if self.rules.iter().filter(counts).any(|rule| !Self::is_same(rule.window, &hold.call, at, now)) {
                at = now;
            }
            if obstacles.is_empty() {
                self.holds[place].counts_at = at;
            } else {
                said = Self::refusal(&obstacles, now);
                next = (self.holds[place].priced, self.holds[place].kept.clone(), self.holds[place].expires);
            }
        }
        let call = self.holds[place].call.clone();
        let expires = next.2;
        (self.holds[place].priced, self.holds[place].kept, self.holds[place].expires) = next;
        let budgets = self.budgets(&call, Self::shown(at, now));
        Ok(format!("extended {said} to {expires} [{budgets}]"))
    }

    fn post(&mut self, post: &PostUsage, now: i64) -> Result<String, &'static str> {
        if !["acme", "beta", "firm", "gone"].contains(&post.call.tenant.as_str()) {
            return Err("unknown tenant");
        }
        let at = post.occurred_at.map_or(now, |instant| instant.timestamp());
        if at > now + 300 || at < now - 400 * 86_400 {
            return Err("out of range");
        }
        let ReportedUsage::Buckets(usage) = &post.usage else { unreachable!("the model reads no raw usage") };
        let priced = self.price(&post.call, post.service_tier.unwrap_or_default(), at, usage, post.requests);
        self.spent.push(Spent { call: post.call.clone(), at, what: priced.consumption, sign: Decimal::ONE });
        let budgets = self.budgets(&post.call, Self::shown(at, now));
        Ok(format!("{} [{budgets}]", said_posted(&priced.consumption, priced.flags)))
    }
}

impl Model {
    fn adjust(&mut self, adjust: &Adjust, now: i64) -> Result<String, &'static str> {
        if !["acme", "beta", "firm", "gone", "-"].contains(&adjust.call.tenant.as_str()) {
            return Err("unknown tenant");
        }
        let at = Some(adjust.occurred_at.timestamp()).filter(|at| *at <= now).ok_or("out of range")?;
        let (sign, what) = (adjust.direction.sign().into(), adjust.consumption);
        self.spent.push(Spent { call: adjust.call.clone(), at, what, sign });
        let budgets = self.budgets(&adjust.call, Self::shown(at, now));
        Ok(format!("{} [{budgets}]", said_posted(&adjust.consumption, Flags::NONE)))
    }
}

/// A hold that is asked for, with its output, or more of one that is there.
enum Asks<'a> {
    New(Tokens),
    More(&'a Hold),
}

/// What a rule keeps of a hold.
fn kept(rule: &Rule, hold: &Hold) -> Kept {
    let whole = [(rule.measure)(&hold.priced.consumption), Decimal::ZERO, Decimal::ZERO];
    hold.kept.get(rule.name).copied().unwrap_or(whole)
}

/// The same once it has grown: all that it grew by is held.
#[expect(clippy::arithmetic_side_effects, reason = "the numbers of the model are small")]
fn grown(rule: &Rule, hold: &Hold, priced: &Priced) -> Kept {
    let [held, aside, rest] = kept(rule, hold);
    [held + (rule.measure)(&priced.consumption) - (rule.measure)(&hold.priced.consumption), aside, rest]
}

pub(super) fn told(name: &str, posted: Decimal, held: Decimal, aside: Decimal) -> String {
    format!("{name} {}+{}~{}", posted.normalize(), held.normalize(), aside.normalize())
}

pub(super) fn said_posted(what: &Consumption, flags: Flags) -> String {
    let flags: Vec<_> = flags.names().collect();
    format!("posted {} tokens ${} {}", all_tokens(what), what.amounts.usd, flags.join(" "))
}
