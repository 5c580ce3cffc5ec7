"""Websites on their own hosts, and access logs of buckets."""
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from botocore.exceptions import ClientError

from conftest import Server

OPEN = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("web") / "drive", "--domain", "s3.test", "--log-delivery-seconds", "1").wait_ready()
    yield server
    server.stop()


@pytest.fixture
def site(server):
    name = f"web-{__import__('uuid').uuid4().hex[:10]}"
    s3 = server.client()
    s3.create_bucket(Bucket=name)
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {**OPEN, "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]}]}))

    def get(path, method="GET", **headers):
        return requests.request(method, server.url + path, allow_redirects=False, timeout=10,
                                headers={"Host": f"{name}.s3-website.s3.test", **headers})
    get.bucket = name
    return get


def test_pages_redirects_and_errors(server, site):
    s3, name = server.client(), site.bucket
    reply = site("/")
    assert (reply.status_code, "NoSuchWebsiteConfiguration" in reply.text) == (404, True)
    s3.put_bucket_website(Bucket=name, WebsiteConfiguration={
        "IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "oops.html"},
        "RoutingRules": [
            {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/", "HttpRedirectCode": "307"}},
            {"Condition": {"HttpErrorCodeReturnedEquals": "404", "KeyPrefixEquals": "app/"}, "Redirect": {"ReplaceKeyWith": "app.html"}},
            {"Condition": {"KeyPrefixEquals": "away/"}, "Redirect": {"HostName": "example.com", "Protocol": "https"}}]})
    for key in ("index.html", "docs/index.html", "oops.html", "app/there"):
        s3.put_object(Bucket=name, Key=key, Body=key.encode(), ContentType="text/html")
    s3.put_object(Bucket=name, Key="moved", Body=b"", WebsiteRedirectLocation="/docs/")
    assert (site("/").text, site("/docs/").text, site("/?policy").text) == ("index.html", "docs/index.html", "index.html")
    assert (site("/docs").status_code, site("/docs").headers["Location"]) == (302, "/docs/")
    assert (site("/none").status_code, site("/none").text) == (404, "oops.html")
    assert (site("/moved").status_code, site("/moved").headers["Location"]) == (301, "/docs/")
    old = site("/old/a%20b")
    assert old.status_code == 307 and old.headers["Location"] == f"http://{name}.s3-website.s3.test/new/a%20b"
    assert site("/app/there").text == "app/there"
    assert site("/app/none").headers["Location"].endswith("/app.html")
    assert site("/away/x").headers["Location"] == "https://example.com/away/x"
    head = site("/", "HEAD")
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "10", b"")
    assert site("/", Range="bytes=0-4").text == "index" and site("/", "PUT").status_code == 405
    etag = site("/").headers["ETag"]
    assert site("/", **{"If-None-Match": etag}).status_code == 304
    s3.put_bucket_website(Bucket=name, WebsiteConfiguration={"RedirectAllRequestsTo": {"HostName": "example.com"}})
    assert (site("/a/b").status_code, site("/a/b").headers["Location"]) == (301, "http://example.com/a/b")


def test_what_is_not_public_is_no_page(server, site):
    s3, name = server.client(), site.bucket
    s3.put_bucket_website(Bucket=name, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    s3.put_object(Bucket=name, Key="index.html", Body=b"secret")
    s3.delete_bucket_policy(Bucket=name)
    reply = site("/")
    assert reply.status_code == 403 and "AccessDenied" in reply.text and "secret" not in reply.text
    assert reply.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("configuration, code", [
    ({}, "InvalidArgument"), ({"IndexDocument": {"Suffix": "a/b"}}, "InvalidArgument"),
    ({"IndexDocument": {"Suffix": "i"}, "RedirectAllRequestsTo": {"HostName": "x"}}, "InvalidRequest"),
    ({"IndexDocument": {"Suffix": "i"}, "RoutingRules": [{"Redirect": {"ReplaceKeyWith": "a", "ReplaceKeyPrefixWith": "b"}}]}, "InvalidRequest"),
    ({"IndexDocument": {"Suffix": "i"}, "RoutingRules": [{"Redirect": {"HttpRedirectCode": "300"}}]}, "InvalidRequest"),
    ({"IndexDocument": {"Suffix": "i"}, "RoutingRules": [{"Redirect": {"HostName": "x"}}] * 51}, "InvalidRequest")])
def test_bad_configurations(server, site, configuration, code):
    with pytest.raises(ClientError) as caught:
        server.client().put_bucket_website(Bucket=site.bucket, WebsiteConfiguration=configuration)
    assert caught.value.response["Error"]["Code"] == code
    assert site("/").status_code == 404


def test_requests_become_lines_in_the_target_bucket(server, site):
    s3, source = server.client(), site.bucket
    target = source + "-log"
    s3.create_bucket(Bucket=target)
    with pytest.raises(ClientError, match="InvalidTargetBucketForLogging"):
        s3.put_bucket_logging(Bucket=source, BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": "none-such", "TargetPrefix": ""}})
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": "in/"}})
    s3.put_object(Bucket=source, Key="a b", Body=b"12345")
    s3.get_object(Bucket=source, Key="a b")
    with pytest.raises(ClientError):
        s3.get_object(Bucket=source, Key="none")
    s3.get_bucket_policy(Bucket=source)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": source, "Key": "a b"})
    requests.get(url, headers={"User-Agent": 'a "quoted" agent', "Referer": "http://x/"}, timeout=10)
    site("/nothing")
    lines = []
    deadline = time.monotonic() + 20
    while len(lines) < 7 and time.monotonic() < deadline:
        time.sleep(0.3)
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=target).get("Contents", [])]
        lines = "".join(s3.get_object(Bucket=target, Key=key)["Body"].read().decode() for key in keys).splitlines()
    assert all(re.fullmatch(r"in/\d{4}(-\d\d){5}-[0-9A-F]{16}", key) for key in keys)
    by_operation = {re.search(r" ((?:REST|WEBSITE)\.\S+) ", line).group(1): line for line in lines}
    assert {"REST.PUT.OBJECT", "REST.GET.OBJECT", "REST.GET.BUCKETPOLICY", "WEBSITE.GET.OBJECT"} <= set(by_operation)
    put = by_operation["REST.PUT.OBJECT"]
    assert re.fullmatch(r'[0-9a-f]{64} ' + source + r' \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] 127\.0\.0\.1 arn:aws:iam::000000000000:root '
                        r'[0-9A-F]{16} REST\.PUT\.OBJECT a%2520b "PUT /\S+ HTTP/1\.1" 200 - \S+ 5 \d+ \d+ \S+ "[^"]*" \S+ \S+ SigV4 - '
                        r'AuthHeader \S+ - - - us-east-1', put), put
    assert any(" 404 NoSuchKey " in line for line in lines)
    presigned = [line for line in lines if "QueryString" in line]
    assert len(presigned) == 1 and "Signature=-" in presigned[0] and '"a %22quoted%22 agent"' in presigned[0]
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=source)


