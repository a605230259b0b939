//! A provider's raw usage object → disjoint buckets, and what in it was not read.
//!
//! | object | prompt count | cached | generated |
//! |---|---|---|---|
//! | `OpenAI` chat | `prompt_tokens`, *includes* cached | `prompt_tokens_details.{cached_tokens,cache_write_tokens}` | `completion_tokens`, *includes* reasoning |
//! | `OpenAI` responses | `input_tokens`, *includes* cached | `input_tokens_details.{cached_tokens,cache_write_tokens}` | `output_tokens`, *includes* reasoning |
//! | Anthropic | `input_tokens`, *excludes* cached | `cache_read_input_tokens`, `cache_creation_input_tokens` | `output_tokens`, includes thinking |
//! | Gemini | `promptTokenCount`, *includes* cached; `toolUsePromptTokenCount` comes on top | `cachedContentTokenCount` | `candidatesTokenCount`, *excludes* `thoughtsTokenCount` |
//! | Bedrock Converse | `inputTokens`, *excludes* cached | `cacheReadInputTokens`, `cacheWriteInputTokens` | `outputTokens` |
//!
//! `names.rs` has these and all other names. They are read whatever the provider is called: gateways serve one
//! provider's model in another's shape. Three rules hold for every object, also for those that are not known yet:
//!
//! 1. Every count above zero is read, or named in [`Reading::unread`].
//! 2. Where the object gives a total, the buckets add up to it: if they do not in the way that its names mean, but in another
//!    (a part on top of its whole instead of in it), it is read that way. What still remains is output of those that are known
//!    to leave thinking out, else input, and the total is named as unread.
//! 3. A part that is larger than its whole is on top of it, and is named.
//!
//! So no token is counted twice, none is dropped, and no object costs less than what it certainly says.
//!
//! Deliberately absent: JSON (the shell flattens it), and prices of other things than text: audio, images and searches are
//! named as unread.

use std::collections::BTreeSet;

use super::names::{
    BY_MODALITY, Convention, FAMILIES, Family, FamilyKind, ITERATIONS, LIFETIMES, LISTS, NO_COUNT, ONE_HOUR,
    PLACE_WORDS, PLAIN_PLACES, READ, REDUNDANT, TEXT, THOUGHT, TIER_WORDS, TOOLS, TOTAL, WORDS_OF_ENTRIES, WRITTEN,
    WRITTEN_1H, WRITTEN_5M,
};
pub use super::raw::RawUsage;
use super::raw::fits;
use crate::domain::amounts::{BadAmount, Tokens};
use crate::domain::id::ProviderId;
use crate::domain::price::ServiceTier;
use crate::domain::usage::Usage;

/// Most keys that a reading names as unread.
pub const UNREAD_KEYS_MAX: usize = 12;
/// Longest key that it names, in bytes.
pub const UNREAD_KEY_LENGTH_MAX: usize = 100;

/// What a usage object says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The tokens.
    pub usage: Usage,
    /// The tier that served the call, if the object says it.
    pub service_tier: Option<ServiceTier>,
    /// The keys of counts and words that change the price and are not in it, or that contradict the others: at most
    /// [`UNREAD_KEYS_MAX`], in order.
    pub unread: BTreeSet<String>,
}

/// Why a raw usage object gives no buckets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUsage {
    /// No known object has these keys.
    #[error(
        "the usage object has no known shape (keys seen: {keys}): send the usage object of the provider or of its SDK unchanged, or the ledger's own buckets"
    )]
    UnknownShape {
        /// The first keys, for the reader.
        keys: String,
    },
    /// A count the object cannot do without.
    #[error("the usage object has no `{field}`")]
    Missing {
        /// Its path.
        field: &'static str,
    },
    /// A count below zero: it can only be a mistake.
    #[error("`{field}` is negative")]
    Negative {
        /// Its path.
        field: String,
    },
    /// More tokens than the ledger keeps in one amount.
    #[error("`{field}` {source}")]
    TooLarge {
        /// The path of the count.
        field: String,
        /// What the amount said.
        source: BadAmount,
    },
}

