//! Room of the byte budget for one answer of the administration. Every list of identities and keys asks for
//! it while it is put together: directory and key service make none without. What is answered is measured
//! once more before it is written or sealed, so that no answer is longer than its room.
//!
//! The answer to a change is small, or as long as the request, which has reserved that before
//! (`s3/src/answer.rs`): it is not refused for want of memory when that is done.

use drystone_base::Room;
use drystone_base::sync::{Mutex, lock};
use drystone_engine::{Consumer, Engine, Share};
use drystone_identity::{IdentityError, weigh};
use serde::Serialize;

/// Bytes that an answer has without room: as many as any connection.
const FREE_LEN: u64 = 8 << 10;
/// Room is taken in steps of so many bytes.
const STEP_LEN: u64 = 64 << 10;

/// What an answer has taken of the byte budget. It is returned when the request ends.
pub(crate) struct AnswerRoom {
    engine: Engine,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Bytes of the answer so far.
    len: u64,
    share: Option<Share>,
}

impl AnswerRoom {
    pub(crate) fn new(engine: &Engine, consumer: Consumer) -> Self {
        Self { engine: engine.for_consumer(consumer), held: Mutex::default() }
    }

    /// Waits until there is room for so many bytes.
    pub(crate) async fn reserve(&self, len: u64) -> Result<(), IdentityError> {
        if self.has_share() {
            let missing = len.saturating_sub(self.bytes());
            let is_there = missing == 0 || lock(&self.held).grow(&self.engine, missing);
            return if is_there { Ok(()) } else { Err(IdentityError::NoRoom) };
        }
        let share = self.engine.reserve_answer(len).await.map_err(|_| IdentityError::NoRoom)?;
        lock(&self.held).share = Some(share);
        Ok(())
    }

    /// As [`AnswerRoom::reserve`], for a list whose length is not known.
    pub(crate) async fn begin_list(&self) -> Result<(), IdentityError> {
        self.reserve(STEP_LEN).await
    }

    /// Takes what is missing for an answer.
    pub(crate) fn cover<T: Serialize>(&self, answer: &T) -> Result<(), IdentityError> {
        let missing = weigh(answer).saturating_sub(lock(&self.held).len);
        if self.take(missing) { Ok(()) } else { Err(IdentityError::NoRoom) }
    }

    fn has_share(&self) -> bool {
        lock(&self.held).share.is_some()
    }

    fn bytes(&self) -> u64 {
        lock(&self.held).bytes()
    }
}

impl Held {
    fn bytes(&self) -> u64 {
        self.share.as_ref().map_or(0, Share::bytes)
    }

    fn grow(&mut self, engine: &Engine, len: u64) -> bool {
        match &mut self.share {
            Some(share) => share.try_grow(len),
            None => {
                self.share = engine.try_reserve_answer(len);
                self.share.is_some()
            }
        }
    }
}

impl Room for AnswerRoom {
    fn take(&self, bytes: u64) -> bool {
        let mut held = lock(&self.held);
        let len = held.len.saturating_add(bytes);
        let missing = len.saturating_sub(FREE_LEN).saturating_sub(held.bytes());
        if missing > 0 && !held.grow(&self.engine, missing.next_multiple_of(STEP_LEN)) {
            return false;
        }
        held.len = len;
        true
    }
}
