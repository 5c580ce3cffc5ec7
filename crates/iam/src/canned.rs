//! Policies that are there without anybody having made them. Their names are reserved.

const CANNED: &[(&str, &str)] = &[
    ("readonly", include_str!("canned/readonly.json")),
    ("readwrite", include_str!("canned/readwrite.json")),
    ("writeonly", include_str!("canned/writeonly.json")),
    ("diagnostics", include_str!("canned/diagnostics.json")),
    ("consoleAdmin", include_str!("canned/consoleAdmin.json")),
    ("ml-train", include_str!("canned/ml-train.json")),
    ("backup-writer", include_str!("canned/backup-writer.json")),
    ("auditor", include_str!("canned/auditor.json")),
];

/// The text of a canned policy.
#[must_use]
pub fn canned_policy(name: &str) -> Option<&'static str> {
    CANNED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Names of the canned policies.
pub fn canned_names() -> impl Iterator<Item = &'static str> {
    CANNED.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    #[test]
    fn canned_policies_are_valid() {
        for (name, text) in CANNED {
            assert!(Document::parse_new(text).is_ok(), "{name}");
        }
    }
}
