//! `PutObject` of an archive that is to be taken apart (AWS Snowball, "Batching small files"; MinIO,
//! "Snowball auto-extract"). Each regular file becomes an object, as if it had been sent alone: its key is
//! authorized, and what PAX records `minio.metadata.*` say are its headers. What was written before an error
//! remains.

use super::{Handled, apply_acl};
use crate::acl;
use crate::archive::{
    Entry, EntryKind, Event, RECORD_PREFIX, START_LEN, TarError, TarReader, Unpacker,
};
use crate::auth::Verified;
use crate::authorize::{AlsoDecided, authorize, identify_again, with_decisions};
use crate::body::{Body, BodyReader};
use crate::bucket_log::EntryLine;
use crate::checksum::Declared;
use crate::encryption;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::headers;
use crate::intake::Pace;
use crate::object_headers::{is_of_new_object, parse_draft, parse_write_conditions};
use crate::operation::Operation;
use crate::request::S3Request;
use crate::response::empty;
use drystone_base::limits::PUT_LEN_BYTES_MAX;
use drystone_base::warn_limited;
use drystone_engine::{
    BlobWriter, BucketRow, ChecksumAlgorithm, Conditions, Kind, NewBlob, ObjectDraft, PutRequest,
};
use std::pin::pin;
use std::sync::{Arc, Weak};

pub(crate) const EXTRACT: &str = "x-amz-meta-snowball-auto-extract";
const PREFIX: &str = "x-amz-meta-minio-snowball-prefix";
const IGNORE_DIRS: &str = "x-amz-meta-minio-snowball-ignore-dirs";
const IGNORE_ERRORS: &str = "x-amz-meta-minio-snowball-ignore-errors";
/// Entries of one archive at most.
const ENTRY_COUNT_MAX: u64 = 1_000_000;

/// Whether a request asks for an archive to be taken apart.
pub(super) fn is_asked(request: &S3Request) -> bool {
    is_on(request, EXTRACT)
}

/// These headers have become headers of the archive's object for others: they may be any text.
fn is_on(request: &S3Request, name: &str) -> bool {
    request.text(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// What the names of all entries begin with.
fn prefix_of(request: &S3Request) -> Result<String, S3Error> {
    let Some(value) = request.headers.bytes(PREFIX) else { return Ok(String::new()) };
    let text = std::str::from_utf8(value)
        .map_err(|_| S3Error::argument(PREFIX, "", "The prefix is not valid UTF-8."))?;
    Ok(text.to_owned())
}

impl From<TarError> for S3Error {
    fn from(error: TarError) -> Self {
        Self::with(S3Code::InvalidRequest, error.to_string())
    }
}

impl From<crate::archive::UnpackError> for S3Error {
    fn from(error: crate::archive::UnpackError) -> Self {
        match error {
            crate::archive::UnpackError::Malformed => {
                Self::with(S3Code::InvalidRequest, "The archive cannot be unpacked.")
            }
            crate::archive::UnpackError::Bomb => {
                Self::with(S3Code::EntityTooLarge, "The archive unpacks to too many bytes.")
            }
        }
    }
}

/// An object on its way out of the archive.
struct Writing {
    /// What would have sent it alone.
    request: S3Request,
    /// What was decided on for it.
    also: AlsoDecided,
    draft: ObjectDraft,
    conditions: Conditions,
    writer: BlobWriter,
}

/// What takes an archive apart.
struct Extraction<'a> {
    outer: &'a Context<'a>,
    /// The request of the archive: each object comes by its transport.
    sent: Arc<S3Request>,
    bucket: Arc<BucketRow>,
    prefix: String,
    ignores_dirs: bool,
    ignores_errors: bool,
    entry_count: u64,
    writing: Option<Writing>,
    /// The line of the entry on its way, in the access log of the bucket.
    line: Option<EntryLine>,
}

pub(super) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let request = &context.request;
    refuse_of_archive(request)?;
    let declared = Declared::parse(request)?;
    let bucket = context.engine.find_bucket(request.bucket_name()?.as_str())?;
    let prefix = prefix_of(request)?;
    let mut extraction = Extraction {
        outer: context,
        sent: Arc::new(request.clone()),
        bucket,
        prefix: prefix.trim_start_matches('/').to_owned(),
        ignores_dirs: is_on(request, IGNORE_DIRS),
        ignores_errors: is_on(request, IGNORE_ERRORS),
        entry_count: 0,
        writing: None,
        line: None,
    };
    let body = body.take().expect("a body is read once");
    let mut reader = BodyReader::new(request, body, verified, &declared, PUT_LEN_BYTES_MAX)?;
    // A decoder is held for as long as its client sends.
    let pace = Pace::of_archive();
    reader.keep_pace(pace.clone());
    let algorithm = declared.algorithm().unwrap_or(ChecksumAlgorithm::Crc64Nvme);
    let mut digests = drystone_engine::Digests::new(algorithm);
    // How it is packed says what unpacking it holds.
    let mut start = Vec::new();
    while start.len() < START_LEN
        && let Some(bytes) = reader.next().await?
    {
        digests.update(&bytes);
        start.extend_from_slice(&bytes);
    }
    let held = Unpacker::memory_len(&start) + TarReader::MEMORY_LEN;
    let share = context.engine.reserve_decoding(Kind::Unpack, held).await?;
    let weak: Weak<Pace> = Arc::downgrade(&pace);
    let _offer = share.offer(weak);
    let (mut unpacker, mut tar) = (Unpacker::new(&start)?, TarReader::default());
    let mut bytes = bytes::Bytes::from(start);
    loop {
        let mut rest = &bytes[..];
        while let Some(unpacked) = unpacker.next(&mut rest)? {
            tar.feed(unpacked);
            extraction.take_events(&mut tar).await?;
            // Unpacking takes much time for few bytes that a client sends: others come in between.
            tokio::task::yield_now().await;
        }
        let Some(next) = reader.next().await? else { break };
        digests.update(&next);
        bytes = next;
    }
    tar.feed(&unpacker.finish()?);
    extraction.take_events(&mut tar).await?;
    tar.finish()?;
    let (md5, checksum) = digests.finish();
    declared.check(&md5, &checksum, reader.trailer.as_ref())?;
    Ok(empty(200))
}

