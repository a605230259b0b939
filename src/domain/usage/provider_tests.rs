use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn raw(text: &str) -> RawUsage {
    let (mut counts, mut words) = (BTreeMap::new(), BTreeMap::new());
    for pair in text.split_whitespace() {
        let (key, value) = pair.split_once('=').expect("key=value");
        match value.parse() {
            Ok(count) => drop(counts.insert(key.to_owned(), count)),
            Err(_) => drop(words.insert(key.to_owned(), value.to_owned())),
        }
    }
    RawUsage::with_words(counts, words)
}

/// One line per case: provider, raw counts and words, `|`, then input, cache read, write 5m, write 1h, output, reasoning; the tier
/// if the object says it; and after `unread` the keys that are not accounted for.
#[track_caller]
fn check(table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        let (given, expected) = line.split_once('|').expect("a |");
        let (provider, leaves) = given.trim().split_once(' ').expect("provider and leaves");
        let provider = ProviderId::parse(provider).unwrap();
        let answer = match read_usage(&provider, &raw(leaves)) {
            Ok(Reading { usage, service_tier, unread }) => {
                let mut words: Vec<String> = usage.buckets().iter().map(ToString::to_string).collect();
                words.extend(service_tier.map(|tier| tier.as_str().to_owned()));
                if !unread.is_empty() {
                    words.push("unread".to_owned());
                    words.extend(unread);
                }
                words.join(" ")
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
        openai prompt_tokens=2006 completion_tokens=300 total_tokens=2306 prompt_tokens_details.cached_tokens=1920 completion_tokens_details.reasoning_tokens=64 | 86 1920 0 0 236 64
        openai prompt_tokens=10 completion_tokens=5 total_tokens=15                                                            | 10 0 0 0 5 0
        openai prompt_tokens=100 completion_tokens=5 prompt_tokens_details.cached_tokens=60 prompt_tokens_details.cache_write_tokens=30 | 10 60 30 0 5 0
        openai prompt_tokens=8 total_tokens=8                                                                                 | 8 0 0 0 0 0
        openai input_tokens=2006 input_tokens_details.cached_tokens=1920 output_tokens=300 output_tokens_details.reasoning_tokens=64 total_tokens=2306 | 86 1920 0 0 236 64
        openai input_tokens=9 output_tokens=4                                                                                 | 9 0 0 0 4 0
        // Anthropic: input excludes both caches; writes with, without and only by the split; output includes thinking
        anthropic input_tokens=21 cache_creation_input_tokens=188086 cache_read_input_tokens=0 output_tokens=393              | 21 0 188086 0 393 0
        anthropic input_tokens=2048 cache_creation_input_tokens=248 cache_creation.ephemeral_5m_input_tokens=148 cache_creation.ephemeral_1h_input_tokens=100 cache_read_input_tokens=1800 output_tokens=503 | 2048 1800 148 100 503 0
        anthropic input_tokens=1 cache_creation.ephemeral_5m_input_tokens=2 cache_creation.ephemeral_1h_input_tokens=3 output_tokens=4 | 1 0 2 3 4 0
        anthropic input_tokens=1 cache_creation_input_tokens=10 cache_creation.ephemeral_1h_input_tokens=3 output_tokens=4     | 1 0 7 3 4 0
        anthropic input_tokens=1 output_tokens=40 output_tokens_details.thinking_tokens=30                                    | 1 0 0 0 10 30
        anthropic input_tokens=9 output_tokens=4                                                                              | 9 0 0 0 4 0
        aws input_tokens=9 output_tokens=4 cache_read_input_tokens=7                                                          | 9 7 0 0 4 0
        // Gemini: prompt includes cached, tool prompts come on top, candidates exclude thoughts
        google promptTokenCount=262960 cachedContentTokenCount=257955 candidatesTokenCount=1744 totalTokenCount=264704       | 5005 257955 0 0 1744 0
        google promptTokenCount=100 candidatesTokenCount=20 thoughtsTokenCount=70 toolUsePromptTokenCount=11 totalTokenCount=201 | 111 0 0 0 20 70
        vertex prompt_token_count=100 cached_content_token_count=40 thoughts_token_count=7                                    | 60 40 0 0 0 7
        // Bedrock Converse: exclusive
        aws inputTokens=10 outputTokens=20 totalTokens=1130 cacheReadInputTokens=1000 cacheWriteInputTokens=100               | 10 1000 100 0 20 0
        ",
    );
}

#[test]
fn compatible_servers_are_read_by_their_keys() {
    check(
        "
        deepseek prompt_tokens=1000 completion_tokens=50 total_tokens=1050 prompt_cache_hit_tokens=900 prompt_cache_miss_tokens=100 | 100 900 0 0 50 0
        moonshotai prompt_tokens=1000 completion_tokens=50 total_tokens=1050 cached_tokens=256                                | 744 256 0 0 50 0
        // xAI and Perplexity: the completion leaves the reasoning out, and their total shows it
        x-ai prompt_tokens=32 completion_tokens=9 total_tokens=135 prompt_tokens_details.cached_tokens=6 completion_tokens_details.reasoning_tokens=94 | 26 6 0 0 9 94
        perplexity prompt_tokens=10 completion_tokens=100 reasoning_tokens=500 total_tokens=610                               | 10 0 0 0 100 500
        // the same keys where the total includes the reasoning
        openrouter prompt_tokens=32 completion_tokens=103 total_tokens=135 completion_tokens_details.reasoning_tokens=94      | 32 0 0 0 9 94
        // a gateway adds Anthropic's cache counts to an inclusive prompt total
        litellm prompt_tokens=2096 completion_tokens=50 cache_creation_input_tokens=248 cache_read_input_tokens=1800         | 48 1800 248 0 50 0
        // Claude behind OpenAI's chat shape is not Anthropic's shape
        anthropic prompt_tokens=10 completion_tokens=5 total_tokens=15                                                        | 10 0 0 0 5 0
        // a whole response instead of its usage object
        openai created=1700000000 usage.prompt_tokens=10 usage.completion_tokens=5                                            | 10 0 0 0 5 0
        google usageMetadata.promptTokenCount=3 usageMetadata.candidatesTokenCount=4                                         | 3 0 0 0 4 0
        ",
    );
}

#[test]
fn sdks_and_frameworks_are_read_by_their_names() {
    check(
        "
        // Codex: flat names, included in the counts
        openai input_tokens=123302 cached_input_tokens=96128 output_tokens=1944 reasoning_output_tokens=1129 total_tokens=125246 | 27174 96128 0 0 815 1129
        openai input_tokens=26549 cached_input_tokens=22272 output_tokens=1590 | 4277 22272 0 0 1590 0
        // Vercel's AI SDK 5, 6 and 7
        openai inputTokens=2224 outputTokens=1469 totalTokens=3693 reasoningTokens=1152 cachedInputTokens=2048 | 176 2048 0 0 317 1152
        anthropic inputTokens=4740 inputTokenDetails.noCacheTokens=5 inputTokenDetails.cacheReadTokens=0 inputTokenDetails.cacheWriteTokens=4735 outputTokens=255 outputTokenDetails.textTokens=255 outputTokenDetails.reasoningTokens=0 totalTokens=4995 | 5 0 4735 0 255 0
        openai inputTokens.total=100 inputTokens.noCache=30 inputTokens.cacheRead=60 inputTokens.cacheWrite=10 outputTokens.total=20 outputTokens.text=15 outputTokens.reasoning=5 | 30 60 10 0 15 5
        // AI SDK 5 with Anthropic leaves the cache out, and says so by a part that is larger than its whole
        anthropic inputTokens=4 outputTokens=104 totalTokens=108 cachedInputTokens=2183 | 4 2183 0 0 104 0 unread cachedInputTokens
        // LangChain; of Bedrock it leaves the cache out, and its total says so
        openai input_tokens=5000 output_tokens=100 total_tokens=5100 input_token_details.cache_read=4096 input_token_details.cache_creation=0 output_token_details.reasoning=64 | 904 4096 0 0 36 64
        anthropic input_tokens=5000 output_tokens=100 total_tokens=5100 input_token_details.cache_read=4096 input_token_details.cache_creation=500 | 404 4096 500 0 100 0
        aws input_tokens=10 output_tokens=5 total_tokens=1115 input_token_details.cache_read=1000 input_token_details.cache_creation=100 | 10 1000 100 0 5 0
        anthropic input_tokens=1000 output_tokens=5 input_token_details.cache_creation=0 input_token_details.ephemeral_1h_input_tokens=300 | 700 0 0 300 5 0
        // pydantic-ai
        anthropic input_tokens=39019 cache_write_tokens=1000 cache_read_tokens=38000 output_tokens=200 | 19 38000 1000 0 200 0
        // OpenAI's Agents SDK, in Python and in TypeScript
        openai requests=2 input_tokens=100 input_tokens_details.cached_tokens=40 output_tokens=9 output_tokens_details.reasoning_tokens=3 total_tokens=109 | 60 40 0 0 6 3
        openai requests=2 inputTokens=100 inputTokensDetails.0.cachedTokens=40 inputTokensDetails.1.cachedTokens=20 outputTokens=9 totalTokens=109 | 40 60 0 0 9 0
        // Gemini's Live and Interactions APIs
        google prompt_token_count=509 prompt_tokens_details.0.modality=TEXT prompt_tokens_details.0.token_count=509 response_token_count=11 response_tokens_details.0.modality=TEXT response_tokens_details.0.token_count=11 total_token_count=520 | 509 0 0 0 11 0
        google total_input_tokens=46 total_cached_tokens=6 total_output_tokens=7 total_thought_tokens=188 total_tool_use_tokens=0 total_tokens=241 | 40 6 0 0 7 188
        // Llama, Titan and the streams of invoke on Bedrock
        aws prompt_token_count=25 generation_token_count=512 stop_reason=stop | 25 0 0 0 512 0
        aws inputTextTokenCount=5 results.0.tokenCount=61 results.0.completionReason=FINISH | 5 0 0 0 61 0
        aws inputTextTokenCount=8 | 8 0 0 0 0 0
        aws amazon-bedrock-invocationMetrics.inputTokenCount=14 amazon-bedrock-invocationMetrics.outputTokenCount=4 amazon-bedrock-invocationMetrics.invocationLatency=1200 amazon-bedrock-invocationMetrics.cacheReadInputTokenCount=7 | 14 7 0 0 4 0
        // Cohere bills other counts than it shows
        cohere billed_units.input_tokens=10 billed_units.output_tokens=20 tokens.input_tokens=506 tokens.output_tokens=22 | 10 0 0 0 20 0
        cohere usage.billed_units.input_tokens=10 usage.tokens.input_tokens=506 | 10 0 0 0 0 0
        voyage total_tokens=77 | 77 0 0 0 0 0
        mistral prompt_tokens=801 completion_tokens=2 total_tokens=803 num_cached_tokens=768 | 33 768 0 0 2 0
        groq x_groq.id=req x_groq.usage.prompt_tokens=10 x_groq.usage.completion_tokens=2 x_groq.usage.total_tokens=12 | 10 0 0 0 2 0
        ",
    );
}

#[test]
fn a_cache_of_an_hour_is_known_wherever_its_lifetime_stands() {
    check(
        "
        aws inputTokens=14 outputTokens=4 totalTokens=8900 cacheWriteInputTokens=8882 cacheDetails.0.ttl=1h cacheDetails.0.inputTokens=8882 | 14 0 0 8882 4 0
        aws inputTokens=0 outputTokens=0 totalTokens=4000 cacheWriteInputTokens=4000 cacheDetails.0.ttl=1h cacheDetails.0.inputTokens=3000 cacheDetails.1.ttl=5m cacheDetails.1.inputTokens=1000 | 0 0 1000 3000 0 0
        aws prompt_tokens=8865 completion_tokens=4 total_tokens=8869 cache_creation_input_tokens=8851 prompt_tokens_details.text_tokens=14 prompt_tokens_details.cache_creation_tokens=8851 prompt_tokens_details.cache_creation_token_details.ephemeral_5m_input_tokens=0 prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens=8851 | 14 0 0 8851 4 0
        openrouter prompt_tokens=3019 completion_tokens=104 total_tokens=3123 prompt_tokens_details.cached_tokens=2048 prompt_tokens_details.cache_creation_input_tokens=900 prompt_tokens_details.cache_creation.ephemeral_5m_input_tokens=900 | 71 2048 900 0 104 0
        // a split that is larger than its total: the parts are certain
        anthropic input_tokens=1 output_tokens=1 cache_creation_input_tokens=5 cache_creation.ephemeral_1h_input_tokens=6 | 1 0 0 6 1 0 unread cache_creation_input_tokens
        ",
    );
}

#[test]
fn what_contradicts_is_read_so_that_nothing_is_dropped_and_is_named() {
    check(
        "
        // servers that leave the cache out of an inclusive count
        openai prompt_tokens=2200 completion_tokens=50 prompt_tokens_details.cached_tokens=8652 | 2200 8652 0 0 50 0 unread prompt_tokens_details.cached_tokens
        openai prompt_tokens=10 completion_tokens=5 completion_tokens_details.reasoning_tokens=6 | 10 0 0 0 5 6 unread completion_tokens_details.reasoning_tokens
        google promptTokenCount=10 cachedContentTokenCount=11 candidatesTokenCount=3 | 10 11 0 0 3 0 unread cachedContentTokenCount
        // thinking that only the total shows
        google prompt_tokens=20 completion_tokens=198 total_tokens=623 | 20 0 0 0 603 0 unread total_tokens
        google promptTokenCount=9000 candidatesTokenCount=537 totalTokenCount=11476 | 9000 0 0 0 2476 0 unread totalTokenCount
        // of Bedrock the prompt is more than its count
        aws inputTokens=32 outputTokens=20 totalTokens=1052 | 1032 0 0 0 20 0 unread totalTokens
        // a total that is too small takes nothing away
        openai prompt_tokens=20 completion_tokens=10 total_tokens=25 | 20 0 0 0 10 0 unread total_tokens
        // unknown names, and modalities with a price of their own
        openai prompt_tokens=20 completion_tokens=10 deep_thought_tokens=7 | 20 0 0 0 10 0 unread deep_thought_tokens
        openai prompt_tokens=20 completion_tokens=10 prompt_tokens_details.audio_tokens=7 completion_tokens_details.audio_tokens=0 | 20 0 0 0 10 0 unread prompt_tokens_details.audio_tokens
        google promptTokenCount=20 candidatesTokenCount=10 candidatesTokensDetails.0.modality=IMAGE candidatesTokensDetails.0.tokenCount=9 candidatesTokensDetails.1.modality=TEXT candidatesTokensDetails.1.tokenCount=1 | 20 0 0 0 10 0 unread candidatesTokensDetails.0.tokenCount
        anthropic input_tokens=20 output_tokens=10 server_tool_use.web_search_requests=3 | 20 0 0 0 10 0 unread server_tool_use.web_search_requests
        // times and costs are no counts
        groq prompt_tokens=10 completion_tokens=2 queue_time=1 total_time=2 cost_in_usd_ticks=232856000 | 10 0 0 0 2 0
        ",
    );
}

#[test]
fn the_requests_that_an_answer_was_made_of_are_added_up() {
    check(
        "
        // the answer's own counts leave out the compaction
        anthropic input_tokens=100 output_tokens=50 cache_read_input_tokens=2000 iterations.0.type=compaction iterations.0.input_tokens=500 iterations.0.output_tokens=700 iterations.0.cache_read_input_tokens=90000 iterations.1.type=message iterations.1.input_tokens=100 iterations.1.output_tokens=50 iterations.1.cache_read_input_tokens=2000 | 600 92000 0 0 750 0
        anthropic input_tokens=136 output_tokens=16 iterations.0.type=message iterations.0.input_tokens=136 iterations.0.output_tokens=16 | 136 0 0 0 16 0
        // an adviser of another model has another price
        anthropic input_tokens=1 output_tokens=45 iterations.0.type=message iterations.0.input_tokens=1 iterations.0.output_tokens=45 iterations.1.type=advisor_message iterations.1.model=claude-opus-4-7 iterations.1.input_tokens=159419 iterations.1.output_tokens=7805 | 1 0 0 0 45 0 unread iterations.1.input_tokens iterations.1.output_tokens
        // a list that sums to less than the answer itself
        anthropic input_tokens=100 output_tokens=50 iterations.0.input_tokens=10 iterations.0.output_tokens=5 | 100 0 0 0 50 0 unread iterations
        ",
    );
}

#[test]
fn words_that_change_the_price_are_read_or_named() {
    check(
        "
        anthropic input_tokens=1 output_tokens=2 service_tier=batch | 1 0 0 0 2 0 batch
        anthropic input_tokens=1 output_tokens=2 service_tier=standard speed=fast | 1 0 0 0 2 0 fast
        anthropic input_tokens=1 output_tokens=2 service_tier=standard speed=standard | 1 0 0 0 2 0 standard
        // capacity that was paid for before
        anthropic input_tokens=1 output_tokens=2 service_tier=priority | 1 0 0 0 2 0 standard
        openai object=response service_tier=priority usage.input_tokens=1000 usage.output_tokens=100 usage.total_tokens=1100 | 1000 0 0 0 100 0 priority
        openai prompt_tokens=1 completion_tokens=2 service_tier=default | 1 0 0 0 2 0 standard
        openai prompt_tokens=1 completion_tokens=2 service_tier=scale | 1 0 0 0 2 0 unread service_tier=scale
        google promptTokenCount=1 candidatesTokenCount=2 trafficType=ON_DEMAND_FLEX | 1 0 0 0 2 0 flex
        google promptTokenCount=1 candidatesTokenCount=2 trafficType=PROVISIONED_THROUGHPUT | 1 0 0 0 2 0 unread trafficType=PROVISIONED_THROUGHPUT
        anthropic input_tokens=1 output_tokens=2 inference_geo=us | 1 0 0 0 2 0 unread inference_geo=us
        anthropic input_tokens=1 output_tokens=2 inference_geo=global | 1 0 0 0 2 0
        ",
    );
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    check(
        "
        openai prompt_tokens=10 | the usage object has no `completion_tokens`
        openai completion_tokens=10 | the usage object has no `prompt_tokens`
        openai output_tokens=10 | the usage object has no `input_tokens`
        anthropic output_tokens=10 cache_read_input_tokens=1 | the usage object has no `input_tokens`
        google candidatesTokenCount=10 | the usage object has no `promptTokenCount`
        aws inputTokens=10 | the usage object has no `outputTokens`
        openai prompt_tokens=1000000000000001 completion_tokens=0 | `prompt_tokens` is larger than the ledger can keep
        google promptTokenCount=18446744073709551615 toolUsePromptTokenCount=1 | `promptTokenCount` is larger than the ledger can keep
        openai seconds=4 pages=1 | the usage object has no known shape (keys seen: pages, seconds): send the usage object of the provider or of its SDK unchanged, or the ledger's own buckets
        ",
    );
    let empty = read_usage(&ProviderId::parse("openai").unwrap(), &RawUsage::default());
    assert!(empty.unwrap_err().to_string().contains("keys seen: none"));
}

#[test]
fn errors_and_remarks_repeat_a_bounded_list_of_keys() {
    let openai = ProviderId::parse("openai").unwrap();
    let many: BTreeMap<String, u64> = (0..1000).map(|n| (format!("key{n:04}"), 1)).collect();
    let error = read_usage(&openai, &RawUsage::new(many.clone())).unwrap_err().to_string();
    assert!(error.contains("key0011, …)") && !error.contains("key0012"), "{error}");
    let mut counts = many;
    counts.extend([("prompt_tokens".to_owned(), 1), ("completion_tokens".to_owned(), 1), ("é".repeat(90), 1)]);
    let unread = read_usage(&openai, &RawUsage::new(counts)).unwrap().unread;
    assert_eq!(unread.len(), UNREAD_KEYS_MAX);
    assert!(unread.iter().all(|key| key.len() <= UNREAD_KEY_LENGTH_MAX));
}

/// Every name that is known, and some that are not.
fn paths() -> Vec<String> {
    let parts = READ.iter().chain(WRITTEN).chain(THOUGHT).map(|(name, _)| *name);
    let families = FAMILIES.iter().flat_map(|family| family.prompt.iter().chain(family.generated));
    let rest = [TOOLS, TOTAL, WRITTEN_5M, WRITTEN_1H].concat();
    let unknown = ["usage.prompt_tokens", "anything", "iterations.0.input_tokens", "iterations.0.output_tokens"];
    parts.chain(families.copied()).chain(rest).chain(unknown).map(|name| name.replace('*', "0")).collect()
}

proptest! {
    /// No object panics; each count above zero is in a bucket or named; and an object without remarks adds up to its own total.
    #[test]
    fn no_token_is_counted_twice_or_dropped(
        picked in proptest::collection::vec((0_usize..1000, prop_oneof![0_u64..5000, any::<u64>()]), 0..14),
        provider in proptest::sample::select(&["openai", "anthropic", "google", "aws", "somebody"][..]),
    ) {
        let all = paths();
        let counts: BTreeMap<String, u64> = picked.into_iter().map(|(n, count)| (all[n % all.len()].clone(), count)).collect();
        let raw = RawUsage::new(counts);
        let Ok(reading) = read_usage(&ProviderId::parse(provider).unwrap(), &raw) else { return Ok(()) };
        let sum: u64 = reading.usage.buckets().iter().map(|bucket| bucket.count()).sum();
        if !reading.unread.is_empty() {
            return Ok(());
        }
        let most: u128 = raw.counts().map(|(_, count)| u128::from(count)).sum();
        prop_assert!(u128::from(sum) <= most, "{sum} of {most}: {raw:?}");
        let totals: Vec<u64> = TOTAL.iter().filter_map(|name| raw.get(name)).collect();
        if let [total] = totals[..] {
            let buckets = &reading.usage;
            let alone = [buckets.input, buckets.output].iter().map(|bucket| bucket.count()).sum::<u64>();
            prop_assert!(total == sum || total >= alone, "{total} for {sum}: {raw:?}");
        }
        for (path, count) in raw.counts().filter(|(path, _)| FAMILIES.iter().any(|family| family.prompt.contains(path))) {
            prop_assert!(count <= sum, "{path}: {raw:?}");
        }
    }
}
