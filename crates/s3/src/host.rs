//! Whether the host names a bucket.

/// Domains below which hosts name buckets, in lower case.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    /// For the S3 API.
    pub s3: Vec<String>,
    /// For websites.
    pub website: Vec<String>,
}

/// The bucket that a host names, given the domains that the server was told of. A host under no
/// domain is never taken for a bucket.
pub(crate) fn bucket_of_host(host: &str, domains: &[String]) -> Option<String> {
    if domains.is_empty() {
        return None;
    }
    let host = host.to_ascii_lowercase();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => &host,
    };
    for domain in domains {
        let bucket = name.strip_suffix(domain.as_str()).and_then(|rest| rest.strip_suffix('.'));
        if let Some(bucket) = bucket.filter(|bucket| !bucket.is_empty()) {
            return Some(bucket.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, want: Option<&str>) {
        let domains = ["s3.example.com".to_owned()];
        assert_eq!(bucket_of_host(host, &domains).as_deref(), want, "{host}");
    }

    #[test]
    fn only_labels_before_a_domain_are_buckets() {
        check("b.s3.example.com", Some("b"));
        check("a.b.S3.example.com:9000", Some("a.b"));
        check("s3.example.com", None);
        check("xs3.example.com", None);
        check("b.example.com", None);
        check("127.0.0.1:9000", None);
        check("localhost", None);
    }
}
