//! A catalog on a simulated disk, with the state after every operation.

use bytes::Bytes;
use drystone_base::{Rng, SeededRng, TestClock};
use drystone_catalog::{Catalog, CatalogConfig, CatalogError, Decision, RowProtection, SeededBug};
use drystone_index::{Index, MemIndex};
use drystone_io::{CrashKind, SimDisk};
use drystone_log::{Class, Log, LogConfig, LogError, Ticket};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

pub(crate) type State = BTreeMap<Bytes, Bytes>;

/// Everything that outlives a process.
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) index: Arc<MemIndex>,
    pub(crate) rng: Arc<SeededRng>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) bug: Option<SeededBug>,
    term: u32,
    /// States that a recovery may find: after the last acknowledged operation, and after each later.
    pub(crate) possible: Vec<State>,
    operations: u64,
}

pub(crate) struct Process {
    pub(crate) log: Log,
    pub(crate) catalog: Catalog,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<SeededBug>) -> Self {
        Self {
            disk: SimDisk::new(256 << 20, seed),
            index: Arc::new(MemIndex::new()),
            rng: Arc::new(SeededRng::new(seed)),
            clock: Arc::new(TestClock::new(1_000_000)),
            bug,
            term: 0,
            possible: vec![State::new()],
            operations: 0,
        }
    }

    pub(crate) fn open(&mut self, rebuild: bool) -> Result<Process, CatalogError> {
        self.open_protected(rebuild, RowProtection::None)
    }

    pub(crate) fn open_protected(
        &mut self,
        rebuild: bool,
        rows: RowProtection,
    ) -> Result<Process, CatalogError> {
        self.term += 1;
        let config = LogConfig {
            drive: [1; 16],
            term: self.term,
            segment_len: 256 << 10,
            write_ahead_len: 0,
            lsn_floor: self.index.position(1)?,
            bug: None,
        };
        let log = Log::open(Arc::new(self.disk.clone()), config)?;
        let config = CatalogConfig {
            clock: self.clock.clone(),
            rng: self.rng.clone(),
            rebuild,
            mirrors: Default::default(),
            rows,
            bug: self.bug,
        };
        let catalog = Catalog::open(log.clone(), self.index.clone(), config)?;
        Ok(Process { log, catalog })
    }

    pub(crate) fn crash(&mut self, kind: CrashKind) {
        self.disk.restart(kind);
        match self.rng.below(6) {
            0 => self.index = Arc::new(MemIndex::new()),
            _ => self.index.crash(&*self.rng),
        }
        // Wall clocks go back sometimes.
        self.clock.set(1_000_000 + self.rng.below(1000) - 500);
    }

    /// Adds 1 to a counter and notes the sequence number, as one transaction.
    fn operate(&mut self, catalog: &Catalog) -> Ticket<Result<bool, CatalogError>> {
        let key = Bytes::from(vec![2, self.rng.below(4) as u8]);
        let number = self.operations;
        self.operations += 1;
        let remove = self.rng.below(8) == 0;
        let pad = self.rng.below(300) as usize;
        let mut state = self.possible.last().expect("never empty").clone();
        let before = state.get(&key).map_or(0, |value| value[0]);
        let refuse = before % 5 == 4 && !remove;
        if remove {
            state.remove(&key);
        } else if !refuse {
            state.insert(key.clone(), vec![before.wrapping_add(1); pad + 1].into());
        }
        self.possible.push(state);
        catalog.submit(move |tx| {
            let seen = tx.get(&key)?.map_or(0, |value| value[0]);
            if remove {
                tx.delete(key.to_vec());
                return Ok(Decision::Commit(true));
            }
            if seen % 5 == 4 {
                return Ok(Decision::Reject(false));
            }
            let seq = tx.next_seq();
            tx.put(key.to_vec(), vec![seen.wrapping_add(1); pad + 1]);
            tx.put([&[3][..], &number.to_be_bytes()].concat(), seq.0.to_be_bytes().to_vec());
            Ok(Decision::Commit(true))
        })
    }

    /// Random operations until the machine stops or `count` are done.
    pub(crate) fn run(&mut self, process: &Process, count: u64) {
        let mut waiting: Vec<(usize, Ticket<_>)> = Vec::new();
        for _ in 0..count {
            let ticket = self.operate(&process.catalog);
            waiting.push((self.possible.len() - 1, ticket));
            if self.rng.below(3) == 0 {
                process.catalog.step();
            }
            if self.rng.below(3) == 0 {
                process.log.pump(Class::Small);
                process.catalog.step();
            }
            if self.rng.below(40) == 0 {
                self.export(process);
            }
            self.acknowledge(&mut waiting);
            if self.disk.has_crashed() {
                break;
            }
        }
        settle(process);
        self.acknowledge(&mut waiting);
    }

    /// Drops the states before the last acknowledged one.
    fn acknowledge(&mut self, waiting: &mut Vec<(usize, Ticket<Result<bool, CatalogError>>)>) {
        let mut last = 0;
        waiting.retain(|(at, ticket)| match ticket.try_take() {
            Some(Ok(_)) => {
                last = last.max(*at);
                false
            }
            Some(Err(_)) => false,
            None => true,
        });
        self.possible.drain(..last);
        waiting.iter_mut().for_each(|(at, _)| *at -= last);
    }

    /// Exports, and frees the small segments that the export covers.
    fn export(&mut self, process: &Process) {
        settle(process);
        let exported = process.catalog.export(&|| settle(process));
        if exported.is_ok() && process.log.rotate(Class::Small).is_ok() {
            let floor = process.catalog.frames_floor([1; 16]);
            for info in process.log.segments() {
                if info.class == Class::Small && info.sealed && info.last_lsn <= floor {
                    let _ = process.log.free(info.segment, info.incarnation);
                }
            }
        }
    }

    /// Checks what a recovered catalog holds, and takes it for the state from here on.
    pub(crate) fn check(&mut self, process: &Process) -> Result<(), String> {
        let snapshot = process.catalog.snapshot();
        let range = (Bound::Included(vec![2]), Bound::Excluded(vec![4]));
        let (mut state, mut last_seq) = (State::new(), 0);
        for row in snapshot.scan(range) {
            let (key, value) = row.map_err(|error| error.to_string())?;
            if key[0] == 2 {
                state.insert(key, value);
                continue;
            }
            let seq = u64::from_be_bytes(value[..].try_into().expect("8 bytes"));
            if seq <= last_seq {
                return Err(format!("sequence numbers went back: {seq} after {last_seq}"));
            }
            last_seq = seq;
        }
        if !self.possible.contains(&state) {
            return Err(format!("state is none of the {} possible ones", self.possible.len()));
        }
        self.possible = vec![state];
        Ok(())
    }
}

/// Lets log and committer work until nothing is left.
pub(crate) fn settle(process: &Process) {
    loop {
        let mut any = process.catalog.step();
        for class in Class::ALL {
            any |= process.log.pump(class);
        }
        if !any {
            return;
        }
    }
}

/// One history: run, stop at `crash_at`, recover, check, run on, stop, recover, check.
pub(crate) fn history(
    seed: u64,
    crash_at: u64,
    kind: CrashKind,
    bug: Option<SeededBug>,
) -> Result<(), String> {
    let mut world = World::new(seed, bug);
    world.disk.crash_at(crash_at);
    if let Ok(process) = world.open(false) {
        world.run(&process, 60);
    }
    for round in 0..2 {
        world.crash(kind);
        let rebuild = world.rng.below(5) == 0;
        let process = world.open(rebuild).map_err(|error| match error {
            CatalogError::Log(LogError::Damaged(damage)) => format!("damage {damage:?}"),
            error => format!("round {round}: {error}"),
        })?;
        world.check(&process).map_err(|problem| format!("round {round}: {problem}"))?;
        world.run(&process, 10);
    }
    Ok(())
}
