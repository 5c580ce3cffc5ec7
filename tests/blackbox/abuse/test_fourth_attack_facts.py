"""What a policy is told of a request is what the request does: findings of the fourth attack on facts and actions."""
import io
import tarfile

import pytest
import requests
from botocore.credentials import Credentials

from conftest import PASSWORD, USER, Server
from people import allow, code_of, deny, service, signed, user_with
from surfaces import Surfaces

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


def tags(root, wrap="TagSet", namespace="", **pairs):
    each = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in pairs.items())
    return f"<{root}{namespace}><{wrap}>{each}</{wrap}></{root}>".encode()


ARN = "/v20180820/tags/arn%3Aaws%3As3%3A%3A%3A{}"
CONTROL = {"x-amz-account-id": "000000000000"}
NAMESPACE = ' xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"'
#: How the tags of a bucket are read and changed, with the rights whose deny must stop it.
TAGGING = {
    "read": ({"s3:GetBucketTagging", "s3:ListTagsForResource"}, "GET", "/{}?tagging", b"", {}),
    "put": ({"s3:PutBucketTagging", "s3:TagResource", "s3:UntagResource"}, "PUT", "/{}?tagging", tags("Tagging", other="b"), {}),
    "add": ({"s3:PutBucketTagging", "s3:TagResource"}, "PUT", "/{}?tagging", tags("Tagging", team="red", other="b"), {}),
    "remove all": ({"s3:PutBucketTagging", "s3:UntagResource"}, "DELETE", "/{}?tagging", b"", {}),
    "read by ARN": ({"s3:GetBucketTagging", "s3:ListTagsForResource"}, "GET", ARN, b"", CONTROL),
    "add by ARN": ({"s3:PutBucketTagging", "s3:TagResource"}, "POST", ARN,
                   tags("TagResourceRequest", "Tags", NAMESPACE, other="b"), CONTROL),
    "remove by ARN": ({"s3:PutBucketTagging", "s3:UntagResource"}, "DELETE", ARN + "?tagKeys=team", b"", CONTROL),
    "make": ({"s3:PutBucketTagging", "s3:TagResource"}, "PUT", "/{}", tags("CreateBucketConfiguration", "Tags", team="red"), {}),
}


@pytest.mark.parametrize("way", TAGGING)
def test_a_deny_on_tags_of_a_bucket_acts_by_every_name(server, way):
    names, method, path, data, headers = TAGGING[way]
    s3 = server.client()
    every = sorted(set().union(*(row[0] for row in TAGGING.values())))
    for number, name in enumerate(every):
        bucket = f"tags-{way.replace(' ', '-').lower()}-{number}"
        if way != "make":
            s3.create_bucket(Bucket=bucket)
            s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "red"}]})
        status = of(server, user_with(server, allow("s3:*"), deny(name)), method, path.format(bucket), data, headers)
        assert (status == 403) == (name in names), (name, status)
        assert status in (200, 204, 403)


def test_a_deny_on_tags_that_go_sees_their_names(server):
    s3 = server.client()
    key = user_with(server, allow("s3:*"), deny("s3:UntagResource", **{"ForAnyValue:StringEquals": {"aws:TagKeys": "team"}}))
    s3.create_bucket(Bucket="lost")
    for lost, status in (("other", 204), ("team", 403)):
        for method, data in (("PUT", tags("Tagging", new="x")), ("DELETE", b"")):
            s3.put_bucket_tagging(Bucket="lost", Tagging={"TagSet": [{"Key": lost, "Value": "red"}]})
            assert of(server, key, method, "/lost?tagging", data) in ((200, 204) if status == 204 else (403,)), (lost, method)
    assert of(server, key, "PUT", "/lost?tagging", tags("Tagging", team="blue", new="x")) in (200, 204), "it stays"


