"""Copies by reference, renaming and appending: rows change, bytes stay, and nothing is lost or left behind."""
import hashlib
import http.client
import json
import random
import time

import pytest
from botocore.exceptions import ClientError

from conftest import Server, drystone
from test_encryption import code_of
from wall import Wall

BUCKET = "bucket"


def fsck(*directories):
    done = drystone("fsck", *directories, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and not report["problems"], done.stdout + done.stderr
    return report["counts"] if "counts" in report else report


def body(s3, key, **arguments):
    return s3.get_object(Bucket=BUCKET, Key=key, **arguments)["Body"].read()


def keys(s3):
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@pytest.fixture
def server(start):
    server = start()
    server.client().create_bucket(Bucket=BUCKET)
    return server


def until_swept(server, start):
    """Waits for the sweep, and counts what is on the drive."""
    time.sleep(3)
    server.stop()
    return fsck(server.directory)


def test_copies_have_the_bytes_of_their_source(server, start):
    s3, content = server.client(), random.Random(1).randbytes(20 << 20)
    s3.put_object(Bucket=BUCKET, Key="a", Body=content, Metadata={"m": "1"}, ChecksumAlgorithm="SHA256")
    source = s3.head_object(Bucket=BUCKET, Key="a", ChecksumMode="ENABLED")
    for number in range(4):
        copied = s3.copy_object(Bucket=BUCKET, Key=f"c{number}", CopySource=f"{BUCKET}/a")["CopyObjectResult"]
        assert copied["ETag"] == source["ETag"] and copied["ChecksumSHA256"] == source["ChecksumSHA256"]
    # Another checksum is computed, and metadata is the copy's own.
    s3.copy_object(Bucket=BUCKET, Key="c4", CopySource=f"{BUCKET}/c3", ChecksumAlgorithm="CRC32C", MetadataDirective="REPLACE")
    head = s3.head_object(Bucket=BUCKET, Key="c4", ChecksumMode="ENABLED")
    assert "ChecksumCRC32C" in head and head["Metadata"] == {} and head["ETag"] == source["ETag"]
    # Onto itself.
    s3.copy_object(Bucket=BUCKET, Key="a", CopySource=f"{BUCKET}/a", MetadataDirective="REPLACE", Metadata={"m": "2"})
    assert s3.head_object(Bucket=BUCKET, Key="a")["Metadata"] == {"m": "2"}
    server.stop()
    counts = fsck(server.directory)
    assert counts["blobs"] == 1 and counts["current_versions"] == 6
    server = start()
    s3 = server.client()
    for key in ("a", "c0", "c1", "c2", "c3"):
        s3.delete_object(Bucket=BUCKET, Key=key)
    time.sleep(3)
    assert body(s3, "c4") == content
    s3.delete_object(Bucket=BUCKET, Key="c4")
    assert until_swept(server, start)["blobs"] == 0


@pytest.mark.parametrize("status", [None, "Suspended"])
def test_a_copy_onto_itself_keeps_its_bytes(server, start, status):
    s3, content = server.client(), random.Random(11).randbytes(3 << 20)
    if status:
        for state in ("Enabled", status):
            s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": state})
    s3.put_object(Bucket=BUCKET, Key="a", Body=content)
    for number in range(3):
        s3.copy_object(Bucket=BUCKET, Key="a", CopySource=f"{BUCKET}/a", MetadataDirective="REPLACE", Metadata={"n": str(number)})
    time.sleep(3)
    assert body(s3, "a") == content
    server.stop()
    assert fsck(server.directory)["blobs"] == 1


def test_parts_are_pieces_of_their_source(server, start):
    s3, content = server.client(), random.Random(2).randbytes(30 << 20)
    s3.put_object(Bucket=BUCKET, Key="a", Body=content)
    ranges = [(0, 10 << 20), (5 << 20, 30 << 20), (1, 6 << 20), (7, 100_000)]

    def assemble(source, target):
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key=target)["UploadId"]
        parts = []
        for number, (first, end) in enumerate(ranges, 1):
            part = s3.upload_part_copy(Bucket=BUCKET, Key=target, UploadId=upload, PartNumber=number, CopySource=f"{BUCKET}/{source}",
                                       CopySourceRange=f"bytes={first}-{end - 1}")["CopyPartResult"]
            parts.append({"PartNumber": number, "ETag": part["ETag"]})
        s3.complete_multipart_upload(Bucket=BUCKET, Key=target, UploadId=upload, MultipartUpload={"Parts": parts})
        return parts

    parts = assemble("a", "m")
    whole = b"".join(content[first:end] for first, end in ranges)
    for (first, end), part in zip(ranges, parts):
        assert part["ETag"] == f'"{hashlib.md5(content[first:end]).hexdigest()}"'
    assert body(s3, "m") == whole
    first, last = (10 << 20) - 5, (10 << 20) + 5
    assert body(s3, "m", Range=f"bytes={first}-{last}") == whole[first:last + 1]
    assert body(s3, "m", PartNumber=3) == content[1:6 << 20]
    # Pieces of pieces, and what they are pieces of is gone.
    content, again = whole, "n"
    assemble("m", again)
    for key in ("a", "m"):
        s3.delete_object(Bucket=BUCKET, Key=key)
    whole = b"".join(content[first:end] for first, end in ranges)
    time.sleep(3)
    assert body(s3, again) == whole
    # A copy of several parts is one part with an MD5, if it is not too long for that.
    copied = s3.copy_object(Bucket=BUCKET, Key="o", CopySource=f"{BUCKET}/{again}")["CopyObjectResult"]
    assert body(s3, "o") == whole and ("-" in copied["ETag"]) == (len(whole) > 64 << 20)
    server.stop()
    fsck(server.directory)
    server = start()
    s3 = server.client()
    for key in (again, "o"):
        s3.delete_object(Bucket=BUCKET, Key=key)
    # Pieces of pieces are given back in turn.
    time.sleep(6)
    assert until_swept(server, start)["blobs"] == 0


