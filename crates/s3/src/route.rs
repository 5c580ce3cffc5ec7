//! From method, path and query to an operation of the closed table.

use crate::error::{S3Code, S3Error};
use crate::operation::{Level, Operation, Row, TABLE};
use crate::request::S3Request;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Query keys that select an operation; the rest modifies or is ignored.
const SUB_RESOURCES: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "events",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "replication-check",
    "replication-metrics",
    "replication-reset",
    "replication-reset-status",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// Whether a parameter of the query selects an operation.
pub(crate) fn is_sub_resource(name: &str) -> bool {
    SUB_RESOURCES.contains(&name)
}

/// The sub-resource that a request names, for its log line.
pub(crate) fn sub_resource(request: &S3Request) -> Option<String> {
    let names = request.query.iter().map(|(name, ..)| name.as_str());
    let mut named = names.filter(|name| SUB_RESOURCES.contains(name) && *name != "list-type");
    named.next().map(str::to_owned)
}

/// The sub-resource by which a row is selected.
fn selector(row: &Row) -> &'static str {
    if row.key.is_empty() && row.queries.contains(&"uploadId") { "uploadId" } else { row.key }
}

/// Operations that another row of the same route stands for.
fn is_alias(operation: Operation) -> bool {
    use Operation as O;
    matches!(
        operation,
        O::GetBucketLifecycle
            | O::PutBucketLifecycle
            | O::GetBucketNotification
            | O::PutBucketNotification
            | O::ListDirectoryBuckets
            | O::WriteGetObjectResponse
    )
}

const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];

