"""Whom `NotPrincipal` leaves out of a deny: the examples of the IAM user guide ("AWS JSON policy elements: NotPrincipal"). Found by a
review (8)."""
import json

import pytest

from conftest import Server
from surfaces import ALLOW_ALL, ROOT, Surfaces, credentials_of, document

ACCOUNT = "000000000000"
OWNER = f"arn:aws:iam::{ACCOUNT}:root"
BOB = f"arn:aws:iam::{ACCOUNT}:user/bob"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/reads"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/reads/app"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("left-out") / "drive").wait_ready()
    surfaces, keys = Surfaces(server), {"root": ROOT}
    assert surfaces.s3(ROOT, "PUT", "/bkt").status_code == 200
    assert surfaces.s3(ROOT, "PUT", "/bkt/k", b"secret").status_code == 200
    for name in ("bob", "carol"):
        keys[name] = surfaces.user(name, ALLOW_ALL)
    trust = document({"Effect": "Allow", "Principal": {"AWS": OWNER}, "Action": "sts:AssumeRole"})
    surfaces.root("CreateRole", RoleName="reads", AssumeRolePolicyDocument=trust)
    surfaces.root("PutRolePolicy", RoleName="reads", PolicyName="own", PolicyDocument=document(ALLOW_ALL))
    for name in ("app", "other"):
        reply = surfaces.query(keys["carol"], "AssumeRole", RoleArn=ROLE, RoleSessionName=name)
        assert reply.status_code == 200, reply.text
        keys[name] = credentials_of(reply.text)
    yield surfaces, keys
    server.stop()


@pytest.mark.parametrize("named,left_out", [
    ([BOB, OWNER], {"bob", "root"}),
    ([SESSION, ROLE, OWNER], {"app", "root"}),
    ([BOB], {"bob"}),
    ([OWNER], {"root"}),
    ([ACCOUNT], {"root"}),
    ([ROLE, OWNER], {"root"}),
])
def test_a_deny_leaves_out_those_only_who_are_named(world, named, left_out):
    surfaces, keys = world
    deny = {"Effect": "Deny", "NotPrincipal": {"AWS": named}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bkt/*"}
    assert surfaces.s3(ROOT, "PUT", "/bkt?policy", document(deny).encode()).status_code == 204
    shown = json.loads(surfaces.s3(ROOT, "GET", "/bkt?policy").text)
    assert shown["Statement"][0]["NotPrincipal"] == {"AWS": named}
    found = {name: surfaces.s3(key, "GET", "/bkt/k").status_code for name, key in keys.items()}
    assert found == {name: 200 if name in left_out else 403 for name in keys}
