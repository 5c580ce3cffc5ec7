//! LDAP: whether a name and a password are right, and which groups he is in.
//!
//! Sources: RFC 4511 (bind, search), RFC 4514 (names), RFC 4515 (filters).

mod ber;
mod connection;
mod tls;

use super::Source;
use super::gate::Gate;
use super::throttle::{Attempt, Kind, Throttle};
use connection::{Connection, Entry, Protection, Room};
use ldap3::ldap_escape;
use std::time::Duration;

/// A server, as settings give it.
#[derive(Clone, Default)]
pub struct LdapConfig {
    /// Host and port.
    pub server_addr: String,
    /// Who looks users up; no one if empty.
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

/// Why someone is not let in.
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
    /// The server answers more than is held of it.
    #[error("The LDAP server answers more than one sign-in may take: {0}.")]
    TooMuch(&'static str),
}

/// Someone whose password was right.
#[derive(Debug)]
pub(crate) struct Known {
    /// The name that the directory has, in one of its forms, whatever form and whichever of several names
    /// was typed.
    pub(crate) name: String,
    /// Normalised.
    pub(crate) dn: String,
    /// Normalised.
    pub(crate) groups: Vec<String>,
}

/// A server, and who failed to get in lately.
pub struct Ldap {
    config: LdapConfig,
    failures: Throttle,
    gate: Gate,
    trust: tls::Trust,
}

/// A login in all.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Logins that the server is asked about at once.
const ASKING_MAX: usize = 16;
/// Wrong passwords of one user from one address, before further ones wait out the pause.
const PAIR_FAILURES_MAX: u32 = 5;
/// The same of one user from anywhere, and from one address for any names.
const USER_FAILURES_MAX: u32 = 50;
const SOURCE_FAILURES_MAX: u32 = 50;
/// Stands for none of the attributes of what is found (RFC 4511, 4.5.1.8).
const NO_ATTRIBUTE: &str = "1.1";
/// Bytes of a user name or a password at most.
const NAME_LEN_MAX: usize = 256;
const PASSWORD_LEN_MAX: usize = 1024;

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

/// Whether a text in that form can be a distinguished name: each part a type and a value.
pub(crate) fn is_distinguished(name: &str) -> bool {
    let is_type = |kind: &str| {
        !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
    };
    let mut escaped = false;
    let parts = name.split(|c: char| {
        let is_end = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        is_end
    });
    let mut parts = parts.map(|part| part.split_once('='));
    parts.all(|part| part.is_some_and(|(kind, value)| is_type(kind) && !value.is_empty()))
}

/// What is said of another name.
pub(crate) const NOT_DISTINGUISHED: &str =
    "Name users and groups by their distinguished names, such as uid=lena,ou=people,dc=example";

/// A text in one of its forms: in lower case, without blanks around it, with one between words.
fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// What a filter compares with the name of a user: attribute, and what stands around the name.
fn compared(filter: &str) -> Vec<(&str, &str, &str)> {
    let mut all = Vec::new();
    for (at, _) in filter.match_indices("%s") {
        let start = filter[..at].rfind('(').map_or(0, |open| open + 1);
        let end = filter[at..].find(')').map_or(filter.len(), |close| at + close);
        let Some((attribute, value)) = filter[start..end].split_once('=') else { continue };
        let Some((before, after)) = value.split_once("%s") else { continue };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-;.".contains(c);
        let is_plain = !attribute.is_empty() && attribute.chars().all(plain);
        if is_plain && !value.contains('*') && !after.contains("%s") {
            all.push((attribute, before, after));
        }
    }
    all
}

/// The name of a user, from the entry that the filter found: of the first attribute that has any, the one
/// that the distinguished name has too, or else the first. What was typed is the name only where the entry
/// shows none: a directory takes many forms for one name, and who types another one must not be another
/// user.
fn name_of(filter: &str, entry: &Entry, typed: &str) -> String {
    let first = normalise(&entry.dn);
    let first = first.split(',').next().and_then(|part| part.split_once('='));
    for (attribute, before, after) in compared(filter) {
        let is_named = |name: &String| name.eq_ignore_ascii_case(attribute);
        let values = entry.attributes.iter().filter(|(name, _)| is_named(name));
        let values = values.flat_map(|(_, values)| values);
        let (before, after) = (before.to_lowercase(), after.to_lowercase());
        let mut names: Vec<String> = values
            .filter_map(|value| {
                let value = value.trim().to_lowercase();
                let name = value.strip_prefix(&*before)?.strip_suffix(&*after)?;
                Some(fold(name)).filter(|name| !name.is_empty())
            })
            .collect();
        names.sort();
        let own = first.filter(|(kind, _)| kind.eq_ignore_ascii_case(attribute));
        let own = own.map(|(_, value)| fold(value));
        let is_own = |name: &&String| own.as_ref() == Some(*name);
        if let Some(name) = names.iter().find(is_own).or(names.first()).or(own.as_ref()) {
            return name.clone();
        }
    }
    fold(typed)
}

impl Ldap {
    /// A server. Nothing is asked before the first login.
    #[must_use]
    pub fn new(config: LdapConfig) -> Self {
        let (failures, gate) = (Throttle::new(), Gate::new(ASKING_MAX));
        Self { config, failures, gate, trust: tls::Trust::default() }
    }

