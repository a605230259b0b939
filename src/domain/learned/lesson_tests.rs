use proptest::prelude::*;

use super::*;
use crate::domain::fixtures::{call, tokens};

/// So many calls, each with the share in thousandths that it used.
fn histogram(calls: &[(u64, u64)]) -> Histogram {
    let mut histogram = Histogram::default();
    for (count, thousandths) in calls {
        histogram.add(Ratio::from_millionths(thousandths * 1_000).bucket(), *count);
    }
    histogram
}

fn class(text: &str) -> Class {
    let call = call(text);
    Class { tenant: Some(call.tenant), feature: Some(call.feature), provider: call.provider, model: call.model }
}

/// The output that is held of a thousand, or `max`.
fn held(lessons: &Lessons, text: &str, rule: HoldRule) -> String {
    lessons.of(&call(text), rule).map_or("max".to_owned(), |lesson| lesson.output(tokens(1_000)).to_string())
}

#[test]
fn too_few_calls_teach_nothing() {
    assert_eq!(HoldRule::LEARNED.map(|rule| calls_min(rule).unwrap()), [100, 500]);
    assert_eq!(calls_min(HoldRule::Max), None);
    for (rule, few) in [(HoldRule::P95, 99), (HoldRule::P99, 499)] {
        assert_eq!(Lesson::of(&histogram(&[(few, 250)]), rule), None, "{rule:?}");
        let lesson = Lesson::of(&histogram(&[(few + 1, 250)]), rule).unwrap();
        assert_eq!(lesson.output(tokens(1_000)), tokens(250), "{rule:?}");
    }
    assert_eq!(Lesson::of(&histogram(&[(1_000, 250)]), HoldRule::Max), None);
}

#[test]
fn calls_that_use_their_maximum_teach_that_it_is_needed() {
    assert_eq!(Lesson::of(&histogram(&[(1_000, 1_000)]), HoldRule::P95), None);
    assert_eq!(Lesson::of(&histogram(&[(940, 10), (60, 1_000)]), HoldRule::P95), None, "six in a hundred do");
    assert!(Lesson::of(&histogram(&[(960, 10), (40, 1_000)]), HoldRule::P95).is_some());
    assert_eq!(Lesson::of(&histogram(&[(960, 10), (40, 1_000)]), HoldRule::P99), None, "four in a hundred do");
}

#[test]
fn a_lesson_counts_one_overrun_more_than_was_seen() {
    // 99 calls use a quarter, one uses all; with the one that is added, two of 101 use all that is above the quarter.
    let lesson = Lesson::of(&histogram(&[(99, 250), (1, 1_000)]), HoldRule::P95).unwrap();
    assert_eq!((lesson.beyond, lesson.mean), (19_802, 19_802));
    assert_eq!(lesson.mean_overrun(tokens(1_000), tokens(1_000)), 19_802);
    // Half of the rest is granted: at most as much is overrun, so the mean share of it could double, were overruns not so rare.
    assert_eq!(lesson.mean_overrun(tokens(1_000), tokens(625)), 19_802);
    let mild = Lesson::of(&histogram(&[(96, 250), (4, 500)]), HoldRule::P95).unwrap();
    assert_eq!((mild.beyond, mild.mean), (49_505, 23_103), "4 thirds and one whole, of 101");
    assert_eq!(mild.mean_overrun(tokens(1_000), tokens(625)), 46_206);
    assert_eq!(mild.mean_overrun(tokens(1_000), tokens(300)), 49_505, "never more often than it happens");
}

#[test]
fn the_finest_class_that_has_seen_enough_teaches() {
    let lessons = Lessons::learn([
        (class("acme/chat openai/gpt-4o"), histogram(&[(100, 250)])),
        (class("bolt/chat openai/gpt-4o"), histogram(&[(300, 500)])),
        (class("acme/code openai/gpt-4o"), histogram(&[(200, 125)])),
    ]);
    assert_eq!(held(&lessons, "acme/chat openai/gpt-4o", HoldRule::P95), "250", "its own");
    assert_eq!(
        held(&lessons, "acme/chat openai/gpt-4o", HoldRule::P99),
        "500",
        "400 and 600 calls: those of the model"
    );
    assert_eq!(held(&lessons, "corp/chat openai/gpt-4o", HoldRule::P95), "500", "of the feature, pooled");
    assert_eq!(held(&lessons, "corp/code openai/gpt-4o", HoldRule::P95), "125");
    assert_eq!(held(&lessons, "corp/search openai/gpt-4o", HoldRule::P95), "500", "of the model, pooled");
    assert_eq!(held(&lessons, "acme/chat openai/gpt-4o-mini", HoldRule::P95), "max");
    assert_eq!(held(&lessons, "acme/chat openai/gpt-4o", HoldRule::Max), "max");
    assert_eq!(held(&Lessons::default(), "acme/chat openai/gpt-4o", HoldRule::P95), "max");
}

proptest! {
    #[test]
    fn a_lesson_holds_less_than_the_maximum_and_as_often_enough_as_was_seen(
        shares in prop::collection::vec(0_u64..1_100, 100..400), requested in 1_u64..100_000,
    ) {
        let mut output = Histogram::default();
        shares.iter().for_each(|share| output.count(Ratio::from_millionths(share * 1_000)));
        if let Some(lesson) = Lesson::of(&output, HoldRule::P95) {
            let held = lesson.output(tokens(requested)).count();
            prop_assert!(held <= requested);
            let within = shares.iter().filter(|share| **share * requested <= held * 1_000).count();
            prop_assert!(within * 100 >= shares.len() * 95, "{} of {}", within, shares.len());
            prop_assert!(lesson.beyond > 0 && lesson.mean > 0 && lesson.mean <= lesson.beyond);
            prop_assert!(lesson.beyond <= 1_000_000);
        }
    }
}
