//! Decompression of archives, told apart by their first bytes.

use std::io::{self, Write};

/// Bytes that unpack before their ratio is looked at.
const FREE_LEN: u64 = 64 << 20;
/// Bytes that one packed byte may give at most: more is a bomb.
const RATIO_MAX: u64 = 200;

enum Decoder {
    /// Not enough bytes to tell.
    Unknown(Vec<u8>),
    Plain(Vec<u8>),
    Gzip(Box<flate2::write::MultiGzDecoder<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
    Bzip2(Box<bzip2::write::BzDecoder<Vec<u8>>>),
}

/// Unpacks what is fed to it.
pub(crate) struct Unpacker {
    decoder: Decoder,
    packed_len: u64,
    unpacked_len: u64,
}

/// Why an archive cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnpackError {
    /// It is not packed as its first bytes say.
    Malformed,
    /// It unpacks to more than anything sensible.
    Bomb,
}

impl From<io::Error> for UnpackError {
    fn from(_: io::Error) -> Self {
        Self::Malformed
    }
}

impl Default for Unpacker {
    fn default() -> Self {
        Self { decoder: Decoder::Unknown(Vec::new()), packed_len: 0, unpacked_len: 0 }
    }
}

fn decoder_of(start: &[u8]) -> Result<Decoder, UnpackError> {
    Ok(match start {
        [0x1F, 0x8B, ..] => Decoder::Gzip(Box::new(flate2::write::MultiGzDecoder::new(Vec::new()))),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => {
            let mut decoder = zstd::stream::write::Decoder::new(Vec::new())?;
            // The window is what a decoder holds: 128 MiB is what the tools write at most by default.
            decoder.window_log_max(27)?;
            Decoder::Zstd(Box::new(decoder))
        }
        [b'B', b'Z', b'h', ..] => {
            Decoder::Bzip2(Box::new(bzip2::write::BzDecoder::new(Vec::new())))
        }
        _ => Decoder::Plain(Vec::new()),
    })
}

/// Packed bytes that are fed at once: what comes of them is held, and some formats give 32,768 bytes for
/// one.
const STEP_LEN: usize = 512;
/// The same of bytes that are not packed.
const PLAIN_STEP_LEN: usize = 64 << 10;

impl Unpacker {
    /// How many bytes to feed at most before what came of them is taken.
    pub(crate) fn step_len(&self) -> usize {
        if matches!(self.decoder, Decoder::Plain(_)) { PLAIN_STEP_LEN } else { STEP_LEN }
    }

    /// Unpacks more; `each` gets what comes of it, in order.
    ///
    /// # Errors
    ///
    /// It cannot be unpacked.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), UnpackError> {
        let mut bytes = bytes.to_vec();
        if let Decoder::Unknown(start) = &mut self.decoder {
            start.extend_from_slice(&bytes);
            if start.len() < 4 {
                return Ok(());
            }
            bytes = std::mem::take(start);
            self.decoder = decoder_of(&bytes)?;
        }
        for step in bytes.chunks(self.step_len()) {
            self.packed_len += step.len() as u64;
            let unpacked = match &mut self.decoder {
                Decoder::Unknown(_) => Vec::new(),
                Decoder::Plain(out) => {
                    out.extend_from_slice(step);
                    std::mem::take(out)
                }
                Decoder::Gzip(decoder) => {
                    decoder.write_all(step)?;
                    std::mem::take(decoder.get_mut())
                }
                Decoder::Zstd(decoder) => {
                    decoder.write_all(step)?;
                    decoder.flush()?;
                    std::mem::take(decoder.get_mut())
                }
                Decoder::Bzip2(decoder) => {
                    decoder.write_all(step)?;
                    std::mem::take(decoder.get_mut())
                }
            };
            self.unpacked_len += unpacked.len() as u64;
            if self.unpacked_len > FREE_LEN.max(self.packed_len.saturating_mul(RATIO_MAX)) {
                return Err(UnpackError::Bomb);
            }
            each(&unpacked);
        }
        Ok(())
    }

    /// Ends what was packed; `each` gets the rest.
    ///
    /// # Errors
    ///
    /// It ended early.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&[u8])) -> Result<(), UnpackError> {
        match &mut self.decoder {
            Decoder::Unknown(start) => each(start),
            Decoder::Plain(_) => {}
            Decoder::Gzip(decoder) => {
                decoder.try_finish()?;
                each(&std::mem::take(decoder.get_mut()));
            }
            Decoder::Zstd(decoder) => {
                decoder.flush()?;
                each(&std::mem::take(decoder.get_mut()));
            }
            Decoder::Bzip2(decoder) => {
                decoder.try_finish()?;
                each(&std::mem::take(decoder.get_mut()));
            }
        }
        Ok(())
    }
}
