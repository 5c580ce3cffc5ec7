// Shared by the fuzz targets and by the replay of their corpus.

use drystone_s3::parsers;

/// What a target does with its bytes.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("xml", xml),
    ("chunked", chunked),
    ("range", range),
    ("authorization", authorization),
    ("copy_source", copy_source),
    ("path", path),
    ("policy", policy),
    ("form", form),
    ("archive", archive),
    ("frame", frame),
    ("row", row),
];

/// A document of a client.
pub fn xml(bytes: &[u8]) {
    for root in ["Delete", "CompleteMultipartUpload", "Tagging", "VersioningConfiguration"] {
        let _ = parsers::parse_xml(bytes, root);
    }
}

/// A body in aws-chunked; its first byte says how it is framed, and where it is split.
pub fn chunked(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    let mode = parsers::ChunkMode { signed: first & 1 == 1, trailer: first & 2 == 2 };
    let mut decoder = parsers::ChunkDecoder::new(mode);
    for piece in body.chunks(usize::from(first >> 2).max(1)) {
        let mut piece = bytes::Bytes::copy_from_slice(piece);
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(piece.is_empty());
    }
    let _ = decoder.end();
}

/// A policy document; one that is accepted is asked a question.
pub fn policy(bytes: &[u8]) {
    use drystone_iam::{Caller, Document, DocumentKind, Facts, PolicySet, Principal, decide};
    let text = String::from_utf8_lossy(bytes);
    for kind in [DocumentKind::Identity, DocumentKind::Bucket("b"), DocumentKind::Trust] {
        let Ok(document) = Document::parse(&text, kind) else { continue };
        let _ = document.is_public();
        let mut facts = Facts::new();
        facts.add("aws:SourceIp", "10.0.0.1").add("s3:prefix", "a/").add("aws:username", "b*");
        let caller = Caller { principal: &Principal::Anonymous, canonical: None };
        let set = PolicySet { bucket: Some(("p", &document)), ..PolicySet::default() };
        let _ = decide(caller, "s3:GetObject", "arn:aws:s3:::b/a/k", &facts, &set);
    }
}

/// An archive, packed or not; its first byte says where it is split.
pub fn archive(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    let _ = parsers::read_archive(body, usize::from(*first).max(1));
}

/// A form, whose first byte says where it is split, and the policy of one.
pub fn form(bytes: &[u8]) {
    if let Ok(policy) = parsers::FormPolicy::parse(bytes) {
        let fields = [("key".to_owned(), "up/x".to_owned())];
        let _ = policy.check(&fields, "b", 1_700_000_000_000);
    }
    let Some((first, body)) = bytes.split_first() else { return };
    let mut decoder = parsers::FormDecoder::new("multipart/form-data; boundary=b").expect("fixed");
    let mut inside = false;
    for piece in body.chunks(usize::from(*first).max(1)) {
        decoder.feed(piece);
        loop {
            if inside {
                inside = !decoder.take().1;
                if inside {
                    break;
                }
            }
            match decoder.next_part() {
                Ok(Some(_)) => inside = true,
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(decoder.held_len() <= body.len() + 2);
    }
}

/// A `Range` header.
pub fn range(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for size in [0, 1, 10_000, u64::MAX / 2] {
        if let Ok(Some(range)) = parsers::parse_range(&text, size) {
            assert!(range.start < range.end && range.end <= size);
        }
    }
}

/// An `Authorization` header, and the parameters of a presigned URL.
pub fn authorization(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = parsers::parse_authorization(&text);
    let _ = parsers::parse_presigned(&|name| match name {
        "X-Amz-Algorithm" => Some("AWS4-HMAC-SHA256".to_owned()),
        _ => Some(text.clone().into_owned()),
    });
}

/// An `x-amz-copy-source` header.
pub fn copy_source(bytes: &[u8]) {
    let _ = parsers::parse_copy_source(&String::from_utf8_lossy(bytes));
}

/// A path and a query.
pub fn path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = parsers::decode_path(&text);
    let _ = parsers::parse_query(&text);
}

/// A catalog frame.
pub fn frame(bytes: &[u8]) {
    let _ = drystone_catalog::Frame::decode(&bytes::Bytes::copy_from_slice(bytes));
}

/// Rows of the catalog; what can be read can be written and read again, and is then written the same.
pub fn row(bytes: &[u8]) {
    use drystone_catalog::{BucketRow, KeyParts, Manifest, ObjectRow, PartRow, UploadRow, Usage};
    if let Ok(row) = ObjectRow::decode(bytes) {
        let written = row.encode();
        let again = ObjectRow::decode(&written).expect("what was written can be read");
        assert_eq!(again.encode(), written);
    }
    let _ = BucketRow::decode(bytes);
    let _ = UploadRow::decode(bytes);
    let _ = PartRow::decode(bytes);
    let _ = Manifest::decode(bytes);
    let _ = Usage::decode(bytes);
    let _ = KeyParts::parse(bytes);
}
