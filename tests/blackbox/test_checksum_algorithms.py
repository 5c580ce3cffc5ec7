"""Every checksum algorithm of the service model, by every way in and every way out.

The values are computed beside the server: by hashlib, and for CRC and XXH by the runtime that the SDKs of AWS share.
"""
import base64
import hashlib
import itertools

import botocore.session
import pytest
import requests
from awscrt import checksums as crt
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, Server
from raw import Signer

BUCKET = "sums"
MODEL = botocore.session.get_session().get_service_model("s3")
ALGORITHMS = MODEL.shape_for("ChecksumAlgorithm").enum
CRCS = {"CRC32", "CRC32C", "CRC64NVME"}
BODIES = [b"", b"x", b"123456789" * 11, bytes(range(256)) * 300]
NAMES = itertools.count()


def xxh(make):
    def value(body):
        digest = make()
        digest.update(body)
        return digest.finalize()
    return value


OF = {"CRC32": lambda b: crt.crc32(b).to_bytes(4, "big"), "CRC32C": lambda b: crt.crc32c(b).to_bytes(4, "big"),
      "CRC64NVME": lambda b: crt.crc64nvme(b).to_bytes(8, "big"), "SHA1": lambda b: hashlib.sha1(b).digest(),
      "SHA256": lambda b: hashlib.sha256(b).digest(), "SHA512": lambda b: hashlib.sha512(b).digest(), "MD5": lambda b: hashlib.md5(b).digest(),
      "XXHASH64": xxh(crt.XXHash.new_xxhash64), "XXHASH3": xxh(crt.XXHash.new_xxhash3_64), "XXHASH128": xxh(crt.XXHash.new_xxhash3_128)}


def text(algorithm, body):
    return base64.b64encode(OF[algorithm](body)).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("sums") / "drive", "--bucket-defaults", "open").wait_ready()
    server.client().create_bucket(Bucket=BUCKET)
    yield server
    server.stop()


@pytest.fixture
def s3(server):
    return server.client(request_checksum_calculation="when_required", response_checksum_validation="when_supported")


def key():
    return f"k{next(NAMES)}"


def check_out(s3, name, algorithm, value, kind="FULL_OBJECT"):
    """The checksum by each way out."""
    field, where = f"Checksum{algorithm}", {"Bucket": BUCKET, "Key": name}
    for answer in (s3.head_object(ChecksumMode="ENABLED", **where), s3.get_object(ChecksumMode="ENABLED", **where)):
        assert (answer[field], answer["ChecksumType"]) == (value, kind)
    assert field not in s3.head_object(**where)
    attributes = s3.get_object_attributes(ObjectAttributes=["Checksum"], **where)["Checksum"]
    assert attributes == {field: value, "ChecksumType": kind}
    for listed in (s3.list_objects_v2(Bucket=BUCKET, Prefix=name)["Contents"], s3.list_object_versions(Bucket=BUCKET, Prefix=name)["Versions"]):
        assert (listed[0]["ChecksumAlgorithm"], listed[0]["ChecksumType"]) == ([algorithm], kind)


def test_all_of_the_model_are_here():
    assert set(ALGORITHMS) == set(OF)


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_by_header(s3, algorithm, body):
    name, value = key(), text(algorithm, body)
    answer = s3.put_object(Bucket=BUCKET, Key=name, Body=body, **{f"Checksum{algorithm}": value})
    assert (answer[f"Checksum{algorithm}"], answer["ChecksumType"]) == (value, "FULL_OBJECT")
    check_out(s3, name, algorithm, value)
    assert s3.get_object(Bucket=BUCKET, Key=name, ChecksumMode="ENABLED")["Body"].read() == body


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_by_trailer(server, s3, algorithm):
    """Unsigned and signed framing, with the value in the trailer; a wrong one stores nothing."""
    body, name = b"trailing" * 99, key()
    for payload, wrong in itertools.product(("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"), (False, True)):
        header = f"x-amz-checksum-{algorithm.lower()}"
        sent = text(algorithm, body + b"!" if wrong else body)
        signer, path, host = Signer(USER, PASSWORD), f"/{BUCKET}/{name}{wrong}", f"127.0.0.1:{server.port}"
        extra = {"x-amz-trailer": header, "x-amz-decoded-content-length": str(len(body)), "content-encoding": "aws-chunked",
                 "x-amz-sdk-checksum-algorithm": algorithm}
        headers, seed = signer.headers("PUT", path, host, payload=payload, extra=extra)
        if "UNSIGNED" in payload:
            framed = f"{len(body):x}\r\n".encode() + body + f"\r\n0\r\n{header}:{sent}\r\n\r\n".encode()
        else:
            framed = b"".join(signer.chunks(seed, [body], trailer=[(header, sent)]))
        answer = requests.put(f"http://{host}{path}", data=framed, headers=headers)
        if wrong:
            assert (answer.status_code, "<Code>BadDigest</Code>" in answer.text) == (400, True), answer.text
            assert not s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{name}True").get("Contents")
        else:
            assert answer.status_code == 200, answer.text
            assert answer.headers[header] == sent
            check_out(s3, f"{name}False", algorithm, sent)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_does_not_fit_is_refused(s3, algorithm):
    name, body = key(), b"body"
    other = next(a for a in ALGORITHMS if a != algorithm)
    field = f"Checksum{algorithm}"
    for extra, code in (({field: text(algorithm, b"other")}, "BadDigest"), ({field: "AAAA"[:3]}, "InvalidRequest"), ({field: "AA=="}, "InvalidRequest"),
                        ({field: text(algorithm, body), "ChecksumAlgorithm": other}, "InvalidRequest"),
                        ({field: text(algorithm, body), f"Checksum{other}": text(other, body)}, "InvalidRequest")):
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=BUCKET, Key=name, Body=body, **extra)
        assert refused.value.response["Error"]["Code"] == code, (extra, refused.value)
    assert not s3.list_objects_v2(Bucket=BUCKET, Prefix=name).get("Contents")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_by_form(server, s3, algorithm):
    name, body, field = key(), b"of a form", f"x-amz-checksum-{algorithm.lower()}"
    value = text(algorithm, body)
    fields = {field: value, "success_action_status": "201"}
    form = s3.generate_presigned_post(BUCKET, name, Fields=dict(fields), Conditions=[{k: v} for k, v in fields.items()])
    answer = requests.post(form["url"], data=form["fields"], files={"file": body})
    assert answer.status_code == 201, answer.text
    assert answer.headers[field] == value
    check_out(s3, name, algorithm, value)
    form["fields"][field] = text(algorithm, b"other")
    form = s3.generate_presigned_post(BUCKET, name + "x", Fields={field: form["fields"][field]}, Conditions=[{field: form["fields"][field]}])
    assert requests.post(form["url"], data=form["fields"], files={"file": body}).status_code == 400


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_by_copy(s3, algorithm):
    name, body = key(), b"to be copied" * 50
    s3.put_object(Bucket=BUCKET, Key=name, Body=body)
    result = s3.copy_object(Bucket=BUCKET, Key=name + "c", CopySource=f"{BUCKET}/{name}", ChecksumAlgorithm=algorithm)["CopyObjectResult"]
    assert (result[f"Checksum{algorithm}"], result["ChecksumType"]) == (text(algorithm, body), "FULL_OBJECT")
    check_out(s3, name + "c", algorithm, text(algorithm, body))
    # And without one being named, the copy keeps the source's.
    s3.copy_object(Bucket=BUCKET, Key=name + "d", CopySource=f"{BUCKET}/{name}c")
    check_out(s3, name + "d", algorithm, text(algorithm, body))


