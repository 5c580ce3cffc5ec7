//! `ListObjectVersions`.

use super::list_objects::{Listing, write_row};
use super::{Handled, list_metadata};
use crate::authorize::account_of;
use crate::error::S3Error;
use crate::gateway::Context;
use crate::owner::Owners;
use crate::xml::Xml;
use drystone_base::Timestamp;
use drystone_engine::{ListedVersion, VersionMark, VersionPage, VersionRef, VersionRequest};

const ROOT: &str = "ListVersionsResult";

pub(crate) async fn run(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let name = request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let listing = Listing::parse(context, "max-keys")?;
    let key_marker = request.query("key-marker").unwrap_or_default();
    let version_marker = request.query("version-id-marker").filter(|text| !text.is_empty());
    let older_than = match version_marker {
        Some(text) if key_marker.is_empty() => {
            let message = "A version-id marker cannot be specified without a key marker.";
            return Err(S3Error::argument("version-id-marker", text, message));
        }
        Some(text) => Some(VersionMark::new(VersionRef::parse(text).ok_or_else(|| {
            S3Error::argument("version-id-marker", text, "Invalid version id specified")
        })?)),
        None => None,
    };
    let is_prefix = listing.is_common_prefix(key_marker);
    let list = listing.to_request(key_marker.as_bytes(), is_prefix && older_than.is_none());
    let asked = VersionRequest { list, older_than };
    let walk = || context.engine.list_versions(name.as_str(), &asked);
    let listed = context.list(listing.limit, walk, |page| page_len(&listing, page)).await?;
    let page = &listed.page;
    let mut document = listed.document(ROOT);
    listing.write_head(&mut document, name.as_str());
    document.text("KeyMarker", &listing.key(key_marker.as_bytes()));
    document.text("VersionIdMarker", version_marker.unwrap_or_default());
    document.int("MaxKeys", listing.limit).bool("IsTruncated", page.next.is_some());
    if let Some((key, version)) = &page.next {
        document.text("NextKeyMarker", &listing.key(key));
        document.text_if("NextVersionIdMarker", version.as_deref());
    }
    let mut owners = Owners::new(context, account_of(&bucket));
    for version in &page.versions {
        let context = listing.tells_metadata.then_some(context);
        write_version(&mut document, &listing, version, (&mut owners, context)).await;
    }
    listing.write_prefixes(&mut document, &page.prefixes);
    Ok(listed.reply(document.finish(ROOT)))
}

fn page_len(listing: &Listing<'_>, page: &VersionPage) -> u64 {
    let keys = page.versions.iter().map(|version| &version.key).chain(&page.prefixes);
    listing.len_of(keys.map(Vec::as_slice))
        + listing.metadata_len(page.versions.iter().map(|version| &version.row))
}

/// Writes a version; with a context, what is said of it beyond S3 too.
async fn write_version(
    document: &mut Xml,
    listing: &Listing<'_>,
    version: &ListedVersion,
    (owners, context): (&mut Owners<'_>, Option<&Context<'_>>),
) {
    let row = &version.row;
    let element = if row.is_marker { "DeleteMarker" } else { "Version" };
    document.open(element).text("Key", &listing.key(&version.key));
    document.text("VersionId", &row.version_text()).bool("IsLatest", version.is_latest);
    if row.is_marker {
        document.text("LastModified", &Timestamp(row.modified_ms).to_iso());
    } else {
        write_row(document, row);
        listing.write_restore(document, row);
        if let Some(context) = context {
            let id = row.version_text();
            list_metadata::write(document, context, &version.key, Some(&id), row).await;
        }
    }
    owners.of(&row.owner).write(document, "Owner");
    document.close(element);
}
