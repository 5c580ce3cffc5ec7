//! `UploadPartCopy`.

use super::Handled;
use super::copy_object::{EARLY_STATUS_LEN, late_error};
use super::copy_source::find;
use super::upload_part::{part_algorithm, part_of};
use crate::authorize::with_decisions;
use crate::checksum::{element_name, text_of};
use crate::encryption;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::response::{ResponseBody, set, xml};
use crate::xml::Xml;
use drystone_base::Timestamp;
use drystone_base::limits::PUT_LEN_BYTES_MAX;
use drystone_engine::{CopyPart, PartRow};
use std::ops::Range;
use std::pin::pin;

const ROOT: &str = "CopyPartResult";

/// Reads `x-amz-copy-source-range`, which is never clipped.
fn parse_copy_range(text: &str, size: u64) -> Result<Range<u64>, S3Error> {
    let bad = || {
        let message = "The x-amz-copy-source-range value must be of the form bytes=first-last \
                       where first and last are the zero-based offsets of the first and last bytes \
                       to copy";
        S3Error::argument("x-amz-copy-source-range", text, message)
    };
    let (first, last) =
        text.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')).ok_or_else(bad)?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (first, last) = (number(first).ok_or_else(bad)?, number(last).ok_or_else(bad)?);
    if last < first {
        return Err(bad());
    }
    if last >= size {
        let message = format!("Range specified is not valid for source object of size: {size}");
        return Err(S3Error::with(S3Code::InvalidRange, message));
    }
    Ok(first..last + 1)
}

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let (upload, number) = part_of(context)?;
    let (target, row) = context.engine.find_upload(name.as_str(), key.as_bytes(), upload)?;
    let source = find(context).await?;
    let size = source.located.row.size;
    let range = match request.header("x-amz-copy-source-range") {
        Some(text) => parse_copy_range(text, size)?,
        None => 0..size,
    };
    if range.end - range.start > PUT_LEN_BYTES_MAX {
        let message = "The specified copy source is larger than the maximum allowable size for a \
                       copy source: 5368709120";
        return Err(S3Error::with(S3Code::InvalidRequest, message));
    }
    let algorithm = part_algorithm(&row, None)?;
    let seal = encryption::of_part(context, (&target, key.as_bytes()), &row.template).await?;
    let source_version = source.located.reported_version();
    let is_long = range.end - range.start > EARLY_STATUS_LEN;
    let (engine, located) = (context.engine.clone(), source.located);
    let shows_checksum = row.checksum.is_some();
    let copy = CopyPart {
        bucket: name.as_str().to_owned(),
        object: key.as_bytes().to_vec(),
        upload,
        number,
        range,
        algorithm,
        source_key: source.data_key,
        seal,
    };
    let work = async move {
        let part = engine.copy_part(located, copy).await?;
        Ok::<_, S3Error>(document(&part, shows_checksum))
    };
    let mut reply = xml(String::new());
    if is_long {
        let (resource, ids) = (request.raw_path.clone(), context.ids.clone());
        let kept = context.keep();
        *reply.body_mut() = ResponseBody::pending(async move {
            let done = with_decisions(&kept.context(), pin!(work)).await;
            done.unwrap_or_else(|error| late_error(&error, &resource, &ids))
        });
    } else {
        reply = xml(work.await?);
    }
    encryption::tell(&mut reply, context, row.template.encryption.as_ref());
    if let Some(version) = &source_version {
        set(&mut reply, "x-amz-copy-source-version-id", version);
    }
    Ok(reply)
}

fn document(part: &PartRow, shows_checksum: bool) -> String {
    let mut document = Xml::new(ROOT);
    document.text("LastModified", &Timestamp(part.modified_ms).to_iso());
    document.text("ETag", &format!("\"{}\"", drystone_base::hex(&part.md5)));
    if let (Some(checksum), true) = (&part.checksum, shows_checksum) {
        document.text(element_name(checksum.algorithm), &text_of(checksum, None));
    }
    document.finish(ROOT)
}
