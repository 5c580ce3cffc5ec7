//! The aws-chunked transfer encoding, as a machine that is fed bytes as they come.
//!
//! Source: S3 API reference, "Signature calculations: transferring payload in multiple chunks".

use crate::error::{S3Code, S3Error};
use bytes::{Buf, Bytes};

/// Longest line of a chunk header or trailer.
const LINE_LEN_MAX: usize = 4096;
const TRAILER_COUNT_MAX: usize = 16;
/// One before the trailers, one before their signature.
const BLANK_COUNT_MAX: usize = 2;
/// The trailer that signs the others.
pub(crate) const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";
/// Largest size that a chunk may declare: that of a part.
const CHUNK_LEN_MAX: u64 = 5 << 30;

/// What the framing carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkMode {
    /// Chunks, and trailers, carry signatures.
    pub signed: bool,
    /// Trailers follow the last chunk.
    pub trailer: bool,
}

/// What comes out of the decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes of the current chunk.
    Data(Bytes),
    /// The current chunk is over; its signature, if chunks have one. The last one is empty.
    ChunkEnd {
        /// Signature that the chunk carries.
        signature: Option<String>,
    },
    /// A trailer, with its name in lower case.
    Trailer(String, String),
    /// The end: nothing may follow.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Data { left: u64 },
    DataEnd,
    Trailers,
    Done,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct ChunkDecoder {
    mode: ChunkMode,
    state: State,
    line: Vec<u8>,
    signature: Option<String>,
    trailer_count: usize,
    /// Blank lines among the trailers.
    blank_count: usize,
    is_trailer_signed: bool,
    has_data: bool,
    ended_twice: bool,
}

fn incomplete(message: &str) -> S3Error {
    S3Error::with(S3Code::IncompleteBody, message)
}

impl ChunkDecoder {
    /// At the beginning of a body.
    #[must_use]
    pub fn new(mode: ChunkMode) -> Self {
        let (line, signature) = (Vec::new(), None);
        Self {
            mode,
            state: State::Size,
            line,
            signature,
            trailer_count: 0,
            blank_count: 0,
            is_trailer_signed: false,
            has_data: false,
            ended_twice: false,
        }
    }

