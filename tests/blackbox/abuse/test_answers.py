"""Answers that are made in memory: errors are small whatever they repeat, and what a client does not read counts in
the byte budget until its connection ends."""
import concurrent.futures
import socket
import time

from conftest import PASSWORD, USER
from pressure import until, used
from raw import Signer, send
from raw_h2 import Connection

KIB, MIB = 1 << 10, 1 << 20
BUDGET = 24 * MIB
CLIENTS, STREAMS = BUDGET * 15 // 32, BUDGET // 32


def begin(start):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "DRYSTONE_PROMETHEUS_AUTH_TYPE": "public"}
    return start("--memory-budget", str(BUDGET), env=env)


def held(server):
    """Bytes of the budget that answers hold."""
    return used(server, "answer") + used(server, "stream")


def test_errors_are_small_whatever_they_repeat(start):
    server = begin(start)
    host = f"127.0.0.1:{server.port}"
    form = {"host": host, "content-type": "application/x-www-form-urlencoded"}
    signer = Signer(USER, "wrong")
    signed, _ = signer.headers("GET", "/bucket", host)
    signed["authorization"] = signed["authorization"].replace("SignedHeaders=", "SignedHeaders=" + "'" * 20_000 + ";")
    answers = [send(server.port, "GET", target, {"host": host}) for target in (
        "/bucket/" + "&" * 60_000, "/bucket/" + "%22" * 20_000, "/" + "'" * 60_000, "/bucket?versions&x=" + "&" * 60_000,
        "/bucket/k?versionId=" + "'" * 60_000, "/minio/admin/v3/" + "'" * 60_000,
        "/bucket/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + "'" * 60_000)]
    answers.append(send(server.port, "GET", "/bucket", signed))
    answers += [send(server.port, "POST", "/", form, body=body) for body in (
        b"Action=" + b"%22" * 20_000, b"Action=AssumeRoleWithWebIdentity&WebIdentityToken=" + b"%22" * 20_000)]
    for answer in answers:
        assert 400 <= answer.status < 600 and len(answer.body) <= 8 * KIB, (answer.status, len(answer.body))
    delete = b"<Delete>" + b"<Object><Key>%s</Key></Object>" % (b"&#34;" * 100_000) + b"</Delete>"
    server.client().create_bucket(Bucket="bucket")
    headers, _ = Signer(USER, PASSWORD).headers("POST", "/bucket", host, payload="UNSIGNED-PAYLOAD", query=[("delete", "")])
    answer = send(server.port, "POST", "/bucket?delete=", headers, body=delete)
    assert answer.status == 200 and b"KeyTooLong" in answer.body and len(answer.body) <= 8 * KIB


def test_streams_whose_answer_is_not_read_are_counted(start):
    """Without credentials. Others are served meanwhile; so is the address, which may hold half of all."""
    server = begin(start)
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    connections = []
    for _ in range(8):
        connection = Connection(server.port, window=0)
        connections.append(connection)
        for _ in range(50):
            connection.get("/nowhere/" + "&" * 2000, f"127.0.0.1:{server.port}")
    until(lambda: held(server) >= STREAMS // 3, timeout=30)
    for _ in range(10):
        begun = time.monotonic()
        s3.put_object(Bucket="bucket", Key="key", Body=b"x")
        assert s3.list_objects_v2(Bucket="bucket")["KeyCount"] == 1
        assert time.monotonic() - begun < 3
        assert held(server) <= CLIENTS // 2 + 16 * KIB
    for connection in connections:
        connection.socket.close()
    until(lambda: held(server) == 0, timeout=30)


def test_pages_that_are_not_read_are_counted(start):
    server = begin(start)
    s3 = server.client()
    s3.create_bucket(Bucket="long")
    host, signer = f"127.0.0.1:{server.port}", Signer(USER, PASSWORD)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: s3.put_object(Bucket="long", Key=f"{n:03}" + '"' * 1000), range(300)))
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="long")["Contents"]]
    assert keys == [f"{n:03}" + '"' * 1000 for n in range(300)], "a page that is larger than usual is whole"
    target = signer.presigned("GET", "/long", host, expires=600)
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    sockets = []
    for _ in range(20):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(request)
        sockets.append(sock)
    # 20 pages of 1.8 MB do not fit in the half that one caller gets.
    until(lambda: held(server) >= CLIENTS // 4, timeout=30)
    # The kernel takes little of a page, which stays counted until its client reads it.
    for _ in range(10):
        assert CLIENTS // 4 <= held(server) <= CLIENTS * 5 // 8
        time.sleep(0.1)
    for sock in sockets:
        sock.close()
    until(lambda: held(server) == 0, timeout=30)
