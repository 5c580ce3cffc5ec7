//! What rows claim, beside what there is: payloads, lists of parts, owners of shared bytes, and shards.

use super::claims::What::{Blob, Inline, List};
use super::claims::{Claim, Hold, Origin, What};
use super::{Check, Findings, Problem, Rows, next_if};
use crate::error::EngineError;
use crate::layout::Layout;
use crate::plan::SweepItem;
use drystone_base::{BlobId, Seq};
use drystone_catalog::{Family, Manifest};

/// The claims of one payload, blob or list.
struct Group {
    id: BlobId,
    /// What it is, as one says that it is there; else as any says.
    what: What,
    /// Whose it is.
    live: Option<Origin>,
    /// Claims of owners that are alone.
    alone: u64,
    is_swept: bool,
}

/// What is beside the claims: rows in the order of ids.
struct Beside {
    inline: Rows,
    lists: Rows,
    owners: Rows,
    /// The owner that was claimed last.
    claimed: Option<(BlobId, Seq)>,
}

fn problem(origin: &Origin, what: String) -> Problem {
    let (list, name) = match origin {
        Origin::Version(name) => (None, name.to_string()),
        Origin::List(id) => (Some(*id), String::new()),
        Origin::Upload(id) => (None, format!("a part of the upload {}", id.to_text())),
        Origin::Sweep => (None, "the sweep".to_owned()),
    };
    Problem { list, name, what }
}

/// The id in a key.
fn id_of(key: &[u8]) -> Option<BlobId> {
    key.get(1..17).and_then(BlobId::from_slice)
}

/// The owner in a key, with the id of the bytes.
fn owner_of(key: &[u8]) -> Option<(BlobId, Seq)> {
    let owner = key.get(17..)?.try_into().ok().map(u64::from_be_bytes)?;
    Some((id_of(key)?, Seq(owner)))
}

impl Group {
    fn new(claim: &Claim) -> Self {
        let (id, what) = (claim.id, claim.what);
        Self { id, what, live: None, alone: 0, is_swept: false }
    }

    fn add(&mut self, claim: Claim, found: &mut Findings) {
        let is_alone = matches!(claim.hold, Hold::Version | Hold::Part);
        match claim.hold {
            Hold::Leaving => return,
            Hold::Swept => {
                self.is_swept = true;
                return;
            }
            Hold::Version | Hold::Shared | Hold::Part => {}
        }
        if self.live.is_some() && (is_alone || self.alone > 0) {
            let what = match self.what {
                Inline => " has no bytes of its own".to_owned(),
                Blob(..) => format!(" shares blob {} with another version", self.id),
                List => format!(" shares the list of parts {} with another version", self.id),
            };
            found.add(problem(&claim.origin, what));
        }
        self.alone += u64::from(is_alone);
        if self.live.is_none() {
            self.what = claim.what;
            self.live = Some(claim.origin);
        }
    }
}

impl Check<'_> {
    /// Compares what is claimed with what there is.
    pub(super) fn ids(&self, found: &mut Findings) -> Result<(), EngineError> {
        let mut beside = Beside {
            inline: self.rows(Family::Inline),
            lists: self.rows(Family::Manifest),
            owners: self.rows(Family::BlobRef),
            claimed: None,
        };
        let mut group: Option<Group> = None;
        for claim in self.claims() {
            let claim = claim?;
            if let Some(ended) = group.take_if(|group| group.id != claim.id) {
                self.end_group(&ended, &mut beside, found)?;
            }
            beside.compare_owner(&claim, found)?;
            group.get_or_insert_with(|| Group::new(&claim)).add(claim, found);
        }
        if let Some(ended) = group {
            self.end_group(&ended, &mut beside, found)?;
        }
        beside.end(found)?;
        self.sweep(found)
    }

    fn end_group(
        &self,
        group: &Group,
        beside: &mut Beside,
        found: &mut Findings,
    ) -> Result<(), EngineError> {
        let has_inline = beside.inline(group.id, found)?;
        let list = beside.list(group.id, found)?;
        let Some(live) = &group.live else { return Ok(()) };
        match group.what {
            Inline if !has_inline => {
                found.add(problem(live, " has no bytes of its own".to_owned()));
            }
            Inline => {}
            List => {
                found.report.manifests += 1;
                if list != Some(true) {
                    found.add(problem(live, " has no readable list of parts".to_owned()));
                }
            }
            Blob(cell_len, code, size) => {
                let layout = Layout::new(group.id, code, cell_len, size);
                self.shards(&layout, live, found)?;
            }
        }
        if group.is_swept {
            let kind = if group.what == List { "list of parts" } else { "blob" };
            let text = format!("{kind} {} is to be swept but is still named", group.id);
            found.problem(text);
        }
        Ok(())
    }

    /// Looks for the shards of a blob.
    fn shards(
        &self,
        layout: &Layout,
        live: &Origin,
        found: &mut Findings,
    ) -> Result<(), EngineError> {
        found.report.blobs += 1;
        let members = self.engine.pool().members_of(layout.blob);
        for stripe in layout.stripes() {
            let shard = layout.shard(stripe);
            let mut lacks = 0;
            for place in 0..layout.shape.shard_count() {
                let is_there = match members.get(place) {
                    _ if layout.shard_len(stripe, place) == 0 => true,
                    Some(Some(drive)) => drive.has(shard)?,
                    _ => false,
                };
                lacks += u8::from(!is_there);
            }
            found.report.lacking_shards += u64::from(lacks);
            if lacks > layout.shape.parity {
                found.add(problem(live, format!(" is missing shard {shard}")));
                break;
            }
        }
        Ok(())
    }

    fn sweep(&self, found: &mut Findings) -> Result<(), EngineError> {
        for row in self.rows(Family::Sweep) {
            found.report.sweep += 1;
            if let Err(error) = SweepItem::decode(&row?.1) {
                found.problem(format!("a row of the sweep is not readable: {error}"));
            }
        }
        Ok(())
    }
}

