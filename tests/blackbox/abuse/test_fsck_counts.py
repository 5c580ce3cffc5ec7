"""`drystone fsck`: every stored count is compared with what it counts; what was looked at is said, and what was not."""
import json

import pytest

from conftest import drystone
from people import service
from test_at_rest import damage, needs_tool

# What is said of a family whose counts are all 77.
SAID = {
    "usage": ["usage of bucket"],
    "state": ["the count of buckets of the default account is 77, counted 2"],
    "document": ["the count of documents of kind", "is 77, counted 2"],
    "identity": ["the count of the kind user of account", "the count of the kind group", "the count of the kind role",
                 "the count of the kind policy"],
}


def fill(server):
    s3, iam = server.client(), service(server, "iam")
    for bucket in ("one", "two"):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for name in ("a", "b"):
        s3.put_bucket_metrics_configuration(Bucket="one", Id=name, MetricsConfiguration={"Id": name})
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    trust = {"Version": "2012-10-17",
             "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}}]}
    iam.create_user(UserName="user")
    iam.create_group(GroupName="group")
    iam.create_role(RoleName="role", AssumeRolePolicyDocument=json.dumps(trust))
    iam.create_policy(PolicyName="policy", PolicyDocument=json.dumps(allow))
    return s3


def fsck(server, code):
    done = drystone("fsck", server.directory, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@needs_tool
@pytest.mark.parametrize("family", list(SAID))
def test_a_count_that_is_wrong_is_named(start, family):
    server = start()
    fill(server)
    server.stop()
    assert fsck(server, 0)["problems"] == []
    damage(server.directory, "--count", family, "77")
    problems = fsck(server, 1)["problems"]
    for said in SAID[family]:
        assert any(said in problem for problem in problems), problems


def test_an_upload_that_is_complete_is_not_one_in_progress(start):
    server = start()
    s3 = fill(server)
    for key in ("done", "open"):
        upload = s3.create_multipart_upload(Bucket="one", Key=key)["UploadId"]
        part = s3.upload_part(Bucket="one", Key=key, UploadId=upload, PartNumber=1, Body=b"x" * 300_000)
        if key == "done":
            parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
            s3.complete_multipart_upload(Bucket="one", Key=key, UploadId=upload, MultipartUpload=parts)
    server.stop()
    counts = fsck(server, 0)["counts"]
    assert counts["uploads"] == 1 and counts["completed_uploads"] == 1


def test_fsck_says_what_it_looked_at_and_which_server_must_stop(start):
    server = start()
    for command in (["fsck"], ["rebuild"], ["rebuild", "--salvage"]):
        busy = drystone(*command, server.directory)
        assert busy.returncode == 1
        assert "stop the server first" in busy.stderr and f"{server.directory}/admin.sock" in busy.stderr
        assert f"pid {server.process.pid}" in busy.stderr
    server.stop()
    done = drystone("fsck", server.directory)
    assert f"checked {server.directory} (drive " in done.stdout and "bytes of objects were not read" in done.stdout
    report = fsck(server, 0)
    assert [drive["directory"] for drive in report["checked_drives"]] == [str(server.directory)]
    assert report["object_bytes_read"] is False
