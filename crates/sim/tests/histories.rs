//! Histories of crashes and faults: nothing acknowledged is lost, nothing deleted comes back, every
//! invariant holds, and no key ever shows bytes that it did not hold.

use drystone_base::{Rng, SeededRng};
use drystone_io::CrashKind;
use drystone_log::SeededBug;
use drystone_sim::{Trouble, World};

fn seeds() -> u64 {
    option_env!("DRYSTONE_SEEDS").and_then(|text| text.parse().ok()).unwrap_or(24)
}

fn any_crash(rng: &SeededRng) -> CrashKind {
    if rng.below(2) == 0 { CrashKind::Kill } else { CrashKind::Power }
}

fn history(seed: u64, bug: Option<SeededBug>) -> Result<(), String> {
    let mut world = World::new(seed, bug);
    let rng = SeededRng::new(seed ^ 0xABCD);
    for life in 0..4 {
        let process = world.open().map_err(|problem| format!("life {life}: {problem}"))?;
        world.check(&process).map_err(|problem| format!("life {life}: {problem}"))?;
        let crash_after = (life < 3).then(|| 1 + rng.below(400));
        world.work(&process, 5, 25, crash_after);
        world.crash(process, any_crash(&rng));
    }
    let process = world.open()?;
    world.check(&process)?;
    world.crash(process, CrashKind::Kill);
    Ok(())
}

/// Lives on a device with one kind of trouble. A start may be refused only after a lie.
fn troubled(seed: u64, trouble: Trouble) -> Result<(), String> {
    let mut world = World::new(seed, None);
    let rng = SeededRng::new(seed ^ 0xDCBA);
    for life in 0..4 {
        let process = match world.open() {
            Ok(process) => process,
            Err(_) if world.has_lied() => return Ok(()),
            Err(problem) => return Err(format!("life {life}: {problem}")),
        };
        world.check(&process).map_err(|problem| format!("life {life}: {problem}"))?;
        if life > 0 {
            world.trouble(trouble);
        }
        world.work(&process, 5, 25, None);
        if trouble == Trouble::Full && life > 0 {
            world.check_full(&process).map_err(|problem| format!("life {life}: {problem}"))?;
        }
        world.crash(process, any_crash(&rng));
    }
    Ok(())
}

/// Lives on several drives: crashes under load, drives that are pulled out and put back or replaced, and
/// bits that rot; never more at once than the code survives.
fn several(seed: u64) -> Result<(), String> {
    let rng = SeededRng::new(seed ^ 0xBEEF);
    let mut world = World::with_drives(seed, None, 1 + rng.below(12));
    for life in 0..6 {
        let said = |problem| format!("life {life}: {problem}");
        let process = world.open().map_err(said)?;
        world.check(&process).map_err(said)?;
        let left = world.repair(&process).map_err(said)?;
        if left > 0 {
            return Err(said(format!("{left} shards are not repaired with all drives there")));
        }
        let crash_after = (rng.below(3) > 0).then(|| 1 + rng.below(300));
        world.work(&process, 4, 15, crash_after);
        world.crash(process, any_crash(&rng));
        // Everything is there again: what lacks is repaired before anything else happens.
        let process = world.open().map_err(said)?;
        world.check(&process).map_err(said)?;
        let left = world.repair(&process).map_err(said)?;
        if left > 0 {
            return Err(said(format!("{left} shards are not repaired after a crash")));
        }
        world.crash(process, CrashKind::Kill);
        match rng.below(4) {
            0 => {
                world.rot();
                if rng.below(2) == 0 {
                    let process = world.open().map_err(said)?;
                    world.scrub(&process).map_err(said)?;
                    world.check(&process).map_err(said)?;
                    world.crash(process, any_crash(&rng));
                }
            }
            3 => {
                let process = world.open().map_err(said)?;
                world.check(&process).map_err(said)?;
                let must_end = world.change_drives(&process).map_err(said)?;
                if !must_end {
                    world.check(&process).map_err(said)?;
                }
                world.crash(process, any_crash(&rng));
            }
            way => {
                world.pull_out();
                let process = world.open().map_err(said)?;
                world.check(&process).map_err(said)?;
                if way == 1 && !process.deployment.is_read_only() {
                    world.replace(&process).map_err(said)?;
                    world.check(&process).map_err(said)?;
                }
                if way == 2 && world.give_up(&process).map_err(said)? {
                    world.check(&process).map_err(said)?;
                }
                world.crash(process, any_crash(&rng));
                world.put_back();
            }
        }
    }
    let process = world.open()?;
    world.check(&process)?;
    world.crash(process, CrashKind::Kill);
    Ok(())
}

