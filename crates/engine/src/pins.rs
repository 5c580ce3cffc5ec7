//! Readers pin the bytes that they are reading.
//!
//! A reader takes a pin *before* it looks a row up. The sweep takes note of what is dead, starts a
//! new generation, and reclaims it once no pin of the old generations is left: anyone who pins
//! later sees the delete.

use drystone_base::sync::{self, Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Default)]
struct State {
    generation: u64,
    pinned: BTreeMap<u64, usize>,
}

/// All pins of the process.
#[derive(Clone, Default)]
pub(crate) struct Pins {
    state: Arc<Mutex<State>>,
}

/// A pin; what was alive when it was taken is not reclaimed before it is dropped.
pub(crate) struct Pin {
    pins: Pins,
    generation: u64,
}

impl Pins {
    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }

    pub(crate) fn pin(&self) -> Pin {
        let mut state = self.lock();
        let generation = state.generation;
        *state.pinned.entry(generation).or_default() += 1;
        drop(state);
        Pin { pins: self.clone(), generation }
    }

    /// Starts a new generation and returns the one that ended.
    pub(crate) fn advance(&self) -> u64 {
        let mut state = self.lock();
        state.generation += 1;
        state.generation - 1
    }

    /// Whether a pin of this generation or an older one is left.
    pub(crate) fn is_pinned(&self, generation: u64) -> bool {
        self.lock().pinned.range(..=generation).next().is_some()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.pins.lock();
        if let Some(count) = state.pinned.get_mut(&self.generation) {
            *count -= 1;
            if *count == 0 {
                state.pinned.remove(&self.generation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pins_of_ended_generations_hold_things_up() {
        let pins = Pins::default();
        let old = pins.pin();
        let ended = pins.advance();
        let _new = pins.pin();
        assert!(pins.is_pinned(ended));
        drop(old);
        assert!(!pins.is_pinned(ended));
    }
}
