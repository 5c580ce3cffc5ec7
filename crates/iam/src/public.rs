//! Whether a bucket policy is public (S3 User Guide, "The meaning of 'public'").

use crate::condition::Condition;
use crate::document::Document;
use crate::network::Network;
use crate::pattern::Template;
use crate::principal::PrincipalPattern;
use crate::statement::{Effect, Either, Statement};

/// Keys whose fixed values make a statement for everyone one for someone.
const NARROWING: &[&str] = &[
    "aws:sourceip",
    "aws:sourcearn",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceowner",
    "aws:sourceaccount",
    "aws:principalorgid",
    "aws:principalaccount",
    "aws:userid",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:dataaccesspointarn",
    "s3:dataaccesspointaccount",
];

fn narrows(condition: &Condition) -> bool {
    let is_narrow = |value: &Template| match condition.key() {
        "aws:sourceip" => Network::parse(value.text()).is_some_and(|n| n.is_narrow()),
        _ => true,
    };
    NARROWING.contains(&condition.key())
        && condition.fixed_values().is_some_and(|values| values.iter().all(is_narrow))
}

impl Statement {
    fn is_public(&self) -> bool {
        let for_everyone = match &self.principals {
            Some(Either::In(patterns)) => patterns.iter().any(PrincipalPattern::is_everyone),
            Some(Either::NotIn(_)) => true,
            None => false,
        };
        self.effect == Effect::Allow && for_everyone && !self.conditions.iter().any(narrows)
    }
}

impl Document {
    /// Whether any statement allows something to everybody.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(Statement::is_public)
    }
}
