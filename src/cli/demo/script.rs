//! Who makes which call of the trace, what it asks for, and how it ends. Pure: the same row always plays the same part.
//!
//! | part | what it shows |
//! |---|---|
//! | a run that fans out | four calls ask before any ends: the last are told to `wait`, and go once the first have settled |
//! | a careless call that takes a cap | asks for more than a run may cost, and is given less: `cap` |
//! | a careless call that takes none | is told to `stop` |
//! | a run that loops | spends its run's dollars and is told to `stop`: what it would have asked is never asked |

use super::cast::{CARELESS_MAX_OUTPUT, CODING_AGENT, FEATURES, Feature, Route};
use super::trace::{TraceCall, Workload};
use crate::wire::answer::UsageBuckets;
use crate::wire::budget::PriorityName;
use crate::wire::call::{EstimateBody, OutcomeName, PreflightBody, SettleBody};

/// How long most calls are held, in seconds.
const TTL_SECONDS: u32 = 120;
/// How long a stream that is still open at the end is held.
const OPEN_TTL_SECONDS: u32 = 1800;
/// How long a call that is settled too late is held.
pub(super) const LATE_TTL_SECONDS: u32 = 1;
/// The smallest answer that is worth having to somebody who waits for it.
const MIN_OUTPUT: u64 = 64;
/// Calls of the run that loops.
const LOOP_LENGTH: usize = 60;
/// Calls that ask at once in a run that fans out. Three of them fit what a run may cost.
pub(super) const FAN_OUT: usize = 4;

/// How a call ends, once it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// The provider answers; what it used is reported in our buckets.
    Buckets,
    /// The provider answers; its own usage object is passed on unchanged.
    ProviderUsage,
    /// No answer comes, and no usage.
    TimedOut,
    /// The provider refuses.
    Failed,
    /// The caller hangs up.
    Cancelled,
    /// The call is not made after all.
    Released,
    /// It is settled after its reservation has expired.
    Late,
    /// It has not ended when the replay does.
    Open,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    /// Its row, from 0.
    pub(super) number: usize,
    pub(super) feature: &'static Feature,
    pub(super) route: &'static Route,
    /// Prompt tokens it has.
    pub(super) context: u64,
    /// Of which a cache serves.
    pub(super) cached: u64,
    /// Tokens it generates, unless it is granted fewer.
    pub(super) generated: u64,
    /// The most it asks for.
    pub(super) max_output: u64,
    /// Prompt tokens it thinks it has.
    pub(super) estimated: u64,
    pub(super) allow_cap: bool,
    pub(super) ending: Ending,
    /// Whether its settlement is sent twice, as after a lost answer.
    pub(super) repeated: bool,
}

/// What one caller does in one go.
#[derive(Debug)]
pub(super) struct Job {
    /// The run it is, counted from 0.
    pub(super) run: Option<usize>,
    /// Whether the first [`FAN_OUT`] calls ask before any of them ends.
    pub(super) fans_out: bool,
    /// In order.
    pub(super) calls: Vec<Call>,
}

/// Numbers that look like chance and never change: the finalizer of `SplitMix64` (Steele, Lea and Flood 2014).
pub(super) fn mix(row: usize, salt: u64) -> u64 {
    let seed = u64::try_from(row).unwrap_or(0).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(salt);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

fn feature_of(row: usize, workload: Workload) -> Option<&'static Feature> {
    let takes_part = || FEATURES.iter().filter(|feature| feature.workload == workload);
    let shares: u64 = takes_part().map(|feature| feature.share).sum();
    let mut ticket = mix(row, 1).checked_rem(shares)?;
    for feature in takes_part() {
        match ticket.checked_sub(feature.share) {
            Some(left) => ticket = left,
            None => return Some(feature),
        }
    }
    None
}

fn ending_of(row: usize) -> Ending {
    match mix(row, 2) % 1000 {
        0..15 => Ending::TimedOut,
        15..27 => Ending::Failed,
        27..35 => Ending::Cancelled,
        35..50 => Ending::Released,
        50..54 => Ending::Late,
        54..60 => Ending::Open,
        60..560 => Ending::ProviderUsage,
        _ => Ending::Buckets,
    }
}

