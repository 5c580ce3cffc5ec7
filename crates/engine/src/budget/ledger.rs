//! Who holds how much of one partition of the byte budget, and which request is admitted next. Pure.
//!
//! Consumers are identities, and identities belong to accounts. Two rules of the same form stand one above
//! the other: the identities of an account together leave a part of what is free to other accounts, and each
//! identity leaves a part of what its account may have to others of the account. Both leave a reserve
//! besides, so that a newcomer finds something however many came before (see [`Ledger::is_admissible`]).
//! Where requests wait, those of the account, and in it of the identity, that holds least go first.

use super::Consumer;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Requests of one consumer that may wait at a time.
pub(super) const CONSUMER_WAITING_MAX: usize = 512;
/// Requests of all consumers that may wait at a time.
pub(super) const WAITING_MAX: usize = 4096;
/// Accounts, and identities of each, that are looked at for a request that fits.
const LOOKED_AT_MAX: usize = 64;

/// An account, or an identity, holds this many times what it leaves free at most.
const HELD_FOR_FREE: u64 = 4;
/// Part of all that is kept for accounts that hold little, and of what an account may have for identities
/// that hold nothing.
const RESERVE: u64 = 5;
/// Part of all that an account has in any case.
const LITTLE: u64 = 32;
/// Part of all that is a small request.
const SMALL: u64 = 64;
/// What an upload begins with, in units: as much is small in any budget.
const MINIMUM: u64 = 96;

struct Waiter {
    id: u64,
    units: u64,
}

#[derive(Default)]
struct Holder {
    held: u64,
    queue: VecDeque<Waiter>,
}

#[derive(Default)]
struct Account {
    held: u64,
    /// Its identities that wait: what they hold, the number of their first waiting request, and who they are.
    waiting: BTreeSet<(u64, u64, Consumer)>,
}

impl Account {
    /// What decides on its place in line, after what it holds.
    fn first_id(&self) -> Option<u64> {
        self.waiting.first().map(|(_, id, _)| *id)
    }
}

