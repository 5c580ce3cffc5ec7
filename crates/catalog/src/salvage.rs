//! Making the best of what is left of a catalog that is damaged on every drive that holds it.
//!
//! Frames have numbers, and each is on several drives: what is damaged on one is taken from another. The
//! newest export that can be read is where it begins; frames that are nowhere are counted.

use crate::committer::{SOURCE, resolve};
use crate::error::CatalogError;
use crate::export;
use crate::frame::Frame;
use crate::replay::find_roots;
use bytes::Bytes;
use drystone_index::Index;
use drystone_log::{Class, Location, Log, RecordKind, Scanned};
use std::collections::BTreeMap;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SalvageReport {
    /// Rows of the export that it begins with.
    pub exported_rows: u64,
    /// Frames applied.
    pub frames: u64,
    /// Frames that no drive has whole, as far as their numbers show.
    pub lost_frames: u64,
    /// Stretches that do not verify, on all drives.
    pub damaged_stretches: u64,
    /// Damaged stretches of a log that no other drive has a copy of: bytes of small objects, rows that an
    /// export does not hold, or the end of the log may be among what they held, and nothing shows which.
    pub unknown_stretches: u64,
}

/// A frame that verifies.
struct Found {
    lsn: u64,
    location: Location,
    payload: Bytes,
}

/// The frames of a log by number, and the number of its damaged stretches.
fn frames_of(log: &Log) -> Result<(BTreeMap<u64, Found>, u64), CatalogError> {
    let (mut frames, mut damaged) = (BTreeMap::new(), 0);
    log.scan(Class::Small, 0, |scanned| {
        match scanned {
            Scanned::Damage(_) => damaged += 1,
            Scanned::Record(record) if record.kind == RecordKind::Frame => {
                let number = record.meta[..].try_into().map_or(0, u64::from_le_bytes);
                let (lsn, location, payload) = (record.lsn, record.location, record.payload);
                frames.insert(number, Found { lsn, location, payload });
            }
            Scanned::Record(_) => {}
        }
        Ok::<_, CatalogError>(())
    })?;
    Ok((frames, damaged))
}

/// Fills the index of a catalog with what the log of one drive and those of others have left. After that
/// the index says that it holds all of the first log.
///
/// # Errors
///
/// What the index reports, or a log that cannot be read at all.
pub fn salvage(
    first: &Log,
    others: &[Log],
    index: &dyn Index,
) -> Result<SalvageReport, CatalogError> {
    index.clear()?;
    let mut report = SalvageReport::default();
    let (mut frames, damaged) = frames_of(first)?;
    report.damaged_stretches = damaged;
    report.unknown_stretches = if others.is_empty() { damaged } else { 0 };
    let mut start = 0;
    let mut roots = find_roots(first)?;
    while let Some(root) = roots.pop() {
        match export::load(first, index, &root) {
            Ok(rows) => {
                (report.exported_rows, start) = (rows, root.lsn);
                break;
            }
            Err(_) => index.clear()?,
        }
    }
    // Frames that the export holds: up to the last one before it, or to before the first one after it.
    let after = frames.iter().find(|(_, found)| found.lsn > start).map(|(number, _)| *number);
    let before = frames.iter().rev().find(|(_, found)| found.lsn <= start);
    let held = match (before, after) {
        (Some((number, _)), _) => *number,
        (None, Some(number)) => number - 1,
        (None, None) => 0,
    };
    let is_bounded = start == 0 || !frames.is_empty();
    for log in others {
        let (more, damaged) = frames_of(log)?;
        report.damaged_stretches += damaged;
        // Without a frame of the first log no one can say which ones its export holds.
        for (number, found) in more.into_iter().filter(|_| is_bounded) {
            frames.entry(number).or_insert(found);
        }
    }
    let mut last = held;
    let end = first.last_lsn();
    for (number, found) in frames.split_off(&(held + 1)) {
        report.lost_frames += number - last - 1;
        last = number;
        // A frame that does not decode is as good as lost.
        let Ok(frame) = Frame::decode(&found.payload) else {
            report.lost_frames += 1;
            continue;
        };
        index.apply(SOURCE, 0, resolve(found.location, frame.clock, frame.changes));
        report.frames += 1;
        if index.wants_maintenance() {
            index.maintain()?;
        }
    }
    index.apply(SOURCE, end, Vec::new());
    Ok(report)
}
