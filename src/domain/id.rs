//! Names and ids. A value of one of these types exists only if it is valid, and the compiler refuses a mix-up.
//!
//! Text is held as `Arc<str>`: a name is cloned into every command, batch and answer, and read far more often than made.
//!
//! Names that people give (runs, agents, values of labels) hold letters of all scripts. They are kept composed (NFC), so that
//! one name is one text however a keyboard writes it, and hold nothing that is not seen or turns the text around: two names
//! that look alike would be two.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use unicode_normalization::{UnicodeNormalization as _, is_nfc};
use uuid::Uuid;

/// Longest slug (tenant, feature, provider, region, budget), in bytes. Fits a URL segment and an index page easily.
pub const SLUG_LENGTH_MAX: usize = 128;
/// What a slug is, as a pattern of the contract; its length apart.
pub const SLUG_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._@+-]*$";
/// What a name without spaces (model, idempotency key) is, as a pattern of the contract; its length apart.
pub const NAME_PATTERN: &str = "^[!-~]+$";
/// What a text that people give (run, agent) is, as far as a pattern of the contract can say it; its length apart.
pub const TEXT_PATTERN: &str = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$";
/// Longest free name (model, run, agent, label, idempotency key), in bytes. Bedrock inference-profile ARNs need about 150.
pub const NAME_LENGTH_MAX: usize = 256;

/// Why a text is not a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// Longer than the type allows.
    #[error("is longer than {max} bytes")]
    TooLong {
        /// The longest allowed, in bytes.
        max: usize,
    },
    /// A slug holds a character outside `[A-Za-z0-9._@+-]`, or starts with one of `._@+-`.
    #[error("may hold only letters, digits, '.', '_', '-', '@' and '+' (ASCII), and starts with a letter or digit")]
    NotASlug,
    /// A free name holds a space or control character, or one outside ASCII.
    #[error("may hold only printable ASCII characters without spaces")]
    NotPrintable,
    /// A text holds a control character, or one that is not seen or turns the text around.
    #[error("may not hold control characters, nor characters that are invisible or change the direction of the text")]
    Control,
    /// A name begins or ends with a space.
    #[error("may not begin or end with a space")]
    Edge,
}

fn check_slug(text: &str) -> Result<(), BadName> {
    let first = text.bytes().next().ok_or(BadName::Empty)?;
    if text.len() > SLUG_LENGTH_MAX {
        return Err(BadName::TooLong { max: SLUG_LENGTH_MAX });
    }
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b'+');
    if first.is_ascii_alphanumeric() && text.bytes().all(inner) { Ok(()) } else { Err(BadName::NotASlug) }
}

/// Between a tenant and the name of a budget in its own space. No slug holds it.
const SPACE_SEPARATOR: char = ':';

fn check_budget(text: &str) -> Result<(), BadName> {
    let Some((tenant, name)) = text.split_once(SPACE_SEPARATOR) else { return check_slug(text) };
    check_slug(tenant).and_then(|()| check_slug(name))
}

fn check_name(text: &str) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty);
    }
    if text.len() > NAME_LENGTH_MAX {
        return Err(BadName::TooLong { max: NAME_LENGTH_MAX });
    }
    if text.bytes().all(|b| b.is_ascii_graphic()) { Ok(()) } else { Err(BadName::NotPrintable) }
}

fn check_text(text: &str) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty);
    }
    if text.len() > NAME_LENGTH_MAX {
        return Err(BadName::TooLong { max: NAME_LENGTH_MAX });
    }
    if text.chars().any(is_unseen) { Err(BadName::Control) } else { Ok(()) }
}

fn check_title(text: &str) -> Result<(), BadName> {
    check_text(text)?;
    if text.trim() == text { Ok(()) } else { Err(BadName::Edge) }
}

/// Whether a character is refused in texts: it controls, is not seen, or turns the text around. What joins letters of some
/// scripts (U+200C, U+200D) is not.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// The text composed (NFC), as names are kept.
#[must_use]
pub fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The only door: checks the text.
            ///
            /// # Errors
            /// Says which rule the text breaks.
            pub fn parse(text: &str) -> Result<Self, BadName> {
                let text = composed(text);
                $check(&text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::parse(text)
            }
        }
    };
}

