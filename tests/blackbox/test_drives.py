"""Several drives under one server: loss, rot, crashes, replacement; nothing acknowledged is ever lost."""
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import threading
import time

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import BINARY, PASSWORD, USER, Server, drystone
from wall import BUCKET, SIZES, Wall, pull, wall  # noqa: F401

def put_back(path):
    shutil.rmtree(path, ignore_errors=True)
    shutil.move(path.with_suffix(".out"), path)


def test_objects_of_all_sizes_survive_the_loss_of_any_two_of_six_drives(wall):
    six = wall()
    six.start()
    six.fill()
    six.check()
    assert six.status()["code"] == "4+2"
    six.stop()
    for lost in [(0, 1), (2, 3), (4, 5), (0, 5), (1, 4)]:
        for number in lost:
            pull(six.directories[number])
        six.start()
        six.check()
        status = six.status()
        assert status["survives_now"] == 0 and not status["is_whole"]
        assert sorted(d["state"] for d in status["drives"]) == ["missing"] * 2 + ["online"] * 4
        # What needs more drives than are there is refused before it is taken in; what does not is not.
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            six.client().put_object(Bucket=BUCKET, Key="large", Body=bytes(4 << 20))
        six.fill([500, 50_000], name=f"degraded{lost[0]}{lost[1]}-")
        six.check()
        six.stop()
        for number in lost:
            put_back(six.directories[number])
        six.start()
        six.check()
        six.wait_whole()
        six.stop()
    assert six.fsck()["counts"]["lacking_shards"] == 0


def test_three_lost_drives_are_a_refusal_that_names_them_and_no_wrong_bytes(wall):
    six = wall()
    six.start()
    six.fill([5_000_000])
    six.wait_whole()
    ids = {drive["path"]: drive["id"] for drive in six.status()["drives"]}
    holders = [pathlib.Path(d["path"]) for d in six.status()["drives"] if d["holds_catalog"]]
    others = [path for path in six.directories if path not in holders]
    six.stop()
    # Half of the drives and one that holds the catalog: it starts, and says what it cannot read.
    for path in others:
        pull(path)
    six.start()
    with pytest.raises(Exception):
        six.client().get_object(Bucket=BUCKET, Key="k0")["Body"].read()
    found = six.command("verify", ok=False)["verification"]
    assert found["lost_count"] == 1 and found["lost"] == [{"bucket": BUCKET, "key": "k0"}]
    six.stop()
    for path in others:
        put_back(path)
    for path in holders:
        pull(path)
    server = six.start(wait=False)
    assert server.process.wait(timeout=20) == 1
    message = server.process.stderr.read()
    assert "none of the drives that hold the catalog" in message and any(ids[str(path)] in message for path in holders)
    for path in holders:
        put_back(path)
    six.start()
    six.check()


def flip(path, random, count):
    """Flips bytes in the segments of a drive."""
    segments = [name for name in sorted(os.listdir(path)) if name.startswith("seg-")]
    for _ in range(count):
        with open(path / random.choice(segments), "r+b") as file:
            at = random.randrange(os.fstat(file.fileno()).st_size)
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ (1 << random.randrange(8))]))


def test_rot_on_two_drives_is_read_around_found_and_mended(wall):
    six = wall()
    six.start()
    six.fill()
    six.wait_whole()
    six.stop()
    for number in (1, 4):
        flip(six.directories[number], six.random, 400)
    six.start()
    six.check()
    first = six.command("verify", "--repair")["verification"]
    assert first["damaged"] + first["missing"] > 0, "the rot hit something"
    assert first["repaired"] == first["damaged"] + first["missing"] and first["lost_count"] == 0
    again = six.command("verify")["verification"]
    assert (again["damaged"], again["missing"], again["lost_count"]) == (0, 0, 0)
    six.stop()
    # What was repaired serves: the other four drives are not all needed any more.
    for number in (0, 5):
        pull(six.directories[number])
    six.start()
    six.check()