def test_an_upload_that_is_given_up_lets_go_of_its_pieces(server, start):
    s3 = server.client()
    s3.put_object(Bucket=BUCKET, Key="a", Body=bytes(1 << 20))
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="m")["UploadId"]
    for _ in range(2):
        s3.upload_part_copy(Bucket=BUCKET, Key="m", UploadId=upload, PartNumber=1, CopySource=f"{BUCKET}/a")
    s3.delete_object(Bucket=BUCKET, Key="a")
    server.stop()
    assert fsck(server.directory)["blobs"] == 1
    server = start()
    s3 = server.client()
    s3.abort_multipart_upload(Bucket=BUCKET, Key="m", UploadId=upload)
    time.sleep(3)
    assert until_swept(server, start)["blobs"] == 0


def test_versions_share_bytes_and_outlive_each_other(server, start):
    s3, content = server.client(), random.Random(3).randbytes(1 << 20)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=BUCKET, Key="a", Body=content)["VersionId"]
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"newer")
    copy = s3.copy_object(Bucket=BUCKET, Key="a", CopySource=f"{BUCKET}/a?versionId={old}")["VersionId"]
    s3.delete_object(Bucket=BUCKET, Key="a", VersionId=old)
    time.sleep(3)
    assert body(s3, "a") == content
    s3.delete_object(Bucket=BUCKET, Key="a", VersionId=copy)
    assert body(s3, "a") == b"newer"
    assert until_swept(server, start)["blobs"] == 0


