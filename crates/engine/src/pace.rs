//! The one budget of work in the background: repair, moves, compaction and scrub yield to clients.
//!
//! A worker tells its [`Meter`] after each step how many bytes it was about. While clients are there the
//! meter makes the worker rest for a share of the time that its steps took, so that a slow device is left
//! alone for longer than a fast one; without clients it goes as fast as it can. A scrub has a rate too.

use drystone_base::sync::thread;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Work in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Shards that are given back.
    Repair,
    /// Shards that go to another drive, and objects that get another code.
    Move,
    /// What is alive in segments that are mostly dead.
    Compaction,
    /// Reading everything once.
    Scrub,
}

impl Work {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Repair, Self::Move, Self::Compaction, Self::Scrub];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Repair => "repair",
            Self::Move => "move",
            Self::Compaction => "compaction",
            Self::Scrub => "scrub",
        }
    }

    /// Rest after a step while clients are there, in percent of the step.
    fn rest_percent(self) -> u32 {
        match self {
            // Two thirds of what the devices give: what lacks shards is in danger.
            Self::Repair => 50,
            Self::Move => 100,
            Self::Compaction => 50,
            Self::Scrub => 900,
        }
    }
}

/// A rest is not taken before it is so long.
const REST_LEAST: Duration = Duration::from_millis(2);
/// Nor is it ever longer: a worker must hear when it is to end.
const REST_MOST: Duration = Duration::from_secs(1);

/// Bytes of one read from a drive while clients are there: what a client's read waits for at most.
const GENTLE_READ_LEN: u32 = 64 << 10;
/// Bytes of one read otherwise: a seek costs less than that.
const READ_LEN: u32 = 1 << 20;
/// Clients count as gone when nothing was heard of them for so long.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// The budget. One per process.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    /// When a client was heard of last, in milliseconds after `began`; 0 for never.
    client_ms: AtomicU64,
    /// Steps of clients so far.
    client_steps: AtomicU64,
    bytes: [AtomicU64; 4],
    /// Bytes a second of each work, all workers together; 0 for no limit.
    rates: [AtomicU64; 4],
    /// Until when the limit of each work is used up, in nanoseconds after `began`.
    used_until_ns: [AtomicU64; 4],
    is_off: bool,
}

/// Measures the steps of one worker.
pub struct Meter<'a> {
    pace: &'a Pace,
    work: Work,
    since: Instant,
    seen: u64,
    owed: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            client_ms: AtomicU64::new(0),
            client_steps: AtomicU64::new(0),
            bytes: Default::default(),
            rates: Default::default(),
            used_until_ns: Default::default(),
            is_off: false,
        }
    }
}

impl Pace {
    /// No worker ever rests: for simulations.
    #[must_use]
    pub fn off() -> Self {
        Self { is_off: true, ..Self::default() }
    }

    /// Notes that a client is there.
    pub(crate) fn note_client(&self) {
        self.client_steps.fetch_add(1, Ordering::Relaxed);
        self.client_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Milliseconds since the process began; not 0.
    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }

    /// Bytes of one read from a drive by work in the background.
    pub(crate) fn read_len(&self) -> u32 {
        let last = self.client_ms.load(Ordering::Relaxed);
        let since = Duration::from_millis(self.now_ms().saturating_sub(last));
        if last > 0 && since < GONE_AFTER { GENTLE_READ_LEN } else { READ_LEN }
    }

