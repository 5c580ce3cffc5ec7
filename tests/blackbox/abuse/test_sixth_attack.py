"""What the sixth attack found."""
import json

import pytest
import requests

from conftest import Server
from surfaces import ALLOW_ALL, ROOT, Surfaces
from test_held_requests import Held

ACCOUNT, TENANT = "000000000000", "111122223333"
POINT = f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/prod"
CONTROL = {"x-amz-account-id": ACCOUNT}
CLOSED = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("sixth") / "drive", "--bucket-defaults", "open").wait_ready()
    for bucket in ("victim", "mine"):
        server.client().create_bucket(Bucket=bucket)
    yield server
    server.stop()


def point(surfaces, key, method, path, body=""):
    return surfaces.send(key, "s3", method, f"/v20180820/accesspoint/{path}", body.encode(), CONTROL).status_code


def create(surfaces, key, name, inner=""):
    body = f"<CreateAccessPointRequest><Bucket>victim</Bucket>{inner}</CreateAccessPointRequest>"
    return point(surfaces, key, "PUT", name, body)


def statement(action, bucket):
    resource = f"arn:aws:s3:::{bucket}" + ("/*" if action == "s3:GetObject" else "")
    return {"Effect": "Allow", "Action": action, "Resource": resource}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_source_of_a_copy_tells_nothing_of_another_bucket(server, method):
    """Who may read objects of a bucket and list another one does not hear which keys the first one lacks."""
    surfaces, source = Surfaces(server), {"x-amz-copy-source": "mine/x"}
    key = surfaces.user(f"reader-{method}", statement("s3:GetObject", "victim"), statement("s3:ListBucket", "mine"))
    for headers in ({}, source):
        assert surfaces.send(key, "s3", method, "/victim/missing", b"", headers).status_code == 403
    for bucket, action in (("victim", "s3:GetObject"), ("mine", "s3:ListBucket")):
        policy = {"Version": "2012-10-17", "Statement": [{**statement(action, bucket), "Principal": "*"}]}
        server.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    for headers in ({}, source):
        assert requests.request(method, f"{server.url}/victim/missing", headers=headers, timeout=20).status_code == 403
    # Of a copy the header says what is missing.
    taker = surfaces.user(f"taker-{method}", ALLOW_ALL)
    assert surfaces.send(taker, "s3", "PUT", "/victim/copy", b"", source).status_code == 404


def test_switches_of_an_access_point_need_their_right(server):
    surfaces = Surfaces(server)
    deny = {"Effect": "Deny", "Action": "s3:PutAccessPointPublicAccessBlock", "Resource": "*"}
    key = surfaces.user("switches", ALLOW_ALL, deny)
    switches = "".join(f"<{name}>false</{name}>" for name in CLOSED)
    block = f"<PublicAccessBlockConfiguration>{switches}</PublicAccessBlockConfiguration>"
    assert create(surfaces, key, "closed") == 200
    assert create(surfaces, key, "open", block) == 403
    assert point(surfaces, ROOT, "GET", "open") == 404
    assert create(surfaces, ROOT, "open", block) == 200


@pytest.mark.parametrize("condition", [
    {"s3:AccessPointNetworkOrigin": "Internet"}, {"s3:DataAccessPointArn": POINT}, {"s3:DataAccessPointAccount": ACCOUNT}])
def test_conditions_on_access_points_hold_for_requests_about_them(server, condition):
    surfaces = Surfaces(server)
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": {"StringEquals": condition}}
    key = surfaces.user("conditions-" + next(iter(condition))[3:], ALLOW_ALL, deny)
    assert create(surfaces, key, "prod") == 403
    assert create(surfaces, ROOT, "prod") == 200
    for method, path in (("GET", "prod"), ("GET", "prod/policyStatus"), ("DELETE", "prod/policy"), ("DELETE", "prod")):
        assert point(surfaces, key, method, path) == 403, (method, path)
    assert point(surfaces, ROOT, "DELETE", "prod") == 204


def test_the_owner_of_another_account_is_not_told_the_key_of_the_server(server):
    surfaces = Surfaces(server)
    owner = surfaces.account(TENANT)
    info = surfaces.minio(owner, "GET", "accountinfo")
    assert info.status_code == 200 and ROOT.access_key not in info.text
    assert info.json()["AccountName"] == owner.access_key
    assert surfaces.minio(ROOT, "GET", "accountinfo").json()["AccountName"] == ROOT.access_key


DEFAULTS = {
    "a default": b"<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>",
    "no keys of clients": b"<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>",
}


@pytest.mark.parametrize("change", DEFAULTS)
@pytest.mark.parametrize("early", [0, -1], ids=["nothing", "all but a byte"])
def test_what_a_bucket_says_of_encryption_holds_for_bodies_that_come_late(server, change, early):
    """An object is sealed by the rules that the bucket has when its body is there, or its sender tries again."""
    surfaces, bucket = Surfaces(server), f"late-{list(DEFAULTS).index(change)}-{abs(early)}"
    assert surfaces.s3(ROOT, "PUT", f"/{bucket}").status_code == 200
    held = Held(server, ROOT, "PUT", f"/{bucket}/k", b"bytes", early=early)
    rules = b"<ServerSideEncryptionConfiguration><Rule>" + DEFAULTS[change] + b"</Rule></ServerSideEncryptionConfiguration>"
    assert surfaces.s3(ROOT, "PUT", f"/{bucket}?encryption", rules).status_code == 200
    assert held.status()[0] == 409
    assert surfaces.s3(ROOT, "GET", f"/{bucket}/k").status_code == 404
    again = surfaces.s3(ROOT, "PUT", f"/{bucket}/k", b"bytes")
    assert again.status_code == 200
    assert again.headers.get("x-amz-server-side-encryption") == ("AES256" if change == "a default" else None)
