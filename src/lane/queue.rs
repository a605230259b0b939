//! Where commands wait: [`Turns`] between many senders and one lane.
//!
//! A lock that is held for a few instructions and never across a wait, and a bell. The lane ends when the last sender is gone
//! and nothing waits; senders learn at once when the lane has ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::LaneError;
use super::turns::{Full, Party, Taken, Turns};
use crate::domain::ledger::command::{Action, Command};
use crate::domain::ledger::outcome::Answer;

/// A command, and who waits for its answer.
pub(super) struct Envelope {
    pub(super) command: Command,
    pub(super) reply: oneshot::Sender<Result<Answer, LaneError>>,
}

/// Whose turn a command takes.
pub(super) fn party(action: &Action) -> Party {
    action.tenant().map_or(Party::Platform, |tenant| Party::Tenant(tenant.clone()))
}

struct State {
    turns: Turns<Envelope>,
    /// No sender is left.
    closed: bool,
    /// The lane has ended.
    ended: bool,
}

struct Shared {
    state: Mutex<State>,
    bell: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way in.
pub(super) struct Sender(Arc<Shared>);

/// The way out. When it is dropped whoever waits is told that the lane has ended.
pub(super) struct Receiver(Arc<Shared>);

/// A bulk request under way. Dropped, it has ended.
pub(super) struct BulkRequest<'a> {
    sender: &'a Sender,
    party: Party,
}

/// A queue with so many places for single commands.
pub(super) fn queue(singles_max: usize) -> (Sender, Receiver) {
    let state = State { turns: Turns::new(singles_max), closed: false, ended: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), bell: Notify::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl Sender {
    /// A command that came alone.
    pub(super) fn send(&self, envelope: Envelope) -> Result<(), LaneError> {
        let displaced = {
            let mut state = self.0.lock();
            if state.ended {
                return Err(LaneError::Stopping);
            }
            state.turns.push(party(&envelope.command.action), envelope).map_err(|Full| LaneError::Overloaded)?
        };
        self.0.bell.notify_one();
        if let Some(displaced) = displaced {
            super::count_overloaded();
            let _gone = displaced.reply.send(Err(LaneError::Overloaded));
        }
        Ok(())
    }

    /// Begins a bulk request: of one tenant if all its commands are, else of the platform, which alone may send such.
    pub(super) fn begin_bulk(&self, commands: &[Command]) -> Result<BulkRequest<'_>, LaneError> {
        let mut parties = commands.iter().map(|command| party(&command.action));
        let first = parties.next().unwrap_or(Party::Platform);
        let party = if parties.all(|other| other == first) { first } else { Party::Platform };
        self.0.lock().turns.begin_bulk(&party).map_err(|Full| LaneError::Overloaded)?;
        Ok(BulkRequest { sender: self, party })
    }

    pub(super) fn queued(&self) -> usize {
        self.0.lock().turns.len()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.bell.notify_one();
    }
}

impl BulkRequest<'_> {
    /// Sends some of its commands. If the lane has ended they are dropped, and with them their replies.
    pub(super) fn send(&self, envelopes: Vec<Envelope>) {
        {
            let mut state = self.sender.0.lock();
            if state.ended {
                return;
            }
            for envelope in envelopes {
                state.turns.push_bulk(party(&envelope.command.action), envelope);
            }
        }
        self.sender.0.bell.notify_one();
    }
}

impl Drop for BulkRequest<'_> {
    fn drop(&mut self) {
        self.sender.0.lock().turns.end_bulk(&self.party);
    }
}

impl Receiver {
    /// Up to so many commands, in turn, as soon as there is one. None when no more will come. May be dropped while it waits.
    pub(super) async fn take(&self, max: usize) -> Option<Taken<Envelope>> {
        loop {
            {
                let mut state = self.0.lock();
                if let Some(taken) = state.turns.take(max) {
                    return Some(taken);
                }
                if state.closed {
                    return None;
                }
            }
            self.0.bell.notified().await;
        }
    }

    /// Puts back commands of one party that were not decided: see [`Turns::set_aside`].
    pub(super) fn set_aside(&self, party: &Party, envelopes: Vec<Envelope>) {
        self.0.lock().turns.set_aside(party, envelopes);
    }

    /// The database refused a command of this party.
    pub(super) fn distrust(&self, party: &Party) {
        self.0.lock().turns.distrust(party);
    }

    /// Commands of these parties were decided on so many counters each.
    pub(super) fn weigh(&self, counters: impl Iterator<Item = (Party, usize)>) {
        let mut state = self.0.lock();
        counters.for_each(|(party, counters)| state.turns.weigh(party, counters));
    }

    /// Commands of this party were written.
    pub(super) fn trust(&self, party: &Party) {
        self.0.lock().turns.trust(party);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        state.turns.clear();
    }
}
