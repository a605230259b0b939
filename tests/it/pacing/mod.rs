//! Pacing through the service: verdicts by stored paces, plans, a whole week, headers.

mod headers;
mod planned;
mod stored;
mod week;
