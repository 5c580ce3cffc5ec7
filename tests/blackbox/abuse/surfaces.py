"""The surfaces that change identities, spoken to without their clients, so that a test sees the status of the answer:
the query API of IAM and STS, MinIO's admin API, and the own admin API."""
import hashlib
import json
import re
import urllib.parse

import requests
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from conftest import PASSWORD, USER

ROOT = Credentials(USER, PASSWORD)
STS = ("AssumeRole", "GetCallerIdentity", "GetSessionToken", "GetAccessKeyInfo")
ALLOW_ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def signed_head(server, credentials, service, method, path, body, headers=None):
    """The signed head of a request, for a socket: the test decides when its body comes, and whether an answer is read."""
    request = AWSRequest(method, f"{server.url}{path}", data=body, headers=headers or {})
    if service != "s3":
        request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
    (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, "us-east-1").add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items() if name.lower() not in ("host", "content-length")]
    lines += [f"Host: 127.0.0.1:{server.port}", f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


class Surfaces:
    """Sends signed requests; each answer is one of `requests`."""

    def __init__(self, server):
        self.server, self.http = server, requests.Session()

    def send(self, credentials, service, method, path, data=b"", headers=None):
        request = AWSRequest(method, f"{self.server.url}{path}", data=data, headers=headers or {})
        signer = S3SigV4Auth if service == "s3" else SigV4Auth
        signer(credentials, service, "us-east-1").add_auth(request)
        return self.http.request(method, request.url, data=data, headers=dict(request.headers), timeout=20)

    def query(self, credentials, action, **parameters):
        service, version = ("sts", "2011-06-15") if action in STS else ("iam", "2010-05-08")
        form = urllib.parse.urlencode({"Action": action, "Version": version, **parameters})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.send(credentials, service, "POST", "/", form.encode(), headers)

    def minio(self, credentials, method, operation, body=None, **parameters):
        prefix = "/minio/kms/v1/" if operation.startswith("kms:") else "/minio/admin/v3/"
        query = urllib.parse.urlencode(parameters)
        path = prefix + operation.removeprefix("kms:") + (f"?{query}" if query else "")
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(credentials, "s3", method, path, data)

    def api(self, credentials, op, **fields):
        return self.send(credentials, "s3", "POST", "/.drystone/v1", json.dumps({"op": op, **fields}).encode(),
                         {"Content-Type": "application/json"})

    def kms(self, credentials, operation, **fields):
        """A call of the KMS API; a refusal has the status that the other surfaces give one."""
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"TrentService.{operation}"}
        reply = self.send(credentials, "kms", "POST", "/", json.dumps(fields).encode(), headers)
        if "AccessDeniedException" in reply.text:
            reply.status_code = 403
        return reply

    def s3(self, credentials, method, path, data=b""):
        return self.send(credentials, "s3", method, path, data)

    # What the owner sets up: each must succeed.
    def root(self, action, **parameters):
        reply = self.query(ROOT, action, **parameters)
        assert reply.status_code == 200, reply.text
        return reply.text

    def user(self, name, *statements, path="/"):
        """A user with one key; returns its credentials."""
        self.root("CreateUser", UserName=name, Path=path)
        if statements:
            self.allow(name, *statements)
        return self.key(name)

    def key(self, name):
        text = self.root("CreateAccessKey", UserName=name)
        return Credentials(field(text, "AccessKeyId"), field(text, "SecretAccessKey"))

    def allow(self, name, *statements):
        self.root("PutUserPolicy", UserName=name, PolicyName="own", PolicyDocument=document(*statements))

    def account(self, number):
        """Another account; returns the credentials of its owner."""
        reply = self.api(ROOT, "account-add", id=number, name=f"account-{number}")
        assert reply.status_code == 200, reply.text
        return secret_of(reply)

    def session(self, credentials, **parameters):
        reply = self.query(credentials, "GetSessionToken", **parameters)
        assert reply.status_code == 200, reply.text
        return credentials_of(reply.text)


def field(text, name):
    return re.search(f"<{name}>([^<]*)</{name}>", text).group(1)


def credentials_of(text):
    return Credentials(field(text, "AccessKeyId"), field(text, "SecretAccessKey"), field(text, "SessionToken"))


def secret_of(reply):
    """Credentials in an answer of the own API."""
    assert reply.status_code == 200, reply.text
    found = reply.json()
    found = found.get("secret", found)
    return Credentials(found["access_key"], found["secret_key"])


def opens(surfaces, credentials):
    """Whether a key opens anything at all: it may not list buckets, but it is known."""
    reply = surfaces.query(credentials, "GetCallerIdentity")
    return reply.status_code == 200


