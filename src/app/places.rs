//! Places that tenants share: of exports, of streams, of reads. What one takes, however much it asks for, leaves some for the
//! others.
//!
//! Invariants: no more places are taken than there are, and no more by one party than it may; the last ones are kept for
//! parties that have none; who waits is served in turn by party, and within a party in the order of asking; a place that is
//! dropped is free.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::domain::id::TenantId;

/// How many places there are, and who may have how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of all together.
    pub all: usize,
    /// Of one tenant, or of the platform.
    pub each: usize,
    /// So many places are left to those who have none.
    pub kept: usize,
}

/// Whose place it is: a tenant's, or the platform's.
type Party = Option<TenantId>;

#[derive(Debug, Default)]
struct State {
    taken: HashMap<Party, usize>,
    taken_in_all: usize,
    /// Who waits; never empty.
    waiting: HashMap<Party, VecDeque<oneshot::Sender<Place>>>,
    /// The parties that wait, the next one first.
    ring: VecDeque<Party>,
}

#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    state: Mutex<State>,
}

/// The places. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Places(Arc<Shared>);

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub struct Place {
    shared: Arc<Shared>,
    party: Party,
}

impl State {
    fn may_have(&self, party: &Party, bounds: Bounds) -> bool {
        let own = self.taken.get(party).copied().unwrap_or(0);
        let free = bounds.all.saturating_sub(self.taken_in_all);
        own < bounds.each && free > if own == 0 { 0 } else { bounds.kept }
    }

    fn take(&mut self, party: &Party) {
        let own = self.taken.entry(party.clone()).or_default();
        *own = own.saturating_add(1);
        self.taken_in_all = self.taken_in_all.saturating_add(1);
    }

    fn give_back(&mut self, party: &Party) {
        if let Some(own) = self.taken.get_mut(party) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.taken.remove(party);
            }
            self.taken_in_all = self.taken_in_all.saturating_sub(1);
        }
    }

    /// The next one that may have a place and still waits for it; the place is taken.
    fn next(&mut self, bounds: Bounds) -> Option<(Party, oneshot::Sender<Place>)> {
        for _ in 0..self.ring.len() {
            let party = self.ring.pop_front()?;
            let Some(queue) = self.waiting.get_mut(&party) else { continue };
            queue.retain(|waiting| !waiting.is_closed());
            if queue.is_empty() {
                self.waiting.remove(&party);
                continue;
            }
            if !self.may_have(&party, bounds) {
                self.ring.push_back(party);
                continue;
            }
            let next = self.waiting.get_mut(&party).and_then(VecDeque::pop_front)?;
            if self.waiting.get(&party).is_some_and(VecDeque::is_empty) {
                self.waiting.remove(&party);
            } else {
                self.ring.push_back(party.clone());
            }
            self.take(&party);
            return Some((party, next));
        }
        None
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives free places to those who wait.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let next = self.lock().next(self.bounds);
            let Some((party, waiting)) = next else { return };
            // One that has gone away meanwhile drops its place, and that comes back to here.
            let _gone = waiting.send(Place { shared: Arc::clone(self), party });
        }
    }
}

impl Places {
    /// So many, and all of them free.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Shared { bounds, state: Mutex::default() }))
    }

    /// A place now, or none. Those who wait go first.
    #[must_use]
    pub fn try_take(&self, party: Option<&TenantId>) -> Option<Place> {
        let party = party.cloned();
        let mut state = self.0.lock();
        if state.waiting.contains_key(&party) || !state.may_have(&party, self.0.bounds) {
            return None;
        }
        state.take(&party);
        Some(Place { shared: Arc::clone(&self.0), party })
    }

    /// Waits for a place. None when there will be none.
    pub async fn take(&self, party: Option<&TenantId>) -> Option<Place> {
        if let Some(place) = self.try_take(party) {
            return Some(place);
        }
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.0.lock();
            let party = party.cloned();
            if !state.waiting.contains_key(&party) {
                state.ring.push_back(party.clone());
            }
            state.waiting.entry(party).or_default().push_back(sender);
        }
        // One may have become free in between.
        self.0.hand_out();
        receiver.await.ok()
    }

    /// Whether a party has a place.
    #[must_use]
    pub fn has_one(&self, party: Option<&TenantId>) -> bool {
        self.0.lock().taken.contains_key(&party.cloned())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().give_back(&self.party);
        self.shared.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Option<TenantId> {
        TenantId::parse(name).ok()
    }

    fn places(all: usize, each: usize, kept: usize) -> Places {
        Places::new(Bounds { all, each, kept })
    }

    #[test]
    fn the_last_places_are_kept_for_those_who_have_none() {
        let places = places(5, 4, 2);
        let take = |party: &Option<TenantId>| places.try_take(party.as_ref());
        let (acme, bolt, carol) = (tenant("acme"), tenant("bolt"), tenant("carol"));
        let mut of_acme: Vec<_> = std::iter::from_fn(|| take(&acme)).collect();
        assert_eq!(of_acme.len(), 3, "two are kept");
        let (_of_bolt, _of_platform) = (take(&bolt).unwrap(), take(&None).unwrap());
        assert!(take(&carol).is_none(), "there is none left");
        of_acme.pop();
        assert!(take(&acme).is_none() && take(&bolt).is_none(), "they have some");
        assert!(take(&carol).is_some());
    }

    #[test]
    fn one_party_has_as_many_as_it_may_and_no_more() {
        let places = places(10, 3, 0);
        let taken: Vec<_> = std::iter::from_fn(|| places.try_take(None)).collect();
        assert_eq!(taken.len(), 3);
        drop(taken);
        assert!(places.try_take(None).is_some());
    }

    #[tokio::test]
    async fn those_who_wait_are_served_in_turn_and_those_who_have_gone_are_passed_over() {
        let places = places(1, 1, 0);
        let first = places.try_take(None).unwrap();
        let mut waiting = Vec::new();
        let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
        for (name, asks) in [("acme", 3), ("bolt", 2)] {
            for number in 0..asks {
                let (places, told) = (places.clone(), told.clone());
                waiting.push(tokio::spawn(async move {
                    let place = places.take(tenant(name).as_ref()).await;
                    told.send(format!("{name}{number}")).unwrap();
                    drop(place);
                }));
                tokio::task::yield_now().await;
            }
        }
        // The first of bolt's does not wait any longer.
        waiting[3].abort();
        tokio::task::yield_now().await;
        drop(first);
        let mut served = Vec::new();
        for _ in 0..4 {
            served.push(order.recv().await.unwrap());
        }
        assert_eq!(served, ["acme0", "bolt1", "acme1", "acme2"]);
    }
}
