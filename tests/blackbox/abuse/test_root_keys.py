"""Where the keyring lies outside of the drives, so do the root credentials: a thief of a drive does not learn them, and a writer of
all drives does not become the owner. A store of an earlier version, with the file on its drives, opens as it was."""
import json
import os
import random
import re
import shutil
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER

EVIL = "EVILEVILEVIL\nevil-evil-evil-evil\n"


def listed(server, keys):
    """What the owner of some keys gets for a list of all buckets."""
    config = Config(signature_version="s3v4", retries={"max_attempts": 1})
    client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=keys[0],
                          aws_secret_access_key=keys[1], config=config)
    try:
        return [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    except ClientError as error:
        return error.response["Error"]["Code"]


class Store:
    def __init__(self, base, start, count):
        self.begin, self.drives = start, [base / "drives" / str(number) for number in range(count)]
        self.secrets, self.server = base / "secrets", None
        self.secrets.mkdir()
        (base / "drives").mkdir()
        self.keyring = self.secrets / "keyring"

    def start(self, *arguments, env=None, elsewhere=True, **kw):
        more = ["--keyring", str(self.keyring)] if elsewhere else []
        others = map(str, self.drives[1:])
        self.server = self.begin(*others, *more, "--segment-size", "1MiB", *arguments, directory=self.drives[0], env=env or {}, **kw)
        return self.server

    def stop(self):
        code, said = self.server.stop()
        assert code == 0, said
        return said

    def refused(self, **kw):
        server = self.start(wait=False, **kw)
        assert server.process.wait(20) == 1
        return server.process.stderr.read()

    def file(self):
        (found,) = self.secrets.glob("root-credentials-*")
        return found

    def keys(self):
        return self.file().read_text().split()

    def copies(self):
        return [drive / "root-credentials" for drive in self.drives if (drive / "root-credentials").exists()]

    def make_old(self):
        """Makes it as earlier versions did, with the keyring elsewhere and the credentials on the drives; returns these."""
        server = self.start(elsewhere=False)
        keys = (self.drives[0] / "root-credentials").read_text().split()
        client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=keys[0],
                              aws_secret_access_key=keys[1])
        client.create_bucket(Bucket="bucket")
        self.stop()
        shutil.copy(self.drives[0] / "keyring", self.keyring)
        for drive in self.drives:
            (drive / "keyring").unlink()
        assert len(self.copies()) == len(self.drives) and not self.is_settled()
        return keys

    def is_settled(self):
        return "settled_owners" in json.loads(self.keyring.read_text())

    def must_be_kept_elsewhere(self, keys):
        assert self.keys() == keys and self.file().stat().st_mode & 0o777 == 0o600
        assert self.copies() == [] and self.is_settled()


@pytest.fixture(params=[1, 3])
def store(request, tmp_path, start):
    return Store(tmp_path, start, request.param)


def test_a_thief_of_the_drives_does_not_learn_the_root_keys(store):
    said = store.start() and store.stop()
    keys = store.keys()
    store.must_be_kept_elsewhere(keys)
    assert re.search(rf"Root keys +made now and kept in {store.file()}\n", said) and keys[1] not in said
    store.start()
    assert listed(store.server, keys) == []
    assert f"Root keys   in {store.file()}\n" in store.stop()
    for drive in store.drives:
        for path in drive.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert keys[0].encode() not in content and keys[1].encode() not in content, path


def test_a_writer_of_all_drives_does_not_become_the_owner(store):
    store.start()
    keys = store.keys()
    for how in ("while it runs", "while it is stopped", "without the file"):
        if how != "while it runs":
            store.stop()
        if how == "without the file":
            # As if the secrets came from a backup of before: new keys are made, those of the drives count never again.
            store.file().unlink()
        for drive in store.drives:
            (drive / "root-credentials").write_text(EVIL)
        if how == "while it runs":
            store.stop()
        store.start()
        assert listed(store.server, EVIL.split()) == "InvalidAccessKeyId"
        assert listed(store.server, store.keys()) == [] and (store.keys() == keys) == (how != "without the file")
    said = store.stop()
    for drive in store.drives:
        assert f"copy={drive}/root-credentials" in said
    assert "root credentials on a drive do not count where the keyring lies elsewhere" in said


