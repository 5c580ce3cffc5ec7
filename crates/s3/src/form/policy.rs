//! The policy of a form: until when, and which fields with which values.

use crate::error::{S3Code, S3Error};
use drystone_base::Timestamp;
use serde_json::Value;
use std::ops::RangeInclusive;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Equals { name: String, value: String },
    StartsWith { name: String, prefix: String },
}

/// A policy that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormPolicy {
    expires_ms: u64,
    conditions: Vec<Condition>,
    /// Bytes that the file may have.
    pub length: Option<RangeInclusive<u64>>,
}

/// Fields that need no condition.
const FREE: &[&str] =
    &["policy", "x-amz-signature", "signature", "awsaccesskeyid", "file", "bucket"];

fn invalid(message: &str) -> S3Error {
    S3Error::with(S3Code::InvalidPolicyDocument, format!("Invalid Policy: {message}."))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl FormPolicy {
    /// Reads a policy document.
    ///
    /// # Errors
    ///
    /// `InvalidPolicyDocument`.
    pub fn parse(bytes: &[u8]) -> Result<Self, S3Error> {
        let json: Value = serde_json::from_slice(bytes).map_err(|_| invalid("Invalid JSON"))?;
        let expiration = json.get("expiration").and_then(Value::as_str);
        let expiration = expiration.and_then(Timestamp::parse_iso);
        let expires_ms = expiration.ok_or_else(|| invalid("Invalid 'expiration' value"))?.0;
        let conditions = json.get("conditions").and_then(Value::as_array);
        let conditions = conditions.filter(|all| !all.is_empty());
        let listed = conditions.ok_or_else(|| invalid("Policy is missing 'conditions'"))?;
        let mut policy = Self { expires_ms, conditions: Vec::new(), length: None };
        for condition in listed {
            policy.add(condition)?;
        }
        Ok(policy)
    }

    fn add(&mut self, condition: &Value) -> Result<(), S3Error> {
        let wrong = || invalid("Invalid condition");
        if let Some(object) = condition.as_object() {
            for (name, value) in object {
                let (name, value) = (name.to_ascii_lowercase(), text(value).ok_or_else(wrong)?);
                self.conditions.push(Condition::Equals { name, value });
            }
            return if object.is_empty() { Err(wrong()) } else { Ok(()) };
        }
        let Some([operator, first, second]) = condition.as_array().map(Vec::as_slice) else {
            return Err(wrong());
        };
        let operator = operator.as_str().ok_or_else(wrong)?.to_ascii_lowercase();
        if operator == "content-length-range" {
            let number = |value: &Value| text(value).and_then(|text| text.parse::<u64>().ok());
            let (min, max) = (number(first).ok_or_else(wrong)?, number(second).ok_or_else(wrong)?);
            self.length = Some(min..=max);
            return Ok(());
        }
        let name = first.as_str().and_then(|name| name.strip_prefix('$')).ok_or_else(wrong)?;
        let (name, value) = (name.to_ascii_lowercase(), text(second).ok_or_else(wrong)?);
        self.conditions.push(match operator.as_str() {
            "eq" => Condition::Equals { name, value },
            "starts-with" => Condition::StartsWith { name, prefix: value },
            _ => return Err(wrong()),
        });
        Ok(())
    }

    /// Checks the fields of a form, names in lower case, and the bucket that it was sent to.
    ///
    /// # Errors
    ///
    /// `AccessDenied`.
    pub fn check(
        &self,
        fields: &[(String, String)],
        bucket: &str,
        now_ms: u64,
    ) -> Result<(), S3Error> {
        let denied = |message: String| {
            let message = format!("Invalid according to Policy: {message}");
            Err(S3Error::with(S3Code::AccessDenied, message))
        };
        if now_ms > self.expires_ms {
            return denied("Policy expired.".into());
        }
        let value = |name: &str| match name {
            "bucket" => Some(bucket),
            _ => fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()),
        };
        for condition in &self.conditions {
            let (name, holds, shown) = match condition {
                Condition::Equals { name, value: wanted } => (
                    name,
                    value(name) == Some(wanted),
                    format!("[\"eq\", \"${name}\", \"{wanted}\"]"),
                ),
                Condition::StartsWith { name, prefix } => {
                    let shown = format!("[\"starts-with\", \"${name}\", \"{prefix}\"]");
                    // Several content types may be given, and all of them have to fit.
                    let fits = |text: &str| match name.as_str() {
                        "content-type" => text.split(',').all(|t| t.trim().starts_with(&**prefix)),
                        _ => text.starts_with(&**prefix),
                    };
                    (name, value(name).is_some_and(fits) || prefix.is_empty(), shown)
                }
            };
            if !holds && !name.starts_with("x-ignore-") {
                return denied(format!("Policy Condition failed: {shown}"));
            }
        }
        let is_covered = |name: &str| {
            let of = |condition: &Condition| match condition {
                Condition::Equals { name, .. } | Condition::StartsWith { name, .. } => name.clone(),
            };
            FREE.contains(&name)
                || name.starts_with("x-ignore-")
                || self.conditions.iter().any(|condition| of(condition) == name)
        };
        let extra: Vec<_> =
            fields.iter().map(|(name, _)| name.as_str()).filter(|name| !is_covered(name)).collect();
        match extra.is_empty() {
            true => Ok(()),
            false => denied(format!("Extra input fields: {}", extra.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_field_needs_a_condition_that_holds() {
        let policy = FormPolicy::parse(
            br#"{"expiration": "2030-01-01T00:00:00.000Z", "conditions": [
                {"Bucket": "b"}, ["starts-with", "$key", "up/"], ["eq", "$ACL", "private"],
                ["starts-with", "$Content-Type", "image/"], ["content-length-range", 1, "10"]]}"#,
        )
        .expect("a policy");
        assert_eq!(policy.length, Some(1..=10));
        let now = 1_700_000_000_000;
        let good = [("key", "up/x"), ("acl", "private"), ("content-type", "image/png,image/gif")];
        let check = |pairs: &[(&str, &str)], bucket, now| {
            policy.check(&fields(pairs), bucket, now).map_err(|error| error.message)
        };
        assert_eq!(check(&good, "b", now), Ok(()));
        let with = |extra: (&'static str, &'static str)| [good.as_slice(), &[extra]].concat();
        assert_eq!(check(&with(("x-ignore-a", "1")), "b", now), Ok(()));
        assert!(check(&with(("x-amz-meta-a", "1")), "b", now).is_err());
        assert!(check(&good, "c", now).is_err());
        assert!(check(&good, "b", 2_000_000_000_000).is_err());
        assert!(check(&good[..2], "b", now).is_err());
        for (at, wrong) in [(0, ("key", "x")), (1, ("acl", "public-read"))] {
            let mut changed = good;
            changed[at] = wrong;
            assert!(check(&changed, "b", now).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for text in [
            "{",
            "[]",
            r#"{"conditions": [{"a": "b"}]}"#,
            r#"{"expiration": "tomorrow", "conditions": [{"a": "b"}]}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z"}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": []}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": [["like", "$key", "x"]]}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": [["eq", "key", "x"]]}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": [["content-length-range", -1, 5]]}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": [{}]}"#,
        ] {
            assert!(FormPolicy::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
