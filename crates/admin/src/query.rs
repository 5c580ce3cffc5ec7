//! The query API of IAM and STS: `POST /` with a form, answers in XML.
//!
//! Sources: IAM API reference, version 2010-05-08; STS API reference, version 2011-06-15.

mod boundaries;
mod error;
mod groups;
mod keys;
mod ldap_identity;
mod not_there;
mod openid_providers;
mod parameters;
mod policies;
mod roles;
mod sts;
mod users;
mod web_identity;
mod write;

use crate::attempt::Attempts;
use crate::door::{Actor, AdminRequest};
use crate::federation::Federation;
use crate::rights::Right;
use crate::{Admin, AdminResponse, cut, respond};
use drystone_identity::{Directory, EntityArn, EntityKind, IdentityError, PageAsked};
use error::QueryError;
pub(crate) use error::refuse_early;
use http::StatusCode;
use parameters::Parameters;
use std::collections::BTreeMap;
use write::Xml;

const IAM_NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// Entries of a page, unless the client says otherwise.
const PAGE_LEN: usize = 100;
const PAGE_LEN_MAX: usize = 1000;
/// Tags of an entity or a session.
const TAG_COUNT_MAX: usize = 50;

/// A call on its way.
struct Call<'a> {
    actor: Actor<'a>,
    federation: &'a Federation,
    parameters: &'a Parameters,
}

impl Call<'_> {
    fn account(&self) -> &str {
        self.actor.account()
    }

    /// The directory, for a change: every parameter of the call must have been read by now. Operations
    /// change nothing by another way.
    fn changes(&self) -> Result<&Directory, QueryError> {
        self.parameters.refuse_unread()?;
        Ok(self.actor.directory)
    }

    /// Refuses unless the caller has the right that the table names for an action.
    fn require(&self, action: &str, resource: &EntityArn) -> Result<(), QueryError> {
        let right = Right::of_query(action).ok_or_else(|| invalid_action(action))?;
        Ok(self.actor.require(right, resource)?)
    }

    /// As [`Call::require`], for a call that may set a permissions boundary.
    fn require_bounded(&self, action: &str, resource: &EntityArn) -> Result<(), QueryError> {
        let right = Right::of_query(action).ok_or_else(|| invalid_action(action))?;
        let given = self.parameters.get("PermissionsBoundary").filter(|arn| !arn.is_empty());
        Ok(self.actor.require_bounded(right, resource, given)?)
    }

    /// The resource name of an entity of the account, from its row.
    fn arn(&self, kind: EntityKind, name: &str) -> Result<EntityArn, QueryError> {
        Ok(self.actor.arn(kind, name)?)
    }

    /// The resource name of an entity that is about to be made below the path that the call names.
    fn new_arn(&self, kind: EntityKind, name: &str) -> EntityArn {
        let path = self.parameters.get("Path").unwrap_or("/");
        EntityArn::of_new(kind, self.account(), path, name)
    }

    /// The resource name of the user who calls, else of the owner of the account.
    fn caller_arn(&self) -> Result<EntityArn, QueryError> {
        match self.actor.identity.user_name() {
            Some(name) => self.arn(EntityKind::User, name),
            None => Ok(EntityArn::of_owner(self.account())),
        }
    }

    /// The user that the call names, else the caller; `None` for the owner of the account.
    fn named_or_own(&self) -> Result<Option<String>, QueryError> {
        let named = self.parameters.get("UserName").or(self.actor.identity.user_name());
        match named {
            Some(name) => Ok(Some(name.to_owned())),
            None if self.actor.identity.is_unrestricted_root() => Ok(None),
            None => Err(QueryError::validation(
                "Must specify userName when calling with non-User credentials",
            )),
        }
    }

    /// As [`Call::named_or_own`], decided: everybody may do this to themselves unless a statement denies it.
    fn own_or_named(&self, action: &str) -> Result<Option<String>, QueryError> {
        let Some(name) = self.named_or_own()? else { return Ok(None) };
        let right = Right::of_query(action).ok_or_else(|| invalid_action(action))?;
        let arn = self.arn(EntityKind::User, &name)?;
        let is_own = self.actor.identity.user_name() == Some(&*name);
        if !is_own || self.actor.is_denied(right, &arn) {
            self.actor.require(right, &arn)?;
        }
        Ok(Some(name))
    }

    /// Entries of a page.
    fn page_len(&self) -> Result<usize, QueryError> {
        match self.parameters.number("MaxItems")? {
            None => Ok(PAGE_LEN),
            Some(limit) if (1..=PAGE_LEN_MAX as u64).contains(&limit) => Ok(limit as usize),
            Some(_) => Err(QueryError::validation("MaxItems must be from 1 to 1000")),
        }
    }

    /// Which page of a list is asked for.
    fn page_asked(&self) -> Result<PageAsked<'_>, QueryError> {
        let after = self.parameters.get("Marker").unwrap_or_default();
        Ok(PageAsked { after, len: self.page_len()? })
    }

    /// A page of entities, sorted by name.
    fn page<'e, T>(
        &self,
        entities: &'e [T],
        name: impl Fn(&T) -> &str,
    ) -> Result<(Vec<&'e T>, Option<String>), QueryError> {
        let limit = self.page_len()?;
        let after = self.parameters.get("Marker").unwrap_or_default();
        let mut rest = entities.iter().filter(|entity| after.is_empty() || name(entity) > after);
        let page: Vec<_> = rest.by_ref().take(limit).collect();
        let more = rest.next().is_some();
        let marker = page.last().filter(|_| more).map(|last| name(last).to_owned());
        Ok((page, marker))
    }

    /// The prefix of paths that the client asks for.
    fn path_prefix(&self) -> &str {
        self.parameters.get("PathPrefix").filter(|prefix| !prefix.is_empty()).unwrap_or("/")
    }

    /// Tags as the answers of all entities page them.
    fn tags_page(&self, tags: &BTreeMap<String, String>) -> Answer {
        let tags: Vec<_> = tags.iter().collect();
        let (page, marker) = self.page(&tags, |(key, _)| key)?;
        let mut xml = Xml::new();
        xml.tags(page.into_iter().copied()).page_end(marker.as_deref());
        Ok(xml)
    }

    /// Takes tags from an entity or gives it some, as the call says.
    fn tag_change(&self, action: &str) -> Result<TagChange, QueryError> {
        Ok(match action.starts_with("Untag") {
            true => TagChange { set: BTreeMap::new(), gone: self.parameters.list("TagKeys") },
            false => TagChange { set: self.parameters.tags()?, gone: Vec::new() },
        })
    }
}

