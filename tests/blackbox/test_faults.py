"""kill -9, damage, a full drive, clients that go away."""
import hashlib
import os
import random
import select
import shutil
import socket
import subprocess
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from conftest import drystone

ROUNDS = int(os.environ.get("KILL_ROUNDS", "6"))


def body(number, size):
    seed = hashlib.sha256(str(number).encode()).digest()
    return (seed * (size // 32 + 1))[:size]


def write_until_dead(server, worker, record, stop):
    """Puts and deletes keys of its own; notes what was acknowledged, and what may have happened."""
    s3, rng = server.client(), random.Random(f"{worker}-{server.port}")
    while not stop.is_set():
        key = f"{worker}/{rng.randrange(20)}"
        states = record.setdefault(key, [None])
        try:
            if rng.random() < 0.2:
                states.append(None)
                s3.delete_object(Bucket="bucket", Key=key)
                record[key] = [None]
            else:
                wanted = (rng.randrange(1 << 30), rng.choice([0, 10, 900, 5000, 90_000, 300_000, 2_000_000]))
                states.append(wanted)
                s3.put_object(Bucket="bucket", Key=key, Body=body(*wanted))
                record[key] = [wanted]
        except (ClientError, BotoCoreError):
            return


def verify(s3, record):
    listed = {o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="bucket") for o in page.get("Contents", [])}
    for key, states in record.items():
        try:
            got = s3.get_object(Bucket="bucket", Key=key)["Body"].read()
        except s3.exceptions.NoSuchKey:
            got = None
        assert (got is not None) == (key in listed), f"{key}: listing and reading disagree"
        match = [s for s in states if (got is None if s is None else got == body(*s))]
        assert match, f"{key} holds {None if got is None else len(got)} bytes, possible: {states}"
        record[key] = [match[0]]


@pytest.mark.timeout(300)
def test_kill_under_load_loses_nothing_acknowledged(start):
    record, rng = {}, random.Random(1)
    server = start()
    server.client().create_bucket(Bucket="bucket")
    for _ in range(ROUNDS):
        stop = threading.Event()
        workers = [threading.Thread(target=write_until_dead, args=(server, n, record, stop)) for n in range(8)]
        [worker.start() for worker in workers]
        time.sleep(0.5 + rng.random() * 1.5)
        server.kill()
        stop.set()
        [worker.join() for worker in workers]
        began = time.monotonic()
        server = start()
        assert time.monotonic() - began < 10, "a start needs no repair by hand and does not take long"
        verify(server.client(), record)
    server.stop()
    checked = drystone("fsck", server.directory)
    assert checked.returncode == 0, checked.stdout
    assert sum(states != [None] for states in record.values()) > 20


def test_client_gone_in_the_middle_leaves_nothing(start):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "bucket", "Key": "k"})
    path = url.split(f":{server.port}", 1)[1]
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            head = f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 50000000\r\n\r\n"
            sock.sendall(head.encode() + b"z" * 3_000_000)
    time.sleep(0.3)
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=b"whole")
    assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"whole"


@pytest.mark.timeout(180)
def test_clients_that_stall_or_drip_are_let_go(start):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")

    def upload(key):
        url = s3.generate_presigned_url("put_object", Params={"Bucket": "bucket", "Key": key})
        path = url.split(f":{server.port}", 1)[1]
        sock = socket.create_connection(("127.0.0.1", server.port))
        head = f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 50000000\r\n\r\n"
        sock.sendall(head.encode() + b"z" * 1000)
        return sock

    begun = time.monotonic()
    with upload("stalled") as stalled, upload("dripped") as dripped:
        answers = {}
        while len(answers) < 2 and time.monotonic() - begun < 100:
            waiting = [sock for sock in (stalled, dripped) if sock not in answers]
            for sock in select.select(waiting, [], [], 2)[0]:
                answers[sock] = (sock.recv(4096), time.monotonic() - begun)
            if dripped not in answers:
                dripped.sendall(b"z")
    for sock, seconds in ((stalled, 30), (dripped, 60)):
        answer, after = answers[sock]
        assert answer.startswith(b"HTTP/1.1 400 ") and b"<Code>RequestTimeout</Code>" in answer
        assert after > seconds - 1, "let go before its time"
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="dripped", Body=b"whole")


