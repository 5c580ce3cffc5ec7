//! Policies and roles.

use super::{Failed, Outcome};
use crate::door::Actor;
use crate::federation::normalise;
use drystone_admin_api::{Answer, Failure, FailureCode, Holder as Named, Policy, Request, Role};
use drystone_iam::{canned_names, canned_policy};
use drystone_identity::{Holder, HolderKind, IdentityError, NewRole};

pub(super) async fn run(actor: &Actor<'_>, request: Request) -> Outcome {
    match request {
        Request::PolicySet { name, document } => set(actor, &name, &document).await,
        Request::PolicyList => list(actor),
        Request::PolicyInfo { name } => info(actor, &name),
        Request::PolicyRemove { name } => remove(actor, &name).await,
        Request::PolicyAttach { policies, holder, attach } => {
            self::attach(actor, policies, holder, attach).await
        }
        Request::RoleSet { name, trust } => set_role(actor, &name, trust).await,
        Request::RoleList => list_roles(actor),
        Request::RoleRemove { name } => {
            actor.need("DeleteRole", "role", &name)?;
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
    let (directory, account) = (actor.directory, actor.account());
    actor.need("CreatePolicy", "policy", name)?;
    match directory.create_policy(account, name, "/", "", document).await {
        Err(IdentityError::Exists { .. }) if canned_policy(name).is_none() => {
            directory.add_policy_version(account, name, document, true, true).await?;
        }
        made => drop(made?),
    }
    info(actor, name)
}

fn list(actor: &Actor<'_>) -> Outcome {
    actor.need("ListPolicies", "policy", "*")?;
    let canned = canned_names().map(|name| Policy {
        name: name.to_owned(),
        canned: true,
        version: 1,
        document: None,
    });
    let own = actor.directory.policies(actor.account())?.into_iter().map(|policy| Policy {
        name: policy.name,
        canned: false,
        version: policy.default_version,
        document: None,
    });
    Ok(Answer::Policies(canned.chain(own).collect()))
}

fn info(actor: &Actor<'_>, name: &str) -> Outcome {
    actor.need("GetPolicy", "policy", name)?;
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
    actor.need("DeletePolicy", "policy", name)?;
    actor.directory.delete_policy(actor.account(), name, true).await?;
    Ok(Answer::Done)
}

async fn attach(actor: &Actor<'_>, policies: Vec<String>, holder: Named, attach: bool) -> Outcome {
    let (kind, element, name) = match &holder {
        Named::User(name) => (HolderKind::User, "user", name),
        Named::Group(name) => (HolderKind::Group, "group", name),
        Named::Role(name) => (HolderKind::Role, "role", name),
        Named::LdapName(name) => {
            actor.require_server(&["admin:UpdatePolicyAssociation"])?;
            let changed =
                actor.directory.attach_to_name(&normalise(name), policies, attach).await?;
            return Ok(Answer::Changed(changed));
        }
    };
    actor.need("AttachUserOrGroupPolicy", element, name)?;
    let holder = Holder::new(kind, actor.account(), name);
    Ok(Answer::Changed(actor.directory.attach(holder, policies, attach).await?))
}

fn shown(role: drystone_identity::Role) -> Role {
    Role {
        arn: role.arn(),
        name: role.name,
        policies: role.grants.attached.into_iter().collect(),
        trust: role.trust,
    }
}

async fn set_role(actor: &Actor<'_>, name: &str, trust: String) -> Outcome {
    let (directory, account) = (actor.directory, actor.account());
    actor.need("CreateRole", "role", name)?;
    let new = NewRole { name: name.to_owned(), trust: trust.clone(), ..NewRole::default() };
    match directory.create_role(account, new).await {
        Err(IdentityError::Exists { .. }) => {
            let change = move |role: &mut drystone_identity::Role| {
                role.trust = trust;
                Ok(())
            };
            directory.change_role(account, name, change).await?;
        }
        made => drop(made?),
    }
    Ok(Answer::Roles(vec![shown(directory.role(account, name)?)]))
}

fn list_roles(actor: &Actor<'_>) -> Outcome {
    actor.need("ListRoles", "role", "*")?;
    let roles = actor.directory.roles(actor.account())?;
    Ok(Answer::Roles(roles.into_iter().map(shown).collect()))
}
