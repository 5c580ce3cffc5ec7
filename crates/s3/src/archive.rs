//! Archives that are taken apart as they come: tar, plain or compressed.

mod tar;
mod unpack;

pub(crate) use tar::{Entry, EntryKind, Event, TarError, TarReader};
pub(crate) use unpack::{UnpackError, Unpacker};

/// Reads an archive in pieces of `step` bytes, for tests: how many entries it has, if it has an end.
#[must_use]
pub fn read(archive: &[u8], step: usize) -> Option<usize> {
    let (mut unpacker, mut tar, mut count) = (Unpacker::default(), TarReader::default(), 0);
    let mut drain = |tar: &mut TarReader| {
        while let Some(event) = tar.next_event().ok()? {
            count += usize::from(matches!(event, Event::Entry(_)));
        }
        Some(())
    };
    for piece in archive.chunks(step) {
        unpacker.feed(piece, |bytes| tar.feed(bytes)).ok()?;
        drain(&mut tar)?;
    }
    unpacker.finish(|bytes| tar.feed(bytes)).ok()?;
    drain(&mut tar)?;
    tar.finish().ok().map(|()| count)
}
