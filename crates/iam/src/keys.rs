//! The condition keys that a document may name: those that are filled in for every request they apply to.
//!
//! A document that names another is refused when it is put, since a deny on it would never act. Documents
//! that were stored before are read nevertheless. `tests/blackbox/abuse/test_condition_keys.py` reads this
//! table, and sees each key act.
//!
//! Source: IAM User Guide, "AWS global condition context keys"; Service Authorization Reference, "Amazon S3".

use crate::action::{ON_OBJECTS, is_listed, meant};
use crate::document::{DocumentKind, PolicyError};
use crate::statement::{Either, Statement};

/// What the values of a key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Text.
    Text,
    /// A number.
    Number,
    /// A moment.
    Date,
    /// `true` or `false`.
    Bool,
    /// An address of the network.
    Address,
    /// A resource name.
    Arn,
}

/// Which requests have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Every request, at every door.
    Always,
    /// Every request that has the header or the property.
    IfSent,
    /// Every request with a signature; some keys only for users.
    Signed,
    /// Requests with credentials of a session.
    Session,
    /// Requests that send tags of a resource.
    Tagging,
    /// Requests for a role.
    Role,
    /// Changes of identities.
    Identities,
    /// Requests of S3.
    S3,
    /// What the server does as a service.
    Service,
}