def test_no_right_but_the_one_is_needed_for_tags(server):
    server.client().create_bucket(Bucket="plain")
    key = user_with(server, allow("s3:PutBucketTagging"))
    assert of(server, key, "PUT", "/plain?tagging", tags("Tagging", a="b")) in (200, 204)
    assert of(server, key, "DELETE", "/plain?tagging") == 204


def test_appends_need_the_right_to_settings_of_the_server(server):
    surfaces = Surfaces(server)
    header = {"x-drystone-appends": "true"}
    denied = user_with(server, allow("s3:*", "admin:*"), deny("admin:ConfigUpdate"))
    plain, right = user_with(server, allow("s3:*")), user_with(server, allow("s3:*", "admin:ConfigUpdate"))
    owner = surfaces.account("111111111111")
    owner = (owner.access_key, owner.secret_key)
    for number, (key, status) in enumerate([(denied, 403), (plain, 403), (owner, 403), (right, 200), ((USER, PASSWORD), 200)]):
        bucket = f"grows-{number}"
        assert of(server, key, "PUT", f"/{bucket}", b"", header) == status
        found = server.client().list_buckets()["Buckets"]
        assert (bucket in [row["Name"] for row in found]) == (status == 200)
        # As the own API answers.
        server.client().create_bucket(Bucket=f"{bucket}-api")
        reply = surfaces.api(Credentials(*key), "bucket-appends", bucket=f"{bucket}-api", enabled=True)
        assert reply.status_code == status, (number, reply.text)
        assert of(server, key, "PUT", f"/{bucket}-plain", b"", {"x-drystone-appends": "false"}) == 200


SOURCES = ["data/secret/x", "/data/secret/x", "data/%73ecret/x", "/data/%73ecret/x", "data%2Fsecret/x", "dat%61/secret/x", "%2Fdata/secret%2Fx"]


@pytest.mark.parametrize("condition", [{"StringLike": {"s3:x-amz-copy-source": "data/secret/*"}}, {"StringLike": {"s3:x-amz-copy-source": "/data/secret/*"}},
                                       {"StringNotLike": {"s3:x-amz-copy-source": ["data/public/*"]}}])
def test_a_condition_on_a_source_meets_every_spelling_of_it(server, condition):
    key = user_with(server, allow("s3:*"), deny("s3:PutObject", **condition))
    copied = {source: of(server, key, "PUT", "/data/copy", headers={"x-amz-copy-source": source}) for source in SOURCES}
    assert set(copied.values()) == {403}, copied
    for source in ("data/public/x", "/data/public/x", "data/%70ublic/x"):
        assert of(server, key, "PUT", "/data/copy", headers={"x-amz-copy-source": source}) == 200


@pytest.mark.parametrize("denied", ["second", "arn:aws:kms:us-east-1:000000000000:key/second", "arn:minio:kms:::second"])
def test_a_condition_on_a_key_meets_every_name_of_it(server, denied):
    surfaces = Surfaces(server)
    owner = Credentials(USER, PASSWORD)
    surfaces.minio(owner, "POST", "kms:key/create", **{"key-id": "second"})
    key = user_with(server, allow("s3:*", "kms:*"), deny("s3:PutObject", StringEquals={"s3:x-amz-server-side-encryption-aws-kms-key-id": denied}))
    for name in ("second", "arn:aws:kms:us-east-1:000000000000:key/second", "arn:minio:kms:::second", "arn:aws:kms:::key/second"):
        headers = {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": name}
        assert of(server, (USER, PASSWORD), "PUT", "/data/sealed", b"x", headers) == 200, name
        assert of(server, key, "PUT", "/data/sealed", b"x", headers) == 403, name


def test_numbers_are_compared_whatever_stands_before_them(server):
    key = user_with(server, allow("s3:*"), deny("s3:ListBucket", NumericGreaterThan={"s3:max-keys": "10"}))
    for number in ("11", "0" * 70 + "11", "1000"):
        assert of(server, key, "GET", f"/data?list-type=2&max-keys={number}") in (400, 403), number
    assert of(server, key, "GET", "/data?list-type=2&max-keys=10") == 200
