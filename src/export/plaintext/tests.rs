use proptest::prelude::*;
use rust_decimal::{Decimal, dec};

use super::*;

fn bundle(tokens: i64, usd: Decimal, grams: Decimal) -> Bundle {
    Bundle { tokens: tokens.into(), usd, location: grams, market: grams, embodied: grams }
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn movement(on: &str, debit: &str, credit: &str, moved: Bundle) -> Movement {
    let (provider, model) = credit.split_once(':').unwrap().1.split_once('/').unwrap();
    Movement {
        id: "0199-1".to_owned(),
        kind: "usage",
        day: day(on),
        debit: debit.to_owned(),
        credit: credit.to_owned(),
        provider: provider.to_owned(),
        model: model.to_owned(),
        bundle: moved,
        corrected_period: None,
        tags: vec![
            ("kind", "usage".to_owned()),
            ("run", "r;1, \"x\"".to_owned()),
            ("labels", names::labels([("a", "b,c")])),
        ],
    }
}

fn head(accounts: &[(&str, Bundle, Bundle)]) -> Head {
    let span = |(account, opening, closing): &(&str, Bundle, Bundle)| AccountSpan {
        account: (*account).to_owned(),
        opening: *opening,
        closing: *closing,
    };
    Head {
        title: "acme".to_owned(),
        start: Some("2026-10-31T15:00:00Z".parse().unwrap()),
        end: Some("2026-11-30T15:00:00Z".parse().unwrap()),
        zone: "Asia/Tokyo".to_owned(),
        first_day: day("2026-11-01"),
        last_day: day("2026-11-30"),
        accounts: accounts.iter().map(span).collect(),
    }
}

fn write(dialect: Dialect, group: Group, head: Head, movements: Vec<Movement>) -> Result<String, JournalError> {
    let mut journal = Journal::new(dialect, group, head);
    let mut out = String::new();
    journal.begin(&mut out);
    for movement in movements {
        journal.movement(movement, &mut out)?;
    }
    journal.end(&mut out)?;
    Ok(out)
}

const DEBIT: &str = "usage:acme/chat";
const CREDIT: &str = "supply:openai/gpt-4.1;x";

/// A small file: something stood there before, two calls on one day.
fn small(dialect: Dialect, group: Group) -> String {
    let (before, call) = (bundle(10, dec!(1.5), dec!(0.25)), bundle(1200, dec!(0.00625), dec!(0.000000001)));
    let after = before.checked_add(&call).unwrap().checked_add(&call).unwrap();
    let head = head(&[(DEBIT, before, after), (CREDIT, before.negated(), after.negated())]);
    let movement = movement("2026-11-05", DEBIT, CREDIT, call);
    write(dialect, group, head, vec![movement.clone(), movement]).unwrap()
}

fn tail(text: &str, from: &str) -> String {
    text[text.find(from).unwrap_or_else(|| panic!("no {from} in\n{text}"))..].to_owned()
}

#[test]
fn an_hledger_journal_opens_moves_and_asserts() {
    insta::assert_snapshot!(tail(&small(Dialect::Hledger, Group::Day), "account"));
    insta::assert_snapshot!(tail(&small(Dialect::Hledger, Group::Call), "2026-11-05"));
}

#[test]
fn a_beancount_file_opens_moves_and_asserts_without_tolerance() {
    insta::assert_snapshot!(tail(&small(Dialect::Beancount, Group::Call), "option"));
}

#[test]
fn a_ledger_file_declares_everything_it_names() {
    let text = small(Dialect::Ledger, Group::Call);
    for tag in text.lines().filter_map(|line| line.trim().strip_prefix("; ")?.split_once(": ")) {
        assert!(text.contains(&format!("\ntag {}\n", tag.0)), "{tag:?} is not declared");
    }
    insta::assert_snapshot!(tail(&text, "account"));
}

#[test]
fn hostile_names_cannot_end_a_comment_or_open_a_posting() {
    for dialect in Dialect::ALL {
        let text = small(dialect, Group::Call);
        for line in
            text.lines().filter(|line| line.contains("gpt-4") || line.contains("run") || line.contains("labels"))
        {
            assert!(!line.trim_start_matches([';', ' ']).contains(';'), "{dialect:?}: {line}");
            assert!(!line.trim_start_matches("    ;").contains(", "), "{dialect:?}: {line}");
        }
    }
}

#[test]
fn an_empty_period_still_asserts_what_stood_there() {
    let stands = bundle(10, dec!(1.5), dec!(0.25));
    for dialect in Dialect::ALL {
        let head = head(&[(DEBIT, stands, stands), (CREDIT, stands.negated(), stands.negated())]);
        let text = write(dialect, Group::Day, head, Vec::new()).unwrap();
        assert!(text.contains("1.5 USD") || text.contains("1.5 ~ 0 USD"), "{text}");
    }
    let nothing = write(Dialect::Hledger, Group::Day, head(&[]), Vec::new()).unwrap();
    assert!(!nothing.contains("2026-11-30 *"), "books without accounts have nothing to assert: {nothing}");
}

#[test]
fn rows_that_do_not_add_up_to_the_books_end_in_an_error() {
    let call = bundle(5, dec!(1), dec!(1));
    let accounts = [(DEBIT, Bundle::default(), call), (CREDIT, Bundle::default(), call.negated())];
    for group in [Group::Day, Group::Call] {
        let with = |movements| write(Dialect::Hledger, group, head(&accounts), movements);
        let good = movement("2026-11-05", DEBIT, CREDIT, call);
        assert!(with(vec![good.clone()]).is_ok());
        assert!(matches!(with(vec![]), Err(JournalError::Mismatch { unit: "TOK", .. })), "a row is missing");
        assert!(
            matches!(with(vec![good.clone(), good.clone()]), Err(JournalError::Mismatch { .. })),
            "a row came twice"
        );
        let off = Bundle { embodied: dec!(1.000000001), ..call };
        let error = with(vec![Movement { bundle: off, ..good.clone() }]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "account usage:acme/chat adds up to 1.000000001 GCO2E.EMB by its transfers, and the books say 1"
        );
        let foreign = movement("2026-11-05", "usage:other/chat", CREDIT, call);
        assert!(matches!(with(vec![foreign]), Err(JournalError::UnknownAccount { .. })));
    }
}

#[test]
fn a_journal_by_call_refuses_rows_out_of_their_order() {
    let call = bundle(5, dec!(1), dec!(1));
    let twice = call.checked_add(&call).unwrap();
    let accounts = [(DEBIT, Bundle::default(), twice), (CREDIT, Bundle::default(), twice.negated())];
    let rows = || vec![movement("2026-11-06", DEBIT, CREDIT, call), movement("2026-11-05", DEBIT, CREDIT, call)];
    assert!(matches!(
        write(Dialect::Hledger, Group::Call, head(&accounts), rows()),
        Err(JournalError::OutOfOrder { .. })
    ));
    let text = write(Dialect::Hledger, Group::Day, head(&accounts), rows()).unwrap();
    assert!(text.find("2026-11-05").unwrap() < text.find("2026-11-06").unwrap(), "days are written in order");
}

proptest! {
    /// Whatever the amounts, the postings of each transaction add up to zero in every unit, to the last digit.
    #[test]
    fn every_transaction_balances(amounts in prop::collection::vec((0i64..=1_000_000, 0i64..=i64::MAX, 0i64..=i64::MAX), 1..8)) {
        let calls: Vec<Bundle> = amounts
            .iter()
            .map(|(tokens, usd, grams)| bundle(*tokens, Decimal::new(*usd, 12), Decimal::new(*grams, 9)))
            .collect();
        let sum = calls.iter().try_fold(Bundle::default(), |sum, call| sum.checked_add(call)).unwrap();
        for dialect in Dialect::ALL {
            let head = head(&[(DEBIT, Bundle::default(), sum), (CREDIT, Bundle::default(), sum.negated())]);
            let rows = calls.iter().map(|call| movement("2026-11-05", DEBIT, CREDIT, *call)).collect();
            let text = write(dialect, Group::Call, head, rows).unwrap();
            let mut totals: BTreeMap<&str, Decimal> = BTreeMap::new();
            for line in text.lines().filter(|line| line.starts_with("    ") && !line.contains(['=', ';', '~'])) {
                if let [account, amount, symbol] = line.split_whitespace().collect::<Vec<_>>()[..]
                    && account.contains(':')
                    && let Ok(amount) = amount.parse::<Decimal>()
                {
                    *totals.entry(symbol).or_default() += amount;
                }
            }
            prop_assert!(!totals.is_empty());
            prop_assert!(totals.values().all(Decimal::is_zero), "{:?}", totals);
        }
    }
}
