//! Endpoints: write, look, test, resume, remove. A foreign endpoint looks like one that is not there.

use std::collections::BTreeMap;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::super::catalogue::Precondition;
use super::super::given::{Given, keep};
use super::super::{App, AppError};
use super::secrets::sealed;
use crate::auth::seal::SealError;
use crate::courier::Address;
use crate::domain::alert::endpoint::WebhookKey;
use crate::domain::id::{TenantId, WebhookId};
use crate::domain::ledger::command::Idempotency;
use crate::store::webhook_secrets::sealed_by_others;
use crate::store::webhooks::{self as sql, Found};
use crate::wire::FieldError;
use crate::wire::alert::{AlertKindName, EventBody, EventStatus, SeverityName};
use crate::wire::page::Page;
use crate::wire::webhook::{
    WEBHOOK_URL_LENGTH_MAX, WebhookBody, WebhookPutBody, WebhookSecret, WebhookTestBody, WrittenWebhookBody,
};

/// Most endpoints of one tenant; of the platform as many.
pub const WEBHOOKS_MAX: i64 = 50;
/// Bytes of a secret that the service makes.
const SECRET_BYTES: usize = 32;

fn fresh_secret() -> Result<WebhookSecret, AppError> {
    let mut bytes = vec![0; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AppError::NoRandomness)?;
    Ok(WebhookSecret::from_bytes(bytes)?)
}

impl App {
    /// Creates or replaces an endpoint in the space of a tenant, or of the platform. Nothing outside of that space is looked at,
    /// changed or shown; what is answered is what was written.
    ///
    /// # Errors
    /// Names the field that is wrong, or says that the space is full; [`AppError::PreconditionFailed`].
    pub async fn put_webhook(
        &self,
        id: &WebhookId,
        tenant: Option<&TenantId>,
        body: &WebhookPutBody,
        when: &Precondition,
    ) -> Result<WrittenWebhookBody, AppError> {
        if body.url.len() > WEBHOOK_URL_LENGTH_MAX {
            return Err(FieldError::new("url", format!("may have at most {WEBHOOK_URL_LENGTH_MAX} bytes")).into());
        }
        Address::parse(&body.url).map_err(|error| FieldError::new("url", error))?;
        if let Some(tenant) = tenant {
            self.know_tenant(tenant).await?;
        }
        let given = body.secret.as_deref().map(WebhookSecret::parse).transpose()?;
        let now = self.clock.now();
        let mut transaction = self.pool.begin().await?;
        // Whoever creates it in between is found in the second round.
        for _ in 0..2 {
            let known = sql::lock(&mut transaction, tenant, id).await?;
            when.check(id.as_str(), known.as_ref().map(|known| known.webhook.version))?;
            if let Some(known) = known {
                let secret = given.as_ref().map(|secret| sealed(&self.seals, &known.key, secret)).transpose()?;
                let written = sql::replace(&mut transaction, &known.key, body, secret.as_ref(), now).await?;
                let webhook = self.with_waiting(&mut transaction, vec![written]).await?.pop();
                transaction.commit().await?;
                let webhook = webhook.ok_or_else(|| AppError::UnknownWebhook(id.clone()))?;
                return Ok(WrittenWebhookBody { webhook, secret: None });
            }
            if sql::count_of(&mut transaction, tenant).await? >= WEBHOOKS_MAX {
                let detail = format!("is one too many: there may be {WEBHOOKS_MAX} webhooks, remove one first");
                return Err(FieldError::new("id", detail).into());
            }
            let made = if given.is_none() { Some(fresh_secret()?) } else { None };
            let Some(secret) = given.as_ref().or(made.as_ref()) else { return Err(AppError::NoRandomness) };
            for key in WebhookKey::candidates(tenant, id) {
                let sealed = sealed(&self.seals, &key, secret)?;
                if let Some(written) = sql::insert(&mut transaction, (&key, tenant, id), body, &sealed, now).await? {
                    transaction.commit().await?;
                    let secret = made.map(|secret| secret.reveal());
                    return Ok(WrittenWebhookBody { webhook: written.webhook, secret });
                }
            }
        }
        Err(AppError::Busy("the webhook is being written by somebody else: try again"))
    }

