//! Memory that the allocator keeps when many connections have closed, or many requests have ended.
//!
//! A block goes back to the thread that allocated it, even if another one frees it. mimalloc looks at such
//! blocks, and returns whole pages to the system, after a number of allocations: an idle server would keep
//! what thousands of connections held. So for some seconds after many have closed, or while the process has
//! become larger, each worker of the runtime makes as many allocations as that takes.
//!
//! How much stays is measured by `abuse/test_connection_memory.py`.

use crate::admission::Admission;
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Time between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// Connections that must have closed.
const CLOSED_MIN: usize = 256;
/// Bytes by which the process must have grown.
const GROWN_MIN: usize = 24 << 20;
/// Rounds from then on: free pages are returned to the system after a second, in a later round.
const ROUNDS: u32 = 5;
/// While the process is larger than it was at least, two rounds are made in so many: when what it holds
/// becomes free is not known.
const ROUND_EVERY: u64 = 5;
/// Allocations after which mimalloc looks at the pages of a thread (its option `generic_collect`), of a
/// length above those that it takes from a list of free blocks without counting them.
const ALLOCATIONS: usize = 10_000;
const ALLOCATION_LEN: usize = 2 << 10;
/// Tasks for each worker, so that each runs one of them.
const TASKS: usize = 4;

thread_local! {
    /// The round in which this thread did its part.
    static DONE: Cell<u64> = const { Cell::new(0) };
}

/// Watches the number of connections until it is dropped.
pub(crate) async fn run(admission: Arc<Admission>) {
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    let (mut most, mut left, mut least_resident) = (0, 0, resident_len());
    for round in 1.. {
        tokio::time::sleep(PAUSE).await;
        let (open, resident) = (admission.open(), resident_len());
        most = most.max(open);
        least_resident = least_resident.min(resident);
        if most - open >= CLOSED_MIN {
            (most, left) = (open, ROUNDS);
        }
        if resident - least_resident >= GROWN_MIN && round % ROUND_EVERY == 0 {
            left = left.max(2);
        }
        if left > 0 {
            left -= 1;
            for _ in 0..TASKS * workers {
                tokio::spawn(async move { collect(round) });
            }
        }
    }
}

/// Bytes of the process in memory; 0 where the system does not tell.
fn resident_len() -> usize {
    let told = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = told.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * rustix::param::page_size()
}

fn collect(round: u64) {
    if DONE.replace(round) == round {
        return;
    }
    for _ in 0..ALLOCATIONS {
        black_box(Vec::<u8>::with_capacity(ALLOCATION_LEN));
    }
}
