//! `PostObject`: an upload by a browser's form. The policy is decided before the file is read, and the
//! file is streamed.

use super::object_tagging::read_tags;
use crate::auth::{
    AuthType, FormSignature, PayloadHash, Verified, Verifier, check_form, check_legacy_form,
};
use crate::authorize::{Sender, authorize, with_decisions};
use crate::body::{Body, BodyReader};
use crate::checksum::Declared;
use crate::consumer::consumer_of;
use crate::encryption;
use crate::error::{S3Code, S3Error};
use crate::form::{FormDecoder, FormPolicy};
use crate::gateway::Context;
use crate::headers::{self, Headers};
use crate::object_headers::{parse_draft, refuse_conditions, tell_checksum};
use crate::operation::Operation;
use crate::request::S3Request;
use crate::response::{Reply, empty, set, xml};
use crate::uri::encode;
use crate::xml::Xml;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drystone_base::limits::{OBJECT_TAG_COUNT_MAX, PUT_LEN_BYTES_MAX};
use drystone_engine::{ChecksumAlgorithm, Conditions, NewBlob, PutRequest, Seal, Stored};
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::Arc;

/// Bytes of all fields before the file, with [`FIELD_COST`] for each.
const FIELDS_LEN_MAX: usize = 20 << 10;
/// What a field costs beyond its name and value: fields without either are counted, too.
const FIELD_COST: usize = 40;
/// Fields before the file.
const FIELD_COUNT_MAX: usize = 100;
/// Bytes of the whole body beyond the file.
const ENVELOPE_LEN_MAX: u64 = 1 << 20;

/// Whether a request is a form.
pub(crate) fn is_form(request: &S3Request) -> bool {
    let content_type = request.text("content-type").unwrap_or_default();
    request.method == http::Method::POST
        && request.bucket.is_some()
        && request.key.is_none()
        && request.query.is_empty()
        && content_type.to_ascii_lowercase().starts_with("multipart/form-data")
}

/// The form up to its file.
struct Form {
    /// Names in lower case.
    fields: Vec<(String, String)>,
    decoder: FormDecoder,
    reader: BodyReader,
}

