"""The writer of one drive of six, who does not have the keyring, cannot roll the catalog back for all: what a drive says of
itself is sealed, and an old copy of it loses against the others."""
import json
import os
import pathlib
import shutil
import struct

import pytest
from awscrt.checksums import crc32c

from conftest import drystone
from test_at_rest import policy, service
from test_encryption import code_of

SLOT, SEAL_AT = 4096, 4068


def newest_slot(raw):
    slots = [raw[at:at + SLOT] for at in (0, SLOT)]
    return max((slot for slot in slots if slot.startswith(b"DRYSUPER")), key=lambda slot: struct.unpack("<Q", slot[16:24]))


class Identity:
    """What a drive says of itself, as its file `super` has it."""

    def __init__(self, directory):
        self.path = pathlib.Path(directory) / "super"
        slot = newest_slot(self.path.read_bytes())
        self.format, (self.sequence,) = slot[8], struct.unpack("<Q", slot[16:24])
        self.deployment, self.drive = slot[24:40], slot[40:56]
        self.term, self.segment_len, self.created, count = struct.unpack("<IIQH", slot[56:74])
        ids = lambda at, count: [slot[at + 16 * n:at + 16 * n + 16] for n in range(count)]  # noqa: E731
        self.view, at = ids(74, count), 74 + 16 * count
        self.ballot, count = struct.unpack("<IH", slot[at:at + 6])
        self.roster, at = ids(at + 6, count), at + 6 + 16 * count
        (self.promised,) = struct.unpack("<I", slot[at:at + 4])
        self.seal = slot[SEAL_AT:SEAL_AT + 24]

    def write(self):
        """Writes it with a checksum that is right."""
        body = b"DRYSUPER" + bytes([self.format]) + bytes(7) + struct.pack("<Q", self.sequence) + self.deployment + self.drive
        body += struct.pack("<IIQH", self.term, self.segment_len, self.created, len(self.view)) + b"".join(self.view)
        body += struct.pack("<IH", self.ballot, len(self.roster)) + b"".join(self.roster) + struct.pack("<I", self.promised)
        body = body.ljust(SEAL_AT, b"\0") + self.seal
        raw, at = bytearray(self.path.read_bytes()), self.sequence % 2 * SLOT
        raw[at:at + SLOT] = body + struct.pack("<I", crc32c(body))
        self.path.write_bytes(raw)


def claim(identity):
    """A higher ballot than any other, and itself as the only one that holds the catalog."""
    identity.sequence += 1000
    identity.term += 1000
    identity.ballot += 1000
    identity.promised = identity.ballot
    identity.view = [identity.drive]


def without_a_seal(identity):
    claim(identity)
    identity.format, identity.seal = 4, bytes(24)


def with_its_old_seal(identity):
    claim(identity)


def as_a_tool_without_keyring(identity):
    claim(identity)
    identity.seal = bytes(24)


def under_an_unknown_key(identity):
    claim(identity)
    identity.seal = os.urandom(24)


def of_another_deployment(identity):
    without_a_seal(identity)
    identity.deployment = os.urandom(16)


FORGERIES = [without_a_seal, with_its_old_seal, as_a_tool_without_keyring, under_an_unknown_key, of_another_deployment]


class Six:
    """Six drives with the keyring elsewhere; an object that was overwritten, and a key that was deleted, after `snap` was taken
    of a drive that holds the catalog."""

    def __init__(self, start, tmp_path, count=6):
        self.begin, self.keyring = start, ("--keyring", str(tmp_path / "keyring"))
        self.drives = [tmp_path / f"d{number}" for number in range(count)]
        server = self.start()
        s3, iam = server.client(), service(server, "iam")
        s3.create_bucket(Bucket="bbb")
        s3.put_object(Bucket="bbb", Key="k", Body=b"OLD")
        iam.create_user(UserName="eve")
        iam.put_user_policy(UserName="eve", PolicyName="p", PolicyDocument=policy("arn:aws:s3:::bbb/*"))
        key = iam.create_access_key(UserName="eve")["AccessKey"]
        self.eve = (key["AccessKeyId"], key["SecretAccessKey"])
        self.stop(server)
        view = Identity(self.drives[0]).view
        self.victim = next(drive for drive in self.drives if Identity(drive).drive in view)
        shutil.copytree(self.victim, tmp_path / "snap", ignore=shutil.ignore_patterns("*.sock"))
        server = self.start()
        s3, iam = server.client(), service(server, "iam")
        iam.delete_user_policy(UserName="eve", PolicyName="p")
        iam.delete_access_key(UserName="eve", AccessKeyId=key["AccessKeyId"])
        iam.delete_user(UserName="eve")
        s3.put_object(Bucket="bbb", Key="k", Body=b"NEW")
        self.check(server)
        self.stop(server)
        self.snap = tmp_path / "snap"

    def start(self, **kw):
        first, *others = map(str, self.drives)
        return self.begin(*others, *self.keyring, directory=first, **kw)

    def stop(self, server):
        code, log = server.stop()
        assert code == 0, log
        return log

    def roll_back(self, drive=None, to=None):
        """The old copy of a drive is put back."""
        drive = drive or self.victim
        shutil.rmtree(drive)
        shutil.copytree(to or self.snap, drive)

    def check(self, server):
        """Everything is as it was last."""
        assert server.client().get_object(Bucket="bbb", Key="k")["Body"].read() == b"NEW"
        assert code_of(service(server, "s3", *self.eve).get_object, Bucket="bbb", Key="k") == "InvalidAccessKeyId"

    def states(self):
        at = next(drive for drive in self.drives if drive != self.victim)
        listed = drystone("drive", "list", "--at", at, "--json")
        assert listed.returncode == 0, listed.stderr
        return {drive["path"]: drive["state"] for drive in json.loads(listed.stdout)["drives"]}


