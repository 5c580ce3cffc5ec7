//! `CreateAccessPoint` and its kin (S3 Control API reference, version 2018-08-20).

use super::{document, failed, read_block, write_block};
use crate::auth::Verified;
use crate::authorize::{Also, account_of, allow_point, change_directory, check_also, decide_also};
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::object_headers::check_tags;
use crate::ops::{HEARD_LEN_MAX, read_document, read_root};
use crate::request::S3Request;
use crate::resource_policy::resolve;
use crate::response::{Reply, empty, xml};
use crate::rules::{is_blocked, is_blocked_by_account};
use crate::uri::decode_path;
use crate::xml::{Element, Xml, parse};
use drystone_base::limits::BUCKET_TAG_COUNT_MAX;
use drystone_base::{BucketName, Timestamp};
use drystone_iam::DocumentKind;
use drystone_identity::{AccessPoint, AccessPointScope, Directory, IdentityError, PageAsked};

/// Bytes of a policy at most.
const POLICY_LEN_MAX: usize = 20_480;
/// Bytes that the prefixes of a scope stay below, all together (S3 Control API reference, `Scope`).
const PREFIXES_LEN_MAX: usize = 256;
/// Access points on one page.
const PAGE_COUNT_MAX: usize = 1000;
/// Bytes that an access point takes in a list, and before that as it is read, besides its policy: with names
/// and tags as long as they may be it has more, which the page of 1 MiB bounds.
const ENTRY_LEN: u64 = 2 << 10;
/// Access points that most accounts have no more of.
const USUAL_COUNT: usize = 32;
/// What a scope can permit (S3 API reference, `Scope`).
const PERMISSIONS: &[&str] = &[
    "GetObject",
    "GetObjectAttributes",
    "ListMultipartUploadParts",
    "ListBucket",
    "ListBucketMultipartUploads",
    "PutObject",
    "DeleteObject",
    "AbortMultipartUpload",
];

/// Name of an access point, and what of it a request is about; both empty for all of them.
fn named(request: &S3Request) -> Result<(String, &str), S3Error> {
    let rest = super::path_of(request).strip_prefix("accesspoint").unwrap_or_default();
    let rest = rest.trim_start_matches('/');
    let (name, resource) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((decode_path(name).ok_or(S3Code::InvalidURI)?, resource))
}

/// Decides on a request.
pub(super) fn allow(context: &Context<'_>, account: &str) -> Result<(), S3Error> {
    let request = &context.request;
    let (name, resource) = named(request)?;
    let action = match (request.method.as_str(), name.as_str(), resource) {
        ("GET", "", "") => return allow_point(context, "s3:ListAccessPoints", account, "*"),
        ("PUT", _, "") => "s3:CreateAccessPoint",
        ("GET", _, "") => "s3:GetAccessPoint",
        ("DELETE", _, "") => "s3:DeleteAccessPoint",
        ("GET", _, "policy") => "s3:GetAccessPointPolicy",
        ("PUT", _, "policy") => "s3:PutAccessPointPolicy",
        ("DELETE", _, "policy") => "s3:DeleteAccessPointPolicy",
        ("GET", _, "policyStatus") => "s3:GetAccessPointPolicyStatus",
        ("GET", _, "scope") => "s3:GetAccessPointScope",
        ("PUT", _, "scope") => "s3:PutAccessPointScope",
        ("DELETE", _, "scope") => "s3:DeleteAccessPointScope",
        _ => return Err(S3Error::not_implemented(super::path_of(request))),
    };
    allow_point(context, action, account, &name)
}

