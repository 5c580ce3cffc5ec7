"""Signature version 2 is off; where it is on, it reaches only what it signs (findings 10 and 17)."""
import json
import re

import boto3
import pytest
import requests
from botocore.config import Config

from conftest import PASSWORD, USER, Server

BUCKET = "legacy"
MESSAGE = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."


def legacy(server):
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD,
                        config=Config(signature_version="s3", s3={"addressing_style": "path"}))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("sigv2") / "drive", "--allow-sigv2").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    s3.put_object(Bucket=BUCKET, Key="key", Body=b"x")
    yield server
    server.stop()


def url_of(server, operation, **parameters):
    url = legacy(server).generate_presigned_url(operation, Params={"Bucket": BUCKET, **parameters})
    assert "AWSAccessKeyId=" in url
    return url


def test_it_is_off_by_default(start):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="key", Body=b"x")
    form = legacy(server).generate_presigned_post(BUCKET, "form")
    assert "signature" in form["fields"]
    for answer in (requests.get(url_of(server, "get_object", Key="key"), timeout=10),
                   requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=10),
                   requests.get(f"{server.url}/{BUCKET}/key", headers={"Authorization": f"AWS {USER}:c2lnbmF0dXJl"}, timeout=10)):
        assert (answer.status_code, MESSAGE in answer.text, "<Code>InvalidRequest</Code>" in answer.text) == (400, True, True), answer.text


def test_a_setting_switches_it_on(start):
    server = start(env={"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "DRYSTONE_ALLOW_SIGV2": "on"})
    server.client().create_bucket(Bucket=BUCKET)
    server.client().put_object(Bucket=BUCKET, Key="key", Body=b"x")
    assert requests.get(url_of(server, "get_object", Key="key"), timeout=10).content == b"x"


def test_urls_and_forms_work(server):
    assert requests.get(url_of(server, "get_object", Key="key"), timeout=10).content == b"x"
    assert requests.put(url_of(server, "put_object", Key="put"), data=b"y", timeout=10).status_code == 200
    assert requests.get(url_of(server, "get_object_tagging", Key="key"), timeout=10).status_code == 200
    form = legacy(server).generate_presigned_post(BUCKET, "form")
    assert requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=10).status_code == 204
    answer = requests.get(f"{server.url}/{BUCKET}/key", headers={"Authorization": f"AWS {USER}:c2lnbmF0dXJl"}, timeout=10)
    assert MESSAGE in answer.text


UNSIGNED = ["abac", "accelerate", "analytics", "annotation", "attributes", "encryption", "events", "intelligent-tiering", "inventory", "legal-hold",
            "list-type=2", "metadataConfiguration", "metrics", "object-lock", "ownershipControls", "policyStatus", "publicAccessBlock",
            "renameObject", "replication", "retention", "select", "session"]


@pytest.mark.parametrize("name", UNSIGNED)
def test_nothing_that_is_not_signed_can_be_appended(server, name):
    hold = "<LegalHold><Status>ON</Status></LegalHold>"
    answers = []
    for method, operation, parameters in [("GET", "get_object", {"Key": "key"}), ("PUT", "put_object", {"Key": "key"}),
                                          ("DELETE", "delete_object", {"Key": "key"}), ("GET", "list_objects", {}),
                                          ("PUT", "create_bucket", {}), ("DELETE", "delete_bucket", {})]:
        url = url_of(server, operation, **parameters)
        answer = requests.request(method, f"{url}&{name}", data=hold if method == "PUT" else None, timeout=10)
        answers.append((answer.status_code, re.search("<Code>(.*)</Code>", answer.text).group(1)))
    # Without such an operation, that is said whoever asks.
    refused = {(403, "AccessDenied"), (501, "NotImplemented"), (405, "MethodNotAllowed"), (400, "InvalidArgument")}
    assert set(answers) <= refused, answers
    assert (403, "AccessDenied") in answers or name in ("events", "renameObject", "select", "session", "annotation"), answers
    s3 = server.client()
    assert "ObjectLockLegalHoldStatus" not in s3.head_object(Bucket=BUCKET, Key="key")


def test_conditions_on_age_and_version_reach_it(server):
    s3 = server.client()
    for condition in ({"NumericGreaterThan": {"s3:signatureAge": "600000"}}, {"StringEquals": {"s3:signatureversion": "AWS"}}):
        statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*", "Condition": condition}
        s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        try:
            assert requests.get(url_of(server, "get_object", Key="key"), timeout=10).status_code == 403
            new = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "key"})
            assert requests.get(new, timeout=10).status_code == 200
        finally:
            s3.delete_bucket_policy(Bucket=BUCKET)
