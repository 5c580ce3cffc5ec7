//! What the admin API answers.

use crate::{Health, SessionsOf};
use serde::{Deserialize, Serialize};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Name.
    pub name: String,
    /// Whether its keys open anything.
    pub enabled: bool,
    /// Names of attached policies.
    pub policies: Vec<String>,
    /// Names of inline policies.
    pub inline_policies: Vec<String>,
    /// Name of the policy that is the permissions boundary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<String>,
    /// Names of groups.
    pub groups: Vec<String>,
    /// ISO 8601.
    pub created: String,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Whether its policies count.
    pub enabled: bool,
    /// Names of attached policies.
    pub policies: Vec<String>,
    /// Names of users.
    pub members: Vec<String>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Name.
    pub name: String,
    /// Whether it comes with the server.
    pub canned: bool,
    /// Number of the version that counts.
    pub version: u32,
    /// The document; left out in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Access key id.
    pub access_key: String,
    /// Name of the user; none for the owner of the account.
    pub user: Option<String>,
    /// Whether it opens anything.
    pub enabled: bool,
    /// Whether a policy narrows it.
    pub has_policy: bool,
    /// ISO 8601.
    pub created: String,
    /// ISO 8601.
    pub expires: Option<String>,
    /// For people.
    pub description: String,
}

/// A key that data keys of objects are sealed under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KmsKey {
    /// Id.
    pub id: String,
    /// Resource name.
    pub arn: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// Who keeps it: `local`, `static` or `vault`.
    pub provider: String,
    /// Whether it seals and opens.
    pub enabled: bool,
    /// Whether it is used where none is named.
    pub is_default: bool,
    /// How often it was made; 0 where its provider knows.
    pub versions: u32,
    /// ISO 8601.
    pub created: String,
    /// For people.
    pub description: String,
}

/// A second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mfa {
    /// Serial number.
    pub serial: String,
    /// Whether its codes count.
    pub confirmed: bool,
    /// ISO 8601.
    pub created: String,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Name.
    pub name: String,
    /// Resource name.
    pub arn: String,
    /// Names of attached policies.
    pub policies: Vec<String>,
    /// Name of the policy that is the permissions boundary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<String>,
    /// Who may assume it.
    pub trust: String,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// 12 digits.
    pub id: String,
    /// 64 hexadecimal digits.
    pub canonical: String,
    /// For people.
    pub name: String,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Id of the request.
    pub request_id: String,
    /// ISO 8601.
    pub time: String,
    /// Who asked.
    pub principal: String,
    /// With which key; empty if there was none.
    pub access_key: String,
    /// For which right.
    pub action: String,
    /// On what.
    pub resource: String,
    /// In a sentence.
    pub reason: String,
    /// Policy with the statement that decided.
    pub policy: Option<String>,
    /// `Sid` of the statement.
    pub sid: Option<String>,
    /// Index of the statement, from 0.
    pub statement: Option<usize>,
}

/// State of a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriveState {
    /// It takes and gives.
    Online,
    /// It was put in and lacks shards.
    Filling,
    /// It is being emptied.
    Draining,
    /// A write or flush failed.
    Failed,
    /// It was not found.
    Missing,
    /// It was found, and what it says of itself was not written by this deployment.
    NotTrusted,
}

/// A drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drive {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Where it is, or was.
    pub path: String,
    /// What fails together with it; empty if it was not said.
    pub zone: String,
    /// Its state.
    pub state: DriveState,
    /// Whether it holds the catalog.
    pub holds_catalog: bool,
    /// Bytes of the filesystem; 0 where it is not known.
    pub total_bytes: u64,
    /// Free bytes.
    pub free_bytes: u64,
    /// It has no room for new objects.
    #[serde(default)]
    pub is_full: bool,
    /// Stretches of its log that do not verify.
    pub damage_count: u64,
    /// The write or flush that failed, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Its scrub.
    pub scrub: Scrub,
}

/// How far the scrub of a drive is, and what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {
    /// A pass runs.
    pub running: bool,
    /// When a pass ended last, in milliseconds since 1970; 0 for never.
    pub finished_ms: u64,
    /// Bytes read by the pass that runs, or by the last one.
    pub bytes: u64,
    /// Shards that it found damaged.
    pub damaged: u64,
    /// Shards that it found missing on other drives.
    pub missing: u64,
    /// Shards given back.
    pub repaired: u64,
}