    /// The next event that bytes mean, which are taken off `input`; `None` when all of them are taken. One at
    /// a time: chunks of a byte each make many more events than bytes.
    ///
    /// # Errors
    ///
    /// `IncompleteBody`, `InvalidChunkSizeError` or `MalformedTrailerError`.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Event>, S3Error> {
        while !input.is_empty() {
            match self.state {
                State::Data { left } => {
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let left = left - len as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
                    return Ok(Some(Event::Data(input.split_to(len))));
                }
                // A stray line feed before the blank line (some clients send one) makes one too many.
                State::Done if self.mode.trailer && input[..] == b"\r\n"[..] => input.clear(),
                State::Done if self.mode.trailer && input[..] == b"\r"[..] => input.clear(),
                State::Done if self.mode.trailer && input[..] == b"\n"[..] => input.clear(),
                State::Done => return Err(incomplete("bytes follow the last chunk")),
                State::Size | State::DataEnd | State::Trailers => {
                    let Some(line) = self.line(input)? else { return Ok(None) };
                    if let Some(event) = self.take_line(&line)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes bytes up to the end of a line; `None` if it is not over yet.
    fn line(&mut self, input: &mut Bytes) -> Result<Option<String>, S3Error> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let len = end.map_or(input.len(), |at| at + 1);
        if self.line.len() + len > LINE_LEN_MAX {
            return Err(self.malformed("a line of the framing is too long"));
        }
        self.line.extend_from_slice(&input[..len]);
        input.advance(len);
        if end.is_none() {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8(line).map_err(|_| self.malformed("the framing is no text"))?;
        let trimmed = line.trim_end_matches(['\r', '\n']);
        let is_trailer = self.state == State::Trailers;
        if !is_trailer && !line.ends_with("\r\n") {
            return Err(self.malformed("a line of the framing does not end as it must"));
        }
        Ok(Some(trimmed.to_owned()))
    }

    fn may_end_twice(&self) -> bool {
        self.mode.signed && !self.has_data && !self.ended_twice
    }

    fn malformed(&self, message: &str) -> S3Error {
        match self.state {
            State::Trailers => S3Error::with(S3Code::MalformedTrailerError, message),
            _ => incomplete(message),
        }
    }

    fn take_line(&mut self, line: &str) -> Result<Option<Event>, S3Error> {
        match self.state {
            State::Size => self.take_size(line),
            State::DataEnd if line.is_empty() => {
                self.state = State::Size;
                Ok(Some(Event::ChunkEnd { signature: self.signature.take() }))
            }
            State::DataEnd => Err(incomplete("a chunk is longer than it says")),
            // Some clients send the one chunk of an empty body, which is empty, and then the last
            // chunk: both have a signature, and both are checked.
            State::Trailers if self.may_end_twice() && line.starts_with("0;") => {
                self.ended_twice = true;
                self.take_size(line)
            }
            State::Trailers if line.is_empty() => {
                // The blank line behind the last chunk's header may come before the trailers too, and one
                // between the trailers and their signature: the API reference shows it, minio-go sends it.
                let is_open =
                    self.trailer_count == 0 || (self.mode.signed && !self.is_trailer_signed);
                if self.mode.trailer && is_open {
                    self.blank_count += 1;
                    if self.blank_count > BLANK_COUNT_MAX {
                        return Err(self.malformed("too many blank lines among the trailers"));
                    }
                    return Ok(None);
                }
                self.state = State::Done;
                Ok(Some(Event::End))
            }
            State::Trailers if self.mode.trailer => {
                let (name, value) =
                    line.split_once(':').ok_or_else(|| self.malformed("a trailer has no name"))?;
                self.trailer_count += 1;
                if self.trailer_count > TRAILER_COUNT_MAX {
                    return Err(self.malformed("too many trailers"));
                }
                let name = name.trim().to_ascii_lowercase();
                self.is_trailer_signed |= name == TRAILER_SIGNATURE;
                Ok(Some(Event::Trailer(name, value.trim().to_owned())))
            }
            State::Trailers => Err(incomplete("bytes follow the last chunk")),
            State::Data { .. } | State::Done => unreachable!("not read by lines"),
        }
    }

    fn take_size(&mut self, line: &str) -> Result<Option<Event>, S3Error> {
        let (size, extension) = match line.split_once(';') {
            Some((size, extension)) => (size, Some(extension)),
            None => (line, None),
        };
        let digits = !size.is_empty()
            && size.len() <= 16
            && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits {
            return Err(incomplete("the size of a chunk is no hexadecimal number"));
        }
        let size = u64::from_str_radix(size, 16).map_err(|_| incomplete("a chunk is too large"))?;
        if size > CHUNK_LEN_MAX {
            return Err(S3Error::new(S3Code::InvalidChunkSizeError));
        }
        let signature = extension.and_then(|text| text.strip_prefix("chunk-signature="));
        if self.mode.signed {
            let signature = signature.ok_or_else(|| incomplete("a chunk has no signature"))?;
            self.signature = Some(signature.to_owned());
        }
        if size == 0 {
            self.state = State::Trailers;
            return Ok(Some(Event::ChunkEnd { signature: self.signature.take() }));
        }
        self.has_data = true;
        self.state = State::Data { left: size };
        Ok(None)
    }

    /// The body ended here. The last event, if the client left the blank line behind it out.
    ///
    /// # Errors
    ///
    /// `IncompleteBody` or `MalformedTrailerError` unless it may.
    pub fn end(&mut self) -> Result<Option<Event>, S3Error> {
        match self.state {
            State::Done => Ok(None),
            // Clients leave the very last blank line out.
            State::Trailers if self.line.is_empty() || !self.mode.trailer => {
                if self.mode.trailer && self.trailer_count == 0 {
                    return Err(self.malformed("the trailers are missing"));
                }
                self.state = State::Done;
                Ok(Some(Event::End))
            }
            State::Trailers => Err(self.malformed("a trailer is cut")),
            State::Size | State::Data { .. } | State::DataEnd => {
                Err(incomplete("the body ended before its last chunk"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNSIGNED: ChunkMode = ChunkMode { signed: false, trailer: true };

    fn decode(mode: ChunkMode, pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<Event>), S3Code> {
        let mut decoder = ChunkDecoder::new(mode);
        let mut out = Vec::new();
        for piece in pieces {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(event) = decoder.next(&mut piece).map_err(|e| e.code)? {
                out.push(event);
            }
            assert!(piece.is_empty());
        }
        out.extend(decoder.end().map_err(|e| e.code)?);
        let (mut data, mut rest) = (Vec::new(), Vec::new());
        for event in out {
            match event {
                Event::Data(bytes) => data.extend_from_slice(&bytes),
                event => rest.push(event),
            }
        }
        Ok((data, rest))
    }

    #[test]
    fn bad_framing_is_refused() {
        for (text, code) in [
            (&b"5\r\nhello\r\n"[..], S3Code::IncompleteBody),
            (b"5\r\nhel", S3Code::IncompleteBody),
            (b"5\r\nhello6\r\n", S3Code::IncompleteBody),
            (b"-5\r\n", S3Code::IncompleteBody),
            (b"0x5\r\nhello\r\n", S3Code::IncompleteBody),
            (b"11111111111111111111\r\n", S3Code::IncompleteBody),
            (b"fffffffff\r\n", S3Code::InvalidChunkSizeError),
            (b"0\r\n\r\n", S3Code::MalformedTrailerError),
            (b"0\r\nno colon\r\n\r\n", S3Code::MalformedTrailerError),
            (b"0\r\na:b\r\n\r\nmore", S3Code::IncompleteBody),
        ] {
            assert_eq!(decode(UNSIGNED, &[text]), Err(code), "{text:?}");
        }
        let signed = ChunkMode { signed: true, trailer: false };
        assert_eq!(decode(signed, &[b"1\r\nx\r\n0\r\n\r\n"]), Err(S3Code::IncompleteBody));
    }

    proptest! {
        /// Goal: the same body comes out wherever the stream is split. Method: all pairs of splits.
        #[test]
        fn splits_do_not_matter(data in prop::collection::vec(any::<u8>(), 0..60), chunk in 1_usize..20) {
            let mut body = Vec::new();
            for piece in data.chunks(chunk) {
                body.extend(format!("{:x}\r\n", piece.len()).bytes());
                body.extend_from_slice(piece);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\nX-Amz-Checksum-Crc32: AAAA\n\r\n\r\n");
            let whole = decode(UNSIGNED, &[&body]).expect("well formed");
            prop_assert_eq!(&whole.0, &data);
            let trailer = Event::Trailer("x-amz-checksum-crc32".into(), "AAAA".into());
            prop_assert!(whole.1.contains(&trailer));
            for at in 0..body.len() {
                let (a, b) = body.split_at(at);
                prop_assert_eq!(&decode(UNSIGNED, &[a, b]).expect("well formed"), &whole);
            }
        }

        /// Goal: no bytes make the decoder panic.
        #[test]
        fn random_bytes_never_panic(body in "[0-9a-f;:\r\nxy=]{0,80}") {
            let _ = decode(UNSIGNED, &[body.as_bytes()]);
        }
    }
}
