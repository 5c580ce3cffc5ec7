//! Items of a walk over rows, in their own order, of which a bounded part is held at a time.
//!
//! Each pass of the walk keeps the least items behind those of the pass before, as many as may be held. A
//! store that is small enough is walked once; one that is larger takes more time and not more memory.

use crate::error::EngineError;
use std::cell::Cell;

/// What is held of one walk, in bytes, until most of it is dropped: twice what a pass keeps.
pub(super) const HELD_LEN_MAX: usize = 64 << 20;

/// Bytes of items that are held.
pub(super) struct Memory {
    /// What one walk may keep.
    limit: usize,
    held: Cell<usize>,
    peak: Cell<usize>,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: Cell::new(0), peak: Cell::new(0) }
    }

    /// The most that was held at a time.
    pub(super) fn peak(&self) -> usize {
        self.peak.get()
    }

    fn add(&self, len: usize) {
        self.held.set(self.held.get() + len);
        self.peak.set(self.peak.get().max(self.held.get()));
    }

    fn remove(&self, len: usize) {
        self.held.set(self.held.get().saturating_sub(len));
    }
}

/// An item that can be held.
pub(super) trait Item: Ord + Clone {
    /// Bytes that it has beside its own.
    fn extra_len(&self) -> usize {
        0
    }
}

/// Is given what a walk finds.
pub(super) type Give<'g, T> = dyn FnMut(T) + 'g;

/// Walks over all items; it is called once for each pass, and gives the same items in the same order each
/// time.
pub(super) type Walk<'a, T> = Box<dyn Fn(&mut Give<'_, T>) -> Result<(), EngineError> + 'a>;

/// See the module's documentation. Items that are equal all come.
pub(super) struct Sorted<'a, T: Item> {
    walk: Walk<'a, T>,
    memory: &'a Memory,
    /// Items with their places in the walk, which tell equal ones apart; the next one last.
    held: Vec<(T, u64)>,
    held_len: usize,
    /// The last one that was given out.
    after: Option<(T, u64)>,
    has_more: bool,
}

impl<'a, T: Item> Sorted<'a, T> {
    pub(super) fn new(memory: &'a Memory, walk: Walk<'a, T>) -> Self {
        Self { walk, memory, held: Vec::new(), held_len: 0, after: None, has_more: true }
    }

    fn len_of(item: &T) -> usize {
        size_of::<(T, u64)>() + item.extra_len()
    }

    /// One pass.
    fn fill(&mut self) -> Result<(), EngineError> {
        let (memory, after) = (self.memory, self.after.take());
        memory.remove(std::mem::take(&mut self.held_len));
        let (mut held, mut len, mut place) = (Vec::new(), 0, 0);
        let mut most: Option<(T, u64)> = None;
        (self.walk)(&mut |item| {
            let item = (item, place);
            place += 1;
            let is_before = after.as_ref().is_some_and(|after| item <= *after);
            if is_before || most.as_ref().is_some_and(|most| item > *most) {
                return;
            }
            let item_len = Self::len_of(&item.0);
            memory.add(item_len);
            len += item_len;
            held.push(item);
            if len > 2 * memory.limit && held.len() > 1 {
                held.sort_unstable();
                let mut kept = 0;
                let is_kept = |(item, _): &&(T, u64)| {
                    kept += Self::len_of(item);
                    kept <= memory.limit
                };
                let count = held.iter().take_while(is_kept).count().max(1);
                let dropped: usize = held.drain(count..).map(|item| Self::len_of(&item.0)).sum();
                memory.remove(dropped);
                len -= dropped;
                most = held.last().cloned();
            }
        })?;
        held.sort_unstable_by(|a, b| b.cmp(a));
        (self.held, self.held_len, self.has_more) = (held, len, most.is_some());
        Ok(())
    }
}

impl<T: Item> Iterator for Sorted<'_, T> {
    type Item = Result<T, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.held.is_empty() && self.has_more {
            if let Err(error) = self.fill() {
                self.has_more = false;
                return Some(Err(error));
            }
        }
        let item = self.held.pop()?;
        if self.held.is_empty() && self.has_more {
            self.after = Some(item.clone());
        }
        Some(Ok(item.0))
    }
}

impl<T: Item> Drop for Sorted<'_, T> {
    fn drop(&mut self) {
        self.memory.remove(self.held_len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Item for u8 {}

    proptest! {
        /// Goal: every item comes once, in order, and no more than the limit allows is held. Method: few
        /// values, so that many are equal, under limits from one item on.
        #[test]
        fn a_walk_is_sorted_whatever_may_be_held(
            items in prop::collection::vec(0..20u8, 0..200), limit in 1..40usize,
        ) {
            let one = size_of::<(u8, u64)>();
            let memory = Memory::new(limit * one);
            let walk = |give: &mut Give<'_, u8>| {
                items.iter().for_each(|item| give(*item));
                Ok(())
            };
            let found: Result<Vec<_>, _> = Sorted::new(&memory, Box::new(walk)).collect();
            let mut expected = items.clone();
            expected.sort_unstable();
            prop_assert_eq!(found.expect("the walk does not fail"), expected);
            prop_assert!(memory.peak() <= (2 * limit + 1) * one, "{}", memory.peak());
            prop_assert_eq!(memory.held.get(), 0);
        }
    }
}
