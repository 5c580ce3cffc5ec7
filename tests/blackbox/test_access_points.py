"""Access points: boto3's own clients, with names that lead here."""
import json
import socket

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER
from test_encryption import code_of

ACCOUNT, DOMAIN = "000000000000", "s3.drystone.test"


@pytest.fixture
def server(start, monkeypatch):
    """A server whose domain, with everything below it, is this machine."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **kw: resolve(
        "127.0.0.1" if str(host).endswith(DOMAIN) else host, *rest, **kw))
    server = start("--domain", DOMAIN)
    server.client().create_bucket(Bucket="data-bucket")
    return server


def client(server, service, keys=(USER, PASSWORD), **config):
    if keys is None:
        config, keys = {"signature_version": UNSIGNED, **config}, (None, None)
    return boto3.client(service, endpoint_url=f"http://{DOMAIN}:{server.port}", region_name="us-east-1", aws_access_key_id=keys[0],
                        aws_secret_access_key=keys[1], config=Config(retries={"max_attempts": 1}, **config))


def user(server, name, *statements):
    iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]})


def test_life_of_an_access_point(server):
    control = client(server, "s3control")
    made = control.create_access_point(AccountId=ACCOUNT, Name="team", Bucket="data-bucket")
    arn, alias = made["AccessPointArn"], made["Alias"]
    assert arn == f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/team" and alias.startswith("team-") and alias.endswith("-s3alias")
    found = control.get_access_point(AccountId=ACCOUNT, Name="team")
    assert (found["Bucket"], found["NetworkOrigin"], found["Alias"], found["BucketAccountId"]) == ("data-bucket", "Internet", alias, ACCOUNT)
    assert all(found["PublicAccessBlockConfiguration"].values())
    for name in ("other", "third"):
        control.create_access_point(AccountId=ACCOUNT, Name=name, Bucket="data-bucket")
    first = control.list_access_points(AccountId=ACCOUNT, Bucket="data-bucket", MaxResults=2)
    rest = control.list_access_points(AccountId=ACCOUNT, MaxResults=2, NextToken=first["NextToken"])
    assert [point["Name"] for page in (first, rest) for point in page["AccessPointList"]] == ["other", "team", "third"] and "NextToken" not in rest
    assert control.list_access_points(AccountId=ACCOUNT, Bucket="none")["AccessPointList"] == []
    names = {"AccountId": ACCOUNT, "Name": "team"}
    for call, code in [
        (lambda: control.create_access_point(Bucket="data-bucket", **names), "AccessPointAlreadyOwnedByYou"),
        (lambda: control.create_access_point(AccountId=ACCOUNT, Name="new", Bucket="missing"), "NoSuchBucket"),
        (lambda: control.create_access_point(AccountId=ACCOUNT, Name="Bad_Name", Bucket="data-bucket"), "InvalidRequest"),
        (lambda: control.create_access_point(AccountId=ACCOUNT, Name="vpc", Bucket="data-bucket", VpcConfiguration={"VpcId": "v"}), "NotImplemented"),
        (lambda: control.create_access_point(AccountId="111122223333", Name="new", Bucket="data-bucket"), "AccessDenied"),
        (lambda: control.get_access_point(AccountId=ACCOUNT, Name="none"), "NoSuchAccessPoint"),
        (lambda: control.get_access_point_policy(**names), "NoSuchAccessPointPolicy"),
        (lambda: control.put_access_point_policy(Policy="{", **names), "MalformedPolicy"),
        (lambda: control.put_access_point_policy(Policy=policy({"Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data-bucket/*"}), **names),
         "MalformedPolicy"),
        (lambda: control.put_access_point_policy(Policy=policy({"Principal": "*", "Action": "s3:GetObject", "Resource": f"{arn}/object/*"}), **names), "AccessDenied"),
        (lambda: server.client().delete_bucket(Bucket="data-bucket"), "BucketHasAccessPointsAttached"),
        (lambda: server.client().create_bucket(Bucket=f"team-{ACCOUNT}"), "BucketAlreadyExists"),
    ]:
        with pytest.raises(ClientError) as error:
            call()
        assert error.value.response["Error"]["Code"] == code
    text = policy({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "s3:*", "Resource": [arn, f"{arn}/object/*"]})
    control.put_access_point_policy(Policy=text, **names)
    assert control.get_access_point_policy(**names)["Policy"] == text
    assert control.get_access_point_policy_status(**names)["PolicyStatus"]["IsPublic"] is False
    control.delete_access_point_policy(**names)
    # Tags of access points and of buckets.
    for resource in (arn, "arn:aws:s3:::data-bucket"):
        control.tag_resource(AccountId=ACCOUNT, ResourceArn=resource, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
        control.tag_resource(AccountId=ACCOUNT, ResourceArn=resource, Tags=[{"Key": "b", "Value": "3"}])
        control.untag_resource(AccountId=ACCOUNT, ResourceArn=resource, TagKeys=["a"])
        assert control.list_tags_for_resource(AccountId=ACCOUNT, ResourceArn=resource)["Tags"] == [{"Key": "b", "Value": "3"}]
    assert server.client().get_bucket_tagging(Bucket="data-bucket")["TagSet"] == [{"Key": "b", "Value": "3"}]
    for name in ("team", "other", "third"):
        control.delete_access_point(AccountId=ACCOUNT, Name=name)
    assert code_of(client(server, "s3").head_bucket, Bucket=alias) == "404"
    server.client().delete_bucket(Bucket="data-bucket")


def test_use_by_arn_alias_and_host(server, start):
    control, s3, plain = client(server, "s3control"), client(server, "s3"), server.client()
    made = control.create_access_point(AccountId=ACCOUNT, Name="team", Bucket="data-bucket")
    for number, name in enumerate([made["AccessPointArn"], made["Alias"]]):
        key, body = f"dir/a b+{number}", bytes([number]) * 6_000_000
        s3.put_object(Bucket=name, Key=key, Body=body)
        assert s3.get_object(Bucket=name, Key=key, Range="bytes=5-9")["Body"].read() == body[5:10]
        assert plain.get_object(Bucket="data-bucket", Key=key)["Body"].read() == body
        assert key in [entry["Key"] for entry in s3.list_objects_v2(Bucket=name, Prefix="dir/")["Contents"]]
        s3.copy_object(Bucket=name, Key="copy", CopySource={"Bucket": name, "Key": key})
        s3.copy_object(Bucket="data-bucket", Key="copy2", CopySource={"Bucket": made["AccessPointArn"], "Key": key})
        upload = s3.create_multipart_upload(Bucket=name, Key="m")["UploadId"]
        part = s3.upload_part(Bucket=name, Key="m", UploadId=upload, PartNumber=1, Body=b"part")
        s3.complete_multipart_upload(Bucket=name, Key="m", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
        assert plain.get_object(Bucket="data-bucket", Key="m")["Body"].read() == b"part"
        assert s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "m"}, {"Key": "copy"}]})["Deleted"]
        assert s3.head_bucket(Bucket=name)["AccessPointAlias"] is True
        # What belongs to the bucket is changed by its own name.
        assert code_of(s3.put_bucket_versioning, Bucket=name, VersioningConfiguration={"Status": "Enabled"}) == "MethodNotAllowed"
        assert code_of(s3.delete_bucket, Bucket=name) == "MethodNotAllowed"
    signer = client(server, "s3", signature_version="s3v4")
    url = signer.generate_presigned_url("get_object", Params={"Bucket": made["Alias"], "Key": "copy2"})
    import requests
    assert requests.get(url, timeout=10).status_code == 200
    # The host of one that is not there could be a bucket's; the ARN in a path could not.
    assert code_of(s3.get_object, Bucket=made["AccessPointArn"].replace("team", "none"), Key="k") == "NoSuchBucket"
    named = made["AccessPointArn"].replace("team", "none")
    assert code_of(plain.copy_object, Bucket="data-bucket", Key="t", CopySource={"Bucket": named, "Key": "k"}) == "NoSuchAccessPoint"
    # It outlives a kill.
    server.kill()
    again = start("--domain", DOMAIN)
    assert client(again, "s3").head_object(Bucket=made["Alias"], Key="copy2")["ContentLength"] == 6_000_000


def test_rights_need_both_sides(server):
    owner, control = server.client(), client(server, "s3control")
    made = control.create_access_point(AccountId=ACCOUNT, Name="team", Bucket="data-bucket")
    arn, alias = made["AccessPointArn"], made["Alias"]
    for key in ("shared/a", "private/a"):
        owner.put_object(Bucket="data-bucket", Key=key, Body=key.encode())
    get, refused = {"Bucket": alias, "Key": "shared/a"}, "AccessDenied"
    on_bucket = client(server, "s3", user(server, "on-bucket", {"Action": "s3:*", "Resource": "arn:aws:s3:::data-bucket*"}))
    on_point = client(server, "s3", user(server, "on-point", {"Action": "s3:GetObject", "Resource": f"{arn}/object/shared/*"}))
    both = client(server, "s3", user(server, "both", {"Action": "s3:*", "Resource": "*"}))
    named_keys = user(server, "named")
    named = client(server, "s3", named_keys)
    assert code_of(on_bucket.get_object, **get) == refused, "the access point is another resource"
    assert code_of(on_point.get_object, **get) == refused, "the bucket has not delegated"
    assert code_of(both.get_object, **get) == "done"
    # The bucket delegates to access points of its account.
    owner.put_bucket_policy(Bucket="data-bucket", Policy=policy({
        "Principal": "*", "Action": "*", "Resource": ["arn:aws:s3:::data-bucket", "arn:aws:s3:::data-bucket/*"],
        "Condition": {"StringEquals": {"s3:DataAccessPointAccount": ACCOUNT}}}))
    assert code_of(on_point.get_object, **get) == "done"
    assert code_of(on_point.get_object, Bucket=alias, Key="private/a") == refused
    assert code_of(on_point.get_object, Bucket="data-bucket", Key="shared/a") == refused, "only through the access point"
    assert code_of(named.get_object, **get) == refused
    control.put_access_point_policy(AccountId=ACCOUNT, Name="team", Policy=policy({
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/named"}, "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"{arn}/object/shared/*"}))
    assert code_of(named.get_object, **get) == "done"
    assert code_of(named.get_object, Bucket=alias, Key="private/a") == refused
    assert code_of(named.copy_object, Bucket=alias, Key="shared/b", CopySource={"Bucket": arn, "Key": "shared/a"}) == "done"
    assert code_of(named.copy_object, Bucket=alias, Key="shared/b", CopySource={"Bucket": arn, "Key": "private/a"}) == refused
    assert code_of(named.copy_object, Bucket=alias, Key="shared/b", CopySource={"Bucket": "data-bucket", "Key": "shared/a"}) == refused
    batch = both.delete_objects(Bucket=alias, Delete={"Objects": [{"Key": "shared/b"}]})
    assert "Errors" not in batch
    # A deny of its policy reaches the owner of the server, too.
    control.put_access_point_policy(AccountId=ACCOUNT, Name="team", Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": f"{arn}/object/*"}]}))
    root = client(server, "s3")
    assert code_of(root.delete_object, **get) == refused and code_of(root.get_object, **get) == "done"
    assert root.delete_objects(Bucket=alias, Delete={"Objects": [{"Key": "shared/a"}]})["Errors"][0]["Code"] == refused
    # Who may make them is decided, too.
    assert code_of(client(server, "s3control", named_keys).list_access_points, AccountId=ACCOUNT) == refused
    assert code_of(client(server, "s3", None).get_object, **get) == refused


def test_a_scope_narrows(server):
    owner, control, s3 = server.client(), client(server, "s3control"), client(server, "s3")
    alias = control.create_access_point(AccountId=ACCOUNT, Name="team", Bucket="data-bucket")["Alias"]
    names = {"AccountId": ACCOUNT, "Name": "team"}
    for key in ("in/a", "out/a"):
        owner.put_object(Bucket="data-bucket", Key=key, Body=b"x")
    scope = {"Prefixes": ["in/"], "Permissions": ["GetObject", "ListBucket"]}
    control.put_access_point_scope(Scope=scope, **names)
    assert control.get_access_point_scope(**names)["Scope"] == scope
    for call, arguments, code in [
        (s3.get_object, {"Key": "in/a"}, "done"), (s3.get_object, {"Key": "out/a"}, "AccessDenied"),
        (s3.put_object, {"Key": "in/b", "Body": b""}, "AccessDenied"), (s3.list_objects_v2, {}, "AccessDenied"),
        (s3.list_objects_v2, {"Prefix": "in/"}, "done"), (s3.delete_object, {"Key": "in/a"}, "AccessDenied"),
    ]:
        assert code_of(call, Bucket=alias, **arguments) == code, (call, arguments)
    assert code_of(control.put_access_point_scope, Scope={"Permissions": ["DeleteBucket"]}, **names) == "MalformedXML"
    control.delete_access_point_scope(**names)
    assert code_of(s3.put_object, Bucket=alias, Key="out/b", Body=b"") == "done"
