"""What a bucket's policy allows to everybody, and what it denies to the owner."""
import json

import pytest
import requests
from botocore.exceptions import ClientError

BUCKET = "shared-data"
PUBLIC_READ = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture
def running(start):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET)
    for key in ("k", "secret/k"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    return server, s3


def status(server, method, path, **how):
    return requests.request(method, f"{server.url}/{BUCKET}{path}", timeout=10, **how).status_code


def test_everybody_may_do_what_is_allowed_and_nothing_else(running):
    server, s3 = running
    assert status(server, "GET", "/k") == 403
    s3.put_bucket_policy(Bucket=BUCKET, Policy=policy(PUBLIC_READ))
    assert requests.get(f"{server.url}/{BUCKET}/k", timeout=10).content == b"k"
    assert status(server, "HEAD", "/k") == 200
    # That a key does not exist is for those to know who may list.
    assert status(server, "GET", "/missing") == 403
    for method, path in [("PUT", "/k"), ("DELETE", "/k"), ("GET", ""), ("GET", "?policy"), ("PUT", "?policy"),
                         ("GET", "/k?tagging"), ("GET", "/k?versionId=null"), ("GET", "?uploads"), ("DELETE", ""),
                         ("POST", "?delete"), ("POST", "/k?uploads"), ("GET", "/k?acl"), ("GET", "/k?attributes")]:
        assert status(server, method, path, data=b"") == 403, (method, path)
    assert status(server, "GET", "/k?response-content-type=text/html") == 400
    s3.delete_bucket_policy(Bucket=BUCKET)
    assert status(server, "GET", "/k") == 403


def test_copy_from_a_bucket_that_nobody_may_read(running):
    server, s3 = running
    s3.create_bucket(Bucket="drop-box")
    allow = {**PUBLIC_READ, "Action": ["s3:PutObject", "s3:GetObject"], "Resource": "arn:aws:s3:::drop-box/*"}
    s3.put_bucket_policy(Bucket="drop-box", Policy=policy(allow))
    answer = requests.put(f"{server.url}/drop-box/stolen", headers={"x-amz-copy-source": f"/{BUCKET}/secret/k"}, timeout=10)
    assert answer.status_code == 403
    assert requests.put(f"{server.url}/drop-box/mine", data=b"mine", timeout=10).status_code == 200
    assert [o["Key"] for o in s3.list_objects_v2(Bucket="drop-box")["Contents"]] == ["mine"]


def test_chunks_of_a_stranger_are_stored_without_their_frames(running):
    server, s3 = running
    s3.put_bucket_policy(Bucket=BUCKET, Policy=policy({**PUBLIC_READ, "Action": "s3:PutObject"}))
    body = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    headers = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": "5",
               "x-amz-trailer": "x-amz-checksum-crc32", "content-encoding": "aws-chunked"}
    assert status(server, "PUT", "/chunks", data=body, headers=headers) == 200
    assert s3.get_object(Bucket=BUCKET, Key="chunks")["Body"].read() == b"hello"
    headers["x-amz-content-sha256"] = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    assert status(server, "PUT", "/signed", data=body, headers=headers) == 403


def test_deny_reaches_the_owner_but_not_the_repair(running):
    server, s3 = running
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=policy(deny))
    for call in (lambda: s3.get_object(Bucket=BUCKET, Key="k"), lambda: s3.list_objects_v2(Bucket=BUCKET),
                 lambda: s3.put_object(Bucket=BUCKET, Key="k", Body=b""), lambda: s3.delete_bucket(Bucket=BUCKET)):
        with pytest.raises(ClientError) as refused:
            call()
        assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"]) == json.loads(policy(deny))
    s3.delete_bucket_policy(Bucket=BUCKET)
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"k"


def test_bulk_delete_is_decided_key_by_key(running):
    server, s3 = running
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{BUCKET}/secret/*"}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=policy(deny))
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "k"}, {"Key": "secret/k"}]})
    assert [d["Key"] for d in answer["Deleted"]] == ["k"]
    assert [(e["Key"], e["Code"]) for e in answer["Errors"]] == [("secret/k", "AccessDenied")]
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["secret/k"]


@pytest.mark.parametrize("condition, expected", [
    ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, 200), ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, 403),
    ({"Bool": {"aws:SecureTransport": "true"}}, 403), ({"StringEquals": {"aws:Referer": "https://a.example/"}}, 200),
    ({"StringEquals": {"s3:authType": "REST-HEADER"}}, 403), ({"Null": {"s3:authType": "true"}}, 200)])
def test_conditions_look_at_the_request(running, condition, expected):
    server, s3 = running
    s3.put_bucket_policy(Bucket=BUCKET, Policy=policy({**PUBLIC_READ, "Condition": condition}))
    headers = {"Referer": "https://a.example/", "X-Forwarded-For": "10.1.1.1"}
    assert status(server, "GET", "/k", headers=headers) == expected


def test_policy_and_documents_survive_a_crash(running, start):
    server, s3 = running
    s3.put_bucket_policy(Bucket=BUCKET, Policy=policy(PUBLIC_READ))
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    rules = [{"AllowedOrigins": ["https://a.example"], "AllowedMethods": ["GET"]}]
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": rules})
    server.kill()
    again = start(directory=server.directory)
    assert requests.get(f"{again.url}/{BUCKET}/k", timeout=10).content == b"k"
    s3 = again.client()
    assert s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert s3.get_bucket_cors(Bucket=BUCKET)["CORSRules"] == rules
    for key in ("k", "secret/k"):
        s3.delete_object(Bucket=BUCKET, Key=key)
    s3.delete_bucket(Bucket=BUCKET)
    s3.create_bucket(Bucket=BUCKET)
    with pytest.raises(ClientError) as unset:
        s3.get_bucket_policy(Bucket=BUCKET)
    assert unset.value.response["Error"]["Code"] == "NoSuchBucketPolicy"
    assert status(again, "GET", "/k") == 403
