"""What connections hold besides the byte budget, by the limit that follows from it: 128 MiB and the budget in all."""
import json
import os
import resource
import socket
import ssl
import threading
import time

import pytest

from pressure import MIB
from test_encryption import certificates

BUDGET, ABOVE = 4 * MIB, 128 * MIB
SOURCES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
HEAD = b"GET /b/k HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: %s\r\n" % (n, b"a" * 100) for n in range(40))
FIRST = {
    "half a head": HEAD[:4000],
    "an answered request": b"GET /minio/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "a preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
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


def open_many(server, count, data, context=None):
    """Connections of a few sources, each with the same first bytes, none read; those that are refused do not count."""
    socks = []

    def of_source(source):
        for _ in range(count // len(SOURCES)):
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

    threads = [threading.Thread(target=of_source, args=(source,)) for source in SOURCES]
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
    assert len(socks) > 1500
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
