//! `ListMultipartUploads`.

use super::Handled;
use super::list_objects::Listing;
use crate::authorize::account_of;
use crate::error::S3Error;
use crate::gateway::Context;
use crate::owner::Owners;
use drystone_base::{Timestamp, UploadId};
use drystone_engine::UploadPage;

const ROOT: &str = "ListMultipartUploadsResult";

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let name = request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let listing = Listing::parse(context, "max-uploads")?;
    let key_marker = request.query("key-marker").unwrap_or_default();
    let upload_marker =
        request.query("upload-id-marker").filter(|text| !text.is_empty() && !key_marker.is_empty());
    let after_upload = match upload_marker {
        Some(text) => Some(UploadId::parse(text).ok_or_else(|| {
            S3Error::argument("upload-id-marker", text, "Invalid uploadId marker")
        })?),
        None => None,
    };
    let is_prefix = listing.is_common_prefix(key_marker);
    let list = listing.to_request(key_marker.as_bytes(), is_prefix && after_upload.is_none());
    let walk = || context.engine.list_uploads(name.as_str(), &list, after_upload);
    let listed = context.list(listing.limit, walk, |page| page_len(&listing, page)).await?;
    let page = &listed.page;
    let mut document = listed.document(ROOT);
    document.text("Bucket", name.as_str());
    document.text("KeyMarker", &listing.key(key_marker.as_bytes()));
    document.text("UploadIdMarker", upload_marker.unwrap_or_default());
    if let Some((key, upload)) = &page.next {
        document.text("NextKeyMarker", &listing.key(key));
        document.text("NextUploadIdMarker", &upload.map(UploadId::to_text).unwrap_or_default());
    }
    document.text("Prefix", &listing.key(listing.prefix.as_bytes()));
    if !listing.delimiter.is_empty() {
        document.text("Delimiter", &listing.key(listing.delimiter.as_bytes()));
    }
    if listing.is_encoded {
        document.text("EncodingType", "url");
    }
    document.int("MaxUploads", listing.limit).bool("IsTruncated", page.next.is_some());
    let mut owners = Owners::new(context, account_of(&bucket));
    for (key, upload, row) in &page.uploads {
        document.open("Upload").text("Key", &listing.key(key));
        document.text("UploadId", &upload.to_text());
        owners.write_of_upload(&mut document, row);
        let class = row.template.storage_class.as_deref().unwrap_or("STANDARD");
        document.text("StorageClass", class);
        document.text("Initiated", &Timestamp(row.initiated_ms).to_iso());
        if let Some((algorithm, kind)) = row.checksum {
            document.text("ChecksumAlgorithm", algorithm.name());
            document.text("ChecksumType", kind.name());
        }
        document.close("Upload");
    }
    listing.write_prefixes(&mut document, &page.prefixes);
    Ok(listed.reply(document.finish(ROOT)))
}

fn page_len(listing: &Listing<'_>, page: &UploadPage) -> u64 {
    let keys = page.uploads.iter().map(|(key, ..)| key).chain(&page.prefixes);
    listing.len_of(keys.map(Vec::as_slice))
}
