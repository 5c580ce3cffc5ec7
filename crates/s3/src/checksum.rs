//! What a client declares about the bytes of a body.

use crate::error::{S3Code, S3Error};
use crate::headers::values;
use crate::request::S3Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use drystone_engine::{Checksum, ChecksumAlgorithm};

/// Declared digests of a body.
#[derive(Debug, Default, Clone)]
pub(crate) struct Declared {
    /// `Content-MD5`.
    pub(crate) md5: Option<[u8; 16]>,
    /// `x-amz-checksum-*` among the headers.
    pub(crate) checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
    /// The trailer that is announced.
    pub(crate) trailer: Option<ChecksumAlgorithm>,
}

const PREFIX: &str = "x-amz-checksum-";
const KNOWN: &str =
    "CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, XXHASH3, XXHASH64";

/// Name of the header of an algorithm.
pub(crate) fn header_name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
        ChecksumAlgorithm::Sha512 => "x-amz-checksum-sha512",
        ChecksumAlgorithm::Md5 => "x-amz-checksum-md5",
        ChecksumAlgorithm::XxHash64 => "x-amz-checksum-xxhash64",
        ChecksumAlgorithm::XxHash3 => "x-amz-checksum-xxhash3",
        ChecksumAlgorithm::XxHash128 => "x-amz-checksum-xxhash128",
    }
}

/// Name of the XML element of an algorithm.
pub(crate) fn element_name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "ChecksumCRC32",
        ChecksumAlgorithm::Crc32c => "ChecksumCRC32C",
        ChecksumAlgorithm::Crc64Nvme => "ChecksumCRC64NVME",
        ChecksumAlgorithm::Sha1 => "ChecksumSHA1",
        ChecksumAlgorithm::Sha256 => "ChecksumSHA256",
        ChecksumAlgorithm::Sha512 => "ChecksumSHA512",
        ChecksumAlgorithm::Md5 => "ChecksumMD5",
        ChecksumAlgorithm::XxHash64 => "ChecksumXXHASH64",
        ChecksumAlgorithm::XxHash3 => "ChecksumXXHASH3",
        ChecksumAlgorithm::XxHash128 => "ChecksumXXHASH128",
    }
}

/// Text of a checksum; a composite one needs the number of parts.
pub(crate) fn text_of(checksum: &Checksum, part_count: Option<u16>) -> String {
    let mut text = BASE64.encode(&checksum.value);
    if checksum.kind == drystone_engine::ChecksumKind::Composite {
        text.push_str(&format!("-{}", part_count.unwrap_or(0)));
    }
    text
}

/// The value of a checksum header, element or trailer.
pub(crate) fn parse_value(
    algorithm: ChecksumAlgorithm,
    name: &str,
    text: &str,
) -> Result<Vec<u8>, S3Error> {
    let value = BASE64.decode(text.trim()).ok();
    value.filter(|value| value.len() == algorithm.len_bytes()).ok_or_else(|| {
        S3Error::with(S3Code::InvalidRequest, format!("Value for {name} header is invalid."))
    })
}

fn unsupported(name: &str) -> S3Error {
    let message = format!("The algorithm {name} is not supported; use one of {KNOWN}.");
    S3Error::with(S3Code::InvalidRequest, message)
}

/// The algorithm that a header value names.
pub(crate) fn parse_algorithm(text: &str) -> Result<ChecksumAlgorithm, S3Error> {
    ChecksumAlgorithm::parse(text).ok_or_else(|| {
        let message =
            format!("Checksum algorithm provided is unsupported. Please use one of {KNOWN}");
        S3Error::with(S3Code::InvalidRequest, message)
    })
}

fn algorithm_of_header(name: &str) -> Option<Result<ChecksumAlgorithm, S3Error>> {
    let suffix = name.strip_prefix(PREFIX)?;
    if matches!(suffix, "algorithm" | "mode" | "type") {
        return None;
    }
    Some(ChecksumAlgorithm::parse(suffix).ok_or_else(|| unsupported(suffix)))
}

impl Declared {
    /// Reads the declarations of a request.
    pub(crate) fn parse(request: &S3Request) -> Result<Self, S3Error> {
        let md5 = request.read("content-md5", values::md5)?;
        let mut declared = Self { md5, ..Self::default() };
        for name in request.headers.names() {
            let Some(algorithm) = algorithm_of_header(name) else { continue };
            let algorithm = algorithm?;
            if declared.checksum.is_some() {
                let message = "Expecting a single x-amz-checksum- header. Multiple checksum Types \
                               are not allowed.";
                return Err(S3Error::with(S3Code::InvalidRequest, message));
            }
            let value = request.header(name).unwrap_or_default();
            declared.checksum = Some((algorithm, parse_value(algorithm, name, value)?));
        }
        if let Some(text) = request.header("x-amz-trailer") {
            let name = text.trim().to_ascii_lowercase();
            declared.trailer = Some(match algorithm_of_header(&name) {
                Some(algorithm) => algorithm?,
                None => {
                    let message =
                        "The value specified in the x-amz-trailer header is not supported";
                    return Err(S3Error::with(S3Code::InvalidRequest, message));
                }
            });
        }
        declared.check_pairs(request)?;
        Ok(declared)
    }

    fn check_pairs(&self, request: &S3Request) -> Result<(), S3Error> {
        if self.checksum.is_some() && self.trailer.is_some() {
            let message = "Expecting a single x-amz-checksum- header";
            return Err(S3Error::with(S3Code::InvalidRequest, message));
        }
        if let Some(said) = request.read("x-amz-sdk-checksum-algorithm", values::algorithm)? {
            let Some(sent) = self.algorithm() else {
                let message = "x-amz-sdk-checksum-algorithm specified, but no corresponding \
                               x-amz-checksum-* or x-amz-trailer headers were found.";
                return Err(S3Error::with(S3Code::InvalidRequest, message));
            };
            if said != sent {
                let message = "Value for x-amz-sdk-checksum-algorithm header is invalid.";
                return Err(S3Error::with(S3Code::InvalidRequest, message));
            }
        }
        Ok(())
    }

    /// The algorithm that the client uses, if it uses one.
    pub(crate) fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.checksum.as_ref().map(|(algorithm, _)| *algorithm).or(self.trailer)
    }

    /// Checks what came of the body. `trailer` is the value that the trailer had.
    pub(crate) fn check(
        &self,
        md5: &[u8; 16],
        computed: &Checksum,
        trailer: Option<&Vec<u8>>,
    ) -> Result<(), S3Error> {
        if self.md5.is_some_and(|declared| declared != *md5) {
            let message = "The Content-MD5 you specified did not match what we received.";
            return Err(S3Error::with(S3Code::BadDigest, message));
        }
        let declared = self.checksum.as_ref().map(|(_, value)| value).or(trailer);
        if declared.is_some_and(|value| *value != computed.value) {
            let message = format!(
                "The {} you specified did not match the calculated checksum. If the URL was \
                 presigned by an SDK, presign it without a checksum of an empty body \
                 (requestChecksumCalculation: WHEN_REQUIRED).",
                computed.algorithm.name()
            );
            return Err(S3Error::with(S3Code::BadDigest, message));
        }
        Ok(())
    }
}
