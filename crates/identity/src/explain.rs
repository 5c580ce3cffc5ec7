//! The last refusals, for administrators.

use drystone_base::sync::{Mutex, lock};
use drystone_base::warn_limited;
use drystone_iam::{Explanation, Reason};
use std::collections::VecDeque;

/// Refusals that are kept.
const COUNT_MAX: usize = 4096;
/// Bytes kept of each text, so that long keys fill nothing.
const TEXT_LEN_MAX: usize = 256;

/// A decision that refused a request, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedDecision {
    /// Id of the request, as the client saw it.
    pub request_id: String,
    /// In milliseconds since 1970.
    pub time_ms: u64,
    /// Who asked: a resource name, or `anonymous`.
    pub principal: String,
    /// Access key id; empty if there was none.
    pub access_key: String,
    /// The action that was refused.
    pub action: String,
    /// The resource.
    pub resource: String,
    /// Why.
    pub explanation: Explanation,
}

/// A bounded ring of refusals: a flood of them drives out old ones, and fills nothing. With all its texts
/// as long as they may be, it holds 8 MiB.
#[derive(Default)]
pub struct Explanations {
    ring: Mutex<VecDeque<ExplainedDecision>>,
}

fn shorten(text: &mut String) {
    if text.len() > TEXT_LEN_MAX {
        text.truncate(text.floor_char_boundary(TEXT_LEN_MAX));
        text.push('…');
    }
    text.shrink_to_fit();
}

impl Explanations {
    /// Keeps a refusal.
    pub fn add(&self, mut decision: ExplainedDecision) {
        let ExplainedDecision { request_id, principal, access_key, action, resource, .. } =
            &mut decision;
        for text in [request_id, principal, access_key, action, resource] {
            shorten(text);
        }
        let Explanation { policy, sid, .. } = &mut decision.explanation;
        policy.iter_mut().chain(sid).for_each(shorten);
        if decision.explanation.reason == Reason::TooCostly {
            let ExplainedDecision { principal, resource, .. } = &decision;
            let policy = decision.explanation.policy.as_deref().unwrap_or_default();
            warn_limited!("a decision is refused: its policies compare too many patterns";
                policy, principal, resource);
        }
        let mut ring = lock(&self.ring);
        if ring.len() >= COUNT_MAX {
            ring.pop_front();
        }
        ring.push_back(decision);
    }

    /// The refusals of a request, oldest first; of all requests if `request_id` is empty.
    #[must_use]
    pub fn find(&self, request_id: &str) -> Vec<ExplainedDecision> {
        let ring = lock(&self.ring);
        let fits = |d: &&ExplainedDecision| request_id.is_empty() || d.request_id == request_id;
        ring.iter().filter(fits).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_iam::Reason;

    /// Goal: a flood keeps the memory bounded, and the newest refusals.
    #[test]
    fn a_flood_drives_out_the_oldest() {
        let ring = Explanations::default();
        for number in 0..COUNT_MAX + 10 {
            ring.add(ExplainedDecision {
                request_id: number.to_string(),
                time_ms: 0,
                principal: "x".repeat(10_000),
                access_key: String::new(),
                action: "s3:GetObject".to_owned(),
                resource: "é".repeat(10_000),
                explanation: Explanation {
                    reason: Reason::NoAllow,
                    source: None,
                    policy: Some("p".repeat(10_000)),
                    sid: Some("s".repeat(10_000)),
                    index: None,
                },
            });
        }
        assert_eq!(ring.find("").len(), COUNT_MAX);
        assert!(ring.find("3").is_empty());
        let newest = &ring.find(&(COUNT_MAX + 9).to_string())[0];
        let explanation = &newest.explanation;
        for text in [Some(&newest.resource), explanation.policy.as_ref(), explanation.sid.as_ref()]
        {
            assert!(text.expect("it was given").capacity() <= TEXT_LEN_MAX + 3);
        }
    }
}
