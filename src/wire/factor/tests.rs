//! The bundled rows: complete, sourced, unmodified where they must be, and found for the calls people make.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::doc::{FactorIdentity, FigureDoc};
use super::*;
use crate::domain::amounts::Tokens;
use crate::domain::carbon::factors::ECOLOGITS_SET;
use crate::domain::carbon::{
    Accounting, Basis, CarbonInputs, Factor, FactorBook, FactorId, FactorKind, GridFallback, MarketMethod,
    ModelFallback, Profile, RegionFallback, ServingFallback,
};
use crate::domain::id::{ModelId, ProviderId, RegionId};
use crate::domain::usage::Usage;

fn book() -> FactorBook {
    bundled().unwrap().book().unwrap()
}

fn today() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap()
}

/// A call as a test writes it.
#[derive(Clone, Copy)]
struct Call<'a> {
    profile: Profile,
    provider: &'a str,
    model: &'a str,
    region: Option<&'a str>,
    zone: Option<&'a str>,
    at: DateTime<Utc>,
}

fn call<'a>(provider: &'a str, model: &'a str) -> Call<'a> {
    Call { profile: Profile::Extended1, provider, model, region: None, zone: None, at: today() }
}

impl Call<'_> {
    fn resolve(&self, book: &FactorBook) -> CarbonInputs {
        let region = self.region.map(|region| RegionId::parse(region).unwrap());
        book.resolve(
            self.profile,
            &ProviderId::parse(self.provider).unwrap(),
            &ModelId::parse(self.model).unwrap(),
            region.as_ref(),
            self.zone,
            self.at,
        )
    }
}

fn output(count: u64) -> Usage {
    Usage { output: Tokens::new(count).unwrap(), ..Usage::default() }
}

#[test]
fn every_bundled_row_is_a_factor_with_a_source_and_an_identity_of_its_own() {
    let factors = bundled().unwrap().factors().unwrap();
    let mut known = BTreeSet::new();
    for factor in &factors {
        let source = factor.source();
        let identity = FactorIdentity::of(factor);
        assert!(!source.set.is_empty() && !source.title.is_empty() && !source.publisher.is_empty(), "{identity:?}");
        assert!(!source.dataset_version.is_empty(), "{identity:?}");
        assert!(
            source.retrieved.is_some() || source.note.is_some(),
            "{identity:?}: read on no day, and does not say so"
        );
        assert!((1..=3).contains(&source.tier), "{identity:?}");
        let licences = ["CC-BY-4.0", "MPL-2.0", "MIT", "US-public-domain", "government-publication", "facts"];
        assert!(licences.contains(&source.licence.as_str()), "{identity:?}: {}", source.licence);
        assert!(known.insert(identity.clone()), "{identity:?} is there twice");
    }
    let count = |kind| factors.iter().filter(|factor| factor.kind() == kind).count();
    assert!(count(FactorKind::Model) > 400, "{}", count(FactorKind::Model));
    assert!(count(FactorKind::Grid) > 700, "{}", count(FactorKind::Grid));
    assert_eq!(count(FactorKind::Region), 145);
}

#[test]
fn the_ecologits_files_are_unmodified() {
    let hash =
        |text: &str| Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(
        hash(include_str!("../../../data/factors/ecologits/models.json")),
        "1d11503799bfad365b5ce89dbe398675a4ccb58f5a32e4bbba9a81783977c774",
        "these files are MPL-2.0 and ship as they were published: put ours elsewhere"
    );
    assert_eq!(
        hash(include_str!("../../../data/factors/ecologits/electricity_mixes.json")),
        "993c9b4bc8aede3e8aa6a32af9dbe705a8a7d22d495c4ae36fe5861ff931394f"
    );
}

#[test]
fn every_row_survives_its_document_and_json() {
    for factor in bundled().unwrap().factors().unwrap() {
        let json = serde_json::to_string(&FactorDoc::from(&factor)).unwrap();
        let back: FactorDoc = serde_json::from_str(&json).unwrap();
        assert_eq!(back.into_factor(factor.id()).unwrap(), factor, "{json}");
    }
}

#[test]
fn a_missing_figure_is_not_shipped_as_a_clean_grid() {
    let factors = bundled().unwrap().factors().unwrap();
    assert!(factors.iter().all(|factor| factor.key() != "CAF"), "it stands at zero in both packages");
    let found = Call { zone: Some("CAF"), ..call("openai", "gpt-4o") }.resolve(&book());
    assert_eq!(found.resolved.fallbacks.grid, Some(GridFallback::WorldAverage));
}

