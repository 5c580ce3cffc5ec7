//! Groups.

use super::spoken::Fields;
use super::users::is_enabled;
use super::{Answer, Call, MinioError, Reply};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_identity::{EntityKind, IdentityError};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateMembers {
    group: String,
    #[serde(default)]
    members: Option<Vec<String>>,
    #[serde(default)]
    group_status: String,
    #[serde(default)]
    is_remove: bool,
}

impl Fields for UpdateMembers {
    const NAMES: &'static [&'static str] = &["group", "members", "groupStatus", "isRemove"];
}

pub(super) async fn update_members(call: &Call<'_>) -> Answer {
    let update: UpdateMembers = call.body()?;
    if !is_enabled(&update.group_status)? {
        return Err(MinioError::invalid("The state of a group is changed by set-group-status."));
    }
    let (directory, account) = (call.actor.directory, call.actor.account());
    let members = update.members.unwrap_or_default();
    let right = if update.is_remove { Right::RemoveUserFromGroup } else { Right::AddUserToGroup };
    let arn = call.require(right, EntityKind::Group, &update.group)?;
    call.actor.refuse_denied_members(right, &members).await?;
    if update.is_remove && members.is_empty() {
        call.actor.require(Right::DeleteGroup, &arn)?;
        directory.delete_group(account, &update.group, true).await?;
        return Ok(Reply::Empty);
    }
    if !update.is_remove {
        // A group comes into being with its first members; all of them must exist before.
        for member in &members {
            call.actor.one_of_many(|| directory.user(account, member).map(drop)).await?;
        }
        if let Err(IdentityError::NotFound { .. }) = directory.group(account, &update.group) {
            call.actor.require(Right::CreateGroup, &arn)?;
            directory.create_group_of(account, &update.group, members).await?;
            return Ok(Reply::Empty);
        }
    }
    directory.change_members(account, &update.group, members, !update.is_remove).await?;
    Ok(Reply::Empty)
}

pub(super) fn info(call: &Call<'_>) -> Answer {
    let name = call.need("group")?;
    call.require(Right::GetGroup, EntityKind::Group, name)?;
    let group = call.actor.directory.group_in(call.actor.account(), name, &call.actor.room)?;
    let policies: Vec<_> = group.grants.attached.iter().cloned().collect();
    Ok(Reply::Plain(json!({
        "name": group.name,
        "status": if group.is_enabled { "enabled" } else { "disabled" },
        "members": group.members,
        "policy": policies.join(","),
        "updatedAt": Timestamp(group.updated_ms).to_iso(),
    })))
}

pub(super) async fn list(call: &Call<'_>) -> Answer {
    call.require_all(Right::ListGroups, EntityKind::Group)?;
    let (directory, account) = (call.actor.directory, call.actor.account());
    let list = || directory.groups(account, &call.actor.room, |group| group.name);
    Ok(Reply::Written(json!(call.actor.list(list).await?).to_string()))
}

pub(super) async fn set_status(call: &Call<'_>) -> Answer {
    let name = call.need("group")?;
    let enabled = is_enabled(call.need("status")?)?;
    let right = if enabled { Right::EnableGroup } else { Right::DisableGroup };
    call.require(right, EntityKind::Group, name)?;
    if enabled {
        let group = call.actor.directory.group(call.actor.account(), name)?;
        call.actor.require_may_give_group(&group).await?;
    }
    call.actor.directory.enable_group(call.actor.account(), name, enabled).await?;
    Ok(Reply::Empty)
}
