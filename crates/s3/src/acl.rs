//! Access control lists: grants of buckets and objects, as headers and documents give them.
//!
//! Source: S3 user guide, "Access control list (ACL) overview".

use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::owner::Owner;
use crate::request::S3Request;
use crate::xml::{Element, Xml};
use drystone_identity::Directory;

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    FullControl,
    Read,
    Write,
    ReadAcp,
    WriteAcp,
}

/// To whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grantee {
    /// Everybody, without a signature too.
    Everyone,
    /// Everybody who has a key of this server.
    Authenticated,
    /// Whatever delivers access logs.
    LogDelivery,
    /// An account, by its canonical id.
    Account(String),
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) grantee: Grantee,
    pub(crate) permission: Permission,
}

/// Bytes that a list holds: a grantee is an id of 64 characters, or the name of a group.
pub(crate) fn weight_bytes(grants: &[Grant]) -> usize {
    grants.len() * (size_of::<Grant>() + 96)
}

const GRANT_COUNT_MAX: usize = 100;
const ROOT: &str = "AccessControlPolicy";
const PERMISSIONS: &[(Permission, &str, char, &str)] = &[
    (Permission::Read, "READ", 'R', "x-amz-grant-read"),
    (Permission::Write, "WRITE", 'W', "x-amz-grant-write"),
    (Permission::ReadAcp, "READ_ACP", 'r', "x-amz-grant-read-acp"),
    (Permission::WriteAcp, "WRITE_ACP", 'w', "x-amz-grant-write-acp"),
    (Permission::FullControl, "FULL_CONTROL", 'F', "x-amz-grant-full-control"),
];
const GROUPS: &[(Grantee, &str, &str)] = &[
    (Grantee::Everyone, "http://acs.amazonaws.com/groups/global/AllUsers", "*"),
    (Grantee::Authenticated, "http://acs.amazonaws.com/groups/global/AuthenticatedUsers", "+"),
    (Grantee::LogDelivery, "http://acs.amazonaws.com/groups/s3/LogDelivery", "#"),
];

/// Whether a request carries a list, in headers or query.
pub(crate) fn is_given(request: &S3Request) -> bool {
    request.header_or_query("x-amz-acl").is_some()
        || PERMISSIONS.iter().any(|(_, _, _, header)| request.header_or_query(header).is_some())
}

impl Permission {
    fn name(self) -> &'static str {
        PERMISSIONS.iter().find(|(known, ..)| *known == self).map_or("", |(_, name, ..)| name)
    }
}

fn malformed() -> S3Error {
    S3Code::MalformedACLError.into()
}

impl Grant {
    fn new(permission: Permission, grantee: Grantee) -> Self {
        Self { grantee, permission }
    }

    /// Whether the grant is for more people than an account.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.grantee, Grantee::Everyone | Grantee::Authenticated)
    }

    fn allows(&self, wanted: Permission) -> bool {
        self.permission == Permission::FullControl || self.permission == wanted
    }
}

/// Whether a list allows something. `is_known`: the caller has a key; `foreign`: canonical id of his
/// account, if that is not the one that the bucket belongs to.
pub(crate) fn allows(
    grants: &[Grant],
    wanted: Permission,
    is_known: bool,
    foreign: Option<&str>,
    ignore_public: bool,
) -> bool {
    grants.iter().any(|grant| {
        let reaches = match &grant.grantee {
            Grantee::Everyone => !ignore_public,
            Grantee::Authenticated => is_known && !ignore_public,
            Grantee::LogDelivery => false,
            Grantee::Account(id) => foreign == Some(id),
        };
        reaches && grant.allows(wanted)
    })
}

/// Whether a list lets the log service write.
pub(crate) fn allows_log_delivery(grants: &[Grant]) -> bool {
    grants
        .iter()
        .any(|grant| grant.grantee == Grantee::LogDelivery && grant.allows(Permission::Write))
}

/// The list of a canned name; `None` if there is no such name.
fn canned(name: &str, owner: &str, bucket_owner: &str, of_bucket: bool) -> Option<Vec<Grant>> {
    use Permission as P;
    let mut grants = vec![Grant::new(P::FullControl, Grantee::Account(owner.to_owned()))];
    let mut add = |permission, grantee| {
        let grant = Grant::new(permission, grantee);
        if !matches!(&grant.grantee, Grantee::Account(id) if id == owner) {
            grants.push(grant);
        }
    };
    match name {
        "private" | "aws-exec-read" => {}
        "public-read" => add(P::Read, Grantee::Everyone),
        "public-read-write" => {
            add(P::Read, Grantee::Everyone);
            add(P::Write, Grantee::Everyone);
        }
        "authenticated-read" => add(P::Read, Grantee::Authenticated),
        "bucket-owner-read" | "bucket-owner-full-control" if of_bucket => {}
        "bucket-owner-read" => add(P::Read, Grantee::Account(bucket_owner.to_owned())),
        "bucket-owner-full-control" => {
            add(P::FullControl, Grantee::Account(bucket_owner.to_owned()));
        }
        "log-delivery-write" if of_bucket => {
            add(P::Write, Grantee::LogDelivery);
            add(P::ReadAcp, Grantee::LogDelivery);
        }
        _ => return None,
    }
    Some(grants)
}

