//! Fields of a line: whatever a client writes stays within its field.
//!
//! A line is fields with one blank between them. A field in quotes may hold blanks, but no quote. All other
//! bytes that are not printable ASCII are percent-encoded, so that neither a line nor a field can be made up.
//! Fields are cut at [`LEN_MAX`].

use crate::headers::Headers;
use crate::uri::encode_into;

/// Bytes of a field at most, once encoded. A key is cut before it is encoded, so that no key that an object
/// can have loses its end; encoded twice it has five times as many bytes.
pub(super) const LEN_MAX: usize = 1 << 10;

/// What stands for nothing.
const NOTHING: &str = "-";

/// Appends bytes, those that are not wanted as they are percent-encoded, up to [`LEN_MAX`] bytes in all and
/// never half of an escape.
fn push_encoded(out: &mut String, bytes: &[u8], is_plain: impl Fn(u8) -> bool) {
    for byte in bytes {
        let len = if is_plain(*byte) { 1 } else { 3 };
        if out.len() + len > LEN_MAX {
            return;
        }
        match len {
            1 => out.push(char::from(*byte)),
            _ => encode_into(out, &[*byte], false),
        }
    }
}

/// A field without blanks; nothing is a dash.
pub(super) fn word(text: &[u8]) -> String {
    if text.is_empty() {
        return NOTHING.to_owned();
    }
    let mut out = String::with_capacity(text.len().min(LEN_MAX));
    // Quotes and brackets would open another kind of field.
    push_encoded(&mut out, text, |byte| byte.is_ascii_graphic() && !b"\"[]".contains(&byte));
    out
}

/// A field in quotes, which may have blanks; nothing is a dash without quotes.
pub(super) fn quoted(text: &[u8]) -> String {
    if text.is_empty() {
        return NOTHING.to_owned();
    }
    let mut out = String::with_capacity(text.len().min(LEN_MAX));
    push_encoded(&mut out, text, |byte| (byte.is_ascii_graphic() && byte != b'"') || byte == b' ');
    format!("\"{out}\"")
}

/// A key, encoded twice as S3 does; nothing is a dash.
pub(super) fn key(text: &str) -> String {
    if text.is_empty() {
        return NOTHING.to_owned();
    }
    let mut len = text.len().min(LEN_MAX);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    crate::uri::encode(&crate::uri::encode(&text[..len], false), false)
}

/// A method as part of an operation's name: those that mean something are short.
pub(super) fn method(method: &http::Method) -> String {
    let bytes = method.as_str().as_bytes();
    word(&bytes[..bytes.len().min(32)])
}

/// The bytes of a header, whatever they are.
pub(super) fn header(headers: &Headers, name: &str) -> Vec<u8> {
    let bytes = headers.bytes(name).unwrap_or_default();
    bytes[..bytes.len().min(LEN_MAX)].to_vec()
}

/// Parameters whose values are not written down, in lower case, as the ends of their names. Keys of clients
/// are refused there, and named here for requests that have them nevertheless.
const SECRETS: &[&str] =
    &["signature", "x-amz-security-token", "server-side-encryption-customer-key"];

/// A query as it is written into a line: without secrets, and no longer than a field.
pub(super) fn query(parameters: &[(String, String, bool)]) -> String {
    let mut out = String::new();
    for (name, value, has_equals) in parameters {
        if out.len() >= LEN_MAX {
            break;
        }
        out.push(if out.is_empty() { '?' } else { '&' });
        encode_into(&mut out, cut(name), false);
        if !has_equals {
            continue;
        }
        out.push('=');
        let name = name.to_ascii_lowercase();
        match SECRETS.iter().any(|secret| name.ends_with(secret)) {
            true => out.push_str(NOTHING),
            false => encode_into(&mut out, cut(value), false),
        }
    }
    out
}

fn cut(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(LEN_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_look_as_aws_writes_them() {
        assert_eq!(quoted(b"a\"b\n c"), "\"a%22b%0A c\"");
        assert_eq!((word(b""), quoted(b""), key("")), ("-".into(), "-".into(), "-".into()));
        assert_eq!(word("a b\u{e9}%41".as_bytes()), "a%20b%C3%A9%41");
        assert_eq!(key("a b/c"), "a%2520b%252Fc");
        let is_cut = "\u{e9}".repeat(1000);
        assert_eq!(key(&is_cut).len(), 512 * 2 * 5);
        assert_eq!(word(is_cut.as_bytes()).len(), LEN_MAX - LEN_MAX % 3);
    }

    #[test]
    fn secrets_are_taken_out_of_each_parameter_that_may_have_them() {
        let check = |name: &str, expected: &str| {
            let parameters = [(name.to_owned(), "a c".to_owned(), true)];
            let twice = [parameters.clone(), parameters].concat();
            assert_eq!(query(&twice), format!("?{name}={expected}&{name}={expected}"));
        };
        check("x", "a%20c");
        check("X-Amz-Signature", "-");
        check("Signature", "-");
        check("X-Amz-Security-Token", "-");
        check("X-Amz-Server-Side-Encryption-Customer-Key", "-");
        check("X-Amz-Server-Side-Encryption-Customer-Key-MD5", "a%20c");
    }

    proptest! {
        /// Goal: no bytes of a client end a field or a line. Method: any bytes.
        #[test]
        fn no_bytes_leave_their_field(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (plain, quoted) = (word(&bytes), quoted(&bytes));
            prop_assert!(plain.len() <= LEN_MAX && quoted.len() <= LEN_MAX + 2);
            prop_assert!(plain.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"[]".contains(&byte)));
            let inner = quoted.trim_matches('"');
            prop_assert!(inner.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"'));
            prop_assert!(!plain.is_empty() && quoted.len() != 2);
        }
    }
}
