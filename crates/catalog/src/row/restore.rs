//! Temporary copies of archived versions.

use drystone_base::{DecodeError, Reader, Writer};

/// That an archived version was asked for: from when and until when it can be read. In milliseconds since
/// 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The copy is there from then on.
    pub ready_ms: u64,
    /// The copy is gone from then on.
    pub expires_ms: u64,
}

/// What a restore is at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreState {
    /// No one asked, or the copy is gone.
    None,
    /// It is on its way.
    Ongoing,
    /// It can be read.
    Ready,
}

impl Restore {
    /// Its state at a time.
    #[must_use]
    pub fn state(this: Option<Self>, now_ms: u64) -> RestoreState {
        match this {
            Some(restore) if now_ms < restore.ready_ms => RestoreState::Ongoing,
            Some(restore) if now_ms < restore.expires_ms => RestoreState::Ready,
            _ => RestoreState::None,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u64(self.ready_ms).u64(self.expires_ms);
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "restore");
        let (ready_ms, expires_ms) = (r.u64()?, r.u64()?);
        if r.is_empty() { Ok(Self { ready_ms, expires_ms }) } else { Err(r.malformed()) }
    }
}
