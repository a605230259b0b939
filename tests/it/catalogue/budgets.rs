//! `/v1/budgets`: definition, and how a budget stands now.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{ask, get, monthly, put_budget, spend, tenant, walk};
use crate::support::service::TestService;

#[tokio::test]
async fn a_budget_shows_its_definition_and_how_it_stands() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    put_budget(&service, "acme-usd", monthly("acme", "1")).await;
    let fresh = get(&service, "/v1/budgets/acme-usd").await;
    assert_eq!((&fresh["id"], &fresh["version"], &fresh["limit"]), (&json!("acme-usd"), &json!(1), &json!("1")));
    assert_eq!(fresh["scope"], json!({"tenant": "acme"}));
    assert_eq!(fresh["counters"].as_array().unwrap().len(), 1, "a budget that counted nothing yet stands at zero");

    spend(&service, "acme", None).await;
    let held = service.call("POST", "/v1/preflight", ask("acme")).await.ok();
    assert_eq!(held["verdict"], "allow");
    let now = get(&service, "/v1/budgets/acme-usd").await;
    assert_eq!(
        now["counters"],
        json!([{
            "budget": "acme-usd", "measure": "usd", "limit": "1", "posted": "0.0156", "held": "0.0156",
            "headroom": "0.9688", "overdrawn": false, "period_start": "2026-05-31T15:00:00Z",
            "resets_at": "2026-06-30T15:00:00Z", "resets_at_local": "2026-07-01T00:00:00+09:00",
            "timezone": "Asia/Tokyo", "enforcement": "hard"
        }])
    );
    assert_eq!(now["at"], "2026-06-10T12:00:00Z");

    put_budget(&service, "acme-usd", monthly("acme", "0.01")).await;
    let overdrawn = get(&service, "/v1/budgets/acme-usd").await;
    assert_eq!(overdrawn["counters"][0]["headroom"], "-0.0212");
    assert_eq!((&overdrawn["counters"][0]["overdrawn"], &overdrawn["version"]), (&json!(true), &json!(2)));
    let (versions, _) = walk(&service, "/v1/budgets/acme-usd/versions", 1, "version").await;
    assert_eq!(versions, ["1", "2"]);
}

/// Pain U.
#[tokio::test]
async fn a_hold_whose_time_has_passed_is_not_shown_as_held() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    put_budget(&service, "acme-usd", monthly("acme", "1")).await;
    let mut brief = ask("acme");
    brief["ttl_seconds"] = json!(1);
    service.call("POST", "/v1/preflight", brief).await.ok();
    service.call("POST", "/v1/preflight", ask("acme")).await.ok();
    assert_eq!(get(&service, "/v1/budgets/acme-usd").await["counters"][0]["held"], "0.0312");
    // Whether the sweeper has written it down by now or not, it counts no more.
    service.advance(TimeDelta::milliseconds(1000));
    assert_eq!(get(&service, "/v1/budgets/acme-usd").await["counters"][0]["held"], "0.0156");
}

/// Pain U, with the sweeper out of the way for good: what it would write down stays open in the database.
#[tokio::test]
async fn an_expired_hold_counts_no_more_also_while_nobody_sweeps() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    put_budget(&service, "acme-usd", monthly("acme", "1")).await;
    put_budget(&service, "by-run", json!({
        "scope": {}, "each": "run", "measure": "usd", "limit": "2", "period": {"kind": "once"}, "enforcement": "hard"
    })).await;
    let mut call = ask("acme");
    call["run"] = json!("r-1");
    service.call("POST", "/v1/preflight", call).await.ok();
    // Another session holds the row, so the sweeper of the lane waits; its lock time-out is longer than this test.
    let mut other = service.db.pool().begin().await.unwrap();
    sqlx::query("select 1 from reservations for update").execute(&mut *other).await.unwrap();
    service.advance(TimeDelta::minutes(5));
    assert_eq!(get(&service, "/v1/budgets/acme-usd").await["counters"][0]["held"], "0");
    assert_eq!(get(&service, "/v1/budgets/by-run").await["counters"][0]["held"], "0");
    other.rollback().await.unwrap();
}

