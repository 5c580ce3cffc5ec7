"""Findings F18, F20 to F22, F27 and F28 of the second attack: what proxies forward, what is shown on a terminal, bodies without a length, headers
of this server, requests with an unsigned body, and headers that mean nothing to an operation."""
import base64
import hashlib
import hmac
import json
import socket
import time
import urllib.parse

import pytest
import requests

from conftest import PASSWORD, USER, Server, drystone
from people import allow, code_of, deny, document, service, signed, user_with
from raw import Signer, read_answer, send

BUCKET = "bkt"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("more") / "drive", "--trusted-proxies", "127.0.0.0/8", "--allow-sigv2").wait_ready()
    server.client().create_bucket(Bucket=BUCKET)
    yield server
    server.stop()


def ask(server, key, method, path, body=b"", raw=b"", chunked=False):
    """A signed request with further header lines, as bytes, and maybe a body without a declared length."""
    signer = Signer(*key)
    headers, _ = signer.headers(method, path, f"127.0.0.1:{server.port}", payload=hashlib.sha256(body).hexdigest())
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
    framed = b"content-length: %d\r\n\r\n" % len(body) + body
    if chunked:
        framed = b"transfer-encoding: chunked\r\n\r\n" + (b"%x\r\n" % len(body) + body + b"\r\n" if body else b"") + b"0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(head.encode() + raw + framed)
        answer = read_answer(sock.makefile("rb"))
    return answer.status, answer.code


# F18: a proxy puts the address of its client behind whatever the client sent.

