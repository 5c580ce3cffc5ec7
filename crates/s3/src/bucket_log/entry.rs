//! Lines of what an archive writes: one for each of its entries, as bulk deletes have one for each key.

use super::{Draft, LineSlot, LogBook, Outcome, field};
use crate::authorize::Sender;
use crate::error::{S3Code, S3Error};
use crate::gateway::GatewayConfig;
use crate::response::Ids;
use drystone_engine::LogShare;
use std::sync::Arc;

/// Who sent the archive.
pub(crate) struct EntryBy {
    pub(crate) sender: Sender,
    pub(crate) ids: Ids,
    pub(crate) config: Arc<GatewayConfig>,
}

/// The line of an entry, with room for it from before its effect. It is written when this is dropped, so that
/// a client that leaves hides no effect. It is stored before the line of the archive, whose request waits for
/// that.
pub(crate) struct EntryLine {
    draft: Arc<Draft>,
    book: LogBook,
    by: EntryBy,
    key: String,
    size: u64,
    share: Option<LogShare>,
    /// `None` until it has ended.
    ended: Option<Result<(), S3Code>>,
}

impl EntryLine {
    /// Holds room for the line if the sender is authenticated.
    pub(crate) async fn begin(
        slot: &LineSlot,
        by: EntryBy,
        key: &str,
        size: u64,
    ) -> Result<Self, S3Error> {
        let len = slot.batch_len(key, "") + slot.draft.source.head_len();
        let share = match by.sender.identity {
            Some(_) => slot.room.reserve(&slot.bucket, len).await?,
            None => None,
        };
        let (draft, book) = (slot.draft.clone(), slot.book.clone());
        Ok(Self { draft, book, by, key: key.to_owned(), size, share, ended: None })
    }

    /// Says what became of the entry, and writes the line.
    pub(crate) fn end(mut self, outcome: Result<(), S3Code>) {
        self.ended = Some(outcome);
    }
}

impl Drop for EntryLine {
    fn drop(&mut self) {
        let EntryBy { sender, ids, config } = &self.by;
        let requester = sender.identity.as_ref().and_then(|identity| identity.principal.arn());
        let outcome = Outcome {
            operation: None,
            requester: requester.unwrap_or_default(),
            auth: sender.auth,
            is_v2: sender.is_v2(),
            reply: None,
            error: None,
            request_id: &ids.request_id,
            host_id: &config.host_id,
            region: &config.region,
            millis: 0,
        };
        let (status, error) = match self.ended {
            None => ("-".to_owned(), "-"),
            Some(Ok(())) => ("200".to_owned(), "-"),
            Some(Err(code)) => (code.status().to_string(), code.name()),
        };
        let (key, size) = (field::key(&self.key), self.size.to_string());
        let about = ["-", &size, "-", "-", "-", "-"];
        const NAME: &str = "BATCH.PUT.OBJECT";
        let line = self.draft.join(&outcome, NAME, [&key, "-", &status, error], about, "-");
        self.book.keep(&self.draft, &format!("{line}\n"), self.share.take());
    }
}
