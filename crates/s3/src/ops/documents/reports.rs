//! Documents of which a bucket may have several: inventory, analytics, metrics, archive tiers.

use super::{Form, Subject, Unset};
use crate::error::{S3Code, S3Error};
use crate::schema::{Content, Node, many, one, optional, some};
use crate::xml::Element;
use drystone_engine::plan::DocumentKind;

const TAG: Content = Content::Group(&[one("Key", Content::Text), one("Value", Content::Text)]);
const FILTER: Content = Content::Group(&[
    optional("Prefix", Content::Text),
    optional("Tag", TAG),
    optional("AccessPointArn", Content::Text),
    optional(
        "And",
        Content::Group(&[
            optional("Prefix", Content::Text),
            many("Tag", TAG),
            optional("AccessPointArn", Content::Text),
        ]),
    ),
]);
const STATUS: Content = Content::OneOf(&["Enabled", "Disabled"]);

const INVENTORY_SHAPE: &[Node] = &[
    one(
        "Destination",
        Content::Group(&[one(
            "S3BucketDestination",
            Content::Group(&[
                optional("AccountId", Content::Text),
                one("Bucket", Content::Text),
                one("Format", Content::OneOf(&["CSV", "ORC", "Parquet"])),
                optional("Prefix", Content::Text),
                optional(
                    "Encryption",
                    Content::Group(&[
                        optional("SSE-S3", Content::Group(&[])),
                        optional("SSE-KMS", Content::Group(&[one("KeyId", Content::Text)])),
                    ]),
                ),
            ]),
        )]),
    ),
    one("IsEnabled", Content::Bool),
    optional("Filter", Content::Group(&[one("Prefix", Content::Text)])),
    one("Id", Content::Text),
    one("IncludedObjectVersions", Content::OneOf(&["All", "Current"])),
    optional("OptionalFields", Content::Group(&[many("Field", Content::OneOf(FIELDS))])),
    one("Schedule", Content::Group(&[one("Frequency", Content::OneOf(&["Daily", "Weekly"]))])),
];
const FIELDS: &[&str] = &[
    "Size",
    "LastModifiedDate",
    "StorageClass",
    "ETag",
    "IsMultipartUploaded",
    "ReplicationStatus",
    "EncryptionStatus",
    "ObjectLockRetainUntilDate",
    "ObjectLockMode",
    "ObjectLockLegalHoldStatus",
    "IntelligentTieringAccessTier",
    "BucketKeyStatus",
    "ChecksumAlgorithm",
    "ObjectAccessControlList",
    "ObjectOwner",
    "LifecycleExpirationDate",
];
const ANALYTICS_SHAPE: &[Node] = &[
    one("Id", Content::Text),
    optional("Filter", FILTER),
    one(
        "StorageClassAnalysis",
        Content::Group(&[optional(
            "DataExport",
            Content::Group(&[
                one("OutputSchemaVersion", Content::OneOf(&["V_1"])),
                one(
                    "Destination",
                    Content::Group(&[one(
                        "S3BucketDestination",
                        Content::Group(&[
                            one("Format", Content::OneOf(&["CSV"])),
                            optional("BucketAccountId", Content::Text),
                            one("Bucket", Content::Text),
                            optional("Prefix", Content::Text),
                        ]),
                    )]),
                ),
            ]),
        )]),
    ),
];
const METRICS_SHAPE: &[Node] = &[one("Id", Content::Text), optional("Filter", FILTER)];
const TIERING_SHAPE: &[Node] = &[
    one("Id", Content::Text),
    optional("Filter", FILTER),
    one("Status", STATUS),
    some(
        "Tiering",
        Content::Group(&[
            one("Days", Content::Int),
            one("AccessTier", Content::OneOf(&["ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS"])),
        ]),
    ),
];

const UNSET: Unset = Unset::Error(S3Code::NoSuchConfiguration);

pub(super) const INVENTORY: Form = Form {
    kind: DocumentKind::Inventory,
    root: "InventoryConfiguration",
    shape: INVENTORY_SHAPE,
    check: check_inventory,
    unset: UNSET,
};
pub(super) const ANALYTICS: Form = Form {
    kind: DocumentKind::Analytics,
    root: "AnalyticsConfiguration",
    shape: ANALYTICS_SHAPE,
    check: check_filter,
    unset: UNSET,
};
pub(super) const METRICS: Form = Form {
    kind: DocumentKind::Metrics,
    root: "MetricsConfiguration",
    shape: METRICS_SHAPE,
    check: check_filter,
    unset: UNSET,
};
pub(super) const INTELLIGENT_TIERING: Form = Form {
    kind: DocumentKind::IntelligentTiering,
    root: "IntelligentTieringConfiguration",
    shape: TIERING_SHAPE,
    check: check_tiering,
    unset: UNSET,
};

/// A filter is one thing; several stand in `And`.
fn check_filter(root: &mut Element, _: &Subject<'_>) -> Result<(), S3Error> {
    match root.child("Filter") {
        Some(filter) if filter.children.len() != 1 => Err(S3Code::MalformedXML.into()),
        _ => Ok(()),
    }
}

fn check_inventory(root: &mut Element, _: &Subject<'_>) -> Result<(), S3Error> {
    let destination = root.child("Destination").and_then(|d| d.child("S3BucketDestination"));
    let bucket = destination.and_then(|d| d.text_of("Bucket")).unwrap_or_default();
    if bucket.starts_with("arn:aws:s3:::") {
        Ok(())
    } else {
        Err(S3Error::with(S3Code::InvalidS3DestinationBucket, "The destination is no bucket ARN"))
    }
}

fn check_tiering(root: &mut Element, subject: &Subject<'_>) -> Result<(), S3Error> {
    check_filter(root, subject)?;
    let mut seen = Vec::new();
    for tiering in root.children_named("Tiering") {
        let tier = tiering.text_of("AccessTier").unwrap_or_default();
        let days: i64 = tiering.text_of("Days").and_then(|d| d.trim().parse().ok()).unwrap_or(0);
        let least = if tier == "ARCHIVE_ACCESS" { 90 } else { 180 };
        if !(least..=730).contains(&days) || seen.contains(&tier) {
            let message = "The number of days of an access tier is not valid";
            return Err(S3Error::argument("Days", &days.to_string(), message));
        }
        seen.push(tier);
    }
    Ok(())
}
