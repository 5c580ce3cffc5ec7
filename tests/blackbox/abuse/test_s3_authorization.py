"""Whichever way a request says something, the same rights are asked for it (findings 8, 20, 21, 28, 29, 30)."""
import io
import tarfile
import time

import pytest
import requests
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from conftest import Server
from people import allow, code_of, deny, document, service, signed, user_with

EVERYONE = 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'
GRANTS = [("x-amz-acl", "public-read"), *((f"x-amz-grant-{name}", EVERYONE) for name in
          ("read", "read-acp", "write-acp", "full-control"))]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("authorization") / "drive", "--bucket-defaults", "open",
                    "--log-delivery-seconds", "1").wait_ready()
    s3 = server.client()
    for bucket in ("data", "other"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="data", Key="plain", Body=b"plain")
    s3.put_object(Bucket="data", Key="tagged", Body=b"tagged", Tagging="salary=100000")
    yield server
    server.stop()


def presigned(server, key, method, path, parameters=()):
    """A URL with parameters that stand for headers, as JavaScript and Go presigners make them."""
    request = AWSRequest(method=method, url=server.url + path, params=dict(parameters))
    S3SigV4QueryAuth(Credentials(*key[:2]), "s3", "us-east-1", expires=60).add_auth(request)
    return request.prepare().url


def with_header(client, operation, headers):
    def add(request, **_):
        for name, value in headers.items():
            request.headers[name] = value
    client.meta.events.register(f"before-sign.s3.{operation}", add)
    return client


WRITES = {
    "PutObject": ("PUT", "/data/{}", "put_object", {"Body": b"x"}),
    "CopyObject": ("PUT", "/data/{}", "copy_object", {"CopySource": "data/plain"}),
    "CreateMultipartUpload": ("POST", "/data/{}?uploads", "create_multipart_upload", {}),
}


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("name,value", GRANTS, ids=[name for name, _ in GRANTS])
def test_a_list_with_an_object_needs_the_right_to_lists(server, operation, name, value):
    method, path, call, parameters = WRITES[operation]
    writer = user_with(server, allow("s3:*"), deny("s3:PutObjectAcl"))
    key = f"{operation}-{name}"
    client = with_header(service(server, "s3", writer), operation, {name: value})
    assert code_of(getattr(client, call), Bucket="data", Key=key, **parameters) == "AccessDenied"
    extra = {"x-amz-copy-source": "data/plain"} if operation == "CopyObject" else {}
    path = path.format(key)
    query = {name: value, **extra, **({"uploads": ""} if "?" in path else {})}
    url = presigned(server, writer, method, path.split("?")[0], query)
    answer = requests.request(method, url, data=b"" if extra else b"x", timeout=10)
    assert (answer.status_code, "AccessDenied" in answer.text) == (403, True), answer.text
    assert code_of(server.client().head_object, Bucket="data", Key=key) == "404"
    # With the right both ways act, and do the same.
    full = user_with(server, allow("s3:*"))
    client = with_header(service(server, "s3", full), operation, {name: value})
    assert code_of(getattr(client, call), Bucket="data", Key=key, **parameters) == ""
    url = presigned(server, full, method, path.split("?")[0], query)
    assert requests.request(method, url, data=b"" if extra else b"x", timeout=10).status_code == 200
    if operation == "PutObject" and name == "x-amz-grant-read":
        assert requests.get(f"{server.url}/data/{key}", timeout=10).content == b"x"


def test_a_copy_that_a_url_asks_for_is_one(server):
    full = user_with(server, allow("s3:*"))
    url = presigned(server, full, "PUT", "/data/copied", {"x-amz-copy-source": "data/plain"})
    assert b"CopyObjectResult" in requests.put(url, timeout=10).content
    assert server.client().get_object(Bucket="data", Key="copied")["Body"].read() == b"plain"


