//! Admission of connections: how many may be open, in all and for each source.
//!
//! A connection costs a file descriptor and some buffers, and nothing is known of its peer when it is
//! accepted. So connections are capped below the descriptor limit of the process, and half of the rest of
//! that limit stays free for files. One source address may hold half of all connections, so that it cannot
//! shut out the others; proxies that the operator named stand for many clients and are exempt from it.
//!
//! # Not here
//!
//! What a connection may do once it is admitted, and for how long: `connection`.

use crate::connection::TimeLimits;
use crate::heads::Heads;
use crate::streams::Streams;
use drystone_admin::Metrics;
use drystone_base::sync::{Mutex, lock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::Notify;

/// Connections at most, whatever the limit of descriptors and the byte budget are.
const CONNECTIONS_MAX: usize = 16_384;
/// Bytes that connections hold by default besides the byte budget and its half, whatever that is.
const MEMORY_MIN: u64 = 64 << 20;
/// Bytes that a connection holds which waits for its client, with 4 KiB of a head; measured.
const PLAIN_LEN: u64 = 26 << 10;
/// The same over TLS, with what is encrypted and not taken.
const TLS_LEN: u64 = 42 << 10;
/// Of four free descriptors, those that settings may leave to connections.
const DESCRIPTORS_OF_FOUR_MAX: usize = 3;
/// Connections that are allowed even where the descriptor limit is tiny.
const CONNECTIONS_MIN: usize = 16;
/// Descriptors that are assumed where the system does not tell.
const DESCRIPTORS_UNKNOWN: u64 = 1024;

/// How many connections may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// In all.
    pub(crate) total: usize,
    /// From one source address (IPv4), or one /64 network (IPv6).
    pub(crate) per_source: usize,
    /// Above this, settings would leave too few descriptors for files.
    total_max: usize,
}

impl ConnectionLimits {
    /// Half of the descriptors that are still free, and half of that for one source.
    pub(crate) fn of_descriptors(limit: u64, in_use: usize) -> Self {
        let free = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(in_use);
        let total = (free / 2).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        let total_max = (free / 4 * DESCRIPTORS_OF_FOUR_MAX).max(CONNECTIONS_MIN);
        Self { total, per_source: total / 2, total_max }
    }

    /// As many as 64 MiB and half of the byte budget have room for: what connections hold is in no budget.
    pub(crate) fn within_memory(self, budget_bytes: u64, has_tls: bool) -> Self {
        let len = if has_tls { TLS_LEN } else { PLAIN_LEN };
        let most = usize::try_from((MEMORY_MIN + budget_bytes / 2) / len).unwrap_or(usize::MAX);
        let total = self.total.min(most);
        Self { total, per_source: total / 2, ..self }
    }

    /// The limits with those that settings give, as far as there are descriptors for them.
    pub(crate) fn with(self, total: Option<usize>, per_source: Option<usize>) -> Self {
        let total = total.map_or(self.total, |total| total.min(self.total_max));
        let per_source = per_source.unwrap_or(total / 2).clamp(1, total.max(1));
        Self { total, per_source, ..self }
    }

    /// Says which settings ask for more than holds.
    pub(crate) fn warn_of(self, total: Option<usize>, per_source: Option<usize>) {
        let Self { total: limit, per_source: of_source, .. } = self;
        if let Some(asked) = total.filter(|asked| *asked > limit) {
            tracing::warn!(
                asked,
                limit,
                "--max-connections is above three quarters of the free file descriptors: the limit is lower"
            );
        }
        if let Some(asked) = per_source.filter(|asked| *asked > of_source) {
            tracing::warn!(
                asked,
                limit = of_source,
                "--max-connections-per-source is above the limit of all connections: that limit holds"
            );
        }
    }
}

/// Raises the soft limit of file descriptors to the hard limit and returns what holds now.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    // No limit at all is reported as none.
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Descriptors that the process has open.
pub(crate) fn descriptors_in_use() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(DESCRIPTORS_UNKNOWN as usize / 4, Iterator::count)
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many are open as may be.
    Total,
    /// Its source has as many as it may have.
    Source,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// Counts open connections. `by_source` has an entry only for sources that have one.
pub(crate) struct Admission {
    /// How many there may be.
    pub(crate) limits: ConnectionLimits,
    /// Time limits of each connection.
    pub(crate) times: TimeLimits,
    open: Mutex<Open>,
    /// What requests in progress hold, over all connections.
    pub(crate) heads: Arc<Heads>,
    /// Streams of HTTP/2 that connections share.
    pub(crate) streams: Arc<Streams>,
    metrics: Arc<Metrics>,
    emptied: Notify,
}

/// What is counted as one source: a host with IPv6 has a /64 network to choose addresses from.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

