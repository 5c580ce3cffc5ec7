//! What is known about a request: the values of condition keys.

use crate::principal::Principal;
use drystone_base::Timestamp;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Longest value of a condition key, in bytes: longer ones are cut. An encoded source of a copy is the
/// longest that means anything.
pub const FACT_LEN_BYTES_MAX: usize = 4 << 10;

/// Bytes of what a client says of itself; no more is looked at.
const SAID_LEN_BYTES_MAX: usize = 2 << 10;

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(SAID_LEN_BYTES_MAX)].to_owned()
}

/// What a text costs beyond its bytes.
const VALUE_COST: usize = size_of::<String>() + 16;

/// Condition keys of a request and their values. Names are compared without regard to case. Only what
/// was verified belongs here: a header that was not signed does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    values: BTreeMap<String, Vec<String>>,
    /// What lists that are values are made of.
    parts: BTreeMap<String, Vec<String>>,
}

impl Facts {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value to a key. What is longer than [`FACT_LEN_BYTES_MAX`] is cut: each value is compared
    /// with each of a policy.
    pub fn add(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        let mut value = value.into();
        value.truncate(value.floor_char_boundary(FACT_LEN_BYTES_MAX));
        self.values.entry(key.to_ascii_lowercase()).or_default().push(value);
        self
    }

    /// Adds a part of a list that is a value of a key. It counts where it refuses something only: a deny on a
    /// part meets each list that has it, and leave that is given for a part is not given for more.
    pub fn add_part(&mut self, key: &str, part: impl Into<String>) -> &mut Self {
        let mut part = part.into();
        part.truncate(part.floor_char_boundary(FACT_LEN_BYTES_MAX));
        self.parts.entry(key.to_ascii_lowercase()).or_default().push(part);
        self
    }

    /// The parts of lists that are values of a key.
    pub(crate) fn parts(&self, key: &str) -> &[String] {
        let parts = self.parts.get(key).or_else(|| self.parts.get(&key.to_ascii_lowercase()));
        parts.map_or(&[], Vec::as_slice)
    }

    /// Gives a key this value alone.
    pub fn set(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.values.remove(&key.to_ascii_lowercase());
        self.parts.remove(&key.to_ascii_lowercase());
        self.add(key, value)
    }

    /// Adds a value to a key, if there is one.
    pub fn add_if(&mut self, key: &str, value: Option<impl Into<String>>) -> &mut Self {
        if let Some(value) = value {
            self.add(key, value);
        }
        self
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let of = |(key, values): (&String, &Vec<String>)| {
            let of_values: usize = values.iter().map(|value| value.capacity() + VALUE_COST).sum();
            key.capacity() + 2 * VALUE_COST + of_values
        };
        size_of::<Self>() + self.values.iter().chain(&self.parts).map(of).sum::<usize>()
    }

    /// The values of a key; `None` if the request has no such key.
    #[must_use]
    pub fn values(&self, key: &str) -> Option<&[String]> {
        match self.values.get(key) {
            Some(values) => Some(values),
            None => self.values.get(&key.to_ascii_lowercase()).map(Vec::as_slice),
        }
    }

    /// The only value of a key; `None` if it has none or several.
    #[must_use]
    pub fn single(&self, key: &str) -> Option<&str> {
        match self.values(key)? {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// What requests at every door have in common.
#[derive(Clone, Copy, Debug)]
pub struct CommonFacts<'a> {
    /// Who signed.
    pub principal: &'a Principal,
    /// Seconds since a code of a device was given, if one was.
    pub mfa_age_s: Option<u64>,
    /// Where the request comes from; nowhere if the server itself asks.
    pub address: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// Region that was asked.
    pub region: &'a str,
    /// The header `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// The header `Referer`.
    pub referer: Option<&'a str>,
}

impl CommonFacts<'_> {
    /// The keys, in lower case.
    pub const KEYS: &'static [&'static str] = &[
        "aws:currenttime",
        "aws:epochtime",
        "aws:multifactorauthage",
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalisawsservice",
        "aws:principalservicename",
        "aws:principalservicenameslist",
        "aws:principaltype",
        "aws:referer",
        "aws:requestedregion",
        "aws:securetransport",
        "aws:sourceip",
        "aws:useragent",
        "aws:userid",
        "aws:viaawsservice",
    ];

    /// The value of a key, which is in lower case.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<String> {
        let text = |text: &str| Some(text.to_owned());
        let service = match self.principal {
            Principal::Service { name } => Some(*name),
            _ => None,
        };
        match key {
            "aws:currenttime" => Some(Timestamp(self.now_ms).to_iso()),
            "aws:epochtime" => Some((self.now_ms / 1000).to_string()),
            "aws:multifactorauthage" => self.mfa_age_s.map(|age| age.to_string()),
            "aws:principalaccount" => self.principal.account().and_then(text),
            "aws:principalarn" => self.principal.arn(),
            "aws:principalisawsservice" => Some(service.is_some().to_string()),
            "aws:principalservicename" | "aws:principalservicenameslist" => service.and_then(text),
            "aws:principaltype" => text(self.principal.kind()),
            "aws:referer" => self.referer.map(cut),
            "aws:requestedregion" => text(self.region),
            "aws:securetransport" => Some(self.is_secure.to_string()),
            "aws:sourceip" => self.address.map(|address| address.to_canonical().to_string()),
            "aws:useragent" => self.user_agent.map(cut),
            "aws:userid" => self.principal.user_id(),
            // No service of this server acts for a caller.
            "aws:viaawsservice" => text("false"),
            _ => None,
        }
    }

    /// Adds all of them; what is known of the identity already stays.
    pub fn add_to(&self, facts: &mut Facts) {
        for key in Self::KEYS {
            if facts.values(key).is_none() {
                facts.add_if(key, self.value(key));
            }
        }
    }
}
