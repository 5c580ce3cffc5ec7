//! Policies and roles.

use super::{Failed, Outcome};
use crate::door::Actor;
use crate::federation::{NOT_DISTINGUISHED, is_distinguished, normalise};
use crate::rights::Right;
use drystone_admin_api::{Answer, Failure, FailureCode, Holder as Named, Policy, Request, Role};
use drystone_iam::{canned_names, canned_policy};
use drystone_identity::{EntityKind, Holder, HolderKind, IdentityError, NewRole};

pub(super) async fn run(actor: &Actor<'_>, request: Request) -> Outcome {
    match request {
        Request::PolicySet { name, document } => set(actor, &name, &document).await,
        Request::PolicyList => actor.list(|| list(actor)).await,
        Request::PolicyInfo { name } => info(actor, &name),
        Request::PolicyRemove { name } => remove(actor, &name).await,
        Request::PolicyAttach { policies, holder, attach } => {
            self::attach(actor, policies, holder, attach).await
        }
        Request::RoleSet { name, trust } => set_role(actor, &name, trust).await,
        Request::RoleList => actor.list(|| list_roles(actor)).await,
        Request::RoleRemove { name } => {
            actor.need(Right::DeleteRole, EntityKind::Role, &name)?;
            actor.directory.delete_role(actor.account(), &name).await?;
            Ok(Answer::Done)
        }
        _ => {
            let message = "This request is not implemented.".to_owned();
            Err(Failed(Failure { code: FailureCode::Invalid, message }))
        }
    }
}

async fn set(actor: &Actor<'_>, name: &str, document: &str) -> Outcome {
    actor.set_policy(name, document).await?;
    shown_policy(actor, name)
}

fn list(actor: &Actor<'_>) -> Outcome {
    actor.need_all(Right::ListPolicies, EntityKind::Policy)?;
    let canned = canned_names().map(|name| Policy {
        name: name.to_owned(),
        canned: true,
        version: 1,
        document: None,
    });
    let own = actor.directory.policies(actor.account(), &actor.room, |policy| Policy {
        name: policy.name,
        canned: false,
        version: policy.default_version,
        document: None,
    })?;
    Ok(Answer::Policies(canned.chain(own).collect()))
}

fn info(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.need(Right::GetPolicyVersion, EntityKind::Policy, name)?;
    shown_policy(actor, name)
}

fn shown_policy(actor: &Actor<'_>, name: &str) -> Outcome {
    let canned = canned_policy(name);
    let (version, document) = match canned {
        Some(text) => (1, text.to_owned()),
        None => {
            let policy = actor.directory.policy(actor.account(), name)?;
            (policy.default_version, policy.document().to_owned())
        }
    };
    let (name, canned) = (name.to_owned(), canned.is_some());
    Ok(Answer::Policies(vec![Policy { name, canned, version, document: Some(document) }]))
}

async fn remove(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.need(Right::DeletePolicy, EntityKind::Policy, name)?;
    if canned_policy(name).is_some() {
        let message = format!("The policy {name} comes with the server and cannot be removed.");
        return Err(Failed(Failure { code: FailureCode::InUse, message }));
    }
    actor.directory.delete_policy(actor.account(), name, true).await?;
    Ok(Answer::Done)
}

async fn attach(actor: &Actor<'_>, policies: Vec<String>, holder: Named, attach: bool) -> Outcome {
    let (kind, name) = match &holder {
        Named::User(name) => (HolderKind::User, name),
        Named::Group(name) => (HolderKind::Group, name),
        Named::Role(name) => (HolderKind::Role, name),
        Named::LdapName(name) => {
            actor.require_attach_name(&policies, attach).await?;
            let name = normalise(name);
            // What an older version took can be detached.
            if attach && !is_distinguished(&name) {
                let message = NOT_DISTINGUISHED.to_owned();
                return Err(Failed(Failure { code: FailureCode::Invalid, message }));
            }
            let changed = actor.directory.attach_to_name(&name, policies, attach).await?;
            return Ok(Answer::Changed(changed));
        }
    };
    let holder = Holder::new(kind, actor.account(), name);
    actor.require_attach_all(&holder, &policies, attach).await?;
    Ok(Answer::Changed(actor.directory.attach(holder, policies, attach).await?))
}

fn shown(actor: &Actor<'_>, role: drystone_identity::Role) -> Role {
    Role {
        arn: role.arn().to_string(),
        name: role.name,
        policies: role.grants.attached.into_iter().collect(),
        boundary: role.boundary,
        trust: actor.directory.shown_policy(&role.trust),
    }
}

async fn set_role(actor: &Actor<'_>, name: &str, trust: String) -> Outcome {
    let (directory, account) = (actor.directory, actor.account());
    match directory.role(account, name) {
        Err(IdentityError::NotFound { .. }) => {
            actor.need(Right::CreateRole, EntityKind::Role, name)?;
            let new = NewRole { name: name.to_owned(), trust, ..NewRole::default() };
            directory.create_role(account, new).await?;
        }
        found => {
            // Whom a role trusts is another right than making one.
            actor.need(Right::UpdateAssumeRolePolicy, EntityKind::Role, name)?;
            actor.require_may_give_role(&found?).await?;
            directory.set_trust(account, name, &trust).await?;
        }
    }
    Ok(Answer::Roles(vec![shown(actor, directory.role(account, name)?)]))
}

fn list_roles(actor: &Actor<'_>) -> Outcome {
    actor.need_all(Right::ListRoles, EntityKind::Role)?;
    Ok(Answer::Roles(
        actor.directory.roles(actor.account(), &actor.room, |role| shown(actor, role))?,
    ))
}
