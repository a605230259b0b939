//! A provider's raw usage object → disjoint buckets.
//!
//! Every provider counts its own way; the table is the whole knowledge of this module.
//!
//! | shape | prompt count | cached | generated |
//! |---|---|---|---|
//! | [`UsageShape::OpenAiChat`] | `prompt_tokens`, *includes* cached | `prompt_tokens_details.{cached_tokens,cache_write_tokens}` | `completion_tokens`, *includes* reasoning |
//! | [`UsageShape::OpenAiResponses`] | `input_tokens`, *includes* cached | `input_tokens_details.{cached_tokens,cache_write_tokens}` | `output_tokens`, *includes* reasoning |
//! | [`UsageShape::Anthropic`] | `input_tokens`, *excludes* cached | `cache_read_input_tokens`, `cache_creation_input_tokens` | `output_tokens`, includes thinking |
//! | [`UsageShape::Gemini`] | `promptTokenCount`, *includes* cached; `toolUsePromptTokenCount` comes on top | `cachedContentTokenCount` | `candidatesTokenCount`, *excludes* `thoughtsTokenCount` |
//! | [`UsageShape::BedrockConverse`] | `inputTokens`, *excludes* cached | `cacheReadInputTokens`, `cacheWriteInputTokens` | `outputTokens` |
//!
//! The shape is read from the keys, not from the provider's name: gateways serve one provider's model in another's shape.
//! Sources: the providers' API references, and the public threads litellm#14849, #9812, #12313 for what goes wrong
//! when inclusive and exclusive counts are mixed.
//!
//! Invariants: no token is counted twice and none is dropped: the sum of the buckets is the provider's own total. A part
//! larger than its whole is refused, never clamped.
//!
//! Deliberately absent: JSON (the shell flattens it), modalities (audio and image tokens stay in the text buckets; the
//! price book says which models that understates), and counts that are not tokens (searches, seconds, pages).

use std::collections::BTreeMap;

use crate::domain::amounts::{BadAmount, Tokens};
use crate::domain::id::ProviderId;
use crate::domain::usage::Usage;

/// Longest list of seen keys that an error repeats. A usage object has about ten; a whole response may have thousands.
const KEYS_SHOWN_MAX: usize = 12;

/// Where a usage object sits in a whole response, so that callers may send either.
const WRAPPERS: [&str; 5] = ["usage.", "usageMetadata.", "usage_metadata.", "message.usage.", "response.usage."];

/// A provider's usage object, flattened: dotted path to integer leaf, `prompt_tokens_details.cached_tokens` → 1024.
///
/// Nulls, texts and fractions are left out by whoever flattens. A whole response is accepted too: when some key starts
/// with `usage.` (or another known wrapper), only those keys are kept, without the wrapper.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawUsage(BTreeMap<String, u64>);

impl RawUsage {
    /// Takes the flattened leaves.
    #[must_use]
    pub fn new(leaves: BTreeMap<String, u64>) -> Self {
        for wrapper in WRAPPERS {
            let inner: BTreeMap<String, u64> = leaves
                .iter()
                .filter_map(|(key, count)| key.strip_prefix(wrapper).map(|rest| (rest.to_owned(), *count)))
                .collect();
            if !inner.is_empty() {
                return Self(inner);
            }
        }
        Self(leaves)
    }

    /// The leaf at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<u64> {
        self.0.get(path).copied()
    }

    /// The first of several paths that is there: the same count under the names different servers give it.
    fn first_of(&self, paths: &[&'static str]) -> Option<Count> {
        paths.iter().find_map(|path| self.get(path).map(|count| Count { path, count }))
    }

    fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    fn keys_seen(&self) -> String {
        if self.0.is_empty() {
            return "none".to_owned();
        }
        let shown: Vec<&str> = self.0.keys().take(KEYS_SHOWN_MAX).map(String::as_str).collect();
        let more = if self.0.len() > KEYS_SHOWN_MAX { ", …" } else { "" };
        format!("{}{more}", shown.join(", "))
    }
}

/// How a provider counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageShape {
    /// `OpenAI` chat completions, and the many servers that imitate it.
    OpenAiChat,
    /// `OpenAI` responses.
    OpenAiResponses,
    /// Anthropic messages, also on Bedrock (invoke) and Vertex.
    Anthropic,
    /// Gemini API and Vertex, in camel case (REST) or snake case (Python SDK).
    Gemini,
    /// Bedrock Converse.
    BedrockConverse,
}

