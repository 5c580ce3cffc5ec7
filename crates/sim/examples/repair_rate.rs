//! Measures how fast a lost drive is filled again, and what its clients feel, on disks throttled to rates of
//! their own.
//!
//! `cargo run --release -p drystone-sim --example repair_rate`

use bytes::Bytes;
use drystone_base::{Rng, SeededRng};
use drystone_engine::{EngineError, Work};
use drystone_io::Disk;
use drystone_sim::{SlowDisk, Store};
use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes a second of each disk, reads and writes together; the last is the new one.
const RATES: [u64; 7] = [60, 70, 60, 80, 60, 70, 60];
const MB: u64 = 1_000_000;
const OBJECT_LEN: usize = 4 << 20;
const OBJECT_COUNT: usize = 280;
/// Requests of clients, one every so often.
const REQUEST_EVERY: Duration = Duration::from_millis(20);

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime starts")
}

/// Reads objects of 256 KiB at a steady rate until told to stop; the times that it took, sorted.
async fn read_steadily(store: &Store, until: &AtomicBool) -> Vec<Duration> {
    let rng = SeededRng::new(3);
    let mut times = Vec::new();
    let mut ticks = tokio::time::interval(REQUEST_EVERY);
    while !until.load(Ordering::Acquire) {
        ticks.tick().await;
        let key = format!("small{}", rng.below(OBJECT_COUNT as u64));
        let began = Instant::now();
        store.read(&key).await.expect("it is read").expect("it is there");
        times.push(began.elapsed());
    }
    times.sort();
    times
}

async fn fill(store: &Store) -> Result<(), EngineError> {
    let rng = SeededRng::new(1);
    store.make_bucket().await;
    for number in 0..OBJECT_COUNT {
        let mut body = vec![0; OBJECT_LEN];
        rng.fill(&mut body);
        let body = Bytes::from(body);
        store.put(&format!("large{number}"), &body).await?;
        store.put(&format!("small{number}"), &body.slice(..256 << 10)).await?;
    }
    Ok(())
}

fn percentile(times: &[Duration], percent: usize) -> f64 {
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3
}

fn say_times(times: &[Duration]) -> String {
    let [half, most, nearly_all] = [50, 90, 99].map(|percent| percentile(times, percent));
    format!("{half:.1}, {most:.1} and {nearly_all:.1} ms of {}", times.len())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    let disk = |(seed, rate): (usize, &u64)| -> Arc<dyn Disk> {
        Arc::new(SlowDisk::new(Arc::new(Store::memory_disk(seed as u64)), Some(rate * MB)))
    };
    let disks: Vec<Arc<dyn Disk>> = RATES.iter().enumerate().map(disk).collect();
    let runtime = runtime();
    for has_clients in [false, true] {
        let disks: Vec<Arc<dyn Disk>> = match has_clients {
            false => disks.clone(),
            true => RATES.iter().enumerate().map(disk).collect(),
        };
        let store = Store::make(&disks[..6], 8 << 20, true);
        runtime.block_on(fill(&store))?;
        let lost = store.deployment.find_drive("5")?;
        store.deployment.close();
        drop(store);
        // Without the sixth drive; then what its clients feel before anything is repaired.
        let store = Store::open(disks[..5].iter().enumerate().map(Store::place).collect(), true);
        let stop = AtomicBool::new(false);
        let before = std::thread::scope(|scope| {
            let reading = scope.spawn(|| runtime.block_on(read_steadily(&store, &stop)));
            std::thread::sleep(Duration::from_secs(if has_clients { 12 } else { 1 }));
            stop.store(true, Ordering::Release);
            reading.join().expect("reading does not panic")
        });
        let new = store.deployment.replace(lost, Store::place((6, &disks[6])))?;
        let (began, stop) = (Instant::now(), AtomicBool::new(false));
        let (report, during) = std::thread::scope(|scope| {
            let reading = scope.spawn(|| match has_clients {
                true => runtime.block_on(read_steadily(&store, &stop)),
                false => Vec::new(),
            });
            let report = store.deployment.refill(new, &|_| true);
            stop.store(true, Ordering::Release);
            (report, reading.join().expect("reading does not panic"))
        });
        let (report, took) = (report?, began.elapsed().as_secs_f64());
        let bytes = store.engine.pace().bytes(Work::Repair);
        let rate = bytes as f64 / took / MB as f64;
        writeln!(
            out,
            "{} clients: {} shards, {:.1} MB in {took:.2} s, {rate:.1} MB/s: {:.0} % of the drive's {} MB/s",
            if has_clients { "with" } else { "without" },
            report.repaired,
            bytes as f64 / MB as f64,
            100.0 * rate / RATES[6] as f64,
            RATES[6],
        )?;
        if has_clients {
            writeln!(
                out,
                "GET 256 KiB, p50, p90 and p99: {} before, {} during",
                say_times(&before),
                say_times(&during),
            )?;
        }
        store.deployment.close();
    }
    Ok(())
}
