"""GET and HEAD tell of tags and locks those only who have the rights to them."""
import json
import time

import pytest
import requests

from conftest import Server
from people import allow, deny, document
from surfaces import ROOT, Surfaces, field

UNTIL = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() + 5 * 86400))
SENT = {"x-amz-tagging": "a=b&c=d", "x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": UNTIL,
        "x-amz-object-lock-legal-hold": "ON"}
TAGS, MODE, DATE, HOLD = "x-amz-tagging-count", *list(SENT)[1:]
# Right: what it lets be told, of the current version and of a named one.
RIGHTS = {
    "s3:GetObjectTagging": ({TAGS}, set()),
    "s3:GetObjectVersionTagging": (set(), {TAGS}),
    "s3:GetObjectRetention": ({MODE, DATE}, {MODE, DATE}),
    "s3:GetObjectLegalHold": ({HOLD}, {HOLD}),
}
ALL = {TAGS, MODE, DATE, HOLD}
READ = allow("s3:GetObject", "s3:GetObjectVersion")
NAMESPACE = 'xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"'


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("told") / "drive", "--bucket-defaults", "open").wait_ready()
    surfaces, s3 = Surfaces(server), server.client()
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    put = surfaces.send(ROOT, "s3", "PUT", "/locked/k", b"x", SENT)
    assert put.status_code == 200, put.text
    made = surfaces.send(ROOT, "s3", "PUT", "/v20180820/accesspoint/team",
                         f"<CreateAccessPointRequest {NAMESPACE}><Bucket>locked</Bucket></CreateAccessPointRequest>".encode(),
                         {"x-amz-account-id": "000000000000"})
    yield surfaces, put.headers["x-amz-version-id"], field(made.text, "Alias")
    server.kill()


def told(surfaces, key, method, path):
    answer = surfaces.s3(key, method, path)
    assert answer.status_code == 200
    return ALL & {name.lower() for name in answer.headers}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("way", ["bucket", "point"])
def test_each_is_told_to_who_has_its_right(world, method, way):
    surfaces, version, alias = world
    bucket = "locked" if way == "bucket" else alias
    for paths in (f"/{bucket}/k", f"/{bucket}/k?versionId={version}"):
        assert told(surfaces, ROOT, method, paths) == ALL
    key = surfaces.user(f"reader-{method}-{way}", READ)
    name = f"reader-{method}-{way}"
    assert told(surfaces, key, method, f"/{bucket}/k") == told(surfaces, key, method, f"/{bucket}/k?versionId={version}") == set()
    for right, (of_current, of_named) in RIGHTS.items():
        surfaces.allow(name, READ, allow(right))
        assert told(surfaces, key, method, f"/{bucket}/k") == of_current, right
        assert told(surfaces, key, method, f"/{bucket}/k?versionId={version}") == of_named, right
        surfaces.allow(name, allow("*"), deny(right))
        assert told(surfaces, key, method, f"/{bucket}/k") == ALL - of_current, right
        assert told(surfaces, key, method, f"/{bucket}/k?versionId={version}") == ALL - of_named, right


def test_the_world_is_told_nothing_of_a_public_object(world):
    surfaces, _, _ = world
    policy = {**READ, "Principal": "*", "Resource": "arn:aws:s3:::locked/*"}
    s3 = surfaces.server.client()
    s3.put_bucket_policy(Bucket="locked", Policy=document(policy))
    try:
        answer = requests.get(f"{surfaces.server.url}/locked/k", timeout=20)
        assert answer.status_code == 200 and not ALL & {name.lower() for name in answer.headers}
        policy["Action"] = ["s3:GetObject", "s3:GetObjectTagging"]
        s3.put_bucket_policy(Bucket="locked", Policy=json.dumps({"Version": "2012-10-17", "Statement": [policy]}))
        answer = requests.get(f"{surfaces.server.url}/locked/k", timeout=20)
        assert ALL & {name.lower() for name in answer.headers} == {TAGS}
    finally:
        s3.delete_bucket_policy(Bucket="locked")