/// What the state of the drives means for objects of a storage class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassStatus {
    /// Storage class; STANDARD stands for every class that is not named otherwise.
    pub class: String,
    /// Code of new objects.
    pub code: String,
    /// No object of the class needs a drive that is missing.
    pub is_readable: bool,
    /// Placement groups in which objects cannot be read, but for those that have what they need on the
    /// drives that are left.
    pub unreadable_groups: u64,
    /// Drives that can be lost now before objects cannot be read.
    pub survives_now: u64,
}

/// Documents of buckets that are stored though nothing acts on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inactive {
    /// What the buckets have, in words.
    pub what: String,
    /// How many buckets.
    pub buckets: u64,
}

/// State of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What the server can do now: what its health paths, metrics and MinIO's admin API say too.
    #[serde(default)]
    pub health: Health,
    /// Code of new objects.
    pub code: String,
    /// Drives that it can lose when everything is whole.
    pub survives: u64,
    /// Drives that it can lose now.
    pub survives_now: u64,
    /// Every shard is where it should be, as far as is known.
    pub is_whole: bool,
    /// Drives that are missing, failed or not trusted.
    #[serde(default)]
    pub missing_drives: u64,
    /// What that means, by storage class.
    #[serde(default)]
    pub classes: Vec<ClassStatus>,
    /// Shards that the last verification found damaged or missing and that were not repaired since.
    #[serde(default)]
    pub unrepaired_by_verify: u64,
    /// Objects that the last verification could not read as a whole.
    #[serde(default)]
    pub lost_by_verify: u64,
    /// Shards that the last passes of scrubs found damaged or missing and could not repair.
    #[serde(default)]
    pub unrepaired_by_scrub: u64,
    /// Nothing can be changed.
    pub is_read_only: bool,
    /// Long objects cannot be written now: fewer drives work than a write needs.
    #[serde(default)]
    pub lacks_drives_to_write: bool,
    /// Locks wait for someone to confirm that the clock is right.
    #[serde(default)]
    pub is_lock_clock_held: bool,
    /// How far the clock of locks is behind the wall clock, in seconds.
    #[serde(default)]
    pub lock_clock_behind_s: u64,
    /// Access logs of buckets that cannot be delivered, or lack lines.
    #[serde(default)]
    pub access_logs: Vec<AccessLog>,
    /// What buckets have that this version stores and does not act on.
    #[serde(default)]
    pub inactive: Vec<Inactive>,
    /// Requests since the start that a proxy forwarded which is not trusted: its clients share the limits of
    /// one address.
    #[serde(default)]
    pub forwarded_untrusted: u64,
    /// The clock of locks is so far ahead of the wall clock that writes with a retention are refused.
    #[serde(default)]
    pub is_lock_clock_ahead: bool,
    /// How far the clock of locks is ahead of the wall clock, in seconds.
    #[serde(default)]
    pub lock_clock_ahead_s: u64,
    /// Placement groups, by the number of their drives that are missing or lack shards.
    pub groups_by_lacking_drives: std::collections::BTreeMap<u64, u64>,
    /// Objects and parts that lack shards since they were written.
    pub waiting_repairs: u64,
    /// What was moved so far, if shards are being moved.
    pub moving: Option<Moving>,
    /// How far filling a drive, or moving, is.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// Work on the drives that does not get on, and what to do.
    #[serde(default)]
    pub stalled: Vec<Stalled>,
    /// Drives.
    pub drives: Vec<Drive>,
}

/// Work on the drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriveWork {
    /// Doing without a drive that is gone.
    GiveUp,
    /// Making the shards of a drive that was put in.
    Fill,
    /// Moving shards to where they belong.
    Move,
    /// Giving back single shards.
    Repair,
    /// Letting another drive hold the catalog.
    Recruit,
}

/// Why work on the drives does not get on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obstacle {
    /// What is stored is spread over more drives than would be left.
    TooFewDrives {
        /// Drives that are needed.
        needed: u64,
        /// Drives that would be left.
        there: u64,
    },
    /// What a drive had does not fit on the others.
    NoRoom {
        /// Bytes that must be free on the others.
        needed_bytes: u64,
        /// Bytes that are free there.
        free_bytes: u64,
    },
    /// It failed.
    Failed {
        /// The last error.
        error: String,
    },
}

