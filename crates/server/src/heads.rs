//! Memory of requests in progress, and of heads that are not complete.
//!
//! What serves a request, and its head several times over, is held while its body is waited for, before
//! anything is known of the client. So each counts from its head to its answer: in all, and for each source,
//! which holds no more than it leaves free, so that many sources together leave some to the next one. Bodies
//! and answers have shares of the byte budget of their own.

use drystone_base::sync::{Mutex, lock};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Bytes of a head that is not complete which are not counted: a connection has a buffer for as many anyway.
pub(crate) const FREE_LEN: usize = 4 << 10;
/// Bytes that serving a request takes, without its head: 18 to 23 KiB while a body is waited for.
pub(crate) const REQUEST_LEN: usize = 24 << 10;
/// Times that a head is held: as it came, decoded, and by who asks for it again.
const HEAD_COPIES: usize = 2;
/// Bytes that a header takes besides its name and its value.
const HEADER_LEN: usize = 128;
/// Bytes that a head of HTTP/2 holds at most which is not complete, in as many headers as fit into the limit
/// of their list.
pub(crate) const OPEN_HEAD_LEN: usize = 128 << 10;
/// Bytes that are counted at most: half of the byte budget, or, where that is less than 64 MiB, as many as
/// this and half of it.
const TOTAL_MIN: usize = 48 << 20;
const TOTAL_FROM: usize = 64 << 20;
/// What holds more bytes leaves a sixteenth of all to what holds fewer.
const SHORT_LEN: usize = 64 << 10;
const LEFT_TO_SHORT: usize = 16;

/// The sums of all connections.
pub(crate) struct Heads {
    /// Bytes that are counted at most.
    total_max: usize,
    total: AtomicUsize,
    /// Of sources that have connections.
    sources: Mutex<HashMap<IpAddr, Weak<SourceHeads>>>,
}

/// The sum of one source; of a proxy, which stands for many, it has no bound of its own.
pub(crate) struct SourceHeads {
    heads: Arc<Heads>,
    source: Option<IpAddr>,
    held: AtomicUsize,
}

/// Bytes that are counted until this is dropped.
pub(crate) struct HeadBytes {
    of: Arc<SourceHeads>,
    len: usize,
}

/// What a request is, as far as it says how many bytes it holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestSize {
    /// Bytes of its target and its headers.
    pub(crate) head_len: usize,
    /// Headers.
    pub(crate) header_count: usize,
    /// Bytes of its body that may come before they are asked for.
    pub(crate) ahead_len: usize,
}

impl RequestSize {
    /// Bytes that it holds.
    pub(crate) fn bytes(self) -> usize {
        let Self { head_len, header_count, ahead_len } = self;
        REQUEST_LEN + HEAD_COPIES * head_len + HEADER_LEN * header_count + ahead_len
    }
}

impl Heads {
    /// What is counted at most follows from the byte budget.
    pub(crate) fn new(budget_bytes: u64) -> Arc<Self> {
        let half = usize::try_from(budget_bytes / 2).unwrap_or(usize::MAX);
        let total_max = half.max((TOTAL_MIN + half).min(TOTAL_FROM));
        let total = AtomicUsize::new(0);
        Arc::new(Self { total_max, total, sources: Mutex::default() })
    }

    #[cfg(test)]
    pub(crate) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// The sum of a source; `None` for a proxy.
    pub(crate) fn of_source(self: &Arc<Self>, source: Option<IpAddr>) -> Arc<SourceHeads> {
        let new = || {
            let (heads, held) = (self.clone(), AtomicUsize::new(0));
            Arc::new(SourceHeads { heads, source, held })
        };
        let Some(address) = source else { return new() };
        let mut sources = lock(&self.sources);
        if let Some(known) = sources.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        let made = new();
        sources.insert(address, Arc::downgrade(&made));
        made
    }
}

impl SourceHeads {
    /// Counts bytes.
    pub(crate) fn hold(self: &Arc<Self>, len: usize) -> Option<HeadBytes> {
        let mut held = HeadBytes { of: self.clone(), len: 0 };
        held.grow(len).then_some(held)
    }

