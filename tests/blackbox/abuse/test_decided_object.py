"""A right that conditions on tags or grants of an object gave holds until the effect: what another request changes while
the body is on its way is decided on."""
import io
import json
import tarfile
import time

import pytest

from conftest import Server
from surfaces import ALLOW_ALL, ROOT, Surfaces
from test_decided_bucket import BULK, TAGS, Slow

BUCKET = "seen"
LOCKED = b"<Tagging><TagSet><Tag><Key>lock</Key><Value>yes</Value></Tag></TagSet></Tagging>"
DENY = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Deny", "Principal": "*", "Action": ["s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectAcl", "s3:DeleteObject"],
     "Resource": f"arn:aws:s3:::{BUCKET}/*", "Condition": {"StringEquals": {"s3:ExistingObjectTag/lock": "yes"}}}]}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("decided-object") / "drive").wait_ready()
    surfaces = Surfaces(server)
    assert surfaces.s3(ROOT, "PUT", f"/{BUCKET}").status_code == 200
    assert surfaces.s3(ROOT, "PUT", f"/{BUCKET}?policy", json.dumps(DENY).encode()).status_code == 204
    yield server, surfaces, surfaces.user("writer", ALLOW_ALL)
    server.stop()


def lock(surfaces, key):
    # Root is denied too, but only where the tag is there already.
    assert surfaces.s3(ROOT, "PUT", f"/{BUCKET}/{key}?tagging", LOCKED).status_code == 200


def archive(name):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"evil"))
    return out.getvalue()


@pytest.mark.parametrize("name,method,subresource,body", [
    ("put", "PUT", "", b"written after the lock"),
    ("tags", "PUT", "tagging", TAGS),
])
def test_a_tag_that_comes_while_the_body_does_is_decided_on(world, name, method, subresource, body):
    server, surfaces, user = world
    assert surfaces.s3(ROOT, "PUT", f"/{BUCKET}/{name}", b"kept").status_code == 200
    request = Slow(server, user, method, f"/{BUCKET}/{name}", subresource, body)
    time.sleep(0.3)
    lock(surfaces, name)
    status, answer = request.end()
    assert status == 403 and b"AccessDenied" in answer, answer[:300]
    assert surfaces.s3(ROOT, "GET", f"/{BUCKET}/{name}").text == "kept"
    assert "lock" in surfaces.s3(ROOT, "GET", f"/{BUCKET}/{name}?tagging").text


def test_an_object_that_comes_while_the_body_does_is_decided_on(world):
    server, surfaces, user = world
    request = Slow(server, user, "PUT", f"/{BUCKET}/comes", "", b"written after the lock")
    time.sleep(0.3)
    headers = {"x-amz-tagging": "lock=yes"}
    assert surfaces.send(ROOT, "s3", "PUT", f"/{BUCKET}/comes", b"kept", headers).status_code == 200
    status, answer = request.end()
    assert status == 403 and b"AccessDenied" in answer, answer[:300]
    assert surfaces.s3(ROOT, "GET", f"/{BUCKET}/comes").text == "kept"


def test_a_list_of_deletes_is_decided_on_when_it_has_come(world):
    server, surfaces, user = world
    assert surfaces.s3(ROOT, "PUT", f"/{BUCKET}/secret", b"kept").status_code == 200
    request = Slow(server, user, "POST", f"/{BUCKET}", "delete", BULK)
    time.sleep(0.3)
    lock(surfaces, "secret")
    status, answer = request.end()
    assert status == 200 and b"AccessDenied" in answer, answer[:300]
    assert surfaces.s3(ROOT, "GET", f"/{BUCKET}/secret").text == "kept"


def test_a_change_that_decides_nothing_does_not_stop_a_request(world):
    server, surfaces, user = world
    assert surfaces.s3(ROOT, "PUT", f"/{BUCKET}/free", b"first").status_code == 200
    request = Slow(server, user, "PUT", f"/{BUCKET}/free", "", b"second or third")
    time.sleep(0.3)
    assert surfaces.s3(ROOT, "PUT", f"/{BUCKET}/free?tagging", TAGS).status_code == 200
    status, answer = request.end()
    assert status == 200, answer[:300]
    assert surfaces.s3(ROOT, "GET", f"/{BUCKET}/free").text == "second or third"


def test_an_entry_of_an_archive_is_decided_on_when_it_has_come(world):
    server, surfaces, user = world
    assert surfaces.s3(ROOT, "PUT", f"/{BUCKET}/entry", b"kept").status_code == 200
    body = archive("entry")
    request = Slow(server, user, "PUT", f"/{BUCKET}/archive.tar", "", body, {"x-amz-meta-snowball-auto-extract": "true"})
    request.socket.sendall(body[9:514])
    time.sleep(0.3)
    lock(surfaces, "entry")
    request.body = body[505:]
    status, answer = request.end()
    assert status == 403, answer[:300]
    assert surfaces.s3(ROOT, "GET", f"/{BUCKET}/entry").text == "kept"
