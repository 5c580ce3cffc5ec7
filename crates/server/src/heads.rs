//! Bytes of request heads in memory: of heads that are not complete, and of requests in progress.
//!
//! A head is held several times over until its request is answered, while a body is waited for as well, and
//! all that before anything is known of the client. So those that are longer than usual are counted: in all,
//! and for each source, which cannot take what others need.

use drystone_base::sync::{Mutex, lock};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Bytes of a head that are not counted: nearly every head is shorter. A connection has a buffer for as many
/// anyway.
pub(crate) const FREE_LEN: usize = 4 << 10;
/// Bytes that are counted, at most.
const TOTAL_MAX: usize = 32 << 20;
/// Bytes that are counted of one source, at most.
const SOURCE_MAX: usize = TOTAL_MAX / 2;

#[derive(Default)]
struct Sums {
    total: usize,
    /// Only of sources that have some.
    by_source: HashMap<IpAddr, usize>,
}

/// The sums of all connections.
#[derive(Default)]
pub(crate) struct Heads(Mutex<Sums>);

/// Bytes that are counted until this is dropped.
pub(crate) struct HeadBytes {
    heads: Arc<Heads>,
    source: Option<IpAddr>,
    len: usize,
}

impl Heads {
    #[cfg(test)]
    pub(crate) fn total(&self) -> usize {
        lock(&self.0).total
    }

    /// Counts bytes of a source; `None` for a proxy, which stands for many.
    pub(crate) fn hold(self: &Arc<Self>, source: Option<IpAddr>, len: usize) -> Option<HeadBytes> {
        let mut held = HeadBytes { heads: self.clone(), source, len: 0 };
        held.grow(len).then_some(held)
    }
}

impl HeadBytes {
    /// Counts more; false, without any effect, if that is too much.
    pub(crate) fn grow(&mut self, len: usize) -> bool {
        let mut sums = lock(&self.heads.0);
        let of_source = |source| sums.by_source.get(&source).copied().unwrap_or(0);
        let of_source = self.source.map_or(0, of_source);
        if sums.total + len > TOTAL_MAX || of_source + len > SOURCE_MAX {
            return false;
        }
        sums.total += len;
        if let Some(source) = self.source {
            sums.by_source.insert(source, of_source + len);
        }
        self.len += len;
        true
    }
}

impl Drop for HeadBytes {
    fn drop(&mut self) {
        let mut sums = lock(&self.heads.0);
        sums.total -= self.len;
        let Some(source) = self.source else { return };
        let is_last = sums.by_source.get_mut(&source).is_some_and(|sum| {
            *sum -= self.len;
            *sum == 0
        });
        if is_last {
            sums.by_source.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_leaves_room_to_others() {
        let heads = Arc::new(Heads::default());
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().ok());
        let mut held = heads.hold(one, SOURCE_MAX - 1).expect("all is free");
        assert!(heads.hold(one, 2).is_none());
        assert!(held.grow(1) && !held.grow(1));
        let more = heads.hold(other, SOURCE_MAX).expect("of another source");
        assert!(heads.hold(None, 1).is_none(), "all is held");
        drop(more);
        let of_proxy = heads.hold(None, SOURCE_MAX).expect("a proxy has no share of its own");
        drop((held, of_proxy));
        let sums = lock(&heads.0);
        assert!(sums.total == 0 && sums.by_source.is_empty());
    }
}
