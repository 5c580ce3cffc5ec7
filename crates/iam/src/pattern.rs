//! Patterns with wildcards and variables.
//!
//! `*` stands for any characters, `?` for one. In a document of version 2012-10-17, `${key}` stands for
//! the value of a condition key, `${key, 'default'}` has a value if the key has none, and `${*}`,
//! `${?}`, `${$}` are the characters themselves. Within a longer text, a name that another directory gives is
//! one part of a path: its slashes become `%2F`, and its percent signs `%25`.
//!
//! # Invariants
//!
//! - A match takes time in proportion to the sum of the lengths of pattern and text: both may come from a
//!   client. What stands between two stars is looked for from where the piece before it ended, each by an
//!   algorithm that never goes back. A piece with `?` takes a machine word for each 64 of its characters.
//! - A pattern does not grow without bound when variables are filled in.

use crate::facts::{FACT_LEN_BYTES_MAX, Facts};
use crate::keys::has_foreign_names;
use crate::work::Work;
use memchr::memmem;
use std::borrow::Cow;

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Any,
    One,
    Variable { key: String, default: Option<String> },
}

/// A pattern as a policy gives it. A policy may have thousands: they are small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// It stands for itself.
    Plain(Pattern),
    /// It has variables, or characters written as such.
    Filled(Box<Written>),
}

/// What has to be filled in before it is a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    text: String,
    pieces: Vec<Piece>,
}

/// A pattern without variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// Its characters; where a wildcard stands, that wildcard.
    text: Box<str>,
    /// Where in `text` the wildcards are: a variable may have brought characters that look like them.
    wildcards: Box<[u32]>,
}

/// Longer than any text that is matched: resource names, and values of condition keys. The rest of a
/// pattern with more characters than this is left out, since it matches nothing in any case.
const FILLED_LEN_MAX: usize = 2 * FACT_LEN_BYTES_MAX;

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
        if !with_variables || !text.contains("${") {
            return Self::Plain(Pattern::of(text));
        }
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(c) = rest.chars().next() {
            let special = match c {
                '*' => Some((Piece::Any, 1)),
                '?' => Some((Piece::One, 1)),
                '$' => variable(rest),
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
        Self::Filled(Box::new(Written { text: text.to_owned(), pieces }))
    }

    fn pieces(&self) -> &[Piece] {
        match self {
            Self::Plain(_) => &[],
            Self::Filled(written) => &written.pieces,
        }
    }

    /// Condition keys whose values it needs, in lower case.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces().iter().filter_map(|piece| match piece {
            Piece::Variable { key, .. } => Some(key.as_str()),
            _ => None,
        })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Plain(pattern) => &pattern.text,
            Self::Filled(written) => &written.text,
        }
    }

    /// Whether it has neither wildcards nor variables.
    pub(crate) fn is_fixed(&self) -> bool {
        match self {
            Self::Plain(pattern) => pattern.wildcards.is_empty(),
            Self::Filled(written) => {
                written.pieces.iter().all(|piece| matches!(piece, Piece::Literal(_)))
            }
        }
    }

    /// Whether each of its variables has a value.
    pub(crate) fn is_known(&self, facts: &Facts) -> bool {
        self.pieces().iter().all(|piece| match piece {
            Piece::Variable { key, default } => default.is_some() || facts.single(key).is_some(),
            _ => true,
        })
    }

    /// As [`Template::expand`], with what it costs counted.
    pub(crate) fn expand_within(&self, facts: &Facts, work: &Work) -> Option<Cow<'_, Pattern>> {
        let pattern = self.expand(facts);
        if let Some(Cow::Owned(pattern)) = &pattern {
            work.count(pattern.text.len());
        }
        pattern
    }

    /// Puts in the values of variables; `None` if one has none.
    pub(crate) fn expand(&self, facts: &Facts) -> Option<Cow<'_, Pattern>> {
        match self {
            Self::Plain(pattern) => Some(Cow::Borrowed(pattern)),
            Self::Filled(written) => fill(&written.pieces, facts).map(Cow::Owned),
        }
    }

    /// The text with the values of variables, wildcards being characters; `None` if one has none.
    pub(crate) fn expand_text(&self, facts: &Facts, work: &Work) -> Option<Cow<'_, str>> {
        Some(match self.expand_within(facts, work)? {
            Cow::Borrowed(pattern) => Cow::Borrowed(&*pattern.text),
            Cow::Owned(pattern) => Cow::Owned(pattern.text.into()),
        })
    }

    /// Bytes that it holds.
    pub(crate) fn weight(&self) -> usize {
        let of_pieces: usize = self.pieces().iter().map(Piece::weight).sum();
        match self {
            Self::Plain(pattern) => pattern.weight(),
            Self::Filled(written) => {
                size_of::<Self>() + size_of::<Written>() + written.text.capacity() + of_pieces
            }
        }
    }
}

