"""Downtime is believed within one budget over all restarts, and no wrong clock makes a lock too short or too long."""
import datetime

from botocore.exceptions import ClientError

from conftest import drystone
from test_encryption import code_of
from test_lock_clock import BUCKET, DAY, at, held, locked, stop  # noqa: F401


def lock_by_default(s3, days):
    s3.put_object_lock_configuration(Bucket=BUCKET, ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": days}}})


def retained_until(s3, key):
    return s3.head_object(Bucket=BUCKET, Key=key)["ObjectLockRetainUntilDate"]


def test_many_short_jumps_over_restarts_end_no_lock(at):  # noqa: F811
    server = at(0)
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    version = locked(s3, "k", 5)
    stop(server)
    for restart in range(1, 7):
        server = at(restart * 23 / 24)
        assert held(server) == (restart > 1), restart
        assert code_of(server.client().delete_object, **version) == "AccessDenied", restart
        stop(server)
    # An operator who has looked at the time ends it.
    server = at(6 * 23 / 24)
    assert drystone("lock", "confirm-clock", "--at", server.directory).returncode == 0 and not held(server)
    assert code_of(server.client().delete_object, **version) == "done"
    stop(server)


def test_a_kill_before_the_first_note_changes_nothing(at):  # noqa: F811
    server = at(0)
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    version = locked(s3, "k", 5)
    server.kill()
    server = at(30)
    assert held(server) and code_of(server.client().delete_object, **version) == "AccessDenied"
    server.kill()
    # A tool that looks at the store does not move the clock.
    assert drystone("fsck", server.directory).returncode == 0
    server = at(30)
    assert held(server) and code_of(server.client().delete_object, **version) == "AccessDenied"
    server.kill()


def test_a_default_retention_counts_from_the_clock_that_ends_it(at):  # noqa: F811
    server = at(0)
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    lock_by_default(s3, 1)
    stop(server)
    stop(at(23 / 24))
    # The wall clock is right again, the clock of locks stays ahead.
    server = at(0)
    s3 = server.client()
    put = s3.put_object(Bucket=BUCKET, Key="k", Body=b"x")
    ahead = retained_until(s3, "k") - datetime.datetime.now(datetime.timezone.utc)
    assert 1.9 * DAY < ahead < 2 * DAY
    assert code_of(s3.delete_object, Bucket=BUCKET, Key="k", VersionId=put["VersionId"]) == "AccessDenied"
    stop(server)


def test_a_clock_that_is_years_ahead_makes_no_lock_of_years(at):  # noqa: F811
    server = at(0)
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    s3.create_bucket(Bucket="plain")
    lock_by_default(s3, 1)
    stop(server)
    server = at(3650)
    s3 = server.client()
    refused = error_of(s3.put_object, Bucket=BUCKET, Key="k", Body=b"x")
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert refused["Error"]["Code"] == "ServiceUnavailable" and "confirm-clock" in refused["Error"]["Message"]
    assert s3.list_object_versions(Bucket=BUCKET).get("Versions", []) == []
    # What needs no default retention goes on.
    s3.put_object(Bucket="plain", Key="k", Body=b"x")
    locked(s3, "explicit", 4000)
    assert "confirm-clock" in drystone("status", "--at", server.directory).stdout
    assert drystone("lock", "confirm-clock", "--at", server.directory).returncode == 0
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"x")
    stop(server)


def error_of(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response
    raise AssertionError("it was not refused")
