"""Permissions boundaries: what a boundary does not allow, the policies of a user or role do not either, whichever way a right
is used; and anyone who may make identities only with a boundary makes none without."""
import json

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from conftest import Server, drystone
from test_corrupt_configuration import corrupt_rows
from test_narrowing import ACCOUNT, READONLY, allow, client, deny, document, make_policy, refused, rights

OTHER = f"arn:aws:iam::{ACCOUNT}:policy/other-boundary"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("boundaries") / "drive").wait_ready()
    server.iam = client(server, "iam")
    s3 = server.client()
    s3.create_bucket(Bucket="lake")
    s3.put_object(Bucket="lake", Key="k", Body=b"1")
    server.reads = make_policy(server, "reads", allow("s3:GetObject"))
    yield server
    server.stop()


def make_user(server, name, *statements, **parameters):
    made = server.iam.create_user(UserName=name, **parameters)["User"]
    server.iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(*statements or [allow("s3:*")]))
    return made, server.iam.create_access_key(UserName=name)["AccessKey"]


def test_a_boundary_is_told_changed_and_removed(server):
    iam = server.iam
    made, key = make_user(server, "ana", PermissionsBoundary=server.reads)
    shown = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": server.reads}
    assert made["PermissionsBoundary"] == shown == iam.get_user(UserName="ana")["User"]["PermissionsBoundary"]
    assert "PermissionsBoundary" not in iam.list_users()["Users"][0], "as AWS"
    s3 = client(server, "s3", key)
    assert rights(s3) == "r"
    iam.put_user_permissions_boundary(UserName="ana", PermissionsBoundary="arn:aws:iam::aws:policy/writeonly")
    assert rights(s3) == "w"
    iam.delete_user_permissions_boundary(UserName="ana")
    assert rights(s3) == "rwd"
    assert "PermissionsBoundary" not in iam.get_user(UserName="ana")["User"]
    refused("NoSuchEntity", iam.put_user_permissions_boundary, UserName="ana", PermissionsBoundary=OTHER)
    refused("NoSuchEntity", iam.put_user_permissions_boundary, UserName="none-such", PermissionsBoundary=server.reads)
    refused("NoSuchEntity", iam.create_user, UserName="stays-out", PermissionsBoundary=OTHER)
    refused("NoSuchEntity", iam.get_user, UserName="stays-out")


def test_a_policy_that_bounds_somebody_is_not_deleted(server):
    iam = server.iam
    arn = make_policy(server, "bounding", allow("s3:GetObject"))
    make_user(server, "bounded", PermissionsBoundary=arn)
    assert iam.get_policy(PolicyArn=arn)["Policy"]["PermissionsBoundaryUsageCount"] == 1
    assert [u["UserName"] for u in iam.list_entities_for_policy(PolicyArn=arn, PolicyUsageFilter="PermissionsBoundary")["PolicyUsers"]] == ["bounded"]
    assert iam.list_entities_for_policy(PolicyArn=arn, PolicyUsageFilter="PermissionsPolicy")["PolicyUsers"] == []
    assert [p["PolicyName"] for p in iam.list_policies(PolicyUsageFilter="PermissionsBoundary", Scope="Local")["Policies"]] == ["bounding"]
    refused("DeleteConflict", iam.delete_policy, PolicyArn=arn)
    assert drystone("policy", "remove", "bounding", "--at", server.directory).returncode == 1
    iam.delete_user_permissions_boundary(UserName="bounded")
    iam.delete_policy(PolicyArn=arn)


