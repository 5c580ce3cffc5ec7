//! What is believed of the time that passed while no process ran.
//!
//! No clock can be trusted over that time. So the clock of locks is put forward by the wall clock only within
//! a budget: [`BELIEVED_MS_MAX`] in all over any [`PERIOD_MS`] of running, whatever the number of restarts.
//! What goes beyond is not believed until an operator confirms it.
//!
//! Arithmetic only: storing the state is the work of `lock_clock`.
//!
//! # Invariants
//!
//! - The clock never goes back, and never further forward than the time of running and what was believed.
//! - Over any period of running no more than the budget is believed.

/// Downtime that is believed over one period, in milliseconds. The same is the farthest that the clock of
/// locks may be ahead of the wall clock, or behind it, where a new lock is dated.
pub(crate) const BELIEVED_MS_MAX: u64 = 24 * 3600 * 1000;
/// Time of running after which a belief no longer counts, in milliseconds.
pub(crate) const PERIOD_MS: u64 = 30 * BELIEVED_MS_MAX;
/// Beliefs that are kept apart; with more, the oldest ones count as one that is as recent as the later one.
const BELIEF_COUNT_MAX: usize = 64;
/// First byte of the stored form.
const FORMAT: u8 = 2;

/// A downtime that was believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Belief {
    /// The time of running at which it was.
    running_ms: u64,
    believed_ms: u64,
}

/// The clock of locks as it is noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotedClock {
    /// What time it was for locks, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// How long processes have run since the first note, in milliseconds.
    running_ms: u64,
    /// Oldest first.
    beliefs: Vec<Belief>,
}

impl NotedClock {
    /// A clock that begins at a time that is taken for right.
    pub(crate) fn starting_at(at_ms: u64) -> Self {
        Self { at_ms, running_ms: 0, beliefs: Vec::new() }
    }

    /// The clock after a process has run for some time.
    pub(crate) fn advanced(&self, passed_ms: u64) -> Self {
        Self {
            at_ms: self.at_ms.saturating_add(passed_ms),
            running_ms: self.running_ms.saturating_add(passed_ms),
            beliefs: self.beliefs.clone(),
        }
    }

    /// The clock after an operator said that the wall clock is right.
    pub(crate) fn confirmed(&self, wall_ms: u64) -> Self {
        Self { at_ms: wall_ms, running_ms: self.running_ms, beliefs: Vec::new() }
    }

    /// Downtime that may still be believed, in milliseconds.
    fn budget_ms(&self) -> u64 {
        let counts =
            |belief: &&Belief| belief.running_ms.saturating_add(PERIOD_MS) > self.running_ms;
        let believed = self.beliefs.iter().filter(counts).map(|belief| belief.believed_ms);
        believed.fold(BELIEVED_MS_MAX, u64::saturating_sub)
    }

    /// Where the clock goes on after a restart, and whether that is behind the wall clock until an operator
    /// confirms the time.
    pub(crate) fn resumed(&self, wall_ms: u64) -> (Self, bool) {
        // A wall clock that was set back does not make it go back.
        let down_ms = wall_ms.saturating_sub(self.at_ms);
        let mut next = self.clone();
        if down_ms == 0 {
            return (next, false);
        }
        if down_ms > self.budget_ms() {
            return (next, true);
        }
        next.at_ms = wall_ms;
        next.beliefs.retain(|belief| belief.running_ms.saturating_add(PERIOD_MS) > self.running_ms);
        if next.beliefs.len() == BELIEF_COUNT_MAX {
            let oldest = next.beliefs.remove(0);
            next.beliefs[0].believed_ms += oldest.believed_ms;
        }
        next.beliefs.push(Belief { running_ms: self.running_ms, believed_ms: down_ms });
        (next, false)
    }

