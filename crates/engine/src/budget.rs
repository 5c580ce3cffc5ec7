//! The one byte budget of the process: what requests and work in the background hold in memory.
//!
//! The budget is cut into partitions (see [`Kind`]). A request reserves its minimum in one step, before it
//! reads or writes anything; what it takes beyond that, it takes without waiting or not at all. See
//! `docs/decisions/0020-byte-budget.md`.
//!
//! # Invariants
//!
//! - A request waits for a partition only while it holds nothing of this one or of a later one: partitions
//!   are waited for in the order of [`Kind`], so that no two requests wait for each other.
//! - What is taken beyond a minimum is either bounded by the time of a write to a drive, or given up when
//!   requests wait (see [`ReadLane`]).
//! - Accounts leave something to each other, and so do the identities of an account (see [`ledger`]).

mod lane;
mod ledger;

pub use lane::Reclaimable;
pub(crate) use lane::{CHUNK_LEN, Permit, ReadLane};

use crate::error::EngineError;
use bytes::Bytes;
use drystone_base::Consumer;
use drystone_base::sync::{self, Mutex, MutexGuard, thread};
use drystone_log::Ticket;
use ledger::{Asked, Ledger, Place};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Bytes of one unit of the books.
const UNIT: u64 = 4 << 10;
/// Bytes of the smallest budget.
const TOTAL_MIN: u64 = 4 << 20;
/// Time that a request waits for its minimum before it is refused.
#[cfg_attr(shuttle, allow(dead_code, reason = "time does not pass under shuttle"))]
const WAIT_MAX: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 10_000 });
/// While requests wait, what can be given up is asked for this often.
const RECLAIM_PAUSE: Duration = Duration::from_millis(50);
/// Pause between two attempts of a thread that may block.
const BLOCKING_PAUSE: Duration = Duration::from_millis(5);

/// What bytes are held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Heads and small bodies of answers over HTTP/2, from before their request has an effect until they are
    /// sent: 1/32 of the budget, waited for before all others.
    Stream,
    /// Documents of those who signed, as they come: a sixteenth of the budget. This and the next two are
    /// waited for next, and no request takes of two of them.
    Arrive,
    /// Documents of those who are not known, as they come: 1/32.
    Unsigned,
    /// Decoders of archives, which are held for as long as their clients send: 1/8.
    Unpack,
    /// What is made of a document that has come: 1/16.
    Decode,
    /// Bodies on their way to the drives: together with reads and answers, 15/32.
    Upload,
    /// Bytes on their way to clients.
    Read,
    /// Answers that are made in memory.
    Answer,
    /// Bytes read around a drive that lacks them, while they are reconstructed: an eighth, waited for last.
    Reconstruct,
    /// Work in the background, which never competes with clients: 3/32.
    Background,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Stream,
        Self::Arrive,
        Self::Unsigned,
        Self::Unpack,
        Self::Decode,
        Self::Upload,
        Self::Read,
        Self::Answer,
        Self::Reconstruct,
        Self::Background,
    ];

    /// Name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Arrive => "arrive",
            Self::Unsigned => "unsigned",
            Self::Unpack => "unpack",
            Self::Decode => "decode",
            Self::Upload => "upload",
            Self::Read => "read",
            Self::Answer => "answer",
            Self::Reconstruct => "reconstruct",
            Self::Background => "background",
        }
    }
}

/// Counters of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindUsage {
    /// Bytes held.
    pub used_bytes: u64,
    /// Requests that wait for their minimum.
    pub waiting: u64,
    /// Requests refused so far.
    pub refused: u64,
}

struct Books {
    ledger: Ledger,
    grants: HashMap<u64, (Kind, Grant)>,
    usage: [KindUsage; Kind::ALL.len()],
    /// When others were last asked to give something up, and the place of the caller that waited.
    reclaimed: Option<(Instant, Place)>,
}

type Grant = Box<dyn FnOnce(Share) + Send>;

impl Books {
    fn usage(&mut self, kind: Kind) -> &mut KindUsage {
        &mut self.usage[kind as usize]
    }
}

type Offered = (Option<Consumer>, Weak<dyn Reclaimable>);

