//! What is decided on when an operation has begun, because only it knows what: tags that come along, lists
//! of grants, keys of the key service. It is remembered, so that all of it is decided on again with the rest
//! when a body has come.

use super::{allow_point, may_use_key};
use crate::acl::{self, Grant};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::ops::{Given, given_acl};
use crate::rules::Rules;
use drystone_base::sync::{Mutex, lock};
use std::sync::Arc;

/// One decision.
#[derive(Clone)]
pub(crate) enum Also {
    /// A key is used.
    Key { action: &'static str, id: String },
    /// Something of an access point is set.
    Point { action: &'static str, account: String, name: String },
    /// Whose a new object is, and its list.
    Acl { bucket: String, given: Given },
    /// The list of an upload becomes that of its object.
    UploadAcl { bucket: String, acl: String },
    /// How a new object is sealed, by what its bucket said of encryption.
    Encryption { bucket: String, rules: Arc<Rules> },
    /// What an operation looked at before its change, and what the change depends on: a block of public
    /// access, or whether there are access points.
    Holds(Arc<Check>),
}

/// Looks at what it names as it is when it is called.
type Check = dyn Fn(&Context<'_>) -> Result<(), S3Error> + Send + Sync;

impl Also {
    fn decide(&self, context: &Context<'_>) -> Result<(), S3Error> {
        match self {
            Self::Key { action, id } => may_use_key(context, action, id),
            Self::Point { action, account, name } => allow_point(context, action, account, name),
            Self::Acl { bucket, given } => {
                let bucket = context.engine.find_bucket(bucket)?;
                // What the object would get is not what was prepared: its sender may try again.
                match given_acl(context, &bucket)? == *given {
                    true => Ok(()),
                    false => Err(S3Code::OperationAborted.into()),
                }
            }
            // Where public lists are blocked S3 refuses those that a request brings (S3 user guide,
            // "BlockPublicAcls"); of an upload that was begun before it says nothing. The object is
            // made now, so that its list counts as brought now. The upload stays as it is.
            Self::UploadAcl { bucket, acl } => {
                let bucket = context.engine.find_bucket(bucket)?;
                let is_blocked = context.rules_of(&bucket)?.block_public_acls;
                match is_blocked && acl::decode(acl).iter().any(Grant::is_public) {
                    true => Err(S3Code::AccessDenied.into()),
                    false => Ok(()),
                }
            }
            Self::Holds(check) => check(context),
            Self::Encryption { bucket, rules } => {
                let bucket = context.engine.find_bucket(bucket)?;
                match context.rules_of(&bucket)?.encryption == rules.encryption {
                    true => Ok(()),
                    false => Err(S3Code::OperationAborted.into()),
                }
            }
        }
    }
}

/// The decisions of one request, in their order.
#[derive(Default)]
pub(crate) struct AlsoDecided(Mutex<Vec<Also>>);

impl AlsoDecided {
    /// What was decided on in an attempt that is begun again.
    pub(super) fn forget(&self) {
        lock(&self.0).clear();
    }
}

impl Clone for AlsoDecided {
    fn clone(&self) -> Self {
        Self(Mutex::new(lock(&self.0).clone()))
    }
}

/// Decides, and remembers what was allowed.
///
/// # Errors
///
/// As each decision.
pub(crate) fn decide_also(context: &Context<'_>, also: Also) -> Result<(), S3Error> {
    also.decide(context)?;
    lock(&context.also.0).push(also);
    Ok(())
}

/// Checks what a change depends on, and has it checked whenever its request is decided on again: the change
/// compares that nothing was changed since then.
///
/// # Errors
///
/// As the check.
pub(crate) fn check_also(
    context: &Context<'_>,
    check: impl Fn(&Context<'_>) -> Result<(), S3Error> + Send + Sync + 'static,
) -> Result<(), S3Error> {
    decide_also(context, Also::Holds(Arc::new(check)))
}

/// Remembers whose a new object is: it was decided on by making it out.
pub(crate) fn remember_acl(context: &Context<'_>, bucket: &str, given: &Given) {
    let also = Also::Acl { bucket: bucket.to_owned(), given: given.clone() };
    lock(&context.also.0).push(also);
}

/// Remembers by which rules new objects of a bucket are sealed; those of the first one, if there are several.
pub(crate) fn remember_encryption(context: &Context<'_>, bucket: &str, rules: Arc<Rules>) {
    let mut all = lock(&context.also.0);
    if !all.iter().any(|also| matches!(also, Also::Encryption { bucket: of, .. } if of == bucket)) {
        all.push(Also::Encryption { bucket: bucket.to_owned(), rules });
    }
}

/// Decides again on all of it, as `again`.
pub(super) fn decide_all(also: &AlsoDecided, again: &Context<'_>) -> Result<(), S3Error> {
    let all = lock(&also.0).clone();
    all.iter().try_for_each(|also| also.decide(again))
}
