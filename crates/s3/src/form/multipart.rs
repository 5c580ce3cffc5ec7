//! `multipart/form-data` as it comes (RFC 7578, RFC 2046 §5.1), without holding a file.

use crate::error::{S3Code, S3Error};
use memchr::memmem::Finder;

/// Bytes of the headers of one part.
const HEAD_LEN_MAX: usize = 8 << 10;

/// What a part says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name of the field.
    pub name: String,
    /// Name of the file, if it is one.
    pub filename: Option<String>,
    /// Its content type.
    pub content_type: Option<String>,
}

/// Takes a body in as it comes. The caller feeds bytes whenever a method has too few.
#[derive(Debug)]
pub struct FormDecoder {
    /// `\r\n--boundary`.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    ended: bool,
}

fn malformed() -> S3Error {
    S3Code::MalformedPOSTRequest.into()
}

/// A parameter of a header value such as `form-data; name="x"`.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (text, next) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let mut text = String::new();
                let mut chars = quoted.char_indices();
                let end = loop {
                    match chars.next()? {
                        // Only what must be escaped is: clients send folders of Windows as they are.
                        (at, '\\') if quoted[at + 1..].starts_with(['"', '\\']) => {
                            text.push(chars.next()?.1);
                        }
                        (at, '"') => break at,
                        (_, c) => text.push(c),
                    }
                };
                (text, quoted[end + 1..].split_once(';').map_or("", |(_, next)| next))
            }
            None => {
                let (text, next) = after.split_once(';').unwrap_or((after, ""));
                (text.trim().to_owned(), next)
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(text);
        }
        rest = next;
    }
}

impl FormDecoder {
    /// A decoder for a body of this content type.
    ///
    /// # Errors
    ///
    /// `MalformedPOSTRequest` if the content type has no boundary.
    pub fn new(content_type: &str) -> Result<Self, S3Error> {
        let boundary = parameter(content_type, "boundary");
        let boundary = boundary.filter(|b| (1..=70).contains(&b.len())).ok_or_else(malformed)?;
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first delimiter has no line before it.
        Ok(Self { delimiter, buffer: b"\r\n".to_vec(), ended: false })
    }

    /// Takes more of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that were fed and not given out.
    #[must_use]
    pub fn held_len(&self) -> usize {
        self.buffer.len()
    }

    /// The next part; `None` if more bytes are needed. What is left of the part before is skipped.
    ///
    /// # Errors
    ///
    /// `MalformedPOSTRequest`.
    pub fn next_part(&mut self) -> Result<Option<Part>, S3Error> {
        let Some(at) = Finder::new(&self.delimiter).find(&self.buffer) else {
            // Anything may stand before the first delimiter; it is not kept.
            let keep = self.delimiter.len().min(self.buffer.len());
            self.buffer.drain(..self.buffer.len() - keep);
            return Ok(None);
        };
        let from = at + self.delimiter.len();
        let Some(next) = self.buffer.get(from..from + 2) else { return Ok(None) };
        if next == b"--" {
            self.ended = true;
            return Ok(None);
        }
        let head = &self.buffer[from..];
        let Some(end) = Finder::new(b"\r\n\r\n").find(head) else {
            return if head.len() > HEAD_LEN_MAX { Err(malformed()) } else { Ok(None) };
        };
        let text = std::str::from_utf8(&head[..end]).map_err(|_| malformed())?;
        let part = parse_head(text)?;
        self.buffer.drain(..from + end + 4);
        Ok(Some(part))
    }

    /// Whether the last delimiter was read.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Bytes of the part that can be given out now, and whether they are its last.
    pub fn take(&mut self) -> (Vec<u8>, bool) {
        match Finder::new(&self.delimiter).find(&self.buffer) {
            Some(at) => (self.buffer.drain(..at).collect(), true),
            None => {
                let keep = (self.delimiter.len() - 1).min(self.buffer.len());
                (self.buffer.drain(..self.buffer.len() - keep).collect(), false)
            }
        }
    }
}

fn parse_head(text: &str) -> Result<Part, S3Error> {
    let (mut disposition, mut content_type) = (None, None);
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        match name.trim().to_ascii_lowercase().as_str() {
            "content-disposition" => disposition = Some(value.trim()),
            "content-type" => content_type = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let disposition = disposition.ok_or_else(malformed)?;
    let name = parameter(disposition, "name").ok_or_else(malformed)?;
    Ok(Part { name, filename: parameter(disposition, "filename"), content_type })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nup/x\r\n--b\r\n\
        content-disposition: form-data; filename=\"a \\\"b\\\";c.txt\"; name=file\r\n\
        Content-Type: text/plain\r\n\r\nline\r\n--c\r\n-\r\n--b--\r\n";

    /// Decodes with pieces of a length; returns the parts and their contents.
    fn decode(body: &[u8], piece_len: usize) -> Option<Vec<(Part, Vec<u8>)>> {
        let mut decoder = FormDecoder::new("multipart/form-data; boundary=b").ok()?;
        let mut found: Vec<(Part, Vec<u8>)> = Vec::new();
        let mut inside = false;
        for piece in body.chunks(piece_len) {
            decoder.feed(piece);
            loop {
                if inside {
                    let (bytes, last) = decoder.take();
                    found.last_mut()?.1.extend(bytes);
                    inside = !last;
                    if !last {
                        break;
                    }
                }
                match decoder.next_part().ok()? {
                    Some(part) => {
                        found.push((part, Vec::new()));
                        inside = true;
                    }
                    None => break,
                }
            }
        }
        decoder.is_ended().then_some(found)
    }

    #[test]
    fn pieces_of_any_length_give_the_same_parts() {
        for piece_len in 1..BODY.len() + 1 {
            let found = decode(BODY.as_bytes(), piece_len).expect("well-formed");
            assert_eq!(found.len(), 2, "pieces of {piece_len}");
            assert_eq!((found[0].0.name.as_str(), &found[0].1[..]), ("key", &b"up/x"[..]));
            assert_eq!(found[1].0.filename.as_deref(), Some("a \"b\";c.txt"));
            assert_eq!(found[1].0.content_type.as_deref(), Some("text/plain"));
            assert_eq!(&found[1].1[..], b"line\r\n--c\r\n-");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        assert!(FormDecoder::new("multipart/form-data").is_err());
        assert!(FormDecoder::new("multipart/form-data; boundary=").is_err());
        let mut decoder = FormDecoder::new("multipart/form-data; boundary=b").expect("a form");
        decoder.feed(b"--b\r\nno header\r\n\r\n");
        assert!(decoder.next_part().is_err());
        let mut decoder = FormDecoder::new("multipart/form-data; boundary=b").expect("a form");
        decoder.feed(b"--b\r\n");
        decoder.feed(&[b'x'; HEAD_LEN_MAX + 10]);
        assert!(decoder.next_part().is_err());
        let mut decoder = FormDecoder::new("multipart/form-data; boundary=b").expect("a form");
        for _ in 0..100 {
            decoder.feed(&[0; 10_000]);
            assert!(decoder.next_part().expect("nothing yet").is_none());
            assert!(decoder.held_len() < 20);
        }
    }
}