struct Partition {
    books: Mutex<Books>,
    /// What can be given up: by readers, what they hold beyond their minimum; by documents that come slowly,
    /// all, for callers whose place in line is before that of the one named.
    reclaimable: Mutex<BTreeMap<u64, Offered>>,
}

/// Counts the bytes of bodies that are held in memory. Clones share it.
#[derive(Clone)]
pub struct ByteBudget(Arc<Partitions>);

struct Partitions {
    stream: Arc<Partition>,
    arrive: Arc<Partition>,
    unsigned: Arc<Partition>,
    unpack: Arc<Partition>,
    decode: Arc<Partition>,
    clients: Arc<Partition>,
    reconstruct: Arc<Partition>,
    background: Arc<Partition>,
    total_bytes: u64,
}

/// A share of the budget, returned when it is dropped.
pub struct Share {
    partition: Arc<Partition>,
    consumer: Consumer,
    kind: Kind,
    units: u64,
}

/// Who can be asked to give a share up; see [`Share::offer`].
pub struct Offer {
    partition: Arc<Partition>,
    id: u64,
}

impl Drop for Offer {
    fn drop(&mut self) {
        sync::lock(&self.partition.reclaimable).remove(&self.id);
    }
}

/// Bytes with their share.
struct Counted {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A request in line; dropping it leaves the line.
struct Waiting<'a> {
    partition: &'a Arc<Partition>,
    consumer: Consumer,
    kind: Kind,
    id: u64,
}

impl ByteBudget {
    /// A budget of `bytes`, at least 4 MiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let total_bytes = bytes.max(TOTAL_MIN);
        let of = |parts: u64, is_fair| Partition::new(total_bytes / UNIT * parts / 32, is_fair);
        Self(Arc::new(Partitions {
            stream: of(1, true),
            arrive: of(2, true),
            unsigned: of(1, true),
            unpack: of(4, true),
            decode: of(2, true),
            clients: of(15, true),
            reconstruct: of(4, false),
            background: of(3, false),
            total_bytes,
        }))
    }

    /// Bytes that clients can still take.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.0.clients.lock().ledger.free() * UNIT
    }

    /// Bytes in all.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.0.total_bytes
    }

    /// Counters of a kind.
    #[must_use]
    pub fn usage(&self, kind: Kind) -> KindUsage {
        *self.of_kind(kind).lock().usage(kind)
    }

    /// Bytes that the requests of a kind share, and those of other kinds with them.
    #[must_use]
    pub fn partition_bytes(&self, kind: Kind) -> u64 {
        self.of_kind(kind).lock().ledger.total() * UNIT
    }

    fn of_kind(&self, kind: Kind) -> &Arc<Partition> {
        match kind {
            Kind::Stream => &self.0.stream,
            Kind::Arrive => &self.0.arrive,
            Kind::Unsigned => &self.0.unsigned,
            Kind::Unpack => &self.0.unpack,
            Kind::Decode => &self.0.decode,
            Kind::Upload | Kind::Read | Kind::Answer => &self.0.clients,
            Kind::Reconstruct => &self.0.reconstruct,
            Kind::Background => &self.0.background,
        }
    }

    /// Reserves the minimum of a request, in line with others. A request that is larger than the partition
    /// takes all of it. Nothing of this partition or a later one may be held meanwhile.
    ///
    /// # Errors
    ///
    /// [`EngineError::Busy`] if it could not be had in time, or too many wait.
    pub async fn reserve(
        &self,
        consumer: Consumer,
        kind: Kind,
        bytes: u64,
    ) -> Result<Share, EngineError> {
        let kind = kind.of(consumer);
        let partition = self.of_kind(kind);
        let (ticket, waiting) = match partition.ask(consumer, kind, bytes) {
            Line::Granted(share) => return Ok(share),
            Line::Waits(ticket, waiting) => (ticket, waiting),
            Line::Refused => return Err(EngineError::Busy),
        };
        let granted = partition.wait(ticket, consumer).await;
        if granted.is_none() {
            partition.lock().usage(kind).refused += 1;
        }
        drop(waiting);
        granted.ok_or(EngineError::Busy)
    }

    /// As [`ByteBudget::reserve`], for threads in the background that may block: waits without a bound.
    pub(crate) fn reserve_blocking(&self, bytes: u64) -> Share {
        let (consumer, kind) = (Consumer::BACKGROUND, Kind::Background);
        let background = &self.0.background;
        loop {
            match background.try_extra(consumer, kind, background.units(bytes)) {
                Some(share) => return share,
                None => thread::sleep(BLOCKING_PAUSE),
            }
        }
    }

    /// Takes a share beyond the minimum, if that keeps no other request waiting.
    pub(crate) fn try_extra(&self, consumer: Consumer, kind: Kind, bytes: u64) -> Option<Share> {
        let kind = kind.of(consumer);
        self.of_kind(kind).try_extra(consumer, kind, bytes.div_ceil(UNIT))
    }

    /// As [`ByteBudget::reserve`], but `None` where it would be waited for.
    pub(crate) fn try_reserve(&self, consumer: Consumer, kind: Kind, bytes: u64) -> Option<Share> {
        let kind = kind.of(consumer);
        match self.of_kind(kind).ask(consumer, kind, bytes) {
            Line::Granted(share) => Some(share),
            // It leaves the line as it is dropped.
            Line::Waits(..) | Line::Refused => None,
        }
    }
}

