//! What can be said of a certificate and its key before clients refuse them: whether it is its time, and who
//! can read the key.
//!
//! # Not here
//!
//! Whether the two belong together, which rustls finds out.

use drystone_base::Timestamp;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    /// First moment.
    pub(super) from: Timestamp,
    /// Last moment.
    pub(super) until: Timestamp,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Takes one value of DER (ITU-T X.690, 8.1): its tag, its content, and what follows.
fn take(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (len, rest) = match usize::from(first) {
        len @ 0..0x80 => (len, rest),
        count => {
            let (digits, rest) = rest.split_at_checked(count & 0x7f)?;
            let len = digits
                .iter()
                .try_fold(0_usize, |len, byte| Some(len.checked_mul(256)? + usize::from(*byte)));
            (len?, rest)
        }
    };
    let (content, after) = rest.split_at_checked(len)?;
    Some((tag, content, after))
}

/// As [`take`], for a value that must have a tag.
fn take_a(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    take(der).filter(|(tag, ..)| *tag == wanted).map(|(_, content, after)| (content, after))
}

/// A time: `YYMMDDHHMMSSZ`, of which the century is known (RFC 5280, 4.1.2.5.1), or with four digits.
fn time((tag, content): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(content).ok()?;
    let full = match tag {
        UTC_TIME if text < "5" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |range: std::ops::Range<usize>| full.get(range);
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    Timestamp::parse_iso(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

/// When a certificate in DER is valid (RFC 5280, 4.1); `None` for one that has another form.
pub(super) fn validity(der: &[u8]) -> Option<Validity> {
    let (certificate, _) = take_a(der, SEQUENCE)?;
    let (mut rest, _) = take_a(certificate, SEQUENCE)?;
    if let Some((_, after)) = take_a(rest, VERSION) {
        rest = after;
    }
    let (_serial, rest) = take_a(rest, INTEGER)?;
    let (_algorithm, rest) = take_a(rest, SEQUENCE)?;
    let (_issuer, rest) = take_a(rest, SEQUENCE)?;
    let (times, _) = take_a(rest, SEQUENCE)?;
    let (first_tag, first, rest) = take(times)?;
    let (last_tag, last, _) = take(rest)?;
    Some(Validity { from: time((first_tag, first))?, until: time((last_tag, last))? })
}

/// What is wrong with the time of a certificate, in words; nothing if nothing is.
pub(super) fn fault_of_time(der: &[u8], now: Timestamp) -> Option<String> {
    let Validity { from, until } = validity(der)?;
    if now > until {
        return Some(format!("expired at {}", until.to_iso()));
    }
    (now < from).then(|| format!("is not valid before {}", from.to_iso()))
}

/// Whether the key of a certificate can be read by other users of the machine.
pub(super) fn is_open_to_others(key: &Path) -> bool {
    key.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// Whether a key in PEM needs a password (RFC 7468, 11, and the older form of OpenSSL).
pub(super) fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(validity: Option<Validity>) -> Option<(String, String)> {
        validity.map(|valid| (valid.from.to_iso(), valid.until.to_iso()))
    }

    /// The beginning of a certificate with some times.
    fn certificate(times: &[u8], version: &[u8]) -> Vec<u8> {
        let wrap = |content: &[u8]| [&[SEQUENCE, content.len() as u8][..], content].concat();
        let body = [version, &[2, 1, 5], &wrap(&[]), &wrap(&[]), &wrap(times)].concat();
        wrap(&wrap(&body))
    }

    #[test]
    fn both_forms_of_times_are_read() {
        let utc = b"\x17\x0d250102030405Z\x17\x0d500102030405Z";
        let want = ("2025-01-02T03:04:05.000Z".to_owned(), "1950-01-02T03:04:05.000Z".to_owned());
        // Before 1970 there is no timestamp here.
        assert!(iso(validity(&certificate(utc, &[]))).is_none_or(|got| got == want));
        let mixed = b"\x17\x0d250102030405Z\x18\x0f20990102030405Z";
        let want = ("2025-01-02T03:04:05.000Z".to_owned(), "2099-01-02T03:04:05.000Z".to_owned());
        assert_eq!(iso(validity(&certificate(mixed, &[0xa0, 3, 2, 1, 2]))), Some(want));
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        let whole = certificate(b"\x17\x0d250102030405Z\x17\x0d260102030405Z", &[]);
        for len in 0..whole.len() {
            assert_eq!(validity(&whole[..len]), None);
        }
        for wrong in [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 0xff], &[0x31, 0]] {
            assert_eq!(validity(wrong), None);
        }
    }
}
