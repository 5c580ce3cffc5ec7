//! S3 Control: settings of an account, on paths below `/v20180820/`.
//!
//! Source: S3 Control API reference, version 2018-08-20.

mod access_points;
mod tags;

use crate::auth::Verified;
use crate::authorize::{self, Need};
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::ops::read_root;
use crate::request::S3Request;
use crate::response::{Reply, empty, xml};
use crate::xml::{Element, Xml};
use drystone_identity::{Directory, IdentityError, PublicAccessBlock};

const PREFIX: &str = "/v20180820/";
const NAMESPACE: &str = "http://awss3control.amazonaws.com/doc/2018-08-20/";
const BLOCK: &str = "PublicAccessBlockConfiguration";

/// Whether a request is for S3 Control: no bucket can have the name of the path. Where the host names a
/// bucket the path is a key, unless the host is that of an account, as clients of S3 Control make it.
pub(crate) fn is_for(request: &S3Request) -> bool {
    let is_of_account = || {
        let named = request.header("x-amz-account-id");
        named.is_some() && named == request.bucket.as_deref()
    };
    let is_there = request.raw_path.starts_with(PREFIX) && !request.is_website;
    is_there && (request.path_names_bucket || is_of_account())
}

/// Whether it is about the scope of an access point, and signed for directory buckets, which have scopes too.
pub(crate) fn is_scope(request: &S3Request) -> bool {
    let authorization = request.header("authorization").unwrap_or_default();
    request.raw_path.ends_with("/scope") && authorization.contains("/s3express/aws4_request")
}

/// Root of the document of a request that sets or removes tags.
pub(crate) fn root_with_tags(request: &S3Request) -> Option<&'static str> {
    let path = request.raw_path.strip_prefix(PREFIX)?;
    match (request.method.as_str(), path.split_once('/')?) {
        ("POST" | "DELETE", ("tags", _)) => Some("TagResourceRequest"),
        ("PUT", ("accesspoint", name)) if !name.contains('/') => Some("CreateAccessPointRequest"),
        _ => None,
    }
}

fn failed(error: &IdentityError) -> S3Error {
    if error.is_full() {
        return S3Code::XMinioStorageFull.into();
    }
    if let Some(message) = error.takes_no_changes() {
        return S3Error::with(S3Code::ServiceUnavailable, message);
    }
    tracing::error!(%error, "the settings of an account failed");
    S3Code::InternalError.into()
}

/// The account that a request is about, which must be the caller's own.
fn account<'a>(context: &'a Context<'_>) -> Result<&'a str, S3Error> {
    let named = context.request.header("x-amz-account-id").ok_or_else(|| {
        S3Error::with(S3Code::InvalidRequest, "Missing required header: x-amz-account-id")
    })?;
    match context.sender.account() {
        Some(own) if own == named => Ok(named),
        _ => Err(S3Code::AccessDenied.into()),
    }
}

/// What a request is about.
fn path_of(request: &S3Request) -> &str {
    request.raw_path.strip_prefix(PREFIX).unwrap_or_default()
}

/// Whether a path is one of access points.
fn is_of_points(path: &str) -> bool {
    path == "accesspoint" || path.starts_with("accesspoint/")
}

/// Decides on a request.
///
/// # Errors
///
/// `AccessDenied`, and 501 for what is not there.
pub(crate) fn allow(context: &Context<'_>) -> Result<(), S3Error> {
    let account = account(context)?;
    let need = |action| Need::on(action, None);
    match (context.request.method.as_str(), path_of(&context.request)) {
        ("GET", "configuration/publicAccessBlock") => {
            authorize::allow(context, &need("s3:GetAccountPublicAccessBlock"))
        }
        ("PUT" | "DELETE", "configuration/publicAccessBlock") => {
            authorize::allow(context, &need("s3:PutAccountPublicAccessBlock"))
        }
        (_, path) if is_of_points(path) => access_points::allow(context, account),
        (_, path) if path.starts_with("tags/") => tags::allow(context, account),
        (_, path) => Err(S3Error::not_implemented(path)),
    }
}

pub(crate) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Result<Reply, S3Error> {
    let request = &context.request;
    let path = path_of(request);
    let account = account(context)?.to_owned();
    allow(context)?;
    context.is_decided();
    match (request.method.as_str(), path) {
        ("GET", "configuration/publicAccessBlock") => get_block(context, &account),
        ("PUT", "configuration/publicAccessBlock") => {
            put_block(context, verified, body, &account).await
        }
        ("DELETE", "configuration/publicAccessBlock") => {
            set_block(context, &account, None).await?;
            Ok(empty(204))
        }
        (_, path) if is_of_points(path) => {
            access_points::run(context, verified, body, &account).await
        }
        (_, path) if path.starts_with("tags/") => {
            tags::run(context, verified, body, &account).await
        }
        _ => Err(S3Error::not_implemented(path)),
    }
}

/// Begins a document of S3 Control.
fn document(root: &str) -> Xml {
    let mut document = Xml::bare();
    document.raw(&format!("<{root} xmlns=\"{NAMESPACE}\">"));
    document
}

fn write_block(document: &mut Xml, block: &PublicAccessBlock) {
    document.bool("BlockPublicAcls", block.block_public_acls);
    document.bool("IgnorePublicAcls", block.ignore_public_acls);
    document.bool("BlockPublicPolicy", block.block_public_policy);
    document.bool("RestrictPublicBuckets", block.restrict_public_buckets);
}

/// Reads the switches of a public access block; those that are not named are off.
fn read_block(root: &Element) -> Result<PublicAccessBlock, S3Error> {
    let known =
        ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
    for child in &root.children {
        let is_switch = matches!(child.text.as_str(), "true" | "false" | "TRUE" | "FALSE");
        if !known.contains(&child.name.as_str()) || !is_switch {
            return Err(S3Code::MalformedXML.into());
        }
    }
    let is_on = |name| root.text_of(name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    Ok(PublicAccessBlock {
        block_public_acls: is_on("BlockPublicAcls"),
        ignore_public_acls: is_on("IgnorePublicAcls"),
        block_public_policy: is_on("BlockPublicPolicy"),
        restrict_public_buckets: is_on("RestrictPublicBuckets"),
    })
}

fn get_block(context: &Context<'_>, account: &str) -> Result<Reply, S3Error> {
    let block = context.directory.account_block(account).map_err(|error| failed(&error))?;
    let block = block.ok_or(S3Code::NoSuchPublicAccessBlockConfiguration)?;
    let mut document = document(BLOCK);
    write_block(&mut document, &block);
    Ok(xml(document.finish(BLOCK)))
}

async fn put_block(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
    account: &str,
) -> Result<Reply, S3Error> {
    let block = read_block(&read_root(context, verified, body, BLOCK).await?)?;
    set_block(context, account, Some(block)).await?;
    Ok(empty(200))
}

async fn set_block(
    context: &Context<'_>,
    account: &str,
    block: Option<PublicAccessBlock>,
) -> Result<(), S3Error> {
    let set =
        |directory: Directory| async move { directory.set_account_block(account, block).await };
    authorize::change_directory(context, failed, set).await
}
