//! Answers to browsers: preflight requests, and the headers that let a page read a response (Fetch
//! standard, "CORS protocol"; S3 User Guide, "Using cross-origin resource sharing").

use crate::error::{S3Code, S3Error};
use crate::request::S3Request;
use crate::response::{Reply, empty, set};
use crate::rules::Rules;
use crate::xml::{Element, parse};
use std::sync::Arc;

/// Methods that a rule may allow.
pub(crate) const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];
/// Rules of a bucket at most.
pub(crate) const RULE_COUNT_MAX: usize = 100;
/// Bytes of the names that a rule exposes, joined: clients take 8 KiB of headers at least.
pub(crate) const EXPOSED_LEN_MAX: usize = 8 << 10;
/// Headers that a preflight may ask for; a page that sends more is refused.
const ASKED_COUNT_MAX: usize = 128;

/// The rules of a bucket, compiled.
#[derive(Debug)]
pub(crate) struct CorsRules(Vec<Rule>);

/// What pages of some origins may send, and what they may read.
#[derive(Debug)]
struct Rule {
    origins: Vec<String>,
    methods: Vec<String>,
    /// Patterns of headers, in lower case.
    headers: Vec<String>,
    /// All methods, as they are answered.
    allowed_methods: String,
    /// All headers that pages may read, as they are answered.
    exposed: String,
    max_age: Option<String>,
}

/// Whether a text matches a pattern with at most one wildcard.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

impl CorsRules {
    /// The rules of a stored document; `None` if it cannot be read: a browser then shows nothing to the page.
    pub(crate) fn compile(document: &[u8]) -> Option<Self> {
        let root = parse(document, "CORSConfiguration").ok()?;
        let rules = root.children_named("CORSRule").take(RULE_COUNT_MAX);
        Some(Self(rules.map(Rule::compile).collect()))
    }

    /// Bytes that they hold.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.0.iter().map(Rule::weight_bytes).sum()
    }

    /// The first rule that allows an origin, a method and all of some headers.
    fn find(&self, origin: &str, method: &str, headers: &[String]) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.allows(origin, method, headers))
    }
}

impl Rule {
    fn compile(rule: &Element) -> Self {
        let texts = |name| -> Vec<String> {
            rule.children_named(name).map(|element| element.text.clone()).collect()
        };
        let mut methods = texts("AllowedMethod");
        methods.sort();
        methods.dedup();
        let exposed = texts("ExposeHeader").join(", ");
        Self {
            origins: texts("AllowedOrigin"),
            headers: texts("AllowedHeader").iter().map(|text| text.to_ascii_lowercase()).collect(),
            allowed_methods: methods.join(", "),
            methods,
            // Stores of earlier versions may have more.
            exposed: if exposed.len() <= EXPOSED_LEN_MAX { exposed } else { String::new() },
            max_age: rule.text_of("MaxAgeSeconds").map(str::to_owned),
        }
    }

    fn weight_bytes(&self) -> usize {
        let of_list = |texts: &[String]| -> usize {
            texts.iter().map(|text| size_of::<String>() + 16 + text.len()).sum()
        };
        let lists = of_list(&self.origins) + of_list(&self.methods) + of_list(&self.headers);
        size_of::<Self>() + lists + self.allowed_methods.len() + self.exposed.len() + 64
    }

    fn allows(&self, origin: &str, method: &str, headers: &[String]) -> bool {
        let allows_header = |header: &String| self.headers.iter().any(|it| matches(it, header));
        self.origins.iter().any(|pattern| matches(pattern, origin))
            && self.methods.iter().any(|allowed| allowed == method)
            && headers.iter().all(allows_header)
    }