    /// Counts bytes that no meter was told of.
    pub(crate) fn count(&self, work: Work, bytes: u64) {
        self.bytes[work as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Limits a kind of work to so many bytes a second; 0 for no limit.
    pub fn set_rate(&self, work: Work, bytes_per_s: u64) {
        self.rates[work as usize].store(bytes_per_s, Ordering::Relaxed);
    }

    /// Uses up the limit of a work for a step of so many bytes. Returns how long to wait for it.
    fn use_up(&self, work: Work, bytes: u64, since: Instant) -> Duration {
        let rate = self.rates[work as usize].load(Ordering::Relaxed);
        if rate == 0 {
            return Duration::ZERO;
        }
        let nanos = |at: Instant| at.saturating_duration_since(self.began).as_nanos() as u64;
        let used = &self.used_until_ns[work as usize];
        let more = |until| Some(used_until(until, nanos(since), bytes, rate));
        let before = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let until = used_until(before.unwrap_or_else(|now| now), nanos(since), bytes, rate);
        Duration::from_nanos(until.saturating_sub(nanos(Instant::now())))
    }

    /// Bytes that a kind of work was about so far.
    #[must_use]
    pub fn bytes(&self, work: Work) -> u64 {
        self.bytes[work as usize].load(Ordering::Relaxed)
    }

    /// A meter for one worker, which starts now.
    #[must_use]
    pub fn meter(&self, work: Work) -> Meter<'_> {
        let seen = self.client_steps.load(Ordering::Relaxed);
        Meter { pace: self, work, since: Instant::now(), seen, owed: Duration::ZERO }
    }
}

impl Meter<'_> {
    /// A step of so many bytes has ended. Rests if there is reason to.
    pub fn step(&mut self, bytes: u64) {
        self.pace.count(self.work, bytes);
        if self.pace.is_off {
            return;
        }
        let steps = self.pace.client_steps.load(Ordering::Relaxed);
        let has_clients = steps != std::mem::replace(&mut self.seen, steps);
        if has_clients {
            self.owed += self.since.elapsed() * self.work.rest_percent() / 100;
        }
        let limited = self.pace.use_up(self.work, bytes, self.since);
        let due = self.owed.max(limited);
        if due >= REST_LEAST {
            let rest = due.min(REST_MOST);
            thread::sleep(rest);
            self.owed = self.owed.saturating_sub(rest);
        }
        self.since = Instant::now();
    }
}

/// Until when a limit of so many bytes a second is used up after a step that began at `since`. In
/// nanoseconds.
fn used_until(until: u64, since: u64, bytes: u64, rate: u64) -> u64 {
    let took = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
    until.max(since).saturating_add(u64::try_from(took).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_for_all_workers_together() {
        let (second, megabyte) = (1_000_000_000, 1_000_000);
        // A step that began two seconds ago and is allowed one.
        assert_eq!(used_until(0, 5 * second, 10 * megabyte, 10 * megabyte), 6 * second);
        // Another worker, in the same time.
        assert_eq!(used_until(6 * second, 5 * second, 5 * megabyte, 10 * megabyte), 6_500_000_000);
        assert_eq!(used_until(0, 0, u64::MAX, 1), u64::MAX);
    }

    #[test]
    fn work_rests_for_its_share_while_clients_are_there_and_for_its_limit_always() {
        let pace = Pace::default();
        let mut meter = pace.meter(Work::Move);
        assert_eq!(pace.use_up(Work::Move, 1 << 40, Instant::now()), Duration::ZERO);
        meter.since -= Duration::from_millis(1);
        meter.step(1 << 20);
        assert_eq!(meter.owed, Duration::ZERO);
        pace.note_client();
        meter.since -= Duration::from_millis(1);
        meter.step(1 << 20);
        // Less than is worth a rest: as long as the step took.
        assert!(meter.owed >= Duration::from_millis(1));
        pace.set_rate(Work::Repair, 1 << 20);
        let waits = pace.use_up(Work::Repair, 1 << 20, Instant::now());
        assert!(waits > Duration::from_millis(500) && waits <= Duration::from_secs(1));
        assert_eq!(pace.use_up(Work::Scrub, 1 << 20, Instant::now()), Duration::ZERO);
    }

    #[test]
    fn a_meter_counts_bytes_and_notices_clients() {
        let pace = Pace::off();
        let mut meter = pace.meter(Work::Move);
        meter.step(5);
        meter.step(7);
        assert_eq!(pace.bytes(Work::Move), 12);
        assert_eq!(pace.bytes(Work::Repair), 0);
        assert_eq!(pace.read_len(), READ_LEN);
        pace.note_client();
        assert_eq!(pace.read_len(), GENTLE_READ_LEN);
    }
}
