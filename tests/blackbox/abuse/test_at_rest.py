"""What a writer of the drive, who does not have the keyring, gets the server to show or to do."""
import base64
import hashlib
import json
import os
import subprocess

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, drystone
from test_encryption import CUSTOMER, KMS, OTHER, S3, certificates, code_of

TOOL = os.environ.get("DRYSTONE_CORRUPT_ROWS", "")
BUCKET_KEY = {**KMS, "BucketKeyEnabled": True}
MODES = {"sse-s3": S3, "sse-kms": KMS, "sse-kms bucket key": BUCKET_KEY, "sse-c": CUSTOMER}
needs_tool = pytest.mark.skipif(not TOOL, reason="DRYSTONE_CORRUPT_ROWS is not set")


def damage(directory, *arguments):
    done = subprocess.run([TOOL, directory, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def begin(start, tmp_path):
    """Starts a server behind TLS, whose keyring is not on its drive."""
    certs = certificates(tmp_path / "certs")
    return lambda *arguments, **kw: start(*certs, "--keyring", str(tmp_path / "keyring"), *arguments, **kw)


def outcome(s3, bucket, key, **arguments):
    """What a reader gets: bytes, or nothing."""
    try:
        return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()
    except (ClientError, requests.RequestException):
        return None


@needs_tool
@pytest.mark.parametrize("mode", list(MODES))
def test_the_row_of_one_object_opens_nothing_under_the_key_of_another(begin, mode):
    """A reader of one key gets the row of another one put under it, with checksums that are right."""
    server = begin()
    s3, arguments = server.client(), MODES[mode]
    customer = CUSTOMER if mode == "sse-c" else {}
    for bucket in ("pub", "sec"):
        s3.create_bucket(Bucket=bucket)
    for size in (900, 200_000):
        s3.put_object(Bucket="pub", Key=f"a-{size}", Body=b"public", **arguments)
        s3.put_object(Bucket="sec", Key=f"b-{size}", Body=b"TOP SECRET" * (size // 10), Metadata={"m": "secret"}, **arguments)
    server.stop()
    for size in (900, 200_000):
        assert damage(server.directory, "--copy", f"sec/b-{size}", f"pub/a-{size}") == "1 rows changed\n"
    s3 = begin().client()
    for size in (900, 200_000):
        assert outcome(s3, "pub", f"a-{size}", **customer) is None
        assert code_of(s3.head_object, Bucket="pub", Key=f"a-{size}", **customer) != "done"
        assert outcome(s3, "sec", f"b-{size}", **customer) == b"TOP SECRET" * (size // 10)


@pytest.mark.parametrize("status", ["Off", "Enabled"])
def test_an_encrypted_object_opens_under_its_new_name_and_after_copies(begin, status):
    """Renames and copies seal the key again, for every mode; a key of the client must be there for that."""
    server = begin()
    s3 = server.client()
    s3.create_bucket(Bucket="bbb")
    s3.create_bucket(Bucket="ccc")
    if status == "Enabled":
        s3.put_bucket_versioning(Bucket="bbb", VersioningConfiguration={"Status": status})
    for mode, arguments in MODES.items():
        customer = CUSTOMER if mode == "sse-c" else {}
        source = {f"CopySource{name}": value for name, value in customer.items()}
        for size in (0, 900, 300_000):
            key, content = f"{mode}-{size}", mode.encode() * (size // len(mode))
            s3.put_object(Bucket="bbb", Key=key, Body=content, Metadata={"m": mode}, ChecksumAlgorithm="SHA256", **arguments)
            before = s3.head_object(Bucket="bbb", Key=key, ChecksumMode="ENABLED", **customer)
            if customer:
                assert rename(s3, key, "new") == "InvalidRequest"
                assert rename(s3, key, "new", {**CUSTOMER, "SSECustomerKey": OTHER}) == "AccessDenied"
            assert rename(s3, key, "new", customer) == "done"
            s3.copy_object(Bucket="ccc", Key="copy", CopySource={"Bucket": "bbb", "Key": "new"}, **arguments, **source)
            for bucket, name in (("bbb", "new"), ("ccc", "copy")):
                assert outcome(s3, bucket, name, **customer) == content, (mode, size, name)
                after = s3.head_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED", **customer)
                for field in ("Metadata", "ChecksumSHA256"):
                    assert after[field] == before[field], (mode, size, name)
    server.stop()


def fsck(server, tmp_path, code):
    done = drystone("fsck", server.directory, "--keyring", tmp_path / "keyring", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)["problems"]


FORGERIES = {
    "a row under another key": (("--copy", "sec/b", "pub/a"), "head"),
    "an edited row of an object": (("--forge", "marked-object", "forged-object"), "head"),
    "a row without its seal": (("--strip", "Head", "marked-object"), "head"),
    "an edited document": (("--forge", "arn:aws:s3:::pub", "arn:aws:s3:::sec"), "document"),
    "an edited identity": (("--forge", "marked-policy", "forged-policy"), "identity"),
    "an identity without its seal": (("--strip", "Identity", "marked-policy"), "identity"),
    "an edited bucket": (("--strip", "Bucket", "pub"), "bucket"),
    "a document without its seal": (("--strip", "Document", "arn:aws:s3:::pub"), "document"),
}


@needs_tool
@pytest.mark.parametrize("forgery", list(FORGERIES))
def test_a_row_that_the_server_did_not_write_is_named_and_never_served(begin, tmp_path, forgery):
    """Rows are changed in the ways that need no keyring, with checksums that are right."""
    arguments, family = FORGERIES[forgery]
    server = begin()
    s3, iam = server.client(), service(server, "iam", verify=False)
    for bucket in ("pub", "sec"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="pub", Key="a", Body=b"public", Metadata={"m": "marked-object"})
    s3.put_object(Bucket="sec", Key="b", Body=b"TOP SECRET")
    s3.put_bucket_policy(Bucket="pub", Policy=policy("arn:aws:s3:::pub/*", Principal="*"))
    iam.create_user(UserName="reader")
    iam.put_user_policy(UserName="reader", PolicyName="marked-policy", PolicyDocument=policy("arn:aws:s3:::pub/a"))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    server.stop()
    assert fsck(server, tmp_path, 0) == []
    assert drystone("fsck", server.directory).returncode == 1, "seals cannot be checked without the keyring"
    assert damage(server.directory, *arguments) != "0 rows changed\n"
    problems = fsck(server, tmp_path, 1)
    assert any(problem.startswith(f"the row {family} ") and "not written by this deployment" in problem for problem in problems), problems
    done = drystone("fsck", server.directory)
    assert "their integrity seals" in done.stdout
    server = begin()
    s3 = server.client()
    reader = service(server, "s3", key["AccessKeyId"], key["SecretAccessKey"], verify=False)
    assert outcome(reader, "sec", "b") is None
    assert outcome(s3, "pub", "a") in (None, b"public") and outcome(reader, "pub", "a") in (None, b"public")
    if family == "head":
        assert outcome(s3, "pub", "a") is None and outcome(reader, "pub", "a") is None
        # It is not lost for good.
        s3.put_object(Bucket="pub", Key="a", Body=b"again")
        assert outcome(s3, "pub", "a") == b"again"
    if family == "identity":
        assert outcome(reader, "pub", "a") is None


def policy(resource, **more):
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def service(server, name, access=USER, secret=PASSWORD, **more):
    config = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(name, endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=access,
                        aws_secret_access_key=secret, config=config, **more)


def rename(s3, source, target, customer=None):
    headers = {} if not customer else customer_headers(customer["SSECustomerKey"])

    def add(params, **_):
        params["headers"].update(headers)
    s3.meta.events.register_first("before-call.s3.RenameObject", add, unique_id="customer")
    try:
        return code_of(s3.rename_object, Bucket="bbb", Key=target, RenameSource=source)
    finally:
        s3.meta.events.unregister("before-call.s3.RenameObject", unique_id="customer")


def customer_headers(key):
    prefix = "x-amz-server-side-encryption-customer-"
    return {f"{prefix}algorithm": "AES256", f"{prefix}key": base64.b64encode(key).decode(),
            f"{prefix}key-MD5": base64.b64encode(hashlib.md5(key).digest()).decode()}
