//! `drystone rebuild --salvage`.

use super::{CommandResult, print, print_json};
use crate::config::ServerConfig;
use crate::log_text::clean;
use crate::node::{Node, OpenMode};
use drystone_engine::deployment::SalvageReport;
use drystone_engine::{CheckReport, SalvagedObjects};
use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Progress is shown after so long.
const SHOW_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn run(config: &ServerConfig, json: bool) -> CommandResult {
    let node = Node::open(config, OpenMode::Salvage)?;
    let frames = node.deployment().salvaged().unwrap_or_default();
    let shown = Cell::new(Instant::now());
    let show = |objects: &SalvagedObjects| {
        if std::io::stderr().is_terminal() && shown.get().elapsed() >= SHOW_EVERY {
            shown.set(Instant::now());
            let _ = write!(std::io::stderr(), "\r{} objects of manifests", objects.objects);
        }
    };
    let objects = node.engine.salvage_objects(&show)?;
    // Rows of frames from before rows had seals may have come back.
    node.engine.catalog().seal_rows(&|| {}, &|| true)?;
    // From now on this is the truth, on as many drives as should hold it.
    node.engine.export_if_due(true, &|| {})?;
    while node.deployment().recruit()? {}
    let check = node.engine.check()?;
    node.close();
    match json {
        true => print_json(&as_json(&frames, &objects, &check)),
        false => print(&as_text(&frames, &objects, &check)),
    }
    let lost = objects.lost_count + frames.lost_frames + frames.unknown_stretches;
    let is_whole = check.problems.is_empty() && lost == 0;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_text(frames: &SalvageReport, objects: &SalvagedObjects, check: &CheckReport) -> String {
    let mut text = format!(
        "catalog: {} exported rows and {} frames; {} stretches are damaged\n",
        frames.exported_rows, frames.frames, frames.damaged_stretches
    );
    if frames.lost_frames > 0 {
        text += &format!(
            "LOST: {} frames; what they changed is not known: small objects, deletes, tags, settings\n",
            frames.lost_frames
        );
    }
    if frames.unknown_stretches > 0 {
        text += &format!(
            "MAY BE LOST: what {} damaged stretches held, which no other drive has: small objects and last \
             changes; start the server, and `drystone verify` names each object that cannot be read\n",
            frames.unknown_stretches
        );
    }
    text += &format!("manifests: {} objects, {} bytes\n", objects.objects, objects.bytes);
    for bucket in &objects.buckets {
        text += &format!("bucket {bucket} was made again: its settings and policies are lost\n");
    }
    let counts = [
        ("manifests are older than what the catalog has", objects.superseded),
        (
            "blobs belong to nothing that is known: a server gives their space back after a day",
            objects.unknown_blobs,
        ),
        ("objects lack too many shards", objects.lost_count),
    ];
    for (what, count) in counts.iter().filter(|(_, count)| *count > 0) {
        text += &format!("{count} {what}\n");
    }
    for (bucket, key) in &objects.lost {
        text += &format!("LOST {bucket}/{}\n", clean(&String::from_utf8_lossy(key)));
    }
    for (name, count) in check.counts() {
        text += &format!("{name:<24}{count:>14}\n");
    }
    for problem in &check.problems {
        text += &format!("problem: {}\n", clean(problem));
    }
    text + "what was deleted or changed shortly before the loss may have come back: look through it\n"
}

fn as_json(frames: &SalvageReport, objects: &SalvagedObjects, check: &CheckReport) -> String {
    let lost = objects.lost.iter().map(|(bucket, key)| {
        serde_json::json!({ "bucket": bucket, "key": String::from_utf8_lossy(key) })
    });
    let value = serde_json::json!({
        "exported_rows": frames.exported_rows,
        "frames": frames.frames,
        "lost_frames": frames.lost_frames,
        "damaged_stretches": frames.damaged_stretches,
        "unknown_stretches": frames.unknown_stretches,
        "objects": objects.objects,
        "bytes": objects.bytes,
        "buckets": objects.buckets,
        "superseded": objects.superseded,
        "unknown_blobs": objects.unknown_blobs,
        "lost": lost.collect::<Vec<_>>(),
        "lost_count": objects.lost_count,
        "problems": check.problems,
    });
    format!("{value}\n")
}
