//! CORS rules: from which pages browsers may call.

use super::{Form, Subject, Unset};
use crate::cors::{EXPOSED_LEN_MAX, METHODS, RULE_COUNT_MAX};
use crate::error::{S3Code, S3Error};
use crate::schema::{Content, Node, many, optional, some};
use crate::xml::Element;
use drystone_engine::plan::DocumentKind;

const SHAPE: &[Node] = &[some(
    "CORSRule",
    Content::Group(&[
        optional("ID", Content::Text),
        many("AllowedHeader", Content::Text),
        some("AllowedMethod", Content::Text),
        some("AllowedOrigin", Content::Text),
        many("ExposeHeader", Content::Text),
        optional("MaxAgeSeconds", Content::Int),
    ]),
)];
pub(super) const FORM: Form = Form {
    kind: DocumentKind::Cors,
    root: "CORSConfiguration",
    shape: SHAPE,
    check,
    unset: Unset::Error(S3Code::NoSuchCORSConfiguration),
};

fn check(root: &mut Element, _: &Subject<'_>) -> Result<(), S3Error> {
    let invalid = |message: String| Err(S3Error::with(S3Code::InvalidRequest, message));
    if root.children.len() > RULE_COUNT_MAX {
        return Err(S3Code::MalformedXML.into());
    }
    for rule in &root.children {
        for method in rule.children_named("AllowedMethod") {
            let method = &method.text;
            if !METHODS.contains(&method.as_str()) {
                return invalid(format!(
                    "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
                ));
            }
        }
        for name in ["AllowedOrigin", "AllowedHeader"] {
            for value in rule.children_named(name) {
                let value = &value.text;
                if value.matches('*').count() > 1 {
                    return invalid(format!(
                        "{name} \"{value}\" can not have more than one wildcard."
                    ));
                }
            }
        }
        if let Some(header) = rule.children_named("ExposeHeader").find(|h| h.text.contains('*')) {
            let header = &header.text;
            return invalid(format!(
                "ExposeHeader \"{header}\" contains wildcard. We currently do not support \
                 wildcard for ExposeHeader."
            ));
        }
        // They become one header of each answer.
        let exposed = rule.children_named("ExposeHeader").map(|header| header.text.len() + 2);
        if exposed.sum::<usize>() > EXPOSED_LEN_MAX {
            return invalid(format!(
                "The names in ExposeHeader of a rule cannot have more than {EXPOSED_LEN_MAX} bytes."
            ));
        }
    }
    Ok(())
}
