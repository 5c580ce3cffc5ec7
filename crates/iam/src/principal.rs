//! Who calls, and whom a resource policy names.

use crate::arn::Arn;
use crate::document::PolicyError;
use crate::json::Json;
use crate::pattern::ALLOCATION_COST;
use crate::statement::Effect;

/// Between the unique id of a principal and its resource name in a stored document; in neither of them.
pub(crate) const STORED_BLANK: char = ' ';

/// The name that a provider gives its user: documents of before have it without the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BareName {
    /// The name.
    pub name: String,
    /// Whether what is allowed to the bare name is allowed to this user. What is denied to it is denied to
    /// the users of all providers who have it.
    pub may_allow: bool,
}

/// Who a request was signed by. A service account or a key of a user is that user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// No one: the request has no signature.
    Anonymous,
    /// The owner of an account, who may do everything in it.
    Root {
        /// Account id, 12 digits.
        account: String,
    },
    /// A user.
    User {
        /// Account id.
        account: String,
        /// Path that begins and ends with a slash, and name.
        path_name: String,
        /// Unique id, which a new user of the same name does not have.
        id: String,
    },
    /// Someone whom an identity provider vouches for, before he has a session.
    Federated {
        /// Name of the provider: its issuer without scheme.
        provider: String,
        /// The account that the provider is of, in which alone it vouches for anyone; `None` for one of
        /// the server.
        account: Option<String>,
    },
    /// A service of the server itself, such as the one that delivers access logs.
    Service {
        /// Name of the service, such as `logging.s3.amazonaws.com`.
        name: &'static str,
    },
    /// Someone whom an identity provider vouched for, with a session without a role.
    FederatedUser {
        /// Account id that the session belongs to.
        account: String,
        /// Name with the provider, which no one of another provider has.
        name: String,
        /// The name without the provider, where the two differ.
        bare: Option<BareName>,
    },
    /// Someone who has assumed a role.
    RoleSession {
        /// Account id of the role.
        account: String,
        /// Path and name of the role.
        role: String,
        /// Name of the session.
        session: String,
        /// Unique id of the role.
        id: String,
    },
}

impl Principal {
    /// Id of the account; an anonymous caller has none.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Anonymous | Self::Federated { .. } | Self::Service { .. } => None,
            Self::Root { account } | Self::User { account, .. } => Some(account),
            Self::RoleSession { account, .. } | Self::FederatedUser { account, .. } => {
                Some(account)
            }
        }
    }

    /// The resource name; an anonymous caller has none.
    #[must_use]
    pub fn arn(&self) -> Option<String> {
        Some(match self {
            Self::Anonymous | Self::Federated { .. } | Self::Service { .. } => return None,
            Self::Root { account } => format!("arn:aws:iam::{account}:root"),
            Self::User { account, path_name, .. } => {
                format!("arn:aws:iam::{account}:user{path_name}")
            }
            Self::FederatedUser { account, name, .. } => {
                format!("arn:aws:sts::{account}:federated-user/{name}")
            }
            Self::RoleSession { account, role, session, .. } => {
                let name = role.rsplit('/').next().unwrap_or(role);
                format!("arn:aws:sts::{account}:assumed-role/{name}/{session}")
            }
        })
    }

    /// Value of `aws:PrincipalType`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "Anonymous",
            Self::Service { .. } => "Service",
            Self::Federated { .. } | Self::FederatedUser { .. } => "FederatedUser",
            Self::Root { .. } => "Account",
            Self::User { .. } => "User",
            Self::RoleSession { .. } => "AssumedRole",
        }
    }

    /// Value of `aws:userid`.
    #[must_use]
    pub fn user_id(&self) -> Option<String> {
        match self {
            Self::Anonymous | Self::Federated { .. } | Self::Service { .. } => None,
            Self::Root { account } => Some(account.clone()),
            Self::User { id, .. } => Some(id.clone()),
            Self::FederatedUser { account, name, .. } => Some(format!("{account}:{name}")),
            Self::RoleSession { id, session, .. } => Some(format!("{id}:{session}")),
        }
    }

    /// Resource name of the role that was assumed.
    pub(crate) fn role_arn(&self) -> Option<String> {
        match self {
            Self::RoleSession { account, role, .. } => {
                Some(format!("arn:aws:iam::{account}:role{role}"))
            }
            _ => None,
        }
    }
}

