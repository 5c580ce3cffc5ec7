"""A user who sends an archive slowly shuts out no archive of others, however it is packed."""
import bz2
import contextlib
import gzip
import http.client
import io
import itertools
import os
import tarfile
import time

import pyarrow
import pytest
from botocore.credentials import Credentials
from conftest import Server
from people import allow, service, user_with
from raw import Signer
from test_fair_shares import Drips

METADATA = {"snowball-auto-extract": "true"}
EXTRACT = {"x-amz-meta-snowball-auto-extract": "true"}


def tar(size):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("file")
        entry.size = size
        archive.addfile(entry, io.BytesIO(os.urandom(size)))
    return out.getvalue()


def zstd(body, level):
    return pyarrow.Codec("zstd", compression_level=level).compress(body, asbytes=True)


PACK = {"plain": lambda body: body, "gzip": gzip.compress, "bzip2": bz2.compress, "zstd": lambda body: zstd(body, 3),
        "zstd with a long window": lambda body: zstd(body, 19)}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("slow") / "drive").wait_ready()
    server.client().create_bucket(Bucket="good")
    yield server
    server.stop()


class Archive(Drips):
    """Sends some KiB each second, above the rate at which a client is let go when nobody waits."""

    def drip(self):
        while not self.stop.wait(0.25):
            for sock in self.socks:
                with contextlib.suppress(OSError):
                    self.rest = self.rest[sock.send(self.rest[:1500]):]


@pytest.mark.parametrize("kind", list(PACK))
def test_others_archives_go_on(server, kind):
    slow, other = (user_with(server, allow("s3:*")) for _ in range(2))
    body = PACK[kind](tar(16 << 20))
    with Archive(server) as drips:
        drips.rest = body[4096:]
        drips.open(Credentials(*slow), "/good/slow.tar", len(body), body[:4096], EXTRACT)
        time.sleep(1)
        for s3, packing in itertools.product([service(server, "s3", other), server.client()], PACK):
            begun = time.monotonic()
            s3.put_object(Bucket="good", Key="quick.tar", Body=PACK[packing](tar(1000)), Metadata=METADATA)
            assert time.monotonic() - begun < 5, packing
    assert server.client().get_object(Bucket="good", Key="file")["ContentLength"] == 1000


def test_a_slow_archive_that_nobody_waits_for_is_waited_for(server):
    body, host = PACK["bzip2"](tar(60_000)), f"127.0.0.1:{server.port}"
    target = Signer(*user_with(server, allow("s3:*"))).presigned("PUT", "/good/slow.tar", host, headers=EXTRACT)

    def pieces():
        for at in range(0, len(body), 3000):
            yield body[at:at + 3000]
            time.sleep(0.2)

    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("PUT", target, pieces(), {**EXTRACT, "content-length": str(len(body))})
    assert connection.getresponse().status == 200
