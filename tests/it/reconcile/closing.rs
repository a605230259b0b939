//! Closed periods: what is closed never changes by a byte.

use serde_json::{Value, json};

use super::*;

const SONNET: &str = "claude-sonnet-4-5";

/// What the service says of May: sums in several ways, straight from the journal's period and from the roll-up.
async fn may(service: &TestService) -> String {
    let mut said = String::new();
    for path in [
        "/v1/usage?from=2026-05-01&to=2026-06-01&group_by=tenant,feature,provider,model&bucket=day",
        "/v1/usage?from=2026-05-01&to=2026-06-01&group_by=tenant,run",
        "/v1/exports/transfers?period=2026-05",
        "/v1/exports/focus?period=2026-05",
        "/v1/exports/ghg?period=2026-05",
        "/v1/exports/hledger?period=2026-05",
    ] {
        said += &service.call("GET", path, Value::Null).await.ok().to_string();
    }
    let rows: Vec<String> =
        sqlx::query_scalar("select transfers::text from transfers where period_at < '2026-06-01' order by id")
            .fetch_all(service.db.pool())
            .await
            .unwrap();
    let counters: Vec<String> =
        sqlx::query_scalar("select counters::text from counters where period_end <= '2026-06-01' order by 1")
            .fetch_all(service.db.pool())
            .await
            .unwrap();
    said + &rows.concat() + &counters.concat()
}

async fn close(service: &TestService, body: Value) -> Value {
    service.call("POST", "/v1/periods/close", body).await.ok()
}

#[tokio::test]
async fn a_closed_month_does_not_change_by_a_byte_whatever_comes_later() {
    let service = world().await;
    post(&service, "acme", "2026-05-31T10:00:00Z", SONNET, json!({"input": 1000, "output": 500})).await;
    let closed = close(&service, json!({"until": "2026-05", "zone": "Etc/UTC"})).await;
    assert_eq!(closed["closed_until"], "2026-06-01T00:00:00Z");
    let before = may(&service).await;
    assert!(before.contains("supply:anthropic/claude-sonnet-4-5"), "{before}");

    let late = post(&service, "acme", "2026-05-31T11:00:00Z", SONNET, json!({"output": 7})).await;
    assert!(late["flags"].as_array().unwrap().contains(&json!("period_closed")), "{late:#}");
    let report = page(&[bucket("2026-05-31", &[row(SONNET, [1000, 0, 0, 600])])]);
    let approved = approve(&service, &propose(&service, report.clone()).await).await;
    assert_eq!(told(&approved), ["forward acme/chat 93 $0.001395"]);
    let path = format!("/v1/ledger/transfers/{}", approved["true_ups"][0]["transfer"].as_str().unwrap());
    let transfer = service.call("GET", &path, Value::Null).await.ok();
    assert!(transfer["flags"].as_array().unwrap().contains(&json!("period_closed")), "{transfer:#}");
    assert_eq!(transfer["kind"], "true_up");
    assert_eq!(may(&service).await, before, "late usage and a true-up, and May is as it was");
    let june = service.call("GET", "/v1/usage?from=2026-06-01&to=2026-07-01", Value::Null).await.ok();
    assert_eq!(june["totals"]["usage"]["output"], 100, "both are in the open period: {june:#}");
    assert_settled(&service, &report).await;
}

