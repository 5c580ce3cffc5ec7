//! Goal: plans mean what S3 means. Method: random operations on plans over a map of rows, and on a
//! model that keeps, for each key, the list of its versions; after each step both must show the same
//! versions, and the rows must keep the catalog's invariants.

use drystone_base::{BucketId, Rng, SeededRng, Seq};
use drystone_catalog::{
    BucketLock, Data, ETag, Family, Key, KeyParts, LockMode, LockPeriod, MapView, ObjectRow,
    PartRow, Retention, Tx, Usage, Versioning,
};
use drystone_engine::plan::{self, Payload};
use drystone_engine::{Conditions, EngineError, VersionRef};
use std::collections::BTreeMap;

const BUCKET: &str = "bucket";
/// What a bucket gets that is made first, at the time at which most worlds begin.
const BUCKET_ID: BucketId = BucketId(1_000_000 << 16);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    /// Version id as clients see it.
    id: String,
    is_marker: bool,
    etag: u8,
    tags: usize,
}

#[derive(Default)]
struct Model {
    versioning: Versioning,
    /// Versions of each key, oldest first.
    keys: BTreeMap<String, Vec<Version>>,
}

impl Model {
    fn push(&mut self, key: &str, version: Version) {
        let versions = self.keys.entry(key.to_owned()).or_default();
        if version.id == "null" {
            versions.retain(|old| old.id != "null");
        }
        versions.push(version);
    }

    fn live(&self, key: &str) -> Option<&Version> {
        self.keys.get(key)?.last().filter(|version| !version.is_marker)
    }

    fn check(&self, conditions: &Conditions, key: &str) -> Result<(), &'static str> {
        let live = self.live(key);
        if conditions.if_none_match_any && live.is_some() {
            return Err("precondition");
        }
        match (&conditions.if_match, live) {
            (None, _) => Ok(()),
            (Some(_), None) => Err("missing"),
            (Some(tags), Some(version)) => {
                let etag = etag(version.etag).to_text();
                if tags.iter().any(|tag| tag == "*" || *tag == etag) {
                    Ok(())
                } else {
                    Err("precondition")
                }
            }
        }
    }
}

fn etag(byte: u8) -> ETag {
    ETag { md5: [byte; 16], part_count: None }
}

struct World {
    view: MapView,
    rng: SeededRng,
    now_ms: u64,
}

impl World {
    fn run<T>(
        &mut self,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.run_at(self.now_ms, plan)
    }

    /// As [`World::run`], where the clock of locks says something else than the wall clock.
    fn run_at<T>(
        &mut self,
        lock_now_ms: u64,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let stored = self.view.rows.get(Key::CLOCK);
        let clock = stored.and_then(|b| b[..].try_into().ok()).map_or(0, u64::from_le_bytes);
        let rows = self.view.clone();
        let mut tx = Tx::new(&rows, &self.rng, self.now_ms, Seq(clock));
        tx.set_lock_now_ms(lock_now_ms);
        let value = plan(&mut tx)?;
        self.view.apply(tx);
        Ok(value)
    }

    /// All versions as the rows have them, oldest first.
    fn shown(&self) -> BTreeMap<String, Vec<Version>> {
        let mut keys: BTreeMap<String, Vec<(Seq, Version)>> = BTreeMap::new();
        for (key, value) in &self.view.rows {
            if matches!(Family::of(key), Some(Family::Head | Family::Version)) {
                let parts = KeyParts::parse(key).expect("a row key");
                let row = ObjectRow::decode(value).expect("an object row");
                let name = String::from_utf8(parts.object).expect("text");
                let version = Version {
                    id: row.version_text(),
                    is_marker: row.is_marker,
                    etag: row.etag.md5[0],
                    tags: row.tags.len(),
                };
                keys.entry(name).or_default().push((row.seq, version));
            }
        }
        let sorted = keys.into_iter().map(|(name, mut versions)| {
            versions.sort_by_key(|(seq, _)| *seq);
            (name, versions.into_iter().map(|(_, version)| version).collect())
        });
        sorted.collect()
    }

