//! The decision: which policies count, in which order.
//!
//! The order is AWS's ("Policy evaluation logic"): explicit denies first; within an account an allow of
//! the identity's policies or of the resource's suffices; between accounts both must allow; session
//! and service-account policies only narrow, and so does a permissions boundary.

use crate::document::Document;
use crate::facts::Facts;
use crate::principal::{Principal, Reach};
use crate::statement::{Aliases, Asked, Effect, Statement};
use crate::work::Work;
use std::sync::Arc;

/// Where a policy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Attached to the identity, or to a group that it is in.
    Identity,
    /// The permissions boundary of the identity.
    Boundary,
    /// The policy of the bucket.
    Bucket,
    /// Embedded in a service account.
    ServiceAccount,
    /// Given when the session was made.
    Session,
    /// Says who may take on a role.
    Trust,
    /// The policy of a key, or a grant of it.
    Key,
}

/// Why a request is allowed or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A statement denies it.
    ExplicitDeny,
    /// A statement allows it.
    Allow,
    /// The caller owns the account.
    Root,
    /// A grant of an access control list allows it.
    Acl,
    /// The policies compare more patterns with more values than one decision may.
    TooCostly,
    /// Nothing allows it.
    NoAllow,
    /// The public access block of the bucket or its account refuses it.
    PublicAccessBlock,
    /// The permissions boundary of the identity does not allow it.
    BoundaryLimits,
    /// The policies of the session do not allow it.
    SessionLimits,
    /// The policy of the service account does not allow it.
    ServiceAccountLimits,
    /// The bucket belongs to another account, and only one of the two sides allows it.
    OneSideOnly,
}

impl Reason {
    /// Whether no other policy and no list can allow it any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::ExplicitDeny | Self::TooCostly)
    }
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Why.
    pub reason: Reason,
    /// Kind of the policy with the statement that decided; `None` if no statement did.
    pub source: Option<Source>,
    /// Name of that policy.
    pub policy: Option<String>,
    /// `Sid` of that statement.
    pub sid: Option<String>,
    /// Its index in the document, from 0.
    pub index: Option<usize>,
}

/// Whether a request may go on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may.
    pub allowed: bool,
    /// Why.
    pub explanation: Explanation,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Who signed.
    pub principal: &'a Principal,
    /// Canonical id of the caller's account, 64 hexadecimal digits.
    pub canonical: Option<&'a str>,
}

/// A document with the name that an explanation gives it.
pub type Named<'a> = (&'a str, &'a Document);

/// Everything that has a say.
#[derive(Clone, Copy, Debug, Default)]
pub struct PolicySet<'a> {
    /// Policies of the user or role, and of groups.
    pub identity: &'a [Named<'a>],
    /// Permissions boundary of the user or role: what it does not allow, its policies do not either.
    pub boundary: Option<Named<'a>>,
    /// Policy of the bucket.
    pub bucket: Option<Named<'a>>,
    /// Account that the resource belongs to; `None` if it belongs to the caller's own.
    pub resource_account: Option<&'a str>,
    /// Policy embedded in the service account that signed.
    pub service_account: Option<Named<'a>>,
    /// Policies given with the session that signed, which may do what any of them allows; `None` if it
    /// was given none.
    pub session: Option<&'a [(String, Arc<Document>)]>,
    /// Whether an access control list grants it.
    pub acl_allows: bool,
    /// Other names of the action and of the resource.
    pub aliases: Aliases<'a>,
}

/// Actions by which the owner of an account repairs a policy that locks everybody out.
const REPAIR: [&str; 3] = ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"];

fn because(reason: Reason) -> Explanation {
    Explanation { reason, source: None, policy: None, sid: None, index: None }
}

fn at(
    reason: Reason,
    source: Source,
    name: &str,
    (index, statement): (usize, &Statement),
) -> Explanation {
    Explanation {
        reason,
        source: Some(source),
        policy: Some(name.to_owned()),
        sid: statement.sid.clone(),
        index: Some(index),
    }
}

/// A request as statements see it.
struct Request<'a> {
    caller: Caller<'a>,
    asked: Asked<'a>,
}

