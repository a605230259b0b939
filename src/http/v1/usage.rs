//! Usage: post what was used without a reservation; ask what was used.

use axum::Json;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use tower_http::decompression::RequestDecompressionLayer;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::super::extract::{bearer, parse_aside, parse_json, read_body};
use super::super::limits::BULK_BODY_BYTES_MAX;
use super::super::middleware::plain_encoding;
use super::super::permit::{self, Permit};
use super::super::problem::{Problem, ProblemBody, ProblemCode};
use super::super::state::HttpState;
use super::super::{Auth, IdempotencyKeyHeader, RequestId, ValidQuery};
use super::{idempotency, mark_repeated, usage_lines};
use crate::domain::access::{Action as Access, Caller, confine, may};
use crate::domain::id::{IdempotencyKey, TransferId};
use crate::domain::ledger::command::{Action, Command};
use crate::domain::ledger::outcome::Outcome;
use crate::wire::answer::PostedAnswer;
use crate::wire::call::UsageBody;
use crate::wire::event::UsageEventBody;
use crate::wire::kept::answer_of;
use crate::wire::optional;
use crate::wire::usage::{Basis, UsageQuery, UsageTotalsBody};

/// Most items of one request.
pub const USAGE_ITEMS_MAX: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    // The bound of the body is that of what is unpacked: it stands inside.
    OpenApiRouter::new()
        .routes(routes!(post_usage, query_usage))
        .layer(DefaultBodyLimit::max(BULK_BODY_BYTES_MAX))
        .layer(RequestDecompressionLayer::new())
        .layer(from_fn(plain_encoding))
}

/// One call, or up to 10,000.
#[derive(ToSchema)]
#[schema(as = UsageRequest)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used: items are read one by one, so that one cannot harm the others")]
enum UsageRequestBody {
    /// One call.
    One(Box<UsageBody>),
    /// Many calls.
    Many(Vec<UsageBody>),
}

/// The answer to one item: what was posted, or the problem that kept it from being posted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageItemAnswer {
    /// Its place in the request, from 0.
    pub(super) index: usize,
    /// The transfer that was posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<PostedAnswer>,
    /// Whether it is the answer that was given to the same key before; left out where it is not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    /// Or why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// The answers, in the order of the items.
#[derive(Debug, Serialize, ToSchema)]
struct UsageItemsAnswer {
    /// One for each item.
    items: Vec<UsageItemAnswer>,
}

/// For one call its transfer, for an array an answer for each item.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum UsageAnswer {
    /// To one call.
    One(Box<PostedAnswer>),
    /// To an array.
    Many(UsageItemsAnswer),
}

/// How usage is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// One call, or an array of calls.
    Json,
    /// One event of `CloudEvents`.
    Event,
    /// An array of such events.
    Events,
    /// A call on each line.
    Lines,
}

impl Format {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/cloudevents+json" => Ok(Self::Event),
            "application/cloudevents-batch+json" => Ok(Self::Events),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Lines),
            "application/json" => Ok(Self::Json),
            other if other.starts_with("application/") && other.ends_with("+json") => Ok(Self::Json),
            _ => Err(Problem::with_detail(
                ProblemCode::UnsupportedMediaType,
                "send application/json, application/x-ndjson, application/cloudevents+json or \
                 application/cloudevents-batch+json",
            )),
        }
    }
}

/// The command of one item. Its own key goes before the one of the request.
pub(super) fn command(
    caller: &Caller,
    of_request: Option<IdempotencyKey>,
    body: &UsageBody,
) -> Result<Command, Problem> {
    let post = body.to_post(TransferId(Uuid::now_v7()))?;
    may(caller, Access::PostUsage, Some(&post.call.tenant))?;
    let own: Option<IdempotencyKey> = optional("idempotency_key", body.idempotency_key.as_deref())?;
    let idempotency = idempotency(caller, own.or(of_request), "usage", body);
    Ok(Command { action: Action::PostUsage(Box::new(post)), idempotency })
}

/// The call in one item.
fn read_item(format: Format, item: &[u8]) -> Result<UsageBody, Problem> {
    match format {
        Format::Json | Format::Lines => parse_json(item),
        Format::Event | Format::Events => {
            let usage = parse_json::<UsageEventBody>(item)?.usage()?;
            let usage = serde_json::to_vec(&usage).map_err(Problem::internal)?;
            parse_json(&usage).map_err(|problem| problem.within("data"))
        }
    }
}

