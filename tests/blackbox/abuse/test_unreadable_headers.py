"""A header that changes what a request does is readable, or the request is refused: never done as if the header was not there (findings F1
and F1b of the second attack).

The headers come from botocore's model. Each is sent raw, since clients refuse to send such bytes.
"""
import email.header
import hashlib
import re

import botocore.session
import pytest
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, Server
from people import signed
from raw import Signer, read_answer
import socket

MODEL = botocore.session.get_session().get_service_model("s3")
BUCKET = "headers"
# Kept as they are sent, as of any object; or the transport's own.
KEPT = {"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires", "x-amz-meta-",
        "x-amz-website-redirect-location", "content-length"}
CONDITIONS = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]
# Method and target of operations on objects; `{upload}` is an open upload, `{n}` a name of its own.
REQUESTS = {
    "PutObject": ("PUT", "/k{n}", {}, b"evil"), "GetObject": ("GET", "/k", {}, b""), "HeadObject": ("HEAD", "/k", {}, b""),
    "DeleteObject": ("DELETE", "/k{n}", {}, b""), "CopyObject": ("PUT", "/copy{n}", {"x-amz-copy-source": f"/{BUCKET}/k"}, b""),
    "RenameObject": ("PUT", "/new{n}?renameObject", {"x-amz-rename-source": "k"}, b""),
    "CreateMultipartUpload": ("POST", "/up{n}?uploads", {}, b""), "UploadPart": ("PUT", "/up?partNumber=1&uploadId={upload}", {}, b"part"),
    "UploadPartCopy": ("PUT", "/up?partNumber=1&uploadId={upload}", {"x-amz-copy-source": f"/{BUCKET}/k"}, b""),
    "CompleteMultipartUpload": ("POST", "/up?uploadId={upload}", {}, b"<CompleteMultipartUpload/>"),
    "AbortMultipartUpload": ("DELETE", "/up?uploadId={upload}", {}, b""), "GetObjectAttributes": ("GET", "/k?attributes", {}, b""),
    "PutObjectTagging": ("PUT", "/k?tagging", {}, b"<Tagging><TagSet></TagSet></Tagging>"), "PutObjectAcl": ("PUT", "/k?acl", {}, b""),
    "DeleteObjects": ("POST", "?delete", {}, b"<Delete><Object><Key>k</Key></Object></Delete>"),
    "ListObjectsV2": ("GET", "?list-type=2", {}, b""), "PutBucketVersioning": ("PUT", "?versioning", {}, b"<VersioningConfiguration/>"),
}


def headers_of(operation):
    members = MODEL.operation_model(operation).input_shape.members.values()
    found = [m.serialization["name"].lower() for m in members if m.serialization.get("location") in ("header", "headers")]
    return [name for name in found if name not in KEPT]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("headers") / "drive").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"first")
    server.upload = s3.create_multipart_upload(Bucket=BUCKET, Key="up")["UploadId"]
    yield server
    server.stop()


def ask(server, operation, lines, number=0):
    """Sends an operation with further header lines, as bytes; they are not signed, as far as signatures go."""
    method, target, extra, body = REQUESTS[operation]
    target = f"/{BUCKET}" + target.format(upload=server.upload, n=number)
    path, _, query = target.partition("?")
    pairs = [tuple(piece.partition("=")[::2]) for piece in query.split("&") if piece]
    named = {name for name, _ in lines}
    extra = {name: value for name, value in extra.items() if name not in named}
    # What can be signed is.
    lines_by_name = {name: value for name, value in lines if name.startswith("x-amz-") and value.isascii() and len(named) == len(lines)}
    extra |= {name: value.decode() for name, value in lines_by_name.items()}
    signer, host = Signer(USER, PASSWORD), f"127.0.0.1:{server.port}"
    headers, _ = signer.headers(method, path, host, payload=hashlib.sha256(body).hexdigest(), query=pairs, extra=extra)
    for name in named & set(headers):
        del headers[name]
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + f"content-length: {len(body)}\r\n"
    raw = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in lines)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(head.encode() + raw + b"connection: close\r\n\r\n" + body)
        stream = sock.makefile("rb")
        if method == "HEAD":
            return int(stream.readline().split()[1]), None
        answer = read_answer(stream)
        return answer.status, answer.code


@pytest.mark.parametrize("operation", REQUESTS)
def test_what_cannot_be_read_is_refused(server, operation):
    names = dict.fromkeys([*headers_of(operation), *CONDITIONS, "range", "content-md5", "x-amz-content-sha256", "x-minio-anything"])
    passed = []
    for name in names:
        for value in (b"\xff", "\u00e9".encode(), b"*\xff"):
            status, code = ask(server, operation, [(name, value)])
            if status != 400 or code not in (None, "InvalidArgument"):
                passed.append((name, value, status, code))
    assert not passed
    assert server.client().get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"first"


