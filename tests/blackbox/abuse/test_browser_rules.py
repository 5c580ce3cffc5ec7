"""What pages of other origins ask before a signature: rules of buckets are compiled once, and a request holds none."""
import concurrent.futures
import socket
import time

import pytest
import requests
from botocore.exceptions import ClientError

MIB = 1 << 20
ORIGIN = "https://page.example"


def rule(**more):
    return {"AllowedOrigins": [ORIGIN], "AllowedMethods": ["GET", "PUT"], **more}


def rules(s3, *given):
    s3.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": list(given)})


def preflight(server, names, method="PUT"):
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": names}
    return requests.options(f"{server.url}/bucket/key", headers=headers, timeout=30)


def test_a_preflight_asks_for_so_many_headers(start):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    rules(s3, rule(AllowedHeaders=["X-*", "content-type"]))
    names = ",".join(f"x-{n}" for n in range(127)) + ",Content-Type"
    allowed = preflight(server, names)
    assert allowed.status_code == 200 and allowed.headers["access-control-allow-headers"].count(",") == 127
    for refused in (names + ",x-more", names + ",x" * 10_000, "y"):
        answer = preflight(server, refused)
        assert answer.status_code == 403 and "AccessForbidden" in answer.text


def test_names_that_are_exposed_are_bounded(start):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    rules(s3, rule(ExposeHeaders=["x" * 126] * 64))
    assert len(requests.get(f"{server.url}/bucket/key", headers={"Origin": ORIGIN},
                            timeout=30).headers["access-control-expose-headers"]) == 64 * 128 - 2
    with pytest.raises(ClientError) as refused:
        rules(s3, rule(ExposeHeaders=["x" * 126] * 64 + ["y"]))
    assert refused.value.response["Error"]["Code"] == "InvalidRequest"


def test_rules_follow_their_document(start):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="key", Body=b"x")

    def allowed(method="GET"):
        url = s3.generate_presigned_url("delete_bucket_cors" if method == "DELETE" else "get_object",
                                        {"Bucket": "bucket", **({} if method == "DELETE" else {"Key": "key"})})
        answer = requests.request(method, url, headers={"Origin": ORIGIN}, timeout=30)
        return answer.headers.get("access-control-allow-origin")

    assert allowed() is None
    rules(s3, rule())
    assert allowed() == ORIGIN
    rules(s3, rule(AllowedOrigins=["*"]))
    assert allowed() == "*"
    rules(s3, rule(AllowedMethods=["DELETE"]))
    assert allowed() is None
    # A page that ends the rules still sees that it did.
    assert allowed("DELETE") == ORIGIN
    assert allowed("GET") is None


def test_requests_of_pages_hold_no_rules(start):
    """150 uploads that never end: each held the whole document as a tree."""
    server = start("--memory-budget", "64MiB")
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="key", Body=b"x")
    rules(s3, rule(AllowedHeaders=[f"x-{n}" for n in range(1_500)]))
    host = f"127.0.0.1:{server.port}"
    before = server.resident()
    sockets = []
    for _ in range(150):
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.sendall(f"PUT /bucket/key HTTP/1.1\r\nHost: {host}\r\nOrigin: {ORIGIN}\r\nContent-Length: 9\r\n\r\n".encode())
        sockets.append(sock)
    names = ",".join(["x-1499"] * 100)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        flood = [pool.submit(preflight, server, names) for _ in range(60)]
        slowest = 0
        for _ in range(10):
            begun = time.monotonic()
            assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"x"
            slowest = max(slowest, time.monotonic() - begun)
        assert {answer.result().status_code for answer in flood} == {200}
    assert slowest < 2
    assert server.resident() - before < 48 * MIB
    for sock in sockets:
        sock.close()
