//! `AssumeRoleWithLDAPIdentity`: a session for anyone who has a name and a password of the LDAP server, with
//! the policies that are attached to his name or to his groups. The call itself is not signed.

use super::sts::{
    DURATION_DEFAULT_S, ROLE_RANGE_S, duration, narrowed, session_error, write_credentials,
};
use super::write::Xml;
use super::{Answer, Parameters, QueryError};
use crate::door::AdminRequest;
use crate::federation::ldap::LdapError;
use crate::federation::{Federation, Source};
use drystone_base::warn_limited;
use drystone_identity::{DEFAULT_ACCOUNT, Directory, OutsideName, SessionRequest};
use std::collections::{BTreeMap, BTreeSet};

impl From<LdapError> for QueryError {
    fn from(error: LdapError) -> Self {
        let message = error.to_string();
        match error {
            LdapError::Refused | LdapError::Throttled => Self::denied(message),
            LdapError::Unavailable(_) => {
                warn_limited!("the LDAP server is not available"; message);
                Self::new("IDPCommunicationError", 400, "The LDAP server does not answer.")
            }
            LdapError::TooMuch(_) => {
                warn_limited!("the LDAP server answers more than one sign-in may take"; message);
                Self::new("IDPCommunicationError", 400, message)
            }
        }
    }
}

pub(super) async fn run(
    directory: &Directory,
    federation: &Federation,
    request: &AdminRequest,
    parameters: &Parameters,
) -> Answer {
    let user = parameters.need("LDAPUsername")?;
    let password = parameters.need("LDAPPassword")?;
    let Some(ldap) = &federation.ldap else {
        return Err(QueryError::not_implemented("No LDAP server is configured."));
    };
    let narrowed = narrowed(parameters);
    // The name of a class of sessions, by which MinIO ends some of them: here all of a name end.
    parameters.get("TokenRevokeType");
    let seconds = duration(parameters, ROLE_RANGE_S, DURATION_DEFAULT_S)?;
    parameters.refuse_unread()?;
    let checked_ms = Some(directory.now_ms());
    let known = ldap.login(user, password, Source::of(request.address)).await?;
    let mut policies: BTreeSet<String> = directory.name_policies(&known.dn)?;
    for group in &known.groups {
        policies.extend(directory.name_policies(group)?);
    }
    if policies.is_empty() {
        let message = "No policy of this server is attached to the user or his groups.";
        return Err(QueryError::denied(message));
    }
    let facts = BTreeMap::from([
        ("ldap:user".to_owned(), vec![known.dn.clone()]),
        ("ldap:username".to_owned(), vec![known.name.clone()]),
        ("ldap:groups".to_owned(), known.groups.clone()),
    ]);
    let session = SessionRequest { duration_s: seconds, facts, checked_ms, ..narrowed };
    let policies = policies.into_iter().collect();
    let outside = OutsideName { provider: None, name: known.dn };
    let made = directory.session_of_external(DEFAULT_ACCOUNT, outside, policies, session).await;
    let made = made.map_err(session_error)?;
    let mut xml = Xml::new();
    write_credentials(&mut xml, &made);
    Ok(xml)
}
