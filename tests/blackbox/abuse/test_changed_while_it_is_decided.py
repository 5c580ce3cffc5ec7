"""Changes whose decision takes long: they give a credential of a user who holds many policies, and the sender's own are costly to
compare. What changes before the end of the decision counts, and what has ended changes nothing."""
import json

import pytest
from minio.crypto import encrypt

from conftest import Server
from surfaces import ALLOW_ALL, ROOT, Surfaces, document, field
from test_ended_while_it_waits import Later

PLAIN = [f"plain{number}" for number in range(19)]
GROUPS = [f"holds{number}" for number in range(10)]
# Compared with a long header in every decision, and matching none.
COSTLY = {"Effect": "Deny", "Action": "*", "Resource": "*",
          "Condition": {"StringLike": {"aws:UserAgent": [f"*{number:04}zb*" for number in range(1200)]}}}
DENY_ALL = document({"Effect": "Deny", "Action": "*", "Resource": "*"})
# May attach everything but one policy.
NOT_ADMIN = {"Effect": "Deny", "Action": ["iam:Attach*", "admin:*"], "Resource": "*",
             "Condition": {"ArnLike": {"iam:PolicyARN": "arn:aws:iam::*:policy/consoleAdmin"}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("decided") / "drive").wait_ready()
    surfaces = Surfaces(server)
    for name in PLAIN:
        surfaces.root("CreatePolicy", PolicyName=name, PolicyDocument=document(
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}))
    for name in GROUPS:
        surfaces.root("CreateGroup", GroupName=name)
        attach(surfaces, PLAIN, group=name)
    surfaces.root("CreateGroup", GroupName="denied")
    surfaces.root("PutGroupPolicy", GroupName="denied", PolicyName="no", PolicyDocument=DENY_ALL)
    yield server
    server.stop()


def attach(surfaces, policies, **holder):
    answer = surfaces.api(ROOT, "policy-attach", policies=policies, holder=holder, attach=True)
    assert answer.status_code == 200, answer.text


def target_of(surfaces, name):
    """A user who holds much, disabled, with a key."""
    surfaces.root("CreateUser", UserName=name)
    attach(surfaces, PLAIN, user=name)
    for group in GROUPS:
        surfaces.root("AddUserToGroup", UserName=name, GroupName=group)
    key = surfaces.key(name)
    surfaces.root("UpdateAccessKey", UserName=name, AccessKeyId=key.access_key, Status="Inactive")
    assert surfaces.api(ROOT, "user-enable", name=name, enabled=False).status_code == 200
    return key.access_key


def state_of(surfaces, name):
    keys = surfaces.api(ROOT, "key-list", user=name).json()
    shown = surfaces.minio(ROOT, "GET", "user-info", accessKey=name).json()
    return keys, shown["status"]


def slow(server):
    """Surfaces whose requests take long to decide on."""
    surfaces = Surfaces(server)
    send = surfaces.send
    surfaces.send = lambda key, service, method, path, data=b"", headers=None: send(
        key, service, method, path, data, {**(headers or {}), "User-Agent": "a" * 2040})
    return surfaces


def add_user(surfaces, key, target, _):
    sealed = encrypt(json.dumps({"secretKey": "new-secret-key", "status": "enabled"}).encode(), key.secret_key)
    return surfaces.minio(key, "PUT", "add-user", sealed, accessKey=target)


def add_service_account(surfaces, key, target, _):
    sealed = encrypt(json.dumps({"targetUser": target}).encode(), key.secret_key)
    return surfaces.minio(key, "PUT", "add-service-account", sealed)


