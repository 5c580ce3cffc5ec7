//! `drystone session`.

use super::Made;
use clap::{Args, Subcommand};
use drystone_admin_api::{Request, SessionsOf};

#[derive(Subcommand)]
pub(crate) enum SessionCommand {
    /// End the temporary keys that an owner, user, role or outside name has now. They fail from their next
    /// request on. Access keys and passwords stay, and can make new sessions; to stop those too, disable the
    /// user or the key first (`user disable`, `key disable`).
    Revoke {
        #[command(flatten)]
        of: RevokeArguments,
        /// Only of the user of this provider: its issuer, a URL; with #CLAIM
        /// where another claim than "sub" names its users.
        #[arg(long, requires = "openid_name", value_name = "ISSUER")]
        openid_provider: Option<String>,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RevokeArguments {
    /// Sessions of the owner of the server (GetSessionToken with the root keys).
    #[arg(long)]
    root: bool,
    /// Sessions of this user (GetSessionToken); the same as `user end-sessions NAME`. Sessions of a role that
    /// the user assumed belong to the role: end them with --role.
    #[arg(long)]
    user: Option<String>,
    /// Sessions of this role (AssumeRole), no matter who assumed it.
    #[arg(long)]
    role: Option<String>,
    /// Sessions of the users to whom OpenID providers give this name (AssumeRoleWithWebIdentity), with
    /// those of roles; of one provider's user with --openid-provider. The server does not know which names
    /// there are: a wrong name ends nothing.
    #[arg(long)]
    openid_name: Option<String>,
    /// Sessions of this distinguished name of the LDAP server (AssumeRoleWithLDAPIdentity). As with OpenID, a
    /// wrong name ends nothing.
    #[arg(long)]
    ldap_name: Option<String>,
}

impl SessionCommand {
    pub(crate) fn request(self) -> Made {
        let Self::Revoke { of, openid_provider } = self;
        let RevokeArguments { root, user, role, openid_name, ldap_name } = of;
        // `requires` says nothing beside another name of the group.
        if openid_provider.is_some() && openid_name.is_none() {
            return Err("--openid-provider narrows --openid-name, and nothing else".into());
        }
        let of = root.then_some(SessionsOf::Root).or(user.map(SessionsOf::User));
        let openid = openid_name.map(|name| match openid_provider {
            Some(provider) => SessionsOf::OpenIdUser { provider, name },
            None => SessionsOf::OpenIdName(name),
        });
        let of = of.or(role.map(SessionsOf::Role)).or(openid);
        let of = of.or(ldap_name.map(SessionsOf::LdapName));
        Ok(Request::SessionRevoke { of: of.ok_or("say whose sessions end")? })
    }
}
