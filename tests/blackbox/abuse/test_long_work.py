"""Work that goes on after its status was sent does so whatever its client takes: what it holds meanwhile others wait for."""
import time

import raw_h2
from people import service, signed_headers

from conftest import PASSWORD, USER

MIB = 1 << 20


def test_a_long_copy_goes_on_while_nothing_is_taken(start):
    server = start()
    s3 = service(server, "s3")
    s3.create_bucket(Bucket="bucket")
    upload = s3.create_multipart_upload(Bucket="bucket", Key="long")["UploadId"]
    part = s3.upload_part(Bucket="bucket", Key="long", UploadId=upload, PartNumber=1, Body=bytes(257 * MIB))
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket="bucket", Key="long", UploadId=upload, MultipartUpload=parts)
    # Nothing may be sent of a body.
    connection = raw_h2.Connection(server.port, window=0)
    headers = signed_headers(server, "PUT", "/bucket/copy", (USER, PASSWORD), {"x-amz-copy-source": "bucket/long"})
    connection.ask("PUT", "/bucket/copy", f"127.0.0.1:{server.port}", headers)
    deadline = time.monotonic() + 20
    while not s3.list_objects_v2(Bucket="bucket", Prefix="copy")["KeyCount"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert s3.head_object(Bucket="bucket", Key="copy")["ContentLength"] == 257 * MIB
    connection.socket.close()