def test_encrypted_copies_share_sealed_bytes(server, start):
    s3, content = server.client(), random.Random(4).randbytes(1 << 20)
    s3.put_object(Bucket=BUCKET, Key="a", Body=content, ServerSideEncryption="AES256")
    for key, how in {"s3": {"ServerSideEncryption": "AES256"}, "kms": {"ServerSideEncryption": "aws:kms"}}.items():
        copied = s3.copy_object(Bucket=BUCKET, Key=key, CopySource=f"{BUCKET}/a", **how)["CopyObjectResult"]
        assert (copied["ETag"] == f'"{hashlib.md5(content).hexdigest()}"') == (key == "s3")
    back = s3.copy_object(Bucket=BUCKET, Key="back", CopySource=f"{BUCKET}/kms", ServerSideEncryption="AES256")
    assert back["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
    s3.delete_object(Bucket=BUCKET, Key="a")
    time.sleep(3)
    for key in ("s3", "kms", "back"):
        assert body(s3, key) == content and body(s3, key, Range="bytes=65519-65521") == content[65519:65522]
    server.stop()
    assert fsck(server.directory)["blobs"] == 1


def rename(s3, source, target, **arguments):
    return s3.rename_object(Bucket=BUCKET, Key=target, RenameSource=source, **arguments)


def test_renaming(server, start):
    s3, content = server.client(), random.Random(5).randbytes(3 << 20)
    s3.put_object(Bucket=BUCKET, Key="dir/a b+c", Body=content, Metadata={"m": "1"}, Tagging="t=v", ContentType="x/y")
    s3.put_object(Bucket=BUCKET, Key="small", Body=b"small")
    s3.put_object(Bucket=BUCKET, Key="over", Body=b"was here")
    before = s3.head_object(Bucket=BUCKET, Key="dir/a b+c")
    rename(s3, "dir/a%20b+c", "over")
    after = s3.head_object(Bucket=BUCKET, Key="over")
    for field in ("ETag", "LastModified", "Metadata", "ContentType", "ContentLength"):
        assert before[field] == after[field], field
    assert s3.get_object_tagging(Bucket=BUCKET, Key="over")["TagSet"] == [{"Key": "t", "Value": "v"}]
    assert body(s3, "over") == content and keys(s3) == ["over", "small"]
    rename(s3, "small", "s/m/a/l/l")
    assert body(s3, "s/m/a/l/l") == b"small" and keys(s3) == ["over", "s/m/a/l/l"]
    # Conditions of both sides.
    etag, failed = after["ETag"], "PreconditionFailed"
    there = s3.head_object(Bucket=BUCKET, Key="s/m/a/l/l")["ETag"]
    for conditions, code in [
        ({"SourceIfMatch": '"00"'}, failed), ({"SourceIfNoneMatch": etag}, failed), ({"SourceIfModifiedSince": "2050-01-01"}, failed),
        ({"SourceIfUnmodifiedSince": "2000-01-01"}, failed), ({"DestinationIfNoneMatch": "*"}, failed), ({"DestinationIfMatch": etag}, failed),
        ({"DestinationIfUnmodifiedSince": "2000-01-01"}, failed), ({"DestinationIfMatch": there, "SourceIfMatch": etag}, "done"),
    ]:
        assert code_of(rename, s3=s3, source="over", target="s/m/a/l/l", **conditions) == code, conditions
    assert keys(s3) == ["s/m/a/l/l"] and body(s3, "s/m/a/l/l") == content
    assert code_of(rename, s3=s3, source="none", target="x") == "NoSuchKey"
    assert code_of(rename, s3=s3, source="s/m/a/l/l", target="s/m/a/l/l") == "InvalidRequest"
    # A token makes a repeated request harmless, and a changed one an error.
    rename(s3, "s/m/a/l/l", "t", ClientToken="token-1")
    rename(s3, "s/m/a/l/l", "t", ClientToken="token-1")
    assert code_of(rename, s3=s3, source="t", target="u", ClientToken="token-1") == "IdempotencyParameterMismatch"
    # Copies of what is renamed keep their bytes.
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=f"{BUCKET}/t")
    rename(s3, "t", "v")
    s3.delete_object(Bucket=BUCKET, Key="v")
    time.sleep(3)
    assert body(s3, "copy") == content
    s3.delete_object(Bucket=BUCKET, Key="copy")
    assert until_swept(server, start)["blobs"] == 0


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_renaming_where_versions_are_kept(server, start, status):
    s3, content = server.client(), random.Random(6).randbytes(1 << 20)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for key, data in {"a": content, "b": b"inline", "e": b""}.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=data)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": status})
    for key, data in {"a": content, "b": b"inline", "e": b""}.items():
        rename(s3, key, f"{key}2")
        assert body(s3, f"{key}2") == data and code_of(s3.get_object, Bucket=BUCKET, Key=key) == "NoSuchKey"
    listed = s3.list_object_versions(Bucket=BUCKET)
    assert [marker["Key"] for marker in listed["DeleteMarkers"]] == ["a", "b", "e"]
    # The version that was renamed is still there under its old name.
    old = [version for version in listed["Versions"] if version["Key"] == "a"]
    assert body(s3, "a", VersionId=old[0]["VersionId"]) == content
    for entry in listed["Versions"] + listed["DeleteMarkers"]:
        s3.delete_object(Bucket=BUCKET, Key=entry["Key"], VersionId=entry["VersionId"])
    assert until_swept(server, start)["blobs"] == 0


