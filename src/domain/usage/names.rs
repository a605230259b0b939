//! What providers, gateways and frameworks call the counts of a call. The tables are the whole knowledge of this room.
//!
//! A pattern is a dotted path in which `*` stands for one segment: the place in a list. Sources: the API references of the
//! providers, the types of the SDKs and frameworks that are named beside the entries, and public reports of what went wrong
//! when inclusive and exclusive counts were mixed (litellm#14849, #9812, #12313).

/// Which counts belong together: the prompt's and the answer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) kind: FamilyKind,
    pub(super) prompt: &'static [&'static str],
    pub(super) generated: &'static [&'static str],
}

/// The families, for what they mean differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FamilyKind {
    /// `OpenAI` chat completions, and the many servers that imitate it.
    Chat,
    /// Gemini API and Vertex, in camel case (REST) or snake case (SDK, Live API); Llama on Bedrock.
    Gemini,
    /// Gemini's Interactions API.
    Interactions,
    /// Bedrock Converse and its streams' metrics; Vercel's AI SDK.
    Camel,
    /// `OpenAI` responses and realtime, Codex, Anthropic messages, `LangChain`, `pydantic-ai`.
    Snake,
    /// What Cohere bills.
    Billed,
    /// Titan on Bedrock.
    Titan,
    /// Nothing but a total: Voyage.
    Total,
}

/// In the order in which they are looked for. Chat first: gateways add Anthropic's cache counts beside `OpenAI`'s inclusive
/// totals, and the totals decide.
pub(super) const FAMILIES: [Family; 8] = [
    Family { kind: FamilyKind::Chat, prompt: &["prompt_tokens"], generated: &["completion_tokens"] },
    Family {
        kind: FamilyKind::Gemini,
        prompt: &["promptTokenCount", "prompt_token_count"],
        generated: &[
            "candidatesTokenCount",
            "candidates_token_count",
            "responseTokenCount",     // Live
            "response_token_count",   // Live
            "generation_token_count", // Llama
        ],
    },
    Family { kind: FamilyKind::Interactions, prompt: &["total_input_tokens"], generated: &["total_output_tokens"] },
    Family {
        kind: FamilyKind::Camel,
        prompt: &["inputTokens", "inputTokens.total", "inputTokenCount"],
        generated: &["outputTokens", "outputTokens.total", "outputTokenCount"],
    },
    Family {
        kind: FamilyKind::Billed,
        prompt: &["billed_units.input_tokens", "billedUnits.inputTokens"],
        generated: &["billed_units.output_tokens", "billedUnits.outputTokens"],
    },
    Family { kind: FamilyKind::Snake, prompt: &["input_tokens"], generated: &["output_tokens"] },
    Family { kind: FamilyKind::Titan, prompt: &["inputTextTokenCount"], generated: &["results.*.tokenCount"] },
    Family { kind: FamilyKind::Total, prompt: &["total_tokens"], generated: &[] },
];

/// How a part stands to the count that it goes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Convention {
    /// The count includes it.
    Within,
    /// It comes on top.
    Beside,
    /// Within what is named as in chat completions, beside everything else: Anthropic's names, which gateways keep.
    BesideUnlessChat,
}

/// Prompt tokens that a cache served.
pub(super) const READ: &[(&str, Convention)] = &[
    ("prompt_tokens_details.cached_tokens", Convention::Within),
    ("prompt_cache_hit_tokens", Convention::Within),   // DeepSeek
    ("cached_tokens", Convention::Within),             // Moonshot
    ("num_cached_tokens", Convention::Within),         // Mistral, vLLM
    ("cached_prompt_text_tokens", Convention::Within), // xAI
    ("input_tokens_details.cached_tokens", Convention::Within),
    ("input_tokens_details.*.cached_tokens", Convention::Within), // Agents SDK
    ("input_token_details.cached_tokens", Convention::Within),    // realtime
    ("input_tokens_details.cache_read_input_tokens", Convention::Within), // Perplexity
    ("input_token_details.cache_read", Convention::Within),       // LangChain
    ("cached_input_tokens", Convention::Within),                  // Codex
    ("cachedInputTokens", Convention::Within),                    // AI SDK 5
    ("inputTokenDetails.cacheReadTokens", Convention::Within),    // AI SDK 6
    ("inputTokens.cacheRead", Convention::Within),                // AI SDK 7
    ("inputTokensDetails.cachedTokens", Convention::Within),      // Agents SDK for TypeScript
    ("inputTokensDetails.*.cachedTokens", Convention::Within),
    ("inputTokensDetails.*.cached_tokens", Convention::Within),
    ("cachedContentTokenCount", Convention::Within),
    ("cached_content_token_count", Convention::Within),
    ("total_cached_tokens", Convention::Within), // Interactions
    ("cache_read_tokens", Convention::Within),   // pydantic-ai
    ("cache_read_input_tokens", Convention::BesideUnlessChat),
    ("cacheReadInputTokens", Convention::Beside),
    ("cacheReadInputTokenCount", Convention::Beside),
];

