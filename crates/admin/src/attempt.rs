//! Deciding a request, and deciding it again where what it was decided on changes before its effect.
//!
//! The first attempt reserves nothing: its changes are refused if anything of the account was changed since
//! it began (`identity/src/decided.rs`). Then the request is decided from the beginning, with its caller as
//! the directory knows them by then, while others of the account change nothing.

use crate::door::AdminRequest;
use drystone_identity::{Directory, IdentifyError, Identity, IdentityError};
use std::sync::Arc;

/// Times that a request is decided.
const ATTEMPT_COUNT_MAX: u32 = 8;
/// How long a decision holds whose policies look at the time.
const TIMED_LEN_MS: u64 = 5000;
/// Condition keys whose values change by themselves, in lower case.
const TIMED: [&str; 3] = ["aws:currenttime", "aws:epochtime", "aws:multifactorauthage"];

/// The attempts of a request.
pub(crate) struct Attempts<'a> {
    directory: &'a Directory,
    request: &'a AdminRequest,
    known: &'a Arc<Identity>,
    count: u32,
}

/// A decision that has begun.
pub(crate) struct Attempt {
    /// For what is decided, and what is changed on it.
    pub(crate) directory: Directory,
    /// The caller, as looked up since it began.
    pub(crate) identity: Arc<Identity>,
}

/// Looks the key of a request up again.
pub(crate) fn identify_again(
    directory: &Directory,
    request: &AdminRequest,
    known: &Identity,
) -> Result<Arc<Identity>, IdentityError> {
    if request.is_local {
        return Ok(directory.root_identity());
    }
    let token = request.header("x-amz-security-token");
    let ended = "The access key was changed, or has ended.";
    match directory.identify(&known.access_key, token) {
        Ok(now) if now.is_same(known) => Ok(now),
        Err(IdentifyError::Stored(error)) => Err(error),
        Ok(_) | Err(_) => Err(IdentityError::Forbidden(ended.to_owned())),
    }
}

fn end_of(identity: &Identity, now_ms: u64) -> u64 {
    let is_timed = TIMED.iter().any(|key| identity.fact_keys.contains(*key));
    let timed_end = is_timed.then_some(now_ms + TIMED_LEN_MS);
    timed_end.into_iter().chain(identity.expires_ms).min().unwrap_or(u64::MAX)
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(
        directory: &'a Directory,
        request: &'a AdminRequest,
        known: &'a Arc<Identity>,
    ) -> Self {
        Self { directory, request, known, count: 0 }
    }

    /// Begins to decide.
    pub(crate) async fn begin(&mut self) -> Result<Attempt, IdentityError> {
        let account = self.known.account();
        let directory = if self.count == 0 {
            self.directory.for_decision(account)
        } else {
            self.directory.for_reserved_decision(account, self.request.consumer).await?
        };
        self.count += 1;
        let identity = identify_again(&directory, self.request, self.known)?;
        directory.set_decision_end(end_of(&identity, directory.now_ms()));
        Ok(Attempt { directory, identity })
    }

    /// Whether the request has to be decided again. This decision is over.
    pub(crate) fn go_on(&mut self, attempt: &Attempt) -> bool {
        attempt.directory.end_decision();
        attempt.directory.must_decide_again() && self.count < ATTEMPT_COUNT_MAX
    }
}
