//! Secrets of webhooks at rest: of no use to whoever has the database alone.

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{acme, evaluate, spend};
use crate::support::service::{Replica, TestService};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn put(replica: &Replica, id: &str, receiver: &Receiver, secret: Option<&str>) -> Value {
    let body = json!({"url": receiver.url(), "secret": secret});
    replica.call("PUT", &format!("/v1/webhooks/{id}"), body).await.ok()
}

/// What the database holds of a webhook, as text.
async fn kept(service: &TestService, id: &str) -> String {
    let row = sqlx::query_scalar("select webhooks::text from webhooks where id = $1").bind(id);
    row.fetch_one(service.db.pool()).await.unwrap()
}

/// As a release wrote it that did not seal.
async fn put_in_clear(service: &TestService, id: &str, secret: &str) {
    let done = sqlx::query("update webhooks set secret = $2, sealed_secret = null, sealed_by = null where id = $1")
        .bind(id)
        .bind(secret)
        .execute(service.db.pool())
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
}

async fn test(replica: &Replica, id: &str) -> Value {
    replica.call("POST", &format!("/v1/webhooks/{id}/test"), Value::Null).await.ok()
}

fn of(secret: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap()
}

#[tokio::test]
async fn the_database_alone_does_not_tell_a_secret() {
    let service = acme().await;
    let receiver = Receiver::start().await;
    put(&service, "pager", &receiver, Some(SECRET)).await;
    let made = put(&service, "made", &receiver, None).await["secret"].as_str().unwrap().to_owned();
    for (id, secret) in [("pager", SECRET), ("made", &made)] {
        let kept = kept(&service, id).await;
        let hex: String = of(secret).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!kept.contains(&secret["whsec_".len()..]) && !kept.contains(&hex), "{kept}");
        assert!(kept.contains(service.app.seals.id()), "{kept}");
        assert_eq!(test(&service, id).await["delivered"], true);
        assert!(receiver.taken().remove(0).is_signed_by(secret));
    }
    // What was sealed for one is of no use in the row of another.
    sqlx::query(
        "update webhooks set sealed_secret = (select sealed_secret from webhooks where id = 'made') where id = 'pager'",
    )
    .execute(service.db.pool())
    .await
    .unwrap();
    let told = test(&service, "pager").await;
    assert_eq!(told["delivered"], false);
    assert_eq!(told["error"], "its secret is not what was sealed: write the webhook again with a new secret");
    assert_eq!(receiver.taken().len(), 0, "nothing is sent that is signed by another's secret");
}

#[tokio::test]
async fn a_secret_in_clear_signs_until_it_is_sealed_and_after() {
    let service = acme().await;
    let receiver = Receiver::start().await;
    for id in ["pager", "other", "new"] {
        put(&service, id, &receiver, Some(OTHER_SECRET)).await;
    }
    put_in_clear(&service, "pager", SECRET).await;
    put_in_clear(&service, "other", SECRET).await;
    assert!(kept(&service, "pager").await.contains(SECRET));
    test(&service, "pager").await;
    assert!(receiver.taken().remove(0).is_signed_by(SECRET));
    service.tidy().await;
    assert!(!kept(&service, "pager").await.contains(SECRET));
    assert_eq!(service.app.seal_secrets().await.unwrap(), 0, "and none is left");
    for (id, secret) in [("pager", SECRET), ("other", SECRET), ("new", OTHER_SECRET)] {
        test(&service, id).await;
        assert!(receiver.taken().remove(0).is_signed_by(secret), "{id}");
    }
    // A secret that is given takes the place of one in clear.
    put_in_clear(&service, "pager", SECRET).await;
    put(&service, "pager", &receiver, Some(OTHER_SECRET)).await;
    assert!(!kept(&service, "pager").await.contains(SECRET));
    test(&service, "pager").await;
    assert!(receiver.taken().remove(0).is_signed_by(OTHER_SECRET));
}

#[tokio::test]
async fn a_replica_with_another_key_leaves_events_to_those_that_can_sign_them_and_says_so() {
    let service = acme().await;
    let stranger = service.with_another_seal();
    let receiver = Receiver::start().await;
    put(&service, "pager", &receiver, Some(SECRET)).await;
    spend(&service, "acme", 500).await;
    assert_eq!(evaluate(&service).await, 1);
    let sent = stranger.app.deliver_events().await.unwrap();
    assert_eq!((sent.delivered, sent.failed), (0, 0), "it claims nothing, and counts no failure");
    assert_eq!(stranger.app.count_secrets_of_others().await.unwrap(), 1);
    assert_eq!(service.app.count_secrets_of_others().await.unwrap(), 0);
    let shown = stranger.call("GET", "/v1/webhooks/pager", Value::Null).await.ok();
    assert_eq!((&shown["waiting"], &shown["failures"]), (&json!(1), &json!(0)));
    assert!(shown["last_error"].as_str().unwrap().contains("webhook.key"), "{shown:#}");
    let told = test(&stranger, "pager").await;
    assert_eq!((&told["delivered"], &told["error"]), (&json!(false), &shown["last_error"]));
    assert_eq!(receiver.taken().len(), 0);
    let sent = service.app.deliver_events().await.unwrap();
    assert_eq!(sent.delivered, 1, "the others were not held up");
    assert!(receiver.taken().remove(0).is_signed_by(SECRET));
    // Who lost the key writes a new secret.
    put(&stranger, "pager", &receiver, Some(OTHER_SECRET)).await;
    assert_eq!(test(&stranger, "pager").await["delivered"], true);
    assert!(receiver.taken().remove(0).is_signed_by(OTHER_SECRET));
}

#[tokio::test]
async fn a_row_has_one_secret_in_one_form() {
    let service = acme().await;
    put(&service, "pager", &Receiver::start().await, None).await;
    for wrong in
        ["secret = 'whsec_x'", "sealed_secret = null", "sealed_by = null", "sealed_secret = null, sealed_by = null"]
    {
        let statement = sqlx::AssertSqlSafe(format!("update webhooks set {wrong}"));
        let refused = sqlx::query(statement).execute(service.db.pool()).await.unwrap_err();
        assert!(refused.to_string().contains("check constraint"), "{wrong}: {refused}");
    }
}
