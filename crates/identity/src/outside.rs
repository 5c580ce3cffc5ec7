//! Names of those whom another directory vouches for: they contain the directory, so that the users of two
//! directories to whom these give the same name are two users here (decision 25).
//!
//! A user of an OpenID provider is `PROVIDER/NAME`, where the provider is its issuer without `https://`,
//! with `#CLAIM` where another claim than `sub` names its users. In the name `%`, `/` and `=` are escaped,
//! and in the provider `%` and `=`. A user of the LDAP server is its distinguished name, which always has a
//! `=`. So no name can be read in two ways.

use crate::DEFAULT_ACCOUNT;
use crate::directory::{Directory, Scope};
use crate::entity::{Entity, Unknown};
use crate::error::IdentityError;
use crate::rows;
use drystone_iam::{BareName, Principal};
use serde::{Deserialize, Serialize};

/// Bytes of the name of a provider at most.
pub const PROVIDER_LEN_MAX: usize = 512;

/// Someone whom another directory knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideName {
    /// The OpenID provider, as [`provider_name`] has it; `None` for the LDAP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What the provider calls the user, or a distinguished name in its normal form.
    pub name: String,
}

/// The provider that names without one mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BareNamesOf {
    /// Empty if there were several when the first session was made: then such a name means no one.
    provider: String,
    #[serde(flatten)]
    unknown: Unknown,
}

impl Entity for BareNamesOf {
    const KIND: u8 = 21;
    const NAME: &'static str = "provider of names without one";
}

/// The name of a provider, from its issuer and the claim that names its users.
#[must_use]
pub fn provider_name(issuer: &str, claim: &str) -> String {
    let place = issuer.split_once("://").map_or(issuer, |(_, place)| place);
    match claim {
        "" | "sub" => place.to_owned(),
        claim => format!("{place}#{claim}"),
    }
}

fn escaped(text: &str, special: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if special.contains(&c) => out.push_str(&format!("%{:02X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

impl OutsideName {
    /// The name with its directory, which no other caller has.
    #[must_use]
    pub fn full(&self) -> String {
        match &self.provider {
            None => self.name.clone(),
            Some(provider) => {
                let (provider, name) =
                    (escaped(provider, &['%', '=']), escaped(&self.name, &['%', '/', '=']));
                format!("{provider}/{name}")
            }
        }
    }
}

impl Directory {
    fn bare_names_of(&self) -> Result<Option<String>, IdentityError> {
        let row = rows::get::<BareNamesOf>(&self.shared.catalog, &[DEFAULT_ACCOUNT])?;
        Ok(row.map(|row| row.provider))
    }

    /// Notes with the first session of an OpenID provider whose users are meant by names without a provider:
    /// of this one if it is the only one.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub async fn note_provider(&self, provider: &str, is_only: bool) -> Result<(), IdentityError> {
        if self.bare_names_of()?.is_some() {
            return Ok(());
        }
        let provider = if is_only { provider.to_owned() } else { String::new() };
        self.commit(Scope::All, move |tx| {
            tx.use_reserve();
            let is_noted = rows::find::<BareNamesOf>(tx, &[DEFAULT_ACCOUNT])?.is_some();
            let row = BareNamesOf { provider, unknown: Unknown::new() };
            if is_noted { Ok(()) } else { rows::save(tx, &[DEFAULT_ACCOUNT], &row) }
        })
        .await
    }

    /// Someone of another directory, with a session without a role.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn outside_principal(
        &self,
        account: &str,
        outside: &OutsideName,
    ) -> Result<Principal, IdentityError> {
        let bare = match &outside.provider {
            None => None,
            Some(provider) => {
                // What could be a name of LDAP, or one with a provider, may have meant that.
                let is_plain = !outside.name.contains(['/', '=']);
                let is_theirs = match self.bare_names_of()? {
                    Some(of) => of == *provider,
                    // A session of before: whose names these are is noted with the next one.
                    None => true,
                };
                let name = outside.name.clone();
                Some(BareName { name, may_allow: is_plain && is_theirs })
            }
        };
        let (account, name) = (account.to_owned(), outside.full());
        Ok(Principal::FederatedUser { account, name, bare })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(provider: Option<&str>, name: &str) -> String {
        OutsideName { provider: provider.map(str::to_owned), name: name.to_owned() }.full()
    }

    /// Goal: no two users have one name. Method: providers and names that contain what stands between them.
    #[test]
    fn full_names_differ() {
        let providers = ["h", "h/a", "h/", "h#mail", "h%2Fa", "h=b", "h%3Db"];
        let names = ["ana", "a/ana", "/ana", "a%2Fana", "uid=ana", "h/ana", "uid%3Dana", "%"];
        let mut all: Vec<String> =
            names.iter().map(|name| full(None, &format!("uid={name}"))).collect();
        for provider in providers {
            all.extend(names.iter().map(|name| full(Some(provider), name)));
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        assert_eq!(full(Some("h:1/realm"), "ana"), "h:1/realm/ana");
        assert_eq!(provider_name("https://h/a", "sub"), "h/a");
        assert_eq!(provider_name("https://h/a", "email"), "h/a#email");
    }
}