    /// The invariants of the catalog.
    fn check_invariants(&self) {
        let (mut counted, mut heads) = (Usage::default(), BTreeMap::new());
        let mut blobs = std::collections::BTreeSet::new();
        let mut refs = 0;
        for (key, value) in &self.view.rows {
            let family = Family::of(key);
            let is_head = family == Some(Family::Head);
            if !is_head && family != Some(Family::Version) {
                continue;
            }
            let parts = KeyParts::parse(key).expect("a row key");
            let row = ObjectRow::decode(value).expect("an object row");
            match (row.is_marker, is_head) {
                (true, _) => counted.marker_count += 1,
                (false, true) => {
                    counted.current_count += 1;
                    counted.current_bytes += row.size;
                }
                (false, false) => {
                    counted.noncurrent_count += 1;
                    counted.noncurrent_bytes += row.size;
                }
            }
            if let Some(id) = row.data.shared_id() {
                let is_first = blobs.insert(id);
                assert!(is_first || row.is_shared, "a blob has one owner, or its owners say so");
                let is_known = self.view.rows.contains_key(&Key::blob_ref(id, row.seq)[..]);
                assert_eq!(row.is_shared, is_known, "owners of shared bytes have a row");
                refs += usize::from(row.is_shared);
            }
            if is_head {
                heads.insert(parts.object, row);
            } else {
                let head = heads.get(&parts.object).expect("a version has a head");
                assert!(row.seq < head.seq, "versions are older than the head");
                assert_eq!(
                    row.is_null,
                    head.null_seq == Some(row.seq),
                    "the head names the null version"
                );
            }
        }
        for (key, _) in self.view.rows.range(bytes::Bytes::from(vec![Family::Sweep as u8])..) {
            if Family::of(key) == Some(Family::Sweep) {
                let blob = drystone_base::BlobId::from_slice(&key[9..]).expect("16 bytes");
                assert!(!blobs.contains(&blob), "what is swept is not named");
            }
        }
        let of = |family| self.view.rows.keys().filter(move |key| Family::of(key) == Some(family));
        assert_eq!(of(Family::BlobRef).count(), refs, "every such row has its owner");
        for key in of(Family::Manifest) {
            let id = drystone_base::BlobId::from_slice(&key[1..]).expect("16 bytes");
            let is_swept = of(Family::Sweep).any(|key| key[9..] == id.0);
            assert!(blobs.contains(&id) || is_swept, "a list of parts has an owner");
        }
        let stored = self.view.rows.iter().find(|(k, _)| Family::of(k) == Some(Family::Usage));
        let stored = stored.map(|(_, v)| Usage::decode(v).expect("usage")).unwrap_or_default();
        assert_eq!(stored, counted, "usage equals a recount");
    }
}

fn outcome<T>(result: &Result<T, EngineError>) -> Result<(), &'static str> {
    match result {
        Ok(_) => Ok(()),
        Err(EngineError::PreconditionFailed(_)) => Err("precondition"),
        Err(EngineError::ObjectNotFound { .. } | EngineError::VersionNotFound) => Err("missing"),
        Err(EngineError::IsDeleteMarker { .. }) => Err("marker"),
        Err(EngineError::Locked) => Err("locked"),
        Err(EngineError::WriteOffset { .. }) => Err("offset"),
        Err(EngineError::NotAppendable) => Err("not appendable"),
        Err(EngineError::Conflict) => Err("conflict"),
        Err(other) => panic!("unexpected: {other}"),
    }
}

fn conditions(rng: &SeededRng) -> Conditions {
    match rng.below(8) {
        0 => Conditions { if_none_match_any: true, ..Conditions::default() },
        1 => Conditions { if_match: Some(vec!["*".into()]), ..Conditions::default() },
        2 => {
            let tag = etag(rng.below(4) as u8).to_text();
            Conditions { if_match: Some(vec![tag]), ..Conditions::default() }
        }
        _ => Conditions::default(),
    }
}

/// A version id that exists, mostly.
fn some_version(rng: &SeededRng, model: &Model, key: &str) -> String {
    let versions = model.keys.get(key).map_or(&[][..], Vec::as_slice);
    match rng.below(6) {
        0 => "null".to_owned(),
        1 => format!("{:032x}", rng.u64()),
        _ if versions.is_empty() => "null".to_owned(),
        _ => versions[rng.below(versions.len() as u64) as usize].id.clone(),
    }
}

