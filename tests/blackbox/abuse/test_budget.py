"""The byte budget: whatever clients do with bodies, memory stays below the budget and 128 MiB more, comes back when
they leave, and no client keeps another waiting."""
import contextlib
import json
import re
import selectors
import socket
import statistics
import threading
import time
import urllib.parse

import boto3
import pytest
import requests
from botocore.config import Config

from conftest import PASSWORD, USER
from raw_h2 import Connection

MIB = 1 << 20
BUDGET = 16 * MIB
MEMORY_MAX = BUDGET + 128 * MIB
LEFT_MAX = 64 * MIB
OBJECT_LEN = 48 * MIB
DRIP_COUNT = 600
ALLOW_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def memory(server):
    """Bytes of anonymous memory: what is mapped from files comes and goes with the page cache."""
    with open(f"/proc/{server.process.pid}/status") as status:
        return int(re.search(r"RssAnon:\s+(\d+) kB", status.read())[1]) * 1024


class Watch:
    """Looks at the memory of a server all the time; ends a test that would fill the machine."""

    def __init__(self, server):
        self.server, self.start, self.most = server, memory(server), 0

    def hold(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.look()
            time.sleep(0.02)

    def look(self):
        self.most = max(self.most, memory(self.server))
        assert self.most < MEMORY_MAX, f"{self.most / MIB:.0f} MiB at {self.start / MIB:.0f} MiB before"

    def returned(self, timeout=15):
        deadline = time.monotonic() + timeout
        while memory(self.server) > self.start + LEFT_MAX:
            now = memory(self.server) / MIB
            assert time.monotonic() < deadline, f"{now:.0f} MiB, {self.start / MIB:.0f} MiB before"
            time.sleep(0.1)


def begin(start, drives, tmp_path):
    paths = [tmp_path / f"drive-{number}" for number in range(drives)]
    extra = [str(path) for path in paths[1:]]
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
           "DRYSTONE_PROMETHEUS_AUTH_TYPE": "public"}
    return start(*extra, "--memory-budget", f"{BUDGET // MIB}MiB", directory=paths[0], env=env)


def client(server, access=USER, secret=PASSWORD):
    config = Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}, read_timeout=30,
                    signature_version="s3v4", max_pool_connections=4)
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=access,
                        aws_secret_access_key=secret, config=config)


def new_user(server, name):
    iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER,
                       aws_secret_access_key=PASSWORD)
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=json.dumps(ALLOW_ALL))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return client(server, key["AccessKeyId"], key["SecretAccessKey"])


def prepare(server):
    s3 = client(server)
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="large", Body=bytes(OBJECT_LEN))
    s3.put_object(Bucket="bucket", Key="small", Body=b"small")
    return s3


def path_of(s3, method, key):
    url = s3.generate_presigned_url(method, Params={"Bucket": "bucket", "Key": key})
    if method == "get_object":
        # A reader that is refused would prove nothing.
        answer = requests.get(url, stream=True, timeout=10)
        assert answer.status_code == 200, answer.text
        answer.close()
    parts = urllib.parse.urlsplit(url)
    return parts.path + "?" + parts.query


