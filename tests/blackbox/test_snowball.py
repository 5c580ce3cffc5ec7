"""Archives that are taken apart: many small objects in one request."""
import bz2
import gzip
import io
import json
import random
import socket
import tarfile

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER
from test_encryption import code_of

BUCKET = "bucket"
EXTRACT = {"Snowball-Auto-Extract": "true"}


def archive(members, kind=tarfile.PAX_FORMAT):
    """Members are name and bytes, or name, bytes and PAX records; a type in place of bytes is a special member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for name, data, *records in members:
            info = tarfile.TarInfo(name)
            info.pax_headers = records[0] if records else {}
            if not isinstance(data, bytes) or data in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE):
                info.type, data = data, b""
                info.linkname = "elsewhere"
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def send(s3, body, key="archive.tar", **metadata):
    return s3.put_object(Bucket=BUCKET, Key=key, Body=body, Metadata={**EXTRACT, **metadata})


def stored(s3):
    return {entry["Key"]: s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
            for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}


@pytest.fixture
def server(start):
    server = start()
    server.client().create_bucket(Bucket=BUCKET)
    return server


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress, bz2.compress], ids=["plain", "gzip", "bzip2"])
def test_every_file_becomes_an_object(server, kind, pack):
    s3, dice = server.client(), random.Random(1)
    files = {f"d{n % 3}/f {n}+é": dice.randbytes(dice.choice([0, 1, 511, 512, 513, 70_000])) for n in range(60)}
    files["long/" + "x" * 300] = b"long"
    files["big"] = dice.randbytes(3 << 20)
    send(s3, pack(archive(files.items(), kind)))
    assert stored(s3) == files
    assert s3.head_object(Bucket=BUCKET, Key="d0/f 0+é")["ContentType"] == "binary/octet-stream"


def test_names_directories_and_links(server):
    s3 = server.client()
    members = [("./a", b"1"), ("/abs/b", b"bb"), (".//./c", b"cc"), ("dir", tarfile.DIRTYPE), ("link", tarfile.SYMTYPE), ("device", tarfile.CHRTYPE)]
    send(s3, archive(members), **{"Minio-Snowball-Prefix": "/into/"})
    assert stored(s3) == {"into/a": b"1", "into/abs/b": b"bb", "into/c": b"cc", "into/dir/": b""}
    send(s3, archive([("d", tarfile.DIRTYPE), ("e", b"")]), **{"Minio-Snowball-Ignore-Dirs": "true"})
    assert "d/" not in stored(s3) and "e" in stored(s3) and "archive.tar" not in stored(s3)


def test_records_are_headers(server):
    s3 = server.client()
    records = {"minio.metadata.X-Amz-Meta-Run": "7", "minio.metadata.Content-Type": "text/x", "minio.metadata.x-amz-tagging": "a=b"}
    send(s3, archive([("k", b"x", records), ("plain", b"y")]))
    head = s3.head_object(Bucket=BUCKET, Key="k")
    assert (head["Metadata"], head["ContentType"]) == ({"run": "7"}, "text/x")
    assert s3.get_object_tagging(Bucket=BUCKET, Key="k")["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert s3.head_object(Bucket=BUCKET, Key="plain")["Metadata"] == {}
    # How the request is to be encrypted holds for what is in it.
    s3.put_object(Bucket=BUCKET, Key="t", Body=archive([("sealed", b"z")]), Metadata=EXTRACT, ServerSideEncryption="AES256")
    assert s3.head_object(Bucket=BUCKET, Key="sealed")["ServerSideEncryption"] == "AES256"


def test_each_key_is_authorized(server):
    owner = server.client()
    iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
    iam.create_user(UserName="anna")
    iam.put_user_policy(UserName="anna", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": [f"arn:aws:s3:::{BUCKET}/hers/*", f"arn:aws:s3:::{BUCKET}/archive.tar"]}]}))
    key = iam.create_access_key(UserName="anna")["AccessKey"]
    anna = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=key["AccessKeyId"],
                        aws_secret_access_key=key["SecretAccessKey"], config=Config(s3={"addressing_style": "path"}))
    body = archive([("hers/a", b"1"), ("other/b", b"bb"), ("hers/c", b"cc")])
    assert code_of(send, s3=anna, body=body) == "AccessDenied"
    assert list(stored(owner)) == ["hers/a"], "what was written before an error remains"
    send(anna, body, **{"Minio-Snowball-Ignore-Errors": "true"})
    assert list(stored(owner)) == ["hers/a", "hers/c"]
    tagged = archive([("hers/t", b"1", {"minio.metadata.x-amz-tagging": "a=b"})])
    assert code_of(send, s3=anna, body=tagged) == "AccessDenied", "tags are another right"


GOOD = archive([("a", b"1" * 2000), ("b", b"2" * 2000)])


@pytest.mark.parametrize("body, code, there", [
    (b"", "InvalidRequest", []), (b"not an archive " * 100, "InvalidRequest", []), (GOOD[:2000], "InvalidRequest", []),
    (GOOD[:3000], "InvalidRequest", ["a"]), (archive([("a", b"x"), ("../up", b"y")]), "InvalidArgument", ["a"]),
    (archive([("a/../../b", b"y")]), "InvalidArgument", []), (archive([("x" * 1100, b"y")]), "KeyTooLongError", []),
    (gzip.compress(GOOD)[:-20], "InvalidRequest", None), (gzip.compress(GOOD)[:40] + b"\0" * 60, "InvalidRequest", []),
    (b"BZh9" + b"\0" * 500, "InvalidRequest", []), (b"\x28\xb5\x2f\xfd" + b"\xff" * 500, "InvalidRequest", []),
    (archive([("a", b"1", {"minio.metadata.bad name": "x"})]), "InvalidArgument", []),
], ids=["empty", "garbage", "cut in a header", "cut in data", "up", "deep up", "long name", "cut gzip", "broken gzip", "broken bzip2", "broken zstd", "bad record"])
def test_bad_archives(server, body, code, there):
    s3 = server.client()
    assert code_of(send, s3=s3, body=body) == code
    if there is not None:
        assert list(stored(s3)) == there


def test_a_bomb_is_stopped(server):
    """800 MiB of zeros in less than a megabyte: refused early, and the server lives."""
    packed = io.BytesIO()
    info = tarfile.TarInfo("zeros")
    info.size = 800 << 20
    with gzip.GzipFile(fileobj=packed, mode="w", compresslevel=9) as out:
        out.write(info.tobuf(tarfile.PAX_FORMAT))
        for _ in range(800):
            out.write(bytes(1 << 20))
        out.write(bytes(1024))
    s3 = server.client()
    assert code_of(send, s3=s3, body=packed.getvalue()) == "EntityTooLarge"
    assert stored(s3) == {}
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"still here")


def test_the_header_on_other_operations_is_only_metadata(server):
    s3 = server.client()
    s3.put_object(Bucket=BUCKET, Key="k", Body=GOOD, Metadata={"Snowball-Auto-Extract": "false"})
    assert list(stored(s3)) == ["k"]
    with pytest.raises(ClientError):
        s3.put_object(Bucket=BUCKET, Key="l", Body=GOOD, Metadata=EXTRACT, ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")


@pytest.mark.parametrize("arguments, status", [((), b"400"), (("--put-limit", "6GiB"), b"100")], ids=["as in S3", "opted in"])
def test_a_put_above_five_gib_is_opted_in(start, arguments, status):
    """Decided by the declared length, before a byte is sent."""
    server = start(*arguments)
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "k"}).removeprefix(server.url)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(f"PUT {url} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {(5 << 30) + 1}\r\n"
                     "Expect: 100-continue\r\n\r\n".encode())
        answer = sock.recv(4096)
    assert answer.split()[1] == status and (status == b"100" or b"EntityTooLarge" in answer)
    assert start("--put-limit", "1GiB", wait=False, directory=server.directory / "x").process.wait(timeout=20) != 0
