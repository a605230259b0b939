//! Usage as lines: read, posted and answered as it comes, so that memory does not grow with the body.
//!
//! | # | beat | what |
//! |---|---|---|
//! | 1 | read | lines, until a chunk is full ([`LINES_PER_CHUNK`]) or the body ends |
//! | 2 | post | the chunk, through the lane |
//! | 3 | hold | the answers of the first [`ANSWERS_HELD_MAX`] lines until the body ends: a caller that writes all before it reads any would otherwise wait for a service that waits for it |
//! | 4 | send | beyond that, each chunk's answers as soon as they are there |
//!
//! Before each chunk the token is looked at again: a request that goes on for minutes ends with it. Lines, unpacked bytes, time
//! and refusals in a row are bounded (`limits`); what ends the reading is the answer of the line that was not read.

use std::convert::Infallible;
use std::pin::Pin;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use tokio::time::{Sleep, sleep};

use super::super::RequestId;
use super::super::extract::parse_json;
use super::super::limits::{BODY_SILENCE_MAX, LINES_BYTES_MAX, LINES_MAX, LINES_REFUSED_IN_A_ROW_MAX, LINES_TIME_MAX};
use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::usage::{USAGE_ITEMS_MAX, UsageItemAnswer, command, post_items};
use crate::domain::access::{Action as Access, Caller, may};
use crate::domain::id::IdempotencyKey;
use crate::domain::ledger::command::Command;
use crate::ingest::lines::{LINE_BYTES_MAX, Line, Lines};

/// Lines that are posted together: one batch of the lane.
const LINES_PER_CHUNK: usize = 512;
/// Lines whose answers are held until the body ends: as many as any other request may have items.
pub(super) const ANSWERS_HELD_MAX: usize = USAGE_ITEMS_MAX;

/// A request that is being read.
struct Intake {
    state: HttpState,
    instance: RequestId,
    caller: Caller,
    token: String,
    key: Option<IdempotencyKey>,
    body: Pin<Box<BodyDataStream>>,
    /// When the time for all of it is over.
    over: Pin<Box<Sleep>>,
    lines: Lines,
    /// The index of the next line.
    next: usize,
    /// How many bytes were read, unpacked.
    bytes: usize,
    /// How many of the last lines were refused, without one in between that was not.
    refused: usize,
    /// Whether all of the body was read.
    read: bool,
    /// Whether all of it was answered.
    ended: bool,
}

