//! Settings of a server: what was typed and what the environment says, put together.

use super::{InspectArguments, ServerArguments};
use crate::config::{
    self, AccessLogTarget, ConfigError, Given, LogFormat, ServerConfig, argument_or_setting,
};
use crate::connection::ConnectionSettings;
use crate::keys::KeySettings;
use crate::places::{self, GivenDirectory};
use crate::proxy::TrustedProxies;
use crate::tls;
use drystone_base::hex;
use drystone_s3::{BucketDefaults, RestoreDelays};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_secs(3600);

/// What an argument, or else its setting, says; `default` if there is neither.
pub(super) fn or<T>(
    argument: Option<&str>,
    name: &str,
    default: T,
    parse: impl Fn(&Given) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    argument_or_setting(argument, name)?.as_ref().map_or(Ok(default), parse)
}

/// Puts arguments and environment together; arguments win.
pub(super) fn server(
    arguments: &ServerArguments,
    log_format: LogFormat,
) -> Result<ServerConfig, Box<dyn Error>> {
    let domains = or(arguments.domain.as_deref(), "DOMAIN", Vec::new(), config::parse_domains)?;
    let websites = below("s3-website", &domains);
    let every = arguments.log_delivery_seconds.as_deref();
    let delays = (arguments.restore_delays.as_deref(), RestoreDelays::default());
    let rehome = (arguments.rehome_after.as_deref(), Some(24 * HOUR));
    let scrub = (arguments.scrub_every.as_deref(), Some(14 * 24 * HOUR));
    let segment_len = arguments.segment_size.as_deref();
    let segment_len = segment_len.map(|value| Given::option("--segment-size", value));
    let drive = arguments.expect_drive.as_deref();
    let drive = drive.map(|value| config::parse_id(&Given::option("--expect-drive", value)));
    let proxies = (arguments.trusted_proxies.as_deref(), TrustedProxies::default());
    let defaults = (arguments.bucket_defaults.as_deref(), BucketDefaults::Compat);
    let scrub_rate = arguments.scrub_rate.as_deref();
    let (repair_rate, put_limit) =
        (arguments.repair_rate.as_deref(), arguments.put_limit.as_deref());
    let (budget, log) = (arguments.memory_budget.as_deref(), arguments.access_log.as_deref());
    let region = arguments.region.as_deref();
    let shutdown = arguments.shutdown_timeout.as_deref();
    let address = argument_or_setting(arguments.address.as_deref(), "ADDRESS")?;
    let address = address.unwrap_or_else(|| Given::option("--address", ":9000"));
    Ok(ServerConfig {
        directories: directories(&arguments.directories)?,
        console_address: console_address(arguments, &address)?,
        address,
        server_url: or(None, "SERVER_URL", None, |given| config::parse_url(given).map(Some))?,
        shutdown_timeout: or(shutdown, "SHUTDOWN_TIMEOUT", HOUR / 120, config::parse_limit)?,
        log_format,
        is_quiet: arguments.quiet,
        region: or(region, "REGION", "us-east-1".to_owned(), config::parse_region)?,
        website_domains: or(
            arguments.website_domain.as_deref(),
            "WEBSITE_DOMAIN",
            websites,
            config::parse_domains,
        )?,
        domains,
        certs_dir: certs_dir(arguments)?,
        budget_bytes: or(budget, "MEMORY_BUDGET", 128 << 20, config::parse_budget)?,
        segment_len: segment_len.as_ref().map(config::parse_segment_len).transpose()?,
        allow_root_device: arguments.allow_root_device || config::switch("ALLOW_ROOT_DEVICE")?,
        allow_sigv2: arguments.allow_sigv2 || config::switch("ALLOW_SIGV2")?,
        expected_drive: drive.transpose()?.map(|id| hex(&id)),
        access_log: or(log, "ACCESS_LOG", AccessLogTarget::Off, config::parse_access_log)?,
        proxies: or(proxies.0, "TRUSTED_PROXIES", proxies.1, parse_proxies)?,
        connections: arguments.connections.meant()?,
        openid: config::openid()?,
        openid_issuers: or(
            arguments.openid_issuers.as_deref(),
            "OPENID_ISSUERS",
            Vec::new(),
            config::parse_issuers,
        )?,
        ldap: config::ldap()?,
        log_delivery: or(every, "LOG_DELIVERY_SECONDS", HOUR / 12, config::parse_seconds)?,
        bucket_defaults: or(defaults.0, "BUCKET_DEFAULTS", defaults.1, parse_defaults)?,
        restore_delays: or(delays.0, "RESTORE_DELAYS", delays.1, config::parse_restore_delays)?,
        rehome_after: or(rehome.0, "REHOME_AFTER", rehome.1, config::parse_interval)?,
        scrub_every: or(scrub.0, "SCRUB_EVERY", scrub.1, config::parse_interval)?,
        scrub_rate: or(scrub_rate, "SCRUB_RATE", 32 << 20, config::parse_rate)?,
        repair_rate: or(repair_rate, "REPAIR_RATE", 0, config::parse_rate)?,
        put_len_max: or(put_limit, "PUT_LIMIT", 5 * GIB, config::parse_put_len)?,
        keys: KeySettings::new(
            keyring(arguments.keyring.as_deref())?,
            arguments.accept_lost_keyring,
            arguments.adopt_unsealed.as_deref(),
            arguments.vault_url.as_deref(),
        )?,
        metrics_public: or(None, "PROMETHEUS_AUTH_TYPE", false, |given| {
            config::parse_word(given, &[("public", true), ("jwt", false)])
        })?,
        metrics_token: config::metrics_token()?,
    })
}

