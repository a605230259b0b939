//! What the tests of the core share: a small world of prices and factors, and tenants, budgets and calls written as text.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::{Decimal, dec};

use super::amounts::{Quantity, Tokens, Usd};
use super::budget::catalogue::{
    Budget, BudgetClock, BudgetKind, BudgetNumber, Catalogue, Enforcement, HoldRule, OnExpiry, Pacing, Priority, Tenant,
};
use super::budget::coverage::MissingRule;
use super::budget::measure::{BucketWeights, Measure};
use super::budget::scope::{Dimensions, Each, ModelScope, Scope, Spelling};
use super::calendar::{PeriodSpec, Seconds, Zone};
use super::carbon::{
    Accounting, Basis, Factor, FactorBook, FactorId, FactorSource, GridFactor, GridZone, Interval, ModelFactor,
    ModelSize, Profile, RegionFactor, ServingFactor, Validity,
};
use super::id::{BudgetId, LabelKey, LabelValue, ModelId, ProviderId, TenantId};
use super::price::book::PriceBook;
use super::price::matching::{ModelMatch, Text};
use super::price::{BucketPrices, PriceId, PriceRow, ServiceTier, Tier, Tiers, UsdPerMillion};
use super::tariff::RateBooks;
use super::usage::Usage;

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(crate) fn tokens(count: u64) -> Tokens {
    Tokens::new(count).unwrap()
}

pub(crate) fn quantity(text: &str) -> Quantity {
    Quantity::new(text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))).unwrap()
}

/// In the order input, cache read, cache write 5m, cache write 1h, output, reasoning.
pub(crate) fn usage(buckets: [u64; 6]) -> Usage {
    let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] = buckets.map(tokens);
    Usage { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning }
}

pub(crate) fn price_row(id: i64, provider: &str, model: &str, tiers: &[(u64, [Decimal; 6])], fee: Decimal) -> PriceRow {
    let tier = |(from, prices): &(u64, [Decimal; 6])| {
        let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] =
            prices.map(|price| UsdPerMillion::new(price).unwrap());
        let prices = BucketPrices { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning };
        Tier { input_total_from: tokens(*from), prices }
    };
    PriceRow {
        id: PriceId(id),
        provider: ProviderId::parse(provider).unwrap(),
        model: ModelId::parse(model).unwrap(),
        matcher: ModelMatch::Equals(Text::new(model)),
        service_tier: ServiceTier::Standard,
        region: None,
        effective_from: at("2020-01-01T00:00:00Z"),
        effective_to: None,
        tiers: Tiers::new(tiers.iter().map(tier).collect()).unwrap(),
        request_fee_usd: Usd::new(fee).unwrap(),
        derived: Vec::new(),
        source: "a test".to_owned(),
        source_date: NaiveDate::default(),
        licence: "none".to_owned(),
    }
}

fn prices() -> PriceBook {
    let sonnet = [
        (0, [dec!(3), dec!(0.3), dec!(3.75), dec!(6), dec!(15), dec!(15)]),
        (200_001, [dec!(6), dec!(0.6), dec!(7.5), dec!(12), dec!(22.5), dec!(22.5)]),
    ];
    let gpt = [(0, [dec!(2.5), dec!(1.25), dec!(2.5), dec!(2.5), dec!(10), dec!(10)])];
    let mini = [(0, [dec!(0.15), dec!(0.075), dec!(0.15), dec!(0.15), dec!(0.6), dec!(0.6)])];
    PriceBook::new(vec![
        price_row(1, "openai", "gpt-4o", &gpt, dec!(0)),
        price_row(2, "openai", "gpt-4o-mini", &mini, dec!(0)),
        price_row(3, "anthropic", "claude-sonnet-4-5", &sonnet, dec!(0)),
        price_row(4, "openai", "search", &[(0, [dec!(1); 6])], dec!(0.012)),
        price_row(5, "local", "free", &[(0, [dec!(0); 6])], dec!(0)),
        price_row(6, "unit", "one", &[(0, [dec!(1_000_000); 6])], dec!(0)),
        price_row(7, "unit", "two", &[(0, [dec!(500_000); 6])], dec!(0)),
    ])
}

