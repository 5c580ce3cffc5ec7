//! `drystone bench`: signed requests over the wire to any S3 endpoint, by many workers at once.

mod client;
mod paced;
mod report;
mod work;

use crate::cli::{CommandResult, print, print_json};
use crate::config::{Given, parse_len};
use bytes::Bytes;
use client::{Connection, Target};
use report::{Report, cpu_micros};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use work::{Load, Worker};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Workload {
    /// PutObject of new keys.
    Put,
    /// GetObject of prepared keys.
    Get,
    /// HeadObject of prepared keys.
    Stat,
    /// ListObjectsV2, pages of 1,000, through the prepared keys.
    List,
    /// The same with a delimiter.
    ListDelimiter,
    /// DeleteObject of prepared keys, until none is left.
    Delete,
    /// DeleteObjects of 1,000 prepared keys at a time, until none is left.
    DeleteMany,
    /// 45 % get, 30 % stat, 15 % put, 10 % delete.
    Mixed,
    /// Uploads of 4 parts of at least 5 MiB.
    Multipart,
}

/// Arguments of the command.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct BenchArguments {
    /// What to measure.
    #[arg(value_enum)]
    pub(crate) workload: Workload,
    /// Address of the server.
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub(crate) host: String,
    /// Access key. The secret key is read from DRYSTONE_BENCH_SECRET_KEY, or DRYSTONE_ROOT_PASSWORD.
    #[arg(long)]
    pub(crate) access_key: String,
    /// Region that requests are signed for.
    #[arg(long, default_value = "us-east-1")]
    pub(crate) region: String,
    /// Bucket; made if it is missing.
    #[arg(long, default_value = "drystone-bench")]
    pub(crate) bucket: String,
    /// Size of objects.
    #[arg(long, default_value = "4KiB")]
    pub(crate) size: String,
    /// Workers.
    #[arg(long, default_value_t = 16)]
    pub(crate) concurrency: usize,
    /// How many of the workers send bodies slowly, at 256 KiB/s.
    #[arg(long, default_value_t = 0)]
    pub(crate) slow: usize,
    /// Seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) duration: u64,
    /// Objects that are prepared for workloads that read or delete.
    #[arg(long, default_value_t = 2000)]
    pub(crate) objects: u64,
    /// Number of the run; what an earlier one of this number prepared is read again, as when reads are
    /// measured while drives are missing.
    #[arg(long)]
    pub(crate) run: Option<u32>,
    /// Process id of the server, to tell its CPU time per request.
    #[arg(long)]
    pub(crate) server_pid: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What workers share.
pub(crate) struct Shared {
    pub(crate) load: Load,
    /// Workers that send slowly.
    pub(crate) slow: usize,
    /// The next prepared key.
    pub(crate) next: AtomicU64,
    pub(crate) stop: AtomicBool,
    pub(crate) operations: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

pub(crate) fn run(arguments: &BenchArguments) -> CommandResult {
    let secret = crate::config::bench_secret()?;
    let size = parse_len(&Given::option("--size", &arguments.size))?;
    if arguments.concurrency == 0 {
        return Err(Given::option("--concurrency", "0").refused("a number from 1 on").into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(measure(arguments, secret, size))?;
    match arguments.json {
        true => print_json(&report.as_json()),
        false => print(&report.as_text()),
    }
    Ok(if report.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(
    arguments: &BenchArguments,
    secret: String,
    size: u64,
) -> Result<Report, Box<dyn std::error::Error>> {
    let target = Arc::new(Target {
        host: arguments.host.clone(),
        region: arguments.region.clone(),
        access_key: arguments.access_key.clone(),
        secret_key: secret,
    });
    let mut connection = Connection::open(target.clone()).await?;
    connection.make_bucket(&arguments.bucket).await?;
    let shared = Arc::new(Shared {
        slow: arguments.slow,
        load: Load::new(arguments, size),
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        operations: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    });
    let last = shared.load.prepared(arguments.objects.saturating_sub(1));
    let is_there =
        arguments.run.is_some() && connection.send("HEAD", &last, "", Bytes::new()).await?.0 == 200;
    if !is_there {
        prepare(&shared, &target, arguments).await?;
    }
    let cpu_before = arguments.server_pid.and_then(cpu_micros);
    let begun = Instant::now();
    let workers: Vec<_> = (0..arguments.concurrency)
        .map(|index| {
            let (shared, target) = (shared.clone(), target.clone());
            tokio::spawn(async move { Worker::new(index, shared, target).run().await })
        })
        .collect();
    let watching = tokio::spawn(watch(shared.clone(), begun, arguments.duration));
    let mut report = Report::new(arguments, size);
    for worker in workers {
        report.add(worker.await?);
    }
    shared.stop.store(true, Ordering::Relaxed);
    report.seconds = begun.elapsed().as_secs_f64();
    watching.abort();
    let cpu_after = arguments.server_pid.and_then(cpu_micros);
    report.bytes = shared.bytes.load(Ordering::Relaxed);
    report.server_cpu_micros = cpu_before.zip(cpu_after).map(|(before, after)| after - before);
    report.finish();
    Ok(report)
}

/// Puts the objects that the workload needs.
async fn prepare(
    shared: &Arc<Shared>,
    target: &Arc<Target>,
    arguments: &BenchArguments,
) -> Result<(), Box<dyn std::error::Error>> {
    if !shared.load.needs_objects() {
        return Ok(());
    }
    note(&format!("preparing {} objects of {}\n", arguments.objects, arguments.size));
    let next = Arc::new(AtomicU64::new(0));
    let count = arguments.objects;
    let tasks: Vec<_> = (0..arguments.concurrency.max(32))
        .map(|_| {
            let (shared, target, next) = (shared.clone(), target.clone(), next.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(target).await.map_err(|e| e.to_string())?;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<_, String>(());
                    }
                    let (path, body) = (shared.load.prepared(number), shared.load.body());
                    let status = connection.send("PUT", &path, "", body).await;
                    match status.map_err(|error| error.to_string())? {
                        (200, _) => {}
                        (status, _) => return Err(format!("preparing failed with {status}")),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

fn note(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Shows progress, and stops the workers at the end of the time.
async fn watch(shared: Arc<Shared>, begun: Instant, seconds: u64) {
    let mut last = 0;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = shared.operations.load(Ordering::Relaxed);
        note(&format!(
            "{:>4.0} s  {:>9} operations  {:>8}/s\n",
            begun.elapsed().as_secs_f64(),
            now,
            now - last
        ));
        last = now;
        if begun.elapsed() >= Duration::from_secs(seconds) {
            shared.stop.store(true, Ordering::Relaxed);
            return;
        }
    }
}
