//! What a call says, by the names that its operation knows.
//!
//! A field or a parameter that is ignored may be one that narrows: a key then has more rights than was asked
//! for. So whatever changes something refuses names that it does not know. Names of fields count in any case,
//! as in MinIO, whose decoder ignores case; parameters of the query do not.

use super::MinioError;
use crate::door::AdminRequest;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A body that is an object with fields of these names.
pub(super) trait Fields: DeserializeOwned {
    /// All names that it may have.
    const NAMES: &'static [&'static str];
}

/// Values of a body at most: one that is a character takes 32 bytes and more in memory.
const VALUE_COUNT_MAX: usize = 16 << 10;

/// Reads a body.
pub(super) fn read<T: Fields>(text: &[u8]) -> Result<T, MinioError> {
    // Each value but the last of an array or object has a comma behind it.
    let begins_value = |byte: &&u8| matches!(byte, b',' | b'[' | b'{');
    if text.iter().filter(begins_value).count() > VALUE_COUNT_MAX {
        return Err(MinioError::invalid(format!(
            "The body has more than {VALUE_COUNT_MAX} values."
        )));
    }
    let sent: Map<String, Value> = serde_json::from_slice(text).map_err(|_| MinioError::body())?;
    let mut known = Map::new();
    for (name, value) in sent {
        let meant = T::NAMES.iter().find(|known| known.eq_ignore_ascii_case(&name));
        let Some(meant) = meant else {
            // Software development kits send empty fields that say nothing.
            if value.is_null() || value == "" {
                continue;
            }
            return Err(unknown("field", &name));
        };
        if known.insert((*meant).to_owned(), value).is_some() {
            return Err(MinioError::invalid(format!("The field {meant} is given twice.")));
        }
    }
    serde_json::from_value(Value::Object(known)).map_err(|_| MinioError::body())
}

/// The parameters of an operation that changes something; `None` for one that only reads.
fn parameters_of(operation: &str) -> Option<&'static [&'static str]> {
    Some(match operation {
        "add-user" | "remove-user" | "update-service-account" | "delete-service-account" => {
            &["accessKey"]
        }
        "set-user-status" => &["accessKey", "status"],
        "set-group-status" => &["group", "status"],
        "add-canned-policy" | "remove-canned-policy" => &["name"],
        "set-user-or-group-policy" => &["userOrGroup", "isGroup", "policyName"],
        "add-service-account"
        | "update-group-members"
        | "idp/builtin/policy/attach"
        | "idp/builtin/policy/detach"
        | "idp/ldap/policy/attach"
        | "idp/ldap/policy/detach" => &[],
        "key/create" => &["key-id"],
        _ => return None,
    })
}

/// Refuses parameters that an operation does not know, or that are given twice, before any effect.
pub(super) fn check_parameters(request: &AdminRequest, operation: &str) -> Result<(), MinioError> {
    let Some(known) = parameters_of(operation) else { return Ok(()) };
    for (index, (name, value)) in request.query.iter().enumerate() {
        // Those of a presigned address were read when its signature was verified.
        let is_signature = name.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("x-amz-"));
        if is_signature || value.is_empty() {
            continue;
        }
        if !known.contains(&name.as_str()) {
            return Err(unknown("parameter", name));
        }
        if request.query[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(MinioError::invalid(format!("The parameter {name} is given twice.")));
        }
    }
    Ok(())
}

fn unknown(kind: &str, name: &str) -> MinioError {
    let name: String = name.chars().take(256).collect();
    MinioError::invalid(format!("The {kind} {name} is not known here, and would be ignored."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        policy: Option<Value>,
        secret_key: Option<String>,
    }

    impl Fields for Body {
        const NAMES: &'static [&'static str] = &["policy", "secretKey"];
    }

    fn check(text: &str) -> Result<Body, String> {
        read(text.as_bytes()).map_err(|error: MinioError| error.code)
    }

    #[test]
    fn fields_count_in_any_case_and_none_is_ignored() {
        let narrow = Body { policy: Some("p".into()), secret_key: None };
        for text in [r#"{"policy":"p"}"#, r#"{"Policy":"p"}"#, r#"{"POLICY":"p","other":null}"#] {
            assert_eq!(check(text).as_ref(), Ok(&narrow), "{text}");
        }
        for text in [r#"{"polcy":"p"}"#, r#"{"policy":"p","Policy":"q"}"#, r#"{"x":{}}"#] {
            assert_eq!(check(text), Err("XMinioAdminInvalidArgument".to_owned()), "{text}");
        }
        for value in ["0", "[]", "{}", r#""""#] {
            let text = |count| format!(r#"{{"policy":[{}]}}"#, vec![value; count].join(","));
            assert!(check(&text(1000)).is_ok());
            assert_eq!(check(&text(16 << 10)), Err("XMinioAdminInvalidArgument".to_owned()));
        }
        for text in ["", "[]", "1", r#"{"secretKey":1}"#] {
            assert_eq!(check(text), Err("XMinioAdminConfigBadJSON".to_owned()), "{text}");
        }
    }
}
