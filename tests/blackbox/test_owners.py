"""Whose buckets, objects and uploads are, as answers name it; and what the owner of a bucket takes of lists of others."""
import itertools
import json
import subprocess

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import BINARY, PASSWORD, USER, Server

OTHER = "111122223333"
EVERYBODY = "http://acs.amazonaws.com/groups/global/AllUsers"
CANNED = ("private", "public-read", "public-read-write", "authenticated-read", "bucket-owner-read")
NUMBERS = itertools.count()


def s3_of(server, access=None, secret=None):
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=access,
                        aws_secret_access_key=secret, config=Config(signature_version="s3v4" if access else UNSIGNED))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("owners") / "drive"
    server = Server(directory, "--bucket-defaults", "open").wait_ready()
    made = subprocess.run([BINARY, "account", "add", OTHER, "other-name", "--json", "--at", str(directory)], check=True,
                          capture_output=True, text=True, timeout=30)
    key = json.loads(made.stdout)["secret"]
    server.mine, server.other = server.client(), s3_of(server, key["access_key"], key["secret_key"])
    iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
    iam.create_user(UserName="ann", Path="/staff/")
    iam.attach_user_policy(UserName="ann", PolicyArn="arn:aws:iam::aws:policy/readwrite")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    server.ann = s3_of(server, key["AccessKeyId"], key["SecretAccessKey"])
    yield server
    server.stop()


@pytest.fixture
def bucket(server):
    """One that everybody may write to and list."""
    name = f"owners-{next(NUMBERS)}"
    server.mine.create_bucket(Bucket=name, ACL="public-read-write")
    return name


def who(server):
    return [client.list_buckets()["Owner"] for client in (server.mine, server.other)]


def code_of(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"]


def test_each_account_has_its_name(server, bucket):
    mine, other = who(server)
    assert (mine["DisplayName"], other["DisplayName"]) == ("default", "other-name")
    server.mine.put_bucket_acl(Bucket=bucket, GrantRead=f'id="{other["ID"]}"', GrantFullControl=f'id="{mine["ID"]}"')
    acl = server.mine.get_bucket_acl(Bucket=bucket)
    assert acl["Owner"] == mine
    named = {(grant["Grantee"]["ID"], grant["Grantee"]["DisplayName"]) for grant in acl["Grants"]}
    assert named == {(mine["ID"], "default"), (other["ID"], "other-name")}


def test_lists_name_the_owner_of_each_object(server, bucket):
    mine, other = who(server)
    server.mine.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    server.mine.put_object(Bucket=bucket, Key="mine", Body=b"1")
    server.other.put_object(Bucket=bucket, Key="others", Body=b"1")
    expected = {"mine": mine, "others": other}
    listed = (server.mine.list_objects(Bucket=bucket)["Contents"], server.mine.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"],
              server.mine.list_object_versions(Bucket=bucket)["Versions"])
    for entries in listed:
        assert {entry["Key"]: entry["Owner"] for entry in entries} == expected


def test_uploads_name_who_began_them(server, bucket):
    mine, other = who(server)
    began = {"by the owner": server.mine, "by a user": server.ann, "by another account": server.other}
    ids = {key: client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key, client in began.items()}
    user = {"ID": "arn:aws:iam::000000000000:user/staff/ann", "DisplayName": "ann"}
    expected = {"by the owner": (mine, mine), "by a user": (user, mine), "by another account": (other, other)}
    uploads = server.mine.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert {upload["Key"]: (upload["Initiator"], upload["Owner"]) for upload in uploads} == expected
    for key, upload in ids.items():
        parts = server.mine.list_parts(Bucket=bucket, Key=key, UploadId=upload)
        assert (parts["Initiator"], parts["Owner"]) == expected[key]


def test_another_account_ends_what_it_began_and_nothing_else(server, bucket):
    own = dict(Bucket=bucket, Key="own", UploadId=server.other.create_multipart_upload(Bucket=bucket, Key="own")["UploadId"])
    foreign = dict(Bucket=bucket, Key="k", UploadId=server.mine.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"])
    # The id of one upload opens no other key.
    for named in (foreign, {**own, "Key": "k"}, {**foreign, "Key": "own"}):
        assert code_of(server.other.list_parts, **named) == "AccessDenied"
        assert code_of(server.other.abort_multipart_upload, **named) == "AccessDenied"
    server.other.list_parts(**own)
    denied = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:AbortMultipartUpload",
                                                      "Resource": f"arn:aws:s3:::{bucket}/*"}]}
    server.mine.put_bucket_policy(Bucket=bucket, Policy=json.dumps(denied))
    assert code_of(server.other.abort_multipart_upload, **own) == "AccessDenied"
    server.mine.delete_bucket_policy(Bucket=bucket)
    server.other.abort_multipart_upload(**own)
    assert [upload["Key"] for upload in server.mine.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["k"]
    assert code_of(s3_of(server).abort_multipart_upload, **foreign) == "AccessDenied"


def test_groups_stand_before_accounts(server, bucket):
    mine, other = who(server)
    ids = f'id="{mine["ID"]}", id="{other["ID"]}"'
    server.mine.put_object(Bucket=bucket, Key="k", Body=b"1", GrantFullControl=ids, GrantReadACP=f'id="{other["ID"]}", uri="{EVERYBODY}"')
    grants = server.mine.get_object_acl(Bucket=bucket, Key="k")["Grants"]
    assert [grant["Grantee"]["Type"] for grant in grants] == ["Group", "CanonicalUser", "CanonicalUser", "CanonicalUser"]


def writes(client, bucket):
    """Each way in which a list comes to a bucket or an object, by canned name."""
    client.put_object(Bucket=bucket, Key="there", Body=b"1")
    copied = dict(Bucket=bucket, Key="copy", CopySource=f"{bucket}/there")
    return {
        "put": lambda acl: client.put_object(Bucket=bucket, Key="put", Body=b"1", ACL=acl),
        "copy": lambda acl: client.copy_object(**copied, ACL=acl),
        "upload": lambda acl: client.create_multipart_upload(Bucket=bucket, Key="upload", ACL=acl),
        "list of an object": lambda acl: client.put_object_acl(Bucket=bucket, Key="there", ACL=acl),
        "list of a bucket": lambda acl: client.put_bucket_acl(Bucket=bucket, ACL=acl),
    }


@pytest.mark.parametrize("acl", CANNED)
@pytest.mark.parametrize("way", ["put", "copy", "upload", "list of an object", "list of a bucket"])
def test_where_the_bucket_owns_everything_no_other_list_is_taken(server, way, acl):
    name = f"enforced-{next(NUMBERS)}"
    server.mine.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerEnforced")
    assert code_of(lambda: writes(server.mine, name)[way](acl)) == "AccessControlListNotSupported"
    writes(server.mine, name)[way]("bucket-owner-full-control")


def test_a_list_that_says_the_same_is_taken_where_the_bucket_owns_everything(server):
    name = f"enforced-{next(NUMBERS)}"
    mine, other = who(server)
    server.mine.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerEnforced")
    server.mine.put_object(Bucket=name, Key="k", Body=b"1", GrantFullControl=f'id="{mine["ID"]}"')
    server.mine.put_object_acl(Bucket=name, Key="k", AccessControlPolicy={
        "Owner": mine, "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": mine["ID"]}, "Permission": "FULL_CONTROL"}]})
    for grants in ({"GrantRead": f'id="{mine["ID"]}"'}, {"GrantFullControl": f'id="{other["ID"]}"'}):
        assert code_of(server.mine.put_object, Bucket=name, Key="k", Body=b"1", **grants) == "AccessControlListNotSupported"


