//! What was said of who serves a call, beside the names of the books: as JSON, in answers and in the journal.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FieldError, optional};
use crate::domain::budget::scope::{Dimensions, SaidAs, Spelling};

/// What was said of who serves a call, where it is another spelling than the name of the books.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"provider": "bedrock", "model": "anthropic.claude-sonnet-4-5-20250929-v1:0"}))]
pub struct SaidAsBody {
    /// The provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "bedrock", nullable = false)]
    pub provider: Option<String>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "gpt-4o-2024-08-06", nullable = false)]
    pub model: Option<String>,
    /// The model as its provider reported that it served, where that is another spelling of the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "gpt-4o-2024-08-06", nullable = false)]
    pub served_model: Option<String>,
}

impl From<&SaidAs> for SaidAsBody {
    fn from(said: &SaidAs) -> Self {
        Self {
            provider: said.provider.as_ref().map(ToString::to_string),
            model: said.model.as_ref().map(ToString::to_string),
            served_model: said.served_model.as_ref().map(ToString::to_string),
        }
    }
}

impl SaidAsBody {
    /// What a call said; none if that is what the books say.
    #[must_use]
    pub fn of(call: &Dimensions) -> Option<Self> {
        call.said().map(Self::from)
    }

    /// As the domain keeps it.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn to_said_as(&self) -> Result<SaidAs, FieldError> {
        Ok(SaidAs {
            provider: optional("said_as.provider", self.provider.as_deref())?,
            model: optional("said_as.model", self.model.as_deref())?,
            served_model: optional("said_as.served_model", self.served_model.as_deref())?,
        })
    }
}

/// What the journal keeps: an object that may be empty for a call that has names, nothing for one that has none.
#[must_use]
pub fn said_as_column(call: &Dimensions) -> Option<SaidAsBody> {
    match &call.spelling {
        Spelling::AsSaid => None,
        Spelling::Named(said) => Some(said.as_deref().map(SaidAsBody::from).unwrap_or_default()),
    }
}
