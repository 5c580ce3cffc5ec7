//! The decisions of S3 for the administration.

use drystone_admin::{AdminRequest, BucketAccess, BucketRights};
use drystone_identity::Identity;
use drystone_s3::{Gateway, Inquirer, Peer};
use std::sync::Arc;

/// What the gateway decides.
pub(crate) struct GatewayRights(pub(crate) Arc<Gateway>);

fn inquirer<'a>(request: &'a AdminRequest, identity: &'a Arc<Identity>) -> Inquirer<'a> {
    let (address, is_secure, tls) = (request.address, request.is_secure, request.tls);
    let peer = Peer { address, is_secure, tls, cipher: None };
    Inquirer { identity, headers: &request.headers, peer, consumer: request.consumer }
}

impl BucketRights for GatewayRights {
    fn denies_lists(&self, request: &AdminRequest, caller: &Arc<Identity>) -> bool {
        self.0.denies_lists_of_buckets(&inquirer(request, caller))
    }

    fn access_to(
        &self,
        request: &AdminRequest,
        caller: &Arc<Identity>,
        bucket: &str,
    ) -> BucketAccess {
        let found = self.0.access_to(&inquirer(request, caller), bucket);
        BucketAccess { lists: found.lists, locates: found.locates, writes: found.writes }
    }
}
