//! Paths and queries, taken apart without ever cleaning them.

/// Percent-decodes a path or query component; `plus_is_space` for queries of forms only.
fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let pair = text.get(at + 1..at + 3)?;
            out.push(drystone_base::unhex(pair)?[0]);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    Some(out)
}

/// The text that a percent-encoded path stands for; `None` if it is no UTF-8 or badly encoded.
#[must_use]
pub fn decode_path(text: &str) -> Option<String> {
    // Most are not encoded at all.
    if !text.as_bytes().contains(&b'%') {
        return Some(text.to_owned());
    }
    String::from_utf8(decode(text)?).ok()
}

/// Parameters of a query, decoded, in order; whether each had a `=`. `None` if badly encoded.
#[must_use]
pub fn parse_query(query: &str) -> Option<Vec<(String, String, bool)>> {
    let mut parameters = Vec::new();
    for piece in query.split('&').filter(|piece| !piece.is_empty()) {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        // In values of queries a plus sign is a space for some clients; S3 takes it for one.
        let value = value.replace('+', "%20");
        parameters.push((decode_path(name)?, decode_path(&value)?, piece.contains('=')));
    }
    Some(parameters)
}

/// Percent-encodes all but unreserved characters (RFC 3986 §2.3), and `/` if it is to be kept.
pub(crate) fn encode_into(out: &mut String, bytes: &[u8], keep_slash: bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let is_kept = |byte: &u8| match byte {
        b'-' | b'.' | b'_' | b'~' => true,
        b'/' => keep_slash,
        byte => byte.is_ascii_alphanumeric(),
    };
    let mut rest = bytes;
    loop {
        let (kept, after) = rest.split_at(rest.iter().take_while(|byte| is_kept(byte)).count());
        out.push_str(&String::from_utf8_lossy(kept));
        let Some((byte, after)) = after.split_first() else { return };
        out.push('%');
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
        rest = after;
    }
}

/// Percent-encodes a text.
pub(crate) fn encode(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    encode_into(&mut out, text.as_bytes(), keep_slash);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plus_is_literal_in_paths_and_a_space_in_query_values() {
        assert_eq!(decode_path("a+b%20c%2F").as_deref(), Some("a+b c/"));
        let query = parse_query("a=b+c&d&e=").expect("well formed");
        assert_eq!(query[0], ("a".into(), "b c".into(), true));
        assert_eq!(query[1], ("d".into(), String::new(), false));
        assert_eq!(query[2], ("e".into(), String::new(), true));
    }

    #[test]
    fn bad_encodings_are_refused() {
        for text in ["%", "%2", "%zz", "%ff", "a%"] {
            assert_eq!(decode_path(text), None, "{text}");
        }
    }

    proptest! {
        /// Goal: what is encoded decodes to itself.
        #[test]
        fn encoding_round_trips(text in ".*") {
            prop_assert_eq!(decode_path(&encode(&text, true)), Some(text.clone()));
            prop_assert_eq!(decode_path(&encode(&text, false)), Some(text));
        }
    }
}
