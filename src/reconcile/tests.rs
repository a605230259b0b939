//! Reports, comparisons and true-ups, without a database.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use proptest::prelude::*;
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};
use uuid::Uuid;

use super::compare::{Cause, Journal, JournalRow, JournalSums, Line, Mapping, Owner, compare};
use super::propose::{TrueUp, propose};
use super::read::read;
use super::report::{Counts, Report};
use crate::domain::budget::catalogue::Priority;
use crate::domain::fixtures::{call, rates, usage};
use crate::domain::id::{FeatureId, ProviderId, TransferId};
use crate::domain::ledger::transfer::{CallOutcome, CallReport, Direction, Transfer, TransferKind};
use crate::domain::price::ServiceTier;
use crate::domain::tariff::Flags;
use crate::domain::usage::Bucket;
use crate::wire::reconciliation::TrueUpBody;

const DAY: &str = "2026-06-09";

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// `day,model,bucket,quantity,usd` lines; `what` is a bucket.
fn invoice(lines: &str) -> Report {
    let text = format!("day,model,line,quantity,usd,workspace\n{lines}");
    read(&json!(text), None).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn row(text: &str, buckets: [i64; 6], usd: Decimal) -> JournalRow {
    let call = call(text);
    let mut tokens = Counts::default();
    for (bucket, count) in Bucket::ALL.into_iter().zip(buckets) {
        tokens.add(bucket, count).unwrap();
    }
    let sums = JournalSums { tokens, requests: 1, usd, grams: [dec!(3), dec!(2), dec!(1)], ..JournalSums::default() };
    JournalRow {
        day: day(DAY),
        tenant: call.tenant,
        feature: call.feature,
        model: call.model,
        region: call.region,
        sums,
    }
}

/// A call that was charged its estimate.
fn unconfirmed(number: u128, text: &str, buckets: [u64; 6]) -> Transfer {
    let call = call(text);
    let at = day(DAY).and_hms_opt(9, 0, 0).unwrap().and_utc();
    let tariff = rates();
    let tariff = tariff.tariff(&call.provider, &call.model, ServiceTier::Standard, None, at);
    let mut priced = tariff.price(&usage(buckets), 1, None).unwrap();
    priced.flags = Flags::UNCONFIRMED;
    let report =
        CallReport { outcome: CallOutcome::TimedOut, latency_ms: None, provider_request_id: None, provider_usd: None };
    Transfer {
        id: TransferId(Uuid::from_u128(number)),
        kind: TransferKind::Settlement,
        direction: Direction::Forward,
        call,
        requested_model: None,
        priority: Priority::Standard,
        priced,
        report,
        occurred_at: at,
        recorded_at: at,
        period_at: at,
        reservation: None,
        corrects: None,
    }
}

/// The journal with rows of calls, and calls charged by their estimate.
fn journal(rows: Vec<JournalRow>, calls: &[Transfer]) -> Journal {
    let mut journal = Journal { rows, unconfirmed: calls.to_vec() };
    for call in calls {
        post(&mut journal, &call.call, call.priced.consumption, Direction::Forward, day(DAY));
    }
    journal
}

fn post(
    journal: &mut Journal,
    call: &crate::domain::budget::scope::Dimensions,
    moved: crate::domain::budget::measure::Consumption,
    direction: Direction,
    day: NaiveDate,
) {
    let sign = i64::from(direction.sign());
    let mut tokens = Counts::default();
    for (bucket, count) in Bucket::ALL.into_iter().zip(moved.usage.buckets()) {
        tokens.add(bucket, i64::try_from(count.count()).unwrap() * sign).unwrap();
    }
    let amounts = moved.amounts;
    let signed = |value: Decimal| value * Decimal::from(sign);
    let grams = [amounts.gco2e_usage_location, amounts.gco2e_usage_market, amounts.gco2e_embodied];
    let sums = JournalSums {
        tokens,
        requests: i64::from(moved.requests) * sign,
        usd: signed(amounts.usd.decimal()),
        grams: grams.map(|grams| signed(grams.decimal())),
        ..JournalSums::default()
    };
    let (tenant, feature) = (call.tenant.clone(), call.feature.clone());
    journal.rows.push(JournalRow {
        day,
        tenant,
        feature,
        model: call.model.clone(),
        region: call.region.clone(),
        sums,
    });
}

fn provider() -> ProviderId {
    "unit".parse().unwrap()
}

fn compared(report: &Report, journal: Journal, mapping: &Mapping) -> (Vec<Line>, Vec<TrueUp>) {
    let lines = compare(&provider(), report, mapping, journal, &rates()).unwrap();
    let true_ups = propose(&provider(), &lines, report.fold, mapping, &rates()).unwrap();
    (lines, true_ups)
}

/// The journal after the true-ups.
fn trued_up(mut journal: Journal, true_ups: &[TrueUp]) -> Journal {
    for one in true_ups {
        post(&mut journal, &one.call, one.consumption, one.direction, one.occurred_at.date_naive());
        journal.unconfirmed.retain(|call| Some(call.id) != one.corrects);
    }
    journal
}

/// Each true-up: direction, tenant/feature, tokens, dollars.
fn told(true_ups: &[TrueUp]) -> Vec<String> {
    let told = true_ups.iter().map(|one| {
        let amounts = one.consumption.amounts;
        format!(
            "{:?} {}/{} {} ${}",
            one.direction,
            one.call.tenant,
            one.call.feature,
            one.consumption.usage.total().unwrap(),
            amounts.usd
        )
    });
    told.collect()
}

#[track_caller]
fn check(ours: Vec<JournalRow>, calls: &[Transfer], theirs: &str, causes: &[Cause], expect: &[&str]) {
    let (report, journal) = (invoice(theirs), journal(ours, calls));
    let (lines, true_ups) = compared(&report, journal.clone(), &Mapping::new());
    let found: Vec<Cause> = lines.iter().flat_map(|line| line.causes.clone()).collect();
    assert_eq!((found.as_slice(), told(&true_ups)), (causes, expect.iter().map(|&one| one.to_owned()).collect()));
    let (_, again) = compared(&report, trued_up(journal, &true_ups), &Mapping::new());
    assert_eq!(again, [], "a second report finds nothing");
}

#[test]
fn each_cause_has_its_true_up() {
    let acme = |input: i64, usd: Decimal| row("acme/chat unit/one", [input, 0, 0, 0, 0, 0], usd);
    let same = "2026-06-09,one,input,10,10,";
    check(vec![acme(10, dec!(10))], &[], same, &[], &[]);
    check(vec![acme(4, dec!(4))], &[], same, &[Cause::UncapturedCalls], &["Forward acme/chat 6 $6"]);
    check(vec![acme(14, dec!(14))], &[], same, &[Cause::NotInReport], &["Reverse acme/chat 4 $4"]);
    check(vec![acme(10, dec!(9))], &[], same, &[Cause::PriceDifference], &["Forward acme/chat 0 $1"]);
    check(vec![acme(10, dec!(10.004))], &[], same, &[Cause::Rounding], &["Reverse acme/chat 0 $0.004"]);
    check(
        vec![acme(10, dec!(10))],
        &[],
        "2026-06-09,one,input,,11,",
        &[Cause::TokensNotTold],
        &["Forward acme/chat 0 $1"],
    );
    let bolt = row("bolt/chat unit/one", [1, 0, 0, 0, 0, 0], dec!(1));
    check(vec![acme(4, dec!(4)), bolt], &[], same, &[Cause::UncapturedCalls], &["Forward -/- 5 $5"]);
    let call = unconfirmed(1, "bolt/chat unit/one", [3, 0, 0, 0, 2, 0]);
    check(vec![acme(10, dec!(10))], &[call], same, &[Cause::UnconfirmedTimeouts], &["Reverse bolt/chat 5 $5"]);
    let calls = [
        unconfirmed(1, "acme/chat unit/one", [3, 0, 0, 0, 2, 0]),
        unconfirmed(2, "bolt/chat unit/one", [3, 0, 0, 0, 4, 0]),
    ];
    check(
        vec![],
        &calls,
        "2026-06-09,one,input,3,,\n2026-06-09,one,output,2,,",
        &[Cause::UnconfirmedTimeouts],
        &["Reverse bolt/chat 7 $7"],
    );
}

#[test]
fn what_is_taken_back_counts_where_the_call_counted() {
    let counted = day("2026-07-02").and_hms_opt(9, 0, 0).unwrap().and_utc();
    let call = Transfer { period_at: counted, ..unconfirmed(1, "acme/chat unit/one", [3, 0, 0, 0, 2, 0]) };
    let journal = journal(vec![row("acme/chat unit/one", [9, 0, 0, 0, 0, 0], dec!(9))], std::slice::from_ref(&call));
    let (_, true_ups) = compared(&invoice("2026-06-09,one,input,20,20,"), journal, &Mapping::new());
    let instants: Vec<_> = true_ups.iter().map(|one| (one.corrects, one.occurred_at, one.counts_at)).collect();
    let noon = day(DAY).and_hms_opt(12, 0, 0).unwrap().and_utc();
    assert_eq!(instants, [(Some(call.id), call.occurred_at, counted), (None, noon, noon)]);
    for (one, counts_at) in true_ups.iter().zip([counted, noon]) {
        let kept = serde_json::to_value(TrueUpBody::of(one, Some(Uuid::from_u128(9)))).unwrap();
        assert_eq!(kept.get("counts_at").is_some(), counts_at != one.occurred_at);
        let adjust = serde_json::from_value::<TrueUpBody>(kept).unwrap().to_adjust().unwrap();
        assert_eq!((adjust.occurred_at, adjust.counts_at), (one.occurred_at, counts_at));
    }
}

#[test]
fn a_usage_report_prices_by_the_tier_of_one_call_and_not_of_their_sum() {
    let report = invoice("2026-06-09,claude-sonnet-4-5,input,1000000,,");
    let provider: ProviderId = "anthropic".parse().unwrap();
    let lines = compare(&provider, &report, &Mapping::new(), Journal::default(), &rates()).unwrap();
    let true_ups = propose(&provider, &lines, report.fold, &Mapping::new(), &rates()).unwrap();
    assert_eq!(told(&true_ups), ["Forward -/- 1000000 $3"], "a million tokens are not one call of a million");
}

#[test]
fn a_mapping_says_whose_and_what_for() {
    let owner = |tenant: &str, feature: Option<&str>| Owner {
        tenant: tenant.parse().unwrap(),
        feature: feature.map(|feature| FeatureId::parse(feature).unwrap()),
    };
    let mapping: Mapping = BTreeMap::from([
        ("w1".to_owned(), owner("acme", Some("search"))),
        ("w2".to_owned(), owner("bolt", None)),
        ("default".to_owned(), owner("bolt", None)),
    ]);
    let report = invoice(
        "2026-06-09,one,input,5,5,w1\n2026-06-09,one,input,2,2,w2\n2026-06-09,one,input,1,1,\n2026-06-09,one,input,9,9,w9",
    );
    let ours = vec![row("bolt/chat unit/one", [1, 0, 0, 0, 0, 0], dec!(1))];
    let (_, true_ups) = compared(&report, journal(ours, &[]), &mapping);
    assert_eq!(told(&true_ups), ["Forward -/- 9 $9", "Forward acme/search 5 $5", "Forward bolt/chat 2 $2"]);
}

#[test]
fn what_is_taken_back_whole_takes_all_its_grams_along() {
    let ours = vec![row("acme/chat unit/one", [7, 0, 0, 0, 3, 0], dec!(10))];
    let report = invoice("2026-06-09,one,input,0,0,");
    let (_, true_ups) = compared(&report, journal(ours, &[]), &Mapping::new());
    let amounts = true_ups.first().unwrap().consumption.amounts;
    assert_eq!((amounts.gco2e_usage_location.decimal(), amounts.gco2e_embodied.decimal()), (dec!(3), dec!(1)));
}

fn page_of(results: &Value) -> Value {
    json!({"has_more": false, "data": [{"start_time": 1_780_963_200, "end_time": 1_781_049_600, "results": results}]})
}

#[test]
fn openai_s_floats_are_read_by_their_shortest_text_and_sound_by_its_parts() {
    let cost =
        |value: Value| page_of(&json!([{"amount": {"value": value, "currency": "usd"}, "line_item": "gpt-4o, input"}]));
    for (value, expect) in
        [(json!(0.1), dec!(0.1)), (json!(1e-7), dec!(0.0000001)), (json!(12), dec!(12)), (json!("0.30"), dec!(0.3))]
    {
        let report = read(&cost(value.clone()), None).unwrap();
        assert_eq!(report.rows.values().next().unwrap().usd, expect, "{value}");
    }
    let of = |parts: Value| {
        let mut result = json!({"input_tokens": 10, "output_tokens": 1, "num_model_requests": 1, "model": "gpt-4o"});
        result.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
        read(&page_of(&json!([result])), None).map_err(|error| error.place)
    };
    assert!(of(json!({"input_text_tokens": 7, "input_audio_tokens": 3})).is_ok());
    assert_eq!(of(json!({"input_audio_tokens": 3})), Err("report.data[0].results[0].input_audio_tokens".to_owned()));
    assert_eq!(of(json!({"input_cached_tokens": 11})), Err("report.data[0].results[0].input_cached_tokens".to_owned()));
    let written = of(json!({"input_cached_tokens": 2, "input_cache_write_tokens": 3})).unwrap();
    let tokens = &written.rows.values().next().unwrap().tokens;
    assert_eq!([Bucket::Input, Bucket::CacheRead, Bucket::CacheWrite5m].map(|bucket| tokens.get(bucket)), [5, 2, 3]);
    assert!(written.fold.writes_apart && !of(json!({})).unwrap().fold.writes_apart);
}

#[test]
fn cents_are_not_dollars() {
    let results = json!([{"amount": "123.45", "currency": "USD", "cost_type": "tokens", "model": "m"},
        {"amount": "5", "currency": "USD", "cost_type": "web_search", "model": null}]);
    let page = json!({"has_more": false, "data": [{"starting_at": "2026-06-09T00:00:00Z", "ending_at": "2026-06-10T00:00:00Z", "results": results}]});
    let report = read(&page, None).unwrap();
    let said: Vec<_> = report.rows.iter().map(|(key, sums)| (key.model.as_str(), sums.usd)).collect();
    assert_eq!(said, [("m", dec!(1.2345)), ("web_search", dec!(0.05))]);
}

/// A line of a random invoice: day, model, bucket, quantity, dollars in micros.
type Said = (u8, bool, u8, u32, Option<u32>);

proptest! {
    #[test]
    fn after_the_true_ups_the_books_say_what_the_report_says(
        ours in prop::collection::vec((0_u8..3, any::<bool>(), any::<bool>(), [0_i64..50, 0..50, 0..50, 0..50, 0..50, 0..50], 0_u32..9999), 0..8),
        calls in prop::collection::vec((any::<bool>(), any::<bool>(), [0_u64..40, 0..1, 0..1, 0..1, 0..40, 0..20]), 0..4),
        theirs in prop::collection::vec::<BoxedStrategy<Said>>(
            (0_u8..3, any::<bool>(), 0_u8..7, 0_u32..90, prop::option::of(0_u32..99_999_999)).boxed(), 1..10),
    ) {
        let (model, tenant) = (|one: bool| if one { "one" } else { "two" }, |acme: bool| if acme { "acme" } else { "bolt" });
        let days = ["2026-06-08", DAY, "2026-06-10"];
        let rows = ours.iter().map(|(at, one, acme, buckets, usd)| JournalRow {
            day: day(days[usize::from(*at)]),
            ..row(&format!("{}/chat unit/{}", tenant(*acme), model(*one)), *buckets, Decimal::from(*usd))
        });
        let calls: Vec<Transfer> = (1_u128..).zip(&calls)
            .map(|(number, (one, acme, buckets))| unconfirmed(number, &format!("{}/chat unit/{}", tenant(*acme), model(*one)), *buckets))
            .collect();
        let journal = journal(rows.collect(), &calls);
        let words = ["input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning", "requests"];
        let lines = theirs.iter().map(|(at, one, bucket, quantity, usd)| {
            let usd = usd.map_or_else(String::new, |micros| Decimal::new(i64::from(micros), 6).to_string());
            format!("{},{},{},{quantity},{usd},\n", days[usize::from(*at)], model(*one), words[usize::from(*bucket)])
        });
        let text = format!("day,model,bucket,quantity,usd,workspace\n{}", lines.collect::<String>());
        let Ok(report) = read(&json!(text), None) else { return Ok(()) };
        let (_, true_ups) = compared(&report, journal.clone(), &Mapping::new());
        let after = trued_up(journal, &true_ups);
        let (lines, again) = compared(&report, after, &Mapping::new());
        prop_assert_eq!(again, vec![]);
        for line in &lines {
            prop_assert!(line.agrees(report.fold), "{:?}", line);
        }
    }

    #[test]
    fn no_body_makes_the_reader_panic(text in ".{0,200}", number in any::<f64>()) {
        let _ = read(&json!(text), None);
        let _ = read(&json!({"data": [{"start_time": number, "results": [{"input_tokens": number, "model": text}]}]}), None);
        let _ = read(&page_of(&json!([{"amount": {"value": number, "currency": "usd"}, "line_item": text}])), None);
    }
}

/// Spans come in any order, and only neighbours can overlap: a day in minutes is read as fast as it is long.
#[test]
fn spans_that_overlap_are_found_wherever_they_stand_and_the_others_are_not_compared() {
    use super::pages::{Coverage, Span};
    let midnight: chrono::DateTime<chrono::Utc> = "2026-06-09T00:00:00Z".parse().unwrap();
    let span = |from: i64, to: i64| {
        let at = |minute| midnight + chrono::TimeDelta::minutes(minute);
        Span::new(at(from), at(to), "here").unwrap()
    };
    let mut coverage = Coverage::default();
    for minute in (0..1440).rev().filter(|minute| minute % 7 != 3) {
        coverage.note(span(minute, minute + 1), "first").unwrap();
    }
    for (from, to) in [(0, 1), (1439, 1440), (2, 4), (3, 5), (0, 1440), (3, 1440), (100, 101)] {
        assert!(coverage.note(span(from, to), "again").is_err(), "{from} {to}");
    }
    for minute in (0..1440).filter(|minute| minute % 7 == 3) {
        coverage.note(span(minute, minute + 1), "rest").unwrap();
    }
    assert_eq!(coverage.days().unwrap().len(), 1);
}
