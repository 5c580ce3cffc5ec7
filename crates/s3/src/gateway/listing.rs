//! Listings: walks over rows, in turns, with room for what they list.

use super::Context;
use crate::authorize::authorize_again;
use crate::error::S3Error;
use crate::response::{Reply, SMALL_LEN_MAX, counted_xml};
use crate::xml::Xml;
use drystone_engine::{Share, Turn};

/// Bytes that an entry of a listing usually takes.
const ENTRY_LEN_USUAL: u64 = 1 << 10;

/// A page of a listing, with a share for its document.
pub(crate) struct Listed<P> {
    pub(crate) page: P,
    len: u64,
    share: Share,
    _turn: Turn,
}

impl<P> Listed<P> {
    /// An empty document with room for the page.
    pub(crate) fn document(&self, root: &str) -> Xml {
        let mut document = Xml::new(root);
        document.reserve(usize::try_from(self.len).unwrap_or_default());
        document
    }

    /// The document, when it is written.
    pub(crate) fn reply(self, document: String) -> Reply {
        counted_xml(document, self.share)
    }
}

impl Context<'_> {
    /// Runs a listing of `limit` entries: a walk over rows that may wait for the device, on a thread that
    /// may. No more than there are cores at once: it is work, and each thread that does it keeps memory.
    /// `len_of` says what the document of a page takes. What a page usually takes is reserved before the
    /// walk; if it is not enough, and no more is free, all is reserved in line and the walk is repeated.
    pub(crate) async fn list<P, E: Into<S3Error>>(
        &self,
        limit: u64,
        walk: impl Fn() -> Result<P, E>,
        len_of: impl Fn(&P) -> u64,
    ) -> Result<Listed<P>, S3Error> {
        let mut len = limit * ENTRY_LEN_USUAL + SMALL_LEN_MAX as u64;
        loop {
            let mut share = self.engine.reserve_answer(len).await?;
            let turn = self.turn().await;
            authorize_again(self)?;
            let page = tokio::task::block_in_place(&walk).map_err(Into::into)?;
            let needed = len_of(&page);
            if needed <= len || share.try_grow(needed - len) {
                return Ok(Listed { page, len: needed, share, _turn: turn });
            }
            len = needed;
        }
    }

    /// Runs a listing that looks at more rows than one turn may. `step` goes on with a page, looks at a
    /// bounded number of rows, and says whether the page is done; each has a turn of its own. The share grows
    /// with the page. Where no more is free, twice as much is reserved in line, and the page begins again.
    pub(crate) async fn list_in_steps<P: Default>(
        &self,
        step: impl Fn(&mut P) -> Result<bool, S3Error>,
        len_of: impl Fn(&P) -> u64,
    ) -> Result<Listed<P>, S3Error> {
        let mut len = SMALL_LEN_MAX as u64;
        'again: loop {
            let mut share = self.engine.reserve_answer(len).await?;
            let mut page = P::default();
            loop {
                let turn = self.turn().await;
                authorize_again(self)?;
                let is_done = tokio::task::block_in_place(|| step(&mut page))?;
                let needed = len_of(&page);
                if needed > len && !share.try_grow(needed - len) {
                    len = 2 * needed;
                    continue 'again;
                }
                len = len.max(needed);
                if is_done {
                    return Ok(Listed { page, len, share, _turn: turn });
                }
            }
        }
    }
}
