"""What the server says when drives are missing: before the first byte, by name, and what to do."""
import subprocess

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import BINARY, PASSWORD, USER
from surfaces import ALLOW_ALL, ROOT, Surfaces
from wall import BUCKET, pull, wall  # noqa: F401

PART = 5 << 20
PUBLIC = {"DRYSTONE_PROMETHEUS_AUTH_TYPE": "public"}
MISSING = "more of the drives that hold it must be online"


def unavailable(call, *texts, code="ServiceUnavailable"):
    """The call is refused with 503, a code, a time to come back, and all of some texts."""
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 503, answer
    assert answer["Error"]["Code"] == code, answer
    assert answer["ResponseMetadata"]["HTTPHeaders"].get("retry-after"), answer
    for text in texts:
        assert text in answer["Error"]["Message"], answer
    return answer


def filled(wall):
    """Six drives with objects of all kinds of places: rows, short and long blobs, parts, pieces of others."""
    six = wall()
    six.start(env=PUBLIC)
    six.fill([500, 50_000, 131_073, 700_000, 5_000_000])
    s3 = six.client()
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    parts = [six.random.randbytes(size) for size in (PART, PART, 100)]
    tags = [s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=number, Body=body)["ETag"]
            for number, body in enumerate(parts, 1)]
    tags = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload={"Parts": tags})
    six.bodies["parts"] = b"".join(parts)
    six.wait_whole()
    return six


def lose_three(six):
    """Pulls three drives, of which not all hold the catalog: the store starts and is read only."""
    drives = six.status()["drives"]
    lost = [drive["path"] for drive in drives if not drive["holds_catalog"]][:3]
    six.stop()
    for path in six.directories:
        if str(path) in lost:
            pull(path)
    six.start(env=PUBLIC)
    return lost


def test_a_body_that_cannot_be_made_is_refused_before_its_first_byte(wall):
    six = filled(wall)
    lose_three(six)
    s3, refused = six.client(), 0
    for key, body in six.bodies.items():
        assert s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == len(body)
        ranges = [None, (0, len(body) - 1), (len(body) // 2, len(body) // 2), (len(body) - 100, len(body) - 1)]
        for wanted in ranges:
            more = {"Range": f"bytes={wanted[0]}-{wanted[1]}"} if wanted else {}
            try:
                answer = s3.get_object(Bucket=BUCKET, Key=key, **more)
            except ClientError:
                unavailable(lambda: s3.get_object(Bucket=BUCKET, Key=key, **more), MISSING)
                refused += 1
                continue
            # What was begun is finished, and right.
            first, last = wanted or (0, len(body) - 1)
            assert answer["Body"].read() == body[first:last + 1]
    assert refused, "three of six drives are too many for some of them"
    for key in ("k4", "parts"):
        unavailable(lambda: s3.get_object(Bucket=BUCKET, Key=key), MISSING)


def test_a_later_part_that_cannot_be_made_is_known_at_the_beginning(wall):
    six = filled(wall)
    s3 = six.client()
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=f"{BUCKET}/parts")
    lose_three(six)
    s3 = six.client()
    for key in ("copy", "parts"):
        unavailable(lambda: s3.get_object(Bucket=BUCKET, Key=key), MISSING)
        assert s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == 2 * PART + 100
    unavailable(lambda: s3.get_object(Bucket=BUCKET, Key="parts", PartNumber=2), MISSING)
    assert s3.head_object(Bucket=BUCKET, Key="parts", PartNumber=2)["ContentLength"] == PART
    assert "the body of an object was cut" not in six.stop()


def test_a_source_that_cannot_be_made_is_refused(wall):
    six = filled(wall)
    s3 = six.client()
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="target")["UploadId"]
    lose_three(six)
    s3 = six.client()
    for key in ("k4", "parts"):
        source = f"{BUCKET}/{key}"
        unavailable(lambda: s3.copy_object(Bucket=BUCKET, Key="target", CopySource=source))
        unavailable(lambda: s3.upload_part_copy(Bucket=BUCKET, Key="target", UploadId=upload, PartNumber=1,
                                                CopySource=source))


