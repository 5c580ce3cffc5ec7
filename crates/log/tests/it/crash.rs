//! Every write point, by seed; and proof that the checks find built-in mistakes.

use crate::world::{Given, SEGMENT_LEN, check, history, open, run};
use drystone_base::SeededRng;
use drystone_io::{CrashKind, SimDisk};
use drystone_log::{Damage, SeededBug};

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
