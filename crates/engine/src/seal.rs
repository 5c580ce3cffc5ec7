//! What rows of encrypted versions keep sealed beside their bytes: headers, user metadata, and digests of
//! the bytes where those must not be stored. They are sealed under the keyring of the server, whoever keeps
//! the key of the bytes: a listing or a HEAD needs no other.

use crate::engine::Engine;
use crate::error::EngineError;
use drystone_base::{TlvReader, TlvWriter};
use drystone_catalog::{Checksum, Headers, ObjectRow, PartRow};
use drystone_keyring::{DataKey, Keyring};
use std::sync::Arc;

const FORMAT: u8 = 1;
const METADATA: &str = "object/metadata";
const CHECKSUM: &str = "object/checksum";

/// How a body is to be sealed.
#[derive(Clone)]
pub struct Seal {
    /// The data key of the object.
    pub key: DataKey,
    /// The entity tag must be no digest of the bytes.
    pub hides_digests: bool,
}

impl Engine {
    /// Gives the engine the keyring. Once, before anything is encrypted.
    pub fn set_keyring(&self, keyring: Arc<Keyring>) {
        // A second one would be that of the same process.
        drop(self.shared.keyring.set(keyring));
    }

    pub(crate) fn keyring(&self) -> Result<&Keyring, EngineError> {
        self.shared.keyring.get().map(Arc::as_ref).ok_or(EngineError::NoKeyring)
    }

    /// Seals what a row of an encrypted version must not show.
    pub(crate) fn hide(&self, mut row: ObjectRow) -> Result<ObjectRow, EngineError> {
        let Some(encryption) = &row.encryption else { return Ok(row) };
        if encryption.hides_digests() {
            row.checksum = self.hide_checksum(row.checksum)?;
        }
        let mut w = TlvWriter::new(FORMAT);
        for (names, values, pairs) in [(1, 2, &row.headers), (3, 4, &row.metadata)] {
            for (name, value) in pairs {
                w.bytes(names, name.as_bytes()).bytes(values, value.as_bytes());
            }
        }
        let sealed = self.keyring()?.seal_bytes(&*self.shared.rng, METADATA, &w.finish());
        row.hidden = Some(sealed);
        row.headers.clear();
        row.metadata.clear();
        Ok(row)
    }

    /// Opens what is stored sealed in a row, which must not be stored as it is then.
    ///
    /// # Errors
    ///
    /// [`EngineError::Keyring`] names the key that is missing.
    pub fn reveal(&self, row: &mut ObjectRow) -> Result<(), EngineError> {
        if let Some(checksum) = &mut row.checksum {
            self.reveal_checksum(checksum)?;
        }
        let Some(hidden) = row.hidden.take() else { return Ok(()) };
        let plain = self.keyring()?.open_bytes(METADATA, &hidden)?;
        (row.headers, row.metadata) = read_metadata(&plain)?;
        Ok(())
    }

    /// Opens the checksum of a part.
    pub(crate) fn reveal_part(&self, part: &mut PartRow) -> Result<(), EngineError> {
        match &mut part.checksum {
            Some(checksum) => self.reveal_checksum(checksum),
            None => Ok(()),
        }
    }

    pub(crate) fn hide_checksum(
        &self,
        checksum: Option<Checksum>,
    ) -> Result<Option<Checksum>, EngineError> {
        let Some(checksum) = checksum.filter(|checksum| !checksum.is_sealed) else {
            return Ok(None);
        };
        let value = self.keyring()?.seal_bytes(&*self.shared.rng, CHECKSUM, &checksum.value);
        Ok(Some(Checksum { value, is_sealed: true, ..checksum }))
    }

    fn reveal_checksum(&self, checksum: &mut Checksum) -> Result<(), EngineError> {
        if checksum.is_sealed {
            checksum.value = self.keyring()?.open_bytes(CHECKSUM, &checksum.value)?;
            checksum.is_sealed = false;
        }
        Ok(())
    }
}

fn read_metadata(plain: &[u8]) -> Result<(Headers, Headers), EngineError> {
    let mut r = TlvReader::new(plain, FORMAT, "metadata of an object")?;
    let (mut headers, mut metadata) = (Headers::new(), Headers::new());
    while let Some((tag, value)) = r.field()? {
        match tag {
            1 => headers.push((r.text(value)?, String::new())),
            2 => headers.last_mut().ok_or(r.malformed())?.1 = r.text(value)?,
            3 => metadata.push((r.text(value)?, String::new())),
            4 => metadata.last_mut().ok_or(r.malformed())?.1 = r.text(value)?,
            _ => return Err(r.malformed().into()),
        }
    }
    Ok((headers, metadata))
}
