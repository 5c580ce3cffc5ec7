"""Sessions of those whom another directory knows: managed policies narrow them, and they are ended by the name that the other
directory gives."""
import base64
import contextlib
import http.server
import json
import pathlib
import socket
import threading
import time

import boto3
import pytest
import requests
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import test_ldap
from conftest import PASSWORD, USER, Server, drystone
from surfaces import Surfaces
from test_narrowing import READONLY, allow, client, document, refused, rights
from test_sessions import ended


def encode(data):
    data = json.dumps(data).encode() if isinstance(data, dict) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """An OpenID provider that says what it is told to."""

    def __init__(self):
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Event()
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        number = lambda n: encode(n.to_bytes((n.bit_length() + 7) // 8, "big"))
        public = self.key.public_key().public_numbers()
        keys = {"keys": [{"kty": "RSA", "kid": "k", "alg": "RS256", "use": "sig", "n": number(public.n), "e": number(public.e)}]}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                self.asked.set()
                self.answers.wait(20)
                found = keys if handler.path == "/keys" else {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
                body = json.dumps(found).encode()
                handler.send_response(200)
                handler.send_header("Content-Type", "application/json")
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(handler, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, sub, **claims):
        now = int(time.time())
        claims = {"iss": self.url, "aud": "drystone", "sub": sub, "iat": now, "exp": now + 3600, **claims}
        text = f"{encode({'alg': 'RS256', 'typ': 'JWT', 'kid': 'k'})}.{encode(claims)}"
        return f"{text}.{encode(self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def unsigned(server, action, **parameters):
    reply = requests.post(server.url, data={"Action": action, "Version": "2011-06-15", **parameters}, timeout=20)
    found = lambda name: reply.text.split(f"<{name}>")[1].split(f"</{name}>")[0]
    if reply.status_code != 200:
        raise ClientError({"Error": {"Code": found("Code"), "Message": reply.text}}, action)
    return client(server, "s3", {name: found(name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")})


def arns(*names):
    return {f"PolicyArns.member.{n}.arn": name for n, name in enumerate(names, 1)}


def fill(server):
    server.client().create_bucket(Bucket="lake")
    server.client().put_object(Bucket="lake", Key="k", Body=b"1")


def revoke(server, *who):
    done = drystone("session", "revoke", *who, "--at", server.directory)
    assert done.returncode == 0, done.stderr


def web_role(server):
    """A role that users of the provider take on."""
    trust = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Federated": f"arn:aws:iam::000000000000:oidc-provider/{server.provider.host}"},
        "Action": "sts:AssumeRoleWithWebIdentity"}]}
    role = client(server, "iam").create_role(RoleName="web", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    client(server, "iam").put_role_policy(RoleName="web", PolicyName="all", PolicyDocument=document(allow("s3:*")))
    return role


@pytest.fixture(scope="module")
def openid(tmp_path_factory):
    provider = Provider()
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
           "MINIO_IDENTITY_OPENID_CONFIG_URL": f"{provider.url}/.well-known/openid-configuration",
           "MINIO_IDENTITY_OPENID_CLIENT_ID": "drystone"}
    server = Server(tmp_path_factory.mktemp("openid") / "drive", env=env).wait_ready()
    fill(server)
    server.provider = provider
    server.role = web_role(server)
    yield server
    server.stop()


def web(server, sub, role=False, **parameters):
    if role:
        parameters = {"RoleArn": server.role, "RoleSessionName": "session", **parameters}
    token = server.provider.token(sub, policy="readwrite")
    return unsigned(server, "AssumeRoleWithWebIdentity", WebIdentityToken=token, **parameters)


@pytest.mark.parametrize("role", [False, True])
def test_managed_policies_narrow_sessions_of_an_openid_provider(openid, role):
    assert rights(web(openid, "ana", role)) == "rwd"
    assert rights(web(openid, "ana", role, **arns(READONLY))) == "r"
    assert rights(web(openid, "ana", role, **arns(READONLY), Policy=document(allow("s3:PutObject")))) == "rw"
    refused("MalformedPolicyDocument", web, openid, "ana", role, **arns("arn:aws:iam::000000000000:policy/none"))
    refused("ValidationError", web, openid, "ana", role, **arns(*[READONLY] * 11))
    refused("NotImplemented", web, openid, "ana", role, ProviderId="www.amazon.com")
    # What clients of MinIO send along does not narrow, and is let through.
    web(openid, "ana", role, TokenRevokeType="laptop", WebIdentityAccessToken="x", WebIdentityRefreshToken="y")


def test_sessions_of_an_openid_name_are_ended(openid):
    made = {(sub, role): web(openid, sub, role) for sub in ("ana", "bob") for role in (False, True)}
    revoke(openid, "--openid-name", "ana")
    for (sub, role), s3 in made.items():
        if sub == "ana":
            ended(s3.list_objects_v2, Bucket="lake")
        else:
            s3.list_objects_v2(Bucket="lake")
    web(openid, "ana").list_objects_v2(Bucket="lake")
    revoke(openid, "--role", "web")
    ended(made["bob", True].list_objects_v2, Bucket="lake")
    made["bob", False].list_objects_v2(Bucket="lake")


@pytest.mark.parametrize("how", ["name", "user"])
def test_ending_sessions_of_an_openid_name_ends_those_of_roles_of_all_accounts(openid, how):
    """Goal: no session goes on because its role is of another account. Method: roles of two more accounts that trust the provider;
    the sessions were used, so that who they are is remembered."""
    made, name = {}, f"many-accounts-{how}"
    trust = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Federated": f"arn:aws:iam::000000000000:oidc-provider/{openid.provider.host}"},
        "Action": "sts:AssumeRoleWithWebIdentity"}]}
    for number, account in enumerate(["111111111111", "222222222222"] if how == "name" else ["333333333333"]):
        owner = Surfaces(openid).account(account)
        iam = boto3.client("iam", endpoint_url=openid.url, region_name="us-east-1", aws_access_key_id=owner.access_key,
                           aws_secret_access_key=owner.secret_key)
        role = iam.create_role(RoleName="web", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName="web", PolicyName="all", PolicyDocument=document(allow("s3:*")))
        for sub in (name, "other"):
            made[sub, number] = web(openid, sub, RoleArn=role, RoleSessionName="session")
            made[sub, number].list_buckets()
    revoke(openid, "--openid-name", name, *(["--openid-provider", openid.provider.url] if how == "user" else []))
    for (sub, _), s3 in made.items():
        ended(s3.list_buckets) if sub == name else s3.list_buckets()


