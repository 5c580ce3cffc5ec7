//! Permissions boundaries of users and roles.

use super::write::Xml;
use super::{Answer, Call, QueryError};
use drystone_identity::{EntityKind, Holder, HolderKind, IdentityError};

pub(super) async fn run(call: &Call<'_>, action: &str) -> Option<Answer> {
    let (sets, kind) = match action {
        "PutUserPermissionsBoundary" => (true, HolderKind::User),
        "DeleteUserPermissionsBoundary" => (false, HolderKind::User),
        "PutRolePermissionsBoundary" => (true, HolderKind::Role),
        "DeleteRolePermissionsBoundary" => (false, HolderKind::Role),
        _ => return None,
    };
    Some(change(call, action, sets, kind).await)
}

async fn change(call: &Call<'_>, action: &str, sets: bool, kind: HolderKind) -> Answer {
    let (parameter, entity) = match kind {
        HolderKind::Role => ("RoleName", EntityKind::Role),
        _ => ("UserName", EntityKind::User),
    };
    let name = call.parameters.need(parameter)?;
    let arn = call.arn(entity, name)?;
    let policy = if sets {
        call.parameters.need("PermissionsBoundary")?;
        call.require_bounded(action, &arn)?;
        given(call)?
    } else {
        // Decided on the boundary that there is.
        call.require(action, &arn)?;
        None
    };
    let holder = Holder::new(kind, call.account(), name);
    call.changes()?.set_boundary(holder, policy).await?;
    Ok(Xml::new())
}

/// The name of the policy that the call gives as a boundary.
pub(super) fn given(call: &Call<'_>) -> Result<Option<String>, QueryError> {
    let arn = call.parameters.get("PermissionsBoundary").filter(|arn| !arn.is_empty());
    let Some(arn) = arn else { return Ok(None) };
    match call.actor.directory.policy_of_arn(call.account(), arn) {
        Err(IdentityError::NotFound { .. }) => {
            let message = format!("Scope ARN: {arn} does not exist or is not attachable.");
            Err(QueryError::new("NoSuchEntity", 404, message))
        }
        name => Ok(Some(name?)),
    }
}

pub(super) fn write(xml: &mut Xml, call: &Call<'_>, boundary: Option<&str>) {
    let Some(name) = boundary else { return };
    let arn = call.actor.directory.policy_arn(call.account(), name);
    xml.open("PermissionsBoundary").text("PermissionsBoundaryType", "Policy");
    xml.text("PermissionsBoundaryArn", &arn).close("PermissionsBoundary");
}
