//! `drystone fsck` and `drystone rebuild`.

use super::{CommandResult, print};
use crate::config::ServerConfig;
use crate::node::{Node, OpenMode};
use drystone_engine::CheckReport;
use std::process::ExitCode;

pub(crate) fn run(config: &ServerConfig, json: bool, mode: OpenMode) -> CommandResult {
    let node = Node::open(config, mode)?;
    let (_, rows, frames) = node.engine.catalog().replayed();
    let report = node.engine.check()?;
    let drive = node.identity.drive_text();
    let drives = node.engine.pool().online();
    let damaged_segments = drives.iter().map(|drive| drive.log().damage().len()).sum();
    let checks_seals = node.checks_seals;
    node.close();
    if json {
        print(&as_json(&report, &drive, (rows, frames), (damaged_segments, checks_seals)));
    } else {
        let rebuilt = (mode == OpenMode::Rebuild).then_some((rows, frames));
        print(&as_text(&report, &drive, (rebuilt, checks_seals)));
    }
    let is_whole = report.problems.is_empty() && damaged_segments == 0;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn as_text(
    report: &CheckReport,
    drive: &str,
    (rebuilt, checks_seals): (Option<(u64, u64)>, bool),
) -> String {
    let mut text = format!("drive {drive}\n");
    if let Some((rows, frames)) = rebuilt {
        text += &format!("rebuilt from {rows} exported rows and {frames} frames\n");
    }
    for (name, count) in report.counts() {
        text += &format!("{name:<24}{count:>14}\n");
    }
    if !checks_seals {
        text += "seals of rows were not looked at: there is no keyring (--keyring)\n";
    }
    for problem in &report.problems {
        text += &format!("problem: {problem}\n");
    }
    text += match report.problems.len() {
        0 => "everything holds\n",
        _ => "NOT everything holds\n",
    };
    text
}

fn as_json(
    report: &CheckReport,
    drive: &str,
    (rows, frames): (u64, u64),
    (damaged_segments, checks_seals): (usize, bool),
) -> String {
    let counts: serde_json::Map<String, serde_json::Value> = report
        .counts()
        .into_iter()
        .map(|(name, count)| (name.replace(' ', "_"), count.into()))
        .collect();
    let value = serde_json::json!({
        "drive": drive,
        "exported_rows": rows,
        "frames": frames,
        "damaged_segments": damaged_segments,
        "seals_checked": checks_seals,
        "counts": counts,
        "problems": report.problems,
    });
    format!("{value}\n")
}
