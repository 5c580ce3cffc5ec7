//! Says which commit the program is built from: what `DRYSTONE_BUILD_COMMIT` says, for builders of packages;
//! else what git says, if this is a checkout; else `unknown`.
//!
//! It runs again when that variable or the commit that is checked out changes, and not on other builds. No
//! path of the machine comes into the program.

use std::path::Path;
use std::process::Command;

const VARIABLE: &str = "DRYSTONE_BUILD_COMMIT";
/// Letters of a commit at most.
const LEN_MAX: usize = 64;

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// Lets the script run again when a file of git changes. One that is not there would let it run always.
fn watch(root: &Path, name: &str) {
    let Some(path) = git(root, &["rev-parse", "--git-path", name]) else { return };
    let path = root.join(path);
    if path.is_file() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

fn commit_of_checkout() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // Sources without a checkout may lie inside that of something else.
    root.join(".git").symlink_metadata().ok()?;
    watch(&root, "HEAD");
    watch(&root, "packed-refs");
    if let Some(branch) = git(&root, &["symbolic-ref", "-q", "HEAD"]) {
        watch(&root, &branch);
    }
    git(&root, &["rev-parse", "--short=12", "HEAD"])
}

#[allow(clippy::disallowed_methods, reason = "a build is not the program")]
fn given() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|commit| !commit.is_empty())
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-+._~".contains(&byte);
    let is_commit = |text: &String| text.len() <= LEN_MAX && text.bytes().all(is_letter);
    let given = given();
    assert!(
        given.as_ref().is_none_or(is_commit),
        "{VARIABLE} has letters, digits and -+._~, {LEN_MAX} at most"
    );
    let commit = given.or_else(commit_of_checkout).filter(is_commit);
    println!("cargo::rustc-env=DRYSTONE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}
