//! The headers of a request. Each request is asked for dozens that it does not have.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::ops::Deref;

/// Among up to so many headers a name is looked for one by one.
const FEW: usize = 32;

/// Headers, and a summary of their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    map: HeaderMap,
    /// The bits of the names that are there: without its bit, a name is not. See [`bit`].
    names: u64,
}

/// One of 64 bits of a name, found without a look at all of it.
fn bit(name: &str) -> u64 {
    let last = name.as_bytes().last().copied().unwrap_or_default();
    1 << ((5 * name.len() + usize::from(last)) % 64)
}

impl Headers {
    /// The first value of a header. `name` is in lower case.
    pub(crate) fn first(&self, name: &str) -> Option<&HeaderValue> {
        if self.names & bit(name) == 0 {
            return None;
        }
        // To look through a few names costs less than to check and hash one.
        match self.map.len() > FEW {
            true => self.map.get(name),
            false => self.map.iter().find(|(n, _)| n.as_str() == name).map(|(_, value)| value),
        }
    }

    /// Looks at the values of a header in the order in which they came. `name` is in lower case.
    pub(crate) fn for_each_value(&self, name: &str, look: impl FnMut(&HeaderValue)) {
        if self.names & bit(name) == 0 {
            return;
        }
        if self.map.len() > FEW {
            return self.map.get_all(name).iter().for_each(look);
        }
        let named = self.map.iter().filter(|(n, _)| n.as_str() == name);
        named.map(|(_, value)| value).for_each(look);
    }

    /// All of them, without the summary.
    pub(crate) fn into_map(self) -> HeaderMap {
        self.map
    }

    /// Sets a header in the place of those of the same name.
    pub(crate) fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        self.names |= bit(name.as_str());
        self.map.insert(name, value);
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        let names = map.keys().fold(0, |names, name| names | bit(name.as_str()));
        Self { map, names }
    }
}

impl Deref for Headers {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        &self.map
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
            for value in ["first", "second"] {
                map.append("x-amz-acl", HeaderValue::from_static(value));
            }
            let name_of = |number: usize| format!("x-amz-n-{number}");
            for number in 0..count {
                let name: HeaderName = name_of(number).parse().expect("a name");
                map.insert(name, HeaderValue::from(number));
            }
            let mut headers = Headers::from(map);
            assert_eq!(headers.first("x-amz-acl").expect("given"), "first");
            assert_eq!(headers.first("x-amz-date"), None);
            headers.insert(HeaderName::from_static("x-amz-date"), HeaderValue::from_static("now"));
            assert_eq!(headers.first("x-amz-date").expect("set"), "now");
            let mut values = Vec::new();
            headers.for_each_value("x-amz-acl", |value| values.push(value.clone()));
            assert_eq!(values, ["first", "second"]);
            for number in 0..=count {
                let found = headers.first(&name_of(number)).cloned();
                assert_eq!(found, (number < count).then(|| HeaderValue::from(number)));
            }
        }
    }
}