type Answer = Result<Xml, QueryError>;

/// What becomes of the tags of an entity.
struct TagChange {
    set: BTreeMap<String, String>,
    gone: Vec<String>,
}

impl TagChange {
    /// Conditions compare keys without regard to case: one that differs from a known one in case only would
    /// give both values to it, past a condition on the known key.
    fn apply(self, tags: &mut BTreeMap<String, String>) -> Result<(), IdentityError> {
        let is_twin = |new: &&String| tags.keys().any(|known| is_other_case(known, new));
        if let Some(key) = self.set.keys().find(is_twin) {
            let message = format!("There is a tag whose key differs from {key} in case only.");
            return Err(IdentityError::Invalid { field: "Tags", message });
        }
        tags.extend(self.set);
        tags.retain(|key, _| !self.gone.contains(key));
        Ok(())
    }
}

/// Whether two keys of tags are one to conditions, but not written the same.
fn is_other_case(one: &str, other: &str) -> bool {
    one != other && one.to_lowercase() == other.to_lowercase()
}

/// Answers a call.
pub(crate) async fn serve(
    admin: &Admin,
    federation: &Federation,
    request: &AdminRequest,
) -> AdminResponse {
    let (id, directory) = (&request.request_id, &admin.directory);
    let parsed = Parameters::parse(request);
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
        Ok(parameters) => run((admin, federation), request, &parameters, (&action, is_sts)).await,
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
    let body = write::error(namespace, error.status, error.code, cut(&error.message), id);
    respond(status, "text/xml", body)
}

async fn run(
    (admin, federation): (&Admin, &Federation),
    request: &AdminRequest,
    parameters: &Parameters,
    called: (&str, bool),
) -> Answer {
    let Some(identity) = &request.identity else {
        let message = "Request is missing Authentication Token";
        return Err(QueryError::new("MissingAuthenticationToken", 403, message));
    };
    let mut attempts = Attempts::new(&admin.directory, request, identity);
    loop {
        let attempt = attempts.begin().await?;
        parameters.forget_reads();
        let actor = Actor::new(admin, &attempt, request);
        let answer = decide((actor, federation), parameters, called).await;
        if !attempts.go_on(&attempt) {
            return answer;
        }
    }
}

async fn decide(
    (mut actor, federation): (Actor<'_>, &Federation),
    parameters: &Parameters,
    (action, is_sts): (&str, bool),
) -> Answer {
    let tags = parameters.named_tags();
    if tags.len() > TAG_COUNT_MAX {
        // Each is compared with each pattern of the policies that decide.
        let message = format!("At most {TAG_COUNT_MAX} tags can be given.");
        return Err(QueryError::validation(message));
    }
    for (key, value) in tags {
        actor.facts.add_if(&format!("aws:RequestTag/{key}"), value).add("aws:TagKeys", key);
    }
    let call = Call { actor, federation, parameters };
    // What the table of rights does not name is not served.
    if Right::of_query(action).is_none() {
        return Err(invalid_action(action));
    }
    let answer = match is_sts {
        true => sts::run(&call, action).await?,
        false => run_iam(&call, action).await?,
    };
    // An operation that changed something has asked before.
    call.parameters.refuse_unread()?;
    Ok(answer)
}

async fn run_iam(call: &Call<'_>, action: &str) -> Answer {
    if let Some(answer) = users::run(call, action).await {
        return answer;
    }
    if let Some(answer) = keys::run(call, action).await {
        return answer;
    }
    if let Some(answer) = groups::run(call, action).await {
        return answer;
    }
    if let Some(answer) = boundaries::run(call, action).await {
        return answer;
    }
    if let Some(answer) = roles::run(call, action).await {
        return answer;
    }
    if let Some(answer) = openid_providers::run(call, action).await {
        return answer;
    }
    if let Some(answer) = policies::run(call, action).await {
        return answer;
    }
    Err(invalid_action(action))
}

fn invalid_action(action: &str) -> QueryError {
    if not_there::is_documented(action) {
        let message = format!("The action {action} is not implemented.");
        return QueryError::not_implemented(message);
    }
    let message = format!("The action {action} is not valid for this endpoint.");
    QueryError::new("InvalidAction", 400, message)
}
