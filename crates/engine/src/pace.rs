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
    /// Bytes a second of a scrub; 0 for no limit.
    scrub_rate: AtomicU64,
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
            scrub_rate: AtomicU64::new(0),
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

    /// Limits a scrub to so many bytes a second.
    pub fn set_scrub_rate(&self, bytes_per_s: u64) {
        self.scrub_rate.store(bytes_per_s, Ordering::Relaxed);
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
        let rate = match self.work {
            Work::Scrub => self.pace.scrub_rate.load(Ordering::Relaxed),
            _ => 0,
        };
        self.owed += rest(self.work, bytes, self.since.elapsed(), has_clients, rate);
        if self.owed >= REST_LEAST {
            thread::sleep(self.owed.min(REST_MOST));
            self.owed = self.owed.saturating_sub(REST_MOST);
        }
        self.since = Instant::now();
    }
}

/// How long to rest after a step that took `spent`. `rate`: bytes a second at most, 0 for any.
fn rest(work: Work, bytes: u64, spent: Duration, has_clients: bool, rate: u64) -> Duration {
    let yielded = match has_clients {
        true => spent * work.rest_percent() / 100,
        false => Duration::ZERO,
    };
    let least = match rate {
        0 => Duration::ZERO,
        rate => Duration::from_secs_f64(bytes as f64 / rate as f64).saturating_sub(spent),
    };
    yielded.max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_rests_only_while_clients_are_there_and_a_scrub_keeps_its_rate() {
        let ms = Duration::from_millis;
        assert_eq!(rest(Work::Repair, 1 << 20, ms(10), false, 0), ms(0));
        assert_eq!(rest(Work::Repair, 1 << 20, ms(10), true, 0), ms(5));
        assert_eq!(rest(Work::Move, 1 << 20, ms(10), true, 0), ms(10));
        assert_eq!(rest(Work::Scrub, 1_000_000, ms(10), true, 0), ms(90));
        assert_eq!(rest(Work::Scrub, 1_000_000, ms(10), false, 10_000_000), ms(90));
        assert_eq!(rest(Work::Scrub, 1_000_000, ms(200), false, 10_000_000), ms(0));
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
