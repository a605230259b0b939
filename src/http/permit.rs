//! Who may, before a byte of the body is read.
//!
//! [`Permit`] goes first in a handler whose request has a body: it verifies the token and asks whether it carries a scope for
//! the action, so that a caller who may not gets 403, and no memory. What the body names (a tenant) is asked for afterwards.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use super::extract::Auth;
use super::problem::Problem;
use crate::auth::{Caller, Verifier};
use crate::clock::Clock;
use crate::domain::access::{Action, confine};

/// An action, as a type.
pub trait Right {
    /// The action.
    const ACTION: Action;
}

macro_rules! rights {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl Right for $name {
                const ACTION: Action = Action::$name;
            }
        )*
    };
}

rights! {
    /// [`Action::Consult`].
    Consult;
    /// [`Action::AskVerdict`].
    AskVerdict;
    /// [`Action::HoldReservation`].
    HoldReservation;
    /// [`Action::Settle`].
    Settle;
    /// [`Action::PostUsage`].
    PostUsage;
    /// [`Action::Read`].
    Read;
    /// [`Action::Manage`].
    Manage;
    /// [`Action::ManagePlatform`].
    ManagePlatform;
}

/// A caller whose token carries a scope for the action, for their own tenant if they are confined to one.
#[derive(Debug, Clone)]
pub struct Permit<R> {
    /// Who is calling.
    pub caller: Caller,
    right: PhantomData<R>,
}

impl<R: Right, S> FromRequestParts<S> for Permit<R>
where
    S: Send + Sync,
    Arc<Verifier>: FromRef<S>,
    Clock: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Auth(caller) = Auth::from_request_parts(parts, state).await?;
        confine(&caller, R::ACTION, None)?;
        Ok(Self { caller, right: PhantomData })
    }
}
