//! Usage as lines: read, posted and answered as it comes, so that memory does not grow with the body.
//!
//! | # | beat | what |
//! |---|---|---|
//! | 1 | read | lines, until a chunk is full ([`LINES_PER_CHUNK`]) or the body ends |
//! | 2 | post | the chunk, through the lane |
//! | 3 | hold | the answers of the first [`ANSWERS_HELD_MAX`] lines until the body ends: a caller that writes all before it reads any would otherwise wait for a service that waits for it |
//! | 4 | send | beyond that, each chunk's answers as soon as they are there |

use std::convert::Infallible;
use std::pin::Pin;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};

use super::super::RequestId;
use super::super::extract::parse_json;
use super::super::limits::BODY_SILENCE_MAX;
use super::super::problem::{Problem, ProblemCode};
use super::super::state::HttpState;
use super::item_key;
use super::usage::{USAGE_ITEMS_MAX, UsageItemAnswer, command, post_items};
use crate::domain::access::Caller;
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
    key: Option<IdempotencyKey>,
    body: Pin<Box<BodyDataStream>>,
    lines: Lines,
    /// The index of the next line.
    next: usize,
    /// Whether all of the body was read.
    read: bool,
    /// Whether all of it was answered.
    ended: bool,
}

/// The answer: a line for each line.
pub(super) fn respond(
    state: HttpState,
    instance: RequestId,
    caller: Caller,
    key: Option<IdempotencyKey>,
    body: Body,
) -> Response {
    let body = Box::pin(body.into_data_stream());
    let intake =
        Intake { state, instance, caller, key, body, lines: Lines::default(), next: 0, read: false, ended: false };
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
            let broken = self.fill().await.err();
            let answers = self.post_chunk().await;
            write_lines(&mut held, &answers);
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
            match tokio::time::timeout(BODY_SILENCE_MAX, self.body.next()).await {
                Ok(Some(Ok(bytes))) => self.lines.push(&bytes),
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
        match post_items(&self.state, &self.instance, first, commands).await {
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
            Line::Text(text) => command(&self.caller, item_key(self.key.as_ref(), index)?, &parse_json(&text)?),
            Line::TooLong => {
                let detail = format!("the line is longer than {LINE_BYTES_MAX} bytes");
                Err(Problem::with_detail(ProblemCode::PayloadTooLarge, detail))
            }
        }
    }
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
