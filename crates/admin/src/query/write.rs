//! Reading forms and writing answers.

use std::fmt::Write;

/// XML as it is written, from the outside in.
#[derive(Default)]
pub(crate) struct Xml {
    text: String,
}

impl Xml {
    pub(crate) fn new() -> Self {
        Self::default()
    }
    pub(crate) fn open(&mut self, name: &str) -> &mut Self {
        let _ = write!(self.text, "<{name}>");
        self
    }
    pub(crate) fn close(&mut self, name: &str) -> &mut Self {
        let _ = write!(self.text, "</{name}>");
        self
    }
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.open(name);
        escape(&mut self.text, value);
        self.close(name)
    }
    pub(crate) fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.text(name, if value { "true" } else { "false" })
    }
    /// A list of members.
    pub(crate) fn members<T>(
        &mut self,
        name: &str,
        members: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.open(name);
        for member in members {
            self.open("member");
            write(self, member);
            self.close("member");
        }
        self.close(name)
    }
    /// A list of texts.
    pub(crate) fn texts<'a>(
        &mut self,
        name: &str,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> &mut Self {
        self.members(name, texts, |xml, text| escape(&mut xml.text, text))
    }
    /// Tags, as all entities have them.
    pub(crate) fn tags<'a>(
        &mut self,
        tags: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> &mut Self {
        self.members("Tags", tags, |xml, (key, value)| {
            xml.text("Key", key).text("Value", value);
        })
    }
    /// The end of a page.
    pub(crate) fn page_end(&mut self, marker: Option<&str>) -> &mut Self {
        self.bool("IsTruncated", marker.is_some());
        if let Some(marker) = marker {
            self.text("Marker", marker);
        }
        self
    }
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
}

/// Actions whose result is an element with nothing in it, by the service model: clients look for it. Where an
/// action has no result, an empty one is left out.
const EMPTY_RESULTS: [&str; 1] = ["UpdateRole"];

/// A whole answer.
pub(super) fn answer(action: &str, namespace: &str, result: Xml, request_id: &str) -> String {
    let Xml { text } = result;
    let result = match text.is_empty() && !EMPTY_RESULTS.contains(&action) {
        true => String::new(),
        false => format!("<{action}Result>{text}</{action}Result>"),
    };
    format!(
        "<{action}Response xmlns=\"{namespace}\">{result}<ResponseMetadata><RequestId>{request_id}\
         </RequestId></ResponseMetadata></{action}Response>"
    )
}

/// An error.
pub(super) fn error(
    namespace: &str,
    status: u16,
    code: &str,
    message: &str,
    request_id: &str,
) -> String {
    let mut escaped = String::new();
    escape(&mut escaped, message);
    let side = if status >= 500 { "Receiver" } else { "Sender" };
    format!(
        "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{side}</Type><Code>{code}</Code><Message>\
         {escaped}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
}

/// Decodes a value of a form; `None` if it is malformed.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                (digit(rest.next())? * 16 + digit(rest.next())?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Encodes a document for an answer (RFC 3986).
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_round_trip_and_malformed_ones_are_refused() {
        assert_eq!(decode("a+b%2Bc%C3%A9").as_deref(), Some("a b+cé"));
        for text in ["%", "%1", "%zz", "%ff", "%é"] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode(&encode("{\"a\": \"é\"}")).as_deref(), Some("{\"a\": \"é\"}"));
    }
}
