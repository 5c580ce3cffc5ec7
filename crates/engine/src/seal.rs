//! What rows of encrypted versions keep sealed beside their bytes: headers, user metadata, and digests of
//! the bytes where those must not be stored. They are sealed under the keyring of the server, no matter who
//! keeps the key of the bytes: a listing or a HEAD needs no other.
//!
//! What belongs to an object is bound to its place: bucket, key, and the random id in its row. The checksum
//! of a part is bound to the salt of the part's bytes instead, because objects of several places may have
//! the part.

use crate::engine::Engine;
use crate::error::EngineError;
use drystone_base::{BucketId, TlvReader, TlvWriter};
use drystone_catalog::{Checksum, Encryption, Headers, ObjectRow, PartRow};
use drystone_keyring::{DataKey, FrameSalt, Keyring, ObjectPlace, bound_context};
use std::sync::Arc;

const FORMAT: u8 = 1;
const METADATA: &[u8] = b"object/metadata";
const CHECKSUM: &[u8] = b"object/checksum";
const PART_CHECKSUM: &[u8] = b"part/checksum\0";

/// Where an object is that something is sealed for: bucket and key.
pub(crate) type Named<'a> = (BucketId, &'a [u8]);

/// The place that what is sealed of an object is bound to; `None` if it is not bound to any.
fn place_of<'a>(
    encryption: Option<&Encryption>,
    (bucket, key): Named<'a>,
) -> Option<ObjectPlace<'a>> {
    let object_id = encryption?.object_id?;
    Some(ObjectPlace { bucket, object_id, key })
}

/// What the checksum of a part is bound to.
fn part_context(salt: &FrameSalt) -> Vec<u8> {
    [PART_CHECKSUM, salt].concat()
}

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
    pub(crate) fn hide(
        &self,
        named: Named<'_>,
        mut row: ObjectRow,
    ) -> Result<ObjectRow, EngineError> {
        let Some(encryption) = &row.encryption else { return Ok(row) };
        let place = place_of(Some(encryption), named);
        if encryption.hides_digests() {
            row.checksum = self.hide_checksum(named, Some(encryption), row.checksum)?;
        }
        let mut w = TlvWriter::new(FORMAT);
        for (names, values, pairs) in [(1, 2, &row.headers), (3, 4, &row.metadata)] {
            for (name, value) in pairs {
                w.bytes(names, name.as_bytes()).bytes(values, value.as_bytes());
            }
        }
        let context = bound_context(METADATA, place.as_ref());
        let sealed = self.keyring()?.seal_bytes(&*self.shared.rng, &context, &w.finish());
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
    pub(crate) fn reveal(&self, named: Named<'_>, row: &mut ObjectRow) -> Result<(), EngineError> {
        let place = place_of(row.encryption.as_ref(), named);
        if let Some(checksum) = row.checksum.as_mut().filter(|checksum| checksum.is_sealed) {
            let context = bound_context(CHECKSUM, place.as_ref());
            checksum.value = self.keyring()?.open_bytes(&context, &checksum.value)?;
            checksum.is_sealed = false;
        }
        let Some(hidden) = row.hidden.take() else { return Ok(()) };
        let context = bound_context(METADATA, place.as_ref());
        let plain = self.keyring()?.open_bytes(&context, &hidden)?;
        (row.headers, row.metadata) = read_metadata(&plain)?;
        Ok(())
    }

    /// Opens the checksum of a part.
    pub(crate) fn reveal_part(&self, part: &mut PartRow) -> Result<(), EngineError> {
        let Some(checksum) = part.checksum.as_mut().filter(|checksum| checksum.is_sealed) else {
            return Ok(());
        };
        let keyring = self.keyring()?;
        let bound = match &part.salt {
            Some(salt) => keyring.open_bytes(&part_context(salt), &checksum.value).ok(),
            None => None,
        };
        // Parts that were written before checksums of parts were bound to anything.
        let opened = bound.map_or_else(|| keyring.open_bytes(CHECKSUM, &checksum.value), Ok)?;
        (checksum.value, checksum.is_sealed) = (opened, false);
        Ok(())
    }

    /// Seals the checksum of an object.
    pub(crate) fn hide_checksum(
        &self,
        named: Named<'_>,
        encryption: Option<&Encryption>,
        checksum: Option<Checksum>,
    ) -> Result<Option<Checksum>, EngineError> {
        let context = bound_context(CHECKSUM, place_of(encryption, named).as_ref());
        self.sealed_checksum(&context, checksum)
    }

    /// Seals the checksum of a part whose bytes are sealed with this salt.
    pub(crate) fn hide_part_checksum(
        &self,
        salt: Option<&FrameSalt>,
        checksum: Option<Checksum>,
    ) -> Result<Option<Checksum>, EngineError> {
        let context = salt.map_or_else(|| CHECKSUM.to_vec(), part_context);
        self.sealed_checksum(&context, checksum)
    }

    fn sealed_checksum(
        &self,
        context: &[u8],
        checksum: Option<Checksum>,
    ) -> Result<Option<Checksum>, EngineError> {
        let Some(checksum) = checksum.filter(|checksum| !checksum.is_sealed) else {
            return Ok(None);
        };
        let value = self.keyring()?.seal_bytes(&*self.shared.rng, context, &checksum.value);
        Ok(Some(Checksum { value, is_sealed: true, ..checksum }))
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
