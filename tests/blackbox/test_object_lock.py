"""Object lock beyond what the acceptance tests ask: who may bypass, what else respects it, and rot."""
import datetime
import json

import boto3
import pytest
from botocore.client import Config
from botocore.exceptions import ClientError

from conftest import drystone

BUCKET = "locked"


def later(seconds):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response


@pytest.fixture
def server(start):
    server = start()
    server.client().create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    return server


def put(s3, key="k", mode="GOVERNANCE", seconds=3600, **more):
    lock = {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": later(seconds)} if mode else {}
    return s3.put_object(Bucket=BUCKET, Key=key, Body=b"kept", **lock, **more)["VersionId"]


def test_only_who_has_the_right_bypasses_governance(server):
    s3, version = server.client(), put(server.client())
    at = ["--at", server.directory]
    assert drystone("user", "add", "anna", *at).returncode == 0
    assert drystone("policy", "attach", "readwrite", "--user", "anna", *at).returncode == 0
    document = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "s3:BypassGovernanceRetention", "Resource": "*"}]}
    file = server.directory.parent / "deny.json"
    file.write_text(json.dumps(document))
    done = drystone("policy", "set", "no-bypass", file, *at)
    assert done.returncode == 0, done.stderr
    assert drystone("policy", "attach", "no-bypass", "--user", "anna", *at).returncode == 0
    secret = server.directory.parent / "secret"
    secret.write_text("anna-secret-key")
    done = drystone("key", "add", "--user", "anna", "--access-key", "anna-key", "--secret-file", secret, *at)
    assert done.returncode == 0, done.stderr
    anna = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1",
                        aws_access_key_id="anna-key", aws_secret_access_key="anna-secret-key",
                        config=Config(s3={"addressing_style": "path"}))
    name = {"Bucket": BUCKET, "Key": "k", "VersionId": version}
    refused("AccessDenied", anna.delete_object, **name, BypassGovernanceRetention=True)
    reply = anna.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "k", "VersionId": version}]},
                                BypassGovernanceRetention=True)
    assert [error["Code"] for error in reply["Errors"]] == ["AccessDenied"]
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": later(10)}
    refused("AccessDenied", anna.put_object_retention, **name, Retention=shorter, BypassGovernanceRetention=True)
    assert s3.get_object(**name)["Body"].read() == b"kept"
    reply = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "k", "VersionId": version}]},
                              BypassGovernanceRetention=True)
    assert [deleted["Key"] for deleted in reply["Deleted"]] == ["k"] and "Errors" not in reply


def test_a_default_holds_for_every_way_to_write_and_not_for_markers(server):
    s3 = server.client()
    s3.put_object_lock_configuration(Bucket=BUCKET, ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 2}}})
    versions = {"put": s3.put_object(Bucket=BUCKET, Key="put", Body=b"x")["VersionId"]}
    versions["copy"] = s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "put"})["VersionId"]
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=1, Body=b"p")["ETag"]
    versions["parts"] = s3.complete_multipart_upload(
        Bucket=BUCKET, Key="parts", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})["VersionId"]
    for key, version in versions.items():
        head = s3.head_object(Bucket=BUCKET, Key=key)
        assert head["ObjectLockMode"] == "COMPLIANCE"
        assert abs(head["ObjectLockRetainUntilDate"] - later(2 * 86_400)) < datetime.timedelta(minutes=5)
        refused("AccessDenied", s3.delete_object, Bucket=BUCKET, Key=key, VersionId=version,
                BypassGovernanceRetention=True)
    marker = s3.delete_object(Bucket=BUCKET, Key="put")
    assert marker["DeleteMarker"]
    s3.delete_object(Bucket=BUCKET, Key="put", VersionId=marker["VersionId"], BypassGovernanceRetention=True)
    assert s3.get_object(Bucket=BUCKET, Key="put")["Body"].read() == b"x"
    # A copy takes no lock along, nor does the default replace what a writer says.
    own = s3.put_object(Bucket=BUCKET, Key="own", Body=b"", ObjectLockMode="GOVERNANCE",
                        ObjectLockRetainUntilDate=later(60))["VersionId"]
    assert s3.head_object(Bucket=BUCKET, Key="own", VersionId=own)["ObjectLockMode"] == "GOVERNANCE"


