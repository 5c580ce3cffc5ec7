//! Lines that were gathered, and the rounds in which they are stored: one at a time, whatever becomes of the
//! task that stores them.

use super::Source;
use drystone_base::sync::{Mutex, lock};
use std::collections::BTreeMap;
use tokio::sync::watch;

/// Lines of a source.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) text: String,
    /// What they hold of the room.
    pub(super) held_len: u64,
}

/// See the module's documentation.
pub(super) struct Rounds {
    gathered: Mutex<Gathered>,
    /// The last round that has ended.
    ended: watch::Sender<u64>,
}

/// Lines that the next round will store.
struct Gathered {
    lines: BTreeMap<Source, Lines>,
    round: u64,
    is_storing: bool,
}

/// Ends when lines are stored, or counted.
pub(super) struct Waiting {
    ended: watch::Receiver<u64>,
    round: u64,
}

impl Waiting {
    pub(super) async fn wait(mut self) {
        // The sender lives as long as the gateway, which waits here.
        let _ = self.ended.wait_for(|ended| *ended >= self.round).await;
    }
}

impl Rounds {
    pub(super) fn new() -> Self {
        let gathered = Gathered { lines: BTreeMap::new(), round: 1, is_storing: false };
        Self { gathered: Mutex::new(gathered), ended: watch::channel(0).0 }
    }

    /// Puts lines to those that wait. Says whether a task must be started that stores them.
    pub(super) fn gather(&self, source: &Source, lines: &str, held_len: u64) -> (Waiting, bool) {
        let ended = self.ended.subscribe();
        let mut gathered = lock(&self.gathered);
        let all = gathered.lines.entry(source.clone()).or_default();
        all.text.push_str(lines);
        all.held_len += held_len;
        let must_store = !std::mem::replace(&mut gathered.is_storing, true);
        (Waiting { ended, round: gathered.round }, must_store)
    }

    /// For a task that stores what waits. If it ends early, by a panic, its round counts as ended, and others
    /// can store the next one.
    pub(super) fn store(&self) -> Storing<'_> {
        Storing { rounds: self, round: None, is_over: false }
    }

    /// Whether lines wait that no task stores; the caller is to store them then.
    pub(super) fn must_store(&self) -> bool {
        let mut gathered = lock(&self.gathered);
        let must_store = !gathered.is_storing && !gathered.lines.is_empty();
        gathered.is_storing |= must_store;
        must_store
    }
}

/// A task that stores round after round.
pub(super) struct Storing<'a> {
    rounds: &'a Rounds,
    round: Option<u64>,
    is_over: bool,
}

impl Storing<'_> {
    /// Ends the round before, and gives the lines of the next one, until none wait.
    pub(super) fn next_round(&mut self) -> Option<BTreeMap<Source, Lines>> {
        self.end_round();
        let mut gathered = lock(&self.rounds.gathered);
        if gathered.lines.is_empty() {
            (gathered.is_storing, self.is_over) = (false, true);
            return None;
        }
        self.round = Some(gathered.round);
        gathered.round += 1;
        Some(std::mem::take(&mut gathered.lines))
    }

    fn end_round(&mut self) {
        if let Some(round) = self.round.take() {
            self.rounds.ended.send_replace(round);
        }
    }
}

impl Drop for Storing<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            lock(&self.rounds.gathered).is_storing = false;
            self.end_round();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket_log::LogTarget;

    fn source() -> Source {
        let target = LogTarget { bucket: "t".into(), prefix: String::new(), is_partitioned: false };
        Source { bucket: "b".to_owned(), account: "000000000000".to_owned(), target }
    }

    #[tokio::test]
    async fn lines_are_stored_by_one_task_in_rounds() {
        let rounds = Rounds::new();
        let (first, must_store) = rounds.gather(&source(), "a\n", 2);
        let (second, again) = rounds.gather(&source(), "b\n", 2);
        assert!(must_store && !again && !rounds.must_store());
        let mut storing = rounds.store();
        let lines = storing.next_round().expect("lines wait");
        assert_eq!((&lines[&source()].text[..], lines[&source()].held_len), ("a\nb\n", 4));
        let (third, again) = rounds.gather(&source(), "c\n", 2);
        assert!(!again && storing.next_round().is_some() && storing.next_round().is_none());
        tokio::join!(first.wait(), second.wait(), third.wait());
        assert!(rounds.gather(&source(), "d\n", 2).1, "the task is over");
    }

    /// Goal: a task that stores lines and panics keeps no request waiting, and no other task from storing.
    /// Method: it ends in the middle of a round, while other lines wait.
    #[tokio::test]
    async fn a_task_that_ends_early_holds_nothing_up() {
        let rounds = Rounds::new();
        let (lost, _) = rounds.gather(&source(), "a\n", 2);
        let mut storing = rounds.store();
        assert!(storing.next_round().is_some());
        let (next, must_store) = rounds.gather(&source(), "b\n", 2);
        assert!(!must_store && !rounds.must_store());
        drop(storing);
        lost.wait().await;
        assert!(rounds.must_store() && !rounds.must_store());
        let mut storing = rounds.store();
        while storing.next_round().is_some() {}
        next.wait().await;
    }
}
