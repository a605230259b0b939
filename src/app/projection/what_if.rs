//! What if: the same projection with something changed. Nothing is written.
//!
//! What is posted stays as it is: a change is from now on.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use rust_decimal::Decimal;
use std::sync::Arc;

use super::asked::{Asked, project_beside};
use super::range::{Served, of_one_call, served};
use super::shown;
use super::subject::real;
use crate::app::{App, AppError};
use crate::domain::amounts::{Quantity, Tokens};
use crate::domain::budget::measure::{Consumption, Measure};
use crate::domain::budget::scope::Scope;
use crate::domain::calendar::{PeriodSpec, Zone};
use crate::domain::forecast::what_if::{Whose, scaled, with_tenant_like};
use crate::domain::id::{BudgetId, FeatureId, ModelId, ProviderId, RegionId, TenantId};
use crate::domain::ledger::outcome::Refusal;
use crate::domain::price::ServiceTier;
use crate::domain::price::book::PriceBook;
use crate::domain::tariff::RateBooks;
use crate::domain::usage::Usage;
use crate::wire::projection::answer::PATH_HOURS_MAX;
use crate::wire::projection::figure::figure;
use crate::wire::projection::what_if::{
    CHANGES_MAX, ChangedBody, MixEffectBody, ModelMixBody, NewTenantBody, WhatIfAnswer, WhatIfBody,
};
use crate::wire::usage::SumsBody;
use crate::wire::{FieldError, optional, required};

/// Days of calls that are priced again.
const RECENT_DAYS: i64 = 28;
/// The largest factor by which use or prices may be multiplied.
const FACTOR_MAX: Decimal = Decimal::ONE_THOUSAND;

impl App {
    /// Projects a counter as it is, and with something changed.
    ///
    /// # Errors
    /// Names the field that is wrong; [`AppError::UnknownBudget`].
    pub async fn what_if(
        &self,
        id: &BudgetId,
        confined: Option<&TenantId>,
        body: &WhatIfBody,
    ) -> Result<WhatIfAnswer, AppError> {
        let path_hours = body.path_hours.unwrap_or(0);
        if path_hours > PATH_HOURS_MAX {
            return Err(FieldError::new("path_hours", format!("{path_hours} is above {PATH_HOURS_MAX}")).into());
        }
        for (field, count) in [("model_mix", body.model_mix.len()), ("new_tenants", body.new_tenants.len())] {
            if count > CHANGES_MAX {
                return Err(FieldError::new(field, format!("may hold at most {CHANGES_MAX}")).into());
            }
        }
        let subject = self.subject(id, confined, body.key.as_deref()).await?;
        let asked = self.ask(vec![subject], confined, self.clock.now()).await?;
        let Some(as_is) = asked.into_iter().next() else { return Err(AppError::UnknownBudget(id.clone())) };
        let mut changed = as_is.clone();
        let mut effects = Vec::new();
        for (place, mix) in body.model_mix.iter().enumerate() {
            let within = |error: FieldError| error.within(&format!("model_mix[{place}]"));
            let mix = Mix::parse(mix, &self.snapshots.latest().rates.prices).map_err(within)?;
            effects.push(self.move_calls(&mut changed, &mix, confined).await?);
        }
        for (place, tenant) in body.new_tenants.iter().enumerate() {
            add_tenant(&mut changed, tenant).map_err(|error| error.within(&format!("new_tenants[{place}]")))?;
        }
        change_numbers(&mut changed, body)?;
        change_window(&mut changed, body)?;
        let projected = project_beside(vec![as_is, changed]).await?;
        let [(as_is, before), (changed, after)] = projected.as_slice() else {
            return Err(AppError::UnknownBudget(id.clone()));
        };
        Ok(WhatIfAnswer {
            as_is: shown::body(as_is, before, path_hours),
            what_if: shown::body(changed, after, path_hours),
            model_mix: effects,
        })
    }

    /// Moves a share of a feature's calls to another model: every tenant's use changes by as much of it as is that feature's.
    async fn move_calls(
        &self,
        asked: &mut Asked,
        mix: &Mix,
        confined: Option<&TenantId>,
    ) -> Result<MixEffectBody, AppError> {
        let budget = &asked.subject.budget;
        let scope = Scope {
            tenant: mix.tenant.clone().or_else(|| asked.subject.tenant.clone()),
            feature: Some(mix.feature.clone()),
            ..budget.scope.clone()
        };
        let rates = self.snapshots.latest().rates;
        let mut sums = Sums::default();
        for group in served(self, &scope, confined, asked.now).await? {
            let governed = governs(&budget.scope, mix, &group);
            sums.add(&group, mix, &budget.measure, governed, &rates, asked.now).map_err(|error| *error)?;
        }
        let ratio = sums.ratio();
        let factor_of = |feature_share: f64| 1.0 - feature_share * mix.share * (1.0 - ratio);
        let tenants: Vec<TenantId> = asked.sources.iter().map(|source| source.tenant.clone()).collect();
        for tenant in tenants.into_iter().filter(|tenant| mix.tenant.as_ref().is_none_or(|only| only == tenant)) {
            let used = asked.features.iter().filter(|((whose, _), _)| *whose == tenant);
            let (mut all, mut moved) = (0.0, 0.0);
            for ((_, feature), used) in used {
                all += used.recent;
                moved += if *feature == mix.feature { used.recent } else { 0.0 };
            }
            let share = if all > 0.0 { moved / all } else { 0.0 };
            let whose = Whose { tenant: Some(tenant), feature: None };
            asked.sources = scaled(&asked.sources, &whose, factor_of(share));
        }
        Ok(sums.effect(mix, asked.now, ratio))
    }
}

