//! Encryption of objects: what a request or its bucket asks for, which key that takes, and who may use it.

mod default;
mod headers;

pub(crate) use default::{DefaultEncryption, ROOT};
pub(crate) use headers::{Side, asks, customer_key};

use crate::authorize::{Also, account_of, decide_also, remember_encryption};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::operation::Operation;
use crate::request::S3Request;
use crate::response::{Reply, set};
use default::Method;
use drystone_base::BucketId;
use drystone_engine::{BucketRow, Encryption, ObjectDraft, ObjectRow, Seal, SseMode, UploadRow};
use drystone_identity::DEFAULT_ACCOUNT;
use drystone_keyring::{DataKey, ObjectPlace, bound_context, unwrap};
use drystone_kms::{BucketKeyScope, Kms, KmsError, Sealed};
use headers::{Asked, BUCKET_KEY, KMS_CONTEXT, KMS_KEY, KmsAsked, SSE, bucket_key};
use std::sync::Arc;

/// Decides whether the sender may use a key.
fn may_use_key(context: &Context<'_>, action: &'static str, id: &str) -> Result<(), S3Error> {
    decide_also(context, Also::Key { action, id: id.to_owned() })
}

/// What a data key that is sealed under a key of the client is bound to.
const CUSTOMER_CONTEXT: &[u8] = b"object/sse-c";
const OTHER_CUSTOMER_KEY: &str =
    "The provided encryption parameters did not match the ones used originally.";

/// How an object that is written is sealed, and what its row says of it.
#[derive(Default)]
pub(crate) struct Sealing {
    encryption: Option<Encryption>,
    pub(crate) seal: Option<Seal>,
    /// The bucket that the data key is bound to.
    bucket: Option<BucketId>,
}

impl Sealing {
    fn new(encryption: Encryption, place: &ObjectPlace<'_>, key: DataKey) -> Self {
        let seal = Seal { key, hides_digests: encryption.hides_digests() };
        Self { encryption: Some(encryption), seal: Some(seal), bucket: Some(place.bucket) }
    }

    /// Says in the draft of an object how it is sealed, and in which bucket it can be opened.
    pub(crate) fn describe(&self, draft: &mut ObjectDraft) {
        draft.encryption = self.encryption.clone();
        draft.sealed_in = self.bucket;
    }
}

fn encryption(mode: SseMode, place: &ObjectPlace<'_>, sealed_key: Vec<u8>) -> Encryption {
    Encryption {
        mode,
        key_id: String::new(),
        context: String::new(),
        has_bucket_key: false,
        sealed_key,
        salt: [0; 16],
        object_id: Some(place.object_id),
    }
}

/// Where an object is that was sealed before: `None` if it was not bound to its place yet.
fn place_of<'a>(
    bucket: &BucketRow,
    key: &'a [u8],
    encryption: &Encryption,
) -> Option<ObjectPlace<'a>> {
    let object_id = encryption.object_id?;
    Some(ObjectPlace { bucket: bucket.id, object_id, key })
}

/// Which encryption an object gets that is written by a request under a key, with a new data key.
///
/// # Errors
///
/// Contradictory or bad headers; a key that is not there, is disabled, or that the sender may not use.
pub(crate) async fn of_write(
    context: &Context<'_>,
    bucket: &BucketRow,
    key: &[u8],
) -> Result<Sealing, S3Error> {
    of_copy(context, bucket, key, None).await
}

