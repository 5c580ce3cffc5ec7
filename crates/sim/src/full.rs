//! Full devices: what they take, and what they must take.

use crate::client::{put, read};
use crate::{BUCKET, Process, World, runtime};
use bytes::Bytes;
use drystone_base::say;
use drystone_engine::{Conditions, EngineError};
use drystone_io::Disk;

/// Changes after which a device that takes each of them counts as one that never fills.
const CHANGE_COUNT_MAX: usize = 20_000;
/// Short enough to lie beside its row.
const BODY_LEN: usize = 3_000;

impl World {
    /// On a full device everything can still be read, and deleted.
    ///
    /// # Errors
    ///
    /// What does not hold, in words.
    pub fn check_full(&mut self, process: &Process) -> Result<(), String> {
        let runtime = runtime();
        for (at, (key, states)) in self.possible.iter_mut().enumerate() {
            let found = runtime.block_on(read(&process.engine, key));
            let found = found.map_err(|error| format!("{key} on a full device: {error}"))?;
            if !states.contains(&found) {
                return Err(format!("{key} shows what it cannot hold, on a full device"));
            }
            *states = vec![found];
            if at % 3 == 0 {
                let none = Conditions::default();
                let name = key.clone().into_bytes();
                let deleted =
                    runtime.block_on(process.engine.delete_object(BUCKET, name, None, none));
                deleted.map_err(|error| format!("delete of {key} on a full device: {error}"))?;
                *states = vec![None];
            }
        }
        Ok(())
    }

    /// Makes every device as large as what is on it now, and then writes until each kind of change has been
    /// refused for want of space: new objects, and tags of those that are there.
    ///
    /// # Errors
    ///
    /// A change failed in another way, or the devices never fill.
    pub fn fill_up(&mut self, process: &Process) -> Result<(), String> {
        for drive in &self.drives {
            let space = drive.disk.space().map_err(|error| error.to_string())?;
            drive.disk.set_capacity(space.total_bytes - space.free_bytes);
        }
        let runtime = runtime();
        let engine = &process.engine;
        let tags = vec![("tag".to_owned(), "x".repeat(200))];
        let (mut has_refused_bytes, mut has_refused_tags) = (false, false);
        for at in 0..CHANGE_COUNT_MAX {
            if has_refused_bytes && has_refused_tags {
                return Ok(());
            }
            let key = format!("full/{}", at % 64);
            let body = Bytes::from(vec![at as u8; BODY_LEN]);
            match runtime.block_on(put(engine, &key, &body)) {
                Ok(()) => drop(self.possible.insert(key.clone(), vec![Some(body)])),
                Err(EngineError::Full) => has_refused_bytes = true,
                Err(error) => return Err(format!("{key}: {error}")),
            }
            for _ in 0..20 {
                let name = key.clone().into_bytes();
                match runtime.block_on(engine.put_tags(BUCKET, name, None, tags.clone())) {
                    Ok(_) | Err(EngineError::ObjectNotFound { .. }) => {}
                    Err(EngineError::Full) => has_refused_tags = true,
                    Err(error) => return Err(format!("tags of {key}: {error}")),
                }
            }
        }
        Err("full devices take everything".to_owned())
    }

    /// Compacts once, with nothing else going on.
    ///
    /// # Errors
    ///
    /// What fails, in words.
    pub fn compact(&self, process: &Process) -> Result<(), String> {
        let runtime = runtime();
        let mut sweeper = process.engine.sweeper();
        let swept = runtime.block_on(process.engine.sweep(&mut sweeper));
        swept.map_err(|error| say(&error))?;
        process.engine.export_if_due(true, &|| {}).map_err(|error| say(&error))?;
        process.engine.compact(&|| {}).map(drop).map_err(|error| say(&error))
    }

    /// Deletes everything, which a full device must take.
    ///
    /// # Errors
    ///
    /// A key that could not be deleted.
    pub fn delete_all(&mut self, process: &Process) -> Result<(), String> {
        let runtime = runtime();
        for (key, states) in &mut self.possible {
            let (name, none) = (key.clone().into_bytes(), Conditions::default());
            let deleted = runtime.block_on(process.engine.delete_object(BUCKET, name, None, none));
            deleted.map_err(|error| format!("delete of {key} on a full device: {error}"))?;
            *states = vec![None];
        }
        Ok(())
    }
}
