//! Ending sessions before their time.

use super::{Failed, Outcome, mfa::require_owner};
use crate::door::Actor;
use crate::federation::normalise;
use crate::rights::Right;
use drystone_admin_api::{
    Answer, Failure, FailureCode, Request, SessionsEnded, SessionsOf as Named,
};
use drystone_base::Timestamp;
use drystone_identity::{EntityKind, OutsideName, SessionsOf, provider_name};

/// Longest name of another directory, in bytes.
const NAME_LEN_MAX: usize = 1024;

/// Runs a request about sessions; gives back any other.
pub(super) async fn run(actor: &Actor<'_>, request: Request) -> Result<Outcome, Request> {
    match request {
        Request::SessionRevoke { of } => Ok(revoke(actor, of).await),
        Request::UserEndSessions { name } => Ok(revoke(actor, Named::User(name)).await),
        request => Err(request),
    }
}

async fn revoke(actor: &Actor<'_>, named: Named) -> Outcome {
    let of = match named.clone() {
        Named::Root => {
            require_owner(actor)?;
            SessionsOf::Root
        }
        Named::User(name) => {
            actor.need(Right::RevokeSessions, EntityKind::User, &name)?;
            SessionsOf::User(name)
        }
        Named::Role(name) => {
            actor.need(Right::RevokeSessions, EntityKind::Role, &name)?;
            SessionsOf::Role(name)
        }
        Named::OpenIdName(name) => SessionsOf::OpenIdName(outside(actor, name)?),
        Named::OpenIdUser { provider, name } => {
            let provider = provider_name(&outside(actor, provider)?, "");
            let name = outside(actor, name)?;
            SessionsOf::Outside(OutsideName { provider: Some(provider), name })
        }
        Named::LdapName(name) => {
            let name = outside(actor, normalise(&name))?;
            SessionsOf::Outside(OutsideName { provider: None, name })
        }
    };
    let until_ms = actor.directory.end_sessions(actor.account(), of).await?;
    let made_until = Timestamp(until_ms).to_iso();
    Ok(Answer::SessionsEnded(SessionsEnded { of: named, made_until }))
}

/// A name of another directory, if the caller may end its sessions: they are of the default account.
fn outside(actor: &Actor<'_>, name: String) -> Result<String, Failed> {
    actor.require_server(Right::RevokeSessions)?;
    if name.is_empty() || name.len() > NAME_LEN_MAX || name.chars().any(char::is_control) {
        let message = "The name has 1 to 1,024 bytes, without control characters.".to_owned();
        return Err(Failed(Failure { code: FailureCode::Invalid, message }));
    }
    Ok(name)
}
