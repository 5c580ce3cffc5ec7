"""Access control lists and ownership, between accounts and for everybody."""
import json
import subprocess

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import BINARY, Server

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
OTHER = "111122223333"


def s3_of(server, access=None, secret=None):
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=access,
                        aws_secret_access_key=secret, config=Config(signature_version="s3v4" if access else UNSIGNED))


def begin(directory, *arguments):
    server = Server(directory, *arguments).wait_ready()
    made = subprocess.run([BINARY, "account", "add", OTHER, "other", "--json", "--at", str(directory)], check=True,
                          capture_output=True, text=True, timeout=30)
    keys = json.loads(made.stdout)["secret"]
    server.other = s3_of(server, keys["access_key"], keys["secret_key"])
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = begin(tmp_path_factory.mktemp("acls") / "drive")
    yield server
    server.stop()


@pytest.fixture
def bucket(server):
    name = f"acl-{__import__('uuid').uuid4().hex[:10]}"
    s3 = server.client()
    s3.create_bucket(Bucket=name)
    s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    return name


def refused(code, call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == code, caught.value


def canonical(server):
    return server.client().list_buckets()["Owner"]["ID"], server.other.list_buckets()["Owner"]["ID"]


def test_grants_by_header_document_and_canned_name_read_back(server, bucket):
    s3 = server.client()
    mine, other = canonical(server)
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", GrantRead=f'id="{other}", uri="{ALL_USERS}"', GrantFullControl=f'id="{mine}"')
    grants = s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]
    assert {(g["Grantee"].get("ID", g["Grantee"].get("URI")), g["Permission"]) for g in grants} == {
        (other, "READ"), (ALL_USERS, "READ"), (mine, "FULL_CONTROL")}
    policy = {"Owner": {"ID": mine}, "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": other}, "Permission": "READ_ACP"}]}
    s3.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy=policy)
    assert [g["Permission"] for g in server.other.get_object_acl(Bucket=bucket, Key="k")["Grants"]] == ["READ_ACP"]
    refused("AccessDenied", server.other.get_object, Bucket=bucket, Key="k")
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="authenticated-read")
    assert server.other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    refused("AccessDenied", s3_of(server).get_object, Bucket=bucket, Key="k")
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    s3_of(server).put_object(Bucket=bucket, Key="anyone", Body=b"")
    s3_of(server).list_objects_v2(Bucket=bucket)
    refused("AccessDenied", s3_of(server).get_bucket_acl, Bucket=bucket)


@pytest.mark.parametrize("parameters, code", [
    ({"ACL": "no-such"}, "InvalidArgument"), ({"GrantRead": 'id="nobody"'}, "InvalidArgument"),
    ({"GrantRead": 'uri="http://example.com"'}, "InvalidArgument"), ({"GrantRead": "nonsense"}, "MalformedACLError"),
    ({"GrantRead": 'emailAddress="a@example.com"'}, "UnresolvableGrantByEmailAddress"),
    ({"ACL": "private", "GrantRead": f'uri="{ALL_USERS}"'}, "InvalidRequest")])
def test_bad_lists_are_refused_before_anything_is_stored(server, bucket, parameters, code):
    s3 = server.client()
    refused(code, s3.put_object, Bucket=bucket, Key="k", Body=b"1", **parameters)
    refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="k")


def test_a_document_must_name_the_owner(server, bucket):
    s3 = server.client()
    mine, other = canonical(server)
    grants = [{"Grantee": {"Type": "CanonicalUser", "ID": mine}, "Permission": "FULL_CONTROL"}]
    refused("AccessDenied", s3.put_bucket_acl, Bucket=bucket, AccessControlPolicy={"Owner": {"ID": other}, "Grants": grants})
    refused("MalformedACLError", s3.put_bucket_acl, Bucket=bucket, AccessControlPolicy={
        "Owner": {"ID": mine}, "Grants": [{"Grantee": {"Type": "CanonicalUser", "ID": mine}, "Permission": "EVERYTHING"}]})
    refused("MissingSecurityHeader", s3.put_bucket_acl, Bucket=bucket)


def test_who_owns_what_another_account_uploads(server, bucket):
    s3, other = server.client(), server.other
    mine, theirs = canonical(server)
    s3.put_bucket_acl(Bucket=bucket, GrantWrite=f'id="{theirs}"', GrantFullControl=f'id="{mine}"')
    other.put_object(Bucket=bucket, Key="w", Body=b"theirs")
    assert s3.get_object_acl(Bucket=bucket, Key="w")["Owner"]["ID"] == theirs
    assert other.get_object(Bucket=bucket, Key="w")["Body"].read() == b"theirs"
    refused("AccessDenied", other.list_objects_v2, Bucket=bucket)
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]})
    other.put_object(Bucket=bucket, Key="p", Body=b"", ACL="bucket-owner-full-control")
    assert s3.get_object_acl(Bucket=bucket, Key="p")["Owner"]["ID"] == mine
    refused("InvalidBucketAclWithObjectOwnership", s3.put_bucket_ownership_controls, Bucket=bucket,
            OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    refused("AccessControlListNotSupported", s3.put_bucket_acl, Bucket=bucket, ACL="public-read")
    refused("AccessDenied", other.get_object, Bucket=bucket, Key="w")


def test_a_copy_does_not_take_the_list_along(server, bucket):
    s3 = server.client()
    s3.put_object(Bucket=bucket, Key="open", Body=b"1", ACL="public-read")
    s3.copy_object(Bucket=bucket, Key="closed", CopySource=f"{bucket}/open")
    s3_of(server).get_object(Bucket=bucket, Key="open")
    refused("AccessDenied", s3_of(server).get_object, Bucket=bucket, Key="closed")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ACL="public-read")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"2")["ETag"]
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert s3_of(server).get_object(Bucket=bucket, Key="parts")["Body"].read() == b"2"


@pytest.mark.parametrize("defaults, readable", [("compat", False), ("open", True), ("aws", None)])
def test_bucket_defaults(tmp_path, defaults, readable):
    server = begin(tmp_path / "drive", "--bucket-defaults", defaults)
    try:
        s3 = server.client()
        s3.create_bucket(Bucket="fresh")
        if readable is None:
            refused("AccessControlListNotSupported", s3.put_object, Bucket="fresh", Key="k", Body=b"", ACL="public-read")
            assert all(s3.get_public_access_block(Bucket="fresh")["PublicAccessBlockConfiguration"].values())
            return
        s3.put_object(Bucket="fresh", Key="k", Body=b"1", ACL="public-read")
        if readable:
            s3_of(server).get_object(Bucket="fresh", Key="k")
            return
        refused("AccessDenied", s3_of(server).get_object, Bucket="fresh", Key="k")
        # The list was kept: saying something about public access makes it count.
        s3.put_bucket_ownership_controls(Bucket="fresh", OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
        s3_of(server).get_object(Bucket="fresh", Key="k")
        made = s3.create_bucket(Bucket="made", ACL="public-read", ObjectOwnership="BucketOwnerPreferred")
        assert made["Location"] == "/made" and s3_of(server).list_objects_v2(Bucket="made")["KeyCount"] == 0
        refused("InvalidBucketAclWithObjectOwnership", s3.create_bucket, Bucket="not-made", ACL="public-read",
                ObjectOwnership="BucketOwnerEnforced")
        refused("NoSuchBucket", s3.list_objects_v2, Bucket="not-made")
    finally:
        server.stop()
