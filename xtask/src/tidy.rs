//! Checks what the house style says and a program can see: ranks, sizes, names, S3 codes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Ranks of the workspace (ARCHITECTURE.md): a crate depends only on lower ranks.
const RANKS: &[(&str, u32)] = &[
    ("drystone-base", 0),
    ("drystone-iam", 1),
    ("drystone-admin-api", 1),
    ("drystone-erasure", 1),
    ("drystone-io", 1),
    ("drystone-keyring", 1),
    ("drystone-index", 1),
    ("drystone-log", 2),
    ("drystone-drive", 3),
    ("drystone-catalog", 3),
    ("drystone-cluster", 4),
    ("drystone-identity", 4),
    ("drystone-kms", 4),
    ("drystone-engine", 5),
    ("drystone-s3", 6),
    ("drystone-admin", 6),
    ("drystone-server", 7),
    ("drystone-sim", 8),
    ("xtask", 9),
];
/// Crates that a crate must not know, although their rank is lower.
const NEVER: &[(&str, &[&str])] = &[
    ("drystone-s3", &["drystone-catalog", "drystone-drive", "drystone-log"]),
    ("drystone-admin", &["drystone-catalog", "drystone-drive", "drystone-log"]),
];
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_LEN_MAX: usize = 110;
const BANNED_NAMES: &[&str] = &["utils", "helpers", "models", "types", "common", "misc"];
const GENERATED: &str = "crates/s3/src/operation/table.rs";

/// Everything that is not as it must be.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let mut problems = Vec::new();
    check_ranks(root, &mut problems)?;
    let mut files = Vec::new();
    collect(&root.join("crates"), &mut files)?;
    collect(&root.join("xtask"), &mut files)?;
    let exceptions = fs::read_to_string(root.join("xtask/tidy-exceptions.txt")).unwrap_or_default();
    let codes = s3_codes(root)?;
    let mut walks = Listed::load(root, WALKS)?;
    let mut opens = Listed::load(root, OPENS)?;
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let text = fs::read_to_string(&file).map_err(|error| format!("{name}: {error}"))?;
        check_file(&name, &text, &exceptions, &mut problems);
        check_codes(&name, &text, &codes, &mut problems);
        check_arns(&name, &text, &mut problems);
        check_headers(&name, &text, &mut problems);
        check_bucket_names(&name, &text, &mut problems);
        check_walks(&name, &text, &mut walks, &mut problems);
        check_opens(&name, &text, &mut opens, &mut problems);
    }
    walks.finish(&mut problems);
    opens.finish(&mut problems);
    Ok(problems)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check_ranks(root: &Path, problems: &mut Vec<String>) -> Result<(), String> {
    let ranks: BTreeMap<&str, u32> = RANKS.iter().copied().collect();
    let crates = fs::read_dir(root.join("crates")).map_err(|error| error.to_string())?;
    for entry in crates {
        let path = entry.map_err(|error| error.to_string())?.path().join("Cargo.toml");
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let name = text.lines().find_map(|line| line.strip_prefix("name = \"drystone-"));
        let name = format!("drystone-{}", name.unwrap_or_default().trim_end_matches('"'));
        let Some(rank) = ranks.get(name.as_str()) else {
            problems.push(format!("{name} has no rank in xtask/src/tidy.rs"));
            continue;
        };
        let tested = text.find("[dev-dependencies]").unwrap_or(text.len());
        let banned = NEVER.iter().find(|(who, _)| *who == name).map_or(&[][..], |(_, list)| list);
        for line in text[..tested].lines().filter(|line| line.starts_with("drystone-")) {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let is_lower = ranks.get(dependency).is_some_and(|other| other < rank);
            if !is_lower || banned.contains(&dependency) {
                problems.push(format!("{name} must not depend on {dependency}"));
            }
        }
    }
    Ok(())
}

fn check_file(name: &str, text: &str, exceptions: &str, problems: &mut Vec<String>) {
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if BANNED_NAMES.contains(&stem) || stem == "mod" {
        problems.push(format!("{name}: this name says nothing"));
    }
    if !text.starts_with("//!") && !name.ends_with("/tests.rs") {
        problems.push(format!("{name}: the header is missing"));
    }
    let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = production.lines().count();
    if lines > FILE_LINES_MAX && name != GENERATED {
        problems.push(format!("{name}: {lines} lines, at most {FILE_LINES_MAX}"));
    }
    for (index, line) in text.lines().enumerate() {
        // The table of codes has one row for each code, with its message.
        let is_table = name == GENERATED || name == "crates/s3/src/error.rs";
        if line.chars().count() > LINE_LEN_MAX && !is_table {
            problems.push(format!("{name}:{}: line too long", index + 1));
        }
    }
    check_functions(name, production, exceptions, problems);
}

