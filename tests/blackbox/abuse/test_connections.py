"""Connections of silent, slow and numerous clients: each is bounded in time and number, and the drive stays."""
import re
import resource
import socket
import ssl
import struct
import time

import pytest
import requests
from conftest import PASSWORD, USER, Server
from raw import Signer
from test_encryption import certificates

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = struct.pack(">I", 0)[1:] + bytes([4, 0]) + struct.pack(">I", 0)
QUICK = ("--read-header-timeout", "1s", "--idle-timeout", "2s")


def connect(server, data=b""):
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    sock.sendall(data)
    return sock


def seconds_open(sock, most=15):
    """Seconds until the server closes the connection."""
    sock.settimeout(most)
    begun = time.monotonic()
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - begun


@pytest.mark.parametrize("data", [
    b"", b"P", b"G", PREFACE[:10], PREFACE[:23], PREFACE, PREFACE + SETTINGS,
    b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000, b"\r\n\r\n\r\n",
], ids=["nothing", "P", "G", "preface-10", "preface-23", "preface", "settings", "line", "head", "newlines"])
def test_a_client_that_does_not_finish_a_request_is_let_go(start, data):
    server = start(*QUICK)
    assert seconds_open(connect(server, data)) < 8
    assert requests.get(f"{server.url}/minio/health/live").status_code == 200


