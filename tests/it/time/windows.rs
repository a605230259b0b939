//! Sliding windows, to the last token.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::*;
use crate::support::audit::{assert_none, findings};
use crate::support::story::{acme, budget, on};

fn minute() -> Value {
    json!({"period": {"kind": "sliding", "seconds": 60}})
}

/// `acme`, with a limit of 1,000 tokens in a minute.
async fn world() -> TestService {
    let service = TestService::start().await;
    acme(&service).await;
    budget(&service, "m", "tokens", "1000", minute()).await;
    service
}

#[tokio::test]
async fn a_question_makes_no_row_and_a_grant_makes_one() {
    let service = world().await;
    preflight(&service, ask(9, 1, json!({"reserve": false}))).await;
    assert_eq!((rows(&service, "counters").await, rows(&service, "windows").await), (0, 0));
    assert_eq!(verdict(&service, 10).await, "allow");
    assert_eq!((rows(&service, "counters").await, rows(&service, "windows").await), (1, 1));
    assert_eq!(verdict(&service, 991).await, "wait");
    service.advance(TimeDelta::seconds(5));
    assert_eq!(verdict(&service, 991).await, "wait", "nothing counts in this slice");
    assert_eq!(rows(&service, "counters").await, 1);
    assert_eq!(verdict(&service, 990).await, "allow", "to the last token");
    assert_eq!((rows(&service, "counters").await, rows(&service, "windows").await), (2, 1));
    assert_none(&findings(service.db.pool()).await);
    assert_verified(&service).await;
}

#[tokio::test]
async fn usage_that_says_it_is_ahead_of_time_counts_at_once() {
    let service = world().await;
    post(&service, 900, service.now() + TimeDelta::seconds(200)).await;
    assert_eq!(verdict(&service, 101).await, "stop", "it leaves the window in more than two minutes");
    assert_eq!(stands(&service, "m", "posted").await, "900");
    assert_eq!(verdict(&service, 100).await, "allow");
    service.advance(TimeDelta::seconds(259));
    assert_eq!(verdict(&service, 101).await, "wait");
    assert_verified(&service).await;
}

#[tokio::test]
async fn a_budget_that_is_made_remade_or_reshaped_knows_what_its_window_has_used() {
    let service = TestService::start().await;
    acme(&service).await;
    post(&service, 900, service.now()).await;
    service.advance(TimeDelta::seconds(30));
    budget(&service, "m", "tokens", "1000", minute()).await;
    let check = async |what: &str| {
        assert_eq!(stands(&service, "m", "posted").await, "900", "{what}");
        let asked = preflight(&service, ask(101, 1, json!({"reserve": false}))).await;
        assert_eq!(asked["verdict"], "wait", "{what}: {asked:#}");
        assert_verified(&service).await;
    };
    check("made").await;
    for (what, more) in [
        ("another measure", json!({"measure": {"input": 1, "output": 1}})),
        ("and back", json!({})),
        ("another scope", json!({"scope": {"tenant": "acme", "feature": "chat"}})),
        ("another clock", json!({"timezone": "Asia/Tokyo"})),
        ("another length", json!({"period": {"kind": "sliding", "seconds": 120}})),
    ] {
        let mut shape = minute();
        for (field, value) in more.as_object().unwrap() {
            shape[field] = value.clone();
        }
        budget(&service, "m", "tokens", "1000", shape).await;
        check(what).await;
    }
    service.call("DELETE", "/v1/budgets/m", Value::Null).await.ok();
    service.advance(TimeDelta::seconds(5));
    budget(&service, "m", "tokens", "1000", minute()).await;
    check("archived and remade").await;
}

#[tokio::test]
async fn more_output_counts_in_the_window_in_which_it_is_asked() {
    let service = world().await;
    let held = preflight(&service, ask(99, 1, json!({"ttl_seconds": 600}))).await;
    let path = on(held["reservation"].as_str().unwrap(), "extend");
    let extend = async |more: u64| {
        service.call("POST", &path, json!({"more_output": more, "ttl_seconds": 600})).await.ok()["verdict"].clone()
    };
    service.advance(TimeDelta::seconds(65));
    assert_eq!(extend(900).await, "allow");
    assert_eq!(stands(&service, "m", "held").await, "1000");
    assert_eq!(verdict(&service, 1).await, "wait", "it is full for a minute from now");
    let look = path.trim_end_matches("/extend");
    let reservation = service.call("GET", look, Value::Null).await.ok();
    assert_eq!(reservation["held_at"], "2026-06-10T12:01:05Z", "{reservation:#}");
    assert_eq!(reservation["granted_at"], "2026-06-10T12:00:00Z");
    service.advance(TimeDelta::seconds(70));
    assert_eq!(extend(0).await, "allow", "time alone is never weighed");
    assert_eq!(verdict(&service, 1000).await, "allow");
    assert_none(&findings(service.db.pool()).await);
    let settled = service.call("POST", &look.replace("extend", ""), Value::Null).await;
    assert_ne!(settled.status, 200);
    let settle = json!({"usage": {"input": 99, "output": 800}});
    service.call("POST", &format!("{look}/settle"), settle).await.ok();
    assert_verified(&service).await;
}

#[tokio::test]
async fn slices_that_left_their_window_are_forgotten_and_the_books_stay_clean() {
    let service = world().await;
    budget(&service, "h", "tokens", "100000", json!({"period": {"kind": "sliding", "seconds": 3600}})).await;
    let long = preflight(&service, ask(49, 1, json!({"ttl_seconds": 86_400}))).await;
    for _ in 0..50 {
        post(&service, 10, service.now()).await;
        service.advance(TimeDelta::seconds(100));
    }
    let (of_minute, of_hour) = (
        async |id: &str| -> i64 {
            let count = "select count(*) from counters join budgets on number = budget where id = $1";
            sqlx::query_scalar(count).bind(id).fetch_one(service.db.pool()).await.unwrap()
        },
        46,
    );
    assert_eq!(of_minute("m").await, 50);
    service.tidy().await;
    // The minute, five minutes more, and the slice that both end in.
    assert!(of_minute("m").await <= 5, "{}", of_minute("m").await);
    assert!(of_minute("h").await >= 36 && of_minute("h").await <= of_hour, "{}", of_minute("h").await);
    assert_verified(&service).await;
    let before = stands(&service, "h", "posted").await;
    // What belongs to a slice that is gone is written, and counts nowhere but in the journal.
    let path = on(long["reservation"].as_str().unwrap(), "settle");
    service.call("POST", &path, json!({"usage": {"input": 30}})).await.ok();
    post(&service, 7, service.now() - TimeDelta::hours(2)).await;
    assert_eq!(stands(&service, "h", "posted").await, before);
    assert_verified(&service).await;
    service.advance(TimeDelta::days(1));
    post(&service, 1, service.now()).await;
    service.tidy().await;
    assert_eq!((of_minute("m").await, of_minute("h").await), (1, 1));
    budget(&service, "h", "requests", "100000", json!({"period": {"kind": "sliding", "seconds": 3600}})).await;
    assert_verified(&service).await;
    // The window's own row goes with its last slice, and comes back when it is needed.
    service.advance(TimeDelta::days(1));
    budget(&service, "h", "tokens", "5", json!({"scope": {"tenant": "acme", "feature": "other"}})).await;
    post(&service, 1, service.now() - TimeDelta::hours(5)).await;
    service.tidy().await;
    assert_eq!(rows(&service, "windows").await, 0);
    assert_eq!(verdict(&service, 1000).await, "allow");
    assert_eq!(verdict(&service, 1).await, "wait");
    assert_verified(&service).await;
}