/// Refuses headers that would be said of each object of the archive: they stand in its PAX records.
fn refuse_of_archive(request: &S3Request) -> Result<(), S3Error> {
    const OF_OBJECTS: &[&str] = &[
        "if-match",
        "if-none-match",
        "x-amz-tagging",
        "x-amz-object-lock-mode",
        "x-amz-object-lock-retain-until-date",
        "x-amz-object-lock-legal-hold",
        "x-amz-website-redirect-location",
    ];
    let given = OF_OBJECTS.iter().find(|name| request.headers.has(name));
    match given {
        Some(name) => Err(S3Error::not_implemented(name)),
        None if acl::is_given(request) => Err(S3Error::not_implemented("x-amz-acl")),
        None => Ok(()),
    }
}

impl Extraction<'_> {
    async fn take_events(&mut self, tar: &mut TarReader) -> Result<(), S3Error> {
        while let Some(event) = tar.next_event()? {
            let outcome = match event {
                Event::Entry(entry) => {
                    // Each is decided on, and may be refused without anything to wait for.
                    tokio::task::yield_now().await;
                    self.begin(entry).await
                }
                Event::Data(bytes) => match &mut self.writing {
                    Some(writing) => writing.writer.write(&bytes).await.map_err(S3Error::from),
                    None => Ok(()),
                },
                Event::EntryEnd => self.end().await,
                Event::End => Ok(()),
            };
            if let Err(error) = outcome {
                self.writing = None;
                if let Some(line) = self.line.take() {
                    line.end(Err(error.code));
                }
                // What the server cannot do is no fault of an entry.
                if !self.ignores_errors || error.code.status() >= 500 || error.drop_connection {
                    return Err(error);
                }
                let code = error.code.name();
                warn_limited!("an entry of an archive is left out"; bucket = self.bucket.name, code);
            }
        }
        Ok(())
    }

    /// The key of an entry: what is before a name that says where on a machine it was is cut off, and
    /// nothing else changed.
    fn key_of(&self, entry: &Entry) -> Result<String, S3Error> {
        let bad = |message| Err(S3Error::with(S3Code::InvalidArgument, message));
        let Ok(path) = std::str::from_utf8(&entry.path) else {
            return bad("The name of an entry of the archive is not valid UTF-8.");
        };
        let mut name = path;
        while let Some(rest) = name.strip_prefix("./").or(name.strip_prefix('/')) {
            name = rest;
        }
        if name.split('/').any(|piece| piece == "..") {
            return bad("The name of an entry of the archive leads out of it.");
        }
        Ok(format!("{}{name}", self.prefix))
    }

    async fn begin(&mut self, entry: Entry) -> Result<(), S3Error> {
        self.entry_count += 1;
        if self.entry_count > ENTRY_COUNT_MAX {
            let message = "The archive has too many entries.";
            return Err(S3Error::with(S3Code::EntityTooLarge, message));
        }
        let is_wanted = match entry.kind {
            EntryKind::File => true,
            EntryKind::Directory => !self.ignores_dirs,
            EntryKind::Other => false,
        };
        let key = self.key_of(&entry)?;
        if !is_wanted || key.is_empty() || key == "." {
            return Ok(());
        }
        let is_bare = entry.kind == EntryKind::Directory && !key.ends_with('/');
        let key = if is_bare { format!("{key}/") } else { key };
        if entry.size > PUT_LEN_BYTES_MAX {
            return Err(S3Code::EntityTooLarge.into());
        }
        // Before it has an effect.
        self.line = self.outer.entry_line(&key, entry.size).await?;
        let mut inner = self.context_of(&key, &entry)?;
        // An archive may take long to come: each entry is decided on by what the bucket says by then.
        inner.engine.begin_decision();
        inner.engine.forget_objects();
        inner.sender.identity = identify_again(self.outer)?;
        let object = inner.request.object_key()?;
        let turn = self.outer.turn().await;
        authorize(&inner, Operation::PutObject)?;
        inner.is_decided();
        // Before the turn ends: others that are ready to run ask for theirs meanwhile.
        tokio::task::yield_now().await;
        drop(turn);
        let mut draft = parse_draft(&inner.request)?;
        let conditions = parse_write_conditions(&inner.request)?;
        apply_acl(&inner, &self.bucket, &mut draft)?;
        let sealing = encryption::of_write(&inner, &self.bucket, object.as_bytes()).await?;
        sealing.describe(&mut draft);
        let new = NewBlob {
            bucket: &self.bucket,
            object: object.as_bytes(),
            len: Some(entry.size),
            algorithm: ChecksumAlgorithm::Crc64Nvme,
            storage_class: draft.storage_class.as_deref(),
            seal: sealing.seal.as_ref(),
        };
        let writer = inner.engine.begin_blob(new)?;
        self.writing =
            Some(Writing { request: inner.request, also: inner.also, draft, conditions, writer });
        Ok(())
    }

    /// The request that would have sent the entry alone.
    fn context_of(&self, key: &str, entry: &Entry) -> Result<Context<'_>, S3Error> {
        let mut request = self.outer.request.clone();
        request.key = Some(key.to_owned());
        // What the request says of the archive is not said of what is in it, but how it is to be encrypted
        // and kept is.
        let is_kept = |name: &str| {
            name.starts_with("x-amz-server-side-encryption") || name == "x-amz-storage-class"
        };
        let mut headers = request.headers.only(is_kept);
        let bad = || S3Error::with(S3Code::InvalidArgument, "A PAX record is no header.");
        for (name, value) in &entry.records {
            let Some(name) = name.strip_prefix(RECORD_PREFIX) else { continue };
            let name = name.to_ascii_lowercase();
            // That was said by what sent the archive: the entry has it from there.
            if name == "x-amz-content-sha256" {
                continue;
            }
            if !is_of_new_object(&name) {
                return Err(S3Error::not_implemented(&name));
            }
            headers.set(&name, value).ok_or_else(bad)?;
        }
        headers.check_lines()?;
        headers::check(&headers, Operation::PutObject)?;
        request.headers = headers;
        request.query.clear();
        let mut inner = self.outer.with_request(request);
        inner.sent = Some(self.sent.clone());
        Ok(inner)
    }

    async fn end(&mut self) -> Result<(), S3Error> {
        let Some(Writing { request, also, draft, conditions, writer }) = self.writing.take() else {
            return Ok(());
        };
        let stored = writer.finish().await?;
        let object = request.key.clone().unwrap_or_default().into_bytes();
        let mut inner = self.outer.with_request(request);
        inner.sent = Some(self.sent.clone());
        inner.also = also;
        let bucket = self.bucket.name.clone();
        let request = PutRequest { bucket, object, draft, stored, conditions };
        let work = async { Ok(inner.engine.put_object(request).await?) };
        with_decisions(&inner, pin!(work)).await?;
        if let Some(line) = self.line.take() {
            line.end(Ok(()));
        }
        Ok(())
    }
}