#[tokio::test]
async fn counters_of_a_budget_counted_apart_come_by_pages_and_by_key() {
    let service = TestService::start().await;
    for id in ["acme", "bolt"] {
        tenant(&service, id, "Asia/Tokyo").await;
    }
    put_budget(&service, "per-run", json!({
        "scope": {}, "each": "run", "measure": "requests", "limit": "2", "period": {"kind": "once"}, "enforcement": "hard"
    })).await;
    assert_eq!(get(&service, "/v1/budgets/per-run").await["counters"], json!([]));
    for (owner, run) in
        [("acme", "r-1"), ("acme", "r-2"), ("acme", "R-3"), ("bolt", "r-1"), ("bolt", "_r"), ("acme", "r-1")]
    {
        let mut call = ask(owner);
        call["run"] = json!(run);
        service.call("POST", "/v1/preflight", call).await.ok();
    }
    let keys = ["acme/R-3", "acme/r-1", "acme/r-2", "bolt/_r", "bolt/r-1"].map(str::to_owned).to_vec();
    assert_eq!(walk(&service, "/v1/budgets/per-run", 2, "key").await, (keys.clone(), 3));
    assert_eq!(walk(&service, "/v1/budgets/per-run", 5, "key").await, (keys, 1));
    let one = get(&service, "/v1/budgets/per-run?key=acme/r-1").await;
    assert_eq!((one["counters"].as_array().unwrap().len(), &one["counters"][0]["held"]), (1, &json!("2")));
    assert_eq!(one["counters"][0]["resets_at"], Value::Null);
    assert_eq!(get(&service, "/v1/budgets/per-run?key=acme/nobody").await["counters"], json!([]));
}

#[tokio::test]
async fn a_sliding_window_is_the_sum_of_its_slices() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    put_budget(
        &service,
        "burst",
        json!({
            "scope": {"tenant": "acme"}, "measure": "requests", "limit": "10",
            "period": {"kind": "sliding", "seconds": 600}, "enforcement": "hard"
        }),
    )
    .await;
    for _ in 0..3 {
        spend(&service, "acme", None).await;
        service.advance(TimeDelta::seconds(100));
    }
    let posted = async || get(&service, "/v1/budgets/burst").await["counters"][0]["posted"].clone();
    assert_eq!(posted().await, "3");
    service.advance(TimeDelta::seconds(299));
    assert_eq!(posted().await, "3", "599 seconds after the first");
    service.advance(TimeDelta::seconds(12));
    assert_eq!(posted().await, "2", "the first slice has left the window");
    service.advance(TimeDelta::seconds(600));
    assert_eq!(posted().await, "0");
}

/// Pains G, H and I: one budget, every tenant's own midnight, nothing that has to run at one.
#[tokio::test]
async fn a_daily_budget_of_all_tenants_turns_at_each_tenants_own_midnight() {
    // Berlin's clocks went forward that morning: its day has 23 hours.
    let service = TestService::start_at("2026-03-29T12:00:00Z").await;
    let tenants = [
        ("tokyo", "Asia/Tokyo", "2026-03-28T15:00:00Z", "2026-03-29T15:00:00Z", "2026-03-30T00:00:00+09:00"),
        ("berlin", "Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T00:00:00+02:00"),
        ("kathmandu", "Asia/Kathmandu", "2026-03-28T18:15:00Z", "2026-03-29T18:15:00Z", "2026-03-30T00:00:00+05:45"),
        ("sao", "America/Sao_Paulo", "2026-03-29T03:00:00Z", "2026-03-30T03:00:00Z", "2026-03-30T00:00:00-03:00"),
    ];
    for (id, zone, ..) in tenants {
        tenant(&service, id, zone).await;
    }
    put_budget(
        &service,
        "daily",
        json!({
            "scope": {}, "each": "tenant", "measure": "requests", "limit": "5", "period": {"kind": "day"},
            "timezone": "tenant", "enforcement": "hard"
        }),
    )
    .await;
    for (id, ..) in tenants {
        spend(&service, id, None).await;
    }
    let counters = get(&service, "/v1/budgets/daily").await["counters"].clone();
    for (id, zone, start, end, local) in tenants {
        let one = counters.as_array().unwrap().iter().find(|one| one["key"] == id).unwrap_or_else(|| panic!("{id}"));
        assert_eq!(
            (&one["timezone"], &one["period_start"], &one["resets_at"], &one["resets_at_local"], &one["posted"]),
            (&json!(zone), &json!(start), &json!(end), &json!(local), &json!("1")),
            "{id}"
        );
    }
    let keys = async || walk(&service, "/v1/budgets/daily", 10, "key").await.0;
    for (until, left) in [
        ("2026-03-29T14:59:59.999999Z", vec!["berlin", "kathmandu", "sao", "tokyo"]),
        ("2026-03-29T15:00:00Z", vec!["berlin", "kathmandu", "sao"]),
        ("2026-03-29T18:15:00Z", vec!["berlin", "sao"]),
        ("2026-03-29T21:59:59.999999Z", vec!["berlin", "sao"]),
        ("2026-03-29T22:00:00Z", vec!["sao"]),
        ("2026-03-30T03:00:00Z", vec![]),
    ] {
        service.clock.advance_to(until.parse().unwrap());
        assert_eq!(keys().await, left, "{until}");
    }
}