fn call(number: usize, traced: &TraceCall) -> Option<Call> {
    let feature = feature_of(number, traced.workload)?;
    let others = feature.routes.len() > 1 && mix(number, 3).is_multiple_of(3);
    let route = feature.routes.get(usize::from(others))?;
    let underestimated = mix(number, 4).is_multiple_of(50);
    let generated = traced.generated.min(feature.max_output);
    Some(Call {
        number,
        feature,
        route,
        context: traced.context,
        cached: if mix(number, 5).is_multiple_of(3) { traced.context / 2 } else { 0 },
        generated,
        max_output: if underestimated { generated } else { feature.max_output },
        estimated: if underestimated { traced.context.saturating_mul(4) / 5 } else { traced.context },
        allow_cap: feature.priority == "interactive",
        ending: ending_of(number),
        repeated: mix(number, 6).is_multiple_of(150),
    })
}

/// How long the run is that a feature's next call opens; none for a feature without an agent.
fn run_length(feature: &Feature, nth: usize) -> Option<usize> {
    let (_, length) = feature.agent?;
    Some(if feature.name == CODING_AGENT && nth == 6 { LOOP_LENGTH } else { length })
}

/// Gives a run of the coding agent its part.
fn direct(job: &mut Job, nth: usize) {
    let looping = job.calls.len() == LOOP_LENGTH;
    if nth % 8 == 3 {
        job.fans_out = true;
        for call in job.calls.iter_mut().take(FAN_OUT) {
            (call.ending, call.allow_cap) = (Ending::ProviderUsage, false);
            (call.max_output, call.estimated) = (call.feature.max_output, call.context);
        }
    } else if let Some(first) = job.calls.first_mut().filter(|_| !looping && nth % 4 == 1) {
        (first.max_output, first.estimated) = (CARELESS_MAX_OUTPUT, first.context);
        first.allow_cap = nth % 8 == 5;
    }
}

/// The whole replay, in the order of the trace.
pub(super) fn jobs(traced: &[TraceCall]) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut runs = 0;
    // One run at a time is open for each feature that has an agent: where it stands, and how many calls it still takes.
    let mut open = [const { None::<(usize, usize)> }; FEATURES.len()];
    let mut begun = [0_usize; FEATURES.len()];
    for (number, one) in traced.iter().enumerate() {
        let Some(call) = call(number, one) else { continue };
        let feature = FEATURES.iter().position(|feature| std::ptr::eq(feature, call.feature)).unwrap_or_default();
        let (Some(slot), Some(nth)) = (open.get_mut(feature), begun.get_mut(feature)) else { continue };
        let Some(length) = run_length(call.feature, *nth) else {
            jobs.push(Job { run: None, fans_out: false, calls: vec![call] });
            continue;
        };
        let (at, left) = slot.unwrap_or_else(|| {
            jobs.push(Job { run: Some(runs), fans_out: false, calls: Vec::new() });
            runs += 1;
            (jobs.len().saturating_sub(1), length)
        });
        let Some(job) = jobs.get_mut(at) else { continue };
        let coding = call.feature.name == CODING_AGENT;
        job.calls.push(call);
        *slot = Some((at, left.saturating_sub(1))).filter(|(_, left)| *left > 0);
        if slot.is_none() {
            if coding {
                direct(job, *nth);
            }
            *nth += 1;
        }
    }
    jobs
}