fn step(world: &mut World, model: &mut Model, number: u64) {
    let key = ["a", "a/", "a/b", "b"][world.rng.below(4) as usize];
    // Wall clocks go back sometimes.
    world.now_ms = 1_000_000 + world.rng.below(50);
    match world.rng.below(15) {
        10 => copy(world, model, key),
        11 => rename(world, model, key),
        12..15 => append(world, model, key, number),
        0 => {
            let versioning =
                [Versioning::Enabled, Versioning::Suspended][world.rng.below(2) as usize];
            model.versioning = versioning;
            world
                .run(|tx| plan::set_versioning(tx, BUCKET_ID, versioning, None, false))
                .expect("the bucket exists");
        }
        1..5 => {
            let conditions = conditions(&world.rng);
            let tag = world.rng.below(4) as u8;
            let blob = drystone_base::BlobId::new(number, 0, 1, 1);
            let data = Data::Blob { blob, cell_len: 1, code: (1, 0), hint: None };
            let row = ObjectRow { etag: etag(tag), size: number, data, ..ObjectRow::empty() };
            let put = world.run(|tx| {
                plan::put_object(tx, BUCKET_ID, key.as_bytes(), row, Payload::Stored, &conditions)
            });
            assert_eq!(outcome(&put), model.check(&conditions, key), "put {key}");
            if let Ok(put) = put {
                let id = put.row.version_text();
                assert_eq!(id == "null", model.versioning != Versioning::Enabled);
                model.push(key, Version { id, is_marker: false, etag: tag, tags: 0 });
            }
        }
        5 | 6 => {
            let deleted = world.run(|tx| {
                plan::delete_object(tx, BUCKET_ID, key.as_bytes(), None, &Conditions::default())
            });
            let deleted = deleted.expect("a delete without conditions succeeds");
            if model.versioning == Versioning::Off {
                model.keys.remove(key);
            } else {
                let id = deleted.version.expect("a marker has an id");
                model.push(key, Version { id, is_marker: true, etag: 0, tags: 0 });
            }
        }
        7 | 8 => {
            let id = some_version(&world.rng, model, key);
            let version = VersionRef::parse(&id).expect("an id");
            let deleted = world.run(|tx| {
                let none = Conditions::default();
                plan::delete_object(tx, BUCKET_ID, key.as_bytes(), Some(version), &none)
            });
            deleted.expect("a delete without conditions succeeds");
            if let Some(versions) = model.keys.get_mut(key) {
                versions.retain(|version| version.id != id);
                if versions.is_empty() {
                    model.keys.remove(key);
                }
            }
        }
        _ => {
            let id = some_version(&world.rng, model, key);
            let version = VersionRef::parse(&id).expect("an id");
            let tags = vec![("t".to_owned(), "v".to_owned())];
            let put = world.run(|tx| {
                let change = |row: &mut ObjectRow| row.tags = tags;
                plan::change_version(tx, BUCKET_ID, key.as_bytes(), Some(version), change)
            });
            let found = model.keys.get_mut(key).and_then(|v| v.iter_mut().find(|v| v.id == id));
            let expected = match found {
                None => Err("missing"),
                Some(version) if version.is_marker => Err("marker"),
                Some(version) => {
                    version.tags = 1;
                    Ok(())
                }
            };
            assert_eq!(outcome(&put), expected, "tags of {key} {id}");
        }
    }
}

/// A copy by reference of a version, mostly one that exists.
fn copy(world: &mut World, model: &mut Model, key: &str) {
    let target = ["a", "a/", "a/b", "b"][world.rng.below(4) as usize];
    let id = some_version(&world.rng, model, key);
    let conditions = conditions(&world.rng);
    let version = VersionRef::parse(&id).expect("an id");
    let known = model.keys.get(key).and_then(|v| v.iter().find(|v| v.id == id)).cloned();
    let copied = world.run(|tx| {
        let bucket = plan::load_bucket(tx, BUCKET_ID)?;
        let found = plan::load_version(tx, bucket.id, key.as_bytes(), version)?;
        let (_, row) = found.ok_or(EngineError::VersionNotFound)?;
        if row.is_marker {
            return Err(EngineError::IsDeleteMarker { version: id.clone(), modified_ms: 0 });
        }
        let source = plan::SourceRef {
            bucket: bucket.id,
            object: key.as_bytes().to_vec(),
            seq: row.seq,
            data: row.data.clone(),
        };
        let draft = ObjectRow { etag: row.etag, size: row.size, ..ObjectRow::empty() };
        plan::copy_reference(tx, BUCKET_ID, target.as_bytes(), &source, draft, &conditions)
    });
    let expected = match &known {
        None => Err("missing"),
        Some(version) if version.is_marker => Err("marker"),
        Some(_) => model.check(&conditions, target),
    };
    assert_eq!(outcome(&copied), expected, "copy of {key} {id} to {target}");
    if let (Ok(made), Some(known)) = (copied, known) {
        let id = made.row.version_text();
        model.push(target, Version { id, is_marker: false, etag: known.etag, tags: 0 });
    }
}

