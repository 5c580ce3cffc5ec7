//! Bringing a log that lacks frames up to another.

use crate::world::{Process, World};
use bytes::Bytes;
use drystone_catalog::catch_up;
use drystone_log::{Class, Durability, RecordInput, RecordKind};

/// A frame without rows.
const FRAME: &[u8] = &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A process that finds frames with some numbers in its log.
fn with_frames(seed: u64, numbers: &[u64]) -> Process {
    let mut world = World::new(seed, None);
    let process = world.open(false).expect("opens");
    for number in numbers {
        let meta = Bytes::copy_from_slice(&number.to_le_bytes());
        let frame = RecordInput::new(RecordKind::Frame, meta, Bytes::from_static(FRAME));
        let ticket = process.log.append_ticket(Class::Small, vec![frame], Durability::Flushed);
        process.log.pump(Class::Small);
        ticket.wait().expect("written");
    }
    drop(process);
    world.open(false).expect("opens")
}

/// Goal: a log is given what it lacks, and never what leaves a hole in it, as after an old copy of a drive
/// was put back. Method: a log that begins with frame 5, and others that end at each number. Frame 7 was
/// refused.
#[test]
fn a_log_gets_all_frames_that_it_lacks_or_none() {
    let from = with_frames(1, &[5, 6, 8]);
    for (has, given) in
        [(2, None), (3, None), (4, Some(3)), (5, Some(2)), (6, Some(1)), (8, Some(0))]
    {
        let to = with_frames(2, &[]);
        let pump = || {
            to.log.pump(Class::Small);
        };
        let before = to.log.last_lsn();
        assert_eq!(catch_up(&from.log, &to.log, has, &pump).expect("readable"), given, "{has}");
        assert_eq!(to.log.last_lsn() - before, given.unwrap_or(0));
    }
}

/// Goal: a log whose frames are all in an export by now gives none. Method: one without frames.
#[test]
fn a_log_without_frames_does_not_bring_another_up() {
    let (from, to) = (with_frames(1, &[]), with_frames(2, &[]));
    assert_eq!(catch_up(&from.log, &to.log, 3, &|| {}).expect("readable"), None);
}
