//! Every write point, by seed; and proof that the checks find built-in mistakes.

use crate::world::{World, history, settle};
use drystone_catalog::{CatalogError, SeededBug};
use drystone_index::{Index, MemIndex};
use drystone_io::CrashKind;
use std::sync::Arc;

fn op_count(seed: u64) -> u64 {
    let mut world = World::new(seed, None);
    let process = world.open(false).expect("an empty disk opens");
    world.run(&process, 60);
    world.disk.op_count()
}

fn seeds() -> u64 {
    option_env!("DRYSTONE_SEEDS").and_then(|text| text.parse().ok()).unwrap_or(6)
}

#[test]
fn the_state_after_a_crash_is_that_after_some_prefix_with_all_acknowledged() {
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
    let caught = (0..10).any(|seed| {
        (1..=op_count(seed)).any(|at| history(seed, at, CrashKind::Power, Some(bug)).is_err())
    });
    assert!(caught, "{bug:?} was not caught");
}

#[test]
fn an_early_reply_is_caught() {
    is_caught(SeededBug::ReplyEarly);
}

#[test]
fn an_early_application_is_caught() {
    is_caught(SeededBug::ApplyEarly);
}

#[test]
fn an_ignored_overlay_is_caught() {
    is_caught(SeededBug::IgnoreOverlay);
}

#[test]
fn a_forgotten_clock_is_caught() {
    is_caught(SeededBug::ForgetClock);
}

#[test]
fn a_lost_index_is_rebuilt_from_export_and_frames() {
    let mut world = World::new(3, None);
    let process = world.open(false).expect("opens");
    world.run(&process, 300);
    process.catalog.export(&|| settle(&process)).expect("exports");
    world.run(&process, 50);
    drop(process);
    world.index = Arc::new(MemIndex::new());
    world.disk.restart(CrashKind::Kill);
    let process = world.open(false).expect("opens without an index");
    let (rebuilt, exported_rows, frames) = process.catalog.replayed();
    assert!(rebuilt && exported_rows > 0 && frames > 0);
    world.check(&process).expect("the same state");
}

#[test]
fn damaged_frames_stop_the_start_and_name_the_place() {
    let mut world = World::new(4, None);
    let process = world.open(false).expect("opens");
    world.run(&process, 8);
    assert_eq!(
        process.catalog.frames_floor([1; 16]),
        0,
        "no export in so few operations of this seed"
    );
    let small = process.log.segments()[0];
    drop(process);
    world.disk.restart(CrashKind::Kill);
    world.disk.flip_bit(&format!("seg-{:08}.log", small.segment), 4096 + 64 + 50, 1);
    world.index = Arc::new(MemIndex::new());
    let error = world.open(false).err().expect("refuses");
    assert!(
        matches!(error, CatalogError::FramesDamaged(damage) if damage.segment == small.segment)
    );
}

#[test]
fn an_index_that_is_ahead_of_nothing_replays_nothing() {
    let mut world = World::new(5, None);
    let process = world.open(false).expect("opens");
    world.run(&process, 30);
    let position = world.index.position(1).expect("position");
    drop(process);
    world.disk.restart(CrashKind::Kill);
    let process = world.open(false).expect("opens again");
    assert_eq!(process.catalog.replayed(), (false, 0, 0));
    assert_eq!(world.index.position(1).expect("position"), position);
}
