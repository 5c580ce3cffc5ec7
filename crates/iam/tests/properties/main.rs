//! The compiled evaluator against one that reads the JSON again for every question.

mod naive;

use drystone_iam::{Caller, Document, DocumentKind, Facts, PolicySet, Principal, decide};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn action() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListBucket",
        "s3:Get*",
        "s3:*",
        "*",
        "S3:getobject",
        "s3:?etObject",
    ])
}

fn resource() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "arn:aws:s3:::b",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/k",
        "arn:aws:s3:::*",
        "*",
        "arn:aws:s3:::b/${aws:username}/*",
        "arn:aws:s3:::b/${aws:missing}",
        "arn:aws:s3:::b/?",
    ])
}

fn one_or_many(item: impl Strategy<Value = &'static str>) -> impl Strategy<Value = Value> {
    prop::collection::vec(item, 1..3).prop_map(|items| match items.as_slice() {
        [single] => json!(single),
        several => json!(several),
    })
}

fn condition() -> impl Strategy<Value = Value> {
    let operator = prop::sample::select(vec![
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLike",
        "StringEqualsIfExists",
        "StringNotEqualsIfExists",
        "ForAllValues:StringLike",
        "ForAnyValue:StringEquals",
        "ForAllValues:StringNotEquals",
        "ForAnyValue:StringNotLike",
        "Null",
        "Bool",
    ]);
    let key = prop::sample::select(vec!["aws:username", "s3:prefix", "aws:TagKeys", "aws:referer"]);
    let value =
        prop::sample::select(vec!["bob", "b*", "", "true", "false", "x", "${aws:username}"]);
    (operator, key, prop::collection::vec(value, 1..3)).prop_map(|(operator, key, mut values)| {
        if operator == "Null" || operator == "Bool" {
            values = vec![if values[0].len() % 2 == 0 { "true" } else { "false" }];
        }
        json!({ operator: { key: values } })
    })
}

fn principal() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!("*"),
        json!({"AWS": "111111111111"}),
        json!({"AWS": "BOB1 arn:aws:iam::111111111111:user/bob"}),
        json!({"AWS": ["arn:aws:iam::222222222222:root", "EVE1 arn:aws:iam::111111111111:user/eve"]}),
    ])
}

fn resource_in_bucket() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "arn:aws:s3:::b",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/k",
        "arn:aws:s3:::b*",
        "arn:aws:s3:::b/${aws:username}/*",
        "arn:aws:s3:::b/${aws:referer}",
        "arn:aws:s3:::b/?",
    ])
}

fn document(is_bucket: bool) -> impl Strategy<Value = Value> {
    let resource = match is_bucket {
        true => one_or_many(resource_in_bucket()).boxed(),
        false => one_or_many(resource()).boxed(),
    };
    let statement = (
        any::<bool>(),
        any::<bool>(),
        one_or_many(action()),
        any::<bool>(),
        resource,
        prop::option::of(condition()),
        principal(),
    );
    prop::collection::vec(statement, 1..4).prop_map(move |statements| {
        let statements: Vec<Value> = statements
            .into_iter()
            .map(|(deny, not_action, action, not_resource, resource, condition, principal)| {
                let mut s = json!({ "Effect": if deny { "Deny" } else { "Allow" } });
                s[if not_action { "NotAction" } else { "Action" }] = action;
                s[if not_resource { "NotResource" } else { "Resource" }] = resource;
                if let Some(condition) = condition {
                    s["Condition"] = condition;
                }
                if is_bucket {
                    s["Principal"] = principal;
                }
                s
            })
            .collect();
        json!({ "Version": "2012-10-17", "Statement": statements })
    })
}

fn caller() -> impl Strategy<Value = Principal> {
    let user = |account: &str, name: &str| Principal::User {
        account: account.to_owned(),
        path_name: format!("/{name}"),
        id: format!("{}{}", name.to_uppercase(), &account[..1]),
    };
    prop::sample::select(vec![
        Principal::Anonymous,
        Principal::Root { account: "111111111111".to_owned() },
        user("111111111111", "bob"),
        user("111111111111", "eve"),
        user("222222222222", "bob"),
    ])
}

fn facts() -> impl Strategy<Value = Facts> {
    let tags = prop::collection::vec(prop::sample::select(vec!["x", "bob", "b"]), 0..3);
    (any::<bool>(), prop::option::of(prop::sample::select(vec!["bob", "", "x/y"])), tags).prop_map(
        |(named, prefix, tags)| {
            let mut facts = Facts::new();
            if named {
                facts.add("aws:username", "bob");
            }
            facts.add_if("s3:prefix", prefix);
            for tag in tags {
                facts.add("aws:TagKeys", tag);
            }
            facts
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn the_compiled_evaluator_agrees_with_the_naive_one(
        identity in prop::collection::vec(document(false), 0..3),
        bucket in prop::option::of(document(true)),
        boundary in prop::option::of(document(false)),
        session in prop::option::of(prop::collection::vec(document(false), 0..3)),
        caller in caller(),
        facts in facts(),
        action in prop::sample::select(vec!["s3:GetObject", "s3:PutObject", "s3:ListBucket"]),
        resource in prop::sample::select(vec![
            "arn:aws:s3:::b", "arn:aws:s3:::b/k", "arn:aws:s3:::b/bob/x",
        ]),
    ) {
        let parse = |value: &Value, kind| Document::parse(&value.to_string(), kind);
        let compiled: Vec<_> =
            identity.iter().map(|d| parse(d, DocumentKind::Identity).expect("valid")).collect();
        let named: Vec<_> = compiled.iter().map(|d| ("identity", d)).collect();
        // An action may apply to no resource of its statement: such a policy is refused.
        let bucket_compiled = bucket.as_ref().and_then(|d| parse(d, DocumentKind::Bucket("b")).ok());
        let of_identity = |d: &Value| parse(d, DocumentKind::Identity).expect("valid");
        let session_compiled: Option<Vec<_>> = session.as_ref().map(|all| {
            all.iter().map(|d| ("session".to_owned(), Arc::new(of_identity(d)))).collect()
        });
        let boundary_compiled = boundary.as_ref().map(of_identity);
        let set = PolicySet {
            identity: &named,
            bucket: bucket_compiled.as_ref().map(|d| ("bucket", d)),
            resource_account: Some("111111111111"),
            session: session_compiled.as_deref(),
            boundary: boundary_compiled.as_ref().map(|d| ("boundary", d)),
            ..PolicySet::default()
        };
        let decision = decide(Caller { principal: &caller, canonical: None }, action, resource, &facts, &set);
        let bucket = if bucket_compiled.is_some() { bucket } else { None };
        let expected = naive::allows(&naive::Question {
            caller: &caller, action, resource, facts: &facts,
            identity: &identity, bucket: bucket.as_ref(), session: session.as_deref(),
            boundary: boundary.as_ref(),
        });
        prop_assert_eq!(decision.allowed, expected, "{:?}", decision.explanation);
    }
}