text_id!(
    /// A customer of the platform.
    TenantId, check_slug
);
text_id!(
    /// A product capability that spends on a tenant's behalf.
    FeatureId, check_slug
);
text_id!(
    /// Who served the call: `anthropic`, `openai`, `google`…
    ProviderId, check_slug
);
text_id!(
    /// Where the call was served, as the provider names it: `eu-central-1`.
    RegionId, check_slug
);
text_id!(
    /// A limit on one measure over one scope in one period: a slug, or `tenant:slug` of one in that tenant's own space.
    BudgetId, check_budget
);
text_id!(
    /// An endpoint that events are sent to.
    WebhookId, check_slug
);
text_id!(
    /// What served the call, as the provider names it. May hold `/`, `:` and `@` (Bedrock, Hugging Face).
    ModelId, check_name
);
text_id!(
    /// One agent's task from start to end, as the caller names it. Unique within its tenant.
    RunId, check_title
);
text_id!(
    /// The agent that runs it, as the caller names it. Unique within its tenant.
    AgentId, check_title
);
text_id!(
    /// The key of a label: `team`.
    LabelKey, check_slug
);
text_id!(
    /// The value of a label. Any text without what is not seen.
    LabelValue, check_text
);
text_id!(
    /// The caller's key of one write. The same key is one effect and one answer. Unique within its tenant.
    IdempotencyKey, check_name
);

/// What stands for a tenant or feature where a row of the journal has none. No slug is this.
const NOBODY: &str = "-";

impl LabelValue {
    /// Takes a value back from where it was kept: what was kept before more was refused stays readable.
    ///
    /// # Errors
    /// When it is empty or too long, or holds a control character.
    pub fn stored(text: &str) -> Result<Self, BadName> {
        let text = composed(text);
        match check_text(&text) {
            Err(BadName::Control) if !text.chars().any(char::is_control) => Ok(Self(Arc::from(text))),
            Ok(()) => Ok(Self(Arc::from(text))),
            Err(other) => Err(other),
        }
    }
}

impl TenantId {
    /// Nobody: whose calls a true-up adds up is not known.
    #[must_use]
    pub fn nobody() -> Self {
        Self(Arc::from(NOBODY))
    }

    /// Whether it is nobody.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        &*self.0 == NOBODY
    }

    /// Takes an id back from the journal.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn stored(text: &str) -> Result<Self, BadName> {
        if text == NOBODY { Ok(Self::nobody()) } else { Self::parse(text) }
    }
}

impl FeatureId {
    /// Nothing: what a true-up's calls were for is not known.
    #[must_use]
    pub fn nothing() -> Self {
        Self(Arc::from(NOBODY))
    }

    /// Takes an id back from the journal.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn stored(text: &str) -> Result<Self, BadName> {
        if text == NOBODY { Ok(Self::nothing()) } else { Self::parse(text) }
    }
}

/// A budget, as a caller who is confined to a tenant names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedBudget {
    /// The tenant's own of that name; where it has none, one that the platform made for it.
    OfTenant(BudgetId),
    /// The one that the platform made for it, although it has one of that name itself.
    OfPlatform(BudgetId),
}

impl NamedBudget {
    /// Reads what the caller wrote: `daily`, or `:daily` for the platform's.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let of_platform = text.strip_prefix(SPACE_SEPARATOR);
        let name = of_platform.unwrap_or(text);
        check_slug(name)?;
        let id = BudgetId::parse(name)?;
        Ok(if of_platform.is_some() { Self::OfPlatform(id) } else { Self::OfTenant(id) })
    }
}

impl std::str::FromStr for NamedBudget {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::parse(text)
    }
}

impl BudgetId {
    /// The budget of a name in a tenant's own space.
    #[must_use]
    pub fn in_space(tenant: &TenantId, name: &Self) -> Self {
        Self(Arc::from(format!("{tenant}{SPACE_SEPARATOR}{}", name.name())))
    }

    /// The tenant in whose own space it is. None: in the platform's.
    #[must_use]
    pub fn space(&self) -> Option<&str> {
        self.0.split_once(SPACE_SEPARATOR).map(|(tenant, _)| tenant)
    }

    /// Its name in its space.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once(SPACE_SEPARATOR).map_or(&*self.0, |(_, name)| name)
    }

    /// How a caller who is confined to a tenant reads the id, given which budgets there are. What [`NamedBudget::parse`] takes
    /// back.
    #[must_use]
    pub fn as_seen_by(&self, tenant: &TenantId, is_there: impl Fn(&Self) -> bool) -> String {
        match self.space() {
            Some(space) if space == tenant.as_str() => self.name().to_owned(),
            None if is_there(&Self::in_space(tenant, self)) => format!("{SPACE_SEPARATOR}{self}"),
            Some(_) | None => self.to_string(),
        }
    }
}

