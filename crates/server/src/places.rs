//! The directories of a node: found, locked, and made drives where they are new.

use crate::drive_files;
use crate::holder::holder_of;
use crate::index_files;
use crate::left_out::LeftOut;
use crate::mounts::{lacking_mount, strays_on_root};
use drystone_base::{Clock, SystemClock, SystemRng, say};
use drystone_drive::{DriveError, read_super, segment_len_for};
use drystone_engine::deployment::{IndexKind, Indexes, OpenError, Place, new_deployment};
use drystone_index::{Index, IndexError, LsmConfig, LsmIndex};
use drystone_io::{RealDisk, Tightened, create_small_file, remove_small_file, tighten};
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Entries that an empty directory may have.
const ALLOWED: &[&str] =
    &["lost+found", "super", "root-credentials", "keyring", "admin.sock", "drives"];

/// A directory, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GivenDirectory {
    /// What fails together; empty if it was not said.
    pub(crate) zone: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// Why directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// Another process has the directory.
    #[error("{path} is used by another process{holder}: stop the server first")]
    InUse { path: String, holder: String },
    /// The directory cannot be used.
    #[error("{path} cannot be used")]
    Directory {
        path: String,
        #[source]
        source: io::Error,
    },
    /// One directory is given more than once.
    #[error("{path} is given twice{}; name each directory once", as_other(.path, .first))]
    Twice { path: String, first: String },
    /// One directory lies in another: a drive would be among the files of another drive.
    #[error(
        "{inner} lies in {outer}: a drive cannot be inside another drive; name directories of which none \
         is in another"
    )]
    Inside { inner: String, outer: String },
    /// A variable of a script without a value.
    #[error("the name of a directory is empty")]
    NoName,
    /// No directory that was given is there.
    #[error("none of the directories is there: {paths}; are the filesystems mounted?")]
    NoneThere { paths: String },
    /// The directory is a drive already.
    #[error(
        "{path} is a drive of this deployment already (see `drystone drive list`); name an empty directory"
    )]
    OwnDrive { path: String },
    /// The directory is a drive of another deployment.
    #[error("{path} is a drive of another deployment already; name an empty directory")]
    OtherDrive { path: String },
    /// Nothing is there.
    #[error("{path} does not exist; name a directory that holds a drive")]
    Absent { path: String },
    /// Something else is there.
    #[error("{path} is not a directory")]
    NotADirectory { path: String },
    /// Nothing is in it.
    #[error("{path} is an empty directory, not a drystone drive; is the right filesystem mounted?")]
    Empty { path: String },
    /// The drive cannot be used.
    #[error("the drive at {path} cannot be used")]
    Drive {
        path: String,
        #[source]
        source: DriveError,
    },
    /// A file system is meant to be there.
    #[error(
        "{path} is not made a drive: {mount_point} is in /etc/fstab and not mounted. Mount it, or take it \
         out of /etc/fstab"
    )]
    NotMounted { path: String, mount_point: String },
    /// Another file system was probably meant.
    #[error(
        "{path} is not made a drive: it is on the device of the root directory, and others are not. Mount \
         what belongs there, or say --allow-root-device"
    )]
    OnRoot { path: String },
    /// Drives cannot be made.
    #[error("the drives cannot be made")]
    Make(#[from] OpenError),
    /// Something else lies in the place of a file.
    #[error("the drive at {path} cannot be used: {source}. Remove that, and start again")]
    File { path: String, source: io::Error },
    /// The address of a server was typed, for a deployment of several.
    #[error(
        "{text} is the address of a server: this version runs on one machine and takes directories only. \
         Start it on the machine with the drives, such as: drystone server {directory}"
    )]
    Address { text: String, directory: String },
    /// The directory is a drive of MinIO.
    #[error(
        "{path} holds data of MinIO (.minio.sys), which drystone does not read. Nothing was changed. To \
         move: start drystone on empty directories and other ports beside the MinIO server, make the \
         buckets, and copy each one: mc mirror OLD/BUCKET NEW/BUCKET (the newest versions of objects)"
    )]
    OfMinio { path: String },
    /// What was typed is no directory.
    #[error("{text}: {problem}")]
    Pattern { text: String, problem: &'static str },
}

fn as_other(path: &str, first: &str) -> String {
    if path == first { String::new() } else { format!(", first as {first}") }
}

/// What may become a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Making {
    /// Empty directories may, if none is a drive yet.
    pub(crate) is_allowed: bool,
    /// Also those on the device of the root directory where others are not.
    pub(crate) on_root: bool,
    /// Length of segments; `None` for a 1,024th of the filesystem.
    pub(crate) segment_len: Option<u32>,
}

