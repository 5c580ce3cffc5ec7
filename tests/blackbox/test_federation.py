"""Sessions from an OpenID provider: a real one, npm's oidc-provider, started here."""
import base64
import json
import pathlib
import subprocess
import time

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import PASSWORD, USER, Server, free_port

NODE = pathlib.Path(__file__).parent / "node"
READ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake/${jwt:sub}/*"}]}


class Provider:
    def __init__(self, port, algorithm="RS256"):
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(["node", "provider.mjs", str(port), algorithm], cwd=NODE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
        raise AssertionError("the provider does not start")

    def token(self, **claims):
        reply = requests.post(f"{self.url}/token", data={"grant_type": "client_credentials"}, auth=("drystone", "client-secret"),
                              headers={"x-claims": json.dumps({"sub": "ana", **claims})}, timeout=10)
        assert reply.status_code == 200, reply.text
        return reply.json()["access_token"]

    def login(self, sub, **claims):
        """The access token of someone of whom the provider knows claims."""
        return requests.get(f"{self.url}/login", params={"sub": sub, "claims": json.dumps(claims)}, timeout=10).text

    def stop(self):
        self.process.kill()
        self.process.wait()


def begin(tmp_path, provider, **settings):
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
           "MINIO_IDENTITY_OPENID_CONFIG_URL": f"{provider.url}/.well-known/openid-configuration",
           "MINIO_IDENTITY_OPENID_CLIENT_ID": "drystone", **{f"MINIO_IDENTITY_OPENID_{k}": v for k, v in settings.items()}}
    server = Server(tmp_path / "drive", env=env).wait_ready()
    s3 = server.client()
    s3.create_bucket(Bucket="lake")
    for key in ("ana/k", "bob/k"):
        s3.put_object(Bucket="lake", Key=key, Body=key.encode())
    return server


def sts_of(server):
    return boto3.client("sts", endpoint_url=server.url, region_name="us-east-1", config=Config(signature_version=UNSIGNED))


def session(server, token, **parameters):
    parameters = {"RoleArn": "arn:minio:iam:::role/none-needed", "RoleSessionName": "test", **parameters}
    if parameters["RoleArn"] == "arn:minio:iam:::role/none-needed":
        body = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "WebIdentityToken": token,
                **{k: str(v) for k, v in parameters.items() if k != "RoleArn"}}
        reply = requests.post(server.url, data=body, timeout=20)
        if reply.status_code != 200:
            code = reply.text.split("<Code>")[1].split("</Code>")[0]
            raise ClientError({"Error": {"Code": code, "Message": reply.text}}, "AssumeRoleWithWebIdentity")
        find = lambda name: reply.text.split(f"<{name}>")[1].split(f"</{name}>")[0]
        found = {name: find(name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")}
    else:
        found = sts_of(server).assume_role_with_web_identity(WebIdentityToken=token, **parameters)["Credentials"]
    return boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=found["AccessKeyId"],
                        aws_secret_access_key=found["SecretAccessKey"], aws_session_token=found["SessionToken"])


def refused(code, call, *arguments, **parameters):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **parameters)
    assert caught.value.response["Error"]["Code"] == code, caught.value


@pytest.fixture(scope="module")
def provider():
    provider = Provider(free_port())
    yield provider
    provider.stop()


def test_policies_of_a_claim(tmp_path, provider):
    server = begin(tmp_path, provider)
    try:
        iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
        iam.create_policy(PolicyName="own-folder", PolicyDocument=json.dumps(READ))
        s3 = session(server, provider.token(policy="own-folder,no-such-policy"))
        assert s3.get_object(Bucket="lake", Key="ana/k")["Body"].read() == b"ana/k"
        refused("AccessDenied", s3.get_object, Bucket="lake", Key="bob/k")
        s3 = session(server, provider.token(sub="bob", policy=["own-folder", "readwrite"]))
        s3.put_object(Bucket="lake", Key="new", Body=b"")
        narrow = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})
        refused("AccessDenied", session(server, provider.token(policy="readwrite"), Policy=narrow).put_object, Bucket="lake", Key="x", Body=b"")
        refused("AccessDenied", session, server, provider.token(policy="no-such-policy"))
        refused("AccessDenied", session, server, provider.token())
    finally:
        server.stop()


def test_roles_trust_a_provider_under_conditions(tmp_path, provider):
    server = begin(tmp_path, provider)
    try:
        iam = boto3.client("iam", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=USER, aws_secret_access_key=PASSWORD)
        host = provider.url.split("://")[1]
        trust = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Federated": f"arn:aws:iam::000000000000:oidc-provider/{host}"},
            "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {f"{host}:sub": "ana"}}}]}
        arn = iam.create_role(RoleName="web", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName="web", PolicyName="read", PolicyDocument=json.dumps(READ))
        s3 = session(server, provider.token(), RoleArn=arn)
        s3.get_object(Bucket="lake", Key="ana/k")
        refused("AccessDenied", s3.get_object, Bucket="lake", Key="bob/k")
        refused("AccessDenied", session, server, provider.token(sub="bob"), RoleArn=arn)
        refused("AccessDenied", session, server, provider.token(), RoleArn=arn + "-none")
        made = sts_of(server).assume_role_with_web_identity(WebIdentityToken=provider.token(), RoleArn=arn, RoleSessionName="s1")
        assert made["SubjectFromWebIdentityToken"] == "ana" and made["Provider"] == host
        assert made["AssumedRoleUser"]["Arn"] == "arn:aws:sts::000000000000:assumed-role/web/s1"
    finally:
        server.stop()


def test_claims_that_only_the_user_info_endpoint_tells(tmp_path, provider):
    server = begin(tmp_path, provider, CLAIM_USERINFO="on")
    try:
        access = provider.login("ana", policy="readonly")
        s3 = session(server, provider.token(), WebIdentityAccessToken=access)
        assert s3.get_object(Bucket="lake", Key="bob/k")["Body"].read() == b"bob/k"
        refused("AccessDenied", s3.put_object, Bucket="lake", Key="x", Body=b"")
        # What the token says itself counts before it.
        s3 = session(server, provider.token(policy="writeonly"), WebIdentityAccessToken=access)
        refused("AccessDenied", s3.get_object, Bucket="lake", Key="bob/k")
        other = provider.login("bob", policy="readwrite")
        refused("InvalidIdentityToken", session, server, provider.token(), WebIdentityAccessToken=other)
        refused("InvalidIdentityToken", session, server, provider.token(), WebIdentityAccessToken="made-up")
        refused("ValidationError", session, server, provider.token(policy="readwrite"))
    finally:
        server.stop()


def test_a_stranger_of_the_same_name_is_not_the_user(tmp_path, provider):
    server = begin(tmp_path, provider, ROLE_POLICY="readonly")
    try:
        make = lambda name, *keys: boto3.client(name, endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=keys[0],
                                                aws_secret_access_key=keys[1], aws_session_token=keys[2] if len(keys) > 2 else None)
        iam, s3 = make("iam", USER, PASSWORD), server.client()
        iam.create_user(UserName="ana")
        iam.create_access_key(UserName="ana")
        allow = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:user/ana"}, "Action": "s3:PutObject",
                 "Resource": "arn:aws:s3:::lake/*"}
        s3.put_bucket_policy(Bucket="lake", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
        stranger = session(server, provider.token(sub="ana"))
        refused("AccessDenied", stranger.put_object, Bucket="lake", Key="x", Body=b"")
        keys = stranger._request_signer._credentials
        own = make("iam", keys.access_key, keys.secret_key, keys.token)
        refused("ValidationError", own.get_user)
        for call in (own.list_access_keys, own.create_access_key, own.list_groups_for_user):
            refused("AccessDenied", call, UserName="ana")
    finally:
        server.stop()


def test_a_silent_provider_is_not_asked_each_time(tmp_path):
    provider = Provider(free_port())
    token = provider.token()
    server = begin(tmp_path, provider, ROLE_POLICY="readonly")
    try:
        provider.stop()
        begun = time.monotonic()
        for _ in range(20):
            refused("IDPCommunicationError", session, server, token)
        assert time.monotonic() - begun < 15
    finally:
        server.stop()


def test_a_session_ends_with_its_token(tmp_path, provider):
    server = begin(tmp_path, provider, ROLE_POLICY="readwrite")
    try:
        s3 = session(server, provider.token(exp=int(time.time()) + 2))
        s3.list_buckets()
        time.sleep(3)
        refused("ExpiredToken", s3.list_buckets)
    finally:
        server.stop()


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256"])
def test_algorithms_and_rotation_of_keys(tmp_path, algorithm):
    port = free_port()
    provider = Provider(port, algorithm)
    server = begin(tmp_path, provider, ROLE_POLICY="readonly")
    try:
        old = provider.token()
        session(server, old).get_object(Bucket="lake", Key="ana/k")
        provider.stop()
        provider = Provider(port, algorithm)
        time.sleep(5.5)
        session(server, provider.token()).get_object(Bucket="lake", Key="ana/k")
        refused("InvalidIdentityToken", session, server, old)
    finally:
        provider.stop()
        server.stop()


def encode(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_tokens_of_every_broken_kind(tmp_path, provider):
    server = begin(tmp_path, provider, ROLE_POLICY="readonly")
    try:
        now, good = int(time.time()), provider.token()
        head, body, signature = good.split(".")
        header = json.loads(base64.urlsafe_b64decode(head + "=="))
        broken = [
            "x", "a.b.c", "..", good + "x", f"{head}.{body}.", f"{head}.{body}.{'A' * len(signature)}",
            f"{encode({**header, 'alg': 'none'})}.{body}.", f"{encode({**header, 'alg': 'HS256'})}.{body}.{signature}",
            f"{encode({**header, 'kid': 'another'})}.{body}.{signature}",
            f"{head}.{encode({'sub': 'root', 'aud': 'drystone', 'iss': provider.url, 'exp': now + 999})}.{signature}",
            provider.token(aud="somebody-else"), provider.token(iss="http://elsewhere"), provider.token(nbf=now + 600), provider.token(sub=""),
        ]
        for token in broken:
            refused("InvalidIdentityToken", session, server, token)
        refused("ExpiredTokenException", session, server, provider.token(exp=now - 120))
        session(server, provider.token(aud=["other", "drystone"])).list_buckets()
        refused("ValidationError", session, server, good, DurationSeconds=60)
        provider_of_none = Server(tmp_path / "none").wait_ready()
        refused("InvalidIdentityToken", session, provider_of_none, good)
        provider_of_none.stop()
    finally:
        server.stop()
