//! Reconciliation: a provider's report is compared with the books, and its true-ups are posted once somebody approves.
//!
//! | room | one sentence |
//! |---|---|
//! | here | compare a report, look at what was compared, list |
//! | [`approve`] | post the true-ups, and make sure that the books say what the report says |
//! | [`periods`] | close the books until an instant |

pub mod approve;
pub mod periods;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use uuid::Uuid;

use super::given::{Given, keep};
use super::{App, AppError};
use crate::domain::amounts::BadAmount;
use crate::domain::id::ProviderId;
use crate::domain::ledger::command::Idempotency;
use crate::domain::ledger::outcome::Refusal;
use crate::domain::price::book::PriceBook;
use crate::domain::tariff::RateBooks;
use crate::lane::LaneError;
use crate::reconcile::compare::{Line, Mapping, TooLarge, compare};
use crate::reconcile::moved::Moved;
use crate::reconcile::propose::{CannotPropose, TrueUp, propose};
use crate::reconcile::provider::{check_shape, likely};
use crate::reconcile::read::read;
use crate::reconcile::report::Report;
use crate::store::StoreError;
use crate::store::reconciliations as sql;
use crate::wire::page::Page;
use crate::wire::reconciliation::{
    LineBody, MovesBody, ReconciliationBody, ReconciliationItemBody, ReconciliationRequest, ReconciliationState,
    TrueUpBody,
};
use crate::wire::{FieldError, required};

impl From<TooLarge> for AppError {
    fn from(_: TooLarge) -> Self {
        Self::Refused(Refusal::Amount(BadAmount::TooLarge))
    }
}

impl From<CannotPropose> for AppError {
    fn from(error: CannotPropose) -> Self {
        match error {
            CannotPropose::Amount(bad) => Self::Refused(Refusal::Amount(bad)),
            CannotPropose::Tariff(bad) => Self::Refused(Refusal::Tariff(bad)),
        }
    }
}

/// A report, understood.
struct Question {
    provider: ProviderId,
    report: Report,
    mapping: Mapping,
    /// Each day from the first to the last, with its first instant.
    days: Vec<(NaiveDate, DateTime<Utc>)>,
    /// The first instant after the last day.
    end: DateTime<Utc>,
}

impl Question {
    fn read(request: &ReconciliationRequest, book: &PriceBook, now: DateTime<Utc>) -> Result<Self, FieldError> {
        let provider = book.provider_name(&required("provider", &request.provider)?);
        let mapping = request.to_mapping()?;
        let report = read(&request.report, request.kind.map(Into::into))?;
        check_shape(&report, provider.as_str())?;
        let told: BTreeSet<NaiveDate> = report.days();
        let wrong = |detail: String| FieldError::new("report", detail);
        let (Some(first), Some(last)) = (told.first(), told.last()) else {
            return Err(wrong("tells no day".to_owned()));
        };
        let start = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        let end = last.checked_add_days(Days::new(1)).map(start);
        let end = end.filter(|end| *end <= now).ok_or_else(|| {
            wrong(format!(
                "{last} is not over, and calls of it may still come: ask the provider for days until midnight UTC"
            ))
        })?;
        let span = last.signed_duration_since(*first).num_days();
        if span >= i64::try_from(crate::reconcile::report::REPORT_DAYS_MAX).unwrap_or(i64::MAX) {
            return Err(wrong(format!("{first} and {last} are too far apart for one reconciliation")));
        }
        if !mapping.is_empty() && report.rows.keys().all(|key| key.workspace.is_none()) && !report.rows.is_empty() {
            let detail = "the report does not tell workspaces or projects apart: ask the provider to group by them";
            return Err(FieldError::new("mapping", detail));
        }
        let days = first.iter_days().take_while(|day| day <= last).map(|day| (day, start(day))).collect();
        Ok(Self { provider, report, mapping, days, end })
    }
}

/// A request, understood, with its text as it is kept: beside the threads that serve verdicts, because a report may be large.
async fn understood(
    request: ReconciliationRequest,
    rates: Arc<RateBooks>,
    now: DateTime<Utc>,
) -> Result<(Question, String), AppError> {
    let work = move || -> Result<_, AppError> {
        let text = serde_json::to_string(&request).map_err(StoreError::from)?;
        Ok((Question::read(&request, &rates.prices, now)?, text))
    };
    beside(work).await?
}

/// Runs what takes long beside the threads that serve verdicts.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(LaneError::Stopping.into()),
        },
    }
}

/// A comparison, and what it asks for.
struct Compared {
    lines: Vec<Line>,
    true_ups: Vec<TrueUp>,
    moved: Moved,
}

impl App {
    /// Compares a report with the books, and keeps what was found. Nothing is posted.
    ///
    /// # Errors
    /// Names the place of the report that is not understood; the refusal of a key that was used for something else.
    pub async fn propose_reconciliation(
        &self,
        request: ReconciliationRequest,
        subject: &str,
        key: Option<&Idempotency>,
    ) -> Result<Given<ReconciliationBody>, AppError> {
        let now = self.clock.now();
        let (question, request) = understood(request, self.snapshots.latest().rates, now).await?;
        self.know_provider(&question.provider).await?;
        for owner in question.mapping.values() {
            self.know_tenant(&owner.tenant).await?;
        }
        if let Some(given) = self.given_before(&mut *self.pool.acquire().await?, key).await? {
            return Ok(given);
        }
        let question = Arc::new(question);
        let compared = self.compare(&question).await?;
        let document = body(&question, &compared, subject, now);
        let text = serde_json::to_string(&document).map_err(StoreError::from)?;
        let mut transaction = self.pool.begin().await?;
        if let Err(error) = keep(&mut transaction, key, &document, now).await {
            transaction.rollback().await?;
            // Another one with the same key came first.
            let first = self.given_before(&mut *self.pool.acquire().await?, key).await?;
            return first.ok_or(error);
        }
        sql::insert(&mut transaction, &item(&document), &request, &text).await?;
        transaction.commit().await?;
        Ok(Given::new(document))
    }

