//! One story for each likely cause, and what is refused.

use counterfoil::auth::Scope;
use serde_json::{Value, json};

use super::*;

const SONNET: &str = "claude-sonnet-4-5";
const DATED: &str = "claude-sonnet-4-5-20250929";

#[tokio::test]
async fn calls_nobody_captured_are_trued_up_and_the_supply_side_says_what_the_report_says() {
    let service = world().await;
    post(&service, "acme", "2026-06-09T10:00:00Z", SONNET, json!({"input": 1000, "output": 500, "reasoning": 100}))
        .await;
    post(&service, "bolt", "2026-06-09T11:00:00Z", DATED, json!({"input": 50, "output": 5})).await;
    let report = page(&[bucket(DAY, &[row(DATED, [1500, 70, 30, 700])])]);
    let proposed = propose(&service, report.clone()).await;
    assert_eq!(causes(&proposed), ["uncaptured_calls"], "{proposed:#}");
    let counts = proposed["lines"][0]["counts"].as_array().unwrap();
    let input = json!({"bucket": "input", "ours": 1050, "theirs": 1500, "difference": 450});
    let output = json!({"bucket": "output", "ours": 605, "theirs": 700, "difference": 95});
    assert!(counts.contains(&input) && counts.contains(&output), "thinking is output to the report: {counts:#?}");
    assert_eq!(balance(&service, "adjustment:anthropic").await.0, 0, "nothing is posted before it is approved");

    let approved = approve(&service, &proposed).await;
    assert_eq!(approved["state"], "approved");
    assert_eq!(approved["true_ups"].as_array().unwrap().len(), 1, "two tenants: nobody's {approved:#}");
    let grams: f64 = approved["true_ups"][0]["amounts"]["gco2e"].as_str().unwrap().parse().unwrap();
    assert!(grams > 0.0, "what was emitted is not lost: {approved:#}");
    let (whose, tokens) =
        (approved["true_ups"][0]["tenant"].as_str(), balance(&service, "adjustment:anthropic").await.0);
    assert_eq!((whose, tokens), (Some("-"), 450 + 70 + 30 + 95));
    let supplied = balance(&service, &format!("supply:anthropic/{SONNET}")).await.0
        + balance(&service, &format!("supply:anthropic/{DATED}")).await.0;
    assert_eq!(-supplied, 1500 + 70 + 30 + 700, "all names of the model together");
    let quota = service.call("GET", "/v1/budgets/quota", Value::Null).await.ok();
    assert!(quota.to_string().contains("\"2300\""), "the provider's quota knows: {quota:#}");
    assert_eq!(approve(&service, &proposed).await, approved, "approved twice is approved once");
    assert_settled(&service, &report).await;
}

#[tokio::test]
async fn the_only_tenant_of_a_day_and_model_bears_what_is_missing_with_the_dollars_of_the_cost_report() {
    let service = world().await;
    post(&service, "acme", "2026-06-09T10:00:00Z", SONNET, json!({"input": 1000, "output": 500})).await;
    // $0.003 + $0.0075 are ours; the provider bills 2.3456789012 cents.
    let pages = json!([
        page(&[bucket(DAY, &[row(SONNET, [1200, 0, 0, 600])])]),
        page(&[bucket(DAY, &[cost(SONNET, "2.0"), cost(SONNET, "0.3456789012")])]),
    ]);
    let approved = approve(&service, &propose(&service, pages.clone()).await).await;
    assert_eq!(told(&approved), ["forward acme/chat 300 $0.012956789012"]);
    let supplied = balance(&service, &format!("supply:anthropic/{SONNET}")).await;
    assert_eq!(supplied, (-1800, "-0.023456789012".to_owned()), "to the last digit");
    assert_settled(&service, &pages).await;
}

/// A pre-flight and a time-out of an hour before noon of the day.
async fn time_out(service: &TestService, tenant: &str) -> Value {
    let ask = json!({"tenant": tenant, "feature": "chat", "provider": "anthropic", "model": SONNET, "run": "r-1",
        "estimate": {"input": 1000, "max_output": 2000}});
    let answer = service.call("POST", "/v1/preflight", ask).await.ok();
    let path = format!("/v1/reservations/{}/settle", answer["reservation"].as_str().unwrap());
    let posted = service.call("POST", &path, json!({"outcome": "timed_out"})).await.ok();
    assert!(posted["flags"].as_array().unwrap().contains(&json!("unconfirmed")), "{posted:#}");
    posted
}

