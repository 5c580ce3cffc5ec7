//! The drives that hold the catalog: each has all frames, and an export of its own.
//!
//! The first member is the one whose log the index follows. A commit needs every member; one that
//! fails leaves, and counts no more once the smaller view is recorded.

use crate::error::CatalogError;
use bytes::Bytes;
use drystone_base::sync::{Mutex, lock};
use drystone_log::{
    Chain, Class, Durability, Group, Location, Log, LogError, RecordInput, RecordKind, Scanned,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Identity of a drive.
pub(crate) type DriveKey = [u8; 16];
/// What a log says of a batch.
pub(crate) type Outcome = Result<Vec<(u64, Location)>, LogError>;
/// What each member says of a batch; `None` while it has not said anything.
pub(crate) type Outcomes = BTreeMap<DriveKey, Option<Outcome>>;

/// A drive that holds, or will hold, the catalog.
#[derive(Clone)]
pub struct Mirror {
    /// Its identity.
    pub drive: [u8; 16],
    /// Its log.
    pub log: Log,
}

/// Records which drives hold the catalog.
pub trait ViewKeeper: Send + Sync {
    /// Records that these drives hold the catalog and no others do: durably, on more than half of all
    /// drives. Says whether that was possible. May block.
    fn record(&self, members: &[[u8; 16]]) -> bool;
}

/// The other drives of a catalog than the first.
#[derive(Clone, Default)]
pub struct MirrorConfig {
    /// Drives that have the same frames as the first.
    pub others: Vec<Mirror>,
    /// Who records changes; without, no member may leave.
    pub keeper: Option<Arc<dyn ViewKeeper>>,
    /// Number of the last frame.
    pub last_frame: u64,
    /// Nothing may be changed: it is not certain that this is the newest view.
    pub is_read_only: bool,
}

/// Gives a log the frames that another has beyond a number. Blocks; the writers of `to` must run, or
/// `pump` lets them. Returns how many there were; `None`, and nothing is given, if frames in between are not
/// there any more: a log with a hole would be taken for whole later.
///
/// # Errors
///
/// What the logs report; damage is an error.
pub fn catch_up(
    from: &Log,
    to: &Log,
    after_frame: u64,
    pump: &dyn Fn(),
) -> Result<Option<u64>, CatalogError> {
    let whole_after = from.whole_after(Class::Small);
    let (mut count, mut is_joined) = (0, false);
    from.scan(Class::Small, 0, |scanned| {
        let record = match scanned {
            Scanned::Record(record) if record.kind == RecordKind::Frame => record,
            Scanned::Record(_) => return Ok(()),
            Scanned::Damage(damage) => return Err(CatalogError::FramesDamaged(damage)),
        };
        let number = record.meta[..].try_into().map_or(0, u64::from_le_bytes);
        // Numbers have gaps, those of frames that were refused: not the next number shows that nothing is
        // missing, but a frame behind which this log is whole, and up to which the other one is.
        is_joined |= record.lsn > whole_after && number <= after_frame + 1;
        if number > after_frame && is_joined {
            let input = RecordInput::new(RecordKind::Frame, record.meta, record.payload);
            let ticket = to.append_ticket(Class::Small, vec![input], Durability::Flushed);
            pump();
            ticket.wait()?;
            count += 1;
        }
        Ok(())
    })?;
    Ok(is_joined.then_some(count))
}

struct Member {
    mirror: Mirror,
    /// It gets all frames, but no one waits for it yet.
    is_learning: bool,
}

/// How far the index is, in the log of each member.
pub(crate) type Positions = Arc<Mutex<BTreeMap<DriveKey, u64>>>;

pub(crate) struct Mirrors {
    members: Vec<Member>,
    keeper: Option<Arc<dyn ViewKeeper>>,
    positions: Positions,
    last_frame: u64,
}

/// What became of a batch.
pub(crate) enum Verdict {
    /// Not every member has reported.
    Waiting,
    /// It is durable on all members; lsns and places are those of the first.
    Durable(Vec<(u64, Location)>),
    /// It is nowhere, and may be tried again.
    Refused(CatalogError),
    /// It may be on some members.
    Unknown,
}

/// Whether a member certainly does not have a batch.
fn is_refused(outcome: Option<&Option<Outcome>>) -> bool {
    let is_refusal =
        |error: &LogError| error.is_refusal() || matches!(error, LogError::TooLarge { .. });
    matches!(outcome, Some(Some(Err(error))) if is_refusal(error))
}

impl Mirrors {
    pub(crate) fn new(first: Mirror, config: MirrorConfig) -> Self {
        let mirrors = std::iter::once(first).chain(config.others);
        let members: Vec<_> = mirrors.map(|mirror| Member { mirror, is_learning: false }).collect();
        let positions = members.iter().map(|m| (m.mirror.drive, m.mirror.log.last_lsn()));
        let positions = Arc::new(Mutex::new(positions.collect()));
        Self { members, keeper: config.keeper, positions, last_frame: config.last_frame }
    }

    pub(crate) fn positions(&self) -> Positions {
        self.positions.clone()
    }

    pub(crate) fn first(&self) -> &Log {
        &self.members[0].mirror.log
    }

    /// Whether a member that counts writes into its reserve.
    pub(crate) fn is_in_reserve(&self) -> bool {
        self.members.iter().any(|m| !m.is_learning && m.mirror.log.is_in_reserve())
    }

    /// Members that count, the first one first.
    pub(crate) fn live(&self) -> Vec<Mirror> {
        let live = self.members.iter().filter(|member| !member.is_learning);
        live.map(|member| member.mirror.clone()).collect()
    }

    /// Meta of the next frame: its number.
    pub(crate) fn number_frame(&mut self) -> Bytes {
        self.last_frame += 1;
        Bytes::copy_from_slice(&self.last_frame.to_le_bytes())
    }

    /// Sends a batch to all members, the records before the frame only to the first. `done` is told
    /// what each says.
    pub(crate) fn append(
        &self,
        records: Vec<RecordInput>,
        chain: Chain,
        done: impl Fn(DriveKey, Outcome) + Clone + Send + 'static,
    ) -> Outcomes {
        let frame = records.last().cloned();
        let mut outcomes = Outcomes::new();
        let mut records = Some(records);
        for Member { mirror: Mirror { drive, log }, .. } in &self.members {
            let records = records.take().unwrap_or_else(|| frame.iter().cloned().collect());
            let (drive, done) = (*drive, done.clone());
            let done = move |outcome| done(drive, outcome);
            let group = Group::new(records, Durability::Flushed, done).chained(chain);
            outcomes.insert(drive, None);
            log.append(Class::Small, group);
        }
        outcomes
    }

    /// Bytes of a batch that the segments of all members can hold.
    pub(crate) fn batch_len_max(&self) -> u64 {
        let lens = self.members.iter().map(|member| member.mirror.log.group_len_max());
        lens.min().unwrap_or(u64::MAX)
    }

    /// What became of a batch. Members that failed it leave, and so do those that say nothing if
    /// `is_late`.
    pub(crate) fn judge(&mut self, outcomes: &Outcomes, is_late: bool) -> Verdict {
        let of = |member: &Member| outcomes.get(&member.mirror.drive);
        let Some(Some(first)) = of(&self.members[0]) else { return Verdict::Waiting };
        let live: Vec<_> =
            self.members.iter().filter(|m| !m.is_learning && of(m).is_some()).collect();
        if live.iter().any(|m| matches!(of(m), Some(None))) && !is_late {
            return Verdict::Waiting;
        }
        let places = match first {
            Ok(places) => places.clone(),
            // Where no one has it, it certainly did not happen.
            Err(error) if live.iter().all(|m| is_refused(of(m))) => {
                return Verdict::Refused(error.clone().into());
            }
            Err(_) => return Verdict::Unknown,
        };
        let has = |m: &Member| matches!(of(m), Some(Some(Ok(_))) | None);
        let lost: Vec<DriveKey> = live.iter().filter(|m| !has(m)).map(|m| m.mirror.drive).collect();
        if !lost.is_empty() && !self.lose(&lost) {
            return Verdict::Unknown;
        }
        Verdict::Durable(places)
    }

    /// Notes that the index holds a batch.
    pub(crate) fn applied(&self, outcomes: &Outcomes) {
        let mut positions = lock(&self.positions);
        for (drive, outcome) in outcomes {
            if let Some(Ok(places)) = outcome
                && let Some((lsn, _)) = places.last()
            {
                positions.insert(*drive, *lsn);
            }
        }
    }

    /// Members leave. Says whether that is recorded.
    fn lose(&mut self, lost: &[DriveKey]) -> bool {
        let left: Vec<DriveKey> = self.live().iter().map(|m| m.drive).collect();
        let left: Vec<DriveKey> = left.into_iter().filter(|d| !lost.contains(d)).collect();
        if !self.keeper.as_ref().is_some_and(|keeper| keeper.record(&left)) {
            return false;
        }
        self.members.retain(|member| !lost.contains(&member.mirror.drive));
        true
    }

    /// A member leaves that is not the first. Says whether that is recorded, or it was no member.
    pub(crate) fn leave(&mut self, drive: DriveKey) -> bool {
        let is_member = self.members[1..].iter().any(|member| member.mirror.drive == drive);
        !is_member || self.lose(&[drive])
    }

    /// A drive that gets all frames from now on. Its log lies behind everything before.
    pub(crate) fn learn(&mut self, mirror: Mirror) {
        self.members.retain(|member| member.mirror.drive != mirror.drive);
        self.members.push(Member { mirror, is_learning: true });
    }

    /// A learner counts from now on. Says whether it still learns, and that is recorded.
    pub(crate) fn promote(&mut self, drive: DriveKey) -> bool {
        let at = self.members.iter().position(|m| m.mirror.drive == drive && m.is_learning);
        let Some(at) = at else { return false };
        let mut view: Vec<DriveKey> = self.live().iter().map(|m| m.drive).collect();
        view.push(drive);
        let healthy = !self.members[at].mirror.log.is_quarantined();
        if !healthy || !self.keeper.as_ref().is_some_and(|keeper| keeper.record(&view)) {
            self.members.remove(at);
            return false;
        }
        self.members[at].is_learning = false;
        true
    }
}
