"""A clock of locks that is ahead of the wall clock, because it began while that one was wrong, ends no lock and takes none."""
import datetime
import json

import pytest

from conftest import drystone
from test_encryption import code_of
from test_lock_clock import BUCKET, DAY, at, held, locked, stop  # noqa: F401
from test_lock_clock_budget import error_of, lock_by_default


def until(days):
    return datetime.datetime.now(datetime.timezone.utc) + days * DAY


def retention(mode, days):
    return {"Mode": mode, "RetainUntilDate": until(days)}


def state(server):
    return json.loads(drystone("status", "--at", server.directory, "--json").stdout)["status"]


def multipart(s3, key, **lock):
    made = s3.create_multipart_upload(Bucket=BUCKET, Key=key, **lock)
    place = {"Bucket": BUCKET, "Key": key, "UploadId": made["UploadId"]}
    part = s3.upload_part(**place, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    return lambda: s3.complete_multipart_upload(**place, MultipartUpload=parts)


def test_a_clock_that_began_ten_years_ahead_takes_no_locks_until_it_is_confirmed(at):  # noqa: F811
    server = at(3650)
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    s3.put_object(Bucket=BUCKET, Key="plain", Body=b"x")
    stop(server)
    # The wall clock is right again.
    server = at(0)
    s3 = server.client()
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until(365)}
    place = {"Bucket": BUCKET, "Key": "k"}
    s3.put_object(Bucket=BUCKET, Key="source", Body=b"x")
    complete = multipart(s3, "k", **lock)
    explicit = {
        "put": lambda: s3.put_object(**place, Body=b"x", **lock),
        "copy": lambda: s3.copy_object(**place, CopySource=f"{BUCKET}/source", **lock),
        "multipart": complete,
        "retention": lambda: s3.put_object_retention(Bucket=BUCKET, Key="plain", Retention=retention("GOVERNANCE", 365)),
    }
    for name, call in explicit.items():
        assert_refused(name, call)
    lock_by_default(s3, 365)
    assert_refused("default", lambda: s3.put_object(**place, Body=b"x"))
    assert [version["Key"] for version in s3.list_object_versions(Bucket=BUCKET)["Versions"]] == ["plain", "source"]
    # A legal hold has no date.
    s3.put_object_legal_hold(Bucket=BUCKET, Key="plain", LegalHold={"Status": "ON"})
    shown = state(server)
    assert shown["is_lock_clock_ahead"] and shown["is_lock_clock_held"]
    assert 3649 * 86400 < shown["lock_clock_ahead_s"] <= 3650 * 86400 and shown["lock_clock_behind_s"] == 0
    assert "confirm-clock" in drystone("status", "--at", server.directory).stdout
    assert drystone("lock", "confirm-clock", "--at", server.directory).returncode == 0
    assert state(server)["lock_clock_ahead_s"] == 0 and not state(server)["is_lock_clock_ahead"]
    for name, call in explicit.items():
        made = call()
        if "VersionId" in made:
            assert code_of(s3.delete_object, **place, VersionId=made["VersionId"]) == "AccessDenied", name
    made = s3.put_object(**place, Body=b"x")
    assert code_of(s3.delete_object, **place, VersionId=made["VersionId"]) == "AccessDenied"
    stop(server)


def assert_refused(name, call):
    refused = error_of(call)
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 503, (name, refused)
    assert refused["Error"]["Code"] == "ServiceUnavailable" and "confirm-clock" in refused["Error"]["Message"], (name, refused)


@pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])
def test_a_clock_that_is_hours_ahead_ends_no_lock_that_the_wall_clock_holds(at, mode):  # noqa: F811
    server = at(0)
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    place = {"Bucket": BUCKET, "Key": "k"}
    put = s3.put_object(**place, Body=b"x", ObjectLockMode=mode, ObjectLockRetainUntilDate=until(0.5))
    version = {**place, "VersionId": put["VersionId"]}
    stop(server)
    # A wrong wall clock is believed within the budget, and is right again at the next start.
    stop(at(23 / 24))
    server = at(0)
    s3 = server.client()
    assert code_of(s3.delete_object, **version) == "AccessDenied"
    entry = {"Objects": [{"Key": "k", "VersionId": put["VersionId"]}]}
    assert [error["Code"] for error in s3.delete_objects(Bucket=BUCKET, Delete=entry)["Errors"]] == ["AccessDenied"]
    for shorter in (retention(mode, 1), retention("GOVERNANCE", 1)):
        shorter["RetainUntilDate"] = put_until(s3, version) - datetime.timedelta(seconds=60)
        assert code_of(s3.put_object_retention, **version, Retention=shorter) == "AccessDenied"
    assert code_of(s3.put_object_retention, **version, Retention={}) != "done"
    put = s3.put_object(**place, Body=b"x", ObjectLockMode=mode, ObjectLockRetainUntilDate=until(2))
    assert code_of(s3.delete_object, **place, VersionId=put["VersionId"]) == "AccessDenied"
    s3.put_object_retention(**version, Retention=retention(mode, 3))
    assert not state(server)["is_lock_clock_ahead"] and state(server)["lock_clock_ahead_s"] > 22 * 3600
    stop(server)


def put_until(s3, version):
    return s3.get_object_retention(**version)["Retention"]["RetainUntilDate"]