def test_what_is_kept_may_be_any_text(server):
    for name in sorted(KEPT - {"content-length", "x-amz-meta-", "content-type", "x-amz-website-redirect-location"}):
        assert ask(server, "PutObject", [(name, "\u00e9".encode())], number=1) == (200, None), name
    assert ask(server, "PutObject", [("x-anything", b"\xff")], number=1) == (200, None)


@pytest.mark.parametrize("name", ["x-amz-acl", "x-amz-tagging", "x-amz-storage-class", "content-md5", "content-type", "content-disposition", "expires",
                                  "x-amz-website-redirect-location", "x-amz-server-side-encryption", "x-amz-object-lock-mode", "x-amz-mfa"])
def test_what_is_sent_twice_is_refused(server, name):
    """One of the two would be looked at, by conditions and by the write."""
    assert ask(server, "PutObject", [(name, b"a"), (name, b"b")]) == (400, "InvalidArgument")


def test_lines_of_a_list_are_one_list(server):
    """RFC 9110, section 5.3; the coding of the request is none of the object's (field report 8)."""
    s3 = server.client()
    etag = s3.head_object(Bucket=BUCKET, Key="k")["ETag"].encode()
    assert ask(server, "GetObject", [("if-match", b'"other"'), ("if-match", etag)]) == (200, None)
    assert ask(server, "GetObject", [("if-none-match", b'"other"'), ("if-none-match", etag)])[0] == 304
    assert ask(server, "DeleteObject", [("if-match", b'"a"'), ("if-match", b'"b"')], number=7)[0] in (404, 412)
    lines = [("content-encoding", b"gzip"), ("content-encoding", b"aws-chunked"), ("cache-control", b"no-cache"), ("cache-control", b"private"),
             ("content-language", b"de"), ("content-language", b"en")]
    assert ask(server, "PutObject", lines, number=8) == (200, None)
    stored = s3.head_object(Bucket=BUCKET, Key="k8")
    assert (stored["ContentEncoding"], stored["CacheControl"]) == ("gzip", "no-cache,private")


@pytest.mark.parametrize("text", ["\u00c4M\u00c4Z\u00d5\u00d1 S3", "\u4e2d" * 60, "\U0001f600 and more " * 9])
def test_metadata_comes_back_as_encoded_words(server, text):
    """RFC 2047, as S3 answers it: raw bytes beyond ASCII make the object unreadable for strict clients (field report 9)."""
    headers, _ = Signer(USER, PASSWORD).headers("PUT", f"/{BUCKET}/words", f"127.0.0.1:{server.port}", payload=hashlib.sha256(b"x").hexdigest(),
                                                extra={"x-amz-meta-a": text, "x-amz-meta-plain": "=?a?=", "content-disposition": text})
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        lines = "".join(f"{n}: {v}\r\n" for n, v in headers.items())
        sock.sendall(f"PUT /{BUCKET}/words HTTP/1.1\r\n{lines}content-length: 1\r\n\r\nx".encode())
        answer = read_answer(sock.makefile("rb"))
    assert answer.status == 200, answer.body
    for method in ("GET", "HEAD"):
        answer = signed(server, method, f"/{BUCKET}/words")
        assert answer.headers["x-amz-meta-plain"] == "=?a?="
        for name in ("x-amz-meta-a", "content-disposition"):
            words = answer.headers[name].split(" ")
            assert all(len(word) <= 75 for word in words)
            assert str(email.header.make_header(email.header.decode_header(answer.headers[name]))) == text.strip()
    copied = signed(server, "PUT", f"/{BUCKET}/words2", b"", {"x-amz-copy-source": f"/{BUCKET}/words"})
    assert copied.status_code == 200
    assert signed(server, "HEAD", f"/{BUCKET}/words2").headers["x-amz-meta-a"] == answer.headers["x-amz-meta-a"]


def test_an_answer_says_what_its_headers_can(server):
    s3 = server.client()
    latin = s3.get_object(Bucket=BUCKET, Key="k", ResponseContentDisposition="attachment; filename=\u00fc")
    assert latin["ContentDisposition"] == "attachment; filename=\u00fc"
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket=BUCKET, Key="k", ResponseContentDisposition="attachment; filename=\u4e2d")
    assert refused.value.response["Error"]["Code"] == "InvalidArgument"
    assert refused.value.response["Error"]["ArgumentName"] == "response-content-disposition"


