//! Roles.

use super::write::{Xml, encode};
use super::{Answer, Call, QueryError, boundaries};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_identity::{EntityKind, NewRole, Role};

pub(super) async fn run(call: &Call<'_>, action: &str) -> Option<Answer> {
    Some(match action {
        "CreateRole" => create(call).await,
        "GetRole" => get(call),
        "ListRoles" => call.actor.scan(|| list(call)).await,
        "UpdateRole" | "UpdateRoleDescription" => update(call, action).await,
        "UpdateAssumeRolePolicy" => update_trust(call).await,
        "DeleteRole" => delete(call).await,
        "TagRole" | "UntagRole" => tag(call, action).await,
        "ListRoleTags" => list_tags(call),
        "ListInstanceProfilesForRole" => list_instance_profiles(call),
        _ => return None,
    })
}

fn write_role(xml: &mut Xml, call: &Call<'_>, role: &Role) {
    xml.text("Path", &role.path).text("RoleName", &role.name).text("RoleId", &role.id);
    xml.text("Arn", &role.arn()).text("CreateDate", &Timestamp(role.created_ms).to_iso());
    xml.text("AssumeRolePolicyDocument", &encode(&call.actor.directory.shown_policy(&role.trust)));
    if !role.description.is_empty() {
        xml.text("Description", &role.description);
    }
    xml.text("MaxSessionDuration", &role.session_max_s.to_string());
    if !role.tags.is_empty() {
        xml.tags(&role.tags);
    }
}

fn one(call: &Call<'_>, role: &Role) -> Xml {
    let mut xml = Xml::new();
    xml.open("Role");
    write_role(&mut xml, call, role);
    boundaries::write(&mut xml, call, role.boundary.as_deref());
    xml.close("Role");
    xml
}

/// The role that the call names, if the caller may do this to it.
fn named(call: &Call<'_>, action: &str) -> Result<Role, QueryError> {
    let name = call.parameters.need("RoleName")?;
    call.require(action, &call.arn(EntityKind::Role, name)?)?;
    Ok(call.actor.directory.role(call.account(), name)?)
}

async fn create(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("RoleName")?;
    let path = call.parameters.get("Path").unwrap_or("/");
    let arn = call.new_arn(EntityKind::Role, name);
    call.require_bounded("CreateRole", &arn)?;
    let tags = call.parameters.tags()?;
    if !tags.is_empty() {
        call.actor.refuse_denied(Right::TagRole, &arn)?;
    }
    let new = NewRole {
        name: name.to_owned(),
        path: path.to_owned(),
        trust: call.parameters.need("AssumeRolePolicyDocument")?.to_owned(),
        description: call.parameters.text("Description"),
        session_max_s: call.parameters.number("MaxSessionDuration")?,
        tags,
        boundary: boundaries::given(call)?,
    };
    Ok(one(call, &call.changes()?.create_role(call.account(), new).await?))
}

fn get(call: &Call<'_>) -> Answer {
    Ok(one(call, &named(call, "GetRole")?))
}

fn list(call: &Call<'_>) -> Answer {
    call.require("ListRoles", &call.actor.all(EntityKind::Role))?;
    let (prefix, asked) = (call.path_prefix(), call.page_asked()?);
    let in_prefix = |role: &Role| role.path.starts_with(prefix);
    let page = call.actor.directory.roles_page(call.account(), asked, in_prefix)?;
    let mut xml = Xml::new();
    xml.members("Roles", &page.entities, |xml, role| write_role(xml, call, role));
    xml.page_end(page.next.as_deref());
    Ok(xml)
}

async fn update(call: &Call<'_>, action: &str) -> Answer {
    let role = named(call, action)?;
    let description = call.parameters.get("Description").map(str::to_owned);
    let session_max_s = match action {
        "UpdateRole" => call.parameters.number("MaxSessionDuration")?,
        _ => None,
    };
    let change = move |role: &mut Role| {
        role.description = description.unwrap_or_else(|| role.description.clone());
        role.session_max_s = session_max_s.unwrap_or(role.session_max_s);
        Ok(())
    };
    call.changes()?.change_role(call.account(), &role.name, change).await?;
    match action {
        "UpdateRoleDescription" => {
            Ok(one(call, &call.actor.directory.role(call.account(), &role.name)?))
        }
        _ => Ok(Xml::new()),
    }
}

async fn update_trust(call: &Call<'_>) -> Answer {
    let role = named(call, "UpdateAssumeRolePolicy")?;
    call.actor.require_may_give_role(&role).await?;
    let trust = call.parameters.need("PolicyDocument")?;
    call.changes()?.set_trust(call.account(), &role.name, trust).await?;
    Ok(Xml::new())
}

async fn delete(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("RoleName")?;
    call.require("DeleteRole", &call.arn(EntityKind::Role, name)?)?;
    call.changes()?.delete_role(call.account(), name).await?;
    Ok(Xml::new())
}

async fn tag(call: &Call<'_>, action: &str) -> Answer {
    let role = named(call, action)?;
    let tags = call.tag_change(action)?;
    let change = move |role: &mut Role| tags.apply(&mut role.tags);
    call.changes()?.change_role(call.account(), &role.name, change).await?;
    Ok(Xml::new())
}

fn list_tags(call: &Call<'_>) -> Answer {
    let role = named(call, "ListRoleTags")?;
    call.tags_page(&role.tags)
}

/// There are no instances here, and so no profiles.
fn list_instance_profiles(call: &Call<'_>) -> Answer {
    named(call, "ListInstanceProfilesForRole")?;
    call.page::<String>(&[], |name| name)?;
    let mut xml = Xml::new();
    xml.texts("InstanceProfiles", []).page_end(None);
    Ok(xml)
}
