//! What is mounted where: nothing becomes a drive where a file system is meant to be and is not, and
//! directories that fail together are told.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A mount point of `/etc/fstab` that is the directory, or above it, and is not mounted. What cannot be
/// read is no obstacle: there are systems without these files.
pub(crate) fn lacking_mount(directory: &Path) -> Option<PathBuf> {
    let fstab = std::fs::read_to_string("/etc/fstab").ok()?;
    let mounted = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    find_lacking(&fstab, &mounted, &resolve(directory))
}

/// The directories that are on one device with others, by device.
pub(crate) fn sharing<'a>(directories: &[&'a Path]) -> Vec<Vec<&'a Path>> {
    let mut by_device: BTreeMap<u64, Vec<&Path>> = BTreeMap::new();
    for directory in directories {
        if let Ok(metadata) = std::fs::metadata(directory) {
            by_device.entry(metadata.dev()).or_default().push(directory);
        }
    }
    by_device.into_values().filter(|paths| paths.len() > 1).collect()
}

/// The directories on the device of the root directory, where others are not: it is likely that something
/// else was to be mounted there.
pub(crate) fn strays_on_root<'a>(directories: &[&'a Path]) -> Vec<&'a Path> {
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let root = device(Path::new("/"));
    let (on_root, elsewhere): (Vec<&Path>, Vec<&Path>) =
        directories.iter().partition(|path| device(path) == root);
    if elsewhere.is_empty() { Vec::new() } else { on_root }
}

/// The path without links, as far as it is there.
fn resolve(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return real.join(rest);
        }
    }
    path
}

fn find_lacking(fstab: &str, mountinfo: &str, directory: &Path) -> Option<PathBuf> {
    // Fields of fstab(5): device, mount point. Of mountinfo, proc(5): the mount point is the fifth.
    let points = |text: &str, field: usize| -> Vec<PathBuf> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.filter_map(|line| line.split_whitespace().nth(field)).map(unescape).collect()
    };
    let mounted = points(mountinfo, 4);
    let meant = points(fstab, 1).into_iter();
    meant
        .filter(|point| point.is_absolute() && directory.starts_with(point))
        .find(|point| !mounted.contains(point))
}

/// Both files write spaces and the like as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut pieces = text.split('\\');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                plain.push(char::from(code));
                plain += &piece[3..];
            }
            None => {
                plain.push('\\');
                plain += piece;
            }
        }
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FSTAB: &str = "# /etc/fstab\nUUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0\n\
                         UUID=3 /data1 xfs noatime 0 2\n  UUID=4\t/data2 xfs noatime 0 2\n\
                         UUID=5 /media/big\\040disk xfs noauto 0 2\n";
    const MOUNTED: &str = "27 1 252:0 / / rw,relatime - ext4 /dev/vda rw\n\
                           30 27 252:16 / /data1 rw,noatime - xfs /dev/vdb rw\n";

    #[test]
    fn a_mount_point_that_is_not_mounted_is_found_above_a_directory() {
        let find = |path: &str| find_lacking(FSTAB, MOUNTED, Path::new(path));
        assert_eq!(find("/srv/data"), None);
        assert_eq!(find("/data1"), None);
        assert_eq!(find("/data1/drystone"), None);
        assert_eq!(find("/data2"), Some("/data2".into()));
        assert_eq!(find("/data2/drystone"), Some("/data2".into()));
        assert_eq!(find("/data22"), None);
        assert_eq!(find("/media/big disk/x"), Some("/media/big disk".into()));
        assert_eq!(find_lacking("", MOUNTED, Path::new("/data2")), None);
    }

    #[test]
    fn a_path_is_resolved_as_far_as_it_is_there() {
        let home = tempfile::tempdir().expect("a directory");
        let real = home.path().canonicalize().expect("is there");
        std::os::unix::fs::symlink(&real, real.join("link")).expect("a link");
        assert_eq!(resolve(&real.join("link/new/deep")), real.join("new/deep"));
    }

    #[test]
    fn directories_beside_the_system_are_strays_where_others_are_not() {
        let (root, other) = (Path::new("/"), Path::new("/proc"));
        assert_eq!(strays_on_root(&[root, other]), [root]);
        assert!(strays_on_root(&[root, root]).is_empty());
        assert!(strays_on_root(&[other, other]).is_empty());
    }

    #[test]
    fn directories_of_one_device_are_told() {
        let home = tempfile::tempdir().expect("a directory");
        let paths = [home.path(), Path::new("/proc"), home.path()];
        assert_eq!(sharing(&paths), [[home.path(), home.path()]]);
    }
}