/// The world, a day before noon; then the day is over.
async fn day_of_time_outs(tenants: &[&str]) -> (TestService, Vec<Value>) {
    let service = world().await;
    let mut posted = Vec::new();
    for tenant in tenants {
        posted.push(time_out(&service, tenant).await);
    }
    service.advance(chrono::TimeDelta::hours(13));
    (service, posted)
}

const TODAY: &str = "2026-06-10";

#[tokio::test]
async fn pain_m_a_timed_out_call_that_was_billed_stays_and_one_that_was_not_goes_back_to_its_own_tenant() {
    let (service, posted) = day_of_time_outs(&["acme", "bolt"]).await;
    let report = page(&[bucket(TODAY, &[row(SONNET, [1000, 0, 0, 2000])])]);
    let proposed = propose(&service, report.clone()).await;
    assert_eq!(causes(&proposed), ["unconfirmed_timeouts"]);
    assert_eq!(proposed["lines"][0]["unconfirmed"], 2);
    let approved = approve(&service, &proposed).await;
    assert_eq!(told(&approved), ["reverse acme/chat 3000 $0.033"], "the whole call, with its run");
    let one = &approved["true_ups"][0];
    assert_eq!((&one["corrects"], &one["run"]), (&posted[0]["transfer"], &json!("r-1")));
    assert_eq!(balance(&service, "usage:acme/chat").await, (0, "0".to_owned()));
    assert_eq!(balance(&service, "usage:bolt/chat").await, (3000, "0.033".to_owned()));
    assert_settled(&service, &report).await;
}

#[tokio::test]
async fn a_timed_out_call_that_was_billed_for_less_than_its_estimate_gives_back_the_rest() {
    let (service, posted) = day_of_time_outs(&["acme"]).await;
    let report = page(&[bucket(TODAY, &[row(SONNET, [1000, 0, 0, 40])])]);
    let approved = approve(&service, &propose(&service, report.clone()).await).await;
    assert_eq!(told(&approved), ["reverse acme/chat 1960 $0.0294"]);
    assert_eq!(approved["true_ups"][0]["corrects"], posted[0]["transfer"]);
    assert_settled(&service, &report).await;
}

#[tokio::test]
async fn the_same_tokens_at_another_price_are_told_with_the_row_they_were_priced_by() {
    let service = world().await;
    let posted = post(&service, "acme", "2026-06-09T10:00:00Z", SONNET, json!({"output": 1_000_000})).await;
    let pages = json!([
        page(&[bucket(DAY, &[row(SONNET, [0, 0, 0, 1_000_000])])]),
        page(&[bucket(DAY, &[cost(SONNET, "1350.00")])]),
    ]);
    let proposed = propose(&service, pages.clone()).await;
    assert_eq!(causes(&proposed), ["price_difference"], "{proposed:#}");
    let path = format!("/v1/ledger/transfers/{}", posted["transfer"].as_str().unwrap());
    let transfer = service.call("GET", &path, Value::Null).await.ok();
    assert_eq!(proposed["lines"][0]["prices"], json!([transfer["price"]]));
    let usd = json!({"ours": "15", "theirs": "13.5", "difference": "-1.5"});
    assert_eq!(proposed["lines"][0]["usd"], usd);
    assert_eq!(told(&approve(&service, &proposed).await), ["reverse acme/chat 0 $1.5"]);
    assert_settled(&service, &pages).await;
}

