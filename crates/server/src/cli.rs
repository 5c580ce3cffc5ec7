//! The command line: what was typed becomes what was meant.

mod admin;
mod connections;
mod durability;
mod fsck;
mod greeting;
mod meant;
mod minio;
mod salvage;
mod server;

use crate::bench::BenchArguments;
use crate::config::{self, LogFormat};
use crate::log_text::{escaped, visible};
use crate::node::OpenMode;
use crate::version;
use admin::{
    AccountCommand, AdminOptions, BucketCommand, DriveCommand, GroupCommand, KeyCommand,
    KmsCommand, LockCommand, MfaCommand, PolicyCommand, RoleCommand, SessionCommand, UserCommand,
    VerifyArguments,
};
use clap::{Args, Parser, Subcommand};
use connections::ConnectionArguments;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

/// Drystone, an S3-compatible object store.
#[derive(Parser)]
#[command(name = "drystone", version = version::TEXT, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server on one or several drives (directories).
    Server(Box<ServerArguments>),
    /// Check drives while no server runs on them: every row and every count, and that drives know of every
    /// shard. Bytes of objects are not read: `drystone verify` does that, while the server runs. Exit code:
    /// 0 if everything holds, 1 if not, or if something could not be checked: a directory, a drive that is
    /// missing, or the seals for want of a keyring.
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
    /// Read everything that is stored, or a part of it, and report what is missing or damaged. Exit code: 0
    /// if all of it is whole or was repaired, 1 if that could not be found out, 3 if shards are missing,
    /// damaged or on missing drives and objects can still be read, 4 if objects are lost.
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
    /// List the variables of MinIO, and what each does here, as a page in Markdown.
    MinioVariables,
    /// Print the version, and the commit that the program was built from.
    Version {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct ServerArguments {
    /// Directories of the drives, such as /data or /data{1...6} (three dots, in quotes); with ZONE= before
    /// those that fail together. If none of them is a drive yet, those that are empty or missing become
    /// drives. Also DRYSTONE_VOLUMES, MINIO_VOLUMES.
    #[arg(value_name = "DIRECTORY")]
    directories: Vec<String>,
    /// Address of the S3 port, HOST:PORT or :PORT [default: :9000]. Also DRYSTONE_ADDRESS, MINIO_ADDRESS.
    #[arg(long)]
    address: Option<String>,
    /// Address of the console port [default: port 9001 where --address is]. Also DRYSTONE_CONSOLE_ADDRESS,
    /// MINIO_CONSOLE_ADDRESS; MINIO_BROWSER=off for none.
    #[arg(long)]
    console_address: Option<String>,
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
    /// Directory with public.crt and private.key; turns TLS on, on both ports [default: ~/.minio/certs, if it
    /// holds them]. Also DRYSTONE_CERTS_DIR.
    #[arg(long, short = 'S')]
    certs_dir: Option<PathBuf>,
    /// Directory of MinIO's configuration: certificates are in `certs` below it.
    #[arg(long, short = 'C', hide = true)]
    config_dir: Option<PathBuf>,
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
    /// Issuers of OpenID tokens whom the server asks for their keys where an account has a provider for
    /// them (CreateOpenIDConnectProvider): URLs, separated by commas. It asks no other. Also
    /// DRYSTONE_OPENID_ISSUERS.
    #[arg(long)]
    openid_issuers: Option<String>,
    #[command(flatten)]
    connections: ConnectionArguments,
    /// Time for requests in progress to end when the server is told to stop; new ones are answered 503
    /// meanwhile [default: 30s]. Also DRYSTONE_SHUTDOWN_TIMEOUT.
    #[arg(long)]
    shutdown_timeout: Option<String>,
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
    /// Bytes a second that a scrub reads at most, from 64KiB on, or 0 for no limit [default: 32MiB]. Also
    /// DRYSTONE_SCRUB_RATE.
    #[arg(long)]
    scrub_rate: Option<String>,
    /// Bytes a second of repair, and of moves when drives change, at most, from 64KiB on [default: 0, what
    /// clients leave]. Also DRYSTONE_REPAIR_RATE.
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
    /// [default: DIRECTORY/keyring]; better on another device, where the root credentials are kept beside
    /// it. Also DRYSTONE_KEYRING.
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
    /// Where the access log goes: off, stdout, or a file [default: off]. Also DRYSTONE_ACCESS_LOG.
    #[arg(long)]
    access_log: Option<String>,
    /// Logs as JSON lines. Also DRYSTONE_LOG_FORMAT=json (or text).
    #[arg(long)]
    json: bool,
    /// Least level of logs: off, error, warn, info, debug or trace.
    #[arg(long, default_value = "info")]
    log_level: LevelFilter,
    /// Say nothing at the start, and log warnings and errors only.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    minio: minio::MinioFlags,
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
    let typed = minio::behind_command(std::env::args_os().collect());
    let result = match Arguments::parse_from(typed).command {
        Command::Server(arguments) => start_server(&arguments),
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
            admin::explain(&options, request_id.unwrap_or_default())
        }
        Command::Status { options } => admin::run(&options, &drystone_admin_api::Request::Status),
        Command::Drive { command, options } => administer(&options, command.request()),
        Command::Verify { command, options } => admin::verify(&options, command),
        Command::Durability(arguments) => durability::run(&arguments),
        Command::Bench(arguments) => crate::bench::run(&arguments),
        Command::MinioVariables => {
            print(&config::page());
            Ok(ExitCode::SUCCESS)
        }
        Command::Version { json } => {
            match json {
                true => print_json(&version::json()),
                false => print(&format!("drystone {}\n", version::TEXT)),
            }
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

fn start_server(arguments: &ServerArguments) -> CommandResult {
    let format = match arguments.json {
        // From the first line, also where that line says what is wrong with a setting.
        true => LogFormat::Json,
        false => config::read_variables().and_then(|()| meant::log_format())?,
    };
    let quietest = if arguments.quiet { LevelFilter::WARN } else { LevelFilter::TRACE };
    crate::telemetry::start(format, arguments.log_level.min(quietest));
    let started = run_server(arguments, format);
    match (started, format) {
        (Err(error), LogFormat::Json) => {
            tracing::error!(error = &*error, "the server cannot start or go on");
            Ok(ExitCode::FAILURE)
        }
        (started, _) => started,
    }
}

fn run_server(arguments: &ServerArguments, format: LogFormat) -> CommandResult {
    config::read_variables()?;
    let command = ServerArguments::augment_args(clap::Command::new("server"));
    let options: Vec<String> =
        command.get_arguments().filter_map(|a| Some(a.get_long()?.to_owned())).collect();
    config::check_names(&options)?;
    arguments.minio.check()?;
    server::run(&meant::server(arguments, format)?)
}

fn rebuild(arguments: &RebuildArguments) -> CommandResult {
    match arguments.salvage {
        false => inspect(&arguments.inspect, OpenMode::Rebuild),
        true => salvage::run(&meant::inspection(&arguments.inspect)?, arguments.inspect.json),
    }
}

fn inspect(arguments: &InspectArguments, mode: OpenMode) -> CommandResult {
    fsck::run(&meant::inspection(arguments)?, arguments.json, mode)
}

/// Prints text for people to standard output: nothing in it acts on the terminal, no matter who wrote it.
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