    async fn connect(&self, room: &mut Room) -> Result<Connection, LdapError> {
        let config = &self.config;
        let protection = if config.server_insecure {
            Protection::None
        } else {
            let trusted = self.trust.config(config.tls_skip_verify).await?;
            match config.server_starttls {
                true => Protection::StartTls(trusted),
                false => Protection::Tls(trusted),
            }
        };
        Connection::open(&config.server_addr, protection, room).await
    }

    /// Hands over what a filter finds below one of several bases.
    async fn find(
        &self,
        connection: &mut Connection,
        (bases, filter): (&str, &str),
        attributes: &[&str],
        room: &mut Room,
        mut found: impl FnMut(Entry),
    ) -> Result<(), LdapError> {
        for base in bases.split(';').map(str::trim).filter(|base| !base.is_empty()) {
            connection.search((base, filter), attributes, room, &mut found).await?;
        }
        Ok(())
    }

    /// What the failures of a login count for: the address, and the user it turned out to be with and
    /// without that address. A name in another spelling is the same user; one that is no one's counts for
    /// its address only.
    fn kinds(&self, dn: Option<&str>, source: Source) -> Vec<Kind> {
        let mut kinds = vec![self.failures.kind(source, SOURCE_FAILURES_MAX)];
        if let Some(dn) = dn.map(normalise) {
            kinds.push(self.failures.kind((&dn, source), PAIR_FAILURES_MAX));
            kinds.push(self.failures.kind(&dn, USER_FAILURES_MAX));
        }
        kinds
    }

    /// What was typed, and where: known without the server, so that one more guess at a user who is closed
    /// for an address costs neither a turn nor a question. Only failures of users that there are count for
    /// it, so that it closes nothing before the pair of user and address is closed.
    fn typed(&self, user: &str, source: Source) -> Kind {
        self.failures.kind(("typed", fold(user), source), PAIR_FAILURES_MAX)
    }

    async fn attempt(&self, kinds: &[Kind]) -> Result<Attempt<'_>, LdapError> {
        self.failures.attempt(kinds).await.ok_or(LdapError::Throttled)
    }

    /// Refuses what is known to be closed.
    fn check_open(&self, kinds: &[Kind]) -> Result<(), LdapError> {
        let is_closed = kinds.iter().any(|kind| self.failures.is_closed(*kind));
        if is_closed { Err(LdapError::Throttled) } else { Ok(()) }
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
        source: Source,
    ) -> Result<Known, LdapError> {
        if user.is_empty() || password.is_empty() {
            return Err(LdapError::Refused);
        }
        let kinds = self.kinds(None, source);
        // Before the wait for a turn, which those who are refused need not have.
        self.check_open(&kinds)?;
        if user.len() > NAME_LEN_MAX || password.len() > PASSWORD_LEN_MAX {
            self.attempt(&kinds).await?.fail();
            return Err(LdapError::Refused);
        }
        let unavailable = |what: &str| LdapError::Unavailable(what.to_owned());
        self.check_open(&[self.typed(user, source)])?;
        let passage = self.gate.pass(source).await;
        let _passage = passage.ok_or_else(|| unavailable("too many requests wait for it"))?;
        let asked = tokio::time::timeout(LOGIN_TIMEOUT, self.ask(user, password, source)).await;
        asked.map_err(|_| unavailable("it takes too long"))?
    }

    /// Looks a user up and tries the password. What is being tried counts as a failure until it is known to
    /// be right, so that no more than the limit is ever tried.
    async fn ask(&self, user: &str, password: &str, source: Source) -> Result<Known, LdapError> {
        let (config, typed) = (&self.config, self.typed(user, source));
        // What failed while this waited for its turn.
        self.check_open(&[typed])?;
        let looking_up = self.attempt(&self.kinds(None, source)).await?;
        let mut room = Room::new();
        let mut lookup = self.connect(&mut room).await?;
        if !config.lookup_bind_dn.is_empty() {
            let (dn, password) = (&config.lookup_bind_dn, &config.lookup_bind_password);
            lookup.bind(dn, password, &mut room).await?.success()?;
        }
        let entry = self.entry_of(user, &mut lookup, &mut room).await?;
        let Some(entry) = entry else {
            looking_up.fail();
            return Err(LdapError::Refused);
        };
        drop(looking_up);
        let (dn, name) = (&entry.dn, name_of(&config.user_filter, &entry, user));
        let Ok(attempt) = self.attempt(&self.kinds(Some(dn), source)).await else {
            // It cost the server a search, under whatever spelling.
            self.failures.note(&self.kinds(None, source));
            self.failures.note(&[typed]);
            return Err(LdapError::Throttled);
        };
        let mut own = self.connect(&mut room).await?;
        let bound = own.bind(dn, password, &mut room).await?;
        own.unbind().await;
        if !bound.is_success() {
            attempt.fail();
            self.failures.note(&[typed]);
            return Err(LdapError::Refused);
        }
        drop(attempt);
        let mut groups = Vec::new();
        if !config.group_filter.is_empty() {
            let filter = config.group_filter.replace("%s", &ldap_escape(name.as_str()));
            let filter = filter.replace("%d", &ldap_escape(dn.as_str()));
            let wanted = (&*config.group_base, &*filter);
            let note = |group: Entry| groups.push(normalise(&group.dn));
            self.find(&mut lookup, wanted, &[NO_ATTRIBUTE], &mut room, note).await?;
        }
        lookup.unbind().await;
        Ok(Known { name, dn: normalise(dn), groups })
    }

