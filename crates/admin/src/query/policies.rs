//! Policies, managed and inline, and who holds them.

use super::write::{Xml, encode};
use super::{Answer, Call, QueryError};
use crate::holders::entity_kind;
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_iam::{canned_names, canned_policy};
use drystone_identity::{
    EntityArn, EntityKind, Holder, HolderKind, IdentityError, ManagedPolicy, PolicyCount,
    PolicyUse, PolicyVersion,
};
use std::collections::BTreeSet;

pub(super) async fn run(call: &Call<'_>, action: &str) -> Option<Answer> {
    if let Some((verb, kind)) = holder_action(action) {
        return Some(on_holder(call, action, verb, kind).await);
    }
    Some(match action {
        "CreatePolicy" => create(call).await,
        "GetPolicy" => call.actor.scan(|| get(call)).await,
        "ListPolicies" => call.actor.scan(|| list(call)).await,
        "DeletePolicy" => delete(call).await,
        "CreatePolicyVersion" => create_version(call).await,
        "GetPolicyVersion" => get_version(call),
        "ListPolicyVersions" => list_versions(call),
        "SetDefaultPolicyVersion" | "DeletePolicyVersion" => change_version(call, action).await,
        "ListEntitiesForPolicy" => call.actor.scan(|| list_entities(call)).await,
        "TagPolicy" | "UntagPolicy" => tag(call, action).await,
        "ListPolicyTags" => list_tags(call),
        _ => return None,
    })
}

/// A policy of the account, or a canned one.
enum Found {
    Own(ManagedPolicy),
    Canned(&'static str),
}

impl Found {
    fn name(&self) -> &str {
        match self {
            Self::Own(policy) => &policy.name,
            Self::Canned(name) => name,
        }
    }

