//! Lifecycle rules, as `PutBucketLifecycleConfiguration` checks them.

use super::{Form, Subject, Unset};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::schema::{Content, Node, many, one, optional, some};
use crate::xml::Element;
use drystone_base::{Rng, SystemRng, Timestamp};
use drystone_engine::plan::DocumentKind;

const TAG: Content = Content::Group(&[one("Key", Content::Text), one("Value", Content::Text)]);
const FILTER: Content = Content::Group(&[
    optional("Prefix", Content::Text),
    optional("Tag", TAG),
    optional("ObjectSizeGreaterThan", Content::Int),
    optional("ObjectSizeLessThan", Content::Int),
    optional(
        "And",
        Content::Group(&[
            optional("Prefix", Content::Text),
            many("Tag", TAG),
            optional("ObjectSizeGreaterThan", Content::Int),
            optional("ObjectSizeLessThan", Content::Int),
        ]),
    ),
]);
const SHAPE: &[Node] = &[some(
    "Rule",
    Content::Group(&[
        optional("ID", Content::Text),
        optional("Prefix", Content::Text),
        optional("Filter", FILTER),
        one("Status", Content::OneOf(&["Enabled", "Disabled"])),
        optional(
            "Expiration",
            Content::Group(&[
                optional("Date", Content::Date),
                optional("Days", Content::Int),
                optional("ExpiredObjectDeleteMarker", Content::Bool),
                optional("ExpiredObjectAllVersions", Content::Bool),
            ]),
        ),
        many(
            "Transition",
            Content::Group(&[
                optional("Date", Content::Date),
                optional("Days", Content::Int),
                one("StorageClass", Content::Text),
            ]),
        ),
        many(
            "NoncurrentVersionTransition",
            Content::Group(&[
                optional("NoncurrentDays", Content::Int),
                optional("NewerNoncurrentVersions", Content::Int),
                one("StorageClass", Content::Text),
            ]),
        ),
        optional(
            "NoncurrentVersionExpiration",
            Content::Group(&[
                optional("NoncurrentDays", Content::Int),
                optional("NewerNoncurrentVersions", Content::Int),
            ]),
        ),
        optional(
            "AbortIncompleteMultipartUpload",
            Content::Group(&[one("DaysAfterInitiation", Content::Int)]),
        ),
        optional("DelMarkerExpiration", Content::Group(&[one("Days", Content::Int)])),
    ]),
)];
const RULE_COUNT_MAX: usize = 1000;
const ID_LEN_MAX: usize = 255;
const ACTIONS: [&str; 6] = [
    "Expiration",
    "Transition",
    "NoncurrentVersionTransition",
    "NoncurrentVersionExpiration",
    "AbortIncompleteMultipartUpload",
    "DelMarkerExpiration",
];
/// Classes that objects move to, from warm to cold.
const CLASSES: [&str; 6] =
    ["STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"];
const DAY_MS: u64 = 86_400_000;

/// Header that comes with a configuration and is returned with it.
pub(crate) const MINIMUM_SIZE_HEADER: &str = "x-amz-transition-default-minimum-object-size";
/// Its values; the first is the default.
pub(super) const MINIMUM_SIZES: [&str; 2] = ["all_storage_classes_128K", "varies_by_storage_class"];

pub(super) const FORM: Form = Form {
    kind: DocumentKind::Lifecycle,
    root: "LifecycleConfiguration",
    shape: SHAPE,
    check,
    unset: Unset::Error(S3Code::NoSuchLifecycleConfiguration),
};

