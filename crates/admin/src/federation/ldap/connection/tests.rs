//! Answers that no server should give.

use super::*;

fn answer(id: u32, operation: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ber::put(&mut bytes, operation, content);
    message(id, &bytes)
}

fn found(dn: &str) -> Vec<u8> {
    let mut content = Vec::new();
    ber::put(&mut content, OCTETS, dn.as_bytes());
    ber::put(&mut content, SEQUENCE, &[]);
    answer(1, SEARCH_ENTRY, &content)
}

fn done(code: u32) -> Vec<u8> {
    let mut content = Vec::new();
    ber::put_number(&mut content, ENUMERATED, code);
    ber::put(&mut content, OCTETS, b"");
    ber::put(&mut content, OCTETS, b"no\nsuch");
    answer(1, SEARCH_DONE, &content)
}

/// Names that a search finds in answers, or why it fails.
async fn search(answers: Vec<u8>) -> Result<Vec<String>, String> {
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let server = tokio::spawn(async move {
        let _ = far.write_all(&answers).await;
        let _ = far.shutdown().await;
        // Keeps it open for what is asked.
        let mut asked = Vec::new();
        let _ = far.read_to_end(&mut asked).await;
    });
    let mut connection = Connection::over(Box::new(near));
    let (mut room, mut names) = (Room::new(), Vec::new());
    let note = |entry: Entry| names.push(entry.dn);
    let searched = connection.search(("dc=x", "(uid=a)"), &["uid"], &mut room, note).await;
    drop(connection);
    server.await.expect("no panic");
    searched.map(|()| names).map_err(|error| error.to_string())
}

#[track_caller]
fn fails(found: Result<Vec<String>, String>, want: &str) {
    let error = found.expect_err(want);
    assert!(error.contains(want), "{error}");
}

#[tokio::test]
async fn entries_are_found_until_the_end() {
    let reference = answer(1, SEARCH_REFERENCE, &[]);
    let answers = [found("cn=a"), reference, found("cn=b"), done(0)].concat();
    assert_eq!(search(answers).await, Ok(vec!["cn=a".to_owned(), "cn=b".to_owned()]));
    fails(search([found("cn=a"), done(32)].concat()).await, "code 32: no\\nsuch");
    fails(search(found("cn=a")).await, "eof");
}

/// Goal: whatever a server answers, what is held of it is bounded.
#[tokio::test]
async fn what_is_answered_is_bounded() {
    let long = [&[0x30, 0x84, 0x7F, 0xFF, 0xFF, 0xFF][..], &[0; 64]].concat();
    fails(search(long).await, "longer than 256 KiB");
    let large = found(&"x".repeat(200 << 10));
    fails(search([&*large; 6].concat()).await, "more than 1 MiB");
    assert_eq!(
        search([&*large.repeat(5), &*done(0)].concat()).await.map(|found| found.len()),
        Ok(5)
    );
    let small = found("cn=a");
    fails(search(small.repeat(10_001)).await, "10,000 entries");
    let whole = [small.repeat(10_000), done(0)].concat();
    assert_eq!(search(whole).await.map(|found| found.len()), Ok(10_000));
    let references = answer(1, SEARCH_REFERENCE, &[]).repeat(10_001);
    fails(search(references).await, "10,000 entries");
}

/// Goal: no answer panics or uses up the stack.
#[tokio::test]
async fn what_is_no_ldap_ends_the_search() {
    let mut nested = Vec::new();
    for _ in 0..40_000 {
        let len = u32::try_from(nested.len()).expect("short");
        let head = [&[SEQUENCE, 0x84][..], &len.to_be_bytes()].concat();
        nested = if nested.len() < 200_000 { [head, nested].concat() } else { break };
    }
    let mut named = Vec::new();
    ber::put(&mut named, OCTETS, b"cn=a");
    let with_nested = [&*named, &nested].concat();
    for content in [&b""[..], b"\x04", b"\x04\x01\xFF\x30\x00", &named, &with_nested] {
        fails(search(answer(1, SEARCH_ENTRY, content)).await, "no LDAP");
        fails(search(answer(1, SEARCH_DONE, content)).await, "no LDAP");
        fails(search(answer(1, BIND_RESPONSE, content)).await, "no LDAP");
        fails(search(answer(1, 0xFF, content)).await, "no LDAP");
    }
    fails(search(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await, "no LDAP");
    fails(search(nested).await, "no LDAP");
    fails(search(answer(0, EXTENDED_RESPONSE, b"")).await, "ends the connection");
    fails(search(answer(7, SEARCH_DONE, b"")).await, "another request");
}

#[test]
fn addresses_have_a_port_or_not() {
    for (address, want) in [
        ("ldap.example", Some(("ldap.example", 389))),
        ("ldap.example:1389", Some(("ldap.example", 1389))),
        ("127.0.0.1:1", Some(("127.0.0.1", 1))),
        ("[::1]", Some(("::1", 389))),
        ("[::1]:636", Some(("::1", 636))),
        ("::1", None),
        ("[::1", None),
        ("[::1]636", None),
        ("host:", None),
        ("host:99999", None),
        (":389", None),
        ("", None),
    ] {
        assert_eq!(host_and_port(address, 389), want, "{address}");
    }
}