/// As [`of_write`], for a copy: the data key of its source is sealed again, so that both can have the same
/// sealed bytes.
///
/// # Errors
///
/// As [`of_write`].
pub(crate) async fn of_copy(
    context: &Context<'_>,
    bucket: &BucketRow,
    key: &[u8],
    source_key: Option<&DataKey>,
) -> Result<Sealing, S3Error> {
    let request = &context.request;
    let rules = context.rules_of(bucket)?;
    remember_encryption(context, &bucket.name, rules.clone());
    let default = &rules.encryption;
    let asked = match headers::parse(request, context.sender.peer.is_secure)? {
        Asked::Nothing => match &default.method {
            None => return Ok(Sealing::default()),
            Some(Method::S3) => Asked::S3,
            Some(Method::Kms { key, bucket_key: by_default }) => Asked::Kms(KmsAsked {
                key: key.clone(),
                context: String::new(),
                bucket_key: Some(bucket_key(request)?.unwrap_or(*by_default)),
            }),
        },
        asked => asked,
    };
    let kms = &context.config.kms;
    let data_key = source_key.cloned().unwrap_or_else(|| kms.new_data_key());
    let place = ObjectPlace { bucket: bucket.id, object_id: kms.new_object_id(), key };
    match asked {
        Asked::Nothing => Ok(Sealing::default()),
        Asked::S3 => Ok(sealed_by_server(kms, &place, data_key)),
        Asked::Customer(_) if default.blocks_customer_keys => {
            let message = "The bucket does not take objects that are encrypted with keys of \
                           customers.";
            Err(S3Error::with(S3Code::AccessDenied, message))
        }
        Asked::Customer(customer) => Ok(sealed_by_customer(kms, &place, &customer, data_key)),
        Asked::Kms(asked) => {
            let id = key_of(kms, asked.key.as_deref(), context.sender.account())?;
            may_use_key(context, "kms:GenerateDataKey", &id)?;
            seal_by_kms(&in_line(context), &place, (id, asked), data_key).await
        }
    }
}

fn sealed_by_server(kms: &Kms, place: &ObjectPlace<'_>, key: DataKey) -> Sealing {
    Sealing::new(encryption(SseMode::S3, place, kms.seal_s3(place, &key)), place, key)
}

fn sealed_by_customer(
    kms: &Kms,
    place: &ObjectPlace<'_>,
    customer: &DataKey,
    key: DataKey,
) -> Sealing {
    let context = bound_context(CUSTOMER_CONTEXT, Some(place));
    let sealed = kms.seal_for(customer, &context, &key);
    Sealing::new(encryption(SseMode::Customer, place, sealed), place, key)
}

/// The id of the key that someone of an account names: without its ARN it is one of that account.
fn key_of(kms: &Kms, named: Option<&str>, account: Option<&str>) -> Result<String, S3Error> {
    match named {
        Some(name) => Ok(kms.resolve(name, Some(account.unwrap_or(DEFAULT_ACCOUNT)))?),
        None => Ok(kms.default_id().to_owned()),
    }
}

/// The keys, with which this caller waits for its turns.
fn in_line(context: &Context<'_>) -> Kms {
    context.config.kms.in_line(Arc::new(context.engine.clone()))
}

async fn seal_by_kms(
    kms: &Kms,
    place: &ObjectPlace<'_>,
    (id, asked): (String, KmsAsked),
    key: DataKey,
) -> Result<Sealing, S3Error> {
    let has_bucket_key = asked.bucket_key.unwrap_or(false);
    let scope = has_bucket_key.then_some(BucketKeyScope(place.bucket));
    let sealed = kms.seal(&id, (&asked.context, Some(place)), scope, &key).await?;
    let encryption = Encryption {
        key_id: id,
        context: asked.context,
        has_bucket_key,
        ..encryption(SseMode::Kms, place, sealed)
    };
    Ok(Sealing::new(encryption, place, key))
}