/// Lives on several drives of which one has a trouble: it is full, or a write, flush or read of it fails.
fn several_troubled(seed: u64, trouble: Trouble) -> Result<(), String> {
    let rng = SeededRng::new(seed ^ 0xFACE);
    let mut world = World::with_drives(seed, None, 2 + rng.below(11));
    for life in 0..4 {
        let said = |problem| format!("life {life}: {problem}");
        let process = world.open().map_err(said)?;
        world.check(&process).map_err(said)?;
        let left = world.repair(&process).map_err(said)?;
        if left > 0 {
            return Err(said(format!("{left} shards are not repaired")));
        }
        if life > 0 {
            world.trouble(trouble);
        }
        world.work(&process, 4, 15, None);
        if trouble == Trouble::Full && life > 0 {
            world.check_full(&process).map_err(said)?;
        }
        world.crash(process, any_crash(&rng));
    }
    Ok(())
}

#[track_caller]
fn every_seed(run: impl Fn(u64) -> Result<(), String>) {
    for seed in 0..seeds() {
        if let Err(problem) = run(seed) {
            panic!("seed {seed}: {problem}");
        }
    }
}

#[test]
fn acknowledged_objects_survive_crashes_under_load() {
    every_seed(|seed| history(seed, None));
}

#[test]
fn acknowledged_objects_survive_failing_writes_flushes_and_reads() {
    every_seed(|seed| troubled(seed, Trouble::Error));
}

#[test]
fn a_full_device_still_reads_and_deletes_and_recovers() {
    every_seed(|seed| troubled(seed, Trouble::Full));
}

/// Whatever filled it, and however little it believes to lack: what deletes need is kept for them.
#[test]
fn a_full_device_keeps_what_deletes_need() {
    for (seed, drives) in [(1, 1), (2, 1), (3, 3), (4, 6)] {
        let mut world = World::with_drives(seed, None, drives);
        let process = world.open().expect("opens");
        world.work(&process, 4, 15, None);
        world.fill_up(&process).expect("fills up");
        world.delete_all(&process).expect("deletes");
        // What was freed is used again.
        world.compact(&process).expect("compacts");
        world.check(&process).expect("everything holds");
        world.crash(process, CrashKind::Power);
        let process = world.open().expect("opens again");
        world.check(&process).expect("everything holds");
        world.crash(process, CrashKind::Kill);
    }
}

#[test]
fn bytes_that_a_device_puts_elsewhere_are_never_served() {
    every_seed(|seed| troubled(seed, Trouble::Misdirected));
}

#[test]
fn acknowledged_objects_survive_the_loss_of_as_many_drives_as_promised() {
    every_seed(several);
}

#[test]
fn one_of_several_drives_may_fail_at_any_operation() {
    every_seed(|seed| several_troubled(seed, Trouble::Error));
}

#[test]
fn one_of_several_drives_may_be_full() {
    every_seed(|seed| several_troubled(seed, Trouble::Full));
}

#[test]
fn what_is_deleted_while_it_moves_stays_deleted_everywhere() {
    for seed in 0..6 {
        let mut world = World::with_drives(seed, None, 6);
        let process = world.open().expect("opens");
        world.work(&process, 16, 20, None);
        world.delete_while_moving(&process).expect("moves");
        // Nothing stays on any drive that belongs to no one.
        world.check(&process).expect("everything holds");
        world.crash(process, CrashKind::Kill);
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

#[test]
fn a_tombstone_that_is_dropped_before_its_shards_are_gone_is_caught() {
    is_caught(SeededBug::DropTombstoneEarly);
}
