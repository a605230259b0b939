//! Tables for people: how numbers, spans of time and shares are written, with and without a terminal.
//!
//! On a terminal lines and bars are drawn and coloured; into a file, a pipe, or with `NO_COLOR`, everything is ASCII.

use std::io::IsTerminal;

use chrono::TimeDelta;
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table};
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::config::Environment;

/// Cells of a bar.
pub const BAR_CELLS: u32 = 20;

/// Whether there is somebody to draw for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Letters and ASCII signs only.
    Plain,
    /// Lines, blocks and colours.
    Drawn,
}

/// How a part of a table is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Gone.
    Bad,
    /// Beside the point.
    Quiet,
}

impl Look {
    /// For what is written to stdout.
    #[must_use]
    pub fn of_stdout(environment: &Environment) -> Self {
        if environment.no_color || !std::io::stdout().is_terminal() { Self::Plain } else { Self::Drawn }
    }

    /// A table with a line under its header; columns named with a leading `>` are right-aligned.
    #[must_use]
    pub fn table(self, columns: &[&str]) -> Table {
        let mut table = Table::new();
        match self {
            Self::Plain => table.load_preset("     --            ").force_no_tty(),
            Self::Drawn => table.load_preset("     ──            ").enforce_styling(),
        };
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|name| self.toned(name.trim_start_matches('>'), Tone::Quiet)));
        for (index, name) in columns.iter().enumerate() {
            if let Some(column) = table.column_mut(index).filter(|_| name.starts_with('>')) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// A cell in a tone.
    pub fn toned(self, text: impl ToString, tone: Tone) -> Cell {
        let cell = Cell::new(text);
        match (self, tone) {
            (Self::Plain, _) => cell,
            (Self::Drawn, Tone::Good) => cell.fg(Color::Green),
            (Self::Drawn, Tone::Warning) => cell.fg(Color::Yellow),
            (Self::Drawn, Tone::Bad) => cell.fg(Color::Red),
            (Self::Drawn, Tone::Quiet) => cell.fg(Color::DarkGrey),
        }
    }

    /// A headline above a table.
    #[must_use]
    pub fn headline(self, text: &str) -> String {
        match self {
            Self::Plain => format!("{text}\n{}", "=".repeat(text.chars().count())),
            Self::Drawn => format!("\u{1b}[1m{text}\u{1b}[0m"),
        }
    }

    /// A bar of what is used, what is held, and what is left of a limit.
    #[must_use]
    pub fn bar(self, used: Decimal, held: Decimal, limit: Decimal) -> String {
        let (used, held) = bar_cells(used, held, limit);
        let left = BAR_CELLS - used - held;
        let draw = |sign: &str, cells: u32| sign.repeat(usize::try_from(cells).unwrap_or(0));
        match self {
            Self::Plain => format!("[{}{}{}]", draw("#", used), draw("+", held), draw(".", left)),
            Self::Drawn => format!("{}{}{}", draw("█", used), draw("▒", held), draw("░", left)),
        }
    }
}

/// Whole cells of a bar. What is not nothing is seen, and a limit that is not reached leaves a cell free.
fn bar_cells(used: Decimal, held: Decimal, limit: Decimal) -> (u32, u32) {
    let cells = |amount: Decimal| {
        let share = amount.max(Decimal::ZERO).checked_div(limit).unwrap_or(Decimal::ONE).min(Decimal::ONE);
        let exact = share * Decimal::from(BAR_CELLS);
        let cells = exact.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero).to_u32().unwrap_or(0);
        if share.is_zero() { 0 } else { cells.max(1) }
    };
    let taken = used.saturating_add(held);
    let room = if taken >= limit { BAR_CELLS } else { BAR_CELLS - 1 };
    let taken_cells = cells(taken).min(room);
    let used_cells = cells(used).min(taken_cells);
    let held_cells = if held > Decimal::ZERO { (taken_cells - used_cells).max(1) } else { 0 };
    (used_cells.min(room - held_cells), held_cells)
}

/// `12,345`.
#[must_use]
pub fn count(number: impl Into<Decimal>) -> String {
    fixed(number.into(), 0)
}

