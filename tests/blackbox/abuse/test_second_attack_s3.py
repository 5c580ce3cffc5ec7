"""Findings F2 to F6, F14 and F16 of the second attack: rights before second factors, facts of forms and archives, what only readers may know,
tags that differ in case, and parameters that lead to another operation."""
import base64
import hashlib
import hmac
import json
import time
import urllib.parse

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from conftest import PASSWORD, USER, Server, drystone
from people import allow, code_of, deny, document, service, signed, user_with
from surfaces import ROOT, Surfaces, secret_of
from test_mfa import Device
from test_snowball import EXTRACT, archive

BUCKET = "bkt"
ALL = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("second") / "drive", "--allow-sigv2").wait_ready()
    server.client().create_bucket(Bucket=BUCKET)
    server.client().put_object(Bucket=BUCKET, Key="k", Body=b"first")
    yield server
    server.stop()


@pytest.fixture
def s3(server):
    yield server.client()
    server.client().delete_bucket_policy(Bucket=BUCKET)


# F2: second factors.

def test_a_stranger_cannot_lock_the_second_factor(start):
    server = start()
    surfaces, s3 = Surfaces(server), server.client()
    s3.create_bucket(Bucket=BUCKET)
    device = Device(server)
    assert drystone("mfa", "confirm", device.code(), "--at", device.at).returncode == 0
    wrong = {"x-amz-mfa": f"{device.serial} 000000"}
    nobody, other = surfaces.user("nobody"), surfaces.account("222222222222")
    document_ = b"<Delete><Object><Key>x</Key><VersionId>null</VersionId></Object></Delete>"
    md5 = base64.b64encode(hashlib.md5(document_).digest()).decode()
    status = b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>"
    for who in (nobody, other):
        for _ in range(3):
            answer = surfaces.send(who, "s3", "POST", f"/{BUCKET}?delete", document_, {**wrong, "Content-MD5": md5})
            assert "MFA" not in answer.text and "AccessDenied" in answer.text
            assert surfaces.send(who, "s3", "DELETE", f"/{BUCKET}/x?versionId=null", b"", wrong).status_code == 403
            assert surfaces.send(who, "s3", "PUT", f"/{BUCKET}?versioning", status, wrong).status_code == 403
    # With the right to delete, wrong codes of others count for the others only.
    cleaner = surfaces.user("cleaner", allow("s3:DeleteObjectVersion"))
    for _ in range(6):
        assert surfaces.send(cleaner, "s3", "DELETE", f"/{BUCKET}/x?versionId=null", b"", wrong).status_code == 403
    right = {"x-amz-mfa": device.header()}
    answer = surfaces.send(cleaner, "s3", "DELETE", f"/{BUCKET}/x?versionId=null", b"", right)
    assert "too many wrong MFA codes" in answer.text
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled", "MFADelete": "Enabled"}, MFA=right["x-amz-mfa"])


def test_a_key_that_is_less_than_the_owner_cannot_lock_the_second_factor(start):
    server = start()
    surfaces, s3 = Surfaces(server), server.client()
    s3.create_bucket(Bucket=BUCKET)
    device = Device(server)
    assert drystone("mfa", "confirm", device.code(), "--at", device.at).returncode == 0
    ends = secret_of(surfaces.api(ROOT, "key-add", expires_ms=int((time.time() + 1200) * 1000)))
    wrong = {"x-amz-mfa": f"{device.serial} 000000"}
    for _ in range(6):
        answer = surfaces.send(ends, "s3", "DELETE", f"/{BUCKET}/x?versionId=null", b"", wrong)
        assert answer.status_code == 403
    assert "too many wrong MFA codes" in answer.text
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled", "MFADelete": "Enabled"}, MFA=device.header())


