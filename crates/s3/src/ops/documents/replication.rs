//! Where copies of new versions go.

use super::{Form, Subject, Unset};
use crate::error::{S3Code, S3Error};
use crate::schema::{Content, Node, many, one, optional, some};
use crate::xml::Element;
use drystone_engine::Versioning;
use drystone_engine::plan::DocumentKind;

const STATUS: Content = Content::OneOf(&["Enabled", "Disabled"]);
const SWITCH: Content = Content::Group(&[one("Status", STATUS)]);
const TAG: Content = Content::Group(&[one("Key", Content::Text), one("Value", Content::Text)]);
const MINUTES: Content = Content::Group(&[one("Minutes", Content::Int)]);
const DESTINATION: Content = Content::Group(&[
    one("Bucket", Content::Text),
    optional("Account", Content::Text),
    optional("StorageClass", Content::Text),
    optional(
        "AccessControlTranslation",
        Content::Group(&[one("Owner", Content::OneOf(&["Destination"]))]),
    ),
    optional(
        "EncryptionConfiguration",
        Content::Group(&[optional("ReplicaKmsKeyID", Content::Text)]),
    ),
    optional("ReplicationTime", Content::Group(&[one("Status", STATUS), one("Time", MINUTES)])),
    optional(
        "Metrics",
        Content::Group(&[one("Status", STATUS), optional("EventThreshold", MINUTES)]),
    ),
]);
const SHAPE: &[Node] = &[
    one("Role", Content::Text),
    some(
        "Rule",
        Content::Group(&[
            optional("ID", Content::Text),
            optional("Priority", Content::Int),
            optional("Prefix", Content::Text),
            optional(
                "Filter",
                Content::Group(&[
                    optional("Prefix", Content::Text),
                    optional("Tag", TAG),
                    optional(
                        "And",
                        Content::Group(&[optional("Prefix", Content::Text), many("Tag", TAG)]),
                    ),
                ]),
            ),
            one("Status", STATUS),
            optional(
                "SourceSelectionCriteria",
                Content::Group(&[
                    optional("SseKmsEncryptedObjects", SWITCH),
                    optional("ReplicaModifications", SWITCH),
                ]),
            ),
            optional("ExistingObjectReplication", SWITCH),
            one("Destination", DESTINATION),
            optional("DeleteMarkerReplication", SWITCH),
            optional("DeleteReplication", SWITCH),
        ]),
    ),
];

pub(super) const FORM: Form = Form {
    kind: DocumentKind::Replication,
    root: "ReplicationConfiguration",
    shape: SHAPE,
    check,
    unset: Unset::Error(S3Code::ReplicationConfigurationNotFoundError),
};

fn check(root: &mut Element, subject: &Subject<'_>) -> Result<(), S3Error> {
    let invalid = |message: &str| Err(S3Error::with(S3Code::InvalidRequest, message));
    if subject.bucket.versioning != Versioning::Enabled {
        return invalid(
            "Versioning must be 'Enabled' on the bucket to apply a replication configuration",
        );
    }
    let (mut ids, mut priorities) = (Vec::new(), Vec::new());
    for rule in root.children_named("Rule") {
        let filter = rule.child("Filter");
        if filter.is_some() && rule.child("Prefix").is_some() {
            return Err(S3Code::MalformedXML.into());
        }
        if filter.is_some() && rule.child("DeleteMarkerReplication").is_none() {
            return invalid("DeleteMarkerReplication must be specified for rules with a Filter");
        }
        let id = rule.text_of("ID").unwrap_or_default();
        let priority = rule.text_of("Priority").map(str::trim);
        let again = priority.is_some_and(|p| priorities.contains(&p));
        if (!id.is_empty() && ids.contains(&id)) || again {
            return invalid("Found duplicate ID or Priority in the rules");
        }
        if id.len() > 255 {
            return Err(S3Error::argument("ID", id, "ID length should not exceed 255"));
        }
        ids.push(id);
        priorities.extend(priority);
        let bucket = rule.child("Destination").and_then(|d| d.text_of("Bucket"));
        if !bucket.is_some_and(|bucket| bucket.starts_with("arn:")) {
            return invalid("The destination of a rule is no bucket ARN");
        }
    }
    Ok(())
}
