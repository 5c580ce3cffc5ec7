//! `GetObject` and `HeadObject`.

use super::restore_object::must_be_readable;
use super::{Handled, version_of};
use crate::authorize::{Need, may_as_asked};
use crate::encryption::{self, Side};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::object_headers::{ReadVerdict, decide_read, describe, tell_checksum};
use crate::request::{S3Request, parse_range};
use crate::response::{Reply, ResponseBody, Subject, empty, set};
use drystone_base::{Timestamp, parse_http_date};
use drystone_engine::{Checksum, ChecksumKind, EngineError, Located, ObjectRow};
use std::ops::Range;

/// What of an object is sent.
struct Selection {
    range: Range<u64>,
    is_partial: bool,
    /// Parts of the object, if a part number was given or it has several.
    part_count: Option<u16>,
    /// Checksum of exactly these bytes, and how that of the whole object was made.
    checksum: Option<(Checksum, ChecksumKind)>,
}

/// The checksum of a whole object.
fn of_whole(row: &ObjectRow) -> Option<(Checksum, ChecksumKind)> {
    row.checksum.clone().map(|checksum| (checksum.clone(), checksum.kind))
}

/// How often a version that goes while it is opened is looked for again.
const ATTEMPT_COUNT: usize = 5;

pub(crate) async fn run(context: &Context<'_>, with_body: bool) -> Handled {
    for _ in 0..ATTEMPT_COUNT {
        // Small objects that are overwritten all the time: another version is there now.
        if let Some(mut reply) = attempt(context, with_body).await? {
            withhold(context, &mut reply);
            return Ok(reply);
        }
    }
    Err(EngineError::Vanished.into())
}

