//! The cap against a search that tries every output, and what must never get worse.

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::super::verdict::Verdict;
use super::*;

/// A budget as text. Limits are small enough that the edge is met often.
fn any_budget(id: &'static str) -> impl Strategy<Value = (String, [u32; 3])> {
    let measure = prop::sample::select(vec![
        "requests",
        "tokens",
        "usd",
        "gco2e",
        "gco2e_market",
        "w:1,0,1,1,5,5",
        "w:0.5,0,0,0,2,0",
    ]);
    let period = prop::sample::select(vec!["hour", "day", "month", "once", "sliding:600"]);
    let extra = prop::sample::select(vec![
        "",
        "",
        "soft",
        "floors=interactive:0.3",
        "thresholds=0.5,0.9",
        "zone=Asia/Kathmandu",
    ]);
    (measure, period, extra, [0_u32..120, 0_u32..60, 0_u32..30]).prop_map(move |(measure, period, extra, numbers)| {
        (format!("{id} {measure} LIMIT {period} {extra} posted=POSTED held=HELD"), numbers)
    })
}

/// The numbers are tokens; a gram is about a hundred-thousandth of them.
fn written((text, [limit, posted, held]): &(String, [u32; 3])) -> String {
    let unit = if text.contains("gco2e") { Decimal::new(7, 5) } else { Decimal::ONE };
    let number = |value: u32| Decimal::from(value).checked_mul(unit).unwrap().to_string();
    text.replace("LIMIT", &number(*limit)).replace("POSTED", &number(*posted)).replace("HELD", &number(*held))
}

fn any_budgets() -> impl Strategy<Value = Vec<(String, [u32; 3])>> {
    (any_budget("a"), any_budget("b"), any_budget("c"), 1..=3_usize)
        .prop_map(|(a, b, c, count)| [a, b, c].into_iter().take(count).collect())
}

fn any_asked() -> impl Strategy<Value = (String, [u64; 3])> {
    let model = prop::sample::select(vec!["unit/one", "unit/two", "openai/gpt-4o", "local/free", "openai/unheard"]);
    let priority = prop::sample::select(vec!["batch", "standard", "interactive"]);
    let cap = prop::sample::select(vec!["cap", "cap", ""]);
    let now = prop::sample::select(vec!["2026-01-31T23:58:30Z", "2026-02-01T00:00:00Z", "2026-01-15T12:00:00Z"]);
    (model, priority, cap, now, [0_u64..40, 0_u64..60, 1_u64..5])
        .prop_map(|(model, priority, cap, now, numbers)| (format!("{model} {priority} {cap} at={now}"), numbers))
}

fn asked((text, [input, output, least]): &(String, [u64; 3])) -> Asked {
    Asked::parse(&format!("{text} in={input} out={output} min={least}"))
}

fn decided(asked: &Asked, budgets: &[(String, [u32; 3])], jitter: u64) -> (Ruling, Vec<Standing>) {
    let text = budgets.iter().map(written).collect::<Vec<_>>().join(", ");
    let standings = standings(&text, &asked.call, asked.now);
    (asked.decide(&standings, jitter).unwrap(), standings)
}

proptest! {
    #[test]
    fn a_cap_is_what_trying_every_output_finds(ask in any_asked(), budgets in any_budgets(), jitter in any::<u64>()) {
        let asked = asked(&ask);
        let (ruling, standings) = decided(&asked, &budgets, jitter);
        // Each output is asked on its own, without a cap.
        let fits = |output: u64| {
            let alone = Asked { output, allow_cap: false, call: asked.call.clone(), ..asked };
            alone.decide(&standings, 0).unwrap().verdict == Verdict::Allow
        };
        let expected = if fits(asked.output) {
            (true, Some(asked.output))
        } else if asked.allow_cap {
            (false, (asked.min_output..asked.output).rev().find(|output| fits(*output)))
        } else {
            (false, None)
        };
        prop_assert_eq!(ruling.verdict == Verdict::Allow, expected.0);
        prop_assert_eq!(ruling.max_output.map(|output| output.count()), expected.1);
        if ruling.verdict.grants() {
            prop_assert!(within_limits(&ruling, &standings));
        }
        if let Some(retry) = ruling.retry {
            prop_assert!((1..=120).contains(&retry.after_seconds) && retry.not_before > asked.now);
        }
        if let Some(instant) = ruling.resets_at {
            prop_assert!(instant > asked.now);
        }
    }

    #[test]
    fn asking_for_less_never_gets_a_worse_answer(ask in any_asked(), budgets in any_budgets(), less in [0_u64..40, 0_u64..60]) {
        let before = asked(&ask);
        let after = Asked {
            input: before.input.min(less[0]),
            output: before.output.min(less[1]),
            call: before.call.clone(),
            ..before
        };
        let (before, after) = (decided(&before, &budgets, 0).0, decided(&after, &budgets, 0).0);
        prop_assert!(after.verdict <= before.verdict, "{} became {}", words(&before), words(&after));
        prop_assert!(after.resets_at.is_none() || before.resets_at.is_none() || after.resets_at <= before.resets_at);
    }

    #[test]
    fn more_headroom_never_gets_a_worse_answer(ask in any_asked(), budgets in any_budgets(), more in [0_u32..50, 0_u32..50, 0_u32..50]) {
        let asked = asked(&ask);
        let roomier: Vec<_> = budgets
            .iter()
            .map(|(text, [limit, posted, held])| {
                let numbers = [limit.saturating_add(more[0]), posted.saturating_sub(more[1]), held.saturating_sub(more[2])];
                (text.clone(), numbers)
            })
            .collect();
        let (before, after) = (decided(&asked, &budgets, 0).0, decided(&asked, &roomier, 0).0);
        prop_assert!(after.verdict <= before.verdict, "{} became {}", words(&before), words(&after));
        prop_assert!(after.max_output >= before.max_output || after.max_output.is_none());
    }

    #[test]
    fn the_more_urgent_never_get_a_worse_answer(ask in any_asked(), budgets in any_budgets()) {
        let asked = asked(&ask);
        let verdicts = Priority::ALL.map(|priority| {
            decided(&Asked { priority, call: asked.call.clone(), ..asked }, &budgets, 0).0.verdict
        });
        prop_assert!(verdicts[2] <= verdicts[1] && verdicts[1] <= verdicts[0]);
    }
}
