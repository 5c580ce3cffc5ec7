//! Identities of other directories: OpenID providers, and LDAP servers.

mod gate;
pub(crate) mod ldap;
pub(crate) mod oidc;
mod throttle;

pub(crate) use ldap::normalise;
pub use ldap::{Ldap, LdapConfig};
pub use oidc::{OpenId, OpenIdConfig};

/// The directories that a server was told of.
#[derive(Default)]
pub struct Federation {
    /// OpenID providers.
    pub openid: Vec<OpenId>,
    /// LDAP server.
    pub ldap: Option<Ldap>,
}