fn factor_source() -> FactorSource {
    FactorSource {
        set: "test".to_owned(),
        title: "a test".to_owned(),
        publisher: "a test".to_owned(),
        url: String::new(),
        licence: "none".to_owned(),
        dataset_version: "1".to_owned(),
        retrieved: None,
        tier: 3,
        note: None,
    }
}

fn always() -> Validity {
    Validity::new(at("2020-01-01T00:00:00Z"), None).unwrap()
}

pub(crate) fn model_factor(id: i64, provider: &str, model: &str, billions: f64) -> Factor {
    let size = ModelSize {
        active_params_b: Interval::point(billions),
        total_params_b: Interval::point(billions),
        tps: None,
        ttft_s: None,
    };
    Factor::Model(ModelFactor {
        id: FactorId(id),
        provider: provider.parse().unwrap(),
        model: model.parse().unwrap(),
        size,
        released: false,
        multimodal: false,
        validity: always(),
        source: factor_source(),
    })
}

pub(crate) fn grid_factor(id: i64, zone: &str, g_per_kwh: f64, contract_of: Option<&str>) -> Factor {
    Factor::Grid(GridFactor {
        id: FactorId(id),
        zone: GridZone::parse(zone).unwrap(),
        g_per_kwh,
        year: None,
        basis: Basis::Lifecycle,
        accounting: if contract_of.is_some() { Accounting::MarketContract } else { Accounting::Location },
        provider: contract_of.map(|provider| provider.parse().unwrap()),
        validity: always(),
        source: factor_source(),
    })
}

fn serving_factor(id: i64, provider: &str) -> Factor {
    Factor::Serving(ServingFactor {
        id: FactorId(id),
        provider: provider.parse().unwrap(),
        also_known_as: Vec::new(),
        pue: Interval::point(1.2),
        default_zone: Some(GridZone::parse("USA").unwrap()),
        validity: always(),
        source: factor_source(),
    })
}

fn region_factor(id: i64, region: &str, zone: &str) -> Factor {
    Factor::Region(RegionFactor {
        id: FactorId(id),
        region: region.parse().unwrap(),
        zones: vec![GridZone::parse(zone).unwrap()],
        validity: always(),
        source: factor_source(),
    })
}

fn factors() -> [Factor; 17] {
    [
        model_factor(1, "openai", "gpt-4o", 88.0),
        model_factor(2, "openai", "gpt-4o-mini", 8.0),
        model_factor(3, "anthropic", "claude-sonnet-4-5", 120.0),
        model_factor(4, "openai", "search", 8.0),
        model_factor(5, "local", "free", 1.0),
        model_factor(6, "unit", "one", 30.0),
        model_factor(7, "unit", "two", 10.0),
        grid_factor(10, "WOR", 458.0, None),
        grid_factor(11, "USA", 384.0, None),
        grid_factor(12, "DEU", 330.0, None),
        grid_factor(13, "DEU", 20.0, Some("openai")),
        serving_factor(20, "openai"),
        serving_factor(21, "anthropic"),
        serving_factor(22, "local"),
        serving_factor(23, "unit"),
        region_factor(30, "us-east", "USA"),
        region_factor(31, "eu-central", "DEU"),
    ]
}

/// The rates of [`rates`], and more factors beside them.
pub(crate) fn rates_with(more: impl IntoIterator<Item = Factor>) -> Arc<RateBooks> {
    let factors = FactorBook::new(factors().into_iter().chain(more)).into();
    Arc::new(RateBooks { factors, ..RateBooks::clone(&rates()) })
}

