"""Signature version 2 is off; where it is on, it reaches only what it signs (findings 10 and 17)."""
import base64
import hashlib
import hmac
import json
import re
import socket
import time
from urllib.parse import quote

import boto3
import pytest
import requests
import test_access_points
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
    # Without such an operation, that is said no matter who asks.
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


def signed(server, method, lines, query=(), headers=(), resource=f"/{BUCKET}/hidden", host=None, path=None, expires=None, data=b"body"):
    """The answer to a request whose signature is that of another one with these lines and this resource."""
    expires = expires or int(time.time()) + 600
    kinds = {name.lower(): value for name, value in dict(headers).items()}
    text = "\n".join([method, kinds.get("content-md5", ""), kinds.get("content-type", ""), str(expires), *lines, resource])
    signature = base64.b64encode(hmac.new(PASSWORD.encode(), text.encode(), hashlib.sha1).digest()).decode()
    pieces = [("AWSAccessKeyId", USER), ("Expires", str(expires)), ("Signature", signature), *query]
    pieces = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pieces)
    headers = dict(headers) | ({"Host": host} if host else {})
    return requests.request(method, f"{server.url}{path or resource.split('?')[0]}?{pieces}", headers=headers, data=data, timeout=10)


HIDING = {
    "a line of a parameter about the signature": (["x-amz-date:D", "x-amz-tagging:a=b"], [("x-amz-date", "D\nx-amz-tagging:a=b")], {}),
    "the same, in other letters": (["x-amz-date:D", "x-amz-tagging:a=b"], [("X-Amz-Date", "D\nx-amz-tagging:a=b")], {}),
    "of a body": (["x-amz-content-sha256:UNSIGNED-PAYLOAD", "x-amz-tagging:a=b"],
                  [("x-amz-content-sha256", "UNSIGNED-PAYLOAD\nx-amz-tagging:a=b")], {}),
    "of metadata": (["x-amz-meta-a:1", "x-amz-tagging:a=b"], [("x-amz-meta-a", "1\nx-amz-tagging:a=b")], {}),
    "a line in a name": (["x-amz-date:D", "x-amz-tagging:a=b"], [("x-amz-date:D\nx-amz-tagging", "a=b")], {}),
    "a colon in a name": (["x-amz-date:D:a=b"], [("x-amz-date:D", "a=b")], {}),
    "a carriage return": (["x-amz-date:D\rx"], [("x-amz-date", "D\rx")], {}),
    "a copy source in two": ([f"x-amz-copy-source:/{BUCKET}/key,b"], [("x-amz-copy-source", "b")], {"x-amz-copy-source": f"/{BUCKET}/key"}),
    "tags in two": (["x-amz-date:D,E"], [("X-Amz-Date", "D"), ("x-amz-date", "E")], {}),
    "metadata in two": (["x-amz-meta-a:1,2"], [("x-amz-meta-a", "1"), ("X-Amz-Meta-A", "2")], {}),
}


@pytest.mark.parametrize("kind", sorted(HIDING))
def test_no_other_request_has_the_same_string_to_sign(server, kind):
    """The signature is right for the lines, which a plain request could have: hiding them makes another request of it."""
    lines, query, headers = HIDING[kind]
    answer = signed(server, "PUT", lines, query, headers)
    assert (answer.status_code, "<Code>InvalidArgument</Code>" in answer.text) == (400, True), answer.text
    assert "Contents" not in server.client().list_objects_v2(Bucket=BUCKET, Prefix="hidden")


def test_parameters_act_as_the_headers_of_their_name(server):
    for query, headers in (([("x-amz-tagging", "a=b")], {}), ([], {"x-amz-tagging": "a=b"})):
        assert signed(server, "PUT", ["x-amz-tagging:a=b"], query, headers, resource=f"/{BUCKET}/tagged").status_code == 200
        assert server.client().get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == [{"Key": "a", "Value": "b"}]
        server.client().delete_object(Bucket=BUCKET, Key="tagged")


@pytest.mark.parametrize("resource, query", [
    (f"/{BUCKET}/key?versionId=a&versionId=b", [("versionId", "b"), ("versionId", "a")]),
    (f"/{BUCKET}/key?response-content-type=a\nb", [("response-content-type", "a\nb")]),
    (f"/{BUCKET}/key?partNumber=1&uploadId=x", [("partNumber", "1&uploadId=x")]),
])
def test_no_other_parameters_have_the_same_string_to_sign(server, resource, query):
    answer = signed(server, "GET", [], query, resource=resource, data=None)
    assert (answer.status_code, "<Code>InvalidArgument</Code>" in answer.text) == (400, True), answer.text


def test_a_header_that_is_no_text_is_not_signed_as_another(server):
    answer = signed(server, "PUT", ["x-amz-meta-a:\ufffd"], headers={"x-amz-meta-a": b"\xff"})
    assert (answer.status_code, "<Code>InvalidArgument</Code>" in answer.text) == (400, True), answer.text


def test_the_url_of_a_bucket_is_none_of_its_access_points(tmp_path, monkeypatch):
    domain, resolve = test_access_points.DOMAIN, socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **kw: resolve(
        "127.0.0.1" if str(host).endswith(domain) else host, *rest, **kw))
    server = Server(tmp_path / "drive", "--allow-sigv2", "--domain", domain).wait_ready()
    try:
        server.client().create_bucket(Bucket=BUCKET)
        server.client().put_object(Bucket=BUCKET, Key="key", Body=b"x")
        control = test_access_points.client(server, "s3control")
        alias = control.create_access_point(AccountId="000000000000", Name="point", Bucket=BUCKET)["Alias"]
        get = lambda host: signed(server, "GET", [], resource=f"/{BUCKET}/key", path="/key", host=host, data=None)
        assert get(f"{BUCKET}.{domain}").content == b"x"
        answer = get(f"{alias}.{domain}")
        assert (answer.status_code, "<Code>AccessDenied</Code>" in answer.text) == (403, True), answer.text
    finally:
        server.stop()
