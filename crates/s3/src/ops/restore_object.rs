//! `RestoreObject`, and what is said of archived objects.

use super::{Handled, read_root, version_of};
use crate::auth::Verified;
use crate::body::Body;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::response::empty;
use crate::xml::{Element, Xml};
use drystone_base::Timestamp;
use drystone_engine::plan::{RestoreOutcome, is_archive_class, is_readable};
use drystone_engine::{ObjectRow, Restore, RestoreState};
use std::time::Duration;

const ROOT: &str = "RestoreRequest";
const DAYS_MAX: u32 = 36_500;

/// How long a restore takes, by tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreDelays {
    /// `Expedited`.
    pub expedited: Duration,
    /// `Standard`.
    pub standard: Duration,
    /// `Bulk`.
    pub bulk: Duration,
}

pub(crate) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let (name, key) = (context.request.bucket_name()?, context.request.object_key()?);
    let version = version_of(context)?;
    let located = context.engine.locate(name.as_str(), key.as_bytes(), version)?;
    let class = located.row.storage_class.clone();
    drop(located);
    let root = read_root(context, verified, body, ROOT).await?;
    for name in ["Type", "SelectParameters", "OutputLocation"] {
        if root.child(name).is_some() {
            return Err(S3Error::not_implemented(name));
        }
    }
    if !is_archive_class(class.as_deref()) {
        let message = "Restore is not allowed for the object's current storage class";
        return Err(S3Error::with(S3Code::InvalidObjectState, message));
    }
    let days = days(&root)?;
    let delay = delay(context, &root, class.as_deref())?;
    let object = key.as_bytes().to_vec();
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let restored = context.engine.restore(name.as_str(), object, version, days, delay_ms);
    Ok(empty(match restored.await? {
        RestoreOutcome::Started => 202,
        RestoreOutcome::Prolonged => 200,
    }))
}

fn days(root: &Element) -> Result<u32, S3Error> {
    let text = root.text_of("Days").ok_or(S3Error::new(S3Code::MalformedXML))?;
    let days: i64 = text.trim().parse().map_err(|_| S3Error::new(S3Code::MalformedXML))?;
    let days = u32::try_from(days).ok().filter(|days| (1..=DAYS_MAX).contains(days));
    days.ok_or_else(|| S3Error::argument("Days", text, "restoration days should be at least 1"))
}

fn delay(context: &Context<'_>, root: &Element, class: Option<&str>) -> Result<Duration, S3Error> {
    let parameters = root.child("GlacierJobParameters");
    let tier = parameters.and_then(|parameters| parameters.text_of("Tier"));
    let delays = &context.config.restore_delays;
    match tier.or_else(|| root.text_of("Tier")).unwrap_or("Standard") {
        "Expedited" if class == Some("DEEP_ARCHIVE") => {
            let message = "Retrieval option is not supported by this storage class";
            Err(S3Error::argument("Tier", "Expedited", message))
        }
        "Expedited" => Ok(delays.expedited),
        "Standard" => Ok(delays.standard),
        "Bulk" => Ok(delays.bulk),
        _ => Err(S3Code::MalformedXML.into()),
    }
}

/// Refuses to read what is archived and not restored.
pub(crate) fn must_be_readable(row: &ObjectRow, now_ms: u64) -> Result<(), S3Error> {
    if is_readable(row, now_ms) {
        return Ok(());
    }
    let class = row.storage_class.clone().unwrap_or_default();
    Err(S3Error::new(S3Code::InvalidObjectState).field("StorageClass", class))
}

/// The value of `x-amz-restore`; `None` if there is no copy.
pub(crate) fn restore_text(row: &ObjectRow, now_ms: u64) -> Option<String> {
    match (Restore::state(row.restore, now_ms), row.restore) {
        (RestoreState::Ongoing, _) => Some("ongoing-request=\"true\"".to_owned()),
        (RestoreState::Ready, Some(restore)) => {
            let expires = Timestamp(restore.expires_ms).to_http();
            Some(format!("ongoing-request=\"false\", expiry-date=\"{expires}\""))
        }
        _ => None,
    }
}

/// What a listing says, where it is asked for.
pub(crate) fn write_status(document: &mut Xml, row: &ObjectRow, now_ms: u64) {
    let state = Restore::state(row.restore, now_ms);
    if state == RestoreState::None {
        return;
    }
    document.open("RestoreStatus").bool("IsRestoreInProgress", state == RestoreState::Ongoing);
    if let (RestoreState::Ready, Some(restore)) = (state, row.restore) {
        document.text("RestoreExpiryDate", &Timestamp(restore.expires_ms).to_iso());
    }
    document.close("RestoreStatus");
}
