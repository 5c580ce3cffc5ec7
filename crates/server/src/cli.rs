//! The command line: what was typed becomes what was meant.

mod admin;
mod connections;
mod durability;
mod fsck;
mod salvage;
mod server;

use crate::bench::BenchArguments;
use crate::config::{self, AccessLogTarget, ConfigError, LogFormat, ServerConfig};
use crate::connection::ConnectionSettings;
use crate::keys::KeySettings;
use crate::log_text::{escaped, visible};
use crate::node::OpenMode;
use crate::places;
use crate::proxy::TrustedProxies;
use admin::{
    AccountCommand, AdminOptions, BucketCommand, DriveCommand, GroupCommand, KeyCommand,
    KmsCommand, LockCommand, MfaCommand, PolicyCommand, RoleCommand, SessionCommand, UserCommand,
    VerifyArguments,
};
use clap::{Args, Parser, Subcommand};
use connections::ConnectionArguments;
use drystone_s3::{BucketDefaults, RestoreDelays};
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Drystone, an S3-compatible object store.
#[derive(Parser)]
#[command(name = "drystone", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server on one or several drives (directories).
    Server(Box<ServerArguments>),
    /// Check drives while no server runs on them: every row, and that every shard is there.
    Fsck(InspectArguments),
    /// Rebuild the indexes of drives from their logs, while no server runs on them.
    Rebuild(RebuildArguments),
    /// Administer users of the running server.
    User {
        #[command(subcommand)]
        command: UserCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Administer groups.
    Group {
        #[command(subcommand)]
        command: GroupCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Administer policies, and attach them.
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Administer access keys.
    Key {
        #[command(subcommand)]
        command: KeyCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Administer roles.
    Role {
        #[command(subcommand)]
        command: RoleCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// End sessions (temporary keys) before they expire.
    Session {
        #[command(subcommand)]
        command: SessionCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Administer accounts.
    Account {
        #[command(subcommand)]
        command: AccountCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Administer the keys that objects are encrypted under.
    Kms {
        #[command(subcommand)]
        command: KmsCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Administer the second factor of the owner, for MFA Delete and for sessions.
    Mfa {
        #[command(subcommand)]
        command: MfaCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Settings of buckets that S3 has no request for.
    Bucket {
        #[command(subcommand)]
        command: BucketCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Confirm the clock by which object locks end.
    Lock {
        #[command(subcommand)]
        command: LockCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Show the state of the store: what is missing, and which losses it survives now.
    Status {
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Add, drain, remove and replace drives.
    Drive {
        #[command(subcommand)]
        command: DriveCommand,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Read everything that is stored, or a part of it, and report what is missing or damaged.
    Verify {
        #[command(flatten)]
        command: VerifyArguments,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Estimate how likely a loss is, by drives and code.
    Durability(durability::DurabilityArguments),
    /// Explain why requests were refused: the one with this id, or all that are remembered.
    Explain {
        /// From the answer's x-amz-request-id.
        request_id: Option<String>,
        #[command(flatten)]
        options: AdminOptions,
    },
    /// Measure an S3 endpoint with signed requests over the wire.
    Bench(BenchArguments),
    /// Print the version.
    Version,
}

#[derive(Args)]
struct ServerArguments {
    /// Directories of the drives, such as /data or /data{1...6} (three dots, in quotes); with ZONE= before
    /// those that fail together. If none of them is a drive yet, those that are empty or missing become
    /// drives.
    #[arg(required = true, value_name = "DIRECTORY")]
    directories: Vec<String>,
    /// Address of the S3 port.
    #[arg(long, default_value = ":9000")]
    address: String,
    /// Address of the console port.
    #[arg(long, default_value = ":9001")]
    console_address: String,
    /// Region of the server [default: us-east-1]. Also DRYSTONE_REGION, MINIO_REGION.
    #[arg(long)]
    region: Option<String>,
    /// Domains under which hosts name buckets, separated by commas. Also DRYSTONE_DOMAIN, MINIO_DOMAIN.
    #[arg(long)]
    domain: Option<String>,
    /// Domains under which hosts name websites, separated by commas [default: s3-website below each
    /// --domain]. Also DRYSTONE_WEBSITE_DOMAIN.
    #[arg(long)]
    website_domain: Option<String>,
    /// Directory with public.crt and private.key; turns TLS on.
    #[arg(long)]
    certs_dir: Option<PathBuf>,
    /// Memory for bodies, decoders and work in the background, shared by caller; at least 4MiB [default:
    /// 128MiB]. Also DRYSTONE_MEMORY_BUDGET.
    #[arg(long)]
    memory_budget: Option<String>,
    /// Length of segments if the drive is made now [default: a 1,024th of the filesystem].
    #[arg(long)]
    segment_size: Option<String>,
    /// Refuse to start unless one of the directories holds the drive with this id; no drive is made then.
    #[arg(long)]
    expect_drive: Option<String>,
    /// Let directories on the device of the root directory become drives where others are on devices of their
    /// own. Also DRYSTONE_ALLOW_ROOT_DEVICE=on.
    #[arg(long)]
    allow_root_device: bool,
    /// Networks of proxies whose X-Forwarded-For and X-Forwarded-Proto count, separated by commas
    /// [default: none]. A request whose X-Forwarded-For names no address of a client is refused with 400.
    /// Also DRYSTONE_TRUSTED_PROXIES.
    #[arg(long)]
    trusted_proxies: Option<String>,
    #[command(flatten)]
    connections: ConnectionArguments,
    /// Seconds between two deliveries of buckets' access logs, 1 to 86400 [default: 300]. Also
    /// DRYSTONE_LOG_DELIVERY_SECONDS.
    #[arg(long)]
    log_delivery_seconds: Option<String>,
    /// How long restores of archived objects take, by tier, such as expedited=1m,standard=3h,bulk=5h
    /// [default: no time]. Also DRYSTONE_RESTORE_DELAYS.
    #[arg(long)]
    restore_delays: Option<String>,
    /// Time after which a drive that is gone is given up and what it held is rebuilt on the others, if they
    /// are enough and have room, such as 24h, or off [default: 24h]. Also DRYSTONE_REHOME_AFTER.
    #[arg(long)]
    rehome_after: Option<String>,
    /// Time from the end of one scrub of a drive to the next, such as 14d, or off [default: 14d]. Also
    /// DRYSTONE_SCRUB_EVERY.
    #[arg(long)]
    scrub_every: Option<String>,
    /// Bytes a second that a scrub reads at most [default: 32MiB]. Also DRYSTONE_SCRUB_RATE.
    #[arg(long)]
    scrub_rate: Option<String>,
    /// Bytes a second of repair, and of moves when drives change, at most [default: what clients leave]. Also
    /// DRYSTONE_REPAIR_RATE.
    #[arg(long)]
    repair_rate: Option<String>,
    /// Public access to buckets without a setting of their own: compat, aws or open [default: compat]. Also
    /// DRYSTONE_BUCKET_DEFAULTS.
    #[arg(long)]
    bucket_defaults: Option<String>,
    /// Accept presigned URLs and forms of signature version 2, for old clients. Also DRYSTONE_ALLOW_SIGV2=on.
    #[arg(long)]
    allow_sigv2: bool,
    /// File of the keyring that encrypts stored secrets and keys; made if it is missing on the first start
    /// [default: DIRECTORY/keyring]; better on another device. Also DRYSTONE_KEYRING.
    #[arg(long)]
    keyring: Option<PathBuf>,
    /// Bytes of a single PUT at most, such as 50GiB [default: 5GiB, as in S3]. Also DRYSTONE_PUT_LIMIT.
    #[arg(long)]
    put_limit: Option<String>,
    /// Start although the keyring lacks keys that something is encrypted under: that is lost then.
    #[arg(long)]
    accept_lost_keyring: bool,
    /// Take the rows of this deployment as they are although they have no integrity seals, under a keyring
    /// that knows another deployment: once, for a store of an earlier version.
    #[arg(long, value_name = "DEPLOYMENT")]
    adopt_unsealed: Option<String>,
    /// Vault (or OpenBao) whose transit engine keeps new keys of SSE-KMS; its token is
    /// DRYSTONE_VAULT_TOKEN. Also DRYSTONE_VAULT_URL.
    #[arg(long)]
    vault_url: Option<String>,
    /// Where the access log goes: off, stdout, or a file [default: stdout]. Also DRYSTONE_ACCESS_LOG.
    #[arg(long)]
    access_log: Option<String>,
    /// Logs as JSON lines. Also DRYSTONE_LOG_FORMAT=json.
    #[arg(long)]
    json: bool,
    /// Least level of logs: off, error, warn, info, debug or trace.
    #[arg(long, default_value = "info")]
    log_level: tracing::level_filters::LevelFilter,
}

#[derive(Args)]
struct InspectArguments {
    /// Directories of the drives, as the server is given them.
    #[arg(required = true, value_name = "DIRECTORY")]
    directories: Vec<String>,
    /// File of the keyring, if it is not on the drives: without it seals of rows are not looked at. Also
    /// DRYSTONE_KEYRING.
    #[arg(long)]
    keyring: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct RebuildArguments {
    #[command(flatten)]
    inspect: InspectArguments,
    /// The catalog is damaged or gone on all drives that held it: make it of what is left anywhere, and
    /// objects of their manifests. What was deleted or changed last may come back.
    #[arg(long)]
    salvage: bool,
}

/// Runs the command; 0 if it succeeded, 1 if it failed, 2 if it was not understood.
pub(crate) fn run() -> ExitCode {
    // The index makes files of its own; none of them is for other users of the machine.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let result = match Arguments::parse().command {
        Command::Server(arguments) => start_server(*arguments),
        Command::Fsck(arguments) => inspect(&arguments, OpenMode::Inspect),
        Command::Rebuild(arguments) => rebuild(&arguments),
        Command::User { command, options } => administer(&options, command.request()),
        Command::Group { command, options } => administer(&options, command.request()),
        Command::Policy { command, options } => administer(&options, command.request()),
        Command::Key { command, options } => administer(&options, command.request()),
        Command::Role { command, options } => administer(&options, command.request()),
        Command::Session { command, options } => administer(&options, command.request()),
        Command::Account { command, options } => administer(&options, command.request()),
        Command::Lock { command, options } => administer(&options, command.request()),
        Command::Mfa { command, options } => administer(&options, command.request()),
        Command::Bucket { command, options } => administer(&options, command.request()),
        Command::Kms { command, options } => administer(&options, command.request()),
        Command::Explain { request_id, options } => {
            let request_id = request_id.unwrap_or_default();
            admin::run(&options, &drystone_admin_api::Request::Explain { request_id })
        }
        Command::Status { options } => admin::run(&options, &drystone_admin_api::Request::Status),
        Command::Drive { command, options } => administer(&options, command.request()),
        Command::Verify { command, options } => admin::verify(&options, command),
        Command::Durability(arguments) => durability::run(&arguments),
        Command::Bench(arguments) => crate::bench::run(&arguments),
        Command::Version => {
            print(&format!("drystone {}\n", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        report(&*error);
        ExitCode::FAILURE
    })
}

pub(crate) type CommandResult = Result<ExitCode, Box<dyn Error>>;

fn administer(
    options: &AdminOptions,
    request: Result<drystone_admin_api::Request, Box<dyn Error>>,
) -> CommandResult {
    admin::run(options, &request?)
}

fn start_server(arguments: ServerArguments) -> CommandResult {
    let json = arguments.json || config::setting("LOG_FORMAT")?.is_some_and(|f| f == "json");
    let format = if json { LogFormat::Json } else { LogFormat::Text };
    crate::telemetry::start(format, arguments.log_level);
    server::run(&meant(arguments)?)
}

/// Puts arguments and environment together; arguments win.
fn meant(arguments: ServerArguments) -> Result<ServerConfig, Box<dyn Error>> {
    let or_setting = |value: Option<String>, name: &str| match value {
        Some(value) => Ok(Some(value)),
        None => config::setting(name),
    };
    let region = or_setting(arguments.region, "REGION")?;
    let domain = or_setting(arguments.domain, "DOMAIN")?.unwrap_or_default();
    let website = or_setting(arguments.website_domain, "WEBSITE_DOMAIN")?;
    let budget = or_setting(arguments.memory_budget, "MEMORY_BUDGET")?;
    let defaults = or_setting(arguments.bucket_defaults, "BUCKET_DEFAULTS")?;
    let proxies = or_setting(arguments.trusted_proxies, "TRUSTED_PROXIES")?;
    let delivery = or_setting(arguments.log_delivery_seconds, "LOG_DELIVERY_SECONDS")?;
    let restore_delays = or_setting(arguments.restore_delays, "RESTORE_DELAYS")?;
    let rehome_after = or_setting(arguments.rehome_after, "REHOME_AFTER")?;
    let scrub_every = or_setting(arguments.scrub_every, "SCRUB_EVERY")?;
    let scrub_rate = or_setting(arguments.scrub_rate, "SCRUB_RATE")?;
    let repair_rate = or_setting(arguments.repair_rate, "REPAIR_RATE")?;
    let keyring = or_setting(arguments.keyring.map(|p| p.display().to_string()), "KEYRING")?;
    let put_limit = or_setting(arguments.put_limit, "PUT_LIMIT")?;
    let vault_url = or_setting(arguments.vault_url, "VAULT_URL")?;
    let access_log = or_setting(arguments.access_log, "ACCESS_LOG")?;
    let public = config::setting("PROMETHEUS_AUTH_TYPE")?.is_some_and(|kind| kind == "public");
    Ok(ServerConfig {
        directories: places::parse(&arguments.directories)?,
        address: arguments.address,
        console_address: arguments.console_address,
        region: region.unwrap_or_else(|| "us-east-1".to_owned()),
        website_domains: match website {
            Some(text) => config::domains(&text),
            None => below("s3-website", &config::domains(&domain)),
        },
        domains: config::domains(&domain),
        certs_dir: arguments.certs_dir,
        budget_bytes: config::parse_budget(budget.as_deref().unwrap_or("128MiB"))?,
        segment_len: arguments
            .segment_size
            .as_deref()
            .map(config::parse_segment_len)
            .transpose()?,
        allow_root_device: or_on(arguments.allow_root_device, "ALLOW_ROOT_DEVICE")?,
        allow_sigv2: or_on(arguments.allow_sigv2, "ALLOW_SIGV2")?,
        expected_drive: arguments.expect_drive,
        access_log: config::parse_access_log(access_log.as_deref().unwrap_or("stdout")),
        proxies: parse_proxies(proxies)?,
        connections: arguments.connections.meant()?,
        openid: config::openid()?,
        ldap: config::ldap()?,
        log_delivery: parse_seconds(delivery)?,
        bucket_defaults: parse_defaults(defaults)?,
        restore_delays: config::parse_restore_delays(&restore_delays.unwrap_or_default())?,
        rehome_after: config::parse_interval(
            "rehome delay",
            rehome_after.as_deref().unwrap_or("24h"),
        )?,
        scrub_every: config::parse_interval(
            "scrub interval",
            scrub_every.as_deref().unwrap_or("14d"),
        )?,
        scrub_rate: config::parse_size("scrub rate", scrub_rate.as_deref().unwrap_or("32MiB"))?,
        repair_rate: config::parse_size("repair rate", repair_rate.as_deref().unwrap_or("0"))?,
        put_len_max: config::parse_put_len(put_limit.as_deref())?,
        keys: KeySettings::new(
            keyring.map(PathBuf::from),
            arguments.accept_lost_keyring,
            arguments.adopt_unsealed.as_deref(),
            vault_url,
        )?,
        metrics_public: public,
    })
}

/// A switch of the command line, or a setting that is `on`.
fn or_on(given: bool, name: &str) -> Result<bool, ConfigError> {
    Ok(given || config::setting(name)?.is_some_and(|value| config::is_on(&value)))
}

fn parse_proxies(text: Option<String>) -> Result<TrustedProxies, ConfigError> {
    TrustedProxies::parse(&text.unwrap_or_default()).map_err(|value| {
        let (name, allowed) =
            ("trusted proxies", "networks such as 10.0.0.0/8, separated by commas");
        ConfigError::Value { name, value, allowed }
    })
}

fn parse_seconds(text: Option<String>) -> Result<Duration, ConfigError> {
    let value = text.unwrap_or_else(|| "300".to_owned());
    match value.parse::<u64>() {
        Ok(seconds) if (1..=86_400).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => {
            let (name, allowed) = ("log delivery seconds", "1 to 86400");
            Err(ConfigError::Value { name, value, allowed })
        }
    }
}

fn below(label: &str, domains: &[String]) -> Vec<String> {
    domains.iter().map(|domain| format!("{label}.{domain}")).collect()
}

fn parse_defaults(text: Option<String>) -> Result<BucketDefaults, ConfigError> {
    let Some(value) = text else { return Ok(BucketDefaults::Compat) };
    let (name, allowed) = ("bucket defaults", "compat, aws, open");
    BucketDefaults::parse(&value).ok_or(ConfigError::Value { name, value, allowed })
}

fn rebuild(arguments: &RebuildArguments) -> CommandResult {
    match arguments.salvage {
        false => inspect(&arguments.inspect, OpenMode::Rebuild),
        true => salvage::run(&inspected(&arguments.inspect)?, arguments.inspect.json),
    }
}

fn inspect(arguments: &InspectArguments, mode: OpenMode) -> CommandResult {
    fsck::run(&inspected(arguments)?, arguments.json, mode)
}

/// Settings for looking at drives.
fn inspected(arguments: &InspectArguments) -> Result<ServerConfig, Box<dyn Error>> {
    let setting = config::setting("KEYRING")?.map(PathBuf::from);
    let keyring = arguments.keyring.clone().or(setting);
    Ok(ServerConfig {
        directories: places::parse(&arguments.directories)?,
        address: String::new(),
        console_address: String::new(),
        region: String::new(),
        domains: Vec::new(),
        website_domains: Vec::new(),
        certs_dir: None,
        budget_bytes: 16 << 20,
        segment_len: None,
        allow_root_device: false,
        allow_sigv2: false,
        expected_drive: None,
        access_log: AccessLogTarget::Off,
        proxies: TrustedProxies::default(),
        connections: ConnectionSettings::default(),
        openid: Vec::new(),
        ldap: None,
        log_delivery: Duration::ZERO,
        bucket_defaults: BucketDefaults::Compat,
        restore_delays: RestoreDelays::default(),
        rehome_after: None,
        scrub_every: None,
        scrub_rate: 0,
        repair_rate: 0,
        put_len_max: 0,
        keys: KeySettings { keyring, ..KeySettings::default() },
        metrics_public: false,
    })
}

/// Prints text for people to standard output: nothing in it acts on the terminal, whoever wrote it.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(visible(text).as_bytes());
}

/// Prints a document for programs to standard output. It may be read by people too.
pub(crate) fn print_json(text: &str) {
    let _ = std::io::stdout().write_all(escaped(text).as_bytes());
}

/// Prints an error with its causes.
fn report(error: &dyn Error) {
    let text = format!("error: {}\n", drystone_base::say(error));
    let _ = std::io::stderr().write_all(visible(&text).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
