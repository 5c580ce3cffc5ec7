//! Text beyond ASCII in the headers of answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// Bytes of text in an encoded word: with what stands around them, a word has 75 characters at most (RFC
/// 2047, section 2).
const WORD_LEN_MAX: usize = 45;

/// A value as it stands in a header: printable text as it is, other text as encoded words (RFC 2047), which
/// S3 answers for metadata that was sent in UTF-8 (S3 user guide, "Working with object metadata"). Clients
/// that take headers for ASCII would otherwise not be able to read the object at all.
pub(crate) fn encoded(value: &str) -> Cow<'_, str> {
    if value.is_ascii() {
        return Cow::Borrowed(value);
    }
    let mut words = Vec::new();
    let mut rest = value;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.floor_char_boundary(WORD_LEN_MAX));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = behind;
    }
    Cow::Owned(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_text_beyond_ascii_is_encoded() {
        assert_eq!(encoded("plain =?text?="), "plain =?text?=");
        assert_eq!(encoded("ÄMÄZÕÑ S3"), "=?UTF-8?B?w4RNw4Raw5XDkSBTMw==?=");
    }

    proptest! {
        /// Words are short, and read back they are the text.
        #[test]
        fn words_are_read_back(text in "[a-zé\u{4e2d}\u{1f600} ]{0,200}é") {
            let mut read = Vec::new();
            for word in encoded(&text).split(' ') {
                prop_assert!(word.len() <= 75);
                let inner = word.strip_prefix("=?UTF-8?B?").and_then(|word| word.strip_suffix("?="));
                read.extend(STANDARD.decode(inner.expect("a word")).expect("base64"));
            }
            prop_assert_eq!(String::from_utf8(read).expect("whole characters"), text);
        }
    }
}
