"""A start costs nothing: the drives do not grow with the number of starts."""
import os
import pathlib

import pytest
import requests

from conftest import PASSWORD, USER

SEGMENT = 8 << 20
STARTS = 20


def size(directory):
    """Bytes that the files of a directory take, as `du` counts them."""
    return sum(path.stat().st_blocks * 512 for path in pathlib.Path(directory).rglob("*") if path.is_file())


def touch(server, number):
    client = server.client()
    for key, length in (("small", 100), ("large", 300_000)):
        body = bytes([number]) * length
        client.put_object(Bucket="starts", Key=key, Body=body)
        assert client.get_object(Bucket="starts", Key=key)["Body"].read() == body


@pytest.mark.parametrize("drives", [1, 6])
@pytest.mark.parametrize("writes", [False, True])
def test_starts_cost_less_than_a_segment(start, tmp_path, drives, writes):
    """Some are ended cleanly, some killed; after the first, which makes spares, no drive grows by a segment."""
    paths = [tmp_path / f"d{number}" for number in range(drives)]

    def begin():
        return start(*paths[1:], directory=paths[0])

    server = begin()
    server.client().create_bucket(Bucket="starts")
    touch(server, 0)
    server.kill()
    server = begin()
    server.stop()
    before = [size(path) for path in paths]
    for number in range(1, STARTS + 1):
        server = begin()
        if writes and number % 4 == 0:
            touch(server, number)
        if number % 2:
            server.kill()
        else:
            assert server.stop()[0] == 0
    grown = [size(path) - was for path, was in zip(paths, before)]
    assert max(grown) < SEGMENT, f"the drives grew by {grown} bytes in {STARTS} starts"
    server = begin()
    last = STARTS // 4 * 4 if writes else 0
    body = server.client().get_object(Bucket="starts", Key="large")["Body"].read()
    assert body == bytes([last]) * 300_000


def test_spares_count_as_free(start, tmp_path):
    """What a start lays aside can be used: in use are only the segments that hold something."""
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "MINIO_PROMETHEUS_AUTH_TYPE": "public"}
    server = start(directory=tmp_path / "drive", env=env)
    lines = requests.get(f"{server.url}/minio/v2/metrics/cluster", timeout=5).text.splitlines()
    space = {line.split('"')[1]: int(line.split()[-1]) for line in lines if line.startswith("drystone_space_bytes{")}
    disk = os.statvfs(tmp_path / "drive")
    spares = len(list((tmp_path / "drive").glob("seg-*.log"))) * SEGMENT - space["used"]
    assert spares == 2 * SEGMENT
    # Others write to the same file system at the same time.
    assert abs(space["free"] - disk.f_bavail * disk.f_frsize - spares) < SEGMENT
