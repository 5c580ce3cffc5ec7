//! An evaluator that is as plain as it can be: it walks the JSON for each question.

use drystone_iam::{Facts, Principal};
use serde_json::Value;

pub(crate) struct Question<'a> {
    pub(crate) caller: &'a Principal,
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) facts: &'a Facts,
    pub(crate) identity: &'a [Value],
    pub(crate) bucket: Option<&'a Value>,
    pub(crate) boundary: Option<&'a Value>,
    pub(crate) session: Option<&'a [Value]>,
}

fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).into_iter().map(|item| item.as_str().expect("text")).collect()
}

/// Wildcards by recursion; `\u{1}` and `\u{2}` are a literal `*` and `?`.
fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|skip| like(rest, &text[skip..])),
        Some(('?', rest)) => !text.is_empty() && like(rest, &text[1..]),
        Some((c, rest)) => text.first() == Some(c) && like(rest, &text[1..]),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    like(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

/// Replaces the variables that the tests use; `None` if one has no value.
fn expand(text: &str, facts: &Facts) -> Option<String> {
    let mut text = text.to_owned();
    for key in ["aws:username", "aws:missing", "aws:referer"] {
        let name = format!("${{{key}}}");
        if text.contains(&name) {
            text = text.replace(&name, facts.single(key)?);
        }
    }
    Some(text)
}

fn value_fits(operator: &str, wanted: &str, value: &str, facts: &Facts) -> bool {
    let Some(wanted) = expand(wanted, facts) else { return false };
    match operator {
        "StringEquals" => wanted == value,
        "StringLike" => matches(&wanted, value),
        "Bool" => wanted == value,
        other => panic!("{other}"),
    }
}

fn condition_holds(
    (operator, key, wanted): (&str, &str, &[&str]),
    facts: &Facts,
    is_deny: bool,
) -> bool {
    let found = facts.values(key);
    if operator == "Null" {
        return wanted.iter().any(|word| (*word == "true") == found.is_none());
    }
    let (set, name) = operator.split_once(':').unwrap_or(("", operator));
    let (name, if_exists) = match name.strip_suffix("IfExists") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let negated = name.contains("Not");
    let plain = name.replace("Not", "");
    if negated && !is_deny && wanted.iter().any(|text| expand(text, facts).is_none()) {
        return false;
    }
    let Some(found) = found else {
        return if_exists || set == "ForAllValues" || (set.is_empty() && negated);
    };
    let fits =
        |value: &str| wanted.iter().any(|text| value_fits(&plain, text, value, facts)) != negated;
    match set {
        "ForAllValues" => found.iter().all(|value| fits(value)),
        "ForAnyValue" => found.iter().any(|value| fits(value)),
        _ if negated => found.iter().all(|value| fits(value)),
        _ => found.iter().any(|value| fits(value)),
    }
}

fn statement_matches(statement: &Value, q: &Question<'_>) -> bool {
    let action = |text: &str| matches(&text.to_lowercase(), &q.action.to_lowercase());
    let action_fits = match statement.get("Action") {
        Some(actions) => texts(actions).into_iter().any(action),
        None => !texts(&statement["NotAction"]).into_iter().any(action),
    };
    let resource = |text: &str| expand(text, q.facts).map(|text| matches(&text, q.resource));
    let is_deny = statement["Effect"] == "Deny";
    let resource_fits = match statement.get("Resource") {
        Some(resources) => texts(resources).into_iter().any(|r| resource(r) == Some(true)),
        None => texts(&statement["NotResource"])
            .into_iter()
            .all(|r| resource(r).map_or(is_deny, |matches| !matches)),
    };
    let conditions = statement.get("Condition").and_then(Value::as_object);
    let conditions_hold = conditions.is_none_or(|operators| {
        operators.iter().all(|(operator, keys)| {
            let keys = keys.as_object().expect("keys");
            keys.iter().all(|(key, wanted)| {
                condition_holds((operator, key, &texts(wanted)), q.facts, is_deny)
            })
        })
    });
    action_fits && resource_fits && conditions_hold
}

/// How a statement names a caller: by the account (1), by everybody (2), or as this very user (3).
fn names(statement: &Value, caller: &Principal) -> Option<u8> {
    if statement["Principal"] == "*" {
        return Some(2);
    }
    let mut found = None;
    for text in texts(&statement["Principal"]["AWS"]) {
        let by_account = caller.account().is_some_and(|account| {
            text == account || text == format!("arn:aws:iam::{account}:root")
        });
        let (id, _) = text.split_once(' ').unwrap_or((text, ""));
        if matches!(caller, Principal::User { .. }) && caller.user_id().as_deref() == Some(id) {
            found = Some(3);
        } else if by_account {
            found = found.or(Some(1));
        }
    }
    found
}

pub(crate) fn allows(q: &Question<'_>) -> bool {
    let statements = |d: &Value| d["Statement"].as_array().expect("statements").clone();
    let matching = |d: &Value, effect: &str| {
        let all = statements(d).into_iter();
        all.filter(|s| s["Effect"] == effect && statement_matches(s, q)).collect::<Vec<_>>()
    };
    let policies = q.identity.iter().chain(q.boundary).chain(q.session.unwrap_or_default());
    if policies.clone().any(|d| !matching(d, "Deny").is_empty()) {
        return false;
    }
    let bucket = |effect: &str| {
        let all = q.bucket.map(|d| matching(d, effect)).unwrap_or_default();
        all.iter().filter_map(|s| names(s, q.caller)).max()
    };
    if bucket("Deny").is_some() {
        return false;
    }
    let is_root = matches!(q.caller, Principal::Root { .. });
    let identity = is_root || q.identity.iter().any(|d| !matching(d, "Allow").is_empty());
    let by_bucket = bucket("Allow");
    let allowed_by = |d: &Value| !matching(d, "Allow").is_empty();
    let is_bounded = q.boundary.is_some_and(|d| !allowed_by(d));
    let is_user = matches!(q.caller, Principal::User { .. });
    let granted = match q.caller.account() {
        Some("111111111111") | None => {
            let by_itself = (identity || by_bucket >= Some(2)) && !is_bounded;
            by_itself || (by_bucket == Some(3) && is_user)
        }
        Some(_) => identity && by_bucket.is_some() && !is_bounded,
    };
    granted && q.session.is_none_or(|all| all.iter().any(allowed_by))
}
