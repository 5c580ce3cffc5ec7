//! Settings of a server: what was typed and what the environment says, put together.

use super::{InspectArguments, ServerArguments};
use crate::config::{
    self, AccessLogTarget, ConfigError, Given, LogFormat, ServerConfig, argument_or_setting,
};
use crate::connection::ConnectionSettings;
use crate::keys::KeySettings;
use crate::places;
use crate::proxy::TrustedProxies;
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
pub(super) fn server(arguments: &ServerArguments) -> Result<ServerConfig, Box<dyn Error>> {
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
    Ok(ServerConfig {
        directories: places::parse(&arguments.directories)?,
        address: arguments.address.clone(),
        console_address: arguments.console_address.clone(),
        region: or(region, "REGION", "us-east-1".to_owned(), config::parse_region)?,
        website_domains: or(
            arguments.website_domain.as_deref(),
            "WEBSITE_DOMAIN",
            websites,
            config::parse_domains,
        )?,
        domains,
        certs_dir: arguments.certs_dir.clone(),
        budget_bytes: or(budget, "MEMORY_BUDGET", 128 << 20, config::parse_budget)?,
        segment_len: segment_len.as_ref().map(config::parse_segment_len).transpose()?,
        allow_root_device: arguments.allow_root_device || config::switch("ALLOW_ROOT_DEVICE")?,
        allow_sigv2: arguments.allow_sigv2 || config::switch("ALLOW_SIGV2")?,
        expected_drive: drive.transpose()?.map(|id| hex(&id)),
        access_log: or(log, "ACCESS_LOG", AccessLogTarget::Stdout, config::parse_access_log)?,
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

/// The form of log lines.
pub(super) fn log_format(json: bool) -> Result<LogFormat, ConfigError> {
    let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let set = or(None, "LOG_FORMAT", LogFormat::Text, |given| config::parse_word(given, &words))?;
    Ok(if json { LogFormat::Json } else { set })
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
