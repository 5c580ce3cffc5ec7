//! Server access logging: requests to a bucket become lines of an object in another one.
//!
//! A line is durable before its request is answered, and delivered every so often ([`LogBook`]).
//! Deliveries are no requests, so a bucket that logs to itself does not log them.
//!
//! Source: S3 user guide, "Amazon S3 server access log format".

mod book;

pub(crate) use book::{LogBook, key_of};

use crate::auth::AuthType;
use crate::error::S3Code;
use crate::operation::Operation;
use crate::request::S3Request;
use crate::response::Reply;
use crate::uri::encode;
use crate::xml::Element;
use drystone_base::Timestamp;

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
        Some(Self {
            bucket: enabled.text_of("TargetBucket")?.to_owned(),
            prefix: enabled.text_of("TargetPrefix").unwrap_or_default().to_owned(),
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

/// What became of one key of a `DeleteObjects`, for a line of its own. An extension of the answer.
#[derive(Clone, Debug)]
pub(crate) struct BatchDeletion {
    pub(crate) key: String,
    pub(crate) version: String,
    pub(crate) error: Option<S3Code>,
}

/// What is known of a request before it runs.
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
    is_secure: bool,
    sub_resource: Option<String>,
    pub(crate) now_ms: u64,
}

/// What is known after it has run.
pub(crate) struct Outcome<'a> {
    pub(crate) operation: Option<Operation>,
    pub(crate) requester: String,
    pub(crate) auth: AuthType,
    pub(crate) reply: &'a Reply,
    pub(crate) error: Option<&'a str>,
    pub(crate) request_id: &'a str,
    pub(crate) host_id: &'a str,
    pub(crate) region: &'a str,
    pub(crate) millis: u64,
}

/// A field without blanks; nothing is a dash.
fn field(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// A field in quotes.
fn quoted(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", plain.replace('"', "%22"))
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
        remote: String,
        is_secure: bool,
        target: LogTarget,
    ) -> Self {
        let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
        let bucket = request.bucket.clone().unwrap_or_default();
        let queries: Vec<String> = request
            .query
            .iter()
            .map(|(name, value, has_equals)| match has_equals {
                true => format!("{}={}", encode(name, false), encode(value, false)),
                false => encode(name, false),
            })
            .collect();
        let mark = if queries.is_empty() { "" } else { "?" };
        let version = format!("{:?}", http::Version::HTTP_11);
        let uri =
            format!("{} {}{mark}{} {version}", request.method, request.raw_path, queries.join("&"));
        let key = request.key.as_deref().map(|key| encode(&encode(key, false), false));
        Self {
            source: Source { bucket, account: account.to_owned(), target },
            owner,
            remote,
            key: key.unwrap_or_default(),
            uri: without_secrets(&uri),
            referrer: header("referer"),
            agent: header("user-agent"),
            version: request.query("versionId").unwrap_or_default().to_owned(),
            host: request.host.clone(),
            method: request.method.to_string(),
            is_website: request.is_website,
            is_secure,
            sub_resource: crate::route::sub_resource(request),
            now_ms: request.now_ms,
        }
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
        let of_object = !self.key.is_empty();
        match self.sub_resource.as_deref() {
            None => if of_object { "OBJECT" } else { "BUCKET" }.to_owned(),
            Some("tagging") if of_object => "OBJECT_TAGGING".to_owned(),
            Some("policy") => "BUCKETPOLICY".to_owned(),
            Some("versions") => "BUCKETVERSIONS".to_owned(),
            Some("logging") => "LOGGING_STATUS".to_owned(),
            Some(other) => other.replace('-', "_").to_uppercase(),
        }
    }

    /// The line of a request, and those of the keys that it deleted.
    fn lines(&self, outcome: &Outcome<'_>) -> String {
        let mut lines = self.line(outcome);
        let batch = outcome.reply.extensions().get::<Vec<BatchDeletion>>();
        for deletion in batch.into_iter().flatten() {
            lines.push('\n');
            lines.push_str(&self.batch_line(outcome, deletion));
        }
        lines.push('\n');
        lines
    }

    fn batch_line(&self, outcome: &Outcome<'_>, deletion: &BatchDeletion) -> String {
        let key = encode(&encode(&deletion.key, false), false);
        let status = deletion.error.map_or(204, S3Code::status).to_string();
        let error = deletion.error.map_or("-", S3Code::name);
        let version = field(&deletion.version);
        // Bytes, size, times, referrer and agent are those of no key.
        let none = ["-"; 6];
        self.join(outcome, "BATCH.DELETE.OBJECT", [field(&key), "-", &status, error], none, version)
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
        let (auth, signature) = names_of(outcome.auth);
        let fields = [
            field(&self.owner),
            field(&self.source.bucket),
            &log_time(self.now_ms),
            field(&self.remote),
            field(&outcome.requester),
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
            field(signature),
            "-",
            field(auth),
            field(&self.host),
            field(self.tls()),
            "-",
            "-",
            outcome.region,
        ];
        fields.join(" ")
    }

    fn tls(&self) -> &'static str {
        if self.is_secure { "TLSv1.3" } else { "" }
    }

    fn line(&self, outcome: &Outcome<'_>) -> String {
        let header = |name: &str| {
            let value = outcome.reply.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let total = header("content-range").rsplit_once('/').map(|(_, size)| size.to_owned());
        let object_size = match header("x-amz-object-size") {
            size if !size.is_empty() => size,
            _ => total.unwrap_or_else(|| match outcome.operation {
                Some(Operation::GetObject | Operation::HeadObject) => header("content-length"),
                _ => String::new(),
            }),
        };
        let is_head = self.method == "HEAD";
        let sent = if is_head { String::new() } else { header("content-length") };
        let status = outcome.reply.status().as_u16().to_string();
        let millis = outcome.millis.to_string();
        let version = match header("x-amz-version-id") {
            version if version.is_empty() => self.version.clone(),
            version => version,
        };
        let (referrer, agent) = (quoted(&self.referrer), quoted(&self.agent));
        self.join(
            outcome,
            &self.operation(outcome.operation),
            [field(&self.key), &quoted(&self.uri), &status, outcome.error.unwrap_or("-")],
            [field(&sent), field(&object_size), &millis, &millis, &referrer, &agent],
            field(&version),
        )
    }
}