def test_a_bucket_of_ones_own_is_made_again(server):
    """As S3 in us-east-1: 200, the list is reset, and all else stays as it was."""
    name = f"again-{next(NUMBERS)}"
    server.mine.create_bucket(Bucket=name, ACL="public-read")
    server.mine.put_object(Bucket=name, Key="k", Body=b"kept")
    server.mine.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert s3_of(server).list_objects_v2(Bucket=name)["KeyCount"] == 1
    server.mine.create_bucket(Bucket=name)
    assert code_of(s3_of(server).list_objects_v2, Bucket=name) == "AccessDenied"
    server.mine.create_bucket(Bucket=name, ACL="public-read")
    assert s3_of(server).list_objects_v2(Bucket=name)["KeyCount"] == 1
    assert server.mine.get_object(Bucket=name, Key="k")["Body"].read() == b"kept"
    assert server.mine.get_bucket_tagging(Bucket=name)["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert code_of(server.other.create_bucket, Bucket=name) == "BucketAlreadyExists"


@pytest.mark.parametrize("more", [{"ObjectLockEnabledForBucket": True}, {"ObjectOwnership": "BucketOwnerEnforced"},
                                  {"CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "b"}]}}])
def test_what_a_bucket_would_not_get_is_not_promised(server, more):
    name = f"again-{next(NUMBERS)}"
    server.mine.create_bucket(Bucket=name, ACL="public-read")
    assert code_of(server.mine.create_bucket, Bucket=name, **more) == "BucketAlreadyOwnedByYou"
    assert s3_of(server).list_objects_v2(Bucket=name)["KeyCount"] == 0


def test_making_a_bucket_again_is_no_way_around_the_right_to_its_list(server):
    iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
    iam.create_user(UserName="maker")
    may = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:CreateBucket", "Resource": "*"}]}
    iam.put_user_policy(UserName="maker", PolicyName="p", PolicyDocument=json.dumps(may))
    key = iam.create_access_key(UserName="maker")["AccessKey"]
    maker, name = s3_of(server, key["AccessKeyId"], key["SecretAccessKey"]), f"again-{next(NUMBERS)}"
    server.mine.create_bucket(Bucket=name)
    maker.create_bucket(Bucket=name)
    server.mine.put_bucket_acl(Bucket=name, ACL="public-read")
    assert code_of(maker.create_bucket, Bucket=name) == "BucketAlreadyOwnedByYou"
    assert code_of(maker.create_bucket, Bucket=name, ACL="public-read-write") == "AccessDenied"
    assert len(server.mine.get_bucket_acl(Bucket=name)["Grants"]) == 2


def test_other_regions_do_not_make_a_bucket_again(start):
    server = start("--region", "eu-central-1")
    s3 = boto3.client("s3", endpoint_url=server.url, region_name="eu-central-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
    made = dict(Bucket="again", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.create_bucket(**made)
    assert code_of(s3.create_bucket, **made) == "BucketAlreadyOwnedByYou"