/// Work on the drives that does not get on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stalled {
    /// Which.
    pub work: DriveWork,
    /// Path of the drive that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive: Option<String>,
    /// Why, at the last try.
    pub obstacle: Obstacle,
    /// What to do.
    pub advice: String,
    /// When it did not get on first, in milliseconds since 1970.
    pub since_ms: u64,
    /// When it was tried last.
    pub last_ms: u64,
    /// Tries since then.
    pub tries: u64,
}

/// The access log of a bucket that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    /// The bucket that is logged.
    pub bucket: String,
    /// Bytes of lines that wait for delivery.
    pub waiting_bytes: u64,
    /// Error code of the last delivery, if it failed.
    pub failing: Option<String>,
    /// The bucket that it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What was wrong, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests that were counted and have no line of their own, since the start.
    pub omitted: u64,
}

/// Shards on their way to other drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// Versions and parts looked at.
    pub objects: u64,
    /// Shards moved.
    pub shards: u64,
    /// Objects and parts that got another code.
    pub recoded: u64,
    /// Bytes of both.
    pub bytes: u64,
}

/// How far work over everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Percent of it that is done.
    pub percent: u64,
    /// Versions and parts looked at, in all of its walks.
    pub objects: u64,
    /// Versions and parts of all of its walks, about.
    pub of_objects: u64,
    /// Seconds that it will about take, if it goes on as it does.
    pub left_s: Option<u64>,
}

/// An object that cannot be read as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostObject {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub key: String,
}

/// A verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// It has not ended.
    pub running: bool,
    /// Why it ended early.
    pub failed: Option<String>,
    /// Versions and parts looked at.
    pub objects: u64,
    /// Shards read.
    pub shards: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Shards that were missing.
    pub missing: u64,
    /// Shards that did not verify.
    pub damaged: u64,
    /// Shards whose drives are missing.
    pub unreachable: u64,
    /// Shards given back.
    pub repaired: u64,
    /// Objects that cannot be read as a whole.
    pub lost_count: u64,
    /// The first thousand of them.
    pub lost: Vec<LostObject>,
}

/// What the confirmation of the clock of locks changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockClock {
    /// What the clock of locks said before, in ISO 8601.
    pub from: String,
    /// What it says now.
    pub to: String,
    /// Whether locks waited for the confirmation, or were refused.
    pub was_held: bool,
}

/// Whose sessions were ended. They are not stored, so that they cannot be counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsEnded {
    /// Whose.
    pub of: SessionsOf,
    /// Those made until then are refused, in ISO 8601.
    pub made_until: String,
}

/// What an administrator gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The clock of locks was confirmed.
    LockClock(LockClock),
    /// Sessions were ended.
    SessionsEnded(SessionsEnded),
    /// Users.
    Users(Vec<User>),
    /// Groups.
    Groups(Vec<Group>),
    /// Policies.
    Policies(Vec<Policy>),
    /// Keys.
    Keys(Vec<Key>),
    /// Roles.
    Roles(Vec<Role>),
    /// Accounts.
    Accounts(Vec<Account>),
    /// Names of policies that were attached or detached; others were so before.
    Changed(Vec<String>),
    /// A new pair of keys.
    Secret {
        /// Access key id.
        access_key: String,
        /// Secret key.
        secret_key: String,
    },
    /// Refusals, oldest first.
    Refusals(Vec<Refusal>),
    /// Keys that data keys of objects are sealed under.
    KmsKeys(Vec<KmsKey>),
    /// A new second factor.
    MfaSecret {
        /// Serial number.
        serial: String,
        /// In base32, for an authenticator.
        secret: String,
        /// The same as an address, for one that reads a picture of it.
        uri: String,
    },
    /// Second factors.
    Mfa(Vec<Mfa>),
    /// The keyring.
    Keyring {
        /// Its file.
        text: String,
    },
    /// Drives.
    Drives(Vec<Drive>),
    /// State of the store.
    Status(Box<Status>),
    /// A verification.
    Verification(Verification),
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs: `not-found`, `exists`, `in-use`, `limit`, `invalid`, `denied`, `unavailable`, `failed`.
    pub code: FailureCode,
    /// For people.
    pub message: String,
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// There is no such thing.
    NotFound,
    /// There is one already.
    Exists,
    /// It is in use.
    InUse,
    /// There are too many.
    Limit,
    /// The request is not valid.
    Invalid,
    /// The caller may not.
    Denied,
    /// The store takes no changes at present.
    Unavailable,
    /// The server failed.
    Failed,
}
