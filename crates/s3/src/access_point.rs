//! Access points as names of buckets: by ARN, by alias, and as hosts (S3 user guide, "Access points").

use crate::error::{S3Code, S3Error};
use crate::operation::Operation;
use crate::ops::parse_copy_source;
use crate::point_rules::{PointCache, PointName};
use crate::request::S3Request;
use crate::uri::encode;
use drystone_identity::{Directory, IdentityError};
use std::sync::Arc;

const SUFFIX: &str = "-s3alias";
/// What stands between name and region in hosts of access points.
const HOST_LABEL: &str = ".s3-accesspoint.";

type Found = Result<Option<Arc<PointName>>, S3Error>;

pub(crate) fn failed(error: &IdentityError) -> S3Error {
    tracing::error!(%error, "an access point cannot be read");
    S3Code::InternalError.into()
}

/// Account and name of the access point that an ARN names: `arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME`.
pub(crate) fn of_arn(text: &str) -> Option<(&str, &str)> {
    let mut pieces = text.strip_prefix("arn:aws:s3:")?.splitn(3, ':');
    let (_region, account, resource) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let name =
        resource.strip_prefix("accesspoint").and_then(|name| name.strip_prefix(['/', ':']))?;
    Some((account, name))
}

/// Account and name in `NAME-ACCOUNT`, where the account has 12 digits.
fn of_label(label: &str) -> Option<(&str, &str)> {
    let (name, account) = label.rsplit_once('-')?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (is_account && !name.is_empty()).then_some((account, name))
}

/// The bucket of an access point that is not there. No bucket has such a name.
const NO_BUCKET: &str = "none-s3alias";

/// The access point that a request names in place of a bucket, if it does. What can be nothing else stands
/// for one, so that a caller who may not know which there are is refused in the same way
/// (`authorize::points::pass`).
///
/// # Errors
///
/// `NoSuchAccessPoint` for what is no name of one.
fn find(cache: &PointCache, directory: &Directory, bucket: &str) -> Found {
    let by_name = |account: &str, name: &str| -> Found {
        let rules = cache.get(directory, account, name).map_err(|error| failed(&error))?;
        let (account, name) = (account.to_owned(), name.to_owned());
        Ok(rules.map(|rules| {
            let bucket = rules.point.bucket.clone();
            Arc::new(PointName { account, name, bucket })
        }))
    };
    let unknown = |account: &str, name: &str| {
        let (account, name) = (account.to_owned(), name.to_owned());
        Arc::new(PointName { account, name, bucket: NO_BUCKET.to_owned() })
    };
    let missing = || S3Error::new(S3Code::NoSuchAccessPoint).field("AccessPointName", bucket);
    let found = if bucket.starts_with("arn:") {
        let (account, name) = of_arn(bucket).ok_or_else(missing)?;
        Some(by_name(account, name)?.unwrap_or_else(|| unknown(account, name)))
    } else if bucket.ends_with(SUFFIX) {
        match directory.access_point_of_alias(bucket).map_err(|error| failed(&error))? {
            Some((account, name)) => by_name(&account, &name)?,
            None => None,
        }
    } else if let Some((label, _region)) = bucket.split_once(HOST_LABEL) {
        let (account, name) = of_label(label).ok_or_else(missing)?;
        Some(by_name(account, name)?.unwrap_or_else(|| unknown(account, name)))
    } else {
        match of_label(bucket) {
            Some((account, name)) => by_name(account, name)?,
            None => None,
        }
    };
    Ok(found)
}

/// Whether a name is `NAME-ACCOUNT` of an access point.
///
/// # Errors
///
/// As [`find`].
pub(crate) fn is_label_of_one(directory: &Directory, name: &str) -> Result<bool, S3Error> {
    match of_label(name) {
        None => Ok(false),
        Some((account, name)) => {
            let found = directory.access_point(account, name);
            found.map(|point| point.is_some()).map_err(|error| failed(&error))
        }
    }
}

