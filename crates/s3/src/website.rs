//! Websites: what a browser gets from the website host of a bucket.
//!
//! Requests have no signature here and name no operation: every path is a page. What may be read is
//! decided as for everybody else.
//!
//! Source: S3 user guide, "Hosting a static website using Amazon S3".

use crate::authorize::{authorize, hide_absence, read_page};
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::headers::printable;
use crate::operation::Operation;
use crate::response::{ECHO_LEN_MAX, Reply, ResponseBody, empty, set};
use crate::rules::Rules;
use crate::uri::encode;
use crate::xml::{Element, parse};
use http::{Method, StatusCode};
use std::sync::Arc;

/// Bytes of a host or a key.
const TEXT_LEN_MAX: usize = 1024;
const REDIRECT_HEADER: &str = "x-amz-website-redirect-location";

/// Answers a request to a website. Errors are pages too.
pub(crate) async fn serve(mut context: Context<'_>) -> Reply {
    match answer(&mut context).await {
        Ok(reply) => reply,
        Err(error) => page(&context, &error),
    }
}

/// What the website host of a bucket answers.
#[derive(Debug)]
pub(crate) struct Website(Element);

impl Website {
    /// A stored document; `None` if it cannot be read.
    pub(crate) fn compile(document: &[u8]) -> Option<Self> {
        let root = parse(document, "WebsiteConfiguration").ok()?;
        // Stores of earlier versions may have longer ones.
        is_short(&root).then_some(Self(root))
    }

    /// Bytes that it holds.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.0.weight_bytes()
    }
}

/// Whether no text is longer than a key may be: hosts and keys become headers of answers.
pub(crate) fn is_short(root: &Element) -> bool {
    // What stands between elements says nothing.
    (root.text.len() <= TEXT_LEN_MAX || !root.children.is_empty())
        && root.children.iter().all(is_short)
}

fn load(context: &Context<'_>) -> Result<Arc<Rules>, S3Error> {
    let name = context.request.bucket.as_deref().unwrap_or_default();
    let bucket = context.engine.find_bucket(name)?;
    context.rules_of(&bucket)
}

async fn answer(context: &mut Context<'_>) -> Result<Reply, S3Error> {
    let with_body = match context.request.method {
        Method::GET => true,
        Method::HEAD => false,
        _ => return Err(S3Error::new(S3Code::MethodNotAllowed).header("allow", "GET, HEAD")),
    };
    let rules = load(context)?;
    let site = &rules.website.as_ref().ok_or(S3Code::NoSuchWebsiteConfiguration)?.0;
    // Nothing in a query is meant for a website.
    context.request.query.clear();
    let asked = context.request.key.clone().unwrap_or_default();
    if let Some(target) = site.child("RedirectAllRequestsTo") {
        return Ok(redirect(context, target, &asked, ""));
    }
    if let Some(reply) = route(context, site, &asked, None) {
        return Ok(reply);
    }
    let index = site.child("IndexDocument").and_then(|index| index.text_of("Suffix"));
    let suffix = index.unwrap_or_default();
    let is_folder = asked.is_empty() || asked.ends_with('/');
    let key = if is_folder { format!("{asked}{suffix}") } else { asked.clone() };
    let error = match fetch(context, &key, with_body).await {
        Ok(reply) => return Ok(follow(reply)),
        Err(error) => error,
    };
    let is_absent = matches!(error.code, S3Code::NoSuchKey | S3Code::AccessDenied);
    if is_absent && !is_folder && fetch(context, &format!("{asked}/{suffix}"), false).await.is_ok()
    {
        let mut reply = empty(302);
        set(&mut reply, "location", &format!("/{}/", encode(&asked, true)));
        return Ok(reply);
    }
    if let Some(reply) = route(context, site, &asked, Some(error.code.status())) {
        return Ok(reply);
    }
    let document = site.child("ErrorDocument").and_then(|error| error.text_of("Key"));
    if let (Some(document), true) = (document, error.code.status() < 500)
        && let Ok(mut reply) = fetch(context, document, with_body).await
    {
        let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::NOT_FOUND);
        *reply.status_mut() = status;
        return Ok(reply);
    }
    Err(error)
}

/// An object, for anyone who may read it, also when it has been read.
async fn fetch(context: &mut Context<'_>, key: &str, with_body: bool) -> Result<Reply, S3Error> {
    context.request.key = Some(key.to_owned());
    authorize(context, Operation::GetObject)?;
    context.is_decided();
    let found = read_page(context, with_body).await;
    found.map_err(|error| hide_absence(context, error))
}

/// An object may say that it is elsewhere.
fn follow(reply: Reply) -> Reply {
    let target = reply.headers().get(REDIRECT_HEADER).and_then(printable);
    let Some(target) = target else { return reply };
    let mut redirect = empty(301);
    set(&mut redirect, "location", target);
    redirect
}

/// The answer of the first rule that fits; `status` is that of an error, after the object was looked for.
fn route(context: &Context<'_>, site: &Element, asked: &str, status: Option<u16>) -> Option<Reply> {
    let rules = site.child("RoutingRules")?;
    rules.children_named("RoutingRule").find_map(|rule| {
        let condition = |name| rule.child("Condition").and_then(|c| c.text_of(name));
        let code = condition("HttpErrorCodeReturnedEquals");
        let prefix = condition("KeyPrefixEquals");
        let fits = code.map(str::to_owned) == status.map(|status| status.to_string())
            && prefix.is_none_or(|prefix| asked.starts_with(prefix));
        let target = rule.child("Redirect").filter(|_| fits)?;
        Some(redirect(context, target, asked, prefix.unwrap_or_default()))
    })
}

fn redirect(context: &Context<'_>, target: &Element, asked: &str, prefix: &str) -> Reply {
    let request = &context.request;
    let scheme = if context.sender.peer.is_secure { "https" } else { "http" };
    let scheme = target.text_of("Protocol").unwrap_or(scheme);
    let host = target.text_of("HostName").unwrap_or(&request.host);
    let key = match (target.text_of("ReplaceKeyWith"), target.text_of("ReplaceKeyPrefixWith")) {
        (Some(key), _) => key.to_owned(),
        (None, Some(new)) => format!("{new}{}", asked.strip_prefix(prefix).unwrap_or(asked)),
        (None, None) => asked.to_owned(),
    };
    let code = target.text_of("HttpRedirectCode").and_then(|code| code.parse().ok());
    let mut reply = empty(code.unwrap_or(301));
    set(&mut reply, "location", &format!("{scheme}://{host}/{}", encode(&key, true)));
    reply
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// An error as a page.
fn page(context: &Context<'_>, error: &S3Error) -> Reply {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut reply = empty(status.as_u16());
    let (code, message) = (
        error.code.name(),
        escape(&error.message[..error.message.floor_char_boundary(ECHO_LEN_MAX)]),
    );
    let id = &context.ids.request_id;
    let text = format!(
        "<html>\n<head><title>{status}</title></head>\n<body>\n<h1>{status}</h1>\n<ul>\n\
         <li>Code: {code}</li>\n<li>Message: {message}</li>\n<li>RequestId: {id}</li>\n</ul>\n\
         <hr/>\n</body>\n</html>\n"
    );
    for (name, value) in &error.headers {
        set(&mut reply, name, value);
    }
    set(&mut reply, "content-type", "text/html; charset=utf-8");
    set(&mut reply, "content-length", &text.len().to_string());
    if context.request.method != Method::HEAD {
        *reply.body_mut() = ResponseBody::Full(Some(text.into()));
    }
    reply
}
