//! Server access logging: requests to a bucket become lines of an object in another one.
//!
//! A line is durable before its request is answered, and delivered every so often, or when lines fill their
//! room ([`LogBook`]). A request that is authenticated has room for its line before it has an effect
//! ([`LineSlot`]); others are counted where there is none ([`omitted`]). A request whose client leaves has
//! its line too: it may have had its effect.
//! Deliveries are no requests, so a bucket that logs to itself does not log them.
//!
//! Source: S3 user guide, "Amazon S3 server access log format".

mod book;
mod entry;
mod field;
mod omitted;
mod rounds;
mod slot;

pub(crate) use book::{LogBook, key_of};
pub(crate) use entry::{EntryBy, EntryLine};

use crate::answer::OutBody;
use crate::auth::AuthType;
use crate::authorize::Peer;
use crate::error::S3Code;
use crate::headers::printable;
use crate::operation::Operation;
use crate::request::S3Request;
use crate::xml::Element;
use drystone_base::Timestamp;
use field::{quoted, word};
use http::Response;
pub(crate) use slot::LineSlot;
use std::sync::Arc;

/// Bytes of the prefix of a target at most: what is added to it makes a key.
pub(crate) const PREFIX_LEN_MAX: usize = 768;

/// Where the lines of a bucket go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogTarget {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    /// Keys have account, region, bucket and day in them.
    pub(crate) is_partitioned: bool,
}

impl LogTarget {
    /// Reads the document of a bucket.
    pub(crate) fn of_document(root: &Element) -> Option<Self> {
        let enabled = root.child("LoggingEnabled")?;
        let format = enabled.child("TargetObjectKeyFormat");
        // Stores of earlier versions may have longer ones, to which nothing could be delivered.
        let prefix = enabled.text_of("TargetPrefix").unwrap_or_default();
        if prefix.len() > PREFIX_LEN_MAX {
            return None;
        }
        Some(Self {
            bucket: enabled.text_of("TargetBucket")?.to_owned(),
            prefix: prefix.to_owned(),
            is_partitioned: format.is_some_and(|f| f.child("PartitionedPrefix").is_some()),
        })
    }
}

/// Whose lines go where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) bucket: String,
    pub(crate) account: String,
    pub(crate) target: LogTarget,
}

impl Source {
    /// Bytes of what a stored piece of it begins with, at most.
    fn head_len(&self) -> u64 {
        let prefix_len = self.target.prefix.len() * 3;
        (self.bucket.len() + self.account.len() + self.target.bucket.len() + prefix_len + 8) as u64
    }
}

/// What became of one key of a `DeleteObjects`, for a line of its own. An extension of the answer.
#[derive(Clone, Debug)]
pub(crate) struct BatchDeletion {
    pub(crate) key: String,
    pub(crate) version: String,
    pub(crate) error: Option<S3Code>,
}

/// What is known of a request before it runs. What clients wrote is encoded here and not later ([`field`]).
pub(crate) struct Draft {
    source: Source,
    owner: String,
    remote: String,
    key: String,
    uri: String,
    referrer: String,
    agent: String,
    version: String,
    host: String,
    method: String,
    is_website: bool,
    tls: Option<&'static str>,
    cipher: &'static str,
    sub_resource: Option<String>,
    pub(crate) now_ms: u64,
}

/// What is known after it has run.
pub(crate) struct Outcome<'a> {
    pub(crate) operation: Option<Operation>,
    pub(crate) requester: String,
    pub(crate) auth: AuthType,
    /// The signature is one of version 2.
    pub(crate) is_v2: bool,
    /// `None`: the client left before there was one.
    pub(crate) reply: Option<&'a Response<OutBody>>,
    pub(crate) error: Option<&'a str>,
    pub(crate) request_id: &'a str,
    pub(crate) host_id: &'a str,
    pub(crate) region: &'a str,
    pub(crate) millis: u64,
}

