//! Bytes as they arrive → lines, with a bound on each: what a body needs of memory is one line and one chunk.
//!
//! Newline-delimited JSON: a line ends with LF, a CR before it is white space, blank lines are nothing, and the last line
//! may end with the body.

use std::collections::VecDeque;

/// Longest line, in bytes. A call with its labels and its provider's usage object has about one thousand.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Its bytes, without its end.
    Text(Vec<u8>),
    /// It was longer than [`LINE_BYTES_MAX`], and is dropped.
    TooLong,
}

/// Cuts chunks into lines.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// Whether the line under way is too long already: the rest of it is dropped.
    dropping: bool,
    whole: VecDeque<Line>,
}

impl Lines {
    /// Takes the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            self.extend(line);
            self.end_line();
            rest = after.get(1..).unwrap_or_default();
        }
        self.extend(rest);
    }

    /// The body has ended, and so the last line.
    pub fn finish(&mut self) {
        self.end_line();
    }

    /// How many lines are whole and were not taken yet.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.whole.len()
    }

    fn extend(&mut self, part: &[u8]) {
        if self.dropping || self.begun.len().saturating_add(part.len()) > LINE_BYTES_MAX {
            self.dropping = true;
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.begun);
        if std::mem::take(&mut self.dropping) {
            self.whole.push_back(Line::TooLong);
        } else if !line.iter().all(u8::is_ascii_whitespace) {
            self.whole.push_back(Line::Text(line));
        }
    }
}

impl Iterator for Lines {
    type Item = Line;

    /// The next whole line there is now; more may come with the next chunk.
    fn next(&mut self) -> Option<Line> {
        self.whole.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::default();
        chunks.iter().for_each(|chunk| lines.push(chunk));
        lines.finish();
        lines.collect()
    }

    fn text(line: &str) -> Line {
        Line::Text(line.as_bytes().to_vec())
    }

    #[test]
    fn lines_end_where_they_end_and_not_where_chunks_do() {
        let wanted = vec![text("{\"a\":1}"), text("{\"b\":2}\r"), text("{\"c\":3}")];
        assert_eq!(lines(&[b"{\"a\":1}\n{\"b\":2}\r\n\n  \n{\"c\":3}"]), wanted);
        assert_eq!(lines(&[b"{\"a\"", b":1}\n{\"b\":2}\r", b"\n\n  ", b"\n{\"c\":3}"]), wanted);
        assert_eq!(lines(&[]), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_dropped_and_the_next_is_read() {
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert_eq!(lines(&[b"a\n", &long, &long, b"\nb"]), [text("a"), Line::TooLong, text("b")]);
        let fits = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(lines(&[&fits]), [Line::Text(fits.clone())]);
    }

    proptest! {
        #[test]
        fn how_a_body_is_cut_into_chunks_does_not_matter(body in "[ab\n\r ]{0,80}", cut in 1_usize..20) {
            let chunks: Vec<&[u8]> = body.as_bytes().chunks(cut).collect();
            prop_assert_eq!(lines(&chunks), lines(&[body.as_bytes()]));
        }
    }
}
