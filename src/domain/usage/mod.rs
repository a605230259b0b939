//! Usage: the disjoint token buckets of one call.
//!
//! Providers count in overlapping ways (`OpenAI`'s prompt tokens include the cached ones, Anthropic's exclude them). Inside
//! the ledger the buckets never overlap, so that their sum is the call's tokens and each is priced once.

mod names;
pub mod provider;
mod raw;

use super::amounts::{BadAmount, Tokens};

/// The name of one token bucket of a [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Prompt tokens that no cache served or stored.
    Input,
    /// Prompt tokens read from a cache.
    CacheRead,
    /// Prompt tokens written to a five-minute cache.
    CacheWrite5m,
    /// Prompt tokens written to a one-hour cache.
    CacheWrite1h,
    /// Visible completion tokens.
    Output,
    /// Completion tokens spent thinking.
    Reasoning,
}

impl Bucket {
    /// Every bucket, in the order of [`Usage::buckets`].
    pub const ALL: [Self; 6] =
        [Self::Input, Self::CacheRead, Self::CacheWrite5m, Self::CacheWrite1h, Self::Output, Self::Reasoning];

    /// The word on the wire and in stored rows: `cache_write_5m`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
        }
    }

    /// The bucket of a word, if it is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bucket| bucket.as_str() == word)
    }
}

/// The tokens of one call, in buckets that never overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Prompt tokens that no cache served or stored.
    pub input: Tokens,
    /// Prompt tokens read from a cache.
    pub cache_read: Tokens,
    /// Prompt tokens written to a five-minute cache.
    pub cache_write_5m: Tokens,
    /// Prompt tokens written to a one-hour cache.
    pub cache_write_1h: Tokens,
    /// Visible completion tokens.
    pub output: Tokens,
    /// Completion tokens spent thinking.
    pub reasoning: Tokens,
}

impl Usage {
    /// The buckets in their fixed order: input, cache read, cache writes (5 minutes, 1 hour), output, reasoning.
    #[must_use]
    pub const fn buckets(&self) -> [Tokens; 6] {
        [self.input, self.cache_read, self.cache_write_5m, self.cache_write_1h, self.output, self.reasoning]
    }

    /// All tokens.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when the sum cannot be kept.
    pub fn total(&self) -> Result<Tokens, BadAmount> {
        self.buckets().into_iter().try_fold(Tokens::ZERO, Tokens::checked_add)
    }

    /// Everything on the prompt's side: what a provider's context tier counts.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when the sum cannot be kept.
    pub fn input_total(&self) -> Result<Tokens, BadAmount> {
        [self.input, self.cache_read, self.cache_write_5m, self.cache_write_1h]
            .into_iter()
            .try_fold(Tokens::ZERO, Tokens::checked_add)
    }

    /// Everything the model generated: visible and reasoning.
    ///
    /// # Errors
    /// [`BadAmount::TooLarge`] when the sum cannot be kept.
    pub fn output_total(&self) -> Result<Tokens, BadAmount> {
        self.output.checked_add(self.reasoning)
    }
}
