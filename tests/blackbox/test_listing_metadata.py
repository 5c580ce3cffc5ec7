"""`metadata=true` on listings, as MinIO answers it, and keys with any bytes in every answer (field report 17, 19, 20)."""
import urllib.parse
import xml.etree.ElementTree as ElementTree

import pytest
import requests
from botocore.exceptions import ClientError

from abuse.people import signed
from conftest import Server

BUCKET = "listed"
ODD = ["a\u0001b", "a\ufffeb", "a\uffffb", "a\u001fb", "a\tb", "a\nb", "a\rb", "a<b>&\"'", "a b+c%20", "\u00e9\u4e2d\U0001f600", "a//b", "a\ufffdb", "a\u0085b"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("listed") / "drive").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=BUCKET, Key="m/one", Body=b"x", Metadata={"my-name": "<value>", "odd!name": "1"}, ContentType="text/plain", CacheControl="no-store",
                  Tagging="a=b&c%20d=e%2Bf")
    s3.put_object(Bucket=BUCKET, Key="m/sealed", Body=b"x", Metadata={"kept": "yes"}, ServerSideEncryption="AES256")
    s3.put_object(Bucket=BUCKET, Key="m/plain", Body=b"x")
    yield server
    server.stop()


def entries(answer, tag="Contents"):
    assert answer.status_code == 200, answer.text
    root = ElementTree.fromstring(answer.content)
    space = root.tag.split("}")[0] + "}"
    found = {}
    for entry in root.iter(space + tag):
        said = entry.find(space + "UserMetadata")
        metadata = None if said is None else {child.tag.replace(space, ""): child.text for child in said}
        found[entry.findtext(space + "Key")] = metadata, entry.findtext(space + "UserTags")
    return found


WANTED = {"m/one": ({"content-type": "text/plain", "cache-control": "no-store", "X-Amz-Meta-My-Name": "<value>"}, "a=b&c%20d=e%2Bf"),
          "m/sealed": ({"X-Amz-Server-Side-Encryption": "AES256", "content-type": "binary/octet-stream", "X-Amz-Meta-Kept": "yes"}, None),
          "m/plain": ({"content-type": "binary/octet-stream"}, None)}


@pytest.mark.parametrize("query, tag", [("list-type=2&metadata=true&prefix=m", "Contents"), ("metadata=true&prefix=m", "Contents"),
                                        ("versions&metadata=true&prefix=m", "Version")])
def test_listings_say_metadata_and_tags(server, query, tag):
    found = entries(signed(server, "GET", f"/{BUCKET}?{query}"), tag)
    assert found["m/one"][0].pop("content-type") == "text/plain"
    wanted = {key: (dict(said), tags) for key, (said, tags) in WANTED.items()}
    wanted["m/one"][0].pop("content-type")
    assert found == wanted


def test_without_the_parameter_nothing_is_said(server):
    for query in ("list-type=2&prefix=m", "list-type=2&prefix=m&metadata=false", "versions&prefix=m"):
        assert "UserMetadata" not in signed(server, "GET", f"/{BUCKET}?{query}").text


def test_only_what_may_be_read_is_said(server):
    """Who may list a bucket may not thereby read what is in it."""
    s3 = server.client()
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"},
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/m/one"}]}
    import json
    s3.delete_public_access_block(Bucket=BUCKET)
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))
    try:
        url = f"http://127.0.0.1:{server.port}/{BUCKET}?list-type=2&metadata=true&prefix=m"
        found = entries(requests.get(url))
    finally:
        s3.delete_bucket_policy(Bucket=BUCKET)
    assert found["m/one"][0]["X-Amz-Meta-My-Name"] == "<value>" and found["m/one"][1] is None
    assert found["m/sealed"] == found["m/plain"] == (None, None)