#[tokio::test]
async fn half_a_cent_is_rounding_and_a_call_around_midnight_is_a_clock_boundary() {
    let service = world().await;
    post(&service, "acme", "2026-06-09T10:00:00Z", SONNET, json!({"output": 100})).await;
    let pages =
        json!([page(&[bucket(DAY, &[row(SONNET, [0, 0, 0, 100])])]), page(&[bucket(DAY, &[cost(SONNET, "0")])])]);
    assert_eq!(causes(&propose(&service, pages).await), ["rounding"]);

    let service = world().await;
    post(&service, "acme", "2026-06-08T23:59:59Z", SONNET, json!({"output": 100})).await;
    let report = page(&[bucket("2026-06-08", &[]), bucket(DAY, &[row(SONNET, [0, 0, 0, 100])])]);
    let named = json!({"provider": "anthropic", "kind": "anthropic_usage", "report": report});
    let proposed = service.call("POST", "/v1/reconciliations", named).await.ok();
    for line in proposed["lines"].as_array().unwrap() {
        assert_eq!(line["causes"], json!(["clock_boundary"]), "{line:#}");
    }
    // On the ninth nobody of ours is known: it is nobody's, and the eighth gives back all of the call.
    let approved = approve(&service, &proposed).await;
    assert_eq!(told(&approved), ["reverse acme/chat 100 $0.0015", "forward -/- 100 $0.0015"]);
    assert_settled(&service, &report).await;
}

#[tokio::test]
async fn workspaces_that_a_mapping_names_are_compared_tenant_by_tenant() {
    let service = world().await;
    post(&service, "acme", "2026-06-09T10:00:00Z", SONNET, json!({"output": 100})).await;
    post(&service, "bolt", "2026-06-09T10:00:00Z", SONNET, json!({"output": 100})).await;
    let of = |workspace: &str, output: u64| {
        let mut row = row(SONNET, [0, 0, 0, output]);
        row["workspace_id"] = json!(workspace);
        row
    };
    let report = page(&[bucket(DAY, &[of("w-acme", 150), of("w-bolt", 70), of("w-new", 5)])]);
    let mapping = json!({"w-acme": {"tenant": "acme", "feature": "search"}, "w-bolt": {"tenant": "bolt"}});
    let body = json!({"provider": "anthropic", "report": report, "mapping": mapping});
    let proposed = service.call("POST", "/v1/reconciliations", body.clone()).await.ok();
    let approved = approve(&service, &proposed).await;
    let mut rows = told(&approved);
    rows.sort();
    assert_eq!(rows, ["forward -/- 5 $0.000075", "forward acme/search 50 $0.00075", "reverse bolt/chat 30 $0.00045"]);
    assert_settled(&service, &report).await;
    let nobody = json!({"provider": "anthropic", "report": report, "mapping": {"w-acme": {"tenant": "nobody"}}});
    assert_eq!(service.call("POST", "/v1/reconciliations", nobody).await.problem(), (404, "unknown_tenant"));
}

#[tokio::test]
async fn openai_s_reports_and_an_invoice_are_told_apart_by_their_shape() {
    let service = world().await;
    let usage = json!({"tenant": "acme", "feature": "chat", "provider": "openai", "model": "gpt-4o", "requests": 3,
        "occurred_at": "2026-06-09T10:00:00Z", "usage": {"input": 400, "cache_read": 600, "output": 90, "reasoning": 10}});
    service.call("POST", "/v1/usage", usage).await.ok();
    let bucket = |results: Value| {
        json!({"object": "page", "has_more": false, "next_page": null, "data": [
        {"object": "bucket", "start_time": 1_780_963_200, "end_time": 1_781_049_600, "results": results}]})
    };
    let usage = bucket(
        json!([{"object": "organization.usage.completions.result", "input_tokens": 1500, "input_cached_tokens": 600,
        "output_tokens": 100, "input_audio_tokens": 0, "output_audio_tokens": 0, "num_model_requests": 4, "model": "gpt-4o-2024-08-06",
        "project_id": null, "user_id": null, "api_key_id": null, "batch": null}]),
    );
    let costs = bucket(json!([
        {"object": "organization.costs.result", "amount": {"value": 0.1, "currency": "usd"}, "line_item": "gpt-4o-2024-08-06, input", "project_id": null},
        {"object": "organization.costs.result", "amount": {"value": 0.2, "currency": "usd"}, "line_item": "gpt-4o-2024-08-06, output", "project_id": null},
        {"object": "organization.costs.result", "amount": {"value": 0.07, "currency": "usd"}, "line_item": "web search tool calls", "project_id": null}]));
    let both = json!([usage, costs]);
    let proposed = send(&service, "openai", both.clone()).await.ok();
    assert_eq!(proposed["kinds"], json!(["openai_usage", "openai_costs"]));
    approve(&service, &proposed).await;
    let supplied = balance(&service, "supply:openai/gpt-4o").await;
    let dated = balance(&service, "supply:openai/gpt-4o-2024-08-06").await;
    assert_eq!(supplied.0 + dated.0, -1600, "cached tokens are counted once");
    assert_eq!((supplied.1.as_str(), dated.1.as_str()), ("-0.3", "0"), "0.1 + 0.2 is 0.3, under the name of the calls");
    assert_eq!(balance(&service, "supply:openai/web_search_tool_calls").await, (0, "-0.07".to_owned()));
    let invoice = "day,model,line,quantity,usd\n2026-06-09,gpt-4o,input,900,\n2026-06-09,gpt-4o,cache_read,600,\n\
        2026-06-09,gpt-4o,output,100,0.3\n2026-06-09,,web search tool calls,7,0.07\n";
    let again = send(&service, "openai", json!(invoice)).await.ok();
    assert_eq!((&again["kinds"], &again["differing"]), (&json!(["invoice"]), &json!(0)), "{again:#}");
}