    fn arn(&self) -> EntityArn {
        match self {
            Self::Own(policy) => policy.arn(),
            Self::Canned(name) => EntityArn::of_canned(name),
        }
    }
}

/// The path of a policy that someone holds; that of a canned one, and of one that is gone, is `/`.
fn path_of(call: &Call<'_>, name: &str) -> String {
    let own = call.actor.directory.policy(call.account(), name).ok();
    own.map_or("/".to_owned(), |policy| policy.path)
}

fn missing(arn: &str) -> QueryError {
    QueryError::new(
        "NoSuchEntity",
        404,
        format!("Policy {arn} does not exist or is not attachable."),
    )
}

/// The policy that `PolicyArn` names, with its resource name.
fn named(call: &Call<'_>) -> Result<(Option<Found>, EntityArn), QueryError> {
    let text = call.parameters.need("PolicyArn")?;
    let Some(arn) = EntityArn::of_policy(call.account(), text) else {
        let message = format!("ARN {text} is not valid.");
        return Err(QueryError::new("InvalidInput", 400, message));
    };
    let name = arn.name();
    let found = if arn == EntityArn::of_canned(name) {
        canned_names().find(|known| *known == name).map(Found::Canned)
    } else {
        match call.actor.directory.policy(call.account(), name) {
            Ok(policy) => Some(Found::Own(policy)).filter(|found| found.arn() == arn),
            Err(IdentityError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        }
    };
    Ok((found, arn))
}

/// As [`named`], if the caller may do this to it.
fn find(call: &Call<'_>, action: &str) -> Result<Found, QueryError> {
    let (found, arn) = named(call)?;
    call.require(action, &arn)?;
    found.ok_or_else(|| missing(&arn))
}

/// As [`find`], for changes: canned policies are not changed.
fn find_own(call: &Call<'_>, action: &str) -> Result<ManagedPolicy, QueryError> {
    match find(call, action)? {
        Found::Own(policy) => Ok(policy),
        Found::Canned(_) => {
            let message = "A policy that comes with the server cannot be changed.";
            Err(QueryError::denied(message))
        }
    }
}

fn write_policy(xml: &mut Xml, policy: &Found, held: PolicyCount) {
    xml.text("PolicyName", policy.name());
    let (id, path, version, created, updated) = match policy {
        Found::Own(policy) => (
            policy.id.clone(),
            policy.path.as_str(),
            policy.default_version,
            policy.created_ms,
            policy.updated_ms,
        ),
        Found::Canned(name) => (format!("ANPA{name}"), "/", 1, 0, 0),
    };
    xml.text("PolicyId", &id).text("Arn", &policy.arn()).text("Path", path);
    xml.text("DefaultVersionId", &format!("v{version}"));
    xml.text("AttachmentCount", &held.attached.to_string());
    xml.text("PermissionsBoundaryUsageCount", &held.bounded.to_string());
    xml.bool("IsAttachable", true);
    xml.text("CreateDate", &Timestamp(created).to_iso());
    xml.text("UpdateDate", &Timestamp(updated).to_iso());
    if let Found::Own(policy) = policy {
        if !policy.description.is_empty() {
            xml.text("Description", &policy.description);
        }
        if !policy.tags.is_empty() {
            xml.tags(&policy.tags);
        }
    }
}

fn one(call: &Call<'_>, policy: &Found) -> Answer {
    let name = policy.name();
    let held = call.actor.directory.policy_counts(call.account(), Some(name))?;
    let mut xml = Xml::new();
    xml.open("Policy");
    write_policy(&mut xml, policy, held.get(name).copied().unwrap_or_default());
    xml.close("Policy");
    Ok(xml)
}

async fn create(call: &Call<'_>) -> Answer {
    let name = call.parameters.need("PolicyName")?;
    let path = call.parameters.get("Path").unwrap_or("/");
    let arn = call.new_arn(EntityKind::Policy, name);
    call.require("CreatePolicy", &arn)?;
    if !call.parameters.tags()?.is_empty() {
        call.actor.refuse_denied(Right::TagPolicy, &arn)?;
    }
    let document = call.parameters.need("PolicyDocument")?;
    let description = call.parameters.text("Description");
    let tags = call.parameters.tags()?;
    let directory = call.changes()?;
    let account = call.account();
    let made = directory.create_policy(account, name, path, &description, document, tags);
    let policy = made.await?;
    let made = Found::Own(policy);
    call.actor.scan(|| one(call, &made)).await
}

fn get(call: &Call<'_>) -> Answer {
    one(call, &find(call, "GetPolicy")?)
}

fn list(call: &Call<'_>) -> Answer {
    call.require("ListPolicies", &call.actor.all(EntityKind::Policy))?;
    let scope = call.parameters.get("Scope").unwrap_or("All");
    let only_attached = call.parameters.bool("OnlyAttached")? == Some(true);
    let prefix = call.path_prefix();
    let usage = usage_filter(call)?;
    let (asked, directory) = (call.page_asked()?, call.actor.directory);
    // In one pass, whatever there are on the page.
    let held = directory.policy_counts(call.account(), None)?;
    let count_of = |name: &str| held.get(name).copied().unwrap_or_default();
    let is_wanted = |name: &str| match (count_of(name), usage) {
        (held, None) => !only_attached || held != PolicyCount::default(),
        (held, Some(Usage::Permissions)) => held.attached > 0,
        (held, Some(Usage::Boundary)) => held.bounded > 0,
    };
    let in_prefix = |p: &ManagedPolicy| p.path.starts_with(prefix) && is_wanted(&p.name);
    let (mut all, mut marker) = (Vec::new(), None);
    if scope != "AWS" {
        let own = directory.policies_page(call.account(), asked, in_prefix)?;
        all.extend(own.entities.into_iter().map(Found::Own));
        marker = own.next;
    }
    if scope != "Local" && prefix == "/" {
        let is_on_page = |name: &&str| {
            let is_before_next = marker.as_deref().is_none_or(|last| *name <= last);
            *name > asked.after && is_before_next && is_wanted(name)
        };
        all.extend(canned_names().filter(is_on_page).map(Found::Canned));
    }
    all.sort_by(|a, b| a.name().cmp(b.name()));
    if all.len() > asked.len {
        all.truncate(asked.len);
        marker = all.last().map(|last| last.name().to_owned());
    }
    let mut xml = Xml::new();
    xml.members("Policies", &all, |xml, policy| {
        write_policy(xml, policy, count_of(policy.name()));
    });
    xml.page_end(marker.as_deref());
    Ok(xml)
}

async fn delete(call: &Call<'_>) -> Answer {
    let policy = find_own(call, "DeletePolicy")?;
    call.changes()?.delete_policy(call.account(), &policy.name, false).await?;
    Ok(Xml::new())
}

fn write_version(xml: &mut Xml, version: &PolicyVersion, default: u32, with_document: bool) {
    if with_document {
        xml.text("Document", &encode(&version.document));
    }
    xml.text("VersionId", &format!("v{}", version.number));
    xml.bool("IsDefaultVersion", version.number == default);
    xml.text("CreateDate", &Timestamp(version.created_ms).to_iso());
}

fn versions_of(found: &Found) -> (Vec<PolicyVersion>, u32) {
    match found {
        Found::Own(policy) => (policy.versions.clone(), policy.default_version),
        Found::Canned(name) => {
            let document = canned_policy(name).unwrap_or_default().to_owned();
            (vec![PolicyVersion { number: 1, document, created_ms: 0 }], 1)
        }
    }
}

async fn create_version(call: &Call<'_>) -> Answer {
    let policy = find_own(call, "CreatePolicyVersion")?;
    let document = call.parameters.need("PolicyDocument")?;
    let set_default = call.parameters.bool("SetAsDefault")? == Some(true);
    let (account, name) = (call.account(), &policy.name);
    let directory = call.changes()?;
    let number = directory.add_policy_version(account, name, document, set_default, false).await?;
    let policy = directory.policy(account, name)?;
    let mut xml = Xml::new();
    xml.open("PolicyVersion");
    if let Some(version) = policy.versions.iter().find(|version| version.number == number) {
        write_version(&mut xml, version, policy.default_version, false);
    }
    xml.close("PolicyVersion");
    Ok(xml)
}

fn version_number(call: &Call<'_>) -> Result<u32, QueryError> {
    let text = call.parameters.need("VersionId")?;
    let number = text.strip_prefix('v').and_then(|number| number.parse().ok());
    number.ok_or_else(|| QueryError::validation("VersionId must be v1, v2, ..."))
}

fn no_version(number: u32) -> QueryError {
    QueryError::new("NoSuchEntity", 404, format!("Policy version v{number} does not exist."))
}

fn get_version(call: &Call<'_>) -> Answer {
    let (versions, default) = versions_of(&find(call, "GetPolicyVersion")?);
    let number = version_number(call)?;
    let version = versions.iter().find(|version| version.number == number);
    let mut xml = Xml::new();
    xml.open("PolicyVersion");
    write_version(&mut xml, version.ok_or_else(|| no_version(number))?, default, true);
    xml.close("PolicyVersion");
    Ok(xml)
}

fn list_versions(call: &Call<'_>) -> Answer {
    let (versions, default) = versions_of(&find(call, "ListPolicyVersions")?);
    let mut versions: Vec<_> = versions.into_iter().rev().collect();
    // A page goes on behind the version that ended the one before it.
    if let Some(after) = call.parameters.get("Marker").filter(|after| !after.is_empty()) {
        let is_after = |version: &PolicyVersion| format!("v{}", version.number) == after;
        let at = versions.iter().position(is_after);
        let at = at.ok_or_else(|| QueryError::validation("Marker is not one of this list"))?;
        versions.drain(..=at);
    }
    let len = versions.len();
    versions.truncate(call.page_len()?);
    let mut xml = Xml::new();
    xml.members("Versions", &versions, |xml, version| {
        write_version(xml, version, default, false);
    });
    let last = versions.last().filter(|_| versions.len() < len);
    xml.page_end(last.map(|version| format!("v{}", version.number)).as_deref());
    Ok(xml)
}

async fn change_version(call: &Call<'_>, action: &str) -> Answer {
    let policy = find_own(call, action)?;
    let number = version_number(call)?;
    let set_default = action == "SetDefaultPolicyVersion";
    let change = move |policy: &mut ManagedPolicy, _| {
        let at = policy.versions.iter().position(|version| version.number == number);
        let name = format!("v{number}");
        let at = at.ok_or(IdentityError::NotFound { kind: "policy version", name })?;
        if set_default {
            policy.default_version = number;
        } else if policy.default_version == number {
            let message = "Cannot delete the default version of a policy.";
            return Err(IdentityError::InUse(message.to_owned()));
        } else {
            policy.versions.remove(at);
        }
        Ok(())
    };
    call.changes()?.change_policy(call.account(), &policy.name, change).await?;
    Ok(Xml::new())
}

/// What a list is limited to: policies as they are attached, or as boundaries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    Permissions,
    Boundary,
}

fn usage_filter(call: &Call<'_>) -> Result<Option<Usage>, QueryError> {
    match call.parameters.get("PolicyUsageFilter") {
        None | Some("") => Ok(None),
        Some("PermissionsPolicy") => Ok(Some(Usage::Permissions)),
        Some("PermissionsBoundary") => Ok(Some(Usage::Boundary)),
        Some(_) => {
            let message = "PolicyUsageFilter must be PermissionsPolicy or PermissionsBoundary";
            Err(QueryError::validation(message))
        }
    }
}

/// What of the use of a policy a filter leaves.
fn used_as(mut held: PolicyUse, usage: Option<Usage>) -> PolicyUse {
    if usage == Some(Usage::Boundary) {
        (held.users, held.groups, held.roles) = Default::default();
    }
    if usage == Some(Usage::Permissions) {
        (held.bounded_users, held.bounded_roles) = Default::default();
    }
    held
}

fn list_entities(call: &Call<'_>) -> Answer {
    let policy = find(call, "ListEntitiesForPolicy")?;
    let held = call.actor.directory.policy_use(call.account(), policy.name())?;
    let held = used_as(held, usage_filter(call)?);
    let users: BTreeSet<_> = held.users.into_iter().chain(held.bounded_users).collect();
    let roles: BTreeSet<_> = held.roles.into_iter().chain(held.bounded_roles).collect();
    let groups: BTreeSet<_> = held.groups.into_iter().collect();
    let filter = call.parameters.get("EntityFilter").filter(|filter| !filter.is_empty());
    let lists = [
        ("PolicyGroups", "GroupName", "Group", &groups),
        ("PolicyRoles", "RoleName", "Role", &roles),
        ("PolicyUsers", "UserName", "User", &users),
    ];
    let mut all = Vec::new();
    for (_, _, kind, names) in lists.iter().filter(|list| filter.is_none_or(|f| f == list.2)) {
        all.extend(names.iter().map(|name| (*kind, name, format!("{kind}/{name}"))));
    }
    let (page, marker) = call.page(&all, |(_, _, mark)| mark)?;
    let mut xml = Xml::new();
    for (list, element, kind, _) in lists {
        let names = page.iter().filter(|(of, ..)| *of == kind).map(|(_, name, _)| name);
        xml.members(list, names, |xml, name| {
            xml.text(element, name);
        });
    }
    xml.page_end(marker.as_deref());
    Ok(xml)
}

async fn tag(call: &Call<'_>, action: &str) -> Answer {
    let policy = find_own(call, action)?;
    let tags = call.tag_change(action)?;
    let change = move |policy: &mut ManagedPolicy, _| tags.apply(&mut policy.tags);
    call.changes()?.change_policy(call.account(), &policy.name, change).await?;
    Ok(Xml::new())
}

fn list_tags(call: &Call<'_>) -> Answer {
    call.tags_page(&match find(call, "ListPolicyTags")? {
        Found::Own(policy) => policy.tags,
        Found::Canned(_) => Default::default(),
    })
}

/// What is done to the policies of a holder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Put,
    Get,
    Delete,
    List,
    Attach,
    Detach,
    ListAttached,
}