/// Which encryption an object gets that the server itself writes.
pub(crate) async fn of_server(
    kms: &Kms,
    bucket: &BucketRow,
    key: &[u8],
    default: &DefaultEncryption,
) -> Result<Sealing, S3Error> {
    let place = ObjectPlace { bucket: bucket.id, object_id: kms.new_object_id(), key };
    match &default.method {
        None => Ok(Sealing::default()),
        Some(Method::S3) => Ok(sealed_by_server(kms, &place, kms.new_data_key())),
        Some(Method::Kms { key, bucket_key }) => {
            let account = account_of(bucket);
            let id = key_of(kms, key.as_deref(), Some(account))?;
            // No one asks for this write: a key of another account would be used without its leave.
            if kms.rules(&id).is_ok_and(|rules| rules.account.is_some_and(|of| of != account)) {
                return Err(KmsError::NotFound(id).into());
            }
            let bucket_key = Some(*bucket_key);
            let asked = KmsAsked { bucket_key, ..KmsAsked::default() };
            seal_by_kms(kms, &place, (id, asked), kms.new_data_key()).await
        }
    }
}

/// The data key of a version that is to be read.
///
/// # Errors
///
/// `InvalidRequest` where the key of the client is missing or there is none to give; `AccessDenied` where
/// it is another one, or the sender may not use the named key; `KMS.*`.
pub(crate) async fn of_read(
    context: &Context<'_>,
    (bucket, key): (&BucketRow, &[u8]),
    row: &ObjectRow,
    side: Side,
) -> Result<Option<DataKey>, S3Error> {
    if side == Side::Object {
        refuse_on_read(&context.request)?;
    }
    let customer = customer_key(&context.request, context.sender.peer.is_secure, side)?;
    let Some(encryption) = &row.encryption else {
        return match customer {
            Some(_) => Err(not_applicable()),
            None => Ok(None),
        };
    };
    let place = place_of(bucket, key, encryption);
    match (encryption.mode, customer) {
        (SseMode::Customer, Some(customer)) => {
            match open_customer(encryption, place.as_ref(), &customer) {
                Some(key) => Ok(Some(key)),
                None => Err(S3Code::AccessDenied.into()),
            }
        }
        (SseMode::Customer, None) => {
            let message = "The object was stored using a form of Server Side Encryption. The \
                           correct parameters must be provided to retrieve the object.";
            Err(S3Error::with(S3Code::InvalidRequest, message))
        }
        (_, Some(_)) => Err(not_applicable()),
        (SseMode::S3, None) => {
            let key = context.config.kms.open_s3(place.as_ref(), &encryption.sealed_key)?;
            Ok(Some(key))
        }
        (SseMode::Kms, None) => {
            may_use_key(context, "kms:Decrypt", &encryption.key_id)?;
            Ok(Some(open_kms(context, (bucket, place), encryption).await?))
        }
    }
}

fn not_applicable() -> S3Error {
    let message = "The encryption parameters are not applicable to this object.";
    S3Error::with(S3Code::InvalidRequest, message)
}

fn open_customer(
    encryption: &Encryption,
    place: Option<&ObjectPlace<'_>>,
    customer: &DataKey,
) -> Option<DataKey> {
    let context = bound_context(CUSTOMER_CONTEXT, place);
    let bytes = unwrap(customer, &context, &encryption.sealed_key)?;
    DataKey::from_slice(&bytes)
}