#[tokio::test]
async fn closing_is_for_ever_past_only_and_the_platform_s() {
    let service = world().await;
    let nothing = service.call("GET", "/v1/periods", Value::Null).await.ok();
    assert_eq!(nothing, json!({"closed_until": null, "closings": []}));
    for (until, zone, field) in [
        ("2026-06-10T12:00:01Z", None, "until"),
        ("2026-06", Some("Etc/UTC"), "until"),
        ("2027-01", Some("Etc/UTC"), "until"),
        ("yesterday", None, "until"),
        ("2026-05", None, "zone"),
        ("2026-05", Some("Mars/Olympus"), "zone"),
    ] {
        let refused = service.call("POST", "/v1/periods/close", json!({"until": until, "zone": zone})).await;
        assert_eq!(refused.status, 422, "{until}");
        assert_eq!(refused.body["errors"][0]["field"], field, "{until}");
    }
    let closed = close(&service, json!({"until": "2026-05", "zone": "Asia/Tokyo"})).await;
    assert_eq!(closed["closed_until"], "2026-05-31T15:00:00Z");
    for (until, zone) in [("2026-04", "Etc/UTC"), ("2026-05", "Asia/Tokyo")] {
        for dry_run in [true, false] {
            let body = json!({"until": until, "zone": zone, "dry_run": dry_run});
            let again = service.call("POST", "/v1/periods/close", body).await;
            assert_eq!(again.problem(), (409, "conflict"), "{until}: what is closed stays closed");
            assert!(again.body["detail"].as_str().unwrap().contains("by test at 2026-06-10"), "{:#}", again.body);
        }
    }
    let later = close(&service, json!({"until": "2026-06-10T12:00:00Z"})).await;
    assert_eq!(later["closings"].as_array().unwrap().len(), 2);
    let periods = service.call("GET", "/v1/periods", Value::Null).await.ok();
    assert_eq!((&periods["closed_until"], &periods["closings"]), (&later["closed_until"], &later["closings"]));
    assert_eq!(later["closings"][0]["closed_by"], "test");
    for statement in ["update closings set closed_by = ''", "delete from closings", "truncate closings"] {
        sqlx::query(statement).execute(service.db.pool()).await.unwrap_err();
    }
    let confined = service.token(&[counterfoil::auth::Scope::Admin], Some("acme"));
    let refused = service.call_as(&confined, "POST", "/v1/periods/close", &[], json!({"until": "2026-05"})).await;
    assert_eq!(refused.problem(), (403, "forbidden_tenant"));
}

#[tokio::test]
async fn a_closing_that_is_tried_says_what_is_open_and_closes_nothing() {
    let service = world().await;
    let may = json!({"until": "2026-05", "zone": "Etc/UTC"});
    let mut tried = may.clone();
    tried["dry_run"] = json!(true);
    for day in ["2026-05-30", "2026-05-31"] {
        post(&service, "acme", &format!("{day}T10:00:00Z"), SONNET, json!({"input": 100_000})).await;
    }
    let cut = json!({
        "tenant": "acme", "feature": "chat", "provider": "anthropic", "model": SONNET, "usage": {"input": 1000},
        "occurred_at": "2026-05-31T11:00:00Z", "outcome": "timed_out"
    });
    service.call("POST", "/v1/usage", cut).await.ok();
    let check = close(&service, tried.clone()).await;
    assert_eq!((&check["dry_run"], &check["closed_until"]), (&json!(true), &Value::Null));
    assert_eq!(
        check["check"]["unreconciled"],
        json!([{"provider": "anthropic", "count": 2, "days": ["2026-05-30", "2026-05-31"], "usd": "0.603"}])
    );
    assert_eq!(check["check"]["is_clean"], false);
    let report = page(&[
        bucket("2026-05-30", &[row(SONNET, [100_000, 0, 0, 0])]),
        bucket("2026-05-31", &[row(SONNET, [101_000, 0, 0, 0])]),
    ]);
    approve(&service, &propose(&service, report).await).await;
    let check = close(&service, tried).await;
    assert_eq!(check["check"]["unreconciled"], json!([]), "{check:#}");
    assert_eq!(service.call("GET", "/v1/periods", Value::Null).await.ok()["closed_until"], Value::Null);

    let key = [("idempotency-key", "close-may")];
    let token = service.token(&[counterfoil::auth::Scope::Admin], None);
    let first = service.call_as(&token, "POST", "/v1/periods/close", &key, may.clone()).await.ok();
    assert_eq!(first["closed_until"], "2026-06-01T00:00:00Z");
    let again = service.call_as(&token, "POST", "/v1/periods/close", &key, may).await;
    assert_eq!(again.headers.get("idempotency-replayed").unwrap(), "true", "a lost answer is answered again");
    assert_eq!(again.ok(), first);
}

/// Reservations that are held, and calls without an answer, are on the list.
#[tokio::test]
async fn what_is_held_and_what_is_unconfirmed_is_on_the_list() {
    let service = TestService::start_at("2026-05-31T23:50:00Z").await;
    service.call("PUT", "/v1/tenants/acme", json!({"timezone": "Etc/UTC"})).await.ok();
    let ask = || crate::support::story::ask(100_000, 1, json!({"ttl_seconds": 3600}));
    let mut held = Vec::new();
    for _ in 0..2 {
        let answer = service.call("POST", "/v1/preflight", ask()).await.ok();
        held.push(answer["reservation"].as_str().unwrap().to_owned());
    }
    let path = crate::support::story::on(&held[0], "settle");
    service.call("POST", &path, json!({"outcome": "timed_out"})).await.ok();
    service.advance(chrono::TimeDelta::minutes(15));
    let body = json!({"until": "2026-05", "zone": "Etc/UTC", "dry_run": true});
    let check = close(&service, body).await["check"].clone();
    assert_eq!(check["unconfirmed_calls"], json!({"count": 1, "usd": "0.300015"}));
    assert_eq!(check["open_reservations"], json!({"count": 1, "usd": "0.300015"}));
    assert_eq!(check["unreconciled"][0]["count"], 1);
}