def append(s3, key, data, offset, **arguments):
    return s3.put_object(Bucket=BUCKET, Key=key, Body=data, WriteOffsetBytes=offset, **arguments)


def appendable(server):
    assert drystone("bucket", "appends", BUCKET, "--at", server.directory).returncode == 0
    return server.client()


def test_appending_needs_a_bucket_for_it(server, start):
    s3 = server.client()
    assert code_of(append, s3=s3, key="a", data=b"x", offset=0) == "NotImplemented" and keys(s3) == []
    s3.create_bucket(Bucket="versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    assert drystone("bucket", "appends", "versioned", "--at", server.directory).returncode == 1
    assert drystone("bucket", "appends", "missing", "--at", server.directory).returncode == 1
    appendable(server)
    append(s3, "a", b"x", 0)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    assert code_of(append, s3=s3, key="a", data=b"x", offset=1) == "NotImplemented"
    # A bucket can be made for it, too; other writes do not take an offset.
    s3.meta.events.register("before-sign.s3.CreateBucket", lambda request, **_: request.headers.__setitem__("x-drystone-appends", "true"))
    s3.create_bucket(Bucket="appends")
    s3.put_object(Bucket="appends", Key="k", Body=b"12", WriteOffsetBytes=0)
    assert s3.put_object(Bucket="appends", Key="k", Body=b"3", WriteOffsetBytes=2)["Size"] == 3
    s3.meta.events.register("before-sign.s3.CopyObject", lambda request, **_: request.headers.__setitem__("x-amz-write-offset-bytes", "0"))
    assert code_of(s3.copy_object, Bucket="appends", Key="l", CopySource="appends/k") == "NotImplemented"


def test_appending(server, start):
    s3, dice = appendable(server), random.Random(7)
    content = b""
    for number in range(200):
        piece = dice.randbytes(dice.choice([0, 1, 10, 1000, 5000, 70_000]))
        etag = append(s3, "log", piece, len(content), Metadata={"n": "0"})["ETag"]
        content += piece
        for wrong in {0, len(content) + 1, max(len(content) - 1, 0)} - {len(content)}:
            assert code_of(append, s3=s3, key="log", data=b"wrong", offset=wrong) == "InvalidWriteOffset"
        if number % 40 == 39:
            assert body(s3, "log") == content
            first = dice.randrange(len(content))
            assert body(s3, "log", Range=f"bytes={first}-") == content[first:]
    head = s3.head_object(Bucket=BUCKET, Key="log", ChecksumMode="ENABLED")
    assert head["ETag"] == etag and head["ContentLength"] == len(content) and head["Metadata"] == {"n": "0"}
    s3.put_object(Bucket=BUCKET, Key="whole", Body=content, ChecksumAlgorithm="CRC32")
    whole = s3.head_object(Bucket=BUCKET, Key="whole", ChecksumMode="ENABLED")
    assert [head.get(name) for name in head if name.startswith("ChecksumCRC")] == [whole.get(name) for name in whole if name.startswith("ChecksumCRC")]
    assert body(s3, "log", PartNumber=1) == content
    assert code_of(append, s3=s3, key="new", data=b"x", offset=5) == "InvalidWriteOffset"
    assert code_of(append, s3=s3, key="log", data=b"x", offset=len(content), IfMatch='"00"') == "PreconditionFailed"
    assert code_of(append, s3=s3, key="log", data=b"x", offset=len(content), IfNoneMatch="*") == "PreconditionFailed"
    # Merged parts are given back; what is there has few.
    time.sleep(3)
    server.stop()
    fsck(server.directory)
    server = start()
    s3 = server.client()
    assert body(s3, "log") == content
    for key in ("log", "whole"):
        s3.delete_object(Bucket=BUCKET, Key=key)
    assert until_swept(server, start)["blobs"] == 0


def test_a_body_does_not_land_in_another_bucket_of_the_same_name(server):
    s3 = appendable(server)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "a", "WriteOffsetBytes": 0})
    data = random.Random(4).randbytes(4 << 20)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("PUT", url[url.index("/", len("http://")):])
    connection.putheader("x-amz-write-offset-bytes", "0")
    connection.putheader("content-length", str(len(data)))
    connection.putheader("expect", "100-continue")
    connection.endheaders()
    # Who asks for the body has found the bucket.
    assert connection.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(data[:2 << 20])
    s3.delete_bucket(Bucket=BUCKET)
    s3.create_bucket(Bucket=BUCKET)
    appendable(server)
    connection.send(data[2 << 20:])
    answer = connection.getresponse()
    assert answer.status == 404 and b"<Code>NoSuchBucket</Code>" in answer.read()
    assert keys(s3) == []