/// A count and the path it was read from, so that a refusal can name it.
#[derive(Debug, Clone)]
struct Count {
    path: String,
    count: u64,
}

impl Count {
    fn tokens(&self) -> Result<Tokens, BadUsage> {
        Tokens::new(self.count).map_err(|source| BadUsage::TooLarge { field: self.path.clone(), source })
    }

    fn plus(&self, more: u64) -> Result<Self, BadUsage> {
        let too_large = || BadUsage::TooLarge { field: self.path.clone(), source: BadAmount::TooLarge };
        let count = self.count.checked_add(more).ok_or_else(too_large)?;
        Ok(Self { path: self.path.clone(), count })
    }
}

/// Reads a usage object.
///
/// # Errors
/// When no known count is in it, one that it cannot do without is missing, or one is too large. Names the path.
pub fn read_usage(provider: &ProviderId, raw: &RawUsage) -> Result<Reading, BadUsage> {
    if let Some(field) = raw.negative() {
        return Err(BadUsage::Negative { field: field.to_owned() });
    }
    let mut object = Object { provider, raw, seen: BTreeSet::new(), unread: BTreeSet::new() };
    let mut usage = object.buckets()?;
    if let Some(whole) = object.iterations(&usage)? {
        usage = whole;
    }
    let service_tier = object.tier();
    object.note_the_rest();
    let unread = object.unread.into_iter().take(UNREAD_KEYS_MAX).map(|key| shortened(&key)).collect();
    Ok(Reading { usage, service_tier, unread })
}

fn shortened(key: &str) -> String {
    let mut end = key.len().min(UNREAD_KEY_LENGTH_MAX);
    while !key.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    key.get(..end).unwrap_or_default().to_owned()
}

/// An object that is being read.
struct Object<'a> {
    provider: &'a ProviderId,
    raw: &'a RawUsage,
    /// The paths of the counts that are accounted for.
    seen: BTreeSet<String>,
    /// The keys that are not.
    unread: BTreeSet<String>,
}

/// Where the parts of the prompt and of the answer are: in its count, or on top of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ways {
    is_prompt_whole: bool,
    is_answer_whole: bool,
}

/// The counts of an object, before it is known how they go together.
struct Counts {
    family: Family,
    prompt: Count,
    read: Option<(Count, Convention)>,
    written: Option<(Count, Convention)>,
    written_1h: u64,
    tools: u64,
    generated: Count,
    thought: Option<(Count, Convention)>,
}

impl Counts {
    fn read(&self) -> u64 {
        self.read.as_ref().map_or(0, |(count, _)| count.count)
    }

    fn written(&self) -> u64 {
        self.written.as_ref().map_or(0, |(count, _)| count.count)
    }

    fn thought(&self) -> u64 {
        self.thought.as_ref().map_or(0, |(count, _)| count.count)
    }

    /// What the names mean. The provider decides only where names of both conventions stand side by side.
    fn meant(&self, provider: &ProviderId, has_both: bool) -> Ways {
        let is_chat = self.family.kind == FamilyKind::Chat;
        let on_top = |part: &Option<(Count, Convention)>| {
            part.as_ref().is_some_and(|(_, convention)| match convention {
                Convention::Inclusive => false,
                Convention::Exclusive => true,
                Convention::ExclusiveUnlessChat => !is_chat,
            })
        };
        let apart = on_top(&self.read) || on_top(&self.written) || (!is_chat && has_both && counts_apart(provider));
        Ways { is_prompt_whole: !apart, is_answer_whole: !on_top(&self.thought) }
    }

    /// All tokens, if they go together in this way; none if a part is larger than its whole.
    fn total(&self, ways: Ways) -> Option<u64> {
        let parts = self.read().checked_add(self.written())?;
        let mut total = self.prompt.count.checked_add(self.tools)?.checked_add(self.generated.count)?;
        if !ways.is_prompt_whole {
            total = total.checked_add(parts)?;
        } else if parts > self.prompt.count {
            return None;
        }
        if !ways.is_answer_whole {
            total = total.checked_add(self.thought())?;
        } else if self.thought() > self.generated.count {
            return None;
        }
        Some(total)
    }
}