READ_ONLY = ("read-only", "drystone status", "bring them back")


def test_a_store_that_is_read_only_says_so_at_every_door(wall):
    six = filled(wall)
    lose_three(six)
    s3 = six.client()
    for call in (
        lambda: s3.put_object(Bucket=BUCKET, Key="new", Body=b"x"),
        lambda: s3.put_object(Bucket=BUCKET, Key="new", Body=bytes(2 << 20)),
        lambda: s3.delete_object(Bucket=BUCKET, Key="k0"),
        lambda: s3.create_bucket(Bucket="another"),
        lambda: s3.delete_bucket(Bucket=BUCKET),
        lambda: s3.create_multipart_upload(Bucket=BUCKET, Key="new"),
        lambda: s3.put_object_tagging(Bucket=BUCKET, Key="k0", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
        lambda: s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"}),
    ):
        unavailable(call, *READ_ONLY)
    how = {"endpoint_url": six.server.url, "region_name": "us-east-1", "aws_access_key_id": USER,
           "aws_secret_access_key": PASSWORD, "config": Config(retries={"max_attempts": 1})}
    iam = boto3.client("iam", **how)
    unavailable(lambda: iam.create_user(UserName="anna"), *READ_ONLY)
    unavailable(lambda: iam.create_group(GroupName="people"), *READ_ONLY)
    surfaces = Surfaces(six.server)
    policy = {"Version": "2012-10-17", "Statement": [ALLOW_ALL]}
    for answer in (surfaces.minio(ROOT, "PUT", "add-canned-policy", policy, name="all"),
                   surfaces.minio(ROOT, "POST", "kms:key/create", **{"key-id": "another"})):
        assert answer.status_code == 503, answer.text
        for text in READ_ONLY:
            assert text in answer.text, answer.text
    for arguments in (["user", "add", "anna"], ["kms", "add", "another"], ["drive", "drain", six.directories[0]],
                      ["drive", "add", six.folder / "d7"]):
        at = next(path for path in six.directories if (path / "admin.sock").exists())
        done = subprocess.run([BINARY, *map(str, arguments), "--at", str(at)], capture_output=True, text=True,
                              timeout=60)
        assert done.returncode != 0
        for text in READ_ONLY:
            assert text in done.stderr, (arguments, done.stderr)
    answer = requests.get(f"{six.server.url}/minio/health/cluster", timeout=10)
    assert answer.status_code == 503 and "read-only" in answer.text


def text_of(six):
    at = next(path for path in six.directories if (path / "admin.sock").exists())
    done = subprocess.run([BINARY, "status", "--at", str(at)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def metrics_of(six):
    text = requests.get(f"{six.server.url}/metrics", timeout=10).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_status_says_what_so_many_missing_drives_mean(wall, count):
    six = filled(wall)
    drives = six.status()["drives"]
    lost = [drive["path"] for drive in drives if not drive["holds_catalog"]][:count]
    six.stop()
    for path in six.directories:
        if str(path) in lost:
            pull(path)
    six.start(env=PUBLIC)
    text, status, found = text_of(six), six.status(), metrics_of(six)
    assert status["is_whole"] == (count == 0) and status["missing_drives"] == count
    assert found["drystone_drives_missing"] == count
    assert ("everything is whole" in text.replace("NOT everything", "")) == (count == 0)
    assert f"MISSING: {count} of 6 drives" in text or count == 0
    assert all(path in text for path in lost)
    # By class: STANDARD can lose two, REDUCED_REDUNDANCY one.
    classes = {each["class"]: each for each in status["classes"]}
    for name, parity in (("STANDARD", 2), ("REDUCED_REDUNDANCY", 1)):
        assert classes[name]["is_readable"] == (count <= parity), classes
        assert classes[name]["survives_now"] == max(parity - count, 0), classes
        label = f'{{class="{name}"}}'
        assert (found[f"drystone_groups_unreadable{label}"] == 0) == (count <= parity)
        assert found[f"drystone_class_survives_drives{label}"] == max(parity - count, 0)
        line = next((line for line in text.splitlines() if line.startswith(f"{name} (")), "")
        assert ("CANNOT be read" in line) == (count > parity), text
        assert ("ONE MORE FAILURE LOSES DATA" in line) == (count == parity), text
    assert ("READ ONLY" in text) == (count == 3) == status["is_read_only"]
    assert found["drystone_read_only"] == (count == 3)
    assert ("drystone drive replace" in text) == (count in (1, 2))
    health = requests.get(f"{six.server.url}/minio/health/cluster/read", timeout=10)
    # There is no object of the class with less redundancy.
    assert health.status_code == (200 if count < 3 else 503)
    # A write needs five of six.
    assert status["lacks_drives_to_write"] == (count > 1)
    assert ("WRITES of all but short objects are refused" in text) == (count == 2)
    health = requests.get(f"{six.server.url}/minio/health/cluster", timeout=10)
    assert health.status_code == (200 if count < 2 else 503)


def test_status_says_what_a_verification_found_until_it_is_repaired(wall):
    six = filled(wall)
    six.stop()
    path = six.directories[3]
    for segment in sorted(path.glob("seg-*")):
        data = bytearray(segment.read_bytes())
        # Bytes in the middle of shards: heads of segments stay as they are.
        for at in range(100_000, len(data), 50_000):
            data[at] ^= 1
        segment.write_bytes(data)
    six.start(env=PUBLIC)
    found = six.command("verify", ok=False)["verification"]
    left = found["damaged"] + found["missing"] - found["repaired"]
    assert left > 0 and found["lost_count"] == 0, found
    status, text = six.status(), text_of(six)
    assert status["unrepaired_by_verify"] == left and not status["is_whole"]
    assert f"found {left} shards damaged or missing" in text and "drystone verify --repair" in text
    assert "NOT everything is whole" in text
    assert metrics_of(six)['drystone_unrepaired_shards{by="verify"}'] == left
    # One that looks at little does not make the rest forgotten.
    six.command("verify", f"{BUCKET}/k0", ok=False)
    assert six.status()["unrepaired_by_verify"] == left
    # Nor does a restart, of either kind.
    for ends_well in (True, False):
        six.stop() if ends_well else six.server.kill()
        six.start(env=PUBLIC)
        status = six.status()
        assert status["unrepaired_by_verify"] == left and not status["is_whole"]
        assert f"DAMAGED: the last verification found {left} shards" in text_of(six)
        assert metrics_of(six)['drystone_unrepaired_shards{by="verify"}'] == left
    six.command("verify", "--repair")
    six.wait_whole()
    assert six.status()["unrepaired_by_verify"] == 0
    assert text_of(six).startswith("everything is whole")
    six.stop()
    six.start()
    assert text_of(six).startswith("everything is whole")


def test_status_says_what_is_lost_after_a_restart_until_it_is_verified_again(wall):
    six = filled(wall)
    holders = [drive["path"] for drive in six.status()["drives"] if drive["holds_catalog"]]
    six.stop()
    for path in [path for path in six.directories if str(path) not in holders]:
        for segment in sorted(path.glob("seg-*")):
            data = bytearray(segment.read_bytes())
            for at in range(100_000, len(data), 50_000):
                data[at] ^= 1
            segment.write_bytes(data)
    six.start(env=PUBLIC)
    lost = six.command("verify", ok=False)["verification"]["lost_count"]
    assert lost > 0
    six.stop()
    six.start(env=PUBLIC)
    status = six.status()
    assert status["lost_by_verify"] == lost and not status["is_whole"]
    assert f"LOST: the last verification could not read {lost} objects" in text_of(six)
    assert metrics_of(six)["drystone_lost_objects"] == lost
    for key in list(six.bodies):
        six.client().delete_object(Bucket=BUCKET, Key=key)
    six.command("verify", "--repair")
    assert six.status()["lost_by_verify"] == 0
