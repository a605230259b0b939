//! Pre-flight: may this call go ahead, how large, how soon.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::permit::{self, Permit};
use super::super::problem::{Problem, ProblemBody, ProblemCode};
use super::super::rate_limit;
use super::super::state::HttpState;
use super::super::{IdempotencyKeyHeader, RequestId, ValidJson};
use super::{idempotency, mark_repeated, wait_header};
use crate::auth::GrantClaims;
use crate::domain::access::{Action as Access, Caller, confine, may};
use crate::domain::id::{IdempotencyKey, ReservationId};
use crate::domain::ledger::command::{Action, Command, Reserve};
use crate::domain::ledger::outcome::Outcome;
use crate::wire::answer::PreflightAnswer;
use crate::wire::call::PreflightBody;
use crate::wire::kept::answer_of;

/// Most calls of one batch.
pub const PREFLIGHT_ITEMS_MAX: usize = 1000;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(preflight)).routes(routes!(preflight_batch))
}

fn access(body: &PreflightBody) -> Access {
    if body.reserve { Access::HoldReservation } else { Access::AskVerdict }
}

fn command(caller: &Caller, key: Option<IdempotencyKey>, body: &PreflightBody) -> Result<(Reserve, Command), Problem> {
    let reserve = body.to_reserve(ReservationId(Uuid::now_v7()))?;
    may(caller, access(body), Some(&reserve.call.tenant))?;
    let idempotency = idempotency(caller, key, "preflight", body);
    let command = Command { action: Action::Reserve(Box::new(reserve.clone())), idempotency };
    Ok((reserve, command))
}

/// The answer, with its grant: signed here, beside the lane, because a signature takes longer than a decision. And whether it
/// was given before.
async fn answer(
    state: &HttpState,
    caller: &Caller,
    reserve: &Reserve,
    outcome: Outcome,
) -> Result<(PreflightAnswer, bool), Problem> {
    let (mut answer, is_repeated): (PreflightAnswer, _) = answer_of(&outcome).map_err(Problem::internal)?;
    if let (true, Some(reservation)) = (is_repeated, answer.reservation) {
        let ended = state.app.how_ended(ReservationId(reservation)).await?;
        answer.reservation_ended = ended.map(|ended| ended.name().to_owned());
    }
    sign(state, reserve, &mut answer)?;
    state.app.projections.tell(&mut answer.budgets);
    state.app.hear_stopped(reserve, &answer);
    answer.alternatives = state.app.alternatives(reserve, &answer);
    state.app.show(caller.tenant.as_ref(), &mut answer);
    Ok((answer, is_repeated))
}

/// Signs what is granted and has not ended.
fn sign(state: &HttpState, reserve: &Reserve, answer: &mut PreflightAnswer) -> Result<(), Problem> {
    if let (Some(reservation), Some(granted_at), Some(expires_at), None) =
        (answer.reservation, answer.granted_at, answer.expires_at, &answer.reservation_ended)
    {
        let call = &reserve.call;
        let claims = GrantClaims {
            reservation: ReservationId(reservation),
            tenant: call.tenant.clone(),
            feature: call.feature.clone(),
            provider: call.provider.clone(),
            model: call.model.clone(),
            max_output: answer.max_output,
            issued_at: granted_at,
            expires_at,
        };
        answer.grant = Some(state.app.grants.sign(&claims).map_err(Problem::internal)?);
    }
    Ok(())
}

/// Ask before a call
///
/// Answers `allow`, `cap` (go, with a smaller output), `wait` (come back) or `stop` (the budget is gone until it resets). All
/// four are 200: a refusal is an answer. With `reserve` the estimate is held against every budget that governs the call until
/// it is settled, released or expires. `wait` also sends `Retry-After`, at most 120 seconds; `stop` never does, and says
/// `resets_at` instead. `band`, `pace` and the headers `RateLimit-Policy` and `RateLimit` say how to slow down before that.
#[utoipa::path(
    post,
    path = "/v1/preflight",
    tag = "preflight",
    request_body = PreflightBody,
    responses((
        status = 200,
        description = "The verdict, with the numbers that explain it.",
        body = PreflightAnswer,
        headers(
            ("Retry-After" = u32, description = "Only with `wait`: whole seconds, with jitter, at most 120."),
            (
                "RateLimit-Policy" = String,
                description = "The hard budgets that govern the call, at most ten, the one that binds first at the head \
                    (draft-ietf-httpapi-ratelimit-headers-11): `q` is the limit in the unit `qu` (none: requests), `w` the length of the period in seconds."
            ),
            (
                "RateLimit" = String,
                description = "The same budgets: `r` is what is left for calls of this priority, `t` for how many seconds \
                    there is no more than that."
            )
        )
    ))
)]
async fn preflight(
    State(state): State<HttpState>,
    Permit { caller, .. }: Permit<permit::AskVerdict>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidJson(body): ValidJson<PreflightBody>,
) -> Result<(HeaderMap, Json<PreflightAnswer>), Problem> {
    let (reserve, command) = command(&caller, key, &body)?;
    state.app.know_tenant(&reserve.call.tenant).await?;
    let outcome = state.app.submit(command.action, command.idempotency).await?;
    let (answer, is_repeated) = answer(&state, &caller, &reserve, outcome).await?;
    let now = state.app.clock.now();
    let mut headers = HeaderMap::new();
    mark_repeated(&mut headers, is_repeated);
    wait_header(&mut headers, answer.verdict, answer.retry.as_ref(), now);
    rate_limit::add(&mut headers, &answer, now);
    Ok((headers, Json(answer)))
}

