//! Names of the books as plain-text accounting may spell them, so that two names never become one.
//!
//! | where | kept | everything else |
//! |---|---|---|
//! | text: a payee's note, a tag's value | letters, digits and `-._~/:@+` | percent-encoded, byte by byte (RFC 3986) |
//! | an account of hledger and ledger | letters, digits and `-._` | percent-encoded |
//! | an account of beancount | letters, digits and `-`, the first letter in upper case | `-xHH`, byte by byte |
//!
//! Each of the three can be read back. Ids are the caller's: a model may hold `/ : @ ; " [` and more, a label's value any
//! text without control characters, and none of it may end a comment, open a posting or join two accounts.

use std::fmt::Write as _;

use super::Dialect;

/// What stands before the parts of an account, by the word that begins its name in the books.
fn root(word: &str, dialect: Dialect) -> &'static str {
    match (word, dialect) {
        ("usage", Dialect::Beancount) => "Expenses:Usage",
        ("usage", Dialect::Hledger | Dialect::Ledger) => "expenses:usage",
        ("supply", Dialect::Beancount) => "Liabilities:Supply",
        ("supply", Dialect::Hledger | Dialect::Ledger) => "liabilities:supply",
        (_, Dialect::Beancount) => "Equity:Adjustment",
        (_, Dialect::Hledger | Dialect::Ledger) => "equity:adjustment",
    }
}

/// The account `usage:acme/chat` as the dialect spells it: `expenses:usage:acme:chat`, `Expenses:Usage:Acme:Chat`.
#[must_use]
pub fn account(name: &str, dialect: Dialect) -> String {
    let (word, parts) = name.split_once(':').unwrap_or(("", name));
    let mut text = root(word, dialect).to_owned();
    // Tenants and providers hold no slash, so the first one parts them from features and models.
    for part in parts.splitn(2, '/') {
        text.push(':');
        text.push_str(&component(part, dialect));
    }
    text
}

/// The provider of `supply:anthropic/claude-sonnet-4-5` and `adjustment:anthropic`.
#[must_use]
pub fn provider(account: &str) -> Option<&str> {
    let (word, parts) = account.split_once(':')?;
    (word == "supply" || word == "adjustment").then(|| parts.split('/').next()).flatten()
}

fn component(part: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Hledger | Dialect::Ledger => percent(part, "-._"),
        Dialect::Beancount => beancount_component(part),
    }
}

/// Text that no program reads as anything but text.
#[must_use]
pub fn plain(text: &str) -> String {
    percent(text, "-._~/:@+")
}

/// Labels on one line: `owner=%C3%89quipe%20A&team=cx`.
pub fn labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = labels.into_iter().map(|(key, value)| format!("{}={}", plain(key), plain(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn percent(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A component of a beancount account: it begins with an upper-case letter or a digit, and goes on with letters, digits, `-`.
///
/// The first letter, lower in almost every id, is raised. A name that begins otherwise is marked with the escape of a
/// byte that no name holds. A `-` that would read as the beginning of an escape is itself escaped.
fn beancount_component(part: &str) -> String {
    let bytes = part.as_bytes();
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    match bytes.split_first() {
        Some((first, after)) if first.is_ascii_lowercase() || first.is_ascii_digit() => {
            out.push(char::from(first.to_ascii_uppercase()));
            rest = after;
        }
        Some(_) | None => out.push_str("X-x00"),
    }
    while let Some((byte, after)) = rest.split_first() {
        let looks_escaped = matches!(after, [b'x', high, low, ..] if is_hex(*high) && is_hex(*low));
        if byte.is_ascii_alphanumeric() || (*byte == b'-' && !looks_escaped) {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "-x{byte:02X}");
        }
        rest = after;
    }
    out
}

const fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'F')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_as_each_dialect_spells_them() {
        let cases = [
            ("usage:acme/support-chat", "expenses:usage:acme:support-chat", "Expenses:Usage:Acme:Support-chat"),
            ("supply:openai/gpt-4.1", "liabilities:supply:openai:gpt-4.1", "Liabilities:Supply:Openai:Gpt-4-x2E1"),
            (
                "supply:groq/meta/llama:8b",
                "liabilities:supply:groq:meta%2Fllama%3A8b",
                "Liabilities:Supply:Groq:Meta-x2Fllama-x3A8b",
            ),
            ("adjustment:openai", "equity:adjustment:openai", "Equity:Adjustment:Openai"),
            ("usage:Acme/x_1", "expenses:usage:Acme:x_1", "Expenses:Usage:X-x00Acme:X-x5F1"),
        ];
        for (name, hledger, beancount) in cases {
            assert_eq!(account(name, Dialect::Hledger), hledger);
            assert_eq!(account(name, Dialect::Ledger), hledger);
            assert_eq!(account(name, Dialect::Beancount), beancount);
        }
        assert_eq!(provider("supply:openai/gpt-4o"), Some("openai"));
        assert_eq!(provider("adjustment:openai"), Some("openai"));
        assert_eq!(provider("usage:acme/chat"), None);
    }

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(plain("a;b|c \"d\" [e] , f=g"), "a%3Bb%7Cc%20%22d%22%20%5Be%5D%20%2C%20f%3Dg");
        assert_eq!(labels([("team", "a&b=c"), ("owner", "Équipe A")]), "team=a%26b%3Dc&owner=%C3%89quipe%20A");
        assert_eq!(labels([]), "");
    }

    fn read_back(component: &str) -> Vec<u8> {
        let bytes = component.as_bytes();
        let mut out = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            match &bytes[at..] {
                [b'-', b'x', high, low, ..] if is_hex(*high) && is_hex(*low) => {
                    let text = [*high, *low];
                    out.push(u8::from_str_radix(str::from_utf8(&text).unwrap(), 16).unwrap());
                    at += 4;
                }
                [byte, ..] => {
                    out.push(*byte);
                    at += 1;
                }
                [] => break,
            }
        }
        match out.as_slice() {
            [b'X', 0, rest @ ..] => rest.to_vec(),
            [first, rest @ ..] => [&[first.to_ascii_lowercase()], rest].concat(),
            [] => out,
        }
    }

    proptest! {
        #[test]
        fn a_component_is_valid_and_can_be_read_back(name in "[!-~]{1,40}|[a-zA-Z]{0,2}(-?x?[0-9A-F]{2}){1,4}[!-~]{0,3}") {
            let beancount = beancount_component(&name);
            prop_assert!(beancount.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit()), "{beancount}");
            prop_assert!(beancount.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{beancount}");
            prop_assert_eq!(read_back(&beancount), name.as_bytes());
            let percent = percent(&name, "-._");
            prop_assert!(!percent.contains([':', ' ', ';', '"', '/']));
        }
    }
}
