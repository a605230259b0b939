//! What is asked of an export of accounts or of carbon.

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::export::FormulasWord;
use super::usage::Basis;

/// How transfers become transactions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupWord {
    /// One for each local day, pair of accounts and kind of transfer.
    #[default]
    Day,
    /// One for each transfer.
    Call,
}

impl GroupWord {
    /// The word in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Call => "call",
        }
    }
}

/// Which accounts, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JournalExportQuery {
    /// One transaction for each `day`, or for each `call` with everything that is known of it.
    #[param(inline)]
    pub group: GroupWord,
    /// A year, month or day of the zone: `2026`, `2026-11`, `2026-11-21`. Instead of `from` and `to`.
    #[param(example = "2026-11")]
    pub period: Option<String>,
    /// Only what counts from this instant on, or from the start of this local day; what was before is the opening balance.
    #[param(example = "2026-11-01")]
    pub from: Option<String>,
    /// Only what counts before this instant, or before the start of this local day.
    #[param(example = "2026-12-01")]
    pub to: Option<String>,
    /// The IANA zone of days. The tenant's own if one is named, else UTC.
    #[param(example = "Asia/Tokyo")]
    pub zone: Option<String>,
    /// Only this tenant's.
    pub tenant: Option<String>,
}

/// How the period is cut into lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CutWord {
    /// At the beginnings of local months.
    #[default]
    Month,
    /// At local midnights.
    Day,
    /// Not at all.
    Period,
}

impl CutWord {
    /// The word in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Day => "day",
            Self::Period => "period",
        }
    }
}

/// A category of the GHG Protocol's Scope 3 standard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum CategoryWord {
    /// Purchased goods and services.
    #[default]
    #[serde(rename = "3.1")]
    PurchasedServices,
    /// Upstream leased assets.
    #[serde(rename = "3.8")]
    UpstreamLeased,
    /// Downstream leased assets.
    #[serde(rename = "3.13")]
    DownstreamLeased,
}

impl CategoryWord {
    /// The word in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PurchasedServices => "3.1",
            Self::UpstreamLeased => "3.8",
            Self::DownstreamLeased => "3.13",
        }
    }
}

/// Which of the two views is put into the one figure that is reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BasisWord {
    /// By the grid where the electricity was used.
    #[default]
    Location,
    /// By the contracts it was bought under.
    Market,
}

impl BasisWord {
    /// The word in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Location => "location",
            Self::Market => "market",
        }
    }
}

/// Which activity data, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GhgExportQuery {
    /// Lines end at the ends of each `month`, of each `day`, or of the `period` only.
    #[param(inline)]
    pub cut: CutWord,
    /// The Scope 3 category that the calls are reported in: `3.1`, `3.8` or `3.13`.
    #[param(inline)]
    pub scope3_category: CategoryWord,
    /// What `reported_kgco2e` is: `location` or `market`.
    #[param(inline)]
    pub reporting_basis: BasisWord,
    /// In which period what came late counts (corrections, true-ups, usage of a closed period): `as_posted`, where it was posted,
    /// so that a closed period never changes; `as_restated`, where it belongs.
    #[param(inline)]
    pub basis: Basis,
    /// Texts that begin like a formula (`= + - @`, tab) get an apostrophe before them with `neutralize`; `keep` leaves
    /// them as they are, for programs that join by them.
    #[param(inline)]
    pub formulas: FormulasWord,
    /// A year, month or day of the zone: `2026`, `2026-11`, `2026-11-21`. Instead of `from` and `to`.
    #[param(example = "2026-11")]
    pub period: Option<String>,
    /// Only what counts from this instant on, or from the start of this local day.
    #[param(example = "2026-11-01")]
    pub from: Option<String>,
    /// Only what counts before this instant, or before the start of this local day.
    #[param(example = "2026-12-01")]
    pub to: Option<String>,
    /// The IANA zone of months and days. The tenant's own if one is named, else UTC.
    #[param(example = "Asia/Tokyo")]
    pub zone: Option<String>,
    /// Only this tenant's.
    pub tenant: Option<String>,
}

/// What is written of intensities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SciFormatWord {
    /// A line for each feature and functional unit.
    #[default]
    Csv,
    /// A manifest of the Impact Framework, which computes the same figures again.
    Manifest,
}

impl SciFormatWord {
    /// The word in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Manifest => "manifest",
        }
    }
}

/// Which intensities, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SciExportQuery {
    /// `csv`, or a `manifest` of the Impact Framework.
    #[param(inline)]
    pub format: SciFormatWord,
    /// In which period what came late counts (corrections, true-ups, usage of a closed period): `as_posted`, where it was posted,
    /// so that a closed period never changes; `as_restated`, where it belongs.
    #[param(inline)]
    pub basis: Basis,
    /// A year, month or day of the zone: `2026`, `2026-11`, `2026-11-21`. Instead of `from` and `to`.
    #[param(example = "2026-11")]
    pub period: Option<String>,
    /// Only what counts from this instant on, or from the start of this local day.
    #[param(example = "2026-11-01")]
    pub from: Option<String>,
    /// Only what counts before this instant, or before the start of this local day.
    #[param(example = "2026-12-01")]
    pub to: Option<String>,
    /// The IANA zone of days. The tenant's own if one is named, else UTC.
    #[param(example = "Asia/Tokyo")]
    pub zone: Option<String>,
    /// Only this tenant's.
    pub tenant: Option<String>,
}
