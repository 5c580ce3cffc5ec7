//! Which version of the program this is.

/// Version and commit, such as `0.1.0 (commit b07c9a5e21f0)`. The build script says which commit.
pub(crate) const TEXT: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("DRYSTONE_COMMIT"), ")");

/// The same for programs.
pub(crate) fn json() -> String {
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("DRYSTONE_COMMIT"));
    format!("{}\n", serde_json::json!({ "version": version, "commit": commit }))
}
