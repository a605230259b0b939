use proptest::prelude::*;

use super::*;

fn raw(text: &str) -> RawUsage {
    let leaf = |pair: &str| {
        let (key, count) = pair.split_once('=').expect("key=count");
        (key.to_owned(), count.parse().expect("a count"))
    };
    RawUsage::new(text.split_whitespace().map(leaf).collect())
}

/// One line per case: provider, raw leaves, `|`, shape, then input, cache read, write 5m, write 1h, output, reasoning.
#[track_caller]
fn check(table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        let (given, expected) = line.split_once('|').expect("a |");
        let (provider, leaves) = given.trim().split_once(' ').expect("provider and leaves");
        let provider = ProviderId::parse(provider).unwrap();
        let raw = raw(leaves);
        let answer = match UsageShape::detect(&provider, &raw).and_then(|shape| Ok((shape, to_usage(shape, &raw)?))) {
            Ok((shape, usage)) => {
                format!("{shape:?} {}", usage.buckets().map(|bucket| bucket.to_string()).join(" "))
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(answer, expected.trim(), "for {line}");
    }
}

#[test]
fn every_providers_counts_become_buckets_that_do_not_overlap() {
    check(
        "
        // OpenAI: prompt includes cached, completion includes reasoning
        openai prompt_tokens=2006 completion_tokens=300 total_tokens=2306 prompt_tokens_details.cached_tokens=1920 completion_tokens_details.reasoning_tokens=64 | OpenAiChat 86 1920 0 0 236 64
        openai prompt_tokens=10 completion_tokens=5 total_tokens=15                                                            | OpenAiChat 10 0 0 0 5 0
        openai prompt_tokens=100 completion_tokens=5 prompt_tokens_details.cached_tokens=60 prompt_tokens_details.cache_write_tokens=30 | OpenAiChat 10 60 30 0 5 0
        openai prompt_tokens=8 total_tokens=8                                                                                 | OpenAiChat 8 0 0 0 0 0
        openai input_tokens=2006 input_tokens_details.cached_tokens=1920 output_tokens=300 output_tokens_details.reasoning_tokens=64 total_tokens=2306 | OpenAiResponses 86 1920 0 0 236 64
        openai input_tokens=9 output_tokens=4                                                                                 | OpenAiResponses 9 0 0 0 4 0
        // Anthropic: input excludes both caches; writes with, without and only by the split; output includes thinking
        anthropic input_tokens=21 cache_creation_input_tokens=188086 cache_read_input_tokens=0 output_tokens=393              | Anthropic 21 0 188086 0 393 0
        anthropic input_tokens=2048 cache_creation_input_tokens=248 cache_creation.ephemeral_5m_input_tokens=148 cache_creation.ephemeral_1h_input_tokens=100 cache_read_input_tokens=1800 output_tokens=503 | Anthropic 2048 1800 148 100 503 0
        anthropic input_tokens=1 cache_creation.ephemeral_5m_input_tokens=2 cache_creation.ephemeral_1h_input_tokens=3 output_tokens=4 | Anthropic 1 0 2 3 4 0
        anthropic input_tokens=1 cache_creation_input_tokens=10 cache_creation.ephemeral_1h_input_tokens=3 output_tokens=4     | Anthropic 1 0 7 3 4 0
        anthropic input_tokens=1 output_tokens=40 output_tokens_details.thinking_tokens=30                                    | Anthropic 1 0 0 0 10 30
        anthropic input_tokens=9 output_tokens=4                                                                              | Anthropic 9 0 0 0 4 0
        aws input_tokens=9 output_tokens=4 cache_read_input_tokens=7                                                          | Anthropic 9 7 0 0 4 0
        // Gemini: prompt includes cached, tool prompts come on top, candidates exclude thoughts
        google promptTokenCount=262960 cachedContentTokenCount=257955 candidatesTokenCount=1744 totalTokenCount=264704       | Gemini 5005 257955 0 0 1744 0
        google promptTokenCount=100 candidatesTokenCount=20 thoughtsTokenCount=70 toolUsePromptTokenCount=11 totalTokenCount=201 | Gemini 111 0 0 0 20 70
        vertex prompt_token_count=100 cached_content_token_count=40 thoughts_token_count=7                                    | Gemini 60 40 0 0 0 7
        // Bedrock Converse: exclusive
        aws inputTokens=10 outputTokens=20 totalTokens=1130 cacheReadInputTokens=1000 cacheWriteInputTokens=100               | BedrockConverse 10 1000 100 0 20 0
        ",
    );
}

#[test]
fn compatible_servers_are_read_by_their_keys() {
    check(
        "
        deepseek prompt_tokens=1000 completion_tokens=50 total_tokens=1050 prompt_cache_hit_tokens=900 prompt_cache_miss_tokens=100 | OpenAiChat 100 900 0 0 50 0
        moonshotai prompt_tokens=1000 completion_tokens=50 total_tokens=1050 cached_tokens=256                                | OpenAiChat 744 256 0 0 50 0
        // xAI and Perplexity: reasoning is beside the completion, and their total says so
        x-ai prompt_tokens=32 completion_tokens=9 total_tokens=135 prompt_tokens_details.cached_tokens=6 completion_tokens_details.reasoning_tokens=94 | OpenAiChat 26 6 0 0 9 94
        perplexity prompt_tokens=10 completion_tokens=100 reasoning_tokens=500 total_tokens=610                               | OpenAiChat 10 0 0 0 100 500
        // the same keys where the total includes the reasoning
        openrouter prompt_tokens=32 completion_tokens=103 total_tokens=135 completion_tokens_details.reasoning_tokens=94      | OpenAiChat 32 0 0 0 9 94
        // a gateway shows Anthropic's cache counts beside an inclusive prompt total
        litellm prompt_tokens=2096 completion_tokens=50 cache_creation_input_tokens=248 cache_read_input_tokens=1800         | OpenAiChat 48 1800 248 0 50 0
        // Claude behind OpenAI's chat shape is not Anthropic's shape
        anthropic prompt_tokens=10 completion_tokens=5 total_tokens=15                                                        | OpenAiChat 10 0 0 0 5 0
        // a whole response instead of its usage object
        openai created=1700000000 usage.prompt_tokens=10 usage.completion_tokens=5                                            | OpenAiChat 10 0 0 0 5 0
        google usageMetadata.promptTokenCount=3 usageMetadata.candidatesTokenCount=4                                         | Gemini 3 0 0 0 4 0
        ",
    );
}

#[test]
fn counts_that_cannot_be_are_refused_by_name() {
    check(
        "
        openai prompt_tokens=10 completion_tokens=5 prompt_tokens_details.cached_tokens=11 | `prompt_tokens_details.cached_tokens` (11) is larger than `prompt_tokens` (10), which should include it
        openai prompt_tokens=10 completion_tokens=5 completion_tokens_details.reasoning_tokens=6 | `completion_tokens_details.reasoning_tokens` (6) is larger than `completion_tokens` (5), which should include it
        openai input_tokens=10 output_tokens=5 input_tokens_details.cached_tokens=11 | `input_tokens_details.cached_tokens` (11) is larger than `input_tokens` (10), which should include it
        anthropic input_tokens=1 output_tokens=1 cache_creation_input_tokens=5 cache_creation.ephemeral_1h_input_tokens=6 | `cache_creation.ephemeral_1h_input_tokens` (6) is larger than `cache_creation_input_tokens` (5), which should include it
        google promptTokenCount=10 cachedContentTokenCount=11 | `cachedContentTokenCount` (11) is larger than `promptTokenCount` (10), which should include it
        openai prompt_tokens=10 | the usage object has no `completion_tokens`
        openai completion_tokens=10 | the usage object has no `prompt_tokens`
        openai output_tokens=10 | the usage object has no `input_tokens`
        anthropic output_tokens=10 cache_read_input_tokens=1 | the usage object has no `input_tokens`
        google candidatesTokenCount=10 | the usage object has no `promptTokenCount`
        aws inputTokens=10 | the usage object has no `outputTokens`
        openai prompt_tokens=1000000000000001 completion_tokens=0 | `prompt_tokens` is larger than the ledger can keep
        google promptTokenCount=18446744073709551615 toolUsePromptTokenCount=1 | `promptTokenCount` is larger than the ledger can keep
        openai seconds=4 pages=1 | the usage object has no known shape (keys seen: pages, seconds): send the usage object of OpenAI, Anthropic, Gemini or Bedrock Converse unchanged, or the ledger's own buckets
        ",
    );
    let empty = UsageShape::detect(&ProviderId::parse("openai").unwrap(), &RawUsage::default());
    assert!(empty.unwrap_err().to_string().contains("keys seen: none"));
}

#[test]
fn an_error_repeats_a_bounded_list_of_keys() {
    let raw = RawUsage::new((0..1000).map(|n| (format!("key{n:04}"), 1)).collect());
    let error = UsageShape::detect(&ProviderId::parse("openai").unwrap(), &raw).unwrap_err().to_string();
    assert!(error.contains("key0011, …)") && !error.contains("key0012"), "{error}");
}

const PATHS: [&str; 30] = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details.cached_tokens",
    "prompt_tokens_details.cache_write_tokens",
    "completion_tokens_details.reasoning_tokens",
    "reasoning_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "input_tokens",
    "output_tokens",
    "input_tokens_details.cached_tokens",
    "input_tokens_details.cache_write_tokens",
    "output_tokens_details.reasoning_tokens",
    "output_tokens_details.thinking_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation.ephemeral_5m_input_tokens",
    "cache_creation.ephemeral_1h_input_tokens",
    "promptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "inputTokens",
    "outputTokens",
    "cacheReadInputTokens",
    "cacheWriteInputTokens",
    "usage.prompt_tokens",
    "anything",
];

