//! What access points let through, compiled once and kept by weight, as the rules of buckets are.
//!
//! A request holds the names of its access point only, for as long as its body takes. What decides is looked
//! up here by each decision: all requests share it, it holds no tags, and it is never older than the account
//! of the access point is.

use drystone_base::Cache;
use drystone_base::sync::{Mutex, lock};
use drystone_iam::{Document, DocumentKind};
use drystone_identity::{AccessPoint, Directory, IdentityError};
use std::sync::Arc;

/// Bytes of rules that are kept, with compiled policies.
const RULES_LEN_MAX: usize = 4 << 20;
/// What a string or an entry of a list costs beyond its text.
const PIECE_COST: usize = size_of::<String>() + 16;

/// The access point that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PointName {
    /// Account id.
    pub(crate) account: String,
    /// Name, one of its kind in the account.
    pub(crate) name: String,
    /// Bucket that the request is of.
    pub(crate) bucket: String,
}

impl PointName {
    /// Resource name.
    pub(crate) fn arn(&self, region: &str) -> String {
        let Self { account, name, .. } = self;
        format!("arn:aws:s3:{region}:{account}:accesspoint/{name}")
    }
}

/// What decides of an access point.
#[derive(Debug)]
pub(crate) struct PointRules {
    /// The access point without its tags and the text of its policy.
    pub(crate) point: AccessPoint,
    pub(crate) policy: Option<Document>,
    /// There is a policy, but it cannot be read: nothing passes.
    pub(crate) is_broken: bool,
}

impl PointRules {
    fn of(point: AccessPoint, region: &str) -> Self {
        let mut point = point.without_tags();
        let arn = point.arn(region);
        let parsed =
            point.policy.take().map(|stored| stored.document(DocumentKind::AccessPoint(&arn)));
        let is_broken = matches!(parsed, Some(Err(_)));
        if is_broken {
            tracing::error!(arn, "the policy of an access point cannot be read");
        }
        Self { point, policy: parsed.and_then(Result::ok), is_broken }
    }

    /// Bytes that they hold.
    fn weight_bytes(&self) -> usize {
        let pieces = self.point.scope.iter().flat_map(|scope| {
            scope.prefixes.iter().chain(&scope.permissions).map(|text| text.capacity() + PIECE_COST)
        });
        let Self { point, policy, .. } = self;
        let names =
            [&point.account, &point.name, &point.bucket, &point.bucket_account, &point.alias];
        // Names are held by the key, too.
        let of_names: usize = names.iter().map(|text| 2 * (text.capacity() + PIECE_COST)).sum();
        let of_policy = policy.as_ref().map_or(0, Document::weight_bytes);
        size_of::<Self>() + pieces.sum::<usize>() + of_names + of_policy
    }
}

/// Account and name.
type PointKey = (String, String);

/// Rules of access points, by account and name, with the epoch of the account.
pub(crate) struct PointCache {
    region: String,
    rules: Mutex<Cache<PointKey, (u64, Arc<PointRules>)>>,
}

impl PointCache {
    pub(crate) fn new(region: &str) -> Self {
        Self { region: region.to_owned(), rules: Mutex::new(Cache::new(RULES_LEN_MAX)) }
    }

    /// The rules of an access point, if there is one of the name.
    ///
    /// # Errors
    ///
    /// Its row cannot be read.
    pub(crate) fn get(
        &self,
        directory: &Directory,
        account: &str,
        name: &str,
    ) -> Result<Option<Arc<PointRules>>, IdentityError> {
        let key = (account.to_owned(), name.to_owned());
        // Before the row is read: what changes meanwhile is read again.
        let now = directory.epoch_of(account);
        if let Some((epoch, rules)) = lock(&self.rules).get(&key)
            && epoch == now
        {
            return Ok(Some(rules));
        }
        let Some(point) = directory.access_point(account, name)? else {
            lock(&self.rules).remove(&key);
            return Ok(None);
        };
        let rules = Arc::new(PointRules::of(point, &self.region));
        let weight = rules.weight_bytes();
        lock(&self.rules).insert(key, (now, rules.clone()), weight);
        Ok(Some(rules))
    }
}
