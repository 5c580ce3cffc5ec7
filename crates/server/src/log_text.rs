//! Text that others wrote, on its way into a log or to a terminal: without anything that moves the cursor or
//! turns the direction of writing. In a log it is cut, and ends no line.

use std::fmt::Write;

/// Bytes of a text in a log at most; what is behind them is left out.
pub(crate) const LEN_MAX: usize = 1 << 10;

/// Marks a text that was cut.
const CUT: &str = "…";

/// Whether a character would act instead of being seen: controls, separators of lines, and marks that turn
/// the direction of writing.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text as it may stand in a log.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LEN_MAX));
    for c in text.chars() {
        if out.len() + 10 > LEN_MAX {
            out.push_str(CUT);
            break;
        }
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => push_visible(&mut out, c),
        }
    }
    out
}

fn push_visible(out: &mut String, c: char) {
    match acts(c) {
        true => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        false => out.push(c),
    }
}

/// A text of several lines as it may be shown on a terminal. A field of it that others wrote is [`clean`]
/// already: here its ends of lines could not be told from those of the text.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' if rest.peek() == Some(&'\n') => out.push(c),
            c => push_visible(&mut out, c),
        }
    }
    out
}

/// A JSON document in which nothing acts on a terminal that shows it: what does is in a text, where it may be
/// written as an escape.
pub(crate) fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if !acts(c) || matches!(c, '\n' | '\r' | '\t') {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_the_same_and_nothing_in_it_acts() {
        let all: String = (0..=u32::from(char::MAX)).filter_map(char::from_u32).collect();
        let document = serde_json::to_string(&all).expect("a text");
        let escaped = escaped(&document);
        assert!(!escaped.chars().any(acts));
        assert_eq!(serde_json::from_str::<String>(&escaped).expect("JSON"), all);
        assert_eq!(super::escaped("{\n\t\"a\": 1\r\n}"), "{\n\t\"a\": 1\r\n}");
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown_and_lines_stay() {
        let text = "{\n\t\"a\": é\r\n}\n";
        assert_eq!(visible(text), text);
        let bare = visible("a\rb\u{1b}[2J\u{9b}2J\u{7}\u{202e}\u{2028}");
        assert_eq!(bare, "a\\u{d}b\\u{1b}[2J\\u{9b}2J\\u{7}\\u{202e}\\u{2028}");
        let all: String = ('\0'..=char::MAX).filter(|c| !matches!(c, '\n' | '\t')).collect();
        assert!(!visible(&all).contains(acts) && !clean(&all).contains(acts));
    }

    #[test]
    fn what_acts_is_escaped_and_what_is_long_is_cut() {
        assert_eq!(clean("a\r\nb\u{1b}[2J\u{85}é\u{2028}"), "a\\r\\nb\\u{1b}[2J\\u{85}é\\u{2028}");
        for long in ["x".repeat(5000), "é".repeat(5000), "\u{202e}".repeat(5000)] {
            let text = clean(&long);
            assert!(text.ends_with(CUT) && text.len() <= LEN_MAX + CUT.len(), "{}", text.len());
        }
    }
}
