//! Reads tar archives piece by piece: ustar, GNU long names and PAX headers (POSIX.1-2017, "pax"; GNU tar
//! manual, "Basic Tar Format"). Nothing is held but what was fed last and the headers of one entry, which
//! are bounded together.

use std::collections::VecDeque;

const BLOCK_LEN: usize = 512;
/// Bytes of the PAX headers and long names of one entry at most, in all.
const META_LEN_MAX: u64 = 64 << 10;
/// What a record costs beyond its bytes: records are counted, too.
const RECORD_COST: u64 = 96;
/// What records that matter to the caller begin with; others are not kept.
pub(crate) const RECORD_PREFIX: &str = "minio.metadata.";
/// Bytes of data in one event at most: no more is fed at once.
const DATA_LEN_MAX: usize = 64 << 10;

/// Why an archive cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TarError {
    /// A header is not one.
    #[error("The archive is not a well-formed tar archive.")]
    Malformed,
    /// An entry has more headers than are kept.
    #[error("An entry of the archive has too many or too long headers.")]
    HeadersTooLong,
    /// It ended before its end.
    #[error("The archive ended early.")]
    Truncated,
    /// An entry is stored in a way that is not read.
    #[error(
        "The archive has an entry of a kind that is not supported (a sparse or multi-volume file)."
    )]
    Unsupported,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link or a device.
    Other,
}

/// What is known of an entry before its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name as it is stored.
    pub(crate) path: Vec<u8>,
    /// What it is.
    pub(crate) kind: EntryKind,
    /// Bytes of its data.
    pub(crate) size: u64,
    /// Its PAX records that begin with [`RECORD_PREFIX`].
    pub(crate) records: Vec<(String, String)>,
}

/// What is read next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An entry begins.
    Entry(Entry),
    /// Some of its data.
    Data(Vec<u8>),
    /// It ends.
    EntryEnd,
    /// The archive ends; what follows does not belong to it.
    End,
}

/// What a header of its own says about the next entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meta {
    LongName,
    Pax,
}

enum State {
    Header,
    Meta { kind: Meta, left: u64, padding: u64, bytes: Vec<u8> },
    Data { left: u64, padding: u64 },
    Padding(u64),
    End,
}

/// Reads an archive that is fed to it.
pub(crate) struct TarReader {
    buffer: VecDeque<u8>,
    state: State,
    long_name: Option<Vec<u8>>,
    records: Vec<(String, String)>,
    /// What the headers of the next entry cost so far.
    meta_len: u64,
}

impl Default for TarReader {
    fn default() -> Self {
        let (buffer, records) = (VecDeque::new(), Vec::new());
        Self { buffer, state: State::Header, long_name: None, records, meta_len: 0 }
    }
}

/// A number of a header: octal digits, or big-endian behind a set bit.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let mut bytes = field.to_vec();
        bytes[0] &= 0x7F;
        let (high, low) = bytes.split_at(bytes.len().saturating_sub(8));
        let is_small = high.iter().all(|byte| *byte == 0);
        return is_small.then(|| low.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn padding_of(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK_LEN as u64
}

/// The records of a PAX header that matter: `LENGTH KEY=VALUE` and a line feed.
fn read_records(mut bytes: &[u8]) -> Result<Vec<(String, String)>, TarError> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|byte| *byte == b' ').ok_or(TarError::Malformed)?;
        let len = std::str::from_utf8(&bytes[..blank]).ok().and_then(|text| text.parse().ok());
        let len: usize = len.ok_or(TarError::Malformed)?;
        let record = bytes.get(blank + 1..len).and_then(|record| record.strip_suffix(b"\n"));
        let record = record.ok_or(TarError::Malformed)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(TarError::Malformed)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| TarError::Malformed);
        let key = text(key)?;
        if key.starts_with("GNU.sparse.") {
            return Err(TarError::Unsupported);
        }
        if matches!(key, "path" | "size") || key.starts_with(RECORD_PREFIX) {
            records.push((key.to_owned(), text(value)?.to_owned()));
        }
        bytes = &bytes[len..];
    }
    Ok(records)
}

