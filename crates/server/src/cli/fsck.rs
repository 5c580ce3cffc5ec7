//! `drystone fsck` and `drystone rebuild`.

use super::{CommandResult, print, print_json};
use crate::config::ServerConfig;
use crate::log_text::clean;
use crate::node::{Node, OpenMode};
use drystone_cluster::PoolDrive;
use drystone_engine::CheckReport;
use std::process::ExitCode;

pub(crate) fn run(config: &ServerConfig, json: bool, mode: OpenMode) -> CommandResult {
    let node = Node::open(config, mode)?;
    let (_, rows, frames) = node.engine.catalog().replayed();
    let report = node.engine.check()?;
    let drive = node.identity.drive_text();
    let drives = node.engine.pool().online();
    let damaged_segments = drives.iter().map(|drive| drive.log().damage().len()).sum();
    let pool = node.engine.pool().drives();
    let missing = pool.iter().filter(|drive| drive.drive.is_none());
    let is_refused = |drive: &&PoolDrive| node.deployment().is_refused(drive);
    let paths = |drives: Vec<&PoolDrive>| drives.iter().map(|drive| drive.path.clone()).collect();
    let (refused, missing): (Vec<_>, Vec<_>) = missing.partition(is_refused);
    let scope = Scope {
        drive,
        missing: paths(missing),
        refused: paths(refused),
        checks_seals: node.checks_seals,
        damaged_segments,
    };
    node.close();
    if json {
        print_json(&as_json(&report, &scope, (rows, frames)));
    } else {
        let rebuilt = (mode == OpenMode::Rebuild).then_some((rows, frames));
        print(&as_text(&report, &scope, rebuilt));
    }
    let is_whole = report.problems.is_empty() && damaged_segments == 0 && scope.refused.is_empty();
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was looked at, beside the rows.
struct Scope {
    /// Id of the drive that the catalog was read from.
    drive: String,
    /// Where the drives that are not there were last.
    missing: Vec<String>,
    /// Where drives are that are not trusted.
    refused: Vec<String>,
    checks_seals: bool,
    damaged_segments: usize,
}

fn as_text(report: &CheckReport, scope: &Scope, rebuilt: Option<(u64, u64)>) -> String {
    let mut text = format!("drive {}\n", scope.drive);
    if let Some((rows, frames)) = rebuilt {
        text += &format!("rebuilt from {rows} exported rows and {frames} frames\n");
    }
    for (name, count) in report.counts() {
        text += &format!("{name:<24}{count:>14}\n");
    }
    for path in &scope.missing {
        text += &format!("MISSING {path}: this drive is not here; its shards count as lacking\n");
    }
    for path in &scope.refused {
        text += &format!(
            "NOT TRUSTED {path}: its file super was not written by this deployment; its shards count as \
             lacking\n"
        );
    }
    if !scope.checks_seals {
        text += "seals of rows were not looked at: there is no keyring (--keyring)\n";
    }
    for problem in &report.problems {
        text += &format!("problem: {}\n", clean(problem));
    }
    let is_all_here = scope.missing.is_empty() && scope.refused.is_empty();
    text += match (report.problems.is_empty(), is_all_here) {
        (true, true) => "everything holds\n",
        (true, false) => "everything holds on the drives that are here\n",
        (false, _) => "NOT everything holds\n",
    };
    text
}

fn as_json(report: &CheckReport, scope: &Scope, (rows, frames): (u64, u64)) -> String {
    let counts: serde_json::Map<String, serde_json::Value> = report
        .counts()
        .into_iter()
        .map(|(name, count)| (name.replace(' ', "_"), count.into()))
        .collect();
    let value = serde_json::json!({
        "drive": scope.drive,
        "missing_drives": scope.missing,
        "drives_not_trusted": scope.refused,
        "exported_rows": rows,
        "frames": frames,
        "damaged_segments": scope.damaged_segments,
        "seals_checked": scope.checks_seals,
        "counts": counts,
        "problems": report.problems,
    });
    format!("{value}\n")
}
