"""What someone sends who means harm, or whose client is broken: the exact refusal, and nothing stored."""
import base64
import datetime
import hashlib
import json

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, Server
from raw import EMPTY, Signer, crc32, quote, send

BUCKET = "probes"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    server = Server(folder / "drive", "--access-log", str(folder / "access.log")).wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET)
    s3.create_bucket(Bucket="secret")
    s3.put_object(Bucket="secret", Key="x", Body=b"secret bytes")
    yield server
    code, log = server.stop()
    assert code == 0
    assert PASSWORD not in log


@pytest.fixture
def nothing_stored(server):
    yield
    listed = server.client().list_objects_v2(Bucket=BUCKET)
    assert listed["KeyCount"] == 0, listed.get("Contents")


def host(server):
    return f"127.0.0.1:{server.port}"


def put(server, key="k", body=b"body", signer=None, **how):
    signer = signer or Signer(USER, PASSWORD)
    path = f"/{BUCKET}/{key}"
    payload = how.pop("payload", hashlib.sha256(body).hexdigest())
    headers, _ = signer.headers("PUT", path, host(server), payload=payload, **how)
    return send(server.port, "PUT", quote(path, "/"), headers, body)


# Signatures.

@pytest.mark.parametrize("name, value", [
    ("x-amz-copy-source", "/secret/x"), ("x-amz-acl", "public-read"), ("x-amz-tagging", "a=b"),
    ("x-amz-bypass-governance-retention", "true"), ("x-amz-meta-a", "b"), ("x-amz-storage-class", "GLACIER")])
def test_header_that_is_not_signed(server, nothing_stored, name, value):
    answer = put(server, unsigned={name: value})
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert name in answer.body.decode()


@pytest.mark.parametrize("name", ["x-amz-copy-source", "x-amz-acl", "x-amz-meta-a"])
def test_presigned_put_with_a_header_that_is_not_signed(server, nothing_stored, name):
    target = Signer(USER, PASSWORD).presigned("PUT", f"/{BUCKET}/k", host(server))
    answer = send(server.port, "PUT", target, {"host": host(server), name: "/secret/x"})
    assert (answer.status, answer.code) == (403, "AccessDenied")


def test_host_that_is_not_signed(server, nothing_stored):
    answer = put(server, leave_out=("host",))
    assert (answer.status, answer.code) == (403, "AccessDenied")


def test_unknown_algorithm(server, nothing_stored):
    answer = put(server, algorithm="FOO4-HMAC-SHA256")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


@pytest.mark.parametrize("change", [
    {"scope_day": "20200101"}, {"service": "ec2"}, {"terminator": "aws5_request"}, {"region": "mars-1"}])
def test_scope_of_something_else(server, nothing_stored, change):
    answer = put(server, signer=Signer(USER, PASSWORD, **change))
    assert (answer.status, answer.code) == (400, "AuthorizationHeaderMalformed")


@pytest.mark.parametrize("minutes", [-16, 16])
def test_clock_that_is_off(server, nothing_stored, minutes):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    answer = put(server, signer=Signer(USER, PASSWORD, when=when))
    assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")
    assert b"<MaxAllowedSkewMilliseconds>900000<" in answer.body


@pytest.mark.parametrize("signer, code", [
    (Signer("nobody", PASSWORD), "InvalidAccessKeyId"), (Signer(USER, "wrong"), "SignatureDoesNotMatch")])
def test_wrong_signer(server, nothing_stored, signer, code):
    answer = put(server, signer=signer)
    assert (answer.status, answer.code) == (403, code)
    assert f"<AWSAccessKeyId>{signer.access}<".encode() in answer.body
    assert PASSWORD.encode() not in answer.body


@pytest.mark.parametrize("value", ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a", "AWS4-HMAC-SHA256 x=y, z",
                                   "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=zz"])
def test_authorization_in_pieces(server, nothing_stored, value):
    headers, _ = Signer(USER, PASSWORD).headers("PUT", f"/{BUCKET}/k", host(server))
    answer = send(server.port, "PUT", f"/{BUCKET}/k", {**headers, "authorization": value})
    assert (answer.status, answer.code) == (400, "AuthorizationHeaderMalformed")


