//! Lists of parts. A list may have 10,000 parts and more than 1 MiB: it is read, verified and walked on a
//! thread that may take its time, of which there are few, and callers take turns. What is wanted of it is
//! decoded, not all of it.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::tasks::spawn_blocking;
use bytes::Bytes;
use drystone_base::{BlobId, DecodeError};
use drystone_catalog::{Key, Manifest, PartRow};

/// A page of the parts of an object.
#[derive(Debug, Default)]
pub struct PartPage {
    /// The parts of the page.
    pub parts: Vec<PartRow>,
    /// Parts of the object.
    pub count: u64,
    /// There are more behind the page.
    pub is_truncated: bool,
}

/// Lists that are looked at at the same time.
pub(crate) fn turn_count() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| usize::from(cores).div_ceil(2))
}

fn missing() -> DecodeError {
    DecodeError { what: "manifest row" }
}

impl Engine {
    /// The stored list of the parts of an object. Blocks for as long as a long list takes.
    pub(crate) fn stored_parts(&self, id: BlobId) -> Result<Bytes, EngineError> {
        let bytes = self.shared.catalog.get(&Key::manifest(id))?;
        Ok(bytes.ok_or_else(missing)?)
    }

    /// Looks at a stored list when it is the caller's turn.
    pub(crate) async fn look_at_parts<T: Send + 'static>(
        &self,
        id: BlobId,
        look: impl FnOnce(&[u8]) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let looked = self.look_at_parts_if_there(id, look).await?;
        looked.ok_or_else(|| missing().into())
    }

    /// As [`Engine::look_at_parts`]; `None` if there is no such list any more.
    pub(crate) async fn look_at_parts_if_there<T: Send + 'static>(
        &self,
        id: BlobId,
        look: impl FnOnce(&[u8]) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<Option<T>, EngineError> {
        let engine = self.clone();
        let look = move || {
            let row = engine.shared.catalog.get(&Key::manifest(id))?;
            row.map(|row| look(&row)).transpose()
        };
        self.in_turn(look).await
    }

    /// Does what a long list takes its time for, when it is the caller's turn.
    pub(crate) async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let turn = self.shared.part_turns.turn(self.consumer()).await;
        let work = spawn_blocking(move || {
            // No one may wait for it any more: it goes on all the same, and so does the turn.
            let _turn = turn;
            work()
        });
        work.await.expect("work on a list does not panic")
    }

    /// A part of a completed object, and where it begins.
    ///
    /// # Errors
    ///
    /// The catalog failed, or has no such list.
    pub async fn find_part(
        &self,
        list: BlobId,
        number: u32,
    ) -> Result<Option<(u64, PartRow)>, EngineError> {
        let found = self.look_at_parts(list, move |row| {
            let mut start = 0_u64;
            for stored in Manifest::walk(row)? {
                let stored = stored?;
                let (at, size) = stored.number_and_size()?;
                if u32::from(at) == number {
                    return Ok(Some((start, stored.decode()?)));
                }
                start = start.saturating_add(size);
            }
            Ok(None)
        });
        let Some((start, mut part)) = found.await? else { return Ok(None) };
        self.reveal_part(&mut part)?;
        Ok(Some((start, part)))
    }

    /// Parts of a completed object with numbers above `after`, `limit` at most. Blocks.
    ///
    /// # Errors
    ///
    /// The catalog failed, or has no such list.
    pub fn page_of_parts(
        &self,
        list: BlobId,
        after: u64,
        limit: usize,
    ) -> Result<PartPage, EngineError> {
        let row = self.stored_parts(list)?;
        let walk = Manifest::walk(&row)?;
        let mut page = PartPage { count: walk.left(), ..PartPage::default() };
        for stored in walk {
            let stored = stored?;
            if u64::from(stored.number_and_size()?.0) <= after {
                continue;
            }
            if page.parts.len() == limit {
                page.is_truncated = true;
                break;
            }
            let mut part = stored.decode()?;
            self.reveal_part(&mut part)?;
            page.parts.push(part);
        }
        Ok(page)
    }
}