/// Carries out what was decided on.
pub(super) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
    account: &str,
) -> Result<Reply, S3Error> {
    let request = &context.request;
    let (name, resource) = named(request)?;
    match (request.method.as_str(), name.as_str(), resource) {
        ("GET", "", "") => list(context, account).await,
        ("PUT", name, "") => {
            let document = read_document(context, verified, body, HEARD_LEN_MAX).await?;
            let root = parse(&document, "CreateAccessPointRequest")?;
            let also = |action| {
                let (account, name) = (account.to_owned(), name.to_owned());
                Also::Point { action, account, name }
            };
            if root.child("Tags").is_some_and(|tags| !tags.children.is_empty()) {
                decide_also(context, also("s3:TagResource"))?;
            }
            if root.child("PublicAccessBlockConfiguration").is_some() {
                decide_also(context, also("s3:PutAccessPointPublicAccessBlock"))?;
            }
            create(context, account, name, &root).await
        }
        ("GET", name, "") => get(context, account, name),
        ("DELETE", name, "") => {
            let delete = |directory: Directory| async move {
                directory.delete_access_point(account, name).await
            };
            change_directory(context, |error| of_point(error, name), delete).await?;
            Ok(empty(204))
        }
        ("GET", name, "policy") => get_policy(context, account, name),
        ("PUT", name, "policy") => {
            let root = read_root(context, verified, body, "PutAccessPointPolicyRequest").await?;
            put_policy(context, account, name, &root).await
        }
        ("DELETE", name, "policy") => {
            set(context, account, name, |point| point.policy = None).await?;
            Ok(empty(204))
        }
        ("GET", name, "policyStatus") => policy_status(context, account, name),
        ("GET", name, "scope") => get_scope(context, account, name),
        ("PUT", name, "scope") => {
            let root = read_root(context, verified, body, "PutAccessPointScopeRequest").await?;
            let scope = root.child("Scope").map(read_scope).transpose()?;
            set(context, account, name, |point| point.scope = scope).await?;
            Ok(empty(200))
        }
        ("DELETE", name, "scope") => {
            set(context, account, name, |point| point.scope = None).await?;
            Ok(empty(204))
        }
        _ => Err(S3Error::not_implemented(super::path_of(request))),
    }
}

/// What a failure means for an access point.
pub(super) fn of_point(error: &IdentityError, name: &str) -> S3Error {
    match error {
        IdentityError::NotFound { .. } => {
            S3Error::new(S3Code::NoSuchAccessPoint).field("AccessPointName", name)
        }
        IdentityError::Exists { .. } => S3Code::AccessPointAlreadyOwnedByYou.into(),
        IdentityError::Limit(message) => S3Error::with(S3Code::InvalidRequest, message.clone()),
        error => failed(error),
    }
}

pub(super) fn find(
    context: &Context<'_>,
    account: &str,
    name: &str,
) -> Result<AccessPoint, S3Error> {
    let found = context.directory.access_point(account, name).map_err(|error| failed(&error))?;
    let missing = || S3Error::new(S3Code::NoSuchAccessPoint).field("AccessPointName", name);
    found.ok_or_else(missing)
}

/// Changes an access point as it is when the plan runs.
pub(super) async fn change(
    context: &Context<'_>,
    account: &str,
    name: &str,
    change: impl FnOnce(&mut AccessPoint) -> Result<(), S3Error> + Clone + Send + Sync + 'static,
) -> Result<(), S3Error> {
    let change = |directory: Directory| {
        let change = change.clone();
        async move { directory.change_access_point(account, name, change).await }
    };
    change_directory(context, |error| of_point(error, name), change).await?
}

async fn set(
    context: &Context<'_>,
    account: &str,
    name: &str,
    set: impl FnOnce(&mut AccessPoint) + Clone + Send + Sync + 'static,
) -> Result<(), S3Error> {
    let change_all = |point: &mut AccessPoint| {
        set(point);
        Ok(())
    };
    change(context, account, name, change_all).await
}

fn invalid(message: &str) -> S3Error {
    S3Error::with(S3Code::InvalidRequest, message)
}

fn check_name(name: &str) -> Result<(), S3Error> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (3..=50).contains(&name.len())
        && name.chars().all(|c| inner(c) || c == '-')
        && name.starts_with(inner)
        && name.ends_with(inner)
        && !name.ends_with("-s3alias");
    let message = "The name of an access point has 3 to 50 lower-case letters, digits and hyphens, \
                   and begins and ends with a letter or digit.";
    if fits { Ok(()) } else { Err(invalid(message)) }
}