@pytest.mark.parametrize("name,value", [*GRANTS, ("x-amz-grant-write", EVERYONE)])
def test_a_list_with_a_bucket_needs_the_right_to_lists(server, name, value):
    maker = user_with(server, allow("s3:*"), deny("s3:PutBucketAcl"))
    bucket = f"made-{name[6:]}"
    client = with_header(service(server, "s3", maker), "CreateBucket", {name: value})
    assert code_of(client.create_bucket, Bucket=bucket) == "AccessDenied"
    url = presigned(server, maker, "PUT", f"/{bucket}", {name: value})
    assert requests.put(url, timeout=10).status_code == 403
    assert code_of(server.client().head_bucket, Bucket=bucket) == "404"


@pytest.mark.parametrize("name,value", GRANTS)
def test_a_list_in_a_form_needs_the_right_to_lists(server, name, value):
    writer = service(server, "s3", user_with(server, allow("s3:*"), deny("s3:PutObjectAcl")))
    field = "acl" if name == "x-amz-acl" else name
    form = writer.generate_presigned_post("data", "form", Fields={field: value}, Conditions=[{field: value}])
    answer = requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=10)
    assert answer.status_code == 403, answer.text


def archive(records):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("entry")
        info.pax_headers, info.size = records, 1
        tar.addfile(info, io.BytesIO(b"x"))
    return out.getvalue()


@pytest.mark.parametrize("name,value,action", [*((n, v, "s3:PutObjectAcl") for n, v in GRANTS),
                                               ("x-amz-tagging", "a=b", "s3:PutObjectTagging")])
def test_what_comes_in_an_archive_needs_the_same_rights(server, name, value, action):
    writer = service(server, "s3", user_with(server, allow("s3:*"), deny(action)))
    body = archive({f"minio.metadata.{name}": value})
    put = {"Bucket": "data", "Key": "a.tar", "Metadata": {"Snowball-Auto-Extract": "true"}}
    assert code_of(writer.put_object, Body=body, **put) == "AccessDenied"
    # What is said of the archive would be lost: it is said of each object, in its records.
    client = with_header(service(server, "s3"), "PutObject", {name: value})
    assert code_of(client.put_object, Body=archive({}), **put) == "NotImplemented"


def test_conditions_of_an_archives_records_hold(server):
    s3 = server.client()
    s3.put_object(Bucket="data", Key="entry", Body=b"old")
    put = {"Bucket": "data", "Key": "a.tar", "Metadata": {"Snowball-Auto-Extract": "true"}}
    body = archive({"minio.metadata.if-none-match": "*"})
    assert code_of(s3.put_object, Body=body, **put) == "PreconditionFailed"
    assert s3.get_object(Bucket="data", Key="entry")["Body"].read() == b"old"


def test_a_public_list_of_a_new_bucket_is_blocked_by_the_account(server):
    s3 = server.client()
    path, headers = "/v20180820/configuration/publicAccessBlock", {"x-amz-account-id": "000000000000"}
    block = "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>"
    assert signed(server, "PUT", path, block.encode(), headers).status_code == 200
    try:
        assert code_of(s3.create_bucket, Bucket="blocked", ACL="public-read") == "AccessDenied"
        assert code_of(s3.create_bucket, Bucket="blocked", GrantWrite=EVERYONE) == "AccessDenied"
        assert code_of(s3.head_bucket, Bucket="blocked") == "404"
        assert code_of(s3.create_bucket, Bucket="blocked", ACL="private") == ""
    finally:
        signed(server, "DELETE", path, headers=headers)


def test_tags_of_a_copy_need_the_rights_of_both_sides(server):
    s3 = server.client()
    for denied in ("s3:GetObjectTagging", "s3:PutObjectTagging"):
        copier = service(server, "s3", user_with(server, allow("s3:*"), deny(denied)))
        copy = {"Bucket": "other", "Key": "copy", "CopySource": "data/tagged"}
        assert code_of(copier.copy_object, **copy) == "AccessDenied", denied
        assert code_of(s3.head_object, Bucket="other", Key="copy") == "404"
        # Without tags there is nothing to ask for, nor with others in their place that may be set.
        assert code_of(copier.copy_object, **{**copy, "CopySource": "data/plain"}) == ""
        replaced = code_of(copier.copy_object, **copy, TaggingDirective="REPLACE", Tagging="")
        assert replaced == ("AccessDenied" if denied == "s3:PutObjectTagging" else "")
        s3.delete_object(Bucket="other", Key="copy")
        assert code_of(copier.rename_object, Bucket="data", Key="renamed", RenameSource="tagged") == "AccessDenied"
    # Conditions on tags that are set see those that come along.
    condition = {"StringEquals": {"s3:RequestObjectTag/salary": "100000"}}
    copier = service(server, "s3", user_with(server, allow("s3:*"), deny("s3:PutObjectTagging", **condition)))
    assert code_of(copier.copy_object, Bucket="other", Key="copy", CopySource="data/tagged") == "AccessDenied"
    full = service(server, "s3", user_with(server, allow("s3:*")))
    full.copy_object(Bucket="other", Key="copy", CopySource="data/tagged")
    assert s3.get_object_tagging(Bucket="other", Key="copy")["TagSet"] == [{"Key": "salary", "Value": "100000"}]


