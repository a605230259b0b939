//! What callers send: what is taken, and what is refused by which name.

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::domain::budget::catalogue::Priority;
use crate::domain::usage::provider::read_usage;

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, FieldError> {
    let text = value.to_string();
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(&text))
        .map_err(|error| FieldError::new(error.path().to_string(), error.inner()))
}

/// A sound body with some fields replaced; null takes one away.
fn changed(mut body: Value, changes: &Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(key);
        } else {
            body[key] = value.clone();
        }
    }
    body
}

fn preflight(changes: &Value) -> Result<Reserve, FieldError> {
    let body = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o",
        "estimate": {"input": 1200, "max_output": 800},
    });
    read::<PreflightBody>(&changed(body, changes))?.to_reserve(ReservationId(Uuid::nil()))
}

fn usage_item(changes: &Value) -> Result<PostUsage, FieldError> {
    let body = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 5, "output": 7},
    });
    read::<UsageBody>(&changed(body, changes))?.to_post(TransferId(Uuid::nil()))
}

fn settlement(body: &Value) -> Result<Settle, FieldError> {
    read::<SettleBody>(body)?.to_settle(ReservationId(Uuid::nil()), None, TransferId(Uuid::nil()))
}

#[track_caller]
fn refused<T: std::fmt::Debug>(what: &Value, answer: Result<T, FieldError>, field: &str, words: &str) {
    let error = match answer {
        Err(error) => error,
        Ok(taken) => panic!("{what} became {taken:?}"),
    };
    assert_eq!(error.field, field, "{what}: {error}");
    assert!(error.detail.contains(words), "{what}: {error}");
}

#[test]
fn the_preflight_of_the_design_is_taken() {
    let reserve = preflight(&json!({
        "tenant": "acme", "feature": "support-chat", "provider": "anthropic", "model": "claude-sonnet-4-5",
        "region": "eu-central-1", "priority": "interactive", "run": "r-42", "agent": "triage", "labels": {"team": "cx"},
        "estimate": {"input": 1200, "cache_read": 0, "max_output": 800},
        "reserve": true, "ttl_seconds": 120, "allow_cap": true
    }))
    .unwrap();
    assert_eq!(reserve.call.run, Some("r-42".parse().unwrap()));
    assert_eq!(reserve.call.labels.get(&"team".parse().unwrap()), Some(&"cx".parse().unwrap()));
    assert_eq!((reserve.priority, reserve.service_tier), (Priority::Interactive, ServiceTier::Standard));
    assert_eq!((reserve.usage.input.count(), reserve.usage.output.count(), reserve.min_output.count()), (1200, 800, 1));
    assert!(reserve.hold && reserve.allow_cap);
    let plain = preflight(&json!({})).unwrap();
    assert_eq!(
        (plain.priority, plain.ttl_seconds, plain.hold, plain.allow_cap),
        (Priority::Standard, 120, true, false)
    );
}

