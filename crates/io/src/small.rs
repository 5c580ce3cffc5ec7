//! Small files of a drive, and of an operator: opened so that nothing that lies in their place keeps a start
//! waiting, fills memory, or leads out of the drive.
//!
//! A writer of one drive can put a named pipe, a device, a link or a file without end in the place of
//! any file, or give a file of the same file system that lies elsewhere a second name there, under which it
//! would be written to: a file of a drive has one name. All files of drives are opened here;
//! `cargo xtask tidy` refuses other ways.

use crate::modes::FILE_MODE;
use rustix::fs::{FileType, OFlags};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What becomes of a symbolic link in the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It is refused: a file of a drive, which the server made itself.
    Refused,
    /// It is followed: a file that a setting names.
    Followed,
}

fn refused(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is {what}", path.display()))
}

/// What is wrong with the kind of a file; `None` for a regular one.
fn odd_kind(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() => return None,
        () if kind.is_symlink() => "a symbolic link, not a file",
        () if kind.is_dir() => "a directory, not a file",
        () if kind.is_fifo() => "a named pipe, not a file",
        () if kind.is_socket() => "a socket, not a file",
        () => "a device, not a file",
    };
    Some(what)
}

fn must_be_file(path: &Path, metadata: &Metadata, links: Links, len_max: u64) -> io::Result<()> {
    match odd_kind(metadata) {
        Some(what) => Err(refused(path, what)),
        None if links == Links::Refused && metadata.nlink() > 1 => {
            let count = metadata.nlink();
            Err(refused(path, &format!("a file of {count} names, which may lie elsewhere too")))
        }
        None if metadata.len() > len_max => {
            let len = metadata.len();
            Err(refused(path, &format!("{len} bytes long, which is more than it can have")))
        }
        None => Ok(()),
    }
}

/// Checks what lies at a path, without opening it. Nothing there is an error, too.
///
/// # Errors
///
/// `NotFound`; `InvalidData` if it is not a regular file of at most `len_max` bytes and, where links are
/// refused, of one name; or whatever the operating system reports.
pub fn check_file(path: &Path, links: Links, len_max: u64) -> io::Result<()> {
    let metadata = match links {
        Links::Refused => path.symlink_metadata()?,
        Links::Followed => path.metadata()?,
    };
    must_be_file(path, &metadata, links, len_max)
}

/// Opens a regular file of a drive, or what a setting names. Never waits, and never opens anything else: the
/// kind is looked at before, so that no device is touched, and after.
///
/// # Errors
///
/// As [`check_file`].
pub(crate) fn open_file(
    path: &Path,
    links: Links,
    options: &mut OpenOptions,
    more: OFlags,
) -> io::Result<File> {
    check_file(path, links, u64::MAX)?;
    let follow = if links == Links::Refused { OFlags::NOFOLLOW } else { OFlags::empty() };
    let flags = (OFlags::NONBLOCK | follow | more).bits().cast_signed();
    let file = options.custom_flags(flags).open(path)?;
    must_be_file(path, &file.metadata()?, links, u64::MAX)?;
    Ok(file)
}

/// Opens a file of a drive for reading parts of it.
///
/// # Errors
///
/// As [`check_file`].
pub fn open_for_reading(path: &Path) -> io::Result<File> {
    open_file(path, Links::Refused, OpenOptions::new().read(true), OFlags::empty())
}

/// Reads a file of text whole.
///
/// # Errors
///
/// As [`check_file`]; `InvalidData` if it is not UTF-8.
pub fn read_small_file(path: &Path, links: Links, len_max: u64) -> io::Result<String> {
    let bytes = read_small_bytes(path, links, len_max)?;
    String::from_utf8(bytes).map_err(|_| refused(path, "not text"))
}

/// Reads a file of any content whole.
///
/// # Errors
///
/// As [`check_file`].
pub fn read_small_bytes(path: &Path, links: Links, len_max: u64) -> io::Result<Vec<u8>> {
    let file = open_file(path, links, OpenOptions::new().read(true), OFlags::empty())?;
    must_be_file(path, &file.metadata()?, links, len_max)?;
    let mut bytes = Vec::new();
    file.take(len_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > len_max {
        return Err(refused(path, "longer than it can be"));
    }
    Ok(bytes)
}

/// Makes a file that only its owner reads, durably but for its name: see [`sync_directory`].
///
/// # Errors
///
/// `AlreadyExists`, also for a link that leads nowhere, or whatever the operating system reports.
pub fn create_small_file(path: &Path, text: &str) -> io::Result<()> {
    // Exclusive creation follows no link.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Replaces a file as a whole, or makes it, durably. What lay there, also a link, is not written to.
///
/// # Errors
///
/// Whatever the operating system reports; the file is as it was then.
#[expect(
    clippy::disallowed_methods,
    reason = "written in place it could be lost; both are flushed"
)]
pub fn replace_small_file(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    remove_small_file(&new)?;
    create_small_file(&new, text)?;
    std::fs::rename(&new, path)?;
    sync_directory(path.parent().unwrap_or(path))
}

/// Removes a file, or whatever has its place and is no directory. One that is not there is no error.
///
/// # Errors
///
/// Whatever the operating system reports.
pub fn remove_small_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes what was made, replaced or removed in a directory durable.
///
/// # Errors
///
/// Whatever the operating system reports.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    // What has no other directory before it is in this one.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    open_directory(path)?.sync_all()
}