/// Through the book, by provider, model and zone: the package's own answer.
fn check_parity(book: &FactorBook, table: &str, zone_column: &str) -> usize {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(table.as_bytes());
    let header = reader.headers().unwrap().clone();
    let place = |name: &str| header.iter().position(|column| column == name).unwrap();
    let columns = ["energy_kwh_min", "energy_kwh_max", "gwp_usage_kg_min", "gwp_usage_kg_max", "gwp_embodied_kg_max"];
    let mut rows = 0;
    for record in reader.records() {
        let record = record.unwrap();
        let text = |name: &str| &record[place(name)];
        let latency: f64 = text("request_latency_s").parse().unwrap();
        let asked = Call {
            profile: Profile::EcoLogits0113,
            zone: Some(text(zone_column)).filter(|zone| !zone.is_empty()),
            ..call(text("provider"), text("model"))
        };
        let found = asked.resolve(book).estimate(
            &output(text("output_tokens").parse().unwrap()),
            latency.is_finite().then(|| Duration::from_secs_f64(latency)),
        );
        assert_eq!(
            (found.fallbacks.model, found.fallbacks.grid, found.fallbacks.serving),
            (None, None, None),
            "{record:?}"
        );
        let figures = [
            found.energy_kwh.min,
            found.energy_kwh.max,
            found.usage_location_g.min / 1_000.0,
            found.usage_location_g.max / 1_000.0,
            found.embodied_g.max / 1_000.0,
        ];
        for (figure, column) in figures.into_iter().zip(columns) {
            let expected: f64 = text(column).parse().unwrap();
            assert!((figure - expected).abs() <= 1e-9 * expected.abs(), "{column} of {record:?}: {figure}");
        }
        rows += 1;
    }
    rows
}

#[test]
fn the_book_answers_as_ecologits_does() {
    let book = book();
    assert!(check_parity(&book, include_str!("../../../tests/data/ecologits_oracle.csv"), "zone_asked") > 400);
    assert_eq!(check_parity(&book, include_str!("../../../tests/data/ecologits_sample.csv"), "zone"), 16);
}

#[test]
fn models_are_found_under_the_names_providers_give_them() {
    let book = book();
    let table = "
        openai          gpt-4o                                              | openai/gpt-4o
        openai          gpt-4o-2024-11-20                                   | openai/gpt-4o-2024-11-20
        azure           gpt-4o                                              | openai/gpt-4o
        azure           gpt-35-turbo                                        | openai/gpt-35-turbo
        anthropic       claude-sonnet-4-5                                   | anthropic/claude-sonnet-4-5
        anthropic       claude-sonnet-4-5-20250929                          | anthropic/claude-sonnet-4-5-20250929
        aws-bedrock     eu.anthropic.claude-haiku-4-5-20251001-v1:0         | anthropic/claude-haiku-4-5-20251001
        aws-bedrock     anthropic.claude-opus-4-6-v1                        | anthropic/claude-opus-4-6
        google-vertex   claude-opus-4-5@20251101                            | anthropic/claude-opus-4-5-20251101
        google-vertex   gemini-2.5-pro                                      | google/gemini-2.5-pro
        google          models/gemini-2.5-flash                             | google/gemini-2.5-flash
        google_genai    gemini-2.5-flash-lite                               | google/gemini-2.5-flash-lite
        gcp.gemini      gemini-2.5-flash                                    | google/gemini-2.5-flash
        mistralai       mistral-large-2512                                  | mistral/mistral-large-2512
        mistral         mistral-large-latest                                | mistral/mistral-large-latest
        openrouter      anthropic/claude-sonnet-4.5                         | anthropic/claude-sonnet-4-5
        groq            llama-3.3-70b-versatile                             | meta/llama-3.3-70b-versatile
        groq            openai/gpt-oss-120b                                 | openai/gpt-oss-120b
        aws-bedrock     us.meta.llama3-3-70b-instruct-v1:0                  | meta/llama3-3-70b-instruct
        together        meta-llama/Llama-3.3-70B-Instruct-Turbo             | meta/llama-3.3-70b-instruct-turbo
        deepseek        deepseek-chat                                       | deepseek/deepseek-chat
        huggingface     meta-llama/Meta-Llama-3.1-8B-Instruct               | huggingface/meta-llama/Meta-Llama-3.1-8B-Instruct
    ";
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (left, expected) = line.split_once('|').unwrap();
        let (provider, model) = left.trim().split_once(' ').unwrap();
        let found = call(provider, model.trim()).resolve(&book);
        let row = found.resolved.model.as_deref().unwrap();
        assert_eq!(format!("{}/{}", row.provider, row.model), expected.trim(), "{line}");
        assert_eq!(found.resolved.fallbacks.model, None, "{line}");
    }
}

