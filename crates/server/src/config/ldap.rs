//! The LDAP server of the environment.

use super::values::parse_switch;
use super::{ConfigError, lacks, setting};
use drystone_admin::LdapConfig;

/// Settings of the LDAP server beside its address.
const LDAP_NAMES: [&str; 9] = [
    "LOOKUP_BIND_DN",
    "LOOKUP_BIND_PASSWORD",
    "USER_DN_SEARCH_BASE_DN",
    "USER_DN_SEARCH_FILTER",
    "GROUP_SEARCH_BASE_DN",
    "GROUP_SEARCH_FILTER",
    "TLS_SKIP_VERIFY",
    "SERVER_INSECURE",
    "SERVER_STARTTLS",
];

/// The LDAP server of the environment.
pub(crate) fn ldap() -> Result<Option<LdapConfig>, ConfigError> {
    let given = |name: &str| setting(&format!("IDENTITY_LDAP_{name}"));
    let Some(address) = given("SERVER_ADDR")? else {
        for name in LDAP_NAMES {
            if let Some(given) = given(name)? {
                return Err(lacks(&given, "IDENTITY_LDAP_SERVER_ADDR"));
            }
        }
        return Ok(None);
    };
    if address.value.parse::<http::uri::Authority>().is_err() || address.value.contains('@') {
        return Err(address.refused("HOST or HOST:PORT"));
    }
    for (name, other) in [
        ("LOOKUP_BIND_DN", "LOOKUP_BIND_PASSWORD"),
        ("LOOKUP_BIND_PASSWORD", "LOOKUP_BIND_DN"),
        ("GROUP_SEARCH_BASE_DN", "GROUP_SEARCH_FILTER"),
        ("GROUP_SEARCH_FILTER", "GROUP_SEARCH_BASE_DN"),
    ] {
        if let (Some(given), None) = (given(name)?, given(other)?) {
            return Err(lacks(&given, &format!("IDENTITY_LDAP_{other}")));
        }
    }
    let get = |name: &str| Ok::<_, ConfigError>(given(name)?.map_or_else(String::new, |g| g.value));
    let is_on = |name: &str| given(name)?.as_ref().map_or(Ok(false), parse_switch);
    let user_filter = given("USER_DN_SEARCH_FILTER")?;
    let user_filter =
        user_filter.ok_or_else(|| lacks(&address, "IDENTITY_LDAP_USER_DN_SEARCH_FILTER"))?;
    if given("USER_DN_SEARCH_BASE_DN")?.is_none() {
        return Err(lacks(&address, "IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN"));
    }
    if !is_filter(&user_filter.value) || !user_filter.value.contains("%s") {
        return Err(user_filter.refused("a filter with %s, such as (uid=%s)"));
    }
    if let Some(filter) = given("GROUP_SEARCH_FILTER")?.filter(|given| !is_filter(&given.value)) {
        return Err(filter.refused("a filter such as (&(objectClass=groupOfNames)(member=%d))"));
    }
    Ok(Some(LdapConfig {
        server_addr: address.value,
        lookup_bind_dn: get("LOOKUP_BIND_DN")?,
        lookup_bind_password: get("LOOKUP_BIND_PASSWORD")?,
        user_base: get("USER_DN_SEARCH_BASE_DN")?,
        user_filter: user_filter.value,
        group_base: get("GROUP_SEARCH_BASE_DN")?,
        group_filter: get("GROUP_SEARCH_FILTER")?,
        tls_skip_verify: is_on("TLS_SKIP_VERIFY")?,
        server_insecure: is_on("SERVER_INSECURE")?,
        server_starttls: is_on("SERVER_STARTTLS")?,
    }))
}

/// Whether a text has the form of an LDAP filter: each parenthesis is closed.
fn is_filter(text: &str) -> bool {
    let mut depth = 0_usize;
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' if depth == 0 => return false,
            ')' => depth -= 1,
            _ => {}
        }
    }
    depth == 0 && text.contains('=')
}
