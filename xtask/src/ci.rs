//! `cargo xtask ci`: everything that must hold, in the order in which it fails fastest.

use std::path::Path;
use std::process::Command;

/// Client tools of Debian that the acceptance tests use.
const PACKAGES: &[(&str, &str)] = &[
    ("rclone", "rclone"),
    ("s3cmd", "s3cmd"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("/usr/sbin/slapd", "slapd"),
    ("/usr/bin/faketime", "faketime"),
    ("chromium", "chromium"),
];
const VENV: &str = "target/venv";
const GATE: &str = "tests/blackbox/gate";
/// The commit that wrote `tests/fixtures/c9ead26`, and where it is built.
const OLD_COMMIT: &str = "c9ead26";
const OLD_SOURCE: &str = "target/old-source";
/// Capabilities of the acceptance tests that must pass, but for `tests/acceptance-exceptions.txt`.
/// Those that come down to the drives: they are run on several too.
const OBJECT_CAPABILITIES: &[&str] = &[
    "object_core",
    "checksums",
    "multipart",
    "conditional",
    "versioning",
    "encryption",
    "seed_examples",
];
const CAPABILITIES: &[&str] = &[
    "object_core",
    "listing",
    "multipart",
    "conditional",
    "checksums",
    "versioning",
    "encryption",
    "object_lock",
    "storage_classes_restore",
    "copy",
    "limits_and_errors",
    "virtual_host",
    "presigned_and_post",
    "iam_sts",
    "tagging_acl_policy",
    "public_access_block",
    "cors_website",
    "lifecycle_config",
    "terraform_shapes",
    "seed_examples",
    "aws_cli",
    "rclone",
    "s3cmd",
    "s3fs_pyarrow",
    "deltalake_iceberg",
    "dvc_mlflow",
];

pub(crate) type Outcome = Result<(), String>;

/// Runs a command and shows what it prints.
fn run(program: &str, arguments: &[&str], env: &[(&str, &str)]) -> Outcome {
    say(&format!("$ {program} {}", arguments.join(" ")));
    let status = Command::new(program).args(arguments).envs(env.iter().copied()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} {} failed: {status}", arguments.join(" "))),
        Err(error) => Err(format!("{program} cannot be started: {error}")),
    }
}

fn say(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{text}\n").as_bytes());
}

pub(crate) fn tidy() -> Outcome {
    let problems = crate::tidy::check(Path::new("."))?;
    match problems.len() {
        0 => {
            say("tidy: everything in order");
            Ok(())
        }
        count => Err(format!("{}\ntidy: {count} problems", problems.join("\n"))),
    }
}

