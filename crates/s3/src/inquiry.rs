//! What S3 lets the caller of another service of the server do, decided as their requests to S3 are.

use crate::auth::AuthType;
use crate::authorize::{Need, Peer, Sender, is_denied, may};
use crate::gateway::{Context, Gateway, Noted};
use crate::operation::Operation;
use crate::request::S3Request;
use drystone_base::Timestamp;
use drystone_engine::{Consumer, Engine};
use drystone_identity::Identity;
use http::{HeaderMap, Method};
use std::sync::Arc;

/// Headers of the caller's request that conditions look at whatever a request is for.
const OF_CALLER: [&str; 4] = ["referer", "user-agent", "x-amz-content-sha256", "x-amz-date"];

/// Who asks, in a request whose signature was checked.
pub struct Inquirer<'a> {
    /// Who signed.
    pub identity: &'a Arc<Identity>,
    /// Headers of the request.
    pub headers: &'a HeaderMap,
    /// Where it came from.
    pub peer: Peer,
    /// With whom it takes turns.
    pub consumer: Consumer,
}

/// What a caller may do with a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketAccess {
    /// List what is in it.
    pub lists: bool,
    /// Ask where it is.
    pub locates: bool,
    /// Put objects into it.
    pub writes: bool,
}

impl Gateway {
    /// Whether a statement denies the caller a list of buckets.
    #[must_use]
    pub fn denies_lists_of_buckets(&self, by: &Inquirer<'_>) -> bool {
        let need = Need::on("s3:ListAllMyBuckets", None);
        self.ask(by, Operation::ListBuckets, |context| is_denied(context, &need))
    }

    /// What the caller may do with a bucket: list it from its root, locate it, and write any object.
    #[must_use]
    pub fn access_to(&self, by: &Inquirer<'_>, bucket: &str) -> BucketAccess {
        let on = |action| Need::on(action, Some(bucket));
        let write = Need { key: Some("*".to_owned()), ..on("s3:PutObject") };
        let ask = |operation, need| self.ask(by, operation, |context| may(context, &need));
        BucketAccess {
            lists: ask(Operation::ListObjectsV2, on("s3:ListBucket")),
            locates: ask(Operation::GetBucketLocation, on("s3:GetBucketLocation")),
            writes: ask(Operation::PutObject, write),
        }
    }

    fn ask<T>(
        &self,
        by: &Inquirer<'_>,
        operation: Operation,
        decide: impl FnOnce(&Context<'_>) -> T,
    ) -> T {
        let engine: Engine = self.engine.for_consumer(by.consumer);
        let now_ms = engine.now_ms();
        let ids = self.new_ids(now_ms);
        let (directory, line, known) = (&self.config.directory, None, None);
        let (stamp, epoch) = (engine.stamp(directory.change_count()), directory.epoch());
        let noted = Noted { ids: &ids, line, epoch, known, stamp };
        let request = request_of(by, operation, now_ms);
        let signed_ms = request.header("x-amz-date").and_then(Timestamp::parse_amz).map(|at| at.0);
        let sender = Sender::of(Some(by.identity.clone()), AuthType::Header, signed_ms, by.peer);
        let mut context = self.context(&engine, request, sender, &noted);
        context.operation = Some(operation);
        decide(&context)
    }
}

/// The request that would need the right.
fn request_of(by: &Inquirer<'_>, operation: Operation, now_ms: u64) -> S3Request {
    let mut headers = HeaderMap::new();
    for name in OF_CALLER {
        if let Some(value) = by.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
    let of_root = [("prefix", ""), ("delimiter", "/")];
    let query = of_root.map(|(name, value)| (name.to_owned(), value.to_owned(), true));
    let is_list = operation == Operation::ListObjectsV2;
    S3Request {
        method: Method::GET,
        headers: headers.into(),
        raw_path: "/".to_owned(),
        path: "/".to_owned(),
        query: if is_list { query.to_vec() } else { Vec::new() },
        host: String::new(),
        bucket: None,
        is_website: false,
        path_names_bucket: true,
        key: None,
        point: None,
        source_point: None,
        now_ms,
    }
}
