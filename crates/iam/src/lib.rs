//! Who may do what: policy documents, and the decision that they lead to.
//!
//! The crate is pure: documents come in as text, facts about a request as a map, time as an argument.
//! Nothing here reads storage or the network. Names and rules are those of the AWS policy language
//! (IAM User Guide, "Policy evaluation logic", "IAM JSON policy elements reference").
//!
//! # Invariants
//!
//! - Nothing is allowed by default, and an explicit deny of any policy wins.
//! - No variable ever expands to nothing. One without a value equals nothing and names no resource, so that
//!   a deny of everything else reaches all; an allow of everything else gives nothing.
//! - Values of variables are literals: a wildcard in one stands for itself.
//! - A stored document names users and roles by unique id: a new one of an old name has nothing of it.
//! - A decision costs so much at most ([`Reason::TooCostly`]), whatever policies and requests hold.
//! - Every decision names the statement that led to it, or says that none allowed.

mod action;
mod arn;
mod canned;
mod condition;
mod decide;
mod document;
mod facts;
mod json;
mod keys;
mod known;
mod network;
mod pattern;
mod principal;
mod public;
mod statement;
mod stored;
mod work;

pub use arn::Arn;
pub use canned::{canned_names, canned_policy};
pub use decide::{
    Caller, Decision, Explanation, Named, PolicySet, Reason, Source, decide, decide_key,
    decide_trust, is_named,
};
pub use document::{Document, DocumentKind, PolicyError};
pub use facts::{CommonFacts, FACT_LEN_BYTES_MAX, Facts};
pub use keys::{CONDITION_KEYS, ConditionKey, Filled, KeyKind};
pub use known::is_known_action;
pub use network::Network;
pub use principal::{BareName, Principal};
pub use statement::Aliases;
pub use stored::{KnownPrincipal, PrincipalKind, PrincipalNames, StoredPolicy};
