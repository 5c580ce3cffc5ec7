"""Bodies of MinIO's admin API: what they cost is bounded, and one caller's do not hold up another's."""
import hashlib
import os
import socket
import threading
import time

from conftest import PASSWORD, USER
from raw import Signer, send

MIB = 1 << 20


def call(server, method, path, body=b"", key=(USER, PASSWORD)):
    host = f"127.0.0.1:{server.port}"
    path, _, query = path.partition("?")
    pairs = [tuple(pair.split("=")) for pair in query.split("&") if pair]
    headers, _ = Signer(*key).headers(method, path, host, payload=hashlib.sha256(body).hexdigest(), query=pairs)
    return send(server.port, method, f"{path}?{query}", headers, body=body)


def peak_of(server, flood):
    """The most resident bytes above those of the start while some threads flood."""
    before, peak, stop = server.resident(), 0, time.monotonic() + 4
    threads = [threading.Thread(target=flood, args=(stop,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    slowest = 0
    while time.monotonic() < stop:
        peak = max(peak, server.resident() - before)
        begun = time.monotonic()
        assert call(server, "GET", "/minio/admin/v3/list-users").status == 200
        slowest = max(slowest, time.monotonic() - begun)
    for thread in threads:
        thread.join()
    return peak, slowest


def leave(port, headers, body):
    """Sends a request, and leaves before its answer."""
    head = "PUT /minio/admin/v3/add-service-account HTTP/1.1\r\n"
    head += "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + f"content-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(head.encode() + body)
        time.sleep(0.1)


def test_values_of_a_body_are_counted(start):
    server = start("--memory-budget", "64MiB")
    path = "/minio/admin/v3/add-service-account"
    for value in (b"0", b'""', b"[]"):
        body = b'{"policy":[' + b",".join([value] * 20_000) + b"]}"
        answer = call(server, "PUT", path, body)
        assert (answer.status, b"values" in answer.body) == (400, True), answer.body
    assert call(server, "PUT", path, b" " * (257 << 10)).status == 400


def test_derivations_take_turns(start):
    """A derivation takes 64 MiB: there is one, also when clients leave while theirs runs."""
    server = start("--memory-budget", "64MiB")
    call(server, "GET", "/minio/admin/v3/list-users")
    assert call(server, "PUT", "/minio/admin/v3/add-user?accessKey=stranger",
                b'{"secretKey":"stranger-secret","status":"enabled"}').status == 200
    body = os.urandom(32) + b"\0" + os.urandom(8) + os.urandom(200)

    def flood(stop):
        while time.monotonic() < stop:
            host = f"127.0.0.1:{server.port}"
            headers, _ = Signer("stranger", "stranger-secret").headers(
                "PUT", "/minio/admin/v3/add-service-account", host, payload=hashlib.sha256(body).hexdigest())
            try:
                leave(server.port, headers, body)
            except OSError:
                pass

    peak, slowest = peak_of(server, flood)
    assert peak < 128 * MIB, peak / MIB
    assert slowest < 4
