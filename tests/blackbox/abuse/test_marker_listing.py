"""A bucket full of delete markers can be listed: pages are short or empty, and every walk comes to an end."""
import time

import pytest

from conftest import Server

BUCKET, COUNT = "markers", 30_000
#: Keys that are there: before, among and behind the markers, also where markers look like common prefixes.
LIVE = ["k00000", "k15000/live", "k29999x", "z"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("markers") / "drive").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for first in range(0, COUNT, 1000):
        keys = [f"k{n:05}/" if n % 2 else f"k{n:05}" for n in range(first, first + 1000)]
        deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Quiet": True, "Objects": [{"Key": key} for key in keys]})
        assert "Errors" not in deleted
    for key in LIVE:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    yield server
    server.kill()


def walk(list_page, follow, pages_max=200):
    """The pages of a listing, as a client that follows the markers sees them."""
    pages, arguments = [], {}
    while True:
        began = time.monotonic()
        pages.append(list_page(Bucket=BUCKET, **arguments))
        assert time.monotonic() - began < 5
        if not pages[-1]["IsTruncated"]:
            return pages
        assert len(pages) < pages_max, "a listing without an end"
        following = follow(pages[-1])
        assert following != arguments, "a listing that does not advance"
        arguments = following


def names(pages):
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return keys + [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]


def v2(page):
    return {"ContinuationToken": page["NextContinuationToken"]}


def v1(page):
    return {"Marker": page.get("NextMarker") or page["Contents"][-1]["Key"]}


def by(list_page, **fixed):
    return lambda **arguments: list_page(**fixed, **arguments)


def test_objects_among_markers_are_found_and_each_walk_ends(server):
    s3 = server.client()
    for page_of, follow in ((s3.list_objects_v2, v2), (s3.list_objects, v1)):
        pages = walk(page_of, follow)
        assert sorted(names(pages)) == sorted(LIVE)
        # Work is bounded: not all of it was done for one page.
        assert len(pages) > 1
        pages = walk(by(page_of, Delimiter="/"), follow)
        assert sorted(names(pages)) == ["k00000", "k15000/", "k29999x", "z"]
        pages = walk(by(page_of, Delimiter="/", MaxKeys=1), follow)
        assert sorted(names(pages)) == ["k00000", "k15000/", "k29999x", "z"]
        assert names(walk(by(page_of, Prefix="k2999"), follow)) == ["k29999x"]


def test_paginators_of_boto3_end(server):
    s3 = server.client()
    for operation in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(operation).paginate(Bucket=BUCKET)
        assert sorted(names(list(pages))) == sorted(LIVE)


def test_every_marker_is_listed_among_the_versions(server):
    s3 = server.client()

    def follow(page):
        return {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    pages = walk(s3.list_object_versions, follow)
    markers = [entry["Key"] for page in pages for entry in page.get("DeleteMarkers", [])]
    assert len(markers) == len(set(markers)) == COUNT
    assert sorted(entry["Key"] for page in pages for entry in page.get("Versions", [])) == sorted(LIVE)


def test_a_page_behind_many_newer_versions_of_a_key_costs_no_more_than_the_first(server):
    s3, versions = server.client(), []
    for _ in range(10):
        deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "same"}] * 1000})
        versions += [entry["DeleteMarkerVersionId"] for entry in deleted["Deleted"]]
    old = versions[3]
    page = s3.list_object_versions(Bucket=BUCKET, Prefix="same", KeyMarker="same", VersionIdMarker=old)
    assert [entry["VersionId"] for entry in page["DeleteMarkers"]] == versions[2::-1]
    assert not page["IsTruncated"]
