//! Interleavings of requests that share the byte budget, explored by shuttle: `RUSTFLAGS="--cfg shuttle"`.
#![cfg(shuttle)]

use drystone_engine::{ByteBudget, Consumer, Kind};
use shuttle::future::block_on;
use shuttle::thread;

/// A third of what clients have in the smallest budget.
const MINIMUM: u64 = 840 << 10;

/// Uploads and reads around a drive, of three consumers, with all that they may hold while they wait. Shuttle
/// fails where all threads wait.
fn requests_of_several_consumers() {
    let budget = ByteBudget::new(0);
    let threads: Vec<_> = (0..5_u64)
        .map(|number| {
            let budget = budget.clone();
            thread::spawn(move || {
                let consumer = Consumer::client(&(number % 3));
                block_on(async move {
                    let reserved = budget.reserve(consumer, Kind::Upload, MINIMUM).await;
                    let mut share = reserved.expect("few wait");
                    share.try_grow(MINIMUM / 2);
                    let around = budget.reserve(consumer, Kind::Reconstruct, MINIMUM).await;
                    drop((around.expect("few wait"), share));
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("it ends");
    }
    for kind in Kind::ALL {
        assert_eq!(budget.usage(kind).used_bytes, 0);
    }
}

#[test]
fn requests_never_wait_for_each_other() {
    shuttle::check_random(requests_of_several_consumers, 500);
    shuttle::check_pct(requests_of_several_consumers, 500, 3);
}