/// The same calls, by where they were posted and by where they belong: late usage and true-ups of May, which is closed.
#[tokio::test]
async fn usage_is_told_as_posted_and_as_restated() {
    let service = world().await;
    post(&service, "acme", "2026-05-31T10:00:00Z", SONNET, json!({"input": 1000, "output": 500})).await;
    close(&service, json!({"until": "2026-05", "zone": "Etc/UTC"})).await;
    post(&service, "acme", "2026-05-31T11:00:00Z", SONNET, json!({"output": 7})).await;
    let report = page(&[bucket("2026-05-31", &[row(SONNET, [1000, 0, 0, 600])])]);
    approve(&service, &propose(&service, report).await).await;
    let output = async |basis: &str, grouping: &str, [from, to]: [&str; 2]| {
        let path = format!("/v1/usage?from={from}&to={to}{basis}{grouping}");
        let told = service.call("GET", &path, Value::Null).await.ok();
        (told["totals"]["usage"]["output"].as_i64().unwrap(), told["basis"].as_str().unwrap().to_owned())
    };
    let (may, june, both) = (["2026-05-01", "2026-06-01"], ["2026-06-01", "2026-07-01"], ["2026-05-01", "2026-07-01"]);
    for grouping in ["", "&group_by=run", "&bucket=day&group_by=tenant,model"] {
        for (basis, name, sums) in [
            ("", "as_posted", [500, 100, 600]),
            ("&basis=as_posted", "as_posted", [500, 100, 600]),
            ("&basis=as_restated", "as_restated", [600, 0, 600]),
        ] {
            for (span, sum) in [may, june, both].into_iter().zip(sums) {
                assert_eq!(output(basis, grouping, span).await, (sum, name.to_owned()), "{basis} {grouping} {span:?}");
            }
        }
    }
    let wrong = service.call("GET", "/v1/usage?basis=as_is", Value::Null).await;
    assert_eq!(wrong.problem(), (422, "invalid_request"));
    assert_eq!(wrong.body["errors"][0]["field"], "basis");
}

