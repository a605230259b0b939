//! Sliding windows: what has left them is forgotten.

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::{App, AppError};
use crate::domain::calendar::Zone;
use crate::domain::ledger::outcome::Refusal;
use crate::store::housekeeping;

impl App {
    /// Forgets the slices that left their sliding window a while ago, and the windows that have none left. Page by page, until
    /// it is told to stop.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_slices(&self, connection: &mut PgConnection, stop: &CancellationToken) -> Result<(), AppError> {
        // What may be gone is written down before anything goes: whoever recounts leaves it out.
        let Some(gone) = housekeeping::move_slices_forgotten(&mut *connection, self.clock.now()).await? else {
            return Ok(());
        };
        let catalogue = self.snapshots.refresh(&mut *connection).await?.catalogue;
        let mut forgotten = 0_u64;
        for budget in catalogue.budgets().filter(|budget| budget.period.slides().is_some()) {
            // The slice that this instant was in has not left the window of then, and those before it have.
            let before = budget.period.since(Zone::UTC, gone).map_err(Refusal::Calendar)?;
            while !stop.is_cancelled() {
                let page = housekeeping::forget_slices(&mut *connection, budget.number, before).await?;
                forgotten = forgotten.saturating_add(page);
                if page < housekeeping::PAGE {
                    break;
                }
            }
        }
        while !stop.is_cancelled() && housekeeping::forget_windows(&mut *connection).await? == housekeeping::PAGE {}
        if forgotten > 0 {
            tracing::info!(forgotten, "slices of sliding windows that nobody counts any more are forgotten");
        }
        Ok(())
    }
}
