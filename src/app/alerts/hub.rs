//! How a replica hears that there are new events: one notification of the database for each evaluation, one listener for
//! each replica, and everybody here who waits.

use std::sync::Arc;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::places::{Bounds, Places};
use crate::store::StoreError;
use crate::store::alerts::CHANNEL;

/// Most streams of events of one replica.
pub const STREAMS_MAX: usize = 256;
/// Most streams of one tenant, or of the platform.
pub const STREAMS_EACH_MAX: usize = 64;
/// Streams that are left to those who have none.
const STREAMS_KEPT: usize = 32;

/// What waiters are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// There may be new events. Counts.
    Look(u64),
    /// The service stops.
    Stop,
}

/// Wakes whoever waits for events on this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventHub {
    sender: Arc<watch::Sender<Wake>>,
    /// A place for each stream.
    pub streams: Places,
}

impl Default for EventHub {
    fn default() -> Self {
        let bounds = Bounds { all: STREAMS_MAX, each: STREAMS_EACH_MAX, kept: STREAMS_KEPT };
        Self { sender: Arc::new(watch::Sender::new(Wake::Look(0))), streams: Places::new(bounds) }
    }
}

impl EventHub {
    /// Says that there may be new events.
    pub fn wake(&self) {
        self.sender.send_modify(|wake| {
            if let Wake::Look(count) = wake {
                *wake = Wake::Look(count.wrapping_add(1));
            }
        });
    }

    /// Says that the service stops: every stream ends.
    pub fn close(&self) {
        self.sender.send_replace(Wake::Stop);
    }

    /// Waits for news from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Wake> {
        self.sender.subscribe()
    }

    /// Listens to the database until it is told to stop. A listener that lost its connection finds it again by itself, and
    /// wakes everybody then, because it may have missed something.
    ///
    /// # Errors
    /// When the database does not answer at first.
    pub async fn listen(&self, pool: &PgPool, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        self.wake();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                heard = listener.try_recv() => {
                    // None: the connection was lost and is there again.
                    drop(heard?);
                    self.wake();
                }
            }
        }
    }
}