/// Formatting, lints, house style, documents, unit and simulation tests.
pub(crate) fn check() -> Outcome {
    run("cargo", &["fmt", "--all", "--check"], &[])?;
    tidy()?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    run(
        "cargo",
        &["doc", "--workspace", "--no-deps", "--quiet"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    run("cargo", &["test", "--workspace"], &[])?;
    interleavings()
}

/// Interleavings of log writers, committer, group writers and mover, explored by shuttle.
pub(crate) fn interleavings() -> Outcome {
    let packages = ["drystone-log", "drystone-catalog", "drystone-engine", "drystone-sim"];
    let packages = packages.map(|name| ["--package", name]).concat();
    let options = ["--test", "shuttle", "--target-dir", "target/shuttle"];
    let arguments = [&["test"], &packages[..], &options[..]].concat();
    run("cargo", &arguments, &[("RUSTFLAGS", "--cfg shuttle")])
}

/// Longer crash enumeration and simulation: `seeds` instead of the few of each change.
pub(crate) fn soak(seeds: &str) -> Outcome {
    let env = [("DRYSTONE_SEEDS", seeds), ("DRYSTONE_STARTS", "1000")];
    for package in ["drystone-log", "drystone-catalog", "drystone-sim"] {
        run("cargo", &["test", "--release", "--package", package], &env)?;
    }
    Ok(())
}

/// The erasure code for another processor, in an emulator. Needs the toolchain's standard library for
/// it, which not every machine can get, so it is no part of what runs for every change.
pub(crate) fn neon() -> Outcome {
    let target = "aarch64-unknown-linux-gnu";
    run("rustup", &["target", "add", target], &[])?;
    let packages = ["qemu-user", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];
    run("apt-get", &[&["install", "-y", "-qq"], &packages[..]].concat(), &[])?;
    let variable = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU";
    let (linker, runner) = (format!("{variable}_LINKER"), format!("{variable}_RUNNER"));
    let env = [
        (linker.as_str(), "aarch64-linux-gnu-gcc"),
        (runner.as_str(), "qemu-aarch64 -L /usr/aarch64-linux-gnu"),
    ];
    let options = ["--package", "drystone-erasure", "--target", target];
    run("cargo", &[&["test"], &options[..], &["--target-dir", "target/neon"]].concat(), &env)
}

/// What takes too long for every change.
pub(crate) fn nightly() -> Outcome {
    neon()?;
    soak("300")?;
    install_tools()?;
    let [binary, _] = build()?;
    let python = format!("{VENV}/bin/python");
    run(&python, &["tests/nightly_list.py", "target/tmp"], &[("DRYSTONE_BINARY", &binary)])
}

/// Builds the binary for release, and the program that damages rows; returns where they are.
fn build() -> Result<[String; 2], String> {
    run("cargo", &["build", "--release", "--package", "drystone-server"], &[])?;
    let example = ["--example", "corrupt_rows"];
    run("cargo", &[&["build", "--release", "-p", "drystone-sim"], &example[..]].concat(), &[])?;
    let folder = std::env::current_dir().map_err(|error| error.to_string())?;
    let path = |name| folder.join("target/release").join(name).display().to_string();
    Ok([path("drystone"), path("examples/corrupt_rows")])
}

/// Builds the binary that wrote the stores of the upgrade tests, to see it refuse them afterwards;
/// returns where it is. `None` in a clone without that commit. It has a folder of its own: cargo knows
/// members of a workspace by their place in it, and would take what it builds for parts of this one.
fn build_old() -> Result<Option<String>, String> {
    let folder = std::env::current_dir().map_err(|error| error.to_string())?;
    let target = format!("{OLD_SOURCE}/target");
    let binary = folder.join(&target).join("debug/drystone").display().to_string();
    let named = format!("{OLD_COMMIT}^{{commit}}");
    let has = Command::new("git").args(["cat-file", "-e", &named]).status();
    if !has.is_ok_and(|status| status.success()) {
        say(&format!(
            "this clone has no history: {OLD_COMMIT} does not show that it refuses new stores"
        ));
        return Ok(None);
    }
    let unpack =
        format!("mkdir -p {OLD_SOURCE} && git archive {OLD_COMMIT} | tar -x -C {OLD_SOURCE}");
    run("sh", &["-c", &unpack], &[])?;
    let manifest = format!("{OLD_SOURCE}/Cargo.toml");
    let options = ["--locked", "--package", "drystone-server", "--target-dir", &target];
    run("cargo", &[&["build", "--manifest-path", &manifest], &options[..]].concat(), &[])?;
    Ok(Some(binary))
}

/// Installs the client tools that are missing.
fn install_tools() -> Outcome {
    let is_missing = |tool: &str| Command::new(tool).arg("--version").output().is_err();
    let missing: Vec<&str> =
        PACKAGES.iter().filter(|(tool, _)| is_missing(tool)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        run("apt-get", &["update", "-qq"], &[])?;
        let install = [&["install", "-y", "-qq"], &missing[..]].concat();
        // In runlevel 1 no package starts a service: the tests start their own, on loopback.
        let env = [("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")];
        run("apt-get", &install, &env)?;
    }
    if !Path::new(VENV).join("bin/pip").is_file() {
        run("python3", &["-m", "venv", VENV], &[])?;
    }
    let node = ["ci", "--prefix", "tests/blackbox/node", "--no-audit", "--no-fund", "--silent"];
    run("npm", &node, &[])?;
    let pip = format!("{VENV}/bin/pip");
    run(&pip, &["install", "-q", "-r", "tests/blackbox/requirements.txt"], &[])
}

/// Tests of the built binary with real clients.
pub(crate) fn blackbox() -> Outcome {
    install_tools()?;
    let old = build_old()?;
    let [binary, corrupt_rows] = build()?;
    let mut env =
        vec![("DRYSTONE_BINARY", binary.as_str()), ("DRYSTONE_CORRUPT_ROWS", &corrupt_rows)];
    env.extend(old.as_deref().map(|old| ("DRYSTONE_OLD_BINARY", old)));
    let python = format!("{VENV}/bin/python");
    let options = ["-m", "pytest", "-n", "3", "-p", "no:cacheprovider", "tests/blackbox"];
    run(&python, &[&options[..], &["--ignore", GATE]].concat(), &env)?;
    acceptance(&python, &env)?;
    gate(&python, &env)
}

/// Memory and fairness under abuse. It measures latencies, so that nothing runs beside it.
fn gate(python: &str, env: &[(&str, &str)]) -> Outcome {
    run(python, &["-m", "pytest", "-p", "no:cacheprovider", "-rA", GATE], env)
}

/// The shared acceptance tests. Who has none beside the checkout is told so; in CI they must be there.
fn acceptance(python: &str, env: &[(&str, &str)]) -> Outcome {
    let folder = "../shared/acceptance";
    if !Path::new(folder).is_dir() {
        if std::env::var_os("CI").is_some() {
            return Err(format!("{folder} is missing: CI runs the acceptance tests"));
        }
        say("the shared acceptance tests are not here: not run");
        return Ok(());
    }
    let listed = std::fs::read_to_string(format!("{folder}/requirements.txt"));
    let listed = listed.map_err(|error| error.to_string())?;
    let needed = listed.lines().filter(|l| !l.starts_with(['#']) && !l.is_empty());
    let needed: Vec<&str> = needed.collect();
    let install = [&["install", "-q"], &needed[..]].concat();
    run(&format!("{VENV}/bin/pip"), &install, &[])?;
    let options = ["tests/acceptance.py", folder, "tests/acceptance-exceptions.txt"];
    run(python, &[&options[..], &["1"], CAPABILITIES].concat(), env)?;
    run(python, &[&options[..], &["6"], OBJECT_CAPABILITIES].concat(), env)?;
    // Keys of clients are taken where nobody else can read them.
    run(python, &[&options[..], &["tls", "encryption"]].concat(), env)
}

/// The suite of Ceph against the binary, judged by `tests/s3-tests/expected.toml`.
pub(crate) fn s3_tests(suite: &str) -> Outcome {
    install_tools()?;
    let [binary, _] = build()?;
    let needed = format!("{suite}/requirements.txt");
    run(&format!("{VENV}/bin/pip"), &["install", "-q", "-r", &needed], &[])?;
    let page = ["--page", "docs/s3-tests.md"];
    let arguments = [&["tests/s3-tests/run.py", suite], &page[..]].concat();
    run(&format!("{VENV}/bin/python"), &arguments, &[("DRYSTONE_BINARY", &binary)])
}

pub(crate) fn ci() -> Outcome {
    check()?;
    blackbox()?;
    match std::env::var_os("S3_TESTS") {
        Some(suite) => s3_tests(&suite.to_string_lossy()),
        None => {
            say("S3_TESTS does not name a folder of ceph/s3-tests: not run");
            Ok(())
        }
    }
}