def test_parameters_that_stand_for_headers_are_readable(server):
    url = Signer(USER, PASSWORD)
    host = f"127.0.0.1:{server.port}"
    pairs = [("x-amz-acl", "\u00e9")]
    headers, _ = url.headers("PUT", f"/{BUCKET}/q", host, query=pairs)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        lines = "".join(f"{n}: {v}\r\n" for n, v in headers.items())
        sock.sendall(f"PUT /{BUCKET}/q?x-amz-acl=%C3%A9 HTTP/1.1\r\n{lines}content-length: 0\r\n\r\n".encode())
        answer = read_answer(sock.makefile("rb"))
    assert (answer.status, answer.code) == (400, "InvalidArgument")


# What a write does not look at it refuses: a policy may demand the condition.
TAKES = {"PutObject": {"if-match", "if-none-match"}, "CopyObject": {"if-match", "if-none-match"}, "DeleteObject": {"if-match"},
         "CompleteMultipartUpload": {"if-match", "if-none-match"}, "RenameObject": set(CONDITIONS),
         # These replace nothing: what completes the upload looks at the condition, which clients send with all of them.
         **dict.fromkeys(["CreateMultipartUpload", "UploadPart", "AbortMultipartUpload"], {"if-match", "if-none-match"})}
VALUES = {"if-match": b'"none"', "if-none-match": b"*", "if-modified-since": b"Mon, 01 Jan 2035 00:00:00 GMT",
          "if-unmodified-since": b"Mon, 01 Jan 2001 00:00:00 GMT"}


@pytest.mark.parametrize("operation", [name for name, row in REQUESTS.items() if row[0] not in ("GET", "HEAD")])
def test_conditions_are_looked_at_or_refused(server, operation):
    for name in CONDITIONS:
        if name not in TAKES.get(operation, ()):
            assert ask(server, operation, [(name, VALUES[name])]) == (501, "NotImplemented"), name


@pytest.mark.parametrize("name, value", [("If-None-Match", "*"), ("If-Match", '"none"')])
def test_what_completes_an_upload_decides_on_its_condition(server, name, value):
    """As minio-go does: the condition is sent with each request of an upload."""
    condition = {name: value}
    for key, status in (("k", 412), ("fresh" + name, 200 if name == "If-None-Match" else 404)):
        path = f"/{BUCKET}/{key}"
        answer = signed(server, "POST", f"{path}?uploads", b"", condition)
        assert answer.status_code == 200, answer.text
        upload = answer.text.split("<UploadId>")[1].split("</UploadId>")[0]
        part = signed(server, "PUT", f"{path}?partNumber=1&uploadId={upload}", b"second", condition)
        assert part.status_code == 200, part.text
        body = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part.headers['etag']}</ETag></Part></CompleteMultipartUpload>"
        answer = signed(server, "POST", f"{path}?uploadId={upload}", body.encode(), condition)
        assert answer.status_code == status, answer.text
        if status != 200:
            assert signed(server, "DELETE", f"{path}?uploadId={upload}", b"", condition).status_code == 204
    assert server.client().get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"first"


@pytest.mark.parametrize("operation", ["PutObject", "CopyObject", "RenameObject", "CompleteMultipartUpload"])
def test_only_the_star_is_a_condition_on_what_is_new(server, operation):
    for value in (b'"zzz"', b'*, "zzz"', b"zzz"):
        assert ask(server, operation, [("if-none-match", value)]) == (501, "NotImplemented"), value
    assert ask(server, operation, [("if-none-match", b"")]) == (400, "InvalidArgument")
    assert server.client().get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"first"


@pytest.mark.parametrize("operation, prefix", [("RenameObject", ""), ("RenameObject", "x-amz-rename-source-"), ("CopyObject", "x-amz-copy-source-"),
                                               ("UploadPartCopy", "x-amz-copy-source-")])
def test_malformed_dates_do_not_make_a_write_unconditional(server, operation, prefix):
    for name in ("if-modified-since", "if-unmodified-since"):
        assert ask(server, operation, [(prefix + name, b"yesterday")]) == (400, "InvalidArgument"), name


def test_no_header_is_forgotten(server):
    """Each operation on objects that writes is tried, as far as the model and this server have it."""
    writes = {name for name in MODEL.operation_names if re.match("(Put|Copy|Rename|Upload|Complete|Create.*Upload)", name) and "Key" in
              MODEL.operation_model(name).input_shape.members}
    others = {"PutObjectAnnotation", "PutObjectLegalHold", "PutObjectRetention"}
    assert writes - set(REQUESTS) == others