def test_a_role_that_is_refused_takes_no_code(start):
    server = start()
    surfaces, device = Surfaces(server), Device(server)
    assert drystone("mfa", "confirm", device.code(), "--at", device.at).returncode == 0
    refused = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    taken = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole",
                                                     "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}]}
    for name, trust in (("refused", refused), ("taken", taken)):
        surfaces.root("CreateRole", RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    code = device.code()

    def assume(name, code):
        return surfaces.query(ROOT, "AssumeRole", RoleArn=f"arn:aws:iam::000000000000:role/{name}", RoleSessionName="run",
                              SerialNumber=device.serial, TokenCode=code)
    for _ in range(6):
        assert assume("refused", "000000").status_code == 403
    assert assume("refused", code).status_code == 403
    assert assume("taken", code).status_code == 200, "the code of the refused call was not used up"
    assert assume("taken", code).status_code == 403, "but each counts once"


# F3: what is known of the transport holds for forms and for entries of archives.
TRANSPORT = {
    "aws:UserAgent": ("StringLike", "*curl*", "*wget*"), "aws:Referer": ("StringEquals", "http://x/", "http://y/"),
    "aws:SourceIp": ("IpAddress", "127.0.0.0/8", "10.0.0.0/8"), "aws:SecureTransport": ("Bool", "false", "true"),
    "aws:CurrentTime": ("DateGreaterThan", "2020-01-01T00:00:00Z", "2199-01-01T00:00:00Z"),
    "aws:EpochTime": ("NumericGreaterThan", "1600000000", "9600000000"), "aws:RequestedRegion": ("StringEquals", "us-east-1", "eu-west-1"),
    "aws:PrincipalType": ("StringEquals", "User", "Account"), "s3:signatureversion": ("StringEquals", "AWS4-HMAC-SHA256", "AWS"),
    "s3:signatureAge": ("NumericLessThan", "600000", "-1"),
}
OF_FORMS = {"s3:authType": ("StringEquals", "POST", "REST-HEADER"),
            "s3:x-amz-content-sha256": ("StringEquals", "UNSIGNED-PAYLOAD", "x")}
OF_ARCHIVES = {"s3:authType": ("StringEquals", "REST-HEADER", "POST"), "s3:x-amz-content-sha256": ("StringLike", "????????*", "UNSIGNED*")}
SENT = {"User-Agent": "curl/8", "Referer": "http://x/"}


def denies(s3, key, operator, value, name="*"):
    statement = {**deny("s3:PutObject", resource=f"arn:aws:s3:::{BUCKET}/{name}", **{operator: {key: value}}), "Principal": "*"}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=document(statement))


@pytest.fixture(scope="module")
def writer(server):
    return user_with(server, allow("s3:*"))


@pytest.mark.parametrize("key", [*TRANSPORT, *OF_FORMS])
def test_a_deny_on_the_transport_acts_on_forms(server, s3, writer, key):
    operator, has, other = {**TRANSPORT, **OF_FORMS}[key]
    # A field of the form does not speak for the transport.
    spoof = {"x-amz-content-sha256": "y"}
    form = service(server, "s3", writer).generate_presigned_post(BUCKET, "form", Fields=spoof, Conditions=[spoof])
    for value, status in ((other, 204), (has, 403)):
        denies(s3, key, operator, value)
        answer = requests.post(form["url"], data=form["fields"], files={"file": b"x"}, headers=SENT, timeout=10)
        assert answer.status_code == status, (key, value, answer.text)


@pytest.mark.parametrize("key", [*TRANSPORT, *OF_ARCHIVES])
def test_a_deny_on_the_transport_acts_on_entries_of_archives(server, s3, writer, key):
    operator, has, other = {**TRANSPORT, **OF_ARCHIVES}[key]
    # Nor do the records of an entry.
    records = {f"minio.metadata.{name}": "spoofed" for name in ("User-Agent", "Referer", "x-amz-content-sha256")}
    body = archive([("entry", b"x", records)])
    headers = {**SENT, **{f"x-amz-meta-{name.lower()}": value for name, value in EXTRACT.items()}}
    for value, status in ((other, 200), (has, 403)):
        denies(s3, key, operator, value, "entry")
        answer = signed(server, "PUT", f"/{BUCKET}/archive.tar", body, headers, writer)
        assert answer.status_code == status, (key, value, answer.text)


