//! What is known about a request: the values of condition keys.

use std::collections::BTreeMap;

/// Longest value of a condition key, in bytes: longer ones are cut. An encoded source of a copy is the
/// longest that means anything.
pub const FACT_LEN_BYTES_MAX: usize = 4 << 10;

/// What a text costs beyond its bytes.
const VALUE_COST: usize = size_of::<String>() + 16;

/// Condition keys of a request and their values. Names are compared without regard to case. Only what
/// was verified belongs here: a header that was not signed does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    values: BTreeMap<String, Vec<String>>,
}

impl Facts {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value to a key. What is longer than [`FACT_LEN_BYTES_MAX`] is cut: each value is compared
    /// with each of a policy.
    pub fn add(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        let mut value = value.into();
        value.truncate(value.floor_char_boundary(FACT_LEN_BYTES_MAX));
        self.values.entry(key.to_ascii_lowercase()).or_default().push(value);
        self
    }

    /// Adds a value to a key, if there is one.
    pub fn add_if(&mut self, key: &str, value: Option<impl Into<String>>) -> &mut Self {
        if let Some(value) = value {
            self.add(key, value);
        }
        self
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let of = |(key, values): (&String, &Vec<String>)| {
            let of_values: usize = values.iter().map(|value| value.capacity() + VALUE_COST).sum();
            key.capacity() + 2 * VALUE_COST + of_values
        };
        size_of::<Self>() + self.values.iter().map(of).sum::<usize>()
    }

    /// The values of a key; `None` if the request has no such key.
    #[must_use]
    pub fn values(&self, key: &str) -> Option<&[String]> {
        match self.values.get(key) {
            Some(values) => Some(values),
            None => self.values.get(&key.to_ascii_lowercase()).map(Vec::as_slice),
        }
    }

    /// The only value of a key; `None` if it has none or several.
    #[must_use]
    pub fn single(&self, key: &str) -> Option<&str> {
        match self.values(key)? {
            [value] => Some(value),
            _ => None,
        }
    }
}