/// Directories from what was typed: `PATH` or `ZONE=PATH`, with ranges such as `/data{1...6}`.
pub(crate) fn parse(arguments: &[String]) -> Result<Vec<GivenDirectory>, PlaceError> {
    let mut directories = Vec::new();
    for argument in arguments {
        directories.extend(expand(argument)?.iter().map(|text| parse_one(text)));
    }
    must_be_different(&directories)?;
    Ok(directories)
}

/// A directory from `PATH` or `ZONE=PATH`, in which braces mean nothing.
pub(crate) fn parse_one(text: &str) -> GivenDirectory {
    let (zone, path) = match text.split_once('=') {
        Some((zone, path)) if !zone.contains('/') => (zone, path),
        _ => ("", text),
    };
    GivenDirectory { zone: zone.to_owned(), path: PathBuf::from(path) }
}

/// Replaces the first range by each of its numbers, and goes on with what follows.
fn expand(text: &str) -> Result<Vec<String>, PlaceError> {
    if parse_one(text).path.as_os_str().is_empty() {
        return Err(PlaceError::NoName);
    }
    if let Some((_, after)) = text.split_once("://") {
        let directory = after.split_once('/').map_or("", |(_, path)| path);
        let directory = format!("/{directory}");
        return Err(PlaceError::Address { text: text.to_owned(), directory });
    }
    let Some((before, rest)) = text.split_once('{') else { return Ok(vec![text.to_owned()]) };
    let wrong = |problem| PlaceError::Pattern { text: text.to_owned(), problem };
    let (range, after) = rest.split_once('}').ok_or_else(|| wrong("a range ends with }"))?;
    let (first, last) = range.split_once("...").ok_or_else(|| wrong("a range is like {1...6}"))?;
    let number = |digits: &str| digits.parse::<u32>().map_err(|_| wrong("a range is like {1...6}"));
    let (from, to) = (number(first)?, number(last)?);
    if from > to || to - from >= 1000 {
        return Err(wrong("a range goes up, by fewer than 1,000"));
    }
    let width = if first.starts_with('0') { first.len() } else { 0 };
    let mut all = Vec::new();
    for number in from..=to {
        all.extend(expand(&format!("{before}{number:0width$}{after}"))?);
    }
    Ok(all)
}

/// Opens and locks the directories. If none of them is a drive yet, they all become drives, if that is
/// allowed. Where there are several, those that are missing or empty are left out, and named beside.
pub(crate) fn open(
    directories: &[GivenDirectory],
    making: Making,
) -> Result<(Vec<Place>, Vec<LeftOut>), PlaceError> {
    let is_alone = directories.len() == 1;
    let any_is_drive = directories.iter().any(|given| has_super(&given.path));
    let (mut drives, mut fresh, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for given in directories {
        let path = given.path.display().to_string();
        let mut leave_out = |reason: String| left_out.push(LeftOut { path: path.clone(), reason });
        let must_be_there = (any_is_drive || !making.is_allowed) && !is_alone;
        if let Some(reason) = missing(&given.path, must_be_there, any_is_drive)? {
            leave_out(reason);
            continue;
        }
        // Opening makes a directory that is not there: only where drives may be made.
        if !making.is_allowed && !given.path.try_exists().unwrap_or(true) {
            return Err(PlaceError::Absent { path });
        }
        let disk = open_disk(&given.path)?;
        match drive_files::check(&given.path) {
            Ok(()) => {}
            Err(source) if is_alone => return Err(PlaceError::File { path, source }),
            Err(error) => {
                leave_out(format!("{error}: remove that, and start again"));
                continue;
            }
        }
        let identity = match read_super(&disk) {
            Ok(identity) => identity,
            Err(source) if is_alone => return Err(PlaceError::Drive { path, source }),
            Err(error) => {
                leave_out(say(&error));
                continue;
            }
        };
        let (zone, node) = (given.zone.clone(), String::new());
        let place = Place { path: path.clone(), disk: Arc::new(disk), zone, node };
        match identity {
            // A making that was cut short: nothing was ever served from it.
            Some(identity) if identity.term == 0 => fresh.push(closed(place)),
            Some(_) => drives.push(closed(place)),
            None => match (must_be_empty(&given.path), any_is_drive && !is_alone) {
                (Ok(()), false) if making.is_allowed => fresh.push(closed(place)),
                (Ok(()), false) => return Err(PlaceError::Empty { path }),
                (Ok(()), true) => leave_out(
                    "it is empty: `drystone drive replace` puts it into the place of a drive that is \
                     gone, `drystone drive add` makes it another drive"
                        .to_owned(),
                ),
                (Err(error), false) => return Err(error),
                (Err(error), true) => leave_out(format!("it is no drive: {}", say(&error))),
            },
        }
    }
    if drives.is_empty() && !fresh.is_empty() {
        make_all(&fresh, making)?;
        return Ok((fresh, left_out));
    }
    drives.extend(fresh);
    if drives.is_empty() {
        let paths: Vec<_> = directories.iter().map(|d| d.path.display().to_string()).collect();
        return Err(PlaceError::NoneThere { paths: paths.join(", ") });
    }
    Ok((drives, left_out))
}

/// Makes places the drives of a new deployment.
fn make_all(fresh: &[Place], making: Making) -> Result<(), PlaceError> {
    let paths: Vec<&Path> = fresh.iter().map(|place| Path::new(&place.path)).collect();
    must_not_be_on_root(&paths, making.on_root)?;
    let len_for = |total_bytes| making.segment_len.unwrap_or_else(|| segment_len_for(total_bytes));
    Ok(new_deployment(fresh, &SystemRng, SystemClock.now_ms(), &len_for)?)
}

/// Symbolic links that are followed at most.
const LINKS_MAX: u32 = 40;

/// The directory that a path leads to, however it is spelled: relative, with `..`, over links. What is not
/// there, such as the place of a drive that is gone, keeps its name.
pub(crate) fn leads_to(path: &Path) -> PathBuf {
    follow(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()), LINKS_MAX)
}

