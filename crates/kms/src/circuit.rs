//! Whether a provider is asked that may be silent.
//!
//! A provider that did not answer a few times in a row is not asked for some seconds: callers are
//! refused at once. Then one request asks whether it answers again; the others are refused until it does.

use drystone_base::sync::{Mutex, lock};
use std::time::{Duration, Instant};

/// Requests in a row that must have run out of time.
const SILENT_MAX: u32 = 3;
/// Time for which it is not asked then.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Default)]
enum State {
    /// It is asked; so many requests in a row were not answered.
    Closed(u32),
    /// It is not asked until then.
    Open(Instant),
    /// One request asks.
    #[default]
    Trying,
}

/// See the module.
pub(crate) struct Circuit(Mutex<State>);

/// The right to ask, once. What became of it is told to the circuit, or nothing came of it.
pub(crate) struct Asking<'a> {
    circuit: &'a Circuit,
    is_told: bool,
}

impl Default for Circuit {
    fn default() -> Self {
        Self(Mutex::new(State::Closed(0)))
    }
}

impl Circuit {
    /// Whether a request would be refused now.
    pub(crate) fn refuses(&self, now: Instant) -> bool {
        match &*lock(&self.0) {
            State::Closed(_) => false,
            State::Open(until) => now < *until,
            State::Trying => true,
        }
    }

    /// Asks for the right to ask.
    pub(crate) fn enter(&self, now: Instant) -> Option<Asking<'_>> {
        let mut state = lock(&self.0);
        match &*state {
            State::Closed(_) => {}
            State::Open(until) if now >= *until => *state = State::Trying,
            State::Open(_) | State::Trying => return None,
        }
        Some(Asking { circuit: self, is_told: false })
    }

    fn note(&self, is_answered: bool, now: Instant) {
        let mut state = lock(&self.0);
        *state = match std::mem::take(&mut *state) {
            _ if is_answered => State::Closed(0),
            State::Closed(silent) if silent + 1 < SILENT_MAX => State::Closed(silent + 1),
            // Of requests that asked before it was open, none makes the pause longer.
            State::Open(until) if now < until => State::Open(until),
            State::Closed(_) | State::Open(_) | State::Trying => State::Open(now + PAUSE),
        };
    }
}

impl Asking<'_> {
    /// Says whether there was an answer, of whatever kind.
    pub(crate) fn end(mut self, is_answered: bool, now: Instant) {
        self.is_told = true;
        self.circuit.note(is_answered, now);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            // Not to know is not to be answered; another one tries.
            let mut state = lock(&self.circuit.0);
            if matches!(*state, State::Trying) {
                *state = State::Open(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_provider_is_asked_by_one_request_after_a_pause() {
        let (circuit, start) = (Circuit::default(), Instant::now());
        for _ in 0..SILENT_MAX {
            assert!(!circuit.refuses(start));
            circuit.enter(start).expect("closed").end(false, start);
        }
        assert!(circuit.refuses(start) && circuit.enter(start).is_none());
        let later = start + PAUSE;
        assert!(!circuit.refuses(later));
        let trying = circuit.enter(later).expect("one tries");
        assert!(circuit.refuses(later) && circuit.enter(later).is_none());
        trying.end(false, later);
        assert!(circuit.enter(later).is_none());
        let again = later + PAUSE;
        drop(circuit.enter(again).expect("one tries"));
        circuit.enter(again).expect("the one before has left").end(true, again);
        assert!(!circuit.refuses(again));
    }

    #[test]
    fn an_answer_in_between_keeps_it_closed() {
        let (circuit, now) = (Circuit::default(), Instant::now());
        for number in 0..5 * SILENT_MAX {
            circuit.enter(now).expect("closed").end(number % SILENT_MAX == 0, now);
        }
        assert!(!circuit.refuses(now));
    }

    #[test]
    fn a_late_answer_closes_it() {
        let (circuit, now) = (Circuit::default(), Instant::now());
        let mut asking: Vec<_> = (0..=SILENT_MAX).filter_map(|_| circuit.enter(now)).collect();
        let last = asking.pop().expect("all ask");
        asking.into_iter().for_each(|one| one.end(false, now));
        assert!(circuit.refuses(now));
        last.end(true, now);
        assert!(!circuit.refuses(now));
    }
}