impl Kind {
    /// All that the server does by itself is one kind, but for reconstruction, which never waits for clients.
    fn of(self, consumer: Consumer) -> Self {
        match self {
            Self::Reconstruct => self,
            _ if consumer == Consumer::BACKGROUND => Self::Background,
            _ => self,
        }
    }
}

enum Line<'a> {
    Granted(Share),
    Waits(Ticket<Share>, Waiting<'a>),
    Refused,
}

impl Partition {
    fn new(total: u64, is_fair: bool) -> Arc<Self> {
        let books = Books {
            ledger: Ledger::new(total, is_fair),
            grants: HashMap::new(),
            usage: Default::default(),
            reclaimed: None,
        };
        Arc::new(Self { books: Mutex::new(books), reclaimable: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        sync::lock(&self.books)
    }

    fn units(&self, bytes: u64) -> u64 {
        bytes.div_ceil(UNIT).min(self.lock().ledger.total())
    }

    fn share(self: &Arc<Self>, consumer: Consumer, kind: Kind, units: u64) -> Share {
        Share { partition: self.clone(), consumer, kind, units }
    }

    fn ask(self: &Arc<Self>, consumer: Consumer, kind: Kind, bytes: u64) -> Line<'_> {
        let mut books = self.lock();
        let units = bytes.div_ceil(UNIT).min(books.ledger.total());
        match books.ledger.ask(consumer, units) {
            Asked::Granted => {
                books.usage(kind).used_bytes += units * UNIT;
                drop(books);
                Line::Granted(self.share(consumer, kind, units))
            }
            Asked::Refused => {
                books.usage(kind).refused += 1;
                Line::Refused
            }
            Asked::Waits(id) => {
                let (ticket, grant) = Ticket::new();
                books.usage(kind).waiting += 1;
                books.grants.insert(id, (kind, Box::new(grant)));
                Line::Waits(ticket, Waiting { partition: self, consumer, kind, id })
            }
        }
    }

    fn try_extra(self: &Arc<Self>, consumer: Consumer, kind: Kind, units: u64) -> Option<Share> {
        let mut books = self.lock();
        if !books.ledger.try_extra(consumer, units) {
            return None;
        }
        books.usage(kind).used_bytes += units * UNIT;
        drop(books);
        Some(self.share(consumer, kind, units))
    }

    /// Waits for a share; `None` when the time is over.
    #[cfg(not(shuttle))]
    async fn wait(&self, mut ticket: Ticket<Share>, consumer: Consumer) -> Option<Share> {
        let begun = Instant::now();
        loop {
            self.reclaim(consumer);
            if let Ok(share) = tokio::time::timeout(RECLAIM_PAUSE, &mut ticket).await {
                return Some(share);
            }
            if begun.elapsed() >= WAIT_MAX {
                return None;
            }
        }
    }

    /// Under shuttle time does not pass.
    #[cfg(shuttle)]
    async fn wait(&self, ticket: Ticket<Share>, consumer: Consumer) -> Option<Share> {
        self.reclaim(consumer);
        Some(ticket.await)
    }

    /// Lets others give up what they can for a caller that waits, if that was not done just now.
    fn reclaim(&self, consumer: Consumer) {
        let mut books = self.lock();
        let (now, place) = (Instant::now(), books.ledger.place(consumer));
        let is_recent = |last: Instant| now.duration_since(last) < RECLAIM_PAUSE / 2;
        if books.reclaimed.is_some_and(|(last, of)| of <= place && is_recent(last)) {
            return;
        }
        books.reclaimed = Some((now, place));
        let is_asked = |of: &Option<Consumer>| of.is_none_or(|of| books.ledger.place(of) > place);
        let held = sync::lock(&self.reclaimable);
        let holders: Vec<_> = held
            .values()
            .filter(|(of, _)| is_asked(of))
            .map(|(_, holder)| holder.clone())
            .collect();
        drop((held, books));
        holders.iter().filter_map(Weak::upgrade).for_each(|holder| holder.give_up(now));
    }

    /// Changes the books, then admits those that wait and fit.
    fn settle(self: &Arc<Self>, change: impl FnOnce(&mut Books)) {
        let mut granted = Vec::new();
        let mut books = self.lock();
        change(&mut books);
        if books.ledger.waiter_count() > 0 {
            while let Some((consumer, id, units)) = books.ledger.admit_next() {
                let (kind, grant) = books.grants.remove(&id).expect("it waits");
                let usage = books.usage(kind);
                usage.waiting -= 1;
                usage.used_bytes += units * UNIT;
                granted.push((grant, self.share(consumer, kind, units)));
            }
        }
        drop(books);
        // Without the lock: a share whose request is gone is returned at once.
        granted.into_iter().for_each(|(grant, share)| grant(share));
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut grant = None;
        self.partition.settle(|books| {
            if books.ledger.cancel(self.consumer, self.id) {
                books.usage(self.kind).waiting -= 1;
                grant = books.grants.remove(&self.id);
            }
        });
    }
}

impl Share {
    /// Bytes that are reserved.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.units * UNIT
    }

