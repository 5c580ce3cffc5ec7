"""MFA Delete: a second factor for whatever removes a version."""
import base64
import hashlib
import hmac
import json
import struct
import time

import boto3
import pytest
from botocore.config import Config

from conftest import PASSWORD, USER, drystone
from test_encryption import code_of

BUCKET = "bucket"


def code_at(secret, step):
    digest = hmac.new(base64.b32decode(secret), struct.pack(">Q", step), hashlib.sha1).digest()
    at = digest[19] & 15
    return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


class Device:
    """An authenticator: gives each code once, as a person would wait for the next one."""

    def __init__(self, server):
        self.at = server.directory
        made = json.loads(drystone("mfa", "enroll", "--at", self.at, "--json").stdout)["mfa-secret"]
        self.serial, self.secret, self.next = made["serial"], made["secret"], int(time.time()) // 30 - 1
        assert self.secret in made["uri"]

    def code(self):
        # The server takes the step before and the one after, each once.
        self.next = max(self.next, int(time.time()) // 30 - 1)
        while self.next > int(time.time()) // 30 + 1:
            time.sleep(0.5)
        self.next += 1
        return code_at(self.secret, self.next - 1)

    def header(self):
        return f"{self.serial} {self.code()}"


@pytest.fixture
def server(start):
    server = start()
    server.client().create_bucket(Bucket=BUCKET)
    return server


def versioning(s3, status="Enabled", mfa="Enabled", **arguments):
    return s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": status, "MFADelete": mfa}, **arguments)


def test_a_second_factor_guards_versions(server, start):
    s3 = server.client()
    assert code_of(versioning, s3=s3) == "AccessDenied"
    device = Device(server)
    assert code_of(versioning, s3=s3, MFA=device.header()) == "AccessDenied", "not confirmed yet"
    listed = json.loads(drystone("mfa", "info", "--at", device.at, "--json").stdout)["mfa"]
    assert listed == [{"serial": device.serial, "confirmed": False, "created": listed[0]["created"]}]
    assert drystone("mfa", "confirm", "000000", "--at", device.at).returncode == 1
    assert drystone("mfa", "confirm", device.code(), "--at", device.at).returncode == 0
    assert drystone("mfa", "enroll", "--at", device.at).returncode == 1, "one that counts is not replaced"
    used = device.header()
    versioning(s3, MFA=used)
    state = s3.get_bucket_versioning(Bucket=BUCKET)
    assert (state["Status"], state["MFADelete"]) == ("Enabled", "Enabled")
    version = s3.put_object(Bucket=BUCKET, Key="k", Body=b"x")["VersionId"]
    # Markers need none; versions do, in each way to remove one.
    s3.delete_object(Bucket=BUCKET, Key="k")
    named = {"Bucket": BUCKET, "Key": "k", "VersionId": version}
    assert code_of(s3.delete_object, **named) == "AccessDenied"
    assert code_of(s3.delete_object, **named, MFA=used) == "AccessDenied", "a code counts once"
    assert code_of(s3.delete_object, **named, MFA=f"{device.serial} 12345") == "AccessDenied"
    assert code_of(s3.delete_object, **named, MFA="nonsense") == "InvalidArgument", "what is no code of a device is told so"
    assert code_of(s3.delete_object, **named, BypassGovernanceRetention=True) == "AccessDenied"
    batch = {"Bucket": BUCKET, "Delete": {"Objects": [{"Key": "k", "VersionId": version}, {"Key": "other"}]}}
    answer = s3.delete_objects(**batch)
    assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"] and [done["Key"] for done in answer["Deleted"]] == ["other"]
    assert code_of(versioning, s3=s3, status="Suspended") == "AccessDenied"
    assert code_of(versioning, s3=s3, mfa="Disabled") == "AccessDenied"
    assert code_of(s3.put_bucket_lifecycle_configuration, Bucket=BUCKET, LifecycleConfiguration={
        "Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}) == "InvalidBucketState"
    # It outlives a kill, and so does a used code.
    server.kill()
    server = start()
    s3 = server.client()
    assert code_of(s3.delete_object, **named, MFA=used) == "AccessDenied"
    assert s3.get_object(**named)["Body"].read() == b"x"
    assert "Errors" not in s3.delete_objects(**batch, MFA=device.header())
    assert code_of(s3.get_object, **named) == "NoSuchVersion"


def test_only_the_owner_has_to_do_with_it(server):
    s3, device = server.client(), Device(server)
    assert drystone("mfa", "confirm", device.code(), "--at", device.at).returncode == 0
    iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
    iam.create_user(UserName="anna")
    iam.attach_user_policy(UserName="anna", PolicyArn="arn:aws:iam::aws:policy/consoleAdmin")
    key = iam.create_access_key(UserName="anna")["AccessKey"]
    anna = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=key["AccessKeyId"],
                        aws_secret_access_key=key["SecretAccessKey"], config=Config(s3={"addressing_style": "path"}))
    assert code_of(versioning, s3=anna, MFA=device.header()) == "AccessDenied"
    versioning(s3, MFA=device.header())
    # With a code of the owner's device she may remove versions, as her policy says.
    version = anna.put_object(Bucket=BUCKET, Key="k", Body=b"x")["VersionId"]
    assert code_of(anna.delete_object, Bucket=BUCKET, Key="k", VersionId=version) == "AccessDenied"
    assert drystone("mfa", "remove", "--at", device.at).returncode == 0
    assert code_of(s3.delete_object, Bucket=BUCKET, Key="k", VersionId=version) == "AccessDenied", "the bucket still asks for one"


def test_guessing_is_stopped(server):
    s3, device = server.client(), Device(server)
    assert drystone("mfa", "confirm", device.code(), "--at", device.at).returncode == 0
    for _ in range(5):
        assert code_of(versioning, s3=s3, MFA=f"{device.serial} 000000") == "AccessDenied"
    until = r"too many wrong MFA codes: none is accepted until 20\d\d-\d\d-\d\dT"
    with pytest.raises(Exception, match=until):
        versioning(s3, MFA=device.header())
    # The owner hears the same where sessions are made, and by the command line.
    sts = boto3.client("sts", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
    with pytest.raises(Exception, match=until):
        sts.get_session_token(SerialNumber=device.serial, TokenCode="123456")
    assert "none is accepted until" in drystone("mfa", "confirm", "123456", "--at", device.at).stderr


def test_a_wrong_code_names_the_limit_to_those_who_have_the_key(server):
    device = Device(server)
    assert "After 5 wrong ones" in drystone("mfa", "confirm", "000000", "--at", device.at).stderr
    stranger = boto3.client("sts", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key="wrong")
    with pytest.raises(Exception) as caught:
        stranger.get_session_token(SerialNumber=device.serial, TokenCode="000000")
    assert "MFA" not in str(caught.value)


def test_no_secret_of_a_device_is_on_the_drive(server, tmp_path):
    device = Device(server)
    server.stop()
    raw = base64.b32decode(device.secret)
    for path in (tmp_path / "drive").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert raw not in content and device.secret.encode() not in content