async fn open_kms(
    context: &Context<'_>,
    (bucket, place): (&BucketRow, Option<ObjectPlace<'_>>),
    encryption: &Encryption,
) -> Result<DataKey, S3Error> {
    let sealed = Sealed {
        key_id: &encryption.key_id,
        context: &encryption.context,
        place,
        has_bucket_key: encryption.has_bucket_key,
        sealed: &encryption.sealed_key,
    };
    Ok(in_line(context).open(&sealed, BucketKeyScope(bucket.id)).await?)
}

/// A reader says nothing of an encryption whose key he does not keep.
fn refuse_on_read(request: &S3Request) -> Result<(), S3Error> {
    for name in [SSE, KMS_KEY, KMS_CONTEXT] {
        if let Some(value) = request.header_or_query(name) {
            let message = format!("{name} header is not supported for this operation.");
            return Err(S3Error::argument(name, value, message));
        }
    }
    Ok(())
}

/// What a reader of metadata must show: the key of the client where he keeps it, and the right to open the
/// named key where he asks for a digest of the bytes.
///
/// # Errors
///
/// As [`of_read`].
pub(crate) async fn of_head(
    context: &Context<'_>,
    place: (&BucketRow, &[u8]),
    row: &ObjectRow,
    asks_digest: bool,
) -> Result<(), S3Error> {
    let mode = row.encryption.as_ref().map(|encryption| encryption.mode);
    match mode {
        Some(SseMode::S3) | None => {
            refuse_on_read(&context.request)?;
            let secure = context.sender.peer.is_secure;
            match customer_key(&context.request, secure, Side::Object)? {
                Some(_) => Err(not_applicable()),
                None => Ok(()),
            }
        }
        Some(SseMode::Kms) if !asks_digest => refuse_on_read(&context.request),
        Some(_) => of_read(context, place, row, Side::Object).await.map(drop),
    }
}

/// How a part of an upload is sealed.
///
/// # Errors
///
/// As [`of_read`]; `InvalidRequest` where the key of the client is not that of the upload.
pub(crate) async fn of_part(
    context: &Context<'_>,
    (bucket, key): (&BucketRow, &[u8]),
    template: &ObjectRow,
) -> Result<Option<Seal>, S3Error> {
    refuse_on_read(&context.request)?;
    let secure = context.sender.peer.is_secure;
    let customer = customer_key(&context.request, secure, Side::Object)?;
    let invalid = |message: &str| Err(S3Error::with(S3Code::InvalidRequest, message));
    let Some(encryption) = &template.encryption else {
        return match customer {
            None => Ok(None),
            Some(_) => invalid(
                "The multipart upload initiate did not request encryption. Part requests must not \
                 include encryption parameters.",
            ),
        };
    };
    let place = place_of(bucket, key, encryption);
    let key = match (encryption.mode, customer) {
        (SseMode::Customer, Some(customer)) => {
            match open_customer(encryption, place.as_ref(), &customer) {
                Some(key) => key,
                None => return invalid(OTHER_CUSTOMER_KEY),
            }
        }
        (SseMode::Customer, None) => {
            return invalid(
                "The multipart upload initiate requested encryption. Subsequent part requests must \
                 include the appropriate encryption parameters.",
            );
        }
        (_, Some(_)) => return Err(not_applicable()),
        (SseMode::S3, None) => {
            context.config.kms.open_s3(place.as_ref(), &encryption.sealed_key)?
        }
        (SseMode::Kms, None) => {
            may_use_key(context, "kms:GenerateDataKey", &encryption.key_id)?;
            open_kms(context, (bucket, place), encryption).await?
        }
    };
    Ok(Some(Seal { key, hides_digests: encryption.hides_digests() }))
}

/// The encryption that a version gets under another key of its bucket: its data key, sealed for that place.
/// No right to use a named key is asked for: nothing is shown of the bytes, and nothing new is sealed.
///
/// # Errors
///
/// `InvalidRequest` where the key of the client is missing, `AccessDenied` where it is another one;
/// `KMS.*`.
pub(crate) async fn of_rename(
    context: &Context<'_>,
    bucket: &BucketRow,
    (source, target): (&[u8], &[u8]),
    old: &Encryption,
) -> Result<Encryption, S3Error> {
    let kms = &context.config.kms;
    let customer = customer_key(&context.request, context.sender.peer.is_secure, Side::Object)?;
    let (from, object_id) = (place_of(bucket, source, old), kms.new_object_id());
    let place = ObjectPlace { bucket: bucket.id, object_id, key: target };
    let sealed_key = match (old.mode, customer) {
        (SseMode::Customer, None) => {
            let message = "The object was stored using a form of Server Side Encryption. The \
                           correct parameters must be provided to rename the object.";
            return Err(S3Error::with(S3Code::InvalidRequest, message));
        }
        (SseMode::Customer, Some(customer)) => {
            let key = open_customer(old, from.as_ref(), &customer);
            let key = key.ok_or_else(|| S3Error::from(S3Code::AccessDenied))?;
            let context = bound_context(CUSTOMER_CONTEXT, Some(&place));
            kms.seal_for(&customer, &context, &key)
        }
        (_, Some(_)) => return Err(not_applicable()),
        (SseMode::S3, None) => {
            let key = kms.open_s3(from.as_ref(), &old.sealed_key)?;
            kms.seal_s3(&place, &key)
        }
        (SseMode::Kms, None) => {
            let key = open_kms(context, (bucket, from), old).await?;
            let scope = old.has_bucket_key.then_some(BucketKeyScope(bucket.id));
            let old_context = (&old.context[..], Some(&place));
            in_line(context).seal(&old.key_id, old_context, scope, &key).await?
        }
    };
    Ok(Encryption { sealed_key, object_id: Some(object_id), ..old.clone() })
}

/// Refuses what a request that completes an upload, or lists its parts, says of keys, if it is wrong. A
/// completion must show the key of the client where the upload asked for a checksum (S3 API reference,
/// "CompleteMultipartUpload").
///
/// # Errors
///
/// `InvalidRequest` for a key that is missing or not that of the upload.
pub(crate) async fn of_completion(
    context: &Context<'_>,
    place: (&BucketRow, &[u8]),
    upload: &UploadRow,
) -> Result<(), S3Error> {
    let secure = context.sender.peer.is_secure;
    let is_needed =
        upload.checksum.is_some() && context.operation == Some(Operation::CompleteMultipartUpload);
    match customer_key(&context.request, secure, Side::Object)? {
        None if !is_needed => Ok(()),
        None if !is_of_customer(&upload.template) => Ok(()),
        _ => of_part(context, place, &upload.template).await.map(drop),
    }
}

fn is_of_customer(row: &ObjectRow) -> bool {
    row.encryption.as_ref().is_some_and(|encryption| encryption.mode == SseMode::Customer)
}

/// Says in a response how an object is encrypted.
pub(crate) fn tell(reply: &mut Reply, context: &Context<'_>, encryption: Option<&Encryption>) {
    let Some(encryption) = encryption else { return };
    match encryption.mode {
        SseMode::S3 => drop(set(reply, SSE, "AES256")),
        SseMode::Kms => {
            set(reply, SSE, "aws:kms");
            set(reply, KMS_KEY, &context.config.kms.arn(&encryption.key_id));
            if encryption.has_bucket_key {
                set(reply, BUCKET_KEY, "true");
            }
        }
        SseMode::Customer => {
            set(reply, "x-amz-server-side-encryption-customer-algorithm", "AES256");
            let md5 = "x-amz-server-side-encryption-customer-key-md5";
            if let Some(value) = context.request.header_or_query(md5) {
                set(reply, md5, value);
            }
        }
    }
}

impl From<KmsError> for S3Error {
    fn from(error: KmsError) -> Self {
        let message = error.to_string();
        let code = match error {
            KmsError::NotFound(_) => S3Code::KmsNotFoundException,
            KmsError::Disabled(_) => S3Code::KmsDisabledException,
            KmsError::Pending(_) | KmsError::Needed(_) => S3Code::KmsInvalidStateException,
            KmsError::NoRoom | KmsError::Changed => S3Code::SlowDown,
            KmsError::Exists(_) | KmsError::Invalid(_) | KmsError::Limit(_) => {
                S3Code::InvalidArgument
            }
            KmsError::Provider { .. } => S3Code::ServiceUnavailable,
            KmsError::Damaged(_) | KmsError::Keyring(_) => {
                tracing::error!(error = message, "the key of an object does not open");
                S3Code::InternalError
            }
            KmsError::Catalog(error) => return drystone_engine::EngineError::from(error).into(),
        };
        Self::with(code, message)
    }
}