def flip(directory, content):
    """Flips a bit of `content` wherever it lies in the segments."""
    hits = 0
    for name in os.listdir(directory):
        if name.startswith("seg-"):
            with open(directory / name, "r+b") as file:
                at = file.read().find(content)
                if at >= 0:
                    file.seek(at + len(content) // 2)
                    byte = file.read(1)[0]
                    file.seek(at + len(content) // 2)
                    file.write(bytes([byte ^ 1]))
                    hits += 1
    return hits


@pytest.mark.parametrize("size", [20_000, 700_000])
def test_damage_is_an_error_for_one_object_and_no_other(start, size):
    """Method: of a long object, whose answer has begun when the damage is met, the log says what was cut."""
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    bad, good = os.urandom(size), os.urandom(size)
    s3.put_object(Bucket="bucket", Key="bad", Body=bad)
    s3.put_object(Bucket="bucket", Key="good", Body=good)
    server.stop()
    assert flip(server.directory, bad[size // 2 - 50:size // 2 + 50]) == 1
    server = start()
    s3 = server.client()
    with pytest.raises(Exception) as caught:
        assert s3.get_object(Bucket="bucket", Key="bad")["Body"].read() != bad
        pytest.fail("wrong bytes were served")
    assert not isinstance(caught.value, AssertionError)
    assert s3.get_object(Bucket="bucket", Key="good")["Body"].read() == good
    s3.put_object(Bucket="bucket", Key="bad", Body=b"new")
    assert s3.get_object(Bucket="bucket", Key="bad")["Body"].read() == b"new"
    s3.delete_object(Bucket="bucket", Key="bad")
    _, log = server.stop()
    if size > 64 << 10:
        line = next(line for line in log.splitlines() if "the body of an object was cut" in line)
        assert "bucket" in line and "bad" in line and "request_id" in line, line


def test_lost_indexes_are_built_again(start):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    contents = {f"k{n}": os.urandom(n * 30_000) for n in range(12)}
    for key, content in contents.items():
        s3.put_object(Bucket="bucket", Key=key, Body=content)
    s3.delete_object(Bucket="bucket", Key="k3")
    del contents["k3"]
    server.kill()
    shutil.rmtree(server.directory / "catalog-index")
    shutil.rmtree(server.directory / "drive-index")
    s3 = start().client()
    assert {o["Key"] for o in s3.list_objects_v2(Bucket="bucket")["Contents"]} == set(contents)
    for key, content in contents.items():
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == content


def can_unshare():
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="no user namespaces here")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("count, size", [(1, 96), (6, 288)], ids=["one", "six"])
def test_full_drive_refuses_writes_but_serves_reads_and_deletes(start, tmp_path, count, size):
    mount = tmp_path / "small"
    mount.mkdir()
    script = tmp_path / "run.sh"
    script.write_text(f'#!/bin/sh\nmount -t tmpfs -o size={size}m tmpfs {mount}\nexec "$@"\n')
    script.chmod(0o755)
    first, *others = [mount / f"d{number}" for number in range(count)] if count > 1 else [mount]
    server = start(*map(str, others), "--segment-size", "1MiB", directory=first, prefix=("unshare", "-rm", str(script)))
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    stored, refused = {}, None
    for number in range(400):
        try:
            s3.put_object(Bucket="bucket", Key=f"k{number:03}", Body=body(number, 500_000))
            stored[f"k{number:03}"] = number
        except ClientError as error:
            refused = error.response["Error"]["Code"]
            break
    assert refused == "XMinioStorageFull" and len(stored) > 50
    for key in list(stored)[:5]:
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == body(stored[key], 500_000)
    for key in list(stored)[5:]:
        s3.delete_object(Bucket="bucket", Key=key)
    deadline = time.monotonic() + 60
    while True:
        try:
            s3.put_object(Bucket="bucket", Key="again", Body=body(1, 500_000))
            break
        except ClientError as error:
            assert error.response["Error"]["Code"] == "XMinioStorageFull"
            assert time.monotonic() < deadline, "space came back too late"
            time.sleep(0.5)
    for key in list(stored)[:5]:
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == body(stored[key], 500_000)