def test_damage_of_one_drive_is_mended_while_clients_read(wall):
    six = wall()
    six.start()
    six.fill([3_000_000] * 8)
    six.wait_whole()
    six.stop()
    flip(six.directories[3], six.random, 200)
    six.start()
    six.check()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        six.check()
        found = six.command("verify", BUCKET, ok=False)["verification"]
        # Parity that no one reads is found by the verification only.
        if found["damaged"] + found["missing"] == 0:
            break
        six.command("verify", "--repair")
    assert found["damaged"] + found["missing"] == 0


def test_a_drive_is_replaced_online_while_clients_write(wall):
    six = wall()
    six.start()
    six.fill()
    six.wait_whole()
    six.stop()
    gone = six.directories[2]
    shutil.rmtree(gone)
    six.start()
    stop, failures, writes = threading.Event(), [], []

    def write():
        s3, number = six.client(), 0
        while not stop.is_set():
            key, body = f"live{number % 20}", random.randbytes(300_000)
            try:
                s3.put_object(Bucket=BUCKET, Key=key, Body=body)
                six.bodies[key] = body
                writes.append(key)
            except Exception as error:
                failures.append(error)
                return
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    new = six.folder / "new"
    assert "there is no such directory" in six.command("drive", "replace", gone, new, ok=False)
    new.mkdir()
    (new / "mine").write_text("not yours")
    assert "not empty" in six.command("drive", "replace", gone, new, ok=False)
    assert (new / "mine").read_text() == "not yours" and os.listdir(new) == ["mine"]
    (new / "mine").unlink()
    assert "works: it stays" in six.command("drive", "replace", six.directories[0], new, ok=False)
    assert "no drive" in six.command("drive", "replace", "/nowhere", new, ok=False)
    six.command("drive", "replace", gone, new)
    six.directories[2] = new
    before, deadline = len(writes), time.monotonic() + 20
    while len(writes) < before + 30 and not failures and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(writes) >= before + 30
    stop.set()
    writer.join()
    assert not failures
    six.wait_whole()
    six.check()
    six.stop()
    for number in (0, 1):
        pull(six.directories[number])
    six.start()
    six.check()
    six.stop()
    # The old drive does not come back by itself.
    for number in (0, 1):
        put_back(six.directories[number])
    assert six.fsck()["counts"]["lacking_shards"] == 0


