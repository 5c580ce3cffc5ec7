"""Clients that go away while what they asked for is committed: the change acts at once for everyone, or was not made.
Each change is asked for many times, and the client leaves a little later each time."""
import json
import socket
import struct
import time
import urllib.parse

import pytest

from conftest import Server
from surfaces import ALLOW_ALL, ROOT, Surfaces, document, signed_head

ROUNDS = 24
STEP_S = 0.0005
DENY = {"Effect": "Deny", "Action": "*", "Resource": "*"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("left") / "drive").wait_ready()
    server.client().create_bucket(Bucket="bkt")
    server.client().put_object(Bucket="bkt", Key="k", Body=b"x")
    yield server
    server.stop()


def leave(server, service, method, path, body, headers, after_s):
    """Sends a request of the owner and closes the connection without waiting for the answer."""
    head = signed_head(server, ROOT, service, method, path, body, headers)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(head + body)
        time.sleep(after_s)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def query(server, action, after_s, **parameters):
    form = urllib.parse.urlencode({"Action": action, "Version": "2010-05-08", **parameters}).encode()
    leave(server, "iam", "POST", "/", form, {"Content-Type": "application/x-www-form-urlencoded"}, after_s)


def api(server, after_s, op, **fields):
    body = json.dumps({"op": op, **fields}).encode()
    leave(server, "s3", "POST", "/.drystone/v1", body, {"Content-Type": "application/json"}, after_s)


def key_is_gone(surfaces, name, key):
    return key.access_key not in surfaces.root("ListAccessKeys", UserName=name)


def key_is_inactive(surfaces, name, _):
    return "<Status>Inactive</Status>" in surfaces.root("ListAccessKeys", UserName=name)


def policy_is_gone(surfaces, name, _):
    return "<member>own</member>" not in surfaces.root("ListUserPolicies", UserName=name)


def is_denied(surfaces, name, _):
    return "<member>deny</member>" in surfaces.root("ListUserPolicies", UserName=name)


def has_bucket_policy(surfaces, name, _):
    return name in surfaces.s3(ROOT, "GET", "/bkt?policy").text


def put_bucket_policy(server, after_s, name, _):
    statement = {**DENY, "Principal": {"AWS": f"arn:aws:iam::000000000000:user/{name}"},
                 "Resource": ["arn:aws:s3:::bkt", "arn:aws:s3:::bkt/*"]}
    leave(server, "s3", "PUT", "/bkt?policy", document(statement).encode(), {}, after_s)


# What is asked for, and how the rows say that it was done.
CHANGES = {
    "key-deleted": (lambda server, after, name, key: query(
        server, "DeleteAccessKey", after, UserName=name, AccessKeyId=key.access_key), key_is_gone),
    "key-removed": (lambda server, after, _, key: api(server, after, "key-remove", access_key=key.access_key), key_is_gone),
    "key-inactive": (lambda server, after, name, key: query(
        server, "UpdateAccessKey", after, UserName=name, AccessKeyId=key.access_key, Status="Inactive"), key_is_inactive),
    "policy-deleted": (lambda server, after, name, _: query(
        server, "DeleteUserPolicy", after, UserName=name, PolicyName="own"), policy_is_gone),
    "denied": (lambda server, after, name, _: query(
        server, "PutUserPolicy", after, UserName=name, PolicyName="deny", PolicyDocument=document(DENY)), is_denied),
    "bucket-policy": (put_bucket_policy, has_bucket_policy),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_committed_acts_though_its_client_left(server, change):
    surfaces = Surfaces(server)
    ask, is_done = CHANGES[change]
    done = 0
    for number in range(ROUNDS):
        name = f"{change}-{number}"
        key = surfaces.user(name, ALLOW_ALL)
        # Remembered from here on.
        assert surfaces.s3(key, "GET", "/bkt/k").status_code == 200
        ask(server, number**2 * STEP_S, name, key)
        # What is not done by now is not done later.
        time.sleep(0.1)
        if is_done(surfaces, name, key):
            done += 1
            assert surfaces.s3(key, "GET", "/bkt/k").status_code == 403, f"after {number**2 * STEP_S} s"
        else:
            assert surfaces.s3(key, "GET", "/bkt/k").status_code == 200
    assert done, "no client stayed long enough"