async fn create(
    context: &Context<'_>,
    account: &str,
    name: &str,
    root: &Element,
) -> Result<Reply, S3Error> {
    check_name(name)?;
    if root.child("VpcConfiguration").is_some() {
        return Err(S3Error::not_implemented("VpcConfiguration"));
    }
    let bucket = BucketName::lookup(root.text_of("Bucket").unwrap_or_default())?;
    let found = context.engine.find_bucket(bucket.as_str())?;
    let owner = root.text_of("BucketAccountId").unwrap_or(account);
    if account_of(&found) != owner {
        return Err(S3Code::AccessDenied.into());
    }
    // Their hosts would be the same.
    let label = format!("{name}-{account}");
    check_also(context, move |context| match context.engine.find_bucket(&label) {
        Ok(_) => Err(invalid("There is a bucket that the host of the access point would name.")),
        Err(_) => Ok(()),
    })?;
    let mut point = AccessPoint::new(account, name, bucket.as_str(), owner);
    point.bucket_id = Some(found.id.0);
    if let Some(block) = root.child("PublicAccessBlockConfiguration") {
        point.block = read_block(block)?;
    }
    point.scope = root.child("Scope").map(read_scope).transpose()?;
    let tags = root.child("Tags").into_iter().flat_map(|tags| tags.children_named("Tag"));
    let text = |tag: &Element, name| tag.text_of(name).unwrap_or_default().to_owned();
    let tags = tags.map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect();
    point.tags = check_tags(tags, BUCKET_TAG_COUNT_MAX)?.into_iter().collect();
    let make = |directory: Directory| {
        let point = point.clone();
        async move { directory.create_access_point(point).await }
    };
    let made = change_directory(context, |error| of_point(error, name), make).await?;
    let mut answer = document("CreateAccessPointResult");
    answer.text("AccessPointArn", &made.arn(&context.config.region)).text("Alias", &made.alias);
    Ok(xml(answer.finish("CreateAccessPointResult")))
}

fn describe(answer: &mut Xml, context: &Context<'_>, point: &AccessPoint) {
    answer.text("Name", &point.name).text("NetworkOrigin", "Internet");
    answer.text("Bucket", &point.bucket);
    answer.text("AccessPointArn", &point.arn(&context.config.region)).text("Alias", &point.alias);
    answer.text("BucketAccountId", &point.bucket_account);
}

fn get(context: &Context<'_>, account: &str, name: &str) -> Result<Reply, S3Error> {
    const ROOT: &str = "GetAccessPointResult";
    let point = find(context, account, name)?;
    let mut answer = document(ROOT);
    describe(&mut answer, context, &point);
    answer.open("PublicAccessBlockConfiguration");
    write_block(&mut answer, &point.block);
    answer.close("PublicAccessBlockConfiguration");
    answer.text("CreationDate", &Timestamp(point.created_ms).to_iso());
    Ok(xml(answer.finish(ROOT)))
}

async fn list(context: &Context<'_>, account: &str) -> Result<Reply, S3Error> {
    const ROOT: &str = "ListAccessPointsResult";
    let request = &context.request;
    let limit = request.query("maxResults").and_then(|text| text.parse().ok());
    let limit = limit.unwrap_or(PAGE_COUNT_MAX).clamp(1, PAGE_COUNT_MAX);
    let after = request.query("nextToken").unwrap_or_default();
    let bucket = request.query("bucket");
    let of_bucket = |point: &AccessPoint| bucket.is_none_or(|bucket| point.bucket == bucket);
    let asked = PageAsked { after, len: limit };
    let walk = || {
        let page = context.directory.access_points_page(account, asked, of_bucket);
        page.map_err(|error| failed(&error))
    };
    let len_of = |point: &AccessPoint| match &point.policy {
        Some(_) => ENTRY_LEN + POLICY_LEN_MAX as u64,
        None => ENTRY_LEN,
    };
    let usual = limit.min(USUAL_COUNT) as u64;
    let listed = context.list(usual, walk, |page| page.entities.iter().map(len_of).sum()).await?;
    let page = &listed.page;
    let mut answer = document(ROOT);
    answer.open("AccessPointList");
    for point in &page.entities {
        answer.open("AccessPoint");
        describe(&mut answer, context, point);
        answer.close("AccessPoint");
    }
    answer.close("AccessPointList");
    if let Some(next) = &page.next {
        answer.text("NextToken", next);
    }
    Ok(listed.reply(answer.finish(ROOT)))
}

fn get_policy(context: &Context<'_>, account: &str, name: &str) -> Result<Reply, S3Error> {
    const ROOT: &str = "GetAccessPointPolicyResult";
    let policy = find(context, account, name)?.policy.ok_or(S3Code::NoSuchAccessPointPolicy)?;
    let mut answer = document(ROOT);
    answer.text("Policy", &context.directory.shown_policy(&policy));
    Ok(xml(answer.finish(ROOT)))
}

