//! Placement groups: recorded tuples of drives.

use crate::shape::Shape;
use drystone_base::{DecodeError, Reader, Writer, hash64, hex};
use std::collections::HashMap;
use std::fmt;

/// Groups that a drive is in, about.
const GROUPS_PER_DRIVE: usize = 250;
/// Groups at most: a blob id has 16 bits for its group.
const GROUP_COUNT_MAX: usize = 16_384;
const FORMAT: u8 = 1;

/// Identity of a drive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriveId(pub [u8; 16]);

impl fmt::Display for DriveId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for DriveId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0[..4]))
    }
}

/// What placement looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveInfo {
    /// Identity.
    pub id: DriveId,
    /// Its share of the load: its size, in bytes.
    pub weight: u64,
    /// What fails together at large: a rack, a room.
    pub zone: String,
    /// What fails together: a machine.
    pub node: String,
}

/// A placement group. The place of a member is the shard of a stripe that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Number, part of the ids of its blobs.
    pub id: u16,
    /// Raised by each change of members.
    pub generation: u32,
    /// Drives, by place.
    pub members: Vec<DriveId>,
    /// It takes no new blobs: it was made for other drives than there are now.
    pub is_closed: bool,
}

impl Group {
    /// Stored form: format (u8), generation (u32), closed (u8), count (u8), ids.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(FORMAT).u32(self.generation).u8(self.is_closed.into()).u8(self.members.len() as u8);
        for member in &self.members {
            w.raw(&member.0);
        }
        w.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// Another format, or malformed.
    pub fn decode(id: u16, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "group row");
        if r.u8()? != FORMAT {
            return Err(r.malformed());
        }
        let generation = r.u32()?;
        let is_closed = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(r.malformed()),
        };
        let mut members = Vec::new();
        for _ in 0..r.u8()? {
            let malformed = r.malformed();
            members.push(DriveId(r.take(16)?.try_into().map_err(|_| malformed)?));
        }
        Ok(Self { id, generation, members, is_closed })
    }
}

/// The higher, the rather a drive is a member.
fn score(group: u16, drive: &DriveInfo) -> f64 {
    let mut key = [0; 18];
    key[..2].copy_from_slice(&group.to_be_bytes());
    key[2..].copy_from_slice(&drive.id.0);
    // The checksum is linear: mixed, so that numbers which differ little give scores which differ much.
    let mut mixed = hash64(&key);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    let unit = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -(drive.weight.max(1) as f64) / unit.ln()
}

/// So many groups for so many drives.
#[must_use]
pub fn group_count(drives: usize, shape: Shape) -> usize {
    (GROUPS_PER_DRIVE * drives / shape.shard_count()).clamp(1, GROUP_COUNT_MAX)
}

/// The drives that should be the members of a group, the most fitting first: no zone and no node has
/// more than its share. Fewer than `count` if there are not so many drives.
#[must_use]
pub fn propose(group: u16, drives: &[DriveInfo], count: usize) -> Vec<DriveId> {
    let mut ranked: Vec<(f64, &DriveInfo)> =
        drives.iter().map(|drive| (score(group, drive), drive)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.id.cmp(&b.1.id)));
    let distinct = |name: &dyn Fn(&DriveInfo) -> String| {
        let mut names: Vec<_> = drives.iter().map(name).collect();
        names.sort_unstable();
        names.dedup();
        names.len().max(1)
    };
    let zone = |drive: &DriveInfo| drive.zone.clone();
    let node = |drive: &DriveInfo| format!("{}/{}", drive.zone, drive.node);
    let mut caps = (count.div_ceil(distinct(&zone)), count.div_ceil(distinct(&node)));
    let mut chosen: Vec<DriveId> = Vec::with_capacity(count);
    let mut in_zone: HashMap<String, usize> = HashMap::new();
    let mut in_node: HashMap<String, usize> = HashMap::new();
    // Where zones are of unequal size, their shares are not enough: they are widened step by step.
    while chosen.len() < count.min(drives.len()) {
        for (_, drive) in &ranked {
            let zoned = in_zone.get(&drive.zone).copied().unwrap_or(0);
            let noded = in_node.get(&node(drive)).copied().unwrap_or(0);
            let fits = zoned < caps.0 && noded < caps.1 && !chosen.contains(&drive.id);
            if fits && chosen.len() < count {
                chosen.push(drive.id);
                *in_zone.entry(drive.zone.clone()).or_default() += 1;
                *in_node.entry(node(drive)).or_default() += 1;
            }
        }
        caps = (caps.0 + 1, caps.1 + 1);
    }
    chosen
}

/// New groups for these drives, numbered from `first` on.
#[must_use]
pub fn plan_groups(drives: &[DriveInfo], shape: Shape, first: u16) -> Vec<Group> {
    let ids = (0..group_count(drives.len(), shape) as u16).map(|id| first + id);
    let make = |id| {
        let members = propose(id, drives, shape.shard_count());
        Group { id, generation: 1, members, is_closed: false }
    };
    ids.map(make).collect()
}