fn follow(path: &Path, links_left: u32) -> PathBuf {
    for ancestor in path.ancestors() {
        let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
        if let Ok(real) = ancestor.canonicalize() {
            return rest.components().fold(real, |mut place, component| {
                match component {
                    Component::ParentDir => drop(place.pop()),
                    Component::Normal(name) => place.push(name),
                    _ => {}
                }
                place
            });
        }
        // A link to what is gone.
        if let Ok(target) = ancestor.read_link()
            && links_left > 0
        {
            let parent = ancestor.parent().unwrap_or(Path::new("/"));
            return follow(&parent.join(target).join(rest), links_left - 1);
        }
    }
    path.to_owned()
}

/// Refuses a directory that is given more than once, in whichever way, and one that lies in another. What an
/// older version made a drive there is opened.
fn must_be_different(directories: &[GivenDirectory]) -> Result<(), PlaceError> {
    let mut seen: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for GivenDirectory { path, .. } in directories {
        if let Some(first) = seen.insert(leads_to(path), path) {
            let (path, first) = (path.display().to_string(), first.display().to_string());
            return Err(PlaceError::Twice { path, first });
        }
    }
    for (real, path) in seen.iter().filter(|(_, path)| !has_super(path)) {
        let mut outer = real.ancestors().skip(1).filter_map(|ancestor| seen.get(ancestor));
        if let Some(outer) = outer.next() {
            return Err(inside(path, outer));
        }
    }
    Ok(())
}

fn inside(inner: &Path, outer: &Path) -> PlaceError {
    let (inner, outer) = (inner.display().to_string(), outer.display().to_string());
    PlaceError::Inside { inner, outer }
}

/// Refuses a new drive that lies in another one, or holds one.
fn must_be_apart(path: &Path, others: &[PathBuf]) -> Result<(), PlaceError> {
    let real = leads_to(path);
    for other in others {
        let home = leads_to(other);
        match (real.starts_with(&home), home.starts_with(&real)) {
            (true, false) => return Err(inside(path, other)),
            (false, true) => return Err(inside(other, path)),
            _ => {}
        }
    }
    Ok(())
}

/// What a directory lacks to be a drive that could be opened; `None` if it is one.
pub(crate) fn lack_of(path: &Path) -> Option<&'static str> {
    match path.metadata() {
        Err(_) => Some("it is not there"),
        Ok(metadata) if !metadata.is_dir() => Some("it is not a directory"),
        Ok(_) if !has_super(path) => Some("it is not a drystone drive"),
        Ok(_) => None,
    }
}

/// Why a directory is to be left out, if it is not there, or is not what is mounted there otherwise. Where
/// no drive is known yet, the latter is an error.
fn missing(
    path: &Path,
    must_be_there: bool,
    any_is_drive: bool,
) -> Result<Option<String>, PlaceError> {
    if must_be_there && !path.try_exists().unwrap_or(false) {
        return Ok(Some("the directory is not there".to_owned()));
    }
    // What is a drive is one, wherever it lies.
    if has_super(path) {
        return Ok(None);
    }
    match must_be_mounted(path) {
        Err(error) if any_is_drive => Ok(Some(say(&error))),
        outcome => outcome.map(|()| None),
    }
}

