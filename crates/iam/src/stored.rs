//! Policies that name principals, as they are stored: users and roles by unique id.
//!
//! A client names a user by resource name. What is stored has its unique id before it, with a blank between
//! them, so that a user made later under the same name is not the one who was meant. What a client reads has
//! the name that the user has now, or the id of one who was deleted.
//!
//! # Invariants
//!
//! - Text of a client becomes a [`StoredPolicy`] only in [`StoredPolicy::resolve`].
//! - Besides principals, a document is stored as it was given, byte by byte.

use crate::arn::Arn;
use crate::document::{Document, DocumentKind, PolicyError};
use crate::principal::{
    PrincipalPattern, STORED_BLANK, invalid_principal, is_service, provider_of,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What has a unique id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A user.
    User,
    /// A role.
    Role,
}

/// A user or role that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPrincipal {
    /// Unique id.
    pub id: String,
    /// Resource name.
    pub arn: String,
}

/// Who there is.
pub trait PrincipalNames {
    /// Why that cannot be known, or what is wrong with a document.
    type Error: From<PolicyError>;

    /// The user or role of an account with a name, which has no path.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    fn find(
        &self,
        kind: PrincipalKind,
        account: &str,
        name: &str,
    ) -> Result<Option<KnownPrincipal>, Self::Error>;

    /// Whether there is an account with an id.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    fn has_account(&self, id: &str) -> Result<bool, Self::Error>;

    /// Whether there is an account with a canonical id.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    fn has_canonical(&self, id: &str) -> Result<bool, Self::Error>;
}

/// The text of a policy of a bucket, an access point or a role, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoredPolicy(String);

/// A principal in a document.
struct Place {
    /// Where its text stands, with its quotes.
    at: Range<usize>,
    /// The key that it stands under, such as `AWS`.
    kind: String,
    text: String,
}

/// An open object, with the key whose value comes, or an open list.
enum Open {
    Object(String),
    List,
}

