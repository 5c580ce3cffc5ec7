"""Users, groups, roles, policies and keys through boto3's IAM and STS clients: what they may do changes at once,
survives restarts and kills, and no secret is readable on the drive."""
import json
import os
import stat
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, Server

ALLOW_ALL = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def service(server, name, access=USER, secret=PASSWORD, token=None):
    return boto3.client(name, endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=access,
                        aws_secret_access_key=secret, aws_session_token=token)


def s3_of(server, key, token=None):
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_session_token=token,
                        aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])


def refused(code, call, *arguments, **parameters):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **parameters)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("identities") / "drive").wait_ready()
    yield server
    server.stop()


@pytest.fixture
def bucket(server):
    name = f"b-{uuid.uuid4().hex[:12]}"
    s3 = server.client()
    s3.create_bucket(Bucket=name)
    yield name
    for entry in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=entry["Key"])
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def iam(server):
    return service(server, "iam")


@pytest.fixture
def make_user(iam):
    """Makes users with a key, and removes them."""
    made = []

    def make(name, *statements):
        iam.create_user(UserName=name)
        made.append(name)
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(*statements))
        return iam.create_access_key(UserName=name)["AccessKey"]

    yield make
    for name in made:
        remove_user(iam, name)


def remove_user(iam, name):
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    for group in iam.list_groups_for_user(UserName=name)["Groups"]:
        iam.remove_user_from_group(UserName=name, GroupName=group["GroupName"])
    for policy in iam.list_user_policies(UserName=name)["PolicyNames"]:
        iam.delete_user_policy(UserName=name, PolicyName=policy)
    for policy in iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
        iam.detach_user_policy(UserName=name, PolicyArn=policy["PolicyArn"])
    iam.delete_user(UserName=name)


def test_a_new_user_may_do_nothing_and_rights_act_at_once(server, iam, make_user, bucket):
    key = make_user("anna")
    user = s3_of(server, key)
    refused("AccessDenied", user.list_objects_v2, Bucket=bucket)
    refused("AccessDenied", user.list_buckets)
    iam.attach_user_policy(UserName="anna", PolicyArn="arn:aws:iam::aws:policy/readonly")
    server.client().put_object(Bucket=bucket, Key="k", Body=b"1")
    assert user.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    refused("AccessDenied", user.put_object, Bucket=bucket, Key="k", Body=b"2")
    iam.detach_user_policy(UserName="anna", PolicyArn="arn:aws:iam::aws:policy/readonly")
    refused("AccessDenied", user.get_object, Bucket=bucket, Key="k")


def test_whoever_may_not_list_learns_nothing_of_what_exists(server, make_user, bucket):
    s3 = s3_of(server, make_user("bela", {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}))
    refused("AccessDenied", s3.get_object, Bucket=bucket, Key="not-there")
    refused("AccessDenied", s3.list_objects_v2, Bucket="no-such-bucket-at-all")
    assert refused("403", s3.head_bucket, Bucket=bucket)


def test_buckets_are_listed_as_far_as_rights_go(server, make_user, bucket):
    other = server.client()
    other.create_bucket(Bucket=bucket + "-b")
    try:
        s3 = s3_of(server, make_user("cleo", {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}))
        assert [entry["Name"] for entry in s3.list_buckets()["Buckets"]] == [bucket]
    finally:
        other.delete_bucket(Bucket=bucket + "-b")