def test_a_writer_does_not_become_the_owner_once_the_variables_are_gone(store):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD}
    store.start(env=env)
    store.stop()
    for drive in store.drives:
        (drive / "root-credentials").write_text(EVIL)
    store.start(env=env)
    assert listed(store.server, (USER, PASSWORD)) == [] and "do not count" in store.stop()
    store.start()
    assert listed(store.server, EVIL.split()) == "InvalidAccessKeyId" and listed(store.server, store.keys()) == []


def test_the_owner_of_a_store_is_not_told_by_drives_that_were_emptied(store):
    """A new store is made on them, whose owner is not who put a file there: the keyring knows that there was another one."""
    store.start()
    old = store.file()
    store.stop()
    for drive in store.drives:
        shutil.rmtree(drive)
        drive.mkdir()
        (drive / "root-credentials").write_text(EVIL)
    store.start()
    assert listed(store.server, EVIL.split()) == "InvalidAccessKeyId"
    (new,) = set(store.secrets.glob("root-credentials-*")) - {old}
    assert listed(store.server, new.read_text().split()) == []


def test_a_store_of_an_earlier_version_keeps_its_owner(store):
    keys = store.make_old()
    store.start()
    assert listed(store.server, keys) == ["bucket"]
    store.must_be_kept_elsewhere(keys)
    said = store.stop()
    assert "were on the drives in clear, and are kept beside the keyring now" in said and keys[1] not in said
    store.start()
    assert listed(store.server, keys) == ["bucket"] and "in clear" not in store.stop()


def test_the_move_survives_a_stop_at_any_write(store):
    """Each state between its steps: a file half written; the file, but no note in the keyring; both, and some copies left."""
    keys = store.make_old()
    unsettled = store.keyring.read_text()
    store.start()
    store.stop()
    settled, file = store.keyring.read_text(), store.file()
    text = file.read_text()
    for with_file, note, left in [(False, unsettled, len(store.drives)), (True, unsettled, len(store.drives)),
                                  (True, settled, len(store.drives)), (True, settled, 1)]:
        for remains in ("", text[:10], text):
            file.unlink(missing_ok=True)
            file.with_name(file.name + ".new").write_text(remains)
            if with_file:
                file.write_text(text)
                os.chmod(file, 0o600)
            store.keyring.write_text(note)
            for drive in store.drives[-left:]:
                (drive / "root-credentials").write_text(text)
            store.start()
            assert listed(store.server, keys) == ["bucket"]
            file.with_name(file.name + ".new").unlink(missing_ok=True)
            store.must_be_kept_elsewhere(keys)
            store.stop()


def test_the_move_survives_kills(store):
    keys, dice = store.make_old(), random.Random(3)
    for number in range(10):
        server = store.start(wait=False)
        time.sleep(0.02 + 0.03 * number * dice.random())
        server.kill()
    store.start()
    assert listed(store.server, keys) == ["bucket"]
    store.must_be_kept_elsewhere(keys)


def test_copies_of_an_earlier_version_that_differ_name_no_owner(tmp_path, start):
    store = Store(tmp_path, start, 3)
    keys = store.make_old()
    (store.drives[0] / "root-credentials").write_text(EVIL)
    said = store.refused()
    assert f"{store.drives[0]}/root-credentials and {store.drives[1]}/root-credentials hold different root credentials" in said
    assert not list(store.secrets.glob("root-credentials-*")) and not store.is_settled()
    (store.drives[0] / "root-credentials").unlink()
    store.start()
    assert listed(store.server, keys) == ["bucket"] and listed(store.server, EVIL.split()) == "InvalidAccessKeyId"
    store.must_be_kept_elsewhere(keys)


