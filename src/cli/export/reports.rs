//! Journals of accounts, activity data and intensities: their options, and how they begin.

use clap::ValueEnum;

use crate::app::AppError;
use crate::app::exports::{Begun, Exports};
use crate::app::reports::Dialect;
use crate::domain::id::TenantId;
use crate::wire::export::FormulasWord;
use crate::wire::export_report::{
    BasisWord, CategoryWord, CutWord, GhgExportQuery, GroupWord, JournalExportQuery, SciExportQuery, SciFormatWord,
};
use crate::wire::usage::Basis;

/// What only these exports ask.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Of hledger, ledger and beancount: a transaction for each day, or for each call
    #[arg(long, default_value = "day")]
    group: GroupArg,
    /// Of ghg: where lines end
    #[arg(long, default_value = "month")]
    cut: CutArg,
    /// Of ghg: the Scope 3 category that the calls are reported in
    #[arg(long, value_name = "CATEGORY", default_value = "3.1", value_parser = ["3.1", "3.8", "3.13"])]
    scope3_category: String,
    /// Of ghg: which view goes into the one figure that is reported
    #[arg(long, default_value = "location")]
    reporting_basis: BasisArg,
    /// Of ghg and sci: where what came late stands, where it was posted (as-posted) or where it belongs (as-restated)
    #[arg(long, default_value = "as-posted")]
    basis: PostedArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GroupArg {
    Day,
    Call,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CutArg {
    Month,
    Day,
    Period,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BasisArg {
    Location,
    Market,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PostedArg {
    AsPosted,
    AsRestated,
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// Accounts, as plain text.
    Journal(Dialect),
    /// Activity data.
    Ghg,
    /// Intensities.
    Sci(SciFormatWord),
}

/// The period that is asked for.
pub(super) struct Span {
    pub(super) period: Option<String>,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) zone: Option<String>,
}

impl ReportArgs {
    /// Begins one.
    pub(super) async fn begin(
        &self,
        exports: &Exports,
        report: Report,
        of: Option<&TenantId>,
        span: Span,
        formulas: FormulasWord,
    ) -> Result<Begun, AppError> {
        let Span { period, from, to, zone } = span;
        let tenant = of.map(ToString::to_string);
        let basis = match self.basis {
            PostedArg::AsPosted => Basis::AsPosted,
            PostedArg::AsRestated => Basis::AsRestated,
        };
        match report {
            Report::Journal(dialect) => {
                let group = match self.group {
                    GroupArg::Day => GroupWord::Day,
                    GroupArg::Call => GroupWord::Call,
                };
                let query = JournalExportQuery { group, period, from, to, zone, tenant };
                exports.journal(dialect, of, &query).await
            }
            Report::Ghg => {
                let cut = match self.cut {
                    CutArg::Month => CutWord::Month,
                    CutArg::Day => CutWord::Day,
                    CutArg::Period => CutWord::Period,
                };
                let reporting_basis = match self.reporting_basis {
                    BasisArg::Location => BasisWord::Location,
                    BasisArg::Market => BasisWord::Market,
                };
                let scope3_category = match self.scope3_category.as_str() {
                    "3.8" => CategoryWord::UpstreamLeased,
                    "3.13" => CategoryWord::DownstreamLeased,
                    _ => CategoryWord::PurchasedServices,
                };
                let query = GhgExportQuery {
                    cut,
                    scope3_category,
                    reporting_basis,
                    basis,
                    formulas,
                    period,
                    from,
                    to,
                    zone,
                    tenant,
                };
                exports.ghg(of, &query).await
            }
            Report::Sci(format) => {
                let query = SciExportQuery { format, basis, period, from, to, zone, tenant };
                exports.sci(of, &query).await
            }
        }
    }
}
