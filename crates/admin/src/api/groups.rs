//! Groups.

use super::Outcome;
use crate::door::Actor;
use crate::rights::Right;
use drystone_admin_api::{Answer, Group, Request};
use drystone_identity::EntityKind;

/// Runs a request about groups; gives back any other.
pub(super) async fn run(actor: &Actor<'_>, request: Request) -> Result<Outcome, Request> {
    Ok(match request {
        Request::GroupAdd { name } => add(actor, &name).await,
        Request::GroupList => actor.list(|| list(actor)).await,
        Request::GroupInfo { name } => info(actor, &name),
        Request::GroupRemove { name } => remove(actor, &name).await,
        Request::GroupEnable { name, enabled } => enable(actor, &name, enabled).await,
        Request::GroupMembers { name, users, add } => members(actor, &name, users, add).await,
        request => return Err(request),
    })
}

fn shown(group: drystone_identity::Group) -> Group {
    Group {
        name: group.name,
        enabled: group.is_enabled,
        policies: group.grants.attached.into_iter().collect(),
        members: group.members.into_iter().collect(),
    }
}

async fn add(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.need(Right::CreateGroup, EntityKind::Group, name)?;
    let group = actor.directory.create_group(actor.account(), name, "/").await?;
    Ok(Answer::Groups(vec![shown(group)]))
}

fn list(actor: &Actor<'_>) -> Outcome {
    actor.need_all(Right::ListGroups, EntityKind::Group)?;
    Ok(Answer::Groups(actor.directory.groups(actor.account(), &actor.room, shown)?))
}

fn info(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.need(Right::GetGroup, EntityKind::Group, name)?;
    Ok(Answer::Groups(vec![shown(actor.directory.group_in(actor.account(), name, &actor.room)?)]))
}

async fn remove(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.need(Right::DeleteGroup, EntityKind::Group, name)?;
    actor.directory.delete_group(actor.account(), name, true).await?;
    Ok(Answer::Done)
}

async fn enable(actor: &Actor<'_>, name: &str, enabled: bool) -> Outcome {
    let right = if enabled { Right::EnableGroup } else { Right::DisableGroup };
    actor.need(right, EntityKind::Group, name)?;
    if enabled {
        let group = actor.directory.group(actor.account(), name)?;
        actor.require_may_give_group(&group).await?;
    }
    actor.directory.enable_group(actor.account(), name, enabled).await?;
    Ok(Answer::Done)
}

async fn members(actor: &Actor<'_>, name: &str, users: Vec<String>, add: bool) -> Outcome {
    let right = if add { Right::AddUserToGroup } else { Right::RemoveUserFromGroup };
    actor.need(right, EntityKind::Group, name)?;
    actor.refuse_denied_members(right, &users).await?;
    actor.directory.change_members(actor.account(), name, users, add).await?;
    Ok(Answer::Done)
}
