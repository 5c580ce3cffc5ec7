//! The identity of a drive: the file `super`, two slots written in turn.
//!
//! The byte table is in `docs/formats/log.md`. A seal under the keyring tells whether the server wrote what a
//! drive says of itself; which drives are believed is decided where they are opened together.

use crate::error::DriveError;
use drystone_base::{GIB, MIB, Reader, Rng, Writer, crc32c, hex};
use drystone_io::{Disk, DiskFile};
use drystone_keyring::{DRIVE_SEAL_LEN_BYTES, DriveKeys, Keyring, SealVerdict};
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
/// As that, with a seal before the checksum.
const FORMAT_SEALED_SUPER: u8 = 5;
/// Offset of the seal, behind what it covers.
const SEAL_AT: usize = SLOT_LEN - 4 - DRIVE_SEAL_LEN_BYTES;
/// Stands for the seal where the term was raised by a tool that had no keyring. The other slot has the seal.
const NO_SEAL: [u8; DRIVE_SEAL_LEN_BYTES] = [0; DRIVE_SEAL_LEN_BYTES];
/// Terms that tools without a keyring can have raised between two starts of a server.
const UNSEALED_TERMS_MAX: u32 = 10_000;
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
    /// The code under the keyring that this was written with, unchecked: see [`read_sealed`].
    pub seal: Option<[u8; DRIVE_SEAL_LEN_BYTES]>,
}

impl Super {
    /// What a seal covers.
    fn body(&self) -> Vec<u8> {
        let mut w = Writer::new();
        let format = match (self.seal, self.seals_rows) {
            (Some(_), _) => FORMAT_SEALED_SUPER,
            (None, true) => FORMAT_SEALED,
            (None, false) => FORMAT,
        };
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
        let mut body = w.finish();
        body.resize(SEAL_AT, 0);
        body
    }

    fn encode(&self) -> Vec<u8> {
        let mut slot = self.body();
        slot.extend_from_slice(&self.seal.unwrap_or(NO_SEAL));
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
        if !(FORMAT_ALONE..=FORMAT_SEALED_SUPER).contains(&format) {
            return Err(DriveError::Format { format });
        }
        let (body, seal) = body.split_at(SEAL_AT);
        let seal = (format == FORMAT_SEALED_SUPER).then(|| seal.try_into().unwrap_or(NO_SEAL));
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
                seals_rows: format >= FORMAT_SEALED,
                seal,
            })
        };
        let result: Result<Self, drystone_base::DecodeError> = read();
        result.map(Some).map_err(|_| DriveError::SuperDamaged)
    }

    /// Gives it the seal of what it says now.
    fn seal_with(&mut self, keys: &DriveKeys) {
        (self.seals_rows, self.seal) = (true, Some(NO_SEAL));
        self.seal = Some(keys.seal(&self.body()));
    }

    /// What its seal says; `None` if it has none.
    fn verdict(&self, keyring: &Keyring) -> Option<SealVerdict> {
        let seal = self.seal.filter(|seal| *seal != NO_SEAL)?;
        Some(keyring.drive_keys(&self.deployment).check(&self.body(), &seal))
    }

    /// Whether this is `sealed` with a higher term, as a tool leaves it that has no keyring.
    fn only_raises_term_of(&self, sealed: &Self) -> bool {
        let Self { sequence, term, seal, .. } = *self;
        let raised = term.checked_sub(sealed.term);
        seal == Some(NO_SEAL)
            && raised.is_some_and(|raised| raised <= UNSEALED_TERMS_MAX)
            && *self == Self { sequence, term, seal, ..sealed.clone() }
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

/// Slots that verify, the newest one first.
fn read(file: &dyn DiskFile) -> Result<Vec<Super>, DriveError> {
    let mut slots = vec![0; 2 * SLOT_LEN];
    match file.read_at(0, &mut slots) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Vec::new()),
        result => result?,
    }
    let (first, second) = slots.split_at(SLOT_LEN);
    let found = [Super::decode(first)?, Super::decode(second)?];
    let mut found: Vec<Super> = found.into_iter().flatten().collect();
    found.sort_by_key(|slot| std::cmp::Reverse(slot.sequence));
    Ok(found)
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

/// Makes an empty directory a drive, with a seal if there are keys. A directory in which making was cut short
/// counts as empty.
///
/// # Errors
///
/// What the operating system reports.
pub fn format_drive(
    disk: &dyn Disk,
    new: &NewDrive,
    keys: Option<&DriveKeys>,
) -> Result<(), DriveError> {
    if disk.list()?.iter().any(|name| name == SUPER_FILE) {
        disk.remove(SUPER_FILE)?;
    }
    let file = disk.create(SUPER_FILE, 2 * SLOT_LEN as u64)?;
    disk.sync_dir()?;
    let mut slot = Super {
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
        seal: None,
    };
    keys.into_iter().for_each(|keys| slot.seal_with(keys));
    write(&*file, &slot)
}

