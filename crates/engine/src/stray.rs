//! Finding the bytes of uploads that were in progress when an earlier process stopped.
//!
//! A blob of a closed epoch that lies behind the last floor, that no frame since then names, and that
//! was not declared dead, belongs to no one. It is not freed at once but gets a sweep row that is due
//! after a quarantine. Nothing is concluded from what cannot be read: any damage ends the search.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::plan::{self, SweepItem, part_blob};
use drystone_base::BlobId;
use drystone_catalog::{Data, Family, Frame, Manifest, ObjectRow, PartRow};
use drystone_log::{Class, LogError, RecordKind, Scanned};
use std::collections::BTreeSet;

/// Strays put into one transaction.
const CHUNK: usize = 1000;

impl Engine {
    /// Puts strays under quarantine for `quarantine_ms` milliseconds; returns how many there are.
    /// Blocks; once per start, before the floor is written again.
    ///
    /// # Errors
    ///
    /// Something cannot be read; then nothing is done.
    pub fn quarantine_strays(
        &self,
        quarantine_ms: u64,
        pump: &dyn Fn(),
    ) -> Result<u64, EngineError> {
        let drives = self.pool().online();
        if drives.iter().any(|drive| !drive.log().damage().is_empty()) {
            return Ok(0);
        }
        let mut strays = BTreeSet::new();
        for drive in &drives {
            strays.append(&mut drive.blobs_of_closed_epochs(drive.floor()?)?);
        }
        match strays.is_empty() {
            true => {}
            false if self.pool().is_single() => {
                self.remove_named(&mut strays, self.drive().floor()?)?;
            }
            // Floors of several drives are in different logs: all rows are looked at.
            false => self.remove_in_rows(&mut strays)?,
        }
        let count = strays.len() as u64;
        let strays: Vec<_> = strays.into_iter().collect();
        for chunk in strays.chunks(CHUNK) {
            let (chunk, due) = (chunk.to_vec(), self.now_ms() + quarantine_ms);
            let ticket = self.shared.catalog.submit(move |tx| {
                tx.use_reserve();
                for blob in chunk {
                    plan::add_sweep(tx, due, &SweepItem::Blob(blob));
                }
                Ok(drystone_catalog::Decision::Commit(()))
            });
            pump();
            ticket.wait()?;
        }
        self.write_floors(pump)?;
        Ok(count)
    }

    /// Writes down on every drive that is online before what no upload in progress began.
    ///
    /// # Errors
    ///
    /// What the drives report.
    pub fn write_floors(&self, pump: &dyn Fn()) -> Result<(), EngineError> {
        for drive in self.pool().online() {
            drive.write_floor(pump)?;
        }
        Ok(())
    }

    /// Takes out the blobs that rows name or have named: by the frames since the floor, or by all
    /// rows if those frames are not all there any more.
    fn remove_named(&self, strays: &mut BTreeSet<BlobId>, floor: u64) -> Result<(), EngineError> {
        let log = self.drive().log();
        if log.whole_after(Class::Small) > floor {
            return self.remove_in_rows(strays);
        }
        log.scan(Class::Small, floor, |scanned| {
            match scanned {
                Scanned::Damage(damage) => return Err(LogError::Damaged(damage).into()),
                Scanned::Record(record) if record.kind == RecordKind::Frame => {
                    for change in Frame::decode(&record.payload)?.changes {
                        if let Some(stored) = change.value {
                            let value = self.shared.catalog.value_of_frame(&change.key, &stored);
                            visit_row(&change.key, &value, &mut |blob| {
                                strays.remove(&blob);
                            })?;
                        }
                    }
                }
                Scanned::Record(_) => {}
            }
            Ok::<_, EngineError>(())
        })
    }

    pub(crate) fn remove_in_rows(&self, strays: &mut BTreeSet<BlobId>) -> Result<(), EngineError> {
        self.visit_named(&mut |blob| {
            strays.remove(&blob);
        })
    }

    /// Gives every blob that a row names: of a version, a part, or what is to be swept. Some come twice.
    pub(crate) fn visit_named(&self, visit: &mut dyn FnMut(BlobId)) -> Result<(), EngineError> {
        let snapshot = self.shared.catalog.snapshot();
        let families =
            [Family::Head, Family::Version, Family::Part, Family::Manifest, Family::Sweep];
        for family in families {
            for row in snapshot.scan(family.range()) {
                let (key, value) = row?;
                visit_row(&key, &value, visit)?;
            }
        }
        Ok(())
    }
}

/// Gives the blobs that a row names.
fn visit_row(key: &[u8], value: &[u8], visit: &mut dyn FnMut(BlobId)) -> Result<(), EngineError> {
    let mut each = |data: &Data| match data {
        // The parts of a manifest have a row of their own.
        Data::Slice { base, .. } => part_blob(base).into_iter().for_each(&mut *visit),
        data => part_blob(data).into_iter().for_each(&mut *visit),
    };
    match Family::of(key) {
        Some(Family::Head | Family::Version) => each(&ObjectRow::decode(value)?.data),
        Some(Family::Part) => each(&PartRow::decode(value)?.data),
        Some(Family::Manifest) => {
            for part in Manifest::walk(value)? {
                each(&part?.data()?);
            }
        }
        Some(Family::Sweep) => {
            if let SweepItem::Blob(blob) = SweepItem::decode(value)? {
                visit(blob);
            }
        }
        _ => {}
    }
    Ok(())
}
