"""What the store does by itself: scrubs, metrics of each drive, and nothing when there is nothing to do."""
import re
import time
import urllib.request

import pytest

from wall import BUCKET, wall  # noqa: F401


def metrics(server):
    with urllib.request.urlopen(f"{server.url}/minio/v2/metrics/cluster", timeout=10) as answer:
        text = answer.read().decode()
    found = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"(\w+)(\{.*\})? (\S+)", line):
            found[match[1] + (match[2] or "")] = float(match[3])
    return found


def flip(path, at, count):
    """Inverts bytes of a file in place, where the device has them."""
    with open(path, "r+b") as file:
        file.seek(at)
        bytes_there = file.read(count)
        file.seek(at)
        file.write(bytes(byte ^ 0xFF for byte in bytes_there))
    return bytes_there


def wait_for(condition, what, timeout=60):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.3)
    raise AssertionError(f"{what} has not come about")


def scrubbed(wall, path):
    """What the last whole pass over a drive found."""
    drive = next(drive for drive in wall.status()["drives"] if drive["path"] == str(path))
    return drive["scrub"] if drive["scrub"]["finished_ms"] else None


def test_a_scrub_finds_what_nobody_has_read_and_gives_it_back(wall):
    six = wall()
    six.start("--segment-size", "1MiB", "--scrub-every", "off")
    six.fill([3_000_000, 20_000, 120_000, 5_000_000, 60_000, 1 << 20])
    six.stop()
    damaged = six.directories[3]
    segments = sorted(damaged.glob("seg-*.log"))
    hit = 0
    for segment in segments:
        content = segment.read_bytes()
        # The middle of what was written, and of what was written before that.
        end = len(content.rstrip(b"\0"))
        if end > 100_000:
            flip(segment, end // 2, 40)
            flip(segment, end // 5, 3)
            hit += 1
    assert hit > 2
    six.start("--segment-size", "1MiB", "--scrub-every", "1s", env={"DRYSTONE_PROMETHEUS_AUTH_TYPE": "public"})
    found = wait_for(lambda: (s := scrubbed(six, damaged)) and s["damaged"] and s, "a scrub")
    assert found["repaired"] == found["damaged"] >= hit
    values = wait_for(lambda: (m := metrics(six.server)).get("drystone_survives_drives") and m, "metrics")
    label = f'drive="{damaged}"'
    assert values[f'drystone_scrub_finished_seconds{{{label}}}'] > time.time() - 600
    assert values[f"drystone_drive_up{{{label}}}"] == 1
    assert values['drystone_background_bytes_total{work="scrub"}'] > 1_000_000
    assert values["drystone_survives_drives"] == 2
    six.stop()
    # Read all of it from the devices, by object: nothing is damaged any more.
    six.start("--scrub-every", "off")
    state = six.command("verify")["verification"]
    assert (state["damaged"], state["missing"], state["lost_count"]) == (0, 0, 0)
    six.check()


def test_a_scrub_of_one_drive_tells_what_is_lost(wall):
    one = wall(count=1)
    one.start("--segment-size", "1MiB", "--scrub-every", "off")
    one.fill([900_000] * 4)
    one.stop()
    body = one.bodies.pop("k2")
    segment = next(path for path in one.directories[0].glob("seg-*.log") if body[-100_000:] in path.read_bytes())
    flip(segment, segment.read_bytes().index(body[-100_000:]) + 50_000, 8)
    one.start("--segment-size", "1MiB", "--scrub-every", "1s")
    found = wait_for(lambda: scrubbed(one, one.directories[0]), "a scrub")
    assert (found["damaged"], found["repaired"]) == (1, 0)
    assert "a damaged shard cannot be rebuilt" in one.stop()
    one.start("--scrub-every", "off")
    with pytest.raises(Exception, match="InternalError|IncompleteRead|broken|prematurely|Connection"):
        one.client().get_object(Bucket=BUCKET, Key="k2")["Body"].read()


def io_of(server):
    text = open(f"/proc/{server.process.pid}/io").read()
    return {name: int(value) for name, value in re.findall(r"(\w+): (\d+)", text)}


@pytest.mark.parametrize("count", [1, 6])
def test_an_idle_store_touches_no_device(wall, count):
    store = wall(count=count)
    store.start()
    store.fill([100, 5000, 200_000, 3_000_000])
    s3 = store.client()
    s3.delete_object(Bucket=BUCKET, Key="k3")
    # The mark that follows the last batch, the sweep of what was deleted, and a floor after that.
    time.sleep(8)
    before = io_of(store.server)
    time.sleep(20)
    after = io_of(store.server)
    assert after["write_bytes"] == before["write_bytes"]
    assert after["read_bytes"] == before["read_bytes"]
    assert after["syscw"] - before["syscw"] < 300, "only threads that wake each other"
