use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn party(number: u8) -> Party {
    match number {
        0 => Party::Platform,
        tenant => Party::Tenant(TenantId::parse(&format!("t{tenant}")).unwrap()),
    }
}

/// A command: whose, of which kind, and its place among all.
type Item = (Party, bool, usize);

/// All that come out, one after the other, with batches of these sizes in turn.
fn drain(turns: &mut Turns<Item>, sizes: &[usize]) -> Vec<Item> {
    let mut out = Vec::new();
    for size in sizes.iter().cycle() {
        let Some(taken) = turns.take(*size) else { break };
        let apart = taken.apart.into_iter().flat_map(|(_, items)| items);
        let batch: Vec<Item> = taken.together.into_iter().chain(apart).collect();
        assert!(!batch.is_empty() && batch.len() <= *size);
        out.extend(batch);
    }
    out
}

fn filled(pushed: &[(u8, bool)]) -> Turns<Item> {
    let mut turns = Turns::new(pushed.len());
    for (place, (number, bulk)) in pushed.iter().enumerate() {
        let item = (party(*number), *bulk, place);
        if *bulk {
            turns.push_bulk(party(*number), item);
        } else {
            assert_eq!(turns.push(party(*number), item), Ok(None));
        }
    }
    turns
}

proptest! {
    #[test]
    fn tenants_that_wait_never_differ_by_more_than_a_turn(
        pushed in vec((1_u8..6, any::<bool>()), 1..600),
        sizes in vec(1_usize..200, 1..5),
    ) {
        let mut left: BTreeMap<Party, usize> = BTreeMap::new();
        for (number, _) in &pushed {
            *left.entry(party(*number)).or_default() += 1;
        }
        let mut had: BTreeMap<Party, usize> = left.keys().map(|party| (party.clone(), 0)).collect();
        for (whose, _, _) in drain(&mut filled(&pushed), &sizes) {
            *had.get_mut(&whose).unwrap() += 1;
            *left.get_mut(&whose).unwrap() -= 1;
            // What somebody had who waits no longer is no measure for the others.
            let of_waiting = || had.iter().filter(|(party, _)| left[*party] > 0).map(|(_, had)| *had);
            if let (Some(least), Some(most)) = (of_waiting().min(), of_waiting().max()) {
                prop_assert!(most - least <= TURN, "{had:?}");
            }
        }
    }

    #[test]
    fn everything_comes_out_once_and_each_kind_in_its_order(
        pushed in vec((0_u8..6, any::<bool>()), 1..600),
        sizes in vec(1_usize..200, 1..5),
    ) {
        let mut turns = filled(&pushed);
        prop_assert_eq!(turns.len(), pushed.len());
        let out = drain(&mut turns, &sizes);
        let mut last: BTreeMap<(Party, bool), usize> = BTreeMap::new();
        for (whose, bulk, place) in &out {
            let before = last.insert((whose.clone(), *bulk), *place);
            prop_assert!(before.is_none_or(|before| before < *place));
        }
        prop_assert_eq!(out.len(), pushed.len());
        prop_assert_eq!(turns.len(), 0);
    }

    #[test]
    fn whoever_waits_is_in_the_next_turns_whatever_comes_meanwhile(
        flood in vec(1_u8..6, 1..400),
        sizes in vec(1_usize..40, 1..5),
    ) {
        let mut turns = Turns::new(usize::MAX);
        for number in &flood {
            turns.push_bulk(party(*number), (party(*number), true, 0));
        }
        turns.push(party(6), (party(6), false, 0)).unwrap();
        // At most one turn of each of the five, and what was left of one.
        let mut passed = 0;
        for size in sizes.iter().cycle() {
            let taken = turns.take(*size).unwrap().together;
            if let Some(place) = taken.iter().position(|(whose, _, _)| *whose == party(6)) {
                passed += place;
                break;
            }
            passed += taken.len();
            for number in 1..6 {
                turns.push_bulk(party(number), (party(number), true, 0));
            }
        }
        prop_assert!(passed <= 5 * TURN, "{passed} went before");
    }

    #[test]
    fn places_are_bounded_and_taken_from_whoever_has_most(
        pushed in vec(0_u8..5, 1..400),
        max in 1_usize..60,
    ) {
        let mut turns = Turns::new(max);
        let mut waiting: BTreeMap<Party, usize> = BTreeMap::new();
        for number in pushed {
            let own = waiting.get(&party(number)).copied().unwrap_or(0);
            let most = waiting.values().copied().max().unwrap_or(0);
            let is_full = turns.len() == max;
            match turns.push(party(number), party(number)) {
                Ok(displaced) => {
                    prop_assert_eq!(displaced.is_some(), is_full);
                    *waiting.entry(party(number)).or_default() += 1;
                    if let Some(displaced) = displaced {
                        prop_assert!(displaced != party(number) && waiting[&displaced] == most);
                        *waiting.get_mut(&displaced).unwrap() -= 1;
                    }
                }
                // Refused is only who would have more than anybody else.
                Err(Full) => prop_assert!(is_full && own + 1 >= most),
            }
            prop_assert_eq!(turns.len(), waiting.values().sum::<usize>());
            prop_assert!(turns.len() <= max);
        }
    }
}