/// Rows by level, place of their method among [`METHODS`], and selector.
type Rows = BTreeMap<(Level, usize, &'static str), Vec<&'static Row>>;

static ROWS: LazyLock<Rows> = LazyLock::new(|| {
    let mut rows = Rows::new();
    for row in TABLE.iter().filter(|row| !is_alias(row.operation)) {
        let Some(method) = METHODS.iter().position(|known| *known == row.method) else { continue };
        rows.entry((row.level, method, selector(row))).or_default().push(row);
    }
    rows
});

/// Finds the operation of a request.
///
/// # Errors
///
/// `NotImplemented`, `MethodNotAllowed`, or `InvalidArgument` for two selectors at once. Browsers' forms have
/// no row in the model: they are recognized before.
pub(crate) fn route(request: &S3Request) -> Result<Operation, S3Error> {
    let level = request.level();
    let method = request.method.as_str();
    let mut selectors = request
        .query
        .iter()
        .map(|(name, ..)| name.as_str())
        .filter(|name| SUB_RESOURCES.contains(name));
    let key = selectors.next().unwrap_or("");
    if let Some(second) = selectors.find(|other| *other != key) {
        return Err(S3Error::argument(
            "ResourceType",
            second,
            format!("Conflicting query string parameters: {key}, {second}"),
        ));
    }
    let Some(method) = METHODS.iter().position(|known| *known == method) else {
        return Err(not_allowed(request, level, key));
    };
    check_unknown_keys(request, level)?;
    let copies = request.header_or_query("x-amz-copy-source").is_some();
    let fits = |row: &&&Row| {
        (copies || !row.headers.contains(&"x-amz-copy-source"))
            && row.queries.iter().all(|name| request.query(name).is_some())
    };
    let rows = ROWS.get(&(level, method, key)).map_or(&[][..], Vec::as_slice);
    let best = rows.iter().filter(fits).max_by_key(|row| (row.headers.len(), row.queries.len()));
    match best {
        Some(row) => check_selected(request, row.operation),
        None => Err(no_row(request, level, key)),
    }
}

/// Refuses parameters that name a version or a part where the operation has none: what is meant is another
/// operation, and this one would be done to the object as it is now.
fn check_selected(request: &S3Request, operation: Operation) -> Result<Operation, S3Error> {
    use Operation as O;
    let refused = |name: &str, message: &str| {
        Err(S3Error::argument(name, request.query(name).unwrap_or_default(), message))
    };
    let takes_part =
        matches!(operation, O::GetObject | O::HeadObject | O::UploadPart | O::UploadPartCopy);
    if !takes_part && request.query("partNumber").is_some() {
        return refused("partNumber", "This operation does not accept a part number.");
    }
    if !takes_version(operation) && request.query("versionId").is_some() {
        return refused("versionId", "This operation does not accept a version-id.");
    }
    Ok(operation)
}

/// Whether an operation is done to a version that the query may name.
fn takes_version(operation: Operation) -> bool {
    use Operation as O;
    matches!(
        operation,
        O::GetObject
            | O::HeadObject
            | O::DeleteObject
            | O::GetObjectAcl
            | O::PutObjectAcl
            | O::GetObjectAttributes
            | O::GetObjectLegalHold
            | O::PutObjectLegalHold
            | O::GetObjectRetention
            | O::PutObjectRetention
            | O::GetObjectTagging
            | O::PutObjectTagging
            | O::DeleteObjectTagging
            | O::GetObjectTorrent
            | O::RestoreObject
            | O::UpdateObjectEncryption
            | O::GetObjectAnnotation
            | O::PutObjectAnnotation
            | O::DeleteObjectAnnotation
            | O::ListObjectAnnotations
    )
}

fn no_row(request: &S3Request, level: Level, key: &str) -> S3Error {
    let elsewhere = TABLE.iter().any(|row| {
        row.level == level && selector(row) == key && row.method != request.method.as_str()
    });
    let here = TABLE.iter().any(|row| {
        row.level == level && selector(row) == key && row.method == request.method.as_str()
    });
    if here {
        S3Error::argument(key, "", "A required parameter of the request is missing.")
    } else if elsewhere {
        not_allowed(request, level, key)
    } else {
        S3Error::not_implemented(if key.is_empty() { "operation" } else { key })
    }
}

fn not_allowed(request: &S3Request, level: Level, key: &str) -> S3Error {
    let rows = TABLE.iter().filter(|row| row.level == level && selector(row) == key);
    let mut methods: Vec<_> = rows.map(|row| row.method).collect();
    methods.sort_unstable();
    methods.dedup();
    let resource = if level == Level::Object { "OBJECT" } else { "BUCKET" };
    S3Error::new(S3Code::MethodNotAllowed)
        .field("Method", request.method.as_str())
        .field("ResourceType", resource)
        .header("allow", methods.join(", "))
}

/// An unknown parameter without a value is a sub-resource of a newer model. On reads of objects it is
/// what people add against caches.
fn check_unknown_keys(request: &S3Request, level: Level) -> Result<(), S3Error> {
    let is_read = matches!(request.method.as_str(), "GET" | "HEAD");
    // All that is posted to a bucket without a known sub-resource is a form, or a mistake.
    let is_post = request.method == http::Method::POST && level == Level::Bucket;
    if (is_read && level == Level::Object) || is_post {
        return Ok(());
    }
    const KNOWN: &[&str] = &["versionId", "partNumber", "prefix", "marker", "delimiter"];
    for (name, value, has_equals) in &request.query {
        let known = SUB_RESOURCES.contains(&name.as_str()) || KNOWN.contains(&name.as_str());
        if !is_read && value.is_empty() && !has_equals && !known {
            return Err(S3Error::not_implemented(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Domains;

    fn ask(method: &str, target: &str, copies: bool) -> Result<Operation, S3Code> {
        let mut builder = http::Request::builder().method(method).uri(target).header("host", "a");
        if copies {
            builder = builder.header("x-amz-copy-source", "a/b");
        }
        let (parts, ()) = builder.body(()).expect("a request").into_parts();
        let request =
            S3Request::parse(parts, &Domains::default(), 0).map_err(|error| error.code)?;
        route(&request).map_err(|error| error.code)
    }

    #[test]
    fn every_row_of_the_table_is_reached_by_its_own_route() {
        for row in TABLE.iter().filter(|row| !is_alias(row.operation)) {
            let path = match row.level {
                Level::Service => "/",
                Level::Bucket => "/bucket",
                Level::Object => "/bucket/key",
            };
            let mut query: Vec<String> = row.queries.iter().map(|q| format!("{q}=1")).collect();
            if !row.key.is_empty() {
                query.push(row.key.to_owned());
            }
            let target = format!("{path}?{}", query.join("&"));
            let copies = row.headers.contains(&"x-amz-copy-source");
            assert_eq!(ask(row.method, &target, copies), Ok(row.operation), "{target}");
        }
    }

    #[test]
    fn every_sub_resource_with_every_method_is_an_operation_or_refused() {
        for key in SUB_RESOURCES {
            for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
                for path in ["/", "/bucket", "/bucket/key"] {
                    match ask(method, &format!("{path}?{key}"), false) {
                        Ok(operation) => assert_eq!(selector(operation.row()), *key),
                        Err(code) => assert!(
                            matches!(
                                code,
                                S3Code::NotImplemented
                                    | S3Code::MethodNotAllowed
                                    | S3Code::InvalidArgument
                            ),
                            "{method} {path}?{key}: {code:?}"
                        ),
                    }
                }
            }
        }
    }

    #[test]
    fn unknown_keys_and_methods_are_refused() {
        assert_eq!(ask("PUT", "/b/k?newthing", false), Err(S3Code::NotImplemented));
        assert_eq!(ask("DELETE", "/b?newthing", false), Err(S3Code::NotImplemented));
        assert_eq!(ask("GET", "/b/k?cachebuster", false), Ok(Operation::GetObject));
        assert_eq!(ask("PATCH", "/b/k", false), Err(S3Code::MethodNotAllowed));
        assert_eq!(ask("DELETE", "/b?acl", false), Err(S3Code::MethodNotAllowed));
        assert_eq!(ask("GET", "/b?acl&policy", false), Err(S3Code::InvalidArgument));
        for target in ["/b", "/b?", "/b?x", "/b?x=1"] {
            assert_eq!(ask("POST", target, false), Err(S3Code::MethodNotAllowed), "{target}");
        }
    }
}
