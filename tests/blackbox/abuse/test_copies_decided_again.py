"""Copies are decided on again when their source has been read."""
import threading
import time

import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from surfaces import ALLOW_ALL, ROOT, Surfaces

NO_TAGS = {"Effect": "Deny", "Action": ["s3:PutObjectTagging"], "Resource": "*"}

LEN = 96 << 20
ROUNDS = 8


def time_of_copy(surfaces, headers):
    """How long a copy takes here if nothing comes between. Each round then comes between at another part of that."""
    began = time.monotonic()
    assert surfaces.send(ROOT, "s3", "PUT", "/bkt/out", b"", headers).status_code == 200
    return time.monotonic() - began


def copy_of_one_who_is_removed(server, surfaces, number, delay_s, target, headers):
    """The status of a copy whose user was removed while it ran."""
    name, begun, answers = f"user{number}", threading.Event(), []
    who = surfaces.user(name, ALLOW_ALL)

    def copy():
        own = Surfaces(server)
        begun.set()
        answers.append(own.send(who, "s3", "PUT", target, b"", headers).status_code)

    thread = threading.Thread(target=copy)
    thread.start()
    begun.wait()
    # The copy has to be on its way: else its user is not known to it at all.
    thread.join(delay_s)
    surfaces.root("DeleteAccessKey", UserName=name, AccessKeyId=who.access_key)
    thread.join()
    return answers[0]


@pytest.mark.parametrize("is_part", [False, True])
def test_a_copy_of_one_who_was_removed_meanwhile_is_not_made(start, is_part):
    """Method: users copy an object, sealed as it was not, and lose their key meanwhile. Where the copy was faster, or its
    user was gone before it began, it is tried again."""
    server = start()
    surfaces, s3 = Surfaces(server), server.client()
    s3.create_bucket(Bucket="bkt")
    s3.put_object(Bucket="bkt", Key="big", Body=b"z" * LEN)
    headers = {"x-amz-copy-source": "bkt/big", "x-amz-server-side-encryption": "AES256"}
    upload = s3.create_multipart_upload(Bucket="bkt", Key="out", ServerSideEncryption="AES256")["UploadId"]
    took_s = time_of_copy(surfaces, headers)
    if is_part:
        headers.pop("x-amz-server-side-encryption")
    refused = False
    for number in range(ROUNDS):
        s3.delete_object(Bucket="bkt", Key="out")
        target = f"/bkt/out?partNumber={number + 1}&uploadId={upload}" if is_part else "/bkt/out"
        delay_s = took_s * (number + 1) / ROUNDS
        status = copy_of_one_who_is_removed(server, surfaces, number, delay_s, target, headers)
        assert status in (200, 403), status
        if is_part:
            parts = s3.list_parts(Bucket="bkt", Key="out", UploadId=upload).get("Parts", [])
            is_there = number + 1 in [part["PartNumber"] for part in parts]
        else:
            is_there = "Contents" in s3.list_objects_v2(Bucket="bkt", Prefix="out")
        assert is_there == (status == 200)
        refused |= status == 403 and number > 0
    assert refused, "each copy was made"


def test_tags_that_may_not_be_set_any_more_do_not_come_along(start):
    """Method: a user copies an object with tags, sealed as it was not, and may not set tags any more meanwhile. Where the
    copy was faster, or its user was denied before it began, it is tried again."""
    server = start()
    surfaces, s3 = Surfaces(server), server.client()
    s3.create_bucket(Bucket="bkt")
    s3.put_object(Bucket="bkt", Key="big", Body=b"z" * LEN, Tagging="class=secret")
    headers = {"x-amz-copy-source": "bkt/big", "x-amz-server-side-encryption": "AES256"}
    took_s = time_of_copy(surfaces, headers)
    late = 0
    for number in range(ROUNDS):
        s3.delete_object(Bucket="bkt", Key="out")
        name, answers = f"tagger{number}", []
        who = surfaces.user(name, ALLOW_ALL)
        # Its user is known, and its policies are.
        assert surfaces.s3(who, "GET", "/bkt?location").status_code == 200

        def copy(who=who, answers=answers):
            answers.append(Surfaces(server).send(who, "s3", "PUT", "/bkt/out", b"", headers).status_code)

        thread = threading.Thread(target=copy)
        thread.start()
        thread.join(took_s * (number + 1) / ROUNDS)
        was_running = thread.is_alive()
        surfaces.allow(name, ALLOW_ALL, NO_TAGS)
        thread.join()
        assert answers[0] in (200, 403), answers
        is_there = "Contents" in s3.list_objects_v2(Bucket="bkt", Prefix="out")
        assert is_there == (answers[0] == 200)
        late += answers[0] == 403 and was_running and number > 0
    assert late, "each copy was made"


# Longer copies say their status before they are made.
EARLY_LEN = 257 << 20


@pytest.mark.parametrize("is_part", [False, True])
@pytest.mark.parametrize("end", ["nothing", "key", "deny"])
def test_a_long_copy_is_made_with_the_rights_at_its_end(start, is_part, end):
    """Method: the status comes early, and then the right ends. The document says what became of the copy."""
    server = start()
    s3, surfaces = server.client(), Surfaces(server)
    s3.create_bucket(Bucket="bkt")
    upload = s3.create_multipart_upload(Bucket="bkt", Key="long")["UploadId"]
    pieces = [EARLY_LEN // 2, EARLY_LEN - EARLY_LEN // 2]
    parts = [s3.upload_part(Bucket="bkt", Key="long", UploadId=upload, PartNumber=number, Body=b"z" * size)
             for number, size in enumerate(pieces, 1)]
    done = {"Parts": [{"PartNumber": number, "ETag": part["ETag"]} for number, part in enumerate(parts, 1)]}
    s3.complete_multipart_upload(Bucket="bkt", Key="long", UploadId=upload, MultipartUpload=done)
    who = surfaces.user("copier", ALLOW_ALL)
    to = s3.create_multipart_upload(Bucket="bkt", Key="out", ServerSideEncryption="AES256")["UploadId"]
    headers = {"x-amz-copy-source": "bkt/long"} | ({} if is_part else {"x-amz-server-side-encryption": "AES256"})
    request = AWSRequest("PUT", f"{server.url}/bkt/out" + (f"?partNumber=1&uploadId={to}" if is_part else ""), headers=headers)
    S3SigV4Auth(who, "s3", "us-east-1").add_auth(request)
    with requests.put(request.url, headers=dict(request.headers), stream=True, timeout=120) as copy:
        assert copy.status_code == 200
        if end == "key":
            surfaces.root("DeleteAccessKey", UserName="copier", AccessKeyId=who.access_key)
        if end == "deny":
            surfaces.allow("copier", ALLOW_ALL, {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*"})
        text = copy.text
    made = [part["PartNumber"] for part in s3.list_parts(Bucket="bkt", Key="out", UploadId=to).get("Parts", [])]
    made += [entry["Key"] for entry in s3.list_objects_v2(Bucket="bkt")["Contents"] if entry["Key"] == "out"]
    if end == "nothing":
        assert "<ETag>" in text and made, text
    else:
        assert "<Error>" in text and "<ETag>" not in text and not made, text
