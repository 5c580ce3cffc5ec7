"""What lists of buckets hold, and that they are whole."""
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.credentials import Credentials

from conftest import Server
from people import allow, service, signed, user_with
from pressure import MIB, watched
from surfaces import ROOT, Surfaces

COUNT = 300
NAMES = [f"b-{number:06}" for number in range(COUNT)]
#: As much as a bucket may have of tags: some 78 KB.
TAGS = "".join(f"<Tag><Key>{'𐐀' * 124}{n:02}</Key><Value>{'𐐀' * 256}</Value></Tag>" for n in range(50))
TAGGED = f"<CreateBucketConfiguration><Tags>{TAGS}</Tags></CreateBucketConfiguration>".encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("buckets") / "drive", "--memory-budget", "64MiB").wait_ready()
    maker = user_with(server, allow("s3:CreateBucket", "s3:TagResource"))
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda name: signed(server, "PUT", f"/{name}", TAGGED, key=maker).status_code, NAMES))
    assert set(made) == {200}
    yield server
    server.kill()


def walk(s3, **parameters):
    """The names on each page."""
    pages, token = [], {}
    while True:
        page = s3.list_buckets(**parameters, **token)
        pages.append([bucket["Name"] for bucket in page["Buckets"]])
        if "ContinuationToken" not in page:
            return pages
        token = {"ContinuationToken": page["ContinuationToken"]}


def test_lists_hold_what_they_answer(server):
    """Goal: no list holds the tags of the buckets. Method: a user who sees all, and one who sees each by a decision
    of its own, list on several connections; so does `accountinfo`, which anybody may ask for."""
    seeing = user_with(server, allow("s3:ListAllMyBuckets"))
    deciding = user_with(server, allow("s3:ListBucket"))
    surfaces = Surfaces(server)

    def ask(number):
        if number % 3 == 2:
            return surfaces.minio(Credentials(*deciding), "GET", "accountinfo").text.count('"name"')
        return signed(server, "GET", "/", key=(seeing, deciding)[number % 3]).text.count("<Name>")

    # What the caches of rows hold is bounded by themselves.
    assert [ask(number) for number in range(3)] == [COUNT] * 3
    with watched(server) as watch, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(18)))
    assert answers == [COUNT] * 18
    # Lists that held the tags would hold 23 MB each, and four run at once; the rest is what the allocator keeps.
    assert watch.grown < 48 * MIB, watch.grown
    assert not watch.failed and watch.waited < 3, (watch.failed, watch.waited)


def test_pages_are_whole(server):
    """Method: pages of several sizes, for a user who sees all, for one who sees a few among many, and by a prefix."""
    seeing = service(server, "s3", user_with(server, allow("s3:ListAllMyBuckets")))
    assert sum(walk(seeing), []) == NAMES and len(walk(seeing)) == 1
    for size in (1, 7, COUNT):
        pages = walk(seeing, MaxBuckets=size, Prefix="b-00000")
        assert sum(pages, []) == NAMES[:10] and max(map(len, pages)) == min(size, 10)
    assert sum(walk(seeing, MaxBuckets=299), []) == NAMES
    some = [f"b-0001{n}0" for n in range(10)] + ["b-000299"]
    few = service(server, "s3", user_with(server, allow("s3:ListBucket", resource=[f"arn:aws:s3:::{b}" for b in some])))
    assert sum(walk(few), []) == some
    assert walk(few, MaxBuckets=4) == [some[:4], some[4:8], some[8:]]
    assert walk(seeing, BucketRegion="eu-west-7") == [[]]


def test_the_administration_sums_all(server):
    surfaces = Surfaces(server)
    usage = json.loads(surfaces.minio(ROOT, "GET", "datausageinfo").text)
    assert usage["bucketsCount"] == COUNT and sorted(usage["bucketsUsageInfo"]) == NAMES
    info = json.loads(surfaces.minio(ROOT, "GET", "info").text)
    assert info["buckets"] == {"count": COUNT}
