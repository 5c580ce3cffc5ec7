"""Stored configuration that cannot be read: the server fails closed, says which bucket, and can be repaired."""
import json
import os
import subprocess

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import BINARY, PASSWORD, USER

BUCKET = "broken-rules"
BLOCK = dict.fromkeys(["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"], False)


def corrupt_rows(directory, text, replacement):
    program = os.environ["DRYSTONE_CORRUPT_ROWS"]
    done = subprocess.run([program, directory, text, replacement], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[0])


def client_of(server, service, key, secret):
    config = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(service, endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=key,
                        aws_secret_access_key=secret, config=config)


def reader(server):
    """A user who may read and list everything."""
    iam = client_of(server, "iam", USER, PASSWORD)
    iam.create_user(UserName="reader")
    document = {"Version": "2012-10-17", "Statement": [
        {"Sid": "READERSOWN", "Effect": "Allow", "Action": ["s3:Get*", "s3:List*", "s3:Put*"], "Resource": "*"}]}
    iam.put_user_policy(UserName="reader", PolicyName="own", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def public_policy(sid):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Sid": sid, "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}]})


def damage_policy(s3):
    s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=BLOCK)
    s3.put_bucket_policy(Bucket=BUCKET, Policy=public_policy("PLANTED"))
    return '"Effect": "Allow"', '"Effect": "Alloy"'


def damage_policy_syntax(s3):
    s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=BLOCK)
    s3.put_bucket_policy(Bucket=BUCKET, Policy=public_policy("PLANTED"))
    return '{"Sid"', ' "Sid"'


def damage_block(s3):
    s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=BLOCK)
    return "<RestrictPublicBuckets>", "<RestrictPublicBuckets!"


def damage_ownership(s3):
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls=rules)
    return "BucketOwnerPreferred", "BucketOwnerPerturbed"


def mend_policy(s3):
    s3.put_bucket_policy(Bucket=BUCKET, Policy=public_policy("MENDED"))


def mend_block(s3):
    s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=BLOCK)


def mend_ownership(s3):
    s3.delete_bucket_ownership_controls(Bucket=BUCKET)


CASES = {"policy": (damage_policy, mend_policy), "policy_syntax": (damage_policy_syntax, mend_policy),
         "block": (damage_block, mend_block), "ownership": (damage_ownership, mend_ownership)}


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


def restarted_on_damage(start, server, text, replacement):
    assert server.stop()[0] == 0
    # The policy of the reader is told apart from the bucket's by its Sid, and stays as it is.
    assert corrupt_rows(server.directory, text, replacement) >= 1
    return start(directory=server.directory)


@pytest.mark.parametrize("case", CASES)
def test_a_bucket_whose_rules_cannot_be_read_is_closed_to_all_and_can_be_mended(start, case):
    damage, mend = CASES[case]
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET)
    s3.create_bucket(Bucket="whole")
    s3.put_object(Bucket=BUCKET, Key="key", Body=b"before")
    s3.put_object(Bucket="whole", Key="key", Body=b"other")
    text, replacement = damage(s3)
    server = restarted_on_damage(start, server, text, replacement)
    s3, key = server.client(), reader(server)
    user = client_of(server, "s3", *key)

    for somebody in (s3, user):
        for call, arguments in [(somebody.get_object, {"Key": "key"}), (somebody.list_objects_v2, {}),
                                (somebody.put_object, {"Key": "new", "Body": b"x"})]:
            assert BUCKET in refused("InternalError", call, Bucket=BUCKET, **arguments)
    refused("InternalError", user.put_bucket_policy, Bucket=BUCKET, Policy=public_policy("THEIRS"))
    answer = requests.get(f"{server.url}/{BUCKET}/key", timeout=10)
    assert answer.status_code == 500 and b"before" not in answer.content
    # No one else pays for it.
    assert user.get_object(Bucket="whole", Key="key")["Body"].read() == b"other"
    assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == [BUCKET, "whole"]

    mend(s3)
    assert user.get_object(Bucket=BUCKET, Key="key")["Body"].read() == b"before"
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["key"]
    code, log = server.stop()
    assert code == 0 and BUCKET in log, "the log names the bucket"


