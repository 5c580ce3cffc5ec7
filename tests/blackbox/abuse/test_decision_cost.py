"""What one decision may cost, and which headers are facts of which operations (findings F14 and F28)."""
import base64
import hashlib
import itertools
import json
import string
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from people import allow, deny
from surfaces import ROOT, Surfaces

TAGGING = "x-amz-tagging"
SSE = "x-amz-server-side-encryption"
HEADERS = {
    TAGGING: ("s3:RequestObjectTag/team", "team=blue", "blue"),
    SSE: ("s3:x-amz-server-side-encryption", "AES256", "AES256"),
    "x-amz-acl": ("s3:x-amz-acl", "private", "private"),
    "x-amz-storage-class": ("s3:x-amz-storage-class", "STANDARD", "STANDARD"),
    "x-amz-object-lock-mode": ("s3:object-lock-mode", "GOVERNANCE", "GOVERNANCE"),
    "x-amz-object-lock-legal-hold": ("s3:object-lock-legal-hold", "ON", "ON"),
    "x-amz-website-redirect-location": ("s3:x-amz-website-redirect-location", "/x", "/x"),
    "x-amz-metadata-directive": ("s3:x-amz-metadata-directive", "COPY", "COPY"),
    "if-none-match": ("s3:if-none-match", '"x"', '"x"'),
}
OPERATIONS = [("GET", "/data/k"), ("HEAD", "/data/k"), ("DELETE", "/data/k"), ("GET", "/data?list-type=2"),
              ("GET", "/data?versions"), ("GET", "/data/k?tagging"), ("DELETE", "/data/k?tagging"), ("GET", "/data?policy")]


def bulk(count):
    text = "<Delete>" + "".join(f"<Object><Key>{n}</Key></Object>" for n in range(count)) + "</Delete>"
    return text.encode()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    from conftest import PASSWORD, USER, Server
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD}
    server = Server(tmp_path_factory.mktemp("cost") / "drive", env=env).wait_ready()
    surfaces = Surfaces(server)
    assert surfaces.s3(ROOT, "PUT", "/data").status_code == 200
    assert surfaces.s3(ROOT, "PUT", "/data/k", b"x").status_code == 200
    yield surfaces
    server.kill()


def s3(surfaces, who, method, path, headers, data=b""):
    return surfaces.send(who, "s3", method, path, data, headers)


def test_headers_are_facts_of_the_operations_that_take_them(world):
    """Goal: an allow that asks for a header lets nothing pass to which that header means nothing. Method: each header
    that is a condition key, on operations that do not take it."""
    who = world.user("sender")
    for header, (key, sent, value) in HEADERS.items():
        world.allow("sender", allow("s3:*", StringEquals={key: value}))
        for method, path in OPERATIONS:
            answer = s3(world, who, method, path, {header: sent})
            assert answer.status_code == 403, (header, method, path, answer.text)
    # Where it means something it counts.
    world.allow("sender", allow("s3:*", StringEquals={"s3:RequestObjectTag/team": "blue"}))
    assert s3(world, who, "PUT", "/data/tagged", {TAGGING: "team=blue"}, b"x").status_code == 200
    assert s3(world, who, "PUT", "/data/tagged", {TAGGING: "team=red"}, b"x").status_code == 403
    # Parameters of listings are facts of listings.
    world.allow("sender", allow("s3:*", StringEquals={"s3:prefix": "home/"}))
    assert s3(world, who, "GET", "/data?list-type=2&prefix=home%2F", {}).status_code == 200
    assert s3(world, who, "GET", "/data?policy&prefix=home%2F", {}).status_code == 403


