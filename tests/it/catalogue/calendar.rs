//! `POST /v1/calendar/period`.

use serde_json::{Map, Value, json};

use super::tenant;
use crate::support::service::TestService;

/// The period of a row of the oracle: `month anchor_day=31 at=09:00`.
fn period(text: &str) -> Value {
    let mut words = text.split(' ');
    let mut body = Map::from_iter([("kind".to_owned(), json!(words.next()))]);
    for word in words {
        let (key, value) = word.split_once('=').expect("a key and its value");
        let value = value.parse::<u32>().map_or_else(|_| json!(value), |number| json!(number));
        body.insert(key.to_owned(), value);
    }
    Value::Object(body)
}

#[tokio::test]
async fn periods_agree_with_the_oracle_of_another_implementation() {
    let service = TestService::start().await;
    let cases = include_str!("../../data/calendar_cases.csv");
    // Every 37th row: all kinds of period, both directions of the clocks.
    let rows = cases.lines().skip(2).step_by(37);
    let mut checked = 0;
    for row in rows {
        let [zone, spec, at, start, end, ..] = row.split(',').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let question = json!({"zone": zone, "period": period(spec), "at": at});
        let answer = service.call("POST", "/v1/calendar/period", question).await.ok();
        let sliding = spec.starts_with("sliding");
        if !sliding && spec != "once" {
            assert_eq!((&answer["start"], &answer["end"]), (&json!(start), &json!(end)), "{row}");
        }
        checked += 1;
    }
    assert!(checked >= 40, "{checked}");
}

#[tokio::test]
async fn a_period_says_its_boundaries_on_both_clocks() {
    let service = TestService::start().await;
    let of = async |body: Value| service.call("POST", "/v1/calendar/period", body).await.ok();
    let day = of(json!({"zone": "Europe/Berlin", "period": {"kind": "day"}, "at": "2026-03-29T10:00:00Z"})).await;
    let tzdb = day["tzdb"].clone();
    assert_eq!(
        day,
        json!({
            "start": "2026-03-28T23:00:00Z", "end": "2026-03-29T22:00:00Z", "seconds": 82800,
            "start_local": "2026-03-29T00:00:00+01:00", "end_local": "2026-03-30T00:00:00+02:00", "tzdb": tzdb
        })
    );
    let boundary = of(json!({"zone": "Asia/Tokyo", "period": {"kind": "month"}, "at": "2026-11-30T15:00:00Z"})).await;
    assert_eq!(boundary["start"], "2026-11-30T15:00:00Z", "a boundary belongs to the new period");
    let once = of(json!({"zone": "Asia/Tokyo", "period": {"kind": "once"}})).await;
    assert_eq!((&once["end"], &once["seconds"]), (&Value::Null, &Value::Null));
    let now = of(json!({"zone": "Asia/Kathmandu", "period": {"kind": "hour"}})).await;
    assert_eq!(now["start"], "2026-06-10T11:15:00Z", "hours from local midnight, at the service's own instant");
    let sliding = of(json!({"zone": "Etc/UTC", "period": {"kind": "sliding", "seconds": 600}})).await;
    assert_eq!(sliding["seconds"], 610, "the slices that are counted: sixty, and the one that is open");
}

#[tokio::test]
async fn a_wrong_question_is_refused_by_field() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    for (body, code, field) in [
        (json!({"zone": "Tokyo", "period": {"kind": "day"}}), "unknown_zone", "zone"),
        (json!({"zone": "tenant", "period": {"kind": "day"}}), "unknown_zone", "zone"),
        (json!({"zone": "Asia/Tokyo", "period": {"kind": "fortnight"}}), "invalid_request", "period.kind"),
        (
            json!({"zone": "Asia/Tokyo", "period": {"kind": "month", "anchor_day": 0}}),
            "invalid_request",
            "period.anchor_day",
        ),
        (
            json!({"zone": "Asia/Tokyo", "period": {"kind": "day"}, "at": "1899-12-31T23:59:59Z"}),
            "invalid_request",
            "at",
        ),
        (
            json!({"zone": "Asia/Tokyo", "period": {"kind": "day"}, "at": "2200-01-01T00:00:00Z"}),
            "invalid_request",
            "at",
        ),
        (json!({"zone": "Asia/Tokyo", "period": {"kind": "day"}, "at": "yesterday"}), "invalid_request", "at"),
        (json!({"zone": "Asia/Tokyo", "period": {"kind": "day"}, "on": 1}), "invalid_request", "on"),
        (json!({"zone": "Asia/Tokyo"}), "invalid_request", "period"),
    ] {
        let refused = service.call("POST", "/v1/calendar/period", body.clone()).await;
        assert_eq!(refused.problem(), (422, code), "{body}");
        assert_eq!(refused.body["errors"][0]["field"], field, "{body}");
    }
}