/// One entry of a `Principal` element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PrincipalPattern {
    Everyone,
    /// Everybody in an account to whom the account itself gives the right.
    Account(String),
    /// A user, a role, or a session (unique id of its role, colon, name of the session), by unique id.
    Id(String),
    /// Someone whom an identity provider vouched for, by resource name.
    FederatedUser(String),
    /// A user, role or session by resource name. Documents of older versions have these, where no one had
    /// the name when ids were put in (decision 23).
    Unresolved(String),
    /// The canonical id of an account.
    Canonical(String),
    Federated(String),
    Service(String),
}

/// How far a resource policy reaches by naming someone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// The account was named: its own policies decide.
    Account,
    /// Everyone was named.
    Everyone,
    /// The user or role was named.
    Named,
    /// This very session was named.
    Session,
}

/// Characters of a principal that a refusal shows.
const SHOWN_LEN_MAX: usize = 256;

/// Refuses an entry of a `Principal` element, and names it.
pub(crate) fn invalid_principal(kind: &str, text: &str) -> PolicyError {
    let cut = |text: &str| text.chars().take(SHOWN_LEN_MAX).collect::<String>();
    let detail = format!(": \"{}\":\"{}\"", cut(kind), cut(text));
    PolicyError::new("Invalid principal in policy").with(&detail)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Names of providers that AWS knows without a resource name.
const WELL_KNOWN: [&str; 4] = [
    "accounts.google.com",
    "cognito-identity.amazonaws.com",
    "graph.facebook.com",
    "www.amazon.com",
];

/// Whether a new policy of a resource may name a provider so. Its account, if the name has one.
pub(crate) fn provider_of(text: &str) -> Option<Option<String>> {
    if WELL_KNOWN.contains(&text) {
        return Some(None);
    }
    let arn = Arn::parse(text).filter(|arn| arn.service == "iam" && is_account(&arn.account))?;
    let named = ["oidc-provider/", "saml-provider/"]
        .iter()
        .find_map(|kind| arn.resource.strip_prefix(kind));
    named.filter(|name| !name.is_empty()).map(|_| Some(arn.account.clone()))
}

/// Whether a new document may name a service so.
pub(crate) fn is_service(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.strip_suffix(".amazonaws.com").is_some_and(|name| name.split('.').all(is_label))
}

fn is_canonical(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl PrincipalPattern {
    /// Reads one entry, as a client gives it or as it is stored.
    pub(crate) fn parse(kind: &str, text: &str) -> Option<Self> {
        match kind {
            "AWS" => Self::parse_aws(text),
            "CanonicalUser" if is_canonical(text) => Some(Self::Canonical(text.to_owned())),
            "Federated" if !text.is_empty() => Some(Self::Federated(text.to_owned())),
            "Service" if text.ends_with(".amazonaws.com") => Some(Self::Service(text.to_owned())),
            _ => None,
        }
    }

    fn parse_aws(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everyone);
        }
        if is_account(text) {
            return Some(Self::Account(text.to_owned()));
        }
        if is_canonical(text) {
            return Some(Self::Canonical(text.to_owned()));
        }
        if let Some((id, name)) = text.split_once(STORED_BLANK) {
            let is_resolved = matches!(Self::parse_aws(name), Some(Self::Unresolved(_)));
            return (is_resolved && !id.is_empty()).then(|| Self::Id(id.to_owned()));
        }
        let arn = Arn::parse(text)?;
        let known = matches!(arn.partition.as_str(), "aws" | "minio");
        if !known || !arn.region.is_empty() || arn.resource.contains(['*', '?']) {
            return None;
        }
        let (kind, name) = arn.resource.split_once('/').unwrap_or((&arn.resource, ""));
        match (arn.service.as_str(), kind) {
            ("iam", "root") if is_account(&arn.account) => Some(Self::Account(arn.account)),
            ("sts", "federated-user") if !name.is_empty() => {
                Some(Self::FederatedUser(text.to_owned()))
            }
            ("iam", "user" | "role") | ("sts", "assumed-role") if !name.is_empty() => {
                Some(Self::Unresolved(text.to_owned()))
            }
            _ => None,
        }
    }

    /// Reads a `Principal` or `NotPrincipal` element.
    pub(crate) fn parse_all(element: Json) -> Result<Vec<Self>, PolicyError> {
        let wrong = || PolicyError::new("Invalid principal in policy");
        match element {
            Json::Text(text) if text == "*" => Ok(vec![Self::Everyone]),
            Json::Object(entries) if !entries.is_empty() => {
                let mut all = Vec::new();
                for (kind, value) in entries {
                    for value in value.into_list() {
                        let Json::Text(text) = value else { return Err(wrong()) };
                        let entry = Self::parse(&kind, &text);
                        all.push(entry.ok_or_else(|| invalid_principal(&kind, &text))?);
                    }
                }
                if all.is_empty() { Err(wrong()) } else { Ok(all) }
            }
            _ => Err(wrong()),
        }
    }

    /// Bytes that it holds.
    pub(crate) fn weight(&self) -> usize {
        let of_text = match self {
            Self::Everyone => 0,
            Self::Account(text)
            | Self::Id(text)
            | Self::FederatedUser(text)
            | Self::Unresolved(text)
            | Self::Canonical(text)
            | Self::Federated(text)
            | Self::Service(text) => text.capacity() + ALLOCATION_COST,
        };
        size_of::<Self>() + of_text
    }

    /// Whether everybody is meant.
    pub(crate) fn is_everyone(&self) -> bool {
        *self == Self::Everyone
    }

    /// Whether this leaves someone out of a statement that names everyone else (`NotPrincipal`): each caller
    /// is left out by his own name only. An account leaves out its owner and no one else in it, a role none
    /// of its sessions, which are named one by one (IAM user guide, "AWS JSON policy elements:
    /// NotPrincipal"). A name that is no id leaves out no one: who was meant is not known.
    pub(crate) fn leaves_out(&self, caller: &Principal, canonical: Option<&str>) -> bool {
        let reach = self.names(caller, canonical, Effect::Allow);
        match (self, caller) {
            (Self::Account(_) | Self::Canonical(_), caller) => {
                reach.is_some() && matches!(caller, Principal::Root { .. })
            }
            (Self::Id(_), Principal::RoleSession { .. }) => reach == Some(Reach::Session),
            _ => reach.is_some(),
        }
    }

    /// Whether and how this names someone for a statement of an effect; `canonical` is the canonical id of
    /// the caller's account.
    fn names(&self, caller: &Principal, canonical: Option<&str>, effect: Effect) -> Option<Reach> {
        let is_named = match self {
            Self::Everyone => return Some(Reach::Everyone),
            Self::Account(account) => {
                return (caller.account() == Some(account.as_str())).then_some(Reach::Account);
            }
            Self::Canonical(id) => {
                return (canonical == Some(id.as_str())).then_some(Reach::Account);
            }
            Self::Id(named) => match caller {
                Principal::User { id, .. } => named == id,
                Principal::RoleSession { id, session, .. } => {
                    let of_role = named.strip_prefix(id.as_str());
                    if of_role.and_then(|rest| rest.strip_prefix(':')) == Some(session) {
                        return Some(Reach::Session);
                    }
                    of_role == Some("")
                }
                _ => false,
            },
            Self::FederatedUser(arn) => match caller {
                Principal::FederatedUser { account, bare, .. } => {
                    let is_bare = bare.as_ref().is_some_and(|bare| {
                        let counts = bare.may_allow || effect == Effect::Deny;
                        counts
                            && *arn
                                == format!("arn:aws:sts::{account}:federated-user/{}", bare.name)
                    });
                    is_bare || caller.arn().as_deref() == Some(arn)
                }
                _ => false,
            },
            // Anyone who has the name now need not be the one who was meant: nothing is given to them, and
            // nothing that was denied is given either.
            Self::Unresolved(arn) => {
                let names = [caller.role_arn(), caller.arn()];
                effect == Effect::Deny && names.iter().flatten().any(|name| name == arn)
            }
            Self::Federated(named) => match caller {
                Principal::Federated { provider, account } => {
                    let (of, bare) = named.split_once(":oidc-provider/").unwrap_or(("", named));
                    // One without an account is of the account of the document.
                    let named = of.rsplit(':').next().filter(|account| !account.is_empty());
                    let is_of = |own: &String| named.is_none_or(|named| named == own);
                    bare == provider && account.as_ref().is_none_or(is_of)
                }
                _ => false,
            },
            Self::Service(named) => match caller {
                Principal::Service { name } => named == name,
                _ => false,
            },
        };
        is_named.then_some(Reach::Named)
    }
}

/// The farthest reach of any pattern that names the caller.
pub(crate) fn reach(
    patterns: &[PrincipalPattern],
    caller: &Principal,
    canonical: Option<&str>,
    effect: Effect,
) -> Option<Reach> {
    patterns.iter().filter_map(|pattern| pattern.names(caller, canonical, effect)).max()
}
