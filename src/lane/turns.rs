//! Who is next: waiting commands of many parties, taken in turn.
//!
//! A party is a tenant, or the platform where the tenant of a command is not known before it is decided. Each has a queue of
//! its own, and those that wait stand in a ring:
//!
//! - the first of the ring gives up to a turn's worth of commands ([`TURN`]) and goes to the end, so that between two turns of
//!   a party every other party that waits has one, however much any of them has sent;
//! - a turn that is cut short because the batch is full goes on in the next batch;
//! - within a party single commands come before those of bulk requests, of which every [`BULK_SHARE`]th place is kept, so
//!   that neither starves the other; each of the two keeps its order;
//! - single commands are bounded in all. A party alone may take all places; when none is left, a party that has fewer takes
//!   the place of the newest command of the party that has most;
//! - bulk requests are bounded for each party and in all; each has at most one batch waiting.
//!
//! Commands on which many counters are decided weigh more: what fills a turn and a batch is their weight, as it was when the
//! party last had a turn. So a tenant that makes itself hundreds of budgets is served more slowly, and makes no batch slow for
//! the others.
//!
//! A party whose commands the database refused is *distrusted*: its commands come apart from those of others, one in the
//! first batch and twice as many after each success. So commands that cannot be written cost the others one attempt per
//! batch, and those that stand beside them are found by ever smaller attempts.

use std::collections::{HashMap, VecDeque};

use super::{BATCH_MAX, BULK_REQUESTS_MAX, BULK_REQUESTS_PER_TENANT_MAX};
use crate::domain::id::TenantId;

/// Commands of one turn of a tenant.
const TURN: usize = 16;
/// Commands of one turn of the platform: endings of the reservations of all tenants, which make room for everybody.
const PLATFORM_TURN: usize = BATCH_MAX / 2;
/// One place in so many of a party is kept for its bulk requests.
const BULK_SHARE: usize = 8;
/// Most parties that are remembered to be distrusted, or to weigh more than others. Beyond it all are forgotten.
const REMEMBERED_MAX: usize = 1024;
/// A command on so many counters, and on each so many more, weighs as much as another one.
const COUNTERS_WEIGHED: usize = 16;

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Party {
    /// Commands of a credential for all tenants whose own tenant is not known before they are decided.
    Platform,
    /// Commands for a tenant, whoever sends them.
    Tenant(TenantId),
}

/// There is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// What is decided next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken<T> {
    /// In one transaction.
    pub(super) together: Vec<T>,
    /// Each in a transaction of its own, after those together: the commands of parties that are distrusted.
    pub(super) apart: Vec<(Party, Vec<T>)>,
    /// What the commands weigh in all.
    pub(super) places: usize,
    /// Whether they are of several parties.
    pub(super) is_shared: bool,
}

/// The waiting commands of one party.
#[derive(Debug)]
struct Queue<T> {
    /// Taken before, and given back undecided.
    returned: VecDeque<T>,
    single: VecDeque<T>,
    bulk: VecDeque<T>,
    /// How many single commands were taken since the last one of bulk.
    since_bulk: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { returned: VecDeque::new(), single: VecDeque::new(), bulk: VecDeque::new(), since_bulk: 0 }
    }
}

impl<T> Queue<T> {
    fn len(&self) -> usize {
        self.returned.len().saturating_add(self.single.len()).saturating_add(self.bulk.len())
    }

    /// The next one, and whether it was a single command.
    fn pop(&mut self) -> Option<(T, bool)> {
        if let Some(returned) = self.returned.pop_front() {
            return Some((returned, false));
        }
        let is_turn_of_bulk = self.since_bulk.saturating_add(1) >= BULK_SHARE && !self.bulk.is_empty();
        if !is_turn_of_bulk && let Some(single) = self.single.pop_front() {
            self.since_bulk = self.since_bulk.saturating_add(1);
            return Some((single, true));
        }
        self.since_bulk = 0;
        self.bulk.pop_front().map(|bulk| (bulk, false))
    }
}

