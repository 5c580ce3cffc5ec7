//! Decompression of archives, told apart by their first bytes.
//!
//! # Invariants
//!
//! - What comes of the packed bytes is given out in pieces of [`PIECE_LEN`] at most, however much one packed
//!   byte stands for.
//! - What a decoder itself holds is known before it is made ([`Unpacker::memory_len`]), so that it can be
//!   taken from the byte budget. A window that a stream asks for beyond that is refused.

use std::io::{self, Write};
use zstd::stream::raw::{DParameter, InBuffer, Operation, OutBuffer};

/// Bytes that unpack before their ratio is looked at.
const FREE_LEN: u64 = 64 << 20;
/// Bytes that one packed byte may give at most: more is a bomb.
const RATIO_MAX: u64 = 200;
/// Bytes that are given out at once at most.
const PIECE_LEN: usize = 64 << 10;
/// Bytes that show how an archive is packed: the header of a frame of zstd is the longest.
pub(crate) const START_LEN: usize = 18;
/// Largest window of zstd, as a power of two: 8 MiB is what the tools write without `--long` or `--ultra`.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Smallest one that is counted with: frames that follow may have larger ones than the first, up to this.
const ZSTD_WINDOW_LOG_MIN: u32 = 21;

/// Half as fast, with 2.3 MB and not 3.7: bzip2 is rare, and others want memory too.
const BZIP2_IS_SMALL: bool = true;

enum Decoder {
    Plain,
    Gzip(Box<flate2::write::MultiGzDecoder<Vec<u8>>>),
    Zstd { decoder: Box<zstd::stream::raw::Decoder<'static>>, is_between_frames: bool },
    Bzip2 { decoder: Box<bzip2::Decompress>, is_ended: bool },
}

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd { window_log: u32 },
    Bzip2,
}

/// Unpacks what is fed to it.
pub(crate) struct Unpacker {
    decoder: Decoder,
    piece: Vec<u8>,
    packed_len: u64,
    unpacked_len: u64,
}

/// Why an archive cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnpackError {
    /// It is not packed as its first bytes say, or needs more memory than is allowed.
    Malformed,
    /// It unpacks to more than anything sensible.
    Bomb,
}

impl From<io::Error> for UnpackError {
    fn from(_: io::Error) -> Self {
        Self::Malformed
    }
}

impl From<bzip2::Error> for UnpackError {
    fn from(_: bzip2::Error) -> Self {
        Self::Malformed
    }
}

/// The window that a frame of zstd needs, rounded up to a power of two, as far as it is allowed
/// (RFC 8878, §3.1.1.1).
fn window_log_of(header: &[u8]) -> u32 {
    let descriptor = header.first().copied().unwrap_or_default();
    let window = if descriptor >> 5 & 1 == 0 {
        let window = header.get(1).copied().unwrap_or(u8::MAX);
        let base = 1_u64 << (10 + (window >> 3));
        base + base / 8 * u64::from(window & 7)
    } else {
        // One segment: the window is the content.
        let of_dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let (len, added) = [(1, 0), (2, 256), (4, 0), (8, 0)][usize::from(descriptor >> 6)];
        let content = header.get(1 + of_dictionary..1 + of_dictionary + len);
        let content =
            content.map(|bytes| bytes.iter().rfold(0, |n, byte| n << 8 | u64::from(*byte)));
        content.map_or(u64::MAX, |content| content.saturating_add(added))
    };
    let log = 64 - window.saturating_sub(1).leading_zeros();
    log.clamp(ZSTD_WINDOW_LOG_MIN, ZSTD_WINDOW_LOG_MAX)
}

impl Packing {
    fn of(start: &[u8]) -> Self {
        match start {
            [0x1F, 0x8B, ..] => Self::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD, rest @ ..] => Self::Zstd { window_log: window_log_of(rest) },
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            _ => Self::Plain,
        }
    }
}

