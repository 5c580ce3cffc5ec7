//! What callers may do with buckets: that is decided by S3, and asked for here.

use crate::door::AdminRequest;
use drystone_identity::Identity;
use std::sync::Arc;

/// What a caller may do with a bucket.
#[derive(Clone, Copy, Debug)]
pub struct BucketAccess {
    /// List what is in it.
    pub lists: bool,
    /// Ask where it is.
    pub locates: bool,
    /// Put objects into it.
    pub writes: bool,
}

/// The decisions of S3, as the administration needs them: by all policies that decide there.
pub trait BucketRights: Send + Sync {
    /// Whether a statement denies the caller a list of buckets.
    fn denies_lists(&self, request: &AdminRequest, caller: &Arc<Identity>) -> bool;

    /// What the caller may do with a bucket.
    fn access_to(
        &self,
        request: &AdminRequest,
        caller: &Arc<Identity>,
        bucket: &str,
    ) -> BucketAccess;
}
