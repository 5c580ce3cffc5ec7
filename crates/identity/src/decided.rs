//! Changes are carried out on what they were decided on, or not at all.
//!
//! A handle made by [`Directory::for_decision`] notes how many changes of an account were planned when the
//! decision began. Each change through it compares this number on the committer, and is refused with
//! [`IdentityError::Changed`] if another change was planned meanwhile: then the caller decides again.
//!
//! # Invariants
//!
//! - The number is compared and raised in the plan, and plans run one at a time: nothing gets between the
//!   comparison and the change.
//! - A decision that begins while a planned change is not yet visible to readers changes nothing.
//! - While a decision is reserved, no other decision changes anything of its account: one that was refused
//!   is not refused again and again by those who change something all the time.
//! - One decision of an account is reserved at a time, and callers take turns at that: a caller waits for one
//!   turn of each other that waits, however often those ask.

use crate::directory::{Directory, SLOT_COUNT, Scope, Shared, slot_of};
use crate::error::IdentityError;
use drystone_base::sync::{Mutex, lock};
use drystone_base::{ChangeCount, Consumer, Turn, Turns};
use drystone_catalog::{CatalogError, Decision, Tx};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What is counted for accounts that share a number.
struct Slot {
    changes: ChangeCount,
    /// Decisions that are reserved: one at most.
    reserved: AtomicU64,
    /// At reserving one.
    turns: Arc<Turns>,
}

impl Default for Slot {
    fn default() -> Self {
        Self { changes: ChangeCount::default(), reserved: AtomicU64::new(0), turns: Turns::new(1) }
    }
}

/// Counts of all accounts.
pub(crate) struct Changes {
    slots: Vec<Slot>,
    /// Changes of all accounts.
    pub(crate) all: Arc<ChangeCount>,
}

impl Default for Changes {
    fn default() -> Self {
        let slots = (0..SLOT_COUNT).map(|_| Slot::default()).collect();
        Self { slots, all: Arc::default() }
    }
}

impl Changes {
    fn of(&self, scope: Scope) -> &[Slot] {
        match scope {
            Scope::Account(slot) => &self.slots[slot..=slot],
            Scope::All => &self.slots,
        }
    }

    /// Counts a change. Called in its plan, when that has succeeded.
    pub(crate) fn plan(&self, scope: Scope, decided: Option<&Decided>) {
        self.all.plan();
        for slot in self.of(scope) {
            slot.changes.plan();
        }
        if let Some(decided) = decided {
            let planned = decided.of_account().changes.planned();
            decided.seen.store(planned, Ordering::Release);
            decided.has_changed.store(true, Ordering::Release);
        }
    }

    /// A change that was counted is visible to readers, or it failed.
    pub(crate) fn settle(&self, scope: Scope) {
        for slot in self.of(scope) {
            slot.changes.settle();
        }
        self.all.settle();
    }
}

/// No change is carried out on it.
const UNKNOWN: u64 = u64::MAX;

/// When a decision was made, counted in changes.
pub(crate) struct Decided {
    shared: Arc<Shared>,
    slot: usize,
    /// Changes that were planned, and visible, before it began.
    seen: AtomicU64,
    began_ms: u64,
    /// It does not hold after this time, in milliseconds since 1970.
    until_ms: AtomicU64,
    is_reserved: AtomicBool,
    /// Of a reserved one.
    turn: Mutex<Option<Turn>>,
    was_refused: AtomicBool,
    has_changed: AtomicBool,
    /// Compares what else was decided on.
    also: OnceLock<Box<Compares>>,
}