/// A change of the mix, its names checked.
struct Mix {
    tenant: Option<TenantId>,
    feature: FeatureId,
    share: f64,
    provider: ProviderId,
    model: ModelId,
    /// The same by the names of the books.
    name: (ProviderId, ModelId),
    region: Option<RegionId>,
}

impl Mix {
    fn parse(body: &ModelMixBody, book: &PriceBook) -> Result<Self, FieldError> {
        let provider: ProviderId = required("provider", &body.provider)?;
        let model: ModelId = required("model", &body.model)?;
        if !(Decimal::ZERO..=Decimal::ONE).contains(&body.share) {
            return Err(FieldError::new("share", format!("{} is not between 0 and 1", body.share)));
        }
        Ok(Self {
            tenant: optional("tenant", body.tenant.as_deref())?,
            feature: required("feature", &body.feature)?,
            share: real(body.share),
            name: (book.provider_name(&provider), book.model_name(&provider, &model)),
            provider,
            model,
            region: optional("region", body.region.as_deref())?,
        })
    }

    /// Where a call of a group would be served.
    fn region_of<'a>(&'a self, group: &'a Served) -> Option<&'a RegionId> {
        let stays = group.provider == self.name.0;
        self.region.as_ref().or_else(|| group.region.as_ref().filter(|_| stays))
    }
}

/// Whether a budget governs a call of a group once the other model serves it.
fn governs(scope: &Scope, mix: &Mix, group: &Served) -> bool {
    scope.provider.as_ref().is_none_or(|provider| *provider == mix.name.0)
        && scope.model.as_ref().is_none_or(|models| models.holds(&mix.name.1))
        && scope.region.as_ref().is_none_or(|region| mix.region_of(group) == Some(region))
}

/// Calls as they were, and as they would be if the other model had served all of them.
#[derive(Default)]
struct Sums {
    requests: u64,
    usd: [f64; 2],
    gco2e: [f64; 2],
    gco2e_market: [f64; 2],
    measure: [f64; 2],
    unpriced: bool,
}

impl Sums {
    fn add(
        &mut self,
        group: &Served,
        mix: &Mix,
        measure: &Measure,
        governed: bool,
        rates: &RateBooks,
        now: DateTime<Utc>,
    ) -> Result<(), Box<AppError>> {
        let sums = &group.found.sums;
        let calls = real(sums.requests.into());
        let usage = of_one_call(&sums.usage, sums.requests);
        let tariff = rates.tariff(&mix.provider, &mix.model, ServiceTier::Standard, mix.region_of(group), now);
        let priced = tariff.price(&usage, 1, None).map_err(|error| Box::new(Refusal::Tariff(error).into()))?;
        let then = priced.consumption;
        let grams = |grams: Result<crate::domain::amounts::Grams, _>| real(grams.unwrap_or_default().decimal());
        self.unpriced |= !tariff.is_priced();
        self.requests = self.requests.saturating_add(u64::try_from(sums.requests).unwrap_or(0));
        let both = [
            (&mut self.usd, real(sums.amounts.usd), real(then.amounts.usd.decimal())),
            (&mut self.gco2e, real(sums.amounts.gco2e), grams(then.amounts.gco2e())),
            (&mut self.gco2e_market, real(sums.amounts.gco2e_market), grams(then.amounts.gco2e_market())),
            (
                &mut self.measure,
                measured(measure, sums),
                if governed { real(measure.of(&then).unwrap_or(Quantity::ZERO).decimal()) } else { 0.0 },
            ),
        ];
        for (sum, was, would_be) in both {
            let [as_is, what_if] = sum;
            *as_is += was;
            *what_if += would_be * calls;
        }
        Ok(())
    }

    /// What one unit of the measure becomes; one unit where nothing is known to move.
    fn ratio(&self) -> f64 {
        let [was, would_be] = self.measure;
        if was > 0.0 { would_be / was } else { 1.0 }
    }