/// Puts the bucket of an access point in its place in a request.
///
/// # Errors
///
/// As [`find`].
pub(crate) fn resolve(
    cache: &PointCache,
    directory: &Directory,
    request: &mut S3Request,
) -> Result<(), S3Error> {
    let Some(bucket) = &request.bucket else { return Ok(()) };
    if request.is_website {
        return Ok(());
    }
    // `NAME-ACCOUNT` is a host; in a path it is a bucket.
    if request.path_names_bucket && of_label(bucket).is_some() && !bucket.starts_with("arn:") {
        return Ok(());
    }
    if let Some(point) = find(cache, directory, bucket)? {
        request.bucket = Some(point.bucket.clone());
        request.point = Some(point);
    }
    Ok(())
}

/// Puts bucket and key in the place of the access point that names the source of a copy. After the
/// signature was checked: the header is another one then.
///
/// # Errors
///
/// As [`find`]; `InvalidArgument`.
pub(crate) fn resolve_source(
    cache: &PointCache,
    directory: &Directory,
    request: &mut S3Request,
) -> Result<(), S3Error> {
    const HEADER: &str = "x-amz-copy-source";
    let Some(text) = request.header(HEADER) else { return Ok(()) };
    let decoded = crate::uri::decode_path(text.split('?').next().unwrap_or_default());
    let is_arn = decoded.as_deref().is_some_and(|text| text.starts_with("arn:"));
    let (named, key, version) = if is_arn {
        let bad = || S3Error::argument(HEADER, text, "The ARN names no object");
        let (_, version) = text.split_once("?versionId=").unzip();
        let decoded = decoded.ok_or_else(bad)?;
        let (point, key) = decoded.split_once("/object/").ok_or_else(bad)?;
        (point.to_owned(), key.to_owned(), version.map(str::to_owned))
    } else {
        match parse_copy_source(text) {
            Ok(source) => source,
            // Anyone who reads it says what is wrong with it.
            Err(_) => return Ok(()),
        }
    };
    let Some(point) = find(cache, directory, &named)? else { return Ok(()) };
    let mut source = format!("{}/{}", point.bucket, encode(&key, true));
    if let Some(version) = version {
        source.push_str(&format!("?versionId={version}"));
    }
    request.headers.set(HEADER, &source).ok_or(S3Code::InvalidURI)?;
    request.source_point = Some(point);
    Ok(())
}

/// Whether an operation can be asked for through an access point (S3 user guide, "Access point
/// compatibility").
pub(crate) fn takes(operation: Operation) -> bool {
    use Operation as O;
    matches!(
        operation,
        O::AbortMultipartUpload
            | O::CompleteMultipartUpload
            | O::CopyObject
            | O::CreateMultipartUpload
            | O::DeleteObject
            | O::DeleteObjects
            | O::DeleteObjectTagging
            | O::GetBucketAcl
            | O::GetBucketCors
            | O::GetBucketLocation
            | O::GetBucketNotificationConfiguration
            | O::GetBucketPolicy
            | O::GetObject
            | O::GetObjectAcl
            | O::GetObjectAttributes
            | O::GetObjectLegalHold
            | O::GetObjectRetention
            | O::GetObjectTagging
            | O::HeadBucket
            | O::HeadObject
            | O::ListMultipartUploads
            | O::ListObjects
            | O::ListObjectsV2
            | O::ListObjectVersions
            | O::ListParts
            | O::PutObject
            | O::PutObjectAcl
            | O::PutObjectLegalHold
            | O::PutObjectRetention
            | O::PutObjectTagging
            | O::RenameObject
            | O::RestoreObject
            | O::UploadPart
            | O::UploadPartCopy
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_access_points_are_taken_apart() {
        let arn = "arn:aws:s3:us-east-1:000000000000:accesspoint/team";
        assert_eq!(of_arn(arn), Some(("000000000000", "team")));
        assert_eq!(of_arn("arn:aws:s3:::bucket"), None);
        assert_eq!(of_label("my-team-000000000000"), Some(("000000000000", "my-team")));
        for text in ["team", "team-12", "-000000000000", "team-00000000000x"] {
            assert_eq!(of_label(text), None, "{text}");
        }
    }
}
