//! XML: documents are written by hand and read into a small tree with limits.

use crate::error::{S3Code, S3Error};
use quick_xml::Reader;
use quick_xml::events::Event;
use std::fmt::Write as _;

const DEPTH_MAX: usize = 32;
/// Elements of a document of `len` bytes at most. One costs about 130 bytes in memory, whatever is in it:
/// elements are on average longer than ten bytes with their tags.
fn element_count_max(len: usize) -> usize {
    64 + len / 10
}

/// Bytes that a document holds as a tree, beyond its texts; nothing if it is no XML.
pub(crate) fn tree_len(bytes: &[u8]) -> u64 {
    let opening = memchr::memchr_iter(b'<', bytes).filter(|at| bytes.get(at + 1) != Some(&b'/'));
    let count = opening.take(element_count_max(bytes.len())).count();
    (count * (size_of::<Element>() + 64)) as u64
}

/// Namespace of S3's documents.
pub(crate) const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// What a document begins with.
pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Writes a document.
#[derive(Debug)]
pub(crate) struct Xml {
    text: String,
}

impl Xml {
    /// A document with this root element, in S3's namespace.
    pub(crate) fn new(root: &str) -> Self {
        let mut xml = Self::bare();
        let _ = write!(xml.text, "<{root} xmlns=\"{NAMESPACE}\">");
        xml
    }
    /// The declaration alone.
    pub(crate) fn bare() -> Self {
        Self { text: String::from(DECLARATION) }
    }
    pub(crate) fn open(&mut self, name: &str) -> &mut Self {
        for piece in ["<", name, ">"] {
            self.text.push_str(piece);
        }
        self
    }
    pub(crate) fn close(&mut self, name: &str) -> &mut Self {
        for piece in ["</", name, ">"] {
            self.text.push_str(piece);
        }
        self
    }
    /// An element with text.
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.open(name);
        escape(&mut self.text, value);
        self.close(name)
    }
    /// Makes room for `bytes` more.
    pub(crate) fn reserve(&mut self, bytes: usize) -> &mut Self {
        self.text.reserve_exact(bytes);
        self
    }
    /// An element with what a client wrote: it is cut at a character, so that no more than `len_max` bytes of
    /// markup come of it. Returns how many there are.
    pub(crate) fn echo(&mut self, name: &str, value: &str, len_max: usize) -> usize {
        self.open(name);
        let start = self.text.len();
        // A character takes one byte of markup or more.
        for c in value[..value.floor_char_boundary(len_max)].chars() {
            let before = self.text.len();
            escape_char(&mut self.text, c);
            if self.text.len() - start > len_max {
                self.text.truncate(before);
                break;
            }
        }
        let len = self.text.len() - start;
        self.close(name);
        len
    }
    pub(crate) fn text_if(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.text(name, value);
        }
        self
    }
    pub(crate) fn int(&mut self, name: &str, value: u64) -> &mut Self {
        let _ = write!(self.text, "<{name}>{value}</{name}>");
        self
    }
    pub(crate) fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        let _ = write!(self.text, "<{name}>{value}</{name}>");
        self
    }
    /// Markup as it is.
    pub(crate) fn raw(&mut self, markup: &str) -> &mut Self {
        self.text.push_str(markup);
        self
    }
    pub(crate) fn finish(mut self, root: &str) -> String {
        self.close(root);
        self.text
    }
}

/// Escapes text. Characters that XML 1.0 has no way to write become references that its parsers refuse, as S3
/// answers them: another character in their place would name another key.
fn escape(out: &mut String, text: &str) {
    let is_plain = |byte: u8| (0x20..0x7F).contains(&byte) && !b"<>&\"'".contains(&byte);
    if text.bytes().all(is_plain) {
        out.push_str(text);
        return;
    }
    text.chars().for_each(|c| escape_char(out, c));
}

/// Bytes that a text has at most once it is escaped, and as it is percent-encoded.
pub(crate) fn escaped_len_max(text: &[u8]) -> u64 {
    let len = |byte: &u8| match byte {
        b'<' | b'>' | b'&' | b'"' | b'\'' | b'\t' | b'\n' | b'\r' => 5,
        // A reference.
        0..0x20 => 6,
        // A part of a character, or of the reference of one of three bytes; percent-encoded.
        0x7F.. => 3,
        byte if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) => 1,
        _ => 3,
    };
    text.iter().map(len).sum()
}

fn escape_char(out: &mut String, c: char) {
    match c {
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '&' => out.push_str("&amp;"),
        '"' => out.push_str("&#34;"),
        '\'' => out.push_str("&#39;"),
        '\t' => out.push_str("&#x9;"),
        '\n' => out.push_str("&#xA;"),
        '\r' => out.push_str("&#xD;"),
        '\0'..'\u{20}' | '\u{FFFE}' | '\u{FFFF}' => {
            let _ = write!(out, "&#x{:X};", u32::from(c));
        }
        c => out.push(c),
    }
}

/// An element that was read: its name without prefix, its text, its children.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Element {
    /// Local name.
    pub name: String,
    /// Text directly in it.
    pub text: String,
    /// Elements directly in it.
    pub children: Vec<Element>,
}

impl Element {
    /// Bytes that it holds, with what is in it.
    pub(crate) fn weight_bytes(&self) -> usize {
        let own = size_of::<Self>() + 32 + self.name.len() + self.text.len();
        own + self.children.iter().map(Self::weight_bytes).sum::<usize>()
    }

