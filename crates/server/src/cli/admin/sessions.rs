//! `drystone session`.

use super::Made;
use clap::{Args, Subcommand};
use drystone_admin_api::{Request, SessionsOf};

#[derive(Subcommand)]
pub(crate) enum SessionCommand {
    /// End all sessions that somebody has, at once. Keys that last go on.
    Revoke(RevokeArguments),
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RevokeArguments {
    /// Of the owner of the server.
    #[arg(long)]
    root: bool,
    /// Of this user.
    #[arg(long)]
    user: Option<String>,
    /// Of this role, whoever took it on.
    #[arg(long)]
    role: Option<String>,
    /// Of the user whom an OpenID provider gives this name, with sessions of roles too.
    #[arg(long)]
    openid_name: Option<String>,
    /// Of this distinguished name of the LDAP server.
    #[arg(long)]
    ldap_name: Option<String>,
}

impl SessionCommand {
    pub(crate) fn request(self) -> Made {
        let Self::Revoke(RevokeArguments { root, user, role, openid_name, ldap_name }) = self;
        let of = root.then_some(SessionsOf::Root).or(user.map(SessionsOf::User));
        let of = of.or(role.map(SessionsOf::Role)).or(openid_name.map(SessionsOf::OpenIdName));
        let of = of.or(ldap_name.map(SessionsOf::LdapName));
        Ok(Request::SessionRevoke { of: of.ok_or("say whose sessions end")? })
    }
}
