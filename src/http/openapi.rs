//! The OpenAPI document: what handlers say about themselves, completed by passes that hold for all of them.
//!
//! | pass | adds to every operation |
//! |---|---|
//! | names | `operationId` in camelCase, from the handler's name |
//! | problems | `4XX` and `5XX` answers as [`ProblemBody`] |
//! | keys | the header `Idempotency-Key`, on a POST that writes; why none is taken, on one that does not |
//! | credentials | the bearer token, unless it is public |
//!
//! Others are over the schemas: a default that serde wrote as text stands as a number where the field is one; the part of a
//! tagged choice may have the tag beside its own fields; and those of [`super::schemas`].
//!
//! [`lint`] lists what client generators stumble over; a test of the assembled document keeps it empty.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use utoipa::PartialSchema as _;
use utoipa::ToSchema as _;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, Content, Header, HttpMethod, InfoBuilder, License, ObjectBuilder, OpenApi, Ref, RefOr, Required,
    Response, ResponseBuilder, Schema, Server, Tag, Type,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::problem::{FieldError, PROBLEM_JSON, ProblemBody, ProblemCode};
use super::schemas;
use crate::domain::id::NAME_LENGTH_MAX;

/// The page that explains every problem, as it is in `docs/`.
const PROBLEMS_PAGE: &str = include_str!("../../docs/reference/problems.md");
const BEARER: &str = "bearer";

/// What the passes cannot know from the operations.
#[derive(Debug, Clone, Copy)]
pub struct Contract {
    /// Each tag with what it is about, in the order of the page.
    pub tags: &'static [(&'static str, &'static str)],
    /// Operation ids (camelCase) of POSTs that write nothing, or are known by what they hold: they take no `Idempotency-Key`. With
    /// what their description says of it.
    pub posts_without_key: &'static [(&'static str, &'static str)],
    /// Operation ids (camelCase) that need no token.
    pub public: &'static [&'static str],
}

/// The document, completed.
#[must_use]
pub fn complete(mut document: OpenApi, contract: &Contract) -> OpenApi {
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    document.info = InfoBuilder::new()
        .title("Counterfoil")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(env!("CARGO_PKG_DESCRIPTION")))
        .license(Some(license))
        .build();
    document.servers = Some(vec![Server::new("/")]);
    document.tags = Some(contract.tags.iter().map(|(name, about)| described_tag(name, about)).collect());
    let components = document.components.get_or_insert_with(Components::new);
    add_components(components);
    components.schemas.values_mut().for_each(mend_defaults);
    admit_tags(components);
    schemas::join_parts(&mut components.schemas);
    components.schemas.values_mut().for_each(schemas::widen_counts);
    components.schemas.values_mut().for_each(schemas::name_decimals);
    let mut bodies = BTreeSet::new();
    for item in document.paths.paths.values_mut() {
        for (_, operation) in operations_mut(item) {
            let Some(RefOr::T(body)) = &operation.request_body else { continue };
            let media = body.content.values().filter_map(|content| match content {
                RefOr::T(content) => content.schema.as_ref(),
                RefOr::Ref(_) => None,
            });
            media.for_each(|schema| schemas::parts_of(schema, &components.schemas, &mut bodies));
        }
    }
    schemas::bound_bodies(&mut components.schemas, &bodies);
    for item in document.paths.paths.values_mut() {
        for (method, operation) in operations_mut(item) {
            complete_operation(operation, &method, contract);
        }
    }
    document
}

fn described_tag(name: &str, about: &str) -> Tag {
    let mut tag = Tag::new(name);
    tag.description = Some(about.to_owned());
    tag
}