impl Call {
    /// What it asks. `session` tells the runs of one replay from those of another.
    pub(super) fn preflight(&self, run: Option<usize>, session: &str) -> PreflightBody {
        PreflightBody {
            tenant: self.feature.tenant.to_owned(),
            feature: self.feature.name.to_owned(),
            provider: self.route.provider.to_owned(),
            model: self.route.model.to_owned(),
            region: self.route.region.map(str::to_owned),
            service_tier: None,
            priority: match self.feature.priority {
                "interactive" => PriorityName::Interactive,
                "batch" => PriorityName::Batch,
                _ => PriorityName::Standard,
            },
            run: run.map(|run| format!("{session}-r{run}")),
            agent: self.feature.agent.map(|(agent, _)| agent.to_owned()),
            labels: std::collections::BTreeMap::new(),
            estimate: EstimateBody {
                input: self.estimated,
                cache_read: 0,
                cache_write_5m: 0,
                cache_write_1h: 0,
                max_output: self.max_output,
                min_output: self.allow_cap.then_some(MIN_OUTPUT.min(self.max_output)),
            },
            reserve: true,
            ttl_seconds: Some(match self.ending {
                Ending::Late => LATE_TTL_SECONDS,
                Ending::Open => OPEN_TTL_SECONDS,
                Ending::Buckets
                | Ending::ProviderUsage
                | Ending::TimedOut
                | Ending::Failed
                | Ending::Cancelled
                | Ending::Released => TTL_SECONDS,
            }),
            allow_cap: self.allow_cap,
        }
    }

    /// What it used, in the end; none when there is nothing to settle. `granted` is the largest output it was granted.
    pub(super) fn settlement(&self, granted: u64) -> Option<SettleBody> {
        let output = self.generated.min(granted);
        let body = SettleBody { latency_ms: u32::try_from(400 + output * 15).ok(), ..SettleBody::default() };
        let unanswered = |outcome| Some(SettleBody { outcome, ..SettleBody::default() });
        match self.ending {
            Ending::Buckets | Ending::Late => {
                let usage = UsageBuckets {
                    input: self.context.saturating_sub(self.cached),
                    cache_read: self.cached,
                    output,
                    ..UsageBuckets::default()
                };
                Some(SettleBody { usage: Some(usage), ..body })
            }
            Ending::ProviderUsage => {
                let usage = super::provider::usage(self.route.provider, self.context, self.cached, output);
                let id = Some(format!("demo-{}", self.number));
                Some(SettleBody { provider_usage: Some(usage), provider_request_id: id, ..body })
            }
            Ending::TimedOut => unanswered(OutcomeName::TimedOut),
            Ending::Failed => unanswered(OutcomeName::Failed),
            Ending::Cancelled => unanswered(OutcomeName::Cancelled),
            Ending::Released | Ending::Open => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::id::{ReservationId, TransferId};

    fn all() -> Vec<Job> {
        jobs(&super::super::trace::calls().unwrap())
    }

    #[test]
    fn every_call_of_the_trace_is_played_once() {
        let mut numbers: Vec<usize> = all().iter().flat_map(|job| &job.calls).map(|call| call.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..3132).collect::<Vec<_>>());
    }

    #[test]
    fn every_part_is_played() {
        let jobs = all();
        let mut endings = BTreeMap::new();
        for call in jobs.iter().flat_map(|job| &job.calls) {
            *endings.entry(call.ending).or_insert(0) += 1;
        }
        assert_eq!(endings.len(), 8, "{endings:?}");
        assert!(endings.values().all(|count| *count >= 8), "{endings:?}");
        assert!(jobs.iter().filter(|job| job.fans_out).count() >= 3);
        assert_eq!(jobs.iter().filter(|job| job.calls.len() == LOOP_LENGTH).count(), 1);
        let careless = |takes_cap: bool| {
            let calls = jobs.iter().flat_map(|job| &job.calls);
            calls.filter(|call| call.max_output == CARELESS_MAX_OUTPUT && call.allow_cap == takes_cap).count()
        };
        assert!(careless(true) >= 3 && careless(false) >= 3);
        let routes: std::collections::BTreeSet<_> =
            jobs.iter().flat_map(|job| &job.calls).map(|call| (call.route.provider, call.route.model)).collect();
        assert_eq!(routes.len(), FEATURES.iter().map(|feature| feature.routes.len()).sum::<usize>());
    }

    #[test]
    fn every_body_is_one_that_the_ledger_takes() {
        for job in all() {
            for call in &job.calls {
                call.preflight(job.run, "s").to_reserve(ReservationId(uuid::Uuid::nil())).unwrap();
                if let Some(settle) = call.settlement(call.max_output) {
                    let nil = uuid::Uuid::nil();
                    settle.to_settle(ReservationId(nil), None, TransferId(nil)).unwrap();
                }
            }
        }
    }
}
