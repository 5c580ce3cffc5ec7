"""Encrypted objects: what is stored, what is served, and what is refused."""
import base64
import hashlib
import json
import random
import shutil
import subprocess

import pytest
import requests
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, Server, drystone
from wall import Wall

FRAME = 65_520
SIZES = [0, 1, 900, 4000, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 131_073, 1_000_003]
S3 = {"ServerSideEncryption": "AES256"}
KMS = {"ServerSideEncryption": "aws:kms"}
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
# As clients that do not encode it themselves send it.
ENCODED = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": base64.b64encode(KEY).decode(),
           "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(KEY).digest()).decode()}
SOURCE = {f"CopySource{name}": value for name, value in CUSTOMER.items()}
MODES = {"plain": {}, "sse-s3": S3, "sse-kms": KMS, "sse-kms bucket key": {**KMS, "BucketKeyEnabled": True},
         "sse-c": CUSTOMER}


def code_of(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "done"


def certificates(folder):
    folder.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", folder / "private.key", "-out", folder / "public.crt"], check=True, capture_output=True)
    return "--certs-dir", str(folder)


@pytest.fixture
def secure(start, tmp_path):
    """A server behind TLS, with a bucket."""
    server = start(*certificates(tmp_path / "certs"))
    server.client().create_bucket(Bucket="bucket")
    return server


def read(s3, key, mode, **arguments):
    arguments |= CUSTOMER if mode == "sse-c" else {}
    return s3.get_object(Bucket="bucket", Key=key, **arguments)["Body"].read()


@pytest.mark.parametrize("mode", list(MODES))
def test_every_range_of_every_length_is_as_the_plain_bytes(secure, mode):
    """Lengths around frames, whole and by ranges; the oracle is the plain body."""
    s3, dice = secure.client(), random.Random(mode)
    for size in SIZES:
        body = dice.randbytes(size)
        s3.put_object(Bucket="bucket", Key="k", Body=body, **MODES[mode])
        assert read(s3, "k", mode) == body
        edges = [n for n in (0, 1, FRAME - 1, FRAME, FRAME + 1, 65_535, 65_536, size - 1) if 0 <= n < size]
        for _ in range(12 if size else 0):
            first, last = sorted([dice.choice(edges + [dice.randrange(size)]), dice.randrange(size)])
            assert read(s3, "k", mode, Range=f"bytes={first}-{last}") == body[first:last + 1], (size, first, last)
        if size:
            assert read(s3, "k", mode, Range="bytes=-7") == body[-7:]


def upload(s3, key, bodies, mode, **arguments):
    customer = CUSTOMER if mode == "sse-c" else {}
    upload_id = s3.create_multipart_upload(Bucket="bucket", Key=key, **MODES[mode], **arguments)["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        algorithm = {name: value for name, value in arguments.items() if name == "ChecksumAlgorithm"}
        part = s3.upload_part(Bucket="bucket", Key=key, UploadId=upload_id, PartNumber=number, Body=body, **customer, **algorithm)
        parts.append({"PartNumber": number, **{k: v for k, v in part.items() if k == "ETag" or k.startswith("Checksum")}})
        parts[-1].pop("ChecksumType", None)
    return s3.complete_multipart_upload(Bucket="bucket", Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}, **customer)


@pytest.mark.parametrize("algorithm", [None, "CRC32", "SHA256", "CRC64NVME"])
def test_who_completes_an_upload_with_a_checksum_shows_the_key_of_the_client(secure, algorithm):
    """S3 API reference, "CompleteMultipartUpload": the key is needed where the upload was made with a checksum algorithm."""
    s3 = secure.client(request_checksum_calculation="when_required")
    asked = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    named = {"Bucket": "bucket", "Key": "k", "UploadId": s3.create_multipart_upload(Bucket="bucket", Key="k", **CUSTOMER, **asked)["UploadId"]}
    part = s3.upload_part(**named, PartNumber=1, Body=b"part", **CUSTOMER, **asked)
    kept = {name: part[name] for name in (["ETag", f"Checksum{algorithm}"] if algorithm else ["ETag"])}
    done = {**named, "MultipartUpload": {"Parts": [{"PartNumber": 1, **kept}]}}
    wrong = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": OTHER}
    assert code_of(s3.complete_multipart_upload, **done, **wrong) == "InvalidRequest"
    assert code_of(s3.complete_multipart_upload, **done) == ("InvalidRequest" if algorithm else "done")
    assert code_of(s3.list_parts, **named) == ("done" if algorithm else "NoSuchUpload")
    assert code_of(s3.complete_multipart_upload, **done, **CUSTOMER) == "done"
    assert read(s3, "k", "sse-c") == b"part"


@pytest.mark.parametrize("mode", list(MODES))
def test_parts_and_ranges_across_them(secure, mode):
    s3, dice = secure.client(), random.Random(3)
    bodies = [dice.randbytes(n) for n in (5 << 20, (5 << 20) + 12_345, 77)]
    whole = b"".join(bodies)
    done = upload(s3, "m", bodies, mode)
    assert done.get("ServerSideEncryption") == MODES[mode].get("ServerSideEncryption")
    assert read(s3, "m", mode) == whole
    for first, last in [(0, 0), (len(bodies[0]) - 3, len(bodies[0]) + 3), (5_000_000, 10_500_000), (len(whole) - 100, len(whole) - 1)]:
        assert read(s3, "m", mode, Range=f"bytes={first}-{last}") == whole[first:last + 1]
    for number, body in enumerate(bodies, 1):
        assert read(s3, "m", mode, PartNumber=number) == body


@pytest.mark.parametrize("mode", list(MODES))
def test_checksums_are_those_of_the_plain_bytes(secure, mode):
    s3, body = secure.client(), random.Random(1).randbytes(200_000)
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    customer = CUSTOMER if mode == "sse-c" else {}
    put = s3.put_object(Bucket="bucket", Key="k", Body=body, ChecksumAlgorithm="SHA256", **MODES[mode])
    head = s3.head_object(Bucket="bucket", Key="k", ChecksumMode="ENABLED", **customer)
    encoded = ENCODED if mode == "sse-c" else {}
    attributes = s3.get_object_attributes(Bucket="bucket", Key="k", ObjectAttributes=["Checksum", "ETag"], **encoded)
    assert put["ChecksumSHA256"] == head["ChecksumSHA256"] == attributes["Checksum"]["ChecksumSHA256"] == digest
    is_md5 = put["ETag"].strip('"') == hashlib.md5(body).hexdigest()
    assert is_md5 == (mode in ("plain", "sse-s3"))
    assert head["ETag"] == put["ETag"] == f'"{attributes["ETag"]}"'
    # A part's checksum comes back, and the whole has the one of all bytes.
    bodies = [body * 27, b"end"]
    upload(s3, "m", bodies, mode, ChecksumAlgorithm="CRC32C", ChecksumType="FULL_OBJECT")
    s3.put_object(Bucket="bucket", Key="one", Body=b"".join(bodies), ChecksumAlgorithm="CRC32C")
    wanted = s3.head_object(Bucket="bucket", Key="one", ChecksumMode="ENABLED")["ChecksumCRC32C"]
    assert s3.head_object(Bucket="bucket", Key="m", ChecksumMode="ENABLED", **customer)["ChecksumCRC32C"] == wanted


def test_copies_between_all_modes(secure):
    s3, body = secure.client(), random.Random(2).randbytes(150_000)
    for source, how in MODES.items():
        s3.put_object(Bucket="bucket", Key="from", Body=body, Metadata={"a": "b"}, ContentType="x/y", **how)
        for target, wanted in MODES.items():
            key_of_source = SOURCE if source == "sse-c" else {}
            s3.copy_object(Bucket="bucket", Key="to", CopySource="bucket/from", **wanted, **key_of_source)
            assert read(s3, "to", target) == body, (source, target)
            customer = CUSTOMER if target == "sse-c" else {}
            head = s3.head_object(Bucket="bucket", Key="to", **customer)
            assert head.get("ServerSideEncryption") == wanted.get("ServerSideEncryption")
            assert (head["Metadata"], head["ContentType"]) == ({"a": "b"}, "x/y")
    # An object copied onto itself changes its encryption, also to none it had.
    s3.put_object(Bucket="bucket", Key="self", Body=body)
    for how in (S3, KMS, S3):
        s3.copy_object(Bucket="bucket", Key="self", CopySource="bucket/self", **how)
        assert read(s3, "self", "") == body
        assert s3.head_object(Bucket="bucket", Key="self")["ServerSideEncryption"] == how["ServerSideEncryption"]


def test_nothing_of_an_encrypted_object_is_on_the_drive_in_the_clear(secure, tmp_path):
    """Marked bytes, metadata, headers, digests and keys are searched in everything that the server wrote."""
    s3 = secure.client()
    body = b"MARKED-PLAINTEXT-" * 20_000
    for number, (mode, how) in enumerate(MODES.items()):
        if mode == "plain":
            continue
        s3.put_object(Bucket="bucket", Key=f"large{number}", Body=body, Metadata={"secret-name": "MARKED-METADATA"},
                      ContentDisposition="MARKED-HEADER", ChecksumAlgorithm="SHA256", **how)
        s3.put_object(Bucket="bucket", Key=f"small{number}", Body=b"MARKED-PLAINTEXT-", **how)
        upload(s3, f"parts{number}", [b"MARKED-PLAINTEXT-" * 400_000, b"MARKED-PLAINTEXT-"], mode,
               Metadata={"secret-name": "MARKED-METADATA"}, ChecksumAlgorithm="SHA256")
        head = s3.head_object(Bucket="bucket", Key=f"large{number}", **(CUSTOMER if mode == "sse-c" else {}))
        assert head["Metadata"] == {"secret-name": "MARKED-METADATA"}
    code, log = secure.stop()
    assert code == 0
    md5 = hashlib.md5(body).digest()
    needles = [b"MARKED-", b"secret-name", KEY, base64.b64encode(KEY)]
    files = [path for path in (tmp_path / "drive").rglob("*") if path.is_file() and path.stat().st_size]
    assert sum(path.stat().st_size for path in files) > 20 << 20
    md5_count = 0
    for path in files:
        content = path.read_bytes()
        for needle in needles:
            assert needle not in content, (path.name, needle)
        md5_count += content.count(md5)
    # The MD5 of an SSE-S3 object is its entity tag; of the others there is none.
    assert md5_count > 0
    for needle in needles:
        assert needle.decode("latin-1") not in log


def test_no_digest_of_hidden_bytes_is_on_the_drive(secure, tmp_path):
    s3, body = secure.client(), random.Random(8).randbytes(300_000)
    s3.put_object(Bucket="bucket", Key="kms", Body=body, ChecksumAlgorithm="SHA1", **KMS)
    s3.put_object(Bucket="bucket", Key="c", Body=body, ChecksumAlgorithm="SHA1", **CUSTOMER)
    secure.stop()
    md5, sha = hashlib.md5(body).digest(), hashlib.sha1(body).digest()
    for path in (tmp_path / "drive").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert md5 not in content and sha not in content, path.name


BAD = [
    ({"x-amz-server-side-encryption": "aws:kms:dsse"}, "NotImplemented"),
    ({"x-amz-server-side-encryption": "aes256"}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": ""}, "InvalidArgument"),
    ({"x-amz-server-side-encryption-aws-kms-key-id": "k"}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "AES256", "x-amz-server-side-encryption-aws-kms-key-id": "k"}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "AES256", "x-amz-server-side-encryption-context": "e30="}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-context": "no"}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-context": "W10="}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-bucket-key-enabled": "maybe"}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "missing"}, "KMS.NotFoundException"),
    ({"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "alias/missing"}, "KMS.NotFoundException"),
    ({"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-west-1:000000000000:key/k"},
     "KMS.NotFoundException"),
]


@pytest.mark.parametrize("headers, code", BAD)
def test_what_contradicts_itself_is_refused_and_stores_nothing(start, headers, code):
    s3 = start().client()
    s3.create_bucket(Bucket="bucket")

    def add(request, **_):
        for name, value in headers.items():
            request.headers[name] = value

    s3.meta.events.register("before-sign.s3.*", add)
    assert code_of(s3.put_object, Bucket="bucket", Key="k", Body=b"x") == code
    assert code_of(s3.create_multipart_upload, Bucket="bucket", Key="k") == code
    s3.meta.events.unregister("before-sign.s3.*", add)
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="bucket")


def test_keys_of_clients(secure):
    """Wrong, missing and needless keys, on every operation that takes one."""
    s3 = secure.client()
    wrong = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": OTHER}
    s3.put_object(Bucket="bucket", Key="c", Body=b"x" * 100_000, **CUSTOMER)
    s3.put_object(Bucket="bucket", Key="plain", Body=b"y")
    for call in (s3.get_object, s3.head_object):
        plain = {s3.get_object: "InvalidRequest", s3.head_object: "400"}[call]
        denied = {s3.get_object: "AccessDenied", s3.head_object: "403"}[call]
        assert code_of(call, Bucket="bucket", Key="c") == plain
        assert code_of(call, Bucket="bucket", Key="c", **wrong) == denied
        assert code_of(call, Bucket="bucket", Key="plain", **CUSTOMER) == plain
        assert code_of(call, Bucket="bucket", Key="c", **CUSTOMER) == "done"
    assert code_of(s3.get_object_attributes, Bucket="bucket", Key="c", ObjectAttributes=["ETag"]) == "InvalidRequest"
    assert code_of(s3.copy_object, Bucket="bucket", Key="t", CopySource="bucket/c") == "InvalidRequest"
    assert code_of(s3.copy_object, Bucket="bucket", Key="t", CopySource="bucket/c", CopySourceSSECustomerAlgorithm="AES256",
                   CopySourceSSECustomerKey=OTHER) == "AccessDenied"
    upload_id = s3.create_multipart_upload(Bucket="bucket", Key="m", **CUSTOMER)["UploadId"]
    part = {"Bucket": "bucket", "Key": "m", "UploadId": upload_id, "PartNumber": 1, "Body": b"part"}
    assert code_of(s3.upload_part, **part) == "InvalidRequest"
    assert code_of(s3.upload_part, **part, **wrong) == "InvalidRequest"
    assert code_of(s3.upload_part, **part, **CUSTOMER) == "done"
    done = {"Bucket": "bucket", "Key": "m", "UploadId": upload_id,
            "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": s3.list_parts(Bucket="bucket", Key="m", UploadId=upload_id)["Parts"][0]["ETag"]}]}}
    assert code_of(s3.complete_multipart_upload, **done, **wrong) == "InvalidRequest"
    assert code_of(s3.complete_multipart_upload, **done) == "done"
    assert s3.get_object(Bucket="bucket", Key="m", **CUSTOMER)["Body"].read() == b"part"
    plain_upload = s3.create_multipart_upload(Bucket="bucket", Key="p")["UploadId"]
    assert code_of(s3.upload_part, Bucket="bucket", Key="p", UploadId=plain_upload, PartNumber=1, Body=b"x", **CUSTOMER) == "InvalidRequest"
    # What a bucket does not take.
    s3.put_bucket_encryption(Bucket="bucket", ServerSideEncryptionConfiguration={"Rules": [{
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
        "BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]}}]})
    assert code_of(s3.put_object, Bucket="bucket", Key="c2", Body=b"x", **CUSTOMER) == "AccessDenied"


def test_a_key_is_not_taken_where_others_can_read_it(start):
    """Plain HTTP is refused, unless a trusted proxy says that its client came by TLS."""
    server = start("--trusted-proxies", "127.0.0.1/32")
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    assert code_of(s3.put_object, Bucket="bucket", Key="k", Body=b"x", **CUSTOMER) == "InvalidRequest"
    assert code_of(s3.head_object, Bucket="bucket", Key="k") == "404"
    s3.meta.events.register("before-send.s3.*", lambda request, **_: request.headers.__setitem__("X-Forwarded-Proto", "https"))
    assert code_of(s3.put_object, Bucket="bucket", Key="k", Body=b"x", **CUSTOMER) == "done"
    # Nor where it would be in an address.
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
    answer = requests.get(url + "&x-amz-server-side-encryption-customer-key=" + base64.b64encode(KEY).decode(), timeout=10)
    assert answer.status_code in (400, 403) and base64.b64encode(KEY).decode() not in answer.text


def test_a_reader_says_nothing_of_keys_that_the_server_keeps(start):
    s3 = start().client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=b"x", **S3)
    s3.meta.events.register("before-sign.s3.GetObject", lambda request, **_: request.headers.add_header("x-amz-server-side-encryption", "AES256"))
    assert code_of(s3.get_object, Bucket="bucket", Key="k") == "InvalidArgument"


def test_every_bucket_encrypts_where_the_server_says_so(start, tmp_path):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD, "MINIO_KMS_AUTO_ENCRYPTION": "on"}
    server = start(env=env)
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    assert s3.put_object(Bucket="bucket", Key="k", Body=b"MARKED" * 1000)["ServerSideEncryption"] == "AES256"
    server.stop()
    assert not any(b"MARKEDMARKED" in path.read_bytes() for path in (tmp_path / "drive").rglob("*") if path.is_file())


def test_access_logs_are_encrypted_as_their_bucket_says(start):
    server = start("--log-delivery-seconds", "1")
    s3 = server.client()
    for bucket in ("bucket", "logs"):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_encryption(Bucket="logs", ServerSideEncryptionConfiguration={
        "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]})
    s3.put_bucket_logging(Bucket="bucket", BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": "l/"}})
    s3.put_object(Bucket="bucket", Key="k", Body=b"x")
    server.stop()
    server = start("--log-delivery-seconds", "1")
    s3 = server.client()
    found = s3.list_objects_v2(Bucket="logs")["Contents"][0]["Key"]
    got = s3.get_object(Bucket="logs", Key=found)
    assert got["ServerSideEncryption"] == "aws:kms" and b"REST.PUT.OBJECT" in got["Body"].read()


def test_encrypted_objects_outlive_lost_drives(tmp_path):
    """Six drives, two of them gone: ranges of encrypted objects of all lengths, and a verification."""
    wall = Wall(tmp_path, 6)
    try:
        s3 = wall.start().client()
        s3.create_bucket(Bucket="bucket")
        dice, bodies = random.Random(5), {}
        for mode in ("sse-s3", "sse-kms"):
            for size in [*SIZES, 5_000_001]:
                key = f"{mode}-{size}"
                bodies[key] = dice.randbytes(size)
                s3.put_object(Bucket="bucket", Key=key, Body=bodies[key], **MODES[mode])
            parts = [dice.randbytes(5 << 20), dice.randbytes(2_000_000)]
            upload(s3, f"{mode}-parts", parts, mode)
            bodies[f"{mode}-parts"] = b"".join(parts)
        found = json.loads(drystone("verify", "--at", wall.directories[0], "--json").stdout)
        assert "verification" in json.dumps(found)
        wall.stop()
        for path in wall.directories[1:3]:
            shutil.rmtree(path)
            path.mkdir()
        s3 = wall.start().client()
        for key, body in bodies.items():
            assert read(s3, key, "") == body, key
            for _ in range(4 if body else 0):
                first, last = sorted([dice.randrange(len(body)), dice.randrange(len(body))])
                assert read(s3, key, "", Range=f"bytes={first}-{last}") == body[first:last + 1], (key, first, last)
    finally:
        wall.server.kill()


def test_a_lost_keyring_is_refused_by_name(start, tmp_path):
    server = start()
    s3 = server.client()
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="sealed", Body=b"secret" * 10_000, **S3)
    s3.put_object(Bucket="bucket", Key="plain", Body=b"plain")
    backup = drystone("kms", "export-keyring", "--at", tmp_path / "drive").stdout
    server.stop()
    keyring = tmp_path / "drive" / "keyring"
    assert backup == keyring.read_text()
    key = json.loads(backup)["keys"][0]["id"]
    keyring.rename(tmp_path / "kept")
    refused = start(wait=False)
    assert refused.process.wait(timeout=20) != 0
    message = refused.process.stderr.read()
    assert key in message and "--accept-lost-keyring" in message and not keyring.exists()
    # Another deployment's keyring is no better.
    other = Server(tmp_path / "other").wait_ready()
    other.stop()
    shutil.copy(tmp_path / "other" / "keyring", keyring)
    refused = start(wait=False)
    assert refused.process.wait(timeout=20) != 0 and key in refused.process.stderr.read()
    keyring.unlink()
    server = start("--accept-lost-keyring")
    s3 = server.client()
    assert s3.get_object(Bucket="bucket", Key="plain")["Body"].read() == b"plain"
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket="bucket", Key="sealed")
    told = error.value.response["Error"]
    assert told["Code"] == "InternalError" and key in told["Message"]
    s3.put_object(Bucket="bucket", Key="new", Body=b"new", **S3)
    assert s3.get_object(Bucket="bucket", Key="new")["Body"].read() == b"new"
    # The object is not lost with it: the backup brings it back.
    server.stop()
    old, new = json.loads((tmp_path / "kept").read_text()), json.loads(keyring.read_text())
    keyring.write_text(json.dumps({**old, "keys": old["keys"] + new["keys"]}))
    s3 = start().client()
    assert s3.get_object(Bucket="bucket", Key="sealed")["Body"].read() == b"secret" * 10_000
    assert s3.get_object(Bucket="bucket", Key="new")["Body"].read() == b"new"
