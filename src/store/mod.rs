//! Where it is kept: all SQL, one file per aggregate, and the Postgres below it.
//!
//! | room | one sentence |
//! |---|---|
//! | [`embedded`] | a private Postgres in a data folder, for people who have not set up one of their own |
//! | [`open`] | which Postgres a command talks to, and that it is new enough |

pub mod embedded;
pub mod open;
