//! Which policies belong to whom.

use super::policies::mapping;
use super::{Answer, Call, Reply};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_iam::canned_names;
use drystone_identity::{EntityKind, Group, PolicyUse};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn list(call: &Call<'_>) -> Answer {
    call.require_all(Right::ListEntitiesForPolicy, EntityKind::Policy)?;
    let (directory, account) = (call.actor.directory, call.actor.account());
    let asked = |name: &str| -> Vec<String> {
        let values = call.request.query.iter().filter(|(known, _)| known == name);
        values.map(|(_, value)| value.clone()).collect()
    };
    let (users, groups, policies) = (asked("user"), asked("group"), asked("policy"));
    let all = users.is_empty() && groups.is_empty() && policies.is_empty();
    let wanted = |names: &[String], name: &str| all || names.iter().any(|n| n == name);
    // Once, not once for each member.
    let (by_name, room) = (|group: Group| (group.name, group.grants.attached), &call.actor.room);
    let known: BTreeMap<_, _> = directory.groups(account, room, by_name)?.into_iter().collect();
    let none = BTreeSet::new();
    let user_mappings = directory.users(account, room, |user| {
        let has_any = !user.grants.attached.is_empty() || !user.groups.is_empty();
        if !wanted(&users, &user.name) || (all && !has_any) {
            return None;
        }
        let mut of_groups = Vec::new();
        for name in &user.groups {
            of_groups.push(json!({ "group": name, "policies": known.get(name).unwrap_or(&none) }));
        }
        Some(json!({
            "user": user.name,
            "policies": user.grants.attached,
            "memberOfMappings": of_groups,
        }))
    })?;
    let user_mappings: Vec<Value> = user_mappings.into_iter().flatten().collect();
    let mut group_mappings = Vec::new();
    for (name, attached) in &known {
        if wanted(&groups, name) && !(all && attached.is_empty()) {
            group_mappings.push(json!({ "group": name, "policies": attached }));
        }
    }
    let own = directory.policies(account, room, |policy| policy.name)?;
    let (uses, unused) = (directory.policy_uses(account, room)?, PolicyUse::default());
    let mut policy_mappings = Vec::new();
    for policy in canned_names().map(str::to_owned).chain(own) {
        let held = uses.get(&policy).unwrap_or(&unused);
        let is_held = !held.users.is_empty() || !held.groups.is_empty();
        if wanted(&policies, &policy) && (is_held || !all) {
            policy_mappings.push(mapping(&policy, held));
        }
    }
    Ok(Reply::Sealed(json!({
        "timestamp": Timestamp(directory.now_ms()).to_iso(),
        "userMappings": user_mappings,
        "groupMappings": group_mappings,
        "policyMappings": policy_mappings,
    })))
}
