//! `ListObjects` and `ListObjectsV2`.

use super::restore_object::write_status;
use super::{Handled, list_metadata};
use crate::authorize::account_of;
use crate::error::S3Error;
use crate::gateway::Context;
use crate::owner::Owners;
use crate::uri::encode;
use crate::xml::{Xml, escaped_len_max};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drystone_base::Timestamp;
use drystone_base::hash64;
use drystone_base::limits::LIST_ENTRY_COUNT_MAX;
use drystone_engine::{ListPage, ListRequest, ObjectRow};

const ROOT: &str = "ListBucketResult";
/// Bytes of the elements before the entries besides what they repeat, with the marker of the next page.
const HEAD_LEN: u64 = 8 << 10;
/// Bytes that an entry takes besides its key.
const ENTRY_LEN: u64 = 1 << 10;

/// Parameters that all listings share.
pub(crate) struct Listing<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: &'a str,
    /// Entries at most, as the client asked and capped.
    pub(crate) limit: u64,
    /// Whether keys are percent-encoded.
    pub(crate) is_encoded: bool,
    /// The time for which the state of restores is asked for, if it is.
    restore_at_ms: Option<u64>,
    /// Whether metadata and tags are asked for.
    pub(crate) tells_metadata: bool,
    /// What the elements that repeat the request take.
    head_len: u64,
}

impl<'a> Listing<'a> {
    pub(crate) fn parse(context: &'a Context<'_>, limit_name: &str) -> Result<Self, S3Error> {
        let request = &context.request;
        let is_encoded = match request.query("encoding-type") {
            None | Some("") => false,
            Some("url") => true,
            Some(other) => {
                let message = "Invalid Encoding Method specified in Request";
                return Err(S3Error::argument("encoding-type", other, message));
            }
        };
        let most = u64::from(LIST_ENTRY_COUNT_MAX);
        let limit = request.query(limit_name).filter(|text| !text.is_empty());
        let limit = match limit {
            Some(_) => request.query_int(limit_name)?.unwrap_or(most).min(most),
            None => most,
        };
        let prefix = request.query("prefix").unwrap_or_default();
        let delimiter = request.query("delimiter").unwrap_or_default();
        let restore_at_ms = match request.header("x-amz-optional-object-attributes") {
            None => None,
            Some("RestoreStatus") => Some(request.now_ms),
            Some(other) => {
                let name = "x-amz-optional-object-attributes";
                return Err(S3Error::argument(name, other, "Invalid attribute name specified"));
            }
        };
        let said = request.query.iter().map(|(_, value, _)| escaped_len_max(value.as_bytes()));
        let head_len = said.sum::<u64>() + HEAD_LEN;
        let tells_metadata = list_metadata::is_asked(context);
        Ok(Self { head_len, prefix, delimiter, limit, is_encoded, restore_at_ms, tells_metadata })
    }

    /// Writes the state of a restore, if it is asked for.
    pub(crate) fn write_restore(&self, document: &mut Xml, row: &ObjectRow) {
        if let Some(now_ms) = self.restore_at_ms {
            write_status(document, row, now_ms);
        }
    }

    /// Whether a marker was given out for a common prefix: it has the delimiter at its end and nowhere before
    /// it. What has two was a key that was looked at, and the rest of its prefix was not.
    pub(crate) fn is_common_prefix(&self, marker: &str) -> bool {
        let rest = marker.strip_prefix(self.prefix).unwrap_or_default();
        let first = rest.find(self.delimiter).map(|at| at + self.delimiter.len());
        !self.delimiter.is_empty() && first == Some(rest.len())
    }

    /// A key as it is written.
    pub(crate) fn key(&self, key: &[u8]) -> String {
        let text = String::from_utf8_lossy(key);
        if self.is_encoded { encode(&text, true) } else { text.into_owned() }
    }

    /// What a document with entries of these keys takes at most.
    pub(crate) fn len_of<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> u64 {
        self.head_len + keys.map(|key| escaped_len_max(key) + ENTRY_LEN).sum::<u64>()
    }

    fn page_len(&self, page: &ListPage) -> u64 {
        let keys = page.objects.iter().map(|(key, _)| key).chain(&page.prefixes);
        self.len_of(keys.map(Vec::as_slice))
            + self.metadata_len(page.objects.iter().map(|(_, row)| row))
    }

    /// What metadata and tags of these take at most, if they are asked for.
    pub(crate) fn metadata_len<'r>(&self, rows: impl Iterator<Item = &'r ObjectRow>) -> u64 {
        if self.tells_metadata { rows.map(list_metadata::len_of).sum() } else { 0 }
    }

    /// Writes the elements that tell what was asked.
    pub(crate) fn write_head(&self, document: &mut Xml, bucket: &str) {
        document.text("Name", bucket).text("Prefix", &self.key(self.prefix.as_bytes()));
        if !self.delimiter.is_empty() {
            document.text("Delimiter", &self.key(self.delimiter.as_bytes()));
        }
        if self.is_encoded {
            document.text("EncodingType", "url");
        }
    }

    pub(crate) fn write_prefixes(&self, document: &mut Xml, prefixes: &[Vec<u8>]) {
        for prefix in prefixes {
            document.open("CommonPrefixes").text("Prefix", &self.key(prefix));
            document.close("CommonPrefixes");
        }
    }

    pub(crate) fn to_request(&self, after: &[u8], after_is_prefix: bool) -> ListRequest {
        ListRequest {
            prefix: self.prefix.as_bytes().to_vec(),
            delimiter: self.delimiter.as_bytes().to_vec(),
            after: after.to_vec(),
            after_is_prefix,
            limit: self.limit as usize,
            row_count_max: None,
            tells_all: self.tells_metadata,
        }
    }
}

