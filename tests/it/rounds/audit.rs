//! What was granted, added up by somebody who has never heard of counters: no grant went past a limit.
//!
//! Each grant is looked at as of when it was decided, by what is certain: what others had surely been granted before it was
//! asked for and had surely not ended when it was answered, and what had surely been posted. With that it must be within the
//! limit of each budget whose version is certain.

use std::collections::BTreeMap;

use sqlx::Row;

use super::world::{Call, Log, Shape, Version, World};

/// What the audit found.
#[derive(Default)]
pub(super) struct Checked {
    /// Grants that went past a limit.
    pub(super) passed: Vec<String>,
    /// How many pairs of a grant and a budget were looked at.
    pub(super) grants: u64,
    /// How many of them left no room for a call of the usual size.
    pub(super) full: u64,
}

/// Something that takes room of budgets, from one event to another.
struct Taken<'a> {
    call: &'a Call,
    at: i64,
    amount: i64,
    /// Surely from this event on …
    from: u64,
    /// … until this one,
    until: u64,
    /// and as long as every clock says less than this: the replica that is ahead ends what the other one would still hold.
    expires_at: i64,
}

/// What was granted between two events.
struct Granted<'a> {
    call: &'a Call,
    at: i64,
    amount: i64,
    began: u64,
    ended: u64,
    id: &'a str,
    /// The latest that any clock said by then.
    clock: i64,
    /// When the call was granted that grew; none if it is new.
    was_at: Option<i64>,
}

pub(super) async fn check(world: &World) -> Checked {
    // Where a reservation is counted that an extension moved: nothing else is read from the books.
    let rows = sqlx::query(
        "select id::text, (extract(epoch from held_at) * 1000000)::bigint from reservations where held_at is not null",
    )
    .fetch_all(world.service.db.pool())
    .await
    .unwrap();
    let moved: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    check_log(&world.log(), &moved)
}

/// The same, of a log.
pub(super) fn check_log(log: &Log, moved: &BTreeMap<String, i64>) -> Checked {
    let (granted, taken) = read(log, moved);
    let mut checked = Checked::default();
    for one in &granted {
        for version in log.versions.iter().filter(|version| is_in_force(log, version, one)) {
            let shape = &version.shape;
            let Some(key) = key(shape, one.call) else { continue };
            // What grows is no more calls than before where it was counted already, and is granted there whatever is left.
            if shape.requests && one.was_at.is_some_and(|was_at| shape.window.may_hold(was_at, one.at)) {
                continue;
            }
            let counts = |other: &&Taken<'_>| {
                other.from < one.began
                    && other.until > one.ended
                    && one.clock < other.expires_at
                    && self::key(shape, other.call).as_ref() == Some(&key)
                    && shape.window.holds(other.at, one.at)
            };
            let size = |amount: i64| if shape.requests { 1 } else { amount };
            let before: i64 = taken.iter().filter(counts).map(|other| size(other.amount)).sum();
            let sum = before + size(one.amount);
            checked.grants += 1;
            checked.full += u64::from(sum + if shape.requests { 1 } else { 30 } > version.limit);
            if sum > version.limit {
                checked.passed.push(format!(
                    "{} {key}: {} went to {sum} of {} at {}, before at {:?}, {shape:?}",
                    version.budget, one.id, version.limit, one.at, one.was_at
                ));
            }
        }
    }
    checked
}

/// What was granted, and what took room.
fn read<'a>(log: &'a Log, moved: &BTreeMap<String, i64>) -> (Vec<Granted<'a>>, Vec<Taken<'a>>) {
    // A month that was closed takes nothing more, and what belongs there is counted elsewhere.
    let is_open = |at: i64| log.closed_until.is_none_or(|closed| at >= closed);
    let (mut granted, mut taken) = (Vec::new(), Vec::new());
    for (id, grant) in &log.grants {
        let Call { at, amount, .. } = grant.call;
        let (call, id) = (&grant.call, id.as_str());
        let ends: Vec<_> = log.ends.iter().filter(|end| end.id == id).collect();
        let growths: Vec<_> = log.growths.iter().filter(|growth| growth.id == id).collect();
        let over = ends.iter().map(|end| end.began).min().unwrap_or(u64::MAX);
        let grew = growths.iter().map(|growth| growth.began).min().unwrap_or(u64::MAX);
        let mut held_at = Some(at).filter(|_| growths.is_empty());
        if is_open(at) {
            let (began, ended, clock) = (grant.began, grant.ended, grant.clock);
            granted.push(Granted { call, at, amount, began, ended, id, clock, was_at: None });
            let until = over.min(grew);
            taken.push(Taken { call, at, amount, from: ended, until, expires_at: grant.expires_at });
        }
        // Of a reservation that grew once, and moved by it, everything is known.
        if let ([growth], Some(moved_at)) = (&growths[..], moved.get(id)) {
            let amount = amount + growth.more;
            if growth.allowed && is_open(*moved_at) {
                let (began, ended, clock) = (growth.began, growth.ended, growth.clock);
                let (at, was_at) = (*moved_at, Some(at));
                granted.push(Granted { call, at, amount, began, ended, id, clock, was_at });
                let expires_at = grant.expires_at;
                taken.push(Taken { call, at, amount, from: growth.ended, until: over, expires_at });
                held_at = Some(at);
            }
        }
        // What was settled is counted where it was held.
        for end in ends.iter().filter(|end| end.posted.is_some()) {
            if let Some(at) = held_at.filter(|at| is_open(*at)) {
                let amount = end.posted.unwrap();
                taken.push(Taken { call, at, amount, from: end.ended, until: u64::MAX, expires_at: i64::MAX });
            }
        }
    }
    for (ended, call) in log.posts.iter().filter(|(_, call)| is_open(call.at)) {
        let Call { at, amount, .. } = *call;
        taken.push(Taken { call, at, amount, from: *ended, until: u64::MAX, expires_at: i64::MAX });
    }
    (granted, taken)
}

/// Whether nothing but this version of its budget can have decided on a grant.
fn is_in_force(log: &Log, version: &Version, one: &Granted<'_>) -> bool {
    let of_budget = || log.versions.iter().filter(|other| other.budget == version.budget);
    let next = of_budget().map(|other| other.began).filter(|began| *began > version.began).min();
    version.ended < one.began && next.is_none_or(|next| next > one.ended)
}

/// What a budget counts a call by; none if it does not.
fn key(shape: &Shape, call: &Call) -> Option<String> {
    if shape.tenant.is_some_and(|tenant| tenant != call.tenant) {
        return None;
    }
    Some(match shape.each {
        None => String::new(),
        Some("tenant") => call.tenant.to_owned(),
        Some("feature") => format!("{}/{}", call.tenant, call.feature),
        Some("run") => format!("{}/{}", call.tenant, call.run),
        Some(other) => panic!("{other}"),
    })
}
