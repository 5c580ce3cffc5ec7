"""Every operation of the published service model, walked as someone without a signature, an ordinary user without
rights, a session of his, and the owner: no one but the owner gets through, and nothing is changed by those who do not."""
import base64
import hashlib
import json
import re

import boto3
import botocore.session
import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from conftest import PASSWORD, USER, Server

MODEL = botocore.session.get_session().get_service_model("s3")
# Its route is that of another service, which is not here.
OPERATIONS = sorted(set(MODEL.operation_names) - {"WriteGetObjectResponse"})
DENY_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("walk") / "drive").wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket="walk")
    s3.put_object(Bucket="walk", Key="k", Body=b"untouched")
    make = lambda name, access=USER, secret=PASSWORD: boto3.client(
        name, endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=access, aws_secret_access_key=secret)
    iam = make("iam")
    iam.create_user(UserName="walker")
    key = iam.create_access_key(UserName="walker")["AccessKey"]
    own = make("sts", key["AccessKeyId"], key["SecretAccessKey"]).get_session_token()["Credentials"]
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    arn = iam.create_role(RoleName="all", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="all", PolicyName="all", PolicyDocument=json.dumps(everything))
    cut = make("sts", key["AccessKeyId"], key["SecretAccessKey"]).assume_role(
        RoleArn=arn, RoleSessionName="cut", Policy=json.dumps(DENY_ALL))["Credentials"]
    of = lambda c: Credentials(c["AccessKeyId"], c["SecretAccessKey"], c.get("SessionToken"))
    server.callers = {"nobody": None, "user": of(key), "session": of(own), "narrowed session": of(cut),
                      "owner": Credentials(USER, PASSWORD)}
    yield server
    server.stop()


def path_of(operation):
    """Method and path with bucket, key and every required query parameter filled in."""
    model = MODEL.operation_model(operation)
    uri = model.http["requestUri"]
    host_style = not uri.startswith("/{Bucket}") and model.input_shape is not None and "Bucket" in model.input_shape.members
    path, _, query = uri.partition("?")
    if host_style:
        path = "/{Bucket}" + path
    path = path.replace("{Bucket}", "walk").replace("{Key+}", "k")
    parameters = [query] if query else []
    shape = model.input_shape
    for name in (shape.required_members if shape is not None else []):
        member = shape.members[name].serialization
        if member.get("location") == "querystring":
            value = {"partNumber": "1", "uploadId": "none"}.get(member["name"], "x")
            parameters.append(f"{member['name']}={value}")
    headers = {"x-amz-copy-source": "walk/k"} if "Copy" in operation else {}
    return model.http["method"], path.rstrip("/") or "/", "&".join(parameters), headers


def send(server, credentials, method, path, query, headers, data=b""):
    request = AWSRequest(method, f"{server.url}{path}{'?' + query if query else ''}", data=data, headers=headers)
    if credentials is not None:
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    return requests.request(method, request.url, data=data, headers=dict(request.headers), timeout=20, allow_redirects=False)


def test_the_walk_covers_the_model():
    assert len(OPERATIONS) >= 105
    assert path_of("GetObject")[:2] == ("GET", "/walk/k") and path_of("ListBuckets")[:2] == ("GET", "/")
    assert path_of("PutBucketPolicy")[2] == "policy"


@pytest.mark.parametrize("caller", ["nobody", "user", "session", "narrowed session"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_nobody_else_gets_through(server, operation, caller):
    if operation == "DeleteObjects" and caller != "nobody":
        # Decided key by key: the answer holds a refusal for each.
        document = b"<Delete><Object><Key>k</Key></Object><Object><Key>other</Key></Object></Delete>"
        md5 = base64.b64encode(hashlib.md5(document).digest()).decode()
        reply = send(server, server.callers[caller], *path_of(operation)[:3], {"Content-MD5": md5}, document)
        assert reply.status_code == 200 and reply.text.count("<Code>AccessDenied</Code>") == 2 and "<Deleted>" not in reply.text
        return
    reply = send(server, server.callers[caller], *path_of(operation))
    assert reply.status_code == 403, reply.text
    if reply.text:
        assert re.search("<Code>(.*)</Code>", reply.text).group(1) == "AccessDenied"
        assert "walker" not in reply.text and "Deny" not in reply.text, "a refusal tells nothing"


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if not name.startswith("Delete")])
def test_the_owner_is_not_refused(server, operation):
    reply = send(server, server.callers["owner"], *path_of(operation))
    assert reply.status_code not in (401, 403), reply.text


def test_nothing_was_changed(server):
    s3 = server.client()
    assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == ["walk"]
    keys = {entry["Key"] for entry in s3.list_objects_v2(Bucket="walk").get("Contents", [])}
    assert keys == {"k"}


@pytest.mark.parametrize("service, path", [("iam", "/"), ("s3", "/minio/admin/v3/list-users"), ("s3", "/minio/admin/v3/info"),
                                           ("s3", "/.drystone/v1"), ("s3", "/v20180820/configuration/publicAccessBlock")])
@pytest.mark.parametrize("caller", ["nobody", "user", "session", "narrowed session"])
def test_nobody_else_gets_through_the_other_doors(server, service, path, caller):
    method = "GET" if path.startswith(("/minio", "/v2018")) else "POST"
    body = {"/": b"Action=ListUsers&Version=2010-05-08", "/.drystone/v1": b'{"op":"user-list"}'}.get(path, b"")
    kind = "application/x-www-form-urlencoded" if path == "/" else "application/json"
    request = AWSRequest(method, f"{server.url}{path}", data=body, headers={"Content-Type": kind, "x-amz-account-id": "000000000000"})
    if server.callers[caller] is not None:
        S3SigV4Auth(server.callers[caller], service, "us-east-1").add_auth(request)
    reply = requests.request(method, request.url, data=body, headers=dict(request.headers), timeout=20)
    assert reply.status_code == 403 and "walker\"" not in reply.text, reply.text


def test_the_block_of_an_account_holds_for_all_its_buckets(server):
    s3, everybody = server.client(), lambda: requests.get(f"{server.url}/open/k", timeout=10).status_code
    s3.create_bucket(Bucket="open", ObjectOwnership="ObjectWriter", ACL="public-read")
    s3.put_object(Bucket="open", Key="k", Body=b"1", ACL="public-read")
    assert everybody() == 200
    switches = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    body = "".join(f"<{name}>true</{name}>" for name in switches)
    document = f"<PublicAccessBlockConfiguration>{body}</PublicAccessBlockConfiguration>".encode()

    def control(method, data=b"", account="000000000000"):
        request = AWSRequest(method, f"{server.url}/v20180820/configuration/publicAccessBlock", data=data,
                             headers={"x-amz-account-id": account})
        S3SigV4Auth(server.callers["owner"], "s3", "us-east-1").add_auth(request)
        return requests.request(method, request.url, data=data, headers=dict(request.headers), timeout=20)

    assert control("GET").status_code == 404
    assert control("PUT", b"<PublicAccessBlockConfiguration><Nope>true</Nope></PublicAccessBlockConfiguration>").status_code == 400
    assert control("PUT", document, account="111122223333").status_code == 403
    assert control("PUT", document).status_code == 200
    assert control("GET").text.count(">true<") == 4
    assert everybody() == 403
    public = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::open/*"}]}
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.put_bucket_policy(Bucket="open", Policy=json.dumps(public))
    assert control("DELETE").status_code == 204
    assert everybody() == 200
