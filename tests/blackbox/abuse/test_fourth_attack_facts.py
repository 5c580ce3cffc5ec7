"""What a policy is told of a request is what the request does: findings of the fourth attack on facts and actions."""
import io
import tarfile

import pytest
import requests

from conftest import Server
from people import allow, code_of, service, signed, user_with

OF_COPIES = {"x-amz-copy-source": "data/public/x", "x-amz-metadata-directive": "REPLACE", "x-amz-tagging-directive": "REPLACE",
             "x-amz-copy-source-if-match": "*", "x-amz-object-ownership": "ObjectWriter", "x-amz-mp-object-size": "1"}
EXTRACT = {"x-amz-meta-snowball-auto-extract": "true"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("facts") / "drive", "--bucket-defaults", "open").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket="data")
    for key in ("secret/x", "public/x"):
        s3.put_object(Bucket="data", Key=key, Body=key.encode())
    yield server
    server.stop()


def archive(name, records):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.pax_headers, info.size = {f"minio.metadata.{key}": value for key, value in records.items()}, 1
        tar.addfile(info, io.BytesIO(b"x"))
    return out.getvalue()


def of(server, key, method, path, data=b"", headers=None):
    """The status of an answer."""
    return signed(server, method, path, data, headers or {}, key).status_code


def writer_of_copies(server, **condition):
    """May write to `home`, and to `release` under a condition that only copies are to fulfil."""
    return user_with(server, allow("s3:GetObject", resource="arn:aws:s3:::data/public/*"),
                     allow("s3:PutObject", resource="arn:aws:s3:::data/home/*"),
                     allow("s3:PutObject", resource="arn:aws:s3:::data/release/*", **condition))


@pytest.mark.parametrize("name", OF_COPIES)
def test_an_entry_of_an_archive_is_no_copy_by_saying_so(server, name):
    key = writer_of_copies(server, **({"Null": {f"s3:{name}": "false"}} if name in ("x-amz-copy-source", "x-amz-metadata-directive",
                                                                                    "x-amz-object-ownership") else {}))
    answer = signed(server, "PUT", "/data/home/a.tar", archive(f"release/{name}", {name: OF_COPIES[name]}), EXTRACT, key)
    assert answer.status_code in (403, 501), answer.text
    assert code_of(server.client().head_object, Bucket="data", Key=f"release/{name}") == "404"


@pytest.mark.parametrize("name", ["x-amz-copy-source", "x-amz-metadata-directive", "x-amz-object-ownership"])
def test_what_an_upload_does_not_read_fulfils_no_condition(server, name):
    key = writer_of_copies(server, **{"Null": {f"s3:{name}": "false"}})
    headers = {name: OF_COPIES[name]}
    # An upload in parts is no copy, whatever its headers say, nor is a form.
    assert of(server, key, "POST", f"/data/release/{name}?uploads", b"", headers) == 403
    if name != "x-amz-copy-source":
        assert of(server, key, "PUT", f"/data/release/{name}", b"x", headers) == 403
    form = service(server, "s3", key).generate_presigned_post("data", f"release/{name}", Fields=headers, Conditions=[headers])
    assert requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=10).status_code in (403, 501)
    # A copy is one.
    if name != "x-amz-object-ownership":
        assert of(server, key, "PUT", "/data/release/copy", b"", {**headers, "x-amz-copy-source": "data/public/x"}) == 200