/// The answer: a line for each line.
pub(super) fn respond(
    state: HttpState,
    instance: RequestId,
    (caller, token): (Caller, String),
    key: Option<IdempotencyKey>,
    body: Body,
) -> Response {
    let body = Box::pin(body.into_data_stream());
    let intake = Intake {
        state,
        instance,
        caller,
        token,
        key,
        body,
        over: Box::pin(sleep(LINES_TIME_MAX)),
        lines: Lines::default(),
        next: 0,
        bytes: 0,
        refused: 0,
        read: false,
        ended: false,
    };
    let answers = stream::unfold(intake, |mut intake| async {
        let answers = intake.answers().await?;
        Some((Ok::<_, Infallible>(answers), intake))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(answers)).into_response()
}

impl Intake {
    /// The next answers that may be sent, or none after the last.
    async fn answers(&mut self) -> Option<Bytes> {
        let mut held = Vec::new();
        while !self.ended {
            let mut broken = self.fill().await.err();
            match self.still_may() {
                Ok(()) => {
                    let answers = self.post_chunk().await;
                    write_lines(&mut held, &answers);
                    broken = broken.or_else(|| self.beyond(&answers));
                }
                Err(problem) => broken = Some(problem),
            }
            if let Some(problem) = broken {
                // What came before is posted; nothing after it can be read.
                self.ended = true;
                write_lines(&mut held, &[UsageItemAnswer::refused(self.next, &problem, &self.instance)]);
            }
            if self.next >= ANSWERS_HELD_MAX && !held.is_empty() {
                break;
            }
        }
        (!held.is_empty()).then(|| held.into())
    }

    /// Reads until there is a chunk of lines, or no more.
    async fn fill(&mut self) -> Result<(), Problem> {
        while !self.read && self.lines.ready() < LINES_PER_CHUNK {
            let next = tokio::select! {
                biased;
                () = &mut self.over => {
                    let detail = format!("the body was read for {} s: send the rest in another request", LINES_TIME_MAX.as_secs());
                    return Err(Problem::with_detail(ProblemCode::Timeout, detail));
                }
                next = tokio::time::timeout(BODY_SILENCE_MAX, self.body.next()) => next,
            };
            match next {
                Ok(Some(Ok(bytes))) => {
                    self.bytes = self.bytes.saturating_add(bytes.len());
                    if self.bytes > LINES_BYTES_MAX {
                        return Err(too_large(format_args!("{LINES_BYTES_MAX} bytes, unpacked")));
                    }
                    self.lines.push(&bytes);
                }
                Ok(Some(Err(error))) => {
                    return Err(Problem::with_detail(ProblemCode::InvalidJson, format!("the body broke off: {error}")));
                }
                Ok(None) => {
                    self.lines.finish();
                    self.read = true;
                }
                Err(elapsed) => return Err(Problem::with_detail(ProblemCode::Timeout, elapsed)),
            }
        }
        // One chunk of the network may have held more lines than one of ours.
        self.ended = self.read && self.lines.ready() <= LINES_PER_CHUNK;
        Ok(())
    }

    /// Whether the token is still good, and its key still trusted.
    fn still_may(&self) -> Result<(), Problem> {
        let caller = self.state.app.verifier.verify(&self.token, self.state.app.clock.now())?;
        Ok(may(&caller, Access::PostUsage, caller.tenant.as_ref())?)
    }

    /// Why no more is read after these answers.
    fn beyond(&mut self, answers: &[UsageItemAnswer]) -> Option<Problem> {
        for answer in answers {
            self.refused = if answer.is_refused() { self.refused.saturating_add(1) } else { 0 };
        }
        let more = !(self.read && self.lines.ready() == 0);
        if more && self.refused >= LINES_REFUSED_IN_A_ROW_MAX {
            let detail = format!("the {} lines before were refused, so that the rest is not read", self.refused);
            return Some(Problem::with_detail(ProblemCode::InvalidRequest, detail));
        }
        (more && self.next >= LINES_MAX).then(|| too_large(format_args!("{LINES_MAX} lines")))
    }

    /// Posts the lines at hand, a chunk at most.
    async fn post_chunk(&mut self) -> Vec<UsageItemAnswer> {
        let first = self.next;
        let lines: Vec<Line> = self.lines.by_ref().take(LINES_PER_CHUNK).collect();
        self.next = first.saturating_add(lines.len());
        let commands: Vec<_> = lines
            .into_iter()
            .enumerate()
            .map(|(place, line)| self.command(first.saturating_add(place), line))
            .collect();
        let count = commands.len();
        match post_items(&self.state, &self.caller, &self.instance, first, commands).await {
            Ok(answers) => answers,
            // None of them was answered: whether they had an effect is not known. Sent again with their keys they are one.
            Err(problem) => {
                let refused = |place| UsageItemAnswer::refused(first.saturating_add(place), &problem, &self.instance);
                (0..count).map(refused).collect()
            }
        }
    }

    fn command(&self, index: usize, line: Line) -> Result<Command, Problem> {
        match line {
            Line::Text(text) => {
                let key = self.key.as_ref().map(|key| key.item(index));
                command(&self.caller, key, &parse_json(&text)?)
            }
            Line::TooLong => {
                let detail = format!("the line is longer than {LINE_BYTES_MAX} bytes");
                Err(Problem::with_detail(ProblemCode::PayloadTooLarge, detail))
            }
        }
    }
}

fn too_large(what: std::fmt::Arguments<'_>) -> Problem {
    let detail = format!("the body has more than {what}: send the rest, from this line on, in another request");
    Problem::with_detail(ProblemCode::PayloadTooLarge, detail)
}

fn write_lines(out: &mut Vec<u8>, answers: &[UsageItemAnswer]) {
    for answer in answers {
        // An answer that was just made can be written.
        if let Ok(text) = serde_json::to_vec(answer) {
            out.extend_from_slice(&text);
            out.push(b'\n');
        }
    }
}
