//! Names that clients choose.

use crate::limits::KEY_LEN_BYTES_MAX;
use std::fmt;

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a bucket name that S3 allows, with the rule that it breaks.
    #[error("not a valid bucket name: {0}")]
    Bucket(&'static str),
    /// The name belongs to the server itself.
    #[error("the bucket name is reserved")]
    BucketReserved,
    /// A key of more than 1,024 bytes.
    #[error("key of {len_bytes} bytes is too long")]
    KeyTooLong {
        /// Length of the key that was sent.
        len_bytes: usize,
    },
    /// An empty key, or one with a NUL byte.
    #[error("not a valid object key")]
    Key,
}

/// Name of a bucket as a client sent it.
///
/// Any short text can be looked up ([`BucketName::lookup`]); only names by the rules of S3 can be
/// created ([`BucketName::create`]).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

/// First segments of paths that the server answers itself, and `.minio.sys`. A bucket that an older version
/// made under such a name is reached by its host.
const RESERVED: [&str; 6] =
    ["minio", "drystone", ".drystone", "metrics", "v20180820", ".minio.sys"];
const PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
const SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--table-s3", "--x-s3"];

impl BucketName {
    /// Accepts a name for looking a bucket up: 1 to 255 bytes without `/` and control characters.
    ///
    /// # Errors
    ///
    /// [`NameError::Bucket`] for anything else.
    pub fn lookup(name: &str) -> Result<Self, NameError> {
        let fits = (1..=255).contains(&name.len());
        if !fits || name.chars().any(|c| c == '/' || c.is_control()) {
            return Err(NameError::Bucket(
                "a name has 1 to 255 bytes, without / and control characters",
            ));
        }
        Ok(Self(name.to_owned()))
    }

    /// Checks a name for a new bucket (S3 user guide, "General purpose bucket naming rules").
    ///
    /// # Errors
    ///
    /// [`NameError::BucketReserved`] for names of the server itself, else [`NameError::Bucket`].
    pub fn create(name: &str) -> Result<Self, NameError> {
        if RESERVED.contains(&name) {
            return Err(NameError::BucketReserved);
        }
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let rules = [
            ((3..=63).contains(&name.len()), "a name has 3 to 63 characters"),
            (
                name.chars().all(|c| alphanumeric(c) || c == '-' || c == '.'),
                "a name has lower-case letters, digits, '-' and '.' only",
            ),
            (
                name.starts_with(alphanumeric) && name.ends_with(alphanumeric),
                "a name begins and ends with a letter or a digit",
            ),
            (
                !["..", ".-", "-."].iter().any(|pair| name.contains(pair)),
                "a '.' has no '.' or '-' beside it",
            ),
            (name.parse::<std::net::Ipv4Addr>().is_err(), "a name is no IP address"),
            (
                !PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
                "names do not begin with xn--, sthree- or amzn-s3-demo-",
            ),
            (
                !SUFFIXES.iter().any(|suffix| name.ends_with(suffix)),
                "names do not end with -s3alias, --ol-s3, .mrap, --table-s3 or --x-s3",
            ),
        ];
        match rules.iter().find(|(is_kept, _)| !is_kept) {
            None => Ok(Self(name.to_owned())),
            Some((_, rule)) => Err(NameError::Bucket(rule)),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for BucketName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Key of an object: 1 to 1,024 bytes of UTF-8 without NUL, never cleaned or changed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks a key.
    ///
    /// # Errors
    ///
    /// [`NameError::KeyTooLong`], or [`NameError::Key`] for an empty key or one with a NUL.
    pub fn new(key: &str) -> Result<Self, NameError> {
        if key.len() > KEY_LEN_BYTES_MAX {
            return Err(NameError::KeyTooLong { len_bytes: key.len() });
        }
        if key.is_empty() || key.contains('\0') {
            return Err(NameError::Key);
        }
        Ok(Self(key.to_owned()))
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes by which keys are ordered.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, ok: bool) {
        assert_eq!(BucketName::create(name).is_ok(), ok, "{name}");
    }

    #[test]
    fn bucket_names_follow_the_published_rules() {
        for name in ["abc", "a1-b.c3", "123", &"a".repeat(63)] {
            check(name, true);
        }
        let long = "a".repeat(64);
        for name in [
            "",
            "ab",
            &long,
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "a..b",
            "a.-b",
            "a-.b",
            "10.0.0.1",
            "xn--abc",
            "sthree-a",
            "a-s3alias",
            "a--ol-s3",
            "a--x-s3",
            "a b",
            "é-abc",
        ] {
            check(name, false);
        }
    }

    #[test]
    fn names_of_the_server_are_reserved() {
        for name in RESERVED {
            assert_eq!(BucketName::create(name), Err(NameError::BucketReserved), "{name}");
        }
    }

    #[test]
    fn keys_are_measured_in_bytes() {
        assert!(ObjectKey::new(&"é".repeat(512)).is_ok());
        assert_eq!(
            ObjectKey::new(&"é".repeat(513)),
            Err(NameError::KeyTooLong { len_bytes: 1026 })
        );
        assert_eq!(ObjectKey::new(""), Err(NameError::Key));
        assert_eq!(ObjectKey::new("a\0b"), Err(NameError::Key));
    }
}
