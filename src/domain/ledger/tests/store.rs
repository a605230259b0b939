//! A store in memory that does what a lane does: load what is touched, decide, save.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::super::books::Remembered;
use super::super::outcome::RefusedCall;
use super::*;
use crate::domain::amounts::{Amounts, Quantity};
use crate::domain::budget::catalogue::{Enforcement, Governing};
use crate::domain::budget::counter::{Counter, CounterId};
use crate::domain::budget::recount::Recount;
use crate::domain::id::IdempotencyKey;
use crate::domain::learned::lesson::Lessons;

/// What a counter that was not asked for reads as: nobody who looks at it can come to the right answer.
const POISON: &str = "4444444444444444.4";

#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    pub(super) counters: BTreeMap<CounterId, Counter>,
    pub(super) reservations: BTreeMap<ReservationId, Reservation>,
    pub(super) answers: BTreeMap<(KeySpace, IdempotencyKey), Remembered>,
    pub(super) transfers: Vec<Transfer>,
    pub(super) refusals: Vec<RefusedCall>,
}

impl Store {
    #[track_caller]
    pub(super) fn batch(
        &mut self,
        catalogue: &Arc<Catalogue>,
        rates: &Arc<RateBooks>,
        lessons: &Arc<Lessons>,
        commands: &[Command],
        now: DateTime<Utc>,
    ) -> Vec<Answer> {
        let mut books = Books::new(Arc::clone(catalogue), Arc::clone(rates));
        books.lessons = Arc::clone(lessons);
        let named: BTreeSet<_> = commands.iter().filter_map(|command| command.action.reservation()).collect();
        let expired = |one: &Reservation| one.state == ReservationState::Open && one.expires_at <= now;
        let wanted = |one: &&Reservation| named.contains(&one.id) || expired(one);
        books.reservations = self.reservations.values().filter(wanted).map(|one| (one.id, one.clone())).collect();
        let expired: Vec<_> = books.reservations.values().filter(|one| expired(one)).map(|one| one.id).collect();
        for idempotency in commands.iter().filter_map(|command| command.idempotency.as_ref()) {
            let key = (idempotency.space.clone(), idempotency.key.clone());
            books.answers.extend(self.answers.get(&key).map(|answer| (key, answer.clone())));
        }

        // Only counters that are touched are loaded, and only the one a call is counted in may be written.
        let mut touched: Vec<Governing> =
            commands.iter().flat_map(|command| books.touches(&command.action, now).unwrap_or_default()).collect();
        touched.extend(expired.iter().flat_map(|id| books.touched_by_expiry(&books.reservations[id], now).unwrap()));
        let writable: BTreeSet<CounterId> = touched.iter().map(Governing::counter).collect();
        let seen: Vec<Governing> = touched.iter().map(|one| one.seen_at(now).unwrap()).collect();
        let readable: BTreeSet<CounterId> = seen
            .iter()
            .flat_map(|one| one.window(&self.counters).map(|(period, _)| one.counter_from(period.start)))
            .collect();
        let poison = Counter { posted: quantity(POISON), held: quantity(POISON), ..Counter::default() };
        books.counters = self.counters.keys().map(|id| (id.clone(), poison)).collect();
        for id in readable.union(&writable) {
            books.counters.insert(id.clone(), self.counters.get(id).copied().unwrap_or_default());
        }

        for id in expired {
            books.expire(id, estimate_of(id), now).unwrap();
        }
        let answers: Vec<Answer> = commands.iter().map(|command| books.apply(command, now)).collect();
        assert!(books.changes.counters.is_subset(&writable), "a counter was written that was not locked");
        self.save(&books, now);
        self.check(catalogue, &answers);
        answers
    }

    fn save(&mut self, books: &Books, now: DateTime<Utc>) {
        let changes = &books.changes;
        for id in &changes.counters {
            self.counters.insert(id.clone(), books.counters[id]);
        }
        for id in &changes.granted {
            assert!(self.reservations.insert(*id, books.reservations[id].clone()).is_none(), "{id} granted twice");
        }
        for id in &changes.changed {
            let (before, after) = (&self.reservations[id], &books.reservations[id]);
            assert_one_end(before, after);
            self.reservations.insert(*id, after.clone());
        }
        for key in &changes.answers {
            let before = self.answers.insert(key.clone(), books.answers[key].clone());
            assert!(before.is_none_or(|before| !before.is_repeated(now)), "{key:?} answered twice");
        }
        self.transfers.extend(changes.transfers.iter().cloned());
        self.refusals.extend(changes.refusals.iter().cloned());
    }