#[test]
fn within_a_tenant_neither_kind_starves_the_other() {
    let pushed: Vec<(u8, bool)> = (0..400).map(|number| (1, number >= 200)).collect();
    let out = drain(&mut filled(&pushed), &[50]);
    for eight in out[..200].chunks(BULK_SHARE) {
        assert_eq!(eight.iter().filter(|(_, bulk, _)| *bulk).count(), 1);
    }
}

#[test]
fn endings_of_the_platform_have_half_a_batch_however_many_tenants_wait() {
    let tenants = (1..=200_u8).flat_map(|number| std::iter::repeat_n((number, false), 20));
    let pushed: Vec<(u8, bool)> = tenants.chain(std::iter::repeat_n((0, false), 1000)).collect();
    let mut turns = filled(&pushed);
    let mut endings = 0;
    // One round of the ring: a turn for each tenant, and one for the platform.
    for _ in 0..(200 * TURN + PLATFORM_TURN).div_ceil(BATCH_MAX) {
        let taken = turns.take(BATCH_MAX).unwrap().together;
        endings += taken.iter().filter(|(whose, _, _)| *whose == Party::Platform).count();
    }
    assert!(endings >= PLATFORM_TURN, "{endings}");
}

#[test]
fn bulk_requests_are_bounded_and_a_party_without_one_gets_one() {
    let mut turns: Turns<Item> = Turns::new(1);
    for number in 1..200 {
        for _ in 0..BULK_REQUESTS_PER_TENANT_MAX {
            if turns.requests_in_all < BULK_REQUESTS_MAX {
                assert_eq!(turns.begin_bulk(&party(number)), Ok(()));
            }
        }
    }
    assert_eq!(turns.begin_bulk(&party(1)), Err(Full));
    assert_eq!(turns.begin_bulk(&party(200)), Ok(()));
    assert_eq!(turns.begin_bulk(&party(200)), Err(Full));
    turns.end_bulk(&party(1));
    turns.end_bulk(&party(200));
    assert_eq!(turns.begin_bulk(&party(1)), Ok(()));
    turns.end_bulk(&party(201));
    assert_eq!(turns.requests_in_all, BULK_REQUESTS_MAX);
}

#[test]
fn who_is_distrusted_comes_apart_and_is_trusted_again_step_by_step() {
    let pushed: Vec<(u8, bool)> = (0..3000).map(|number| (1 + u8::from(number % 2 == 0), true)).collect();
    let mut turns = filled(&pushed);
    let taken = turns.take(20).unwrap().together;
    let (of_one, _): (Vec<_>, Vec<_>) = taken.into_iter().partition(|(whose, _, _)| *whose == party(1));
    let first = of_one[0].clone();
    turns.set_aside(&party(1), of_one);
    for round in 0..4_u32 {
        let taken = turns.take(100).unwrap();
        assert!(taken.together.iter().all(|(whose, _, _)| *whose == party(2)), "{round}");
        let [(whose, apart)] = &taken.apart[..] else { panic!("{round}: {:?}", taken.apart) };
        assert_eq!((whose, apart.len()), (&party(1), 2_usize.pow(round)));
        if round == 0 {
            assert_eq!(apart[0], first);
        }
        turns.trust(whose);
    }
    turns.distrust(&party(1));
    assert_eq!(turns.take(100).unwrap().apart[0].1.len(), 1);
    for _ in 0..10 {
        turns.trust(&party(1));
    }
    assert_eq!(turns.take(100).unwrap().apart, []);
}

#[test]
fn what_weighs_more_fills_a_turn_and_a_batch_sooner() {
    // counters of a command of two parties | what each has of a batch of a hundred
    for (counters, shares) in [([3, 15], [52, 48]), ([64, 1], [11, 48]), ([800, 1], [2, 16]), ([30_000, 1], [1, 0])] {
        let parties = ["heavy", "light"].map(|name| Party::Tenant(TenantId::parse(name).unwrap()));
        let mut turns = Turns::new(1_000);
        for (place, party) in parties.iter().enumerate() {
            turns.weigh(party.clone(), counters[place]);
            for _ in 0..200 {
                assert_eq!(turns.push(party.clone(), place), Ok(None));
            }
        }
        let taken = turns.take(100).unwrap().together;
        let count = |place: usize| taken.iter().filter(|one| **one == place).count();
        assert_eq!([count(0), count(1)], shares, "{counters:?}");
        let next = turns.take(100).unwrap().together;
        assert!(next.contains(&1), "the other one is in the next batch, whatever the first weighs");
        // One that has become light again is.
        turns.weigh(parties[0].clone(), 1);
        assert!(turns.weights.is_empty());
    }
}
