//! Groups.

use super::users::write_user;
use super::write::Xml;
use super::{Answer, Call, QueryError};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_identity::{EntityKind, Group};

pub(super) async fn run(call: &Call<'_>, action: &str) -> Option<Answer> {
    Some(match action {
        "CreateGroup" => create(call).await,
        "GetGroup" => call.actor.scan(|| get(call)).await,
        "ListGroups" => call.actor.scan(|| list(call)).await,
        "DeleteGroup" => delete(call).await,
        "AddUserToGroup" | "RemoveUserFromGroup" => change_member(call, action).await,
        "ListGroupsForUser" => call.actor.scan(|| list_of_user(call)).await,
        "UpdateGroup" => rename(call),
        _ => return None,
    })
}

fn write_group(xml: &mut Xml, group: &Group) {
    xml.text("Path", &group.path).text("GroupName", &group.name).text("GroupId", &group.id);
    xml.text("Arn", &group.arn());
    xml.text("CreateDate", &Timestamp(group.created_ms).to_iso());
}

async fn create(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("GroupName")?;
    let path = call.parameters.get("Path").unwrap_or("/");
    call.require("CreateGroup", &call.new_arn(EntityKind::Group, name))?;
    let group = call.changes()?.create_group(call.account(), name, path).await?;
    let mut xml = Xml::new();
    xml.open("Group");
    write_group(&mut xml, &group);
    xml.close("Group");
    Ok(xml)
}

fn get(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("GroupName")?;
    call.require("GetGroup", &call.arn(EntityKind::Group, name)?)?;
    let group = call.actor.directory.group(call.account(), name)?;
    // Those of the page are read, not all members.
    let names: Vec<&String> = group.members.iter().collect();
    let (page, marker) = call.page(&names, |name| name)?;
    let read = |name: &&String| call.actor.directory.user(call.account(), name);
    let page: Vec<_> = page.into_iter().map(read).collect::<Result<_, _>>()?;
    let mut xml = Xml::new();
    xml.open("Group");
    write_group(&mut xml, &group);
    xml.close("Group");
    xml.members("Users", &page, write_user);
    xml.page_end(marker.as_deref());
    Ok(xml)
}

fn write_list(call: &Call<'_>, groups: &[Group]) -> Answer {
    let (page, marker) = call.page(groups, |group| &group.name)?;
    let mut xml = Xml::new();
    xml.members("Groups", page, write_group);
    xml.page_end(marker.as_deref());
    Ok(xml)
}

fn list(call: &Call<'_>) -> Answer {
    call.require("ListGroups", &call.actor.all(EntityKind::Group))?;
    let (prefix, asked) = (call.path_prefix(), call.page_asked()?);
    let in_prefix = |group: &Group| group.path.starts_with(prefix);
    let page = call.actor.directory.groups_page(call.account(), asked, in_prefix)?;
    let mut xml = Xml::new();
    xml.members("Groups", &page.entities, write_group);
    xml.page_end(page.next.as_deref());
    Ok(xml)
}

fn list_of_user(call: &Call<'_>) -> Answer {
    let Some(name) = call.own_or_named("ListGroupsForUser")? else {
        return Err(QueryError::validation("UserName must be given"));
    };
    let user = call.actor.directory.user(call.account(), &name)?;
    let mut groups = Vec::new();
    for name in &user.groups {
        groups.push(call.actor.directory.group(call.account(), name)?);
    }
    write_list(call, &groups)
}

fn rename(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("GroupName")?;
    call.require("UpdateGroup", &call.arn(EntityKind::Group, name)?)?;
    for parameter in ["NewGroupName", "NewPath"] {
        call.parameters.get(parameter);
    }
    call.parameters.refuse_unread()?;
    let message = "Renaming a group is not implemented: make a new one.";
    Err(QueryError::not_implemented(message))
}

async fn delete(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("GroupName")?;
    call.require("DeleteGroup", &call.arn(EntityKind::Group, name)?)?;
    call.changes()?.delete_group(call.account(), name, false).await?;
    Ok(Xml::new())
}

async fn change_member(call: &Call<'_>, action: &str) -> Answer {
    let name = call.parameters.need("GroupName")?;
    let user = call.parameters.need("UserName")?.to_owned();
    call.require(action, &call.arn(EntityKind::Group, name)?)?;
    let add = action == "AddUserToGroup";
    let right = if add { Right::AddUserToGroup } else { Right::RemoveUserFromGroup };
    call.actor.refuse_denied_members(right, std::slice::from_ref(&user)).await?;
    call.changes()?.change_members(call.account(), name, vec![user], add).await?;
    Ok(Xml::new())
}
