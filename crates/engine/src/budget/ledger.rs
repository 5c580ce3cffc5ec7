//! Who holds how much of one partition of the byte budget, and which request is admitted next. Pure.
//!
//! A consumer leaves at least as much free as it holds: one alone gets half, two a third each, `n` of them
//! leave one part in `n + 1` to the next. A consumer that holds nothing is admitted whenever its request
//! fits. Where requests wait, those of the consumer that holds least go first.

use super::Consumer;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Requests of one consumer that may wait at a time.
pub(super) const CONSUMER_WAITING_MAX: usize = 512;
/// Requests of all consumers that may wait at a time.
pub(super) const WAITING_MAX: usize = 4096;

struct Waiter {
    id: u64,
    units: u64,
}

#[derive(Default)]
struct Account {
    held: u64,
    queue: VecDeque<Waiter>,
}

/// Outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Granted,
    /// It waits, under this number.
    Waits(u64),
    /// Too many wait already.
    Refused,
}

/// Takes the number of a consumer, which is a keyed hash, as it is.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }

    /// Whether there is a number: there is one consumer without.
    fn write_isize(&mut self, _: isize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The books of a partition, in units.
pub(super) struct Ledger {
    total: u64,
    free: u64,
    /// Consumers are kept apart; otherwise requests are served in the order in which they come.
    is_fair: bool,
    /// Consumers that hold or wait for something.
    accounts: HashMap<Consumer, Account, BuildHasherDefault<Hashed>>,
    /// Consumers that wait: what they hold, the number of their first waiting request, and who they are.
    waiting: BTreeSet<(u64, u64, Consumer)>,
    waiter_count: usize,
    next_id: u64,
}

impl Ledger {
    pub(super) fn new(total: u64, is_fair: bool) -> Self {
        Self {
            total,
            free: total,
            is_fair,
            accounts: HashMap::default(),
            waiting: BTreeSet::new(),
            waiter_count: 0,
            next_id: 0,
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn free(&self) -> u64 {
        self.free
    }

    pub(super) fn waiter_count(&self) -> usize {
        self.waiter_count
    }

    /// Takes `units` for a consumer, or puts the request in line. No request is larger than the partition.
    pub(super) fn ask(&mut self, consumer: Consumer, units: u64) -> Asked {
        let account = self.accounts.get(&consumer);
        let (held, queued) = account.map_or((0, 0), |a| (a.held, a.queue.len()));
        if queued == 0 && !self.is_space_awaited() && self.is_admissible(held, units) {
            self.take(consumer, units);
            return Asked::Granted;
        }
        if queued >= CONSUMER_WAITING_MAX || self.waiter_count >= WAITING_MAX {
            return Asked::Refused;
        }
        self.next_id += 1;
        let id = self.next_id;
        if queued == 0 {
            self.waiting.insert((held, id, consumer));
        }
        self.accounts.entry(consumer).or_default().queue.push_back(Waiter { id, units });
        self.waiter_count += 1;
        Asked::Waits(id)
    }

    /// Takes `units` beyond the minimum of a request, which are never waited for: only where a quarter of all
    /// stays free and the consumer holds at most half of what is left.
    pub(super) fn try_extra(&mut self, consumer: Consumer, units: u64) -> bool {
        let held = self.accounts.get(&consumer).map_or(0, |account| account.held);
        let left = self.free.saturating_sub(units);
        let is_modest = !self.is_fair || (held + units <= left / 2 && left >= self.total / 4);
        if units > self.free || !is_modest || self.is_space_awaited() {
            return false;
        }
        self.take(consumer, units);
        true
    }

    /// Returns `units` of a consumer; [`Ledger::admit_next`] says who gets them.
    pub(super) fn release(&mut self, consumer: Consumer, units: u64) {
        self.free += units;
        self.change(consumer, |account| account.held -= units);
    }

    /// Removes a request that waits. False if it does not wait any more: it was admitted.
    pub(super) fn cancel(&mut self, consumer: Consumer, id: u64) -> bool {
        let mut is_found = false;
        self.change(consumer, |account| {
            let before = account.queue.len();
            account.queue.retain(|waiter| waiter.id != id);
            is_found = account.queue.len() < before;
        });
        self.waiter_count -= usize::from(is_found);
        is_found
    }

    /// Admits the next request that waits and fits now: its consumer, its number, its units.
    pub(super) fn admit_next(&mut self) -> Option<(Consumer, u64, u64)> {
        let mut admitted = None;
        for &(held, id, consumer) in &self.waiting {
            let units = self.accounts.get(&consumer)?.queue.front()?.units;
            if self.is_admissible(held, units) {
                admitted = Some((consumer, id, units));
                break;
            }
            // A consumer that holds nothing is not overtaken; and where one unit is too much, more is.
            if !self.is_fair || held == 0 || !self.is_admissible(held, 1) {
                break;
            }
        }
        let (consumer, id, units) = admitted?;
        self.free -= units;
        self.waiter_count -= 1;
        self.change(consumer, |account| {
            account.queue.pop_front();
            account.held += units;
        });
        Some((consumer, id, units))
    }

    /// Whether a request waits that nothing but free space can admit: none overtakes it.
    fn is_space_awaited(&self) -> bool {
        self.waiting.first().is_some_and(|(held, ..)| !self.is_fair || *held == 0)
    }

    fn is_admissible(&self, held: u64, units: u64) -> bool {
        if !self.is_fair || held == 0 {
            return units <= self.free;
        }
        held + units <= self.free.saturating_sub(units)
    }

    fn take(&mut self, consumer: Consumer, units: u64) {
        self.free -= units;
        self.change(consumer, |account| account.held += units);
    }

    /// Changes an account, and its place in line with it.
    fn change(&mut self, consumer: Consumer, change: impl FnOnce(&mut Account)) {
        let mut entry = match self.accounts.entry(consumer) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Account::default()),
        };
        let account = entry.get_mut();
        if let Some(first) = account.queue.front() {
            self.waiting.remove(&(account.held, first.id, consumer));
        }
        change(account);
        match account.queue.front() {
            Some(first) => {
                self.waiting.insert((account.held, first.id, consumer));
            }
            None if account.held == 0 => {
                entry.remove();
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOTAL: u64 = 1000;

    fn consumer(number: u64) -> Consumer {
        Consumer(Some(number))
    }

    fn fair() -> Ledger {
        Ledger::new(TOTAL, true)
    }

    #[test]
    fn one_consumer_leaves_as_much_as_it_holds() {
        let mut ledger = fair();
        let granted = (0..TOTAL).filter(|_| ledger.ask(consumer(1), 1) == Asked::Granted).count();
        assert!((499..=500).contains(&granted), "{granted}");
        assert_eq!(ledger.ask(consumer(2), 100), Asked::Granted);
        assert!(ledger.free() >= 400);
    }

    #[test]
    fn each_further_consumer_finds_its_part() {
        let mut ledger = fair();
        for number in 1..10 {
            let mut granted = 0;
            while ledger.ask(consumer(number), 1) == Asked::Granted {
                granted += 1;
            }
            assert!(granted > 0, "consumer {number} got nothing");
        }
    }

    #[test]
    fn a_consumer_that_holds_nothing_is_not_overtaken() {
        let mut ledger = fair();
        for number in 10..19 {
            assert_eq!(ledger.ask(consumer(number), 100), Asked::Granted);
        }
        let Asked::Waits(first) = ledger.ask(consumer(1), 150) else { panic!("it does not fit") };
        assert!(matches!(ledger.ask(consumer(2), 50), Asked::Waits(_)));
        assert!(matches!(ledger.ask(consumer(10), 1), Asked::Waits(_)));
        assert!(!ledger.try_extra(consumer(11), 1));
        assert_eq!(ledger.admit_next(), None);
        ledger.release(consumer(18), 100);
        assert_eq!(ledger.admit_next(), Some((consumer(1), first, 150)));
        assert!(matches!(ledger.admit_next(), Some((of, _, 50)) if of == consumer(2)));
    }

    #[test]
    fn a_consumer_that_waits_at_its_own_limit_holds_up_no_other() {
        let mut ledger = fair();
        while ledger.ask(consumer(1), 1) == Asked::Granted {}
        for _ in 0..100 {
            assert!(matches!(ledger.ask(consumer(1), 1), Asked::Waits(_)));
        }
        assert_eq!(ledger.ask(consumer(2), 200), Asked::Granted);
        assert_eq!(ledger.admit_next(), None);
        ledger.release(consumer(2), 200);
        assert_eq!(ledger.admit_next(), None);
        ledger.release(consumer(1), 2);
        assert!(matches!(ledger.admit_next(), Some((of, _, 1)) if of == consumer(1)));
    }

    #[test]
    fn requests_that_wait_are_bounded() {
        let mut ledger = fair();
        assert_eq!(ledger.ask(consumer(0), TOTAL), Asked::Granted);
        for _ in 0..CONSUMER_WAITING_MAX {
            assert!(matches!(ledger.ask(consumer(1), 1), Asked::Waits(_)));
        }
        assert_eq!(ledger.ask(consumer(1), 1), Asked::Refused);
        for number in 0..(WAITING_MAX - CONSUMER_WAITING_MAX) as u64 {
            assert!(matches!(ledger.ask(consumer(10 + number), 1), Asked::Waits(_)));
        }
        assert_eq!(ledger.ask(consumer(9_999_999), 1), Asked::Refused);
    }

    #[test]
    fn a_request_that_is_withdrawn_leaves_nothing_behind() {
        let mut ledger = fair();
        assert_eq!(ledger.ask(consumer(1), TOTAL), Asked::Granted);
        let Asked::Waits(id) = ledger.ask(consumer(2), 5) else { panic!("nothing is free") };
        assert!(ledger.cancel(consumer(2), id));
        assert!(!ledger.cancel(consumer(2), id));
        ledger.release(consumer(1), TOTAL);
        assert_eq!(ledger.admit_next(), None);
        assert!(ledger.accounts.is_empty() && ledger.waiting.is_empty());
        assert_eq!((ledger.free(), ledger.waiter_count()), (TOTAL, 0));
    }

    proptest! {
        /// Goal: nothing is lost or counted twice, and where requests end, all that wait are admitted.
        /// Method: random requests of a few consumers; a model counts; at the end all is released.
        #[test]
        fn units_are_conserved_and_every_request_is_admitted(
            is_fair in any::<bool>(),
            steps in prop::collection::vec((0_u64..5, 1_u64..300, 0_u8..4), 1..300),
        ) {
            let mut ledger = Ledger::new(TOTAL, is_fair);
            let mut held: VecDeque<(Consumer, u64)> = VecDeque::new();
            let mut waiting: Vec<(Consumer, u64)> = Vec::new();
            let admit = |ledger: &mut Ledger, held: &mut VecDeque<_>, waiting: &mut Vec<_>| {
                while let Some((of, id, units)) = ledger.admit_next() {
                    waiting.retain(|entry| *entry != (of, id));
                    held.push_back((of, units));
                }
            };
            for (number, units, action) in steps {
                let of = consumer(number);
                match action {
                    0 => if let Some((of, units)) = held.pop_front() {
                        ledger.release(of, units);
                    },
                    1 => if ledger.try_extra(of, units) {
                        held.push_back((of, units));
                    },
                    2 if !waiting.is_empty() => {
                        let (of, id) = waiting.swap_remove(units as usize % waiting.len());
                        prop_assert!(ledger.cancel(of, id));
                    }
                    _ => match ledger.ask(of, units) {
                        Asked::Granted => held.push_back((of, units)),
                        Asked::Waits(id) => waiting.push((of, id)),
                        Asked::Refused => prop_assert!(false, "few requests wait"),
                    },
                }
                admit(&mut ledger, &mut held, &mut waiting);
                let sum: u64 = held.iter().map(|(_, units)| units).sum();
                prop_assert_eq!(ledger.free() + sum, TOTAL);
                prop_assert_eq!(ledger.waiter_count(), waiting.len());
            }
            while let Some((of, units)) = held.pop_front() {
                ledger.release(of, units);
                admit(&mut ledger, &mut held, &mut waiting);
            }
            prop_assert!(waiting.is_empty(), "{:?} wait though nothing is held", waiting);
            prop_assert_eq!(ledger.free(), TOTAL);
            prop_assert!(ledger.accounts.is_empty());
        }
    }
}
