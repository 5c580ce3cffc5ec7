//! Work on the drives that does not get on: which, why, and since when.
//!
//! What is noted here is for people: `drystone status` and the metrics say it. It is dropped as soon as the
//! work gets on, and a new process begins without it: the work is tried again at once there.

use super::Deployment;
use super::member::OpenError;
use drystone_base::sync::lock;
use drystone_cluster::DriveId;
use drystone_log::LogSpace;
use std::collections::BTreeMap;

/// Bytes of the text of an error that are kept.
const ERROR_LEN_MAX: usize = 1024;
/// What is still the same is said again after this time.
const SAY_EVERY_MS: u64 = 3600 * 1000;

/// Work on the drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriveWork {
    /// Doing without a drive that is gone.
    GiveUp(DriveId),
    /// Making the shards of a drive that was put in.
    Fill(DriveId),
    /// Moving shards to where they belong.
    Move,
    /// Giving back single shards.
    Repair,
    /// Letting another drive hold the catalog.
    Recruit,
}

/// Why work does not get on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// What is stored is spread over more drives than would be left.
    #[error(
        "the other drives are too few: {there} are left, and what is stored is spread over {needed}"
    )]
    TooFewDrives {
        /// Drives that are needed.
        needed: usize,
        /// Drives that would be left.
        there: usize,
    },
    /// What the drive had does not fit on the others.
    #[error(
        "the other drives have no room: {needed_bytes} bytes must be free there, and {free_bytes} are"
    )]
    NoRoom {
        /// Bytes for what the drive had, and those that stay free.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
    },
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// Work that does not get on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// Which.
    pub work: DriveWork,
    /// Why, at the last try.
    pub obstacle: Obstacle,
    /// When it did not get on first, in milliseconds since 1970.
    pub since_ms: u64,
    /// When it was tried last.
    pub last_ms: u64,
    /// Tries since then.
    pub tries: u64,
    /// When it was said last.
    said_ms: u64,
}

/// All work that does not get on: a few kinds, and two for each drive at most.
#[derive(Default)]
pub(super) struct StalledWork(BTreeMap<DriveWork, Stalled>);

impl StalledWork {
    /// Notes a try that got nowhere. Says whether that is to be logged.
    fn note(&mut self, work: DriveWork, obstacle: Obstacle, now_ms: u64) -> bool {
        let obstacle = match obstacle {
            Obstacle::Failed(text) => Obstacle::Failed(cut(text)),
            other => other,
        };
        let new = || Stalled {
            work,
            obstacle: obstacle.clone(),
            since_ms: now_ms,
            last_ms: now_ms,
            tries: 0,
            said_ms: 0,
        };
        let known = self.0.entry(work).or_insert_with(new);
        let is_other = match (&known.obstacle, &obstacle) {
            (Obstacle::Failed(was), Obstacle::Failed(is)) => was != is,
            // Figures change all the time.
            (was, is) => std::mem::discriminant(was) != std::mem::discriminant(is),
        };
        let is_due = known.tries == 0 || now_ms.saturating_sub(known.said_ms) >= SAY_EVERY_MS;
        (known.obstacle, known.last_ms) = (obstacle, now_ms);
        known.tries += 1;
        if is_other || is_due {
            known.said_ms = now_ms;
        }
        is_other || is_due
    }
}

/// The first bytes of a text.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(ERROR_LEN_MAX));
    text
}

/// What keeps `others` drives from taking what one more of them had; nothing if they can. A tenth of what
/// the store has and may still take stays free; what others keep on the same file systems does not count.
fn obstacle_without(
    space: &LogSpace,
    online: usize,
    others: usize,
    widest: usize,
) -> Option<Obstacle> {
    let needed = widest.max(2);
    if others < needed {
        return Some(Obstacle::TooFewDrives { needed, there: others });
    }
    let one = space.used_bytes / online.max(1) as u64;
    let needed_bytes = one + (space.used_bytes + space.free_bytes) / 10;
    let free_bytes = space.free_bytes;
    (needed_bytes >= free_bytes).then_some(Obstacle::NoRoom { needed_bytes, free_bytes })
}