/// `[06/Feb/2026:00:00:38 +0000]`.
fn log_time(now_ms: u64) -> String {
    // Of `Fri, 06 Feb 2026 00:00:38 GMT`.
    let http = Timestamp(now_ms).to_http();
    let parts: Vec<&str> = http.split(' ').collect();
    match parts.as_slice() {
        [_, day, month, year, time, _] => format!("[{day}/{month}/{year}:{time} +0000]"),
        _ => "-".to_owned(),
    }
}

impl Draft {
    pub(crate) fn new(
        request: &S3Request,
        account: &str,
        owner: String,
        (remote, peer): (String, Peer),
        target: LogTarget,
    ) -> Self {
        let header = |name: &str| quoted(&field::header(&request.headers, name));
        let bucket = request.bucket.clone().unwrap_or_default();
        let query = field::query(&request.query);
        let uri =
            format!("{} {}{query} {:?}", request.method, request.raw_path, http::Version::HTTP_11);
        Self {
            source: Source { bucket, account: account.to_owned(), target },
            owner,
            remote,
            key: field::key(request.key.as_deref().unwrap_or_default()),
            uri: quoted(uri.as_bytes()),
            referrer: header("referer"),
            agent: header("user-agent"),
            version: word(request.query("versionId").unwrap_or_default().as_bytes()),
            host: word(request.host.as_bytes()),
            method: field::method(&request.method),
            is_website: request.is_website,
            tls: peer.tls,
            cipher: peer.cipher.unwrap_or("-"),
            sub_resource: crate::route::sub_resource(request),
            now_ms: request.now_ms,
        }
    }

    /// Room for its line.
    pub(crate) fn slot(
        self: &Arc<Self>,
        engine: &drystone_engine::Engine,
        book: &LogBook,
    ) -> Arc<LineSlot> {
        let own = [&self.owner, &self.remote, &self.key, &self.uri, &self.referrer, &self.agent];
        let more = [&self.version, &self.host, &self.method, &self.source.bucket];
        let len: usize = own.iter().chain(&more).map(|text| text.len()).sum();
        let of_batch = [&self.owner, &self.remote, &self.host, &self.source.bucket];
        let batch_len: usize = of_batch.iter().map(|text| text.len()).sum();
        let lens = (len as u64 + self.source.head_len(), batch_len as u64);
        Arc::new(LineSlot::new(engine.log_room().clone(), self, book, lens))
    }

    /// Such as `REST.GET.OBJECT`.
    fn operation(&self, operation: Option<Operation>) -> String {
        use Operation as O;
        let resource = match operation {
            Some(O::CopyObject) => return "REST.COPY.OBJECT".to_owned(),
            Some(O::UploadPartCopy) => return "REST.COPY.PART".to_owned(),
            Some(O::UploadPart) => "PART".to_owned(),
            Some(O::DeleteObjects) => "MULTI_OBJECT_DELETE".to_owned(),
            Some(O::CompleteMultipartUpload | O::AbortMultipartUpload | O::ListParts) => {
                "UPLOAD".to_owned()
            }
            _ => self.resource(),
        };
        let family = if self.is_website { "WEBSITE" } else { "REST" };
        format!("{family}.{}.{resource}", self.method)
    }

    fn resource(&self) -> String {
        let of_object = self.key != "-";
        match self.sub_resource.as_deref() {
            None => if of_object { "OBJECT" } else { "BUCKET" }.to_owned(),
            Some("tagging") if of_object => "OBJECT_TAGGING".to_owned(),
            Some("policy") => "BUCKETPOLICY".to_owned(),
            Some("versions") => "BUCKETVERSIONS".to_owned(),
            Some("logging") => "LOGGING_STATUS".to_owned(),
            Some(other) => word(other.replace('-', "_").to_uppercase().as_bytes()),
        }
    }

