//! Turns at work that few may do at once, in an order in which no caller holds up another.
//!
//! Accounts that wait stand in a ring, and so do the identities that wait within each. A turn goes to the
//! first request of the first identity of the first account; both go to the end of their rings if they still
//! wait, and leave them otherwise.
//!
//! # Invariants
//!
//! - An account that comes stands behind all that wait, and no account that comes later gets ahead of it. It
//!   waits for as many turns as there are accounts before it, whatever those ask for and however many
//!   identities ask for it. An identity waits for as many turns of its account as there are identities before
//!   it; its requests are served in the order in which they come.
//! - Nothing is remembered of those that do not wait, so that nothing can be gained by coming again.

use crate::Consumer;
use crate::sync::{Mutex, lock};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Those that wait, in the order of their turns.
struct Ring<K, V> {
    next_place: u64,
    places: BTreeMap<K, u64>,
    members: BTreeMap<u64, (K, V)>,
}

impl<K, V> Default for Ring<K, V> {
    fn default() -> Self {
        Self { next_place: 0, places: BTreeMap::new(), members: BTreeMap::new() }
    }
}

impl<K: Ord + Copy, V> Ring<K, V> {
    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn append(&mut self, key: K, value: V) {
        self.places.insert(key, self.next_place);
        self.members.insert(self.next_place, (key, value));
        self.next_place += 1;
    }

    fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let place = self.places.get(&key)?;
        self.members.get_mut(place).map(|(_, value)| value)
    }

    fn remove(&mut self, key: K) {
        if let Some(place) = self.places.remove(&key) {
            self.members.remove(&place);
        }
    }

    fn take_first(&mut self) -> Option<(K, V)> {
        let (_, (key, value)) = self.members.pop_first()?;
        self.places.remove(&key);
        Some((key, value))
    }
}

/// Requests of one identity, by number of arrival.
type Requests<T> = BTreeMap<u64, T>;

/// All that wait.
struct Line<T> {
    accounts: Ring<Option<u64>, Ring<Consumer, Requests<T>>>,
    next_number: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { accounts: Ring::default(), next_number: 0 }
    }
}

impl<T> Line<T> {
    /// Puts a request into the line; the number is what [`Line::cancel`] takes.
    fn join(&mut self, caller: Consumer, request: T) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let account = caller.account();
        if self.accounts.get_mut(account).is_none() {
            self.accounts.append(account, Ring::default());
        }
        if let Some(identities) = self.accounts.get_mut(account) {
            match identities.get_mut(caller) {
                Some(requests) => drop(requests.insert(number, request)),
                None => identities.append(caller, BTreeMap::from([(number, request)])),
            }
        }
        number
    }

    /// Takes the request whose turn it is.
    fn next(&mut self) -> Option<T> {
        let (account, mut identities) = self.accounts.take_first()?;
        let (caller, mut requests) = identities.take_first()?;
        let (_, request) = requests.pop_first()?;
        if !requests.is_empty() {
            identities.append(caller, requests);
        }
        if !identities.is_empty() {
            self.accounts.append(account, identities);
        }
        Some(request)
    }

    /// Takes a request out of the line, if it is still there.
    fn cancel(&mut self, caller: Consumer, number: u64) -> Option<T> {
        let account = caller.account();
        let identities = self.accounts.get_mut(account)?;
        let requests = identities.get_mut(caller)?;
        let request = requests.remove(&number)?;
        if requests.is_empty() {
            identities.remove(caller);
        }
        if identities.is_empty() {
            self.accounts.remove(account);
        }
        Some(request)
    }
}

struct State {
    free: usize,
    /// Empty while a turn is free.
    line: Line<oneshot::Sender<Turn>>,
}

/// Hands out turns. What bounds those that wait is what they hold meanwhile.
pub struct Turns(Mutex<State>);

/// A turn, which ends when it is dropped.
pub struct Turn(Arc<Turns>);

/// A request in line; dropping it leaves the line.
struct Waiting<'a> {
    turns: &'a Turns,
    caller: Consumer,
    number: u64,
}