    /// One, as it was compared or approved.
    ///
    /// # Errors
    /// [`AppError::UnknownReconciliation`] when there is none.
    pub async fn reconciliation(&self, id: Uuid) -> Result<ReconciliationBody, AppError> {
        let kept = sql::get(&mut *self.pool.acquire().await?, id).await?;
        document(&kept.ok_or(AppError::UnknownReconciliation(id))?)
    }

    /// A page of them, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reconciliations(
        &self,
        page: &Page,
    ) -> Result<(Vec<ReconciliationItemBody>, Option<String>), AppError> {
        let after = page
            .after
            .as_deref()
            .map(|key| Uuid::parse_str(key).map_err(|_| FieldError::new("cursor", "is no cursor of reconciliations")));
        let items = sql::list(&mut *self.pool.acquire().await?, after.transpose()?, page).await?;
        Ok(page.cut(items, |item| item.id.to_string()))
    }

    async fn compare(&self, question: &Arc<Question>) -> Result<Compared, AppError> {
        self.catch_up().await?;
        let Question { provider, days, end, .. } = &**question;
        let journal = sql::journal(&mut *self.pool.acquire().await?, provider, days, *end).await?;
        let (snapshot, question) = (self.snapshots.latest(), Arc::clone(question));
        let work = move || -> Result<_, AppError> {
            let Question { provider, report, mapping, .. } = &*question;
            let lines = compare(provider, report, mapping, journal, &snapshot.rates)?;
            let true_ups = propose(provider, &lines, report.fold, mapping, &snapshot.rates)?;
            let moved = Moved::of(&lines, &true_ups)?;
            Ok(Compared { lines, true_ups, moved })
        };
        beside(work).await?
    }

    /// Refuses a provider that neither the books nor the price book have ever seen: its report would be posted as a whole, beside
    /// what the books have under the right name.
    async fn know_provider(&self, provider: &ProviderId) -> Result<(), AppError> {
        let rates = self.snapshots.latest().rates;
        let priced: BTreeSet<&str> = rates.prices.rows().iter().map(|row| row.provider.as_str()).collect();
        if priced.contains(provider.as_str()) || sql::has_provider(&mut *self.pool.acquire().await?, provider).await? {
            return Ok(());
        }
        let lower = provider.as_str().to_ascii_lowercase();
        let meant = self.otlp.providers.provider_of(&lower).or_else(|| likely(&lower, priced));
        let hint = meant.map_or_else(|| "name it as calls do".to_owned(), |meant| format!("did you mean `{meant}`?"));
        Err(FieldError::new("provider", format!("the books have never seen a call of `{provider}`: {hint}")).into())
    }
}

fn document(kept: &sql::Kept) -> Result<ReconciliationBody, AppError> {
    let document: ReconciliationBody = serde_json::from_str(&kept.document).map_err(StoreError::from)?;
    Ok(ReconciliationBody { state: kept.state, ..document })
}

fn body(question: &Question, compared: &Compared, subject: &str, now: DateTime<Utc>) -> ReconciliationBody {
    let fold = question.report.fold;
    let unmatched: BTreeSet<String> = compared
        .lines
        .iter()
        .filter(|line| !line.known)
        .flat_map(|line| line.names.iter().map(ToString::to_string))
        .collect();
    let bound = |end: Option<&(NaiveDate, DateTime<Utc>)>| end.map_or(now.date_naive(), |(day, _)| *day);
    ReconciliationBody {
        id: Uuid::now_v7(),
        state: ReconciliationState::Proposed,
        provider: question.provider.to_string(),
        kinds: question.report.kinds.iter().map(|kind| kind.name().to_owned()).collect(),
        first_day: bound(question.days.first()),
        last_day: bound(question.days.last()),
        lines: compared.lines.iter().map(|line| LineBody::of(line, fold)).collect(),
        differing: compared.lines.iter().filter(|line| !line.agrees(fold)).count(),
        unmatched: unmatched.into_iter().collect(),
        true_ups: compared.true_ups.iter().map(|true_up| TrueUpBody::of(true_up, None)).collect(),
        requested_by: subject.to_owned(),
        requested_at: now,
        moves: Some(MovesBody {
            usd: compared.moved.usd,
            books_usd: compared.moved.books_usd,
            must_be_named: compared.moved.must_be_named(),
        }),
        approved_by: None,
        approved_at: None,
    }
}

fn item(document: &ReconciliationBody) -> ReconciliationItemBody {
    ReconciliationItemBody {
        id: document.id,
        state: document.state,
        provider: document.provider.clone(),
        first_day: document.first_day,
        last_day: document.last_day,
        requested_by: document.requested_by.clone(),
        requested_at: document.requested_at,
        approved_by: document.approved_by.clone(),
        approved_at: document.approved_at,
    }
}