fn rename(world: &mut World, model: &mut Model, key: &str) {
    let target = ["a", "a/", "a/b", "b"][world.rng.below(4) as usize];
    if target == key {
        return;
    }
    let request = plan::RenameRequest {
        source: key.as_bytes().to_vec(),
        target: target.as_bytes().to_vec(),
        ..plan::RenameRequest::default()
    };
    let fresh = drystone_base::BlobId::new(world.rng.u64(), 9, 9, 9);
    let renamed = world.run(|tx| plan::rename(tx, BUCKET_ID, &request, fresh));
    let live = model.live(key).cloned();
    assert_eq!(outcome(&renamed), live.as_ref().map(|_| ()).ok_or("missing"), "rename {key}");
    let (Ok(Some(row)), Some(live)) = (renamed, live) else { return };
    let moved = Version { id: row.version_text(), ..live };
    model.push(target, moved);
    match model.versioning {
        Versioning::Off => drop(model.keys.remove(key)),
        versioning => {
            // The rows say which marker came of it.
            let marker = world.shown()[key].last().expect("a marker").clone();
            assert!(
                marker.is_marker && (marker.id == "null") == (versioning != Versioning::Enabled)
            );
            model.push(key, marker);
        }
    }
}

/// An append at the end of an object, or beside it.
fn append(world: &mut World, model: &mut Model, key: &str, number: u64) {
    let rows = world.view.clone();
    let tx = Tx::new(&rows, &world.rng, 0, Seq(0));
    let bucket = plan::load_bucket(&tx, BUCKET_ID).expect("the bucket exists");
    let head = plan::load_head(&tx, bucket.id, key.as_bytes()).expect("a map").and_then(Result::ok);
    let head = head.filter(|head| !head.is_marker);
    let (size, seen) = head.as_ref().map_or((0, None), |head| (head.size, Some(head.seq)));
    let is_beside = world.rng.below(4) == 0;
    let blob = drystone_base::BlobId::new(number, 0, 2, 2);
    let data = Data::Blob { blob, cell_len: 1, code: (1, 0), hint: None };
    let tag = world.rng.below(4) as u8;
    let part = PartRow {
        number: 1,
        size: number,
        md5: [tag; 16],
        modified_ms: 0,
        checksum: None,
        data: data.clone(),
        seq: Seq(0),
        salt: None,
    };
    let plan = plan::AppendPlan {
        offset: size + u64::from(is_beside),
        seen,
        part,
        payload: Payload::Stored,
        draft: ObjectRow { etag: etag(tag), size: number, data, ..ObjectRow::empty() },
        checksum: None,
        manifest_id: drystone_base::BlobId::new(number, 0, 3, 3),
        conditions: Conditions::default(),
    };
    let appended = world.run(|tx| plan::append(tx, BUCKET_ID, key.as_bytes(), plan));
    let expected = match &head {
        _ if model.versioning != Versioning::Off => Err("not appendable"),
        _ if is_beside => Err("offset"),
        Some(head) if head.is_shared => Err("conflict"),
        _ => Ok(()),
    };
    assert_eq!(outcome(&appended), expected, "append to {key}");
    if let Ok(made) = appended {
        assert_eq!(made.row.size, size + number);
        let tags = head.map_or(0, |head| head.tags.len());
        let etag = made.row.etag.md5[0];
        model.push(key, Version { id: made.row.version_text(), is_marker: false, etag, tags });
    }
}