def test_tags_of_a_version_need_the_right_to_tags_of_versions(server):
    s3 = server.client()
    s3.create_bucket(Bucket="versions")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket="versions", Key="k", Body=b"1", Tagging="a=b")["VersionId"]
    copier = service(server, "s3", user_with(server, allow("s3:*"), deny("s3:GetObjectVersionTagging")))
    source = {"Bucket": "versions", "Key": "k", "VersionId": version}
    assert code_of(copier.copy_object, Bucket="other", Key="v", CopySource=source) == "AccessDenied"
    del source["VersionId"]
    assert code_of(copier.copy_object, Bucket="other", Key="v", CopySource=source) == ""


def test_tags_of_a_new_bucket_need_the_right_to_tags(server):
    tags = {"CreateBucketConfiguration": {"Tags": [{"Key": "team", "Value": "a"}]}}
    maker = service(server, "s3", user_with(server, allow("s3:*"), deny("s3:TagResource")))
    assert code_of(maker.create_bucket, Bucket="with-tags", **tags) == "AccessDenied"
    assert code_of(maker.create_bucket, Bucket="without-tags") == ""
    assert code_of(server.client().create_bucket, Bucket="with-tags", **tags) == ""


def test_a_source_must_belong_to_whom_the_client_expects(server):
    s3 = server.client()
    upload = s3.create_multipart_upload(Bucket="other", Key="parts")["UploadId"]
    copy = {"Bucket": "other", "Key": "expected", "CopySource": "data/plain"}
    part = {**copy, "Key": "parts", "UploadId": upload, "PartNumber": 1}
    for expected, code in [("111111111111", "AccessDenied"), ("000000000000", "")]:
        assert code_of(s3.copy_object, ExpectedSourceBucketOwner=expected, **copy) == code
        assert code_of(s3.upload_part_copy, ExpectedSourceBucketOwner=expected, **part) == code
    full = user_with(server, allow("s3:*"))
    query = {"x-amz-copy-source": "data/plain", "x-amz-source-expected-bucket-owner": "111111111111"}
    url = presigned(server, full, "PUT", "/other/expected", query)
    assert requests.put(url, timeout=10).status_code == 403


def test_listing_of_all_buckets_can_be_denied(server):
    lister = service(server, "s3", user_with(server, allow("s3:*"), deny("s3:ListAllMyBuckets")))
    assert code_of(lister.list_buckets) == "AccessDenied"
    # Who is not denied it sees the buckets to which there are rights.
    some = service(server, "s3", user_with(server, allow("s3:ListBucket", resource="arn:aws:s3:::data")))
    assert [bucket["Name"] for bucket in some.list_buckets()["Buckets"]] == ["data"]


@pytest.mark.parametrize("fields", [[("x-amz-meta-a", "good"), ("x-amz-meta-a", "bad")],
                                    [("acl", "private"), ("x-amz-acl", "public-read")],
                                    [("tagging", "<Tagging><TagSet/></Tagging>"), ("x-amz-tagging", "a=b")]])
