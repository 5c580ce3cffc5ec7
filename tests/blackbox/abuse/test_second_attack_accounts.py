"""Findings F9, F12 and F13 of the second attack: the account of a resource, and what sessions and narrow keys leave behind."""
import json

import pytest
from botocore.credentials import Credentials

from conftest import Server
from people import allow, deny, document, user_with
from surfaces import ROOT, Surfaces, secret_of

ACCOUNT, OTHER = "000000000000", "222222222222"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("accounts") / "drive").wait_ready()
    server.other = Surfaces(server).account(OTHER)
    yield server
    server.stop()


def perimeter(account=ACCOUNT):
    return deny("*", **{"StringNotEquals": {"aws:ResourceAccount": account}})


def test_the_account_of_a_role_is_its_own(server):
    surfaces = Surfaces(server)
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}]}
    for owner in (server.other, ROOT):
        assert surfaces.query(owner, "CreateRole", RoleName="exfil", AssumeRolePolicyDocument=json.dumps(trust)).status_code == 200

    def assume(key, account):
        return surfaces.query(key, "AssumeRole", RoleArn=f"arn:aws:iam::{account}:role/exfil", RoleSessionName="run").status_code
    free, within = (Credentials(*user_with(server, allow("sts:*"), *more)) for more in ((), (perimeter(),)))
    assert [assume(key, account) for key in (free, within) for account in (ACCOUNT, OTHER)] == [200, 200, 200, 403]
    foreign = Credentials(*user_with(server, allow("sts:*"), deny("*", **{"StringEquals": {"aws:ResourceAccount": OTHER}})))
    assert [assume(foreign, account) for account in (ACCOUNT, OTHER)] == [200, 403]


@pytest.mark.parametrize("key", ["aws:ResourceAccount", "s3:ResourceAccount"])
def test_what_is_in_no_bucket_has_an_account_too(server, key):
    surfaces = Surfaces(server)
    for index, (value, status) in enumerate(((OTHER, 200), (ACCOUNT, 403))):
        user = user_with(server, allow("*"), deny("*", **{"StringEquals": {key: value}}))
        credentials, name = Credentials(*user), f"made-{key[:2]}-{index}"
        found = {"create": surfaces.s3(credentials, "PUT", f"/{name}").status_code, "list": surfaces.s3(credentials, "GET", "/").status_code}
        assert found == dict.fromkeys(found, status), (value, found)


def narrow_keys(surfaces, name):
    """Keys and sessions of an administrator that end, or that a policy narrows."""
    surfaces.user(name, allow("*"))
    lasting = surfaces.key(name)
    policy = document(allow("*"), deny("s3:GetObjectTorrent"))
    return {
        "session": surfaces.session(lasting),
        "with a policy": secret_of(surfaces.api(ROOT, "key-add", user=name, policy=policy)),
        "that expires": secret_of(surfaces.api(ROOT, "key-add", user=name, expires_ms=4070908800000)),
    }


def test_no_account_is_left_behind(server):
    surfaces = Surfaces(server)
    numbers = iter(range(333333333333, 333333333999))
    keys = {**narrow_keys(surfaces, "adm"), "session of the owner": surfaces.session(ROOT)}
    for reason, key in keys.items():
        answer = surfaces.api(key, "account-add", id=str(next(numbers)), name="evil")
        assert answer.status_code == 403 and "secret" not in answer.text, (reason, answer.text)
    for action in ("iam:CreateAccessKey", "admin:CreateServiceAccount"):
        denied = surfaces.user(f"denied-{action[:3]}", allow("*"), deny(action))
        answer = surfaces.api(denied, "account-add", id=str(next(numbers)), name="evil")
        assert answer.status_code == 403, (action, answer.text)
    assert surfaces.api(ROOT, "account-add", id=str(next(numbers)), name="good").status_code == 200


def test_no_device_is_left_behind(server):
    surfaces = Surfaces(server)
    for reason, key in {"session of the owner": surfaces.session(server.other)}.items():
        for op, fields in (("mfa-enroll", {}), ("mfa-confirm", {"code": "000000"})):
            answer = surfaces.api(key, op, **fields)
            assert answer.status_code == 403 and "secret" not in answer.text, (reason, op, answer.text)
    assert surfaces.api(server.other, "mfa-enroll").status_code == 200