def test_keys_and_sessions_of_a_bounded_user_are_bounded(server):
    _, key = make_user(server, "bela", allow("*"), PermissionsBoundary=server.reads)
    s3 = client(server, "s3", key)
    assert rights(s3) == "r"
    assert rights(client(server, "s3", client(server, "iam", key).create_access_key()["AccessKey"])) == "r"
    assert rights(client(server, "s3", client(server, "sts", key).get_session_token()["Credentials"])) == "r"
    own = {"op": "key-add", "user": "bela", "description": "by the own API"}
    body = json.dumps(own).encode()
    request = AWSRequest("POST", f"{server.url}/.drystone/v1", data=body, headers={"Content-Type": "application/json"})
    SigV4Auth(Credentials(key["AccessKeyId"], key["SecretAccessKey"]), "s3", "us-east-1").add_auth(request)
    for entry in server.iam.list_access_keys(UserName="bela")["AccessKeyMetadata"]:
        if entry["AccessKeyId"] != key["AccessKeyId"]:
            server.iam.delete_access_key(UserName="bela", AccessKeyId=entry["AccessKeyId"])
    reply = requests.post(request.url, data=body, headers=dict(request.headers), timeout=10)
    if reply.status_code == 200:
        made = reply.json()["secret"]
        assert rights(client(server, "s3", {"AccessKeyId": made["access_key"], "SecretAccessKey": made["secret_key"]})) == "r"
    # What its policies allow and its boundary does not, no surface does.
    iam = client(server, "iam", key)
    refused("AccessDenied", iam.create_user, UserName="stays-out")
    refused("AccessDenied", iam.delete_user_permissions_boundary, UserName="bela")
    refused("AccessDenied", iam.put_user_policy, UserName="bela", PolicyName="more", PolicyDocument=document(allow("*")))
    for op in ({"op": "user-add", "name": "stays-out"}, {"op": "policy-attach", "policies": ["consoleAdmin"], "holder": {"user": "bela"}, "attach": True}):
        body = json.dumps(op).encode()
        request = AWSRequest("POST", f"{server.url}/.drystone/v1", data=body, headers={"Content-Type": "application/json"})
        SigV4Auth(Credentials(key["AccessKeyId"], key["SecretAccessKey"]), "s3", "us-east-1").add_auth(request)
        assert requests.post(request.url, data=body, headers=dict(request.headers), timeout=10).status_code == 403


def test_sessions_of_a_bounded_role_are_bounded(server):
    iam = server.iam
    _, key = make_user(server, "cleo", allow("*"))
    trust = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}]})
    made = iam.create_role(RoleName="bounded", AssumeRolePolicyDocument=trust, PermissionsBoundary=server.reads)["Role"]
    assert made["PermissionsBoundary"]["PermissionsBoundaryArn"] == server.reads
    iam.put_role_policy(RoleName="bounded", PolicyName="all", PolicyDocument=document(allow("s3:*")))
    assume = lambda **more: client(server, "sts", key).assume_role(RoleArn=made["Arn"], RoleSessionName="session", **more)["Credentials"]
    s3 = client(server, "s3", assume())
    assert rights(s3) == "r"
    assert rights(client(server, "s3", assume(PolicyArns=[{"arn": "arn:aws:iam::aws:policy/writeonly"}]))) == ""
    iam.put_role_permissions_boundary(RoleName="bounded", PermissionsBoundary="arn:aws:iam::aws:policy/readwrite")
    assert rights(s3) == "rwd"
    assert iam.get_role(RoleName="bounded")["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith("policy/readwrite")
    iam.delete_role_permissions_boundary(RoleName="bounded")
    # A user whose boundary does not let him take on roles takes on none that only trusts his account.
    iam.put_user_permissions_boundary(UserName="cleo", PermissionsBoundary=server.reads)
    refused("AccessDenied", assume)


def test_policies_of_a_bucket_and_a_boundary(server):
    """One that names the user gives in spite of a silent boundary, and not of one that denies."""
    s3 = server.client()
    s3.create_bucket(Bucket="named")
    silent = make_policy(server, "silent", allow("s3:ListBucket"))
    denies = make_policy(server, "denies-put", allow("s3:*"), deny("s3:PutObject"))
    made, key = make_user(server, "dora", PermissionsBoundary=silent)
    put = lambda: client(server, "s3", key).put_object(Bucket="named", Key="k", Body=b"")
    policy = lambda principal: s3.put_bucket_policy(Bucket="named", Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": principal, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::named/*"}]}))
    policy({"AWS": ACCOUNT})
    refused("AccessDenied", put)
    policy({"AWS": made["Arn"]})
    put()
    server.iam.put_user_permissions_boundary(UserName="dora", PermissionsBoundary=denies)
    refused("AccessDenied", put)


def test_the_refusal_names_the_boundary(server):
    _, key = make_user(server, "eva", PermissionsBoundary=server.reads)
    error = refused("AccessDenied", client(server, "s3", key).put_object, Bucket="lake", Key="x", Body=b"")
    found = json.loads(drystone("explain", error.response["ResponseMetadata"]["RequestId"], "--at", server.directory, "--json").stdout)
    found = found["refusals"][0]
    assert found["policy"] == "reads" and "boundary" in found["reason"], found