def test_a_field_that_is_given_twice_is_refused(server, fields):
    conditions = [["starts-with", f"${name}", value[:3] if name[-1] == "a" else ""] for name, value in fields[:1]]
    conditions += [["starts-with", f"${name}", ""] for name, _ in fields[1:]]
    form = server.client().generate_presigned_post("data", "twice", Conditions=conditions)
    pieces = [*form["fields"].items(), *fields]
    answer = requests.post(form["url"], files=[*((n, (None, v)) for n, v in pieces), ("file", ("f", b"x"))], timeout=10)
    assert answer.status_code == 400, answer.text
    assert code_of(server.client().head_object, Bucket="data", Key="twice") == "404"


SERVICE = {"Service": "logging.s3.amazonaws.com"}


def log_status(target, prefix="in/"):
    return {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": prefix}}


def target_policy(bucket, effect, **condition):
    one = {"Effect": effect, "Principal": SERVICE, "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    return document({**one, **({"Condition": condition} if condition else {})})


def delivered(s3, bucket):
    return s3.list_objects_v2(Bucket=bucket, Prefix="in/").get("KeyCount", 0)


def wait_for(check, seconds=10):
    deadline = time.monotonic() + seconds
    while not check() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert check()


def test_logs_go_only_where_the_log_service_may_write(server):
    s3 = server.client()
    for bucket in ("mine", "victim", "enforced", "listed"):
        s3.create_bucket(Bucket=bucket)
    # Anyone who has rights on one bucket only does not write into another one.
    mine = service(server, "s3", user_with(server, allow("s3:*", resource=["arn:aws:s3:::mine", "arn:aws:s3:::mine/*"])))
    assert code_of(mine.put_bucket_logging, Bucket="mine", BucketLoggingStatus=log_status("victim")) == "InvalidTargetBucketForLogging"
    s3.put_bucket_policy(Bucket="victim", Policy=target_policy("victim", "Deny"))
    assert code_of(s3.put_bucket_logging, Bucket="mine", BucketLoggingStatus=log_status("victim")) == "InvalidTargetBucketForLogging"
    # With lists switched off, a policy must let the service in; and its conditions hold.
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.put_bucket_ownership_controls(Bucket="enforced", OwnershipControls=rules)
    status = log_status("enforced")
    assert code_of(s3.put_bucket_logging, Bucket="mine", BucketLoggingStatus=status) == "InvalidTargetBucketForLogging"
    for source, account, code in [("other", "000000000000", "InvalidTargetBucketForLogging"),
                                  ("mine", "111111111111", "InvalidTargetBucketForLogging"), ("mine", "000000000000", "")]:
        condition = {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{source}"}, "StringEquals": {"aws:SourceAccount": account}}
        s3.put_bucket_policy(Bucket="enforced", Policy=target_policy("enforced", "Allow", **condition))
        assert code_of(mine.put_bucket_logging, Bucket="mine", BucketLoggingStatus=status) == code, (source, account)
    s3.get_bucket_location(Bucket="mine")
    wait_for(lambda: delivered(s3, "enforced"))
    # Where lists count, one that lets the log-delivery group write will do.
    s3.put_bucket_ownership_controls(Bucket="listed", OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    assert code_of(mine.put_bucket_logging, Bucket="mine", BucketLoggingStatus=log_status("listed")) == "InvalidTargetBucketForLogging"
    s3.put_bucket_acl(Bucket="listed", ACL="log-delivery-write")
    assert code_of(mine.put_bucket_logging, Bucket="mine", BucketLoggingStatus=log_status("listed")) == ""
    s3.get_bucket_location(Bucket="mine")
    wait_for(lambda: delivered(s3, "listed"))


def test_a_deny_that_comes_later_stops_deliveries(server):
    s3 = server.client()
    for bucket in ("later", "later-log", "twin", "twin-log"):
        s3.create_bucket(Bucket=bucket)
    for bucket in ("later", "twin"):
        s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=log_status(f"{bucket}-log"))
    s3.put_bucket_policy(Bucket="later-log", Policy=target_policy("later-log", "Deny"))
    for bucket in ("later", "twin"):
        s3.get_bucket_location(Bucket=bucket)
    # The lines of both are delivered in one round.
    wait_for(lambda: delivered(s3, "twin-log"))
    assert delivered(s3, "later-log") == 0
    s3.delete_bucket_policy(Bucket="later-log")
    wait_for(lambda: delivered(s3, "later-log"))
