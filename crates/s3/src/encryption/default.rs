//! What a bucket encrypts by default.

use crate::error::S3Error;
use crate::xml::{Element, parse};
use drystone_engine::plan::DocumentKind;
use drystone_engine::{BucketRow, Engine};

/// The default encryption of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DefaultEncryption {
    /// `None`: none.
    pub(super) method: Option<Method>,
    /// Writes with keys of clients are refused.
    pub(super) blocks_customer_keys: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Method {
    S3,
    Kms { key: Option<String>, bucket_key: bool },
}

pub(crate) const ROOT: &str = "ServerSideEncryptionConfiguration";

impl DefaultEncryption {
    /// Reads the configuration of a bucket. `always`: what is not said to be otherwise is SSE-S3.
    pub(crate) fn of(engine: &Engine, bucket: &BucketRow, always: bool) -> Result<Self, S3Error> {
        let mut found = match engine.document(bucket, DocumentKind::Encryption, "")? {
            Some(bytes) => Self::of_document(&parse(&bytes, ROOT)?),
            None => Self::default(),
        };
        if found.method.is_none() && always {
            found.method = Some(Method::S3);
        }
        Ok(found)
    }

    fn of_document(root: &Element) -> Self {
        let Some(rule) = root.child("Rule") else { return Self::default() };
        let blocked = rule.child("BlockedEncryptionTypes");
        let blocks_customer_keys = blocked.is_some_and(|blocked| {
            blocked.children_named("EncryptionType").any(|kind| kind.text.trim() == "SSE-C")
        });
        let default = rule.child("ApplyServerSideEncryptionByDefault");
        let method = default.and_then(|default| match default.text_of("SSEAlgorithm") {
            Some("aws:kms") => {
                let key = default.text_of("KMSMasterKeyID").filter(|key| !key.is_empty());
                let bucket_key = rule.text_of("BucketKeyEnabled") == Some("true");
                Some(Method::Kms { key: key.map(str::to_owned), bucket_key })
            }
            Some(_) => Some(Method::S3),
            None => None,
        });
        Self { method, blocks_customer_keys }
    }
}