#[test]
fn an_unknown_model_is_the_worst_of_its_maker_and_flagged() {
    let book = book();
    for (provider, model, stands_in) in [
        ("anthropic", "claude-nova-9", "anthropic/claude-fable-5-1"),
        ("aws-bedrock", "anthropic.claude-nova-9-v1:0", "anthropic/claude-fable-5-1"),
        ("openai", "house-tuned", "openai/gpt-5.4-pro"),
    ] {
        let found = call(provider, model).resolve(&book);
        let row = found.resolved.model.as_deref().unwrap();
        assert_eq!(found.resolved.fallbacks.model, Some(ModelFallback::WorstOfProvider), "{model}");
        assert_eq!(row.provider.as_str(), stands_in.split('/').next().unwrap(), "{model}: {}", row.model);
        let own = found.estimate(&output(1_000), None).energy_kwh.mid;
        let rivals = bundled().unwrap().factors().unwrap();
        for rival in rivals.iter().filter_map(|factor| match factor {
            Factor::Model(rival) if rival.provider == row.provider => Some(rival),
            Factor::Model(_) | Factor::Grid(_) | Factor::Serving(_) | Factor::Region(_) => None,
        }) {
            let theirs = call(provider, rival.model.as_str()).resolve(&book).estimate(&output(1_000), None);
            assert!(theirs.energy_kwh.mid <= own * 1.000_001, "{} is worse than {}", rival.model, row.model);
        }
    }
    let nobody = call("house", "house-model").resolve(&book);
    assert_eq!(nobody.resolved.fallbacks.model, Some(ModelFallback::WorstKnown));
    assert_eq!(nobody.resolved.fallbacks.serving, Some(ServingFallback::AnyDataCentre));
    assert_eq!(nobody.resolved.fallbacks.region, Some(RegionFallback::NotGiven));
    assert!(nobody.resolved.fallbacks.any_unknown());
}

#[test]
fn regions_stand_on_their_grids() {
    let book = book();
    let table = "
        aws-bedrock   us-east-1         | US-VA                   direct
        aws-bedrock   eu-central-1      | DEU                     lifecycle
        anthropic     eu-central-1      | DEU                     lifecycle
        aws-bedrock   eu-north-1        | SE3                     lifecycle
        azure         swedencentral     | SE3                     lifecycle
        azure         eastus2           | US-VA                   direct
        google-vertex europe-west9      | GCP-EUROPE-WEST9        direct
        google-vertex us-central1       | GCP-US-CENTRAL1         direct
        google-vertex europe-north2     | SE3                     lifecycle
        google-vertex global            | WOR                     lifecycle
        openai        eu                | EEE                     lifecycle
        openai        fra               | FRA                     lifecycle
    ";
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let found = Call { region: Some(words[1]), ..call(words[0], "gpt-4o") }.resolve(&book);
        let grid = found.resolved.grid.as_deref().unwrap();
        assert_eq!((grid.zone.as_str(), grid.basis.word()), (words[3], words[4]), "{line}");
        assert_eq!((found.resolved.fallbacks.region, found.resolved.fallbacks.grid), (None, None), "{line}");
    }
    let parity = Call { profile: Profile::EcoLogits0113, region: Some("us-east-1"), ..call("openai", "gpt-4o") };
    let grid = parity.resolve(&book).resolved.grid.unwrap();
    assert_eq!((grid.zone.as_str(), grid.source.set.as_str()), ("USA", ECOLOGITS_SET));
}

#[test]
fn every_region_has_a_grid_of_its_own_in_both_profiles() {
    let book = book();
    for factor in bundled().unwrap().factors().unwrap() {
        if factor.kind() == FactorKind::Region {
            for profile in Profile::ALL {
                let region = factor.key();
                let found = Call { profile, region: Some(&region), ..call("openai", "gpt-4o") }.resolve(&book);
                assert_eq!(found.resolved.fallbacks.grid, None, "{region} in {profile}");
            }
        }
    }
}

