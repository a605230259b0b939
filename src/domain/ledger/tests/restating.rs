//! Restatement of calls when factors are replaced.

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::domain::carbon::{CarbonGrams, FactorId};
use crate::domain::fixtures::{grid_factor, model_factor, rates_with};
use crate::domain::ledger::restating::{Restatement, Stated, Statement, Summary, restate};
use crate::domain::ledger::transfer::TransferKind;

const CALL: &str = "acme/chat openai/gpt-4o region=us-east run=r-1";

/// The grid of the United States was measured again, and Germany's contract has ended.
fn new_factors() -> Arc<RateBooks> {
    rates_with([grid_factor(110, "USA", 300.0, None), grid_factor(111, "DEU", 350.0, Some("openai"))])
}

/// What is said of each row now, as the store finds it in the journal.
fn stated(world: &World) -> Vec<Stated> {
    let is_restatement = |row: &&Transfer| row.kind == TransferKind::Correction;
    let rows = world.store.transfers.iter().filter(|row| !is_restatement(row));
    let one = |row: &Transfer| {
        let mut now = Statement::of(row);
        let mut grams = sum_of(row);
        for later in world.store.transfers.iter().filter(is_restatement).filter(|later| later.corrects == Some(row.id))
        {
            let sign = if later.direction == row.direction { Decimal::ONE } else { Decimal::NEGATIVE_ONE };
            for (sum, more) in grams.iter_mut().zip(sum_of(later)) {
                *sum += sign * more;
            }
            if later.direction == row.direction {
                now = Statement::of(later);
            }
        }
        let [usage_location, usage_market, embodied] = grams.map(|grams| Grams::new(grams).unwrap());
        now.grams = CarbonGrams { usage_location, usage_market, embodied };
        Stated { row: row.clone(), now }
    };
    rows.map(one).collect()
}

fn sum_of(row: &Transfer) -> [Decimal; 3] {
    let amounts = row.priced.consumption.amounts;
    [amounts.gco2e_usage_location, amounts.gco2e_usage_market, amounts.gco2e_embodied].map(Grams::decimal)
}

/// The grams of the whole journal, signed.
fn books(world: &World) -> [Decimal; 3] {
    let mut sums = [Decimal::ZERO; 3];
    for row in &world.store.transfers {
        for (sum, grams) in sums.iter_mut().zip(sum_of(row)) {
            *sum += Decimal::from(row.direction.sign()) * grams;
        }
    }
    sums
}

/// Restates everything by these books; what it came to, and how many transfers that were.
fn run(world: &mut World, rates: &Arc<RateBooks>) -> (Summary, usize) {
    world.rates = Arc::clone(rates);
    let mut summary = Summary::default();
    let before = world.store.transfers.len();
    for (place, one) in (0_u128..).zip(stated(world)) {
        let found = restate(&one, rates).unwrap();
        let is_closed = world.catalogue.closed_until.is_some_and(|closed| one.row.period_at < closed);
        summary.add(&one, &found, is_closed, &rates.factors).unwrap();
        if let Restatement::Differs(to) = found {
            let id = 1_000_000 + 10_000 * u128::try_from(before).unwrap() + 2 * place;
            world.answer(plain(one.command(&to, (transfer_id(id), transfer_id(id + 1))))).unwrap();
        }
    }
    (summary, world.store.transfers.len() - before)
}