def silent_reader(server, path, receive=4096):
    """A client that asks for an object and reads nothing of it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n\r\n".encode())
    return sock


def seconds(call, **parameters):
    begun = time.monotonic()
    call(**parameters)
    return time.monotonic() - begun


def timings(s3, key, count=15):
    puts = [seconds(s3.put_object, Bucket="bucket", Key=key, Body=bytes(200_000)) for _ in range(count)]
    return statistics.median(puts)


def metric(server, name):
    text = requests.get(f"{server.url}/minio/v2/metrics/cluster", timeout=5).text
    values = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.M)
    assert values, f"there is no metric {name}"
    return sum(float(value) for value in values)


def serves_others(server, watch):
    """Another user writes and reads while the abuse goes on."""
    other = new_user(server, "other")
    other.put_object(Bucket="bucket", Key="other", Body=bytes(3 * MIB))
    assert len(other.get_object(Bucket="bucket", Key="other")["Body"].read()) == 3 * MIB
    assert other.get_object(Bucket="bucket", Key="small")["Body"].read() == b"small"
    watch.look()


@pytest.mark.parametrize("drives", [1, 6])
def test_clients_that_read_nothing_cost_a_chunk_each(start, tmp_path, drives):
    server = begin(start, drives, tmp_path)
    s3 = prepare(server)
    path = path_of(s3, "get_object", "large")
    watch = Watch(server)
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(contextlib.closing(silent_reader(server, path)))
            watch.look()
        watch.hold(2)
        serves_others(server, watch)
    watch.returned()


def test_slow_clients_get_every_byte_and_cost_a_chunk_each(start, tmp_path):
    server = begin(start, 1, tmp_path)
    s3 = prepare(server)
    path = path_of(s3, "get_object", "large")
    watch = Watch(server)
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(contextlib.closing(silent_reader(server, path))) for _ in range(12)]
        got = [b""] * len(readers)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            for number, reader in enumerate(readers):
                reader.settimeout(20)
                got[number] += reader.recv(4096)
            watch.hold(0.02)
        assert all(len(answer) > 4096 for answer in got)
        # One of them becomes quick and gets the rest, beside the others.
        head, body = got[0].split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 200 ")
        total = len(body)
        while total < OBJECT_LEN:
            piece = readers[0].recv(MIB)
            assert piece, f"the answer ends after {total} bytes"
            total += len(piece)
        assert total == OBJECT_LEN
        watch.look()
    watch.returned()


def test_unread_http2_streams_are_counted(start, tmp_path):
    server = begin(start, 1, tmp_path)
    s3 = prepare(server)
    path = path_of(s3, "get_object", "large")
    watch = Watch(server)
    connections = []
    try:
        for _ in range(3):
            connection = Connection(server.port, window=(1 << 31) - 1)
            connections.append(connection)
            connection.widen((1 << 31) - 1 - 65_535)
            for _ in range(200):
                connection.get(path, f"127.0.0.1:{server.port}")
            watch.look()
        watch.hold(3)
        serves_others(server, watch)
    finally:
        for connection in connections:
            connection.close()
    watch.returned()


class Drips:
    """Uploads that send a few bytes a second and begin again when they are refused."""

    def __init__(self, server, s3, count):
        self.server, self.count, self.stop = server, count, threading.Event()
        self.path, self.sockets, self.opened = path_of(s3, "put_object", "drip"), {}, 0
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        deadline = time.monotonic() + 20
        while self.opened < self.count:
            assert time.monotonic() < deadline, self.opened
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        for sock in self.sockets:
            sock.close()

    def open(self):
        sock = socket.create_connection(("127.0.0.1", self.server.port))
        head = f"PUT {self.path} HTTP/1.1\r\nhost: 127.0.0.1:{self.server.port}\r\ncontent-length: {8 * MIB}\r\n\r\n"
        sock.sendall(head.encode() + bytes(256))
        sock.setblocking(False)
        self.sockets[sock] = True
        self.opened += 1

    def run(self):
        while not self.stop.is_set():
            while len(self.sockets) < self.count and not self.stop.is_set():
                self.open()
            for sock in list(self.sockets):
                try:
                    sock.send(bytes(256))
                    with contextlib.suppress(BlockingIOError):
                        sock.recv(4096)
                        raise ConnectionError("answered")
                except BlockingIOError:
                    pass
                except OSError:
                    sock.close()
                    del self.sockets[sock]
            self.stop.wait(1)


@pytest.mark.parametrize("drives", [1, 6])
def test_drip_uploads_of_one_user_keep_no_other_waiting(start, tmp_path, drives):
    server = begin(start, drives, tmp_path)
    root = prepare(server)
    slow, quick = new_user(server, "slow"), new_user(server, "quick")
    usual = timings(quick, "usual")
    watch = Watch(server)
    with Drips(server, slow, DRIP_COUNT):
        watch.look()
        beside = timings(quick, "beside")
        watch.look()
        # The machine that runs the tests is busy with the drips too.
        assert beside < max(3 * usual, 0.3), f"{beside:.3f} s beside the drips, {usual:.3f} s without"
        assert root.get_object(Bucket="bucket", Key="small")["Body"].read() == b"small"
        assert metric(server, "drystone_budget_waiting") > 0
    watch.returned()
    deadline = time.monotonic() + 15
    while metric(server, "drystone_budget_used_bytes") > 0:
        assert time.monotonic() < deadline, "shares of clients that left are still held"
        time.sleep(0.1)


def test_bodies_that_do_not_come_take_nothing(start, tmp_path):
    server = begin(start, 1, tmp_path)
    s3 = prepare(server)
    path = path_of(s3, "put_object", "never")
    head = f"PUT {path} HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-length: {8 * MIB}\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            sock.sendall(head.encode())
        s3.put_object(Bucket="bucket", Key="after", Body=bytes(3 * MIB))
        assert metric(server, "drystone_budget_used_bytes") == 0


def test_a_wait_for_memory_ends_with_slow_down(start, tmp_path):
    server = begin(start, 1, tmp_path)
    s3 = prepare(server)
    path = path_of(s3, "get_object", "large")
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(contextlib.closing(silent_reader(server, path))) for _ in range(64)]
        answers = []
        selector = selectors.DefaultSelector()
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ)
        deadline = time.monotonic() + 20
        while not answers and time.monotonic() < deadline:
            for key, _ in selector.select(1):
                start_line = key.fileobj.recv(4096)
                selector.unregister(key.fileobj)
                if b" 503 " in start_line.split(b"\r\n")[0]:
                    answers.append(start_line)
        assert answers, "no reader was refused"
        assert b"SlowDown" in answers[0] and b"retry-after: " in answers[0].lower()
        assert metric(server, "drystone_budget_refused_total") > 0
