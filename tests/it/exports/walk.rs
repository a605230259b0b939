//! Exports read page by page up to a mark: without gap or overlap, without a transaction that lasts, and as the tenant.

use counterfoil::domain::id::TenantId;
use counterfoil::export::focus::adding::{CHARGES_MAX, ChargeRow, Slots};
use counterfoil::export::focus::pages::ChargePages;
use counterfoil::export::stream::Pages;
use counterfoil::store::export::Slice;
use counterfoil::store::export::reader::JournalReader;
use counterfoil::store::export::walk::Walk;
use counterfoil::wire::usage::Basis;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{export, trial_balance};
use crate::books::{empty_world, world};
use crate::support::service::TestService;

/// Copies of each call, many of them at the same instants.
const COPIES: usize = 40;

/// A journal of many pages, in books that still tie.
async fn long_world() -> TestService {
    let service = world().await;
    let copied = sqlx::query(
        "insert into transfers
        select (jsonb_populate_record(transfers, jsonb_build_object(
            'id', gen_random_uuid(), 'period_at', transfers.period_at + make_interval(secs => copy / 4)
        ))).*
        from transfers, generate_series(1, $1) as copy",
    );
    copied.bind(i32::try_from(COPIES).unwrap()).execute(service.db.pool()).await.unwrap();
    service
}

/// The ids of the journal in the order of time, of one tenant or of all.
async fn in_time(service: &TestService, tenant: Option<&str>) -> Vec<String> {
    let ids = "select id::text from transfers where $1::text is null or tenant = $1 order by period_at, id";
    sqlx::query_scalar(ids).bind(tenant).fetch_all(service.db.pool()).await.unwrap()
}

async fn reader(service: &TestService, tenant: Option<&str>) -> (JournalReader, Slice) {
    let tenant: Option<TenantId> = tenant.map(|tenant| tenant.parse().unwrap());
    let reader = JournalReader::open(service.db.pool(), tenant.as_ref(), service.now()).await.unwrap();
    let until = reader.mark().clone();
    // Whose rows are read is not for the slice alone to say: it names no tenant here.
    (reader, Slice { tenant: None, from: None, to: None, basis: Basis::AsPosted, since: None, until, until_now: true })
}

/// Page by page. Also how many rows each had.
async fn walked(reader: &mut JournalReader, slice: &Slice) -> (Vec<Uuid>, Vec<usize>) {
    let (mut ids, mut pages) = (Vec::new(), Vec::new());
    let mut walk = Walk::begin(reader, slice).await.unwrap();
    while let Some(page) = walk.next(reader).await.unwrap() {
        let rows = reader.transfers(slice, &page).await.unwrap();
        pages.push(rows.len());
        ids.extend(rows.iter().map(|row| row.id));
    }
    (ids, pages)
}

async fn post(service: &TestService, tenant: &str, labels: Value) {
    let usage = json!({"tenant": tenant, "feature": "chat", "provider": "openai", "model": "gpt-4o", "labels": labels, "usage": {"output": 7}});
    service.call("POST", "/v1/usage", usage).await.ok();
}

#[tokio::test]
async fn a_journal_of_many_pages_comes_whole_and_in_the_order_of_time() {
    let service = long_world().await;
    for tenant in [None, Some("tokyo"), Some("kathmandu")] {
        let expected = in_time(&service, tenant).await;
        assert!(expected.len() > 3 * COPIES, "{tenant:?}");
        let query = tenant.map_or(String::new(), |tenant| format!("?tenant={tenant}"));
        let file = export(&service, &format!("/v1/exports/transfers{query}")).await;
        assert_eq!(file.column("transfer"), expected, "{tenant:?}");
        for (unit, debit) in trial_balance(&service, tenant).await {
            assert_eq!(file.sum(&unit), debit, "{tenant:?} {unit}");
        }
    }
    let (mut reader, slice) = reader(&service, None).await;
    let (_, pages) = walked(&mut reader, &slice).await;
    assert!(pages.len() > 10, "an export that knows nothing yet goes by small pages: {pages:?}");
}

#[tokio::test]
async fn a_tenants_reader_sees_no_row_of_another_on_any_page() {
    let service = long_world().await;
    let (mut tokyos, slice) = reader(&service, Some("tokyo")).await;
    let (ids, pages) = walked(&mut tokyos, &slice).await;
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    assert_eq!(ids, in_time(&service, Some("tokyo")).await);
    assert!(pages.len() > 10 && pages.iter().sum::<usize>() == ids.len());
    let balance = tokyos.balance(&slice).await.unwrap();
    assert_eq!(balance.transfers, u64::try_from(ids.len()).unwrap());
    let seen: Vec<String> = sqlx::query_scalar("select distinct tenant from transfers union select id from tenants")
        .fetch_all(tokyos.connection())
        .await
        .unwrap();
    assert_eq!(seen, ["tokyo"], "between pages, too");
}

