//! What others send: spans, events, lines.

mod otlp;
mod sdk;
mod usage;