def test_whoever_may_make_identities_only_with_a_boundary_makes_none_without(server):
    """The policy of an administrator of projects, as AWS documents it."""
    iam, only = server.iam, {"StringEquals": {"iam:PermissionsBoundary": server.reads}}
    guarded = ["iam:CreateUser", "iam:CreateRole", "iam:PutUserPolicy", "iam:AttachUserPolicy", "iam:DetachUserPolicy",
               "iam:DeleteUserPolicy", "iam:PutUserPermissionsBoundary", "iam:PutRolePolicy", "iam:AttachRolePolicy"]
    _, key = make_user(server, "boss", {**allow(guarded), "Condition": only}, allow(["iam:CreateAccessKey", "iam:GetUser"]))
    boss = client(server, "iam", key)
    trust = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}]})
    refused("AccessDenied", boss.create_user, UserName="free")
    refused("AccessDenied", boss.create_user, UserName="free", PermissionsBoundary="arn:aws:iam::aws:policy/readwrite")
    refused("AccessDenied", boss.create_role, RoleName="free", AssumeRolePolicyDocument=trust)
    boss.create_user(UserName="held", PermissionsBoundary=server.reads)
    boss.create_role(RoleName="held", AssumeRolePolicyDocument=trust, PermissionsBoundary=server.reads)
    boss.put_user_policy(UserName="held", PolicyName="all", PolicyDocument=document(allow("*")))
    boss.put_role_policy(RoleName="held", PolicyName="all", PolicyDocument=document(allow("*")))
    boss.attach_user_policy(UserName="held", PolicyArn=READONLY)
    boss.detach_user_policy(UserName="held", PolicyArn=READONLY)
    refused("AccessDenied", boss.put_user_permissions_boundary, UserName="held", PermissionsBoundary="arn:aws:iam::aws:policy/readwrite")
    refused("AccessDenied", boss.delete_user_permissions_boundary, UserName="held")
    # One that is not bounded is out of reach, oneself too.
    make_user(server, "unbounded")
    for name in ("unbounded", "boss"):
        refused("AccessDenied", boss.put_user_policy, UserName=name, PolicyName="all", PolicyDocument=document(allow("*")))
        refused("AccessDenied", boss.attach_user_policy, UserName=name, PolicyArn=READONLY)
    assert rights(client(server, "s3", iam.create_access_key(UserName="held")["AccessKey"])) == "r"


def test_a_boundary_survives_a_kill(start):
    server = start()
    iam = client(server, "iam")
    server.client().create_bucket(Bucket="lake")
    server.client().put_object(Bucket="lake", Key="k", Body=b"1")
    iam.create_user(UserName="ana", PermissionsBoundary=READONLY)
    iam.put_user_policy(UserName="ana", PolicyName="own", PolicyDocument=document(allow("s3:*")))
    key = iam.create_access_key(UserName="ana")["AccessKey"]
    server.kill()
    server = start(directory=server.directory)
    assert rights(client(server, "s3", key)) == "r"


def test_a_boundary_that_cannot_be_read_denies_everything(start):
    server = start()
    iam, s3 = client(server, "iam"), server.client()
    s3.create_bucket(Bucket="lake")
    s3.put_object(Bucket="lake", Key="k", Body=b"1")
    arn = iam.create_policy(PolicyName="planted", PolicyDocument=document({"Sid": "BOUNDS", **allow("s3:*")}))["Policy"]["Arn"]
    user = iam.create_user(UserName="ana", PermissionsBoundary=arn)["User"]
    iam.put_user_policy(UserName="ana", PolicyName="own", PolicyDocument=document(allow("s3:*")))
    key = iam.create_access_key(UserName="ana")["AccessKey"]
    # Nor does what a bucket gives to the very user count then.
    s3.put_bucket_policy(Bucket="lake", Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": user["Arn"]}, "Action": "s3:*", "Resource": "arn:aws:s3:::lake/*"}]}))
    assert rights(client(server, "s3", key)) == "rwd"
    server.stop()
    assert corrupt_rows(server.directory, r'BOUNDS\", \"Effect\": \"Allow', r'BOUNDS\", \"Effect\": \"Alloy') == 1
    server = start(directory=server.directory)
    assert rights(client(server, "s3", key)) == ""
    refused("AccessDenied", client(server, "iam", key).create_access_key)
