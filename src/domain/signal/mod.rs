//! Signals: what a provider's answer says about its limits.
//!
//! Providers say "slow down" and "the month is gone" with the same status, and each in its own words. The words are data
//! ([`rule::Rule`], shipped in `data/signals`), and this module only compares: the first rule that fits decides. An answer that
//! no rule knows is [`SignalClass::Unknown`], never guessed.
//!
//! Pure: the instant is an argument. Deliberately absent: JSON (`wire`).

pub mod limits;
pub mod quota;
pub mod rule;
pub mod times;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use limits::{LimitHeaders, ReportedLimit};
use rule::{Comeback, Return, Rule};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word on the wire and in stored rows.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The one of a word, if there is one.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.word() == word)
            }
        }
    };
}

words! {
    /// What the caller should do, in the words of a verdict.
    SignalClass {
        /// The call went through.
        Allow = "allow",
        /// The same call, made smaller, would go through; waiting would not help.
        Cap = "cap",
        /// Come back in a moment.
        Wait = "wait",
        /// Nothing goes through until the provider's clock, or somebody who pays, changes it.
        Stop = "stop",
        /// No rule knows this answer.
        Unknown = "unknown",
    }
}

words! {
    /// What it is about.
    SignalKind {
        /// Nothing is wrong.
        None = "none",
        /// So much per minute, or per second.
        RateLimit = "rate_limit",
        /// So much per day, month or other long period.
        Quota = "quota",
        /// Money: it comes back when somebody pays.
        Credit = "credit",
        /// The provider is busy, whoever asks.
        Pool = "pool",
        /// No rule knows.
        Unknown = "unknown",
    }
}

/// A provider's answer, as far as rules look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderAnswer {
    /// The provider's names: as given, and as the books know it; in lower case.
    pub names: Vec<String>,
    /// The HTTP status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The leaves of a JSON body as texts, by dotted path; `*` stands for each element of an array. Of a body that is no
    /// JSON its text, under `text`.
    pub body: BTreeMap<String, Vec<String>>,
}

impl ProviderAnswer {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The texts at the first of these paths that has any.
    #[must_use]
    pub fn texts(&self, paths: &[String]) -> &[String] {
        paths.iter().find_map(|path| self.body.get(path)).map_or(&[], Vec::as_slice)
    }

    fn is_of(&self, providers: &[String]) -> bool {
        providers.is_empty() || providers.iter().any(|provider| self.names.contains(provider))
    }
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal<'a> {
    /// What the caller should do.
    pub class: SignalClass,
    /// What it is about.
    pub kind: SignalKind,
    /// When it comes back, if the answer or its rule says so.
    pub comeback: Option<Comeback>,
    /// The rule that decided; none where none did.
    pub rule: Option<&'a Rule>,
    /// The limits that the headers tell.
    pub limits: Vec<ReportedLimit>,
}

/// All rules, in their order, and the headers that tell limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleBook {
    /// The first that fits decides.
    pub rules: Vec<Rule>,
    /// Headers that tell limits.
    pub limits: Vec<LimitHeaders>,
}

impl Signal<'_> {
    /// When it comes back, if that is known.
    #[must_use]
    pub fn retry_at(&self) -> Option<DateTime<Utc>> {
        self.comeback.map(|comeback| comeback.at)
    }
}

impl RuleBook {
    /// What an answer that was received at an instant means.
    #[must_use]
    pub fn classify(&self, answer: &ProviderAnswer, received_at: DateTime<Utc>) -> Signal<'_> {
        let told = self.limits.iter().filter(|limit| answer.is_of(&limit.providers));
        let limits: Vec<_> = told.filter_map(|limit| limit.read(answer, received_at)).collect();
        if (200..300).contains(&answer.status) {
            return Signal { class: SignalClass::Allow, kind: SignalKind::None, comeback: None, rule: None, limits };
        }
        let Some(rule) = self.rules.iter().find(|rule| answer.is_of(&rule.providers) && rule.fits(answer)) else {
            // A header that says when is no guess, whatever the rest means.
            let said = Return::Header("retry-after".to_owned()).comeback(answer, &limits, received_at);
            let unknown = SignalClass::Unknown;
            return Signal { class: unknown, kind: SignalKind::Unknown, comeback: said, rule: None, limits };
        };
        let comeback = rule.returns.iter().find_map(|way| way.comeback(answer, &limits, received_at));
        Signal { class: rule.class, kind: rule.kind, comeback, rule: Some(rule), limits }
    }
}
