//! OpenID providers that an account trusts, as the IAM API makes them: an issuer, and for whom its tokens
//! are.
//!
//! # Not here
//!
//! Whether the server asks an issuer for its keys is decided by settings, in `admin::federation`; the
//! providers of settings are no rows.

use crate::arn::{EntityArn, EntityKind};
use crate::derived::Quota;
use crate::directory::{Directory, Scope};
use crate::entity::{Entity, Unknown};
use crate::error::IdentityError;
use crate::names::check_tags;
use crate::rows::{self, OfChange};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of the address of an issuer, of the name of a client; clients and thumbprints of a provider (IAM
/// API reference, `CreateOpenIDConnectProvider`; IAM User Guide, "IAM and STS quotas").
const URL_LEN_MAX: usize = 255;
const CLIENT_LEN_MAX: usize = 255;
const CLIENT_COUNT_MAX: usize = 100;
const THUMBPRINT_LEN: usize = 40;
const THUMBPRINT_COUNT_MAX: usize = 5;

/// An OpenID provider of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIdProvider {
    /// Account id.
    pub account: String,
    /// Its issuer, without scheme and without a slash at its end.
    pub name: String,
    /// In milliseconds since 1970.
    pub created_ms: u64,
    /// For whom its tokens must be: any of these.
    #[serde(default)]
    pub clients: BTreeSet<String>,
    /// Digests of certificates, in hexadecimal, in the order in which they were given. They are kept for
    /// those who read them: whom the server trusts is what its own list of authorities says.
    #[serde(default)]
    pub thumbprints: Vec<String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(crate) unknown: Unknown,
}

impl Entity for OpenIdProvider {
    const KIND: u8 = 22;
    const NAME: &'static str = "OpenID provider";
    const QUOTA: Option<Quota> =
        Some(Quota { count_max: 100, name: "OpenIDConnectProvidersPerAccount" });
}

/// An OpenID provider to be made.
#[derive(Clone, Debug, Default)]
pub struct NewOpenIdProvider {
    /// Address of the issuer, `https://...`.
    pub url: String,
    /// For whom its tokens must be.
    pub clients: BTreeSet<String>,
    /// Digests of certificates.
    pub thumbprints: Vec<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// The name of the provider with an address; `None` if it cannot be the address of an issuer (OpenID
/// Connect Discovery 1.0, section 4: no query, no fragment).
#[must_use]
pub fn openid_provider_of_url(url: &str) -> Option<String> {
    let place = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let (host, path) = match place.find('/') {
        Some(at) => place.split_at(at),
        None => (place, ""),
    };
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let is_of_path = |c: char| c.is_ascii_graphic() && !"?#\"<>\\^`{|}*".contains(c);
    let fits = url.len() <= URL_LEN_MAX && !host.is_empty();
    let is_plain = host.chars().all(is_of_host) && path.chars().all(is_of_path);
    let name = host.to_ascii_lowercase() + path.trim_end_matches('/');
    (fits && is_plain).then_some(name)
}

impl OpenIdProvider {
    /// Its resource name.
    #[must_use]
    pub fn arn(&self) -> EntityArn {
        EntityArn::of_new(EntityKind::OpenIdProvider, &self.account, "/", &self.name)
    }