/// Between the key of many and the number of one of them: no key that a caller gives may hold it.
const ITEM_SEPARATOR: char = ' ';

impl IdempotencyKey {
    /// The key of one item of many that share this key. No caller can give it as a key of its own.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        Self(Arc::from(format!("{self}{ITEM_SEPARATOR}{index}")))
    }

    /// Takes a key back from where it is kept: a caller's, or that of an item.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn stored(text: &str) -> Result<Self, BadName> {
        let Some((of_many, index)) = text.split_once(ITEM_SEPARATOR) else { return Self::parse(text) };
        let index = index.parse().map_err(|_| BadName::NotPrintable)?;
        Ok(Self::parse(of_many)?.item(index))
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

uuid_id!(
    /// A pending transfer. `UUIDv7`, made in the shell.
    ReservationId
);
uuid_id!(
    /// An event: an alert that was raised or cleared. `UUIDv7`, made in the shell.
    EventId
);
uuid_id!(
    /// A journal row. `UUIDv7`, made in the shell.
    TransferId
);

impl TransferId {
    /// The id of the row that goes with another one, where one command posts two: as unlikely to be met as the first.
    #[must_use]
    pub const fn sibling(self) -> Self {
        Self(Uuid::from_u128(self.0.as_u128() ^ 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    /// The characters of the last class of a pattern.
    fn class_of(pattern: &str) -> Vec<char> {
        let (_, class) = pattern.rsplit_once('[').unwrap();
        let class: Vec<char> = class.split_once(']').unwrap().0.chars().collect();
        let mut found = Vec::new();
        let mut rest = class.as_slice();
        while let [first, after @ ..] = rest {
            match after {
                ['-', last, after @ ..] => {
                    found.extend(*first..=*last);
                    rest = after;
                }
                _ => {
                    found.push(*first);
                    rest = after;
                }
            }
        }
        found
    }

    #[test]
    fn patterns_of_the_contract_allow_the_characters_that_the_parsers_take() {
        for c in (0..=0x17f).filter_map(char::from_u32) {
            let text = format!("a{c}b");
            assert_eq!(TenantId::parse(&text).is_ok(), class_of(SLUG_PATTERN).contains(&c), "{text:?}");
            assert_eq!(ModelId::parse(&text).is_ok(), class_of(NAME_PATTERN).contains(&c), "{text:?}");
            let first = format!("{c}b");
            assert_eq!(TenantId::parse(&first).is_ok(), c.is_ascii_alphanumeric(), "{first:?}");
        }
    }

    /// Texts that a pattern allows; `proptest` writes no anchors.
    fn allowed(pattern: &str) -> impl Strategy<Value = String> + use<> {
        string_regex(pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn what_a_pattern_of_the_contract_allows_is_taken(
            slug in allowed(SLUG_PATTERN), name in allowed(NAME_PATTERN), text in allowed(TEXT_PATTERN),
        ) {
            prop_assert!(TenantId::parse(&slug).is_ok());
            prop_assert!(ModelId::parse(&name).is_ok());
            // What is not seen has no pattern that all engines read.
            prop_assume!(!text.chars().any(is_unseen) && text.len() <= NAME_LENGTH_MAX);
            prop_assert!(RunId::parse(&text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn slugs_and_names_by_rule() {
        let slug = |text: &str| TenantId::parse(text).map(|id| id.as_str().to_owned());
        assert_eq!(slug("acme-1.eu_x"), Ok("acme-1.eu_x".to_owned()));
        assert_eq!(slug(""), Err(BadName::Empty));
        assert_eq!(slug("-acme"), Err(BadName::NotASlug));
        assert_eq!(slug("a/b"), Err(BadName::NotASlug), "an account name is split at its first slash");
        assert_eq!(slug("ac me"), Err(BadName::NotASlug));
        assert_eq!(slug("café"), Err(BadName::NotASlug));
        assert_eq!(slug("alice+test@example.com"), Ok("alice+test@example.com".to_owned()));
        assert_eq!(slug("@acme"), Err(BadName::NotASlug));
        assert_eq!(slug("acme:daily"), Err(BadName::NotASlug), "a budget's id is split at its colon");
        assert_eq!(slug(&"a".repeat(129)), Err(BadName::TooLong { max: 128 }));

        assert!(TenantId::parse("-").is_err() && TenantId::stored("-").unwrap().is_nobody());
        assert_eq!(FeatureId::stored("-"), Ok(FeatureId::nothing()));

        assert!(
            ModelId::parse("arn:aws:bedrock:eu-west-1::inference-profile/eu.anthropic.claude-sonnet-4-5@v1").is_ok()
        );
        assert_eq!(ModelId::parse("two words").map(|_| ()), Err(BadName::NotPrintable));
        let of_many = IdempotencyKey::parse("a/1").unwrap();
        let item = of_many.item(12);
        assert_eq!(IdempotencyKey::stored(item.as_str()), Ok(item.clone()));
        assert_eq!(IdempotencyKey::stored("a/1"), Ok(of_many));
        assert!(IdempotencyKey::parse(item.as_str()).is_err(), "no caller can name the key of an item");
        assert!(IdempotencyKey::stored("a b").is_err());

        assert!(LabelValue::parse("Équipe A").is_ok());
        assert_eq!(LabelValue::parse("a\nb").map(|_| ()), Err(BadName::Control));
    }

    #[test]
    fn names_that_people_give_hold_letters_of_all_scripts_and_nothing_unseen() {
        for name in ["Math Tutor", "数学家教", "مساعد", "र्‍य", "José", "r-1/2:3"] {
            assert_eq!(AgentId::parse(name).unwrap().as_str(), name);
            assert_eq!(RunId::parse(name).unwrap().as_str(), name);
            assert_eq!(LabelValue::parse(name).unwrap().as_str(), name);
        }
        assert_eq!(AgentId::parse("Jose\u{301}"), AgentId::parse("José"), "one name in two forms is one name");
        for unseen in ["\u{202e}", "\u{2028}", "\u{2029}", "\u{feff}", "\u{200b}", "\u{2066}", "\0", "\n", "\u{85}"] {
            let name = format!("a{unseen}b");
            assert_eq!(AgentId::parse(&name), Err(BadName::Control), "{name:?}");
            assert_eq!(RunId::parse(&name), Err(BadName::Control), "{name:?}");
            assert_eq!(LabelValue::parse(&name), Err(BadName::Control), "{name:?}");
            let is_kept = !unseen.chars().any(char::is_control);
            assert_eq!(LabelValue::stored(&name).is_ok(), is_kept, "{name:?}");
        }
        assert_eq!(AgentId::parse(" a"), Err(BadName::Edge));
        assert_eq!(AgentId::parse("a\u{3000}"), Err(BadName::Edge));
    }

    #[test]
    fn budgets_of_two_spaces_share_no_id_and_each_tenant_reads_its_own_name() {
        let tenant = |id: &str| TenantId::parse(id).unwrap();
        let plain = BudgetId::parse("daily").unwrap();
        let own = BudgetId::in_space(&tenant("acme"), &plain);
        assert_eq!((own.as_str(), own.space(), own.name()), ("acme:daily", Some("acme"), "daily"));
        assert_eq!((plain.space(), plain.name()), (None, "daily"));
        assert_eq!(BudgetId::parse("acme:daily"), Ok(own.clone()), "the platform writes it out");
        for strange in
            [":daily", "acme:", "acme:daily:x", "acme::daily", "-acme:daily", "acme:-daily", "\u{430}cme:daily"]
        {
            assert!(BudgetId::parse(strange).is_err(), "{strange}");
        }
        let both = [own.clone(), plain.clone()];
        for (id, reader, there, seen) in [
            (&own, "acme", &both[..], "daily"),
            (&plain, "acme", &both[..], ":daily"),
            (&plain, "acme", &both[1..], "daily"),
            (&plain, "bolt", &both[..], "daily"),
        ] {
            assert_eq!(id.as_seen_by(&tenant(reader), |id| there.contains(id)), seen, "{id} for {reader}");
        }
    }

    #[test]
    fn a_confined_caller_names_no_space_but_its_own_and_the_platforms() {
        let plain = BudgetId::parse("daily").unwrap();
        assert_eq!(NamedBudget::parse("daily"), Ok(NamedBudget::OfTenant(plain.clone())));
        assert_eq!(NamedBudget::parse(":daily"), Ok(NamedBudget::OfPlatform(plain)));
        for strange in ["acme:daily", "bolt:daily", "zzyx:daily", "::daily", ":", ""] {
            assert!(NamedBudget::parse(strange).is_err(), "{strange}");
        }
    }
}