def test_unreadable_agents_are_agents(server, s3, writer):
    denies(s3, "aws:UserAgent", "StringLike", "*curl*")
    for agent in ("curl/8 \u00ff", b"curl/8 \xff"):
        answer = signed(server, "PUT", f"/{BUCKET}/agent", b"x", {"User-Agent": agent}, writer)
        assert answer.status_code == 403
    reader = user_with(server, allow("iam:*"), deny("iam:ListUsers", **{"StringLike": {"aws:UserAgent": "*curl*"}}))
    for agent in ("curl/8", b"curl/8 \xff"):
        form = urllib.parse.urlencode({"Action": "ListUsers", "Version": "2010-05-08"}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        request = AWSRequest("POST", f"{server.url}/", data=form, headers=headers)
        SigV4Auth(Credentials(*reader), "iam", "us-east-1").add_auth(request)
        answer = requests.post(f"{server.url}/", data=form, headers={**dict(request.headers), "User-Agent": agent}, timeout=10)
        assert answer.status_code == 403, agent


def test_a_form_does_not_ignore_conditions(server, s3, writer):
    form = service(server, "s3", writer).generate_presigned_post(BUCKET, "form")
    for name, value in (("If-None-Match", "*"), ("If-Match", '"none"')):
        answer = requests.post(form["url"], data=form["fields"], files={"file": b"x"}, headers={name: value}, timeout=10)
        assert answer.status_code == 501, name


# F4: entity tag, size and time are for readers.

def outcomes(server, key):
    """For each way to ask about the object: what a wrong guess answers. The right guess must answer the same."""
    s3 = service(server, "s3", key)
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
    part = s3.upload_part(Bucket=BUCKET, Key="k", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    here = {"Bucket": BUCKET, "Key": "k"}
    old, late = "Mon, 01 Jan 2001 00:00:00 GMT", "Mon, 01 Jan 2035 00:00:00 GMT"

    def bulk(**entry):
        answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "k", **entry}]})
        return answer["Errors"][0]["Code"] if "Errors" in answer else ""

    def raw(method, path, **headers):
        answer = signed(server, method, f"/{BUCKET}/{path}", b"", {n.replace("_", "-"): v for n, v in headers.items()}, key)
        return "" if answer.ok else answer.text.split("<Code>")[1].split("</Code>")[0]
    rename = {"x_amz_rename_source": "own"}
    return {
        "put": code_of(s3.put_object, IfMatch='"0"', **here), "copy": code_of(s3.copy_object, CopySource=f"{BUCKET}/own", IfMatch='"0"', **here),
        "complete": code_of(s3.complete_multipart_upload, UploadId=upload, MultipartUpload=parts, IfMatch='"0"', **here),
        "delete": code_of(s3.delete_object, IfMatch='"0"', **here),
        "delete size": raw("DELETE", "k", x_amz_if_match_size="1"), "delete time": raw("DELETE", "k", x_amz_if_match_last_modified_time=old),
        "version": raw("DELETE", "k?versionId=null", if_match='"0"'),
        "bulk": bulk(ETag='"0"'), "bulk size": bulk(Size=1), "bulk time": bulk(LastModifiedTime="2001-01-01T00:00:00Z"),
        "rename": raw("PUT", "k?renameObject", if_match='"0"', **rename), "rename since": raw("PUT", "k?renameObject", if_modified_since=late, **rename),
        "rename before": raw("PUT", "k?renameObject", if_unmodified_since=old, **rename),
    }


