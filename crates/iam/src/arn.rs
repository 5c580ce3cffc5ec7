//! Amazon resource names: `arn:partition:service:region:account:resource`.

use std::fmt;

/// A resource name in its six parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arn {
    /// `aws`, or `minio` for what an older client wrote.
    pub partition: String,
    /// `s3`, `iam`, `sts`, `kms`.
    pub service: String,
    /// Empty for most.
    pub region: String,
    /// Account id; empty for buckets and objects.
    pub account: String,
    /// The rest, which may hold colons.
    pub resource: String,
}

impl Arn {
    /// Splits a resource name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        if parts.next() != Some("arn") {
            return None;
        }
        let mut next = || parts.next().map(ToOwned::to_owned);
        let (partition, service) = (next()?, next()?);
        let (region, account, resource) = (next()?, next()?, next()?);
        Some(Self { partition, service, region, account, resource })
    }

    /// A bucket, or an object in one.
    #[must_use]
    pub fn s3(bucket: &str, object: Option<&str>) -> String {
        match object {
            Some(object) => format!("arn:aws:s3:::{bucket}/{object}"),
            None => format!("arn:aws:s3:::{bucket}"),
        }
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, service, region, account, resource } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}
