//! Answers to browsers: preflight requests, and the headers that let a page read a response (Fetch
//! standard, "CORS protocol"; S3 User Guide, "Using cross-origin resource sharing").

use crate::error::{S3Code, S3Error};
use crate::request::S3Request;
use crate::response::{Reply, empty, set};
use crate::xml::{Element, parse};
use drystone_engine::plan::DocumentKind;
use drystone_engine::{Engine, EngineError};

const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// The rules of a bucket; `None` if it has none, or there is no such bucket.
fn rules(engine: &Engine, request: &S3Request) -> Result<Option<Element>, EngineError> {
    let Ok(name) = request.bucket_name() else { return Ok(None) };
    let bucket = match engine.find_bucket(name.as_str()) {
        Err(EngineError::BucketNotFound) => return Ok(None),
        bucket => bucket?,
    };
    let document = engine.document(&bucket, DocumentKind::Cors, "")?;
    Ok(document.and_then(|bytes| parse(&bytes, "CORSConfiguration").ok()))
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

/// The first rule that allows an origin, a method and all of some headers.
fn find<'a>(
    rules: &'a Element,
    origin: &str,
    method: &str,
    headers: &[String],
) -> Option<&'a Element> {
    rules.children_named("CORSRule").find(|rule| {
        let allows = |name, text: &str| rule.children_named(name).any(|e| matches(&e.text, text));
        let allows_header = |header: &String| {
            let mut patterns = rule.children_named("AllowedHeader");
            patterns.any(|pattern| matches(&pattern.text.to_ascii_lowercase(), header))
        };
        allows("AllowedOrigin", origin)
            && rule.children_named("AllowedMethod").any(|allowed| allowed.text == method)
            && headers.iter().all(allows_header)
    })
}

fn joined(rule: &Element, name: &str) -> String {
    let texts: Vec<_> = rule.children_named(name).map(|element| element.text.as_str()).collect();
    texts.join(", ")
}

fn write(reply: &mut Reply, rule: &Element, origin: &str) {
    let for_all = rule.children_named("AllowedOrigin").any(|allowed| allowed.text == "*");
    set(reply, "access-control-allow-origin", if for_all { "*" } else { origin });
    if !for_all {
        set(reply, "access-control-allow-credentials", "true");
    }
    set(reply, "access-control-allow-methods", &joined(rule, "AllowedMethod"));
    let exposed = joined(rule, "ExposeHeader");
    if !exposed.is_empty() {
        set(reply, "access-control-expose-headers", &exposed);
    }
    if let Some(seconds) = rule.text_of("MaxAgeSeconds") {
        set(reply, "access-control-max-age", seconds);
    }
    vary(reply);
}

fn vary(reply: &mut Reply) {
    let names = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
    set(reply, "vary", names);
}

/// Answers a preflight request, which nobody signs.
///
/// # Errors
///
/// `BadRequest` if it does not say what is asked for, `AccessForbidden` if it is not allowed.
pub(crate) fn preflight(engine: &Engine, request: &S3Request) -> Result<Reply, S3Error> {
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
    let asked = request.header("access-control-request-headers").unwrap_or_default();
    let names = asked.split(',').map(|name| name.trim().to_ascii_lowercase());
    let headers: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    let forbidden = |message| {
        S3Error::with(S3Code::AccessForbidden, message)
            .field("Method", method)
            .field("ResourceType", if request.key.is_some() { "OBJECT" } else { "BUCKET" })
    };
    let rules = rules(engine, request)?;
    let rules =
        rules.ok_or_else(|| forbidden("CORSResponse: CORS is not enabled for this bucket."))?;
    let rule = find(&rules, origin, method, &headers).ok_or_else(|| {
        forbidden(
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution \
             of Origin, request method / Access-Control-Request-Method or \
             Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
        )
    })?;
    let mut reply = empty(200);
    write(&mut reply, rule, origin);
    if !headers.is_empty() {
        set(&mut reply, "access-control-allow-headers", &headers.join(", "));
    }
    Ok(reply)
}

/// What an answer to a page says besides: taken from the request before it goes on its way.
pub(crate) struct Asked {
    origin: String,
    method: String,
    rules: Option<Element>,
}

impl Asked {
    /// `None` if no page asks.
    pub(crate) fn of(engine: &Engine, request: &S3Request) -> Option<Self> {
        let origin = request.header("origin")?.to_owned();
        // A bucket whose rules cannot be read has none: a browser then shows nothing to the page.
        let rules = rules(engine, request).ok().flatten();
        Some(Self { origin, method: request.method.as_str().to_owned(), rules })
    }

    /// Adds the headers of the first rule that allows the request, to successes and errors alike.
    pub(crate) fn write(&self, reply: &mut Reply) {
        let Some(rules) = &self.rules else { return };
        match find(rules, &self.origin, &self.method, &[]) {
            Some(rule) => write(reply, rule, &self.origin),
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
