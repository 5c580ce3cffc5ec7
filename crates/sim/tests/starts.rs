//! A start costs nothing: the drives do not grow with the number of starts.

use drystone_io::CrashKind;
use drystone_sim::World;

/// Starts of so many drives; in the nightly run a thousand of six drives too.
fn start_count(drives: u64) -> u32 {
    let text = option_env!("DRYSTONE_STARTS").and_then(|text| text.parse().ok());
    text.unwrap_or(if drives == 1 { 1000 } else { 200 })
}

/// Many starts, ended by turns cleanly, by a kill and by a power cut. With `writes` an object of each
/// size is written again at every fortieth.
fn check(drives: u64, writes: bool) {
    let mut world = World::with_drives(drives, None, drives);
    let process = world.open().expect("opens");
    world.work(&process, 2, 10, None);
    world.touch(&process, 0).expect("written");
    world.crash(process, CrashKind::Kill);
    // The first start after writes may still make what it lacks, spares for example.
    let process = world.open().expect("opens");
    world.crash(process, CrashKind::Kill);
    let before = world.used_bytes();
    for start in 0..start_count(drives) {
        let process = world.open().unwrap_or_else(|problem| panic!("start {start}: {problem}"));
        if writes && start % 40 == 0 {
            world.touch(&process, start as u8).expect("written");
        }
        if start % 3 > 0 {
            world.halt();
        }
        world.crash(process, if start % 3 == 2 { CrashKind::Power } else { CrashKind::Kill });
    }
    for (drive, (before, after)) in before.iter().zip(world.used_bytes()).enumerate() {
        let grown = after.saturating_sub(*before);
        let limit = if writes { world.segment_len() * 3 } else { 1 };
        assert!(grown < limit, "drive {drive} of {drives} grew by {grown} bytes");
    }
    let process = world.open().expect("opens");
    world.check(&process).expect("everything is there");
    world.crash(process, CrashKind::Kill);
}

#[test]
fn a_thousand_starts_of_one_drive_cost_nothing() {
    check(1, false);
}

#[test]
fn a_thousand_starts_of_one_drive_cost_what_is_written() {
    check(1, true);
}

#[test]
fn many_starts_of_six_drives_cost_nothing() {
    check(6, false);
}

#[test]
fn many_starts_of_six_drives_cost_what_is_written() {
    check(6, true);
}
