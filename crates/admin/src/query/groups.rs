//! Groups.

use super::users::write_user;
use super::write::Xml;
use super::{Answer, Call, QueryError};
use drystone_base::Timestamp;
use drystone_identity::Group;

pub(super) async fn run(call: &Call<'_>, action: &str) -> Option<Answer> {
    Some(match action {
        "CreateGroup" => create(call).await,
        "GetGroup" => get(call),
        "ListGroups" => list(call),
        "DeleteGroup" => delete(call).await,
        "AddUserToGroup" | "RemoveUserFromGroup" => change_member(call, action).await,
        "ListGroupsForUser" => list_of_user(call),
        "UpdateGroup" => {
            let message = "Renaming a group is not implemented: make a new one.";
            Err(QueryError::not_implemented(message))
        }
        _ => return None,
    })
}

fn write_group(xml: &mut Xml, call: &Call<'_>, group: &Group) {
    xml.text("Path", &group.path).text("GroupName", &group.name).text("GroupId", &group.id);
    xml.text("Arn", &call.arn("group", &group.path, &group.name));
    xml.text("CreateDate", &Timestamp(group.created_ms).to_iso());
}

async fn create(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("GroupName")?;
    let path = call.parameters.get("Path").unwrap_or("/");
    call.require("CreateGroup", &call.arn("group", path, name))?;
    let group = call.changes()?.create_group(call.account(), name, path).await?;
    let mut xml = Xml::new();
    xml.open("Group");
    write_group(&mut xml, call, &group);
    xml.close("Group");
    Ok(xml)
}

fn get(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("GroupName")?;
    call.require("GetGroup", &call.arn("group", "/", name))?;
    let group = call.actor.directory.group(call.account(), name)?;
    let mut members = Vec::new();
    for member in &group.members {
        members.push(call.actor.directory.user(call.account(), member)?);
    }
    let (page, marker) = call.page(&members, |user| &user.name)?;
    let mut xml = Xml::new();
    xml.open("Group");
    write_group(&mut xml, call, &group);
    xml.close("Group");
    xml.members("Users", page, |xml, user| write_user(xml, call, user));
    xml.page_end(marker.as_deref());
    Ok(xml)
}

fn write_list(call: &Call<'_>, groups: &[Group]) -> Answer {
    let (page, marker) = call.page(groups, |group| &group.name)?;
    let mut xml = Xml::new();
    xml.members("Groups", page, |xml, group| write_group(xml, call, group));
    xml.page_end(marker.as_deref());
    Ok(xml)
}

fn list(call: &Call<'_>) -> Answer {
    call.require("ListGroups", &call.arn("group", "/", "*"))?;
    let mut groups = call.actor.directory.groups(call.account())?;
    let prefix = call.path_prefix();
    groups.retain(|group| group.path.starts_with(prefix));
    write_list(call, &groups)
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

async fn delete(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("GroupName")?;
    call.require("DeleteGroup", &call.arn("group", "/", name))?;
    call.changes()?.delete_group(call.account(), name, false).await?;
    Ok(Xml::new())
}

async fn change_member(call: &Call<'_>, action: &str) -> Answer {
    let name = call.parameters.need("GroupName")?;
    let user = call.parameters.need("UserName")?.to_owned();
    call.require(action, &call.arn("group", "/", name))?;
    let add = action == "AddUserToGroup";
    call.changes()?.change_members(call.account(), name, vec![user], add).await?;
    Ok(Xml::new())
}
