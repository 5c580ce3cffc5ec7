//! Damages stored configuration, for tests of what the server makes of it: replaces a text by another
//! in every row of the catalog of a drive that no server uses.
//!
//! ```text
//! corrupt_rows DIRECTORY TEXT REPLACEMENT
//! corrupt_rows DIRECTORY --forge TEXT REPLACEMENT
//! corrupt_rows DIRECTORY --copy BUCKET/KEY BUCKET/KEY
//! corrupt_rows DIRECTORY --strip FAMILY TEXT
//! corrupt_rows DIRECTORY --count FAMILY NUMBER
//! ```
//!
//! The first form and the last give rows new seals, as if the server had written them; the last makes a
//! number the value of all rows of a family that hold a count and nothing else (all eight counts, of
//! `usage`). The others are what a writer of the drive can do without the keyring: replace a text and keep
//! the seal, put the row of one object under the key of another, and take the seals off rows of a family
//! (`head`, `identity`, ...) that have a text.
//!
//! Prints how many rows it changed, and fails if there was none.

use drystone_base::{BucketId, SystemClock, SystemRng};
use drystone_catalog::{
    Catalog, CatalogConfig, Decision, Family, Key, RowAccess, RowProtection, Usage,
};
use drystone_drive::{Drive, DriveConfig, Super, open_super};
use drystone_index::MemIndex;
use drystone_io::{Disk, RealDisk};
use drystone_keyring::{Keyring, ROW_SEAL_LEN_BYTES};
use drystone_log::Class;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

fn replace(bytes: &[u8], text: &[u8], replacement: &[u8]) -> Option<Vec<u8>> {
    let at = bytes.windows(text.len()).position(|window| window == text)?;
    Some([&bytes[..at], replacement, &bytes[at + text.len()..]].concat())
}

type Changes = Vec<(Vec<u8>, Vec<u8>)>;

/// The rows with a text replaced.
fn replaced(catalog: &Catalog, text: &[u8], replacement: &[u8]) -> Result<Changes, Box<dyn Error>> {
    let rows = catalog.snapshot().scan((std::ops::Bound::Unbounded, std::ops::Bound::Unbounded));
    let mut changed = Vec::new();
    for row in rows {
        let (key, value) = row?;
        changed.extend(replace(&value, text, replacement).map(|value| (key.to_vec(), value)));
    }
    Ok(changed)
}

/// The key of the current version of `BUCKET/KEY`.
fn head_of(catalog: &Catalog, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let (bucket, key) = name.split_once('/').ok_or("this is no BUCKET/KEY")?;
    let id = catalog.get(&Key::bucket_name(bucket))?.ok_or("there is no such bucket")?;
    let id = u64::from_le_bytes(id[..8].try_into()?);
    Ok(Key::head(BucketId(id), key.as_bytes()))
}

/// The row of one object under the key of another.
fn copied(catalog: &Catalog, from: &str, to: &str) -> Result<Changes, Box<dyn Error>> {
    let value = catalog.get(&head_of(catalog, from)?)?.ok_or("there is no such object")?;
    Ok(vec![(head_of(catalog, to)?, value.to_vec())])
}

fn family_named(family: &str) -> Result<Family, Box<dyn Error>> {
    let named = |known: &Family| format!("{known:?}").eq_ignore_ascii_case(family);
    Ok(Family::ALL.into_iter().find(named).ok_or("there is no such family")?)
}

/// Rows of a family that have a text, without what is behind their values.
fn stripped(catalog: &Catalog, family: &str, text: &str) -> Result<Changes, Box<dyn Error>> {
    let family = family_named(family)?;
    let mut changed = Vec::new();
    for row in catalog.snapshot().scan(family.range()) {
        let (key, stored) = row?;
        let value = stored.len().saturating_sub(ROW_SEAL_LEN_BYTES + 2);
        if replace(&stored, text.as_bytes(), b"").is_some() {
            changed.push((key.to_vec(), stored[..value].to_vec()));
        }
    }
    Ok(changed)
}

