"""What a server holds, and how long a bystander waits, while it is under pressure."""
import contextlib
import re
import socket
import threading
import time

import requests

MIB = 1 << 20


def held(server):
    """Bytes of memory of the process that belong to no file."""
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))


def used(server, kind):
    """Bytes of the budget that one kind of work holds."""
    text = requests.get(f"{server.url}/minio/v2/metrics/cluster", timeout=20).text
    return int(re.search(r'drystone_budget_used_bytes\{[^}]*kind="%s"[^}]*\} (\d+)' % kind, text)[1])


def until(condition, timeout=20):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask(server, path="/minio/health/live", timeout=20):
    """One request on a connection of its own; returns the status."""
    with socket.create_connection(("127.0.0.1", server.port), timeout) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return int(sock.recv(64).split()[1])


class Watch:
    """The most memory that the server held beyond what it held before, and the longest that a bystander waited."""

    def __init__(self, server):
        self.server, self.before = server, held(server)
        self.grown, self.waited, self.failed = 0, 0.0, None
        self.stop = threading.Event()

    def measure(self):
        while not self.stop.is_set():
            with contextlib.suppress(OSError, StopIteration):
                self.grown = max(self.grown, held(self.server) - self.before)
            time.sleep(0.01)

    def wait(self):
        while not self.stop.is_set():
            begun = time.monotonic()
            try:
                assert ask(self.server) == 200
            except Exception as error:
                self.failed = error
            self.waited = max(self.waited, time.monotonic() - begun)
            time.sleep(0.02)


@contextlib.contextmanager
def watched(server):
    """Measures while its block runs."""
    watch = Watch(server)
    threads = [threading.Thread(target=work) for work in (watch.measure, watch.wait)]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        watch.stop.set()
        for thread in threads:
            thread.join()
    assert watch.failed is None, watch.failed


def lines_of(server):
    """Reads what the server logs, so that it never waits for a reader. The list grows."""
    lines = []
    threading.Thread(target=lambda: lines.extend(server.process.stderr), daemon=True).start()
    return lines
