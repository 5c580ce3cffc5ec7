//! Every name that a variable or a flag may have: those that are settings of this server, and those of MinIO
//! that are not, each with what is said of it. `docs/minio-variables.md` is made from these tables.
//!
//! # Invariants
//!
//! - A name of MinIO that is in no table is named in a warning at the start, with the nearest name that is.
//! - A name whose neglect would open what was meant to be closed is refused, not warned about.

/// Names of settings, without prefix. The black-box test `test_settings.py` gives each a wrong value.
pub(super) const NAMES: &[&str] = &[
    "ACCESS_LOG",
    "ADDRESS",
    "ALLOW_ROOT_DEVICE",
    "ALLOW_SIGV2",
    "AT",
    "BENCH_SECRET_KEY",
    "BROWSER",
    "BUCKET_DEFAULTS",
    "CERTS_DIR",
    "CONFIG_ENV_FILE",
    "CONSOLE_ADDRESS",
    "DOMAIN",
    "IDENTITY_LDAP_GROUP_SEARCH_BASE_DN",
    "IDENTITY_LDAP_GROUP_SEARCH_FILTER",
    "IDENTITY_LDAP_LOOKUP_BIND_DN",
    "IDENTITY_LDAP_LOOKUP_BIND_PASSWORD",
    "IDENTITY_LDAP_SERVER_ADDR",
    "IDENTITY_LDAP_SERVER_INSECURE",
    "IDENTITY_LDAP_SERVER_STARTTLS",
    "IDENTITY_LDAP_TLS_SKIP_VERIFY",
    "IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN",
    "IDENTITY_LDAP_USER_DN_SEARCH_FILTER",
    "IDENTITY_OPENID_CLAIM_NAME",
    "IDENTITY_OPENID_CLAIM_PREFIX",
    "IDENTITY_OPENID_CLAIM_USERINFO",
    "IDENTITY_OPENID_CLIENT_ID",
    "IDENTITY_OPENID_CONFIG_URL",
    "IDENTITY_OPENID_ISSUER",
    "IDENTITY_OPENID_ROLE_POLICY",
    "IDENTITY_OPENID_USER_ID_CLAIM",
    "IDLE_TIMEOUT",
    "KEYRING",
    "KMS_AUTO_ENCRYPTION",
    "KMS_SECRET_KEY",
    "LOG_DELIVERY_SECONDS",
    "LOG_FORMAT",
    "MAX_CONNECTIONS",
    "MAX_CONNECTIONS_PER_SOURCE",
    "MEMORY_BUDGET",
    "METRICS_TOKEN",
    "OPENID_ISSUERS",
    "PROMETHEUS_AUTH_TYPE",
    "PUT_LIMIT",
    "READ_HEADER_TIMEOUT",
    "REGION",
    "REHOME_AFTER",
    "REPAIR_RATE",
    "RESTORE_DELAYS",
    "ROOT_PASSWORD",
    "ROOT_USER",
    "RUNTIME_DIR",
    "SCRUB_EVERY",
    "SCRUB_RATE",
    "SERVER_URL",
    "SHUTDOWN_TIMEOUT",
    "TRUSTED_PROXIES",
    "VAULT_MOUNT",
    "VAULT_NAMESPACE",
    "VAULT_TOKEN",
    "VAULT_URL",
    "VOLUMES",
    "WEBSITE_DOMAIN",
];

/// Settings whose values are not shown.
pub(super) const SECRETS: &[&str] = &[
    "BENCH_SECRET_KEY",
    "IDENTITY_LDAP_LOOKUP_BIND_PASSWORD",
    "KMS_SECRET_KEY",
    "METRICS_TOKEN",
    "ROOT_PASSWORD",
    "VAULT_TOKEN",
];

/// Settings that must not be empty. A variable that a script failed to fill in would count as none, and the
/// server would start with other keys than were meant. Elsewhere an empty variable counts as none.
pub(super) const NEVER_EMPTY: &[&str] = &[
    "KEYRING",
    "KMS_SECRET_KEY",
    "METRICS_TOKEN",
    "ROOT_PASSWORD",
    "ROOT_USER",
    "VAULT_TOKEN",
    "VAULT_URL",
];

/// Providers of OpenID have these, each with a suffix of its own.
pub(super) const OPENID: &str = "IDENTITY_OPENID_";

