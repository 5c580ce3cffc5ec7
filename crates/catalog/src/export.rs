//! Exports: all rows in sorted, checksummed runs, read back before they count.
//!
//! Runs are records of the bulk class (meta: export id u64, run index u32, row count u32; payload:
//! length-prefixed keys and values). The root, a record of the small class, names the lsn of the
//! snapshot and every run; the export counts from the moment the root is durable.

use crate::committer::SOURCE;
use crate::error::CatalogError;
use bytes::Bytes;
use drystone_base::{DecodeError, Reader, Writer};
use drystone_index::{Change, Index};
use drystone_log::{Class, Durability, Location, Log, RecordInput, RecordKind};
use std::ops::Bound;

const RUN_LEN: usize = 128 << 10;
const RUN_META_LEN: usize = 16;
const FORMAT: u8 = 1;

/// The end of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) id: u64,
    /// The export holds all frames up to this lsn.
    pub(crate) lsn: u64,
    pub(crate) runs: Vec<(Location, u32)>,
}

/// What an export wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportReport {
    /// The export holds all changes up to this lsn.
    pub lsn: u64,
    /// Rows written and read back.
    pub rows: u64,
    /// Bytes written.
    pub len_bytes: u64,
}

impl Root {
    pub(crate) fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.u8(FORMAT).u64(self.id).u64(self.lsn).u32(self.runs.len() as u32);
        for (location, rows) in &self.runs {
            w.raw(&location.to_bytes()).u32(*rows);
        }
        w.finish().into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, "export root");
        if r.u8()? != FORMAT {
            return Err(r.malformed());
        }
        let (id, lsn, count) = (r.u64()?, r.u64()?, r.u32()?);
        let mut runs = Vec::new();
        for _ in 0..count {
            let location = Location::from_bytes(r.take(Location::LEN_BYTES)?);
            runs.push((location.ok_or(r.malformed())?, r.u32()?));
        }
        if r.is_empty() { Ok(Self { id, lsn, runs }) } else { Err(r.malformed()) }
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.runs.iter().map(|(location, _)| u64::from(location.payload_len)).sum()
    }
}

/// The keys that an export holds: everything but the index's own rows.
fn all_rows() -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (Bound::Included(vec![1]), Bound::Unbounded)
}

/// Writes an export of the rows as they are now, which hold all frames up to an lsn of this log. `pump`
/// lets the log work in a simulation.
pub(crate) fn write(
    log: &Log,
    index: &dyn Index,
    lsn: u64,
    pump: &dyn Fn(),
) -> Result<(Root, ExportReport), CatalogError> {
    let snapshot = index.snapshot();
    let id = log.last_lsn() + 1;
    let (mut runs, mut rows) = (Vec::new(), 0);
    let mut run = Writer::new();
    let mut run_rows = 0_u32;
    let mut iterator = index.scan(&snapshot, all_rows());
    loop {
        let row = iterator.next().transpose()?;
        if run.len() >= RUN_LEN || (row.is_none() && run_rows > 0) {
            let payload = std::mem::take(&mut run).finish();
            runs.push((write_run(log, id, runs.len(), run_rows, payload, pump)?, run_rows));
            run_rows = 0;
        }
        let Some((key, value)) = row else { break };
        run.bytes(&key).bytes(&value);
        run_rows += 1;
        rows += 1;
    }
    let barrier = log.append_ticket(Class::Bulk, Vec::new(), Durability::Flushed);
    pump();
    barrier.wait()?;
    let root = Root { id, lsn, runs };
    verify(log, &root, rows)?;
    let record = RecordInput::new(RecordKind::ExportRoot, Bytes::new(), root.encode());
    let ticket = log.append_ticket(Class::Small, vec![record], Durability::Flushed);
    pump();
    ticket.wait()?;
    let report = ExportReport { lsn, rows, len_bytes: root.len_bytes() };
    Ok((root, report))
}

fn write_run(
    log: &Log,
    id: u64,
    index: usize,
    rows: u32,
    payload: Vec<u8>,
    pump: &dyn Fn(),
) -> Result<Location, CatalogError> {
    let mut meta = Writer::new();
    meta.u64(id).u32(index as u32).u32(rows);
    let record = RecordInput::new(RecordKind::ExportRun, meta.finish().into(), payload.into());
    let ticket = log.append_ticket(Class::Bulk, vec![record], Durability::Written);
    pump();
    let places = ticket.wait()?;
    Ok(places[0].1)
}

/// Reads every run back.
fn verify(log: &Log, root: &Root, rows: u64) -> Result<(), CatalogError> {
    let mut seen = 0;
    for at in 0..root.runs.len() {
        seen += read_run(log, root, at)?.len() as u64;
    }
    if seen == rows { Ok(()) } else { Err(DecodeError { what: "export" }.into()) }
}

fn read_run(log: &Log, root: &Root, at: usize) -> Result<Vec<Change>, CatalogError> {
    let (location, rows) = root.runs[at];
    let read = log.read(location, RUN_META_LEN, 0..location.payload_len)?;
    let mut meta = Reader::new(&read.meta, "export run");
    let expected = (root.id, at as u32, rows);
    if read.kind != RecordKind::ExportRun || (meta.u64()?, meta.u32()?, meta.u32()?) != expected {
        return Err(meta.malformed().into());
    }
    let mut r = Reader::new(&read.payload, "export run");
    let mut changes = Vec::with_capacity(rows as usize);
    for _ in 0..rows {
        let key = read.payload.slice_ref(r.bytes()?);
        changes.push(Change { key, value: Some(read.payload.slice_ref(r.bytes()?)) });
    }
    if r.is_empty() { Ok(changes) } else { Err(r.malformed().into()) }
}

/// Loads an export into an empty index. Returns the number of rows.
pub(crate) fn load(log: &Log, index: &dyn Index, root: &Root) -> Result<u64, CatalogError> {
    let mut rows = 0;
    for at in 0..root.runs.len() {
        let changes = read_run(log, root, at)?;
        rows += changes.len() as u64;
        // Until the last run the index does not claim to reach anywhere.
        index.apply(SOURCE, 0, changes);
        if index.wants_maintenance() {
            index.maintain()?;
        }
    }
    index.apply(SOURCE, root.lsn, Vec::new());
    Ok(rows)
}
