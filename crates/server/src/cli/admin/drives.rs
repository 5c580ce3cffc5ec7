//! `drystone drive` and `drystone verify`.

use super::{AdminOptions, CommandResult, Made, ask, show};
use clap::{Args, Subcommand};
use drystone_admin_api::{Answer, Request};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Subcommand)]
pub(crate) enum DriveCommand {
    /// List drives.
    List,
    /// Add an empty directory as another drive; its share of the data moves to it.
    Add {
        /// The empty directory, on the server.
        path: String,
        /// Zone of the drives that it fails together with.
        #[arg(long, default_value = "")]
        zone: String,
    },
    /// Move everything off a drive, then take it out.
    Drain {
        /// Path or id.
        drive: String,
        /// Stop a drain that has begun; the drive stays.
        #[arg(long)]
        cancel: bool,
    },
    /// Give up a drive that is gone: what it held is rebuilt on the others.
    Remove {
        /// Path or id.
        drive: String,
    },
    /// Replace a drive that is gone by an empty directory, and rebuild what it held.
    Replace {
        /// Path or id of the drive that is gone.
        old: String,
        /// The empty directory, on the server.
        path: String,
    },
}

impl DriveCommand {
    pub(crate) fn request(self) -> Made {
        Ok(match self {
            Self::List => Request::DriveList,
            Self::Add { path, zone } => Request::DriveAdd { path: absolute(&path)?, zone },
            Self::Drain { drive, cancel } => {
                Request::DriveDrain { drive: path_or_id(drive)?, cancel }
            }
            Self::Remove { drive } => Request::DriveRemove { drive: path_or_id(drive)? },
            Self::Replace { old, path } => {
                Request::DriveReplace { old: path_or_id(old)?, path: absolute(&path)? }
            }
        })
    }
}

/// A path that means the same to the server, whose working directory is another one.
fn absolute(path: &str) -> std::io::Result<String> {
    Ok(std::path::absolute(path)?.display().to_string())
}

fn path_or_id(text: String) -> std::io::Result<String> {
    if text.contains('/') { absolute(&text) } else { Ok(text) }
}

#[derive(Args)]
pub(crate) struct VerifyArguments {
    /// BUCKET or BUCKET/PREFIX; everything if it is left out.
    scope: Option<String>,
    /// Repair what is missing or damaged.
    #[arg(long)]
    repair: bool,
}

/// Pause between two looks at the progress.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts a verification, shows its progress, and tells what it found; fails if an object is lost.
pub(crate) fn verify(options: &AdminOptions, arguments: VerifyArguments) -> CommandResult {
    let scope =
        arguments.scope.as_deref().map(|scope| scope.split_once('/').unwrap_or((scope, "")));
    let request = Request::VerifyStart {
        bucket: scope.map(|(bucket, _)| bucket.to_owned()),
        prefix: scope.map(|(_, prefix)| prefix.to_owned()),
        repair: arguments.repair,
    };
    ask(options, &request)?;
    let mut terminal = std::io::stderr();
    loop {
        let answer = ask(options, &Request::VerifyState)?;
        let Answer::Verification(found) = &answer else {
            return Err("the server gives another answer than was asked for".into());
        };
        if terminal.is_terminal() {
            write!(terminal, "\r{} versions and parts, {} shards", found.objects, found.shards)?;
        }
        if found.running {
            std::thread::sleep(PAUSE);
            continue;
        }
        if terminal.is_terminal() {
            writeln!(terminal)?;
        }
        let is_good = found.lost_count == 0 && found.failed.is_none();
        show(options, &answer)?;
        return Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
}
