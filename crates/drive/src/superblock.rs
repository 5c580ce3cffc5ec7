//! The identity of a drive: the file `super`, two slots written in turn.
//!
//! The byte table is in `docs/formats/log.md`.

use crate::error::DriveError;
use drystone_base::{GIB, MIB, Reader, Rng, Writer, crc32c, hex};
use drystone_io::{Disk, DiskFile};
use std::io::{self, IoSlice};

/// Name of the file.
pub const SUPER_FILE: &str = "super";
const SLOT_LEN: usize = 4096;
const MAGIC: &[u8; 8] = b"DRYSUPER";
/// A deployment with one drive, of an earlier version.
const FORMAT_ALONE: u8 = 1;
/// The same, followed by view term and roster.
const FORMAT_SEVERAL: u8 = 2;
/// As that, also with one drive; a start writes on the segments that it finds open. Versions that know
/// only the formats before would take what lies behind their end for records.
const FORMAT: u8 = 3;
/// As that. Rows of the catalog have seals, which binaries that do not know this format would
/// damage.
const FORMAT_SEALED: u8 = 4;
/// Drives of a deployment at most: their ids and those of the view fit into a slot.
pub const DRIVE_COUNT_MAX: usize = 200;

/// What a drive says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Super {
    /// Raised by each write.
    pub sequence: u64,
    /// The deployment that the drive belongs to.
    pub deployment: [u8; 16],
    /// The drive itself.
    pub drive: [u8; 16],
    /// Raised by each open, before anything is served.
    pub term: u32,
    /// Length of a segment, in bytes.
    pub segment_len: u32,
    /// When the drive was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Drives that hold the catalog.
    pub view: Vec<[u8; 16]>,
    /// The ballot of the view and roster: the highest counts.
    pub view_term: u32,
    /// All drives of the deployment; empty where there never was another than this.
    pub roster: Vec<[u8; 16]>,
    /// The highest ballot that was announced here, before any view of it was written anywhere.
    pub promised: u32,
    /// Rows of the catalog have seals, or are about to get them.
    pub seals_rows: bool,
}

impl Super {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        let format = if self.seals_rows { FORMAT_SEALED } else { FORMAT };
        w.raw(MAGIC).u8(format).raw(&[0; 7]).u64(self.sequence);
        w.raw(&self.deployment).raw(&self.drive).u32(self.term).u32(self.segment_len);
        w.u64(self.created_ms).u16(self.view.len() as u16);
        for member in &self.view {
            w.raw(member);
        }
        w.u32(self.view_term).u16(self.roster.len() as u16);
        for drive in &self.roster {
            w.raw(drive);
        }
        w.u32(self.promised);
        let mut slot = w.finish();
        slot.resize(SLOT_LEN - 4, 0);
        let crc = crc32c(&slot);
        slot.extend_from_slice(&crc.to_le_bytes());
        slot
    }

    /// `Ok(None)` if the slot does not verify.
    fn decode(slot: &[u8]) -> Result<Option<Self>, DriveError> {
        let Some((body, crc)) = slot.split_at_checked(SLOT_LEN - 4) else { return Ok(None) };
        if crc != crc32c(body).to_le_bytes() || !body.starts_with(MAGIC) {
            return Ok(None);
        }
        let format = body[8];
        if !(FORMAT_ALONE..=FORMAT_SEALED).contains(&format) {
            return Err(DriveError::Format { format });
        }
        let mut r = Reader::new(&body[16..], "super");
        let mut read = || {
            let sequence = r.u64()?;
            let malformed = r.malformed();
            let id = |bytes: &[u8]| bytes.try_into().map_err(|_| malformed.clone());
            let deployment = id(r.take(16)?)?;
            let drive = id(r.take(16)?)?;
            let (term, segment_len, created_ms) = (r.u32()?, r.u32()?, r.u64()?);
            let mut view = Vec::new();
            for _ in 0..r.u16()? {
                view.push(id(r.take(16)?)?);
            }
            let (mut view_term, mut roster, mut promised) = (0, Vec::new(), 0);
            if format >= FORMAT_SEVERAL {
                view_term = r.u32()?;
                for _ in 0..r.u16()? {
                    roster.push(id(r.take(16)?)?);
                }
                promised = r.u32()?;
            }
            Ok(Self {
                sequence,
                deployment,
                drive,
                term,
                segment_len,
                created_ms,
                view,
                view_term,
                roster,
                promised,
                seals_rows: format == FORMAT_SEALED,
            })
        };
        let result: Result<Self, drystone_base::DecodeError> = read();
        result.map(Some).map_err(|_| DriveError::SuperDamaged)
    }

    /// The drive's identity in hexadecimal.
    #[must_use]
    pub fn drive_text(&self) -> String {
        hex(&self.drive)
    }
}

