"""What is made of the head of a request is held while its body is waited for, before anything is known of the client."""
import re
import socket
import time

import pytest

from conftest import PASSWORD, USER
from raw import Signer, send
from raw_h2 import END_HEADERS, HEADERS, Connection, block, frame

MIB = 1 << 20


def assert_little_is_held(server, before):
    """For four seconds, beyond what was held before."""
    deadline, peak = time.monotonic() + 4, 0
    while time.monotonic() < deadline:
        peak = max(peak, server.resident() - before)
        time.sleep(0.1)
    assert peak < 96 * MIB, peak / MIB


def test_queries_and_paths_are_bounded(start):
    server = start()
    s3, host = server.client(), {"host": f"127.0.0.1:{server.port}"}
    s3.create_bucket(Bucket="bucket")
    many = "&".join(["a"] * 257)
    for target in (f"/bucket/k?{many}", f"/.drystone/v1?{many}", f"/minio/admin/v3/info?{many}", f"/?{many}"):
        answer = send(server.port, "GET", target, host)
        assert answer.status == 400 and b"URI" in answer.body, target[:30]
    answer = send(server.port, "GET", "/bucket/" + "a" * 8200, host)
    assert (answer.status, answer.code) == (400, "KeyTooLongError")
    # The longest key, with every byte encoded, and a query that is long but not many.
    key = "\x7f" * 1024
    s3.put_object(Bucket="bucket", Key=key, Body=b"x")
    assert s3.get_object(Bucket="bucket", Key=key, ResponseContentDisposition="d" * 4000)["Body"].read() == b"x"


@pytest.mark.parametrize("target", ["/.drystone/v1?" + "a&" * 20_000, "/nosuch/k?tagging&" + "a=&" * 15_000,
                                    "/nosuch/" + "a" * 40_000 + "?tagging"])
def test_heads_that_wait_for_a_body_are_counted(start, target):
    server = start("--memory-budget", "64MiB")
    server.client().create_bucket(Bucket="bucket")
    before, sockets = server.resident(), []
    head = f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 100\r\n\r\n".encode()
    for _ in range(300):
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.sendall(head)
        sockets.append(sock)
    assert_little_is_held(server, before)
    # Others have short heads.
    assert server.client().list_objects_v2(Bucket="bucket")["KeyCount"] == 0
    for sock in sockets:
        sock.close()


def test_streams_with_long_heads_are_counted(start):
    server = start("--memory-budget", "64MiB")
    server.client().create_bucket(Bucket="bucket")
    before, connections = server.resident(), []
    for _ in range(8):
        connection = Connection(server.port, window=0)
        connections.append(connection)
        for _ in range(100):
            connection.get("/nosuch/k?" + "a" * 7000, f"127.0.0.1:{server.port}")
    assert_little_is_held(server, before)
    assert server.client().list_objects_v2(Bucket="bucket")["KeyCount"] == 0


FORM = [("content-type", "multipart/form-data; boundary=b")]


@pytest.mark.parametrize(("method", "path", "extra"), [("PUT", "/nosuch/" + "a" * 3800 + "?tagging", []), ("POST", "/nosuch", FORM),
                                                       ("POST", "/.drystone/v1?" + "a" * 3800, [])])
def test_requests_whose_bodies_never_come_are_counted(start, method, path, extra):
    """Method: more streams than may be in progress for one source, each with a short head and without its body."""
    server = start("--memory-budget", "64MiB")
    server.client().create_bucket(Bucket="bucket")
    before, connections = server.resident(), []
    for _ in range(40):
        connection = Connection(server.port)
        connections.append(connection)
        fields = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path), ("content-length", "100"), *extra]
        frames = b""
        for _ in range(100):
            frames += frame(HEADERS, END_HEADERS, connection.next_stream, block(fields))
            connection.next_stream += 2
        connection.socket.sendall(frames)
    assert_little_is_held(server, before)
    for connection in connections:
        connection.socket.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if server.resident() - before < 64 * MIB:
            break
        time.sleep(0.2)
    assert server.resident() - before < 64 * MIB
    assert server.client().list_objects_v2(Bucket="bucket")["KeyCount"] == 0


def test_a_long_copy_is_a_document_from_its_first_byte(start):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    part = 96 * MIB
    upload = s3.create_multipart_upload(Bucket="bucket", Key="large")["UploadId"]
    parts = [{"PartNumber": number, "ETag": s3.upload_part(Bucket="bucket", Key="large", UploadId=upload,
                                                           PartNumber=number, Body=bytes(part))["ETag"]}
             for number in (1, 2, 3)]
    s3.complete_multipart_upload(Bucket="bucket", Key="large", UploadId=upload, MultipartUpload={"Parts": parts})
    host = f"127.0.0.1:{server.port}"
    for number in range(6):
        headers, _ = Signer(USER, PASSWORD).headers("PUT", f"/bucket/copy{number}", host,
                                                    extra={"x-amz-copy-source": "/bucket/large"})
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
            head = f"PUT /bucket/copy{number} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
            sock.sendall(head.encode() + b"content-length: 0\r\nconnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        body = answer.split(b"\r\n\r\n", 1)[1]
        chunks = re.split(rb"(?:^|\r\n)[0-9a-fA-F]+\r\n", body) if b"transfer-encoding: chunked" in answer.lower() else [body]
        document = b"".join(chunks)
        assert document.startswith(b"<?xml") and document.count(b"<?xml") == 1, document[:200]
        assert b"<CopyObjectResult" in document