fn add_components(components: &mut Components) {
    let schemas = [
        (ProblemBody::name(), ProblemBody::schema()),
        (FieldError::name(), FieldError::schema()),
        (ProblemCode::name(), ProblemCode::schema()),
    ];
    components.schemas.extend(schemas.into_iter().map(|(name, schema)| (name.into_owned(), schema)));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "A JWT with `kid`, `iss`, `aud`, `sub`, `exp`, and `scope`: any of `preflight`, `usage:write`, `read`, `export`, \
             `admin`. A `tenant` claim confines it to one tenant.",
        ))
        .build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
}

/// Decimals are written as texts, so their defaults are, too; a field that takes numbers must not have such a default.
fn mend_defaults(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    for property in object.properties.values_mut() {
        let RefOr::T(Schema::Object(field)) = property else { continue };
        let is_number = matches!(field.schema_type, SchemaType::Type(Type::Number | Type::Integer));
        if is_number && let Some(serde_json::Value::String(text)) = &field.default {
            field.default = text.parse().ok().map(serde_json::Value::Number);
        }
    }
}

/// A tagged choice is written as `allOf` of a part and its tag. A part that admits no further property would refuse the
/// tag, and no document would fit; the service still refuses what it does not know.
fn admit_tags(components: &mut Components) {
    let mut parts = BTreeSet::new();
    for schema in components.schemas.values() {
        let RefOr::T(Schema::OneOf(choice)) = schema else { continue };
        for item in &choice.items {
            let RefOr::T(Schema::AllOf(all)) = item else { continue };
            let refs = all.items.iter().filter_map(|item| if let RefOr::Ref(part) = item { Some(part) } else { None });
            parts.extend(refs.filter_map(|part| part.ref_location.rsplit('/').next().map(str::to_owned)));
        }
    }
    for part in parts {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(&part) {
            object.additional_properties = None;
        }
    }
}

fn complete_operation(operation: &mut Operation, method: &HttpMethod, contract: &Contract) {
    let id = operation.operation_id.as_deref().map(camel_case).unwrap_or_default();
    let public = contract.public.contains(&id.as_str());
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            schemas::bound_parameter(parameter);
        }
    }
    let answers = &mut operation.responses.responses;
    answers.entry("4XX".to_owned()).or_insert_with(|| RefOr::T(problem_response("The request was refused")));
    answers.entry("5XX".to_owned()).or_insert_with(|| RefOr::T(problem_response("The service could not answer")));
    let without_key = contract.posts_without_key.iter().find(|(named, _)| *named == id);
    if let Some((_, why)) = without_key {
        let description = operation.description.get_or_insert_default();
        *description = format!("{description}\n\n{why}").trim_start().to_owned();
    } else if *method == HttpMethod::Post && !public {
        operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_parameter()));
        if let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") {
            answer.headers.insert("Idempotency-Replayed".to_owned(), RefOr::T(replayed_header()));
        }
    }
    operation.security =
        Some(if public { vec![] } else { vec![SecurityRequirement::new(BEARER, Vec::<String>::new())] });
    operation.operation_id = Some(id);
}

fn problem_response(description: &str) -> Response {
    let request_id = Header::builder()
        .schema(Some(text_schema()))
        .description(Some("The id of the request: `instance` of the problem"))
        .build();
    ResponseBuilder::new()
        .description(description)
        .header("x-request-id", request_id)
        .content(PROBLEM_JSON, Content::new(Some(Ref::from_schema_name(ProblemBody::name()))))
        .build()
}

fn text_schema() -> Schema {
    Schema::Object(ObjectBuilder::new().schema_type(Type::String).build())
}

fn idempotency_parameter() -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(NAME_LENGTH_MAX));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Your key of this write. The same key is one effect and one answer; the same key with another body is \
             `idempotency_mismatch`. What changed the books is answered again for seven days, with \
             `Idempotency-Replayed: true`. A `wait` is never: ask again with the same key, and it is decided anew. A `stop` is \
             until `resets_at`; once a person has raised the limit, ask with a new key. One without `resets_at` is decided anew \
             each time.",
        ))
        .schema(Some(schema))
        .build()
}

