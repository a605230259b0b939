//! The columns of a FOCUS file, by version.
//!
//! Names without `x_` are those of the FinOps Open Cost and Usage Specification (<https://focus.finops.org>, text CC BY 4.0);
//! names with `x_` are ours. `docs/reference/exports/focus.md` says what stands in each, and a test compares.

use crate::export::table::Column;
use crate::wire::export::FocusVersion;

macro_rules! focus_columns {
    ($($of_version:expr),+ $(,)?) => {
        &[
            Column::decimal("BilledCost"),
            Column::text("BillingAccountId"),
            Column::text("BillingAccountName"),
            Column::text("BillingAccountType"),
            Column::text("BillingCurrency"),
            Column::instant("BillingPeriodEnd"),
            Column::instant("BillingPeriodStart"),
            Column::text("ChargeCategory"),
            Column::text("ChargeClass"),
            Column::text("ChargeDescription"),
            Column::text("ChargeFrequency"),
            Column::instant("ChargePeriodEnd"),
            Column::instant("ChargePeriodStart"),
            Column::decimal("ConsumedQuantity"),
            Column::text("ConsumedUnit"),
            Column::decimal("ContractedCost"),
            Column::decimal("ContractedUnitPrice"),
            Column::decimal("EffectiveCost"),
            Column::text("InvoiceId"),
            Column::text("InvoiceIssuerName"),
            Column::decimal("ListCost"),
            Column::decimal("ListUnitPrice"),
            Column::text("PricingCategory"),
            Column::text("PricingCurrency"),
            Column::decimal("PricingCurrencyContractedUnitPrice"),
            Column::decimal("PricingCurrencyEffectiveCost"),
            Column::decimal("PricingCurrencyListUnitPrice"),
            Column::decimal("PricingQuantity"),
            Column::text("PricingUnit"),
            Column::text("RegionId"),
            Column::text("RegionName"),
            Column::text("ResourceId"),
            Column::text("ResourceName"),
            Column::text("ResourceType"),
            Column::text("ServiceCategory"),
            Column::text("ServiceName"),
            Column::text("ServiceSubcategory"),
            Column::text("SkuId"),
            Column::text("SkuMeter"),
            Column::text("SkuPriceDetails"),
            Column::text("SkuPriceId"),
            Column::text("SubAccountId"),
            Column::text("SubAccountName"),
            Column::text("SubAccountType"),
            Column::text("Tags"),
            $($of_version,)+
            Column::text("x_ChargeKey"),
            Column::text("x_CorrectionOf"),
            Column::text("x_CorrectedTransfer"),
            Column::instant("x_CorrectedPeriodStart"),
            Column::text("x_Flags"),
            Column::text("x_PriceIsFallback"),
            Column::text("x_UsageIsEstimated"),
            Column::decimal("x_RoundingRemainder"),
            Column::integer("x_Tokens"),
            Column::integer("x_Requests"),
            Column::integer("x_Transfers"),
            Column::decimal("x_EnergyKwh"),
            Column::decimal("x_EnergyKwhMin"),
            Column::decimal("x_EnergyKwhMax"),
            Column::decimal("x_UsageLocationBasedGrams"),
            Column::decimal("x_UsageLocationBasedGramsMin"),
            Column::decimal("x_UsageLocationBasedGramsMax"),
            Column::decimal("x_UsageMarketBasedGrams"),
            Column::decimal("x_UsageMarketBasedGramsMin"),
            Column::decimal("x_UsageMarketBasedGramsMax"),
            Column::decimal("x_EmbodiedGrams"),
            Column::decimal("x_EmbodiedGramsMin"),
            Column::decimal("x_EmbodiedGramsMax"),
            Column::text("x_MarketBasedMethod"),
            Column::text("x_CarbonMethodId"),
            Column::text("x_CarbonMethodVersion"),
            Column::text("x_FactorSetId"),
            Column::integer("x_CarbonDataQualityTier"),
            Column::text("x_CarbonEstimated"),
        ]
    };
}

const V1_4: &[Column] = focus_columns!(Column::text("HostProviderName"), Column::text("ServiceProviderName"));

// 1.3 put the two names above in the place of these; 1.2 wants the last one to be there, also where nothing is discounted.
const V1_2: &[Column] = focus_columns!(
    Column::text("ProviderName"),
    Column::text("PublisherName"),
    Column::text("CommitmentDiscountStatus"),
);

/// The columns of a version, in order.
#[must_use]
pub const fn columns(version: FocusVersion) -> &'static [Column] {
    match version {
        FocusVersion::V1_4 => V1_4,
        FocusVersion::V1_2 => V1_2,
    }
}
