//! Every write point, by seed; and proof that the checks find built-in mistakes.

use crate::world::{Given, SEGMENT_LEN, check, history, open, run};
use bytes::Bytes;
use drystone_base::SeededRng;
use drystone_io::{CrashKind, Disk, Fault, SimDisk};
use drystone_log::{Class, Damage, Durability, RecordInput, RecordKind, SeededBug};

/// Operations of an undisturbed history.
fn op_count(seed: u64) -> u64 {
    let disk = SimDisk::new(64 << 20, seed);
    let log = open(&disk, 1, None).expect("an empty disk opens");
    run(&log, &SeededRng::new(seed), &mut Given::default(), 60, 0);
    disk.op_count()
}

fn seeds() -> u64 {
    option_env!("DRYSTONE_SEEDS").and_then(|text| text.parse().ok()).unwrap_or(6)
}

#[test]
fn nothing_acknowledged_is_lost_at_any_write_point() {
    for seed in 0..seeds() {
        for crash_at in 1..=op_count(seed) + 1 {
            for kind in [CrashKind::Power, CrashKind::Kill] {
                if let Err(problem) = history(seed, crash_at, kind, None) {
                    panic!("seed {seed}, stop at operation {crash_at} ({kind:?}): {problem}");
                }
            }
        }
    }
}

#[track_caller]
fn is_caught(bug: SeededBug) {
    let caught = (0..6).any(|seed| {
        (1..=op_count(seed)).any(|at| {
            [CrashKind::Power, CrashKind::Kill]
                .iter()
                .any(|kind| history(seed, at, *kind, Some(bug)).is_err())
        })
    });
    assert!(caught, "{bug:?} was not caught");
}

#[test]
fn a_left_out_flush_is_caught() {
    is_caught(SeededBug::SkipFlush);
}

#[test]
fn an_early_acknowledgement_is_caught() {
    is_caught(SeededBug::AcknowledgeEarly);
}

#[test]
fn a_tail_that_is_served_unsealed_is_caught() {
    is_caught(SeededBug::ServeUnsealedTail);
}

#[test]
fn a_batch_of_an_earlier_term_that_counts_is_caught() {
    is_caught(SeededBug::TakeOlderTerms);
}

/// A flush that fails, among them that of a new header, and a kill; then the log is written on, and the
/// power goes.
fn after_a_failed_flush(bug: Option<SeededBug>) -> Result<(), String> {
    for at in 0..24 {
        let disk = SimDisk::new(64 << 20, at);
        let (rng, mut given) = (SeededRng::new(at), Given::default());
        let log = open(&disk, 1, bug).expect("an empty disk opens");
        disk.inject(disk.op_count() + at, Fault::SyncError);
        run(&log, &rng, &mut given, 12, 0);
        drop(log);
        disk.restart(CrashKind::Kill);
        let log = open(&disk, 2, bug).map_err(|error| format!("opening after a kill: {error}"))?;
        run(&log, &rng, &mut given, 12, 1000);
        drop(log);
        disk.restart(CrashKind::Power);
        let log = open(&disk, 3, bug).map_err(|error| format!("the last opening: {error}"))?;
        check(&log, &given).map_err(|error| format!("flush {at} fails: {error}"))?;
    }
    Ok(())
}

#[test]
fn a_segment_is_written_on_only_with_a_durable_header() {
    after_a_failed_flush(None).expect("nothing is lost");
    after_a_failed_flush(Some(SeededBug::LeaveOpenHeader)).expect_err("the seeded bug is caught");
}

/// Writes a log, stops it by a kill, flips a byte in its first small batch, and opens it again.
fn damaged(bug: Option<SeededBug>) -> Vec<Damage> {
    let disk = SimDisk::new(64 << 20, 9);
    let log = open(&disk, 1, None).expect("an empty disk opens");
    let mut given = Given::default();
    run(&log, &SeededRng::new(11), &mut given, 40, 0);
    let first = log.segments().first().expect("something was written").segment;
    drop(log);
    disk.restart(CrashKind::Kill);
    disk.flip_bit(&format!("seg-{first:08}.log"), 4096 + 20, 3);
    let log = open(&disk, 2, bug).expect("damage does not stop the log itself");
    log.damage().to_vec()
}

