//! How many tokens one call can have.
//!
//! A count that no model can serve is a mistake, of a unit or of a sign, or worse: posted, it would be gone from every shared
//! budget, and nothing could take it back. Corrections and true-ups add calls up, and are not bounded by this.
//!
//! What a command says is checked before it waits for its turn; the books themselves bear what older journals hold.

use super::command::{Action, ReportedUsage};
use super::outcome::Refusal;
use crate::domain::id::ProviderId;
use crate::domain::usage::provider::read_usage;
use crate::domain::usage::{Bucket, Usage};

/// Most tokens of one call unless the service is started with another bound: ten thousand of the longest contexts there are.
pub const CALL_TOKENS_MAX: u64 = 10_000_000_000;

/// Which field of a request says the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokensField {
    /// What a call may use.
    Estimate,
    /// What it used.
    Usage,
    /// What it used, as the provider says it.
    ProviderUsage,
    /// What it asks for beyond what it has.
    MoreOutput,
}

impl TokensField {
    /// The name of the field, or of the part of it that alone is too much.
    fn name(self, too_much: Option<Bucket>) -> String {
        match (self, too_much) {
            (Self::Estimate, Some(Bucket::Output)) => "estimate.max_output".to_owned(),
            (Self::Estimate, Some(bucket)) => format!("estimate.{}", bucket.as_str()),
            (Self::Estimate, None) => "estimate".to_owned(),
            (Self::Usage, Some(bucket)) => format!("usage.{}", bucket.as_str()),
            (Self::Usage, None) => "usage".to_owned(),
            (Self::ProviderUsage, _) => "provider_usage".to_owned(),
            (Self::MoreOutput, _) => "more_output".to_owned(),
        }
    }
}

/// Most tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallBound(pub u64);

impl Default for CallBound {
    fn default() -> Self {
        Self(CALL_TOKENS_MAX)
    }
}

impl CallBound {
    /// Checks the tokens of a call.
    ///
    /// # Errors
    /// [`Refusal::TooManyTokens`] when they are more than a call can have.
    pub fn check(self, field: TokensField, usage: &Usage) -> Result<(), Refusal> {
        let count = usage.buckets().iter().fold(0_u64, |sum, tokens| sum.saturating_add(tokens.count()));
        if count <= self.0 {
            return Ok(());
        }
        let mut buckets = Bucket::ALL.into_iter().zip(usage.buckets());
        let alone = buckets.find(|(_, tokens)| tokens.count() > self.0).map(|(bucket, _)| bucket);
        Err(Refusal::TooManyTokens { field: field.name(alone), count, max: self.0 })
    }

    /// Checks the tokens that a command says. What cannot be read is left to the books, which say why; and what more a call
    /// may have depends on what it has, so that the books are given the bound.
    ///
    /// # Errors
    /// [`Refusal::TooManyTokens`] when they are more than a call can have.
    pub fn check_action(self, action: &mut Action) -> Result<(), Refusal> {
        match action {
            Action::Reserve(reserve) => self.check(TokensField::Estimate, &reserve.usage),
            Action::PostUsage(post) => self.check_reported(&post.usage, Some(&post.call.provider)),
            Action::Settle(settle) => {
                settle.usage.as_ref().map_or(Ok(()), |reported| self.check_reported(reported, None))
            }
            Action::Extend(extend) => {
                extend.bound = self;
                Ok(())
            }
            Action::Release(_) | Action::Adjust(_) | Action::Restate(_) => Ok(()),
        }
    }

    /// Whose usage object it is only matters where its keys leave its shape open.
    fn check_reported(self, reported: &ReportedUsage, provider: Option<&ProviderId>) -> Result<(), Refusal> {
        match reported {
            ReportedUsage::Buckets(usage) => self.check(TokensField::Usage, usage),
            ReportedUsage::Provider(raw) => {
                let unnamed = ProviderId::parse("unnamed").ok();
                let provider = provider.or(unnamed.as_ref());
                let reading = provider.and_then(|provider| read_usage(provider, raw).ok());
                reading.map_or(Ok(()), |reading| self.check(TokensField::ProviderUsage, &reading.usage))
            }
        }
    }
}