#[tokio::test]
async fn what_cannot_be_counted_is_refused_by_its_place() {
    let service = world().await;
    let good = page(&[bucket(DAY, &[row(SONNET, [1, 0, 0, 1])])]);
    let changed = |pointer: &str, value: Value| {
        let mut report = good.clone();
        match report.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                report.pointer_mut(parent).unwrap()[name] = value;
            }
        }
        report
    };
    let first = "report.data[0].results[0]";
    let cases = [
        (changed("/data/0/results/0/image_tokens", json!(7)), format!("{first}.image_tokens")),
        (
            changed("/data/0/results/0/cache_creation/ephemeral_1d_input_tokens", json!(7)),
            format!("{first}.cache_creation.ephemeral_1d_input_tokens"),
        ),
        (changed("/data/0/results/0/model", Value::Null), format!("{first}.model")),
        (changed("/data/0/results/0/output_tokens", json!(-1)), format!("{first}.output_tokens")),
        (changed("/data/0/results/0/output_tokens", json!(1.5)), format!("{first}.output_tokens")),
        (changed("/data/0/ending_at", json!("2026-06-09T06:00:00Z")), "report.data[0]".to_owned()),
        (changed("/data/0/ending_at", json!("2026-06-11T00:00:00Z")), "report.data[0]".to_owned()),
        (changed("/has_more", json!(true)), "report.has_more".to_owned()),
        (changed("/total_amount", json!("12.5")), "report.total_amount".to_owned()),
        (json!([good, good]), "report[1].data[0]".to_owned()),
        (page(&[bucket("2026-06-10", &[row(SONNET, [1, 0, 0, 1])])]), "report".to_owned()),
        (page(&[bucket(DAY, &[json!({"kilowatts": 3})])]), "report.data[].results[0]".to_owned()),
        (page(&[bucket(DAY, &[])]), "report".to_owned()),
        (page(&[bucket(DAY, &[cost(SONNET, "1,5")])]), format!("{first}.amount")),
        (json!("day,model,bucket,quantity,usd\n2026-06-09,m,inptu,1,1\n"), "report line 2 bucket".to_owned()),
        (json!("day,model,bucket,quantity,eur\n"), "report".to_owned()),
        (json!(7), "report".to_owned()),
    ];
    for (report, place) in cases {
        let reply = send(&service, "anthropic", report.clone()).await;
        assert_eq!(reply.problem(), (422, "invalid_request"), "{report}");
        assert_eq!(reply.body["errors"][0]["field"], json!(place), "{:#}", reply.body);
    }
    send(&service, "anthropic", changed("/data/0/results/0/new_name", json!("x"))).await.ok();
}