#[tokio::test]
async fn what_is_written_meanwhile_is_of_no_page() {
    let service = long_world().await;
    let (mut reader, slice) = reader(&service, None).await;
    let before = reader.balance(&slice).await.unwrap();
    let expected = in_time(&service, None).await;
    let mut walk = Walk::begin(&mut reader, &slice).await.unwrap();
    let mut ids = Vec::new();
    while let Some(page) = walk.next(&mut reader).await.unwrap() {
        // At the end, and in the middle of what is still to come.
        post(&service, "tokyo", json!({})).await;
        let copied = "insert into transfers
            select (jsonb_populate_record(transfers, jsonb_build_object('id', gen_random_uuid(), 'recorded_at', $1))).*
            from transfers
            where period_at >= (select percentile_disc(0.9) within group (order by period_at) from transfers)
            limit 20";
        sqlx::query(copied).bind(service.now()).execute(service.db.pool()).await.unwrap();
        ids.extend(reader.transfers(&slice, &page).await.unwrap().iter().map(|row| row.id.to_string()));
    }
    assert_eq!(ids, expected);
    assert_eq!(reader.balance(&slice).await.unwrap(), before);
    assert!(in_time(&service, None).await.len() > expected.len() + 100);
}

#[tokio::test]
async fn what_is_new_is_walked_to_and_not_all_that_was() {
    let service = long_world().await;
    // Near a mark rows are looked at one by one.
    service.advance(chrono::TimeDelta::hours(3));
    let (first, _) = reader(&service, None).await;
    post(&service, "tokyo", json!({})).await;
    let (mut second, slice) = reader(&service, None).await;
    let slice = Slice { since: Some(first.mark().clone()), ..slice };
    let (ids, pages) = walked(&mut second, &slice).await;
    assert_eq!(ids.len(), 1);
    assert_eq!(ids[0].to_string(), *in_time(&service, None).await.last().unwrap());
    assert_eq!(pages.len(), 1, "the journal has many pages");
}

#[tokio::test]
async fn between_pages_nothing_is_kept_from_being_cleared_up() {
    let service = long_world().await;
    for tenant in [None, Some("tokyo")] {
        let (mut reader, slice) = reader(&service, tenant).await;
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(reader.connection()).await.unwrap();
        let mut walk = Walk::begin(&mut reader, &slice).await.unwrap();
        while let Some(page) = walk.next(&mut reader).await.unwrap() {
            reader.transfers(&slice, &page).await.unwrap();
            let holds: (String, bool, bool) = sqlx::query_as(
                "select state, backend_xmin is not null, backend_xid is not null from pg_stat_activity where pid = $1",
            )
            .bind(pid)
            .fetch_one(service.db.pool())
            .await
            .unwrap();
            assert_eq!(holds, ("idle".to_owned(), false, false));
        }
    }
}

#[tokio::test]
async fn charges_are_the_same_however_few_are_held_at_once() {
    let service = empty_world().await;
    for n in 0..30 {
        post(&service, ["tokyo", "berlin"][n % 2], json!({"ticket": (n / 3).to_string()})).await;
        service.advance(chrono::TimeDelta::minutes(5));
    }
    let mut told: Vec<Vec<ChargeRow>> = Vec::new();
    for most in [CHARGES_MAX, 1, 3] {
        let (mut reader, slice) = reader(&service, None).await;
        let (from, to) = (service.now() - chrono::TimeDelta::days(1), service.now());
        let slice = Slice { from: Some(from), to: Some(to), ..slice };
        let slots = Slots {
            starts: vec![from, to - chrono::TimeDelta::hours(1)],
            end: to,
            zone: counterfoil::domain::calendar::Zone::UTC,
        };
        let mut pages = ChargePages::begin(&mut reader, slice, slots, most).await.unwrap();
        let mut charges = Vec::new();
        while let Some(page) = pages.next().await.unwrap() {
            charges.extend(page);
        }
        told.push(charges);
    }
    assert_eq!(told[0].iter().map(|charge| charge.transfers).sum::<u64>(), 30);
    assert!(told[0].len() > 10 && told[0].iter().any(|charge| charge.slot == 1));
    assert!(told[0].iter().all(|charge| charge.tenant_name.is_some()));
    assert_eq!(told[1], told[0], "one at a time");
    assert_eq!(told[2], told[0], "three at a time");
}
