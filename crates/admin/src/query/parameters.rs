//! Parameters of a call, and which of them its operation read.
//!
//! A parameter that is ignored may be one that narrows: credentials then have more rights than was asked
//! for. So an operation reads all that it honours, and what it has not read is refused: with 501, before
//! any effect. That holds for parameters that AWS documents and for names that mean nothing, since a
//! misspelled `PolicyArns` narrows as little as one that is ignored. An empty value says nothing and is
//! let through: software development kits send empty lists so.

use super::{QueryError, write};
use crate::door::AdminRequest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

struct Parameter {
    value: String,
    is_read: AtomicBool,
}

/// Parameters of a call.
pub(super) struct Parameters {
    values: BTreeMap<String, Parameter>,
}

/// Action and version are read where the call is dispatched.
fn is_read_by_all(name: &str) -> bool {
    name == "Action" || name == "Version"
}

impl Parameters {
    pub(super) fn parse(request: &AdminRequest) -> Result<Self, QueryError> {
        let malformed = |text: &str| QueryError::new("MalformedQueryString", 400, text);
        if let Some((name, _)) = request.query.first() {
            let message = format!("Parameters belong into the form: {name} is in the address.");
            return Err(malformed(&message));
        }
        let no_form = || malformed("The form is malformed.");
        let text = std::str::from_utf8(&request.body).map_err(|_| no_form())?;
        let mut values = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = write::decode(name).ok_or_else(no_form)?;
            let value = write::decode(value).ok_or_else(no_form)?;
            let is_read = AtomicBool::new(is_read_by_all(&name));
            let twice = malformed(&format!("The parameter {name} is given twice."));
            if values.insert(name, Parameter { value, is_read }).is_some() {
                return Err(twice);
            }
        }
        Ok(Self { values })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let parameter = self.values.get(name)?;
        parameter.is_read.store(true, Ordering::Relaxed);
        Some(&parameter.value)
    }

    /// Forgets what was read: the call is decided from the beginning.
    pub(super) fn forget_reads(&self) {
        for (name, parameter) in &self.values {
            parameter.is_read.store(is_read_by_all(name), Ordering::Relaxed);
        }
    }

    /// Refuses a call with a parameter that nothing has read.
    pub(super) fn refuse_unread(&self) -> Result<(), QueryError> {
        let is_unread = |(_, parameter): &(&String, &Parameter)| {
            !parameter.value.is_empty() && !parameter.is_read.load(Ordering::Relaxed)
        };
        let Some((name, _)) = self.values.iter().find(is_unread) else { return Ok(()) };
        let name: String = name.chars().take(256).collect();
        let action = self.text("Action");
        let message = format!("The parameter {name} of {action} is not implemented.");
        Err(QueryError::not_implemented(message))
    }

    pub(super) fn need(&self, name: &str) -> Result<&str, QueryError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            QueryError::validation(format!(
                "1 validation error detected: Value null at '{name}' failed to satisfy constraint: \
                 Member must not be null"
            ))
        })
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, QueryError> {
        let invalid = |_| QueryError::validation(format!("{name} must be a number"));
        self.get(name).map(|text| text.parse().map_err(invalid)).transpose()
    }

    pub(super) fn bool(&self, name: &str) -> Result<Option<bool>, QueryError> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(QueryError::validation(format!("{name} must be true or false"))),
        }
    }

    /// `Tags.member.1.Key` and so on. A member that comes after a gap is not read.
    pub(super) fn tags(&self) -> Result<BTreeMap<String, String>, QueryError> {
        let (mut tags, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for number in 1.. {
            let part = |name| self.get(&format!("Tags.member.{number}.{name}"));
            let Some(key) = part("Key") else { break };
            if !seen.insert(key.to_lowercase()) {
                let message =
                    "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
                return Err(QueryError::new("InvalidInput", 400, message));
            }
            tags.insert(key.to_owned(), part("Value").unwrap_or_default().to_owned());
        }
        Ok(tags)
    }

    /// Tags that the call sets, and keys without a value of those that it removes, for conditions.
    /// Whether its operation reads them is not decided here.
    pub(super) fn named_tags(&self) -> Vec<(String, Option<String>)> {
        let value = |name: &str| self.values.get(name).map(|parameter| parameter.value.clone());
        let mut tags = Vec::new();
        for (name, parameter) in &self.values {
            if name.starts_with("TagKeys.member.") {
                tags.push((parameter.value.clone(), None));
            } else if name.starts_with("Tags.member.")
                && let Some(member) = name.strip_suffix(".Key")
            {
                let value = value(&format!("{member}.Value")).unwrap_or_default();
                tags.push((parameter.value.clone(), Some(value)));
            }
        }
        tags
    }

    /// `TagKeys.member.1` and so on, or with `part`: `PolicyArns.member.1.arn`.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.members(name, "")
    }

    pub(super) fn members(&self, name: &str, part: &str) -> Vec<String> {
        let members = (1..).map_while(|number| self.get(&format!("{name}.member.{number}{part}")));
        members.map(str::to_owned).collect()
    }
}