fn must_not_be_on_root(paths: &[&Path], is_allowed: bool) -> Result<(), PlaceError> {
    match strays_on_root(paths).first() {
        Some(path) if !is_allowed => Err(PlaceError::OnRoot { path: path.display().to_string() }),
        _ => Ok(()),
    }
}

/// Opens an empty directory, to become a drive beside others.
pub(crate) fn open_new(
    path: &Path,
    others: &[PathBuf],
    may_be_on_root: bool,
) -> Result<Place, PlaceError> {
    // Without `/` at its end, and the like.
    let path = &path.components().collect::<PathBuf>();
    if path.as_os_str().is_empty() {
        return Err(PlaceError::NoName);
    }
    let text = path.display().to_string();
    if !path.try_exists().unwrap_or(false) {
        let source = io::Error::new(io::ErrorKind::NotFound, "there is no such directory");
        return Err(PlaceError::Directory { path: text, source });
    }
    must_be_apart(path, others)?;
    let is_same = |home: &PathBuf| leads_to(home) == leads_to(path);
    match has_super(path) {
        true if others.iter().any(is_same) => return Err(PlaceError::OwnDrive { path: text }),
        true => return Err(PlaceError::OtherDrive { path: text }),
        false => must_be_empty(path)?,
    }
    let failed = |source| PlaceError::File { path: text.clone(), source };
    drive_files::check(path).map_err(failed)?;
    must_be_mounted(path)?;
    let others = others.iter().map(PathBuf::as_path);
    if strays_on_root(&others.clone().collect::<Vec<_>>()).is_empty() {
        must_not_be_on_root(&others.chain([path.as_path()]).collect::<Vec<_>>(), may_be_on_root)?;
    }
    let disk = Arc::new(open_disk(path)?);
    Ok(closed(Place { path: text, disk, zone: String::new(), node: String::new() }))
}

/// Takes the rights of other users of the machine from a directory that is, or becomes, a drive. A mode
/// that cannot be changed keeps no drive from starting.
fn closed(place: Place) -> Place {
    let path = place.path.as_str();
    match tighten(Path::new(path)) {
        Ok(Tightened { changed: 0, failed: 0 }) => {}
        Ok(Tightened { changed, failed: 0 }) => tracing::warn!(
            path,
            changed,
            "other users could reach files of a drive: modes set to 0600 and 0700"
        ),
        Ok(Tightened { changed, failed }) => tracing::warn!(
            path,
            changed,
            failed,
            "other users can reach files of a drive, and some modes cannot be changed: run chmod as the \
             owner of the files"
        ),
        Err(error) => {
            tracing::warn!(path, %error, "the modes of the files of a drive cannot be checked")
        }
    }
    place
}

fn has_super(path: &Path) -> bool {
    path.join(drystone_drive::SUPER_FILE).try_exists().unwrap_or(false)
}

fn open_disk(directory: &Path) -> Result<RealDisk, PlaceError> {
    let path = directory.display().to_string();
    if std::fs::metadata(directory).is_ok_and(|metadata| !metadata.is_dir()) {
        return Err(PlaceError::NotADirectory { path });
    }
    RealDisk::open(directory).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => PlaceError::InUse { path, holder: holder_of(directory) },
        _ => PlaceError::Directory { path, source },
    })
}

fn must_be_mounted(path: &Path) -> Result<(), PlaceError> {
    let Some(mount_point) = lacking_mount(path) else { return Ok(()) };
    let (path, mount_point) = (path.display().to_string(), mount_point.display().to_string());
    Err(PlaceError::NotMounted { path, mount_point })
}

fn must_be_empty(path: &Path) -> Result<(), PlaceError> {
    let text = path.display().to_string();
    if path.join(".minio.sys").is_dir() {
        return Err(PlaceError::OfMinio { path: text });
    }
    let failed = |source| PlaceError::Directory { path: text.clone(), source };
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if !ALLOWED.contains(&name.as_str()) {
            let source = DriveError::NotADrive { path: text.clone(), found: name };
            return Err(PlaceError::Drive { path: text, source });
        }
    }
    Ok(())
}

/// A file that tells the next start to rebuild the index of a drive.
pub(crate) const CONDEMNED_FILE: &str = "drive-index.rebuild";

