//! `drystone drive` and `drystone verify`.

use super::{AdminOptions, CommandResult, Made, ask, show};
use clap::{Args, Subcommand};
use drystone_admin_api::{Answer, Request, Verification};
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
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { Ok(text) } else { absolute(&text) }
}

#[derive(Args)]
pub(crate) struct VerifyArguments {
    /// BUCKET or BUCKET/PREFIX; everything if it is left out. A bucket that does not exist is an error.
    scope: Option<String>,
    /// Repair what is missing or damaged.
    #[arg(long)]
    repair: bool,
}

/// Pause between two looks at the progress.
const PAUSE: Duration = Duration::from_millis(200);

/// Something is missing or damaged and was not repaired; all objects can be read.
const EXIT_DAMAGED: u8 = 3;
/// Objects cannot be read as a whole.
const EXIT_LOST: u8 = 4;

/// The code that a verification ends with.
fn exit_code(found: &Verification) -> ExitCode {
    let lacking = (found.missing + found.damaged).saturating_sub(found.repaired);
    match (&found.failed, found.lost_count, lacking + found.unreachable) {
        (Some(_), ..) => ExitCode::FAILURE,
        (None, 1.., _) => EXIT_LOST.into(),
        (None, 0, 1..) => EXIT_DAMAGED.into(),
        (None, 0, 0) => ExitCode::SUCCESS,
    }
}

/// Starts a verification, shows its progress, and tells what it found, also by its exit code.
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
        let code = exit_code(found);
        show(options, &answer)?;
        return Ok(code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Verification);

    #[test]
    fn the_exit_code_says_what_was_found_and_not_repaired() {
        let code = |change: Change| {
            let mut found = Verification::default();
            change(&mut found);
            exit_code(&found)
        };
        let cases: [(Change, u8); 8] = [
            (|_| {}, 0),
            (|found| found.damaged = 2, EXIT_DAMAGED),
            (|found| found.missing = 2, EXIT_DAMAGED),
            (|found| found.unreachable = 1, EXIT_DAMAGED),
            (|found| (found.damaged, found.missing, found.repaired) = (1, 2, 3), 0),
            (|found| (found.damaged, found.missing, found.repaired) = (1, 2, 2), EXIT_DAMAGED),
            (|found| (found.damaged, found.lost_count) = (1, 1), EXIT_LOST),
            (|found| found.failed = Some("the drive is gone".to_owned()), 1),
        ];
        for (number, (change, expected)) in cases.into_iter().enumerate() {
            assert_eq!(code(change), ExitCode::from(expected), "{number}");
        }
    }
}
