//! What is learnt of a request on its way, and the line of the access log that is made of it.

use super::Gateway;
use crate::answer::OutBody;
use crate::auth::AuthType;
use crate::authorize::Peer;
use crate::bucket_log::{Draft, LineSlot};
use crate::error::{S3Code, S3Error};
use crate::operation::Operation;
use crate::request::S3Request;
use crate::response::Ids;
use crate::rules::Rules;
use drystone_engine::{BucketRow, Engine, Share, Stamp};
use drystone_identity::{Directory, Identity};
use http::Response;
use std::sync::Arc;

/// What is learnt of a request on its way.
pub(super) struct Trace {
    /// From before anything was looked up.
    pub(super) stamp: Stamp,
    pub(super) operation: Option<Operation>,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) auth: AuthType,
    /// The signature does not say when it was made: that is version 2.
    pub(super) is_v2: bool,
    /// Room for its line in the access log of its bucket, if that has one.
    pub(super) line: Option<Arc<LineSlot>>,
    /// Bytes to reserve for its answer over HTTP/2, and what is reserved.
    pub(super) room_len: Option<u64>,
    pub(super) room: Option<Share>,
    /// The bucket that it names.
    pub(super) known: Option<Known>,
}

/// A bucket, and its documents, as they were when a request came.
#[derive(Clone)]
pub(crate) struct Known {
    pub(super) bucket: Arc<BucketRow>,
    pub(super) rules: Arc<Rules>,
    /// Epoch of the directory before the documents were read.
    pub(super) directory_epoch: u64,
}

impl Known {
    /// The documents, if this is still the row of the bucket, and nothing was changed in the directory.
    pub(super) fn rules_of(&self, bucket: &BucketRow, directory: &Directory) -> Option<Arc<Rules>> {
        let is_current = std::ptr::eq(&raw const *self.bucket, &raw const *bucket)
            && self.directory_epoch == directory.epoch();
        is_current.then(|| self.rules.clone())
    }
}

impl Trace {
    fn new(stamp: Stamp) -> Self {
        Self {
            stamp,
            operation: None,
            identity: None,
            auth: AuthType::default(),
            is_v2: false,
            line: None,
            room_len: None,
            room: None,
            known: None,
        }
    }

    /// Over HTTP/2, reserves what the answer takes, before anything else is reserved or has an effect.
    pub(super) async fn make_room(
        &mut self,
        engine: &Engine,
        document_len: usize,
    ) -> Result<(), S3Error> {
        if let Some(len) = self.room_len {
            self.room = Some(engine.reserve_stream(len + document_len as u64).await?);
        }
        Ok(())
    }
}

/// What is noted of a request before its sender is known.
pub(crate) struct Noted<'a> {
    pub(crate) ids: &'a Ids,
    pub(crate) line: Option<Arc<LineSlot>>,
    /// Epoch of the directory before the sender is looked up.
    pub(crate) epoch: u64,
    pub(crate) known: Option<Known>,
    /// From before all of that was looked up.
    pub(crate) stamp: Stamp,
}

/// The line of a request to be. It is written when the request ends, and also if its client leaves before:
/// closing the connection hides no effect.
pub(super) struct Entry<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) draft: Option<Arc<Draft>>,
    pub(super) trace: Trace,
    pub(super) request_id: String,
}

impl<'a> Entry<'a> {
    pub(super) fn new(gateway: &'a Gateway, ids: &Ids) -> Self {
        let stamp = gateway.engine.stamp(gateway.config.directory.change_count());
        let (trace, request_id) = (Trace::new(stamp), ids.request_id.clone());
        Self { gateway, draft: None, trace, request_id }
    }

    /// Looks up what is needed of the bucket of the request, if there is one.
    pub(super) fn begin(&mut self, request: &S3Request, peer: Peer) {
        let (gateway, trace) = (self.gateway, &mut self.trace);
        trace.known = gateway.known_of(request.bucket.as_deref());
        let draft = trace.known.as_ref().and_then(|known| gateway.draft_of(request, peer, known));
        self.draft = draft.map(Arc::new);
        let slot = |draft: &Arc<Draft>| draft.slot(&gateway.engine, &gateway.logs);
        trace.line = self.draft.as_ref().map(slot);
    }

    /// Writes the line; it is durable when the future ends.
    pub(super) fn write(
        &mut self,
        reply: Option<&Response<OutBody>>,
        error: Option<S3Code>,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let draft = self.draft.take()?;
        Some(self.gateway.log(&draft, &self.trace, reply, error, &self.request_id))
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        drop(self.write(None, None));
    }
}
