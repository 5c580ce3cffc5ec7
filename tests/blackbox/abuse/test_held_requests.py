"""Requests that are held back until what they were decided on has changed, at every service; and names of objects that are paths
of other services. Found by the fourth attack (B1, B2, B4, B5)."""
import html
import json
import socket
import time
import urllib.parse

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from conftest import Server
from surfaces import ALLOW_ALL, ROOT, Surfaces, document, field, signed_head

ACCOUNT = "000000000000"
POINT = f"arn:aws:s3:us-east-1:{ACCOUNT}:accesspoint/team"
NAMESPACE = 'xmlns="http://awss3control.amazonaws.com/doc/2018-08-20/"'
BLOCK = f"<PublicAccessBlockConfiguration {NAMESPACE}><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>".encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("held") / "drive", "--domain", "s3.localhost").wait_ready()
    yield server
    server.stop()


class Held:
    """A signed request whose body, but for what is sent early, comes when it is asked for."""

    def __init__(self, server, key, method, path, body, headers=None, service="s3", early=-1):
        self.late = body[early:]
        head = signed_head(server, key, service, method, path, body, headers)
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        self.socket.sendall(head + body[:early])
        # Its head is read and its signature checked meanwhile: the server says nothing of that.
        time.sleep(0.5)

    def status(self):
        self.socket.sendall(self.late)
        answer = b""
        while piece := self.socket.recv(65536):
            answer += piece
        self.socket.close()
        answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        return int(answer.split()[1]), answer


