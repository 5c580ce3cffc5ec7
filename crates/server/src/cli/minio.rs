//! What the command line of MinIO has and ours has not: its flags, and those that stand before `server`.

use crate::config::{FLAGS, check_flag};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use std::ffi::OsString;

/// Flags of `minio server` that are no options here, as they were typed: name and value.
#[derive(Clone, Debug, Default)]
pub(super) struct MinioFlags(Vec<(&'static str, String)>);

impl MinioFlags {
    /// Says which of them have no effect, and why.
    ///
    /// # Errors
    ///
    /// One of them cannot be passed over.
    pub(super) fn check(&self) -> Result<(), crate::config::ConfigError> {
        self.0.iter().try_for_each(|(name, value)| check_flag(name, value))
    }
}

impl Args for MinioFlags {
    fn augment_args(command: Command) -> Command {
        let flag = |(name, takes_value, _): &(&'static str, bool, _)| {
            let action = if *takes_value { ArgAction::Append } else { ArgAction::SetTrue };
            Arg::new(*name).long(*name).hide(true).action(action)
        };
        command.args(FLAGS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for MinioFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (name, takes_value, _) in FLAGS {
            if !takes_value {
                self.0.extend(matches.get_flag(name).then(|| (*name, "on".to_owned())));
                continue;
            }
            let values = matches.get_many::<String>(name).into_iter().flatten();
            self.0.extend(values.map(|value| (*name, value.clone())));
        }
        Ok(())
    }
}

/// Flags that MinIO takes before the name of the command, and whether they take a value.
const BEFORE: [(&str, bool); 9] = [
    ("--config-dir", true),
    ("-C", true),
    ("--certs-dir", true),
    ("-S", true),
    ("--quiet", false),
    ("--anonymous", false),
    ("--json", false),
    ("--compat", false),
    ("--no-compat", false),
];

/// Moves flags that stand before `server` behind it; other command lines stay as they are.
pub(super) fn behind_command(typed: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    while let Some(text) = typed.get(at).and_then(|text| text.to_str()) {
        let (name, has_value) =
            text.split_once('=').map_or((text, false), |(name, _)| (name, true));
        let Some((_, takes_value)) = BEFORE.iter().find(|(known, _)| *known == name) else { break };
        at += if *takes_value && !has_value { 2 } else { 1 };
    }
    if at == 1 || typed.get(at).is_none_or(|text| text != "server") {
        return typed;
    }
    let (before, command, after) = (&typed[1..at], &typed[at..=at], &typed[at + 1..]);
    [&typed[..1], command, before, after].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &str, want: &str) {
        let typed = typed.split(' ').map(OsString::from).collect();
        let moved: Vec<String> =
            behind_command(typed).iter().map(|text| text.to_string_lossy().into_owned()).collect();
        assert_eq!(moved.join(" "), want);
    }

    #[test]
    fn flags_before_the_command_are_those_of_the_command() {
        check("minio --quiet server /d", "minio server --quiet /d");
        check(
            "minio -C /c --json server /d --address :1",
            "minio server -C /c --json /d --address :1",
        );
        check("minio --certs-dir=/c server /d", "minio server --certs-dir=/c /d");
        check("drystone server --quiet /d", "drystone server --quiet /d");
        check("drystone --quiet status", "drystone --quiet status");
        check("drystone -S server", "drystone -S server");
        check("drystone --at /d status", "drystone --at /d status");
    }
}
