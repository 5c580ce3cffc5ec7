"""Presigned URLs of npm's @aws-sdk/s3-request-presigner, which moves headers into the query."""
import json
import subprocess

import pytest
import requests

from conftest import PASSWORD, USER, Server
from test_federation import NODE


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("javascript") / "drive", "--bucket-defaults", "open").wait_ready()
    server.client().create_bucket(Bucket="web")
    yield server
    server.stop()


@pytest.fixture
def urls(server):
    done = subprocess.run(["node", "presign.mjs", server.url, "web", "a/k é", USER, PASSWORD], cwd=NODE, check=True,
                          capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


def code_of(reply):
    return reply.text.split("<Code>")[1].split("</Code>")[0]


def test_moved_headers_act(server, urls):
    assert requests.put(urls["put"], data=b"data", timeout=10).status_code == 200
    s3 = server.client()
    head = s3.head_object(Bucket="web", Key="a/k é")
    assert (head["Metadata"], head["StorageClass"]) == ({"color": "blue"}, "STANDARD_IA")
    assert s3.get_object_tagging(Bucket="web", Key="a/k é")["TagSet"] == [{"Key": "team", "Value": "ml"}]
    assert requests.get(f"{server.url}/web/a/k%20%C3%A9", timeout=10).content == b"data", "the public list acts"
    assert requests.get(urls["get"], timeout=10).content == b"data"
    assert requests.head(urls["head"], timeout=10).headers["x-amz-meta-color"] == "blue"
    assert "a/k" in requests.get(urls["list"], timeout=10).text
    assert "UploadId" in requests.post(urls["upload"], timeout=10).text
    assert requests.delete(urls["remove"], timeout=10).status_code == 204


def test_what_would_be_left_out_is_refused(server, urls):
    # The bucket locks nothing.
    reply = requests.put(urls["lock"], data=b"data", timeout=10)
    assert (reply.status_code, code_of(reply)) == (400, "InvalidRequest")
    sealed = requests.put(urls["encrypted"], data=b"data", headers={"x-amz-server-side-encryption": "AES256"}, timeout=10)
    assert (sealed.status_code, sealed.headers["x-amz-server-side-encryption"]) == (200, "AES256")
    # The header was signed: it cannot be left out.
    assert requests.put(urls["encrypted"], data=b"data", timeout=10).status_code == 403
    for entry in server.client().list_objects_v2(Bucket="web")["Contents"]:
        server.client().delete_object(Bucket="web", Key=entry["Key"])
    reply = requests.put(urls["trap"], data=b"data", timeout=10)
    assert code_of(reply) == "BadDigest" and "requestChecksumCalculation" in reply.text
    assert "Contents" not in server.client().list_objects_v2(Bucket="web")
    assert code_of(requests.get(urls["expired"], timeout=10)) == "AccessDenied"
    changed = urls["put"].replace("color=blue", "color=red").replace("public-read", "private")
    assert code_of(requests.put(changed, data=b"x", timeout=10)) == "SignatureDoesNotMatch"
