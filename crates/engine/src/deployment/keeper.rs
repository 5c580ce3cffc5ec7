//! What drives say about the deployment: views and rosters, recorded on more than half of them.

use super::member::{OpenError, Place};
use super::view_len;
use drystone_base::Rng;
use drystone_base::sync::{self, Mutex, MutexGuard};
use drystone_catalog::ViewKeeper;
use drystone_cluster::{Protection, Shape, next_ballot};
use drystone_drive::{DRIVE_COUNT_MAX, NewDrive, Super, format_drive, read_super, write_super};
use drystone_io::Disk;
use std::collections::BTreeSet;
use std::sync::Arc;

type DriveKey = [u8; 16];

/// Writes what drives say.
pub(crate) struct Keeper {
    state: Mutex<State>,
}

struct State {
    drives: Vec<(Arc<dyn Disk>, Super)>,
    /// Drives of the deployment, missing ones included.
    drive_count: usize,
}

impl Keeper {
    pub(crate) fn new(drives: Vec<(Arc<dyn Disk>, Super)>, drive_count: usize) -> Self {
        Self { state: Mutex::new(State { drives, drive_count }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }

    /// What the drives say now.
    pub(crate) fn newest(&self) -> Super {
        let state = self.lock();
        let newest = state.drives.iter().max_by_key(|(_, identity)| identity.view_term);
        newest.expect("there is a drive").1.clone()
    }

    /// Lets every drive say that rows have seals, so that binaries which do not know them refuse it. Says
    /// whether more than half of all say so now; the others follow at a later start.
    pub(crate) fn note_seals(&self) -> bool {
        let mut state = self.lock();
        state.drives.iter().all(|(_, identity)| identity.seals_rows)
            || state.tell(&|identity| identity.seals_rows = true)
    }

    /// Takes a drive out, puts one in, and tells all what the roster is now. Says whether more than half
    /// were told.
    pub(crate) fn change(
        &self,
        old: Option<DriveKey>,
        new: Option<(Arc<dyn Disk>, Super)>,
        roster: Vec<DriveKey>,
        view: &[DriveKey],
    ) -> bool {
        let mut state = self.lock();
        let seals_rows = state.drives.iter().any(|(_, identity)| identity.seals_rows);
        let new = new.map(|(disk, identity)| (disk, Super { seals_rows, ..identity }));
        state.drives.retain(|(_, identity)| Some(identity.drive) != old);
        state.drives.extend(new);
        state.drive_count = roster.len();
        state.write(view, Some(&roster))
    }
}

impl State {
    /// Writes what changes of each identity; says whether more than half of all drives took it.
    fn tell(&mut self, change: &dyn Fn(&mut Super)) -> bool {
        let mut written = 0;
        for (disk, identity) in &mut self.drives {
            change(identity);
            match write_super(&**disk, identity) {
                Ok(()) => written += 1,
                Err(error) => {
                    tracing::warn!(drive = identity.drive_text(), %error, "a drive was not told");
                }
            }
        }
        2 * written > self.drive_count
    }

    /// Announces a ballot, then writes view, and roster if it changes, under it.
    fn write(&mut self, view: &[DriveKey], roster: Option<&[DriveKey]>) -> bool {
        let said = self.drives.iter().map(|(_, identity)| (identity.promised, identity.view_term));
        let ballot = next_ballot(said);
        self.tell(&|identity| identity.promised = ballot)
            && self.tell(&|identity| {
                identity.view_term = ballot;
                identity.view = view.to_vec();
                if let Some(roster) = roster {
                    identity.roster = roster.to_vec();
                }
            })
    }
}

impl ViewKeeper for Keeper {
    fn record(&self, members: &[[u8; 16]]) -> bool {
        let is_recorded = self.lock().write(members, None);
        let members: Vec<_> = members.iter().map(|drive| drystone_base::hex(drive)).collect();
        let members = members.join(", ");
        if is_recorded {
            tracing::warn!(members, "the catalog is held by these drives now");
        } else {
            tracing::error!(members, "too few drives could be told who holds the catalog");
        }
        is_recorded
    }
}

/// Makes empty places the drives of a new deployment; `segment_len` by the size of a filesystem.
///
/// # Errors
///
/// What the operating system reports.
///
/// # Panics
///
/// If there is no place, or there are more than a deployment can have.
pub fn new_deployment(
    places: &[Place],
    rng: &dyn Rng,
    now_ms: u64,
    segment_len: &dyn Fn(u64) -> u32,
) -> Result<(), OpenError> {
    assert!((1..=DRIVE_COUNT_MAX).contains(&places.len()), "so many drives can be in a deployment");
    let mut ids = vec![[0; 16]; places.len() + 1];
    ids.iter_mut().for_each(|id| rng.fill(id));
    let deployment = ids.pop().expect("one more");
    let zones: BTreeSet<&str> = places.iter().map(|place| place.zone.as_str()).collect();
    let shape = Shape::for_drives(places.len(), zones.len(), Protection::Standard);
    let count = view_len(places.len(), shape);
    // One of each zone before a second one of any.
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|at| places[..*at].iter().filter(|p| p.zone == places[*at].zone).count());
    let view: Vec<DriveKey> = order[..count].iter().map(|at| ids[*at]).collect();
    for (place, drive) in places.iter().zip(&ids) {
        let space = place.disk.space().map_err(drystone_drive::DriveError::from)?;
        let new = NewDrive {
            deployment,
            drive: *drive,
            created_ms: now_ms,
            segment_len: segment_len(space.total_bytes),
            view: view.clone(),
            view_term: 1,
            roster: if places.len() > 1 { ids.clone() } else { Vec::new() },
        };
        format_drive(&*place.disk, &new)?;
        read_super(&*place.disk)?;
    }
    Ok(())
}
