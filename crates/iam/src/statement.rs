//! One statement of a policy.

use crate::condition::Condition;
use crate::facts::Facts;
use crate::pattern::{Pattern, Template};
use crate::principal::{Principal, PrincipalPattern, Reach, reach};
use crate::work::Work;

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

/// Other names of what is asked for. A statement that leaves out one of them (`NotAction`, `NotResource`)
/// leaves out all: "everything but `iam:*`" must not cover what `iam:CreateUser` is under another name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aliases<'a> {
    /// Of the action.
    pub actions: &'a [&'a str],
    /// Of the resource.
    pub resources: &'a [&'a str],
}

/// What is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) aliases: Aliases<'a>,
    pub(crate) facts: &'a Facts,
    pub(crate) work: &'a Work,
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
    pub(crate) fn matches(&self, asked: &Asked<'_>) -> bool {
        let Asked { action, aliases, facts, work, .. } = asked;
        if work.is_spent() {
            return false;
        }
        let named = |patterns: &[Pattern], name: &str| {
            patterns.iter().any(|pattern| {
                work.count(name.len());
                pattern.matches_ignoring_case(name)
            })
        };
        let action_matches = match &self.actions {
            Either::In(patterns) => named(patterns, action),
            Either::NotIn(patterns) => {
                let mut names = aliases.actions.iter().chain([action]);
                !names.any(|name| named(patterns, name))
            }
        };
        action_matches
            && self.resource_matches(asked)
            && self.conditions.iter().all(|condition| condition.holds(facts, work, self.effect))
    }

    fn resource_matches(&self, asked: &Asked<'_>) -> bool {
        let Asked { resource, aliases, facts, work, .. } = asked;
        match &self.resources {
            None => true,
            Some(Either::In(templates)) => templates.iter().any(|template| {
                let pattern = template.expand_within(facts, work);
                pattern.is_some_and(|p| p.matches_within(resource, work))
            }),
            // What a variable without a value leaves out is no resource: all others are denied, and none is
            // given.
            Some(Either::NotIn(templates)) => templates.iter().all(|template| {
                let pattern = template.expand_within(facts, work);
                let mut names = aliases.resources.iter().chain([resource]);
                pattern.map_or(self.effect == Effect::Deny, |pattern| {
                    !names.any(|name| pattern.matches_within(name, work))
                })
            }),
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
            Either::In(patterns) => reach(patterns, caller, canonical, self.effect),
            Either::NotIn(patterns) => {
                let mut patterns = patterns.iter();
                let is_left_out = patterns.any(|pattern| pattern.leaves_out(caller, canonical));
                (!is_left_out).then_some(Reach::Everyone)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, DocumentKind};

    fn matches(statement: &str, action: &str, resource: &str, aliases: Aliases<'_>) -> bool {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        let document = Document::parse(&text, DocumentKind::Identity).expect("it is valid");
        let (facts, work) = (Facts::new(), Work::new());
        let asked = Asked { action, resource, aliases, facts: &facts, work: &work };
        document.statements[0].matches(&asked)
    }

    /// Goal: what a statement leaves out, it leaves out under every name.
    #[test]
    fn what_is_left_out_is_left_out_under_every_name() {
        let aliases =
            Aliases { actions: &["iam:A", "admin:A"], resources: &["arn:aws:iam::0:user/x/a"] };
        let all = "arn:aws:s3:::*";
        for (statement, expected) in [
            (r#"{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}"#, false),
            (r#"{"Effect":"Allow","NotAction":"s3:*","Resource":"*"}"#, true),
            (r#"{"Effect":"Deny","NotAction":"iam:A","Resource":"*"}"#, false),
            (r#"{"Effect":"Allow","Action":"*","NotResource":"arn:aws:iam::0:user/x/*"}"#, false),
            (r#"{"Effect":"Allow","Action":"*","NotResource":"arn:aws:iam::0:user/y/*"}"#, true),
        ] {
            assert_eq!(matches(statement, "admin:A", all, aliases), expected, "{statement}");
        }
        // A name that is listed is the one that is asked for, and no other.
        assert!(!matches(
            r#"{"Effect":"Allow","Action":"iam:A","Resource":"*"}"#,
            "admin:A",
            all,
            aliases
        ));
    }
}
