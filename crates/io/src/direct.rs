//! Writing and reading around the page cache (`O_DIRECT`).

use crate::small::{Links, open_file};
use rustix::fs::OFlags;
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What offset, length and memory address of a direct write are multiples of. Devices ask for 512 or
/// 4,096 bytes.
const ALIGNMENT: usize = 4096;
/// Bytes of one direct write at most.
const STAGE_LEN: usize = 2 << 20;

thread_local! {
    /// Aligned memory of a thread that writes. Bodies come in pieces of any alignment.
    static STAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A second handle to a file, opened when it is first needed.
#[derive(Debug)]
pub(crate) struct Direct {
    path: PathBuf,
    /// Device and number of the file that is meant: another one may lie at its path by now.
    meant: (u64, u64),
    file: OnceLock<Option<File>>,
    /// The filesystem takes the flag but not the write.
    refused: AtomicBool,
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Direct {
    /// A handle beside one that is open.
    pub(crate) fn new(path: PathBuf, open: &File) -> io::Result<Self> {
        let meant = identity(open)?;
        Ok(Self { path, meant, file: OnceLock::new(), refused: AtomicBool::new(false) })
    }

    fn file(&self) -> Option<&File> {
        if self.file.get().is_none() {
            let mut options = OpenOptions::new();
            options.read(true).write(true);
            let opened = open_file(&self.path, Links::Refused, &mut options, OFlags::DIRECT);
            let opened = match opened {
                Ok(file) if identity(&file).is_ok_and(|found| found == self.meant) => Some(file),
                // Another one was put in its place: the first handle has the one that is meant.
                Ok(_) => None,
                // The filesystem does not know the flag.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => None,
                // Descriptors may be missing now, and be there next time.
                Err(_) => return None,
            };
            let _ = self.file.set(opened);
        }
        let file = self.file.get().and_then(Option::as_ref);
        file.filter(|_| !self.refused.load(Ordering::Relaxed))
    }

    /// Writes all slices from `offset` on. `false`: this filesystem does not do so, nothing is written.
    pub(crate) fn write_at(&self, offset: u64, slices: &[IoSlice<'_>]) -> io::Result<bool> {
        let Some(file) = self.file() else { return Ok(false) };
        STAGE.with_borrow_mut(|stage| {
            stage.resize(STAGE_LEN + ALIGNMENT, 0);
            let start = stage.as_ptr().align_offset(ALIGNMENT);
            let stage = &mut stage[start..start + STAGE_LEN];
            let (mut filled, mut at) = (0, offset);
            for mut rest in slices.iter().map(|slice| &slice[..]) {
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(rest.len().min(STAGE_LEN - filled));
                    stage[filled..filled + now.len()].copy_from_slice(now);
                    (filled, rest) = (filled + now.len(), later);
                    if filled == STAGE_LEN {
                        if !self.write_stage(file, at, stage)? {
                            return Ok(false);
                        }
                        (at, filled) = (at + STAGE_LEN as u64, 0);
                    }
                }
            }
            self.write_stage(file, at, &stage[..filled])
        })
    }

    /// Fills `bytes` from `offset` on. `false`: this filesystem does not do so.
    pub(crate) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<bool> {
        let Some(file) = self.file() else { return Ok(false) };
        STAGE.with_borrow_mut(|stage| {
            stage.resize(STAGE_LEN + ALIGNMENT, 0);
            let start = stage.as_ptr().align_offset(ALIGNMENT);
            let stage = &mut stage[start..start + STAGE_LEN];
            let (mut filled, mut at) = (0, offset);
            while filled < bytes.len() {
                let skipped = (at % ALIGNMENT as u64) as usize;
                let wanted = (skipped + bytes.len() - filled).next_multiple_of(ALIGNMENT);
                let wanted = wanted.min(STAGE_LEN);
                let read = match file.read_at(&mut stage[..wanted], at - skipped as u64) {
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                        self.refused.store(true, Ordering::Relaxed);
                        return Ok(false);
                    }
                    read => read?,
                };
                if read <= skipped {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let now = (read - skipped).min(bytes.len() - filled);
                bytes[filled..filled + now].copy_from_slice(&stage[skipped..skipped + now]);
                (filled, at) = (filled + now, at + now as u64);
            }
            Ok(true)
        })
    }

    fn write_stage(&self, file: &File, at: u64, stage: &[u8]) -> io::Result<bool> {
        match file.write_all_at(stage, at) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.refused.store(true, Ordering::Relaxed);
                Ok(false)
            }
            result => result.map(|()| true),
        }
    }
}
