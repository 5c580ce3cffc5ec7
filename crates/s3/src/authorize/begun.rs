//! What the request said that initiated an upload. S3 decides on each part, and on the completion, with the
//! rights to put the object, whose conditions look at headers that only that first request has
//! (S3 user guide, "Multipart upload API and permissions"): a policy that demands encryption or a list
//! would deny every part.

use super::facts::{HEADERS, reads};
use super::{Need, account_of};
use crate::gateway::Context;
use crate::operation::Operation;
use drystone_base::UploadId;
use drystone_engine::{BucketRow, UploadRow};
use std::cell::OnceCell;

/// Headers of a lock, whose condition keys have other names.
const LOCK: &[&str] = &[
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
];

/// Stored with the object, and sealed with it where it is encrypted.
const REDIRECT: &str = "x-amz-website-redirect-location";

/// What a request that initiates an upload says of its object that conditions look at later, beside what
/// the template keeps as it was sent.
pub(crate) fn said_of_object(context: &Context<'_>) -> Vec<(String, String)> {
    let is_of_object = |name: &&&str| {
        reads(Operation::CreateMultipartUpload, name)
            && !name.starts_with("if-")
            && **name != REDIRECT
    };
    let names = HEADERS.iter().filter(is_of_object).chain(LOCK);
    names.filter_map(|name| Some(((*name).to_owned(), context.request.text(name)?))).collect()
}

/// Whether a right is to an upload that another account than the bucket's began, and the sender is of
/// that account: it may look at its parts and abort it (S3 user guide, "Multipart upload API and
/// permissions"). In the account of the bucket these are rights like others.
pub(super) fn is_of_sender(context: &Context<'_>, bucket: &BucketRow, need: &Need) -> bool {
    let account = context.sender.account();
    if !matches!(need.action, "s3:AbortMultipartUpload" | "s3:ListMultipartUploadParts")
        || account.is_none_or(|account| account == account_of(bucket))
    {
        return false;
    }
    let upload = context.request.query("uploadId").and_then(UploadId::parse);
    let (Some(upload), Some(key)) = (upload, &need.key) else { return false };
    let row = context.engine.initiated(bucket, key.as_bytes(), upload);
    let initiator = row.and_then(|row| row.initiator);
    initiator.is_some_and(|initiator| Some(initiator.account.as_str()) == account)
}

/// The upload of which a request sends a part, or which it completes; read when a condition looks at it.
pub(super) struct Begun<'a> {
    context: &'a Context<'a>,
    bucket: Option<&'a BucketRow>,
    need: &'a Need,
    row: OnceCell<Option<UploadRow>>,
}

impl<'a> Begun<'a> {
    pub(super) fn new(
        context: &'a Context<'a>,
        bucket: Option<&'a BucketRow>,
        need: &'a Need,
    ) -> Self {
        Self { context, bucket, need, row: OnceCell::new() }
    }

    fn find(&self) -> Option<UploadRow> {
        use Operation as O;
        let (request, need) = (&self.context.request, self.need);
        let is_of_upload = matches!(
            self.context.operation,
            Some(O::UploadPart | O::UploadPartCopy | O::CompleteMultipartUpload)
        );
        let is_target = need.bucket == request.bucket && need.key == request.key;
        if !is_of_upload || !is_target || need.action != "s3:PutObject" {
            return None;
        }
        let upload = UploadId::parse(request.query("uploadId")?)?;
        let key = need.key.as_ref()?;
        self.context.engine.initiated(self.bucket?, key.as_bytes(), upload)
    }

    fn row(&self) -> Option<&UploadRow> {
        self.row.get_or_init(|| self.find()).as_ref()
    }

    /// A header of that request.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let row = self.row()?;
        let mut all = row.said.iter().chain(&row.template.headers);
        all.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The tags that it set.
    pub(super) fn tags(&self) -> Vec<(String, String)> {
        self.row().map_or_else(Vec::new, |row| row.template.tags.clone())
    }
}
