//! What values of settings may be: each parser takes a value or refuses it by its name, without any effect.

use super::{AccessLogTarget, ConfigError, Given, setting};
use drystone_base::limits::{OBJECT_LEN_BYTES_MAX, PUT_LEN_BYTES_MAX};
use drystone_base::unhex;
use drystone_s3::RestoreDelays;
use std::time::Duration;

/// What a switch says.
pub(crate) fn parse_switch(given: &Given) -> Result<bool, ConfigError> {
    match given.value.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" => Ok(false),
        _ => Err(given.refused("on, true, yes or 1; off, false, no or 0")),
    }
}

/// Whether a setting switches something on.
pub(crate) fn switch(name: &str) -> Result<bool, ConfigError> {
    setting(name)?.as_ref().map_or(Ok(false), parse_switch)
}

/// One of several words.
pub(crate) fn parse_word<T: Copy>(given: &Given, words: &[(&str, T)]) -> Result<T, ConfigError> {
    let found = words.iter().find(|(word, _)| *word == given.value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        given.refused(names.join(" or "))
    })
}

/// An address of a server that is asked, such as `https://vault.example:8200`.
pub(crate) fn parse_url(given: &Given) -> Result<String, ConfigError> {
    let is_url = given.value.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|h| !h.is_empty())
    });
    is_url.then(|| given.value.clone()).ok_or_else(|| given.refused("a URL of http:// or https://"))
}

/// The region: a part of every signature.
pub(crate) fn parse_region(given: &Given) -> Result<String, ConfigError> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_region = (1..=64).contains(&given.value.len()) && given.value.bytes().all(is_letter);
    let allowed = "1 to 64 letters, digits, - and _, such as us-east-1";
    is_region.then(|| given.value.clone()).ok_or_else(|| given.refused(allowed))
}

/// Domains, separated by commas, in lower case.
pub(crate) fn parse_domains(given: &Given) -> Result<Vec<String>, ConfigError> {
    let names = given.value.split(',').map(|name| name.trim().to_ascii_lowercase());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    let is_good = !names.is_empty() && names.iter().all(|name| is_domain(name));
    let allowed = "names such as s3.example.com without a port, separated by commas";
    is_good.then_some(names).ok_or_else(|| given.refused(allowed))
}

/// Whether a name can stand in a `Host` header: labels of 1 to 63 letters, digits, `-` and `_`.
fn is_domain(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| {
        let is_long = (1..=63).contains(&label.len());
        is_long && label.bytes().all(is_letter) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn size_of(text: &str) -> Option<u64> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "tb" => 1000 * 1000 * 1000 * 1000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A size such as `256MiB` that `fits`.
fn parse_size(
    given: &Given,
    allowed: &str,
    fits: impl Fn(u64) -> bool,
) -> Result<u64, ConfigError> {
    size_of(&given.value).filter(|size| fits(*size)).ok_or_else(|| given.refused(allowed))
}

/// A length in bytes.
pub(crate) fn parse_len(given: &Given) -> Result<u64, ConfigError> {
    parse_size(given, "a number with KiB, MiB, GiB, TiB, or KB, MB, GB, TB, such as 4KiB", |_| true)
}

/// Bytes a second. A few of them would let the work never end: a number without its unit is refused.
pub(crate) fn parse_rate(given: &Given) -> Result<u64, ConfigError> {
    parse_size(given, "64KiB or more, such as 32MiB; 0 for no limit", |rate| {
        rate == 0 || rate >= 64 << 10
    })
}

/// Bytes of the memory budget. What is less than a server can work with is refused: a number without its unit
/// would otherwise make a server that refuses most requests.
pub(crate) fn parse_budget(given: &Given) -> Result<u64, ConfigError> {
    parse_size(given, "4MiB or more, such as 256MiB", |bytes| bytes >= 4 << 20)
}

/// A count of at least one.
pub(crate) fn parse_count(given: &Given) -> Result<usize, ConfigError> {
    let count = given.value.parse::<usize>().ok().filter(|count| *count > 0);
    count.ok_or_else(|| given.refused("a number from 1 on"))
}

/// The longest single PUT: 5 GiB as in S3, or more, up to the longest object.
pub(crate) fn parse_put_len(given: &Given) -> Result<u64, ConfigError> {
    parse_size(given, "5GiB to 5120GiB", |len| {
        (PUT_LEN_BYTES_MAX..=OBJECT_LEN_BYTES_MAX).contains(&len)
    })
}

/// A time such as `30s` or `1h30m`.
fn time_of(text: &str) -> Option<Duration> {
    let (mut seconds, mut rest) = (0_u64, text.trim());
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count = rest[..digits].parse::<u64>().ok()?;
        rest = rest[digits..].trim_start();
        let unit = match rest.bytes().next()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 24 * 3600,
            _ => return None,
        };
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        rest = &rest[1..];
    }
    (1..=3650 * 24 * 3600).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// A time such as `14d` or `30s`; `None` for `off`.
pub(crate) fn parse_interval(given: &Given) -> Result<Option<Duration>, ConfigError> {
    match given.value.as_str() {
        "off" => Ok(None),
        text => time_of(text).map(Some).ok_or_else(|| {
            given.refused("1s to 3650d: a number with s, m, h or d, such as 14d; or off")
        }),
    }
}

/// A time limit of connections, such as `30s`.
pub(crate) fn parse_limit(given: &Given) -> Result<Duration, ConfigError> {
    let limit = time_of(&given.value).filter(|limit| *limit <= Duration::from_secs(3600));
    limit.ok_or_else(|| given.refused("1s to 1h"))
}

/// Seconds between two deliveries of access logs.
pub(crate) fn parse_seconds(given: &Given) -> Result<Duration, ConfigError> {
    let seconds = given.value.parse::<u64>().ok().filter(|s| (1..=86_400).contains(s));
    seconds.map(Duration::from_secs).ok_or_else(|| given.refused("1 to 86400"))
}

/// How long restores take, such as `expedited=1m,standard=3h,bulk=5h`; what is not named takes no time.
pub(crate) fn parse_restore_delays(given: &Given) -> Result<RestoreDelays, ConfigError> {
    let mut delays = RestoreDelays::default();
    let refused = || {
        given.refused("expedited=TIME,standard=TIME,bulk=TIME, with times such as 1m or 3h, or 0")
    };
    for item in given.value.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (tier, time) = item.split_once('=').ok_or_else(refused)?;
        let delay = match time {
            "0" => Duration::ZERO,
            time => time_of(time).ok_or_else(refused)?,
        };
        match tier {
            "expedited" => delays.expedited = delay,
            "standard" => delays.standard = delay,
            "bulk" => delays.bulk = delay,
            _ => return Err(refused()),
        }
    }
    Ok(delays)
}

