//! What the decision on a request looked at of objects: their tags, owners and grants.
//!
//! They may change between the decision and its effect. A commit of the request compares them on the
//! committer, before its plan runs, and is refused if another request changed them: it was decided on
//! something else. What the plans of the request itself change is no reason to refuse its next one.

use crate::engine::{CommittedView, Shared};
use crate::error::EngineError;
use crate::plan::{VersionRef, load_head, load_version};
use drystone_base::sync::{Mutex, lock};
use drystone_base::{BucketId, Seq};
use drystone_catalog::{ObjectRow, Tx};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// Objects that are remembered at most: a list of keys to delete has a thousand.
const OBJECT_COUNT_MAX: usize = 1024;

/// Digest of what decisions can look at; `None` if there is no such version.
type Sight = Option<[u8; 32]>;

fn sight_of(row: &ObjectRow) -> Sight {
    if row.is_marker {
        return None;
    }
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    add(&row.owner);
    add(row.acl.as_deref().unwrap_or_default());
    for (name, value) in &row.tags {
        add(name);
        add(value);
    }
    Some(digest.finalize().into())
}

/// What a decision would see now.
fn sight_now(
    tx: &Tx<'_>,
    (bucket, object): &(BucketId, Vec<u8>),
    version: Option<VersionRef>,
) -> Result<Sight, EngineError> {
    let row = match version {
        None => load_head(tx, *bucket, object)?,
        Some(version) => match load_version(tx, *bucket, object, version) {
            Ok(found) => found.map(|(_, row)| Ok(row)),
            Err(error) if error.is_unreadable_row() => None,
            Err(error) => return Err(error),
        },
    };
    // Of a row that cannot be read a decision sees nothing.
    Ok(row.and_then(Result::ok).as_ref().and_then(sight_of))
}

/// What was seen of each version of an object.
type Versions = Vec<(Option<VersionRef>, Sight)>;

#[derive(Default)]
struct Sights {
    of: HashMap<(BucketId, Vec<u8>), Versions>,
    /// More was looked at than is remembered.
    is_overfull: bool,
}

/// What was looked at for one request.
#[derive(Default)]
pub(crate) struct LookedAt {
    sights: Mutex<Sights>,
}

impl LookedAt {
    /// Remembers what was seen. What was seen first stays: another part of the decision is based on it.
    pub(crate) fn note(
        &self,
        (bucket, object): (BucketId, &[u8]),
        version: Option<VersionRef>,
        row: Option<&ObjectRow>,
    ) {
        let mut sights = lock(&self.sights);
        let name = (bucket, object.to_vec());
        if sights.of.len() >= OBJECT_COUNT_MAX && !sights.of.contains_key(&name) {
            sights.is_overfull = true;
            return;
        }
        let known = sights.of.entry(name).or_default();
        if known.iter().all(|(of, _)| *of != version) {
            known.push((version, row.and_then(sight_of)));
        }
    }

    /// Whether nothing was looked at, as in most requests.
    pub(crate) fn is_empty(&self) -> bool {
        let sights = lock(&self.sights);
        sights.of.is_empty() && !sights.is_overfull
    }

    /// Whether a version that is used now is as it was looked at.
    pub(crate) fn is_as_seen(
        &self,
        (bucket, object): (BucketId, &[u8]),
        version: Option<VersionRef>,
        row: &ObjectRow,
    ) -> bool {
        let sights = lock(&self.sights);
        if sights.of.is_empty() {
            return true;
        }
        let known = sights.of.get(&(bucket, object.to_vec())).into_iter().flatten();
        known.filter(|(of, _)| *of == version).all(|(_, seen)| *seen == sight_of(row))
    }

    /// Forgets everything: what follows is decided again.
    pub(crate) fn forget(&self) {
        *lock(&self.sights) = Sights::default();
    }

    /// Whether what was looked at is as it was. `only`: of one object.
    pub(crate) fn is_same(&self, tx: &Tx<'_>, only: Option<&[u8]>) -> Result<bool, EngineError> {
        let sights = lock(&self.sights);
        if sights.is_overfull {
            return Ok(false);
        }
        for (name, known) in &sights.of {
            if only.is_some_and(|object| object != name.1) {
                continue;
            }
            for (version, seen) in known {
                if sight_now(tx, name, *version)? != *seen {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// As [`LookedAt::is_same`], of what is committed.
    pub(crate) fn is_same_committed(
        &self,
        shared: &Shared,
        only: Option<&[u8]>,
    ) -> Result<bool, EngineError> {
        if self.is_empty() {
            return Ok(true);
        }
        let view = CommittedView(&shared.catalog);
        self.is_same(&Tx::new(&view, &*shared.rng, 0, Seq(0)), only)
    }

    /// Takes what a plan of the request made of the objects for seen.
    pub(crate) fn renew(&self, tx: &Tx<'_>, only: Option<&[u8]>) -> Result<(), EngineError> {
        let mut sights = lock(&self.sights);
        for (name, known) in &mut sights.of {
            if only.is_some_and(|object| object != name.1) {
                continue;
            }
            for (version, seen) in known {
                *seen = sight_now(tx, name, *version)?;
            }
        }
        Ok(())
    }
}
