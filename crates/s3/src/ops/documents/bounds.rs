//! How long the configuration documents of a bucket may be: each is read, parsed and kept whole.

use crate::error::{S3Code, S3Error};
use crate::xml::Element;
use drystone_engine::plan::DocumentKind;

/// Rules of a lifecycle or replication configuration, and notifications of a bucket.
const RULE_COUNT_MAX: usize = 1000;
const NOTIFICATION_COUNT_MAX: usize = 100;

/// Bytes of a document of a kind at most, in a request. Sources, where S3 says something: the user guide,
/// "Bucket policies" (20 KB); the API reference, `PutBucketCors` (64 KB), `PutBucketReplication` (2 MB, 1,000
/// rules), `PutBucketWebsite` (128 KB, 50 rules), `PutBucketLifecycleConfiguration` (1,000 rules); the user
/// guide, "Access control list overview" (100 grants), "Event notifications" (100 of them). Others hold a few
/// elements: switches, or a filter with a prefix and ten tags.
pub(crate) const fn len_max(kind: DocumentKind) -> usize {
    use DocumentKind as K;
    match kind {
        K::Policy => 20 << 10,
        K::Cors => 64 << 10,
        K::Lifecycle => 1 << 20,
        K::Notification => 256 << 10,
        K::Replication => 2 << 20,
        K::Website => 128 << 10,
        K::Acl => 64 << 10,
        K::Inventory | K::Analytics | K::Metrics | K::IntelligentTiering => 64 << 10,
        K::PublicAccessBlock | K::OwnershipControls | K::RequestPayment | K::Accelerate => 8 << 10,
        K::Logging | K::Encryption => 16 << 10,
    }
}

/// Refuses more rules than a document of a kind may have.
pub(super) fn check_count(kind: DocumentKind, root: &Element) -> Result<(), S3Error> {
    let (name, most) = match kind {
        DocumentKind::Replication => ("rules", RULE_COUNT_MAX),
        DocumentKind::Notification => ("configurations", NOTIFICATION_COUNT_MAX),
        _ => return Ok(()),
    };
    let others = ["Role", "EventBridgeConfiguration"];
    let counted = root.children.iter().filter(|child| !others.contains(&child.name.as_str()));
    match counted.count() > most {
        true => {
            let message = format!("The document has more than {most} {name}.");
            Err(S3Error::with(S3Code::InvalidRequest, message))
        }
        false => Ok(()),
    }
}
