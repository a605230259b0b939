//! The calendar's claims: against another implementation, against its own definition, and that periods tile.
#![expect(clippy::arithmetic_side_effects, reason = "test arithmetic is on small, known numbers")]

mod oracle;
mod rules;
mod tiling;
mod zones;

use chrono::{NaiveDate, TimeDelta, Weekday};

use super::*;

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).unwrap()
}

fn date(text: &str) -> AnchorDate {
    AnchorDate::new(text.parse::<NaiveDate>().unwrap()).unwrap()
}

/// Reads a spec as the tables write it: `months every=3 anchor_date=2025-11-30 at=09:00`.
fn spec(text: &str) -> PeriodSpec {
    let mut words = text.split(' ');
    let kind = words.next().unwrap();
    let words: Vec<(&str, &str)> = words.map(|word| word.split_once('=').unwrap()).collect();
    let find = |name: &str| words.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let at = find("at").map_or(TimeOfDay::MIDNIGHT, |at| TimeOfDay::parse(at).unwrap());
    let seconds = || Seconds::new(find("seconds").unwrap().parse().unwrap()).unwrap();
    match kind {
        "hour" => PeriodSpec::Hour,
        "day" => PeriodSpec::Day { at },
        "week" => PeriodSpec::Week { week_start: find("week_start").unwrap().parse::<Weekday>().unwrap(), at },
        "month" => {
            let anchor_day = AnchorDay::new(find("anchor_day").unwrap().parse().unwrap()).unwrap();
            PeriodSpec::Month { anchor_day, at }
        }
        "months" => {
            let every = MonthCount::new(find("every").unwrap().parse().unwrap()).unwrap();
            PeriodSpec::Months { every, anchor_date: date(find("anchor_date").unwrap()), at }
        }
        "quarter" => PeriodSpec::Quarter,
        "year" => PeriodSpec::Year { anchor_date: find("anchor_date").map(date) },
        "fixed" => {
            let anchor_instant = AnchorInstant::new(instant(find("anchor_instant").unwrap())).unwrap();
            PeriodSpec::Fixed { seconds: seconds(), anchor_instant }
        }
        "sliding" => PeriodSpec::Sliding { seconds: seconds() },
        "once" => PeriodSpec::Once,
        _ => panic!("no such kind: {kind}"),
    }
}
