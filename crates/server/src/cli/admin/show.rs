//! Answers of the administration, for people.

mod health;

use crate::log_text::clean;
use drystone_admin_api::{
    Answer, Drive, DriveState, DriveWork, Key, Obstacle, Progress, Refusal, SessionsEnded,
    SessionsOf, Stalled, Status, User, Verification,
};

/// Columns, as wide as they must be.
fn table(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return "none\n".to_owned();
    }
    let mut all = vec![heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>()];
    // Names are what others wrote: they must not act on the terminal.
    all.extend(rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()));
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..heads.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn state(enabled: bool) -> String {
    if enabled { "enabled" } else { "disabled" }.to_owned()
}

pub(super) fn readable(answer: &Answer) -> String {
    match answer {
        Answer::Done => "done\n".to_owned(),
        Answer::LockClock(clock) => {
            let held = if clock.was_held { "was held" } else { "was not held" };
            format!(
                "the clock of locks {held}; it was set from {} to {}, the time of this server\n",
                clock.from, clock.to
            )
        }
        Answer::SessionsEnded(ended) => sessions_ended_text(ended),
        Answer::Users(users) => users_table(users),
        Answer::Groups(groups) => table(
            &["GROUP", "STATE", "POLICIES", "MEMBERS"],
            groups
                .iter()
                .map(|g| {
                    let (policies, members) = (g.policies.join(","), g.members.join(","));
                    vec![g.name.clone(), state(g.enabled), policies, members]
                })
                .collect(),
        ),
        Answer::Policies(policies) => match policies.as_slice() {
            [policy] if policy.document.is_some() => {
                format!("{}\n", policy.document.as_deref().unwrap_or_default().trim_end())
            }
            policies => table(
                &["POLICY", "KIND", "VERSION"],
                policies
                    .iter()
                    .map(|p| {
                        let kind = if p.canned { "canned" } else { "own" };
                        vec![p.name.clone(), kind.to_owned(), format!("v{}", p.version)]
                    })
                    .collect(),
            ),
        },
        Answer::Keys(keys) => keys_table(keys),
        Answer::Keyring { text } => text.clone(),
        Answer::MfaSecret { serial, secret, uri } => format!(
            "Serial  {serial}\nSecret  {secret}\nURI     {uri}\n(not shown again; it counts after \
             `drystone mfa confirm CODE`)\n"
        ),
        Answer::Mfa(devices) => table(
            &["SERIAL", "STATE", "MADE"],
            devices
                .iter()
                .map(|d| {
                    let state = if d.confirmed { "counts" } else { "not confirmed" };
                    vec![d.serial.clone(), state.to_owned(), d.created.clone()]
                })
                .collect(),
        ),
        Answer::KmsKeys(keys) => table(
            &["KEY", "STATE", "KEPT BY", "MADE", "VERSIONS", "ALIASES", "DESCRIPTION"],
            keys.iter()
                .map(|k| {
                    let id =
                        if k.is_default { format!("{} (default)", k.id) } else { k.id.clone() };
                    let (provider, made) = (k.provider.clone(), k.created.clone());
                    let versions = if k.versions > 0 { k.versions.to_string() } else { "-".into() };
                    let (aliases, about) = (k.aliases.join(","), k.description.clone());
                    vec![id, state(k.enabled), provider, made, versions, aliases, about]
                })
                .collect(),
        ),
        Answer::Roles(roles) => table(
            &["ROLE", "ARN", "POLICIES", "BOUNDARY"],
            roles
                .iter()
                .map(|role| {
                    let boundary = role.boundary.clone().unwrap_or_default();
                    vec![role.name.clone(), role.arn.clone(), role.policies.join(","), boundary]
                })
                .collect(),
        ),
        Answer::Accounts(accounts) => table(
            &["ACCOUNT", "NAME", "CANONICAL ID"],
            accounts
                .iter()
                .map(|a| vec![a.id.clone(), a.name.clone(), a.canonical.clone()])
                .collect(),
        ),
        Answer::Changed(names) if names.is_empty() => "nothing to change\n".to_owned(),
        Answer::Changed(names) => format!("changed: {}\n", names.join(", ")),
        Answer::Secret { access_key, secret_key } => {
            format!("Access key  {access_key}\nSecret key  {secret_key}\n(not shown again)\n")
        }
        Answer::Refusals(refusals) => refusals_text(refusals),
        Answer::Drives(drives) => drives_table(drives),
        Answer::Status(status) => status_text(status),
        Answer::Verification(found) => verification_text(found),
    }
}

