//! Text that others wrote, on its way into a log: cut, and without anything that ends a line or moves a
//! terminal's cursor.

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
            c if acts(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_escaped_and_what_is_long_is_cut() {
        assert_eq!(clean("a\r\nb\u{1b}[2J\u{85}é\u{2028}"), "a\\r\\nb\\u{1b}[2J\\u{85}é\\u{2028}");
        for long in ["x".repeat(5000), "é".repeat(5000), "\u{202e}".repeat(5000)] {
            let text = clean(&long);
            assert!(text.ends_with(CUT) && text.len() <= LEN_MAX + CUT.len(), "{}", text.len());
        }
    }
}