/// Place in line: first come those whose account holds least, and of these the ones that hold least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    of_account: u64,
    held: u64,
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
        self.0 = self.0.rotate_left(17) ^ number;
    }

    /// Whether there is a number: there is one consumer without.
    fn write_isize(&mut self, _: isize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

type ByHash<K, V> = HashMap<K, V, BuildHasherDefault<Hashed>>;

/// The books of a partition, in units.
pub(super) struct Ledger {
    total: u64,
    free: u64,
    /// Consumers are kept apart; otherwise requests are served in the order in which they come.
    is_fair: bool,
    /// Consumers that hold or wait for something.
    holders: ByHash<Consumer, Holder>,
    /// Their accounts.
    accounts: ByHash<Option<u64>, Account>,
    /// Accounts that wait: what they hold, the number of their first waiting request, and which they are.
    waiting: BTreeSet<(u64, u64, Option<u64>)>,
    waiter_count: usize,
    next_id: u64,
}

impl Ledger {
    pub(super) fn new(total: u64, is_fair: bool) -> Self {
        Self {
            total,
            free: total,
            is_fair,
            holders: HashMap::default(),
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
        let (of_account, held) = self.held(consumer);
        let queued = self.holders.get(&consumer).map_or(0, |holder| holder.queue.len());
        let overtakes = self.is_fair && held == 0 && self.is_small(units);
        let is_free = overtakes || !self.is_awaited(consumer);
        if queued == 0 && is_free && self.is_admissible(of_account, held, units) {
            self.take(consumer, units);
            return Asked::Granted;
        }
        if queued >= CONSUMER_WAITING_MAX || self.waiter_count >= WAITING_MAX {
            return Asked::Refused;
        }
        self.next_id += 1;
        let id = self.next_id;
        self.change(consumer, |holder| holder.queue.push_back(Waiter { id, units }));
        self.waiter_count += 1;
        Asked::Waits(id)
    }

    /// Takes `units` beyond the minimum of a request, which are never waited for: only where a quarter of all
    /// stays free, the consumer holds at most half of what is left, and others of its account find something.
    pub(super) fn try_extra(&mut self, consumer: Consumer, units: u64) -> bool {
        let (of_account, held) = self.held(consumer);
        let left = self.free.saturating_sub(units);
        let (room, reserve) = self.room(of_account);
        let is_modest = !self.is_fair
            || (held + units <= left / 2 && left >= self.total / 4 && units + reserve <= room);
        if units > self.free || !is_modest || self.is_awaited(consumer) {
            return false;
        }
        self.take(consumer, units);
        true
    }

    /// Returns `units` of a consumer; [`Ledger::admit_next`] says who gets them.
    pub(super) fn release(&mut self, consumer: Consumer, units: u64) {
        self.free += units;
        self.change(consumer, |holder| holder.held -= units);
    }

    /// Removes a request that waits. False if it does not wait any more: it was admitted.
    pub(super) fn cancel(&mut self, consumer: Consumer, id: u64) -> bool {
        let mut is_found = false;
        self.change(consumer, |holder| {
            let before = holder.queue.len();
            holder.queue.retain(|waiter| waiter.id != id);
            is_found = holder.queue.len() < before;
        });
        self.waiter_count -= usize::from(is_found);
        is_found
    }

    /// Admits the next request that waits and fits now: its consumer, its number, its units.
    pub(super) fn admit_next(&mut self) -> Option<(Consumer, u64, u64)> {
        let (consumer, id, units) = self.next()?;
        self.free -= units;
        self.waiter_count -= 1;
        self.change(consumer, |holder| {
            holder.queue.pop_front();
            holder.held += units;
        });
        Some((consumer, id, units))
    }

    fn next(&self) -> Option<(Consumer, u64, u64)> {
        // Behind a request that only free space can admit, others go on only if they are small.
        let mut is_space_awaited = false;
        for &(of_account, _, account) in self.waiting.iter().take(LOOKED_AT_MAX) {
            let mut is_room_awaited = false;
            let waiting = &self.accounts.get(&account)?.waiting;
            for &(held, id, consumer) in waiting.iter().take(LOOKED_AT_MAX) {
                let units = self.holders.get(&consumer)?.queue.front()?.units;
                let overtakes = held == 0 && self.is_small(units);
                let is_next = overtakes || !(is_space_awaited || is_room_awaited);
                if is_next && self.is_admissible(of_account, held, units) {
                    return Some((consumer, id, units));
                }
                if !self.is_fair {
                    return None;
                }
                is_room_awaited |= held == 0;
                is_space_awaited |= of_account == 0;
                // Where one unit is too much, more is.
                if held > 0 && !self.is_admissible(of_account, held, 1) {
                    break;
                }
            }
        }
        None
    }

    /// What the account of a consumer holds, and what it holds itself.
    fn held(&self, consumer: Consumer) -> (u64, u64) {
        let of_account = self.accounts.get(&consumer.account()).map_or(0, |account| account.held);
        (of_account, self.holders.get(&consumer).map_or(0, |holder| holder.held))
    }

    /// Whether a request waits that nothing but free space, or room of this account, can admit: no other
    /// takes that away, but for small ones of consumers that hold nothing.
    fn is_awaited(&self, consumer: Consumer) -> bool {
        let Some((of_account, ..)) = self.waiting.first() else { return false };
        if !self.is_fair || *of_account == 0 {
            return true;
        }
        let account = self.accounts.get(&consumer.account());
        account.and_then(|it| it.waiting.first()).is_some_and(|(held, ..)| *held == 0)
    }

    /// What decides on the place of a consumer in line.
    pub(super) fn place(&self, consumer: Consumer) -> Place {
        let (of_account, held) = self.held(consumer);
        Place { of_account, held }
    }

    fn is_small(&self, units: u64) -> bool {
        units <= (self.total / SMALL).max(MINIMUM)
    }

    /// What an account that holds so much may still take, and what of that is kept for those of its
    /// identities that hold nothing.
    fn room(&self, of_account: u64) -> (u64, u64) {
        let free = self.free.saturating_sub(self.total / RESERVE);
        let room = (HELD_FOR_FREE * free).saturating_sub(of_account) / (HELD_FOR_FREE + 1);
        (room, (of_account + room) / RESERVE)
    }

    /// Whether a request fits, by what its account and its consumer hold.
    ///
    /// - An account has little (1/32 of all) in any case; for that a fifth of all is kept.
    /// - Beyond that, an account holds at most four times what stays free besides that fifth.
    /// - Of what the account may have, a fifth is kept for small requests of identities that hold nothing; an
    ///   identity that holds something leaves a quarter of what it holds free besides.
    fn is_admissible(&self, of_account: u64, held: u64, units: u64) -> bool {
        let is_alone = self.free == self.total;
        let has_little = of_account + units <= (self.total / LITTLE).max(MINIMUM);
        if !self.is_fair || is_alone || has_little {
            return units <= self.free;
        }
        if of_account == 0 {
            return units + self.total / RESERVE <= self.free;
        }
        let (room, reserve) = self.room(of_account);
        match held {
            0 if self.is_small(units) => units <= room,
            0 => units + reserve <= room,
            _ => held + units <= HELD_FOR_FREE * room.saturating_sub(units + reserve),
        }
    }

    fn take(&mut self, consumer: Consumer, units: u64) {
        self.free -= units;
        self.change(consumer, |holder| holder.held += units);
    }

    /// Changes what a consumer holds and waits for, and its place in line with it.
    fn change(&mut self, consumer: Consumer, change: impl FnOnce(&mut Holder)) {
        let name = consumer.account();
        let mut entry = match self.holders.entry(consumer) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Holder::default()),
        };
        let account = self.accounts.entry(name).or_default();
        if let Some(first) = account.first_id() {
            self.waiting.remove(&(account.held, first, name));
        }
        let holder = entry.get_mut();
        if let Some(first) = holder.queue.front() {
            account.waiting.remove(&(holder.held, first.id, consumer));
        }
        let before = holder.held;
        change(holder);
        account.held = account.held + holder.held - before;
        match holder.queue.front() {
            Some(first) => {
                account.waiting.insert((holder.held, first.id, consumer));
            }
            None if holder.held == 0 => {
                entry.remove();
            }
            None => {}
        }
        match account.first_id() {
            Some(first) => {
                self.waiting.insert((account.held, first, name));
            }
            None if account.held == 0 => {
                self.accounts.remove(&name);
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

    /// An identity that is an account of its own.
    fn consumer(number: u64) -> Consumer {
        member(number, number)
    }

    fn member(account: u64, number: u64) -> Consumer {
        Consumer::of(&account, &number)
    }

    fn fair() -> Ledger {
        Ledger::new(TOTAL, true)
    }

    /// Takes single units until one has to wait, which is withdrawn; returns how many were had.
    fn fill(ledger: &mut Ledger, of: Consumer) -> u64 {
        for granted in 0.. {
            if let Asked::Waits(id) = ledger.ask(of, 1) {
                assert!(ledger.cancel(of, id));
                return granted;
            }
        }
        0
    }

    #[test]
    fn one_consumer_leaves_more_than_half() {
        let mut ledger = fair();
        let granted = fill(&mut ledger, consumer(1));
        assert!((400..=450).contains(&granted), "{granted}");
        assert_eq!(ledger.ask(consumer(2), 100), Asked::Granted);
        assert!(ledger.free() >= 400);
    }

    #[test]
    fn identities_of_an_account_leave_something_to_other_accounts_and_to_each_other() {
        let mut ledger = Ledger::new(20_000, true);
        for number in 0..20 {
            assert!(fill(&mut ledger, member(1, number)) > 0, "identity {number} got nothing");
        }
        assert_eq!(ledger.ask(member(1, 20), 100), Asked::Granted);
        assert!(ledger.free() >= 20_000 / 3, "{}", ledger.free());
        for number in 2..8 {
            assert_eq!(ledger.ask(consumer(number), 600), Asked::Granted, "account {number}");
        }
    }

    #[test]
    fn a_large_request_that_waits_holds_up_no_small_one_of_others() {
        let mut ledger = Ledger::new(6144, true);
        for number in 0..48 {
            ledger.ask(member(1, number), 2176);
        }
        assert!(ledger.waiter_count() > 40);
        assert_eq!(ledger.ask(member(1, 100), 50), Asked::Granted);
        assert!(matches!(ledger.ask(consumer(2), 2176), Asked::Granted | Asked::Waits(_)));
        for number in 3..8 {
            assert_eq!(ledger.ask(consumer(number), 90), Asked::Granted, "account {number}");
        }
    }

    #[test]
    fn a_consumer_that_holds_nothing_is_not_overtaken_but_by_small_ones() {
        let mut ledger = fair();
        for number in 10..19 {
            assert_eq!(ledger.ask(consumer(number), 90), Asked::Granted);
        }
        let Asked::Waits(first) = ledger.ask(consumer(1), 150) else { panic!("it does not fit") };
        assert!(matches!(ledger.ask(consumer(2), 120), Asked::Waits(_)));
        assert!(matches!(ledger.ask(consumer(10), 1), Asked::Waits(_)));
        assert!(!ledger.try_extra(consumer(11), 1));
        assert_eq!(ledger.ask(consumer(3), 50), Asked::Granted);
        for number in [18, 17] {
            ledger.release(consumer(number), 90);
            assert_eq!(ledger.admit_next(), None);
        }
        ledger.release(consumer(16), 90);
        assert_eq!(ledger.admit_next(), Some((consumer(1), first, 150)));
        assert_eq!(ledger.admit_next(), None);
        ledger.release(consumer(15), 90);
        assert!(matches!(ledger.admit_next(), Some((of, _, 120)) if of == consumer(2)));
    }

    #[test]
    fn a_consumer_that_waits_at_its_own_limit_holds_up_no_other() {
        let mut ledger = fair();
        fill(&mut ledger, consumer(1));
        for _ in 0..100 {
            assert!(matches!(ledger.ask(consumer(1), 1), Asked::Waits(_)));
        }
        assert_eq!(ledger.ask(consumer(2), 200), Asked::Granted);
        assert_eq!(ledger.admit_next(), None);
        ledger.release(consumer(2), 200);
        assert_eq!(ledger.admit_next(), None);
        ledger.release(consumer(1), 5);
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
        assert!(ledger.holders.is_empty() && ledger.accounts.is_empty());
        assert!(ledger.waiting.is_empty());
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
                let of = member(number % 3, number);
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
            prop_assert!(ledger.holders.is_empty() && ledger.accounts.is_empty());
        }

        /// Goal: an account that has little finds something at once whatever others did, as long as five
        /// accounts at most hold more than they would leave otherwise. Method: five accounts with nine
        /// identities each ask, take more, and return in any order; after each step a sixth asks.
        #[test]
        fn an_account_that_holds_nothing_finds_something_at_once(
            steps in prop::collection::vec((0_u64..5, 0_u64..9, 1_u64..9000, 0_u8..5), 1..200),
            asked in 1_u64..600,
        ) {
            let mut ledger = Ledger::new(20_000, true);
            let mut held: VecDeque<(Consumer, u64)> = VecDeque::new();
            for (account, number, units, action) in steps {
                let of = member(account, number);
                match action {
                    0 => if let Some((of, units)) = held.pop_front() {
                        ledger.release(of, units);
                    },
                    1 => if ledger.try_extra(of, units) {
                        held.push_back((of, units));
                    },
                    _ => {
                        let units = if action == 2 { units } else { units % 300 + 1 };
                        if ledger.ask(of, units) == Asked::Granted {
                            held.push_back((of, units));
                        }
                    }
                }
                while let Some((of, _, units)) = ledger.admit_next() {
                    held.push_back((of, units));
                }
                let newcomer = member(5, 0);
                if asked <= 20_000 / SMALL {
                    prop_assert_eq!(ledger.ask(newcomer, asked), Asked::Granted);
                    ledger.release(newcomer, asked);
                }
            }
        }
    }
}