/// Kind of authentication, and version of the signature.
fn names_of(auth: AuthType) -> (&'static str, &'static str) {
    match auth {
        AuthType::Anonymous => ("", ""),
        AuthType::Header => ("AuthHeader", "SigV4"),
        AuthType::Query => ("QueryString", "SigV4"),
        AuthType::Form => ("POST", "SigV4"),
    }
}

/// Parameters whose values are not written down, in lower case. Keys of clients are refused there, and named
/// here for whoever sends one nevertheless.
const SECRETS: &[&str] = &[
    "x-amz-signature=",
    "x-amz-security-token=",
    "signature=",
    "server-side-encryption-customer-key=",
];

/// Takes signatures, tokens and keys out of a request line.
fn without_secrets(uri: &str) -> String {
    let mut out = uri.to_owned();
    for name in SECRETS {
        if let Some(at) = out.to_ascii_lowercase().find(name) {
            let from = at + name.len();
            let len = out[from..].find(['&', ' ']).unwrap_or(out.len() - from);
            out.replace_range(from..from + len, "-");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_lines_look_as_aws_writes_them() {
        assert_eq!(log_time(1_770_336_038_000), "[06/Feb/2026:00:00:38 +0000]");
        assert_eq!(quoted("a\"b\n"), "\"a%22b\"");
        let hidden = without_secrets("GET /b?X-Amz-Signature=abc&x=1 HTTP/1.1");
        assert_eq!(hidden, "GET /b?X-Amz-Signature=-&x=1 HTTP/1.1");
        let hidden =
            without_secrets("GET /b?X-Amz-Server-Side-Encryption-Customer-Key=abc HTTP/1.1");
        assert_eq!(hidden, "GET /b?X-Amz-Server-Side-Encryption-Customer-Key=- HTTP/1.1");
    }
}