    /// The line of a request, and those of the keys that it deleted.
    fn lines(&self, outcome: &Outcome<'_>) -> String {
        let mut lines = self.line(outcome);
        let batch = outcome.reply.and_then(|reply| reply.extensions().get::<Vec<BatchDeletion>>());
        for deletion in batch.into_iter().flatten() {
            lines.push('\n');
            lines.push_str(&self.batch_line(outcome, deletion));
        }
        lines.push('\n');
        lines
    }

    fn batch_line(&self, outcome: &Outcome<'_>, deletion: &BatchDeletion) -> String {
        let key = field::key(&deletion.key);
        let status = deletion.error.map_or(204, S3Code::status).to_string();
        let error = deletion.error.map_or("-", S3Code::name);
        let version = word(deletion.version.as_bytes());
        // Bytes, size, times, referrer and agent are those of no key.
        let none = ["-"; 6];
        self.join(outcome, "BATCH.DELETE.OBJECT", [&key, "-", &status, error], none, &version)
    }

    /// A line, from what requests and keys of a batch say of their own: key, request line, status and error;
    /// bytes, size, two times, referrer and agent; version.
    fn join(
        &self,
        outcome: &Outcome<'_>,
        operation: &str,
        [key, uri, status, error]: [&str; 4],
        [sent, size, total_ms, turnaround_ms, referrer, agent]: [&str; 6],
        version: &str,
    ) -> String {
        let (auth, signature) = names_of(outcome.auth, outcome.is_v2);
        let fields = [
            &word(self.owner.as_bytes()),
            &word(self.source.bucket.as_bytes()),
            &log_time(self.now_ms),
            &word(self.remote.as_bytes()),
            &word(outcome.requester.as_bytes()),
            outcome.request_id,
            operation,
            key,
            uri,
            status,
            error,
            sent,
            size,
            total_ms,
            turnaround_ms,
            referrer,
            agent,
            version,
            outcome.host_id,
            signature,
            self.cipher,
            auth,
            &self.host,
            self.tls(),
            "-",
            "-",
            outcome.region,
        ];
        fields.join(" ")
    }

    fn tls(&self) -> &'static str {
        match self.tls {
            Some("1.2") => "TLSv1.2",
            Some("1.3") => "TLSv1.3",
            _ => "-",
        }
    }

    fn line(&self, outcome: &Outcome<'_>) -> String {
        let header = |name: &str| {
            let value = outcome.reply?.headers().get(name).and_then(printable);
            value.filter(|value| !value.is_empty()).map(|value| word(value.as_bytes()))
        };
        let none = || "-".to_owned();
        let range = header("content-range");
        let total = range.and_then(|range| Some(range.rsplit_once('/')?.1.to_owned()));
        let is_read =
            matches!(outcome.operation, Some(Operation::GetObject | Operation::HeadObject));
        let whole = || header("content-length").filter(|_| is_read);
        let object_size = header("x-amz-object-size").or(total).or_else(whole);
        let sent = header("content-length").filter(|_| self.method != "HEAD");
        let status = outcome.reply.map_or_else(none, |reply| reply.status().as_u16().to_string());
        let millis = outcome.millis.to_string();
        let version = header("x-amz-version-id").unwrap_or_else(|| self.version.clone());
        let (sent, object_size) = (sent.unwrap_or_else(none), object_size.unwrap_or_else(none));
        self.join(
            outcome,
            &self.operation(outcome.operation),
            [&self.key, &self.uri, &status, outcome.error.unwrap_or("-")],
            [&sent, &object_size, &millis, &millis, &self.referrer, &self.agent],
            &version,
        )
    }
}

/// Kind of authentication, and version of the signature.
fn names_of(auth: AuthType, is_v2: bool) -> (&'static str, &'static str) {
    let version = if is_v2 { "SigV2" } else { "SigV4" };
    match auth {
        AuthType::Anonymous => ("-", "-"),
        AuthType::Header => ("AuthHeader", version),
        AuthType::Query => ("QueryString", version),
        AuthType::Form => ("POST", version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_as_aws_writes_them() {
        assert_eq!(log_time(1_770_336_038_000), "[06/Feb/2026:00:00:38 +0000]");
    }
}