def test_conditions_on_what_only_readers_know_need_the_right_to_read(server, s3):
    """S3 user guide, "Enforce conditional deletes" and "writes": a specific entity tag needs s3:GetObject, too."""
    s3.put_object(Bucket=BUCKET, Key="own", Body=b"own")
    own = allow("s3:GetObject", resource=f"arn:aws:s3:::{BUCKET}/own")
    writer = user_with(server, allow("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"), own)
    found = outcomes(server, writer)
    assert {name: code for name, code in found.items() if code != "AccessDenied"} == {}
    reader = user_with(server, allow("s3:*"))
    assert {name: code for name, code in outcomes(server, reader).items() if code != "PreconditionFailed"} == {}
    # A star tells only whether there is one; S3 asks for no right to read.
    writer = service(server, "s3", writer)
    assert code_of(writer.put_object, Bucket=BUCKET, Key="k", IfNoneMatch="*") == "PreconditionFailed"
    s3.put_object(Bucket=BUCKET, Key="gone", Body=b"x")
    assert code_of(writer.delete_object, Bucket=BUCKET, Key="gone", IfMatch="*") == ""
    s3.put_object(Bucket=BUCKET, Key="gone", Body=b"x")
    assert "Errors" not in writer.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "gone", "ETag": "*"}]})


def test_conditional_deletes_can_be_enforced(server, s3):
    """The condition of a bulk delete is that of each entry, not a header that it does not look at."""
    statement = {**deny("s3:DeleteObject", resource=ALL[1], **{"Null": {"s3:if-match": "true"}}), "Principal": "*"}
    etag = s3.put_object(Bucket=BUCKET, Key="keep", Body=b"x")["ETag"]
    s3.put_bucket_policy(Bucket=BUCKET, Policy=document(statement))
    key = user_with(server, allow("s3:*"))
    user = service(server, "s3", key)
    plain = b"<Delete><Object><Key>keep</Key></Object></Delete>"
    md5 = {"Content-MD5": base64.b64encode(hashlib.md5(plain).digest()).decode()}
    assert signed(server, "POST", f"/{BUCKET}?delete", plain, {"If-Match": etag, **md5}, key).status_code == 501
    assert "AccessDenied" in signed(server, "POST", f"/{BUCKET}?delete", plain, md5, key).text
    assert user.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "keep"}]})["Errors"][0]["Code"] == "AccessDenied"
    assert "Errors" not in user.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "keep", "ETag": etag}]})


# F5 and F16: keys of tags that conditions take for one.
TWINS = [("env", "ENV"), ("Env", "eNV"), ("stra\u00dfe", "STRA\u00dfE"), ("\u00e9", "\u00c9")]


def xml(pairs, root="Tagging", inner="TagSet"):
    tags = "".join(f"<Tag><Key>{k}</Key><Value>{v}</Value></Tag>" for k, v in pairs)
    return f"<{root}><{inner}>{tags}</{inner}></{root}>".encode()


@pytest.mark.parametrize("one, two", TWINS)
def test_no_set_of_tags_has_a_key_twice(server, s3, one, two):
    pairs = [(one, "dev"), (two, "prod")]
    header = {"x-amz-tagging": urllib.parse.urlencode(pairs)}
    md5 = {"Content-MD5": base64.b64encode(hashlib.md5(xml(pairs)).digest()).decode()}
    asked = {
        "put": signed(server, "PUT", f"/{BUCKET}/t", b"x", header), "upload": signed(server, "POST", f"/{BUCKET}/t?uploads", b"", header),
        "copy": signed(server, "PUT", f"/{BUCKET}/t", b"", {**header, "x-amz-copy-source": f"/{BUCKET}/k", "x-amz-tagging-directive": "REPLACE"}),
        "object": signed(server, "PUT", f"/{BUCKET}/k?tagging", xml(pairs), md5), "bucket": signed(server, "PUT", f"/{BUCKET}?tagging", xml(pairs), md5),
        "create": signed(server, "PUT", "/tagged", xml(pairs, "CreateBucketConfiguration", "Tags")),
    }
    form = s3.generate_presigned_post(BUCKET, "t", Fields={"tagging": xml(pairs).decode()}, Conditions=[{"tagging": xml(pairs).decode()}])
    asked["form"] = requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=10)
    found = {name: (answer.status_code, "<Code>InvalidTag</Code>" in answer.text) for name, answer in asked.items()}
    assert found == dict.fromkeys(asked, (400, True)), asked
    assert code_of(s3.head_object, Bucket=BUCKET, Key="t") == "404"