/// Where a text that begins at `start` ends, after its closing quote.
fn text_end(document: &str, start: usize) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in document.bytes().enumerate().skip(start + 1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The principals of a document, which is valid JSON.
fn places(document: &str) -> Vec<Place> {
    let (mut found, mut open, mut is_key, mut at) = (Vec::new(), Vec::new(), false, 0);
    while let Some(byte) = document.as_bytes().get(at) {
        match byte {
            b'{' => {
                open.push(Open::Object(String::new()));
                is_key = true;
            }
            b'[' => open.push(Open::List),
            b'}' | b']' => drop(open.pop()),
            b',' => is_key = matches!(open.last(), Some(Open::Object(_))),
            b':' => is_key = false,
            b'"' => {
                let Some(end) = text_end(document, at) else { return found };
                let Ok(text) = serde_json::from_str::<String>(&document[at..end]) else {
                    return found;
                };
                match open.last_mut() {
                    Some(Open::Object(key)) if is_key => *key = text,
                    _ => found.extend(principal_kind(&open).map(|kind| Place {
                        at: at..end,
                        kind,
                        text,
                    })),
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The key that a principal stands under, if a value here is one.
fn principal_kind(open: &[Open]) -> Option<String> {
    let mut keys = open.iter().filter_map(|open| match open {
        Open::Object(key) => Some(key.as_str()),
        Open::List => None,
    });
    let path = [keys.next()?, keys.next()?, keys.next()?];
    let is_principal = path[0] == "Statement" && matches!(path[1], "Principal" | "NotPrincipal");
    (is_principal && keys.next().is_none()).then(|| path[2].to_owned())
}

/// Puts other principals into a document; `None` where all stay as they are.
fn rewrite<E>(
    document: &str,
    mut change: impl FnMut(&Place) -> Result<Option<String>, E>,
) -> Result<Option<String>, E> {
    let (mut rewritten, mut done) = (String::new(), 0);
    for place in places(document) {
        if let Some(text) = change(&place)? {
            rewritten.push_str(&document[done..place.at.start]);
            rewritten.push_str(&serde_json::Value::from(text).to_string());
            done = place.at.end;
        }
    }
    rewritten.push_str(&document[done..]);
    Ok((done > 0).then_some(rewritten))
}

/// A user, role or session as a resource name gives it.
struct Named<'a> {
    kind: PrincipalKind,
    account: &'a str,
    name: &'a str,
    /// Of a session: its name.
    session: Option<&'a str>,
}

impl<'a> Named<'a> {
    fn of(arn: &'a Arn) -> Option<Self> {
        let (kind, path_name) = arn.resource.split_once('/')?;
        let (kind, name, session) = match kind {
            "user" => (PrincipalKind::User, path_name.rsplit('/').next()?, None),
            "role" => (PrincipalKind::Role, path_name.rsplit('/').next()?, None),
            "assumed-role" => {
                let (role, session) = path_name.split_once('/')?;
                (PrincipalKind::Role, role, Some(session))
            }
            _ => return None,
        };
        Some(Self { kind, account: &arn.account, name, session })
    }
}

/// Unique id and resource name that a user, role or session has now, by a resource name that it had.
fn found<N: PrincipalNames>(text: &str, names: &N) -> Result<Option<(String, String)>, N::Error> {
    let arn = Arn::parse(text).filter(|arn| arn.partition == "aws");
    let Some(named) = arn.as_ref().and_then(Named::of) else { return Ok(None) };
    let known = names.find(named.kind, named.account, named.name)?;
    Ok(known.map(|known| match named.session {
        // The name of a session has no path of the role.
        Some(session) => (format!("{}:{session}", known.id), text.to_owned()),
        None => (known.id, known.arn),
    }))
}

/// The stored form of a principal whom a resource name means now; `None` if it means no one.
fn with_id<N: PrincipalNames>(text: &str, names: &N) -> Result<Option<String>, N::Error> {
    let found = found(text, names)?.filter(|(_, arn)| arn == text);
    Ok(found.map(|(id, arn)| format!("{id}{STORED_BLANK}{arn}")))
}

impl StoredPolicy {
    /// Checks a document that a client gives, and puts in the unique ids of those whom it names.
    ///
    /// # Errors
    ///
    /// A [`PolicyError`] for what AWS refuses, for a condition key that no request has, and for a principal
    /// that does not exist; or who there is cannot be known.
    pub fn resolve<N: PrincipalNames>(
        text: &str,
        kind: DocumentKind<'_>,
        names: &N,
    ) -> Result<(Self, Document), N::Error> {
        Document::parse_submitted(text, kind)?;
        let stored = rewrite(text, |place| {
            let invalid = || invalid_principal(&place.kind, &place.text);
            let (is_there, resolved) = match PrincipalPattern::parse(&place.kind, &place.text) {
                Some(PrincipalPattern::Account(id)) => (names.has_account(&id)?, None),
                Some(PrincipalPattern::Canonical(id)) => (names.has_canonical(&id)?, None),
                Some(PrincipalPattern::Unresolved(arn)) => {
                    let resolved = with_id(&arn, names)?;
                    (resolved.is_some(), resolved)
                }
                Some(PrincipalPattern::FederatedUser(arn)) => {
                    let account = Arn::parse(&arn).map(|arn| arn.account).unwrap_or_default();
                    (names.has_account(&account)?, None)
                }
                // Trust policies of older clients name a provider without its resource name.
                Some(PrincipalPattern::Federated(text)) if kind != DocumentKind::Trust => {
                    let is_there = match provider_of(&text) {
                        Some(Some(account)) => names.has_account(&account)?,
                        found => found.is_some(),
                    };
                    (is_there, None)
                }
                Some(PrincipalPattern::Service(name)) => (is_service(&name), None),
                Some(PrincipalPattern::Everyone | PrincipalPattern::Federated(_)) => (true, None),
                // A stored form is nothing that a client may give.
                Some(PrincipalPattern::Id(_)) | None => (false, None),
            };
            if is_there { Ok::<_, N::Error>(resolved) } else { Err(invalid().into()) }
        })?;
        let stored = stored.unwrap_or_else(|| text.to_owned());
        let document = Document::parse(&stored, kind)?;
        Ok((Self(stored), document))
    }

    /// What a row holds.
    #[must_use]
    pub fn of_row(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// What a row is to hold.
    #[must_use]
    pub fn to_row(&self) -> Vec<u8> {
        self.0.clone().into_bytes()
    }

    /// The document.
    ///
    /// # Errors
    ///
    /// As [`Document::parse`].
    pub fn document(&self, kind: DocumentKind<'_>) -> Result<Document, PolicyError> {
        Document::parse(&self.0, kind)
    }

    /// The document as a client reads it: with the names that principals have now, and the ids of those who
    /// are gone, or cannot be read.
    #[must_use]
    pub fn shown<N: PrincipalNames>(&self, names: &N) -> String {
        let shown = rewrite(&self.0, |place| {
            let Some((id, name)) = place.text.split_once(STORED_BLANK) else { return Ok(None) };
            let now = found(name, names).ok().flatten().filter(|(found, _)| found == id);
            Ok::<_, PolicyError>(Some(now.map_or_else(|| id.to_owned(), |(_, arn)| arn)))
        });
        shown.ok().flatten().unwrap_or_else(|| self.0.clone())
    }

    /// A document of an older version with the ids of those who have the names in it; `None` if there is
    /// nothing to put in.
    ///
    /// # Errors
    ///
    /// Who there is cannot be known.
    pub fn with_ids<N: PrincipalNames>(&self, names: &N) -> Result<Option<Self>, N::Error> {
        let rewritten =
            rewrite(&self.0, |place| match PrincipalPattern::parse(&place.kind, &place.text) {
                Some(PrincipalPattern::Unresolved(arn)) => with_id(&arn, names),
                _ => Ok(None),
            })?;
        Ok(rewritten.map(Self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Users and roles, each with an id and a resource name.
    struct Names(Vec<(PrincipalKind, &'static str, &'static str)>);

    impl PrincipalNames for Names {
        type Error = PolicyError;

        fn find(
            &self,
            kind: PrincipalKind,
            account: &str,
            name: &str,
        ) -> Result<Option<KnownPrincipal>, PolicyError> {
            let named = |arn: &str| {
                let word = if kind == PrincipalKind::User { "user" } else { "role" };
                arn.starts_with(&format!("arn:aws:iam::{account}:{word}/"))
                    && arn.ends_with(&format!("/{name}"))
            };
            let found = self.0.iter().find(|(found, _, arn)| *found == kind && named(arn));
            let known = |(_, id, arn): &(_, &str, &str)| KnownPrincipal {
                id: (*id).to_owned(),
                arn: (*arn).to_owned(),
            };
            Ok(found.map(known))
        }
        fn has_account(&self, id: &str) -> Result<bool, PolicyError> {
            Ok(id == "111111111111")
        }
        fn has_canonical(&self, id: &str) -> Result<bool, PolicyError> {
            Ok(id == "1".repeat(64))
        }
    }

    const BOB: &str = "arn:aws:iam::111111111111:user/bob";
    const ROLE: &str = "arn:aws:iam::111111111111:role/team/r";
    const SESSION: &str = "arn:aws:sts::111111111111:assumed-role/r/s";

    fn names() -> Names {
        Names(vec![(PrincipalKind::User, "AIDAB", BOB), (PrincipalKind::Role, "AROAR", ROLE)])
    }

    fn bucket_policy(principal: &str) -> String {
        format!(
            "{{ \"Version\":\"2012-10-17\",\"Statement\" : [{{\"Effect\":\"Deny\",\"Sid\":\"{BOB}\",\
             {principal},\"Action\":\"s3:GetObject\",\n\"Resource\":\"arn:aws:s3:::b/*\",\"Condition\":\
             {{\"ArnLike\":{{\"aws:PrincipalArn\":\"{BOB}\"}}}}}}]}}"
        )
    }

    fn resolve(principal: &str) -> Result<StoredPolicy, PolicyError> {
        let text = bucket_policy(principal);
        StoredPolicy::resolve(&text, DocumentKind::Bucket("b"), &names()).map(|(stored, _)| stored)
    }

    #[test]
    fn a_principal_is_stored_with_its_id_and_shown_with_its_name() {
        for (element, stored) in [
            (format!(r#""Principal":{{"AWS":"{BOB}"}}"#), format!(r#"{{"AWS":"AIDAB {BOB}"}}"#)),
            (
                format!(r#""NotPrincipal":{{"AWS":["*","{ROLE}"]}}"#),
                format!(r#"["*","AROAR {ROLE}"]"#),
            ),
            (
                format!(r#""Principal":{{"AWS":[ "{SESSION}" ]}}"#),
                format!(r#"[ "AROAR:s {SESSION}" ]"#),
            ),
            (r#""Principal":"*""#.to_owned(), r#""Principal":"*""#.to_owned()),
        ] {
            let policy = resolve(&element).expect("it is valid");
            assert!(policy.0.contains(&stored), "{}", policy.0);
            assert_eq!(policy.shown(&names()), bucket_policy(&element));
            assert_eq!(policy.with_ids(&names()), Ok(None));
        }
    }

    #[test]
    fn one_who_is_gone_is_shown_by_id_and_one_who_moved_by_the_new_name() {
        let policy = resolve(&format!(r#""Principal":{{"AWS":["{BOB}","{SESSION}"]}}"#));
        let policy = policy.expect("it is valid");
        let another = Names(vec![(PrincipalKind::User, "AIDAC", BOB)]);
        assert!(policy.shown(&another).contains(r#"{"AWS":["AIDAB","AROAR:s"]}"#));
        let moved = "arn:aws:iam::111111111111:user/other/bob";
        let moved = Names(vec![(PrincipalKind::User, "AIDAB", moved)]);
        assert!(policy.shown(&moved).contains(r#"user/other/bob","AROAR:s"]"#));
    }

    #[test]
    fn a_principal_that_does_not_exist_is_refused() {
        for text in [
            "arn:aws:iam::111111111111:user/eve",
            "arn:aws:iam::111111111111:user/team/bob",
            "arn:aws:iam::111111111111:role/r",
            "arn:minio:iam::111111111111:user/bob",
            "arn:aws:sts::111111111111:assumed-role/other/s",
            "arn:aws:sts::111111111111:assumed-role/r",
            "arn:aws:sts::222222222222:federated-user/ann",
            "arn:aws:iam::222222222222:root",
            "222222222222",
            "AIDAB",
            &format!("AIDAB {BOB}"),
            &"2".repeat(64),
        ] {
            let refused = resolve(&format!(r#""Principal":{{"AWS":"{text}"}}"#));
            let message = refused.map_err(|error| error.to_string());
            let named = format!(r#"Invalid principal in policy: "AWS":"{text}""#);
            assert_eq!(message, Err(named), "{text}");
        }
        let trust = r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"222222222222"},
            "Action":"sts:AssumeRole"}}"#;
        let refused = StoredPolicy::resolve(trust, DocumentKind::Trust, &names());
        let message = refused.map(drop).map_err(|error| error.to_string());
        assert_eq!(message, Err(r#"Invalid principal in policy: "AWS":"222222222222""#.to_owned()));
    }

    #[test]
    fn an_older_document_gets_ids_of_those_who_are_there() {
        let eve = "arn:aws:iam::111111111111:user/eve";
        let old = bucket_policy(&format!(r#""Principal":{{"AWS":["{BOB}","{eve}"]}}"#));
        let new = StoredPolicy(old).with_ids(&names()).expect("known").expect("another text");
        assert!(new.0.contains(&format!(r#"["AIDAB {BOB}","{eve}"]"#)), "{}", new.0);
        assert_eq!(new.with_ids(&names()), Ok(None));
    }

    proptest! {
        /// Goal: what is written with escapes is found as the reader of documents finds it.
        #[test]
        fn every_spelling_of_a_principal_is_found(escaped in prop::collection::vec(any::<bool>(), 60)) {
            let mut flags = escaped.iter().cycle();
            let mut spell = |text: &str| -> String {
                text.chars().map(|c| match flags.next() {
                    Some(true) => format!("\\u{:04x}", u32::from(c)),
                    _ => c.to_string(),
                }).collect()
            };
            let (key, kind, name) = (spell("Principal"), spell("AWS"), spell(BOB));
            let text = bucket_policy(&format!(r#""{key}":{{"{kind}":["*","{name}"]}}"#));
            let stored = StoredPolicy::resolve(&text, DocumentKind::Bucket("b"), &names());
            let (stored, _) = stored.expect("it is valid");
            let expected = format!(r#""AIDAB {BOB}""#);
            prop_assert!(stored.0.contains(&expected), "{}", stored.0);
        }
    }
}