fn read_slots(disk: &dyn Disk) -> Result<Vec<Super>, DriveError> {
    let file = match disk.open(SUPER_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result?,
    };
    let slots = read(&*file)?;
    if slots.is_empty() && disk.list()?.iter().any(|name| name.starts_with("seg-")) {
        return Err(DriveError::SuperDamaged);
    }
    Ok(slots)
}

/// Reads the identity of a drive, without looking at its seal. `None` if there is no identity yet: the file
/// is missing, or was never written.
///
/// # Errors
///
/// [`DriveError::SuperDamaged`], [`DriveError::Format`], or what the operating system reports.
pub fn read_super(disk: &dyn Disk) -> Result<Option<Super>, DriveError> {
    Ok(read_slots(disk)?.into_iter().next())
}

/// As [`read_super`], with what the seal says; `None` for an identity without a seal.
///
/// # Errors
///
/// As [`read_super`].
pub fn read_sealed(
    disk: &dyn Disk,
    keyring: &Keyring,
) -> Result<Option<(Super, Option<SealVerdict>)>, DriveError> {
    let mut slots = read_slots(disk)?.into_iter();
    let Some(newest) = slots.next() else { return Ok(None) };
    if let Some(sealed) = slots.next()
        && newest.only_raises_term_of(&sealed)
        && sealed.verdict(keyring) == Some(SealVerdict::Holds)
    {
        // The next write goes where the one without a seal lies: one with a seal is always there.
        let (sequence, term) = (newest.sequence + 1, newest.term);
        return Ok(Some((Super { sequence, term, ..sealed }, Some(SealVerdict::Holds))));
    }
    let verdict = newest.verdict(keyring);
    Ok(Some((newest, verdict)))
}

/// Writes the identity of a drive again, durably, with a seal if there are keys; raises its sequence.
///
/// # Errors
///
/// What the operating system reports.
pub fn write_super(
    disk: &dyn Disk,
    identity: &mut Super,
    keys: Option<&DriveKeys>,
) -> Result<(), DriveError> {
    identity.sequence += 1;
    match keys {
        Some(keys) => identity.seal_with(keys),
        None => identity.seal = None,
    }
    write(&*disk.open(SUPER_FILE)?, identity)
}

/// Writes a higher term, durably, where there is no keyring to seal it with: the slot with the seal stays.
///
/// # Errors
///
/// What the operating system reports.
pub fn raise_term(disk: &dyn Disk, identity: &mut Super, term: u32) -> Result<(), DriveError> {
    identity.term = term;
    if identity.seal.is_none() {
        return write_super(disk, identity, None);
    }
    identity.sequence += if identity.seal == Some(NO_SEAL) { 2 } else { 1 };
    identity.seal = Some(NO_SEAL);
    write(&*disk.open(SUPER_FILE)?, identity)
}

