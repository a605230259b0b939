//! How each dialect spells a header, a transaction and an assertion.
//!
//! What was found by running the programs, and is relied on here:
//!
//! - hledger and ledger want quotes around a symbol that holds a dot; beancount wants none;
//! - hledger balances a transaction to the digits of the `commodity` directive, so it names them all;
//! - beancount forgives small differences unless both tolerance options are set to zero;
//! - hledger reads a tag's value up to a comma, and ledger declares tags: values never hold one, names are declared.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use chrono::{DateTime, Days, NaiveDate, SecondsFormat, Utc};

use super::names::{account, plain};
use super::units::{Bundle, Commodity};
use super::{Dialect, Group, Head, Movement, TAGS};

/// The payee of what the export itself says.
const OWN_PAYEE: &str = "counterfoil";
/// The day accounts are opened on in beancount: before any call.
const OPENED: &str = "1970-01-01";

macro_rules! line {
    // Writing into a string cannot fail.
    ($out:expr, $($part:tt)*) => {{ let _ = writeln!($out, $($part)*); }};
}

fn symbol(commodity: Commodity, dialect: Dialect) -> String {
    match dialect {
        Dialect::Beancount => commodity.symbol().to_owned(),
        Dialect::Hledger | Dialect::Ledger if commodity.symbol().contains('.') => format!("\"{}\"", commodity.symbol()),
        Dialect::Hledger | Dialect::Ledger => commodity.symbol().to_owned(),
    }
}