def test_a_user_whose_policy_cannot_be_read_may_do_nothing(start):
    server = start()
    s3, key = server.client(), reader(server)
    s3.create_bucket(Bucket="whole")
    s3.put_object(Bucket="whole", Key="key", Body=b"other")
    assert client_of(server, "s3", *key).get_object(Bucket="whole", Key="key")["Body"].read() == b"other"
    # A document of policy inside the user's row, which stays readable itself.
    server = restarted_on_damage(start, server, r'Effect\": \"Allow', r'Effect\": \"Alloy')
    user, iam = client_of(server, "s3", *key), client_of(server, "iam", USER, PASSWORD)
    refused("InternalError", user.get_object, Bucket="whole", Key="key")
    refused("InternalError", user.list_buckets)
    # Everybody else goes on, and the owner can take the damaged policy away.
    assert server.client().get_object(Bucket="whole", Key="key")["Body"].read() == b"other"
    iam.delete_user_policy(UserName="reader", PolicyName="own")
    refused("AccessDenied", user.get_object, Bucket="whole", Key="key")
    code, log = server.stop()
    assert code == 0 and key[0] in log, "the log names the key"


@pytest.mark.parametrize("row, text", [("user", '"path":"/","id":"AIDA'), ("key", '"sealed_secret":'),
                                       ("group", '"path":"/","id":"AGPA')])
def test_rows_of_identities_that_cannot_be_read_can_be_removed(start, row, text):
    server = start()
    s3, key = server.client(), reader(server)
    s3.create_bucket(Bucket="whole")
    s3.put_object(Bucket="whole", Key="key", Body=b"other")
    iam = client_of(server, "iam", USER, PASSWORD)
    iam.create_group(GroupName="crowd")
    iam.add_user_to_group(GroupName="crowd", UserName="reader")
    server = restarted_on_damage(start, server, text, "!" + text[1:])
    user, iam = client_of(server, "s3", *key), client_of(server, "iam", USER, PASSWORD)
    refused("InternalError", user.get_object, Bucket="whole", Key="key")
    if row != "group":
        refused("DeleteConflict", iam.delete_user, UserName="reader")
        done = subprocess.run([BINARY, "user", "remove", "reader", "--at", server.directory], timeout=30)
        assert done.returncode == 0
        assert iam.get_group(GroupName="crowd")["Users"] == []
    else:
        iam.delete_group(GroupName="crowd")
        iam.create_group(GroupName="crowd")
        assert iam.get_group(GroupName="crowd")["Users"] == []
        assert user.get_object(Bucket="whole", Key="key")["Body"].read() == b"other"
        return
    refused("InvalidAccessKeyId", user.get_object, Bucket="whole", Key="key")


def test_a_corrupt_list_or_cors_document_grants_nothing(start):
    server = start("--bucket-defaults", "open")
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="key", Body=b"before")
    s3.put_bucket_acl(Bucket=BUCKET, ACL="public-read")
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://planted.example"]}
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
    assert requests.get(f"{server.url}/{BUCKET}", timeout=10).status_code == 200
    assert server.stop()[0] == 0
    corrupt_rows(server.directory, "<AllowedMethod>", "<AllowedMethod!")
    # Stored lists are short texts: the mark for everybody is made one that does not exist.
    corrupt_rows(server.directory, ",R*", ",R?")
    server = start("--bucket-defaults", "open", directory=server.directory)
    assert requests.get(f"{server.url}/{BUCKET}", timeout=10).status_code == 403
    answer = requests.get(f"{server.url}/{BUCKET}/key", headers={"Origin": "https://planted.example"}, timeout=10)
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert server.client().get_object(Bucket=BUCKET, Key="key")["Body"].read() == b"before"