def test_groups_give_and_an_explicit_deny_takes(server, iam, make_user, bucket):
    user = s3_of(server, make_user("dora"))
    iam.create_group(GroupName="writers")
    iam.put_group_policy(GroupName="writers", PolicyName="all", PolicyDocument=document(ALLOW_ALL))
    iam.add_user_to_group(GroupName="writers", UserName="dora")
    user.put_object(Bucket=bucket, Key="k", Body=b"")
    assert [u["UserName"] for u in iam.get_group(GroupName="writers")["Users"]] == ["dora"]
    iam.put_user_policy(UserName="dora", PolicyName="no", PolicyDocument=document(
        {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"}))
    refused("AccessDenied", user.delete_object, Bucket=bucket, Key="k")
    answer = user.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})
    assert answer["Errors"][0]["Code"] == "AccessDenied"
    refused("DeleteConflict", iam.delete_group, GroupName="writers")
    iam.remove_user_from_group(GroupName="writers", UserName="dora")
    refused("AccessDenied", user.put_object, Bucket=bucket, Key="k", Body=b"")
    iam.delete_group_policy(GroupName="writers", PolicyName="all")
    iam.delete_group(GroupName="writers")


def test_keys_are_rotated_by_their_user_without_other_rights(server, make_user):
    key = make_user("emil")
    own = service(server, "iam", key["AccessKeyId"], key["SecretAccessKey"])
    assert own.get_user()["User"]["UserName"] == "emil"
    second = own.create_access_key()["AccessKey"]
    refused("LimitExceeded", own.create_access_key)
    assert len(own.list_access_keys()["AccessKeyMetadata"]) == 2
    own.update_access_key(AccessKeyId=key["AccessKeyId"], Status="Inactive")
    refused("InvalidClientTokenId", own.get_user)
    new = service(server, "iam", second["AccessKeyId"], second["SecretAccessKey"])
    new.delete_access_key(AccessKeyId=key["AccessKeyId"])
    refused("AccessDenied", new.list_users)
    refused("AccessDenied", new.create_access_key, UserName="somebody-else")
    refused("AccessDenied", new.attach_user_policy, UserName="emil", PolicyArn="arn:aws:iam::aws:policy/consoleAdmin")


def test_what_ends_does_not_make_what_lasts(server, make_user):
    key = make_user("otto", ALLOW_ALL, {"Effect": "Allow", "Action": "iam:*", "Resource": "*"})
    session = service(server, "sts", key["AccessKeyId"], key["SecretAccessKey"]).get_session_token()["Credentials"]
    own = service(server, "iam", session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
    assert own.get_user()["User"]["UserName"] == "otto"
    refused("AccessDenied", own.create_access_key)
    root = service(server, "sts").get_session_token()["Credentials"]
    of_root = service(server, "iam", root["AccessKeyId"], root["SecretAccessKey"], root["SessionToken"])
    refused("AccessDenied", of_root.create_access_key)


def test_tags_of_a_session_need_a_right_of_their_own(server, iam, make_user, bucket):
    key = make_user("paul")
    sts = service(server, "sts", key["AccessKeyId"], key["SecretAccessKey"])
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(RoleName="tagged", AssumeRolePolicyDocument=document(trust), Tags=[{"Key": "team", "Value": "a"}])["Role"]["Arn"]
    iam.put_role_policy(RoleName="tagged", PolicyName="own", PolicyDocument=document(
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/${{aws:PrincipalTag/team}}/*"}))
    wanted = {"RoleArn": arn, "RoleSessionName": "tags", "Tags": [{"Key": "team", "Value": "b"}]}
    refused("AccessDenied", sts.assume_role, **wanted)
    iam.update_assume_role_policy(RoleName="tagged", PolicyDocument=document({**trust, "Action": ["sts:AssumeRole", "sts:TagSession"]}))
    session = sts.assume_role(**wanted)["Credentials"]
    s3 = s3_of(server, session, session["SessionToken"])
    s3.put_object(Bucket=bucket, Key="b/k", Body=b"")
    refused("AccessDenied", s3.put_object, Bucket=bucket, Key="a/k", Body=b"")
    iam.delete_role_policy(RoleName="tagged", PolicyName="own")
    iam.delete_role(RoleName="tagged")


def test_a_user_made_anew_under_the_same_name_does_not_get_the_old_keys_or_sessions(server, iam):
    iam.create_user(UserName="fritz")
    iam.attach_user_policy(UserName="fritz", PolicyArn="arn:aws:iam::aws:policy/readwrite")
    key = iam.create_access_key(UserName="fritz")["AccessKey"]
    session = service(server, "sts", key["AccessKeyId"], key["SecretAccessKey"]).get_session_token()["Credentials"]
    s3_of(server, session, session["SessionToken"]).list_buckets()
    remove_user(iam, "fritz")
    iam.create_user(UserName="fritz")
    iam.attach_user_policy(UserName="fritz", PolicyArn="arn:aws:iam::aws:policy/readwrite")
    refused("InvalidAccessKeyId", s3_of(server, key).list_buckets)
    refused("InvalidAccessKeyId", s3_of(server, session, session["SessionToken"]).list_buckets)
    remove_user(iam, "fritz")


def test_managed_policies_have_versions(server, iam, make_user, bucket):
    arn = iam.create_policy(PolicyName="put-only", PolicyDocument=document(
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}))["Policy"]["Arn"]
    user = s3_of(server, make_user("gesa"))
    iam.attach_user_policy(UserName="gesa", PolicyArn=arn)
    user.put_object(Bucket=bucket, Key="k", Body=b"")
    refused("AccessDenied", user.get_object, Bucket=bucket, Key="k")
    version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(ALLOW_ALL), SetAsDefault=True)
    assert version["PolicyVersion"]["VersionId"] == "v2"
    user.get_object(Bucket=bucket, Key="k")
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    refused("AccessDenied", user.get_object, Bucket=bucket, Key="k")
    refused("DeleteConflict", iam.delete_policy_version, PolicyArn=arn, VersionId="v1")
    refused("DeleteConflict", iam.delete_policy, PolicyArn=arn)
    got = iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]["Document"]
    assert got["Statement"] == [ALLOW_ALL]
    entities = iam.list_entities_for_policy(PolicyArn=arn)
    assert [u["UserName"] for u in entities["PolicyUsers"]] == ["gesa"] and entities["PolicyGroups"] == []
    iam.detach_user_policy(UserName="gesa", PolicyArn=arn)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    iam.delete_policy(PolicyArn=arn)


def test_a_role_is_taken_on_by_those_whom_it_trusts(server, iam, make_user, bucket):
    key, other = make_user("hugo"), make_user("ines", ALLOW_ALL)
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:user/hugo"}, "Action": "sts:AssumeRole",
             "Condition": {"StringEquals": {"sts:ExternalId": "77"}}}
    role = iam.create_role(RoleName="trainer", AssumeRolePolicyDocument=document(trust))["Role"]
    iam.put_role_policy(RoleName="trainer", PolicyName="read", PolicyDocument=document(
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::{bucket}/${{aws:userid}}/*"}))
    sts = service(server, "sts", key["AccessKeyId"], key["SecretAccessKey"])
    refused("AccessDenied", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="night")
    refused("AccessDenied", service(server, "sts", other["AccessKeyId"], other["SecretAccessKey"]).assume_role,
            RoleArn=role["Arn"], RoleSessionName="night", ExternalId="77")
    taken = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="night", ExternalId="77")
    assert taken["AssumedRoleUser"]["Arn"] == "arn:aws:sts::000000000000:assumed-role/trainer/night"
    session = taken["Credentials"]
    s3 = s3_of(server, session, session["SessionToken"])
    s3.put_object(Bucket=bucket, Key=f"{role['RoleId']}:night/k", Body=b"")
    refused("AccessDenied", s3.put_object, Bucket=bucket, Key="elsewhere", Body=b"")
    again = service(server, "sts", session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
    assert again.get_caller_identity()["Arn"] == taken["AssumedRoleUser"]["Arn"]
    refused("AccessDenied", again.assume_role, RoleArn=role["Arn"], RoleSessionName="chain")
    refused("AccessDenied", again.get_session_token)
    refused("ValidationError", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="night", ExternalId="77", DurationSeconds=7200)
    refused("MalformedPolicyDocument", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="night", ExternalId="77", Policy="{}")
    iam.delete_role_policy(RoleName="trainer", PolicyName="read")
    iam.delete_role(RoleName="trainer")
    refused("InvalidToken", s3.get_object, Bucket=bucket, Key="elsewhere")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "..", "e30.e30.e30", "A" * 20_000])
def test_broken_tokens_open_nothing(server, token, bucket):
    session = service(server, "sts").get_session_token()["Credentials"]
    code = "InvalidAccessKeyId" if token == "" else "InvalidToken"
    refused(code, s3_of(server, session, token or None).list_objects_v2, Bucket=bucket)
    good = session["SessionToken"]
    for changed in (good[:-2] + ("AA" if good[-2:] != "AA" else "BB"), good.rsplit(".", 1)[0] + ".", good + "x"):
        refused("InvalidToken", s3_of(server, session, changed).list_objects_v2, Bucket=bucket)
    other = service(server, "sts").get_session_token()["Credentials"]
    refused("InvalidToken", s3_of(server, session, other["SessionToken"]).list_objects_v2, Bucket=bucket)


@pytest.mark.parametrize("call, parameters, code", [
    ("create_user", {"UserName": "a b"}, "ValidationError"),
    ("create_user", {"UserName": "x", "Path": "no-slash"}, "ValidationError"),
    ("get_user", {"UserName": "nobody"}, "NoSuchEntity"),
    ("delete_user", {"UserName": "nobody"}, "NoSuchEntity"),
    ("create_access_key", {"UserName": "nobody"}, "NoSuchEntity"),
    ("put_user_policy", {"UserName": "nobody", "PolicyName": "p", "PolicyDocument": "{}"}, "MalformedPolicyDocument"),
    ("attach_user_policy", {"UserName": "nobody", "PolicyArn": "arn:aws:iam::aws:policy/none-such"}, "NoSuchEntity"),
    ("create_policy", {"PolicyName": "readonly", "PolicyDocument": document(ALLOW_ALL)}, "EntityAlreadyExists"),
    ("create_policy", {"PolicyName": "big", "PolicyDocument": document(*[ALLOW_ALL] * 400)}, "LimitExceeded"),
    ("delete_policy", {"PolicyArn": "arn:aws:iam::aws:policy/readonly"}, "AccessDenied"),
    ("create_role", {"RoleName": "r", "AssumeRolePolicyDocument": document(ALLOW_ALL)}, "MalformedPolicyDocument"),
    ("update_user", {"UserName": "nobody", "NewUserName": "x"}, "NoSuchEntity"),
    ("create_instance_profile", {"InstanceProfileName": "x"}, "NotImplemented"),
])
def test_bad_input_gets_the_error_of_iam(iam, call, parameters, code):
    refused(code, getattr(iam, call), **parameters)


def test_lists_have_pages(iam):
    names = [f"page-{number}" for number in range(5)]
    for name in names:
        iam.create_user(UserName=name, Path="/paged/", Tags=[{"Key": "team", "Value": "x"}])
    pages = list(iam.get_paginator("list_users").paginate(PathPrefix="/paged/", PaginationConfig={"PageSize": 2}))
    assert [len(page["Users"]) for page in pages] == [2, 2, 1]
    assert [user["UserName"] for page in pages for user in page["Users"]] == names
    assert iam.list_user_tags(UserName=names[0])["Tags"] == [{"Key": "team", "Value": "x"}]
    for name in names:
        iam.delete_user(UserName=name)


def test_a_bulk_of_ten_policies_decides_rightly(server, iam, make_user, bucket):
    key = make_user("karl")
    for number in range(10):
        iam.put_user_policy(UserName="karl", PolicyName=f"p{number}", PolicyDocument=document(
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/{number}/*"}))
    server.client().put_object(Bucket=bucket, Key="9/k", Body=b"9")
    assert s3_of(server, key).get_object(Bucket=bucket, Key="9/k")["Body"].read() == b"9"
    refused("AccessDenied", s3_of(server, key).get_object, Bucket=bucket, Key="10/k")


def test_identities_survive_a_kill_and_no_secret_is_readable_on_the_drive(tmp_path):
    drive = tmp_path / "drive"
    server = Server(str(drive), "--segment-size", "4MiB").wait_ready()
    iam = service(server, "iam")
    iam.create_user(UserName="lena")
    iam.attach_user_policy(UserName="lena", PolicyArn="arn:aws:iam::aws:policy/readwrite")
    key = iam.create_access_key(UserName="lena")["AccessKey"]
    session = service(server, "sts", key["AccessKeyId"], key["SecretAccessKey"]).get_session_token()["Credentials"]
    server.client().create_bucket(Bucket="kept")
    server.kill()
    server = Server(str(drive)).wait_ready()
    try:
        s3_of(server, key).put_object(Bucket="kept", Key="k", Body=b"1")
        s3_of(server, session, session["SessionToken"]).get_object(Bucket="kept", Key="k")
    finally:
        server.stop()
    secrets = [key["SecretAccessKey"], session["SecretAccessKey"], session["SessionToken"], PASSWORD]
    found_key_id = False
    for folder, _, names in os.walk(drive):
        for name in names:
            path = os.path.join(folder, name)
            if stat.S_ISSOCK(os.stat(path).st_mode):
                continue
            data = open(path, "rb").read()
            found_key_id |= key["AccessKeyId"].encode() in data
            for secret in secrets:
                assert secret.encode() not in data, f"{name} holds a secret"
    assert found_key_id, "the search looks at what is there"
    assert stat.S_IMODE(os.stat(drive / "keyring").st_mode) == 0o600


def test_a_lost_keyring_is_a_clear_refusal(tmp_path):
    drive, ring = str(tmp_path / "drive"), str(tmp_path / "elsewhere" / "ring")
    os.mkdir(os.path.dirname(ring))
    server = Server(drive, "--segment-size", "4MiB", "--keyring", ring).wait_ready()
    iam = service(server, "iam")
    iam.create_user(UserName="mia")
    key = iam.create_access_key(UserName="mia")["AccessKey"]
    server.stop()
    assert not os.path.exists(os.path.join(drive, "keyring"))
    os.remove(ring)
    lost = Server(drive, "--keyring", ring)
    assert lost.process.wait(20) == 1 and "the keyring has no key" in lost.process.stderr.read()
    server = Server(drive, "--keyring", ring, "--accept-lost-keyring").wait_ready()
    try:
        server.client().list_buckets()
        refused("InternalError", s3_of(server, key).list_buckets)
        refused("NoSuchEntity", service(server, "iam").get_user, UserName="none")
    finally:
        server.stop()
    with open(ring, "w", encoding="utf-8") as file:
        file.write("not a keyring")
    broken = Server(drive, "--keyring", ring)
    assert broken.process.wait(20) == 1