impl Piece {
    fn weight(&self) -> usize {
        let of_text = match self {
            Self::Literal(text) => text.capacity(),
            Self::Variable { key, default } => {
                key.capacity() + default.as_ref().map_or(0, String::capacity)
            }
            Self::Any | Self::One => 0,
        };
        size_of::<Self>() + ALLOCATION_COST + of_text
    }
}

/// What an allocation costs beyond what was asked for.
pub(crate) const ALLOCATION_COST: usize = 16;

/// A name in which no slash begins a folder of someone else. Whom a policy gives `home/${jwt:sub}/*`, and
/// denies everything else, must have no place in common with others, whatever the name.
fn as_one_part(name: &str) -> Cow<'_, str> {
    match name.contains(['/', '%']) {
        true => name.replace('%', "%25").replace('/', "%2F").into(),
        false => name.into(),
    }
}

/// Puts pieces together; what has more characters than [`FILLED_LEN_MAX`] besides its wildcards is cut there.
fn fill(pieces: &[Piece], facts: &Facts) -> Option<Pattern> {
    let (mut text, mut wildcards) = (String::new(), Vec::new());
    for piece in pieces {
        let value = match piece {
            Piece::Literal(text) => Cow::Borrowed(text.as_str()),
            Piece::Any => "*".into(),
            Piece::One => "?".into(),
            Piece::Variable { key, default } => match facts.single(key) {
                Some(name) if pieces.len() > 1 && has_foreign_names(key) => as_one_part(name),
                Some(value) => value.into(),
                None => default.as_deref()?.into(),
            },
        };
        if text.len() - wildcards.len() > FILLED_LEN_MAX {
            continue;
        }
        if matches!(piece, Piece::Any | Piece::One) {
            wildcards.push(place(text.len()));
        }
        text.push_str(&value);
    }
    Some(Pattern { text: text.into(), wildcards: wildcards.into() })
}

fn place(at: usize) -> u32 {
    u32::try_from(at).expect("policies are below 4 GiB")
}

/// What a match costs, in bytes and words looked at.
type Steps = usize;

/// What stands between two stars.
#[derive(Clone, Copy)]
struct Segment<'a> {
    text: &'a str,
    /// Where a `?` stands for any character, counted from `base`.
    ones: &'a [u32],
    base: usize,
}

