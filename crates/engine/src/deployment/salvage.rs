//! Opening a deployment whose catalog is damaged or gone on all drives that held it.

use super::member::{Member, OpenError, Opened};
use super::{Deployment, DeploymentConfig, choose_first, open_catalog};
use drystone_base::sync::thread::JoinHandle;
use drystone_catalog::ViewKeeper;
use drystone_cluster::{DriveId, Group, Protection, Shape, Start};
use std::collections::BTreeMap;

impl Deployment {
    /// Opens the catalog with what is left of it on all drives. Afterwards one drive holds it; others
    /// join by [`Deployment::recruit`].
    pub(super) fn open_salvaged(
        opened: Opened,
        writers: Vec<JoinHandle<()>>,
        config: DeploymentConfig,
    ) -> Result<Self, OpenError> {
        let Opened { mut start, members, refused, keys } = opened;
        let members = &members[..];
        let first = choose_first(&start, members)?;
        let member = &members[first];
        let others = members.iter().filter(|other| other.id() != member.id());
        let others: Vec<_> = others.map(|other| other.drive.log().clone()).collect();
        let index = member.catalog_index.as_deref().expect("every drive may be read");
        let report = drystone_catalog::salvage(member.drive.log(), &others, index)?;
        start.view = vec![member.id()];
        let (keeper, catalog) = open_catalog(&start, members, first, (&config, keys))?;
        if start.roster.len() > 1 && !keeper.record(&[member.id().0]) {
            return Err(OpenError::Refused("too few drives could be told".to_owned()));
        }
        let opened = (keeper, catalog, writers);
        let groups = find_groups(&start, members)?;
        let assembled = Self::assemble(&start, members, first, opened, (groups, config));
        let mut deployment = assembled?;
        deployment.salvaged = Some(report);
        deployment.refused = refused;
        Ok(deployment)
    }
}

/// The groups of what is on the drives, from what the records of shards say: each drive knows its place.
/// Places of drives that are missing get any missing drive. They take nothing new.
fn find_groups(start: &Start, members: &[Member]) -> Result<Vec<Group>, OpenError> {
    let mut places: BTreeMap<u16, BTreeMap<u8, DriveId>> = BTreeMap::new();
    let mut widths: BTreeMap<u16, u8> = BTreeMap::new();
    for member in members {
        for (group, (place, width)) in member.drive.places_by_group()? {
            places.entry(group).or_default().insert(place, member.id());
            let widest = widths.entry(group).or_default();
            *widest = width.max(*widest);
        }
    }
    let usual = Shape::for_drives(start.roster.len(), 1, Protection::Standard).shard_count();
    let mut groups = Vec::new();
    for (id, known) in places {
        let last = known.keys().next_back().map_or(0, |place| usize::from(*place) + 1);
        let width = usual.min(start.roster.len()).max(last).max(widths[&id].into());
        let missing = &mut start.roster.iter().filter(|drive| {
            start.missing.contains(drive) && !known.values().any(|member| member == *drive)
        });
        let others = &mut start.roster.iter().filter(|drive| {
            !start.missing.contains(drive) && !known.values().any(|member| member == *drive)
        });
        let at = |place: usize| {
            let known = known.get(&(place as u8)).copied();
            known.or_else(|| missing.next().or_else(|| others.next()).copied())
        };
        let members: Vec<DriveId> = (0..width).map_while(at).collect();
        groups.push(Group { id, generation: 0, members, is_closed: true });
    }
    Ok(groups)
}
