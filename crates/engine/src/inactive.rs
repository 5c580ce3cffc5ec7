//! Documents that are stored though this version has nothing that acts on them.
//!
//! Such a document is taken and answered as in S3, so that tools which set it go on, and said to the
//! operator: in the log when it comes, in metrics and in the status as long as it is there. What brings the
//! capability removes the line of its kind.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::plan::DocumentKind;
use drystone_catalog::Key;
use drystone_index::prefix_range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Documents looked at for one count at most; more make a count of at least so many.
const ROW_COUNT_MAX: usize = 200_000;

/// A kind of document that does not act, in words that follow "N buckets have".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inactive {
    /// Its kind.
    pub kind: DocumentKind,
    /// Its name in metrics.
    pub name: &'static str,
    /// What a bucket has then.
    pub what: &'static str,
    /// Only a document with this in it asks for anything.
    asks: &'static str,
}

/// Every kind that this version stores and does not act on.
const INACTIVE: &[Inactive] = &[
    one(DocumentKind::Lifecycle, "lifecycle", "lifecycle rules", "<Rule>"),
    one(DocumentKind::Notification, "notification", "event notifications", ""),
    one(DocumentKind::Replication, "replication", "replication rules", "<Rule>"),
    one(DocumentKind::RequestPayment, "request_payment", "requester-pays settings", ">Requester<"),
    one(DocumentKind::Accelerate, "accelerate", "acceleration settings", ">Enabled<"),
    one(DocumentKind::Inventory, "inventory", "inventory reports", ">true<"),
    one(DocumentKind::Analytics, "analytics", "storage class analyses", ""),
    one(DocumentKind::Metrics, "metrics", "request metrics by filter", ""),
    one(DocumentKind::IntelligentTiering, "intelligent_tiering", "archive tiers", ">Enabled<"),
];

const fn one(
    kind: DocumentKind,
    name: &'static str,
    what: &'static str,
    asks: &'static str,
) -> Inactive {
    Inactive { kind, name, what, asks }
}

impl Inactive {
    /// What a document asks for that nothing does; none if it asks for nothing.
    #[must_use]
    pub fn of(kind: DocumentKind, document: &[u8]) -> Option<Self> {
        let of_kind = INACTIVE.iter().find(|inactive| inactive.kind == kind)?;
        let asks = of_kind.asks.as_bytes();
        let found = asks.is_empty() || document.windows(asks.len()).any(|text| text == asks);
        found.then_some(*of_kind)
    }
}

/// How many such documents came since the start, by kind.
#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; INACTIVE.len()]);

/// Documents of one kind that nothing acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InactiveCount {
    /// Which.
    pub inactive: Inactive,
    /// Buckets that have one.
    pub buckets: u64,
    /// Documents that came since the start.
    pub stored: u64,
}

impl Engine {
    /// Notes that a document was stored that nothing acts on.
    pub fn note_inactive(&self, inactive: Inactive) {
        let place = INACTIVE.iter().position(|known| *known == inactive);
        let counters = &self.shared.inactive.0;
        if let Some(counter) = place.and_then(|place| counters.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the buckets with documents that nothing acts on, by kind; those of none too. Blocks on cold
    /// rows; looks at `ROW_COUNT_MAX` documents at most.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn count_inactive(&self) -> Result<Vec<InactiveCount>, EngineError> {
        let stored = self.shared.inactive.0.iter().map(|count| count.load(Ordering::Relaxed));
        let mut counts: Vec<_> = INACTIVE
            .iter()
            .zip(stored)
            .map(|(inactive, stored)| InactiveCount { inactive: *inactive, buckets: 0, stored })
            .collect();
        // One bucket is counted once for each kind, whose documents come one after the other.
        let mut last = Vec::new();
        let rows = self.shared.catalog.snapshot().scan(prefix_range(&Key::documents()));
        for row in rows.take(ROW_COUNT_MAX) {
            let (key, document) = row?;
            let place = Key::kind_of_document(&key);
            let kind = DocumentKind::ALL.into_iter().find(|kind| Some(*kind as u8) == place);
            let Some(found) = kind.and_then(|kind| Inactive::of(kind, &document)) else { continue };
            let place = key[..Key::DOCUMENT_KIND_END].to_vec();
            if place != last {
                let count = counts.iter_mut().find(|count| count.inactive == found);
                count.expect("every kind is counted").buckets += 1;
                last = place;
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what asks for nothing is no document that nothing acts on.
    #[test]
    fn only_what_asks_for_something_counts() {
        let asks = |kind, document: &str| Inactive::of(kind, document.as_bytes()).is_some();
        assert!(asks(DocumentKind::Lifecycle, "<LifecycleConfiguration><Rule></Rule></L>"));
        assert!(!asks(DocumentKind::Lifecycle, "varies_by_storage_class"));
        assert!(!asks(DocumentKind::RequestPayment, "<Payer>BucketOwner</Payer>"));
        assert!(asks(DocumentKind::RequestPayment, "<Payer>Requester</Payer>"));
        assert!(!asks(DocumentKind::Accelerate, "<Status>Suspended</Status>"));
        assert!(!asks(DocumentKind::Policy, "{}") && !asks(DocumentKind::Cors, "<CORSRule>"));
        assert!(asks(DocumentKind::Metrics, "<Id>a</Id>"));
    }
}
