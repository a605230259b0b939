//! Lists of emission factors → factor rows, and what they say otherwise than the book.
//!
//! A list is a JSON array of rows as the API takes them, or a CSV with the columns of one of the files of `data/factors`. Two
//! publications *disagree* when both have a figure for one thing at an instant, and not the same.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::carbon::FactorId;
use crate::wire::factor::FactorDoc;
use crate::wire::factor::bundled::{BadBundle, docs_of_table};
use crate::wire::factor::doc::{BadFactorDoc, FactorIdentity};

/// Fields that are not the figure: where it is from, and when it holds.
const NOT_FIGURES: [&str; 5] = ["source", "valid_from", "valid_to", "year", "also_known_as"];

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadFactorList {
    /// Not the JSON of factor rows.
    #[error("is not a JSON array of factor rows: {0}")]
    Json(#[from] serde_json::Error),
    /// Not a CSV of factors.
    #[error("is not a CSV of factors: {0}")]
    Table(#[from] BadBundle),
}

/// Reads a list.
///
/// # Errors
/// When the text is neither.
pub fn read(text: &str) -> Result<Vec<FactorDoc>, BadFactorList> {
    if text.trim_start().starts_with('[') { Ok(serde_json::from_str(text)?) } else { Ok(docs_of_table(text)?) }
}

/// A row's place in the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactorStanding {
    /// The very row is there.
    Known,
    /// The book says the same, by this set.
    Agrees(String),
    /// The book has nothing of it.
    New,
    /// The book says otherwise.
    Differs {
        /// What it is about.
        key: String,
        /// By this set.
        source: String,
        /// Where.
        differences: Vec<FigureDifference>,
    },
}

/// One field that two publications tell differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FigureDifference {
    /// The field.
    pub field: String,
    /// As the list says.
    pub theirs: String,
    /// As the book says.
    pub ours: String,
}

/// A row of the book, prepared.
struct Known {
    set: String,
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
    doc: Value,
}

/// Where each row stands, in order.
///
/// # Errors
/// When a row is not valid: check them first.
pub fn compare(
    docs: &[FactorDoc],
    book: &[FactorDoc],
    now: DateTime<Utc>,
) -> Result<Vec<FactorStanding>, BadFactorDoc> {
    let mut known: BTreeMap<(&'static str, String), Vec<Known>> = BTreeMap::new();
    let mut identities = std::collections::BTreeSet::new();
    for doc in book {
        let factor = doc.clone().into_factor(FactorId(0))?;
        let (validity, identity) = (factor.validity(), FactorIdentity::of(&factor));
        let row = Known { set: identity.set.clone(), from: validity.from, to: validity.to, doc: figures(doc) };
        known.entry((identity.kind.word(), identity.key.clone())).or_default().push(row);
        identities.insert((identity, factor.source().title.clone()));
    }
    let mut standings = Vec::with_capacity(docs.len());
    for doc in docs {
        let factor = doc.clone().into_factor(FactorId(0))?;
        let identity = FactorIdentity::of(&factor);
        let validity = factor.validity();
        let at = if validity.holds(now) { now } else { validity.from };
        let key = identity.key.clone();
        let place = (identity.kind.word(), key.clone());
        if identities.contains(&(identity, factor.source().title.clone())) {
            standings.push(FactorStanding::Known);
            continue;
        }
        let in_force = known.get(&place).into_iter().flatten();
        let in_force = in_force.filter(|row| row.from <= at && row.to.is_none_or(|end| at < end));
        let theirs = figures(doc);
        standings.push(match in_force.max_by_key(|row| row.from) {
            None => FactorStanding::New,
            Some(ours) if ours.doc == theirs => FactorStanding::Agrees(ours.set.clone()),
            Some(ours) => {
                FactorStanding::Differs { key, source: ours.set.clone(), differences: differences(&theirs, &ours.doc) }
            }
        });
    }
    Ok(standings)
}

/// What a row says, without where and when.
fn figures(doc: &FactorDoc) -> Value {
    let mut value = serde_json::to_value(doc).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !NOT_FIGURES.contains(&name.as_str()));
    }
    value
}

fn differences(theirs: &Value, ours: &Value) -> Vec<FigureDifference> {
    let empty = serde_json::Map::new();
    let (theirs, ours) = (theirs.as_object().unwrap_or(&empty), ours.as_object().unwrap_or(&empty));
    let names: std::collections::BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let told = |value: Option<&Value>| value.map_or("-".to_owned(), ToString::to_string);
    let one = |name: &String| {
        let (a, b) = (theirs.get(name), ours.get(name));
        (a != b).then(|| FigureDifference { field: name.clone(), theirs: told(a), ours: told(b) })
    };
    names.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: &str = "zone,value,unit,year,valid_from,valid_to,accounting,basis,gases,set,tier,source_title,publisher,source_url,licence,dataset_version,retrieved,note\n";

    fn grid(zone: &str, value: &str, set: &str) -> Vec<FactorDoc> {
        let line = format!(
            "{zone},{value},g/kWh,2025,2025-01-01,,location,lifecycle,CO2e,{set},1,T,P,,private,1,2026-11-22,\n"
        );
        read(&format!("{GRID}{line}")).unwrap()
    }

    #[test]
    fn publications_that_disagree_are_told_figure_by_figure() {
        let book = grid("SWE", "36.7", "one");
        let standing =
            |list: &[FactorDoc]| compare(list, &book, "2026-11-22T12:00:00Z".parse().unwrap()).unwrap().remove(0);
        assert_eq!(standing(&grid("SWE", "36.7", "one")), FactorStanding::Known);
        assert_eq!(standing(&grid("SWE", "36.7", "two")), FactorStanding::Agrees("one".to_owned()));
        assert_eq!(standing(&grid("NOR", "36.7", "two")), FactorStanding::New);
        let FactorStanding::Differs { source, differences, .. } = standing(&grid("SWE", "40", "two")) else {
            panic!("it differs")
        };
        let told =
            FigureDifference { field: "g_per_kwh".to_owned(), theirs: "40.0".to_owned(), ours: "36.7".to_owned() };
        assert_eq!((source.as_str(), differences), ("one", vec![told]));
    }

    #[test]
    fn the_tables_that_ship_can_be_read_and_are_known() {
        for table in [
            include_str!("../../data/factors/grid.csv"),
            include_str!("../../data/factors/serving.csv"),
            include_str!("../../data/factors/models.csv"),
            include_str!("../../data/factors/regions.csv"),
        ] {
            let docs = read(table).unwrap();
            let book = crate::wire::factor::bundled().unwrap().docs;
            let standings = compare(&docs, &book, "2026-11-22T12:00:00Z".parse().unwrap()).unwrap();
            assert!(!standings.is_empty() && standings.iter().all(|one| *one == FactorStanding::Known));
        }
    }

    #[test]
    fn what_is_no_list_says_so() {
        assert!(read("[{}]").unwrap_err().to_string().starts_with("is not a JSON array of factor rows"));
        assert!(read("a,b\n1,2\n").unwrap_err().to_string().starts_with("is not a CSV of factors"));
    }
}