@pytest.mark.parametrize("sent", [b"\xff, ", b"\xff\r\nX-Forwarded-For: ", "\u00e9, ".encode(), b"nonsense, ", b"127.0.0.1, \xff, ", b""])
def test_a_client_does_not_count_as_its_proxy(server, sent):
    inside = user_with(server, allow("s3:*", **{"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}))
    assert ask(server, inside, "PUT", f"/{BUCKET}/k", b"x") == (200, None)
    assert ask(server, inside, "PUT", f"/{BUCKET}/k", b"x", b"X-Forwarded-For: " + sent + b"9.9.9.9\r\n") == (403, "AccessDenied")


@pytest.mark.parametrize("path", [f"/{BUCKET}/k", "/", "/.drystone/v1", "/minio/admin/v3/info"])
def test_a_proxy_that_names_no_client_is_refused(server, path):
    method = "POST" if path in ("/", "/.drystone/v1") else "GET"
    for lines in (b"\xff", b"unknown", b"", b"9.9.9.9, unknown", b"9.9.9.9, ", b"9.9.9.9:99999", b"9.9.9.9\r\nX-Forwarded-For: \xff",
                  b"unknown, 127.0.0.1"):
        assert ask(server, (USER, PASSWORD), method, path, raw=b"X-Forwarded-For: " + lines + b"\r\n")[0] == 400, lines


def test_the_nearest_proxy_says_whether_it_was_tls(server):
    secure = user_with(server, allow("s3:*", **{"Bool": {"aws:SecureTransport": "true"}}))
    through = b"X-Forwarded-For: 9.9.9.9\r\n"
    assert ask(server, secure, "PUT", f"/{BUCKET}/k", b"x", through + b"X-Forwarded-Proto: https\r\n") == (200, None)
    for lines in (b"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", b"X-Forwarded-Proto: https, http\r\n", b"X-Forwarded-Proto: \xff\r\n"):
        assert ask(server, secure, "PUT", f"/{BUCKET}/k", b"x", through + lines)[0] == 403, lines


# F20: keys are what others wrote.

def test_nothing_that_others_wrote_acts_on_a_terminal(server):
    evil = "a%1B%5D0%3BPWNED%07%0AFAKE%20LINE%3A%20allowed"
    answer = requests.get(f"{server.url}/{BUCKET}/{evil}", timeout=10)
    assert answer.status_code == 403
    shown = drystone("explain", answer.headers["x-amz-request-id"], "--at", server.directory)
    assert shown.returncode == 0 and "FAKE LINE" in shown.stdout
    assert "\x1b" not in shown.stdout and "\nFAKE" not in shown.stdout


@pytest.mark.parametrize("evil", ["\x1b]0;PWNED\x07", "\u009b2J", "\u202e", "\u2028FAKE", "\r\nFAKE"])
def test_nothing_that_others_wrote_acts_in_any_text(server, evil):
    """Tables, documents and messages of errors; programs get all of it."""
    iam, at = service(server, "iam"), ("--at", server.directory)
    name = f"p-{evil.encode().hex()}"
    text = json.dumps(json.loads(document(allow("s3:GetObject", resource=f"arn:aws:s3:::b/{evil}*"))), ensure_ascii=False)
    shown = [drystone("explain", f"x{evil}", *at)]
    if "\n" not in evil and "\x1b" not in evil:
        iam.create_policy(PolicyName=name, PolicyDocument=text)
        shown.append(drystone("policy", "info", name, *at))
        [policy] = json.loads(drystone("policy", "info", name, "--json", *at).stdout)["policies"]
        assert evil in json.loads(policy["document"])["Statement"][0]["Resource"]
        assert shown[-1].returncode == 0 and "GetObject" in shown[-1].stdout
    # A message of the server that has a name in it.
    shown += [drystone("policy", "info", f"none{evil}", *at), drystone("user", "remove", f"none{evil}", *at)]
    for one in shown:
        assert not any(c in one.stdout + one.stderr for c in evil if c != "\n" and not c.isalnum() and c not in "];"), one


# F21: a document without a declared length is a document.

@pytest.mark.parametrize("chunked", [False, True])
def test_the_document_of_a_new_bucket_is_read(server, chunked):
    def body(inner):
        return f"<CreateBucketConfiguration>{inner}</CreateBucketConfiguration>".encode()
    tags = body("<Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags>")
    name, root = f"new-{chunked}".lower(), (USER, PASSWORD)
    denied = user_with(server, allow("s3:*"), deny("s3:TagResource"))
    if chunked:
        # As in S3: never done without it.
        assert ask(server, root, "PUT", f"/{name}", tags, chunked=True) == (411, "MissingContentLength")
        assert code_of(server.client().head_bucket, Bucket=name) == "404"
        return
    assert ask(server, denied, "PUT", f"/{name}", tags) == (403, "AccessDenied")
    assert ask(server, root, "PUT", f"/{name}", body("<LocationConstraint>eu-west-9</LocationConstraint>"), chunked=chunked)[0] == 400
    assert ask(server, root, "PUT", f"/{name}", tags, chunked=chunked) == (200, None)
    assert server.client().get_bucket_tagging(Bucket=name)["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert ask(server, root, "PUT", f"/{name}-bare") == (200, None)
    # Nor a length where there is no body at all.
    headers, _ = Signer(*root).headers("PUT", f"/{name}-none", f"127.0.0.1:{server.port}")
    assert send(server.port, "PUT", f"/{name}-none", headers, length=False).status == 200


def test_a_list_is_in_headers_or_in_a_body_of_any_length(server):
    """A body without a declared length beside a header was not looked at."""
    body, root = b"<AccessControlPolicy/>", (USER, PASSWORD)
    server.client().create_bucket(Bucket="listed", ObjectOwnership="ObjectWriter")
    for chunked in (False, True):
        signer, headers = Signer(*root), {"x-amz-acl": "private"}
        headers, _ = signer.headers("PUT", "/listed", f"127.0.0.1:{server.port}", payload=hashlib.sha256(body).hexdigest(), query=[("acl", "")], extra=headers)
        framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
        headers |= {"transfer-encoding": "chunked"} if chunked else {}
        answer = send(server.port, "PUT", "/listed?acl", headers, framed, length=not chunked)
        assert (answer.status, answer.code) == (400, "UnexpectedContent"), chunked


# F22: headers of this server are signed like those of S3.

def test_the_holder_of_a_url_adds_no_header_of_this_server(server):
    path = Signer(USER, PASSWORD).presigned("PUT", "/appends", f"127.0.0.1:{server.port}")
    assert requests.put(server.url + path, headers={"x-drystone-appends": "true"}, timeout=10).status_code == 403
    assert ask(server, (USER, PASSWORD), "PUT", "/appends", raw=b"x-drystone-appends: true\r\n") == (403, "AccessDenied")
    # Nor one of MinIO.
    put = Signer(USER, PASSWORD).presigned("PUT", f"/{BUCKET}/minio", f"127.0.0.1:{server.port}")
    assert requests.put(server.url + put, headers={"x-minio-anything": "true"}, timeout=10).status_code == 403
    assert requests.put(server.url + put, timeout=10).status_code == 200
    legacy = service(server, "s3", signature_version="s3").generate_presigned_url("create_bucket", Params={"Bucket": "appends"})
    assert "AWSAccessKeyId" in legacy
    assert requests.put(legacy, headers={"x-drystone-appends": "true"}, timeout=10).status_code == 403
    assert signed(server, "PUT", "/appends", b"", {"x-drystone-appends": "true"}).status_code == 200


# F27: what is asked of a service is in the body, which is signed with it.

@pytest.mark.parametrize("scope, method, path, body", [
    ("iam", "POST", "/", b"Action=CreateUser&Version=2010-05-08&UserName=injected"),
    ("sts", "POST", "/", b"Action=GetCallerIdentity&Version=2011-06-15"),
    ("s3", "POST", "/.drystone/v1", b'{"op":"account-list"}'),
    ("s3", "GET", "/minio/admin/v3/info", b""),
])
def test_no_service_takes_an_unsigned_body(server, scope, method, path, body):
    signer, host = Signer(USER, PASSWORD, service=scope), f"127.0.0.1:{server.port}"
    form = {"content-type": "application/x-www-form-urlencoded"}
    for payload, wanted in ((hashlib.sha256(body).hexdigest(), 200), ("UNSIGNED-PAYLOAD", 400), ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", 400)):
        headers, _ = signer.headers(method, path, host, payload=payload, extra=form)
        assert send(server.port, method, path, headers, body).status == wanted, payload


# F28: a header that means nothing to an operation is no condition key of it.
MEANT = {
    "s3:RequestObjectTag/team": ("x-amz-tagging", "team=blue", "blue"), "s3:x-amz-server-side-encryption": ("x-amz-server-side-encryption", "AES256", "AES256"),
    "s3:x-amz-acl": ("x-amz-acl", "private", "private"), "s3:x-amz-storage-class": ("x-amz-storage-class", "STANDARD", "STANDARD"),
    "s3:x-amz-metadata-directive": ("x-amz-metadata-directive", "COPY", "COPY"), "s3:if-none-match": ("if-none-match", "*", "*"),
    "s3:x-amz-copy-source": ("x-amz-copy-source", "bkt/k", "bkt/k"), "s3:x-amz-object-ownership": ("x-amz-object-ownership", "ObjectWriter", "ObjectWriter"),
    "s3:object-lock-legal-hold": ("x-amz-object-lock-legal-hold", "ON", "ON"), "s3:x-amz-website-redirect-location": ("x-amz-website-redirect-location", "/x", "/x"),
    "s3:x-amz-grant-read": ("x-amz-grant-read", 'id="x"', 'id="x"'),
}


@pytest.mark.parametrize("key", MEANT)
def test_a_header_without_meaning_allows_nothing(server, key):
    header, value, wanted = MEANT[key]
    server.client().put_object(Bucket=BUCKET, Key="k", Body=b"x")
    user = user_with(server, allow("s3:*", **{"StringEquals": {key: wanted}}))
    for method, path in (("GET", "k"), ("HEAD", "k"), ("DELETE", "k"), ("GET", "k?tagging"), ("GET", "k?acl"), ("DELETE", "k?tagging"), ("GET", "?list-type=2"),
                         ("GET", "?policy"), ("DELETE", "?policy")):
        path = f"/{BUCKET}{path}" if path.startswith("?") else f"/{BUCKET}/{path}"
        assert signed(server, method, path, b"", {header: value}, user).status_code in (403, 501), (method, path)
    assert code_of(server.client().head_object, Bucket=BUCKET, Key="k") == ""


# What a copy or a new name says of the target means nothing to the rights on the source.
COPIES = {"copy": ("PUT", f"/{BUCKET}/new", {"x-amz-copy-source": f"/{BUCKET}/k", "x-amz-tagging-directive": "REPLACE"}),
          "part": ("PUT", f"/{BUCKET}/new?partNumber=1&uploadId={{upload}}", {"x-amz-copy-source": f"/{BUCKET}/k"}),
          "rename": ("PUT", f"/{BUCKET}/new?renameObject", {"x-amz-rename-source": "k"})}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("key", [*MEANT, "s3:if-match"])
def test_what_is_said_of_the_target_does_not_read_the_source(server, key, way):
    header, value, wanted = {**MEANT, "s3:if-match": ("if-match", '"x"', '"x"')}[key]
    s3 = server.client()
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"x")
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="new")["UploadId"]
    method, path, extra = COPIES[way]
    # The right to write is there without a condition: only the source is decided on.
    user = user_with(server, allow("s3:Put*"), allow("s3:*", **{"StringEquals": {key: wanted}}))
    if key == "s3:x-amz-copy-source" and way != "rename":
        value = extra["x-amz-copy-source"]
        user = user_with(server, allow("s3:Put*"), allow("s3:*", **{"StringEquals": {key: value}}))
    answer = signed(server, method, path.format(upload=upload), b"", {**extra, header: value}, user)
    assert answer.status_code in (403, 501), answer.text
    assert code_of(s3.head_object, Bucket=BUCKET, Key="k") == ""
    assert code_of(s3.head_object, Bucket=BUCKET, Key="new") == "404"


def test_a_copy_says_how_its_source_is_read(server):
    server.client().put_object(Bucket=BUCKET, Key="k", Body=b"x")
    name = "x-amz-server-side-encryption-customer-algorithm"
    user = user_with(server, allow("s3:Put*"), allow("s3:Get*", **{"StringEquals": {f"s3:{name}": "AES256"}}))
    for header, refused in ((name, True), (f"x-amz-copy-source-{name.removeprefix('x-amz-')}", False)):
        answer = signed(server, "PUT", f"/{BUCKET}/new", b"", {"x-amz-copy-source": f"/{BUCKET}/k", header: "AES256"}, user)
        # There is no key with it.
        assert ("<Code>AccessDenied</Code>" in answer.text, answer.ok) == (refused, False), answer.text


def test_tags_in_a_header_are_facts_of_a_copy_that_takes_them(server):
    s3 = server.client()
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"x")
    blue = {"StringEquals": {"s3:RequestObjectTag/team": "blue"}}
    user = user_with(server, allow("s3:Get*"), allow("s3:Put*", **blue))
    copy = {"x-amz-copy-source": f"/{BUCKET}/k", "x-amz-tagging": "team=blue"}
    for directive, status in ((None, 403), ("COPY", 403), ("REPLACE", 200)):
        headers = {**copy, "x-amz-tagging-directive": directive} if directive else copy
        assert signed(server, "PUT", f"/{BUCKET}/tagged-copy", b"", headers, user).status_code == status, directive


# What a presigned URL says of its body is what is looked at, and a fact.

def url_saying(server, key, name, said, hashed=None):
    """A presigned URL with a parameter about its body."""
    signer, host, path = Signer(*key), f"127.0.0.1:{server.port}", f"/{BUCKET}/said"
    query = [("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), (name, said), ("X-Amz-Credential", f"{key[0]}/{signer.scope}"),
             ("X-Amz-Date", signer.date), ("X-Amz-Expires", "60"), ("X-Amz-SignedHeaders", "host")]
    query.append(("X-Amz-Signature", signer.signature("PUT", path, query, {"host": host}, ["host"], hashed or said)))
    return f"{server.url}{path}?{urllib.parse.urlencode(query)}"


OF_BODY = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize("said, status", [("UNSIGNED-PAYLOAD", 200), (OF_BODY, 200), (hashlib.sha256(b"y").hexdigest(), 400), ("x" * 64, 400), ("x", 400),
                                          ("", 400)])
def test_a_url_says_of_its_body_what_can_be_checked(server, said, status):
    answer = requests.put(url_saying(server, (USER, PASSWORD), "X-Amz-Content-Sha256", said), data=b"x", timeout=10)
    assert answer.status_code == status, answer.text


def test_a_url_cannot_make_its_unsigned_body_look_signed(server):
    """The parameter in lower case is not looked at, nor by version 2 at all."""
    key = user_with(server, allow("s3:*"), deny("s3:*", **{"StringEquals": {"s3:x-amz-content-sha256": "UNSIGNED-PAYLOAD"}}))
    url = url_saying(server, key, "X-Amz-Content-Sha256", OF_BODY)
    assert requests.put(url, data=b"x", timeout=10).status_code == 200
    expires, path = str(int(time.time()) + 60), f"/{BUCKET}/said"
    text = f"PUT\n\n\n{expires}\nx-amz-content-sha256:{OF_BODY}\n{path}"
    mac = base64.b64encode(hmac.new(key[1].encode(), text.encode(), hashlib.sha1).digest()).decode()
    old = {"AWSAccessKeyId": key[0], "Expires": expires, "Signature": mac, "x-amz-content-sha256": OF_BODY}
    for url in (url_saying(server, key, "x-amz-content-sha256", OF_BODY, "UNSIGNED-PAYLOAD"), f"{server.url}{path}?{urllib.parse.urlencode(old)}"):
        answer = requests.put(url, data=b"y", timeout=10)
        assert (answer.status_code, "<Code>AccessDenied</Code>" in answer.text) == (403, True), answer.text