@pytest.fixture
def six(start, tmp_path):
    return Six(start, tmp_path)


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_no_drive_makes_itself_the_newest(six, forge):
    six.roll_back()
    identity = Identity(six.victim)
    forge(identity)
    identity.write()
    server = six.start()
    six.check(server)
    log = six.stop(server)
    assert "not trusted" in log and str(six.victim) in log, log
    checked = drystone("fsck", *six.drives, *six.keyring, "--json")
    assert checked.returncode == 1 and json.loads(checked.stdout)["drives_not_trusted"] == [str(six.victim)], checked.stdout
    assert f"NOT TRUSTED {six.victim}" in drystone("fsck", *six.drives, *six.keyring).stdout


def test_an_old_copy_of_a_drive_is_brought_up_to_date(six):
    """It has its own seal of then, and a lower ballot than the others."""
    six.roll_back()
    server = six.start()
    six.check(server)
    log = six.stop(server)
    assert "not trusted" not in log
    assert drystone("fsck", *six.drives, *six.keyring).returncode == 0


def test_a_drive_that_is_not_trusted_is_shown_and_can_be_made_again(six):
    identity = Identity(six.victim)
    without_a_seal(identity)
    identity.write()
    drives = list(six.drives)
    six.drives = [drive for drive in drives if drive != six.victim] + [six.victim]
    server = six.start()
    assert six.states()[str(six.victim)] == "not-trusted"
    shutil.rmtree(six.victim)
    six.victim.mkdir()
    replaced = drystone("drive", "replace", "--at", six.drives[0], six.victim, six.victim)
    assert replaced.returncode == 0, replaced.stderr
    six.stop(server)
    server = six.start()
    six.check(server)
    assert "not-trusted" not in six.states().values()
    assert Identity(six.victim).format == 5
    six.stop(server)


def test_tools_without_the_keyring_take_no_seal_away(six):
    for _ in range(3):
        checked = drystone("fsck", *six.drives)
        # It fails, because it could not look at seals.
        assert checked.returncode == 1 and "everything that was checked holds" in checked.stdout, checked.stdout + checked.stderr
        assert "their integrity seals" in checked.stdout
    before = [Identity(drive).term for drive in six.drives]
    server = six.start()
    six.check(server)
    assert "not trusted" not in six.stop(server)
    assert all(Identity(drive).term > term for drive, term in zip(six.drives, before))


def test_a_drive_alone_is_refused_if_it_is_forged(start, tmp_path):
    """An old copy of the only drive cannot be told from the newest one; docs/security.md says so."""
    one = Six(start, tmp_path, count=1)
    identity = Identity(one.victim)
    without_a_seal(identity)
    identity.write()
    server = one.start(wait=False)
    assert server.process.wait(timeout=20) == 1 and "not trusted" in server.process.stderr.read()


@pytest.mark.parametrize("is_noted", [False, True])
def test_a_drive_without_a_seal_counts_only_before_all_have_one(six, is_noted):
    """As if it had been missing while the others got their seals; the keyring notes when all have one."""
    ring = pathlib.Path(six.keyring[1])
    assert "sealed_drives" in json.loads(ring.read_text())
    if not is_noted:
        ring.write_text(json.dumps({name: value for name, value in json.loads(ring.read_text()).items() if name != "sealed_drives"}))
    six.roll_back()
    identity = Identity(six.victim)
    without_a_seal(identity)
    identity.term -= 1000
    identity.write()
    server = six.start()
    six.check(server)
    assert (six.states()[str(six.victim)] == "not-trusted") == is_noted
    six.stop(server)
    if not is_noted:
        assert Identity(six.victim).format == 5 and "sealed_drives" in json.loads(ring.read_text())


@pytest.mark.parametrize("is_missing", [False, True], ids=["of one that is there", "of one that is missing"])
@pytest.mark.parametrize("holds_catalog", [False, True])
def test_the_super_of_another_drive_stops_that_drive_only(six, is_missing, holds_catalog, tmp_path):
    """The seal of such a file holds. The drive into which it was copied counts as missing, is shown by its own id, and is used
    again with its own file."""
    view = Identity(six.drives[0]).view
    source, target = [[drive for drive in six.drives if (Identity(drive).drive in view) == is_in][0 if is_in else -1]
                      for is_in in (not holds_catalog, holds_catalog)]
    own, its_id = (target / "super").read_bytes(), Identity(target).drive.hex()
    shutil.copy(source / "super", target / "super")
    if is_missing:
        source.rename(tmp_path / "away")
    server = six.start()
    six.check(server)
    at = next(drive for drive in six.drives if drive not in (source, target))
    listed = json.loads(drystone("drive", "list", "--at", at, "--json").stdout)["drives"]
    states = {drive["path"]: (drive["state"], drive["id"]) for drive in listed}
    assert states[str(target)] == ("not-trusted", its_id), states
    log = six.stop(server)
    assert "its file super is that of another drive" in log and its_id in log
    if is_missing:
        (tmp_path / "away").rename(source)
    (target / "super").write_bytes(own)
    server = six.start()
    six.check(server)
    listed = json.loads(drystone("drive", "list", "--at", at, "--json").stdout)["drives"]
    assert {drive["state"] for drive in listed} == {"online"}, listed
