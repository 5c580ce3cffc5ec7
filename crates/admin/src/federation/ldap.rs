//! LDAP: whether a name and a password are right, and which groups he is in.
//!
//! Sources: RFC 4511 (bind, search), RFC 4514 (names), RFC 4515 (filters).

use drystone_base::sync::{Mutex, lock};
use ldap3::{LdapConnAsync, LdapConnSettings, Scope, SearchEntry, ldap_escape};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A server, as settings give it.
#[derive(Clone, Default)]
pub struct LdapConfig {
    /// Host and port.
    pub server_addr: String,
    /// Who looks users up; nobody if empty.
    pub lookup_bind_dn: String,
    /// His password. A secret: this type has no `Debug`.
    pub lookup_bind_password: String,
    /// Where users are; several separated by semicolons.
    pub user_base: String,
    /// `%s` stands for the name.
    pub user_filter: String,
    /// Where groups are; several separated by semicolons.
    pub group_base: String,
    /// `%s` stands for the name, `%d` for the distinguished name of the user.
    pub group_filter: String,
    /// Certificates are not checked.
    pub tls_skip_verify: bool,
    /// Passwords may be sent without TLS.
    pub server_insecure: bool,
    /// TLS begins after the connection was opened in clear.
    pub server_starttls: bool,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LdapError {
    /// Name or password is not right. Which, is not said.
    #[error("The user name or the password is not right.")]
    Refused,
    /// Too many attempts.
    #[error("Too many attempts. Try again in a minute.")]
    Throttled,
    /// The server does not answer, or the lookup is not set up right.
    #[error("the LDAP server failed: {0}")]
    Unavailable(String),
}

/// Somebody whose password was right.
#[derive(Debug)]
pub(crate) struct Known {
    /// Normalised.
    pub(crate) dn: String,
    /// Normalised.
    pub(crate) groups: Vec<String>,
}

/// A server, and who failed to get in lately.
pub struct Ldap {
    config: LdapConfig,
    failures: Mutex<HashMap<(String, IpAddr), (u32, Instant)>>,
}

const TIMEOUT: Duration = Duration::from_secs(10);
/// Wrong passwords of one user from one address, before further ones wait out the pause.
const FAILURE_COUNT_MAX: u32 = 5;
const FAILURE_PAUSE: Duration = Duration::from_secs(60);
const FAILURES_KEPT_MAX: usize = 10_000;

/// A name in one of its forms: attribute types and values in lower case, no blanks around separators.
/// Directories compare most names so.
pub(crate) fn normalise(dn: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let (mut part, mut escaped) = (String::new(), false);
    for c in dn.chars() {
        match c {
            ',' | ';' if !escaped => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(part);
    let clean = |part: &String| match part.split_once('=') {
        Some((kind, value)) => format!("{}={}", kind.trim(), value.trim()),
        None => part.trim().to_owned(),
    };
    parts.iter().map(clean).collect::<Vec<_>>().join(",").to_lowercase()
}

fn failed(error: &ldap3::LdapError) -> LdapError {
    LdapError::Unavailable(error.to_string())
}

impl Ldap {
    /// A server. Nothing is asked before the first login.
    #[must_use]
    pub fn new(config: LdapConfig) -> Self {
        Self { config, failures: Mutex::default() }
    }

    async fn connect(&self) -> Result<ldap3::Ldap, LdapError> {
        let config = &self.config;
        let plain = config.server_insecure || config.server_starttls;
        let scheme = if plain { "ldap" } else { "ldaps" };
        let settings = LdapConnSettings::new()
            .set_conn_timeout(TIMEOUT)
            .set_starttls(config.server_starttls && !config.server_insecure)
            .set_no_tls_verify(config.tls_skip_verify);
        let url = format!("{scheme}://{}", config.server_addr);
        let (connection, mut ldap) =
            LdapConnAsync::with_settings(settings, &url).await.map_err(|error| failed(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "a connection to the LDAP server ended");
            }
        });
        ldap.with_timeout(TIMEOUT);
        Ok(ldap)
    }

    /// Names of what a filter finds below one of several bases.
    async fn find(
        &self,
        ldap: &mut ldap3::Ldap,
        bases: &str,
        filter: &str,
    ) -> Result<Vec<String>, LdapError> {
        let mut found = Vec::new();
        for base in bases.split(';').map(str::trim).filter(|base| !base.is_empty()) {
            ldap.with_timeout(TIMEOUT);
            let answer = ldap.search(base, Scope::Subtree, filter, vec!["1.1"]).await;
            let (entries, _) =
                answer.and_then(ldap3::SearchResult::success).map_err(|error| failed(&error))?;
            found.extend(entries.into_iter().map(|entry| SearchEntry::construct(entry).dn));
        }
        Ok(found)
    }

    fn check_throttle(&self, user: &str, source: IpAddr) -> Result<(), LdapError> {
        let failures = lock(&self.failures);
        match failures.get(&(user.to_owned(), source)) {
            Some((count, when))
                if *count >= FAILURE_COUNT_MAX && when.elapsed() < FAILURE_PAUSE =>
            {
                Err(LdapError::Throttled)
            }
            _ => Ok(()),
        }
    }

    fn note_failure(&self, user: &str, source: IpAddr) {
        let mut failures = lock(&self.failures);
        if failures.len() >= FAILURES_KEPT_MAX {
            failures.retain(|_, (_, when)| when.elapsed() < FAILURE_PAUSE);
        }
        let now = Instant::now();
        let entry = failures.entry((user.to_owned(), source)).or_insert((0, now));
        let is_old = entry.1.elapsed() >= FAILURE_PAUSE;
        *entry = (if is_old { 1 } else { entry.0 + 1 }, now);
    }

    /// Checks a password.
    ///
    /// # Errors
    ///
    /// [`LdapError`]. An empty password is never tried: servers take it for an anonymous bind.
    pub(crate) async fn login(
        &self,
        user: &str,
        password: &str,
        source: IpAddr,
    ) -> Result<Known, LdapError> {
        self.check_throttle(user, source)?;
        if user.is_empty() || password.is_empty() {
            return Err(LdapError::Refused);
        }
        let config = &self.config;
        let mut lookup = self.connect().await?;
        if !config.lookup_bind_dn.is_empty() {
            let bound =
                lookup.simple_bind(&config.lookup_bind_dn, &config.lookup_bind_password).await;
            bound.and_then(ldap3::LdapResult::success).map_err(|error| failed(&error))?;
        }
        let filter = config.user_filter.replace("%s", &ldap_escape(user));
        let found = self.find(&mut lookup, &config.user_base, &filter).await?;
        let [dn] = found.as_slice() else {
            self.note_failure(user, source);
            return Err(LdapError::Refused);
        };
        let mut own = self.connect().await?;
        let bound = own.simple_bind(dn, password).await.map_err(|error| failed(&error))?;
        let _ = own.unbind().await;
        if bound.success().is_err() {
            self.note_failure(user, source);
            return Err(LdapError::Refused);
        }
        let mut groups = Vec::new();
        if !config.group_filter.is_empty() {
            let filter = config.group_filter.replace("%s", &ldap_escape(user));
            let filter = filter.replace("%d", &ldap_escape(dn.as_str()));
            groups = self.find(&mut lookup, &config.group_base, &filter).await?;
        }
        let _ = lookup.unbind().await;
        let groups = groups.iter().map(|group| normalise(group)).collect();
        Ok(Known { dn: normalise(dn), groups })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        let want = "uid=ana,ou=people,dc=example,dc=org";
        for dn in [
            want,
            "UID=Ana, OU=People,DC=example,DC=org",
            " uid = ana ; ou=people, dc=example ,dc=org ",
        ] {
            assert_eq!(normalise(dn), want);
        }
        assert_eq!(normalise("cn=a\\,b,dc=x"), "cn=a\\,b,dc=x");
    }

    /// Goal: guessing is slow, and does not lock the user out from elsewhere.
    #[test]
    fn wrong_passwords_are_throttled_by_user_and_source() {
        let ldap = Ldap::new(LdapConfig::default());
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..FAILURE_COUNT_MAX {
            assert!(ldap.check_throttle("ana", here).is_ok());
            ldap.note_failure("ana", here);
        }
        assert!(matches!(ldap.check_throttle("ana", here), Err(LdapError::Throttled)));
        assert!(ldap.check_throttle("ana", there).is_ok());
        assert!(ldap.check_throttle("bob", here).is_ok());
    }
}
