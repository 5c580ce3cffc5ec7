//! The directory as others use it.

use crate::decided::{Changes, Decided};
use crate::documents::Documents;
use crate::entity::{Account, PublicAccessBlock};
use crate::error::IdentityError;
use crate::explain::Explanations;
use crate::names;
use crate::resolve::Identity;
use crate::rows;
use crate::{DEFAULT_ACCOUNT, DEFAULT_CANONICAL};
use drystone_base::Room;
use drystone_base::sync::{Mutex, lock};
use drystone_base::{Cache, Clock, Rng, hash64};
use drystone_catalog::{Catalog, Decision, Tx};
use drystone_keyring::{Keyring, Secret};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The pair of keys of the owner of the default account. Has no `Debug`: it is a secret.
#[derive(Clone)]
pub struct RootCredentials {
    /// Access key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Secret,
}

/// What a directory is made of.
pub struct DirectoryConfig {
    /// The rows.
    pub catalog: Catalog,
    /// What secrets are sealed under.
    pub keyring: Arc<Keyring>,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness, fit for secrets.
    pub rng: Arc<dyn Rng>,
    /// The owner of the default account.
    pub root: RootCredentials,
}

pub(crate) struct Shared {
    pub(crate) catalog: Catalog,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) root: Arc<Identity>,
    epochs: Epochs,
    pub(crate) changes: Changes,
    serial: AtomicU64,
    cache: Mutex<Identities>,
    pub(crate) documents: Documents,
    explanations: Explanations,
}

/// What a change concerns: what is remembered of others stays.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    /// An account, with those that share its number.
    Account(usize),
    /// All accounts.
    All,
}

impl Scope {
    pub(crate) fn of(account: &str) -> Self {
        Self::Account(slot_of(account))
    }
}

/// Numbers that changes raise: what was remembered under an older one is not used.
struct Epochs {
    /// Raised by each change, before the number of its account.
    total: AtomicU64,
    /// What the total was raised to by the last change of each account.
    of_accounts: [AtomicU64; SLOT_COUNT],
}

/// Numbers that accounts share.
pub(crate) const SLOT_COUNT: usize = 1024;

pub(crate) fn slot_of(account: &str) -> usize {
    usize::try_from(hash64(account.as_bytes()) % SLOT_COUNT as u64).unwrap_or_default()
}

impl Default for Epochs {
    fn default() -> Self {
        let of_accounts = std::array::from_fn(|_| AtomicU64::new(1));
        Self { total: AtomicU64::new(1), of_accounts }
    }
}

impl Epochs {
    fn raise(&self, scope: Scope) {
        let total = self.total.fetch_add(1, Ordering::AcqRel) + 1;
        let raised = match scope {
            Scope::Account(slot) => &self.of_accounts[slot..=slot],
            Scope::All => &self.of_accounts[..],
        };
        for epoch in raised {
            epoch.fetch_max(total, Ordering::AcqRel);
        }
    }
}

/// Handle to the directory. Clones share it.
#[derive(Clone)]
pub struct Directory {
    pub(crate) shared: Arc<Shared>,
    /// What its changes were decided on.
    pub(crate) decided: Option<Arc<Decided>>,
}

/// Hash of an access key and its session token: neither was verified when it is looked up.
pub(crate) type IdentityName = [u8; 32];

/// Identities, each as it was read at an epoch.
type Identities = Cache<IdentityName, (u64, Arc<Identity>)>;

/// What a plan may read at most, in bytes: all changes of all callers wait for it.
const PLAN_READ_MAX: usize = 16 << 20;
/// Bytes of identities that are kept, with their compiled policies.
const CACHE_LEN_MAX: usize = 16 << 20;

impl Directory {
    /// Puts a directory together.
    #[must_use]
    pub fn new(config: DirectoryConfig) -> Self {
        let DirectoryConfig { catalog, keyring, clock, rng, root } = config;
        let shared = Shared {
            catalog,
            keyring,
            clock,
            rng,
            root: Arc::new(Identity::of_root(root)),
            epochs: Epochs::default(),
            changes: Changes::default(),
            serial: AtomicU64::new(1),
            cache: Mutex::new(Cache::new(CACHE_LEN_MAX)),
            documents: Documents::default(),
            explanations: Explanations::default(),
        };
        Self { shared: Arc::new(shared), decided: None }
    }

    /// The last decisions that refused something.
    #[must_use]
    pub fn explanations(&self) -> &Explanations {
        &self.shared.explanations
    }

    /// Access key id of the owner of the default account.
    #[must_use]
    pub fn root_access_key(&self) -> &str {
        &self.shared.root.access_key
    }

    /// The owner of the default account, for anyone who has shown to be at the machine itself.
    #[must_use]
    pub fn root_identity(&self) -> Arc<Identity> {
        self.shared.root.clone()
    }