KINDS = {
    "iam-create-key": lambda s, key, target, _: s.query(key, "CreateAccessKey", UserName=target),
    "iam-enable-key": lambda s, key, target, of_target: s.query(
        key, "UpdateAccessKey", UserName=target, AccessKeyId=of_target, Status="Active"),
    "own-key-add": lambda s, key, target, _: s.api(key, "key-add", user=target),
    "own-user-enable": lambda s, key, target, _: s.api(key, "user-enable", name=target, enabled=True),
    "minio-status": lambda s, key, target, _: s.minio(key, "PUT", "set-user-status", accessKey=target, status="enabled"),
    "minio-add-user": add_user,
    "minio-service-account": add_service_account,
}
ENDS = {
    "key-deleted": lambda s, name, key, _: s.root("DeleteAccessKey", UserName=name, AccessKeyId=key.access_key),
    "user-disabled": lambda s, name, key, _: s.api(ROOT, "user-enable", name=name, enabled=False),
    "policy-detached": lambda s, name, key, _: s.root("DeleteUserPolicy", UserName=name, PolicyName="own"),
    "deny-attached": lambda s, name, key, _: s.root("PutUserPolicy", UserName=name, PolicyName="no", PolicyDocument=DENY_ALL),
    "deny-by-group": lambda s, name, key, _: s.root("AddUserToGroup", UserName=name, GroupName="denied"),
    "target-gained": lambda s, name, key, target: attach(s, ["consoleAdmin"], user=target),
}


def begin(server, kind, name):
    """A change that is being decided: the key that sent it, the user whom it is about, and the call."""
    surfaces, target = Surfaces(server), f"{name}-target"
    of_target = target_of(surfaces, target)
    key = surfaces.user(name, ALLOW_ALL, NOT_ADMIN, COSTLY)
    later = Later(lambda: KINDS[kind](slow(server), key, target, of_target))
    assert later.waits(0.1), later.result.text
    return key, target, later


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_ends_while_a_change_is_decided_stops_it(server, kind, end):
    surfaces, name = Surfaces(server), f"{kind}-{end}"
    key, target, later = begin(server, kind, name)
    before = state_of(surfaces, target)
    ENDS[end](surfaces, name, key, target)
    answer = later.end()
    assert answer.status_code == 403, answer.text[:300]
    assert state_of(surfaces, target) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_is_carried_out_however_often_others_change_something_meanwhile(server, kind):
    surfaces, name = Surfaces(server), f"{kind}-beside"
    other = surfaces.user(f"{name}-other")
    _, target, later = begin(server, kind, name)
    before, count = state_of(surfaces, target), 0
    while later.waits(0.001):
        made = surfaces.query(other, "CreateAccessKey")
        assert made.status_code == 200, made.text
        gone = surfaces.query(other, "DeleteAccessKey", AccessKeyId=field(made.text, "AccessKeyId"))
        assert gone.status_code == 200, gone.text
        count += 1
    answer = later.end()
    assert answer.status_code == 200 and count > 0, answer.text[:300]
    assert state_of(surfaces, target) != before


@pytest.mark.parametrize("end", [end for end in ENDS if end != "target-gained"])
@pytest.mark.parametrize("kind", ["all", "users-only"])
def test_a_list_that_takes_long_is_given_to_those_only_who_have_the_right_at_its_end(server, kind, end):
    surfaces, name = Surfaces(server), f"list-{kind}-{end}"
    for number in range(200):
        surfaces.query(ROOT, "CreateUser", UserName=f"listed{number}")
    key = surfaces.user(name, ALLOW_ALL, COSTLY)
    later = Later(lambda: slow(server).minio(key, "GET", "list-access-keys-bulk", all="true", listType=kind))
    assert later.waits(0.1), "the list is too short for the test"
    ENDS[end](surfaces, name, key, None)
    assert later.end().status_code == 403


def test_many_changes_at_once_are_all_carried_out(server):
    surfaces = Surfaces(server)
    calls = [Later(lambda name=f"at-once{number}": Surfaces(server).query(ROOT, "CreateUser", UserName=name)) for number in range(60)]
    assert [call.end().status_code for call in calls] == [200] * 60
    assert surfaces.root("ListUsers", MaxItems="1000").count("<UserName>at-once") == 60