/// Many calls at once.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PreflightBatchBody {
    /// Up to 1,000; each is decided on its own, in order. With an `Idempotency-Key`, item `n` has a key of its own that is made of
    /// it and `n`, and that no caller can give.
    items: Vec<PreflightBody>,
}

/// The answer to one item: a verdict, or the problem that kept it from being reached.
#[derive(Debug, Serialize, ToSchema)]
struct PreflightItemAnswer {
    /// Its place in the request, from 0.
    index: usize,
    /// The verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<PreflightAnswer>,
    /// Whether it is the answer that was given to the same key before; left out where it is not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    /// Or why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// The answers, in the order of the items.
#[derive(Debug, Serialize, ToSchema)]
struct PreflightBatchAnswer {
    /// One for each item.
    items: Vec<PreflightItemAnswer>,
}

/// Ask before many calls
///
/// Up to 1,000 calls; each is decided on its own, in order, and has its own verdict or problem. One refusal never harms its
/// neighbours.
#[utoipa::path(
    post,
    path = "/v1/preflight/batch",
    tag = "preflight",
    request_body = PreflightBatchBody,
    responses((status = 200, description = "One verdict or problem for each item, in order.", body = PreflightBatchAnswer))
)]
async fn preflight_batch(
    State(state): State<HttpState>,
    instance: RequestId,
    Permit { caller, .. }: Permit<permit::AskVerdict>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    ValidJson(body): ValidJson<PreflightBatchBody>,
) -> Result<(HeaderMap, Json<PreflightBatchAnswer>), Problem> {
    // Who may ask for nothing at all learns it once, not a thousand times.
    confine(&caller, Access::AskVerdict, None)?;
    if body.items.is_empty() || body.items.len() > PREFLIGHT_ITEMS_MAX {
        let detail = format!("must hold 1 to {PREFLIGHT_ITEMS_MAX} calls");
        return Err(Problem::field(ProblemCode::InvalidRequest, "items", detail));
    }
    let mut prepared = Vec::with_capacity(body.items.len());
    for (index, item) in body.items.iter().enumerate() {
        let key = key.as_ref().map(|key| key.item(index));
        let one = match command(&caller, key, item) {
            Ok((reserve, command)) => {
                state.app.know_tenant(&reserve.call.tenant).await.map(|()| (reserve, command)).map_err(Problem::from)
            }
            Err(problem) => Err(problem),
        };
        prepared.push(one);
    }
    let commands = prepared.iter().flatten().map(|(_, command)| command.clone()).collect();
    let mut outcomes = state.app.submit_all(commands).await?.into_iter();
    let mut items = Vec::with_capacity(prepared.len());
    for (index, one) in prepared.into_iter().enumerate() {
        let answered = match one {
            Ok((reserve, _)) => {
                let outcome = outcomes.next().ok_or_else(|| Problem::internal("the lane lost an answer"))?;
                match outcome {
                    Ok(outcome) => answer(&state, &caller, &reserve, outcome).await,
                    Err(error) => Err(error.into()),
                }
            }
            Err(problem) => Err(problem),
        };
        items.push(match answered {
            Ok((answer, replayed)) => PreflightItemAnswer { index, answer: Some(answer), replayed, problem: None },
            Err(problem) => {
                let problem = Some(problem.body(instance.as_str()));
                PreflightItemAnswer { index, answer: None, replayed: false, problem }
            }
        });
    }
    let mut headers = HeaderMap::new();
    mark_repeated(&mut headers, items.iter().all(|item| item.replayed));
    Ok((headers, Json(PreflightBatchAnswer { items })))
}