def test_a_reduced_class_has_one_parity_less_and_a_copy_to_standard_has_it_again(wall):
    six = wall()
    six.start()
    s3, body = six.client(), bytes(5_000_000)
    s3.create_bucket(Bucket=BUCKET)
    shards = lambda key: six.command("verify", f"{BUCKET}/{key}")["verification"]["shards"]
    for size, standard, reduced in [(5_000_000, 9, 7), (50_000, 3, 2)]:
        s3.put_object(Bucket=BUCKET, Key="standard", Body=body[:size])
        s3.put_object(Bucket=BUCKET, Key="reduced", Body=body[:size], StorageClass="REDUCED_REDUNDANCY")
        assert (shards("standard"), shards("reduced")) == (standard, reduced)
        source = {"Bucket": BUCKET, "Key": "reduced"}
        s3.copy_object(Bucket=BUCKET, Key="reduced", CopySource=source, StorageClass="STANDARD", MetadataDirective="REPLACE")
        assert shards("reduced") == standard, "STANDARD is never silently weaker"
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts", StorageClass="REDUCED_REDUNDANCY")["UploadId"]
    etag = s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=1, Body=body)["ETag"]
    s3.complete_multipart_upload(Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert shards("parts") == 7
    assert s3.get_object(Bucket=BUCKET, Key="parts")["Body"].read() == body


def held(path):
    """Bytes of shards that are alive on a drive, about: what its filesystem holds of it."""
    return sum(entry.stat().st_blocks * 512 for entry in os.scandir(path) if entry.name.startswith("seg-"))


def test_a_drive_is_added_and_another_drained_online(wall):
    six = wall()
    six.start()
    six.fill(SIZES * 2)
    six.wait_whole()
    new, old = six.folder / "d7", six.directories[0]
    new.mkdir()
    six.command("drive", "add", new)
    six.directories.append(new)
    six.fill(SIZES, name="while")
    deadline = time.monotonic() + 60
    while six.status()["moving"] and time.monotonic() < deadline:
        time.sleep(0.1)
    six.check()
    status = six.wait_whole()
    assert status["moving"] is None and len(status["drives"]) == 7 and held(new) > 8 << 20
    # The drive that the catalog is read from goes: the process takes it from another.
    pid = six.server.process.pid
    six.command("drive", "drain", old)
    deadline = time.monotonic() + 60
    while len(status["drives"]) == 7 and time.monotonic() < deadline:
        time.sleep(0.3)
        try:
            status = six.status()
        except (AssertionError, StopIteration):
            continue
    six.directories.remove(old)
    # It names itself the drive that its command line did not.
    command_line = pathlib.Path(f"/proc/{pid}/cmdline")
    while str(new) not in command_line.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    six.server.wait_ready()
    assert six.server.process.poll() is None and six.server.process.pid == pid
    status = six.wait_whole()
    assert str(old) not in [drive["path"] for drive in status["drives"]] and len(status["drives"]) == 6
    six.check()
    six.stop()
    shutil.rmtree(old)
    for path in six.directories[:2]:
        pull(path)
    six.start()
    six.check()
    six.stop()
    for path in six.directories[:2]:
        put_back(path)
    assert six.fsck()["counts"]["lacking_shards"] == 0


def settled(store, count, timeout=90):
    """Until so many drives are in the store and nothing moves."""
    deadline = time.monotonic() + timeout
    status = None
    while time.monotonic() < deadline:
        try:
            status = store.status()
            if status["moving"] is None and len(status["drives"]) == count and status["is_whole"]:
                return status
        except (AssertionError, StopIteration):
            # It starts again.
            pass
        time.sleep(0.2)
    raise AssertionError(f"not settled: {status}")


def upload(store, key, size):
    """An upload with one part, and what completes it."""
    s3, body = store.client(), store.random.randbytes(size)
    name = {"Bucket": BUCKET, "Key": key}
    name["UploadId"] = s3.create_multipart_upload(**name)["UploadId"]
    etag = s3.upload_part(**name, PartNumber=1, Body=body)["ETag"]

    def complete():
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        store.client().complete_multipart_upload(**name, MultipartUpload=parts)
        store.bodies[key] = body

    return complete


def test_a_store_of_one_drive_grows_to_six_while_it_is_used(wall):
    store = wall(count=1)
    store.start()
    store.fill()
    upload(store, "done", 6_000_000)()
    later = upload(store, "later", 6_000_000)
    s3 = store.client()
    s3.create_bucket(Bucket="versions")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket="versions", Key="v", Body=bytes([n]) * 300_000)["VersionId"] for n in range(3)]
    assert store.status()["survives_now"] == 0
    for count in range(2, 7):
        new = store.folder / f"d{count}"
        new.mkdir()
        store.command("drive", "add", new)
        store.directories.append(new)
        store.server.wait_ready()
        store.check()
        status = settled(store, count)
        store.check()
        assert status["survives_now"] == status["survives"] == min(count - 1, 2)
        store.fill([5000, 200_000], name=f"with{count}-")
    later()
    store.check()
    assert store.command("verify")["verification"]["missing"] == 0
    store.stop()
    # Only the first directory is named: the others are found.
    one, rest = store.directories[:1], store.directories[1:]
    store.directories = one
    store.start()
    assert len(store.status()["drives"]) == 6
    store.check()
    store.stop()
    # As many may be gone as it says: everything has the code of six drives, or what survives as much.
    for path in rest[:2]:
        pull(path)
    store.start()
    store.check()
    for number, version in enumerate(versions):
        got = store.client().get_object(Bucket="versions", Key="v", VersionId=version)["Body"].read()
        assert got == bytes([number]) * 300_000
    store.stop()
    for path in rest[:2]:
        put_back(path)
    store.directories = one + rest
    report = store.fsck()
    assert report["counts"]["lacking_shards"] == 0 and report["problems"] == []


