//! A provider's usage object as it was sent, flattened: dotted paths to counts and to words.

use std::collections::{BTreeMap, BTreeSet};

/// Where a usage object sits in a whole response or event, so that callers may send either.
const WRAPPERS: [&str; 8] = [
    "usage.",
    "usageMetadata.",
    "usage_metadata.",
    "message.usage.",
    "response.usage.",
    "x_groq.usage.",
    "amazon-bedrock-invocationMetrics.",
    "info.last_token_usage.",
];

/// Longest list of seen keys that an error repeats. A usage object has about ten; a whole response may have thousands.
const KEYS_SHOWN_MAX: usize = 12;

/// A usage object: `prompt_tokens_details.cached_tokens` → 1024, `service_tier` → `flex`. An entry of a list has its place as a
/// segment: `cacheDetails.0.ttl` → `1h`.
///
/// Nulls and fractions are left out by the caller, which flattens. A whole response is accepted too: when some key starts with `usage.`
/// (or another known wrapper), only those counts are kept, without the wrapper; the words around them are kept as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawUsage {
    counts: BTreeMap<String, u64>,
    words: BTreeMap<String, String>,
    /// The path of a count below zero.
    negative: Option<String>,
}

impl RawUsage {
    /// Takes the flattened counts.
    #[must_use]
    pub fn new(counts: BTreeMap<String, u64>) -> Self {
        Self::with_words(counts, BTreeMap::new())
    }

    /// Takes the flattened counts and words.
    #[must_use]
    pub fn with_words(counts: BTreeMap<String, u64>, words: BTreeMap<String, String>) -> Self {
        for wrapper in WRAPPERS {
            let inner = within(&counts, wrapper);
            if !inner.is_empty() {
                let mut all = words;
                all.extend(within(&all, wrapper));
                return Self { counts: inner, words: all, negative: None };
            }
        }
        Self { counts, words, negative: None }
    }

    /// The same, with the path of a count that is below zero: such an object cannot be read.
    #[must_use]
    pub fn with_negative(self, negative: Option<String>) -> Self {
        Self { negative, ..self }
    }

    pub(super) fn negative(&self) -> Option<&str> {
        self.negative.as_deref()
    }

    /// The count at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<u64> {
        self.counts.get(path).copied()
    }

    /// The word at a path.
    #[must_use]
    pub fn word(&self, path: &str) -> Option<&str> {
        self.words.get(path).map(String::as_str)
    }

    /// Every count.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().map(|(path, count)| (path.as_str(), *count))
    }

    /// The paths that fit a pattern, in which `*` stands for one segment, with their counts.
    pub(super) fn fitting<'a>(&'a self, pattern: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        let exact = (!pattern.contains('*')).then(|| self.counts.get_key_value(pattern)).flatten();
        let many = pattern.contains('*').then(|| self.counts.iter().filter(|(path, _)| fits(path, pattern)));
        exact.into_iter().chain(many.into_iter().flatten()).map(|(path, count)| (path.as_str(), *count))
    }

    /// The entries of a list of objects, each as an object of its own.
    pub(super) fn entries(&self, list: &str) -> Vec<(String, Self)> {
        let start = format!("{list}.");
        let place =
            |path: &String| path.strip_prefix(&start).and_then(|rest| rest.split('.').next()).map(str::to_owned);
        let places: BTreeSet<String> = self.counts.keys().filter_map(place).collect();
        let entry = |place: String| {
            let start = format!("{start}{place}.");
            let (counts, words) = (within(&self.counts, &start), within(&self.words, &start));
            let entry = Self { counts, words, negative: None };
            (start, entry)
        };
        places.into_iter().map(entry).collect()
    }

    /// The first keys, for an error.
    pub(super) fn keys_seen(&self) -> String {
        if self.counts.is_empty() {
            return "none".to_owned();
        }
        let shown: Vec<&str> = self.counts.keys().take(KEYS_SHOWN_MAX).map(String::as_str).collect();
        let more = if self.counts.len() > KEYS_SHOWN_MAX { ", …" } else { "" };
        format!("{}{more}", shown.join(", "))
    }
}

/// What is under a prefix, without it.
fn within<T: Clone>(all: &BTreeMap<String, T>, prefix: &str) -> BTreeMap<String, T> {
    all.iter()
        .filter_map(|(key, value)| key.strip_prefix(prefix).map(|rest| (rest.to_owned(), value.clone())))
        .collect()
}

/// Whether a path has the segments of a pattern.
pub(super) fn fits(path: &str, pattern: &str) -> bool {
    let mut segments = path.split('.');
    pattern.split('.').all(|wanted| segments.next().is_some_and(|segment| wanted == "*" || wanted == segment))
        && segments.next().is_none()
}
