"""Which access points there are, and which buckets they have, is told to those only who may know it."""
import re
import urllib.parse

import pytest
import requests

from conftest import Server
from people import allow
from surfaces import ALLOW_ALL, ROOT, Surfaces
from test_walk import MODEL, OPERATIONS, path_of

ACCOUNT = "000000000000"
NAMESPACE = 'xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"'
ARN = f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/"
# One that is there, and one that nobody made.
HERE, NOWHERE = "team-of-here", "team-nowhere"
BUCKET = "underlying-bucket"
ON_BUCKETS = [name for name in OPERATIONS if "{Bucket}" in MODEL.operation_model(name).http["requestUri"]
              or "Bucket" in (MODEL.operation_model(name).input_shape or type("", (), {"members": ()})).members]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("points") / "drive", "--domain", "s3.localhost").wait_ready()
    surfaces, s3 = Surfaces(server), server.client()
    s3.create_bucket(Bucket=BUCKET)
    body = f"<CreateAccessPointRequest {NAMESPACE}><Bucket>{BUCKET}</Bucket></CreateAccessPointRequest>"
    made = surfaces.send(ROOT, "s3", "PUT", f"/v20180820/accesspoint/{HERE}", body.encode(), {"x-amz-account-id": ACCOUNT})
    assert made.status_code == 200, made.text
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"x")
    s3.create_bucket(Bucket="own")
    callers = {
        "nobody": None,
        "the owner of another account": surfaces.account("111122223333"),
        "a user without rights": surfaces.user("none"),
        "a user of another bucket": surfaces.user("other", allow("s3:*", resource=["arn:aws:s3:::own", "arn:aws:s3:::own/*"])),
    }
    yield surfaces, callers
    server.stop()


def send(surfaces, key, method, path, headers=None, body=b"", host=None):
    if key is not None and host is None:
        return surfaces.send(key, "s3", method, path, body, headers)
    return requests.request(method, surfaces.server.url + path, data=body, headers={**(headers or {}), **({"Host": host} if host else {})},
                            timeout=20, allow_redirects=False)


def plain(answer, name):
    """What an answer says, whatever the access point is called."""
    text = re.sub(r"<(RequestId|HostId)>[^<]*<", r"<\1><", answer.text.replace(name, "NAME"))
    kept = {name.lower(): value for name, value in answer.headers.items()
            if name.lower() not in ("date", "x-amz-request-id", "x-amz-id-2", "content-length")}
    return answer.status_code, text, {k: v.replace(name, "NAME") for k, v in kept.items()}


@pytest.mark.parametrize("operation", ON_BUCKETS)
def test_no_operation_tells_strangers_of_a_point(world, operation):
    """Method: each operation with each of the names in the place of a bucket, by who has no rights to it."""
    surfaces, callers = world
    method, path, query, headers = path_of(operation)
    for who, key in callers.items():
        answers = []
        for name in (HERE, NOWHERE):
            named = path.replace("walk", urllib.parse.quote(ARN + name, safe=""), 1)
            body = b"<Delete><Object><Key>k</Key></Object></Delete>" if operation == "DeleteObjects" else b""
            sent = {**headers, **({"x-amz-copy-source": "own/k"} if headers else {})}
            answer = send(surfaces, key, method, named + (f"?{query}" if query else ""), sent, body)
            assert BUCKET not in answer.text and BUCKET not in str(answer.headers), (who, answer.text)
            answers.append(plain(answer, name))
        assert answers[0] == answers[1], (who, answers)


@pytest.mark.parametrize("way", ["source of a copy", "source of a part", "host", "form", "preflight"])
def test_no_other_way_tells_strangers_of_a_point(world, way):
    surfaces, callers = world
    for who, key in callers.items():
        answers = []
        for name in (HERE, NOWHERE):
            source = {"x-amz-copy-source": f"{ARN}{name}/object/k"}
            if way == "source of a copy":
                answer = send(surfaces, key, "PUT", "/own/copy", source)
            elif way == "source of a part":
                answer = send(surfaces, key, "PUT", "/own/copy?partNumber=1&uploadId=x", source)
            elif way == "host":
                answer = send(surfaces, None, "GET", "/k", host=f"{name}-{ACCOUNT}.s3-accesspoint.us-east-1.s3.localhost:{surfaces.server.port}")
            elif way == "form":
                fields = {"key": (None, "up"), "file": ("f", b"data")}
                answer = requests.post(f"{surfaces.server.url}/{urllib.parse.quote(ARN + name, safe='')}", files=fields, timeout=20)
            else:
                asked = {"Origin": "http://x", "Access-Control-Request-Method": "GET"}
                answer = send(surfaces, None, "OPTIONS", f"/{urllib.parse.quote(ARN + name, safe='')}/k", asked)
            assert BUCKET not in answer.text, (who, answer.text)
            answers.append(plain(answer, name))
        assert answers[0] == answers[1], (who, answers)
        assert answers[0][0] in (400, 403, 404), answers


def test_who_may_read_about_a_point_is_told(world):
    surfaces, _ = world
    knowing = surfaces.user("knowing", allow("s3:GetAccessPoint", "s3:GetObject"))
    for key in (ROOT, surfaces.user("all", ALLOW_ALL), knowing):
        for name, code in ((HERE, None), (NOWHERE, "NoSuchAccessPoint")):
            answer = send(surfaces, key, "GET", f"/{urllib.parse.quote(ARN + name, safe='')}/k")
            assert (answer.status_code, code or "x") == ((404, code) if code else (200, "x")), answer.text
            assert code is None or f"<Code>{code}</Code>" in answer.text
    refused = send(surfaces, ROOT, "GET", f"/{urllib.parse.quote(ARN + HERE, safe='')}?versioning")
    assert refused.status_code == 405 and BUCKET not in refused.text


@pytest.mark.parametrize("operation", ON_BUCKETS)
def test_no_operation_tells_strangers_of_a_bucket(world, operation):
    """The same for buckets: one that is there, and one that is not."""
    surfaces, callers = world
    method, path, query, headers = path_of(operation)
    if operation == "CreateBucket":
        pytest.skip("It makes the one that is not there.")
    for who, key in callers.items():
        # Names are the same for all accounts: who may make a bucket is told that one is there.
        if who == "the owner of another account":
            continue
        answers = []
        for name in (BUCKET, "nonexisting-bucke"):
            body = b"<Delete><Object><Key>k</Key></Object></Delete>" if operation == "DeleteObjects" else b""
            sent = {**headers, **({"x-amz-copy-source": "own/k"} if headers else {})}
            answers.append(plain(send(surfaces, key, method, path.replace("walk", name, 1) + (f"?{query}" if query else ""), sent, body), name))
        assert answers[0] == answers[1], (who, answers)
