//! Patterns with wildcards and variables.
//!
//! `*` stands for any characters, `?` for one. In a document of version 2012-10-17, `${key}` stands for
//! the value of a condition key, `${key, 'default'}` has a value if the key has none, and `${*}`,
//! `${?}`, `${$}` are the characters themselves.

use crate::facts::Facts;
use std::borrow::Cow;

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Any,
    One,
    Variable { key: String, default: Option<String> },
}

/// A pattern as a policy gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
    pieces: Vec<Piece>,
    /// What it always is, if it has no variables.
    fixed: Option<Pattern>,
}

/// A character of a pattern whose variables have their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    Char(char),
    Any,
    One,
}

/// A pattern without variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    symbols: Vec<Symbol>,
    /// Most patterns are a text, or a text with a star at its end: the text, and whether there is one.
    plain: Option<(String, bool)>,
}

/// Reads `${…}` at the start of `text`; returns the piece and its length.
fn variable(text: &str) -> Option<(Piece, usize)> {
    let inner = text.strip_prefix("${")?;
    let end = inner.find('}')?;
    let (name, len) = (&inner[..end], end + 3);
    if let "*" | "?" | "$" = name {
        return Some((Piece::Literal(name.to_owned()), len));
    }
    let (key, default) = match name.split_once(',') {
        Some((key, default)) => {
            let default = default.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (key.trim(), Some(default.to_owned()))
        }
        None => (name.trim(), None),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_:/.+=@".contains(c);
    let is_key = key.contains(':') && key.chars().all(plain);
    is_key.then(|| (Piece::Variable { key: key.to_ascii_lowercase(), default }, len))
}

impl Template {
    /// Parses a pattern; `with_variables` as the version of its document says. What looks like a
    /// variable but is none stands for itself.
    pub(crate) fn parse(text: &str, with_variables: bool) -> Self {
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(c) = rest.chars().next() {
            let special = match c {
                '*' => Some((Piece::Any, 1)),
                '?' => Some((Piece::One, 1)),
                '$' if with_variables => variable(rest),
                _ => None,
            };
            match special {
                Some((Piece::Literal(text), len)) => {
                    literal.push_str(&text);
                    rest = &rest[len..];
                }
                Some((piece, len)) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(piece);
                    rest = &rest[len..];
                }
                None => {
                    literal.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        let mut template = Self { text: text.to_owned(), pieces, fixed: None };
        if template.variables().next().is_none() {
            template.fixed = template.fill(&Facts::new());
        }
        template
    }

    /// Condition keys whose values it needs, in lower case.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { key, .. } => Some(key.as_str()),
            _ => None,
        })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it has neither wildcards nor variables.
    pub(crate) fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Literal(_)))
    }

    /// Puts in the values of variables; `None` if one has none.
    pub(crate) fn expand(&self, facts: &Facts) -> Option<Cow<'_, Pattern>> {
        match &self.fixed {
            Some(pattern) => Some(Cow::Borrowed(pattern)),
            None => self.fill(facts).map(Cow::Owned),
        }
    }

    fn fill(&self, facts: &Facts) -> Option<Pattern> {
        let mut symbols = Vec::with_capacity(self.text.len());
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => symbols.extend(text.chars().map(Symbol::Char)),
                Piece::Any => symbols.push(Symbol::Any),
                Piece::One => symbols.push(Symbol::One),
                Piece::Variable { key, default } => {
                    let value = facts.single(key).or(default.as_deref())?;
                    symbols.extend(value.chars().map(Symbol::Char));
                }
            }
        }
        Some(Pattern::new(symbols))
    }

    /// The text with the values of variables, wildcards being characters; `None` if one has none.
    pub(crate) fn expand_text(&self, facts: &Facts) -> Option<String> {
        let pattern = self.expand(facts)?;
        let symbols = pattern.symbols.iter();
        Some(
            symbols
                .map(|symbol| match symbol {
                    Symbol::Char(c) => *c,
                    Symbol::Any => '*',
                    Symbol::One => '?',
                })
                .collect(),
        )
    }
}

impl Pattern {
    /// A pattern without variables.
    pub(crate) fn of(text: &str) -> Self {
        let symbol = |c| match c {
            '*' => Symbol::Any,
            '?' => Symbol::One,
            other => Symbol::Char(other),
        };
        Self::new(text.chars().map(symbol).collect())
    }

