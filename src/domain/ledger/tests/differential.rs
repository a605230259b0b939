//! Random lives of the books, three times: in batches, one command at a time, and in the plain model. All three say the same.

use proptest::prelude::*;

use super::learned::lessons;
use super::model::{Model, said};

use super::*;

/// The same tenants and budgets as the model's rules, in the words of the fixtures.
const WORLD: &str = "
    tenant acme Asia/Tokyo
    tenant beta Etc/UTC
    tenant firm Etc/UTC strict
    tenant gone Etc/UTC archived
    budget own tokens 120 day tenant=acme zone=tenant reserve=p95
    budget quota w:1,0,1,1,5,5 400 hour provider=unit reserve=p99
    budget run usd 60 once each=run
    budget soft tokens 50 hour soft
    budget slide requests 6 sliding:600 each=tenant
    budget floor usd 90 day zone=tenant each=tenant floors=interactive:0.4 reserve=p99
    budget two usd 30 day model=two
    budget grams gco2e 0.004 day each=feature reserve=p95
    budget burst tokens 70 sliding:600 provider=unit reserve=p95";

/// A step as twelve bytes: what each means is said in [`Life::command`]. Zeros are the simplest, so that failures shrink.
type Step = [u8; 12];

/// Seconds the clock moves before a batch.
const PAUSES: [i64; 10] = [0, 1, 7, 40, 119, 120, 300, 601, 3_600, 40_000];

struct Life {
    batched: World,
    single: World,
    model: Model,
    /// Reservations that were granted in earlier batches.
    known: Vec<u128>,
    number: u128,
}

fn pick<T: Copy>(from: &[T], byte: u8) -> T {
    from[usize::from(byte) % from.len()]
}

impl Life {
    fn new() -> Self {
        Self {
            batched: World { lessons: Arc::new(lessons()), ..World::new(WORLD) },
            single: World { lessons: Arc::new(lessons()), ..World::new(WORLD) },
            model: Model::new(),
            known: Vec::new(),
            number: 0,
        }
    }

    fn call(tenant: u8, kind: u8) -> String {
        let tenant = pick(&["acme", "acme", "acme", "beta", "beta", "firm", "gone", "nobody"], tenant);
        let model = pick(&["unit/one", "unit/two", "unit/one", "local/free", "openai/unheard"], kind);
        let feature = pick(&["chat", "search"], kind / 5);
        let run = pick(&["", " run=r1", " run=r2"], kind / 10);
        format!("{tenant}/{feature} {model}{run}")
    }

    fn command(&mut self, step: Step) -> Command {
        let [kind, target, tenant, model, input, output, flags, key, more, outcome, confined, when] = step;
        self.number = self.number.checked_add(1).unwrap();
        let number = self.number;
        // Mostly one that exists; sometimes one that nobody ever heard of.
        let target = match self.known.len() {
            0 => 999_999,
            count => self.known[usize::from(target) % count],
        };
        let tenant_of = pick(&[None, None, None, Some("acme"), Some("beta")], confined);
        let tenant_of = tenant_of.map(|tenant| tenant.parse::<TenantId>().unwrap());
        let (input, output) = (u64::from(input % 40), u64::from(output % 50));
        let outcome = pick(&CallOutcome::ALL, outcome);
        let ttl_seconds = pick(&[120, 30, 1, 700, 86_400], more);
        let action = match kind % 11 {
            0..=3 => Action::Reserve(Box::new(Reserve {
                allow_cap: flags & 1 == 1,
                hold: flags & 0b1110 != 0b0010,
                min_output: tokens(u64::from(more % 7).saturating_add(1)),
                priority: pick(&Priority::ALL, flags >> 4),
                ttl_seconds,
                ..reserve(number, &Self::call(tenant, model), input, output)
            })),
            4..=5 => Action::Settle(Box::new(Settle {
                tenant: tenant_of,
                transfer: transfer_id(number),
                served_model: (flags % 3 == 1).then(|| "two".parse().unwrap()),
                is_partial: Some(flags % 5 == 4),
                ..settle(target, (flags % 4 != 2).then(|| used(input, output)), outcome)
            })),
            6 => Action::Release(Release { tenant: tenant_of, ..release(target) }),
            7..=8 => Action::Extend(Extend { tenant: tenant_of, ..extend(target, ttl_seconds, u64::from(flags % 12)) }),
            10 => {
                let mut call = call(&Self::call(tenant, model));
                if flags & 0b100 != 0 {
                    (call.tenant, call.feature) = (TenantId::nobody(), FeatureId::nothing());
                }
                let back = pick(&[0, 5, 900, 50_000, -1], when);
                let amounts = Amounts {
                    tokens: tokens(input.saturating_add(output)),
                    usd: Usd::new(input.into()).unwrap(),
                    ..Amounts::default()
                };
                Action::Adjust(Box::new(Adjust {
                    transfer: transfer_id(number),
                    kind: if flags & 1 == 1 {
                        Adjustment::TrueUp { corrects: None }
                    } else {
                        Adjustment::Correction { corrects: transfer_id(target) }
                    },
                    direction: if flags & 0b10 == 0 { Direction::Forward } else { Direction::Reverse },
                    call,
                    priority: Priority::Standard,
                    consumption: Consumption { requests: 1, usage: usage([input, 0, 0, 0, output, 0]), amounts },
                    factors: None,
                    assumed: Flags::NONE,
                    occurred_at: self.batched.now.checked_sub_signed(TimeDelta::seconds(back)).unwrap(),
                    counts_at: self.batched.now.checked_sub_signed(TimeDelta::seconds(back)).unwrap(),
                }))
            }
            _ => {
                let back = pick(
                    &[None, Some(0), Some(5), Some(-300), Some(900), Some(50_000), Some(-301), Some(34_560_001)],
                    when,
                );
                let occurred_at =
                    back.map(|back| self.batched.now.checked_sub_signed(TimeDelta::seconds(back)).unwrap());
                let requests = u32::from(flags % 3).saturating_add(1);
                Action::PostUsage(Box::new(PostUsage {
                    occurred_at,
                    requests,
                    ..post(number, &Self::call(tenant, model), input, output)
                }))
            }
        };
        // A few keys, used again and again, sometimes with another body.
        match key % 8 {
            0..=4 => plain(action),
            used => keyed(&format!("key-{used}-{}", key / 64), kind % 10 + u8::from(key & 0x20 != 0), action),
        }
    }