@pytest.mark.parametrize("key", ODD)
def test_a_key_is_itself_in_every_answer(server, key):
    """Where XML cannot say it, the answer has a reference that parsers refuse, never another key; encoded, it is said always."""
    s3, bad = server.client(), any(c < " " and c not in "\t\n\r" or c in "\ufffe\uffff" for c in key)
    name = "odd/" + key
    s3.put_object(Bucket=BUCKET, Key=name, Body=b"x")
    prefix = urllib.parse.quote("odd/", safe="")
    for query in (f"list-type=2&prefix={prefix}", f"prefix={prefix}", f"versions&prefix={prefix}"):
        plain = signed(server, "GET", f"/{BUCKET}?{query}")
        if bad:
            assert f"&#x{ord(key[1]):X};" in plain.text and "\ufffd" not in plain.text
            with pytest.raises(ElementTree.ParseError):
                ElementTree.fromstring(plain.content)
        else:
            assert [entry.text for entry in ElementTree.fromstring(plain.content).iter() if entry.tag.endswith("}Key")] == [name]
        encoded = ElementTree.fromstring(signed(server, "GET", f"/{BUCKET}?encoding-type=url&{query}").content)
        assert [urllib.parse.unquote_plus(entry.text) for entry in encoded.iter() if entry.tag.endswith("}Key")] == [name]
    assert s3.get_object(Bucket=BUCKET, Key=name)["Body"].read() == b"x"
    if not bad:
        body = ElementTree.Element("Delete")
        ElementTree.SubElement(ElementTree.SubElement(body, "Object"), "Key").text = name
        deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": name}]})["Deleted"]
        assert deleted[0]["Key"] == name
    for version in s3.list_object_versions(Bucket=BUCKET, Prefix="odd/", EncodingType="url").get("Versions", []):
        s3.delete_object(Bucket=BUCKET, Key=urllib.parse.unquote_plus(version["Key"]), VersionId=version["VersionId"])
    for marker in s3.list_object_versions(Bucket=BUCKET, Prefix="odd/", EncodingType="url").get("DeleteMarkers", []):
        s3.delete_object(Bucket=BUCKET, Key=urllib.parse.unquote_plus(marker["Key"]), VersionId=marker["VersionId"])


WORDING = [("get_object", {"Bucket": "no-such-bucket-x", "Key": "k"}, "NoSuchBucket", "The specified bucket does not exist"),
           ("get_object", {"Bucket": BUCKET, "Key": "none"}, "NoSuchKey", "The specified key does not exist."),
           ("get_object", {"Bucket": BUCKET, "Key": "m/one", "IfMatch": '"x"'}, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
           ("delete_bucket", {"Bucket": BUCKET}, "BucketNotEmpty", "The bucket you tried to delete is not empty"),
           ("get_object", {"Bucket": BUCKET, "Key": "m/one", "Range": "bytes=9-"}, "InvalidRange", "The requested range is not satisfiable"),
           ("get_bucket_policy", {"Bucket": BUCKET}, "NoSuchBucketPolicy", "The bucket policy does not exist"),
           ("get_bucket_cors", {"Bucket": BUCKET}, "NoSuchCORSConfiguration", "The CORS configuration does not exist"),
           ("copy_object", {"Bucket": BUCKET, "Key": "c", "CopySource": f"{BUCKET}/none"}, "NoSuchKey", "The specified key does not exist.")]


@pytest.mark.parametrize("call, parameters, code, message", WORDING, ids=[row[2] + row[0] for row in WORDING])
def test_errors_are_worded_as_in_s3(server, call, parameters, code, message):
    with pytest.raises(ClientError) as refused:
        getattr(server.client(), call)(**parameters)
    error = refused.value.response["Error"]
    assert (error["Code"], error["Message"]) == (code, message)


def test_a_stranger_reads_the_words_of_s3(server):
    answer = requests.get(f"http://127.0.0.1:{server.port}/{BUCKET}/m/one")
    assert answer.status_code == 403 and "<Message>Access Denied</Message>" in answer.text