impl Deployment {
    /// What keeps a drive that is gone from being given up without an operator: the others have no room for
    /// what it had, or are so few that something would need another code.
    ///
    /// # Errors
    ///
    /// A drive failed.
    pub fn obstacle_without(&self, drive: DriveId) -> Result<Option<Obstacle>, OpenError> {
        let pool = self.engine.pool();
        let (drives, online) = (pool.drives(), pool.online());
        let others = drives.iter().filter(|member| member.info.id != drive).count();
        let widest = pool.groups().iter().map(|group| group.members.len()).max().unwrap_or(0);
        Ok(obstacle_without(&self.engine.space()?, online.len(), others, widest))
    }

    /// Notes that some work did not get on. Says whether that is news, which is to be logged.
    pub fn note_stalled(&self, work: DriveWork, obstacle: Obstacle) -> bool {
        lock(&self.stalled).note(work, obstacle, self.engine.now_ms())
    }

    /// Notes that some work got on.
    pub fn note_going_on(&self, work: DriveWork) {
        lock(&self.stalled).0.remove(&work);
    }

    /// Work that does not get on; nothing of drives that are back or not in the deployment any more.
    #[must_use]
    pub fn stalled(&self) -> Vec<Stalled> {
        let pool = self.engine.pool();
        let drives = pool.drives();
        let is_member = |id: DriveId| drives.iter().any(|drive| drive.info.id == id);
        let mut stalled = lock(&self.stalled);
        stalled.0.retain(|work, _| match work {
            DriveWork::GiveUp(id) => is_member(*id) && pool.get(*id).is_none(),
            DriveWork::Fill(id) => is_member(*id),
            DriveWork::Move | DriveWork::Repair | DriveWork::Recruit => true,
        });
        stalled.0.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;

    fn space(total: u64, used: u64, free: u64) -> LogSpace {
        LogSpace { total_bytes: total * GB, used_bytes: used * GB, free_bytes: free * GB }
    }

    #[test]
    fn room_is_measured_by_what_the_store_may_take() {
        let has_room = |space| obstacle_without(&space, 6, 6, 6).is_none();
        // A file system that is full of other things, and a small store.
        assert!(has_room(space(6000, 1, 60)));
        assert!(has_room(space(600, 300, 300)));
        // 80 for the one, and 60 that stay free.
        assert!(has_room(space(600, 450, 150)));
        assert!(!has_room(space(600, 480, 120)));
        assert!(obstacle_without(&space(600, 0, 0), 0, 6, 6).is_some());
    }

    #[test]
    fn the_obstacle_says_which_of_the_two_it_is_with_figures() {
        let too_few = obstacle_without(&space(600, 300, 300), 5, 5, 6);
        assert_eq!(too_few, Some(Obstacle::TooFewDrives { needed: 6, there: 5 }));
        let full = obstacle_without(&space(600, 480, 120), 6, 6, 6);
        let (needed_bytes, free_bytes) = (140 * GB, 120 * GB);
        assert_eq!(full, Some(Obstacle::NoRoom { needed_bytes, free_bytes }));
        // One drive that is left never has two copies.
        let alone = obstacle_without(&space(600, 0, 600), 1, 1, 1);
        assert_eq!(alone, Some(Obstacle::TooFewDrives { needed: 2, there: 1 }));
    }

    #[test]
    fn what_stays_the_same_is_said_rarely_and_its_text_is_short() {
        let mut stalled = StalledWork::default();
        let failed = |text: &str| Obstacle::Failed(text.to_owned());
        assert!(stalled.note(DriveWork::Move, failed("a"), 5));
        assert!(!stalled.note(DriveWork::Move, failed("a"), 6));
        assert!(stalled.note(DriveWork::Move, failed("b"), 7));
        assert!(!stalled.note(DriveWork::Move, failed("b"), 7 + SAY_EVERY_MS - 1));
        assert!(stalled.note(DriveWork::Move, failed("b"), 7 + SAY_EVERY_MS));
        let room = |free_bytes| Obstacle::NoRoom { needed_bytes: 9, free_bytes };
        assert!(stalled.note(DriveWork::Repair, room(1), 5));
        assert!(!stalled.note(DriveWork::Repair, room(2), 6));
        assert!(stalled.note(DriveWork::Repair, failed(&"ä".repeat(ERROR_LEN_MAX)), 7));
        let of = |work| stalled.0.get(&work).expect("it is noted");
        assert_eq!((of(DriveWork::Move).since_ms, of(DriveWork::Move).tries), (5, 5));
        assert!(of(DriveWork::Repair).obstacle.to_string().len() <= ERROR_LEN_MAX);
    }
}
