//! Ending sessions before their time.
//!
//! Sessions are not stored, so none can be taken out of a list: a row says from when on those of a name
//! count. Users and roles have it in their own row; owners of accounts and names of other directories in
//! one that is made for it.

use crate::DEFAULT_ACCOUNT;
use crate::directory::{Directory, Scope};
use crate::entity::{Role, SessionsEnd, User};
use crate::error::IdentityError;
use crate::outside::OutsideName;
use crate::rows;

/// Whose sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsOf {
    /// Of the owner of an account.
    Root,
    /// Of a user.
    User(String),
    /// Of the one who took on a role.
    Role(String),
    /// Of one of another directory.
    Outside(OutsideName),
    /// Of the users of all OpenID providers to whom these give a name.
    OpenIdName(String),
}

/// Where it is noted for the owner of an account.
const OWNER: &str = "owner";
/// Where earlier versions noted it for names of other directories, whichever these were.
const EXTERNAL: &str = "external";
/// Where it is noted for full names of users of other directories.
const OUTSIDE: &str = "outside";
/// Where it is noted for the users of all OpenID providers to whom these give a name.
const OPENID_NAME: &str = "openid";

impl Directory {
    /// Ends all sessions that were made until now, and returns this time, in milliseconds since 1970. Of one
    /// of another directory those of roles of all accounts end, whatever `account` is.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`] for a user or role, or the catalog failed.
    pub async fn end_sessions(&self, account: &str, of: SessionsOf) -> Result<u64, IdentityError> {
        // Roles of any account can be taken on by the same one of another directory.
        let (account, scope) = match of {
            SessionsOf::Outside(_) | SessionsOf::OpenIdName(_) => (DEFAULT_ACCOUNT, Scope::All),
            SessionsOf::Root | SessionsOf::User(_) | SessionsOf::Role(_) => {
                (account, Scope::of(account))
            }
        };
        let account = account.to_owned();
        // Those of this millisecond end too.
        let after_ms = self.now_ms() + 1;
        self.commit(scope, move |tx| {
            tx.use_reserve();
            let (kind, name) = match of {
                SessionsOf::User(name) => {
                    return rows::change(tx, &[&account, &name], |user: &mut User| {
                        user.sessions_after_ms = user.sessions_after_ms.max(after_ms);
                        Ok(())
                    });
                }
                SessionsOf::Role(name) => {
                    return rows::change(tx, &[&account, &name], |role: &mut Role| {
                        role.sessions_after_ms = role.sessions_after_ms.max(after_ms);
                        Ok(())
                    });
                }
                SessionsOf::Root => (OWNER, String::new()),
                SessionsOf::Outside(outside) => (OUTSIDE, outside.full()),
                SessionsOf::OpenIdName(name) => (OPENID_NAME, name),
            };
            let parts = [account.as_str(), kind, name.as_str()];
            let mut end = rows::find::<SessionsEnd>(tx, &parts)?.unwrap_or_default();
            end.sessions_after_ms = end.sessions_after_ms.max(after_ms);
            rows::save(tx, &parts, &end)
        })
        .await?;
        Ok(after_ms - 1)
    }

    /// From when on sessions of the owner of an account count, in milliseconds since 1970.
    pub(crate) fn owner_sessions_after(&self, account: &str) -> Result<u64, IdentityError> {
        self.sessions_after(&[account, OWNER, ""])
    }

    /// From when on sessions of one of another directory count that belong to an account, in milliseconds
    /// since 1970.
    pub(crate) fn outside_sessions_after(
        &self,
        account: &str,
        outside: &OutsideName,
    ) -> Result<u64, IdentityError> {
        let mut after_ms = 0;
        let mut look = |account: &str| {
            if outside.provider.is_some() {
                let of_name = self.sessions_after(&[account, OPENID_NAME, &outside.name])?;
                after_ms = after_ms.max(of_name);
            }
            let of_before = self.sessions_after(&[account, EXTERNAL, &outside.name])?;
            let of_full = self.sessions_after(&[account, OUTSIDE, &outside.full()])?;
            after_ms = after_ms.max(of_before).max(of_full);
            Ok::<_, IdentityError>(())
        };
        look(DEFAULT_ACCOUNT)?;
        // Where earlier versions looked for it.
        if account != DEFAULT_ACCOUNT {
            look(account)?;
        }
        Ok(after_ms)
    }

    fn sessions_after(&self, parts: &[&str]) -> Result<u64, IdentityError> {
        let end: Option<SessionsEnd> = rows::get(&self.shared.catalog, parts)?;
        Ok(end.unwrap_or_default().sessions_after_ms)
    }
}