#[tokio::test]
async fn a_budget_made_in_the_middle_of_a_month_knows_what_the_month_has_used() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    spend(&service, "acme", Some("2026-05-31T14:59:59Z")).await;
    spend(&service, "acme", Some("2026-05-31T15:00:00Z")).await;
    spend(&service, "acme", None).await;
    put_budget(&service, "acme-usd", monthly("acme", "1")).await;
    let counter = get(&service, "/v1/budgets/acme-usd").await["counters"][0].clone();
    assert_eq!(counter["posted"], "0.0312", "the second before the month began in Tokyo is May's");
}

#[tokio::test]
async fn a_tenant_that_moves_is_recounted_on_its_new_clock() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    put_budget(&service, "acme-usd", monthly("acme", "1")).await;
    spend(&service, "acme", Some("2026-05-31T14:59:59Z")).await;
    spend(&service, "acme", Some("2026-05-31T16:00:00Z")).await;
    spend(&service, "acme", Some("2026-05-31T23:00:00Z")).await;
    let posted = async || get(&service, "/v1/budgets/acme-usd").await["counters"][0]["posted"].clone();
    assert_eq!(posted().await, "0.0312");
    tenant(&service, "acme", "Europe/Berlin").await;
    let berlin = get(&service, "/v1/budgets/acme-usd").await["counters"][0].clone();
    assert_eq!((&berlin["posted"], &berlin["period_start"]), (&json!("0.0156"), &json!("2026-05-31T22:00:00Z")));
    tenant(&service, "acme", "Asia/Tokyo").await;
    assert_eq!(posted().await, "0.0312");
}

#[tokio::test]
async fn an_archived_budget_governs_nothing_and_can_come_back() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    put_budget(&service, "acme-usd", monthly("acme", "0.01")).await;
    let verdict = async || service.call("POST", "/v1/preflight", ask("acme")).await.ok()["verdict"].clone();
    assert_eq!(verdict().await, "stop");
    let archived = service.call("DELETE", "/v1/budgets/acme-usd", Value::Null).await.ok();
    assert_eq!((&archived["id"], &archived["archived_at"]), (&json!("acme-usd"), &json!("2026-06-10T12:00:00Z")));
    assert_eq!(service.call("DELETE", "/v1/budgets/acme-usd", Value::Null).await.ok(), archived);
    assert_eq!(verdict().await, "allow");
    let shown = get(&service, "/v1/budgets/acme-usd").await;
    assert_eq!((&shown["counters"], &shown["version"]), (&json!([]), &json!(2)));
    assert_eq!(get(&service, "/v1/budgets").await["items"], json!([]));
    assert_eq!(get(&service, "/v1/budgets?archived=true").await["items"][0]["id"], "acme-usd");
    put_budget(&service, "acme-usd", monthly("acme", "0.01")).await;
    assert_eq!(get(&service, "/v1/budgets/acme-usd").await["counters"][0]["held"], "0.0156", "holds made meanwhile");
    assert_eq!(verdict().await, "stop");
    assert_eq!(service.call("DELETE", "/v1/budgets/none", Value::Null).await.problem(), (404, "unknown_budget"));
}

