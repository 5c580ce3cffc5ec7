"""A request has its effect on the bucket that it was decided on, or none; and its sender may still send it when its body
has come. Found by the third attack (A26, A28)."""
import base64
import hashlib
import json
import socket
import time

import pytest
from botocore.credentials import Credentials

import raw
from conftest import Server
from surfaces import ALLOW_ALL, ROOT, Surfaces

LOCK = (b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode>"
        b"<Years>100</Years></DefaultRetention></Rule></ObjectLockConfiguration>")
TAGS = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
RULE = b"<LifecycleConfiguration><Rule><ID>x</ID><Status>Enabled</Status><Filter/><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
CORS = b"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>"
SSE = (b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
       b"</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>")
SITE = b"<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>"
BLOCK = b"<PublicAccessBlockConfiguration><BlockPublicAcls>false</BlockPublicAcls></PublicAccessBlockConfiguration>"
OWNER = b"<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>"
PAYER = b"<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>"
VERSIONS = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
ACL = (b'<AccessControlPolicy><Owner><ID>%s</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
       b'xsi:type="CanonicalUser"><ID>%s</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>')
HOLD = b"<LegalHold><Status>ON</Status></LegalHold>"
KEPT = b"<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>"
BULK = b"<Delete><Object><Key>secret</Key></Object></Delete>"
RESTORE = b"<RestoreRequest><Days>1</Days></RestoreRequest>"
# Name: method, whether of an object, subresource, document, whether the bucket locks.
BODIES = {
    "policy": ("PUT", False, "policy", None, False),
    "tags": ("PUT", False, "tagging", TAGS, False),
    "versions": ("PUT", False, "versioning", VERSIONS, False),
    "cors": ("PUT", False, "cors", CORS, False),
    "lifecycle": ("PUT", False, "lifecycle", RULE, False),
    "encryption": ("PUT", False, "encryption", SSE, False),
    "website": ("PUT", False, "website", SITE, False),
    "block": ("PUT", False, "publicAccessBlock", BLOCK, False),
    "ownership": ("PUT", False, "ownershipControls", OWNER, False),
    "payer": ("PUT", False, "requestPayment", PAYER, False),
    "acl": ("PUT", False, "acl", ACL, False),
    "lock": ("PUT", False, "object-lock", LOCK, True),
    "bulk": ("POST", False, "delete", BULK, False),
    "put": ("PUT", True, "", b"of account B, by force", False),
    "object-acl": ("PUT", True, "acl", ACL, False),
    "object-tags": ("PUT", True, "tagging", TAGS, False),
    "hold": ("PUT", True, "legal-hold", HOLD, True),
    "retention": ("PUT", True, "retention", KEPT, True),
    "restore": ("POST", True, "restore", RESTORE, False),
}
SHOWN = ["policy", "tagging", "versioning", "cors", "lifecycle", "encryption", "website", "publicAccessBlock", "ownershipControls",
         "requestPayment", "acl", "object-lock", "versions"]
SHOWN_OF_OBJECT = ["", "acl", "tagging", "legal-hold", "retention"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("decided") / "drive").wait_ready()
    yield server
    server.stop()


class Slow:
    """A request whose body stops after its first bytes."""

    def __init__(self, server, key, method, path, subresource, body, more=None):
        query, self.body = [(subresource, "")] if subresource else [], body
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        extra = {"content-md5": md5, **({"x-amz-security-token": key.token} if key.token else {}), **(more or {})}
        signer = raw.Signer(key.access_key, key.secret_key)
        headers, _ = signer.headers(method, path, f"127.0.0.1:{server.port}", payload="UNSIGNED-PAYLOAD", query=query, extra=extra)
        headers["content-length"] = str(len(body))
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=15)
        head = f"{method} {path}{'?' + subresource if subresource else ''} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        self.socket.sendall(head.encode() + body[:9])

    def end(self):
        """Sends the rest; returns the status and the start of the answer."""
        try:
            self.socket.sendall(self.body[9:])
        except OSError:
            pass  # It was refused already; the answer says so.
        answer = b""
        while piece := self.socket.recv(4096):
            answer += piece
            if b"\r\n\r\n" in answer and (b"</Error>" in answer or b"content-length: 0" in answer.lower() or b" 204 " in answer[:16]
                                           or b"Result>" in answer):
                break
        self.socket.close()
        return int(answer.split()[1]), answer


def create(surfaces, key, bucket, locks):
    headers = {"x-amz-bucket-object-lock-enabled": "true"} if locks else None
    assert surfaces.send(key, "s3", "PUT", f"/{bucket}", headers=headers).status_code == 200


def shown(surfaces, bucket):
    """What the owner of the new bucket sees of it."""
    answers = [surfaces.s3(ROOT, "GET", f"/{bucket}?{name}") for name in SHOWN]
    answers += [surfaces.s3(ROOT, "GET", f"/{bucket}/secret" + (f"?{name}" if name else "")) for name in SHOWN_OF_OBJECT]
    return [(answer.status_code, answer.text if answer.ok else "") for answer in answers]