    /// What always holds.
    #[track_caller]
    fn check(&self, catalogue: &Arc<Catalogue>, answers: &[Answer]) {
        let not_zero =
            |(id, counter): (&CounterId, &Counter)| (*counter != Counter::default()).then(|| (id.clone(), *counter));
        let kept: BTreeMap<_, _> = self.counters.iter().filter_map(not_zero).collect();
        assert_eq!(kept, self.recounted(catalogue), "counters are not what the journal and the reservations say");
        for ruled in answers.iter().filter_map(|answer| match answer {
            Ok(Outcome::Ruled(ruled)) if ruled.granted.is_some() => Some(ruled),
            _ => None,
        }) {
            for state in ruled.budgets.iter().filter(|state| state.enforcement == Enforcement::Hard) {
                // A later command of the batch saw this state or a fuller one, so each grant is checked as it was made.
                let measure = &catalogue.budget(&state.budget).unwrap().measure;
                let is_free = measure.of(&ruled.ruling.priced.consumption) == Ok(Quantity::ZERO);
                assert!(is_free || state.headroom() >= Quantity::ZERO, "{} is exceeded by a grant", state.budget);
            }
        }
        self.check_balances();
    }

    /// Every transfer leaves one account and enters another, so the sums of both sides are equal in every unit.
    fn check_balances(&self) {
        let mut balances: BTreeMap<String, [Decimal; 5]> = BTreeMap::new();
        for transfer in &self.transfers {
            assert_ne!(transfer.debit(), transfer.credit());
            let units = units(&transfer.priced.consumption.amounts);
            for (account, sign) in [(transfer.debit(), Decimal::ONE), (transfer.credit(), Decimal::NEGATIVE_ONE)] {
                let balance = balances.entry(account.to_string()).or_default();
                for (sum, unit) in balance.iter_mut().zip(units) {
                    *sum = sum.checked_add(unit.checked_mul(sign).unwrap()).unwrap();
                }
            }
        }
        for unit in 0..5 {
            assert_eq!(balances.values().map(|balance| balance[unit]).sum::<Decimal>(), Decimal::ZERO);
        }
        let distinct: BTreeSet<_> = self.transfers.iter().map(|transfer| transfer.id).collect();
        assert_eq!(distinct.len(), self.transfers.len(), "a transfer was posted twice");
        let is_estimate = |one: &&Transfer| one.priced.flags.contains(Flags::EXPIRED);
        let of_reservations = self.transfers.iter().filter(|one| !is_estimate(one));
        let settled: Vec<_> = of_reservations.filter_map(|transfer| transfer.reservation).collect();
        assert_eq!(settled.iter().collect::<BTreeSet<_>>().len(), settled.len(), "a reservation was settled twice");
    }

    fn recounted(&self, catalogue: &Catalogue) -> BTreeMap<CounterId, Counter> {
        let mut recount = Recount::new(catalogue, Vec::new());
        for transfer in &self.transfers {
            let (call, at, moved) = (&transfer.call, transfer.period_at, &transfer.priced.consumption);
            match transfer.direction {
                Direction::Forward => recount.post(call, at, moved),
                Direction::Reverse => recount.take_back(call, at, moved),
            }
            .unwrap();
        }
        for one in self.reservations.values().filter(|one| one.state == ReservationState::Open) {
            recount.hold(&one.call, one.held_at, &one.hold.consumption, &one.learned).unwrap();
        }
        let counters = recount.finish().into_iter().map(|(id, recounted)| (id, recounted.counter));
        counters.filter(|(_, counter)| *counter != Counter::default()).collect()
    }

    pub(super) fn recount(&mut self, catalogue: &Catalogue) {
        self.counters = self.recounted(catalogue);
    }

    pub(super) fn counters(&self, catalogue: &Catalogue, budget: &str) -> String {
        let number = catalogue.budget(&budget.parse().unwrap()).unwrap().number;
        let shown = self.counters.iter().filter(|(id, counter)| id.budget == number && **counter != Counter::default());
        shown.map(|(_, counter)| format!("{}+{}", counter.posted, counter.held)).collect::<Vec<_>>().join(" ")
    }
}

/// The id of the estimate of a reservation that expires.
pub(super) fn estimate_of(id: ReservationId) -> TransferId {
    TransferId(Uuid::from_u128(id.0.as_u128() + 1_000_000))
}

fn units(amounts: &Amounts) -> [Decimal; 5] {
    [
        amounts.tokens.decimal(),
        amounts.usd.decimal(),
        amounts.gco2e_usage_location.decimal(),
        amounts.gco2e_usage_market.decimal(),
        amounts.gco2e_embodied.decimal(),
    ]
}

/// Open to one of the ends; from expired or released only to the same with the transfer that came late; else nowhere.
#[track_caller]
fn assert_one_end(before: &Reservation, after: &Reservation) {
    let allowed = match (before.state, after.state) {
        (ReservationState::Open, ReservationState::Settled) => after.transfer.is_some(),
        (ReservationState::Open, ReservationState::Open) => after.transfer.is_none(),
        // Settled late within the same batch.
        (ReservationState::Open, ReservationState::Expired | ReservationState::Released) => true,
        (ReservationState::Expired, ReservationState::Expired)
        | (ReservationState::Released, ReservationState::Released) => {
            (before.transfer.is_none() || before.is_estimated()) && after.transfer.is_some() && !after.is_estimated()
        }
        (_, _) => false,
    };
    assert!(allowed, "{:?} became {:?}", before.state, after.state);
    assert_eq!(after.ended_at.is_none(), after.state == ReservationState::Open);
    assert_eq!((&before.call, before.granted_at), (&after.call, after.granted_at));
    assert!(after.expires_at >= before.expires_at, "an extension never shortens");
}
