//! What was used, added up by spans of a zone and by groups.
//!
//! | # | beat | what |
//! |---|---|---|
//! | 1 | plan | the span in instants, the start of each bucket by the calendar, the source that can tell |
//! | 2 | load | sums by bucket and group |
//! | 3 | correct | what of it is corrections, and of which months |
//! | 4 | total | the rows together |

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::{App, AppError};
use crate::domain::calendar::{CalendarError, Period, PeriodSpec, Zone};
use crate::domain::id::TenantId;
use crate::store::StoreError;
use crate::store::usage::{CorrectionsFound, SumsAsked, SumsFound, corrected_span, corrections, sums};
use crate::wire::usage::{
    Basis, Bound, CorrectionsBody, Dimension, SumsBody, UsageQuery, UsageRowBody, UsageSource, UsageTotalsBody,
};
use crate::wire::{FieldError, in_calendar};

/// Most rows of one answer.
pub const USAGE_ROWS_MAX: usize = 10_000;
/// Most buckets of one answer: a year of hours, and room.
pub const USAGE_BUCKETS_MAX: usize = 10_000;
/// The grain of the roll-up, in seconds.
const QUARTER_S: i64 = 900;

/// A span of time and its buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    /// The first instant of each bucket, ascending; the first is `from`.
    starts: Vec<DateTime<Utc>>,
}

impl Span {
    /// # Errors
    /// Names the field that is wrong.
    fn plan(query: &UsageQuery, zone: Zone, now: DateTime<Utc>) -> Result<Self, FieldError> {
        let month = PeriodSpec::MONTH.holding(zone, now).map_err(|error| FieldError::new("from", error))?;
        let instant = |field: &str, bound: Option<Bound>, otherwise: DateTime<Utc>| match bound {
            None => Ok(otherwise),
            Some(Bound::Instant(at)) => Ok(in_calendar(field, Some(at))?.unwrap_or(at)),
            Some(Bound::Date(date)) => start_of_day(zone, date).map_err(|error| FieldError::new(field, error)),
        };
        let from = instant("from", query.from, month.start)?;
        let to = instant("to", query.to, month.end.unwrap_or(now))?;
        if from >= to {
            return Err(FieldError::new("to", format!("{to} is not after from, which is {from}")));
        }
        let starts = match query.bucket {
            None => vec![from],
            Some(spec) => bucket_starts(spec, zone, from, to)?,
        };
        Ok(Self { from, to, starts })
    }

    /// Whether sums by quarter of an hour can tell it.
    fn falls_on_quarters(&self) -> bool {
        let on_quarter =
            |at: &DateTime<Utc>| at.timestamp().rem_euclid(QUARTER_S) == 0 && at.timestamp_subsec_nanos() == 0;
        on_quarter(&self.to) && self.starts.iter().all(on_quarter)
    }

    /// The end of a bucket.
    fn end(&self, bucket: usize) -> DateTime<Utc> {
        self.starts.get(bucket.saturating_add(1)).copied().unwrap_or(self.to)
    }
}

/// The first instant whose local date is at or after a date.
pub(super) fn start_of_day(zone: Zone, date: NaiveDate) -> Result<DateTime<Utc>, CalendarError> {
    let nominal = date.and_time(NaiveTime::MIN).and_utc();
    let out_of_range = CalendarError::InstantOutOfRange { at: nominal };
    // No zone is two days from UTC, so this day is before the one that is looked for.
    let before = nominal.checked_sub_signed(TimeDelta::days(2)).ok_or(out_of_range)?;
    let mut day = PeriodSpec::DAY.holding(zone, before)?;
    while zone.local(day.start).date < date {
        day = PeriodSpec::DAY.holding(zone, day.end.ok_or(out_of_range)?)?;
    }
    Ok(day.start)
}

