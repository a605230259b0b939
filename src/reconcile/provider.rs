//! Whose report it is: the provider that is named must be the one whose shape the report has, and one that is known.
//!
//! A report that is reconciled under another provider's name takes back all that the books have of that one, and posts all of
//! it again. So a name is not taken on trust.

use super::report::{BadReport, Report};

/// Most edits between a name and the one that was likely meant.
const EDITS_MAX: usize = 2;

/// Refuses a report whose shape is another provider's. `named` is the provider as the books name it.
///
/// # Errors
/// Says whose shape it has.
pub fn check_shape(report: &Report, named: &str) -> Result<(), BadReport> {
    let other =
        report.kinds.iter().find_map(|kind| kind.maker().filter(|maker| *maker != named).map(|maker| (kind, maker)));
    let Some((kind, maker)) = other else { return Ok(()) };
    let detail = format!(
        "is `{named}`, and the report has the shape of `{}`, which is {maker}'s: name {maker}, or send the bill of {named} as \
         an invoice in CSV",
        kind.name()
    );
    Err(BadReport::new("provider", detail))
}

/// The known name that was likely meant by one that is not known.
#[must_use]
pub fn likely<'a>(named: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let named = named.to_ascii_lowercase();
    let near = known.into_iter().map(|name| (edits(&named, name), name));
    near.filter(|(edits, _)| *edits <= EDITS_MAX).min().map(|(_, name)| name)
}

/// How many letters must be changed, added or left out to make one of the other.
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in (0_usize..).zip(one.bytes()) {
        let mut diagonal = above;
        let mut left = above.saturating_add(1);
        for (place, against) in row.iter_mut().zip(std::iter::once(None).chain(other.bytes().map(Some))) {
            let Some(against) = against else {
                *place = left;
                continue;
            };
            let change = diagonal.saturating_add(usize::from(against != letter));
            diagonal = *place;
            left = change.min(left.saturating_add(1)).min(diagonal.saturating_add(1));
            *place = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::report::ReportKind;

    #[test]
    fn the_name_that_was_meant_is_near() {
        for (one, other, expect) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("openai", "openai", 0),
            ("opnai", "openai", 1),
        ] {
            assert_eq!((edits(one, other), edits(other, one)), (expect, expect), "{one} {other}");
        }
        let known = ["anthropic", "openai", "openrouter", "x-ai"];
        for (named, meant) in [
            ("antropic", Some("anthropic")),
            ("OpenAi", Some("openai")),
            ("open-ai", Some("openai")),
            ("xai", Some("x-ai")),
            ("mistral", None),
        ] {
            assert_eq!(likely(named, known), meant, "{named}");
        }
    }

    #[test]
    fn a_report_is_its_makers_alone_and_an_invoice_anybodys() {
        let of = |kind| Report { kinds: [kind].into(), ..Report::default() };
        for kind in ReportKind::ALL {
            for named in ["anthropic", "openai", "aws"] {
                let fits = kind.maker().is_none_or(|maker| maker == named);
                assert_eq!(check_shape(&of(kind), named).is_ok(), fits, "{kind:?} {named}");
            }
        }
    }
}
