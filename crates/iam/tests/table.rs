//! Tables of cases: every condition operator, and the order of evaluation.

use drystone_iam::{Caller, Document, DocumentKind, Facts, PolicySet, Principal, decide};
use serde_json::{Value, json};
use std::sync::Arc;

const CANONICAL: [&str; 2] = [
    "1111111111111111111111111111111111111111111111111111111111111111",
    "2222222222222222222222222222222222222222222222222222222222222222",
];

fn rows(text: &'static str, columns: usize) -> Vec<Vec<&'static str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            assert_eq!(cells.len(), columns, "{line}");
            cells
        })
        .collect()
}

fn account(number: char) -> String {
    std::iter::repeat_n(number, 12).collect()
}

#[test]
fn conditions() {
    let rows = rows(include_str!("cases/conditions.txt"), 4);
    assert!(rows.len() >= 250, "{} cases", rows.len());
    let bob = Principal::User { account: account('1'), path_name: "/bob".into(), id: "B".into() };
    for row in rows {
        let [operator, wanted, found, holds] = row[..] else { unreachable!("four columns") };
        // A default in a variable has a comma of its own.
        let wanted: Vec<&str> = match wanted.contains('\'') {
            true => vec![wanted],
            false => wanted.split(',').collect(),
        };
        let policy = json!({"Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {operator: {"k": wanted}}}});
        let policy = Document::parse(&policy.to_string(), DocumentKind::Identity);
        let policy = policy.unwrap_or_else(|error| panic!("{row:?}: {error}"));
        let mut facts = Facts::new();
        facts.add("aws:username", "bob");
        for value in found.split(',').filter(|value| *value != "-") {
            facts.add("K", value);
        }
        let set = PolicySet { identity: &[("p", &policy)], ..PolicySet::default() };
        let caller = Caller { principal: &bob, canonical: None };
        let decision = decide(caller, "s3:GetObject", "arn:aws:s3:::b/k", &facts, &set);
        assert_eq!(decision.allowed, holds == "yes", "{row:?}");
    }
}

fn caller(name: &str) -> (Principal, Option<&'static str>) {
    let number = name.chars().last().expect("a name");
    let principal = match name.trim_end_matches(['1', '2']) {
        "nobody" => return (Principal::Anonymous, None),
        "root" => Principal::Root { account: account(number) },
        "role" => Principal::RoleSession {
            account: account(number),
            role: "/team/r".into(),
            session: "s".into(),
            id: "R".into(),
        },
        user => Principal::User {
            account: account(number),
            path_name: format!("/{user}"),
            id: name.to_uppercase(),
        },
    };
    (principal, Some(CANONICAL[if number == '1' { 0 } else { 1 }]))
}

fn who(name: &str) -> Value {
    if name.contains(',') {
        let all = name.split(',').map(|name| who(name)["AWS"].clone());
        return json!({ "AWS": all.collect::<Vec<_>>() });
    }
    let number = name.chars().last().expect("a name");
    let account = account(number);
    match name.trim_end_matches(['1', '2']) {
        "*" => json!("*"),
        "account" => json!({ "AWS": format!("arn:aws:iam::{account}:root") }),
        "canonical" => json!({ "CanonicalUser": CANONICAL[if number == '1' { 0 } else { 1 }] }),
        "role" => json!({ "AWS": format!("R arn:aws:iam::{account}:role/team/r") }),
        "session" => json!({ "AWS": format!("R:s arn:aws:sts::{account}:assumed-role/r/s") }),
        // The same name, of a user who is another, and of one of whom only the name was stored.
        "other" => json!({ "AWS": format!("OTHER arn:aws:iam::{account}:user/bob") }),
        "text" => json!({ "AWS": format!("arn:aws:iam::{account}:user/bob") }),
        user => {
            let id = name.to_uppercase();
            json!({ "AWS": format!("{id} arn:aws:iam::{account}:user/{user}") })
        }
    }
}

/// Sets an element, or its negated form if the text begins with an exclamation mark.
fn set_element(statement: &mut Value, name: &str, text: &str, value: impl Fn(&str) -> Value) {
    match text.strip_prefix('!') {
        Some(text) => statement[format!("Not{name}")] = value(text),
        None => statement[name] = value(text),
    }
}

fn statement(words: &[&str], is_bucket: bool) -> Value {
    let mut statement = json!({ "Effect": if words[0] == "allow" { "Allow" } else { "Deny" } });
    if is_bucket {
        set_element(&mut statement, "Principal", words[1], who);
    }
    let rest = &words[if is_bucket { 2 } else { 1 }..];
    set_element(&mut statement, "Action", rest[0], |text| json!(text));
    set_element(&mut statement, "Resource", rest[1], |text| match text {
        "*" => json!("*"),
        name => json!(format!("arn:aws:s3:::{name}")),
    });
    statement
}

#[test]
fn decisions() {
    let rows = rows(include_str!("cases/decisions.txt"), 5);
    for row in &rows {
        let [name, action, resource, policies, expected] = row[..] else { unreachable!("five") };
        let mut of: [Vec<Value>; 6] = Default::default();
        let mut acl_allows = false;
        for policy in policies.split(';').map(str::trim).filter(|policy| !policy.is_empty()) {
            let (place, rest) = policy.split_once(':').expect("a place");
            let at = match place {
                "identity" => 0,
                "bucket" => 1,
                "session" => 2,
                "service" => 3,
                "boundary" => 4,
                // A second policy of the session.
                "more" => 5,
                _ => {
                    acl_allows = true;
                    continue;
                }
            };
            let words: Vec<_> = rest.split_whitespace().collect();
            of[at].push(statement(&words, at == 1));
        }
        let parse = |statements: &Vec<Value>, kind| {
            let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
            let parsed = (!statements.is_empty()).then(|| Document::parse(&text, kind));
            parsed.transpose().unwrap_or_else(|error| panic!("{row:?}: {error}"))
        };
        let [identity, session, service, boundary, more] =
            [0, 2, 3, 4, 5].map(|at| parse(&of[at], DocumentKind::Identity));
        let bucket = parse(&of[1], DocumentKind::Bucket("b"));
        let (principal, canonical) = caller(name);
        let mut facts = Facts::new();
        if let Principal::User { path_name, .. } = &principal {
            facts.add("aws:username", &path_name[1..]);
        }
        let named: Vec<_> = identity.iter().map(|document| ("attached", document)).collect();
        let given = session
            .iter()
            .chain(&more)
            .map(|document| ("given".to_owned(), Arc::new(document.clone())));
        let given: Vec<_> = given.collect();
        let owner = account('1');
        let set = PolicySet {
            identity: &named,
            bucket: bucket.as_ref().map(|document| ("bucket", document)),
            resource_account: Some(&owner),
            service_account: service.as_ref().map(|document| ("embedded", document)),
            session: session.is_some().then_some(&given),
            boundary: boundary.as_ref().map(|document| ("limit", document)),
            acl_allows,
            aliases: Default::default(),
        };
        let caller = Caller { principal: &principal, canonical };
        let arn = format!("arn:aws:s3:::{resource}");
        let decision = decide(caller, action, &arn, &facts, &set);
        let verdict = if decision.allowed { "yes" } else { "no" };
        let found = format!("{verdict} {:?}", decision.explanation.reason);
        assert_eq!(found, expected, "{row:?}");
    }
    assert!(rows.len() >= 80, "{} cases", rows.len());
}