/// All that wait.
#[derive(Debug)]
pub(super) struct Turns<T> {
    queues: HashMap<Party, Queue<T>>,
    /// The parties that wait, the next one first. Each is here once.
    ring: VecDeque<Party>,
    /// What is left of the turn of the first, where a batch was full before it ended.
    left: Option<usize>,
    /// Commands of single requests that wait, and the most that may.
    singles: usize,
    singles_max: usize,
    waiting: usize,
    /// Bulk requests under way, by party.
    requests: HashMap<Party, usize>,
    requests_in_all: usize,
    /// The parties that are distrusted, and how many of their commands the next batch takes.
    distrusted: HashMap<Party, usize>,
    /// How much a command of a party weighs, where that is more than one.
    weights: HashMap<Party, usize>,
}

impl<T> Turns<T> {
    pub(super) fn new(singles_max: usize) -> Self {
        Self {
            queues: HashMap::new(),
            ring: VecDeque::new(),
            left: None,
            singles: 0,
            singles_max,
            waiting: 0,
            requests: HashMap::new(),
            requests_in_all: 0,
            distrusted: HashMap::new(),
            weights: HashMap::new(),
        }
    }

    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.waiting
    }

    /// A command that came alone. Gives back another one that has to make place for it, if one has.
    ///
    /// # Errors
    /// When all places are taken, and no party has more of them than this one.
    pub(super) fn push(&mut self, party: Party, command: T) -> Result<Option<T>, Full> {
        let displaced = if self.singles < self.singles_max { None } else { Some(self.displace(&party)?) };
        self.queue(party).single.push_back(command);
        self.singles = self.singles.saturating_add(1);
        self.waiting = self.waiting.saturating_add(1);
        Ok(displaced)
    }

    /// Takes the newest command of the party that has most, if that is more than `party` will have.
    fn displace(&mut self, party: &Party) -> Result<T, Full> {
        let own = self.queues.get(party).map_or(0, |queue| queue.single.len());
        let longest = self.queues.values_mut().max_by_key(|queue| queue.single.len()).ok_or(Full)?;
        if longest.single.len() <= own.saturating_add(1) {
            return Err(Full);
        }
        // It had two at least, so that it keeps its place in the ring.
        let displaced = longest.single.pop_back().ok_or(Full)?;
        self.singles = self.singles.saturating_sub(1);
        self.waiting = self.waiting.saturating_sub(1);
        Ok(displaced)
    }

    /// Registers a bulk request, whose commands may then be pushed.
    ///
    /// # Errors
    /// When the party has as many as it may, or all have and it has one already.
    pub(super) fn begin_bulk(&mut self, party: &Party) -> Result<(), Full> {
        let own = self.requests.get(party).copied().unwrap_or(0);
        if own >= BULK_REQUESTS_PER_TENANT_MAX || (own > 0 && self.requests_in_all >= BULK_REQUESTS_MAX) {
            return Err(Full);
        }
        self.requests.insert(party.clone(), own.saturating_add(1));
        self.requests_in_all = self.requests_in_all.saturating_add(1);
        Ok(())
    }

    /// A bulk request has ended.
    pub(super) fn end_bulk(&mut self, party: &Party) {
        let Some(own) = self.requests.get_mut(party) else { return };
        *own = own.saturating_sub(1);
        self.requests_in_all = self.requests_in_all.saturating_sub(1);
        if *own == 0 {
            self.requests.remove(party);
        }
    }

    /// A command of a bulk request. It is its request that is bounded.
    pub(super) fn push_bulk(&mut self, party: Party, command: T) {
        self.queue(party).bulk.push_back(command);
        self.waiting = self.waiting.saturating_add(1);
    }

    fn queue(&mut self, party: Party) -> &mut Queue<T> {
        let ring = &mut self.ring;
        self.queues.entry(party).or_insert_with_key(|party| {
            ring.push_back(party.clone());
            Queue::default()
        })
    }

    /// Up to so many, in turn; none if nothing waits.
    pub(super) fn take(&mut self, max: usize) -> Option<Taken<T>> {
        if self.waiting == 0 {
            return None;
        }
        let together = Vec::with_capacity(max.min(self.waiting));
        let mut taken = Taken { together, apart: Vec::new(), places: 0, is_shared: false };
        let mut first = None;
        let mut room = max;
        // A party that is distrusted has one turn in a batch.
        let mut had_theirs = Vec::new();
        while room > 0
            && let Some(party) = self.ring.pop_front()
        {
            let distrusted = self.distrusted.get(&party).copied();
            let turn = match (self.left.take(), distrusted, &party) {
                (Some(left), _, _) => left,
                (None, Some(few), _) => few,
                (None, None, Party::Platform) => PLATFORM_TURN,
                (None, None, Party::Tenant(_)) => TURN,
            };
            let Some(queue) = self.queues.get_mut(&party) else { continue };
            let weight = self.weights.get(&party).copied().unwrap_or(1);
            let weighed = |places: usize| places.checked_div(weight).unwrap_or(places);
            // However much one weighs, each turn has one.
            let in_turn = weighed(turn).max(1);
            let count = in_turn.min(weighed(room).max(1)).min(queue.len());
            let mut own = Vec::new();
            let into = if distrusted.is_some() { &mut own } else { &mut taken.together };
            for (command, was_single) in std::iter::from_fn(|| queue.pop()).take(count) {
                self.singles = self.singles.saturating_sub(usize::from(was_single));
                into.push(command);
            }
            taken.places = taken.places.saturating_add(count.saturating_mul(weight));
            taken.is_shared |= *first.get_or_insert_with(|| party.clone()) != party;
            self.waiting = self.waiting.saturating_sub(count);
            room = room.saturating_sub(count.saturating_mul(weight));
            if queue.len() == 0 {
                self.queues.remove(&party);
            } else if distrusted.is_some() {
                had_theirs.push(party.clone());
            } else if count < in_turn {
                self.left = Some(turn.saturating_sub(count.saturating_mul(weight)));
                self.ring.push_front(party.clone());
            } else {
                self.ring.push_back(party.clone());
            }
            if distrusted.is_some() {
                taken.apart.push((party, own));
            }
        }
        self.ring.extend(had_theirs);
        Some(taken)
    }

    /// Puts back what was taken and not decided, before everything else of its party, and distrusts the party.
    pub(super) fn set_aside(&mut self, party: &Party, commands: Vec<T>) {
        self.distrust(party);
        self.waiting = self.waiting.saturating_add(commands.len());
        let returned = &mut self.queue(party.clone()).returned;
        for command in commands.into_iter().rev() {
            returned.push_front(command);
        }
    }

    /// The database refused a command of this party.
    pub(super) fn distrust(&mut self, party: &Party) {
        if self.distrusted.len() >= REMEMBERED_MAX {
            self.distrusted.clear();
        }
        self.distrusted.insert(party.clone(), 1);
        if self.ring.front() == Some(party) {
            self.left = None;
        }
    }

    /// Commands of this party were written.
    pub(super) fn trust(&mut self, party: &Party) {
        if let Some(few) = self.distrusted.get_mut(party) {
            *few = few.saturating_mul(2);
            if *few > BATCH_MAX {
                self.distrusted.remove(party);
            }
        }
    }

    /// How many counters a command of this party was decided on, in the mean of those of its last turn.
    pub(super) fn weigh(&mut self, party: Party, counters: usize) {
        let weight = counters.div_euclid(COUNTERS_WEIGHED).saturating_add(1);
        if weight == 1 {
            self.weights.remove(&party);
            return;
        }
        if self.weights.len() >= REMEMBERED_MAX {
            self.weights.clear();
        }
        self.weights.insert(party, weight);
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.singles_max);
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
