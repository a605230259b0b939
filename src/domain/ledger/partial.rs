//! Partial usage: what a call that was cut off had told of itself until then.
//!
//! A stream tells its input first and its output last: one that is cut off says next to nothing of what was generated, and the
//! provider bills what it made. So the output of a call whose usage is partial is charged as it was estimated, unless more is
//! told, and flagged as unconfirmed until a provider's report says what it was.
//!
//! | the caller says | how the call ended | taken for partial |
//! |---|---|---|
//! | that it is | any | yes |
//! | that it is not | any | no |
//! | nothing | cancelled, timed out | if as little output is told as the first event of a stream tells |
//! | nothing | completed, failed | no |

use super::transfer::CallOutcome;
use crate::domain::amounts::Tokens;
use crate::domain::tariff::Flags;
use crate::domain::usage::Usage;

/// Most output tokens that the first event of a stream tells, before anything is generated. Anthropic's `message_start` says
/// 1 to 8.
pub const STREAM_START_OUTPUT_MAX: u64 = 8;
/// How many times as much must have been estimated for so little to be taken for a beginning: of a short answer there is
/// little to miss.
const ESTIMATE_TIMES_MIN: u64 = 10;

/// What usage without an estimate is flagged with.
#[must_use]
pub fn flags(is_partial: Option<bool>) -> Flags {
    if is_partial == Some(true) { Flags::PARTIAL.with(Flags::UNCONFIRMED) } else { Flags::NONE }
}

/// What is charged of what was told, beside an estimate, and what is remarkable about it.
#[must_use]
pub fn charged(told: Usage, is_partial: Option<bool>, outcome: CallOutcome, estimate: &Usage) -> (Usage, Flags) {
    let whole = completed(told, estimate);
    let is_partial = is_partial.unwrap_or_else(|| match outcome {
        CallOutcome::Cancelled | CallOutcome::TimedOut => {
            // None at all is an answer as well: nothing was generated.
            let output = generated(&told);
            (1..=STREAM_START_OUTPUT_MAX).contains(&output)
                && output.saturating_mul(ESTIMATE_TIMES_MIN) <= generated(estimate)
        }
        CallOutcome::Completed | CallOutcome::Failed => false,
    });
    if is_partial { (whole, flags(Some(true))) } else { (told, Flags::NONE) }
}

/// What was told, with the output that was estimated where less is told, and the input where none is.
fn completed(told: Usage, estimate: &Usage) -> Usage {
    let prompt = |usage: &Usage| usage.input_total().is_ok_and(|total| total > Tokens::ZERO);
    let with_input =
        if prompt(&told) { told } else { Usage { output: told.output, reasoning: told.reasoning, ..*estimate } };
    let missing = generated(estimate).saturating_sub(generated(&told));
    let output = Tokens::new(told.output.count().saturating_add(missing)).unwrap_or(estimate.output);
    Usage { output, ..with_input }
}

fn generated(usage: &Usage) -> u64 {
    usage.output.count().saturating_add(usage.reasoning.count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::usage;

    #[test]
    fn usage_that_was_cut_off_is_charged_at_least_what_was_estimated() {
        use CallOutcome::{Cancelled, Completed, Failed, TimedOut};
        let estimate = usage([25, 0, 0, 0, 4000, 0]);
        // input, cache_read, output, reasoning; what is said; how it ended | what is charged; whether it is unconfirmed
        let table = [
            // the usage of `message_start`
            ([25, 0, 1, 0], None, Cancelled, [25, 0, 4000, 0], true),
            ([25, 0, 8, 0], None, TimedOut, [25, 0, 4000, 0], true),
            // an explicit zero
            ([25, 0, 0, 0], None, Cancelled, [25, 0, 0, 0], false),
            // the prompt is known better than it was estimated
            ([9, 40, 1, 0], None, Cancelled, [9, 40, 4000, 0], true),
            // somebody has counted what came
            ([25, 0, 9, 0], None, Cancelled, [25, 0, 9, 0], false),
            ([25, 0, 300, 0], None, Cancelled, [25, 0, 300, 0], false),
            // a short answer is an answer
            ([25, 0, 1, 0], None, Completed, [25, 0, 1, 0], false),
            ([25, 0, 1, 0], None, Failed, [25, 0, 1, 0], false),
            // whoever says it is believed, either way
            ([25, 0, 1, 0], Some(false), Cancelled, [25, 0, 1, 0], false),
            ([25, 0, 300, 0], Some(true), Cancelled, [25, 0, 4000, 0], true),
            ([25, 0, 300, 0], Some(true), Completed, [25, 0, 4000, 0], true),
            ([25, 0, 100, 200], Some(true), Cancelled, [25, 0, 3800, 200], true),
            ([0, 0, 300, 0], Some(true), Cancelled, [25, 0, 4000, 0], true),
            // more than was estimated stays
            ([25, 0, 5000, 0], Some(true), Cancelled, [25, 0, 5000, 0], true),
        ];
        for (told, is_partial, outcome, expected, unconfirmed) in table {
            let buckets =
                |[input, cache_read, output, reasoning]: [u64; 4]| usage([input, cache_read, 0, 0, output, reasoning]);
            let (charge, flags) = charged(buckets(told), is_partial, outcome, &estimate);
            assert_eq!(
                (charge, flags.contains(Flags::UNCONFIRMED)),
                (buckets(expected), unconfirmed),
                "{told:?} {is_partial:?} {outcome:?}"
            );
            assert_eq!(flags.contains(Flags::PARTIAL), unconfirmed);
        }
        let short = usage([25, 0, 0, 0, 3, 0]);
        let nearly = usage([25, 0, 0, 0, 20, 0]);
        assert_eq!(charged(short, None, Cancelled, &nearly), (short, Flags::NONE), "not much more was to come");
    }
}