impl Segment<'_> {
    /// Its characters, `None` for any one.
    fn chars(&self) -> impl DoubleEndedIterator<Item = Option<char>> {
        let is_one = |at: usize| self.ones.binary_search(&place(self.base + at)).is_ok();
        let chars = self.text.char_indices();
        chars.map(move |(at, c)| if c == '?' && is_one(at) { None } else { Some(c) })
    }

    /// Length in bytes of what it matches at the start of `text`.
    fn at_start(&self, text: &str) -> Option<usize> {
        if self.ones.is_empty() {
            return text.starts_with(self.text).then_some(self.text.len());
        }
        let mut rest = text.chars();
        for wanted in self.chars() {
            let c = rest.next()?;
            if wanted.is_some_and(|wanted| wanted != c) {
                return None;
            }
        }
        Some(text.len() - rest.as_str().len())
    }

    /// Whether it matches at the end of `text`.
    fn at_end(&self, text: &str) -> bool {
        if self.ones.is_empty() {
            return text.ends_with(self.text);
        }
        let mut rest = text.chars().rev();
        self.chars().rev().all(|wanted| match (wanted, rest.next()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(wanted), Some(c)) => wanted == c,
        })
    }

    /// Where the first match in `text` ends.
    fn find(&self, text: &str, steps: &mut Steps) -> Option<usize> {
        // No character is shorter than a byte.
        if self.text.len() - self.ones.len() > text.len() || self.ones.len() > text.len() {
            return None;
        }
        if !self.ones.is_empty() {
            return self.find_by_words(text, steps);
        }
        let found = memmem::find(text.as_bytes(), self.text.as_bytes());
        let end = found.map(|at| at + self.text.len());
        *steps += self.text.len() + end.unwrap_or(text.len());
        end
    }

    /// The same for a segment with `?`: bit `n` of `state` says whether its first `n + 1` characters match
    /// up to here (Shift-And; Baeza-Yates and Gonnet, "A new approach to text searching", 1992).
    fn find_by_words(&self, text: &str, steps: &mut Steps) -> Option<usize> {
        let wanted: Vec<Option<char>> = self.chars().collect();
        if wanted.len() > text.len() {
            return None;
        }
        let mut alphabet: Vec<char> = wanted.iter().flatten().copied().collect();
        alphabet.sort_unstable();
        alphabet.dedup();
        let word_count = wanted.len().div_ceil(64);
        let bit = |at: usize| 1_u64 << (at % 64);
        let mut any = vec![0_u64; word_count];
        for (at, _) in wanted.iter().enumerate().filter(|(_, wanted)| wanted.is_none()) {
            any[at / 64] |= bit(at);
        }
        // The last row is for characters that do not occur in the segment.
        let mut masks = any.repeat(alphabet.len() + 1);
        for (at, wanted) in wanted.iter().enumerate() {
            if let Some(c) = wanted {
                let row = alphabet.binary_search(c).expect("it is of the segment");
                masks[row * word_count + at / 64] |= bit(at);
            }
        }
        let (mut state, last) = (vec![0_u64; word_count], wanted.len() - 1);
        *steps += self.text.len() + masks.len();
        for (at, c) in text.char_indices() {
            let row = alphabet.binary_search(&c).unwrap_or(alphabet.len());
            let mut carry = 1;
            let mask = &masks[row * word_count..][..word_count];
            for (word, mask) in state.iter_mut().zip(mask) {
                let shifted = *word << 1 | carry;
                carry = *word >> 63;
                *word = shifted & mask;
            }
            // Besides the words, the character is looked up.
            *steps += word_count + 4;
            if state[last / 64] >> (last % 64) & 1 == 1 {
                return Some(at + c.len_utf8());
            }
        }
        None
    }
}

impl Pattern {
    /// A pattern without variables.
    pub(crate) fn of(text: &str) -> Self {
        let wildcards = text.bytes().enumerate().filter(|(_, byte)| b"*?".contains(byte));
        Self { text: text.into(), wildcards: wildcards.map(|(at, _)| place(at)).collect() }
    }

    /// Bytes that it holds.
    pub(crate) fn weight(&self) -> usize {
        let of_wildcards = size_of_val(&*self.wildcards);
        size_of::<Self>() + 2 * ALLOCATION_COST + self.text.len() + of_wildcards
    }

    fn is_star(&self, wildcard: u32) -> bool {
        self.text.as_bytes()[wildcard as usize] == b'*'
    }

    /// The text before its star, if that is its only wildcard and stands at its end.
    fn before_last_star(&self) -> Option<&str> {
        match self.wildcards[..] {
            [at] if at as usize + 1 == self.text.len() => self.text.strip_suffix('*'),
            _ => None,
        }
    }

