//! A cache that is bounded in bytes.
//!
//! # Invariants
//!
//! - What is kept never weighs more than the bound, no matter who chooses keys and values.
//! - Entries that are used stay: entries are young or old, a use makes an old one young, and the old ones are
//!   dropped together when the young ones fill half of the bound.

use std::collections::HashMap;
use std::hash::Hash;

/// What an entry costs in the table, beyond its key and its value: the table is at most half empty, and
/// the allocator rounds up.
const ENTRY_COST: usize = 64;

/// Values by key, the last ones that were used.
#[derive(Debug)]
pub struct Cache<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    young_bytes: usize,
    old_bytes: usize,
    bytes_max: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// A cache that keeps `bytes_max` bytes at most.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let (young, old) = (HashMap::new(), HashMap::new());
        Self { young, old, young_bytes: 0, old_bytes: 0, bytes_max }
    }

    /// Bytes that are kept, as they were weighed.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.young_bytes + self.old_bytes
    }

    /// The value of a key, which counts as used now.
    pub fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, weight)) = self.old.remove_entry(key)?;
        self.old_bytes -= weight;
        let found = value.clone();
        self.keep(key, value, weight);
        Some(found)
    }

    /// Keeps a value of `weight_bytes`, with what hangs on it and on the key. One that weighs more than half
    /// of the bound is not kept.
    pub fn insert(&mut self, key: K, value: V, weight_bytes: usize) {
        let own = size_of::<K>() + size_of::<(V, usize)>() + ENTRY_COST;
        self.remove(&key);
        self.keep(key, value, weight_bytes.saturating_add(own));
    }

    fn keep(&mut self, key: K, value: V, weight: usize) {
        if weight > self.bytes_max / 2 {
            return;
        }
        if self.young_bytes + weight > self.bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
        self.young_bytes += weight;
        self.young.insert(key, (value, weight));
    }

    /// Drops an entry.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        if let Some((_, weight)) = self.young.remove(key) {
            self.young_bytes -= weight;
        }
        if let Some((_, weight)) = self.old.remove(key) {
            self.old_bytes -= weight;
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.bytes_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Goal: the bound holds, and what is found is what was kept last. Method: random entries of random
        /// weights beside a map without a bound.
        #[test]
        fn the_bound_holds(
            steps in prop::collection::vec((0_u8..40, 0_usize..3000, any::<bool>()), 0..400),
        ) {
            let (mut cache, mut all) = (Cache::new(8 << 10), HashMap::new());
            for (number, (key, weight, gets)) in steps.into_iter().enumerate() {
                if gets {
                    if let Some(found) = cache.get(&key) {
                        prop_assert_eq!(Some(&found), all.get(&key));
                    }
                } else {
                    cache.insert(key, number, weight);
                    all.insert(key, number);
                }
                prop_assert!(cache.len_bytes() <= 8 << 10);
                let counted: usize =
                    cache.young.values().chain(cache.old.values()).map(|(_, weight)| weight).sum();
                prop_assert_eq!(cache.len_bytes(), counted);
            }
        }
    }

    #[test]
    fn what_is_used_outlives_a_flood() {
        let mut cache = Cache::new(64 << 10);
        cache.insert(0_u64, "used", 100);
        for key in 1..10_000_u64 {
            cache.insert(key, "flood", 100);
            if key % 50 == 0 {
                assert_eq!(cache.get(&0), Some("used"), "after {key}");
            }
        }
        cache.insert(0, "too heavy", 40 << 10);
        assert_eq!(cache.get(&0), None);
        cache.clear();
        assert_eq!(cache.len_bytes(), 0);
    }
}