/// With so many places, rounded half to even, and its thousands apart.
#[must_use]
pub fn fixed(number: Decimal, places: u32) -> String {
    let rounded = number.round_dp_with_strategy(places, RoundingStrategy::MidpointNearestEven);
    let text = format!("{:.*}", usize::try_from(places).unwrap_or(0), rounded.abs());
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if rounded.is_sign_negative() && !rounded.is_zero() { "-" } else { "" };
    match fraction {
        Some(fraction) => format!("{sign}{grouped}.{fraction}"),
        None => format!("{sign}{grouped}"),
    }
}

/// `$1.2345`.
#[must_use]
pub fn dollars(usd: Decimal) -> String {
    let text = fixed(usd.abs(), 4);
    if usd.is_sign_negative() && !usd.is_zero() { format!("-${text}") } else { format!("${text}") }
}

/// `12.3 g`.
#[must_use]
pub fn grams(gco2e: Decimal) -> String {
    format!("{} g", fixed(gco2e, 1))
}

/// An amount of a budget, by the name of its measure.
#[must_use]
pub fn amount(measure: &str, amount: Decimal) -> String {
    match measure {
        "usd" => dollars(amount),
        "gco2e" | "gco2e_market" => grams(amount),
        _ => count(amount),
    }
}

/// `63%`; never 0% of something, nor 100% of what is not all.
#[must_use]
pub fn percent(part: Decimal, whole: Decimal) -> String {
    let Some(share) = part.saturating_mul(Decimal::ONE_HUNDRED).checked_div(whole) else { return "-".to_owned() };
    let rounded = share.round_dp_with_strategy(0, RoundingStrategy::MidpointNearestEven);
    if rounded.is_zero() && !share.is_zero() {
        "<1%".to_owned()
    } else if rounded == Decimal::ONE_HUNDRED && share < Decimal::ONE_HUNDRED {
        ">99%".to_owned()
    } else {
        format!("{}%", count(rounded))
    }
}

/// `9 d 3 h`, `3 h 5 min`, `5 min`, `12 s`: the two largest units.
#[must_use]
pub fn span(span: TimeDelta) -> String {
    let (days, hours) = (span.num_days(), span.num_hours() % 24);
    let (minutes, seconds) = (span.num_minutes() % 60, span.num_seconds() % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{} s", seconds.max(0)),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(count(0_u64), "0");
        assert_eq!(count(999_u64), "999");
        assert_eq!(count(1_234_567_u64), "1,234,567");
        assert_eq!(fixed(dec!(-1234.565), 2), "-1,234.56");
        assert_eq!(fixed(dec!(-0.001), 2), "0.00");
        assert_eq!(dollars(dec!(1234.5)), "$1,234.5000");
        assert_eq!(dollars(dec!(-0.25)), "-$0.2500");
        assert_eq!(grams(dec!(0.25)), "0.2 g");
        assert_eq!(amount("requests", dec!(1200)), "1,200");
    }

    #[test]
    fn shares_never_claim_more_than_they_know() {
        assert_eq!(percent(dec!(0), dec!(10)), "0%");
        assert_eq!(percent(dec!(0.001), dec!(10)), "<1%");
        assert_eq!(percent(dec!(9.999), dec!(10)), ">99%");
        assert_eq!(percent(dec!(25), dec!(10)), "250%");
        assert_eq!(percent(dec!(1), dec!(0)), "-");
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (61, "1 min"), (3660, "1 h 1 min"), (90_000, "1 d 1 h"), (-5, "0 s")]
        {
            assert_eq!(span(TimeDelta::seconds(seconds)), text);
        }
    }

    #[test]
    fn a_bar_has_always_the_same_length_and_shows_what_is_not_nothing() {
        for (used, held) in
            [(0, 0), (1, 0), (0, 1), (1, 1), (500, 1), (999, 0), (998, 1), (1000, 0), (1, 999), (3000, 5)]
        {
            let bar = Look::Drawn.bar(Decimal::from(used), Decimal::from(held), dec!(1000));
            let cells = |sign: char| bar.chars().filter(|c| *c == sign).count();
            assert_eq!(bar.chars().count(), 20, "{used} {held}");
            assert_eq!(cells('█') > 0, used > 0, "{used} {held}: {bar}");
            assert_eq!(cells('▒') > 0, held > 0, "{used} {held}: {bar}");
            assert_eq!(cells('░') > 0, used + held < 1000, "{used} {held}: {bar}");
        }
        assert_eq!(Look::Plain.bar(dec!(12), dec!(0), dec!(24)), "[##########..........]");
    }
}