/// Why a raw usage object gives no buckets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUsage {
    /// No known shape has these keys.
    #[error(
        "the usage object has no known shape (keys seen: {keys}): send the usage object of OpenAI, Anthropic, Gemini or Bedrock Converse unchanged, or the ledger's own buckets"
    )]
    UnknownShape {
        /// The first keys, for the reader.
        keys: String,
    },
    /// A count the shape cannot do without.
    #[error("the usage object has no `{field}`")]
    Missing {
        /// Its path.
        field: &'static str,
    },
    /// A part larger than its whole: the counts are of two different calls, or the shape is not what it seems.
    #[error("`{part}` ({part_count}) is larger than `{whole}` ({whole_count}), which should include it")]
    PartExceedsWhole {
        /// The path of the part.
        part: &'static str,
        /// Its count.
        part_count: u64,
        /// The path of the whole.
        whole: &'static str,
        /// Its count.
        whole_count: u64,
    },
    /// More tokens than the ledger keeps in one amount.
    #[error("`{field}` {source}")]
    TooLarge {
        /// The path of the count.
        field: &'static str,
        /// What the amount said.
        source: BadAmount,
    },
}

/// A count and the path it was read from, so that a refusal can name it.
#[derive(Debug, Clone, Copy)]
struct Count {
    path: &'static str,
    count: u64,
}

impl Count {
    const fn zero(path: &'static str) -> Self {
        Self { path, count: 0 }
    }

    fn tokens(self) -> Result<Tokens, BadUsage> {
        Tokens::new(self.count).map_err(|source| BadUsage::TooLarge { field: self.path, source })
    }

    /// What remains of this whole without a part.
    fn without(self, part: Self) -> Result<Self, BadUsage> {
        let count = self.count.checked_sub(part.count).ok_or(BadUsage::PartExceedsWhole {
            part: part.path,
            part_count: part.count,
            whole: self.path,
            whole_count: self.count,
        })?;
        Ok(Self { path: self.path, count })
    }

    fn plus(self, more: Self) -> Result<Self, BadUsage> {
        let too_large = BadUsage::TooLarge { field: self.path, source: BadAmount::TooLarge };
        let count = self.count.checked_add(more.count).ok_or(too_large)?;
        Ok(Self { path: self.path, count })
    }
}

impl UsageShape {
    /// Which shape these keys are. The provider decides only where the keys leave it open, that is when an object has
    /// `input_tokens` and `output_tokens` and nothing of a cache, where both readings give the same buckets.
    ///
    /// # Errors
    /// [`BadUsage::UnknownShape`] names the keys seen.
    pub fn detect(provider: &ProviderId, raw: &RawUsage) -> Result<Self, BadUsage> {
        let any = |paths: &[&str]| paths.iter().any(|path| raw.has(path));
        // Chat first: gateways add Anthropic's cache counts beside OpenAI's inclusive totals, and the totals decide.
        if any(&["prompt_tokens", "completion_tokens"]) {
            return Ok(Self::OpenAiChat);
        }
        if any(&["promptTokenCount", "candidatesTokenCount", "prompt_token_count", "candidates_token_count"]) {
            return Ok(Self::Gemini);
        }
        if any(&["inputTokens", "outputTokens"]) {
            return Ok(Self::BedrockConverse);
        }
        if any(&["input_tokens", "output_tokens"]) {
            let anthropic_only = [
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
                "cache_creation.ephemeral_5m_input_tokens",
                "cache_creation.ephemeral_1h_input_tokens",
                "output_tokens_details.thinking_tokens",
            ];
            let openai_only = [
                "input_tokens_details.cached_tokens",
                "input_tokens_details.cache_write_tokens",
                "output_tokens_details.reasoning_tokens",
                "total_tokens",
            ];
            return Ok(match (any(&anthropic_only), any(&openai_only)) {
                (true, false) => Self::Anthropic,
                (false, true) => Self::OpenAiResponses,
                (true, true) | (false, false) => by_provider(provider),
            });
        }
        Err(BadUsage::UnknownShape { keys: raw.keys_seen() })
    }
}

/// Detects the shape and reads it.
///
/// # Errors
/// As [`UsageShape::detect`] and [`to_usage`].
pub fn read_usage(provider: &ProviderId, raw: &RawUsage) -> Result<Usage, BadUsage> {
    to_usage(UsageShape::detect(provider, raw)?, raw)
}

