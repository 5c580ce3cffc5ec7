//! The second factor of an account's owner.

use super::{Failed, Outcome};
use crate::door::Actor;
use drystone_admin_api::{Answer, Failure, FailureCode, Mfa, Request};
use drystone_base::Timestamp;
use drystone_identity::mfa_serial;

/// Runs a request about the second factor; gives back any other.
pub(super) async fn run(actor: &Actor<'_>, request: Request) -> Result<Outcome, Request> {
    Ok(match request {
        Request::MfaEnroll => enroll(actor).await,
        Request::MfaConfirm { code } => confirm(actor, &code).await,
        Request::MfaInfo => info(actor),
        Request::MfaRemove => remove(actor).await,
        request => return Err(request),
    })
}

/// No one but the owner of the account has to do with his second factor, whatever policies say.
pub(super) fn require_owner(actor: &Actor<'_>) -> Result<(), Failed> {
    if actor.identity.is_unrestricted_root() {
        return Ok(());
    }
    let message = "This is for the owner of the account only.".to_owned();
    Err(Failed(Failure { code: FailureCode::Denied, message }))
}

/// A device lasts, so that no session or key that ends binds one.
async fn enroll(actor: &Actor<'_>) -> Outcome {
    require_owner(actor)?;
    actor.require_lasting()?;
    let serial = mfa_serial(actor.account());
    let secret = actor.directory.enroll_mfa(actor.account()).await?;
    let secret = secret.reveal().to_owned();
    let uri =
        format!("otpauth://totp/Drystone:{}?secret={secret}&issuer=Drystone", actor.account());
    Ok(Answer::MfaSecret { serial, secret, uri })
}

async fn confirm(actor: &Actor<'_>, code: &str) -> Outcome {
    require_owner(actor)?;
    actor.require_lasting()?;
    actor.directory.confirm_mfa(actor.account(), code).await?;
    Ok(Answer::Done)
}

fn info(actor: &Actor<'_>) -> Outcome {
    require_owner(actor)?;
    let device = actor.directory.mfa_device(actor.account())?.into_iter();
    let shown = device.map(|device| Mfa {
        serial: device.serial,
        confirmed: device.is_confirmed,
        created: Timestamp(device.created_ms).to_iso(),
    });
    Ok(Answer::Mfa(shown.collect()))
}

/// A stolen key must not take away what guards against it: this is done at the machine itself.
async fn remove(actor: &Actor<'_>) -> Outcome {
    require_owner(actor)?;
    actor.require_socket()?;
    actor.directory.remove_mfa(actor.account()).await?;
    Ok(Answer::Done)
}
