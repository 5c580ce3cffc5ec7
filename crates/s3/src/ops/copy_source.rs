//! The source of a copy, shared by `CopyObject` and `UploadPartCopy`.

use super::restore_object::must_be_readable;
use crate::authorize::{Need, ReadFrom};
use crate::encryption::{self, Side};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::object_headers::{ReadVerdict, decide_read, parse_write_date};
use crate::uri::decode_path;
use drystone_base::{BucketName, ObjectKey};
use drystone_engine::{EngineError, Located, VersionRef};
use drystone_keyring::DataKey;

/// Reads `x-amz-copy-source`: bucket, key and version. The version is split off before decoding, and
/// decoding happens once; a plus sign is a space, as in S3, and `%2B` a plus sign.
///
/// # Errors
///
/// `InvalidArgument`.
pub fn parse_copy_source(text: &str) -> Result<(String, String, Option<String>), S3Error> {
    let bad = || {
        let message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey";
        S3Error::argument("x-amz-copy-source", text, message)
    };
    let (path, version) = match text.split_once("?versionId=") {
        Some((path, version)) => (path, Some(version.to_owned())),
        None => (text, None),
    };
    let path = decode_path(&path.replace('+', " ")).ok_or_else(bad)?;
    let path = path.strip_prefix('/').unwrap_or(&path);
    let (bucket, key) = path.split_once('/').ok_or_else(bad)?;
    if bucket.is_empty() || key.is_empty() || version.as_deref() == Some("") {
        return Err(bad());
    }
    Ok((bucket.to_owned(), key.to_owned(), version))
}

/// A source that was found and whose conditions hold.
pub(crate) struct Source {
    pub(crate) located: Located,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) version: Option<String>,
    /// Its data key, if it is encrypted.
    pub(crate) data_key: Option<DataKey>,
}

/// Finds the source of a copy.
pub(crate) async fn find(context: &Context<'_>) -> Result<Source, S3Error> {
    let request = &context.request;
    let text = request.header("x-amz-copy-source").unwrap_or_default();
    let (bucket, key, version) = parse_copy_source(text)?;
    let (name, object) = (BucketName::lookup(&bucket)?, ObjectKey::new(&key)?);
    let version_ref = match &version {
        Some(text) => Some(VersionRef::parse(text).ok_or_else(|| {
            S3Error::argument("x-amz-copy-source", text, "Invalid version id specified")
        })?),
        None => None,
    };
    let located = context.engine.locate(name.as_str(), object.as_bytes(), version_ref);
    let located = located.map_err(|error| match error {
        EngineError::IsDeleteMarker { .. } => {
            let message = "The source of a copy request may not specifically refer to a delete \
                           marker by version id.";
            S3Error::with(S3Code::InvalidRequest, message)
        }
        EngineError::ObjectNotFound { .. } => {
            S3Error::new(S3Code::NoSuchKey).field("Key", key.clone())
        }
        error => error.into(),
    })?;
    for name in ["if-modified-since", "if-unmodified-since"] {
        parse_write_date(request, &format!("x-amz-copy-source-{name}"))?;
    }
    let (etag, modified_ms) = (&located.row.etag, located.row.modified_ms);
    match decide_read(request, "x-amz-copy-source-", etag, modified_ms) {
        ReadVerdict::Send => {}
        ReadVerdict::NotModified => {
            let condition = "x-amz-copy-source-If-None-Match";
            return Err(S3Error::new(S3Code::PreconditionFailed).field("Condition", condition));
        }
        ReadVerdict::Failed(condition) => {
            let condition = format!("x-amz-copy-source-{condition}");
            return Err(S3Error::new(S3Code::PreconditionFailed).field("Condition", condition));
        }
    }
    must_be_readable(&located.row, request.now_ms)?;
    let place = (&*located.bucket, key.as_bytes());
    let data_key = encryption::of_read(context, place, &located.row, Side::CopySource).await?;
    Ok(Source { located, bucket, key, version, data_key })
}

impl Source {
    /// The version, with the right to read it.
    pub(crate) fn read(&self, context: &Context<'_>) -> ReadFrom {
        let need = Need {
            key: Some(self.key.clone()),
            version: self.version.clone(),
            point: context.request.source_point.clone(),
            ..Need::on("s3:GetObject", Some(&self.bucket))
        };
        ReadFrom { need, version: self.version.as_deref().and_then(VersionRef::parse) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_a_source_are_read() {
        for (text, want) in [
            ("b/k", ("b", "k", None)),
            ("/b/k%20x+y%2Bz", ("b", "k x y+z", None)),
            ("b%2Fk", ("b", "k", None)),
            ("b/k?versionId=v", ("b", "k", Some("v"))),
            ("b/k%3FversionId=v", ("b", "k?versionId=v", None)),
            ("b//k", ("b", "/k", None)),
        ] {
            let (bucket, key, version) = parse_copy_source(text).expect("well formed");
            assert_eq!((bucket.as_str(), key.as_str(), version.as_deref()), want, "{text}");
        }
        for text in ["", "b", "/b", "b/", "/", "b/%zz"] {
            assert!(parse_copy_source(text).is_err(), "{text}");
        }
    }
}
