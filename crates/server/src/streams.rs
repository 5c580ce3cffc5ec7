//! How many streams each connection of HTTP/2 may have open at once.
//!
//! What a request holds before it can be refused (its head, its place in the protocol, a task) is in no
//! budget, and a client may open all streams of all of its connections with one write. So connections share
//! a number of streams: the first ones get as many as clients ask for, and the more connections there are,
//! the fewer a further one gets. A client that opens more has those refused, and may open them again (RFC
//! 9113, section 5.1.2).

use drystone_base::sync::{Mutex, lock};
use std::sync::Arc;

/// Streams of one connection at most, and those that each gets however many connections there are.
const OF_ONE_MAX: usize = 128;
const OF_ONE_MIN: usize = 4;
/// Streams that are shared. A connection gets a 64th of what is free.
const SHARED: usize = 8192;

/// Streams that no connection has.
pub(crate) struct Streams {
    free: Mutex<usize>,
}

/// What one connection has, until this is dropped.
pub(crate) struct StreamShare {
    of: Arc<Streams>,
    /// Streams that it may have open.
    pub(crate) count: u32,
    taken: usize,
}

impl Streams {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(SHARED) })
    }

    /// The share of another connection.
    pub(crate) fn share(self: &Arc<Self>) -> StreamShare {
        let mut free = lock(&self.free);
        let count = (*free / (SHARED / OF_ONE_MAX)).clamp(OF_ONE_MIN, OF_ONE_MAX);
        let taken = count.min(*free);
        *free -= taken;
        StreamShare { of: self.clone(), count: count as u32, taken }
    }
}

impl Drop for StreamShare {
    fn drop(&mut self) {
        *lock(&self.of.free) += self.taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_connections_the_fewer_streams_of_each() {
        let streams = Streams::new();
        let shares: Vec<_> = (0..5000).map(|_| streams.share()).collect();
        let count = |number: usize| shares[number].count;
        assert_eq!((count(0), count(4999)), (128, 4));
        assert!(shares.windows(2).all(|two| two[0].count >= two[1].count));
        assert!(count(32) > 64, "{}", count(32));
        let all: usize = shares.iter().map(|share| share.count as usize).sum();
        assert!(all <= SHARED + 5000 * OF_ONE_MIN, "{all}");
        drop(shares);
        assert_eq!(*lock(&streams.free), SHARED);
    }
}
