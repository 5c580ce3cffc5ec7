//! Uploads by browser forms: `multipart/form-data` and the policy that a form carries (S3 API reference,
//! "Authenticating requests in browser-based uploads using POST").

mod multipart;
mod policy;

pub use multipart::{FormDecoder, Part};
pub use policy::FormPolicy;