#[test]
fn a_wrong_field_of_a_preflight_is_refused_and_named() {
    let estimate = |key: &str, value: Value| {
        let mut estimate = json!({"input": 1, "max_output": 8});
        estimate[key] = value;
        json!({"estimate": estimate})
    };
    let many: BTreeMap<String, &str> = (0..17).map(|number| (format!("k{number}"), "v")).collect();
    let table = [
        (json!({"tenant": null}), ".", "missing field `tenant`"),
        (json!({"tenant": ""}), "tenant", "is empty"),
        (json!({"tenant": "a/b"}), "tenant", "letters, digits"),
        (json!({"feature": "x".repeat(129)}), "feature", "longer than 128 bytes"),
        (json!({"provider": "open ai"}), "provider", "letters, digits"),
        (json!({"model": "two words"}), "model", "without spaces"),
        (json!({"region": ""}), "region", "is empty"),
        (json!({"run": "a\u{202e}b"}), "run", "invisible"),
        (json!({"agent": "\u{0}"}), "agent", "control characters"),
        (json!({"labels": {"team": ""}}), "labels.team", "is empty"),
        (json!({"labels": many}), "labels", "at most 16"),
        (json!({"priority": "urgent"}), "priority", "unknown variant"),
        (json!({"service_tier": "gold"}), "service_tier", "is not standard"),
        (json!({"ttl_seconds": 0}), "ttl_seconds", "not between 1 and 86400"),
        (json!({"ttl_seconds": 86_401}), "ttl_seconds", "not between 1 and 86400"),
        (json!({"ttl_seconds": -1}), "ttl_seconds", "invalid value"),
        (json!({"prompt": "secret"}), "prompt", "unknown field"),
        (json!({"reserve": "yes"}), "reserve", "invalid type"),
        (json!({"estimate": {"input": 1}}), "estimate", "missing field `max_output`"),
        (estimate("output", json!(5)), "estimate.output", "unknown field"),
        (estimate("input", json!(-1)), "estimate.input", "invalid value"),
        (estimate("input", json!(1.5)), "estimate.input", "invalid type"),
        (estimate("input", json!("12")), "estimate.input", "invalid type"),
        (estimate("input", json!(u64::MAX)), "estimate.input", "larger than the ledger can keep"),
        (estimate("cache_read", json!(1_000_000_000_000_001_u64)), "estimate.cache_read", "larger than"),
        (estimate("cache_write_5m", json!(u64::MAX)), "estimate.cache_write_5m", "larger than"),
        (estimate("cache_write_1h", json!(u64::MAX)), "estimate.cache_write_1h", "larger than"),
        (estimate("max_output", json!(u64::MAX)), "estimate.max_output", "larger than"),
        (estimate("input", json!(1_000_000_000_000_000_u64)), "estimate", "in sum"),
        (estimate("min_output", json!(0)), "estimate.min_output", "between 1 and max_output"),
        (estimate("min_output", json!(9)), "estimate.min_output", "between 1 and max_output"),
    ];
    for (changes, field, words) in table {
        refused(&changes, preflight(&changes), field, words);
    }
}

#[test]
fn a_settlement_is_taken_in_our_buckets_or_in_the_providers() {
    let ours =
        settlement(&json!({"usage": {"input": 1200, "output": 412}, "latency_ms": 5300, "provider_usd": "0.0098"}))
            .unwrap();
    assert!(matches!(ours.usage, Some(ReportedUsage::Buckets(usage)) if usage.output.count() == 412));
    assert_eq!(ours.report.provider_usd.unwrap().to_string(), "0.0098");
    let theirs = settlement(
        &json!({"provider_usage": {"prompt_tokens": 5, "completion_tokens": 2}, "served_model": "gpt-4o-2024-08-06"}),
    )
    .unwrap();
    assert!(matches!(theirs.usage, Some(ReportedUsage::Provider(raw)) if raw.get("prompt_tokens") == Some(5)));
    for (word, outcome) in [
        ("completed", CallOutcome::Completed),
        ("failed", CallOutcome::Failed),
        ("cancelled", CallOutcome::Cancelled),
        ("timed_out", CallOutcome::TimedOut),
    ] {
        assert_eq!(settlement(&json!({"outcome": word})).unwrap().report.outcome, outcome);
    }
    let nothing = settlement(&json!({})).unwrap();
    assert_eq!(
        (nothing.usage, nothing.report.outcome),
        (None, CallOutcome::Completed),
        "whether that will do the books say"
    );
    assert_eq!(settlement(&json!({"usage": null, "provider_usd": null})).unwrap().report.provider_usd, None);
}

