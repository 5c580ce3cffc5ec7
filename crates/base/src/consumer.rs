//! Callers, as they are counted: by whom bytes are held, and who takes turns.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::OnceLock;

/// Whose bytes are counted together: an identity, an address without one, or the server itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Consumer(Option<(u64, u64)>);

impl Consumer {
    /// The server itself: its work in the background.
    pub const BACKGROUND: Self = Self(None);

    /// A client that belongs to no other caller.
    #[must_use]
    pub fn client(who: &impl Hash) -> Self {
        Self::of(who, who)
    }

    /// A client that belongs to an account. What the hashes are made of cannot be found out by those who
    /// choose it.
    #[must_use]
    pub fn of(account: &impl Hash, who: &impl Hash) -> Self {
        static KEYS: OnceLock<RandomState> = OnceLock::new();
        let keys = KEYS.get_or_init(RandomState::new);
        Self(Some((keys.hash_one(account), keys.hash_one(who))))
    }

    /// What stands for its account; `None` for the server itself.
    #[must_use]
    pub fn account(self) -> Option<u64> {
        self.0.map(|(account, _)| account)
    }
}