/// Names that MinIO has for a setting besides `MINIO_` and its name here: first the setting. Where several
/// are set, the first of them counts.
pub(super) const ALSO: &[(&str, &[&str])] = &[
    ("REGION", &["SITE_REGION", "REGION_NAME"]),
    ("ROOT_PASSWORD", &["SECRET_KEY"]),
    ("ROOT_USER", &["ACCESS_KEY"]),
    ("VOLUMES", &["ARGS", "ENDPOINTS"]),
];

/// What happens to a name of MinIO that is no setting here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It needs nothing done, and no word about it.
    Met(&'static str),
    /// It has no effect, and a warning says so.
    NoEffect(&'static str),
    /// The server does not start with it, unless its value is one of these: they ask for nothing.
    Refused(&'static [&'static str], &'static str),
}

const NO_EVENTS: &str = "this version does not deliver events";
const NO_AUDIT: &str = "this version sends logs to no other server; see --access-log";
const NO_CONSOLE: &str = "this version has no web console";
const NO_KES: &str =
    "this version speaks to no KES; keys are kept by the server or by Vault (--vault-url)";
const NO_LIFECYCLE: &str = "this version does not carry out lifecycle rules";
const NO_BATCH: &str = "this version has no batch jobs";
const NO_COMPRESSION: &str = "this version does not compress objects";
const NO_REPLICATION: &str = "this version does not replicate";
const NO_LOGIN: &str = "it is for the login of the web console, which this version does not have";
const PARITY: &str = "the number of drives decides how many may be lost: see drystone status";
const SCRUB: &str = "the pace of scrubs is set by --scrub-every and --scrub-rate";
const REPAIR: &str = "the pace of repair is set by --repair-rate";
const BY_KERNEL: &str = "the kernel chooses it";
const BY_MEMORY: &str = "what is held for requests is bounded by --memory-budget";
const BY_MANAGER: &str = "logs go to standard error, where the service manager keeps them";
const NO_SUBNET: &str = "it is for the services of another vendor";
const NO_PLUGIN: &str = "this version asks no plug-in who may do what: requests that it would have denied \
                         could succeed";
const OWN_TIMES: &str = "this version has no such limit";

/// Names of MinIO without `MINIO_`; one that ends in `*` stands for all that begin like it.
pub(super) const MINIO: &[(&str, Fate)] = &[
    ("API_CLUSTER_DEADLINE", Fate::NoEffect(OWN_TIMES)),
    ("API_CORS_ALLOW_ORIGIN", Fate::NoEffect("rules of buckets say which origins are allowed")),
    ("API_DELETE_CLEANUP_INTERVAL", Fate::NoEffect("deletes are swept at once")),
    ("API_DISABLE_ODIRECT", Fate::NoEffect("the server chooses how it writes")),
    ("API_GZIP_OBJECTS", Fate::NoEffect(NO_COMPRESSION)),
    ("API_LIST_QUORUM", Fate::NoEffect("lists are always exact")),
    ("API_OBJECT_MAX_VERSIONS", Fate::NoEffect("versions of an object are not limited in number")),
    ("API_ODIRECT", Fate::NoEffect("the server chooses how it writes")),
    ("API_REMOTE_TRANSPORT_DEADLINE", Fate::NoEffect(NO_REPLICATION)),
    ("API_REPLICATION_*", Fate::NoEffect(NO_REPLICATION)),
    ("API_REQUESTS_DEADLINE", Fate::NoEffect(OWN_TIMES)),
    ("API_REQUESTS_MAX", Fate::NoEffect(BY_MEMORY)),
    (
        "API_ROOT_ACCESS",
        Fate::Refused(
            &["on"],
            "this version cannot turn the root keys off: they would open everything",
        ),
    ),
    ("API_SECURE_CIPHERS", Fate::NoEffect("weak ciphers are never offered")),
    ("API_SELECT_PARQUET", Fate::NoEffect("this version has no S3 Select")),
    (
        "API_STALE_UPLOADS_*",
        Fate::NoEffect("multipart uploads stay until they are completed or aborted"),
    ),
    ("API_SYNC_EVENTS", Fate::NoEffect(NO_EVENTS)),
    ("API_TRANSITION_WORKERS", Fate::NoEffect(NO_LIFECYCLE)),
    ("AUDIT_*", Fate::NoEffect(NO_AUDIT)),
    ("BATCH_*", Fate::NoEffect(NO_BATCH)),
    ("BROWSER_*", Fate::NoEffect(NO_CONSOLE)),
    ("CALLHOME_*", Fate::NoEffect(NO_SUBNET)),
    (
        "CERT_PASSWD",
        Fate::NoEffect("keys of certificates must not be encrypted: openssl pkey decrypts them"),
    ),
    ("CI_CD", Fate::Met("drives on the root directory are taken where all of them are there")),
    ("COMPRESSION_*", Fate::NoEffect(NO_COMPRESSION)),
    ("COMPRESS_*", Fate::NoEffect(NO_COMPRESSION)),
    ("COMPRESS", Fate::NoEffect(NO_COMPRESSION)),
    (
        "CONFIG",
        Fate::Refused(
            &[],
            "this version reads no YAML: use arguments, variables, or MINIO_CONFIG_ENV_FILE",
        ),
    ),
    ("CONN_USER_TIMEOUT", Fate::NoEffect("see --idle-timeout and --read-header-timeout")),
    ("CONSOLE_DEBUG_LOGLEVEL", Fate::NoEffect(NO_CONSOLE)),
    ("CRAWLER_*", Fate::NoEffect(SCRUB)),
    ("CROSSDOMAIN_XML", Fate::NoEffect("this version serves no crossdomain.xml")),
    ("DELETE_CLEANUP_INTERVAL", Fate::NoEffect("deletes are swept at once")),
    ("DNS_CACHE_TTL", Fate::NoEffect("names are looked up by the operating system")),
    ("DNS_WEBHOOK_ENDPOINT", Fate::NoEffect("buckets are not announced by DNS")),
    ("DRIVE_*", Fate::NoEffect("reads go around a drive that is late by themselves")),
    ("DSYNC_TRACE", Fate::NoEffect("it is for the developers of MinIO")),
    ("ERASURE_SET_DRIVE_COUNT", Fate::NoEffect("all drives are one set: see drystone status")),
    ("ETCD_*", Fate::NoEffect("users are kept on the drives; none is read from etcd")),
    ("FS_OSYNC", Fate::Met("every answer waits until the drives have written")),
    ("HEAL_*", Fate::NoEffect(REPAIR)),
    ("HOTFIX", Fate::Met("an image of MinIO sets it")),
    ("IAM_OPA_*", Fate::Refused(&[], NO_PLUGIN)),
    (
        "IDENTITY_LDAP_SRV_RECORD_NAME",
        Fate::NoEffect("name the server: MINIO_IDENTITY_LDAP_SERVER_ADDR"),
    ),
    ("IDENTITY_LDAP_USERNAME_FORMAT", Fate::NoEffect("users are found by their search filter")),
    ("IDENTITY_LDAP_USER_DN_ATTRIBUTES", Fate::NoEffect("attributes of users are not kept")),
    ("IDENTITY_OPENID_CLIENT_SECRET", Fate::NoEffect(NO_LOGIN)),
    ("IDENTITY_OPENID_COMMENT", Fate::Met("it is a note")),
    ("IDENTITY_OPENID_DISPLAY_NAME", Fate::NoEffect(NO_LOGIN)),
    ("IDENTITY_OPENID_KEYCLOAK_*", Fate::NoEffect("groups are taken from claims only")),
    ("IDENTITY_OPENID_REDIRECT_*", Fate::NoEffect(NO_LOGIN)),
    ("IDENTITY_OPENID_SCOPES", Fate::NoEffect(NO_LOGIN)),
    ("IDENTITY_OPENID_USER_READABLE_CLAIM", Fate::NoEffect(NO_LOGIN)),
    ("IDENTITY_OPENID_VENDOR", Fate::NoEffect("groups are taken from claims only")),
    ("IDENTITY_PLUGIN_*", Fate::NoEffect("this version asks no plug-in who someone is")),
    ("IDENTITY_TLS_*", Fate::NoEffect("this version takes no certificates of clients")),
    ("ILM_*", Fate::NoEffect(NO_LIFECYCLE)),
    (
        "INTERFACE",
        Fate::Refused(&[], "this version binds to addresses, not to devices: see --address"),
    ),
    ("KMS_API_KEY", Fate::NoEffect(NO_KES)),
    ("KMS_ENCLAVE", Fate::NoEffect(NO_KES)),
    ("KMS_KES_*", Fate::NoEffect(NO_KES)),
    ("KMS_REPLICATE_KEYID", Fate::NoEffect(NO_REPLICATION)),
    ("KMS_SERVER", Fate::NoEffect(NO_KES)),
    ("KMS_SSE_KEY", Fate::NoEffect(NO_KES)),
    ("LAMBDA_*", Fate::NoEffect(NO_EVENTS)),
    ("LISTENERS", Fate::NoEffect(BY_KERNEL)),
    ("LOGGER_*", Fate::NoEffect(NO_AUDIT)),
    ("LOG_COMPRESS", Fate::NoEffect(BY_MANAGER)),
    ("LOG_DIR", Fate::NoEffect(BY_MANAGER)),
    ("LOG_PREFIX", Fate::NoEffect(BY_MANAGER)),
    ("LOG_QUERY_*", Fate::NoEffect(NO_CONSOLE)),
    ("LOG_SIZE", Fate::NoEffect(BY_MANAGER)),
    ("MAX_IDLE_CONNS_PER_HOST", Fate::NoEffect(NO_REPLICATION)),
    ("MEMLIMIT", Fate::NoEffect(BY_MEMORY)),
    ("NOTIFY_*", Fate::NoEffect(NO_EVENTS)),
    ("NTP_SERVER", Fate::NoEffect("the operating system sets the clock")),
    ("OPERATOR_VERSION", Fate::Met("an operator of MinIO sets it")),
    ("OPTS", Fate::Met("the unit file puts it on the command line")),
    ("PCF_TILE_VERSION", Fate::Met("an installer of MinIO sets it")),
    ("POLICY_OPA_*", Fate::Refused(&[], NO_PLUGIN)),
    ("POLICY_PLUGIN_*", Fate::Refused(&[], NO_PLUGIN)),
    ("PROMETHEUS_AUTH_TOKEN", Fate::NoEffect(NO_CONSOLE)),
    ("PROMETHEUS_EXTRA_LABELS", Fate::NoEffect(NO_CONSOLE)),
    ("PROMETHEUS_JOB_ID", Fate::NoEffect(NO_CONSOLE)),
    ("PROMETHEUS_OPEN_METRICS", Fate::NoEffect("metrics have the text form of Prometheus")),
    ("PROMETHEUS_URL", Fate::NoEffect(NO_CONSOLE)),
    ("PUBLIC_IPS", Fate::NoEffect("buckets are not announced by DNS")),
    ("RECV_BUF_SIZE", Fate::NoEffect(BY_KERNEL)),
    ("RELEASE", Fate::Met("an image of MinIO sets it")),
    ("ROOTDISK_THRESHOLD_SIZE", Fate::NoEffect("see --allow-root-device")),
    ("ROOTDRIVE_THRESHOLD_SIZE", Fate::NoEffect("see --allow-root-device")),
    ("SCANNER_*", Fate::NoEffect(SCRUB)),
    ("SEND_BUF_SIZE", Fate::NoEffect(BY_KERNEL)),
    ("SERVER_DEBUG", Fate::NoEffect("see --log-level")),
    ("SITE_NAME", Fate::NoEffect(NO_REPLICATION)),
    ("STORAGE_CLASS_*", Fate::NoEffect(PARITY)),
    ("STS_DURATION", Fate::NoEffect("a session lasts as long as is asked for, or an hour")),
    ("SUBNET_*", Fate::NoEffect(NO_SUBNET)),
    ("SYNC_BOOT", Fate::Met("one server waits for no other")),
    ("UPDATE", Fate::Met("this version never updates itself")),
    ("UPDATE_MINISIGN_PUBKEY", Fate::Met("this version never updates itself")),
    ("VSPHERE_PLUGIN_VERSION", Fate::Met("an installer of MinIO sets it")),
    (
        "WORM",
        Fate::Refused(&["off"], "this version cannot lock all objects: see Object Lock of buckets"),
    ),
];

/// Flags of `minio` without a setting here, and whether they take a value. Those with one are options.
pub(crate) const FLAGS: &[(&str, bool, Fate)] = &[
    ("anonymous", false, Fate::Met("logs hold no secrets")),
    ("compat", false, Fate::Met("S3 is answered as S3 does")),
    ("config", true, Fate::Refused(&[], "this version reads no YAML: use arguments or variables")),
    ("conn-user-timeout", true, Fate::NoEffect("see --idle-timeout and --read-header-timeout")),
    ("crossdomain-xml", true, Fate::NoEffect("this version serves no crossdomain.xml")),
    ("dns-cache-ttl", true, Fate::NoEffect("names are looked up by the operating system")),
    ("ftp", true, Fate::NoEffect("this version has no FTP")),
    ("interface", true, Fate::Refused(&[], "this version binds to addresses: see --address")),
    ("listeners", true, Fate::NoEffect(BY_KERNEL)),
    ("log-compress", false, Fate::NoEffect(BY_MANAGER)),
    ("log-dir", true, Fate::NoEffect(BY_MANAGER)),
    ("log-prefix", true, Fate::NoEffect(BY_MANAGER)),
    ("log-size", true, Fate::NoEffect(BY_MANAGER)),
    ("max-idle-conns-per-host", true, Fate::NoEffect(NO_REPLICATION)),
    ("memlimit", true, Fate::NoEffect(BY_MEMORY)),
    ("no-compat", false, Fate::Met("S3 is answered as S3 does")),
    ("recv-buf-size", true, Fate::NoEffect(BY_KERNEL)),
    ("send-buf-size", true, Fate::NoEffect(BY_KERNEL)),
    ("sftp", true, Fate::NoEffect("this version has no SFTP")),
];

/// Looks at a flag of [`FLAGS`] that was typed.
///
/// # Errors
///
/// It cannot be passed over.
pub(crate) fn check_flag(name: &str, value: &str) -> Result<(), super::ConfigError> {
    let known = FLAGS.iter().find(|(known, ..)| *known == name);
    let (_, _, fate) = known.expect("the flag is from the table");
    super::environment::check_fate(&format!("--{name}"), value, *fate)
}

/// What happens to a name of MinIO, without `MINIO_`, that is no setting.
pub(super) fn fate_of(name: &str) -> Option<Fate> {
    let is_it = |known: &str| match known.strip_suffix('*') {
        Some(beginning) => name.len() > beginning.len() && name.starts_with(beginning),
        None => name == known,
    };
    MINIO.iter().find(|(known, _)| is_it(known)).map(|(_, fate)| *fate)
}

const HEAD: &str = "# Variables and flags of MinIO

What each name that MinIO knows does here, and which settings of ours may be given as `MINIO_…` too. Made by
`drystone minio-variables`; a test compares the two. A name that is in no table is named in a warning at the
start, with the nearest one that is. What acts is explained in [settings](settings.md).

- *acts*: as in MinIO, and as the variable of ours that is named.
- *no effect*: a warning at the start says so, with the reason.
- *refused*: the server does not start with it, for what it asks for would not be done and could be missed.
- *met*: what it asks for is so anyway, or it asks for nothing; nothing is said.
";

/// The page on variables and flags of MinIO, in Markdown.
pub(crate) fn page() -> String {
    let mut page = format!("{HEAD}\n| variable | here | |\n| --- | --- | --- |\n");
    let mut rows: Vec<(String, String)> = Vec::new();
    for name in NAMES {
        let secret = if SECRETS.contains(name) { "; its value is not shown" } else { "" };
        rows.push((format!("MINIO_{name}"), format!("acts | as `DRYSTONE_{name}`{secret}")));
    }
    for (name, others) in ALSO {
        rows.extend(
            others
                .iter()
                .map(|other| (format!("MINIO_{other}"), format!("acts | as `DRYSTONE_{name}`"))),
        );
    }
    rows.extend(MINIO.iter().map(|(name, fate)| (format!("MINIO_{name}"), fate.describe())));
    rows.sort();
    let row = |(name, text): &(String, String)| format!("| `{name}` | {text} |\n");
    page.extend(rows.iter().map(row));
    page += "\n| flag | here | |\n| --- | --- | --- |\n";
    let flags = FLAGS.iter().map(|(name, _, fate)| (format!("--{name}"), fate.describe()));
    page.extend(flags.map(|flag| row(&flag)));
    page
}

impl Fate {
    fn describe(self) -> String {
        match self {
            Self::Met(why) => format!("met | {why}"),
            Self::NoEffect(why) => format!("no effect | {why}"),
            Self::Refused(&[], why) => format!("refused | {why}"),
            Self::Refused(harmless, why) => {
                format!("refused | unless it is {}: {why}", harmless.join(" or "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_on_names_of_minio_is_that_of_the_tables() {
        let kept = include_str!("../../../../docs/minio-variables.md");
        let is_it = kept == page();
        assert!(is_it, "run: drystone minio-variables > docs/minio-variables.md");
    }
}
