"""Floods hide nothing from access logs: each bucket has its room, authenticated requests reserve theirs before their
effect, others are counted, and a target that fails closes no bucket."""
import io
import json
import re
import socket
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, drystone

NEVER = ("--log-delivery-seconds", "3600")
SUMMARY = re.compile(r' SUMMARY\.OMITTED\.REQUESTS - "(\d+) requests from ')
PUBLIC_METRICS = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "MINIO_PROMETHEUS_AUTH_TYPE": "public"}


def log_to(s3, source, target):
    for bucket in (source, target):
        s3.create_bucket(Bucket=bucket)
    status = {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": ""}}
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus=status)


def lines_of(s3, target):
    text = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=target):
        for entry in page.get("Contents", []):
            text.append(s3.get_object(Bucket=target, Key=entry["Key"])["Body"].read().decode())
    return "".join(text).splitlines()


def wait_for(what, timeout=30):
    deadline = time.monotonic() + timeout
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.2)
    return found


def flood(server, bucket, count, threads=4):
    """Anonymous requests with lines of 9 KB; how they were answered."""
    statuses, lock = {}, threading.Lock()
    head = (f"GET /{bucket}/{'%C3%A9' * 500}?versionId={'v' * 1500} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"User-Agent: {'a' * 1500}\r\nReferer: {'r' * 1500}\r\n\r\n").encode()

    def send(number):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
            reader = sock.makefile("rb")
            for _ in range(number):
                sock.sendall(head)
                status, length = int(reader.readline().split()[1]), 0
                while (line := reader.readline().strip()):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                reader.read(length)
                with lock:
                    statuses[status] = statuses.get(status, 0) + 1

    workers = [threading.Thread(target=send, args=(count // threads,)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return statuses


def counted(lines, bucket):
    """Requests with lines of their own, and those that a summary counts."""
    omitted = sum(int(found[1]) for line in lines if (found := SUMMARY.search(line)))
    return sum(f" {bucket} [" in line and not SUMMARY.search(line) for line in lines), omitted


def test_a_flood_on_one_bucket_hides_nothing_of_another(start):
    server = start(*NEVER)
    s3 = server.client()
    log_to(s3, "loud", "loud-log")
    log_to(s3, "quiet", "quiet-log")
    s3.put_object(Bucket="quiet", Key="secret", Body=b"x")
    count = 7400
    assert flood(server, "loud", count) == {403: count}
    s3.get_object(Bucket="quiet", Key="secret")
    # A key of the flooded bucket itself: what is authenticated has room that the flood cannot take.
    s3.put_object(Bucket="loud", Key="mine", Body=b"x")
    # Lines that fill their room are delivered without waiting for their hour.
    assert len(wait_for(lambda: lines_of(s3, "loud-log"))) > 400
    server.stop()
    server = start(*NEVER, directory=server.directory)
    s3 = server.client()
    assert any(" REST.GET.OBJECT secret " in line for line in lines_of(s3, "quiet-log"))
    loud = lines_of(s3, "loud-log")
    assert any(" REST.PUT.OBJECT mine " in line for line in loud)
    own, omitted = counted(loud, "loud")
    assert own > 1000 and own + omitted >= count + 1


def test_what_has_an_effect_has_its_line_and_what_has_no_room_for_it_has_no_effect(start):
    """More lines at once than a bucket may hold: 14 bulk deletes with lines of 5 MB each."""
    server = start(*NEVER)
    s3 = server.client()
    log_to(s3, "source", "target")
    s3.put_bucket_versioning(Bucket="source", VersioningConfiguration={"Status": "Enabled"})
    local = threading.local()

    def delete(number):
        local.s3 = getattr(local, "s3", None) or server.client(retries={"max_attempts": 0}, read_timeout=60)
        objects = [{"Key": f"{number:02}-{key:03}-" + "é" * 500} for key in range(1000)]
        try:
            answer = local.s3.delete_objects(Bucket="source", Delete={"Objects": objects, "Quiet": True})
        except ClientError as error:
            assert error.response["Error"]["Code"] == "SlowDown", error
            return 0
        assert not answer.get("Errors"), answer["Errors"][0]
        return 1000

    with ThreadPoolExecutor(14) as pool:
        done = list(pool.map(delete, range(14)))
    # However many lines there were at once, the store takes changes.
    s3.put_object(Bucket="source", Key="after", Body=b"x")
    server.stop()
    server = start("--log-delivery-seconds", "1", directory=server.directory)
    s3 = server.client()
    logged, marked = [0] * 14, [0] * 14
    # A delivery that the stop cut off is repeated: lines come at least once.
    found = (re.search(r" BATCH\.DELETE\.OBJECT (\d\d)-(\d+)-", line) for line in lines_of(s3, "target"))
    for number, _ in {match.groups() for match in found if match}:
        logged[int(number)] += 1
    for page in s3.get_paginator("list_object_versions").paginate(Bucket="source"):
        for marker in page.get("DeleteMarkers", []):
            marked[int(marker["Key"][:2])] += 1
    assert (marked, logged) == (done, done)
    assert sum(done) >= 2000


def archive(entries):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, body in entries:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return made.getvalue()


def batch_puts(s3):
    """Key, status, error and size of each line of an entry of an archive."""
    found = (re.search(r' BATCH\.PUT\.OBJECT (\S+) - (\S+) (\S+) - (\S+) ', line) for line in lines_of(s3, "target"))
    return [match.groups() for match in found if match]


def test_each_entry_of_an_archive_has_its_line(start):
    """Method: archives that are taken apart wholly, with an entry that is refused, and up to an entry that is no entry; one
    whose client leaves within an entry."""
    server = start(*NEVER)
    s3 = server.client()
    log_to(s3, "source", "target")
    apart = {"Bucket": "source", "Metadata": {"Snowball-Auto-Extract": "true"}}
    s3.put_object(Key="a.tar", Body=archive([("important/contract", b"EVIL"), ("important/ledger", b"")]), **apart)
    refused = archive([("first", b"1"), ("../out", b"2"), ("x" * 1100, b"3"), ("last", b"4")])
    s3.put_object(Key="b.tar", Body=refused, Bucket="source",
                  Metadata={"Snowball-Auto-Extract": "true", "Minio-Snowball-Ignore-Errors": "true"})
    broken = archive([("before", b"x" * 600), ("y" * 1100, b"y"), ("after", b"z")])
    with pytest.raises(ClientError):
        s3.put_object(Key="c.tar", Body=broken, **apart)
    # The client leaves in the middle of the second entry.
    whole = archive([("stays", b"s" * 5000), ("half", b"h" * 5_000_000)])
    url = s3.generate_presigned_url("put_object", Params={"Key": "d.tar", **apart})
    path = url.split(str(server.port), 1)[1]
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {len(whole)}\r\n"
                     "x-amz-meta-snowball-auto-extract: true\r\n\r\n".encode() + whole[:2_000_000])
        wait_for(lambda: any(entry["Key"] == "stays" for entry in s3.list_objects_v2(Bucket="source")["Contents"]))
    stored = {entry["Key"] for entry in s3.list_objects_v2(Bucket="source")["Contents"]}
    assert stored == {"important/contract", "important/ledger", "first", "last", "before", "stays"}
    server.stop()
    server = start(*NEVER, directory=server.directory)
    lines = batch_puts(server.client())
    done = [("important%252Fcontract", "4"), ("important%252Fledger", "0"), ("first", "1"), ("last", "1"), ("before", "600"),
            ("stays", "5000")]
    assert [(key, size) for key, status, _, size in lines if status == "200"] == done
    errors = {key[:1]: (status, error) for key, status, error, _ in lines if status not in ("200", "-")}
    assert errors == {"x": ("400", "KeyTooLongError"), "y": ("400", "KeyTooLongError")}


def test_a_client_that_leaves_hides_no_effect(start):
    server = start("--log-delivery-seconds", "1")
    s3 = server.client()
    log_to(s3, "source", "target")
    for number in range(60):
        url = s3.generate_presigned_url("put_object", Params={"Bucket": "source", "Key": f"k{number}"})
        path = url.split(str(server.port), 1)[1]
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 1\r\n\r\nx".encode())
            # Some are gone before the request begins, some before it ends.
            time.sleep(number % 12 * 0.0005)
    stored = {entry["Key"] for entry in s3.list_objects_v2(Bucket="source").get("Contents", [])}
    assert stored

    def missing():
        logged = {found[1] for line in lines_of(s3, "target") if (found := re.search(r" REST\.PUT\.OBJECT (k\d+) ", line))}
        return stored - logged

    wait_for(lambda: not missing())


def remove_target(s3):
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="target"):
        for entry in page.get("Contents", []):
            s3.delete_object(Bucket="target", Key=entry["Key"])
    s3.delete_bucket(Bucket="target")


def deny_target(s3):
    deny = {"Effect": "Deny", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::target/*"}
    s3.put_bucket_policy(Bucket="target", Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))


@pytest.mark.parametrize("code, why, end, begin", [
    ("NoSuchBucket", "the target bucket does not exist: create it", remove_target,
     lambda s3: s3.create_bucket(Bucket="target")),
    ("InvalidTargetBucketForLogging", "A statement denies logging.s3.amazonaws.com s3:PutObject on the target bucket",
     deny_target, lambda s3: s3.delete_bucket_policy(Bucket="target")),
])
def test_a_target_that_fails_closes_no_bucket_and_is_shown(start, code, why, end, begin):
    server = start("--log-delivery-seconds", "1", env=PUBLIC_METRICS)
    s3 = server.client()
    log_to(s3, "source", "target")
    end(s3)

    def states():
        return json.loads(drystone("status", "--at", server.directory, "--json").stdout)["status"]["access_logs"]

    def metric(name):
        text = requests.get(f"{server.url}/minio/v2/metrics/cluster").text
        return int(re.search(rf"^drystone_access_log_{name} (\d+)$", text, re.M)[1])

    s3.put_object(Bucket="source", Key="first", Body=b"x")
    wait_for(lambda: [state for state in states() if state["failing"] == code])
    assert flood(server, "source", 1200) == {403: 1200}
    # What is authenticated goes on without waiting, although there is no room.
    began = time.monotonic()
    s3.put_object(Bucket="source", Key="last", Body=b"x")
    assert time.monotonic() - began < 2
    (state,) = wait_for(lambda: [one for one in states() if one["omitted"] > 0])
    assert state["bucket"] == "source" and state["failing"] == code and 1 << 20 < state["waiting_bytes"] <= 8 << 20
    assert f"access log of source: cannot be delivered ({code})" in drystone("status", "--at", server.directory).stdout
    text = drystone("status", "--at", server.directory).stdout
    assert f"to bucket target: {why}" in text and state["target"] == "target" and state["reason"].startswith(why)
    metrics = requests.get(f"{server.url}/minio/v2/metrics/cluster").text
    assert f'drystone_access_log_failing{{bucket="source",target="target",code="{code}"}} 1' in metrics
    assert metric("failing_buckets") == 1 and metric("omitted_total") >= state["omitted"]
    assert metric("waiting_bytes") <= 8 << 20
    # Once there is a target again everything comes: the oldest lines, and a count of the rest.
    begin(s3)
    lines = wait_for(lambda: [*lines_of(s3, "target")] if any(map(SUMMARY.search, lines_of(s3, "target"))) else None)
    own, omitted = counted(lines, "source")
    assert own + omitted >= 1202 and own > 100 and omitted > 100
    assert any(" REST.PUT.OBJECT first " in line for line in lines)
    assert wait_for(lambda: not metric("failing_buckets"))
    _, said = server.stop()
    (line,) = [line for line in said.splitlines() if "an access log cannot be delivered" in line]
    assert "bucket=source target=target" in line.replace('"', "") and why in line
    assert said.count("an access log cannot be delivered") == 1 and said.count("an access log can be delivered again") == 1


def test_counts_of_a_target_that_fails_outlive_the_process(start):
    server = start("--log-delivery-seconds", "1")
    s3 = server.client()
    log_to(s3, "source", "target")
    deny_target(s3)
    s3.put_object(Bucket="source", Key="first", Body=b"x")
    time.sleep(1.5)
    assert flood(server, "source", 1200) == {403: 1200}
    server.stop()
    server = start("--log-delivery-seconds", "1", directory=server.directory)
    s3 = server.client()
    s3.delete_bucket_policy(Bucket="target")
    lines = wait_for(lambda: [*lines_of(s3, "target")] if any(map(SUMMARY.search, lines_of(s3, "target"))) else None)
    own, omitted = counted(lines, "source")
    assert own + omitted >= 1201 and omitted > 100
