//! Conditions of a statement (IAM User Guide, "IAM JSON policy elements: Condition operators").

use crate::document::PolicyError;
use crate::facts::Facts;
use crate::json::Json;
use crate::network::Network;
use crate::pattern::{ALLOCATION_COST, Pattern, Template};
use crate::statement::Effect;
use crate::work::Work;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drystone_base::Timestamp;
use std::cmp::Ordering;

/// How a value of the request is compared with one of the policy.
#[derive(Clone, Copy, Debug)]
enum Comparison {
    Text,
    TextIgnoringCase,
    Like,
    Number(fn(Ordering) -> bool),
    Date(fn(Ordering) -> bool),
    Bool,
    Binary,
    Address,
    Arn,
    /// Whether the key is missing.
    Null,
}

/// Which values of the request have to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    Plain,
    ForAll,
    ForAny,
}

/// One key of one operator with its values.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    quantifier: Quantifier,
    comparison: Comparison,
    negated: bool,
    if_exists: bool,
    key: String,
    values: Vec<Template>,
}

/// Looks an operator up, without quantifier and `IfExists`. `true`: it is negated.
fn comparison(name: &str) -> Option<(Comparison, bool)> {
    use Comparison as C;
    Some(match name {
        "StringEquals" => (C::Text, false),
        "StringNotEquals" => (C::Text, true),
        "StringEqualsIgnoreCase" => (C::TextIgnoringCase, false),
        "StringNotEqualsIgnoreCase" => (C::TextIgnoringCase, true),
        "StringLike" => (C::Like, false),
        "StringNotLike" => (C::Like, true),
        "NumericEquals" => (C::Number(Ordering::is_eq), false),
        "NumericNotEquals" => (C::Number(Ordering::is_eq), true),
        "NumericLessThan" => (C::Number(Ordering::is_lt), false),
        "NumericLessThanEquals" => (C::Number(Ordering::is_le), false),
        "NumericGreaterThan" => (C::Number(Ordering::is_gt), false),
        "NumericGreaterThanEquals" => (C::Number(Ordering::is_ge), false),
        "DateEquals" => (C::Date(Ordering::is_eq), false),
        "DateNotEquals" => (C::Date(Ordering::is_eq), true),
        "DateLessThan" => (C::Date(Ordering::is_lt), false),
        "DateLessThanEquals" => (C::Date(Ordering::is_le), false),
        "DateGreaterThan" => (C::Date(Ordering::is_gt), false),
        "DateGreaterThanEquals" => (C::Date(Ordering::is_ge), false),
        "Bool" => (C::Bool, false),
        "BinaryEquals" => (C::Binary, false),
        "IpAddress" => (C::Address, false),
        "NotIpAddress" => (C::Address, true),
        "ArnEquals" | "ArnLike" => (C::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (C::Arn, true),
        "Null" => (C::Null, false),
        _ => return None,
    })
}

fn moment(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(seconds) => seconds.checked_mul(1000),
        Err(_) => i64::try_from(Timestamp::parse_iso(text)?.0).ok(),
    }
}

/// Characters of a number, a date or an address at most: longer texts are none, and are not read for each
/// value of a policy.
const SCALAR_LEN_MAX: usize = 64;

/// Whether two texts are the same in lower case. A character has at most three times the bytes in another
/// case: texts of very different lengths are not looked at.
fn same_ignoring_case(a: &str, b: &str) -> bool {
    let (short, long) = (a.len().min(b.len()), a.len().max(b.len()));
    if a.is_ascii() && b.is_ascii() {
        return a.eq_ignore_ascii_case(b);
    }
    long <= 3 * short && a.to_lowercase() == b.to_lowercase()
}

fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    text.parse().ok().filter(|value: &f64| plain && value.is_finite())
}

/// Resource names are compared part by part, each with wildcards.
fn arn_matches(pattern: &Pattern, value: &str, work: &Work) -> bool {
    let (patterns, parts) = (pattern.split_colons(6), value.splitn(6, ':').collect::<Vec<_>>());
    match patterns.len() == 6 && parts.len() == 6 {
        true => {
            patterns.iter().zip(parts).all(|(pattern, part)| pattern.matches_within(part, work))
        }
        false => patterns.len() == 1 && pattern.matches("*") && pattern.matches_within(value, work),
    }
}

impl Comparison {
    /// Whether a value of the policy can ever be compared.
    fn accepts(self, value: &Template) -> bool {
        if !value.is_fixed() && value.text().contains("${") {
            return true;
        }
        match self {
            Self::Number(_) => number(value.text()).is_some(),
            Self::Date(_) => moment(value.text()).is_some(),
            Self::Bool | Self::Null => {
                ["true", "false"].iter().any(|word| value.text().eq_ignore_ascii_case(word))
            }
            Self::Address => Network::parse(value.text()).is_some(),
            Self::Binary => STANDARD.decode(value.text()).is_ok(),
            Self::Text | Self::TextIgnoringCase | Self::Like | Self::Arn => true,
        }
    }

    fn matches(self, wanted: &Template, value: &str, (facts, work): (&Facts, &Work)) -> bool {
        let pattern = || wanted.expand_within(facts, work);
        match self {
            Self::Like => pattern().is_some_and(|pattern| pattern.matches_within(value, work)),
            Self::Arn => pattern().is_some_and(|pattern| arn_matches(&pattern, value, work)),
            _ => wanted.expand_text(facts, work).is_some_and(|wanted| {
                work.count(wanted.len().min(value.len()));
                self.equal(&wanted, value)
            }),
        }
    }

