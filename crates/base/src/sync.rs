//! Locks and threads: those of std, or those of shuttle where interleavings are explored (`--cfg shuttle`).
//!
//! What is used by several threads and is not a channel takes its locks from here, so that the whole store
//! runs under shuttle.

#[cfg(shuttle)]
pub use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
};
#[cfg(not(shuttle))]
pub use std::{
    sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
};

const POISONED: &str = "no thread panicked while it held this lock";

/// Locks.
///
/// # Panics
///
/// If a thread panicked while it held the lock: what is behind it cannot be trusted.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect(POISONED)
}

/// Locks for reading.
///
/// # Panics
///
/// As [`lock`].
pub fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().expect(POISONED)
}

/// Locks for writing.
///
/// # Panics
///
/// As [`lock`].
pub fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().expect(POISONED)
}

/// Waits for a signal, with the lock given back meanwhile.
///
/// # Panics
///
/// As [`lock`].
pub fn wait<'a, T>(signal: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    signal.wait(guard).expect(POISONED)
}

/// Waits for a signal, but no longer than some time. Says whether that has passed; under shuttle it never
/// does.
///
/// # Panics
///
/// As [`lock`].
pub fn wait_timeout<'a, T>(
    signal: &Condvar,
    guard: MutexGuard<'a, T>,
    most: std::time::Duration,
) -> (MutexGuard<'a, T>, bool) {
    let (guard, timeout) = signal.wait_timeout(guard, most).expect(POISONED);
    (guard, timeout.timed_out())
}
