//! The trace that is replayed: one hour of real model calls, every ninth of them. `data/traces/README.md` names source and
//! licence.
//!
//! Deliberately absent: who called what. The trace does not say; [`super::script`] invents it.

use anyhow::Context;
use serde::Deserialize;

/// Named wherever the figures are shown: the licence asks for it.
pub(super) const ATTRIBUTION: &str = "Azure Public Dataset, LLM inference trace 2023 (Microsoft, CC BY 4.0)";

const CONVERSATION: &str = include_str!("../../../data/traces/azure_llm_2023_conv.sample.csv");
const CODE: &str = include_str!("../../../data/traces/azure_llm_2023_code.sample.csv");

/// Which of the two services a call was made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Workload {
    /// A chat.
    Conversation,
    /// Code completion.
    Code,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TraceCall {
    /// When it came, as the trace writes it: sorts as text.
    pub(super) at: String,
    /// To which service.
    pub(super) workload: Workload,
    /// Prompt tokens.
    pub(super) context: u64,
    /// Generated tokens.
    pub(super) generated: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "TIMESTAMP")]
    timestamp: String,
    context_tokens: u64,
    generated_tokens: u64,
}

/// All calls, in the order in which they came.
///
/// # Errors
/// When the compiled-in file is not what it was.
pub(super) fn calls() -> anyhow::Result<Vec<TraceCall>> {
    let mut calls = Vec::new();
    for (workload, text) in [(Workload::Conversation, CONVERSATION), (Workload::Code, CODE)] {
        for row in csv::Reader::from_reader(text.as_bytes()).deserialize() {
            let Row { timestamp, context_tokens, generated_tokens } =
                row.context("the compiled-in trace is damaged")?;
            calls.push(TraceCall { at: timestamp, workload, context: context_tokens, generated: generated_tokens });
        }
    }
    calls.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_is_complete_and_in_order() {
        let calls = calls().unwrap();
        let code = calls.iter().filter(|call| call.workload == Workload::Code).count();
        assert_eq!((calls.len(), code), (3132, 980));
        assert!(calls.is_sorted_by(|a, b| a.at <= b.at));
        assert!(calls.iter().all(|call| call.context > 0 && call.generated > 0));
    }
}
