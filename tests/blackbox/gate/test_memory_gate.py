"""The memory and fairness gate: under each pattern of abuse the server stays within its byte budget and 128 MiB,
answers others within half a second (99 of 100), and gives the memory back afterwards.

Run alone (`cargo xtask gate`): latencies are measured, so that nothing else may run beside it."""
import concurrent.futures
import contextlib
import http.client
import io
import json
import multiprocessing
import os
import pathlib
import signal
import socket
import struct
import sys
import tarfile
import threading
import time

import boto3
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from conftest import PASSWORD, USER, Server  # noqa: E402
from raw import Signer  # noqa: E402

MIB = 1 << 20
BUDGET = 64 * MIB
ABOVE_BUDGET = 128 * MIB
LEFT_BEHIND = 64 * MIB
P99_MAX = 0.5
SECONDS = 6


def make_user(server):
    """Another user, and its keys: anyone who attacks shares its own part of the budget with itself only."""
    iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER,
                       aws_secret_access_key=PASSWORD)
    iam.create_user(UserName="other")
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    iam.put_user_policy(UserName="other", PolicyName="all",
                        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    key = iam.create_access_key(UserName="other")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


BULK = ("<Delete>" + "".join(f"<Object><Key>{n:04}{'k' * 1000}</Key></Object>" for n in range(1000)) + "</Delete>").encode()


def probe(port, keys, path, stop, out, with_documents):
    """Another user: writes and reads 4 KiB and lists in turn, on connections of its own, and notes how long each
    takes; with documents, it also deletes 1,000 keys of 1 KB that do not exist."""
    signer = Signer(*keys)
    host = f"127.0.0.1:{port}"
    read, write = (signer.presigned(m, path, host, expires=3600) for m in ("GET", "PUT"))
    bucket = "/" + path.split("/")[1]
    listing = signer.presigned("GET", bucket, host, expires=3600)
    acts = [("PUT", write, b"x" * 4096), ("GET", read, None), ("GET", listing, None)]
    if with_documents:
        acts.append(("POST", signer.presigned("POST", bucket, host, expires=3600, query=[("delete", "")]), BULK))
    times, failures, number = [], [], 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    while not stop.is_set():
        method, target, body = acts[number % len(acts)]
        number += 1
        begun = time.monotonic()
        try:
            connection.request(method, target, body=body, headers={"Host": host})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                failures.append(answer.status)
        except OSError as error:
            failures.append(repr(error))
            connection.close()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        times.append(time.monotonic() - begun)
        time.sleep(0.005)
    out.put((sorted(times), failures))


class Attack:
    """What a pattern works with: the server, and sockets that are closed at its end."""

    def __init__(self, server):
        self.server, self.until = server, time.monotonic() + SECONDS
        self.socks, self.signer = [], Signer(USER, PASSWORD)
        self.host = f"127.0.0.1:{server.port}"

    @property
    def is_on(self):
        return time.monotonic() < self.until

    def connect(self, data=b"", buffer=None):
        sock = socket.socket()
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.settimeout(20)
        with contextlib.suppress(OSError):
            sock.connect(("127.0.0.1", self.server.port))
            sock.sendall(data)
        self.socks.append(sock)
        return sock

    def get(self, key, **config):
        target = self.signer.presigned("GET", f"/bucket/{key}", self.host, expires=600)
        return self.connect(f"GET {target} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode(), **config)

    def wait(self):
        time.sleep(max(0, self.until - time.monotonic()))

    def repeat(self, act, workers=8):
        """Acts again and again, on several threads, until the time is over."""
        def run():
            while self.is_on:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    act()
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda _: run(), range(workers)))

    def exchange(self, data):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as sock:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(data)
            return sock.recv(65536)


def slow_readers(attack):
    socks = [attack.get("large", buffer=8 << 10) for _ in range(64)]
    while attack.is_on:
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.recv(2048)
        time.sleep(0.05)


def silent_readers(attack):
    for _ in range(128):
        attack.get("large", buffer=4 << 10)
    attack.wait()


