//! How the bytes of a version are sealed.

use super::FORMAT;
use drystone_base::{DecodeError, TlvReader, TlvWriter};

/// Who keeps the key that the data key is sealed under (S3 user guide, "Protecting data with encryption").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseMode {
    /// SSE-S3: the keyring of the server.
    S3,
    /// SSE-KMS: a named key.
    Kms,
    /// SSE-C: the client, who sends it with each request.
    Customer,
}

/// The encryption of a version: its data key, sealed, and what is needed to open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// Who keeps the key.
    pub mode: SseMode,
    /// Id of the key of SSE-KMS; else empty.
    pub key_id: String,
    /// Encryption context of SSE-KMS as JSON, its names in order; else empty.
    pub context: String,
    /// Whether the data key is sealed under a key of the bucket, and that under the named one.
    pub has_bucket_key: bool,
    /// The data key of the version.
    pub sealed_key: Vec<u8>,
    /// Salt of the bytes, where they are not in parts.
    pub salt: [u8; 16],
    /// Random id of the object, which what is sealed of it is bound to, with its bucket and key. `None`
    /// where it was written before there were such ids: what is sealed is bound to no place then.
    pub object_id: Option<[u8; 16]>,
}

impl Encryption {
    /// Whether nothing that is computed from the bytes may be stored in the clear. The entity tag is no
    /// digest then.
    #[must_use]
    pub fn hides_digests(&self) -> bool {
        self.mode != SseMode::S3
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = TlvWriter::new(FORMAT);
        w.int(1, self.mode as u64);
        w.text_if(2, Some(self.key_id.as_str()).filter(|id| !id.is_empty()));
        w.text_if(3, Some(self.context.as_str()).filter(|context| !context.is_empty()));
        w.int_unless_zero(4, self.has_bucket_key.into());
        w.bytes(5, &self.sealed_key).bytes(6, &self.salt);
        if let Some(id) = &self.object_id {
            w.bytes(7, id);
        }
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = TlvReader::new(bytes, FORMAT, "encryption of an object")?;
        let (mut mode, mut salt) = (None, None);
        let (mut key_id, mut context) = (String::new(), String::new());
        let (mut has_bucket_key, mut sealed_key, mut object_id) = (false, Vec::new(), None);
        while let Some((tag, value)) = r.field()? {
            match tag {
                1 => {
                    mode = match r.int(value)? {
                        0 => Some(SseMode::S3),
                        1 => Some(SseMode::Kms),
                        2 => Some(SseMode::Customer),
                        _ => None,
                    }
                }
                2 => key_id = r.text(value)?,
                3 => context = r.text(value)?,
                4 => has_bucket_key = r.int(value)? == 1,
                5 => sealed_key = value.to_vec(),
                6 => salt = value.try_into().ok(),
                7 => object_id = Some(value.try_into().map_err(|_| r.malformed())?),
                // What is not understood may be needed to open the bytes.
                _ => return Err(r.malformed()),
            }
        }
        let (Some(mode), Some(salt)) = (mode, salt) else { return Err(r.malformed()) };
        Ok(Self { mode, key_id, context, has_bucket_key, sealed_key, salt, object_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encryption_round_trips_and_an_unknown_field_is_refused() {
        let encryption = Encryption {
            mode: SseMode::Kms,
            key_id: "k".into(),
            context: "{}".into(),
            has_bucket_key: true,
            sealed_key: vec![1; 60],
            salt: [2; 16],
            object_id: Some([3; 16]),
        };
        let mut bytes = encryption.encode();
        assert_eq!(Encryption::decode(&bytes), Ok(encryption));
        bytes.extend_from_slice(&[99, 1, 0]);
        assert!(Encryption::decode(&bytes).is_err());
        let old = "0101000501010610";
        let old = format!("{old}{}", "02".repeat(16));
        let old = drystone_base::unhex(&old).expect("hexadecimal");
        let read = Encryption::decode(&old).expect("without an id");
        assert_eq!((read.object_id, read.encode()), (None, old));
    }
}