impl Request<'_> {
    /// The first statement of an effect that matches, no matter who asks.
    fn find<'d>(
        &self,
        (name, document): Named<'d>,
        effect: Effect,
    ) -> Option<(usize, &'d Statement)> {
        let mut statements = document.statements.iter().enumerate();
        let found = statements
            .find(|(_, statement)| statement.effect == effect && statement.matches(&self.asked));
        self.asked.work.note(name);
        found
    }

    /// As [`Request::find`] in a resource policy: the statement that reaches the caller farthest.
    fn find_reaching<'d>(
        &self,
        (name, document): Named<'d>,
        effect: Effect,
    ) -> Option<(Reach, (usize, &'d Statement))> {
        let matching = document.statements.iter().enumerate().filter_map(|(index, statement)| {
            let fits = statement.effect == effect && statement.matches(&self.asked);
            let reach = statement.reach(self.caller.principal, self.caller.canonical);
            reach.filter(|_| fits).map(|reach| (reach, (index, statement)))
        });
        let found =
            matching.max_by(|(a, (first, _)), (b, (second, _))| a.cmp(b).then(second.cmp(first)));
        self.asked.work.note(name);
        found
    }

    /// The decision; a refusal where not all that has a say could be looked at.
    fn settled(&self, decision: Decision) -> Decision {
        let Some(policy) = self.asked.work.spent_in() else { return decision };
        let explanation = Explanation { policy: Some(policy), ..because(Reason::TooCostly) };
        Decision { allowed: false, explanation }
    }

    fn find_deny(&self, set: &PolicySet<'_>) -> Option<Explanation> {
        let identity = set.identity.iter().map(|named| (Source::Identity, *named));
        let boundary = set.boundary.map(|named| (Source::Boundary, named));
        let service_account = set.service_account.map(|named| (Source::ServiceAccount, named));
        let session = set.session.unwrap_or_default().iter();
        let session =
            session.map(|(name, document)| (Source::Session, (name.as_str(), &**document)));
        let narrowing = boundary.into_iter().chain(service_account).chain(session);
        for (source, (name, document)) in identity.chain(narrowing) {
            if let Some(found) = self.find((name, document), Effect::Deny) {
                return Some(at(Reason::ExplicitDeny, source, name, found));
            }
        }
        let (name, document) = set.bucket?;
        let (_, found) = self.find_reaching((name, document), Effect::Deny)?;
        Some(at(Reason::ExplicitDeny, Source::Bucket, name, found))
    }

    fn identity_allow(&self, set: &PolicySet<'_>) -> Option<Explanation> {
        if let Principal::Root { .. } = self.caller.principal {
            return Some(because(Reason::Root));
        }
        set.identity.iter().find_map(|(name, document)| {
            let found = self.find((name, document), Effect::Allow)?;
            Some(at(Reason::Allow, Source::Identity, name, found))
        })
    }

    /// Why what is granted is more than the caller's boundary allows; `None` if it is not. A policy of the
    /// resource that names the very user, or the very session of a role, gives what it gives in spite of
    /// a boundary that is silent ("Permissions boundaries for IAM entities").
    fn exceeds_boundary(&self, set: &PolicySet<'_>, reach: Option<Reach>) -> Option<Explanation> {
        let (name, document) = set.boundary?;
        let is_given = match reach {
            Some(Reach::Session) => true,
            Some(Reach::Named) => matches!(self.caller.principal, Principal::User { .. }),
            _ => false,
        };
        if is_given || self.find((name, document), Effect::Allow).is_some() {
            return None;
        }
        let (source, policy) = (Some(Source::Boundary), Some(name.to_owned()));
        Some(Explanation { source, policy, ..because(Reason::BoundaryLimits) })
    }

    /// Why what is granted is more than the policies of the key or of the session allow.
    fn exceeds_limits(&self, set: &PolicySet<'_>, reach: Option<Reach>) -> Option<Explanation> {
        let allows = |named: Named<'_>| self.find(named, Effect::Allow).is_some();
        if set.service_account.is_some_and(|named| !allows(named)) {
            return Some(because(Reason::ServiceAccountLimits));
        }
        let session = set.session.filter(|_| reach != Some(Reach::Session))?;
        let is_allowed = session.iter().any(|(name, document)| allows((name, document)));
        (!is_allowed).then(|| because(Reason::SessionLimits))
    }
}

/// Decides whether a caller may do `action` (such as `s3:GetObject`) on `resource` (its ARN).
#[must_use]
pub fn decide(
    caller: Caller<'_>,
    action: &str,
    resource: &str,
    facts: &Facts,
    set: &PolicySet<'_>,
) -> Decision {
    let (aliases, work) = (set.aliases, Work::new());
    let asked = Asked { action, resource, aliases, facts, work: &work };
    let request = Request { caller, asked };
    request.settled(request.decide(set))
}