proptest! {
    /// No input panics, and the buckets add up to the provider's own total.
    #[test]
    fn no_token_is_counted_twice_or_dropped(
        leaves in proptest::collection::btree_map(proptest::sample::select(&PATHS[..]), prop_oneof![0u64..5000, any::<u64>()], 0..14),
        provider in proptest::sample::select(&["openai", "anthropic", "google", "aws", "somebody"][..]),
    ) {
        let raw = RawUsage::new(leaves.into_iter().map(|(path, count)| (path.to_owned(), count)).collect());
        let provider = ProviderId::parse(provider).unwrap();
        let Ok(shape) = UsageShape::detect(&provider, &raw) else { return Ok(()) };
        let Ok(usage) = to_usage(shape, &raw) else { return Ok(()) };
        let get = |path| raw.get(path).unwrap_or(0);
        let total: u64 = usage.buckets().iter().map(|bucket| bucket.count()).sum();
        match shape {
            UsageShape::OpenAiChat => {
                let reasoning = raw.get("completion_tokens_details.reasoning_tokens").unwrap_or(get("reasoning_tokens"));
                let whole = get("prompt_tokens") + get("completion_tokens");
                prop_assert!(total == whole || (total == whole + reasoning && get("total_tokens") == total));
            }
            UsageShape::OpenAiResponses => prop_assert_eq!(total, get("input_tokens") + get("output_tokens")),
            UsageShape::Anthropic => {
                let split = get("cache_creation.ephemeral_5m_input_tokens") + get("cache_creation.ephemeral_1h_input_tokens");
                let written = raw.get("cache_creation_input_tokens").unwrap_or(split);
                prop_assert_eq!(total, get("input_tokens") + get("cache_read_input_tokens") + written + get("output_tokens"));
            }
            UsageShape::Gemini => prop_assert_eq!(
                total,
                get("promptTokenCount") + get("toolUsePromptTokenCount") + get("candidatesTokenCount") + get("thoughtsTokenCount")
            ),
            UsageShape::BedrockConverse => prop_assert_eq!(
                total,
                get("inputTokens") + get("cacheReadInputTokens") + get("cacheWriteInputTokens") + get("outputTokens")
            ),
        }
    }
}
