//! Sharing out: tables, and what must hold for any claims.

use proptest::prelude::*;

use super::super::fair::{Claim, Shared, share_out};

fn claim(weight: f64, demand: &[f64], most: f64) -> Claim {
    Claim { weight, demand: demand.to_vec(), most }
}

/// What each gets of each resource.
fn given(claims: &[Claim], shared: &Shared) -> Vec<Vec<f64>> {
    let scaled = |(claim, scale): (&Claim, &f64)| claim.demand.iter().map(|need| need * scale).collect();
    claims.iter().zip(&shared.scales).map(scaled).collect()
}

#[track_caller]
fn check(capacity: &[f64], claims: &[Claim], expected: &[&[f64]]) {
    let shared = share_out(capacity, claims);
    for (given, expected) in given(claims, &shared).iter().zip(expected) {
        for (given, expected) in given.iter().zip(*expected) {
            assert!((given - expected).abs() < 1e-6 * expected.max(1.0), "{given} is not {expected}: {claims:?}");
        }
    }
}

const ALL: f64 = f64::INFINITY;

#[test]
fn who_asks_for_little_gets_it_and_the_rest_is_split() {
    let claims = [claim(1.0, &[10.0], 1.0), claim(1.0, &[50.0], 1.0), claim(1.0, &[80.0], 1.0)];
    check(&[100.0], &claims, &[&[10.0], &[45.0], &[45.0]]);
    check(&[300.0], &claims, &[&[10.0], &[50.0], &[80.0]]);
    check(&[0.0], &claims, &[&[0.0], &[0.0], &[0.0]]);
    assert!(share_out(&[300.0], &claims).level.is_infinite(), "everybody got what was asked for");
    check(&[100.0], &[claim(1.0, &[1.0], ALL), claim(1.0, &[70.0], ALL)], &[&[50.0], &[50.0]]);
    check(&[100.0], &[claim(3.0, &[1.0], ALL), claim(1.0, &[1.0], ALL)], &[&[75.0], &[25.0]]);
    check(&[100.0], &[claim(3.0, &[30.0], 1.0), claim(1.0, &[1.0], ALL)], &[&[30.0], &[70.0]]);
}

#[test]
fn dominant_shares_are_made_equal_over_tokens_and_dollars() {
    // The example of the paper: 9 CPUs and 18 GB; tasks of (1, 4) and of (3, 1): three of the first and two of the second.
    check(&[9.0, 18.0], &[claim(1.0, &[1.0, 4.0], ALL), claim(1.0, &[3.0, 1.0], ALL)], &[&[3.0, 12.0], &[6.0, 2.0]]);
    // One who needs nothing of what is gone goes on.
    check(
        &[10.0, 10.0],
        &[claim(1.0, &[1.0, 0.0], ALL), claim(1.0, &[0.0, 1.0], 4.0), claim(1.0, &[1.0, 0.0], ALL)],
        &[&[5.0, 0.0], &[0.0, 4.0], &[5.0, 0.0]],
    );
}

#[test]
fn a_claim_on_nothing_and_no_claim_at_all_are_met() {
    assert_eq!(share_out(&[5.0], &[]).scales, [0.0; 0]);
    let shared = share_out(&[5.0], &[claim(1.0, &[0.0], ALL), claim(1.0, &[f64::NAN], 1.0)]);
    assert_eq!(shared.scales, [0.0, 0.0]);
    assert!(shared.level.is_infinite());
}

fn any_claims() -> impl Strategy<Value = (Vec<f64>, Vec<Claim>)> {
    let number = || prop_oneof![Just(0.0), 0.001..1000.0_f64];
    (1..=3_usize, 1..=8_usize).prop_flat_map(move |(resources, tenants)| {
        let most = prop_oneof![Just(1.0), Just(ALL), 0.1..3.0_f64];
        let one = (0.1..10.0_f64, prop::collection::vec(number(), resources), most);
        let one = one.prop_map(|(weight, demand, most)| Claim { weight, demand, most });
        (prop::collection::vec(number(), resources), prop::collection::vec(one, tenants))
    })
}

/// The weighted dominant share of a tenant.
fn dominant(claim: &Claim, scale: f64, capacity: &[f64]) -> f64 {
    let parts =
        claim.demand.iter().zip(capacity).filter(|(need, _)| **need > 0.0).map(|(need, all)| need * scale / all);
    parts.fold(0.0, f64::max) / claim.weight
}

proptest! {
    #[test]
    fn nothing_is_given_twice_and_nobody_is_given_more_than_asked((capacity, claims) in any_claims()) {
        let shared = share_out(&capacity, &claims);
        for (place, all) in capacity.iter().enumerate() {
            let sum: f64 = given(&claims, &shared).iter().map(|given| given[place]).sum();
            prop_assert!(sum <= all * (1.0 + 1e-6) + 1e-9, "{sum} of {all}");
        }
        for (claim, scale) in claims.iter().zip(&shared.scales) {
            prop_assert!(scale.is_finite() && *scale >= 0.0 && *scale <= claim.most);
        }
    }

    #[test]
    fn who_got_less_than_asked_lacks_something_that_is_gone((capacity, claims) in any_claims()) {
        let shared = share_out(&capacity, &claims);
        let all_given = given(&claims, &shared);
        for (claim, scale) in claims.iter().zip(&shared.scales) {
            let is_met = *scale >= claim.most * (1.0 - 1e-6) || claim.demand.iter().all(|need| *need <= 0.0);
            let lacks = claim.demand.iter().enumerate().any(|(place, need)| {
                let sum: f64 = all_given.iter().map(|given| given[place]).sum();
                *need > 0.0 && sum >= capacity[place] * (1.0 - 1e-6)
            });
            prop_assert!(is_met || lacks, "{claim:?} got {scale}");
        }
    }

    #[test]
    fn more_for_one_could_only_come_from_somebody_who_has_no_more((capacity, claims) in any_claims()) {
        let shared = share_out(&capacity, &claims);
        for (claim, scale) in claims.iter().zip(&shared.scales) {
            if *scale >= claim.most * (1.0 - 1e-6) || claim.demand.iter().all(|need| *need <= 0.0) {
                continue;
            }
            let own = dominant(claim, *scale, &capacity);
            // Of some resource that it lacks, all who have any of it have at most the same.
            let all_given = given(&claims, &shared);
            let is_fair = claim.demand.iter().enumerate().filter(|(_, need)| **need > 0.0).any(|(place, _)| {
                let sum: f64 = all_given.iter().map(|given| given[place]).sum();
                sum >= capacity[place] * (1.0 - 1e-6)
                    && claims.iter().zip(&shared.scales).all(|(other, scale)| {
                        other.demand[place] * scale <= 0.0
                            || capacity[place] <= 0.0
                            || dominant(other, *scale, &capacity) <= own * (1.0 + 1e-6) + 1e-9
                    })
            });
            prop_assert!(is_fair, "{claim:?} of {claims:?}");
        }
    }

    #[test]
    fn a_larger_weight_never_gets_less((capacity, mut claims) in any_claims(), more in 1.0..5.0_f64) {
        let before = share_out(&capacity, &claims).scales[0];
        claims[0].weight *= more;
        let after = share_out(&capacity, &claims).scales[0];
        prop_assert!(after >= before * (1.0 - 1e-6), "{before} became {after}");
    }
}
