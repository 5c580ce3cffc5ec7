//! Reading a range of a cell without waiting indefinitely: a drive that is late or gone is skipped, with as
//! many of the others as are needed, asked at once.

use crate::budget::Kind;
use crate::cells::{CellRange, CellRead};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::tasks::{JoinHandle, spawn_blocking};
use bytes::Bytes;
use drystone_cluster::{DriveId, Late};
use drystone_drive::{Drive, DriveError};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::channel;

/// A drive that has not answered after this is late: the others of the group are asked.
const HEDGE_AFTER: Duration = Duration::from_millis(100);
/// Reading does not panic.
const DONE: &str = "reading does not panic";

type Direct = JoinHandle<Result<Bytes, DriveError>>;

impl Engine {
    /// Reads from the drive that has the cell, or gives its bytes from the others.
    pub(crate) async fn read_cell(&self, cell: CellRange) -> Result<CellRead, EngineError> {
        let pool = self.pool();
        let member = pool.member_of(cell.layout.blob, cell.place);
        let has_parity = cell.layout.shape.parity > 0;
        let is_late = |drive: &Drive| pool.is_late(DriveId(drive.identity().drive), Late::Read);
        let (late, member) = match member {
            Some(drive) if has_parity && is_late(&drive) => (Some(drive), None),
            member => (None, member),
        };
        let mut failed = None;
        let mut running: Option<Direct> = None;
        if let Some(drive) = member {
            let id = DriveId(drive.identity().drive);
            let mut direct = spawn_direct(&cell, drive);
            if !has_parity {
                return Ok(direct.await.expect(DONE).map(CellRead::direct)?);
            }
            match tokio::time::timeout(HEDGE_AFTER, &mut direct).await {
                Ok(read) => match read.expect(DONE) {
                    Ok(bytes) => return Ok(CellRead::direct(bytes)),
                    Err(error) => failed = Some(error),
                },
                Err(_) => {
                    self.shared.hedges.fetch_add(1, Ordering::Relaxed);
                    pool.note_late(id, Late::Read);
                    running = Some(direct);
                }
            }
        }
        let around = self.read_around(&cell);
        let recovered = match &mut running {
            None => around.await,
            Some(direct) => tokio::select! {
                recovered = around => recovered,
                read = direct => match read.expect(DONE) {
                    Ok(bytes) => return Ok(CellRead::direct(bytes)),
                    Err(error) => {
                        (failed, running) = (Some(error), None);
                        self.read_around(&cell).await
                    }
                },
            },
        };
        let refused = match recovered {
            Ok(Some(recovered)) => {
                return Ok(CellRead { is_damaged: failed.is_some(), ..recovered });
            }
            Ok(None) => None,
            Err(busy) => Some(busy),
        };
        // The others are not enough: the one that is late is waited for.
        let last = running.or_else(|| late.map(|drive| spawn_direct(&cell, drive)));
        match last {
            Some(direct) => Ok(direct.await.expect(DONE).map(CellRead::direct)?),
            None => Err(refused.unwrap_or_else(|| self.why_not(&cell, failed))),
        }
    }

    /// Why a cell cannot be read: what is damaged here may be whole on drives that are missing.
    fn why_not(&self, cell: &CellRange, failed: Option<DriveError>) -> EngineError {
        let members = self.pool().members_of(cell.layout.blob);
        let places = members.iter().take(cell.layout.shape.shard_count());
        match places.filter(|member| member.is_none()).count() {
            0 => failed.unwrap_or(DriveError::NotFound(cell.layout.shard(cell.stripe))).into(),
            missing => EngineError::Unreachable { missing },
        }
    }

    /// The bytes from other shards of the stripe; `None` if too few are left. Drives that are not late are
    /// asked first, as many as are needed; one more for each that fails or does not answer in time.
    async fn read_around(&self, cell: &CellRange) -> Result<Option<CellRead>, EngineError> {
        let shape = cell.layout.shape;
        if shape.parity == 0 {
            return Ok(None);
        }
        // As many cells as are needed, and what is made of them.
        let held = cell.range.len() as u64 * (u64::from(shape.data) + 1);
        let _share = self.reserve(Kind::Reconstruct, held).await?;
        let pool = self.pool();
        let members = pool.members_of(cell.layout.blob);
        let mut shards: Vec<Option<Bytes>> = vec![None; shape.shard_count()];
        let mut waiting = Vec::new();
        let (mut found, needed) = (0, usize::from(shape.data));
        for place in (0..shape.shard_count()).filter(|place| *place != cell.place) {
            if cell.range_at(place).is_empty() {
                // A cell that is not there counts as zeros.
                shards[place] = Some(Bytes::new());
                found += 1;
            } else if let Some(Some(drive)) = members.get(place) {
                let is_late = pool.is_late(DriveId(drive.identity().drive), Late::Read);
                waiting.push((is_late, place, drive.clone()));
            }
        }
        // The last ones are asked first.
        waiting.sort_by_key(|(is_late, place, _)| std::cmp::Reverse((*is_late, *place)));
        // What still runs when enough is there is not needed any more.
        let (sender, mut reads) = channel(shape.shard_count());
        let mut sender = Some(sender);
        let mut asked: BTreeMap<usize, DriveId> = BTreeMap::new();
        let mut wanted = needed.saturating_sub(found);
        while found < needed {
            while asked.len() < wanted
                && let (Some((_, place, drive)), Some(sender)) = (waiting.pop(), sender.clone())
            {
                let (shard, range) = (cell.layout.shard(cell.stripe), cell.range_at(place));
                asked.insert(place, DriveId(drive.identity().drive));
                spawn_blocking(move || {
                    let read = drive.read(shard, None, range).ok();
                    let _ = sender.try_send((place, read.map(|read| read.bytes)));
                });
            }
            if waiting.is_empty() {
                // The last answer ends the channel.
                sender = None;
            }
            let patience = if waiting.is_empty() { Duration::MAX } else { HEDGE_AFTER };
            match tokio::time::timeout(patience, reads.recv()).await {
                Ok(None) => return Ok(None),
                Ok(Some((place, bytes))) => {
                    asked.remove(&place);
                    found += usize::from(bytes.is_some());
                    wanted -= usize::from(bytes.is_some());
                    shards[place] = bytes;
                }
                Err(_) => {
                    for id in asked.values() {
                        pool.note_late(*id, Late::Read);
                    }
                    wanted = asked.len() + 1;
                }
            }
        }
        let (pool, cell) = (pool.clone(), cell.clone());
        Ok(spawn_blocking(move || cell.assemble(&pool, shards)).await.expect(DONE))
    }
}

fn spawn_direct(cell: &CellRange, drive: Drive) -> Direct {
    let cell = cell.clone();
    spawn_blocking(move || {
        let shard = cell.layout.shard(cell.stripe);
        drive.read(shard, cell.hint, cell.range).map(|read| read.bytes)
    })
}
