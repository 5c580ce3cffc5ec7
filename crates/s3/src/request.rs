//! A request, taken apart: what it names, its headers and its query.

use crate::error::{S3Code, S3Error};
use crate::headers::{Headers, printable};
use crate::host::{Domains, bucket_of_host};
use crate::operation::Level;
use crate::point_rules::PointName;
use crate::uri::{decode_path, parse_query};
use drystone_base::{BucketName, ObjectKey};
use http::HeaderMap;
use std::ops::Range;
use std::sync::Arc;

/// Parameters of a presigned URL that are about its signature, in lower case.
const OF_THE_SIGNATURE: &[&str] = &[
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Bytes of a path at most: a key of 1,024 bytes takes three times as many, if all are encoded.
const PATH_LEN_MAX: usize = 8 << 10;
/// Parameters of a query at most.
const QUERY_COUNT_MAX: usize = 256;

/// The parts of a request that operations look at; the body comes apart from it.
#[derive(Clone, Debug)]
pub(crate) struct S3Request {
    pub(crate) method: http::Method,
    pub(crate) headers: Headers,
    /// Path as it was received.
    pub(crate) raw_path: String,
    /// Path, decoded.
    pub(crate) path: String,
    /// Query, decoded: name, value, whether there was a `=`.
    pub(crate) query: Vec<(String, String, bool)>,
    /// Host, from the header or the request target.
    pub(crate) host: String,
    pub(crate) bucket: Option<String>,
    /// The host is one of a website.
    pub(crate) is_website: bool,
    /// The bucket is in the path, not in the host.
    pub(crate) path_names_bucket: bool,
    pub(crate) key: Option<String>,
    /// The access point that names the bucket.
    pub(crate) point: Option<Arc<PointName>>,
    /// The access point that names the source of a copy.
    pub(crate) source_point: Option<Arc<PointName>>,
    pub(crate) now_ms: u64,
}

impl S3Request {
    pub(crate) fn parse(
        parts: http::request::Parts,
        domains: &Domains,
        now_ms: u64,
    ) -> Result<Self, S3Error> {
        let invalid = || S3Error::new(S3Code::InvalidURI);
        // Both are held several times over while a body is waited for, no matter who the client is.
        let path = parts.uri.path();
        if path.len() > PATH_LEN_MAX {
            return Err(S3Code::KeyTooLongError.into());
        }
        let raw_query = parts.uri.query().unwrap_or_default();
        if raw_query.bytes().filter(|byte| *byte == b'&').count() >= QUERY_COUNT_MAX {
            return Err(invalid());
        }
        let raw_path = path.to_owned();
        let query = parse_query(raw_query).ok_or_else(invalid)?;
        let host = host_of(&parts.uri, &parts.headers)?;
        // The bucket is cut off before decoding: an encoded slash in it is no separator.
        let rest = raw_path.strip_prefix('/').ok_or_else(invalid)?;
        // Hosts of websites lie below the domain that the others lie below too.
        let site = bucket_of_host(&host, &domains.website);
        let is_website = site.is_some();
        let host_bucket = site.or_else(|| bucket_of_host(&host, &domains.s3));
        let path_names_bucket = host_bucket.is_none();
        let (bucket, key) = match host_bucket {
            Some(bucket) => (Some(bucket), decode_path(rest).ok_or_else(invalid)?),
            None => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                let bucket = decode_path(bucket).ok_or_else(invalid)?;
                let bucket = (!bucket.is_empty()).then_some(bucket);
                (bucket, decode_path(key).ok_or_else(invalid)?)
            }
        };
        let key = (bucket.is_some() && !key.is_empty()).then_some(key);
        let path = decode_path(&raw_path).ok_or_else(invalid)?;
        let http::request::Parts { method, headers, .. } = parts;
        Ok(Self {
            method,
            headers: headers.into(),
            raw_path,
            path,
            query,
            host,
            bucket,
            is_website,
            path_names_bucket,
            key,
            point: None,
            source_point: None,
            now_ms,
        })
    }

    /// Takes parameters of the query that stand for headers, as presigners write them, for these headers:
    /// conditions of policies and operations then read the same. Only what was signed with the request, or
    /// was not signed at all, gets here.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a header that is given in both places with different values, or that is no text.
    pub(crate) fn take_headers_of_query(&mut self) -> Result<(), S3Error> {
        let mut is_changed = false;
        for (name, value, _) in &self.query {
            let name = name.to_ascii_lowercase();
            if !name.starts_with("x-amz-") || OF_THE_SIGNATURE.contains(&name.as_str()) {
                continue;
            }
            match self.headers.text(&name) {
                None if self.headers.set(&name, value).is_some() => is_changed = true,
                None => {
                    let message = "The parameter is no name or no value of a header.";
                    return Err(S3Error::argument(&name, value, message));
                }
                Some(known) if known == *value => {}
                Some(_) => {
                    let message = "The parameter is given twice, with different values.";
                    return Err(S3Error::argument(&name, value, message));
                }
            }
        }
        // Nearly all requests have none.
        if is_changed { self.headers.check_lines() } else { Ok(()) }
    }

    pub(crate) fn level(&self) -> Level {
        match (&self.bucket, &self.key) {
            (None, _) => Level::Service,
            (Some(_), None) => Level::Bucket,
            (Some(_), Some(_)) => Level::Object,
        }
    }

    /// A header that changes what the request does, if it is there: what cannot be read was refused by
    /// [`Headers::check_lines`]. `name` is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.printable(name)
    }

    /// The value of a header, if it is there. `name` is in lower case.
    pub(crate) fn read<T>(
        &self,
        name: &str,
        value: impl FnOnce(&str, &str) -> Result<T, S3Error>,
    ) -> Result<Option<T>, S3Error> {
        self.header(name).map(|text| value(name, text)).transpose()
    }

    /// A header that is text of any kind, if it is there.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.headers.text(name)
    }

    /// A query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, ..)| n == name).map(|(_, value, _)| value.as_str())
    }

    /// A header, or the query parameter that a presigner made of it.
    pub(crate) fn header_or_query(&self, name: &str) -> Option<&str> {
        self.header(name).or_else(|| {
            let found = self.query.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name));
            found.map(|(_, value, _)| value.as_str())
        })
    }

    /// The bucket, as a name that can be looked up.
    pub(crate) fn bucket_name(&self) -> Result<BucketName, S3Error> {
        Ok(BucketName::lookup(self.bucket.as_deref().unwrap_or_default())?)
    }

    /// The key.
    pub(crate) fn object_key(&self) -> Result<ObjectKey, S3Error> {
        Ok(ObjectKey::new(self.key.as_deref().unwrap_or_default())?)
    }

    /// Length of the body as the client declares it.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length").and_then(|text| text.parse().ok())
    }

    /// An integer parameter of the query.
    pub(crate) fn query_int(&self, name: &str) -> Result<Option<u64>, S3Error> {
        let Some(text) = self.query(name) else { return Ok(None) };
        let bad = || {
            S3Error::argument(name, text, format!("Provided {name} not an integer or within range"))
        };
        let number: u64 = text.parse().map_err(|_| bad())?;
        if number > i32::MAX as u64 { Err(bad()) } else { Ok(Some(number)) }
    }
}

