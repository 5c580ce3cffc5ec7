//! Writing the cells of a part to the drives of its group, with parity.

use crate::budget::{Kind, Share};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::layout::Layout;
use bytes::Bytes;
use drystone_catalog::Data;
use drystone_cluster::{DriveId, InProgress, Late, Pool, Shape};
use drystone_drive::{Drive, DriveError};
use drystone_erasure::Code;
use drystone_log::{Location, LogError, RecordInput, SeededBug, Ticket};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A member that has not written after this is done without; what it lacks then is noted.
const LATE_AFTER: Duration = Duration::from_secs(10);

type Appended = Ticket<Result<Vec<(u64, Location)>, LogError>>;

/// A part on its way to the drives. Dropping it before [`StripeWriter::finish`] gives up the upload:
/// what was written is declared dead at once.
pub(crate) struct StripeWriter {
    engine: Engine,
    layout: Layout,
    owner: u64,
    code: Arc<Code>,
    /// By place; `None` for those that are down or have failed this blob.
    members: Vec<Option<Drive>>,
    stripe: u32,
    place: usize,
    parity: Vec<Vec<u8>>,
    in_flight: VecDeque<(usize, Appended)>,
    failed: Option<DriveError>,
    first: Option<Location>,
    is_kept: bool,
    pub(crate) in_progress: Option<InProgress>,
}

/// A cell on its way to a drive, with the share that it took beyond the minimum of its upload.
struct ExtraCell {
    payload: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for ExtraCell {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

/// Leaves out members that were late with writes, as far as enough are left.
fn go_around_late(pool: &Pool, shape: Shape, members: &mut [Option<Drive>]) {
    let mut there = members.iter().flatten().count();
    for member in members {
        let is_late = |drive: &Drive| pool.is_late(DriveId(drive.identity().drive), Late::Write);
        if there > shape.write_quorum() && member.as_ref().is_some_and(is_late) {
            *member = None;
            there -= 1;
        }
    }
}

/// Shards that a blob lacks since it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lacking {
    pub(crate) layout: Layout,
    /// One bit for each place.
    pub(crate) places: u32,
}

impl Drop for StripeWriter {
    fn drop(&mut self) {
        if !self.is_kept {
            self.engine.pool().bury_later(&[self.layout.blob]);
        }
    }
}

impl StripeWriter {
    /// Begins a part; fails if its group has too few drives.
    pub(crate) fn begin(
        engine: &Engine,
        shape: Shape,
        cell_len: u64,
        owner: u64,
    ) -> Result<Self, EngineError> {
        let pool = engine.pool();
        // The group is chosen while this is counted: no one may close it unnoticed.
        let in_progress = Some(pool.begin_upload());
        let group = pool.choose_group(shape.shard_count()).ok_or(EngineError::Busy)?;
        let mut members = pool.members(&group);
        members.truncate(shape.shard_count());
        go_around_late(pool, shape, &mut members);
        let blob = pool.new_blob(engine.now_ms(), group.id);
        let writer = Self {
            engine: engine.clone(),
            layout: Layout { blob, shape, cell_len, size: 0, first_stripe: 0 },
            owner,
            code: pool.code(shape),
            members,
            stripe: 0,
            place: 0,
            parity: Vec::new(),
            in_flight: VecDeque::new(),
            failed: None,
            first: None,
            is_kept: false,
            in_progress,
        };
        writer.check_quorum()?;
        Ok(writer)
    }

    /// Cells in memory at most, the one that is being filled included.
    pub(crate) fn held_cells(shape: Shape) -> u64 {
        match shape.parity {
            0 => 2,
            parity => u64::from(shape.data) + 2 * u64::from(parity) + 1,
        }
    }

    /// Cells in memory at least: the one that fills, and the parity of its stripe. Each that is on its way to
    /// a drive meanwhile takes a share of its own, or is waited for.
    pub(crate) fn minimum_cells(shape: Shape) -> u64 {
        1 + u64::from(shape.parity)
    }

    /// Takes the next cell. Waits while the drives are behind.
    pub(crate) async fn append(&mut self, cell: Bytes) -> Result<(), EngineError> {
        self.layout.size += cell.len() as u64;
        if self.layout.shape.parity > 0 {
            if self.place == 0 {
                let parity = self.layout.shape.parity.into();
                self.parity = (0..parity).map(|_| vec![0; cell.len()]).collect();
            }
            let mut targets: Vec<&mut [u8]> =
                self.parity.iter_mut().map(Vec::as_mut_slice).collect();
            self.code.add(self.place, &cell, &mut targets);
        }
        self.send(self.place, cell).await?;
        self.place += 1;
        if self.place == usize::from(self.layout.shape.data) {
            self.end_stripe().await?;
        }
        Ok(())
    }

    async fn end_stripe(&mut self) -> Result<(), EngineError> {
        let data = usize::from(self.layout.shape.data);
        for (at, cell) in std::mem::take(&mut self.parity).into_iter().enumerate() {
            self.send(data + at, cell.into()).await?;
        }
        (self.place, self.stripe) = (0, self.stripe + 1);
        Ok(())
    }