#[test]
fn a_wrong_field_of_a_settlement_is_refused_and_named() {
    let table = [
        (json!({"usage": {"input": 1}, "provider_usage": {}}), "provider_usage", "not both"),
        (json!({"usage": {"inputs": 1}}), "usage.inputs", "unknown field"),
        (json!({"usage": {"input": u64::MAX}}), "usage.input", "larger than"),
        (json!({"usage": {"input": 1_000_000_000_000_000_u64, "output": 1}}), "usage", "in sum"),
        (json!({"outcome": "done"}), "outcome", "unknown variant"),
        (json!({"served_model": ""}), "served_model", "is empty"),
        (json!({"served_region": "a b"}), "served_region", "letters, digits"),
        (json!({"latency_ms": 3_000_000_000_u32}), "latency_ms", "24 days"),
        (json!({"latency_ms": -1}), "latency_ms", "invalid value"),
        (json!({"provider_request_id": "x".repeat(257)}), "provider_request_id", "longer than 256 bytes"),
        (json!({"provider_request_id": "a\nb"}), "provider_request_id", "control characters"),
        (json!({"provider_usd": "-1"}), "provider_usd", "is negative"),
        (json!({"provider_usd": "0.0000000000001"}), "provider_usd", "more than 12 decimal places"),
        (json!({"provider_usd": 0.01}), "provider_usd", "write it as a string"),
        (json!({"completion": "text"}), "completion", "unknown field"),
    ];
    for (body, field, words) in table {
        refused(&body, settlement(&body), field, words);
    }
}

#[test]
fn usage_without_a_reservation_needs_a_usage_and_a_number_of_calls() {
    let taken =
        usage_item(&json!({"requests": 3, "occurred_at": "2026-01-01T00:00:00+09:00", "requested_model": "gpt-4"}))
            .unwrap();
    assert_eq!((taken.requests, taken.occurred_at.unwrap().to_rfc3339()), (3, "2025-12-31T15:00:00+00:00".to_owned()));
    assert_eq!(usage_item(&json!({})).unwrap().requests, 1);
    let table = [
        (json!({"usage": null}), "usage", "is needed"),
        (json!({"requests": 0}), "requests", "not between 1 and 1000000000"),
        (json!({"requests": 1_000_000_001}), "requests", "not between"),
        (json!({"occurred_at": "yesterday"}), "occurred_at", "invalid"),
        (json!({"occurred_at": "2026-01-01T00:00:00"}), "occurred_at", "premature"),
        (json!({"requested_model": " "}), "requested_model", "without spaces"),
        (json!({"tenant": "-"}), "tenant", "letters, digits"),
    ];
    for (changes, field, words) in table {
        refused(&changes, usage_item(&changes), field, words);
    }
}

#[test]
fn an_extension_is_bounded() {
    let extend =
        |body: &Value| read::<ExtendBody>(body).and_then(|body| body.to_extend(ReservationId(Uuid::nil()), None));
    let plain = extend(&json!({})).unwrap();
    assert_eq!((plain.ttl_seconds, plain.more_output), (120, Tokens::ZERO));
    for (body, field, words) in [
        (json!({"ttl_seconds": 86_401}), "ttl_seconds", "not between"),
        (json!({"more_output": u64::MAX}), "more_output", "larger than"),
        (json!({"more": 1}), "more", "unknown field"),
    ] {
        refused(&body, extend(&body), field, words);
    }
}