def test_a_store_shrinks_below_what_its_objects_are_spread_over(wall):
    store = wall()
    store.start()
    store.fill()
    upload(store, "done", 6_000_000)()
    for count, code in [(5, "2+2"), (4, "2+2"), (3, "3 copies"), (2, "2 copies")]:
        old = store.directories[-1]
        store.command("drive", "drain", old)
        store.directories.remove(old)
        status = settled(store, count)
        assert status["code"] == code and status["survives_now"] == min(count - 1, 2)
        store.check()
        shutil.rmtree(old)
    assert "one drive would be left" in store.command("drive", "drain", store.directories[0], ok=False)
    store.stop()
    pull(store.directories[0])
    store.directories = store.directories[1:]
    store.start()
    store.check()


@pytest.mark.parametrize("count, by_itself", [(7, False), (7, True), (6, False)])
def test_a_drive_that_is_gone_is_given_up(wall, count, by_itself):
    store = wall(count=count)
    store.start()
    store.fill(SIZES * 2)
    store.wait_whole()
    assert "there and works" in store.command("drive", "remove", store.directories[-1], ok=False)
    store.stop()
    gone = store.directories[-1]
    pull(gone)
    store.start("--rehome-after", "2s" if by_itself else "off")
    store.check()
    if not by_itself:
        assert "is not here" in store.command("drive", "drain", gone, ok=False)
        store.command("drive", "remove", gone)
    for key in list(store.bodies)[::5]:
        store.client().delete_object(Bucket=BUCKET, Key=key)
        del store.bodies[key]
    status = settled(store, count - 1)
    assert status["survives_now"] == 2
    store.check()
    found = store.command("verify")["verification"]
    assert (found["missing"], found["unreachable"], found["lost_count"]) == (0, 0, 0)
    store.stop()
    # It comes back: it is not one of them any more.
    put_back(gone)
    store.start()
    store.check()
    assert len(store.status()["drives"]) == count - 1
    assert "taken out" in store.stop()