    /// The first child of this name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }
    /// All children of this name.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
    /// Text of the first child of this name.
    #[must_use]
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }
}

fn malformed() -> S3Error {
    S3Code::MalformedXML.into()
}

/// Reads a document whose root has this name. Document types and unknown entities are refused.
///
/// # Errors
///
/// `MalformedXML`.
pub fn parse(bytes: &[u8], root: &str) -> Result<Element, S3Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{FEFF}'));
    let mut stack: Vec<Element> = Vec::new();
    let mut done: Option<Element> = None;
    let (mut count, count_max) = (0, element_count_max(bytes.len()));
    loop {
        let event = reader.read_event().map_err(|_| malformed())?;
        match event {
            Event::Start(start) => {
                count += 1;
                if stack.len() == DEPTH_MAX || count > count_max || done.is_some() {
                    return Err(malformed());
                }
                stack.push(element(start.local_name().as_ref()));
            }
            Event::Empty(start) => {
                count += 1;
                if count > count_max || done.is_some() {
                    return Err(malformed());
                }
                finish(&mut stack, &mut done, element(start.local_name().as_ref()));
            }
            Event::End(_) => {
                let element = stack.pop().ok_or_else(malformed)?;
                finish(&mut stack, &mut done, element);
            }
            Event::Text(text) => {
                let text: &str = &text;
                match stack.last_mut() {
                    Some(element) => element.text.push_str(text),
                    None if text.trim().is_empty() => {}
                    None => return Err(malformed()),
                }
            }
            Event::CData(data) => {
                stack.last_mut().ok_or_else(malformed)?.text.push_str(&data);
            }
            Event::GeneralRef(reference) => {
                let c = entity(&reference).ok_or_else(malformed)?;
                stack.last_mut().ok_or_else(malformed)?.text.push(c);
            }
            Event::DocType(_) => return Err(malformed()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    if !stack.is_empty() {
        return Err(malformed());
    }
    done.filter(|element| element.name == root).ok_or_else(malformed)
}

/// A predefined entity or a character reference.
fn entity(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code).filter(|c| *c != '\0')
        }
    }
}

fn element(name: &str) -> Element {
    Element { name: name.to_owned(), ..Element::default() }
}

fn finish(stack: &mut [Element], done: &mut Option<Element>, element: Element) {
    match stack.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *done = Some(element),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_document_is_read_with_namespace_entities_and_cdata() {
        let text = b"<?xml version='1.0'?><!-- c --><a:D xmlns:a='x'>\n<K>1&lt;&#x41;</K>\
                     <K><![CDATA[<&]]></K><E/></a:D>";
        let root = parse(text, "D").expect("well formed");
        let keys: Vec<_> = root.children_named("K").map(|k| k.text.as_str()).collect();
        assert_eq!(keys, ["1<A", "<&"]);
        assert!(root.child("E").is_some());
    }

    #[test]
    fn what_must_not_be_is_refused() {
        let deep = "<D>".repeat(40) + &"</D>".repeat(40);
        for text in [
            "",
            "x",
            "<D",
            "<D>",
            "<D></E>",
            "<E/>",
            "<D/><D/>",
            "<D>&x;</D>",
            "<D/>x",
            &deep,
            "<!DOCTYPE D [<!ENTITY a 'b'>]><D>&a;</D>",
        ] {
            assert!(parse(text.as_bytes(), "D").is_err(), "{text}");
        }
        assert!(parse(b"<D>\xff</D>", "D").is_err());
    }

    /// Goal: small elements do not make a tree of many times the document.
    #[test]
    fn elements_are_counted_by_the_length_of_the_document() {
        let of = |element: &str, count: usize| format!("<D>{}</D>", element.repeat(count));
        assert!(parse(of("<a/>", 60).as_bytes(), "D").is_ok());
        assert!(parse(of("<a/>", 10_000).as_bytes(), "D").is_err());
        assert!(parse(of("<Key>a</Key>", 100_000).as_bytes(), "D").is_ok());
        assert_eq!(tree_len(b"<D><a/><b></b></D>"), 3 * (size_of::<Element>() as u64 + 64));
    }

    proptest! {
        /// Goal: text survives writing and reading; what XML 1.0 cannot write is no other text.
        #[test]
        fn text_round_trips(text in "(.|[\\x00-\\x1f\u{FFFE}\u{FFFF}])*") {
            let mut xml = Xml::new("D");
            xml.text("K", &text);
            let document = xml.finish("D");
            let is_bad = |c| matches!(c, '\0'..'\u{20}' | '\u{FFFE}' | '\u{FFFF}')
                && !matches!(c, '\t' | '\n' | '\r');
            prop_assert!(!document.chars().any(|c| is_bad(c) && c != '\n'));
            if !text.chars().any(is_bad) {
                let root = parse(document.as_bytes(), "D").expect("well formed");
                prop_assert_eq!(root.text_of("K").unwrap_or_default(), &text);
            }
            let len = document.len() as u64 - Xml::new("D").finish("D").len() as u64 - 7;
            prop_assert!(len <= escaped_len_max(text.as_bytes()), "{len}");
        }

        /// Goal: no bytes make the parser panic.
        #[test]
        fn random_bytes_never_panic(text in "[<>/a&;#x!\\[\\]'\"= -]{0,60}") {
            let _ = parse(text.as_bytes(), "a");
        }
    }
}
