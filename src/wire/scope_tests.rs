use std::sync::OnceLock;

use serde_json::json;

use super::*;
use crate::domain::price::PriceId;
use crate::wire::price::{bundled_provider_names, bundled_rows};

/// The bundled book, read once for all tests of this file.
fn book() -> &'static PriceBook {
    static BOOK: OnceLock<PriceBook> = OnceLock::new();
    BOOK.get_or_init(|| {
        let rows = bundled_rows().unwrap().into_iter().zip(1..).map(|(row, id)| row.with_id(PriceId(id))).collect();
        PriceBook::with_names(rows, bundled_provider_names().unwrap())
    })
}

/// `provider/model` by the one name of each.
fn name(provider: &str, model: &str) -> String {
    let (provider, model) = (ProviderId::parse(provider).unwrap(), ModelId::parse(model).unwrap());
    format!("{}/{}", book().provider_name(&provider), book().model_name(&provider, &model))
}

#[test]
fn every_spelling_has_one_name() {
    let table = [
        ("openai", "gpt-4o", "openai/gpt-4o"),
        ("OpenAI", "GPT-4o", "openai/gpt-4o"),
        ("openai", "gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("openai", "openai/gpt-4o", "openai/gpt-4o"),
        ("openrouter", "openai/gpt-4o", "openrouter/gpt-4o"),
        ("openrouter", "openai/gpt-4o-2024-08-06", "openrouter/gpt-4o"),
        ("litellm_proxy", "openai/gpt-4o-2024-08-06", "litellm_proxy/gpt-4o"),
        ("azure.ai.openai", "gpt-4o-2024-11-20", "azure/gpt-4o"),
        ("anthropic", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5"),
        ("openrouter", "anthropic/claude-sonnet-4.5", "openrouter/claude-sonnet-4-5"),
        ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", "aws/claude-sonnet-4-5"),
        ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws/claude-sonnet-4-5"),
        ("aws.bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws/claude-sonnet-4-5"),
        ("vertex_ai", "gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("gemini", "models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("gcp.vertex_ai", "publishers/anthropic/models/claude-sonnet-4-5@20250929", "google/claude-sonnet-4-5"),
        ("X-AI", "grok-4-0709", "x-ai/grok-4-0709"),
        ("acme", "Own-Model", "acme/own-model"),
        ("acme", "openai/Gpt-Unheard-Of", "acme/gpt-unheard-of"),
        ("acme", "meta-llama/Llama-9", "acme/meta-llama/llama-9"),
        ("bedrock", "us.anthropic.claude-unheard-of", "aws/claude-unheard-of"),
    ];
    for (provider, model, expected) in table {
        assert_eq!(name(provider, model), expected, "{provider} {model}");
    }
}

#[test]
fn a_name_is_its_own_name() {
    let mut wrong = Vec::new();
    for row in book().rows() {
        let named = name(row.provider.as_str(), row.model.as_str());
        let (provider, model) = named.split_once('/').unwrap();
        if name(provider, model) != named {
            wrong.push(format!("{}/{}: {named}, then {}", row.provider, row.model, name(provider, model)));
        }
    }
    assert!(wrong.is_empty(), "{} names change when they are named again: {wrong:#?}", wrong.len());
}

#[test]
fn all_rows_of_one_model_have_one_name_and_it_finds_a_price() {
    use crate::domain::price::ServiceTier;
    use crate::domain::price::book::Found;
    for row in book().rows().iter().filter(|row| row.service_tier == ServiceTier::Standard) {
        let model = book().model_name(&row.provider, &row.model);
        let found = book().find(&row.provider, &model, ServiceTier::Standard, row.region.as_ref(), row.effective_from);
        assert!(matches!(found, Found::Priced(_)), "{}/{}: {model} finds no price", row.provider, row.model);
    }
}

#[test]
fn a_scope_is_kept_by_names() {
    let table = [
        (json!({"provider": "bedrock"}), json!({"provider": "aws"})),
        (json!({"model": "openai/gpt-4o-2024-08-06"}), json!({"model": "gpt-4o"})),
        (json!({"provider": "OpenAI", "model": "GPT-4o"}), json!({"provider": "openai", "model": "gpt-4o"})),
        (json!({"model": ["gpt-4o-2024-08-06", "gpt-4o"]}), json!({"model": "gpt-4o"})),
        (json!({"model": ["gpt-4o", "claude-sonnet-4-5-20250929"]}), json!({"model": ["claude-sonnet-4-5", "gpt-4o"]})),
        (json!({"model": {"starts_with": "Claude-Opus-"}}), json!({"model": {"starts_with": "claude-opus-"}})),
        (
            json!({"model": {"starts_with": "anthropic/claude-opus-"}}),
            json!({"model": {"starts_with": "claude-opus-"}}),
        ),
        (
            json!({"provider": "bedrock", "model": "GPT-4o", "exact": true}),
            json!({"provider": "bedrock", "model": "GPT-4o", "exact": true}),
        ),
        (json!({"model": "own-model", "tenant": "acme"}), json!({"tenant": "acme", "model": "own-model"})),
    ];
    for (given, expected) in table {
        let scope: ScopeBody = serde_json::from_value(given.clone()).unwrap();
        let named = scope.named(book()).unwrap();
        assert_eq!(serde_json::to_value(&named).unwrap(), expected, "{given}");
        assert_eq!(named.named(book()).unwrap(), named, "{given}: what is read back can be written again");
    }
}

#[test]
fn a_scope_holds_no_pattern() {
    let table = [
        (json!({"model": "claude-opus-*"}), "scope.model"),
        (json!({"model": ["gpt-4o", "gpt-5*"]}), "scope.model"),
        (json!({"model": {"starts_with": "gpt-*"}}), "scope.model"),
        (json!({"model": []}), "scope.model"),
        (json!({"provider": "*"}), "scope.provider"),
        (json!({"region": "eu-*"}), "scope.region"),
        (json!({"agent": "*", "exact": true}), "scope.agent"),
        (json!({"labels": {"team": "c*"}}), "scope.labels.team"),
    ];
    for (given, field) in table {
        let scope: ScopeBody = serde_json::from_value(given.clone()).unwrap();
        assert_eq!(scope.named(book()).unwrap_err().field, field, "{given}");
    }
    for wrong in
        [json!({"model": 4}), json!({"model": {"ends_with": "x"}}), json!({"model": {}}), json!({"model": null})]
    {
        let read = serde_json::from_value::<ScopeBody>(wrong.clone());
        assert!(read.is_err() || wrong["model"].is_null(), "{wrong}");
    }
}

#[test]
fn a_scope_without_a_provider_governs_its_model_at_every_provider_that_lists_it() {
    let given: ScopeBody = serde_json::from_value(json!({"model": "claude-sonnet-4-5"})).unwrap();
    let models = given.named(book()).unwrap().model.unwrap().to_models().unwrap();
    let calls = [
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("openrouter", "anthropic/claude-sonnet-4.5"),
        ("google", "claude-sonnet-4-5@20250929"),
    ];
    for (provider, model) in calls {
        let (provider, model) = (ProviderId::parse(provider).unwrap(), ModelId::parse(model).unwrap());
        assert!(models.holds(&book().model_name(&provider, &model)), "{provider} {model} is not in {models:?}");
    }
}
