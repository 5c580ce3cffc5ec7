"""A server on several drives, with a record of what its clients were promised."""
import json
import pathlib
import random
import shutil
import subprocess
import time

import pytest

from conftest import BINARY, PASSWORD, USER, Server

SIZES = [0, 1, 1000, 1025, 4096, 4097, 60_000, 131_072, 131_073, 200_000, 600_000, 1 << 20, 5_000_000, 9_000_001]
BUCKET = "wall"


class Wall:
    """A server on some directories, and what its clients were promised."""

    def __init__(self, folder, count=6, zones=("",)):
        self.folder, self.server, self.bodies, self.random = pathlib.Path(folder), None, {}, random.Random(7)
        self.directories = [self.folder / f"d{n}" for n in range(1, count + 1)]
        self.zones = zones

    def start(self, *arguments, wait=True, env=None):
        names = []
        for number, path in enumerate(self.directories):
            zone = self.zones[number % len(self.zones)]
            names.append(f"{zone}={path}" if zone else str(path))
        more = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, **env} if env else None
        self.server = Server(names[0], *names[1:], *arguments, env=more)
        return self.server.wait_ready() if wait else self.server

    def stop(self):
        code, log = self.server.stop()
        assert code == 0, log
        return log

    def client(self, **config):
        return self.server.client(**config)

    def fill(self, sizes=SIZES, name="k"):
        s3 = self.client()
        if not self.bodies:
            s3.create_bucket(Bucket=BUCKET)
        for number, size in enumerate(sizes):
            key = f"{name}{number}"
            self.bodies[key] = self.random.randbytes(size)
            s3.put_object(Bucket=BUCKET, Key=key, Body=self.bodies[key])

    def check(self):
        s3 = self.client()
        for key, body in self.bodies.items():
            assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body, key
            if len(body) > 10:
                first, last = len(body) // 3, len(body) * 2 // 3
                part = s3.get_object(Bucket=BUCKET, Key=key, Range=f"bytes={first}-{last}")["Body"].read()
                assert part == body[first:last + 1], key
        listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
        assert sorted(listed) == sorted(self.bodies)

    def command(self, *arguments, ok=True):
        at = next(path for path in self.directories if (path / "admin.sock").exists())
        done = subprocess.run([BINARY, *map(str, arguments), "--at", at, "--json"], capture_output=True, text=True, timeout=120)
        if ok:
            assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else done.stderr

    def status(self):
        return self.command("status")["status"]

    def wait_whole(self, timeout=30):
        """Until every shard is where it should be and as many drives hold the catalog as should."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            status = self.status()
            holders = sum(drive["holds_catalog"] for drive in status["drives"])
            if status["is_whole"] and holders == min(len(self.directories), status["survives"] + 1):
                return status
            time.sleep(0.2)
        raise AssertionError(f"not whole: {status}")

    def fsck(self):
        done = subprocess.run([BINARY, "fsck", "--json", *map(str, self.directories)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def wall(tmp_path):
    made = []

    def build(**how):
        made.append(Wall(tmp_path, **how))
        return made[-1]

    yield build
    for each in made:
        if each.server and each.server.process.poll() is None:
            each.server.kill()


def pull(path):
    shutil.move(path, path.with_suffix(".out"))
