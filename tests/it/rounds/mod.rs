//! Rounds of random load on two replicas whose clocks are up to two seconds apart: sliding and calendar budgets, caps,
//! extensions, changes of budgets and zones, closings, commits whose answer is lost, replicas that die.
//!
//! After each round no grant has gone past a limit ([`audit`], which shares no code with the product), and
//! `verify` finds no difference. With the other tests it runs for [`ROUNDS`] rounds; for long by name:
//! `COUNTERFOIL_ROUNDS=200 cargo test --test it rounds:: -- --nocapture`. `COUNTERFOIL_SEED` is the number of the first round.

mod audit;
mod world;

use std::collections::BTreeMap;

use counterfoil::app::verify::verify;

use crate::support::{from_environment, say};

use world::{Dice, World};

/// How many rounds run with the other tests.
const ROUNDS: u64 = 4;
/// From so many rounds on everything must have happened that a round may bring.
const ROUNDS_WITH_ALL: u64 = 20;
/// Steps of a round, each a handful of requests at once.
const STEPS: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_round_of_random_load_on_two_replicas_grants_past_a_limit() {
    let rounds = from_environment("COUNTERFOIL_ROUNDS").unwrap_or(ROUNDS);
    let first = from_environment("COUNTERFOIL_SEED").unwrap_or(1);
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let start = std::time::Instant::now();
    for seed in first..first + rounds {
        say(&format!("round {seed} ({:.1} s)", start.elapsed().as_secs_f64()));
        let mut world = World::start(Dice::new(seed)).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.rest().await;
        let checked = audit::check(&world).await;
        assert!(checked.passed.is_empty(), "round {seed}: {:#?}", checked.passed);
        for limit in world.log().versions.iter_mut().map(|version| &mut version.limit) {
            *limit /= 2;
        }
        // Not in each round: some leave half of every limit.
        let by_half = u64::try_from(audit::check(&world).await.passed.len()).unwrap();
        *seen.entry("grants past half a limit".to_owned()).or_default() += by_half;
        let report =
            verify(&world.service.db.connect_options(), &world.service.clock, &mut |_| {}).await.unwrap().unwrap();
        assert!(report.is_consistent(), "round {seed}: {:#?}", report.differences().collect::<Vec<_>>());
        *seen.entry("grants that were checked".to_owned()).or_default() += checked.grants;
        *seen.entry("grants that filled a limit".to_owned()).or_default() += checked.full;
        for (what, count) in world.seen() {
            *seen.entry(what).or_default() += count;
        }
    }
    say(&format!("{:.1} s: {seen:#?}", start.elapsed().as_secs_f64()));
    // A test that never gets anywhere proves nothing, nor does an audit that finds nothing whatever it is shown.
    assert!(seen["grants that were checked"] > 0, "{seen:#?}");
    let expected = [
        "grants that filled a limit",
        "grants past half a limit",
        "reserve allow",
        "reserve cap",
        "reserve wait",
        "extend allow",
        "settle",
        "release",
        "post",
        "budget",
        "zone",
        "broken",
        "killed",
    ];
    for what in expected.iter().filter(|_| rounds >= ROUNDS_WITH_ALL) {
        assert!(seen.get(*what).is_some_and(|count| *count > 0), "{what} never happened: {seen:#?}");
    }
}