fn grams(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[test]
fn a_call_is_taken_back_by_the_rows_of_then_and_posted_by_those_of_now() {
    let mut world =
        World::with("budget t tokens 1000000 month\nbudget g gco2e 100000 month\nbudget u usd 100000 month");
    world.post(post(1, CALL, 1_000, 500)).unwrap();
    let (tokens, usd) = (world.counters("t"), world.counters("u"));
    let was = world.transfer().clone();
    let rates = new_factors();
    let (summary, posted) = run(&mut world, &rates);
    assert_eq!((summary.examined, summary.total.rows, posted), (1, 1, 2));
    let [.., reversal, posting] = world.store.transfers.as_slice() else { panic!("two rows") };
    for (row, direction, grid) in [(reversal, Direction::Reverse, 11), (posting, Direction::Forward, 110)] {
        assert_eq!((row.kind, row.direction, row.corrects), (TransferKind::Correction, direction, Some(was.id)));
        assert_eq!(row.priced.provenance.grid_factor, Some(FactorId(grid)));
        assert_eq!(row.priced.provenance.model_factor, was.priced.provenance.model_factor);
        assert_eq!((&row.call, row.occurred_at, row.period_at), (&was.call, was.occurred_at, was.period_at));
        let moved = row.priced.consumption;
        assert_eq!((moved.requests, moved.usage, moved.amounts.usd), (0, usage([0; 6]), Usd::ZERO));
        assert_eq!(row.priced.flags, Flags::NONE);
    }
    assert_eq!(sum_of(reversal), sum_of(&was));
    assert_eq!((world.counters("t"), world.counters("u")), (tokens, usd), "only grams move");
    let [location, _, embodied] = sum_of(posting);
    assert_eq!(world.counters("g"), format!("{}+0", (location + embodied).normalize()));
    let ratio = location / sum_of(&was)[0] - grams("300") / grams("384");
    assert!(ratio.abs() < grams("0.000000001"), "as the factor: {ratio}");
    assert_eq!(run(&mut world, &rates).1, 0, "what is restated is not restated again");
    run(&mut world, &super::super::super::fixtures::rates());
    assert_eq!(books(&world), sum_of(&was), "and back, by the rows of before");
    assert_eq!(world.store.transfers.len(), 5);
}

#[test]
fn a_call_of_a_closed_period_is_corrected_in_the_open_one_and_says_so() {
    let mut world = World::with("budget g gco2e 100000 month");
    world.post(post(1, CALL, 1_000, 500)).unwrap();
    world.now = at("2026-02-03T00:00:00Z");
    // A late call of January before it is closed, and one after.
    world.post(PostUsage { occurred_at: Some(at("2026-01-31T00:00:00Z")), ..post(2, CALL, 10, 10) }).unwrap();
    world.close(at("2026-02-01T00:00:00Z"));
    world.post(PostUsage { occurred_at: Some(at("2026-01-31T00:00:00Z")), ..post(3, CALL, 20, 20) }).unwrap();
    let counted_late = world.now;
    let first = |world: &World| world.counters("g").split(' ').next().unwrap().to_owned();
    let january = first(&world);
    world.now = at("2026-02-20T00:00:00Z");
    let (summary, posted) = run(&mut world, &new_factors());
    assert_eq!((summary.total.rows, summary.closed, posted), (3, 2, 6));
    let corrections = world.store.transfers.iter().filter(|row| row.kind == TransferKind::Correction);
    for row in corrections {
        assert!(row.priced.flags.contains(Flags::PERIOD_CLOSED));
        let late = row.corrects == Some(transfer_id(3));
        assert_eq!(
            row.period_at,
            if late { counted_late } else { world.now },
            "what counts in the open one stays there"
        );
    }
    assert_eq!(first(&world), january, "what is closed stays as it was");
}

#[test]
fn what_emits_nothing_and_what_names_no_factors_stays_as_it_is() {
    let mut world = World::with("budget g gco2e 100000 month");
    world.grant(1, CALL, 100, 10);
    world.settle(settle(1, None, CallOutcome::Failed)).unwrap();
    let amounts = Amounts { gco2e_embodied: Grams::new(Decimal::ONE).unwrap(), ..Amounts::default() };
    let unnamed = Adjust {
        transfer: transfer_id(7),
        kind: Adjustment::TrueUp { corrects: None },
        direction: Direction::Forward,
        call: call(CALL),
        priority: Priority::Standard,
        consumption: Consumption { requests: 1, usage: usage([10, 0, 0, 0, 0, 0]), amounts },
        factors: None,
        assumed: Flags::NONE,
        occurred_at: world.now,
        counts_at: world.now,
    };
    world.answer(plain(Action::Adjust(Box::new(unnamed)))).unwrap();
    let (summary, posted) = run(&mut world, &new_factors());
    assert_eq!((summary.examined, summary.unnamed, summary.total.rows, posted), (2, 1, 0, 0));
}

#[test]
fn a_true_up_that_took_a_call_back_whole_takes_its_restatement_back_as_well() {
    let mut world = World::with("budget g gco2e 100000 month");
    world.grant(1, CALL, 1_000, 300);
    world.settle(settle(1, None, CallOutcome::TimedOut)).unwrap();
    let charged = world.transfer().clone();
    let back = |number, consumption: Consumption| Adjust {
        transfer: transfer_id(number),
        kind: Adjustment::TrueUp { corrects: Some(charged.id) },
        direction: Direction::Reverse,
        call: charged.call.clone(),
        priority: charged.priority,
        consumption,
        factors: Some(charged.priced.provenance.factors()),
        assumed: Flags::NONE,
        occurred_at: charged.occurred_at,
        counts_at: charged.period_at,
    };
    world.answer(plain(Action::Adjust(Box::new(back(7, charged.priced.consumption))))).unwrap();
    assert_eq!(books(&world), [Decimal::ZERO; 3]);
    assert_eq!(run(&mut world, &new_factors()).1, 4);
    assert_eq!(books(&world), [Decimal::ZERO; 3], "a call that was never billed emits nothing by any factor");
    assert_eq!(world.counters("g"), "");
    // One that was cut to half of what its tokens emit keeps the half.
    let whole = charged.priced.consumption;
    let half = |grams: Grams| Grams::round_half_even(grams.decimal() / Decimal::TWO).unwrap();
    let amounts = Amounts {
        gco2e_usage_location: half(whole.amounts.gco2e_usage_location),
        gco2e_embodied: half(whole.amounts.gco2e_embodied),
        ..Amounts::default()
    };
    let cut = Adjust { direction: Direction::Forward, ..back(8, Consumption { amounts, ..whole }) };
    world.answer(plain(Action::Adjust(Box::new(cut)))).unwrap();
    run(&mut world, &rates_with([grid_factor(210, "USA", 150.0, None)]));
    let [location, _, embodied] = books(&world);
    let expected = grams("150") / grams("384") * amounts.gco2e_usage_location.decimal();
    assert!((location - expected).abs() <= grams("0.000000002"), "{location} {expected}");
    assert_eq!(embodied, amounts.gco2e_embodied.decimal(), "what no factor changes is left to the last digit");
}

#[test]
fn sums_are_told_by_the_sets_before_and_after() {
    let mut world = World::with("budget g gco2e 100000 month");
    for (number, text) in
        [(1, CALL), (2, "acme/chat openai/gpt-4o region=eu-central"), (3, "acme/chat unit/one region=eu-central")]
    {
        world.post(post(number, text, 100, 100)).unwrap();
    }
    let before = books(&world);
    let (summary, _) = run(&mut world, &new_factors());
    assert_eq!((summary.examined, summary.total.rows), (3, 2), "the third stands on rows that are as they were");
    let difference = summary.total.difference();
    for ((after, before), difference) in books(&world).into_iter().zip(before).zip(difference) {
        assert_eq!(after - before, difference);
    }
    let told: Vec<_> =
        summary.sets.iter().map(|((from, to), change)| (from.market.clone(), to.market.clone(), change.rows)).collect();
    let test = Some("test".to_owned());
    assert_eq!(told, [(None, None, 1), (test.clone(), test, 1)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_a_restatement_the_books_are_what_a_fresh_computation_gives_to_the_last_digit(
        calls in prop::collection::vec((0_usize..4, prop::array::uniform6(0_u64..20_000), prop::option::of(0_u32..60_000), 1_u32..3), 1..12),
        usa in 1.0..900.0_f64, deu in 1.0..900.0_f64, size in 1.0..500.0_f64, twice in any::<bool>(),
    ) {
        let mut world = World::with("budget g gco2e 1000000 month\nbudget m gco2e_market 1000000 month");
        for (number, (which, buckets, latency_ms, requests)) in (1..).zip(&calls) {
            let text = [CALL, "acme/chat openai/gpt-4o-mini", "acme/a openai/gpt-4o region=eu-central", "acme/b unit/one region=nowhere"][*which];
            let report = CallReport { latency_ms: *latency_ms, ..report(CallOutcome::Completed) };
            let usage = ReportedUsage::Buckets(usage(*buckets));
            world.post(PostUsage { usage, report, requests: *requests, ..post(number, text, 0, 0) }).unwrap();
        }
        if twice {
            run(&mut world, &new_factors());
        }
        let rates = rates_with([
            grid_factor(110, "USA", usa, None), grid_factor(112, "DEU", deu, None), model_factor(113, "openai", "gpt-4o", size),
        ]);
        run(&mut world, &rates);
        let mut fresh = [Decimal::ZERO; 3];
        for row in world.store.transfers.iter().filter(|row| row.kind == TransferKind::Usage) {
            let (call, what) = (&row.call, &row.priced.consumption);
            let tariff = rates.tariff(&call.provider, &call.model, ServiceTier::Standard, call.region.as_ref(), row.occurred_at);
            let priced = tariff.price(&what.usage, what.requests, row.report.latency()).unwrap();
            let amounts = priced.consumption.amounts;
            let grams = [amounts.gco2e_usage_location, amounts.gco2e_usage_market, amounts.gco2e_embodied];
            for (sum, grams) in fresh.iter_mut().zip(grams) {
                *sum += grams.decimal();
            }
        }
        prop_assert_eq!(books(&world), fresh);
        prop_assert_eq!(run(&mut world, &rates).1, 0);
    }
}
