//! What the drives that are found at a start add up to. Pure.

use crate::placement::DriveId;
use std::collections::BTreeMap;

/// What a drive says about itself, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: String,
    /// Its deployment.
    pub deployment: [u8; 16],
    /// The drive.
    pub drive: DriveId,
    /// Drives that hold the catalog.
    pub view: Vec<DriveId>,
    /// Ballot of view and roster.
    pub view_term: u32,
    /// All drives; empty if there never was another.
    pub roster: Vec<DriveId>,
}

/// How a process starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// All drives of the deployment.
    pub roster: Vec<DriveId>,
    /// Drives that are missing.
    pub missing: Vec<DriveId>,
    /// Drives that hold the catalog and are there. One of them at least.
    pub view: Vec<DriveId>,
    /// Ballot of the newest view.
    pub view_term: u32,
    /// A member of the view is missing: a smaller view must be recorded before anything is changed.
    pub view_shrinks: bool,
    /// So few drives are there that no view can be recorded, and what the newest one says may be what
    /// no other caller ever heard of: nothing may be changed.
    pub is_read_only: bool,
}

/// Why a process does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Drives of different deployments.
    #[error("{0} and {1} belong to different deployments: start each with its own drives")]
    Mixed(String, String),
    /// The same drive twice: a copy, or a path given twice.
    #[error("{0} and {1} are the same drive: one of them is a copy, or was given twice")]
    Twice(String, String),
    /// The newest view is not known for certain.
    #[error(
        "only {found} of the {all} drives of this deployment are here: at least {needed} are needed. \
         Missing: {missing}"
    )]
    TooFew {
        /// Drives that are there.
        found: usize,
        /// Drives of the deployment.
        all: usize,
        /// Drives that must be there.
        needed: usize,
        /// Ids of the missing ones.
        missing: String,
    },
    /// Drives that hold the catalog are all missing.
    #[error("none of the drives that hold the catalog is here: one of {0} is needed")]
    NoCatalog(String),
    /// A drive was taken out of the deployment.
    #[error("{0} was taken out of this deployment: empty it to use it again, or do not name it")]
    Removed(String),
}

impl Start {
    /// Takes drives out of the view whose copy of the catalog does not verify, unless none is left.
    pub fn distrust(&mut self, drives: &[DriveId]) {
        let is_trusted = |id: &&DriveId| !drives.contains(id);
        let trusted: Vec<_> = self.view.iter().filter(is_trusted).copied().collect();
        if !trusted.is_empty() && trusted.len() < self.view.len() {
            self.view = trusted;
            self.view_shrinks = true;
        }
    }
}