/// Takes the names of actions such as `PutUserPolicy` apart.
fn holder_action(action: &str) -> Option<(Verb, HolderKind)> {
    let verbs = [
        ("ListAttached", "Policies", Verb::ListAttached),
        ("List", "Policies", Verb::List),
        ("Put", "Policy", Verb::Put),
        ("Get", "Policy", Verb::Get),
        ("Delete", "Policy", Verb::Delete),
        ("Attach", "Policy", Verb::Attach),
        ("Detach", "Policy", Verb::Detach),
    ];
    verbs.into_iter().find_map(|(prefix, suffix, verb)| {
        let kind = match action.strip_prefix(prefix)?.strip_suffix(suffix)? {
            "User" => HolderKind::User,
            "Group" => HolderKind::Group,
            "Role" => HolderKind::Role,
            _ => return None,
        };
        Some((verb, kind))
    })
}

async fn on_holder(call: &Call<'_>, action: &str, verb: Verb, kind: HolderKind) -> Answer {
    let parameter = match kind {
        HolderKind::User => "UserName",
        HolderKind::Group => "GroupName",
        HolderKind::Role => "RoleName",
    };
    let name = call.parameters.need(parameter)?;
    let arn = call.arn(entity_kind(kind), name)?;
    call.require(action, &arn)?;
    let directory = call.actor.directory;
    let holder = Holder::new(kind, call.account(), name);
    let mut xml = Xml::new();
    match verb {
        Verb::Put => {
            let policy = call.parameters.need("PolicyName")?;
            let document = call.parameters.need("PolicyDocument")?;
            call.changes()?.set_inline(holder, policy, Some(document)).await?;
        }
        Verb::Delete => {
            let policy = call.parameters.need("PolicyName")?;
            call.changes()?.set_inline(holder, policy, None).await?;
        }
        Verb::Get => {
            let policy = call.parameters.need("PolicyName")?;
            let grants = directory.grants(&holder)?;
            let kind = "policy";
            let missing = IdentityError::NotFound { kind, name: policy.to_owned() };
            let document = grants.inline.get(policy).ok_or(missing)?;
            xml.text(parameter, name).text("PolicyName", policy);
            xml.text("PolicyDocument", &encode(document));
        }
        Verb::List => {
            let grants = directory.grants(&holder)?;
            let names: Vec<_> = grants.inline.keys().cloned().collect();
            let (page, marker) = call.page(&names, |name| name)?;
            xml.texts("PolicyNames", page.into_iter().map(String::as_str));
            xml.page_end(marker.as_deref());
        }
        Verb::Attach | Verb::Detach => {
            let (found, policy) = named(call)?;
            let right = Right::of_query(action).ok_or_else(|| missing(&policy))?;
            call.actor.require_attach(right, &arn, &policy)?;
            let policy = found.ok_or_else(|| missing(&policy))?.name().to_owned();
            let attach = verb == Verb::Attach;
            let changed = call.changes()?.attach(holder, vec![policy], attach).await?;
            if !attach && changed.is_empty() {
                return Err(missing(call.parameters.need("PolicyArn")?));
            }
        }
        Verb::ListAttached => {
            let grants = directory.grants(&holder)?;
            let prefix = call.path_prefix();
            let mut names: Vec<_> = grants.attached.iter().cloned().collect();
            names.retain(|name| path_of(call, name).starts_with(prefix));
            let (page, marker) = call.page(&names, |name| name)?;
            let mut arns = Vec::with_capacity(page.len());
            for name in page {
                arns.push((name, call.arn(EntityKind::Policy, name)?));
            }
            xml.members("AttachedPolicies", arns, |xml, (name, arn)| {
                xml.text("PolicyName", name).text("PolicyArn", &arn);
            });
            xml.page_end(marker.as_deref());
        }
    }
    Ok(xml)
}