@pytest.mark.parametrize("kind", ["COMPOSITE", "FULL_OBJECT", None])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_by_parts(s3, algorithm, kind):
    name, bodies = key(), [b"p" * (5 << 20), b"q" * 77]
    where = {"Bucket": BUCKET, "Key": name}
    asked = {"ChecksumType": kind} if kind else {}
    kinds = {"FULL_OBJECT"} if algorithm == "CRC64NVME" else {"COMPOSITE", "FULL_OBJECT"} if algorithm in CRCS else {"COMPOSITE"}
    if kind and kind not in kinds:
        with pytest.raises(ClientError) as refused:
            s3.create_multipart_upload(ChecksumAlgorithm=algorithm, **asked, **where)
        assert refused.value.response["Error"]["Code"] == "InvalidRequest"
        return
    kind = kind or ("COMPOSITE" if "COMPOSITE" in kinds else "FULL_OBJECT")
    begun = s3.create_multipart_upload(ChecksumAlgorithm=algorithm, **asked, **where)
    assert (begun["ChecksumAlgorithm"], begun["ChecksumType"]) == (algorithm, kind)
    upload, field, parts = begun["UploadId"], f"Checksum{algorithm}", []
    for number, body in enumerate(bodies, 1):
        value = text(algorithm, body)
        part = s3.upload_part(UploadId=upload, PartNumber=number, Body=body, **{field: value}, **where)
        assert part[field] == value
        parts.append({"PartNumber": number, "ETag": part["ETag"], field: value})
    listed = s3.list_parts(UploadId=upload, **where)
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, kind)
    assert [part[field] for part in listed["Parts"]] == [part[field] for part in parts]
    uploads = s3.list_multipart_uploads(Bucket=BUCKET, Prefix=name)["Uploads"][0]
    assert (uploads["ChecksumAlgorithm"], uploads["ChecksumType"]) == (algorithm, kind)
    whole = text(algorithm, b"".join(bodies)) if kind == "FULL_OBJECT" else text(algorithm, b"".join(OF[algorithm](b) for b in bodies)) + "-2"
    wrong = text(algorithm, b"other") + ("-2" if kind == "COMPOSITE" else "")
    with pytest.raises(ClientError) as refused:
        s3.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": parts}, **{field: wrong}, **where)
    assert refused.value.response["Error"]["Code"] in ("BadDigest", "InvalidRequest"), refused.value
    done = s3.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": parts}, **{field: whole}, **where)
    assert (done[field], done["ChecksumType"]) == (whole, kind)
    check_out(s3, name, algorithm, whole, kind)
    of_parts = s3.get_object_attributes(ObjectAttributes=["ObjectParts"], **where)["ObjectParts"]
    if kind == "COMPOSITE":
        assert [part[field] for part in of_parts["Parts"]] == [part[field] for part in parts]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_after_a_restart(tmp_path, algorithm):
    body = b"kept"
    server = Server(tmp_path / "drive", "--bucket-defaults", "open").wait_ready()
    s3 = server.client(request_checksum_calculation="when_required")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="k", Body=body, **{f"Checksum{algorithm}": text(algorithm, body)})
    server.stop()
    server = Server(tmp_path / "drive", "--bucket-defaults", "open").wait_ready()
    try:
        check_out(server.client(), "k", algorithm, text(algorithm, body))
    finally:
        server.stop()