def test_tags_are_decided_on_as_they_are_stored(server, s3):
    """A plus sign in a key of the header is a space."""
    key = user_with(server, allow("s3:*"), deny("s3:PutObject", **{"StringEquals": {"s3:RequestObjectTag/my key": "x"}}))
    assert signed(server, "PUT", f"/{BUCKET}/plus", b"x", {"x-amz-tagging": "my+key=x"}, key).status_code == 403
    assert signed(server, "PUT", f"/{BUCKET}/plus", b"x", {"x-amz-tagging": "my+key=y"}, key).status_code == 200


def test_tags_of_identities_differ_by_more_than_case(server):
    surfaces = Surfaces(server)
    trust = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole", "sts:TagSession"]}]})
    red = {"Tags.member.1.Key": "team", "Tags.member.1.Value": "red"}
    surfaces.root("CreateUser", UserName="eve", **red)
    surfaces.root("CreateRole", RoleName="painter", AssumeRolePolicyDocument=trust, **red)
    eve = surfaces.key("eve")
    for key, status in (("TEAM", 400), ("Team", 400), ("team", 200), ("other", 200)):
        new = {"Tags.member.1.Key": key, "Tags.member.1.Value": "blue"}
        assert surfaces.query(ROOT, "TagUser", UserName="eve", **new).status_code == status, key
        role = {"RoleArn": "arn:aws:iam::000000000000:role/painter", "RoleSessionName": "run"}
        assert surfaces.query(eve, "AssumeRole", **role, **new).status_code == status, key
        assert surfaces.query(ROOT, "TagRole", RoleName="painter", **new).status_code == status, key
        surfaces.root("TagRole", RoleName="painter", **red)


# F14: the number of facts that a request brings is bounded.

@pytest.mark.parametrize("count", [51, 2000])
def test_more_tags_than_can_be_stored_are_refused_before_they_are_decided_on(server, s3, count):
    patterns = [f"*{a}{b}" for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"]
    keys = {"ForAnyValue:StringLike": {"s3:RequestObjectTagKeys": patterns}}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=document({**deny("s3:*", resource=ALL, **keys), "Principal": "*"}))
    tags = "&".join("a" for _ in range(12 * count))[:25_000]
    begun = time.monotonic()
    assert signed(server, "PUT", f"/{BUCKET}/many", b"x", {"x-amz-tagging": tags}).status_code == 400
    entries = "".join(f"<Object><Key>{n}</Key></Object>" for n in range(20))
    body = f"<Delete>{entries}</Delete>".encode()
    md5 = {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}
    assert signed(server, "POST", f"/{BUCKET}?delete", body, {"x-amz-tagging": tags, **md5}).status_code == 200
    assert time.monotonic() - begun < 5, "each tag was compared with each pattern, for each key"
    many = [(f"a{n}", "") for n in range(count)]
    assert signed(server, "PUT", f"/{BUCKET}?tagging", xml(many)).status_code == 400
    assert signed(server, "PUT", "/created", xml(many, "CreateBucketConfiguration", "Tags")).status_code == 400
    surfaces = Surfaces(server)
    form = {f"Tags.member.{n + 1}.Key": key for n, (key, _) in enumerate(many)}
    assert surfaces.query(ROOT, "TagUser", UserName="none", **form).status_code == 400


# F6: parameters that lead to another operation.

def v2_query(method, path, pairs):
    """A signature of version 2 over these parameters."""
    expires = str(int(time.time()) + 600)
    text = f"{method}\n\n\n{expires}\n{path}"
    for index, (name, value) in enumerate(sorted(pairs)):
        text += ("&" if index else "?") + name + ("" if value is None else f"={value}")
    mac = base64.b64encode(hmac.new(PASSWORD.encode(), text.encode(), hashlib.sha1).digest()).decode()
    return [("AWSAccessKeyId", USER), ("Expires", expires), ("Signature", mac)]