impl Form {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The key of the object, with the name of the file where the form wants it.
    fn name_object(&mut self, filename: &str) -> Result<String, S3Error> {
        let key = self.field("key").map(|key| key.replace("${filename}", filename));
        let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
            let message = "Bucket POST must contain a field named 'key'. If it is specified, \
                           please check the order of the fields.";
            S3Error::argument("key", "", message)
        })?;
        for (_, value) in self.fields.iter_mut().filter(|(name, _)| name == "key") {
            value.clone_from(&key);
        }
        Ok(key)
    }

    /// Reads more of the body; false at its end.
    async fn more(&mut self) -> Result<bool, S3Error> {
        match self.reader.next().await? {
            Some(bytes) => {
                self.decoder.feed(&bytes);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Reads the fields before the file. Returns the name of the file and its content type.
    async fn read_fields(&mut self) -> Result<(String, Option<String>), S3Error> {
        let mut len = 0;
        loop {
            let Some(part) = self.decoder.next_part()? else {
                if self.decoder.is_ended() || !self.more().await? {
                    let message = "POST requires exactly one file upload per request.";
                    return Err(S3Error::argument("file", "", message));
                }
                continue;
            };
            if part.name.eq_ignore_ascii_case("file") {
                return Ok((part.filename.unwrap_or_default(), part.content_type));
            }
            len += part.name.len() + FIELD_COST;
            if self.fields.len() == FIELD_COUNT_MAX {
                return Err(S3Code::MaxPostPreDataLengthExceededError.into());
            }
            let mut value = Vec::new();
            loop {
                let (bytes, last) = self.decoder.take();
                len += bytes.len();
                if len > FIELDS_LEN_MAX {
                    return Err(S3Code::MaxPostPreDataLengthExceededError.into());
                }
                value.extend(bytes);
                if last {
                    break;
                }
                if !self.more().await? {
                    return Err(S3Code::MalformedPOSTRequest.into());
                }
            }
            let value = String::from_utf8(value).map_err(|_| S3Code::MalformedPOSTRequest)?;
            let name = part.name.to_ascii_lowercase();
            // Conditions would look at one of them, and what is stored might be the other.
            if self.field(&name).is_some() && !name.starts_with("x-ignore-") {
                let message = "A field of the form is given twice.";
                return Err(S3Error::argument(&name, &value, message));
            }
            self.fields.push((name, value));
        }
    }

    /// Streams the file to the drive.
    async fn read_file(
        &mut self,
        context: &Context<'_>,
        algorithm: ChecksumAlgorithm,
        (class, seal): (Option<&str>, Option<&Seal>),
        length: &RangeInclusive<u64>,
    ) -> Result<Stored, S3Error> {
        let (name, key) = (context.request.bucket_name()?, context.request.object_key()?);
        let bucket = context.engine.find_bucket(name.as_str())?;
        let new = NewBlob {
            bucket: &bucket,
            object: key.as_bytes(),
            len: None,
            algorithm,
            storage_class: class,
            seal,
        };
        // Who sends the form is known only now.
        let engine = context.engine.for_consumer(consumer_of(&context.sender));
        let mut writer = engine.begin_blob(new)?;
        loop {
            let (bytes, last) = self.decoder.take();
            let len = writer.len_bytes() + bytes.len() as u64;
            if len > *length.end() {
                return Err(S3Error::new(S3Code::EntityTooLarge)
                    .field("ProposedSize", len.to_string())
                    .field("MaxSizeAllowed", length.end().to_string()));
            }
            writer.write(&bytes).await?;
            if last {
                break;
            }
            if !self.more().await? {
                return Err(S3Code::MalformedPOSTRequest.into());
            }
        }
        if writer.len_bytes() < *length.start() {
            return Err(S3Error::new(S3Code::EntityTooSmall)
                .field("ProposedSize", writer.len_bytes().to_string())
                .field("MinSizeAllowed", length.start().to_string()));
        }
        Ok(writer.finish().await?)
    }
}

/// Whose the bucket must be; a request with a form may say it in its own headers as well.
const OWNER: &str = "x-amz-expected-bucket-owner";

/// Fields of a form that stand for headers of a PUT.
fn headers_of(form: &Form, sent: &S3Request) -> Result<Headers, S3Error> {
    const SAME: &[&str] = &[
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
    ];
    const OF_THE_FORM: &[&str] = &[
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-signature",
        "x-amz-security-token",
    ];
    let mut headers = Headers::default();
    for (name, value) in &form.fields {
        let header = match name.as_str() {
            "acl" => "x-amz-acl",
            name if SAME.contains(&name) => name,
            // A form brings its own bytes.
            name if name.starts_with("x-amz-copy-source") || name.ends_with("-directive") => {
                return Err(S3Error::not_implemented(name));
            }
            name if name.starts_with("x-amz-") && !OF_THE_FORM.contains(&name) => name,
            _ => continue,
        };
        let invalid = || S3Error::argument("field", name, "A field of the form is not valid");
        if headers.set(header, value).ok_or_else(invalid)? {
            return Err(S3Error::argument(name, "", "A field of the form is given twice."));
        }
    }
    if let Some(owner) = sent.text(OWNER).filter(|_| !headers.has(OWNER)) {
        headers.set(OWNER, &owner);
    }
    Ok(headers)
}

/// Checks who signed the policy, and the policy. No one signs a form without one.
fn authenticate(
    form: &Form,
    context: &mut Context<'_>,
    verifier: &Verifier<'_>,
) -> Result<Option<FormPolicy>, S3Error> {
    let signature = form.field("x-amz-signature").or(form.field("signature"));
    let policy = form.field("policy");
    let (policy, signature) = match (policy, signature) {
        (None, None) => return Ok(None),
        (Some(policy), Some(signature)) => (policy, signature),
        (Some(_), None) => {
            let message = "Bucket POST must contain a field named 'X-Amz-Signature'.";
            return Err(S3Error::argument("x-amz-signature", "", message));
        }
        (None, Some(_)) => {
            let message = "Bucket POST must contain a field named 'policy'.";
            return Err(S3Error::argument("policy", "", message));
        }
    };
    let field = |name| form.field(name).unwrap_or_default();
    let token = form.field("x-amz-security-token");
    let (identity, signed_ms) = match form.field("awsaccesskeyid") {
        Some(access_key) if form.field("x-amz-signature").is_none() => {
            (check_legacy_form(verifier, access_key, token, policy, signature)?, None)
        }
        _ => {
            let fields = FormSignature {
                algorithm: field("x-amz-algorithm"),
                credential: field("x-amz-credential"),
                date: field("x-amz-date"),
                token,
                policy,
                signature,
            };
            let (identity, signed_ms) = check_form(verifier, &fields)?;
            (identity, Some(signed_ms))
        }
    };
    context.token = token.map(str::to_owned);
    context.sender = Sender::of(Some(identity), AuthType::Form, signed_ms, context.sender.peer);
    let invalid = |_| S3Error::with(S3Code::InvalidPolicyDocument, "The policy is not base64.");
    let document = STANDARD.decode(policy).map_err(invalid)?;
    let policy = FormPolicy::parse(&document)?;
    let bucket = context.request.bucket.as_deref().unwrap_or_default();
    policy.check(&form.fields, bucket, context.request.now_ms)?;
    Ok(Some(policy))
}

/// The tags of a form's field, which become a header too: the right to set tags is needed, and conditions
/// see them, as with a PUT.
fn take_tags(
    tagging: Option<&str>,
    headers: &mut Headers,
) -> Result<Vec<(String, String)>, S3Error> {
    let Some(document) = tagging else { return Ok(Vec::new()) };
    let tags = read_tags(document.as_bytes(), OBJECT_TAG_COUNT_MAX)?;
    let pairs = tags
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false)));
    let text = pairs.collect::<Vec<_>>().join("&");
    if headers.set("x-amz-tagging", &text).ok_or(S3Code::InvalidTag)? {
        let message = "Tags are given twice.";
        return Err(S3Error::argument("tagging", "", message));
    }
    Ok(tags)
}