/// Length of a segment for a filesystem of this size: a 1,024th, from 8 to 256 MiB.
#[must_use]
pub fn segment_len_for(total_bytes: u64) -> u32 {
    let len = (total_bytes / 1024).clamp(8 * MIB, 256 * MIB).next_power_of_two();
    // A small filesystem, as in tests, still has room for some segments.
    let len = if total_bytes < GIB { (total_bytes / 64).clamp(MIB, 8 * MIB) } else { len };
    (len / 4096 * 4096) as u32
}

fn read(file: &dyn DiskFile) -> Result<Option<Super>, DriveError> {
    let mut slots = vec![0; 2 * SLOT_LEN];
    match file.read_at(0, &mut slots) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let (first, second) = slots.split_at(SLOT_LEN);
    let found = [Super::decode(first)?, Super::decode(second)?];
    Ok(found.into_iter().flatten().max_by_key(|slot| slot.sequence))
}

fn write(file: &dyn DiskFile, slot: &Super) -> Result<(), DriveError> {
    let offset = slot.sequence % 2 * SLOT_LEN as u64;
    file.write_at(offset, &mut [IoSlice::new(&slot.encode())])?;
    file.sync_data()?;
    Ok(())
}

/// A drive to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDrive {
    /// The deployment that it belongs to.
    pub deployment: [u8; 16],
    /// The drive itself.
    pub drive: [u8; 16],
    /// When it is made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Length of a segment, in bytes.
    pub segment_len: u32,
    /// Drives that hold the catalog.
    pub view: Vec<[u8; 16]>,
    /// The ballot of the view and roster; 0 for a drive that joins others, who are to be believed.
    pub view_term: u32,
    /// All drives of the deployment; empty if this is the only one.
    pub roster: Vec<[u8; 16]>,
}

impl NewDrive {
    /// The only drive of a new deployment.
    #[must_use]
    pub fn alone(rng: &dyn Rng, now_ms: u64, segment_len: u32) -> Self {
        let mut ids = [[0; 16]; 2];
        ids.iter_mut().for_each(|id| rng.fill(id));
        let [deployment, drive] = ids;
        let (view, roster) = (vec![drive], Vec::new());
        Self { deployment, drive, created_ms: now_ms, segment_len, view, view_term: 0, roster }
    }
}

/// Makes an empty directory a drive. A directory in which making was cut short counts as empty.
///
/// # Errors
///
/// What the operating system reports.
pub fn format_drive(disk: &dyn Disk, new: &NewDrive) -> Result<(), DriveError> {
    if disk.list()?.iter().any(|name| name == SUPER_FILE) {
        disk.remove(SUPER_FILE)?;
    }
    let file = disk.create(SUPER_FILE, 2 * SLOT_LEN as u64)?;
    disk.sync_dir()?;
    let slot = Super {
        sequence: 2,
        deployment: new.deployment,
        drive: new.drive,
        term: 0,
        segment_len: new.segment_len,
        created_ms: new.created_ms,
        view: new.view.clone(),
        view_term: new.view_term,
        roster: new.roster.clone(),
        promised: new.view_term,
        seals_rows: false,
    };
    write(&*file, &slot)
}

