//! Parts beside the uploads that they are of: rows of parts do not name a bucket.

use super::sorted::{Give, Item, Sorted};
use super::{Check, Findings};
use crate::error::EngineError;
use crate::plan::SweepItem;
use drystone_base::{BucketId, UploadId};
use drystone_catalog::{Family, KeyParts, PartRow, UploadRow, UploadState};

/// An upload that may have parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Known {
    upload: UploadId,
    /// Its bucket.
    pub(super) bucket: BucketId,
    /// Its parts stay; those of others wait for the sweep.
    pub(super) is_open: bool,
}

impl Item for Known {}

/// The parts of one upload, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartSum {
    pub(super) bucket: BucketId,
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Item for PartSum {}

/// A part, if its row can be read.
pub(super) type Part = Result<PartRow, drystone_base::DecodeError>;

impl Check<'_> {
    /// All uploads that may have parts: those with a row, and those whose parts wait for the sweep.
    fn each_upload(&self, give: &mut Give<'_, Known>) -> Result<(), EngineError> {
        for row in self.rows(Family::Upload) {
            let (key, value) = row?;
            let Ok(parts) = KeyParts::parse(&key) else { continue };
            let Some(upload) = parts.upload() else { continue };
            let state = UploadRow::decode(&value).map(|row| row.state);
            let is_open = state.is_ok_and(|state| !matches!(state, UploadState::Completed { .. }));
            give(Known { upload, bucket: parts.bucket, is_open });
        }
        for row in self.rows(Family::Sweep) {
            if let Ok(SweepItem::Parts { bucket, upload, .. }) = SweepItem::decode(&row?.1) {
                give(Known { upload, bucket, is_open: false });
            }
        }
        Ok(())
    }

    /// Gives every part with its upload, if there is one, in the order of uploads.
    pub(super) fn each_part(
        &self,
        give: &mut dyn FnMut(UploadId, Option<Known>, Part),
    ) -> Result<(), EngineError> {
        let walk = |give: &mut Give<'_, Known>| self.each_upload(give);
        let mut uploads = Sorted::new(&self.memory, Box::new(walk)).peekable();
        let mut last: Option<Known> = None;
        for row in self.rows(Family::Part) {
            let (key, value) = row?;
            let Some(Ok(id)) = key.get(1..25).map(|id| id.try_into().map(UploadId)) else {
                continue;
            };
            while let Some(known) =
                uploads.next_if(|known| known.as_ref().map_or(true, |known| known.upload <= id))
            {
                let known = known?;
                // One that is there twice is completed, and says the same twice.
                last = Some(known);
            }
            let known = last.filter(|known| known.upload == id);
            give(id, known, PartRow::decode(&value));
        }
        Ok(())
    }

    /// The parts of each upload, in the order of their buckets.
    pub(super) fn part_sums(&self) -> Sorted<'_, PartSum> {
        let walk = move |give: &mut Give<'_, PartSum>| {
            let mut sum: Option<(UploadId, PartSum)> = None;
            self.each_part(&mut |upload, known, part| {
                let (Some(known), Ok(part)) = (known, part) else { return };
                let other = sum.take_if(|(last, _)| *last != upload);
                other.into_iter().for_each(|(_, sum)| give(sum));
                let none = PartSum { bucket: known.bucket, count: 0, bytes: 0 };
                let (_, sum) = sum.get_or_insert((upload, none));
                sum.count += 1;
                sum.bytes += part.size;
            })?;
            sum.into_iter().for_each(|(_, sum)| give(sum));
            Ok(())
        };
        Sorted::new(&self.memory, Box::new(walk))
    }

    /// Counts parts, and names those that are of no upload.
    pub(super) fn parts(&self, found: &mut Findings) -> Result<(), EngineError> {
        self.each_part(&mut |upload, known, part| {
            found.report.parts += 1;
            let id = upload.to_text();
            match (known, part) {
                (_, Err(error)) => {
                    found.problem(format!("a part of the upload {id} is not readable: {error}"));
                }
                (None, Ok(part)) => {
                    let number = part.number;
                    found.problem(format!(
                        "part {number} is of the upload {id}, which is not there"
                    ));
                }
                (Some(_), Ok(_)) => {}
            }
        })
    }
}
