//! Random reports against random books, over a real Postgres: after approval the supply side is what the report says.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::*;

const MODELS: [&str; 3] = ["claude-sonnet-4-5", "claude-haiku-4-5", "claude-3-opus-nobody-knows"];
/// What the books call them.
const NAMES: [&str; 3] = ["claude-sonnet-4-5", "claude-haiku-4-5", "claude-3-opus-latest"];
const DAYS: [&str; 3] = ["2026-06-07", "2026-06-08", "2026-06-09"];

/// Numbers that look random and are the same in each run (a linear congruence; Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn usage(&mut self) -> [u64; 4] {
        [(); 4].map(|()| self.roll(3) * self.roll(5000))
    }
}

async fn books(service: &TestService, dice: &mut Dice) {
    for _ in 0..12 {
        let tenant = ["acme", "bolt"][usize::try_from(dice.roll(2)).unwrap()];
        let [input, read, write, output] = dice.usage();
        let (day, model) =
            (DAYS[usize::try_from(dice.roll(3)).unwrap()], MODELS[usize::try_from(dice.roll(3)).unwrap()]);
        let usage = json!({"input": input, "cache_read": read, "cache_write_5m": write, "output": output, "reasoning": dice.roll(50)});
        post(service, tenant, &format!("{day}T{:02}:00:00Z", dice.roll(24)), model, usage).await;
    }
}

#[tokio::test]
async fn after_approval_supply_is_what_the_report_says_for_each_day_and_model() {
    for seed in 0..4 {
        let mut dice = Dice(seed);
        let service = world().await;
        books(&service, &mut dice).await;
        let (mut usage, mut costs) = (Vec::new(), Vec::new());
        let mut theirs: BTreeMap<(String, String), (i64, Decimal)> = BTreeMap::new();
        for day in DAYS {
            let (mut rows, mut money) = (Vec::new(), Vec::new());
            for (model, name) in MODELS.into_iter().zip(NAMES) {
                if dice.roll(4) == 0 {
                    continue;
                }
                let (counts, cents) = (dice.usage(), Decimal::new(i64::try_from(dice.roll(9_999_999)).unwrap(), 6));
                rows.push(row(model, counts));
                money.push(cost(model, &cents.to_string()));
                let tokens = i64::try_from(counts.iter().sum::<u64>()).unwrap();
                theirs.insert((day.to_owned(), name.to_owned()), (tokens, cents / Decimal::ONE_HUNDRED));
            }
            usage.push(bucket(day, &rows));
            costs.push(bucket(day, &money));
        }
        let report = json!([page(&usage), page(&costs)]);
        approve(&service, &propose(&service, report.clone()).await).await;
        let supplied: Vec<(String, String, i64, Decimal)> = sqlx::query_as(
            "select (occurred_at at time zone 'UTC')::date::text, model, sum(direction * tokens)::bigint, sum(direction * usd)
            from transfers group by 1, 2",
        )
        .fetch_all(service.db.pool())
        .await
        .unwrap();
        assert!(supplied.len() >= theirs.len());
        for (day, model, tokens, usd) in supplied {
            let said = theirs.remove(&(day.clone(), model.clone())).unwrap_or_default();
            assert_eq!((tokens, usd), said, "seed {seed}: {day} {model}");
        }
        assert!(theirs.is_empty(), "seed {seed}: {theirs:?}");
        assert_settled(&service, &report).await;
    }
}

#[tokio::test]
async fn a_replica_that_posts_meanwhile_is_seen_or_told() {
    let service = world().await;
    let report = page(&[bucket(DAY, &[row(MODELS[0], [0, 0, 0, 900])])]);
    let proposed = propose(&service, report.clone()).await;
    // Between the proposal and the approval a call arrives late: the approval compares again.
    post(&service, "acme", "2026-06-09T10:00:00Z", MODELS[0], json!({"output": 300})).await;
    let approved = approve(&service, &proposed).await;
    assert_eq!(told(&approved), ["forward acme/chat 600 $0.009"]);
    assert_settled(&service, &report).await;
    let _: Value = approved;
}
