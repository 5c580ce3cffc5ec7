//! Arguments that bound connections in number and time.

use super::meant::or;
use crate::config::{self, ConfigError, Given};
use crate::connection::{ConnectionSettings, TimeLimits};
use clap::Args;
use std::time::Duration;

/// Both time limits, unless they are set.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(super) struct ConnectionArguments {
    /// Connections that may be open at once, on all ports, at most three quarters of the free file
    /// descriptors [default: half of them, at most 16384, and at most what half of the memory
    /// budget and 64MiB have room for]. Also DRYSTONE_MAX_CONNECTIONS.
    #[arg(long)]
    max_connections: Option<String>,
    /// Connections that one source (an IPv4 address, or a /64 network of IPv6) may have open; trusted proxies
    /// are exempt [default: half of all]. Also DRYSTONE_MAX_CONNECTIONS_PER_SOURCE.
    #[arg(long)]
    max_connections_per_source: Option<String>,
    /// Time from the accept of a connection to the end of the first head, TLS handshake included; and from
    /// the first byte of a later head to its end [default: 30s]. Also DRYSTONE_READ_HEADER_TIMEOUT.
    #[arg(long)]
    read_header_timeout: Option<String>,
    /// Time from the end of the last answer on a connection to the first byte of the next request [default:
    /// 30s]. Also DRYSTONE_IDLE_TIMEOUT.
    #[arg(long)]
    idle_timeout: Option<String>,
}

impl ConnectionArguments {
    /// Puts arguments and environment together; arguments win.
    pub(super) fn meant(&self) -> Result<ConnectionSettings, ConfigError> {
        let count = |argument: &Option<String>, name| {
            let parse = |given: &Given| config::parse_count(given).map(Some);
            or(argument.as_deref(), name, None, parse)
        };
        let limit = |argument: &Option<String>, name| {
            or(argument.as_deref(), name, LIMIT, config::parse_limit)
        };
        Ok(ConnectionSettings {
            total: count(&self.max_connections, "MAX_CONNECTIONS")?,
            per_source: count(&self.max_connections_per_source, "MAX_CONNECTIONS_PER_SOURCE")?,
            times: TimeLimits {
                head_max: limit(&self.read_header_timeout, "READ_HEADER_TIMEOUT")?,
                idle_max: limit(&self.idle_timeout, "IDLE_TIMEOUT")?,
            },
        })
    }
}