def fill_with_parts(server):
    """An object of 3,000 parts, each a reference to one of 65 MiB: so long ones are not read when they are made."""
    s3 = server.client(max_pool_connections=16)
    s3.put_object(Bucket="bucket", Key="source", Body=b"x" * (65 * MIB))
    names = {"Bucket": "bucket", "Key": "parts"}
    upload = s3.create_multipart_upload(**names)["UploadId"]

    def part(number):
        copied = s3.upload_part_copy(**names, UploadId=upload, PartNumber=number, CopySource="bucket/source")
        return {"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]}

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        parts = list(pool.map(part, range(1, 3001)))
    s3.complete_multipart_upload(**names, UploadId=upload, MultipartUpload={"Parts": parts})


def silent_readers_of_many_parts(attack):
    for _ in range(128):
        attack.get("parts", buffer=4 << 10)
    attack.wait()


silent_readers_of_many_parts.prepare = fill_with_parts


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field of HPACK, literal without indexing, not compressed (RFC 7541, section 6.2.2)."""
    def text(data):
        assert len(data) < 127 + 128 * 127
        if len(data) < 127:
            return bytes([len(data)]) + data
        rest = len(data) - 127
        return bytes([127, rest % 128 + 128, rest // 128]) if rest >= 128 else bytes([127, rest])

    data = value.encode()
    return b"\x00" + bytes([len(name)]) + name.encode() + text(data) + (data if len(data) >= 127 else b"")


def http2_unread_streams(attack):
    target = attack.signer.presigned("GET", "/bucket/large", attack.host, expires=600)
    fields = [(":method", "GET"), (":scheme", "http"), (":path", target), (":authority", attack.host)]
    block = b"".join(literal(*field) for field in fields)
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
    for _ in range(4):
        streams = b"".join(frame(1, 5, 2 * number + 1, block) for number in range(100))
        attack.connect(hello + frame(4, 1, 0) + streams, buffer=4 << 10)
    attack.wait()


def unread_errors_over_http2(attack):
    """Refusals of long keys that XML writes five times as long, without credentials, on streams whose windows stay
    closed."""
    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/nowhere/" + "&" * 15_000), (":authority", attack.host)]
    block = b"".join(literal(*field) for field in fields)
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, 0))
    for _ in range(30):
        sock = attack.connect(hello + frame(4, 1, 0))
        for number in range(100):
            with contextlib.suppress(OSError):
                sock.sendall(frame(1, 5, 2 * number + 1, block))
    attack.wait()


def fill_with_long_keys(server):
    """A bucket whose pages are as long as they can be: each byte of a key takes five."""
    signer, host = Signer(USER, PASSWORD), f"127.0.0.1:{server.port}"
    server.client().create_bucket(Bucket="long")

    def fill(first):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for number in range(first, 1000, 8):
            target = signer.presigned("PUT", f"/long/{number:04}" + '"' * 1000, host, expires=600)
            connection.request("PUT", target, body=b"", headers={"Host": host})
            assert connection.getresponse().read() == b""

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, range(8)))


def unread_lists(attack):
    """Pages of 5 MB that are asked for over HTTP/1.1, and not read."""
    target = attack.signer.presigned("GET", "/long", attack.host, expires=600)
    for _ in range(200):
        attack.connect(f"GET {target} HTTP/1.1\r\nHost: {attack.host}\r\n\r\n".encode(), buffer=4 << 10)
    attack.wait()


def unread_lists_over_http2(attack):
    target = attack.signer.presigned("GET", "/long", attack.host, expires=600)
    fields = [(":method", "GET"), (":scheme", "http"), (":path", target), (":authority", attack.host)]
    block = b"".join(literal(*field) for field in fields)
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, 0))
    for _ in range(4):
        attack.connect(hello + frame(4, 1, 0) + b"".join(frame(1, 5, 2 * n + 1, block) for n in range(100)))
    attack.wait()


unread_lists.prepare = unread_lists_over_http2.prepare = fill_with_long_keys


def idle_sockets(attack):
    for _ in range(1000):
        attack.connect()
    attack.wait()


def half_prefaces(attack):
    for number in range(800):
        attack.connect([b"PRI * HTTP/2", b"GET / HTTP/1.1\r\nX: " + b"y" * (60 << 10)][number % 2])
    attack.wait()


def drip_uploads(attack):
    """One user's uploads that never end, opened again when they are refused."""
    target = attack.signer.presigned("PUT", "/bucket/drip", attack.host, expires=600)
    head = f"PUT {target} HTTP/1.1\r\nHost: {attack.host}\r\nContent-Length: {64 * MIB}\r\n\r\n".encode()
    socks = [attack.connect(head) for _ in range(400)]
    while attack.is_on:
        for number, sock in enumerate(socks):
            try:
                sock.sendall(b"x" * 64)
            except OSError:
                socks[number] = attack.connect(head)
        time.sleep(0.25)


def anonymous_forms(attack):
    head = (f"POST /bucket HTTP/1.1\r\nHost: {attack.host}\r\nContent-Length: {5 << 30}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n").encode()
    part = b"--b\r\nContent-Disposition:a;name=\r\n\r\n\r\n" * 1000
    attack.repeat(lambda: attack.exchange(head + part * 200))


def bombs():
    pax = io.BytesIO()
    with tarfile.open(fileobj=pax, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(60):
            info = tarfile.TarInfo("x")
            info.type, records = b"x", b"6 a=b\n" * (MIB // 6)
            info.size = len(records)
            tar.addfile(info, io.BytesIO(records))
    import gzip
    yield gzip.compress(pax.getvalue(), 9), "gz"
    import pyarrow
    yield bytes(pyarrow.compress(b"\0" * (128 * MIB), codec="zstd", asbytes=True)), "zst"


def archive_bombs(attack):
    requests = []
    for body, ending in bombs():
        target = attack.signer.presigned("PUT", f"/bucket/bomb.tar.{ending}", attack.host, expires=600,
                                         headers={"x-amz-meta-snowball-auto-extract": "true"})
        requests.append(f"PUT {target} HTTP/1.1\r\nHost: {attack.host}\r\nContent-Length: {len(body)}\r\n"
                        f"x-amz-meta-snowball-auto-extract: true\r\n\r\n".encode() + body)
    numbers = iter(range(1 << 30))
    attack.repeat(lambda: attack.exchange(requests[next(numbers) % 2]))


def policy_patterns(attack):
    pattern = "*" + "a" * 9000 + "b"
    agent = "a" * 20000
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::bucket/*",
                 "Condition": {"StringLike": {"aws:UserAgent": [pattern, "*" + pattern]}}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with contextlib.suppress(Exception):
        attack.server.client().put_bucket_policy(Bucket="bucket", Policy=document)
    request = f"GET /bucket/k HTTP/1.1\r\nHost: {attack.host}\r\nUser-Agent: {agent}\r\n\r\n".encode()
    attack.repeat(lambda: attack.exchange(request))


def log_floods(attack):
    uri = "y" * 50_000
    request = f"GET /logged/k?versionId={uri} HTTP/1.1\r\nHost: {attack.host}\r\n\r\n".encode()
    attack.repeat(lambda: attack.exchange(request))


def ldap_floods(attack):
    name = "n" * 60_000
    body = (f"Action=AssumeRoleWithLDAPIdentity&Version=2011-06-15&LDAPUsername={name}&LDAPPassword=p").encode()
    request = (f"POST / HTTP/1.1\r\nHost: {attack.host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
               f"Content-Length: {len(body)}\r\n\r\n").encode() + body
    attack.repeat(lambda: attack.exchange(request), workers=32)


def wrong_signatures(attack):
    numbers = iter(range(1 << 30))

    def act():
        signer = Signer(USER, "wrong-password", region=f"{next(numbers)}-" + "r" * 20_000)
        headers, _ = signer.headers("GET", "/bucket/k", attack.host)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        attack.exchange(f"GET /bucket/k HTTP/1.1\r\n{lines}\r\n".encode())

    attack.repeat(act)


def half_documents(attack):
    """Signed documents that stop in the middle."""
    body = b"<Delete>" + b"<Object><Key>a</Key></Object>" * 30_000
    headers, _ = attack.signer.headers("POST", "/bucket", attack.host, payload="UNSIGNED-PAYLOAD",
                                       query=[("delete", "")])
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /bucket?delete= HTTP/1.1\r\n{lines}Content-Length: 1900000\r\n\r\n".encode()

    def send():
        # What is refused is not waited for: the server takes no more of it.
        sock = attack.connect(head)
        sock.settimeout(0.3)
        with contextlib.suppress(OSError):
            sock.sendall(body)

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda _: send(), range(400)))
    attack.wait()


def slow_documents(attack):
    """Forms without a signature from many addresses, and signed documents, that come a few bytes at a time and are
    sent again when they are refused."""
    form = (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: 65536\r\n\r\nAction=AssumeRoleWithWebIdentity&A=" + b"y" * 6000)
    target = attack.signer.presigned("POST", "/bucket", attack.host, expires=600, query=[("delete", "")])
    signed = (f"POST {target} HTTP/1.1\r\nHost: {attack.host}\r\nContent-Length: {len(BULK)}\r\n\r\n".encode()
              + BULK[:150_000])

    def begin(number):
        sock = socket.socket()
        sock.settimeout(20)
        with contextlib.suppress(OSError):
            sock.bind((f"127.0.1.{1 + number % 24}", 0))
            sock.connect(("127.0.0.1", attack.server.port))
            sock.sendall(form if number % 4 else signed)
            sock.setblocking(False)
        return sock

    socks = [begin(number) for number in range(480)]
    attack.socks = socks
    while attack.is_on:
        for number, sock in enumerate(socks):
            try:
                sock.send(b"y" * 300)
            except BlockingIOError:
                pass
            except OSError:
                sock.close()
                socks[number] = begin(number)
        time.sleep(0.4)


slow_documents.with_documents = True


PATTERNS = [half_documents, slow_documents, slow_readers, silent_readers, silent_readers_of_many_parts,
            http2_unread_streams, unread_errors_over_http2, unread_lists, unread_lists_over_http2, idle_sockets,
            half_prefaces, drip_uploads, anonymous_forms, archive_bombs, policy_patterns, log_floods, ldap_floods,
            wrong_signatures]


@pytest.fixture
def server(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        ldap = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
                "DRYSTONE_IDENTITY_LDAP_SERVER_ADDR": "127.0.0.1:%d" % silent.getsockname()[1],
                "DRYSTONE_IDENTITY_LDAP_SERVER_INSECURE": "on",
                "DRYSTONE_IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN": "dc=example",
                "DRYSTONE_IDENTITY_LDAP_USER_DN_SEARCH_FILTER": "(uid=%s)"}
        server = Server(tmp_path / "drive", "--memory-budget", str(BUDGET), env=ldap, prefix=("prlimit", "--nofile=8192"))
        # What it writes is read, so that a full pipe does not hold it up.
        threading.Thread(target=server.process.stderr.read, daemon=True).start()
        server.wait_ready()
        s3 = server.client()
        for bucket in ("bucket", "logged", "logs", "other"):
            s3.create_bucket(Bucket=bucket)
        allow = {"Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject",
                 "Resource": "arn:aws:s3:::logs/*"}
        s3.put_bucket_policy(Bucket="logs", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
        s3.put_bucket_logging(Bucket="logged", BucketLoggingStatus={
            "LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": "l/"}})
        s3.put_object(Bucket="bucket", Key="large", Body=b"x" * (32 * MIB))
        s3.put_object(Bucket="bucket", Key="k", Body=b"x")
        yield server
        server.kill()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
def test_abuse_is_bounded(server, pattern):
    if prepare := getattr(pattern, "prepare", None):
        prepare(server)
    stop, out = multiprocessing.Event(), multiprocessing.Queue()
    other = multiprocessing.Process(target=probe, args=(server.port, make_user(server), "/other/key", stop, out,
                                                       getattr(pattern, "with_documents", False)), daemon=True)
    other.start()
    time.sleep(1)
    pid = server.process.pid
    before, highest, is_over = resident(pid), [0], threading.Event()

    def watch():
        while not is_over.wait(0.05):
            highest[0] = max(highest[0], resident(pid))

    watching = threading.Thread(target=watch)
    watching.start()
    attack = Attack(server)
    pattern(attack)
    stop.set()
    times, failures = out.get(timeout=40)
    for sock in attack.socks:
        sock.close()
    deadline = time.monotonic() + 30
    # The allocator gives what a thread freed back to the kernel when the thread works again: another client asks for little.
    little = f"GET /minio/health/live HTTP/1.1\r\nHost: {attack.host}\r\nConnection: close\r\n\r\n".encode()
    while resident(pid) > before + LEFT_BEHIND and time.monotonic() < deadline:
        for _ in range(20):
            attack.exchange(little)
        time.sleep(0.1)
    is_over.set()
    watching.join()
    after, p99 = resident(pid), times[len(times) * 99 // 100]
    figures = (f"{pattern.__name__}: before {before / MIB:.0f} MiB, highest {highest[0] / MIB:.0f}, after "
               f"{after / MIB:.0f}; p99 of {len(times)} requests of another client {p99 * 1000:.0f} ms, "
               f"slowest {times[-1] * 1000:.0f} ms, failed {len(failures)}")
    print(figures)
    assert not failures, (figures, failures[:5])
    assert highest[0] < BUDGET + ABOVE_BUDGET, figures
    assert p99 < P99_MAX, figures
    assert after <= before + LEFT_BEHIND, figures
