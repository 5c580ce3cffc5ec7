//! The documents of a bucket that decide on requests, compiled once and kept by weight.
//!
//! No request parses a document of a bucket: what each needs is here, and the cache has a bound in bytes.

use crate::acl::{self, Grant};
use crate::authorize::account_of;
use crate::bucket_log::LogTarget;
use crate::cors::CorsRules;
use crate::encryption::DefaultEncryption;
use crate::error::{S3Code, S3Error};
use crate::point_rules::PointCache;
use crate::website::Website;
use crate::xml::parse;
use drystone_base::sync::{Mutex, lock};
use drystone_base::{BucketId, Cache};
use drystone_engine::plan::DocumentKind;
use drystone_engine::{BucketRow, Engine, EngineError};
use drystone_iam::{Document, DocumentKind as PolicyKind};
use drystone_identity::Directory;
use std::sync::Arc;

/// Bytes of rules that are kept, with compiled policies.
const RULES_LEN_MAX: usize = 12 << 20;

/// The documents of a bucket that decide, compiled.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) policy: Option<Document>,
    /// Whether, and how, access control lists count.
    pub(crate) ownership: Ownership,
    /// Access control list of the bucket, if one was set.
    pub(crate) acl: Option<Vec<Grant>>,
    /// What it encrypts by default.
    pub(crate) encryption: DefaultEncryption,
    /// Where the lines of its access log go.
    pub(crate) logging: Option<LogTarget>,
    /// What pages of other origins may do.
    pub(crate) cors: Option<CorsRules>,
    /// What its website host answers.
    pub(crate) website: Option<Website>,
    /// Public lists are refused.
    pub(crate) block_public_acls: bool,
    /// Public grants count as absent.
    pub(crate) ignore_public_acls: bool,
    /// It was said who owns the objects.
    pub(crate) has_controls: bool,
    /// The policy or the block is there but cannot be read: no one may do anything but repair it.
    pub(crate) is_broken: bool,
    /// `RestrictPublicBuckets` of a bucket with a public policy.
    pub(crate) is_restricted: bool,
}

/// Who owns what is uploaded, and whether lists count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The bucket's owner owns everything; there are no lists.
    Enforced,
    /// The bucket's owner owns what is uploaded with `bucket-owner-full-control`.
    Preferred,
    /// Anyone who uploads owns.
    Writer,
}

/// Numbers that rise with each change of a bucket's configuration, and of its account.
type Epochs = (u64, u64);

/// Rules of buckets by bucket and epochs.
pub(crate) struct RuleCache {
    defaults: BucketDefaults,
    /// Buckets without a rule encrypt, too.
    encrypts: bool,
    rules: Mutex<Cache<BucketId, (Epochs, Arc<Rules>)>>,
    /// Those of access points.
    pub(crate) points: PointCache,
}

/// Whether a switch of the public access block of an account is on.
pub(crate) fn is_blocked_by_account(
    directory: &Directory,
    account: &str,
    switch: &str,
) -> Result<bool, S3Error> {
    let of_account = directory.account_block(account).map_err(|error| {
        tracing::error!(%error, "the public access block of an account cannot be read");
        S3Error::new(S3Code::InternalError)
    })?;
    let is_on = |block: drystone_identity::PublicAccessBlock| match switch {
        "BlockPublicAcls" => block.block_public_acls,
        "IgnorePublicAcls" => block.ignore_public_acls,
        "BlockPublicPolicy" => block.block_public_policy,
        _ => block.restrict_public_buckets,
    };
    Ok(of_account.is_some_and(is_on))
}

/// Whether a switch of the public access block of a bucket, or of its account, is on.
pub(crate) fn is_blocked(
    engine: &Engine,
    directory: &Directory,
    bucket: &BucketRow,
    switch: &str,
) -> Result<bool, S3Error> {
    if is_blocked_by_account(directory, account_of(bucket), switch)? {
        return Ok(true);
    }
    let Some(bytes) = engine.document(bucket, DocumentKind::PublicAccessBlock, "")? else {
        return Ok(false);
    };
    let root = parse(&bytes, "PublicAccessBlockConfiguration")?;
    Ok(root.text_of(switch) == Some("true"))
}

impl Rules {
    /// Bytes that they hold.
    fn weight_bytes(&self) -> usize {
        let of_policy = self.policy.as_ref().map_or(0, Document::weight_bytes);
        // With a target for logs, which is as short as a bucket's name and a key.
        let of_acl = self.acl.as_deref().map_or(0, acl::weight_bytes);
        let of_cors = self.cors.as_ref().map_or(0, CorsRules::weight_bytes);
        let of_website = self.website.as_ref().map_or(0, Website::weight_bytes);
        size_of::<Self>() + 2048 + of_policy + of_acl + of_cors + of_website
    }