fn sessions_ended_text(ended: &SessionsEnded) -> String {
    let (of, is_known) = match &ended.of {
        SessionsOf::Root => ("the owner of the server".to_owned(), true),
        SessionsOf::User(name) => (format!("user {name}"), true),
        SessionsOf::Role(name) => (format!("role {name}"), true),
        SessionsOf::OpenIdName(name) => (format!("the OpenID name {name}"), false),
        SessionsOf::OpenIdUser { provider, name } => {
            (format!("the OpenID name {name} of {provider}"), false)
        }
        SessionsOf::LdapName(name) => (format!("the LDAP name {name}"), false),
    };
    let mut text = format!(
        "all sessions of {} that were made until {} are refused from now on (sessions are not stored, so \
         they cannot be counted)\n",
        clean(&of),
        ended.made_until
    );
    if !is_known {
        text += "the server does not know which names there are: check that this one is right\n";
    }
    text
}

/// Bytes in the unit that leaves one to three digits.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

fn drives_table(drives: &[Drive]) -> String {
    let row = |drive: &Drive| {
        let state = match drive.state {
            DriveState::Online => "online",
            DriveState::Filling => "filling",
            DriveState::Draining => "draining",
            DriveState::Failed => "FAILED",
            DriveState::Missing => "MISSING",
            DriveState::NotTrusted => "NOT TRUSTED",
        };
        let catalog = if drive.holds_catalog { "yes" } else { "" };
        let damage = match drive.damage_count {
            0 => String::new(),
            count => count.to_string(),
        };
        let (free, total) = match drive.total_bytes {
            0 => (String::new(), String::new()),
            total => (size(drive.free_bytes), size(total)),
        };
        let (path, zone, id) = (drive.path.clone(), drive.zone.clone(), drive.id.clone());
        vec![path, state.to_owned(), zone, free, total, catalog.to_owned(), damage, id]
    };
    let heads = ["DRIVE", "STATE", "ZONE", "FREE", "SIZE", "CATALOG", "DAMAGE", "ID"];
    table(&heads, drives.iter().map(row).collect())
}

/// A line for each access log that is not as it should be.
fn access_logs_text(status: &Status) -> String {
    let line = |log: &drystone_admin_api::AccessLog| {
        let mut text = format!("access log of {}: ", log.bucket);
        if let Some(code) = &log.failing {
            let waiting = size(log.waiting_bytes);
            text += &format!("cannot be delivered ({code}), {waiting} wait; ");
        }
        text += &format!("{} requests have no line of their own\n", log.omitted);
        if let (Some(target), Some(reason)) = (&log.target, &log.reason) {
            text += &format!("  to bucket {}: {}\n", clean(target), clean(reason));
        }
        text
    };
    status.access_logs.iter().map(line).collect()
}

/// A line for each kind of document that is stored and does not act.
fn inactive_text(status: &Status) -> String {
    let line = |inactive: &drystone_admin_api::Inactive| {
        let buckets = match inactive.buckets {
            1 => "1 bucket has".to_owned(),
            count => format!("{count} buckets have"),
        };
        format!("{buckets} {}; this version does not act on them\n", clean(&inactive.what))
    };
    status.inactive.iter().map(line).collect()
}

