//! Small settings of a bucket: public access block, ownership, who pays, acceleration.

use super::{Form, Subject, Unset};
use crate::acl;
use crate::authorize::{account_of, canonical_of, check_also, may_log_to};
use crate::bucket_log::{LogTarget, PREFIX_LEN_MAX, Source};
use crate::error::{S3Code, S3Error};
use crate::schema::{Content, Node, one, optional};
use crate::xml::Element;
use drystone_engine::plan::DocumentKind;

const BLOCK_SHAPE: &[Node] = &[
    optional("BlockPublicAcls", Content::Bool),
    optional("IgnorePublicAcls", Content::Bool),
    optional("BlockPublicPolicy", Content::Bool),
    optional("RestrictPublicBuckets", Content::Bool),
];
const OWNERSHIP_SHAPE: &[Node] = &[one(
    "Rule",
    Content::Group(&[one(
        "ObjectOwnership",
        Content::OneOf(&["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"]),
    )]),
)];
const PAYMENT_SHAPE: &[Node] = &[one("Payer", Content::OneOf(&["BucketOwner", "Requester"]))];
const LOGGING_SHAPE: &[Node] = &[optional(
    "LoggingEnabled",
    Content::Group(&[
        one("TargetBucket", Content::Text),
        optional("TargetGrants", Content::Group(&[])),
        optional("TargetPrefix", Content::Text),
        optional(
            "TargetObjectKeyFormat",
            Content::Group(&[
                optional("SimplePrefix", Content::Group(&[])),
                optional(
                    "PartitionedPrefix",
                    Content::Group(&[optional(
                        "PartitionDateSource",
                        Content::OneOf(&["EventTime", "DeliveryTime"]),
                    )]),
                ),
            ]),
        ),
    ]),
)];
const ACCELERATE_SHAPE: &[Node] = &[optional("Status", Content::OneOf(&["Enabled", "Suspended"]))];

pub(super) const PUBLIC_ACCESS_BLOCK: Form = Form {
    kind: DocumentKind::PublicAccessBlock,
    root: "PublicAccessBlockConfiguration",
    shape: BLOCK_SHAPE,
    check: fill_block,
    unset: Unset::Error(S3Code::NoSuchPublicAccessBlockConfiguration),
};
pub(super) const OWNERSHIP: Form = Form {
    kind: DocumentKind::OwnershipControls,
    root: "OwnershipControls",
    shape: OWNERSHIP_SHAPE,
    check: check_ownership,
    unset: Unset::Error(S3Code::OwnershipControlsNotFoundError),
};
pub(super) const REQUEST_PAYMENT: Form = Form {
    kind: DocumentKind::RequestPayment,
    root: "RequestPaymentConfiguration",
    shape: PAYMENT_SHAPE,
    check: |_, _| Ok(()),
    unset: Unset::Default(Some(("Payer", "BucketOwner"))),
};
pub(super) const LOGGING: Form = Form {
    kind: DocumentKind::Logging,
    root: "BucketLoggingStatus",
    shape: LOGGING_SHAPE,
    check: check_logging,
    unset: Unset::Default(None),
};
pub(super) const ACCELERATE: Form = Form {
    kind: DocumentKind::Accelerate,
    root: "AccelerateConfiguration",
    shape: ACCELERATE_SHAPE,
    check: check_accelerate,
    unset: Unset::Default(None),
};

/// The target must be a bucket of the same owner.
fn check_logging(root: &mut Element, subject: &Subject<'_>) -> Result<(), S3Error> {
    let Some(enabled) = root.child("LoggingEnabled") else { return Ok(()) };
    let target = enabled.text_of("TargetBucket").unwrap_or_default();
    let invalid = || {
        let message = "The target bucket for logging does not exist or belongs to another account";
        S3Error::with(S3Code::InvalidTargetBucketForLogging, message).field("TargetBucket", target)
    };
    let found = subject.context.engine.find_bucket(target).map_err(|_| invalid())?;
    if account_of(&found) != account_of(subject.bucket) {
        return Err(invalid());
    }
    if enabled.text_of("TargetPrefix").is_some_and(|prefix| prefix.len() > PREFIX_LEN_MAX) {
        let message = format!("The target prefix is longer than {PREFIX_LEN_MAX} bytes.");
        return Err(S3Error::with(S3Code::InvalidRequest, message));
    }
    if let Some(to) = LogTarget::of_document(root) {
        let (bucket, account) =
            (subject.bucket.name.clone(), account_of(subject.bucket).to_owned());
        let (source, target) = (Source { bucket, account, target: to }, found.name.clone());
        check_also(subject.context, move |context| {
            may_log_to(context, &source, &*context.engine.find_bucket(&target)?)
        })?;
    }
    if enabled.child("TargetGrants").is_some_and(|grants| !grants.children.is_empty()) {
        return Err(S3Error::not_implemented("TargetGrants"));
    }
    match enabled.child("TargetObjectKeyFormat").map(|format| format.children.len()) {
        None | Some(1) => Ok(()),
        Some(_) => Err(S3Code::MalformedXML.into()),
    }
}

/// Lists that give others something would be cut off.
fn check_ownership(root: &mut Element, subject: &Subject<'_>) -> Result<(), S3Error> {
    let rule = root.child("Rule").and_then(|rule| rule.text_of("ObjectOwnership"));
    if rule != Some("BucketOwnerEnforced") {
        return Ok(());
    }
    let bucket = subject.bucket.name.clone();
    check_also(subject.context, move |context| {
        let bucket = context.engine.find_bucket(&bucket)?;
        let owner = canonical_of(context, account_of(&bucket));
        let rules = context.rules_of(&bucket)?;
        let grants_others =
            rules.acl.as_deref().is_some_and(|grants| !acl::is_plain(grants, &owner, &owner));
        match grants_others {
            true => Err(S3Code::InvalidBucketAclWithObjectOwnership.into()),
            false => Ok(()),
        }
    })
}

/// A switch that is left out is off, and is returned as such.
fn fill_block(root: &mut Element, _: &Subject<'_>) -> Result<(), S3Error> {
    for node in BLOCK_SHAPE {
        if root.child(node.name).is_none() {
            let (name, text) = (node.name.to_owned(), "false".to_owned());
            root.children.push(Element { name, text, children: Vec::new() });
        }
    }
    Ok(())
}

fn check_accelerate(root: &mut Element, subject: &Subject<'_>) -> Result<(), S3Error> {
    if subject.bucket.name.contains('.') {
        let message = "S3 Transfer Acceleration is not supported for buckets with periods (.) in \
                       their names";
        return Err(S3Error::with(S3Code::InvalidRequest, message));
    }
    match root.child("Status") {
        Some(_) => Ok(()),
        None => Err(S3Code::MalformedXML.into()),
    }
}
