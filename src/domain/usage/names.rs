//! What providers, gateways and frameworks call the counts of a call. The tables are the whole knowledge of this room.
//!
//! A pattern is a dotted path in which `*` stands for one segment: the place in a list. Sources: the API references of the
//! providers, the types of the SDKs and frameworks that are named at the entries, and public reports of what went wrong
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

/// In the order in which they are looked for. Chat first: gateways add Anthropic's cache counts to `OpenAI`'s inclusive
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
    Inclusive,
    /// It comes on top.
    Exclusive,
    /// Included in what is named as in chat completions, on top of everything else: Anthropic's names, which gateways keep.
    ExclusiveUnlessChat,
}

/// Prompt tokens that a cache served.
pub(super) const READ: &[(&str, Convention)] = &[
    ("prompt_tokens_details.cached_tokens", Convention::Inclusive),
    ("prompt_cache_hit_tokens", Convention::Inclusive),   // DeepSeek
    ("cached_tokens", Convention::Inclusive),             // Moonshot
    ("num_cached_tokens", Convention::Inclusive),         // Mistral, vLLM
    ("cached_prompt_text_tokens", Convention::Inclusive), // xAI
    ("input_tokens_details.cached_tokens", Convention::Inclusive),
    ("input_tokens_details.*.cached_tokens", Convention::Inclusive), // Agents SDK
    ("input_token_details.cached_tokens", Convention::Inclusive),    // realtime
    ("input_tokens_details.cache_read_input_tokens", Convention::Inclusive), // Perplexity
    ("input_token_details.cache_read", Convention::Inclusive),       // LangChain
    ("cached_input_tokens", Convention::Inclusive),                  // Codex
    ("cachedInputTokens", Convention::Inclusive),                    // AI SDK 5
    ("inputTokenDetails.cacheReadTokens", Convention::Inclusive),    // AI SDK 6
    ("inputTokens.cacheRead", Convention::Inclusive),                // AI SDK 7
    ("inputTokensDetails.cachedTokens", Convention::Inclusive),      // Agents SDK for TypeScript
    ("inputTokensDetails.*.cachedTokens", Convention::Inclusive),
    ("inputTokensDetails.*.cached_tokens", Convention::Inclusive),
    ("cachedContentTokenCount", Convention::Inclusive),
    ("cached_content_token_count", Convention::Inclusive),
    ("total_cached_tokens", Convention::Inclusive), // Interactions
    ("cache_read_tokens", Convention::Inclusive),   // pydantic-ai
    ("cache_read_input_tokens", Convention::ExclusiveUnlessChat),
    ("cacheReadInputTokens", Convention::Exclusive),
    ("cacheReadInputTokenCount", Convention::Exclusive),
];

/// Prompt tokens that were written to a cache, of whatever lifetime.
pub(super) const WRITTEN: &[(&str, Convention)] = &[
    ("prompt_tokens_details.cache_write_tokens", Convention::Inclusive), // OpenAI, OpenRouter
    ("prompt_tokens_details.cache_creation_tokens", Convention::Inclusive), // LiteLLM
    ("prompt_tokens_details.cache_creation_input_tokens", Convention::Inclusive), // DashScope
    ("input_tokens_details.cache_write_tokens", Convention::Inclusive),
    ("input_token_details.cache_creation", Convention::Inclusive), // LangChain
    ("cache_write_input_tokens", Convention::Inclusive),           // Codex
    ("inputTokenDetails.cacheWriteTokens", Convention::Inclusive), // AI SDK 6
    ("inputTokens.cacheWrite", Convention::Inclusive),             // AI SDK 7
    ("cache_write_tokens", Convention::Inclusive),                 // pydantic-ai
    ("cache_creation_input_tokens", Convention::ExclusiveUnlessChat),
    ("cacheWriteInputTokens", Convention::Exclusive),
    ("cacheWriteInputTokenCount", Convention::Exclusive),
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
    ("completion_tokens_details.reasoning_tokens", Convention::Inclusive),
    ("reasoning_tokens", Convention::Inclusive),
    ("output_tokens_details.reasoning_tokens", Convention::Inclusive),
    ("output_tokens_details.thinking_tokens", Convention::Inclusive),
    ("output_tokens_details.*.reasoning_tokens", Convention::Inclusive), // Agents SDK
    ("output_token_details.reasoning", Convention::Inclusive),           // LangChain
    ("output_token_details.reasoning_tokens", Convention::Inclusive),
    ("reasoning_output_tokens", Convention::Inclusive), // Codex
    ("reasoningTokens", Convention::Inclusive),         // AI SDK 5
    ("outputTokenDetails.reasoningTokens", Convention::Inclusive), // AI SDK 6
    ("outputTokens.reasoning", Convention::Inclusive),  // AI SDK 7
    ("outputTokensDetails.reasoningTokens", Convention::Inclusive),
    ("outputTokensDetails.*.reasoningTokens", Convention::Inclusive),
    ("thoughtsTokenCount", Convention::Exclusive),
    ("thoughts_token_count", Convention::Exclusive),
    ("total_thought_tokens", Convention::Exclusive), // Interactions
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
