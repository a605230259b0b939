//! What others send: spans, events, lines.

mod otlp;
mod usage;
