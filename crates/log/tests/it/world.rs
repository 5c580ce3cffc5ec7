//! A log on a simulated disk, with a record of what was acknowledged.

use bytes::Bytes;
use drystone_base::{Rng, SeededRng};
use drystone_io::{CrashKind, Fault, SimDisk};
use drystone_log::{
    Class, Durability, Log, LogConfig, LogError, RecordInput, RecordKind, Scanned, SeededBug,
};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const SEGMENT_LEN: u32 = 256 << 10;

/// What the log was given: content by lsn, and whether it was acknowledged as durable.
#[derive(Default, Clone)]
pub(crate) struct Given {
    pub(crate) contents: BTreeMap<Bytes, bool>,
}

pub(crate) fn config(term: u32, bug: Option<SeededBug>) -> LogConfig {
    LogConfig {
        drive: [7; 16],
        term,
        segment_len: SEGMENT_LEN,
        write_ahead_len: 16 << 10,
        lsn_floor: 0,
        bug,
    }
}

pub(crate) fn open(disk: &SimDisk, term: u32, bug: Option<SeededBug>) -> Result<Log, LogError> {
    Log::open(Arc::new(disk.clone()), config(term, bug))
}

fn payload(rng: &SeededRng, number: u64) -> Bytes {
    let len = match rng.below(20) {
        0 => 70_000 + rng.below(60_000),
        1..4 => 5000,
        _ => rng.below(600),
    };
    let mut bytes = vec![0; len as usize + 8];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    rng.fill(&mut bytes[8..]);
    bytes.into()
}

/// Appends random groups until the machine stops or `steps` are done.
pub(crate) fn run(log: &Log, rng: &SeededRng, given: &mut Given, steps: u64, first_number: u64) {
    let mut waiting = Vec::new();
    for step in 0..steps {
        let class = Class::ALL[rng.below(3) as usize];
        match rng.below(12) {
            0 => log.mark(class),
            1 if rng.below(4) == 0 => drop(log.rotate(class)),
            _ => {
                let count = 1 + rng.below(3);
                let records: Vec<_> = (0..count)
                    .map(|i| payload(rng, (first_number + step) * 100 + i))
                    .map(|p| RecordInput::new(RecordKind::Frame, Bytes::new(), p))
                    .collect();
                let contents: Vec<_> = records.iter().map(|r| r.payload.clone()).collect();
                for content in &contents {
                    given.contents.insert(content.clone(), false);
                }
                let flushed = rng.below(3) > 0;
                let durability = if flushed { Durability::Flushed } else { Durability::Written };
                let ticket = log.append_ticket(class, records, durability);
                waiting.push((ticket, contents, flushed));
            }
        }
        if rng.below(2) == 0 {
            for class in Class::ALL {
                log.pump(class);
            }
            for (ticket, contents, flushed) in waiting.drain(..) {
                if ticket.try_take().expect("pumped").is_ok() && flushed {
                    given.contents.extend(contents.into_iter().map(|content| (content, true)));
                }
            }
        }
    }
}

/// Everything that a recovered log serves.
pub(crate) fn served(log: &Log) -> Result<Vec<Bytes>, String> {
    let mut contents = Vec::new();
    for class in Class::ALL {
        let mut last_lsn = 0;
        log.scan(class, 0, |scanned| match scanned {
            Scanned::Record(record) => {
                if record.lsn <= last_lsn {
                    // Another batch that does not belong here.
                    return Err(LogError::NotThere);
                }
                last_lsn = record.lsn;
                contents.push(record.payload);
                Ok(())
            }
            Scanned::Damage(damage) => Err(LogError::Damaged(damage)),
        })
        .map_err(|error| format!("scan of {class:?}: {error}"))?;
    }
    Ok(contents)
}

/// Checks what a log serves against what it was given.
pub(crate) fn check(log: &Log, given: &Given) -> Result<Vec<Bytes>, String> {
    if !log.damage().is_empty() {
        return Err(format!("damage where there is none: {:?}", log.damage()));
    }
    let served = served(log)?;
    let mut seen = std::collections::BTreeSet::new();
    for content in &served {
        if !given.contents.contains_key(content) {
            return Err("serves what was never appended".into());
        }
        if !seen.insert(content.clone()) {
            return Err("serves a record twice".into());
        }
    }
    let lost =
        given.contents.iter().filter(|(c, acknowledged)| **acknowledged && !seen.contains(*c));
    match lost.count() {
        0 => Ok(served),
        count => Err(format!("lost {count} acknowledged records")),
    }
}

/// Lives of a log in one history.
const LIFE_COUNT: u32 = 6;

/// Runs a history of several lives. The first stops at operation `crash_at`, the others somewhere in
/// their opening, in their work or behind it; some of them have a write or a flush that fails. What one life
/// serves, all later ones serve; what one does not serve, none does.
pub(crate) fn history(
    seed: u64,
    crash_at: u64,
    kind: CrashKind,
    bug: Option<SeededBug>,
) -> Result<(), String> {
    let rng = SeededRng::new(seed);
    let disk = SimDisk::new(64 << 20, seed ^ crash_at);
    disk.crash_at(crash_at);
    let mut given = Given::default();
    if let Ok(log) = open(&disk, 1, bug) {
        run(&log, &rng, &mut given, 60, 0);
    }
    disk.restart(kind);
    for life in 1..LIFE_COUNT {
        let is_last = life + 1 == LIFE_COUNT;
        let at = disk.op_count() + 1 + rng.below(24);
        match rng.below(4) {
            _ if is_last => {}
            0 | 1 => disk.crash_at(at),
            2 => disk.inject(at, [Fault::SyncError, Fault::WriteError][rng.below(2) as usize]),
            _ => {}
        }
        match open(&disk, life + 1, bug) {
            Ok(log) => {
                match check(&log, &given) {
                    Ok(served) => {
                        given.contents =
                            served.into_iter().map(|content| (content, true)).collect();
                    }
                    Err(_) if disk.has_crashed() => {}
                    Err(error) => return Err(format!("life {life}: {error}")),
                }
                run(&log, &rng, &mut given, rng.below(12), u64::from(life) * 1000);
                if rng.below(3) == 0 {
                    // As at a clean end.
                    Class::ALL.into_iter().for_each(|class| log.mark(class));
                }
            }
            Err(error) if is_last => return Err(format!("the last life: {error}")),
            Err(_) => {}
        }
        disk.restart(if rng.below(2) == 0 { CrashKind::Kill } else { CrashKind::Power });
    }
    Ok(())
}
