"""Stores of earlier binaries (`tests/fixtures/`): every byte, right and lock is as it was, and stays so."""
import datetime
import hashlib
import json
import lzma
import os
import pathlib
import random
import subprocess
import tarfile
import time

import boto3
import pytest
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, drystone
from test_encryption import CUSTOMER, certificates, code_of

FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures"
STORES = sorted(path.relative_to(FIXTURES).as_posix()[:-len(".tar.xz")] for path in FIXTURES.glob("*/*.tar.xz"))
DATES = {"ObjectLockRetainUntilDate"}


class Store:
    """A fixture that was unpacked, and what must be in it."""

    def __init__(self, name, folder, start):
        self.expected = json.loads((FIXTURES / f"{name}.json").read_text())
        self.folder, self.begin = folder, start
        with lzma.open(FIXTURES / f"{name}.tar.xz") as packed, tarfile.open(fileobj=packed) as archive:
            archive.extractall(folder / "store", filter="data")
        self.drives = sorted((folder / "store").iterdir())
        self.certs = certificates(folder / "certs")

    def start(self, *arguments, **kw):
        first, *others = self.drives
        self.server = self.begin(*map(str, others), "--segment-size", "1MiB", *self.certs, *arguments, directory=first, **kw)
        return self.server

    def client(self, service="s3", keys=(USER, PASSWORD)):
        return boto3.client(service, endpoint_url=self.server.url, region_name="us-east-1", verify=False,
                            aws_access_key_id=keys[0], aws_secret_access_key=keys[1])

    def check(self):
        s3 = self.client()
        for entry in self.expected["objects"]:
            self.check_object(s3, entry)
        for call, document in self.expected["documents"].items():
            found = getattr(s3, call)(Bucket="plain")
            del found["ResponseMetadata"]
            assert json.loads(json.dumps(found, default=str)) == document, call
        marker = self.expected["marker"]
        listed = s3.list_object_versions(Bucket=marker["bucket"])
        assert [(m["Key"], m["VersionId"], m["IsLatest"]) for m in listed["DeleteMarkers"]] == [("gone", marker["version"], True)]
        versions = {(v["Key"], v["VersionId"]) for v in listed["Versions"]}
        assert versions == {(e["key"], e["version"] or "null") for e in self.expected["objects"] if e["bucket"] == marker["bucket"]}
        self.check_rights()
        self.check_locks(s3)

    def check_object(self, s3, entry):
        named = {"VersionId": entry["version"]} if entry["version"] else {}
        place = {"Bucket": entry["bucket"], "Key": entry["key"], **named}
        customer = CUSTOMER if entry["customer"] else {}
        found = s3.get_object(**place, **customer, ChecksumMode="ENABLED")
        content = found["Body"].read()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry
        assert len(content) == entry["size"] and s3.get_object_tagging(**place)["TagSet"] == entry["tags"], entry
        head = s3.head_object(**place, **customer, ChecksumMode="ENABLED")
        for name, value in entry["head"].items():
            shown = head[name].isoformat() if name in DATES else head[name]
            assert shown == value, (entry, name)
        if entry["customer"]:
            assert code_of(s3.get_object, **place) == "InvalidRequest"

    def check_rights(self):
        for right in self.expected["rights"]:
            s3 = self.client(keys=self.expected["keys"][right["who"]])
            code = code_of(s3.get_object, Bucket="plain", Key=right["key"])
            assert code == (right["code"] or "done"), right
        policy = self.expected["policy"]
        iam = self.client("iam")
        version = iam.get_policy(PolicyArn=policy["arn"])["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=policy["arn"], VersionId=version)
        assert found["PolicyVersion"]["Document"] == policy["document"]

    def check_locks(self, s3):
        for entry in (e for e in self.expected["objects"] if e["bucket"] == "locks"):
            place = {"Bucket": "locks", "Key": entry["key"], "VersionId": entry["version"]}
            assert code_of(s3.delete_object, **place) == "AccessDenied", entry
        compliance = next(e for e in self.expected["objects"] if e["key"] == "compliance")
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
        place = {"Bucket": "locks", "Key": "compliance", "VersionId": compliance["version"]}
        shorter = {"Retention": {"Mode": "COMPLIANCE", "RetainUntilDate": soon}, "BypassGovernanceRetention": True}
        assert code_of(s3.put_object_retention, **place, **shorter) == "AccessDenied"

    def complete_uploads(self):
        """Each open upload gets another part and becomes an object that is expected from then on."""
        s3 = self.client()
        for upload in self.expected["uploads"]:
            place = {"Bucket": "plain", "Key": upload["key"], "UploadId": upload["upload"]}
            customer, more = CUSTOMER if upload["customer"] else {}, b"the last part"
            listed = [(p["PartNumber"], p["ETag"], p["Size"]) for p in s3.list_parts(**place)["Parts"]]
            assert listed == [(p["PartNumber"], p["ETag"], upload["size"]) for p in upload["parts"]]
            content = body(upload["key"], upload["size"])
            parts = upload["parts"]
            # A part that another follows has 5 MiB.
            if upload["size"] >= 5 << 20:
                etag = s3.upload_part(**place, PartNumber=2, Body=more, **customer)["ETag"]
                parts, content = [*parts, {"PartNumber": 2, "ETag": etag}], content + more
            else:
                etag = s3.upload_part(**place, PartNumber=2, Body=more, **customer)["ETag"]
                parts, content = [{"PartNumber": 2, "ETag": etag}], more
            s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
            self.expected["objects"].append({
                "bucket": "plain", "key": upload["key"], "version": None, "size": len(content), "tags": [], "head": {},
                "sha256": hashlib.sha256(content).hexdigest(), "customer": upload["customer"]})
        self.expected["uploads"] = []


def body(name, size):
    line = f"{name} of {size} bytes\n".encode()
    return (line * (size // len(line) + 1))[:size]


@pytest.fixture(params=STORES)
def store(request, tmp_path, start):
    return Store(request.param, tmp_path, start)


def test_a_store_of_an_earlier_binary_is_as_it_was(store):
    """Everything is read; what was begun is completed; a restart and a crash change nothing."""
    store.start()
    store.check()
    store.complete_uploads()
    store.check()
    code, log = store.server.stop()
    assert code == 0, log
    checked = drystone("fsck", *store.drives)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    store.start()
    store.check()
    store.server.kill()
    store.start()
    store.check()


def test_a_policy_of_an_earlier_binary_means_those_who_had_its_names_at_the_upgrade(store):
    """The bucket lets the user of a name read a row; one made later under the name may not, nor after a restart."""
    store.start()
    store.check_rights()
    iam, s3, text = store.client("iam"), store.client(), store.expected["documents"]["get_bucket_policy"]["Policy"]
    user = iam.get_user(UserName="reader")["User"]
    for policy in iam.list_attached_user_policies(UserName="reader")["AttachedPolicies"]:
        iam.detach_user_policy(UserName="reader", PolicyArn=policy["PolicyArn"])
    for name in iam.list_user_policies(UserName="reader")["PolicyNames"]:
        iam.delete_user_policy(UserName="reader", PolicyName=name)
    iam.delete_access_key(UserName="reader", AccessKeyId=store.expected["keys"]["reader"][0])
    iam.delete_user(UserName="reader")
    for _ in range(2):
        assert s3.get_bucket_policy(Bucket="plain")["Policy"] == text.replace(user["Arn"], user["UserId"])
        iam.create_user(UserName="reader", Path="/team/")
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        another = store.client(keys=(key["AccessKeyId"], key["SecretAccessKey"]))
        assert code_of(another.get_object, Bucket="plain", Key="row") == "AccessDenied"
        iam.delete_access_key(UserName="reader", AccessKeyId=key["AccessKeyId"])
        iam.delete_user(UserName="reader")
        store.server.kill()
        store.start()
        iam, s3 = store.client("iam"), store.client()


def test_policies_of_an_earlier_binary_get_their_ids_in_spite_of_kills(store):
    """Killed after ever longer times, until one start has done it; then every right is as it was."""
    dice = random.Random(7)
    for number in range(8):
        server = store.start(wait=False)
        time.sleep(0.04 + 0.06 * number * dice.random())
        server.kill()
    store.start()
    store.check_rights()
    assert store.client().get_bucket_policy(Bucket="plain")["Policy"] == store.expected["documents"]["get_bucket_policy"]["Policy"]


def is_sealed(store):
    """Whether the keyring says that all rows, and all drives, have seals."""
    return {"sealed_deployments", "sealed_drives"} <= set(json.loads((store.drives[0] / "keyring").read_text()))


def test_giving_rows_their_seals_survives_a_kill_at_any_time(store):
    """Killed after ever longer times, until one start has done it; then the store is as it was."""
    dice = random.Random(4)
    assert not is_sealed(store)
    for number in range(12):
        server = store.start(wait=False)
        time.sleep(0.04 + 0.05 * number * dice.random())
        server.kill()
    store.start()
    assert is_sealed(store)
    store.check()
    store.server.stop()
    store.start()
    store.check()


def test_the_log_says_when_all_rows_have_seals(store):
    """docs/security.md names this line, after which the keyring is worth a new backup; it comes once."""
    line = "all rows have integrity seals from now on"
    store.start()
    deadline = time.monotonic() + 20
    while not is_sealed(store) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert line in store.server.stop()[1]
    store.start()
    assert line not in store.server.stop()[1]


def test_what_is_derived_from_identities_is_there_after_a_start(store):
    """Who holds a policy, and how many keys a user has, is known of a store that had no rows for it; also after kills."""
    dice = random.Random(5)
    for number in range(5):
        server = store.start(wait=False)
        time.sleep(0.1 + 0.05 * number * dice.random())
        server.kill()
    store.start()
    for again in (False, True):
        iam, arn = store.client("iam"), store.expected["policy"]["arn"]
        assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
        listed = {p["PolicyName"]: p["AttachmentCount"] for p in iam.list_policies(OnlyAttached=True)["Policies"]}
        assert listed == {"most": 1}
        assert [g["GroupName"] for g in iam.list_entities_for_policy(PolicyArn=arn)["PolicyGroups"]] == ["writers"]
        assert code_of(iam.delete_policy, PolicyArn=arn) == "DeleteConflict"
        if not again:
            assert len(iam.list_access_keys(UserName="writer")["AccessKeyMetadata"]) == 1
            iam.create_access_key(UserName="writer")
        assert len(iam.list_access_keys(UserName="writer")["AccessKeyMetadata"]) == 2
        assert code_of(iam.create_access_key, UserName="writer") == "LimitExceeded"
        store.server.kill()
        store.start()
    iam = store.client("iam")
    iam.detach_group_policy(GroupName="writers", PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)


def test_a_store_says_that_the_binary_that_wrote_it_cannot_read_it_any_more(store):
    """That binary reads formats 1 and 2 of a drive and refuses each other one (the next test shows it)."""
    def newest_format(drive):
        slots = (drive / "super").read_bytes()
        slots = [slots[at:at + 4096] for at in range(0, len(slots), 4096)]
        # Magic, format, zeros, sequence.
        valid = [slot for slot in slots if slot.startswith(b"DRYSUPER")]
        return max((int.from_bytes(slot[16:24], "little"), slot[8]) for slot in valid)[1]
    assert {newest_format(drive) for drive in store.drives} <= {1, 2}
    store.start()
    store.server.kill()
    assert {newest_format(drive) for drive in store.drives} == {5}


@pytest.mark.skipif("DRYSTONE_OLD_BINARY" not in os.environ, reason="DRYSTONE_OLD_BINARY, of commit c9ead26, is not set")
def test_the_binary_that_wrote_a_store_refuses_it_afterwards(store):
    store.start()
    store.complete_uploads()
    store.server.kill()
    for drives in (store.drives, store.drives[:-1]):
        old = subprocess.run([os.environ["DRYSTONE_OLD_BINARY"], "server", *map(str, drives), "--address", "127.0.0.1:0",
                              "--console-address", "127.0.0.1:0"], capture_output=True, text=True, timeout=30)
        assert old.returncode == 1 and "has format" in old.stderr, old.stderr
        if len(store.drives) == 1:
            break
    store.start()
    store.check()
