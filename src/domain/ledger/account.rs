//! Accounts: where amounts stand.

use std::fmt;

use crate::domain::id::{FeatureId, ModelId, ProviderId, TenantId};

/// A place amounts stand.
///
/// Its text is its name everywhere: `usage:acme/support-chat`, `supply:anthropic/claude-sonnet-4-5`,
/// `adjustment:anthropic`. Tenants and providers hold no slash, so the text splits at its first one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// What a tenant's feature consumed: the debit side.
    Usage(TenantId, FeatureId),
    /// What a provider's model supplied, is owed for, and emitted on our behalf: the credit side.
    Supply(ProviderId, ModelId),
    /// True-ups with a provider that belong to no tenant.
    Adjustment(ProviderId),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(tenant, feature) => write!(f, "usage:{tenant}/{feature}"),
            Self::Supply(provider, model) => write!(f, "supply:{provider}/{model}"),
            Self::Adjustment(provider) => write!(f, "adjustment:{provider}"),
        }
    }
}
