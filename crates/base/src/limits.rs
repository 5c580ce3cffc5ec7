//! Sizes, and the limits that clients can meet (S3 user guide, "Multipart upload limits", "Object
//! key naming").

/// 1,024 bytes.
pub const KIB: u64 = 1 << 10;
/// 1,048,576 bytes.
pub const MIB: u64 = 1 << 20;
/// 1,073,741,824 bytes.
pub const GIB: u64 = 1 << 30;

/// Longest object key, in bytes of UTF-8.
pub const KEY_LEN_BYTES_MAX: usize = 1024;
/// Largest object, in bytes.
pub const OBJECT_LEN_BYTES_MAX: u64 = 5 * 1024 * GIB;
/// Largest body of one PutObject, UploadPart or copied range, in bytes.
pub const PUT_LEN_BYTES_MAX: u64 = 5 * GIB;
/// Smallest part of a multipart upload, other than the last one, in bytes.
pub const PART_LEN_BYTES_MIN: u64 = 5 * MIB;
/// Highest part number; numbers start at 1.
pub const PART_NUMBER_MAX: u32 = 10_000;
/// User metadata of one object: names (after `x-amz-meta-`) and values, in bytes.
pub const USER_METADATA_LEN_BYTES_MAX: usize = 2 * KIB as usize;
/// Entries of one list page.
pub const LIST_ENTRY_COUNT_MAX: u32 = 1000;
/// Keys in one DeleteObjects request.
pub const DELETE_KEY_COUNT_MAX: usize = 1000;
/// Tags of one object.
pub const OBJECT_TAG_COUNT_MAX: usize = 10;
/// Buckets of one account, and entries of one page of ListBuckets (AWS General Reference, "Amazon S3
/// endpoints and quotas"; S3 API reference, `ListBuckets`).
pub const BUCKET_COUNT_MAX: usize = 10_000;
/// Tags of one bucket.
pub const BUCKET_TAG_COUNT_MAX: usize = 50;
