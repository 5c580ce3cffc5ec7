//! The query API of IAM and STS: `POST /` with a form, answers in XML.
//!
//! Sources: IAM API reference, version 2010-05-08; STS API reference, version 2011-06-15.

mod error;
mod groups;
mod keys;
mod ldap_identity;
mod policies;
mod roles;
mod sts;
mod users;
mod web_identity;
mod write;

use crate::AdminResponse;
use crate::door::{Actor, AdminRequest};
use crate::federation::Federation;
use crate::respond;
use drystone_identity::Directory;
use error::QueryError;
pub(crate) use error::refuse_early;
use http::StatusCode;
use std::collections::BTreeMap;
use write::Xml;

const IAM_NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// Entries of a page, unless the client says otherwise.
const PAGE_LEN: usize = 100;
const PAGE_LEN_MAX: usize = 1000;

/// Parameters of a call.
struct Parameters {
    values: BTreeMap<String, String>,
}

impl Parameters {
    fn parse(body: &[u8]) -> Result<Self, QueryError> {
        let malformed = || QueryError::new("MalformedQueryString", 400, "The form is malformed.");
        let text = std::str::from_utf8(body).map_err(|_| malformed())?;
        let mut values = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = write::decode(name).ok_or_else(malformed)?;
            let value = write::decode(value).ok_or_else(malformed)?;
            values.insert(name, value);
        }
        Ok(Self { values })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn need(&self, name: &str) -> Result<&str, QueryError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            QueryError::validation(format!(
                "1 validation error detected: Value null at '{name}' failed to satisfy constraint: \
                 Member must not be null"
            ))
        })
    }

    fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    fn number(&self, name: &str) -> Result<Option<u64>, QueryError> {
        let invalid = |_| QueryError::validation(format!("{name} must be a number"));
        self.get(name).map(|text| text.parse().map_err(invalid)).transpose()
    }

    /// `Tags.member.1.Key` and so on.
    fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = BTreeMap::new();
        for number in 1..=50 {
            let part = |name| self.get(&format!("Tags.member.{number}.{name}"));
            let Some(key) = part("Key") else { break };
            tags.insert(key.to_owned(), part("Value").unwrap_or_default().to_owned());
        }
        tags
    }

    /// `TagKeys.member.1` and so on.
    fn list(&self, name: &str) -> Vec<String> {
        let members = (1..).map_while(|number| self.get(&format!("{name}.member.{number}")));
        members.map(str::to_owned).collect()
    }
}

/// A call on its way.
struct Call<'a> {
    actor: Actor<'a>,
    parameters: Parameters,
}

impl Call<'_> {
    fn account(&self) -> &str {
        self.actor.account()
    }

    /// Refuses unless the caller may do what the call's action says, here or as an administrator.
    fn require(&self, action: &str, resource: &str) -> Result<(), QueryError> {
        let (iam, admin) = (format!("iam:{action}"), format!("admin:{action}"));
        Ok(self.actor.require(&[&iam, &admin], resource)?)
    }

    /// The user that the call is about: the one it names, else the caller. Everybody may do this to
    /// himself unless a statement denies it.
    fn own_or_named(&self, action: &str) -> Result<Option<String>, QueryError> {
        let own = self.actor.identity.user_name();
        let named = self.parameters.get("UserName").or(own);
        let Some(name) = named else {
            // The owner of the account, about himself.
            return match self.actor.identity.is_unrestricted_root() {
                true => Ok(None),
                false => Err(QueryError::validation(
                    "Must specify userName when calling with non-User credentials",
                )),
            };
        };
        let arn = match self.actor.directory.user(self.account(), name) {
            Ok(user) => self.arn("user", &user.path, &user.name),
            Err(_) => self.arn("user", "/", name),
        };
        let iam = format!("iam:{action}");
        if own != Some(name) || self.actor.is_denied(&iam, &arn) {
            self.require(action, &arn)?;
        }
        Ok(Some(name.to_owned()))
    }

    fn arn(&self, kind: &str, path: &str, name: &str) -> String {
        format!("arn:aws:iam::{}:{kind}{path}{name}", self.account())
    }

    /// A page of entities, sorted by name.
    fn page<'e, T>(
        &self,
        entities: &'e [T],
        name: impl Fn(&T) -> &str,
    ) -> Result<(Vec<&'e T>, Option<String>), QueryError> {
        let limit = match self.parameters.number("MaxItems")? {
            None => PAGE_LEN,
            Some(limit) if (1..=PAGE_LEN_MAX as u64).contains(&limit) => limit as usize,
            Some(_) => return Err(QueryError::validation("MaxItems must be from 1 to 1000")),
        };
        let after = self.parameters.get("Marker").unwrap_or_default();
        let mut rest = entities.iter().filter(|entity| after.is_empty() || name(entity) > after);
        let page: Vec<_> = rest.by_ref().take(limit).collect();
        let more = rest.next().is_some();
        let marker = page.last().filter(|_| more).map(|last| name(last).to_owned());
        Ok((page, marker))
    }

    /// Whether a path is in the prefix that the client asks for.
    fn in_prefix(&self, path: &str) -> bool {
        path.starts_with(self.parameters.get("PathPrefix").unwrap_or("/"))
    }
}

type Answer = Result<Xml, QueryError>;

/// Answers a call.
pub(crate) async fn serve(
    directory: &Directory,
    federation: &Federation,
    request: &AdminRequest,
) -> AdminResponse {
    let id = &request.request_id;
    let parsed = Parameters::parse(&request.body);
    let action = match &parsed {
        Ok(parameters) => parameters.text("Action"),
        Err(_) => String::new(),
    };
    let is_sts = sts::is_of_sts(&action);
    let namespace = if is_sts { STS_NAMESPACE } else { IAM_NAMESPACE };
    let answer = match parsed {
        // These two are not signed: a token, or a password, says who it is.
        Ok(parameters) if action == "AssumeRoleWithWebIdentity" => {
            web_identity::run(directory, federation, request, &parameters).await
        }
        Ok(parameters) if action == "AssumeRoleWithLDAPIdentity" => {
            ldap_identity::run(directory, federation, request, &parameters).await
        }
        Ok(parameters) => run(directory, request, parameters, &action, is_sts).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(result) => {
            let body = write::answer(&action, namespace, result, id);
            respond(StatusCode::OK, "text/xml", body)
        }
        Err(error) => refuse(namespace, &error, id),
    }
}

/// An error as IAM and STS render it.
fn refuse(namespace: &str, error: &QueryError, id: &str) -> AdminResponse {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = write::error(namespace, error.status, error.code, &error.message, id);
    respond(status, "text/xml", body)
}

async fn run(
    directory: &Directory,
    request: &AdminRequest,
    parameters: Parameters,
    action: &str,
    is_sts: bool,
) -> Answer {
    let Some(identity) = &request.identity else {
        let message = "Request is missing Authentication Token";
        return Err(QueryError::new("MissingAuthenticationToken", 403, message));
    };
    let call = Call { actor: Actor::new(directory, identity, request), parameters };
    if is_sts {
        return sts::run(&call, action).await;
    }
    if let Some(answer) = users::run(&call, action).await {
        return answer;
    }
    if let Some(answer) = keys::run(&call, action).await {
        return answer;
    }
    if let Some(answer) = groups::run(&call, action).await {
        return answer;
    }
    if let Some(answer) = roles::run(&call, action).await {
        return answer;
    }
    if let Some(answer) = policies::run(&call, action).await {
        return answer;
    }
    let message = format!("The action {action} is not valid for this endpoint.");
    Err(QueryError::new("InvalidAction", 400, message))
}