/// Writes what all listings say of a version's content.
pub(crate) fn write_row(document: &mut Xml, row: &ObjectRow) {
    document.text("LastModified", &Timestamp(row.modified_ms).to_iso());
    document.open("ETag").raw("&#34;").raw(&row.etag.to_text()).raw("&#34;").close("ETag");
    if let Some(checksum) = &row.checksum {
        document.text("ChecksumAlgorithm", checksum.algorithm.name());
        document.text("ChecksumType", checksum.kind.name());
    }
    document.int("Size", row.size);
    document.text("StorageClass", row.storage_class.as_deref().unwrap_or("STANDARD"));
}

/// Writes what was found; with `owners`, whose each object is; with a context, what is said of them beyond
/// S3 too.
async fn write_contents(
    document: &mut Xml,
    listing: &Listing<'_>,
    page: &ListPage,
    mut owners: Option<Owners<'_>>,
    context: Option<&Context<'_>>,
) {
    for (key, row) in &page.objects {
        document.open("Contents").text("Key", &listing.key(key));
        write_row(document, row);
        listing.write_restore(document, row);
        if let Some(owners) = &mut owners {
            owners.of(&row.owner).write(document, "Owner");
        }
        if let Some(context) = context {
            list_metadata::write(document, context, key, None, row).await;
        }
        document.close("Contents");
    }
    listing.write_prefixes(document, &page.prefixes);
}

pub(crate) async fn run_v1(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let name = request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str())?;
    let listing = Listing::parse(context, "max-keys")?;
    let marker = request.query("marker").unwrap_or_default();
    let is_prefix = listing.is_common_prefix(marker);
    let asked = listing.to_request(marker.as_bytes(), is_prefix);
    let walk = || context.engine.list(name.as_str(), &asked);
    let listed = context.list(listing.limit, walk, |page| listing.page_len(page)).await?;
    let page = &listed.page;
    let mut document = listed.document(ROOT);
    listing.write_head(&mut document, name.as_str());
    document.text("Marker", &listing.key(marker.as_bytes())).int("MaxKeys", listing.limit);
    document.bool("IsTruncated", page.next.is_some());
    // Without a delimiter clients continue behind the last key, unless the page ended at another.
    let is_last = |next: &[u8]| page.objects.last().is_some_and(|(key, _)| key == next);
    if let Some((next, _)) = &page.next
        && (!listing.delimiter.is_empty() || !is_last(next))
    {
        document.text("NextMarker", &listing.key(next));
    }
    let owners = Owners::new(context, account_of(&bucket));
    let context = listing.tells_metadata.then_some(context);
    write_contents(&mut document, &listing, page, Some(owners), context).await;
    Ok(listed.reply(document.finish(ROOT)))
}

/// Binds a token to the listing that it goes on with.
fn listing_hash(bucket: &str, listing: &Listing<'_>) -> u64 {
    hash64(format!("{bucket}\0{}\0{}", listing.prefix, listing.delimiter).as_bytes())
}

fn write_token(bucket: &str, listing: &Listing<'_>, next: &[u8], is_prefix: bool) -> String {
    let mut bytes = vec![1, u8::from(is_prefix)];
    bytes.extend_from_slice(&listing_hash(bucket, listing).to_le_bytes());
    bytes.extend_from_slice(next);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_token(
    bucket: &str,
    listing: &Listing<'_>,
    token: &str,
) -> Result<(Vec<u8>, bool), S3Error> {
    let bad = || {
        let message = "The continuation token provided is incorrect";
        S3Error::argument("continuation-token", token, message)
    };
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let (head, next) = bytes.split_at_checked(10).ok_or_else(bad)?;
    let hash = listing_hash(bucket, listing).to_le_bytes();
    if head[0] != 1 || head[2..] != hash {
        return Err(bad());
    }
    Ok((next.to_vec(), head[1] == 1))
}

pub(crate) async fn run_v2(context: &Context<'_>) -> Handled {
    let request = &context.request;
    let name = request.bucket_name()?;
    if request.query("list-type") != Some("2") {
        let value = request.query("list-type").unwrap_or_default();
        return Err(S3Error::argument("list-type", value, "The list type must be 2"));
    }
    let bucket = context.engine.find_bucket(name.as_str())?;
    let listing = Listing::parse(context, "max-keys")?;
    let token = request.query("continuation-token");
    let start_after = request.query("start-after").filter(|text| !text.is_empty());
    let (after, is_prefix) = match token {
        Some(token) => read_token(name.as_str(), &listing, token)?,
        None => (start_after.unwrap_or_default().as_bytes().to_vec(), false),
    };
    let asked = listing.to_request(&after, is_prefix);
    let walk = || context.engine.list(name.as_str(), &asked);
    let listed = context.list(listing.limit, walk, |page| listing.page_len(page)).await?;
    let page = &listed.page;
    let mut document = listed.document(ROOT);
    listing.write_head(&mut document, name.as_str());
    document.int("MaxKeys", listing.limit);
    document.int("KeyCount", (page.objects.len() + page.prefixes.len()) as u64);
    document.bool("IsTruncated", page.next.is_some());
    document.text_if("ContinuationToken", token);
    if let Some((next, is_prefix)) = &page.next {
        let token = write_token(name.as_str(), &listing, next, *is_prefix);
        document.text("NextContinuationToken", &token);
    }
    if let Some(after) = start_after {
        document.text("StartAfter", &listing.key(after.as_bytes()));
    }
    let with_owner = request.query("fetch-owner").is_some_and(|value| value == "true");
    let owners = with_owner.then(|| Owners::new(context, account_of(&bucket)));
    let context = listing.tells_metadata.then_some(context);
    write_contents(&mut document, &listing, page, owners, context).await;
    Ok(listed.reply(document.finish(ROOT)))
}
