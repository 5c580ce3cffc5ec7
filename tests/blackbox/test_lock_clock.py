"""The clock by which locks end: a wall clock that was set ahead ends none of them."""
import datetime
import glob
import json
import sys

import pytest

from conftest import PASSWORD, USER, drystone
from test_encryption import code_of

BUCKET, DAY = "bucket", datetime.timedelta(days=1)


@pytest.fixture
def at(start, monkeypatch):
    """Starts the server some days ahead; its clients live at the same time."""
    now = datetime.datetime.now

    def begin(days):
        def shifted(remove_tzinfo=True):
            moment = now(datetime.timezone.utc) + days * DAY
            return moment.replace(tzinfo=None) if remove_tzinfo else moment

        # Signatures are made by one of these, as it is installed.
        for module in ("botocore.auth", "botocore.crt.auth"):
            if module in sys.modules:
                monkeypatch.setattr(sys.modules[module], "get_current_datetime", shifted)
        env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD}
        library = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")[0]
        return start(env={**env, "LD_PRELOAD": library, "FAKETIME": f"+{days}d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"} if days else env)

    return begin


def stop(server):
    """Lets the server end: its clock is noted."""
    server.process.terminate()
    server.process.wait(timeout=30)


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