/// `unit/one` costs a dollar a token, whatever the bucket, and `unit/two` half of that.
pub(crate) fn rates() -> Arc<RateBooks> {
    static RATES: LazyLock<Arc<RateBooks>> = LazyLock::new(|| {
        let (prices, factors) = (Arc::new(prices()), Arc::new(FactorBook::new(factors())));
        Arc::new(RateBooks { prices, factors, profile: Profile::Extended1 })
    });
    Arc::clone(&RATES)
}

/// `tenant/feature provider/model`, then any of `region=`, `run=`, `agent=`; other keys are labels.
pub(crate) fn call(text: &str) -> Dimensions {
    let mut words = text.split_whitespace();
    let (tenant, feature) = words.next().and_then(|word| word.split_once('/')).expect("tenant/feature");
    let (provider, model) = words.next().and_then(|word| word.split_once('/')).expect("provider/model");
    let mut call = Dimensions {
        tenant: tenant.parse().unwrap(),
        feature: feature.parse().unwrap(),
        provider: provider.parse().unwrap(),
        model: model.parse().unwrap(),
        region: None,
        run: None,
        agent: None,
        labels: Arc::default(),
        spelling: Spelling::AsSaid,
    };
    let mut labels: BTreeMap<LabelKey, LabelValue> = BTreeMap::new();
    for (key, value) in words.map(|word| word.split_once('=').expect("key=value")) {
        match key {
            "region" => call.region = Some(value.parse().unwrap()),
            "run" => call.run = Some(value.parse().unwrap()),
            "agent" => call.agent = Some(value.parse().unwrap()),
            label => drop(labels.insert(label.parse().unwrap(), value.parse().unwrap())),
        }
    }
    call.labels = Arc::new(labels);
    call
}

pub(crate) fn priority(word: &str) -> Option<Priority> {
    Priority::ALL.into_iter().find(|priority| priority.name() == word)
}

fn measure(word: &str) -> Measure {
    match word {
        "requests" => Measure::Requests,
        "tokens" => Measure::Tokens,
        "usd" => Measure::Usd,
        "gco2e" => Measure::Gco2e,
        "gco2e_market" => Measure::Gco2eMarket,
        weights => {
            let weights: Vec<Decimal> = weights
                .strip_prefix("w:")
                .expect("a measure")
                .split(',')
                .map(|weight| weight.parse().unwrap())
                .collect();
            Measure::Weighted(BucketWeights::new(weights.try_into().expect("six weights")).unwrap())
        }
    }
}

fn period(word: &str) -> PeriodSpec {
    match word {
        "hour" => PeriodSpec::Hour,
        "day" => PeriodSpec::DAY,
        "week" => PeriodSpec::WEEK,
        "month" => PeriodSpec::MONTH,
        "once" => PeriodSpec::Once,
        sliding => {
            let seconds = sliding.strip_prefix("sliding:").expect("a period").parse().unwrap();
            PeriodSpec::Sliding { seconds: Seconds::new(seconds).unwrap() }
        }
    }
}

fn each(word: &str) -> Each {
    match word {
        "tenant" => Each::Tenant,
        "feature" => Each::Feature,
        "provider" => Each::Provider,
        "model" => Each::Model,
        "region" => Each::Region,
        "run" => Each::Run,
        "agent" => Each::Agent,
        label => Each::Label(label.parse().unwrap()),
    }
}

/// `class:share,…`
fn class_shares(text: &str) -> BTreeMap<Priority, Decimal> {
    let share = |pair: &str| {
        let (class, share) = pair.split_once(':').expect("class:share");
        (priority(class).expect("a priority"), share.parse().unwrap())
    };
    text.split(',').map(share).collect()
}