/// The host that a request names. HTTP requires exactly one, RFC 9112 section 3.2: it selects the bucket, so
/// that nothing may be guessed.
pub(crate) fn host_of(uri: &http::Uri, headers: &HeaderMap) -> Result<String, S3Error> {
    let refused = |message| S3Error::with(S3Code::InvalidRequest, message);
    let mut lines = headers.get_all(http::header::HOST).iter();
    match (lines.next(), lines.next(), uri.authority()) {
        (Some(host), None, authority) => {
            let text = printable(host).filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| refused("The Host header is not valid."))?;
            // RFC 9113, section 8.3.1; RFC 9112, section 3.2.2: what is on the way may have looked at either.
            if authority.is_some_and(|other| !other.as_str().eq_ignore_ascii_case(text)) {
                return Err(refused("The Host header is not the authority of the request."));
            }
            Ok(text.to_owned())
        }
        (None, None, Some(authority)) => Ok(authority.to_string()),
        (None, None, None) => Err(refused("Missing required header for this request: Host")),
        (_, Some(_), _) => Err(refused("There is more than one Host header.")),
    }
}

/// Reads a `Range` header against a size: `None` if it is to be ignored.
///
/// # Errors
///
/// `InvalidRange` if no byte of the object is in the range.
pub fn parse_range(text: &str, size: u64) -> Result<Option<Range<u64>>, S3Error> {
    let Some(spec) = text.strip_prefix("bytes=") else { return Ok(None) };
    let Some((first, last)) = spec.split_once('-') else { return Ok(None) };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let range = match (number(first.trim()), number(last.trim())) {
        (Some(first), Some(last)) if last < first => return Ok(None),
        (Some(first), Some(last)) => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.trim().is_empty() => first..size,
        (None, Some(count)) if first.trim().is_empty() => size - count.min(size)..size,
        _ => return Ok(None),
    };
    if range.start >= range.end {
        return Err(S3Error::new(S3Code::InvalidRange)
            .field("RangeRequested", text)
            .field("ActualObjectSize", size.to_string())
            .header("content-range", format!("bytes */{size}")));
    }
    Ok(Some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, size: u64, want: Result<Option<Range<u64>>, S3Code>) {
        assert_eq!(parse_range(text, size).map_err(|error| error.code), want, "{text} of {size}");
    }

    #[test]
    fn ranges_are_clipped_ignored_or_refused() {
        check("bytes=0-0", 10, Ok(Some(0..1)));
        check("bytes=5-100", 10, Ok(Some(5..10)));
        check("bytes=5-", 10, Ok(Some(5..10)));
        check("bytes=-3", 10, Ok(Some(7..10)));
        check("bytes=-30", 10, Ok(Some(0..10)));
        check("bytes=0-99999999999999999999999", 10, Ok(Some(0..10)));
        for ignored in
            ["bytes=3-1", "chunks=0-5", "bytes 0-5", "bytes=0-1,3-4", "bytes=a-b", "bytes=-"]
        {
            check(ignored, 10, Ok(None));
        }
        for refused in ["bytes=10-", "bytes=10-11", "bytes=-0"] {
            check(refused, 10, Err(S3Code::InvalidRange));
        }
        check("bytes=0-0", 0, Err(S3Code::InvalidRange));
    }
}