/// Checks that an id is one of an account.
fn account(directory: &Directory, id: &str) -> Result<Grantee, S3Error> {
    if directory.has_canonical(id).map_err(|_| S3Code::InternalError)? {
        return Ok(Grantee::Account(id.to_owned()));
    }
    Err(S3Error::argument("CanonicalUser/ID", id, "Invalid id"))
}

fn group(uri: &str) -> Result<Grantee, S3Error> {
    let found = GROUPS.iter().find(|(_, known, _)| *known == uri);
    let unknown = || S3Error::argument("Group/URI", uri, "Invalid group uri");
    found.map(|(grantee, ..)| grantee.clone()).ok_or_else(unknown)
}

/// The grantees of a header such as `id="...", uri="..."`, by kind and name; `None` for what is none.
pub(crate) fn grantees_of(text: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    text.split(',').map(|piece| {
        let (kind, name) = piece.split_once('=')?;
        Some((kind.trim(), name.trim().trim_matches('"')))
    })
}

/// Reads such a header.
fn parse_header(text: &str, directory: &Directory) -> Result<Vec<Grantee>, S3Error> {
    let mut grantees = Vec::new();
    for grantee in grantees_of(text) {
        let (kind, value) = grantee.ok_or_else(malformed)?;
        grantees.push(match kind {
            "id" => account(directory, value)?,
            "uri" => group(value)?,
            "emailAddress" => return Err(S3Code::UnresolvableGrantByEmailAddress.into()),
            _ => return Err(malformed()),
        });
    }
    Ok(grantees)
}

/// The list that headers give: canned, or by grants, not both; `None` if they give none.
///
/// # Errors
///
/// `InvalidRequest` for both, `InvalidArgument` for what does not exist.
pub(crate) fn of_headers(
    request: &S3Request,
    directory: &Directory,
    owner: &str,
    bucket_owner: &str,
    of_bucket: bool,
) -> Result<Option<Vec<Grant>>, S3Error> {
    let mut grants = Vec::new();
    for (permission, _, _, header) in PERMISSIONS {
        if let Some(text) = request.header_or_query(header) {
            let grantees = parse_header(text, directory)?.into_iter();
            grants.extend(grantees.map(|grantee| Grant::new(*permission, grantee)));
        }
    }
    match (request.header_or_query("x-amz-acl"), grants.is_empty()) {
        (None, true) => Ok(None),
        (None, false) if grants.len() > GRANT_COUNT_MAX => Err(malformed()),
        (None, false) => Ok(Some(grants)),
        (Some(_), false) => {
            let message = "Specifying both Canned ACLs and Header Grants is not allowed";
            Err(S3Error::with(S3Code::InvalidRequest, message))
        }
        (Some(name), true) => match canned(name, owner, bucket_owner, of_bucket) {
            Some(grants) => Ok(Some(grants)),
            None => Err(S3Error::argument("x-amz-acl", name, "")),
        },
    }
}

/// The list of a document. `owner` is the one that it must name.
///
/// # Errors
///
/// `MalformedACLError`, `AccessDenied` for another owner, `InvalidArgument` for what does not exist.
pub(crate) fn of_document(
    root: &Element,
    directory: &Directory,
    owner: &str,
) -> Result<Vec<Grant>, S3Error> {
    let named = root.child("Owner").and_then(|owner| owner.text_of("ID")).ok_or_else(malformed)?;
    if named != owner {
        return Err(S3Code::AccessDenied.into());
    }
    let list = root.child("AccessControlList").ok_or_else(malformed)?;
    let mut grants = Vec::new();
    for grant in list.children_named("Grant") {
        let text = grant.text_of("Permission").ok_or_else(malformed)?;
        let permission = PERMISSIONS.iter().find(|(_, name, ..)| *name == text);
        let (permission, ..) = permission.ok_or_else(malformed)?;
        let grantee = grant.child("Grantee").ok_or_else(malformed)?;
        let grantee = match (grantee.text_of("ID"), grantee.text_of("URI")) {
            (Some(id), None) => account(directory, id)?,
            (None, Some(uri)) => group(uri)?,
            _ if grantee.child("EmailAddress").is_some() => {
                return Err(S3Code::UnresolvableGrantByEmailAddress.into());
            }
            _ => return Err(malformed()),
        };
        grants.push(Grant::new(*permission, grantee));
    }
    if grants.len() > GRANT_COUNT_MAX { Err(malformed()) } else { Ok(grants) }
}

/// Whether a list gives no one but owner and bucket owner anything.
pub(crate) fn is_plain(grants: &[Grant], owner: &str, bucket_owner: &str) -> bool {
    grants.iter().all(
        |grant| matches!(&grant.grantee, Grantee::Account(id) if id == owner || id == bucket_owner),
    )
}