#[tokio::test]
async fn only_the_platform_reconciles_and_a_key_is_one_effect() {
    let service = world().await;
    let report = page(&[bucket(DAY, &[row(SONNET, [1, 0, 0, 1])])]);
    let body = json!({"provider": "anthropic", "report": report});
    let confined = service.token(&[Scope::Admin], Some("acme"));
    let refused = service.call_as(&confined, "POST", "/v1/reconciliations", &[], body.clone()).await;
    assert_eq!(refused.problem(), (403, "forbidden_tenant"));
    let reader = service.token(&[Scope::Read], None);
    let refused = service.call_as(&reader, "GET", "/v1/reconciliations", &[], Value::Null).await;
    assert_eq!(refused.problem(), (403, "forbidden_scope"));

    let first = service.call_keyed("k", "POST", "/v1/reconciliations", body.clone()).await.ok();
    assert_eq!(service.call_keyed("k", "POST", "/v1/reconciliations", body.clone()).await.ok(), first);
    let mut other = body.clone();
    other["report"]["data"][0]["results"][0]["output_tokens"] = json!(2);
    let mismatch = service.call_keyed("k", "POST", "/v1/reconciliations", other).await;
    assert_eq!(mismatch.problem(), (409, "idempotency_mismatch"));
    let all = service.call("GET", "/v1/reconciliations", Value::Null).await.ok();
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    let path = format!("/v1/reconciliations/{}", first["id"].as_str().unwrap());
    assert_eq!(service.call("GET", &path, Value::Null).await.ok(), first);
    let approved = approve(&service, &first).await;
    assert_eq!(service.call("GET", &path, Value::Null).await.ok(), approved);
    for statement in ["update reconciliations set document = ''", "delete from reconciliations"] {
        sqlx::query(statement).execute(service.db.pool()).await.unwrap_err();
    }
}

#[tokio::test]
async fn an_approval_that_was_cut_short_goes_on_and_posts_nothing_twice() {
    let service = world().await;
    post(&service, "acme", "2026-06-09T10:00:00Z", SONNET, json!({"output": 100})).await;
    let report = page(&[bucket(DAY, &[row(SONNET, [0, 0, 0, 150]), row("claude-haiku-4-5", [7, 0, 0, 7])])]);
    let proposed = propose(&service, report.clone()).await;
    approve(&service, &proposed).await;
    let posted: i64 = sqlx::query_scalar("select count(*) from transfers").fetch_one(service.db.pool()).await.unwrap();
    // As if the process had died after posting: the row says that it is at work.
    sqlx::raw_sql(
        "alter table reconciliations disable trigger all;
        update reconciliations set state = 'approving', approved_at = null, approved_by = null;
        alter table reconciliations enable trigger all",
    )
    .execute(service.db.pool())
    .await
    .unwrap();
    let again = approve(&service, &proposed).await;
    assert_eq!((&again["state"], told(&again).len()), (&json!("approved"), 2));
    let after: i64 = sqlx::query_scalar("select count(*) from transfers").fetch_one(service.db.pool()).await.unwrap();
    assert_eq!(after, posted);
    assert_settled(&service, &report).await;
}

#[tokio::test]
async fn two_reports_of_the_same_days_approved_at_once_true_up_once() {
    let service = world().await;
    let report = page(&[bucket(DAY, &[row(SONNET, [0, 0, 0, 150])])]);
    let (one, two) = (propose(&service, report.clone()).await, propose(&service, report.clone()).await);
    let path = |body: &Value| format!("/v1/reconciliations/{}/approve", body["id"].as_str().unwrap());
    let replica = service.replica().await;
    let (paths, amount) = ((path(&one), path(&two)), json!({"usd": one["moves"]["usd"]}));
    let answers =
        tokio::join!(service.call("POST", &paths.0, amount.clone()), replica.call("POST", &paths.1, amount.clone()));
    for reply in [answers.0, answers.1] {
        assert!(reply.status == 200 || reply.problem() == (409, "conflict"), "{:#}", reply.body);
    }
    approve(&service, &one).await;
    approve(&service, &two).await;
    assert_eq!(balance(&service, "adjustment:anthropic").await.0, 150);
    assert_settled(&service, &report).await;
}

