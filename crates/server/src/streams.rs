//! How many streams each connection of HTTP/2 may have open at once.
//!
//! What a request holds before it can be refused (its head, its place in the protocol, a task) is in no
//! budget, and a client may open all streams of all of its connections with one write. So connections share
//! a number of streams: the first ones get as many as clients ask for, and the more connections there are,
//! the fewer a further one gets. One source holds no more than it leaves free. A client that opens more has
//! those refused, and may open them again (RFC 9113, section 5.1.2).

use drystone_base::sync::{Mutex, lock};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Streams of one connection at most, and those that each gets however many connections there are.
const OF_ONE_MAX: usize = 128;
const OF_ONE_MIN: usize = 4;
/// Streams that are shared. A connection gets a 64th of what is free.
const SHARED: usize = 8192;

/// Streams that no connection has.
pub(crate) struct Streams {
    shares: Mutex<Shares>,
}

struct Shares {
    free: usize,
    /// What the connections of each source have.
    by_source: HashMap<IpAddr, usize>,
}

/// What one connection has, until this is dropped.
pub(crate) struct StreamShare {
    of: Arc<Streams>,
    source: Option<IpAddr>,
    /// Streams that it may have open.
    pub(crate) count: u32,
    taken: usize,
}

impl Streams {
    pub(crate) fn new() -> Arc<Self> {
        let (free, by_source) = (SHARED, HashMap::new());
        Arc::new(Self { shares: Mutex::new(Shares { free, by_source }) })
    }

    /// The share of another connection. `source`: where it comes from; `None` for a proxy, which stands for
    /// many.
    pub(crate) fn share(self: &Arc<Self>, source: Option<IpAddr>) -> StreamShare {
        let mut shares = lock(&self.shares);
        let held = source.and_then(|source| shares.by_source.get(&source)).copied().unwrap_or(0);
        let left = shares.free.saturating_sub(held);
        let count = (left / (SHARED / OF_ONE_MAX)).clamp(OF_ONE_MIN, OF_ONE_MAX);
        let taken = count.min(left);
        shares.free -= taken;
        if let Some(source) = source.filter(|_| taken > 0) {
            shares.by_source.insert(source, held + taken);
        }
        StreamShare { of: self.clone(), source, count: count as u32, taken }
    }
}

impl Drop for StreamShare {
    fn drop(&mut self) {
        let mut shares = lock(&self.of.shares);
        shares.free += self.taken;
        let Some(source) = self.source.filter(|_| self.taken > 0) else { return };
        let is_last = shares.by_source.get_mut(&source).is_some_and(|held| {
            *held -= self.taken;
            *held == 0
        });
        if is_last {
            shares.by_source.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_connections_the_fewer_streams_of_each() {
        let streams = Streams::new();
        let shares: Vec<_> = (0..5000).map(|_| streams.share(None)).collect();
        let count = |number: usize| shares[number].count;
        assert_eq!((count(0), count(4999)), (128, 4));
        assert!(shares.windows(2).all(|two| two[0].count >= two[1].count));
        assert!(count(32) > 64, "{}", count(32));
        let all: usize = shares.iter().map(|share| share.count as usize).sum();
        assert!(all <= SHARED + 5000 * OF_ONE_MIN, "{all}");
        drop(shares);
        assert_eq!(lock(&streams.shares).free, SHARED);
    }

    #[test]
    fn a_source_leaves_streams_to_others() {
        let streams = Streams::new();
        let of = |last: u8| streams.share(Some(IpAddr::from([10, 0, 0, last])));
        let greedy: Vec<_> = (0..5000).map(|_| of(1)).collect();
        assert_eq!(greedy.last().map(|share| share.count), Some(4));
        let other = of(2);
        assert!(other.count >= 63, "{}", other.count);
        drop((greedy, other));
        let shares = lock(&streams.shares);
        assert!(shares.free == SHARED && shares.by_source.is_empty());
    }
}
