//! Buffers of reads, used again: they are filled on threads that may block and dropped on others, where an
//! allocator with a heap for each thread does not find them again.
//!
//! A buffer that is used again still has what was read into it before. It is given out only after all of it
//! that can be seen was read again.

use bytes::Bytes;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lengths of buffers that are kept: a small object, a cell of 128 KiB or a chunk of 256 KiB, with its head.
const LENS: [usize; 3] = [8 << 10, 132 << 10, 264 << 10];
/// Bytes of unused buffers of one length that are kept.
const KEPT_BYTES_MAX: [usize; 3] = [1 << 20, 20 << 20, 20 << 20];
/// Other reads take what they need from the allocator: those that are not worth the lock, and those that fill
/// only a part of the next length.
const ALLOCATED: [RangeInclusive<usize>; 2] = [0..=2 << 10, (8 << 10) + 1..=68 << 10];

/// Shelves for small buffers. Each thread uses one, so that cores do not wait for each other.
const SHELF_COUNT: usize = 8;

/// Unused buffers of one length. Has cache lines of its own.
#[repr(align(128))]
struct Shelf(Mutex<Vec<Vec<u8>>>);

static SMALL: [Shelf; SHELF_COUNT] = [const { Shelf::new() }; SHELF_COUNT];
static LARGE: [Shelf; LENS.len() - 1] = [const { Shelf::new() }; LENS.len() - 1];
static THREAD_COUNT: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static OWN: usize = THREAD_COUNT.fetch_add(1, Ordering::Relaxed) % SHELF_COUNT;
}

impl Shelf {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The shelf for buffers of a length, and how many it holds.
    fn of(class: usize) -> (&'static Self, usize) {
        let count_max = KEPT_BYTES_MAX[class] / LENS[class];
        match class.checked_sub(1) {
            None => (&SMALL[OWN.with(|own| *own)], count_max / SHELF_COUNT),
            Some(large) => (&LARGE[large], count_max),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that are read into.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
}

/// Which of the kept lengths fits.
fn class_of(len: usize) -> Option<usize> {
    let fits = LENS.iter().position(|kept| len <= *kept);
    fits.filter(|_| !ALLOCATED.iter().any(|lens| lens.contains(&len)))
}

impl Buffer {
    /// A buffer of `len` bytes, of any content.
    pub(crate) fn new(len: usize) -> Self {
        let Some(class) = class_of(len) else { return Self { bytes: vec![0; len], len } };
        let kept = Shelf::of(class).0.lock().pop();
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
        let (shelf, count_max) = Shelf::of(class);
        let mut kept = shelf.lock();
        if kept.len() < count_max {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_have_the_length_that_was_asked_for() {
        let edges = ALLOCATED.iter().flat_map(|lens| [*lens.start(), *lens.end(), lens.end() + 1]);
        for len in edges.chain([1, 4096, 132 << 10, 200 << 10, 264 << 10, 1 << 20]) {
            let mut buffer = Buffer::new(len);
            buffer.as_mut().fill(7);
            let shared = buffer.share();
            assert_eq!(shared.len(), len);
            assert!(shared.iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn unused_buffers_are_bounded() {
        for (class, len) in LENS.into_iter().enumerate() {
            let held: Vec<_> = (0..200).map(|_| Buffer::new(len)).collect();
            drop(held);
            let (shelf, count_max) = Shelf::of(class);
            let kept = shelf.lock().len();
            assert!(kept <= count_max && kept > 0, "{kept}");
        }
    }
}
