//! How many may ask another directory at once, and how many may wait for that: a provider that is silent
//! holds a few threads and a few requests, not the server, and no source keeps others from asking.
//!
//! # Invariants
//!
//! - Sources take turns: a request waits for one turn of each other source, not for all that those ask for.
//! - While all places are taken, a source that has at least two fewer than another one gets one of that
//!   one's, whose newest request that still waits is refused. A source alone may have all of them.
//! - What is asked is not broken off: it keeps its place until it is done.

use super::Source;
use drystone_base::sync::{Mutex, lock};
use drystone_engine::{Consumer, Turn, Turns};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Requests that may be asking or waiting; more are refused at once.
const PRESENT_MAX: usize = 64;

/// Lets some through at a time.
pub(super) struct Gate {
    places: Arc<Mutex<Places>>,
    asking: Arc<Turns>,
}

/// The right to ask. It goes to the one that asks, who may outlive the request.
pub(super) struct Passage {
    _turn: Turn,
    _place: Place,
}

/// Requests of one source, by number of arrival. What a request that waits listens to is here: it ends as
/// the request loses its place.
type Requests = BTreeMap<u64, Option<oneshot::Sender<()>>>;

#[derive(Default)]
struct Places {
    next_number: u64,
    sources: BTreeMap<Consumer, Requests>,
}

/// The place of a request, which another source may get while it waits.
struct Place {
    places: Arc<Mutex<Places>>,
    source: Consumer,
    number: u64,
}

impl Places {
    fn count_of(&self, source: Consumer) -> usize {
        self.sources.get(&source).map_or(0, Requests::len)
    }

    /// Frees a place for a source that has few. `false` if none is free or can be.
    fn make_room(&mut self, source: Consumer) -> bool {
        let present: usize = self.sources.values().map(Requests::len).sum();
        if present < PRESENT_MAX {
            return true;
        }
        let waits = |requests: &Requests| requests.values().any(Option::is_some);
        let others = self.sources.iter().filter(|(_, requests)| waits(requests));
        let most = others.max_by_key(|(_, requests)| requests.len());
        let Some((&other, requests)) = most else { return false };
        if requests.len() < self.count_of(source) + 2 {
            return false;
        }
        let newest = requests.iter().rev().find(|(_, listens)| listens.is_some());
        newest.map(|(number, _)| *number).is_some_and(|number| self.free(other, number))
    }

    fn free(&mut self, source: Consumer, number: u64) -> bool {
        let Some(requests) = self.sources.get_mut(&source) else { return false };
        let was_there = requests.remove(&number).is_some();
        if requests.is_empty() {
            self.sources.remove(&source);
        }
        was_there
    }
}

impl Place {
    /// Keeps the place from now on; `false` if it is another's already.
    fn keep(&self) -> bool {
        let mut places = lock(&self.places);
        let request =
            places.sources.get_mut(&self.source).and_then(|all| all.get_mut(&self.number));
        request.map(|listens| *listens = None).is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places).free(self.source, self.number);
    }
}

impl Gate {
    /// A gate that lets `asking_max` ask at once.
    pub(super) fn new(asking_max: usize) -> Self {
        Self { places: Arc::default(), asking: Turns::new(asking_max) }
    }

    /// Waits for a turn of a source; `None` if too many wait already, or if the place goes to a source that
    /// has fewer.
    pub(super) async fn pass(&self, source: Source) -> Option<Passage> {
        let source = Consumer::client(&source);
        let (place, lost) = self.place(source)?;
        let turn = tokio::select! {
            turn = self.asking.turn(source) => turn,
            _ = lost => return None,
        };
        place.keep().then_some(Passage { _turn: turn, _place: place })
    }