impl Admission {
    /// Nothing is open at first. What requests in progress may hold grows with the byte budget. `metrics`
    /// gets the numbers of open and refused connections.
    pub(crate) fn new(
        limits: ConnectionLimits,
        times: TimeLimits,
        budget_bytes: u64,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        metrics.connections.limit.store(limits.total as u64, Ordering::Relaxed);
        Arc::new(Self {
            limits,
            times,
            open: Mutex::default(),
            heads: Heads::new(budget_bytes),
            streams: Streams::new(),
            metrics,
            emptied: Notify::new(),
        })
    }

    /// Admits a connection; it counts until the permit is dropped. `is_proxy` exempts it from the share of
    /// its source.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        is_proxy: bool,
    ) -> Result<Permit, Refused> {
        let source = source_of(address);
        let mut open = lock(&self.open);
        let held = open.by_source.get(&source).copied().unwrap_or(0);
        let refused = if open.total >= self.limits.total {
            Some(Refused::Total)
        } else if !is_proxy && held >= self.limits.per_source {
            Some(Refused::Source)
        } else {
            None
        };
        if let Some(refused) = refused {
            self.metrics.connections.refused.fetch_add(1, Ordering::Relaxed);
            return Err(refused);
        }
        open.total += 1;
        self.metrics.connections.open.store(open.total as u64, Ordering::Relaxed);
        open.by_source.insert(source, held + 1);
        Ok(Permit { admission: self.clone(), source })
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        lock(&self.open).total
    }

    /// Returns when no connection is open.
    pub(crate) async fn wait_empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// A connection that counts as open.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    source: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = lock(&self.admission.open);
        open.total -= 1;
        self.admission.metrics.connections.open.store(open.total as u64, Ordering::Relaxed);
        let is_last = open.by_source.get_mut(&self.source).is_some_and(|count| {
            *count -= 1;
            *count == 0
        });
        if is_last {
            open.by_source.remove(&self.source);
        }
        if open.total == 0 {
            self.admission.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(total: usize, per_source: usize) -> Arc<Admission> {
        Admission::new(
            ConnectionLimits::of_descriptors(1 << 20, 0).with(Some(total), Some(per_source)),
            TimeLimits::default(),
            0,
            Arc::default(),
        )
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_source_cannot_take_all_connections() {
        let admission = admission(4, 2);
        let greedy = address("10.0.0.1");
        let held: Vec<_> =
            (0..2).map(|_| admission.admit(greedy, false).expect("below the share")).collect();
        assert_eq!(admission.admit(greedy, false).err(), Some(Refused::Source));
        assert!(admission.admit(address("::ffff:10.0.0.1"), false).is_err(), "the same host");
        let other = admission.admit(address("10.0.0.2"), false).expect("another source");
        let proxy = admission.admit(greedy, true).expect("a proxy is exempt");
        assert_eq!(admission.admit(address("10.0.0.3"), false).err(), Some(Refused::Total));
        let refused = admission.metrics.connections.refused.load(Ordering::Relaxed);
        assert_eq!((admission.open(), refused), (4, 3));
        drop((held, other, proxy));
        assert_eq!(admission.open(), 0);
        assert!(lock(&admission.open).by_source.is_empty(), "nothing is kept of closed ones");
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        let admission = admission(9, 1);
        let first = admission.admit(address("2001:db8::1"), false);
        assert!(first.is_ok());
        assert_eq!(
            admission.admit(address("2001:db8::ffff:2"), false).err(),
            Some(Refused::Source)
        );
        assert!(admission.admit(address("2001:db8:0:1::1"), false).is_ok());
    }

    #[test]
    fn limits_leave_descriptors_for_files() {
        let of = ConnectionLimits::of_descriptors;
        let pair = |limits: ConnectionLimits| (limits.total, limits.per_source);
        assert_eq!(pair(of(1024, 64)), (480, 240));
        assert_eq!(of(1 << 20, 64).total, CONNECTIONS_MAX);
        assert_eq!(of(32, 64).total, CONNECTIONS_MIN);
        let set = of(1024, 64).with(Some(10), None);
        assert_eq!(pair(set), (10, 5));
        assert_eq!(of(1024, 64).with(Some(10), Some(99)).per_source, 10);
        assert_eq!(pair(of(1024, 64).with(Some(5000), Some(5000))), (720, 720));
        assert_eq!(pair(of(1 << 20, 64).with(Some(100_000), None)), (100_000, 50_000));
        let within = |budget, has_tls| pair(of(1 << 20, 64).within_memory(budget, has_tls));
        assert_eq!(within(128 << 20, false), (5041, 2520));
        assert_eq!(within(128 << 20, true), (3120, 1560));
        assert_eq!(within(8 << 30, true).0, CONNECTIONS_MAX);
        let chosen = of(1 << 20, 64).within_memory(0, true).with(Some(9000), None);
        assert_eq!(pair(chosen), (9000, 4500));
    }
}
