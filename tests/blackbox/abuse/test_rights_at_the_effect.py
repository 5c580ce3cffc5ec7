"""Requests that are decided on, wait, and are carried out: each operation × each way to wait × each end of a right. What ended meanwhile
has no effect. Waits for turns, and how decisions are made again after them, are in `test_ended_while_it_waits.py` and `test_turns.py`."""
import base64
import datetime
import hashlib
import itertools
import time

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from conftest import Server, drystone
from surfaces import ALLOW_ALL, ROOT, Surfaces, document
from test_ended_while_it_waits import Later
from test_held_requests import Held
from test_mfa import Device

TAGS = b"<Tagging><TagSet><Tag><Key>late</Key><Value>yes</Value></Tag></TagSet></Tagging>"
DELETE = b"<Delete><Object><Key>kept</Key></Object></Delete>"
RESTRICT = b"<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>"


def part_of(server, bucket):
    s3 = server.client()
    upload = s3.create_multipart_upload(Bucket=bucket, Key="whole")["UploadId"]
    tag = s3.upload_part(Bucket=bucket, Key="whole", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    return upload, tag


def put(server, bucket):
    return "PUT", f"/{bucket}/late", b"bytes"


def tag(server, bucket):
    return "PUT", f"/{bucket}/kept?tagging", TAGS


def delete(server, bucket):
    return "POST", f"/{bucket}?delete", DELETE


def upload_part(server, bucket):
    return "PUT", f"/{bucket}/whole?partNumber=2&uploadId={part_of(server, bucket)[0]}", b"bytes"


def complete(server, bucket):
    upload, etag = part_of(server, bucket)
    body = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    return "POST", f"/{bucket}/whole?uploadId={upload}", body.encode()


def website(server, bucket):
    return "PUT", f"/{bucket}?website", b"<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>"


def versioning(server, bucket):
    return "PUT", f"/{bucket}?versioning", b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


OPERATIONS = [put, tag, delete, upload_part, complete, website, versioning]
# Before the last byte of the body, and before the client is told to send the body at all.
WAITS = ["body", "expect"]
ENDS = ["key", "policy", "bucket-policy", "block", "time"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("effect") / "drive").wait_ready()
    yield server
    server.stop()


def until(seconds):
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def sender_of(surfaces, end, name, number):
    """A caller who may do everything in the bucket, by the right that will end."""
    if end == "block":
        everybody = document({"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]})
        assert surfaces.s3(ROOT, "PUT", f"/{name}?policy", everybody.encode()).status_code == 204
        return surfaces.account(f"{number:012}")
    condition = {"Condition": {"DateLessThan": {"aws:CurrentTime": until(3)}}} if end == "time" else {}
    return surfaces.user(name, ALLOW_ALL | condition)


def end_of(surfaces, end, name, key):
    if end == "key":
        surfaces.root("DeleteAccessKey", UserName=name, AccessKeyId=key.access_key)
    if end == "policy":
        surfaces.root("DeleteUserPolicy", UserName=name, PolicyName="own")
    if end == "bucket-policy":
        denied = document({"Effect": "Deny", "Principal": {"AWS": f"arn:aws:iam::000000000000:user/{name}"}, "Action": "s3:*",
                           "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]})
        assert surfaces.s3(ROOT, "PUT", f"/{name}?policy", denied.encode()).status_code == 204
    if end == "block":
        assert surfaces.s3(ROOT, "PUT", f"/{name}?publicAccessBlock", RESTRICT).status_code == 200
    if end == "time":
        time.sleep(4)


def state_of(server, bucket):
    """All that the operations change."""
    s3 = server.client()
    objects = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    parts = [len(s3.list_parts(Bucket=bucket, Key="whole", UploadId=upload["UploadId"]).get("Parts", []))
             for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
    pages = Surfaces(server).s3(ROOT, "GET", f"/{bucket}?website").status_code
    return objects, parts, s3.get_object_tagging(Bucket=bucket, Key="kept")["TagSet"], pages, s3.get_bucket_versioning(Bucket=bucket).get("Status")


class Expecting(Held):
    """As `Held`, but nothing of the body is sent before it is asked for."""

    def __init__(self, server, key, method, path, body, headers):
        super().__init__(server, key, method, path, body, {"Expect": "100-continue", **headers}, early=0)


@pytest.mark.parametrize("end, wait, operation", list(itertools.product(ENDS, WAITS, OPERATIONS)))
def test_a_right_that_ended_meanwhile_has_no_effect(server, operation, wait, end):
    surfaces, number = Surfaces(server), OPERATIONS.index(operation)
    name = f"{end}-{wait}-{operation.__name__}".replace("_", "-")
    server.client().create_bucket(Bucket=name)
    server.client().put_object(Bucket=name, Key="kept", Body=b"x")
    surfaces.s3(ROOT, "DELETE", f"/{name}?publicAccessBlock")
    call = operation(server, name)
    before = state_of(server, name)
    key = sender_of(surfaces, end, name, 100_000_000_000 + 10 * WAITS.index(wait) + number)
    headers = {"Content-MD5": base64.b64encode(hashlib.md5(call[2]).digest()).decode()}
    held = (Expecting if wait == "expect" else Held)(server, key, *call, headers)
    end_of(surfaces, end, name, key)
    status, answer = held.status()
    refused = status == 403 or operation is delete and b"<Deleted>" not in answer
    assert refused, answer
    assert state_of(server, name) == before


def test_a_second_factor_that_got_too_old_meanwhile_has_no_effect(server):
    """Each operation × each way to wait, all by one session of the owner: a code opens one session in half a minute."""
    surfaces, s3, device = Surfaces(server), server.client(), Device(server)
    assert drystone("mfa", "confirm", device.code(), "--at", server.directory).returncode == 0
    rows = {}
    for wait, operation in itertools.product(WAITS, OPERATIONS):
        name = f"factor-{wait}-{operation.__name__}".replace("_", "-")
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="kept", Body=b"x")
        rows[name] = (wait, operation, operation(server, name), state_of(server, name))
        old = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
               "Condition": {"NumericGreaterThan": {"aws:MultiFactorAuthAge": "9"}}}
        assert surfaces.s3(ROOT, "PUT", f"/{name}?policy", document(old).encode()).status_code == 204
    session, began = surfaces.session(ROOT, SerialNumber=device.serial, TokenCode=device.code()), time.monotonic()
    held = {}
    for name, (wait, operation, call, _) in rows.items():
        headers = {"Content-MD5": base64.b64encode(hashlib.md5(call[2]).digest()).decode()}
        held[name] = (Expecting if wait == "expect" else Held)(server, session, *call, headers)
    assert time.monotonic() - began < 9, "all were to be decided on while the factor was new"
    time.sleep(began + 11 - time.monotonic())
    wrong = {}
    for name, (_, operation, _, before) in rows.items():
        status, answer = held[name].status()
        if not (status == 403 or operation is delete and b"<Deleted>" not in answer):
            wrong[name] = answer[:300]
        # The owner's own key has no factor, and may look.
        if state_of(server, name) != before:
            wrong[name, "changed"] = True
    assert not wrong


def test_a_bucket_of_many_uploads_is_emptied_with_the_rights_of_each_commit(server):
    """Method: a bucket of uploads is deleted by one whose key goes meanwhile. Uploads that are left say that it ended there."""
    surfaces, s3 = Surfaces(server), server.client()
    for number in range(12):
        bucket = f"uploads-{number}"
        s3.create_bucket(Bucket=bucket)
        for upload in range(150):
            s3.create_multipart_upload(Bucket=bucket, Key=f"k{upload}")
        key = surfaces.user(bucket, ALLOW_ALL)
        request = AWSRequest("DELETE", f"{server.url}/{bucket}")
        S3SigV4Auth(key, "s3", "us-east-1").add_auth(request)
        held = Later(lambda: surfaces.http.delete(request.url, headers=dict(request.headers), timeout=30))
        time.sleep(0.01 * (number + 1))
        Surfaces(server).root("DeleteAccessKey", UserName=bucket, AccessKeyId=key.access_key)
        status = held.end().status_code
        assert status in (204, 403), status
        is_there = bucket in [found["Name"] for found in s3.list_buckets()["Buckets"]]
        assert is_there == (status == 403)
        if is_there:
            uploads = len(s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []))
            if 0 < uploads < 150:
                return
    raise AssertionError("no bucket was being emptied when the key went")
