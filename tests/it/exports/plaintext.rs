//! `GET /v1/exports/{hledger,ledger,beancount}`: journals that add up by themselves and assert what the ledger says.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use counterfoil::auth::Scope;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{export, export_as, get};
use crate::books::{empty_world, world};
use crate::support::service::TestService;

const DIALECTS: [&str; 3] = ["hledger", "ledger", "beancount"];
pub(super) const UNITS: [(&str, &str); 5] = [
    ("TOK", "tokens"),
    ("USD", "usd"),
    ("GCO2E.LB", "gco2e_usage_location"),
    ("GCO2E.MB", "gco2e_usage_market"),
    ("GCO2E.EMB", "gco2e_embodied"),
];

pub(super) type Amounts = BTreeMap<(String, String), Decimal>;

/// A journal, as a reader of it sees it: postings, and what it asserts.
#[derive(Debug, Default)]
pub(super) struct Read {
    dates: Vec<NaiveDate>,
    /// By account and unit, all transactions together.
    moved: Amounts,
    pub(super) asserted: Amounts,
    /// Transactions that are neither the opening nor the assertions.
    transactions: usize,
}

/// Reads one, and checks that each of its transactions adds up to zero in every unit.
pub(super) fn read(dialect: &str, text: &str) -> Read {
    let mut read = Read::default();
    let mut open: BTreeMap<String, Decimal> = BTreeMap::new();
    let balanced = |open: &mut BTreeMap<String, Decimal>| {
        assert!(open.values().all(Decimal::is_zero), "{open:?}");
        open.clear();
    };
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let unit = |word: &str| word.trim_matches('"').to_owned();
        let decimal = |word: &str| word.parse::<Decimal>().unwrap_or_else(|error| panic!("{line}: {error}"));
        match words.as_slice() {
            [date, "*", payee, ..] => {
                balanced(&mut open);
                read.dates.push(date.parse().unwrap());
                read.transactions += usize::from(payee.trim_matches('"') != "counterfoil");
            }
            [account, "0", symbol, "=", amount, again] if line.starts_with("    ") => {
                assert_eq!(symbol, again);
                read.asserted.insert(((*account).to_owned(), unit(symbol)), decimal(amount));
            }
            [_, "balance", account, amount, "~", "0", symbol] => {
                read.asserted.insert(((*account).to_owned(), unit(symbol)), decimal(amount));
            }
            [account, amount, symbol]
                if line.starts_with("    ") && account.contains(':') && amount.parse::<Decimal>().is_ok() =>
            {
                *open.entry(unit(symbol)).or_default() += decimal(amount);
                *read.moved.entry(((*account).to_owned(), unit(symbol))).or_default() += decimal(amount);
            }
            _ => {}
        }
    }
    balanced(&mut open);
    assert!(read.dates.is_sorted(), "{dialect}: transactions are in the order of their dates");
    for (key, amount) in &read.asserted {
        assert_eq!(read.moved.get(key).copied().unwrap_or_default(), *amount, "{dialect} {key:?}");
    }
    read
}

/// How a dialect spells an account of these tests, whose names need no escapes but dots and digits.
fn spelled(dialect: &str, account: &str) -> String {
    let (root, rest) = account.split_once(':').unwrap();
    let parts = rest.splitn(2, '/');
    if dialect == "beancount" {
        let raised = parts.map(|part| part[..1].to_uppercase() + &part[1..]).collect::<Vec<_>>().join(":");
        let root = if root == "usage" { "Expenses:Usage" } else { "Liabilities:Supply" };
        return format!("{root}:{raised}");
    }
    let root = if root == "usage" { "expenses:usage" } else { "liabilities:supply" };
    format!("{root}:{}", parts.collect::<Vec<_>>().join(":"))
}

/// What the ledger itself says stands on each account.
async fn balances(service: &TestService, dialect: &str, tenant: Option<&str>) -> Amounts {
    let query = tenant.map_or(String::new(), |tenant| format!("&tenant={tenant}"));
    let page = service.call("GET", &format!("/v1/ledger/accounts?limit=1000{query}"), Value::Null).await.ok();
    let mut found = Amounts::new();
    for account in page["items"].as_array().unwrap() {
        for (symbol, unit) in UNITS {
            let balance = &account["balance"][unit];
            let amount = balance.as_str().map_or_else(|| balance.to_string(), str::to_owned);
            let name = spelled(dialect, account["account"].as_str().unwrap());
            found.insert((name, symbol.to_owned()), amount.parse().unwrap());
        }
    }
    found
}