/// Reads the identity of a drive and raises its term, durably, without a keyring. `None` as [`read_super`]
/// gives it. For tools and tests.
///
/// # Errors
///
/// As [`read_super`].
pub fn open_super(disk: &dyn Disk) -> Result<Option<Super>, DriveError> {
    let Some(mut slot) = read_super(disk)? else { return Ok(None) };
    let term = slot.term + 1;
    raise_term(disk, &mut slot, term)?;
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
            format_drive(&disk, &NewDrive::alone(&SeededRng::new(1), 5, 1 << 20), None)
                .expect("formats");
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
        format_drive(&disk, &NewDrive::alone(&SeededRng::new(1), 5, 1 << 20), None)
            .expect("formats");
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
        format_drive(&disk, &NewDrive::alone(&SeededRng::new(1), 5, 1 << 20), None)
            .expect("formats");
        let mut slot = open_super(&disk).expect("opens").expect("there");
        assert_eq!((slot.seals_rows, slot.encode()[8]), (false, FORMAT));
        slot.seals_rows = true;
        write_super(&disk, &mut slot, None).expect("writes");
        let again = open_super(&disk).expect("opens").expect("there");
        assert_eq!((again.seals_rows, again.encode()[8]), (true, FORMAT_SEALED));
        assert_eq!(again.term, slot.term + 1);
    }

    #[test]
    fn a_damaged_slot_leaves_the_other_and_two_are_refused() {
        let disk = SimDisk::new(1 << 20, 1);
        format_drive(&disk, &NewDrive::alone(&SeededRng::new(1), 5, 1 << 20), None)
            .expect("formats");
        open_super(&disk).expect("opens");
        disk.flip_bit(SUPER_FILE, 4096 + 30, 1);
        assert_eq!(open_super(&disk).expect("opens").expect("there").term, 1);
        disk.create("seg-00000001.log", 4096).expect("created");
        disk.flip_bit(SUPER_FILE, 30, 1);
        disk.flip_bit(SUPER_FILE, 4096 + 31, 1);
        assert!(matches!(open_super(&disk), Err(DriveError::SuperDamaged)));
    }

    fn sealed_disk(keys: &DriveKeys) -> (SimDisk, Super) {
        let disk = SimDisk::new(1 << 20, 1);
        format_drive(&disk, &NewDrive::alone(&SeededRng::new(1), 5, 1 << 20), Some(keys))
            .expect("formats");
        let mut slot = read_super(&disk).expect("read").expect("there");
        slot.term = 1;
        write_super(&disk, &mut slot, Some(keys)).expect("writes");
        (disk, slot)
    }

    /// Goal: each field of a sealed identity counts. Method: each changed alone, with the checksum right.
    #[test]
    fn a_seal_covers_every_field() {
        let rng = SeededRng::new(9);
        let ring = Keyring::generate(&rng, "");
        let deployment = NewDrive::alone(&SeededRng::new(1), 5, 1 << 20).deployment;
        let keys = ring.drive_keys(&deployment);
        let (disk, slot) = sealed_disk(&keys);
        let read = || read_sealed(&disk, &ring).expect("read").expect("there").1;
        assert_eq!(read(), Some(SealVerdict::Holds));
        let file = disk.open(SUPER_FILE).expect("opens");
        let changes: [fn(&mut Super); 10] = [
            |s| s.sequence += 2,
            |s| s.deployment[0] ^= 1,
            |s| s.drive[0] ^= 1,
            |s| s.term += 1,
            |s| s.segment_len += 4096,
            |s| s.created_ms += 1,
            |s| s.view.clear(),
            |s| s.view_term += 1,
            |s| s.roster.push([1; 16]),
            |s| s.promised += 1,
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut forged = slot.clone();
            change(&mut forged);
            write(&*file, &forged).expect("writes");
            assert_eq!(read(), Some(SealVerdict::Broken), "change {at}");
            write(&*file, &Super { seal: None, ..forged }).expect("writes");
            assert_eq!(read(), None, "change {at} without a seal");
            write(&*file, &slot).expect("writes");
        }
        assert_eq!(read(), Some(SealVerdict::Holds));
        let other = Keyring::generate(&rng, "");
        let verdict = read_sealed(&disk, &other).expect("read").expect("there").1;
        assert_eq!(verdict, Some(SealVerdict::UnknownKey));
    }

    /// Goal: tools without a keyring raise the term and take no seal away, also if they, or the server after
    /// them, are stopped at a write. Method: any number of them, then a crash in the next write.
    #[test]
    fn a_term_that_was_raised_without_a_keyring_leaves_the_seal() {
        let ring = Keyring::generate(&SeededRng::new(9), "");
        let deployment = NewDrive::alone(&SeededRng::new(1), 5, 1 << 20).deployment;
        let keys = ring.drive_keys(&deployment);
        for (tools, is_server) in [(1, true), (2, true), (3, true), (1, false), (2, false)] {
            for crash in 1..=2 {
                let (disk, _) = sealed_disk(&keys);
                let read = || read_sealed(&disk, &ring).expect("read").expect("there");
                for _ in 0..tools {
                    open_super(&disk).expect("opens");
                }
                let (mut slot, verdict) = read();
                assert_eq!((slot.term, verdict), (1 + tools, Some(SealVerdict::Holds)));
                disk.crash_at(disk.op_count() + crash);
                let written = match is_server {
                    true => write_super(&disk, &mut slot, Some(&keys)),
                    false => open_super(&disk).map(drop),
                };
                written.expect_err("stopped");
                disk.restart(CrashKind::Power);
                let (again, verdict) = read();
                assert_eq!(verdict, Some(SealVerdict::Holds), "{tools} {is_server} {crash}");
                assert!((1..=2 + tools).contains(&again.term));
            }
        }
        // What else is changed that way is not believed.
        let (disk, slot) = sealed_disk(&keys);
        let file = disk.open(SUPER_FILE).expect("opens");
        for forged in [
            Super { view_term: 9, ..slot.clone() },
            Super { term: slot.term + UNSEALED_TERMS_MAX + 1, ..slot.clone() },
            Super { term: 0, ..slot.clone() },
        ] {
            let sequence = slot.sequence + 1;
            write(&*file, &Super { sequence, seal: Some(NO_SEAL), ..forged }).expect("writes");
            assert_eq!(read_sealed(&disk, &ring).expect("read").expect("there").1, None);
        }
    }
}
