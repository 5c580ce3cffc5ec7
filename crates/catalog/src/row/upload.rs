//! Multipart uploads and their parts.

use super::{Checksum, ChecksumAlgorithm, ChecksumKind, Data, FORMAT, ObjectRow};
use drystone_base::{DecodeError, Reader, Seq, TlvReader, TlvWriter, Writer, sealed_len};

/// What an upload is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadState {
    /// Parts may be uploaded.
    Open,
    /// Its parts are frozen while they are checked, by the process of this term. A later process
    /// takes it for open.
    Completing {
        /// Term of the process.
        term: u32,
    },
    /// It became an object; kept for a day so that a repeated request gets the same answer.
    Completed {
        /// The parts that were selected: number and MD5.
        selected: Vec<(u16, [u8; 16])>,
        /// The version that came of it.
        result: Box<ObjectRow>,
        /// When, in milliseconds since 1970.
        at_ms: u64,
    },
}

/// A multipart upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// State.
    pub state: UploadState,
    /// When it was initiated, in milliseconds since 1970.
    pub initiated_ms: u64,
    /// Everything that the object will get besides its bytes.
    pub template: ObjectRow,
    /// Checksum of parts and object that was asked for.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Headers of the request that initiated it which are condition keys of policies, and of which the
    /// template does not keep what was sent.
    pub said: Vec<(String, String)>,
    /// Who initiated it; `None` if no one signed, and in uploads that were written before it was kept.
    pub initiator: Option<Initiator>,
    /// Fields that this version does not know, kept to be written back.
    pub unknown: Vec<(u8, Vec<u8>)>,
}

/// Who began an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initiator {
    /// Account id.
    pub account: String,
    /// Resource name, where it was not the owner of the account.
    pub arn: Option<String>,
}

impl UploadRow {
    /// An open upload.
    #[must_use]
    pub fn new(
        initiated_ms: u64,
        template: ObjectRow,
        checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    ) -> Self {
        Self {
            state: UploadState::Open,
            initiated_ms,
            template,
            checksum,
            said: Vec::new(),
            initiator: None,
            unknown: Vec::new(),
        }
    }

    /// Stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = TlvWriter::new(FORMAT);
        w.int(2, self.initiated_ms).bytes(3, &self.template.encode());
        if let Some((algorithm, kind)) = self.checksum {
            w.bytes(4, &[algorithm as u8, kind as u8]);
        }
        match &self.state {
            UploadState::Open => {}
            UploadState::Completing { term } => drop(w.int(1, 1).int(8, (*term).into())),
            UploadState::Completed { selected, result, at_ms } => {
                let mut parts = Writer::new();
                for (number, md5) in selected {
                    parts.u16(*number).raw(md5);
                }
                w.int(1, 2).bytes(5, parts.as_slice()).bytes(6, &result.encode()).int(7, *at_ms);
            }
        }
        if !self.said.is_empty() {
            let mut said = Writer::new();
            for (name, value) in &self.said {
                said.bytes(name.as_bytes()).bytes(value.as_bytes());
            }
            w.bytes(9, said.as_slice());
        }
        if let Some(Initiator { account, arn }) = &self.initiator {
            w.bytes(10, account.as_bytes());
            if let Some(arn) = arn {
                w.bytes(11, arn.as_bytes());
            }
        }
        for (tag, value) in &self.unknown {
            w.bytes(*tag, value);
        }
        w.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = TlvReader::new(bytes, FORMAT, "upload row")?;
        let mut row = Self::new(0, ObjectRow::empty(), None);
        let (mut state, mut selected, mut result, mut at_ms) = (0, Vec::new(), None, 0);
        let mut term = 0;
        while let Some((tag, value)) = r.field()? {
            match tag {
                1 => state = r.int(value)?,
                2 => row.initiated_ms = r.int(value)?,
                3 => row.template = ObjectRow::decode(value)?,
                4 => {
                    let algorithm =
                        value.first().and_then(|a| ChecksumAlgorithm::ALL.get(usize::from(*a)));
                    let kind = match value.get(1) {
                        Some(0) => ChecksumKind::FullObject,
                        Some(1) => ChecksumKind::Composite,
                        _ => return Err(r.malformed()),
                    };
                    row.checksum = Some((*algorithm.ok_or(r.malformed())?, kind));
                }
                5 => {
                    let mut parts = Reader::new(value, "upload row");
                    while !parts.is_empty() {
                        let number = parts.u16()?;
                        let md5 = parts.take(16)?.try_into().map_err(|_| r.malformed())?;
                        selected.push((number, md5));
                    }
                }
                6 => result = Some(Box::new(ObjectRow::decode(value)?)),
                7 => at_ms = r.int(value)?,
                8 => term = r.int(value)? as u32,
                9 => {
                    let mut said = Reader::new(value, "upload row");
                    while !said.is_empty() {
                        let mut text = || Ok(String::from_utf8_lossy(said.bytes()?).into_owned());
                        row.said.push((text()?, text()?));
                    }
                }
                10 => {
                    let account = String::from_utf8_lossy(value).into_owned();
                    row.initiator = Some(Initiator { account, arn: None });
                }
                11 => {
                    let initiator = row.initiator.as_mut().ok_or(r.malformed())?;
                    initiator.arn = Some(String::from_utf8_lossy(value).into_owned());
                }
                _ => row.unknown.push((tag, value.to_vec())),
            }
        }
        row.state = match (state, result) {
            (0, _) => UploadState::Open,
            (1, _) => UploadState::Completing { term },
            (2, Some(result)) => UploadState::Completed { selected, result, at_ms },
            _ => return Err(r.malformed()),
        };
        Ok(row)
    }
}

