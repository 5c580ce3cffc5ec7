//! `drystone server`.

use super::CommandResult;
use super::greeting::Greeting;
use crate::access_log::AccessLog;
use crate::admission::{Admission, ConnectionLimits, descriptors_in_use, raise_descriptor_limit};
use crate::config::{self, ServerConfig};
use crate::keys;
use crate::listen::{Front, serve};
use crate::node::{Node, NodeDrives, OpenMode};
use crate::ports::{BoundPorts, Ports};
use crate::rights::GatewayRights;
use crate::root_keys::{self, RootKeys};
use crate::running;
use crate::secrets;
use crate::socket;
use crate::tls::Certificates;
use drystone_admin::{About, Admin, AdminConfig, Federation, Ldap, Metrics, OpenId};
use drystone_base::{Clock, Room, SystemClock, SystemRng, hash64};
use drystone_engine::{Engine, EngineError, KeyNeed};
use drystone_identity::{
    DEFAULT_ACCOUNT, Directory, DirectoryConfig, IdentityError, RootCredentials,
};
use drystone_keyring::Keyring;
use drystone_kms::Kms;
use drystone_s3::{Domains, Gateway, GatewayConfig};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Pause between rounds of the sweep when there is nothing to do, and when there is.
const SWEEP_IDLE: Duration = Duration::from_secs(1);
const SWEEP_BUSY: Duration = Duration::from_millis(50);
/// Time between two looks for keys that are to be rotated, or to go.
const KEEP_KEYS_EVERY: Duration = Duration::from_secs(60);

