//! A request that goes on after its status was sent.

use super::entry::Known;
use super::{Context, GatewayConfig};
use crate::authorize::{AlsoDecided, Said, Sender};
use crate::bucket_log::LineSlot;
use crate::operation::Operation;
use crate::request::S3Request;
use crate::response::Ids;
use crate::rules::RuleCache;
use drystone_engine::{Engine, Turns};
use drystone_identity::Directory;
use std::sync::Arc;

/// What a [`Context`] borrows and holds.
pub(crate) struct Kept {
    engine: Engine,
    directory: Directory,
    config: Arc<GatewayConfig>,
    request: S3Request,
    sent: Option<Arc<S3Request>>,
    ids: Ids,
    sender: Sender,
    rules: Arc<RuleCache>,
    directory_epoch: u64,
    token: Option<String>,
    said: Option<Arc<Said>>,
    also: AlsoDecided,
    operation: Option<Operation>,
    line: Option<Arc<LineSlot>>,
    known: Option<Known>,
    listings: Arc<Turns>,
}

impl Context<'_> {
    /// All that is needed to decide on the request again later.
    pub(crate) fn keep(&self) -> Kept {
        Kept {
            engine: self.engine.clone(),
            directory: self.directory.clone(),
            config: self.config.clone(),
            request: self.request.clone(),
            sent: self.sent.clone(),
            ids: self.ids.clone(),
            sender: self.sender.clone(),
            rules: self.rules.clone(),
            directory_epoch: self.directory_epoch,
            token: self.token.clone(),
            said: self.said.clone(),
            also: self.also.clone(),
            operation: self.operation,
            line: self.line.clone(),
            known: self.known.clone(),
            listings: self.listings.clone(),
        }
    }
}

impl Kept {
    /// The request as it was.
    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            engine: &self.engine,
            directory: &self.directory,
            config: &self.config,
            request: self.request.clone(),
            sent: self.sent.clone(),
            ids: self.ids.clone(),
            sender: self.sender.clone(),
            rules: &self.rules,
            directory_epoch: self.directory_epoch,
            token: self.token.clone(),
            said: self.said.clone(),
            also: self.also.clone(),
            operation: self.operation,
            line: self.line.clone(),
            known: self.known.clone(),
            listings: &self.listings,
        }
    }
}
