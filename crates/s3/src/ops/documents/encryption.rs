//! What a bucket encrypts by default (S3 API reference, `ServerSideEncryptionConfiguration`).

use super::{Form, Subject, Unset};
use crate::encryption::ROOT;
use crate::error::{S3Code, S3Error};
use crate::schema::Content::{Bool, Group, OneOf, Text};
use crate::schema::{one, optional, some};
use crate::xml::Element;
use drystone_engine::plan::DocumentKind;

pub(super) const FORM: Form = Form {
    kind: DocumentKind::Encryption,
    root: ROOT,
    shape: &[one(
        "Rule",
        Group(&[
            optional(
                "ApplyServerSideEncryptionByDefault",
                Group(&[
                    one("SSEAlgorithm", OneOf(&["AES256", "aws:kms", "aws:kms:dsse"])),
                    optional("KMSMasterKeyID", Text),
                ]),
            ),
            optional("BucketKeyEnabled", Bool),
            optional(
                "BlockedEncryptionTypes",
                Group(&[some("EncryptionType", OneOf(&["NONE", "SSE-C"]))]),
            ),
        ]),
    )],
    check,
    unset: Unset::Error(S3Code::ServerSideEncryptionConfigurationNotFoundError),
};

fn check(root: &mut Element, _: &Subject<'_>) -> Result<(), S3Error> {
    let default =
        root.child("Rule").and_then(|rule| rule.child("ApplyServerSideEncryptionByDefault"));
    let Some(default) = default else { return Ok(()) };
    match (default.text_of("SSEAlgorithm"), default.text_of("KMSMasterKeyID")) {
        (Some("aws:kms:dsse"), _) => Err(S3Error::not_implemented("aws:kms:dsse")),
        (Some("AES256"), Some(key)) => {
            let message = "a KMSMasterKeyID is not applicable if the default sse algorithm is not \
                           aws:kms or aws:kms:dsse";
            Err(S3Error::argument("ApplyServerSideEncryptionByDefault", key, message))
        }
        _ => Ok(()),
    }
}