/// Functions end at a brace with the indentation of their first line; rustfmt sees to that.
fn check_functions(name: &str, text: &str, exceptions: &str, problems: &mut Vec<String>) {
    let lines: Vec<&str> = text.lines().collect();
    for (start, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let words = [
            "fn ",
            "pub fn ",
            "pub(crate) fn ",
            "async fn ",
            "pub async fn ",
            "pub(crate) async fn ",
        ];
        if !words.iter().any(|word| body.starts_with(word)) {
            continue;
        }
        // A signature without a body, as traits have them.
        let head = lines[start..].iter().find(|line| line.ends_with(['{', ';', '}']));
        if head.is_some_and(|line| line.ends_with(';')) {
            continue;
        }
        let indent = &line[..line.len() - body.len()];
        let end = format!("{indent}}}");
        let Some(len) = lines[start..].iter().position(|line| *line == end) else { continue };
        let function = body.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next());
        let listed = format!("{name} {}", function.unwrap_or_default());
        if len + 1 > FUNCTION_LINES_MAX && !exceptions.lines().any(|line| line == listed) {
            problems.push(format!("{listed}: {} lines, at most {FUNCTION_LINES_MAX}", len + 1));
        }
    }
}

/// The S3 error codes: they may be written in one file only.
fn s3_codes(root: &Path) -> Result<Vec<String>, String> {
    let text =
        fs::read_to_string(root.join("crates/s3/src/error.rs")).map_err(|e| e.to_string())?;
    let start = text.find("codes! {").ok_or("no codes in error.rs")?;
    let table = text[start..].lines().skip(1).take_while(|line| *line != "}");
    Ok(table
        .filter_map(|line| line.split_whitespace().next())
        .map(|c| format!("\"{c}\""))
        .collect())
}

fn check_codes(name: &str, text: &str, codes: &[String], problems: &mut Vec<String>) {
    // The doors of the administration speak for other services, each in one file too.
    let files = [
        "s3/src/error.rs",
        "admin/src/query/error.rs",
        "admin/src/minio/error.rs",
        "admin/src/kms_api/error.rs",
    ];
    if files.iter().any(|file| name.ends_with(file)) {
        return;
    }
    for code in codes {
        if text.contains(code.as_str()) {
            problems.push(format!("{name}: S3 code {code} outside crates/s3/src/error.rs"));
        }
    }
}

/// The files that build resource names (ARNs) of identities: of stored ones, and of those who sign.
const ARN_BUILDERS: &[&str] = &["crates/identity/src/arn.rs", "crates/iam/src/principal.rs"];
/// What only a text that is or becomes such a resource name has.
const ARN_PARTS: &[&str] = &[
    "arn:aws:iam:",
    "arn:aws:sts:",
    ":user/",
    ":role/",
    ":group/",
    ":policy/",
    ":user{",
    ":role{",
];

/// A resource name of an identity that is built from a bare name lacks the path, and statements about the
/// path do not match it: only the resolver builds them, from rows.
fn check_arns(name: &str, text: &str, problems: &mut Vec<String>) {
    let is_test = name.contains("/tests/") || name.ends_with("/tests.rs");
    if is_test || ARN_BUILDERS.contains(&name) || name == "xtask/src/tidy.rs" {
        return;
    }
    let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    for (index, line) in production.lines().enumerate() {
        let code = if line.trim_start().starts_with("//") { "" } else { line };
        if ARN_PARTS.iter().any(|part| code.contains(part)) {
            let line = index + 1;
            problems.push(format!("{name}:{line}: only identity/src/arn.rs builds such an ARN"));
        }
    }
}

/// The files that handle headers as HTTP has them: of requests before they are those of S3, and of answers.
const HEADER_READERS: &[&str] = &[
    "crates/s3/src/answer.rs",
    "crates/s3/src/headers.rs",
    "crates/s3/src/inquiry.rs",
    "crates/s3/src/request.rs",
    "crates/s3/src/service.rs",
];

/// A header that cannot be read must not count as absent, or a condition that it carries is not looked at:
/// one module turns headers into text, and no handler sees the lines.
fn check_headers(name: &str, text: &str, problems: &mut Vec<String>) {
    let is_checked = name.starts_with("crates/s3/src/") && !HEADER_READERS.contains(&name);
    let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    for (index, line) in production.lines().enumerate().filter(|_| is_checked) {
        if line.contains(".to_str()") || line.contains("HeaderMap") {
            let line = index + 1;
            problems.push(format!("{name}:{line}: only headers.rs reads the headers of requests"));
        }
    }
}