/// What a sum contains of other months is listed in it, so that either basis can be had from the other.
#[tokio::test]
async fn sums_of_usage_say_which_corrections_they_contain_and_of_which_months() {
    let service = world().await;
    post(&service, "acme", "2026-05-31T10:00:00Z", SONNET, json!({"input": 1000, "output": 500})).await;
    let usage = async |query: &str| service.call("GET", &format!("/v1/usage?{query}"), Value::Null).await.ok();
    let (may, june) = ("from=2026-05-01&to=2026-06-01", "from=2026-06-01&to=2026-07-01");
    let plain = usage(may).await;
    assert_eq!((&plain["corrections"], &plain["rows"][0]["corrections"]), (&json!([]), &json!([])));
    close(&service, json!({"until": "2026-05", "zone": "Etc/UTC"})).await;
    post(&service, "acme", "2026-05-31T11:00:00Z", SONNET, json!({"output": 7})).await;
    post(&service, "acme", "2026-06-01T11:00:00Z", SONNET, json!({"output": 11})).await;
    let report = page(&[bucket("2026-05-31", &[row(SONNET, [1000, 0, 0, 600])])]);
    approve(&service, &propose(&service, report).await).await;
    let listed = |body: &Value| -> Vec<(String, String, u64, i64)> {
        let entry = |one: &Value| {
            let text = |field: &str| one[field].as_str().unwrap().to_owned();
            let tokens = one["amounts"]["tokens"].as_i64().unwrap();
            (text("period"), text("kind"), one["transfers"].as_u64().unwrap(), tokens)
        };
        body["corrections"].as_array().unwrap().iter().map(entry).collect()
    };
    let of_may = |kind: &str, transfers: u64, tokens: i64| ("2026-05".to_owned(), kind.to_owned(), transfers, tokens);
    let expect = vec![of_may("true_up", 1, 93), of_may("usage", 1, 7)];
    for grouping in ["", "&group_by=model,tenant", "&group_by=run", "&label.team=none"] {
        let told = usage(&format!("{june}{grouping}")).await;
        if grouping.starts_with("&label") {
            assert_eq!(listed(&told), [], "a filter keeps out what it keeps out of sums");
            continue;
        }
        assert_eq!(listed(&told), expect, "{grouping}: {told:#}");
        assert_eq!(told["corrections"][0]["period_start"], "2026-05-01T00:00:00Z");
        let rows: Vec<_> = told["rows"].as_array().unwrap().iter().flat_map(listed).collect();
        assert_eq!(rows, expect, "{grouping}");
        // What June used by itself.
        let own = told["totals"]["amounts"]["tokens"].as_i64().unwrap() - 93 - 7;
        let restated = usage(&format!("{june}{grouping}&basis=as_restated")).await;
        assert_eq!((own, listed(&restated)), (11, vec![]), "{grouping}");
        assert_eq!(restated["totals"]["amounts"]["tokens"], own);
        assert_eq!(listed(&usage(&format!("{may}{grouping}")).await), [], "{grouping}: a closed month never changes");
        assert_eq!(listed(&usage(&format!("{may}{grouping}&basis=as_restated")).await), expect, "{grouping}");
    }
    let dollars = usage(june).await["corrections"][0]["amounts"]["usd"].clone();
    assert_eq!(dollars, "0.001395", "93 tokens of output");
    // On Kiritimati the late call was made in June.
    let kiritimati = usage(&format!("{june}&zone=Pacific/Kiritimati")).await;
    let late = listed(&kiritimati).into_iter().find(|one| one.1 == "usage");
    assert_eq!(late, Some(("2026-06".to_owned(), "usage".to_owned(), 1, 7)), "{kiritimati:#}");
    let confined = service.token(&[counterfoil::auth::Scope::Read], Some("acme"));
    let own = service.call_as(&confined, "GET", &format!("/v1/usage?{june}&zone=Etc/UTC"), &[], Value::Null).await.ok();
    assert_eq!(listed(&own), expect);
}

/// A file says of what came late, and of what corrects, which month it is about.
#[tokio::test]
async fn exports_say_the_period_that_a_correction_is_about() {
    let service = world().await;
    post(&service, "acme", "2026-05-31T10:00:00Z", SONNET, json!({"input": 1000, "output": 500})).await;
    close(&service, json!({"until": "2026-05", "zone": "Etc/UTC"})).await;
    post(&service, "acme", "2026-05-31T11:00:00Z", SONNET, json!({"output": 7})).await;
    post(&service, "acme", "2026-06-01T11:00:00Z", SONNET, json!({"output": 11})).await;
    let report = page(&[bucket("2026-05-31", &[row(SONNET, [1000, 0, 0, 600])])]);
    approve(&service, &propose(&service, report).await).await;
    for version in ["1.4", "1.2"] {
        let path = format!("/v1/exports/focus?period=2026-06&zone=Etc/UTC&version={version}");
        let file = crate::exports::export(&service, &path).await;
        let rows: Vec<_> = file
            .column("x_CorrectedPeriodStart")
            .into_iter()
            .zip(file.column("x_Tokens"))
            .filter(|(_, tokens)| tokens != "0")
            .collect();
        let of_may = |tokens: &str| ("2026-05-01T00:00:00Z".to_owned(), tokens.to_owned());
        let mut sorted = rows.clone();
        sorted.sort();
        assert_eq!(sorted, [(String::new(), "11".to_owned()), of_may("7"), of_may("93")], "{version}");
    }
    for (dialect, tag) in [
        ("hledger", "; corrected_period:2026-05\n"),
        ("ledger", "; corrected_period: 2026-05\n"),
        ("beancount", "corrected_period: \"2026-05\"\n"),
    ] {
        for group in ["day", "call"] {
            let path = format!("/v1/exports/{dialect}?period=2026-06&zone=Etc/UTC&group={group}");
            let file = crate::exports::export(&service, &path).await;
            assert_eq!(file.text().matches(tag).count(), 2, "{dialect} {group}: {}", file.text());
            let path = format!("/v1/exports/{dialect}?period=2026-05&zone=Etc/UTC&group={group}");
            let before = crate::exports::export(&service, &path).await;
            assert!(
                !before.text().contains("corrected_period: ") && !before.text().contains("corrected_period:2"),
                "{dialect}"
            );
        }
    }
}