    /// Takes `bytes` more, if that keeps no other request waiting.
    pub fn try_grow(&mut self, bytes: u64) -> bool {
        let units = bytes.div_ceil(UNIT);
        let extra = self.partition.try_extra(self.consumer, self.kind, units);
        let Some(mut extra) = extra else { return false };
        self.units += std::mem::take(&mut extra.units);
        true
    }

    /// Lets `holder` be asked to give this share up while callers wait that hold less, as long as the result
    /// lives.
    #[must_use]
    pub fn offer(&self, holder: Weak<dyn Reclaimable>) -> Offer {
        let id = lane::next_id();
        sync::lock(&self.partition.reclaimable).insert(id, (Some(self.consumer), holder));
        Offer { partition: self.partition.clone(), id }
    }

    /// Returns what is more than `bytes`.
    pub fn keep(&mut self, bytes: u64) {
        let kept = self.split(bytes);
        drop(std::mem::replace(self, kept));
    }

    /// Bytes that return the share when the last reference to them is dropped.
    #[must_use]
    pub fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Counted { bytes, _share: self })
    }

    /// A share of the same consumer for what is read beyond the minimum, if that keeps no other request
    /// waiting.
    fn try_read(&self, bytes: u64) -> Option<Self> {
        let kind = Kind::Read.of(self.consumer);
        self.partition.try_extra(self.consumer, kind, bytes.div_ceil(UNIT))
    }

    /// Lets what its reader can give up be asked for while requests wait.
    fn register(&self, id: u64, reclaimable: Weak<dyn Reclaimable>) {
        sync::lock(&self.partition.reclaimable).insert(id, (None, reclaimable));
    }

    fn unregister(&self, id: u64) {
        sync::lock(&self.partition.reclaimable).remove(&id);
    }

    /// Cuts `bytes` off, or all that there is.
    #[must_use]
    pub fn split(&mut self, bytes: u64) -> Self {
        let units = bytes.div_ceil(UNIT).min(self.units);
        self.units -= units;
        self.partition.share(self.consumer, self.kind, units)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Self { consumer, kind, units, .. } = *self;
        if units == 0 {
            return;
        }
        self.partition.settle(|books| {
            books.ledger.release(consumer, units);
            books.usage(kind).used_bytes -= units * UNIT;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const MINIMUM: u64 = 384 << 10;
    const CHUNK: u64 = 256 << 10;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_time().build().expect("a runtime").block_on(test)
    }

    fn one() -> Consumer {
        Consumer::client(&1)
    }

    fn small() -> ByteBudget {
        ByteBudget::new(TOTAL_MIN)
    }

    async fn lane(budget: &ByteBudget, consumer: Consumer) -> Result<Arc<ReadLane>, EngineError> {
        let minimum = budget.reserve(consumer, Kind::Read, CHUNK).await?;
        Ok(ReadLane::new(CHUNK, minimum))
    }

    #[test]
    fn a_request_that_waits_too_long_is_refused_and_counted() {
        run(async {
            let budget = small();
            let all = budget.reserve(one(), Kind::Upload, u64::MAX).await.expect("all is free");
            let other = Consumer::client(&2);
            let refused = budget.reserve(other, Kind::Read, 1).await;
            assert!(matches!(refused, Err(EngineError::Busy)));
            let usage = budget.usage(Kind::Read);
            assert_eq!(usage, KindUsage { used_bytes: 0, waiting: 0, refused: 1 });
            drop(all);
            assert_eq!(budget.free_bytes(), budget.partition_bytes(Kind::Read));
        });
    }

    #[test]
    fn a_request_whose_client_left_leaves_the_line() {
        run(async {
            let budget = small();
            let all = budget.reserve(one(), Kind::Upload, u64::MAX).await.expect("all is free");
            let waits = budget.reserve(Consumer::client(&2), Kind::Read, 1);
            assert!(tokio::time::timeout(Duration::from_millis(20), waits).await.is_err());
            assert_eq!(budget.usage(Kind::Read).waiting, 0);
            drop(all);
            assert_eq!(budget.free_bytes(), budget.partition_bytes(Kind::Read));
        });
    }

    #[test]
    fn the_server_itself_takes_nothing_from_clients() {
        run(async {
            let budget = small();
            let reserved = budget.reserve(Consumer::BACKGROUND, Kind::Upload, 1 << 18).await;
            assert!(reserved.is_ok());
            assert_eq!(budget.free_bytes(), budget.partition_bytes(Kind::Read));
            assert_eq!(budget.usage(Kind::Background).used_bytes, 1 << 18);
        });
    }

    #[test]
    fn a_reader_holds_its_minimum_and_no_more_when_the_budget_is_short() {
        run(async {
            let budget = small();
            let lane = lane(&budget, one()).await.expect("all is free");
            let mut held = vec![lane.try_permit().expect("the first is the minimum")];
            while let Some(permit) = lane.try_permit() {
                held.push(permit);
            }
            let quarter = budget.partition_bytes(Kind::Read) / 4;
            assert!(held.len() > 1 && budget.free_bytes() >= quarter, "{}", held.len());
            held.truncate(1);
            // All but what is kept for accounts that have little.
            let rest = budget.free_bytes() - budget.partition_bytes(Kind::Read) / 5;
            let _other =
                budget.reserve(Consumer::client(&2), Kind::Read, rest).await.expect("fits");
            assert!(lane.try_permit().is_none());
            let chunk = held.remove(0).wrap(Bytes::from_static(b"x"));
            let waits = tokio::spawn({
                let lane = lane.clone();
                async move { drop(lane.permit().await) }
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!waits.is_finished());
            // The connection has sent it.
            drop(chunk);
            waits.await.expect("is woken");
        });
    }

    #[test]
    fn an_answer_holds_its_share_until_its_last_byte_is_taken() {
        run(async {
            let budget = small();
            let all = budget.partition_bytes(Kind::Answer);
            let mut share = budget.try_reserve(one(), Kind::Answer, 1 << 20).expect("all is free");
            share.keep(100 << 10);
            assert_eq!(budget.usage(Kind::Answer).used_bytes, 100 << 10);
            let mut answer = share.hold(Bytes::from(vec![0; 100 << 10]));
            let last = answer.split_off(99 << 10);
            drop(answer);
            assert_eq!(budget.free_bytes(), all - (100 << 10));
            assert!(budget.try_reserve(one(), Kind::Answer, all).is_none());
            assert_eq!(budget.usage(Kind::Answer).waiting, 0, "it is not in line");
            drop(last);
            assert_eq!(budget.free_bytes(), all);
        });
    }

    struct Spare(Mutex<Option<Permit>>);

    impl Reclaimable for Spare {
        fn give_up(&self, _: Instant) {
            let given = sync::lock(&self.0).take();
            drop(given);
        }
    }

    #[test]
    fn what_is_read_ahead_is_given_up_when_requests_wait() {
        run(async {
            let budget = small();
            let lane = lane(&budget, one()).await.expect("all is free");
            let _first = lane.try_permit().expect("the minimum");
            let spare = Arc::new(Spare(Mutex::new(lane.try_permit())));
            assert!(sync::lock(&spare.0).is_some());
            lane.register(|| {
                let weak: Weak<Spare> = Arc::downgrade(&spare);
                weak
            });
            let all = budget.partition_bytes(Kind::Read);
            let all_but_the_minimum = all - all / 5 - CHUNK;
            let other = Consumer::client(&2);
            assert!(budget.reserve(other, Kind::Upload, all_but_the_minimum).await.is_ok());
            assert!(sync::lock(&spare.0).is_none());
        });
    }

    #[test]
    fn another_consumer_is_served_beside_six_hundred_uploads_of_one() {
        run(async {
            let budget = ByteBudget::new(16 << 20);
            let mut uploads = Vec::new();
            for _ in 0..600 {
                let budget = budget.clone();
                uploads.push(tokio::spawn(async move {
                    let share = budget.reserve(one(), Kind::Upload, MINIMUM).await;
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    drop(share);
                }));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(budget.usage(Kind::Upload).waiting > 100);
            for number in 2..5 {
                let begun = Instant::now();
                let other = Consumer::client(&number);
                let share = budget.reserve(other, Kind::Upload, MINIMUM).await;
                assert!(share.is_ok() && begun.elapsed() < Duration::from_millis(50));
            }
            uploads.iter().for_each(|upload| upload.abort());
        });
    }

    /// Goal: no set of requests waits for each other. Method: in a budget that holds six minima, uploads,
    /// reads around a drive and copies of many consumers, with everything they may hold while they wait; all
    /// of them end.
    #[test]
    fn requests_never_wait_for_each_other() {
        run(async {
            let budget = small();
            let ended = Arc::new(AtomicUsize::new(0));
            let mut tasks = Vec::new();
            for number in 0..200_u64 {
                let (budget, ended) = (budget.clone(), ended.clone());
                tasks.push(tokio::spawn(async move {
                    let consumer = Consumer::client(&(number % 7));
                    while request(&budget, consumer, number).await.is_err() {}
                    ended.fetch_add(1, Ordering::Relaxed);
                }));
            }
            for task in tasks {
                let ended = tokio::time::timeout(Duration::from_secs(60), task).await;
                ended.expect("it does not wait without end").expect("it does not panic");
            }
            assert_eq!(ended.load(Ordering::Relaxed), 200);
            for kind in Kind::ALL {
                let KindUsage { used_bytes, waiting, .. } = budget.usage(kind);
                assert_eq!((used_bytes, waiting), (0, 0));
            }
        });
    }

    async fn request(
        budget: &ByteBudget,
        consumer: Consumer,
        number: u64,
    ) -> Result<(), EngineError> {
        let _window = match number % 5 {
            0 => Some(budget.reserve(consumer, Kind::Arrive, MINIMUM / 4).await?),
            1 => Some(budget.reserve(consumer, Kind::Unpack, MINIMUM / 4).await?),
            _ => None,
        };
        let _tree = match number % 5 {
            0 => Some(budget.reserve(consumer, Kind::Decode, MINIMUM / 2).await?),
            _ => None,
        };
        let mut upload = budget.reserve(consumer, Kind::Upload, MINIMUM + CHUNK).await?;
        let minimum = upload.split(CHUNK);
        let lane = ReadLane::new(CHUNK, minimum);
        upload.try_grow(MINIMUM);
        for _ in 0..4 {
            let chunk = lane.permit().await.wrap(Bytes::from_static(b"x"));
            let ahead = lane.try_permit();
            let around = budget.reserve(consumer, Kind::Reconstruct, CHUNK).await?;
            tokio::task::yield_now().await;
            drop((ahead, around, chunk));
        }
        Ok(())
    }
}
