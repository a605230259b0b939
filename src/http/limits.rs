//! Every bound of the HTTP layer, in one place.

use std::time::Duration;

/// Longest request body, in bytes. A preflight has about 500; a batch of a thousand about 500 KiB.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest body of a route that takes many items at once, in bytes: 10,000 items of 1 KiB, and room. Such a route says so
/// with `DefaultBodyLimit::max`.
pub const BULK_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest body that is parsed where its request is served, in bytes. A longer one is parsed aside, one at a time.
pub const PARSE_AT_ONCE_BYTES_MAX: usize = 256 * 1024;
/// Most lines of one body of lines. More go into another request.
pub const LINES_MAX: usize = 1_000_000;
/// Most bytes of one body of lines, unpacked.
pub const LINES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Longest time that one body of lines is read for.
pub const LINES_TIME_MAX: Duration = Duration::from_secs(900);
/// Most lines in a row that may be refused before the rest of a body of lines is not read: it is of another kind.
pub const LINES_REFUSED_IN_A_ROW_MAX: usize = 1_000;
/// Longest silence of a caller in the middle of a body that is read as it comes.
pub const BODY_SILENCE_MAX: Duration = Duration::from_secs(30);
/// Longest time until the head of an answer is ready. A stream may go on after it.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest time that an answer waits for a client that does not read it; then the connection is closed.
pub const ANSWER_STALL_MAX: Duration = Duration::from_secs(60);
/// Longest time that the rest of a body is still taken, and thrown away, after an answer that did not need it: a connection
/// that is closed over unread bytes is reset, and the client may lose the answer.
pub const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// Most bytes of such a rest.
pub const LINGER_BYTES_MAX: usize = BULK_BODY_BYTES_MAX;
/// Longest `x-request-id` that is taken over from the caller, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Most entries in `errors` of a problem.
pub const FIELD_ERRORS_MAX: usize = 100;
/// Longest text we repeat back from a request, in characters.
pub const ECHO_CHARS_MAX: usize = 300;
/// Shortest answer that is worth compressing, in bytes. A verdict is not: it would cost more time than it saves.
pub const COMPRESS_BYTES_MIN: u64 = 8 * 1024;
/// What a caller is told to wait when the store is away, in seconds.
pub const STORE_RETRY_AFTER_S: u32 = 2;
/// What `Retry-After` says while a change is counted that goes on.
pub const STILL_COUNTING_RETRY_AFTER_S: u32 = 5;
/// Longest piece of a file that is handed on at once, in bytes: compressing a longer one would hold up other requests.
pub const EXPORT_PIECE_BYTES_MAX: usize = 64 * 1024;