def test_more_tags_than_there_can_be_are_refused_before_a_decision(world):
    patterns = ["*" + a + b for a, b in itertools.product(string.ascii_uppercase, repeat=2)]
    who = world.user("tagger")
    condition = {"ForAnyValue:StringLike": {"s3:RequestObjectTagKeys": patterns}}
    world.allow("tagger", allow("s3:*"), deny("s3:*", **condition))
    for method, path, data in [("PUT", "/data/x", b"x"), ("POST", "/data/x?uploads", b"")]:
        answer = s3(world, who, method, path, {TAGGING: "&".join("a" for _ in range(15_000))}, data)
        assert (answer.status_code, "BadRequest" in answer.text) == (400, True), answer.text
    tags = "".join(f"<Tag><Key>k{n}</Key><Value>v</Value></Tag>" for n in range(60))
    body = f"<Tagging><TagSet>{tags}</TagSet></Tagging>".encode()
    for path in ("/data/k?tagging", "/data?tagging"):
        md5 = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
        answer = s3(world, who, "PUT", path, md5, body)
        assert (answer.status_code, "BadRequest" in answer.text) == (400, True), answer.text


def test_a_header_that_means_nothing_costs_nothing(world):
    """Method: a bulk delete with 15,000 tags in its header, on a policy with a thousand patterns. Unfixed, each key
    takes seconds."""
    patterns = ["*" + a + b for a, b in itertools.product(string.ascii_uppercase + string.digits, repeat=2)]
    who = world.user("bulk")
    condition = {"ForAnyValue:StringLike": {"s3:RequestObjectTagKeys": patterns}}
    world.allow("bulk", allow("s3:*"), deny("s3:*", **condition))
    body = bulk(40)
    headers = {TAGGING: "&".join("a" for _ in range(15_000)), "content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
    begun = time.time()
    answer = s3(world, who, "POST", "/data?delete", headers, body)
    assert answer.status_code == 200 and answer.text.count("<Deleted>") == 40, answer.text[:300]
    assert time.time() - begun < 10


def test_what_a_decision_costs_is_bounded(world):
    """Method: patterns that are slow to compare, on a long value. Unfixed, the decision takes its time and allows."""
    assert world.s3(ROOT, "PUT", "/costly").status_code == 200
    assert world.s3(ROOT, "PUT", "/costly/k", b"x").status_code == 200
    patterns = [f"*?{n}z*" for n in range(1500)]
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::costly/*",
                 "Condition": {"StringLike": {"aws:UserAgent": patterns}}}
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":")).encode()
    assert world.s3(ROOT, "PUT", "/costly?policy", text).status_code == 204
    who = world.user("reader", allow("s3:*"))
    assert s3(world, who, "GET", "/costly/k", {"user-agent": "short"}).status_code == 200
    answer = s3(world, who, "GET", "/costly/k", {"user-agent": "y" * 2000})
    assert answer.status_code == 403, answer.text


def test_bulk_decisions_of_one_caller_do_not_hold_up_those_of_others(world):
    """Goal: callers take turns at decisions. Method: one sends 24 bulk deletes at once, another sends one like them; how
    many of the 24 are answered meanwhile. Where all take turns alike, it is all of them."""
    patterns = [f"*?{n}z*" for n in range(120)]
    statement = deny("s3:DeleteObject", StringLike={"aws:UserAgent": patterns})
    flooder = world.user("flooder", allow("s3:*"), statement)
    other = world.user("patient", allow("s3:*"), statement)

    def delete(who, count):
        body = bulk(count)
        headers = {"user-agent": "y" * 200, "content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
        answer = s3(Surfaces(world.server), who, "POST", "/data?delete", headers, body)
        assert answer.status_code == 200 and answer.text.count("<Deleted>") == count, answer.text[:300]
        return time.monotonic()

    # As many keys as take a tenth of a second, however fast the build is.
    begun = time.monotonic()
    count = max(30, min(900, int(30 * 0.1 / (delete(other, 30) - begun))))
    with ThreadPoolExecutor(24) as pool:
        floods = [pool.submit(delete, flooder, count) for _ in range(24)]
        time.sleep(0.1)
        begun = time.monotonic()
        ended = delete(other, count)
        meanwhile = sum(begun < flood.result() <= ended for flood in floods)
        left = sum(flood.result() > ended for flood in floods)
    assert left > meanwhile, (left, meanwhile)