/// Which drives are missing, what can still be read, and what to do; nothing if all are here.
fn missing_text(status: &Status) -> String {
    let (gone, all) = (status.missing_drives, status.drives.len());
    let mut text = String::new();
    if gone > 0 {
        text += &format!("MISSING: {gone} of {all} drives\n");
    }
    let lacks = gone > 0 || status.groups_by_lacking_drives.keys().any(|lack| *lack > 0);
    for class in status.classes.iter().filter(|_| lacks && all > 1) {
        let what = match (class.is_readable, class.survives_now) {
            (false, _) => format!(
                "objects of this class in {} placement groups, if there are any, CANNOT be read now; \
                 they are answered with 503 until drives are back",
                class.unreadable_groups
            ),
            (true, 0) => {
                "all objects can be read; no redundancy is left: ONE MORE FAILURE LOSES DATA"
                    .to_owned()
            }
            (true, 1) => "all objects can be read; one more drive can be lost".to_owned(),
            (true, left) => format!("all objects can be read; {left} more drives can be lost"),
        };
        text += &format!("{} ({}): {what}\n", class.class, class.code);
    }
    let states =
        |wanted: DriveState| status.drives.iter().filter(move |drive| drive.state == wanted);
    for drive in states(DriveState::Missing) {
        text += &format!("missing {}: ", drive.path);
        text += match status.is_read_only {
            true => "bring it back, then restart the server\n",
            false => {
                "bring it back and restart the server, or put an empty one in its place: drystone drive \
                 replace\n"
            }
        };
    }
    for drive in states(DriveState::NotTrusted) {
        text += &format!(
            "not trusted {}: what it says of itself was not written by this deployment: put the right drive \
             there and restart the server, or replace it: drystone drive replace\n",
            drive.path
        );
    }
    text
}

/// What verifications and scrubs found and nothing has repaired.
fn found_text(status: &Status) -> String {
    let mut text = String::new();
    let repair = "run: drystone verify --repair";
    if status.unrepaired_by_verify > 0 {
        text += &format!(
            "DAMAGED: the last verification found {} shards damaged or missing that are not \
             repaired; {repair}\n",
            status.unrepaired_by_verify
        );
    }
    if status.unrepaired_by_scrub > 0 {
        text += &format!(
            "DAMAGED: the last scrub found {} shards damaged or missing that it could not repair; {repair}\n",
            status.unrepaired_by_scrub
        );
    }
    if status.lost_by_verify > 0 {
        text += &format!(
            "LOST: the last verification could not read {} objects as a whole; drystone verify lists them\n",
            status.lost_by_verify
        );
    }
    text
}

/// What cannot be written for lack of drives.
fn writes_text(status: &Status) -> &'static str {
    match (status.is_read_only, status.lacks_drives_to_write) {
        (true, _) => {
            "READ ONLY: too few drives were found at the start to be certain of the newest state: bring \
             those that are missing back, then restart the server\n"
        }
        (false, true) => {
            "WRITES of all but short objects are refused with 503: fewer drives work than a write needs\n"
        }
        (false, false) => "",
    }
}

fn forwarded_text(status: &Status) -> String {
    match status.forwarded_untrusted {
        0 => String::new(),
        count => format!(
            "{count} requests with X-Forwarded-For or Forwarded came from an address that is not trusted: if \
             it is your proxy, all of its clients share the limits of one address. Name its network with \
             --trusted-proxies (DRYSTONE_TRUSTED_PROXIES)\n"
        ),
    }
}