def test_a_directory_that_cannot_be_written_keeps_no_store_of_an_earlier_version_from_opening(store):
    keys = store.make_old()
    store.start()
    store.stop()
    file, text = store.file(), store.file().read_text()
    # As in a directory without the right to write: nothing can be made there.
    blocked = file.with_name(file.name + ".new")
    blocked.mkdir()
    file.unlink()
    settled = store.keyring.read_text()
    ring = json.loads(settled)
    del ring["settled_owners"]
    store.keyring.write_text(json.dumps(ring))
    for drive in store.drives:
        (drive / "root-credentials").write_text(text)
    store.start()
    assert listed(store.server, keys) == ["bucket"]
    assert "the root credentials stay on the drives" in store.stop() and len(store.copies()) == len(store.drives)
    # Where they counted no more, they do not count because of that.
    store.keyring.write_text(settled)
    assert "root credentials cannot be kept in" in store.refused()
    blocked.rmdir()
    store.keyring.write_text(json.dumps(ring))
    store.start()
    store.must_be_kept_elsewhere(keys)


def test_a_file_that_is_damaged_is_named(store):
    store.start()
    store.stop()
    for text in ("", "ONLYONELINE\n", "\n"):
        store.file().write_text(text)
        assert f"{store.file()} must hold two lines" in store.refused()


def test_the_keys_are_changed_in_one_place(store):
    store.start()
    old = store.keys()
    store.stop()
    store.file().write_text("ANOTHERKEY\nanother-secret-key\n")
    store.start()
    assert listed(store.server, ("ANOTHERKEY", "another-secret-key")) == [] and listed(store.server, old) == "InvalidAccessKeyId"


def test_a_keyring_that_a_link_leads_to_a_drive_is_on_a_drive(store):
    """Then nothing is kept from who has the drive, and the credentials stay where they outlive each drive."""
    store.start(elsewhere=False)
    store.stop()
    store.keyring.symlink_to(store.drives[0] / "keyring")
    store.start()
    store.stop()
    assert len(store.copies()) == len(store.drives) and not list(store.secrets.glob("root-credentials-*"))


def test_neither_keyring_nor_credentials_are_copied_onto_drives(tmp_path, start):
    """A keyring that was left on one drive when it was moved is named, and does not come to the others."""
    from conftest import drystone
    store = Store(tmp_path, start, 3)
    store.start()
    keys = store.keys()
    store.stop()
    shutil.copy(store.keyring, store.drives[1] / "keyring")
    store.start()
    added = tmp_path / "drives" / "new"
    added.mkdir()
    done = drystone("drive", "add", added, "--at", store.drives[0])
    assert done.returncode == 0, done.stderr
    assert f"path={store.drives[1]}/keyring" in store.stop()
    for drive in [store.drives[0], store.drives[2], added]:
        assert not (drive / "keyring").exists() and not (drive / "root-credentials").exists()
    assert store.keys() == keys


@pytest.mark.parametrize("text", ["admin\n\n", "\n\n", "admin\n", "ab\nlong-enough\n", "admin\nshort\n", ""])
def test_a_file_of_root_keys_that_was_not_filled_in_opens_nothing(start, tmp_path, text):
    """As for the variables: a script that had no secret must not make an owner without one."""
    drive = tmp_path / "drive"
    drive.mkdir()
    (drive / "root-credentials").write_text(text)
    server = start(directory=drive, env={}, wait=False)
    assert server.process.wait(20) == 1
    assert "root-credentials must hold two lines" in server.process.stderr.read()


def test_root_keys_with_the_id_of_a_key_are_refused(start):
    server = start()
    iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
    iam.create_user(UserName="anna")
    key = iam.create_access_key(UserName="anna")["AccessKey"]["AccessKeyId"]
    server.stop()
    env = {"DRYSTONE_ROOT_USER": key, "DRYSTONE_ROOT_PASSWORD": "another-secret"}
    taken = start(env=env, wait=False)
    assert taken.process.wait(20) == 1
    assert f"{key}, is the id of a key of the user anna" in taken.process.stderr.read()
    assert listed(start(), (USER, PASSWORD)) == []
