//! S3 error codes, and the one place where failures become them.
//!
//! The matches below have no wildcard arm: a new engine error does not compile until someone chooses
//! its code. Source: S3 API reference, "Error responses"; messages are worded as S3 answers them, because
//! clients compare them. `docs/errors.md` is made from the table.

use drystone_base::NameError;
use drystone_engine::{Condition, EngineError};

macro_rules! codes {
    ($($name:ident $(= $text:literal)? $status:literal $message:literal;)*) => {
        /// An S3 error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are S3's own")]
        pub enum S3Code { $($name,)* }

        impl S3Code {
            /// All codes.
            pub const ALL: &[S3Code] = &[$(S3Code::$name,)*];

            /// The `Code` element.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => codes!(@name $name $($text)?),)* }
            }
            /// HTTP status.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
            /// Message, where the place of the error has none of its own.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
    (@name $name:ident) => { stringify!($name) };
    (@name $name:ident $text:literal) => { $text };
}

codes! {
    AccessDenied 403 "Access Denied";
    AccessControlListNotSupported 400 "The bucket does not allow ACLs";
    AccessPointAlreadyOwnedByYou 409 "Your previous request to create the named access point succeeded and you already own it.";
    AccessForbidden 403 "CORSResponse: This CORS request is not allowed.";
    AuthorizationHeaderMalformed 400 "The authorization header is malformed";
    AuthorizationQueryParametersError 400 "The query parameters of the presigned URL are malformed.";
    BadDigest 400 "The Content-MD5 or checksum value that you specified did not match what the server received.";
    BadRequest 400 "The request cannot be served.";
    BucketAlreadyExists 409 "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.";
    BucketAlreadyOwnedByYou 409 "Your previous request to create the named bucket succeeded and you already own it.";
    BucketHasAccessPointsAttached 400 "The bucket you tried to delete has access points attached. Delete your access points before deleting your bucket.";
    BucketNotEmpty 409 "The bucket you tried to delete is not empty";
    ConditionalRequestConflict 409 "The conditional request cannot succeed due to a conflicting operation against this resource.";
    EntityTooLarge 400 "Your proposed upload exceeds the maximum allowed size";
    EntityTooSmall 400 "Your proposed upload is smaller than the minimum allowed size";
    ExpiredToken 400 "The provided token has expired.";
    IdempotencyParameterMismatch 400 "The client token was used before, with other parameters.";
    IllegalLocationConstraintException 400 "The location constraint is incompatible for the region specific endpoint this request was sent to.";
    IllegalVersioningConfigurationException 400 "The versioning configuration specified in the request is invalid.";
    IncompleteBody 400 "You did not provide the number of bytes specified by the Content-Length HTTP header";
    InternalError 500 "We encountered an internal error. Please try again.";
    InvalidAccessKeyId 403 "The AWS Access Key Id you provided does not exist in our records.";
    InvalidArgument 400 "Invalid Argument";
    InvalidBucketOwnerAWSAccountID 400 "The value of the expected bucket owner parameter must be an AWS account ID.";
    InvalidBucketName 400 "The specified bucket is not valid.";
    InvalidBucketAclWithObjectOwnership 400 "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
    InvalidBucketState 409 "The request is not valid for the current state of the bucket.";
    InvalidChunkSizeError 400 "A chunk of the body has a size that is not allowed.";
    InvalidDigest 400 "The Content-MD5 you specified was invalid.";
    InvalidEncryptionAlgorithmError 400 "The Encryption request you specified is not valid. Supported value: AES256.";
    InvalidLocationConstraint 400 "The specified location-constraint is not valid";
    InvalidObjectState 403 "The operation is not valid for the object's storage class";
    InvalidPart 400 "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
    InvalidPartNumber 416 "The requested partnumber is not satisfiable";
    InvalidPartOrder 400 "The list of parts was not in ascending order. Parts must be ordered by part number.";
    InvalidPolicyDocument 400 "The content of the form does not meet the conditions of the policy document.";
    InvalidRedirectLocation 400 "The website redirect location is not valid.";
    InvalidRange 416 "The requested range is not satisfiable";
    InvalidRequest 400 "Invalid Request";
    InvalidRetentionPeriod 400 "The retention period must be a positive number of days or years.";
    InvalidS3DestinationBucket 400 "The destination bucket is not valid.";
    InvalidStorageClass 400 "The storage class you specified is not valid";
    InvalidTargetBucketForLogging 400 "The target bucket for logging does not exist, is not owned by you, or does not have the appropriate grants for the log-delivery group.";
    InvalidTag 400 "The tag provided was not a valid tag.";
    InvalidToken 400 "The provided token is malformed or otherwise invalid.";
    InvalidURI 400 "Couldn't parse the specified URI.";
    InvalidWriteOffset 400 "The write offset value that you specified does not match the current object size.";
    KmsDisabledException = "KMS.DisabledException" 400 "The request was rejected because the specified KMS key is not enabled.";
    KmsInvalidStateException = "KMS.KMSInvalidStateException" 400 "The request was rejected because the state of the specified KMS key is not valid for this request.";
    KmsNotFoundException = "KMS.NotFoundException" 400 "The specified KMS key does not exist.";
    KeyTooLongError 400 "Your key is too long";
    MalformedACLError 400 "The XML you provided was not well-formed or did not validate against our published schema";
    MalformedPOSTRequest 400 "The body of your POST request is not well-formed multipart/form-data.";
    MalformedPolicy 400 "The policy is not valid.";
    MalformedTrailerError 400 "The request contained trailing data that was not well-formed.";
    MalformedXML 400 "The XML you provided was not well-formed or did not validate against our published schema";
    MaxMessageLengthExceeded 400 "Your request was too big.";
    MaxPostPreDataLengthExceededError 400 "Your POST request fields preceding the upload file were too large.";
    MetadataTooLarge 400 "Your metadata headers exceed the maximum allowed metadata size";
    MethodNotAllowed 405 "The specified method is not allowed against this resource.";
    MissingContentLength 411 "You must provide the Content-Length HTTP header.";
    MissingSecurityHeader 400 "Your request was missing a required header";
    MissingRequestBodyError 400 "Request Body is empty";
    NoSuchAccessPoint 404 "The specified access point does not exist.";
    NoSuchAccessPointPolicy 404 "The specified access point does not have a policy.";
    NoSuchBucket 404 "The specified bucket does not exist";
    NoSuchBucketPolicy 404 "The bucket policy does not exist";
    NoSuchCORSConfiguration 404 "The CORS configuration does not exist";
    NoSuchConfiguration 404 "The specified configuration does not exist.";
    NoSuchKey 404 "The specified key does not exist.";
    NoSuchLifecycleConfiguration 404 "The lifecycle configuration does not exist";
    NoSuchObjectLockConfiguration 404 "The specified object does not have a ObjectLock configuration";
    NoSuchPublicAccessBlockConfiguration 404 "The public access block configuration was not found";
    NoSuchTagSet 404 "The TagSet does not exist";
    NoSuchUpload 404 "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    NoSuchVersion 404 "The specified version does not exist.";
    NoSuchWebsiteConfiguration 404 "The specified bucket does not have a website configuration";
    NotImplemented 501 "A header you provided implies functionality that is not implemented";
    ObjectLockConfigurationNotFoundError 404 "Object Lock configuration does not exist for this bucket";
    OperationAborted 409 "A conflicting conditional operation is currently in progress against this resource. Please try again.";
    OwnershipControlsNotFoundError 404 "The bucket ownership controls were not found";
    PreconditionFailed 412 "At least one of the pre-conditions you specified did not hold";
    ReplicationConfigurationNotFoundError 404 "The replication configuration was not found";
    RequestHeaderSectionTooLarge 400 "Your request header section exceeds the maximum allowed size.";
    RequestTimeTooSkewed 403 "The difference between the request time and the current time is too large.";
    RequestTimeout 400 "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.";
    RestoreAlreadyInProgress 409 "Object restore is already in progress";
    ServerSideEncryptionConfigurationNotFoundError 404 "The server side encryption configuration was not found";
    ServiceUnavailable 503 "Service is unable to handle request.";
    SignatureDoesNotMatch 403 "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    SlowDown 503 "Please reduce your request rate.";
    TooManyBuckets 400 "You have attempted to create more buckets than allowed";
    TooManyConfigurations 400 "You are attempting to create a new configuration but have already reached the 1,000-configuration limit.";
    TooManyParts 400 "You have attempted to add more parts than the maximum of 10000 that are allowed for this object. You can use the CopyObject operation to copy this object to another and then add more data to the newly copied object.";
    UnexpectedContent 400 "This request does not support content";
    UnresolvableGrantByEmailAddress 400 "The e-mail address you provided does not match any account on record.";
    XAmzContentSHA256Mismatch 400 "The provided 'x-amz-content-sha256' header does not match what was computed.";
    XMinioStorageFull 507 "Storage backend has reached its minimum free drive threshold. Delete a few objects to proceed.";
}

/// An error as a client will see it.
#[derive(Clone, Debug)]
pub struct S3Error {
    /// Code.
    pub code: S3Code,
    /// Message.
    pub message: String,
    /// Elements of its own, such as `ArgumentName`.
    pub fields: Vec<(&'static str, String)>,
    /// Headers of its own, such as `x-amz-delete-marker`.
    pub headers: Vec<(&'static str, String)>,
    /// The outcome is not known: the connection is dropped without an answer.
    pub drop_connection: bool,
    /// The request was decided on something that changed meanwhile: it can be decided again.
    pub decide_again: bool,
}

impl S3Error {
    /// An error with the code's own message.
    #[must_use]
    pub fn new(code: S3Code) -> Self {
        Self::with(code, code.message())
    }
    /// An error with a message.
    #[must_use]
    pub fn with(code: S3Code, message: impl Into<String>) -> Self {
        let message = message.into();
        let (fields, headers) = (Vec::new(), Vec::new());
        let (drop_connection, decide_again) = (false, false);
        Self { code, message, fields, headers, drop_connection, decide_again }
    }
    /// Adds an element.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
    /// An argument that is not right.
    #[must_use]
    pub fn argument(name: &str, value: &str, message: impl Into<String>) -> Self {
        Self::with(S3Code::InvalidArgument, message)
            .field("ArgumentName", name)
            .field("ArgumentValue", value)
    }
    /// Something that is not implemented.
    #[must_use]
    pub fn not_implemented(what: &str) -> Self {
        // It may be what a client wrote.
        let message = format!("{} is not implemented.", &what[..what.floor_char_boundary(256)]);
        Self::with(S3Code::NotImplemented, message).field("Header", what)
    }
}

impl From<S3Code> for S3Error {
    fn from(code: S3Code) -> Self {
        Self::new(code)
    }
}

impl From<NameError> for S3Error {
    fn from(error: NameError) -> Self {
        match error {
            NameError::Bucket(rule) => {
                let message = format!("The specified bucket is not valid: {rule}.");
                Self::with(S3Code::InvalidBucketName, message)
            }
            NameError::BucketReserved => S3Code::AccessDenied.into(),
            NameError::KeyTooLong { len_bytes } => Self::new(S3Code::KeyTooLongError)
                .field("Size", len_bytes.to_string())
                .field("MaxSizeAllowed", "1024"),
            NameError::Key => Self::with(S3Code::InvalidURI, "The object key is not valid."),
        }
    }
}

fn condition_name(condition: Condition) -> &'static str {
    match condition {
        Condition::IfMatch => "If-Match",
        Condition::IfNoneMatch => "If-None-Match",
        Condition::IfMatchSize => "x-amz-if-match-size",
        Condition::IfMatchLastModified => "x-amz-if-match-last-modified-time",
        Condition::IfModifiedSince => "If-Modified-Since",
        Condition::IfUnmodifiedSince => "If-Unmodified-Since",
    }
}

fn checksum_types(
    expected: Option<drystone_engine::ChecksumAlgorithm>,
    actual: Option<drystone_engine::ChecksumAlgorithm>,
) -> String {
    let name = |algorithm: Option<drystone_engine::ChecksumAlgorithm>| {
        algorithm.map_or("null".to_owned(), |a| a.name().to_lowercase())
    };
    format!(
        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
        name(expected),
        name(actual)
    )
}

fn broken(message: impl Into<String>) -> S3Error {
    S3Error::with(S3Code::InternalError, message)
}

/// What is wrong with an upload or its parts.
fn of_parts(error: &EngineError) -> S3Error {
    match error {
        EngineError::UploadNotFound => S3Code::NoSuchUpload.into(),
        EngineError::UploadBusy => S3Code::OperationAborted.into(),
        EngineError::InvalidPart { number } => {
            S3Error::new(S3Code::InvalidPart).field("PartNumber", number.to_string())
        }
        EngineError::InvalidPartOrder => S3Code::InvalidPartOrder.into(),
        EngineError::PartTooSmall { number, size_bytes, etag } => {
            S3Error::new(S3Code::EntityTooSmall)
                .field("ProposedSize", size_bytes.to_string())
                .field("MinSizeAllowed", "5242880")
                .field("PartNumber", number.to_string())
                .field("ETag", etag.clone())
        }
        EngineError::ObjectTooLarge { size_bytes } => {
            S3Error::new(S3Code::EntityTooLarge).field("ProposedSize", size_bytes.to_string())
        }
        EngineError::TooManyParts => S3Code::TooManyParts.into(),
        // The caller names the kinds above.
        _ => S3Code::InternalError.into(),
    }
}

/// What was decided on has changed: the request may be decided on again.
fn decided_on_other() -> S3Error {
    S3Error { decide_again: true, ..S3Error::new(S3Code::OperationAborted) }
}

/// Whether it was done is not known: no answer says either.
fn unknown_outcome() -> S3Error {
    S3Error { drop_connection: true, ..S3Error::new(S3Code::InternalError) }
}

/// What drives and keys do not allow at present, and what is wrong with what is stored.
fn of_storage(error: &EngineError) -> S3Error {
    let unavailable = |message: String| S3Error::with(S3Code::ServiceUnavailable, message);
    match error {
        EngineError::Unreachable { missing } => unavailable(format!(
            "The object cannot be read at present: {missing} more of the drives that hold it must be online. \
             It is served again when they are back."
        )),
        EngineError::Closed | EngineError::ReadOnly | EngineError::TooFewDrives { .. } => {
            unavailable(error.to_string())
        }
        EngineError::Damaged(_) => broken("The stored data of this object is damaged."),
        EngineError::Keyring(error) => broken(error.to_string()),
        EngineError::SealBroken => broken("The encrypted data of this object does not open."),
        // What the server cannot explain, of the kinds that the caller names.
        _ => S3Code::InternalError.into(),
    }
}

/// What a lock, or the lack of one, does not allow.
fn of_locks(error: &EngineError) -> S3Error {
    let (code, message) = match error {
        EngineError::Locked => {
            (S3Code::AccessDenied, "Access Denied because object protected by object lock.")
        }
        EngineError::MfaNeeded => {
            (S3Code::AccessDenied, "Mfa Authentication must be used for this request")
        }
        EngineError::NoBucketLock => {
            (S3Code::InvalidRequest, "Bucket is missing Object Lock Configuration")
        }
        EngineError::LockClockBehind => (
            S3Code::ServiceUnavailable,
            "The clock of the server and the clock by which locks end are more than a day apart, so the \
             default retention of the bucket cannot be applied. An operator must check the time and run \
             `drystone lock confirm-clock`.",
        ),
        EngineError::LockClockAhead => (
            S3Code::ServiceUnavailable,
            "The clock by which locks end is more than a day ahead of the clock of the server, so it would \
             not hold a new retention. An operator must check the time and run `drystone lock confirm-clock`.",
        ),
        // The caller names the kinds above.
        _ => return S3Code::InternalError.into(),
    };
    S3Error::with(code, message)
}

impl From<EngineError> for S3Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::BucketNotFound => S3Code::NoSuchBucket.into(),
            EngineError::BucketExists { is_own: true } => S3Code::BucketAlreadyOwnedByYou.into(),
            EngineError::BucketExists { is_own: false } => S3Code::BucketAlreadyExists.into(),
            EngineError::TooManyBuckets => S3Code::TooManyBuckets.into(),
            EngineError::TooManyDocuments => S3Code::TooManyConfigurations.into(),
            EngineError::BucketNotEmpty => S3Code::BucketNotEmpty.into(),
            EngineError::ObjectNotFound { marker: None } => S3Code::NoSuchKey.into(),
            EngineError::ObjectNotFound { marker: Some(version) } => Self::new(S3Code::NoSuchKey)
                .header("x-amz-delete-marker", "true")
                .header("x-amz-version-id", version),
            EngineError::VersionNotFound => S3Code::NoSuchVersion.into(),
            EngineError::IsDeleteMarker { version, modified_ms } => {
                Self::new(S3Code::MethodNotAllowed)
                    .field("Method", "GET")
                    .field("ResourceType", "DeleteMarker")
                    .header("allow", "DELETE")
                    .header("x-amz-delete-marker", "true")
                    .header("x-amz-version-id", version)
                    .header("last-modified", drystone_base::Timestamp(modified_ms).to_http())
            }
            EngineError::PreconditionFailed(condition) => {
                Self::new(S3Code::PreconditionFailed).field("Condition", condition_name(condition))
            }
            error @ (EngineError::Locked
            | EngineError::MfaNeeded
            | EngineError::NoBucketLock
            | EngineError::LockClockBehind
            | EngineError::LockClockAhead) => of_locks(&error),
            EngineError::BucketState => S3Code::InvalidBucketState.into(),
            EngineError::NotArchived => S3Code::InvalidObjectState.into(),
            EngineError::RestoreOngoing => S3Code::RestoreAlreadyInProgress.into(),
            // How long the object is says only a right to read it.
            EngineError::WriteOffset { .. } => S3Code::InvalidWriteOffset.into(),
            EngineError::NotAppendable => Self::not_implemented("x-amz-write-offset-bytes"),
            EngineError::TokenMismatch => S3Code::IdempotencyParameterMismatch.into(),
            EngineError::Conflict => S3Code::ConditionalRequestConflict.into(),
            EngineError::DecidedOnOther => decided_on_other(),
            error @ (EngineError::UploadNotFound
            | EngineError::UploadBusy
            | EngineError::InvalidPart { .. }
            | EngineError::InvalidPartOrder
            | EngineError::PartTooSmall { .. }
            | EngineError::ObjectTooLarge { .. }
            | EngineError::TooManyParts) => of_parts(&error),
            EngineError::ChecksumMismatch { .. } => S3Code::BadDigest.into(),
            EngineError::ChecksumTypeMismatch { expected, actual } => {
                Self::with(S3Code::InvalidRequest, checksum_types(expected, actual))
            }
            EngineError::Invalid(message) => Self::with(S3Code::InvalidRequest, message),
            EngineError::Busy | EngineError::NotOpened => S3Code::SlowDown.into(),
            EngineError::Full => S3Code::XMinioStorageFull.into(),
            EngineError::Unknown => unknown_outcome(),
            error @ (EngineError::Unreachable { .. }
            | EngineError::Closed
            | EngineError::ReadOnly
            | EngineError::TooFewDrives { .. }
            | EngineError::Damaged(_)
            | EngineError::Keyring(_)
            | EngineError::SealBroken
            | EngineError::Vanished
            | EngineError::KeyNeeded
            | EngineError::NoKeyring
            | EngineError::DamagedLockClock
            | EngineError::Catalog(_)
            | EngineError::Drive(_)) => of_storage(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_of_an_error_and_a_message() {
        for code in S3Code::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert!(code.message().len() > 10, "{code:?}");
        }
    }

    /// Goal: the page of errors is that of the table. To renew it: put the text of the failure in its place.
    #[test]
    fn the_page_of_errors_is_made_from_the_table() {
        let mut page = include_str!("error/page.md").to_owned();
        let mut codes = S3Code::ALL.to_vec();
        codes.sort_by_key(|code| code.name());
        for code in codes {
            let (name, status, message) = (code.name(), code.status(), code.message());
            page += &format!("| `{name}` | {status} | {message} |\n");
        }
        let kept = include_str!("../../../docs/errors.md");
        assert!(kept == page, "docs/errors.md is not this page:\n{page}");
    }
}