def lines_of(s3, target, wanted, timeout=20):
    """Delivered lines, once there are as many as wanted."""
    deadline = time.monotonic() + timeout
    while True:
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=target).get("Contents", [])]
        lines = "".join(s3.get_object(Bucket=target, Key=key)["Body"].read().decode() for key in keys).splitlines()
        if len(lines) >= wanted or time.monotonic() > deadline:
            return lines
        time.sleep(0.3)


def log_to(s3, source, target):
    for bucket in (source, target):
        s3.create_bucket(Bucket=bucket)
    status = {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": ""}}
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus=status)


def test_each_key_of_a_batch_and_each_form_has_its_line(server):
    s3, source, target = server.client(), "batch-source", "batch-target"
    log_to(s3, source, target)
    keys = [f"k{n}" for n in range(300)]
    s3.delete_objects(Bucket=source, Delete={"Objects": [{"Key": key} for key in keys] + [{"Key": "v", "VersionId": "none-such"}]})
    form = s3.generate_presigned_post(source, "form")
    assert requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=10).status_code == 204
    lines = lines_of(s3, target, 304)
    batch = [line for line in lines if " BATCH.DELETE.OBJECT " in line]
    assert [line.split(" BATCH.DELETE.OBJECT ")[1].split()[0] for line in batch] == keys + ["v"]
    assert " BATCH.DELETE.OBJECT k7 - 204 - " in batch[7]
    assert " BATCH.DELETE.OBJECT v - 400 " in batch[300] or " BATCH.DELETE.OBJECT v - 404 NoSuchVersion " in batch[300]
    assert sum(" REST.POST.MULTI_OBJECT_DELETE " in line for line in lines) == 1
    posted = [line for line in lines if " POST " in line]
    assert len(posted) == 1 and " arn:aws:iam::000000000000:root " in posted[0]


def test_no_line_of_an_answered_request_is_lost_in_a_crash(tmp_path):
    """Killed before any delivery, the next process delivers what was stored: at least once."""
    directory, names = tmp_path / "drive", []
    target = "crash-target"
    for life in range(3):
        server = Server(directory, "--log-delivery-seconds", "3600").wait_ready()
        s3 = server.client()
        if life == 0:
            log_to(s3, "crash-source", target)

        def put(name):
            s3.put_object(Bucket="crash-source", Key=name, Body=b"1")
            assert s3.get_object(Bucket="crash-source", Key=name)["Body"].read() == b"1"
            return name

        with ThreadPoolExecutor(8) as pool:
            names += pool.map(put, [f"{life}-{n}" for n in range(40)])
        server.kill()
    server = Server(directory, "--log-delivery-seconds", "1").wait_ready()
    try:
        lines = lines_of(server.client(), target, 2 * len(names))
        for operation in ("PUT", "GET"):
            logged = {line.split(f" REST.{operation}.OBJECT ")[1].split()[0] for line in lines if f" REST.{operation}.OBJECT " in line}
            assert logged == set(names)
    finally:
        server.kill()
