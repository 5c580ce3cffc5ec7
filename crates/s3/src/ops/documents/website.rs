//! Websites: index and error pages, redirects, routing rules.

use super::{Form, Subject, Unset};
use crate::error::{S3Code, S3Error};
use crate::schema::{Content, Node, one, optional, some};
use crate::website::is_short;
use crate::xml::Element;
use drystone_engine::plan::DocumentKind;

const PROTOCOLS: &[&str] = &["http", "https"];
const SHAPE: &[Node] = &[
    optional("ErrorDocument", Content::Group(&[one("Key", Content::Text)])),
    optional("IndexDocument", Content::Group(&[one("Suffix", Content::Text)])),
    optional(
        "RedirectAllRequestsTo",
        Content::Group(&[
            one("HostName", Content::Text),
            optional("Protocol", Content::OneOf(PROTOCOLS)),
        ]),
    ),
    optional(
        "RoutingRules",
        Content::Group(&[some(
            "RoutingRule",
            Content::Group(&[
                optional(
                    "Condition",
                    Content::Group(&[
                        optional("HttpErrorCodeReturnedEquals", Content::Text),
                        optional("KeyPrefixEquals", Content::Text),
                    ]),
                ),
                one(
                    "Redirect",
                    Content::Group(&[
                        optional("HostName", Content::Text),
                        optional("HttpRedirectCode", Content::Text),
                        optional("Protocol", Content::OneOf(PROTOCOLS)),
                        optional("ReplaceKeyPrefixWith", Content::Text),
                        optional("ReplaceKeyWith", Content::Text),
                    ]),
                ),
            ]),
        )]),
    ),
];
const RULE_COUNT_MAX: usize = 50;

pub(super) const FORM: Form = Form {
    kind: DocumentKind::Website,
    root: "WebsiteConfiguration",
    shape: SHAPE,
    check,
    unset: Unset::Error(S3Code::NoSuchWebsiteConfiguration),
};

fn invalid(message: &str) -> S3Error {
    S3Error::with(S3Code::InvalidRequest, message)
}

fn check(root: &mut Element, _: &Subject<'_>) -> Result<(), S3Error> {
    if !is_short(root) {
        return Err(invalid("A host name, a key or a prefix is longer than 1024 bytes."));
    }
    if root.child("RedirectAllRequestsTo").is_some() {
        if root.children.len() > 1 {
            let message = "RedirectAllRequestsTo cannot be provided in conjunction with other \
                           Routing Rules.";
            return Err(invalid(message));
        }
        return Ok(());
    }
    let index = root.child("IndexDocument").and_then(|index| index.text_of("Suffix"));
    let Some(suffix) = index else {
        return Err(S3Error::argument(
            "IndexDocument",
            "null",
            "A value for IndexDocument Suffix \
                   must be provided if RedirectAllRequestsTo is empty",
        ));
    };
    if suffix.is_empty() || suffix.contains('/') {
        let message = "The IndexDocument Suffix is not well formed";
        return Err(S3Error::argument("IndexDocument", suffix, message));
    }
    let error = root.child("ErrorDocument").and_then(|error| error.text_of("Key"));
    if error.is_some_and(str::is_empty) {
        return Err(S3Error::argument("ErrorDocument", "", "The ErrorDocument Key is not valid"));
    }
    let Some(rules) = root.child("RoutingRules") else { return Ok(()) };
    if rules.children.len() > RULE_COUNT_MAX {
        let message = "50 routing rules are the most that a website may have.";
        return Err(invalid(message));
    }
    rules.children.iter().try_for_each(check_rule)
}

fn check_rule(rule: &Element) -> Result<(), S3Error> {
    if let Some(condition) = rule.child("Condition") {
        if condition.children.is_empty() {
            return Err(invalid(
                "Condition cannot be empty. To redirect all requests without a \
                                condition, the condition element shouldn't be present.",
            ));
        }
        let code = condition.text_of("HttpErrorCodeReturnedEquals");
        let is_error = |text: &str| text.parse().is_ok_and(|code: u16| (400..600).contains(&code));
        if code.is_some_and(|code| !is_error(code)) {
            return Err(invalid(
                "The provided HTTP error code is not valid. Valid codes are 4XX or \
                                5XX.",
            ));
        }
    }
    let Some(redirect) = rule.child("Redirect") else { return Err(S3Code::MalformedXML.into()) };
    let has = |name| redirect.child(name).is_some();
    if has("ReplaceKeyWith") && has("ReplaceKeyPrefixWith") {
        return Err(invalid("You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
    }
    if redirect.children.is_empty() {
        return Err(invalid("Redirect must not be empty."));
    }
    let is_redirect = |text: &str| text.parse().is_ok_and(|code: u16| (301..400).contains(&code));
    if redirect.text_of("HttpRedirectCode").is_some_and(|code| !is_redirect(code)) {
        return Err(invalid(
            "The provided HTTP redirect code is not valid. Valid codes are 3XX \
                            except 300.",
        ));
    }
    Ok(())
}
