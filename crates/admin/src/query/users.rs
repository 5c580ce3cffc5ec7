//! Users.

use super::write::Xml;
use super::{Answer, Call, QueryError, boundaries};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_iam::Principal;
use drystone_identity::{EntityArn, EntityKind, NewUser, User};

pub(super) async fn run(call: &Call<'_>, action: &str) -> Option<Answer> {
    Some(match action {
        "CreateUser" => create(call).await,
        "GetUser" => get(call),
        "ListUsers" => call.actor.scan(|| list(call)).await,
        "UpdateUser" => update(call).await,
        "DeleteUser" => delete(call).await,
        "TagUser" | "UntagUser" => tag(call, action).await,
        "ListUserTags" => list_tags(call),
        "GetLoginProfile" | "DeleteLoginProfile" => no_login_profile(call, action),
        "ListMFADevices" => empty_list(call, action, "MFADevices"),
        "ListSSHPublicKeys" => empty_list(call, action, "SSHPublicKeys"),
        "ListSigningCertificates" => empty_list(call, action, "Certificates"),
        "ListServiceSpecificCredentials" => empty_list(call, action, "ServiceSpecificCredentials"),
        "ListVirtualMFADevices" => empty_list(call, action, "VirtualMFADevices"),
        "ListAccountAliases" => empty_list(call, action, "AccountAliases"),
        _ => return None,
    })
}

pub(super) fn write_user(xml: &mut Xml, user: &User) {
    xml.text("Path", &user.path).text("UserName", &user.name).text("UserId", &user.id);
    xml.text("Arn", &user.arn());
    xml.text("CreateDate", &Timestamp(user.created_ms).to_iso());
    if !user.tags.is_empty() {
        xml.tags(&user.tags);
    }
}

async fn create(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("UserName")?;
    let path = call.parameters.get("Path").unwrap_or("/");
    let arn = call.new_arn(EntityKind::User, name);
    call.require_bounded("CreateUser", &arn)?;
    let tags = call.parameters.tags()?;
    if !tags.is_empty() {
        call.actor.refuse_denied(Right::TagUser, &arn)?;
    }
    let new = NewUser {
        name: name.to_owned(),
        path: path.to_owned(),
        tags,
        boundary: boundaries::given(call)?,
    };
    let user = call.changes()?.create_user(call.account(), new).await?;
    let mut xml = Xml::new();
    xml.open("User");
    write_user(&mut xml, &user);
    boundaries::write(&mut xml, call, user.boundary.as_deref());
    xml.close("User");
    Ok(xml)
}

fn get(call: &Call<'_>) -> Answer {
    let mut xml = Xml::new();
    xml.open("User");
    match call.own_or_named("GetUser")? {
        Some(name) => {
            let user = call.actor.directory.user(call.account(), &name)?;
            write_user(&mut xml, &user);
            boundaries::write(&mut xml, call, user.boundary.as_deref());
        }
        None => {
            let account = call.account();
            xml.text("Path", "/").text("UserId", account);
            let owner = Principal::Root { account: account.to_owned() };
            xml.text("Arn", &owner.arn().unwrap_or_default());
            xml.text("CreateDate", &Timestamp(0).to_iso());
        }
    }
    xml.close("User");
    Ok(xml)
}

fn list(call: &Call<'_>) -> Answer {
    call.require("ListUsers", &call.actor.all(EntityKind::User))?;
    let (prefix, asked) = (call.path_prefix(), call.page_asked()?);
    let in_prefix = |user: &User| user.path.starts_with(prefix);
    let page = call.actor.directory.users_page(call.account(), asked, in_prefix)?;
    let mut xml = Xml::new();
    xml.members("Users", &page.entities, write_user);
    xml.page_end(page.next.as_deref());
    Ok(xml)
}

async fn update(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("UserName")?;
    call.require("UpdateUser", &call.arn(EntityKind::User, name)?)?;
    call.actor.directory.user(call.account(), name)?;
    if call.parameters.get("NewUserName").is_some_and(|new| new != name) {
        let message = "Renaming a user is not implemented: make a new one.";
        return Err(QueryError::not_implemented(message));
    }
    let path = call.parameters.get("NewPath").map(str::to_owned);
    if let Some(path) = &path {
        // A user must not be moved to where the caller may do nothing.
        let moved = EntityArn::of_new(EntityKind::User, call.account(), path, name);
        call.require("UpdateUser", &moved)?;
    }
    let change = move |user: &mut User| {
        user.path = path.unwrap_or_else(|| user.path.clone());
        Ok(())
    };
    call.changes()?.change_user(call.account(), name, change).await?;
    Ok(Xml::new())
}

async fn delete(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("UserName")?;
    call.require("DeleteUser", &call.arn(EntityKind::User, name)?)?;
    call.changes()?.delete_user(call.account(), name, false).await?;
    Ok(Xml::new())
}

async fn tag(call: &Call<'_>, action: &str) -> Answer {
    let name = call.parameters.need("UserName")?;
    call.require(action, &call.arn(EntityKind::User, name)?)?;
    let tags = call.tag_change(action)?;
    let change = move |user: &mut User| tags.apply(&mut user.tags);
    call.changes()?.change_user(call.account(), name, change).await?;
    Ok(Xml::new())
}

fn list_tags(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("UserName")?;
    call.require("ListUserTags", &call.arn(EntityKind::User, name)?)?;
    let user = call.actor.directory.user(call.account(), name)?;
    call.tags_page(&user.tags)
}

/// No one signs in here with a password of IAM.
fn no_login_profile(call: &Call<'_>, action: &str) -> Answer {
    let name = call.parameters.need("UserName")?;
    call.require(action, &call.arn(EntityKind::User, name)?)?;
    let message = format!("Login Profile for User {name} cannot be found.");
    Err(QueryError::new("NoSuchEntity", 404, message))
}

/// Things that users of this server do not have.
fn empty_list(call: &Call<'_>, action: &str, name: &str) -> Answer {
    match call.parameters.get("UserName") {
        Some(name) => {
            call.require(action, &call.arn(EntityKind::User, name)?)?;
            call.actor.directory.user(call.account(), name)?;
        }
        None => call.require(action, &call.actor.all(EntityKind::User))?,
    }
    // Filters of these lists: nothing is what they leave of nothing.
    for filter in ["AllUsers", "AssignmentStatus", "ServiceName"] {
        call.parameters.get(filter);
    }
    call.page::<String>(&[], |name| name)?;
    let mut xml = Xml::new();
    xml.texts(name, []).page_end(None);
    Ok(xml)
}