impl Turns {
    /// So many at once.
    #[must_use]
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: count, line: Line::default() })))
    }

    /// Waits for a turn.
    pub async fn turn(self: &Arc<Self>, caller: Consumer) -> Turn {
        let (granted, number) = {
            let mut state = lock(&self.0);
            if state.free > 0 {
                state.free -= 1;
                return Turn(self.clone());
            }
            let (grant, granted) = oneshot::channel();
            (granted, state.line.join(caller, grant))
        };
        let _waiting = Waiting { turns: self, caller, number };
        // As long as a caller waits, a turn is in progress, whose end grants another.
        granted.await.expect("all that wait get a turn")
    }

    /// Ends a turn: it goes to the next that waits.
    fn end(self: &Arc<Self>) {
        let next = {
            let mut state = lock(&self.0);
            let next = state.line.next();
            if next.is_none() {
                state.free += 1;
            }
            next
        };
        if let Some(grant) = next {
            // A request that is gone by now drops its turn, which grants it to another.
            drop(grant.send(Turn(self.clone())));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let left = lock(&self.turns.0).line.cancel(self.caller, self.number);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn caller(account: u32, identity: u32) -> Consumer {
        Consumer::of(&account, &(account, identity))
    }

    fn is_idle(turns: &Turns, count: usize) -> bool {
        let state = lock(&turns.0);
        state.line.accounts.is_empty() && state.free == count
    }

    /// Goal: who comes late waits for one turn in progress, not for all that another caller asked for.
    #[tokio::test]
    async fn a_caller_waits_for_one_turn_of_a_flood() {
        for count in [1, 2] {
            let turns = Turns::new(count);
            let order = Arc::new(Mutex::new(Vec::new()));
            let mut running = Vec::new();
            for _ in 0..count {
                running.push(turns.turn(caller(0, 0)).await);
            }
            let mut tasks = Vec::new();
            for number in [0; 50].into_iter().chain([1, 2, 1]) {
                let (turns, order) = (turns.clone(), order.clone());
                tasks.push(tokio::spawn(async move {
                    let _turn = turns.turn(caller(number, 0)).await;
                    lock(&order).push(number);
                    tokio::task::yield_now().await;
                }));
                tokio::task::yield_now().await;
            }
            drop(running);
            for task in tasks {
                task.await.expect("no panic");
            }
            let order = lock(&order);
            let first = |number| order.iter().position(|n| *n == number).expect("had a turn");
            assert!(first(1) < 3 && first(2) < 4, "{order:?}");
            assert_eq!(order.len(), 53);
            assert!(is_idle(&turns, count));
        }
    }

    #[tokio::test]
    async fn a_turn_of_a_request_that_is_gone_goes_to_the_next() {
        let turns = Turns::new(1);
        let running = turns.turn(caller(0, 0)).await;
        let gone = tokio::time::timeout(Duration::from_millis(5), turns.turn(caller(1, 0)));
        assert!(gone.await.is_err());
        assert!(lock(&turns.0).line.accounts.is_empty(), "it left the line");
        let mut next = Box::pin(turns.turn(caller(2, 0)));
        assert!(poll_once(next.as_mut()).is_none());
        let mut after = Box::pin(turns.turn(caller(3, 0)));
        assert!(poll_once(after.as_mut()).is_none());
        // Granted, but dropped before it could be taken.
        drop(running);
        drop(next);
        drop(after.await);
        assert!(is_idle(&turns, 1));
    }

    fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    /// Callers that ask again as soon as they had their turn (one of accounts x identities at a time), as a
    /// simulation without tasks: how many turns any request waits for.
    fn longest_wait(accounts: u32, identities: u32, rounds: u32) -> u64 {
        let mut line = Line::default();
        let (mut turn, mut longest) = (0, 0);
        for account in 0..accounts {
            for identity in 0..identities {
                line.join(caller(account, identity), (account, identity, turn));
            }
        }
        for _ in 0..rounds * accounts * identities {
            let (account, identity, since) = line.next().expect("all wait");
            longest = longest.max(turn - since);
            turn += 1;
            // It was away for its turn: others come before it.
            line.join(caller(account, identity), (account, identity, turn));
        }
        longest
    }

    #[test]
    fn all_of_a_closed_loop_are_served_in_each_round() {
        for (accounts, identities) in [(1, 1), (1, 50), (50, 1), (7, 13), (40, 40)] {
            let longest = longest_wait(accounts, identities, 4);
            assert!(
                longest < u64::from(accounts * identities),
                "{accounts} x {identities}: {longest}"
            );
        }
    }

    /// The finding: who asked for one turn only, while enough others asked again and again, never got it.
    #[tokio::test]
    async fn a_caller_beside_many_users_of_one_account_waits_for_two_turns() {
        let turns = Turns::new(1);
        let served = Arc::new(Mutex::new(0));
        let running = turns.turn(caller(0, 0)).await;
        let mut loops = Vec::new();
        for identity in 0..64 {
            let (turns, served) = (turns.clone(), served.clone());
            loops.push(tokio::spawn(async move {
                loop {
                    let turn = turns.turn(caller(0, identity)).await;
                    *lock(&served) += 1;
                    tokio::task::yield_now().await;
                    drop(turn);
                }
            }));
            tokio::task::yield_now().await;
        }
        drop(running);
        for account in 1..200 {
            let before = *lock(&served);
            drop(turns.turn(caller(account, 0)).await);
            let between = *lock(&served) - before;
            assert!(between <= 2, "{between} turns of others");
        }
        loops.into_iter().for_each(|task| task.abort());
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Join(u32, u32),
        Cancel(usize),
        Next,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4u32, 0..4u32).prop_map(|(account, identity)| Step::Join(account, identity)),
            1 => (0..64usize).prop_map(Step::Cancel),
            3 => Just(Step::Next),
        ]
    }

    /// A request as the test knows it: which accounts, and which identities of its own, had a turn since it
    /// was the first of its identity.
    #[derive(Debug)]
    struct Known {
        account: u32,
        identity: u32,
        number: u64,
        turns_of_accounts: BTreeMap<u32, u32>,
        turns_of_identities: BTreeMap<u32, u32>,
    }

    fn check(steps: Vec<Step>) {
        let mut line = Line::default();
        let mut known: Vec<Known> = Vec::new();
        for step in steps {
            match step {
                Step::Join(account, identity) => {
                    let number = line.join(caller(account, identity), (account, identity));
                    let (turns_of_accounts, turns_of_identities) = Default::default();
                    known.push(Known {
                        account,
                        identity,
                        number,
                        turns_of_accounts,
                        turns_of_identities,
                    });
                }
                Step::Cancel(at) if at < known.len() => {
                    let gone = known.remove(at);
                    let left = line.cancel(caller(gone.account, gone.identity), gone.number);
                    assert_eq!(left, Some((gone.account, gone.identity)));
                }
                Step::Cancel(_) => {}
                Step::Next => {
                    let Some((account, identity)) = line.next() else {
                        assert!(known.is_empty() && line.accounts.is_empty());
                        continue;
                    };
                    let is_of = |k: &Known| (k.account, k.identity) == (account, identity);
                    let at = known.iter().position(is_of).expect("it waits");
                    known.remove(at);
                    let mut seen = Vec::new();
                    for waiting in &mut known {
                        let key = (waiting.account, waiting.identity);
                        if is_of(waiting) || seen.contains(&key) {
                            // Behind another of its identity: its time begins as this one is served.
                            waiting.turns_of_accounts.clear();
                            waiting.turns_of_identities.clear();
                            continue;
                        }
                        seen.push(key);
                        *waiting.turns_of_accounts.entry(account).or_default() += 1;
                        if account == waiting.account {
                            *waiting.turns_of_identities.entry(identity).or_default() += 1;
                        }
                    }
                }
            }
            for waiting in &known {
                let own = waiting.turns_of_accounts.get(&waiting.account).copied().unwrap_or(0);
                let most = waiting.turns_of_accounts.values().max().copied().unwrap_or(0);
                assert!(
                    most <= own + 1,
                    "an account had two turns between two of another: {waiting:?}"
                );
                let most = waiting.turns_of_identities.values().max().copied().unwrap_or(0);
                assert!(most <= 1, "an identity had two turns while another waited: {waiting:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn nobody_has_two_turns_while_another_waits_for_one(
            steps in prop::collection::vec(step(), 0..200)
        ) {
            check(steps);
        }
    }
}
