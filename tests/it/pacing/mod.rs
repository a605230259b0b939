//! Pacing through the service: verdicts by stored paces, plans, headers.

mod headers;
mod stored;
