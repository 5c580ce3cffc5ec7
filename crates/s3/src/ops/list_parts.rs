//! `ListParts`.

use super::Handled;
use super::upload_part::upload_of;
use crate::authorize::account_of;
use crate::checksum::{element_name, text_of};
use crate::encryption;
use crate::gateway::Context;
use crate::owner::Owners;
use crate::xml::escaped_len_max;
use drystone_base::Timestamp;

const ROOT: &str = "ListPartsResult";
/// Bytes of the elements before the parts besides the key.
const HEAD_LEN: u64 = 2 << 10;
/// Bytes that a part takes, in the document and before.
const PART_LEN: u64 = 1 << 10;
/// Parts that most uploads have no more of.
const USUAL_COUNT: u64 = 100;

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let (name, key) = (request.bucket_name()?, request.object_key()?);
    let upload = upload_of(context)?;
    let limit = request.query_int("max-parts")?.unwrap_or(1000).min(1000);
    let after = request.query_int("part-number-marker")?.unwrap_or(0);
    let (bucket, row) = context.engine.find_upload(name.as_str(), key.as_bytes(), upload)?;
    encryption::of_completion(context, (&bucket, key.as_bytes()), &row).await?;
    let walk = || context.engine.list_parts(upload, after as u32, limit as usize);
    let head_len = HEAD_LEN + escaped_len_max(key.as_str().as_bytes());
    let len_of = |page: &(Vec<_>, bool)| head_len + page.0.len() as u64 * PART_LEN;
    let listed = context.list(limit.min(USUAL_COUNT), walk, len_of).await?;
    let (parts, has_more) = (&listed.page.0, listed.page.1);
    let mut document = listed.document(ROOT);
    document.text("Bucket", name.as_str()).text("Key", key.as_str());
    document.text("UploadId", &upload.to_text());
    Owners::new(context, account_of(&bucket)).write_of_upload(&mut document, &row);
    let class = row.template.storage_class.as_deref().unwrap_or("STANDARD");
    document.text("StorageClass", class).int("PartNumberMarker", after);
    let last = parts.last().map_or(0, |part| part.number);
    document.int("NextPartNumberMarker", last.into());
    document.int("MaxParts", limit).bool("IsTruncated", has_more);
    if let Some((algorithm, kind)) = row.checksum {
        document.text("ChecksumAlgorithm", algorithm.name()).text("ChecksumType", kind.name());
    }
    for part in parts {
        document.open("Part").int("PartNumber", part.number.into());
        document.text("LastModified", &Timestamp(part.modified_ms).to_iso());
        document.text("ETag", &format!("\"{}\"", drystone_base::hex(&part.md5)));
        document.int("Size", part.size);
        if let Some(checksum) = &part.checksum {
            document.text(element_name(checksum.algorithm), &text_of(checksum, None));
        }
        document.close("Part");
    }
    Ok(listed.reply(document.finish(ROOT)))
}
