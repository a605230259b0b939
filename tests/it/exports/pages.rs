//! The pages of columns are those of the code.

use counterfoil::export::focus::columns::columns;
use counterfoil::export::table::Kind;
use counterfoil::export::transfers::COLUMNS;
use counterfoil::wire::export::FocusVersion;

use crate::tidy::root;

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join("docs/reference/exports").join(name)).unwrap()
}

#[test]
fn each_column_of_transfers_has_its_line_in_its_place() {
    let kind = |kind: Kind| match kind {
        Kind::Text => "text",
        Kind::Integer => "whole number",
        Kind::Decimal => "decimal",
        Kind::Instant => "instant",
    };
    let expected: Vec<String> =
        COLUMNS.iter().map(|column| format!("| `{}` | {} |", column.name, kind(column.kind))).collect();
    let page = page("transfers.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows.len(), expected.len(), "{rows:#?}");
    for (row, expected) in rows.iter().zip(&expected) {
        assert!(row.starts_with(expected), "{row} instead of {expected}");
    }
}

#[test]
fn each_column_of_charges_is_explained_and_no_other() {
    let page = page("focus.md");
    let table = page.split("## Columns").nth(1).unwrap();
    let cells = table.lines().filter(|line| line.starts_with("| `")).map(|line| line.split(" | ").next().unwrap());
    let mut explained: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    explained.sort_unstable();
    let mut names: Vec<&str> =
        [FocusVersion::V1_4, FocusVersion::V1_2].into_iter().flat_map(columns).map(|column| column.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(explained, names);
}
