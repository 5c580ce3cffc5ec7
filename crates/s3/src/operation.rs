//! The closed table of operations, generated from the published service model.

mod table;

pub use table::{Operation, TABLE};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// `/`.
    Service,
    /// `/bucket`.
    Bucket,
    /// `/bucket/key`.
    Object,
}

/// One operation of the model.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which.
    pub operation: Operation,
    /// Its name.
    pub name: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// What its path names.
    pub level: Level,
    /// The sub-resource that selects it; empty for a plain verb.
    pub key: &'static str,
    /// Query parameters that it requires.
    pub queries: &'static [&'static str],
    /// Headers that it requires.
    pub headers: &'static [&'static str],
    /// Headers that the model has for it, by name; user metadata is not among them.
    pub takes: &'static [&'static str],
}

impl Operation {
    /// The operation's row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        // Rows come in the order of the operations: the first look finds it.
        let (before, from) = TABLE.split_at((self as usize).min(TABLE.len()));
        let mut rows = from.iter().chain(before);
        rows.find(|row| row.operation == self).expect("every operation has a row")
    }

    /// Its name in the service model.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }
}