    /// The entry of a name, if there is exactly one.
    async fn entry_of(
        &self,
        user: &str,
        lookup: &mut Connection,
        room: &mut Room,
    ) -> Result<Option<Entry>, LdapError> {
        let config = &self.config;
        let filter = config.user_filter.replace("%s", &ldap_escape(user));
        let mut attributes: Vec<&str> =
            compared(&config.user_filter).into_iter().map(|(attribute, ..)| attribute).collect();
        attributes.push(NO_ATTRIBUTE);
        let (mut entry, mut count) = (None, 0);
        let wanted = (&*config.user_base, &*filter);
        let note = |found| (entry, count) = (Some(found), count + 1);
        self.find(lookup, wanted, &attributes, room, note).await?;
        Ok(entry.filter(|_| count == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: impl Into<std::net::IpAddr>) -> Source {
        Source::of(address.into())
    }

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

    /// Goal: anyone who types another form of a name, or another name of the same entry, is not another user.
    #[test]
    fn a_user_has_one_name_whatever_is_typed() {
        let entry = |dn: &str, attributes: &[(&str, &[&str])]| Entry {
            dn: dn.to_owned(),
            attributes: attributes
                .iter()
                .map(|(name, values)| {
                    ((*name).to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
                })
                .collect(),
        };
        let (uid, both) = ("(uid=%s)", "(&(objectClass=person)(|(uid=%s)(mail=%s)))");
        let at = "(userPrincipalName=%s@example.org)";
        let ana = entry("UID=Ana,dc=x", &[("uid", &["Zoe", "Ana"]), ("mail", &["a@x"])]);
        let cn = entry("cn=Ana B,dc=x", &[("UID", &["zoe", "ana"]), ("mail", &["a@x"])]);
        let mailed = entry("cn=Ana,dc=x", &[("mail", &[" A@X"])]);
        let principal = entry("cn=q,dc=x", &[("userPrincipalName", &["Ana@EXAMPLE.org"])]);
        let bare = entry("uid=Ana,dc=x", &[]);
        for (filter, entry, typed, name) in [
            (uid, &ana, "zoe", "ana"),
            (uid, &ana, " ANA ", "ana"),
            (uid, &cn, "zoe", "ana"),
            (both, &cn, "a@x", "ana"),
            (both, &mailed, "a@x", "a@x"),
            (at, &principal, "ANA", "ana"),
            (uid, &bare, "an\u{ad}a", "ana"),
            ("(cn=*%s*)", &bare, " A  B ", "a b"),
            ("%s", &bare, "A", "a"),
        ] {
            assert_eq!(name_of(filter, entry, typed), name, "{filter} {typed}");
        }
    }

    /// Goal: guessing is slow, however the name is spelled, and does not lock the user out from elsewhere.
    #[tokio::test]
    async fn wrong_passwords_are_throttled_by_user_and_source() {
        let ldap = Ldap::new(LdapConfig::default());
        let (here, there) = (source([127, 0, 0, 1]), source([10, 0, 0, 1]));
        let (ana, bob) = ("uid=ana,dc=x", "uid=bob,dc=x");
        let fail = async |kinds: Vec<Kind>| {
            // What is closed takes no more.
            if let Some(attempt) = ldap.failures.attempt(&kinds).await {
                attempt.fail();
            }
        };
        for attempt in 0..PAIR_FAILURES_MAX {
            let spelled = if attempt % 2 == 0 { ana } else { "UID=Ana, DC=x" };
            fail(ldap.kinds(Some(spelled), here)).await;
        }
        let is_closed = |kind: &Kind| ldap.failures.is_closed(*kind);
        let is_open = |dn, source| !ldap.kinds(dn, source).iter().any(is_closed);
        assert!(!is_open(Some(ana), here) && is_open(Some(ana), there) && is_open(Some(bob), here));
        for _ in 0..SOURCE_FAILURES_MAX {
            fail(ldap.kinds(None, here)).await;
        }
        assert!(!is_open(None, here) && !is_open(Some(bob), here) && is_open(Some(bob), there));
        for host in 1..=9_u16 {
            let source = source([0xFD00, 0, 0, host, 1, 2, 3, host]);
            for _ in 0..PAIR_FAILURES_MAX {
                fail(ldap.kinds(Some(bob), source)).await;
            }
        }
        assert!(is_open(Some(bob), there), "45 from anywhere");
        for _ in 0..5 {
            fail(ldap.kinds(Some(bob), source([1, 1, 1, 1]))).await;
        }
        assert!(!is_open(Some(bob), there), "50 from anywhere");
    }
}
