//! Sending what the outbox holds: claim, send outside of any transaction, write down what came of it.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::super::{App, AppError};
use super::secrets::opened;
use crate::auth::seal::SealError;
use crate::courier::sign::signature;
use crate::courier::{Address, CourierError, Letter};
use crate::domain::alert::delivery::{DELIVERY_TIME_MAX, retry_wait};
use crate::domain::alert::endpoint::WebhookKey;
use crate::domain::alert::kind::AlertKind;
use crate::store::webhooks::{self as sql, Claimed, Failed, Shares, Target};
use crate::wire::alert::{EventBody, MessageBody};

/// How long a claimed event is nobody else's: longer than one attempt can take.
const CLAIM: TimeDelta = TimeDelta::seconds(60);
/// Most events on their way at once.
const AT_ONCE: usize = 32;
/// How they are shared.
const SHARES: Shares = Shares { tenant: 8, webhook: 4 };

/// What a delivery did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Events that were taken.
    pub delivered: usize,
    /// Attempts that failed.
    pub failed: usize,
}

impl App {
    /// Sends everything that is due, until nothing more is. Places are refilled as they come free, so that endpoints which hang
    /// hold back nobody; and whoever is woken meanwhile is served from those that are left.
    ///
    /// # Errors
    /// When the database does not answer. What an endpoint does is never an error.
    pub async fn deliver_events(&self) -> Result<Delivered, AppError> {
        let mut sum = Delivered::default();
        let mut under_way = FuturesUnordered::new();
        let mut wakes = self.events.subscribe();
        let mut awake = true;
        loop {
            let free = AT_ONCE.saturating_sub(under_way.len());
            if free > 0 {
                let limit = i64::try_from(free).unwrap_or(i64::MAX);
                let mut connection = self.pool.acquire().await?;
                let claimed =
                    sql::claim(&mut connection, self.seals.id(), self.clock.now(), CLAIM, SHARES, limit).await?;
                drop(connection);
                under_way.extend(claimed.into_iter().map(|one| self.deliver(one)));
            }
            if under_way.is_empty() {
                return Ok(sum);
            }
            tokio::select! {
                Some(taken) = under_way.next() => if taken? {
                    sum.delivered = sum.delivered.saturating_add(1);
                } else {
                    sum.failed = sum.failed.saturating_add(1);
                },
                woken = wakes.changed(), if awake => awake = woken.is_ok(),
            }
        }
    }

    /// Sends one event and writes down what came of it: whether it was taken.
    async fn deliver(&self, claimed: Claimed) -> Result<bool, AppError> {
        let kind = event_type(&claimed.event);
        // The clock is read for each attempt: receivers refuse what was signed long ago.
        let answer = self.send_event(&claimed.webhook, &claimed.target, &claimed.event, kind, self.clock.now()).await;
        let now = self.clock.now();
        let mut connection = self.pool.acquire().await?;
        match answer {
            Ok(status) => {
                sql::delivered(&mut connection, &claimed, status, now).await?;
                if claimed.is_probe {
                    tracing::info!(webhook = %claimed.webhook, "the endpoint took an event again, and is resumed");
                }
                Ok(true)
            }
            Err(error) => {
                let failed = failed(&claimed, &error, now);
                tracing::debug!(webhook = %claimed.webhook, %error, pause = failed.pause, "an event was not taken");
                if failed.pause && !claimed.is_probe {
                    tracing::warn!(webhook = %claimed.webhook, %error, "the endpoint is paused, and tried now and then");
                }
                sql::failed(&mut connection, &claimed, &failed, now).await?;
                Ok(false)
            }
        }
    }

    /// Signs an event and sends it.
    pub(super) async fn send_event(
        &self,
        webhook: &WebhookKey,
        target: &Target,
        event: &EventBody,
        kind: String,
        now: DateTime<Utc>,
    ) -> Result<u16, NotSent> {
        let address = Address::parse(&target.url).map_err(CourierError::Address)?;
        let secret = opened(&self.seals, webhook, &target.secret)?;
        let mut data = event.clone();
        self.show_names(target.tenant.as_ref(), &mut data);
        let message = MessageBody { kind, timestamp: event.occurred_at, data };
        // Texts, counts and instants can always be written.
        let body = Bytes::from(serde_json::to_vec(&message).unwrap_or_default());
        let (id, timestamp) = (event.id.to_string(), now.timestamp());
        let signature = signature(secret.bytes(), &id, timestamp, &body);
        Ok(self.courier.send(&address, &Letter { id, timestamp, signature, body }).await?)
    }
}

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSent {
    /// It did not arrive, or was refused.
    #[error(transparent)]
    Courier(#[from] CourierError),
    /// It cannot be signed.
    #[error(transparent)]
    Secret(#[from] SealError),
}

impl NotSent {
    /// What a tenant is told of it.
    pub(super) fn for_tenant(&self) -> String {
        match self {
            Self::Courier(error) => error.for_tenant(),
            Self::Secret(_) => self.to_string(),
        }
    }

    /// The status, if there was an answer.
    pub(super) const fn status(&self) -> Option<u16> {
        match self {
            Self::Courier(error) => error.status(),
            Self::Secret(_) => None,
        }
    }
}

/// The `type` of a message.
fn event_type(event: &EventBody) -> String {
    format!("{}.{}", AlertKind::from(event.kind).name(), event.status.name())
}

/// What becomes of an event that was not taken.
fn failed(claimed: &Claimed, error: &NotSent, now: DateTime<Utc>) -> Failed {
    let health = claimed.health.failed(now);
    let late = now.signed_duration_since(claimed.tried_since) >= DELIVERY_TIME_MAX;
    let pause = claimed.is_probe || health.is_hopeless(now, error.status());
    let seed = claimed.event.id.as_u64_pair();
    let wait = retry_wait(claimed.attempts, seed.0 ^ seed.1);
    // A paused endpoint keeps what waits for it: it takes a probe some day, or somebody resumes or removes it.
    let next_attempt_at = if late && !pause { None } else { now.checked_add_signed(wait) };
    let text = if claimed.target.tenant.is_some() { error.for_tenant() } else { error.to_string() };
    Failed { status: error.status(), error: text, next_attempt_at, pause }
}
