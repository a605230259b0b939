//! What a call would cost, by the books as they are at this moment on every replica.

use super::{App, AppError};
use crate::domain::estimate::estimate;
use crate::domain::ledger::call_bound::TokensField;
use crate::domain::ledger::outcome::Refusal;
use crate::wire::estimate::{EstimateAnswer, EstimateQuestion};

impl App {
    /// Answers what a call would cost. Touches nothing.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub async fn estimate(&self, question: &EstimateQuestion) -> Result<EstimateAnswer, AppError> {
        self.catch_up().await?;
        let rates = self.snapshots.latest().rates;
        let question = question.to_question(self.clock.now(), rates.profile)?;
        self.call_bound.check(TokensField::Usage, &question.usage)?;
        let found = estimate(&rates, &question).map_err(Refusal::Tariff)?;
        Ok(EstimateAnswer::of(&found, question.at))
    }
}
