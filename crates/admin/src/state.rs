//! The state of the server: one account of it, from which health, metrics, status and MinIO's admin API are
//! made, so that none of them says what another one denies.
//!
//! # Invariants
//!
//! - Looking at the drives blocks, and a drive that hangs blocks for good: one thread looks at a time, and
//!   a request waits for a bounded time and is told what was known before.
//! - Anyone may ask for health: no more than one look a second is taken for that.

use crate::Admin;
use crate::api::Lacking;
use drystone_admin_api::{Health, KeyService};
use drystone_base::sync::{Mutex, lock};
use drystone_engine::deployment::{DeploymentStatus, DriveState, DriveStatus};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::Mutex as Turn;

/// Time that the drives, and the server that keeps keys, have to say how they are.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// How old what is told may be where anyone may ask.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(1);
/// Where who asks may make the server look.
pub(crate) const NOW: Duration = Duration::ZERO;

/// The state at one moment.
#[derive(Clone)]
pub(crate) struct State {
    /// The drives, as they are or were last; `None` if that could not be found out yet.
    pub(crate) drives: Option<Arc<DeploymentStatus>>,
    /// What is known to lack.
    pub(crate) lacking: Lacking,
    /// What that means.
    pub(crate) health: Health,
}

/// The last state, and the turn to look.
#[derive(Default)]
pub(crate) struct States {
    last: Mutex<Option<(Instant, State)>>,
    looking: Arc<Turn<()>>,
}

impl States {
    fn within(&self, age_max: Duration) -> Option<State> {
        let last = lock(&self.last);
        last.as_ref().filter(|(at, _)| at.elapsed() < age_max).map(|(_, state)| state.clone())
    }
}

/// What was found by looking.
struct Found {
    drives: Result<DeploymentStatus, String>,
    key_service: KeyService,
}

impl Admin {
    /// The state, not older than `age_max` if the drives answer.
    pub(crate) async fn state(&self, age_max: Duration) -> State {
        if let Some(known) = self.states.within(age_max) {
            return known;
        }
        match tokio::time::timeout(LOOK_TIMEOUT, self.look(age_max)).await {
            Ok(state) => state,
            Err(_) => self.state_before(),
        }
    }

    async fn look(&self, age_max: Duration) -> State {
        let turn = self.states.looking.clone().lock_owned().await;
        // Another one may have looked meanwhile.
        if let Some(known) = self.states.within(age_max) {
            return known;
        }
        let (drives, kms) = (self.drives.clone(), self.kms.clone());
        let found = tokio::task::spawn_blocking(move || {
            // The turn lasts as long as the thread, whether or not someone still waits.
            let _turn = turn;
            let key_service = match kms.key_service_answers() {
                None => KeyService::None,
                Some(true) => KeyService::Answers,
                Some(false) => KeyService::Gone,
            };
            Found { drives: drives.status(), key_service }
        });
        let Found { drives, key_service } = found.await.expect("looking does not panic");
        let Ok(status) = drives.inspect_err(|error| {
            tracing::error!(error, "the state of the drives cannot be read");
        }) else {
            return self.state_before();
        };
        let lacking = self.verifying.lacking(&self.engine, &status);
        let health = Health {
            is_current: true,
            key_service,
            is_readable: status.is_readable() && self.engine.is_open(),
            ..self.counts(&status)
        };
        let health = self.with_what_is_at_hand(health);
        let state = State { drives: Some(Arc::new(status)), lacking, health };
        *lock(&self.states.last) = Some((Instant::now(), state.clone()));
        state
    }

    /// What was known last, where the drives do not answer.
    fn state_before(&self) -> State {
        let last = lock(&self.states.last).as_ref().map(|(_, state)| state.clone());
        let State { drives, lacking, health } = last.unwrap_or_else(|| State {
            drives: None,
            lacking: Lacking::default(),
            health: Health { is_readable: self.engine.is_open(), ..Health::default() },
        });
        let health = Health { is_current: false, ..health };
        let health = self.with_what_is_at_hand(health);
        State { drives, lacking, health }
    }

    /// Fills in what is known without a look at a drive.
    fn with_what_is_at_hand(&self, health: Health) -> Health {
        let is_read_only = self.drives.is_read_only();
        Health {
            is_read_only,
            takes_writes: self.engine.takes_writes() && !is_read_only,
            is_stopping: self.is_stopping.load(Ordering::Acquire),
            is_clock_held: self.engine.lock_clock_state().is_held,
            ..health
        }
    }

    fn counts(&self, status: &DeploymentStatus) -> Health {
        let count = |is_it: fn(&DriveStatus) -> bool| {
            status.drives.iter().filter(|drive| is_it(drive)).count() as u64
        };
        Health {
            is_full: status.drives.iter().any(|drive| drive.is_full),
            write_quorum: status.shape.write_quorum() as u64,
            read_quorum: status.shape.data.into(),
            drives_online: count(|drive| !drive.state.is_gone()),
            drives_offline: count(|drive| drive.state.is_gone()),
            drives_filling: count(|drive| drive.state == DriveState::Filling),
            drives_draining: count(|drive| drive.state == DriveState::Draining),
            drives_full: count(|drive| drive.is_full),
            ..Health::default()
        }
    }
}