    async fn send(&mut self, place: usize, payload: Bytes) -> Result<(), EngineError> {
        let limit = match self.layout.shape.parity {
            0 => 1,
            _ => self.layout.shape.shard_count(),
        };
        while self.in_flight.len() >= limit {
            self.wait_for_one().await?;
        }
        let Some(drive) = &self.members[place] else { return Ok(()) };
        let len = payload.len() as u64;
        let share = self.engine.shared.budget.try_extra(self.engine.consumer(), Kind::Upload, len);
        let is_extra = share.is_some();
        let payload = match share {
            Some(share) => Bytes::from_owner(ExtraCell { payload, _share: share }),
            None => payload,
        };
        let coding = self.layout.coding(self.stripe, place);
        let shard = self.layout.shard(self.stripe);
        let record = shard.record(self.owner, coding, payload);
        self.in_flight.push_back((place, drive.append(record)));
        // Without a share of its own it is part of the minimum, which the next cell needs.
        while !is_extra && !self.in_flight.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<(), EngineError> {
        let Some((place, ticket)) = self.in_flight.pop_front() else { return Ok(()) };
        match self.in_time(place, ticket).await {
            Ok(places) => {
                self.first = self.first.or(places.first().map(|(_, location)| *location));
                Ok(())
            }
            Err(error) => self.lose(place, error.into()),
        }
    }

    /// Waits for a member, where others can do without it not indefinitely.
    async fn in_time(
        &self,
        place: usize,
        ticket: Appended,
    ) -> Result<Vec<(u64, Location)>, LogError> {
        if self.layout.shape.parity == 0 {
            return ticket.await;
        }
        match tokio::time::timeout(LATE_AFTER, ticket).await {
            Ok(outcome) => outcome,
            Err(_) => {
                if let Some(drive) = &self.members[place] {
                    let id = DriveId(drive.identity().drive);
                    tracing::warn!(drive = %id, "a drive is late; writing without it");
                    self.engine.pool().note_late(id, Late::Write);
                }
                Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
            }
        }
    }

    /// A member failed: the blob goes on without it, if enough are left.
    fn lose(&mut self, place: usize, error: DriveError) -> Result<(), EngineError> {
        self.members[place] = None;
        self.failed = Some(error);
        self.check_quorum()
    }

    fn check_quorum(&self) -> Result<(), EngineError> {
        let there = self.members.iter().flatten().count();
        let needed = self.layout.shape.write_quorum();
        if there >= needed {
            return Ok(());
        }
        match &self.failed {
            Some(error) => Err(error.clone().into()),
            None => Err(EngineError::TooFewDrives { there, needed }),
        }
    }

    /// Ends the part: every shard of it is durable when this returns, but for those that lack.
    pub(crate) async fn finish(mut self) -> Result<(Data, Option<Lacking>), EngineError> {
        if self.place > 0 {
            self.end_stripe().await?;
        }
        while !self.in_flight.is_empty() {
            self.wait_for_one().await?;
        }
        if !self.engine.pool().primary().log().has_bug(SeededBug::FrameBeforePayload) {
            let members = self.members.iter().enumerate();
            let flushes: Vec<_> = members
                .filter_map(|(place, drive)| Some((place, drive.as_ref()?.flush())))
                .collect();
            for (place, flush) in flushes {
                if let Err(error) = self.in_time(place, flush).await {
                    self.lose(place, error.into())?;
                }
            }
        }
        Ok(self.keep())
    }

    /// Writes a part that is too small to be coded: one record on each of as many drives as may be
    /// lost, and one more. Durable when this returns.
    pub(crate) async fn write_copies(
        mut self,
        payload: Bytes,
    ) -> Result<(Data, Option<Lacking>, Option<InProgress>), EngineError> {
        self.layout.size = payload.len() as u64;
        let shard = self.layout.shard(0);
        let tickets: Vec<(usize, Appended)> = (0..self.members.len())
            .filter_map(|place| {
                let coding = self.layout.coding(0, place);
                let record: RecordInput = shard.record(self.owner, coding, payload.clone());
                Some((place, self.members[place].as_ref()?.append_small(record)))
            })
            .collect();
        for (place, ticket) in tickets {
            if let Err(error) = self.in_time(place, ticket).await {
                self.lose(place, error.into())?;
            }
        }
        let in_progress = self.in_progress.take();
        let (data, lacking) = self.keep();
        Ok((data, lacking, in_progress))
    }

    /// The part is durable: what a row says of it, and what it lacks.
    fn keep(mut self) -> (Data, Option<Lacking>) {
        self.is_kept = true;
        let Layout { blob, shape, cell_len, .. } = self.layout;
        let lacks = self.members.iter().enumerate().filter(|(_, drive)| drive.is_none());
        let places = lacks.fold(0, |places, (place, _)| places | 1 << place);
        let code = (shape.data, shape.parity);
        let hint = self.first.filter(|_| shape == Shape::new(1, 0));
        let data = Data::Blob { blob, cell_len: cell_len as u32, code, hint };
        (data, (places != 0).then_some(Lacking { layout: self.layout, places }))
    }
}