#[test]
fn an_unknown_place_is_the_world_and_flagged() {
    let book = book();
    let region = Call { region: Some("mars-north-1"), ..call("openai", "gpt-4o") }.resolve(&book);
    assert_eq!(region.resolved.fallbacks.region, Some(RegionFallback::Unknown));
    let zone = Call { zone: Some("XXX"), ..call("openai", "gpt-4o") }.resolve(&book);
    let nonsense = Call { zone: Some("not a zone"), ..call("openai", "gpt-4o") }.resolve(&book);
    for found in [region, zone, nonsense] {
        assert_eq!(found.resolved.fallbacks.grid, Some(GridFallback::WorldAverage));
        assert_eq!(found.resolved.grid.as_deref().unwrap().zone.as_str(), "WOR");
        assert!(found.resolved.fallbacks.any_unknown());
    }
    let state =
        Call { profile: Profile::EcoLogits0113, zone: Some("us-va"), ..call("openai", "gpt-4o") }.resolve(&book);
    assert_eq!(state.resolved.fallbacks.grid, Some(GridFallback::Country));
    let nowhere = call("openai", "gpt-4o").resolve(&book);
    assert_eq!(nowhere.resolved.fallbacks.region, Some(RegionFallback::ProviderDefault));
    assert!(!nowhere.resolved.fallbacks.any_unknown(), "a region that was not given is not an unknown one");
}

#[test]
fn the_vintage_is_the_newest_that_is_valid_at_the_call() {
    let book = book();
    let at = |year: i32| {
        let at = Utc.with_ymd_and_hms(year, 6, 1, 0, 0, 0).unwrap();
        let found = Call { zone: Some("USA"), at, ..call("openai", "gpt-4o") }.resolve(&book);
        (found.resolved.grid.as_deref().unwrap().year, found.resolved.fallbacks.grid)
    };
    assert_eq!(at(2026), (Some(2025), None));
    assert_eq!(at(2025), (Some(2025), None));
    assert_eq!(at(2024), (Some(2023), None));
    assert_eq!(at(2020), (Some(2023), Some(GridFallback::OtherVintage)));
}

fn contract(provider: &str, zone: &str, g_per_kwh: f64, accounting: Accounting) -> Factor {
    let source = SourceDoc {
        set: "own".to_owned(),
        title: "Contract".to_owned(),
        publisher: "Us".to_owned(),
        url: String::new(),
        licence: "own".to_owned(),
        dataset_version: String::new(),
        retrieved: None,
        tier: 1,
        note: None,
    };
    let doc = FactorDoc::Grid(GridFactorDoc {
        zone: zone.to_owned(),
        g_per_kwh,
        year: Some(2026),
        basis: Basis::Lifecycle.word().to_owned(),
        accounting: accounting.word().to_owned(),
        provider: (!provider.is_empty()).then(|| provider.to_owned()),
        valid_from: Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap(),
        valid_to: Some(Utc.with_ymd_and_hms(2027, 1, 1, 0, 0, 0).unwrap()),
        source,
    });
    doc.into_factor(FactorId(1_000_000)).unwrap()
}

#[test]
fn a_contract_is_market_based_only_and_only_while_it_holds() {
    let mut rows = bundled().unwrap().factors().unwrap();
    rows.push(contract("google", "WOR", 96.0, Accounting::MarketContract));
    rows.push(contract("", "DEU", 700.0, Accounting::Residual));
    let book = FactorBook::new(rows);
    let market = |call: Call<'_>| {
        let found = call.resolve(&book).estimate(&output(400), None);
        (found.market_method, (found.usage_market_g.mid / found.usage_location_g.mid * 100.0).round())
    };
    let gemini = Call { zone: Some("USA"), ..call("gcp.gemini", "gemini-2.5-flash") };
    assert_eq!(market(gemini), (MarketMethod::Contract, 25.0), "four times less than the grid, as Google's own figure");
    let expired = Call { at: Utc.with_ymd_and_hms(2027, 1, 1, 0, 0, 0).unwrap(), ..gemini };
    assert_eq!(market(expired), (MarketMethod::LocationFallback, 100.0));
    assert_eq!(market(Call { zone: Some("DEU"), ..call("openai", "gpt-4o") }).0, MarketMethod::Residual);
    assert_eq!(market(call("openai", "gpt-4o")), (MarketMethod::LocationFallback, 100.0));
}

