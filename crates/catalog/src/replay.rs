//! Bringing an index up to the truth.

use crate::committer::{SOURCE, resolve};
use crate::error::CatalogError;
use crate::export::{self, Root};
use crate::frame::Frame;
use drystone_index::Index;
use drystone_log::{Class, Log, RecordKind, Scanned, ScannedRecord};

/// What was done to bring the index up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplayReport {
    /// The index was empty or too old, and was loaded from an export or from the first frame on.
    pub(crate) rebuilt: bool,
    /// Rows loaded from an export.
    pub(crate) exported_rows: u64,
    /// Frames applied.
    pub(crate) frames: u64,
}

/// Replays what the index does not have yet.
pub(crate) fn replay(log: &Log, index: &dyn Index) -> Result<ReplayReport, CatalogError> {
    let position = index.position(SOURCE)?;
    let retained = log.whole_after(Class::Small);
    if position == 0 || position < retained {
        return rebuild(log, index);
    }
    let frames = apply_after(log, index, position)?;
    Ok(ReplayReport { frames, ..ReplayReport::default() })
}

/// Builds the index again from the last readable export and all frames after it.
pub(crate) fn rebuild(log: &Log, index: &dyn Index) -> Result<ReplayReport, CatalogError> {
    index.clear()?;
    let mut report = ReplayReport { rebuilt: true, ..ReplayReport::default() };
    let mut roots = find_roots(log)?;
    let mut start = 0;
    while let Some(root) = roots.pop() {
        match export::load(log, index, &root) {
            Ok(rows) => {
                report.exported_rows = rows;
                start = root.lsn;
                break;
            }
            // An older export with its frames may still be whole.
            Err(_) => index.clear()?,
        }
    }
    let retained = log.whole_after(Class::Small);
    if retained > start {
        return Err(CatalogError::FramesMissing { needed: retained });
    }
    report.frames = apply_after(log, index, start)?;
    Ok(report)
}

/// Roots of exports, oldest first.
pub(crate) fn find_roots(log: &Log) -> Result<Vec<Root>, CatalogError> {
    let mut roots = Vec::new();
    log.scan(Class::Small, 0, |scanned| {
        if let Scanned::Record(record) = scanned
            && record.kind == RecordKind::ExportRoot
            && let Ok(root) = Root::decode(&record.payload)
        {
            roots.push(root);
        }
        Ok::<_, CatalogError>(())
    })?;
    Ok(roots)
}

fn apply_after(log: &Log, index: &dyn Index, after_lsn: u64) -> Result<u64, CatalogError> {
    let mut frames = 0;
    log.scan(Class::Small, after_lsn, |scanned| match scanned {
        Scanned::Record(ScannedRecord {
            kind: RecordKind::Frame, lsn, location, payload, ..
        }) => {
            let frame = Frame::decode(&payload)?;
            index.apply(SOURCE, lsn, resolve(location, frame.clock, frame.changes));
            frames += 1;
            Ok(())
        }
        Scanned::Record(_) => Ok(()),
        Scanned::Damage(damage) => Err(CatalogError::FramesDamaged(damage)),
    })?;
    Ok(frames)
}
