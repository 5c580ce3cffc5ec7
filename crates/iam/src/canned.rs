//! Policies that are there without anybody having made them. Their names are reserved.

const CANNED: &[(&str, &str)] = &[
    (
        "readonly",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetBucketLocation","s3:GetObject"],"Resource":["arn:aws:s3:::*"]}]}"#,
    ),
    (
        "readwrite",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}]}"#,
    ),
    (
        "writeonly",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject"],"Resource":["arn:aws:s3:::*"]}]}"#,
    ),
    (
        "diagnostics",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["admin:Profiling","admin:ServerTrace","admin:ConsoleLog","admin:ServerInfo","admin:TopLocksInfo","admin:OBDInfo","admin:BandwidthMonitor","admin:Prometheus"],"Resource":["*"]}]}"#,
    ),
    (
        "consoleAdmin",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["admin:*","kms:*","s3:*"],"Resource":["*"]}]}"#,
    ),
    (
        "ml-train",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetBucketLocation","s3:ListBucket","s3:ListBucketMultipartUploads","s3:GetObject","s3:GetObjectVersion","s3:PutObject","s3:AbortMultipartUpload","s3:ListMultipartUploadParts"],"Resource":["arn:aws:s3:::*"]}]}"#,
    ),
    (
        "backup-writer",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetBucketLocation","s3:ListBucket","s3:PutObject","s3:PutObjectRetention","s3:PutObjectTagging","s3:AbortMultipartUpload","s3:ListMultipartUploadParts"],"Resource":["arn:aws:s3:::*"]},{"Effect":"Deny","Action":["s3:DeleteObject*","s3:BypassGovernanceRetention"],"Resource":["arn:aws:s3:::*"]}]}"#,
    ),
    (
        "auditor",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListAllMyBuckets","s3:ListBucket*","s3:GetBucket*","s3:GetObjectAcl","s3:GetObjectTagging","s3:GetObjectRetention","s3:GetObjectLegalHold","s3:Get*Configuration","admin:ServerInfo","admin:ListUsers","admin:GetUser","admin:ListGroups","admin:GetGroup","admin:GetPolicy","admin:ListUserPolicies"],"Resource":["*"]}]}"#,
    ),
];

/// The text of a canned policy.
#[must_use]
pub fn canned_policy(name: &str) -> Option<&'static str> {
    CANNED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, DocumentKind};

    #[test]
    fn canned_policies_are_valid() {
        for (name, text) in CANNED {
            assert!(Document::parse(text, DocumentKind::Identity).is_ok(), "{name}");
        }
    }
}