    fn check(&self) -> Result<(), IdentityError> {
        if self.clients.len() > CLIENT_COUNT_MAX {
            let message = format!(
                "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {CLIENT_COUNT_MAX}"
            );
            return Err(IdentityError::Limit(message));
        }
        let client_fits = |client: &String| {
            (1..=CLIENT_LEN_MAX).contains(&client.len()) && !client.chars().any(char::is_control)
        };
        if !self.clients.iter().all(client_fits) {
            let message = "A client id has 1 to 255 characters.";
            return Err(IdentityError::invalid("ClientID", message));
        }
        if self.thumbprints.len() > THUMBPRINT_COUNT_MAX {
            let message = "Thumbprint list must contain fewer than 5 entries.";
            return Err(IdentityError::invalid("ThumbprintList", message));
        }
        let is_digest = |text: &String| {
            // IAM looks at no more: examples of its documentation have other letters in them.
            text.len() == THUMBPRINT_LEN && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if !self.thumbprints.iter().all(is_digest) {
            let message = "A thumbprint has 40 letters and digits.";
            return Err(IdentityError::invalid("ThumbprintList", message));
        }
        check_tags(&self.tags)
    }
}

impl Directory {
    /// Makes an OpenID provider of an account.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Invalid`], [`IdentityError::Exists`], [`IdentityError::Limit`], or the catalog
    /// failed.
    pub async fn create_openid_provider(
        &self,
        account: &str,
        new: NewOpenIdProvider,
    ) -> Result<OpenIdProvider, IdentityError> {
        let name = openid_provider_of_url(&new.url).ok_or_else(|| {
            let message = "Invalid Open ID Connect Provider URL";
            IdentityError::invalid("Url", message)
        })?;
        let provider = OpenIdProvider {
            account: account.to_owned(),
            name,
            created_ms: self.now_ms(),
            clients: new.clients,
            thumbprints: new.thumbprints,
            tags: new.tags,
            unknown: Unknown::new(),
        };
        provider.check()?;
        let stored = provider.clone();
        self.commit(Scope::of(account), move |tx| {
            rows::create(tx, &[&stored.account, &stored.name], &stored)
        })
        .await?;
        Ok(provider)
    }

    /// An OpenID provider of an account.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn openid_provider(
        &self,
        account: &str,
        name: &str,
    ) -> Result<OpenIdProvider, IdentityError> {
        let missing =
            || IdentityError::NotFound { kind: OpenIdProvider::NAME, name: name.to_owned() };
        rows::get(&self.shared.catalog, &[account, name])?.ok_or_else(missing)
    }

    /// The OpenID provider of an account whose tokens name an issuer, if the account has it.
    ///
    /// # Errors
    ///
    /// It cannot be read, or the catalog failed.
    pub fn openid_provider_of_issuer(
        &self,
        account: &str,
        issuer: &str,
    ) -> Result<Option<OpenIdProvider>, IdentityError> {
        let Some(name) = openid_provider_of_url(issuer) else { return Ok(None) };
        rows::get(&self.shared.catalog, &[account, &name])
    }

    /// Resource names of the OpenID providers of an account, by name; their quota bounds the list.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn openid_providers(&self, account: &str) -> Result<Vec<String>, IdentityError> {
        let arn = |provider: OpenIdProvider| Some(provider.arn().to_string());
        rows::list(&self.shared.catalog, &[account, ""], &OfChange, arn)
    }

    /// Changes an OpenID provider.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], [`IdentityError::Invalid`], [`IdentityError::Limit`], what `change`
    /// says, or the catalog failed.
    pub async fn change_openid_provider(
        &self,
        account: &str,
        name: &str,
        change: impl FnOnce(&mut OpenIdProvider) -> Result<(), IdentityError> + Send + 'static,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(Scope::of(&account), move |tx| {
            rows::change(tx, &[&account, &name], |provider: &mut OpenIdProvider| {
                change(provider)?;
                provider.check()
            })
        })
        .await
    }

    /// Removes an OpenID provider, also one that is not there (IAM API reference,
    /// `DeleteOpenIDConnectProvider`: the operation is idempotent).
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub async fn delete_openid_provider(
        &self,
        account: &str,
        name: &str,
    ) -> Result<(), IdentityError> {
        let (account, name) = (account.to_owned(), name.to_owned());
        self.commit(Scope::of(&account), move |tx| {
            rows::remove::<OpenIdProvider>(tx, &[&account, &name])
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_provider_is_its_issuer_without_the_scheme() {
        let name = |url: &str| openid_provider_of_url(url);
        for (url, want) in [
            ("https://Issuer.example/Realm/", Some("issuer.example/Realm")),
            ("https://issuer.example", Some("issuer.example")),
            ("http://127.0.0.1:80/a/b", Some("127.0.0.1:80/a/b")),
            ("issuer.example", None),
            ("https://", None),
            ("https:///a", None),
            ("https://user@issuer.example", None),
            ("https://issuer.example/?a=b", None),
            ("https://issuer.example/#a", None),
            ("https://issuer.example/*", None),
            ("https://is suer.example", None),
        ] {
            assert_eq!(name(url).as_deref(), want, "{url}");
        }
        assert_eq!(name(&format!("https://h/{}", "x".repeat(300))), None);
    }
}
