//! The headers of a request, read from their bytes in one place.
//!
//! A header that changes what a request does is one line of printable text, or the lines of a list, which
//! are one list (RFC 9110, section 5.3); what else comes under its name is refused with its name before
//! anything is read. Whether a value means anything is asked of all headers that an operation knows, see
//! [`check`].

mod rules;
pub(crate) mod values;
mod words;

pub(crate) use rules::{KEPT, check};
pub(crate) use words::encoded;

use crate::error::S3Error;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Among up to so many headers a name is looked for one by one.
const FEW: usize = 32;

/// Headers, each name once, and a summary of their names. Each request is asked for dozens that it does not
/// have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    map: HeaderMap,
    /// The bits of the names that are there: without its bit, a name is not. See [`bit`].
    names: u64,
    /// Those that came in several lines, which are joined by commas here, as signatures join them.
    repeated: Vec<HeaderName>,
}

/// One of 64 bits of a name, found without a look at all of it.
fn bit(name: &str) -> u64 {
    let last = name.as_bytes().last().copied().unwrap_or_default();
    1 << ((5 * name.len() + usize::from(last)) % 64)
}

impl Headers {
    /// The bytes of a header. `name` is in lower case.
    fn value(&self, name: &str) -> Option<&HeaderValue> {
        if self.names & bit(name) == 0 {
            return None;
        }
        // To look through a few names costs less than to check and hash one.
        match self.map.len() > FEW {
            true => self.map.get(name),
            false => self.map.iter().find(|(n, _)| n.as_str() == name).map(|(_, value)| value),
        }
    }

    /// The bytes of a header, for logs and signatures. `name` is in lower case.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.value(name).map(HeaderValue::as_bytes)
    }

    /// A header that is printable text. `name` is in lower case.
    pub(crate) fn printable(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(printable)
    }

    /// A header that is text of any kind, bytes beyond ASCII taken for UTF-8. `name` is in lower case.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.value(name).map(text_of)
    }

    /// Whether a header is there. `name` is in lower case.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The names of all, in lower case.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(HeaderName::as_str)
    }

    /// Names, in lower case, and values of all, as text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, String)> {
        self.map.iter().map(|(name, value)| (name.as_str(), text_of(value)))
    }

    /// Names and values of the user's metadata.
    pub(crate) fn metadata(&self) -> impl Iterator<Item = (String, String)> {
        let name_of = |name: &str| name.strip_prefix(rules::METADATA).map(str::to_owned);
        self.texts().filter_map(move |(name, value)| Some((name_of(name)?, value)))
    }

    /// Those that came in several lines.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = &str> {
        self.repeated.iter().map(HeaderName::as_str)
    }

    /// Those whose names are kept, alone.
    pub(crate) fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = self.map.iter().filter(|(name, _)| keep(name.as_str()));
        let kept = kept.map(|(name, value)| (name.clone(), value.clone()));
        kept.collect::<HeaderMap>().into()
    }

    /// All of them, without the summary.
    pub(crate) fn into_map(self) -> HeaderMap {
        self.map
    }

    /// Sets a header in the place of one of the same name, which is told. `None` if this is no header.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Option<bool> {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        self.names |= bit(name.as_str());
        self.repeated.retain(|known| *known != name);
        Some(self.map.insert(name, value).is_some())
    }

    /// Refuses headers that change what the request does and are not printable, or come in several lines
    /// though they are no lists; and those that are kept with an object but are no text. Nothing is read of a
    /// request before this was asked.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, with the name of the header.
    pub(crate) fn check_lines(&self) -> Result<(), S3Error> {
        for (name, value) in &self.map {
            // Nearly all are: that is asked first.
            if printable(value).is_some() {
                continue;
            }
            let name = name.as_str();
            if rules::is_read(name) {
                return Err(S3Error::argument(name, "", "The header is not printable ASCII."));
            }
            if rules::is_kept(name) && std::str::from_utf8(value.as_bytes()).is_err() {
                return Err(S3Error::argument(name, "", "The header is not valid UTF-8."));
            }
        }
        match self.repeated().find(|name| rules::is_single(name)) {
            Some(name) => Err(S3Error::argument(name, "", "The header is given twice.")),
            None => Ok(()),
        }
    }
}