/// Goal: a locked version goes by no way. Method: random operations on a bucket that locks by default; every
/// version that was ever made is there at the end.
#[test]
fn no_way_leads_around_a_lock() {
    for seed in 0..20 {
        let rng = SeededRng::new(seed);
        let mut world = World { view: MapView::default(), rng, now_ms: 1_000_000 };
        let mut model = Model { versioning: Versioning::Enabled, ..Model::default() };
        let default = Some((LockMode::Governance, LockPeriod::Years(1)));
        world
            .run(|tx| {
                let lock = Some(BucketLock { default });
                plan::create_bucket(tx, BUCKET, "", Vec::new(), Vec::new(), lock)
            })
            .expect("created");
        let mut made = 0;
        for number in 1..150_u64 {
            let key = ["a", "b"][world.rng.below(2) as usize];
            let count =
                |model: &Model| model.keys.values().flatten().filter(|v| !v.is_marker).count();
            match world.rng.below(5) {
                0 => copy(&mut world, &mut model, key),
                1 => rename(&mut world, &mut model, key),
                2 => {
                    let id = some_version(&world.rng, &model, key);
                    let version = VersionRef::parse(&id).expect("an id");
                    let known = model.keys.get(key).and_then(|v| v.iter().find(|v| v.id == id));
                    let is_locked = known.is_some_and(|version| !version.is_marker);
                    let deleted = world.run(|tx| {
                        let none = Conditions::default();
                        plan::delete_object(tx, BUCKET_ID, key.as_bytes(), Some(version), &none)
                    });
                    let expected = if is_locked { Err("locked") } else { Ok(()) };
                    assert_eq!(outcome(&deleted), expected, "delete {key} {id}");
                    if let (Ok(_), Some(versions)) = (deleted, model.keys.get_mut(key)) {
                        versions.retain(|version| version.id != id);
                    }
                }
                _ => {
                    let blob = drystone_base::BlobId::new(number, 0, 1, 1);
                    let data = Data::Blob { blob, cell_len: 1, code: (1, 0), hint: None };
                    let row = ObjectRow { etag: etag(1), size: number, data, ..ObjectRow::empty() };
                    let put = world.run(|tx| {
                        let none = Conditions::default();
                        plan::put_object(tx, BUCKET_ID, key.as_bytes(), row, Payload::Stored, &none)
                    });
                    let id = put.expect("put").row.version_text();
                    model.push(key, Version { id, is_marker: false, etag: 1, tags: 0 });
                }
            }
            model.keys.retain(|_, versions| !versions.is_empty());
            assert_eq!(world.shown(), model.keys, "seed {seed}, step {number}");
            world.check_invariants();
            assert!(count(&model) >= made, "versions only come");
            made = count(&model);
        }
    }
}

#[test]
fn plans_agree_with_a_naive_model_of_versions() {
    for seed in 0..60 {
        let rng = SeededRng::new(seed);
        let mut world = World { view: MapView::default(), rng, now_ms: 1_000_000 };
        let mut model = Model::default();
        world
            .run(|tx| {
                plan::create_bucket(tx, BUCKET, "", Vec::new(), Vec::new(), None)?;
                plan::set_appends(tx, BUCKET_ID, true)
            })
            .expect("created");
        for number in 1..200 {
            step(&mut world, &mut model, number);
            assert_eq!(world.shown(), model.keys, "seed {seed}, step {number}");
            world.check_invariants();
        }
    }
}

#[test]
fn a_head_that_cannot_be_read_can_be_overwritten_and_deleted() {
    let mut world = World { view: MapView::default(), rng: SeededRng::new(1), now_ms: 1_000_000 };
    let bucket = world
        .run(|tx| plan::create_bucket(tx, BUCKET, "", Vec::new(), Vec::new(), None))
        .expect("created");
    let key = bytes::Bytes::from(Key::head(bucket.id, b"k"));
    let garbage = bytes::Bytes::from_static(b"\xff garbage");
    let none = Conditions::default();
    for overwrite in [true, false] {
        world.view.rows.insert(key.clone(), garbage.clone());
        if overwrite {
            let row = ObjectRow { etag: etag(1), ..ObjectRow::empty() };
            let put =
                world.run(|tx| plan::put_object(tx, BUCKET_ID, b"k", row, Payload::Stored, &none));
            put.expect("overwritten");
            assert!(ObjectRow::decode(&world.view.rows[&key]).is_ok());
        } else {
            world.run(|tx| plan::delete_object(tx, BUCKET_ID, b"k", None, &none)).expect("deleted");
            assert!(!world.view.rows.contains_key(&key));
        }
    }
    world.view.rows.insert(key.clone(), garbage);
    let version = Some(VersionRef::Null);
    world
        .run(|tx| plan::delete_object(tx, BUCKET_ID, b"k", version, &none))
        .expect("deleted by id");
    assert!(!world.view.rows.contains_key(&key));
}

