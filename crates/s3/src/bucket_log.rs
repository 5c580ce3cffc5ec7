//! Server access logging: requests to a bucket become lines of an object in another one.
//!
//! Lines are gathered in memory and delivered every so often and at the end of the process, as AWS does
//! it: best effort. Deliveries are no requests, so a bucket that logs to itself does not log them.
//!
//! Source: S3 user guide, "Amazon S3 server access log format".

use crate::auth::AuthType;
use crate::error::S3Error;
use crate::operation::Operation;
use crate::request::S3Request;
use crate::response::Reply;
use crate::uri::encode;
use crate::xml::Element;
use drystone_base::{Rng, SystemRng, Timestamp, hex};
use drystone_engine::{
    ChecksumAlgorithm, Conditions, Engine, EngineError, ObjectDraft, PutRequest,
};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Bytes of lines that wait at most; more are dropped, and counted.
const WAITING_LEN_MAX: usize = 64 << 20;

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

/// Source bucket, its account, and where its lines go.
type Source = (String, String, LogTarget);

/// Lines that wait to be delivered.
#[derive(Default)]
pub(crate) struct LogBook {
    waiting: Mutex<BTreeMap<Source, String>>,
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
            source: (bucket, account.to_owned(), target),
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
        let auth = match outcome.auth {
            AuthType::Anonymous => "",
            AuthType::Header => "AuthHeader",
            AuthType::Query => "QueryString",
            AuthType::Form => "POST",
        };
        let signature = if auth.is_empty() { "" } else { "SigV4" };
        let tls = if self.is_secure { "TLSv1.3" } else { "" };
        let status = outcome.reply.status().as_u16().to_string();
        let millis = outcome.millis.to_string();
        let version = match header("x-amz-version-id") {
            version if version.is_empty() => self.version.clone(),
            version => version,
        };
        let fields = [
            field(&self.owner),
            field(&self.source.0),
            &log_time(self.now_ms),
            field(&self.remote),
            field(&outcome.requester),
            outcome.request_id,
            &self.operation(outcome.operation),
            field(&self.key),
            &quoted(&self.uri),
            &status,
            outcome.error.unwrap_or("-"),
            field(&sent),
            field(&object_size),
            &millis,
            &millis,
            &quoted(&self.referrer),
            &quoted(&self.agent),
            field(&version),
            outcome.host_id,
            field(signature),
            "-",
            field(auth),
            field(&self.host),
            field(tls),
            "-",
            "-",
            outcome.region,
        ];
        fields.join(" ")
    }
}

/// Takes signatures and tokens out of a request line.
fn without_secrets(uri: &str) -> String {
    let mut out = uri.to_owned();
    for name in ["X-Amz-Signature=", "X-Amz-Security-Token=", "Signature="] {
        if let Some(at) = out.find(name) {
            let from = at + name.len();
            let len = out[from..].find(['&', ' ']).unwrap_or(out.len() - from);
            out.replace_range(from..from + len, "-");
        }
    }
    out
}

impl LogBook {
    /// Adds the line of a request.
    pub(crate) fn add(&self, draft: &Draft, outcome: &Outcome<'_>) {
        let line = draft.line(outcome);
        let mut waiting = self.waiting.lock().expect("no thread panicked while it held this lock");
        let len: usize = waiting.values().map(String::len).sum();
        if len + line.len() > WAITING_LEN_MAX {
            tracing::warn!(bucket = draft.source.0, "a line of a bucket's access log is dropped");
            return;
        }
        let lines = waiting.entry(draft.source.clone()).or_default();
        lines.push_str(&line);
        lines.push('\n');
    }

    fn take(&self) -> BTreeMap<Source, String> {
        let mut waiting = self.waiting.lock().expect("no thread panicked while it held this lock");
        std::mem::take(&mut *waiting)
    }

    /// Writes everything that waits into the target buckets. What cannot be written waits on.
    pub(crate) async fn deliver(&self, engine: &Engine, region: &str) {
        for (source, lines) in self.take() {
            match write(engine, region, &source, &lines).await {
                Ok(()) => {}
                // The target was deleted: there is nowhere to write to.
                Err(error) if error.code == crate::S3Code::NoSuchBucket => {
                    tracing::warn!(bucket = source.0, "the target of an access log is gone");
                }
                Err(error) => {
                    let code = error.code.name();
                    tracing::error!(bucket = source.0, code, "an access log is not delivered");
                    let mut waiting =
                        self.waiting.lock().expect("no thread panicked while it held this lock");
                    let later = waiting.entry(source).or_default();
                    later.insert_str(0, &lines);
                }
            }
        }
    }
}

fn key_of(source: &Source, region: &str, now_ms: u64) -> String {
    let (bucket, account, target) = source;
    // 2026-02-06T00:00:38.000Z
    let iso = Timestamp(now_ms).to_iso();
    let (day, time) = (&iso[..10], iso[11..19].replace(':', "-"));
    let mut unique = [0; 8];
    SystemRng.fill(&mut unique);
    let name = format!("{day}-{time}-{}", hex(&unique).to_uppercase());
    match target.is_partitioned {
        false => format!("{}{name}", target.prefix),
        true => {
            let day = day.replace('-', "/");
            format!("{}{account}/{region}/{bucket}/{day}/{name}", target.prefix)
        }
    }
}

async fn write(engine: &Engine, region: &str, source: &Source, lines: &str) -> Result<(), S3Error> {
    let target = &source.2;
    let bucket = engine.find_bucket(&target.bucket)?;
    let object = key_of(source, region, engine.now_ms()).into_bytes();
    let len = Some(lines.len() as u64);
    let mut writer = engine.begin_blob(&bucket, &object, len, ChecksumAlgorithm::Crc64Nvme).await?;
    for piece in lines.as_bytes().chunks(64 << 10) {
        writer.write(piece).await?;
    }
    let stored = writer.finish().await?;
    let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    let draft = ObjectDraft { headers, ..ObjectDraft::default() };
    let (bucket, conditions) = (target.bucket.clone(), Conditions::default());
    let put = engine.put_object(PutRequest { bucket, object, draft, stored, conditions }).await;
    put.map(drop).map_err(|error: EngineError| error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keys_and_lines_look_as_aws_writes_them() {
        assert_eq!(log_time(1_770_336_038_000), "[06/Feb/2026:00:00:38 +0000]");
        let target = LogTarget { bucket: "t".into(), prefix: "p/".into(), is_partitioned: true };
        let source = ("b".to_owned(), "000000000000".to_owned(), target);
        let key = key_of(&source, "us-east-1", 1_770_336_038_000);
        let start = "p/000000000000/us-east-1/b/2026/02/06/2026-02-06-00-00-38-";
        assert_eq!(key.strip_prefix(start).map(str::len), Some(16), "{key}");
        assert_eq!(quoted("a\"b\n"), "\"a%22b\"");
        let hidden = without_secrets("GET /b?X-Amz-Signature=abc&x=1 HTTP/1.1");
        assert_eq!(hidden, "GET /b?X-Amz-Signature=-&x=1 HTTP/1.1");
    }
}