def ask_v2(server, method, path, signed_pairs, sent_pairs, **more):
    query = [*v2_query(method, path, signed_pairs), *sent_pairs]
    text = "&".join(urllib.parse.quote(n, safe="") + ("" if v is None else "=" + urllib.parse.quote(v, safe="")) for n, v in query)
    return requests.request(method, f"{server.url}{path}?{text}", timeout=10, **more)


def test_a_url_of_version_2_does_not_swallow_parameters(server, s3):
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
    path = f"/{BUCKET}/k"
    pairs = [("partNumber", "1"), ("uploadId", upload)]
    assert ask_v2(server, "PUT", path, pairs, pairs, data=b"part").status_code == 200
    merged = [("partNumber", f"1&uploadId={upload}")]
    answer = ask_v2(server, "PUT", path, pairs, merged, data=b"evil")
    assert (answer.status_code, "InvalidArgument" in answer.text) == (400, True), answer.text
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"first"
    overrides = ["response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
                 "response-content-type", "response-expires"]
    for swallowed in ("versionId=null", "acl", "tagging", "torrent"):
        name, _, value = swallowed.partition("=")
        for override in overrides:
            honest = [(override, "text/plain"), (name, value or None)]
            answer = ask_v2(server, "GET", path, honest, [(override, f"text/plain&{swallowed}")])
            assert answer.status_code == 400, (override, swallowed)
    # What is no parameter of the signature is a value like another.
    value = 'attachment; filename="a&b=c.txt"'
    answer = ask_v2(server, "GET", path, [(overrides[1], value)], [(overrides[1], value)])
    assert (answer.status_code, answer.headers["content-disposition"]) == (200, value)


def test_a_version_2_url_signs_the_type_that_is_sent(server):
    for kind in (b"text/\xff", b"\xff"):
        answer = ask_v2(server, "PUT", f"/{BUCKET}/typed", [], [], data=b"x", headers={"Content-Type": kind})
        # It is not text that can be signed: refused before the signature is looked at.
        assert answer.status_code == 400, kind


# Operations without a part, and without a version: the parameter is not left out.
PLAIN = [("PUT", "new", {}), ("DELETE", "new", {}), ("POST", "new?uploads", {}), ("PUT", "k?acl", {"x-amz-acl": "private"}), ("GET", "k?acl", {}),
         ("GET", "k?tagging", {}), ("DELETE", "k?tagging", {}), ("PUT", "copy", {"x-amz-copy-source": f"/{BUCKET}/k"}), ("GET", "k?attributes", {}),
         ("PUT", "moved?renameObject", {"x-amz-rename-source": "k"}), ("GET", "?list-type=2", {}), ("GET", "?versions", {}), ("DELETE", "", {})]


@pytest.mark.parametrize("method, target, headers", PLAIN)
@pytest.mark.parametrize("parameter", ["partNumber=1", "versionId=null"])
def test_parts_and_versions_are_named_where_there_are_any(server, s3, method, target, headers, parameter):
    takes_version = (method, target) in {("DELETE", "new"), ("PUT", "k?acl"), ("GET", "k?acl"), ("GET", "k?tagging"), ("DELETE", "k?tagging"),
                                         ("GET", "k?attributes")}
    mark = "&" if "?" in target else "?"
    answer = signed(server, method, f"/{BUCKET}/{target}{mark}{parameter}" if not target.startswith("?") and target else
                    f"/{BUCKET}{target}{mark}{parameter}", b"", headers)
    if parameter.startswith("versionId") and takes_version:
        assert answer.status_code != 400 or "version-id" not in answer.text
        return
    assert (answer.status_code, "InvalidArgument" in answer.text) == (400, True), answer.text
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"first"


@pytest.mark.parametrize("query", ["partNumber=1", "partNumber=1&uploadId=", "uploadId=x", "uploadId"])
def test_a_part_names_its_upload(server, s3, query):
    for headers in ({}, {"x-amz-copy-source": f"/{BUCKET}/k"}):
        answer = signed(server, "PUT", f"/{BUCKET}/k?{query}", b"evil" if not headers else b"", headers)
        assert answer.status_code in (400, 404), (query, answer.text)
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"first"