#[test]
fn a_row_of_the_tenant_replaces_an_older_one_of_the_bundle() {
    let mut rows = bundled().unwrap().factors().unwrap();
    let Some(FactorDoc::Model(doc)) = rows.iter().find(|row| row.key() == "openai/gpt-4o").map(FactorDoc::from) else {
        panic!("gpt-4o is bundled");
    };
    let source = SourceDoc { set: "own".to_owned(), ..doc.source.clone() };
    let disclosed = ModelFactorDoc { active_params_b: FigureDoc::Point(50.0), valid_from: today(), source, ..doc };
    rows.push(FactorDoc::Model(disclosed).into_factor(FactorId(9_999)).unwrap());
    let book = FactorBook::new(rows);
    let active = |call: Call<'_>| call.resolve(&book).resolved.size.active_params_b.mid;
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    close(active(call("openai", "gpt-4o")), 50.0);
    close(active(Call { at: today() - Duration::from_secs(1), ..call("openai", "gpt-4o") }), 88.0);
    close(active(Call { profile: Profile::EcoLogits0113, ..call("openai", "gpt-4o") }), 88.0);
}

#[test]
fn a_bad_document_is_refused_by_name() {
    let refuse = |json: serde_json::Value| {
        let doc: FactorDoc = serde_json::from_value(json).unwrap();
        doc.into_factor(FactorId(1)).unwrap_err().to_string()
    };
    let source = serde_json::json!({"set": "own", "title": "t", "publisher": "p", "licence": "own", "tier": 1});
    let grid = |change: serde_json::Value| {
        let mut doc = serde_json::json!({"kind": "grid", "zone": "USA", "g_per_kwh": 100.0, "basis": "direct",
            "accounting": "location", "valid_from": "2026-01-01T00:00:00Z", "source": source.clone()});
        for (key, value) in change.as_object().unwrap() {
            doc[key] = value.clone();
        }
        doc
    };
    for (change, says) in [
        (serde_json::json!({"g_per_kwh": -1.0}), "g_per_kwh is -1"),
        (serde_json::json!({"g_per_kwh": 0.0}), "missing figure"),
        (serde_json::json!({"g_per_kwh": 1e9}), "g_per_kwh is 1000000000"),
        (serde_json::json!({"zone": "U S A"}), "grid zone"),
        (serde_json::json!({"basis": "net"}), "basis 'net'"),
        (serde_json::json!({"accounting": "offset"}), "accounting 'offset'"),
        (serde_json::json!({"accounting": "market_contract"}), "needs a provider"),
        (serde_json::json!({"valid_to": "2026-01-01T00:00:00Z"}), "valid_to"),
        (serde_json::json!({"provider": "a b"}), "provider 'a b'"),
    ] {
        let found = refuse(grid(change));
        assert!(found.contains(says), "'{found}' does not say '{says}'");
    }
    assert!(
        serde_json::from_value::<FactorDoc>(grid(serde_json::json!({"valid_form": 1}))).is_err(),
        "a misspelt field"
    );
}

proptest! {
    #[test]
    fn nothing_is_ever_free(
        provider in "[a-z][a-z0-9.-]{0,12}",
        model in prop_oneof!["[!-~]{1,40}", "(us\\.|eu\\.)?(anthropic|meta)\\.[a-z0-9-]{1,12}(-v1:0)?"],
        region in proptest::option::of("[a-z][a-z0-9-]{0,12}"),
        zone in proptest::option::of("\\PC{0,8}"),
        year in 1990_i32..2090,
        parity in any::<bool>(),
        empty in any::<bool>(),
    ) {
        let book = if empty { FactorBook::new([]) } else { BOOK.with(Clone::clone) };
        let found = Call {
            profile: if parity { Profile::EcoLogits0113 } else { Profile::Extended1 },
            provider: &provider,
            model: &model,
            region: region.as_deref(),
            zone: zone.as_deref(),
            at: Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap(),
        }
        .resolve(&book);
        let grams = found.grams(&output(1), None).unwrap();
        prop_assert!(!grams.usage_location.decimal().is_zero() && !grams.usage_market.decimal().is_zero());
        prop_assert!(!grams.embodied.decimal().is_zero());
        let flags = found.resolved.fallbacks;
        prop_assert!(found.resolved.model.is_some() || flags.model.is_some());
        prop_assert!(found.resolved.grid.is_some() || flags.grid.is_some());
        prop_assert!(found.resolved.serving.is_some() || flags.serving.is_some());
        prop_assert!(!empty || flags.any_unknown());
    }
}

thread_local! {
    /// Made once: proptest asks for it hundreds of times.
    static BOOK: FactorBook = book();
}