/// The group as it should be with these drives: members that should leave are replaced where they
/// stand. `None` if nothing changes, or there are not enough drives.
#[must_use]
pub fn rehome(group: &Group, drives: &[DriveInfo]) -> Option<Group> {
    let proposed = propose(group.id, drives, group.members.len());
    if proposed.len() < group.members.len() {
        return None;
    }
    let mut arriving = proposed.iter().filter(|id| !group.members.contains(id));
    let place = |member: &DriveId| match proposed.contains(member) {
        true => *member,
        false => *arriving.next().expect("as many arrive as leave"),
    };
    let members: Vec<DriveId> = group.members.iter().map(place).collect();
    if members == group.members {
        return None;
    }
    let generation = group.generation + 1;
    Some(Group { id: group.id, generation, members, is_closed: group.is_closed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drive(number: u8, weight: u64, zone: &str, node: &str) -> DriveInfo {
        let id = DriveId([number.wrapping_mul(37); 16]);
        DriveInfo { id, weight, zone: zone.to_owned(), node: node.to_owned() }
    }

    fn even(count: u8) -> Vec<DriveInfo> {
        (0..count).map(|n| drive(n, 1 << 40, "", "")).collect()
    }

    fn shares(groups: &[Group]) -> HashMap<DriveId, usize> {
        let mut shares = HashMap::new();
        groups.iter().flat_map(|g| &g.members).for_each(|m| *shares.entry(*m).or_default() += 1);
        shares
    }

    #[test]
    fn members_are_distinct_and_shares_follow_weights() {
        let mut drives = even(12);
        drives[0].weight *= 2;
        let groups = plan_groups(&drives, Shape::new(4, 2), 0);
        assert_eq!(groups.len(), 500);
        for group in &groups {
            let mut members = group.members.clone();
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), 6);
        }
        let shares = shares(&groups);
        let plain: Vec<usize> = drives[1..].iter().map(|drive| shares[&drive.id]).collect();
        let mean = plain.iter().sum::<usize>() as f64 / plain.len() as f64;
        assert!(plain.iter().all(|share| (*share as f64 - mean).abs() < 0.2 * mean), "{plain:?}");
        // Each member is drawn without putting back: twice the weight is somewhat less than twice the share.
        assert!((1.3..2.0).contains(&(shares[&drives[0].id] as f64 / mean)));
    }

    #[test]
    fn no_zone_and_no_node_has_more_than_its_share() {
        let zones = ["a", "b", "c"];
        let drives: Vec<_> = (0..18)
            .map(|n| drive(n, 1 << 40, zones[n as usize % 3], &format!("{}", n / 6)))
            .collect();
        for group in plan_groups(&drives, Shape::new(9, 6), 0) {
            for zone in zones {
                let of_zone = |id: &&DriveId| {
                    drives.iter().any(|drive| drive.id == **id && drive.zone == zone)
                };
                assert_eq!(group.members.iter().filter(of_zone).count(), 5);
            }
        }
        // One zone has a single drive: the others take what it cannot.
        let mut drives = even(6);
        drives[0].zone = "small".to_owned();
        assert_eq!(propose(1, &drives, 6).len(), 6);
    }

    #[test]
    fn a_new_drive_takes_its_share_and_nothing_else_moves() {
        let before = even(8);
        let groups = plan_groups(&before, Shape::new(4, 2), 0);
        let mut after = before.clone();
        after.push(drive(8, 1 << 40, "", ""));
        let (mut moved, mut to_new) = (0, 0);
        for group in &groups {
            let Some(new) = rehome(group, &after) else { continue };
            assert_eq!(new.generation, group.generation + 1);
            let changed = new.members.iter().zip(&group.members).filter(|(a, b)| a != b);
            for (now, _) in changed {
                moved += 1;
                to_new += usize::from(*now == after[8].id);
            }
        }
        let ideal = groups.len() * 6 / 9;
        assert_eq!(moved, to_new, "only the new drive receives");
        assert!(moved as f64 <= 1.2 * ideal as f64 && moved as f64 >= 0.8 * ideal as f64);
    }

    #[test]
    fn a_drive_that_leaves_is_replaced_where_it_stood() {
        let drives = even(8);
        let groups = plan_groups(&drives, Shape::new(4, 2), 0);
        let left: Vec<_> = drives[1..].to_vec();
        for group in &groups {
            let is_member = group.members.contains(&drives[0].id);
            let Some(new) = rehome(group, &left) else {
                assert!(!is_member);
                continue;
            };
            for (now, old) in new.members.iter().zip(&group.members) {
                assert!(now == old || *old == drives[0].id);
            }
        }
        assert_eq!(rehome(&groups[0], &drives[..5]), None, "six cannot be found among five");
    }

    proptest! {
        #[test]
        fn stored_groups_are_read_back(
            id: u16, generation: u32, is_closed: bool, members: Vec<[u8; 16]>,
        ) {
            prop_assume!(members.len() < 33);
            let members = members.into_iter().map(DriveId).collect();
            let group = Group { id, generation, members, is_closed };
            prop_assert_eq!(Group::decode(id, &group.encode()), Ok(group.clone()));
            let mut cut = group.encode();
            cut.pop();
            prop_assert!(Group::decode(id, &cut).is_err());
        }
    }
}