impl Beside {
    /// Names the owners before a claim that nothing claims to be, and says whether the owner of this one is
    /// known.
    fn compare_owner(&mut self, claim: &Claim, found: &mut Findings) -> Result<(), EngineError> {
        let this = (claim.id, claim.owner);
        self.owners_before(Some(this), found)?;
        let next = self.owners.peek().and_then(|row| row.as_ref().ok());
        let is_known = next.is_some_and(|(key, _)| owner_of(key) == Some(this));
        match claim.hold {
            // Small payloads have no rows of owners.
            Hold::Shared if !is_known && claim.what != Inline => {
                let what = format!(" is no known owner of {}", claim.id);
                found.add(problem(&claim.origin, what));
            }
            Hold::Version if is_known => {
                let what = format!(" does not say that it shares {}", claim.id);
                found.add(problem(&claim.origin, what));
                self.claimed = Some(this);
            }
            Hold::Shared => self.claimed = Some(this),
            Hold::Version | Hold::Part | Hold::Leaving | Hold::Swept => {}
        }
        Ok(())
    }

    /// Names the owners before one, or all that are left, that nothing claims to be.
    fn owners_before(
        &mut self,
        end: Option<(BlobId, Seq)>,
        found: &mut Findings,
    ) -> Result<(), EngineError> {
        let is_before = |owner| end.is_none_or(|end| owner < end);
        let wanted = |key: &[u8]| owner_of(key).is_none_or(is_before);
        while let Some((key, _)) = next_if(&mut self.owners, wanted)? {
            match owner_of(&key) {
                None => found.problem("an owner of shared bytes is not readable".to_owned()),
                owner if owner == self.claimed => {}
                Some((id, _)) => {
                    found.problem(format!("an owner of the shared bytes {id} is not there"));
                }
            }
        }
        Ok(())
    }

    /// Whether there is a small payload; names those before it, which nothing claims.
    fn inline(&mut self, end: BlobId, found: &mut Findings) -> Result<bool, EngineError> {
        self.inline_before(Some(end), found)?;
        let there = next_if(&mut self.inline, |key| id_of(key) == Some(end))?.is_some();
        found.report.inline += u64::from(there);
        Ok(there)
    }

    fn inline_before(
        &mut self,
        end: Option<BlobId>,
        found: &mut Findings,
    ) -> Result<(), EngineError> {
        let is_before = |id: BlobId| end.is_none_or(|end| id < end);
        while next_if(&mut self.inline, |key| id_of(key).is_none_or(is_before))?.is_some() {
            found.report.inline += 1;
            found.problem("a small payload is named by nothing".to_owned());
        }
        Ok(())
    }

    /// Whether there is a list of parts, and it can be read; names those before it, which nothing claims.
    fn list(&mut self, end: BlobId, found: &mut Findings) -> Result<Option<bool>, EngineError> {
        self.lists_before(Some(end), found)?;
        let there = next_if(&mut self.lists, |key| id_of(key) == Some(end))?;
        Ok(there.map(|(_, value)| is_readable(&value)))
    }

    fn lists_before(
        &mut self,
        end: Option<BlobId>,
        found: &mut Findings,
    ) -> Result<(), EngineError> {
        let is_before = |id: BlobId| end.is_none_or(|end| id < end);
        while let Some((key, _)) = next_if(&mut self.lists, |key| id_of(key).is_none_or(is_before))?
        {
            let id = id_of(&key).map(|id| id.to_string()).unwrap_or_default();
            found.problem(format!("the list of parts {id} is named by nothing"));
        }
        Ok(())
    }

    /// Names what is left, which nothing claims.
    fn end(&mut self, found: &mut Findings) -> Result<(), EngineError> {
        self.owners_before(None, found)?;
        self.inline_before(None, found)?;
        self.lists_before(None, found)
    }
}

/// Whether all parts of a list can be read.
fn is_readable(list: &[u8]) -> bool {
    let parts = Manifest::walk(list);
    parts.is_ok_and(|mut parts| parts.all(|part| part.and_then(|part| part.decode()).is_ok()))
}