fn status_text(status: &Status) -> String {
    let many = |count: u64| match count {
        1 => "1 drive".to_owned(),
        count => format!("{count} drives"),
    };
    let whole = if status.is_whole { "everything is whole" } else { "NOT everything is whole" };
    let (code, survives, now) = (&status.code, many(status.survives), many(status.survives_now));
    let mut text = match status.drives.len() {
        1 => format!("{whole}\none copy of everything: survives no lost drive\n"),
        _ => format!("{whole}\ncode {code}: survives the loss of {survives}, now of {now}\n"),
    };
    text += &(health::text(status) + &missing_text(status) + &found_text(status));
    if status.is_lock_clock_held && !status.is_lock_clock_ahead {
        let hours = status.lock_clock_behind_s.div_ceil(3600);
        let how = match hours {
            0 => "behind".to_owned(),
            hours => format!("{hours} h ahead of"),
        };
        text += &format!(
            "locks wait: the clock is {how} the clock by which they end. Writes to buckets with a default \
             retention are refused while the two are more than a day apart. Check the time, then run: \
             drystone lock confirm-clock\n"
        );
    }
    text += &(access_logs_text(status) + &inactive_text(status) + &forwarded_text(status));
    if status.is_lock_clock_ahead {
        let hours = status.lock_clock_ahead_s.div_ceil(3600);
        text += &format!(
            "writes with a retention are refused: the clock by which locks end is {hours} h ahead of the \
             clock of the server and would not hold them. Check the time, then run: drystone lock \
             confirm-clock\n"
        );
    }
    text += writes_text(status);
    for drive in &status.drives {
        if let Some(failure) = &drive.failure {
            text += &format!(
                "FAILED {}: {failure}; the drive takes no more writes: check its device, then start the \
                 server again, or replace the drive\n",
                drive.path
            );
        }
    }
    for (lack, count) in &status.groups_by_lacking_drives {
        if *lack > 0 {
            text += &format!("{count} placement groups lack {}\n", many(*lack));
        }
    }
    if status.waiting_repairs > 0 {
        text += &format!("{} objects or parts wait for repair\n", status.waiting_repairs);
    }
    let progress = status.progress.map_or_else(|| "soon".to_owned(), |now| progress_text(&now));
    for drive in status.drives.iter().filter(|drive| drive.state == DriveState::Filling) {
        text += &format!("filling {}: {progress}\n", drive.path);
    }
    if let Some(moving) = status.moving {
        let (shards, bytes) = (moving.shards, size(moving.bytes));
        text += &format!("moving: {progress}; {shards} shards, {bytes}");
        if moving.recoded > 0 {
            text += &format!(", {} objects with another code", moving.recoded);
        }
        text += "\n";
    }
    text.extend(status.stalled.iter().map(stalled_text));
    for drive in &status.drives {
        text += &scrub_text(drive);
    }
    format!("{text}\n{}", drives_table(&status.drives))
}

/// Work on the drives that does not get on: why, since when, and what to do.
fn stalled_text(stalled: &Stalled) -> String {
    let drive = stalled.drive.as_deref().unwrap_or("a drive");
    let what = match stalled.work {
        DriveWork::GiveUp => format!("{drive} is gone and cannot be given up"),
        DriveWork::Fill => format!("filling {drive} does not get on"),
        DriveWork::Move => "moving shards to where they belong does not get on".to_owned(),
        DriveWork::Repair => "repair does not get on".to_owned(),
        DriveWork::Recruit => "no other drive can be made to hold the catalog".to_owned(),
    };
    let why = match &stalled.obstacle {
        Obstacle::TooFewDrives { needed, there } => format!(
            "the other drives are too few: {there} are left, and what is stored is spread over {needed}"
        ),
        Obstacle::NoRoom { needed_bytes, free_bytes } => format!(
            "the other drives have no room: {} must be free there, and {} are",
            size(*needed_bytes),
            size(*free_bytes)
        ),
        Obstacle::Failed { error } => {
            let last = drystone_base::Timestamp(stalled.last_ms).to_iso();
            format!("{error} (at {last}, {} times in a row)", stalled.tries)
        }
    };
    let since = drystone_base::Timestamp(stalled.since_ms).to_iso();
    let (what, why, advice) = (clean(&what), clean(&why), &stalled.advice);
    format!("STUCK since {since}: {what}: {why}\n  {advice}\n")
}

/// How far work over everything is.
fn progress_text(progress: &Progress) -> String {
    let left = progress.left_s.map(|left| format!(", about {} left", time(left)));
    format!("{} %{}", progress.percent, left.unwrap_or_default())
}

/// A time in the unit that leaves at least two of it.
fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// What the scrub of a drive does and found; nothing if none has run.
fn scrub_text(drive: &Drive) -> String {
    let scrub = &drive.scrub;
    if !scrub.running && scrub.finished_ms == 0 {
        return String::new();
    }
    let read = size(scrub.bytes);
    let mut text = match scrub.running {
        true => format!("scrub of {}: {read} so far", drive.path),
        false => {
            let ended = drystone_base::Timestamp(scrub.finished_ms).to_iso();
            format!("scrub of {}: {read}, ended {ended}", drive.path)
        }
    };
    let counts = [("damaged", scrub.damaged), ("missing elsewhere", scrub.missing)];
    for (name, count) in counts.iter().filter(|(_, count)| *count > 0) {
        text += &format!(", {count} shards {name}");
    }
    if scrub.repaired > 0 {
        text += &format!(", {} repaired", scrub.repaired);
    }
    text + "\n"
}