#[tokio::test]
async fn a_true_up_of_nobody_does_not_keep_a_quota_from_being_projected() {
    let service = world().await;
    for tenant in ["acme", "bolt"] {
        post(&service, tenant, "2026-06-09T10:00:00Z", "claude-sonnet-4-5", json!({"input": 1000, "output": 500}))
            .await;
    }
    let report = page(&[bucket(DAY, &[row("claude-sonnet-4-5", [5000, 0, 0, 2000])])]);
    let approved = approve(&service, &propose(&service, report).await).await;
    assert!(told(&approved)[0].contains("-/-"), "whose it is nobody knows: {:?}", told(&approved));
    let projected = service.call("GET", "/v1/budgets/quota/projection", Value::Null).await.ok();
    let shares = projected["fair_split"].to_string();
    assert!(!shares.contains("quota.-"), "nobody has no budget: {shares}");
}

#[tokio::test]
async fn an_approval_that_moves_more_than_a_fifth_of_the_dollars_must_name_them() {
    let service = world().await;
    let at = format!("{DAY}T10:00:00Z");
    for _ in 0..10 {
        post(&service, "acme", &at, SONNET, json!({"input": 100_000, "output": 0})).await;
    }
    let transfers = async || -> i64 {
        sqlx::query_scalar("select count(*) from transfers").fetch_one(service.db.pool()).await.unwrap()
    };
    // $3 a million: the books have $3.
    for (input, moves, must_be_named) in
        [(1_000_000, "0", false), (1_190_000, "0.57", false), (1_210_000, "0.63", true), (0, "3", true)]
    {
        let report = page(&[bucket(DAY, &[row(SONNET, [input, 0, 0, 0])])]);
        let proposed = propose(&service, report).await;
        assert_eq!(
            proposed["moves"],
            json!({"usd": moves, "books_usd": "3", "must_be_named": must_be_named}),
            "{input}"
        );
        if !must_be_named {
            continue;
        }
        let path = format!("/v1/reconciliations/{}/approve", proposed["id"].as_str().unwrap());
        for body in [Value::Null, json!({}), json!({"usd": "0.6"}), json!({"usd": "-30"})] {
            let refused = service.call("POST", &path, body.clone()).await;
            assert_eq!(refused.problem(), (422, "invalid_request"), "{body}");
            assert_eq!(refused.body["errors"][0]["field"], "usd");
            assert!(refused.body["errors"][0]["detail"].as_str().unwrap().contains(moves), "{:#}", refused.body);
        }
    }
    assert_eq!(transfers().await, 10, "nothing was posted");
    let proposed = propose(&service, page(&[bucket(DAY, &[row(SONNET, [1_210_000, 0, 0, 0])])])).await;
    let path = format!("/v1/reconciliations/{}/approve", proposed["id"].as_str().unwrap());
    let approved = service.call("POST", &path, json!({"usd": "0.630"})).await.ok();
    assert_eq!(approved["state"], "approved");
    let report = page(&[bucket(DAY, &[row(SONNET, [1_250_000, 0, 0, 0])])]);
    let small = propose(&service, report).await;
    let path = format!("/v1/reconciliations/{}/approve", small["id"].as_str().unwrap());
    assert_eq!(service.call("POST", &path, Value::Null).await.ok()["state"], "approved", "a small one needs no word");
}

#[tokio::test]
async fn dollars_that_are_added_are_named_whatever_the_tokens_say_and_a_book_that_was_too_dear_is_not() {
    let service = world().await;
    post(&service, "acme", &format!("{DAY}T10:00:00Z"), SONNET, json!({"input": 1_000_000, "output": 0})).await;
    // $6 in the books. The same tokens for much less; half of them; the same for a fifth more, for a cent more than that, and in yen.
    for (input, usd, must_be_named) in [
        (1_000_000, "0.3", false),
        (500_000, "0.15", true),
        (1_000_000, "7.2", false),
        (1_000_000, "7.21", true),
        (1_000_000, "450", true),
    ] {
        let invoice = json!(format!("day,model,bucket,quantity,usd\n{DAY},{SONNET},input,{input},{usd}\n"));
        let proposed = send(&service, "anthropic", invoice).await.ok();
        assert_eq!(proposed["moves"]["must_be_named"], must_be_named, "{input} {usd}: {:#}", proposed["moves"]);
        if must_be_named {
            let path = format!("/v1/reconciliations/{}/approve", proposed["id"].as_str().unwrap());
            let refused = service.call("POST", &path, json!({})).await;
            assert_eq!(refused.problem(), (422, "invalid_request"), "{input} {usd}");
            assert_eq!(refused.body["errors"][0]["field"], "usd", "{input} {usd}");
        }
    }
}

