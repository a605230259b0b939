//! The state of every handler, and how an error of a use case becomes a problem.

use std::sync::Arc;

use axum::extract::FromRef;
use metrics_exporter_prometheus::PrometheusHandle;

use super::problem::{Problem, ProblemCode};
use crate::app::{App, AppError};
use crate::auth::Verifier;
use crate::clock::Clock;
use crate::domain::ledger::outcome::Refusal;
use crate::domain::usage::provider::BadUsage;
use crate::lane::LaneError;
use crate::store::StoreError;
use crate::store::reads::READ_TIME_MAX;
use crate::wire::FieldError;

/// When to come back to a service whose queue is full, in seconds: it empties in less than one.
const OVERLOADED_RETRY_AFTER_S: u32 = 1;

/// When to come back while as many exports run as may, in seconds.
const EXPORTS_RETRY_AFTER_S: u32 = 10;

/// What handlers are given. One count goes up per clone, and axum clones it several times per request.
#[derive(Clone)]
pub struct HttpState(Arc<Parts>);

/// What is inside.
pub struct Parts {
    /// The service.
    pub app: App,
    /// The metrics, to be rendered.
    pub metrics: PrometheusHandle,
    /// Who may read them.
    pub metrics_shown: MetricsShown,
}

/// Who may read `/metrics` here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsShown {
    /// Anybody.
    Open,
    /// Who has a token of the platform with the scope `read`.
    WithToken,
    /// Nobody: they have an address of their own.
    Elsewhere,
}

impl HttpState {
    /// Puts it together.
    #[must_use]
    pub fn new(app: App, metrics: PrometheusHandle) -> Self {
        Self(Arc::new(Parts { app, metrics, metrics_shown: MetricsShown::Open }))
    }

    /// The same, with its metrics shown to these.
    #[must_use]
    pub fn showing_metrics(&self, metrics_shown: MetricsShown) -> Self {
        Self(Arc::new(Parts { app: self.app.clone(), metrics: self.metrics.clone(), metrics_shown }))
    }
}

impl std::ops::Deref for HttpState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<HttpState> for Arc<Verifier> {
    fn from_ref(state: &HttpState) -> Self {
        Self::clone(&state.app.verifier)
    }
}

impl FromRef<HttpState> for Clock {
    fn from_ref(state: &HttpState) -> Self {
        state.app.clock.clone()
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        let FieldError { field, detail } = error;
        let code = match field.split('.').next().unwrap_or("") {
            "estimate" => ProblemCode::InvalidEstimate,
            "usage" | "provider_usage" => ProblemCode::InvalidUsage,
            "timezone" | "zone" if detail.starts_with("unknown time zone") => ProblemCode::UnknownZone,
            _ => ProblemCode::InvalidRequest,
        };
        Self::field(code, field, detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::IdempotencyMismatch(_) => ProblemCode::IdempotencyMismatch,
            Refusal::UnknownTenant(_) => ProblemCode::UnknownTenant,
            Refusal::UnknownReservation(_) => ProblemCode::UnknownReservation,
            Refusal::ReservationEnded { .. } => ProblemCode::ReservationEnded,
            Refusal::UnpricedModel { .. } => ProblemCode::UnpricedModel,
            Refusal::UnknownFactor { .. } => ProblemCode::UnknownFactor,
            Refusal::UsageRequired => return Self::field(ProblemCode::InvalidUsage, "usage", &refusal),
            Refusal::BadUsage(bad) => return Self::field(ProblemCode::InvalidUsage, usage_field(bad), bad),
            // The code follows the field, as where the body is read.
            Refusal::TooManyTokens { field, .. } => return FieldError::new(field, &refusal).into(),
            Refusal::OccurredOutOfRange(_) => return Self::field(ProblemCode::InvalidRequest, "occurred_at", &refusal),
            Refusal::LivesTooLong { .. } => return Self::field(ProblemCode::InvalidRequest, "ttl_seconds", &refusal),
            Refusal::Amount(_) | Refusal::Tariff(_) => ProblemCode::InvalidEstimate,
            Refusal::Calendar(_) => ProblemCode::InvalidRequest,
        };
        Self::with_detail(code, refusal)
    }
}

/// The field of a provider's usage object that is to blame.
fn usage_field(bad: &BadUsage) -> String {
    match bad {
        BadUsage::UnknownShape { .. } => "provider_usage".to_owned(),
        BadUsage::Missing { field } => format!("provider_usage.{field}"),
        BadUsage::TooLarge { field, .. } | BadUsage::Negative { field } => format!("provider_usage.{field}"),
    }
}

impl From<LaneError> for Problem {
    fn from(error: LaneError) -> Self {
        match error {
            LaneError::Overloaded | LaneError::Stopping => Self::overloaded(OVERLOADED_RETRY_AFTER_S),
            LaneError::StoreAway => Self::store_unavailable(error),
            LaneError::Unwritable => Self::internal(error),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_away() {
            Self::store_unavailable(error)
        } else if error.is_overdue() {
            let most = READ_TIME_MAX.as_secs();
            let detail =
                format!("the books were read for {most} seconds: ask for a shorter span, fewer groups or one tenant");
            Self::with_detail(ProblemCode::Timeout, detail)
        } else {
            Self::internal(error)
        }
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Refused(refusal) => refusal.into(),
            AppError::Lane(error) => error.into(),
            AppError::Store(error) => error.into(),
            AppError::Denied(denied) => denied.into(),
            AppError::Field(field) => field.into(),
            AppError::Export(error) => Self::internal(error),
            AppError::TooManyExports => Self::overloaded(EXPORTS_RETRY_AFTER_S),
            AppError::UnknownTenant(_) => Self::with_detail(ProblemCode::UnknownTenant, error),
            AppError::UnknownBudget(_) => Self::with_detail(ProblemCode::UnknownBudget, error),
            AppError::PreconditionFailed { .. } => Self::with_detail(ProblemCode::PreconditionFailed, error),
            AppError::TooManyBudgets { .. } => Self::with_detail(ProblemCode::Conflict, error),
            AppError::UnknownReconciliation(_) => Self::with_detail(ProblemCode::NotFound, error),
            AppError::Busy(_) | AppError::AlreadyClosed { .. } => Self::with_detail(ProblemCode::Conflict, error),
            AppError::StillCounting => Self::still_counting(error),
            AppError::IdTaken(_) | AppError::PriceStands(_) => Self::with_detail(ProblemCode::Conflict, error),
            AppError::UnknownWebhook(_) => Self::with_detail(ProblemCode::UnknownWebhook, error),
            AppError::NoRandomness => Self::internal(error),
            AppError::UnknownReservation(_) => Self::with_detail(ProblemCode::UnknownReservation, error),
        }
    }
}