    fn add(&self, len: usize) -> bool {
        let Heads { total_max, total, .. } = &*self.heads;
        let of_source = self.held.fetch_add(len, Ordering::Relaxed) + len;
        let of_all = total.fetch_add(len, Ordering::Relaxed) + len;
        let left = if len > SHORT_LEN { total_max / LEFT_TO_SHORT } else { 0 };
        let free = (total_max - left).checked_sub(of_all);
        if free.is_some_and(|free| self.source.is_none() || of_source <= free) {
            return true;
        }
        self.subtract(len);
        false
    }

    fn subtract(&self, len: usize) {
        self.held.fetch_sub(len, Ordering::Relaxed);
        self.heads.total.fetch_sub(len, Ordering::Relaxed);
    }
}

impl Drop for SourceHeads {
    fn drop(&mut self) {
        let Some(source) = self.source else { return };
        let mut sources = lock(&self.heads.sources);
        // The next connection of the source may have made another one meanwhile.
        if sources.get(&source).is_some_and(|known| known.strong_count() == 0) {
            sources.remove(&source);
        }
    }
}

impl HeadBytes {
    /// Counts more; false, without any effect, if that is too much.
    pub(crate) fn grow(&mut self, len: usize) -> bool {
        let is_counted = self.of.add(len);
        if is_counted {
            self.len += len;
        }
        is_counted
    }
}

impl Drop for HeadBytes {
    fn drop(&mut self) {
        self.of.subtract(self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many bytes, in pieces of which none is long.
    fn of_pieces(source: &Arc<SourceHeads>, len: usize) -> Vec<HeadBytes> {
        let lens = (0..len).step_by(SHORT_LEN).map(|at| SHORT_LEN.min(len - at));
        lens.map(|len| source.hold(len).expect("it is free")).collect()
    }

    #[test]
    fn what_is_long_leaves_room_to_what_is_short() {
        let heads = Heads::new(0);
        for source in [None, Some(IpAddr::from([10, 0, 0, 1]))] {
            let one = heads.of_source(source);
            let long: Vec<_> = std::iter::from_fn(|| one.hold(SHORT_LEN + 1)).collect();
            let short: Vec<_> = std::iter::from_fn(|| one.hold(REQUEST_LEN)).collect();
            assert!(short.len() * REQUEST_LEN > TOTAL_MIN / 2 / LEFT_TO_SHORT - REQUEST_LEN);
            assert!(long.len() > short.len());
        }
    }

    #[test]
    fn a_source_leaves_room_to_others() {
        let heads = Heads::new(0);
        let of = |last: u8| heads.of_source(Some(IpAddr::from([10, 0, 0, last])));
        let (one, proxy) = (of(1), heads.of_source(None));
        let mut held = of_pieces(&one, TOTAL_MIN / 2 - 1);
        assert!(one.hold(2).is_none());
        assert!(held[0].grow(1) && !held[0].grow(1));
        let of_proxy = of_pieces(&proxy, TOTAL_MIN / 2);
        assert!(of(2).hold(1).is_none(), "all is held");
        drop((held, of_proxy));
        assert_eq!(heads.total(), 0);
        drop((one, proxy));
        assert!(lock(&heads.sources).is_empty());
    }

    /// Goal: sources that take all they can leave requests to others. Method: eight of them take turns, until
    /// none gets more; the next one, with no more than they have.
    #[test]
    fn sources_that_take_all_leave_room_to_the_next() {
        let heads = Heads::new(0);
        let of = |last: u8| heads.of_source(Some(IpAddr::from([10, 0, 0, last])));
        let greedy: Vec<_> = (1..=8).map(of).collect();
        let mut held = Vec::new();
        loop {
            let more: Vec<_> = greedy.iter().filter_map(|one| one.hold(REQUEST_LEN)).collect();
            if more.is_empty() {
                break;
            }
            held.extend(more);
        }
        let next = of(9);
        let of_next: Vec<_> = std::iter::from_fn(|| next.hold(REQUEST_LEN)).collect();
        assert!(of_next.len() * REQUEST_LEN > TOTAL_MIN / 32, "{}", of_next.len());
    }

    #[test]
    fn connections_of_a_source_share_its_sum() {
        let heads = Heads::new(1 << 30);
        let source = "10.0.0.1".parse().ok();
        let (first, second) = (heads.of_source(source), heads.of_source(source));
        let held = first.hold(200 << 20).expect("half of the budget is free");
        assert!(second.hold(100 << 20).is_none());
        drop((held, first));
        assert!(second.hold(200 << 20).is_some());
    }
}