/// The directories of the command line, or else those of `VOLUMES`: both must name the same.
fn directories(typed: &[String]) -> Result<Vec<GivenDirectory>, Box<dyn Error>> {
    let Some(set) = config::setting("VOLUMES")? else {
        if typed.is_empty() {
            return Err("name the directories of the drives, such as: drystone server /data{1...4}; or set \
                        DRYSTONE_VOLUMES or MINIO_VOLUMES"
                .into());
        }
        note_pools(typed);
        return Ok(places::parse(typed)?);
    };
    let words: Vec<String> = set.value.split_whitespace().map(str::to_owned).collect();
    let directories = places::parse(&words)?;
    if !typed.is_empty() && places::parse(typed)? != directories {
        let (variable, by_variable, by_argument) = (set.name, words.join(" "), typed.join(" "));
        return Err(ConfigError::Volumes { variable, by_variable, by_argument }.into());
    }
    note_pools(&words);
    Ok(directories)
}

/// Several arguments with ranges are several pools to MinIO: it would place objects otherwise.
fn note_pools(arguments: &[String]) {
    let ranges = arguments.iter().filter(|argument| argument.contains('{')).count();
    if ranges > 1 {
        tracing::warn!(
            arguments = arguments.join(" "),
            "these are several pools to MinIO; here all of their drives are one pool, over which each object \
             is spread"
        );
    }
}

/// Where the console listens: port 9001 of the address of S3, unless it is said; nowhere if it is off.
fn console_address(
    arguments: &ServerArguments,
    address: &Given,
) -> Result<Option<Given>, ConfigError> {
    if let Some(browser) = config::setting("BROWSER")?
        && !config::parse_switch(&browser)?
    {
        return Ok(None);
    }
    let typed = arguments.console_address.as_deref();
    let given = argument_or_setting(typed, "CONSOLE_ADDRESS")?;
    let host = address.value.rsplit_once(':').map_or("", |(host, _)| host);
    let beside = || Given::option("--console-address", &format!("{host}:9001"));
    Ok(Some(given.unwrap_or_else(beside)))
}

/// Where the certificates are: where it is said, or else where MinIO looks for them, if they are there.
fn certs_dir(arguments: &ServerArguments) -> Result<Option<PathBuf>, ConfigError> {
    if let Some(directory) = &arguments.certs_dir {
        return Ok(Some(directory.clone()));
    }
    if let Some(given) = config::setting("CERTS_DIR")? {
        return Ok(Some(PathBuf::from(given.value)));
    }
    let of_home = || config::home().map(|home| home.join(".minio"));
    let directory = arguments.config_dir.clone().or_else(of_home).map(|minio| minio.join("certs"));
    Ok(directory.filter(|directory| tls::has_certificates(directory)))
}

/// The form of log lines, where it is not said by `--json`.
pub(super) fn log_format() -> Result<LogFormat, ConfigError> {
    let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    or(None, "LOG_FORMAT", LogFormat::Text, |given| config::parse_word(given, &words))
}

fn keyring(argument: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
    let Some(argument) = argument else {
        return Ok(config::setting("KEYRING")?.map(|given| PathBuf::from(given.value)));
    };
    match argument.as_os_str().is_empty() {
        true => Err(ConfigError::Empty { name: "--keyring".to_owned() }),
        false => Ok(Some(argument.to_owned())),
    }
}

fn parse_proxies(given: &Given) -> Result<TrustedProxies, ConfigError> {
    TrustedProxies::parse(&given.value)
        .map_err(|_| given.refused("networks such as 10.0.0.0/8, separated by commas"))
}

fn parse_defaults(given: &Given) -> Result<BucketDefaults, ConfigError> {
    BucketDefaults::parse(&given.value).ok_or_else(|| given.refused("compat, aws or open"))
}

fn below(label: &str, domains: &[String]) -> Vec<String> {
    domains.iter().map(|domain| format!("{label}.{domain}")).collect()
}

/// Settings for looking at drives.
pub(super) fn inspection(arguments: &InspectArguments) -> Result<ServerConfig, Box<dyn Error>> {
    Ok(ServerConfig {
        directories: places::parse(&arguments.directories)?,
        address: Given::option("--address", ""),
        console_address: None,
        server_url: None,
        shutdown_timeout: Duration::ZERO,
        log_format: LogFormat::Text,
        is_quiet: true,
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
        openid_issuers: Vec::new(),
        ldap: None,
        log_delivery: Duration::ZERO,
        bucket_defaults: BucketDefaults::Compat,
        restore_delays: RestoreDelays::default(),
        rehome_after: None,
        scrub_every: None,
        scrub_rate: 0,
        repair_rate: 0,
        put_len_max: 0,
        keys: KeySettings {
            keyring: keyring(arguments.keyring.as_deref())?,
            ..KeySettings::default()
        },
        metrics_public: false,
        metrics_token: None,
    })
}
