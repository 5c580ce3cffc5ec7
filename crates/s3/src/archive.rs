//! Archives that are taken apart as they come: tar, plain or compressed.

mod tar;
mod unpack;

pub(crate) use tar::{Entry, EntryKind, Event, RECORD_PREFIX, TarError, TarReader};
pub(crate) use unpack::{START_LEN, UnpackError, Unpacker};

/// Reads an archive in pieces of `step` bytes, for tests: how many entries it has, if it has an end.
#[must_use]
pub fn read(archive: &[u8], step: usize) -> Option<usize> {
    let mut unpacker = Unpacker::new(&archive[..archive.len().min(START_LEN)]).ok()?;
    let (mut tar, mut count) = (TarReader::default(), 0);
    let mut drain = |tar: &mut TarReader, bytes: &[u8]| {
        tar.feed(bytes);
        while let Some(event) = tar.next_event().ok()? {
            count += usize::from(matches!(event, Event::Entry(_)));
        }
        Some(())
    };
    for mut piece in archive.chunks(step) {
        while let Some(unpacked) = unpacker.next(&mut piece).ok()? {
            drain(&mut tar, unpacked)?;
        }
    }
    drain(&mut tar, &unpacker.finish().ok()?)?;
    tar.finish().ok().map(|()| count)
}
