//! Buffers of reads, used again: they are filled on threads that may block and dropped on others, where an
//! allocator with a heap for each thread does not find them again.
//!
//! A buffer that is used again still has what was read into it before. It is given out only after all of it
//! that can be seen was read anew.

use bytes::Bytes;
use std::sync::{Mutex, PoisonError};

/// Lengths of buffers that are kept: a cell of 128 KiB or a chunk of 256 KiB, with its head.
const LENS: [usize; 2] = [132 << 10, 264 << 10];
/// Reads up to this length take what they need from the allocator.
const SMALL_LEN_MAX: usize = 68 << 10;
/// Bytes of unused buffers of one length that are kept.
const KEPT_BYTES_MAX: usize = 20 << 20;

static KEPT: [Mutex<Vec<Vec<u8>>>; 2] = [Mutex::new(Vec::new()), Mutex::new(Vec::new())];

/// Bytes that are read into.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
}

/// Which of the kept lengths fits.
fn class_of(len: usize) -> Option<usize> {
    LENS.iter().position(|kept| len <= *kept).filter(|_| len > SMALL_LEN_MAX)
}

impl Buffer {
    /// A buffer of `len` bytes, of any content.
    pub(crate) fn new(len: usize) -> Self {
        let Some(class) = class_of(len) else { return Self { bytes: vec![0; len], len } };
        let kept = KEPT[class].lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { bytes: kept.unwrap_or_else(|| vec![0; LENS[class]]), len }
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// The bytes, shared; the buffer is kept when the last reference is dropped.
    pub(crate) fn share(mut self) -> Bytes {
        match class_of(self.len) {
            Some(_) => Bytes::from_owner(self),
            None => std::mem::take(&mut self.bytes).into(),
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(class) = class_of(self.len) else { return };
        let mut kept = KEPT[class].lock().unwrap_or_else(PoisonError::into_inner);
        if (kept.len() + 1) * LENS[class] <= KEPT_BYTES_MAX {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_have_the_length_that_was_asked_for() {
        for len in
            [0, 1, 4096, SMALL_LEN_MAX, SMALL_LEN_MAX + 1, 132 << 10, 200 << 10, 264 << 10, 1 << 20]
        {
            let mut buffer = Buffer::new(len);
            buffer.as_mut().fill(7);
            let shared = buffer.share();
            assert_eq!(shared.len(), len);
            assert!(shared.iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn unused_buffers_are_bounded() {
        let held: Vec<_> = (0..200).map(|_| Buffer::new(LENS[1])).collect();
        drop(held);
        let kept = KEPT[1].lock().expect("no test panics").len();
        assert!(kept * LENS[1] <= KEPT_BYTES_MAX && kept > 0, "{kept}");
    }
}
