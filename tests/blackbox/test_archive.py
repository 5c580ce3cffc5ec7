"""Archived storage classes: what can be read when."""
import time

import pytest
from botocore.exceptions import ClientError

BUCKET = "archive"


def refused(code, call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code, caught.value


def restore(s3, tier, days=1, key="k"):
    request = {"Days": days, "GlacierJobParameters": {"Tier": tier}}
    return s3.restore_object(Bucket=BUCKET, Key=key, RestoreRequest=request)["ResponseMetadata"]["HTTPStatusCode"]


def listed(s3):
    entry = s3.list_objects_v2(Bucket=BUCKET, OptionalObjectAttributes=["RestoreStatus"])["Contents"][0]
    versions = s3.list_object_versions(Bucket=BUCKET, OptionalObjectAttributes=["RestoreStatus"])["Versions"][0]
    assert versions.get("RestoreStatus") == entry.get("RestoreStatus")
    return entry.get("RestoreStatus")


def test_a_restore_takes_its_time_is_prolonged_and_survives_a_restart(start):
    server = start("--restore-delays", "expedited=4s,bulk=1h")
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"cold", StorageClass="GLACIER", Metadata={"a": "1"})
    name = {"Bucket": BUCKET, "Key": "k"}
    refused("InvalidObjectState", s3.get_object, **name)
    refused("InvalidObjectState", s3.get_object, **name, Range="bytes=0-1")
    source = {"CopySource": name}
    refused("InvalidObjectState", s3.copy_object, Bucket=BUCKET, Key="k", StorageClass="STANDARD", **source)
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="p")["UploadId"]
    refused("InvalidObjectState", s3.upload_part_copy, Bucket=BUCKET, Key="p", UploadId=upload, PartNumber=1, **source)
    assert listed(s3) is None
    assert restore(s3, "Expedited") == 202
    refused("RestoreAlreadyInProgress", restore, s3=s3, tier="Standard")
    assert s3.head_object(**name)["Restore"] == 'ongoing-request="true"'
    assert listed(s3) == {"IsRestoreInProgress": True}
    refused("InvalidObjectState", s3.get_object, **name)
    deadline = time.monotonic() + 20
    while "true" in s3.head_object(**name)["Restore"] and time.monotonic() < deadline:
        time.sleep(0.2)
    server.stop()
    server = start(directory=server.directory)
    s3 = server.client()
    head = s3.head_object(**name)
    assert head["Restore"].startswith('ongoing-request="false", expiry-date="') and "00:00:00 GMT" in head["Restore"]
    assert head["StorageClass"] == "GLACIER" and head["Metadata"] == {"a": "1"}
    assert s3.get_object(**name)["Body"].read() == b"cold"
    first = listed(s3)
    assert first["IsRestoreInProgress"] is False
    assert restore(s3, "Bulk", days=5) == 200
    assert listed(s3)["RestoreExpiryDate"] > first["RestoreExpiryDate"]
    # A copy of what is restored is an object of its own, which was never archived.
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=name)
    copy = s3.get_object(Bucket=BUCKET, Key="copy")
    assert copy["Body"].read() == b"cold" and "Restore" not in copy and "StorageClass" not in copy


def test_what_a_restore_does_not_take(start):
    s3 = start().client()
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="deep", Body=b"", StorageClass="DEEP_ARCHIVE")
    s3.put_object(Bucket=BUCKET, Key="warm", Body=b"", StorageClass="STANDARD_IA")
    refused("InvalidArgument", restore, s3=s3, tier="Expedited", key="deep")
    refused("InvalidArgument", restore, s3=s3, tier="Bulk", key="deep", days=0)
    refused("MalformedXML", restore, s3=s3, tier="Soon", key="deep")
    refused("InvalidObjectState", restore, s3=s3, tier="Bulk", key="warm")
    refused("NoSuchKey", restore, s3=s3, tier="Bulk", key="none")
    refused("NotImplemented", s3.restore_object, Bucket=BUCKET, Key="deep", RestoreRequest={"Days": 1, "Type": "SELECT"})
    refused("InvalidArgument", s3.list_objects_v2, Bucket=BUCKET, OptionalObjectAttributes=["Everything"])
    # An empty archived object is not readable either.
    refused("InvalidObjectState", s3.get_object, Bucket=BUCKET, Key="deep")
    assert s3.head_object(Bucket=BUCKET, Key="deep")["ContentLength"] == 0


CLASSES = ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY",
           "GLACIER", "DEEP_ARCHIVE"]


def test_every_class_is_kept_and_told(start):
    s3 = start().client()
    s3.create_bucket(Bucket=BUCKET)
    for name in CLASSES:
        put = s3.put_object(Bucket=BUCKET, Key=name, Body=b"data", StorageClass=name)
        shown = None if name == "STANDARD" else name
        assert put["ResponseMetadata"]["HTTPHeaders"].get("x-amz-storage-class") == shown
        assert s3.head_object(Bucket=BUCKET, Key=name).get("StorageClass") == shown
        attributes = s3.get_object_attributes(Bucket=BUCKET, Key=name, ObjectAttributes=["StorageClass"])
        assert attributes["StorageClass"] == name
    listed = {entry["Key"]: entry["StorageClass"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert listed == {name: name for name in CLASSES}