/// The files that may ask which bucket has a name: to look it up, to make one, to delete one, to list them.
const NAME_READERS: &[&str] = &[
    "crates/engine/src/engine.rs",
    "crates/engine/src/bucket.rs",
    "crates/engine/src/check/buckets.rs",
    "crates/engine/src/salvage.rs",
    "crates/engine/src/plan/bucket.rs",
    "crates/engine/src/plan/rows.rs",
];

/// A name may belong to another bucket than the one that was decided on: plans take its id. And an engine
/// that serves a request of S3 is made for this request, so that names keep their meaning.
fn check_bucket_names(name: &str, text: &str, problems: &mut Vec<String>) {
    let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let by_name = ["bucket_named(", "Key::bucket_name("];
    let reads = by_name.iter().any(|part| production.contains(part));
    if name.starts_with("crates/engine/src/") && !NAME_READERS.contains(&name) && reads {
        problems.push(format!("{name}: a plan takes the id of its bucket, not its name"));
    }
    if name == "crates/s3/src/gateway.rs" && production.contains(".for_consumer(") {
        problems.push(format!("{name}: requests are served by an engine of Engine::for_request"));
    }
}

/// The places that walk over rows of the catalog, with what bounds each.
const WALKS: &str = "xtask/tidy-walks.txt";
/// Crates that clients make walk. Others walk at a start, or in a tool.
const WALKERS: &[&str] = &["crates/engine/src/", "crates/identity/src/", "crates/kms/src/"];

/// A list of rows that is read whole holds as much as clients have put there, outside the byte budget, on a
/// thread that others wait for: each place that walks over rows says what bounds it.
fn check_walks(name: &str, text: &str, walks: &mut Listed, problems: &mut Vec<String>) {
    if WALKERS.iter().any(|walker| name.starts_with(walker)) {
        let found = lines_with(text, &[".scan(", "rows::list"]);
        walks.compare(name, found, "walks over rows: say there what bounds each", problems);
    }
}

/// The places that open files in another way than `io::small`, with the reason of each.
const OPENS: &str = "xtask/tidy-opens.txt";
/// What opens a file, for reading or for writing, or follows a name to one.
const OPENERS: &[&str] = &[
    "fs::read(",
    "fs::read_to_string(",
    "fs::write(",
    "fs::copy(",
    "File::open(",
    "File::create(",
    "File::options(",
    "OpenOptions::new(",
    "fs::open(",
    "openat(",
    "fs::set_permissions(",
];

/// A file of a drive may be anything that someone put in its place: a named pipe that is waited for, a file
/// without end, a link. Only `io::small` opens such files.
fn check_opens(name: &str, text: &str, opens: &mut Listed, problems: &mut Vec<String>) {
    if name.starts_with("crates/") && name.contains("/src/") && !name.ends_with("/tests.rs") {
        let found = lines_with(text, OPENERS);
        opens.compare(name, found, "places open files: use drystone_io, or say why", problems);
    }
}

/// Lines of the code of a file, without its tests, that have one of some parts.
fn lines_with(text: &str, parts: &[&str]) -> usize {
    let production = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = production.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.filter(|line| parts.iter().any(|part| line.contains(part))).count()
}

/// A list of files with the number of their exceptions from a rule, and the reason.
struct Listed {
    list: &'static str,
    known: BTreeMap<String, usize>,
}

impl Listed {
    /// Reads lines of file, number, and reason.
    fn load(root: &Path, list: &'static str) -> Result<Self, String> {
        let text = fs::read_to_string(root.join(list)).map_err(|e| format!("{list}: {e}"))?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let known = lines.filter_map(|line| {
            let mut words = line.split_whitespace();
            let (file, count) = (words.next()?, words.next()?.parse().ok()?);
            words.next().map(|_| (file.to_owned(), count))
        });
        Ok(Self { list, known: known.collect() })
    }

    /// `what`: what was counted, and what to do.
    fn compare(&mut self, name: &str, found: usize, what: &str, problems: &mut Vec<String>) {
        let listed = self.known.remove(name).unwrap_or(0);
        if found != listed {
            let list = self.list;
            problems.push(format!("{name}: {found}, and {listed} in {list}, {what}"));
        }
    }

    fn finish(&self, problems: &mut Vec<String>) {
        let list = self.list;
        problems.extend(self.known.keys().map(|name| format!("{list}: {name} has none")));
    }
}
