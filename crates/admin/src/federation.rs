//! Identities of other directories: OpenID providers, and LDAP servers.

mod gate;
pub(crate) mod ldap;
pub(crate) mod oidc;
mod throttle;

pub use ldap::{Ldap, LdapConfig};
pub(crate) use ldap::{NOT_DISTINGUISHED, is_distinguished, normalise};
pub use oidc::{OpenId, OpenIdConfig};

use std::net::{IpAddr, Ipv6Addr};

/// Where a sign-in comes from: clients choose the lower half of an IPv6 address themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source(IpAddr);

impl Federation {
    /// The issuer of a provider of an account, if the server may ask it.
    pub(crate) fn issuer(&self, name: &str) -> Option<&OpenId> {
        self.openid.iter().chain(&self.issuers).find(|issuer| issuer.is_issuer(name))
    }
}

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            v4 => Self(v4),
        }
    }
}

/// The directories that a server was told of.
#[derive(Default)]
pub struct Federation {
    /// OpenID providers.
    pub openid: Vec<OpenId>,
    /// Issuers that OpenID providers of accounts may name: the server asks no other for its keys.
    pub issuers: Vec<OpenId>,
    /// LDAP server.
    pub ldap: Option<Ldap>,
}
