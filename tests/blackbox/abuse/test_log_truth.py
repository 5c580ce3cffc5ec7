"""What the access log of a bucket says of a connection and a signature is what they were; and conditions on what is copied
into a part are kept."""
import http.client
import ssl
import subprocess
import time
import urllib.parse

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER

VERSIONS = {"v12": (ssl.TLSVersion.TLSv1_2, "TLSv1.2"), "v13": (ssl.TLSVersion.TLSv1_3, "TLSv1.3")}


def urls(server, key, signature):
    client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD,
                          config=Config(signature_version=signature, s3={"addressing_style": "path"}))
    return urllib.parse.urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": key}))


def delivered(s3, wanted, timeout=30):
    deadline = time.monotonic() + timeout
    while True:
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="logs").get("Contents", [])]
        text = "".join(s3.get_object(Bucket="logs", Key=key)["Body"].read().decode() for key in keys)
        if all(word in text for word in wanted):
            return text.splitlines()
        assert time.monotonic() < deadline, text
        time.sleep(0.2)


def test_lines_say_how_a_request_came(start, tmp_path):
    certs = tmp_path / "certs"
    certs.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", certs / "private.key", "-out", certs / "public.crt"], check=True, capture_output=True)
    server = start("--certs-dir", str(certs), "--allow-sigv2", "--bucket-defaults", "open", "--log-delivery-seconds", "1")
    s3 = server.client()
    for bucket in ("bucket", "logs"):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_logging(Bucket="bucket", BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": ""}})
    ciphers = {}
    for name, (version, _) in VERSIONS.items():
        for signature in ("s3", "s3v4"):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.minimum_version = context.maximum_version = version
            url = urls(server, f"{name}-{signature}-", signature)
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=20)
            connection.connect()
            ciphers[name] = connection.sock.cipher()[0]
            connection.request("GET", f"{url.path}?{url.query}")
            assert connection.getresponse().status == 404
            connection.close()
    lines = delivered(s3, [f"{name}-{signature}-" for name in VERSIONS for signature in ("s3", "s3v4")])
    for name, (_, said) in VERSIONS.items():
        for signature, is_said in (("s3", "SigV2"), ("s3v4", "SigV4")):
            line, = [line for line in lines if f"{name}-{signature}-" in line]
            tail = line.rsplit(" ", 9)
            assert tail[2:5] == [is_said, ciphers[name], "QueryString"] and tail[6] == said, line


@pytest.mark.parametrize("condition, right, wrong", [
    ("CopySourceIfMatch", "ETAG", '"none"'), ("CopySourceIfNoneMatch", '"none"', "ETAG"),
    ("CopySourceIfModifiedSince", 0, "NOW"), ("CopySourceIfUnmodifiedSince", "NOW", 0)])
def test_conditions_on_what_is_copied_into_a_part(start, condition, right, wrong):
    s3 = start().client()
    s3.create_bucket(Bucket="bucket")
    put = s3.put_object(Bucket="bucket", Key="source", Body=b"x" * 1000)
    words = {"ETAG": put["ETag"], "NOW": time.time() + 1}
    upload = s3.create_multipart_upload(Bucket="bucket", Key="target")["UploadId"]
    part = {"Bucket": "bucket", "Key": "target", "UploadId": upload, "PartNumber": 1, "CopySource": "bucket/source"}
    if condition == "CopySourceIfModifiedSince":
        time.sleep(1.1)
        words["NOW"] = time.time()
    with pytest.raises(ClientError) as refused:
        s3.upload_part_copy(**part, **{condition: words.get(wrong, wrong)})
    assert refused.value.response["Error"]["Code"] == "PreconditionFailed"
    assert s3.list_parts(Bucket="bucket", Key="target", UploadId=upload).get("Parts", []) == []
    assert s3.upload_part_copy(**part, **{condition: words.get(right, right)})["CopyPartResult"]["ETag"] == put["ETag"]
