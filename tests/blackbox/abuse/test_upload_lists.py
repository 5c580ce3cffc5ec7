"""The list of an upload becomes that of an object when it is completed: a block of public lists holds then."""
import pytest

from people import service
from surfaces import ROOT, Surfaces
from test_held_requests import Held

OPEN = dict.fromkeys(["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"], False)


@pytest.fixture
def server(start):
    return start("--bucket-defaults", "open")


def document(part):
    return f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part['ETag']}</ETag></Part></CompleteMultipartUpload>".encode()


@pytest.mark.parametrize("given", [{"ACL": "public-read"}, {"ACL": "authenticated-read"}, {"ACL": "bucket-owner-full-control"}, {},
                                   {"GrantRead": 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'}], ids=str)
@pytest.mark.parametrize("when", ["before", "while its document comes"])
def test_a_public_list_is_blocked_when_its_object_is_made(server, given, when):
    """What is not public is completed. What is refused is kept, and completed when the block is gone."""
    s3, surfaces = service(server, "s3"), Surfaces(server)
    s3.create_bucket(Bucket="block", ObjectOwnership="ObjectWriter")
    s3.put_public_access_block(Bucket="block", PublicAccessBlockConfiguration=OPEN)
    upload = s3.create_multipart_upload(Bucket="block", Key="k", **given)["UploadId"]
    part = s3.upload_part(Bucket="block", Key="k", UploadId=upload, PartNumber=1, Body=b"part")
    block = lambda: s3.put_public_access_block(Bucket="block", PublicAccessBlockConfiguration={**OPEN, "BlockPublicAcls": True})
    target = f"/block/k?uploadId={upload}"
    if when == "before":
        block()
        status = surfaces.send(ROOT, "s3", "POST", target, document(part)).status_code
    else:
        held = Held(server, ROOT, "POST", target, document(part))
        block()
        status = held.status()[0]
    is_public = "AllUsers" in str(given) or given.get("ACL") in ("public-read", "authenticated-read")
    assert status == (403 if is_public else 200)
    assert surfaces.s3(ROOT, "GET", "/block/k").status_code == (404 if is_public else 200)
    if is_public:
        s3.put_public_access_block(Bucket="block", PublicAccessBlockConfiguration=OPEN)
        assert surfaces.send(ROOT, "s3", "POST", target, document(part)).status_code == 200
        assert surfaces.s3(ROOT, "GET", "/block/k").content == b"part"
