//! Which Postgres.