    /// What stands between its stars: one segment more than there are stars.
    fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let mut base = 0;
        self.wildcards
            .split_inclusive(|at| self.is_star(*at))
            .chain(
                // After a star at the end of the list, what follows has no wildcard.
                std::iter::once(&[][..])
                    .filter(|_| self.wildcards.last().is_none_or(|last| self.is_star(*last))),
            )
            .map(move |wildcards| {
                let (ones, end) = match wildcards.split_last() {
                    Some((star, ones)) if self.is_star(*star) => (ones, *star as usize),
                    _ => (wildcards, self.text.len()),
                };
                let segment = Segment { text: &self.text[base..end], ones, base };
                base = end + 1;
                segment
            })
    }

    /// Whether the whole of `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        if self.wildcards.is_empty() {
            return *self.text == *text;
        }
        match self.before_last_star() {
            Some(start) => text.starts_with(start),
            None => self.matches_counted(text, &mut 0),
        }
    }

    /// As [`Pattern::matches`], with what it costs counted.
    pub(crate) fn matches_within(&self, text: &str, work: &Work) -> bool {
        let mut steps = 0;
        let is_match = match self.wildcards.is_empty() {
            true => *self.text == *text,
            false => self.matches_counted(text, &mut steps),
        };
        work.count(steps);
        is_match
    }

    /// As [`Pattern::matches`], without regard to the case of ASCII letters.
    pub(crate) fn matches_ignoring_case(&self, text: &str) -> bool {
        if self.wildcards.is_empty() {
            return self.text.eq_ignore_ascii_case(text);
        }
        if let Some(start) = self.before_last_star() {
            let head = text.as_bytes().get(..start.len());
            return head.is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()));
        }
        // Lengths stay, and with them the places of wildcards.
        let (mut folded, text) = (self.clone(), text.to_ascii_lowercase());
        folded.text.make_ascii_lowercase();
        folded.matches_counted(&text, &mut 0)
    }

    fn matches_counted(&self, text: &str, steps: &mut Steps) -> bool {
        let mut segments = self.segments();
        let first = segments.next().expect("there is one segment more than stars");
        *steps += first.text.len().min(text.len());
        let Some(start) = first.at_start(text) else { return false };
        let Some(mut next) = segments.next() else { return start == text.len() };
        let mut rest = &text[start..];
        for following in segments {
            // As early as it can be: whatever follows has the most room then.
            if !next.text.is_empty() {
                let Some(end) = next.find(rest, steps) else { return false };
                rest = &rest[end..];
            }
            *steps += 1;
            next = following;
        }
        *steps += next.text.len().min(rest.len());
        next.at_end(rest)
    }

    /// Splits at colons, at most into `count` parts; wildcards do not stand for a colon.
    pub(crate) fn split_colons(&self, count: usize) -> Vec<Pattern> {
        let (mut base, mut wildcards) = (0, self.wildcards.iter().peekable());
        let parts = self.text.splitn(count, ':');
        parts
            .map(|part| {
                let end = base + part.len();
                let mut own = Vec::new();
                while let Some(at) = wildcards.next_if(|at| (**at as usize) < end) {
                    own.push(*at - place(base));
                }
                base = end + 1;
                Pattern { text: part.into(), wildcards: own.into() }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(template: &str, text: &str) -> bool {
        let mut facts = Facts::new();
        facts.add("aws:username", "b*b").add("aws:groups", "x").add("aws:groups", "y");
        Template::parse(template, true).expand(&facts).is_some_and(|p| p.matches(text))
    }

    /// Goal: no name of another directory reaches into the folder of another name, nor is outside of its own,
    /// whatever characters it has.
    #[test]
    fn a_name_of_another_directory_is_one_part_of_a_path() {
        let filled = |template: &str, key: &str, name: &str| {
            let mut facts = Facts::new();
            facts.add(key, name);
            let template = Template::parse(template, true);
            let pattern = template.expand(&facts).expect("it has a value");
            assert_eq!(pattern.wildcards.len(), template.text().matches('*').count());
            pattern.text.to_string()
        };
        let keys = [
            "jwt:sub",
            "jwt:preferred_username",
            "ldap:username",
            "ldap:user",
            "aws:userid",
            "login.example.com/realm:sub",
        ];
        for key in keys {
            let folder = format!("arn:aws:s3:::home/${{{key}}}/*");
            for (name, part) in [
                ("a/b", "a%2Fb"),
                ("/", "%2F"),
                ("../a", "..%2Fa"),
                ("a%2Fb", "a%252Fb"),
                ("a*?", "a*?"),
                ("ana", "ana"),
            ] {
                assert_eq!(filled(&folder, key, name), format!("arn:aws:s3:::home/{part}/*"));
                // Compared as a whole, it is what it is.
                assert_eq!(filled(&format!("${{{key}}}"), key, name), name);
            }
        }
        for key in ["jwt:groups", "aws:PrincipalTag/path", "s3:prefix"] {
            assert_eq!(filled(&format!("x/${{{key}}}"), key, "a/b"), "x/a/b");
        }
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

    /// What a pattern means, in the plainest way.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some((&'*', rest)), Some((_, later))) => naive(rest, text) || naive(pattern, later),
            (Some((&'*', rest)), None) => naive(rest, text),
            (Some((_, _)), None) => false,
            (Some((&'?', rest)), Some((_, later))) => naive(rest, later),
            (Some((wanted, rest)), Some((c, later))) => wanted == c && naive(rest, later),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        /// Goal: the fast way means the same as the plain one. Method: short patterns and texts of few
        /// characters, of one to four bytes, so that many match and many nearly do.
        #[test]
        fn matches_as_the_naive_matcher(pattern in "[ab*?ü𝄞]{0,9}", text in "[abü𝄞]{0,12}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let wanted = naive(&chars(&pattern), &chars(&text));
            prop_assert_eq!(Pattern::of(&pattern).matches(&text), wanted);
            let folded = Pattern::of(&pattern).matches_ignoring_case(&text.to_ascii_uppercase());
            prop_assert_eq!(folded, wanted);
        }

        /// Goal: splitting keeps what wildcards are. Method: matching the parts is matching the whole.
        #[test]
        fn parts_match_as_the_whole(parts in prop::collection::vec("[a*?ü]{0,4}", 1..5)) {
            let split = Pattern::of(&parts.join(":")).split_colons(parts.len());
            let whole: Vec<_> = parts.iter().map(|part| Pattern::of(part)).collect();
            prop_assert_eq!(split, whole);
        }
    }

    /// Goal: no pattern takes time in proportion to the product of the lengths. Method: the worst that
    /// fit into a policy, on texts as long as a value may be; bytes and words are counted, not time.
    #[test]
    fn the_worst_patterns_take_linear_time() {
        let text_len = FACT_LEN_BYTES_MAX;
        let runs = |unit: &str, len: usize| unit.repeat(len / unit.len());
        let pattern_len = 20 << 10;
        let patterns = [
            format!("*{}b", "a".repeat(text_len / 2)),
            format!("*{}b*", "a".repeat(text_len / 2)),
            format!("*{}?b*", "a".repeat(text_len / 2)),
            format!("*{}b*", runs("a?", text_len / 2)),
            format!("*{}b*", runs("?", text_len - 1)),
            runs("*a", pattern_len),
            runs("*a?", pattern_len),
            runs("*?", pattern_len),
            runs("*aaaaaaaa?aaaaaaaab", pattern_len),
            format!("{}b*", runs("*aaaaaaaaaaaaaaaa", pattern_len)),
            format!("*{}", runs("ab?ü", text_len / 2)),
        ];
        let texts = ["a", "ab", "ü", "aü", "aaaaaaab"].map(|unit| runs(unit, text_len));
        for pattern in &patterns {
            for text in &texts {
                let mut steps = 0;
                Pattern::of(pattern).matches_counted(text, &mut steps);
                // A word for each 64 characters of the longest segment with `?`.
                let allowed = 4 * (pattern.len() + text.len()) * (1 + text_len / 64 / 4);
                let allowed =
                    if pattern.contains('?') { allowed } else { 2 * (pattern.len() + text.len()) };
                assert!(steps <= allowed, "{} on {}: {steps}", &pattern[..20], &text[..8]);
            }
        }
    }

    /// Goal: a variable that stands a thousand times does not make a pattern of megabytes.
    #[test]
    fn a_filled_pattern_is_bounded() {
        let mut facts = Facts::new();
        facts.add("aws:useragent", "a".repeat(FACT_LEN_BYTES_MAX));
        let template = Template::parse(&"${aws:useragent}*".repeat(1000), true);
        let pattern = template.expand(&facts).expect("a value");
        assert!(pattern.text.len() <= FILLED_LEN_MAX + FACT_LEN_BYTES_MAX + 1000);
        assert!(!pattern.matches(&"a".repeat(FACT_LEN_BYTES_MAX)));
        assert!(
            Template::parse("${aws:useragent}*", true)
                .expand(&facts)
                .expect("a value")
                .matches(&"a".repeat(FACT_LEN_BYTES_MAX))
        );
    }
}