/// The text of a header, if it is printable.
pub(crate) fn printable(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

fn text_of(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

impl From<HeaderMap> for Headers {
    fn from(mut map: HeaderMap) -> Self {
        let names = map.keys().fold(0, |names, name| names | bit(name.as_str()));
        let mut repeated = Vec::new();
        if map.len() > map.keys_len() {
            let is_repeated = |name: &&HeaderName| map.get_all(*name).iter().nth(1).is_some();
            repeated = map.keys().filter(is_repeated).cloned().collect();
        }
        for name in &repeated {
            let lines = map.get_all(name).iter().map(|line| line.as_bytes().trim_ascii());
            let joined = lines.collect::<Vec<_>>().join(&b","[..]);
            let joined = HeaderValue::from_bytes(&joined).expect("values and commas are a value");
            map.insert(name, joined);
        }
        Self { map, names, repeated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: few headers and many are looked through to the same end. Method: more and more of them, with one
    /// given twice.
    #[test]
    fn headers_are_found_among_few_and_many() {
        for count in [0, FEW - 3, FEW - 2, FEW - 1, 100] {
            let mut map = HeaderMap::new();
            for value in ["first", " second "] {
                map.append("x-amz-acl", HeaderValue::from_static(value));
            }
            let name_of = |number: usize| format!("x-amz-n-{number}");
            for number in 0..count {
                let name: HeaderName = name_of(number).parse().expect("a name");
                map.insert(name, HeaderValue::from(number));
            }
            let mut headers = Headers::from(map);
            assert_eq!(headers.printable("x-amz-acl"), Some("first,second"));
            assert_eq!(headers.repeated().collect::<Vec<_>>(), ["x-amz-acl"]);
            assert_eq!(headers.printable("x-amz-date"), None);
            assert_eq!(headers.set("x-amz-date", "now"), Some(false));
            assert_eq!(headers.printable("x-amz-date"), Some("now"));
            for number in 0..=count {
                let found = headers.text(&name_of(number));
                assert_eq!(found, (number < count).then(|| number.to_string()));
            }
        }
    }

    /// Goal: what is no list is refused in two lines, what is one is joined, what cannot be read is named.
    #[test]
    fn lines_are_joined_or_refused() {
        let check = |name: &'static str, lines: &[&[u8]]| {
            let mut map = HeaderMap::new();
            for line in lines {
                map.append(name, HeaderValue::from_bytes(line).expect("a value"));
            }
            let headers = Headers::from(map);
            headers.check_lines().map(|()| headers.text(name)).map_err(|error| error.code)
        };
        let refused = Err(crate::error::S3Code::InvalidArgument);
        assert_eq!(check("content-encoding", &[b"gzip", b"aws-chunked"]), {
            Ok(Some("gzip,aws-chunked".to_owned()))
        });
        assert_eq!(check("x-amz-meta-a", &[b"1", b"2"]), Ok(Some("1,2".to_owned())));
        assert_eq!(check("if-match", &[b"a", b"b"]), Ok(Some("a,b".to_owned())));
        assert_eq!(check("x-amz-meta-a", &["ü".as_bytes()]), Ok(Some("ü".to_owned())));
        for name in ["content-type", "expires", "content-md5", "x-amz-acl", "x-amz-new"] {
            assert_eq!(check(name, &[b"a", b"a"]), refused, "{name}");
        }
        for name in ["x-amz-meta-a", "content-type", "if-match", "x-amz-new", "x-minio-new"] {
            assert_eq!(check(name, &[b"\xff"]), refused, "{name}");
        }
        assert_eq!(check("if-match", &["ü".as_bytes()]), refused);
        assert_eq!(check("user-agent", &[b"\xff"]), Ok(Some("\u{fffd}".to_owned())));
    }
}
