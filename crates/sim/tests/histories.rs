//! Histories of crashes: nothing acknowledged is lost, nothing deleted comes back, every invariant
//! holds.

use drystone_base::{Rng, SeededRng};
use drystone_io::CrashKind;
use drystone_log::SeededBug;
use drystone_sim::World;

fn seeds() -> u64 {
    option_env!("DRYSTONE_SEEDS").and_then(|text| text.parse().ok()).unwrap_or(24)
}

fn history(seed: u64, bug: Option<SeededBug>) -> Result<(), String> {
    let mut world = World::new(seed, bug);
    let rng = SeededRng::new(seed ^ 0xABCD);
    for life in 0..4 {
        let process = world.open().map_err(|problem| format!("life {life}: {problem}"))?;
        world.check(&process).map_err(|problem| format!("life {life}: {problem}"))?;
        let crash_after = (life < 3).then(|| 1 + rng.below(400));
        world.work(&process, 5, 25, crash_after);
        let kind = if rng.below(2) == 0 { CrashKind::Kill } else { CrashKind::Power };
        world.crash(process, kind);
    }
    let process = world.open()?;
    world.check(&process)?;
    world.crash(process, CrashKind::Kill);
    Ok(())
}

#[test]
fn acknowledged_objects_survive_crashes_under_load() {
    for seed in 0..seeds() {
        if let Err(problem) = history(seed, None) {
            panic!("seed {seed}: {problem}");
        }
    }
}

#[track_caller]
fn is_caught(bug: SeededBug) {
    assert!((0..60).any(|seed| history(seed, Some(bug)).is_err()), "{bug:?} was not caught");
}

#[test]
fn a_row_that_is_committed_before_its_bytes_is_caught() {
    is_caught(SeededBug::FrameBeforePayload);
}

#[test]
fn a_segment_that_is_freed_before_its_copies_are_flushed_is_caught() {
    is_caught(SeededBug::FreeSourceEarly);
}
