//! A reservation, as JSON.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::answer::{AmountsBody, UsageBuckets};
use super::said::SaidAsBody;
use crate::domain::ledger::reservation::Reservation;

/// A pending transfer, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReservationBody {
    /// Its id.
    pub reservation: Uuid,
    /// `open`, `settled`, `released` or `expired`. One whose time has passed is expired, whether or not that was written down.
    pub state: String,
    /// Whose call it is.
    pub tenant: String,
    /// What it is for.
    pub feature: String,
    /// Who serves it, by its one name.
    pub provider: String,
    /// With what, by its one name.
    pub model: String,
    /// What was said of them, where that is another spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub said_as: Option<SaidAsBody>,
    /// Where, if known.
    pub region: Option<String>,
    /// The agent's task.
    pub run: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The caller's own labels.
    pub labels: BTreeMap<String, String>,
    /// How urgent.
    pub priority: String,
    /// The buckets that are held; `output` is the most it may generate.
    pub usage: UsageBuckets,
    /// The whole estimate. A budget that holds less of it by its `reserve` says so in its own numbers.
    pub held: AmountsBody,
    /// What is remarkable about it.
    pub flags: Vec<String>,
    /// When it was granted.
    pub granted_at: DateTime<Utc>,
    /// The instant whose periods it is counted in: that of the grant, or of the extension that took more output after a period
    /// had turned.
    pub held_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The transfer that settled it, in time or late.
    pub transfer: Option<Uuid>,
}

impl ReservationBody {
    /// As it stands at an instant.
    #[must_use]
    pub fn of(reservation: &Reservation, now: DateTime<Utc>) -> Self {
        let call = &reservation.call;
        let state = reservation.state_at(now);
        let ended_by_clock = (state != reservation.state).then_some(reservation.expires_at);
        Self {
            reservation: reservation.id.0,
            state: state.name().to_owned(),
            tenant: call.tenant.to_string(),
            feature: call.feature.to_string(),
            provider: call.provider.to_string(),
            model: call.model.to_string(),
            said_as: SaidAsBody::of(call),
            region: call.region.as_ref().map(ToString::to_string),
            run: call.run.as_ref().map(ToString::to_string),
            agent: call.agent.as_ref().map(ToString::to_string),
            labels: call.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            priority: reservation.priority.name().to_owned(),
            usage: reservation.hold.consumption.usage.into(),
            held: AmountsBody::from(&reservation.hold),
            flags: reservation.hold.flags.names().map(str::to_owned).collect(),
            granted_at: reservation.granted_at,
            held_at: reservation.held_at,
            expires_at: reservation.expires_at,
            ended_at: reservation.ended_at.or(ended_by_clock),
            transfer: reservation.transfer.map(|transfer| transfer.0),
        }
    }
}