/// Reads the buckets of an object of a known shape.
///
/// # Errors
/// When a count is missing, too large, or a part is larger than its whole. Names the path.
pub fn to_usage(shape: UsageShape, raw: &RawUsage) -> Result<Usage, BadUsage> {
    match shape {
        UsageShape::OpenAiChat => openai_chat(raw),
        UsageShape::OpenAiResponses => openai_responses(raw),
        UsageShape::Anthropic => anthropic(raw),
        UsageShape::Gemini => gemini(raw),
        UsageShape::BedrockConverse => bedrock_converse(raw),
    }
}

fn by_provider(provider: &ProviderId) -> UsageShape {
    let name = provider.as_str().to_ascii_lowercase();
    let anthropic = ["anthropic", "aws", "bedrock", "claude", "vertex"];
    if anthropic.iter().any(|word| name.contains(word)) { UsageShape::Anthropic } else { UsageShape::OpenAiResponses }
}

/// The buckets of an inclusive count: what is left of the prompt after its cached parts, and of the output after its
/// reasoning.
fn inclusive(prompt: Count, read: Count, write: Count, generated: Count, reasoning: Count) -> Result<Usage, BadUsage> {
    Ok(Usage {
        input: prompt.without(read)?.without(write)?.tokens()?,
        cache_read: read.tokens()?,
        // OpenAI's cache writes have no lifetime class of an hour: the short one is the one they have.
        cache_write_5m: write.tokens()?,
        cache_write_1h: Tokens::ZERO,
        output: generated.without(reasoning)?.tokens()?,
        reasoning: reasoning.tokens()?,
    })
}

fn openai_chat(raw: &RawUsage) -> Result<Usage, BadUsage> {
    let prompt = raw.first_of(&["prompt_tokens"]).ok_or(BadUsage::Missing { field: "prompt_tokens" })?;
    let read = raw
        .first_of(&[
            "prompt_tokens_details.cached_tokens",
            "prompt_cache_hit_tokens",   // DeepSeek
            "cached_tokens",             // Moonshot
            "cached_prompt_text_tokens", // xAI
            "cache_read_input_tokens",   // LiteLLM, Databricks: beside an inclusive total
        ])
        .unwrap_or(Count::zero("prompt_tokens_details.cached_tokens"));
    let write = raw
        .first_of(&[
            "prompt_tokens_details.cache_write_tokens",    // OpenAI, OpenRouter
            "prompt_tokens_details.cache_creation_tokens", // LiteLLM
            "cache_creation_input_tokens",                 // LiteLLM
        ])
        .unwrap_or(Count::zero("prompt_tokens_details.cache_write_tokens"));
    let total = raw.get("total_tokens");
    let generated = match raw.first_of(&["completion_tokens"]) {
        Some(generated) => generated,
        // Embeddings generate nothing and say so by a total that is the prompt.
        None if total == Some(prompt.count) => Count::zero("completion_tokens"),
        None => return Err(BadUsage::Missing { field: "completion_tokens" }),
    };
    let reasoning = raw
        .first_of(&["completion_tokens_details.reasoning_tokens", "reasoning_tokens"])
        .unwrap_or(Count::zero("completion_tokens_details.reasoning_tokens"));
    // xAI's and Perplexity's completion_tokens leave the reasoning out. Their total tells, whoever serves the model.
    let beside = reasoning.count > 0 && total == Some(prompt.plus(generated)?.plus(reasoning)?.count);
    let generated = if beside { generated.plus(reasoning)? } else { generated };
    inclusive(prompt, read, write, generated, reasoning)
}

fn openai_responses(raw: &RawUsage) -> Result<Usage, BadUsage> {
    let prompt = raw.first_of(&["input_tokens"]).ok_or(BadUsage::Missing { field: "input_tokens" })?;
    let generated = raw.first_of(&["output_tokens"]).ok_or(BadUsage::Missing { field: "output_tokens" })?;
    let read = raw
        .first_of(&[
            "input_tokens_details.cached_tokens",
            "input_token_details.cached_tokens",            // realtime
            "input_tokens_details.cache_read_input_tokens", // Perplexity
        ])
        .unwrap_or(Count::zero("input_tokens_details.cached_tokens"));
    let write = raw
        .first_of(&["input_tokens_details.cache_write_tokens"])
        .unwrap_or(Count::zero("input_tokens_details.cache_write_tokens"));
    let reasoning = raw
        .first_of(&["output_tokens_details.reasoning_tokens"])
        .unwrap_or(Count::zero("output_tokens_details.reasoning_tokens"));
    inclusive(prompt, read, write, generated, reasoning)
}