/// Prompt tokens that were written to a cache, of whatever lifetime.
pub(super) const WRITTEN: &[(&str, Convention)] = &[
    ("prompt_tokens_details.cache_write_tokens", Convention::Within), // OpenAI, OpenRouter
    ("prompt_tokens_details.cache_creation_tokens", Convention::Within), // LiteLLM
    ("prompt_tokens_details.cache_creation_input_tokens", Convention::Within), // DashScope
    ("input_tokens_details.cache_write_tokens", Convention::Within),
    ("input_token_details.cache_creation", Convention::Within), // LangChain
    ("cache_write_input_tokens", Convention::Within),           // Codex
    ("inputTokenDetails.cacheWriteTokens", Convention::Within), // AI SDK 6
    ("inputTokens.cacheWrite", Convention::Within),             // AI SDK 7
    ("cache_write_tokens", Convention::Within),                 // pydantic-ai
    ("cache_creation_input_tokens", Convention::BesideUnlessChat),
    ("cacheWriteInputTokens", Convention::Beside),
    ("cacheWriteInputTokenCount", Convention::Beside),
];

/// The part of them that was written for five minutes.
pub(super) const WRITTEN_5M: &[&str] = &[
    "cache_creation.ephemeral_5m_input_tokens",
    "prompt_tokens_details.cache_creation_token_details.ephemeral_5m_input_tokens", // LiteLLM
    "prompt_tokens_details.cache_creation.ephemeral_5m_input_tokens",               // DashScope
    "input_token_details.ephemeral_5m_input_tokens",                                // LangChain
];

/// The part of them that was written for an hour.
pub(super) const WRITTEN_1H: &[&str] = &[
    "cache_creation.ephemeral_1h_input_tokens",
    "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
    "prompt_tokens_details.cache_creation.ephemeral_1h_input_tokens",
    "input_token_details.ephemeral_1h_input_tokens",
];

/// Bedrock's list of what was written, each with its lifetime: `{"ttl": "1h", "inputTokens": 8851}`.
pub(super) const LIFETIMES: &str = "cacheDetails";
/// The word of an hour in it.
pub(super) const ONE_HOUR: &str = "1h";

/// Completion tokens that were spent thinking.
pub(super) const THOUGHT: &[(&str, Convention)] = &[
    ("completion_tokens_details.reasoning_tokens", Convention::Within),
    ("reasoning_tokens", Convention::Within),
    ("output_tokens_details.reasoning_tokens", Convention::Within),
    ("output_tokens_details.thinking_tokens", Convention::Within),
    ("output_tokens_details.*.reasoning_tokens", Convention::Within), // Agents SDK
    ("output_token_details.reasoning", Convention::Within),           // LangChain
    ("output_token_details.reasoning_tokens", Convention::Within),
    ("reasoning_output_tokens", Convention::Within),            // Codex
    ("reasoningTokens", Convention::Within),                    // AI SDK 5
    ("outputTokenDetails.reasoningTokens", Convention::Within), // AI SDK 6
    ("outputTokens.reasoning", Convention::Within),             // AI SDK 7
    ("outputTokensDetails.reasoningTokens", Convention::Within),
    ("outputTokensDetails.*.reasoningTokens", Convention::Within),
    ("thoughtsTokenCount", Convention::Beside),
    ("thoughts_token_count", Convention::Beside),
    ("total_thought_tokens", Convention::Beside), // Interactions
];

/// Prompt tokens of what tools answered: they come on top.
pub(super) const TOOLS: &[&str] = &["toolUsePromptTokenCount", "tool_use_prompt_token_count", "total_tool_use_tokens"];

/// The object's own total.
pub(super) const TOTAL: &[&str] = &["total_tokens", "totalTokenCount", "total_token_count", "totalTokens"];

/// Anthropic's list of the requests that made up one answer. Its own counts leave out those that compacted the context.
pub(super) const ITERATIONS: &str = "iterations";

/// Counts that say again, or divide, what is read elsewhere.
pub(super) const REDUNDANT: &[&str] = &[
    "prompt_cache_miss_tokens",
    "*.text_tokens",
    "*.textTokens",
    "*.noCacheTokens",
    "inputTokens.noCache",
    "outputTokens.text",
    "completion_tokens_details.accepted_prediction_tokens",
    "completion_tokens_details.rejected_prediction_tokens",
    // What Cohere does not bill.
    "tokens.input_tokens",
    "tokens.output_tokens",
    "billed_units.total_tokens",
    // How many calls a sum of the Agents SDK is of is no count of tokens.
    "requests",
];

/// Lists of a count by modality: text costs what the model's tokens cost, anything else has a price of its own.
pub(super) const BY_MODALITY: &[&str] = &[
    "*.*.tokenCount",
    "*.*.token_count",
    "*.*.tokens", // Interactions
];
/// The word of text in them, in small letters.
pub(super) const TEXT: &str = "text";

/// Parts of the last segment of a number that is no count of what was used: times, and amounts of money.
pub(super) const NO_COUNT: [&str; 8] = ["time", "latency", "duration", "cost", "created", "ticks", "price", "index"];

/// Words that say how a call was served, by where they stand.
pub(super) const TIER_WORDS: [&str; 5] = ["service_tier", "serviceTier", "trafficType", "traffic_type", "speed"];
/// Where a call was served, when that has a price of its own.
pub(super) const PLACE_WORDS: [&str; 1] = ["inference_geo"];
/// Words there that change no price.
pub(super) const PLAIN_PLACES: [&str; 3] = ["global", "not_available", ""];
/// Words of an entry of a list: what it counts.
pub(super) const WORDS_OF_ENTRIES: [&str; 4] = ["modality", "ttl", "model", "type"];
/// How the names of lists end that hold counts.
pub(super) const LISTS: [&str; 5] = ["Details", "_details", "details", "iterations", "results"];