/// Whether a row holds a count and nothing else.
fn is_count(key: &[u8]) -> bool {
    /// Kind of the rows that count entities of an account.
    const ENTITIES: u8 = 17;
    match Family::of(key) {
        Some(Family::State) => key.starts_with(&Key::bucket_count("")),
        Some(Family::Document) => key.len() == 10 && key[9] & 0x80 != 0,
        Some(Family::Identity) => key.get(1) == Some(&ENTITIES),
        family => family == Some(Family::Usage),
    }
}

/// Rows of a family that count something, with another number.
fn counted(catalog: &Catalog, family: &str, number: &str) -> Result<Changes, Box<dyn Error>> {
    let (family, n) = (family_named(family)?, number.parse()?);
    let usage = Usage {
        current_count: n,
        current_bytes: n,
        noncurrent_count: n,
        noncurrent_bytes: n,
        marker_count: n,
        part_count: n,
        part_bytes: n,
        upload_count: n,
    };
    let value = match family {
        Family::Usage => usage.encode(),
        _ => n.to_le_bytes().to_vec(),
    };
    let mut changed = Vec::new();
    for row in catalog.snapshot().scan(family.range()) {
        let (key, _) = row?;
        if is_count(&key) {
            changed.push((key.to_vec(), value.clone()));
        }
    }
    Ok(changed)
}

/// What opens rows as the server does: the keyring in the directory.
fn keys_of(directory: &str, identity: &Super) -> Result<RowAccess, Box<dyn Error>> {
    let keyring = std::fs::read_to_string(Path::new(directory).join("keyring"))?;
    let keys = Keyring::parse(&keyring)?.row_keys(&identity.deployment);
    Ok(RowAccess::Keys { keys, lost: Vec::new(), is_complete: true })
}

/// Commits the changed rows; returns how many.
fn corrupt(catalog: &Catalog, changed: Changes) -> Result<usize, Box<dyn Error>> {
    let count = changed.len();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(catalog.submit(move |tx| {
        changed.into_iter().for_each(|(key, value)| tx.put(key, value));
        Ok(Decision::Commit(()))
    }))?;
    Ok(count)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (directory, how, from, to) = match arguments.as_slice() {
        [directory, how, from, to] => (directory, how.as_str(), from, to),
        [directory, text, replacement] => (directory, "", text, replacement),
        _ => {
            let usage = "usage: corrupt_rows DIRECTORY [--forge|--copy|--strip|--count] ONE OTHER";
            return Err(usage.into());
        }
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(Path::new(directory))?);
    let identity = open_super(&*disk)?.ok_or("this is no drive")?;
    let config =
        DriveConfig { identity: identity.clone(), write_ahead_len: 0, lsn_floor: 0, bug: None };
    let drive = Drive::open(disk, Arc::new(MemIndex::default()), config)?;
    let log = drive.log().clone();
    let (clock, rng) = (Arc::new(SystemClock), Arc::new(SystemRng));
    let is_server = matches!(how, "" | "--count") && identity.seals_rows;
    let rows = if is_server { RowProtection::Sealed } else { RowProtection::None };
    let mirrors = Default::default();
    let config = CatalogConfig { clock, rng, rebuild: true, mirrors, rows, bug: None };
    let catalog = Catalog::open(log.clone(), Arc::new(MemIndex::default()), config)?;
    if is_server {
        catalog.unlock(keys_of(directory, &identity)?);
    }
    let count = std::thread::scope(|scope| {
        for class in Class::ALL {
            let log = log.clone();
            scope.spawn(move || log.run_writer(class));
        }
        scope.spawn(|| catalog.run_committer());
        let changes = match how {
            "--copy" => copied(&catalog, from, to),
            "--strip" => stripped(&catalog, from, to),
            "--count" => counted(&catalog, from, to),
            "--forge" | "" => replaced(&catalog, from.as_bytes(), to.as_bytes()),
            other => Err(format!("{other} is not known").into()),
        };
        let count = changes.and_then(|changes| corrupt(&catalog, changes));
        catalog.close();
        log.close();
        count
    })?;
    writeln!(std::io::stdout(), "{count} rows changed")?;
    if count == 0 { Err("no row has this text".into()) } else { Ok(()) }
}
