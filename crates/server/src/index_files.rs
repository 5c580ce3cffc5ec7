//! Files of an index, looked at before the index engine opens them.
//!
//! The engine makes room for as many entries as a file says it has, before it reads the first of them. A byte
//! that is damaged, or was changed, would end the process for want of memory, with all other drives in it.
//! The layout here is that of the sections of `lsm-tree`: a table of sections, then a trailer that says where
//! it is. What is checked is only what memory is asked for.

use drystone_io::{check_tree, open_for_reading};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Folders of files that hold rows.
const TABLE_FOLDERS: &[&str] = &["tables", "blobs"];
/// Bytes of the other files at most, which are read whole: they name a table in some hundred bytes.
const VERSION_LEN_MAX: u64 = 64 << 20;
/// The file that names the version that counts; it has no sections.
const CURRENT: &str = "current";
/// Bytes of the trailer, and what it begins with.
const TRAILER_LEN: usize = 38;
const TRAILER_MAGIC: &[u8] = b"SFA!\x01\x00";
/// Sections at most; the engine has ten, with short names.
const SECTIONS_MAX: u64 = 64;
/// Bytes of a table of sections at most: names have up to 64 KiB.
const TOC_LEN_MAX: u64 = (SECTIONS_MAX + 1) << 16;
const TOC_MAGIC: &[u8] = b"TOC!";
/// Bytes of an entry of the table at least.
const ENTRY_LEN_MIN: usize = 18;
/// Sections that begin with the number of their entries, of which our indexes have none: values are not kept
/// apart from keys.
const EMPTY_SECTIONS: &[&[u8]] = &[b"blob_files", b"blob_gc_stats", b"linked_blob_files"];

/// Refuses an index with anything in it that is no directory or regular file, or that asks for more memory
/// than it can fill.
pub(crate) fn check(folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    check_tree(folder, &mut |path| {
        let parent = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let has_rows = parent.is_some_and(|name| TABLE_FOLDERS.contains(&name));
        files.push(path.to_owned());
        if has_rows { u64::MAX } else { VERSION_LEN_MAX }
    })?;
    for path in files.iter().filter(|path| !path.ends_with(CURRENT)) {
        let file = open_for_reading(path)?;
        if !is_bounded(&file)? {
            let message = format!("{} is damaged", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    Ok(())
}

/// Whether a file asks for no more memory than it can fill. One that the engine does not take, as a crash
/// leaves it, asks for none: the engine removes it, or says that the index is damaged.
fn is_bounded(file: &File) -> io::Result<bool> {
    let len = file.metadata()?.len();
    let Some(trailer_at) = len.checked_sub(TRAILER_LEN as u64) else { return Ok(true) };
    let mut trailer = [0; TRAILER_LEN];
    file.read_exact_at(&mut trailer, trailer_at)?;
    let toc_at = number(&trailer[22..30]);
    if !trailer.starts_with(TRAILER_MAGIC) || toc_at >= len {
        return Ok(true);
    }
    let mut toc = vec![0; (len - toc_at).min(TOC_LEN_MAX) as usize];
    file.read_exact_at(&mut toc, toc_at)?;
    let Some(rest) = toc.strip_prefix(TOC_MAGIC).filter(|rest| rest.len() >= 4) else {
        return Ok(true);
    };
    let (count, mut rest) = (number(&rest[..4]), &rest[4..]);
    if count > SECTIONS_MAX {
        return Ok(false);
    }
    for _ in 0..count {
        if rest.len() < ENTRY_LEN_MIN {
            return Ok(true);
        }
        let (at, name_len) = (number(&rest[..8]), number(&rest[16..18]) as usize);
        let Some((name, next)) = rest[ENTRY_LEN_MIN..].split_at_checked(name_len) else {
            // It goes on behind the end of the file.
            return Ok(true);
        };
        let is_inside = at.checked_add(4).is_some_and(|end| end <= len);
        if EMPTY_SECTIONS.contains(&name) && is_inside {
            let mut entries = [0; 4];
            file.read_exact_at(&mut entries, at)?;
            if entries != [0; 4] {
                return Ok(false);
            }
        }
        rest = next;
    }
    Ok(true)
}

/// A number of up to eight bytes, the least one first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_index::{Change, Index, LsmConfig, LsmIndex};

    fn filled(folder: &Path) {
        let config = LsmConfig { cache_bytes: 1 << 20, memtable_bytes: 1 << 12 };
        std::fs::create_dir_all(folder).expect("a folder");
        let index = LsmIndex::open(folder, config).expect("is new");
        for number in 0..1000_u64 {
            let key = number.to_be_bytes().to_vec().into();
            let value = Some(vec![7; 100].into());
            index.apply(0, number + 1, vec![Change { key, value }]);
        }
        index.maintain().expect("written");
    }

    /// Goal: an index that was written is taken. Method: one with tables.
    #[test]
    fn an_index_with_tables_is_taken() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        filled(dir.path());
        let tables = std::fs::read_dir(dir.path().join("tables")).expect("a folder").count();
        assert!(tables > 0);
        check(dir.path()).expect("is as it was written");
    }

    /// Goal: no change of a file makes it ask for memory. Method: four high bytes at every place of the
    /// version; those of its three lists are refused.
    #[test]
    fn no_change_of_a_file_asks_for_memory() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        filled(dir.path());
        let version = std::fs::read_dir(dir.path()).expect("a folder").filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.to_owned();
            name.strip_prefix('v')?.parse::<u64>().ok().map(|number| (number, path))
        });
        let (_, path) = version.max().expect("a version");
        let file = File::options().read(true).write(true).open(&path).expect("opens");
        let len = file.metadata().expect("is there").len();
        let mut refused = 0;
        for at in 0..len - 4 {
            let mut before = [0; 4];
            file.read_exact_at(&mut before, at).expect("read");
            file.write_all_at(&[255; 4], at).expect("written");
            refused += usize::from(check(dir.path()).is_err());
            file.write_all_at(&before, at).expect("written");
        }
        check(dir.path()).expect("is as it was");
        // The numbers of three lists, of which the highest byte alone is enough.
        assert!((9..40).contains(&refused), "{refused}");
    }
}
