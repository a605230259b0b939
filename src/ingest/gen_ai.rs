//! The names of the OpenTelemetry `GenAI` conventions, present and past → token buckets.
//!
//! | bucket | attribute now | names before | counts |
//! |---|---|---|---|
//! | input | `gen_ai.usage.input_tokens` | `gen_ai.usage.prompt_tokens` | *includes* cache reads and writes |
//! | cache read | `gen_ai.usage.cache_read.input_tokens` | `gen_ai.usage.cache_read_input_tokens` | part of input |
//! | cache write | `gen_ai.usage.cache_creation.input_tokens` | `gen_ai.usage.cache_creation_input_tokens` | part of input; five minutes |
//! | output | `gen_ai.usage.output_tokens` | `gen_ai.usage.completion_tokens` | *includes* reasoning |
//! | reasoning | `gen_ai.usage.reasoning.output_tokens` | `gen_ai.usage.reasoning_tokens` | part of output |
//!
//! Source: OpenTelemetry semantic conventions for generative AI spans (status: Development), 1.27 to 1.42, and the attribute
//! registry's list of deprecated names; read on 2026-11-22.
//!
//! A part larger than its whole is refused, never clamped: such a program counts by other rules than the convention's.

use super::attributes::{Attributes, BadCount};
use crate::domain::amounts::{BadAmount, Tokens};
use crate::domain::price::ServiceTier;
use crate::domain::usage::Usage;

/// All attributes of the convention start so.
pub const PREFIX: &str = "gen_ai.";
/// Who served the call.
pub const PROVIDER: [&str; 2] = ["gen_ai.provider.name", "gen_ai.system"];
/// The model that served, or else was asked for.
pub const SERVED_MODEL: [&str; 2] = ["gen_ai.response.model", "gen_ai.request.model"];
/// The model that was asked for.
pub const REQUESTED_MODEL: [&str; 1] = ["gen_ai.request.model"];
/// The provider's id of the call.
pub const RESPONSE_ID: [&str; 1] = ["gen_ai.response.id"];
/// What was done.
pub const OPERATION: [&str; 1] = ["gen_ai.operation.name"];
/// What went wrong.
pub const ERROR_TYPE: [&str; 1] = ["error.type"];

/// Operations that add up the calls below them: their usage is that of their children, which send spans of their own.
pub const OPERATIONS_ABOVE_CALLS: [&str; 6] =
    ["create_agent", "execute_tool", "invoke_agent", "invoke_workflow", "plan", "retrieval"];

const SERVICE_TIER: [&str; 5] = [
    "openai.response.service_tier",
    "gen_ai.openai.response.service_tier",
    "openai.request.service_tier",
    "gen_ai.openai.request.service_tier",
    "gen_ai.request.service_tier",
];
const INPUT: [&str; 2] = ["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"];
const CACHE_READ: [&str; 2] = ["gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"];
const CACHE_WRITE: [&str; 2] = ["gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens"];
const OUTPUT: [&str; 2] = ["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"];
const REASONING: [&str; 2] = ["gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"];

/// Why a span's counts give no buckets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpanUsage {
    /// An attribute is no count.
    #[error(transparent)]
    Count(#[from] BadCount),
    /// Parts larger than their whole.
    #[error("`{whole}` ({count}) is smaller than its parts ({parts}), which the convention says it includes")]
    PartsExceedWhole {
        /// The attribute of the whole.
        whole: String,
        /// Its count.
        count: u64,
        /// The sum of its parts.
        parts: u64,
    },
    /// More tokens than the ledger keeps.
    #[error("the usage {0}")]
    TooLarge(#[from] BadAmount),
}

/// The buckets of a span, or none if it tells no usage.
///
/// # Errors
/// When counts are no counts, or do not add up.
pub fn usage(attributes: &Attributes<'_>) -> Result<Option<Usage>, BadSpanUsage> {
    let input = attributes.count(&INPUT)?;
    let output = attributes.count(&OUTPUT)?;
    if input.is_none() && output.is_none() {
        return Ok(None);
    }
    let part = |names| -> Result<u64, BadCount> { Ok(attributes.count(names)?.map_or(0, |(_, count)| count)) };
    let (cache_read, cache_write, reasoning) = (part(&CACHE_READ)?, part(&CACHE_WRITE)?, part(&REASONING)?);
    let cached = cache_read.checked_add(cache_write).ok_or(BadAmount::TooLarge)?;
    let usage = Usage {
        input: without(input.unwrap_or((INPUT[0], 0)), cached)?,
        cache_read: Tokens::new(cache_read)?,
        cache_write_5m: Tokens::new(cache_write)?,
        cache_write_1h: Tokens::ZERO,
        output: without(output.unwrap_or((OUTPUT[0], 0)), reasoning)?,
        reasoning: Tokens::new(reasoning)?,
    };
    usage.total()?;
    Ok(Some(usage))
}

/// What remains of a whole without its parts.
fn without((whole, count): (&str, u64), parts: u64) -> Result<Tokens, BadSpanUsage> {
    let rest = count.checked_sub(parts);
    let rest = rest.ok_or_else(|| BadSpanUsage::PartsExceedWhole { whole: whole.to_owned(), count, parts })?;
    Ok(Tokens::new(rest)?)
}

/// The service tier that served. A word this ledger has no price for counts as standard, as in `OpenAI`'s `default`.
#[must_use]
pub fn service_tier(attributes: &Attributes<'_>) -> Option<ServiceTier> {
    attributes.text(&SERVICE_TIER).and_then(|word| ServiceTier::from_word(&word))
}
