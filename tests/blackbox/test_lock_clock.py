"""The clock by which locks end: a wall clock that was set ahead ends none of them."""
import datetime
import json
import time

import botocore.auth
import pytest

from conftest import drystone
from test_encryption import code_of

BUCKET, DAY = "bucket", datetime.timedelta(days=1)


@pytest.fixture
def at(start, monkeypatch):
    """Starts the server some days ahead; its clients live at the same time."""
    now = datetime.datetime.now

    def begin(days):
        monkeypatch.setattr(botocore.auth, "get_current_datetime",
                            lambda remove_tzinfo=True: (now(datetime.timezone.utc) + days * DAY).replace(tzinfo=None if remove_tzinfo else datetime.timezone.utc))
        prefix = ("/usr/bin/faketime", "-f", f"+{days}d") if days else ()
        return start(prefix=prefix)

    return begin


def stop(server):
    """faketime starts the server as its child: both end with it."""
    import subprocess
    subprocess.run(["pkill", "-TERM", "-P", str(server.process.pid)], check=False)
    server.process.terminate()
    server.process.wait(timeout=30)
    time.sleep(0.3)


def locked(s3, key, days):
    until = datetime.datetime.now(datetime.timezone.utc) + days * DAY
    put = s3.put_object(Bucket=BUCKET, Key=key, Body=b"x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    return {"Bucket": BUCKET, "Key": key, "VersionId": put["VersionId"]}


def held(server):
    return json.loads(drystone("status", "--at", server.directory, "--json").stdout)["status"]["is_lock_clock_held"]


def test_a_clock_that_jumped_ends_no_lock_until_it_is_confirmed(at):
    server = at(0)
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    version, later = locked(s3, "k", 30), locked(s3, "later", 5000)
    assert not held(server) and code_of(s3.delete_object, **version) == "AccessDenied"
    stop(server)
    server = at(3650)
    s3 = server.client()
    assert held(server) and "drystone lock confirm-clock" in drystone("status", "--at", server.directory).stdout
    assert code_of(s3.delete_object, **version) == "AccessDenied"
    assert code_of(s3.put_object_retention, **version, Retention={}) == "AccessDenied"
    # It stays so over another start, and what is not locked is not touched by it.
    stop(server)
    server = at(3651)
    s3 = server.client()
    assert held(server) and code_of(s3.delete_object, **version) == "AccessDenied"
    plain = s3.put_object(Bucket=BUCKET, Key="plain", Body=b"x")["VersionId"]
    assert code_of(s3.delete_object, Bucket=BUCKET, Key="plain", VersionId=plain) == "done"
    assert drystone("lock", "confirm-clock", "--at", server.directory).returncode == 0
    assert not held(server)
    assert code_of(s3.delete_object, **version) == "done"
    assert code_of(s3.delete_object, **later) == "AccessDenied"
    stop(server)


def test_a_short_jump_is_believed(at):
    server = at(0)
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=12)
    put = s3.put_object(Bucket=BUCKET, Key="k", Body=b"x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    stop(server)
    server = at(0.9)
    assert not held(server)
    assert code_of(server.client().delete_object, Bucket=BUCKET, Key="k", VersionId=put["VersionId"]) == "done"
    stop(server)
