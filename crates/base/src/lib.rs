//! Names, ids, checksums and seams that every other crate shares.
//!
//! # Invariants
//!
//! - Ids and names are checked once, when they are made, and never again.
//! - Nothing here does I/O or keeps state, apart from the operating system's clock and randomness
//!   behind the [`Clock`] and [`Rng`] seams, the counts of [`log_limit`], and the keys that hide who a
//!   [`Consumer`] is.
//!
//! # Not here
//!
//! Rows of the catalog are in `catalog`, records of the log in `log`, S3 error codes in `s3`.

mod cache;
mod change_count;
mod codec;
mod consumer;
mod crc;
mod id;
pub mod limits;
mod line;
pub mod log_limit;
mod name;
mod room;
mod say;
mod sealed;
mod seam;
pub mod sync;
mod time;
mod turns;

pub use cache::Cache;
pub use change_count::ChangeCount;
pub use codec::{DecodeError, Reader, TlvReader, TlvWriter, Writer, hex, unhex};
pub use consumer::Consumer;
pub use crc::{crc32c, crc32c_seeded, hash64};
pub use id::{BlobId, BucketId, Seq, UploadId, VersionId};
pub use limits::{GIB, KIB, MIB};
pub use line::{AnyTurn, KEY_REQUESTS_MAX, Line};
pub use log_limit::LogLimit;
pub use name::{BucketName, NameError, ObjectKey};
pub use room::Room;
pub use say::say;
pub use sealed::{SEAL_TAG_LEN_BYTES, SEALED_FRAME_LEN_BYTES, SEALED_PLAIN_LEN_BYTES, sealed_len};
pub use seam::{Clock, Rng, SeededRng, SystemClock, SystemRng, TestClock};
pub use time::{Timestamp, parse_http_date};
pub use turns::{Turn, Turns};
