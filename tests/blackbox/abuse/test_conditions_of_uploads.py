"""A policy that demands or denies what is said of a new object counts for each request of an upload, by what it was initiated with."""
import pytest

from people import allow, deny
from test_headers_of_conditions import CUSTOMER, LOCKS, SENT, World

TAGS = {"x-amz-tagging": "team=red"}
LISTS = [name for name in SENT if name == "x-amz-acl" or name.startswith("x-amz-grant-")]
OTHERS = ["x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-algorithm", "x-amz-storage-class",
          "x-amz-website-redirect-location"]


def key_of(header):
    return "s3:" + (header.removeprefix("x-amz-") if header in LOCKS else header)


CASES = {header: (key_of(header), SENT[header][header], SENT[header]) for header in [*LISTS, *OTHERS, *LOCKS]}
CASES["tag"] = ("s3:RequestObjectTag/team", "red", TAGS)
CASES["tag of an encrypted object"] = ("s3:RequestObjectTag/team", "red", TAGS | {"x-amz-server-side-encryption": "AES256"})
CASES["redirect of an encrypted object"] = ("s3:x-amz-website-redirect-location", "/elsewhere",
                                            {"x-amz-website-redirect-location": "/elsewhere", "x-amz-server-side-encryption": "AES256"})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("uploads"))
    yield world
    world.server.stop()


def steps(world, path, upload, sent, key=None):
    """The answers to a part, a copied part and the completion of it. The last one is sent twice, as clients do that lost an answer."""
    customer = {name: value for name, value in sent.items() if name in CUSTOMER}
    query = f"{path}?partNumber=1&uploadId={upload}"
    copied = world.ask("PUT", query, b"", {"x-amz-copy-source": "data/source", **customer}, key).status_code
    part = world.ask("PUT", query, b"bytes", customer, key)
    tag = part.headers.get("ETag") or world.ask("PUT", query, b"bytes", customer).headers["ETag"]
    body = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>".encode()
    done = [world.ask("POST", f"{path}?uploadId={upload}", body, customer, key).status_code for _ in range(2)]
    return [copied, part.status_code, *done]


@pytest.mark.parametrize("case", CASES)
def test_what_is_demanded_was_said_at_the_start(world, case):
    key, value, sent = CASES[case]
    bucket = "locked" if "lock" in case else "data"
    world.policy(allow("*"), deny("s3:PutObject", StringNotEquals={key: value}))
    path = f"/{bucket}/{world.new()}"
    assert world.ask("POST", f"{path}?uploads", b"", None, world.key).status_code == 403
    begun, upload = world.upload(path, sent, world.key)
    assert begun.status_code == 200, begun.text
    assert steps(world, path, upload, sent, world.key) == [200] * 4
    # One that the owner began without it is none of theirs.
    begun, upload = world.upload(path)
    assert begun.status_code == 200
    assert steps(world, path, upload, {}, world.key) == [403] * 4


@pytest.mark.parametrize("case", CASES)
def test_what_is_denied_is_denied_to_each_part(world, case):
    key, value, sent = CASES[case]
    bucket = "locked" if "lock" in case else "data"
    world.policy(allow("*"), deny("s3:PutObject", StringEquals={key: value}))
    path = f"/{bucket}/{world.new()}"
    begun, upload = world.upload(path, sent)
    assert begun.status_code == 200
    assert steps(world, path, upload, sent, world.key) == [403] * 4
    begun, upload = world.upload(path, None, world.key)
    assert begun.status_code == 200
    assert steps(world, path, upload, {}, world.key) == [200] * 4


@pytest.mark.parametrize("name", [*LISTS, "x-amz-storage-class", "x-amz-website-redirect-location", *LOCKS, "x-amz-tagging"])
def test_a_part_cannot_say_it_later(world, name):
    """A header that a part does not read is not what the upload was initiated with."""
    key = "s3:RequestObjectTag/team" if name == "x-amz-tagging" else key_of(name)
    headers = TAGS if name == "x-amz-tagging" else SENT[name]
    value = "red" if name == "x-amz-tagging" else headers[name]
    world.policy(allow("*"), deny("s3:PutObject", StringNotEquals={key: value}))
    path = f"/data/{world.new()}"
    _, upload = world.upload(path)
    assert world.ask("PUT", f"{path}?partNumber=1&uploadId={upload}", b"bytes", headers, world.key).status_code == 403


def test_what_a_part_replaces_is_not_looked_at(world):
    """Conditions of a write are sent with the completion."""
    world.policy(allow("*"), deny("s3:PutObject", StringNotEquals={"s3:if-none-match": "*"},
                                         Bool={"s3:ObjectCreationOperation": "true"}))
    path = f"/data/{world.new()}"
    _, upload = world.upload(path, None, world.key)
    assert steps(world, path, upload, {}, world.key) == [200, 200, 403, 403]
