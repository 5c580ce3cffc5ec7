//! Small settings of a bucket: public access block, ownership, who pays, acceleration.

use super::{Form, Subject, Unset};
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
    check: |_, _| Ok(()),
    unset: Unset::Error(S3Code::OwnershipControlsNotFoundError),
};
pub(super) const REQUEST_PAYMENT: Form = Form {
    kind: DocumentKind::RequestPayment,
    root: "RequestPaymentConfiguration",
    shape: PAYMENT_SHAPE,
    check: |_, _| Ok(()),
    unset: Unset::Default(Some(("Payer", "BucketOwner"))),
};
pub(super) const ACCELERATE: Form = Form {
    kind: DocumentKind::Accelerate,
    root: "AccelerateConfiguration",
    shape: ACCELERATE_SHAPE,
    check: check_accelerate,
    unset: Unset::Default(None),
};

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
