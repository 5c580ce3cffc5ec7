//! How likely a loss is: drives fail independently at a constant rate, and are repaired one after the
//! other.
//!
//! Source: the birth and death model of D. A. Patterson, G. Gibson and R. H. Katz, "A case for redundant
//! arrays of inexpensive disks", 1988, with more than one parity. It knows nothing of fires, firmware and
//! fingers: its figures compare codes, they do not promise anything.

use crate::placement::group_count;
use crate::shape::Shape;

const HOURS_PER_YEAR: f64 = 8766.0;

/// What the estimate is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DurabilityInput {
    /// Drives.
    pub drives: usize,
    /// Code.
    pub shape: Shape,
    /// Share of drives that fail within a year, above 0 and below 1.
    pub annual_failure_rate: f64,
    /// Hours from a failure until all shards are there again.
    pub repair_hours: f64,
}

/// An estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Durability {
    /// Probability that a given object is lost within a year.
    pub object_loss: f64,
    /// Probability that any object is lost within a year, at most.
    pub any_loss: f64,
    /// Sets of drives whose loss loses something.
    pub groups: usize,
}

impl Durability {
    /// Makes an estimate.
    #[must_use]
    pub fn estimate(input: DurabilityInput) -> Self {
        let rate = -(1.0 - input.annual_failure_rate).ln() / HOURS_PER_YEAR;
        let repair = 1.0 / input.repair_hours;
        let drives = input.shape.shard_count() as f64;
        // Mean time from `lost` drives lost to one more, for each number that can be survived.
        let (mut step, mut hours) = (0.0, 0.0);
        for lost in 0..=input.shape.parity {
            let fails = (drives - f64::from(lost)) * rate;
            let mends = if lost == 0 { 0.0 } else { repair };
            step = 1.0 / fails + mends / fails * step;
            hours += step;
        }
        let object_loss = -(-HOURS_PER_YEAR / hours).exp_m1();
        let groups = group_count(input.drives, input.shape).min(subsets(input));
        let any_loss = (object_loss * groups as f64).min(1.0);
        Self { object_loss, any_loss, groups }
    }

    /// The estimate for an object as a number of nines, such as 11.3.
    #[must_use]
    pub fn nines(&self) -> f64 {
        -self.object_loss.log10()
    }
}

/// Different sets of as many drives as a group has.
fn subsets(input: DurabilityInput) -> usize {
    let (all, size) = (input.drives, input.shape.shard_count().min(input.drives));
    let choose = (0..size).try_fold(1_usize, |sum, at| Some(sum.checked_mul(all - at)? / (at + 1)));
    choose.unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(drives: usize, data: u8, parity: u8) -> Durability {
        let shape = Shape::new(data, parity);
        let (annual_failure_rate, repair_hours) = (0.02, 24.0);
        Durability::estimate(DurabilityInput { drives, shape, annual_failure_rate, repair_hours })
    }

    #[test]
    fn one_copy_is_lost_as_often_as_its_drive() {
        assert!((estimate(1, 1, 0).object_loss - 0.02).abs() < 1e-9);
    }

    /// By the textbook formula for one parity, MTTF² / (n (n - 1) MTTR), which holds where repair is
    /// much faster than failure.
    #[test]
    fn one_parity_agrees_with_the_textbook() {
        let mttf = HOURS_PER_YEAR / -(0.98_f64).ln();
        let expected = HOURS_PER_YEAR / (mttf * mttf / (2.0 * 24.0));
        let found = estimate(2, 1, 1).object_loss;
        assert!((found / expected - 1.0).abs() < 0.01, "{found} {expected}");
    }

    #[test]
    fn more_parity_is_better_and_more_groups_are_worse() {
        let losses = [(1, 1), (1, 2), (4, 2), (8, 4)].map(|(k, m)| estimate(12, k, m).object_loss);
        assert!(losses[0] > losses[2] && losses[2] > losses[1] && losses[2] > losses[3]);
        assert_eq!(estimate(6, 4, 2).groups, 1);
        assert_eq!(estimate(7, 4, 2).groups, 7);
        assert!(estimate(12, 4, 2).any_loss > estimate(6, 4, 2).any_loss);
        assert!(estimate(12, 8, 4).nines() > 10.0);
    }
}
