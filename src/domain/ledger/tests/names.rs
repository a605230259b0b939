//! One name for a provider and for a model, whatever callers say.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::fixtures::price_row;
use crate::domain::price::book::PriceBook;
use crate::domain::price::matching::{ModelMatch, Text};
use crate::domain::price::names::ProviderNames;

const MILLION: rust_decimal::Decimal = rust_decimal::dec!(1_000_000);

/// `openai` sells `gpt-4o` under dated names too, and is also called `open_ai`; `aws` is also `bedrock`.
fn named_rates() -> Arc<RateBooks> {
    let starts = |text: &str| ModelMatch::StartsWith(Text::new(text));
    let row = |id, provider, model, price, matcher| {
        let tiers = [(0, [price; 6])];
        crate::domain::price::PriceRow { matcher, ..price_row(id, provider, model, &tiers, rust_decimal::dec!(0)) }
    };
    let rows = vec![
        row(1, "openai", "gpt-4o", MILLION, ModelMatch::Any(vec![starts("gpt-4o-20"), starts("gpt-4o@")])),
        row(2, "openai", "gpt-4o-mini", MILLION, starts("gpt-4o-mini-")),
        row(3, "aws", "us.openai.gpt-4o", MILLION, starts("openai.gpt-4o")),
    ];
    let parse = |name: &str| name.parse().unwrap();
    let aliases = [(parse("open_ai"), parse("openai")), (parse("bedrock"), parse("aws"))];
    let names = ProviderNames::new(aliases.iter().map(|(alias, id)| (alias, id)), []);
    let known = rates();
    Arc::new(RateBooks { prices: Arc::new(PriceBook::with_names(rows, names)), ..(*known).clone() })
}

fn world(budgets: &str) -> World {
    World { rates: named_rates(), ..World::with(budgets) }
}

fn served(number: u128, model: &str, output: u64) -> Settle {
    let settle = settle(number, Some(used(0, output)), CallOutcome::Completed);
    Settle { served_model: Some(model.parse().unwrap()), ..settle }
}

const SPELLINGS: [(&str, &str, &str); 9] = [
    ("openai", "gpt-4o", "openai/gpt-4o"),
    ("OpenAI", "GPT-4o", "openai/gpt-4o"),
    ("open_ai", "gpt-4o-2024-08-06", "openai/gpt-4o"),
    ("openai", "openai/gpt-4o-2024-11-20", "openai/gpt-4o"),
    ("openai", "gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini"),
    ("bedrock", "openai.gpt-4o-v1:0", "aws/gpt-4o"),
    ("aws", "us.openai.gpt-4o", "aws/gpt-4o"),
    ("acme-gateway", "openai/gpt-4o", "acme-gateway/gpt-4o"),
    ("acme-gateway", "Own-Model", "acme-gateway/own-model"),
];

/// A call, said like this.
fn said(provider: &str, model: &str) -> String {
    format!("acme/chat {provider}/{model}")
}

#[test]
fn a_budget_of_a_model_governs_every_spelling_of_it() {
    for (provider, model, name) in SPELLINGS {
        let (of_provider, of_model) = name.split_once('/').unwrap();
        let mut world = world(&format!(
            "budget m tokens 100 month provider={of_provider} model={of_model}\nbudget p tokens 100 month provider={of_provider}"
        ));
        world.grant(1, &said(provider, model), 0, 100);
        assert_eq!(world.counters("m"), "0+100", "{provider} {model}");
        assert_eq!(world.counters("p"), "0+100", "{provider} {model}");
        let again = world.reserve(reserve(2, &said(of_provider, of_model), 0, 1));
        assert!(!again.ruling.verdict.grants(), "{provider} {model}: {:?}", again.ruling);
    }
}

#[test]
fn another_word_for_the_model_that_was_asked_posts_where_it_was_held() {
    let mut world = world("budget m tokens 200 month model=gpt-4o\nbudget e tokens 200 month each=model");
    for (number, word) in [(1, "gpt-4o-2024-08-06"), (2, "GPT-4o"), (3, "openai/gpt-4o"), (4, "gpt-4o")] {
        world.grant(number, "acme/chat openai/gpt-4o", 0, 50);
        world.settle(served(number, word, 50)).unwrap();
        assert_eq!(world.transfer().requested_model, None, "{word}");
        assert_eq!(world.transfer().call.model.as_str(), "gpt-4o", "{word}");
    }
    assert_eq!(world.counters("m"), "200+0");
    assert_eq!(world.counters("e"), "200+0");
    let served_as = world.store.transfers[0].call.said().and_then(|said| said.served_model.clone());
    assert_eq!(served_as.unwrap().as_str(), "gpt-4o-2024-08-06", "what the provider reported is kept");
    assert!(!world.reserve(reserve(5, "acme/chat openai/gpt-4o", 0, 1)).ruling.verdict.grants());
}