    pub(crate) fn load(
        engine: &Engine,
        directory: &Directory,
        bucket: &BucketRow,
        (defaults, encrypts): (BucketDefaults, bool),
    ) -> Result<Self, EngineError> {
        let text = engine.document(bucket, DocumentKind::Policy, "")?;
        let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let parsed = text.as_deref().map(|t| Document::parse(t, PolicyKind::Bucket(&bucket.name)));
        let block = engine.document(bucket, DocumentKind::PublicAccessBlock, "")?;
        let controls = engine.document(bucket, DocumentKind::OwnershipControls, "")?;
        // Until someone says otherwise, lists are kept and public grants do not count (`bucket_defaults`).
        let is_undecided =
            defaults != BucketDefaults::Open && block.is_none() && controls.is_none();
        let blocked = |switch| is_blocked(engine, directory, bucket, switch);
        let ownership = ownership_of(controls.as_deref());
        let restricts = blocked("RestrictPublicBuckets");
        let encryption = DefaultEncryption::of(engine, bucket, encrypts);
        let is_broken = matches!(parsed, Some(Err(_)))
            || restricts.is_err()
            || ownership.is_err()
            || encryption.is_err();
        let acl = engine.document(bucket, DocumentKind::Acl, "")?;
        let acl = acl.map(|bytes| acl::decode(&String::from_utf8_lossy(&bytes)));
        if is_broken {
            tracing::error!(bucket = bucket.name, "the configuration of a bucket cannot be read");
        }
        let policy = parsed.and_then(Result::ok);
        let is_public = policy.as_ref().is_some_and(Document::is_public);
        let logging = engine.document(bucket, DocumentKind::Logging, "")?;
        let logging = logging.and_then(|bytes| {
            parse(&bytes, "BucketLoggingStatus").ok().and_then(|root| LogTarget::of_document(&root))
        });
        let document = |kind| engine.document(bucket, kind, "");
        let cors = document(DocumentKind::Cors)?.and_then(|bytes| CorsRules::compile(&bytes));
        let website = document(DocumentKind::Website)?.and_then(|bytes| Website::compile(&bytes));
        Ok(Self {
            logging,
            cors,
            website,
            encryption: encryption.unwrap_or_default(),
            ownership: ownership.unwrap_or(Ownership::Enforced),
            has_controls: controls.is_some(),
            acl,
            block_public_acls: blocked("BlockPublicAcls").unwrap_or(true),
            ignore_public_acls: is_undecided || blocked("IgnorePublicAcls").unwrap_or(true),
            is_restricted: is_public && restricts.unwrap_or(true),
            policy,
            is_broken,
        })
    }
}

fn ownership_of(document: Option<&[u8]>) -> Result<Ownership, S3Error> {
    let Some(document) = document else { return Ok(Ownership::Writer) };
    let root = parse(document, "OwnershipControls")?;
    match root.child("Rule").and_then(|rule| rule.text_of("ObjectOwnership")) {
        Some("BucketOwnerEnforced") => Ok(Ownership::Enforced),
        Some("BucketOwnerPreferred") => Ok(Ownership::Preferred),
        Some("ObjectWriter") => Ok(Ownership::Writer),
        _ => Err(S3Code::MalformedXML.into()),
    }
}

/// What holds for a bucket whose owner has not said anything about public access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketDefaults {
    /// Access control lists are taken and kept; public grants in them do not count.
    #[default]
    Compat,
    /// As new buckets of AWS: no access control lists, all public access blocked.
    Aws,
    /// Access control lists count in full.
    Open,
}

impl BucketDefaults {
    /// The setting of a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "compat" => Some(Self::Compat),
            "aws" => Some(Self::Aws),
            "open" => Some(Self::Open),
            _ => None,
        }
    }
}

impl RuleCache {
    pub(crate) fn new(defaults: BucketDefaults, encrypts: bool, region: &str) -> Self {
        let points = PointCache::new(region);
        Self { defaults, encrypts, rules: Mutex::new(Cache::new(RULES_LEN_MAX)), points }
    }

    pub(crate) fn get(
        &self,
        engine: &Engine,
        directory: &Directory,
        bucket: &BucketRow,
    ) -> Result<Arc<Rules>, EngineError> {
        // Of the bucket's configuration, and of the settings of its account.
        let now = (bucket.epoch, directory.epoch_of(account_of(bucket)));
        if let Some((epoch, rules)) = lock(&self.rules).get(&bucket.id)
            && epoch == now
        {
            return Ok(rules);
        }
        let defaults = (self.defaults, self.encrypts);
        let rules = Arc::new(Rules::load(engine, directory, bucket, defaults)?);
        let weight = rules.weight_bytes();
        lock(&self.rules).insert(bucket.id, (now, rules.clone()), weight);
        Ok(rules)
    }
}
