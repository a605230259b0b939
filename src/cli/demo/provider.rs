//! The providers, simulated: the usage object that each would send, in its own words.

use serde_json::{Value, json};

/// `prompt` tokens, of which `cached` came from a cache, and `output` tokens that were generated.
pub(super) fn usage(provider: &str, prompt: u64, cached: u64, output: u64) -> Value {
    let uncached = prompt.saturating_sub(cached);
    match provider {
        // Excludes what the cache served.
        "anthropic" => json!({
            "input_tokens": uncached, "cache_creation_input_tokens": 0, "cache_read_input_tokens": cached,
            "output_tokens": output, "service_tier": "standard"
        }),
        // Includes what the cache served; thinking stands beside the visible answer.
        "google" => json!({
            "promptTokenCount": prompt, "cachedContentTokenCount": cached, "candidatesTokenCount": output - output / 4,
            "thoughtsTokenCount": output / 4, "totalTokenCount": prompt + output
        }),
        // Bedrock Converse: excludes.
        "aws" => json!({
            "inputTokens": uncached, "outputTokens": output, "totalTokens": prompt + output,
            "cacheReadInputTokens": cached, "cacheWriteInputTokens": 0
        }),
        // OpenAI, and all who speak as it does: includes, in both directions.
        _ => json!({
            "prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": output / 3}
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ReservationId, TransferId};
    use crate::domain::ledger::command::ReportedUsage;
    use crate::domain::usage::provider::read_usage;
    use crate::wire::call::SettleBody;

    #[test]
    fn every_provider_counts_the_same_tokens_in_its_own_words() {
        for provider in ["anthropic", "google", "aws", "openai", "mistral"] {
            let body = SettleBody { provider_usage: Some(usage(provider, 1000, 400, 100)), ..SettleBody::default() };
            let nil = uuid::Uuid::nil();
            let settle = body.to_settle(ReservationId(nil), None, TransferId(nil)).unwrap();
            let Some(ReportedUsage::Provider(raw)) = settle.usage else { panic!("not raw") };
            let usage = read_usage(&provider.parse().unwrap(), &raw).unwrap().usage;
            assert_eq!(usage.input.count() + usage.cache_read.count(), 1000, "{provider}");
            assert_eq!(usage.cache_read.count(), 400, "{provider}");
            assert_eq!(usage.output.count() + usage.reasoning.count(), 100, "{provider}");
        }
    }
}
