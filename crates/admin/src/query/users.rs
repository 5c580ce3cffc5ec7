//! Users.

use super::write::Xml;
use super::{Answer, Call, QueryError};
use drystone_base::Timestamp;
use drystone_identity::{NewUser, User};

pub(super) async fn run(call: &Call<'_>, action: &str) -> Option<Answer> {
    Some(match action {
        "CreateUser" => create(call).await,
        "GetUser" => get(call),
        "ListUsers" => list(call),
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

pub(super) fn write_user(xml: &mut Xml, call: &Call<'_>, user: &User) {
    xml.text("Path", &user.path).text("UserName", &user.name).text("UserId", &user.id);
    xml.text("Arn", &call.arn("user", &user.path, &user.name));
    xml.text("CreateDate", &Timestamp(user.created_ms).to_iso());
    if !user.tags.is_empty() {
        xml.tags(&user.tags);
    }
}

async fn create(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("UserName")?;
    let path = call.parameters.get("Path").unwrap_or("/");
    call.require("CreateUser", &call.arn("user", path, name))?;
    let tags = call.parameters.tags()?;
    let new = NewUser { name: name.to_owned(), path: path.to_owned(), tags, boundary: None };
    let user = call.changes()?.create_user(call.account(), new).await?;
    let mut xml = Xml::new();
    xml.open("User");
    write_user(&mut xml, call, &user);
    xml.close("User");
    Ok(xml)
}

fn get(call: &Call<'_>) -> Answer {
    let mut xml = Xml::new();
    xml.open("User");
    match call.own_or_named("GetUser")? {
        Some(name) => {
            write_user(&mut xml, call, &call.actor.directory.user(call.account(), &name)?);
        }
        None => {
            let account = call.account();
            xml.text("Path", "/").text("UserId", account);
            xml.text("Arn", &format!("arn:aws:iam::{account}:root"));
            xml.text("CreateDate", &Timestamp(0).to_iso());
        }
    }
    xml.close("User");
    Ok(xml)
}

fn list(call: &Call<'_>) -> Answer {
    call.require("ListUsers", &call.arn("user", "/", "*"))?;
    let mut users = call.actor.directory.users(call.account())?;
    let prefix = call.path_prefix();
    users.retain(|user| user.path.starts_with(prefix));
    let (page, marker) = call.page(&users, |user| &user.name)?;
    let mut xml = Xml::new();
    xml.members("Users", page, |xml, user| write_user(xml, call, user));
    xml.page_end(marker.as_deref());
    Ok(xml)
}

async fn update(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("UserName")?;
    let user = call.actor.directory.user(call.account(), name)?;
    call.require("UpdateUser", &call.arn("user", &user.path, &user.name))?;
    if call.parameters.get("NewUserName").is_some_and(|new| new != name) {
        let message = "Renaming a user is not implemented: make a new one.";
        return Err(QueryError::not_implemented(message));
    }
    let path = call.parameters.get("NewPath").map(str::to_owned);
    let change = move |user: &mut User| {
        user.path = path.unwrap_or_else(|| user.path.clone());
        Ok(())
    };
    call.changes()?.change_user(call.account(), name, change).await?;
    Ok(Xml::new())
}

async fn delete(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("UserName")?;
    call.require("DeleteUser", &call.arn("user", "/", name))?;
    call.changes()?.delete_user(call.account(), name, false).await?;
    Ok(Xml::new())
}

async fn tag(call: &Call<'_>, action: &str) -> Answer {
    let name = call.parameters.need("UserName")?;
    call.require(action, &call.arn("user", "/", name))?;
    let tags = call.tag_change(action)?;
    let change = move |user: &mut User| {
        tags.apply(&mut user.tags);
        Ok(())
    };
    call.changes()?.change_user(call.account(), name, change).await?;
    Ok(Xml::new())
}

fn list_tags(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("UserName")?;
    call.require("ListUserTags", &call.arn("user", "/", name))?;
    let user = call.actor.directory.user(call.account(), name)?;
    call.tags_page(&user.tags)
}

/// Nobody signs in here with a password of IAM.
fn no_login_profile(call: &Call<'_>, action: &str) -> Answer {
    let name = call.parameters.need("UserName")?;
    call.require(action, &call.arn("user", "/", name))?;
    let message = format!("Login Profile for User {name} cannot be found.");
    Err(QueryError::new("NoSuchEntity", 404, message))
}

/// Things that users of this server do not have.
fn empty_list(call: &Call<'_>, action: &str, name: &str) -> Answer {
    call.require(action, &call.arn("user", "/", "*"))?;
    if let Some(user) = call.parameters.get("UserName") {
        call.actor.directory.user(call.account(), user)?;
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