/// Takes in a form. Who sent it is in the form: the sender of `context` is who that turns out to be.
pub(crate) async fn run(
    context: &mut Context<'_>,
    verifier: &Verifier<'_>,
    body: &mut Option<Body>,
) -> Result<Reply, S3Error> {
    let content_type = context.request.text("content-type").unwrap_or_default();
    let decoder = FormDecoder::new(&content_type)?;
    let (auth, payload) = (AuthType::Anonymous, PayloadHash::Unsigned);
    let unsigned = Verified { auth, identity: None, signed_ms: None, payload, signer: None };
    let body = body.take().expect("a body is read once");
    let none = Declared::default();
    let len_max = PUT_LEN_BYTES_MAX + ENVELOPE_LEN_MAX;
    let reader = BodyReader::new(&context.request, body, unsigned, &none, len_max)?;
    let mut form = Form { fields: Vec::new(), decoder, reader };
    let (filename, _) = form.read_fields().await?;
    let key = form.name_object(base_name(&filename))?;
    let policy = authenticate(&form, context, verifier)?;
    context.request.key = Some(key);
    // What is said of the object is in the form; what is known of the transport is in the request.
    refuse_conditions(&context.request)?;
    context.sent = Some(Arc::new(context.request.clone()));
    context.request.headers = Headers::default();
    let tagging = form.field("tagging").map(str::to_owned);
    context.request.headers = headers_of(&form, context.sent())?;
    let tags = take_tags(tagging.as_deref(), &mut context.request.headers)?;
    context.request.headers.check_lines()?;
    context.operation = Some(Operation::PutObject);
    authorize(context, Operation::PutObject)?;
    context.is_decided();
    headers::check(&context.request.headers, Operation::PutObject)?;
    context.reserve_line(0).await?;
    let mut draft = parse_draft(&context.request)?;
    if !tags.is_empty() {
        draft.tags = tags;
    }
    let bucket = context.engine.find_bucket(context.request.bucket_name()?.as_str())?;
    super::apply_acl(context, &bucket, &mut draft)?;
    let declared = Declared::parse(&context.request)?;
    let algorithm = declared.algorithm().unwrap_or(ChecksumAlgorithm::Crc64Nvme);
    let length = policy.and_then(|policy| policy.length).unwrap_or(0..=PUT_LEN_BYTES_MAX);
    let object = context.request.object_key()?;
    let sealing = encryption::of_write(context, &bucket, object.as_bytes()).await?;
    sealing.describe(&mut draft);
    let class = draft.storage_class.as_deref();
    let stored =
        form.read_file(context, algorithm, (class, sealing.seal.as_ref()), &length).await?;
    declared
        .check(&stored.md5, &stored.checksum, None)
        .inspect_err(|_| context.engine.give_up(&stored))?;
    let sum = declared.checksum.is_some().then(|| stored.checksum.clone());
    let (bucket, object) = (bucket.name.clone(), object.as_bytes().to_vec());
    let request = PutRequest { bucket, object, draft, stored, conditions: Conditions::default() };
    let work = async { context.engine.put_object(request).await.map_err(S3Error::from) };
    let outcome = with_decisions(context, pin!(work)).await?;
    let etag = format!("\"{}\"", outcome.row.etag.to_text());
    let mut reply = answer(context, &form, &etag);
    set(&mut reply, "etag", &etag);
    if let Some(checksum) = &sum {
        tell_checksum(&mut reply, checksum, None);
    }
    encryption::tell(&mut reply, context, outcome.row.encryption.as_ref());
    if let Some(version) = outcome.reported_version() {
        set(&mut reply, "x-amz-version-id", &version);
    }
    Ok(reply)
}

