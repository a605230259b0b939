//! How far the replay is: a bar on a terminal, a line now and then elsewhere. On stderr, so that stdout holds only the result.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line is written this many times where there is no terminal.
const LINES: u64 = 4;

/// How far it is. Cheap to clone.
#[derive(Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
    plain: bool,
}

/// A line on stderr. Nobody can be told when that fails.
pub(super) fn note(line: &str) {
    let _nobody_listens = writeln!(std::io::stderr(), "{line}");
}

impl Progress {
    /// Of so many calls.
    pub(super) fn start(calls: u64) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(calls), target);
        let template = "replaying {bar:44.cyan/blue} {human_pos} of {human_len} calls, {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, plain }
    }

    /// So many calls more.
    pub(super) fn advance(&self, calls: u64) {
        let before = self.bar.position();
        self.bar.inc(calls);
        let of = self.bar.length().unwrap_or(0);
        let mark = |at: u64| (at * LINES).checked_div(of);
        if self.plain && mark(before) != mark(before + calls) {
            note(&format!("replayed {} of {of} calls", before + calls));
        }
    }

    /// The end.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