def form_of(action, **fields):
    version = "2011-06-15" if action == "AssumeRole" else "2010-05-08"
    return urllib.parse.urlencode({"Action": action, "Version": version, **fields}).encode()


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CALLS = {
    "own": lambda name: ("POST", "/.drystone/v1", json.dumps({"op": "key-add", "user": name}).encode(), {"Content-Type": "application/json"}, "s3"),
    "iam": lambda name: ("POST", "/", form_of("CreateAccessKey", UserName=name), FORM, "iam"),
    "sts": lambda name: ("POST", "/", form_of("AssumeRole", RoleArn=f"arn:aws:iam::{ACCOUNT}:role/held", RoleSessionName="s"), FORM, "sts"),
    "minio": lambda name: ("PUT", "/minio/admin/v3/add-service-account", json.dumps({"description": "x"}).encode(), None, "s3"),
    "control": lambda name: ("PUT", "/v20180820/configuration/publicAccessBlock", BLOCK, {"x-amz-account-id": ACCOUNT}, "s3"),
    "s3": lambda name: ("PUT", "/held-bucket/key", b"bytes", None, "s3"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("end", ["key", "policy", "user", "session"])
def test_what_ended_meanwhile_does_nothing_more(server, call, end):
    """Goal: a stolen key is of no use from the moment it is deleted. Method: all of a request but its last byte, then the key,
    the policy, the user or the session ends."""
    surfaces, name = Surfaces(server), f"held-{call}-{end}"
    surfaces.s3(ROOT, "PUT", "/held-bucket")
    trust = document({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"})
    surfaces.query(ROOT, "CreateRole", RoleName="held", AssumeRolePolicyDocument=trust)
    key = surfaces.user(name, {"Effect": "Allow", "Action": ["iam:*", "admin:*", "sts:*", "s3:*"], "Resource": "*"})
    sender = surfaces.session(key) if end == "session" else key
    held = Held(server, sender, *CALLS[call](name))
    if end == "session":
        assert surfaces.api(ROOT, "user-end-sessions", name=name).status_code == 200
    if end in ("key", "user"):
        surfaces.root("DeleteAccessKey", UserName=name, AccessKeyId=key.access_key)
    if end in ("policy", "user"):
        surfaces.root("DeleteUserPolicy", UserName=name, PolicyName="own")
    if end == "user":
        surfaces.root("DeleteUser", UserName=name)
    status, answer = held.status()
    # Keys of one's own need no policy.
    expected = (200,) if end == "policy" and call in ("own", "iam", "minio") else (400, 401, 403)
    assert status in expected, answer


def control(surfaces, method, path, body=b""):
    headers = {"x-amz-account-id": ACCOUNT}
    return surfaces.send(ROOT, "s3", method, f"/v20180820/{path}", body, headers)


@pytest.mark.parametrize("end", ["policy", "point"])
def test_an_access_point_that_changed_meanwhile_lets_nothing_through(server, end):
    surfaces, bucket = Surfaces(server), f"point-{end}"
    surfaces.s3(ROOT, "PUT", f"/{bucket}")
    made = f"<CreateAccessPointRequest {NAMESPACE}><Bucket>{bucket}</Bucket></CreateAccessPointRequest>"
    alias = field(control(surfaces, "PUT", "accesspoint/team", made.encode()).text, "Alias")
    key = surfaces.user(f"of-{bucket}")
    allowed = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}/*"],
               "Condition": {"StringEquals": {"s3:DataAccessPointAccount": ACCOUNT}}}
    assert surfaces.send(ROOT, "s3", "PUT", f"/{bucket}?policy", document(allowed).encode()).status_code == 204
    who = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/of-{bucket}"}
    policy = document({"Effect": "Allow", "Principal": who, "Action": "s3:*", "Resource": [POINT, f"{POINT}/object/*"]})
    policy = f"<PutAccessPointPolicyRequest {NAMESPACE}><Policy>{html.escape(policy)}</Policy></PutAccessPointPolicyRequest>"
    assert control(surfaces, "PUT", "accesspoint/team/policy", policy.encode()).status_code == 200
    assert surfaces.s3(key, "PUT", f"/{alias}/before", b"x").status_code == 200
    held = Held(server, key, "PUT", f"/{alias}/late", b"bytes")
    ended = control(surfaces, "DELETE", "accesspoint/team/policy" if end == "policy" else "accesspoint/team")
    assert ended.status_code == 204
    status, answer = held.status()
    assert status in (403, 404), answer
    assert surfaces.s3(ROOT, "GET", f"/{bucket}/late").status_code == 404
    control(surfaces, "DELETE", "accesspoint/team")


def test_changes_of_one_account_refuse_nothing_of_another(server):
    """Method: documents of S3 Control, each held while another account changes a user of its own."""
    surfaces = Surfaces(server)
    other = surfaces.account("111111111111")
    assert surfaces.query(other, "CreateUser", UserName="changing").status_code == 200
    for number in range(3):
        held = Held(server, ROOT, *CALLS["control"](""))
        tag = {"Tags.member.1.Key": "k", "Tags.member.1.Value": str(number)}
        assert surfaces.query(other, "TagUser", UserName="changing", **tag).status_code == 200
        status, answer = held.status()
        assert status == 200, answer
    assert control(surfaces, "DELETE", "configuration/publicAccessBlock").status_code == 204


PATHS = ["minio/admin/v3/add-service-account", "minio/admin/v3/accountinfo", "minio/kms/v1/key/create", ".drystone/v1", "metrics",
         "minio/v2/metrics/cluster", "minio/health/live", "minio/health/cluster", "v20180820/configuration/publicAccessBlock",
         "v20180820/accesspoint/team"]


@pytest.mark.parametrize("path", PATHS)
def test_a_host_that_names_a_bucket_leads_to_objects_only(server, path):
    """Goal: who may choose the name of a file chooses no service of the server with it."""
    surfaces = Surfaces(server)
    surfaces.s3(ROOT, "PUT", "/uploads")
    host = f"uploads.s3.localhost:{server.port}"
    content = b'{"accessKey":"STRANGERSKEY12345678","secretKey":"secret-of-the-stranger-0123456789"}'

    def send(method, body=b"", **headers):
        # Signed for the name of the host, and sent to the address.
        request = AWSRequest(method, f"http://{host}/{path}", data=body, headers=headers)
        S3SigV4Auth(ROOT, "s3", "us-east-1").add_auth(request)
        headers = {**dict(request.headers), "Host": host}
        return surfaces.http.request(method, f"{server.url}/{path}", data=body, headers=headers, timeout=20)

    assert send("PUT", content, **{"Content-Type": "application/json"}).status_code == 200
    assert surfaces.query(Credentials("STRANGERSKEY12345678", "secret-of-the-stranger-0123456789"), "GetCallerIdentity").status_code == 403
    assert send("GET").content == content
    listed = surfaces.s3(ROOT, "GET", "/uploads?list-type=2")
    assert f"<Key>{path}</Key>" in listed.text
    assert send("DELETE").status_code == 204


def test_services_are_where_the_host_names_no_bucket(server):
    """The domain itself, an address, and the host of an account, as clients of S3 Control make it."""
    surfaces = Surfaces(server)
    for host in (f"s3.localhost:{server.port}", f"127.0.0.1:{server.port}"):
        assert surfaces.http.get(f"{server.url}/minio/health/live", headers={"Host": host}, timeout=20).status_code == 200
    host = f"{ACCOUNT}.s3.localhost:{server.port}"
    request = AWSRequest("PUT", f"http://{host}/v20180820/configuration/publicAccessBlock", data=BLOCK, headers={"x-amz-account-id": ACCOUNT})
    S3SigV4Auth(ROOT, "s3", "us-east-1").add_auth(request)
    headers = {**dict(request.headers), "Host": host}
    answer = surfaces.http.put(f"{server.url}/v20180820/configuration/publicAccessBlock", data=BLOCK, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    assert control(surfaces, "DELETE", "configuration/publicAccessBlock").status_code == 204


OPEN = b"<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>"
CLOSED = OPEN.replace(b"ObjectWriter", b"BucketOwnerEnforced")
BLOCKED = (b"<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>")


@pytest.mark.parametrize("list_given", ["x-amz-acl", "x-amz-grant-read"])
@pytest.mark.parametrize("change,status", [("publicAccessBlock", 403), ("ownershipControls", 400)])
def test_a_list_that_the_bucket_takes_no_more_is_refused(server, list_given, change, status):
    """Goal: what a bucket does not take when an object is stored does not become its list. Method: the owner sends a list
    in headers and all of the body but its last byte, then the bucket is changed."""
    surfaces, bucket = Surfaces(server), f"list-{change}-{list_given}".lower()
    surfaces.s3(ROOT, "PUT", f"/{bucket}")
    assert surfaces.s3(ROOT, "PUT", f"/{bucket}?ownershipControls", OPEN).status_code == 200
    surfaces.s3(ROOT, "DELETE", f"/{bucket}?publicAccessBlock")
    grants = {"x-amz-acl": "public-read", "x-amz-grant-read": 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'}
    headers = {list_given: grants[list_given]}
    assert surfaces.send(ROOT, "s3", "PUT", f"/{bucket}/before", b"bytes", headers).status_code == 200
    held = Held(server, ROOT, "PUT", f"/{bucket}/late", b"bytes", headers)
    changed = surfaces.s3(ROOT, "PUT", f"/{bucket}?{change}", BLOCKED if change == "publicAccessBlock" else CLOSED)
    assert changed.status_code == 200, changed.text
    found, answer = held.status()
    assert found == status, answer
    assert surfaces.s3(ROOT, "GET", f"/{bucket}/late").status_code == 404


@pytest.mark.parametrize("way", ["header", "part"])
def test_a_key_that_was_denied_meanwhile_seals_nothing(server, way):
    """Method: a user may seal with a key when the head of an upload comes, and may not when its body has come."""
    surfaces, name = Surfaces(server), f"sealer-{way}"
    surfaces.s3(ROOT, "PUT", "/sealed-bucket")
    surfaces.api(ROOT, "kms-add", key="sealing", description="")
    key = surfaces.user(name, {"Effect": "Allow", "Action": ["s3:*", "kms:*"], "Resource": "*"})
    sealed = {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "sealing"}
    target, headers = f"/sealed-bucket/{name}", sealed
    if way == "part":
        made = surfaces.send(key, "s3", "POST", f"{target}?uploads", b"", sealed)
        target, headers = f"{target}?partNumber=1&uploadId={field(made.text, 'UploadId')}", {}
    held = Held(server, key, "PUT", target, b"bytes", headers)
    denied = {"Effect": "Deny", "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": "*"}
    surfaces.allow(name, {"Effect": "Allow", "Action": ["s3:*", "kms:*"], "Resource": "*"}, denied)
    found, answer = held.status()
    assert found == 403, answer