/// The first instant of each period of a span, the first of them cut to the span's start.
pub(super) fn bucket_starts(
    spec: PeriodSpec,
    zone: Zone,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<DateTime<Utc>>, FieldError> {
    let holding = |field: &str, at| spec.holding(zone, at).map_err(|error| FieldError::new(field, error));
    let mut starts = vec![from];
    let mut period: Period = holding("from", from)?;
    while let Some(next) = period.end.filter(|next| *next < to) {
        if starts.len() >= USAGE_BUCKETS_MAX {
            let detail =
                format!("makes more than {USAGE_BUCKETS_MAX} of this span: ask for a shorter span or longer buckets");
            return Err(FieldError::new("bucket", detail));
        }
        starts.push(next);
        period = holding("to", next)?;
    }
    Ok(starts)
}

impl App {
    /// The filters of a question, providers and models by their names.
    fn filters(&self, query: &UsageQuery) -> Result<Vec<(Dimension, Vec<String>)>, FieldError> {
        let provider = query.filters.get(&Dimension::Provider).map(String::as_str);
        let model = query.filters.get(&Dimension::Model).map(String::as_str);
        let names = self.names(provider, model)?;
        let named = |(dimension, value): (&Dimension, &String)| {
            let values = match dimension {
                Dimension::Provider => names.provider.iter().map(ToString::to_string).collect(),
                Dimension::Model => names.models.iter().map(ToString::to_string).collect(),
                Dimension::Tenant
                | Dimension::Feature
                | Dimension::Region
                | Dimension::Run
                | Dimension::Agent
                | Dimension::Label(_) => vec![value.clone()],
            };
            (dimension.clone(), values)
        };
        Ok(query.filters.iter().map(named).collect())
    }

    /// Adds up what was used, of one tenant or of all.
    ///
    /// # Errors
    /// Names the field that is wrong, or when the database does not answer.
    pub async fn usage(&self, tenant: Option<&TenantId>, query: &UsageQuery) -> Result<UsageTotalsBody, AppError> {
        let zone = match (query.zone, tenant) {
            (Some(zone), _) => zone,
            (None, None) => Zone::UTC,
            (None, Some(tenant)) => {
                self.snapshots.latest().catalogue.tenant(tenant).map_or(Zone::UTC, |tenant| tenant.zone)
            }
        };
        let span = Span::plan(query, zone, self.clock.now())?;
        let dimensions = query.group_by.iter().chain(query.filters.keys());
        let rolled_up = dimensions.into_iter().all(Dimension::is_rolled_up);
        // The roll-up counts by period alone.
        let rolled_up = rolled_up && query.basis == Basis::AsPosted;
        let source = if rolled_up && span.falls_on_quarters() { UsageSource::Rollup } else { UsageSource::Journal };
        let asked = SumsAsked {
            source,
            basis: query.basis,
            from: span.from,
            to: span.to,
            starts: span.starts.clone(),
            group_by: query.group_by.clone(),
            filters: self.filters(query)?,
            spellings: self.snapshots.latest().catalogue.spellings.clone(),
            limit: i64::try_from(USAGE_ROWS_MAX).unwrap_or(i64::MAX).saturating_add(1),
        };
        let mut transaction = self.begin_read(tenant).await?;
        let found = sums(&mut transaction, &asked).await?;
        let corrected = Corrected::load(&mut transaction, &asked, zone).await?;
        transaction.commit().await?;
        if found.len() > USAGE_ROWS_MAX || corrected.found.len() > USAGE_ROWS_MAX {
            let detail =
                format!("makes more than {USAGE_ROWS_MAX} rows: ask for a shorter span, longer buckets or one tenant");
            return Err(FieldError::new("group_by", detail).into());
        }
        let beyond = || AppError::Store(StoreError::Row("sum".to_owned()));
        let totals =
            found.iter().try_fold(SumsBody::zero(), |sum, row| sum.checked_add(&row.sums)).ok_or_else(beyond)?;
        let names: Vec<String> = query.group_by.iter().map(Dimension::name).collect();
        let corrections = corrected.total()?;
        let by_sum = corrected.by_sum();
        let rows = found.into_iter().map(|one| {
            let key = (one.span, one.group);
            let corrections = by_sum.get(&key).cloned().unwrap_or_default();
            row(&span, zone, &names, SumsFound { group: key.1, ..one }, corrections)
        });
        let rows = rows.collect();
        Ok(UsageTotalsBody {
            from: span.from,
            to: span.to,
            zone: zone.name().to_owned(),
            basis: query.basis,
            source,
            rows,
            totals,
            corrections,
        })
    }
}

/// The corrections that sums contain, and the months that they are about.
struct Corrected {
    zone: Zone,
    months: Vec<DateTime<Utc>>,
    found: Vec<CorrectionsFound>,
}

impl Corrected {
    /// Most questions have none, which the index of corrections tells at once.
    async fn load(connection: &mut sqlx::PgConnection, asked: &SumsAsked, zone: Zone) -> Result<Self, AppError> {
        let Some((first, last)) = corrected_span(connection, asked).await? else {
            return Ok(Self { zone, months: Vec::new(), found: Vec::new() });
        };
        let beyond = |_| AppError::Store(StoreError::Row("occurred_at".to_owned()));
        let from = PeriodSpec::MONTH.holding(zone, first).map_err(beyond)?.start;
        let end = last.checked_add_signed(TimeDelta::microseconds(1)).unwrap_or(last);
        let months = bucket_starts(PeriodSpec::MONTH, zone, from, end)?;
        let found = corrections(connection, asked, &months).await?;
        Ok(Self { zone, months, found })
    }

    /// Of each sum, by month.
    fn by_sum(&self) -> BTreeMap<(usize, Vec<Option<String>>), Vec<CorrectionsBody>> {
        let mut by_sum: BTreeMap<_, Vec<CorrectionsBody>> = BTreeMap::new();
        for one in &self.found {
            let bodies = by_sum.entry((one.found.span, one.found.group.clone())).or_default();
            bodies.extend(self.body((one.month, one.kind.name()), one.transfers, &one.found.sums));
        }
        by_sum
    }

    /// Of all sums together, by month.
    fn total(&self) -> Result<Vec<CorrectionsBody>, AppError> {
        let mut by_month: BTreeMap<(usize, &'static str), (u64, SumsBody)> = BTreeMap::new();
        for one in &self.found {
            let (transfers, sums) =
                by_month.entry((one.month, one.kind.name())).or_insert_with(|| (0, SumsBody::zero()));
            *transfers = transfers.saturating_add(one.transfers);
            let sum = sums.checked_add(&one.found.sums);
            *sums = sum.ok_or_else(|| AppError::Store(StoreError::Row("sum".to_owned())))?;
        }
        Ok(by_month.into_iter().filter_map(|(month, (transfers, sums))| self.body(month, transfers, &sums)).collect())
    }

    fn body(&self, (month, kind): (usize, &str), transfers: u64, sums: &SumsBody) -> Option<CorrectionsBody> {
        let start = *self.months.get(month)?;
        Some(CorrectionsBody {
            period: self.zone.local(start).date.format("%Y-%m").to_string(),
            period_start: start,
            kind: kind.to_owned(),
            transfers,
            requests: sums.requests,
            amounts: sums.amounts.clone(),
        })
    }
}

fn row(span: &Span, zone: Zone, names: &[String], found: SumsFound, corrections: Vec<CorrectionsBody>) -> UsageRowBody {
    let start = span.starts.get(found.span).copied().unwrap_or(span.from);
    let group: BTreeMap<String, Option<String>> = names.iter().cloned().zip(found.group).collect();
    UsageRowBody {
        start,
        end: span.end(found.span),
        start_local: zone.to_local_rfc3339(start),
        group,
        sums: found.sums,
        corrections,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(zone: &str, query: &[(&str, &str)]) -> Result<Span, FieldError> {
        let pairs: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let now = "2026-06-10T12:00:00Z".parse().unwrap();
        Span::plan(&UsageQuery::parse(&pairs)?, Zone::parse(zone).unwrap(), now)
    }

    /// Zone, query, then `from`, `to`, number of buckets and whether they fall on quarters.
    #[track_caller]
    fn check(zone: &str, query: &[(&str, &str)], expect: &str) {
        let told = match plan(zone, query) {
            Ok(span) => {
                let time = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%MZ").to_string();
                let fits = if span.falls_on_quarters() { "rollup" } else { "journal" };
                format!("{} {} {} {fits}", time(span.from), time(span.to), span.starts.len())
            }
            Err(error) => error.field,
        };
        assert_eq!(told, expect, "{zone} {query:?}");
    }

    #[test]
    fn spans_and_buckets_are_cut_by_the_calendar_of_the_zone() {
        check("UTC", &[], "2026-06-01T00:00Z 2026-07-01T00:00Z 1 rollup");
        check("Asia/Tokyo", &[], "2026-05-31T15:00Z 2026-06-30T15:00Z 1 rollup");
        check("Asia/Kathmandu", &[("bucket", "day")], "2026-05-31T18:15Z 2026-06-30T18:15Z 30 rollup");
        let march = [("from", "2026-03-01"), ("to", "2026-04-01"), ("bucket", "day")];
        check("Europe/Berlin", &march, "2026-02-28T23:00Z 2026-03-31T22:00Z 31 rollup");
        let spring = [("from", "2026-03-29"), ("to", "2026-03-30"), ("bucket", "hour")];
        check("Europe/Berlin", &spring, "2026-03-28T23:00Z 2026-03-29T22:00Z 23 rollup");
        let odd = [("from", "2026-06-01T00:00:01Z"), ("bucket", "day")];
        check("UTC", &odd, "2026-06-01T00:00Z 2026-07-01T00:00Z 30 journal");
        // A day that does not exist begins with the next one.
        let apia = [("from", "2011-12-30"), ("to", "2012-01-01"), ("bucket", "day")];
        check("Pacific/Apia", &apia, "2011-12-30T10:00Z 2011-12-31T10:00Z 1 rollup");
        // A clock that is not on quarters: Monrovia until 1972.
        let monrovia = [("from", "1971-01-01"), ("to", "1971-01-03"), ("bucket", "day")];
        check("Africa/Monrovia", &monrovia, "1971-01-01T00:44Z 1971-01-03T00:44Z 2 journal");
        check("UTC", &[("from", "2026-07-01")], "to");
        check("UTC", &[("from", "2020-01-01"), ("bucket", "hour")], "bucket");
        check("UTC", &[("from", "1800-01-01")], "from");
        check("UTC", &[("to", "9999-12-31")], "to");
        check("UTC", &[("from", "1800-01-01T00:00:00Z"), ("bucket", "day")], "from");
    }
}