/// A condition key.
#[derive(Clone, Copy, Debug)]
pub struct ConditionKey {
    /// Its name. After a slash at its end any name may stand.
    pub name: &'static str,
    /// What its values are.
    pub kind: KeyKind,
    /// Which requests have it.
    pub filled: Filled,
    /// Only policies of buckets and access points may name it.
    pub of_resources: bool,
    /// The actions of S3 that have it, without their service: those for which AWS lists it, and those for
    /// which it is filled in here. Empty: all actions.
    pub actions: &'static [&'static [&'static str]],
}

const fn key(name: &'static str, kind: KeyKind, filled: Filled) -> ConditionKey {
    ConditionKey { name, kind, filled, of_resources: false, actions: &[] }
}

const fn resource_key(name: &'static str, kind: KeyKind, filled: Filled) -> ConditionKey {
    ConditionKey { name, kind, filled, of_resources: true, actions: &[] }
}

/// A key that some actions of S3 have only.
const fn part_key(
    name: &'static str,
    kind: KeyKind,
    filled: Filled,
    actions: &'static [&'static [&'static str]],
) -> ConditionKey {
    ConditionKey { name, kind, filled, of_resources: false, actions }
}

/// What lists a bucket.
const LISTS: &[&str] = &["ListBucket", "ListBucketMultipartUploads", "ListBucketVersions"];

/// Rights that requests need that write objects.
const WRITES: &[&str] = &[
    "BypassGovernanceRetention",
    "ObjectOwnerOverrideToBucketOwner",
    "PutObject",
    "PutObjectAcl",
    "PutObjectFanOut",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutObjectVersionAcl",
    "PutObjectVersionTagging",
    "ReplicateObject",
    "ReplicateTags",
    "UpdateObjectEncryption",
];

/// Rights that a request needs that makes a bucket, or an access point.
const CREATION: &[&str] = &[
    "CreateAccessPoint",
    "CreateBucket",
    "PutBucketAcl",
    "PutBucketObjectLockConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketTagging",
    "PutBucketVersioning",
    "TagResource",
];

/// Rights to read an object, and what is told of it.
const READS: &[&str] =
    &["GetObject", "GetObjectAttributes", "GetObjectVersion", "GetObjectVersionAttributes"];

/// Rights to remove an object.
const DELETES: &[&str] = &["DeleteObject", "DeleteObjectVersion"];

/// Actions on a version, or on the one that a request names.
const VERSIONS: &[&str] = &[
    "BypassGovernanceRetention",
    "DeleteObjectVersion",
    "DeleteObjectVersionTagging",
    "GetObjectLegalHold",
    "GetObjectRetention",
    "GetObjectVersion",
    "GetObjectVersionAcl",
    "GetObjectVersionAttributes",
    "GetObjectVersionForReplication",
    "GetObjectVersionTagging",
    "GetObjectVersionTorrent",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectVersionAcl",
    "PutObjectVersionTagging",
    "RestoreObject",
    "UpdateObjectEncryption",
];

use Filled as F;
use KeyKind as K;

/// Every key that a document may name.
pub const CONDITION_KEYS: &[ConditionKey] = &[
    key("aws:CurrentTime", K::Date, F::Always),
    key("aws:EpochTime", K::Date, F::Always),
    key("aws:PrincipalIsAWSService", K::Bool, F::Always),
    key("aws:PrincipalType", K::Text, F::Always),
    key("aws:RequestedRegion", K::Text, F::Always),
    key("aws:SecureTransport", K::Bool, F::Always),
    key("aws:SourceIp", K::Address, F::Always),
    key("aws:ViaAWSService", K::Bool, F::Always),
    key("aws:Referer", K::Text, F::IfSent),
    key("aws:UserAgent", K::Text, F::IfSent),
    key("aws:groups", K::Text, F::Signed),
    key("aws:PrincipalAccount", K::Text, F::Signed),
    key("aws:PrincipalArn", K::Arn, F::Signed),
    key("aws:PrincipalTag/", K::Text, F::Signed),
    key("aws:userid", K::Text, F::Signed),
    key("aws:username", K::Text, F::Signed),
    key("aws:MultiFactorAuthAge", K::Number, F::Session),
    key("aws:MultiFactorAuthPresent", K::Bool, F::Session),
    key("aws:SourceIdentity", K::Text, F::Session),
    key("aws:TokenIssueTime", K::Date, F::Session),
    key("aws:RequestTag/", K::Text, F::Tagging),
    key("aws:TagKeys", K::Text, F::Tagging),
    key("aws:ResourceAccount", K::Text, F::Always),
    resource_key("aws:ResourceTag/", K::Text, F::S3),
    resource_key("aws:PrincipalServiceName", K::Text, F::Service),
    resource_key("aws:PrincipalServiceNamesList", K::Text, F::Service),
    resource_key("aws:SourceAccount", K::Text, F::Service),
    resource_key("aws:SourceArn", K::Arn, F::Service),
    key("sts:DurationSeconds", K::Number, F::Role),
    key("sts:ExternalId", K::Text, F::Role),
    key("sts:RoleSessionName", K::Text, F::Role),
    key("sts:SourceIdentity", K::Text, F::Role),
    key("sts:TransitiveTagKeys", K::Text, F::Role),
    key("iam:PermissionsBoundary", K::Arn, F::Identities),
    key("iam:PolicyARN", K::Arn, F::Identities),
    key("jwt:address", K::Text, F::Session),
    key("jwt:aud", K::Text, F::Session),
    key("jwt:birthdate", K::Text, F::Session),
    key("jwt:client_id", K::Text, F::Session),
    key("jwt:email", K::Text, F::Session),
    key("jwt:family_name", K::Text, F::Session),
    key("jwt:gender", K::Text, F::Session),
    key("jwt:given_name", K::Text, F::Session),
    key("jwt:groups", K::Text, F::Session),
    key("jwt:iss", K::Text, F::Session),
    key("jwt:jti", K::Text, F::Session),
    key("jwt:middle_name", K::Text, F::Session),
    key("jwt:name", K::Text, F::Session),
    key("jwt:nickname", K::Text, F::Session),
    key("jwt:phone_number", K::Text, F::Session),
    key("jwt:picture", K::Text, F::Session),
    key("jwt:preferred_username", K::Text, F::Session),
    key("jwt:profile", K::Text, F::Session),
    key("jwt:scope", K::Text, F::Session),
    key("jwt:sub", K::Text, F::Session),
    key("jwt:upn", K::Text, F::Session),
    key("jwt:website", K::Text, F::Session),
    key("ldap:groups", K::Text, F::Session),
    key("ldap:user", K::Text, F::Session),
    key("ldap:username", K::Text, F::Session),
    key("s3:AccessPointNetworkOrigin", K::Text, F::S3),
    key("s3:authType", K::Text, F::S3),
    key("s3:BucketTag/", K::Text, F::S3),
    key("s3:DataAccessPointAccount", K::Text, F::S3),
    key("s3:DataAccessPointArn", K::Arn, F::S3),
    part_key("s3:delimiter", K::Text, F::S3, &[LISTS]),
    part_key("s3:ExistingObjectTag/", K::Text, F::S3, &[ON_OBJECTS]),
    part_key("s3:if-match", K::Text, F::S3, &[WRITES, DELETES, READS]),
    part_key("s3:if-none-match", K::Text, F::S3, &[WRITES, READS]),
    part_key(
        "s3:InventoryAccessibleOptionalFields",
        K::Text,
        F::S3,
        &[&["PutInventoryConfiguration"]],
    ),
    part_key("s3:LocationConstraint", K::Text, F::S3, &[CREATION]),
    part_key("s3:max-keys", K::Number, F::S3, &[LISTS]),
    part_key("s3:object-lock-legal-hold", K::Text, F::S3, &[WRITES]),
    part_key("s3:object-lock-mode", K::Text, F::S3, &[WRITES]),
    part_key("s3:object-lock-remaining-retention-days", K::Number, F::S3, &[WRITES]),
    part_key("s3:object-lock-retain-until-date", K::Date, F::S3, &[WRITES]),
    part_key("s3:ObjectCreationOperation", K::Bool, F::S3, &[&["PutObject"]]),
    part_key("s3:prefix", K::Text, F::S3, &[LISTS]),
    part_key("s3:RequestObjectTag/", K::Text, F::S3, &[WRITES]),
    part_key("s3:RequestObjectTagKeys", K::Text, F::S3, &[WRITES]),
    key("s3:ResourceAccount", K::Text, F::S3),
    key("s3:signatureAge", K::Number, F::S3),
    key("s3:signatureversion", K::Text, F::S3),
    key("s3:TlsVersion", K::Number, F::S3),
    part_key("s3:VersionId", K::Text, F::S3, &[VERSIONS]),
    part_key("s3:x-amz-acl", K::Text, F::S3, &[WRITES, CREATION]),
    key("s3:x-amz-content-sha256", K::Text, F::S3),
    part_key("s3:x-amz-copy-source", K::Text, F::S3, &[WRITES]),
    part_key("s3:x-amz-grant-full-control", K::Text, F::S3, &[WRITES, CREATION]),
    part_key("s3:x-amz-grant-read", K::Text, F::S3, &[WRITES, CREATION]),
    part_key("s3:x-amz-grant-read-acp", K::Text, F::S3, &[WRITES, CREATION]),
    part_key("s3:x-amz-grant-write", K::Text, F::S3, &[WRITES, CREATION]),
    part_key("s3:x-amz-grant-write-acp", K::Text, F::S3, &[WRITES, CREATION]),
    part_key("s3:x-amz-metadata-directive", K::Text, F::S3, &[WRITES]),
    part_key("s3:x-amz-object-ownership", K::Text, F::S3, &[CREATION]),
    part_key("s3:x-amz-server-side-encryption", K::Text, F::S3, &[WRITES]),
    part_key("s3:x-amz-server-side-encryption-aws-kms-key-id", K::Text, F::S3, &[WRITES]),
    part_key(
        "s3:x-amz-server-side-encryption-customer-algorithm",
        K::Text,
        F::S3,
        &[WRITES, READS],
    ),
    part_key("s3:x-amz-storage-class", K::Text, F::S3, &[WRITES]),
    part_key("s3:x-amz-website-redirect-location", K::Text, F::S3, &[WRITES]),
];

/// Claims of an OpenID provider that sessions keep, under the provider's name.
const CLAIMS: [&str; 2] = ["aud", "sub"];

/// Whether the values of a key, in lower case, are names that another directory gives, or have one in them.
/// Groups are not among them: who is in which is no choice of a user.
pub(crate) fn has_foreign_names(key: &str) -> bool {
    let of_directory = key.starts_with("jwt:") || key.starts_with("ldap:") || is_claim(key);
    (of_directory && !key.ends_with(":groups")) || key == "aws:userid"
}

/// The key of a name, if there is one.
fn find(name: &str) -> Option<&'static ConditionKey> {
    CONDITION_KEYS.iter().find(|key| match key.name.strip_suffix('/') {
        Some(_) => {
            let start = name.get(..key.name.len());
            name.len() > key.name.len() && start.is_some_and(|s| s.eq_ignore_ascii_case(key.name))
        }
        None => name.eq_ignore_ascii_case(key.name),
    })
}

/// Whether a key is one of a provider, such as `login.example.com/realm:sub`.
fn is_claim(name: &str) -> bool {
    name.rsplit_once(':').is_some_and(|(provider, claim)| {
        // The names of services are plain words.
        CLAIMS.contains(&claim) && provider.contains(['.', '/', ':'])
    })
}

/// Whether an action of S3, without its service, has a key.
fn has_key(action: &str, key: &str) -> bool {
    let lists = find(key).map_or(&[][..], |key| key.actions);
    lists.is_empty() || lists.iter().any(|list| is_listed(list, action))
}

/// Checks that each key that a statement of a new policy of a bucket or an access point names is one of an
/// action that it may be about: `is_about` says it of an action on objects, and of one on the bucket.
pub(crate) fn check_applies(
    statement: &Statement,
    is_about: impl Fn(bool) -> bool,
) -> Result<(), PolicyError> {
    // What is left out of all actions leaves nearly all.
    let Either::In(patterns) = &statement.actions else { return Ok(()) };
    let meant = || patterns.iter().flat_map(meant).filter(|(_, on_object)| is_about(*on_object));
    let mut keys = statement.fact_keys();
    match keys.find(|key| !meant().any(|(action, _)| has_key(action, key))) {
        None => Ok(()),
        Some(key) => Err(PolicyError::new(
            "Conditions do not apply to combination of actions and resources in statement: ",
        )
        .with(&key)),
    }
}

/// Checks the keys that a new document names.
pub(crate) fn check<'a>(
    names: impl IntoIterator<Item = &'a String>,
    kind: DocumentKind<'_>,
) -> Result<(), PolicyError> {
    let of_resource =
        matches!(kind, DocumentKind::Bucket(_) | DocumentKind::AccessPoint(_) | DocumentKind::Key);
    for name in names {
        let known = match find(name) {
            // Policies of resources are not asked there.
            Some(key) if of_resource => !matches!(key.filled, F::Role | F::Identities),
            Some(key) => !key.of_resources,
            None => is_claim(name),
        };
        if !known {
            let error = PolicyError::new("Policy has an invalid condition key: ").with(name);
            return Err(error.with(" has no value in any request of this server."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    #[test]
    fn keys_are_named_once_and_found_in_any_case() {
        for (index, key) in CONDITION_KEYS.iter().enumerate() {
            let same = |other: &ConditionKey| other.name.eq_ignore_ascii_case(key.name);
            assert!(!CONDITION_KEYS[..index].iter().any(same), "{}", key.name);
            let name = match key.name.ends_with('/') {
                true => format!("{}X", key.name.to_ascii_lowercase()),
                false => key.name.to_ascii_uppercase(),
            };
            assert_eq!(find(&name).map(|found| found.name), Some(key.name));
        }
    }

    #[test]
    fn a_document_that_was_stored_with_another_key_is_read() {
        let text = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*",
            "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*",
            "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}}}"#;
        let kind = DocumentKind::Bucket("b");
        assert!(Document::parse(text, kind).is_ok());
        let refused =
            Document::parse_submitted(text, kind).map(drop).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|message| message.contains("aws:sourcevpce")));
    }

    #[test]
    fn what_is_never_filled_in_is_refused_and_named() {
        let bucket = DocumentKind::Bucket("b");
        for (name, kind, is_known) in [
            ("aws:sourcevpce", bucket, false),
            ("aws:sourceip", bucket, true),
            ("aws:resourcetag/a", bucket, true),
            ("aws:resourcetag/a", DocumentKind::Identity, false),
            ("aws:principaltag/", DocumentKind::Identity, false),
            ("ec2:region", DocumentKind::Identity, false),
            ("jwt:nonce", DocumentKind::Identity, false),
            ("login.example.com/realm:sub", DocumentKind::Trust, true),
            ("127.0.0.1:8080:aud", DocumentKind::Trust, true),
            ("saml:sub", DocumentKind::Trust, false),
        ] {
            let checked = check([&name.to_owned()], kind);
            assert_eq!(checked.is_ok(), is_known, "{name} in {kind:?}");
            assert!(is_known || checked.is_err_and(|error| error.to_string().contains(name)));
        }
    }
}