impl TarReader {
    /// Bytes that reading holds: the headers of an entry, as they came and as they are kept, and what was
    /// fed.
    pub(crate) const MEMORY_LEN: u64 = 2 * META_LEN_MAX + DATA_LEN_MAX as u64;

    /// Takes more of the archive.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::End) {
            self.buffer.extend(bytes);
        }
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        self.buffer.drain(..len).collect()
    }

    /// The next event, as far as the archive was fed.
    ///
    /// # Errors
    ///
    /// [`TarError::Malformed`], [`TarError::Unsupported`].
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, TarError> {
        loop {
            let there = self.buffer.len();
            match &mut self.state {
                State::End => return Ok(None),
                State::Header => {
                    if there < BLOCK_LEN {
                        return Ok(None);
                    }
                    let block = self.take(BLOCK_LEN);
                    if let Some(event) = self.header(&block)? {
                        return Ok(Some(event));
                    }
                }
                State::Meta { left, bytes, .. } if *left > 0 => {
                    if there == 0 {
                        return Ok(None);
                    }
                    let len = there.min(usize::try_from(*left).unwrap_or(usize::MAX));
                    bytes.extend(self.buffer.drain(..len));
                    *left -= len as u64;
                }
                State::Meta { kind, padding, bytes, .. } => {
                    let (kind, padding, bytes) = (*kind, *padding, std::mem::take(bytes));
                    self.state = State::Padding(padding);
                    self.note(kind, &bytes)?;
                }
                State::Data { left: 0, padding } => {
                    self.state = State::Padding(*padding);
                    return Ok(Some(Event::EntryEnd));
                }
                State::Data { left, .. } => {
                    let len = there.min(DATA_LEN_MAX);
                    let len = len.min(usize::try_from(*left).unwrap_or(usize::MAX));
                    if len == 0 {
                        return Ok(None);
                    }
                    *left -= len as u64;
                    return Ok(Some(Event::Data(self.take(len))));
                }
                State::Padding(0) => self.state = State::Header,
                State::Padding(left) => {
                    let len = there.min(usize::try_from(*left).unwrap_or(usize::MAX));
                    if len == 0 {
                        return Ok(None);
                    }
                    *left -= len as u64;
                    self.take(len);
                }
            }
        }
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    ///
    /// [`TarError::Truncated`] before the end of the archive.
    pub(crate) fn finish(&self) -> Result<(), TarError> {
        if matches!(self.state, State::End) { Ok(()) } else { Err(TarError::Truncated) }
    }

    fn note(&mut self, kind: Meta, bytes: &[u8]) -> Result<(), TarError> {
        match kind {
            Meta::LongName => self.long_name = Some(text(bytes).to_vec()),
            Meta::Pax => {
                let records = read_records(bytes)?;
                self.count(records.len() as u64 * RECORD_COST)?;
                self.records.extend(records);
            }
        }
        Ok(())
    }

    /// Counts what the headers of the next entry cost.
    fn count(&mut self, len: u64) -> Result<(), TarError> {
        self.meta_len = self.meta_len.saturating_add(len);
        if self.meta_len > META_LEN_MAX { Err(TarError::HeadersTooLong) } else { Ok(()) }
    }

    fn header(&mut self, block: &[u8]) -> Result<Option<Event>, TarError> {
        if block.iter().all(|byte| *byte == 0) {
            self.state = State::End;
            self.buffer.clear();
            return Ok(Some(Event::End));
        }
        let sum: u64 = block[..148].iter().chain(&block[156..]).map(|byte| u64::from(*byte)).sum();
        if number(&block[148..156]) != Some(sum + 8 * u64::from(b' ')) {
            return Err(TarError::Malformed);
        }
        let size = number(&block[124..136]).ok_or(TarError::Malformed)?;
        let meta = match block[156] {
            b'L' => Some(Meta::LongName),
            b'x' => Some(Meta::Pax),
            // Long names of links, and what holds for all entries: neither changes names or bytes of files.
            b'K' | b'g' => None,
            b'S' | b'M' | b'V' => return Err(TarError::Unsupported),
            _ => None,
        };
        let padding = padding_of(size);
        if matches!(block[156], b'K' | b'g') {
            self.state = State::Padding(size.saturating_add(padding));
            return Ok(None);
        }
        if let Some(kind) = meta {
            self.count(size)?;
            self.state = State::Meta { kind, left: size, padding, bytes: Vec::new() };
            return Ok(None);
        }
        let entry = self.entry(block, size)?;
        // Links have no data, whatever their headers say of the size of what they point at.
        let size = if entry.kind == EntryKind::File { entry.size } else { 0 };
        self.state = State::Data { left: size, padding: padding_of(size) };
        Ok(Some(Event::Entry(Entry { size, ..entry })))
    }

    fn entry(&mut self, block: &[u8], mut size: u64) -> Result<Entry, TarError> {
        let mut path = text(&block[..100]).to_vec();
        let prefix = text(&block[345..500]);
        if block[257..].starts_with(b"ustar\0") && !prefix.is_empty() {
            path = [prefix, b"/", &path].concat();
        }
        path = self.long_name.take().unwrap_or(path);
        let mut records = std::mem::take(&mut self.records);
        self.meta_len = 0;
        for (key, value) in &records {
            match key.as_str() {
                "path" => path = value.clone().into_bytes(),
                "size" => size = value.parse().map_err(|_| TarError::Malformed)?,
                _ => {}
            }
        }
        records.retain(|(key, _)| key != "path" && key != "size");
        let kind = match block[156] {
            0 | b'0' | b'7' if path.ends_with(b"/") => EntryKind::Directory,
            0 | b'0' | b'7' => EntryKind::File,
            b'5' => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        Ok(Entry { path, kind, size, records })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(path: &[u8], kind: u8, size: u64) -> Vec<u8> {
        let mut block = vec![0; BLOCK_LEN];
        block[..path.len()].copy_from_slice(path);
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[156] = kind;
        block[257..263].copy_from_slice(b"ustar\0");
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }

    fn member(path: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
        let padding = vec![0; padding_of(data.len() as u64) as usize];
        [&block(path, kind, data.len() as u64)[..], data, &padding].concat()
    }

    /// Name and bytes.
    type Member = (Vec<u8>, Vec<u8>);

    fn read(archive: &[u8], step: usize) -> Result<Vec<Member>, TarError> {
        let (mut reader, mut found) = (TarReader::default(), Vec::<Member>::new());
        for piece in archive.chunks(step.max(1)) {
            reader.feed(piece);
            while let Some(event) = reader.next_event()? {
                match event {
                    Event::Entry(entry) => found.push((entry.path, Vec::new())),
                    Event::Data(data) => found.last_mut().expect("an entry").1.extend(data),
                    Event::EntryEnd | Event::End => {}
                }
            }
        }
        reader.finish().map(|()| found)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Goal: what went in comes out, however it is cut. Method: random members, fed in random steps.
        #[test]
        fn members_are_read_back(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..6),
            step in 1_usize..2000,
        ) {
            let named: Vec<_> =
                bodies.into_iter().enumerate().map(|(n, b)| (format!("d/f{n}").into_bytes(), b)).collect();
            let mut archive: Vec<u8> = named.iter().flat_map(|(p, b)| member(p, b'0', b)).collect();
            archive.extend([0; 2 * BLOCK_LEN]);
            prop_assert_eq!(read(&archive, step), Ok(named));
            if archive.len() > 3 * BLOCK_LEN {
                let cut = archive.len() - 3 * BLOCK_LEN;
                prop_assert_eq!(read(&archive[..cut], step), Err(TarError::Truncated));
            }
        }

        /// Goal: no bytes make the reader panic.
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let _ = read(&bytes, 100);
        }
    }

    fn record(key: &str, value: &str) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let len = (rest + 1..).find(|len| rest + len.to_string().len() == *len).expect("a length");
        format!("{len} {key}={value}\n").into_bytes()
    }

    #[test]
    fn names_come_from_where_they_are() {
        let long = [b"x".repeat(150), b"/y".to_vec()].concat();
        let pax = [record("path", "from/pax"), record("minio.metadata.A", "b=c")].concat();
        let mut prefixed = block(b"name", b'0', 0);
        prefixed[345..348].copy_from_slice(b"dir");
        let sum: u32 = prefixed[..148].iter().chain(&prefixed[156..]).map(|b| u32::from(*b)).sum();
        prefixed[148..155].copy_from_slice(format!("{:06o}\0", sum + 256).as_bytes());
        let archive = [
            member(b"././@LongLink", b'L', &[&long[..], b"\0"].concat()),
            member(b"short", b'0', b"1"),
            member(b"pax", b'x', &pax),
            member(b"short", b'0', b"2"),
            member(b"plain", b'0', b"3"),
            prefixed,
            vec![0; 1024],
        ]
        .concat();
        let pair = |path: &[u8], data: &[u8]| (path.to_vec(), data.to_vec());
        let wanted = vec![
            pair(&long, b"1"),
            pair(b"from/pax", b"2"),
            pair(b"plain", b"3"),
            pair(b"dir/name", b""),
        ];
        assert_eq!(read(&archive, 7), Ok(wanted));
        assert_eq!(read_records(&pax).map(|records| records[1].1.clone()), Ok("b=c".to_owned()));
        let other = record("SCHILY.xattr.user.a", "b");
        assert_eq!(read_records(&other).map(|records| records.len()), Ok(0));
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        assert_eq!(read(&[7; 600], 600), Err(TarError::Malformed));
        let huge = [block(b"x", b'x', 1 << 32), vec![0; 512]].concat();
        assert_eq!(read(&huge, 600), Err(TarError::HeadersTooLong));
        assert_eq!(
            read(&[block(b"s", b'S', 0), vec![0; 1024]].concat(), 99),
            Err(TarError::Unsupported)
        );
        let broken = member(b"p", b'x', b"99 a=b\n");
        assert_eq!(read(&broken, 512), Err(TarError::Malformed));
        let link = [block(b"l", b'2', 5), vec![0; 1024]].concat();
        assert_eq!(read(&link, 512), Ok(vec![(b"l".to_vec(), Vec::new())]), "links have no data");
    }
    /// Goal: the headers of one entry are bounded in sum, and counted. Method: many that are small, of each
    /// kind that is kept; the same ones before many entries are fine.
    #[test]
    fn headers_of_one_entry_are_bounded_in_sum() {
        let small = record("minio.metadata.a", "b");
        let pax = |count: usize| member(b"p", b'x', &small.repeat(count));
        let end = || vec![0; 1024];
        let piled = [pax(100).repeat(100), end()].concat();
        assert_eq!(read(&piled, 512), Err(TarError::HeadersTooLong));
        let one = [pax(1000), end()].concat();
        assert_eq!(read(&one, 512), Err(TarError::HeadersTooLong));
        let names = [member(b"n", b'L', &[b'x'; 1000]).repeat(100), end()].concat();
        assert_eq!(read(&names, 512), Err(TarError::HeadersTooLong));
        let spread = [[pax(100), member(b"f", b'0', b"1")].concat().repeat(100), end()].concat();
        assert_eq!(read(&spread, 512).map(|found| found.len()), Ok(100));
        // What is ignored is not held, however long it is.
        let ignored = [member(b"g", b'g', &[b'x'; 200_000]), member(b"f", b'0', b""), end()];
        assert_eq!(read(&ignored.concat(), 512).map(|found| found.len()), Ok(1));
    }
}