/// The value of the header, or its default.
pub(super) fn minimum_size(context: &Context<'_>) -> Result<&'static str, S3Error> {
    let Some(asked) = context.request.header(MINIMUM_SIZE_HEADER) else {
        return Ok(MINIMUM_SIZES[0]);
    };
    let known = MINIMUM_SIZES.into_iter().find(|value| *value == asked);
    known.ok_or_else(|| S3Error::argument(MINIMUM_SIZE_HEADER, asked, "Invalid value"))
}

fn malformed<T>() -> Result<T, S3Error> {
    Err(S3Code::MalformedXML.into())
}

fn argument<T>(name: &str, value: &str, message: &str) -> Result<T, S3Error> {
    Err(S3Error::argument(name, value, message))
}

fn request<T>(message: &str) -> Result<T, S3Error> {
    Err(S3Error::with(S3Code::InvalidRequest, message))
}

fn check(root: &mut Element, subject: &Subject<'_>) -> Result<(), S3Error> {
    // No one shows a second factor for what a rule would remove.
    if subject.bucket.needs_mfa {
        let message = "A bucket with MFA Delete takes no lifecycle rules: no one gives a code for what \
                       they remove.";
        return Err(S3Error::with(S3Code::InvalidBucketState, message));
    }
    if root.children.len() > RULE_COUNT_MAX {
        return malformed();
    }
    let mut ids: Vec<String> = Vec::new();
    for rule in &mut root.children {
        check_filter(rule)?;
        check_actions(rule)?;
        let id = match rule.text_of("ID").filter(|id| !id.is_empty()) {
            Some(id) => id.to_owned(),
            None => {
                let text = format!("{:016x}{:016x}", SystemRng.u64(), SystemRng.u64());
                rule.children.retain(|child| child.name != "ID");
                let (name, text) = ("ID".to_owned(), text);
                rule.children.push(Element { name, text: text.clone(), children: Vec::new() });
                text
            }
        };
        if id.len() > ID_LEN_MAX {
            return argument("ID", &id, "ID length should not exceed allowed limit of 255");
        }
        if ids.contains(&id) {
            return argument(
                "ID",
                &id,
                "Rule ID must be unique. Found same ID for more than one rule",
            );
        }
        ids.push(id);
    }
    Ok(())
}

fn check_filter(rule: &Element) -> Result<(), S3Error> {
    let Some(filter) = rule.child("Filter") else { return Ok(()) };
    if rule.child("Prefix").is_some() || filter.children.len() > 1 {
        return malformed();
    }
    let and = filter.child("And");
    if and.is_some_and(|and| and.children.len() < 2) {
        return malformed();
    }
    let conditions = and.unwrap_or(filter);
    let mut keys: Vec<&str> = Vec::new();
    for tag in conditions.children_named("Tag") {
        let key = tag.text_of("Key").unwrap_or_default();
        if key.is_empty() || keys.contains(&key) {
            return request("Tag keys must be unique and not empty");
        }
        keys.push(key);
    }
    let size = |name| conditions.text_of(name).and_then(|text| text.trim().parse::<i64>().ok());
    let (more, less) = (size("ObjectSizeGreaterThan"), size("ObjectSizeLessThan"));
    if more.is_some_and(|size| size < 0) || less.is_some_and(|size| size < 1) {
        return argument("ObjectSize", "", "Object sizes must not be negative");
    }
    match (more, less) {
        (Some(more), Some(less)) if more >= less => {
            request("ObjectSizeLessThan has to be a value greater than ObjectSizeGreaterThan")
        }
        _ => Ok(()),
    }
}

/// Number in an element, which has to be at least `least`.
fn number(parent: &Element, name: &str, least: i64) -> Result<Option<i64>, S3Error> {
    let Some(text) = parent.text_of(name) else { return Ok(None) };
    match text.trim().parse::<i64>() {
        Ok(value) if value >= least && value <= i64::from(i32::MAX) => Ok(Some(value)),
        _ => argument(name, text, &format!("'{name}' must be an integer from {least} on")),
    }
}

/// A date, which has to be midnight UTC.
fn midnight(parent: &Element) -> Result<Option<u64>, S3Error> {
    let Some(text) = parent.text_of("Date") else { return Ok(None) };
    match Timestamp::parse_iso(text.trim()) {
        Some(moment) if moment.0.is_multiple_of(DAY_MS) => Ok(Some(moment.0)),
        _ => argument("Date", text, "'Date' must be at midnight GMT"),
    }
}

fn has_tag_or_size(rule: &Element) -> (bool, bool) {
    let Some(filter) = rule.child("Filter") else { return (false, false) };
    let conditions = filter.child("And").unwrap_or(filter);
    let has = |name| conditions.child(name).is_some();
    (has("Tag"), has("ObjectSizeGreaterThan") || has("ObjectSizeLessThan"))
}

fn check_actions(rule: &Element) -> Result<(), S3Error> {
    if !ACTIONS.iter().any(|name| rule.child(name).is_some()) {
        return request("At least one action needs to be specified in a rule");
    }
    let (has_tag, has_size) = has_tag_or_size(rule);
    if let Some(expiration) = rule.child("Expiration") {
        check_expiration(expiration, has_tag)?;
    }
    let transitions: Vec<_> = rule.children_named("Transition").collect();
    check_transitions(&transitions)?;
    let mut classes: Vec<&str> = Vec::new();
    for transition in rule.children_named("NoncurrentVersionTransition") {
        let class = check_class(transition)?;
        let days = number(transition, "NoncurrentDays", 0)?;
        check_newer(transition)?;
        if days.is_none() || classes.contains(&class) {
            return argument("StorageClass", class, "Each class needs days, and stands once");
        }
        classes.push(class);
    }
    if let Some(expiration) = rule.child("NoncurrentVersionExpiration") {
        let days = number(expiration, "NoncurrentDays", 1)?;
        if days.is_none() && check_newer(expiration)?.is_none() {
            return malformed();
        }
        check_newer(expiration)?;
    }
    if let Some(abort) = rule.child("AbortIncompleteMultipartUpload") {
        number(abort, "DaysAfterInitiation", 1)?;
        if has_tag || has_size {
            return request(
                "AbortIncompleteMultipartUpload cannot be specified with Tags or sizes",
            );
        }
    }
    match rule.child("DelMarkerExpiration") {
        Some(expiration) => number(expiration, "Days", 1).map(|_| ()),
        None => Ok(()),
    }
}

fn check_newer(parent: &Element) -> Result<Option<i64>, S3Error> {
    match number(parent, "NewerNoncurrentVersions", 1)? {
        Some(count) if count > 100 => {
            argument("NewerNoncurrentVersions", &count.to_string(), "At most 100 versions are kept")
        }
        count => Ok(count),
    }
}

fn check_expiration(expiration: &Element, has_tag: bool) -> Result<(), S3Error> {
    let days = number(expiration, "Days", 1)?;
    let date = midnight(expiration)?;
    let marker = expiration.text_of("ExpiredObjectDeleteMarker").map(str::trim);
    let all_versions = expiration.child("ExpiredObjectAllVersions").is_some();
    let given = [days.is_some(), date.is_some(), marker.is_some()];
    if given.iter().filter(|is_given| **is_given).count() != 1 || (all_versions && days.is_none()) {
        return malformed();
    }
    match marker.is_some() && has_tag {
        true => request("ExpiredObjectDeleteMarker cannot be specified with Tags"),
        false => Ok(()),
    }
}

fn check_class(transition: &Element) -> Result<&str, S3Error> {
    let class = transition.text_of("StorageClass").unwrap_or_default();
    // Names of remote tiers, which are upper case too, come with tiers.
    match CLASSES.contains(&class) {
        true => Ok(class),
        false => malformed(),
    }
}

fn check_transitions(transitions: &[&Element]) -> Result<(), S3Error> {
    let mut seen: Vec<(usize, u64)> = Vec::new();
    let mut by_date = None;
    for transition in transitions {
        let class = check_class(transition)?;
        let (days, date) = (number(transition, "Days", 0)?, midnight(transition)?);
        let due = match (days, date) {
            (Some(days), None) => days.unsigned_abs(),
            (None, Some(date)) => date,
            _ => return malformed(),
        };
        if *by_date.get_or_insert(date.is_some()) != date.is_some() {
            return request("Found mixed 'Date' and 'Days' based Transition actions in a rule");
        }
        let rank = CLASSES.iter().position(|known| *known == class).unwrap_or(0);
        if seen.iter().any(|(other, _)| *other == rank) {
            return argument(
                "StorageClass",
                class,
                "'StorageClass' must be different for each action",
            );
        }
        seen.push((rank, due));
    }
    seen.sort_unstable();
    match seen.windows(2).any(|pair| pair[0].1 >= pair[1].1) {
        true => argument("Days", "", "Days of a colder class must be greater than of a warmer one"),
        false => Ok(()),
    }
}
