//! Room for what is put together of many rows, whoever counts it.

/// Memory that something grows into. Lists of rows that clients made ask it before they keep a row.
pub trait Room {
    /// Takes `bytes` more; false if there is no room for them.
    fn take(&self, bytes: u64) -> bool;
}
