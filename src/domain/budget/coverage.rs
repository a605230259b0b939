//! Coverage: what a call lacks to be counted by a budget that would govern it otherwise.
//!
//! A limit that is left by leaving a field out is none. So a hard budget that tells calls apart by a field, or asks for one in
//! its scope, refuses a call that says nothing there, unless it was told to ignore it.
//!
//! | the budget | a call without the field | a call with another value |
//! |---|---|---|
//! | `each` run, agent, region, label | lacks it | has a counter of its own |
//! | `scope.labels`, `scope.region` | lacks it | is not governed |
//! | `scope.run`, `scope.agent` | is not governed: it is no call of that run | is not governed |

use std::fmt;

use super::catalogue::{Budget, Enforcement};
use super::scope::{Dimensions, Each, Scope};
use crate::domain::id::{BudgetId, LabelKey};

/// A field that a call may leave out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallField {
    /// Where it is served.
    Region,
    /// The agent's task.
    Run,
    /// The agent.
    Agent,
    /// A label.
    Label(LabelKey),
}

impl fmt::Display for CallField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region => f.write_str("region"),
            Self::Run => f.write_str("run"),
            Self::Agent => f.write_str("agent"),
            Self::Label(key) => write!(f, "labels.{key}"),
        }
    }
}

impl CallField {
    /// Whether a call leaves it out.
    fn is_absent(&self, call: &Dimensions) -> bool {
        match self {
            Self::Region => call.region.is_none(),
            Self::Run => call.run.is_none(),
            Self::Agent => call.agent.is_none(),
            Self::Label(key) => !call.labels.contains_key(key),
        }
    }
}

/// What becomes of a call that lacks a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingRule {
    /// It is stopped.
    Refuse,
    /// It is not counted.
    #[default]
    Ignore,
}

/// What a budget does that says nothing about it.
#[must_use]
pub const fn default_rule(enforcement: Enforcement) -> MissingRule {
    match enforcement {
        Enforcement::Hard => MissingRule::Refuse,
        Enforcement::Soft => MissingRule::Ignore,
    }
}

/// The field that a budget counts apart by, if a call may leave it out.
fn told_apart_by(each: Option<&Each>) -> Option<CallField> {
    match each? {
        Each::Region => Some(CallField::Region),
        Each::Run => Some(CallField::Run),
        Each::Agent => Some(CallField::Agent),
        Each::Label(key) => Some(CallField::Label(key.clone())),
        Each::Tenant | Each::Feature | Each::Provider | Each::Model => None,
    }
}

/// Whether a budget needs something that a call may leave out.
#[must_use]
pub fn may_lack(scope: &Scope, each: Option<&Each>) -> bool {
    scope.region.is_some() || !scope.labels.is_empty() || told_apart_by(each).is_some()
}

/// Whether a scope names something that callers choose as they like: whoever names the same meets the same counter.
#[must_use]
pub fn chooses_calls(scope: &Scope) -> bool {
    scope.run.is_some() || scope.agent.is_some() || !scope.labels.is_empty()
}

/// A budget that would count a call if the call said more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCounted {
    /// Which budget.
    pub budget: BudgetId,
    /// What the call lacks.
    pub field: CallField,
    /// Whether the call is stopped for it.
    pub is_refused: bool,
}

impl Budget {
    /// The budget as one that does not count a call, if all that keeps it from that is a field which the call leaves out.
    #[must_use]
    pub fn not_counting(&self, call: &Dimensions) -> Option<NotCounted> {
        if !may_lack(&self.scope, self.each.as_ref()) {
            return None;
        }
        let of_labels = self.scope.labels.keys().cloned().map(CallField::Label);
        let of_region = self.scope.region.is_some().then_some(CallField::Region);
        let field = told_apart_by(self.each.as_ref())
            .into_iter()
            .chain(of_region)
            .chain(of_labels)
            .find(|field| field.is_absent(call))?;
        let mut said = self.scope.clone();
        said.labels.retain(|key, _| call.labels.contains_key(key));
        if call.region.is_none() {
            said.region = None;
        }
        let is_refused = self.missing == MissingRule::Refuse && self.enforcement == Enforcement::Hard;
        said.matches(call).then(|| NotCounted { budget: self.id.clone(), field, is_refused })
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::fixtures::{budget, call};

    #[test]
    fn a_budget_that_would_count_a_call_but_for_a_field_names_the_field() {
        // budget | call | what it lacks
        let table = [
            ("b usd 1 day each=run", "acme/chat unit/one", "run"),
            ("b usd 1 day each=run", "acme/chat unit/one run=r", "-"),
            ("b usd 1 day each=agent", "acme/chat unit/one run=r", "agent"),
            ("b usd 1 day each=region", "acme/chat unit/one", "region"),
            ("b usd 1 day each=user", "acme/chat unit/one", "labels.user"),
            ("b usd 1 day each=user", "acme/chat unit/one user=u", "-"),
            ("b usd 1 day each=feature", "acme/chat unit/one", "-"),
            ("b usd 1 day team=cx", "acme/chat unit/one", "labels.team"),
            ("b usd 1 day team=cx", "acme/chat unit/one team=ops", "-"),
            ("b usd 1 day team=cx", "acme/chat unit/one team=cx", "-"),
            ("b usd 1 day team=cx each=run", "acme/chat unit/one team=ops", "-"),
            ("b usd 1 day team=cx each=run", "acme/chat unit/one team=cx", "run"),
            ("b usd 1 day region=eu", "acme/chat unit/one", "region"),
            ("b usd 1 day run=r", "acme/chat unit/one", "-"),
            ("b usd 1 day agent=a each=run", "acme/chat unit/one", "-"),
            // what it would not govern anyway it does not miss
            ("b usd 1 day each=run tenant=bolt", "acme/chat unit/one", "-"),
            ("b usd 1 day each=run model=two", "acme/chat unit/one", "-"),
        ];
        for (text, of, lacks) in table {
            let found = budget(1, text).not_counting(&call(of));
            assert_eq!(found.as_ref().map_or("-".to_owned(), |one| one.field.to_string()), lacks, "{text} {of}");
            assert!(found.is_none_or(|one| !one.is_refused));
            let refusing = budget(1, &format!("{text} missing=refuse")).not_counting(&call(of));
            assert!(refusing.is_none_or(|one| one.is_refused));
            let soft = budget(1, &format!("{text} missing=refuse soft")).not_counting(&call(of));
            assert!(soft.is_none_or(|one| !one.is_refused), "a soft budget refuses nobody");
        }
    }
}
