//! Exports of accounts and of carbon: journals, activity data, intensities.
//!
//! The same question, reader and stream as every other export ([`super::exports`]); what is added is what such a file says
//! before its rows: the balances of accounts, or the book of factors the rows stand on. Both are read on the same connection.
//!
//! Deliberately absent: going on with one that was cut. Their last lines are sums of all rows, so it is asked for once more.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::AppError;
use super::exports::{Begun, Exports, Plan, Question, Writing, aside};
use crate::domain::calendar::Zone;
use crate::domain::carbon::FactorBook;
use crate::domain::id::TenantId;
pub use crate::export::ghg::SCHEMA as GHG_SCHEMA;
use crate::export::ghg::{Cut, GhgOptions, GhgWriter, ReportingBasis, Scope3Category};
pub use crate::export::plaintext::Dialect;
use crate::export::plaintext::{AccountSpan, Group, Head, JournalWriter};
use crate::export::rows;
use crate::export::sci::{SciFormat, SciPeriod, SciWriter};
use crate::store::export::Slice;
use crate::store::export::accounts::AccountBalances;
use crate::wire::export::SpanAsked;
use crate::wire::export_report::{
    BasisWord, CategoryWord, CutWord, GhgExportQuery, GroupWord, JournalExportQuery, SciExportQuery, SciFormatWord,
};
use crate::wire::usage::Basis;

/// The media type of a journal.
const TEXT: &str = "text/plain; charset=utf-8";
/// The media type of lines.
const CSV: &str = "text/csv; charset=utf-8";
/// The media type of a manifest.
const YAML: &str = "application/yaml; charset=utf-8";

impl Exports {
    /// Begins an export of accounts as plain text.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::TooManyExports`]; when the database does not answer.
    pub async fn journal(
        &self,
        dialect: Dialect,
        tenant: Option<&TenantId>,
        query: &JournalExportQuery,
    ) -> Result<Begun, AppError> {
        let (exports, tenant, query) = (self.clone(), tenant.cloned(), query.clone());
        aside(async move { exports.begin_journal(dialect, tenant.as_ref(), &query).await }).await
    }

    async fn begin_journal(
        &self,
        dialect: Dialect,
        tenant: Option<&TenantId>,
        query: &JournalExportQuery,
    ) -> Result<(Begun, Writing), AppError> {
        let span = span(&query.period, &query.from, &query.to, &query.zone)?;
        let question = question(dialect.word(), tenant, span, query.group.name().to_owned());
        let mut plan = self.plan(&question).await?;
        let balances = plan.reader.accounts(&plan.slice).await?;
        let group = match query.group {
            GroupWord::Day => Group::Day,
            GroupWord::Call => Group::Call,
        };
        let (zone, head) = (plan.zone, head(&plan, balances, self.clock.now()));
        let (begun, sender) = plan.begin_as(dialect.extension(), TEXT);
        Ok((begun, plan.write_transfers(JournalWriter::new(dialect, group, zone, head), sender)))
    }

    /// Begins an export of activity data.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::TooManyExports`]; when the database does not answer.
    pub async fn ghg(&self, tenant: Option<&TenantId>, query: &GhgExportQuery) -> Result<Begun, AppError> {
        let (exports, tenant, query) = (self.clone(), tenant.cloned(), query.clone());
        aside(async move { exports.begin_ghg(tenant.as_ref(), &query).await }).await
    }

    async fn begin_ghg(&self, tenant: Option<&TenantId>, query: &GhgExportQuery) -> Result<(Begun, Writing), AppError> {
        let span = span(&query.period, &query.from, &query.to, &query.zone)?;
        let words = [query.cut.name(), query.scope3_category.name(), query.reporting_basis.name(), query.basis.name()];
        let asked = question("ghg", tenant, span, words.join(" ") + query.formulas.shape());
        let mut plan = self.plan(&Question { basis: query.basis, ..asked }).await?;
        let book = Arc::new(FactorBook::new(plan.reader.factors().await?));
        let options = ghg_options(query, &plan.slice, plan.zone);
        let (begun, sender) = plan.begin_as("csv", CSV);
        Ok((begun, plan.write_transfers(GhgWriter::new(options, book, query.formulas.keeps()), sender)))
    }