def test_the_bucket_and_its_versioning_stay_while_it_locks(server):
    s3 = server.client()
    put(s3)
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=BUCKET)
    refused("InvalidBucketState", s3.put_bucket_versioning, Bucket=BUCKET,
            VersioningConfiguration={"Status": "Suspended"})
    refused("InvalidArgument", s3.put_object_retention, Bucket=BUCKET, Key="k",
            Retention={"Mode": "GOVERNANCE", "RetainUntilDate": later(-5)})
    refused("NoSuchKey", s3.put_object_legal_hold, Bucket=BUCKET, Key="none", LegalHold={"Status": "ON"})
    for wrong in [{"ObjectLockMode": "GOVERNANCE"}, {"ObjectLockRetainUntilDate": later(60)}]:
        refused("InvalidArgument", s3.put_object, Bucket=BUCKET, Key="w", Body=b"", **wrong)
    assert [e["Key"] for e in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["k"]


def test_locks_outlive_a_restart_and_a_rebuild(server, start):
    s3 = server.client()
    held = put(s3, "held", mode=None, ObjectLockLegalHoldStatus="ON")
    kept = put(s3, "kept")
    server.stop()
    assert drystone("rebuild", server.directory).returncode == 0
    again = start(directory=server.directory)
    s3 = again.client()
    for key, version in [("held", held), ("kept", kept)]:
        refused("AccessDenied", s3.delete_object, Bucket=BUCKET, Key=key, VersionId=version)
    assert s3.get_object_legal_hold(Bucket=BUCKET, Key="held")["LegalHold"]["Status"] == "ON"


def deny(s3, action, condition):
    statement = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": f"arn:aws:s3:::{BUCKET}/*", "Condition": condition}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def with_header(s3, operation, name, value):
    """Sends what a policy must not believe: the document counts."""
    s3.meta.events.register(f"before-sign.s3.{operation}", lambda request, **_: request.headers.add_header(name, value))
    return s3


@pytest.mark.parametrize("liar", [False, True])
def test_policies_look_at_what_the_documents_of_locks_and_tags_say(server, liar):
    s3 = server.client()
    name = {"Bucket": BUCKET, "Key": "k", "VersionId": put(s3, mode=None)}
    if liar:
        soon = later(3600).strftime("%Y-%m-%dT%H:%M:%SZ")
        with_header(s3, "PutObjectRetention", "x-amz-object-lock-retain-until-date", soon)
        with_header(s3, "PutObjectRetention", "x-amz-object-lock-mode", "GOVERNANCE")
        with_header(s3, "PutObjectLegalHold", "x-amz-object-lock-legal-hold", "OFF")
        with_header(s3, "PutObjectTagging", "x-amz-tagging", "team=red")
    deny(s3, "s3:PutObjectRetention", {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}})
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": later(20 * 86400)}
    refused("AccessDenied", s3.put_object_retention, **name, Retention=retention)
    s3.put_object_retention(**name, Retention={**retention, "RetainUntilDate": later(5 * 86400)})
    deny(s3, "s3:PutObjectRetention", {"StringEquals": {"s3:object-lock-mode": "COMPLIANCE"}})
    refused("AccessDenied", s3.put_object_retention, **name, Retention={**retention, "Mode": "COMPLIANCE"})
    s3.put_object_retention(**name, Retention=retention)
    deny(s3, "s3:PutObjectLegalHold", {"StringEquals": {"s3:object-lock-legal-hold": "ON"}})
    refused("AccessDenied", s3.put_object_legal_hold, **name, LegalHold={"Status": "ON"})
    s3.put_object_legal_hold(**name, LegalHold={"Status": "OFF"})
    deny(s3, "s3:PutObjectVersionTagging", {"StringNotEquals": {"s3:RequestObjectTag/team": "red"}})
    tags = {"TagSet": [{"Key": "team", "Value": "blue"}]}
    refused("AccessDenied", s3.put_object_tagging, **name, Tagging=tags)
    s3.put_object_tagging(**name, Tagging={"TagSet": [{"Key": "team", "Value": "red"}]})
    assert s3.get_object_retention(**name)["Retention"]["Mode"] == "GOVERNANCE"
    assert s3.get_object_tagging(**name)["TagSet"] == [{"Key": "team", "Value": "red"}]