def begin(server, surfaces, other, name, bucket):
    method, of_object, subresource, body, locks = BODIES[name]
    owner = surfaces.s3(other, "GET", "/").text.split("<ID>")[1].split("</ID>")[0].encode()
    if name == "policy":
        statement = {**ALLOW_ALL, "Principal": {"AWS": "222222222222"}, "Action": "s3:*",
                     "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}
        body = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
    elif body == ACL:
        body = ACL % (owner, owner)
    return Slow(server, other, method, f"/{bucket}/secret" if of_object else f"/{bucket}", subresource, body)


def test_a_body_that_ends_after_its_bucket_has_no_effect_on_the_next(server):
    surfaces = Surfaces(server)
    other = surfaces.account("222222222222")
    slow = {}
    for name, (_, of_object, _, _, locks) in BODIES.items():
        create(surfaces, other, f"swap-{name}", locks)
        if of_object and not locks:
            kind = {"x-amz-storage-class": "GLACIER"} if name == "restore" else None
            assert surfaces.send(other, "s3", "PUT", f"/swap-{name}/secret", b"of B", kind).status_code == 200
        slow[name] = begin(server, surfaces, other, name, f"swap-{name}")
    time.sleep(0.5)
    before = {}
    for name, (_, _, _, _, locks) in BODIES.items():
        surfaces.s3(other, "DELETE", f"/swap-{name}/secret") if not locks else None
        assert surfaces.s3(other, "DELETE", f"/swap-{name}").status_code == 204, name
        create(surfaces, ROOT, f"swap-{name}", locks)
        assert surfaces.s3(ROOT, "PUT", f"/swap-{name}/secret", b"of A").status_code == 200
        before[name] = shown(surfaces, f"swap-{name}")
    wrong = {}
    for name, request in slow.items():
        status, answer = request.end()
        # A bulk delete says it of each key.
        if (status not in (403, 404) and name != "bulk") or not (b"NoSuchBucket" in answer or b"AccessDenied" in answer):
            wrong[name] = answer[:300]
        if shown(surfaces, f"swap-{name}") != before[name]:
            wrong[name, "changed"] = True
    assert not wrong


def test_a_bucket_that_comes_while_the_body_does_is_not_meant(server):
    surfaces = Surfaces(server)
    request = Slow(server, ROOT, "PUT", "/comes", "cors", CORS)
    time.sleep(0.3)
    create(surfaces, ROOT, "comes", False)
    status, answer = request.end()
    assert status == 404 and b"NoSuchBucket" in answer
    assert surfaces.s3(ROOT, "GET", "/comes?cors").status_code == 404


def test_the_same_requests_have_their_effect_where_nothing_changes(server):
    surfaces = Surfaces(server)
    other = surfaces.account("333333333333")
    for name in ("versions", "put", "object-tags"):
        create(surfaces, other, f"same-{name}", False)
        assert surfaces.s3(other, "PUT", f"/same-{name}/secret", b"of B").status_code == 200
        request = begin(server, surfaces, other, name, f"same-{name}")
        time.sleep(0.1)
        status, answer = request.end()
        assert status in (200, 204), (name, answer[:300])


def test_what_ends_a_key_or_a_right_ends_requests_whose_body_is_on_its_way(server):
    surfaces = Surfaces(server)
    create(surfaces, ROOT, "ended", False)
    user = surfaces.user("dripping", ALLOW_ALL)
    session = surfaces.session(user)
    slow = {
        "policy of the session": Slow(server, session, "PUT", "/ended", "cors", CORS),
        "object of the session": Slow(server, session, "PUT", "/ended/session", "", b"written after the end"),
        "tags of the key": Slow(server, user, "PUT", "/ended", "tagging", TAGS),
        "object of the key": Slow(server, user, "PUT", "/ended/key", "", b"written after the end"),
        "bulk delete of the key": Slow(server, user, "POST", "/ended", "delete", BULK),
        "object of the owner": Slow(server, ROOT, "PUT", "/ended/owner", "", b"written after a deny"),
    }
    still = Slow(server, ROOT, "PUT", "/ended/other", "", b"nothing is said of this one")
    time.sleep(0.5)
    assert surfaces.api(ROOT, "user-end-sessions", name="dripping").status_code == 200
    surfaces.root("DeleteAccessKey", UserName="dripping", AccessKeyId=user.access_key)
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
                                                    "Resource": "arn:aws:s3:::ended/owner"}]}
    assert surfaces.s3(ROOT, "PUT", "/ended?policy", json.dumps(deny).encode()).status_code == 204
    wrong = {name: answer[:200] for name, (status, answer) in ((name, request.end()) for name, request in slow.items())
             if status not in (400, 403)}
    assert not wrong
    assert still.end()[0] == 200
    listed = surfaces.s3(ROOT, "GET", "/ended?list-type=2").text
    assert listed.count("<Key>") == 1 and "<Key>other</Key>" in listed
    assert surfaces.s3(ROOT, "GET", "/ended?cors").status_code == 404
