"""An append to an object that has the bytes of others waits while these are copied, for as long as its sender likes. What is changed
of the object meanwhile stays changed. Found by a review (5)."""
import os
import time

import pytest

from conftest import Server
from surfaces import ALLOW_ALL, ROOT, Surfaces
from test_ended_while_it_waits import UNREAD, Later, unread

LEN = 5 << 20
PUBLIC = "http://acs.amazonaws.com/groups/global/AllUsers"
OPEN = b"<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("beside-appends") / "drive", "--memory-budget", "8MiB").wait_ready()
    surfaces, s3 = Surfaces(server), server.client()
    s3.create_bucket(Bucket="big")
    s3.put_object(Bucket="big", Key="k", Body=os.urandom(20 << 20))
    made = surfaces.send(ROOT, "s3", "PUT", "/bkt", b"", {"x-drystone-appends": "true"})
    assert made.status_code == 200, made.text
    assert surfaces.s3(ROOT, "PUT", "/bkt?ownershipControls", OPEN).status_code == 200
    assert surfaces.s3(ROOT, "DELETE", "/bkt?publicAccessBlock").status_code in (200, 204)
    yield server
    server.stop()


def store(s3, kind, key):
    """An object, and another one with the same bytes; returns the bytes."""
    sealed = {"ServerSideEncryption": "AES256"} if "sealed" in kind else {}
    if "parts" not in kind:
        content = os.urandom(LEN)
        s3.put_object(Bucket="bkt", Key=key, Body=content, Metadata={"kept": "yes"}, ACL="public-read", Tagging="public=yes", **sealed)
    else:
        pieces = [os.urandom(LEN), os.urandom(LEN)]
        upload = s3.create_multipart_upload(Bucket="bkt", Key=key, Metadata={"kept": "yes"}, ACL="public-read", Tagging="public=yes", **sealed)
        of = {"Bucket": "bkt", "Key": key, "UploadId": upload["UploadId"]}
        parts = [{"PartNumber": n, "ETag": s3.upload_part(**of, PartNumber=n, Body=piece)["ETag"]} for n, piece in enumerate(pieces, 1)]
        s3.complete_multipart_upload(**of, MultipartUpload={"Parts": parts})
        content = b"".join(pieces)
    s3.copy_object(Bucket="bkt", Key=f"{key}-copy", CopySource=f"bkt/{key}", **sealed)
    return content


@pytest.mark.parametrize("kind", ["whole", "sealed", "parts", "parts-sealed"])
def test_changes_of_lists_and_tags_outlast_an_append(server, kind):
    surfaces, s3 = Surfaces(server), server.client()
    content = store(s3, kind, kind)
    sender = surfaces.user(f"appends-{kind}", ALLOW_ALL)
    held = [unread(server, sender) for _ in range(UNREAD)]
    time.sleep(1)
    other, headers = Surfaces(server), {"x-amz-write-offset-bytes": str(len(content))}
    later = Later(lambda: other.send(sender, "s3", "PUT", f"/bkt/{kind}", b"tail", headers))
    assert later.waits(), later.result.text
    s3.put_object_acl(Bucket="bkt", Key=kind, ACL="private")
    s3.put_object_tagging(Bucket="bkt", Key=kind, Tagging={"TagSet": [{"Key": "public", "Value": "no"}]})
    for client in held:
        client.close()
    answer = later.end()
    assert answer.status_code == 200, answer.text
    grants = s3.get_object_acl(Bucket="bkt", Key=kind)["Grants"]
    assert [grant for grant in grants if grant["Grantee"].get("URI") == PUBLIC] == []
    assert s3.get_object_tagging(Bucket="bkt", Key=kind)["TagSet"] == [{"Key": "public", "Value": "no"}]
    assert server.client().get_object(Bucket="bkt", Key=f"{kind}-copy")["Body"].read() == content
    found = s3.get_object(Bucket="bkt", Key=kind)
    assert found["Metadata"] == {"kept": "yes"}
    assert found["Body"].read() == content + b"tail"
    assert surfaces.http.get(f"{server.url}/bkt/{kind}", timeout=20).status_code == 403