    fn place(&self, source: Consumer) -> Option<(Place, oneshot::Receiver<()>)> {
        let mut places = lock(&self.places);
        if !places.make_room(source) {
            return None;
        }
        let number = places.next_number;
        places.next_number += 1;
        let (listens, lost) = oneshot::channel();
        places.sources.entry(source).or_default().insert(number, Some(listens));
        Some((Place { places: self.places.clone(), source, number }, lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::task::JoinHandle;

    /// A gate for one at a time, and who asked in which order.
    struct World {
        gate: Gate,
        order: Mutex<Vec<u8>>,
    }

    fn source(number: u8) -> Source {
        Source::of([10, 0, 0, number].into())
    }

    fn world() -> Arc<World> {
        Arc::new(World { gate: Gate::new(1), order: Mutex::default() })
    }

    /// Requests of a source, which say whether they asked.
    async fn wait(world: &Arc<World>, number: u8, count: usize) -> Vec<JoinHandle<bool>> {
        let one = || {
            let world = world.clone();
            tokio::spawn(async move {
                let passage = world.gate.pass(source(number)).await;
                passage.inspect(|_| lock(&world.order).push(number)).is_some()
            })
        };
        let tasks = (0..count).map(|_| one()).collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        tasks
    }

    fn ended(tasks: &[JoinHandle<bool>]) -> usize {
        tasks.iter().filter(|task| task.is_finished()).count()
    }

    async fn count_of_asked(tasks: Vec<JoinHandle<bool>>) -> usize {
        let mut count = 0;
        for task in tasks {
            count += usize::from(task.await.expect("no panic"));
        }
        count
    }

    fn is_empty(world: &World) -> bool {
        lock(&world.gate.places).sources.is_empty()
    }

    #[tokio::test]
    async fn few_ask_some_wait_and_the_rest_is_refused() {
        let world = world();
        let asking = world.gate.pass(source(1)).await.expect("the first one");
        let waiting = wait(&world, 1, PRESENT_MAX - 1).await;
        assert_eq!(ended(&waiting), 0);
        assert!(world.gate.pass(source(1)).await.is_none());
        drop(asking);
        assert_eq!(count_of_asked(waiting).await, PRESENT_MAX - 1);
        assert!(is_empty(&world));
    }

    /// Goal: a source that asks all it can keeps no other from asking, nor holds it up for more than what is
    /// in progress.
    #[tokio::test]
    async fn a_source_gets_places_and_turns_beside_one_that_has_all() {
        let world = world();
        let asking = world.gate.pass(source(1)).await.expect("the first one");
        let greedy = wait(&world, 1, 2 * PRESENT_MAX).await;
        let others = wait(&world, 2, PRESENT_MAX).await;
        assert_eq!(ended(&others), PRESENT_MAX / 2, "as many as the first one keeps");
        let third = wait(&world, 3, 1).await;
        assert_eq!(ended(&third), 0);
        assert_eq!(ended(&greedy) + ended(&others), 2 * PRESENT_MAX + 2);
        drop(asking);
        assert_eq!(count_of_asked(third).await, 1);
        assert_eq!(lock(&world.order)[..3], [1, 2, 3]);
        let (greedy, others) = (count_of_asked(greedy).await, count_of_asked(others).await);
        assert_eq!(greedy + others + 2, PRESENT_MAX);
        assert!(is_empty(&world));
    }

    /// Goal: what is asked is not broken off, and a request whose client left gives its place to another.
    #[tokio::test]
    async fn only_what_waits_loses_its_place() {
        let world = Arc::new(World { gate: Gate::new(PRESENT_MAX), order: Mutex::default() });
        let mut asking = Vec::new();
        for _ in 0..PRESENT_MAX {
            asking.push(world.gate.pass(source(1)).await.expect("a turn is free"));
        }
        assert!(world.gate.pass(source(2)).await.is_none());
        asking.pop();
        let two = world.gate.pass(source(2)).await.expect("a place is free");
        drop((asking, two));
        let asking = world.gate.pass(source(1)).await.expect("all are free");
        let gone = wait(&world, 1, 3).await;
        gone.iter().for_each(JoinHandle::abort);
        drop(asking);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(is_empty(&world));
    }
}
