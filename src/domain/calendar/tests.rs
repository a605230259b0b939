//! The calendar's claims.

use super::*;

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).unwrap()
}

#[test]
fn a_month_turns_at_the_zones_midnight() {
    let period = PeriodSpec::MONTH.holding(zone("Asia/Tokyo"), instant("2026-11-21T10:02:00Z")).unwrap();
    assert_eq!(period.start, instant("2026-10-31T15:00:00Z"));
    assert_eq!(period.end, Some(instant("2026-11-30T15:00:00Z")));
}
