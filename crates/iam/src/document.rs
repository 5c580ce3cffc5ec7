//! Policy documents: reading and checking them.

use crate::action;
use crate::condition::Condition;
use crate::json::Json;
use crate::keys;
use crate::known::is_unknown;
use crate::pattern::{Pattern, Template};
use crate::principal::PrincipalPattern;
use crate::statement::{Effect, Either, Statement};
use std::collections::BTreeSet;

/// Why a document is refused (`MalformedPolicy`, or `MalformedPolicyDocument` of IAM). The text is
/// meant for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PolicyError {
    message: String,
}

impl PolicyError {
    pub(crate) fn new(message: &str) -> Self {
        Self { message: message.to_owned() }
    }
    pub(crate) fn with(mut self, detail: &str) -> Self {
        self.message.push_str(detail);
        self
    }
    pub(crate) fn syntax() -> Self {
        Self::new("Invalid policy syntax.")
    }
}

/// What a document is attached to, which decides what may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind<'a> {
    /// A user, a group, a role or a session.
    Identity,
    /// A bucket, whose name is given.
    Bucket(&'a str),
    /// An access point, whose resource name is given.
    AccessPoint(&'a str),
    /// A role: who may assume it.
    Trust,
    /// A key of the key service.
    Key,
}

/// A policy document, checked and compiled.
#[derive(Clone, Debug)]
pub struct Document {
    pub(crate) statements: Vec<Statement>,
    fact_keys: BTreeSet<String>,
    /// It is the policy of an access point.
    pub(crate) is_of_point: bool,
}

/// What a key costs in a tree of keys, beyond its text.
const FACT_KEY_COST: usize = 64;

type Fields = Vec<(String, Json)>;

/// Takes the value of a key out.
fn take(fields: &mut Fields, name: &str) -> Option<Json> {
    let at = fields.iter().position(|(key, _)| key == name)?;
    Some(fields.swap_remove(at).1)
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Anything that AWS refuses, with its words.
    pub fn parse(text: &str, kind: DocumentKind<'_>) -> Result<Self, PolicyError> {
        Self::read(text, kind, false)
    }

    fn read(text: &str, kind: DocumentKind<'_>, is_new: bool) -> Result<Self, PolicyError> {
        const NO_JSON: &str = "Policies must be valid JSON and the first byte must be '{'";
        if !text.starts_with('{') {
            return Err(PolicyError::new(NO_JSON));
        }
        let json: Json = serde_json::from_str(text).map_err(|_| PolicyError::new(NO_JSON))?;
        let Json::Object(mut fields) = json else { return Err(PolicyError::new(NO_JSON)) };
        let with_variables = match take(&mut fields, "Version") {
            None => false,
            Some(Json::Text(version)) if version == "2008-10-17" => false,
            Some(Json::Text(version)) if version == "2012-10-17" => true,
            Some(_) => {
                return Err(PolicyError::new("The policy must contain a valid version string"));
            }
        };
        match take(&mut fields, "Id") {
            None | Some(Json::Text(_)) => {}
            Some(_) => return Err(PolicyError::syntax()),
        }
        let missing = || PolicyError::new("Missing required field Statement");
        let statements = take(&mut fields, "Statement").ok_or_else(missing)?.into_list();
        if let Some((name, _)) = fields.first() {
            return Err(PolicyError::new("Unknown field ").with(name));
        }
        if statements.is_empty() {
            return Err(PolicyError::new("Could not parse the policy: Statement is empty!"));
        }
        let mut parsed = Vec::with_capacity(statements.len());
        for statement in statements {
            let Json::Object(fields) = statement else { return Err(PolicyError::syntax()) };
            parsed.push(parse_statement(fields, (kind, is_new), with_variables)?);
        }
        let fact_keys = parsed.iter().flat_map(Statement::fact_keys).collect();
        let is_of_point = matches!(kind, DocumentKind::AccessPoint(_));
        Ok(Self { statements: parsed, fact_keys, is_of_point })
    }

    /// Reads a document of an identity or a session that is to be stored: besides the rules of
    /// [`Document::parse`], every condition key that it names must be one that requests have, and every
    /// action of a service that is here must exist. Documents that name principals become a
    /// [`crate::StoredPolicy`] instead.
    ///
    /// # Errors
    ///
    /// As [`Document::parse`]; a key that is not filled in, or an action that is not there, is named.
    pub fn parse_new(text: &str) -> Result<Self, PolicyError> {
        Self::parse_submitted(text, DocumentKind::Identity)
    }

    /// Reads a document of any kind as a client gives it.
    pub(crate) fn parse_submitted(text: &str, kind: DocumentKind<'_>) -> Result<Self, PolicyError> {
        let document = Self::read(text, kind, true)?;
        keys::check(&document.fact_keys, kind)?;
        Ok(document)
    }

    /// Condition keys that a decision may depend on, in lower case: those of conditions and those of
    /// variables.
    #[must_use]
    pub fn fact_keys(&self) -> &BTreeSet<String> {
        &self.fact_keys
    }

    /// Bytes that it holds, for anyone who keeps it: many times its text, where values are short.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let of_keys: usize = self.fact_keys.iter().map(|key| key.capacity() + FACT_KEY_COST).sum();
        size_of::<Self>() + self.statements.iter().map(Statement::weight).sum::<usize>() + of_keys
    }

    /// Whether no one is allowed anything by it.
    #[must_use]
    pub fn allows_nothing(&self) -> bool {
        self.statements.iter().all(|statement| statement.effect == Effect::Deny)
    }
}