#[test]
fn a_head_whose_lock_cannot_be_read_stays() {
    let mut world = World { view: MapView::default(), rng: SeededRng::new(1), now_ms: 1_000_000 };
    let lock = Some(drystone_engine::BucketLock::default());
    let bucket = world
        .run(|tx| plan::create_bucket(tx, BUCKET, "", Vec::new(), Vec::new(), lock))
        .expect("created");
    let key = bytes::Bytes::from(Key::head(bucket.id, b"k"));
    let garbage = bytes::Bytes::from_static(b"\xff garbage");
    world.view.rows.insert(key.clone(), garbage.clone());
    let all = Conditions { bypasses_governance: true, ..Conditions::default() };
    let row = ObjectRow { etag: etag(1), ..ObjectRow::empty() };
    let put = world.run(|tx| plan::put_object(tx, BUCKET_ID, b"k", row, Payload::Stored, &all));
    assert!(matches!(put, Err(EngineError::Locked)), "{put:?}");
    for version in [None, Some(VersionRef::Null)] {
        let deleted = world.run(|tx| plan::delete_object(tx, BUCKET_ID, b"k", version, &all));
        assert!(matches!(deleted, Err(EngineError::Locked)), "{deleted:?}");
    }
    assert_eq!(world.view.rows[&key], garbage);
}

/// Goal: a lock ends when both clocks say so, and one that either of them would not hold is not made. Method:
/// all pairs of times before, at and after its end; every way to end it.
#[test]
fn a_lock_ends_when_both_clocks_say_so() {
    const DAY: u64 = 24 * 3600 * 1000;
    let times = [1, 2, 3, 4].map(|days| days * DAY);
    let until_ms = 3 * DAY;
    for (wall_ms, lock_now_ms) in times.iter().flat_map(|wall| times.map(|lock| (*wall, lock))) {
        for mode in [LockMode::Governance, LockMode::Compliance] {
            let mut world = World { view: MapView::default(), rng: SeededRng::new(1), now_ms: DAY };
            let lock = Some(BucketLock::default());
            let made = world.run(|tx| {
                plan::create_bucket(tx, BUCKET, "", Vec::new(), Vec::new(), lock)?;
                let mut row = ObjectRow { etag: etag(1), ..ObjectRow::empty() };
                row.lock.retention = Some(Retention { mode, until_ms });
                plan::put_object(
                    tx,
                    BucketId(DAY << 16),
                    b"k",
                    row,
                    Payload::Stored,
                    &Conditions::default(),
                )
            });
            let version = VersionRef::parse(&made.expect("put").row.version_text());
            world.now_ms = wall_ms;
            let has_ended = wall_ms.min(lock_now_ms) >= until_ms;
            let shown = format!("wall {wall_ms}, locks {lock_now_ms}, {mode:?}");
            let none = world.run_at(lock_now_ms, |tx| {
                plan::set_retention(tx, BucketId(DAY << 16), b"k", version, None, false)?;
                Err::<(), _>(EngineError::Conflict)
            });
            assert_eq!(matches!(none, Err(EngineError::Locked)), !has_ended, "{shown}");
            let later = Some(Retention { mode, until_ms: 9 * DAY });
            let later = world.run_at(lock_now_ms, |tx| {
                plan::set_retention(tx, BucketId(DAY << 16), b"k", version, later, false)?;
                Err::<(), _>(EngineError::Conflict)
            });
            let is_ahead = lock_now_ms > wall_ms + DAY;
            assert_eq!(matches!(later, Err(EngineError::LockClockAhead)), is_ahead, "{shown}");
            let deleted = world.run_at(lock_now_ms, |tx| {
                plan::delete_object(tx, BucketId(DAY << 16), b"k", version, &Conditions::default())
            });
            assert_eq!(deleted.is_ok(), has_ended, "{shown}");
        }
    }
}