impl Object<'_> {
    /// The first of several names that is there. Other names of the same count are accounted for.
    fn first<'n>(&mut self, names: impl Iterator<Item = &'n str> + Clone) -> Option<(Count, &'n str)> {
        let found = names.clone().find_map(|name| {
            let paths: Vec<(&str, u64)> = self.raw.fitting(name).collect();
            let (path, _) = paths.first()?;
            let count = paths.iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count)).unwrap_or(u64::MAX);
            Some((Count { path: (*path).to_owned(), count }, name))
        })?;
        for name in names {
            let same = |(_, count): &(&str, u64)| name == found.1 || *count == found.0.count;
            let paths: Vec<String> = self.raw.fitting(name).filter(same).map(|(path, _)| path.to_owned()).collect();
            self.seen.extend(paths);
        }
        Some(found)
    }

    fn part(&mut self, names: &[(&'static str, Convention)]) -> Option<(Count, Convention)> {
        let (count, name) = self.first(names.iter().map(|(name, _)| *name))?;
        let (_, convention) = names.iter().find(|(one, _)| *one == name)?;
        Some((count, *convention))
    }

    fn amount(&mut self, names: &[&'static str]) -> u64 {
        self.first(names.iter().copied()).map_or(0, |(count, _)| count.count)
    }

    fn buckets(&mut self) -> Result<Usage, BadUsage> {
        let total = self.first(TOTAL.iter().copied()).map(|(count, _)| count);
        let counts = self.counts(total.as_ref())?;
        let has = |names: &[(&str, Convention)], wanted: fn(Convention) -> bool| {
            names.iter().any(|(name, convention)| wanted(*convention) && self.raw.fitting(name).next().is_some())
        };
        let inclusive = |convention| convention == Convention::Inclusive;
        let exclusive = |convention| convention == Convention::ExclusiveUnlessChat;
        let has_both =
            (has(READ, inclusive) || has(WRITTEN, inclusive)) && (has(READ, exclusive) || has(WRITTEN, exclusive));
        let meant = counts.meant(self.provider, has_both);
        let (ways, rest) = self.ways(&counts, meant, total.as_ref());
        self.divide(&counts, ways, rest)
    }

    fn counts(&mut self, total: Option<&Count>) -> Result<Counts, BadUsage> {
        let any = |names: &[&'static str]| names.iter().any(|name| self.raw.fitting(name).next().is_some());
        let family = FAMILIES.iter().find(|family| any(family.prompt) || any(family.generated));
        let family = *family.ok_or_else(|| BadUsage::UnknownShape { keys: self.raw.keys_seen() })?;
        let missing = |names: &[&'static str]| BadUsage::Missing { field: names.first().copied().unwrap_or_default() };
        let prompt = self.first(family.prompt.iter().copied()).map(|(count, _)| count);
        let prompt = prompt.ok_or_else(|| missing(family.prompt))?;
        let generated = match self.first(family.generated.iter().copied()) {
            Some((generated, _)) => generated,
            None => {
                let is_optional = match family.kind {
                    // Absent when the answer was blocked, when thinking used up the allowance, and of embeddings.
                    FamilyKind::Gemini
                    | FamilyKind::Interactions
                    | FamilyKind::Billed
                    | FamilyKind::Titan
                    | FamilyKind::Total => true,
                    // Embeddings generate nothing and say so by a total that is the prompt.
                    FamilyKind::Chat | FamilyKind::Camel | FamilyKind::Snake => {
                        total.is_some_and(|total| total.count == prompt.count)
                    }
                };
                if !is_optional {
                    return Err(missing(family.generated));
                }
                Count { path: family.generated.first().copied().unwrap_or_default().to_owned(), count: 0 }
            }
        };
        let (lasting_5m, lasting_1h) = self.lifetimes();
        let written_5m = self.amount(WRITTEN_5M).max(lasting_5m);
        let written_1h = self.amount(WRITTEN_1H).max(lasting_1h);
        let mut written = self.part(WRITTEN);
        let too_large = || BadUsage::TooLarge { field: "cache_creation".to_owned(), source: BadAmount::TooLarge };
        let split = written_5m.checked_add(written_1h).ok_or_else(too_large)?;
        if split > written.as_ref().map_or(0, |(count, _)| count.count) {
            // LangChain reports a zero with the split; another whole is contradicted, and the parts are certain.
            let (path, convention) = match &written {
                Some((count, convention)) => (count.path.clone(), *convention),
                None if family.kind == FamilyKind::Chat => ("cache_creation".to_owned(), Convention::Inclusive),
                None => ("cache_creation".to_owned(), self.split_convention()),
            };
            if written.as_ref().is_some_and(|(count, _)| count.count > 0) {
                self.unread.insert(path.clone());
            }
            written = Some((Count { path, count: split }, convention));
        }
        let (read, tools, thought) = (self.part(READ), self.amount(TOOLS), self.part(THOUGHT));
        if family.kind == FamilyKind::Total && (tools > 0 || read.is_some() || written.is_some() || thought.is_some()) {
            // Parts of a count that is missing.
            return Err(BadUsage::UnknownShape { keys: self.raw.keys_seen() });
        }
        Ok(Counts { family, prompt, read, written, written_1h, tools, generated, thought })
    }

    /// The convention of writes of which only the split is reported: Anthropic's come on top, those in the prompt's details are in it.
    fn split_convention(&self) -> Convention {
        let apart = ["cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens"];
        if apart.iter().any(|name| self.raw.get(name).is_some()) {
            Convention::Exclusive
        } else {
            Convention::Inclusive
        }
    }

    /// What Bedrock's list says was written for five minutes and for an hour.
    fn lifetimes(&mut self) -> (u64, u64) {
        let (mut five_minutes, mut hour) = (0_u64, 0_u64);
        for (start, entry) in self.raw.entries(LIFETIMES) {
            let Some(count) = entry.get("inputTokens") else { continue };
            let sum = if entry.word("ttl") == Some(ONE_HOUR) { &mut hour } else { &mut five_minutes };
            *sum = sum.saturating_add(count);
            self.seen.insert(format!("{start}inputTokens"));
        }
        (five_minutes, hour)
    }

    /// How the counts go together, and how much of the total they leave.
    fn ways(&mut self, counts: &Counts, meant: Ways, total: Option<&Count>) -> (Ways, u64) {
        // Names that are Anthropic's or Bedrock's mean what they say: some add a total to them that leaves the cache out.
        let can_be_whole = meant.is_prompt_whole || !counts_apart(self.provider);
        let all = [
            meant,
            Ways { is_answer_whole: !meant.is_answer_whole, ..meant },
            Ways { is_prompt_whole: !meant.is_prompt_whole, ..meant },
            Ways { is_prompt_whole: !meant.is_prompt_whole, is_answer_whole: !meant.is_answer_whole },
        ];
        let possible = all.into_iter().filter(|ways| can_be_whole || !ways.is_prompt_whole);
        let mut possible = possible.filter_map(|ways| counts.total(ways).map(|sum| (ways, sum)));
        let first = possible.next();
        let Some(total) = total.filter(|_| counts.family.kind != FamilyKind::Total) else {
            let ways = first.map_or(Ways { is_prompt_whole: false, is_answer_whole: false }, |(ways, _)| ways);
            self.note_contradiction(counts, meant, ways);
            return (ways, 0);
        };
        let fitting = first.into_iter().chain(possible).find(|(_, sum)| *sum == total.count);
        if let Some((ways, _)) = fitting {
            return (ways, 0);
        }
        let (ways, sum) = first.unwrap_or((Ways { is_prompt_whole: false, is_answer_whole: false }, u64::MAX));
        self.note_contradiction(counts, meant, ways);
        // A total of the counts alone, from somebody who did not know of parts on top of them.
        let plain = counts.prompt.count.checked_add(counts.generated.count);
        if plain == Some(total.count) {
            return (ways, 0);
        }
        self.unread.insert(total.path.clone());
        (ways, total.count.saturating_sub(sum))
    }

    fn note_contradiction(&mut self, counts: &Counts, meant: Ways, ways: Ways) {
        let mut note = |part: &Option<(Count, Convention)>| {
            self.unread.extend(part.as_ref().filter(|(count, _)| count.count > 0).map(|(count, _)| count.path.clone()));
        };
        if meant.is_prompt_whole != ways.is_prompt_whole {
            note(&counts.read);
            note(&counts.written);
        }
        if meant.is_answer_whole != ways.is_answer_whole {
            note(&counts.thought);
        }
    }

    fn divide(&mut self, counts: &Counts, ways: Ways, rest: u64) -> Result<Usage, BadUsage> {
        let Counts { prompt, generated, .. } = counts;
        let parts = if ways.is_prompt_whole { counts.read().saturating_add(counts.written()) } else { 0 };
        let thought_within = if ways.is_answer_whole { counts.thought() } else { 0 };
        // Whether the output of these objects leaves out thinking that no count reports.
        let is_output = match counts.family.kind {
            FamilyKind::Chat | FamilyKind::Gemini | FamilyKind::Interactions => true,
            FamilyKind::Snake => !counts_apart(self.provider),
            FamilyKind::Camel | FamilyKind::Billed | FamilyKind::Titan | FamilyKind::Total => false,
        };
        let (rest_in, rest_out) = if is_output { (0, rest) } else { (rest, 0) };
        let input = prompt.plus(counts.tools)?.plus(rest_in)?;
        let input = Count { count: input.count.saturating_sub(parts), path: input.path };
        let output = generated.plus(rest_out)?;
        let output = Count { count: output.count.saturating_sub(thought_within), path: output.path };
        let part =
            |part: &Option<(Count, Convention)>| part.as_ref().map_or(Ok(Tokens::ZERO), |(count, _)| count.tokens());
        let hour = Count { path: "cache_creation".to_owned(), count: counts.written_1h };
        // Writes that the split does not place went to the default cache, which is the five-minute one.
        let short = Count { count: counts.written().saturating_sub(counts.written_1h), path: hour.path.clone() };
        Ok(Usage {
            input: input.tokens()?,
            cache_read: part(&counts.read)?,
            cache_write_5m: short.tokens()?,
            cache_write_1h: hour.tokens()?,
            output: output.tokens()?,
            reasoning: part(&counts.thought)?,
        })
    }

    /// The sum of the requests that an answer of Anthropic's was made of, where it lists them: its own counts leave out those
    /// that compacted the context. Those of another model are named as unread: they have another price.
    fn iterations(&mut self, own: &Usage) -> Result<Option<Usage>, BadUsage> {
        let mut sum = [Tokens::ZERO; 6];
        let mut is_any = false;
        for (start, entry) in self.raw.entries(ITERATIONS) {
            let paths = entry.counts().map(|(path, count)| (format!("{start}{path}"), count));
            if entry.word("model").is_some() {
                self.unread.extend(paths.filter(|(_, count)| *count > 0).map(|(path, _)| path));
                continue;
            }
            self.seen.extend(paths.map(|(path, _)| path));
            let reading = read_usage(self.provider, &entry)?;
            self.unread.extend(reading.unread.into_iter().map(|key| format!("{start}{key}")));
            let too_large = |source| BadUsage::TooLarge { field: start.clone(), source };
            for (bucket, more) in sum.iter_mut().zip(reading.usage.buckets()) {
                *bucket = bucket.checked_add(more).map_err(too_large)?;
            }
            is_any = true;
        }
        let [input, cache_read, cache_write_5m, cache_write_1h, output, reasoning] = sum;
        let whole = Usage { input, cache_read, cache_write_5m, cache_write_1h, output, reasoning };
        let is_less = whole.buckets().iter().zip(own.buckets()).any(|(whole, own)| *whole < own);
        if is_any && is_less {
            self.unread.insert(ITERATIONS.to_owned());
        }
        Ok(is_any.then_some(whole).filter(|_| !is_less))
    }

    /// The tier that the object says served the call. Words that are not known, and places with a price of their own, are named.
    fn tier(&mut self) -> Option<ServiceTier> {
        let mut served = None;
        for path in TIER_WORDS {
            let Some(word) = self.raw.word(path) else { continue };
            let known = match path {
                "speed" => ServiceTier::from_word(word).filter(|tier| *tier == ServiceTier::Fast),
                "trafficType" | "traffic_type" => traffic(word),
                // Anthropic's is capacity that was paid for before, at the ordinary price of a token.
                _ if word == "priority" && counts_apart(self.provider) => Some(ServiceTier::Standard),
                _ => ServiceTier::from_word(&word.to_ascii_lowercase()),
            };
            match known {
                // The ordinary tier does not overrule a speed.
                Some(ServiceTier::Standard) => served = served.or(Some(ServiceTier::Standard)),
                Some(tier) => served = Some(tier),
                None if path == "speed" && word == "standard" => {}
                None => drop(self.unread.insert(format!("{path}={word}"))),
            }
        }
        for path in PLACE_WORDS {
            if let Some(word) = self.raw.word(path).filter(|word| !PLAIN_PLACES.contains(word)) {
                self.unread.insert(format!("{path}={word}"));
            }
        }
        served
    }

    /// Names every count above zero that nothing has accounted for.
    fn note_the_rest(&mut self) {
        for (path, count) in self.raw.counts() {
            let is_known = self.seen.contains(path) || REDUNDANT.iter().any(|pattern| fits(path, pattern));
            if count > 0 && !is_known && is_count(path) && !self.is_of_text(path) {
                self.unread.insert(path.to_owned());
            }
        }
    }

    /// Whether this is the part of text in a list of a count by modality.
    fn is_of_text(&self, path: &str) -> bool {
        let Some((entry, _)) = path.rsplit_once('.').filter(|_| BY_MODALITY.iter().any(|pattern| fits(path, pattern)))
        else {
            return false;
        };
        self.raw.word(&format!("{entry}.modality")).is_some_and(|word| word.eq_ignore_ascii_case(TEXT))
    }
}

/// Whether a number at a path may be a count of what was used, and not a time or an amount of money.
#[must_use]
pub fn is_count(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    !NO_COUNT.iter().any(|word| last.contains(word))
}

/// Whether a text at a path is a count that was written as a text: `"prompt_tokens": "100"`.
#[must_use]
pub fn is_count_of_tokens(path: &str) -> bool {
    path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase().contains("token")
}

/// Whether a word at a path may change what a call cost.
#[must_use]
pub fn is_word_of_use(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    TIER_WORDS.contains(&last) || PLACE_WORDS.contains(&last) || WORDS_OF_ENTRIES.contains(&last)
}

/// Whether a list at a path may hold counts. A whole response has lists of thousands of numbers that are none.
#[must_use]
pub fn is_list_of_counts(path: &str) -> bool {
    let last = path.rsplit('.').next().unwrap_or(path);
    LISTS.iter().any(|name| last.ends_with(name))
}

/// Whether a provider's own counts leave out what a cache served: Anthropic's, wherever it is served.
fn counts_apart(provider: &ProviderId) -> bool {
    let name = provider.as_str().to_ascii_lowercase();
    ["anthropic", "aws", "bedrock", "claude", "vertex"].iter().any(|word| name.contains(word))
}

/// Vertex's word of how it served: `ON_DEMAND_FLEX`. None for what has another price than a token's.
fn traffic(word: &str) -> Option<ServiceTier> {
    match word.to_ascii_uppercase().as_str() {
        "ON_DEMAND" | "TRAFFIC_TYPE_UNSPECIFIED" => Some(ServiceTier::Standard),
        "ON_DEMAND_FLEX" => Some(ServiceTier::Flex),
        "ON_DEMAND_PRIORITY" => Some(ServiceTier::Priority),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "totals of counts that were accepted, and so are bounded")]
#[path = "provider_tests.rs"]
mod tests;