#[test]
fn damage_below_the_durable_lsn_is_reported_and_not_taken_for_a_tail() {
    let damage = damaged(None);
    assert_eq!(damage.len(), 1);
    assert_eq!(damage[0].from, 4096);
    assert!(damage[0].to < SEGMENT_LEN);
    assert_eq!(damaged(Some(SeededBug::TakeDamageForTail)), [], "the seeded bug hides it");
}

#[test]
fn a_clean_history_serves_everything() {
    let disk = SimDisk::new(64 << 20, 1);
    let log = open(&disk, 1, None).expect("an empty disk opens");
    let mut given = Given::default();
    run(&log, &SeededRng::new(5), &mut given, 200, 0);
    drop(log);
    disk.restart(CrashKind::Kill);
    let log = open(&disk, 2, None).expect("recovers");
    assert_eq!(check(&log, &given).expect("nothing lost").len(), given.contents.len());
}

/// What was a tail at one start is durable and known to be so: if it rots, the next start misses it.
#[test]
fn a_tail_that_rots_after_it_was_served_is_damage() {
    let disk = SimDisk::new(64 << 20, 9);
    let log = open(&disk, 1, None).expect("an empty disk opens");
    let record = RecordInput::new(RecordKind::Frame, Bytes::new(), Bytes::from_static(b"served"));
    let ticket = log.append_ticket(Class::Small, vec![record], Durability::Flushed);
    log.pump(Class::Small);
    let (_, location) = ticket.try_take().expect("pumped").expect("durable")[0];
    drop(log);
    disk.restart(CrashKind::Kill);
    drop(open(&disk, 2, None).expect("recovers"));
    disk.restart(CrashKind::Kill);
    disk.flip_bit(&format!("seg-{:08}.log", location.segment), 4096 + 20, 3);
    let log = open(&disk, 3, None).expect("damage does not stop the log itself");
    assert_eq!(log.damage().len(), 1);
    // Nothing is written behind damage.
    let info = log.segments().into_iter().find(|info| info.segment == location.segment);
    assert!(info.expect("it is kept").sealed);
}

/// Number and bytes of all files.
fn sizes(disk: &SimDisk) -> (usize, u64) {
    let names = disk.list().expect("lists");
    let lens = names.iter().map(|name| disk.open(name).and_then(|file| file.len_bytes()));
    (names.len(), lens.map(|len| len.expect("opens")).sum())
}

/// Goal: a start costs nothing. Method: a thousand starts, by turns after a clean end, a kill and a power
/// cut, with records of every class between them or without.
#[test]
fn a_thousand_starts_cost_less_than_a_segment() {
    for writes in [false, true] {
        let disk = SimDisk::new(64 << 20, 1);
        let mut given = Given::default();
        run(&open(&disk, 1, None).expect("opens"), &SeededRng::new(1), &mut given, 30, 0);
        let before = sizes(&disk);
        for start in 2..1002 {
            let log = open(&disk, start, None).expect("opens");
            if writes && start % 100 == 0 {
                for class in Class::ALL {
                    let payload = Bytes::from(format!("{class:?} {start}"));
                    let record = RecordInput::new(RecordKind::Frame, Bytes::new(), payload.clone());
                    let ticket = log.append_ticket(class, vec![record], Durability::Flushed);
                    log.pump(class);
                    ticket.try_take().expect("pumped").expect("durable");
                    given.contents.insert(payload, true);
                }
            }
            if start % 3 == 0 {
                Class::ALL.into_iter().for_each(|class| log.mark(class));
            }
            drop(log);
            match start % 3 {
                1 => disk.restart(CrashKind::Kill),
                2 => disk.restart(CrashKind::Power),
                _ => {}
            }
        }
        assert_eq!(sizes(&disk), before, "with writes: {writes}");
        let log = open(&disk, 2000, None).expect("opens");
        check(&log, &given).expect("nothing is lost");
    }
}
