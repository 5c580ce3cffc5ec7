//! What a server says when it is ready: addresses to click, where its drives are, and what they survive.

use crate::config::{LogFormat, ServerConfig};
use crate::mounts;
use crate::node::Node;
use crate::ports::Ports;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

/// What is said beside what the node knows.
pub(super) struct Greeting<'a> {
    pub(super) config: &'a ServerConfig,
    pub(super) has_tls: bool,
    pub(super) access_key: &'a str,
    /// Keys of the owner besides the root keys.
    pub(super) lasting_keys: usize,
}

impl Greeting<'_> {
    /// Writes it to standard error: lines for people, or one line of JSON in the log.
    pub(super) fn write(&self, node: &Node, ports: &Ports) -> io::Result<()> {
        if self.config.is_quiet {
            return Ok(());
        }
        let (s3, console) = ports.addresses()?;
        let scheme = if self.has_tls { "https" } else { "http" };
        let s3: Vec<String> = match &self.config.server_url {
            Some(url) => vec![url.clone()],
            None => reachable(s3).iter().map(|at| format!("{scheme}://{at}")).collect(),
        };
        let console = console.map(reachable).and_then(|all| all.first().copied());
        let console = console.map(|at| format!("{scheme}://{at}"));
        if self.config.log_format == LogFormat::Json {
            let version = crate::version::TEXT;
            let drives = node.engine.pool().drives();
            let drives: Vec<&str> = drives.iter().map(|drive| drive.path.as_str()).collect();
            let (s3, drives) = (s3.join(" "), drives.join(" "));
            tracing::info!(s3, console, drives, version, "the server is ready");
            return Ok(());
        }
        let console = console.unwrap_or_else(|| "none".to_owned());
        let text = format!(
            "Drystone {}\n{}  S3          {}\n  Console     {console}\n{}  Client      mc alias set drystone \
             {} {}\n",
            crate::version::TEXT,
            describe_drives(node),
            s3.join("  "),
            describe_lasting_keys(self.lasting_keys),
            s3.first().map_or("", String::as_str),
            self.access_key,
        );
        io::stderr().write_all(text.as_bytes())
    }
}

/// Addresses that a person can use: of a port on all interfaces, this machine itself and the address that it
/// has for others.
fn reachable(listening: SocketAddr) -> Vec<SocketAddr> {
    if !listening.ip().is_unspecified() {
        return vec![listening];
    }
    let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let all = [Some(own), address_for_others()].into_iter().flatten();
    all.map(|ip| SocketAddr::new(ip, listening.port())).collect()
}

/// The address that packets to other machines would have. None is sent: the network is that of examples.
fn address_for_others() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

fn describe_lasting_keys(count: usize) -> String {
    let keys = match count {
        0 => return String::new(),
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    };
    format!("  Owner       {keys} besides the root keys (see `drystone key list`)\n")
}

/// Where the drives are, and what they survive.
fn describe_drives(node: &Node) -> String {
    let pool = node.engine.pool();
    let drives = pool.drives();
    if pool.is_single() {
        let path = node.homes[0].display();
        return format!("  Drive       {path}  (one copy: survives no lost drive)\n");
    }
    let shape = pool.shape();
    let missing: Vec<&str> =
        drives.iter().filter(|d| d.drive.is_none()).map(|d| d.path.as_str()).collect();
    let here: Vec<&str> =
        drives.iter().filter(|d| d.drive.is_some()).map(|d| d.path.as_str()).collect();
    let left = usize::from(shape.parity).saturating_sub(missing.len());
    let many =
        |count: usize| if count == 1 { "1 drive".to_owned() } else { format!("{count} drives") };
    let mut text = format!(
        "  Drives      {}\n  Code        {shape}  (survives: {})\n",
        here.join(" "),
        many(shape.parity.into()),
    );
    if !missing.is_empty() {
        text += &format!("  MISSING     {}  (survives now: {})\n", missing.join(" "), many(left));
    }
    let homes: Vec<&Path> = node.homes.iter().map(PathBuf::as_path).collect();
    for shared in mounts::sharing(&homes) {
        let paths: Vec<String> = shared.iter().map(|path| path.display().to_string()).collect();
        text += &format!("  ONE DEVICE  {}  (fail together)\n", paths.join(" "));
    }
    if node.deployment().is_read_only() {
        text += "  READ ONLY   too few drives are here to be certain of the newest state\n";
    }
    text
}