/// `id measure limit period`, then any of `soft`, `each=`, `zone=`, `thresholds=`, `floors=class:share,…`, `ceilings=` alike,
/// `paced`, `max_seconds=`, `from=`, and
/// the fields of a scope.
pub(crate) fn budget(number: i32, text: &str) -> Budget {
    let mut words = text.split_whitespace();
    let mut next = |what: &str| words.next().unwrap_or_else(|| panic!("{text}: no {what}"));
    let (id, counts, limit, window) = (next("id"), next("measure"), next("limit"), next("period"));
    let mut budget = Budget {
        id: BudgetId::parse(id).unwrap(),
        number: BudgetNumber(number),
        version: 1,
        kind: BudgetKind::Budget,
        scope: Scope::default(),
        each: None,
        measure: measure(counts),
        limit: quantity(limit),
        period: period(window),
        clock: BudgetClock::Fixed(Zone::UTC),
        enforcement: Enforcement::Hard,
        reserve: HoldRule::Max,
        thresholds: Vec::new(),
        floors: BTreeMap::new(),
        ceilings: BTreeMap::new(),
        pacing: Pacing::Off,
        weights: BTreeMap::new(),
        max_seconds: None,
        missing: MissingRule::Ignore,
        counts_from: None,
        max_hold_share: Some(Decimal::ONE),
        on_expiry: OnExpiry::Release,
        counted_from: DateTime::UNIX_EPOCH,
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "soft" => budget.enforcement = Enforcement::Soft,
            "each" => budget.each = Some(each(value)),
            "zone" if value == "tenant" => budget.clock = BudgetClock::Tenant,
            "zone" => budget.clock = BudgetClock::Fixed(Zone::parse(value).unwrap()),
            "thresholds" => budget.thresholds = value.split(',').map(|share| share.parse().unwrap()).collect(),
            "floors" => budget.floors = class_shares(value),
            "reserve" => budget.reserve = if value == "p99" { HoldRule::P99 } else { HoldRule::P95 },
            "ceilings" => budget.ceilings = class_shares(value),
            "paced" => budget.pacing = Pacing::Forecast,
            "max_seconds" => budget.max_seconds = Some(value.parse().unwrap()),
            "from" => budget.counted_from = at(value),
            "posts_estimate" => budget.on_expiry = OnExpiry::PostEstimate,
            "missing" => budget.missing = if value == "refuse" { MissingRule::Refuse } else { MissingRule::Ignore },
            "counts_from" => budget.counts_from = Some(at(value)),
            "hold_share" if value == "ordinary" => budget.max_hold_share = None,
            "hold_share" => budget.max_hold_share = Some(value.parse().unwrap()),
            "tenant" => budget.scope.tenant = Some(value.parse().unwrap()),
            "feature" => budget.scope.feature = Some(value.parse().unwrap()),
            "provider" => budget.scope.provider = Some(value.parse().unwrap()),
            "model" => budget.scope.model = Some(ModelScope::One(value.parse().unwrap())),
            "exact" => budget.scope.exact = true,
            "region" => budget.scope.region = Some(value.parse().unwrap()),
            "agent" => budget.scope.agent = Some(value.parse().unwrap()),
            "run" => budget.scope.run = Some(value.parse().unwrap()),
            label => drop(budget.scope.labels.insert(label.parse().unwrap(), value.parse().unwrap())),
        }
    }
    budget.check().unwrap_or_else(|error| panic!("{text}: {error}"));
    budget
}

/// One line each: `tenant id zone [strict] [archived]`, or `budget …` as in [`budget`], numbered from 1.
pub(crate) fn catalogue(text: &str) -> Arc<Catalogue> {
    let (mut tenants, mut budgets) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (kind, rest) = line.split_once(' ').expect("tenant or budget");
        if kind == "budget" {
            let number = i32::try_from(budgets.len()).unwrap().saturating_add(1);
            budgets.push(budget(number, rest));
            continue;
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        tenants.push(Tenant {
            id: TenantId::parse(words[0]).unwrap(),
            zone: Zone::parse(words[1]).unwrap(),
            strict: words.contains(&"strict"),
            archived: words.contains(&"archived"),
        });
    }
    Arc::new(Catalogue::new(1, tenants, budgets))
}