    fn effect(&self, mix: &Mix, now: DateTime<Utc>, ratio: f64) -> MixEffectBody {
        let changed = |[was, would_be]: [f64; 2]| ChangedBody {
            as_is: figure(was),
            what_if: figure(was + (would_be - was) * mix.share),
        };
        let since = now - TimeDelta::days(RECENT_DAYS);
        MixEffectBody {
            feature: mix.feature.to_string(),
            since: since.duration_trunc(TimeDelta::hours(1)).unwrap_or(since),
            requests: self.requests,
            usd: changed(self.usd),
            gco2e: changed(self.gco2e),
            gco2e_market: changed(self.gco2e_market),
            ratio: figure(ratio),
            priced: !self.unpriced,
        }
    }
}

/// How much of a measure sums are.
fn measured(measure: &Measure, sums: &SumsBody) -> f64 {
    let tokens = |count: i64| Tokens::new(u64::try_from(count).unwrap_or(0)).unwrap_or_default();
    match measure {
        Measure::Requests => real(sums.requests.into()),
        Measure::Tokens => real(sums.amounts.tokens.into()),
        Measure::Usd => real(sums.amounts.usd),
        Measure::Gco2e => real(sums.amounts.gco2e),
        Measure::Gco2eMarket => real(sums.amounts.gco2e_market),
        Measure::Weighted(_) => {
            let usage = Usage {
                input: tokens(sums.usage.input),
                cache_read: tokens(sums.usage.cache_read),
                cache_write_5m: tokens(sums.usage.cache_write_5m),
                cache_write_1h: tokens(sums.usage.cache_write_1h),
                output: tokens(sums.usage.output),
                reasoning: tokens(sums.usage.reasoning),
            };
            let all = Consumption { usage, ..Consumption::default() };
            measure.of(&all).map_or(0.0, |quantity| real(quantity.decimal()))
        }
    }
}

fn factor(field: &'static str, value: Decimal) -> Result<f64, FieldError> {
    if (Decimal::ZERO..=FACTOR_MAX).contains(&value) {
        Ok(real(value))
    } else {
        Err(FieldError::new(field, format!("{value} is not between 0 and {FACTOR_MAX}")))
    }
}

fn add_tenant(asked: &mut Asked, body: &NewTenantBody) -> Result<(), FieldError> {
    let tenant: TenantId = required("tenant", &body.tenant)?;
    let like: TenantId = required("like", &body.like)?;
    let zone = Zone::parse(&body.timezone).map_err(|error| FieldError::new("timezone", error))?;
    let factor = factor("factor", body.factor.unwrap_or(Decimal::ONE))?;
    if asked.sources.iter().any(|source| source.tenant == tenant) {
        return Err(FieldError::new("tenant", format!("{tenant} uses this budget already")));
    }
    let more = with_tenant_like(&asked.sources, &like, &tenant, zone, factor);
    asked.sources = more.ok_or_else(|| FieldError::new("like", format!("{like} does not use this budget")))?;
    Ok(())
}

fn change_numbers(asked: &mut Asked, body: &WhatIfBody) -> Result<(), FieldError> {
    if let Some(limit) = body.limit {
        let quantity = Quantity::new(limit).map_err(|error| FieldError::new("limit", error))?;
        if quantity < Quantity::ZERO {
            return Err(FieldError::new("limit", "must not be negative"));
        }
        asked.subject.limit = limit;
    }
    if let Some(prices) = body.price_factor {
        if asked.subject.budget.measure != Measure::Usd {
            return Err(FieldError::new("price_factor", "this budget does not count dollars"));
        }
        let factor = factor("price_factor", prices)?;
        asked.sources = scaled(&asked.sources, &Whose::default(), factor);
        asked.planned.iter_mut().for_each(|planned| planned.quantity *= factor);
    }
    Ok(())
}

/// Another window: what it has used is what its tenants used since it began.
fn change_window(asked: &mut Asked, body: &WhatIfBody) -> Result<(), FieldError> {
    if body.period.is_none() && body.timezone.is_none() {
        return Ok(());
    }
    let mut budget = (*asked.subject.budget).clone();
    if let Some(period) = &body.period {
        budget.period = PeriodSpec::try_from(period).map_err(|error| error.within("period"))?;
    }
    if matches!(budget.period, PeriodSpec::Sliding { .. }) {
        return Err(FieldError::new("period.kind", "a sliding window never ends"));
    }
    if let Some(zone) = &body.timezone {
        asked.subject.zone = Zone::parse(zone).map_err(|error| FieldError::new("timezone", error))?;
    }
    let period = budget.period.holding(asked.subject.zone, asked.now);
    let period = period.map_err(|error| FieldError::new("period", error))?;
    if period.start != asked.subject.period.start {
        let used: f64 = asked.sources.iter().map(|source| source.series.used_between(period.start, asked.now)).sum();
        asked.subject.posted = figure(used);
    }
    asked.subject.period = period;
    asked.subject.budget = Arc::new(budget);
    Ok(())
}