def test_a_kept_connection_is_closed_when_it_is_idle(start):
    server = start(*QUICK)
    sock = connect(server, b"GET /minio/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
    assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    assert 1 < seconds_open(sock) < 8


def test_an_idle_handshake_and_an_idle_console_are_let_go(start, tmp_path):
    server = start(*QUICK, *certificates(tmp_path / "certs"))
    assert seconds_open(connect(server)) < 8
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(connect(server)) as sock:
        sock.sendall(PREFACE + SETTINGS)
        assert seconds_open(sock) < 8
    console = socket.create_connection(("127.0.0.1", server.console_port))
    assert seconds_open(console) < 8


def many(server, count, data=b""):
    socks = []
    for _ in range(count):
        try:
            socks.append(connect(server, data))
        except OSError:
            break
    return socks


@pytest.fixture
def few_descriptors():
    """Servers that this test starts have 256 descriptors, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def begin(start):
        return start(prefix=("prlimit", "--nofile=256:256"))

    yield begin
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_idle_sockets_end_neither_writing_nor_the_service(start, few_descriptors):
    server = few_descriptors(start)
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    socks = many(server, 400)
    for number in range(40):
        # Each is long enough that segments of 8 MiB are opened meanwhile.
        s3.put_object(Bucket="bucket", Key=f"k{number}", Body=b"x" * (1 << 20))
    for sock in socks:
        sock.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert server.client().put_object(Bucket="bucket", Key="after", Body=b"y")
            break
        except Exception:
            time.sleep(0.1)
    else:
        raise AssertionError("the server does not come back")
    assert len(s3.list_objects_v2(Bucket="bucket")["Contents"]) == 41


def test_connections_above_the_limit_are_told_so(start):
    server = start("--max-connections", "8", "--max-connections-per-source", "8")
    urls = [f"{server.url}/minio/health/live", f"http://127.0.0.1:{server.console_port}/"]
    held, answers, deadline = [], [], time.monotonic() + 10
    # Connections of requests that were answered count until they are closed, so that it takes more than one try.
    while [answer.status_code for answer in answers] != [503, 503]:
        assert time.monotonic() < deadline, "one limit for all ports"
        held += many(server, 8)
        answers = [requests.get(url, timeout=5) for url in urls]
    assert [answer.headers["retry-after"] for answer in answers] == ["1", "1"]
    for sock in held:
        sock.close()
    deadline = time.monotonic() + 5
    while requests.get(f"{server.url}/minio/health/live", timeout=5).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("option, total", [("--max-connections", 4), ("--max-connections-per-source", 64)])
def test_refused_connections_leave_a_line(start, option, total):
    server = start("--max-connections", str(total), "--max-connections-per-source", "4")
    held, deadline = [], time.monotonic() + 10
    while not held or requests.get(f"{server.url}/minio/health/live", timeout=5).status_code != 503:
        assert time.monotonic() < deadline
        held += many(server, 4)
    held += many(server, 40)
    for sock in held:
        sock.close()
    log = server.stop()[1]
    lines = [line for line in log.splitlines() if "a connection is refused" in line]
    assert 1 <= len(lines) <= 12, "a few say it, and how many there were"
    assert all(f"option={option} " in line and "limit=4" in line and "127.0.0.1" in line for line in lines), lines


def test_more_connections_than_descriptors_is_said(start):
    server = start("--max-connections", "5000", "--max-connections-per-source", "4000",
                   prefix=("prlimit", "--nofile=400:400"))
    log = server.stop()[1]
    total, of_source = (next(line for line in log.splitlines() if f"{option} is above" in line)
                        for option in ("--max-connections", "--max-connections-per-source"))
    limit = int(re.search(r"asked=5000 limit=(\d+)", total)[1])
    assert 100 < limit < 300 and f"asked=4000 limit={limit}" in of_source
    quiet = start("--max-connections", "100", directory=server.directory, prefix=("prlimit", "--nofile=400:400"))
    assert "is above" not in quiet.stop()[1]


def test_the_soft_limit_of_descriptors_is_raised(start):
    server = start(prefix=("prlimit", "--nofile=128:4096"))
    limits = open(f"/proc/{server.process.pid}/limits").read()
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == ["4096", "4096"]


MALFORMED = {
    "negative length": (b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", {400}),
    "no number": (b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: five\r\n\r\n", {400}),
    "plus sign": (b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", {400}),
    # The parser of the protocol has no room for these two, and says so in its own way.
    "most of 64 bits": (b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", {400, 431}),
    "most but one": (b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551614\r\n\r\n", {400, 431}),
    "most but two": (b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551613\r\n\r\n", {400, 403}),
    "beyond 64 bits": (b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", {400}),
    "two lengths": (b"PUT /b/k HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", {400}),
    "unknown coding": (b"PUT /b/k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: rot13\r\n\r\nhello", {400, 501}),
    "long header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * (100 << 10) + b"\r\n\r\n", {400, 431}),
    "many headers": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(5000)) + b"\r\n",
                     {400, 431}),
    "long target": (b"GET /" + b"y" * (100 << 10) + b" HTTP/1.1\r\nHost: a\r\n\r\n", {400, 414, 431}),
    "bad line": (b"GET\r\n\r\n", {400}),
    "bad version": (b"GET / HTTP/7.1\r\nHost: a\r\n\r\n", {400, 505}),
    "binary": (bytes(range(1, 256)) * 4 + b"\r\n\r\n", {400}),
    "no host": (b"GET /b/k HTTP/1.1\r\n\r\n", {400}),
    "no host, signed": (b"GET /b/k HTTP/1.1\r\nAuthorization: AWS4-HMAC-SHA256 x\r\n\r\n", {400}),
    "two hosts": (b"GET /b/k HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {400}),
    "garbage behind a request": (b"GET /minio/health/live HTTP/1.1\r\nHost: a\r\n\r\n\x00\x01garbage\r\n\r\n", {200}),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("connections") / "drive").wait_ready()
    yield server
    server.kill()


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_answered(shared, name):
    data, statuses = MALFORMED[name]
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", shared.port), timeout=5) as sock:
            try:
                sock.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass
            line = sock.makefile("rb").readline()
        assert line.startswith(b"HTTP/1.1 "), (name, line)
        assert int(line.split()[1]) in statuses, (name, line)


def test_a_post_without_a_known_sub_resource_is_no_unknown_operation(shared):
    signer = Signer(USER, PASSWORD)
    host = f"127.0.0.1:{shared.port}"
    for target, query in [("/bucket", []), ("/bucket", [("x", "1")]), ("/bucket/key", [])]:
        headers, _ = signer.headers("POST", target, host, query=query)
        text = "&".join(f"{k}={v}" for k, v in query)
        answer = requests.post(f"{shared.url}{target}?{text}", headers=headers)
        assert answer.status_code in (400, 405), (target, answer.text)


def test_an_early_refusal_arrives(shared):
    """The refusal of a body is read by a client that is still sending it, every time."""
    body = b"x" * (8 << 20)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", shared.port), timeout=5) as sock:
            sock.sendall(b"PUT /bucket/key HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
            try:
                sock.sendall(body)
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert sock.makefile("rb").readline().startswith(b"HTTP/1.1 403")
