//! The log of administration: one line for each change of identities, keys, drives and settings, whoever
//! asked for it and whatever came of it: who, what, on what, from where, and the outcome.
//!
//! # Invariants
//!
//! - No line has a secret: of a request only the names of what it is about are written, by a list.
//! - A change that was carried out always has its line. Lines on those that were refused are limited in
//!   number: anyone with a key could write many.

use crate::cut;
use crate::door::AdminRequest;
use crate::minio::{KMS_PREFIX, PREFIX};
use crate::{AdminResponse, Door};
use drystone_base::warn_limited;
use serde_json::{Map, Value};

/// Operations that change nothing begin with one of these: calls of IAM, of keys, and ours.
const READS: [&str; 9] = [
    "Get",
    "List",
    "Simulate",
    "Generate",
    "Describe",
    "Encrypt",
    "Decrypt",
    "ReEncrypt",
    "Verify",
];
/// Of our API, those that change nothing.
const OWN_READS: [&str; 4] = ["status", "explain", "verify-state", "verify-start"];
/// Of MinIO's, those that change nothing although their method is not GET.
const MINIO_READS: [&str; 4] =
    ["kms/status", "status", "background-heal/status", "idp/builtin/policy-entities"];
/// What a change may be about, by the names that the APIs have for it, in lower case.
const SUBJECTS: [&str; 29] = [
    "name",
    "user",
    "username",
    "group",
    "groupname",
    "rolename",
    "role",
    "policyname",
    "policyarn",
    "userorgroup",
    "accesskey",
    "access_key",
    "accesskeyid",
    "openidconnectproviderarn",
    "serialnumber",
    "instanceprofilename",
    "accountalias",
    "id",
    "key",
    "key-id",
    "keyid",
    "alias",
    "aliasname",
    "targetkeyid",
    "granteeprincipal",
    "drive",
    "old",
    "path",
    "bucket",
];
/// Subjects of a change that its line names at most.
const SUBJECT_COUNT_MAX: usize = 8;

/// A change that was asked for.
pub(crate) struct Change {
    operation: String,
    subjects: String,
}

/// The change that a request asks for; `None` if it asks for none, or has no caller.
pub(crate) fn change_of(door: Door, request: &AdminRequest) -> Option<Change> {
    request.identity.as_ref()?;
    let (operation, pairs) = match door {
        Door::Query => of_form(request),
        Door::Minio => of_minio(request),
        Door::Api => of_api(request),
        Door::Kms => of_kms(request),
    }?;
    let is_subject = |name: &str| SUBJECTS.contains(&name.to_ascii_lowercase().as_str());
    let pairs = pairs.into_iter().filter(|(name, _)| is_subject(name));
    let pairs =
        pairs.take(SUBJECT_COUNT_MAX).map(|(name, value)| format!("{name}={}", cut(&value)));
    Some(Change {
        operation: cut(&operation).to_owned(),
        subjects: pairs.collect::<Vec<_>>().join(" "),
    })
}

type Asked = Option<(String, Vec<(String, String)>)>;

fn of_form(request: &AdminRequest) -> Asked {
    let text = std::str::from_utf8(&request.body).ok()?;
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    let plain = |text: &str| text.replace('+', " ").replace("%2F", "/").replace("%3A", ":");
    let pairs: Vec<(String, String)> =
        pairs.map(|(name, value)| (name.to_owned(), plain(value))).collect();
    let (_, action) = pairs.iter().find(|(name, _)| name == "Action")?;
    let changes = request.service == "iam" && !READS.iter().any(|read| action.starts_with(read));
    changes.then(|| (action.clone(), pairs.clone()))
}

fn of_minio(request: &AdminRequest) -> Asked {
    let path = request.path.as_str();
    let name = path.strip_prefix(PREFIX).or_else(|| path.strip_prefix(KMS_PREFIX))?;
    let is_read = request.method == http::Method::GET || request.method == http::Method::HEAD;
    (!is_read && !MINIO_READS.contains(&name)).then(|| (name.to_owned(), request.query.clone()))
}

fn of_api(request: &AdminRequest) -> Asked {
    let fields: Map<String, Value> = serde_json::from_slice(&request.body).ok()?;
    let op = fields.get("op")?.as_str()?.to_owned();
    let is_read =
        op.ends_with("-list") || op.ends_with("-info") || OWN_READS.contains(&op.as_str());
    let text = |(name, value): (String, Value)| Some((name, value.as_str()?.to_owned()));
    (!is_read).then(|| (op, fields.into_iter().filter_map(text).collect()))
}

fn of_kms(request: &AdminRequest) -> Asked {
    let (_, operation) = request.header("x-amz-target")?.split_once('.')?;
    let fields: Map<String, Value> = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = |(name, value): (String, Value)| Some((name, value.as_str()?.to_owned()));
    let changes = !READS.iter().any(|read| operation.starts_with(read));
    changes.then(|| (operation.to_owned(), fields.into_iter().filter_map(text).collect()))
}

/// Writes the line of a change.
pub(crate) fn note(change: &Change, request: &AdminRequest, response: &AdminResponse) {
    let Change { operation, subjects } = change;
    let status = response.status().as_u16();
    let identity = request.identity.as_deref();
    let principal = identity.and_then(|identity| identity.principal.arn()).unwrap_or_default();
    let access_key = identity.map_or("", |identity| identity.access_key.as_str());
    let address = request.address.to_string();
    let (from, request_id) =
        (if request.is_local { "socket" } else { address.as_str() }, &request.request_id);
    if response.status().is_success() {
        tracing::info!(
            operation,
            subjects,
            principal,
            access_key,
            from,
            status,
            request_id,
            "administration: changed"
        );
    } else {
        warn_limited!("administration: refused"; operation, subjects, principal, access_key, from, status,
            request_id);
    }
}
