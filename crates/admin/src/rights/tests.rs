use super::*;
use std::collections::BTreeSet;

/// The operations of a column, with and without `!`.
fn listed(column: impl Fn(&Row) -> &'static str) -> BTreeSet<&'static str> {
    let of_rows = TABLE.iter().flat_map(|(_, row)| column(row).split_whitespace());
    of_rows.map(|name| name.trim_start_matches('!')).collect()
}

/// Texts in quotes that stand before an arrow of a `match`: the operations that a file handles.
fn arms(source: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for line in source.lines() {
        let Some((arm, _)) = line.split_once("=>") else { continue };
        found.extend(arm.split('"').skip(1).step_by(2));
    }
    found
}

#[test]
fn rows_are_in_the_order_of_the_rights() {
    for right in ALL {
        assert_eq!(TABLE[*right as usize].0, format!("{right:?}"));
    }
}

/// Goal: no operation of the query API is handled that has no row, and no row names one that is not handled.
#[test]
fn every_operation_of_the_query_api_has_a_row() {
    let sources = [
        include_str!("../query/users.rs"),
        include_str!("../query/keys.rs"),
        include_str!("../query/boundaries.rs"),
        include_str!("../query/groups.rs"),
        include_str!("../query/roles.rs"),
        include_str!("../query/openid_providers.rs"),
        include_str!("../query/policies.rs"),
        include_str!("../query/sts.rs"),
    ];
    let listed = listed(|row| row.query);
    let is_action = |name: &&str| name.starts_with(char::is_uppercase) && name.len() > 8;
    let not_operations = ["Inactive", "PermissionsBoundary", "PermissionsPolicy"];
    for source in sources {
        let handled = source.split("#[cfg(test)]").next().unwrap_or_default();
        for name in arms(handled).into_iter().filter(is_action) {
            assert!(listed.contains(name) || not_operations.contains(&name), "{name} has no row");
        }
    }
    let all = sources.concat() + include_str!("../query.rs");
    for name in listed {
        let of_holder = ["User", "Group", "Role"].iter().any(|kind| {
            name.ends_with(&format!("{kind}Policy")) || name.ends_with(&format!("{kind}Policies"))
        });
        assert!(of_holder || all.contains(&format!("\"{name}\"")), "{name} is not handled");
    }
}

#[test]
fn every_operation_of_the_minio_admin_api_has_a_row() {
    let listed = listed(|row| row.minio);
    let of_admin = arms(include_str!("../minio.rs")).into_iter().map(str::to_owned);
    let of_kms =
        arms(include_str!("../minio/kms.rs")).into_iter().map(|name| format!("kms:{name}"));
    let handled: BTreeSet<String> = of_admin.chain(of_kms).collect();
    let is_method =
        |name: &str| ["GET", "PUT", "POST", "DELETE"].contains(&name.trim_start_matches("kms:"));
    let handled: BTreeSet<&str> =
        handled.iter().map(String::as_str).filter(|name| !is_method(name)).collect();
    assert_eq!(handled, listed);
}

/// Goal: every request of the own admin API has a row. Method: the refusal of an unknown one lists them all.
#[test]
fn every_operation_of_the_own_api_has_a_row() {
    let error = serde_json::from_str::<drystone_admin_api::Request>(r#"{"op":"?"}"#);
    let message = error.expect_err("there is no such request").to_string();
    let (_, names) = message.split_once("expected one of").expect("the names are listed");
    let known: BTreeSet<&str> = names.split('`').skip(1).step_by(2).collect();
    assert!(known.len() > 40, "{message}");
    assert_eq!(known, listed(|row| row.api));
}

#[test]
fn every_operation_of_the_kms_api_has_a_row() {
    let sources = [
        include_str!("../kms_api/keys.rs"),
        include_str!("../kms_api/aliases.rs"),
        include_str!("../kms_api/seals.rs"),
        include_str!("../kms_api/grants.rs"),
    ];
    let handled: BTreeSet<&str> = sources.into_iter().flat_map(arms).collect();
    let is_operation = |name: &&&str| {
        let is_name = name.starts_with(char::is_uppercase) && !name.contains('_');
        is_name && !name.ends_with("Exception")
    };
    let handled: BTreeSet<&str> = handled.iter().filter(is_operation).copied().collect();
    assert_eq!(handled, listed(|row| row.kms));
}

#[test]
fn what_needs_a_lasting_key_is_an_operation() {
    let known = listed(|row| row.api);
    assert!(super::LASTING.iter().all(|name| known.contains(name)));
    assert!(Right::needs_lasting_key("account-add") && !Right::needs_lasting_key("user-list"));
}

/// A cell of the generated page.
fn cell(list: &str) -> String {
    let names = list.split_whitespace().map(|name| match name.strip_prefix('!') {
        Some(name) => format!("`{name}` (deny only)"),
        None => format!("`{name}`"),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn page() -> String {
    let mut page = include_str!("page.md").to_owned();
    for (right, row) in TABLE {
        let Row { names, denied_by, rule, query, minio, api, kms } = row;
        let (names, denied_by) = (cell(names), cell(denied_by));
        let cells = [query, minio, api, kms].map(|list| cell(list)).join(" | ");
        let cells = [names, denied_by, (*rule).to_owned(), cells];
        page += &format!("| {right} | {} |\n", cells.join(" | "));
    }
    page
}

/// Goal: the page of rights is that of the table. To renew it: put the text of the failure in its place.
#[test]
fn the_page_is_made_from_the_table() {
    let page = page();
    let kept = include_str!("../../../../docs/identity-actions.md");
    assert!(kept == page, "docs/identity-actions.md is not this page:\n{page}");
}

/// Goal: a policy can be put that names any right of the table.
#[test]
fn policies_may_name_every_right() {
    for (right, row) in TABLE {
        for name in
            row.names.split(' ').chain(row.denied_by.split(' ')).filter(|name| !name.is_empty())
        {
            assert!(drystone_iam::is_known_action(name), "{right}: {name}");
        }
    }
}
