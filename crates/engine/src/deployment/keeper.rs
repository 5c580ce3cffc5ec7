//! What drives say about the deployment: views and rosters, recorded on more than half of them.

use super::member::{OpenError, Place};
use super::view_len;
use drystone_base::Rng;
use drystone_base::sync::{self, Mutex, MutexGuard};
use drystone_catalog::ViewKeeper;
use drystone_cluster::{Protection, Shape, next_ballot};
use drystone_drive::{DRIVE_COUNT_MAX, NewDrive, Super, format_drive, read_super, write_super};
use drystone_io::Disk;
use drystone_keyring::{DriveKeys, Keyring};
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
    /// What drives are sealed with; none before they have seals, and for tools without a keyring.
    keys: Option<Arc<DriveKeys>>,
}

/// How many drives have seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealedDrives {
    /// Not more than half of them.
    TooFew,
    /// More than half.
    Most,
    /// Every one of the deployment.
    All,
}

impl Keeper {
    pub(crate) fn new(
        drives: Vec<(Arc<dyn Disk>, Super)>,
        drive_count: usize,
        keys: Option<Arc<DriveKeys>>,
    ) -> Self {
        Self { state: Mutex::new(State { drives, drive_count, keys }) }
    }

    /// What drives are sealed with.
    pub(crate) fn keys(&self) -> Option<Arc<DriveKeys>> {
        self.lock().keys.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }

    /// What the drives say now.
    pub(crate) fn newest(&self) -> Super {
        self.lock().newest().clone()
    }

    /// Gives every drive a seal, and lets it say that rows have seals, so that binaries which do not know
    /// them refuse it.
    pub(crate) fn note_seals(&self, keyring: &Keyring) -> SealedDrives {
        let mut state = self.lock();
        let has_seal = |(_, identity): &(_, Super)| identity.seal.is_some();
        let is_done = state.keys.is_some() && state.drives.iter().all(has_seal);
        let written = match (is_done, state.drives.first()) {
            (true, _) | (_, None) => state.drives.len(),
            (false, Some((_, first))) => {
                state.keys = Some(Arc::new(keyring.drive_keys(&first.deployment)));
                state.tell(&|identity| identity.seals_rows = true)
            }
        };
        match (written == state.drive_count, 2 * written > state.drive_count) {
            (true, _) => SealedDrives::All,
            (false, true) => SealedDrives::Most,
            (false, false) => SealedDrives::TooFew,
        }
    }

    /// Takes a drive out, puts one in, and tells all what the roster is now. `view` must be the one that
    /// the catalog goes by for as long as this takes ([`drystone_catalog::Catalog::with_view`]): an earlier
    /// one would undo what was recorded since. Says whether more than half were told.
    pub(crate) fn change(
        &self,
        old: Option<DriveKey>,
        new: Option<(Arc<dyn Disk>, Super)>,
        view: &[DriveKey],
    ) -> bool {
        let mut state = self.lock();
        let added = new.as_ref().map(|(_, identity)| identity.drive);
        let roster = changed_roster(state.newest(), old, added);
        let seals_rows = state.drives.iter().any(|(_, identity)| identity.seals_rows);
        let new = new.map(|(disk, identity)| (disk, Super { seals_rows, ..identity }));
        state.drives.retain(|(_, identity)| Some(identity.drive) != old);
        state.drives.extend(new);
        state.drive_count = roster.len();
        state.write(view, Some(&roster))
    }
}

/// The roster of a deployment after a drive was taken out and another put in, in its place if both are.
pub(super) fn changed_roster(
    newest: &Super,
    old: Option<DriveKey>,
    new: Option<DriveKey>,
) -> Vec<DriveKey> {
    let mut roster = match newest.roster.is_empty() {
        true => vec![newest.drive],
        false => newest.roster.clone(),
    };
    match (old.and_then(|old| roster.iter().position(|drive| *drive == old)), new) {
        (Some(at), Some(new)) => roster[at] = new,
        (Some(at), None) => drop(roster.remove(at)),
        (None, new) => roster.extend(new),
    }
    roster
}

impl State {
    /// What the drives say now.
    fn newest(&self) -> &Super {
        let newest = self.drives.iter().max_by_key(|(_, identity)| identity.view_term);
        &newest.expect("there is a drive").1
    }