fn verification_text(found: &Verification) -> String {
    if found.objects == 0 && found.failed.is_none() {
        return "nothing was looked at: there is no object in what was named\n".to_owned();
    }
    let mut text = format!(
        "{} versions and parts, {} shards, {} read\n",
        found.objects,
        found.shards,
        size(found.bytes)
    );
    let counts = [
        ("missing", found.missing),
        ("damaged", found.damaged),
        ("on missing drives", found.unreachable),
        ("repaired", found.repaired),
    ];
    for (name, count) in counts.iter().filter(|(_, count)| *count > 0) {
        text += &format!("{count} shards {name}\n");
    }
    for object in &found.lost {
        text += &format!("LOST {}/{}\n", object.bucket, clean(&object.key));
    }
    if let Some(error) = &found.failed {
        text += &format!("ended early: {}\n", clean(error));
    }
    text += match (found.lost_count, found.failed.is_none()) {
        (0, true) => "every object can be read\n",
        (0, false) => "",
        _ => "NOT every object can be read\n",
    };
    text
}

fn refusals_text(refusals: &[Refusal]) -> String {
    if refusals.is_empty() {
        return "no refusal is remembered\n".to_owned();
    }
    let mut out = String::new();
    for refusal in refusals {
        let key = match refusal.access_key.as_str() {
            "" => String::new(),
            key => format!(" with key {key}"),
        };
        out.push_str(&format!(
            "{} {}\n  {}{key}\n  asked for {} on {}\n  refused: {}\n",
            refusal.time,
            refusal.request_id,
            clean(&refusal.principal),
            refusal.action,
            clean(&refusal.resource),
            refusal.reason
        ));
        if let Some(policy) = &refusal.policy {
            let statement = refusal.statement.map_or(String::new(), |s| format!(", statement {s}"));
            let sid =
                refusal.sid.as_ref().map_or(String::new(), |sid| format!(" ({})", clean(sid)));
            let policy = clean(policy);
            out.push_str(&format!("  by: {policy}{statement}{sid}\n"));
        }
    }
    out
}

fn users_table(users: &[User]) -> String {
    table(
        &["USER", "STATE", "POLICIES", "INLINE", "BOUNDARY", "GROUPS", "CREATED"],
        users
            .iter()
            .map(|user| {
                vec![
                    user.name.clone(),
                    state(user.enabled),
                    user.policies.join(","),
                    user.inline_policies.join(","),
                    user.boundary.clone().unwrap_or_default(),
                    user.groups.join(","),
                    user.created.clone(),
                ]
            })
            .collect(),
    )
}

fn keys_table(keys: &[Key]) -> String {
    table(
        &["ACCESS KEY", "USER", "STATE", "NARROWED", "EXPIRES", "DESCRIPTION"],
        keys.iter()
            .map(|key| {
                vec![
                    key.access_key.clone(),
                    key.user.clone().unwrap_or_else(|| "(owner)".to_owned()),
                    state(key.enabled),
                    if key.has_policy { "yes" } else { "no" }.to_owned(),
                    key.expires.clone().unwrap_or_else(|| "never".to_owned()),
                    key.description.clone(),
                ]
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_drive_from_being_given_up_is_said_with_figures_and_advice() {
        let text = |obstacle| {
            stalled_text(&Stalled {
                work: DriveWork::GiveUp,
                drive: Some("/data\u{1b}6".to_owned()),
                obstacle,
                advice: "do this".to_owned(),
                since_ms: 0,
                last_ms: 61_000,
                tries: 3,
            })
        };
        let full = text(Obstacle::NoRoom { needed_bytes: 140 << 30, free_bytes: 120 << 30 });
        assert!(
            full.contains("no room: 140.0 GiB must be free there, and 120.0 GiB are"),
            "{full}"
        );
        assert!(full.ends_with("\n  do this\n") && !full.contains('\u{1b}'), "{full}");
        let few = text(Obstacle::TooFewDrives { needed: 6, there: 5 });
        assert!(few.contains("too few: 5 are left") && few.contains("spread over 6"), "{few}");
        let failed = text(Obstacle::Failed { error: "no".to_owned() });
        assert!(failed.contains("no (at 1970-01-01T00:01:01"), "{failed}");
    }
}
