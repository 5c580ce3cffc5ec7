//! What listings say of each object beside what S3 says: its metadata and tags, which MinIO answers to
//! `metadata=true` (`mc find --metadata`, `mc mirror -a`). S3 knows no such parameter.

use crate::authorize::{Need, may_as_asked};
use crate::gateway::Context;
use crate::uri::encode;
use crate::xml::{Xml, escaped_len_max};
use drystone_engine::{ObjectRow, SseMode};

/// Bytes that the elements around a name and a value take.
const AROUND_LEN: u64 = 64;

/// Whether a request asks for it.
pub(crate) fn is_asked(context: &Context<'_>) -> bool {
    context.request.query("metadata") == Some("true")
}

/// Bytes that it takes of a version at most.
pub(crate) fn len_of(row: &ObjectRow) -> u64 {
    let len = |(name, value): &(String, String)| {
        2 * name.len() as u64 + escaped_len_max(value.as_bytes()) + AROUND_LEN
    };
    let tag = |(key, value): &(String, String)| 3 * (key.len() + value.len()) as u64 + 8;
    let said = row.headers.iter().chain(&row.metadata).map(len).sum::<u64>();
    said + row.tags.iter().map(tag).sum::<u64>() + 8 * AROUND_LEN
}

/// Writes what the sender may read of a version: it needs the rights with which it would ask for the version
/// itself. Of what a client keeps the key of, only that is said, as without the key.
///
/// Each is decided on, which costs time: other work gets its turn in between.
pub(crate) async fn write(
    document: &mut Xml,
    context: &Context<'_>,
    key: &[u8],
    version: Option<&str>,
    row: &ObjectRow,
) {
    tokio::task::yield_now().await;
    let need = |plain, of_version| Need {
        key: Some(String::from_utf8_lossy(key).into_owned()),
        version: version.map(str::to_owned),
        point: context.request.point.clone(),
        ..Need::on(
            if version.is_some() { of_version } else { plain },
            context.request.bucket.as_deref(),
        )
    };
    if may_as_asked(context, &need("s3:GetObject", "s3:GetObjectVersion")) {
        document.open("UserMetadata");
        write_metadata(document, row);
        document.close("UserMetadata");
    }
    let tags = need("s3:GetObjectTagging", "s3:GetObjectVersionTagging");
    if !row.tags.is_empty() && may_as_asked(context, &tags) {
        let pair = |(key, value): &(String, String)| {
            format!("{}={}", encode(key, false), encode(value, false))
        };
        document.text("UserTags", &row.tags.iter().map(pair).collect::<Vec<_>>().join("&"));
    }
}

fn write_metadata(document: &mut Xml, row: &ObjectRow) {
    match row.encryption.as_ref().map(|encryption| encryption.mode) {
        Some(SseMode::S3) => drop(document.text("X-Amz-Server-Side-Encryption", "AES256")),
        Some(SseMode::Kms) => drop(document.text("X-Amz-Server-Side-Encryption", "aws:kms")),
        Some(SseMode::Customer) => {
            document.text("X-Amz-Server-Side-Encryption-Customer-Algorithm", "AES256");
            return;
        }
        None => {}
    }
    if !row.headers.iter().any(|(name, _)| name == "content-type") {
        document.text("content-type", "binary/octet-stream");
    }
    for (name, value) in row.headers.iter().filter(|(name, _)| is_element(name)) {
        document.text(name, value);
    }
    for (name, value) in row.metadata.iter().filter(|(name, _)| is_element(name)) {
        document.text(&format!("X-Amz-Meta-{}", canonical(name)), value);
    }
}

/// Whether a name of a header can stand in one of an element: it has characters that mean nothing else there.
fn is_element(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A name of a header with each word begun by a capital, as programs in Go look for it.
fn canonical(name: &str) -> String {
    let mut is_first = true;
    let letter = |c: char| {
        let out = if is_first { c.to_ascii_uppercase() } else { c };
        is_first = c == '-';
        out
    };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_go() {
        assert_eq!(canonical("my-name_x"), "My-Name_x");
        assert!(is_element("a-b.c_1") && !is_element("a<b") && !is_element("a'"));
    }
}
