//! One statement of a policy.

use crate::condition::Condition;
use crate::facts::Facts;
use crate::pattern::{Pattern, Template};
use crate::principal::{Principal, PrincipalPattern, Reach, reach};

/// What a statement does when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// An element and its negated form, such as `Action` and `NotAction`.
#[derive(Clone, Debug)]
pub(crate) enum Either<T> {
    In(Vec<T>),
    NotIn(Vec<T>),
}

/// A statement, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sid: Option<String>,
    pub(crate) effect: Effect,
    /// `None` in identity policies.
    pub(crate) principals: Option<Either<PrincipalPattern>>,
    pub(crate) actions: Either<Pattern>,
    /// `None` in trust policies.
    pub(crate) resources: Option<Either<Template>>,
    pub(crate) conditions: Vec<Condition>,
}

impl<T> Either<T> {
    fn weight(&self, each: impl Fn(&T) -> usize) -> usize {
        let (Self::In(items) | Self::NotIn(items)) = self;
        items.iter().map(each).sum()
    }
}

impl Statement {
    /// Bytes that it holds.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>()
            + self.sid.as_ref().map_or(0, String::capacity)
            + self.principals.as_ref().map_or(0, |all| all.weight(PrincipalPattern::weight))
            + self.actions.weight(Pattern::weight)
            + self.resources.as_ref().map_or(0, |all| all.weight(Template::weight))
            + self.conditions.iter().map(Condition::weight).sum::<usize>()
    }

    /// Whether action, resource and conditions match; the principal is another question.
    pub(crate) fn matches(&self, action: &str, resource: &str, facts: &Facts) -> bool {
        let action_matches = match &self.actions {
            Either::In(patterns) => patterns.iter().any(|p| p.matches_ignoring_case(action)),
            Either::NotIn(patterns) => !patterns.iter().any(|p| p.matches_ignoring_case(action)),
        };
        action_matches
            && self.resource_matches(resource, facts)
            && self.conditions.iter().all(|condition| condition.holds(facts))
    }

    fn resource_matches(&self, resource: &str, facts: &Facts) -> bool {
        match &self.resources {
            None => true,
            Some(Either::In(templates)) => templates
                .iter()
                .any(|template| template.expand(facts).is_some_and(|p| p.matches(resource))),
            // A variable without a value: not known to be another resource.
            Some(Either::NotIn(templates)) => templates
                .iter()
                .all(|template| template.expand(facts).is_some_and(|p| !p.matches(resource))),
        }
    }

    /// Condition keys that it looks at, in lower case.
    pub(crate) fn fact_keys(&self) -> impl Iterator<Item = String> {
        let of_resources = self.resources.iter().flat_map(|resources| match resources {
            Either::In(templates) | Either::NotIn(templates) => templates.iter(),
        });
        let of_resources = of_resources.flat_map(Template::variables).map(str::to_owned);
        of_resources.chain(self.conditions.iter().flat_map(Condition::fact_keys))
    }

    /// How far the statement of a resource policy reaches for a caller; `None` if it does not name him.
    pub(crate) fn reach(&self, caller: &Principal, canonical: Option<&str>) -> Option<Reach> {
        match self.principals.as_ref()? {
            Either::In(patterns) => reach(patterns, caller, canonical),
            Either::NotIn(patterns) => match reach(patterns, caller, canonical) {
                Some(_) => None,
                None => Some(Reach::Everyone),
            },
        }
    }
}