impl Request<'_> {
    fn decide(&self, set: &PolicySet<'_>) -> Decision {
        let (request, caller, action) = (self, self.caller, self.asked.action);
        let refused = |explanation| Decision { allowed: false, explanation };
        let is_own =
            set.resource_account.is_none_or(|account| caller.principal.account() == Some(account));
        let is_root = matches!(caller.principal, Principal::Root { .. });
        let is_narrowed = set.session.is_some() || set.service_account.is_some();
        if is_root && is_own && !is_narrowed && REPAIR.contains(&action) {
            return Decision { allowed: true, explanation: because(Reason::Root) };
        }
        if let Some(explanation) = request.find_deny(set) {
            return refused(explanation);
        }
        let reaching = set.bucket.and_then(|(name, document)| {
            let (reach, found) = request.find_reaching((name, document), Effect::Allow)?;
            Some((reach, at(Reason::Allow, Source::Bucket, name, found)))
        });
        let acl = set.acl_allows.then(|| because(Reason::Acl));
        let identity = request.identity_allow(set);
        let names_caller = reaching.clone().filter(|(reach, _)| *reach >= Reach::Everyone);
        let reach = reaching.as_ref().map(|(reach, _)| *reach);
        let is_within = is_own || caller.principal.account().is_none();
        let granted = if is_within {
            identity.or(names_caller.map(|(_, explanation)| explanation)).or(acl)
        } else {
            let resource_side = reaching.clone().map(|(_, explanation)| explanation).or(acl);
            match (identity, resource_side) {
                (Some(_), Some(explanation)) => Some(explanation),
                (None, None) => None,
                _ => return refused(because(Reason::OneSideOnly)),
            }
        };
        let Some(explanation) = granted else { return refused(because(Reason::NoAllow)) };
        // Between accounts the identity's side counts in any case, within its boundary.
        if let Some(explanation) = request.exceeds_boundary(set, reach.filter(|_| is_within)) {
            return refused(explanation);
        }
        match request.exceeds_limits(set, reach) {
            Some(explanation) => refused(explanation),
            None => Decision { allowed: true, explanation },
        }
    }
}

/// Whether an allow of a document names a caller by himself, and not all of his account or everyone.
#[must_use]
pub fn is_named(caller: Caller<'_>, document: &Document) -> bool {
    let reaches = |statement: &Statement| {
        let reach = statement.reach(caller.principal, caller.canonical);
        statement.effect == Effect::Allow && matches!(reach, Some(Reach::Named | Reach::Session))
    };
    document.statements.iter().any(reaches)
}

/// Decides whether a caller may do something with a key of the key service, of the account that the set
/// names. Policies of callers count only as far as the policy of the key lets its account decide; a key
/// without a policy does. `is_granted`: a grant of the key lets the caller do it. The owner of the account
/// is let in, unless a statement denies it.
#[must_use]
pub fn decide_key(
    caller: Caller<'_>,
    action: &str,
    resource: &str,
    facts: &Facts,
    (set, is_granted): (&PolicySet<'_>, bool),
) -> Decision {
    let (aliases, work) = (set.aliases, Work::new());
    let asked = Asked { action, resource, aliases, facts, work: &work };
    let request = Request { caller, asked };
    let set = PolicySet { acl_allows: is_granted, ..*set };
    let decision = request.decide(&set);
    let is_own =
        set.resource_account.is_none_or(|account| caller.principal.account() == Some(account));
    let is_owner = is_own && matches!(caller.principal, Principal::Root { .. });
    let reaches = |named| request.find_reaching(named, Effect::Allow).is_some();
    let is_let_in = is_owner || is_granted || set.bucket.is_none_or(reaches);
    request.settled(match decision.allowed && !is_let_in {
        true => Decision { allowed: false, explanation: because(Reason::NoAllow) },
        false => decision,
    })
}

/// Decides whether a caller may take on a role (`sts:AssumeRole` and its kin): the trust policy must
/// reach him, and where it only names his account, his own policies must allow it too. Of `own` the
/// policies of the caller count, and what narrows him.
#[must_use]
pub fn decide_trust(
    caller: Caller<'_>,
    action: &str,
    role_arn: &str,
    facts: &Facts,
    trust: Named<'_>,
    own: &PolicySet<'_>,
) -> Decision {
    let (aliases, work) = (Aliases::default(), Work::new());
    let asked = Asked { action, resource: role_arn, aliases, facts, work: &work };
    let request = Request { caller, asked };
    request.settled(request.decide_trust(trust, own))
}

impl Request<'_> {
    fn decide_trust(&self, trust: Named<'_>, own: &PolicySet<'_>) -> Decision {
        let (request, caller, role_arn) = (self, self.caller, self.asked.resource);
        let refused = |explanation| Decision { allowed: false, explanation };
        let (name, _) = trust;
        let set = PolicySet { bucket: Some(trust), ..*own };
        if let Some(explanation) = request.find_deny(&set) {
            return refused(explanation);
        }
        let Some((reach, found)) = request.find_reaching(trust, Effect::Allow) else {
            return refused(because(Reason::NoAllow));
        };
        let explanation = at(Reason::Allow, Source::Trust, name, found);
        let Some(account) = caller.principal.account() else {
            // Someone whom another provider vouches for has no policies here.
            return Decision { allowed: reach >= Reach::Everyone, explanation };
        };
        let is_own = role_arn.split(':').nth(4) == Some(account);
        let by_trust_alone = is_own && reach >= Reach::Everyone;
        if !by_trust_alone && request.identity_allow(&set).is_none() {
            return refused(because(if is_own { Reason::NoAllow } else { Reason::OneSideOnly }));
        }
        let exceeds = request
            .exceeds_boundary(&set, Some(reach).filter(|_| is_own))
            .or_else(|| request.exceeds_limits(&set, Some(reach)));
        match exceeds {
            Some(explanation) => refused(explanation),
            None => Decision { allowed: true, explanation },
        }
    }
}