    fn batch(&mut self, pause: u8, steps: &[Step]) {
        let pause = pick(&PAUSES, pause);
        self.batched.advance(pause);
        self.single.advance(pause);
        let now = self.batched.now;
        let commands: Vec<Command> = steps.iter().map(|step| self.command(*step)).collect();
        let together = self.batched.batch(&commands);
        for (command, answer) in commands.iter().zip(&together) {
            let alone = self.single.answer(command.clone());
            assert_eq!(*answer, alone, "a batch decided otherwise than one by one");
            assert_eq!(said(answer), self.model.apply(command, now), "the model says otherwise of {command:?}");
            if let Ok(Outcome::Ruled(ruled)) = answer
                && let Some(granted) = ruled.granted
            {
                let number = granted.reservation.0.as_u128();
                if !self.known.contains(&number) {
                    self.known.push(number);
                }
            }
        }
        let (together, alone) = (&self.batched.store, &self.single.store);
        assert_eq!(together.counters, alone.counters);
        assert_eq!(together.reservations, alone.reservations);
        assert_eq!(together.transfers, alone.transfers);
        assert_eq!(together.refusals, alone.refusals);
        assert_eq!(together.answers, alone.answers);
    }
}

#[test]
fn the_world_meets_every_verdict_and_every_refusal() {
    // A property that never gets anywhere proves nothing: a fixed walk must have seen everything.
    let mut seen = std::collections::BTreeSet::new();
    let mut life = Life::new();
    let mut state = 7_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    for _batch in 0..400 {
        let steps: Vec<Step> = (0..4).map(|_| std::array::from_fn(|_| byte())).collect();
        // Mostly short, so that much is still open when it is ended.
        let pause = if byte() % 4 == 0 { byte() } else { byte() % 4 };
        let before = life.number;
        life.batch(pause, &steps);
        assert!(life.number > before);
    }
    let store = &life.single.store;
    seen.extend(store.refusals.iter().map(|refused| refused.ruled.ruling.verdict.name()));
    seen.extend(store.reservations.values().map(|one| one.state.name()));
    seen.extend(store.reservations.values().filter(|one| one.hold.flags.contains(Flags::CAPPED)).map(|_| "cap"));
    seen.extend(store.transfers.iter().flat_map(|transfer| transfer.priced.flags.names()));
    for expected in [
        "wait",
        "stop",
        "cap",
        "settled",
        "released",
        "expired",
        "late",
        "unconfirmed",
        "overrun",
        "capped",
        "learned_overrun",
        "partial_usage",
    ] {
        assert!(seen.contains(expected), "{expected} never happened: {seen:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn batches_single_commands_and_the_plain_model_say_the_same(
        batches in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<Step>(), 1..7)), 1..14),
    ) {
        let mut life = Life::new();
        for (pause, steps) in batches {
            life.batch(pause, &steps);
        }
    }
}