impl Decoder {
    fn new(packing: Packing) -> Result<Self, UnpackError> {
        Ok(match packing {
            Packing::Plain => Self::Plain,
            Packing::Gzip => Self::Gzip(Box::new(flate2::write::MultiGzDecoder::new(Vec::new()))),
            Packing::Zstd { window_log } => {
                let mut decoder = zstd::stream::raw::Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(window_log))?;
                Self::Zstd { decoder: Box::new(decoder), is_between_frames: true }
            }
            Packing::Bzip2 => {
                let decoder = Box::new(bzip2::Decompress::new(BZIP2_IS_SMALL));
                Self::Bzip2 { decoder, is_ended: false }
            }
        })
    }

    /// Unpacks into `piece`, up to its length. Returns how many bytes were used, and how many were made.
    fn step(&mut self, input: &[u8], piece: &mut Vec<u8>) -> Result<(usize, usize), UnpackError> {
        match self {
            Self::Plain => {
                let len = input.len().min(PIECE_LEN);
                piece.clear();
                piece.extend_from_slice(&input[..len]);
                Ok((len, len))
            }
            Self::Gzip(decoder) => {
                // One write fills a buffer of the decoder once, and hands out what it held before.
                let used = decoder.write(input)?;
                piece.clear();
                std::mem::swap(piece, decoder.get_mut());
                Ok((used, piece.len()))
            }
            Self::Zstd { decoder, is_between_frames } => {
                piece.resize(PIECE_LEN, 0);
                let mut input = InBuffer::around(input);
                let mut output = OutBuffer::around(&mut piece[..]);
                let hint = decoder.run(&mut input, &mut output)?;
                let (used, made) = (input.pos(), output.pos());
                if used + made > 0 {
                    *is_between_frames = hint == 0;
                }
                Ok((used, made))
            }
            Self::Bzip2 { decoder, is_ended } => {
                if *is_ended {
                    if input.is_empty() {
                        return Ok((0, 0));
                    }
                    // Tools that work in parallel write one stream after the other.
                    (**decoder, *is_ended) = (bzip2::Decompress::new(BZIP2_IS_SMALL), false);
                }
                piece.resize(PIECE_LEN, 0);
                let before = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, piece)?;
                *is_ended = status == bzip2::Status::StreamEnd;
                let used = decoder.total_in() - before.0;
                let made = decoder.total_out() - before.1;
                let small = |len| usize::try_from(len).expect("no longer than a slice");
                Ok((small(used), small(made)))
            }
        }
    }
}

impl Unpacker {
    /// Bytes that unpacking an archive that begins so may hold.
    pub(crate) fn memory_len(start: &[u8]) -> u64 {
        let of_decoder = match Packing::of(start) {
            Packing::Plain => 0,
            // The window, tables, and buffers of 32 KiB.
            Packing::Gzip => 192 << 10,
            // The window, and three blocks of 128 KiB.
            Packing::Zstd { window_log } => (1 << window_log) + (512 << 10),
            // Two and a half bytes for each of 900,000.
            Packing::Bzip2 => 5 << 19,
        };
        of_decoder + PIECE_LEN as u64
    }

    /// What unpacks an archive that begins so.
    ///
    /// # Errors
    ///
    /// The decoder cannot be made.
    pub(crate) fn new(start: &[u8]) -> Result<Self, UnpackError> {
        let decoder = Decoder::new(Packing::of(start))?;
        Ok(Self { decoder, piece: Vec::new(), packed_len: 0, unpacked_len: 0 })
    }