#[tokio::test]
async fn two_replicas_see_a_new_budget_at_once() {
    let service = TestService::start().await;
    let other = service.replica().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    assert_eq!(other.call("POST", "/v1/preflight", ask("acme")).await.ok()["verdict"], "allow");
    put_budget(&service, "acme-usd", monthly("acme", "0.02")).await;
    assert_eq!(get(&other, "/v1/budgets/acme-usd").await["counters"][0]["held"], "0.0156");
    assert_eq!(other.call("POST", "/v1/preflight", ask("acme")).await.ok()["verdict"], "wait");
    put_budget(&other, "acme-usd", monthly("acme", "1")).await;
    assert_eq!(service.call("POST", "/v1/preflight", ask("acme")).await.ok()["verdict"], "allow");
    assert_eq!(get(&service, "/v1/budgets/acme-usd").await["counters"][0]["held"], "0.0312");
}

#[tokio::test]
async fn a_list_of_budgets_is_walked_by_pages_and_filtered_by_tenant() {
    let service = TestService::start().await;
    for id in ["acme", "bolt"] {
        tenant(&service, id, "Asia/Tokyo").await;
        for n in 0..3 {
            put_budget(&service, &format!("{id}-{n}"), monthly(id, "1")).await;
        }
    }
    let ids = ["acme-0", "acme-1", "acme-2", "bolt-0", "bolt-1", "bolt-2"].map(str::to_owned).to_vec();
    assert_eq!(walk(&service, "/v1/budgets", 4, "id").await, (ids.clone(), 2));
    assert_eq!(walk(&service, "/v1/budgets?tenant=bolt", 2, "id").await, (ids[3..].to_vec(), 2));
    let cursor = get(&service, "/v1/budgets?limit=1").await["next_cursor"].as_str().unwrap().to_owned();
    let misused = service.call("GET", &format!("/v1/tenants?cursor={cursor}"), Value::Null).await;
    assert_eq!(misused.body["errors"][0]["field"], "cursor", "a cursor of another list");
}

#[tokio::test]
async fn a_wrong_budget_is_refused_by_field_and_nothing_is_stored() {
    let service = TestService::start().await;
    tenant(&service, "acme", "Asia/Tokyo").await;
    let with = |field: &str, value: Value| {
        let mut body = monthly("acme", "1");
        body[field] = value;
        body
    };
    for (body, code, field) in [
        (with("timezone", json!("Mars/Base")), "unknown_zone", "timezone"),
        (with("limit", json!("-1")), "invalid_request", "limit"),
        (with("limit", json!("1e30")), "invalid_request", "limit"),
        (with("limit", json!("0.0000000000001")), "invalid_request", "limit"),
        (with("limit", json!("99999999999999999999")), "invalid_request", "limit"),
        (with("colour", json!("red")), "invalid_request", "colour"),
        (with("measure", json!("euros")), "invalid_request", "measure"),
        (with("measure", json!({"inptu": 1})), "invalid_request", "measure.inptu"),
        (with("measure", json!({"input": -1})), "invalid_request", "measure"),
        (with("measure", json!(7)), "invalid_request", "measure"),
        (with("each", json!("planet")), "invalid_request", "each"),
        (with("period", json!({"kind": "month", "anchor_day": 32})), "invalid_request", "period.anchor_day"),
        (with("period", json!({"kind": "sliding"})), "invalid_request", "period.seconds"),
        (with("period", json!({"kind": "day", "anchor_day": 3})), "invalid_request", "period.anchor_day"),
        (with("thresholds", json!(["0.9", "0.8"])), "invalid_request", "thresholds"),
        (with("floors", json!({"interactive": "1.5"})), "invalid_request", "floors"),
        (with("contract", json!("a\u{0}b")), "invalid_request", "contract"),
        (with("scope", json!({})), "invalid_request", "timezone"),
        (with("scope", json!({"tenant": "a/b"})), "invalid_request", "scope.tenant"),
        (with("scope", json!({"tenat": "acme"})), "invalid_request", "scope.tenat"),
    ] {
        let refused = service.call("PUT", "/v1/budgets/acme-usd", body.clone()).await;
        assert_eq!(refused.problem(), (422, code), "{body} {:#}", refused.body);
        assert_eq!(refused.body["errors"][0]["field"], field, "{body} {:#}", refused.body);
    }
    let foreign = service.call("PUT", "/v1/budgets/b", monthly("nobody", "1")).await;
    assert_eq!(foreign.problem(), (404, "unknown_tenant"));
    assert_eq!(get(&service, "/v1/budgets?archived=true").await["items"], json!([]));
}