pub(crate) fn run(config: &ServerConfig) -> CommandResult {
    let descriptors = raise_descriptor_limit();
    let certificates = match &config.certs_dir {
        Some(directory) => Some(Certificates::open(directory, config.budget_bytes)?),
        None => None,
    };
    let given = config::root_credentials()?;
    config::check_files(config)?;
    let bound = BoundPorts::take(config)?;
    let node = Node::open(config, OpenMode::Serve)?;
    let root_keys = root_keys::open(config, &node, given)?;
    let keyring = node.keyring.clone().ok_or("a server has a keyring")?;
    let directory = open_directory(&node, keyring.clone(), root_keys.credentials.clone());
    refuse_taken(&directory)?;
    if !node.deployment().is_read_only() {
        directory.derive_rows()?;
        node.engine.list_account_buckets()?;
    }
    let kms = keys::open_kms(config, &node, keyring);
    for file in root_keys::files_on_drives(config, &node.homes) {
        secrets::spread(&node.homes, file);
    }
    log_open(&node);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let opened = Opened { certificates, directory, kms, root_keys, descriptors };
    let result = runtime.block_on(serve_opened(config, &node, bound, opened));
    runtime.shutdown_timeout(Duration::from_secs(5));
    node.close();
    result?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// What was opened before anything is served.
struct Opened {
    certificates: Option<Certificates>,
    directory: Directory,
    kms: Kms,
    root_keys: RootKeys,
    descriptors: u64,
}

async fn serve_opened(
    config: &ServerConfig,
    node: &Node,
    bound: BoundPorts,
    opened: Opened,
) -> Result<(), Box<dyn std::error::Error>> {
    let Opened { certificates, directory, kms, root_keys, descriptors } = opened;
    let ports = bound.listen()?;
    let metrics = Arc::new(Metrics::default());
    let access_log = AccessLog::open(&config.access_log, metrics.clone())?;
    let token = metrics_token(config, root_keys.credentials.secret_key.reveal());
    let gateway = gateway_of(config, node, directory.clone(), kms.clone());
    if !node.deployment().is_read_only() {
        drystone_s3::name_principals_by_id(&node.engine, &directory).await;
    }
    let keeping = tokio::spawn(keep_keys(kms.clone(), node.engine.clone()));
    let admin = Arc::new(Admin::new(AdminConfig {
        engine: node.engine.clone(),
        directory: directory.clone(),
        kms,
        about: about(config, node),
        federation: federation(config),
        metrics: metrics.clone(),
        token,
        drives: Arc::new(drives_of(config, node)),
        rights: Arc::new(GatewayRights(gateway.clone())),
    }));
    let administering = open_sockets(node, &admin);
    let lasting_keys = count_lasting_keys(&directory)?;
    let (has_tls, access_key) = (certificates.is_some(), &*root_keys.credentials.access_key);
    Greeting { config, has_tls, access_key, lasting_keys }.write(node, &ports)?;
    root_keys.announce(config);
    let _entry = running::Entry::write(&node.homes);
    let engine = node.engine.clone();
    let sweeping = tokio::spawn(sweep(engine.clone()));
    let delivering = tokio::spawn(deliver(gateway.clone(), config.log_delivery));
    let logs = gateway.clone();
    let front = Front {
        proxies: config.proxies.clone(),
        gateway,
        admin,
        engine,
        admission: admission(config, descriptors, &metrics),
        metrics,
        access_log,
        certificates,
        shutdown_timeout: config.shutdown_timeout,
    };
    serve_until_told(front, ports).await;
    delivering.abort();
    logs.close_logs().await;
    administering.iter().chain([&keeping, &sweeping]).for_each(JoinHandle::abort);
    Ok(())
}

/// Says that the drive is open, and what its index had to take in; nothing to that where there was nothing.
fn log_open(node: &Node) {
    let (rebuilt, exported_rows, log_records) = node.engine.catalog().replayed();
    match rebuilt {
        _ if exported_rows == 0 && log_records == 0 => {}
        true => tracing::info!(
            exported_rows,
            log_records,
            "the index of the catalog was built again from the log"
        ),
        false => tracing::info!(log_records, "the index of the catalog was brought up to date"),
    }
    tracing::info!(drive = node.identity.drive_text(), start = node.identity.term, "drive is open");
}

/// How many connections there may be: the drives have opened their files by now.
fn admission(config: &ServerConfig, descriptors: u64, metrics: &Arc<Metrics>) -> Arc<Admission> {
    let settings = config.connections;
    let limits = ConnectionLimits::of_descriptors(descriptors, descriptors_in_use())
        .within_memory(config.budget_bytes, config.certs_dir.is_some())
        .with(settings.total, settings.per_source);
    limits.warn_of(settings.total, settings.per_source);
    Admission::new(limits, settings.times, config.budget_bytes, metrics.clone())
}

fn drives_of(config: &ServerConfig, node: &Node) -> NodeDrives {
    let (deployment, homes) = (node.deployment().clone(), node.homes.clone());
    let secret_files = root_keys::files_on_drives(config, &homes);
    NodeDrives { deployment, homes, secret_files, allow_root_device: config.allow_root_device }
}

fn gateway_of(config: &ServerConfig, node: &Node, directory: Directory, kms: Kms) -> Arc<Gateway> {
    let domains = Domains { s3: config.domains.clone(), website: config.website_domains.clone() };
    let gateway = GatewayConfig {
        directory,
        bucket_defaults: config.bucket_defaults,
        region: config.region.clone(),
        takes_sigv2: config.allow_sigv2,
        domains,
        put_len_max: config.put_len_max,
        kms,
        encrypts_always: config.keys.encrypts_always,
        restore_delays: config.restore_delays,
        host_id: format!("{:016x}", hash64(node.deployment_text().as_bytes())),
    };
    Gateway::new(node.engine.clone(), gateway)
}

/// A socket in the directory of each drive.
fn open_sockets(node: &Node, admin: &Arc<Admin>) -> Vec<tokio::task::JoinHandle<()>> {
    let open = |home: &PathBuf| match socket::open(home) {
        Ok(listener) => Some(tokio::spawn(socket::serve(listener, admin.clone()))),
        Err(error) => {
            tracing::warn!(home = %home.display(), %error, "there is no socket for the administration here");
            None
        }
    };
    node.homes.iter().filter_map(open).collect()
}

/// The directories of others that settings name.
fn federation(config: &ServerConfig) -> Federation {
    let openid = config.openid.iter().cloned().map(OpenId::new).collect();
    let issuers = config.openid_issuers.iter().cloned().map(OpenId::new).collect();
    Federation { openid, issuers, ldap: config.ldap.clone().map(Ldap::new) }
}

fn about(config: &ServerConfig, node: &Node) -> About {
    let (deployment, region) = (node.deployment_text(), config.region.clone());
    About { deployment, region, started_ms: SystemClock.now_ms() }
}

/// The directory of identities.
fn open_directory(node: &Node, keyring: Arc<Keyring>, root: RootCredentials) -> Directory {
    let (clock, rng) = (Arc::new(SystemClock), Arc::new(SystemRng));
    let catalog = node.engine.catalog().clone();
    Directory::new(DirectoryConfig { catalog, keyring, clock, rng, root })
}

/// Refuses root keys whose id is that of a key: it would open nothing any more, and its owner would not know.
fn refuse_taken(directory: &Directory) -> Result<(), Box<dyn std::error::Error>> {
    let id = directory.root_access_key();
    let key = match directory.key(id) {
        Ok(key) => key,
        Err(IdentityError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let owner = match key.parent.user() {
        Some(name) => format!("the user {name}"),
        None => "the owner of an account".to_owned(),
    };
    let text = format!(
        "the access key of the root keys, {id}, is the id of a key of {owner}: choose another"
    );
    Err(text.into())
}

/// There is room for a number.
struct Counted;

impl Room for Counted {
    fn take(&self, _bytes: u64) -> bool {
        true
    }
}

/// Keys of the owner that open something besides the root keys, and go on when those are changed.
fn count_lasting_keys(directory: &Directory) -> Result<usize, IdentityError> {
    let now_ms = SystemClock.now_ms();
    let mut count = 0;
    let kept = directory.keys_of::<()>(DEFAULT_ACCOUNT, None, &Counted, |key| {
        count += usize::from(key.is_enabled && key.expires_ms.is_none_or(|end| end > now_ms));
        None
    });
    kept.map(|_| count)
}

/// The bearer token of the metrics, unless they are public: a setting, or derived from the secret.
fn metrics_token(config: &ServerConfig, secret: &str) -> Option<String> {
    if config.metrics_public {
        return None;
    }
    let set = config.metrics_token.clone();
    Some(set.unwrap_or_else(|| drystone_s3::metrics_token(secret)))
}

async fn serve_until_told(front: Front, ports: Ports) {
    let front = Arc::new(front);
    let hanging_up = tokio::spawn(on_hangup(front.clone()));
    serve(front, ports, stop_signal()).await;
    hanging_up.abort();
}

/// On SIGHUP opens the access log again and reads the certificates, and goes on.
async fn on_hangup(front: Arc<Front>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP: the access log is opened again, and certificates are read");
        front.access_log.reopen();
        if let Some(certificates) = &front.certificates {
            certificates.read_again();
        }
    }
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Pause after a delivery of lines that filled their room.
const DELIVERY_PAUSE: Duration = Duration::from_secs(1);

/// Delivers the access logs of buckets, every so often and when lines fill their room.
async fn deliver(gateway: Arc<Gateway>, every: Duration) {
    loop {
        // First what an earlier process left.
        gateway.deliver_logs().await;
        let next = tokio::time::sleep(every);
        tokio::pin!(next);
        loop {
            tokio::select! {
                () = &mut next => break,
                () = gateway.logs_fill() => {
                    gateway.deliver_filling_logs().await;
                    tokio::time::sleep(DELIVERY_PAUSE).await;
                }
            }
        }
    }
}

/// Gives back what deletes released.
/// Removes keys whose waiting time is over, and rotates those that are due, until it is dropped.
async fn keep_keys(kms: Kms, engine: Engine) {
    let need = |id: &str| {
        let need = tokio::task::block_in_place(|| engine.key_need(id));
        !matches!(need, Ok(KeyNeed::None))
    };
    loop {
        match kms.run_due(need).await {
            Ok((0, 0)) => {}
            Ok((removed, rotated)) => tracing::info!(removed, rotated, "keys were kept"),
            Err(error) => tracing::warn!(%error, "keys could not be kept"),
        }
        tokio::time::sleep(KEEP_KEYS_EVERY).await;
    }
}

async fn sweep(engine: Engine) {
    let mut sweeper = engine.sweeper();
    loop {
        let pause = match engine.sweep(&mut sweeper).await {
            Ok(report) if report.has_more => SWEEP_BUSY,
            Ok(_) => SWEEP_IDLE,
            Err(EngineError::Closed) => return,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "sweep failed");
                SWEEP_IDLE
            }
        };
        tokio::time::sleep(pause).await;
    }
}
