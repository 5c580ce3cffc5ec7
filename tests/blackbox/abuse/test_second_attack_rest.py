"""Findings F10 and F11 of the second attack: the id of a deployment proves nothing, and a clock of locks that is ahead ends no lock."""
import datetime
import os
import struct
import subprocess

import pytest

from conftest import Server, drystone
from people import allow, code_of, user_with
from test_at_rest import TOOL, begin, damage, needs_tool  # noqa: F401 (`begin` is a fixture)
from test_lock_clock import BUCKET, at, held, locked, stop  # noqa: F401 (`at` is a fixture)

FAMILIES = ["BucketName", "Bucket", "Document", "Head", "Version", "Inline", "Upload", "Part", "Manifest", "Identity", "Kms", "AccessLog", "AccountBucket"]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def change_deployment(directory):
    """Another id of the deployment in both copies of the superblock, with checksums that are right."""
    path, new = f"{directory}/super", os.urandom(16)
    raw = bytearray(open(path, "rb").read())
    for offset in range(0, len(raw), 4096):
        slot = raw[offset:offset + 4096]
        if bytes(slot[:8]) == b"DRYSUPER":
            slot[24:40] = new
            # As before drives had seals.
            slot[8], slot[4068:4092] = 4, bytes(24)
            slot[4092:] = struct.pack("<I", crc32c(bytes(slot[:4092])))
            raw[offset:offset + 4096] = slot
    open(path, "wb").write(raw)


@needs_tool
def test_rows_without_seals_are_not_taken_under_another_id(begin, tmp_path):  # noqa: F811
    server = begin()
    s3 = server.client()
    for bucket in ("pub", "sec"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="sec", Key="b", Body=b"TOP SECRET")
    user_with(server, allow("s3:GetObject", resource="arn:aws:s3:::pub/*"))
    server.stop()
    for family in FAMILIES:
        # Not every family has rows.
        subprocess.run([TOOL, server.directory, "--strip", family, "\x01"], capture_output=True)
    damage(server.directory, "--forge", "arn:aws:s3:::pub/*", "arn:aws:s3:::*/**")
    change_deployment(server.directory)
    known = (tmp_path / "keyring").read_text()
    with pytest.raises(AssertionError, match="(?s)no integrity seals of it.*--adopt-unsealed"):
        begin()
    assert (tmp_path / "keyring").read_text() == known, "the keyring does not learn the forged id"
    done = drystone("fsck", server.directory, "--keyring", tmp_path / "keyring", "--json")
    assert done.returncode != 0, done.stdout


def test_two_new_stores_share_a_keyring(tmp_path):
    for name in ("one", "two", "one", "two"):
        server = Server(tmp_path / name, "--keyring", str(tmp_path / "keyring")).wait_ready()
        s3 = server.client()
        if "abc" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
            s3.create_bucket(Bucket="abc")
        s3.put_object(Bucket="abc", Key="k", Body=b"x")
        server.stop()


def test_a_clock_of_locks_that_is_ahead_ends_no_lock(at):  # noqa: F811
    """The first bucket that locks is made while the clock of the machine is ten years ahead."""
    server = at(0)
    server.client().create_bucket(Bucket="other")
    stop(server)
    server = at(3650)
    server.client().create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    version = locked(server.client(), "k", 365 + 3650)
    stop(server)
    server = at(0)
    s3 = server.client()
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)
    assert code_of(s3.delete_object, **version) == "AccessDenied"
    assert code_of(s3.put_object_retention, **version, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon}) == "AccessDenied"
    # The operator sees it, and puts it right.
    assert held(server)
    assert drystone("lock", "confirm-clock", "--at", server.directory).returncode == 0
    assert not held(server) and code_of(s3.delete_object, **version) == "AccessDenied"


@pytest.mark.parametrize("hours", [1, 20])
def test_a_downtime_that_was_believed_wrongly_shortens_no_lock(at, hours):  # noqa: F811
    server = at(0)
    server.client().create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    stop(server)
    stop(at(hours / 24))
    s3 = at(0).client()
    version = locked(s3, "k", hours / 24 / 2)
    assert code_of(s3.delete_object, **version) == "AccessDenied"