    /// The space in which an id is looked up: that of the tenant that is named, or else of whoever has it. One of the platform
    /// goes before those of tenants.
    async fn space(
        &self,
        connection: &mut PgConnection,
        id: &WebhookId,
        named: Option<&TenantId>,
    ) -> Result<Option<TenantId>, AppError> {
        if let Some(tenant) = named {
            return Ok(Some(tenant.clone()));
        }
        let tenants = sql::tenants_of(connection, id).await?;
        match tenants.as_slice() {
            [] => Err(AppError::UnknownWebhook(id.clone())),
            [one] => Ok(one.clone()),
            several if several.contains(&None) => Ok(None),
            _ => Err(FieldError::new("tenant", format!("is required: several tenants have a webhook `{id}`")).into()),
        }
    }

    /// One endpoint, of the tenant that is named. Without one, of the platform or of the only tenant that has it.
    ///
    /// # Errors
    /// [`AppError::UnknownWebhook`] when there is none that the caller may see.
    pub async fn webhook(&self, id: &WebhookId, tenant: Option<&TenantId>) -> Result<WebhookBody, AppError> {
        let mut connection = self.pool.acquire().await?;
        let space = self.space(&mut connection, id, tenant).await?;
        drop(connection);
        let mut read = self.begin_read(space.as_ref()).await?;
        let found = sql::get(&mut read, space.as_ref(), id).await?;
        read.commit().await?;
        let mut connection = self.pool.acquire().await?;
        let shown = self.with_waiting(&mut connection, found.into_iter().collect()).await?;
        shown.into_iter().next().ok_or_else(|| AppError::UnknownWebhook(id.clone()))
    }

