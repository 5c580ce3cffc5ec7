"""That an object is not there is told to who may list its bucket, by policy or list, and to nobody else."""
import itertools
import json

import pytest
import requests
from botocore.exceptions import ClientError

from conftest import Server
from test_owners import s3_of

NUMBERS = itertools.count()
READS = ("GET", "HEAD")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("absence") / "drive", "--bucket-defaults", "open").wait_ready()
    yield server
    server.stop()


def bucket_with(server, acl="private", *statements):
    name = f"absence-{next(NUMBERS)}"
    s3 = server.client()
    s3.create_bucket(Bucket=name, ACL=acl)
    s3.put_object(Bucket=name, Key="there", Body=b"1")
    if statements:
        said = [{"Principal": "*", "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"][is_object], "Effect": effect, "Action": action,
                 **({"Condition": condition} if condition else {})} for effect, action, is_object, condition in statements]
        s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": said}))
    return name


def seen(server, method, name, key):
    answer = requests.request(method, f"{server.url}/{name}/{key}", timeout=20)
    if answer.text:
        assert f"<Code>{ {403: 'AccessDenied', 404: 'NoSuchKey'}[answer.status_code] }</Code>" in answer.text, answer.text
    return answer.status_code


LIST = ("Allow", "s3:ListBucket", False, None)
PUBLIC = ("Allow", "s3:ListBucket", False, {"StringLike": {"s3:prefix": "public/*"}})
CASES = {
    "nothing": ("private", (), 403),
    "a list that lets list": ("public-read", (), 404),
    "a policy that lets list": ("private", (LIST,), 404),
    "a policy that denies reading": ("public-read", (("Deny", "s3:GetObject", True, None),), 403),
    "a policy that denies listing": ("public-read", (("Deny", "s3:ListBucket", False, None),), 403),
    "a policy that lets read": ("private", (("Allow", "s3:GetObject", True, None),), 403),
}


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize("case", CASES)
def test_absence_is_told_to_who_may_list(server, case, method):
    acl, statements, status = CASES[case]
    name = bucket_with(server, acl, *statements)
    assert seen(server, method, name, "absent") == status
    # What is there says only that it may not be read.
    if case != "a policy that lets read":
        assert seen(server, method, name, "there") == 403


@pytest.mark.parametrize("method", READS)
def test_absence_is_told_of_names_that_could_be_listed(server, method):
    name = bucket_with(server, "private", PUBLIC)
    assert [seen(server, method, name, key) for key in ("public/absent", "private/absent", "public", "there")] == [404, 403, 403, 403]


def test_a_key_that_was_removed_is_absent(server):
    name = bucket_with(server, "public-read")
    s3 = server.client()
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.delete_object(Bucket=name, Key="there")
    assert seen(server, "GET", name, "there") == 404
    assert requests.get(f"{server.url}/{name}/there?versionId=null", timeout=20).status_code == 403


def test_the_source_of_a_copy_is_told_by_its_own_bucket(server):
    listed, hidden = bucket_with(server, "public-read"), bucket_with(server)
    open_to_all = bucket_with(server, "public-read-write")
    for source, code in ((listed, "NoSuchKey"), (hidden, "AccessDenied")):
        with pytest.raises(ClientError) as caught:
            s3_of(server).copy_object(Bucket=open_to_all, Key="copy", CopySource=f"{source}/absent")
        assert caught.value.response["Error"]["Code"] == code


def test_a_page_may_read_that_there_is_nothing(server):
    name = bucket_with(server, "public-read")
    server.client().put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["http://page"]}]})
    answer = requests.get(f"{server.url}/{name}/absent", headers={"Origin": "http://page"}, timeout=20)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, "http://page")
