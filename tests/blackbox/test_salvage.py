"""Drills: the catalog is damaged, or gone, on every drive that held it."""
import json
import subprocess

import pytest
from botocore.exceptions import ClientError

from conftest import BINARY
from wall import BUCKET, SIZES, pull, wall  # noqa: F401


def rebuild(directories, code=0):
    done = subprocess.run([BINARY, "rebuild", "--salvage", "--json", *map(str, directories)],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def refuses_to_start(wall, text):
    server = wall.start("--segment-size", "1MiB", wait=False)
    assert server.process.wait(timeout=30) != 0
    assert text in server.process.stderr.read()


def multipart(wall, key, count):
    s3 = wall.client()
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key, Metadata={"kind": "parts"})["UploadId"]
    bodies = [wall.random.randbytes(5 << 20) for _ in range(count)]
    parts = [{"PartNumber": n, "ETag": s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=n,
                                                      Body=body)["ETag"]} for n, body in enumerate(bodies, 1)]
    s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    wall.bodies[key] = b"".join(bodies)


def holders(wall):
    paths = [drive["path"] for drive in wall.status()["drives"] if drive["holds_catalog"]]
    return [path for path in wall.directories if str(path) in paths]


def test_frames_damaged_on_every_mirror_are_put_together_from_all_of_them(wall):
    six = wall()
    six.start("--segment-size", "1MiB")
    for round in range(6):
        six.fill([100 + round, 3000, 4000, 20_000, 200_000], name=f"{round}-")
    multipart(six, "parts", 2)
    mirrors = holders(six)
    assert len(mirrors) == 3
    six.stop()
    for number, path in enumerate(mirrors):
        # In each another object's row is hit, in the frame that has its bytes.
        body = six.bodies[f"{number}-1"]
        hit = 0
        for segment in path.glob("seg-*.log"):
            content = bytearray(segment.read_bytes())
            at = content.find(body)
            if at >= 0:
                content[at + 700] ^= 1
                segment.write_bytes(content)
                hit += 1
        assert hit
    refuses_to_start(six, "damaged")
    found = rebuild(six.directories)
    assert found["lost_frames"] == 0 and found["damaged_stretches"] >= 3 and found["problems"] == []
    six.start("--segment-size", "1MiB")
    six.check()
    assert six.client().head_object(Bucket=BUCKET, Key="parts")["Metadata"] == {"kind": "parts"}
    six.wait_whole()
    six.client().put_object(Bucket=BUCKET, Key="new", Body=b"it takes more")
    six.stop()
    six.fsck()


def test_objects_come_back_from_their_manifests_when_every_mirror_is_gone(wall):
    nine = wall(count=9)
    nine.start("--segment-size", "1MiB")
    for round in range(6):
        nine.fill(SIZES, name=f"{round}-")
    multipart(nine, "parts", 2)
    s3 = nine.client()
    s3.create_bucket(Bucket="versions")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    for text in [b"old" * 50_000, b"new" * 50_000]:
        s3.put_object(Bucket="versions", Key="v", Body=text, ContentType="text/x-test")
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    for number in range(4):
        s3.put_object(Bucket="locked", Key=f"held{number}", Body=b"held" * 50_000, ObjectLockLegalHoldStatus="ON")
    mirrors = holders(nine)
    assert len(mirrors) == 3
    nine.stop()
    for path in mirrors:
        pull(path)
    left = [path for path in nine.directories if path not in mirrors]
    nine.directories = left
    refuses_to_start(nine, "none of the drives that hold the catalog is here")
    found = rebuild(left, code=1)
    assert sorted(found["buckets"]) == ["locked", "versions", BUCKET]
    assert found["problems"] == [] and found["objects"] > 20
    nine.start("--segment-size", "1MiB")
    s3 = nine.client()
    listed = {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    lost = {entry["key"] for entry in found["lost"] if entry["bucket"] == BUCKET}
    # What was in rows is gone with them. Everything else is there, or named as lost, or was so unlucky that its
    # manifest was on these three drives only: then it is one of the blobs that nothing is known of, or, if it
    # was copied and not coded, nothing of it is left anywhere.
    rows = {key for key, body in nine.bodies.items() if len(body) <= 4096}
    nameless = set(nine.bodies) - rows - lost - listed
    coded = [key for key in nameless if len(nine.bodies[key]) > 131_072]
    assert len(coded) <= found["unknown_blobs"] and not listed & (rows | lost)
    assert len(listed) > 20 > 3 * len(nameless)
    for key in listed:
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == nine.bodies[key], key
    for version in s3.list_object_versions(Bucket="versions").get("Versions", []):
        got = s3.get_object(Bucket="versions", Key="v", VersionId=version["VersionId"])
        assert got["ContentType"] == "text/x-test" and len(got["Body"].read()) == 150_000
    # What was locked is so still.
    for version in s3.list_object_versions(Bucket="locked")["Versions"]:
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.delete_object(Bucket="locked", Key=version["Key"], VersionId=version["VersionId"])
    nine.client().put_object(Bucket=BUCKET, Key="new", Body=b"x" * 300_000)
    nine.stop()


def test_a_store_of_one_drive_salvages_what_its_frames_still_say(wall):
    one = wall(count=1)
    one.start("--segment-size", "1MiB")
    one.fill([500, 2000, 60_000, 300_000, 900, 700_000])
    one.stop()
    body, hit = one.bodies["k0"], 0
    for segment in one.directories[0].glob("seg-*.log"):
        content = bytearray(segment.read_bytes())
        at = content.find(body)
        if at >= 0:
            content[at + 7] ^= 1
            segment.write_bytes(content)
            hit += 1
    assert hit
    refuses_to_start(one, "damaged")
    found = rebuild(one.directories, code=1)
    assert found["lost_frames"] == 1
    one.start("--segment-size", "1MiB")
    del one.bodies["k0"]
    one.check()
    with pytest.raises(ClientError, match="NoSuchKey"):
        one.client().get_object(Bucket=BUCKET, Key="k0")
    one.stop()


def test_what_the_end_of_the_only_log_held_is_said_to_be_unknown(wall):
    """Nothing follows on the last frame, so that no number shows that it is missing."""
    one = wall(count=1)
    one.start("--segment-size", "1MiB")
    one.fill([60_000, 900])
    body = one.bodies["k1"]
    one.stop()
    [(segment, at)] = [(path, content.rfind(body)) for path in one.directories[0].glob("seg-*.log")
                       if body in (content := path.read_bytes())]
    content = bytearray(segment.read_bytes())
    content[at + 7] ^= 1
    segment.write_bytes(content)
    found = rebuild(one.directories, code=1)
    assert found["lost_frames"] == 0 and found["unknown_stretches"] == found["damaged_stretches"] > 0
