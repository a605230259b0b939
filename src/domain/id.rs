//! Names and ids. A value of one of these types exists only if it is valid, and the compiler refuses a mix-up.
//!
//! Text is held as `Arc<str>`: a name is cloned into every command, batch and answer, and read far more often than made.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// Longest slug (tenant, feature, provider, region, budget), in bytes. Fits a URL segment and an index page easily.
pub const SLUG_LENGTH_MAX: usize = 128;
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
    /// A slug holds a character outside `[A-Za-z0-9._-]`, or starts with one of `._-`.
    #[error("may hold only letters, digits, '.', '_' and '-', and starts with a letter or digit")]
    NotASlug,
    /// A free name holds a space or control character, or one outside ASCII.
    #[error("may hold only printable ASCII characters without spaces")]
    NotPrintable,
    /// A label value holds a control character.
    #[error("may not hold control characters")]
    Control,
}

fn check_slug(text: &str) -> Result<(), BadName> {
    let first = text.bytes().next().ok_or(BadName::Empty)?;
    if text.len() > SLUG_LENGTH_MAX {
        return Err(BadName::TooLong { max: SLUG_LENGTH_MAX });
    }
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if first.is_ascii_alphanumeric() && text.bytes().all(inner) { Ok(()) } else { Err(BadName::NotASlug) }
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
    if text.chars().any(char::is_control) { Err(BadName::Control) } else { Ok(()) }
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
                $check(text)?;
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
    /// A limit on one measure over one scope in one period.
    BudgetId, check_slug
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
    RunId, check_name
);
text_id!(
    /// The agent that runs it, as the caller names it. Unique within its tenant.
    AgentId, check_name
);
text_id!(
    /// The key of a label: `team`.
    LabelKey, check_slug
);
text_id!(
    /// The value of a label. Any text without control characters.
    LabelValue, check_text
);
text_id!(
    /// The caller's key of one write. The same key is one effect and one answer. Unique within its tenant.
    IdempotencyKey, check_name
);

/// What stands for a tenant or feature where a row of the journal has none. No slug is this.
const NOBODY: &str = "-";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_and_names_by_rule() {
        let slug = |text: &str| TenantId::parse(text).map(|id| id.as_str().to_owned());
        assert_eq!(slug("acme-1.eu_x"), Ok("acme-1.eu_x".to_owned()));
        assert_eq!(slug(""), Err(BadName::Empty));
        assert_eq!(slug("-acme"), Err(BadName::NotASlug));
        assert_eq!(slug("a/b"), Err(BadName::NotASlug), "an account name is split at its first slash");
        assert_eq!(slug("ac me"), Err(BadName::NotASlug));
        assert_eq!(slug("café"), Err(BadName::NotASlug));
        assert_eq!(slug(&"a".repeat(129)), Err(BadName::TooLong { max: 128 }));

        assert!(TenantId::parse("-").is_err() && TenantId::stored("-").unwrap().is_nobody());
        assert_eq!(FeatureId::stored("-"), Ok(FeatureId::nothing()));

        assert!(
            ModelId::parse("arn:aws:bedrock:eu-west-1::inference-profile/eu.anthropic.claude-sonnet-4-5@v1").is_ok()
        );
        assert_eq!(ModelId::parse("two words").map(|_| ()), Err(BadName::NotPrintable));
        assert!(LabelValue::parse("Équipe A").is_ok());
        assert_eq!(LabelValue::parse("a\nb").map(|_| ()), Err(BadName::Control));
    }
}