#[test]
fn a_model_that_is_really_another_one_posts_to_the_budgets_of_the_one_that_served() {
    let mut world =
        world("budget asked tokens 200 month model=gpt-4o\nbudget served tokens 200 month model=gpt-4o-mini");
    world.grant(1, "acme/chat openai/gpt-4o-2024-08-06", 0, 50);
    world.settle(served(1, "gpt-4o-mini-2024-07-18", 40)).unwrap();
    assert_eq!(world.counters("asked"), "", "the hold was given back");
    assert_eq!(world.counters("served"), "40+0");
    assert_eq!(world.transfer().requested_model.as_ref().unwrap().as_str(), "gpt-4o");
}

#[test]
fn a_scope_that_is_exact_looks_at_what_was_said() {
    let mut world =
        world("budget x tokens 200 month exact model=gpt-4o-2024-08-06\nbudget y tokens 200 month exact model=gpt-4o");
    world.grant(1, "acme/chat openai/gpt-4o-2024-08-06", 0, 50);
    assert_eq!((world.counters("x").as_str(), world.counters("y").as_str()), ("0+50", ""));
    world.settle(served(1, "gpt-4o", 50)).unwrap();
    assert_eq!((world.counters("x").as_str(), world.counters("y").as_str()), ("50+0", ""));
    world.grant(2, "acme/chat openai/gpt-4o", 0, 50);
    world.settle(served(2, "gpt-4o-2024-08-06", 50)).unwrap();
    assert_eq!((world.counters("x").as_str(), world.counters("y").as_str()), ("50+0", "50+0"));
}

#[test]
fn what_a_call_was_named_stays_when_the_book_says_otherwise_later() {
    let mut world = world("budget m tokens 200 month model=gpt-4o\nbudget e tokens 200 month each=model");
    world.grant(1, "acme/chat openai/gpt-4o-2024-08-06", 0, 50);
    // The snapshot gets a price of its own, and so a name of its own.
    let tiers = [(0, [MILLION; 6])];
    let mut rows: Vec<_> = named_rates().prices.rows().iter().map(|row| (**row).clone()).collect();
    rows.push(price_row(9, "openai", "gpt-4o-2024-08-06", &tiers, rust_decimal::dec!(0)));
    world.rates = Arc::new(RateBooks { prices: Arc::new(PriceBook::new(rows)), ..(*rates()).clone() });
    world.settle(served(1, "gpt-4o-2024-08-06", 50)).unwrap();
    assert_eq!(world.counters("m"), "50+0", "what was held under a name is posted under it");
    world.post(post(2, "acme/chat openai/gpt-4o-2024-08-06", 0, 7)).unwrap();
    assert_eq!(world.counters("m"), "50+0");
    assert_eq!(world.counters("e"), "50+0 7+0");
}

proptest! {
    /// The sum over the budgets that are counted apart is what was spent, whatever the calls were said to be.
    #[test]
    fn counters_by_model_and_by_provider_add_up_to_what_was_spent(
        calls in prop::collection::vec((0..SPELLINGS.len(), 0..SPELLINGS.len(), any::<bool>(), 1_u64..100), 1..24)
    ) {
        let mut world = world("budget all tokens 100000 month\nbudget m tokens 100000 month each=model\nbudget p tokens 100000 month each=provider");
        let mut spent = 0_u64;
        for (number, (asked, answered, held, output)) in (1_u128..).zip(calls) {
            let (provider, model, _) = SPELLINGS[asked];
            if held {
                world.grant(number, &said(provider, model), 0, 100);
                world.settle(served(number, SPELLINGS[answered].1, output)).unwrap();
            } else {
                world.post(post(number, &said(provider, model), 0, output)).unwrap();
            }
            spent = output.saturating_add(spent);
        }
        let sum = |budget: &str| -> u64 {
            let shown = world.counters(budget);
            let numbers = shown.split_whitespace().filter_map(|word| word.strip_suffix("+0"));
            numbers.map(|posted| posted.parse::<u64>().unwrap()).sum()
        };
        prop_assert_eq!(sum("all"), spent);
        prop_assert_eq!(sum("m"), spent);
        prop_assert_eq!(sum("p"), spent);
    }
}
