//! Against periods that Python's zoneinfo found by walking forward through UTC: `tests/data/calendar_oracle.py`.

use super::*;

const CASES: &str = include_str!("../../../../tests/data/calendar_cases.csv");

#[test]
fn every_period_is_the_one_another_implementation_finds() {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(CASES.as_bytes());
    let mut failures = Vec::new();
    let mut count = 0;
    for row in reader.records() {
        let row = row.unwrap();
        let [zone_name, period, at, start, end, why] = [0, 1, 2, 3, 4, 5].map(|column| row.get(column).unwrap());
        let found = spec(period).holding(zone(zone_name), instant(at)).unwrap();
        let expected = Period { start: instant(start), end: (!end.is_empty()).then(|| instant(end)) };
        if found != expected {
            failures.push(format!("{zone_name} {period} at {at} ({why}): {found:?}, not {expected:?}"));
        }
        count += 1;
    }
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(count >= 400, "only {count} cases");
}