fn anthropic(raw: &RawUsage) -> Result<Usage, BadUsage> {
    let input = raw.first_of(&["input_tokens"]).ok_or(BadUsage::Missing { field: "input_tokens" })?;
    let generated = raw.first_of(&["output_tokens"]).ok_or(BadUsage::Missing { field: "output_tokens" })?;
    let read = raw.first_of(&["cache_read_input_tokens"]).unwrap_or(Count::zero("cache_read_input_tokens"));
    let five_minutes = "cache_creation.ephemeral_5m_input_tokens";
    let one_hour = "cache_creation.ephemeral_1h_input_tokens";
    let split_5m = raw.first_of(&[five_minutes]).unwrap_or(Count::zero(five_minutes));
    let split_1h = raw.first_of(&[one_hour]).unwrap_or(Count::zero(one_hour));
    // Writes that the split does not place went to the default cache, which is the five-minute one.
    let write_5m = match raw.first_of(&["cache_creation_input_tokens"]) {
        None => split_5m,
        Some(total) => total.without(split_1h)?.without(split_5m)?.plus(split_5m)?,
    };
    // Older responses do not say how much of the output was thinking; then all of it is visible output.
    let thinking = raw
        .first_of(&["output_tokens_details.thinking_tokens"])
        .unwrap_or(Count::zero("output_tokens_details.thinking_tokens"));
    Ok(Usage {
        input: input.tokens()?,
        cache_read: read.tokens()?,
        cache_write_5m: write_5m.tokens()?,
        cache_write_1h: split_1h.tokens()?,
        output: generated.without(thinking)?.tokens()?,
        reasoning: thinking.tokens()?,
    })
}

fn gemini(raw: &RawUsage) -> Result<Usage, BadUsage> {
    let count = |paths: &[&'static str; 2], path| raw.first_of(paths).unwrap_or(Count::zero(path));
    let prompt = raw
        .first_of(&["promptTokenCount", "prompt_token_count"])
        .ok_or(BadUsage::Missing { field: "promptTokenCount" })?;
    let read = count(&["cachedContentTokenCount", "cached_content_token_count"], "cachedContentTokenCount");
    let tool = count(&["toolUsePromptTokenCount", "tool_use_prompt_token_count"], "toolUsePromptTokenCount");
    // Absent when the answer was blocked, or when thinking used up the allowance.
    let visible = count(&["candidatesTokenCount", "candidates_token_count"], "candidatesTokenCount");
    let thoughts = count(&["thoughtsTokenCount", "thoughts_token_count"], "thoughtsTokenCount");
    Ok(Usage {
        input: prompt.without(read)?.plus(tool)?.tokens()?,
        cache_read: read.tokens()?,
        cache_write_5m: Tokens::ZERO,
        cache_write_1h: Tokens::ZERO,
        output: visible.tokens()?,
        reasoning: thoughts.tokens()?,
    })
}

fn bedrock_converse(raw: &RawUsage) -> Result<Usage, BadUsage> {
    let input = raw.first_of(&["inputTokens"]).ok_or(BadUsage::Missing { field: "inputTokens" })?;
    let generated = raw.first_of(&["outputTokens"]).ok_or(BadUsage::Missing { field: "outputTokens" })?;
    let read = raw
        .first_of(&["cacheReadInputTokens", "cacheReadInputTokenCount"])
        .unwrap_or(Count::zero("cacheReadInputTokens"));
    let write = raw
        .first_of(&["cacheWriteInputTokens", "cacheWriteInputTokenCount"])
        .unwrap_or(Count::zero("cacheWriteInputTokens"));
    Ok(Usage {
        input: input.tokens()?,
        cache_read: read.tokens()?,
        cache_write_5m: write.tokens()?,
        cache_write_1h: Tokens::ZERO,
        output: generated.tokens()?,
        reasoning: Tokens::ZERO,
    })
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "totals of counts that were accepted, and so are bounded")]
#[path = "provider_tests.rs"]
mod tests;