    /// A page of endpoints, those of the platform first, by tenant and id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn webhooks(
        &self,
        only: Option<&TenantId>,
        confined: Option<&TenantId>,
        page: &Page,
    ) -> Result<(Vec<WebhookBody>, Option<String>), AppError> {
        let mut read = self.begin_read(confined).await?;
        let found = sql::list(&mut read, only, page).await?;
        read.commit().await?;
        let (found, next_cursor) = page.cut(found, |found| found.key.as_str().to_owned());
        let mut connection = self.pool.acquire().await?;
        Ok((self.with_waiting(&mut connection, found).await?, next_cursor))
    }

    async fn with_waiting(
        &self,
        connection: &mut PgConnection,
        found: Vec<Found>,
    ) -> Result<Vec<WebhookBody>, AppError> {
        let keys: Vec<&str> = found.iter().map(|found| found.key.as_str()).collect();
        let counts = sql::waiting(&mut *connection, &keys).await?;
        let of_others = sealed_by_others(connection, &keys, self.seals.id()).await?;
        let shown = found.iter().zip(counts).map(|(found, count)| {
            let mut webhook = found.webhook.clone();
            webhook.waiting = count;
            if of_others.iter().any(|key| key == found.key.as_str()) {
                webhook.last_error = Some(SealError::OtherKey.to_string());
            }
            webhook
        });
        Ok(shown.collect())
    }

    /// Removes an endpoint and what waits for it; answers what it was.
    ///
    /// # Errors
    /// [`AppError::UnknownWebhook`] when there is none that the caller may see; [`AppError::PreconditionFailed`].
    pub async fn delete_webhook(
        &self,
        id: &WebhookId,
        tenant: Option<&TenantId>,
        when: &Precondition,
    ) -> Result<WebhookBody, AppError> {
        let mut transaction = self.pool.begin().await?;
        let space = self.space(&mut transaction, id, tenant).await?;
        let found = sql::lock(&mut transaction, space.as_ref(), id).await?;
        let found = found.ok_or_else(|| AppError::UnknownWebhook(id.clone()))?;
        when.check(id.as_str(), Some(found.webhook.version))?;
        let key = found.key.clone();
        let was = self.with_waiting(&mut transaction, vec![found]).await?.pop();
        sql::delete(&mut transaction, &key).await?;
        transaction.commit().await?;
        was.ok_or_else(|| AppError::UnknownWebhook(id.clone()))
    }

    /// Sends to a paused endpoint again. A repeat under the same key is the first answer.
    ///
    /// # Errors
    /// [`AppError::UnknownWebhook`] when there is none that the caller may see; the refusal of a key that was used for something
    /// else.
    pub async fn resume_webhook(
        &self,
        id: &WebhookId,
        tenant: Option<&TenantId>,
        key: Option<&Idempotency>,
    ) -> Result<Given<WebhookBody>, AppError> {
        let mut transaction = self.pool.begin().await?;
        if let Some(given) = self.given_before(&mut transaction, key).await? {
            return Ok(given);
        }
        let space = self.space(&mut transaction, id, tenant).await?;
        let found = sql::lock(&mut transaction, space.as_ref(), id).await?;
        let found = found.ok_or_else(|| AppError::UnknownWebhook(id.clone()))?;
        let now = self.clock.now();
        sql::resume(&mut transaction, &found.key, now).await?;
        let resumed = sql::get(&mut transaction, space.as_ref(), id).await?;
        let shown = self.with_waiting(&mut transaction, resumed.into_iter().collect()).await?.pop();
        let shown = shown.ok_or_else(|| AppError::UnknownWebhook(id.clone()))?;
        keep(&mut transaction, key, &shown, now).await?;
        transaction.commit().await?;
        self.events.wake();
        Ok(Given::new(shown))
    }

    /// Sends a message of type `test.raised` at once, past the outbox, and says what came of it. It changes nothing. A caller
    /// that is confined to a tenant learns nothing about addresses inside. A repeat under the same key is the first answer, and
    /// sends nothing; only one that comes while the first is on its way sends as well.
    ///
    /// # Errors
    /// [`AppError::UnknownWebhook`] when there is none that the caller may see; the refusal of a key that was used for something
    /// else.
    pub async fn test_webhook(
        &self,
        id: &WebhookId,
        tenant: Option<&TenantId>,
        is_confined: bool,
        key: Option<&Idempotency>,
    ) -> Result<Given<WebhookTestBody>, AppError> {
        let mut connection = self.pool.acquire().await?;
        if let Some(given) = self.given_before(&mut connection, key).await? {
            return Ok(given);
        }
        let space = self.space(&mut connection, id, tenant).await?;
        let found = sql::get(&mut connection, space.as_ref(), id).await?;
        let found = found.ok_or_else(|| AppError::UnknownWebhook(id.clone()))?;
        let target = sql::target_of(&mut connection, &found.key).await?;
        drop(connection);
        let target = target.ok_or_else(|| AppError::UnknownWebhook(id.clone()))?;
        let now = self.clock.now();
        let event = EventBody {
            id: Uuid::now_v7(),
            kind: AlertKindName::Threshold,
            status: EventStatus::Raised,
            severity: SeverityName::Info,
            occurred_at: now,
            tenant: found.webhook.tenant,
            budget: None,
            key: None,
            feature: None,
            run: None,
            provider: None,
            model: None,
            message: "this is a test: nothing has happened".to_owned(),
            advice: "Nothing: check the signature and answer with a status of 200 to 299.".to_owned(),
            numbers: BTreeMap::new(),
            links: [("webhook".to_owned(), format!("/v1/webhooks/{id}"))].into(),
            ends_at: None,
            raised_by: None,
            raised_at: now,
        };
        let answer = match self.send_event(&found.key, &target, &event, "test.raised".to_owned(), now).await {
            Ok(status) => WebhookTestBody { delivered: true, status: Some(status), error: None },
            Err(error) => {
                let text = if is_confined { error.for_tenant() } else { error.to_string() };
                WebhookTestBody { delivered: false, status: error.status(), error: Some(text) }
            }
        };
        keep(&mut *self.pool.acquire().await?, key, &answer, now).await?;
        Ok(Given::new(answer))
    }
}