/// What a body asks to post.
enum Posting {
    /// One call.
    One(Box<Command>),
    /// Many, each of which may be wrong.
    Many(Vec<Result<Command, Problem>>),
}

/// The commands of a whole body.
fn read_items(caller: &Caller, key: Option<IdempotencyKey>, format: Format, body: &[u8]) -> Result<Posting, Problem> {
    let is_many = match format {
        Format::Event | Format::Lines => false,
        Format::Events => true,
        Format::Json => body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['),
    };
    if !is_many {
        return Ok(Posting::One(Box::new(command(caller, key, &read_item(format, body)?)?)));
    }
    let items: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|error| Problem::with_detail(ProblemCode::InvalidJson, error))?;
    if items.is_empty() || items.len() > USAGE_ITEMS_MAX {
        let detail = format!("must hold 1 to {USAGE_ITEMS_MAX} calls, and holds {}", items.len());
        return Err(Problem::field(ProblemCode::InvalidRequest, "body", detail));
    }
    let mut commands = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let key = key.as_ref().map(|key| key.item(index));
        commands.push(read_item(format, item.get().as_bytes()).and_then(|body| command(caller, key, &body)));
    }
    Ok(Posting::Many(commands))
}

/// The answer as its caller sees it, and whether it was given before.
fn answer(state: &HttpState, caller: &Caller, outcome: &Outcome) -> Result<(PostedAnswer, bool), Problem> {
    let (mut answer, is_repeated) = answer_of(outcome).map_err(Problem::internal)?;
    state.app.show(caller.tenant.as_ref(), &mut answer);
    Ok((answer, is_repeated))
}

/// Posts many: a command or a problem for each item, and an answer for each, in order. `first` is the index of the first.
pub(super) async fn post_items(
    state: &HttpState,
    caller: &Caller,
    instance: &RequestId,
    first: usize,
    items: Vec<Result<Command, Problem>>,
) -> Result<Vec<UsageItemAnswer>, Problem> {
    let mut commands = Vec::with_capacity(items.len());
    let prepared: Vec<_> = items.into_iter().map(|item| item.map(|command| commands.push(command))).collect();
    let mut outcomes = state.app.submit_all(commands).await?.into_iter();
    let lost = || Problem::internal("the lane lost an answer");
    let answers = prepared.into_iter().enumerate().map(|(place, one)| {
        let index = first.saturating_add(place);
        match one.and_then(|()| answer(state, caller, &outcomes.next().ok_or_else(lost)??)) {
            Ok((answer, replayed)) => UsageItemAnswer { index, answer: Some(answer), replayed, problem: None },
            Err(problem) => UsageItemAnswer::refused(index, &problem, instance),
        }
    });
    Ok(answers.collect())
}

impl UsageItemAnswer {
    /// Whether the item itself is why it was not posted.
    pub(super) fn is_refused(&self) -> bool {
        self.problem.as_ref().is_some_and(|problem| (400..500).contains(&problem.status))
    }

    /// An item that was not posted.
    pub(super) fn refused(index: usize, problem: &Problem, instance: &RequestId) -> Self {
        Self { index, answer: None, replayed: false, problem: Some(problem.body(instance.as_str())) }
    }
}

