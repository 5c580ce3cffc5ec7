//! Who has a directory locked, in words: for people who are to stop that process first.

use crate::socket;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A lock of `/proc/locks`: its process, and the inode with the device that it lies on.
#[derive(Debug, PartialEq, Eq)]
struct Lock {
    pid: u32,
    device: (u32, u32),
    inode: u64,
}

/// Reads a line such as `1: FLOCK  ADVISORY  WRITE 706 08:01:131093 0 EOF`.
fn parse(line: &str) -> Option<Lock> {
    let mut words = line.split_whitespace().skip(1);
    if words.next()? != "FLOCK" {
        return None;
    }
    let pid = words.nth(2)?.parse().ok()?;
    let mut place = words.next()?.split(':');
    let mut hex = || u32::from_str_radix(place.next()?, 16).ok();
    let device = (hex()?, hex()?);
    Some(Lock { pid, device, inode: place.next()?.parse().ok()? })
}

/// The process that has a directory locked. Some filesystems name another device there than files have: then
/// the inode must be enough.
fn pid_of(locks: &str, device: (u32, u32), inode: u64) -> Option<u32> {
    let of_inode: Vec<Lock> =
        locks.lines().filter_map(parse).filter(|lock| lock.inode == inode).collect();
    let exact = of_inode.iter().find(|lock| lock.device == device);
    let only = of_inode.first().filter(|_| of_inode.len() == 1);
    // Zero is a process of another namespace.
    exact.or(only).map(|lock| lock.pid).filter(|pid| *pid != 0)
}

/// What is known of the process that has a directory locked: its number and its socket; empty if nothing is.
pub(crate) fn holder_of(directory: &Path) -> String {
    let pid = directory.metadata().ok().and_then(|metadata| {
        let device = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
        pid_of(&std::fs::read_to_string("/proc/locks").ok()?, device, metadata.ino())
    });
    let socket = directory.join(socket::FILE);
    let socket =
        socket.try_exists().unwrap_or(false).then(|| format!("its socket is {}", socket.display()));
    let known: Vec<String> =
        pid.map(|pid| format!("pid {pid}")).into_iter().chain(socket).collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_a_lock_is_found_by_device_and_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 1 08:01:7 0 EOF\n\
            2: FLOCK  ADVISORY  WRITE 706 08:01:131093 0 EOF\n\
            3: FLOCK  ADVISORY  WRITE 800 fd:10:131093 0 EOF\n\
            4: FLOCK  ADVISORY  WRITE 0 08:01:9 0 EOF\nnonsense\n";
        assert_eq!(pid_of(locks, (8, 1), 131_093), Some(706));
        assert_eq!(pid_of(locks, (0xfd, 0x10), 131_093), Some(800));
        assert_eq!(pid_of(locks, (1, 1), 131_093), None, "there are two");
        assert_eq!((pid_of(locks, (8, 1), 7), pid_of(locks, (8, 1), 9)), (None, None));
    }
}