    /// Writes what changes of each identity; says how many drives took it.
    fn tell(&mut self, change: &dyn Fn(&mut Super)) -> usize {
        let mut written = 0;
        let keys = self.keys.clone();
        // Without the keyring, a seal would be lost.
        if keys.is_none() && self.drives.iter().any(|(_, identity)| identity.seal.is_some()) {
            return 0;
        }
        for (disk, identity) in &mut self.drives {
            change(identity);
            match write_super(&**disk, identity, keys.as_deref()) {
                Ok(()) => written += 1,
                Err(error) => {
                    tracing::warn!(drive = identity.drive_text(), %error, "a drive was not told");
                }
            }
        }
        written
    }

    /// As [`State::tell`]; says whether more than half of all drives took it.
    fn tell_most(&mut self, change: &dyn Fn(&mut Super)) -> bool {
        2 * self.tell(change) > self.drive_count
    }

    /// Announces a ballot, then writes view, and roster if it changes, under it. The first drive of the
    /// catalog may be out of the roster until the next process takes another: it is not in the view then.
    fn write(&mut self, view: &[DriveKey], roster: Option<&[DriveKey]>) -> bool {
        let known = roster.unwrap_or(&self.newest().roster);
        let view: Vec<_> = view
            .iter()
            .filter(|drive| known.is_empty() || known.contains(drive))
            .copied()
            .collect();
        if view.is_empty() {
            return false;
        }
        let said = self.drives.iter().map(|(_, identity)| (identity.promised, identity.view_term));
        let ballot = next_ballot(said);
        self.tell_most(&|identity| identity.promised = ballot)
            && self.tell_most(&|identity| {
                identity.view_term = ballot;
                identity.view.clone_from(&view);
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
        format_drive(&*place.disk, &new, None)?;
        read_super(&*place.disk)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::trust::{self, Trust};
    use drystone_base::SeededRng;
    use drystone_drive::read_sealed;
    use drystone_io::{CrashKind, SimDisk};

    /// Goal: a stop at any write of the round that gives drives their seals leaves every drive usable, and
    /// the next round gives all of them one. Method: each write of each of three drives.
    #[test]
    fn giving_drives_their_seals_survives_a_stop_at_any_write() {
        let rng = SeededRng::new(1);
        let keyring = Keyring::generate(&rng, "");
        for (at, crash) in (0..3).flat_map(|at| (1..=4).map(move |crash| (at, crash))) {
            let disks: Vec<_> = (0..3).map(|seed| Arc::new(SimDisk::new(1 << 20, seed))).collect();
            let place = |disk: &Arc<SimDisk>| Place {
                path: String::new(),
                disk: disk.clone(),
                zone: String::new(),
                node: String::new(),
            };
            let places: Vec<_> = disks.iter().map(place).collect();
            new_deployment(&places, &rng, 5, &|_| 1 << 20).expect("made");
            let read = || -> Vec<trust::Said> {
                let read = |disk: &Arc<SimDisk>| read_sealed(&**disk, &keyring);
                disks.iter().map(|disk| read(disk).expect("read").expect("there")).collect()
            };
            let keeper = |said: Vec<trust::Said>, keys| {
                let pairs = disks.iter().zip(said);
                let drives = pairs.map(|(disk, (said, _))| (disk.clone() as _, said)).collect();
                Keeper::new(drives, 3, keys)
            };
            disks[at].crash_at(disks[at].op_count() + crash);
            let sealed = keeper(read(), None).note_seals(&keyring);
            disks.iter().for_each(|disk| disk.restart(CrashKind::Power));
            let said = read();
            let believed = trust::judge(&said, Some(&keyring), false);
            assert!(believed.iter().all(|trust| *trust != Trust::Refused), "{at} {crash}");
            if sealed == SealedDrives::All {
                assert!(said.iter().all(trust::holds), "{at} {crash}");
            }
            let keys = Some(Arc::new(keyring.drive_keys(&said[0].0.deployment)));
            let holder = said[0].0.drive;
            let next = keeper(said, keys);
            assert!(next.record(&[holder]), "every drive is there again");
            assert!(read().iter().all(trust::holds));
            assert_eq!(next.note_seals(&keyring), SealedDrives::All);
        }
    }
}