    /// The stored form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.at_ms.to_le_bytes());
        out.extend_from_slice(&self.running_ms.to_le_bytes());
        for belief in &self.beliefs {
            out.extend_from_slice(&belief.running_ms.to_le_bytes());
            out.extend_from_slice(&belief.believed_ms.to_le_bytes());
        }
        out
    }

    /// Reads the stored form; `None` if it cannot be understood. Versions before this one stored eight bytes:
    /// the time alone.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if let Ok(at_ms) = <[u8; 8]>::try_from(bytes) {
            return Some(Self::starting_at(u64::from_le_bytes(at_ms)));
        }
        let rest = bytes.strip_prefix(&[FORMAT])?;
        let (numbers, left) = rest.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let [at_ms, running_ms, beliefs @ ..] = numbers.as_slice() else { return None };
        let (pairs, odd) = beliefs.as_chunks::<2>();
        if !left.is_empty() || !odd.is_empty() || pairs.len() > BELIEF_COUNT_MAX {
            return None;
        }
        let belief = |&[running_ms, believed_ms]: &[u64; 2]| Belief { running_ms, believed_ms };
        let beliefs = pairs.iter().map(belief).collect();
        Some(Self { at_ms: *at_ms, running_ms: *running_ms, beliefs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3600 * 1000;

    #[test]
    fn the_clock_goes_on_and_a_long_jump_is_not_believed() {
        let day = BELIEVED_MS_MAX;
        for (noted, wall, expected) in [
            (100, 90, (100, false)),
            (100, 100, (100, false)),
            (100, 100 + day, (100 + day, false)),
            (100, 101 + day, (100, true)),
            (100, u64::MAX, (100, true)),
        ] {
            let (next, is_held) = NotedClock::starting_at(noted).resumed(wall);
            assert_eq!((next.at_ms, is_held), expected);
        }
    }

    #[test]
    fn restarts_share_one_budget_until_the_server_has_run_for_a_period() {
        let (clock, is_held) = NotedClock::starting_at(0).resumed(23 * HOUR);
        assert!(!is_held);
        let mut wall = 23 * HOUR;
        for _ in 0..6 {
            wall += 23 * HOUR;
            let (next, is_held) = clock.resumed(wall);
            assert!(is_held && next.at_ms == 23 * HOUR, "{next:?}");
        }
        // An hour is left of it.
        assert_eq!(clock.resumed(24 * HOUR).0.at_ms, 24 * HOUR);
        let later = clock.advanced(PERIOD_MS);
        let wall = later.at_ms + 23 * HOUR;
        assert_eq!(later.resumed(wall).0.at_ms, wall);
        // So it is after an operator has confirmed the time.
        let confirmed = clock.confirmed(100 * HOUR);
        assert_eq!(confirmed.resumed(123 * HOUR), (confirmed.resumed(123 * HOUR).0, false));
    }

    #[test]
    fn what_earlier_versions_stored_is_read() {
        let old = NotedClock::decode(&1234_u64.to_le_bytes());
        assert_eq!(old, Some(NotedClock::starting_at(1234)));
        for wrong in [&[][..], &[2], &[1; 17], &[2; 16], &[2; 25], &[2; 18]] {
            assert_eq!(NotedClock::decode(wrong), None, "{wrong:?}");
        }
        assert!(NotedClock::decode(&[2; 33]).is_some());
    }

    proptest! {
        /// Goal: no history of runs and restarts makes the clock go further than the budget allows. Method:
        /// random runs, and jumps of the wall clock between them, against sums over all beliefs.
        #[test]
        fn over_any_period_of_running_no_more_than_the_budget_is_believed(
            steps in prop::collection::vec((0..40 * 24 * HOUR, 0..30 * HOUR, 0..4_u8), 1..200),
        ) {
            let mut clock = NotedClock::starting_at(1_000_000);
            let (mut running, mut history) = (0, Vec::new());
            for (run_ms, jump_ms, kind) in steps {
                let run_ms = if kind == 0 { run_ms } else { run_ms / 1000 };
                clock = clock.advanced(run_ms);
                running += run_ms;
                let before = clock.at_ms;
                let wall = if kind == 3 { before.saturating_sub(jump_ms) } else { before + jump_ms };
                let (next, is_held) = clock.resumed(wall);
                prop_assert!(next.at_ms == before || next.at_ms == wall && wall > before);
                prop_assert!(!is_held || next.at_ms == before);
                history.push((running, next.at_ms - before));
                let recent = history.iter().filter(|(at, _)| at + PERIOD_MS > running);
                prop_assert!(recent.map(|(_, believed)| believed).sum::<u64>() <= BELIEVED_MS_MAX);
                prop_assert!(next.beliefs.len() <= BELIEF_COUNT_MAX);
                prop_assert_eq!(NotedClock::decode(&next.encode()), Some(next.clone()));
                clock = next;
            }
        }
    }
}
