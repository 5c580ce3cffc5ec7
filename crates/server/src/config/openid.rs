//! Settings of OpenID providers, and of issuers that those of accounts may name.

use super::environment::suffixes;
use super::{ConfigError, Given, lacks, parse_switch, parse_url, setting};
use drystone_admin::OpenIdConfig;
use drystone_identity::openid_provider_of_url;

/// Issuers that a setting may name. Each has its keys in memory.
const ISSUER_COUNT_MAX: usize = 100;

/// Issuers that the server may ask for their keys, where an account has a provider for them.
pub(crate) fn parse_issuers(given: &Given) -> Result<Vec<OpenIdConfig>, ConfigError> {
    let urls: Vec<&str> =
        given.value.split(',').map(str::trim).filter(|url| !url.is_empty()).collect();
    let is_issuer = |url: &&str| openid_provider_of_url(url).is_some();
    if urls.is_empty() || urls.len() > ISSUER_COUNT_MAX || !urls.iter().all(is_issuer) {
        return Err(given
            .refused("1 to 100 URLs such as https://issuer.example/realm, separated by commas"));
    }
    Ok(urls.into_iter().map(OpenIdConfig::of_issuer).collect())
}

/// Sets what each of several providers must call itself.
fn bind_issuers(providers: &mut [OpenIdConfig]) -> Result<(), ConfigError> {
    let is_single = providers.windows(2).all(|pair| pair[0].config_url == pair[1].config_url);
    for provider in providers.iter_mut().filter(|p| !is_single && p.issuer.is_empty()) {
        let Some(issuer) = provider.issuer_of_place() else {
            let name = "IDENTITY_OPENID_CONFIG_URL".to_owned();
            let allowed = "with several providers ISSUER/.well-known/openid-configuration, or set \
                           IDENTITY_OPENID_ISSUER too"
                .to_owned();
            return Err(ConfigError::Value { name, value: provider.config_url.clone(), allowed });
        };
        provider.issuer = issuer.to_owned();
    }
    Ok(())
}

/// OpenID providers from the environment.
pub(crate) fn openid() -> Result<Vec<OpenIdConfig>, ConfigError> {
    let mut providers = Vec::new();
    for suffix in suffixes("IDENTITY_OPENID_CONFIG_URL") {
        let given = |name: &str| setting(&format!("IDENTITY_OPENID_{name}{suffix}"));
        let get =
            |name: &str| Ok::<_, ConfigError>(given(name)?.map_or_else(String::new, |g| g.value));
        let Some(config_url) = given("CONFIG_URL")? else { continue };
        if given("CLIENT_ID")?.is_none() {
            return Err(lacks(&config_url, &format!("IDENTITY_OPENID_CLIENT_ID{suffix}")));
        }
        providers.push(OpenIdConfig {
            config_url: parse_url(&config_url)?,
            issuer: given("ISSUER")?.as_ref().map_or(Ok(String::new()), parse_url)?,
            client_id: get("CLIENT_ID")?,
            claim_name: get("CLAIM_NAME")?,
            claim_prefix: get("CLAIM_PREFIX")?,
            role_policy: get("ROLE_POLICY")?,
            user_id_claim: get("USER_ID_CLAIM")?,
            claim_userinfo: given("CLAIM_USERINFO")?.as_ref().map_or(Ok(false), parse_switch)?,
        });
    }
    for name in OPENID_NAMES {
        for suffix in suffixes(&format!("IDENTITY_OPENID_{name}")) {
            let given = setting(&format!("IDENTITY_OPENID_{name}{suffix}"))?;
            let url = format!("IDENTITY_OPENID_CONFIG_URL{suffix}");
            if let (Some(given), None) = (given, setting(&url)?) {
                return Err(lacks(&given, &url));
            }
        }
    }
    bind_issuers(&mut providers)?;
    let by_claim = providers.iter().filter(|provider| provider.role_policy.is_empty()).count();
    if by_claim > 1 {
        let value = format!("{by_claim} providers without a role policy");
        let allowed = "one at most; give the others IDENTITY_OPENID_ROLE_POLICY".to_owned();
        return Err(ConfigError::Value { name: "IDENTITY_OPENID".to_owned(), value, allowed });
    }
    Ok(providers)
}

/// Settings of a provider beside its address.
const OPENID_NAMES: [&str; 7] = [
    "CLIENT_ID",
    "CLAIM_NAME",
    "CLAIM_PREFIX",
    "CLAIM_USERINFO",
    "ISSUER",
    "ROLE_POLICY",
    "USER_ID_CLAIM",
];
