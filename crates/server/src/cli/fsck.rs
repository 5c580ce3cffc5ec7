//! `drystone fsck` and `drystone rebuild`.

use super::{CommandResult, print, print_json};
use crate::config::ServerConfig;
use crate::log_text::clean;
use crate::node::{Node, OpenMode};
use crate::places::lack_of;
use drystone_cluster::PoolDrive;
use drystone_engine::CheckReport;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) fn run(config: &ServerConfig, json: bool, mode: OpenMode) -> CommandResult {
    let node = Node::open(config, mode)?;
    let (_, rows, frames) = node.engine.catalog().replayed();
    let mut report = node.engine.check()?;
    let mut problem = |text: String| report.problems.push(text);
    drystone_identity::check_derived_rows(node.engine.catalog(), &mut problem)?;
    let drive = node.identity.drive_text();
    let drives = node.engine.pool().online();
    let damaged_segments = drives.iter().map(|drive| drive.log().damage().len()).sum();
    let pool = node.engine.pool().drives();
    let missing = pool.iter().filter(|drive| drive.drive.is_none());
    let is_refused = |drive: &&PoolDrive| node.deployment().is_refused(drive);
    let paths = |drives: Vec<&PoolDrive>| drives.iter().map(|drive| drive.path.clone()).collect();
    let (refused, missing): (Vec<_>, Vec<_>) = missing.partition(is_refused);
    let online = pool.iter().filter(|drive| drive.drive.is_some());
    let checked = online.map(|drive| (drive.path.clone(), drive.info.id.to_string())).collect();
    let homes = &node.homes;
    let scope = Scope {
        unused: unused(config, homes, node.deployment_text()),
        drive,
        checked,
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
    let holds = report.problems.is_empty() && damaged_segments == 0;
    Ok(if holds && scope.is_everything() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was looked at, and what was not.
const WHAT_IS_READ: &str = "rows were read, and drives were asked which shards they have; the bytes of \
     objects were not read: `drystone verify` reads them, while the server runs\n";

/// What cannot be checked without the keyring.
const NOT_CHECKED: &str = "NOT CHECKED: who wrote the rows, and what the drives say of themselves (their \
     integrity seals), because there is no keyring; name its file with --keyring\n";

/// Directories that were given and are no drives of the deployment, with the reason.
fn unused(config: &ServerConfig, homes: &[PathBuf], deployment: String) -> Vec<(String, String)> {
    let place = |path: &Path| path.canonicalize().ok();
    let is_open = |path: &Path| homes.iter().any(|home| place(home) == place(path));
    let given = config.directories.iter().map(|given| given.path.as_path());
    let reason = |path: &Path| match lack_of(path) {
        Some(lack) => lack.to_owned(),
        None => format!("it is a drive, but not one that deployment {deployment} can use"),
    };
    given
        .filter(|path| lack_of(path).is_some() || !is_open(path))
        .map(|path| (path.display().to_string(), reason(path)))
        .collect()
}

/// What was looked at, beside the rows.
struct Scope {
    /// Directories that were given and not looked at, with the reason.
    unused: Vec<(String, String)>,
    /// Id of the drive that the catalog was read from.
    drive: String,
    /// Where the drives are that were looked at, with their ids.
    checked: Vec<(String, String)>,
    /// Where the drives that are not there were last.
    missing: Vec<String>,
    /// Where drives are that are not trusted.
    refused: Vec<String>,
    checks_seals: bool,
    damaged_segments: usize,
}

impl Scope {
    /// Whether all drives of the deployment are here, and nothing was left out.
    const fn is_everything(&self) -> bool {
        self.is_all_here() && self.is_all_checked()
    }

    const fn is_all_here(&self) -> bool {
        self.missing.is_empty() && self.refused.is_empty()
    }

    const fn is_all_checked(&self) -> bool {
        self.checks_seals && self.unused.is_empty()
    }
}

fn as_text(report: &CheckReport, scope: &Scope, rebuilt: Option<(u64, u64)>) -> String {
    let mut text = format!("drive {}\n", scope.drive);
    for (path, id) in &scope.checked {
        text += &format!("checked {path} (drive {id})\n");
    }
    if let Some((rows, frames)) = rebuilt {
        text += &format!("rebuilt from {rows} exported rows and {frames} frames\n");
    }
    for (name, count) in report.counts() {
        text += &format!("{name:<24}{count:>14}\n");
    }
    text += WHAT_IS_READ;
    for path in &scope.missing {
        text += &format!("MISSING {path}: this drive is not here; its shards count as lacking\n");
    }
    for path in &scope.refused {
        text += &format!(
            "NOT TRUSTED {path}: its file super was not written by this deployment; its shards count as \
             lacking\n"
        );
    }
    for (path, reason) in &scope.unused {
        text += &format!("NOT CHECKED {path}: {reason}\n");
    }
    if !scope.checks_seals {
        text += NOT_CHECKED;
    }
    if scope.damaged_segments > 0 {
        text += &format!(
            "DAMAGED: {} stretches of logs do not verify; a server repairs what it can\n",
            scope.damaged_segments
        );
    }
    for problem in &report.problems {
        text += &format!("problem: {}\n", clean(problem));
    }
    let holds = report.problems.is_empty() && scope.damaged_segments == 0;
    text += match (holds, scope.is_all_here(), scope.is_all_checked()) {
        (true, true, true) => "everything holds\n",
        (true, false, true) => "everything holds on the drives that are here\n",
        (true, _, false) => "everything that was checked holds\n",
        (false, ..) => "NOT everything holds\n",
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
        "checked_drives": scope.checked.iter().map(|(path, id)| {
            serde_json::json!({ "directory": path, "drive": id })
        }).collect::<Vec<_>>(),
        "object_bytes_read": false,
        "missing_drives": scope.missing,
        "drives_not_trusted": scope.refused,
        "not_checked": scope.unused.iter().map(|(path, reason)| {
            serde_json::json!({ "directory": path, "reason": reason })
        }).collect::<Vec<_>>(),
        "exported_rows": rows,
        "frames": frames,
        "damaged_segments": scope.damaged_segments,
        "seals_checked": scope.checks_seals,
        "counts": counts,
        "problems": report.problems,
    });
    format!("{value}\n")
}
