//! Fields of a call, and which of them its operation read: as with the query API, one that nothing reads may
//! be one that narrows, and is refused before any effect.

use super::Context;
use super::error::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drystone_base::sync::{Mutex, lock};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Pairs of an encryption context.
const CONTEXT_COUNT_MAX: usize = 50;

/// Fields of a call.
pub(super) struct Fields {
    given: Map<String, Value>,
    /// Those that were not read yet.
    unread: Mutex<Map<String, Value>>,
}

fn wrong(name: &str, kind: &str) -> ApiError {
    ApiError::new("SerializationException", format!("{name} is not {kind}."))
}

impl Fields {
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Ok(Self::of(Map::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(given)) => Ok(Self::of(given)),
            _ => Err(wrong("The body", "an object of JSON")),
        }
    }

    fn of(given: Map<String, Value>) -> Self {
        Self { unread: Mutex::new(given.clone()), given }
    }

    /// The same, with nothing read: the call is decided from the beginning.
    pub(super) fn again(&self) -> Self {
        Self::of(self.given.clone())
    }

    /// A field, which is read with this. One that is null or empty says nothing.
    pub(super) fn take(&self, name: &str) -> Option<Value> {
        lock(&self.unread).remove(name);
        self.given.get(name).filter(|value| !value.is_null()).cloned()
    }

    /// Refuses a call with a field that nothing has read.
    pub(super) fn refuse_unread(&self) -> Result<(), ApiError> {
        let says = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            Value::Bool(true) | Value::Number(_) => true,
        };
        let unread = lock(&self.unread);
        let Some((name, _)) = unread.iter().find(|(_, value)| says(value)) else { return Ok(()) };
        let name: String = name.chars().take(256).collect();
        let message = format!("The parameter {name} of this operation is not implemented.");
        Err(ApiError::new("UnsupportedOperationException", message))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a text")),
        }
    }

    pub(super) fn need(&self, name: &str) -> Result<String, ApiError> {
        let missing = || {
            ApiError::validation(format!(
                "1 validation error detected: Value null at '{name}' failed to satisfy constraint: \
                 Member must not be null"
            ))
        };
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(missing)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| wrong(name, "a number")),
        }
    }

    pub(super) fn bool(&self, name: &str) -> Result<bool, ApiError> {
        match self.take(name) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| wrong(name, "true or false")),
        }
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, ApiError> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(value) => {
                serde_json::from_value(value).map_err(|_| wrong(name, "a list of texts"))
            }
        }
    }

    /// Bytes of 1 to a length, in base64.
    pub(super) fn bytes(&self, name: &str, len_max: usize) -> Result<Vec<u8>, ApiError> {
        let text = self.need(name)?;
        let bytes = STANDARD.decode(text).map_err(|_| wrong(name, "base64"))?;
        match (1..=len_max).contains(&bytes.len()) {
            true => Ok(bytes),
            false => Err(ApiError::validation(format!("{name} has 1 to {len_max} bytes."))),
        }
    }

    /// A map of texts, such as an encryption context.
    pub(super) fn context(&self, name: &str) -> Result<Context, ApiError> {
        let context = match self.take(name) {
            None => Context::new(),
            Some(value) => {
                serde_json::from_value(value).map_err(|_| wrong(name, "a map of texts"))?
            }
        };
        match context.len() <= CONTEXT_COUNT_MAX {
            true => Ok(context),
            false => {
                Err(ApiError::validation(format!("{name} has {CONTEXT_COUNT_MAX} pairs at most.")))
            }
        }
    }

    /// Refuses any other value than the ones that are here.
    pub(super) fn only(&self, name: &str, values: &[&str]) -> Result<(), ApiError> {
        match self.text(name)? {
            None => Ok(()),
            Some(text) if values.contains(&&*text) => Ok(()),
            Some(text) => {
                let message = format!("{name} {text} is not implemented.");
                Err(ApiError::new("UnsupportedOperationException", message))
            }
        }
    }

    /// Tags of a call: `TagKey` and `TagValue`.
    pub(super) fn tags(&self) -> Result<BTreeMap<String, String>, ApiError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        struct Tag {
            tag_key: String,
            tag_value: String,
        }
        let Some(value) = self.take("Tags") else { return Ok(BTreeMap::new()) };
        let tags: Vec<Tag> =
            serde_json::from_value(value).map_err(|_| wrong("Tags", "a list of tags"))?;
        let mut found = BTreeMap::new();
        for Tag { tag_key, tag_value } in tags {
            let fits = (1..=128).contains(&tag_key.chars().count())
                && tag_value.chars().count() <= 256
                && !tag_key.starts_with("aws:");
            if !fits || found.insert(tag_key, tag_value).is_some() {
                let message = "Tag keys have 1 to 128 characters, do not begin with aws: and are \
                               given once; values have up to 256.";
                return Err(ApiError::new("TagException", message));
            }
        }
        match found.len() <= 50 {
            true => Ok(found),
            false => Err(ApiError::new("LimitExceededException", "At most 50 tags.")),
        }
    }
}
