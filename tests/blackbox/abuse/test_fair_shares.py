"""Shares of the byte budget where callers come one after another (findings F23 and F26)."""
import contextlib
import re
import socket
import threading
import time

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from conftest import PASSWORD, USER
from people import allow, document
from surfaces import ROOT, Surfaces, field

TENANT = "222222222222"
ALL = document(allow("s3:*"))


class Drips:
    """Requests whose bodies come a few bytes at a time."""

    def __init__(self, server):
        self.server, self.socks, self.stop = server, [], threading.Event()

    def open(self, who, path, length, first, headers=None, method="PUT"):
        url = f"{self.server.url}{path}"
        request = AWSRequest(method, url, headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD", **(headers or {})})
        request.context["payload_signing_enabled"] = False
        S3SigV4Auth(who, "s3", "us-east-1").add_auth(request)
        lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items() if name.lower() != "content-length")
        sock = socket.create_connection(("127.0.0.1", self.server.port), 20)
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n{lines}Content-Length: {length}\r\n\r\n".encode() + first)
        sock.setblocking(False)
        self.socks.append(sock)

    def drip(self):
        while not self.stop.wait(0.4):
            for sock in self.socks:
                with contextlib.suppress(OSError):
                    sock.send(b"y" * 1024)

    def __enter__(self):
        self.thread = threading.Thread(target=self.drip)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        for sock in self.socks:
            sock.close()


def tenant_with(surfaces, names):
    """The owner of another account, and users of it."""
    owner, users = surfaces.account(TENANT), []
    assert surfaces.s3(owner, "PUT", "/tenant").status_code == 200
    for name in names:
        for action, fields in [("CreateUser", {}), ("PutUserPolicy", {"PolicyName": "p", "PolicyDocument": ALL})]:
            answer = surfaces.query(owner, action, UserName=name, **fields)
            assert answer.status_code == 200, answer.text
        text = surfaces.query(owner, "CreateAccessKey", UserName=name).text
        users.append(Credentials(field(text, "AccessKeyId"), field(text, "SecretAccessKey")))
    return users


def timed(call):
    begun = time.monotonic()
    answer = call()
    return answer.status_code, time.monotonic() - begun


def test_callers_that_come_one_after_another_leave_something(start):
    """Goal: anyone who holds nothing finds a share at once. Method: eight users of one account, one after the other, take
    what they can with slow uploads; a user of another account and a ninth user of the same write."""
    server = start("--memory-budget", "16MiB")
    surfaces = Surfaces(server)
    *takers, last = tenant_with(surfaces, [f"u{n}" for n in range(9)])
    assert surfaces.s3(ROOT, "PUT", "/good").status_code == 200
    good = surfaces.user("good", allow("s3:*"))
    with Drips(server) as drips:
        for number, taker in enumerate(takers):
            for upload in range(40):
                drips.open(taker, f"/tenant/{number}-{upload}", 500_000_000, b"x" * 70_000)
            time.sleep(0.3)
        for who, path in [(good, "/good/k"), (last, "/tenant/k")]:
            for _ in range(3):
                status, seconds = timed(lambda: surfaces.s3(who, "PUT", path, b"z" * 65536))
                assert (status, seconds < 5) == (200, True), (path, status, seconds)
                status, seconds = timed(lambda: surfaces.s3(who, "GET", path))
                assert (status, seconds < 5) == (200, True), (path, status, seconds)


def zstd_of(window_log):
    """The start of a frame with a window of so many bytes (RFC 8878, 3.1.1.1), and a raw block that comes slowly."""
    return b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3]) + (1 | 100_000 << 3).to_bytes(3, "little") + b"\0" * 4000


def test_slow_archives_hold_up_no_document(start):
    """Method: twenty users with an archive each whose decoder holds megabytes and whose bytes do not come; users of
    another account and of the same one send documents."""
    server = start("--memory-budget", "128MiB")
    surfaces = Surfaces(server)
    *takers, last = tenant_with(surfaces, [f"u{n}" for n in range(17)])
    assert surfaces.s3(ROOT, "PUT", "/good").status_code == 200
    good = surfaces.user("good", allow("s3:*"))
    body = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    for who, path in [(good, "/good/k"), (last, "/tenant/k")]:
        assert surfaces.s3(who, "PUT", path, b"x").status_code == 200
    with Drips(server) as drips:
        for number, taker in enumerate(takers):
            drips.open(taker, f"/tenant/{number}.tar.zst", 3_000_000, zstd_of(23 if number % 2 else 21),
                       {"x-amz-meta-snowball-auto-extract": "true"})
        time.sleep(1)
        for who, path in [(good, "/good/k?tagging"), (last, "/tenant/k?tagging")]:
            for _ in range(3):
                status, seconds = timed(lambda: surfaces.s3(who, "PUT", path, body))
                assert (status, seconds < 5) == (200, True), (path, status, seconds)


KEYS = [f"{n:04}" + "k" * 1000 for n in range(1000)]
BULK = ("<Delete>" + "".join(f"<Object><Key>{key}</Key></Object>" for key in KEYS) + "</Delete>").encode()