    fn new(symbols: Vec<Symbol>) -> Self {
        let (text, has_star) = match symbols.split_last() {
            Some((Symbol::Any, rest)) => (rest, true),
            _ => (&symbols[..], false),
        };
        let chars = text.iter().map(|symbol| match symbol {
            Symbol::Char(c) => Some(*c),
            Symbol::Any | Symbol::One => None,
        });
        let plain = chars.collect::<Option<String>>().map(|text| (text, has_star));
        Self { symbols, plain }
    }

    /// Whether the whole of `text` matches. Takes time in proportion to the product of the lengths.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match &self.plain {
            Some((start, true)) => text.starts_with(start.as_str()),
            Some((whole, false)) => text == whole,
            None => self.matches_with(text, |a, b| a == b),
        }
    }

    /// As [`Pattern::matches`], without regard to case.
    pub(crate) fn matches_ignoring_case(&self, text: &str) -> bool {
        match &self.plain {
            Some((plain, has_star)) if plain.is_ascii() && text.is_ascii() => {
                let start = if *has_star { text.get(..plain.len()) } else { Some(text) };
                start.is_some_and(|start| start.eq_ignore_ascii_case(plain))
            }
            _ => self.matches_with(text, |a, b| a == b || a.to_lowercase().eq(b.to_lowercase())),
        }
    }

    fn matches_with(&self, text: &str, same: impl Fn(char, char) -> bool) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut s) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.symbols.get(s) {
                Some(Symbol::Any) => {
                    retry = Some((s + 1, at));
                    s += 1;
                    continue;
                }
                Some(Symbol::One) => {
                    (s, at) = (s + 1, at + 1);
                    continue;
                }
                Some(Symbol::Char(c)) if same(*c, text[at]) => {
                    (s, at) = (s + 1, at + 1);
                    continue;
                }
                _ => {}
            }
            let Some((after, from)) = retry else { return false };
            (s, at) = (after, from + 1);
            retry = Some((after, from + 1));
        }
        self.symbols[s..].iter().all(|symbol| *symbol == Symbol::Any)
    }

    /// Splits at colons, at most into `count` parts; wildcards do not stand for a colon.
    pub(crate) fn split_colons(&self, count: usize) -> Vec<Pattern> {
        let parts = self.symbols.splitn(count, |symbol| *symbol == Symbol::Char(':'));
        parts.map(|part| Pattern::new(part.to_vec())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(template: &str, text: &str) -> bool {
        let mut facts = Facts::new();
        facts.add("aws:username", "b*b").add("aws:groups", "x").add("aws:groups", "y");
        Template::parse(template, true).expand(&facts).is_some_and(|p| p.matches(text))
    }

    #[test]
    fn wildcards() {
        for (template, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("*", "a/b:c", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*a*b*", "xxaxxbxx", true),
            ("?", "ü", true),
            ("?", "", false),
            ("a?c*", "abc", true),
            ("**", "x", true),
            ("A", "a", false),
        ] {
            assert_eq!(matches(template, text), expected, "{template} on {text}");
        }
    }

    #[test]
    fn variables() {
        for (template, text, expected) in [
            ("home/${aws:username}/*", "home/b*b/x", true),
            ("home/${aws:username}/*", "home/bob/x", false),
            ("home/${AWS:UserName}", "home/b*b", true),
            ("${aws:groups}", "x", false),
            ("${aws:missing}", "", false),
            ("${aws:missing, 'none'}", "none", true),
            ("${*}${?}${$}", "*?$", true),
            ("${*}", "abc", false),
            ("${not a key}", "${not a key}", true),
            ("${", "${", true),
        ] {
            assert_eq!(matches(template, text), expected, "{template} on {text}");
        }
        assert_eq!(Template::parse("${aws:username}", false).text(), "${aws:username}");
        let template = Template::parse("${aws:username}", false);
        let plain = template.expand(&Facts::new());
        assert!(plain.expect("no variables").matches("${aws:username}"));
    }

    #[test]
    fn a_hostile_pattern_ends_in_time() {
        let pattern = Pattern::of(&"*a".repeat(200));
        assert!(!pattern.matches(&"a".repeat(199)));
        assert!(!pattern.matches(&"ab".repeat(2000)));
    }
}
