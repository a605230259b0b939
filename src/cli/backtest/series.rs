//! Series for the back-test: those that ship, and those of a file.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::{DateTime, Days, NaiveDateTime, TimeDelta, Utc};

use crate::domain::calendar::Zone;
use crate::domain::forecast::backtest::replay::pooled;
use crate::domain::forecast::backtest::{Case, Kind};
use crate::domain::forecast::{HourlySeries, Source};
use crate::domain::id::TenantId;

/// See `data/series/README.md`.
const SERVEGEN: &str = include_str!("../../../data/series/servegen.sample.csv");
/// See `data/series/README.md`.
const BURSTGPT: &str = include_str!("../../../data/series/burstgpt.csv");
/// The tenant of a file that names none.
const TENANT: &str = "all";

/// Where hours that are only numbered begin: midnight of a Monday, 2024-01-01 in UTC.
fn first_monday() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH.checked_add_days(Days::new(19_723)).unwrap_or_default()
}

/// The real series that ship.
pub(super) fn bundled() -> anyhow::Result<Vec<Case>> {
    let burstgpt = read_csv(BURSTGPT.as_bytes(), Zone::UTC)?;
    let mut cases = vec![Case::of("real: BurstGPT", Kind::Bursty, burstgpt)];
    let mut models: BTreeMap<&str, Vec<Source>> = BTreeMap::new();
    for line in SERVEGEN.lines().skip(1) {
        let (client, values) = line.split_once(',').context("a line of ServeGen has no comma")?;
        let values: Vec<f64> = values.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let start = first_monday();
        let until = start + TimeDelta::hours(i64::try_from(values.len())?);
        let source = Source {
            tenant: TenantId::parse(client)?,
            feature: None,
            zone: Zone::UTC,
            series: HourlySeries::new(start, until, values),
        };
        let model = client.rsplit_once('-').map_or(client, |(model, _)| model);
        models.entry(model).or_default().push(source.clone());
        let case = Case::of("real: ServeGen, each client", Kind::Young, vec![source]);
        cases.push(Case { halves: true, ..case });
    }
    let pools = models.into_values().map(|sources| Case::of("real: ServeGen, all of a model", Kind::Young, sources));
    cases.extend(pools);
    Ok(cases)
}

/// The cases of a file: all its tenants as one pool and, where there are more than one, each of them.
pub(super) fn cases_of(sources: Vec<Source>) -> Vec<Case> {
    let mut cases = vec![Case::of("pool", Kind::Own, sources.clone())];
    if sources.len() > 1 {
        let each = |source: Source| Case { halves: true, ..Case::of("each tenant", Kind::Own, vec![source]) };
        cases.extend(sources.into_iter().map(each));
    }
    cases
}

/// A zone, and what was used at instants.
type Uses = (Zone, Vec<(DateTime<Utc>, f64)>);

/// Reads `hour,value` with optional columns `tenant` and `zone`.
pub(super) fn read_csv(reader: impl std::io::Read, zone: Zone) -> anyhow::Result<Vec<Source>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(reader);
    let headers = reader.headers()?.clone();
    let column = |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
    let hour = column("hour").context("there is no column `hour`")?;
    let value = column("value").context("there is no column `value`")?;
    let (tenant, zone_column) = (column("tenant"), column("zone"));
    let mut tenants: BTreeMap<TenantId, Uses> = BTreeMap::new();
    for (row, record) in reader.records().enumerate() {
        let line = row + 2;
        let record = record.with_context(|| format!("line {line}"))?;
        let field = |column: usize| record.get(column).unwrap_or("");
        let at = read_hour(field(hour)).with_context(|| format!("line {line}: hour {:?}", field(hour)))?;
        let used: f64 = field(value).parse().with_context(|| format!("line {line}: value {:?}", field(value)))?;
        anyhow::ensure!(used.is_finite() && used >= 0.0, "line {line}: value {used} is not an amount");
        let name = tenant.map_or(TENANT, field);
        let id = TenantId::parse(name).with_context(|| format!("line {line}: tenant {name:?}"))?;
        let its_zone = match zone_column.map(field) {
            Some(name) if !name.is_empty() => Zone::parse(name).with_context(|| format!("line {line}"))?,
            _ => zone,
        };
        tenants.entry(id).or_insert((its_zone, Vec::new())).1.push((at, used));
    }
    let instants = || tenants.values().flat_map(|(_, uses)| uses.iter().map(|(at, _)| *at));
    let (Some(start), Some(last)) = (instants().min(), instants().max()) else { anyhow::bail!("there are no rows") };
    let until = last + TimeDelta::hours(1);
    let source = |(tenant, (zone, uses)): (TenantId, Uses)| Source {
        tenant,
        feature: None,
        zone,
        series: HourlySeries::from_uses(start, until, uses),
    };
    Ok(tenants.into_iter().map(source).collect())
}

/// An hour: an instant in RFC 3339, a date and time in UTC, or the number of an hour counted from a Monday's midnight.
fn read_hour(text: &str) -> anyhow::Result<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.with_timezone(&Utc));
    }
    for format in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"] {
        if let Ok(at) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(at.and_utc());
        }
    }
    let number: u32 = text.parse().context("use 2026-11-01T09:00:00Z, or the number of an hour")?;
    Ok(first_monday() + TimeDelta::hours(i64::from(number)))
}

/// Many copies of the shipped series, for a measurement of speed: so many tenants with twelve weeks of hours each.
pub(super) fn many(tenants: usize, now: DateTime<Utc>) -> anyhow::Result<Vec<Source>> {
    let zones =
        ["Asia/Tokyo", "Europe/Berlin", "America/Sao_Paulo", "America/Los_Angeles", "Asia/Kolkata", "Europe/London"];
    let base = pooled(&read_csv(BURSTGPT.as_bytes(), Zone::UTC)?).context("no series")?;
    let source = |number: usize| -> anyhow::Result<Source> {
        let shifted = base.values().iter().cycle().skip(number % 168).take(2_016);
        Ok(Source {
            tenant: TenantId::parse(&format!("tenant-{number}"))?,
            feature: None,
            zone: Zone::parse(zones.get(number % zones.len()).copied().unwrap_or("Etc/UTC"))?,
            series: HourlySeries::new(now - TimeDelta::hours(2_016), now, shifted.map(|value| value + 1.0).collect()),
        })
    };
    (0..tenants).map(source).collect()
}