async fn put_policy(
    context: &Context<'_>,
    account: &str,
    name: &str,
    root: &Element,
) -> Result<Reply, S3Error> {
    let point = find(context, account, name)?;
    let text = root.text_of("Policy").unwrap_or_default().to_owned();
    let malformed = |message: &str| S3Error::with(S3Code::MalformedPolicy, message);
    if text.len() > POLICY_LEN_MAX {
        return Err(malformed("Policy exceeds the maximum allowed document size of 20480 bytes."));
    }
    let arn = point.arn(&context.config.region);
    let (stored, policy) = resolve(context, &text, DocumentKind::AccessPoint(&arn))?;
    if policy.is_public() {
        let (account, name) = (account.to_owned(), name.to_owned());
        check_also(context, move |context| {
            refuse_public(context, &account, &find(context, &account, &name)?)
        })?;
    }
    let put = move |point: &mut AccessPoint| {
        point.policy = Some(stored);
        Ok(())
    };
    change(context, account, name, put).await?;
    Ok(empty(200))
}

/// Refuses a public policy where these are blocked.
fn refuse_public(context: &Context<'_>, account: &str, point: &AccessPoint) -> Result<(), S3Error> {
    const SWITCH: &str = "BlockPublicPolicy";
    let Context { engine, directory, .. } = *context;
    let is_refused = point.block.block_public_policy
        || is_blocked_by_account(directory, account, SWITCH)?
        || is_blocked(engine, directory, &*engine.find_bucket(&point.bucket)?, SWITCH)?;
    if !is_refused {
        return Ok(());
    }
    let message = "The policy is public, and the public access block of the access point, of its \
                   bucket or of an account refuses public policies.";
    Err(S3Error::with(S3Code::AccessDenied, message))
}

fn policy_status(context: &Context<'_>, account: &str, name: &str) -> Result<Reply, S3Error> {
    const ROOT: &str = "GetAccessPointPolicyStatusResult";
    let point = find(context, account, name)?;
    let stored = point.policy.as_ref().ok_or(S3Code::NoSuchAccessPointPolicy)?;
    let arn = point.arn(&context.config.region);
    let policy = stored.document(DocumentKind::AccessPoint(&arn));
    let mut answer = document(ROOT);
    answer.open("PolicyStatus");
    // What cannot be read is not said to be private.
    answer.bool("IsPublic", policy.map_or(true, |policy| policy.is_public()));
    answer.close("PolicyStatus");
    Ok(xml(answer.finish(ROOT)))
}

fn read_scope(element: &Element) -> Result<AccessPointScope, S3Error> {
    let texts = |list: &str, item: &'static str| -> Vec<String> {
        let list = element.child(list);
        let items = list.iter().flat_map(|list| list.children_named(item));
        items.map(|item| item.text.clone()).collect()
    };
    let permissions = texts("Permissions", "Permission");
    let is_known = |name: &String| PERMISSIONS.contains(&name.as_str());
    if permissions.len() > PERMISSIONS.len() || !permissions.iter().all(is_known) {
        return Err(S3Code::MalformedXML.into());
    }
    let prefixes = texts("Prefixes", "Prefix");
    // An empty prefix counts too.
    let len: usize = prefixes.iter().map(|prefix| prefix.len().max(1)).sum();
    if len >= PREFIXES_LEN_MAX {
        return Err(invalid("The prefixes of a scope have less than 256 bytes in all."));
    }
    Ok(AccessPointScope { prefixes, permissions })
}

fn get_scope(context: &Context<'_>, account: &str, name: &str) -> Result<Reply, S3Error> {
    const ROOT: &str = "GetAccessPointScopeResult";
    let scope = find(context, account, name)?.scope.unwrap_or_default();
    let mut answer = document(ROOT);
    answer.open("Scope").open("Prefixes");
    for prefix in &scope.prefixes {
        answer.text("Prefix", prefix);
    }
    answer.close("Prefixes").open("Permissions");
    for name in &scope.permissions {
        answer.text("Permission", name);
    }
    answer.close("Permissions").close("Scope");
    Ok(xml(answer.finish(ROOT)))
}