def stalled(store, work, timeout=30):
    """What the status says of work that does not get on; waits until it does."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = [entry for entry in store.status()["stalled"] if entry["work"] == work]
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"{work} is not said to be stalled: {store.status()}")


PUBLIC = {"DRYSTONE_PROMETHEUS_AUTH_TYPE": "public"}


def text_and_metrics(store):
    text = subprocess.run([BINARY, "status", "--at", store.directories[0]], capture_output=True, text=True, timeout=60)
    assert text.returncode == 0, text.stderr
    return text.stdout, requests.get(f"{store.server.url}/minio/v2/metrics/cluster", timeout=10).text


def test_the_status_says_why_a_drive_that_is_gone_is_not_given_up(wall):
    six = wall()
    six.start()
    assert six.status()["stalled"] == []
    six.stop()
    gone = six.directories[-1]
    pull(gone)
    # It is known long before the time has come.
    six.start("--rehome-after", "1h", env=PUBLIC)
    found = stalled(six, "give-up")
    assert found["drive"] == str(gone) and found["obstacle"] == {"too-few-drives": {"needed": 6, "there": 5}}
    assert "drystone drive replace" in found["advice"] and found["tries"] >= 1
    text, metrics = text_and_metrics(six)
    assert re.search(f"STUCK since .*{gone} is gone and cannot be given up: .* 5 are left, .* over 6", text), text
    label = f'drystone_stalled{{work="give-up",reason="too-few-drives",drive="{gone}"}} '
    assert label in metrics, metrics
    # The log says it once, not all the time.
    new = six.folder / "new"
    new.mkdir()
    six.command("drive", "replace", gone, new)
    six.directories[-1] = new
    six.wait_whole()
    assert six.status()["stalled"] == []
    log = six.stop()
    assert log.count("cannot be given up") == 1 and "the other drives are too few" in log, log


def test_the_status_says_the_last_error_of_a_move_and_when(wall):
    seven = wall(count=7)
    seven.start("--repair-rate", "1MiB")
    seven.fill([5_000_000] * 6)
    seven.command("drive", "drain", seven.directories[6])
    seven.server.kill()
    gone = seven.directories[2]
    pull(gone)
    seven.start("--repair-rate", "1GiB", "--rehome-after", "off", env=PUBLIC)
    found = stalled(seven, "move")
    assert "missing" in found["obstacle"]["failed"]["error"], found
    first = found["tries"]
    deadline = time.monotonic() + 20
    while found["tries"] <= first and time.monotonic() < deadline:
        time.sleep(0.2)
        found = stalled(seven, "move")
    assert found["tries"] > first and found["last_ms"] > found["since_ms"] > 0
    text, metrics = text_and_metrics(seven)
    assert "STUCK since" in text and "times in a row" in text, text
    assert 'drystone_stalled{work="move",reason="failed"}' in metrics
    assert seven.stop().count("work on the drives failed") == 1
    put_back(gone)
    seven.start()
    seven.wait_whole()
    deadline = time.monotonic() + 60
    while (status := seven.status())["stalled"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert status["stalled"] == []
    seven.check()


def about(log, path):
    """Lines of a log about a directory."""
    return [line for line in log.splitlines() if f"{path}" in line and "not part of the store" in line or "ERROR" in line]


def test_a_directory_whose_drive_was_taken_out_is_no_error(wall):
    seven = wall(count=7)
    seven.start()
    seven.fill([700_000])
    old, rest = seven.directories[6], seven.directories[:6]
    seven.command("drive", "drain", old)
    settled(seven, 6)
    seven.stop()
    # No one names it: nothing is said.
    seven.directories = rest
    seven.start()
    log = seven.stop()
    assert str(old) not in log and "ERROR" not in log, log
    # It is still named, whatever is there now.
    seven.directories = rest + [old]
    changes = [lambda: None, lambda: shutil.rmtree(old), old.mkdir, lambda: (old / "other").write_text("mine")]
    for number, change in enumerate(changes):
        change()
        seven.start()
        assert len(seven.status()["drives"]) == 6
        seven.check()
        log = seven.stop()
        lines = about(log, old)
        assert len(lines) == 1 and "WARN" in lines[0], log
        # Only what is a drive of the store that was, and nothing that others put there.
        assert ("may be removed" in lines[0]) == (number == 0), log
    # One that is missing is an error beside it.
    pull(rest[0])
    seven.start("--rehome-after", "off")
    log = seven.stop()
    lines = about(log, old)
    assert len(lines) == 2 and [str(old) in line for line in lines].count(True) == 1, log
    assert any("ERROR" in line and str(rest[0]) in line for line in lines), log


def test_the_old_directory_of_a_drive_that_was_replaced_is_no_error(wall):
    six = wall()
    six.start()
    six.fill([700_000])
    six.stop()
    old, new = six.directories[1], six.folder / "new"
    pull(old)
    six.start()
    new.mkdir()
    six.command("drive", "replace", old, new)
    six.wait_whole()
    six.stop()
    put_back(old)
    six.directories.append(new)
    six.start()
    six.check()
    log = six.stop()
    lines = about(log, old)
    assert len(lines) == 1 and "WARN" in lines[0], log


def test_a_drive_is_known_by_every_spelling_of_its_path(wall):
    six = wall()
    gone = six.directories[5]
    link = six.folder / "link"
    link.symlink_to(gone)
    six.start()
    drive = six.directories[2]
    other = six.folder / "other"
    other.symlink_to(drive)
    ids = {entry["path"]: entry["id"] for entry in six.status()["drives"]}
    at = ("--at", str(six.directories[0]), "--json")

    def run(*arguments):
        return subprocess.run([BINARY, *map(str, arguments), *at], capture_output=True, text=True, timeout=60, cwd=six.folder)

    for name in ("d3", "./d3", "d3/", f"{drive}/", f"{six.folder}/d1/../d3", "other", f"{other}/", "d1/../other", ids[str(drive)].upper()):
        refused = run("drive", "remove", name)
        assert refused.returncode == 1 and "there and works" in refused.stderr, (name, refused)
    taken = run("drive", "add", "other/")
    assert "drive of this deployment already" in taken.stderr, taken
    six.stop()
    pull(gone)
    six.start()
    (six.folder / "new").mkdir()
    # The place of the drive is not there any more, and the link leads nowhere.
    done = run("drive", "replace", "d1/../link", "new/")
    assert done.returncode == 0, done
    assert [entry["path"] for entry in six.status()["drives"] if entry["path"].endswith("new")] == [str(six.folder / "new")]
    six.wait_whole()


def test_a_drain_is_cancelled_and_a_killed_move_goes_on(wall):
    seven = wall(count=7)
    seven.start()
    seven.fill(SIZES * 2)
    seven.wait_whole()
    seven.command("drive", "drain", seven.directories[6])
    seven.server.kill()
    seven.start()
    deadline = time.monotonic() + 60
    while len(seven.status()["drives"]) == 7 and time.monotonic() < deadline:
        time.sleep(0.2)
    seven.check()
    assert len(seven.wait_whole()["drives"]) == 6
    gone = seven.directories.pop()
    seven.stop()
    # It may still be named: it is said, and nothing waits for it.
    seven.directories.append(gone)
    seven.start()
    seven.check()
    assert "taken out" in seven.stop()
    seven.directories.pop()
    seven.start()
    assert "nothing to change" in seven.command("drive", "drain", "--cancel", seven.directories[0], ok=False)


def is_failing(path, fails):
    """Makes every write to the segments of a drive fail, as a dying one does, or not any more."""
    names = [str(path / name) for name in os.listdir(path) if name.startswith("seg-")]
    done = subprocess.run(["chattr", "+i" if fails else "-i", *names], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this filesystem has no immutable files: {done.stderr}")


@pytest.mark.parametrize("which", ["first", "mirror", "other"])
def test_a_drive_that_fails_under_load_is_left_behind(wall, which):
    six = wall()
    six.start()
    six.fill()
    status = six.wait_whole()
    holders = [pathlib.Path(d["path"]) for d in status["drives"] if d["holds_catalog"]]
    others = [path for path in six.directories if path not in holders]
    failing = {"first": holders[0], "mirror": holders[1], "other": others[0]}[which]
    try:
        is_failing(failing, True)
        written = refused = 0
        deadline = time.monotonic() + 30
        while written < 60 and time.monotonic() < deadline:
            key, body = f"live{written}", six.random.randbytes([300, 50_000, 700_000][written % 3])
            try:
                six.client(read_timeout=5).put_object(Bucket=BUCKET, Key=key, Body=body)
            except Exception:
                # Unknown outcomes: told by no answer, or by one that says so. The key is written again.
                refused += 1
                time.sleep(0.2)
                continue
            six.bodies[key] = body
            written += 1
        assert written == 60
        if which != "first":
            assert refused == 0, "clients notice nothing of a drive that others stand in for"
        six.check()
    finally:
        is_failing(failing, False)
    six.server.kill()
    six.start()
    six.check()
    six.wait_whole()
    six.stop()
    assert six.fsck()["counts"]["lacking_shards"] == 0


def test_a_directory_that_is_not_ours_is_never_touched(wall):
    six = wall()
    foreign = six.directories[4]
    foreign.mkdir(parents=True)
    (foreign / "thesis.txt").write_text("years of work")
    server = six.start(wait=False)
    assert server.process.wait(timeout=20) == 1
    message = server.process.stderr.read()
    assert "thesis.txt" in message and str(foreign) in message
    assert os.listdir(foreign) == ["thesis.txt"]
    assert not any((path / "super").exists() for path in six.directories)
    (foreign / "thesis.txt").unlink()
    six.start()
    six.fill([100_000])
    six.wait_whole()
    six.stop()
    # A drive whose filesystem is not mounted: an empty directory, or one with something else in it.
    pull(foreign)
    foreign.mkdir()
    six.start()
    six.check()
    log = six.stop()
    assert "drive replace" in log and os.listdir(foreign) == []
    (foreign / "thesis.txt").write_text("years of work")
    six.start()
    six.check()
    six.stop()
    assert os.listdir(foreign) == ["thesis.txt"]


def test_drives_of_two_deployments_and_copies_are_told_apart(wall, tmp_path):
    six = wall()
    six.start()
    six.fill([100_000])
    six.stop()
    other = Wall(tmp_path / "other", count=2)
    other.start()
    other.stop()
    own = six.directories[5]
    six.directories[5] = other.directories[0]
    server = six.start(wait=False)
    assert server.process.wait(timeout=20) == 1 and "different deployments" in server.process.stderr.read()
    six.directories[5] = six.folder / "copy"
    shutil.copytree(six.directories[0], six.directories[5], ignore=shutil.ignore_patterns("admin.sock"))
    server = six.start(wait=False)
    assert server.process.wait(timeout=20) == 1 and "same drive" in server.process.stderr.read()
    six.directories[5] = own
    six.start()
    six.check()


@pytest.mark.parametrize("count, code", [(2, "2 copies"), (3, "3 copies"), (4, "2+2"), (12, "8+4")])
def test_each_number_of_drives_has_its_code(wall, count, code):
    some = wall(count=count)
    some.start()
    some.fill([1000, 50_000, 300_000, 3_000_000])
    status = some.wait_whole()
    assert status["code"] == code
    lose = {2: 1, 3: 1, 4: 2, 12: 4}[count]
    some.stop()
    for path in some.directories[:lose]:
        pull(path)
    some.start()
    some.check()
    s3 = some.client()
    if count in (2, 4):
        # The other half may know of something newer: nothing is changed until one of it is back.
        assert some.status()["is_read_only"]
        for body in (b"x", bytes(200_000)):
            with pytest.raises(ClientError, match="ServiceUnavailable"):
                s3.put_object(Bucket=BUCKET, Key="new", Body=body)
        some.check()
    else:
        s3.put_object(Bucket=BUCKET, Key="new", Body=b"x")
        some.bodies["new"] = b"x"
    some.stop()
    for path in some.directories[:lose]:
        put_back(path)
    some.start()
    some.check()


def test_one_machine_as_three_zones_survives_a_zone(wall):
    nine = wall(count=9, zones=("a", "b", "c"))
    nine.start()
    nine.fill()
    status = nine.wait_whole()
    assert status["code"] == "5+4"
    nine.stop()
    for path in nine.directories[0::3]:
        pull(path)
    nine.start()
    nine.check()
    nine.client().put_object(Bucket=BUCKET, Key="new", Body=bytes(1 << 20))


def test_nothing_acknowledged_is_lost_by_kills_and_lost_drives_under_load(wall):
    six = wall()
    six.start()
    s3 = six.client()
    s3.create_bucket(Bucket=BUCKET)
    possible = {}
    for life in range(6):
        stop = threading.Event()

        def work(number, rng):
            client = six.client(read_timeout=10)
            while not stop.is_set():
                key = f"{number}/{rng.randrange(6)}"
                body = rng.randbytes(rng.choice([100, 3000, 90_000, 400_000]))
                delete = rng.random() < 0.2
                held = possible.setdefault(key, [None])
                held.append(None if delete else body)
                try:
                    if delete:
                        client.delete_object(Bucket=BUCKET, Key=key)
                    else:
                        client.put_object(Bucket=BUCKET, Key=key, Body=body)
                except Exception:
                    return
                possible[key] = [held[-1]]

        workers = [threading.Thread(target=work, args=(n, random.Random(life * 10 + n))) for n in range(4)]
        for worker in workers:
            worker.start()
        time.sleep(1.5)
        six.server.kill()
        stop.set()
        for worker in workers:
            worker.join()
        lost = random.Random(life).sample(six.directories, life % 3)
        # Two drives may go only once what the crash left behind is repaired.
        six.start()
        six.wait_whole()
        six.stop()
        for path in lost:
            pull(path)
        six.start()
        client = six.client()
        for key, held in possible.items():
            try:
                found = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            except ClientError as error:
                assert error.response["Error"]["Code"] == "NoSuchKey", error
                found = None
            assert found in held, f"life {life}: {key} holds {found and len(found)} bytes"
            possible[key] = [found]
        six.stop()
        for path in lost:
            put_back(path)
        six.start()
        six.wait_whole()
    six.stop()
    assert six.fsck()["counts"]["lacking_shards"] == 0


def test_keys_and_users_outlive_the_first_drive(wall):
    six = wall()
    six.server = Server(str(six.directories[0]), *map(str, six.directories[1:]), env={}).wait_ready()
    access, secret = (six.directories[0] / "root-credentials").read_text().split()
    make = lambda name, *keys: boto3.client(name, endpoint_url=six.server.url, region_name="us-east-1", aws_access_key_id=keys[0],
                                            aws_secret_access_key=keys[1], config=Config(s3={"addressing_style": "path"}))
    make("s3", access, secret).create_bucket(Bucket=BUCKET)
    iam = make("iam", access, secret)
    iam.create_user(UserName="anna")
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="anna", PolicyName="all", PolicyDocument=json.dumps(allow))
    key = iam.create_access_key(UserName="anna")["AccessKey"]
    six.stop()
    for path in six.directories[:2]:
        shutil.rmtree(path)
    six.server = Server(str(six.directories[0]), *map(str, six.directories[1:]), env={}).wait_ready()
    make("s3", access, secret).head_bucket(Bucket=BUCKET)
    make("s3", key["AccessKeyId"], key["SecretAccessKey"]).put_object(Bucket=BUCKET, Key="k", Body=b"x")
    for path in six.directories[2:]:
        for name in ("root-credentials", "keyring"):
            assert (path / name).stat().st_mode & 0o777 == 0o600


def test_the_chance_of_a_loss_is_told_before_anything_is_bought():
    def estimate(*arguments):
        done = subprocess.run([BINARY, "durability", "--json", *arguments], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    one, six, twelve = (estimate("--drives", str(n))[0] for n in (1, 6, 12))
    assert one["survives_drives"] == 0 and abs(one["object_loss_per_year"] - 0.02) < 1e-9
    assert six["code"] == "4+2" and twelve["code"] == "8+4"
    assert one["object_loss_per_year"] > six["object_loss_per_year"] > twelve["object_loss_per_year"]
    slow = estimate("--drives", "6", "--repair-hours", "240")[0]
    assert slow["object_loss_per_year"] > 50 * six["object_loss_per_year"]
    done = subprocess.run([BINARY, "durability", "--drives", "0"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "above 0" in done.stderr


def test_a_move_keeps_its_rate_and_says_how_long_it_takes(wall):
    seven, rate = wall(count=7), 256 << 10
    seven.start("--repair-rate", "256KiB")
    seven.fill([400_000] * 20)
    seven.wait_whole()
    began, told, texts = time.monotonic(), [], []
    seven.command("drive", "drain", seven.directories[6])
    while (status := seven.status())["moving"]:
        if status["progress"]:
            told.append((time.monotonic() - began, status["moving"]["bytes"], status["progress"]))
            texts.append(drystone("status", "--at", seven.directories[0]).stdout)
        time.sleep(0.2)
    took = time.monotonic() - began
    # Two walks: one copies, one reads the copies, and both are counted.
    moved = max(size for _, size, _ in told)
    assert moved > 1 << 20 and took > moved / rate - 1
    assert all(size < (at + 2) * rate for at, size, _ in told), told
    percents = [progress["percent"] for _, _, progress in told]
    assert percents == sorted(percents) and 0 < percents[len(percents) // 2] < 100
    assert any(progress["left_s"] for _, _, progress in told)
    assert any(re.search(r"moving: \d+ %, about \d+ s left; \d+ shards, [\d.]+ [KM]iB\n", text) for text in texts), texts
    seven.directories.pop()
    seven.wait_whole()
    seven.check()
