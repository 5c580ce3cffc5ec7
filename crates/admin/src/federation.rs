//! Identities of other directories: OpenID providers, and LDAP servers.

pub(crate) mod oidc;

pub use oidc::{OpenId, OpenIdConfig};

/// The directories that a server was told of.
#[derive(Default)]
pub struct Federation {
    /// OpenID providers.
    pub openid: Vec<OpenId>,
}
