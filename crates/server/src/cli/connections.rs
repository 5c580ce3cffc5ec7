//! Arguments that bound connections in number and time.

use crate::config::{self, ConfigError, setting};
use crate::connection::{ConnectionSettings, TimeLimits};
use clap::Args;

#[derive(Args)]
pub(super) struct ConnectionArguments {
    /// Connections that may be open at once, on all ports [default: half of the free file descriptors, at
    /// most 16384]. Also DRYSTONE_MAX_CONNECTIONS.
    #[arg(long)]
    max_connections: Option<String>,
    /// Connections that one source address may have open; trusted proxies are exempt [default: half of all].
    /// Also DRYSTONE_MAX_CONNECTIONS_PER_SOURCE.
    #[arg(long)]
    max_connections_per_source: Option<String>,
    /// Time in which the head of a request must be complete [default: 30s]. Also
    /// DRYSTONE_READ_HEADER_TIMEOUT.
    #[arg(long)]
    read_header_timeout: Option<String>,
    /// Time after which a connection without a request is closed [default: 30s]. Also
    /// DRYSTONE_IDLE_TIMEOUT.
    #[arg(long)]
    idle_timeout: Option<String>,
}

impl ConnectionArguments {
    /// Puts arguments and environment together; arguments win.
    pub(super) fn meant(self) -> Result<ConnectionSettings, ConfigError> {
        let or_setting = |value: Option<String>, name: &str| match value {
            Some(value) => Ok(Some(value)),
            None => setting(name),
        };
        let total = or_setting(self.max_connections, "MAX_CONNECTIONS")?;
        let per_source = or_setting(self.max_connections_per_source, "MAX_CONNECTIONS_PER_SOURCE")?;
        let head_max = or_setting(self.read_header_timeout, "READ_HEADER_TIMEOUT")?;
        let idle_max = or_setting(self.idle_timeout, "IDLE_TIMEOUT")?;
        Ok(ConnectionSettings {
            total: config::parse_count("max connections", total.as_deref())?,
            per_source: config::parse_count("max connections per source", per_source.as_deref())?,
            times: TimeLimits {
                head_max: config::parse_limit("read header timeout", head_max.as_deref())?,
                idle_max: config::parse_limit("idle timeout", idle_max.as_deref())?,
            },
        })
    }
}