/// Whether a list says what holds anyway where the bucket's owner owns everything: it has that canned
/// name, or gives full control to the owner and nobody else anything (S3 user guide, "Controlling
/// ownership of objects").
pub(crate) fn is_bucket_owners(canned: Option<&str>, grants: &[Grant], owner: &str) -> bool {
    let is_owners = |grant: &Grant| {
        grant.permission == Permission::FullControl
            && matches!(&grant.grantee, Grantee::Account(id) if id == owner)
    };
    match canned {
        Some(name) => name == "bucket-owner-full-control",
        None => !grants.is_empty() && grants.iter().all(is_owners),
    }
}

/// Stored form: for each grant a letter of the permission and the grantee, separated by commas. The
/// table is in `docs/formats/catalog.md`.
pub(crate) fn encode(grants: &[Grant]) -> String {
    let one = |grant: &Grant| {
        let letter =
            PERMISSIONS.iter().find(|(p, ..)| *p == grant.permission).map(|(_, _, l, _)| l);
        let grantee = match &grant.grantee {
            Grantee::Account(id) => id.as_str(),
            other => GROUPS.iter().find(|(g, ..)| g == other).map_or("", |(_, _, mark)| mark),
        };
        format!("{}{grantee}", letter.unwrap_or(&'F'))
    };
    grants.iter().map(one).collect::<Vec<_>>().join(",")
}

/// Reads the stored form; what it does not understand grants nothing.
pub(crate) fn decode(text: &str) -> Vec<Grant> {
    let one = |piece: &str| {
        let letter = piece.chars().next()?;
        let (permission, ..) = PERMISSIONS.iter().find(|(_, _, known, _)| *known == letter)?;
        let rest = &piece[letter.len_utf8()..];
        let grantee = match GROUPS.iter().find(|(_, _, mark)| *mark == rest) {
            Some((grantee, ..)) => grantee.clone(),
            None if rest.len() == 64 => Grantee::Account(rest.to_owned()),
            None => return None,
        };
        Some(Grant::new(*permission, grantee))
    };
    text.split(',').filter_map(one).collect()
}

/// The document of a list, groups before accounts: S3 promises no order, and programs that were written
/// against Ceph count on this one. Without a list, the owner may do everything.
pub(crate) fn document(context: &Context<'_>, owner: &str, grants: Option<&[Grant]>) -> String {
    let default = [Grant::new(Permission::FullControl, Grantee::Account(owner.to_owned()))];
    let of = |canonical: &str| Owner::of_canonical(context, canonical.to_owned());
    let mut document = Xml::new(ROOT);
    of(owner).write(&mut document, "Owner");
    document.open("AccessControlList");
    let (groups, accounts): (Vec<_>, Vec<_>) = grants
        .unwrap_or(&default)
        .iter()
        .partition(|grant| !matches!(grant.grantee, Grantee::Account(_)));
    for grant in groups.into_iter().chain(accounts) {
        let kind = match grant.grantee {
            Grantee::Account(_) => "CanonicalUser",
            _ => "Group",
        };
        document.open("Grant").raw(&format!(
            "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\">"
        ));
        match &grant.grantee {
            Grantee::Account(id) => of(id).write_into(&mut document),
            other => {
                let uri = GROUPS.iter().find(|(known, ..)| known == other);
                document.text("URI", uri.map_or("", |(_, uri, _)| uri));
            }
        }
        document.close("Grantee").text("Permission", grant.permission.name()).close("Grant");
    }
    document.close("AccessControlList");
    document.finish(ROOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is stored reads back, and damage grants nothing.
    #[test]
    fn stored_lists_read_back() {
        let id = "ab".repeat(32);
        let grants = canned("public-read-write", &id, &id, true).expect("a canned name");
        assert_eq!(decode(&encode(&grants)), grants);
        assert_eq!(encode(&grants), format!("F{id},R*,W*"));
        for text in ["", "X*", "R", "R?", "é", "F123"] {
            assert!(decode(text).is_empty(), "{text}");
        }
    }

    /// Goal: each grantee and permission reaches exactly whom and what it names.
    #[test]
    fn grants_reach_whom_they_name() {
        let id = "ab".repeat(32);
        let public = decode("R*");
        assert!(allows(&public, Permission::Read, false, None, false));
        assert!(!allows(&public, Permission::Read, false, None, true));
        assert!(!allows(&public, Permission::Write, false, None, false));
        let known = decode("R+");
        assert!(allows(&known, Permission::Read, true, None, false));
        assert!(!allows(&known, Permission::Read, false, None, false));
        let account = decode(&format!("F{id}"));
        assert!(allows(&account, Permission::WriteAcp, true, Some(&id), true));
        assert!(!allows(&account, Permission::Read, true, None, false));
        assert!(!allows(&decode("W#"), Permission::Write, true, Some("#"), false));
    }
}