fn names(drives: &[DriveId]) -> String {
    let names: Vec<_> = drives.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// The ballot of the next view, from what the drives say that are here: their promises and the ballots of
/// their views. It is to be promised on more than half of all drives before a view with it is written
/// anywhere. So two processes that saw half of the drives each never write different views under one
/// ballot, and anyone who comes after a view that counts has a higher one.
///
/// Source: L. Lamport, "The part-time parliament", 1998 (phase 1 of Paxos).
#[must_use]
pub fn next_ballot(said: impl IntoIterator<Item = (u32, u32)>) -> u32 {
    let highest = said.into_iter().map(|(promised, ballot)| promised.max(ballot)).max();
    highest.unwrap_or(0) + 1
}

/// As [`plan_start`], after the catalog was lost or damaged on all drives that held it: any drive may be
/// read.
///
/// # Errors
///
/// [`StartError`]; also if half of the drives are missing, so that nothing could be changed.
///
/// # Panics
///
/// If no drive was found.
pub fn plan_salvage(found: &[Found]) -> Result<Start, StartError> {
    let newest = found.iter().map(|drive| drive.view_term).max().expect("a drive was found");
    let anywhere: Vec<Found> = found
        .iter()
        .map(|drive| match drive.view_term == newest {
            true => {
                Found { view: found.iter().map(|other| other.drive).collect(), ..drive.clone() }
            }
            false => drive.clone(),
        })
        .collect();
    let start = plan_start(&anywhere)?;
    match start.is_read_only {
        true => {
            let (here, all) = (found.len(), start.roster.len());
            let (needed, missing) = (all / 2 + 1, names(&start.missing));
            Err(StartError::TooFew { found: here, all, needed, missing })
        }
        false => Ok(start),
    }
}

/// Plans a start from the drives that were found. Nothing is read from a drive that the newest view does
/// not name: an older view may lack what was acknowledged since.
///
/// # Errors
///
/// [`StartError`].
///
/// # Panics
///
/// If no drive was found.
pub fn plan_start(found: &[Found]) -> Result<Start, StartError> {
    let first = found.first().expect("a drive was found");
    let mut paths: BTreeMap<DriveId, &str> = BTreeMap::new();
    for drive in found {
        if drive.deployment != first.deployment {
            return Err(StartError::Mixed(first.path.clone(), drive.path.clone()));
        }
        if let Some(other) = paths.insert(drive.drive, &drive.path) {
            return Err(StartError::Twice(other.to_owned(), drive.path.clone()));
        }
    }
    let newest = found.iter().max_by_key(|drive| drive.view_term).expect("a drive was found");
    let roster = match newest.roster.is_empty() {
        true => vec![newest.drive],
        false => newest.roster.clone(),
    };
    if let Some(stranger) = found.iter().find(|drive| !roster.contains(&drive.drive)) {
        return Err(StartError::Removed(stranger.path.clone()));
    }
    let missing: Vec<_> = roster.iter().filter(|id| !paths.contains_key(id)).copied().collect();
    let (here, all) = (paths.len(), roster.len());
    if 2 * here < all {
        let (needed, missing) = (all.div_ceil(2), names(&missing));
        return Err(StartError::TooFew { found: here, all, needed, missing });
    }
    let view: Vec<_> = newest.view.iter().filter(|id| paths.contains_key(id)).copied().collect();
    if view.is_empty() {
        return Err(StartError::NoCatalog(names(&newest.view)));
    }
    let view_shrinks = view.len() < newest.view.len();
    Ok(Start {
        missing,
        view,
        view_term: newest.view_term,
        view_shrinks,
        is_read_only: all > 1 && 2 * here <= all,
        roster,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::{Rng, SeededRng};

    fn id(number: u8) -> DriveId {
        DriveId([number; 16])
    }

    fn found(number: u8, view: &[u8], view_term: u32, count: u8) -> Found {
        Found {
            path: format!("/data{number}"),
            deployment: [9; 16],
            drive: id(number),
            view: view.iter().map(|n| id(*n)).collect(),
            view_term,
            roster: (1..=count).map(id).collect(),
        }
    }

    #[test]
    fn a_salvage_reads_any_drive_but_needs_more_than_half() {
        let drives =
            [found(4, &[1, 2, 3], 4, 6), found(5, &[1, 2], 3, 6), found(6, &[1, 2, 3], 4, 6)];
        assert!(matches!(plan_start(&drives), Err(StartError::NoCatalog(_))));
        assert!(matches!(plan_salvage(&drives), Err(StartError::TooFew { needed: 4, .. })));
        let more = [drives.to_vec(), vec![found(3, &[1, 2, 3], 4, 6)]].concat();
        let start = plan_salvage(&more).expect("four of six are here");
        assert_eq!(start.view, [id(4), id(5), id(6), id(3)]);
    }

    #[test]
    fn the_newest_view_counts_and_missing_members_leave_it() {
        let drives =
            [found(1, &[1, 2, 3], 4, 6), found(2, &[1, 2, 3], 4, 6), found(4, &[2, 3], 5, 6)];
        let start = plan_start(&drives).expect("half of the drives are here");
        assert_eq!((start.view, start.view_term), (vec![id(2)], 5));
        assert!(start.view_shrinks && start.is_read_only, "three of six cannot record a view");
        assert_eq!(start.missing, [id(3), id(5), id(6)]);
    }

    #[test]
    fn a_lone_drive_needs_no_roster() {
        let alone = Found { roster: Vec::new(), ..found(1, &[1], 0, 0) };
        let start = plan_start(&[alone]).expect("all of one");
        assert_eq!((start.roster, start.missing), (vec![id(1)], Vec::new()));
        assert!(!start.is_read_only && !start.view_shrinks);
    }

    #[test]
    fn one_of_two_can_be_read_but_not_changed() {
        let start = plan_start(&[found(2, &[1, 2], 1, 2)]).expect("half");
        assert!(start.is_read_only);
        let start = plan_start(&[found(2, &[1, 2], 1, 2), found(1, &[1, 2], 1, 2)]).expect("all");
        assert!(!start.is_read_only);
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let good = found(1, &[1, 2], 1, 6);
        let other = Found { deployment: [8; 16], ..found(2, &[1, 2], 1, 6) };
        assert!(matches!(plan_start(&[good.clone(), other]), Err(StartError::Mixed(..))));
        let twice = Found { path: "/copy".to_owned(), ..good.clone() };
        assert!(matches!(plan_start(&[good.clone(), twice]), Err(StartError::Twice(..))));
        let few = [good.clone(), found(2, &[1, 2], 1, 6)];
        assert!(matches!(plan_start(&few), Err(StartError::TooFew { found: 2, needed: 3, .. })));
        let no_view = [found(3, &[1, 2], 1, 6), found(4, &[1, 2], 1, 6), found(5, &[1, 2], 1, 6)];
        assert!(matches!(plan_start(&no_view), Err(StartError::NoCatalog(_))));
        let stranger = found(7, &[1, 2], 0, 6);
        assert!(matches!(plan_start(&[good, stranger]), Err(StartError::Removed(_))));
    }

    /// What a drive says, in the model below: promise, ballot, and which view that is.
    type Said = (u32, u32, u64);

    /// Processes start with any half of the drives and stop anywhere in between.
    fn histories(rng: &SeededRng, all: usize) {
        let mut drives: Vec<Said> = vec![(1, 1, 0); all];
        let (mut counts, mut views) = (1, 0);
        for _ in 0..40 {
            let here: Vec<usize> = (0..all).filter(|_| rng.below(3) > 0).collect();
            if 2 * here.len() < all {
                continue;
            }
            let newest = here.iter().map(|at| drives[*at].1).max().expect("somebody is here");
            assert!(newest >= counts, "a start that missed a view that counts");
            if 2 * here.len() <= all {
                continue;
            }
            let ballot = next_ballot(here.iter().map(|at| (drives[*at].0, drives[*at].1)));
            let promised = rng.below(2 * here.len() as u64) as usize;
            here.iter().take(promised).for_each(|at| drives[*at].0 = ballot);
            if promised < here.len() {
                continue;
            }
            views += 1;
            let written = rng.below(2 * here.len() as u64) as usize;
            here.iter()
                .take(written)
                .for_each(|at| (drives[*at].1, drives[*at].2) = (ballot, views));
            if written >= here.len() {
                counts = ballot;
            }
            for a in &drives {
                assert!(drives.iter().all(|b| a.1 != b.1 || a.2 == b.2), "one ballot, two views");
            }
        }
    }

    #[test]
    fn no_view_that_counts_is_missed_and_no_ballot_has_two_views() {
        for seed in 0..3000 {
            let rng = SeededRng::new(seed);
            histories(&rng, 1 + rng.below(8) as usize);
        }
    }

    /// Two halves of the drives can never both change the catalog: whatever is recorded, is recorded on
    /// more than half, and every start sees half at least.
    #[test]
    fn a_view_that_was_left_is_never_taken_again() {
        for all in 1..=7_u8 {
            for recorded in 0_u32..1 << all {
                if 2 * recorded.count_ones() <= all.into() {
                    continue;
                }
                for here in 1_u32..1 << all {
                    let has = |set: u32, n: u8| set >> (n - 1) & 1 == 1;
                    // The new view is drive `last` alone; drives that were not reached tell the old one.
                    let last = (1..=all).rev().find(|n| has(recorded, *n)).expect("not empty");
                    let tells = |n| match has(recorded, n) {
                        true => found(n, &[last], 2, all),
                        false => found(n, &(1..=all).collect::<Vec<_>>(), 1, all),
                    };
                    let drives: Vec<_> = (1..=all).filter(|n| has(here, *n)).map(tells).collect();
                    if let Ok(start) = plan_start(&drives) {
                        let is_old = start.view_term == 1;
                        assert!(!is_old || start.is_read_only, "{all} {recorded:b} {here:b}");
                    }
                }
            }
        }
    }
}
