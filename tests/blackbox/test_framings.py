"""The framings of bodies that SDKs send, and the names of files in forms (field report 10, 11, 14, 15)."""
import base64
import hashlib

import pytest
import requests

from conftest import PASSWORD, USER, Server
from raw import Signer, mac

BUCKET = "framings"
BODY = b"framed " * 100


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("framings") / "drive").wait_ready()
    server.client().create_bucket(Bucket=BUCKET)
    yield server
    server.stop()


def put(server, key, payload, frame, extra):
    signer, path, host = Signer(USER, PASSWORD), f"/{BUCKET}/{key}", f"127.0.0.1:{server.port}"
    extra = {"x-amz-decoded-content-length": str(len(BODY)), "content-encoding": "aws-chunked", **extra}
    headers, seed = signer.headers("PUT", path, host, payload=payload, extra=extra)
    return requests.put(f"http://{host}{path}", data=frame(signer, seed), headers=headers, timeout=20)


def signed_frame(between, name="x-amz-checksum-sha256", end=b"\r\n\r\n", blank=b""):
    """Chunks with a signed trailer; `between` stands after the trailer's line, as different SDKs have it."""
    def frame(signer, seed):
        value = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
        pieces, previous = b"".join(signer.chunks(seed, [BODY])), None
        pieces = pieces[:pieces.rindex(b"0;chunk-signature=")]
        empty = hashlib.sha256(b"").hexdigest()
        first = pieces.split(b"chunk-signature=")[1][:64].decode()
        previous = mac(signer.key(), "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", signer.date, signer.scope, first, empty, empty])).hex()
        digest = hashlib.sha256(f"{name}:{value}\n".encode()).hexdigest()
        of_trailer = mac(signer.key(), "\n".join(["AWS4-HMAC-SHA256-TRAILER", signer.date, signer.scope, previous, digest])).hex()
        return (pieces + f"0;chunk-signature={previous}\r\n".encode() + blank + f"{name}:{value}".encode() + between
                + f"x-amz-trailer-signature:{of_trailer}".encode() + end)
    return frame


SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
FRAMES = {"as documented": signed_frame(b"\r\n"), "of minio-go": signed_frame(b"\n\r\n"), "with line feeds": signed_frame(b"\n"),
          "with a blank line before": signed_frame(b"\r\n", blank=b"\r\n"), "without the last line": signed_frame(b"\n\r\n", end=b"\r\n")}


@pytest.mark.parametrize("frame", FRAMES)
def test_signed_trailers(server, frame):
    answer = put(server, frame.replace(" ", "-"), SIGNED, FRAMES[frame], {"x-amz-trailer": "x-amz-checksum-sha256"})
    assert answer.status_code == 200, answer.text
    assert server.client().get_object(Bucket=BUCKET, Key=frame.replace(" ", "-"))["Body"].read() == BODY


@pytest.mark.parametrize("frame", [signed_frame(b"\n\r\n\r\n\r\n\r\n"), lambda *them: FRAMES["of minio-go"](*them).split(b"x-amz-trailer-sig")[0],
                                   lambda *them: FRAMES["of minio-go"](*them).replace(b"x-amz-checksum-sha256:", b"x-amz-checksum-sha256:A")])
def test_trailers_that_are_cut_or_changed_are_refused(server, frame):
    answer = put(server, "no", SIGNED, frame, {"x-amz-trailer": "x-amz-checksum-sha256"})
    assert answer.status_code in (400, 403), answer.text
    assert not server.client().list_objects_v2(Bucket=BUCKET, Prefix="no").get("Contents")


def test_an_unsigned_stream_needs_no_trailer(server):
    frame = lambda *_: f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"
    answer = put(server, "plain", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", frame, {})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-amz-checksum-type"] == "FULL_OBJECT" and "x-amz-checksum-crc64nvme" in answer.headers
    trailing = lambda *_: f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    assert put(server, "plain2", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", trailing, {}).status_code == 400


@pytest.mark.parametrize("source, key", [("a+b", "a b"), ("a%2Bb", "a+b"), ("a%20b", "a b"), ("a%2520b", "a%20b")])
def test_a_plus_sign_in_a_source_is_a_space(server, source, key):
    s3 = server.client()
    s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    signer, host = Signer(USER, PASSWORD), f"127.0.0.1:{server.port}"
    headers, _ = signer.headers("PUT", f"/{BUCKET}/copy", host, extra={"x-amz-copy-source": f"{BUCKET}/{source}"})
    answer = requests.put(f"http://{host}/{BUCKET}/copy", headers=headers)
    assert answer.status_code == 200, answer.text
    assert s3.get_object(Bucket=BUCKET, Key="copy")["Body"].read() == key.encode()


@pytest.mark.parametrize("filename", ["file.txt", "C:\\dir\\file.txt", "/home/u/file.txt", "C:\\dir/file.txt", "..\\..\\file.txt"])
def test_a_file_of_a_form_has_its_last_name(server, filename):
    s3 = server.client()
    form = s3.generate_presigned_post(BUCKET, "form/${filename}", Conditions=[["starts-with", "$key", ""]])
    answer = requests.post(form["url"], data=form["fields"], files={"file": (filename, b"x")})
    assert answer.status_code == 204, answer.text
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="form/")["Contents"]]
    assert keys == ["form/file.txt"]
    s3.delete_object(Bucket=BUCKET, Key="form/file.txt")


def test_a_file_named_with_quotes_keeps_them(server):
    s3 = server.client()
    form = s3.generate_presigned_post(BUCKET, "q/${filename}", Conditions=[["starts-with", "$key", ""]])
    fields = "".join(f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in form["fields"].items())
    body = fields + '--b\r\nContent-Disposition: form-data; name="file"; filename="a \\"b\\" c.txt"\r\n\r\nx\r\n--b--\r\n'
    answer = requests.post(form["url"], data=body.encode(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 204, answer.text
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="q/")["Contents"][0]["Key"] == 'q/a "b" c.txt'