    /// Wall-clock time, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.now_ms()
    }

    /// The public access block of an account.
    ///
    /// # Errors
    ///
    /// It cannot be read, or the catalog failed.
    pub fn account_block(&self, account: &str) -> Result<Option<PublicAccessBlock>, IdentityError> {
        rows::get(&self.shared.catalog, &[account])
    }

    /// Sets the public access block of an account, or removes it.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub async fn set_account_block(
        &self,
        account: &str,
        block: Option<PublicAccessBlock>,
    ) -> Result<(), IdentityError> {
        let account = account.to_owned();
        self.commit(Scope::of(&account), move |tx| {
            tx.use_reserve();
            match block {
                Some(block) => rows::save(tx, &[&account], &block),
                None => rows::remove::<PublicAccessBlock>(tx, &[&account]),
            }
        })
        .await
    }

    /// Raised by each change of an account: what was derived from the account before is out of date.
    #[must_use]
    pub fn epoch_of(&self, account: &str) -> u64 {
        self.shared.epochs.of_accounts[slot_of(account)].load(Ordering::Acquire)
    }

    /// Raised by each change of any account.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.epochs.total.load(Ordering::Acquire)
    }

    pub(crate) fn next_serial(&self) -> u64 {
        self.shared.serial.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn remembered(&self, name: &IdentityName) -> Option<Arc<Identity>> {
        let found = lock(&self.shared.cache).get(name);
        let is_current = |known: u64, who: &Identity| known == self.epoch_of(who.account());
        found.filter(|(known, who)| is_current(*known, who)).map(|(_, identity)| identity)
    }

    /// Remembers what was read since the directory was at `read_at`, if nothing of its account was changed
    /// meanwhile.
    pub(crate) fn remember(&self, name: IdentityName, read_at: u64, identity: Arc<Identity>) {
        let epoch = self.epoch_of(identity.account());
        if epoch > read_at {
            return;
        }
        let weight = identity.weight_bytes();
        lock(&self.shared.cache).insert(name, (epoch, identity), weight);
    }

    /// Bytes of identities and compiled policies that are kept.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        lock(&self.shared.cache).len_bytes() + self.shared.documents.kept_bytes()
    }

    /// Runs a plan that changes what `scope` names. The outcome takes effect before this returns, also if the
    /// caller stops waiting.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        scope: Scope,
        plan: impl FnOnce(&mut Tx<'_>) -> Result<T, IdentityError> + Send + 'static,
    ) -> Result<T, IdentityError> {
        let (shared, decided) = (self.shared.clone(), self.decided.clone());
        let bounded = move |tx: &mut Tx<'_>| {
            if let Some(decided) = &decided {
                decided.check_with(tx)?;
            }
            let outcome = plan(tx);
            // Tests see a plan that reads as much as a client likes before one does it.
            debug_assert!(
                tx.read_bytes() <= PLAN_READ_MAX,
                "a plan reads {} bytes",
                tx.read_bytes()
            );
            let value = outcome?;
            shared.changes.plan(scope, decided.as_deref());
            // Also when it fails: whether it is committed may not be known.
            tx.when_settled(move || {
                shared.epochs.raise(scope);
                shared.changes.settle(scope);
            });
            Ok(value)
        };
        let ticket = self.shared.catalog.submit(move |tx| match bounded(tx) {
            Ok(value) => Ok(Decision::Commit(Ok(value))),
            Err(IdentityError::Catalog(error)) => Err(error),
            Err(error) => Ok(Decision::Reject(Err(error))),
        });
        ticket.await.map_err(IdentityError::from)?
    }

    /// The account with an id.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotFound`], or the catalog failed.
    pub fn account(&self, id: &str) -> Result<Account, IdentityError> {
        let missing = || IdentityError::NotFound { kind: "account", name: id.to_owned() };
        match rows::get::<Account>(&self.shared.catalog, &[id])? {
            Some(account) => Ok(account),
            None if id == DEFAULT_ACCOUNT => Ok(default_account()),
            None => Err(missing()),
        }
    }

    /// All accounts, the default one first.
    ///
    /// # Errors
    ///
    /// The catalog failed.
    pub fn accounts<T: Serialize>(
        &self,
        room: &dyn Room,
        of: impl Fn(Account) -> T,
    ) -> Result<Vec<T>, IdentityError> {
        let mut all = vec![of(default_account())];
        all.extend(rows::list(&self.shared.catalog, &[""], room, |account| Some(of(account)))?);
        Ok(all)
    }

    /// The canonical id of an account; `None` if there is no such account.
    #[must_use]
    pub fn canonical_of(&self, account: &str) -> Option<String> {
        if account == DEFAULT_ACCOUNT {
            return Some(DEFAULT_CANONICAL.to_owned());
        }
        self.account(account).ok().map(|account| account.canonical)
    }

    /// Makes an account, with keys for its owner. The secret is shown this once.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Invalid`], [`IdentityError::Exists`], or the catalog failed.
    pub async fn create_account(
        &self,
        id: &str,
        name: &str,
    ) -> Result<(Account, String, Secret), IdentityError> {
        if id.len() != 12 || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(IdentityError::invalid("AccountId", "An account id has 12 digits."));
        }
        if id == DEFAULT_ACCOUNT {
            return Err(IdentityError::Exists { kind: "account", name: id.to_owned() });
        }
        names::check_name("AccountName", name, 64)?;
        let account = Account {
            id: id.to_owned(),
            canonical: names::canonical_id(&*self.shared.rng),
            name: name.to_owned(),
            created_ms: self.now_ms(),
            unknown: Default::default(),
        };
        let new = crate::NewKey::of_root(id);
        let (key, secret) = self.prepare_key(new)?;
        let (stored, key_id) = (account.clone(), key.id.clone());
        self.commit(Scope::of(&stored.id), move |tx| {
            rows::create(tx, &[&stored.id], &stored)?;
            crate::keys::insert(tx, &key)
        })
        .await?;
        Ok((account, key_id, secret))
    }
}

fn default_account() -> Account {
    Account {
        id: DEFAULT_ACCOUNT.to_owned(),
        canonical: DEFAULT_CANONICAL.to_owned(),
        name: "default".to_owned(),
        created_ms: 0,
        unknown: Default::default(),
    }
}