def test_sessions_of_ldap_names_are_narrowed_and_ended(tmp_path):
    directory = test_ldap.Directory(pathlib.Path(tmp_path))
    try:
        server = test_ldap.begin(tmp_path, f"127.0.0.1:{directory.port}", SERVER_INSECURE="on")
        server.client().put_object(Bucket="lake", Key="k", Body=b"1")
        name = f"uid=ana,ou=people,{test_ldap.BASE}"
        assert drystone("policy", "attach", "readwrite", "--ldap-name", name, "--at", server.directory).returncode == 0
        login = lambda **more: unsigned(server, "AssumeRoleWithLDAPIdentity", LDAPUsername="ana", LDAPPassword="ana-password", **more)
        s3 = login()
        assert rights(s3) == "rwd"
        assert rights(login(**arns(READONLY))) == "r"
        refused("NotImplemented", login, ConfigName="another")
        revoke(server, "--ldap-name", f"UID=Ana, ou=people,{test_ldap.BASE}")
        ended(s3.list_objects_v2, Bucket="lake")
        assert rights(login()) == "rwd"
        server.stop()
    finally:
        directory.stop()


def made_late(begin, asked, end, go_on):
    """What a login answers during which an end of sessions falls."""
    made = []
    login = threading.Thread(target=lambda: made.append(begin()))
    login.start()
    assert asked.wait(10)
    time.sleep(0.05)
    end()
    go_on()
    login.join(20)
    return made[0]


@pytest.mark.parametrize("role", [False, True])
def test_sessions_are_ended_whose_token_was_checked_before(tmp_path, role):
    """Goal: who is ended while the provider is asked gets no session. Method: a provider that answers later."""
    provider = Provider()
    env = {"DRYSTONE_ROOT_USER": USER, "DRYSTONE_ROOT_PASSWORD": PASSWORD,
           "MINIO_IDENTITY_OPENID_CONFIG_URL": f"{provider.url}/.well-known/openid-configuration",
           "MINIO_IDENTITY_OPENID_CLIENT_ID": "drystone"}
    server = Server(tmp_path / "drive", env=env).wait_ready()
    fill(server)
    server.provider, server.role = provider, None
    if role:
        server.role = web_role(server)
    provider.asked.clear()
    provider.answers.clear()
    ends = ("--role", "web") if role else ("--openid-name", "ana")
    s3 = made_late(lambda: web(server, "ana", role), provider.asked, lambda: revoke(server, *ends), provider.answers.set)
    ended(s3.list_objects_v2, Bucket="lake")
    web(server, "ana", role).list_objects_v2(Bucket="lake")
    server.stop()


class Later:
    """Passes connections on to a port, when it is let to."""

    def __init__(self, port):
        self.port, self.answers, self.asked = port, threading.Event(), threading.Event()
        self.answers.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.own_port = self.listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            client, _ = self.listener.accept()
            behind = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self._pass_on, args=(client, behind, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(behind, client, False), daemon=True).start()

    def _pass_on(self, one, other, waits):
        # Either side may close first.
        with contextlib.suppress(OSError):
            while piece := one.recv(65536):
                if waits:
                    self.asked.set()
                    self.answers.wait(20)
                other.sendall(piece)
        other.close()


def test_sessions_are_ended_whose_password_was_checked_before(tmp_path):
    directory = test_ldap.Directory(pathlib.Path(tmp_path))
    between = Later(directory.port)
    try:
        server = test_ldap.begin(tmp_path, f"127.0.0.1:{between.own_port}", SERVER_INSECURE="on")
        server.client().put_object(Bucket="lake", Key="k", Body=b"1")
        name = f"uid=ana,ou=people,{test_ldap.BASE}"
        assert drystone("policy", "attach", "readwrite", "--ldap-name", name, "--at", server.directory).returncode == 0
        login = lambda: unsigned(server, "AssumeRoleWithLDAPIdentity", LDAPUsername="ana", LDAPPassword="ana-password")
        between.asked.clear()
        between.answers.clear()
        s3 = made_late(login, between.asked, lambda: revoke(server, "--ldap-name", name), between.answers.set)
        ended(s3.list_objects_v2, Bucket="lake")
        login().list_objects_v2(Bucket="lake")
        server.stop()
    finally:
        directory.stop()
