//! Which names a model goes by.
//!
//! Providers serve one model under many names: dated snapshots, aliases, regional profiles. A [`ModelMatch`] is the rule
//! of one model. Names are compared without regard to case; the texts of a rule are kept in lower case.
//!
//! Deliberately absent: regular expressions. The catalogues need only digits of a date, which [`ModelMatch::Digits`] is.

/// Most texts in one rule. The largest of the catalogues has about thirty.
pub const TEXTS_MAX: usize = 256;

/// Weight of a rule that pins the whole name: above any length of a partial one.
const WHOLE: usize = usize::MAX;

/// A text in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Box<str>);

impl Text {
    /// Lowers the text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_ascii_lowercase().into_boxed_str())
    }

    /// The text, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A rule that a model's name meets or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelMatch {
    /// The whole name.
    Equals(Text),
    /// The beginning of the name.
    StartsWith(Text),
    /// The end of the name.
    EndsWith(Text),
    /// Anywhere in the name.
    Contains(Text),
    /// The whole name, where each `#` is one digit: `claude-opus-5-########`.
    Digits(Text),
    /// At least one of these.
    Any(Vec<Self>),
    /// Each of these.
    All(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
}

impl ModelMatch {
    /// How much of a name, given in lower case, the rule pins; `None` when the rule does not match. Among several models that
    /// match, the one that pins most is meant: `gpt-5-mini…` before `gpt-5…`.
    #[must_use]
    pub fn weigh(&self, name: &str) -> Option<usize> {
        match self {
            Self::Equals(text) => (name == text.as_str()).then_some(WHOLE),
            Self::Digits(text) => digits_match(text.as_str(), name).then_some(WHOLE),
            Self::StartsWith(text) => name.starts_with(text.as_str()).then_some(text.as_str().len()),
            Self::EndsWith(text) => name.ends_with(text.as_str()).then_some(text.as_str().len()),
            Self::Contains(text) => name.contains(text.as_str()).then_some(text.as_str().len()),
            Self::Any(rules) => rules.iter().filter_map(|rule| rule.weigh(name)).max(),
            Self::All(rules) => {
                rules.iter().try_fold(0, |most: usize, rule| rule.weigh(name).map(|weight| most.max(weight)))
            }
            Self::Not(rule) => rule.weigh(name).is_none().then_some(0),
        }
    }

    /// Splits the rule into the whole names it accepts, which an index can hold, and the rest, which must be tried.
    #[must_use]
    pub fn split(&self) -> (Vec<Text>, Option<Self>) {
        match self {
            Self::Equals(text) => (vec![text.clone()], None),
            Self::Any(rules) => {
                let (mut names, mut rest) = (Vec::new(), Vec::new());
                for rule in rules {
                    let (more, pattern) = rule.split();
                    names.extend(more);
                    rest.extend(pattern);
                }
                (names, if rest.is_empty() { None } else { Some(Self::Any(rest)) })
            }
            Self::StartsWith(_)
            | Self::EndsWith(_)
            | Self::Contains(_)
            | Self::Digits(_)
            | Self::All(_)
            | Self::Not(_) => (Vec::new(), Some(self.clone())),
        }
    }

    /// How many texts the rule holds.
    #[must_use]
    pub fn texts(&self) -> usize {
        match self {
            Self::Equals(_) | Self::StartsWith(_) | Self::EndsWith(_) | Self::Contains(_) | Self::Digits(_) => 1,
            Self::Any(rules) | Self::All(rules) => {
                rules.iter().fold(0, |count: usize, rule| count.saturating_add(rule.texts()))
            }
            Self::Not(rule) => rule.texts(),
        }
    }
}

fn digits_match(text: &str, name: &str) -> bool {
    let same = |(pattern, byte): (u8, u8)| if pattern == b'#' { byte.is_ascii_digit() } else { pattern == byte };
    text.len() == name.len() && text.bytes().zip(name.bytes()).all(same)
}