def forms(drips, sources, each):
    """Forms without a signature from many addresses, of which more than what counts for no one has come."""
    head = (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: 65536\r\n\r\nAction=AssumeRoleWithWebIdentity&A=")
    for number in range(sources * each):
        sock = socket.socket()
        sock.bind((f"127.0.1.{1 + number % sources}", 0))
        sock.connect(("127.0.0.1", drips.server.port))
        sock.sendall(head + b"y" * 6000)
        sock.setblocking(False)
        drips.socks.append(sock)


def archives(drips, users):
    for number, user in enumerate(users):
        drips.open(user, f"/tenant/{number}.tar.zst", 3_000_000, zstd_of(23 if number % 2 else 21),
                   {"x-amz-meta-snowball-auto-extract": "true"})


def documents(drips, users):
    for user in users:
        drips.open(user, "/tenant?delete", len(BULK), BULK[:150_000], method="POST")


@pytest.mark.parametrize("slow", [archives, documents], ids=lambda slow: slow.__name__)
def test_what_comes_slowly_holds_up_no_document(start, slow):
    """Method: documents of 1 MB of a user of another account and of one of the same, beside what others send at their
    own pace, and send again."""
    server = start("--memory-budget", "128MiB")
    surfaces = Surfaces(server)
    *users, last = tenant_with(surfaces, [f"u{n}" for n in range(24)])
    assert surfaces.s3(ROOT, "PUT", "/good").status_code == 200
    good = surfaces.user("good", allow("s3:*"))
    with Drips(server) as drips:
        slow(drips, users)
        time.sleep(0.5)
        for number in range(6):
            if number == 3:
                slow(drips, users)
            for who, path in [(good, "/good?delete"), (last, "/tenant?delete")]:
                status, seconds = timed(lambda: surfaces.s3(who, "POST", path, BULK))
                assert (status, seconds < 4) == (200, True), (path, status, seconds)


def test_forms_take_nothing_of_what_is_kept_for_those_who_signed(start):
    """Method: forms from many addresses fill what is theirs; what the rest holds, and the time of other documents."""
    server = start("--memory-budget", "64MiB", env={"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
                                                    "DRYSTONE_PROMETHEUS_AUTH_TYPE": "public"})
    surfaces = Surfaces(server)
    assert surfaces.s3(ROOT, "PUT", "/good").status_code == 200
    with Drips(server) as drips:
        for _ in range(3):
            forms(drips, sources=24, each=20)
            deadline, held = time.monotonic() + 10, {"unsigned": "0"}
            # The forms are sent, and may not have been read yet.
            while held["unsigned"] == "0" and time.monotonic() < deadline:
                text = surfaces.http.get(f"{server.url}/minio/v2/metrics/cluster", timeout=20).text
                held = dict(re.findall(r'^drystone_budget_used_bytes\{kind="(\w+)"\} (\d+)$', text, re.M))
            assert held["arrive"] == held["decode"] == "0" < held["unsigned"], held
            status, seconds = timed(lambda: surfaces.s3(ROOT, "POST", "/good?delete", BULK))
            assert (status, seconds < 4) == (200, True), (status, seconds)


def test_documents_that_do_not_come_are_let_go(start):
    """Documents, with and without a signature, that come slower than a modem: within 10 s, and not when they like."""
    server = start()
    surfaces = Surfaces(server)
    assert surfaces.s3(ROOT, "PUT", "/good").status_code == 200
    with Drips(server) as drips:
        drips.open(ROOT, "/good?tagging", 60_000, b"<Tagging>")
        forms(drips, 1, 1)
        begun = time.monotonic()
        for sock in drips.socks:
            sock.setblocking(True)
            sock.settimeout(25)
            answer = sock.recv(2000)
            assert answer.startswith(b"HTTP/1.1 400 ") and b"timeout" in answer, answer
        assert 8 < time.monotonic() - begun < 20


def test_documents_that_do_not_come_take_nothing(start):
    """Method: documents and forms of which the first bytes come, with and without a signature; what decoding holds."""
    server = start(env={"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "DRYSTONE_PROMETHEUS_AUTH_TYPE": "public"})
    surfaces = Surfaces(server)
    assert surfaces.s3(ROOT, "PUT", "/good").status_code == 200
    assert surfaces.s3(ROOT, "PUT", "/good/k", b"x").status_code == 200
    with contextlib.ExitStack() as stack, Drips(server) as drips:
        for _ in range(20):
            drips.open(ROOT, "/good/k?tagging", 60_000, b"<Tagging>")
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20))
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                         b"Content-Length: 65536\r\n\r\nAction=AssumeRoleWithWebIdentity&A=")
        time.sleep(0.5)
        text = surfaces.http.get(f"{server.url}/minio/v2/metrics/cluster", timeout=20).text
        held = [line for line in text.splitlines() if line.startswith("drystone_budget_used_bytes")
                and any(f'"{kind}"' in line for kind in ("arrive", "unsigned", "unpack", "decode"))]
        assert len(held) == 4
        assert held and all(line.split()[-1] == "0" for line in held), held
