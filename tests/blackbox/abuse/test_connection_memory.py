"""What connections hold besides the byte budget, by the limit that follows from it: 128 MiB and the budget in all."""
import json
import os
import resource
import socket
import ssl
import threading
import time

import pytest

import raw_h2
from people import allow, signed_headers, user_with
from pressure import MIB, watched
from test_encryption import certificates

BUDGET, ABOVE = 4 * MIB, 128 * MIB
SOURCES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
HEAD = b"GET /b/k HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: %s\r\n" % (n, b"a" * 100) for n in range(40))
GET = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/b/k")]
FIRST = {
    "half a head": HEAD[:4000],
    "an answered request": b"GET /minio/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "a preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    # One header, and then its index: each byte is a header for the parser, and the head never ends.
    "a head of HTTP/2": raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS, 0, 0) + raw_h2.frame(
        raw_h2.HEADERS, 1, 1, raw_h2.block(GET) + b"\x40\x01a\0" + b"\xbe" * 1950),
    "a promised answer": raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS, 0, 0) + raw_h2.frame(
        raw_h2.HEADERS, 5, 1, raw_h2.block(GET)) + raw_h2.frame(
        5, 0, 1, b"\0\0\0\2" + raw_h2.block(GET) + b"\x40\x01a\0" + b"\xbe" * 1950),
    "many headers of HTTP/2": raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS, 0, 0) + raw_h2.frame(
        raw_h2.HEADERS, 1, 1, raw_h2.block(GET) + b"".join(b"\0\x03%03d\0" % number for number in range(900))),
}


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 16_000:
        pytest.skip("this process may not have as many connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(server, source):
    """A connection whose client takes little of what is sent."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(20)
    sock.bind((source, 0))
    sock.connect(("127.0.0.1", server.port))
    return sock


def shake_hands(sock, context):
    """A handshake, of which nothing is kept here but what encrypts the first request."""
    taken, given = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(taken, given)
    while True:
        try:
            tls.do_handshake()
            return tls, given
        except ssl.SSLWantReadError:
            sock.sendall(given.read())
            got = sock.recv(65536)
            if not got:
                raise ConnectionResetError from None
            taken.write(got)


def open_many(server, count, data, context=None, sources=SOURCES):
    """Connections of a few sources, each with the same first bytes, none read; those that are refused do not count."""
    socks = []

    def of_source(source):
        for _ in range(count // len(sources)):
            sock = connect(server, source)
            try:
                if context is None:
                    sock.sendall(data)
                else:
                    tls, given = shake_hands(sock, context)
                    tls.write(data)
                    sock.sendall(given.read())
            except (OSError, ssl.SSLError):
                sock.close()
                continue
            socks.append(sock)

    threads = [threading.Thread(target=of_source, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return socks


def most_resident(server, seconds=2):
    deadline, most = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        most = max(most, server.resident())
        time.sleep(0.05)
    return most


@pytest.mark.parametrize("first", FIRST)
def test_open_connections_stay_within_the_promise(start, many_descriptors, first):
    server = start("--memory-budget", "4MiB")
    before = server.resident()
    socks = open_many(server, 6000, FIRST[first])
    most = most_resident(server)
    assert len(socks) > (1500 if first != "a promised answer" else 0)
    assert most < BUDGET + ABOVE, most / MIB
    for sock in socks:
        sock.close()
    deadline = time.monotonic() + 20
    while server.resident() > before + 24 * MIB:
        assert time.monotonic() < deadline, (server.resident() - before) / MIB
        time.sleep(0.1)


def test_silent_readers_over_tls_stay_within_the_promise(start, many_descriptors, tmp_path):
    """Method: an object that ends in what TLS holds of it, asked for by as many as may; nothing of it is read."""
    server = start("--memory-budget", "4MiB", *certificates(tmp_path / "certs"))
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=os.urandom(300_000))
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    context = ssl._create_unverified_context()
    socks = open_many(server, 3000, b"GET /bucket/k HTTP/1.1\r\nHost: x\r\n\r\n", context)
    most = most_resident(server)
    assert len(socks) > 1000
    assert most < BUDGET + ABOVE, most / MIB
    for sock in socks:
        sock.close()
    # It still serves whole objects over TLS, also when a reader is slow and room is short.
    assert len(s3.get_object(Bucket="bucket", Key="k")["Body"].read()) == 300_000


def answers(sock, timeout):
    """Kinds of the frames that come, with their first byte."""
    sock.settimeout(timeout)
    data = b""
    try:
        while got := sock.recv(1 << 18):
            data += got
    except (TimeoutError, BlockingIOError):
        pass
    found = []
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        found.append((data[3], raw_h2.first_field(data[9:9 + length]) if data[3] == raw_h2.HEADERS else None))
        data = data[9 + length:]
    return found


@pytest.mark.parametrize("budget", [4, 128])
def test_bursts_of_small_requests_stay_within_the_promise(start, many_descriptors, budget):
    """As many requests as a connection may send at once, on many connections with one write each; all answers are read. Others are
    served meanwhile, and what the burst took is returned while its connections stay open."""
    server = start("--memory-budget", f"{budget}MiB")
    begin = raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS, 0, 0) + raw_h2.frame(raw_h2.SETTINGS, raw_h2.ACK, 0)
    # The bystander comes from none of these.
    socks = open_many(server, 1200, begin, sources=("127.0.0.2", "127.0.0.3", "127.0.0.4"))
    assert len(socks) == 1200
    before = most_resident(server, 0.5)
    block = raw_h2.block(GET)
    burst = b"".join(raw_h2.frame(raw_h2.HEADERS, 5, 1 + 2 * number, block) for number in range(120))
    with watched(server) as watch:
        for sock in socks:
            sock.sendall(burst)
        time.sleep(2)
        seen = [answers(sock, 0) for sock in socks]
    assert watch.failed is None and watch.waited < 2, watch.waited
    most = before + watch.grown
    assert most < (budget + 128) * MIB, most / MIB
    # Requests were answered, and those beyond the streams of a connection, or what may be held, refused.
    kinds = [kind for of_one in seen for kind, _ in of_one]
    assert kinds.count(raw_h2.HEADERS) > 1000 and kinds.count(raw_h2.RST_STREAM) > 1000
    deadline = time.monotonic() + 20
    while server.resident() > before + 48 * MIB:
        assert time.monotonic() < deadline, (server.resident() - before) / MIB
        time.sleep(0.1)
    for sock in socks:
        sock.close()


def test_trailers_of_answers_that_are_not_taken_stay_within_the_promise(start, many_descriptors):
    """A head behind the one that began a stream is none that S3 reads: it ends the connection, and takes no other with it."""
    server = start("--memory-budget", "128MiB")
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=b"body")
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}
    s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    get = raw_h2.block([*GET[:2], (":authority", f"127.0.0.1:{server.port}"), (":path", "/bucket/k")])
    trailers = b"".join(b"\0\x03%03d\0" % number for number in range(900))
    # Nothing of answers is taken.
    begin = raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS, 0, 0, b"\0\4\0\0\0\0")
    streams = range(1, 201, 2)
    asked = b"".join(raw_h2.frame(raw_h2.HEADERS, raw_h2.END_HEADERS, stream, get) for stream in streams)
    socks = []
    for number in range(64):
        socks.append(connect(server, SOURCES[number % 3]))
        socks[-1].sendall(begin + asked)
        # What is held until an answer is there bounds how many come at a time.
        time.sleep(0.03)
    time.sleep(1)
    before = server.resident()
    for sock in socks:
        try:
            for stream in streams:
                sock.sendall(raw_h2.frame(raw_h2.HEADERS, 5, stream, trailers))
        except OSError:
            pass
    most = most_resident(server)
    assert most < before + 64 * MIB, (most / MIB, before / MIB)
    for sock in socks:
        sock.close()
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"body"


def test_silent_connections_of_a_source_leave_streams_to_others(start, many_descriptors):
    server = start()
    socks = open_many(server, 1200, b"", sources=("127.0.0.2",))
    sock = connect(server, "127.0.0.3")
    sock.sendall(raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS, 0, 0))
    head = sock.recv(9)
    settings = sock.recv(int.from_bytes(head[:3], "big"))
    told = {settings[at + 1]: int.from_bytes(settings[at + 2:at + 6], "big") for at in range(0, len(settings), 6)}
    assert len(socks) == 1200 and told[3] >= 60, told
    for other in [*socks, sock]:
        other.close()


def test_a_connection_alone_has_all_its_streams(start):
    """Beside few others, a client gets as many as clients ask for; one that opens more has those refused and may open them again."""
    server = start()
    sock = connect(server, "127.0.0.1")
    block = raw_h2.block([*GET[:3], (":path", "/minio/health/live")])
    sock.sendall(raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS, 0, 0)
                 + b"".join(raw_h2.frame(raw_h2.HEADERS, 5, 1 + 2 * number, block) for number in range(100)))
    assert sum(kind == raw_h2.HEADERS for kind, _ in answers(sock, 1)) == 100
    sock.close()


@pytest.mark.parametrize("budget", [4, 128])
def test_bodies_that_are_sent_ahead_stay_within_the_promise(start, many_descriptors, budget):
    """Method: uploads of eight users send as much as the window lets them and then wait for room, of which there is none."""
    server = start("--memory-budget", f"{budget}MiB")
    server.client().create_bucket(Bucket="bucket")
    keys = [user_with(server, allow("s3:PutObject")) for _ in range(8)]
    piece = raw_h2.frame(raw_h2.DATA, 0, 1, bytes(16384))
    socks, deadline = [], time.monotonic() + 40
    for number in range(500):
        sock = connect(server, SOURCES[number % 3])
        sock.sendall(raw_h2.PREFACE + raw_h2.frame(raw_h2.SETTINGS, 0, 0))
        # The window counts once it is known.
        sock.recv(9)
        out = raw_h2.frame(raw_h2.SETTINGS, raw_h2.ACK, 0)
        for stream in (1, 3, 5, 7):
            path = f"/bucket/{number}-{stream}"
            headers = signed_headers(server, "PUT", path, keys[number % 8], {"content-length": str(1 << 28)})
            block = raw_h2.block([(":method", "PUT"), (":scheme", "http"), (":authority", f"127.0.0.1:{server.port}"), (":path", path),
                                  *headers])
            out += raw_h2.frame(raw_h2.HEADERS, raw_h2.END_HEADERS, stream, block)
            out += 7 * (piece[:5] + stream.to_bytes(4, "big") + piece[9:])
        try:
            sock.settimeout(1)
            sock.sendall(out)
        except OSError:
            pass
        socks.append(sock)
        assert time.monotonic() < deadline
    most = most_resident(server)
    assert most < (budget + 128) * MIB, most / MIB
    for sock in socks:
        sock.close()