    fn equal(self, wanted: &str, value: &str) -> bool {
        let is_scalar =
            matches!(self, Self::Bool | Self::Number(_) | Self::Date(_) | Self::Address);
        if is_scalar && value.len().max(wanted.len()) > SCALAR_LEN_MAX {
            return false;
        }
        match self {
            Self::Text => wanted == value,
            Self::TextIgnoringCase => same_ignoring_case(wanted, value),
            Self::Bool => wanted.eq_ignore_ascii_case(value),
            Self::Number(test) => match (number(value), number(wanted)) {
                (Some(value), Some(wanted)) => value.partial_cmp(&wanted).is_some_and(test),
                _ => false,
            },
            Self::Date(test) => match (moment(value), moment(wanted)) {
                (Some(value), Some(wanted)) => test(value.cmp(&wanted)),
                _ => false,
            },
            // Bytes are written in one way only.
            Self::Binary => wanted == value && STANDARD.decode(value).is_ok(),
            Self::Address => match (Network::parse(wanted), value.parse()) {
                (Some(network), Ok(address)) => network.contains(address),
                _ => false,
            },
            Self::Like | Self::Arn | Self::Null => false,
        }
    }
}

impl Condition {
    /// Reads one operator of a `Condition` block, which may hold several keys.
    pub(crate) fn parse(
        operator: &str,
        keys: Json,
        with_variables: bool,
    ) -> Result<Vec<Self>, PolicyError> {
        let invalid = || PolicyError::new("Invalid Condition type : ").with(operator);
        let (quantifier, name) = match operator.split_once(':') {
            Some(("ForAllValues", name)) => (Quantifier::ForAll, name),
            Some(("ForAnyValue", name)) => (Quantifier::ForAny, name),
            Some(_) => return Err(invalid()),
            None => (Quantifier::Plain, operator),
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (comparison, negated) = comparison(name).ok_or_else(invalid)?;
        if matches!(comparison, Comparison::Null) && (if_exists || quantifier != Quantifier::Plain)
        {
            return Err(invalid());
        }
        let Json::Object(keys) = keys else { return Err(PolicyError::syntax()) };
        let mut conditions = Vec::new();
        for (key, values) in keys {
            let mut templates = Vec::new();
            for value in values.into_list() {
                let text = value.into_text().ok_or_else(PolicyError::syntax)?;
                let template = Template::parse(&text, with_variables);
                if !comparison.accepts(&template) {
                    return Err(PolicyError::new("Invalid value for condition : ").with(&text));
                }
                templates.push(template);
            }
            if templates.is_empty() || key.is_empty() {
                return Err(PolicyError::syntax());
            }
            let key = key.to_ascii_lowercase();
            let values = templates;
            conditions.push(Self { quantifier, comparison, negated, if_exists, key, values });
        }
        Ok(conditions)
    }

    /// The key, in lower case.
    pub(crate) fn fact_keys(&self) -> impl Iterator<Item = String> {
        let of_values = self.values.iter().flat_map(Template::variables).map(str::to_owned);
        std::iter::once(self.key.to_ascii_lowercase()).chain(of_values)
    }

    /// Bytes that it holds.
    pub(crate) fn weight(&self) -> usize {
        let of_values: usize = self.values.iter().map(Template::weight).sum();
        size_of::<Self>() + self.key.capacity() + 2 * ALLOCATION_COST + of_values
    }

    /// The condition key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Whether the request has the key, and one of these values of it, all of them fixed: no operator
    /// that lets a request without the key pass.
    pub(crate) fn fixed_values(&self) -> Option<&[Template]> {
        let positive = matches!(
            self.comparison,
            Comparison::Text
                | Comparison::TextIgnoringCase
                | Comparison::Like
                | Comparison::Address
                | Comparison::Arn
        );
        let strict = positive
            && !self.negated
            && !self.if_exists
            && self.quantifier != Quantifier::ForAll
            && self.values.iter().all(Template::is_fixed);
        strict.then_some(&self.values)
    }

    /// Whether the condition holds for a request, in a statement of an effect. Once `work` is spent the
    /// answer means nothing.
    pub(crate) fn holds(&self, facts: &Facts, work: &Work, effect: Effect) -> bool {
        let found = facts.values(&self.key).filter(|values| !values.is_empty());
        if let Comparison::Null = self.comparison {
            let wants_missing = self.values.iter().any(|v| v.text().eq_ignore_ascii_case("true"));
            let wants_present = self.values.iter().any(|v| v.text().eq_ignore_ascii_case("false"));
            return if found.is_none() { wants_missing } else { wants_present };
        }
        // Nothing is equal to a variable that has no value. That gives nothing to anyone.
        let is_known = || self.values.iter().all(|value| value.is_known(facts));
        if self.negated && effect == Effect::Allow && !is_known() {
            return false;
        }
        let Some(found) = found else {
            return self.if_exists
                || match self.quantifier {
                    Quantifier::Plain => self.negated,
                    Quantifier::ForAll => true,
                    Quantifier::ForAny => false,
                };
        };
        let fits = |value: &String| {
            let mut wanted = self.values.iter();
            let any = wanted.any(|wanted| {
                work.is_spent() || self.comparison.matches(wanted, value, (facts, work))
            });
            any != self.negated
        };
        let parts = facts.parts(&self.key);
        let all = || found.iter().all(fits) && (effect == Effect::Deny || parts.iter().all(fits));
        let any = || found.iter().any(fits) || (effect == Effect::Deny && parts.iter().any(fits));
        match self.quantifier {
            Quantifier::ForAll => all(),
            Quantifier::ForAny => any(),
            Quantifier::Plain if self.negated => all(),
            Quantifier::Plain => any(),
        }
    }
}
