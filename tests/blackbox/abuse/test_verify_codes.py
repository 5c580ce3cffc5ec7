"""`drystone verify` says by its exit code what it found and did not repair, as text and as JSON."""
import json

import pytest

from conftest import drystone
from wall import BUCKET, pull, wall  # noqa: F401


def verify(six, code, *arguments):
    """Runs it both ways, unless it changes something; returns what it said."""
    where = ["--at", next(path for path in six.directories if (path / "admin.sock").exists())]
    done = drystone("verify", *arguments, *where, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    if "--repair" not in arguments:
        text = drystone("verify", *arguments, *where)
        assert text.returncode == code, text.stdout + text.stderr
        return json.loads(done.stdout)["verification"], text.stdout
    return json.loads(done.stdout)["verification"], ""


def spoil(six, directories):
    """Inverts bytes within the shards of some drives."""
    for path in directories:
        for segment in sorted(path.glob("seg-*")):
            data = bytearray(segment.read_bytes())
            for at in range(100_000, len(data), 50_000):
                data[at] ^= 1
            segment.write_bytes(data)


@pytest.fixture
def six(wall):
    made = wall()
    made.start("--scrub-every", "off")
    made.fill([500, 700_000, 5_000_000])
    made.wait_whole()
    return made


def test_what_is_damaged_and_not_repaired_is_said_by_the_exit_code(six):
    found, text = verify(six, 0)
    assert found["damaged"] + found["missing"] + found["unreachable"] == 0 and "every object can be read" in text
    holders = {drive["path"] for drive in six.status()["drives"] if drive["holds_catalog"]}
    others = [path for path in six.directories if str(path) not in holders]
    six.stop()
    spoil(six, others[:1])
    six.start("--scrub-every", "off")
    found, text = verify(six, 3)
    assert found["damaged"] + found["missing"] > 0 and found["lost_count"] == 0 and "every object can be read" in text
    found, _ = verify(six, 0, "--repair")
    assert found["repaired"] == found["damaged"] + found["missing"] > 0
    verify(six, 0)
    six.stop()
    pull(others[0])
    six.start("--scrub-every", "off")
    assert verify(six, 3)[0]["unreachable"] > 0
    six.stop()
    spoil(six, others[1:3])
    six.start("--scrub-every", "off")
    found, text = verify(six, 4)
    assert found["lost_count"] > 0 and "LOST" in text
    six.stop()


def test_what_is_not_there_is_not_taken_for_whole(six):
    at = ["--at", six.directories[0]]
    for scope in ("no-such-bucket", "no-such-bucket/prefix"):
        for more in ([], ["--json"], ["--repair"]):
            done = drystone("verify", scope, *more, *at)
            assert done.returncode == 1 and "bucket" in done.stderr and not done.stdout, done
    found, text = verify(six, 0, f"{BUCKET}/no-such-prefix")
    assert found["objects"] == 0 and text.startswith("nothing was looked at")
    assert not verify(six, 0, f"{BUCKET}/k1")[1].startswith("nothing")
    assert drystone("verify", "--no-such-option", *at).returncode == 2
