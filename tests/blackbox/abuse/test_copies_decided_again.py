"""Copies are decided on again when their source has been read."""
import threading

import pytest
from surfaces import ALLOW_ALL, Surfaces

LEN = 48 << 20


def copy_of_one_who_is_removed(server, surfaces, number, target, headers):
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
    thread.join(0.05 * (number + 1))
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
    if is_part:
        headers.pop("x-amz-server-side-encryption")
    refused = False
    for number in range(6):
        s3.delete_object(Bucket="bkt", Key="out")
        target = f"/bkt/out?partNumber={number + 1}&uploadId={upload}" if is_part else "/bkt/out"
        status = copy_of_one_who_is_removed(server, surfaces, number, target, headers)
        assert status in (200, 403), status
        if is_part:
            parts = s3.list_parts(Bucket="bkt", Key="out", UploadId=upload).get("Parts", [])
            is_there = number + 1 in [part["PartNumber"] for part in parts]
        else:
            is_there = "Contents" in s3.list_objects_v2(Bucket="bkt", Prefix="out")
        assert is_there == (status == 200)
        refused |= status == 403 and number > 0
    assert refused, "each copy was made"