fn replayed_header() -> Header {
    Header::builder()
        .schema(Some(text_schema()))
        .description(Some(
            "`true` where this is the answer that was given to the same `Idempotency-Key` before, and nothing was done now; of \
             many items, where all of them are. Not there otherwise.",
        ))
        .build()
}

/// `check_budget` becomes `checkBudget`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_').filter(|word| !word.is_empty());
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Delete, &mut item.delete),
        (HttpMethod::Patch, &mut item.patch),
        (HttpMethod::Head, &mut item.head),
        (HttpMethod::Options, &mut item.options),
        (HttpMethod::Trace, &mut item.trace),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.as_mut().map(|operation| (method, operation)))
}

/// What is wrong with the document, one line each. Empty is good.
#[must_use]
pub fn lint(document: &OpenApi) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    let declared: Vec<_> = document.tags.iter().flatten().map(|tag| tag.name.as_str()).collect();
    for (path, item) in &document.paths.paths {
        for (method, operation) in operations_mut(&mut item.clone()) {
            let place = format!("{} {path}", method_name(&method));
            faults.extend(operation_faults(operation, &declared).into_iter().map(|fault| format!("{place}: {fault}")));
            let id = operation.operation_id.clone().unwrap_or_default();
            if !id.is_empty() && !seen.insert(id.clone()) {
                faults.push(format!("{place}: operationId {id} is used twice"));
            }
        }
    }
    faults
}

const fn method_name(method: &HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "GET",
        HttpMethod::Put => "PUT",
        HttpMethod::Post => "POST",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Options => "OPTIONS",
        HttpMethod::Head => "HEAD",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Trace => "TRACE",
    }
}

fn operation_faults(operation: &Operation, declared: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let id = operation.operation_id.as_deref().unwrap_or_default();
    if !id.starts_with(|first: char| first.is_ascii_lowercase()) || !id.chars().all(|c| c.is_ascii_alphanumeric()) {
        faults.push(format!("operationId {id:?} is not camelCase"));
    }
    match operation.tags.as_deref().unwrap_or_default() {
        [tag] if declared.contains(&tag.as_str()) => {}
        [tag] => faults.push(format!("tag {tag:?} is not declared")),
        tags => faults.push(format!("has {} tags instead of one", tags.len())),
    }
    if operation.summary.as_deref().unwrap_or_default().trim().is_empty() {
        faults.push("has no summary".to_owned());
    }
    if !operation.responses.responses.keys().any(|status| status.starts_with('2')) {
        faults.push("has no answer of success".to_owned());
    }
    for (status, response) in &operation.responses.responses {
        if matches!(response, RefOr::T(response) if response.description.trim().is_empty()) {
            faults.push(format!("answer {status} has no description"));
        }
    }
    for parameter in operation.parameters.iter().flatten() {
        if let RefOr::T(parameter) = parameter
            && parameter.description.as_deref().unwrap_or_default().trim().is_empty()
        {
            faults.push(format!("parameter {} has no description", parameter.name));
        }
    }
    faults
}

/// `/openapi.json`, `/docs` (a page that works without a network) and `/docs/problems`.
///
/// # Errors
/// If the document cannot be written as JSON.
pub fn routes<S: Clone + Send + Sync + 'static>(document: &OpenApi) -> Result<Router<S>, serde_json::Error> {
    // A static copy: it is the same for every request, and half a megabyte.
    let json = Bytes::from(serde_json::to_vec(document)?);
    let page = SwaggerUi::new("/docs").config(Config::from("/openapi.json").try_it_out_enabled(true));
    Ok(Router::new()
        .route("/openapi.json", get(move || async move { ([(CONTENT_TYPE, "application/json")], json) }))
        .route("/docs/problems", get(|| async { ([(CONTENT_TYPE, "text/markdown; charset=utf-8")], PROBLEMS_PAGE) }))
        .merge(Router::from(page)))
}
