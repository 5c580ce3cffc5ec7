"""What is meant to narrow a session narrows it: managed policies named when it is made (PolicyArns), in all ways to make one."""
import json

import boto3
import pytest
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, Server

ACCOUNT = "000000000000"
READONLY = "arn:aws:iam::aws:policy/readonly"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*"):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def deny(action, resource="*"):
    return {"Effect": "Deny", "Action": action, "Resource": resource}


def client(server, service, key=None):
    key = key or {"AccessKeyId": USER, "SecretAccessKey": PASSWORD}
    return boto3.client(service, endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=key["AccessKeyId"],
                        aws_secret_access_key=key["SecretAccessKey"], aws_session_token=key.get("SessionToken"))


def refused(code, call, *arguments, **parameters):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **parameters)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("narrowing") / "drive").wait_ready()
    s3, iam = server.client(), client(server, "iam")
    s3.create_bucket(Bucket="lake")
    s3.put_object(Bucket="lake", Key="k", Body=b"1")
    iam.create_user(UserName="ana")
    iam.put_user_policy(UserName="ana", PolicyName="all", PolicyDocument=document(allow("*")))
    server.ana = iam.create_access_key(UserName="ana")["AccessKey"]
    trust = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/ana"}, "Action": "sts:AssumeRole"}]}
    server.role = iam.create_role(RoleName="lake", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="lake", PolicyName="all", PolicyDocument=document(allow("s3:*")))
    server.iam = iam
    yield server
    server.stop()


def assume(server, *arns, **parameters):
    arns = {"PolicyArns": [{"arn": arn} for arn in arns]} if arns else {}
    made = client(server, "sts", server.ana).assume_role(RoleArn=server.role, RoleSessionName="session", **arns, **parameters)
    return client(server, "s3", made["Credentials"])


def may(call, **parameters):
    try:
        call(**parameters)
        return True
    except ClientError as error:
        assert error.response["Error"]["Code"] in ("AccessDenied", "403"), error
        return False


def rights(s3):
    """What of reading, writing and deleting a session may."""
    return "".join(letter for letter, done in [
        ("r", may(s3.get_object, Bucket="lake", Key="k")), ("w", may(s3.put_object, Bucket="lake", Key="new", Body=b"")),
        ("d", may(s3.delete_object, Bucket="lake", Key="new"))] if done)


def make_policy(server, name, *statements):
    return server.iam.create_policy(PolicyName=name, PolicyDocument=document(*statements))["Policy"]["Arn"]


def test_managed_policies_narrow_a_session_of_a_role(server):
    writes = make_policy(server, "writes", allow("s3:PutObject"))
    denies = make_policy(server, "denies", deny("s3:GetObject"))
    assert rights(assume(server)) == "rwd"
    assert rights(assume(server, READONLY)) == "r"
    # What any of them allows, together with the policy that is given as text, and nothing that one denies.
    assert rights(assume(server, READONLY, writes)) == "rw"
    assert rights(assume(server, writes, Policy=document(allow("s3:DeleteObject")))) == "wd"
    assert rights(assume(server, READONLY, writes, denies)) == "w"
    assert rights(assume(server, denies, Policy=document(allow("s3:*")))) == "wd"
    # None adds anything to what the role may.
    server.iam.put_role_policy(RoleName="lake", PolicyName="all", PolicyDocument=document(allow("s3:GetObject")))
    try:
        assert rights(assume(server, READONLY, writes)) == "r"
    finally:
        server.iam.put_role_policy(RoleName="lake", PolicyName="all", PolicyDocument=document(allow("s3:*")))


def test_policies_that_are_not_there_and_too_many_are_refused(server):
    for arn in [f"arn:aws:iam::{ACCOUNT}:policy/none", "arn:aws:iam::111122223333:policy/writes", "readonly-but-no-name-at-all",
                "arn:aws:iam::aws:policy/ReadOnly", f"arn:aws:iam::{ACCOUNT}:policy/readonly"]:
        refused("MalformedPolicyDocument", assume, server, READONLY, arn)
    refused("ValidationError", assume, server, *[READONLY] * 11)
    assert rights(assume(server, *[READONLY] * 10)) == "r"


def test_a_policy_that_is_changed_later_does_not_widen_a_session(server):
    arn = make_policy(server, "changing", allow("s3:GetObject"))
    s3 = assume(server, arn)
    assert rights(s3) == "r"
    server.iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:*")), SetAsDefault=True)
    assert rights(s3) == "r", "the text of then is what narrows"
    assert rights(assume(server, arn)) == "rwd"
    server.iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    assert rights(s3) == "", "what cannot be read any more allows nothing"
    # The number of a version that was removed is no way around, nor is a policy made again.
    server.iam.delete_policy(PolicyArn=arn)
    assert rights(s3) == ""
    assert make_policy(server, "changing", allow("s3:*")) == arn
    assert rights(s3) == ""
    # A policy that only denied must not be left out when it is gone.
    denies = make_policy(server, "gone", deny("s3:GetObject"))
    s3 = assume(server, denies, Policy=document(allow("s3:*")))
    assert rights(s3) == "wd"
    server.iam.delete_policy(PolicyArn=denies)
    assert rights(s3) == ""


def test_what_is_not_implemented_says_so(server):
    sts = client(server, "sts")
    refused("NotImplemented", lambda: sts.get_federation_token(Name="narrow", PolicyArns=[{"arn": READONLY}]))
