"""Sessions end with the credentials that they were made with, and at once where someone ends them; second factors and what
is said when a session is made are honoured, or refused."""
import datetime
import json
import time

import boto3
import pytest
from botocore.exceptions import ClientError
from minio.crypto import encrypt

from conftest import PASSWORD, USER, Server, drystone
from surfaces import ROOT, Surfaces, secret_of
from test_mfa import Device
from test_narrowing import ACCOUNT, allow, client, document, refused

FACTOR = f"arn:aws:iam::{ACCOUNT}:mfa/root-account-mfa-device"


def ended(call, *arguments, **parameters):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **parameters)
    assert caught.value.response["Error"]["Code"] in ("InvalidToken", "InvalidClientTokenId", "InvalidAccessKeyId"), caught.value


def trust_of(server, name, actions, condition=None):
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": actions}
    if condition:
        statement["Condition"] = condition
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam = client(server, "iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=document(allow("s3:*")))
    return arn


def make_user(server, name):
    iam = client(server, "iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=document(allow("*")))
    return iam.create_access_key(UserName=name)["AccessKey"]


def test_sessions_of_the_owner_end_when_their_key_ends(start):
    """Goal: an end that a key gets later ends its sessions, too. Method: one that was used before and one that was not; a session of a
    key without an end goes on."""
    surfaces = Surfaces(start())
    key, lasting = (secret_of(surfaces.api(ROOT, "key-add")) for _ in range(2))
    used, unused = (surfaces.session(key, DurationSeconds=129600) for _ in range(2))
    other = surfaces.session(lasting)
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    body = encrypt(json.dumps({"newExpiration": end.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode(), ROOT.secret_key)
    answer = surfaces.minio(ROOT, "POST", "update-service-account", body, accessKey=key.access_key)
    assert answer.status_code == 204, answer.text
    assert surfaces.s3(used, "GET", "/").status_code == 200
    deadline = time.monotonic() + 10
    while surfaces.s3(key, "GET", "/").status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [surfaces.s3(session, "GET", "/").status_code for session in (used, unused, other)] == [400, 400, 200]


def test_sessions_of_the_owner_end_with_a_new_secret(start, tmp_path):
    server = start()
    own = client(server, "sts").get_session_token()["Credentials"]
    # An access key of the owner's, and its session.
    made = json.loads(drystone("key", "add", "--root", "--at", server.directory, "--json").stdout)["secret"]
    key = {"AccessKeyId": made["access_key"], "SecretAccessKey": made["secret_key"]}
    by_key = client(server, "sts", key).get_session_token()["Credentials"]
    for found in (own, by_key):
        client(server, "s3", found).list_buckets()
    server.stop()
    for user, password in [(USER, "another-password"), ("another-user", PASSWORD)]:
        env = {"DRYSTONE_ROOT_USER": user, "DRYSTONE_ROOT_PASSWORD": password}
        server = start(directory=server.directory, env=env)
        ended(client(server, "s3", own).list_buckets)
        ended(client(server, "iam", own).create_user, UserName="stays-out")
        client(server, "s3", by_key).list_buckets()
        server.stop()
    server = start(directory=server.directory)
    client(server, "s3", own).list_buckets()  # The credentials are those of then.
    assert drystone("key", "disable", key["AccessKeyId"], "--at", server.directory).returncode == 0
    ended(client(server, "s3", by_key).list_buckets)
    drystone("key", "enable", key["AccessKeyId"], "--at", server.directory)
    client(server, "s3", by_key).list_buckets()
    drystone("key", "remove", key["AccessKeyId"], "--at", server.directory)
    ended(client(server, "s3", by_key).list_buckets)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("sessions") / "drive").wait_ready()
    server.client().create_bucket(Bucket="lake")
    server.ana = make_user(server, "ana")
    server.device = Device(server)
    assert drystone("mfa", "confirm", server.device.code(), "--at", server.directory).returncode == 0
    yield server
    server.stop()


def test_sessions_are_ended_at_once(server):
    arn = trust_of(server, "ended", "sts:AssumeRole")
    make = {
        "root": lambda: client(server, "sts").get_session_token(),
        "user": lambda: client(server, "sts", server.ana).get_session_token(),
        "role": lambda: client(server, "sts", server.ana).assume_role(RoleArn=arn, RoleSessionName="session"),
    }
    name = {"root": ["--root"], "user": ["--user", "ana"], "role": ["--role", "ended"]}
    for kind in make:
        old = {other: client(server, "s3", make[other]()["Credentials"]) for other in make}
        for s3 in old.values():
            s3.list_objects_v2(Bucket="lake")
        done = drystone("session", "revoke", *name[kind], "--at", server.directory)
        assert done.returncode == 0, done.stderr
        ended(old.pop(kind).list_objects_v2, Bucket="lake")
        for s3 in old.values():
            s3.list_objects_v2(Bucket="lake")
        # New ones are made at once.
        client(server, "s3", make[kind]()["Credentials"]).list_objects_v2(Bucket="lake")
    assert drystone("session", "revoke", "--user", "none-such", "--at", server.directory).returncode == 1
    assert drystone("session", "revoke", "--at", server.directory).returncode == 2
    assert drystone("session", "revoke", "--root", "--user", "ana", "--at", server.directory).returncode == 2
    for whose in (["--root"], ["--user", "ana"]):
        done = drystone("session", "revoke", *whose, "--openid-provider", "https://id", "--at", server.directory)
        assert done.returncode != 0 and "openid" in done.stderr


def test_an_end_of_sessions_survives_a_kill(start):
    server = start()
    s3 = client(server, "s3", client(server, "sts").get_session_token()["Credentials"])
    s3.list_buckets()
    assert drystone("session", "revoke", "--root", "--at", server.directory).returncode == 0
    token = s3._request_signer._credentials
    server.kill()
    server = start(directory=server.directory)
    again = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=token.access_key,
                         aws_secret_access_key=token.secret_key, aws_session_token=token.token)
    ended(again.list_buckets)


def test_second_factors_are_checked(server):
    sts, device = client(server, "sts"), server.device
    wrong = refused("AccessDenied", sts.get_session_token, SerialNumber=device.serial, TokenCode="000000")
    assert "MultiFactorAuthentication failed with invalid MFA one time pass code" in str(wrong)
    refused("AccessDenied", sts.get_session_token, SerialNumber=device.serial)
    refused("AccessDenied", sts.get_session_token, TokenCode=device.code())
    refused("AccessDenied", sts.get_session_token, SerialNumber="arn:aws:iam::111122223333:mfa/x", TokenCode="000000")
    # A user has no device, and the owner's is none of his.
    user = client(server, "sts", server.ana)
    for serial in (device.serial, f"arn:aws:iam::{ACCOUNT}:mfa/ana"):
        refused("AccessDenied", user.get_session_token, SerialNumber=serial, TokenCode="000000")
        refused("AccessDenied", user.assume_role, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/x", RoleSessionName="session",
                SerialNumber=serial, TokenCode="000000")
    # A call that is refused for its form uses no code up, and a code counts once.
    role, code = trust_of(server, "with-factor", "sts:AssumeRole"), device.code()
    refused("NotImplemented", sts.assume_role, RoleArn=role, RoleSessionName="session",
            SerialNumber=device.serial, TokenCode=code, ProvidedContexts=[{"ProviderArn": "arn:aws:iam::aws:contextProvider/x", "ContextAssertion": "abcd"}])
    with_factor = sts.get_session_token(SerialNumber=device.serial, TokenCode=code)["Credentials"]
    refused("AccessDenied", sts.get_session_token, SerialNumber=device.serial, TokenCode=code)
    without = sts.get_session_token()["Credentials"]
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::guarded/*",
         "Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::guarded/*",
         "Condition": {"NumericGreaterThan": {"aws:MultiFactorAuthAge": "3600"}}},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::guarded/*",
         "Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": "3600"}}}]}
    s3 = server.client()
    s3.create_bucket(Bucket="guarded")
    s3.put_object(Bucket="guarded", Key="k", Body=b"")
    s3.put_bucket_policy(Bucket="guarded", Policy=json.dumps(policy))
    refused("AccessDenied", client(server, "s3", without).delete_object, Bucket="guarded", Key="k")
    client(server, "s3", with_factor).get_object(Bucket="guarded", Key="k")
    client(server, "s3", with_factor).delete_object(Bucket="guarded", Key="k")
    refused("AccessDenied", client(server, "s3", with_factor).put_object, Bucket="guarded", Key="k", Body=b"")
    # A key that lasts has no such condition key, which an operator with IfExists takes for a match.
    refused("AccessDenied", s3.delete_object, Bucket="guarded", Key="k")


def test_a_source_identity_is_kept_and_needs_a_right(server):
    plain = trust_of(server, "plain", "sts:AssumeRole")
    trusting = trust_of(server, "trusting", ["sts:AssumeRole", "sts:SetSourceIdentity"], {"StringLike": {"sts:SourceIdentity": "ana*"}})
    sts = client(server, "sts", server.ana)
    refused("AccessDenied", sts.assume_role, RoleArn=plain, RoleSessionName="session", SourceIdentity="ana")
    refused("AccessDenied", sts.assume_role, RoleArn=trusting, RoleSessionName="session", SourceIdentity="bob")
    refused("AccessDenied", sts.assume_role, RoleArn=trusting, RoleSessionName="session")
    refused("ValidationError", sts.assume_role, RoleArn=trusting, RoleSessionName="session", SourceIdentity="a na")
    made = sts.assume_role(RoleArn=trusting, RoleSessionName="session", SourceIdentity="ana-1")
    assert made["SourceIdentity"] == "ana-1"
    other = sts.assume_role(RoleArn=trusting, RoleSessionName="session", SourceIdentity="ana-2")
    s3 = server.client()
    s3.create_bucket(Bucket="sources")
    s3.put_bucket_policy(Bucket="sources", Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::sources",
         "Condition": {"StringEquals": {"aws:SourceIdentity": "ana-1"}}}]}))
    refused("AccessDenied", client(server, "s3", made["Credentials"]).list_objects_v2, Bucket="sources")
    client(server, "s3", other["Credentials"]).list_objects_v2(Bucket="sources")


def test_tags_of_a_session(server):
    tagged = trust_of(server, "tagged", ["sts:AssumeRole", "sts:TagSession"])
    sts = client(server, "sts", server.ana)
    tag = lambda key, value="v": {"Key": key, "Value": value}
    made = {"RoleArn": tagged, "RoleSessionName": "session"}
    sts.assume_role(**made, Tags=[tag("team")], TransitiveTagKeys=["team"])
    refused("ValidationError", sts.assume_role, **made, Tags=[tag("team")], TransitiveTagKeys=["other"])
    refused("ValidationError", sts.assume_role, **made, Tags=[tag("aws:team")])
    refused("InvalidInput", sts.assume_role, **made, Tags=[tag("team", "a"), tag("Team", "b")])