    /// The next unpacked bytes; takes what it uses off the front of `input`. `None`: all of it is used, and
    /// more is needed.
    ///
    /// # Errors
    ///
    /// It cannot be unpacked.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<&[u8]>, UnpackError> {
        loop {
            let (used, made) = self.decoder.step(input, &mut self.piece)?;
            *input = &input[used..];
            self.packed_len += used as u64;
            self.unpacked_len += made as u64;
            if self.unpacked_len > FREE_LEN.max(self.packed_len.saturating_mul(RATIO_MAX)) {
                return Err(UnpackError::Bomb);
            }
            if made > 0 {
                return Ok(Some(&self.piece[..made]));
            }
            if input.is_empty() {
                return Ok(None);
            }
            if used == 0 {
                return Err(UnpackError::Malformed);
            }
        }
    }

    /// Ends what was packed; returns the rest.
    ///
    /// # Errors
    ///
    /// It ended early.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, UnpackError> {
        match &mut self.decoder {
            Decoder::Plain => Ok(Vec::new()),
            Decoder::Gzip(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Decoder::Zstd { is_between_frames: true, .. } => Ok(Vec::new()),
            Decoder::Bzip2 { is_ended: true, .. } => Ok(Vec::new()),
            Decoder::Zstd { .. } | Decoder::Bzip2 { .. } => Err(UnpackError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    fn zstd_of(bytes: &[u8], window_log: u32) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("an encoder");
        encoder.window_log(window_log).expect("a window");
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    /// Unpacks with input in pieces of `step`; also the longest piece that came out.
    fn unpack(packed: &[u8], step: usize) -> Result<(Vec<u8>, usize), UnpackError> {
        let mut unpacker = Unpacker::new(&packed[..packed.len().min(START_LEN)])?;
        let (mut all, mut longest) = (Vec::new(), 0);
        for mut input in packed.chunks(step) {
            while let Some(piece) = unpacker.next(&mut input)? {
                longest = longest.max(piece.len());
                all.extend_from_slice(piece);
            }
        }
        let rest = unpacker.finish()?;
        longest = longest.max(rest.len());
        all.extend(rest);
        Ok((all, longest))
    }

    /// Goal: what one packed byte stands for is not held at once. Method: a thousandfold and more, in pieces
    /// of one byte, of many, and whole.
    #[test]
    fn what_comes_of_few_bytes_comes_in_small_pieces() {
        let plain: Vec<u8> = (0..3 << 20).map(|n: u32| (n >> 18) as u8).collect();
        for packed in [gzip(&plain), bzip2(&plain), zstd_of(&plain, 20), plain.clone()] {
            for step in [1, 511, packed.len()] {
                let step = if packed.len() == plain.len() { step.max(99) } else { step };
                let (all, longest) = unpack(&packed, step).expect("well-formed");
                assert!(all == plain, "{} bytes in pieces of {step}", packed.len());
                assert!(longest <= 2 * PIECE_LEN, "{longest}");
            }
            // What follows another is unpacked too.
            let twice = unpack(&[&packed[..], &packed].concat(), 4096).expect("well-formed");
            assert_eq!(twice.0.len(), 2 * plain.len());
        }
    }

    #[test]
    fn what_ends_early_or_needs_too_much_is_refused() {
        let plain = vec![7; 100_000];
        for packed in [gzip(&plain), bzip2(&plain), zstd_of(&plain, 20)] {
            let cut = &packed[..packed.len() - 5];
            assert_eq!(unpack(cut, 64).err(), Some(UnpackError::Malformed));
        }
        // The window is of the frame's header, not of what is in it.
        let mut wide = zstd_of(&vec![7; 1 << 20], 27);
        assert!(wide.len() > 6);
        // Single-segment frames have no window of their own: a header that has one.
        wide.splice(4..6, [0x00, (27 - 10) << 3]);
        assert_eq!(unpack(&wide, 64).err(), Some(UnpackError::Malformed));
        // What is counted is what the first frame says, within bounds.
        for (packed, want) in
            [(&wide, 23), (&zstd_of(&plain, 20), 21), (&zstd_of(&vec![7; 3 << 20], 22), 22)]
        {
            let window = Packing::of(&packed[..START_LEN]);
            assert_eq!(window, Packing::Zstd { window_log: want });
        }
        let bomb = bzip2(&vec![0; FREE_LEN as usize + (1 << 20)]);
        assert_eq!(unpack(&bomb, 64).err(), Some(UnpackError::Bomb));
    }
}