    /// Begins an export of intensities.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::TooManyExports`]; when the database does not answer.
    pub async fn sci(&self, tenant: Option<&TenantId>, query: &SciExportQuery) -> Result<Begun, AppError> {
        let (exports, tenant, query) = (self.clone(), tenant.cloned(), query.clone());
        aside(async move { exports.begin_sci(tenant.as_ref(), &query).await }).await
    }

    async fn begin_sci(&self, tenant: Option<&TenantId>, query: &SciExportQuery) -> Result<(Begun, Writing), AppError> {
        let span = span(&query.period, &query.from, &query.to, &query.zone)?;
        let asked = question("sci", tenant, span, format!("{} {}", query.format.name(), query.basis.name()));
        let mut plan = self.plan(&Question { basis: query.basis, ..asked }).await?;
        let book = Arc::new(FactorBook::new(plan.reader.factors().await?));
        let (format, extension, media_type) = match query.format {
            SciFormatWord::Csv => (SciFormat::Csv, "csv", CSV),
            SciFormatWord::Manifest => (SciFormat::Manifest, "yml", YAML),
        };
        let period = SciPeriod { start: plan.slice.from, end: plan.slice.to };
        let (begun, sender) = plan.begin_as(extension, media_type);
        Ok((begun, plan.write_transfers(SciWriter::new(format, period, book), sender)))
    }
}

fn span(
    period: &Option<String>,
    from: &Option<String>,
    to: &Option<String>,
    zone: &Option<String>,
) -> Result<SpanAsked, AppError> {
    Ok(SpanAsked::parse(period.as_deref(), from.as_deref(), to.as_deref(), zone.as_deref())?)
}

fn question<'a>(export: &'static str, tenant: Option<&'a TenantId>, span: SpanAsked, shape: String) -> Question<'a> {
    Question { export, tenant, span, basis: Basis::AsPosted, shape, bounded: false, cursor: None, resume: None }
}

/// What a journal says before its first transaction.
fn head(plan: &Plan, balances: BTreeMap<String, AccountBalances>, now: DateTime<Utc>) -> Head {
    let Slice { tenant, from, to, .. } = &plan.slice;
    let title = tenant.as_ref().map_or_else(|| "all-tenants".to_owned(), ToString::to_string);
    // A period without a beginning begins with its first transfer; one without an end ends with its last.
    let first = from.or_else(|| balances.values().filter_map(|one| one.first_at).min()).unwrap_or(now);
    let before = |end: DateTime<Utc>| end.checked_sub_signed(TimeDelta::microseconds(1)).unwrap_or(end);
    let last = to.map(before).or_else(|| balances.values().map(|one| one.last_at).max()).unwrap_or(now).max(first);
    let account = |(account, one): (String, AccountBalances)| AccountSpan {
        account,
        opening: rows::bundle(&one.opening),
        closing: rows::bundle(&one.closing),
    };
    Head {
        title,
        start: *from,
        end: *to,
        zone: plan.zone.name().to_owned(),
        first_day: rows::day(plan.zone, first),
        last_day: rows::day(plan.zone, last),
        accounts: balances.into_iter().map(account).collect(),
    }
}

fn ghg_options(query: &GhgExportQuery, slice: &Slice, zone: Zone) -> GhgOptions {
    GhgOptions {
        start: slice.from,
        end: slice.to,
        restated: slice.basis == Basis::AsRestated,
        zone,
        cut: match query.cut {
            CutWord::Month => Cut::Month,
            CutWord::Day => Cut::Day,
            CutWord::Period => Cut::Period,
        },
        category: match query.scope3_category {
            CategoryWord::PurchasedServices => Scope3Category::PurchasedServices,
            CategoryWord::UpstreamLeased => Scope3Category::UpstreamLeased,
            CategoryWord::DownstreamLeased => Scope3Category::DownstreamLeased,
        },
        basis: match query.reporting_basis {
            BasisWord::Location => ReportingBasis::Location,
            BasisWord::Market => ReportingBasis::Market,
        },
    }
}
