//! What waits for a class's writer.

use crate::group::Group;
use drystone_base::sync::{self, Condvar, Mutex, lock};
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Default)]
struct State {
    groups: VecDeque<Group>,
    closed: bool,
}

/// Groups in the order in which they came.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

/// What a writer gets when it asks for work.
pub(crate) enum Work {
    Groups(VecDeque<Group>),
    /// Nothing came within the time.
    Idle,
    Closed,
}

impl Queue {
    /// Adds a group; gives it back if the queue is closed.
    pub(crate) fn push(&self, group: Group) -> Result<(), Group> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(group);
        }
        state.groups.push_back(group);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes everything that waits, without waiting.
    pub(crate) fn take(&self) -> VecDeque<Group> {
        std::mem::take(&mut lock(&self.state).groups)
    }

    /// Waits for work. With `idle_after`, at most that long.
    pub(crate) fn wait(&self, idle_after: Option<Duration>) -> Work {
        let mut state = lock(&self.state);
        loop {
            if !state.groups.is_empty() {
                return Work::Groups(std::mem::take(&mut state.groups));
            }
            if state.closed {
                return Work::Closed;
            }
            match idle_after {
                None => state = sync::wait(&self.arrived, state),
                Some(time) => {
                    let (next, is_over) = sync::wait_timeout(&self.arrived, state, time);
                    state = next;
                    if is_over && state.groups.is_empty() && !state.closed {
                        return Work::Idle;
                    }
                }
            }
        }
    }

    /// Refuses further groups; what waits is still worked off.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.arrived.notify_all();
    }
}