/// Length of segments, from its setting.
pub(crate) fn parse_segment_len(given: &Given) -> Result<u32, ConfigError> {
    let allowed = "1MiB to 256MiB, a multiple of 4KiB";
    let fits = |len: u64| (1 << 20..=256 << 20).contains(&len) && len.is_multiple_of(4096);
    let len = parse_size(given, allowed, fits)?;
    u32::try_from(len).map_err(|_| given.refused(allowed))
}

/// Id of a drive or a deployment.
pub(crate) fn parse_id(given: &Given) -> Result<[u8; 16], ConfigError> {
    let id = unhex(&given.value).and_then(|id| id.try_into().ok());
    id.ok_or_else(|| given.refused("an id of 32 hexadecimal digits"))
}

/// Words that are taken for a switch by mistake: they are no names of files.
const NOT_FILES: [&str; 9] = ["", "on", "true", "yes", "1", "false", "no", "0", "none"];

/// Where the access log goes, from its setting.
pub(crate) fn parse_access_log(given: &Given) -> Result<AccessLogTarget, ConfigError> {
    match given.value.as_str() {
        "off" => Ok(AccessLogTarget::Off),
        "stdout" => Ok(AccessLogTarget::Stdout),
        word if NOT_FILES.contains(&word) => Err(given.refused("off, stdout, or a file")),
        path => Ok(AccessLogTarget::File(path.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: &str) -> Given {
        Given::option("--x", value)
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size_of("5"), Some(5));
        assert_eq!(size_of("256MiB"), Some(256 << 20));
        assert_eq!((size_of("2TiB"), size_of("2 TB")), (Some(2 << 40), Some(2_000_000_000_000)));
        assert_eq!(size_of("16777216TiB"), None);
        assert_eq!(size_of("2 g"), Some(2 << 30));
        assert_eq!((size_of("MiB"), size_of("5 parsecs"), size_of("")), (None, None, None));
    }

    #[test]
    fn restores_take_as_long_as_is_said_for_their_tier() {
        let delays = parse_restore_delays(&given("expedited=1m, bulk=5h")).expect("is understood");
        assert_eq!(delays.expedited, Duration::from_secs(60));
        assert_eq!((delays.standard, delays.bulk), (Duration::ZERO, Duration::from_secs(18_000)));
        for wrong in ["slow=1h", "bulk", "bulk=5"] {
            assert!(parse_restore_delays(&given(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn intervals_have_units() {
        let days = |n: u64| Some(Some(Duration::from_secs(n * 24 * 3600)));
        assert_eq!(parse_interval(&given("14d")).ok(), days(14));
        assert_eq!(parse_interval(&given("24h")).ok(), days(1));
        assert_eq!(parse_interval(&given("off")).ok(), Some(None));
        let hours = |given: &str| parse_interval(&Given::option("--x", given)).ok();
        assert_eq!(hours("1h30m0s"), Some(Some(Duration::from_secs(5400))));
        for wrong in ["", "14", "d", "0s", "1y", "99999d", "-1d", "1h30", "1h m", "500ms"] {
            assert!(parse_interval(&given(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn domains_are_lower_case_trimmed_and_names() {
        let domains = |text| parse_domains(&given(text)).ok();
        assert_eq!(domains("S3.Example.com, b.c,").expect("names"), ["s3.example.com", "b.c"]);
        for wrong in
            ["", ",", "bad domain", "a..b", "-a.b", "a.b:9000", "https://a.b", "a/b", "*.a"]
        {
            assert_eq!(domains(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn switches_have_two_sides() {
        for (text, want) in
            [("YES", Some(true)), ("1", Some(true)), ("no", Some(false)), ("y", None)]
        {
            assert_eq!(parse_switch(&given(text)).ok(), want, "{text}");
        }
    }
}
