//! What one decision may cost. Patterns come from policies and values from requests, so that their number
//! multiplied is what a client chooses: it is counted, not trusted.

use std::cell::{Cell, RefCell};

/// What one comparison of a pattern with a value costs besides the bytes that it looks at.
const COMPARISON_COST: usize = 100;

/// What one decision may cost, in bytes looked at: about 5 ms.
const DECISION_COST_MAX: usize = 5_000_000;

/// What is left of the work that a decision may take. Once it is spent nothing matches any more, and the
/// decision is a refusal.
#[derive(Debug)]
pub(crate) struct Work {
    left: Cell<usize>,
    /// Name of the policy that was being looked at when it was spent.
    spent_in: RefCell<Option<String>>,
}

impl Work {
    /// For one decision.
    pub(crate) fn new() -> Self {
        Self { left: Cell::new(DECISION_COST_MAX), spent_in: RefCell::default() }
    }

    /// Counts one comparison, which looked at `steps` bytes.
    pub(crate) fn count(&self, steps: usize) {
        self.left.set(self.left.get().saturating_sub(steps.saturating_add(COMPARISON_COST)));
    }

    /// Whether nothing is left.
    pub(crate) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    /// Keeps the name of the first policy after which nothing was left.
    pub(crate) fn note(&self, policy: &str) {
        if self.is_spent() {
            self.spent_in.borrow_mut().get_or_insert_with(|| policy.to_owned());
        }
    }

    /// Name of the policy in which it was spent; `None` if there is some left.
    pub(crate) fn spent_in(&self) -> Option<String> {
        self.is_spent().then(|| self.spent_in.borrow().clone().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Caller, Document, DocumentKind, Facts, PolicySet, Principal, Reason, decide};
    use std::time::Instant;

    fn document(effect: &str, condition: &str) -> Document {
        let statement = format!(
            r#"{{"Effect":"{effect}","Action":"s3:*","Resource":"*","Condition":{condition}}}"#
        );
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        Document::parse(&text, DocumentKind::Identity).expect("it is valid")
    }

    fn patterns(count: usize) -> String {
        let quoted: Vec<_> = (0..count).map(|n| format!(r#""*?{n}x""#)).collect();
        quoted.join(",")
    }

    #[track_caller]
    fn check(effect: &str, (patterns_count, values): (usize, usize), expected: Reason) {
        let list = patterns(patterns_count);
        let costly = document(
            effect,
            &format!(r#"{{"ForAnyValue:StringLike":{{"s3:RequestObjectTagKeys":[{list}]}}}}"#),
        );
        let all = document("Allow", "{}");
        let mut facts = Facts::new();
        for number in 0..values {
            facts.add("s3:RequestObjectTagKeys", format!("{number}{}", "y".repeat(100)));
        }
        let caller = Principal::Anonymous;
        let named = [("all", &all), ("costly", &costly)];
        let set = PolicySet { identity: &named, ..PolicySet::default() };
        let caller = Caller { principal: &caller, canonical: None };
        let begun = Instant::now();
        let decision = decide(caller, "s3:PutObject", "arn:aws:s3:::b/k", &facts, &set);
        // Without optimization and on a busy machine.
        assert!(begun.elapsed().as_secs() < 5);
        assert_eq!(decision.explanation.reason, expected, "{patterns_count} on {values}");
        assert_eq!(decision.allowed, expected == Reason::Allow);
        if expected == Reason::TooCostly {
            assert_eq!(decision.explanation.policy.as_deref(), Some("costly"));
        }
    }

    /// Goal: what many patterns cost on many values is bounded, and what was not looked at does not allow.
    #[test]
    fn a_decision_that_costs_too_much_is_a_refusal() {
        check("Deny", (500, 10), Reason::Allow);
        check("Deny", (2000, 15_000), Reason::TooCostly);
        check("Deny", (20_000, 50), Reason::TooCostly);
        // An allow that was found before stays one where only allows are looked at.
        check("Allow", (2000, 15_000), Reason::Allow);
    }
}
