//! `GetObjectAttributes`.

use super::{Handled, version_of};
use crate::checksum::{element_name, text_of};
use crate::encryption;
use crate::error::S3Error;
use crate::gateway::{Context, Listed};
use crate::headers::values;
use crate::request::S3Request;
use crate::response::{set, xml};
use crate::xml::Xml;
use drystone_base::Timestamp;
use drystone_engine::{ObjectRow, PartPage, PartRow};

const ATTRIBUTES: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
const ROOT: &str = "GetObjectAttributesResponse";
/// What a part takes in the document at most, and the rest of it.
const PART_LEN_MAX: u64 = 256;
const HEAD_LEN_MAX: u64 = 2 << 10;

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let version = version_of(context)?;
    let wanted = wanted(request)?;
    let wants = |attribute: &str| wanted.iter().any(|name| name == attribute);
    let located = context.engine.locate(name.as_str(), key.as_bytes(), version)?;
    let row = &located.row;
    let place = (&*located.bucket, key.as_bytes());
    encryption::of_head(context, place, row, wants("Checksum")).await?;
    let listed = if wants("ObjectParts") { find_parts(context, row).await? } else { None };
    let mut document = listed.as_ref().map_or_else(|| Xml::new(ROOT), |parts| parts.document(ROOT));
    if wants("ETag") {
        document.text("ETag", &row.etag.to_text());
    }
    if let (true, Some(checksum)) = (wants("Checksum"), &row.checksum) {
        document.open("Checksum");
        document.text(element_name(checksum.algorithm), &text_of(checksum, row.etag.part_count));
        document.text("ChecksumType", checksum.kind.name()).close("Checksum");
    }
    if let Some(parts) = &listed {
        write_parts(context, row, &parts.page, &mut document)?;
    }
    if wants("StorageClass") {
        document.text("StorageClass", row.storage_class.as_deref().unwrap_or("STANDARD"));
    }
    if wants("ObjectSize") {
        document.int("ObjectSize", row.size);
    }
    let document = document.finish(ROOT);
    let mut reply = match listed {
        Some(parts) => parts.reply(document),
        None => xml(document),
    };
    set(&mut reply, "last-modified", &Timestamp(row.modified_ms).to_http());
    if let Some(version) = located.reported_version() {
        set(&mut reply, "x-amz-version-id", &version);
    }
    Ok(reply)
}

fn wanted(request: &S3Request) -> Result<Vec<String>, S3Error> {
    let text = request.header("x-amz-object-attributes").unwrap_or_default();
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let wanted: Vec<_> = names.map(str::to_owned).collect();
    let unknown = wanted.iter().find(|name| !ATTRIBUTES.contains(&name.as_str()));
    match (unknown, wanted.is_empty()) {
        (None, false) => Ok(wanted),
        (Some(name), _) => Err(S3Error::argument(
            "x-amz-object-attributes",
            name,
            "Invalid attribute name specified.",
        )),
        (None, true) => Err(S3Error::argument(
            "x-amz-object-attributes",
            "",
            "The x-amz-object-attributes header is required.",
        )),
    }
}

/// The page of parts that is asked for, with a share for the document; `None` if the object shows no parts.
async fn find_parts(
    context: &Context<'_>,
    row: &ObjectRow,
) -> Result<Option<Listed<PartPage>>, S3Error> {
    let Some(id) = row.visible_parts() else { return Ok(None) };
    let (limit, after) = asked(context)?;
    let walk = || context.engine.page_of_parts(id, after, limit as usize);
    let len_of = |page: &PartPage| page.parts.len() as u64 * PART_LEN_MAX + HEAD_LEN_MAX;
    context.list(limit, walk, len_of).await.map(Some)
}

/// How many parts are asked for, and behind which.
fn asked(context: &Context<'_>) -> Result<(u64, u64), S3Error> {
    let number = |name: &str| context.request.read(name, values::number);
    let limit = number("x-amz-max-parts")?.unwrap_or(1000).min(1000);
    let after = number("x-amz-part-number-marker")?.unwrap_or(0);
    Ok((limit, after))
}

fn write_parts(
    context: &Context<'_>,
    row: &ObjectRow,
    page: &PartPage,
    document: &mut Xml,
) -> Result<(), S3Error> {
    let (limit, after) = asked(context)?;
    let algorithm = row.checksum.as_ref().map(|checksum| checksum.algorithm);
    let has_checksums =
        |part: &PartRow| part.checksum.as_ref().map(|checksum| checksum.algorithm) == algorithm;
    document.open("ObjectParts").int("PartsCount", page.count);
    document.int("PartNumberMarker", after);
    if let Some(last) = page.parts.last() {
        document.int("NextPartNumberMarker", last.number.into());
    }
    document.int("MaxParts", limit).bool("IsTruncated", page.is_truncated);
    for part in page.parts.iter().filter(|part| has_checksums(part)) {
        document.open("Part").int("PartNumber", part.number.into()).int("Size", part.size);
        if let Some(checksum) = &part.checksum {
            document.text(element_name(checksum.algorithm), &text_of(checksum, None));
        }
        document.close("Part");
    }
    document.close("ObjectParts");
    Ok(())
}
