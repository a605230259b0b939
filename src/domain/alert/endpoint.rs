//! What an endpoint is known by inside the service: its id, in the space of its tenant.

use std::fmt;

use crate::domain::id::{TenantId, WebhookId};

/// The key of an endpoint. Two tenants may call theirs by the same id: the keys differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookKey(String);

impl WebhookKey {
    /// The keys that a new endpoint may get, the first that is free. Before ids were told apart by tenant the key was the id,
    /// whoever's it was: so the platform has a second choice. No slug holds a `/`.
    #[must_use]
    pub fn candidates(tenant: Option<&TenantId>, id: &WebhookId) -> Vec<Self> {
        match tenant {
            Some(tenant) => vec![Self(format!("{tenant}/{id}"))],
            None => vec![Self(id.to_string()), Self(format!("/{id}"))],
        }
    }

    /// Takes a key back from where it was kept.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_spaces_share_a_key() {
        let id = WebhookId::parse("pager").unwrap();
        let tenants = [None, TenantId::parse("acme").ok(), TenantId::parse("pager").ok()];
        let keys: Vec<WebhookKey> =
            tenants.iter().flat_map(|tenant| WebhookKey::candidates(tenant.as_ref(), &id)).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{keys:?}");
    }
}
