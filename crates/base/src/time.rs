//! Text forms of time.

use std::time::{Duration, UNIX_EPOCH};

/// A moment, in milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Timestamp(pub u64);

/// Year, month (1..=12) and day (1..=31) of a day counted from 1970-01-01 (Howard Hinnant,
/// "chrono-compatible low-level date algorithms").
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let y = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (y / 400, y % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Writes the last `width` digits of a number. The machinery of `format!` would take ten times as long, and a
/// listing has a thousand times, a request two.
fn push_digits(text: &mut String, value: u64, width: u32) {
    let mut scale = 10_u64.pow(width - 1);
    while scale > 0 {
        let digit = u8::try_from(value / scale % 10).expect("a digit");
        text.push(char::from(b'0' + digit));
        scale /= 10;
    }
}

impl Timestamp {
    fn parts(self) -> [u64; 7] {
        let (year, month, day) = civil_from_days(self.0 / 86_400_000);
        let ms = self.0 % 86_400_000;
        [year, month, day, ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000]
    }
    /// `YYYY-MM-DDTHH:MM:SS.mmmZ`, the form of S3's XML.
    #[must_use]
    pub fn to_iso(self) -> String {
        let [year, month, day, hour, minute, second, ms] = self.parts();
        let mut text = String::with_capacity(24);
        for (value, width, end) in [
            (year, 4, '-'),
            (month, 2, '-'),
            (day, 2, 'T'),
            (hour, 2, ':'),
            (minute, 2, ':'),
            (second, 2, '.'),
            (ms, 3, 'Z'),
        ] {
            push_digits(&mut text, value, width);
            text.push(end);
        }
        text
    }
    /// `YYYYMMDDTHHMMSSZ`, the form of `x-amz-date`.
    #[must_use]
    pub fn to_amz(self) -> String {
        let [year, month, day, hour, minute, second, _] = self.parts();
        let mut text = String::with_capacity(16);
        push_digits(&mut text, year, 4);
        push_digits(&mut text, month, 2);
        push_digits(&mut text, day, 2);
        text.push('T');
        for value in [hour, minute, second] {
            push_digits(&mut text, value, 2);
        }
        text.push('Z');
        text
    }
    /// IMF-fixdate, the form of HTTP headers, in whole seconds.
    #[must_use]
    pub fn to_http(self) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(self.0))
    }
    /// Reads ISO 8601: a date, or a date and a time of day with `Z` or an offset; any number of digits
    /// behind the second, of which three count.
    #[must_use]
    pub fn parse_iso(text: &str) -> Option<Self> {
        let number = |part: Option<&str>, width: usize| {
            let part = part.filter(|p| p.len() == width && p.bytes().all(|b| b.is_ascii_digit()));
            part.and_then(|part| part.parse::<u64>().ok())
        };
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let (year, month) = (number(parts.next(), 4)?, number(parts.next(), 2)?);
        let day = number(parts.next(), 2)?;
        let in_month = (1970..10_000).contains(&year) && (1..=12).contains(&month);
        if parts.next().is_some() || !in_month || !(1..=31).contains(&day) {
            return None;
        }
        let days = days_from_civil(year, month, day);
        if civil_from_days(days) != (year, month, day) {
            return None;
        }
        let Some(time) = time else { return Some(Self(days * 86_400_000)) };
        let zone_at = time.find(['Z', '+', '-'])?;
        let (clock, zone) = time.split_at(zone_at);
        let offset_minutes = match zone {
            "Z" => 0,
            _ => {
                let (hours, minutes) = zone[1..].split_once(':')?;
                let minutes = number(Some(hours), 2)? * 60 + number(Some(minutes), 2)?;
                let minutes = i64::try_from(minutes).ok()?;
                if zone.starts_with('-') { -minutes } else { minutes }
            }
        };
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let mut parts = clock.split(':');
        let (hour, minute) = (number(parts.next(), 2)?, number(parts.next(), 2)?);
        let second = match parts.next() {
            Some(second) => number(Some(second), 2)?,
            None => 0,
        };
        let plain = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
        if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 || !plain {
            return None;
        }
        let ms: u64 = format!("{fraction:0<3}")[..3].parse().ok()?;
        let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + ms;
        let local = i64::try_from(days * 86_400_000 + of_day).ok()?;
        u64::try_from(local - offset_minutes * 60_000).ok().map(Self)
    }

    /// Reads `YYYYMMDDTHHMMSSZ`.
    #[must_use]
    pub fn parse_amz(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
            return None;
        }
        let number = |from: usize, to: usize| -> Option<u64> {
            let digits = text.get(from..to)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
        let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
        if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let days = days_from_civil(year, month, day);
        Some(Self((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000))
    }
    /// The same moment without its fraction of a second.
    #[must_use]
    pub fn whole_seconds(self) -> Self {
        Self(self.0 / 1000 * 1000)
    }
}

/// Reads an HTTP date in any of its three forms (RFC 9110 §5.6.7).
#[must_use]
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp(u64::try_from(since.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments_have_their_published_forms() {
        let moment = Timestamp(1_369_353_600_123);
        assert_eq!(moment.to_iso(), "2013-05-24T00:00:00.123Z");
        assert_eq!(moment.to_amz(), "20130524T000000Z");
        assert_eq!(moment.to_http(), "Fri, 24 May 2013 00:00:00 GMT");
        assert_eq!(parse_http_date("Fri, 24 May 2013 00:00:00 GMT"), Some(moment.whole_seconds()));
    }

    #[test]
    fn malformed_dates_are_refused() {
        for text in ["", "20130524", "20131324T000000Z", "2013052 T000000Z", "20130524T250000Z"] {
            assert_eq!(Timestamp::parse_amz(text), None, "{text}");
        }
    }

    proptest! {
        /// Goal: writing and reading agree. Method: random seconds until the year 9999.
        #[test]
        fn amz_form_round_trips(second in 0_u64..253_402_300_799) {
            let moment = Timestamp(second * 1000);
            prop_assert_eq!(Timestamp::parse_amz(&moment.to_amz()), Some(moment));
        }
    }
}