def test_no_content_sha256(server, nothing_stored):
    headers, _ = Signer(USER, PASSWORD).headers("PUT", f"/{BUCKET}/k", host(server))
    del headers["x-amz-content-sha256"]
    answer = send(server.port, "PUT", f"/{BUCKET}/k", headers, b"body")
    assert (answer.status, answer.code) == (400, "InvalidRequest")


def test_body_of_another_digest(server, nothing_stored):
    answer = put(server, body=b"body", payload=hashlib.sha256(b"other").hexdigest())
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")


@pytest.mark.parametrize("expires", [30 * 86400, 604801, -1, 0, "soon"])
def test_presigned_for_a_time_that_is_not_allowed(server, expires):
    target = Signer(USER, PASSWORD).presigned("GET", "/secret/x", host(server), expires=expires)
    answer = send(server.port, "GET", target, {"host": host(server)})
    assert (answer.status, answer.code) == (400, "AuthorizationQueryParametersError")


def test_signature_in_header_and_query(server):
    signer = Signer(USER, PASSWORD)
    headers, _ = signer.headers("GET", "/secret/x", host(server))
    answer = send(server.port, "GET", signer.presigned("GET", "/secret/x", host(server)), headers)
    assert (answer.status, answer.code) == (400, "InvalidArgument")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST"])
def test_no_signature(server, method):
    answer = requests.request(method, f"{server.url}/secret/x", timeout=10)
    assert answer.status_code == (405 if method == "POST" else 403)  # No operation posts to an object.
    assert server.client().get_object(Bucket="secret", Key="x")["Body"].read() == b"secret bytes"


# Chunked bodies.

def chunked(server, chunks, length=None, mode="STREAMING-AWS4-HMAC-SHA256-PAYLOAD", trailer=None):
    """Sends what `chunks` makes of the signer and the seed."""
    signer, path = Signer(USER, PASSWORD), f"/{BUCKET}/k"
    extra = {"x-amz-decoded-content-length": str(length)} if length is not None else {}
    if trailer:
        extra["x-amz-trailer"] = trailer
    headers, seed = signer.headers("PUT", path, host(server), payload=mode, extra=extra)
    return send(server.port, "PUT", path, headers, b"".join(chunks(signer, seed)))


PIECES = [bytes([n]) * 10_000 for n in range(3)]


def flipped(signer, seed):
    chunks = signer.chunks(seed, PIECES)
    chunks[1] = chunks[1][:-3] + bytes([chunks[1][-3] ^ 1]) + chunks[1][-2:]
    return chunks


def test_chunked_body_as_it_should_be(server):
    answer = chunked(server, lambda signer, seed: signer.chunks(seed, PIECES), 30_000)
    assert answer.status == 200
    s3 = server.client()
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"".join(PIECES)
    s3.delete_object(Bucket=BUCKET, Key="k")


def test_flipped_bit_in_a_chunk(server, nothing_stored):
    answer = chunked(server, flipped, 30_000)
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("change, code", [
    (lambda chunks: [b"".join(chunks)[:400]], "IncompleteBody"),
    (lambda chunks: [b"".join(chunks)[:1000]], "IncompleteBody"),
    (lambda chunks: chunks[:-1], "IncompleteBody"),
    (lambda chunks: [*chunks, b"more"], None),
    (lambda chunks: [*chunks[:1], *chunks[2:]], None)], ids=["400", "1000", "no end", "more", "one missing"])
def test_chunked_body_cut_or_stretched(server, nothing_stored, change, code):
    answer = chunked(server, lambda signer, seed: change(signer.chunks(seed, PIECES)), 30_000)
    assert answer.status in (400, 403)
    assert code is None or answer.code == code


@pytest.mark.parametrize("line", [b"1" * 20, b"-1", b"0x10", b"ffffffffffffffff", b"100000000", b"", b"zz", b" 10"])
def test_chunk_size_that_is_none(server, nothing_stored, line):
    before = server.resident()
    answer = chunked(server, lambda signer, seed: [line + b";chunk-signature=" + b"0" * 64 + b"\r\n" + b"x" * 100], 16)
    assert answer.status in (400, 403)
    assert server.resident() - before < 16 << 20


def test_no_decoded_length(server, nothing_stored):
    answer = chunked(server, lambda signer, seed: signer.chunks(seed, PIECES))
    assert (answer.status, answer.code) == (411, "MissingContentLength")


@pytest.mark.parametrize("length", [29_999, 30_001, 0])
def test_decoded_length_that_is_wrong(server, nothing_stored, length):
    answer = chunked(server, lambda signer, seed: signer.chunks(seed, PIECES), length)
    assert answer.status == 400


SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"


@pytest.mark.parametrize("sent, status, code", [
    ([("x-amz-checksum-crc32", crc32(b"".join(PIECES)))], 200, None),
    ([("x-amz-checksum-crc32", crc32(b"other"))], 400, "BadDigest"),
    ([("x-amz-checksum-sha1", "AAAA")], 400, None),
    (None, 400, None)], ids=["right", "wrong", "another name", "none"])
def test_trailer(server, sent, status, code):
    answer = chunked(server, lambda signer, seed: signer.chunks(seed, PIECES, sent), 30_000, SIGNED_TRAILER,
                     "x-amz-checksum-crc32")
    assert answer.status == status
    assert code is None or answer.code == code
    s3 = server.client()
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == (1 if status == 200 else 0)
    s3.delete_object(Bucket=BUCKET, Key="k")


@pytest.mark.parametrize("change", ["AAAAAA==", "no base64"])
def test_unsigned_trailer_that_is_wrong(server, nothing_stored, change):
    body = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + change.encode() + b"\r\n\r\n"
    answer = chunked(server, lambda signer, seed: [body], 5, "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                     "x-amz-checksum-crc32")
    assert answer.status == 400


def test_signature_of_elliptic_curves(server, nothing_stored):
    answer = put(server, payload="STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
                 extra={"x-amz-decoded-content-length": "4"})
    assert (answer.status, answer.code) == (501, "NotImplemented")


# Digests.

def wrong_digests():
    yield {"ContentMD5": base64.b64encode(hashlib.md5(b"other").digest()).decode()}
    yield {"ChecksumCRC32": crc32(b"other")}
    yield {"ChecksumSHA256": base64.b64encode(hashlib.sha256(b"other").digest()).decode()}


@pytest.mark.parametrize("digest", list(wrong_digests()), ids=lambda d: next(iter(d)))
@pytest.mark.parametrize("operation", ["put", "part", "delete"])
def test_wrong_digest(server, operation, digest):
    s3 = server.client()
    with pytest.raises(ClientError) as refused:
        if operation == "put":
            s3.put_object(Bucket=BUCKET, Key="k", Body=b"body", **digest)
        elif operation == "part":
            upload = s3.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
            try:
                s3.upload_part(Bucket=BUCKET, Key="k", UploadId=upload, PartNumber=1, Body=b"body", **digest)
            finally:
                assert "Parts" not in s3.list_parts(Bucket=BUCKET, Key="k", UploadId=upload)
                s3.abort_multipart_upload(Bucket=BUCKET, Key="k", UploadId=upload)
        else:
            name, value = next(iter(digest.items()))
            wire = {"ContentMD5": "content-md5", "ChecksumCRC32": "x-amz-checksum-crc32",
                    "ChecksumSHA256": "x-amz-checksum-sha256"}[name]
            body = b"<Delete><Object><Key>x</Key></Object></Delete>"
            headers, _ = Signer(USER, PASSWORD).headers(
                "POST", "/secret", host(server), payload=hashlib.sha256(body).hexdigest(), query=[("delete", "")],
                extra={wire: value})
            answer = send(server.port, "POST", "/secret?delete=", headers, body)
            raise ClientError({"Error": {"Code": answer.code}}, "DeleteObjects")
    assert refused.value.response["Error"]["Code"] == "BadDigest"
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
    assert s3.head_object(Bucket="secret", Key="x")


# Bodies and documents that are too large.

def test_form_of_a_stranger_is_refused_before_its_file(server):
    before = server.resident()
    headers = {"host": host(server), "content-type": "multipart/form-data; boundary=b", "content-length": str(512 << 20)}
    body = (b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nk\r\n'
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b"x" * 1000)
    answer = send(server.port, "POST", f"/{BUCKET}", headers, body)
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert server.resident() - before < 16 << 20


def test_fields_of_a_form_are_limited(server, nothing_stored):
    field = b'--b\r\nContent-Disposition: form-data; name="x-ignore-a"\r\n\r\n' + b"x" * 30_000 + b"\r\n--b--\r\n"
    answer = send(server.port, "POST", f"/{BUCKET}",
                  {"host": host(server), "content-type": "multipart/form-data; boundary=b"}, field)
    assert (answer.status, answer.code) == (400, "MaxPostPreDataLengthExceededError")


@pytest.mark.parametrize("document", [
    b'<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">]><Delete><Object><Key>&a;</Key></Object></Delete>',
    b"<Delete>" * 200_000,
    b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
    b"<Delete>" + b"<Object><Key>" + b"k" * (20 << 20) + b"</Key></Object></Delete>",
    b"\xff\xfe", b"", b"<Delete></Delete>"], ids=["entity", "nested", "1001", "20 MiB", "no text", "empty", "no key"])
def test_delete_document(server, document):
    before = server.resident()
    md5 = base64.b64encode(hashlib.md5(document).digest()).decode()
    headers, _ = Signer(USER, PASSWORD).headers(
        "POST", "/secret", host(server), payload=hashlib.sha256(document).hexdigest(), query=[("delete", "")],
        extra={"content-md5": md5})
    answer = send(server.port, "POST", "/secret?delete=", headers, document)
    codes = ["MalformedXML", "MaxMessageLengthExceeded", "MissingRequestBodyError"]
    assert answer.status == 400 and answer.code in codes
    assert server.resident() - before < 64 << 20


def test_header_section_that_is_too_large(server):
    answer = requests.get(f"{server.url}/", headers={f"x-filler-{n}": "v" * 200 for n in range(200)}, timeout=10)
    assert answer.status_code == 400
    assert "<Code>RequestHeaderSectionTooLarge<" in answer.text


# Names.

@pytest.mark.parametrize("key", ["../up", "%2e%2e/up", "/etc/passwd", "a/../../b", "a//b", ".", "..", "a\\..\\b", "ü/\u2028"])
def test_key_is_a_name_and_no_path(server, key):
    drive = server.directory
    before = sorted(p.name for p in drive.parent.iterdir())
    assert put(server, key=key, body=b"mine").status == 200
    s3 = server.client()
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == [key]
    headers, _ = Signer(USER, PASSWORD).headers("DELETE", f"/{BUCKET}/{key}", host(server))
    assert send(server.port, "DELETE", quote(f"/{BUCKET}/{key}", "/"), headers).status == 204
    assert sorted(p.name for p in drive.parent.iterdir()) == before


def test_headers_of_replication_are_ignored_or_refused(server):
    answer = put(server, extra={"x-minio-source-etag": "0" * 32, "x-minio-source-mtime": "2001-01-01T00:00:00Z"})
    s3 = server.client()
    if answer.status == 200:
        found = s3.head_object(Bucket=BUCKET, Key="k")
        assert found["ETag"] == f'"{hashlib.md5(b"body").hexdigest()}"'
        assert found["LastModified"].year > 2020
    else:
        assert answer.status == 403
    s3.delete_object(Bucket=BUCKET, Key="k")


def sub_resources():
    """The sub-resources of the operation table, from the published service model in botocore."""
    model = boto3.session.Session().client("s3", region_name="us-east-1").meta.service_model
    for name in model.operation_names:
        uri = model.operation_model(name).http["requestUri"]
        if "?" in uri:
            yield uri.split("?")[1].split("&")[0].split("=")[0]


@pytest.mark.parametrize("name", sorted(set(sub_resources())))
def test_delete_of_a_sub_resource_leaves_the_bucket(server, name):
    path = f"/{BUCKET}"
    headers, _ = Signer(USER, PASSWORD).headers("DELETE", path, host(server), query=[(name, "")])
    answer = send(server.port, "DELETE", f"{path}?{name}=", headers)
    assert answer.status in (204, 400, 405, 501), answer.body
    assert server.client().head_bucket(Bucket=BUCKET)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("name", sorted(set(sub_resources())))
@pytest.mark.parametrize("path", [f"/{BUCKET}", "/secret/x"])
def test_no_route_without_a_signature(server, method, name, path):
    answer = requests.request(method, f"{server.url}{path}?{name}", timeout=10)
    assert answer.status_code in (400, 403, 405, 501)
    assert server.client().get_object(Bucket="secret", Key="x")["Body"].read() == b"secret bytes"


def test_connection_goes_on_after_an_error(server):
    with requests.Session() as session:
        for _ in range(3):
            answer = session.put(f"{server.url}/{BUCKET}/k", data=b"x" * 1000, timeout=10)
            assert answer.status_code == 403
            assert len(answer.headers["x-amz-request-id"]) == 16