fn instant(at: Option<DateTime<Utc>>, otherwise: &str) -> String {
    at.map_or_else(|| otherwise.to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// What the file holds, its units, accounts and payees.
pub(super) fn header(dialect: Dialect, group: Group, head: &Head, payees: &BTreeSet<&str>, out: &mut String) {
    let (start, end) = (instant(head.start, "the beginning"), instant(head.end, "now"));
    line!(out, "; {} by {}, from {start} until before {end}", plain(&head.title), group.word());
    line!(out, "; days in {}; made by counterfoil {}", plain(&head.zone), env!("CARGO_PKG_VERSION"));
    match dialect {
        Dialect::Hledger => {
            line!(out, "decimal-mark .");
            for commodity in Commodity::ALL {
                line!(out, "; {}", commodity.meaning());
                line!(out, "commodity {} {}", commodity.one(), symbol(commodity, dialect));
            }
        }
        Dialect::Ledger => {
            for commodity in Commodity::ALL {
                let symbol = symbol(commodity, dialect);
                line!(out, "commodity {symbol}\n    note {}", commodity.meaning());
                line!(out, "    format {} {symbol}", commodity.one().trim_end_matches('.'));
            }
            for tag in TAGS {
                line!(out, "tag {tag}");
            }
        }
        Dialect::Beancount => {
            line!(out, "option \"title\" \"{}\"", plain(&head.title));
            line!(out, "option \"operating_currency\" \"USD\"");
            line!(out, "option \"inferred_tolerance_default\" \"*:0\"");
            line!(out, "option \"tolerance_multiplier\" \"0\"");
            for commodity in Commodity::ALL {
                line!(out, "{OPENED} commodity {}\n  name: \"{}\"", commodity.symbol(), commodity.meaning());
            }
        }
    }
    for span in &head.accounts {
        let name = account(&span.account, dialect);
        match dialect {
            Dialect::Hledger | Dialect::Ledger => line!(out, "account {name}"),
            Dialect::Beancount => {
                line!(out, "{OPENED} open {name} {}", Commodity::ALL.map(Commodity::symbol).join(","));
            }
        }
    }
    if dialect != Dialect::Beancount {
        for payee in std::iter::once(OWN_PAYEE).chain(payees.iter().copied()) {
            line!(out, "payee {payee}");
        }
    }
}

/// What stood on each account before the period.
pub(super) fn opening(dialect: Dialect, day: NaiveDate, accounts: &[(&str, Bundle)], out: &mut String) {
    match dialect {
        Dialect::Hledger => line!(out, "\n{day} * {OWN_PAYEE} | opening balances"),
        Dialect::Ledger => line!(out, "\n{day} * {OWN_PAYEE}\n    ; opening balances"),
        Dialect::Beancount => line!(out, "\n{day} * \"{OWN_PAYEE}\" \"opening balances\""),
    }
    for (name, bundle) in accounts {
        for commodity in Commodity::ALL.into_iter().filter(|commodity| !bundle.of(*commodity).is_zero()) {
            posting(dialect, &account(name, dialect), bundle, commodity, out);
        }
    }
}

fn posting(dialect: Dialect, name: &str, bundle: &Bundle, commodity: Commodity, out: &mut String) {
    line!(out, "    {name}  {} {}", bundle.of(commodity).normalize(), symbol(commodity, dialect));
}

/// One transfer, or the sum of a day's.
pub(super) fn transaction(dialect: Dialect, movement: &Movement, out: &mut String) {
    let Movement { day, provider, model, .. } = movement;
    let (provider, model) = (plain(provider), plain(model));
    let code = if movement.id.is_empty() { String::new() } else { format!("({}) ", movement.id) };
    match dialect {
        Dialect::Hledger => line!(out, "\n{day} * {code}{provider} | {model}"),
        Dialect::Ledger => line!(out, "\n{day} * {code}{provider}\n    ; model: {model}"),
        Dialect::Beancount => {
            let link = if movement.id.is_empty() { String::new() } else { format!(" ^{}", movement.id) };
            line!(out, "\n{day} * \"{provider}\" \"{model}\"{link}");
        }
    }
    let corrected = movement.corrected_period.as_ref().map(|period| ("corrected_period", period));
    let tags = movement.tags.iter().map(|(tag, value)| (*tag, value));
    for (tag, value) in tags.chain(corrected) {
        let value = encode_value(tag, value);
        match dialect {
            Dialect::Hledger => line!(out, "    ; {tag}:{value}"),
            Dialect::Ledger => line!(out, "    ; {tag}: {value}"),
            Dialect::Beancount => line!(out, "    {tag}: \"{value}\""),
        }
    }
    let (debit, credit) = (account(&movement.debit, dialect), account(&movement.credit, dialect));
    let (moved, back) = (movement.bundle, movement.bundle.negated());
    let empty = moved.is_zero();
    // A call that failed moves nothing, and is a transaction all the same.
    let said = |commodity: &Commodity| !moved.of(*commodity).is_zero() || (empty && *commodity == Commodity::Tokens);
    for commodity in Commodity::ALL.into_iter().filter(said) {
        posting(dialect, &debit, &moved, commodity, out);
        posting(dialect, &credit, &back, commodity, out);
    }
}

/// Labels are encoded pair by pair where they are made; everything else is here.
fn encode_value(tag: &str, value: &str) -> String {
    if tag == "labels" { value.to_owned() } else { plain(value) }
}

/// What must stand on each account at the end of the last day.
pub(super) fn assertions(dialect: Dialect, head: &Head, out: &mut String) {
    if head.accounts.is_empty() {
        return;
    }
    let day = head.last_day;
    match dialect {
        Dialect::Hledger => line!(out, "\n{day} * {OWN_PAYEE} | balances at the end of the period"),
        Dialect::Ledger => line!(out, "\n{day} * {OWN_PAYEE}\n    ; balances at the end of the period"),
        // Beancount asserts at the beginning of a day.
        Dialect::Beancount => line!(out, ""),
    }
    let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
    for span in &head.accounts {
        let name = account(&span.account, dialect);
        for commodity in Commodity::ALL {
            let (amount, symbol) = (span.closing.of(commodity).normalize(), symbol(commodity, dialect));
            match dialect {
                Dialect::Hledger | Dialect::Ledger => line!(out, "    {name}  0 {symbol} = {amount} {symbol}"),
                Dialect::Beancount => line!(out, "{next} balance {name}  {amount} ~ 0 {symbol}"),
            }
        }
    }
}
