//! What others send: spans, events, lines.

mod import;
mod otlp;
mod sdk;
mod usage;