fn parse_statement(
    mut fields: Fields,
    (kind, is_new): (DocumentKind<'_>, bool),
    with_variables: bool,
) -> Result<Statement, PolicyError> {
    let sid = match take(&mut fields, "Sid") {
        None => None,
        Some(Json::Text(sid)) => Some(sid),
        Some(_) => return Err(PolicyError::syntax()),
    };
    let effect = match take(&mut fields, "Effect") {
        Some(Json::Text(effect)) if effect == "Allow" => Effect::Allow,
        Some(Json::Text(effect)) if effect == "Deny" => Effect::Deny,
        Some(Json::Text(effect)) => {
            return Err(PolicyError::new("Invalid effect: ").with(&effect));
        }
        Some(_) => return Err(PolicyError::syntax()),
        None => return Err(PolicyError::new("Missing required field Effect")),
    };
    let principals = parse_principals(&mut fields, kind, effect)?;
    let is_administration = is_administration(&fields);
    let actions = parse_actions(&mut fields, kind, is_new)?;
    let resources = parse_resources(&mut fields, kind, is_administration, with_variables)?;
    let mut conditions = Vec::new();
    match take(&mut fields, "Condition") {
        None => {}
        Some(Json::Object(operators)) => {
            for (operator, keys) in operators {
                conditions.extend(Condition::parse(&operator, keys, with_variables)?);
            }
        }
        Some(_) => return Err(PolicyError::syntax()),
    }
    if let Some((name, _)) = fields.first() {
        return Err(PolicyError::new("Unknown field ").with(name));
    }
    let statement = Statement { sid, effect, principals, actions, resources, conditions };
    match kind {
        DocumentKind::Bucket(bucket) => check_bucket_statement(&statement, bucket, is_new)?,
        DocumentKind::AccessPoint(arn) => check_point_statement(&statement, arn, is_new)?,
        DocumentKind::Identity | DocumentKind::Trust | DocumentKind::Key => {}
    }
    Ok(statement)
}

fn parse_principals(
    fields: &mut Fields,
    kind: DocumentKind<'_>,
    effect: Effect,
) -> Result<Option<Either<PrincipalPattern>>, PolicyError> {
    let (named, not_named) = (take(fields, "Principal"), take(fields, "NotPrincipal"));
    match (kind, named, not_named) {
        (DocumentKind::Identity, None, None) => Ok(None),
        (DocumentKind::Identity, ..) => {
            Err(PolicyError::new("Policy document should not specify a principal."))
        }
        (_, Some(named), None) => Ok(Some(Either::In(PrincipalPattern::parse_all(named)?))),
        (_, None, Some(others)) if effect == Effect::Deny => {
            Ok(Some(Either::NotIn(PrincipalPattern::parse_all(others)?)))
        }
        (_, None, Some(_)) => Err(PolicyError::new("Allow with NotPrincipal is not allowed.")),
        (_, None, None) => Err(PolicyError::new("Missing required field Principal")),
        (_, Some(_), Some(_)) => Err(PolicyError::syntax()),
    }
}

/// Text values of an element that may be one value or a list.
fn texts(element: Json) -> Result<Vec<String>, PolicyError> {
    let values = element.into_list().into_iter().map(|value| match value {
        Json::Text(text) => Ok(text),
        _ => Err(PolicyError::syntax()),
    });
    values.collect()
}

/// Reads actions. Those of a document that is new must be there: others would allow nothing, or deny nothing.
fn parse_actions(
    fields: &mut Fields,
    kind: DocumentKind<'_>,
    is_new: bool,
) -> Result<Either<Pattern>, PolicyError> {
    let missing = || PolicyError::new("Missing required field Action");
    let (element, negated) = match (take(fields, "Action"), take(fields, "NotAction")) {
        (Some(actions), None) => (actions, false),
        (None, Some(others)) => (others, true),
        (None, None) => return Err(missing()),
        (Some(_), Some(_)) => return Err(PolicyError::syntax()),
    };
    let texts = texts(element)?;
    if texts.is_empty() {
        return Err(missing());
    }
    let mut patterns = Vec::new();
    for text in &texts {
        let pattern = Pattern::of(text);
        let (service, name) = text.split_once(':').unwrap_or((text, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-*?".contains(c);
        let well_formed = text == "*"
            || (!service.is_empty()
                && !name.is_empty()
                && service.chars().all(plain)
                && name.chars().all(plain));
        let known = match kind {
            DocumentKind::Bucket(_) | DocumentKind::AccessPoint(_) => action::is_known(&pattern),
            DocumentKind::Trust => text == "*" || service.eq_ignore_ascii_case("sts"),
            DocumentKind::Key => text == "*" || service.eq_ignore_ascii_case("kms"),
            DocumentKind::Identity => true,
        };
        if !well_formed || !known {
            return Err(PolicyError::new("Policy has invalid action: ").with(text));
        }
        if is_new && is_unknown(text) {
            return Err(PolicyError::new("Policy has unsupported action ").with(text));
        }
        patterns.push(pattern);
    }
    Ok(if negated { Either::NotIn(patterns) } else { Either::In(patterns) })
}

/// Whether all actions are of the administration, which has no resources.
fn is_administration(fields: &Fields) -> bool {
    let Some((_, actions)) = fields.iter().find(|(name, _)| name == "Action") else { return false };
    let services = ["admin:", "kms:", "sts:"];
    let is_one = |text: &str| services.iter().any(|service| text.starts_with(service));
    actions.clone().into_list().iter().all(|a| matches!(a, Json::Text(text) if is_one(text)))
}

fn parse_resources(
    fields: &mut Fields,
    kind: DocumentKind<'_>,
    is_administration: bool,
    with_variables: bool,
) -> Result<Option<Either<Template>>, PolicyError> {
    let missing = || PolicyError::new("Missing required field Resource");
    let (element, negated) = match (take(fields, "Resource"), take(fields, "NotResource")) {
        (Some(resources), None) => (resources, false),
        (None, Some(others)) => (others, true),
        (None, None) if kind == DocumentKind::Trust => return Ok(None),
        // Rights to the administration are rights to the server, as the incumbent's policies write them.
        (None, None) if kind == DocumentKind::Identity && is_administration => {
            return Ok(None);
        }
        (None, None) => return Err(missing()),
        (Some(_), Some(_)) => return Err(PolicyError::syntax()),
    };
    let texts = texts(element)?;
    if texts.is_empty() {
        return Err(missing());
    }
    let mut templates = Vec::new();
    for text in &texts {
        let is_arn = text.starts_with("arn:") && text.matches(':').count() >= 5;
        if text != "*" && !is_arn {
            return Err(PolicyError::new("Policy has invalid resource"));
        }
        templates.push(Template::parse(text, with_variables));
    }
    Ok(Some(if negated { Either::NotIn(templates) } else { Either::In(templates) }))
}

/// Whether a resource of a bucket policy lies in the bucket.
fn lies_in(resource: &str, bucket: &str) -> bool {
    let Some(name) = resource.strip_prefix("arn:aws:s3:::") else { return false };
    let (named, object) = match name.split_once('/') {
        Some((named, object)) => (named, Some(object)),
        None => (name, None),
    };
    // A wildcard at the end of the bucket's name may stand for objects in it too.
    named == bucket
        || (object.is_none() && Pattern::of(named).matches(bucket) && named.starts_with(bucket))
}

/// Resources of the policy of an access point are itself and objects through it.
fn check_point_statement(
    statement: &Statement,
    arn: &str,
    is_new: bool,
) -> Result<(), PolicyError> {
    let Some(Either::In(resources) | Either::NotIn(resources)) = &statement.resources else {
        return Err(PolicyError::syntax());
    };
    let lies = |text: &str| {
        let rest = text.strip_prefix(arn);
        rest.is_some_and(|rest| rest.is_empty() || rest == "*" || rest.starts_with('/'))
    };
    if !resources.iter().all(|resource| lies(resource.text())) {
        return Err(PolicyError::new("Policy has invalid resource"));
    }
    let is_about = |of_objects: bool| {
        let mut rests = resources.iter().filter_map(|resource| resource.text().strip_prefix(arn));
        let mut any =
            |of_objects| rests.any(|rest| rest.starts_with('/') == of_objects || rest == "*");
        matches!(statement.resources, Some(Either::NotIn(_))) || any(of_objects)
    };
    if is_new { keys::check_applies(statement, is_about) } else { Ok(()) }
}

fn check_bucket_statement(
    statement: &Statement,
    bucket: &str,
    is_new: bool,
) -> Result<(), PolicyError> {
    let (
        Some(Either::In(resources) | Either::NotIn(resources)),
        Either::In(actions) | Either::NotIn(actions),
    ) = (&statement.resources, &statement.actions)
    else {
        return Err(PolicyError::syntax());
    };
    if !resources.iter().all(|resource| lies_in(resource.text(), bucket)) {
        return Err(PolicyError::new("Policy has invalid resource"));
    }
    let is_object = |text: &str| text.contains('/') || text.ends_with('*');
    let is_bucket = |text: &str| !text.contains('/');
    let is_about = |of_objects: bool| match of_objects {
        true => resources.iter().any(|resource| is_object(resource.text())),
        false => resources.iter().any(|resource| is_bucket(resource.text())),
    };
    let applies = |pattern: &Pattern| action::on_objects(pattern).is_none_or(is_about);
    if matches!(statement.resources, Some(Either::In(_)))
        && matches!(statement.actions, Either::In(_))
        && !actions.iter().all(applies)
    {
        let message = "Action does not apply to any resource(s) in statement";
        return Err(PolicyError::new(message));
    }
    let leaves_out = matches!(statement.resources, Some(Either::NotIn(_)));
    match is_new {
        true => keys::check_applies(statement, |of_objects| leaves_out || is_about(of_objects)),
        false => Ok(()),
    }
}