/// Whether what was decided on besides identities is as it was, by what the committer sees.
type Compares = dyn Fn(&Tx<'_>) -> Result<bool, CatalogError> + Send + Sync;

impl Decided {
    fn of_account(&self) -> &Slot {
        &self.shared.changes.slots[self.slot]
    }

    fn reserve(&self, turn: Turn) {
        *lock(&self.turn) = Some(turn);
        self.is_reserved.store(true, Ordering::Release);
        self.of_account().reserved.fetch_add(1, Ordering::AcqRel);
    }

    fn release(&self) {
        if self.is_reserved.swap(false, Ordering::AcqRel) {
            self.of_account().reserved.fetch_sub(1, Ordering::AcqRel);
            // Another may reserve.
            drop(lock(&self.turn).take());
        }
    }

    fn holds(&self) -> bool {
        let planned = self.of_account().changes.planned();
        planned == self.seen.load(Ordering::Acquire) && self.is_in_time()
    }

    fn is_in_time(&self) -> bool {
        self.shared.clock.now_ms() < self.until_ms.load(Ordering::Acquire)
    }

    /// As [`Decided::check`], of a change of rows.
    pub(crate) fn check_with(&self, tx: &Tx<'_>) -> Result<(), IdentityError> {
        self.check()?;
        match self.also.get().map_or(Ok(true), |compares| compares(tx))? {
            true => Ok(()),
            false => {
                self.was_refused.store(true, Ordering::Release);
                Err(IdentityError::Changed)
            }
        }
    }

    /// Refuses a change if the decision does not hold any more. Called in its plan.
    pub(crate) fn check(&self) -> Result<(), IdentityError> {
        let of_others = self.of_account().reserved.load(Ordering::Acquire) > 0;
        // What has begun to change things goes on.
        let is_reserved = self.is_reserved.load(Ordering::Acquire);
        let goes_before = is_reserved || self.has_changed.load(Ordering::Acquire);
        if self.holds() && (goes_before || !of_others) {
            return Ok(());
        }
        self.was_refused.store(true, Ordering::Release);
        Err(IdentityError::Changed)
    }
}

impl Drop for Decided {
    fn drop(&mut self) {
        self.release();
    }
}

impl Directory {
    /// Counts changes of all accounts: what else is decided on identities compares it.
    #[must_use]
    pub fn change_count(&self) -> &Arc<ChangeCount> {
        &self.shared.changes.all
    }

    /// A handle for a decision of someone of an account that begins now, and for the changes that are
    /// decided on. Whatever the decision looks at, the caller first, is looked up after this.
    #[must_use]
    pub fn for_decision(&self, account: &str) -> Self {
        let slot = slot_of(account);
        // While a planned change is not visible, this is less than the count that changes compare.
        self.deciding(slot, self.shared.changes.slots[slot].changes.visible())
    }

    /// As [`Directory::for_decision`], after all changes that are planned are visible. Until the handle is
    /// dropped, or its decision ended, no other decision of the account changes anything: callers take turns
    /// at this. Who has a reserved handle of an account must not ask for another.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub async fn for_reserved_decision(
        &self,
        account: &str,
        caller: Consumer,
    ) -> Result<Self, IdentityError> {
        let slot = slot_of(account);
        let turn = self.shared.changes.slots[slot].turns.turn(caller).await;
        let deciding = self.deciding(slot, UNKNOWN);
        if let Some(decided) = &deciding.decided {
            decided.reserve(turn);
        }
        let shared = self.shared.clone();
        // Answered after all batches before it.
        let ticket = self.shared.catalog.submit(move |_| {
            let planned = shared.changes.slots[slot].changes.planned();
            Ok(Decision::Reject(planned))
        });
        let planned = ticket.await?;
        deciding.decided.iter().for_each(|decided| decided.seen.store(planned, Ordering::Release));
        Ok(deciding)
    }

    /// Lets others go on who wait for the end of a reserved decision. Nothing is changed on it any more.
    pub fn end_decision(&self) {
        if let Some(decided) = &self.decided {
            decided.release();
        }
    }

    fn deciding(&self, slot: usize, seen: u64) -> Self {
        let decided = Decided {
            shared: self.shared.clone(),
            slot,
            seen: AtomicU64::new(seen),
            began_ms: self.now_ms(),
            until_ms: AtomicU64::new(u64::MAX),
            is_reserved: AtomicBool::new(false),
            turn: Mutex::default(),
            was_refused: AtomicBool::new(false),
            has_changed: AtomicBool::new(false),
            also: OnceLock::new(),
        };
        Self { shared: self.shared.clone(), decided: Some(Arc::new(decided)) }
    }

    /// A handle for notes that are no part of what was decided.
    pub(crate) fn undecided(&self) -> Self {
        Self { shared: self.shared.clone(), decided: None }
    }

    /// Notes until when the decision holds, in milliseconds since 1970: not longer than the key of its
    /// caller.
    pub fn set_decision_end(&self, until_ms: u64) {
        if let Some(decided) = &self.decided {
            decided.until_ms.store(until_ms, Ordering::Release);
        }
    }

    /// Has changes compare something else that was decided on, such as the configuration of a bucket.
    pub fn compare_also(
        &self,
        compares: impl Fn(&Tx<'_>) -> Result<bool, CatalogError> + Send + Sync + 'static,
    ) {
        if let Some(decided) = &self.decided {
            decided.also.get_or_init(|| Box::new(compares));
        }
    }

    /// Whether nothing was changed since the decision began.
    #[must_use]
    pub fn is_decision_current(&self) -> bool {
        self.decided.as_ref().is_none_or(|decided| decided.holds())
    }

    /// Whether the time of the decision is over.
    #[must_use]
    pub fn is_decision_late(&self) -> bool {
        self.decided.as_ref().is_some_and(|decided| !decided.is_in_time())
    }

    /// Refuses to go on with the decision, as a change that is refused does.
    ///
    /// # Errors
    ///
    /// Always [`IdentityError::Changed`].
    pub fn refuse_decision<T>(&self) -> Result<T, IdentityError> {
        if let Some(decided) = &self.decided {
            decided.was_refused.store(true, Ordering::Release);
        }
        Err(IdentityError::Changed)
    }

    /// For plans that change something else than the directory: whether the decision holds. If not, they do
    /// not run, and the request is decided again.
    pub fn decision_guard(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let decided = self.decided.clone();
        move || decided.as_ref().is_none_or(|decided| decided.check().is_ok())
    }

    /// Whether the request has to be decided again: its decision did not hold any more, and nothing was
    /// changed on it.
    #[must_use]
    pub fn must_decide_again(&self) -> bool {
        self.decided.as_ref().is_some_and(|decided| {
            decided.was_refused.load(Ordering::Acquire)
                && !decided.has_changed.load(Ordering::Acquire)
        })
    }

    /// When the decision began, else now, in milliseconds since 1970.
    pub(crate) fn decided_ms(&self) -> u64 {
        self.decided.as_ref().map_or_else(|| self.now_ms(), |decided| decided.began_ms)
    }
}
