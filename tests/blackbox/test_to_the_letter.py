"""What answers say in places where clients compare it with S3, each by what S3's documentation says."""
import datetime
import itertools

import pytest
import requests
from botocore.exceptions import ClientError

from abuse.people import document, service, signed
from conftest import Server

NUMBERS = itertools.count()
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("letter")
    server = Server(directory / "drive", "--bucket-defaults", "open").wait_ready()
    yield server
    server.stop()


@pytest.fixture
def bucket(server):
    name = f"letter-{next(NUMBERS)}"
    server.client().create_bucket(Bucket=name, ACL="public-read-write")
    return name


def code_of(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"]


def completed(s3, bucket, key, **parameters):
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]})


WRITES = {
    "put": lambda server, s3, bucket: s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ResponseMetadata"]["HTTPHeaders"],
    "copy": lambda server, s3, bucket: s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/source")["ResponseMetadata"]["HTTPHeaders"],
    "upload": lambda server, s3, bucket: completed(s3, bucket, "k")["ResponseMetadata"]["HTTPHeaders"],
    "form": lambda server, s3, bucket: requests.post(f"{server.url}/{bucket}", files={"key": (None, "k"), "file": ("f", b"1")}, timeout=20).headers,
}


@pytest.mark.parametrize("way", WRITES)
def test_a_write_names_its_version_only_while_versions_are_kept(server, bucket, way):
    """S3 API reference, "PutObject", examples: the answer has a version where versioning is on, and none where it is suspended."""
    s3 = server.client()
    s3.put_object(Bucket=bucket, Key="source", Body=b"1")
    for status, names in (("Enabled", True), ("Suspended", False), ("Enabled", True)):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        headers = WRITES[way](server, s3, bucket)
        assert ("x-amz-version-id" in headers) == names, (status, dict(headers))
        stored = s3.head_object(Bucket=bucket, Key="k")["VersionId"]
        assert (stored == "null") == (not names)
        assert not names or headers["x-amz-version-id"] == stored


@pytest.mark.parametrize("sent, kept", [("deflate, aws-chunked, gzip", "deflate, gzip"), ("aws-chunked,gzip", "gzip"), ("gzip , AWS-Chunked", "gzip"),
                                        ("aws-chunked", None), ("br,gzip", "br,gzip"), ("br,  gzip", "br,  gzip")])
def test_encodings_stay_as_they_were_sent_but_for_that_of_the_request(server, bucket, sent, kept):
    assert signed(server, "PUT", f"/{bucket}/k", b"1", {"Content-Encoding": sent}).status_code == 200
    assert requests.head(f"{server.url}/{bucket}/k", timeout=20).status_code == 403
    answer = signed(server, "HEAD", f"/{bucket}/k")
    assert answer.headers.get("content-encoding") == kept


def test_tags_come_in_the_order_of_their_keys(server, bucket):
    s3 = server.client()
    expected = [{"Key": "a", "Value": ""}, {"Key": "b", "Value": "1"}, {"Key": "c", "Value": "2"}]
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="c=2&a&b=1")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == expected
    for put, get, named in ((s3.put_object_tagging, s3.get_object_tagging, {"Key": "k"}), (s3.put_bucket_tagging, s3.get_bucket_tagging, {})):
        put(Bucket=bucket, **named, Tagging={"TagSet": expected[::-1]})
        assert get(Bucket=bucket, **named)["TagSet"] == expected


@pytest.mark.parametrize("document", ["", "<CompleteMultipartUpload/>", "<CompleteMultipartUpload></CompleteMultipartUpload>"])
def test_a_completion_without_parts_is_malformed(server, bucket, document):
    s3 = server.client()
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    answer = signed(server, "POST", f"/{bucket}/k?uploadId={upload}", document.encode())
    assert answer.status_code == 400 and "<Code>MalformedXML</Code>" in answer.text
    s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)


@pytest.mark.parametrize("algorithm, kind", [("SHA256", "COMPOSITE"), ("SHA1", "COMPOSITE"), ("CRC32", "COMPOSITE"), ("CRC32C", "COMPOSITE"),
                                             ("CRC32", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT")])
def test_a_part_is_read_with_its_digest_and_the_type_of_its_object(server, bucket, algorithm, kind):
    s3, field = server.client(), f"Checksum{algorithm}"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)["UploadId"]
    parts = []
    for number, body in ((1, b"a" * (5 * MIB)), (2, b"b")):
        part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": part["ETag"], field: part[field]})
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumType"] == kind
    for part in parts:
        answer = s3.get_object(Bucket=bucket, Key="k", PartNumber=part["PartNumber"], ChecksumMode="ENABLED")
        assert (answer["ChecksumType"], answer[field]) == (kind, part[field])
        assert len(answer["Body"].read()) == answer["ContentLength"]


def test_another_mode_of_a_lock_needs_the_right_to_bypass_governance(server):
    """S3 user guide, "Governance mode": its settings are not altered without the right."""
    s3, name = server.client(), f"letter-{next(NUMBERS)}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=30)
    later = until + datetime.timedelta(seconds=30)
    s3.put_object(Bucket=name, Key="k", Body=b"1", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    for when in (until, later):
        strict = {"Mode": "COMPLIANCE", "RetainUntilDate": when}
        assert code_of(s3.put_object_retention, Bucket=name, Key="k", Retention=strict) == "AccessDenied"
    s3.put_object_retention(Bucket=name, Key="k", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": later})
    s3.put_object_retention(Bucket=name, Key="k", Retention={"Mode": "COMPLIANCE", "RetainUntilDate": later}, BypassGovernanceRetention=True)
    assert s3.get_object_retention(Bucket=name, Key="k")["Retention"]["Mode"] == "COMPLIANCE"


def test_a_request_may_be_dated_as_mail_is(server, bucket):
    """botocore, where a program sets `Date`, signs with that header and no other, and writes its zone as -0000."""
    answer = signed(server, "PUT", f"/{bucket}/k", b"1", {"Date": "set by a program"})
    sent = answer.request.headers
    assert sent["Date"].endswith(" -0000") and "x-amz-date" not in {name.lower() for name in sent}
    assert answer.status_code == 200, answer.text
    for date in ("Mon, 30 Nov 2020 06:00:00 -0000", "Mon, 30 Nov 2020 06:00:00 +0100", "yesterday -0000", ""):
        other = requests.put(f"{server.url}/{bucket}/k", data=b"1", headers={**sent, "Date": date}, timeout=20)
        assert other.status_code in (400, 403), (date, other.text)


def test_an_answer_has_its_result_where_the_model_names_one(server):
    """A result with nothing in it is there too: boto3 looks for the element."""
    iam = service(server, "iam")
    trust = document({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust)
    iam.update_role(RoleName="r", Description="changed", MaxSessionDuration=7200)
    role = iam.get_role(RoleName="r")["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("changed", 7200)