/// Post usage
///
/// One call, or up to 10,000: as JSON, as `CloudEvents` 1.0 (structured, or a batch), or a call on each line, of which there may
/// be a million. What was used is recorded, also when no budget has room for it: truth first. Each item of many has its own
/// answer or problem, and one that is wrong never harms the others. An item is posted once for each `idempotency_key`; without
/// one, an event is known by its `source` and `id`, and any other item `n` by the request's `Idempotency-Key` and its place, if
/// there is one. Lines are answered by lines; beyond 10,000 read while you write.
#[utoipa::path(
    post,
    path = "/v1/usage",
    tag = "usage",
    request_body(content(
        (UsageRequestBody = "application/json"),
        (UsageEventBody = "application/cloudevents+json"),
        (Vec<UsageEventBody> = "application/cloudevents-batch+json"),
        (String = "application/x-ndjson", example = "{\"tenant\": \"acme\", \"feature\": \"chat\", \"provider\": \"openai\", \"model\": \"gpt-4o\", \"usage\": {\"input\": 12}}"),
    )),
    responses((
        status = 200,
        description = "The transfer that was posted; for many an answer for each, in order.",
        content((UsageAnswer = "application/json"), (String = "application/x-ndjson"))
    ))
)]
async fn post_usage(
    State(state): State<HttpState>,
    instance: RequestId,
    Permit { caller, .. }: Permit<permit::PostUsage>,
    IdempotencyKeyHeader(key): IdempotencyKeyHeader,
    request: Request,
) -> Result<Response, Problem> {
    let format = Format::of(request.headers())?;
    if format == Format::Lines {
        let token = bearer(request.headers())?.to_owned();
        return Ok(usage_lines::respond(state, instance, (caller, token), key, request.into_body()));
    }
    let body = read_body(request, &state).await?;
    let of = caller.clone();
    match parse_aside(body.len(), move || read_items(&of, key, format, &body)).await? {
        Posting::One(command) => {
            let outcome = state.app.submit(command.action, command.idempotency).await?;
            let (answer, is_repeated) = answer(&state, &caller, &outcome)?;
            let mut headers = HeaderMap::new();
            mark_repeated(&mut headers, is_repeated);
            Ok((headers, Json(UsageAnswer::One(Box::new(answer)))).into_response())
        }
        Posting::Many(commands) => {
            let items = post_items(&state, &caller, &instance, 0, commands).await?;
            let mut headers = HeaderMap::new();
            mark_repeated(&mut headers, items.iter().all(|item| item.replayed));
            Ok((headers, Json(UsageAnswer::Many(UsageItemsAnswer { items }))).into_response())
        }
    }
}

/// Add up usage
///
/// Totals by any of tenant, feature, provider, model, region, run, agent and label, in hours, days, weeks, months, quarters
/// or years of a named zone. Hours are elapsed hours from local midnight; a day in spring may have 23. A bucket that the span
/// cuts is told from where to where it counts. At most 10,000 rows: a question that makes more is refused, with how to
/// narrow it.
#[utoipa::path(
    get,
    path = "/v1/usage",
    tag = "usage",
    params(
        ("from" = Option<String>, Query, description = "The first instant, or the local day that starts with it. The start of the current month if not given.", example = "2026-06-01"),
        ("to" = Option<String>, Query, description = "The first instant no longer counted, or the local day that starts with it. The end of the current month if not given.", example = "2026-07-01"),
        ("zone" = Option<String>, Query, description = "The IANA zone of days and months. The tenant's own if one is named, else UTC.", example = "Asia/Tokyo"),
        ("bucket" = Option<String>, Query, description = "`hour`, `day`, `week`, `month`, `quarter` or `year`. The whole span if not given.", example = "day"),
        ("basis" = Option<Basis>, Query, description = "In which period what came late is counted (corrections, true-ups, usage of a closed period): `as_posted`, where it was posted, so that a closed period never changes; `as_restated`, where it belongs. `as_posted` if not given.", example = "as_restated"),
        ("group_by" = Option<String>, Query, description = "What is told apart, separated by commas: `tenant`, `feature`, `provider`, `model`, `region`, `run`, `agent`, `label:KEY`.", example = "tenant,feature"),
        ("tenant" = Option<String>, Query, description = "Only this tenant's calls."),
        ("feature" = Option<String>, Query, description = "Only calls for this feature."),
        ("provider" = Option<String>, Query, description = "Only calls to this provider."),
        ("model" = Option<String>, Query, description = "Only calls to this model."),
        ("region" = Option<String>, Query, description = "Only calls served in this region."),
        ("run" = Option<String>, Query, description = "Only calls of this run."),
        ("agent" = Option<String>, Query, description = "Only calls of this agent."),
        ("label.KEY" = Option<String>, Query, description = "Only calls whose label KEY has this value: `label.team=cx`."),
    ),
    responses((status = 200, description = "The sums, and their total.", body = UsageTotalsBody))
)]
async fn query_usage(
    State(state): State<HttpState>,
    Auth(caller): Auth,
    ValidQuery(pairs): ValidQuery<Vec<(String, String)>>,
) -> Result<Json<UsageTotalsBody>, Problem> {
    let query = UsageQuery::parse(&pairs)?;
    let tenant = confine(&caller, Access::Read, query.tenant()?)?;
    Ok(Json(state.app.usage(tenant.as_ref(), &query).await?))
}