/// Takes out what only those are told who have a right of its own (S3 API reference, "GetObject", response
/// elements): how many tags there are, and what locks the version. Most objects have neither.
fn withhold(context: &Context<'_>, reply: &mut Reply) {
    const TOLD: [(&str, &str, &str); 4] = [
        ("x-amz-tagging-count", "s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
        ("x-amz-object-lock-mode", "s3:GetObjectRetention", "s3:GetObjectRetention"),
        ("x-amz-object-lock-retain-until-date", "s3:GetObjectRetention", "s3:GetObjectRetention"),
        ("x-amz-object-lock-legal-hold", "s3:GetObjectLegalHold", "s3:GetObjectLegalHold"),
    ];
    let request = &context.request;
    for (header, plain, of_version) in TOLD {
        if !reply.headers().contains_key(header) {
            continue;
        }
        let version = request.query("versionId").map(str::to_owned);
        let need = Need {
            action: if version.is_some() { of_version } else { plain },
            bucket: request.bucket.clone(),
            key: request.key.clone(),
            version,
            point: request.point.clone(),
        };
        if !may_as_asked(context, &need) {
            reply.headers_mut().remove(header);
        }
    }
}

/// `None` if the version went while it was opened.
async fn attempt(context: &Context<'_>, with_body: bool) -> Result<Option<Reply>, S3Error> {
    let request = &context.request;
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let version = version_of(context)?;
    let located = context.engine.locate(name.as_str(), key.as_bytes(), version)?;
    let row = &located.row;
    match decide_read(request, "", &row.etag, row.modified_ms) {
        ReadVerdict::Send => {}
        ReadVerdict::NotModified => return Ok(Some(not_modified(&located))),
        ReadVerdict::Failed(condition) => {
            return Err(S3Error::new(S3Code::PreconditionFailed).field("Condition", condition));
        }
    }
    let wants_checksum =
        request.header("x-amz-checksum-mode").is_some_and(|v| v.eq_ignore_ascii_case("enabled"));
    let place = (&*located.bucket, key.as_bytes());
    let mut data_key = None;
    if with_body {
        must_be_readable(row, request.now_ms)?;
        data_key = encryption::of_read(context, place, row, Side::Object).await?;
    } else {
        encryption::of_head(context, place, row, wants_checksum).await?;
    }
    let selection = select(context, row).await?;
    let mut reply = empty(if selection.is_partial { 206 } else { 200 });
    describe(&mut reply, request, row)?;
    if let Some(version) = located.reported_version() {
        set(&mut reply, "x-amz-version-id", &version);
    }
    if let Some(count) = selection.part_count {
        set(&mut reply, "x-amz-mp-parts-count", &count.to_string());
    }
    encryption::tell(&mut reply, context, row.encryption.as_ref());
    if let (true, Some((checksum, kind))) = (wants_checksum, &selection.checksum) {
        tell_checksum(&mut reply, checksum, row.etag.part_count);
        set(&mut reply, "x-amz-checksum-type", kind.name());
    }
    let Range { start, end } = selection.range;
    if selection.is_partial {
        let text = format!("bytes {start}-{}/{}", end.saturating_sub(1), row.size);
        set(&mut reply, "content-range", &text);
    }
    set(&mut reply, "content-length", &(end - start).to_string());
    if with_body && start < end {
        let subject = (end - start > SMALL_LEN).then(|| subject_of(context, &located));
        let reader = match context.engine.read(located, start..end, data_key.as_ref()).await {
            Err(EngineError::Vanished) => return Ok(None),
            reader => reader?,
        };
        // A small object is read before the status is sent, so that damage is an error and not a
        // broken connection.
        *reply.body_mut() = match subject {
            None => ResponseBody::Counted(Some(reader.read_whole((end - start) as usize).await?)),
            Some(subject) => ResponseBody::object(reader, end - start, subject),
        };
    }
    Ok(Some(reply))
}

fn subject_of(context: &Context<'_>, located: &Located) -> Subject {
    Subject {
        request_id: context.ids.request_id.clone(),
        bucket: located.bucket.name.clone(),
        key: context.request.key.clone().unwrap_or_default(),
        version: located.row.version_text(),
    }
}

/// Ranges that are read before the status is sent.
const SMALL_LEN: u64 = 64 << 10;

fn not_modified(located: &Located) -> Reply {
    let mut reply = empty(304);
    let row = &located.row;
    set(&mut reply, "etag", &format!("\"{}\"", row.etag.to_text()));
    set(&mut reply, "last-modified", &Timestamp(row.modified_ms).to_http());
    for (name, value) in &row.headers {
        if matches!(name.as_str(), "cache-control" | "expires") {
            set(&mut reply, name, value);
        }
    }
    if let Some(version) = located.reported_version() {
        set(&mut reply, "x-amz-version-id", &version);
    }
    reply
}

async fn select(context: &Context<'_>, row: &ObjectRow) -> Result<Selection, S3Error> {
    let request = &context.request;
    let range = request.header("range");
    if let Some(number) = request.query("partNumber") {
        if range.is_some() {
            let message = "Cannot specify both Range header and partNumber query parameter";
            return Err(S3Error::with(S3Code::InvalidRequest, message));
        }
        return select_part(context, row, number).await;
    }
    let whole = Selection {
        range: 0..row.size,
        is_partial: false,
        part_count: None,
        checksum: of_whole(row),
    };
    let Some(text) = range.filter(|_| if_range_holds(request, row)) else { return Ok(whole) };
    Ok(match parse_range(text, row.size)? {
        Some(range) => Selection { range, is_partial: true, checksum: None, ..whole },
        None => whole,
    })
}

fn if_range_holds(request: &S3Request, row: &ObjectRow) -> bool {
    let Some(text) = request.header("if-range") else { return true };
    match parse_http_date(text) {
        Some(time) => Timestamp(row.modified_ms).whole_seconds() <= time,
        None => crate::headers::values::unquote(text) == row.etag.to_text(),
    }
}

async fn select_part(
    context: &Context<'_>,
    row: &ObjectRow,
    number: &str,
) -> Result<Selection, S3Error> {
    let wanted: u32 =
        number.parse().ok().filter(|n| (1..=10_000).contains(n)).ok_or_else(|| {
            let message = "Part number must be an integer between 1 and 10000, inclusive";
            S3Error::argument("partNumber", number, message)
        })?;
    let no_part = || {
        S3Error::new(S3Code::InvalidPartNumber)
            .field("PartNumberRequested", wanted.to_string())
            .field("ActualPartCount", row.etag.part_count.unwrap_or(1).to_string())
    };
    let Some(id) = row.visible_parts() else {
        if wanted != 1 {
            return Err(no_part());
        }
        let checksum = of_whole(row);
        let is_partial = row.size > 0;
        return Ok(Selection { range: 0..row.size, is_partial, part_count: None, checksum });
    };
    let found = context.engine.find_part(id, wanted).await?;
    let (start, part) = found.ok_or_else(no_part)?;
    let (range, part_count) = (start..start + part.size, row.etag.part_count);
    let kind = row.checksum.as_ref().map(|checksum| checksum.kind);
    let checksum = part.checksum.zip(kind);
    Ok(Selection { range, is_partial: true, part_count, checksum })
}
