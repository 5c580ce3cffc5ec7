//! Room for the line of one request.

use super::{Draft, LogBook};
use crate::error::S3Error;
use drystone_base::sync::{Mutex, lock};
use drystone_engine::{LogRoom, LogShare};
use std::sync::Arc;

/// Bytes of a line beyond what is known before the request runs, at most: who asked, the outcome, times.
const OUTCOME_LEN_MAX: u64 = 3 << 10;

/// Bytes of a line of a batch beyond its key and what is known of the request, about.
const BATCH_OUTCOME_LEN: u64 = 512;

/// Room for the lines of a request, held from before its effect until they are written.
pub(crate) struct LineSlot {
    pub(super) room: LogRoom,
    pub(super) bucket: String,
    pub(super) draft: Arc<Draft>,
    pub(super) book: LogBook,
    len: u64,
    batch_len: u64,
    share: Mutex<Option<LogShare>>,
}

impl LineSlot {
    /// A slot for a line of which so many bytes are known, and so many of each line of a batch. It holds
    /// nothing yet.
    pub(super) fn new(
        room: LogRoom,
        draft: &Arc<Draft>,
        book: &LogBook,
        (known_len, batch_len): (u64, u64),
    ) -> Self {
        let (len, batch_len) = (known_len + OUTCOME_LEN_MAX, batch_len + BATCH_OUTCOME_LEN);
        let (bucket, share) = (draft.source.bucket.clone(), Mutex::new(None));
        Self { room, bucket, draft: draft.clone(), book: book.clone(), len, batch_len, share }
    }

    /// Bytes of a line that says something of a key of a batch.
    pub(crate) fn batch_len(&self, key: &str, version: &str) -> u64 {
        let own = super::field::key(key).len() + super::field::word(version.as_bytes()).len();
        self.batch_len + own as u64
    }

    /// Holds room for the line, the first time, and for so many bytes more.
    ///
    /// # Errors
    ///
    /// `SlowDown` if there is no room within a short time.
    pub(crate) async fn reserve(&self, more_len: u64) -> Result<(), S3Error> {
        let held = self.take();
        let share = match held {
            Some(mut share) => match more_len == 0 || share.extend(more_len).await? {
                true => Some(share),
                // The target fails: the request is counted.
                false => None,
            },
            None => self.room.reserve(&self.bucket, self.len + more_len).await?,
        };
        *lock(&self.share) = share;
        Ok(())
    }

    /// What is held, if anything.
    pub(crate) fn take(&self) -> Option<LogShare> {
        lock(&self.share).take()
    }
}
