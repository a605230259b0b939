//! Endpoints: write, look, test, resume, remove. A foreign endpoint looks like one that is not there.

use std::collections::BTreeMap;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use uuid::Uuid;

use super::super::{App, AppError};
use super::secrets::sealed;
use crate::auth::seal::SealError;
use crate::courier::Address;
use crate::domain::id::{TenantId, WebhookId};
use crate::store::webhook_secrets::sealed_by_others;
use crate::store::webhooks as sql;
use crate::wire::FieldError;
use crate::wire::alert::{AlertKindName, EventBody, EventStatus, SeverityName};
use crate::wire::page::Page;
use crate::wire::webhook::{
    WEBHOOK_URL_LENGTH_MAX, WebhookBody, WebhookPutBody, WebhookSecret, WebhookTestBody, WrittenWebhookBody,
};

/// Bytes of a secret that the service makes.
const SECRET_BYTES: usize = 32;

fn fresh_secret() -> Result<WebhookSecret, AppError> {
    let mut bytes = vec![0; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AppError::NoRandomness)?;
    Ok(WebhookSecret::from_bytes(bytes)?)
}

impl App {
    /// Creates or replaces an endpoint of a tenant, or of the platform. A caller that is confined to a tenant replaces that
    /// tenant's own only.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::WebhookTaken`] when the id is that of an endpoint out of the caller's
    /// reach.
    pub async fn put_webhook(
        &self,
        id: &WebhookId,
        tenant: Option<&TenantId>,
        body: &WebhookPutBody,
        confined: Option<&TenantId>,
    ) -> Result<WrittenWebhookBody, AppError> {
        if body.url.len() > WEBHOOK_URL_LENGTH_MAX {
            return Err(FieldError::new("url", format!("may have at most {WEBHOOK_URL_LENGTH_MAX} bytes")).into());
        }
        Address::parse(&body.url).map_err(|error| FieldError::new("url", error))?;
        if let Some(tenant) = tenant {
            self.know_tenant(tenant).await?;
        }
        let given = body.secret.as_deref().map(WebhookSecret::parse).transpose()?;
        let mut transaction = self.pool.begin().await?;
        let known = sql::tenant_of(&mut transaction, id).await?;
        if let (Some(own), Some(taken)) = (confined, &known)
            && taken.as_ref() != Some(own)
        {
            return Err(AppError::WebhookTaken(id.clone()));
        }
        let made = if given.is_none() && known.is_none() { Some(fresh_secret()?) } else { None };
        let secret = match given.or_else(|| made.clone()) {
            Some(secret) => secret,
            // One that exists keeps its own; this one is not written.
            None => fresh_secret()?,
        };
        let sealed = sealed(&self.seals, id, &secret)?;
        sql::put(&mut transaction, id, tenant, body, &sealed, self.clock.now()).await?;
        transaction.commit().await?;
        let webhook = self.webhook(id, None).await?;
        Ok(WrittenWebhookBody { webhook, secret: made.map(|secret| secret.reveal()) })
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`AppError::UnknownWebhook`] when there is none that the caller may see.
    pub async fn webhook(&self, id: &WebhookId, confined: Option<&TenantId>) -> Result<WebhookBody, AppError> {
        let mut read = self.begin_read(confined).await?;
        let found = sql::get(&mut read, id).await?;
        read.commit().await?;
        let found = found.ok_or_else(|| AppError::UnknownWebhook(id.clone()))?;
        let mut found = self.with_waiting(vec![found]).await?;
        found.pop().ok_or_else(|| AppError::UnknownWebhook(id.clone()))
    }

    /// A page of endpoints, by id.
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
        let (found, next_cursor) = page.cut(found, |webhook| webhook.id.clone());
        Ok((self.with_waiting(found).await?, next_cursor))
    }

    async fn with_waiting(&self, mut found: Vec<WebhookBody>) -> Result<Vec<WebhookBody>, AppError> {
        let ids: Vec<String> = found.iter().map(|webhook| webhook.id.clone()).collect();
        let mut connection = self.pool.acquire().await?;
        let counts = sql::waiting(&mut connection, &ids).await?;
        let of_others = sealed_by_others(&mut connection, &ids, self.seals.id()).await?;
        for (webhook, count) in found.iter_mut().zip(counts) {
            webhook.waiting = count;
            if of_others.contains(&webhook.id) {
                webhook.last_error = Some(SealError::OtherKey.to_string());
            }
        }
        Ok(found)
    }

    /// Removes an endpoint and what waits for it; answers what it was.
    ///
    /// # Errors
    /// [`AppError::UnknownWebhook`] when there is none that the caller may see.
    pub async fn delete_webhook(&self, id: &WebhookId, confined: Option<&TenantId>) -> Result<WebhookBody, AppError> {
        let was = self.webhook(id, confined).await?;
        let mut transaction = self.pool.begin().await?;
        sql::delete(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(was)
    }

    /// Sends to a paused endpoint again.
    ///
    /// # Errors
    /// [`AppError::UnknownWebhook`] when there is none that the caller may see.
    pub async fn resume_webhook(&self, id: &WebhookId, confined: Option<&TenantId>) -> Result<WebhookBody, AppError> {
        self.webhook(id, confined).await?;
        let mut transaction = self.pool.begin().await?;
        sql::resume(&mut transaction, id, self.clock.now()).await?;
        transaction.commit().await?;
        self.events.wake();
        self.webhook(id, confined).await
    }

    /// Sends a message of type `test.raised` at once, past the outbox, and says what came of it. It changes nothing.
    ///
    /// # Errors
    /// [`AppError::UnknownWebhook`] when there is none that the caller may see.
    pub async fn test_webhook(&self, id: &WebhookId, confined: Option<&TenantId>) -> Result<WebhookTestBody, AppError> {
        let webhook = self.webhook(id, confined).await?;
        let mut connection = self.pool.acquire().await?;
        let target = sql::target_of(&mut connection, id).await?;
        drop(connection);
        let target = target.ok_or_else(|| AppError::UnknownWebhook(id.clone()))?;
        let now = self.clock.now();
        let event = EventBody {
            id: Uuid::now_v7(),
            kind: AlertKindName::Threshold,
            status: EventStatus::Raised,
            severity: SeverityName::Info,
            occurred_at: now,
            tenant: webhook.tenant,
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
        Ok(match self.send_event(id, &target, &event, "test.raised".to_owned(), now).await {
            Ok(status) => WebhookTestBody { delivered: true, status: Some(status), error: None },
            Err(error) => WebhookTestBody { delivered: false, status: error.status(), error: Some(error.to_string()) },
        })
    }
}