/// Opens a directory; a named pipe in its place is an error, and nothing that is waited for.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    let flags = (OFlags::DIRECTORY | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Takes the rights of others from a socket, and from nothing that was put in its place meanwhile.
///
/// # Errors
///
/// `InvalidData` if it is no socket, or whatever the operating system reports.
pub fn close_socket_to_others(path: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let socket = rustix::fs::open(path, flags, rustix::fs::Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode) != FileType::Socket {
        return Err(refused(path, "not the socket that was made"));
    }
    // A descriptor of this kind has no other way to its mode.
    let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&socket));
    rustix::fs::chmod(own, rustix::fs::Mode::from_raw_mode(FILE_MODE)).map_err(io::Error::from)
}

/// Directories below each other that an index may have.
const DEPTH_MAX: usize = 4;

/// Checks that everything below a directory is a directory or a regular file of one name, before another
/// library opens it. `len_max` tells the length that a file may have, by its path.
///
/// # Errors
///
/// `InvalidData` names the first that is something else; or whatever the operating system reports.
pub fn check_tree(root: &Path, len_max: &mut dyn FnMut(&Path) -> u64) -> io::Result<()> {
    let metadata = root.symlink_metadata()?;
    if !metadata.is_dir() {
        return Err(refused(root, "not a directory"));
    }
    let mut open: Vec<(PathBuf, usize)> = vec![(root.to_owned(), 0)];
    while let Some((directory, depth)) = open.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            let metadata = path.symlink_metadata()?;
            if metadata.is_dir() && depth < DEPTH_MAX {
                open.push((path, depth + 1));
                continue;
            }
            must_be_file(&path, &metadata, Links::Refused, len_max(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn fifo(path: &Path) {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path,
            FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("a named pipe");
    }

    /// Goal: what is no regular file of the length it can have is refused at once, and named. Method: one of
    /// each kind in its place.
    #[test]
    fn only_a_short_regular_file_is_read() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let place = |name: &str| dir.path().join(name);
        replace_small_file(&place("file"), "text").expect("made");
        let read = |name: &str, links| read_small_file(&place(name), links, 4);
        assert_eq!(read("file", Links::Refused).expect("is one"), "text");
        symlink("file", place("link")).expect("a link");
        assert_eq!(read("link", Links::Followed).expect("leads to one"), "text");
        fifo(&place("pipe"));
        std::fs::create_dir(place("folder")).expect("a folder");
        let _socket = std::os::unix::net::UnixListener::bind(place("socket")).expect("a socket");
        File::create(place("sparse")).and_then(|file| file.set_len(20 << 30)).expect("made");
        replace_small_file(&place("long"), "texts").expect("made");
        symlink("/dev/zero", place("zero")).expect("a link");
        replace_small_file(&place("outside"), "text").expect("made");
        std::fs::hard_link(place("outside"), place("second")).expect("a second name");
        assert_eq!(read("second", Links::Followed).expect("a setting names it"), "text");
        for name in ["pipe", "folder", "socket", "sparse", "long", "zero", "link", "second"] {
            let links = if name == "zero" { Links::Followed } else { Links::Refused };
            let error = read(name, links).expect_err("is refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}");
            assert!(error.to_string().contains(&place(name).display().to_string()), "{error}");
        }
        assert_eq!(
            read("none", Links::Refused).expect_err("missing").kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn a_file_is_replaced_and_what_a_link_names_is_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (outside, place) = (dir.path().join("outside"), dir.path().join("place"));
        create_small_file(&outside, "precious").expect("made");
        symlink("outside", &place).expect("a link");
        symlink("outside", dir.path().join("place.new")).expect("a link");
        replace_small_file(&place, "new").expect("replaced");
        let read = |path: &Path| read_small_file(path, Links::Refused, 100).expect("is a file");
        assert_eq!((read(&outside).as_str(), read(&place).as_str()), ("precious", "new"));
    }

    #[test]
    fn a_tree_has_nothing_but_directories_and_files() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("index");
        std::fs::create_dir_all(root.join("tables")).expect("directories");
        create_small_file(&root.join("tables/0"), "0123456789").expect("made");
        create_small_file(&root.join("current"), "0").expect("made");
        let mut limit = |path: &Path| if path.ends_with("current") { 1 } else { 10 };
        check_tree(&root, &mut limit).expect("is one");
        let odd = root.join("tables/1");
        fifo(&odd);
        let error = check_tree(&root, &mut limit).expect_err("a named pipe");
        assert!(error.to_string().contains("tables/1 is a named pipe"), "{error}");
        remove_small_file(&odd).expect("removed");
        symlink("0", &odd).expect("a link");
        check_tree(&root, &mut limit).expect_err("a link");
        replace_small_file(&odd, "01234567890").expect("made");
        check_tree(&root, &mut limit).expect_err("too long");
    }

    #[test]
    fn only_a_socket_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (socket, link) = (dir.path().join("socket"), dir.path().join("link"));
        let _socket = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        close_socket_to_others(&socket).expect("closed");
        let mode = socket.symlink_metadata().expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        symlink("socket", &link).expect("a link");
        close_socket_to_others(&link).expect_err("a link");
    }
}