/// Lets the next start rebuild the index of the drive at a path.
pub(crate) fn condemn_drive_index(path: &str) {
    match create_small_file(&Path::new(path).join(CONDEMNED_FILE), "") {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            tracing::error!(drive = path, %error, "that could not be noted");
        }
        _ => {}
    }
}

/// Indexes in the directories of the drives.
pub(crate) struct LsmIndexes;

fn folder(path: &str, kind: IndexKind) -> PathBuf {
    let name = match kind {
        IndexKind::Catalog => "catalog-index",
        IndexKind::Drive => "drive-index",
    };
    Path::new(path).join(name)
}

fn remove(folder: &Path) -> Result<(), IndexError> {
    let removed = match std::fs::remove_dir_all(folder) {
        // Something else lies in its place.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => remove_small_file(folder),
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(IndexError { reason: format!("{}: {error}", folder.display()) })
        }
        _ => Ok(()),
    }
}

/// Makes the directory of an index; the files in it are made under the umask of the process.
fn make(folder: &Path) -> Result<(), IndexError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| IndexError { reason: format!("{}: {error}", folder.display()) })
}

impl Indexes for LsmIndexes {
    fn open(&self, path: &str, kind: IndexKind, anew: bool) -> Result<Arc<dyn Index>, IndexError> {
        let folder = folder(path, kind);
        let bytes = match kind {
            IndexKind::Catalog => 16 << 20,
            IndexKind::Drive => 8 << 20,
        };
        let config = || LsmConfig { cache_bytes: bytes, memtable_bytes: bytes };
        let condemned = Path::new(path).join(CONDEMNED_FILE);
        let is_condemned = kind == IndexKind::Drive && condemned.try_exists().unwrap_or(true);
        if anew || is_condemned {
            remove(&folder)?;
        }
        if let Err(error) = index_files::check(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            let index = folder.display().to_string();
            tracing::warn!(index, %error, "index is rebuilt");
            remove(&folder)?;
        }
        if is_condemned && let Err(error) = remove_small_file(&condemned) {
            // It is rebuilt once more by the next start.
            tracing::warn!(file = %condemned.display(), %error, "a file could not be removed");
        }
        make(&folder)?;
        match LsmIndex::open(&folder, config()) {
            Ok(index) => Ok(Arc::new(index)),
            Err(error) => {
                let index = folder.display().to_string();
                tracing::warn!(index, reason = error.reason, "index is rebuilt");
                remove(&folder)?;
                make(&folder)?;
                Ok(Arc::new(LsmIndex::open(&folder, config())?))
            }
        }
    }

    fn discard(&self, path: &str, kind: IndexKind) -> Result<(), IndexError> {
        remove(&folder(path, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let parsed = parse(&arguments).expect("is understood");
        parsed.iter().map(|given| format!("{}:{}", given.zone, given.path.display())).collect()
    }

    #[test]
    fn every_spelling_of_a_path_leads_to_the_same_directory() {
        let base = std::env::temp_dir().join(format!("drystone-places-{}", std::process::id()));
        let real = base.join("real");
        std::fs::create_dir_all(&real).expect("is made");
        let links = [("link", "real"), ("dangling", "gone"), ("a", "b"), ("b", "a")];
        for (link, target) in links {
            std::os::unix::fs::symlink(target, base.join(link)).expect("is made");
        }
        let leads = |text: &str| leads_to(&base.join(text));
        let is = base.canonicalize().expect("is there");
        for text in ["real", "real/", "./real", "link", "link/../real", "gone/../real", "real/x/.."]
        {
            assert_eq!(leads(text), is.join("real"), "{text}");
        }
        for text in ["gone", "gone/", "dangling", "link/../gone", "real/../dangling"] {
            assert_eq!(leads(text), is.join("gone"), "{text}");
        }
        // A link to itself leads nowhere, and ends.
        assert!(leads("a").starts_with(&base) || leads("a").starts_with(&is));
        std::fs::remove_dir_all(&base).expect("is removed");
    }

    #[test]
    fn ranges_and_zones_become_directories() {
        assert_eq!(paths(&["/data{1...3}"]), [":/data1", ":/data2", ":/data3"]);
        assert_eq!(paths(&["a=/m{08...10}/x"]), ["a:/m08/x", "a:/m09/x", "a:/m10/x"]);
        assert_eq!(paths(&["/r{1...2}/d{1...2}"]).len(), 4);
        assert_eq!(paths(&["./x=y"]), [":./x=y"]);
        for wrong in ["/d{1..3}", "/d{3...1}", "/d{a...b}", "/d{1...3", "/d{1...5000}"] {
            assert!(parse(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