@pytest.mark.parametrize("how", [{"ServerSideEncryption": "AES256"}, {"ServerSideEncryption": "aws:kms"}], ids=["sse-s3", "sse-kms"])
def test_appending_to_encrypted_objects(server, start, how):
    s3, dice, content = appendable(server), random.Random(8), b""
    for number in range(60):
        piece = dice.randbytes(dice.choice([1, 1000, 66_000]))
        answer = append(s3, "log", piece, len(content), **(how if number == 0 else {}))
        assert answer["ServerSideEncryption"] == how["ServerSideEncryption"]
        content += piece
    time.sleep(1)
    assert body(s3, "log") == content
    first = len(content) // 3
    assert body(s3, "log", Range=f"bytes={first}-{first + 100_000}") == content[first:first + 100_001]
    server.stop()
    fsck(server.directory)


def test_appending_to_what_others_share_leaves_them_alone(server, start):
    s3, content = appendable(server), random.Random(9).randbytes(1 << 20)
    s3.put_object(Bucket=BUCKET, Key="a", Body=content)
    s3.copy_object(Bucket=BUCKET, Key="b", CopySource=f"{BUCKET}/a")
    append(s3, "a", b"more", len(content))
    append(s3, "b", b"other", len(content))
    assert body(s3, "a") == content + b"more" and body(s3, "b") == content + b"other"
    s3.copy_object(Bucket=BUCKET, Key="c", CopySource=f"{BUCKET}/a")
    append(s3, "a", b"!", len(content) + 4)
    s3.delete_object(Bucket=BUCKET, Key="a")
    time.sleep(3)
    assert body(s3, "c") == content + b"more"
    server.stop()
    fsck(server.directory)


