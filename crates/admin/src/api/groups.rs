//! Groups.

use super::Outcome;
use crate::door::Actor;
use drystone_admin_api::{Answer, Group, Request};

/// Runs a request about groups; gives back any other.
pub(super) async fn run(actor: &Actor<'_>, request: Request) -> Result<Outcome, Request> {
    Ok(match request {
        Request::GroupAdd { name } => add(actor, &name).await,
        Request::GroupList => list(actor),
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
    actor.need("CreateGroup", "group", name)?;
    let group = actor.directory.create_group(actor.account(), name, "/").await?;
    Ok(Answer::Groups(vec![shown(group)]))
}

fn list(actor: &Actor<'_>) -> Outcome {
    actor.need("ListGroups", "group", "*")?;
    let groups = actor.directory.groups(actor.account())?;
    Ok(Answer::Groups(groups.into_iter().map(shown).collect()))
}

fn info(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.need("GetGroup", "group", name)?;
    Ok(Answer::Groups(vec![shown(actor.directory.group(actor.account(), name)?)]))
}

async fn remove(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.need("DeleteGroup", "group", name)?;
    actor.directory.delete_group(actor.account(), name, true).await?;
    Ok(Answer::Done)
}

async fn enable(actor: &Actor<'_>, name: &str, enabled: bool) -> Outcome {
    actor.need(if enabled { "EnableGroup" } else { "DisableGroup" }, "group", name)?;
    actor.directory.enable_group(actor.account(), name, enabled).await?;
    Ok(Answer::Done)
}

async fn members(actor: &Actor<'_>, name: &str, users: Vec<String>, add: bool) -> Outcome {
    actor.need(if add { "AddUserToGroup" } else { "RemoveUserFromGroup" }, "group", name)?;
    actor.directory.change_members(actor.account(), name, users, add).await?;
    Ok(Answer::Done)
}