/// The name of a file without the folders that some browsers send with it, of Windows or of others.
fn base_name(filename: &str) -> &str {
    filename.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// What the form asked to be told.
fn answer(context: &Context<'_>, form: &Form, etag: &str) -> Reply {
    let request = &context.request;
    let bucket = request.bucket.as_deref().unwrap_or_default();
    let key = request.key.as_deref().unwrap_or_default();
    let redirect = form.field("success_action_redirect").or(form.field("redirect"));
    if let Some(target) = redirect.filter(|t| t.starts_with("http://") || t.starts_with("https://"))
    {
        let mark = if target.contains('?') { '&' } else { '?' };
        let (key, etag) = (encode(key, false), encode(etag, false));
        let mut reply = empty(303);
        set(
            &mut reply,
            "location",
            &format!("{target}{mark}bucket={bucket}&key={key}&etag={etag}"),
        );
        return reply;
    }
    let scheme = if context.sender.peer.is_secure { "https" } else { "http" };
    let path = encode(key, true);
    let location = match request.path_names_bucket {
        true => format!("{scheme}://{}/{bucket}/{path}", request.host),
        false => format!("{scheme}://{}/{path}", request.host),
    };
    let mut reply = match form.field("success_action_status") {
        Some("201") => {
            let mut document = Xml::bare();
            document.open("PostResponse").text("Location", &location).text("Bucket", bucket);
            document.text("Key", key).text("ETag", etag);
            let mut reply = xml(document.finish("PostResponse"));
            *reply.status_mut() = http::StatusCode::CREATED;
            reply
        }
        Some("200") => empty(200),
        _ => empty(204),
    };
    set(&mut reply, "location", &location);
    reply
}