#[tokio::test]
async fn a_report_under_another_providers_name_or_one_that_nobody_knows_is_refused() {
    let service = world().await;
    let anthropic = page(&[bucket(DAY, &[row(SONNET, [1, 0, 0, 1])])]);
    let invoice = json!(format!("day,model,bucket,quantity,usd\n{DAY},m,input,1,0.1\n"));
    for (provider, report, words) in [
        ("openai", &anthropic, "anthropic's"),
        ("aws", &anthropic, "anthropic's"),
        ("antropic", &invoice, "did you mean `anthropic`?"),
        ("opena1", &invoice, "did you mean `openai`?"),
        ("nobody-knows-it", &invoice, "name it as calls do"),
    ] {
        let refused = send(&service, provider, report.clone()).await;
        assert_eq!(refused.problem(), (422, "invalid_request"), "{provider}");
        let error = &refused.body["errors"][0];
        assert_eq!(error["field"], "provider", "{error}");
        assert!(error["detail"].as_str().unwrap().contains(words), "{provider}: {error}");
    }
    let own = json!({
        "tenant": "acme", "feature": "chat", "provider": "in-house", "model": "m", "usage": {"input": 1},
        "occurred_at": format!("{DAY}T10:00:00Z")
    });
    service.call("POST", "/v1/usage", own).await.ok();
    assert_eq!(send(&service, "in-house", invoice).await.status, 200, "one that calls were made of is known");
}

/// The case A8: tokens of two models are right, and `requests` is said of one of them.
#[tokio::test]
async fn a_line_of_requests_takes_back_no_call_of_another_model() {
    let service = world().await;
    let at = format!("{DAY}T10:00:00Z");
    for _ in 0..4 {
        post(&service, "acme", &at, SONNET, json!({"input": 10})).await;
        post(&service, "acme", &at, "claude-haiku-4-5", json!({"input": 10})).await;
    }
    let invoice = format!(
        "day,model,bucket,quantity,usd\n{DAY},{SONNET},input,40,\n{DAY},claude-haiku-4-5,input,40,\n\
         {DAY},{SONNET},requests,4,\n"
    );
    let proposed = send(&service, "anthropic", json!(invoice)).await.ok();
    assert_eq!(proposed["differing"], 0, "{proposed:#}");
    assert_eq!(told(&proposed), Vec::<String>::new());
    let fewer = invoice.replace("requests,4", "requests,3");
    let proposed = send(&service, "anthropic", json!(fewer)).await.ok();
    assert_eq!(proposed["differing"], 1, "of the model that it speaks of");
    assert_eq!(proposed["true_ups"][0]["requests"], 1);
}

/// What `openai-java#769` got: zeros with an exponent. And floats with more digits than anything keeps.
#[tokio::test]
async fn a_zero_with_an_exponent_is_zero_and_a_currency_that_is_missing_is_asked_for() {
    let service = world().await;
    let costs = |amount: Value| {
        let start = format!("{DAY}T00:00:00Z").parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp();
        let results = json!([{"amount": amount, "line_item": "gpt-4o, cached input"}]);
        json!({"data": [{"start_time": start, "end_time": start + 86_400, "results": results}], "has_more": false})
    };
    for (value, usd) in [
        ("0E-6176", "0"),
        ("0.00362750000000000000000000000000000000", "0.0036275"),
        ("1e-30", "0"),
        ("2.5e-03", "0.0025"),
    ] {
        let read = send(&service, "openai", costs(json!({"value": value, "currency": "usd"}))).await.ok();
        assert_eq!(read["lines"][0]["usd"]["theirs"], usd, "{value}");
    }
    for amount in
        [json!({"value": 1.0}), json!({"value": 1.0, "currency": null}), json!({"value": 1.0, "currency": "eur"})]
    {
        let refused = send(&service, "openai", costs(amount)).await;
        assert_eq!(refused.problem(), (422, "invalid_request"));
        assert!(
            refused.body["errors"][0]["field"].as_str().unwrap().ends_with("amount.currency"),
            "{:#}",
            refused.body
        );
    }
}
