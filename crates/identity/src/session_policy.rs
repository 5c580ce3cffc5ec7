//! Managed policies that narrow a session.
//!
//! The token names each policy with the digest of the text that it had when the session was made, and at
//! use a version of the policy with that very text is looked for. Texts of managed policies are too long
//! for a token; names alone would let anyone who edits a policy later widen sessions that are out. Where the
//! text is gone (the version was removed, or the policy), the session may do nothing: to leave the policy
//! out could widen it too, by a statement that denied.

use crate::directory::Directory;
use crate::documents::Taken;
use crate::error::IdentityError;
use drystone_base::hex;
use drystone_iam::{Document, DocumentKind, canned_policy};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Managed policies of a session (STS API reference, AssumeRole).
const POLICY_COUNT_MAX: usize = 10;
/// What stands in for a document that cannot be had: it denies everything, and says why by its `Sid`.
const CLOSED: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"CannotBeRead","Effect":"Deny",
    "Action":"*","Resource":"*"}]}"#;

/// A document that denies everything, for one that cannot be read.
pub(crate) fn closed() -> Document {
    Document::parse(CLOSED, DocumentKind::Identity).expect("a valid document")
}

fn digest_of(text: &str) -> String {
    hex(&Sha256::digest(text))
}

impl Directory {
    /// Notes the policies with these resource names, as they are now.
    pub(crate) fn pin_policies(
        &self,
        account: &str,
        arns: &[String],
    ) -> Result<Vec<String>, IdentityError> {
        if arns.len() > POLICY_COUNT_MAX {
            let message = "A session is narrowed by at most 10 managed policies.";
            return Err(IdentityError::invalid("PolicyArns", message));
        }
        let pin = |arn: &String| {
            let name = self.policy_of_arn(account, arn)?;
            let digest = digest_of(&self.policy_text(account, &name)?);
            Ok(format!("{name} {digest}"))
        };
        arns.iter().map(pin).collect()
    }

    /// The documents that pins stand for, by name.
    pub(crate) fn pinned_documents(
        &self,
        account: &str,
        pins: &[String],
        taken: &mut Taken,
    ) -> Result<Vec<(String, Arc<Document>)>, IdentityError> {
        let mut document = |pin: &String| {
            // What is read for an identity that takes too much is of no use any more.
            if taken.is_too_much() {
                return Ok((String::new(), Arc::new(closed())));
            }
            let (name, digest) = pin.split_once(' ').unwrap_or((pin, ""));
            let texts = match canned_policy(name) {
                Some(text) => vec![text.to_owned()],
                None => match self.policy(account, name) {
                    Ok(policy) => {
                        let texts = policy.versions.into_iter().map(|v| v.document);
                        texts.inspect(|text| taken.add_row(text.len())).collect()
                    }
                    Err(IdentityError::NotFound { .. } | IdentityError::Damaged { .. }) => {
                        Vec::new()
                    }
                    Err(error) => return Err(error),
                },
            };
            let text = texts.iter().find(|text| digest_of(text) == digest);
            let found = text.and_then(|text| self.shared.documents.compile(text).ok());
            let document = found.unwrap_or_else(|| Arc::new(closed()));
            taken.add_document(&document);
            Ok((name.to_owned(), document))
        };
        pins.iter().map(&mut document).collect()
    }
}
