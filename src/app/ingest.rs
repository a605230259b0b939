//! Spans of instrumented applications, posted as usage.
//!
//! | # | beat | what |
//! |---|---|---|
//! | 1 | read | each span: a call, none, or one that cannot be posted ([`crate::ingest::span`]) |
//! | 2 | permit | the caller may post for the call's tenant |
//! | 3 | post | through the lane, under the key of the span: sent again, it is one effect |
//! | 4 | tell | how many were not taken, and why |

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{App, AppError};
use crate::domain::access::{Action as Access, Caller, may};
use crate::domain::id::TransferId;
use crate::domain::ledger::command::{Action, Command, Idempotency, KeySpace};
use crate::ingest::ExportTraceServiceRequest;
use crate::ingest::attributes::Attributes;
use crate::ingest::span::{Reading, SpanCall, read};

/// Most different reasons that one answer lists.
const REASONS_MAX: usize = 10;

/// What became of the spans of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpansTaken {
    /// Calls that are in the journal, now or since an earlier request.
    pub posted: usize,
    /// Spans that are no model call, or add up those below them.
    pub ignored: usize,
    /// Model calls that tell no usage: nothing can be posted.
    pub without_usage: usize,
    /// Why calls could not be posted, and how many each.
    pub rejected: BTreeMap<String, usize>,
}

impl SpansTaken {
    /// How many calls could not be posted.
    #[must_use]
    pub fn rejected_spans(&self) -> usize {
        self.rejected.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// For people who look after the application: empty when all went well.
    #[must_use]
    pub fn message(&self) -> String {
        let reasons = self.rejected.iter().take(REASONS_MAX).map(|(reason, count)| format!("{count}: {reason}"));
        let silent = (self.without_usage > 0)
            .then(|| format!("{}: a model call without gen_ai.usage attributes was not posted", self.without_usage));
        reasons.chain(silent).collect::<Vec<_>>().join("; ")
    }

    fn reject(&mut self, reason: &impl ToString) {
        let count = self.rejected.entry(reason.to_string()).or_default();
        *count = count.saturating_add(1);
    }
}

/// A span's call under its key. The fingerprint is of the key alone: a span that comes by two ways, of which one has added
/// an attribute, is still one call.
fn command(caller: &Caller, call: SpanCall) -> Command {
    let fingerprint = Sha256::digest(call.key.as_str().as_bytes()).into();
    let space = KeySpace(caller.tenant.clone());
    let idempotency = Idempotency { space, key: call.key, fingerprint };
    Command { action: Action::PostUsage(Box::new(call.post)), idempotency: Some(idempotency) }
}

impl App {
    /// Posts the model calls among the spans. Each is one effect, however often it is sent.
    ///
    /// # Errors
    /// When the lane gave no answer to some: then the whole may be sent again.
    pub async fn take_spans(
        &self,
        caller: &Caller,
        request: &ExportTraceServiceRequest,
    ) -> Result<SpansTaken, AppError> {
        let mut taken = SpansTaken::default();
        let mut commands = Vec::new();
        for resource in &request.resource_spans {
            let of_resource = resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
            for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                let attributes = Attributes::new(&span.attributes, of_resource);
                let id = TransferId(Uuid::now_v7());
                match read(span, &attributes, &self.otlp, caller.tenant.as_ref(), id) {
                    Ok(Reading::NoCall) => taken.ignored = taken.ignored.saturating_add(1),
                    Ok(Reading::NoUsage) => taken.without_usage = taken.without_usage.saturating_add(1),
                    Ok(Reading::Call(call)) => match may(caller, Access::PostUsage, Some(&call.post.call.tenant)) {
                        Ok(()) => commands.push(command(caller, *call)),
                        Err(denied) => taken.reject(&denied),
                    },
                    Err(bad) => taken.reject(&bad),
                }
            }
        }
        for outcome in self.submit_all(commands).await? {
            match outcome {
                Ok(_) => taken.posted = taken.posted.saturating_add(1),
                Err(AppError::Refused(refusal)) => taken.reject(&refusal),
                Err(unanswered) => return Err(unanswered),
            }
        }
        Ok(taken)
    }
}