def history(wall_or_server, s3, dice, bodies, rounds):
    """Random writes, copies, pieces, renamings, appends and deletes; `bodies` is what must be there."""
    for number in range(rounds):
        key, other = f"k{dice.randrange(8)}", f"k{dice.randrange(8)}"
        there = key in bodies
        choice = dice.randrange(7)
        if choice <= 1 or not there:
            data = dice.randbytes(dice.choice([0, 100, 5000, 140_000, 600_000]))
            s3.put_object(Bucket=BUCKET, Key=key, Body=data)
            bodies[key] = data
        elif choice == 2:
            s3.copy_object(Bucket=BUCKET, Key=other, CopySource=f"{BUCKET}/{key}", MetadataDirective="REPLACE")
            bodies[other] = bodies[key]
        elif choice == 3 and key != other:
            rename(s3, key, other)
            bodies[other] = bodies.pop(key)
        elif choice == 4:
            data = dice.randbytes(dice.choice([1, 3000, 200_000]))
            append(s3, key, data, len(bodies[key]))
            bodies[key] += data
        elif choice == 5 and len(bodies[key]) > 1:
            upload = s3.create_multipart_upload(Bucket=BUCKET, Key=other)["UploadId"]
            first, last = sorted([dice.randrange(len(bodies[key])), dice.randrange(len(bodies[key]))])
            part = s3.upload_part_copy(Bucket=BUCKET, Key=other, UploadId=upload, PartNumber=1, CopySource=f"{BUCKET}/{key}",
                                       CopySourceRange=f"bytes={first}-{last}")["CopyPartResult"]
            s3.complete_multipart_upload(Bucket=BUCKET, Key=other, UploadId=upload,
                                         MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
            bodies[other] = bodies[key][first:last + 1]
        elif choice == 6:
            s3.delete_object(Bucket=BUCKET, Key=key)
            del bodies[key]


@pytest.mark.parametrize("count", [1, 6])
def test_histories_of_sharing_with_kills(tmp_path, count):
    """Random histories, a kill -9 after each; then everything is as its client was told, and fsck agrees."""
    wall, dice, bodies = Wall(tmp_path, count), random.Random(count), {}
    wall.start()
    try:
        s3 = wall.client()
        s3.create_bucket(Bucket=BUCKET)
        assert drystone("bucket", "appends", BUCKET, "--at", wall.directories[0]).returncode == 0
        for _ in range(6):
            history(wall, s3, dice, bodies, 40)
            if dice.random() < 0.5:
                time.sleep(1.5)
            wall.server.kill()
            fsck(*wall.directories)
            wall.start()
            s3 = wall.client()
            assert keys(s3) == sorted(bodies)
            for key, data in bodies.items():
                assert body(s3, key) == data, key
        for key in bodies:
            s3.delete_object(Bucket=BUCKET, Key=key)
        time.sleep(6)
        wall.stop()
        assert fsck(*wall.directories)["blobs"] == 0
    finally:
        if wall.server.process.poll() is None:
            wall.server.kill()


def test_a_small_object_is_always_there_while_it_is_overwritten(server):
    """Readers beside a writer of one small key: each gets one of its versions, whole, and no one an error."""
    import threading

    server.client().put_object(Bucket=BUCKET, Key="hot", Body=b"0" * 500)
    stop, found = threading.Event(), []

    def read():
        s3 = server.client()
        while not stop.is_set():
            found.append(code_of(lambda: found.append(body(s3, "hot"))))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    s3 = server.client()
    for number in range(1500):
        s3.put_object(Bucket=BUCKET, Key="hot", Body=str(number % 10).encode() * 500)
    stop.set()
    for reader in readers:
        reader.join()
    bodies = [item for item in found if isinstance(item, bytes)]
    assert {item for item in found if not isinstance(item, bytes)} == {"done"}
    assert len(bodies) > 100 and all(len(item) == 500 and len(set(item)) == 1 for item in bodies)
