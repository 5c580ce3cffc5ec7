"""What a request says beside its bytes is done or refused: appends, forms, renamed objects."""
import pytest
import requests

from people import allow, deny, service, signed, user_with


@pytest.fixture
def server(start):
    return start("--bucket-defaults", "open")


@pytest.mark.parametrize("header, value", [("x-amz-acl", "private"), ("x-amz-tagging", "team=blue"), ("x-amz-grant-read", "id=x"),
                                           ("x-amz-storage-class", "STANDARD_IA"), ("x-amz-website-redirect-location", "/x"),
                                           ("x-amz-object-lock-legal-hold", "ON"), ("x-amz-meta-of", "other"), ("x-amz-meta-more", "x"),
                                           ("cache-control", "no-store"), ("content-encoding", "gzip")])
def test_an_append_cannot_change_the_object(server, header, value):
    s3 = service(server, "s3")
    signed(server, "PUT", "/appends", headers={"x-drystone-appends": "true"})
    s3.put_object(Bucket="appends", Key="o", Body=b"x" * 10, ACL="public-read", Tagging="team=red",
                  Metadata={"of": "object"}, CacheControl="max-age=5", WebsiteRedirectLocation="/same")
    refused = signed(server, "PUT", "/appends/o", b"secret", headers={"x-amz-write-offset-bytes": "10", header: value})
    assert refused.status_code == 400 and "InvalidRequest" in refused.text and header in refused.text
    assert requests.get(f"{server.url}/appends/o", timeout=20).content == b"x" * 10
    same = {"x-amz-write-offset-bytes": "10", "x-amz-storage-class": "STANDARD", "content-type": "text/x", "x-amz-meta-of": "object",
            "cache-control": "max-age=5", "x-amz-website-redirect-location": "/same"}
    assert signed(server, "PUT", "/appends/o", b"more", headers=same).status_code == 200


def test_a_wrong_offset_does_not_tell_the_size(server):
    signed(server, "PUT", "/appends", headers={"x-drystone-appends": "true"})
    service(server, "s3").put_object(Bucket="appends", Key="o", Body=b"x" * 4711)
    writer = user_with(server, allow("s3:PutObject"))
    refused = signed(server, "PUT", "/appends/o", b"y", headers={"x-amz-write-offset-bytes": "1"}, key=writer)
    assert refused.status_code == 400 and "InvalidWriteOffset" in refused.text and "4711" not in refused.text


def test_a_form_may_say_whose_bucket_it_expects(server):
    s3 = service(server, "s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_bucket_acl(Bucket="bucket", ACL="public-read-write")

    def form(owner, field=False):
        fields = {"key": (None, "up"), **({"x-amz-expected-bucket-owner": (None, owner)} if field else {}), "file": ("f", b"data")}
        headers = {} if field else {"x-amz-expected-bucket-owner": owner}
        return requests.post(f"{server.url}/bucket", files=fields, headers=headers, timeout=20).status_code

    assert [form(owner, field) for owner in ("999999999999", "000000000000") for field in (False, True)] == [403, 403, 204, 204]


def test_a_list_that_goes_along_needs_its_right(server):
    s3 = service(server, "s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="public", Body=b"p", ACL="public-read")
    rights = allow("s3:PutObject", "s3:GetObject", "s3:DeleteObject")
    renamer = user_with(server, rights, deny("s3:PutObjectAcl", resource="arn:aws:s3:::bucket/private/*"))
    headers = {"x-amz-rename-source": "public"}
    assert signed(server, "PUT", "/bucket/private/x?renameObject", headers=headers, key=renamer).status_code == 403
    assert requests.get(f"{server.url}/bucket/public", timeout=20).content == b"p"
    assert signed(server, "PUT", "/bucket/elsewhere?renameObject", headers=headers, key=renamer).status_code == 200
