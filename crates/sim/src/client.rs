//! Clients of the simulation: random operations on keys of their own, and what each key may hold after them.

use crate::BUCKET;
use bytes::Bytes;
use drystone_base::{Rng, SeededRng};
use drystone_engine::plan::RenameRequest;
use drystone_engine::{
    AppendRequest, ChecksumAlgorithm, Conditions, CopyRequest, Engine, EngineError, NewBlob,
    ObjectDraft, PutRequest, Stored,
};
use std::collections::BTreeMap;

/// What each key may hold: several things after an operation whose outcome is not known.
pub(crate) type Possible = BTreeMap<String, Vec<Option<Bytes>>>;

fn body(rng: &SeededRng) -> Bytes {
    let len = match rng.below(10) {
        0 => 0,
        1..4 => rng.below(1024),
        4..8 => rng.below(100_000),
        _ => 100_000 + rng.below(600_000),
    };
    let mut bytes = vec![0; len as usize];
    rng.fill(&mut bytes);
    bytes.into()
}

pub(crate) async fn store(engine: &Engine, key: &str, body: &Bytes) -> Result<Stored, EngineError> {
    let bucket = engine.find_bucket(BUCKET)?;
    let len = Some(body.len() as u64);
    let algorithm = ChecksumAlgorithm::Crc32;
    let object = key.as_bytes();
    let new = NewBlob { bucket: &bucket, object, len, algorithm, storage_class: None, seal: None };
    let mut writer = engine.begin_blob(new)?;
    for piece in body.chunks(50_000) {
        writer.write(piece).await?;
    }
    writer.finish().await
}

pub(crate) async fn put(engine: &Engine, key: &str, body: &Bytes) -> Result<(), EngineError> {
    let stored = store(engine, key, body).await?;
    let (bucket, object) = (BUCKET.to_owned(), key.as_bytes().to_vec());
    let (draft, conditions) = (ObjectDraft::default(), Conditions::default());
    engine.put_object(PutRequest { bucket, object, draft, stored, conditions }).await?;
    Ok(())
}

async fn copy(engine: &Engine, source: &str, target: &str) -> Result<(), EngineError> {
    let located = engine.locate(BUCKET, source.as_bytes(), None)?;
    let request = CopyRequest {
        bucket: BUCKET.to_owned(),
        object: target.as_bytes().to_vec(),
        draft: ObjectDraft::default(),
        algorithm: None,
        conditions: Conditions::default(),
        source_key: None,
        seal: None,
    };
    Box::pin(engine.copy_object(located, request)).await.map(drop)
}

async fn rename(engine: &Engine, source: &str, target: &str) -> Result<(), EngineError> {
    let (source, target) = (source.as_bytes().to_vec(), target.as_bytes().to_vec());
    engine.rename(BUCKET, RenameRequest { source, target, ..RenameRequest::default() }, None).await
}

async fn append(engine: &Engine, key: &str, body: &Bytes) -> Result<(), EngineError> {
    let seen = engine.locate(BUCKET, key.as_bytes(), None)?.row;
    let stored = store(engine, key, body).await?;
    let request = AppendRequest {
        bucket: BUCKET.to_owned(),
        object: key.as_bytes().to_vec(),
        draft: ObjectDraft::default(),
        stored,
        offset: seen.size,
        seen: Some(seen),
        seal: None,
        conditions: Conditions::default(),
    };
    engine.append(request).await.map(drop)
}

pub(crate) async fn read(engine: &Engine, key: &str) -> Result<Option<Bytes>, EngineError> {
    let located = match engine.locate(BUCKET, key.as_bytes(), None) {
        Err(EngineError::ObjectNotFound { .. } | EngineError::BucketNotFound) => return Ok(None),
        located => located?,
    };
    let size = located.row.size;
    let mut reader = engine.read(located, 0..size, None).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes.into()))
}

/// A client that works on keys of its own.
pub(crate) struct Client {
    pub(crate) engine: Engine,
    pub(crate) client: u64,
    pub(crate) rng: SeededRng,
    /// The device may have lied: what a key ever held stays possible.
    pub(crate) lied: bool,
}

/// What an operation makes of keys, if it is carried out.
type Changes = Vec<(String, Option<Bytes>)>;

impl Client {
    fn key(&self) -> String {
        format!("{}/{}", self.client, self.rng.below(4))
    }

    /// Until an operation is acknowledged, what was there and what is to come are both possible. A
    /// refusal for want of space, or because a copy shares its bytes, changes nothing; after any other error
    /// the client goes home.
    pub(crate) async fn run(self, mut keys: Possible, steps: u64) -> Possible {
        for _ in 0..steps {
            let (key, other) = (self.key(), self.key());
            let states = keys.entry(key.clone()).or_insert_with(|| vec![None]).clone();
            // What is certain can be built upon.
            let held = match &states[..] {
                [Some(held)] if key != other && !self.lied => Some(held.clone()),
                _ => None,
            };
            let engine = &self.engine;
            let choice = self.rng.below(8);
            let changes: Changes = match (choice, &held) {
                (0, _) => vec![(key.clone(), None)],
                (1, _) => {
                    if let Ok(found) = read(engine, &key).await {
                        assert!(states.contains(&found), "{key} shows what it cannot hold");
                    }
                    continue;
                }
                (2, Some(held)) => vec![(other.clone(), Some(held.clone()))],
                (3, Some(held)) => vec![(key.clone(), None), (other.clone(), Some(held.clone()))],
                (4, Some(held)) => {
                    let more = body(&self.rng);
                    let whole = [&held[..], &more].concat();
                    vec![(key.clone(), Some(whole.into()))]
                }
                _ => vec![(key.clone(), Some(body(&self.rng)))],
            };
            for (key, wanted) in &changes {
                let states = keys.entry(key.clone()).or_insert_with(|| vec![None]);
                states.push(wanted.clone());
            }
            let wanted = changes.last().and_then(|(_, wanted)| wanted.clone());
            let outcome = match (choice, &held, wanted) {
                (2, Some(_), _) => Box::pin(copy(engine, &key, &other)).await,
                (3, Some(_), _) => rename(engine, &key, &other).await,
                (4, Some(held), Some(whole)) => {
                    append(engine, &key, &whole.slice(held.len()..)).await
                }
                (_, _, Some(body)) => put(engine, &key, &body).await,
                (_, _, None) => {
                    let none = Conditions::default();
                    let name = key.clone().into_bytes();
                    engine.delete_object(BUCKET, name, None, none).await.map(drop)
                }
            };
            for (key, wanted) in changes {
                let states = keys.get_mut(&key).expect("noted above");
                match &outcome {
                    Ok(()) if self.lied => {}
                    Ok(()) => *states = vec![wanted],
                    Err(EngineError::Full | EngineError::Conflict) => drop(states.pop()),
                    Err(_) => {}
                }
            }
            match outcome {
                Ok(()) | Err(EngineError::Full | EngineError::Conflict) => {}
                Err(_) => return keys,
            }
        }
        keys
    }
}
