//! Turns at work that few may do at once, in an order in which no caller holds up another.
//!
//! Of those that wait, a caller with the fewest turns goes first; of these, the one whose last turn began
//! longest ago.

use crate::budget::Consumer;
use drystone_base::sync::{Mutex, lock};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

#[derive(Default)]
struct Account {
    held: usize,
    /// Number of the last turn that began; 0 for none.
    last: u64,
    line: VecDeque<oneshot::Sender<Turn>>,
}

struct State {
    free: usize,
    last: u64,
    /// Callers that have a turn or wait for one.
    accounts: HashMap<Consumer, Account>,
}

/// Hands out turns. What bounds those that wait is what they hold meanwhile.
pub struct Turns(Mutex<State>);

/// A turn, which ends when it is dropped.
pub struct Turn {
    turns: Arc<Turns>,
    caller: Consumer,
}

impl Turns {
    /// So many at once.
    #[must_use]
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: count, last: 0, accounts: HashMap::new() })))
    }

    /// Waits for a turn.
    pub async fn turn(self: &Arc<Self>, caller: Consumer) -> Turn {
        let waits = {
            let mut state = lock(&self.0);
            if state.free > 0 {
                state.begin(caller);
                drop(state);
                return Turn { turns: self.clone(), caller };
            }
            let (granted, waits) = oneshot::channel();
            let line = &mut state.accounts.entry(caller).or_default().line;
            // Those that do not wait any more hold nothing that bounds them.
            line.retain(|waiting| !waiting.is_closed());
            line.push_back(granted);
            waits
        };
        // As long as a caller waits, a turn is in progress, whose end grants another.
        waits.await.expect("all that wait get a turn")
    }

    /// Ends a turn, and grants it to the next that waits.
    fn end(self: &Arc<Self>, caller: Consumer) {
        let mut state = lock(&self.0);
        state.free += 1;
        if let Some(account) = state.accounts.get_mut(&caller) {
            account.held -= 1;
        }
        let next = state.next();
        if let Some((next, _)) = &next {
            state.begin(*next);
        }
        state.accounts.retain(|_, account| account.held > 0 || !account.line.is_empty());
        drop(state);
        if let Some((caller, granted)) = next {
            // One that does not wait any more drops its turn, which grants it to another.
            drop(granted.send(Turn { turns: self.clone(), caller }));
        }
    }
}

impl State {
    fn begin(&mut self, caller: Consumer) {
        self.free -= 1;
        self.last += 1;
        let account = self.accounts.entry(caller).or_default();
        account.held += 1;
        account.last = self.last;
    }

    fn next(&mut self) -> Option<(Consumer, oneshot::Sender<Turn>)> {
        loop {
            let waiting = self.accounts.iter().filter(|(_, account)| !account.line.is_empty());
            let first = waiting.min_by_key(|(_, account)| (account.held, account.last));
            let caller = *first?.0;
            let granted = self.accounts.get_mut(&caller)?.line.pop_front()?;
            if !granted.is_closed() {
                return Some((caller, granted));
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.end(self.caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn caller(number: u32) -> Consumer {
        Consumer::client(&number)
    }

    /// Goal: who comes late waits for one turn in progress, not for all that another caller asked for.
    #[tokio::test]
    async fn a_caller_waits_for_one_turn_of_a_flood() {
        for count in [1, 2] {
            let turns = Turns::new(count);
            let order = Arc::new(Mutex::new(Vec::new()));
            let mut running = Vec::new();
            for _ in 0..count {
                running.push(turns.turn(caller(0)).await);
            }
            let mut tasks = Vec::new();
            for number in [0; 50].into_iter().chain([1, 2, 1]) {
                let (turns, order) = (turns.clone(), order.clone());
                tasks.push(tokio::spawn(async move {
                    let _turn = turns.turn(caller(number)).await;
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
            assert!(lock(&turns.0).accounts.is_empty() && lock(&turns.0).free == count);
        }
    }

    #[tokio::test]
    async fn a_turn_of_a_request_that_is_gone_goes_to_the_next() {
        let turns = Turns::new(1);
        let running = turns.turn(caller(0)).await;
        let gone = tokio::time::timeout(Duration::from_millis(5), turns.turn(caller(1)));
        assert!(gone.await.is_err());
        let next = tokio::spawn({
            let turns = turns.clone();
            async move { drop(turns.turn(caller(2)).await) }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(running);
        next.await.expect("has its turn");
        assert_eq!(lock(&turns.0).free, 1);
    }
}
