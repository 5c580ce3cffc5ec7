//! What must not be shown. Nothing here has `Debug` or `Display`, and its memory is wiped when it goes.

use drystone_base::Rng;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// A text that must not be shown. Has no `Debug` and no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }
    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// 32 bytes that other things are sealed under. Has no `Debug` and no `Display`.
#[derive(Clone)]
pub struct DataKey(Arc<Zeroizing<[u8; DataKey::LEN_BYTES]>>);

impl DataKey {
    /// Bytes of a key of AES-256.
    pub const LEN_BYTES: usize = 32;

    /// A new one.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut bytes = [0; Self::LEN_BYTES];
        rng.fill(&mut bytes);
        let key = Self(Arc::new(Zeroizing::new(bytes)));
        bytes.zeroize();
        key
    }
    /// Of bytes that came from elsewhere; `None` if they are not 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Arc::new(Zeroizing::new(bytes))))
    }
    /// The bytes.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        self.0.as_slice()
    }
}
