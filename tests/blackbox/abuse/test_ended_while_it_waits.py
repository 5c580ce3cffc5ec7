"""Requests that wait for room or for a turn after their signature was checked. The sender makes the wait as long as it likes; what
has ended meanwhile does nothing more. Found by the fifth attack (C3 to C6)."""
import base64
import hashlib
import json
import os
import socket
import threading
import time

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from minio.crypto import encrypt

from conftest import Server
from raw_h2 import HEADERS, RST_STREAM, STATUSES, Connection, block, first_field, frame
from surfaces import ALLOW_ALL, ROOT, Surfaces, document

# Unread bodies that fill what one user may hold of the smallest budgets.
UNREAD = 14
PADDING = " " * 4000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("waits") / "drive", "--memory-budget", "8MiB").wait_ready()
    s3 = server.client()
    for bucket in ("big", "bkt"):
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket="big", Key="k", Body=os.urandom(20 << 20))
    yield server
    server.stop()


def signed(server, key, method, path, body=b""):
    request = AWSRequest(method, f"{server.url}{path}", data=body)
    S3SigV4Auth(key, "s3", "us-east-1").add_auth(request)
    text = {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in request.headers.items()}
    return {name: value for name, value in text.items() if name.lower() not in ("host", "content-length")}


def unread(server, key):
    """A GET of which nothing is read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    lines = [f"{name}: {value}" for name, value in signed(server, key, "GET", "/big/k").items()]
    client.sendall("\r\n".join(["GET /big/k HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *lines, "", ""]).encode())
    return client


class Later:
    """A call on a thread of its own."""

    def __init__(self, call):
        self.result = None
        self.thread = threading.Thread(target=self._run, args=(call,))
        self.thread.start()

    def _run(self, call):
        self.result = call()

    def waits(self, seconds=1.0):
        self.thread.join(seconds)
        return self.thread.is_alive()

    def end(self):
        self.thread.join(30)
        return self.result


def end(surfaces, name, key):
    surfaces.root("DeleteAccessKey", UserName=name, AccessKeyId=key.access_key)
    surfaces.root("DeleteUserPolicy", UserName=name, PolicyName="own")
    assert surfaces.s3(key, "GET", "/bkt").status_code == 403


JSON = {"Content-Type": "application/json"}
SERVICES = {
    "own": lambda surfaces, key, name: surfaces.send(
        key, "s3", "POST", "/.drystone/v1", (json.dumps({"op": "key-add", "user": name}) + PADDING).encode(), JSON),
    "iam-key": lambda surfaces, key, name: surfaces.query(key, "CreateAccessKey", UserName=name, Pad="x" * 4000),
    "iam-policy": lambda surfaces, key, name: surfaces.query(
        key, "PutUserPolicy", UserName=name, PolicyName="again", PolicyDocument=document(ALLOW_ALL) + PADDING),
}


def bulk(surfaces, key, _):
    names = [f"k{n}" for n in range(50)] + [f"z{n:03}" + "y" * 900 for n in range(900)]
    body = ("<Delete>" + "".join(f"<Object><Key>{name}</Key></Object>" for name in names) + "</Delete>").encode()
    checksum = base64.b64encode(hashlib.md5(body).digest()).decode()
    return surfaces.send(key, "s3", "POST", "/bkt?delete", body, {"Content-MD5": checksum})


@pytest.mark.parametrize("call", [*SERVICES, "bulk-delete"])
def test_a_request_that_waits_for_room_acts_with_the_rights_of_its_end(server, call):
    surfaces, name = Surfaces(server), f"room-{call}"
    for number in range(50):
        server.client().put_object(Bucket="bkt", Key=f"k{number}", Body=b"x")
    key = surfaces.user(name, {"Effect": "Allow", "Action": "*", "Resource": "*"})
    held = [unread(server, key) for _ in range(UNREAD)]
    time.sleep(1)
    other = Surfaces(server)
    later = Later(lambda: SERVICES.get(call, bulk)(other, key, name))
    assert later.waits(), later.result.text
    end(surfaces, name, key)
    for client in held:
        client.close()
    answer = later.end()
    assert answer.status_code in (401, 403) or "<Deleted>" not in answer.text and call == "bulk-delete", answer.text[:300]
    assert server.client().list_objects_v2(Bucket="bkt")["KeyCount"] >= 50


READS = {
    "part": ("/big/parts?partNumber=1", {}),
    "attributes": ("/big/parts?attributes", {"x-amz-object-attributes": "ObjectParts"}),
    "buckets": ("/", {}),
    "objects": ("/bkt?list-type=2", {}),
    "versions": ("/bkt?versions", {}),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_that_waits_for_room_is_answered_to_those_who_may_know_at_its_end(server, name):
    surfaces, s3, (path, headers) = Surfaces(server), server.client(), READS[name]
    upload = s3.create_multipart_upload(Bucket="big", Key="parts")["UploadId"]
    parts = [s3.upload_part(Bucket="big", Key="parts", UploadId=upload, PartNumber=n, Body=b"x" * (5 << 20)) for n in (1, 2)]
    done = {"Parts": [{"PartNumber": n, "ETag": part["ETag"]} for n, part in enumerate(parts, 1)]}
    s3.complete_multipart_upload(Bucket="big", Key="parts", UploadId=upload, MultipartUpload=done)
    user = f"read-{name}"
    key = surfaces.user(user, {"Effect": "Allow", "Action": "*", "Resource": "*"})
    held = [unread(server, key) for _ in range(UNREAD)]
    time.sleep(1)
    other = Surfaces(server)
    later = Later(lambda: other.send(key, "s3", "GET", path, headers=headers))
    assert later.waits(), later.result.text[:300]
    end(surfaces, user, key)
    for client in held:
        client.close()
    answer = later.end()
    assert answer.status_code == 403, answer.text[:300]


def over_http2(server, key, method, path):
    connection = Connection(server.port)
    fields = [(":method", method), (":scheme", "http"), (":authority", f"127.0.0.1:{server.port}"), (":path", path)]
    fields += [(name.lower(), value) for name, value in signed(server, key, method, path).items()]
    connection.socket.sendall(frame(HEADERS, 5, 1, block(fields)))
    return connection


def status_of(connection):
    connection.socket.settimeout(20)
    while True:
        kind, _, _, payload = connection.read_frame()
        if kind == HEADERS:
            field = first_field(payload)
            return STATUSES.get(field, field)
        assert kind != RST_STREAM, "the stream was reset"


@pytest.mark.parametrize("method, path", [("GET", "/bkt/secret"), ("DELETE", "/bkt/secret"), ("PUT", "/made-late")])
def test_a_stream_that_waits_for_room_acts_with_the_rights_of_its_end(server, method, path):
    surfaces, name = Surfaces(server), f"stream-{method.lower()}"
    server.client().put_object(Bucket="bkt", Key="secret", Body=b"the secret")
    key = surfaces.user(name, {"Effect": "Allow", "Action": "*", "Resource": "*"})
    filling, sent = Connection(server.port), b""
    for number in range(60):
        target, stream = f"/bkt/fill{number}", filling.next_stream
        fields = [(":method", "PUT"), (":scheme", "http"), (":authority", f"127.0.0.1:{server.port}"), (":path", target),
                  ("content-length", "1000")]
        fields += [(n.lower(), value) for n, value in signed(server, key, "PUT", target, b"x" * 1000).items()]
        sent += frame(HEADERS, 4, stream, block(fields))
        filling.next_stream += 2
    filling.socket.sendall(sent)
    time.sleep(1)
    late = over_http2(server, key, method, path)
    time.sleep(1)
    end(surfaces, name, key)
    filling.close()
    # Refusals have a status that HPACK has no number for.
    assert status_of(late) not in STATUSES.values()
    assert server.client().get_object(Bucket="bkt", Key="secret")["Body"].read() == b"the secret"
    assert "made-late" not in [bucket["Name"] for bucket in server.client().list_buckets()["Buckets"]]
    late.close()


def test_a_sealed_body_that_waits_for_its_turn_acts_with_the_rights_of_its_end(server):
    surfaces = Surfaces(server)
    key = surfaces.user("sealed", {"Effect": "Allow", "Action": "*", "Resource": "*"})
    garbage = os.urandom(32) + b"\0" + os.urandom(60)
    fillers = [Later(lambda: Surfaces(server).minio(key, "PUT", "add-service-account", garbage)) for _ in range(100)]
    time.sleep(0.3)
    account = {"accessKey": "KEEPSACCESS", "secretKey": "keeps-its-access"}
    sealed = encrypt(json.dumps(account).encode(), key.secret_key)
    later = Later(lambda: Surfaces(server).minio(key, "PUT", "add-service-account", sealed))
    assert later.waits(0.3), later.result.text
    end(surfaces, "sealed", key)
    for filler in fillers:
        filler.end()
    assert later.end().status_code == 403, later.result.text
    assert "KEEPSACCESS" not in surfaces.root("ListAccessKeys", UserName="sealed")