    fn write(&self, reply: &mut Reply, origin: &str) {
        let for_all = self.origins.iter().any(|allowed| allowed == "*");
        set(reply, "access-control-allow-origin", if for_all { "*" } else { origin });
        if !for_all {
            set(reply, "access-control-allow-credentials", "true");
        }
        set(reply, "access-control-allow-methods", &self.allowed_methods);
        if !self.exposed.is_empty() {
            set(reply, "access-control-expose-headers", &self.exposed);
        }
        if let Some(seconds) = &self.max_age {
            set(reply, "access-control-max-age", seconds);
        }
        vary(reply);
    }
}

fn vary(reply: &mut Reply) {
    let names = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
    set(reply, "vary", names);
}

/// Answers a preflight request, which no one signs, by the rules of its bucket.
///
/// # Errors
///
/// `BadRequest` if it does not say what is asked for, `AccessForbidden` if it is not allowed.
pub(crate) fn preflight(rules: Option<Arc<Rules>>, request: &S3Request) -> Result<Reply, S3Error> {
    let insufficient = |what: &str| {
        let message = format!("Insufficient information. {what} needed.");
        S3Error::with(S3Code::BadRequest, message)
    };
    let origin = request.header("origin").ok_or_else(|| insufficient("Origin request header"))?;
    let method = request.header("access-control-request-method");
    let method = method.ok_or_else(|| insufficient("Access-Control-Request-Method"))?;
    if !METHODS.contains(&method) {
        let message = format!("Invalid Access-Control-Request-Method: {method}");
        return Err(S3Error::with(S3Code::BadRequest, message));
    }
    let forbidden = |message| {
        S3Error::with(S3Code::AccessForbidden, message)
            .field("Method", method)
            .field("ResourceType", if request.key.is_some() { "OBJECT" } else { "BUCKET" })
    };
    let rules = rules.as_ref().and_then(|rules| rules.cors.as_ref());
    let rules =
        rules.ok_or_else(|| forbidden("CORSResponse: CORS is not enabled for this bucket."))?;
    let asked = request.header("access-control-request-headers").unwrap_or_default();
    let names = asked.split(',').map(str::trim).filter(|name| !name.is_empty());
    let headers: Vec<String> =
        names.take(ASKED_COUNT_MAX + 1).map(str::to_ascii_lowercase).collect();
    let rule = match headers.len() {
        ..=ASKED_COUNT_MAX => rules.find(origin, method, &headers),
        _ => None,
    };
    let rule = rule.ok_or_else(|| {
        forbidden(
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution \
             of Origin, request method / Access-Control-Request-Method or \
             Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
        )
    })?;
    let mut reply = empty(200);
    rule.write(&mut reply, origin);
    if !headers.is_empty() {
        set(&mut reply, "access-control-allow-headers", &headers.join(", "));
    }
    Ok(reply)
}

/// What an answer to a page says besides.
pub(crate) struct Asked {
    origin: String,
    method: String,
    /// Rules from before the request, which may end them. No others are held: a client that never ends its
    /// body could keep each version of them in memory.
    before: Option<Arc<Rules>>,
}

impl Asked {
    /// `None` if no page asks.
    pub(crate) fn of(
        request: &S3Request,
        rules: impl FnOnce() -> Option<Arc<Rules>>,
    ) -> Option<Self> {
        let origin = request.header("origin")?.to_owned();
        let before = if request.method == http::Method::DELETE { rules() } else { None };
        Some(Self { origin, method: request.method.as_str().to_owned(), before })
    }

    /// Adds the headers of the first rule that allows the request, to successes and errors alike.
    pub(crate) fn write(self, reply: &mut Reply, now: impl FnOnce() -> Option<Arc<Rules>>) {
        let Some(rules) = self.before.or_else(now) else { return };
        let Some(rules) = &rules.cors else { return };
        match rules.find(&self.origin, &self.method, &[]) {
            Some(rule) => rule.write(reply, &self.origin),
            None => vary(reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_one_wildcard() {
        for (pattern, text, expected) in [
            ("*", "https://a.example", true),
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://*.example", "https://a.b.example", true),
            ("https://*.example", "https://.example", true),
            ("https://*.example", "https://example", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }
}