#[test]
fn a_providers_object_is_flattened_to_its_whole_numbers_and_the_words_that_change_a_price() {
    let flat = |object: &Value| flatten(object).unwrap();
    let openai = flat(&json!({
        "prompt_tokens": 2006, "completion_tokens": 300.0, "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": null},
        "service_tier": "default", "cost": 0.0123, "queue_time": 1.5, "is_byok": false, "zero": -0.0,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}],
    }));
    assert_eq!(openai.get("prompt_tokens"), Some(2006));
    assert_eq!(openai.get("completion_tokens"), Some(300), "a count that a gateway wrote as a float");
    assert_eq!(openai.get("prompt_tokens_details.cached_tokens"), Some(1920));
    for absent in
        ["service_tier", "cost", "queue_time", "is_byok", "prompt_tokens_details.audio_tokens", "promptTokensDetails"]
    {
        assert_eq!(openai.get(absent), None, "{absent}");
    }
    assert_eq!(openai.word("service_tier"), Some("default"));
    assert_eq!(openai.get("promptTokensDetails.0.tokenCount"), Some(7));
    assert_eq!(openai.word("promptTokensDetails.0.modality"), Some("TEXT"));
    let as_texts = flat(&json!({"prompt_tokens": "100", "total_tokens": "a hundred", "id": "7"}));
    assert_eq!(
        (as_texts.get("prompt_tokens"), as_texts.get("total_tokens"), as_texts.get("id")),
        (Some(100), None, None)
    );
    let long = json!({"logprobs": {"content": [{"bytes": vec![1; 5000]}]}, "usage": {"prompt_tokens": 3}});
    assert_eq!(flat(&long).get("prompt_tokens"), Some(3), "what else is in a response is not looked at");
    // What is below zero is refused by whoever reads the object; durations and costs may be.
    assert!(flat(&json!({"queue_time": -0.0001, "cost": -1})) == flat(&json!({})));
    for (object, field) in [(json!({"prompt_tokens": -1}), "prompt_tokens"), (json!({"a": {"b": -0.5}}), "a.b")] {
        let negative = read_usage(&"openai".parse().unwrap(), &flat(&object));
        assert_eq!(negative.unwrap_err().to_string(), format!("`{field}` is negative"));
    }
    let whole_response = flat(&json!({"id": "chatcmpl-1", "created": 1_767_225_600, "usage": {"prompt_tokens": 3}}));
    assert_eq!((whole_response.get("prompt_tokens"), whole_response.get("created")), (Some(3), None));
    assert_eq!(flat(&json!({})).get(""), None);

    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!({"a": inner}));
    assert!(flatten(&nested(8)).is_ok());
    let many = |count: usize| Value::Object((0..count).map(|number| (format!("n{number}"), json!(1))).collect());
    assert!(flatten(&many(200)).is_ok());
    let table = [
        (json!({"prompt_tokens": 1e30}), "provider_usage.prompt_tokens", "too large"),
        (json!({"cached_tokens": 1.8446744073709552e19}), "provider_usage.cached_tokens", "too large"),
        (nested(9), "provider_usage.a.a.a.a.a.a.a.a", "nested too deeply"),
        (many(201), "provider_usage", "too many numbers and words"),
        (json!([1]), "provider_usage", "must be the provider's usage object"),
        (json!("usage"), "provider_usage", "must be the provider's usage object"),
        (json!(5), "provider_usage", "must be the provider's usage object"),
    ];
    for (object, field, words) in table {
        refused(&object, flatten(&object), field, words);
    }
}

#[test]
fn bodies_are_written_as_they_are_read() {
    let body = json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "estimate": {"input": 5, "max_output": 7, "min_output": 2},
        "labels": {"team": "cx"}, "priority": "batch", "ttl_seconds": 9, "allow_cap": true, "reserve": false
    });
    let read_body: PreflightBody = read(&body).unwrap();
    assert_eq!(read::<PreflightBody>(&serde_json::to_value(&read_body).unwrap()).unwrap(), read_body);
    let usage: UsageBody = read(&json!({
        "tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 5},
        "provider_usd": "0.10", "occurred_at": "2026-01-01T00:00:00Z", "outcome": "timed_out", "requests": 2
    }))
    .unwrap();
    assert_eq!(read::<UsageBody>(&serde_json::to_value(&usage).unwrap()).unwrap(), usage);
    let settle: SettleBody = read(&json!({"provider_usage": {"input_tokens": 5}, "provider_usd": 1})).unwrap();
    assert_eq!(read::<SettleBody>(&serde_json::to_value(&settle).unwrap()).unwrap(), settle);
}
