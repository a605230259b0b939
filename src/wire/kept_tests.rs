use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::domain::budget::catalogue::Priority;
use crate::domain::fixtures::{at, call, catalogue, rates, tokens, usage};
use crate::domain::id::{ReservationId, TransferId};
use crate::domain::ledger::books::Books;
use crate::domain::ledger::command::{Action, Command, PostUsage, ReportedUsage, Reserve, Settle};
use crate::domain::ledger::transfer::{CallOutcome, CallReport};
use crate::domain::price::ServiceTier;

/// A budget of every kind of line that an answer can have.
const BUDGETS: &str = "tenant acme Asia/Kathmandu
    budget spent usd 2 month zone=tenant tenant=acme thresholds=0.1,0.5 reserve=p95
    budget tokens tokens 3000 day zone=America/Sao_Paulo
    budget grams gco2e 5 week each=feature soft
    budget market gco2e_market 900 sliding:600
    budget runs requests 4 once each=run
    budget weighted w:1,0,1.25,2,5,5 1000000 hour floors=interactive:0.4";

fn books() -> Books {
    Books::new(catalogue(BUDGETS), rates())
}

fn apply(books: &mut Books, action: Action) -> Outcome {
    books.apply(&Command { action, idempotency: None }, at("2026-03-08T09:59:59.123456Z")).unwrap()
}

fn reserve(number: u128, input: u64, output: u64, allow_cap: bool) -> Action {
    Action::Reserve(Box::new(Reserve {
        id: ReservationId(Uuid::from_u128(number)),
        call: call("acme/chat unit/one run=r-1"),
        priority: Priority::Standard,
        service_tier: ServiceTier::Standard,
        usage: usage([input, 7, 0, 0, output, 0]),
        min_output: tokens(1),
        allow_cap,
        hold: true,
        ttl_seconds: 120,
    }))
}

fn report() -> CallReport {
    CallReport { outcome: CallOutcome::Completed, latency_ms: None, provider_request_id: None, provider_usd: None }
}

/// What is kept of an outcome reads back as what its caller was told.
fn check(outcome: &Outcome) {
    let text = to_text(outcome).unwrap();
    match outcome {
        Outcome::Ruled(ruled) => {
            assert_eq!(PreflightAnswer::from_text(&text).unwrap(), PreflightAnswer::from(&**ruled), "{text}");
        }
        Outcome::Posted(posted) => {
            assert_eq!(PostedAnswer::from_text(&text).unwrap(), PostedAnswer::from(&**posted), "{text}");
        }
        Outcome::Released(_) | Outcome::Extended(_) | Outcome::Repeated(_) => unreachable!("not asked for here"),
    }
}

proptest! {
    #[test]
    fn what_is_kept_reads_back_as_what_was_told(
        calls in proptest::collection::vec((1..4_000_u64, 0..4_000_u64, any::<bool>(), 0..6_000_u64), 1..8),
    ) {
        let mut books = books();
        for (number, (input, output, allow_cap, used)) in (1_u128..).zip(calls) {
            let ruled = apply(&mut books, reserve(number, input, output, allow_cap));
            check(&ruled);
            // As in another batch: nobody settles what was granted in this one.
            books.changes = Default::default();
            if let Outcome::Ruled(ruled) = ruled && ruled.granted.is_some() {
                let settle = Settle {
                    reservation: ReservationId(Uuid::from_u128(number)),
                    tenant: None,
                    transfer: TransferId(Uuid::from_u128(number)),
                    usage: Some(ReportedUsage::Buckets(usage([used, 0, 3, 0, 5, 1]))),
                    is_partial: None,
                    served_model: None,
                    served_region: None,
                    served_provider: None,
                    service_tier: None,
                    is_strict: false,
                    report: report(),
                };
                check(&apply(&mut books, Action::Settle(Box::new(settle))));
            }
            let post = PostUsage {
                transfer: TransferId(Uuid::from_u128(number + 1000)),
                call: call("acme/chat unit/unheard run=r-2"),
                requested_model: None,
                priority: Priority::Standard,
                service_tier: None,
                requests: 1,
                usage: ReportedUsage::Buckets(usage([used, 1, 2, 3, 4, 5])),
                is_partial: None,
                occurred_at: Some(at("2026-03-08T09:59:59Z") - TimeDelta::days(3)),
                report: report(),
            };
            check(&apply(&mut books, Action::PostUsage(Box::new(post))));
        }
    }
}

#[test]
fn what_is_kept_is_short() {
    let mut books = books();
    let ruled = apply(&mut books, reserve(1, 1000, 100, false));
    let Outcome::Ruled(told) = &ruled else { unreachable!() };
    let told = serde_json::to_string(&PreflightAnswer::from(&**told)).unwrap();
    let kept = to_text(&ruled).unwrap();
    assert!(kept.len() * 2 < told.len(), "{} of {} bytes: {kept}", kept.len(), told.len());
}

#[test]
fn what_is_no_kept_answer_is_refused_with_the_reason() {
    for (text, reason) in [
        ("", "EOF"),
        (r#"{"v":"allow"}"#, "missing field `a`"),
        (r#"{"v":"allow","a":[1,"1","1","1","1"],"r":9223372036854775807}"#, "no instant"),
        (
            r#"{"v":"allow","a":[1,"1","1","1","1"],"b":[{"b":"x","m":"usd","l":"1","p":"1","h":"0","s":0,"z":"Nowhere","e":"hard"}]}"#,
            "Nowhere",
        ),
    ] {
        let error = PreflightAnswer::from_text(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}
