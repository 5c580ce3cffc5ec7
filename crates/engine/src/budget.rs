//! The one byte budget of the process.

use crate::error::EngineError;
use drystone_base::sync::thread;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one permit.
const UNIT: u64 = 64 << 10;
/// Time that a request waits for its share before it is turned away.
const WAIT: Duration = Duration::from_secs(30);

/// Pause between two looks of a thread that blocks.
const BLOCKING_PAUSE: Duration = Duration::from_millis(5);

/// Counts the bytes of bodies that are held in memory, in units of 64 KiB.
#[derive(Clone)]
pub struct ByteBudget {
    units: Arc<Semaphore>,
    total: u64,
}

/// A share of the budget, given back when it is dropped.
pub(crate) type Share = OwnedSemaphorePermit;

impl ByteBudget {
    /// A budget of `bytes`, rounded down to units of 64 KiB; at least 4 MiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let total = (bytes / UNIT).max(64);
        let units = usize::try_from(total).expect("budget fits the machine");
        Self { units: Arc::new(Semaphore::new(units)), total }
    }

    /// Bytes that nobody holds.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.units.available_permits() as u64 * UNIT
    }

    /// Bytes in all.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total * UNIT
    }

    /// Takes a share, waiting in line for it.
    pub(crate) async fn take(&self, bytes: u64) -> Result<Share, EngineError> {
        let units = u32::try_from(bytes.div_ceil(UNIT).min(self.total)).expect("below 2^32 units");
        let acquired = tokio::time::timeout(WAIT, self.units.clone().acquire_many_owned(units));
        match acquired.await {
            Ok(Ok(share)) => Ok(share),
            Ok(Err(_)) | Err(_) => Err(EngineError::Busy),
        }
    }

    /// As [`ByteBudget::take`], for threads that may block: waits for as long as it takes.
    pub(crate) fn take_blocking(&self, bytes: u64) -> Share {
        let units = u32::try_from(bytes.div_ceil(UNIT).min(self.total)).expect("below 2^32 units");
        loop {
            match self.units.clone().try_acquire_many_owned(units) {
                Ok(share) => return share,
                Err(_) => thread::sleep(BLOCKING_PAUSE),
            }
        }
    }
}
