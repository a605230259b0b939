//! What breaks, and what must be true afterwards: connections, the service, Postgres.

mod away;
mod commit;
mod kill;