/// A part of an upload, or of a completed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRow {
    /// Part number, 1 to 10,000.
    pub number: u16,
    /// Bytes.
    pub size: u64,
    /// MD5 of the bytes.
    pub md5: [u8; 16],
    /// When it was uploaded, in milliseconds since 1970.
    pub modified_ms: u64,
    /// Checksum that clients see.
    pub checksum: Option<Checksum>,
    /// Where the bytes are; never a manifest.
    pub data: Data,
    /// Its place in the order of commits.
    pub seq: Seq,
    /// Salt of its bytes, if they are sealed.
    pub salt: Option<[u8; 16]>,
}

impl PartRow {
    /// Bytes that are stored.
    #[must_use]
    pub fn stored_len(&self) -> u64 {
        if self.salt.is_some() { sealed_len(self.size) } else { self.size }
    }

    /// Stored form; the location of a blob's first cell comes last.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = TlvWriter::new(FORMAT);
        w.int(1, self.number.into()).int_unless_zero(2, self.size).bytes(3, &self.md5);
        w.int(4, self.modified_ms).int(5, self.seq.0);
        if let Some(checksum) = &self.checksum {
            w.bytes(6, &checksum.encode());
        }
        if let Some(salt) = &self.salt {
            w.bytes(8, salt);
        }
        w.bytes(7, &self.data.encode());
        w.finish()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = TlvReader::new(bytes, FORMAT, "part row")?;
        let mut row = Self {
            number: 0,
            size: 0,
            md5: [0; 16],
            modified_ms: 0,
            checksum: None,
            data: Data::Empty,
            seq: Seq(0),
            salt: None,
        };
        while let Some((tag, value)) = r.field()? {
            match tag {
                1 => row.number = u16::try_from(r.int(value)?).map_err(|_| r.malformed())?,
                2 => row.size = r.int(value)?,
                3 => row.md5 = value.try_into().map_err(|_| r.malformed())?,
                4 => row.modified_ms = r.int(value)?,
                5 => row.seq = Seq(r.int(value)?),
                6 => row.checksum = Some(Checksum::decode(value)?),
                7 => row.data = Data::decode(value)?,
                8 => row.salt = Some(value.try_into().map_err(|_| r.malformed())?),
                // A part lives for days: a newer version drains its uploads before a downgrade.
                _ => {}
            }
        }
        if row.number == 0 { Err(r.malformed()) } else { Ok(row) }
    }
}
