//! `GetObjectLockConfiguration`, `PutObjectLockConfiguration`, and retention and legal hold of versions.

use super::{Handled, read_root, version_of};
use crate::auth::Verified;
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::object_headers::bypasses_governance;
use crate::response::{empty, set, xml};
use crate::xml::{Element, Xml};
use drystone_base::Timestamp;
use drystone_engine::{
    BucketLock, EngineError, LockMode, LockPeriod, ObjectLock, ObjectRow, Retention,
};

const CONFIGURATION: &str = "ObjectLockConfiguration";
const RETENTION: &str = "Retention";
const LEGAL_HOLD: &str = "LegalHold";
/// Default periods at most (S3 API reference, DefaultRetention).
const DAYS_MAX: u32 = 36_500;
const YEARS_MAX: u32 = 100;

/// A mode as S3 writes it.
pub(crate) fn mode_text(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => "GOVERNANCE",
        LockMode::Compliance => "COMPLIANCE",
    }
}

/// Reads a mode.
pub(crate) fn parse_mode(text: &str) -> Option<LockMode> {
    match text {
        "GOVERNANCE" => Some(LockMode::Governance),
        "COMPLIANCE" => Some(LockMode::Compliance),
        _ => None,
    }
}

pub(crate) fn get_configuration(context: &Context<'_>) -> Handled {
    let name = context.request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let Some(lock) = bucket.lock else {
        let code = S3Code::ObjectLockConfigurationNotFoundError;
        return Err(S3Error::new(code).field("BucketName", name.as_str()));
    };
    let mut document = Xml::new(CONFIGURATION);
    document.text("ObjectLockEnabled", "Enabled");
    if let Some((mode, period)) = lock.default {
        document.open("Rule").open("DefaultRetention").text("Mode", mode_text(mode));
        match period {
            LockPeriod::Days(days) => document.text("Days", &days.to_string()),
            LockPeriod::Years(years) => document.text("Years", &years.to_string()),
        };
        document.close("DefaultRetention").close("Rule");
    }
    Ok(xml(document.finish(CONFIGURATION)))
}

pub(crate) async fn put_configuration(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let name = context.request.bucket_name()?;
    context.engine.find_bucket(name.as_str())?;
    let root = read_root(context, verified, body, CONFIGURATION).await?;
    if root.text_of("ObjectLockEnabled") != Some("Enabled") {
        return Err(S3Code::MalformedXML.into());
    }
    let default = root.child("Rule").map(default_of).transpose()?;
    let set = context.engine.set_lock(name.as_str(), BucketLock { default }).await;
    set.map_err(|error| match error {
        EngineError::BucketState => {
            let message = "Object Lock needs versions: enable versioning of the bucket first.";
            S3Error::with(S3Code::InvalidBucketState, message)
        }
        error => error.into(),
    })?;
    Ok(empty(200))
}

fn default_of(rule: &Element) -> Result<(LockMode, LockPeriod), S3Error> {
    let malformed = || S3Error::new(S3Code::MalformedXML);
    let retention = rule.child("DefaultRetention").ok_or_else(malformed)?;
    let mode = retention.text_of("Mode").and_then(parse_mode).ok_or_else(malformed)?;
    let count = |text: &str, most: u32| {
        let count: i64 = text.trim().parse().map_err(|_| malformed())?;
        match u32::try_from(count).ok().filter(|count| (1..=most).contains(count)) {
            Some(count) => Ok(count),
            None => Err(S3Error::new(S3Code::InvalidRetentionPeriod)),
        }
    };
    match (retention.text_of("Days"), retention.text_of("Years")) {
        (Some(days), None) => Ok((mode, LockPeriod::Days(count(days, DAYS_MAX)?))),
        (None, Some(years)) => Ok((mode, LockPeriod::Years(count(years, YEARS_MAX)?))),
        _ => Err(malformed()),
    }
}

/// The version that a request names, with its lock, in a bucket that locks.
fn locked(context: &Context<'_>) -> Result<(ObjectLock, Option<String>), S3Error> {
    let (name, key) = (context.request.bucket_name()?, context.request.object_key()?);
    let version = version_of(context)?;
    if context.engine.find_bucket(name.as_str())?.lock.is_none() {
        return Err(drystone_engine::EngineError::NoBucketLock.into());
    }
    let located = context.engine.locate(name.as_str(), key.as_bytes(), version)?;
    Ok((located.row.lock, located.reported_version()))
}

fn unset() -> S3Error {
    S3Code::NoSuchObjectLockConfiguration.into()
}

pub(crate) fn get_retention(context: &Context<'_>) -> Handled {
    let (lock, version) = locked(context)?;
    let retention = lock.retention.ok_or_else(unset)?;
    let mut document = Xml::new(RETENTION);
    document.text("Mode", mode_text(retention.mode));
    document.text("RetainUntilDate", &Timestamp(retention.until_ms).to_iso());
    Ok(answer(document.finish(RETENTION), version.as_deref()))
}

pub(crate) fn get_legal_hold(context: &Context<'_>) -> Handled {
    let (lock, version) = locked(context)?;
    let is_held = lock.legal_hold.ok_or_else(unset)?;
    let mut document = Xml::new(LEGAL_HOLD);
    document.text("Status", if is_held { "ON" } else { "OFF" });
    Ok(answer(document.finish(LEGAL_HOLD), version.as_deref()))
}

fn answer(document: String, version: Option<&str>) -> crate::response::Reply {
    let mut reply = xml(document);
    if let Some(version) = version {
        set(&mut reply, "x-amz-version-id", version);
    }
    reply
}

pub(crate) async fn put_retention(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let (name, key) = (context.request.bucket_name()?, context.request.object_key()?);
    let version = version_of(context)?;
    let root = read_root(context, verified, body, RETENTION).await?;
    let malformed = || S3Error::new(S3Code::MalformedXML);
    let mode = root.text_of("Mode").and_then(parse_mode).ok_or_else(malformed)?;
    let until = root.text_of("RetainUntilDate").and_then(Timestamp::parse_iso);
    let until_ms = until.ok_or_else(malformed)?.0;
    must_be_ahead("RetainUntilDate", until_ms, context.request.now_ms)?;
    let (object, retention) = (key.as_bytes().to_vec(), Retention { mode, until_ms });
    let bypasses = bypasses_governance(&context.request);
    let put =
        context.engine.put_retention(name.as_str(), object, version, Some(retention), bypasses);
    Ok(changed(&put.await?))
}

/// Refuses a retention that has ended.
pub(crate) fn must_be_ahead(name: &str, until_ms: u64, now_ms: u64) -> Result<(), S3Error> {
    if until_ms > now_ms {
        return Ok(());
    }
    let message = "The retain until date must be in the future!";
    Err(S3Error::argument(name, &Timestamp(until_ms).to_iso(), message))
}

pub(crate) async fn put_legal_hold(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let (name, key) = (context.request.bucket_name()?, context.request.object_key()?);
    let version = version_of(context)?;
    let root = read_root(context, verified, body, LEGAL_HOLD).await?;
    let is_held = match root.text_of("Status") {
        Some("ON") => true,
        Some("OFF") => false,
        _ => return Err(S3Code::MalformedXML.into()),
    };
    let object = key.as_bytes().to_vec();
    let row = context.engine.put_legal_hold(name.as_str(), object, version, is_held).await?;
    Ok(changed(&row))
}

fn changed(row: &ObjectRow) -> crate::response::Reply {
    let mut reply = empty(200);
    set(&mut reply, "x-amz-version-id", &row.version_text());
    reply
}
