//! Seeing the wall: projections of budgets, the work that is announced to them, and how right they were.
//!
//! | room | one sentence |
//! |---|---|
//! | [`subject`] | what is projected: one counter of one budget |
//! | [`asked`] | from the books to a question |
//! | [`range`] | the range of the emission factors behind a carbon budget |
//! | [`shown`] | from a projection to its answer |
//! | [`round`] | the worker's round: make, keep, score, learn |
//! | [`score`] | what came true |
//! | [`cache`] | what this replica knows of projections without asking |
//! | [`what_if`] | the same projection with something changed |
//! | [`fair_split`] | the fair split of a shared budget, applied |
//! | [`accuracy`] | how right projections were |
//! | [`memory`] | the past of large budgets, kept in memory |
//! | [`past`] | the past of an installation, for the back-test |
//! | [`planned`] | announced work: add, list, withdraw |

pub mod accuracy;
pub mod asked;
pub mod cache;
pub mod fair_split;
pub mod memory;
pub mod past;
pub mod planned;
pub mod range;
pub mod round;
pub mod score;
pub mod shown;
pub mod subject;
pub mod what_if;

pub use cache::Projections;

use super::{App, AppError};
use crate::domain::id::{BudgetId, TenantId};
use crate::wire::page::Page;
use crate::wire::projection::answer::{ProjectionBody, ProjectionList};
use asked::project_beside;

impl App {
    /// When a counter of a budget runs out, with everything that explains it.
    ///
    /// # Errors
    /// [`AppError::UnknownBudget`] when there is none that the caller may see; names `key` where the budget is counted apart
    /// and it is missing or has counted nothing.
    pub async fn projection(
        &self,
        id: &BudgetId,
        confined: Option<&TenantId>,
        key: Option<&str>,
        path_hours: usize,
    ) -> Result<ProjectionBody, AppError> {
        let subject = self.subject(id, confined, key).await?;
        let asked = self.ask(vec![subject], confined, self.clock.now()).await?;
        let projected = project_beside(asked).await?;
        let (asked, projection) = projected.first().ok_or_else(|| AppError::UnknownBudget(id.clone()))?;
        Ok(shown::body(asked, projection, path_hours))
    }

    /// When each counter of a budget runs out, by pages: all from one read of the roll-up.
    ///
    /// # Errors
    /// [`AppError::UnknownBudget`] when there is none that the caller may see.
    pub async fn projections_of(
        &self,
        id: &BudgetId,
        confined: Option<&TenantId>,
        page: &Page,
    ) -> Result<ProjectionList, AppError> {
        let (subjects, next_cursor) = self.subjects(id, confined, None, page).await?;
        let asked = self.ask(subjects, confined, self.clock.now()).await?;
        let projected = project_beside(asked).await?;
        let items = projected.iter().map(|(asked, projection)| shown::summary(asked, projection)).collect();
        Ok(ProjectionList { items, next_cursor })
    }
}
