"""The id of the deployment stands on the drive under a checksum only: writing another one does not make the rows those of a
store from before rows had seals."""
import os
import pathlib
import re
import shutil
import struct
import subprocess

import pytest
from awscrt.checksums import crc32c

from conftest import Server, drystone
from test_at_rest import TOOL, damage, needs_tool, outcome, policy, service
from test_encryption import code_of

FAMILIES = ("BucketName", "Bucket", "Document", "Head", "Version", "Inline", "Upload", "Part", "Manifest", "Identity", "Kms", "AccessLog", "AccountBucket")


def write_id(directory, new):
    path = pathlib.Path(directory) / "super"
    raw = bytearray(path.read_bytes())
    for at in (0, 4096):
        slot = raw[at:at + 4096]
        if bytes(slot[:8]) == b"DRYSUPER":
            old = bytes(slot[24:40])
            slot[24:40] = new
            # As before drives had seals.
            slot[8], slot[4068:4092] = 4, bytes(24)
            slot[4092:] = struct.pack("<I", crc32c(bytes(slot[:4092])))
            raw[at:at + 4096] = slot
    path.write_bytes(raw)
    return old


def strip(directory):
    """Takes the seal of every row away, which ends with this byte; a family may have no rows."""
    done = [subprocess.run([TOOL, directory, "--strip", family, "\x01"], capture_output=True, text=True) for family in FAMILIES]
    return sum(int(one.stdout.split()[0]) for one in done)


def refusal(directory, *arguments):
    """What a start says that is refused."""
    server = Server(directory, *arguments)
    try:
        server.process.wait(timeout=20)
        return server.process.stderr.read()
    except subprocess.TimeoutExpired:
        server.kill()
        raise AssertionError("it started") from None


@pytest.fixture
def store(start, tmp_path):
    """A store with a reader of one bucket, and its keyring elsewhere; stopped."""
    keyring = ("--keyring", str(tmp_path / "keyring"))
    server = start(*keyring)
    s3, iam = server.client(), service(server, "iam")
    for bucket in ("pub", "sec"):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="a", Body=b"content", ServerSideEncryption="AES256")
    iam.create_user(UserName="reader")
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=policy("arn:aws:s3:::pub/*"))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    server.stop()
    return server.directory, keyring, (key["AccessKeyId"], key["SecretAccessKey"])


@needs_tool
def test_rows_without_seals_are_not_those_of_a_new_deployment(start, store, tmp_path):
    directory, keyring, keys = store
    shutil.copytree(directory, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock"))
    old = write_id(directory, os.urandom(16))
    # The seals tell whose rows they are.
    assert "file super of a drive was changed" in refusal(directory, *keyring)
    write_id(directory, old)
    assert strip(directory) > 5
    damage(directory, "--forge", "arn:aws:s3:::pub/*", "arn:aws:s3:::*/**")
    new = os.urandom(16)
    write_id(directory, new)
    message = refusal(directory, *keyring)
    assert new.hex() in message and "--adopt-unsealed" in message
    assert drystone("fsck", directory, *keyring).returncode != 0
    # Only the id of this deployment is the word of the operator.
    assert "names deployment" in refusal(directory, *keyring, "--adopt-unsealed", old.hex())
    assert "32 hexadecimal digits" in refusal(directory, *keyring, "--adopt-unsealed", "all")
    assert new.hex() not in pathlib.Path(keyring[1]).read_text()
    # With its own id, but without a seal of its own, the drive is not trusted.
    write_id(directory, old)
    assert "not trusted" in refusal(directory, *keyring)
    # As the server wrote it: rows without seals are not taken.
    shutil.rmtree(directory)
    shutil.copytree(tmp_path / "copy", directory)
    assert strip(directory) > 5
    damage(directory, "--forge", "arn:aws:s3:::pub/*", "arn:aws:s3:::*/**")
    assert "was not written by this deployment" in refusal(directory, *keyring)


@needs_tool
def test_a_second_store_under_a_keyring_starts_new_or_by_the_word_of_the_operator(start, store, tmp_path):
    directory, keyring, keys = store
    # A new store has no rows.
    server = start(*keyring, directory=tmp_path / "second")
    server.client().create_bucket(Bucket="bbb")
    server.stop()
    # One of an earlier version, whose rows have no seals, that comes to this keyring.
    own = pathlib.Path(keyring[1]).read_text()
    forgotten = re.sub(r'"sealed_deployments": \[[^]]*\]', '"sealed_deployments": ["' + "0" * 32 + '"]', own)
    assert forgotten != own
    pathlib.Path(keyring[1]).write_text(forgotten)
    strip(directory)
    identity = re.search("--adopt-unsealed ([0-9a-f]{32})", refusal(directory, *keyring)).group(1)
    server = start(*keyring, "--adopt-unsealed", identity, directory=directory)
    reader = service(server, "s3", *keys)
    assert outcome(reader, "pub", "a") == b"content" and code_of(reader.get_object, Bucket="sec", Key="a") == "AccessDenied"
    server.stop()
    # Once it is known the word is not needed.
    server = start(*keyring, directory=directory)
    assert outcome(service(server, "s3", *keys), "pub", "a") == b"content"
    server.stop()


@needs_tool
def test_a_store_of_an_earlier_version_with_its_own_keyring_gets_seals_as_before(start, store):
    directory, keyring, keys = store
    path = pathlib.Path(keyring[1])
    # Its keyring knows of no seals.
    path.write_text(re.sub(r',\s*"sealed_deployments": \[[^]]*\]', "", path.read_text()))
    assert "sealed_deployments" not in path.read_text() and strip(directory) > 5
    for _ in range(2):
        server = start(*keyring, directory=directory)
        assert outcome(service(server, "s3", *keys), "pub", "a") == b"content"
        server.stop()
        assert "sealed_deployments" in path.read_text()


@needs_tool
def test_a_mark_that_is_lost_costs_nothing_where_all_rows_have_seals(start, store):
    directory, keyring, keys = store
    path = pathlib.Path(keyring[1])
    path.write_text(re.sub(r'"sealed_deployments": \[[^]]*\]', '"sealed_deployments": ["' + "0" * 32 + '"]', path.read_text()))
    server = start(*keyring, directory=directory)
    assert outcome(service(server, "s3", *keys), "pub", "a") == b"content"
    server.stop()