#[tokio::test]
async fn every_journal_asserts_what_the_ledger_says_of_each_account() {
    let service = world().await;
    for dialect in DIALECTS {
        for group in ["day", "call"] {
            for tenant in [None, Some("tokyo")] {
                let query = tenant.map_or(String::new(), |tenant| format!("&tenant={tenant}"));
                let file = export(&service, &format!("/v1/exports/{dialect}?group={group}{query}")).await;
                let read = read(dialect, file.text());
                assert_eq!(read.asserted, balances(&service, dialect, tenant).await, "{dialect} {group} {tenant:?}");
                let transfers: usize = file.header("x-export-transfers").parse().unwrap();
                if group == "call" {
                    assert_eq!(read.transactions, transfers);
                } else {
                    assert!(0 < read.transactions && read.transactions < transfers);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_period_opens_with_what_was_before_and_ends_with_what_the_next_one_opens_with() {
    let service = world().await;
    for dialect in DIALECTS {
        let path = |period: &str| format!("/v1/exports/{dialect}?{period}&tenant=berlin&group=call");
        let first = read(dialect, export(&service, &path("period=2026-03-28")).await.text());
        let second = export(&service, &path("period=2026-03-29")).await;
        let opens = second.text().contains("opening balances");
        let second = read(dialect, second.text());
        let whole = read(dialect, export(&service, &path("from=2026-03-28&to=2026-03-30")).await.text());
        assert!(opens && first.transactions > 0 && second.transactions > 0);
        assert_eq!(first.transactions + second.transactions, whole.transactions, "{dialect}");
        // The second file holds the first one's end: what it asserts is what both moved.
        assert_eq!(second.asserted, whole.asserted, "{dialect}");
        assert_ne!(first.asserted, second.asserted);
        assert_eq!(second.dates.first(), Some(&"2026-03-29".parse().unwrap()), "the zone is the tenant's");
    }
}

#[tokio::test]
async fn a_call_keeps_everything_that_is_known_of_it_and_hostile_text_stays_text() {
    let service = empty_world().await;
    let usage = json!({
        "tenant": "tokyo", "feature": "chat", "provider": "openai", "model": "gpt;4|o:\"x\"", "run": "r;1", "agent": "(a)",
        "labels": {"team": "a, b:c\" ; 2026-01-01 * x", "owner": "Équipe"}, "usage": {"input": 7, "output": 3}
    });
    service.call("POST", "/v1/usage", usage).await.ok();
    for dialect in DIALECTS {
        let file = export(&service, &format!("/v1/exports/{dialect}?group=call")).await;
        let read = read(dialect, file.text());
        assert_eq!(read.transactions, 1, "{}", file.text());
        for known in [
            "gpt%3B4%7Co:%22x%22",
            "r%3B1",
            "%28a%29",
            "owner=%C3%89quipe&team=a%2C%20b:c%22%20%3B%202026-01-01%20%2A%20x",
        ] {
            assert!(file.text().contains(known), "{known} in {}", file.text());
        }
    }
}

#[tokio::test]
async fn books_without_transfers_are_a_journal_without_transactions() {
    let service = empty_world().await;
    for dialect in DIALECTS {
        let file = export(&service, &format!("/v1/exports/{dialect}?period=2026-03")).await;
        let read = read(dialect, file.text());
        assert_eq!((read.transactions, read.asserted.len()), (0, 0));
        assert!(file.text().contains("TOK"), "units are declared all the same");
    }
}

#[tokio::test]
async fn a_tenant_sees_its_own_accounts_and_its_part_of_the_suppliers() {
    let service = world().await;
    let token = service.token(&[Scope::Export], Some("tokyo"));
    for dialect in DIALECTS {
        let own = export_as(&service, &token, &format!("/v1/exports/{dialect}")).await;
        assert!(!own.text().to_lowercase().contains("berlin"), "{}", own.text());
        assert_eq!(read(dialect, own.text()).asserted, balances(&service, dialect, Some("tokyo")).await);
        let foreign = service.send(get(&token, &format!("/v1/exports/{dialect}?tenant=berlin"))).await;
        assert_eq!(foreign.problem(), (403, "forbidden_tenant"));
        let unknown = service.send(get(&token, &format!("/v1/exports/{dialect}?group=week"))).await;
        assert_eq!(unknown.status, 422, "{:#}", unknown.body);
    }
}