/// Reads the identity of a drive. `None` if there is no identity yet: the file is missing, or was
/// never written.
///
/// # Errors
///
/// [`DriveError::SuperDamaged`], [`DriveError::Format`], or what the operating system reports.
pub fn read_super(disk: &dyn Disk) -> Result<Option<Super>, DriveError> {
    let file = match disk.open(SUPER_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let slot = read(&*file)?;
    if slot.is_none() && disk.list()?.iter().any(|name| name.starts_with("seg-")) {
        return Err(DriveError::SuperDamaged);
    }
    Ok(slot)
}

/// Writes the identity of a drive anew, durably; raises its sequence.
///
/// # Errors
///
/// What the operating system reports.
pub fn write_super(disk: &dyn Disk, identity: &mut Super) -> Result<(), DriveError> {
    identity.sequence += 1;
    write(&*disk.open(SUPER_FILE)?, identity)
}

/// Reads the identity of a drive and raises its term, durably. `None` as [`read_super`] gives it.
///
/// # Errors
///
/// As [`read_super`].
pub fn open_super(disk: &dyn Disk) -> Result<Option<Super>, DriveError> {
    let Some(mut slot) = read_super(disk)? else { return Ok(None) };
    slot.term += 1;
    write_super(disk, &mut slot)?;
    Ok(Some(slot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use drystone_base::SeededRng;
    use drystone_io::{CrashKind, SimDisk};

    #[test]
    fn the_term_rises_with_each_open_also_across_torn_writes() {
        for seed in 0..40 {
            let disk = SimDisk::new(1 << 20, seed);
            format_drive(&disk, &NewDrive::alone(&SeededRng::new(1), 5, 1 << 20)).expect("formats");
            let first = open_super(&disk).expect("opens").expect("there");
            assert_eq!((first.term, first.view.len()), (1, 1));
            disk.crash_at(disk.op_count() + 1 + seed % 2);
            open_super(&disk).expect_err("stopped in the middle");
            disk.restart(CrashKind::Power);
            let again = open_super(&disk).expect("opens").expect("there");
            assert!(again.term >= 2 && again.drive == first.drive, "seed {seed}");
        }
    }

    #[test]
    fn a_drive_of_an_earlier_format_opens_and_has_the_present_one_afterwards() {
        let disk = SimDisk::new(1 << 20, 1);
        format_drive(&disk, &NewDrive::alone(&SeededRng::new(1), 5, 1 << 20)).expect("formats");
        let mut slot = disk.contents(SUPER_FILE)[..SLOT_LEN].to_vec();
        // Nothing follows the view in format 1.
        slot[8] = FORMAT_ALONE;
        let crc = crc32c(&slot[..SLOT_LEN - 4]);
        slot[SLOT_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        let file = disk.open(SUPER_FILE).expect("opens");
        file.write_at(0, &mut [IoSlice::new(&slot)]).expect("writes");
        assert_eq!(open_super(&disk).expect("opens").expect("there").term, 1);
        assert_eq!(disk.contents(SUPER_FILE)[SLOT_LEN + 8], FORMAT);
    }

    #[test]
    fn a_drive_whose_rows_have_seals_says_so_in_its_format() {
        let disk = SimDisk::new(1 << 20, 1);
        format_drive(&disk, &NewDrive::alone(&SeededRng::new(1), 5, 1 << 20)).expect("formats");
        let mut slot = open_super(&disk).expect("opens").expect("there");
        assert_eq!((slot.seals_rows, slot.encode()[8]), (false, FORMAT));
        slot.seals_rows = true;
        write_super(&disk, &mut slot).expect("writes");
        let again = open_super(&disk).expect("opens").expect("there");
        assert_eq!((again.seals_rows, again.encode()[8]), (true, FORMAT_SEALED));
        assert_eq!(again.term, slot.term + 1);
    }

    #[test]
    fn a_damaged_slot_leaves_the_other_and_two_are_refused() {
        let disk = SimDisk::new(1 << 20, 1);
        format_drive(&disk, &NewDrive::alone(&SeededRng::new(1), 5, 1 << 20)).expect("formats");
        open_super(&disk).expect("opens");
        disk.flip_bit(SUPER_FILE, 4096 + 30, 1);
        assert_eq!(open_super(&disk).expect("opens").expect("there").term, 1);
        disk.create("seg-00000001.log", 4096).expect("created");
        disk.flip_bit(SUPER_FILE, 30, 1);
        disk.flip_bit(SUPER_FILE, 4096 + 31, 1);
        assert!(matches!(open_super(&disk), Err(DriveError::SuperDamaged)));
    }
}
