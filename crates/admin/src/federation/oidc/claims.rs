//! Claims of a token, and what a provider says of a user: of each value only what counts here is kept, so
//! that what is made of a document is a small multiple of it, whatever it nests.

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use std::collections::BTreeMap;
use std::fmt;

/// Claims by name.
pub(crate) type Claims = BTreeMap<String, Claim>;

/// The value of a claim.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Claim {
    Text(String),
    /// Of an array, its texts.
    Texts(Vec<String>),
    Number(Number),
    Bool(bool),
    /// Null, or an object.
    #[default]
    Other,
}

impl Claim {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// As texts: a text, or an array of them.
    pub(crate) fn texts(&self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text.clone()],
            Self::Texts(texts) => texts.clone(),
            Self::Bool(value) => vec![value.to_string()],
            Self::Number(value) => vec![value.to_string()],
            Self::Other => Vec::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ClaimVisitor)
    }
}

struct ClaimVisitor;

impl<'de> Visitor<'de> for ClaimVisitor {
    type Value = Claim;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a claim")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Claim, E> {
        Ok(Claim::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Claim, E> {
        Ok(Claim::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Claim, E> {
        Ok(Claim::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Claim, E> {
        Ok(Number::from_f64(value).map_or(Claim::Other, Claim::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Claim, E> {
        Ok(Claim::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Claim, E> {
        Ok(Claim::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Claim, A::Error> {
        let mut texts = Vec::new();
        while let Some(Item(text)) = list.next_element()? {
            texts.extend(text);
        }
        Ok(Claim::Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claim, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Claim::Other)
    }
}

/// An element of an array, if it is a text.
struct Item(Option<String>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an element of a claim")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Item, E> {
        Ok(Item(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Item, E> {
        Ok(Item(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Item, E> {
        Ok(Item(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Item, E> {
        Ok(Item(None))
    }

    fn visit_str<E>(self, value: &str) -> Result<Item, E> {
        Ok(Item(Some(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Item, E> {
        Ok(Item(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Item(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Item(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &Claim) {
        let found = serde_json::from_str::<Claim>(text).map_err(|error| error.to_string());
        assert_eq!(found.as_ref(), Ok(want), "{text}");
    }

    #[test]
    fn of_a_claim_only_what_counts_is_kept() {
        check(r#""a""#, &Claim::Text("a".to_owned()));
        check("true", &Claim::Bool(true));
        check("-1", &Claim::Number((-1).into()));
        check("18446744073709551615", &Claim::Number(u64::MAX.into()));
        for other in ["null", "{}", r#"{"a":[{"b":[]}]}"#] {
            check(other, &Claim::Other);
        }
        let mixed = r#"["a",1,-1,1.5,true,null,["b"],{"c":"d"},"e"]"#;
        check(mixed, &Claim::Texts(vec!["a".to_owned(), "e".to_owned()]));
        let nested = format!("[{}{}]", "[".repeat(100), "]".repeat(100));
        check(&nested, &Claim::Texts(Vec::new()));
    }
}
